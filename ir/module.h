/* module.h: a rule after analysis: its declarations, and one graph an entry. */
#ifndef OPTC_IR_MODULE_H
#define OPTC_IR_MODULE_H
#include <stdbool.h>
#include <stdint.h>
#include "ir/arena.h"
#include "ir/diag.h"
#include "ir/frame.h"
#include "ir/type.h"

typedef struct Graph Graph;
typedef struct Node Node;
typedef struct Space Space;

/* A hyper-parameter: run-time scalar, one struct of them a parameter group, 8 bytes each (double, or int64_t for int and bool). */
typedef struct Hyper {
  const char *name, *external;           /* external: the name after `as`, or NULL */
  const char *doc;
  Type type;                             /* f64, i64 or bool */
  bool has_default, is_const;
  bool computed;                         /* the default is computed by the entries: `value` (NaN, INT64_MIN) asks for it */
  Bits value;                            /* default, or the fixed value when is_const */
  Range where;
} Hyper;

/* `...` in the shape of a state: axis at - 1 of it (at 0: there is none). It stands for the item's axes from `first` on, all but `others`. */
typedef struct Dots { unsigned at, first, others; } Dots;

/* param, grad, in, out, inout, state. Ordered as declared; entry-local operands follow. */
typedef struct Operand {
  const char *name, *external, *doc;
  Role role;
  Scope scope;
  Type storage;                          /* type in memory; arithmetic sees f32 (f64 stays, integers i64, bool) */
  bool flush;                            /* stored values below 2^-126 become 0 */
  bool optional;
  const char *entry;                     /* NULL: all entries; else the only entry that has it */
  bool item_shape;                       /* has the item's shape (the shape of the first param) */
  const Space *shape;                    /* if not item_shape: extents */
  const char *memory;                    /* of codes and their maxima: what lies there, for who calls from C; else NULL */
  const char *shape_text;                /* as written, "[B, H, N, D]"; NULL: none was written */
  bool any_rank;                         /* `...` or `flat N` is in it: axes in memory are as many as the caller has */
  Dots dots;                             /* of a state */
  bool has_default; Bits value;          /* `in scalar x = 1`: what tools give where their data has none */
  Range where;
} Operand;

/* What a pattern (`p is [R, flat C]`) calls an extent of the param: an axis as OP_SIZE numbers it, or (rest) all elements over so many of the other axes. */
typedef struct SizeName { const char *name; unsigned operand; int32_t axis; unsigned rest; } SizeName;

/* `backward wrt ... saving ...`: what entry `backward` is made of. Gradients are operands of that entry. */
typedef struct BackwardWrt { bool hyper; unsigned of, gradient; } BackwardWrt;       /* operand or hyper-parameter; the out that takes its gradient */
typedef struct BackwardSeed { unsigned of, gradient; } BackwardSeed;     /* a real output, and the in (optional: 0) with its gradient */
typedef struct Backward {
  BackwardWrt *wrt; unsigned n_wrt;
  BackwardSeed *seeds; unsigned n_seeds;
  unsigned *saving; unsigned n_saving;   /* outputs that the entry is given */
  Range where;
} Backward;

typedef struct Module {
  Arena *arena;
  Diag *diag;
  const char *name, *doc;
  Hyper *hypers; unsigned n_hypers;
  Operand *operands; unsigned n_operands;
  SizeName *size_names; unsigned n_size_names;          /* no name twice, no extent twice: the first that the text has */
  Graph **graphs; unsigned n_graphs;     /* init (writes the states), layout (which states exist), then step or forward, then the other entries */
  const char *const *sources; unsigned n_sources;       /* files read, for -MD and the cache key */
  Graph *shapes;                         /* holds the extents of Operand.shape: scalars only (module, not an entry); NULL where there are none */
  Backward *backward;                    /* NULL: not declared */
  bool has_step;                         /* `t` exists (rules with param or state) */
} Module;

Type type_arithmetic(Type storage);      /* the type a value has once read: f32, f64, i64 or bool */
bool operand_may_be_absent(const Operand *);                             /* its pointer may be NULL */
Type operand_field_type(const Operand *);                                /* of a number, in its 8-byte field: f64, i64 or bool */
bool operand_is_tensor(const Operand *); /* has elements in memory (else one number, in the call struct) */
const char *operand_shape_text(const Module *, const Operand *, Arena *);       /* as written, or made of the extents; NULL: any shape, or no tensor */
bool operand_is_shaped(const Operand *); /* an optc_shaped: its shape is the caller's choice; states with their own shape are not */
const char *role_name(Role);
const char *scope_name(Scope);
const Graph *module_graph(const Module *, const char *entry);           /* NULL if there is none */
/* Names that an entry cannot have: R_<name> is something else in the C interface; the compiler makes entries of that name by itself. */
bool interface_has_name(const char *);
bool entry_is_made(const char *);

/* Where each thing lies in the call structs of the C interface: one computation for header, kernels, driver and host.
 * Offsets in bytes; hyper k is at 8*k of R_hyper; tensors take 16 bytes (optc_tensor), those whose shape
 * the caller chooses 32 (optc_shaped), scalars 8. */
typedef struct Layout {
  unsigned hyper_size, item_size, global_size;
  unsigned *operand;                     /* operand k's offset: in R_item, or in R_global if its scope is global */
  unsigned item_group, item_rank, item_shape, item_first, item_count;
} Layout;
const Layout *layout_of(const Module *);                                 /* in the module's arena */
const Layout *layout_in(const Module *, Arena *);                        /* the same in another: a module may be shared by threads */
#endif
