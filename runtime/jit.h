/* jit.h: machine code of an object file, linked into this process. */
#ifndef OPTC_RUNTIME_JIT_H
#define OPTC_RUNTIME_JIT_H
#include <stdbool.h>
#include <stddef.h>

typedef struct Jit Jit;

/* Links the object and finds `symbol`. NULL on failure; then `why` (of `why_size` bytes) holds a sentence. The bytes may go afterwards. */
Jit *jit_link(const void *object, size_t size, const char *symbol, const void **address, char *why, size_t why_size);
void jit_free(Jit *);

/* What this machine's code depends on beside its cpu name: LLVM's feature string. The caller frees it with free(); NULL: out of memory. */
char *jit_host_features(void);
#endif
