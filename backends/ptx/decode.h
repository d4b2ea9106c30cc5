/* decode.h: what the files of decoding share: the decoder, names, operands. Private to decode.c, symbols.c and operands.c.
 *
 * A decoder lasts as long as a module is decoded; all that it makes lies in the module's arena. What is about a kernel is made anew for each. A refusal is an
 * error of the module at the statement at hand: it sets `failed` and gives false or NULL. */
#ifndef OPTC_BACKENDS_PTX_DECODE_H
#define OPTC_BACKENDS_PTX_DECODE_H
#include "backends/ptx/ops.h"

enum { BUCKETS = 1024, MAX_DEPTH = 32, MAX_CODE = 1 << 22, MAX_ROWS = 1 << 16, MAX_BYTES = 512 << 10 };            /* bytes: of local memory a thread has (CUDA's limit) */

/* { } opens a scope; the written-out body of a function is one without a parent. */
typedef struct Scope { const struct Scope *parent; } Scope;

typedef enum SymbolKind { SYMBOL_REGISTER, SYMBOL_RANGE, SYMBOL_VARIABLE, SYMBOL_LABEL, SYMBOL_TARGETS } SymbolKind;
typedef struct Symbol {
  SymbolKind kind;
  const char *name; const Scope *scope;
  char letter;                           /* of registers: p h r l; f and d are r and l of another type */
  PtxRef row, *rows; uint64_t count;
  PtxSpace space; uint64_t address, size;
  int32_t at;
  const PtxOperand *labels;
  struct Symbol *next;
} Symbol;

/* A name to be resolved when all of the kernel is there. */
typedef struct Fixup { uint32_t inst; const char *label; const Scope *scope; Range where; bool table; } Fixup;

typedef struct Spelling { const char *text; size_t length; const PtxOp *op; } Spelling;

struct PtxDecoder {
  PtxModule *module;
  const PtxParser *parser;
  Arena *arena;
  Diag *diag;
  Spelling *spellings; size_t n_spellings;                                   /* hashed; a power of two */
  /* the kernel at hand */
  PtxKernel *kernel;
  size_t code_capacity;
  Symbol *buckets[BUCKETS];
  Fixup *fixups; size_t n_fixups, fixup_capacity;
  uint64_t *fixed; size_t n_fixed, fixed_capacity;                           /* immediates; the second half of a pair says 32 or 64 bits */
  uint32_t *fixed_index; size_t fixed_slots;
  PtxRef extern_row;                     /* immediate that is patched with the place of the extern shared array */
  const Scope *scope;
  const PtxStatement *statement;
  const char *returns;                   /* label behind a written-out function; NULL: in the kernel itself */
  const Scope *returns_scope;
  uint64_t local_bytes, shared_bytes;
  unsigned depth, labels;
  uint32_t line_at; unsigned line;       /* of the text, as far as it has been walked */
  bool failed;
};

bool ptx_refuse_at(PtxDecoder *, Range, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* --- symbols.c: names of scopes, registers, variables ------------------------------------------------------------------------------------------------- */
uint32_t ptx_symbol_hash(const char *, size_t);
static inline uint64_t ptx_symbol_align(uint64_t x, uint64_t to) { return (x + to - 1) & ~(to - 1); }
Symbol *ptx_symbol_add(PtxDecoder *, SymbolKind, const char *name, Range);   /* in the scope at hand; NULL: declared twice */
/* In a scope or those around it. Ranges of registers have names of their own. */
Symbol *ptx_symbol_find(const PtxDecoder *, const char *name, size_t length, const Scope *, SymbolKind);
PtxRef ptx_symbol_row(PtxDecoder *);         /* a new one */
unsigned ptx_symbol_bytes(const char *type); /* of an element of a variable */
void ptx_symbol_layout(const PtxVariable *, uint64_t *size, uint64_t *align);
void ptx_symbol_registers(PtxDecoder *, const PtxStatement *);
bool ptx_symbol_register(PtxDecoder *, const char *name, PtxRef *row, char *letter);
Symbol *ptx_symbol_variable(PtxDecoder *, const PtxVariable *);
Symbol *ptx_symbol_find_variable(PtxDecoder *, const char *name);
void ptx_symbol_params(PtxDecoder *, const PtxFunction *, PtxKernelInfo *);

/* --- operands.c ------------------------------------------------------------------------------------------------------------------------------------------ */
/* Result and operands as the signature of a plain operation says. */
bool ptx_decode_signature(PtxDecoder *, PtxInst *, const PtxOp *, const PtxStatement *);
#endif
