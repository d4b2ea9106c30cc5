/* made_up.c: numbers, shapes, memory. */
#include <math.h>
#include <string.h>
#include "made_up.h"

static uint64_t next(uint64_t *s) {
  *s += UINT64_C(0x9e3779b97f4a7c15);
  uint64_t z = (*s ^ *s >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  return (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb) >> 11;
}

double made_up_number(const char *type, uint64_t *seed) {
  uint64_t r = next(seed);
  if (!strcmp(type, "bool")) return (double)(r & 1);
  if (*type == 'i' || *type == 'u') return (double)(r % 4);
  double x = ldexp((double)(int64_t)(r % 2000003) - 1000001, -19);
  if (r % 23 == 0) x = 0;
  if (r % 29 == 0) x *= 1e-6;
  return evaluator_round(type, x);
}

const Decl *made_up_decl(const StmtList *l, const char *name) {
  for (unsigned i = 0; i < l->n; i++) {
    const Stmt *s = l->at[i];
    for (unsigned k = 0; s->kind == STMT_DECL && k < s->decls.n; k++)
      if (!strcmp(s->decls.at[k].name, name)) return &s->decls.at[k];
    const Decl *d = made_up_decl(&s->body, name);
    if (!d) d = made_up_decl(&s->otherwise, name);
    if (d) return d;
  }
  return NULL;
}

static int64_t size_of(const Expr *e, const MadeUp *m) {
  if (!e) return 0;
  if (e->kind == EXPR_INT) return e->value;
  if (e->kind == EXPR_NAME && m->long_name && !strcmp(e->name, m->long_name)) return m->length;
  if (e->kind == EXPR_NAME) return m->base ? m->base : 2 + (int64_t)(unsigned char)*e->name % 4;
  int64_t a = size_of(e->a, m), b = size_of(e->b, m);
  return e->op == OPER_ADD ? a + b : e->op == OPER_MUL ? a * b : e->op == OPER_SUB ? a - b : e->op == OPER_IDIV && b ? a / b : 1;
}

void made_up_shape(const Decl *d, const MadeUp *m, unsigned *rank, int64_t *shape) {
  *rank = 0;
  for (unsigned k = 0; k < d->shape->n && k < EVAL_MAX_RANK; k++)
    if (!d->shape->at[k].ellipsis) shape[(*rank)++] = d->shape->at[k].flat ? 6 : size_of(d->shape->at[k].expr, m);
}

unsigned made_up_sizes(const StmtList *l, const char **names, unsigned room) {
  unsigned n = 0;
  for (unsigned i = 0; i < l->n; i++)
    for (unsigned k = 0; l->at[i]->kind == STMT_DECL && l->at[i]->role == ROLE_IN && k < l->at[i]->decls.n; k++) {
      const Shape *s = l->at[i]->decls.at[k].shape;
      for (unsigned j = 0; s && j < s->n; j++) {
        const Expr *e = s->at[j].expr;
        if (!e || e->kind != EXPR_NAME) continue;
        bool known = false;
        for (unsigned q = 0; q < n; q++) known |= !strcmp(names[q], e->name);
        if (!known && n < room) names[n++] = e->name;
      }
    }
  return n;
}

double made_up_hyper(const HyperDecl *h, int64_t base) {
  bool whole = h->storage.type && strcmp(h->storage.type, "f64");
  return whole ? (base ? 2 : 1) : base ? .1 : .5;
}

unsigned memory_bytes(const char *type) {
  static const struct { const char *name; unsigned bytes; } types[] = {{"f32", 4}, {"f64", 8}, {"bf16", 2}, {"f16", 2}, {"i32", 4}, {"i8", 1}, {"u8", 1}, {"bool", 1}, {"i64", 8}};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (!strcmp(type, types[i].name)) return types[i].bytes;
  return 0;
}

double memory_load(const char *type, const void *data, int64_t at) {
  if (!strcmp(type, "f32")) return ((const float *)data)[at];
  if (!strcmp(type, "f64")) return ((const double *)data)[at];
  if (!strcmp(type, "f16")) return (double)((const _Float16 *)data)[at];
  if (!strcmp(type, "bf16")) {
    uint32_t bits = (uint32_t)((const uint16_t *)data)[at] << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
  }
  if (!strcmp(type, "i32")) return ((const int32_t *)data)[at];
  if (!strcmp(type, "i64")) return (double)((const int64_t *)data)[at];
  return !strcmp(type, "i8") ? ((const int8_t *)data)[at] : ((const uint8_t *)data)[at];
}

void memory_store(const char *type, void *data, int64_t at, double v) {
  if (!strcmp(type, "f32")) ((float *)data)[at] = (float)v;
  else if (!strcmp(type, "f64")) ((double *)data)[at] = v;
  else if (!strcmp(type, "f16")) ((_Float16 *)data)[at] = (_Float16)v;
  else if (!strcmp(type, "bf16")) {
    float f = (float)v;
    uint32_t bits;
    memcpy(&bits, &f, 4);
    ((uint16_t *)data)[at] = (uint16_t)(bits >> 16);
  } else if (!strcmp(type, "i32")) ((int32_t *)data)[at] = (int32_t)v;
  else if (!strcmp(type, "i64")) ((int64_t *)data)[at] = (int64_t)v;
  else ((uint8_t *)data)[at] = (uint8_t)(int)v;
}

bool memory_same(double a, double b, double slack) {
  if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
  if (!memcmp(&a, &b, sizeof a)) return true;
  return isfinite(a) && isfinite(b) && fabs(a - b) <= slack * fabs(b);
}
