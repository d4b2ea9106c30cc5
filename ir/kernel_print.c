/* kernel_print.c: the text form of programs. kernel_parse.c reads it back; the two share the table of kernel.c. */
#include <inttypes.h>
#include "ir/graph_reduce.h"
#include "ir/kernel_text.h"
#include "ir/text_lex.h"

static void indent(Text *out, unsigned depth) { text_add(out, "%*s", (int)(2 * depth), ""); }

static const char *print_args(Text *out, const Inst *inst, unsigned from, const char *before) {
  for (unsigned a = from; a < inst->n_args; a++, before = ", ") text_add(out, "%s%%%u", before, inst->args[a]->id);
  return before;
}

static void print_block(const Program *, const Block *, unsigned depth, Text *);

static void print_for(const Program *p, const Inst *inst, unsigned depth, Text *out) {
  text_add(out, "%%%u = for %%%u to %%%u", inst->id, inst->args[0]->id, inst->args[1]->id);
  if (inst->n_args > 2) print_args(out, inst, 2, " carry ");
  text_add(out, " %s", inst->binding < BINDINGS ? binding_names[inst->binding] : "?");
  if (inst->binding == BIND_VECTOR) text_add(out, "(%u, %u)", inst->lanes, inst->unroll);
  text_add(out, " {\n");
  print_block(p, inst->body, depth + 1, out);
  indent(out, depth);
  text_add(out, "}\n");
}

static void print_if(const Program *p, const Inst *inst, unsigned depth, Text *out) {
  text_add(out, "if %%%u {\n", inst->args[0]->id);
  print_block(p, inst->body, depth + 1, out);
  indent(out, depth);
  if (inst->otherwise) {
    text_add(out, "} else {\n");
    print_block(p, inst->otherwise, depth + 1, out);
    indent(out, depth);
  }
  text_add(out, "}\n");
}

static void print_inst(const Program *p, const Inst *inst, unsigned depth, Text *out) {
  indent(out, depth);
  if (inst->op == KOP_E_FOR) { print_for(p, inst, depth, out); return; }
  if (inst->op == KOP_E_IF) { print_if(p, inst, depth, out); return; }
  if (kop_has_result(inst->op)) text_add(out, "%%%u = %s %s", inst->id, kop_name(inst->op), type_name(inst->type));
  else text_add(out, "%s", kop_name(inst->op));
  const char *before = " ";
  unsigned k = (unsigned)inst->imm;
  switch (kop_attr(inst->op)) {
    case KATTR_NONE: break;
    case KATTR_BITS: text_add(out, " 0x%" PRIx64, (uint64_t)inst->imm); before = ", "; break;
    case KATTR_HYPER: text_add(out, " %s@%u", k < p->module->n_hypers ? p->module->hypers[k].name : "?", k); before = ", "; break;
    case KATTR_BUFFER: text_add(out, " %s@%u", program_buffer_name(p, k), k); before = ", "; break;
    case KATTR_BUFFER_AXIS: text_add(out, " %s@%u, %d", program_buffer_name(p, k), k, (int)inst->aux); before = ", "; break;
    case KATTR_BUFFERS: {
      Touch touch[MAX_TOUCHES];
      unsigned n = inst_touches(inst, touch);
      for (unsigned i = 0; i < n; i++) text_add(out, "%s%s@%u", i ? ", " : " ", program_buffer_name(p, touch[i].buffer), touch[i].buffer);
      before = ", ";
      break;
    }
    case KATTR_NUMBER: text_add(out, " %" PRId64, inst->imm); before = ", "; break;
    case KATTR_FOLD: text_add(out, " %" PRId64 " %s", inst->imm, (unsigned)inst->aux <= REDUCE_EVERY ? reduce_names[inst->aux] : "?"); before = ", "; break;
  }
  print_args(out, inst, 0, before);
  if (inst->op == KOP_E_CONST) {
    if (type_kind(inst->type) == KIND_FLOAT) text_add(out, "  # %.9g", bits_to_f64((Bits)inst->imm, inst->type));
    else text_add(out, "  # %" PRId64, inst->imm);
  }
  text_add(out, "\n");
}

static void print_block(const Program *p, const Block *block, unsigned depth, Text *out) {
  for (unsigned i = 0; i < block->n; i++) print_inst(p, block->insts[i], depth, out);
}

void program_print(const Program *p, Text *out) {
  text_add(out, "program %s%s {\n", p->entry, p->advances ? " advances" : "");
  if (p->equal_hypers) text_add(out, "  equal_hypers 0x%" PRIx64 "\n", p->equal_hypers);
  if (p->n_uniforms) text_add(out, "  uniforms %u\n", p->n_uniforms);
  for (unsigned k = 0; k < p->n_texts; k++) {
    text_add(out, "  text ");
    text_add_quoted(out, p->texts[k]);
    if (p->about[k] == ABOUT_SHAPES) text_add(out, " shapes");
    if (p->about[k] >= 0) text_add(out, " shape %s@%u", program_buffer_name(p, (unsigned)p->about[k]), (unsigned)p->about[k]);
    text_add(out, "\n");
  }
  if (p->n_slots) text_add(out, "  slots %u\n", p->n_slots);
  if (p->n_spaces) text_add(out, "  spaces %u\n", p->n_spaces);
  for (unsigned k = 0; k < p->n_temps; k++) {
    const Buffer *b = &p->temps[k];
    text_add(out, "  temp %s: %s%s%s%s", b->name, type_name(b->type), b->sized ? " sized" : "", b->call ? " call" : "", b->partial ? " partial" : "");
    if (b->local) text_add(out, " local %u%s", b->local, b->rows ? " rows" : "");
    text_add(out, "\n");
  }
  for (unsigned k = 0; k < p->n_kernels; k++) {
    text_add(out, "  kernel %s %s", p->kernels[k]->name, launch_name(p->kernels[k]->launch));
    if (launch_has_space(p->kernels[k]->launch)) text_add(out, " %u", p->kernels[k]->space);
    text_add(out, " {\n");
    print_block(p, p->kernels[k]->body, 2, out);
    text_add(out, "  }\n");
  }
  text_add(out, "}\n");
}
