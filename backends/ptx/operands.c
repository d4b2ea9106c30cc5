/* operands.c: operands of instructions: registers, immediates, addresses, as a signature has them. */
#include <string.h>
#include "backends/ptx/decode.h"

PtxRef ptx_fixed(PtxDecoder *d, uint64_t value, unsigned bits) {
  if (bits < 32) value &= (UINT64_C(1) << bits) - 1;
  if (bits == 1) value = value ? PTX_ALL : 0;
  if (bits == 32) value = (uint32_t)value;
  if (!value) return (PtxRef)PTX_ZERO_ROW;
  uint64_t wide = bits == 64;
  if (2*d->n_fixed >= d->fixed_slots) {                      /* the index of rows by value grows with them */
    d->fixed_slots = d->fixed_slots ? 2*d->fixed_slots : 256;
    d->fixed_index = arena_array(d->arena, d->fixed_slots, sizeof *d->fixed_index);
    for (size_t k = 3; k < d->n_fixed; k++) {
      size_t slot = ptx_symbol_hash((const char *)&d->fixed[2*k], 16) & (d->fixed_slots - 1);
      while (d->fixed_index[slot]) slot = (slot + 1) & (d->fixed_slots - 1);
      d->fixed_index[slot] = (uint32_t)k;
    }
  }
  uint64_t key[2] = {value, wide};
  size_t slot = ptx_symbol_hash((const char *)key, 16) & (d->fixed_slots - 1);
  for (; d->fixed_index[slot]; slot = (slot + 1) & (d->fixed_slots - 1))
    if (!memcmp(&d->fixed[2*d->fixed_index[slot]], key, 16)) return PTX_FIXED_ROW | d->fixed_index[slot];
  d->fixed = arena_grow(d->arena, d->fixed, &d->fixed_capacity, 2*d->n_fixed + 2, sizeof *d->fixed);
  memcpy(&d->fixed[2*d->n_fixed], key, 16);
  d->fixed_index[slot] = (uint32_t)d->n_fixed;
  return PTX_FIXED_ROW | (uint32_t)d->n_fixed++;
}

static const char *const special_names[PTX_SPECIALS] = {
  "%tid.x", "%tid.y", "%tid.z", "%ntid.x", "%ntid.y", "%ntid.z", "%ctaid.x", "%ctaid.y", "%ctaid.z", "%nctaid.x", "%nctaid.y", "%nctaid.z", "%laneid", "%warpid",
  "%lanemask_eq", "%lanemask_le", "%lanemask_lt", "%lanemask_ge", "%lanemask_gt",
};

/* The address of a variable, or a special register. */
static bool decode_name(PtxDecoder *d, const PtxOperand *o, unsigned bits, PtxRef *row) {
  for (int k = 0; k < PTX_SPECIALS && bits == 32; k++)
    if (!strcmp(o->name, special_names[k])) {
      if (!d->kernel->special[k]) d->kernel->special[k] = ptx_symbol_row(d);
      *row = d->kernel->special[k];
      return true;
    }
  Symbol *s = *o->name == '%' ? NULL : ptx_symbol_find_variable(d, o->name);
  if (!s) return ptx_refuse_statement(d, "there is no '%s'", o->name);
  if (bits < 32) return ptx_refuse_statement(d, "the address of '%s' takes 32 bits or more", o->name);
  if (s->row && o->value) return ptx_refuse_statement(d, "'%s + ...' in a value", o->name);
  *row = s->row ? s->row + (bits == 32) : ptx_fixed(d, s->address + o->value, bits);
  return true;
}

static unsigned letter_bits(char letter) { return letter == 'p' ? 1 : letter == 'h' ? 16 : letter == 'r' || letter == 'f' ? 32 : 64; }
static char letter_class(char letter) { return letter == 'f' ? 'r' : letter == 'd' ? 'l' : letter; }

char ptx_type_letter(const char *name) {
  unsigned bits = ptx_type_bits(name);
  bool is_float = !strcmp(name, "f32") || !strcmp(name, "f64");
  return bits == 1 ? 'p' : bits == 16 ? 'h' : bits == 32 ? is_float ? 'f' : 'r' : bits == 64 ? is_float ? 'd' : 'l' : 0;
}

static bool decode_immediate(PtxDecoder *d, const PtxOperand *o, char letter, PtxRef *row) {
  bool is_float = letter == 'f' || letter == 'd';
  if (o->kind == PTX_F32 && letter_class(letter) != 'r') return ptx_refuse_statement(d, "an f32 stands where %u bits are wanted", letter_bits(letter));
  if (o->kind == PTX_F64 && letter_class(letter) != 'l') return ptx_refuse_statement(d, "an f64 stands where %u bits are wanted", letter_bits(letter));
  if (o->kind == PTX_INTEGER && is_float) return ptx_refuse_statement(d, "an integer stands where a float is wanted");
  unsigned bits = letter_bits(letter);
  int64_t high = bits >= 64 ? 0 : (int64_t)o->value >> bits;
  if (o->kind == PTX_INTEGER && high != 0 && high != -1) return ptx_refuse_statement(d, "%lld does not fit in %u bits", (long long)o->value, bits);
  *row = ptx_fixed(d, o->value, bits);
  return true;
}

bool ptx_decode_register(PtxDecoder *d, const PtxOperand *o, PtxRef *row, unsigned *bits) {
  char letter;
  if (o->kind != PTX_NAME || o->value || !ptx_symbol_register(d, o->name, row, &letter)) return ptx_refuse_statement(d, "'%s' is not a register", o->name ? o->name : "...");
  *bits = letter_bits(letter);
  return true;
}

bool ptx_decode_value(PtxDecoder *d, const PtxOperand *o, char letter, bool written, PtxRef *row) {
  if (o->kind == PTX_NAME) {
    char found;
    if (written && !strcmp(o->name, "_")) {                  /* the sink: a row that nobody reads */
      *row = ptx_symbol_row(d);
      return true;
    }
    if (ptx_symbol_register(d, o->name, row, &found)) {
      if (found == letter_class(letter)) return true;
      return ptx_refuse_statement(d, "'%s' has %u bits where %u are wanted", o->name, letter_bits(found), letter_bits(letter));
    }
    if (written) return ptx_refuse_statement(d, "'%s' is not a register", o->name);
    return decode_name(d, o, letter_bits(letter), row);
  }
  if (written || o->kind > PTX_F64 || o->kind < PTX_INTEGER) return ptx_refuse_statement(d, "an operand of '%s' is not a %s", d->statement->name, written ? "register" : "value");
  return decode_immediate(d, o, letter, row);
}

bool ptx_decode_predicate(PtxDecoder *d, const PtxOperand *o, PtxRef *row, bool *negated) {
  PtxOperand plain = *o;
  *negated = o->kind == PTX_NOT_NAME;
  if (*negated) plain.kind = PTX_NAME;
  return ptx_decode_value(d, &plain, 'p', false, row);
}

/* A register, or a variable's address in its own space. */
bool ptx_decode_address(PtxDecoder *d, PtxInst *i, const PtxOperand *o, PtxSpace *space) {
  if (!o || o->kind != PTX_ADDRESS) return ptx_refuse_statement(d, "'%s' wants an address in brackets", d->statement->name);
  char letter;
  i->imm = (int64_t)o->value;
  if (!o->name) {
    i->a = ptx_fixed(d, o->value, 64);
    i->imm = 0;
    i->mode |= PTX_WIDE;
    return true;
  }
  if (ptx_symbol_register(d, o->name, &i->a, &letter)) {
    if (letter == 'l') i->mode |= PTX_WIDE;
    return letter == 'l' || letter == 'r' || ptx_refuse_statement(d, "'%s' is not an address", o->name);
  }
  Symbol *s = ptx_symbol_find_variable(d, o->name);
  if (!s) return ptx_refuse_statement(d, "there is no '%s'", o->name);
  if (*space == PTX_GENERIC && s->space != PTX_GLOBAL) return ptx_refuse_statement(d, "'%s' has no generic address", o->name);
  if (*space != PTX_GENERIC && *space != PTX_PARAM && *space != s->space) return ptx_refuse_statement(d, "'%s' lies in another space", o->name);
  if (*space == PTX_PARAM && s->space != PTX_PARAM && s->space != PTX_LOCAL) return ptx_refuse_statement(d, "'%s' is not a parameter", o->name);
  *space = s->space;
  i->a = s->row ? s->row : ptx_fixed(d, s->address, 64);
  i->mode |= PTX_WIDE;
  return true;
}

unsigned ptx_operands(const PtxOperand *o) {
  unsigned n = 0;
  for (; o; o = o->next) n++;
  return n;
}

bool ptx_decode_signature(PtxDecoder *d, PtxInst *i, const PtxOp *op, const PtxStatement *s) {
  const char *letters = op->signature;
  PtxRef *place[] = {&i->d, &i->a, &i->b, &i->c};
  unsigned n = (unsigned)strlen(letters), k = *letters == '-';
  if (!strcmp(letters, "-")) return true;
  unsigned given = ptx_operands(s->operands);
  if (given != n - k && op->decode != ptx_decode_compare) return ptx_refuse_statement(d, "'%s' takes %u operands, not %u", s->name, n - k, given);
  if (given < n - k) return ptx_refuse_statement(d, "'%s' takes more operands", s->name);
  for (const PtxOperand *o = s->operands; k < n; k++, o = o->next) {
    if (k == 0 && o->kind == PTX_PAIR) continue;             /* of a comparison, whose decoder takes it apart */
    if (!ptx_decode_value(d, o, letters[k], k == 0, place[k])) return false;
  }
  return true;
}
