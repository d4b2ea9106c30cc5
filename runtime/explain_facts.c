/* explain_facts.c: the sweeps of an entry over memory, what each moves and computes at the sample's sizes. */
#include <string.h>
#include "ir/describe.h"
#include "runtime/explain.h"

/* Floating-point operations that a step of an element operation is. */
static const unsigned char flops_of[ELEMENT_COUNT] = {[ELEMENT_ADD] = 1, [ELEMENT_SUB] = 1, [ELEMENT_MUL] = 1, [ELEMENT_DIV] = 1, [ELEMENT_SQRT] = 1, [ELEMENT_FMA] = 2};

bool facts_shown(const Program *p) { return strcmp(p->entry, "layout") != 0; }

const char *facts_buffer(const Facts *f, unsigned buffer) {
  return buffer < f->module->n_operands ? f->module->operands[buffer].name : f->program->temps[buffer - f->module->n_operands].name;
}

const Buffer *facts_temp(const Facts *f, unsigned buffer) { return buffer < f->module->n_operands ? NULL : &f->program->temps[buffer - f->module->n_operands]; }
bool facts_local(const Facts *f, unsigned buffer) { return facts_temp(f, buffer) && facts_temp(f, buffer)->local; }

bool facts_fixed(const Facts *f, unsigned buffer) {
  const Inst *count = values_count(f->program, buffer);
  return count && count->op == KOP_E_CONST;
}

bool facts_told(const Sweep *s) { return s->live && !s->trivial; }

static bool touches_memory(const Block *block) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    Touch touch[MAX_TOUCHES];
    if (inst_touches(inst, touch) || touches_memory(inst->body) || touches_memory(inst->otherwise)) return true;
  }
  return false;
}

/* --- one sweep --------------------------------------------------------------------------------------------------------------------- */

enum { TRIPS_GONE_THROUGH = 20000 };

typedef struct Walk { Facts *f; Arena *arena; unsigned kernel; Sweep *sweep; unsigned char *ahead; bool conditional, again; double budget, times; } Walk;      /* again: the block at hand has been counted for another trip; budget: trips to go through one by one */

static double trips(Walk *w, const Inst *loop) {
  Number lo = values_of(&w->f->values, w->kernel, loop->args[0]), hi = values_of(&w->f->values, w->kernel, loop->args[1]);
  if (!lo.known || !hi.known) { w->f->at_most = true; return 1; }
  double n = bits_to_f64(hi.bits, TYPE_I64) - bits_to_f64(lo.bits, TYPE_I64);
  return n > 0 ? n : 0;
}

static void count_touches(Walk *w, const Inst *inst, double weight, const Inst *loop) {
  Touch touch[MAX_TOUCHES];
  double elements = inst->op == KOP_E_LOAD || inst->op == KOP_E_STORE ? 1 : 1e18;      /* tiles: all of it */
  for (unsigned n = inst_touches(inst, touch), k = 0; k < n; k++) {
    Sweep *s = w->sweep;
    unsigned b = touch[k].buffer;
    s->use[b] |= (touch[k].read ? TOUCH_READ : 0) | (touch[k].written ? TOUCH_WRITTEN : 0);
    if (touch[k].read && inst->op == KOP_E_LOAD && loop && !place_follows(inst->args[0], loop)) s->use[b] |= TOUCH_ELSEWHERE;
    if (touch[k].read) s->moved[0][b] += weight*elements;
    if (touch[k].written) s->moved[1][b] += weight*elements;
  }
}

static void count_element(Walk *w, const Inst *inst, double weight, bool chained) {
  Sweep *s = w->sweep;
  s->ops[inst->op] += !w->again;
  s->n_ops += !w->again;
  if (type_kind(inst->type) != KIND_FLOAT) return;
  s->flops += weight*flops_of[inst->op];
  if (inst->op != KOP_FMA || !chained) return;
  s->contracts = true;
  s->contraction += weight*2;
}

static void count_tile(Walk *w, const Inst *inst, double weight) {
  double work = 2*weight;
  static const unsigned extents[] = {TILE_M, TILE_N, TILE_K};
  for (unsigned k = 0; k < 3; k++) work *= values_or(&w->f->values, w->kernel, inst->args[extents[k]], 1);
  w->sweep->tiles += !w->again;
  Touch buffer[MAX_TOUCHES];
  inst_touches(inst, buffer);
  if (inst->op == KOP_E_TILE_FAST) w->sweep->fast = type_name(program_buffer_type(w->f->program, buffer[1].buffer));
  w->sweep->contracts = true;
  w->sweep->flops += work;
  w->sweep->contraction += work;
}

/* An fma onto what a loop carries: a contraction's chain. */
static bool extends_chain(const Inst *inst) { return inst->op == KOP_FMA && inst->args[2]->op == KOP_E_CARRIED; }

static bool holds_tile(const Block *block) {
  for (unsigned i = 0; block && i < block->n; i++)
    if (kop_contracts(block->insts[i]->op) || holds_tile(block->insts[i]->body) || holds_tile(block->insts[i]->otherwise)) return true;
  return false;
}

static void count_body(Walk *w, const Block *block, double weight, const Inst *loop);

/* All trips of a loop count as its first one. Tiles at the edges of a matrix are smaller: loops around them are gone through, as far as the budget goes. */
static void count_trips(Walk *w, const Inst *loop, double weight) {
  double n = trips(w, loop);
  bool again = w->again;
  if (n > w->budget || !holds_tile(loop->body)) {
    count_body(w, loop->body, weight*n, loop);
    return;
  }
  w->budget -= n;
  for (int64_t i = 0; i < (int64_t)n; i++) {
    values_turn(&w->f->values, w->kernel, loop, i);
    count_body(w, loop->body, weight, loop);
    w->again = true;
  }
  values_turn(&w->f->values, w->kernel, loop, 0);
  w->again = again;
}

/* Of an element, or of any of a run: work for those is an exception, which is not counted. */
static bool asks_for_nan(const Inst *c) {
  if (c->op == KOP_E_FOLDED) c = loop_fold(c->args[0], (unsigned)c->imm)->args[0];
  return c->op == KOP_NE && c->args[0] == c->args[1];
}

static void count_body(Walk *w, const Block *block, double weight, const Inst *loop) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    Sweep *s = w->sweep;
    if (inst->op < ELEMENT_COUNT) count_element(w, inst, weight, extends_chain(inst));
    count_touches(w, inst, weight, loop);
    if (kop_contracts(inst->op)) count_tile(w, inst, weight);
    if (inst->op == KOP_E_FOLD && s->n_folds < SWEEP_FOLDS && !w->again) {
      s->fold_loop[s->n_folds] = loop;
      s->fold[s->n_folds++] = inst;
    }
    if (inst->op == KOP_E_IF && asks_for_nan(inst->args[0])) count_body(w, inst->otherwise, weight, loop);
    else if (inst->op == KOP_E_IF) {
      Number c = values_of(&w->f->values, w->kernel, inst->args[0]);
      if (!c.known || c.bits) count_body(w, inst->body, weight, loop);
      if (!c.known || !c.bits) count_body(w, inst->otherwise, weight, loop);
    } else if (inst->op == KOP_E_FOR) {
      if (inst->binding == BIND_VECTOR && inst->lanes > s->lanes) { s->lanes = inst->lanes; s->unroll = inst->unroll ? inst->unroll : 1; }
      count_trips(w, inst, weight);
    }
  }
}

static void weigh(const Facts *f, Sweep *s) {
  double times = s->times;
  s->trivial = true;
  for (unsigned b = 0; b < f->n_buffers; b++) {
    if (!s->use[b] || facts_local(f, b)) continue;
    double size = (double)values_buffer((Values *)&f->values, b), bytes = type_bytes(program_buffer_type(f->program, b));
    double read = s->moved[0][b] < size ? s->moved[0][b] : size, written = s->moved[1][b] < size ? s->moved[1][b] : size;
    s->read += times*bytes*read;
    s->written += times*bytes*written;
    s->moved[0][b] = bytes*read;
    s->moved[1][b] = bytes*written;
    s->trivial &= facts_temp(f, b) && (facts_temp(f, b)->partial || facts_fixed(f, b));
  }
  s->flops *= times;
  s->contraction *= times;
  bool stack = false, memory = false;
  for (unsigned b = 0; b < f->n_buffers; b++) {
    stack |= s->use[b] && facts_local(f, b);
    memory |= s->use[b] && !facts_local(f, b);
  }
  if (s->read + s->written <= 0 && (memory || !stack)) s->live = s->counted = false;      /* it has no trips */
}

static Sweep *add_sweep(Walk *w, const Inst *loop, bool live) {
  Facts *f = w->f;
  f->sweep = arena_grow(w->arena, f->sweep, &f->capacity, f->n_sweeps + 1, sizeof *f->sweep);
  Sweep *s = &f->sweep[f->n_sweeps++];
  *s = (Sweep){.kernel = w->kernel, .loop = loop, .live = live, .counted = live, .conditional = w->conditional, .lanes = 1, .unroll = 1, .apart = APART_NOT};
  s->ahead = w->ahead;
  if (live) w->ahead = arena_array(w->arena, f->n_buffers + 1, 1);
  s->use = arena_array(w->arena, f->n_buffers + 1, 1);
  s->because = arena_array(w->arena, f->n_buffers + 1, 1);
  for (int k = 0; k < 2; k++) s->moved[k] = arena_array(w->arena, f->n_buffers + 1, sizeof *s->moved[k]);
  return w->sweep = s;
}

/* --- one kernel -------------------------------------------------------------------------------------------------------------------- */

static double bytes_of(const Facts *f, unsigned from, unsigned to) {
  double sum = 0;
  for (unsigned k = from; k < to; k++) if (f->sweep[k].counted) sum += f->sweep[k].read + f->sweep[k].written;
  return sum;
}

static bool uses(const Block *block, const Inst *loop) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    for (unsigned a = 0; a < inst->n_args; a++) if (inst->args[a] == loop && inst->op != KOP_E_CARRIED && inst->op != KOP_E_FOLDED) return true;
    if (uses(inst->body, loop) || uses(inst->otherwise, loop)) return true;
  }
  return false;
}

/* A loop that does the same again, trip by trip: its index is no position of anything, and sweeps stand in it. */
static bool repeats(const Inst *loop) {
  for (unsigned i = 0; i < loop->body->n; i++)
    if (loop->body->insts[i]->op == KOP_E_FOR && touches_memory(loop->body->insts[i]->body)) return !uses(loop->body, loop);
  return false;
}

static void find_sweeps(Walk *w, const Block *block, bool live);

static void find_repeated(Walk *w, const Inst *loop, bool live) {
  double outer = w->times;
  w->times *= trips(w, loop);
  find_sweeps(w, loop->body, live);
  w->times = outer;
}

/* The arm that runs at the sample; of an open condition both, and the dearer one counts. */
static void find_arms(Walk *w, const Inst *inst, bool live) {
  Facts *f = w->f;
  Number c = values_of(&f->values, w->kernel, inst->args[0]);
  bool outer = w->conditional;
  w->conditional = true;
  unsigned from = f->n_sweeps;
  find_sweeps(w, inst->body, live && (!c.known || c.bits));
  unsigned middle = f->n_sweeps;
  find_sweeps(w, inst->otherwise, live && (!c.known || !c.bits));
  w->conditional = outer;
  if (c.known || from == f->n_sweeps || !live) return;
  f->at_most = true;
  bool first = bytes_of(f, from, middle) >= bytes_of(f, middle, f->n_sweeps);
  for (unsigned k = from; k < f->n_sweeps; k++) f->sweep[k].counted &= first == (k < middle);
}

/* What stands outside sweeps: numbers of buffers, totals. */
static void count_outside(Walk *w, const Inst *inst) {
  KernelFacts *k = &w->f->kernel[w->kernel];
  Touch touch[MAX_TOUCHES];
  for (unsigned n = inst_touches(inst, touch), t = 0; t < n; t++) {
    unsigned char use = (touch[t].read ? TOUCH_READ : 0) | (touch[t].written ? TOUCH_WRITTEN : 0);
    k->outside[touch[t].buffer] |= use;
    w->ahead[touch[t].buffer] |= use;
  }
  k->totals |= inst->op == KOP_E_TOTAL;
  w->f->scalar_ops += inst->op < ELEMENT_COUNT;
  w->f->hoisted += inst->op == KOP_E_SET_UNIFORM;
}

/* Sweeps are the outermost loops that load or store; other loops (powers, for one) are scalar work. */
static void find_sweeps(Walk *w, const Block *block, bool live) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    bool loops = inst->op == KOP_E_FOR && touches_memory(inst->body), tile = kop_is_tile(inst->op);
    if (inst->op == KOP_E_IF) find_arms(w, inst, live);
    else if (loops && repeats(inst)) find_repeated(w, inst, live);
    else if (loops || tile) {
      Sweep *s = add_sweep(w, loops ? inst : NULL, live);
      w->budget = TRIPS_GONE_THROUGH;
      count_body(w, &(Block){.insts = (Inst **)&block->insts[i], .n = 1}, 1, NULL);
      s->times = w->times*w->f->kernel[w->kernel].times;
      weigh(w->f, s);
    } else {
      count_outside(w, inst);
      find_sweeps(w, inst->body, live);
    }
  }
}

static void find_times(Facts *f) {
  double times[OPTC_MAX_REPEATS + 1] = {1};
  unsigned depth = 0;
  for (unsigned k = 0; k < f->program->n_kernels; k++) {
    const Kernel *kernel = f->program->kernels[k];
    depth -= kernel->launch == LAUNCH_END && depth;
    f->kernel[k].times = times[depth];
    f->kernel[k].depth = depth;
    if (kernel->launch != LAUNCH_REPEAT || depth == OPTC_MAX_REPEATS) continue;
    times[depth + 1] = times[depth]*values_space(&f->values, kernel->space);
    depth++;
  }
}

static void find_phases(Facts *f, Arena *arena) {
  optc_entry_desc entry;
  const optc_kernel_desc *kernels = describe_program(f->program, &entry, arena);
  f->n_phases = entry.n_phases;
  f->kept = arena_array(arena, (size_t)f->program->n_temps + 1, sizeof *f->kept);
  for (unsigned k = 0; k < f->program->n_temps; k++) f->kept[k] = (entry.temp_kind[k] & TEMP_KEPT) != 0;
  for (unsigned k = 0; k < f->program->n_kernels; k++) f->kernel[k].phase = kernels[k].phase;
}

/* --- the whole entry ------------------------------------------------------------------------------------------------------------------- */

/* Every operand of the sweeps that count, once: read where an old value is read, written where one is. */
static Moved least_of(const Facts *f, int64_t segment) {
  Moved least = {0};
  for (unsigned b = 0; b < f->module->n_operands; b++) {
    const Operand *o = &f->module->operands[b];
    if (o->scope != SCOPE_TENSOR || !operand_is_tensor(o)) continue;
    double read = 0, written = 0;
    for (unsigned k = 0; k < f->n_sweeps; k++) {
      const Sweep *s = &f->sweep[k];
      if (!s->counted || (segment >= 0 && s->segment != segment)) continue;
      if (s->moved[0][b] > read && written <= 0) read = s->moved[0][b];
      if (s->moved[1][b] > written) written = s->moved[1][b];
    }
    least.read += read;
    least.written += written;
  }
  return least;
}

/* A contraction in loops, without tiles: an fma waits for the one before, four cycles, one to two nanoseconds on any machine. */
static const double chain_rate = 1;      /* GFLOP/s */

double sweep_seconds(const Sweep *s, const Machine *m) {
  double memory = m->bandwidth > 0 ? (s->read + s->written)/(1e9*m->bandwidth) : 0, rate = s->tiles ? m->peak : chain_rate, work = rate > 0 ? s->contraction/(1e9*rate) : 0;
  return memory > work ? memory : work;
}

static void add_up(Facts *f, const Machine *machine) {
  for (unsigned k = 0; k < f->n_sweeps; k++) {
    Sweep *s = &f->sweep[k];
    if (!s->counted) continue;
    KernelFacts *kernel = &f->kernel[s->kernel];
    kernel->read += s->read;
    kernel->written += s->written;
    kernel->flops += s->flops;
    kernel->contraction += s->contraction;
    f->moved.read += s->read;
    f->moved.written += s->written;
    if (machine->bandwidth > 0) f->seconds += sweep_seconds(s, machine);
  }
  f->least = least_of(f, -1);
  for (int64_t g = 0; g < f->n_segments; g++) {
    Moved part = least_of(f, g);
    f->least_swept.read += part.read;
    f->least_swept.written += part.written;
    f->n_moving += part.read + part.written > 0;
  }
}

/* In the order in which they are told, and then those that are not. */
static void number_sweeps(Facts *f) {
  unsigned number = 0;
  for (int told = 1; told >= 0; told--)
    for (unsigned k = 0; k < f->n_sweeps; k++) if (facts_told(&f->sweep[k]) == told) f->sweep[k].number = ++number;
}

void facts_gather(Facts *f, const Sample *sample, const Program *p, const Machine *machine, Arena *arena) {
  *f = (Facts){.module = p->module, .program = p, .sample = sample, .n_buffers = p->module->n_operands + p->n_temps, .per = sample->elements ? (double)sample->elements : 1};
  values_make(&f->values, sample, p);
  f->kernel = arena_array(arena, (size_t)p->n_kernels + 1, sizeof *f->kernel);
  find_times(f);
  find_phases(f, arena);
  for (unsigned k = 0; k < p->n_kernels; k++) {
    Walk w = {.f = f, .arena = arena, .kernel = k, .times = 1, .ahead = arena_array(arena, f->n_buffers + 1, 1)};
    f->kernel[k].first = f->n_sweeps;
    f->kernel[k].outside = arena_array(arena, f->n_buffers + 1, 1);
    find_sweeps(&w, p->kernels[k]->body, true);
    f->kernel[k].n = f->n_sweeps - f->kernel[k].first;
    f->kernel[k].tail = w.ahead;
  }
  facts_part(f);
  number_sweeps(f);
  add_up(f, machine);
}
