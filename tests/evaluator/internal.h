/* internal.h: what the files of the evaluator share. */
#ifndef OPTC_TESTS_EVALUATOR_INTERNAL_H
#define OPTC_TESTS_EVALUATOR_INTERNAL_H
#include <setjmp.h>
#include <string.h>
#include "evaluator.h"

/* What a number is. WEAK: f64 that depends on no tensor data; rounded once where it meets f32 data. */
typedef enum Kind { K_BOOL, K_INT, K_WEAK, K_F32, K_F64 } Kind;
typedef struct Val { Kind kind; uint32_t node; union { double d; int64_t i; }; } Val;        /* node: place on the tape, 0: constant */

typedef struct Tensor {
  Kind kind;
  unsigned rank;
  int64_t shape[EVAL_MAX_RANK], count;
  double *d; int64_t *i;                 /* i: bools and ints */
  uint32_t *node;                        /* NULL: constants */
  bool absent;                           /* reads 0 */
} Tensor;

/* What a whole value is: a tensor, or (tensor NULL) one number. */
typedef struct Whole { Tensor *tensor; Val number; } Whole;

typedef struct Frame Frame;
typedef enum BindKind { BIND_NONE, BIND_NUMBER, BIND_TENSOR, BIND_CLOSURE, BIND_LAZY, BIND_INDEX } BindKind;
typedef struct Binding {
  const char *name;
  BindKind kind;
  Val number;
  Tensor *tensor;
  const Expr *expr; Frame *scope;        /* CLOSURE: seen from scope; LAZY: becomes a NUMBER when first asked for */
  const char *type;                      /* of a LAZY */
  int64_t index, extent;                 /* INDEX */
  bool is_size, by_pattern;
  bool reads_data;                       /* a local: some value of it */
  const Decl *decl; Role role; Scope level;            /* declared */
  const char *array;                     /* its name in the sets */
  bool stored, default_shape, viewed;
  unsigned own_rank; int64_t own_shape[EVAL_MAX_RANK]; /* in the sets */
  Whole entry;                           /* value at entry */
  struct Binding *outer;                 /* the param of the rule that applies this one */
  uint64_t stamp;                        /* when last assigned */
  const Stmt *definition;                /* the only assignment */
  struct Binding **on; unsigned n_on;    /* in a fn called at indices: those that its value depends on */
} Binding;

struct Frame {
  Frame *parent, *lexical;               /* who made it; whose names it sees */
  const void *node;                      /* the call or apply statement */
  unsigned item;
  const Rule *rule;
  bool own;                              /* of an applied rule: what it declares now is given by the caller */
  const Fn *fn;
  Binding **at; unsigned n; size_t capacity;
  Frame **children; unsigned n_children; size_t children_capacity;
  unsigned ell_rank; int64_t ell_shape[EVAL_MAX_RANK]; bool has_ell;       /* what `...` matched in the param's pattern */
  Whole result; bool ready;              /* of a fn with statements, run before the statement that calls it */
};

typedef struct Tape { struct TapeNode { uint32_t a, b; double da, db; } *at; uint32_t n; size_t capacity; } Tape;
typedef enum Mode { MODE_RUN, MODE_INIT, MODE_DECLARE } Mode;
typedef struct Memo Memo;

/* Whose elements count random numbers: the whole tensor of an index-free statement, or the places of the indices on its left side. */
typedef struct Statement { const Stmt *stmt; bool tensor, indexed; unsigned rank; int64_t shape[EVAL_MAX_RANK]; Binding *const *at; unsigned n; int64_t element; } Statement;

/* A place in the tensor of an index-free expression. */
typedef struct Place { Binding b; unsigned rank; int64_t shape[EVAL_MAX_RANK]; } Place;

typedef struct Ctx {
  EvalCall *call;
  Arena *arena, *scratch;
  Arena *scratches[256]; unsigned n_scratches;             /* of the statements that wait for a fn */
  jmp_buf fail;
  Mode mode;
  Tape *tape;
  const Rule *rule;
  Frame **roots; unsigned n_roots;
  Frame *consts;
  Frame **group; unsigned n_group;       /* frames that run a statement together; NULL inside one element */
  Binding **declared; unsigned n_declared; size_t declared_capacity;
  Place *whole;
  Statement statement;
  Binding ell; bool has_ell; unsigned ell_rank; int64_t ell_shape[EVAL_MAX_RANK];
  unsigned active;                       /* indices in scope */
  unsigned loops;                        /* scans and repeats around the statement */
  Memo **memo; size_t n_memo, memo_capacity;
  struct { const char *name; const Frame *frame; Binding *binding; } *cache; size_t cache_size;
  struct { const Frame *owner; const char *name; Kind kind; bool set; unsigned assignments; } *joins; unsigned n_joins; size_t joins_capacity;
  bool has_t;                            /* t is the step: rules with param or state */
  bool again;                            /* a name's type grew: the entry runs once more */
  bool skipped;
  uint64_t stamp;
} Ctx;

_Noreturn void ev_fail(Ctx *, Range where, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* number.c: arithmetic on numbers of the five kinds */
static inline Val ev_int(int64_t i) { return (Val){.kind = K_INT, .i = i}; }
static inline Val ev_bool(bool b) { return (Val){.kind = K_BOOL, .i = b}; }
static inline Val ev_weak(double d) { return (Val){.kind = K_WEAK, .d = d}; }
static inline bool ev_is_real(Val v) { return v.kind >= K_WEAK; }
Kind ev_join(Ctx *, Kind a, Kind b, Range where);
Val ev_to(Ctx *, Val v, Kind kind);
double ev_double(Val v);                                         /* any kind */
int64_t ev_cut(double);                                          /* int(x) */
Val ev_number(Ctx *, Kind kind, double d);
Val ev_arith(Ctx *, Oper, Val a, Val b, Range where);
Val ev_fma(Ctx *, Val a, Val b, Val c);
Val ev_neg(Ctx *, Val a, Range where);
bool ev_compare(Ctx *, Oper, Val a, Val b, Range where);
Val ev_max(Ctx *, Val a, Val b, bool min, Range where);
Val ev_power_int(Ctx *, Val base, int64_t n, Range where);
Val ev_power(Ctx *, Val a, Val b, Range where);
uint32_t ev_node(Ctx *, uint32_t a, double da, uint32_t b, double db);
Val ev_zero(Ctx *, Kind);
static inline bool ev_is_zero(Val v) { return v.kind <= K_INT ? v.i == 0 : v.d == 0; }

/* function.c: functions of elements, random numbers, storage */
bool ev_is_function(const char *name);
Val ev_function(Ctx *, const char *name, Val *args, unsigned n, Range where);
Val ev_convert(Ctx *, const char *type, Val v, Range where);
Val ev_sexp(Ctx *, Val x);
void ev_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
Val ev_random(Ctx *, bool normal, uint64_t element, int64_t stream, unsigned item);
double ev_store(Ctx *, const Storage *, double value, uint32_t bits16);

/* tensor.c: tensors, frames, names, what depends on which index */
Tensor *ev_tensor(Ctx *, Kind, unsigned rank, const int64_t *shape);
Val ev_get(const Tensor *, int64_t at);
void ev_put(Ctx *, Tensor *, int64_t at, Val v);
Tensor *ev_convert_tensor(Ctx *, const Tensor *, Kind);
Tensor *ev_view(Ctx *, const Tensor *, unsigned rank, const int64_t *shape);
bool ev_same_shape(const Tensor *, unsigned rank, const int64_t *shape);
const char *ev_shape_text(Ctx *, unsigned rank, const int64_t *shape);

Frame *ev_frame(Ctx *, Frame *parent, const void *node);         /* the one child of this node */
Binding *ev_own(Ctx *, Frame *, const char *name);               /* made if missing */
Binding *ev_find(Ctx *, Frame *, const char *name);              /* NULL: no value or index of that name */
Binding *ev_resolve(Ctx *, Frame **, const Expr **);             /* through closures that are names, to what the NAME is; NULL: an expression, or nothing */
const Fn *ev_find_fn(Ctx *, Frame *, const char *name, Frame **lexical);
Frame *ev_call_frame(Ctx *, Frame *, const Expr *call, const Fn *, Frame *lexical);
Frame *ev_translate(Ctx *, Frame *, Frame *from, Frame *to);
void ev_forget(Ctx *);                                           /* memo and caches, after a statement */

void ev_depends(Ctx *, Binding *, const Stmt *, Frame *, bool keeps);      /* after an assignment; keeps: also on what it did before */

typedef struct Deps { Binding **at; unsigned n; bool data; } Deps;
const Deps *ev_deps(Ctx *, const Expr *, Frame *);               /* indices in scope that the value depends on; data: it reads tensor data */
struct Memo { const Expr *expr; Frame *frame; const void *tag; unsigned n; const int64_t *key; bool set; Val number; Tensor *tensor; Val *row; const Deps *deps; };
Memo *ev_memo(Ctx *, const Expr *, Frame *, const void *tag, const Deps *, const Binding *const *without, unsigned n_without);

/* range.c: how far an index runs, what shape an expression has */
int64_t ev_range(Ctx *, Binding *index, const Expr *, Frame *, int64_t found);   /* -1: not known */
int64_t ev_range_in(Ctx *, Binding *index, const StmtList *, Frame *, int64_t found);
bool ev_ellipsis(Ctx *, const Expr *, Frame *);                  /* sets ctx->ell from the first tensor read with `...` */
bool ev_shape(Ctx *, const Expr *, Frame *, unsigned *rank, int64_t *shape);     /* of an index-free expression; false: one number */
Tensor *ev_tensor_of(Ctx *, const Expr *name, Frame *);          /* the tensor a name stands for, also an expression passed to a fn; NULL: none */

/* expression.c */
Val ev_eval(Ctx *, const Expr *, Frame *);
Whole ev_whole(Ctx *, const Expr *, Frame *);                    /* an index-free expression, all elements */
bool ev_condition(Ctx *, const Expr *, Frame *);
int64_t ev_integer(Ctx *, const Expr *, Frame *);
int64_t ev_literal(Ctx *, const Expr *, Frame *, bool *is);
Val ev_read(Ctx *, const Tensor *, const SubList *, Frame *, Range where);
bool ev_is_index_sub(Ctx *, const Sub *, Frame *, const char **name, const Expr **limit);

/* reduce.c */
bool ev_is_reduction(const char *name);
bool ev_is_keeping(const char *name);
Val ev_reduce(Ctx *, const Expr *, Frame *);
Val ev_keep(Ctx *, const Expr *, Frame *);
Val ev_lanes(Ctx *, const Val *values, const bool *skip, int64_t n, Oper op);
Tensor *ev_matmul(Ctx *, const Tensor *a, const Tensor *b, Range where);
Tensor *ev_decompose(Ctx *, const char *name, const Tensor *, Range where);       /* decompose.c: eigvec, qr */

/* codes.c */
bool ev_is_codes(const Storage *);
int64_t ev_block_of(Ctx *, const Storage *, Frame *);
void ev_decode(Ctx *, const Storage *, int64_t block, const EvalArray *codes, const EvalArray *maxima, Tensor *to);
void ev_encode(Ctx *, const Storage *, int64_t block, const Tensor *, EvalSet *, const char *name);     /* sets `name` and `name`_max */

/* statement.c */
Statement ev_statement_of(Ctx *, const Stmt *, Frame *);          /* of an index-free one that draws random numbers */
bool ev_run(Ctx *, const StmtList *, Frame **, unsigned n);      /* false: skipped */
void ev_call_block(Ctx *, const Expr *call, const Fn *, Frame **callers, Frame **frames, unsigned n);    /* callers NULL: inside one element */

/* declare.c */
void ev_declare(Ctx *, const Stmt *, Frame *);
Binding *ev_param(Frame *);                                      /* the first; NULL: none */
void ev_pattern(Ctx *, const Shape *, unsigned rank, const int64_t *shape, Frame *, const char *what, bool *matches, unsigned *view_rank, int64_t *view);
void ev_bind_hypers(Ctx *, Frame *, const Stmt *apply);
void ev_hand_back(Ctx *, Frame *applied);                        /* its params become ours */
void ev_solve_sizes(Ctx *, const StmtList *, Frame *);
void ev_write_back(Ctx *);
Kind ev_kind_of(Ctx *, const Decl *, Scope);
bool ev_is_number(const Decl *, Scope);                          /* one number, not a tensor */
#endif
