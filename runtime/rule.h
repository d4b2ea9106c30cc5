/* rule.h: a compiled rule: a descriptor and whatever keeps it alive. For the files of this room only. */
#ifndef OPTC_RUNTIME_RULE_H
#define OPTC_RUNTIME_RULE_H
#include <stdatomic.h>
#include <stdbool.h>
#include "ir/frame.h"
#include "ir/arena.h"
#include "runtime/jit.h"
#include "runtime/optc.h"

struct optc_rule {
  const optc_rule_desc *desc;
  int64_t layout;                        /* the descriptor's entry behind optc_rule_layout, or -1; the entries that callers see leave it out */
  int32_t chosen;                        /* the descriptor's dispatch word; written with one value only */
  char **texts; int64_t n_texts;         /* error texts that name an operand: rule_text() */
  /* what holds the descriptor: one of */
  Jit *jit;
  Arena *arena;                          /* interpreters: module, graphs, programs, tables */
  void *library;                         /* dlopen's handle */
  const optc_gpu_desc *gpu;              /* what a GPU needs, or NULL */
  atomic_uint starved;                   /* interpreters: kernels that ended for want of memory */
  uint64_t seed;                         /* PTX executed: order of blocks and warps, bits of NaNs */
  atomic_uint n_findings; char finding[400];                                 /* PTX: launches that the executor found fault with, and the first */
};

/* An empty rule; NULL: out of memory. rule_adopt sets the descriptor and makes the texts; false: out of memory, and there are none. */
optc_rule *rule_new(void);
bool rule_adopt(optc_rule *, const optc_rule_desc *);

/* Where a call's tensors lie and what runs it. `entry`: as the descriptor counts. */
typedef struct RuleWay {
  DLDevice device;
  bool anywhere;                         /* tensors may lie on any */
  int (*drive)(const struct RuleWay *, const optc_rule *, int64_t entry, const optc_call *);
  size_t (*workspace)(const struct RuleWay *, const optc_rule *, const optc_call *);      /* NULL: it sees to that itself */
} RuleWay;
int rule_call(const optc_rule *, int entry, const optc_call_args *, const RuleWay *);
#endif
