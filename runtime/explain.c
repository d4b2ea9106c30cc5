/* explain.c: phases, kernels, sweeps, bytes and operations against the least possible, what was hoisted, and why sweeps stayed apart: as text. */
#include "runtime/explain.h"
#include <stdio.h>
#include <string.h>
#include "ir/graph_reduce.h"

const char *explain_launch(Launch launch) {
  static const char *const text[LAUNCH_COUNT] = {
    [LAUNCH_CHECK] = "before anything is written", [LAUNCH_GROUP] = "once a parameter group", [LAUNCH_ITEM] = "once a tensor",
    [LAUNCH_CHUNK] = "chunks of 65,536 elements, in parallel", [LAUNCH_FINISH] = "once a call, at its end",
    [LAUNCH_SIZES] = "once a tensor, for its sizes", [LAUNCH_CALL_SIZES] = "once a call, for its sizes", [LAUNCH_TOTAL] = "once a call, between tensors",
    [LAUNCH_TILE] = "tiles of a tensor's positions, in parallel", [LAUNCH_REPEAT] = "what follows, again and again", [LAUNCH_END] = "end of what is repeated"};
  return text[launch];
}

/* "24", "24.5" */
static void add_number(double x, Text *out) {
  char digits[64];
  snprintf(digits, sizeof digits, "%.2f", x);
  char *end = digits + strlen(digits);
  while (end[-1] == '0') *--end = 0;
  if (end[-1] == '.') end[-1] = 0;
  text_add(out, "%s", digits);
}

void explain_bytes(double x, Text *out) {
  static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  unsigned k = 0;
  for (; x >= 1024 && k < 4; k++) x /= 1024;
  add_number(x, out);
  text_add(out, " %s", unit[k]);
}

/* Bytes an element, or in all where there is no element to tell them for. */
static void amount(const Facts *f, double bytes, Text *out) {
  if (f->per > 1) add_number(bytes/f->per, out);
  else explain_bytes(bytes, out);
}

/* What is next to nothing an element is told in all. */
void explain_moved(const Facts *f, double bytes, const char *unit, Text *out) {
  if (f->per <= 1 || bytes < 0.01*f->per) explain_bytes(bytes, out);
  else {
    add_number(bytes/f->per, out);
    text_add(out, " %s", unit);
  }
}

static void ops_text(const Sweep *s, Text *out) {
  text_add(out, "%u operation%s", s->n_ops, s->n_ops == 1 ? "" : "s");
  const char *before = " (";
  for (unsigned e = 0; e < ELEMENT_COUNT; e++)
    if (s->ops[e]) {
      text_add(out, "%s%u %s", before, s->ops[e], element_name((Element)e));
      before = ", ";
    }
  text_add(out, ")");
}

static bool buffers_text(const Facts *f, const Sweep *s, int bit, const char *word, Text *out) {
  const char *before = word;
  for (unsigned b = 0; b < f->n_buffers; b++)
    if (s->use[b] & bit && !(b >= f->module->n_operands && f->program->temps[b - f->module->n_operands].local)) {
      text_add(out, "%s %s", before, facts_buffer(f, b));
      before = ",";
    }
  return before != word;
}

static const char *fold_text(const Facts *f, const Sweep *s, unsigned i, Arena *arena) {
  const Kernel *k = f->program->kernels[s->kernel];
  const Inst *loop = s->fold_loop[i];
  Text line = {.arena = arena}, over = {.arena = arena};
  text_add(&line, "      reduces ");
  explain_value(f->program, s->fold[i]->args[0], &line);
  explain_trips(f->program, k, loop, &over);
  if (k->launch == LAUNCH_CHUNK && loop && loop->args[0]->op == KOP_E_BEGIN) text_add(&line, " to one number a chunk");
  else if (over.length) text_add(&line, " to one number a run of %s", over.data);
  else text_add(&line, " to one number a block");
  text_add(&line, " (%s)\n", reduce_names[s->fold[i]->aux & 255]);
  return line.data;
}

/* A reduction stands in its blocks, in what is left of them, and in both arms of a condition: it is told once. */
static void folds_text(const Facts *f, const Sweep *s, Text *out) {
  const char *told[SWEEP_FOLDS];
  for (unsigned i = 0, n = 0; i < s->n_folds; i++) {
    const char *line = fold_text(f, s, i, out->arena);
    bool again = false;
    for (unsigned k = 0; k < n && !again; k++) again = !strcmp(told[k], line);
    if (again) continue;
    told[n++] = line;
    text_add(out, "%s", line);
  }
}

static void reason_text(const Facts *f, const Sweep *s, Text *out) {
  if (s->apart == APART_NOT) return;
  const Sweep *after = &f->sweep[s->after];
  if (facts_told(after)) text_add(out, "      not fused with loop %u: %s", after->number, apart_text[s->apart]);
  else text_add(out, "      not fused with kernel %s: %s", f->program->kernels[after->kernel]->name, apart_text[s->apart]);
  const char *before = " (";
  unsigned n = 0, named = 0;
  for (unsigned b = 0; b < f->n_buffers; b++) n += s->because[b];
  for (unsigned b = 0; b < f->n_buffers && named < 4; b++)
    if (s->because[b]) {
      text_add(out, "%s%s", before, facts_buffer(f, b));
      before = ", ";
      named++;
    }
  if (n > named) text_add(out, " and %u more", n - named);
  text_add(out, "%s\n", named ? ")" : "");
}

static void sweep_text(const Facts *f, const Sweep *s, const Machine *m, Text *out) {
  const Kernel *k = f->program->kernels[s->kernel];
  text_add(out, "    loop %u: ", s->number);
  if (s->times != 1) text_add(out, "%.0f times, ", s->times);
  size_t before = out->length;
  if (s->loop && (s->loop->binding != BIND_VECTOR || k->launch != LAUNCH_CHUNK)) explain_nest(f->program, k, s->loop, out);
  if (out->length > before) text_add(out, ", ");
  if (s->tiles && s->fast) text_add(out, "register tiles (--fast: %s operands);", s->fast);
  else if (s->tiles) text_add(out, "register tiles;");
  else if (s->lanes > 1) text_add(out, "%u lanes, unrolled %u;", s->lanes, s->unroll);
  else text_add(out, "one element at a time;");
  bool reads = buffers_text(f, s, TOUCH_READ, " reads", out);
  buffers_text(f, s, TOUCH_WRITTEN, reads ? "; writes" : " writes", out);
  if (s->n_ops) {
    text_add(out, "; ");
    ops_text(s, out);
  }
  if (s->conditional) text_add(out, "; under a condition");
  if (s->counted) {
    text_add(out, "; ");
    explain_moved(f, s->read + s->written, "bytes an element", out);
    if (s->contraction > 0) text_add(out, ", %.3g GFLOP of contractions", 1e-9*s->contraction);
    if (m->bandwidth > 0) text_add(out, ", %.3g ms", 1e3*sweep_seconds(s, m));
  }
  text_add(out, "\n");
  folds_text(f, s, out);
  reason_text(f, s, out);
}

static void kernel_head(const Facts *f, unsigned at, Text *out) {
  const Kernel *k = f->program->kernels[at];
  text_add(out, "  %*s", 2*(int)f->kernel[at].depth, "");
  text_add(out, "kernel %-24s %s", k->name, explain_launch(k->launch));
  if (k->launch == LAUNCH_TILE || k->launch == LAUNCH_REPEAT) {
    const Inst *n = values_positions(f->program, k->space);
    text_add(out, ": ");
    if (n) explain_value(f->program, n, out);
    text_add(out, k->launch == LAUNCH_TILE ? " positions" : " times");
  }
  text_add(out, "\n");
}

/* Sweeps of no weight in one line: where the partials of chunks are joined, trees of blocks. */
static void trivial_text(const Facts *f, unsigned at, Text *out) {
  const KernelFacts *k = &f->kernel[at];
  unsigned joined = 0, small = 0, idle = 0;
  for (unsigned b = f->module->n_operands; b < f->n_buffers; b++) {
    bool read = k->outside[b] & TOUCH_READ;
    for (unsigned s = k->first; s < k->first + k->n; s++) read |= f->sweep[s].trivial && f->sweep[s].use[b] & TOUCH_READ;
    if (!read || !f->program->temps[b - f->module->n_operands].partial) continue;
    text_add(out, joined++ ? ", %s" : "    adds up what the chunks left: %s", facts_buffer(f, b));
  }
  if (joined) text_add(out, "\n");
  for (unsigned s = k->first; s < k->first + k->n; s++) {
    small += f->sweep[s].trivial && f->sweep[s].live;
    idle += !f->sweep[s].live;
  }
  if (small && !joined) text_add(out, "    %u small loop%s: trees of blocks, numbers on the stack\n", small, small == 1 ? "" : "s");
  if (idle) text_add(out, "    %u more loop%s under conditions that do not hold at these sizes\n", idle, idle == 1 ? "" : "s");
}

/* A kernel whose loops have no trips at the sample, or stand under conditions that do not hold. */
static bool is_idle(const Facts *f, unsigned i) {
  const KernelFacts *k = &f->kernel[i];
  for (unsigned s = k->first; s < k->first + k->n; s++) if (f->sweep[s].live) return false;
  return k->n && f->program->kernels[i]->launch != LAUNCH_ITEM;
}

/* A run of them in one line. Returns the last one. */
static unsigned idle_text(const Facts *f, unsigned i, Text *out) {
  text_add(out, "  nothing to do at these sizes: %s", f->program->kernels[i]->name);
  while (i + 1 < f->program->n_kernels && f->kernel[i + 1].phase == f->kernel[i].phase && is_idle(f, i + 1)) text_add(out, ", %s", f->program->kernels[++i]->name);
  text_add(out, "\n");
  return i;
}

static void plain_text(const Kernel *k, int depth, Text *out) {
  if (!k->plain) return;
  text_add(out, "  %*s  plain loops: %s\n", 2*depth, "", k->plain->why);
  if (k->plain->hint) text_add(out, "  %*s  hint: %s\n", 2*depth, "", k->plain->hint);
}

static void kernels_text(const Facts *f, const Machine *m, Text *out) {
  int64_t phase = -1;
  for (unsigned i = 0; i < f->program->n_kernels; i++) {
    const KernelFacts *k = &f->kernel[i];
    if (f->program->kernels[i]->launch == LAUNCH_END) continue;
    if (f->n_phases > 1 && k->phase != phase) text_add(out, "  phase %lld of %lld\n", (long long)k->phase + 1, (long long)f->n_phases);
    phase = k->phase;
    if (is_idle(f, i)) {
      i = idle_text(f, i, out);
      continue;
    }
    kernel_head(f, i, out);
    plain_text(f->program->kernels[i], (int)k->depth, out);
    for (unsigned s = k->first; s < k->first + k->n; s++)
      if (facts_told(&f->sweep[s])) sweep_text(f, &f->sweep[s], m, out);
    trivial_text(f, i, out);
  }
}

static void temps_text(const Facts *f, Text *out) {
  const Program *p = f->program;
  if (!p->n_temps && !p->n_slots && !p->n_spaces) return;
  if (p->n_temps) text_add(out, "  temporaries\n");
  for (unsigned i = 0; i < p->n_temps; i++) {
    const Buffer *t = &p->temps[i];
    text_add(out, "    %-20s %s[", t->name, type_name(t->type));
    explain_count(p, i, out);
    text_add(out, "]%s%s, ", t->local ? ", on the stack" : t->partial ? ", one a chunk" : "", t->call ? ", once for the call" : f->kept[i] && !t->partial ? ", kept between phases" : "");
    explain_bytes((double)values_buffer((Values *)&f->values, f->module->n_operands + i)*type_bytes(t->type), out);
    text_add(out, "\n");
  }
  text_add(out, "  workspace: ");
  explain_workspace(f, out);
  text_add(out, " bytes, each part rounded up to 64; a window is 1 Mi elements, or one tensor that has more\n");
}

static void ratio_text(const Facts *f, const char *label, Moved m, const char *unit, Text *out) {
  text_add(out, "%s", label);
  amount(f, m.read + m.written, out);
  text_add(out, "%s (", unit);
  amount(f, m.read, out);
  text_add(out, " read, ");
  amount(f, m.written, out);
  text_add(out, " written)");
}

static double total(Moved m) { return m.read + m.written; }

static void bytes_text(const Facts *f, Text *out) {
  if (total(f->least) <= 0) return;
  ratio_text(f, f->per > 1 ? "  bytes an element: " : "  bytes a call: ", f->moved, "", out);
  ratio_text(f, "; least possible ", f->least, "", out);
  text_add(out, ": %.2f times%s\n", total(f->moved)/total(f->least), f->at_most ? ", at most: some of it only where a condition holds, or as often as data says" : "");
  if (f->n_moving < 2) return;
  text_add(out, "  least for %lld sweeps that wait for each other: ", (long long)f->n_moving);
  amount(f, total(f->least_swept), out);
  text_add(out, ": %.2f times\n", total(f->moved)/total(f->least_swept));
}

static void predicted_text(const Facts *f, const Machine *m, Text *out) {
  double contraction = 0;
  for (unsigned k = 0; k < f->program->n_kernels; k++) contraction += f->kernel[k].contraction;
  if (contraction > 0) text_add(out, "  contractions: %.4g GFLOP\n", 1e-9*contraction);
  for (unsigned k = 0; k < f->n_sweeps; k++)
    if (f->sweep[k].fast) {
      text_add(out, "  --fast: such a product is off by (2u + u^2 + K*2^-23)*sum|ab| + w*(K + sum(|a| + |b|)) at most; K: its length, u, w: by operands (docs/language.md, --fast)\n");
      break;
    }
  if (f->seconds <= 0) return;
  text_add(out, "  predicted: ");
  if (f->per > 1) text_add(out, "%.4g ns an element", 1e9*f->seconds/f->per);
  else text_add(out, "%.4g ms a call", 1e3*f->seconds);
  text_add(out, " at %.4g GB/s (%s)", m->bandwidth, m->bandwidth_measured ? "measured" : "given");
  if (contraction > 0 && m->peak > 0) text_add(out, " and %.4g GFLOP/s for contractions (%s)", m->peak, m->peak_measured ? "measured" : "given");
  else if (contraction > 0) text_add(out, ", contractions not counted: the peak is not known");
  text_add(out, "\n");
}

static void entry_text(const Facts *f, const Machine *m, const GpuView *gpu, unsigned entry, Text *out) {
  text_add(out, "%s, entry %s", f->module->name, f->program->entry);
  if (f->n_sweeps) {
    text_add(out, ", counted at ");
    sample_text(f->sample, out);
  }
  text_add(out, "\n");
  kernels_text(f, m, out);
  if (f->hoisted || f->scalar_ops) text_add(out, "  scalars hoisted: %u values a parameter group; %u operations outside loops\n", f->hoisted, f->scalar_ops);
  temps_text(f, out);
  bytes_text(f, out);
  predicted_text(f, m, out);
  if (gpu) explain_gpu_text(f, gpu, entry, out);
  text_add(out, "\n");
}

void explain_text(const Module *m, Program *const *programs, unsigned n_programs, const Machine *machine, const GpuView *gpu, Text *out) {
  Sample sample;
  sample_make(&sample, m, out->arena);
  for (unsigned i = 0; i < n_programs; i++)
    if (facts_shown(programs[i])) {
      Facts *facts = arena_alloc(out->arena, sizeof *facts);
      facts_gather(facts, &sample, programs[i], machine, out->arena);
      entry_text(facts, machine, gpu, i, out);
    }
}
