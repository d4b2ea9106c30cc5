/* schedule_plain.c: why what is computed whole is loops of one thread, one element after the other, where nothing better is known; `optc explain` says it. */
#include "passes/schedule.h"

static const Plain plain[OP_COUNT] = {
  [OP_CONTRACT] = {"a sum of products that is one number is a chain, each term after the one before", "a sum that is no product, sum(where(..)), goes in lanes"},
  [OP_ATTEND] = {"blocks of a softmax that make one number are merged one after the other", NULL},
  [OP_REDUCE] = {"a sum in order, or of integers, adds each term after the one before", "sums of reals without 'seq' go in lanes"},
  [OP_ORDER] = {"elements of a row are sorted by merging runs, row after row", NULL},
  [OP_SCATTER] = {"a later element may meet the place of an earlier one", "an index that each element has for itself, y[i] = .., needs no order"},
  [OP_EIGVEC] = {"rotations of a matrix come one after the other", NULL},
  [OP_QR] = {"reflections of a matrix come one after the other", NULL},
};

const Plain *schedule_plain(const Node *n) {
  bool in_lanes = n->op == OP_REDUCE && nest_is_fold(n);
  return plain[n->op].why && !in_lanes ? &plain[n->op] : NULL;
}
