/* stub.h: what tests see of the driver that has no GPU: they open the library themselves and ask for cuda_stub(). */
#ifndef OPTC_TESTS_CUDA_STUB_H
#define OPTC_TESTS_CUDA_STUB_H

typedef struct CudaStub {
  const char *fails; int code;           /* a function of the driver that gives this code instead of doing its work; NULL: none */
  unsigned launches, threads;            /* kernels, and threads of them all */
  unsigned modules, loads;               /* there now; ever loaded */
  int memory, contexts, pushed;          /* allocations, retained contexts and pushed ones that are there now */
  unsigned waits, strangers;             /* synchronisations; uses of another stream than `stream` */
  void *stream;
  void *context;                         /* the primary one */
  int compute;                           /* capability: 80 for 8.0 */
  int capturing; unsigned captured;      /* launches and the like are kept instead of done; how many are */
  char broken[64];                       /* the first function called meanwhile that no graph can hold */
  unsigned most_blocks;                  /* of a launch, in x: the others' work is theirs; 0: as many as are asked for */
  char finding[512];                     /* what the executor found wrong with a kernel first */
} CudaStub;

typedef CudaStub *(*CudaStubOf)(void);   /* cuda_stub */
typedef void (*CudaStubReplay)(void);    /* cuda_stub_replay: does what was captured, once more */
#endif
