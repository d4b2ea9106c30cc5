/* shapes.c: shapes as written: which two disagree, and how an indexed statement would say what was meant. */
#include <string.h>
#include "frontend/values.h"

/* A dimension's text without spaces but that after `flat`. */
static const char *dim_text(Lower *l, const Dim *dim) {
  if (dim->flat) return arena_printf(l->arena, "flat %s", dim->flat);
  char *text = arena_strndup(l->arena, dim->where.source->text + dim->where.begin, dim->where.end - dim->where.begin), *to = text;
  for (const char *from = text; *from; from++) if (*from != ' ' && *from != '\t' && *from != '\n') *to++ = *from;
  *to = 0;
  return text;
}

static bool comparable(const Shape *s) {
  for (unsigned i = 0; i < s->n; i++) if (s->at[i].ellipsis || s->at[i].flat) return false;
  return s->n > 0;
}

const char *shape_text(Lower *l, const Shape *s) {
  Text out = {.arena = l->arena};
  text_add(&out, "[");
  for (unsigned i = 0; i < s->n; i++) text_add(&out, "%s%s", i ? ", " : "", dim_text(l, &s->at[i]));
  text_add(&out, "]");
  return out.data;
}

const char *shape_of_item(Lower *l) {
  return l->context->param_shape ? arena_printf(l->arena, "shape %s", shape_text(l, l->context->param_shape)) : arena_printf(l->arena, "the shape of %s", l->context->param_name);
}

const char *shape_of_value(Lower *l, const Value *v) {
  if (v->shape && comparable(v->shape)) return arena_printf(l->arena, "shape %s", shape_text(l, v->shape));
  if (v->tensor && is_item_space(l, value_space(l, v))) return shape_of_item(l);
  unsigned n = v->tensor ? value_space(l, v)->rank : v->node->space->rank;
  return arena_printf(l->arena, "%u ax%s", n, n == 1 ? "is" : "es");
}

/* A size by the name that the text has for it here. */
static const char *extent_text(Lower *l, const Node *extent) {
  if (extent->op == OP_CONST) return arena_printf(l->arena, "%lld", (long long)extent->imm);
  for (const Names *names = l->scope->names; names; names = names->outer)
    for (unsigned i = 0; i < names->n; i++) {
      const Binding *b = &names->at[i];
      if (b->symbol->kind == SYMBOL_SIZE && b->set && b->value.node == extent) return b->symbol->name;
    }
  if (extent->op != OP_SIZE) return "..";
  for (unsigned i = 0; i < l->context->n_sizes; i++) {
    const SizeDef *d = &l->context->sizes[i];
    if (d->operand == extent->imm && (int)d->dim == extent->aux && !d->item && comparable(d->shape) && !strcmp(dim_text(l, &d->shape->at[d->dim]), d->name)) return d->name;
  }
  const char *name = l->context->module->operands[extent->imm].name;
  return extent->aux == -1 ? arena_printf(l->arena, "size(%s)", name) : arena_printf(l->arena, "axis %d of %s", (int)extent->aux, name);
}

const char *space_clause(Lower *l, const Space *s) {
  Text out = {.arena = l->arena};
  if (is_item_space(l, s)) {
    const View *here = view_here(l);
    return here && here->shape ? arena_printf(l->arena, "is %s", shape_text(l, here->shape)) : arena_printf(l->arena, "has the shape of %s", l->context->param_name);
  }
  text_add(&out, "is [");
  for (unsigned i = 0; i < s->rank; i++) text_add(&out, "%s%s", i ? ", " : "", extent_text(l, s->extent[i]));
  text_add(&out, "]");
  return out.data;
}

Range axis_where(const Value *v, unsigned axis) {
  return v->shape && comparable(v->shape) && axis < v->shape->n ? v->shape->at[axis].where : (Range){0};
}

static bool differ(Lower *l, const Shape *a, const Shape *b) {
  if (a->n != b->n) return true;
  for (unsigned i = 0; i < a->n; i++) if (strcmp(dim_text(l, &a->at[i]), dim_text(l, &b->at[i]))) return true;
  return false;
}

/* `p[i, j]`: a dimension has one letter wherever it stands; letters 0 .. 7 are i .. p. */
static void indexed(Lower *l, Text *out, const char *name, const Shape *s, const char **dims, unsigned *n_dims) {
  text_add(out, "%s[", name);
  for (unsigned i = 0; i < s->n; i++) {
    const char *dim = dim_text(l, &s->at[i]);
    unsigned k = 0;
    while (k < *n_dims && strcmp(dims[k], dim)) k++;
    if (k == *n_dims) dims[(*n_dims)++] = dim;
    text_add(out, "%s%c", i ? ", " : "", 'i' + (int)k);
  }
  text_add(out, "]");
}

bool shapes_agree(Lower *l, const char *oper, Range op_where, const Value *a, const Value *b) {
  if (!a->shape || !b->shape || !comparable(a->shape) || !comparable(b->shape) || !differ(l, a->shape, b->shape)) return true;
  Text text = {.arena = l->arena};
  text_add(&text, "shapes differ: %s is %s, %s is %s", a->name ? a->name : "the left side", shape_text(l, a->shape), b->name ? b->name : "the right side", shape_text(l, b->shape));
  if (a->name && b->name && a->shape->n + b->shape->n <= 8) {
    const char *dims[8];
    unsigned n = 0;
    text_add(&text, "; write ");
    indexed(l, &text, a->name, a->shape, dims, &n);
    text_add(&text, " %s ", oper);
    indexed(l, &text, b->name, b->shape, dims, &n);
  }
  if (!lower_error(l, op_where, "%s", text.data)) return false;
  diag_note(l->diag, a->shape->where, "%s has this shape", a->name ? a->name : "the left side");
  diag_note(l->diag, b->shape->where, "%s has this shape", b->name ? b->name : "the right side");
  return false;
}

/* x[i]: as many indices as axes. */
bool indices_match(Lower *l, const char *name, const Shape *shape, const SubList *subs, Range bracket) {
  if (!shape || !comparable(shape) || subs->n == shape->n) return true;
  for (unsigned i = 0; i < subs->n; i++) if (subs->at[i].ellipsis) return true;
  if (lower_error(l, bracket, "'%s' has %u ax%s, %u ind%s given", name, shape->n, shape->n == 1 ? "is" : "es", subs->n, subs->n == 1 ? "ex is" : "ices are"))
    diag_note(l->diag, shape->where, "%s has this shape", name);
  return false;
}
