/* kernel_simplify.c: one walk over a kernel that merges equal instructions, folds constants and known conditions, and drops what they decide. Exact. */
#include "passes/kernel_edit.h"

bool inst_is_pure(const Inst *inst) {
  if (kop_is(inst->op, KPROP_EFFECT) || inst->op == KOP_E_LOAD || inst->op == KOP_E_IF) return false;
  for (unsigned i = 0; inst->body && i < inst->body->n; i++) if (!inst_is_pure(inst->body->insts[i])) return false;
  return true;                           /* YIELD and FOLD belong to their loop */
}

static bool is_access(const Inst *inst) { return inst->op == KOP_E_LOAD || inst->op == KOP_E_STORE; }       /* a prefetch has no effect and goes anywhere */

/* What an iteration stores no other one touches: all accesses to a buffer that is written are at one place. */
static bool meets_no_other(const Block *block, const Inst *store) {
  for (unsigned i = 0; i < block->n; i++)
    if (is_access(block->insts[i]) && block->insts[i]->imm == store->imm && block->insts[i]->args[0] != store->args[0]) return false;
  return true;
}

bool loop_is_data_parallel(const Inst *loop) {
  if (loop->op != KOP_E_FOR || loop->n_args != 2) return false;
  for (unsigned i = 0; i < loop->body->n; i++) {
    const Inst *inst = loop->body->insts[i];
    if (is_access(inst) ? !place_follows(inst->args[0], loop) : !inst_is_pure(inst)) return false;
    if (inst->op == KOP_E_STORE && !meets_no_other(loop->body, inst)) return false;
  }
  return true;
}

bool loop_is_elementwise(const Inst *loop) {
  if (loop->op != KOP_E_FOR || loop->n_args != 2) return false;
  for (unsigned i = 0; i < loop->body->n; i++) {
    const Inst *inst = loop->body->insts[i];
    if (is_access(inst) ? inst->args[0] != loop : !inst_is_pure(inst)) return false;
  }
  return true;
}
bool loop_is_pointwise(const Inst *loop) { return loop_is_elementwise(loop) && !loop_folds(loop); }
bool loop_covers_launch(const Inst *loop) { return loop->args[0]->op == KOP_E_BEGIN && loop->args[1]->op == KOP_E_END; }

bool block_has(const Block *block, KOp op) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    if (inst->op == op || block_has(inst->body, op) || block_has(inst->otherwise, op)) return true;
  }
  return false;
}

bool block_uses(const Block *block, const Inst *value) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    for (unsigned a = 0; a < inst->n_args; a++) if (inst->args[a] == value) return true;
    if (block_uses(inst->body, value) || block_uses(inst->otherwise, value)) return true;
  }
  return false;
}

/* --- state of the walk ---------------------------------------------------------------------------------------------------- */

typedef struct Entry { Inst *inst; uint64_t epoch; struct Entry *next; unsigned bucket; } Entry;
typedef struct Fact { const Inst *inst; bool value; } Fact;
enum { TRUTH_DEPTH = 16 };

typedef struct Simplifier {
  Program *program;
  Arena *arena;
  Inst **stands_for;                     /* by id: what replaces the instruction */
  Entry **table; unsigned mask;          /* buckets: a power of two */
  Entry **added; size_t n_added, added_capacity;           /* in order, so that a block's entries can be taken back */
  Fact *facts; size_t n_facts, facts_capacity;             /* conditions known where the walk is */
  uint64_t *stored;                      /* by buffer: how many stores so far */
  uint64_t barrier;                      /* how many block borders so far */
  bool sets_scalars;
} Simplifier;

/* 1, 0, or -1: not known here. */
static int truth(const Simplifier *s, const Inst *c, unsigned depth) {
  if (c->op == KOP_E_CONST) return c->imm != 0;
  for (size_t k = s->n_facts; k-- > 0;) if (s->facts[k].inst == c) return s->facts[k].value;
  if (!depth || c->type != TYPE_BOOL) return -1;
  if (c->op == KOP_NOT) {
    int t = truth(s, c->args[0], depth - 1);
    return t < 0 ? -1 : !t;
  }
  if (c->op != KOP_AND && c->op != KOP_OR) return -1;
  int a = truth(s, c->args[0], depth - 1), b = truth(s, c->args[1], depth - 1), decides = c->op == KOP_OR;
  if (a == decides || b == decides) return decides;
  return a < 0 || b < 0 ? -1 : !decides;
}

static void assume(Simplifier *s, const Inst *c, bool value, unsigned depth) {
  s->facts = arena_grow(s->arena, s->facts, &s->facts_capacity, s->n_facts + 1, sizeof *s->facts);
  s->facts[s->n_facts++] = (Fact){c, value};
  if (!depth) return;
  if (c->op == KOP_NOT) assume(s, c->args[0], !value, depth - 1);
  if ((c->op == KOP_AND && value) || (c->op == KOP_OR && !value)) {
    assume(s, c->args[0], value, depth - 1);
    assume(s, c->args[1], value, depth - 1);
  }
}

static unsigned bucket_of(const Simplifier *s, const Inst *inst, uint64_t epoch) {
  uint64_t h = inst->op * 31u + inst->type;
  h = h * 0x9e3779b97f4a7c15u + (uint64_t)inst->imm;
  h = h * 0x9e3779b97f4a7c15u + (uint32_t)inst->aux + epoch;
  for (unsigned a = 0; a < inst->n_args; a++) h = h * 0x9e3779b97f4a7c15u + inst->args[a]->id;
  return (unsigned)(h * 0x9e3779b97f4a7c15u >> 32) & s->mask;               /* the last argument must reach the upper half too */
}

static bool same_blocks(const Block *, const Block *, const Inst **pair);

/* Equal but for arguments, and those that are the same or, inside a loop, its counterparts. */
static bool same_inst(const Inst *a, const Inst *b, const Inst **pair) {
  if (!inst_same(a, b)) return false;
  for (unsigned k = 0; k < a->n_args; k++)
    if (a->args[k] != b->args[k] && (!pair || pair[b->args[k]->id] != a->args[k])) return false;
  if (!a->body) return true;
  if (!pair) return false;
  pair[b->id] = a;
  return same_blocks(a->body, b->body, pair);
}

static bool same_blocks(const Block *a, const Block *b, const Inst **pair) {
  if (a->n != b->n) return false;
  for (unsigned i = 0; i < a->n; i++) {
    if (!same_inst(a->insts[i], b->insts[i], pair)) return false;
    pair[b->insts[i]->id] = a->insts[i];
  }
  return true;
}

/* The earlier instruction that has this one's value, or NULL after noting this one. */
static Inst *find_equal(Simplifier *s, Inst *inst, uint64_t epoch, size_t n_ids) {
  unsigned bucket = bucket_of(s, inst, epoch);
  for (Entry *e = s->table[bucket]; e; e = e->next) {
    if (e->epoch != epoch) continue;
    const Inst **pair = inst->body ? arena_array(s->arena, n_ids, sizeof *pair) : NULL;
    if (same_inst(e->inst, inst, pair)) return e->inst;
  }
  Entry *e = arena_alloc(s->arena, sizeof *e);
  *e = (Entry){inst, epoch, s->table[bucket], bucket};
  s->table[bucket] = e;
  s->added = arena_grow(s->arena, s->added, &s->added_capacity, s->n_added + 1, sizeof *s->added);
  s->added[s->n_added++] = e;
  return NULL;
}

/* --- rules ------------------------------------------------------------------------------------------------------------------ */

static void become_constant(Inst *inst, Bits bits) {
  inst->op = KOP_E_CONST;
  inst->imm = (int64_t)bits;
  inst->n_args = 0;
}

static bool fold_constants(Inst *inst) {
  Bits x[3] = {0};
  const Inst *stored = inst->op == KOP_CAST && type_is_storage((Type)inst->args[0]->type) ? inst->args[0] : NULL;
  if (stored && stored->op == KOP_CAST && stored->args[0]->op == KOP_E_CONST) {          /* a constant that passes through a storage type */
    x[0] = (Bits)stored->args[0]->imm;
    x[0] = element_eval(ELEMENT_CAST, (Type)stored->type, (Type)stored->args[0]->type, x);
    if (type_is_storage((Type)inst->type)) return false;
    become_constant(inst, element_eval(ELEMENT_CAST, (Type)inst->type, (Type)stored->type, x));
    return true;
  }
  if (inst->op >= ELEMENT_COUNT || type_is_storage((Type)inst->type) || !inst->n_args || inst->n_args > 3) return false;
  for (unsigned a = 0; a < inst->n_args; a++) {
    if (inst->args[a]->op != KOP_E_CONST) return false;
    x[a] = (Bits)inst->args[a]->imm;
  }
  become_constant(inst, element_eval((Element)inst->op, (Type)inst->type, (Type)inst->args[inst->n_args - 1]->type, x));
  return true;
}

/* What the instruction is worth without computing it, or NULL. May turn it into a constant in place. */
static Inst *simpler(Simplifier *s, Inst *inst) {
  Inst **x = inst->args;
  if (fold_constants(inst)) return NULL;
  if (inst->op == KOP_SELECT) {
    int c = truth(s, x[0], TRUTH_DEPTH);
    if (c >= 0) return c ? x[1] : x[2];
    return x[1] == x[2] ? x[1] : NULL;
  }
  if (inst->type != TYPE_BOOL) return NULL;
  if (inst->op == KOP_NOT) {
    int c = truth(s, x[0], TRUTH_DEPTH);
    if (c >= 0) { become_constant(inst, !c); return NULL; }
    return x[0]->op == KOP_NOT ? x[0]->args[0] : NULL;
  }
  if (inst->op == KOP_AND || inst->op == KOP_OR) {
    int a = truth(s, x[0], TRUTH_DEPTH), b = truth(s, x[1], TRUTH_DEPTH), decides = inst->op == KOP_OR;
    if (a == decides || b == decides) { become_constant(inst, (Bits)decides); return NULL; }
    if (a >= 0) return x[1];             /* the neutral value; both known has decided or is two neutral ones */
    if (b >= 0) return x[0];
    return x[0] == x[1] ? x[0] : NULL;
  }
  return NULL;
}

static void fold_guard(Simplifier *s, Inst *inst, unsigned guard, bool *never) {
  if (inst->n_args <= guard) return;
  int c = truth(s, inst->args[guard], TRUTH_DEPTH);
  if (c == 1) inst->n_args = guard;
  *never = c == 0;
}

static uint64_t load_epoch(const Simplifier *s, const Inst *inst) { return s->barrier << 32 | s->stored[inst->imm]; }

static bool may_merge(const Simplifier *s, const Inst *inst) {
  if (inst->op == KOP_E_YIELD || inst->op == KOP_E_FOLD || inst->op == KOP_E_IF) return false;
  if (inst->op == KOP_E_SCALAR) return !s->sets_scalars;
  return inst_is_pure(inst);
}

/* --- walk --------------------------------------------------------------------------------------------------------------------- */

static void walk(Simplifier *, Block *, Block *to, size_t n_ids);

static Block *walk_inside(Simplifier *s, Block *block, size_t n_ids) {
  Block *to = block_new(s->arena);
  size_t added = s->n_added;
  s->barrier++;
  walk(s, block, to, n_ids);
  s->barrier++;
  while (s->n_added > added) {
    const Entry *e = s->added[--s->n_added];
    s->table[e->bucket] = e->next;
  }
  return to;
}

static void walk_if(Simplifier *s, Inst *inst, Block *to, size_t n_ids) {
  int c = truth(s, inst->args[0], TRUTH_DEPTH);
  if (c >= 0) {                          /* decided: what is left stands here itself */
    Block *taken = c ? inst->body : inst->otherwise;
    s->barrier++;
    if (taken) walk(s, taken, to, n_ids);
    s->barrier++;
    return;
  }
  size_t facts = s->n_facts;
  assume(s, inst->args[0], true, TRUTH_DEPTH);
  inst->body = walk_inside(s, inst->body, n_ids);
  s->n_facts = facts;
  if (inst->otherwise) {
    assume(s, inst->args[0], false, TRUTH_DEPTH);
    inst->otherwise = walk_inside(s, inst->otherwise, n_ids);
    s->n_facts = facts;
  }
  block_push(s->arena, to, inst);
}

/* A zero of any type: storage types have no constants, so theirs is a CAST. */
static Inst *zero_load(Simplifier *s, Block *to, Inst *inst, size_t n_ids) {
  if (!type_is_storage((Type)inst->type)) { become_constant(inst, 0); return inst; }
  Inst *zero = block_add(s->arena, to, KOP_E_CONST, type_kind(inst->type) == KIND_FLOAT ? TYPE_F32 : TYPE_I64, 0, 0, NULL);
  zero->id = (unsigned)n_ids - 1;        /* the one number that no instruction of the walk has */
  inst->op = KOP_CAST;
  inst->imm = 0;
  inst->n_args = 1;
  inst->args[0] = zero;
  return inst;
}

static void walk_inst(Simplifier *s, Inst *inst, Block *to, size_t n_ids) {
  bool never = false;
  for (unsigned a = 0; a < inst->n_args; a++) if (s->stands_for[inst->args[a]->id]) inst->args[a] = s->stands_for[inst->args[a]->id];
  Inst *other = NULL;
  switch ((KOp)inst->op) {
    case KOP_E_IF: walk_if(s, inst, to, n_ids); return;
    case KOP_E_LOAD:
      fold_guard(s, inst, 1, &never);
      if (never) { block_push(s->arena, to, zero_load(s, to, inst, n_ids)); return; }
      other = find_equal(s, inst, load_epoch(s, inst), n_ids);
      break;
    case KOP_E_STORE:
      fold_guard(s, inst, 2, &never);
      if (never) return;
      if (inst->n_args > 2 && inst->args[1]->op == KOP_SELECT && inst->args[1]->args[0] == inst->args[2]) inst->args[1] = inst->args[1]->args[1];
      s->stored[inst->imm]++;
      break;
    case KOP_E_TILE: case KOP_E_TILE_FAST: case KOP_E_TILE_TRANSPOSE: case KOP_E_TILE_COPY: {
      Touch touch[MAX_TOUCHES];
      inst_touches(inst, touch);
      s->stored[touch->buffer]++;
      break;
    }
    case KOP_E_FOLD:
      fold_guard(s, inst, 1, &never);    /* never: the loop still has this fold, of nothing */
      if (inst->n_args > 1 && inst->args[0]->op == KOP_SELECT && inst->args[0]->args[0] == inst->args[1]) inst->args[0] = inst->args[0]->args[1];
      break;
    case KOP_E_FOR:
      inst->body = walk_inside(s, inst->body, n_ids);
      if (inst_is_pure(inst)) other = find_equal(s, inst, 0, n_ids);
      break;
    default:
      other = simpler(s, inst);
      if (!other && may_merge(s, inst)) other = find_equal(s, inst, 0, n_ids);
      break;
  }
  if (other) s->stands_for[inst->id] = other;
  else block_push(s->arena, to, inst);
}

static void walk(Simplifier *s, Block *block, Block *to, size_t n_ids) {
  for (unsigned i = 0; i < block->n; i++) walk_inst(s, block->insts[i], to, n_ids);
}

void kernel_simplify(Program *p, Kernel *k) {
  kernel_number(k);
  Simplifier s = {.program = p, .arena = p->arena};
  size_t n_ids = (size_t)k->n_insts + 1;
  for (s.mask = 63; s.mask < n_ids; ) s.mask = s.mask * 2 + 1;
  s.table = arena_array(p->arena, (size_t)s.mask + 1, sizeof(Entry *));
  s.stands_for = arena_array(p->arena, n_ids, sizeof *s.stands_for);
  s.stored = arena_array(p->arena, (size_t)p->module->n_operands + p->n_temps + 1, sizeof *s.stored);
  s.sets_scalars = block_has(k->body, KOP_E_SET_SCALAR);
  Block *to = block_new(p->arena);
  walk(&s, k->body, to, n_ids);
  k->body = to;
  kernel_number(k);
}
