/* optc.h: compile .opt rules inside a program, and call them.
 *
 *   optc_context *cx = optc_context_new(NULL);
 *   optc_rule *rule;
 *   if (optc_compile_file(cx, "adamw.opt", NULL, &rule)) puts(optc_context_diagnostics(cx));
 *   optc_call ... optc_rule_call(rule, optc_rule_entry(rule, "step"), &call);
 *
 * Ownership: what a function returns lives as long as the object it came from, unless it says otherwise. Errors are return
 * values (OPTC_OK or OPTC_E_*); the library never prints, exits, aborts on bad input or keeps global state. Thread safety: one context
 * belongs to one thread at a time; a compiled rule may be called from any number of threads at once and outlives its context. */
#ifndef OPTC_H
#define OPTC_H
#include "optc_abi.h"
#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#define OPTC_API __attribute__((visibility("default")))
#else
#define OPTC_API
#endif

#define OPTC_VERSION_MAJOR 0
#define OPTC_VERSION_MINOR 1
OPTC_API const char *optc_version(void);               /* "0.1.0 (LLVM 19.1.7)" */

/* --- context: options shared by compilations, the last diagnostics ------------------------------------------------ */
typedef struct optc_context optc_context;
typedef struct optc_context_options {
  size_t size;                           /* sizeof(optc_context_options) */
  const char *cache_dir;                 /* NULL: $OPTC_CACHE_DIR, else $XDG_CACHE_HOME/optc, else ~/.cache/optc; "": no cache */
} optc_context_options;
OPTC_API optc_context *optc_context_new(const optc_context_options *);   /* NULL: out of memory */
OPTC_API void optc_context_free(optc_context *);
OPTC_API const char *optc_context_diagnostics(const optc_context *);     /* text of the last compilation's errors and warnings; "" if none */
OPTC_API const char *optc_context_diagnostics_json(const optc_context *);
OPTC_API unsigned optc_context_compilations(const optc_context *);       /* how many times code was generated (cache hits do not count) */

/* --- compile ----------------------------------------------------------------------------------------------------- */
enum { OPTC_BACKEND_JIT = 0, OPTC_BACKEND_GRAPH = 1, OPTC_BACKEND_KERNEL = 2 };      /* machine code; interpreter of the graph; of the kernels */
typedef struct optc_compile_options {
  size_t size;                           /* sizeof(optc_compile_options) */
  int level;                             /* 0, 1, 2; -1: the default, 2 */
  const char *passes;                    /* an explicit pipeline, or NULL */
  const char *rule;                      /* which rule of the file; NULL: the last */
  const char *cpu;                       /* NULL: this machine's; else a cpu name this machine can run */
  int backend;                           /* OPTC_BACKEND_* */
  int compute_f64;
} optc_compile_options;
typedef struct optc_rule optc_rule;
/* 0, or OPTC_E_INPUT, OPTC_E_FILE, OPTC_E_TARGET, OPTC_E_MEMORY: then *rule is NULL and the context has the diagnostics. */
OPTC_API int optc_compile_file(optc_context *, const char *path, const optc_compile_options *, optc_rule **rule);
OPTC_API int optc_compile_memory(optc_context *, const char *name, const char *text, size_t length, const optc_compile_options *, optc_rule **rule);
OPTC_API void optc_rule_free(optc_rule *);
/* A rule compiled ahead of time into a shared object (symbol <name>_rule of the object). */
OPTC_API int optc_load(optc_context *, const char *shared_object, const char *rule_name, optc_rule **rule);

/* --- look at a rule ---------------------------------------------------------------------------------------------- */
OPTC_API const char *optc_rule_name(const optc_rule *);
OPTC_API int optc_rule_hypers(const optc_rule *);
OPTC_API int optc_rule_operands(const optc_rule *);
OPTC_API int optc_rule_entries(const optc_rule *);
OPTC_API int optc_rule_entry(const optc_rule *, const char *name);       /* -1: none. "init" exists in rules with state */
OPTC_API const char *optc_rule_entry_name(const optc_rule *, int entry);

typedef struct optc_hyper_info { const char *name, *external; int type; int has_default; double value; } optc_hyper_info;      /* type: 0 real, 1 int, 2 bool */
typedef struct optc_operand_info {
  const char *name, *external, *type;    /* type: "f32", ... */
  int role;                              /* 0 param, 1 grad, 2 in, 3 out, 4 inout, 5 state */
  int scope;                             /* 0 tensor, 1 one number an item, 2 one number a call */
  int optional, bytes;                   /* bytes an element */
  const char *entry;                     /* the only entry that has it, or NULL */
} optc_operand_info;
OPTC_API int optc_rule_hyper(const optc_rule *, int index, optc_hyper_info *);           /* 0, or OPTC_E_NULL past the end */
OPTC_API int optc_rule_operand(const optc_rule *, int index, optc_operand_info *);

/* --- call: arrays instead of the rule's own structs --------------------------------------------------------------- */
/* DLPack, as in dlpack.h (1.0); declared here so that no other header is needed. */
struct DLTensor;
typedef struct optc_item_args {
  struct DLTensor *const *tensor;        /* one an operand of the rule, in its order; NULL where absent. CPU, dense or strided */
  double *scalar;                        /* one an operand: item scalars, read and (states) written back; NULL if the rule has none */
  int64_t group;
} optc_item_args;
typedef struct optc_call_args {
  size_t size;
  const double *const *groups; int64_t n_groups;       /* one array of hyper-parameters a group, in the rule's order; NULL: all defaults, one group */
  optc_item_args *items; int64_t n_items, first_item;
  struct DLTensor *const *global_tensor; double *global_scalar;          /* one an operand, as above */
  int64_t *t; uint64_t seed;             /* t: steps done; advanced by entry step */
  const optc_parallel *parallel;
  optc_error *error;
} optc_call_args;
OPTC_API int optc_rule_call(const optc_rule *, int entry, const optc_call_args *);
/* The rule's own structs (those of the generated header), for programs that have it: size_of R_call in `call->size`. */
OPTC_API int optc_rule_call_raw(const optc_rule *, int entry, const void *R_call);
OPTC_API size_t optc_rule_workspace_size(const optc_rule *, const void *R_call);

/* A team of `threads` OpenMP threads as an optc_parallel (0: all cores). */
OPTC_API optc_parallel optc_parallel_openmp(int threads);
#ifdef __cplusplus
}
#endif
#endif
