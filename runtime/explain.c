/* explain.c: kernels, bytes and operations an element against the least possible, what was hoisted, and why loops stayed apart.
 *
 * A value of the kernel form is a scalar and a loop over elements takes one step an element, whatever its width; so what stands in the
 * body of such a loop is what an element costs. Bytes count each buffer once a loop (a second access in the same step is in a register or in
 * the first-level cache), and again in every further loop over the item. The least possible is every operand once. */
#include "runtime/explain.h"
#include <string.h>
#include "ir/describe.h"

enum { BUFFERS = OPTC_MAX_BUFFERS };

/* The arms of conditions that a loop stands in, innermost first. */
typedef struct Arm { const struct Arm *outer; const Inst *branch; bool otherwise; } Arm;
typedef struct Bytes { unsigned read, written; } Bytes;

typedef struct LoopFacts {
  const Arm *arm;
  const Kernel *kernel;
  const Inst *loop;
  Binding binding;
  unsigned lanes, unroll;
  unsigned ops[ELEMENT_COUNT], n_ops;
  unsigned char use[BUFFERS];            /* bit 0 read, bit 1 written */
} LoopFacts;

typedef struct Facts {
  const Module *module;
  const Program *program;
  LoopFacts *loop; unsigned n_loops; size_t loops_capacity;
  unsigned scalar_ops;                   /* outside loops over elements: once a group, item or call */
  unsigned hoisted;                      /* values an element needs that are computed once a group */
  unsigned read, written, least_read, least_written;                       /* bytes an element */
} Facts;

static bool is_element(const Inst *inst) { return inst->op < ELEMENT_COUNT; }

static void count_body(const Block *block, LoopFacts *loop) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    if (is_element(inst)) { loop->ops[inst->op]++; loop->n_ops++; }
    Touch touch[MAX_TOUCHES];
    for (unsigned n = inst_touches(inst, touch), k = 0; k < n; k++)
      if (touch[k].buffer < BUFFERS) loop->use[touch[k].buffer] |= (touch[k].read ? 1 : 0) | (touch[k].written ? 2 : 0);
    count_body(inst->body, loop);
    count_body(inst->otherwise, loop);
  }
}

static bool touches_memory(const Block *block) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    Touch touch[MAX_TOUCHES];
    if (inst_touches(inst, touch) || touches_memory(inst->body) || touches_memory(inst->otherwise)) return true;
  }
  return false;
}

static Bytes bytes_of(const Program *p, const LoopFacts *loop) {
  Bytes bytes = {0};
  for (unsigned b = 0; b < p->module->n_operands + p->n_temps && b < BUFFERS; b++) {
    unsigned size = type_bytes(program_buffer_type(p, b));
    if (loop->use[b] & 1) bytes.read += size;
    if (loop->use[b] & 2) bytes.written += size;
  }
  return bytes;
}

static Bytes greater(Bytes x, Bytes y) { return x.read + x.written >= y.read + y.written ? x : y; }

/* Loops over elements are the outermost ones that load or store; other loops (powers, for one) are scalar work. Returns the bytes an element
 * that they move: of the two arms of a condition one runs, and the dearer one counts. */
static Bytes find_loops(Arena *arena, const Kernel *kernel, const Block *block, const Arm *arm, Facts *facts) {
  Bytes sum = {0};
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    Bytes bytes = {0};
    if (is_element(inst)) facts->scalar_ops++;
    if (inst->op == KOP_E_SET_UNIFORM) facts->hoisted++;
    if (inst->op == KOP_E_FOR && touches_memory(inst->body)) {
      facts->loop = arena_grow(arena, facts->loop, &facts->loops_capacity, facts->n_loops + 1, sizeof *facts->loop);
      LoopFacts *loop = &facts->loop[facts->n_loops++];
      *loop = (LoopFacts){.arm = arm, .kernel = kernel, .loop = inst, .binding = inst->binding, .lanes = inst->lanes ? inst->lanes : 1, .unroll = inst->unroll ? inst->unroll : 1};
      count_body(inst->body, loop);
      bytes = bytes_of(facts->program, loop);
    } else if (inst->op == KOP_E_IF) {
      Arm *arms = arena_array(arena, 2, sizeof *arms);
      arms[0] = (Arm){arm, inst, false};
      arms[1] = (Arm){arm, inst, true};
      Bytes body = find_loops(arena, kernel, inst->body, &arms[0], facts);
      bytes = greater(body, find_loops(arena, kernel, inst->otherwise, &arms[1], facts));
    } else {
      bytes = find_loops(arena, kernel, inst->body, arm, facts);
    }
    sum.read += bytes.read;
    sum.written += bytes.written;
  }
  return sum;
}

/* Whether only one of two loops runs in a call: they stand in different arms of one condition. */
static bool alternatives(const LoopFacts *x, const LoopFacts *y) {
  for (const Arm *a = x->arm; a; a = a->outer)
    for (const Arm *b = y->arm; b; b = b->outer)
      if (a->branch == b->branch && a->otherwise != b->otherwise) return true;
  return false;
}

static void gather(Arena *arena, Facts *facts, const Module *m, const Program *p) {
  *facts = (Facts){.module = m, .program = p};
  for (unsigned i = 0; i < p->n_kernels; i++) {
    Bytes bytes = find_loops(arena, p->kernels[i], p->kernels[i]->body, NULL, facts);
    facts->read += bytes.read;
    facts->written += bytes.written;
  }
  const int64_t *use = describe_uses(p, arena);
  for (unsigned k = 0; k < m->n_operands; k++) {
    if (m->operands[k].scope != SCOPE_TENSOR) continue;
    unsigned bytes = type_bytes(m->operands[k].storage);
    if (use[k] & USE_READ) facts->least_read += bytes;
    if (use[k] & USE_WRITTEN) facts->least_written += bytes;
  }
}

static const char *buffer_name(const Facts *f, unsigned buffer) {
  return buffer < f->module->n_operands ? f->module->operands[buffer].name : f->program->temps[buffer - f->module->n_operands].name;
}

/* A buffer that an earlier loop writes and this one touches: the reason why it stands after it. NULL: none. */
static const char *separated_by(const Facts *f, unsigned loop, unsigned *earlier) {
  for (unsigned l = loop; l-- > 0;) {
    if (alternatives(&f->loop[l], &f->loop[loop])) continue;
    for (unsigned b = 0; b < BUFFERS && b < f->module->n_operands + f->program->n_temps; b++)
      if ((f->loop[l].use[b] & 2 && f->loop[loop].use[b]) || (f->loop[l].use[b] && f->loop[loop].use[b] & 2)) {
        *earlier = l;
        return buffer_name(f, b);
      }
  }
  return NULL;
}

static const char *where_launched(Launch launch) {
  static const char *const text[LAUNCH_COUNT] = {
    [LAUNCH_CHECK] = "before anything is written", [LAUNCH_GROUP] = "once a parameter group", [LAUNCH_ITEM] = "once a tensor",
    [LAUNCH_CHUNK] = "chunks of 65,536 elements, in parallel", [LAUNCH_FINISH] = "once a call, at its end",
    [LAUNCH_SIZES] = "once a tensor, for its sizes", [LAUNCH_CALL_SIZES] = "once a call, for its sizes", [LAUNCH_TOTAL] = "once a call, between tensors",
    [LAUNCH_TILE] = "tiles of a tensor's positions, in parallel", [LAUNCH_REPEAT] = "what follows, again and again", [LAUNCH_END] = "end of what is repeated"};
  return text[launch];
}

static void ops_text(const LoopFacts *loop, Text *out) {
  text_add(out, "%u operation%s", loop->n_ops, loop->n_ops == 1 ? "" : "s");
  const char *before = " (";
  for (unsigned e = 0; e < ELEMENT_COUNT; e++)
    if (loop->ops[e]) {
      text_add(out, "%s%u %s", before, loop->ops[e], element_name((Element)e));
      before = ", ";
    }
  text_add(out, ")");
}

static void buffers_text(const Facts *f, const LoopFacts *loop, int bit, const char *word, Text *out) {
  const char *before = word;
  for (unsigned b = 0; b < BUFFERS && b < f->module->n_operands + f->program->n_temps; b++)
    if (loop->use[b] & bit) {
      text_add(out, "%s %s", before, buffer_name(f, b));
      before = ",";
    }
}

static bool reads_any(const LoopFacts *loop) {
  for (unsigned b = 0; b < BUFFERS; b++)
    if (loop->use[b] & 1) return true;
  return false;
}

/* Loops over other things than the elements of the item: bytes an element would say nothing. */
static bool has_nests(const Facts *f) {
  for (unsigned i = 0; i < f->program->n_temps; i++) if (f->program->temps[i].sized) return true;
  for (unsigned k = 0; k < f->module->n_operands; k++)
    for (unsigned l = 0; l < f->n_loops && operand_is_tensor(&f->module->operands[k]) && !f->module->operands[k].item_shape && k < BUFFERS; l++)
      if (f->loop[l].use[k]) return true;
  return false;
}

static void entry_text(const Facts *f, Text *out) {
  const Program *p = f->program;
  text_add(out, "%s, entry %s\n", f->module->name, p->entry);
  for (unsigned i = 0; i < p->n_kernels; i++) {
    const Kernel *k = p->kernels[i];
    text_add(out, "  kernel %-24s %s\n", k->name, where_launched(k->launch));
    for (unsigned l = 0; l < f->n_loops; l++) {
      const LoopFacts *loop = &f->loop[l];
      if (loop->kernel != k) continue;
      if (loop->lanes > 1) text_add(out, "    loop %u: %u lanes, unrolled %u;", l + 1, loop->lanes, loop->unroll);
      else {
        text_add(out, "    loop %u: ", l + 1);
        size_t before = out->length;
        explain_nest(f->module, loop->loop, out);
        text_add(out, "%sone element at a time;", out->length > before ? ", " : "");
      }
      buffers_text(f, loop, 1, " reads", out);
      buffers_text(f, loop, 2, reads_any(loop) ? "; writes" : " writes", out);
      if (loop->n_ops) {
        text_add(out, "; ");
        ops_text(loop, out);
      }
      text_add(out, loop->arm ? "; under a condition\n" : "\n");
      unsigned earlier;
      const char *name = separated_by(f, l, &earlier);
      if (name) text_add(out, "      not fused with loop %u: '%s' goes from one to the other through memory\n", earlier + 1, name);
    }
  }
  if (f->hoisted || f->scalar_ops) text_add(out, "  scalars hoisted: %u values a parameter group; %u operations outside loops\n", f->hoisted, f->scalar_ops);
  explain_temps(p, out);
  unsigned moved = f->read + f->written, least = f->least_read + f->least_written;
  if (least && !has_nests(f))
    text_add(out, "  bytes an element: %u (%u read, %u written); least possible %u (%u read, %u written): %.2f times\n", moved, f->read, f->written, least,
      f->least_read, f->least_written, (double)moved/least);
  text_add(out, "\n");
}

static void entry_json(const Facts *f, Text *out) {
  const Program *p = f->program;
  text_add(out, "{\"entry\": \"%s\", \"kernels\": [", p->entry);
  for (unsigned i = 0; i < p->n_kernels; i++) {
    const Kernel *k = p->kernels[i];
    text_add(out, "%s\n  {\"name\": \"%s\", \"launch\": \"%s\", \"loops\": [", i ? "," : "", k->name, launch_name(k->launch));
    const char *before = "";
    for (unsigned l = 0; l < f->n_loops; l++) {
      const LoopFacts *loop = &f->loop[l];
      if (loop->kernel != k) continue;
      unsigned reads = 0, writes = 0, earlier;
      for (unsigned b = 0; b < BUFFERS; b++) { reads += loop->use[b] & 1; writes += loop->use[b] >> 1; }
      const char *name = separated_by(f, l, &earlier);
      text_add(out, "%s\n    {\"lanes\": %u, \"unroll\": %u, \"reads\": %u, \"writes\": %u, \"operations\": %u, \"apart_for\": ", before, loop->lanes, loop->unroll, reads,
        writes, loop->n_ops);
      if (name) text_add(out, "\"%s\"", name);
      else text_add(out, "null");
      text_add(out, ", \"by_operation\": {");
      const char *comma = "";
      for (unsigned e = 0; e < ELEMENT_COUNT; e++)
        if (loop->ops[e]) { text_add(out, "%s\"%s\": %u", comma, element_name((Element)e), loop->ops[e]); comma = ", "; }
      text_add(out, "}}");
      before = ",";
    }
    text_add(out, "]}");
  }
  unsigned operations = 0;
  for (unsigned l = 0; l < f->n_loops; l++) operations += f->loop[l].n_ops;
  text_add(out, "],\n  \"hoisted\": %u, \"scalar_operations\": %u, \"operations\": %u, \"bytes\": {\"read\": %u, \"written\": %u, \"least_read\": %u, \"least_written\": %u}}",
    f->hoisted, f->scalar_ops, operations, f->read, f->written, f->least_read, f->least_written);
}

static bool is_shown(const Program *p) { return strcmp(p->entry, "layout") != 0; }

void explain_text(const Module *m, Program *const *programs, unsigned n_programs, Text *out) {
  for (unsigned i = 0; i < n_programs; i++)
    if (is_shown(programs[i])) {
      Facts *facts = arena_alloc(out->arena, sizeof *facts);
      gather(out->arena, facts, m, programs[i]);
      entry_text(facts, out);
    }
}

void explain_json(const Module *m, Program *const *programs, unsigned n_programs, Text *out) {
  text_add(out, "{\"rule\": \"%s\", \"entries\": [", m->name);
  const char *before = "";
  for (unsigned i = 0; i < n_programs; i++)
    if (is_shown(programs[i])) {
      Facts *facts = arena_alloc(out->arena, sizeof *facts);
      gather(out->arena, facts, m, programs[i]);
      text_add(out, "%s", before);
      entry_json(facts, out);
      before = ",\n";
    }
  text_add(out, "]}\n");
}
