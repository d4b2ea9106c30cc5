/* calls.h: what the suites runtime_cuda_*_test.c share: a driver without a GPU (stub.c), device memory, lists of tensors, and rules that run there against machine code. */
#ifndef OPTC_TESTS_CUDA_CALLS_H
#define OPTC_TESTS_CUDA_CALLS_H
#include "runtime/cuda.h"
#include "tests/cuda/stub.h"
#include "tests/support/drill_rules.h"

/* The driver's insides and the stream of all work, from cuda_enter on. A suite is run with these two. */
extern CudaStub *stub;
extern CUstream stream;
int cuda_enter(void);
int cuda_leave(void);

optc_gpu *open_gpu(void);
void everything_is_given_back(optc_gpu *);         /* closes it */
CUdeviceptr to_gpu(const void *data, size_t size);
void from_gpu(void *data, CUdeviceptr at, size_t size);               /* frees it there */

optc_rule *compile_at(const char *path, const char *name, int backend, int level);
optc_rule *compile(const char *path, const char *name, int backend);  /* what is compared with, machine code, is made without passes */

/* Between these two nothing may be called that a graph cannot hold; what was captured is done each time that it is replayed. */
void begin_capture(void);
void end_capture(void);
void replay_capture(void);

/* --- lists of tensors through DLPack ------------------------------------------------------------------------------------------------------------ */
enum { ITEMS = 4, MANY = 148, OPERANDS = 4 };         /* p, g, m, v; as many tensors as GPT-2 has */
typedef struct List {
  int n;
  int64_t shape[MANY][2];
  float *data[MANY][OPERANDS];
  CUdeviceptr device[MANY][OPERANDS];
  DLTensor tensor[MANY][OPERANDS], *pointer[MANY][OPERANDS];
  optc_item_args items[MANY];
  int64_t t;
  optc_error error;
  optc_call_args call;
} List;
size_t bytes_of(const List *, int item);
/* The first items are of few and of many elements, more of them of few. */
void list_make(List *, int n);
void list_free(List *);
void list_move(List *, bool there);
bool same_lists(const List *, const List *);

/* --- a rule through its own structs; planned: each call is a plan, captured and done once ----------------------------------------------------------- */
typedef struct There { optc_gpu *gpu; const optc_rule_desc *desc; const optc_gpu_desc *code; bool planned; } There;
int call_there(void *self, int64_t entry, const optc_call *);
size_t workspace_there(void *self, const optc_call *);
int layout_there(void *self, const optc_call *, int64_t item, optc_state_info *out);
/* A step or two of made-up data against machine code. */
void bits_agree(const char *name, optc_rule *code, There *);
#endif
