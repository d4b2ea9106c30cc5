/* kernel.c: building the kernel form: programs, kernels, blocks, instructions. */
#include "ir/kernel.h"
#include <string.h>
#include "ir/kernel_text.h"

/* Launches. */
enum { IN_CHECK = 1 << LAUNCH_CHECK, IN_GROUP = 1 << LAUNCH_GROUP, IN_ITEM = 1 << LAUNCH_ITEM, IN_CHUNK = 1 << LAUNCH_CHUNK, IN_FINISH = 1 << LAUNCH_FINISH,
       IN_SIZES = 1 << LAUNCH_SIZES, IN_CALL_SIZES = 1 << LAUNCH_CALL_SIZES, IN_TOTAL = 1 << LAUNCH_TOTAL, IN_TILE = 1 << LAUNCH_TILE,
       IN_ALL = (1 << LAUNCH_COUNT) - 1, IN_DATA = IN_ITEM | IN_CHUNK | IN_TILE, OF_ITEM = IN_DATA | IN_CHECK | IN_SIZES, OF_CALL = IN_FINISH | IN_TOTAL | IN_CALL_SIZES };

static const struct { const char *name; int8_t arity; bool has_result; uint8_t attr, properties; uint16_t launches; } kops[KOP_COUNT] = {
#define ELEMENT(id, name, arity, ...) [KOP_##id] = {name, arity, true, KATTR_NONE, 0, IN_ALL},
#include "ir/element.def"
#undef ELEMENT
#define KERNELOP(id, name, arity, result, attr, launches, properties) [KOP_E_##id] = {name, arity, result, KATTR_##attr, properties, launches},
#include "ir/kernel.def"
#undef KERNELOP
};
_Static_assert(LAUNCH_COUNT <= 16, "a set of launches fits its column");

const char *const binding_names[BINDINGS] = {"seq", "vector", "block"};

const char *kop_name(KOp op) { return (unsigned)op < KOP_COUNT ? kops[op].name : "?"; }
bool kop_has_result(KOp op) { return (unsigned)op < KOP_COUNT && kops[op].has_result; }
bool kop_is(unsigned op, unsigned properties) { return kops[op].properties & properties; }
KAttr kop_attr(KOp op) { return kops[op].attr; }
bool kop_runs_in(KOp op, Launch launch) { return kops[op].launches >> launch & 1; }
bool launch_is(Launch launch, LaunchSet set) {
  static const unsigned sets[] = {[LAUNCHES_OF_ITEM] = OF_ITEM, [LAUNCHES_OF_CALL] = OF_CALL, [LAUNCHES_OF_DATA] = IN_DATA};
  return sets[set] >> launch & 1;
}
int kop_arity(KOp op) { return kops[op].arity; }

bool kop_parse(const char *text, size_t length, KOp *op) {
  for (unsigned k = 0; k < KOP_COUNT; k++)
    if (strlen(kops[k].name) == length && !memcmp(kops[k].name, text, length)) { *op = (KOp)k; return true; }
  return false;
}

const char *launch_name(Launch launch) {
  static const char *const names[LAUNCH_COUNT] = {"check", "group", "item", "chunk", "finish", "sizes", "call_sizes", "total", "tile", "repeat", "end"};
  return (unsigned)launch < LAUNCH_COUNT ? names[launch] : "?";
}

bool launch_has_space(Launch launch) { return launch == LAUNCH_TILE || launch == LAUNCH_REPEAT; }

Program *program_new(const Module *module, Arena *arena, const char *entry) {
  Program *p = arena_alloc(arena, sizeof *p);
  p->module = module;
  p->arena = arena;
  p->entry = entry;
  return p;
}

/* Lists of a program grow by one at a time; they are short, so each growth copies. */
static void *one_more(Arena *arena, const void *old, unsigned n, size_t size) {
  char *list = arena_array(arena, (size_t)n + 1, size);
  if (n) memcpy(list, old, n * size);
  return list;
}

Kernel *program_kernel(Program *p, const char *name, Launch launch) {
  Kernel *k = arena_alloc(p->arena, sizeof *k);
  k->name = name;
  k->launch = launch;
  k->body = block_new(p->arena);
  p->kernels = one_more(p->arena, p->kernels, p->n_kernels, sizeof *p->kernels);
  p->kernels[p->n_kernels++] = k;
  return k;
}

unsigned program_temp(Program *p, const char *name, Type type) {
  p->temps = one_more(p->arena, p->temps, p->n_temps, sizeof *p->temps);
  p->temps[p->n_temps] = (Buffer){.name = name, .type = type};
  return p->module->n_operands + p->n_temps++;
}

unsigned program_local(Program *p, const char *name, Type type, unsigned elements) {
  unsigned buffer = program_temp(p, name, type);
  p->temps[p->n_temps - 1].local = elements;
  return buffer;
}

unsigned program_text(Program *p, const char *text, int64_t about) {
  p->texts = one_more(p->arena, p->texts, p->n_texts, sizeof *p->texts);
  p->about = one_more(p->arena, p->about, p->n_texts, sizeof *p->about);
  p->texts[p->n_texts] = text;
  p->about[p->n_texts] = about;
  return p->n_texts++;
}

Type program_buffer_type(const Program *p, unsigned buffer) {
  unsigned n = p->module->n_operands;
  return buffer < n ? p->module->operands[buffer].storage : p->temps[buffer - n].type;
}

const char *program_buffer_name(const Program *p, unsigned buffer) {
  unsigned n = p->module->n_operands;
  if (buffer < n) return p->module->operands[buffer].name;
  return buffer - n < p->n_temps ? p->temps[buffer - n].name : "?";
}

unsigned inst_touches(const Inst *inst, Touch *touch) {
  unsigned first = (unsigned)inst->imm, second = (uint32_t)inst->aux & 0xffff, third = (uint32_t)inst->aux >> 16;
  switch ((KOp)inst->op) {
    case KOP_E_LOAD: touch[0] = (Touch){first, true, false}; return 1;
    case KOP_E_STORE: touch[0] = (Touch){first, false, true}; return 1;
    case KOP_E_PREFETCH: case KOP_E_FRESH: touch[0] = (Touch){first, false, false}; return 1;
    case KOP_E_TILE: case KOP_E_TILE_FAST:
      touch[0] = (Touch){first & 0xffff, true, true}; touch[1] = (Touch){second, true, false}; touch[2] = (Touch){third, true, false}; touch[3] = (Touch){first >> 16, false, false};
      return 4;
    case KOP_E_TILE_TRANSPOSE: case KOP_E_TILE_COPY: touch[0] = (Touch){first, false, true}; touch[1] = (Touch){second, true, false}; return 2;
    default: return 0;
  }
}

void inst_set_buffer(Inst *inst, unsigned which, unsigned buffer) {
  uint32_t aux = (uint32_t)inst->aux, imm = (uint32_t)inst->imm;
  if (kop_contracts(inst->op) && !(which % 3)) inst->imm = which ? (imm & 0xffff) | buffer << 16 : (imm & 0xffff0000) | buffer;
  else if (!which) inst->imm = buffer;
  else inst->aux = (int32_t)(which == 1 ? (aux & 0xffff0000) | buffer : (aux & 0xffff) | buffer << 16);
}

static bool is_in(const Block *block, const Inst *inst) {
  for (unsigned i = 0; i < block->n; i++) if (block->insts[i] == inst) return true;
  return false;
}

static bool is_fixed(const Inst *x, const Inst *loop) {
  if (x == loop) return false;
  if (!is_in(loop->body, x)) return true;
  for (unsigned a = 0; a < x->n_args; a++) if (!is_fixed(x->args[a], loop)) return false;
  return x->op < ELEMENT_COUNT || x->op == KOP_E_CONST;
}

bool place_follows(const Inst *at, const Inst *loop) {
  if (at == loop || (at->op != KOP_ADD && at->op != KOP_SUB)) return at == loop;
  if (place_follows(at->args[0], loop)) return is_fixed(at->args[1], loop);
  return at->op == KOP_ADD && place_follows(at->args[1], loop) && is_fixed(at->args[0], loop);
}

Block *block_new(Arena *arena) { return arena_alloc(arena, sizeof(Block)); }

void block_push(Arena *arena, Block *block, Inst *inst) {
  block->insts = arena_grow(arena, block->insts, &block->capacity, (size_t)block->n + 1, sizeof *block->insts);
  block->insts[block->n++] = inst;
}

Inst *block_add(Arena *arena, Block *block, KOp op, Type type, int64_t imm, unsigned n_args, Inst *const *args) {
  Inst *inst = arena_alloc(arena, sizeof *inst);
  inst->op = (uint16_t)op;
  inst->type = (uint8_t)type;
  inst->imm = imm;
  inst->n_args = n_args;
  if (n_args) {
    inst->args = arena_array(arena, n_args, sizeof *inst->args);
    memcpy(inst->args, args, n_args * sizeof *args);
  }
  block_push(arena, block, inst);
  return inst;
}

Inst *loop_fold(const Inst *loop, unsigned which) {
  for (unsigned i = 0; i < loop->body->n; i++)
    if (loop->body->insts[i]->op == KOP_E_FOLD && loop->body->insts[i]->imm == which) return loop->body->insts[i];
  return NULL;
}

bool loop_folds(const Inst *loop) { return loop_fold(loop, 0) != NULL; }

static unsigned number_block(Block *block, unsigned next) {
  for (unsigned i = 0; i < block->n; i++) {
    Inst *inst = block->insts[i];
    inst->id = next++;
    if (inst->body) next = number_block(inst->body, next);
    if (inst->otherwise) next = number_block(inst->otherwise, next);
  }
  return next;
}

void kernel_number(Kernel *k) { k->n_insts = number_block(k->body, 0); }

bool inst_same_binding(const Inst *a, const Inst *b) { return a->binding == b->binding && a->lanes == b->lanes && a->unroll == b->unroll; }

void inst_take_binding(Inst *inst, const Inst *from) {
  inst->binding = from->binding;
  inst->lanes = from->lanes;
  inst->unroll = from->unroll;
}

bool inst_same(const Inst *a, const Inst *b) {
  return a->op == b->op && a->type == b->type && a->imm == b->imm && a->aux == b->aux && a->n_args == b->n_args && inst_same_binding(a, b);
}

static Block *block_clone(Arena *arena, const Block *from, Inst **map) {
  Block *to = block_new(arena);
  for (unsigned i = 0; i < from->n; i++) inst_clone(arena, to, from->insts[i], map);
  return to;
}

Inst *inst_clone(Arena *arena, Block *into, const Inst *old, Inst **map) {
  Inst *inst = block_add(arena, into, old->op, old->type, old->imm, old->n_args, old->args);
  inst_take_binding(inst, old);
  inst->aux = old->aux;
  inst->id = old->id;
  for (unsigned a = 0; a < inst->n_args; a++) if (map[inst->args[a]->id]) inst->args[a] = map[inst->args[a]->id];
  map[old->id] = inst;
  if (old->body) inst->body = block_clone(arena, old->body, map);
  if (old->otherwise) inst->otherwise = block_clone(arena, old->otherwise, map);
  return inst;
}
