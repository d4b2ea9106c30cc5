/* lower_call.c: calls: the functions of the language, one row each, and the fns of the file, by substitution. */
#include <string.h>
#include "frontend/expressions.h"

typedef Value Make(Lower *, const Expr *, const Builtin *, Value *args);

/* --- functions of values ------------------------------------------------------------------------------------------------------ */

/* All arguments in one type, one node. */
static Value make_element(Lower *l, const Expr *e, const Builtin *f, Value *args) {
  const Node *nodes[3];
  unsigned n = e->args.n;
  for (unsigned i = 0; i < n; i++) if (!args[i].node) return (Value){0};
  if (!value_align(l, NULL, e->op_where, args, n)) return (Value){0};
  for (unsigned i = 0; i < n; i++) {
    if (value_is(&args[i], KIND_BOOL)) {
      lower_error(l, e->args.at[i]->where, "'%s' of a bool; write where(c, 1, 0)", f->name);
      return (Value){0};
    }
  }
  value_join(l, args, n);
  Type type = (Type)args[0].node->type;
  if (type == TYPE_I64 && !(f->types & BUILTIN_TAKES_INTS)) type = TYPE_F64;
  if (type == TYPE_F64 && !(f->types & BUILTIN_TAKES_FLOATS)) type = TYPE_F32;
  Value made = {0};
  for (unsigned i = 0; i < n; i++) {
    args[i] = value_convert(l, args[i], type);
    nodes[i] = args[i].node;
    if (args[i].tensor) { made.tensor = true; made.space = args[i].space; }
    made.wide |= args[i].wide && type == TYPE_F64;
  }
  bool tells = f->op == OP_ISNAN || f->op == OP_FINITE;
  made.node = graph_element(l->graph, (Op)f->op, tells ? TYPE_BOOL : type, n, nodes);
  return made;
}

/* One rounding exists in f32 only: f64 never needs it. */
static Value make_fma(Lower *l, const Expr *e, const Builtin *f, Value *args) {
  Value probe[3] = {args[0], args[1], args[2]};
  for (unsigned i = 0; i < 3; i++) if (!args[i].node || value_is(&args[i], KIND_BOOL)) return make_element(l, e, f, args);
  if (!value_align(l, NULL, e->op_where, probe, 3)) return (Value){0};
  memcpy(args, probe, sizeof probe);
  value_join(l, probe, 3);
  if (l->context->options->compute_f64)
    return value_operate(l, OPER_ADD, e->op_where, value_operate(l, OPER_MUL, e->op_where, args[0], args[1]), args[2]);
  if (probe[0].node->type != TYPE_F32) {
    lower_error(l, e->op_where, "'fma' works in f32, here all is %s; write a*b + c", probe[0].node->type == TYPE_I64 ? "int" : "f64");
    return (Value){0};
  }
  return make_element(l, e, f, args);
}

static Value make_abs(Lower *l, const Expr *e, const Builtin *f, Value *args) {
  Value v = args[0];
  if (!v.node || !value_is(&v, KIND_INT)) return make_element(l, e, f, args);
  Value zero = value_of(graph_i64(l->graph, 0));
  Value below = value_operate(l, OPER_LT, e->op_where, v, zero);
  return value_select(l, e->op_where, below, value_negate(l, e->op_where, v), v);
}

static Value make_where(Lower *l, const Expr *e, const Builtin *f, Value *args) {
  if (!args[0].node || !args[1].node || !args[2].node) return (Value){0};
  if (!value_is(&args[0], KIND_BOOL)) {
    lower_error(l, e->args.at[0]->where, "'where' needs a condition, this is a number; compare it");
    return (Value){0};
  }
  return value_select(l, e->op_where, args[0], args[1], args[2]);
}

static Value make_lerp(Lower *l, const Expr *e, const Builtin *f, Value *args) {          /* a + w*(b - a) */
  Value distance = value_operate(l, OPER_SUB, e->op_where, args[1], args[0]);
  return value_operate(l, OPER_ADD, e->op_where, args[0], value_operate(l, OPER_MUL, e->op_where, args[2], distance));
}

/* rank(p), size(p). */
static Value make_extent(Lower *l, const Expr *e, const Builtin *f, Value *args) {
  if (!args[0].node) return (Value){0};
  if (!args[0].tensor) {
    lower_error(l, e->args.at[0]->where, "'%s' asks for a tensor, this is one number", f->name);
    return (Value){0};
  }
  const Space *s = value_space(l, &args[0]);
  unsigned first = args[0].around;
  if (is_item_space(l, s)) return value_of(graph_node(l->graph, OP_SIZE, TYPE_I64, graph_scalar_space(l->graph), l->context->param, f->op ? -2 : -1, 0, NULL));
  const Node *n = graph_i64(l->graph, f->op ? s->rank - first : 1);
  for (unsigned k = first; k < s->rank && !f->op; k++) n = k > first ? graph_op2(l->graph, OP_MUL, n, s->extent[k]) : s->extent[k];
  return value_of(n);
}

static Value make_present(Lower *l, const Expr *e, const Builtin *f, Value *args) {
  if (!args[0].node) return (Value){0};
  unsigned operand = args[0].operand;
  if (!operand || !operand_is_tensor(&l->context->module->operands[operand - 1])) {
    lower_error(l, e->args.at[0]->where, "'present' asks for an operand by its name");
    return (Value){0};
  }
  return value_of(graph_node(l->graph, OP_PRESENT, TYPE_BOOL, graph_scalar_space(l->graph), operand - 1, 0, 0, NULL));
}

static Value make_matrix(Lower *l, const Expr *e, const Builtin *f, Value *args) { return args[0].node ? lower_matrix_function(l, e, (Op)f->op, args[0]) : (Value){0}; }

static Make *const makers[] = {
  [BUILTIN_ELEMENT] = make_element, [BUILTIN_ABS] = make_abs, [BUILTIN_FMA] = make_fma, [BUILTIN_WHERE] = make_where, [BUILTIN_LERP] = make_lerp, [BUILTIN_EXTENT] = make_extent,
  [BUILTIN_PRESENT] = make_present, [BUILTIN_MATRIX] = make_matrix,
};

static bool arity_good(Lower *l, const Expr *e, const char *name, unsigned min, unsigned max) {
  unsigned given = e->args.n;
  if (given >= min && given <= max) return true;
  lower_error(l, e->op_where, "%s takes %u argument%s, %u %s given", name, given < min ? min : max, (given < min ? min : max) == 1 ? "" : "s",
              given, given == 1 ? "is" : "are");
  return false;
}

static Value call_builtin(Lower *l, const Expr *written, const Builtin *f) {
  Expr named = *written, *e = &named;                    /* a function that came as an argument goes by its own name */
  named.name = f->name;
  if (f->kind == BUILTIN_REDUCTION || is_reduction(e)) return lower_reduction(l, e);
  if (f->kind == BUILTIN_KEEPING) return lower_keeping(l, e);          /* these look at their brackets themselves */
  if (f->kind == BUILTIN_RANDOM) return lower_random(l, e);
  if (f->kind == BUILTIN_PHILOX) return lower_philox(l, e);
  if (e->has_subs || e->order) { lower_error(l, e->op_where, "%s takes no indices in brackets", f->name); return (Value){0}; }
  if (!arity_good(l, e, f->name, f->min, f->max)) {
    for (unsigned i = 0; i < e->args.n; i++) lower_expr(l, e->args.at[i]);
    return (Value){0};
  }
  Value args[3] = {{0}};
  for (unsigned i = 0; i < e->args.n; i++) args[i] = lower_expr(l, e->args.at[i]);
  graph_at(l->graph, e->where);
  return makers[f->kind](l, e, f, args);
}

/* --- fns ----------------------------------------------------------------------------------------------------------------------------- */

/* Substitution without capture: the arguments are values already, and the body sees its parameters and the scope it was written in. */
static Value call_fn(Lower *l, const Expr *e, Value called) {
  const Fn *fn = called.fn;
  if (e->has_subs || e->order) { lower_error(l, e->op_where, "a fn takes no indices in brackets; give them as arguments"); return (Value){0}; }
  unsigned depth = 0;
  for (const Call *c = l->scope->calls; c; c = c->outer, depth++)
    if (c->what == fn || depth >= LOWER_MAX_CALLS) {
      lower_error(l, e->op_where, c->what == fn ? "fn '%s' calls itself" : "calls of fns nest too deeply at '%s'", fn->name.text);
      return (Value){0};
    }
  Names *inner = scope_new(l, called.home);
  Value *args = arena_array(l->arena, e->args.n + 1, sizeof *args);
  for (unsigned i = 0; i < e->args.n; i++) args[i] = lower_argument(l, e->args.at[i]);
  if (!arity_good(l, e, fn->name.text, fn->params.n, fn->params.n)) {
    diag_note(l->diag, fn->name.where, "declared here");
    return (Value){0};
  }
  Lexical scope;
  Indices *around = l->scope->ix, inside = {0};
  bool whole = !fn->value;                               /* a sub-computation of whole values has no indices around it */
  for (unsigned i = 0; i < e->args.n; i++) whole = whole && ((args[i].tensor && !args[i].around) || !args[i].node || !args[i].node->space->rank);
  Call call = {fn->name.text, fn, e->op_where, l->scope->calls};
  scope_enter(l, &scope);
  if (whole) scope.ix = NULL;
  else if (around) { inside = *around; inside.barrier = inside.n; scope.ix = &inside; }        /* the caller's indices have no names here */
  scope.body = &fn->body;
  scope.site = site_inside(l, l->scope->site, e);
  scope.names = inner;
  scope.in_fn = true;
  for (unsigned i = 0; i < e->args.n; i++) {
    Binding *binding = scope_add(l, symbol_new(l, fn->params.at[i].text, SYMBOL_PARAMETER, 0, fn->params.at[i].where));
    binding->value = args[i];
    binding->set = true;
    binding->poison = !args[i].node && !args[i].fn && !args[i].builtin;
  }
  scope.calls = &call;
  if (!fn->value) {
    names_register_fns(l, &fn->body);
    lower_block(l, &fn->body);
  }
  Value v = lower_expr(l, fn->value ? fn->value : fn->returns);
  v.operand = 0;
  scope_leave(l);
  return v;
}

Value lower_call(Lower *l, const Expr *e) {
  Binding *binding = scope_find(l->scope->names, e->name);
  Value called = name_value(l, e->name, e->op_where, true);
  if (called.fn) return call_fn(l, e, called);
  bool hides = binding && !called.builtin && builtin_find(e->name);      /* values and functions of the language have names of their own */
  if (hides) return call_builtin(l, e, builtin_find(e->name));
  if (called.builtin) return call_builtin(l, e, called.builtin);
  if (called.node || (binding && !binding->poison)) {
    if (lower_error(l, e->op_where, "'%s' is a value, not a function", e->name) && binding)
      diag_note(l->diag, binding->symbol->where, "first declared here");
  }
  for (unsigned i = 0; i < e->args.n; i++) lower_expr(l, e->args.at[i]);
  return (Value){0};
}
