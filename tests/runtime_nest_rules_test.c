/* runtime_nest_rules_test.c: every entry of every rule that ships, on data of small sizes: all forms give the same bits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "frontend/frontend.h"
#include "tests/nest/forms.h"
#include "tests/support/drill_rules.h"
#include "tests/support/fixture.h"
#include "tests/support/suite.h"

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
    if (f.module) forms_say(diag);
    arena_free(f.arena);
    return;
  }
  forms_finish(&f, diag);
  for (unsigned k = 0; k < f.module->n_hypers; k++)
    if (!f.module->hypers[k].has_default) f.module->hypers[k].value = f.module->hypers[k].type == TYPE_F64 ? bits_from_f64(0.5, TYPE_F64) : 2 - (f.module->hypers[k].type == TYPE_BOOL);
  if (getenv("FORMS_TRACE")) fprintf(stderr, "%s %s\n", path, name);
  static const int64_t counts[3] = {24, 7, 36};
  const char *what = arena_printf(f.arena, "%s, %s", path, name), *shapes = make_shapes(&f);
  unsigned items = 1;
  for (unsigned k = 0; k < f.module->n_operands; k++) if (f.module->operands[k].item_shape) items = 3;
  for (int special = 0; special < 2; special++) {
    Data d;
    forms_data(&d, &f, items, counts, shapes, DATA_MATRICES | (special ? DATA_SPECIAL : 0));
    for (unsigned e = 0; e < f.module->n_graphs; e++)
      if (strcmp(f.module->graphs[e]->name, "layout")) called += forms_run_entry(&d, e, arena_printf(f.arena, "%s, entry %s", what, f.module->graphs[e]->name)) == 0;
  }
  forms_drop(&f);
}

static void shipped_rules_give_the_same_bits(void) {
  int n;
  const ShippedRule *rules = shipped_rules(&n);
  CU_ASSERT_FATAL(n > 100);
  called = 0;
  for (int i = 0; i < n; i++) {
    Arena *arena = arena_new(NULL, 0);
    const char *why;
    rule_gives_one_result(rules[i].path, fixture_read(NULL, arena, rules[i].path, &why), rules[i].name);
    arena_free(arena);
  }
  printf("%u calls ", called);
  CU_ASSERT(called > 200);
}

int main(void) {
  static const SuiteTest tests[] = {TEST(shipped_rules_give_the_same_bits)};
  return suite_run("loop nests of the rules that ship", tests);
}
