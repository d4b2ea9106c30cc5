/* type.h: element types and the primitive element operations with their one evaluation. */
#ifndef OPTC_IR_TYPE_H
#define OPTC_IR_TYPE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum Type {
#define TYPE(id, text, bits, kind) TYPE_##id,
#include "ir/types.def"
#undef TYPE
  TYPE_COUNT
} Type;
typedef enum TypeKind { KIND_BOOL, KIND_INT, KIND_FLOAT } TypeKind;

const char *type_name(Type);
bool type_parse(const char *text, Type *);
unsigned type_bits(Type);
unsigned type_bytes(Type);
TypeKind type_kind(Type);
bool type_is_storage(Type);              /* i8 u8 bf16 f16: nothing but CAST takes or makes them */

typedef enum Element {
#define ELEMENT(id, ...) ELEMENT_##id,
#include "ir/element.def"
#undef ELEMENT
  ELEMENT_COUNT
} Element;
typedef enum ElementRule { RULE_SAME, RULE_COMPARE, RULE_SELECT, RULE_CAST, RULE_BITS, RULE_DECODE, RULE_ENCODE, RULE_POWI } ElementRule;

/* A value is carried as its bits in the low part of a u64 (bool: 0 or 1; f32: its 32 bits; i32: sign-extended or not, only the low 32 count). */
typedef uint64_t Bits;

const char *element_name(Element);
unsigned element_arity(Element);
ElementRule element_rule(Element);
/* Whether the operation takes these operand types and gives `result`. */
bool element_types_ok(Element, Type result, const Type *operands);
/* The meaning. `operand` is the type of the operands (of the last two for SELECT, of the source for CAST and BITCAST).
 * Result bits are normalised: upper bits zero; NaN is left as computed. Runs in round-to-nearest without flushing. */
Bits element_eval(Element, Type result, Type operand, const Bits *arguments);

/* The same for n positions: argument k's value at position i is x[k][i * step[k]] (step 0: one value for all). */
void element_run(Element, Type result, Type operand, size_t n, Bits *out, const Bits *const *x, const size_t *step);

Bits bits_normal(Bits, Type);            /* upper bits zeroed */
double bits_to_f64(Bits, Type);          /* any type, for printing and comparing */
Bits bits_from_f64(double, Type);        /* rounds as CAST from f64 does */
Bits bits_canonical(Bits, Type);         /* every NaN becomes the one quiet NaN: comparisons use this and nothing else */
bool bits_equal(Bits, Bits, Type);       /* equal after bits_canonical */

/* Storage conversions in integer arithmetic, nearest even, subnormals kept, NaN stays NaN (quiet). */
uint16_t bf16_from_f32(float);
uint16_t f16_from_f32(float);
float f32_from_bf16(uint16_t);
float f32_from_f16(uint16_t);
#endif
