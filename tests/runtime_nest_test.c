/* runtime_nest_test.c: every operation of the graph form, in text: the graph interpreter, the kernels of the plain lowering interpreted, and machine
 * code at both levels give the same bits; and they are those of plain C written for this test. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/backend.h"
#include "frontend/frontend.h"
#include "ir/graph.h"
#include "passes/pass.h"
#include "runtime/interp.h"
#include "runtime/jit.h"
#include "tests/support/fixture.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"

enum { MOST_OPERANDS = 16, MOST_RANK = 6 };

/* --- a rule in all its forms -------------------------------------------------------------------------------------------------------- */

typedef struct Forms {
  Arena *arena;
  Module *module;
  const optc_rule_desc *desc[5];
  Jit *jit[2];
  optc_rule *rule[3];
} Forms;
static const char *const form_names[5] = {"graph", "kernels -O0", "kernels -O2", "machine code -O0", "machine code -O2"};

static void say(const Diag *d) { for (size_t i = 0; i < diag_count(d); i++) printf("\n%s", diag_get(d, i)->text); }

static Program **lower(Forms *f, Diag *diag, int level) {
  Program **programs = arena_array(f->arena, f->module->n_graphs + 1, sizeof *programs);
  for (unsigned i = 0; i < f->module->n_graphs; i++) {
    Unit u = {.module = f->module, .arena = f->arena, .diag = diag, .graph = f->module->graphs[i]};
    Pipeline p = pipeline_default(f->arena, level, false);
    bool good = pipeline_run(&u, &p, &(PassTrace){.verify_each = true});
    if (!good) say(diag);
    CU_ASSERT_FATAL(good);
    programs[i] = u.program;
  }
  return programs;
}

static void finish_forms(Forms *, Diag *);

static void make_forms(Forms *f, const char *text) {
  memset(f, 0, sizeof *f);
  f->arena = arena_new(NULL, 0);
  Diag *diag = diag_new(f->arena, 0);
  const Source source = {"test", text, strlen(text)};
  f->module = module_parse(f->arena, diag, &source);
  if (!f->module) say(diag);
  CU_ASSERT_FATAL(f->module != NULL);
  finish_forms(f, diag);
}

static void finish_forms(Forms *f, Diag *diag) {
  expand_shapes(f->module);
  bool good = module_verify(f->module, diag);
  if (!good) say(diag);
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
    if (!good) say(diag);
    CU_ASSERT_FATAL(good);
    char why[256];
    const void *address;
    f->jit[level] = jit_link(object.data, object.size, arena_printf(f->arena, "%s_rule", f->module->name), &address, why, sizeof why);
    CU_ASSERT_FATAL(f->jit[level] != NULL);
    f->desc[3 + level] = address;
  }
}

static void drop_forms(Forms *f) {
  for (int k = 0; k < 2; k++) jit_free(f->jit[k]);
  for (int k = 0; k < 3; k++) optc_rule_free(f->rule[k]);
  arena_free(f->arena);
}

/* --- data ---------------------------------------------------------------------------------------------------------------------------------- */

typedef struct Tensor { char *data; int64_t shape[MOST_RANK], rank, count; size_t bytes; } Tensor;
typedef struct Data {
  Forms *forms;
  unsigned n_items, n;
  Tensor *tensor;                        /* item*n + operand; those of the call with item 0 */
  char *items, *global, *hyper, *workspace;
  int64_t *item_shape; bool matrices;    /* items have rank 2 where that can be */
  size_t workspace_size;
  optc_error error;
} Data;

static bool matrices;
static uint64_t seed = 1;

/* Moderate numbers; `special`: also infinities, NaN, zeros, subnormals. Integers from -1 to 40. */
static void fill(Tensor *t, Type type, bool special) {
  for (int64_t i = 0; i < t->count; i++) {
    double x = ((double)(int64_t)(next_random(&seed)%2000001) - 1000000)/300000;
    if (special && next_random(&seed)%23 == 0) x = (const double[]){INFINITY, -INFINITY, NAN, 0, -0.0, 1e-41}[next_random(&seed)%6];
    Bits b = type_kind(type) == KIND_FLOAT ? bits_from_f64(x, type) : type == TYPE_BOOL ? next_random(&seed) & 1 : bits_normal(next_random(&seed)%42 - 1, type);
    memcpy(t->data + i*type_bytes(type), &b, type_bytes(type));
  }
}

/* `shapes`: "x 3 257;q 9": the extents of tensors whose shape the caller chooses; items have counts[i] elements. */
static void make_data(Data *d, Forms *f, unsigned n_items, const int64_t *counts, const char *shapes, bool special) {
  const Module *m = f->module;
  const Layout *l = layout_of(m);
  *d = (Data){.forms = f, .n_items = n_items, .n = m->n_operands, .matrices = matrices};
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
    int64_t rank = 1 + (matrices && counts[i]%6 == 0), *shape = &d->item_shape[2*i];
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
    for (int form = 0; form < 5; form++) {
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
      fill(x, o->storage, special);
      memcpy((o->scope == SCOPE_GLOBAL ? d->global : d->items + i*l->item_size) + l->operand[k], &x->data, 8);
    }
  }
  for (int form = 0; form < 5; form++) {
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

/* Runs an entry in every form; the data then hold the result. What the graph interpreter returns is what all must return. */
static int run_entry(Data *d, unsigned entry, const char *what) {
  const Saved before = save(d);
  Saved want = {0};
  int expected = 0;
  for (int form = 0; form < 5; form++) {
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

/* The main entry. */
static void run(Data *d, const char *what) {
  unsigned entry = 0;
  for (unsigned i = 0; i < d->forms->module->n_graphs; i++) if (strcmp(d->forms->module->graphs[i]->name, "init") && strcmp(d->forms->module->graphs[i]->name, "layout")) entry = i;
  CU_ASSERT_EQUAL_FATAL(run_entry(d, entry, what), 0);
}

static Tensor *tensor(Data *d, unsigned item, const char *name) {
  for (unsigned k = 0; k < d->n; k++) if (!strcmp(d->forms->module->operands[k].name, name)) return &d->tensor[item*d->n + k];
  return NULL;
}
static float *floats(Data *d, const char *name) { return (float *)tensor(d, 0, name)->data; }
static bool same(float a, float b) { return !memcmp(&a, &b, 4) || (isnan(a) && isnan(b)); }

/* --- plain C of the orders ------------------------------------------------------------------------------------------------------------------- */

static float plain_lanes(const float *x, int64_t n) {
  static float level[1 << 12];
  int64_t blocks = (n + 1023)/1024;
  for (int64_t b = 0; b < blocks; b++) {
    float lane[16] = {0};
    for (int64_t i = 1024*b; i < n && i < 1024*(b + 1); i++) lane[i%16] += x[i];
    for (int half = 8; half; half /= 2) for (int k = 0; k < half; k++) lane[k] += lane[k + half];
    level[b] = lane[0];
  }
  for (; blocks > 1; blocks = (blocks + 1)/2)
    for (int64_t i = 0; i < (blocks + 1)/2; i++) level[i] = 2*i + 1 < blocks ? level[2*i] + level[2*i + 1] : level[2*i];
  return n ? level[0] : 0;
}

static float plain_contract(const float *a, const float *b, int64_t n) {
  float total = 0;
  for (int64_t low = 0; low < n; low += 512) {
    float acc = 0;
    for (int64_t i = low; i < n && i < low + 512; i++) acc = fmaf(a[i], b[i], acc);
    total += acc;
  }
  return total + 0.0f;
}

static const int64_t lengths[] = {0, 1, 15, 16, 17, 255, 256, 257, 511, 512, 513, 1023, 1024, 1025, 2049, 3073, 5000, 65537};
enum { LENGTHS = sizeof lengths/sizeof *lengths };

/* --- tests --------------------------------------------------------------------------------------------------------------------------------------- */

#define FORWARD "graph forward {\n"

static void sums_have_the_order_of_the_language(void) {
  Forms f;
  make_forms(&f, "module \"r\"\noperand x in tensor f32 [size(x, 0), size(x, 1)]\noperand y in tensor f32 [size(x, 0), size(x, 1)]\noperand s out tensor f32 [size(x, 0)]\n"
    "operand c out tensor f32 [size(x, 0)]\noperand q out tensor f32 [size(x, 0)]\noperand m out tensor f32 [size(x, 0)]\noperand a out tensor i32 [size(x, 0)]\noperand p out tensor f32 [size(x, 0)]\noperand w out scalar f64\n"
    FORWARD "%0 = size i64 x axis=0\n%1 = size i64 x axis=1\n%2 = read f32 [%0, %1] x\n%3 = read f32 [%0, %1] y\n%4 = reduce f32 [%0] axes=1 kind=sum order=lanes %2\n"
    "%5 = contract f32 [%0] axes=1 %2, %3\n%6 = reduce f32 [%0] axes=1 kind=sum order=seq %2\n%7 = reduce f32 [%0] axes=1 kind=max order=lanes %2\n%8 = reduce i64 [%0] axes=1 kind=argmin order=lanes %2\n"
    "%9 = reduce f32 [%0] axes=1 kind=prod order=lanes %2\n%10 = reduce f32 axes=2 kind=sum order=lanes %2\n%11 = cast f64 %10\n"
    "write s = %4\nwrite c = %5\nwrite q = %6\nwrite m = %7\nwrite a = %8\nwrite p = %9\nwrite w = %11\n}\n");
  for (int k = 0; k < LENGTHS; k++)
    for (int special = 0; special < 2; special++) {
      int64_t n = lengths[k], rows = n > 5000 ? 1 : 3, one = 1;
      Data d;
      char shapes[200];
      snprintf(shapes, sizeof shapes, "x %lld %lld;y %lld %lld;s %lld;c %lld;q %lld;m %lld;a %lld;p %lld", (long long)rows, (long long)n, (long long)rows, (long long)n, (long long)rows, (long long)rows, (long long)rows, (long long)rows, (long long)rows, (long long)rows);
      make_data(&d, &f, 1, &one, shapes, special);
      run(&d, shapes);
      for (int64_t r = 0; r < rows; r++) {
        const float *x = floats(&d, "x") + r*n, *y = floats(&d, "y") + r*n;
        float q = 0;
        for (int64_t i = 0; i < n; i++) q += x[i];
        CU_ASSERT(same(floats(&d, "s")[r], plain_lanes(x, n)));
        CU_ASSERT(same(floats(&d, "c")[r], plain_contract(x, y, n)));
        CU_ASSERT(same(floats(&d, "q")[r], q));
      }
    }
  drop_forms(&f);
}

/* Blocks of 256 in the plainest form, with the exponential that the graph interpreter takes as given. */
static Forms *exponentials;
static float plain_sexp(float x) {
  Data d;
  int64_t one = 1;
  make_data(&d, exponentials, 1, &one, "x 1;y 1", false);
  memcpy(tensor(&d, 0, "x")->data, &x, 4);
  optc_call call = {.size = sizeof call, .groups = d.hyper, .n_groups = 1, .items = d.items, .n_items = 1, .global = d.global, .error = &d.error, .workspace = d.workspace, .workspace_size = d.workspace_size};
  CU_ASSERT_EQUAL(optc_drive(exponentials->desc[3], 0, &call, NULL), 0);
  return floats(&d, "y")[0];
}

static void plain_attend(const float *s, const float *v, int64_t n, float *weighted, float *m_out, float *l_out) {
  static float e[256];
  float m = -INFINITY, l = 0, w = 0;
  bool any = false;
  for (int64_t low = 0; low < n; low += 256) {
    int64_t end = low + 256 < n ? low + 256 : n;
    float mb = -INFINITY, wb = 0;
    for (int64_t i = low; i < end; i++) if (isnan(s[i]) || s[i] > mb) mb = s[i];
    if (mb == -INFINITY) continue;
    for (int64_t i = low; i < end; i++) e[i - low] = plain_sexp(s[i] - mb);
    for (int64_t i = low; i < end; i++) if (e[i - low] != 0) wb = fmaf(e[i - low], v[i], wb);
    float most = m > mb ? m : mb, a = m == most ? 1 : plain_sexp(m - most), b = mb == most ? 1 : plain_sexp(mb - most), lb = plain_lanes(e, end - low);
    float al = a*l, bl = b*lb, aw = a*w, bw = b*wb;
    l = al + bl;
    w = aw + bw;
    m = most;
    any = true;
  }
  *weighted = any ? w/l : 0;
  *m_out = m;
  *l_out = any ? l : 0;
}

static void softmax_goes_in_merged_blocks(void) {
  Forms f, e;
  make_forms(&e, "module \"e\"\noperand x in tensor f32 [size(x, 0)]\noperand y out tensor f32 [size(x, 0)]\n" FORWARD "%0 = size i64 x axis=0\n%1 = read f32 [%0] x\n%2 = sexp f32 [%0] %1\nwrite y = %2\n}\n");
  exponentials = &e;
  make_forms(&f, "module \"r\"\noperand x in tensor f32 [size(x, 0), size(x, 1)]\noperand y in tensor f32 [size(x, 0), size(x, 1)]\noperand o out tensor f32 [size(x, 0)]\noperand z out tensor f32 [size(x, 0)]\n"
    "operand l out tensor f32 [size(x, 0)]\noperand p out tensor f32 [size(x, 0), size(x, 1)]\noperand d out tensor f64 [size(x, 0)]\n"
    FORWARD "%0 = size i64 x axis=0\n%1 = size i64 x axis=1\n%2 = read f32 [%0, %1] x\n%3 = read f32 [%0, %1] y\n%4 = attend f32 [%0] axes=1 %2, %3\n%5 = reduce f32 [%0] axes=1 kind=logsumexp order=blocks %2\n"
    "%6 = softmax f32 [%0, %1] axes=1 %2\n%7 = cast f64 [%0, %1] %2\n%8 = cast f64 [%0, %1] %3\n%9 = attend f64 [%0] axes=1 %7, %8\n%10 = attend f32 [%0] axes=1 %2, %3, %3\n"
    "write o = %4\nwrite l = %5\nwrite p = %6\nwrite d = %9\nwrite z = %10\n}\n");
  for (int k = 0; k < LENGTHS; k++)
    for (int special = 0; special < 3; special++) {
      int64_t n = lengths[k], one = 1;
      if (n > 5000) continue;
      Data d;
      char shapes[200];
      snprintf(shapes, sizeof shapes, "x 2 %lld;y 2 %lld;o 2;l 2;z 2;p 2 %lld;d 2", (long long)n, (long long)n, (long long)n);
      make_data(&d, &f, 1, &one, shapes, special == 1);
      float *x = floats(&d, "x"), *y = floats(&d, "y");
      if (special == 2)                                                     /* a masked end, with NaN behind the mask, and a row of nothing */
        for (int64_t i = 0; i < n; i++) { if (i > n/3) { x[i] = -INFINITY; y[i] = NAN; } x[n + i] = -INFINITY; }
      run(&d, shapes);
      for (int r = 0; r < 2 && n <= 1025 && special != 1; r++) {
        float w, m, l;
        plain_attend(x + r*n, y + r*n, n, &w, &m, &l);
        CU_ASSERT(same(floats(&d, "o")[r], w));
        if (l == 0) CU_ASSERT(floats(&d, "l")[r] == -INFINITY);
        if (l != 0) CU_ASSERT(fabsf(floats(&d, "l")[r] - (m + logf(l))) <= 1e-6f*fabsf(m + logf(l)) + 1e-6f);
        for (int64_t i = 0; i < n; i += 37) CU_ASSERT(same(floats(&d, "p")[r*n + i], l == 0 ? 0 : plain_sexp(x[r*n + i] - m)/l));
      }
    }
  drop_forms(&f);
  drop_forms(&e);
}

static void weights_of_zero_leave_their_terms_out(void) {
  Forms f;
  make_forms(&f, "module \"r\"\noperand x in tensor f32 [size(x, 0)]\noperand y in tensor f32 [size(x, 0)]\noperand z in tensor f32 [size(x, 0)]\noperand o out tensor f32 []\noperand q out tensor f32 []\noperand i out tensor i32 []\n"
    FORWARD "%0 = size i64 x axis=0\n%1 = read f32 [%0] x\n%2 = read f32 [%0] y\n%3 = read f32 [%0] z\n%4 = contract f32 axes=1 weights=1 %1, %2, %3\n%5 = contract f32 axes=1 weights=4 %2, %3, %1\n"
    "%6 = index i64 [%0] axis=0\n%7 = contract i64 axes=1 %6, %6\nwrite o = %4\nwrite q = %5\nwrite i = %7\n}\n");
  for (int k = 0; k < LENGTHS - 1; k++) {
    int64_t n = lengths[k], one = 1;
    Data d;
    char shapes[100];
    snprintf(shapes, sizeof shapes, "x %lld;y %lld;z %lld;", (long long)n, (long long)n, (long long)n);
    make_data(&d, &f, 1, &one, shapes, false);
    float *x = floats(&d, "x"), *y = floats(&d, "y"), *z = floats(&d, "z"), total = 0, other = 0;
    for (int64_t i = 0; i < n; i += 3) { x[i] = i%2 ? 0.0f : -0.0f; y[i] = NAN; }
    run(&d, shapes);
    for (int64_t low = 0; low < n; low += 512) {
      float acc = 0, back = 0;
      for (int64_t i = low; i < n && i < low + 512; i++) if (x[i] != 0) { acc = fmaf(x[i]*y[i], z[i], acc); back = fmaf(y[i]*z[i], x[i], back); }
      total += acc;
      other += back;
    }
    CU_ASSERT(same(floats(&d, "o")[0], total + 0.0f));
    CU_ASSERT(same(floats(&d, "q")[0], other + 0.0f));
    CU_ASSERT_EQUAL(((int32_t *)tensor(&d, 0, "i")->data)[0], (int32_t)((n - 1)*n*(2*n - 1)/6));
  }
  drop_forms(&f);
}

static void running_values_orders_and_scatters(void) {
  Forms f;
  make_forms(&f, "module \"r\"\noperand x in tensor f32 [size(x, 0), size(x, 1)]\noperand k in tensor i32 [size(x, 0), size(x, 1)]\noperand u out tensor f32 [size(x, 0), size(x, 1)]\noperand v out tensor f32 [size(x, 0), size(x, 1)]\n"
    "operand o out tensor i32 [size(x, 0), size(x, 1)]\noperand s out tensor f32 [size(x, 0), size(x, 1)]\noperand a out tensor f32 [7]\noperand b out tensor f32 [7]\noperand g out tensor f32 [size(x, 0), size(x, 1)]\n"
    FORWARD "%0 = size i64 x axis=0\n%1 = size i64 x axis=-3\n%2 = read f32 [%0, %1] x\n%3 = read i64 [%0, %1] k\n%4 = cumulate f32 [%0, %1] kind=sum %2\n%5 = cumulate f32 [%0, %1] kind=max %2\n"
    "%6 = order i64 [%0, %1] %2\n%7 = index i64 [%0, %1] axis=0\n%8 = scatter f32 [%0, %1] %2, %2, %7, %6\n%9 = const i64 7\n%10 = const f32 0.5\n%11 = index i64 [%9] axis=0\n%12 = cast f32 [%9] %11\n"
    "%13 = scatter f32 [%9] add %12, %2, %3\n%14 = scatter f32 [%9] %12, %2, %3\n%15 = mul f32 [%0, %1] %2, %10\n%16 = map f32 [%0, %1] %15, %7, %3\n%17 = read f32 [%0, %1] x %7, %3\n%18 = add f32 [%0, %1] %16, %17\n"
    "write u = %4\nwrite v = %5\nwrite o = %6\nwrite s = %8\nwrite a = %13\nwrite b = %14\nwrite g = %18\n}\n");
  for (int k = 0; k < LENGTHS - 2; k++)
    for (int special = 0; special < 2; special++) {
      int64_t n = lengths[k], one = 1;
      Data d;
      char shapes[200];
      snprintf(shapes, sizeof shapes, "x 2 %lld;k 2 %lld;u 2 %lld;v 2 %lld;o 2 %lld;s 2 %lld;g 2 %lld;a 7;b 7", (long long)n, (long long)n, (long long)n, (long long)n, (long long)n, (long long)n, (long long)n);
      make_data(&d, &f, 1, &one, shapes, special);
      for (int64_t i = 0; i < 2*n; i += 5) floats(&d, "x")[i] = 0.25f;      /* ties */
      run(&d, shapes);
      const float *x = floats(&d, "x");
      for (int64_t r = 0; r < 2 && !special; r++)
        for (int64_t i = 0; i < n; i += 11) {
          int64_t before = 0;
          for (int64_t j = 0; j < n; j++) before += x[r*n + j] > x[r*n + i] || (x[r*n + j] == x[r*n + i] && j < i);
          CU_ASSERT_EQUAL(((int32_t *)tensor(&d, 0, "o")->data)[r*n + i], before);
          CU_ASSERT_EQUAL(floats(&d, "s")[r*n + before], x[r*n + i]);
          int32_t k_i = ((int32_t *)tensor(&d, 0, "k")->data)[r*n + i];
          CU_ASSERT_EQUAL(floats(&d, "g")[r*n + i], k_i < 0 || k_i >= n ? 0 : x[r*n + k_i]*0.5f + x[r*n + k_i]);
        }
    }
  drop_forms(&f);
}

static void scans_carry_tensors(void) {
  Forms f;                               /* two tensors exchanged and changed every trip, a number, a scan inside, rows written; and the same backwards */
  for (int reverse = 0; reverse < 2; reverse++) {
    char text[3000];
    const char *way = reverse ? " reverse" : "";
    snprintf(text, sizeof text, "module \"r\"\noperand x in tensor f32 [size(x, 0), size(x, 1)]\noperand y out tensor f32 [size(x, 0), size(x, 1)]\noperand z out tensor f32 [size(x, 1)]\noperand n out scalar f64\n"
      FORWARD "%%0 = size i64 x axis=0\n%%1 = size i64 x axis=1\n%%2 = const f32 0\n%%3 = index i64 [%%1] axis=0\n%%4 = cast f32 [%%1] %%3\n%%5 = const f32 [] 1\n%%6 = mul f32 [%%1] %%4, %%2\n"
      "%%7 = const i64 0\n%%8 = index i64 [%%0, %%1] axis=1\n%%9 = cast f32 [%%0, %%1] %%8\n%%10 = mul f32 [%%0, %%1] %%9, %%2\n"
      "%%11 = carry f32 [%%1] which=0 depth=0 level=element\n%%12 = carry f32 [%%1] which=1 depth=0 level=element\n%%13 = carry f64 which=2 depth=0 level=item\n%%14 = carry f32 [%%0, %%1] which=3 depth=0 level=element\n"
      "%%15 = carry i64 which=-1 depth=0 level=item\n%%16 = read f32 [%%1] x %%15, %%3\n%%17 = add f32 [%%1] %%11, %%16\n%%18 = contract f32 axes=1 %%17, %%12\n%%19 = cast f64 %%18\n%%20 = add f64 %%13, %%19\n"
      "%%21 = cast f32 %%20\n%%22 = const f32 0.125\n%%23 = mul f32 %%21, %%22\n%%24 = mul f32 [%%1] %%17, %%22\n%%25 = scatter f32 [%%0, %%1] %%14, %%24, %%15, %%3\n"
      "%%26 = const i64 3\n%%27 = carry f32 [%%1] which=0 depth=1 level=element\n%%28 = reduce f32 axes=1 kind=sum order=lanes %%27\n%%29 = mul f32 %%28, %%23\n%%30 = add f32 [%%1] %%27, %%29\n"
      "%%31 = scan bool depth=1 %%26, %%24 {%%30}\n%%32 = result f32 [%%1] which=0 %%31\n%%33 = mul f32 [%%1] %%32, %%22\n%%34 = const f64 0\n"
      "%%35 = scan bool depth=0%s %%0, %%6, %%4, %%34, %%10 {%%12, %%33, %%20, %%25}\n%%36 = result f32 [%%0, %%1] which=3 %%35\n%%37 = result f64 which=2 %%35\n%%38 = result f32 [%%1] which=1 %%35\n"
      "write y = %%36\nwrite n = %%37\nwrite z = %%38\n}\n", way);
    char *odd = strstr(text, "%5 = const f32 [] 1\n");                       /* a line that the text does not need */
    if (odd) memmove(odd, odd + strlen("%5 = const f32 [] 1\n"), strlen(odd + strlen("%5 = const f32 [] 1\n")) + 1);
    make_forms(&f, text);
    for (int k = 0; k < 6; k++) {
      static const int64_t size[6][2] = {{0, 5}, {4, 0}, {1, 1}, {3, 17}, {5, 513}, {2, 1025}};
      int64_t one = 1;
      Data d;
      char shapes[100];
      snprintf(shapes, sizeof shapes, "x %lld %lld;y %lld %lld;z %lld", (long long)size[k][0], (long long)size[k][1], (long long)size[k][0], (long long)size[k][1], (long long)size[k][1]);
      make_data(&d, &f, 1, &one, shapes, false);
      run(&d, shapes);
    }
    drop_forms(&f);
  }
}

static void totals_are_combined_in_order_of_the_list(void) {
  Forms f;                               /* g scaled by the norm of all, which is clipped by the largest of all norms; counts; t stays where a flag is set */
  make_forms(&f, "module \"r\" step\nhyper eps f64 = 0x1p-10\noperand p param tensor f32 item\noperand g grad tensor f32 item\noperand s state global f64\noperand best out global f64\noperand h state scalar f64\n"
    "graph init {\n%0 = const f64 0\nwrite s = %0\nwrite h = %0\n}\n"
    "graph step advances {\n%0 = size i64 p axis=count\n%1 = read f32 [%0] g\n%2 = contract f32 axes=1 %1, %1\n%3 = cast f64 %2\n%4 = total f64 kind=sum order=lanes %3\n%5 = hyper f64 eps\n%6 = add f64 %4, %5\n%7 = sqrt f64 %6\n"
    "%8 = cast f32 %7\n%9 = div f32 [%0] %1, %8\n%10 = reduce f32 axes=1 kind=max order=lanes %9\n%11 = cast f64 %10\n%12 = total f64 kind=max order=lanes %11\n%13 = cast f32 %12\n%14 = add f32 [%0] %9, %13\n"
    "%15 = read f32 [%0] p\n%16 = sub f32 [%0] %15, %14\n%17 = scalar f64 s\n%18 = add f64 %17, %4\n%19 = scalar f64 h\n%20 = add f64 %19, %3\nwrite p = %16\nwrite s = %18\nwrite best = %12\nwrite h = %20\n}\n");
  static const int64_t counts[5] = {3, 0, 1025, 70000, 17};
  for (unsigned n = 0; n <= 5; n++) {
    Data d;
    make_data(&d, &f, n, counts, "", false);
    run(&d, "totals");
    double sum = 0, got;
    memcpy(&got, d.global + layout_of(f.module)->operand[2], 8);
    for (unsigned i = 0; i < n; i++) { const float *g = (const float *)tensor(&d, i, "g")->data; sum += plain_contract(g, g, counts[i]); }
    CU_ASSERT_EQUAL(got, sum);
  }
  drop_forms(&f);
}

static void states_have_shapes_of_their_own(void) {
  Forms f;                               /* one mean a row of 8 and a table of the call; a requirement on sizes */
  make_forms(&f, "module \"r\" step\nhyper c i64 = 8\noperand p param tensor f32 item\noperand m state tensor f32 [idiv(sub(add(size(p, -1), hyper(c)), 1), hyper(c)), 2]\noperand q in global f32 [size(q, 0)]\noperand s state global f64 [max(size(q, 0), 3)]\n"
    "operand u state tensor bf16 item\n"
    "graph init {\n%0 = const f32 0\nwrite m = %0\n%1 = const f64 1\nwrite s = %1\nwrite u = %0\n}\ngraph layout {\nexists m\nexists u\n}\n"
    "graph step advances {\n%0 = size i64 p axis=count\n%1 = hyper i64 c\n%2 = add i64 %0, %1\n%3 = const i64 1\n%4 = sub i64 %2, %3\n%5 = idiv i64 %4, %1\n%6 = const i64 2\n%7 = index i64 [%5, %6] axis=0\n%8 = index i64 [%5, %6] axis=1\n"
    "%9 = index i64 [%5, %6, %1] axis=0\n%10 = index i64 [%5, %6, %1] axis=2\n%11 = mul i64 [%5, %6, %1] %9, %1\n%12 = add i64 [%5, %6, %1] %11, %10\n%13 = read f32 [%5, %6, %1] p %12\n%14 = index i64 [%5, %6, %1] axis=1\n"
    "%15 = cast f32 [%5, %6, %1] %14\n%16 = add f32 [%5, %6, %1] %13, %15\n%17 = reduce f32 [%5, %6] axes=1 kind=sum order=lanes %16\n%18 = read f32 [%5, %6] m\n%19 = add f32 [%5, %6] %18, %17\n"
    "%20 = size i64 q axis=0\n%21 = const i64 3\n%22 = lt bool %20, %21\n%23 = select i64 %22, %21, %20\n%24 = index i64 [%23] axis=0\n%25 = read f32 [%23] q %24\n%26 = cast f64 [%23] %25\n%27 = read f64 [%23] s\n%28 = add f64 [%23] %26, %27\n"
    "%29 = read f32 [%0] p\n%30 = index i64 [%0] axis=0\n%31 = idiv i64 [%0] %30, %1\n%32 = map f32 [%0] %19, %31, %3\n%33 = add f32 [%0] %29, %32\n%34 = read f32 [%0] u\n%35 = add f32 [%0] %34, %33\n%36 = le bool %3, %20\n%37 = cast f64 %20\n"
    "require \"q\" %36, \"n\" %37\nwrite m = %19\nwrite s = %28\nwrite p = %33\nwrite u = %35\n}\n");
  static const int64_t counts[4] = {0, 7, 8, 1001};
  Data d;
  make_data(&d, &f, 4, counts, "q 5", false);
  CU_ASSERT_EQUAL(tensor(&d, 3, "m")->count, 126*2);
  CU_ASSERT_EQUAL(tensor(&d, 0, "s")->count, 5);
  run(&d, "own shapes");
  make_data(&d, &f, 4, counts, "q 1", true);
  CU_ASSERT_EQUAL(tensor(&d, 0, "s")->count, 3);
  run(&d, "own shapes");
  make_data(&d, &f, 1, counts, "q 0", false);
  for (int form = 0; form < 5; form++) {
    optc_call call = {.size = sizeof call, .groups = d.hyper, .n_groups = 1, .items = d.items, .n_items = 1, .global = d.global, .error = &d.error, .workspace = d.workspace, .workspace_size = d.workspace_size};
    CU_ASSERT_EQUAL(optc_drive(f.desc[form], 2, &call, NULL), OPTC_E_REQUIRE);
    CU_ASSERT(d.error.n == 1 && d.error.value[0] == 0);
  }
  drop_forms(&f);
}

static void matrices_are_decomposed(void) {
  Forms f;
  make_forms(&f, "module \"r\"\noperand a in tensor f32 [size(a, 0), size(a, 1), size(a, 1)]\noperand b in tensor f32 [size(b, 0), size(b, 1), size(b, 2)]\noperand v out tensor f32 [size(a, 0), size(a, 1), size(a, 1)]\noperand q out tensor f32 [size(b, 0), size(b, 1), size(b, 2)]\n"
    FORWARD "%0 = size i64 a axis=0\n%1 = size i64 a axis=1\n%2 = read f32 [%0, %1, %1] a\n%3 = eigvec f32 [%0, %1, %1] %2\n%4 = size i64 b axis=0\n%5 = size i64 b axis=1\n%6 = size i64 b axis=2\n%7 = read f32 [%4, %5, %6] b\n%8 = qr f32 [%4, %5, %6] %7\nwrite v = %3\nwrite q = %8\n}\n");
  static const int sizes[][3] = {{1, 1, 1}, {5, 5, 5}, {4, 7, 3}, {6, 3, 7}, {12, 12, 12}, {0, 0, 2}};
  for (size_t k = 0; k < sizeof sizes/sizeof *sizes; k++) {
    int n = sizes[k][0], rows = sizes[k][1], columns = sizes[k][2];
    int64_t one = 1;
    Data d;
    char shapes[100];
    snprintf(shapes, sizeof shapes, "a 2 %d %d;v 2 %d %d;b 2 %d %d;q 2 %d %d", n, n, n, n, rows, columns, rows, columns);
    make_data(&d, &f, 1, &one, shapes, false);
    float *a = floats(&d, "a"), *b = floats(&d, "b"), *v = floats(&d, "v"), *q = floats(&d, "q");
    for (int i = 0; i < n; i++) for (int j = 0; j < i; j++) a[j*n + i] = a[i*n + j];
    if (n > 2) for (int i = 0; i < n*n; i++) a[n*n + i] = (float)(i%(n + 1) == 0 && i/n < 2);      /* the second: rank 2, repeated eigenvalues */
    run(&d, shapes);
    double before = -INFINITY;
    for (int c = 0; c < n; c++) {                                           /* A v = lambda v, ascending */
      double lambda = 0, off = 0;
      for (int i = 0; i < n; i++) for (int j = 0; j < n; j++) lambda += (double)v[i*n + c]*a[i*n + j]*v[j*n + c];
      for (int i = 0; i < n; i++) { double y = -lambda*v[i*n + c]; for (int j = 0; j < n; j++) y += (double)a[i*n + j]*v[j*n + c]; off = fmax(off, fabs(y)); }
      CU_ASSERT(off < 1e-5 && lambda >= before - 1e-5);
      before = lambda;
    }
    int least = rows < columns ? rows : columns;
    for (int c = 0; c < least; c++)
      for (int e = 0; e <= c; e++) {                                        /* orthonormal; Q'B upper triangular */
        double dot = 0, below = 0;
        for (int i = 0; i < rows; i++) { dot += (double)q[i*columns + c]*q[i*columns + e]; below += (double)q[i*columns + c]*b[i*columns + e]; }
        CU_ASSERT(fabs(dot - (c == e)) < 1e-6 && (c == e || fabs(below) < 1e-5));
      }
  }
  drop_forms(&f);
}

static void strided_tensors_are_copied(void) {
  Forms f;
  make_forms(&f, "module \"r\"\noperand x in tensor f32 [size(x, 0), size(x, 1)]\noperand y inout tensor f32 [size(x, 1), size(x, 0)]\n"
    FORWARD "%0 = size i64 x axis=0\n%1 = size i64 x axis=1\n%2 = read f32 [%1, %0] y\n%3 = index i64 [%1, %0] axis=0\n%4 = index i64 [%1, %0] axis=1\n%5 = read f32 [%1, %0] x %4, %3\n%6 = add f32 [%1, %0] %2, %5\nwrite y = %6\n}\n");
  int64_t one = 1;
  Data d;
  make_data(&d, &f, 1, &one, "x 3 4;y 4 3", false);
  const Layout *l = layout_of(f.module);
  static const int64_t x_stride[2] = {1, -3}, y_stride[2] = {5, 1};
  float x[12], y[20];
  for (int form = 0; form < 5; form++) {
    for (int i = 0; i < 20; i++) { y[i] = (float)(100*i); if (i < 12) x[i] = (float)i; }
    optc_shaped sx = {x + 9, x_stride, tensor(&d, 0, "x")->shape, 2}, sy = {y, y_stride, tensor(&d, 0, "y")->shape, 2};
    memcpy(d.items + l->operand[0], &sx, sizeof sx);
    memcpy(d.items + l->operand[1], &sy, sizeof sy);
    optc_call call = {.size = sizeof call, .groups = d.hyper, .n_groups = 1, .items = d.items, .n_items = 1, .global = d.global, .error = &d.error};
    size_t need = optc_drive_workspace(f.desc[form], &call);
    CU_ASSERT_EQUAL(optc_drive(f.desc[form], 0, &call, NULL), OPTC_E_WORKSPACE);
    call.workspace = arena_alloc(f.arena, need);
    call.workspace_size = need;
    CU_ASSERT_EQUAL(optc_drive(f.desc[form], 0, &call, NULL), 0);
    for (int i = 0; i < 20; i++) CU_ASSERT_EQUAL(y[i], (float)(100*i) + (i%5 < 3 ? (float)(9 - 3*(i/5) + i%5) : 0));
    sy.stride = (const int64_t[2]){0, 1};                                   /* two elements of an output in one place */
    memcpy(d.items + l->operand[1], &sy, sizeof sy);
    CU_ASSERT_EQUAL(optc_drive(f.desc[form], 0, &call, NULL), OPTC_E_SHAPE);
  }
  drop_forms(&f);
}

static void wrong_shapes_are_told(void) {
  Forms f;
  make_forms(&f, "module \"r\"\noperand x in tensor f32 [size(x, 0)]\noperand y inout tensor f32 [size(x, 0)]\noperand z out tensor f32 [size(x, 0)]\noperand q in global f32 [size(q, 0)]\n"
    FORWARD "%0 = size i64 x axis=0\n%1 = read f32 [%0] x\n%2 = read f32 [%0] y\n%3 = const i64 0\n%4 = read f32 q %3\n%5 = add f32 [%0] %1, %2\n%6 = add f32 [%0] %5, %4\nwrite y = %6\nwrite z = %5\n}\n");
  int64_t one = 1;
  Data d;
  make_data(&d, &f, 1, &one, "x 9;y 9;z 9;q 2", false);
  const Layout *l = layout_of(f.module);
  static const int64_t negative[1] = {-1}, huge[2] = {INT64_C(1) << 40, INT64_C(1) << 40}, nine[1] = {9}, apart[1] = {2};
  float other[20] = {0};
  const optc_shaped good_x = {tensor(&d, 0, "x")->data, NULL, nine, 1}, good_y = {tensor(&d, 0, "y")->data, NULL, nine, 1}, good_z = {tensor(&d, 0, "z")->data, NULL, nine, 1}, good_q = {tensor(&d, 0, "q")->data, NULL, (const int64_t[1]){2}, 1};
  struct { int code; int operand; optc_shaped with; } cases[] = {
    {0, 0, good_x}, {OPTC_E_NULL, 0, {good_x.data, NULL, NULL, 1}}, {OPTC_E_NULL, 0, {NULL, NULL, nine, 1}}, {OPTC_E_SHAPE, 0, {good_x.data, NULL, negative, 1}}, {OPTC_E_SHAPE, 0, {good_x.data, NULL, huge, 2}},
    {OPTC_E_SHAPE, 0, {good_x.data, NULL, nine, -1}}, {OPTC_E_SHAPE, 0, {good_x.data, NULL, nine, 65}}, {OPTC_E_ALIGN, 0, {(char *)good_x.data + 1, NULL, nine, 1}}, {OPTC_E_OVERLAP, 0, {(char *)good_y.data + 4, NULL, nine, 1}},
    {OPTC_E_OVERLAP, 1, {good_x.data, NULL, nine, 1}}, {0, 2, {NULL, NULL, nine, 1}}, {0, 2, {NULL, NULL, NULL, 0}}, {0, 0, {other, apart, nine, 1}}, {OPTC_E_SHAPE, 3, {good_q.data, apart, (const int64_t[1]){2}, 1}}, {OPTC_E_NULL, 3, {NULL, NULL, nine, 1}},
  };
  for (size_t k = 0; k < sizeof cases/sizeof *cases; k++)
    for (int form = 0; form < 5; form++) {
      const optc_shaped *fields[4] = {&good_x, &good_y, &good_z, &good_q};
      fields[cases[k].operand] = &cases[k].with;
      for (int i = 0; i < 4; i++) memcpy((i == 3 ? d.global : d.items) + l->operand[i], fields[i], sizeof(optc_shaped));
      optc_call call = {.size = sizeof call, .groups = d.hyper, .n_groups = 1, .items = d.items, .n_items = 1, .global = d.global, .error = &d.error};
      call.workspace_size = optc_drive_workspace(f.desc[form], &call);
      call.workspace = arena_alloc(f.arena, call.workspace_size + 1);
      int code = optc_drive(f.desc[form], 0, &call, NULL);
      if (code != cases[k].code) printf("\ncase %zu, %s: %d", k, form_names[form], code);
      CU_ASSERT_EQUAL(code, cases[k].code);
    }
  drop_forms(&f);
}

static void skipped_steps_do_not_count(void) {
  Forms f;
  make_forms(&f, "module \"r\" step\noperand p param tensor f32 item\noperand n state global i64\ngraph init {\n%0 = const i64 0\nwrite n = %0\n}\n"
    "graph step advances {\n%0 = size i64 p axis=count\n%1 = read f32 [%0] p\n%2 = ne bool [%0] %1, %1\n%3 = reduce bool axes=1 kind=any order=lanes %2\n%4 = total bool kind=any order=lanes %3\n%5 = not bool %4\n%6 = const f32 1\n%7 = add f32 [%0] %1, %6\n"
    "%8 = scalar i64 n\n%9 = const i64 1\n%10 = add i64 %8, %9\nwrite p = %7 when %5\nwrite n = %10 when %4\n}\n");
  for (unsigned i = 0; i < f.module->n_graphs; i++) (void)f.module->graphs[i]->skip;
  static const int64_t counts[3] = {5, 0, 1030};
  for (int bad = 0; bad < 2; bad++) {
    Data d;
    make_data(&d, &f, 3, counts, "", false);
    if (bad) ((float *)tensor(&d, 2, "p")->data)[1029] = NAN;
    run(&d, "skip");
    int64_t n;
    memcpy(&n, d.global + layout_of(f.module)->operand[1], 8);
    CU_ASSERT_EQUAL(n, bad);
  }
  drop_forms(&f);
}

/* --- the rules that ship ------------------------------------------------------------------------------------------------------------------------- */

static int64_t number_of(const Data *d, const Node *n, const Tensor *known, unsigned n_known, unsigned self, unsigned axis) {
  Bits x[3] = {0};
  const Tensor *t = n->op == OP_SIZE ? &known[n->imm] : NULL;
  if (t && n->imm == self && (n->aux == (int32_t)axis || n->aux < -2)) return 6;
  if (t && d->forms->module->operands[n->imm].item_shape) return 6;
  if (t && n->imm < n_known) return n->aux == -1 ? t->count : n->aux == -2 ? t->rank : n->aux >= 0 ? (n->aux < t->rank ? t->shape[n->aux] : 1) : t->rank + n->aux + 2 >= 0 ? t->shape[t->rank + n->aux + 2] : 1;
  if (n->op == OP_CONST) return n->imm;
  if (n->op == OP_HYPER) { int64_t v; memcpy(&v, &d->forms->module->hypers[n->imm].value, 8); return v; }
  if (!op_is_element((Op)n->op)) return 6;
  for (unsigned k = 0; k < n->n_args && k < 3; k++) x[k] = (Bits)number_of(d, n->args[k], known, n_known, self, axis);
  return (int64_t)element_eval((Element)n->op, (Type)n->type, (Type)n->args[n->n_args - 1]->type, x);
}

/* Shapes in which every size that a tensor names is 6, as make_data reads them. */
static const char *make_shapes(Forms *f) {
  const Module *m = f->module;
  Text out = {.arena = f->arena};
  Data d = {.forms = f};
  Tensor *known = arena_array(f->arena, m->n_operands + 1, sizeof *known);
  for (unsigned k = 0; k < m->n_operands; k++) {
    const Operand *o = &m->operands[k];
    if (!operand_is_shaped(o) || o->shape->rank > MOST_RANK) continue;
    text_add(&out, "%s", o->name);
    known[k].count = 1;
    for (unsigned a = 0; a < o->shape->rank; a++) {
      int64_t n = number_of(&d, o->shape->extent[a], known, k, k, a);
      known[k].shape[known[k].rank++] = n < 0 ? 0 : n > 64 ? 64 : n;
      known[k].count *= known[k].shape[a];
      text_add(&out, " %lld", (long long)known[k].shape[a]);
    }
    text_add(&out, ";");
  }
  return out.length ? out.data : "";
}

static unsigned called;
static void rule_gives_one_result(const char *path, const Source *source, const char *name) {
  Forms f = {.arena = arena_new(NULL, 0)};
  Diag *diag = diag_new(f.arena, 0);
  const FrontendOptions options = {.read = fixture_read, .rule = name};
  const FileSet *files = frontend_load(f.arena, diag, source, &options);
  f.module = files ? frontend_lower(f.arena, diag, files, &options) : NULL;
  if (!f.module || diag_errors(diag) || !module_verify(f.module, diag)) {  /* what is wrong in front of the passes is for other tests */
    if (f.module) say(diag);
    arena_free(f.arena);
    return;
  }
  finish_forms(&f, diag);
  for (unsigned k = 0; k < f.module->n_hypers; k++)
    if (!f.module->hypers[k].has_default) f.module->hypers[k].value = f.module->hypers[k].type == TYPE_F64 ? bits_from_f64(0.5, TYPE_F64) : 2 - (f.module->hypers[k].type == TYPE_BOOL);
  if (getenv("FORMS_TRACE")) fprintf(stderr, "%s %s\n", path, name);
  static const int64_t counts[3] = {24, 7, 36};
  const char *what = arena_printf(f.arena, "%s, %s", path, name), *shapes = make_shapes(&f);
  unsigned items = 1;
  for (unsigned k = 0; k < f.module->n_operands; k++) if (f.module->operands[k].item_shape) items = 3;
  matrices = true;
  for (int special = 0; special < 2; special++) {
    Data d;
    make_data(&d, &f, items, counts, shapes, special);
    for (unsigned e = 0; e < f.module->n_graphs; e++)
      if (strcmp(f.module->graphs[e]->name, "layout")) called += run_entry(&d, e, arena_printf(f.arena, "%s, entry %s", what, f.module->graphs[e]->name)) == 0;
  }
  matrices = false;
  drop_forms(&f);
}

static void shipped_rules_give_the_same_bits(void) {
  DIR *folder = opendir("rules");
  CU_ASSERT_FATAL(folder != NULL);
  called = 0;
  for (struct dirent *entry; (entry = readdir(folder));) {
    size_t n = strlen(entry->d_name);
    if (n < 5 || strcmp(entry->d_name + n - 4, ".opt")) continue;
    Arena *arena = arena_new(NULL, 0);
    const char *why, *path = arena_printf(arena, "rules/%s", entry->d_name);
    const Source *source = fixture_read(NULL, arena, path, &why);
    for (const char *at = source->text; (at = strstr(at, "\nrule ")); at++) {
      char name[100];
      if (sscanf(at + 6, "%99[a-z_A-Z0-9]", name) == 1) rule_gives_one_result(path, source, name);
    }
    arena_free(arena);
  }
  closedir(folder);
  printf("%u calls ", called);
  CU_ASSERT(called > 200);
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(sums_have_the_order_of_the_language),
    TEST(softmax_goes_in_merged_blocks),
    TEST(weights_of_zero_leave_their_terms_out),
    TEST(running_values_orders_and_scatters),
    TEST(scans_carry_tensors),
    TEST(totals_are_combined_in_order_of_the_list),
    TEST(states_have_shapes_of_their_own),
    TEST(matrices_are_decomposed),
    TEST(strided_tensors_are_copied),
    TEST(wrong_shapes_are_told),
    TEST(skipped_steps_do_not_count),
    TEST(shipped_rules_give_the_same_bits),
  };
  return suite_run("loop nests", tests);
}
