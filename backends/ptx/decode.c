/* decode.c: from statements to a kernel's code: names become rows, labels places, opcodes functions; calls are written out where they stand, so that
 * nothing at run time has a stack. Whatever is not in the table of opcodes, or has operands of other types, is an error here. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/ptx/arith.h"
#include "backends/ptx/ops.h"
#include "ir/suggest.h"

enum { BUCKETS = 1024, MAX_DEPTH = 32, MAX_CODE = 1 << 22, MAX_ROWS = 1 << 16, MAX_BYTES = 512 << 10 };            /* bytes: of local memory a thread has (CUDA's limit) */

/* { } opens a scope; the written-out body of a function is one without a parent. */
typedef struct Scope { const struct Scope *parent; } Scope;

typedef enum SymbolKind { SYMBOL_REGISTER, SYMBOL_RANGE, SYMBOL_VARIABLE, SYMBOL_LABEL, SYMBOL_TARGETS } SymbolKind;
typedef struct Symbol {
  SymbolKind kind;
  const char *name; const Scope *scope;
  char letter;                           /* of registers: p h r l; f and d are r and l of another type */
  PtxRef row, *rows; uint64_t count;
  PtxSpace space; uint64_t address, size;
  int32_t at;
  const PtxOperand *labels;
  struct Symbol *next;
} Symbol;

/* A name to be resolved when all of the kernel is there. */
typedef struct Fixup { uint32_t inst; const char *label; const Scope *scope; Range where; bool table; } Fixup;

typedef struct Spelling { const char *text; size_t length; const PtxOp *op; } Spelling;

struct PtxDecoder {
  PtxModule *module;
  const PtxParser *parser;
  Arena *arena;
  Diag *diag;
  Spelling *spellings; size_t n_spellings;                                   /* hashed; a power of two */
  /* the kernel at hand */
  PtxKernel *kernel;
  size_t code_capacity;
  Symbol *buckets[BUCKETS];
  Fixup *fixups; size_t n_fixups, fixup_capacity;
  uint64_t *fixed; size_t n_fixed, fixed_capacity;                           /* immediates; the second half of a pair says 32 or 64 bits */
  uint32_t *fixed_index; size_t fixed_slots;
  PtxRef extern_row;                     /* immediate that is patched with the place of the extern shared array */
  const Scope *scope;
  const PtxStatement *statement;
  const char *returns;                   /* label behind a written-out function; NULL: in the kernel itself */
  const Scope *returns_scope;
  uint64_t local_bytes, shared_bytes;
  unsigned depth, labels;
  uint32_t line_at; unsigned line;       /* of the text, as far as it has been walked */
  bool failed;
};

void *ptx_decode_alloc(PtxDecoder *d, size_t size) { return arena_alloc(d->arena, size); }
PtxMode ptx_decoder_mode(const PtxDecoder *d) { return d->module->mode; }

static bool refuse_at(PtxDecoder *d, Range where, const char *format, ...) __attribute__((format(printf, 3, 4)));
static bool refuse_at(PtxDecoder *d, Range where, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  diag_error(d->diag, where, "%s", arena_vprintf(d->arena, format, arguments));
  va_end(arguments);
  d->failed = true;
  return false;
}
bool ptx_refuse_statement(PtxDecoder *d, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const char *text = arena_vprintf(d->arena, format, arguments);
  va_end(arguments);
  return refuse_at(d, d->statement->where, "%s", text);
}

/* --- opcodes ---------------------------------------------------------------------------------------------------------------------------------------- */
static uint32_t hash(const char *text, size_t n) {
  uint32_t h = 2166136261u;
  for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)text[i])*16777619u;
  return h;
}

static void list_spellings(PtxDecoder *d) {
  unsigned n;
  const PtxOp *ops = ptx_ops(&n);
  d->n_spellings = 4096;
  d->spellings = arena_array(d->arena, d->n_spellings, sizeof *d->spellings);
  for (unsigned k = 0; k < n; k++)
    for (const char *at = ops[k].names; *at;) {
      size_t length = strcspn(at, " "), slot = hash(at, length) & (d->n_spellings - 1);
      while (d->spellings[slot].text) slot = (slot + 1) & (d->n_spellings - 1);
      d->spellings[slot] = (Spelling){at, length, &ops[k]};
      at += length + (at[length] == ' ');
    }
}

static const PtxOp *spelled(const PtxDecoder *d, const char *text, size_t length) {
  for (size_t slot = hash(text, length) & (d->n_spellings - 1); d->spellings[slot].text; slot = (slot + 1) & (d->n_spellings - 1))
    if (d->spellings[slot].length == length && !memcmp(d->spellings[slot].text, text, length)) return d->spellings[slot].op;
  return NULL;
}

/* setp with a second predicate (setp.lt.and.s32) is the comparison and that. */
static const PtxOp *comparison(PtxDecoder *d, const char *name) {
  static const char *const joins[] = {".and.", ".or.", ".xor."};
  if (strncmp(name, "setp.", 5)) return NULL;
  for (int k = 0; k < 3; k++) {
    const char *found = strstr(name, joins[k]);
    if (!found) continue;
    const char *plain = arena_printf(d->arena, "%.*s%s", (int)(found - name), name, found + strlen(joins[k]) - 1);
    return spelled(d, plain, strlen(plain));
  }
  return NULL;
}

/* The exact spelling, else the one for all with these modifiers in front. */
static const PtxOp *find_op(PtxDecoder *d, const char *name) {
  const PtxOp *op = spelled(d, name, strlen(name));
  for (const char *dot = name + strlen(name); !op && dot > name; dot--)
    if (*dot == '.') op = spelled(d, name, (size_t)(dot - name) + 1);
  return op ? op : comparison(d, name);
}

static bool refuse_op(PtxDecoder *d, const char *name) {
  unsigned n;
  const PtxOp *ops = ptx_ops(&n);
  const char **names = arena_array(d->arena, n, sizeof *names);
  for (unsigned k = 0; k < n; k++) names[k] = arena_strndup(d->arena, ops[k].names, strcspn(ops[k].names, " "));
  const char *near = suggest_word(name, names, n);
  return near ? ptx_refuse_statement(d, "instruction '%s' is not known here; '%s' is", name, near) : ptx_refuse_statement(d, "instruction '%s' is not known here", name);
}

static bool allowed(PtxDecoder *d, const PtxOp *op, const char *name) {
  static const char *const why[] = {[PTX_UNROUNDED] = "has no rounding, so that an assembler may fuse it with another", [PTX_FLUSHING] = "flushes or clamps",
    [PTX_APPROXIMATE] = "does not round as IEEE 754 says"};
  if (op->only == PTX_EVERYWHERE || d->module->mode == PTX_RELAXED) return true;
  return ptx_refuse_statement(d, "'%s' %s: not in a strict kernel", name, why[op->only]);
}

const char *ptx_modifier(const char **at, char *buffer, size_t size) {
  while (**at == '.') ++*at;
  size_t n = strcspn(*at, ".");
  snprintf(buffer, size, "%.*s", (int)n, *at);
  *at += n;
  return buffer;
}

/* --- names ------------------------------------------------------------------------------------------------------------------------------------------- */
static Symbol *find_in(const PtxDecoder *d, const char *name, size_t length, const Scope *scope, SymbolKind kind) {
  for (; scope; scope = scope->parent)
    for (Symbol *s = d->buckets[hash(name, length) % BUCKETS]; s; s = s->next)
      if (s->scope == scope && (s->kind == SYMBOL_RANGE) == (kind == SYMBOL_RANGE) && strlen(s->name) == length && !memcmp(s->name, name, length)) return s;
  return NULL;
}

static Symbol *add_symbol(PtxDecoder *d, SymbolKind kind, const char *name, Range where) {
  Symbol **bucket = &d->buckets[hash(name, strlen(name)) % BUCKETS], *s = arena_alloc(d->arena, sizeof *s);
  for (Symbol *old = *bucket; old; old = old->next)
    if (old->scope == d->scope && (old->kind == SYMBOL_RANGE) == (kind == SYMBOL_RANGE) && !strcmp(old->name, name)) {
      refuse_at(d, where, "'%s' is declared twice", name);
      return NULL;
    }
  *s = (Symbol){.kind = kind, .name = name, .scope = d->scope, .next = *bucket};
  return *bucket = s;
}

static PtxRef new_row(PtxDecoder *d) {
  if (d->kernel->n_rows >= MAX_ROWS) {
    if (!d->failed) ptx_refuse_statement(d, "more than %d registers", MAX_ROWS);
    return 0;
  }
  return d->kernel->n_rows++;
}

static const struct { const char type[8]; char letter; uint8_t bytes; } types[] = {
  {".pred", 'p', 0}, {".b8", 0, 1}, {".u8", 0, 1}, {".s8", 0, 1}, {".b16", 'h', 2}, {".u16", 'h', 2}, {".s16", 'h', 2}, {".f16", 'h', 2}, {".bf16", 'h', 2},
  {".b32", 'r', 4}, {".u32", 'r', 4}, {".s32", 'r', 4}, {".f32", 'r', 4}, {".f16x2", 'r', 4}, {".bf16x2", 'r', 4},
  {".b64", 'l', 8}, {".u64", 'l', 8}, {".s64", 'l', 8}, {".f64", 'l', 8},
};
enum { N_TYPES = sizeof types/sizeof *types };

static unsigned type_of(const char *name) {
  unsigned k = 0;
  while (k < N_TYPES - 1 && strcmp(types[k].type, name)) k++;
  return k;
}

/* Of a type without its dot; 0: there is none. Predicates have 1. */
unsigned ptx_type_bits(const char *name) {
  for (unsigned k = 0; k < N_TYPES; k++)
    if (!strcmp(types[k].type + 1, name)) return types[k].bytes ? 8u*types[k].bytes : 1;
  return 0;
}

static void declare_registers(PtxDecoder *d, const PtxStatement *s) {
  char letter = types[type_of(s->type)].letter;
  if (!letter) { refuse_at(d, s->where, "there are no registers of type %s", s->type); return; }
  if (s->count > MAX_ROWS) { refuse_at(d, s->where, "more than %d registers", MAX_ROWS); return; }
  Symbol *symbol = add_symbol(d, s->count ? SYMBOL_RANGE : SYMBOL_REGISTER, s->name, s->where);
  if (!symbol) return;
  symbol->letter = letter;
  symbol->count = s->count;
  if (s->count) symbol->rows = arena_array(d->arena, s->count, sizeof *symbol->rows);
  else symbol->row = new_row(d);
}

/* %r12 of %r<20>: its row comes into being when it is first met. */
static bool find_register(PtxDecoder *d, const char *name, PtxRef *row, char *letter) {
  Symbol *s = find_in(d, name, strlen(name), d->scope, SYMBOL_REGISTER);
  if (s && s->kind == SYMBOL_REGISTER) {
    *row = s->row;
    *letter = s->letter;
    return true;
  }
  size_t n = strlen(name), prefix = n;
  while (prefix && name[prefix - 1] >= '0' && name[prefix - 1] <= '9') prefix--;
  uint64_t index = strtoull(name + prefix, NULL, 10);
  s = prefix < n ? find_in(d, name, prefix, d->scope, SYMBOL_RANGE) : NULL;
  if (!s || index >= s->count) return false;
  if (!s->rows[index]) s->rows[index] = new_row(d);
  *row = s->rows[index];
  *letter = s->letter;
  return true;
}

static uint64_t align_up(uint64_t x, uint64_t to) { return (x + to - 1) & ~(to - 1); }

static void variable_layout(const PtxVariable *v, uint64_t *size, uint64_t *align) {
  uint64_t bytes = types[type_of(v->type)].bytes;
  *size = v->count*bytes;
  *align = v->align ? v->align : bytes ? bytes : 1;
}

static Symbol *declare_variable(PtxDecoder *d, const PtxVariable *v) {
  uint64_t size, align, *end = v->space == PTX_SHARED ? &d->shared_bytes : &d->local_bytes;
  variable_layout(v, &size, &align);
  if (v->space == PTX_GLOBAL || v->space == PTX_CONST) { refuse_at(d, v->where, "'%s': .global and .const stand outside of functions", v->name); return NULL; }
  Symbol *s = add_symbol(d, SYMBOL_VARIABLE, v->name, v->where);
  if (!s) return NULL;
  if (v->external || !v->count) {
    if (v->space != PTX_SHARED) { refuse_at(d, v->where, "'%s' has no size", v->name); return NULL; }
    s->space = PTX_SHARED;
    s->row = d->extern_row;
    d->kernel->extern_shared = true;
    return s;
  }
  s->space = v->space == PTX_SHARED ? PTX_SHARED : PTX_LOCAL;            /* parameters of a call within a body are a thread's own */
  s->address = align_up(*end, align);
  s->size = size;
  *end = s->address + size;
  if (*end > MAX_BYTES) refuse_at(d, v->where, "'%s' is too large", v->name);
  return s;
}

/* Variables outside of functions: shared ones get their place in a kernel where that first names them. */
static Symbol *find_variable(PtxDecoder *d, const char *name) {
  static const Scope everywhere = {0};
  Symbol *s = find_in(d, name, strlen(name), d->scope, SYMBOL_VARIABLE);
  if (!s) s = find_in(d, name, strlen(name), &everywhere, SYMBOL_VARIABLE);
  if (s) return s->kind == SYMBOL_VARIABLE ? s : NULL;
  const Scope *inner = d->scope;
  d->scope = &everywhere;
  for (const PtxVariable *v = d->parser->variables.first; v && !s; v = v->next)
    if (v->space == PTX_SHARED && !strcmp(v->name, name)) s = declare_variable(d, v);
  for (unsigned k = 0; k < d->module->n_statics && !s; k++) {
    const PtxStatic *x = &d->module->statics[k];
    if (strcmp(x->name, name) || !(s = add_symbol(d, SYMBOL_VARIABLE, name, d->statement->where))) continue;
    s->space = x->space;
    s->address = x->offset + (x->space == PTX_GLOBAL ? PTX_WINDOW(PTX_GLOBAL) : 0);        /* global addresses are generic ones */
    s->size = x->size;
  }
  d->scope = inner;
  return s;
}

/* --- operands ------------------------------------------------------------------------------------------------------------------------------------------ */
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
      size_t slot = hash((const char *)&d->fixed[2*k], 16) & (d->fixed_slots - 1);
      while (d->fixed_index[slot]) slot = (slot + 1) & (d->fixed_slots - 1);
      d->fixed_index[slot] = (uint32_t)k;
    }
  }
  uint64_t key[2] = {value, wide};
  size_t slot = hash((const char *)key, 16) & (d->fixed_slots - 1);
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

bool ptx_decode_name(PtxDecoder *d, const PtxOperand *o, unsigned bits, PtxRef *row) {
  for (int k = 0; k < PTX_SPECIALS && bits == 32; k++)
    if (!strcmp(o->name, special_names[k])) {
      if (!d->kernel->special[k]) d->kernel->special[k] = new_row(d);
      *row = d->kernel->special[k];
      return true;
    }
  Symbol *s = *o->name == '%' ? NULL : find_variable(d, o->name);
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
  if (o->kind != PTX_NAME || o->value || !find_register(d, o->name, row, &letter)) return ptx_refuse_statement(d, "'%s' is not a register", o->name ? o->name : "...");
  *bits = letter_bits(letter);
  return true;
}

bool ptx_decode_value(PtxDecoder *d, const PtxOperand *o, char letter, bool written, PtxRef *row) {
  if (o->kind == PTX_NAME) {
    char found;
    if (written && !strcmp(o->name, "_")) {                  /* the sink: a row that nobody reads */
      *row = new_row(d);
      return true;
    }
    if (find_register(d, o->name, row, &found)) {
      if (found == letter_class(letter)) return true;
      return ptx_refuse_statement(d, "'%s' has %u bits where %u are wanted", o->name, letter_bits(found), letter_bits(letter));
    }
    if (written) return ptx_refuse_statement(d, "'%s' is not a register", o->name);
    return ptx_decode_name(d, o, letter_bits(letter), row);
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
  if (find_register(d, o->name, &i->a, &letter)) {
    if (letter == 'l') i->mode |= PTX_WIDE;
    return letter == 'l' || letter == 'r' || ptx_refuse_statement(d, "'%s' is not an address", o->name);
  }
  Symbol *s = find_variable(d, o->name);
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

/* Result and operands as the signature of a plain operation says. */
static bool decode_signature(PtxDecoder *d, PtxInst *i, const PtxOp *op, const PtxStatement *s) {
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

/* --- control flow ---------------------------------------------------------------------------------------------------------------------------------------- */
static void add_fixup(PtxDecoder *d, const char *label, const Scope *scope, bool table) {
  d->fixups = arena_grow(d->arena, d->fixups, &d->fixup_capacity, d->n_fixups + 1, sizeof *d->fixups);
  d->fixups[d->n_fixups++] = (Fixup){d->kernel->n_code, label, scope, d->statement->where, table};
}

bool ptx_decode_branch(PtxDecoder *d, PtxInst *i, const PtxStatement *s) {
  if (ptx_operands(s->operands) != 1 || s->operands->kind != PTX_NAME) return ptx_refuse_statement(d, "'%s' takes a label", s->name);
  add_fixup(d, s->operands->name, d->scope, false);
  return true;
}

bool ptx_decode_table(PtxDecoder *d, PtxInst *i, const PtxStatement *s) {
  const PtxOperand *index = s->operands;
  if (ptx_operands(index) != 2 || index->next->kind != PTX_NAME) return ptx_refuse_statement(d, "'%s' takes an index and a list of targets", s->name);
  add_fixup(d, index->next->name, d->scope, true);
  return ptx_decode_value(d, index, 'r', false, &i->a);
}

bool ptx_decode_return(PtxDecoder *d, PtxInst *i, const PtxStatement *s) {
  if (s->operands) return ptx_refuse_statement(d, "'%s' takes no operands", s->name);
  i->run = d->returns ? ptx_run_branch : ptx_run_exit;
  if (d->returns) add_fixup(d, d->returns, d->returns_scope, false);
  return true;
}

static bool find_label(PtxDecoder *d, const Fixup *f, const char *label, int32_t *at) {
  Symbol *s = find_in(d, label, strlen(label), f->scope, SYMBOL_LABEL);
  if (!s || s->kind != SYMBOL_LABEL) return refuse_at(d, f->where, "there is no label '%s'", label);
  *at = s->at;
  return true;
}

static void resolve(PtxDecoder *d, const Fixup *f) {
  PtxInst *i = &d->kernel->code[f->inst];
  if (!f->table) { find_label(d, f, f->label, &i->target); return; }
  Symbol *s = find_in(d, f->label, strlen(f->label), f->scope, SYMBOL_TARGETS);
  if (!s || s->kind != SYMBOL_TARGETS) { refuse_at(d, f->where, "there is no list of targets '%s'", f->label); return; }
  PtxTargets *targets = arena_alloc(d->arena, sizeof *targets);
  targets->n = ptx_operands(s->labels);
  targets->at = arena_array(d->arena, targets->n, sizeof *targets->at);
  uint32_t k = 0;
  for (const PtxOperand *o = s->labels; o; o = o->next) find_label(d, f, o->name, &targets->at[k++]);
  i->more = targets;
}

/* Statements come in order but for calls: the text is walked on from the last place. */
static unsigned line_of(PtxDecoder *d, Range where) {
  if (where.begin < d->line_at) {
    d->line_at = 0;
    d->line = 1;
  }
  for (; d->line_at < where.begin; d->line_at++) d->line += where.source->text[d->line_at] == '\n';
  return d->line;
}

/* --- statements --------------------------------------------------------------------------------------------------------------------------------------------- */
static void decode_body(PtxDecoder *d, const PtxStatement *s);

static void bind(PtxDecoder *d, const PtxVariable *formal, const PtxOperand *actual, const Scope *caller) {
  for (; formal && actual; formal = formal->next, actual = actual->next) {
    uint64_t size, align;
    variable_layout(formal, &size, &align);
    const Symbol *from = actual->kind == PTX_NAME ? find_in(d, actual->name, strlen(actual->name), caller, SYMBOL_VARIABLE) : NULL;
    if (!from || from->kind != SYMBOL_VARIABLE || from->space != PTX_LOCAL || from->size < size) {
      ptx_refuse_statement(d, "an argument is not a .param variable of the size of '%s'", formal->name);
      return;
    }
    Symbol *to = add_symbol(d, SYMBOL_VARIABLE, formal->name, formal->where);
    if (!to) return;
    to->space = from->space;
    to->address = from->address;
    to->size = size;
  }
  if (formal || actual) ptx_refuse_statement(d, "the call has another number of arguments than the function");
}

/* call (results), function, (arguments); */
static void write_out_call(PtxDecoder *d, const PtxStatement *s) {
  const PtxOperand *o = s->operands, *results = NULL, *arguments = NULL;
  if (o && o->kind == PTX_LIST) { results = o->items; o = o->next; }
  const char *name = o && o->kind == PTX_NAME ? o->name : NULL;
  if (name && o->next && o->next->kind == PTX_LIST) arguments = o->next->items;
  const PtxFunction *f = d->parser->functions;
  while (f && (f->entry || !name || strcmp(f->name, name))) f = f->next;
  if (!f) { ptx_refuse_statement(d, "there is no function '%s'", name ? name : "..."); return; }
  if (s->guard) { ptx_refuse_statement(d, "a call under a predicate"); return; }
  if (d->depth == MAX_DEPTH) { ptx_refuse_statement(d, "calls are nested more than %d deep", MAX_DEPTH); return; }
  const Scope *caller = d->scope, *outer_scope = d->returns_scope;
  const char *outer = d->returns;
  Scope *scope = arena_alloc(d->arena, sizeof *scope);
  d->scope = scope;
  bind(d, f->results, results, caller);
  bind(d, f->params, arguments, caller);
  d->returns = arena_printf(d->arena, " behind call %u", d->labels++);    /* no name of the text begins with a blank */
  d->returns_scope = scope;
  d->depth++;
  if (!d->failed) decode_body(d, f->body);
  d->depth--;
  d->scope = scope;
  Symbol *behind = d->failed ? NULL : add_symbol(d, SYMBOL_LABEL, d->returns, s->where);
  if (behind) behind->at = (int32_t)d->kernel->n_code;
  d->scope = caller;
  d->returns = outer;
  d->returns_scope = outer_scope;
}

static void decode_instruction(PtxDecoder *d, const PtxStatement *s) {
  d->statement = s;
  if (!strcmp(s->name, "call") || !strcmp(s->name, "call.uni")) { write_out_call(d, s); return; }
  const PtxOp *op = find_op(d, s->name);
  if (!op) { refuse_op(d, s->name); return; }
  PtxInst i = {.run = op->run, .meet = op->meet, .line = line_of(d, s->where), .name = s->name,
    .d = 0, .a = (PtxRef)PTX_ZERO_ROW, .b = (PtxRef)PTX_ZERO_ROW, .c = (PtxRef)PTX_ZERO_ROW, .e = (PtxRef)PTX_ZERO_ROW};
  if (s->guard) {
    char letter;
    if (!find_register(d, s->guard, &i.guard, &letter) || letter != 'p') { ptx_refuse_statement(d, "'%s' is not a predicate", s->guard); return; }
    i.guarded = true;
    i.unless = s->unless;
  }
  if (!allowed(d, op, s->name) || !decode_signature(d, &i, op, s) || (op->decode && !op->decode(d, &i, s))) return;
  if (d->kernel->n_code == MAX_CODE) { ptx_refuse_statement(d, "more than %d instructions", MAX_CODE); return; }
  d->kernel->code = arena_grow(d->arena, d->kernel->code, &d->code_capacity, d->kernel->n_code + 2, sizeof *d->kernel->code);
  d->kernel->code[d->kernel->n_code++] = i;
}

static void decode_body(PtxDecoder *d, const PtxStatement *s) {
  for (; s && !d->failed; s = s->next) {
    Symbol *symbol;
    switch (s->kind) {
    case PTX_OPEN: {
      Scope *inner = arena_alloc(d->arena, sizeof *inner);
      inner->parent = d->scope;
      d->scope = inner;
      break;
    }
    case PTX_CLOSE: d->scope = d->scope->parent; break;
    case PTX_REGISTERS: d->statement = s; declare_registers(d, s); break;
    case PTX_VARIABLE: d->statement = s; declare_variable(d, s->variable); break;
    case PTX_LABEL:
      if (s->name && (symbol = add_symbol(d, SYMBOL_LABEL, s->name, s->where))) symbol->at = (int32_t)d->kernel->n_code;
      break;
    case PTX_TARGETS:
      if ((symbol = add_symbol(d, SYMBOL_TARGETS, s->name, s->where))) symbol->labels = s->operands;
      break;
    case PTX_INSTRUCTION: decode_instruction(d, s); break;
    }
  }
}

/* --- kernels --------------------------------------------------------------------------------------------------------------------------------------------------- */
static void declare_params(PtxDecoder *d, const PtxFunction *f, PtxKernelInfo *info) {
  for (const PtxVariable *v = f->params; v; v = v->next) info->n_params++;
  size_t *offsets = arena_array(d->arena, info->n_params + 1, sizeof *offsets), *sizes = arena_array(d->arena, info->n_params + 1, sizeof *sizes), k = 0;
  for (const PtxVariable *v = f->params; v; v = v->next, k++) {
    uint64_t size, align;
    variable_layout(v, &size, &align);
    Symbol *s = add_symbol(d, SYMBOL_VARIABLE, v->name, v->where);
    if (!s) return;
    s->space = PTX_PARAM;
    s->address = offsets[k] = align_up(info->param_bytes, align);
    s->size = sizes[k] = size;
    info->param_bytes = s->address + size;
  }
  info->param_offset = offsets;
  info->param_size = sizes;
}

/* Immediates as rows: 32 times the value, in 32 or 64 bits. */
static void fill_fixed(PtxDecoder *d) {
  char *rows = arena_array(d->arena, d->n_fixed, PTX_ROW);
  for (size_t k = 1; k < d->n_fixed; k++)
    for (int l = 0; l < PTX_LANES; l++) {
      if (d->fixed[2*k + 1]) ((uint64_t *)(void *)(rows + k*PTX_ROW))[l] = d->fixed[2*k];
      else ((uint32_t *)(void *)(rows + k*PTX_ROW))[l] = (uint32_t)d->fixed[2*k];
    }
  d->kernel->fixed = rows;
  d->kernel->n_fixed = (uint32_t)d->n_fixed;
}

static PtxKernel *decode_kernel(PtxDecoder *d, const PtxFunction *f) {
  PtxKernel *k = arena_alloc(d->arena, sizeof *k);
  PtxStatement whole = {.where = f->where, .name = f->name};
  Scope *scope = arena_alloc(d->arena, sizeof *scope);
  memset(d->buckets, 0, sizeof d->buckets);
  d->kernel = k;
  d->code_capacity = d->n_fixups = d->fixup_capacity = d->fixed_capacity = d->fixed_slots = 0;
  d->fixups = NULL;
  d->fixed = NULL;
  d->fixed_index = NULL;
  d->fixed = arena_grow(d->arena, NULL, &d->fixed_capacity, 6, sizeof *d->fixed);
  d->fixed[3] = 1;
  d->n_fixed = 3;                        /* row 0 is zero, rows 1 and 2 the place of the extern shared array in 64 and 32 bits; none is in the index */
  d->extern_row = PTX_FIXED_ROW | 1;
  d->scope = scope;
  d->statement = &whole;
  d->returns = NULL;
  d->local_bytes = d->shared_bytes = 0;
  k->n_rows = 1;                         /* row 0 is nobody's */
  declare_params(d, f, &k->info);
  decode_body(d, f->body);
  for (size_t n = 0; n < d->n_fixups && !d->failed; n++) resolve(d, &d->fixups[n]);
  if (d->failed) return NULL;
  k->code = arena_grow(d->arena, k->code, &d->code_capacity, k->n_code + 2, sizeof *k->code);
  k->code[k->n_code++] = (PtxInst){.run = ptx_run_exit, .name = "}", .line = k->n_code ? k->code[k->n_code - 1].line : line_of(d, f->where)};
  d->fixed[2] = d->fixed[4] = align_up(d->shared_bytes, 16);
  fill_fixed(d);
  k->info.name = f->name;
  k->info.shared_bytes = d->shared_bytes;
  k->info.local_bytes = align_up(d->local_bytes, 16);
  k->info.instructions = k->n_code - 1;
  k->info.registers = k->n_rows - 1;
  k->info.block_limit = f->block_limit;
  return k;
}

static bool lay_out_statics(PtxModule *m, const PtxParser *p) {
  for (const PtxVariable *v = p->variables.first; v; v = v->next) m->n_statics += v->space == PTX_GLOBAL || v->space == PTX_CONST;
  m->statics = arena_array(m->arena, m->n_statics + 1, sizeof *m->statics);
  unsigned k = 0;
  for (const PtxVariable *v = p->variables.first; v; v = v->next) {
    if (v->space != PTX_GLOBAL && v->space != PTX_CONST) continue;
    if (v->external || !v->count) {
      diag_error(p->diag, v->where, "'%s' is defined elsewhere", v->name);
      return false;
    }
    uint64_t size, align, *end = v->space == PTX_CONST ? &m->const_size : &m->global_size, bytes = types[type_of(v->type)].bytes, n = 0;
    variable_layout(v, &size, &align);
    uint8_t *image = arena_array(m->arena, size + 8, 1);
    for (const PtxOperand *o = v->values; o; o = o->next, n++) {
      if (n == v->count || o->kind < PTX_INTEGER || o->kind > PTX_F64) {
        diag_error(p->diag, v->where, n == v->count ? "'%s' has fewer elements than values" : "a value of '%s' is no number", v->name);
        return false;
      }
      memcpy(image + n*bytes, &o->value, bytes);
    }
    uint64_t at = align_up(*end, align > 16 ? align : 16);
    m->statics[k++] = (PtxStatic){v->name, v->space, at, size, image};
    *end = at + size;
  }
  return true;
}

bool ptx_decode(PtxModule *m, const PtxParser *p) {
  PtxDecoder *d = arena_alloc(m->arena, sizeof *d);
  d->module = m;
  d->parser = p;
  d->arena = m->arena;
  d->diag = p->diag;
  d->line = 1;
  list_spellings(d);
  if (!lay_out_statics(m, p)) return false;
  unsigned n = 0;
  for (const PtxFunction *f = p->functions; f; f = f->next) n += f->entry;
  m->kernels = arena_array(m->arena, n + 1, sizeof *m->kernels);
  bool good = true;
  for (const PtxFunction *f = p->functions; f; f = f->next) {
    if (!f->entry) continue;
    d->failed = false;                   /* each kernel shows its first mistake */
    m->kernels[m->n_kernels] = decode_kernel(d, f);
    good = good && m->kernels[m->n_kernels];
    m->n_kernels += m->kernels[m->n_kernels] != NULL;
  }
  return good;
}
