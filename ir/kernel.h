/* kernel.h: the kernel form: how. Loop nests with explicit loads and stores; a program is a list of kernels with launch spaces.
 *
 * One form serves CPU and GPU: a loop says what its iterations allow, and the back end makes vectors, blocks or threads of it (gpu_map.h). */
#ifndef OPTC_IR_KERNEL_H
#define OPTC_IR_KERNEL_H
#include "ir/module.h"

typedef enum KOp {
#define ELEMENT(id, ...) KOP_##id,
#include "ir/element.def"
#undef ELEMENT
#define KERNELOP(id, ...) KOP_E_##id,
#include "ir/kernel.def"
#undef KERNELOP
  KOP_COUNT
} KOp;                                   /* the first ELEMENT_COUNT are the Elements; the others are KOP_E_LOAD and so on */

/* BLOCK: iterations multiply tiles that do not meet; blocks of a GPU may share them, other machines take them in order. */
typedef enum Binding { BIND_SEQ, BIND_VECTOR, BIND_BLOCK } Binding;
enum { BINDINGS = BIND_BLOCK + 1 };

typedef struct Inst Inst;
typedef struct Block { Inst **insts; unsigned n; size_t capacity; } Block;

struct Inst {
  uint16_t op;                           /* KOp */
  uint8_t type;                          /* Type of the result */
  uint8_t binding;                       /* FOR */
  uint16_t lanes, unroll;                /* FOR bound to VECTOR */
  int32_t aux;
  int64_t imm;
  unsigned id;                           /* dense within a kernel after kernel_number */
  unsigned n_args;
  Inst **args;
  Block *body, *otherwise;               /* FOR, IF */
};

/* Panels of TILE. A: tile_rows rows in groups of KERNEL_TILE_GROUP positions: element (r, p) at ((p/16)*rows + r)*16 + p%16, so that what lies along positions in memory packs
 * in whole lines. B: element (p, c) at p*columns + c. Rows and columns past the matrix are computed and dropped; positions past k in a last group are not read.
 * The rows and columns of every machine divide KERNEL_TILE_ROWS and KERNEL_TILE_COLUMNS: room for whole panels is known without the machine. */
enum { KERNEL_TILE_GROUP = 16, KERNEL_TILE_ROWS = 48, KERNEL_TILE_COLUMNS = 64, KERNEL_MAX_LOCAL = 8192 };

/* A temporary, in the workspace: one element for each element of the item, or as many as a sizes kernel says; `call`: one for the call, not one an item.
 * A local one lives on the stack while a kernel runs: every launch has its own. */
typedef struct Buffer {
  const char *name;
  Type type;
  bool sized, call;
  bool partial;                          /* one f64 a chunk of the whole tensor: what chunk kernels leave for the next phase; ranks that share a tensor add theirs up */
  unsigned local;                        /* elements of a local one, at most KERNEL_MAX_LOCAL; 0: it is none */
  bool rows;                             /* so many for each of the machine's tile_rows */
} Buffer;

static inline uint64_t buffer_elements(const Buffer *b, unsigned tile_rows) { return (uint64_t)b->local*(b->rows ? tile_rows : 1); }      /* of a local one */

/* Why a kernel is loops of one thread, one element after the other, and what could be written instead (or NULL). For people: no part of the text form. */
typedef struct Plain { const char *why, *hint; } Plain;
typedef struct Kernel { const char *name; Launch launch; unsigned space; Block *body; unsigned n_insts; const Plain *plain; } Kernel;      /* space: of TILE and REPEAT; plain: or NULL */

typedef struct Program {                 /* one entry */
  const Module *module;
  Arena *arena;
  const char *entry;
  Kernel **kernels; unsigned n_kernels;
  Buffer *temps; unsigned n_temps;       /* buffer numbers continue after the operands */
  unsigned n_uniforms, n_slots, n_spaces;
  const char **texts; int64_t *about; unsigned n_texts;      /* of REQUIRE */
  uint64_t equal_hypers;                 /* bit k: hyper k stands in a global expression, so all groups must agree on it */
  bool advances;
} Program;

/* What is true of an operation wherever it stands: a column of kernel.def. */
typedef enum KopProperty {
  KPROP_EFFECT = 1,                      /* does something beside its result: it stays, and stays in its place */
  KPROP_SETS = 2,                        /* sets a number that others read, now or in a later kernel; always an effect */
  KPROP_ASKS = 4,                        /* reads such a number */
  KPROP_OWN = 8,                         /* differs from item to item, launch to launch or machine to machine: never a value of a group */
  KPROP_LEAF = 16,                       /* one number for all lanes of a vector, whatever loop it stands in */
  KPROP_PARTS = 32,                      /* touches the parts and totals of a call, which lie in the workspace */
  KPROP_ANSWER = 64                      /* is for the host: a requirement, a skip, what a group's items share */
} KopProperty;

const char *kop_name(KOp);
bool kop_has_result(KOp);
bool kop_is(unsigned op, unsigned properties);                           /* any of them; an element operation has none */
const char *launch_name(Launch);
bool launch_has_space(Launch);
/* The arguments of tile_contract, and of tile_transpose and tile_copy. */
enum { TILE_C, TILE_C_STRIDE, TILE_M, TILE_N, TILE_A, TILE_B, TILE_K, TILE_ADDS, TILE_NEXT, TILE_NEXT_STRIDE, TILE_ARGS };
enum { MOVE_TO, MOVE_TO_STRIDE, MOVE_FROM, MOVE_FROM_STRIDE, MOVE_ROWS, MOVE_COLUMNS, MOVE_ARGS };
static inline bool kop_contracts(unsigned op) { return op == KOP_E_TILE || op == KOP_E_TILE_FAST; }
static inline bool kop_moves(unsigned op) { return op == KOP_E_TILE_TRANSPOSE || op == KOP_E_TILE_COPY; }
static inline bool kop_is_tile(unsigned op) { return kop_contracts(op) || kop_moves(op); }

Program *program_new(const Module *, Arena *, const char *entry);
Kernel *program_kernel(Program *, const char *name, Launch);             /* appended */
unsigned program_temp(Program *, const char *name, Type);                /* its buffer number */
unsigned program_local(Program *, const char *name, Type, unsigned elements);        /* a local one */
unsigned program_text(Program *, const char *text, int64_t about);
Type program_buffer_type(const Program *, unsigned buffer);              /* storage type */

/* The buffers an instruction touches, the one it writes first. */
typedef struct Touch { unsigned buffer; bool read, written; } Touch;
enum { MAX_TOUCHES = 4 };
unsigned inst_touches(const Inst *, Touch *);
void inst_set_buffer(Inst *, unsigned which, unsigned buffer);           /* of inst_touches */

/* Whether a place moves with a loop, one element an iteration: it is the index, or the index and what does not change in the loop. */
bool place_follows(const Inst *at, const Inst *loop);

Block *block_new(Arena *);
Inst *block_add(Arena *, Block *, KOp, Type, int64_t imm, unsigned n_args, Inst *const *args);   /* appended */
void block_push(Arena *, Block *, Inst *);
/* Appends a copy, with its blocks, to `into`. map, by id: what stands for an argument (NULL: itself); the copies enter it. Copies keep the numbers until kernel_number. */
Inst *inst_clone(Arena *, Block *into, const Inst *, Inst **map);
bool inst_same(const Inst *, const Inst *);                              /* in all but arguments and blocks, of which there are as many */
bool inst_same_binding(const Inst *, const Inst *);                      /* loops that run alike */
void inst_take_binding(Inst *, const Inst *from);
Inst *loop_fold(const Inst *loop, unsigned which);                       /* that FOLD of its body, or NULL */
bool loop_folds(const Inst *loop);                                       /* whether it has any */
void kernel_number(Kernel *);                                            /* ids dense in order of print */

void program_print(const Program *, Text *);
Program *program_parse(const Module *, Arena *, Diag *, const Source *);
bool program_verify(const Program *, Diag *);                            /* numbering, dominance, types, buffers, launches, bindings */
#endif
