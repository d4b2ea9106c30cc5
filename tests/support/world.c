/* world.c: made-up calls for tests of the two forms. */
#include "tests/support/world.h"
#include <string.h>
#include "tests/support/random.h"

static double random_number(uint64_t *s) {
  uint64_t r = next_random(s);
  if (r % 17 == 0) return 0;
  if (r % 19 == 0) return 1e-41;
  return ((double)(int64_t)(next_random(s) % 2000001) - 1000000.0) / 500000.0;
}

static unsigned bytes_of(const World *w, unsigned k) { return type_bytes(w->module->operands[k].storage); }

static void fill_field(char *at, Type storage, uint64_t *s) {
  double x = random_number(s);
  int64_t i = (int64_t)(next_random(s) % 5);
  if (storage == TYPE_BOOL) i &= 1;
  if (type_kind(storage) == KIND_FLOAT) memcpy(at, &x, 8);
  else memcpy(at, &i, 8);
}

World *world_new(const Module *m, Arena *arena, uint64_t seed, unsigned n_items, const int64_t *counts) {
  World *w = arena_alloc(arena, sizeof *w);
  Module copy = *m;
  copy.arena = arena;
  const Layout *l = layout_of(&copy);
  *w = (World){.module = m, .arena = arena, .n_items = n_items, .item_size = l->item_size, .global_size = l->global_size};
  w->count = arena_array(arena, n_items, 8);
  memcpy(w->count, counts, n_items * 8);
  w->data = arena_array(arena, n_items * m->n_operands + 1, sizeof *w->data);
  w->hyper = arena_alloc(arena, l->hyper_size + 8);
  w->global = arena_alloc(arena, l->global_size + 8);
  w->items = arena_alloc(arena, n_items * l->item_size + 8);
  w->exists = arena_alloc(arena, n_items * m->n_operands + 1);
  uint64_t s = seed;
  for (unsigned k = 0; k < m->n_hypers; k++) {
    fill_field(w->hyper + 8 * k, m->hypers[k].type, &s);
    if (m->hypers[k].has_default) memcpy(w->hyper + 8 * k, &m->hypers[k].value, 8);
  }
  for (unsigned k = 0; k < m->n_operands; k++) {
    const Operand *o = &m->operands[k];
    if (o->scope == SCOPE_GLOBAL) fill_field(w->global + l->operand[k], o->storage, &s);
    for (unsigned i = 0; i < n_items; i++) {
      if (o->scope == SCOPE_SCALAR) fill_field(w->items + i * l->item_size + l->operand[k], o->storage, &s);
      if (o->scope != SCOPE_TENSOR || (o->optional && i % 2)) continue;
      char *data = w->data[i * m->n_operands + k] = arena_alloc(arena, (size_t)counts[i] * bytes_of(w, k) + 1);
      for (int64_t e = 0; e < counts[i]; e++) {
        Bits b = type_kind(o->storage) == KIND_FLOAT ? bits_from_f64(random_number(&s), o->storage) : next_random(&s) & (o->storage == TYPE_BOOL ? 1 : 127);
        memcpy(data + e * bytes_of(w, k), &b, bytes_of(w, k));
      }
    }
  }
  return w;
}

World *world_copy(const World *from) {
  World *w = arena_alloc(from->arena, sizeof *w);
  const Module *m = from->module;
  *w = *from;
  w->data = arena_array(w->arena, w->n_items * m->n_operands + 1, sizeof *w->data);
  for (unsigned i = 0; i < w->n_items; i++)
    for (unsigned k = 0; k < m->n_operands; k++) {
      const void *old = from->data[i * m->n_operands + k];
      size_t size = (size_t)w->count[i] * bytes_of(w, k);
      if (old) w->data[i * m->n_operands + k] = memcpy(arena_alloc(w->arena, size + 1), old, size);
    }
  w->hyper = memcpy(arena_alloc(w->arena, 8 * m->n_hypers + 8), from->hyper, 8 * m->n_hypers + 8);
  w->global = memcpy(arena_alloc(w->arena, w->global_size + 8), from->global, w->global_size + 8);
  w->items = memcpy(arena_alloc(w->arena, w->n_items * w->item_size + 8), from->items, w->n_items * w->item_size + 8);
  w->exists = memcpy(arena_alloc(w->arena, w->n_items * m->n_operands + 1), from->exists, w->n_items * m->n_operands);
  return w;
}

void world_set_hyper(World *w, unsigned k, double value) {
  int64_t i = (int64_t)value;
  if (w->module->hypers[k].type == TYPE_F64) memcpy(w->hyper + 8 * k, &value, 8);
  else memcpy(w->hyper + 8 * k, &i, 8);
}

static void set_item(World *w, optc_frame *f, unsigned i, void *const *data) {
  f->item = w->items + i * w->item_size;
  f->data = data;
  f->index = i;
  f->count = f->total = w->count[i];
  f->begin = 0;
  f->end = f->count;
  f->shape = &w->count[i];
  f->rank = 1;
  f->exists = w->exists + i * w->module->n_operands;
}

static optc_frame frame_of(World *w) { return (optc_frame){.hyper = w->hyper, .global = w->global, .t = 3, .seed = 77}; }
static void keep_finding(World *w, const optc_frame *f) { if (f->failed && !w->failed) { w->failed = f->failed; memcpy(w->value, f->value, sizeof w->value); } }

void world_run_program(World *w, const Program *p) {
  unsigned n = w->module->n_operands;
  uint64_t *uniform = arena_array(w->arena, p->n_uniforms + 1, 8);
  void **data = arena_array(w->arena, (size_t)w->n_items * (n + p->n_temps) + 1, sizeof *data);
  for (unsigned i = 0; i < w->n_items; i++) {
    memcpy(data + i * (n + p->n_temps), w->data + i * n, n * sizeof *data);
    for (unsigned t = 0; t < p->n_temps; t++) data[i * (n + p->n_temps) + n + t] = arena_alloc(w->arena, (size_t)w->count[i] * 8 + 1);
  }
  for (unsigned k = 0; k < p->n_kernels; k++) {
    const Kernel *kernel = p->kernels[k];
    optc_frame f = frame_of(w);
    f.uniform = uniform;
    if (kernel->launch != LAUNCH_ITEM && kernel->launch != LAUNCH_CHUNK) kernel_interpret(p, kernel, &f, w->arena);
    else for (unsigned i = 0; i < w->n_items; i++) {
      set_item(w, &f, i, data + i * (n + p->n_temps));
      int64_t step = kernel->launch == LAUNCH_ITEM ? f.count + 1 : 700;       /* small chunks: where they end must not matter */
      for (int64_t at = 0; at == 0 || at < f.count; at += step) {
        f.begin = at;
        f.end = at + step < f.count ? at + step : f.count;
        kernel_interpret(p, kernel, &f, w->arena);
      }
    }
    keep_finding(w, &f);
  }
}

void world_run_graph(World *w, const Graph *g) {
  optc_frame f = frame_of(w);
  graph_interpret(g, LAUNCH_CHECK, &f, w->arena);
  keep_finding(w, &f);
  for (unsigned i = 0; i < w->n_items; i++) {
    set_item(w, &f, i, w->data + i * w->module->n_operands);
    graph_interpret(g, LAUNCH_ITEM, &f, w->arena);
  }
  f = frame_of(w);
  graph_interpret(g, LAUNCH_FINISH, &f, w->arena);
}

const char *world_difference(const World *a, const World *b) {
  const Module *m = a->module;
  if (a->failed != b->failed || memcmp(a->value, b->value, sizeof a->value)) return "requirement";
  if (memcmp(a->global, b->global, a->global_size)) return "global scalar";
  if (memcmp(a->items, b->items, a->n_items * a->item_size)) return "item scalar";
  if (memcmp(a->exists, b->exists, a->n_items * m->n_operands)) return "exists";
  for (unsigned i = 0; i < a->n_items; i++)
    for (unsigned k = 0; k < m->n_operands; k++) {
      const char *x = a->data[i * m->n_operands + k], *y = b->data[i * m->n_operands + k];
      unsigned bytes = bytes_of(a, k);
      for (int64_t e = 0; x && e < a->count[i]; e++) {
        Bits p = 0, q = 0;
        memcpy(&p, x + e * bytes, bytes);
        memcpy(&q, y + e * bytes, bytes);
        if (!bits_equal(p, q, m->operands[k].storage)) return arena_printf(a->arena, "item %u, %s[%lld]: %g, %g", i, m->operands[k].name, (long long)e, bits_to_f64(p, m->operands[k].storage), bits_to_f64(q, m->operands[k].storage));
      }
    }
  return NULL;
}
