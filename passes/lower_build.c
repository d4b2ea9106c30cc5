/* lower_build.c: the words in which loop nests are written: instructions, loops, temporaries, formulas. */
#include "passes/lower_nest.h"

Inst *nest_add(Nest *l, KOp op, Type type, int64_t imm, unsigned n, Inst *const *args) { return block_add(l->arena, l->kernel.at, op, type, imm, n, args); }

/* Constants stand at the top of the kernel, each once. */
Inst *nest_const(Nest *l, Type type, Bits bits) {
  for (size_t i = 0; i < l->kernel.n_constants; i++) if (l->kernel.constants[i].type == type && l->kernel.constants[i].bits == bits) return l->kernel.constants[i].inst;
  l->kernel.constants = arena_grow(l->arena, l->kernel.constants, &l->kernel.constants_capacity, l->kernel.n_constants + 1, sizeof *l->kernel.constants);
  Inst *inst = block_add(l->arena, l->kernel.top, KOP_E_CONST, type, (int64_t)bits, 0, NULL);
  l->kernel.constants[l->kernel.n_constants++] = (NestConst){type, bits, inst};
  return inst;
}

Inst *nest_i64(Nest *l, int64_t x) { return nest_const(l, TYPE_I64, (Bits)x); }
Inst *nest_real(Nest *l, Type type, double x) { return nest_const(l, type, type_kind(type) == KIND_FLOAT ? bits_from_f64(x, type) : bits_normal((Bits)(int64_t)x, type)); }
Inst *nest_op1(Nest *l, KOp op, Inst *a) { return nest_add(l, op, (Type)a->type, 0, 1, &a); }

Inst *nest_op2(Nest *l, KOp op, Inst *a, Inst *b) {
  bool compares = element_rule((Element)op) == RULE_COMPARE;
  return nest_add(l, op, compares ? TYPE_BOOL : (Type)a->type, 0, 2, (Inst *[]){a, b});
}

Inst *nest_select(Nest *l, Inst *c, Inst *a, Inst *b) { return nest_add(l, KOP_SELECT, (Type)a->type, 0, 3, (Inst *[]){c, a, b}); }
Inst *nest_cast(Nest *l, Type type, Inst *a) { return a->type == type ? a : nest_add(l, KOP_CAST, type, 0, 1, &a); }
Inst *nest_both(Nest *l, Inst *a, Inst *b) { return !a || a == b ? b : !b ? a : nest_op2(l, KOP_AND, a, b); }
Inst *nest_min(Nest *l, Inst *a, Inst *b) { return nest_select(l, nest_op2(l, KOP_LT, a, b), a, b); }

Inst *nest_blocks(Nest *l, Inst *n, unsigned bits) {
  return nest_op2(l, KOP_SHR, nest_op2(l, KOP_ADD, n, nest_i64(l, (INT64_C(1) << bits) - 1)), nest_i64(l, bits));
}

/* The exponent of n as f64; numbers that an extent can be are exact. */
Inst *nest_bits(Nest *l, Inst *n) {
  Inst *real = nest_cast(l, TYPE_F64, n), *bits = nest_add(l, KOP_BITCAST, TYPE_I64, 0, 1, &real);
  return nest_op2(l, KOP_SUB, nest_op2(l, KOP_USHR, bits, nest_i64(l, 52)), nest_i64(l, 1022));
}

/* The product of two extents. What memory is to hold is counted in kernels of sizes: there it stops above the largest count, for the driver to refuse, and does
 * not wrap. The product in f64 is near enough to tell: below 2^58, with its rounding, the integers cannot have wrapped. */
Inst *nest_times(Nest *l, Inst *a, Inst *b) {
  bool sizes = l->kernel.launch == LAUNCH_SIZES || l->kernel.launch == LAUNCH_CALL_SIZES;
  if (sizes && a->op == KOP_E_CONST && a->imm == 1) return b;
  Inst *product = nest_op2(l, KOP_MUL, a, b);
  if (!sizes) return product;
  Inst *about = nest_op2(l, KOP_MUL, nest_cast(l, TYPE_F64, a), nest_cast(l, TYPE_F64, b)), *high = nest_i64(l, OPTC_MAX_COUNT + 1);
  return nest_select(l, nest_op2(l, KOP_LT, about, nest_real(l, TYPE_F64, (double)(OPTC_MAX_COUNT + 1))), product, high);
}

Inst *nest_fma(Nest *l, Inst *a, Inst *b, Inst *c) {
  if (a->type == TYPE_F32) return nest_add(l, KOP_FMA, TYPE_F32, 0, 3, (Inst *[]){a, b, c});
  return nest_op2(l, KOP_ADD, c, nest_op2(l, KOP_MUL, a, b));
}

/* --- formulas --------------------------------------------------------------------------------------------------------------------- */

/* The nodes of a formula are written where it is called. */
static Inst *inline_formula(Nest *l, const Graph *g, const Node *result, const Node *const *parameters, Inst *const *values, unsigned n) {
  Inst **map = arena_array(l->arena, g->n_nodes, sizeof *map);
  const bool *live = graph_needs(g, result, l->arena);
  for (unsigned i = 0; i < g->n_nodes; i++) {
    const Node *node = g->nodes[i];
    if (!live[i]) continue;
    for (unsigned k = 0; k < n; k++) if (node == parameters[k]) map[i] = values[k];
    if (map[i]) continue;
    if (node->op == OP_CONST) { map[i] = nest_const(l, (Type)node->type, (Bits)node->imm); continue; }
    Inst *args[4];
    for (unsigned k = 0; k < node->n_args; k++) args[k] = map[node->args[k]->id];
    map[i] = nest_add(l, (KOp)node->op, (Type)node->type, 0, node->n_args, args);
  }
  return map[result->id];
}

Inst *nest_formula(Nest *l, const Formula *f, Inst *x) { return inline_formula(l, f->graph, f->result, &f->argument, &x, 1); }

Inst *nest_call(Nest *l, Op op, Inst *a, Inst *b) {
  NestFormula *f = NULL;
  for (size_t i = 0; i < l->n_formulas && !f; i++) if (l->formulas[i].op == op && l->formulas[i].type == (Type)a->type) f = &l->formulas[i];
  if (!f) {
    l->formulas = arena_grow(l->arena, l->formulas, &l->formulas_capacity, l->n_formulas + 1, sizeof *l->formulas);
    f = &l->formulas[l->n_formulas++];
    Graph *g = graph_new(l->graph->module, op_name(op));
    *f = (NestFormula){.op = op, .type = (Type)a->type, .graph = g};
    for (unsigned k = 0; k < 2; k++) f->argument[k] = graph_node(g, OP_CARRY, (Type)a->type, graph_scalar_space(g), k, LEVEL_ELEMENT << 8, 0, NULL);
    f->result = expand_function(g, op, (Type)a->type, b ? 2 : 1, f->argument);
  }
  return inline_formula(l, f->graph, f->result, f->argument, (Inst *[]){a, b}, b ? 2 : 1);
}

/* --- memory, loops ------------------------------------------------------------------------------------------------------------------ */

Inst *nest_load(Nest *l, unsigned buffer, Inst *index, Inst *guard) {
  return nest_add(l, KOP_E_LOAD, program_buffer_type(l->program, buffer), buffer, guard ? 2 : 1, (Inst *[]){index, guard});
}
void nest_store(Nest *l, unsigned buffer, Inst *index, Inst *value, Inst *guard) {
  nest_add(l, KOP_E_STORE, TYPE_BOOL, buffer, guard ? 3 : 2, (Inst *[]){index, value, guard});
}

void nest_fetch(Nest *l, size_t from, const Inst *loop, Inst *ahead) {
  for (size_t k = from, n = l->temps->call ? 0 : l->kernel.at->n; k < n; k++) {              /* kernels of the call are too small for it */
    const Inst *load = l->kernel.at->insts[k];
    if (load->op != KOP_E_LOAD || load->n_args > 1 || load->imm >= l->module->n_operands || !place_follows(load->args[0], loop)) continue;
    Inst *at = nest_op2(l, KOP_ADD, load->args[0], ahead);
    nest_add(l, KOP_E_PREFETCH, TYPE_BOOL, load->imm, 1, &at);
  }
}

static void enter(Nest *l, Inst *inst) {
  l->kernel.open[l->kernel.depth].inst = inst;
  l->kernel.open[l->kernel.depth++].outer = l->kernel.at;
  l->kernel.at = inst->body = block_new(l->arena);
}

static void leave(Nest *l) {
  l->kernel.depth--;
  l->kernel.at = l->kernel.open[l->kernel.depth].outer;
  block_push(l->arena, l->kernel.at, l->kernel.open[l->kernel.depth].inst);
}

Inst *nest_open(Nest *l, Inst *low, Inst *high, unsigned n, Inst *const *first) {
  Inst **args = arena_array(l->arena, n + 2, sizeof *args);
  args[0] = low;
  args[1] = high;
  for (unsigned k = 0; k < n; k++) args[k + 2] = first[k];
  Inst *loop = block_add(l->arena, block_new(l->arena), KOP_E_FOR, TYPE_I64, 0, n + 2, args);
  enter(l, loop);
  return loop;
}

Inst *nest_carried(Nest *l, Inst *loop, unsigned which) { return nest_add(l, KOP_E_CARRIED, (Type)loop->args[which + 2]->type, which, 1, &loop); }

void nest_close(Nest *l, unsigned n, Inst *const *next) {
  nest_add(l, KOP_E_YIELD, TYPE_BOOL, 0, n, next);
  leave(l);
}

void nest_if(Nest *l, Inst *condition) { enter(l, block_add(l->arena, block_new(l->arena), KOP_E_IF, TYPE_BOOL, 0, 1, &condition)); }
void nest_end_if(Nest *l) { leave(l); }

unsigned nest_temp(Nest *l, const char *name, Type type, Wanted size) {
  unsigned buffer = program_temp(l->program, arena_printf(l->arena, "%s_%u", name, l->program->n_temps), type);
  Buffer *temp = &l->program->temps[l->program->n_temps - 1];
  temp->sized = true;
  temp->call = l->temps->call;
  size.buffer = buffer;
  unsigned *n = &l->temps->n_wanted;
  l->temps->wanted = arena_grow(l->arena, l->temps->wanted, &l->temps->capacity, *n + 1, sizeof size);
  l->temps->wanted[(*n)++] = size;
  return buffer;
}

static unsigned scratch_of(Nest *l, Type type, unsigned elements, bool rows) {
  for (size_t k = 0; k < l->n_scratch; k++) if (l->scratch[k].type == type && l->scratch[k].elements == elements && l->scratch[k].rows == rows) return l->scratch[k].buffer;
  l->scratch = arena_grow(l->arena, l->scratch, &l->scratch_capacity, l->n_scratch + 1, sizeof *l->scratch);
  unsigned buffer = program_local(l->program, arena_printf(l->arena, "scratch_%u", l->program->n_temps), type, elements);
  l->program->temps[l->program->n_temps - 1].rows = rows;
  l->scratch[l->n_scratch++] = (Scratch){elements, rows, type, buffer};
  return buffer;
}

unsigned nest_scratch(Nest *l, Type type, unsigned elements, bool rows) {
  unsigned buffer = scratch_of(l, type, elements, rows);
  nest_add(l, KOP_E_FRESH, TYPE_BOOL, buffer, 0, NULL);
  return buffer;
}
