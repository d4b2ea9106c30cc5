/* gpu_map.c: which threads do what of a kernel, and where they meet. */
#include "ir/gpu_map.h"

typedef enum Team { BLOCK, GROUP } Team;

typedef struct Mapper {
  Arena *arena;
  const Program *program;
  const Kernel *kernel;
  const unsigned *touched; unsigned n_touched;                  /* the buffers that the kernel touches */
  unsigned *number;                      /* by buffer: which of those it is */
  GpuPlaces *places;
  GpuMap *map;
  bool owns, meets, groups_meet;         /* what the walk that places barriers counts as a thread's own; whether threads met, of the block or of a group */
} Mapper;

static bool is_loop(const Inst *inst) { return inst->op == KOP_E_FOR; }

/* --- what an instruction does ----------------------------------------------------------------------------------------------------------------- */

/* The first thread does these. */
static bool is_effect(const Inst *inst) { return inst->op == KOP_E_STORE || kop_is(inst->op, KPROP_SETS); }
static bool sets_number(const Inst *inst) { return kop_is(inst->op, KPROP_SETS); }
static bool reads_number(const Inst *inst) { return kop_is(inst->op, KPROP_ASKS); }
static bool is_tile(const Inst *inst) { return kop_is_tile(inst->op); }

static bool any(const Block *block, bool (*is)(const Inst *)) {
  for (unsigned i = 0; block && i < block->n; i++)
    if (is(block->insts[i]) || any(block->insts[i]->body, is) || any(block->insts[i]->otherwise, is)) return true;
  return false;
}
static bool has_effect(const Inst *inst) { return is_effect(inst) || is_tile(inst); }

static bool touches(const Inst *inst, unsigned buffer, bool written) {
  Touch touch[MAX_TOUCHES];
  unsigned n = inst_touches(inst, touch);
  for (unsigned k = 0; k < n; k++) if (touch[k].buffer == buffer && (written ? touch[k].written : touch[k].read || touch[k].written)) return true;
  return false;
}

static bool block_touches(const Block *block, unsigned buffer, bool written) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    if (touches(inst, buffer, written) || block_touches(inst->body, buffer, written) || block_touches(inst->otherwise, buffer, written)) return true;
  }
  return false;
}

/* Whether all that touches a buffer stands behind an instruction that empties it. */
static bool begins_fresh(const Block *block, unsigned buffer) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    if (inst->op == KOP_E_FRESH && inst->imm == buffer) return true;
    if (touches(inst, buffer, false)) return false;
    if (inst->body && !begins_fresh(inst->body, buffer)) return false;
    if (inst->otherwise && !begins_fresh(inst->otherwise, buffer)) return false;
  }
  return true;
}

static bool is_local(const Mapper *m, unsigned buffer) {
  unsigned n = m->program->module->n_operands;
  return buffer >= n && m->program->temps[buffer - n].local;
}

bool gpu_is_own(const Inst *loop, unsigned buffer) { return block_touches(loop->body, buffer, true) && begins_fresh(loop->body, buffer); }

/* --- whether iterations meet -------------------------------------------------------------------------------------------------------------------- */

/* All that touches a buffer in the loop does so at places that only iterations with one number share. */
typedef struct Meeting { const Inst *loop; unsigned buffer; bool some; GpuPlace place; } Meeting;

static bool keeps_apart(const Mapper *m, Meeting *t, const Block *block) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    if (touches(inst, t->buffer, false)) {
      GpuPlace p;
      if (is_tile(inst) || !gpu_find_place(m->places, inst->args[0], t->loop, &p) || (t->some && !gpu_same_place(&p, &t->place))) return false;
      t->place = p;
      t->some = true;
    }
    if (!keeps_apart(m, t, inst->body) || !keeps_apart(m, t, inst->otherwise)) return false;
  }
  return true;
}

static bool is_alone(const Inst *inst) { return sets_number(inst) || is_tile(inst) || inst->op == KOP_E_REQUIRE; }

static bool can_deal(const Mapper *m, const Inst *loop) {
  if (loop->n_args != 2 || any(loop->body, is_alone)) return false;
  for (unsigned k = 0; k < m->n_touched; k++) {
    unsigned b = m->touched[k];
    Meeting t = {.loop = loop, .buffer = b};
    if (!block_touches(loop->body, b, true) || (is_local(m, b) && gpu_is_own(loop, b))) continue;
    if (!keeps_apart(m, &t, loop->body)) return false;
  }
  return true;
}

/* --- ways ---------------------------------------------------------------------------------------------------------------------------------------- */

static void set_way(const Mapper *m, const Inst *loop, GpuWay way) { m->map->way[loop->id] = (uint8_t)way; }
static GpuWay way_of(const Mapper *m, const Inst *loop) { return (GpuWay)m->map->way[loop->id]; }

static bool deals_inside(const Mapper *m, const Block *block) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    if ((is_loop(inst) && can_deal(m, inst)) || deals_inside(m, inst->body) || deals_inside(m, inst->otherwise)) return true;
  }
  return false;
}

static unsigned results(const Inst *loop) {
  unsigned n = loop->n_args - 2;
  while (loop_fold(loop, n - (loop->n_args - 2))) n++;
  return n;
}

/* Whether the team has anything to share in a block. */
static bool choose(const Mapper *m, const Block *block, Team team) {
  bool shared = false;
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    bool deals = is_loop(inst) && can_deal(m, inst);
    if (deals) {
      bool groups = !loop_folds(inst) && team == BLOCK && deals_inside(m, inst->body);
      set_way(m, inst, loop_folds(inst) ? GPU_FOLD : groups ? GPU_GROUPS : GPU_THREADS);
      if (groups) choose(m, inst->body, GROUP);
      shared = true;
      continue;
    }
    bool inside = choose(m, inst->body, team), otherwise = choose(m, inst->otherwise, team);
    if (is_loop(inst)) set_way(m, inst, inside || !any(inst->body, has_effect) ? GPU_EACH : GPU_ONE);
    shared = shared || inside || otherwise || is_tile(inst);
  }
  return shared;
}

/* --- barriers -------------------------------------------------------------------------------------------------------------------------------------- */

/* Who has touched a buffer since the team met: its first thread, any of them, or each those places that are its own in loops that are dealt alike: from the number `low` on. */
typedef enum Who { FIRST, OWN, ANY } Who;
typedef struct Owner {
  uint8_t way;                           /* GpuWay of the loop */
  bool room;                             /* of groups: what each has in shared memory, iteration after iteration of the loop `low` */
  bool lanes;                            /* of groups: a place is one lane's: its lowest digit says whose */
  const Inst *low;
  const GpuPlace *place;                 /* not of a room */
} Owner;
typedef struct Touched { bool read[3], written[3], gathered; Owner owner; } Touched;      /* gathered: threads of a group have waited for each other since */
typedef struct State { Touched *buffer; } State;          /* by number of a buffer; then numbers that kernels set and read, then the slots in shared memory */
typedef struct Access { unsigned number; bool read, written; Who who; Owner owner; } Access;

static unsigned numbers(const Mapper *m) { return m->n_touched; }
static unsigned slots(const Mapper *m) { return m->n_touched + 1; }
static unsigned n_states(const Mapper *m) { return m->n_touched + 2; }

static State copy_state(const Mapper *m, const State *s) {
  State copy = {arena_array(m->arena, n_states(m), sizeof *copy.buffer)};
  for (unsigned b = 0; b < n_states(m); b++) copy.buffer[b] = s->buffer[b];
  return copy;
}

static bool same_owner(const Mapper *m, const Owner *a, const Owner *b) {
  if (a->way != b->way || a->room != b->room) return false;
  if (a->room) return true;
  if (a->way == GPU_THREADS && !m->map->splits && a->place->aligned && b->place->aligned) return true;
  return a->low == b->low && gpu_same_place(a->place, b->place);
}

/* Of one owner: whether lanes of a group meet. In a room the loop itself sees to it that its iterations do not. */
static bool lanes_meet(const Owner *a, const Owner *b) {
  if (a->way != GPU_GROUPS) return false;
  return a->room ? a->low != b->low : !a->lanes || !b->lanes || !gpu_same_digit(a->place, b->place);
}

/* Who has to meet first. */
typedef enum Meet { MEET_NOBODY, MEET_GROUP, MEET_ALL } Meet;

static Meet races(const Mapper *m, const Touched *t, const Access *a) {
  bool alike = (t->read[OWN] || t->written[OWN]) && a->who == OWN && (a->owner.room || m->owns) && same_owner(m, &t->owner, &a->owner);
  for (Who w = FIRST; w <= ANY; w++) {
    bool same = (w == FIRST && a->who == FIRST) || (w == OWN && alike);
    if (!same && (t->written[w] || (a->written && t->read[w]))) return MEET_ALL;
  }
  return alike && !t->gathered && (t->written[OWN] || a->written) && lanes_meet(&t->owner, &a->owner) ? MEET_GROUP : MEET_NOBODY;
}

static void note(const Mapper *m, Touched *t, const Access *a) {
  bool owned = t->read[OWN] || t->written[OWN];
  if (a->who == OWN && owned && !same_owner(m, &t->owner, &a->owner)) {
    t->read[ANY] |= t->read[OWN];
    t->written[ANY] |= t->written[OWN];
    t->read[OWN] = t->written[OWN] = owned = false;
  }
  if (a->who == OWN) {
    bool mixed = owned && !t->gathered && lanes_meet(&t->owner, &a->owner);
    t->owner = a->owner;
    t->gathered = false;
    if (mixed) {                         /* whatever comes now meets one of them */
      t->owner.lanes = false;
      if (t->owner.room) t->owner.low = NULL;
    }
  }
  t->read[a->who] |= a->read;
  t->written[a->who] |= a->written;
}

static void join(const Mapper *m, State *s, const State *other) {
  for (unsigned b = 0; b < n_states(m); b++) {
    const Touched *t = &other->buffer[b];
    for (Who w = FIRST; w <= ANY; w++) {
      Access a = {b, t->read[w], t->written[w], w, t->owner};
      if (a.read || a.written) note(m, &s->buffer[b], &a);
    }
  }
}

static void meet(Mapper *m, State *s, const Inst *before) {
  m->meets = true;
  if (before && m->map->barrier) m->map->barrier[before->id] = true;
  for (unsigned b = 0; b < n_states(m); b++) s->buffer[b] = (Touched){.gathered = false};
}

static void gather(Mapper *m, State *s, const Inst *before) {
  m->groups_meet = true;
  if (m->map->gather) m->map->gather[before->id] = true;
  for (unsigned b = 0; b < n_states(m); b++) s->buffer[b].gathered = true;
}

/* --- all that a thread, or the team together, does in an instruction */
typedef struct Accesses { Access *at; unsigned n; size_t capacity; } Accesses;

static void add_access(const Mapper *m, Accesses *s, Access a) {
  s->at = arena_grow(m->arena, s->at, &s->capacity, (size_t)s->n + 1, sizeof *s->at);
  s->at[s->n++] = a;
}

/* Of one instruction, without what is inside. `dealt`: the loop whose iterations threads or groups have taken, or NULL; `inner`: the one whose iterations lanes of a group have. */
static void find_accesses(const Mapper *m, Accesses *s, const Inst *inst, Who who, const Inst *dealt, const Inst *inner, GpuWay way) {
  Touch touch[MAX_TOUCHES];
  unsigned n = inst_touches(inst, touch);
  for (unsigned k = 0; k < n; k++) {
    unsigned b = touch[k].buffer;
    GpuPlace place;
    Access a = {m->number[b], touch[k].read, touch[k].written, who, {.way = (uint8_t)way}};
    if (!a.read && !a.written) continue;
    if (dealt && is_local(m, b) && gpu_is_own(dealt, b)) {
      if (way != GPU_GROUPS) continue;                         /* a thread's own */
      a.who = OWN;
      a.owner.room = true;
      a.owner.low = dealt;
    } else if (dealt && way != GPU_FOLD && !is_tile(inst) && gpu_find_place(m->places, inst->args[0], dealt, &place)) {
      GpuPlace *kept = arena_alloc(m->arena, sizeof *kept);
      *kept = place;
      a.who = OWN;
      a.owner.place = kept;
      a.owner.low = gpu_value(m->places, dealt->args[0]);
      a.owner.lanes = inner && place.below == inner;
    }
    add_access(m, s, a);
  }
  if (sets_number(inst)) add_access(m, s, (Access){.number = numbers(m), .written = true, .who = who});
  if (reads_number(inst)) add_access(m, s, (Access){.number = numbers(m), .read = true, .who = who});
}

static void find_all(const Mapper *m, Accesses *s, const Block *block, Who who, const Inst *dealt, const Inst *inner, GpuWay way) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    bool shares = way == GPU_GROUPS && is_loop(inst) && (way_of(m, inst) == GPU_THREADS || way_of(m, inst) == GPU_FOLD);
    find_accesses(m, s, inst, who, dealt, inner, way);
    find_all(m, s, inst->body, who, dealt, shares ? inst : inner, way);
    find_all(m, s, inst->otherwise, who, dealt, inner, way);
  }
}

static void apply(Mapper *m, State *s, const Inst *inst, const Accesses *all) {
  Meet who = MEET_NOBODY;
  for (unsigned k = 0; k < all->n; k++) {
    Meet now = races(m, &s->buffer[all->at[k].number], &all->at[k]);
    if (now > who) who = now;
  }
  if (who == MEET_ALL) meet(m, s, inst);
  if (who == MEET_GROUP) gather(m, s, inst);
  for (unsigned k = 0; k < all->n; k++) note(m, &s->buffer[all->at[k].number], &all->at[k]);
}

static void walk(Mapper *m, State *s, const Block *block, Team team);

static bool same_touched(const Touched *a, const Touched *b) {
  if (a->gathered != b->gathered || a->owner.lanes != b->owner.lanes || a->owner.low != b->owner.low) return false;
  for (Who w = FIRST; w <= ANY; w++) if (a->read[w] != b->read[w] || a->written[w] != b->written[w]) return false;
  return true;
}

static bool term_varies(const GpuTerm *t, const Inst *loop) {
  for (unsigned k = 0; k < t->n; k++) if (!gpu_is_fixed(t->factor[k], loop)) return true;
  return false;
}

/* What is each thread's own in one iteration may be another's in the next, where the places say so. */
static bool owner_varies(const Mapper *m, const Touched *t, const Inst *loop) {
  const Owner *o = &t->owner;
  const GpuPlace *p = o->place;
  if (o->room || (o->way == GPU_THREADS && p->aligned && !m->map->splits)) return false;
  bool varies = !gpu_is_fixed(o->low, loop) || term_varies(&p->stride, loop) || (!p->top && term_varies(&p->next, loop));
  for (unsigned k = 0; k < p->n_fixed; k++) varies |= term_varies(&p->fixed[k], loop);
  return varies;
}

/* What the next iteration finds of the one before: nothing where no two touch the same place. */
static void carry_over(const Mapper *m, State *after, const State *before, const Inst *loop) {
  for (unsigned k = 0; k < m->n_touched; k++) {
    unsigned b = m->touched[k];
    Touched *t = &after->buffer[k];
    Meeting apart = {.loop = loop, .buffer = b};
    if (!is_local(m, b) && block_touches(loop->body, b, true) && keeps_apart(m, &apart, loop->body)) *t = before->buffer[k];
    else if ((t->read[OWN] || t->written[OWN]) && owner_varies(m, t, loop)) {
      t->read[ANY] |= t->read[OWN];
      t->written[ANY] |= t->written[OWN];
      t->read[OWN] = t->written[OWN] = false;
    }
  }
}

/* Until an iteration that follows any other finds nothing new. */
static void walk_each(Mapper *m, State *s, const Inst *loop, Team team) {
  State start = copy_state(m, s);
  for (bool grows = true; grows;) {
    State before = copy_state(m, &start), after = copy_state(m, &start);
    walk(m, &after, loop->body, team);
    join(m, s, &after);
    carry_over(m, &after, &before, loop);
    join(m, &start, &after);
    grows = false;
    for (unsigned b = 0; b < n_states(m); b++) grows |= !same_touched(&before.buffer[b], &start.buffer[b]);
  }
}

static State empty_state(const Mapper *m) { return (State){arena_array(m->arena, n_states(m), sizeof(Touched))}; }

/* Numbers go through slots in shared memory; in a group, from lane to lane. */
static void tell(Mapper *m, State *s, const Inst *inst, Team team) {
  if (team == GROUP) return;
  meet(m, s, NULL);                      /* between who writes and who reads them */
  s->buffer[slots(m)].read[ANY] = true;
}

static void walk_loop(Mapper *m, State *s, const Inst *loop, Team team) {
  GpuWay way = way_of(m, loop);
  if (way == GPU_EACH) { walk_each(m, s, loop, team); return; }
  Accesses all = {0};
  unsigned told = way == GPU_FOLD ? results(loop)*GPU_SLOTS : way == GPU_ONE ? results(loop) : 0;
  find_all(m, &all, loop->body, way == GPU_ONE ? FIRST : ANY, way == GPU_ONE ? NULL : loop, NULL, way);
  if (told && team == BLOCK) add_access(m, &all, (Access){.number = slots(m), .written = true, .who = ANY});
  apply(m, s, loop, &all);
  if (told && team == BLOCK && told > m->map->slots) m->map->slots = told;
  if (told) tell(m, s, loop, team);
  if (way != GPU_GROUPS) return;
  Mapper inner = *m;
  State own = empty_state(m);
  inner.meets = false;
  walk_each(&inner, &own, loop, GROUP);
  m->groups_meet |= inner.meets;
}

static void walk_one(Mapper *m, State *s, const Inst *inst, Team team) {
  Accesses all = {0};
  if (is_loop(inst)) { walk_loop(m, s, inst, team); return; }
  find_accesses(m, &all, inst, is_tile(inst) || !is_effect(inst) ? ANY : FIRST, NULL, NULL, GPU_EACH);
  apply(m, s, inst, &all);
  if (inst->op != KOP_E_IF) return;
  State otherwise = copy_state(m, s);
  walk(m, s, inst->body, team);
  walk(m, &otherwise, inst->otherwise, team);
  join(m, s, &otherwise);
}

static bool is_opposite(const Mapper *m, const Inst *a, const Inst *b) { return a->op == KOP_NOT && gpu_value(m->places, a->args[0]) == gpu_value(m->places, b); }

/* The IF further on that is taken where this one is not; or NULL. */
static const Inst *counterpart(const Mapper *m, const Block *block, unsigned i) {
  const Inst *a = block->insts[i];
  for (unsigned k = i + 1; a->op == KOP_E_IF && !a->otherwise && k < block->n; k++) {
    const Inst *b = block->insts[k];
    if (b->op == KOP_E_IF && !b->otherwise && (is_opposite(m, a->args[0], b->args[0]) || is_opposite(m, b->args[0], a->args[0]))) return b;
  }
  return NULL;
}

static void walk(Mapper *m, State *s, const Block *block, Team team) {
  const Inst *second = NULL;             /* of two that exclude each other; it finds `without`: what is done without the first */
  State without = {NULL};
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    if (second && inst == second) {
      walk(m, &without, inst->body, team);
      join(m, s, &without);
      second = NULL;
      continue;
    }
    if (second) walk_one(m, &without, inst, team);
    else if ((second = counterpart(m, block, i))) without = copy_state(m, s);
    walk_one(m, s, inst, team);
  }
}

/* --- the kernel ------------------------------------------------------------------------------------------------------------------------------------- */

static bool is_product(const Inst *inst) { return kop_contracts(inst->op); }
static bool needs_host(const Inst *inst) { return inst->op == KOP_E_REQUIRE || inst->op == KOP_E_EXISTS; }
static bool may_share(const Kernel *k) {
  Launch l = k->launch;
  return (l == LAUNCH_ITEM || l == LAUNCH_CHUNK || l == LAUNCH_TILE || l == LAUNCH_TOTAL || l == LAUNCH_FINISH) && !any(k->body, needs_host);
}

/* Bytes of local buffers that a team shares, and of those that each group has. */
static void measure(const Mapper *m, const Block *block, Team team, const Inst *dealt, uint64_t *bytes) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    Touch touch[MAX_TOUCHES];
    unsigned n = inst_touches(inst, touch);
    for (unsigned k = 0; k < n; k++)
      if (is_local(m, touch[k].buffer)) bytes[2*touch[k].buffer + (dealt && gpu_is_own(dealt, touch[k].buffer))] = 1;
    GpuWay way = is_loop(inst) ? way_of(m, inst) : GPU_EACH;
    if (way == GPU_EACH || way == GPU_ONE) {
      measure(m, inst->body, team, dealt, bytes);
      measure(m, inst->otherwise, team, dealt, bytes);
    } else if (way == GPU_GROUPS) measure(m, inst->body, GROUP, inst, bytes);
    else
      for (unsigned k = 0; k < m->n_touched; k++) {
        unsigned b = m->touched[k];
        if (is_local(m, b) && block_touches(inst->body, b, false) && !gpu_is_own(inst, b)) bytes[2*b + (dealt && gpu_is_own(dealt, b))] = 1;
      }
  }
}

static uint64_t shared_bytes(const Mapper *m, bool *locals) {
  unsigned n = m->program->module->n_operands, all = n + m->program->n_temps;
  uint64_t *used = arena_array(m->arena, 2*(size_t)all + 1, sizeof *used), sum = 8*(uint64_t)m->map->slots + (m->map->contracts ? GPU_SLABS : 0);
  measure(m, m->kernel->body, BLOCK, NULL, used);
  for (unsigned b = n; b < all; b++) {
    const Buffer *t = &m->program->temps[b - n];
    uint64_t bytes = (buffer_elements(t, KERNEL_TILE_ROWS)*type_bytes(t->type) + 15) & ~(uint64_t)15;
    sum += bytes*used[2*b] + bytes*used[2*b + 1]*(GPU_BLOCK/GPU_GROUP);
    *locals = *locals || used[2*b];
  }
  return sum;
}

static void find_touched(Mapper *m, unsigned *touched, bool *is, const Block *block) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    Touch touch[MAX_TOUCHES];
    for (unsigned n = inst_touches(inst, touch), k = 0; k < n; k++) {
      unsigned b = touch[k].buffer;
      if (!is[b]) { m->number[b] = m->n_touched; touched[m->n_touched++] = b; }
      is[b] = true;
    }
    find_touched(m, touched, is, inst->body);
    find_touched(m, touched, is, inst->otherwise);
  }
}
static void number_buffers(Mapper *m) {
  size_t all = (size_t)m->program->module->n_operands + m->program->n_temps + 1;
  unsigned *touched = arena_array(m->arena, all, sizeof *touched);
  m->touched = touched;
  m->number = arena_array(m->arena, all, sizeof *m->number);
  find_touched(m, touched, arena_array(m->arena, all, sizeof(bool)), m->kernel->body);
}

static bool walk_kernel(Mapper *m, State *s, bool owns) {
  m->owns = owns;
  m->meets = m->groups_meet = false;
  walk(m, s, m->kernel->body, BLOCK);
  return m->meets;
}

/* Places barriers; whether one more is wanted behind the kernel: the next work entry finds in shared memory what this one has left, and would meet with it elsewhere. */
static bool place_barriers(Mapper *m) {
  size_t n = (size_t)m->kernel->n_insts + 1;
  GpuMap *map = m->map, placed;
  State s = empty_state(m);
  bool more = false;
  map->barrier = arena_array(m->arena, n, sizeof *map->barrier);
  map->gather = arena_array(m->arena, n, sizeof *map->gather);
  walk_kernel(m, &s, true);
  placed = *map;
  map->barrier = arena_array(m->arena, n, sizeof *map->barrier);
  map->gather = arena_array(m->arena, n, sizeof *map->gather);
  for (unsigned b = 0; b <= numbers(m); b++) if (b == numbers(m) || !is_local(m, m->touched[b])) s.buffer[b] = (Touched){.gathered = false};
  walk_kernel(m, &s, true);
  for (size_t k = 0; k < n; k++) more |= (map->barrier[k] && !placed.barrier[k]) || (map->gather[k] && !placed.gather[k]);
  *map = placed;
  return more;
}

/* A kernel that does nothing but multiply tiles which do not meet: blocks share an entry. No thread sees what another has done: an element of C is one thread's whatever is
 * added to it, and the slabs have barriers of their own. */
static bool only_tiles(const Block *block, bool dealt) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    if (has_effect(inst) && !(dealt && is_product(inst))) return false;
    bool inside = dealt || (is_loop(inst) && inst->binding == BIND_BLOCK);
    if (!only_tiles(inst->body, inside) || !only_tiles(inst->otherwise, inside)) return false;
  }
  return true;
}
static bool is_dealt(const Inst *inst) { return is_loop(inst) && inst->binding == BIND_BLOCK; }
static void deal_tiles(const Mapper *m, const Block *block) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    if (is_loop(inst)) set_way(m, inst, is_dealt(inst) && !any(inst->body, is_dealt) ? GPU_BLOCKS : GPU_EACH);
    deal_tiles(m, inst->body);
    deal_tiles(m, inst->otherwise);
  }
}

const GpuMap *gpu_map(Arena *arena, const Program *p, const Kernel *k) {
  GpuMap *map = arena_alloc(arena, sizeof *map);
  map->way = arena_array(arena, (size_t)k->n_insts + 1, sizeof *map->way);
  if (!may_share(k)) return map;
  Mapper m = {.arena = arena, .program = p, .kernel = k, .places = gpu_places(arena, k), .map = map};
  bool locals = false;
  map->contracts = any(k->body, is_product);
  map->tiles = map->contracts && only_tiles(k->body, false);
  if (map->tiles) {
    map->shared = map->splits = true;
    map->barrier = arena_array(arena, (size_t)k->n_insts + 1, sizeof *map->barrier);
    deal_tiles(&m, k->body);
    return map;
  }
  number_buffers(&m);
  map->shared = choose(&m, k->body, BLOCK);
  if (!map->shared) return map;
  map->splits = true;                    /* what is then taken for a thread's own holds for any number of threads */
  State first = empty_state(&m), second = empty_state(&m);
  map->wide = !walk_kernel(&m, &first, false) && !m.groups_meet;
  bool meets = walk_kernel(&m, &second, true);
  map->shared = shared_bytes(&m, &locals) <= GPU_SHARED;
  map->splits = map->shared && !meets && !locals && !any(k->body, is_tile);
  map->keeps = place_barriers(&m) && map->shared;
  return map;
}
