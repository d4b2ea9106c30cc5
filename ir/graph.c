/* graph.c: the graph form is built here: interning, levels, rewriting. */
#include "ir/graph.h"
#include <assert.h>
#include <string.h>
#include "ir/graph_analysis.h"

/* --- operations --------------------------------------------------------------------------------------------------------- */

static const struct { const char *name; int8_t arity; } op_table[OP_COUNT] = {
#define ELEMENT(id, name, arity, ...) {name, arity},
#include "ir/element.def"
#undef ELEMENT
#define FUNCTION(id, name, arity, ...) {name, arity},
#include "ir/function.def"
#undef FUNCTION
#define GRAPHOP(id, name, arity) {name, arity},
#include "ir/graph.def"
#undef GRAPHOP
};
enum { FUNCTIONS = ELEMENT_COUNT, STRUCTURE = OP_CONST };

const char *op_name(Op op) { return (unsigned)op < OP_COUNT ? op_table[op].name : "?"; }
int op_arity(Op op) { return op_table[op].arity; }
bool op_is_element(Op op) { return (unsigned)op < ELEMENT_COUNT; }
bool op_is_function(Op op) { return (unsigned)op >= FUNCTIONS && (unsigned)op < STRUCTURE; }

bool op_parse(const char *name, Op *out) {
  for (unsigned i = 0; i < OP_COUNT; i++)
    if (!strcmp(name, op_table[i].name)) { *out = (Op)i; return true; }
  return false;
}

enum { SAME = RULE_SAME, COMPARE = RULE_COMPARE, POWI = RULE_POWI, F = 1, S = 2, I = 4 };    /* the words of function.def */
static const struct { uint8_t rule, types; } function_table[] = {
#define FUNCTION(id, name, arity, rule, types, accuracy) {rule, types},
#include "ir/function.def"
#undef FUNCTION
};

bool op_types_ok(Op op, Type result, const Type *x) {
  if (op_is_element(op)) return element_types_ok((Element)op, result, x);
  if (!op_is_function(op)) return false;
  static const uint8_t mask[TYPE_COUNT] = {[TYPE_I32] = I, [TYPE_I64] = I, [TYPE_F32] = F | S, [TYPE_F64] = F};
  unsigned rule = function_table[op - FUNCTIONS].rule;
  if (!(mask[x[0]] & function_table[op - FUNCTIONS].types)) return false;
  if (rule == RULE_POWI) return result == x[0] && x[1] == TYPE_I64;
  for (int i = 1; i < op_table[op].arity; i++) if (x[i] != x[0]) return false;
  return result == (rule == RULE_COMPARE ? TYPE_BOOL : x[0]);
}

static bool gives_bool(Op op) { return op_is_element(op) ? element_rule((Element)op) == RULE_COMPARE : op == OP_ISNAN || op == OP_FINITE; }

/* --- interning ------------------------------------------------------------------------------------------------------------ */

typedef struct GraphTable {
  const Node **slot; unsigned size, used;              /* open addressing, size a power of two */
  const Space **space; unsigned n_spaces; size_t space_capacity;
  size_t node_capacity, write_capacity, exists_capacity, require_capacity;
  const Space *scalar;
  Range where;
} GraphTable;

static uint64_t mix(uint64_t h, uint64_t x) {
  h = (h ^ x) * UINT64_C(0x9e3779b97f4a7c15);
  return h ^ h >> 29;
}

static uint64_t node_hash(const Node *n) {
  uint64_t h = mix(n->op | (uint64_t)n->type << 16 | (uint64_t)(uint32_t)n->aux << 32, (uint64_t)n->imm);
  h = mix(h, (uintptr_t)n->space);
  for (unsigned i = 0; i < n->n_args; i++) h = mix(h, n->args[i]->id);
  if (n->region) for (unsigned i = 0; i < n->region->n_results; i++) h = mix(h, n->region->results[i]->id);
  return h;
}

static bool node_same(const Node *a, const Node *b) {
  if (a->op != b->op || a->type != b->type || a->aux != b->aux || a->imm != b->imm || a->space != b->space || a->n_args != b->n_args) return false;
  if (a->n_args && memcmp(a->args, b->args, a->n_args * sizeof *a->args)) return false;
  if (!a->region || !b->region) return a->region == b->region;
  return a->region->n_results == b->region->n_results &&
         (!a->region->n_results || !memcmp(a->region->results, b->region->results, a->region->n_results * sizeof *a->region->results));
}

static void table_grow(Graph *g) {
  GraphTable *t = g->table;
  unsigned size = t->size ? t->size * 2 : 64;
  const Node **slot = arena_array(g->arena, size, sizeof *slot);
  for (unsigned i = 0; i < t->size; i++) {
    if (!t->slot[i]) continue;
    uint64_t h = node_hash(t->slot[i]);
    while (slot[h & (size - 1)]) h++;
    slot[h & (size - 1)] = t->slot[i];
  }
  t->slot = slot;
  t->size = size;
}

Graph *graph_new(Module *m, const char *entry) {
  Graph *g = arena_alloc(m->arena, sizeof *g);
  g->module = m;
  g->arena = m->arena;
  g->name = arena_strndup(m->arena, entry, strlen(entry));
  g->table = arena_alloc(m->arena, sizeof *g->table);
  table_grow(g);
  g->table->scalar = graph_space(g, 0, NULL);
  return g;
}

const Space *graph_space(Graph *g, unsigned rank, const Node *const *extents) {
  GraphTable *t = g->table;
  for (unsigned i = 0; i < t->n_spaces; i++) {
    const Space *s = t->space[i];
    if (s->rank == rank && (!rank || !memcmp(s->extent, extents, rank * sizeof *extents))) return s;
  }
  Space *s = arena_alloc(g->arena, sizeof *s + rank * sizeof *extents);
  s->rank = rank;
  if (rank) memcpy(s->extent, extents, rank * sizeof *extents);
  t->space = arena_grow(g->arena, t->space, &t->space_capacity, t->n_spaces + 1, sizeof *t->space);
  t->space[t->n_spaces++] = s;
  return s;
}

const Space *graph_scalar_space(Graph *g) { return g->table->scalar; }
void graph_at(Graph *g, Range where) { g->table->where = where; }

static bool of_call(const Graph *g, int64_t operand) { return operand >= 0 && operand < g->module->n_operands && g->module->operands[operand].scope == SCOPE_GLOBAL; }

/* A value that depends on an index, or has axes, is an element's; else the highest level of what it is made of. */
Level graph_level(const Graph *g, const Node *n) {
  Level level = LEVEL_CONST;
  switch ((int)n->op) {
    case OP_HYPER: case OP_STEP: case OP_SEED: case OP_TOTAL: level = LEVEL_GLOBAL; break;
    case OP_SCALAR: level = of_call(g, n->imm) ? LEVEL_GLOBAL : LEVEL_ITEM; break;
    case OP_SIZE: case OP_PRESENT: level = of_call(g, n->imm) ? LEVEL_GLOBAL : LEVEL_ITEM; break;
    case OP_ITEM: level = LEVEL_ITEM; break;
    case OP_READ: level = of_call(g, n->imm) ? LEVEL_GLOBAL : LEVEL_ITEM; break;
    case OP_INDEX: level = LEVEL_ELEMENT; break;
    case OP_CARRY: level = (Level)(n->aux >> 8 & 3); break;
    default: break;
  }
  if (n->space->rank) return LEVEL_ELEMENT;
  if (n->op == OP_TOTAL) return level;
  if (n->op == OP_RESULT && n->n_args == 1 && n->args[0]->region && n->imm >= 0 && n->imm < n->args[0]->region->n_results && n->imm + 1 < n->args[0]->n_args) {
    const Node *scan = n->args[0], *part[3] = {scan->args[0], scan->args[n->imm + 1], scan->region->results[n->imm]};
    for (unsigned i = 0; i < 3; i++) if (part[i]->level > level) level = (Level)part[i]->level;
    return level;
  }
  bool reduces = n->op == OP_REDUCE || n->op == OP_CONTRACT || n->op == OP_ATTEND || n->op == OP_MAP;   /* of a whole tensor: one number an item */
  for (unsigned i = 0; i < n->n_args; i++) {
    Level arg = (Level)n->args[i]->level;
    if (reduces && arg > LEVEL_ITEM && n->args[i]->space->rank) arg = graph_is_global(g, n->args[i]) ? LEVEL_GLOBAL : LEVEL_ITEM;
    if (arg > level) level = arg;
  }
  if (n->region)
    for (unsigned i = 0; i < n->region->n_results; i++) if (n->region->results[i]->level > level) level = (Level)n->region->results[i]->level;
  return level;
}

const Node *graph_region_node(Graph *g, Op op, Type type, const Space *space, int64_t imm, int32_t aux, unsigned n_args, const Node *const *args, const Region *region) {
  GraphTable *t = g->table;
  Node key = {.op = (uint16_t)op, .type = (uint8_t)type, .aux = aux, .imm = imm, .space = space, .region = region, .n_args = n_args, .args = args};
  uint64_t h = node_hash(&key);
  for (; t->slot[h & (t->size - 1)]; h++)
    if (node_same(t->slot[h & (t->size - 1)], &key)) return t->slot[h & (t->size - 1)];
  Node *n = arena_alloc(g->arena, sizeof *n);
  *n = key;
  n->id = g->n_nodes;
  n->where = t->where;
  const Node **own = arena_array(g->arena, n_args, sizeof *own);
  if (n_args) memcpy(own, args, n_args * sizeof *own);
  n->args = own;
  if (region) {
    Region *r = arena_alloc(g->arena, sizeof *r);
    r->n_results = region->n_results;
    r->results = arena_array(g->arena, r->n_results, sizeof *r->results);
    if (r->n_results) memcpy(r->results, region->results, r->n_results * sizeof *r->results);
    n->region = r;
  }
  n->level = (uint8_t)graph_level(g, n);
  g->nodes = arena_grow(g->arena, g->nodes, &t->node_capacity, g->n_nodes + 1, sizeof *g->nodes);
  g->nodes[g->n_nodes++] = n;
  t->slot[h & (t->size - 1)] = n;
  if (++t->used * 2 > t->size) table_grow(g);
  return n;
}

const Node *graph_node(Graph *g, Op op, Type type, const Space *space, int64_t imm, int32_t aux, unsigned n_args, const Node *const *args) {
  return graph_region_node(g, op, type, space, imm, aux, n_args, args, NULL);
}

/* --- building --------------------------------------------------------------------------------------------------------------- */

const Node *graph_const(Graph *g, Type type, Bits bits) {
  return graph_node(g, OP_CONST, type, g->table->scalar, (int64_t)bits_normal(bits, type), 0, 0, NULL);
}
const Node *graph_f64(Graph *g, double x) { return graph_const(g, TYPE_F64, bits_from_f64(x, TYPE_F64)); }
const Node *graph_f32(Graph *g, float x) {
  uint32_t u;
  memcpy(&u, &x, 4);
  return graph_const(g, TYPE_F32, u);
}
const Node *graph_i64(Graph *g, int64_t x) { return graph_const(g, TYPE_I64, (Bits)x); }
const Node *graph_bool(Graph *g, bool x) { return graph_const(g, TYPE_BOOL, x); }

const Node *graph_element(Graph *g, Op op, Type result, unsigned n_args, const Node *const *args) {
  const Space *space = g->table->scalar;
  Type types[4];
  assert(n_args && n_args <= 4 && (int)n_args == op_table[op].arity);
  for (unsigned i = 0; i < n_args; i++) {
    types[i] = (Type)args[i]->type;
    if (!args[i]->space->rank) continue;
    assert(!space->rank || space == args[i]->space);
    space = args[i]->space;
  }
  assert(op_types_ok(op, result, types));
  (void)types;
  return graph_node(g, op, result, space, 0, 0, n_args, args);
}

const Node *graph_op1(Graph *g, Op op, const Node *a) {
  return graph_element(g, op, gives_bool(op) ? TYPE_BOOL : (Type)a->type, 1, &a);
}
const Node *graph_op2(Graph *g, Op op, const Node *a, const Node *b) {
  return graph_element(g, op, gives_bool(op) ? TYPE_BOOL : (Type)a->type, 2, (const Node *const[]){a, b});
}
const Node *graph_select(Graph *g, const Node *c, const Node *a, const Node *b) {
  return graph_element(g, OP_SELECT, (Type)a->type, 3, (const Node *const[]){c, a, b});
}
const Node *graph_cast(Graph *g, Type type, const Node *a) { return a->type == type ? a : graph_element(g, OP_CAST, type, 1, &a); }

void graph_write(Graph *g, unsigned operand, const Node *value, const Node *when) {
  g->writes = arena_grow(g->arena, g->writes, &g->table->write_capacity, g->n_writes + 1, sizeof *g->writes);
  g->writes[g->n_writes++] = (Write){operand, value, when};
}

void graph_exists(Graph *g, unsigned operand, const Node *when) {
  g->exists = arena_grow(g->arena, g->exists, &g->table->exists_capacity, g->n_exists + 1, sizeof *g->exists);
  g->exists[g->n_exists++] = (Exists){operand, when};
}

Requirement *graph_require(Graph *g, const char *text, const Node *cond, unsigned n, const Node *const *values, const char *const *names) {
  g->requires = arena_grow(g->arena, g->requires, &g->table->require_capacity, g->n_requires + 1, sizeof *g->requires);
  Requirement *r = &g->requires[g->n_requires++];
  *r = (Requirement){arena_strndup(g->arena, text, strlen(text)), cond, n < 4 ? n : 4, {0}, {0}, ABOUT_RULE};
  for (unsigned i = 0; i < r->n; i++) {
    r->value[i] = values[i];
    r->name[i] = names && names[i] ? arena_strndup(g->arena, names[i], strlen(names[i])) : NULL;
  }
  return r;
}

const char *requirement_text(const Requirement *r, Arena *arena) {
  if (strstr(r->text, "{}")) return r->text;
  Text out = {.arena = arena};
  text_add(&out, "%s%s", r->about == ABOUT_RULE ? "requirement not met: " : "", r->text);
  for (unsigned i = 0; i < r->n; i++) text_add(&out, "%s%s%s{}", i ? ", " : " (", r->name[i] ? r->name[i] : "", r->name[i] ? " = " : "");
  if (r->n) text_add(&out, ")");
  return out.data;
}

/* --- rewriting ------------------------------------------------------------------------------------------------------------------ */

/* The nodes of `order`, each behind what it is made of; of one that has another in its place, behind that. */
static Graph *rewritten(const Graph *from, const unsigned *order, unsigned n_order, const Node *const *instead, GraphRule rule, void *context) {
  Graph *to = graph_new(from->module, from->name);
  to->advances = from->advances;
  memcpy(to->exponential, from->exponential, sizeof to->exponential);
  memcpy(to->logarithm, from->logarithm, sizeof to->logarithm);
  const Node **now = arena_array(from->arena, from->n_nodes, sizeof *now);
  size_t capacity = 0, region_capacity = 0;
  const Node **list = NULL, **results = NULL;
  for (unsigned i = 0; i < n_order; i++) {
    const Node *n = from->nodes[order[i]];
    if (instead && instead[n->id]) { now[n->id] = now[instead[n->id]->id]; continue; }
    unsigned rank = n->space->rank, need = rank > n->n_args ? rank : n->n_args;
    list = arena_grow(from->arena, list, &capacity, need, sizeof *list);
    for (unsigned k = 0; k < rank; k++) list[k] = now[n->space->extent[k]->id];
    const Space *space = graph_space(to, rank, list);
    for (unsigned k = 0; k < n->n_args; k++) list[k] = now[n->args[k]->id];
    Region region = {0, NULL};
    if (n->region) {
      results = arena_grow(from->arena, results, &region_capacity, n->region->n_results, sizeof *results);
      for (unsigned k = 0; k < n->region->n_results; k++) results[k] = now[n->region->results[k]->id];
      region = (Region){n->region->n_results, results};
    }
    graph_at(to, n->where);
    const Node *copy = graph_region_node(to, (Op)n->op, (Type)n->type, space, n->imm, n->aux, n->n_args, list, n->region ? &region : NULL);
    now[n->id] = rule ? rule(to, copy, context) : copy;
  }
  for (unsigned i = 0; i < from->n_writes; i++) {
    const Write *w = &from->writes[i];
    graph_write(to, w->operand, now[w->value->id], w->when ? now[w->when->id] : NULL);
  }
  for (unsigned i = 0; i < from->n_exists; i++) graph_exists(to, from->exists[i].operand, from->exists[i].when ? now[from->exists[i].when->id] : NULL);
  for (unsigned i = 0; i < from->n_requires; i++) {
    const Requirement *r = &from->requires[i];
    const Node *values[4];
    for (unsigned k = 0; k < r->n; k++) values[k] = now[r->value[k]->id];
    graph_require(to, r->text, now[r->cond->id], r->n, values, r->name)->about = r->about;
  }
  if (from->skip) to->skip = now[from->skip->id];
  return to;
}

Graph *graph_rewrite(const Graph *from, GraphRule rule, void *context) {
  const bool *live = graph_reachable(from, from->arena);
  unsigned *order = arena_array(from->arena, from->n_nodes + 1, sizeof *order), n = 0;
  for (unsigned i = 0; i < from->n_nodes; i++) if (live[i]) order[n++] = i;
  return rewritten(from, order, n, NULL, rule, context);
}

Graph *graph_replace(const Graph *from, const Node *const *instead) {
  bool *seen = arena_array(from->arena, from->n_nodes + 1, sizeof *seen), *root = arena_array(from->arena, from->n_nodes + 1, sizeof *root);
  unsigned *order = arena_array(from->arena, from->n_nodes + 1, sizeof *order), n = 0;
  unsigned *stack = arena_array(from->arena, from->n_nodes + 1, sizeof *stack), *part = arena_array(from->arena, from->n_nodes + 1, sizeof *part);
  graph_mark_roots(from, root);
  for (unsigned i = 0, depth = 0; i < from->n_nodes; i++) {
    if (!root[i] || seen[i]) continue;
    seen[stack[depth++] = i] = true;
    while (depth) {
      const Node *top = from->nodes[stack[depth - 1]], *other = instead[top->id];
      unsigned k = part[top->id]++;
      if (k == (other ? 1 : node_parts(top))) { order[n++] = stack[--depth]; continue; }
      const Node *next = other ? other : node_part(top, k);
      if (!seen[next->id]) seen[stack[depth++] = next->id] = true;
    }
  }
  return rewritten(from, order, n, instead, NULL, NULL);
}
