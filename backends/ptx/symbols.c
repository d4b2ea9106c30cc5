/* symbols.c: names of a kernel: registers, of which a range has rows where they are met, variables with their places, parameters. */
#include <stdlib.h>
#include <string.h>
#include "backends/ptx/decode.h"

uint32_t ptx_symbol_hash(const char *text, size_t n) {
  uint32_t h = 2166136261u;
  for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)text[i])*16777619u;
  return h;
}

Symbol *ptx_symbol_find(const PtxDecoder *d, const char *name, size_t length, const Scope *scope, SymbolKind kind) {
  for (; scope; scope = scope->parent)
    for (Symbol *s = d->buckets[ptx_symbol_hash(name, length) % BUCKETS]; s; s = s->next)
      if (s->scope == scope && (s->kind == SYMBOL_RANGE) == (kind == SYMBOL_RANGE) && strlen(s->name) == length && !memcmp(s->name, name, length)) return s;
  return NULL;
}

Symbol *ptx_symbol_add(PtxDecoder *d, SymbolKind kind, const char *name, Range where) {
  Symbol **bucket = &d->buckets[ptx_symbol_hash(name, strlen(name)) % BUCKETS], *s = arena_alloc(d->arena, sizeof *s);
  for (Symbol *old = *bucket; old; old = old->next)
    if (old->scope == d->scope && (old->kind == SYMBOL_RANGE) == (kind == SYMBOL_RANGE) && !strcmp(old->name, name)) {
      ptx_refuse_at(d, where, "'%s' is declared twice", name);
      return NULL;
    }
  *s = (Symbol){.kind = kind, .name = name, .scope = d->scope, .next = *bucket};
  return *bucket = s;
}

PtxRef ptx_symbol_row(PtxDecoder *d) {
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

unsigned ptx_symbol_bytes(const char *type) { return types[type_of(type)].bytes; }

void ptx_symbol_registers(PtxDecoder *d, const PtxStatement *s) {
  char letter = types[type_of(s->type)].letter;
  if (!letter) { ptx_refuse_at(d, s->where, "there are no registers of type %s", s->type); return; }
  if (s->count > MAX_ROWS) { ptx_refuse_at(d, s->where, "more than %d registers", MAX_ROWS); return; }
  Symbol *symbol = ptx_symbol_add(d, s->count ? SYMBOL_RANGE : SYMBOL_REGISTER, s->name, s->where);
  if (!symbol) return;
  symbol->letter = letter;
  symbol->count = s->count;
  if (s->count) symbol->rows = arena_array(d->arena, s->count, sizeof *symbol->rows);
  else symbol->row = ptx_symbol_row(d);
}

/* %r12 of %r<20>: its row comes into being when it is first met. */
bool ptx_symbol_register(PtxDecoder *d, const char *name, PtxRef *row, char *letter) {
  Symbol *s = ptx_symbol_find(d, name, strlen(name), d->scope, SYMBOL_REGISTER);
  if (s && s->kind == SYMBOL_REGISTER) {
    *row = s->row;
    *letter = s->letter;
    return true;
  }
  size_t n = strlen(name), prefix = n;
  while (prefix && name[prefix - 1] >= '0' && name[prefix - 1] <= '9') prefix--;
  uint64_t index = strtoull(name + prefix, NULL, 10);
  s = prefix < n ? ptx_symbol_find(d, name, prefix, d->scope, SYMBOL_RANGE) : NULL;
  if (!s || index >= s->count) return false;
  if (!s->rows[index]) s->rows[index] = ptx_symbol_row(d);
  *row = s->rows[index];
  *letter = s->letter;
  return true;
}

void ptx_symbol_layout(const PtxVariable *v, uint64_t *size, uint64_t *align) {
  uint64_t bytes = types[type_of(v->type)].bytes;
  *size = v->count*bytes;
  *align = v->align ? v->align : bytes ? bytes : 1;
}

Symbol *ptx_symbol_variable(PtxDecoder *d, const PtxVariable *v) {
  uint64_t size, align, *end = v->space == PTX_SHARED ? &d->shared_bytes : &d->local_bytes;
  ptx_symbol_layout(v, &size, &align);
  if (v->space == PTX_GLOBAL || v->space == PTX_CONST) { ptx_refuse_at(d, v->where, "'%s': .global and .const stand outside of functions", v->name); return NULL; }
  Symbol *s = ptx_symbol_add(d, SYMBOL_VARIABLE, v->name, v->where);
  if (!s) return NULL;
  if (v->external || !v->count) {
    if (v->space != PTX_SHARED) { ptx_refuse_at(d, v->where, "'%s' has no size", v->name); return NULL; }
    s->space = PTX_SHARED;
    s->row = d->extern_row;
    d->kernel->extern_shared = true;
    return s;
  }
  s->space = v->space == PTX_SHARED ? PTX_SHARED : PTX_LOCAL;            /* parameters of a call within a body are a thread's own */
  s->address = ptx_symbol_align(*end, align);
  s->size = size;
  *end = s->address + size;
  if (*end > MAX_BYTES) ptx_refuse_at(d, v->where, "'%s' is too large", v->name);
  return s;
}

/* Variables outside of functions: shared ones get their place in a kernel where that first names them. */
Symbol *ptx_symbol_find_variable(PtxDecoder *d, const char *name) {
  static const Scope everywhere = {0};
  Symbol *s = ptx_symbol_find(d, name, strlen(name), d->scope, SYMBOL_VARIABLE);
  if (!s) s = ptx_symbol_find(d, name, strlen(name), &everywhere, SYMBOL_VARIABLE);
  if (s) return s->kind == SYMBOL_VARIABLE ? s : NULL;
  const Scope *inner = d->scope;
  d->scope = &everywhere;
  for (const PtxVariable *v = d->parser->variables.first; v && !s; v = v->next)
    if (v->space == PTX_SHARED && !strcmp(v->name, name)) s = ptx_symbol_variable(d, v);
  for (unsigned k = 0; k < d->module->n_statics && !s; k++) {
    const PtxStatic *x = &d->module->statics[k];
    if (strcmp(x->name, name) || !(s = ptx_symbol_add(d, SYMBOL_VARIABLE, name, d->statement->where))) continue;
    s->space = x->space;
    s->address = x->offset + (x->space == PTX_GLOBAL ? PTX_WINDOW(PTX_GLOBAL) : 0);        /* global addresses are generic ones */
    s->size = x->size;
  }
  d->scope = inner;
  return s;
}

void ptx_symbol_params(PtxDecoder *d, const PtxFunction *f, PtxKernelInfo *info) {
  for (const PtxVariable *v = f->params; v; v = v->next) info->n_params++;
  size_t *offsets = arena_array(d->arena, info->n_params + 1, sizeof *offsets), *sizes = arena_array(d->arena, info->n_params + 1, sizeof *sizes), k = 0;
  for (const PtxVariable *v = f->params; v; v = v->next, k++) {
    uint64_t size, align;
    ptx_symbol_layout(v, &size, &align);
    Symbol *s = ptx_symbol_add(d, SYMBOL_VARIABLE, v->name, v->where);
    if (!s) return;
    s->space = PTX_PARAM;
    s->address = offsets[k] = ptx_symbol_align(info->param_bytes, align);
    s->size = sizes[k] = size;
    info->param_bytes = s->address + size;
  }
  info->param_offset = offsets;
  info->param_size = sizes;
}
