/* kernel_text.h: what printer, parser and verifier of the kernel form share: the table of operations and how each is spelt. */
#ifndef OPTC_IR_KERNEL_TEXT_H
#define OPTC_IR_KERNEL_TEXT_H
#include "ir/kernel.h"

/* What stands between an operation's type and its arguments. */
typedef enum KAttr {
  KATTR_NONE,
  KATTR_BITS,                            /* imm as hexadecimal bits */
  KATTR_HYPER,                           /* name@k */
  KATTR_BUFFER,                          /* name@k: operand or temporary */
  KATTR_BUFFER_AXIS,                     /* name@k, axis (aux) */
  KATTR_BUFFERS,                         /* name@k {, name@k}: all that inst_touches gives */
  KATTR_NUMBER,                          /* imm: slot, text, carried value */
  KATTR_FOLD                             /* imm, and the kind (aux) by its name */
} KAttr;

KAttr kop_attr(KOp);
int kop_arity(KOp);                      /* -1: any */
bool kop_runs_in(KOp, Launch);           /* whether such a kernel may hold it */
typedef enum LaunchSet { LAUNCHES_OF_ITEM, LAUNCHES_OF_CALL, LAUNCHES_OF_DATA } LaunchSet;      /* an item is at hand; none is; tensors are */
bool launch_is(Launch, LaunchSet);
bool kop_parse(const char *text, size_t length, KOp *);
const char *program_buffer_name(const Program *, unsigned buffer);       /* "?" where there is none */
extern const char *const binding_names[BINDINGS];
enum { KERNEL_MAX_DEPTH = 64, KERNEL_MAX_LANES = 64, KERNEL_MAX_UNROLL = 16 };
#endif
