/* values.h: values: their shapes, types and operators. A Value is a copy; what it points to lies in the arena of the module, texts too. */
#ifndef OPTC_FRONTEND_VALUES_H
#define OPTC_FRONTEND_VALUES_H
#include "frontend/nodes.h"

/* shapes.c */
const char *shape_of_value(Lower *, const Value *);
const char *space_clause(Lower *, const Space *);                        /* "is [R, 4]", by the names of sizes here */
const char *shape_of_item(Lower *);                                      /* "shape [R, C]" or "the shape of p" */
const char *shape_text(Lower *, const Shape *);
Range axis_where(const Value *, unsigned axis);                          /* as declared; nowhere: it is not */
bool shapes_agree(Lower *, const char *oper, Range op_where, const Value *a, const Value *b);
bool indices_match(Lower *, const char *name, const Shape *, const SubList *, Range bracket);

/* views.c */
const View *view_here(Lower *);                                          /* NULL: the item's axes have no names */
const Node *view_position(Lower *, const View *, const Node *const *index);       /* flat; -1 outside */
View *view_make(Lower *, const Shape *, unsigned n, const Node *const *extents);
Value value_viewed(Lower *, Value, Range);                               /* with named axes */
bool axes_of(Lower *, const Value *, Axes *);
void axes_unnamed(Lower *, const char *name, Range);                     /* reports */
bool value_align(Lower *, const char *oper, Range, Value *, unsigned n);       /* tensors brought to one space; reports shapes that differ. oper NULL: of a function */
Value value_to_space(Lower *, Value, const Space *, Range, const char *name);
bool spaces_meet(Lower *, const Space *, const Space *);                 /* one space, or two views of the item's */
Value value_around(Lower *, Value, const Space *outer, unsigned n);      /* a tensor, one for each place of the first n axes of `outer`; node NULL: it has too many axes */

/* typing.c */
Value value_of(const Node *);
Value value_like(const Node *, Value a, Value b);                        /* shape and width from both */
Value value_convert(Lower *, Value, Type);
Value value_join(Lower *, Value *, unsigned n);                          /* converts all to one numeric type; the first is returned for its type */
Value value_real(Lower *, Value);                                        /* an int becomes f64 */
Value value_operate(Lower *, Oper, Range op_where, Value a, Value b);    /* all but `@` */
Value value_negate(Lower *, Range op_where, Value);
Value value_select(Lower *, Range, Value c, Value a, Value b);
Value value_type_call(Lower *, const Expr *, Value);                     /* f32(e), int(e) ... */
bool value_is(const Value *, TypeKind);

/* totals.c */
Value value_over_items(Lower *, ReduceKind, Value item);
Value value_of_call(Lower *, Value item);
#endif
