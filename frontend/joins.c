/* joins.c: the type that a name has in all its assignments: int < f64 without shape < f32 < f64 of tensors.
 *
 * What is assigned last may be the widest, so the first assignment does not know the join. The joins are kept outside of the walk;
 * where one grew after its name had a value, frontend_lower walks the rule again and every assignment converts to what is known by
 * then. Most rules grow nothing and are walked once. A call of a fn and an applied rule have names of their own: a Site each. */
#include <string.h>
#include "frontend/names.h"

struct Join { const char *name; unsigned width; Join *next; };
struct Site { const void *at; Join *joins; Site *inner, *next; };

Site *sites_new(Arena *a) { return arena_alloc(a, sizeof(Site)); }

Site *site_inside(Lower *l, Site *outer, const void *at) {
  for (Site *s = outer->inner; s; s = s->next) if (s->at == at) return s;
  Site *made = arena_alloc(l->arena, sizeof *made);
  *made = (Site){.at = at, .next = outer->inner};
  return outer->inner = made;
}

static const struct Width { Type type; bool wide; } widths[] = {{TYPE_I64, false}, {TYPE_F64, false}, {TYPE_F32, false}, {TYPE_F64, true}};

static unsigned width_of(const Value *v) {
  unsigned k = 0;
  while (k < 3 && (widths[k].type != (Type)v->node->type || widths[k].wide != (v->wide && v->node->type == TYPE_F64))) k++;
  return k;
}

Value value_joined(Lower *l, const Name *name, Value v) {
  if (!v.node || value_is(&v, KIND_BOOL)) return v;
  unsigned width = width_of(&v);
  Join *j = l->scope->site->joins;
  while (j && strcmp(j->name, name->text)) j = j->next;
  if (!j) {
    j = arena_alloc(l->arena, sizeof *j);
    *j = (Join){name->text, width, l->scope->site->joins};
    l->scope->site->joins = j;
  }
  if (width > j->width) { j->width = width; l->context->grew = name; }
  if (width == j->width) return v;
  v.node = value_convert(l, v, widths[j->width].type).node;
  v.wide = widths[j->width].wide;
  v.product = NULL;
  return v;
}
