/* graph_text.h: how the attributes of a graph operation are written; for graph_print.c and graph_parse.c only. */
#ifndef OPTC_IR_GRAPH_TEXT_H
#define OPTC_IR_GRAPH_TEXT_H
#include "ir/graph_reduce.h"

typedef enum ImmForm { IMM_NUMBER, IMM_BITS, IMM_HYPER, IMM_OPERAND } ImmForm;
typedef enum AuxForm { AUX_NUMBER, AUX_AXIS, AUX_GUARDED, AUX_ADD, AUX_REVERSE, AUX_REDUCE, AUX_KIND, AUX_CARRY, AUX_WEIGHTS } AuxForm;

/* `key`: what an IMM_NUMBER is called. Numbers that are 0 are not written where `always` is not set. */
typedef struct OpForm { ImmForm imm; const char *key; bool always; AuxForm aux; } OpForm;
OpForm op_form(Op);

extern const char *const order_names[];      /* by ReduceOrder */
extern const char *const level_names[];      /* by Level */
#endif
