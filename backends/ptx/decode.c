/* decode.c: from statements to a kernel's code: names become rows, labels places, opcodes functions; calls are written out where they stand, so that
 * nothing at run time has a stack. Whatever is not in the table of opcodes, or has operands of other types, is an error here. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "backends/ptx/decode.h"
#include "ir/suggest.h"

void *ptx_decode_alloc(PtxDecoder *d, size_t size) { return arena_alloc(d->arena, size); }
PtxMode ptx_decoder_mode(const PtxDecoder *d) { return d->module->mode; }

bool ptx_refuse_at(PtxDecoder *d, Range where, const char *format, ...) {
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
  return ptx_refuse_at(d, d->statement->where, "%s", text);
}

/* --- opcodes ---------------------------------------------------------------------------------------------------------------------------------------- */
static void list_spellings(PtxDecoder *d) {
  unsigned n;
  const PtxOp *ops = ptx_ops(&n);
  d->n_spellings = 4096;
  d->spellings = arena_array(d->arena, d->n_spellings, sizeof *d->spellings);
  for (unsigned k = 0; k < n; k++)
    for (const char *at = ops[k].names; *at;) {
      size_t length = strcspn(at, " "), slot = ptx_symbol_hash(at, length) & (d->n_spellings - 1);
      while (d->spellings[slot].text) slot = (slot + 1) & (d->n_spellings - 1);
      d->spellings[slot] = (Spelling){at, length, &ops[k]};
      at += length + (at[length] == ' ');
    }
}

static const PtxOp *spelled(const PtxDecoder *d, const char *text, size_t length) {
  for (size_t slot = ptx_symbol_hash(text, length) & (d->n_spellings - 1); d->spellings[slot].text; slot = (slot + 1) & (d->n_spellings - 1))
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
  Symbol *s = ptx_symbol_find(d, label, strlen(label), f->scope, SYMBOL_LABEL);
  if (!s || s->kind != SYMBOL_LABEL) return ptx_refuse_at(d, f->where, "there is no label '%s'", label);
  *at = s->at;
  return true;
}

static void resolve(PtxDecoder *d, const Fixup *f) {
  PtxInst *i = &d->kernel->code[f->inst];
  if (!f->table) { find_label(d, f, f->label, &i->target); return; }
  Symbol *s = ptx_symbol_find(d, f->label, strlen(f->label), f->scope, SYMBOL_TARGETS);
  if (!s || s->kind != SYMBOL_TARGETS) { ptx_refuse_at(d, f->where, "there is no list of targets '%s'", f->label); return; }
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
    ptx_symbol_layout(formal, &size, &align);
    const Symbol *from = actual->kind == PTX_NAME ? ptx_symbol_find(d, actual->name, strlen(actual->name), caller, SYMBOL_VARIABLE) : NULL;
    if (!from || from->kind != SYMBOL_VARIABLE || from->space != PTX_LOCAL || from->size < size) {
      ptx_refuse_statement(d, "an argument is not a .param variable of the size of '%s'", formal->name);
      return;
    }
    Symbol *to = ptx_symbol_add(d, SYMBOL_VARIABLE, formal->name, formal->where);
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
  Symbol *behind = d->failed ? NULL : ptx_symbol_add(d, SYMBOL_LABEL, d->returns, s->where);
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
    if (!ptx_symbol_register(d, s->guard, &i.guard, &letter) || letter != 'p') { ptx_refuse_statement(d, "'%s' is not a predicate", s->guard); return; }
    i.guarded = true;
    i.unless = s->unless;
  }
  if (!allowed(d, op, s->name) || !ptx_decode_signature(d, &i, op, s) || (op->decode && !op->decode(d, &i, s))) return;
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
    case PTX_REGISTERS: d->statement = s; ptx_symbol_registers(d, s); break;
    case PTX_VARIABLE: d->statement = s; ptx_symbol_variable(d, s->variable); break;
    case PTX_LABEL:
      if (s->name && (symbol = ptx_symbol_add(d, SYMBOL_LABEL, s->name, s->where))) symbol->at = (int32_t)d->kernel->n_code;
      break;
    case PTX_TARGETS:
      if ((symbol = ptx_symbol_add(d, SYMBOL_TARGETS, s->name, s->where))) symbol->labels = s->operands;
      break;
    case PTX_INSTRUCTION: decode_instruction(d, s); break;
    }
  }
}

/* --- kernels --------------------------------------------------------------------------------------------------------------------------------------------------- */
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
  ptx_symbol_params(d, f, &k->info);
  decode_body(d, f->body);
  for (size_t n = 0; n < d->n_fixups && !d->failed; n++) resolve(d, &d->fixups[n]);
  if (d->failed) return NULL;
  k->code = arena_grow(d->arena, k->code, &d->code_capacity, k->n_code + 2, sizeof *k->code);
  k->code[k->n_code++] = (PtxInst){.run = ptx_run_exit, .name = "}", .line = k->n_code ? k->code[k->n_code - 1].line : line_of(d, f->where)};
  d->fixed[2] = d->fixed[4] = ptx_symbol_align(d->shared_bytes, 16);
  fill_fixed(d);
  k->info.name = f->name;
  k->info.shared_bytes = d->shared_bytes;
  k->info.local_bytes = ptx_symbol_align(d->local_bytes, 16);
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
    uint64_t size, align, *end = v->space == PTX_CONST ? &m->const_size : &m->global_size, bytes = ptx_symbol_bytes(v->type), n = 0;
    ptx_symbol_layout(v, &size, &align);
    uint8_t *image = arena_array(m->arena, size + 8, 1);
    for (const PtxOperand *o = v->values; o; o = o->next, n++) {
      if (n == v->count || o->kind < PTX_INTEGER || o->kind > PTX_F64) {
        diag_error(p->diag, v->where, n == v->count ? "'%s' has fewer elements than values" : "a value of '%s' is no number", v->name);
        return false;
      }
      memcpy(image + n*bytes, &o->value, bytes);
    }
    uint64_t at = ptx_symbol_align(*end, align > 16 ? align : 16);
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
