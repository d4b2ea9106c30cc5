/* header.c: the C header of a compiled rule, and the number that ties it to its object. */
#include <inttypes.h>
#include <string.h>
#include "backends/backend.h"
uint64_t backend_abi_hash(const Module *m) { return 1; }
