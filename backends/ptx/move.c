/* move.c: operations that move, choose and pack values, and those on predicates. */
#include <string.h>
#include "backends/ptx/arith.h"
#include "backends/ptx/ops.h"

typedef uint32_t __attribute__((may_alias)) Lane32;
typedef uint64_t __attribute__((may_alias)) Lane64;

/* --- predicates ------------------------------------------------------------------------------------------------------------------------------- */

static void set_mask(PtxWarp *w, PtxRef p, uint32_t on, uint32_t mask, uint32_t undefined) {
  uint32_t *row = ptx_row(w, p);
  *row = (*row & ~on) | (mask & on);
  ptx_taint(w, p, on, undefined);
}

/* Joins of a comparison with a second predicate, and of logic on predicates. */
enum { PLAIN, AND, OR, XOR, NOT };
static uint32_t join(int how, uint32_t a, uint32_t b) { return how == AND ? a & b : how == OR ? a | b : how == XOR ? a ^ b : a; }

/* p is the comparison joined with c, q its opposite joined with c. */
void ptx_set_predicates(PtxWarp *w, const PtxInst *i, uint32_t on, uint32_t mask) {
  uint32_t c = ptx_mask(w, i->c) ^ (i->negated ? PTX_ALL : 0);
  uint32_t undefined = *ptx_undefined(w, i->a) | *ptx_undefined(w, i->b) | *ptx_undefined(w, i->c);
  set_mask(w, i->d, on, join(i->mode, mask, c), undefined);
  if (i->e != (PtxRef)PTX_ZERO_ROW) set_mask(w, i->e, on, join(i->mode, ~mask, c), undefined);
}

/* setp.lt[.and].s32 p[|q], a, b[, [!]c] */
bool ptx_decode_compare(PtxDecoder *d, PtxInst *i, const PtxStatement *s) {
  static const char *const joins[] = {[AND] = ".and.", [OR] = ".or.", [XOR] = ".xor."};
  const PtxOperand *result = s->operands;
  for (int k = AND; k <= XOR; k++)
    if (strstr(s->name, joins[k])) i->mode = (uint8_t)k;
  if (ptx_operands(result) != (i->mode ? 4u : 3u)) return ptx_refuse_statement(d, "'%s' takes %d operands", s->name, i->mode ? 4 : 3);
  if (i->mode && !ptx_decode_predicate(d, result->next->next->next, &i->c, &i->negated)) return false;
  if (result->kind != PTX_PAIR) return true;
  PtxOperand first = {.kind = PTX_NAME, .name = result->name}, second = {.kind = PTX_NAME, .name = result->second};
  return ptx_decode_value(d, &first, 'p', true, &i->d) && ptx_decode_value(d, &second, 'p', true, &i->e);
}

static void run_logic(PtxWarp *w, const PtxInst *i, uint32_t on) {
  uint32_t a = ptx_mask(w, i->a), b = ptx_mask(w, i->b), ua = *ptx_undefined(w, i->a), ub = *ptx_undefined(w, i->b), u = ua | ub;
  if (i->mode == AND) u &= ~((~a & ~ua) | (~b & ~ub));     /* a certain false decides */
  if (i->mode == OR) u &= ~((a & ~ua) | (b & ~ub));
  set_mask(w, i->d, on, i->mode == NOT ? ~a : join(i->mode, a, b), u);
}
bool ptx_decode_logic(PtxDecoder *d, PtxInst *i, const PtxStatement *s) {
  i->mode = *s->name == 'a' ? AND : *s->name == 'o' ? OR : *s->name == 'x' ? XOR : NOT;
  i->run = run_logic;
  return true;
}

/* --- moves -------------------------------------------------------------------------------------------------------------------------------------- */
static void run_move_predicate(PtxWarp *w, const PtxInst *i, uint32_t on) { set_mask(w, i->d, on, ptx_mask(w, i->a), *ptx_undefined(w, i->a)); }

#define MOVE(bits) \
  static void run_move_##bits(PtxWarp *w, const PtxInst *i, uint32_t on) { \
    Lane##bits *d = ptx_row(w, i->d); \
    const Lane##bits *a = ptx_row(w, i->a); \
    if (on == PTX_ALL) for (int l = 0; l < PTX_LANES; l++) d[l] = a[l]; \
    else PTX_EACH(l, on) d[l] = a[l]; \
    ptx_taint(w, i->d, on, *ptx_undefined(w, i->a)); \
  } \
  static void run_select_##bits(PtxWarp *w, const PtxInst *i, uint32_t on) { \
    Lane##bits *d = ptx_row(w, i->d); \
    const Lane##bits *a = ptx_row(w, i->a), *b = ptx_row(w, i->b); \
    uint32_t c = ptx_mask(w, i->c); \
    PTX_EACH(l, on) d[l] = c >> l & 1 ? a[l] : b[l]; \
    ptx_taint(w, i->d, on, (c & *ptx_undefined(w, i->a)) | (~c & *ptx_undefined(w, i->b)) | *ptx_undefined(w, i->c)); \
  }
MOVE(32) MOVE(64)

/* mov.b64 {a, b}, c and mov.b64 c, {a, b}: parts from the low end. */
typedef struct Parts { uint8_t n, bits, whole; PtxRef part[4]; } Parts;

static void run_unpack(PtxWarp *w, const PtxInst *i, uint32_t on) {
  const Parts *p = i->more;
  uint32_t undefined = *ptx_undefined(w, i->a);
  PTX_EACH(l, on) {
    uint64_t x = ptx_get(w, i->a, l, p->whole);
    for (unsigned k = 0; k < p->n; k++) ptx_set(w, p->part[k], l, p->bits, x >> k*p->bits);
  }
  for (unsigned k = 0; k < p->n; k++) ptx_taint(w, p->part[k], on, undefined);
}
static void run_pack(PtxWarp *w, const PtxInst *i, uint32_t on) {
  const Parts *p = i->more;
  uint32_t undefined = 0;
  PTX_EACH(l, on) {
    uint64_t x = 0;
    for (unsigned k = 0; k < p->n; k++) x |= ptx_get(w, p->part[k], l, p->bits) << k*p->bits;
    ptx_set(w, i->d, l, p->whole, x);
  }
  for (unsigned k = 0; k < p->n; k++) undefined |= *ptx_undefined(w, p->part[k]);
  ptx_taint(w, i->d, on, undefined);
}

static bool decode_parts(PtxDecoder *d, PtxInst *i, const PtxOperand *vector, const PtxOperand *whole, unsigned bits, bool unpack) {
  Parts *p = ptx_decode_alloc(d, sizeof *p);
  unsigned n = ptx_operands(vector->items);
  if ((n != 2 && n != 4) || bits/n < 16) return ptx_refuse_statement(d, "%u bits have no %u parts here", bits, n);
  *p = (Parts){.n = (uint8_t)n, .bits = (uint8_t)(bits/n), .whole = (uint8_t)bits};
  unsigned k = 0;
  for (const PtxOperand *o = vector->items; o; o = o->next)
    if (!ptx_decode_value(d, o, p->bits == 16 ? 'h' : 'r', unpack, &p->part[k++])) return false;
  i->more = p;
  i->run = unpack ? run_unpack : run_pack;
  return ptx_decode_value(d, whole, bits == 32 ? 'r' : 'l', !unpack, unpack ? &i->a : &i->d);
}

bool ptx_decode_move(PtxDecoder *d, PtxInst *i, const PtxStatement *s) {
  const char *type = s->name + strlen("mov.");
  const PtxOperand *to = s->operands, *from = to ? to->next : NULL;
  unsigned bits = ptx_type_bits(type);
  if (!bits || bits == 8) return ptx_refuse_statement(d, "instruction '%s' is not known here", s->name);
  if (ptx_operands(to) != 2) return ptx_refuse_statement(d, "'%s' takes 2 operands", s->name);
  if (to->kind == PTX_VECTOR) return decode_parts(d, i, to, from, bits, true);
  if (from->kind == PTX_VECTOR) return decode_parts(d, i, from, to, bits, false);
  char letter = ptx_type_letter(type);
  i->run = bits == 1 ? run_move_predicate : bits == 64 ? run_move_64 : run_move_32;
  return ptx_decode_value(d, to, letter, true, &i->d) && ptx_decode_value(d, from, letter, false, &i->a);
}

bool ptx_decode_select(PtxDecoder *d, PtxInst *i, const PtxStatement *s) {
  char letter = ptx_type_letter(s->name + strlen("selp."));
  const PtxOperand *o = s->operands;
  if (!letter || letter == 'p') return ptx_refuse_statement(d, "instruction '%s' is not known here", s->name);
  if (ptx_operands(o) != 4) return ptx_refuse_statement(d, "'%s' takes 4 operands", s->name);
  i->run = letter == 'l' || letter == 'd' ? run_select_64 : run_select_32;
  return ptx_decode_value(d, o, letter, true, &i->d) && ptx_decode_value(d, o->next, letter, false, &i->a) && ptx_decode_value(d, o->next->next, letter, false, &i->b) &&
         ptx_decode_value(d, o->next->next->next, 'p', false, &i->c);
}

/* --- four operands --------------------------------------------------------------------------------------------------------------------------------- */
static bool decode_five(PtxDecoder *d, PtxInst *i, const PtxStatement *s, const char *letters) {
  PtxRef *place[] = {&i->d, &i->a, &i->b, &i->c, &i->e};
  const PtxOperand *o = s->operands;
  if (ptx_operands(o) != 5) return ptx_refuse_statement(d, "'%s' takes 5 operands", s->name);
  for (int k = 0; k < 5; k++, o = o->next)
    if (!ptx_decode_value(d, o, letters[k], k == 0, place[k])) return false;
  return true;
}
static void taint_five(PtxWarp *w, const PtxInst *i, uint32_t on) {
  ptx_taint(w, i->d, on, *ptx_undefined(w, i->a) | *ptx_undefined(w, i->b) | *ptx_undefined(w, i->c) | *ptx_undefined(w, i->e));
}
static void run_insert(PtxWarp *w, const PtxInst *i, uint32_t on) {
  PTX_EACH(l, on)
    ptx_set(w, i->d, l, i->mode, insert(ptx_get(w, i->a, l, i->mode), ptx_get(w, i->b, l, i->mode), (uint32_t)ptx_get(w, i->c, l, 32), (uint32_t)ptx_get(w, i->e, l, 32), i->mode));
  taint_five(w, i, on);
}
bool ptx_decode_insert(PtxDecoder *d, PtxInst *i, const PtxStatement *s) {
  i->mode = !strcmp(s->name, "bfi.b64") ? 64 : 32;
  i->run = run_insert;
  return decode_five(d, i, s, i->mode == 64 ? "lllrr" : "rrrrr");
}
static void run_lookup(PtxWarp *w, const PtxInst *i, uint32_t on) {
  PTX_EACH(l, on) {
    uint32_t a = (uint32_t)ptx_get(w, i->a, l, 32), b = (uint32_t)ptx_get(w, i->b, l, 32), c = (uint32_t)ptx_get(w, i->c, l, 32);
    ptx_set(w, i->d, l, 32, lookup3(a, b, c, (uint32_t)ptx_get(w, i->e, l, 32)));
  }
  taint_five(w, i, on);
}
bool ptx_decode_lookup(PtxDecoder *d, PtxInst *i, const PtxStatement *s) {
  i->run = run_lookup;
  if (!decode_five(d, i, s, "rrrrr")) return false;
  const PtxOperand *table = s->operands->next->next->next->next;
  return table->kind == PTX_INTEGER || ptx_refuse_statement(d, "the table of '%s' is a number", s->name);
}

/* --- cvta: between a space and the generic addresses ------------------------------------------------------------------------------------------------ */
static void run_window(PtxWarp *w, const PtxInst *i, uint32_t on) {
  PTX_EACH(l, on) ptx_set(w, i->d, l, 64, ptx_get(w, i->a, l, 64) + (uint64_t)i->imm);
  ptx_taint(w, i->d, on, *ptx_undefined(w, i->a));
}
bool ptx_decode_window(PtxDecoder *d, PtxInst *i, const PtxStatement *s) {
  static const struct { const char *name; PtxSpace space; } spaces[] = {{"global", PTX_GLOBAL}, {"shared", PTX_SHARED}, {"shared::cta", PTX_SHARED}, {"local", PTX_LOCAL},
    {"const", PTX_CONST}, {"param", PTX_PARAM}};
  const char *at = s->name + strlen("cvta");
  char word[32];
  bool to = !strcmp(ptx_modifier(&at, word, sizeof word), "to");
  if (to) ptx_modifier(&at, word, sizeof word);
  for (unsigned k = 0; k < sizeof spaces/sizeof *spaces; k++) {
    if (strcmp(word, spaces[k].name) || strcmp(at, ".u64")) continue;
    uint64_t window = spaces[k].space == PTX_GLOBAL ? 0 : PTX_WINDOW(spaces[k].space);
    i->imm = (int64_t)(to ? 0 - window : window);
    i->run = run_window;
    if (ptx_operands(s->operands) != 2) return ptx_refuse_statement(d, "'%s' takes 2 operands", s->name);
    return ptx_decode_value(d, s->operands, 'l', true, &i->d) && ptx_decode_value(d, s->operands->next, 'l', false, &i->a);
  }
  return ptx_refuse_statement(d, "instruction '%s' is not known here", s->name);
}

/* --- cvt from and to 8 bits: registers may be wider than the types ---------------------------------------------------------------------------------- */
typedef struct Narrow { uint8_t from, to, from_register, to_register; bool is_signed, to_signed; } Narrow;

static uint64_t extend(uint64_t x, unsigned bits, bool is_signed) {
  return is_signed ? (uint64_t)((int64_t)(x << (64 - bits)) >> (64 - bits)) : bits == 64 ? x : x & ((UINT64_C(1) << bits) - 1);
}
static void run_narrow(PtxWarp *w, const PtxInst *i, uint32_t on) {
  const Narrow *n = i->more;
  PTX_EACH(l, on) ptx_set(w, i->d, l, n->to_register, extend(extend(ptx_get(w, i->a, l, n->from_register), n->from, n->is_signed), n->to, n->to_signed));
  ptx_taint(w, i->d, on, *ptx_undefined(w, i->a));
}
bool ptx_decode_narrow(PtxDecoder *d, PtxInst *i, const PtxStatement *s) {
  const char *at = s->name + strlen("cvt");
  char to[16], from[16];
  ptx_modifier(&at, to, sizeof to);
  ptx_modifier(&at, from, sizeof from);
  unsigned to_bits = ptx_type_bits(to), from_bits = ptx_type_bits(from), to_register, from_register;
  if (*at || !strchr("us", *to) || !strchr("us", *from) || to_bits < 8 || from_bits < 8) return ptx_refuse_statement(d, "instruction '%s' is not known here", s->name);
  if (ptx_operands(s->operands) != 2) return ptx_refuse_statement(d, "'%s' takes 2 operands", s->name);
  if (!ptx_decode_register(d, s->operands, &i->d, &to_register) || !ptx_decode_register(d, s->operands->next, &i->a, &from_register)) return false;
  if (to_register < to_bits || from_register < from_bits) return ptx_refuse_statement(d, "a register of '%s' is narrower than its type", s->name);
  Narrow *n = ptx_decode_alloc(d, sizeof *n);
  *n = (Narrow){(uint8_t)from_bits, (uint8_t)to_bits, (uint8_t)from_register, (uint8_t)to_register, *from == 's', *to == 's'};
  i->more = n;
  i->run = run_narrow;
  return true;
}
