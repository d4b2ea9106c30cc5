/* explain_sizes.c: in words of the rule's sizes: how often the loops of a nest turn, and what the temporaries of an entry take. */
#include <string.h>
#include "ir/graph.h"
#include "runtime/explain.h"

static bool is_const(const Inst *x, int64_t value) { return x->op == KOP_E_CONST && x->imm == value; }
static bool is(const Inst *x, Element e) { return x->op == (uint16_t)e; }

/* All of it is axes of the operand, so many. */
static bool is_axes(const Inst *x, unsigned operand, unsigned n) {
  if (is(x, ELEMENT_MUL) && n > 1) return is_axes(x->args[0], operand, n - 1) && is_axes(x->args[1], operand, 1);
  return n == 1 && x->op == KOP_E_SIZE && x->imm == operand && x->aux != -1 && x->aux != -2;
}

/* What a pattern of the rule calls the extent, or NULL. */
static const char *pattern_name(const Module *m, const Inst *x) {
  for (unsigned i = 0; i < m->n_size_names; i++) {
    const SizeName *s = &m->size_names[i];
    const Inst *size = s->rest && is(x, ELEMENT_IDIV) ? x->args[0] : x;
    if (size->op != KOP_E_SIZE || size->imm != s->operand || size->aux != s->axis) continue;
    if (s->rest ? size != x && is_axes(x->args[1], s->operand, s->rest) : size == x) return s->name;
  }
  return NULL;
}

/* Axis `axis` of an operand, as the rule writes it: dimension `axis` of "[B, H, T//c]". */
static void axis_text(const Module *m, const Inst *size, Text *out) {
  const Operand *o = &m->operands[size->imm];
  const char *text = operand_shape_text(m, o, out->arena);
  if (size->aux < 0 || !text || o->any_rank) {
    if (size->aux == -1) text_add(out, "size(%s)", o->name);
    else if (size->aux == -2) text_add(out, "rank(%s)", o->name);
    else text_add(out, "%s.shape[%d]", o->name, size->aux < -2 ? size->aux + 2 : size->aux);
    return;
  }
  int depth = 0, axis = 0;
  for (const char *s = text + 1; *s && *s != ']'; s++) {
    depth += (*s == '(') - (*s == ')');
    if (*s == ',' && !depth) axis++;
    else if (axis == size->aux && (*s != ' ' || s[-1] != ',')) text_append(out, s, 1);
  }
}

/* x, where `inst` is max(x, 0), min(x, constant), 1*x, or x under a condition and else 0: how lowering writes an extent, and a product that may not wrap. */
static const Inst *plain(const Inst *x) {
  for (;;) {
    if (is(x, ELEMENT_SELECT) && is_const(x->args[1], 0) && is(x->args[0], ELEMENT_LT) && x->args[0]->args[0] == x->args[2]) x = x->args[2];
    else if (is(x, ELEMENT_SELECT) && is_const(x->args[2], 0)) x = x->args[1];
    else if (is(x, ELEMENT_SELECT) && x->args[2]->op == KOP_E_CONST && is(x->args[0], ELEMENT_LT)) x = x->args[1];
    else if (is(x, ELEMENT_MUL) && is_const(x->args[0], 1)) x = x->args[1];
    else if (is(x, ELEMENT_MUL) && is_const(x->args[1], 1)) x = x->args[0];
    else return x;
  }
}

/* How an operation is written between its operands; the others are written as functions. */
static const struct { Element e; const char *sign; } signs[] = {{ELEMENT_MUL, "*"}, {ELEMENT_ADD, " + "}, {ELEMENT_SUB, " - "}, {ELEMENT_DIV, "/"}, {ELEMENT_IDIV, "//"}, {ELEMENT_IMOD, "%"},
  {ELEMENT_LT, " < "}, {ELEMENT_LE, " <= "}, {ELEMENT_GT, " > "}, {ELEMENT_GE, " >= "}, {ELEMENT_EQ, " == "}, {ELEMENT_NE, " != "}, {ELEMENT_AND, " and "}, {ELEMENT_OR, " or "}};

/* The text ends soon after `most`: expressions are graphs, and as trees they may be huge. */
typedef struct Writer { const Program *program; Text *out; size_t most; } Writer;
static void value_text(const Writer *, const Inst *, unsigned depth);

static const Inst *uniform_value(const Program *p, int64_t slot) {
  for (unsigned k = 0; k < p->n_kernels; k++)
    for (unsigned i = 0; p->kernels[k]->launch == LAUNCH_GROUP && i < p->kernels[k]->body->n; i++) {
      const Inst *inst = p->kernels[k]->body->insts[i];
      if (inst->op == KOP_E_SET_UNIFORM && inst->imm == slot) return inst->args[0];
    }
  return NULL;
}

/* x + 511, of ((x + 512) - 1), and x - 1, of x + -1. */
static bool sum_text(const Writer *w, const Inst *x, unsigned depth) {
  int64_t constant = 0;
  const Inst *rest = x;
  for (int k = 0; k < 2 && type_kind(x->type) == KIND_INT && (is(rest, ELEMENT_ADD) || is(rest, ELEMENT_SUB)) && rest->args[1]->op == KOP_E_CONST; k++, rest = rest->args[0])
    constant += is(rest, ELEMENT_ADD) ? rest->args[1]->imm : -rest->args[1]->imm;
  if (rest == x || !constant) return false;
  text_add(w->out, depth ? "(" : "");
  value_text(w, rest, depth + 1);
  text_add(w->out, constant < 0 ? " - %lld%s" : " + %lld%s", (long long)(constant < 0 ? -constant : constant), depth ? ")" : "");
  return true;
}

/* Its text begins with a whole division: behind `2*` that would be another one. */
static bool begins_with_division(const Module *m, const Inst *x) {
  for (x = plain(x); is(x, ELEMENT_MUL); x = plain(x->args[0]));
  return !pattern_name(m, x) && (is(x, ELEMENT_IDIV) || is(x, ELEMENT_IMOD));
}

static void element_text(const Writer *w, const Inst *x, unsigned depth) {
  Text *out = w->out;
  if (is(x, ELEMENT_NE) && x->args[0] == x->args[1]) {
    text_add(out, "isnan(");
    value_text(w, x->args[0], 0);
    text_add(out, ")");
    return;
  }
  if (sum_text(w, x, depth)) return;
  for (size_t i = 0; i < sizeof signs/sizeof *signs; i++) {
    if (!is(x, signs[i].e)) continue;
    const Inst *right = plain(x->args[1]);
    bool division = i >= 3 && i <= 5, sum = i > 0 && !division, whole = begins_with_division(w->program->module, right);
    bool inner = !pattern_name(w->program->module, right) && ((!sum && whole) || (division && (is(right, ELEMENT_MUL) || is(right, ELEMENT_DIV))));
    if (sum && depth) text_add(out, "(");
    value_text(w, x->args[0], depth + !sum);
    text_add(out, "%s", signs[i].sign);
    if (inner) text_add(out, "(");
    value_text(w, x->args[1], depth + 1);
    if (inner) text_add(out, ")");
    if (sum && depth) text_add(out, ")");
    return;
  }
  text_add(out, "%s(", element_name((Element)x->op));
  for (unsigned k = 0; k < x->n_args; k++) {
    if (k) text_add(out, ", ");
    value_text(w, x->args[k], 0);
  }
  text_add(out, ")");
}

static void value_text(const Writer *w, const Inst *x, unsigned depth) {
  const Program *p = w->program;
  const Module *m = p->module;
  Text *out = w->out;
  if (out->length > w->most) return;
  x = plain(x);
  const char *name = pattern_name(m, x);
  if (name) text_add(out, "%s", name);
  else if (depth > 12) text_add(out, "..");
  else if (is(x, ELEMENT_CAST)) value_text(w, x->args[0], depth);
  else if (x->op < ELEMENT_COUNT) element_text(w, x, depth);
  else if (x->op == KOP_E_CONST && type_kind(x->type) == KIND_FLOAT) text_add(out, "%g", bits_to_f64((Bits)x->imm, x->type));
  else if (x->op == KOP_E_CONST) text_add(out, "%lld", (long long)x->imm);
  else if (x->op == KOP_E_SIZE) axis_text(m, x, out);
  else if (x->op == KOP_E_COUNT) text_add(out, "elements");
  else if (x->op == KOP_E_HYPER) text_add(out, "%s", m->hypers[x->imm].name);
  else if (x->op == KOP_E_SCALAR) text_add(out, "%s", m->operands[x->imm].name);
  else if (x->op == KOP_E_LOAD) text_add(out, "%s", x->imm < (int64_t)m->n_operands ? m->operands[x->imm].name : p->temps[x->imm - m->n_operands].name);
  else if (x->op == KOP_E_UNIFORM && uniform_value(p, x->imm)) value_text(w, uniform_value(p, x->imm), depth + 4);
  else text_add(out, x->op == KOP_E_FOR ? "n" : x->op == KOP_E_STEP ? "t" : x->op == KOP_E_TOTAL ? "total" : "..");
}

enum { LONGEST_VALUE = 90, LONGEST_SIZE = 400 };

static void size_text(const Program *p, const Inst *x, Text *out) { value_text(&(Writer){p, out, out->length + LONGEST_SIZE}, x, 1); }

void explain_value(const Program *p, const Inst *x, Text *out) {
  size_t most = out->length + LONGEST_VALUE;
  value_text(&(Writer){p, out, most}, x, 0);
  if (out->length <= most) return;
  out->length = most;
  text_add(out, "...");
}

/* Made of sizes alone. */
static bool is_size(const Inst *x, unsigned depth) {
  x = plain(x);
  if (x->op == KOP_E_CONST || x->op == KOP_E_SIZE || x->op == KOP_E_COUNT || x->op == KOP_E_HYPER || x->op == KOP_E_SCALAR) return true;
  if (depth > 12 || (!is(x, ELEMENT_MUL) && !is(x, ELEMENT_ADD) && !is(x, ELEMENT_SUB) && !is(x, ELEMENT_IDIV) && !is(x, ELEMENT_IMOD))) return false;
  return is_size(x->args[0], depth + 1) && is_size(x->args[1], depth + 1);
}

/* The loop that a block turns most often through: its last one. */
static const Inst *inner_loop(const Block *body) {
  const Inst *last = NULL;
  for (unsigned i = 0; i < body->n; i++) if (body->insts[i]->op == KOP_E_FOR) last = body->insts[i];
  return last;
}

/* What a loop counts: of a chunk or a tensor its elements, of a tile the positions of its space. NULL: nothing that sizes say. */
static const Inst *trips_of(const Program *p, const Kernel *k, const Inst *loop) {
  const Inst *lo = loop->args[0], *hi = plain(loop->args[1]);
  if (lo->op == KOP_E_BEGIN) return launch_has_space(k->launch) ? values_positions(p, k->space) : lo;
  if (!is_const(lo, 0)) return NULL;
  if (is(hi, ELEMENT_SHR) && is(hi->args[0], ELEMENT_ADD)) hi = plain(hi->args[0]->args[0]);      /* blocks of 2^k */
  return is_size(hi, 0) ? hi : NULL;                                     /* not what sums do inside: blocks, lanes, trees */
}

static void trips_text(const Program *p, const Inst *n, Text *out) {
  if (n->op == KOP_E_BEGIN) text_add(out, "elements");
  else size_text(p, n, out);
}

void explain_trips(const Program *p, const Kernel *k, const Inst *loop, Text *out) {
  const Inst *n = loop ? trips_of(p, k, loop) : NULL;
  if (n) trips_text(p, n, out);
}

void explain_nest(const Program *p, const Kernel *k, const Inst *loop, Text *out) {
  const char *before = "";
  for (; loop; loop = inner_loop(loop->body)) {
    const Inst *n = trips_of(p, k, loop);
    if (!n && !is_const(loop->args[0], 0)) continue;                     /* inside a block: the loop over the blocks said it */
    if (!n) break;
    text_add(out, "%s", before);
    trips_text(p, n, out);
    before = " x ";
  }
}

void explain_count(const Program *p, unsigned temp, Text *out) {
  const Inst *count = values_count(p, p->module->n_operands + temp);
  if (p->temps[temp].local) text_add(out, "%u", p->temps[temp].local);
  else if (p->temps[temp].partial) text_add(out, "chunks");
  else if (count) size_text(p, count, out);
  else text_add(out, "elements");
}

/* A term for each temporary that lies in a part of the workspace. */
static unsigned add_terms(const Facts *f, bool call, bool kept, Text *out) {
  unsigned n = 0;
  for (unsigned k = 0; k < f->program->n_temps; k++) {
    const Buffer *t = &f->program->temps[k];
    if (t->local || t->partial || t->call != call || (!call && f->kept[k] != kept)) continue;
    Text count = {.arena = out->arena};
    explain_count(f->program, k, &count);
    bool divided = strstr(count.data, "//") != NULL;
    text_add(out, divided ? "%s%u*(%s)" : "%s%u*%s", n++ ? " + " : "", type_bytes(t->type), count.data);
  }
  return n;
}

/* As driver_place.c lays it out. */
void explain_workspace(const Facts *f, Text *out) {
  const Program *p = f->program;
  unsigned partials = 0;
  Text part[3] = {{.arena = out->arena}, {.arena = out->arena}, {.arena = out->arena}};
  unsigned call = add_terms(f, true, false, &part[0]), kept = add_terms(f, false, true, &part[1]), room = add_terms(f, false, false, &part[2]);
  for (unsigned k = 0; k < p->n_temps; k++) partials += p->temps[k].partial;
  const char *before = "";
#define PART(when, ...) do { if (when) { text_add(out, "%s", before); text_add(out, __VA_ARGS__); before = " + "; } } while (0)
  PART(p->n_slots, "8*%u*(items + 1)", p->n_slots);
  PART(call, "%s a call", part[0].data);
  PART(kept, "(%s) an item", part[1].data);
  PART(p->n_temps || p->n_spaces, "%u an item for its record", 16 + 16*p->n_spaces + 8*f->n_buffers);
  PART(partials, "8*%u*chunks", partials);
  PART(room, "one room for the largest window, the sum over its items of %s", part[2].data);
#undef PART
}
