/* lower_scan.c: `scan` and `repeat`: names assigned before and in the block are carried from trip to trip.
 *
 * What is carried has one type, space and level: the block is lowered with those of the first values, and again with what it
 * made of them, until they stay (an integer 0 that becomes a real tensor). */
#include <string.h>
#include "frontend/statements.h"

enum { MAX_CARRIED = 64, MAX_TRIES = 8 };

typedef struct Carried { const char *name; Value first; Type type; Level level; bool wide; } Carried;
typedef struct Loop { Lower *l; const Stmt *s; const char *index; Range index_where; const Node *trips; Carried at[MAX_CARRIED]; unsigned n; } Loop;

static bool collect(Loop *c, const StmtList *list) {
  Lower *l = c->l;
  bool good = true;
  for (unsigned i = 0; i < list->n; i++) {
    const Stmt *s = list->at[i];
    if (s->kind == STMT_DECL || s->kind == STMT_APPLY || s->kind == STMT_SKIP || s->kind == STMT_REQUIRE) {
      static const char *const words[] = {[STMT_DECL] = "a declaration", [STMT_APPLY] = "'apply'", [STMT_SKIP] = "'skip if'", [STMT_REQUIRE] = "'require'"};
      lower_error(l, s->where, "%s stands outside of scan and repeat", words[s->kind]);
      good = false;
    }
    if (s->kind == STMT_ASSIGN) {
      Binding *b = scope_find_assigned(l, s->name.text);
      bool known = !b || b->poison || b->partial || b->symbol->kind == SYMBOL_FN;
      for (unsigned k = 0; k < c->n; k++) known |= !strcmp(c->at[k].name, s->name.text);
      if (known) continue;
      if (c->n == MAX_CARRIED) { lower_error(l, s->where, "more than %d names are carried", MAX_CARRIED); return false; }
      Value v = binding_current(l, b);
      if (!v.node) continue;
      v.operand = 0;
      v.literal = false;
      c->at[c->n++] = (Carried){s->name.text, v, (Type)v.node->type, (Level)v.node->level, v.wide};
    }
    good &= collect(c, &s->body);
    good &= collect(c, &s->otherwise);
  }
  return good;
}

static const Space *space_of(Lower *l, const Carried *k) { return k->first.tensor ? value_space(l, &k->first) : graph_scalar_space(l->graph); }

/* One lowering of the block; false when types or levels have grown. results NULL after an error. */
static bool try_once(Loop *c, unsigned depth, const Node **results) {
  Lower *l = c->l;
  bool same = true;
  unsigned before = l->scope->names->n;
  for (unsigned k = 0; k < c->n; k++) {
    Carried *x = &c->at[k];
    Binding *b = scope_find_assigned(l, x->name);
    if (x->level < (Level)c->trips->level) x->level = (Level)c->trips->level;
    Level level = space_of(l, x)->rank ? LEVEL_ELEMENT : x->level;
    b->value = x->first;
    b->value.node = graph_node(l->graph, OP_CARRY, x->type, space_of(l, x), k, (int32_t)(depth | (unsigned)level << 8), 0, NULL);
    b->value.wide = x->wide;
    b->value.product = NULL;
    b->set = true;
  }
  if (c->index) {
    Symbol *symbol = symbol_new(l, c->index, SYMBOL_LOCAL, 0, c->index_where);
    symbol->used = true;
    Binding *b = scope_add(l, symbol);
    Level level = (Level)c->trips->level > LEVEL_GLOBAL ? LEVEL_ITEM : LEVEL_GLOBAL;
    b->value = value_of(graph_node(l->graph, OP_CARRY, TYPE_I64, graph_scalar_space(l->graph), -1, (int32_t)(depth | (unsigned)level << 8), 0, NULL));
    b->set = true;
  }
  Lexical inner;
  scope_enter(l, &inner)->scans = depth + 1;
  lower_block(l, &c->s->body);
  scope_leave(l);
  for (unsigned k = 0; k < c->n; k++) {
    Carried *x = &c->at[k];
    Binding *b = scope_find_assigned(l, x->name);
    Value v = binding_current(l, b), pair[2];
    results[k] = NULL;
    if (!v.node) continue;
    if (v.tensor != x->first.tensor) {
      if (x->first.tensor) { v.tensor = true; v.space = value_space(l, &x->first); }
      else { lower_error(l, c->s->where, "'%s' is one number before and a tensor after a trip; give it its axes before", x->name); continue; }
    }
    if (x->first.tensor) v = value_to_space(l, v, value_space(l, &x->first), c->s->where, x->name);
    if (!v.node) continue;
    if (value_is(&v, KIND_BOOL) != (x->type == TYPE_BOOL)) { lower_error(l, c->s->where, "'%s' is a bool in one place and a number in another", x->name); continue; }
    pair[0] = (Value){.node = graph_const(l->graph, x->type, 0), .wide = x->wide};
    pair[1] = v;
    if (x->type != TYPE_BOOL) value_join(l, pair, 2);
    Type type = (Type)pair[0].node->type;
    results[k] = node_spread(l, pair[1].node, space_of(l, x));
    bool wide = x->wide || (v.wide && type == TYPE_F64);
    if (type != x->type || wide != x->wide || (!space_of(l, x)->rank && (Level)results[k]->level > x->level)) {
      same = false;
      x->type = type;
      x->wide = wide;
      if ((Level)results[k]->level > x->level) x->level = (Level)results[k]->level;
    }
  }
  if (l->scope->names->n > before) l->scope->names->n = before;
  return same;
}

static void run(Loop *c, bool reverse) {
  Lower *l = c->l;
  unsigned depth = l->scope->scans;
  const Node *results[MAX_CARRIED] = {0}, *args[MAX_CARRIED + 1];
  if (!collect(c, &c->s->body)) { poison_assigned(l, &c->s->body); return; }
  if (depth > 15) { lower_error(l, c->s->where, "scans nest too deeply"); poison_assigned(l, &c->s->body); return; }
  Names *scope = l->scope->names, base = *names_copy(l, scope);
  unsigned errors = diag_errors(l->diag);
  for (unsigned tries = 0; tries < MAX_TRIES && !l->context->exhausted; tries++) {
    bool same = try_once(c, depth, results);
    if (same || diag_errors(l->diag) > errors) break;
  }
  *scope = base;
  bool good = diag_errors(l->diag) == errors;
  for (unsigned k = 0; k < c->n && good; k++) good = results[k] != NULL;
  if (!good || l->context->exhausted) { poison_assigned(l, &c->s->body); return; }
  args[0] = c->trips;
  for (unsigned k = 0; k < c->n; k++) args[k + 1] = node_spread(l, value_convert(l, c->at[k].first, c->at[k].type).node, space_of(l, &c->at[k]));
  graph_at(l->graph, c->s->where);
  Region region = {c->n, results};
  const Node *scan = graph_region_node(l->graph, OP_SCAN, TYPE_BOOL, graph_scalar_space(l->graph), depth, reverse, c->n + 1, args, &region);
  for (unsigned k = 0; k < c->n; k++) {
    Binding *b = scope_find_assigned(l, c->at[k].name);
    b->value = c->at[k].first;
    b->value.node = graph_node(l->graph, OP_RESULT, c->at[k].type, space_of(l, &c->at[k]), k, 0, 1, &scan);
    b->value.wide = c->at[k].wide;
    b->value.product = NULL;
    b->set = true;
  }
}

static bool outside_indices(Lower *l, const Stmt *s) {
  if (!l->scope->ix || !l->scope->ix->n) return true;
  lower_error(l, s->where, "where a fn is called at indices, the only loop in it is 'repeat n' with a constant n of %d at most", LOWER_MAX_REPEATS);
  poison_assigned(l, &s->body);
  return false;
}

void lower_scan(Lower *l, const Stmt *s) {
  const Expr *limit;
  const Sub *sub = &s->subs.at[0];
  const char *name = sub_index(l, sub, &limit);
  Loop c = {.l = l, .s = s, .index = name};
  if (!outside_indices(l, s)) return;
  c.index_where = limit ? sub->expr->a->where : sub->where;
  if (!name || name_is_value(l, name)) {
    lower_error(l, c.index_where, "scan needs a new name for its index%s", name || (sub->expr && sub->expr->kind == EXPR_NAME) ? ", this one has a value" : "");
    poison_assigned(l, &s->body);
    return;
  }
  bool poisoned = false;
  c.trips = limit ? index_limit(l, limit) : index_range(l, name, NULL, &s->body, (Extent){0}, &poisoned);
  if (!c.trips) {
    if (!limit && !poisoned) lower_error(l, c.index_where, "the range of index '%s' is not known; write '%s < n' where it is introduced", name, name);
    poison_assigned(l, &s->body);
    return;
  }
  run(&c, s->reverse);
}

/* A count known while compiling is written out; nothing depends on how often that is done, only on the order. */
void lower_repeat(Lower *l, const Stmt *s) {
  Value count = lower_expr(l, s->cond);
  Bits n;
  if (!count.node) { poison_assigned(l, &s->body); return; }
  if (!value_is(&count, KIND_INT) || count.node->space->rank || count.tensor) {
    lower_error(l, s->cond->where, "'repeat' needs a number of times, an integer");
    poison_assigned(l, &s->body);
    return;
  }
  if (node_constant(l->graph, count.node, &n) && (int64_t)n <= LOWER_MAX_REPEATS) {
    for (int64_t i = 0; i < (int64_t)n; i++) lower_block(l, &s->body);
    return;
  }
  if (!outside_indices(l, s)) return;
  Loop c = {.l = l, .s = s, .trips = count.node};
  run(&c, false);
}
