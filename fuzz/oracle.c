/* oracle.c: made-up data, both interpreters, and the comparison. */
#include "fuzz/oracle.h"
#include <stdlib.h>
#include <string.h>

typedef struct Data {
  int64_t count, t, chunk;
  void **tensor;                         /* one an operand; NULL: absent, or no tensor */
  char *item, *global, *hyper;           /* R_item, R_global, R_hyper */
  uint8_t *exists;                       /* what the entry said about its states */
  int64_t failed, n_values;
  double value[4];
} Data;

/* --- data -------------------------------------------------------------------------------------------------------------------- */

static const double special[] = {0.0, -0.0, 1, -1, 0.5, 2, 3, 1e-8, 0.9, 0.999, 1e30, -1e30, 1e-30, 0x1p-126, 0x1p-149, -0x1p-149, 0x1.fffffep-127, 0x1.fffffep127,
                                 __builtin_inf(), -__builtin_inf(), __builtin_nan(""), 0x1.000001p0, 16777217.0, 1e300, 0x1p-1074, 65504, 1e-3, 0.25, -7, 0x1.8p-1, 127, -128.5};
static const int64_t whole[] = {0, 1, -1, 2, 7, 63, 64, -64, 1000, 2147483647, -2147483648LL, 9223372036854775807LL, -9223372036854775807LL - 1, 3, 5, 255};
#define PICK(table, x) ((table)[(x) % (sizeof(table) / sizeof *(table))])

static uint64_t next(uint64_t *noise) {
  *noise ^= *noise << 13;
  *noise ^= *noise >> 7;
  *noise ^= *noise << 17;
  return *noise * UINT64_C(0x2545f4914f6cdd1d);
}

/* Mostly plain numbers, special ones, or any bits: `mode` of 0 to 3. */
static Bits made_up(uint64_t *noise, Type type, unsigned mode) {
  uint64_t x = next(noise), k = x >> 8;
  if (type == TYPE_BOOL) return x >> 40 & 1;
  if (type_kind(type) == KIND_INT) {
    int64_t v = mode == 0 ? (int64_t)(k & 63) - 16 : mode == 1 ? PICK(whole, k) : (int64_t)x;
    return bits_normal((Bits)v, type);
  }
  if (mode == 0 || (mode == 2 && x & 3)) return bits_from_f64((double)(int64_t)x * 0x1p-62, type);
  return mode == 3 ? bits_normal(x, type) : bits_from_f64(PICK(special, k), type);
}

static bool may_be_absent(const Operand *o) { return o->optional || o->role == ROLE_OUT; }

/* Numbers lie in 8 bytes: double, int64_t, or int64_t 0 and 1. */
static Bits made_up_number(uint64_t *noise, Type storage, unsigned mode) {
  Type kept = type_kind(storage) == KIND_FLOAT ? TYPE_F64 : type_kind(storage) == KIND_INT ? TYPE_I64 : TYPE_BOOL;
  Bits x = made_up(noise, storage == TYPE_BOOL ? TYPE_BOOL : storage, mode);
  return kept == storage ? x : element_eval(ELEMENT_CAST, kept, storage, &x);
}

static Data *make_data(Arena *a, const Module *m, uint32_t seed) {
  static const int64_t counts[] = {5, 1, 16, 33, 0, 100, 3, 70}, steps[] = {1, 2, 3, 10, 1000, 100000, 7, 64}, chunks[] = {7, 64, 1000, 16};
  const Layout *l = layout_in(m, a);
  uint64_t noise = (seed + UINT64_C(1)) * UINT64_C(0x9e3779b97f4a7c15);
  next(&noise);
  Data *d = arena_alloc(a, sizeof *d);
  d->count = counts[seed & 7];
  d->t = PICK(steps, next(&noise) >> 8);
  d->chunk = PICK(chunks, next(&noise) >> 8);
  d->item = arena_alloc(a, l->item_size + 8);
  d->global = arena_alloc(a, l->global_size + 8);
  d->hyper = arena_alloc(a, l->hyper_size + 8);
  d->exists = arena_alloc(a, m->n_operands + 1);
  d->tensor = arena_array(a, m->n_operands + 1, sizeof *d->tensor);
  for (unsigned k = 0; k < m->n_hypers; k++) {
    uint64_t how = next(&noise) >> 8;
    Bits x = how % 3 && m->hypers[k].has_default ? m->hypers[k].value : made_up(&noise, m->hypers[k].type, (unsigned)(how >> 8) & 1);
    memcpy(d->hyper + 8 * k, &x, 8);
  }
  for (unsigned k = 0; k < m->n_operands; k++) {
    const Operand *o = &m->operands[k];
    unsigned mode = (unsigned)(next(&noise) >> 8) & 3, bytes = type_bytes(o->storage);
    if (o->scope != SCOPE_TENSOR) {
      Bits x = made_up_number(&noise, o->storage, mode);
      memcpy((o->scope == SCOPE_SCALAR ? d->item : d->global) + l->operand[k], &x, 8);
      continue;
    }
    if (may_be_absent(o) && next(&noise) >> 8 & 1) continue;
    char *to = d->tensor[k] = arena_array(a, (size_t)d->count, bytes);
    for (int64_t i = 0; i < d->count; i++) {
      Bits x = made_up(&noise, o->storage, mode);
      memcpy(to + (size_t)i * bytes, &x, bytes);
    }
  }
  return d;
}

static void *copy(Arena *a, const void *from, size_t size) {
  void *p = arena_alloc(a, size);
  return size ? memcpy(p, from, size) : p;
}

static Data *copy_data(Arena *a, const Module *m, const Data *x) {
  const Layout *l = layout_in(m, a);
  Data *y = copy(a, x, sizeof *x);
  y->tensor = arena_array(a, m->n_operands + 1, sizeof *y->tensor);
  for (unsigned k = 0; k < m->n_operands; k++)
    if (x->tensor[k]) y->tensor[k] = copy(a, x->tensor[k], (size_t)x->count * type_bytes(m->operands[k].storage));
  y->item = copy(a, x->item, l->item_size);
  y->global = copy(a, x->global, l->global_size);
  y->hyper = copy(a, x->hyper, l->hyper_size);
  y->exists = copy(a, x->exists, m->n_operands + 1);
  return y;
}

/* --- runs -------------------------------------------------------------------------------------------------------------------- */

static optc_frame frame_of(Data *d) {
  return (optc_frame){.hyper = d->hyper, .global = d->global, .item = d->item, .data = d->tensor, .t = d->t, .seed = 99, .index = 2, .count = d->count, .total = d->count, .begin = 0, .end = d->count,
                      .shape = &d->count, .rank = 1, .exists = d->exists};
}

static bool keep_failure(Data *d, const optc_frame *f) {
  d->failed = f->failed;
  d->n_values = f->failed ? f->n_values : 0;
  if (f->failed) memcpy(d->value, f->value, sizeof d->value);
  return f->failed != 0;
}

static Data *run_graph(const OracleCase *c, const Graph *g, const Data *input) {
  Data *d = copy_data(c->arena, c->module, input);
  optc_frame f = frame_of(d);
  graph_interpret(g, LAUNCH_CHECK, &f, c->arena);
  if (keep_failure(d, &f)) return d;
  graph_interpret(g, LAUNCH_ITEM, &f, c->arena);
  f.item = NULL;
  graph_interpret(g, LAUNCH_FINISH, &f, c->arena);
  return d;
}

static bool leaves_partials(const Program *p) {
  for (unsigned k = 0; k < p->n_temps; k++) if (p->temps[k].partial) return true;
  return false;
}

/* Chunks of any size, but where partials stand for the language's; tiles as the program wants them. */
static void launch(const Program *p, const Kernel *k, optc_frame *f, const Data *d, Arena *a) {
  if (k->launch != LAUNCH_CHUNK && k->launch != LAUNCH_TILE) { kernel_interpret(p, k, f, a); return; }
  optc_space s = k->launch == LAUNCH_TILE ? f->spaces[k->space] : (optc_space){d->count, leaves_partials(p) ? OPTC_CHUNK : d->chunk};
  for (int64_t at = 0; at < s.n; at += s.grain > 0 ? s.grain : s.n) {
    optc_frame part = *f;
    part.begin = at;
    part.end = s.grain <= 0 || s.n - at < s.grain ? s.n : at + s.grain;
    kernel_interpret(p, k, &part, a);
  }
}

static unsigned end_of_repeat(const Program *p, unsigned k) {
  for (unsigned open = 1; open; k++) open += (p->kernels[k + 1]->launch == LAUNCH_REPEAT) - (p->kernels[k + 1]->launch == LAUNCH_END);
  return k;
}

/* The kernels of an item, in order. */
static void launch_items(const Program *p, unsigned from, unsigned to, unsigned depth, optc_frame *f, const Data *d, Arena *a) {
  for (unsigned k = from; k < to; k++) {
    const Kernel *kernel = p->kernels[k];
    if (kernel->launch == LAUNCH_ITEM || kernel->launch == LAUNCH_CHUNK || kernel->launch == LAUNCH_TILE) launch(p, kernel, f, d, a);
    if (kernel->launch != LAUNCH_REPEAT) continue;
    unsigned end = end_of_repeat(p, k);
    for (f->trip[depth] = 0; f->trip[depth] < f->spaces[kernel->space].n; f->trip[depth]++) launch_items(p, k + 1, end, depth + 1, f, d, a);
    k = end;
  }
}

static Data *run_program(const OracleCase *c, const Program *p, const Data *input) {
  unsigned n = c->module->n_operands;
  Data *d = copy_data(c->arena, c->module, input);
  optc_frame f = frame_of(d);
  void **data = arena_array(c->arena, n + p->n_temps + 1, sizeof *data);
  memcpy(data, d->tensor, n * sizeof *data);
  f.counts = arena_array(c->arena, n + p->n_temps + 1, sizeof *f.counts);
  f.extents = arena_array(c->arena, OPTC_MAX_RANK * (n + 1), sizeof *f.extents);
  f.spaces = arena_array(c->arena, p->n_spaces + 1, sizeof *f.spaces);
  f.uniform = arena_array(c->arena, p->n_uniforms, sizeof *f.uniform);
  memset(f.uniform, 0xa5, p->n_uniforms * sizeof *f.uniform);
  for (unsigned k = 0; k < p->n_kernels; k++)
    if (p->kernels[k]->launch == LAUNCH_SIZES || p->kernels[k]->launch == LAUNCH_CALL_SIZES) kernel_interpret(p, p->kernels[k], &f, c->arena);
  for (unsigned k = 0; k < p->n_temps; k++) {
    int64_t count = p->temps[k].sized ? f.counts[n + k] : p->temps[k].partial ? (d->count + OPTC_CHUNK - 1) / OPTC_CHUNK : d->count;
    size_t size = count > 0 ? (size_t)count * type_bytes(p->temps[k].type) : 0;
    data[n + k] = arena_alloc(c->arena, size);
    memset(data[n + k], 0xa5, size);     /* nothing may be read that was not written */
  }
  f.data = data;
  static const Launch before[] = {LAUNCH_CHECK, LAUNCH_GROUP};
  for (unsigned stage = 0; stage < 2; stage++)
    for (unsigned k = 0; k < p->n_kernels; k++) {
      if (p->kernels[k]->launch != before[stage]) continue;
      launch(p, p->kernels[k], &f, d, c->arena);
      if (!stage && keep_failure(d, &f)) return d;
    }
  launch_items(p, 0, p->n_kernels, 0, &f, d, c->arena);
  f.item = NULL;
  for (unsigned k = 0; k < p->n_kernels; k++) if (p->kernels[k]->launch == LAUNCH_FINISH) launch(p, p->kernels[k], &f, d, c->arena);
  return d;
}

/* --- comparison -------------------------------------------------------------------------------------------------------------- */

static Bits get(const void *at, Type type) {
  Bits bits = 0;
  memcpy(&bits, at, type_bytes(type));
  return bits;
}

static const char *difference(const OracleCase *c, const Data *x, const Data *y) {
  const Module *m = c->module;
  const Layout *l = layout_in(m, c->arena);
  if (x->failed != y->failed || x->n_values != y->n_values) return arena_printf(c->arena, "requirement %d against %d", (int)x->failed, (int)y->failed);
  for (int64_t i = 0; i < x->n_values; i++) {
    Bits u = bits_from_f64(x->value[i], TYPE_F64), v = bits_from_f64(y->value[i], TYPE_F64);
    if (!bits_equal(u, v, TYPE_F64)) return arena_printf(c->arena, "number %d of a requirement: %.17g against %.17g", (int)i, x->value[i], y->value[i]);
  }
  for (unsigned k = 0; k < m->n_operands; k++) {
    const Operand *o = &m->operands[k];
    bool tensor = o->scope == SCOPE_TENSOR;
    Type t = tensor ? o->storage : type_kind(o->storage) == KIND_FLOAT ? TYPE_F64 : TYPE_I64;
    const char *at[2];
    for (int side = 0; side < 2; side++) {
      const Data *z = side ? y : x;
      at[side] = tensor ? z->tensor[k] : (o->scope == SCOPE_SCALAR ? z->item : z->global) + l->operand[k];
    }
    if (x->exists[k] != y->exists[k]) return arena_printf(c->arena, "exists(%s): %d against %d", o->name, x->exists[k], y->exists[k]);
    for (int64_t i = 0; at[0] && i < (tensor ? x->count : 1); i++) {
      Bits u = get(at[0] + (size_t)i * type_bytes(t), t), v = get(at[1] + (size_t)i * type_bytes(t), t);
      if (!bits_equal(u, v, t))
        return arena_printf(c->arena, "%s[%d] of %d: %#llx (%.9g) against %#llx (%.9g)", o->name, (int)i, (int)x->count, (unsigned long long)u, bits_to_f64(u, t),
                            (unsigned long long)v, bits_to_f64(v, t));
    }
  }
  return NULL;
}

static const Graph *expanded(const Graph *g) {
  for (unsigned i = 0; i < g->n_nodes; i++) {
    Op op = (Op)g->nodes[i]->op;
    if (op_is_function(op) || op == OP_SOFTMAX || op == OP_ATTEND || op == OP_REDUCE) return expand_graph(g);
  }
  return g;
}

bool oracle_can_run(const OracleCase *c) {
  for (unsigned k = 0; k < c->module->n_operands; k++) if (c->module->operands[k].shape) return false;
  for (unsigned i = 0; i < c->graph->n_nodes; i++) if (c->graph->nodes[i]->op == OP_TOTAL) return false;
  return !graph_not_interpretable(expanded(c->graph), c->arena);
}

/* --- the check --------------------------------------------------------------------------------------------------------------- */

static bool found(OracleFinding *f, const char *what, const char *detail) {
  f->what = what;
  f->detail = detail;
  return false;
}

static bool same(const Text *a, const Text *b) { return a->length == b->length && !memcmp(a->data, b->data, a->length); }

static bool module_text(const OracleCase *c, OracleFinding *f) {
  Text first = {.arena = c->arena}, second = {.arena = c->arena};
  module_print(c->module, &first);
  Source source = {"printed", first.data, first.length};
  Module *again = module_parse(c->arena, c->diag, &source);
  if (!again) return found(f, "a printed module does not parse", first.data);
  module_print(again, &second);
  return same(&first, &second) || found(f, "print, parse, print differs", second.data);
}

static bool program_text_again(const OracleCase *c, const Program *p, OracleFinding *f) {
  Text first = {.arena = c->arena}, second = {.arena = c->arena};
  program_print(p, &first);
  text_append(&first, "", 0);
  Source source = {"printed", first.data, first.length};
  Program *again = program_parse(c->module, c->arena, c->diag, &source);
  if (!again) return found(f, "a printed program does not parse", first.data);
  program_print(again, &second);
  text_append(&second, "", 0);
  return same(&first, &second) || found(f, "a program's print, parse, print differs", second.data);
}

/* Passes leave much as it was; what did not change need not run again. */
static uint64_t mix(uint64_t h, uint64_t x) {
  h = (h ^ x) * UINT64_C(0x9e3779b97f4a7c15);
  return h ^ h >> 29;
}

static uint64_t block_hash(uint64_t h, const Block *b) {
  for (unsigned i = 0; b && i < b->n; i++) {
    const Inst *x = b->insts[i];
    h = mix(mix(h, x->op | (uint64_t)x->type << 16 | (uint64_t)x->n_args << 24), (uint64_t)x->imm ^ (uint64_t)(uint32_t)x->aux << 32);
    for (unsigned k = 0; k < x->n_args; k++) h = mix(h, x->args[k]->id);
    h = mix(block_hash(mix(block_hash(h, x->body), 1), x->otherwise), 2);
  }
  return h;
}

static uint64_t program_hash(const Program *p) {
  uint64_t h = mix(p->n_temps, p->n_uniforms);
  for (unsigned k = 0; k < p->n_kernels; k++) h = block_hash(mix(h, p->kernels[k]->launch), p->kernels[k]->body);
  return h;
}

static uint64_t graph_hash(const Graph *g) {
  uint64_t h = g->n_nodes;
  for (unsigned i = 0; i < g->n_nodes; i++) {
    const Node *n = g->nodes[i];
    h = mix(mix(h, n->op | (uint64_t)n->type << 16 | (uint64_t)(uint32_t)n->aux << 32), (uint64_t)n->imm);
    for (unsigned k = 0; k < n->n_args; k++) h = mix(h, n->args[k]->id);
    for (unsigned k = 0; k < n->space->rank; k++) h = mix(h, n->space->extent[k]->id);
    for (unsigned k = 0; n->region && k < n->region->n_results; k++) h = mix(h, n->region->results[k]->id);
  }
  for (unsigned i = 0; i < g->n_writes; i++) h = mix(mix(mix(h, g->writes[i].operand), g->writes[i].value->id), g->writes[i].when ? g->writes[i].when->id + 1 : 0);
  for (unsigned i = 0; i < g->n_exists; i++) h = mix(mix(h, g->exists[i].operand), g->exists[i].when ? g->exists[i].when->id + 1 : 0);
  for (unsigned i = 0; i < g->n_requires; i++) {
    h = mix(h, g->requires[i].cond->id);
    for (unsigned k = 0; k < g->requires[i].n; k++) h = mix(h, g->requires[i].value[k]->id);
  }
  return h;
}

bool oracle_check(const OracleCase *c, OracleFinding *f) {
  if (!module_verify(c->module, c->diag)) return found(f, "the module is not well formed", NULL);
  if (c->texts && !module_text(c, f)) return false;
  bool runs = oracle_can_run(c);
  const Data *input = runs ? make_data(c->arena, c->module, c->data) : NULL;
  const Data *want = runs ? run_graph(c, expanded(c->graph), input) : NULL;
  Unit unit = {.module = c->module, .arena = c->arena, .diag = c->diag, .graph = (Graph *)c->graph};
  uint64_t before = graph_hash(c->graph);
  unsigned errors = diag_errors(c->diag);
  for (unsigned k = 0; k < c->pipeline.n; k++) {
    const Step *s = &c->pipeline.steps[k];
    if (s->pass->form == PASS_LOWER && unit.scheduled) continue;
    s->pass->run(&unit, &s->args);
    f->graph = unit.graph;
    f->program = unit.program;
    if (diag_errors(c->diag) != errors) return c->may_refuse || found(f, "a pass refused a well-formed input", s->pass->name);
    for (unsigned i = 0; unit.program && i < unit.program->n_kernels; i++) kernel_number(unit.program->kernels[i]);
    if (!(unit.program ? program_verify(unit.program, c->diag) : graph_verify(unit.graph, c->diag))) return found(f, "not well formed after a pass", s->pass->name);
    uint64_t now = unit.program ? program_hash(unit.program) : graph_hash(unit.graph);
    bool changed = now != before;
    before = now;
    if (unit.program && c->texts && k + 1 == c->pipeline.n && !program_text_again(c, unit.program, f)) return false;
    if (!changed || !runs) continue;
    const char *text = difference(c, want, unit.program ? run_program(c, unit.program, input) : run_graph(c, expanded(unit.graph), input));
    if (text) return found(f, s->pass->name, text);
  }
  return true;
}

/* --- a case as a text -------------------------------------------------------------------------------------------------------- */

void oracle_print(const OracleCase *c, Text *to) {
  text_add(to, "# passes: ");
  for (unsigned k = 0; k < c->pipeline.n; k++) {
    const Step *s = &c->pipeline.steps[k];
    const char *mark = "(";
    text_add(to, "%s%s", k ? "," : "", s->pass->name);
    if (s->args.lanes) { text_add(to, "%slanes=%d", mark, (int)s->args.lanes); mark = ","; }
    if (s->args.unroll) { text_add(to, "%sunroll=%d", mark, (int)s->args.unroll); mark = ","; }
    if (s->args.limit) { text_add(to, "%slimit=%d", mark, (int)s->args.limit); mark = ","; }
    if (*mark == ',') text_add(to, ")");
  }
  text_add(to, "\n# data: %u\n", c->data);
  module_print(c->module, to);
}

static const char *comment(Arena *a, const Source *s, const char *key) {
  char *text = arena_strndup(a, s->text, s->length), *at = strstr(text, key);
  if (!at) return NULL;
  at += strlen(key);
  at[strcspn(at, "\n")] = 0;
  return at;
}

bool oracle_read(OracleCase *c, const Source *s) {
  const char *steps = comment(c->arena, s, "# passes: "), *data = comment(c->arena, s, "# data: ");
  c->module = module_parse(c->arena, c->diag, s);
  if (!c->module || !c->module->n_graphs || !steps || !data || !pipeline_parse(c->arena, c->diag, steps, &c->pipeline)) return false;
  c->graph = c->module->graphs[c->module->n_graphs - 1];
  c->data = (uint32_t)strtoul(data, NULL, 10);
  return true;
}
