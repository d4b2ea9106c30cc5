/* access.c: ld, st, atom, red, cp.async (PTX ISA, "Data Movement", "Parallel Synchronization: atom, red", "cp.async"). */
#include <string.h>
#include "backends/ptx/arith.h"
#include "backends/ptx/ops.h"

/* --- modifiers -------------------------------------------------------------------------------------------------------------------------------- */
enum { LOADS = 1, STORES = 2, UPDATES = 4 };
typedef enum What { NOTHING, SPACE, VECTOR, CONSTANT, VOLATILE } What;       /* NOTHING: where it is kept and for how long, or how strongly it is ordered */
static const struct { const char *name; What what; int value, in; } modifiers[] = {
  {"global", SPACE, PTX_GLOBAL, LOADS | STORES | UPDATES}, {"shared", SPACE, PTX_SHARED, LOADS | STORES | UPDATES}, {"shared::cta", SPACE, PTX_SHARED, LOADS | STORES | UPDATES},
  {"local", SPACE, PTX_LOCAL, LOADS | STORES}, {"param", SPACE, PTX_PARAM, LOADS | STORES}, {"param::entry", SPACE, PTX_PARAM, LOADS}, {"const", SPACE, PTX_CONST, LOADS},
  {"v2", VECTOR, 2, LOADS | STORES}, {"v4", VECTOR, 4, LOADS | STORES}, {"nc", CONSTANT, 1, LOADS}, {"volatile", VOLATILE, 1, LOADS | STORES},
  {"weak", NOTHING, 0, LOADS | STORES}, {"relaxed", VOLATILE, 1, LOADS | STORES | UPDATES}, {"acquire", VOLATILE, 1, LOADS | UPDATES}, {"release", VOLATILE, 1, STORES | UPDATES},
  {"acq_rel", VOLATILE, 1, UPDATES}, {"cta", NOTHING, 0, LOADS | STORES | UPDATES}, {"gpu", NOTHING, 0, LOADS | STORES | UPDATES}, {"sys", NOTHING, 0, LOADS | STORES | UPDATES},
  {"ca", NOTHING, 0, LOADS}, {"cg", NOTHING, 0, LOADS | STORES}, {"cs", NOTHING, 0, LOADS | STORES}, {"lu", NOTHING, 0, LOADS}, {"cv", NOTHING, 0, LOADS},
  {"wb", NOTHING, 0, STORES}, {"wt", NOTHING, 0, STORES}, {"L1::no_allocate", NOTHING, 0, LOADS | STORES}, {"L1::evict_first", NOTHING, 0, LOADS | STORES},
  {"L1::evict_last", NOTHING, 0, LOADS | STORES}, {"L1::evict_normal", NOTHING, 0, LOADS | STORES}, {"L1::evict_unchanged", NOTHING, 0, LOADS | STORES},
  {"L2::64B", NOTHING, 0, LOADS}, {"L2::128B", NOTHING, 0, LOADS}, {"L2::256B", NOTHING, 0, LOADS},
};

typedef enum Atom { ATOM_ADD, ATOM_AND, ATOM_OR, ATOM_XOR, ATOM_MIN, ATOM_MAX, ATOM_INC, ATOM_DEC, ATOM_EXCH, ATOM_CAS, ATOMS } Atom;
static const char *const atoms[ATOMS] = {"add", "and", "or", "xor", "min", "max", "inc", "dec", "exch", "cas"};
static const char *const atom_types[ATOMS] = {"u32 s32 u64 f32 f64", "b32 b64", "b32 b64", "b32 b64", "u32 s32 u64 s64", "u32 s32 u64 s64", "u32", "u32", "b32 b64", "b32 b64"};

static bool has_word(const char *list, const char *word) {
  const char *found = strstr(list, word);
  return found && *word;
}

static bool known(PtxAccess *a, const char *word, int in) {
  for (unsigned k = 0; k < sizeof modifiers/sizeof *modifiers; k++) {
    if (strcmp(word, modifiers[k].name) || !(modifiers[k].in & in)) continue;
    if (modifiers[k].what == SPACE) a->space = (uint8_t)modifiers[k].value;
    if (modifiers[k].what == VECTOR) a->count = (uint8_t)modifiers[k].value;
    a->constant |= modifiers[k].what == CONSTANT;
    a->strong |= modifiers[k].what == VOLATILE;
    return true;
  }
  return false;
}

/* .modifiers.type, and of atomics the operation; the type's name stays in `type`. */
static PtxAccess *decode_modifiers(PtxDecoder *d, const PtxStatement *s, int in, char type[16]) {
  PtxAccess *a = ptx_decode_alloc(d, sizeof *a);
  char word[32];
  a->count = 1;
  a->op = ATOMS;
  for (const char *at = strchr(s->name, '.'); *at;) {
    ptx_modifier(&at, word, sizeof word);
    if (!*at && strlen(word) < 16 && ptx_type_bits(word) >= 8) {
      strcpy(type, word);
      a->bytes = (uint8_t)(ptx_type_bits(word)/8);
      a->is_signed = *word == 's';
      break;
    }
    unsigned op = 0;
    while (op < ATOMS && (in != UPDATES || strcmp(word, atoms[op]))) op++;
    if (op < ATOMS && a->op == ATOMS) a->op = (uint8_t)op;
    else if (!known(a, word, in)) return NULL;
  }
  if (!a->bytes || a->bytes*a->count > 16 || (a->constant && a->space != PTX_GLOBAL)) return NULL;
  return a;
}

static bool decode_registers(PtxDecoder *d, PtxAccess *a, const PtxOperand *o, bool written) {
  unsigned n = o->kind == PTX_VECTOR ? ptx_operands(o->items) : 1;
  if (n != a->count) return ptx_refuse_statement(d, "%u registers for %u elements", n, a->count);
  const PtxOperand *each = o->kind == PTX_VECTOR ? o->items : o;
  for (unsigned k = 0; k < n; k++, each = each->next) {
    unsigned bits = a->bytes < 2 ? 16 : 8u*a->bytes;
    bool sink = written && each->kind == PTX_NAME && !strcmp(each->name, "_");
    if (each->kind != PTX_NAME || sink) {
      if (!ptx_decode_value(d, each, bits == 64 ? 'l' : bits == 32 ? 'r' : 'h', written, &a->value[k])) return false;
    } else if (!ptx_decode_register(d, each, &a->value[k], &bits)) return false;
    if (bits < 8u*a->bytes) return ptx_refuse_statement(d, "'%s' is narrower than the type", each->name);
    a->bits[k] = (uint8_t)bits;
  }
  return true;
}

static bool decode_access(PtxDecoder *d, PtxInst *i, const PtxStatement *s, int in) {
  char type[16];
  PtxAccess *a = decode_modifiers(d, s, in, type);
  const PtxOperand *o = s->operands;
  if (!a) return ptx_refuse_statement(d, "instruction '%s' is not known here", s->name);
  if (ptx_operands(o) != 2) return ptx_refuse_statement(d, "'%s' takes 2 operands", s->name);
  const PtxOperand *value = in == LOADS ? o : o->next, *address = in == LOADS ? o->next : o;
  PtxSpace space = (PtxSpace)a->space;
  if (!ptx_decode_address(d, i, address, &space) || !decode_registers(d, a, value, in == LOADS)) return false;
  if (in == STORES && (space == PTX_CONST || space == PTX_PARAM)) return ptx_refuse_statement(d, "'%s': nothing is stored there", s->name);
  a->space = (uint8_t)space;
  i->more = a;
  return true;
}
bool ptx_decode_load(PtxDecoder *d, PtxInst *i, const PtxStatement *s) { return decode_access(d, i, s, LOADS); }
bool ptx_decode_store(PtxDecoder *d, PtxInst *i, const PtxStatement *s) { return decode_access(d, i, s, STORES); }

/* --- ld, st ------------------------------------------------------------------------------------------------------------------------------------- */
static uint64_t load_value(const uint8_t *at, unsigned bytes, bool is_signed) {
  uint8_t b;
  uint16_t h;
  uint32_t r;
  uint64_t l;
  switch (bytes) {
  case 1: memcpy(&b, at, 1); return is_signed ? (uint64_t)(int8_t)b : b;
  case 2: memcpy(&h, at, 2); return is_signed ? (uint64_t)(int16_t)h : h;
  case 4: memcpy(&r, at, 4); return is_signed ? (uint64_t)(int32_t)r : r;
  default: memcpy(&l, at, 8); return l;
  }
}

static bool all_defined(const uint8_t *defined, unsigned bytes) { return !defined || !memchr(defined, 0, bytes); }

/* A volatile or strong access is one that threads use to talk to each other: it does not race. */
static PtxHow how_loaded(const PtxAccess *a) { return a->constant ? PTX_READS_ONCE : a->strong ? PTX_READS_STRONG : PTX_READS; }

/* Whether a lane's access is told to the memory: where all lanes read one place the first and the last stand for them, as they would be the two readers that it remembers. */
static bool is_told(uint32_t on, uint32_t lane, bool one_place) { return !one_place || lane == (uint32_t)__builtin_ctz(on) || lane == 31u - (uint32_t)__builtin_clz(on); }

void ptx_run_load(PtxWarp *w, const PtxInst *i, uint32_t on) {
  const PtxAccess *a = i->more;
  uint32_t size = a->bytes*a->count, undefined[4] = {0};
  uint64_t at[PTX_LANES];
  PtxReached r = {0}, all;
  ptx_use(w, i, i->a, on, "an address");
  const uint8_t *base = ptx_reach_together(w, i, on, (PtxSpace)a->space, size, PTX_READ, at, &all);
  bool one_place = base != NULL;
  if (base) PTX_EACH(l, on) one_place &= !at[l];
  PTX_EACH(l, on) {
    const uint8_t *from = base ? base + at[l] : ptx_reach(w, i, l, (PtxSpace)a->space, at[l], size, PTX_READ, &r);
    if (base) r = ptx_reached_at(&all, at[l]);
    if (from && is_told(on, l, one_place)) ptx_touch(w, i, l, &r, size, how_loaded(a));
    for (unsigned k = 0; k < a->count; k++) {
      ptx_set(w, a->value[k], l, a->bits[k], from ? load_value(from + k*a->bytes, a->bytes, a->is_signed) : 0);
      if (from && !all_defined(r.defined ? r.defined + k*a->bytes : NULL, a->bytes)) undefined[k] |= 1u << l;
    }
  }
  for (unsigned k = 0; k < a->count; k++) ptx_taint(w, a->value[k], on, undefined[k]);
}

void ptx_run_store(PtxWarp *w, const PtxInst *i, uint32_t on) {
  const PtxAccess *a = i->more;
  uint32_t size = a->bytes*a->count;
  uint8_t bytes[16];
  uint64_t at[PTX_LANES];
  PtxReached r = {0}, all;
  ptx_use(w, i, i->a, on, "an address");
  uint8_t *base = ptx_reach_together(w, i, on, (PtxSpace)a->space, size, PTX_WRITE, at, &all);
  PTX_EACH(l, on) {
    uint8_t *to = base ? base + at[l] : ptx_reach(w, i, l, (PtxSpace)a->space, at[l], size, PTX_WRITE, &r);
    if (!to) continue;
    if (base) r = ptx_reached_at(&all, at[l]);
    bool own = r.piece == &w->grid->shared || r.piece == &w->grid->local;     /* undefined bytes may lie there: padding is copied */
    for (unsigned k = 0; k < a->count; k++) {
      if (!own) ptx_use(w, i, a->value[k], 1u << l, "what is stored");
      uint64_t x = ptx_get(w, a->value[k], l, a->bits[k]);
      memcpy(bytes + k*a->bytes, &x, a->bytes);              /* little-endian, as the device */
      if (r.defined) memset(r.defined + k*a->bytes, !(*ptx_undefined(w, a->value[k]) >> l & 1), a->bytes);
    }
    if (r.piece->cells) ptx_touch(w, i, l, &r, size, a->strong ? PTX_UPDATES : memcmp(to, bytes, size) ? PTX_WRITES : PTX_REWRITES);
    memcpy(to, bytes, size);
  }
}

/* --- atom, red: lanes one after the other --------------------------------------------------------------------------------------------------------- */
static bool decode_atomic(PtxDecoder *d, PtxInst *i, const PtxStatement *s, bool result) {
  char type[16];
  PtxAccess *a = decode_modifiers(d, s, UPDATES, type);
  const PtxOperand *o = s->operands;
  if (!a || a->op == ATOMS || !has_word(atom_types[a->op], type) || (!result && a->op >= ATOM_EXCH)) return ptx_refuse_statement(d, "instruction '%s' is not known here", s->name);
  if (*type == 'f' && ptx_decoder_mode(d) == PTX_STRICT) return ptx_refuse_statement(d, "'%s' adds in no certain order: not in a strict kernel", s->name);
  unsigned n = (a->op == ATOM_CAS ? 3u : 2u) + result;
  if (ptx_operands(o) != n) return ptx_refuse_statement(d, "'%s' takes %u operands", s->name, n);
  char letter = ptx_type_letter(type);
  a->bits[0] = (uint8_t)(8*a->bytes);
  a->is_float = *type == 'f';
  PtxSpace space = (PtxSpace)a->space;
  i->more = a;
  if (result && !ptx_decode_value(d, o, letter, true, &i->d)) return false;
  if (result) o = o->next;
  if (!ptx_decode_address(d, i, o, &space) || !ptx_decode_value(d, o->next, letter, false, &i->b)) return false;
  a->space = (uint8_t)space;
  return a->op != ATOM_CAS || ptx_decode_value(d, o->next->next, letter, false, &i->c);
}
bool ptx_decode_atomic(PtxDecoder *d, PtxInst *i, const PtxStatement *s) { return decode_atomic(d, i, s, true); }
bool ptx_decode_reduction(PtxDecoder *d, PtxInst *i, const PtxStatement *s) {
  i->d = 0;                              /* nobody's row */
  return decode_atomic(d, i, s, false);
}

static uint64_t add(const PtxAccess *a, uint64_t old, uint64_t b) {
  if (!a->is_float) return old + b;
  if (a->bytes == 8) return bits_of_f64(f64_of_bits(old) + f64_of_bits(b));
  return bits_of_f32(f32_of_bits((uint32_t)old) + f32_of_bits((uint32_t)b));
}

static uint64_t updated(const PtxAccess *a, uint64_t old, uint64_t b, uint64_t c) {
  bool less = a->is_signed ? (int64_t)old < (int64_t)b : old < b;
  switch ((Atom)a->op) {
  case ATOM_ADD: return add(a, old, b);
  case ATOM_AND: return old & b;
  case ATOM_OR: return old | b;
  case ATOM_XOR: return old ^ b;
  case ATOM_MIN: return less ? old : b;
  case ATOM_MAX: return less ? b : old;
  case ATOM_INC: return old >= b ? 0 : old + 1;
  case ATOM_DEC: return old == 0 || old > b ? b : old - 1;
  case ATOM_EXCH: return b;
  case ATOM_CAS: return old == b ? c : old;
  case ATOMS: break;
  }
  return old;
}

static void update(PtxWarp *w, const PtxInst *i, unsigned l) {
  const PtxAccess *a = i->more;
  PtxReached r;
  uint8_t *at = ptx_reach(w, i, l, (PtxSpace)a->space, ptx_address(w, i, l), a->bytes, PTX_READ | PTX_WRITE, &r);
  if (!at) return;
  if (!all_defined(r.defined, a->bytes)) ptx_find_fault(w, i, (int)l, PTX_UNDEFINED_VALUE, r.offset, "updates what nobody has written at offset %llu of %s", (unsigned long long)r.offset, r.piece->name);
  ptx_touch(w, i, l, &r, a->bytes, PTX_UPDATES);
  if (r.piece != &w->grid->shared) ptx_order_blocks(w, &r);
  uint64_t old = load_value(at, a->bytes, a->is_signed), b = ptx_get(w, i->b, l, a->bits[0]), c = ptx_get(w, i->c, l, a->bits[0]);
  if (a->is_signed && a->bytes == 4) b = (uint64_t)(int32_t)b;
  uint64_t x = updated(a, old, b, c);
  memcpy(at, &x, a->bytes);
  if (i->d) ptx_set(w, i->d, l, a->bits[0], old);
}

void ptx_run_atomic(PtxWarp *w, const PtxInst *i, uint32_t on) {
  unsigned first = w->grid->launch->seed ? (unsigned)(ptx_random(&w->grid->random) & 31) : 0;
  ptx_use(w, i, i->a, on, "an address");
  ptx_use(w, i, i->b, on, "what is stored");
  ptx_use(w, i, i->c, on, "what is stored");
  for (unsigned k = 0; k < PTX_LANES; k++)
    if (on >> ((first + k) & 31) & 1) update(w, i, (first + k) & 31);
  ptx_taint(w, i->d, on, 0);
}

/* --- cp.async: bytes land when their group is waited for, or at any time before ---------------------------------------------------------------------- */
bool ptx_decode_copy(PtxDecoder *d, PtxInst *i, const PtxStatement *s) {
  const PtxOperand *o = s->operands;
  unsigned n = ptx_operands(o);
  PtxAccess *a = ptx_decode_alloc(d, sizeof *a);
  PtxInst from = {0};
  PtxSpace shared = PTX_SHARED, global = PTX_GLOBAL;
  if (n < 3 || n > 4 || o->next->next->kind != PTX_INTEGER) return ptx_refuse_statement(d, "'%s' takes two addresses, a number of bytes and perhaps how many are read", s->name);
  uint64_t bytes = o->next->next->value;
  bool only16 = !strncmp(s->name, "cp.async.cg", 11);
  if (bytes != 16 && (only16 || (bytes != 4 && bytes != 8))) return ptx_refuse_statement(d, "'%s' copies no %llu bytes", s->name, (unsigned long long)bytes);
  a->bytes = (uint8_t)bytes;
  if (!ptx_decode_address(d, i, o, &shared) || !ptx_decode_address(d, &from, o->next, &global)) return false;
  if (!(from.mode & PTX_WIDE)) return ptx_refuse_statement(d, "a global address has 64 bits");
  i->b = from.a;
  a->source = from.imm;
  i->more = a;
  i->c = ptx_fixed(d, bytes, 32);
  return n == 3 || ptx_decode_value(d, o->next->next->next, 'r', false, &i->c);
}

void ptx_run_copy(PtxWarp *w, const PtxInst *i, uint32_t on) {
  const PtxAccess *a = i->more;
  ptx_use(w, i, i->a, on, "an address");
  ptx_use(w, i, i->b, on, "an address");
  PTX_EACH(l, on) {
    PtxCopy *c = arena_alloc(w->grid->arena, sizeof *c);
    uint32_t given = (uint32_t)ptx_get(w, i->c, l, 32);
    *c = (PtxCopy){ptx_address(w, i, l), ptx_get(w, i->b, l, 64) + (uint64_t)a->source, a->bytes, given < a->bytes ? given : a->bytes, w->groups[l], (uint8_t)l, i, w->copies};
    w->copies = c;
    PtxReached r;                        /* until it has landed nobody can tell what is there */
    if (ptx_reach(w, i, l, PTX_SHARED, c->shared, c->bytes, PTX_WRITE, &r)) memset(r.defined, 0, c->bytes);
    else c->bytes = 0;
  }
}

static void land(PtxWarp *w, const PtxCopy *c) {
  PtxReached r;
  if (!c->bytes) return;
  const uint8_t *from = c->given ? ptx_reach(w, c->inst, c->lane, PTX_GLOBAL, c->global, c->given, PTX_READ, &r) : NULL;
  if (from) ptx_touch(w, c->inst, c->lane, &r, c->given, PTX_READS);
  uint8_t *to = ptx_reach(w, c->inst, c->lane, PTX_SHARED, c->shared, c->bytes, PTX_WRITE, &r);
  memset(to, 0, c->bytes);
  if (from) memcpy(to, from, c->given);
  memset(r.defined, 1, c->bytes);
  ptx_touch(w, c->inst, c->lane, &r, c->bytes, PTX_WRITES);
}

/* Lands the copies of all but the newest groups of these lanes. */
static void land_groups(PtxWarp *w, uint32_t on, uint32_t left) {
  for (PtxCopy **at = &w->copies; *at;) {
    PtxCopy *c = *at;
    if (!(on >> c->lane & 1) || c->group + left >= w->groups[c->lane]) { at = &c->next; continue; }
    land(w, c);
    *at = c->next;
  }
}
void ptx_run_commit_group(PtxWarp *w, const PtxInst *i, uint32_t on) {
  PTX_EACH(l, on) w->groups[l]++;
  if (w->grid->launch->seed && ptx_random(&w->grid->random) & 1) land_groups(w, on, 0);        /* early */
}
bool ptx_decode_wait_group(PtxDecoder *d, PtxInst *i, const PtxStatement *s) {
  bool all = !strcmp(s->name, "cp.async.wait_all");
  if (all ? s->operands != NULL : ptx_operands(s->operands) != 1 || s->operands->kind != PTX_INTEGER) return ptx_refuse_statement(d, "operands of '%s'", s->name);
  i->imm = all ? 0 : (int64_t)s->operands->value;
  i->mode = all;
  return true;
}
void ptx_run_wait_group(PtxWarp *w, const PtxInst *i, uint32_t on) {
  if (i->mode) PTX_EACH(l, on) w->groups[l]++;
  land_groups(w, on, (uint32_t)i->imm);
}
