/* kernel_verify.c: well-formedness of programs: numbering, dominance, types, buffers, and what each launch may do. */
#include <stdarg.h>
#include <string.h>
#include "ir/graph_reduce.h"
#include "ir/kernel_text.h"

typedef struct Verifier {
  const Program *program;
  const Kernel *kernel;
  Diag *diag;
  Inst **visible;                        /* by id: the instruction while it may be an argument */
  bool *open;                            /* by id: FOR whose body is being checked */
  unsigned next, depth;
  bool good;
} Verifier;

__attribute__((format(printf, 3, 4)))
static void report(Verifier *v, const Inst *inst, const char *format, ...) {
  v->good = false;
  va_list args;
  va_start(args, format);
  const char *text = arena_vprintf(v->program->arena, format, args);
  va_end(args);
  Range nowhere = {0};
  const char *kernel = v->kernel ? v->kernel->name : "";
  if (inst) diag_error(v->diag, nowhere, "program %s, kernel %s, %%%u (%s): %s", v->program->entry, kernel, inst->id, kop_name(inst->op), text);
  else diag_error(v->diag, nowhere, "program %s, kernel %s: %s", v->program->entry, kernel, text);
}

static bool is_arithmetic(unsigned type) { return type < TYPE_COUNT && !type_is_storage((Type)type); }
static Type arg_type(const Inst *inst, unsigned a) { return (Type)inst->args[a]->type; }

static bool scalar_type_ok(Type storage, unsigned type) { return type == (type_kind(storage) == KIND_FLOAT ? TYPE_F64 : type_kind(storage) == KIND_INT ? TYPE_I64 : TYPE_BOOL); }

/* Whether nothing has an effect but products of tiles. */
static bool only_contracts(const Block *block) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *in = block->insts[i];
    bool allowed = in->body || kop_contracts(in->op) || in->op < ELEMENT_COUNT || in->op == KOP_E_YIELD || in->op == KOP_E_PREFETCH || kop_has_result((KOp)in->op);
    if (!allowed || !only_contracts(in->body) || !only_contracts(in->otherwise)) return false;
  }
  return true;
}

static void check_for(Verifier *v, const Inst *inst) {
  if (inst->n_args < 2) { report(v, inst, "needs its bounds"); return; }
  if (arg_type(inst, 0) != TYPE_I64 || arg_type(inst, 1) != TYPE_I64 || inst->type != TYPE_I64) report(v, inst, "bounds and index must be i64");
  for (unsigned a = 2; a < inst->n_args; a++) if (!is_arithmetic(arg_type(inst, a))) report(v, inst, "a storage type cannot be carried");
  const Block *body = inst->body;
  const Inst *last = body && body->n ? body->insts[body->n - 1] : NULL;
  if (!last || last->op != KOP_E_YIELD) { report(v, inst, "the body must end in yield"); return; }
  if (last->n_args != inst->n_args - 2) report(v, inst, "carries %u values and yields %u", inst->n_args - 2, last->n_args);
  if (inst->binding >= BINDINGS) report(v, inst, "unknown binding");
  if (inst->binding == BIND_SEQ) return;
  if (inst->binding == BIND_VECTOR) {
    if (!inst->lanes || inst->lanes > KERNEL_MAX_LANES || (inst->lanes & (inst->lanes - 1))) report(v, inst, "lanes must be a power of 2 up to %d", KERNEL_MAX_LANES);
    if (!inst->unroll || inst->unroll > KERNEL_MAX_UNROLL) report(v, inst, "unroll must be 1 to %d", KERNEL_MAX_UNROLL);
  }
  if (inst->n_args > 2) report(v, inst, "a loop bound to %s carries nothing", binding_names[inst->binding]);
  if (!kop_runs_in(KOP_E_LOAD, v->kernel->launch)) report(v, inst, "a loop bound to %s needs data", binding_names[inst->binding]);
  if (inst->binding == BIND_BLOCK) {
    if (!only_contracts(body)) report(v, inst, "a loop bound to block holds products of tiles only");
    return;
  }
  for (unsigned i = 0; i < body->n; i++) {
    const Inst *in = body->insts[i];
    bool memory = in->op == KOP_E_LOAD || in->op == KOP_E_STORE || in->op == KOP_E_PREFETCH;
    if (memory && in->n_args && !place_follows(in->args[0], inst)) report(v, in, "a loop bound to vector may touch only the elements at its index");
    if (in->body || kop_is_tile(in->op) || in->op == KOP_E_SET_SCALAR || in->op == KOP_E_EXISTS || in->op == KOP_E_SET_UNIFORM) report(v, in, "not allowed in a loop bound to vector");
  }
}

static bool can_fold(ReduceKind kind, unsigned type) { return kind < REDUCE_ANY ? is_arithmetic(type) && type != TYPE_BOOL : type == TYPE_BOOL; }

static void check_fold(Verifier *v, const Inst *inst, const Inst *loop) {
  unsigned n = 0;
  if (!loop || loop->op != KOP_E_FOR) { report(v, inst, "stands in the body of a loop, and not deeper"); return; }
  if (inst->n_args < 1 || inst->n_args > 2) { report(v, inst, "takes a value and perhaps a guard"); return; }
  if (inst->n_args > 1 && arg_type(inst, 1) != TYPE_BOOL) report(v, inst, "the guard must be bool");
  if ((unsigned)inst->aux > REDUCE_EVERY || !can_fold((ReduceKind)inst->aux, (unsigned)arg_type(inst, 0))) report(v, inst, "sum, prod, max and min take numbers, any and every bool");
  for (unsigned i = 0; i < loop->body->n; i++) n += loop->body->insts[i]->op == KOP_E_FOLD;
  if (inst->imm < 0 || inst->imm >= n || loop_fold(loop, (unsigned)inst->imm) != inst) report(v, inst, "the folds of a loop are numbered from 0, each once");
}

static void check_folded(Verifier *v, const Inst *inst) {
  const Inst *loop = inst->args[0], *fold = loop->op == KOP_E_FOR && inst->imm >= 0 && inst->imm <= UINT32_MAX ? loop_fold(loop, (unsigned)inst->imm) : NULL;
  if (!fold) report(v, inst, "there is no such fold");
  else if (v->open[loop->id]) report(v, inst, "what a loop folds is known after it");
  else if (arg_type(fold, 0) != (Type)inst->type) report(v, inst, "the type is not that of the fold");
}

static void check_element(Verifier *v, const Inst *inst) {
  Type types[3] = {0};
  for (unsigned a = 0; a < inst->n_args && a < 3; a++) types[a] = arg_type(inst, a);
  if (!element_types_ok((Element)inst->op, (Type)inst->type, types)) report(v, inst, "the types do not fit");
}

static void check_buffer(Verifier *v, const Inst *inst) {
  const Program *p = v->program;
  const Module *m = p->module;
  uint64_t k = (uint64_t)inst->imm;
  bool memory = inst->op == KOP_E_LOAD || inst->op == KOP_E_STORE;
  if (inst->op == KOP_E_FRESH) {
    if (k < m->n_operands || k >= m->n_operands + p->n_temps || !p->temps[k - m->n_operands].local) report(v, inst, "only a local buffer is emptied");
    return;
  }
  if (k >= m->n_operands + (memory || inst->op == KOP_E_PREFETCH || inst->op == KOP_E_SET_COUNT ? p->n_temps : 0)) { report(v, inst, "there is no buffer %llu", (unsigned long long)k); return; }
  const Operand *o = k < m->n_operands ? &m->operands[k] : NULL;
  Launch launch = v->kernel->launch;
  if (inst->op == KOP_E_SET_COUNT || inst->op == KOP_E_SET_EXTENT) {
    bool of_call = o ? o->scope == SCOPE_GLOBAL : p->temps[k - m->n_operands].call;
    if (arg_type(inst, 0) != TYPE_I64) report(v, inst, "a size must be i64");
    if (o ? !o->shape || operand_is_shaped(o) : inst->op == KOP_E_SET_EXTENT || !p->temps[k - m->n_operands].sized) report(v, inst, "the buffer has its size from elsewhere");
    if (of_call != (launch == LAUNCH_CALL_SIZES)) report(v, inst, "sizes of an item's buffers are told in sizes kernels, of the call's in call_sizes kernels");
    return;
  }
  if (o && o->scope != SCOPE_GLOBAL && launch_is(launch, LAUNCHES_OF_CALL)) { report(v, inst, "'%s' belongs to an item, which this launch has not", o->name); return; }
  if (memory) {
    bool load = inst->op == KOP_E_LOAD;
    unsigned least = load ? 1 : 2;
    if (inst->n_args < least || inst->n_args > least + 1) { report(v, inst, "takes %u or %u arguments", least, least + 1); return; }
    if (o && !operand_is_tensor(o)) report(v, inst, "'%s' is not a tensor", o->name);
    if (!o && !p->temps[k - m->n_operands].local && p->temps[k - m->n_operands].call != !launch_is(launch, LAUNCHES_OF_DATA)) report(v, inst, "a temporary of the call is seen in its kernels, one of an item in the item's");
    if (!load && o && (o->scope == SCOPE_GLOBAL) != (launch == LAUNCH_FINISH)) report(v, inst, "global tensors are written in finish kernels, others in item kernels");
    if (arg_type(inst, 0) != TYPE_I64) report(v, inst, "the element index must be i64");
    if (inst->n_args > least && arg_type(inst, least) != TYPE_BOOL) report(v, inst, "the guard must be bool");
    if ((load ? inst->type : arg_type(inst, 1)) != program_buffer_type(p, (unsigned)k)) report(v, inst, "the type is not that of the buffer, %s", type_name(program_buffer_type(p, (unsigned)k)));
    if (!load && o && (o->role == ROLE_GRAD || o->role == ROLE_IN)) report(v, inst, "'%s' is only read", o->name);
    return;
  }
  if (inst->op == KOP_E_SCALAR || inst->op == KOP_E_SET_SCALAR) {
    bool set = inst->op == KOP_E_SET_SCALAR;
    if (operand_is_tensor(o)) { report(v, inst, "'%s' is a tensor", o->name); return; }
    if (!scalar_type_ok(o->storage, set ? (unsigned)arg_type(inst, 0) : inst->type)) report(v, inst, "the type does not fit '%s'", o->name);
    if (o->scope == SCOPE_SCALAR && !launch_is(launch, LAUNCHES_OF_ITEM)) report(v, inst, "'%s' belongs to an item, which this launch has not", o->name);
    if (set && (o->scope == SCOPE_GLOBAL) != (v->kernel->launch == LAUNCH_FINISH)) report(v, inst, "global scalars are set in finish kernels, item scalars in item kernels");
    if (set && (o->role == ROLE_GRAD || o->role == ROLE_IN)) report(v, inst, "'%s' is only read", o->name);
  }
  if (inst->op == KOP_E_PREFETCH && arg_type(inst, 0) != TYPE_I64) report(v, inst, "the element index must be i64");
  if (inst->op == KOP_E_SIZE && inst->type != TYPE_I64) report(v, inst, "must be i64");
  if (inst->op == KOP_E_PRESENT && inst->type != TYPE_BOOL) report(v, inst, "must be bool");
  if (inst->op == KOP_E_EXISTS && arg_type(inst, 0) != TYPE_BOOL) report(v, inst, "the argument must be bool");
}

/* Numbers are transposed in any type of theirs; what is multiplied has the type of the sums or, for sums in f32, 16 bits. */
static bool tile_types_ok(const Program *p, const Inst *inst, const Touch *touch) {
  Type to = program_buffer_type(p, touch[0].buffer), from = program_buffer_type(p, touch[1].buffer);
  bool wide = to == TYPE_F32 || to == TYPE_F64, narrow = from == TYPE_BF16 || from == TYPE_F16;
  if (!kop_contracts(inst->op)) return to == from && (wide || narrow);
  return wide && from == program_buffer_type(p, touch[2].buffer) && (from == to || (narrow && to == TYPE_F32));
}

/* The buffers, the written one not among those read; places, strides and extents, and whether to add. */
static void check_tile(Verifier *v, const Inst *inst) {
  const Program *p = v->program;
  unsigned operands = p->module->n_operands;
  Touch touch[MAX_TOUCHES];
  unsigned n = inst_touches(inst, touch);
  for (unsigned i = 0; i < n; i++) {
    unsigned k = touch[i].buffer;
    if (k >= operands + p->n_temps) { report(v, inst, "there is no buffer %u", k); return; }
    const Operand *o = k < operands ? &p->module->operands[k] : NULL;
    if (o ? !operand_is_tensor(o) : p->temps[k - operands].call) report(v, inst, "'%s' is not a tensor of the item", program_buffer_name(p, k));
    if (o && touch[i].written && (o->role == ROLE_GRAD || o->role == ROLE_IN || o->scope == SCOPE_GLOBAL)) report(v, inst, "'%s' is only read", o->name);
    if (o && (o->optional || o->role == ROLE_OUT) && touch[i].read && k != touch[0].buffer) report(v, inst, "'%s' may be absent", o->name);
    if (i && k == touch[0].buffer && kop_contracts(inst->op)) report(v, inst, "'%s' is read and written", program_buffer_name(p, k));
  }
  if (!tile_types_ok(p, inst, touch)) report(v, inst, "buffers must have one type, f32 or f64; panels for f32 may be bf16 or f16");
  for (unsigned a = 0; a < inst->n_args; a++)
    if (arg_type(inst, a) != (kop_contracts(inst->op) && a == 7 ? TYPE_BOOL : TYPE_I64)) report(v, inst, "argument %u must be %s", a, a == 7 ? "bool" : "i64");
}

static void check_inst(Verifier *v, const Inst *inst) {
  const Program *p = v->program;
  if (!kop_runs_in(inst->op, v->kernel->launch)) report(v, inst, "not allowed in a %s kernel", launch_name(v->kernel->launch));
  if (inst->op < ELEMENT_COUNT) { check_element(v, inst); return; }
  switch ((KOp)inst->op) {
    case KOP_E_CONST:
      if (!is_arithmetic(inst->type)) report(v, inst, "a constant has an arithmetic type");
      else if (type_bits(inst->type) < 64 && (uint64_t)inst->imm >> (inst->type == TYPE_BOOL ? 1 : type_bits(inst->type))) report(v, inst, "the bits do not fit the type");
      return;
    case KOP_E_HYPER:
      if ((uint64_t)inst->imm >= p->module->n_hypers) report(v, inst, "there is no such hyper-parameter");
      else if (p->module->hypers[inst->imm].type != (Type)inst->type) report(v, inst, "the type is not that of '%s'", p->module->hypers[inst->imm].name);
      return;
    case KOP_E_TILE: case KOP_E_TILE_FAST: case KOP_E_TILE_TRANSPOSE: case KOP_E_TILE_COPY: check_tile(v, inst); return;
    case KOP_E_STEP: case KOP_E_SEED: case KOP_E_ITEM: case KOP_E_COUNT: case KOP_E_BEGIN: case KOP_E_END: case KOP_E_FIRST: case KOP_E_TILE_ROWS: case KOP_E_TILE_COLUMNS:
      if (inst->type != TYPE_I64) report(v, inst, "must be i64");
      return;
    case KOP_E_UNIFORM: case KOP_E_SET_UNIFORM:
      if ((uint64_t)inst->imm >= p->n_uniforms) report(v, inst, "there is no such slot");
      if (!is_arithmetic(inst->op == KOP_E_UNIFORM ? inst->type : (unsigned)arg_type(inst, 0))) report(v, inst, "a slot holds an arithmetic type");
      return;
    case KOP_E_SET_SLOT: case KOP_E_SLOT: case KOP_E_SET_TOTAL: case KOP_E_TOTAL: {
      bool gives = kop_has_result(inst->op);
      unsigned type = gives ? inst->type : (unsigned)arg_type(inst, 0);
      if ((uint64_t)inst->imm >= p->n_slots) report(v, inst, "there is no such slot");
      if (type != TYPE_F64 && type != TYPE_I64 && type != TYPE_BOOL) report(v, inst, "a slot holds f64, i64 or bool");
      if (inst->op == KOP_E_SLOT && arg_type(inst, 0) != TYPE_I64) report(v, inst, "the position must be i64");
      return;
    }
    case KOP_E_TRIP:
      if (inst->type != TYPE_I64) report(v, inst, "must be i64");
      if ((uint64_t)inst->imm >= OPTC_MAX_REPEATS) report(v, inst, "repeats are not nested that deep");
      return;
    case KOP_E_SET_SPACE:
      if ((uint64_t)inst->imm >= p->n_spaces) report(v, inst, "there is no such launch space");
      if (arg_type(inst, 0) != TYPE_I64 || arg_type(inst, 1) != TYPE_I64) report(v, inst, "positions must be i64");
      return;
    case KOP_E_SKIP: if (arg_type(inst, 0) != TYPE_BOOL) report(v, inst, "the argument must be bool"); return;
    case KOP_E_ITEMS: if (inst->type != TYPE_I64) report(v, inst, "must be i64"); return;
    case KOP_E_SET_COUNT: case KOP_E_SET_EXTENT:
    case KOP_E_SIZE: case KOP_E_PRESENT: case KOP_E_SCALAR: case KOP_E_SET_SCALAR: case KOP_E_LOAD: case KOP_E_STORE: case KOP_E_PREFETCH: case KOP_E_FRESH: case KOP_E_EXISTS:
      check_buffer(v, inst);
      return;
    case KOP_E_FOR: check_for(v, inst); return;
    case KOP_E_CARRIED:
      if (inst->args[0]->op != KOP_E_FOR) report(v, inst, "the argument is not a loop");
      else if ((uint64_t)inst->imm + 2 >= inst->args[0]->n_args) report(v, inst, "the loop carries fewer values");
      else if (arg_type(inst->args[0], (unsigned)inst->imm + 2) != (Type)inst->type) report(v, inst, "the type is not that of the carried value");
      return;
    case KOP_E_FOLDED: check_folded(v, inst); return;
    case KOP_E_IF:
      if (arg_type(inst, 0) != TYPE_BOOL) report(v, inst, "the condition must be bool");
      return;
    case KOP_E_REQUIRE:
      if ((uint64_t)inst->imm >= p->n_texts) report(v, inst, "there is no such text");
      else if (p->about[inst->imm] >= (int64_t)p->module->n_operands) report(v, inst, "its text is about no operand");
      if (inst->n_args < 1 || inst->n_args > 5 || arg_type(inst, 0) != TYPE_BOOL) { report(v, inst, "takes a bool and up to four numbers"); return; }
      for (unsigned a = 1; a < inst->n_args; a++) if (arg_type(inst, a) != TYPE_F64) report(v, inst, "the numbers must be f64");
      return;
    default: return;
  }
}

static void check_block(Verifier *v, const Block *block, const Inst *loop);

static bool check_args(Verifier *v, const Inst *inst) {
  int arity = kop_arity(inst->op);
  if (arity >= 0 && (unsigned)arity != inst->n_args) { report(v, inst, "takes %d arguments, %u are given", arity, inst->n_args); return false; }
  for (unsigned a = 0; a < inst->n_args; a++) {
    const Inst *arg = inst->args[a];
    if (!arg || arg->id >= v->kernel->n_insts || v->visible[arg->id] != arg) { report(v, inst, "argument %u is not defined before its use", a); return false; }
    if (!kop_has_result(arg->op)) { report(v, inst, "argument %u has no value", a); return false; }
    if (arg->op == KOP_E_FOR && inst->op != KOP_E_CARRIED && inst->op != KOP_E_FOLDED && !v->open[arg->id]) { report(v, inst, "the index %%%u is seen in its loop only", arg->id); return false; }
  }
  return true;
}

static void check_block(Verifier *v, const Block *block, const Inst *loop) {
  if (v->depth >= KERNEL_MAX_DEPTH) { report(v, loop, "blocks are nested too deeply"); return; }
  v->depth++;
  for (unsigned i = 0; i < block->n && v->good; i++) {
    Inst *inst = block->insts[i];
    if (inst->op >= KOP_COUNT || inst->type >= TYPE_COUNT) { report(v, NULL, "an instruction has no meaning"); break; }
    if (inst->id != v->next++ || inst->id >= v->kernel->n_insts) { report(v, inst, "the numbers are not dense in order of print"); break; }
    bool nests = inst->op == KOP_E_FOR || inst->op == KOP_E_IF;
    if (nests != (inst->body != NULL) || (inst->otherwise && inst->op != KOP_E_IF)) { report(v, inst, "blocks belong to loops and conditions, and only there"); break; }
    if (!check_args(v, inst)) break;
    if (inst->op == KOP_E_YIELD && (i + 1 != block->n || !loop || loop->op != KOP_E_FOR)) report(v, inst, "yield ends the body of a loop, and stands nowhere else");
    if (inst->op == KOP_E_YIELD && loop)
      for (unsigned a = 0; a < inst->n_args && a + 2 < loop->n_args; a++)
        if (inst->args[a]->type != loop->args[a + 2]->type) report(v, inst, "value %u has another type than the loop carries", a);
    if (inst->op == KOP_E_FOLD) check_fold(v, inst, loop);
    check_inst(v, inst);
    if (kop_has_result(inst->op)) v->visible[inst->id] = inst;
    v->open[inst->id] = true;
    if (inst->body) check_block(v, inst->body, inst);
    if (inst->otherwise) check_block(v, inst->otherwise, inst);
    v->open[inst->id] = false;
  }
  for (unsigned i = 0; i < block->n; i++) if (block->insts[i]->id < v->kernel->n_insts) v->visible[block->insts[i]->id] = NULL;
  v->depth--;
}

/* Repeats and their ends pair up, with nothing inside that is done once a call. */
static void check_repeats(Verifier *v) {
  unsigned depth = 0;
  for (unsigned k = 0; k < v->program->n_kernels && v->good; k++) {
    v->kernel = v->program->kernels[k];
    Launch launch = v->kernel->launch;
    if (launch == LAUNCH_REPEAT && depth++ == OPTC_MAX_REPEATS) report(v, NULL, "repeats are nested deeper than %d", OPTC_MAX_REPEATS);
    if (launch == LAUNCH_END && !depth--) report(v, NULL, "there is no repeat that could end");
    if (depth && (launch == LAUNCH_TOTAL || launch == LAUNCH_FINISH)) report(v, NULL, "not allowed in a repeat");
  }
  if (v->good && depth) report(v, NULL, "a repeat has no end");
}

bool program_verify(const Program *p, Diag *diag) {
  Verifier v = {.program = p, .diag = diag, .good = true};
  if (!p->entry || !p->module) { report(&v, NULL, "has no module"); return false; }
  if (p->module->n_hypers < 64 && p->equal_hypers >> p->module->n_hypers) report(&v, NULL, "equal_hypers names a hyper-parameter that is not there");
  for (unsigned k = 0; k < p->n_kernels && v.good; k++) {
    v.kernel = p->kernels[k];
    v.next = 0;
    v.visible = arena_array(p->arena, v.kernel->n_insts + 1, sizeof(Inst *));
    v.open = arena_array(p->arena, v.kernel->n_insts + 1, sizeof(bool));
    if (launch_has_space(v.kernel->launch) && v.kernel->space >= p->n_spaces) report(&v, NULL, "there is no such launch space");
    if ((v.kernel->launch == LAUNCH_REPEAT || v.kernel->launch == LAUNCH_END) && v.kernel->body->n) report(&v, NULL, "a repeat and its end hold nothing");
    check_block(&v, v.kernel->body, NULL);
    if (v.good && v.next != v.kernel->n_insts) report(&v, NULL, "has %u instructions, says %u", v.next, v.kernel->n_insts);
  }
  for (unsigned k = 0; k < p->n_temps; k++) {
    const Buffer *b = &p->temps[k];
    if (b->local && (b->sized || b->call || b->partial || b->local > KERNEL_MAX_LOCAL)) report(&v, NULL, "'%s' is local: it has a fixed number of elements, at most %d", b->name, KERNEL_MAX_LOCAL);
  }
  if (v.good) check_repeats(&v);
  return v.good;
}
