/* explain_sample.c: sizes at which explain counts, and the values that a program's scalars have there.
 *
 * An item is a tensor of 1 Mi elements; sizes of other shapes have usual values by the names that papers use. What only a run knows (the step, data,
 * hyper-parameters without default) stays unknown. */
#include "runtime/explain.h"
#include <string.h>

/* The last line is for all other names. */
static const struct { const char *names; int64_t value; } usual[] = {{"B", 4}, {"H", 16}, {"G", 4}, {"N M T S L", 1024}, {"D E C P K R", 64}, {"", 64}};
/* An item of rank r: 1 Mi elements. */
static const int64_t sides[][4] = {{1 << 20}, {1 << 20}, {1024, 1024}, {128, 128, 64}, {64, 64, 16, 16}};
enum { MOST_DEPTH = 64, MOST_SIDES = 4 };

/* Axis `axis` as the rule writes it, if that is one name. */
static bool axis_name(const Sample *s, unsigned operand, unsigned axis, char *name, size_t size) {
  const char *text = operand_shape_text(s->module, &s->module->operands[operand], s->arena);
  if (!text || *text != '[') return false;
  unsigned at = 0;
  size_t n = 0;
  int depth = 0;
  for (const char *c = text + 1; *c && *c != ']'; c++) {
    depth += (*c == '(') - (*c == ')');
    if (*c == ',' && !depth) at++;
    else if (at == axis && *c != ' ' && n + 1 < size) name[n++] = *c;
  }
  name[n] = 0;
  return n && strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") == n;
}

static int64_t usual_size(const Sample *s, unsigned operand, unsigned axis) {
  char name[32];
  bool named = axis_name(s, operand, axis, name, sizeof name);
  size_t k = 0;
  while (*usual[k].names && (!named || name[1] || !strchr(usual[k].names, *name))) k++;
  return usual[k].value;
}

static int64_t size_at(const Sample *s, unsigned operand, int64_t aux, unsigned depth);

/* A number of the module's shapes. */
static Number extent_value(const Sample *s, const Node *n, unsigned depth) {
  Number none = {0}, x[3];
  if (depth > MOST_DEPTH) return none;
  if (n->op == OP_CONST) return (Number){true, (Bits)n->imm};
  if (n->op == OP_SIZE) return (Number){true, (Bits)size_at(s, (unsigned)n->imm, n->aux, depth + 1)};
  if (n->op == OP_HYPER) return (Number){s->module->hypers[n->imm].has_default && !s->module->hypers[n->imm].computed, s->module->hypers[n->imm].value};
  if (!op_is_element(n->op) || n->n_args > 3) return none;
  Bits bits[3];
  for (unsigned k = 0; k < n->n_args; k++) {
    x[k] = extent_value(s, n->args[k], depth + 1);
    if (!x[k].known) return none;
    bits[k] = x[k].bits;
  }
  return (Number){true, element_eval((Element)n->op, n->type, n->args[n->n_args - 1]->type, bits)};
}

static bool is_own(const Node *n, unsigned operand, unsigned axis) { return n->op == OP_SIZE && n->imm == (int64_t)operand && n->aux == (int32_t)axis; }

static bool of_item(const Sample *s, unsigned operand) {
  const Operand *o = &s->module->operands[operand];
  return o->item_shape || (!o->shape && s->rank);
}

static unsigned rank_of(const Sample *s, unsigned operand) {
  const Operand *o = &s->module->operands[operand];
  return of_item(s, operand) || !o->shape ? s->rank : o->shape->rank;
}

static int64_t extent_at(const Sample *s, unsigned operand, unsigned axis, unsigned depth) {
  const Operand *o = &s->module->operands[operand];
  if (of_item(s, operand)) return axis < s->rank ? s->shape[axis] : 1;
  if (!o->shape || axis >= o->shape->rank) return 1;
  if (is_own(o->shape->extent[axis], operand, axis)) return usual_size(s, operand, axis);
  Number n = extent_value(s, o->shape->extent[axis], depth + 1);
  int64_t extent = (int64_t)n.bits;
  return !n.known ? usual_size(s, operand, axis) : extent > 0 ? extent : 0;
}

/* As OP_SIZE. */
static int64_t size_at(const Sample *s, unsigned operand, int64_t aux, unsigned depth) {
  unsigned rank = rank_of(s, operand);
  if (aux == -2) return rank;
  if (aux >= 0 || aux < -2) {
    int64_t axis = aux >= 0 ? aux : (int64_t)rank + aux + 2;
    return axis >= 0 && axis < rank ? extent_at(s, operand, (unsigned)axis, depth) : 1;
  }
  int64_t n = 1;
  for (unsigned k = 0; k < rank; k++) n *= extent_at(s, operand, k, depth);
  return n;
}

void sample_make(Sample *s, const Module *m, Arena *arena) {
  *s = (Sample){.module = m, .arena = arena};
  for (unsigned k = 0; k < m->n_operands && !s->elements; k++) {
    const Operand *o = &m->operands[k];
    if (!o->item_shape || o->scope != SCOPE_TENSOR) continue;
    s->rank = o->shape && !o->any_rank && o->shape->rank && o->shape->rank <= MOST_SIDES ? o->shape->rank : 2;
    s->elements = 1 << 20;
    memcpy(s->shape, sides[s->rank], s->rank * sizeof *s->shape);
  }
}

void sample_text(const Sample *s, Text *out) {
  const char *before = "";
  char seen[64][32];
  unsigned n = 0;
  for (unsigned k = 0; k < s->module->n_operands; k++) {
    const Operand *o = &s->module->operands[k];
    if (o->item_shape && o->scope == SCOPE_TENSOR) {
      text_add(out, "%s%s[", before, o->name);
      for (unsigned a = 0; a < s->rank; a++) text_add(out, "%s%lld", a ? ", " : "", (long long)s->shape[a]);
      text_add(out, "]");
      before = ", ";
      break;
    }
  }
  for (unsigned k = 0; k < s->module->n_operands; k++) {
    const Operand *o = &s->module->operands[k];
    for (unsigned a = 0; o->shape && !o->item_shape && a < o->shape->rank && n < 64; a++) {
      if (!is_own(o->shape->extent[a], k, a) || !axis_name(s, k, a, seen[n], sizeof seen[n])) continue;
      text_add(out, "%s%s = %lld", before, seen[n++], (long long)extent_at(s, k, a, 0));
      before = ", ";
    }
  }
  if (!*before) text_add(out, "one number each");
}

/* --- values of a program ------------------------------------------------------------------------------------------------------------ */

static Number known(int64_t x) { return (Number){true, (Bits)x}; }

static const Inst *find_set(const Program *p, Launch launch, KOp op, int64_t imm, unsigned *kernel) {
  for (unsigned k = 0; k < p->n_kernels; k++)
    for (unsigned i = 0; p->kernels[k]->launch == launch && i < p->kernels[k]->body->n; i++) {
      const Inst *inst = p->kernels[k]->body->insts[i];
      if (inst->op != op || inst->imm != imm) continue;
      *kernel = k;
      return inst;
    }
  return NULL;
}

static const Inst *find_count(const Program *p, unsigned buffer, unsigned *kernel) {
  const Inst *set = find_set(p, LAUNCH_SIZES, KOP_E_SET_COUNT, buffer, kernel);
  return set ? set : find_set(p, LAUNCH_CALL_SIZES, KOP_E_SET_COUNT, buffer, kernel);
}

const Inst *values_count(const Program *p, unsigned buffer) {
  unsigned kernel;
  const Inst *set = find_count(p, buffer, &kernel);
  return set ? set->args[0] : NULL;
}

const Inst *values_positions(const Program *p, unsigned space) {
  unsigned kernel;
  const Inst *set = find_set(p, LAUNCH_SIZES, KOP_E_SET_SPACE, space, &kernel);
  return set ? set->args[0] : NULL;
}

void values_make(Values *v, const Sample *s, const Program *p) {
  *v = (Values){.sample = s, .program = p, .value = arena_array(s->arena, p->n_kernels + 1, sizeof *v->value), .done = arena_array(s->arena, p->n_kernels + 1, sizeof *v->done),
    .trip = arena_array(s->arena, p->n_kernels + 1, sizeof *v->trip)};
  for (unsigned k = 0; k < p->n_kernels; k++) {
    kernel_number(p->kernels[k]);
    v->value[k] = arena_array(s->arena, p->kernels[k]->n_insts + 1, sizeof **v->value);
    v->done[k] = arena_array(s->arena, p->kernels[k]->n_insts + 1, sizeof **v->done);
    v->trip[k] = arena_array(s->arena, p->kernels[k]->n_insts + 1, sizeof **v->trip);
  }
}

double values_space(Values *v, unsigned space) {
  unsigned kernel;
  const Inst *set = find_set(v->program, LAUNCH_SIZES, KOP_E_SET_SPACE, space, &kernel);
  return set ? values_or(v, kernel, set->args[0], 1) : 1;
}

int64_t values_buffer(Values *v, unsigned buffer) {
  const Program *p = v->program;
  unsigned n = p->module->n_operands, kernel;
  if (buffer < n) return operand_is_tensor(&p->module->operands[buffer]) ? size_at(v->sample, buffer, -1, 0) : 0;
  const Buffer *temp = &p->temps[buffer - n];
  if (temp->local) return temp->local;
  if (temp->partial) return (v->sample->elements + OPTC_CHUNK - 1)/OPTC_CHUNK;
  const Inst *set = find_count(p, buffer, &kernel);
  return set ? (int64_t)values_or(v, kernel, set->args[0], 1) : v->sample->elements;
}

static Number uniform(Values *v, int64_t slot) {
  unsigned kernel;
  const Inst *set = find_set(v->program, LAUNCH_GROUP, KOP_E_SET_UNIFORM, slot, &kernel);
  return set ? values_of(v, kernel, set->args[0]) : (Number){0};
}

static Number scalar(const Module *m, const Inst *inst) {
  const Operand *o = &m->operands[inst->imm];
  return (Number){o->has_default && o->role == ROLE_IN, o->value};
}

static Number element(Values *v, unsigned kernel, const Inst *inst) {
  Number none = {0};
  Bits bits[3];
  if (inst->n_args > 3) return none;
  if (inst->op == KOP_SELECT) {
    Number c = values_of(v, kernel, inst->args[0]);
    return c.known ? values_of(v, kernel, inst->args[c.bits ? 1 : 2]) : none;
  }
  for (unsigned k = 0; k < inst->n_args; k++) {
    Number x = values_of(v, kernel, inst->args[k]);
    if (!x.known) return none;
    bits[k] = x.bits;
  }
  return (Number){true, element_eval((Element)inst->op, inst->type, inst->args[inst->n_args - 1]->type, bits)};
}

static Number index_of(Values *v, unsigned kernel, const Inst *loop) {
  Number lo = values_of(v, kernel, loop->args[0]);
  return (Number){lo.known, lo.bits + (Bits)v->trip[kernel][loop->id]};
}

static Number compute(Values *v, unsigned kernel, const Inst *inst) {
  const Module *m = v->program->module;
  const Kernel *k = v->program->kernels[kernel];
  if (inst->op < ELEMENT_COUNT) return element(v, kernel, inst);
  switch ((KOp)inst->op) {
    case KOP_E_CONST: return known(inst->imm);
    case KOP_E_HYPER: return (Number){m->hypers[inst->imm].has_default && !m->hypers[inst->imm].computed, m->hypers[inst->imm].value};
    case KOP_E_COUNT: return known(v->sample->elements);
    case KOP_E_FIRST: case KOP_E_BEGIN: case KOP_E_TRIP: return known(0);
    case KOP_E_END: return known(launch_has_space(k->launch) ? (int64_t)values_space(v, k->space) : v->sample->elements);
    case KOP_E_SIZE: return known(size_at(v->sample, (unsigned)inst->imm, inst->aux, 0));
    case KOP_E_PRESENT: case KOP_E_ITEMS: return known(1);
    case KOP_E_UNIFORM: return uniform(v, inst->imm);
    case KOP_E_SCALAR: return scalar(m, inst);
    case KOP_E_FOR: return index_of(v, kernel, inst);
    case KOP_E_TILE_ROWS: return known(KERNEL_TILE_ROWS);
    case KOP_E_TILE_COLUMNS: return known(KERNEL_TILE_COLUMNS);
    default: return (Number){0};
  }
}

Number values_of(Values *v, unsigned kernel, const Inst *inst) {
  if (!v->done[kernel][inst->id]) {
    v->done[kernel][inst->id] = true;
    v->value[kernel][inst->id] = compute(v, kernel, inst);
  }
  return v->value[kernel][inst->id];
}

void values_turn(Values *v, unsigned kernel, const Inst *loop, int64_t trip) {
  v->trip[kernel][loop->id] = trip;
  memset(v->done[kernel], 0, v->program->kernels[kernel]->n_insts*sizeof **v->done);
}

double values_or(Values *v, unsigned kernel, const Inst *inst, double unknown) {
  Number n = values_of(v, kernel, inst);
  return n.known ? bits_to_f64(n.bits, inst->type) : unknown;
}
