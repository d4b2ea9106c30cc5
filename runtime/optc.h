/* optc.h: compile .opt rules inside a program, and call them.
 *
 *   optc_context *cx = optc_context_new(NULL);
 *   optc_rule *rule;
 *   if (optc_compile_file(cx, "adamw.opt", NULL, &rule)) puts(optc_context_diagnostics(cx));
 *   optc_error error;
 *   optc_call_args call = {.size = sizeof call, .items = items, .n_items = n, .t = &t, .error = &error};
 *   if (optc_rule_call(rule, optc_rule_entry(rule, "step"), &call)) puts(error.text);
 *
 * Ownership: what a function returns lives as long as the object it came from, unless it says otherwise. Errors are return
 * values (OPTC_OK or OPTC_E_*); the library never prints, exits, aborts on bad input or keeps global state. A NULL pointer
 * that is not said to be allowed gives OPTC_E_NULL; from a function that returns something else NULL, 0, -1 or an empty text. Thread
 * safety: one context belongs to one thread at a time; a compiled rule may be called from any number of threads at once and outlives its context.
 * gdb knows the names of compiled kernels; perf does when OPTC_PERF_MAP=1 is in the environment (/tmp/perf-PID.map). */
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
  const char *cache_dir;                 /* NULL: $OPTC_CACHE_DIR, else $XDG_CACHE_HOME/optc, else ~/.cache/optc; "": no cache. A folder that cannot be written is no error */
  int color;                             /* the text of diagnostics carries terminal colours */
} optc_context_options;
OPTC_API optc_context *optc_context_new(const optc_context_options *);   /* NULL: out of memory */
OPTC_API void optc_context_free(optc_context *);
OPTC_API const char *optc_context_diagnostics(const optc_context *);     /* text of the last compilation's errors and warnings; "" if none */
OPTC_API const char *optc_context_diagnostics_json(const optc_context *);
OPTC_API unsigned optc_context_compilations(const optc_context *);       /* how many times code was generated (cache hits do not count) */

/* Where the time of a compilation went: CPU seconds of the calling thread in "read", "parse" (with what `use` names), "analyse",
 * "passes", "codegen", "cache", "link"; or in one pass of one entry. entry, pass: NULL for a whole stage. */
typedef void (*optc_timed)(void *self, const char *stage, const char *entry, const char *pass, double seconds);

/* --- compile ----------------------------------------------------------------------------------------------------- */
enum { OPTC_BACKEND_JIT = 0, OPTC_BACKEND_GRAPH = 1, OPTC_BACKEND_KERNEL = 2,      /* machine code; interpreter of the graph; of the kernels */
       OPTC_BACKEND_PTX = 3 };           /* PTX: for optc_gpu_call; optc_rule_call executes it without a GPU and checks it: for tests, not for speed */
typedef struct optc_compile_options {
  size_t size;                           /* sizeof(optc_compile_options) */
  int level;                             /* 0, 1, 2; -1: the default, 2 */
  const char *passes;                    /* an explicit pipeline, or NULL */
  const char *rule;                      /* which rule of the file; NULL: the last */
  const char *cpu;                       /* NULL: this machine's; else a cpu name this machine can run. PTX: a GPU; NULL: "sm_80" */
  int backend;                           /* OPTC_BACKEND_* */
  int compute_f64;                       /* 1: arithmetic on tensor data in f64; 2: and tensors declared f32 are f64 in memory */
  int verify_each;                       /* check the intermediate form after every pass, and what LLVM is given */
  optc_timed timed; void *timed_self;    /* NULL: not wanted */
  const char *store;                     /* storage policies, "m=bf16,v=q8[256]": tensors kept otherwise than the rule says (docs/language.md, Storage policies); NULL: none */
  int fast;                              /* products of matrices may use the machine's units for operands of few bits: not exact, within the bound of docs/language.md, --fast. Needs level 2 */
  uint64_t seed;                         /* PTX that optc_rule_call executes: each seed is another order of blocks and warps and other bits of NaNs; no result may depend on it */
} optc_compile_options;
typedef struct optc_rule optc_rule;
/* 0, or OPTC_E_INPUT, OPTC_E_FILE, OPTC_E_TARGET, OPTC_E_MEMORY: then *rule is NULL and the context has the diagnostics. OPTC_E_NULL: the same, with that for a diagnosis. */
/* options NULL: all defaults. Fields past `size` have their defaults (level: -1 wherever size does not reach it). */
OPTC_API int optc_compile_file(optc_context *, const char *path, const optc_compile_options *, optc_rule **rule);
OPTC_API int optc_compile_memory(optc_context *, const char *name, const char *text, size_t length, const optc_compile_options *, optc_rule **rule);
OPTC_API void optc_rule_free(optc_rule *);
/* A rule compiled ahead of time into a shared object (symbol <name>_rule of the object). */
OPTC_API int optc_load(optc_context *, const char *shared_object, const char *rule_name, optc_rule **rule);

/* --- emit: files for other programs -------------------------------------------------------------------------------- */
enum {
  OPTC_EMIT_OBJECT, OPTC_EMIT_ASSEMBLY, OPTC_EMIT_LLVM_IR, OPTC_EMIT_BITCODE,
  OPTC_EMIT_GRAPH,                       /* text of the graphs: as analysed, or as explicit `passes` left them */
  OPTC_EMIT_KERNELS,                     /* text of the kernels after all passes */
  OPTC_EMIT_HEADER,                      /* the C header of the object */
  OPTC_EMIT_PTX,                         /* for `gpu` */
  OPTC_EMIT_EXPLAIN,                     /* kernels, bytes and operations an element, against the least possible */
  OPTC_EMIT_EXPLAIN_JSON,
  OPTC_EMIT_EXPLAIN_SVG                  /* a picture of it */
};
typedef struct optc_emit_options {
  size_t size;                           /* sizeof(optc_emit_options) */
  const int *kinds; int n_kinds;         /* OPTC_EMIT_*, in the order of the outputs */
  int level;                             /* 0, 1, 2; -1: the default, 2 */
  const char *passes, *rule;             /* as in optc_compile_options */
  int compute_f64, verify_each;
  int warnings_are_errors;
  const char *target;                    /* triple; NULL: this machine */
  const char *const *cpus; int n_cpus;   /* one code variant each, lowest first; none: this machine's cpu */
  const char *features;                  /* LLVM feature string, or NULL */
  const char *gpu;                       /* PTX is made for it: "sm_80", and that is so where PTX is asked for and this is NULL. "sm_80,sm_90": objects and the like carry PTX for
                                            each (R_gpu, see optc_rule_gpu), beside the code for the CPU; they carry none where this is NULL */
  int debug;                             /* line tables */
  const char *print_after;               /* a pass, or "all": its result goes to `printed` */
  void (*printed)(void *self, const char *entry, const char *pass, const char *text); void *printed_self;
  optc_timed timed; void *timed_self;
  const char *store;                     /* as in optc_compile_options */
  double bandwidth, peak;                /* for what EXPLAIN predicts: GB/s of memory, GFLOP/s of fused multiply-adds; 0: not known */
  int bandwidth_measured, peak_measured; /* 0: somebody gave them */
  const char *assembled;                 /* EXPLAIN with a gpu: what `ptxas -v` printed of the PTX of the same options, for registers; NULL: they are not known */
  int fast;                              /* as in optc_compile_options */
} optc_emit_options;
typedef struct optc_emission optc_emission;
/* As optc_compile_*. The result is freed by optc_emission_free, before or after its context. */
OPTC_API int optc_emit_file(optc_context *, const char *path, const optc_emit_options *, optc_emission **);
OPTC_API int optc_emit_memory(optc_context *, const char *name, const char *text, size_t length, const optc_emit_options *, optc_emission **);
OPTC_API void optc_emission_free(optc_emission *);
OPTC_API const char *optc_emission_rule(const optc_emission *);          /* the rule's name */
OPTC_API const void *optc_emission_data(const optc_emission *, int output, size_t *size);       /* output: position in `kinds`; NULL past the end. size may be NULL */
OPTC_API const char *optc_emission_source(const optc_emission *, int index);                    /* files read, the first one first; NULL past the end */
/* Targets and cpus that may be asked for, as text. NULL: out of memory. Lives until the next call on this context. */
OPTC_API const char *optc_context_targets(optc_context *);

/* --- look at a rule ---------------------------------------------------------------------------------------------- */
OPTC_API const char *optc_rule_name(const optc_rule *);
OPTC_API int optc_rule_hypers(const optc_rule *);
OPTC_API int optc_rule_operands(const optc_rule *);
OPTC_API int optc_rule_entries(const optc_rule *);
OPTC_API int optc_rule_entry(const optc_rule *, const char *name);       /* -1: none. "init" is there in rules with param or state */
OPTC_API const char *optc_rule_entry_name(const optc_rule *, int entry);

typedef struct optc_hyper_info { const char *name, *external; int type; int has_default; double value; } optc_hyper_info;      /* type: 0 real, 1 int, 2 bool */
enum { OPTC_ROLE_PARAM, OPTC_ROLE_GRAD, OPTC_ROLE_IN, OPTC_ROLE_OUT, OPTC_ROLE_INOUT, OPTC_ROLE_STATE };
enum { OPTC_SCOPE_TENSOR, OPTC_SCOPE_ITEM, OPTC_SCOPE_CALL };            /* a tensor; one number an item; one number a call */
typedef struct optc_operand_info {
  const char *name, *external, *type;    /* type: "f32", ... */
  int role;                              /* OPTC_ROLE_* */
  int scope;                             /* OPTC_SCOPE_* */
  int optional, bytes;                   /* may be NULL (every tensor with role out may); bytes an element */
  const char *entry;                     /* the only entry that has it, or NULL */
  int tensor;                            /* has elements in memory (with scope 0, or a shape): given as a DLTensor; else a number */
  int item_shape;                        /* has the shape of the item, that is of the param */
  int rank;                              /* axes where it has a shape of its own; -1: any number */
  const char *shape;                     /* that shape as the rule writes it, "[B, H, N, D]", or NULL. Of a state, out or inout: computed from the sizes of the inputs */
  int has_default; double value;         /* of a number that is read: what tools give where their data has none */
} optc_operand_info;
OPTC_API int optc_rule_hyper(const optc_rule *, int index, optc_hyper_info *);           /* 0, or OPTC_E_NULL past the end */
OPTC_API int optc_rule_operand(const optc_rule *, int index, optc_operand_info *);
enum { OPTC_USE_READ = 1, OPTC_USE_WRITTEN = 2, OPTC_USE_CONDITIONAL = 4, OPTC_USE_SIZES = 8 };        /* CONDITIONAL: only where a condition holds */
/* What an entry does to an operand: OPTC_USE_*, or 0. -1: no such entry or operand. */
OPTC_API int optc_rule_use(const optc_rule *, int entry, int operand);

/* --- call: arrays instead of the rule's own structs --------------------------------------------------------------- */
/* DLPack 1.x's tensor, for programs that do not have dlpack.h; include dlpack.h first if both are needed. */
#ifndef DLPACK_DLPACK_H_
typedef enum { kDLCPU = 1, kDLCUDA = 2 } DLDeviceType;
typedef enum { kDLInt = 0, kDLUInt = 1, kDLFloat = 2, kDLBfloat = 4, kDLBool = 6 } DLDataTypeCode;
typedef struct { DLDeviceType device_type; int32_t device_id; } DLDevice;
typedef struct { uint8_t code, bits; uint16_t lanes; } DLDataType;
typedef struct {
  void *data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t *shape, *strides;              /* strides in elements; NULL: dense row-major */
  uint64_t byte_offset;
} DLTensor;
#endif
/* The type of elements for the name of a storage type ("f32", ...): 0, or OPTC_E_TYPE for a name that is none. */
OPTC_API int optc_dlpack_type(const char *type, DLDataType *);
/* Items of rules without param are problems of their own: every tensor has its shape, and sizes are found in the shapes of the inputs. An out, or an optional
 * tensor, that is NULL is not wanted. in, out and inout may have any strides, everything else is dense. */
typedef struct optc_item_args {
  DLTensor *const *tensor;               /* one an operand of the rule, in its order; NULL where absent. CPU, dense or strided */
  double *scalar;                        /* one an operand: item scalars, read and (states) written back; NULL if the rule has none */
  int64_t group;
} optc_item_args;
typedef struct optc_call_args {
  size_t size;
  const double *const *groups; int64_t n_groups;       /* one array of hyper-parameters a group, in the rule's order; NULL: all defaults, one group.
                                                          NaN asks for a default that the rule computes; an int takes whole numbers, a bool 0 and 1 */
  optc_item_args *items; int64_t n_items, first_item;
  double *global_scalar;                 /* one an operand: global numbers, read and (states, outputs) written back; NULL if the rule has none */
  int64_t *t; uint64_t seed;             /* t: steps done; advanced by entry step */
  const optc_parallel *parallel;
  optc_error *error;
  DLTensor *const *global_tensor;        /* one an operand: tensors of the whole call (`in global q[256]`), dense; NULL if the rule has none */
} optc_call_args;
/* 0, or an error code; then *error, if given, says what and where, and nothing has been written. Errors of tensors name the operand:
 * text "tensor 'g': axis {} has extent {}, expected {}", value[] the three numbers; optc_error_format puts them in. Extents that do not fit a rule's shapes say so in its words (OPTC_E_SHAPE):
 * "axis 1 of tensor 'K' is {}, G is {}". `text` lives as long as the rule. */
OPTC_API int optc_rule_call(const optc_rule *, int entry, const optc_call_args *);
/* Which states item `item` of the call has (one struct an operand with role state, in their order). */
OPTC_API int optc_rule_layout(const optc_rule *, const optc_call_args *, int64_t item, optc_state_info *out);
/* The rule's own structs (those of the generated header), for programs that have it: size_of R_call in `call->size`. */
OPTC_API int optc_rule_call_raw(const optc_rule *, int entry, const void *R_call);
/* The entry in pieces, for processes that share tensors: see R_phase and R_partials in a generated header. */
OPTC_API int optc_rule_phases(const optc_rule *, int entry);             /* 0: no such entry */
OPTC_API int optc_rule_phase_raw(const optc_rule *, int entry, int phase, const void *R_call);
OPTC_API int64_t optc_rule_partials(const optc_rule *, int entry, int phase, const void *R_call, double **out);
OPTC_API size_t optc_rule_workspace_size(const optc_rule *, const void *R_call);

/* --- NVIDIA GPUs --------------------------------------------------------------------------------------------------- */
/* A GPU by its number, through the CUDA driver (libcuda.so.1, or what OPTC_CUDA_LIBRARY names), which is looked for here: neither building nor running
 * on a CPU needs it, and a toolkit nobody. It uses the device's primary context, as PyTorch and the CUDA runtime do, and keeps each rule's code loaded until it
 * is closed. One gpu belongs to one thread at a time; other threads may open the same device again. */
typedef struct optc_gpu optc_gpu;
/* 0, or OPTC_E_DEVICE (error->text says why: "no NVIDIA driver: libcuda.so.1 was not found"), OPTC_E_MEMORY: then *gpu is NULL. error may be NULL. */
OPTC_API int optc_gpu_open(int device, optc_gpu **gpu, optc_error *error);
OPTC_API void optc_gpu_close(optc_gpu *);

/* What a GPU needs of a rule: PTX, what is known of its kernels, host code for what is no work for a GPU. Constant data, that any number of threads and GPUs
 * may use: R_gpu of an object that was made with --gpu=sm_80,sm_90; of a rule compiled with OPTC_BACKEND_PTX or loaded from such an object optc_rule_gpu, which lives as
 * long as the rule (NULL: it has no PTX). Of several texts the one is taken that is made for the device's compute capability, or the nearest below. */
OPTC_API const struct optc_gpu_desc *optc_rule_gpu(const optc_rule *);

/* One call of an entry on a GPU. stream: where the work is queued: a CUstream (or cudaStream_t) of the primary context; NULL is the legacy default stream. Everything but
 * the elements of tensors is read in main memory before the function returns, and the caller's again. Errors of the call, requirements (`require`)
 * among them, are found before anything is queued; OPTC_E_TARGET: the rule has no PTX that this GPU runs; OPTC_E_DEVICE: the driver's error, with the log of its
 * compiler: `text` lives until the gpu's next error, and tensors may have been written. The function does not wait, tensors are ready when the stream is; but entries
 * that write numbers (of items or of the call), or that find out on the GPU whether t goes on, wait for the stream.
 *
 * optc_gpu_call: as optc_rule_call, with dense tensors on that GPU (kDLCUDA and its number). optc_gpu_call_raw: with the rule's own structs, by the name of the entry; `data` of
 * tensors is an address of the GPU's memory, strides are NULL or dense. parallel and workspace are not used. */
OPTC_API int optc_gpu_call(void *stream, optc_gpu *, const optc_rule *, int entry, const optc_call_args *);
OPTC_API int optc_gpu_call_raw(void *stream, optc_gpu *, const struct optc_gpu_desc *, const char *entry, const void *R_call);

/* A call that is launched again and again. A plan is made once for a call's tensors, shapes and groups, and owns what a launch needs: tables, room, and a copy of the call's
 * structs in the GPU's memory, which the launches read and write: R_hyper of each group, R_global with t and seed, R_item with its numbers. So a launch is kernels alone (one or
 * two fills of memory among them): no allocation, no wait, nothing read from main memory; it can be captured into a CUDA graph, and each launch of that graph is a step. Where
 * the entry counts steps, t grows there; launches of one plan follow each other as their streams do, and must not overlap.
 *
 * Requirements (`require`), and sizes that depend on hyper-parameters, are those of the call that the plan is made with: launches check nothing. A hyper-parameter may
 * be changed between launches where no size depends on it; who changes one sees to the requirements (a new plan of the call with the new value is refused where
 * they are not met).
 *
 * Making a plan waits for the stream; then it may be launched in any. Its gpu must stay open; calls and plans cannot be made in a stream that is being captured
 * (OPTC_E_DEVICE). Errors and arguments as in optc_gpu_call and optc_gpu_call_raw, whose structs are the caller's again afterwards. */
typedef struct optc_gpu_plan optc_gpu_plan;
OPTC_API int optc_gpu_plan_new(void *stream, optc_gpu *, const optc_rule *, int entry, const optc_call_args *, optc_gpu_plan **);
OPTC_API int optc_gpu_plan_new_raw(void *stream, optc_gpu *, const struct optc_gpu_desc *, const char *entry, const void *R_call, optc_gpu_plan **);
OPTC_API int optc_gpu_launch(void *stream, const optc_gpu_plan *, optc_error *error);             /* error may be NULL */
/* Where the plan's structs lie in the GPU's memory, and how large they are (size may be NULL); NULL: there is no such part. A change is a copy in the stream of the launches. */
enum { OPTC_PLAN_GROUPS, OPTC_PLAN_GLOBAL, OPTC_PLAN_ITEMS, OPTC_PLAN_PARTS };       /* R_hyper[n_groups], R_global, R_item[n_items] */
OPTC_API void *optc_gpu_plan_memory(const optc_gpu_plan *, int part, size_t *size);
OPTC_API void optc_gpu_plan_free(void *stream, optc_gpu_plan *);         /* its memory goes when the stream comes to it; graphs that launch it are gone before */

/* Memory of a GPU, for programs without another way to it: asynchronous, in the order of the stream. read returns when `here` is filled, write
 * when it may change, unless it is page-locked. error may be NULL. Freeing NULL does nothing. */
OPTC_API int optc_gpu_alloc(void *stream, optc_gpu *, size_t size, void **there, optc_error *error);
OPTC_API int optc_gpu_free(void *stream, optc_gpu *, void *there, optc_error *error);
OPTC_API int optc_gpu_write(void *stream, optc_gpu *, void *there, const void *here, size_t size, optc_error *error);
OPTC_API int optc_gpu_read(void *stream, optc_gpu *, void *here, const void *there, size_t size, optc_error *error);

/* A team of `threads` OpenMP threads as an optc_parallel (0: all cores). */
OPTC_API optc_parallel optc_parallel_openmp(int threads);
#ifdef __cplusplus
}
#endif
#endif
