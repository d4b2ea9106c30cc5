/* kernel_interpret.c: runs kernels of a program on frames, one instruction after the other, in strips where a loop allows it. */
#include <string.h>
#include "ir/graph_reduce.h"
#include "ir/interpret.h"

enum { INTERPRET_ROWS = 3, INTERPRET_COLUMNS = 8 };                           /* of tiles: like no machine, so that nobody counts on one */
enum { STRIP = 512 };                    /* iterations of a pointwise loop that are run an instruction at a time */

typedef struct Runner {
  const Program *program;
  optc_frame *frame;
  const Layout *layout;
  Arena *scratch;
  Bits *value;                           /* by id, outside strips */
  Bits **strip;                          /* by id: STRIP values, allocated when a loop first needs them */
  Bits **carried;                        /* by id of a loop: what it carries now, or carried at its end */
  char **local;                          /* by temporary: a local one */
  Reducer **fold;                        /* by id of a FOLD; its `value` is what the last run of its loop made */
} Runner;

static Bits field(const void *base, size_t offset, unsigned type) {
  Bits b;
  memcpy(&b, (const char *)base + offset, 8);
  return type == TYPE_BOOL ? b != 0 : b;
}

static char *scalar_place(const Runner *r, int64_t operand) {
  const Operand *o = &r->program->module->operands[operand];
  return (char *)(o->scope == SCOPE_GLOBAL ? r->frame->global : r->frame->item) + r->layout->operand[operand];
}

static char *data_of(const Runner *r, int64_t buffer) {
  int64_t temp = buffer - r->program->module->n_operands;
  return temp >= 0 && r->local[temp] ? r->local[temp] : r->frame->data[buffer];
}

static Bits load(const Runner *r, int64_t buffer, int64_t index) {
  const char *data = data_of(r, buffer);
  Type type = program_buffer_type(r->program, (unsigned)buffer);
  unsigned bytes = type_bytes(type);
  Bits b = 0;
  if (!data) return 0;                   /* absent tensors read 0 */
  memcpy(&b, data + index * bytes, bytes);                                     /* little endian, as every target */
  return type == TYPE_BOOL ? b != 0 : b;
}

static void store(const Runner *r, int64_t buffer, int64_t index, Bits value) {
  char *data = data_of(r, buffer);
  unsigned bytes = type_bytes(program_buffer_type(r->program, (unsigned)buffer));
  if (data) memcpy(data + index * bytes, &value, bytes);
}

static Bits size_of(const Runner *r, const Inst *inst) {
  const optc_frame *f = r->frame;
  const Operand *o = &r->program->module->operands[inst->imm];
  bool shaped = operand_is_shaped(o);
  int64_t rank = shaped ? f->ranks[inst->imm] : f->rank, axis = inst->aux >= 0 ? inst->aux : rank + inst->aux + 2;
  if (inst->aux == -1) return (Bits)(shaped ? f->counts[inst->imm] : f->total);
  if (inst->aux == -2) return (Bits)rank;
  return (Bits)(axis < 0 || axis >= rank ? 1 : shaped ? f->shapes[inst->imm][axis] : f->shape[axis]);
}

/* What needs no argument and is the same in every iteration. */
static Bits leaf(const Runner *r, const Inst *inst) {
  const optc_frame *f = r->frame;
  switch ((KOp)inst->op) {
    case KOP_E_CONST: return (Bits)inst->imm;
    case KOP_E_HYPER: return field(f->hyper, 8 * (size_t)inst->imm, inst->type);
    case KOP_E_STEP: return (Bits)f->t;
    case KOP_E_SEED: return f->seed;
    case KOP_E_ITEM: return (Bits)f->index;
    case KOP_E_COUNT: return (Bits)f->count;
    case KOP_E_FIRST: return (Bits)f->first;
    case KOP_E_TRIP: return (Bits)f->trip[inst->imm];
    case KOP_E_BEGIN: return (Bits)f->begin;
    case KOP_E_END: return (Bits)f->end;
    case KOP_E_SIZE: return size_of(r, inst);
    case KOP_E_TILE_ROWS: return INTERPRET_ROWS;
    case KOP_E_TILE_COLUMNS: return INTERPRET_COLUMNS;
    case KOP_E_ITEMS: return (Bits)f->n_items;
    case KOP_E_TOTAL: return inst->type == TYPE_BOOL ? f->totals[inst->imm] != 0 : f->totals[inst->imm];
    case KOP_E_PRESENT: return f->data[inst->imm] != NULL;
    case KOP_E_UNIFORM: return inst->type == TYPE_BOOL ? f->uniform[inst->imm] != 0 : f->uniform[inst->imm];
    case KOP_E_SCALAR: return field(scalar_place(r, inst->imm), 0, inst->type);
    case KOP_E_FOLDED: return r->value[loop_fold(inst->args[0], (unsigned)inst->imm)->id];
    default: return 0;
  }
}

/* --- tiles -------------------------------------------------------------------------------------------------------------- */

/* An element of a panel, as it is multiplied. */
static Bits factor(const Runner *r, unsigned panel, int64_t place, Type type) {
  Type stored = program_buffer_type(r->program, panel);
  Bits x = load(r, panel, place);
  return stored == type ? x : element_eval(ELEMENT_CAST, type, stored, &x);
}

static void contract_tile(const Runner *r, const Inst *inst) {
  int64_t at[TILE_NEXT];                 /* what is read soon is nothing here */
  Touch buffer[MAX_TOUCHES];
  inst_touches(inst, buffer);
  Type type = program_buffer_type(r->program, buffer[0].buffer);
  for (unsigned k = 0; k < TILE_NEXT; k++) at[k] = (int64_t)r->value[inst->args[k]->id];
  for (int64_t row = 0; row < at[TILE_M]; row++)
    for (int64_t column = 0; column < at[TILE_N]; column++) {
      Bits acc = 0;
      for (int64_t p = 0; p < at[TILE_K]; p++) {
        int64_t place = (p/KERNEL_TILE_GROUP*INTERPRET_ROWS + row)*KERNEL_TILE_GROUP + p%KERNEL_TILE_GROUP;
        Bits x[3] = {factor(r, buffer[1].buffer, at[TILE_A] + place, type), factor(r, buffer[2].buffer, at[TILE_B] + p*INTERPRET_COLUMNS + column, type), acc};
        if (type == TYPE_F32) acc = element_eval(ELEMENT_FMA, type, type, x);
        else acc = element_eval(ELEMENT_ADD, type, type, (Bits[]){acc, element_eval(ELEMENT_MUL, type, type, x)});
      }
      int64_t place = at[TILE_C] + row*at[TILE_C_STRIDE] + column;
      Bits sum[2] = {at[TILE_ADDS] ? load(r, buffer[0].buffer, place) : 0, acc};
      store(r, buffer[0].buffer, place, element_eval(ELEMENT_ADD, type, type, sum));
    }
}

static void move_tile(const Runner *r, const Inst *inst) {
  int64_t at[MOVE_ARGS];
  for (unsigned k = 0; k < MOVE_ARGS; k++) at[k] = (int64_t)r->value[inst->args[k]->id];
  Touch buffer[MAX_TOUCHES];
  inst_touches(inst, buffer);
  for (int64_t row = 0; row < at[MOVE_ROWS]; row++)
    for (int64_t column = 0; column < at[MOVE_COLUMNS]; column++) {
      int64_t place = inst->op == KOP_E_TILE_COPY ? row*at[MOVE_TO_STRIDE] + column : column*at[MOVE_TO_STRIDE] + row;
      store(r, buffer[0].buffer, at[MOVE_TO] + place, load(r, buffer[1].buffer, at[MOVE_FROM] + row*at[MOVE_FROM_STRIDE] + column));
    }
}

static void require(const Runner *r, const Inst *inst) {
  optc_frame *f = r->frame;
  if (r->value[inst->args[0]->id] || f->failed) return;
  f->failed = 1 + inst->imm;
  f->n_values = inst->n_args - 1;
  for (unsigned a = 1; a < inst->n_args && a <= 4; a++) f->value[a - 1] = bits_to_f64(r->value[inst->args[a]->id], TYPE_F64);
}

static Type operand_type(const Inst *inst) { return (Type)inst->args[inst->n_args - 1]->type; }        /* also of SELECT, whose first is bool */

/* --- strips ----------------------------------------------------------------------------------------------------------- */

/* Iterations may be run an instruction at a time when none can see another: nothing is carried, and all memory is touched at the index itself.
 * Folds take their positions in order, a strip at a time. */
static bool pointwise(const Inst *loop) {
  if (loop->n_args > 2) return false;
  for (unsigned i = 0; i < loop->body->n; i++) {
    const Inst *inst = loop->body->insts[i];
    switch ((KOp)inst->op) {
      case KOP_E_LOAD: case KOP_E_STORE: if (inst->args[0] != loop) return false; break;
      case KOP_E_FOR: case KOP_E_IF: case KOP_E_CARRIED: case KOP_E_SLOT: return false;
      default: if (kop_is(inst->op, KPROP_EFFECT)) return false;
    }
  }
  return true;
}

typedef struct Lane { const Bits *at; size_t step; } Lane;
static Lane lane_of(const Runner *r, const Inst *inst) {
  return r->strip[inst->id] ? (Lane){r->strip[inst->id], 1} : (Lane){&r->value[inst->id], 0};
}

/* Elements in a row: one loop a width, for the interpreter's time is spent here. */
static void load_row(const Runner *r, int64_t buffer, int64_t first, size_t n, Bits *out) {
  Type type = program_buffer_type(r->program, (unsigned)buffer);
  const char *data = data_of(r, buffer);
  if (!data || type == TYPE_BOOL) { for (size_t i = 0; i < n; i++) out[i] = load(r, buffer, first + (int64_t)i); return; }
  data += first * type_bytes(type);
  switch (type_bytes(type)) {
    case 1: for (size_t i = 0; i < n; i++) out[i] = ((const uint8_t *)data)[i]; return;
    case 2: for (size_t i = 0; i < n; i++) out[i] = ((const uint16_t *)data)[i]; return;
    case 4: for (size_t i = 0; i < n; i++) out[i] = ((const uint32_t *)data)[i]; return;
    default: for (size_t i = 0; i < n; i++) out[i] = ((const uint64_t *)data)[i]; return;
  }
}

static void store_row(const Runner *r, int64_t buffer, int64_t first, size_t n, Lane x) {
  unsigned bytes = type_bytes(program_buffer_type(r->program, (unsigned)buffer));
  char *data = data_of(r, buffer);
  if (!data) return;
  data += first * bytes;
  switch (bytes) {
    case 1: for (size_t i = 0; i < n; i++) ((uint8_t *)data)[i] = (uint8_t)x.at[i * x.step]; return;
    case 2: for (size_t i = 0; i < n; i++) ((uint16_t *)data)[i] = (uint16_t)x.at[i * x.step]; return;
    case 4: for (size_t i = 0; i < n; i++) ((uint32_t *)data)[i] = (uint32_t)x.at[i * x.step]; return;
    default: for (size_t i = 0; i < n; i++) ((uint64_t *)data)[i] = x.at[i * x.step]; return;
  }
}

/* A position that a guard leaves out counts as the identity: it changes no bit of what came before. */
static void fold_row(Reducer *f, size_t n, Lane x, Lane guard) {
  Bits identity = reduce_identity(f->kind, f->type);
  for (size_t i = 0, next; i < n; i = next) {
    bool counts = !guard.at || guard.at[i * guard.step];
    for (next = i + 1; next < n && guard.at && (guard.at[next * guard.step] != 0) == counts;) next++;
    if (!guard.at) next = n;
    reducer_feed(f, counts ? x.at + i * x.step : &identity, counts ? x.step : 0, next - i);
  }
}

static void run_strip(Runner *r, const Inst *loop, int64_t first, size_t n) {
  Bits *index = r->strip[loop->id];
  for (size_t i = 0; i < n; i++) index[i] = (Bits)first + i;
  for (unsigned k = 0; k < loop->body->n; k++) {
    const Inst *inst = loop->body->insts[k];
    Bits *out = r->strip[inst->id];
    Lane x[3] = {{0}};
    for (unsigned a = 0; a < inst->n_args && a < 3; a++) x[a] = lane_of(r, inst->args[a]);
    if (inst->op < ELEMENT_COUNT) {
      element_run((Element)inst->op, (Type)inst->type, operand_type(inst), n, out, (const Bits *const[]){x[0].at, x[1].at, x[2].at}, (const size_t[]){x[0].step, x[1].step, x[2].step});
    } else if (inst->op == KOP_E_LOAD) {
      if (inst->n_args < 2 || (!x[1].step && *x[1].at)) load_row(r, inst->imm, first, n, out);
      else for (size_t i = 0; i < n; i++) out[i] = x[1].at[i * x[1].step] ? load(r, inst->imm, first + (int64_t)i) : 0;
    } else if (inst->op == KOP_E_STORE) {
      if (inst->n_args < 3 || (!x[2].step && *x[2].at)) store_row(r, inst->imm, first, n, x[1]);
      else for (size_t i = 0; i < n; i++) if (x[2].at[i * x[2].step]) store(r, inst->imm, first + (int64_t)i, x[1].at[i * x[1].step]);
    } else if (inst->op == KOP_E_FOLD) {
      fold_row(r->fold[inst->id], n, x[0], inst->n_args > 1 ? x[1] : (Lane){0});
    } else if (out) {
      Bits b = leaf(r, inst);
      for (size_t i = 0; i < n; i++) out[i] = b;
    }
  }
}

static void open_strips(Runner *r, const Inst *loop) {
  bool launch = loop->args[0]->op == KOP_E_BEGIN && loop->args[1]->op == KOP_E_END;       /* never longer than now */
  size_t n = launch && r->frame->end - r->frame->begin < STRIP ? (size_t)(r->frame->end - r->frame->begin) : STRIP;
  r->strip[loop->id] = arena_array(r->scratch, n, sizeof(Bits));
  for (unsigned k = 0; k < loop->body->n; k++)
    if (kop_has_result(loop->body->insts[k]->op)) r->strip[loop->body->insts[k]->id] = arena_array(r->scratch, n, sizeof(Bits));
}

/* --- one at a time ------------------------------------------------------------------------------------------------------ */

static const Inst *run_block(Runner *, const Block *);

static void open_folds(Runner *r, const Inst *loop) {
  for (unsigned k = 0; k < loop->body->n; k++) {
    const Inst *inst = loop->body->insts[k];
    if (inst->op != KOP_E_FOLD) continue;
    Reducer **fold = &r->fold[inst->id];
    if (!*fold) *fold = arena_alloc(r->scratch, sizeof **fold);
    reducer_start(*fold, (Type)inst->args[0]->type, (ReduceKind)inst->aux, ORDER_LANES);
  }
}

static void close_folds(Runner *r, const Inst *loop) {
  for (unsigned k = 0; k < loop->body->n; k++)
    if (loop->body->insts[k]->op == KOP_E_FOLD) r->value[loop->body->insts[k]->id] = reducer_result(r->fold[loop->body->insts[k]->id]);
}

static void run_iterations(Runner *r, const Inst *loop) {
  int64_t low = (int64_t)r->value[loop->args[0]->id], high = (int64_t)r->value[loop->args[1]->id];
  if (pointwise(loop)) {
    if (low < high && !r->strip[loop->id]) open_strips(r, loop);
    for (int64_t i = low; i < high; i += STRIP) {
      run_strip(r, loop, i, high - i < STRIP ? (size_t)(high - i) : STRIP);
      if (high - i <= STRIP) break;
    }
    return;
  }
  unsigned n = loop->n_args - 2;
  if (!r->carried[loop->id]) r->carried[loop->id] = arena_array(r->scratch, n + 1, sizeof(Bits));
  Bits *carried = r->carried[loop->id];
  for (unsigned c = 0; c < n; c++) carried[c] = r->value[loop->args[c + 2]->id];
  for (int64_t i = low; i < high; i++) {
    r->value[loop->id] = (Bits)i;
    const Inst *yield = run_block(r, loop->body);
    for (unsigned c = 0; c < n; c++) carried[c] = r->value[yield->args[c]->id];
  }
}

static void run_for(Runner *r, const Inst *loop) {
  open_folds(r, loop);
  run_iterations(r, loop);
  close_folds(r, loop);
}

static void run_inst(Runner *r, const Inst *inst) {
  Bits *v = r->value;
  if (inst->op < ELEMENT_COUNT) {
    Bits x[3] = {0};
    for (unsigned a = 0; a < inst->n_args && a < 3; a++) x[a] = v[inst->args[a]->id];
    v[inst->id] = element_eval((Element)inst->op, (Type)inst->type, operand_type(inst), x);
    return;
  }
  switch ((KOp)inst->op) {
    case KOP_E_LOAD:
      v[inst->id] = inst->n_args > 1 && !v[inst->args[1]->id] ? 0 : load(r, inst->imm, (int64_t)v[inst->args[0]->id]);
      return;
    case KOP_E_STORE:
      if (inst->n_args < 3 || v[inst->args[2]->id]) store(r, inst->imm, (int64_t)v[inst->args[0]->id], v[inst->args[1]->id]);
      return;
    case KOP_E_TILE: case KOP_E_TILE_FAST: contract_tile(r, inst); return;
    case KOP_E_TILE_TRANSPOSE: case KOP_E_TILE_COPY: move_tile(r, inst); return;
    case KOP_E_SET_UNIFORM: r->frame->uniform[inst->imm] = v[inst->args[0]->id]; return;
    case KOP_E_SET_SCALAR: memcpy(scalar_place(r, inst->imm), &v[inst->args[0]->id], 8); return;
    case KOP_E_SET_COUNT: r->frame->counts[inst->imm] = (int64_t)v[inst->args[0]->id]; return;
    case KOP_E_SET_EXTENT: r->frame->extents[OPTC_MAX_RANK*inst->imm + inst->aux] = (int64_t)v[inst->args[0]->id]; return;
    case KOP_E_SET_SPACE:
      r->frame->spaces[inst->imm] = (optc_space){(int64_t)v[inst->args[0]->id], (int64_t)v[inst->args[1]->id]};
      return;
    case KOP_E_SET_SLOT: r->frame->slots[inst->imm*r->frame->n_items + r->frame->position] = v[inst->args[0]->id]; return;
    case KOP_E_SLOT: v[inst->id] = r->frame->slots[inst->imm*r->frame->n_items + (int64_t)v[inst->args[0]->id]]; return;
    case KOP_E_SKIP: r->frame->skip = v[inst->args[0]->id] != 0; return;
    case KOP_E_SET_TOTAL: r->frame->totals[inst->imm] = v[inst->args[0]->id]; return;
    case KOP_E_REQUIRE: require(r, inst); return;
    case KOP_E_EXISTS: r->frame->exists[inst->imm] = v[inst->args[0]->id] != 0; return;
    case KOP_E_CARRIED: v[inst->id] = r->carried[inst->args[0]->id][inst->imm]; return;
    case KOP_E_FOR: run_for(r, inst); return;
    case KOP_E_FOLD: fold_row(r->fold[inst->id], 1, (Lane){&v[inst->args[0]->id], 0}, inst->n_args > 1 ? (Lane){&v[inst->args[1]->id], 0} : (Lane){0}); return;
    case KOP_E_IF:
      if (v[inst->args[0]->id]) run_block(r, inst->body);
      else if (inst->otherwise) run_block(r, inst->otherwise);
      return;
    default: v[inst->id] = leaf(r, inst); return;
  }
}

/* Returns the last instruction: the yield of a loop's body. */
static const Inst *run_block(Runner *r, const Block *block) {
  const Inst *inst = NULL;
  for (unsigned i = 0; i < block->n; i++) {
    inst = block->insts[i];
    run_inst(r, inst);
  }
  return inst;
}

void kernel_interpret(const Program *p, const Kernel *k, optc_frame *f, Arena *scratch) {
  Module module = *p->module;            /* a layout in our own memory: several threads may run one program */
  module.arena = scratch;
  Runner r = {.program = p, .frame = f, .layout = layout_of(&module), .scratch = scratch};
  r.value = arena_array(scratch, (size_t)k->n_insts + 1, sizeof(Bits));
  r.strip = arena_array(scratch, (size_t)k->n_insts + 1, sizeof(Bits *));
  r.carried = arena_array(scratch, (size_t)k->n_insts + 1, sizeof(Bits *));
  r.fold = arena_array(scratch, (size_t)k->n_insts + 1, sizeof(Reducer *));
  r.local = arena_array(scratch, (size_t)p->n_temps + 1, sizeof(char *));
  for (unsigned i = 0; i < p->n_temps; i++) if (p->temps[i].local) r.local[i] = arena_array(scratch, buffer_elements(&p->temps[i], INTERPRET_ROWS), type_bytes(p->temps[i].type));
  run_block(&r, k->body);
}
