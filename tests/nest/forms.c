/* forms.c: see forms.h. */
#include "tests/nest/forms.h"
#include <CUnit/CUnit.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/backend.h"
#include "passes/pass.h"
#include "tests/support/random.h"

/* --- a rule in all its forms -------------------------------------------------------------------------------------------------------- */

const char *const form_names[FORMS] = {"graph", "kernels -O0", "kernels -O2", "machine code -O0", "machine code -O2"};

void forms_say(const Diag *d) { for (size_t i = 0; i < diag_count(d); i++) printf("\n%s", diag_get(d, i)->text); }

static Program **lower(Forms *f, Diag *diag, int level) {
  Program **programs = arena_array(f->arena, f->module->n_graphs + 1, sizeof *programs);
  for (unsigned i = 0; i < f->module->n_graphs; i++) {
    Unit u = {.module = f->module, .arena = f->arena, .diag = diag, .graph = f->module->graphs[i]};
    Pipeline p = pipeline_default(f->arena, level, false);
    bool good = pipeline_run(&u, &p, &(PassTrace){.verify_each = true});
    if (!good) forms_say(diag);
    CU_ASSERT_FATAL(good);
    programs[i] = u.program;
  }
  return programs;
}

void forms_read(Forms *f, const char *text) {
  memset(f, 0, sizeof *f);
  f->arena = arena_new(NULL, 0);
  Diag *diag = diag_new(f->arena, 0);
  const Source source = {"test", text, strlen(text)};
  f->module = module_parse(f->arena, diag, &source);
  if (!f->module) forms_say(diag);
  CU_ASSERT_FATAL(f->module != NULL);
  forms_finish(f, diag);
}

void forms_finish(Forms *f, Diag *diag) {
  f->seed = 1;
  expand_shapes(f->module);
  bool good = module_verify(f->module, diag);
  if (!good) forms_say(diag);
  CU_ASSERT_FATAL(good);
  for (int k = 0; k < 3; k++) f->rule[k] = rule_new();
  f->desc[0] = interp_describe(f->rule[0], f->module, NULL);
  static const char *native[] = {"native"};
  for (int level = 0; level < 2; level++) {
    Program **programs = lower(f, diag, 2*level);
    f->desc[1 + level] = interp_describe(f->rule[1 + level], f->module, programs);
    Target target = {.cpus = native, .n_cpus = 1, .level = 2*level};
    Output object;
    good = backend_emit(f->arena, diag, f->module, programs, f->module->n_graphs, &target, EMIT_OBJECT, &object);
    if (!good) forms_say(diag);
    CU_ASSERT_FATAL(good);
    char why[256];
    const void *address;
    f->jit[level] = jit_link(object.data, object.size, arena_printf(f->arena, "%s_rule", f->module->name), &address, why, sizeof why);
    CU_ASSERT_FATAL(f->jit[level] != NULL);
    f->desc[3 + level] = address;
  }
}

void forms_drop(Forms *f) {
  for (int k = 0; k < 2; k++) jit_free(f->jit[k]);
  for (int k = 0; k < 3; k++) optc_rule_free(f->rule[k]);
  arena_free(f->arena);
}

/* --- data ---------------------------------------------------------------------------------------------------------------------------------- */

/* Moderate numbers; `special`: also infinities, NaN, zeros, subnormals. Integers from -1 to 40. */
static void fill(Tensor *t, Type type, bool special, uint64_t *seed) {
  for (int64_t i = 0; i < t->count; i++) {
    double x = ((double)(int64_t)(next_random(seed)%2000001) - 1000000)/300000;
    if (special && next_random(seed)%23 == 0) x = (const double[]){INFINITY, -INFINITY, NAN, 0, -0.0, 1e-41}[next_random(seed)%6];
    Bits b = type_kind(type) == KIND_FLOAT ? bits_from_f64(x, type) : type == TYPE_BOOL ? next_random(seed) & 1 : bits_normal(next_random(seed)%42 - 1, type);
    memcpy(t->data + i*type_bytes(type), &b, type_bytes(type));
  }
}

void forms_data(Data *d, Forms *f, unsigned n_items, const int64_t *counts, const char *shapes, unsigned flags) {
  const Module *m = f->module;
  const Layout *l = layout_of(m);
  *d = (Data){.forms = f, .n_items = n_items, .n = m->n_operands};
  d->tensor = arena_array(f->arena, n_items*m->n_operands + 1, sizeof *d->tensor);
  d->items = arena_alloc(f->arena, n_items*l->item_size + 8);
  d->global = arena_alloc(f->arena, l->global_size + 8);
  d->hyper = arena_alloc(f->arena, l->hyper_size + 8);
  d->item_shape = arena_array(f->arena, 2*n_items + 1, 8);
  for (unsigned k = 0; k < m->n_hypers; k++) memcpy(d->hyper + 8*k, &m->hypers[k].value, 8);
  int64_t t = 2;
  memcpy(d->global, &t, 8);
  for (unsigned i = 0; i < n_items; i++) {
    char *item = d->items + i*l->item_size;
    int64_t rank = 1 + (flags & DATA_MATRICES && counts[i]%6 == 0), *shape = &d->item_shape[2*i];
    shape[0] = rank == 2 ? counts[i]/6 : counts[i];
    shape[1] = 6;
    memcpy(item + l->item_rank, &rank, 8);
    memcpy(item + l->item_shape, &shape, 8);
  }
  optc_call call = {.size = sizeof call, .groups = d->hyper, .n_groups = 1, .items = d->items, .n_items = n_items, .global = d->global, .error = &d->error};
  for (unsigned k = 0; k < m->n_operands; k++) {
    const Operand *o = &m->operands[k];
    for (unsigned i = 0; i < n_items && operand_is_tensor(o) && (!i || o->scope == SCOPE_TENSOR); i++) {
      Tensor *x = &d->tensor[i*m->n_operands + k];
      char *base = o->scope == SCOPE_GLOBAL ? d->global : d->items + i*l->item_size;
      if (operand_is_shaped(o)) {
        char key[40];
        snprintf(key, sizeof key, "%s ", o->name);
        const char *at = strstr(shapes, key);
        while (at && at != shapes && at[-1] != ';') at = strstr(at + 1, key);
        x->count = 1;
        for (at = at ? at + strlen(key) : ""; *at && *at != ';'; x->rank++) { char *end; x->count *= x->shape[x->rank] = strtoll(at, &end, 10); at = end; }
        const optc_shaped s = {NULL, NULL, x->shape, x->rank};
        memcpy(base + l->operand[k], &s, sizeof s);
      } else { x->rank = 1; x->shape[0] = x->count = counts[i]; }
    }
  }
  unsigned states = 0;
  for (unsigned k = 0; k < m->n_operands; k++) states += m->operands[k].role == ROLE_STATE;
  optc_state_info *info = arena_array(f->arena, states + 1, sizeof *info);
  for (unsigned i = 0; i < n_items && states; i++) {
    for (int form = 0; form < FORMS; form++) {
      optc_state_info *other = form ? arena_array(f->arena, states + 1, sizeof *info) : info;
      CU_ASSERT_EQUAL(optc_drive_layout(f->desc[form], &call, i, other, NULL), 0);
      for (unsigned s = 0; form && s < states; s++)
        CU_ASSERT(other[s].count == info[s].count && other[s].rank == info[s].rank && !memcmp(other[s].shape, info[s].shape, sizeof info->shape) && other[s].exists == info[s].exists);
    }
    for (unsigned k = 0, s = 0; k < m->n_operands; k++)
      if (m->operands[k].role == ROLE_STATE) { if (operand_is_tensor(&m->operands[k])) d->tensor[i*m->n_operands + k].count = info[s].count; s++; }
  }
  for (unsigned k = 0; k < m->n_operands; k++) {
    const Operand *o = &m->operands[k];
    for (unsigned i = 0; i < n_items && operand_is_tensor(o) && (!i || o->scope == SCOPE_TENSOR); i++) {
      Tensor *x = &d->tensor[i*m->n_operands + k];
      x->bytes = (size_t)x->count*type_bytes(o->storage);
      x->data = arena_alloc(f->arena, x->bytes + 8);
      fill(x, o->storage, flags & DATA_SPECIAL, &f->seed);
      memcpy((o->scope == SCOPE_GLOBAL ? d->global : d->items + i*l->item_size) + l->operand[k], &x->data, 8);
    }
  }
  for (int form = 0; form < FORMS; form++) {
    size_t size = optc_drive_workspace(f->desc[form], &call);
    if (size > d->workspace_size) d->workspace_size = size;
  }
  d->workspace = arena_alloc(f->arena, d->workspace_size + 8);
}

typedef struct Saved { char **data, *items, *global; } Saved;
static Saved save(const Data *d) {
  const Layout *l = layout_of(d->forms->module);
  Arena *a = d->forms->arena;
  Saved s = {arena_array(a, d->n_items*d->n + 1, sizeof(char *)), arena_alloc(a, d->n_items*l->item_size + 8), arena_alloc(a, l->global_size + 8)};
  for (unsigned i = 0; i < d->n_items*d->n; i++)
    if (d->tensor[i].data) s.data[i] = memcpy(arena_alloc(a, d->tensor[i].bytes + 8), d->tensor[i].data, d->tensor[i].bytes);
  memcpy(s.items, d->items, d->n_items*l->item_size);
  memcpy(s.global, d->global, l->global_size);
  return s;
}
static void restore(const Data *d, const Saved *s) {
  const Layout *l = layout_of(d->forms->module);
  for (unsigned i = 0; i < d->n_items*d->n; i++) if (d->tensor[i].data) memcpy(d->tensor[i].data, s->data[i], d->tensor[i].bytes);
  memcpy(d->items, s->items, d->n_items*l->item_size);
  memcpy(d->global, s->global, l->global_size);
}

/* The first difference to what is saved, NaN being one value; NULL: none. */
static const char *difference(const Data *d, const Saved *s) {
  const Module *m = d->forms->module;
  const Layout *l = layout_of(m);
  for (unsigned i = 0; i < d->n_items*d->n; i++) {
    const Operand *o = &m->operands[i%d->n];
    unsigned bytes = type_bytes(o->storage);
    for (int64_t e = 0; d->tensor[i].data && e < d->tensor[i].count; e++) {
      Bits a = 0, b = 0;
      memcpy(&a, d->tensor[i].data + e*bytes, bytes);
      memcpy(&b, s->data[i] + e*bytes, bytes);
      if (!bits_equal(a, b, o->storage))
        return arena_printf(d->forms->arena, "item %u, %s[%lld]: %.9g, graph interpreter %.9g", i/d->n, o->name, (long long)e, bits_to_f64(a, o->storage), bits_to_f64(b, o->storage));
    }
  }
  for (unsigned k = 0; k < d->n; k++) {
    const Operand *o = &m->operands[k];
    Type kept = type_kind(o->storage) == KIND_FLOAT ? TYPE_F64 : TYPE_I64;
    for (unsigned i = 0; i < (o->scope == SCOPE_GLOBAL ? 1 : d->n_items) && !operand_is_tensor(o); i++) {
      size_t at = (o->scope == SCOPE_GLOBAL ? 0 : i*l->item_size) + l->operand[k];
      Bits a, b;
      memcpy(&a, (o->scope == SCOPE_GLOBAL ? d->global : d->items) + at, 8);
      memcpy(&b, (o->scope == SCOPE_GLOBAL ? s->global : s->items) + at, 8);
      if (!bits_equal(a, b, kept)) return arena_printf(d->forms->arena, "item %u, %s: %.9g, graph interpreter %.9g", i, o->name, bits_to_f64(a, kept), bits_to_f64(b, kept));
    }
  }
  return memcmp(d->global, s->global, 16) ? "t" : NULL;
}

static void backwards(void *self, int64_t n, void (*chunk)(void *, int64_t), void *context) { while (n--) chunk(context, n); }

int forms_run_entry(Data *d, unsigned entry, const char *what) {
  const Saved before = save(d);
  Saved want = {0};
  int expected = 0;
  for (int form = 0; form < FORMS; form++) {
    const optc_parallel parallel = {backwards, NULL};
    optc_call call = {.size = sizeof call, .groups = d->hyper, .n_groups = 1, .items = d->items, .n_items = d->n_items, .global = d->global, .error = &d->error,
      .workspace = d->workspace, .workspace_size = d->workspace_size, .parallel = form & 1 ? &parallel : NULL};
    restore(d, &before);
    memset(d->workspace, 0x7f, d->workspace_size);                          /* nothing may count on what is there */
    int code = optc_drive(d->forms->desc[form], entry, &call, NULL);
    if (!form) { expected = code; want = save(d); continue; }
    if (code != expected) printf("\n%s, %s: error %d: %s\n", what, form_names[form], code, d->error.text);
    CU_ASSERT_EQUAL_FATAL(code, expected);
    const char *differs = difference(d, &want);
    if (differs) { printf("\n%s, %s: %s\n", what, form_names[form], differs); CU_FAIL("other bits"); }
  }
  CU_ASSERT_EQUAL(d->forms->rule[0]->starved, 0);
  return expected;
}

void forms_run(Data *d, const char *what) {
  unsigned entry = 0;
  for (unsigned i = 0; i < d->forms->module->n_graphs; i++) if (strcmp(d->forms->module->graphs[i]->name, "init") && strcmp(d->forms->module->graphs[i]->name, "layout")) entry = i;
  CU_ASSERT_EQUAL_FATAL(forms_run_entry(d, entry, what), 0);
}

Tensor *forms_tensor(Data *d, unsigned item, const char *name) {
  for (unsigned k = 0; k < d->n; k++) if (!strcmp(d->forms->module->operands[k].name, name)) return &d->tensor[item*d->n + k];
  return NULL;
}
float *forms_floats(Data *d, const char *name) { return (float *)forms_tensor(d, 0, name)->data; }
bool same_float(float a, float b) { return !memcmp(&a, &b, 4) || (isnan(a) && isnan(b)); }
