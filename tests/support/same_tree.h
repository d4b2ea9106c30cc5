/* same_tree.h: whether two parsed files are one tree, places aside. */
#ifndef OPTC_TESTS_SAME_TREE_H
#define OPTC_TESTS_SAME_TREE_H
#include "frontend/ast.h"

bool same_tree(const File *, const File *);
bool same_expr(const Expr *, const Expr *);
#endif
