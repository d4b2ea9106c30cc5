/* graph_print.c: modules and graphs as text.
 *
 *   module "adamw" step                                     step: the rule has `t`
 *   doc "..."
 *   source "adamw.opt"
 *   hyper lr f64 = 0x1.0624dd2f1a9fcp-10 as "lr" doc "..."  # 0.001     `const` after the type: fixed when compiled
 *   operand p param tensor f32 item                         item: the shape of the first param
 *   operand q in global f32 [256, size(p, 0)] entry hessian flush optional as "..." doc "..."
 *   graph step advances {
 *     %0 = size i64 p axis=count
 *     %1 = read f32 [%0] p                                  operation, type, space, attributes, arguments
 *     %2 = mul f32 [%0] %1, %1
 *     write p = %2 when %7
 *     require "text" %8, "name" %9
 *     exists m when %3
 *   }
 *
 * A comment runs from # to the end of the line; every node and statement begins a line. Nodes are numbered in order; those that nothing needs are left out.
 * Floats that are no integers stand in hexadecimal, so they read back to the same bits; the decimal is a comment. */
#include "ir/graph_text.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "ir/graph_analysis.h"
#include "ir/text_lex.h"

const char *const order_names[] = {"lanes", "seq", "blocks", NULL};
const char *const level_names[] = {"const", "global", "item", "element", NULL};

OpForm op_form(Op op) {
  switch ((int)op) {
    case OP_CONST: return (OpForm){.imm = IMM_BITS};
    case OP_HYPER: return (OpForm){.imm = IMM_HYPER};
    case OP_SIZE: return (OpForm){.imm = IMM_OPERAND, .aux = AUX_AXIS};
    case OP_PRESENT: case OP_SCALAR: return (OpForm){.imm = IMM_OPERAND};
    case OP_INDEX: return (OpForm){.key = "axis", .always = true};
    case OP_READ: return (OpForm){.imm = IMM_OPERAND, .aux = AUX_GUARDED};
    case OP_REDUCE: return (OpForm){.key = "axes", .always = true, .aux = AUX_REDUCE};
    case OP_TOTAL: return (OpForm){.key = "imm", .aux = AUX_REDUCE};
    case OP_CONTRACT: return (OpForm){.key = "axes", .always = true, .aux = AUX_WEIGHTS};
    case OP_ATTEND: case OP_SOFTMAX: return (OpForm){.key = "axes", .always = true};
    case OP_CUMULATE: return (OpForm){.key = "imm", .aux = AUX_KIND};
    case OP_SCATTER: return (OpForm){.key = "imm", .aux = AUX_ADD};
    case OP_SCAN: return (OpForm){.key = "depth", .always = true, .aux = AUX_REVERSE};
    case OP_CARRY: return (OpForm){.key = "which", .always = true, .aux = AUX_CARRY};
    case OP_RESULT: return (OpForm){.key = "which", .always = true};
    case OP_PHILOX: return (OpForm){.key = "word", .always = true};
    default: return (OpForm){.key = "imm"};
  }
}

/* --- words ---------------------------------------------------------------------------------------------------------------- */

static bool plain_name(const char *s) {
  if (!*s || strspn(s, "0123456789+-./:@") == strlen(s)) return false;
  if (*s >= '0' && *s <= '9') return false;
  return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_/.") == strlen(s);
}

static void print_name(Text *out, const char *s) {
  if (plain_name(s)) text_add(out, "%s", s);
  else text_add_quoted(out, s);
}

/* An operand by its name; operands of different entries may share one, so then by name and number. */
static void print_operand(Text *out, const Module *m, int64_t k) {
  if (k < 0 || k >= m->n_operands) { text_add(out, "@%lld", (long long)k); return; }
  print_name(out, m->operands[k].name);
  for (unsigned i = 0; i < m->n_operands; i++)
    if (i != k && !strcmp(m->operands[i].name, m->operands[k].name)) { text_add(out, " @%lld", (long long)k); return; }
}

static void print_hyper(Text *out, const Module *m, int64_t k) {
  if (k < 0 || k >= m->n_hypers) text_add(out, "@%lld", (long long)k);
  else print_name(out, m->hypers[k].name);
}

/* Returns whether a decimal should stand beside it. */
static bool print_bits(Text *out, Bits bits, Type type) {
  if (type == TYPE_BOOL) { text_add(out, bits == 1 ? "true" : bits ? "0x%llx" : "false", (unsigned long long)bits); return false; }
  if (type_kind(type) == KIND_INT) {
    text_add(out, "%lld", type == TYPE_I32 ? (long long)(int32_t)bits : type == TYPE_I8 ? (long long)(int8_t)bits : (long long)bits);
    return false;
  }
  double x = bits_to_f64(bits, type);
  if (x != x) { text_add(out, "nan:0x%llx", (unsigned long long)bits); return false; }
  if (isinf(x)) { text_add(out, x < 0 ? "-inf" : "inf"); return false; }
  if (x == trunc(x) && fabs(x) < 0x1p53 && (x != 0 || !signbit(x))) { text_add(out, "%lld", (long long)x); return false; }
  uint64_t u = bits_from_f64(x, TYPE_F64), mantissa = u & 0xfffffffffffff;
  int exponent = (int)(u >> 52 & 0x7ff);
  int digits = 13;
  while (digits && !(mantissa & 15)) { mantissa >>= 4; digits--; }
  text_add(out, "%s0x%d", u >> 63 ? "-" : "", exponent != 0);
  if (digits) text_add(out, ".%0*llx", digits, (unsigned long long)mantissa);
  text_add(out, "p%+d", exponent ? exponent - 1023 : mantissa ? -1022 : 0);
  return x != 0;
}

static void print_decimal(Text *out, double x) {
  char text[64];
  snprintf(text, sizeof text, "%.9g", x);
  text_add(out, "  # ");
  bool point = false;
  for (const char *s = text; *s; s++) {                                       /* whatever the locale writes for the point */
    if (strchr("0123456789+-e", *s)) { text_append(out, s, 1); continue; }
    if (!point) text_append(out, ".", 1);
    point = true;
  }
}

/* --- graph ---------------------------------------------------------------------------------------------------------------------- */

static void print_refs(Text *out, const unsigned *number, unsigned n, const Node *const *nodes) {
  for (unsigned i = 0; i < n; i++) text_add(out, i ? ", %%%u" : "%%%u", number[nodes[i]->id]);
}

static void print_word(Text *out, const char *key, const char *const *names, unsigned value) {
  unsigned n = 0;
  while (names[n] && n < value) n++;
  if (names[n]) text_add(out, " %s=%s", key, names[n]);
  else text_add(out, " %s=%u", key, value);
}

static void print_aux(Text *out, AuxForm form, int32_t aux) {
  if (form == AUX_AXIS && aux == -1) text_add(out, " axis=count");
  else if (form == AUX_AXIS && aux == -2) text_add(out, " axis=rank");
  else if (form == AUX_AXIS) text_add(out, " axis=%d", aux);
  else if (form == AUX_WEIGHTS && aux) text_add(out, " weights=%d", aux);
  else if (form == AUX_GUARDED && aux == 1) text_add(out, " guarded");
  else if (form == AUX_ADD && aux == 1) text_add(out, " add");
  else if (form == AUX_REVERSE && aux == 1) text_add(out, " reverse");
  else if (form == AUX_REDUCE && aux >= 0) {
    print_word(out, "kind", reduce_names, (unsigned)aux & 255);
    print_word(out, "order", order_names, (unsigned)aux >> 8);
  } else if (form == AUX_KIND && aux >= 0) print_word(out, "kind", reduce_names, (unsigned)aux);
  else if (form == AUX_CARRY && aux >= 0) {
    text_add(out, " depth=%d", aux & 255);
    print_word(out, "level", level_names, (unsigned)aux >> 8);
  } else if (aux) text_add(out, " aux=%d", aux);
}

static void print_node(Text *out, const Module *m, const Node *n, const unsigned *number) {
  OpForm form = op_form((Op)n->op);
  text_add(out, "  %%%u = %s %s", number[n->id], op_name((Op)n->op), type_name((Type)n->type));
  if (n->space->rank) {
    text_add(out, " [");
    print_refs(out, number, n->space->rank, n->space->extent);
    text_add(out, "]");
  }
  bool decimal = false;
  switch (form.imm) {
    case IMM_NUMBER: if (n->imm || form.always) text_add(out, " %s=%lld", form.key, (long long)n->imm); break;
    case IMM_BITS: text_add(out, " "); decimal = print_bits(out, (Bits)n->imm, (Type)n->type); break;
    case IMM_HYPER: text_add(out, " "); print_hyper(out, m, n->imm); break;
    case IMM_OPERAND: text_add(out, " "); print_operand(out, m, n->imm); break;
  }
  print_aux(out, form.aux, n->aux);
  if (n->n_args) { text_add(out, " "); print_refs(out, number, n->n_args, n->args); }
  if (n->region) {
    text_add(out, " {");
    print_refs(out, number, n->region->n_results, n->region->results);
    text_add(out, "}");
  }
  if (decimal) print_decimal(out, bits_to_f64((Bits)n->imm, (Type)n->type));
  text_add(out, "\n");
}

void graph_print(const Graph *g, Text *out) {
  bool *live = graph_reachable(g, out->arena);
  unsigned *number = arena_array(out->arena, g->n_nodes, sizeof *number), next = 0;
  text_add(out, "graph ");
  print_name(out, g->name);
  text_add(out, g->advances ? " advances {\n" : " {\n");
  for (unsigned i = 0; i < g->n_nodes; i++) {
    if (!live[i]) continue;
    number[i] = next++;
    print_node(out, g->module, g->nodes[i], number);
  }
  if (g->skip) text_add(out, "  skip %%%u\n", number[g->skip->id]);
  for (unsigned i = 0; i < g->n_requires; i++) {
    const Requirement *r = &g->requires[i];
    text_add(out, "  require ");
    if (r->about == ABOUT_SHAPES) text_add(out, "shapes ");
    if (r->about >= 0) { text_add(out, "shape "); print_operand(out, g->module, r->about); text_add(out, " "); }
    text_add_quoted(out, r->text);
    text_add(out, " %%%u", number[r->cond->id]);
    for (unsigned k = 0; k < r->n; k++) {
      text_add(out, ", ");
      if (r->name[k]) { text_add_quoted(out, r->name[k]); text_add(out, " "); }
      text_add(out, "%%%u", number[r->value[k]->id]);
    }
    text_add(out, "\n");
  }
  for (unsigned i = 0; i < g->n_exists; i++) {
    text_add(out, "  exists ");
    print_operand(out, g->module, g->exists[i].operand);
    if (g->exists[i].when) text_add(out, " when %%%u", number[g->exists[i].when->id]);
    text_add(out, "\n");
  }
  for (unsigned i = 0; i < g->n_writes; i++) {
    const Write *w = &g->writes[i];
    text_add(out, "  write ");
    print_operand(out, g->module, w->operand);
    text_add(out, " = %%%u", number[w->value->id]);
    if (w->when) text_add(out, " when %%%u", number[w->when->id]);
    text_add(out, "\n");
  }
  text_add(out, "}\n");
}

/* --- module ------------------------------------------------------------------------------------------------------------------------ */

/* An extent as an expression: 256, size(p, 0), mul(size(q, 1), 2); other types than i64 are named, lt:bool(...). */
static void print_extent(Text *out, const Module *m, const Node *n, unsigned depth) {
  if (n->op == OP_CONST && n->type == TYPE_I64) { text_add(out, "%lld", (long long)n->imm); return; }
  text_add(out, "%s", op_name((Op)n->op));
  if (n->type != TYPE_I64) text_add(out, ":%s", type_name((Type)n->type));
  text_add(out, "(");
  OpForm form = op_form((Op)n->op);
  bool first = false;
  if (form.imm == IMM_OPERAND) print_operand(out, m, n->imm);
  else if (form.imm == IMM_HYPER) print_hyper(out, m, n->imm);
  else if (form.imm == IMM_BITS) print_bits(out, (Bits)n->imm, (Type)n->type);
  else first = true;
  if (form.aux == AUX_AXIS) text_add(out, ", %d", n->aux);
  for (unsigned i = 0; i < n->n_args && depth < 64; i++) {
    if (!first || i) text_add(out, ", ");
    print_extent(out, m, n->args[i], depth + 1);
  }
  text_add(out, ")");
}

static void print_tail(Text *out, const char *external, const char *doc) {
  if (external) { text_add(out, " as "); text_add_quoted(out, external); }
  if (doc) { text_add(out, " doc "); text_add_quoted(out, doc); }
}

void module_print(const Module *m, Text *out) {
  text_add(out, "module ");
  text_add_quoted(out, m->name ? m->name : "");
  text_add(out, m->has_step ? " step\n" : "\n");
  if (m->doc) { text_add(out, "doc "); text_add_quoted(out, m->doc); text_add(out, "\n"); }
  for (unsigned i = 0; i < m->n_sources; i++) { text_add(out, "source "); text_add_quoted(out, m->sources[i]); text_add(out, "\n"); }
  for (unsigned i = 0; i < m->n_hypers; i++) {
    const Hyper *h = &m->hypers[i];
    text_add(out, "hyper ");
    print_name(out, h->name);
    text_add(out, " %s%s", type_name(h->type), h->is_const ? " const" : "");
    bool decimal = false;
    if (h->has_default || h->is_const) { text_add(out, h->has_default ? " = " : " : "); decimal = print_bits(out, h->value, h->type); }
    print_tail(out, h->external, h->doc);
    if (decimal) print_decimal(out, bits_to_f64(h->value, h->type));
    text_add(out, "\n");
  }
  for (unsigned i = 0; i < m->n_operands; i++) {
    const Operand *o = &m->operands[i];
    text_add(out, "operand ");
    print_name(out, o->name);
    text_add(out, " %s %s %s", role_name(o->role), scope_name(o->scope), type_name(o->storage));
    if (o->item_shape) text_add(out, " item");
    if (o->shape) {
      text_add(out, " [");
      for (unsigned k = 0; k < o->shape->rank; k++) {
        if (k) text_add(out, ", ");
        print_extent(out, m, o->shape->extent[k], 0);
      }
      text_add(out, "]");
    }
    if (o->flush) text_add(out, " flush");
    if (o->optional) text_add(out, " optional");
    if (o->entry) { text_add(out, " entry "); print_name(out, o->entry); }
    print_tail(out, o->external, o->doc);
    text_add(out, "\n");
  }
  for (unsigned i = 0; i < m->n_graphs; i++) {
    text_add(out, "\n");
    graph_print(m->graphs[i], out);
  }
}
