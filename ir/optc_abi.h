/* optc_abi.h: types of the C interface of compiled rules, shared by every generated header, the host library and the driver.
 *
 * Thread safety: a compiled entry has no state beside one idempotent word that remembers the instruction set; calls on
 * disjoint data may run at the same time. Ownership: the caller owns every pointer; nothing is kept after a call. */
#ifndef OPTC_ABI_H
#define OPTC_ABI_H
#include <stddef.h>
#include <stdint.h>
#if __STDC_HOSTED__
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#endif

/* What an entry returns, and optc_error.code. On an error nothing has been written. */
enum {
  OPTC_OK = 0,
  OPTC_E_SIZE = 1,        /* call->size is not the size of this header's struct */
  OPTC_E_NULL = 2,        /* a pointer that must be given is NULL */
  OPTC_E_SHAPE = 3,       /* a rank, extent, count or stride that does not fit, or is not the rule's: "axis 1 of tensor 'K' is {}, G is {}" */
  OPTC_E_GROUP = 4,       /* an item's group is outside 0..n_groups-1 */
  OPTC_E_REQUIRE = 5,     /* a `require` of the rule is not met: text and value[] say which: "requirement not met: beta1 < 1 (beta1 = {})" */
  OPTC_E_HYPER = 6,       /* groups disagree on a hyper-parameter that a value of the whole call depends on */
  OPTC_E_OVERLAP = 7,     /* operands of an item (R_check: of the call) overlap */
  OPTC_E_WORKSPACE = 8,   /* workspace missing or smaller than R_workspace_size */
  OPTC_E_ALIGN = 9,       /* a pointer is not aligned to its element */
  OPTC_E_MEMORY = 10,     /* host library: out of memory */
  OPTC_E_INPUT = 11,      /* host library: the .opt text is wrong, see the diagnostics */
  OPTC_E_FILE = 12,       /* host library: a file could not be read or written */
  OPTC_E_TYPE = 13,       /* host library: element type or device of a tensor does not fit */
  OPTC_E_TARGET = 14,     /* host library: unknown target, cpu or feature */
  OPTC_E_SHARD = 15,      /* the rule takes whole tensors only, and an item is a part of one */
  OPTC_E_DEVICE = 16,     /* host library: no GPU, or its driver refused something: see text */
  OPTC_E_INTERNAL = 70    /* a defect of optc */
};

typedef struct optc_error {
  int code;
  const char *text;        /* static text, never to be freed */
  int64_t item;            /* which item, or -1 */
  int n;                   /* how many of value[] are set */
  double value[4];         /* the numbers in `text`, in order: for each {}, or behind it */
  const char *operand;     /* name of the tensor that it is about, or NULL; static like text */
  const char *other;       /* of an overlap: name of the other tensor, or NULL */
} optc_error;

#if __STDC_HOSTED__
/* The shortest decimal number of 6 digits or more that reads back as x. */
static inline const char *optc_number_format(char *buf, size_t size, double x) {
  int digits;
  for (digits = 6; digits <= 17; digits++) {
    snprintf(buf, size, "%.*g", digits, x);
    if (strtod(buf, NULL) == x) break;
  }
  return buf;
}

/* The error in words: its text with the numbers in their places, and the tensors that it is about. Returns buf. */
static inline const char *optc_error_format(char *buf, size_t size, const optc_error *error) {
  const char *text = error->text ? error->text : "refused", *from = text;
  char number[40];
  size_t at = 0;
  int used = 0, n = error->n < 4 ? error->n : 4;
#define OPTC_ADD(...) do { int n_ = snprintf(buf + at, size - at, __VA_ARGS__); at += n_ < 0 ? 0 : (size_t)n_ < size - at ? (size_t)n_ : size - at - 1; } while (0)
  if (!size) return buf;
  buf[0] = 0;
  if (error->operand && !strstr(text, "tensor '")) OPTC_ADD("tensor '%s': ", error->operand);
  for (const char *hole; used < n && (hole = strstr(from, "{}")); from = hole + 2) OPTC_ADD("%.*s%s", (int)(hole - from), from, optc_number_format(number, sizeof number, error->value[used++]));
  OPTC_ADD("%s", from);
  for (int first = used; used < n; used++) OPTC_ADD("%s%s%s", used > first ? ", " : " (", optc_number_format(number, sizeof number, error->value[used]), used + 1 < n ? "" : ")");
  if (error->other) OPTC_ADD(": '%s'", error->other);
#undef OPTC_ADD
  return buf;
}
#endif

/* A tensor of an item. stride: one an axis, in elements; NULL: dense row-major. */
typedef struct optc_tensor { void *data; const int64_t *stride; } optc_tensor;

/* A tensor whose shape the caller chooses: the rule's sizes are found in it. `shape` may be NULL where rank is 0 (one number). */
typedef struct optc_shaped { void *data; const int64_t *stride; const int64_t *shape; int64_t rank; } optc_shaped;

/* Runs chunk(context, 0..n-1), in any order, on any threads, and returns when all are done. The bits do not depend on it. */
typedef struct optc_parallel {
  void (*run)(void *self, int64_t n, void (*chunk)(void *context, int64_t index), void *context);
  void *self;
} optc_parallel;

/* One state of an item, as R_layout tells it. */
typedef struct optc_state_info {
  const char *name;        /* name in the rule */
  const char *external;    /* name in checkpoints (`as`), or the name */
  const char *type;        /* "f32", "bf16", "u8", ... */
  int32_t scope;           /* 0 tensor, 1 one number an item, 2 one number a call */
  int32_t exists;          /* 0: this item has no such state */
  int64_t rank;            /* of the tensor */
  int64_t count;           /* elements */
  int64_t bytes;
  int64_t shape[8];        /* extents, where rank <= 8 */
  int64_t offset;          /* of its field in R_item (scope 2: in R_global), in bytes: a host can allocate states without knowing their names */
} optc_state_info;
#endif
