/* builtins.c: the functions of the language, one row each; lower_call.c makes them. */
#include <string.h>
#include "frontend/names.h"

enum { F = BUILTIN_TAKES_FLOATS, I = BUILTIN_TAKES_INTS, S = BUILTIN_TAKES_F32 };          /* the words of function.def */

static const Builtin builtins[] = {
#define FUNCTION(id, text, arity, rule, types, accuracy) {text, arity, arity, OP_##id, types, BUILTIN_ELEMENT},
#include "ir/function.def"
#undef FUNCTION
  {"abs", 1, 1, OP_ABS, F, BUILTIN_ABS},
  {"sqrt", 1, 1, OP_SQRT, F, BUILTIN_ELEMENT},
  {"floor", 1, 1, OP_FLOOR, F, BUILTIN_ELEMENT},
  {"ceil", 1, 1, OP_CEIL, F, BUILTIN_ELEMENT},
  {"round", 1, 1, OP_RINT, F, BUILTIN_ELEMENT},
  {"fma", 3, 3, OP_FMA, S, BUILTIN_FMA},
  {"where", 3, 3, 0, 0, BUILTIN_WHERE},
  {"lerp", 3, 3, 0, 0, BUILTIN_LERP},
  {"size", 1, 1, 0, 0, BUILTIN_EXTENT},
  {"rank", 1, 1, 1, 0, BUILTIN_EXTENT},
  {"present", 1, 1, 0, 0, BUILTIN_PRESENT},
  {"sum", 1, 1, 0, 0, BUILTIN_REDUCTION}, {"prod", 1, 1, 0, 0, BUILTIN_REDUCTION}, {"mean", 1, 1, 0, 0, BUILTIN_REDUCTION},
  {"var", 1, 1, 0, 0, BUILTIN_REDUCTION}, {"norm", 1, 1, 0, 0, BUILTIN_REDUCTION}, {"rms", 1, 1, 0, 0, BUILTIN_REDUCTION},
  {"any", 1, 1, 0, 0, BUILTIN_REDUCTION}, {"every", 1, 1, 0, 0, BUILTIN_REDUCTION}, {"logsumexp", 1, 1, 0, 0, BUILTIN_REDUCTION},
  {"argmax", 1, 1, 0, 0, BUILTIN_REDUCTION}, {"argmin", 1, 1, 0, 0, BUILTIN_REDUCTION}, {"total", 1, 1, 0, 0, BUILTIN_REDUCTION},
  {"softmax", 1, 1, 0, 0, BUILTIN_KEEPING}, {"cumsum", 1, 1, 0, 0, BUILTIN_KEEPING}, {"cumprod", 1, 1, 0, 0, BUILTIN_KEEPING},
  {"cummax", 1, 1, 0, 0, BUILTIN_KEEPING}, {"order", 1, 1, 0, 0, BUILTIN_KEEPING}, {"eigvec", 1, 1, OP_EIGVEC, 0, BUILTIN_MATRIX},
  {"qr", 1, 1, OP_QR, 0, BUILTIN_MATRIX}, {"uniform", 1, 1, 0, 0, BUILTIN_RANDOM}, {"normal", 1, 1, 0, 0, BUILTIN_RANDOM},
  {"philox", 7, 7, 0, 0, BUILTIN_PHILOX},
};

/* Powers are written '^': their operations are rows of function.def, not functions of the language. */
static bool callable(const Builtin *f) { return f->kind != BUILTIN_ELEMENT || (f->op != OP_POW && f->op != OP_POWI); }

const Builtin *builtin_find(const char *name) {
  for (size_t i = 0; i < sizeof builtins/sizeof *builtins; i++)
    if (!strcmp(builtins[i].name, name) && callable(&builtins[i])) return &builtins[i];
  return NULL;
}

size_t builtin_names(const char **out, size_t room) {
  size_t n = 0;
  for (size_t i = 0; i < sizeof builtins/sizeof *builtins && n < room; i++) if (callable(&builtins[i])) out[n++] = builtins[i].name;
  return n;
}
