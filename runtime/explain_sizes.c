/* explain_sizes.c: in words of the rule's sizes: how often the loops of a nest turn, and what the temporaries of an entry take. */
#include <string.h>
#include "ir/graph.h"
#include "runtime/explain.h"

static bool is_const(const Inst *x, int64_t value) { return x->op == KOP_E_CONST && x->imm == value; }
static bool is(const Inst *x, Element e) { return x->op == (uint16_t)e; }

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

/* x, where `inst` is max(x, 0), 1*x, or x under a condition and else 0: how lowering writes an extent. */
static const Inst *plain(const Inst *x) {
  for (;;) {
    if (is(x, ELEMENT_SELECT) && is_const(x->args[1], 0) && is(x->args[0], ELEMENT_LT) && x->args[0]->args[0] == x->args[2]) x = x->args[2];
    else if (is(x, ELEMENT_SELECT) && is_const(x->args[2], 0)) x = x->args[1];
    else if (is(x, ELEMENT_MUL) && is_const(x->args[0], 1)) x = x->args[1];
    else if (is(x, ELEMENT_MUL) && is_const(x->args[1], 1)) x = x->args[0];
    else return x;
  }
}

static void value_text(const Module *m, const Inst *x, unsigned depth, Text *out) {
  static const struct { Element e; const char *sign; } signs[] = {{ELEMENT_MUL, "*"}, {ELEMENT_ADD, " + "}, {ELEMENT_SUB, " - "}, {ELEMENT_IDIV, "//"}, {ELEMENT_IMOD, "%"}};
  x = plain(x);
  for (size_t i = 0; i < sizeof signs/sizeof *signs && depth < 12; i++) {
    if (!is(x, signs[i].e)) continue;
    bool sum = i == 1 || i == 2;
    if (sum && depth) text_add(out, "(");
    value_text(m, x->args[0], depth + !sum, out);
    text_add(out, "%s", signs[i].sign);
    bool inner = i >= 3 && is(plain(x->args[1]), ELEMENT_MUL);
    if (inner) text_add(out, "(");
    value_text(m, x->args[1], depth + 1, out);
    if (inner) text_add(out, ")");
    if (sum && depth) text_add(out, ")");
    return;
  }
  if (x->op == KOP_E_CONST) text_add(out, "%lld", (long long)x->imm);
  else if (x->op == KOP_E_SIZE) axis_text(m, x, out);
  else if (x->op == KOP_E_COUNT) text_add(out, "elements");
  else if (x->op == KOP_E_HYPER) text_add(out, "%s", m->hypers[x->imm].name);
  else if (x->op == KOP_E_SCALAR) text_add(out, "%s", m->operands[x->imm].name);
  else text_add(out, "n");
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

void explain_nest(const Module *m, const Inst *loop, Text *out) {
  const char *before = "";
  for (; loop; loop = inner_loop(loop->body)) {
    const Inst *lo = loop->args[0], *hi = plain(loop->args[1]);
    if (!is_const(lo, 0) && lo->op != KOP_E_BEGIN) continue;             /* inside a block: the loop over the blocks said it */
    if (is(hi, ELEMENT_SHR) && is(hi->args[0], ELEMENT_ADD)) hi = plain(hi->args[0]->args[0]);      /* blocks of 2^k */
    if (lo->op != KOP_E_BEGIN && !is_size(hi, 0)) break;                 /* what sums do inside: blocks, lanes, trees */
    text_add(out, "%s", before);
    if (lo->op == KOP_E_BEGIN) text_add(out, "elements");
    else value_text(m, hi, 1, out);
    before = " x ";
  }
}

static const Inst *count_of(const Program *p, unsigned buffer) {
  for (unsigned k = 0; k < p->n_kernels; k++)
    for (unsigned i = 0; i < p->kernels[k]->body->n; i++) {
      const Inst *inst = p->kernels[k]->body->insts[i];
      if (inst->op == KOP_E_SET_COUNT && inst->imm == (int64_t)buffer) return inst->args[0];
    }
  return NULL;
}

static void count_text(const Program *p, unsigned temp, Text *out) {
  const Inst *count = count_of(p, p->module->n_operands + temp);
  if (p->temps[temp].local) text_add(out, "%u", p->temps[temp].local);
  else if (p->temps[temp].partial) text_add(out, "chunks");
  else if (count) value_text(p->module, count, 1, out);
  else text_add(out, "elements");
}

void explain_temps(const Program *p, Text *out) {
  if (!p->n_temps && !p->n_slots) return;
  text_add(out, "  temporaries\n");
  for (unsigned i = 0; i < p->n_temps; i++) {
    text_add(out, "    %-20s %s[", p->temps[i].name, type_name(p->temps[i].type));
    count_text(p, i, out);
    text_add(out, "]%s\n", p->temps[i].call ? ", once for the call" : p->temps[i].local ? ", on the stack" : "");
  }
  text_add(out, "  workspace:");
  const char *before = " ";
  if (p->n_slots) {
    text_add(out, "%s8*%u*(items + 1)", before, p->n_slots);
    before = " + ";
  }
  bool items = false;
  for (unsigned i = 0; i < p->n_temps; i++) {
    if (p->temps[i].local) continue;
    items = true;
    text_add(out, "%s%u*", before, type_bytes(p->temps[i].type));
    count_text(p, i, out);
    before = " + ";
  }
  if (!p->n_slots && !items) text_add(out, " none\n");
  else text_add(out, " bytes%s, each term rounded up to 64\n", items ? " an item" : "");
}
