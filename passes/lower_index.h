/* lower_index.h: private to passes: what the nodes of an index or an extent say by themselves. Answers about a graph that is left as it is; nothing is kept. */
#ifndef OPTC_PASSES_LOWER_INDEX_H
#define OPTC_PASSES_LOWER_INDEX_H
#include "ir/graph.h"

enum { NEST_RANK = 8 };                   /* axes of a space that is lowered, at the most */

bool index_is_flat(const Node *);                                        /* the flat position in its own space */
int index_unit_axis(const Node *);                                       /* of a flat position: the axis of its own space along which it moves by one; -1: none is known */
bool index_in_item(const Module *, const Node *);                        /* 0 <= x < elements of the item */
bool index_in_axis(const Node *, const Node *extent);                    /* an index of its own space that is always below an extent */
bool index_is_digit(const Module *, const Node *, const Node *extent);   /* one that the position in an item gives: inside at every position of an item, where the extent is not 0 */
bool extents_make_item(const Module *, const Node *const *, unsigned n);  /* their product is the number of its elements, if it has any and their condition holds */
bool extent_divides_item(const Module *, const Node *);                  /* not 0 where an item has elements and its condition holds */
const Node *extent_condition(const Node *);                              /* where it does not hold, the extent is 0; or NULL */
#endif
