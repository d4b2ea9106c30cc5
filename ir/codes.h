/* codes.h: the maps of states that are kept as codes: q8, q8u, q4, q4u (language, Order and bits).
 *
 * All of it is constant and lasts as long as the process. */
#ifndef OPTC_IR_CODES_H
#define OPTC_IR_CODES_H
#include "ir/type.h"

typedef enum CodeMap { CODE_Q8, CODE_Q8U, CODE_Q4, CODE_Q4U, CODE_MAPS } CodeMap;
enum { CODE_MOST = 256 };

typedef struct CodeMapInfo { const char *name; unsigned codes, decades; bool is_signed, linear, nibbles; int64_t block; } CodeMapInfo;      /* block: elements, where none are given */
extern const CodeMapInfo code_maps[CODE_MAPS];

Element code_decode_element(CodeMap);    /* i32 -> f32: the entry of a code, of which the low bits count */
Element code_encode_element(CodeMap);    /* f32 -> i32: the code of the nearest entry, the lower of two; NaN: 0 */
CodeMap code_map_of(Element);            /* of either */

double code_decade(CodeMap, unsigned decade);          /* where it ends: a power of ten */
float code_entry(CodeMap, unsigned code);
unsigned code_nearest(CodeMap, float);
/* Between a code and the next: f32 (entry + next)/2. Codes of numbers above it are higher. */
float code_edge(CodeMap, unsigned code);
#endif
