/* version.c: which optc this is, and which LLVM is inside. */
#include <llvm/Config/llvm-config.h>
#include "runtime/optc.h"

const char *optc_version(void) { return OPTC_VERSION " (LLVM " LLVM_VERSION_STRING ")"; }
