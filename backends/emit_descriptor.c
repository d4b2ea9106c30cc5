/* emit_descriptor.c: the descriptor of a rule (ir/desc.def) as constant data, `<rule>_rule`, and that of its PTX, `<rule>_gpu`. */
#include <assert.h>
#include <stddef.h>
#include <string.h>
#include "backends/emit.h"
#include "ir/describe.h"

/* How a field is written, and the number of a struct that is a field's element. */
typedef enum As {
  TEXT, NUMBER, VARIANTS, HOST, RULE,
#define STRUCT(s) s,
#define FIELD(...)
#define LIST(...)
#define OPERANDS(...)
#define END(...)
#include "ir/desc.def"
#undef STRUCT
#undef FIELD
#undef LIST
#undef OPERANDS
#undef END
} As;

typedef enum Many { ONE, COUNTED, EACH_OPERAND } Many;
typedef struct Field { As as; Many many; size_t at, count_at; } Field;   /* offsets in the struct */

#define STRUCT(s) static const Field fields_##s[] = {
#define FIELD(s, field, type, as) {as, ONE, offsetof(optc_##s##_desc, field), 0},
#define LIST(s, field, type, as, count) {as, COUNTED, offsetof(optc_##s##_desc, field), offsetof(optc_##s##_desc, count)},
#define OPERANDS(s, field, type, as) {as, EACH_OPERAND, offsetof(optc_##s##_desc, field), 0},
#define END(s) };
#include "ir/desc.def"
#undef STRUCT
#undef FIELD
#undef LIST
#undef OPERANDS
#undef END

static const struct { const Field *field; size_t n, bytes; } structs[] = {
#define STRUCT(s) [s] = {fields_##s, sizeof fields_##s / sizeof *fields_##s, sizeof(optc_##s##_desc)},
#define FIELD(...)
#define LIST(...)
#define OPERANDS(...)
#define END(...)
#include "ir/desc.def"
};

typedef struct Writer {
  Emitter *e;
  unsigned n_variants, n_operands;
  LLVMValueRef *fns;                     /* the next kernel's, one a variant */
  LLVMValueRef own;                      /* the rule's table, once it is written */
} Writer;

/* A row or list of rows: every field is a pointer or eight bytes. */
typedef struct Table { LLVMValueRef *field; size_t n, capacity; } Table;

static void add(Writer *w, Table *t, LLVMValueRef x) {
  t->field = arena_grow(w->e->arena, t->field, &t->capacity, t->n + 1, sizeof *t->field);
  t->field[t->n++] = x;
}

static LLVMValueRef null(const Writer *w) { return LLVMConstPointerNull(w->e->pointer); }

static LLVMValueRef constant(const Writer *w, const char *name, LLVMValueRef init) {
  LLVMValueRef g = LLVMAddGlobal(w->e->llvm, LLVMTypeOf(init), name);
  LLVMSetInitializer(g, init);
  LLVMSetGlobalConstant(g, 1);
  LLVMSetLinkage(g, LLVMPrivateLinkage);
  LLVMSetUnnamedAddress(g, LLVMGlobalUnnamedAddr);
  return g;
}

static LLVMValueRef table(const Writer *w, const char *name, const Table *t) {
  LLVMValueRef g = constant(w, name, LLVMConstStructInContext(w->e->context, t->field, (unsigned)t->n, 0));
  LLVMSetAlignment(g, 8);
  return g;
}

static LLVMValueRef text(const Writer *w, const char *s) { return s ? constant(w, "", LLVMConstStringInContext2(w->e->context, s, strlen(s), 0)) : null(w); }

static const void *pointer_at(const char *at) { const void *p; memcpy(&p, at, sizeof p); return p; }
static uint64_t number_at(const char *at) { uint64_t n; memcpy(&n, at, sizeof n); return n; }

static size_t add_value(Writer *, Table *, As, const char *at);

static LLVMValueRef list(Writer *w, As as, const char *at, uint64_t count) {
  Table t = {0};
  for (uint64_t i = 0; i < count; i++) at += add_value(w, &t, as, at);
  return count ? table(w, "", &t) : null(w);
}

static void add_struct(Writer *w, Table *t, As s, const char *at) {
  size_t before = t->n;
  for (const Field *f = structs[s].field, *end = f + structs[s].n; f < end; f++) {
    if (f->many == ONE) add_value(w, t, f->as, at + f->at);
    else add(w, t, list(w, f->as, pointer_at(at + f->at), f->many == EACH_OPERAND ? w->n_operands : number_at(at + f->count_at)));
  }
  assert((t->n - before)*8 == structs[s].bytes);
  (void)before;
}

/* The bytes that the value takes in memory. */
static size_t add_value(Writer *w, Table *t, As as, const char *at) {
  switch (as) {
    case TEXT: add(w, t, text(w, pointer_at(at))); return sizeof(char *);
    case NUMBER: add(w, t, LLVMConstInt(w->e->i64, number_at(at), 0)); return sizeof(int64_t);
    case HOST: add(w, t, null(w)); return sizeof(void *);
    case RULE: add(w, t, w->own); return sizeof(void *);
    case VARIANTS:
      for (unsigned v = 0; v < OPTC_MAX_VARIANTS; v++) {
        LLVMValueRef fn = v < w->n_variants ? *w->fns++ : NULL;
        add(w, t, fn ? fn : null(w));
      }
      return sizeof(optc_variants);
    default: add_struct(w, t, as, at); return structs[as].bytes;
  }
}

/* The rule's table, made of these programs. Our own functions use it by a local name. */
static void add_rule(Writer *w, unsigned n, const Described *of, const char *name) {
  Emitter *e = w->e;
  optc_entry_desc *entries = arena_array(e->arena, (size_t)n + 1, sizeof *entries);
  for (unsigned i = 0; i < n; i++) describe_program(of->programs[i], &entries[i], e->arena);
  optc_rule_desc *desc = describe_rule(e->module, entries, n, e->arena);
  int64_t features[OPTC_MAX_VARIANTS];
  desc->n_variants = w->n_variants;
  desc->variant_features = features;
  for (int64_t v = 0; v < desc->n_variants; v++) features[v] = e->machine[v].isa;
  Table t = {0};
  w->fns = of->fns;
  add_value(w, &t, rule, (const char *)desc);
  w->own = table(w, arena_printf(e->arena, "%s_%s", e->module->name, name), &t);
  LLVMSetLinkage(w->own, LLVMInternalLinkage);
}

void emit_descriptor(Emitter *e, unsigned n, const Described *of, const Described *on_gpu) {
  Writer w = {.e = e, .n_variants = e->target->n_cpus ? e->target->n_cpus : 1, .n_operands = e->module->n_operands};
  add_rule(&w, n, of, "table");
  /* The public one is an alias, so that our own functions need no global offset table. */
  LLVMAddAlias2(e->llvm, LLVMGlobalGetValueType(w.own), 0, w.own, arena_printf(e->arena, "%s_rule", e->module->name));
  if (!e->target->gpu) return;
  if (on_gpu != of) add_rule(&w, n, on_gpu, "gpu_table");
  Table t = {0};
  add_value(&w, &t, gpu, (const char *)e->target->gpu);
  LLVMSetLinkage(table(&w, arena_printf(e->arena, "%s_gpu", e->module->name), &t), LLVMExternalLinkage);
}
