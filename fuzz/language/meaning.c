/* meaning.c: the third oracle: every call of the graph interpreter beside the evaluator, which reads the syntax tree and shares nothing with lowering.
 *
 * Each call starts from the interpreter's memory, so that nothing adds up. Where the evaluator claims bits, they are compared (any NaN is one value); where a
 * function went through the C library, numbers within a bound of the largest one of their tensor. Generated gradients are left out: the evaluator has them in f64. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "fuzz/language/run.h"
#include "tests/evaluator/evaluator.h"
#include "tests/evaluator/made_up.h"

static const double bound = 0x1p-10;     /* of what the C library and the compiler's sequences may make of a chain of operations */

struct Meaning {
  Arena *arena;
  const FileSet *files;
  EvalCall call;
  EvalSet global;
  bool ran, ok;
  char trouble[CASE_MESSAGE];
};

Meaning *meaning_new(Arena *arena, const char *text, size_t length) {
  Meaning *m = arena_alloc(arena, sizeof *m);
  Source *source = arena_alloc(arena, sizeof *source);
  *source = (Source){"made.opt", text, length};
  *m = (Meaning){.arena = arena, .files = frontend_load(arena, diag_new(arena, 0), source, &(FrontendOptions){.read = no_files})};
  return m;
}

bool meaning_trouble(const Meaning *m, char message[CASE_MESSAGE]) {
  if (!*m->trouble) return false;
  snprintf(message, CASE_MESSAGE, "%s", m->trouble);
  return true;
}

/* --- where an operand lies on both sides -------------------------------------------------------------------------------------------------------- */

typedef struct Place { const optc_operand_info *operand; const char *type; EvalSet *set; const DLTensor *tensor; double *number; int item; } Place;

/* Operand k of item i; of the call: with item 0. false: nothing is there. */
static bool place_of(Meaning *m, Run *r, int k, int i, Place *p) {
  const optc_operand_info *o = &r->operand[k];
  bool of_call = o->scope == OPTC_SCOPE_CALL;
  if (of_call && i) return false;
  *p = (Place){.operand = o, .type = o->type[0] == 'q' ? "u8" : o->type, .set = of_call ? &m->global : &m->call.items[i], .item = i};
  if (o->tensor) p->tensor = of_call ? r->global_tensor[k] : r->bound[i*r->n + k];
  else p->number = of_call ? &r->global[k] : &r->scalar[i*r->n + k];
  return p->tensor || p->number;
}

static int64_t count_of(const DLTensor *t) {
  int64_t count = 1;
  for (int a = 0; a < t->ndim; a++) count *= t->shape[a];
  return count;
}

static void mirror(Meaning *m, const Place *p) {
  if (p->number) { evaluator_set_number(m->arena, p->set, p->operand->name, *p->number); return; }
  EvalArray *a = evaluator_set(m->arena, p->set, p->operand->name, (unsigned)p->tensor->ndim, p->tensor->shape, NULL);
  for (int64_t e = 0; e < a->count; e++) a->data[e] = memory_load(p->type, p->tensor->data, e);
}

/* --- a call ------------------------------------------------------------------------------------------------------------------------------------------ */

void meaning_run(Meaning *m, Run *r, const char *entry) {
  bool init = !strcmp(entry, "init"), main_body = !strcmp(entry, "step") || !strcmp(entry, "forward");
  m->ran = m->files && !*m->trouble && strcmp(entry, "backward");
  if (!m->ran) return;
  m->global = (EvalSet){0};
  m->call = (EvalCall){.arena = m->arena, .files = m->files, .entry = main_body || init ? NULL : entry, .n_items = (unsigned)r->n_items, .global = &m->global, .seed = CASE_SEED,
    .items = arena_array(m->arena, (size_t)r->n_items, sizeof(EvalSet)), .t = init ? 0 : r->t + main_body};
  for (int k = 0; k < r->n; k++)
    for (int i = 0; i < r->n_items; i++) {
      Place p;
      if (place_of(m, r, k, i, &p) && !(init && p.operand->role == OPTC_ROLE_STATE)) mirror(m, &p);
    }
  m->ok = init ? evaluator_init(&m->call) : evaluator_run(&m->call);
}

/* Where the last bits are no claim: what they make of an overflow or of 0*inf is none either. */
static bool near(double a, double b, double largest) { return !isfinite(a) || !isfinite(b) || fabs(a - b) <= bound*largest; }

static void compare(Meaning *m, const Place *p, const char *entry) {
  const EvalArray *a = evaluator_find(p->set, p->operand->name);
  int64_t count = p->tensor ? count_of(p->tensor) : 1;
  if (!a || a->count != count) {
    snprintf(m->trouble, sizeof m->trouble, "%s: %s of item %d has %lld elements, the evaluator's %lld", entry, p->operand->name, p->item, (long long)count, a ? (long long)a->count : -1);
    return;
  }
  double largest = 0;
  for (int64_t e = 0; e < count; e++) if (isfinite(a->data[e])) largest = fmax(largest, fabs(a->data[e]));
  for (int64_t e = 0; e < count; e++) {
    double got = p->number ? *p->number : memory_load(p->type, p->tensor->data, e), want = a->data[e];
    if (memory_same(got, want, 0) || (m->call.loose && near(got, want, largest))) continue;
    snprintf(m->trouble, sizeof m->trouble, "%s: %s of item %d, element %lld: %a, the evaluator has %a%s", entry, p->operand->name, p->item, (long long)e, got, want,
             m->call.loose ? " (with a bound)" : "");
    return;
  }
}

void meaning_compare(Meaning *m, Run *r, const char *entry, int code) {
  if (!m->ran) return;
  bool refused = !m->ok && strstr(m->call.message, "requirement");
  if (refused && code == OPTC_E_REQUIRE) return;
  for (int k = 0; k < r->n_sizes && !m->ok && !code; k++) if (!r->size[k].value) return;       /* a local without elements has no type there */
  if (!m->ok || code) {
    snprintf(m->trouble, sizeof m->trouble, "%s: the call returns %d, the evaluator %.300s", entry, code, m->ok ? "runs" : m->call.message);
    return;
  }
  for (int k = 0; k < r->n && !*m->trouble; k++)
    for (int i = 0; i < r->n_items && !*m->trouble; i++) {
      Place p;
      bool written = r->operand[k].role != OPTC_ROLE_GRAD && r->operand[k].role != OPTC_ROLE_IN;
      if (written && place_of(m, r, k, i, &p)) compare(m, &p, entry);
    }
}
