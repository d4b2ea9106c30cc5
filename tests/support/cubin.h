/* cubin.h: what an assembler made of PTX, read without a disassembler: registers and stack of each kernel, and how often each operation stands in it. Instructions of
 * sm_70 and later have 16 bytes; the low 12 bits of the first word name the operation, the upper three of those the form of its operands. */
#ifndef OPTC_TESTS_CUBIN_H
#define OPTC_TESTS_CUBIN_H
#include <stddef.h>
#include <stdint.h>

enum { SASS_FMUL = 0x020, SASS_FADD = 0x021, SASS_FFMA = 0x023, SASS_DMUL = 0x028, SASS_DADD = 0x029, SASS_DFMA = 0x02b, SASS_MUFU = 0x108, SASS_SHFL = 0x189, SASS_HMMA = 0x03c, SASS_OPS = 0x200 };

typedef struct CubinKernel {
  const char *name;                      /* in the bytes read */
  unsigned section;
  unsigned registers, stack;             /* a thread; stack: bytes of local memory, spills among them */
  unsigned op[SASS_OPS];                 /* instructions by operation, whatever the form */
} CubinKernel;

/* Kernels of an ELF file, malloc'ed; NULL: it is none that is understood. The bytes must be aligned to 8 and outlive them. */
CubinKernel *cubin_read(const void *bytes, size_t size, int *n);
#endif
