/* dce.c: pass `dce`: nodes that no write, requirement or existence needs go; ids become dense. Exact: nodes have no effects. */
#include "passes/passes.h"

void pass_dce(Unit *unit, const PassArgs *args) { unit->graph = graph_rewrite(unit->graph, NULL, NULL); }
