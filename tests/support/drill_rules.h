/* drill_rules.h: the rules that ship, and their drills through the public interface. */
#ifndef OPTC_TESTS_DRILL_RULES_H
#define OPTC_TESTS_DRILL_RULES_H
#include <CUnit/CUnit.h>
#include <stdio.h>
#include "tests/support/drill.h"

typedef struct ShippedRule { char path[128], name[64]; } ShippedRule;
/* Every `rule` of every rules/NAME.opt, files in alphabetical order; *n is 0 if there are none. */
const ShippedRule *shipped_rules(int *n);

/* A compiled rule as drills want it. Here and not in a .c file because suites of lower rooms link all of those. */
#ifdef OPTC_RUNTIME_RULE_H
static inline int drill_call(void *rule, int64_t entry, const optc_call *call) {          /* entry: as the descriptor counts */
  return optc_rule_call_raw(rule, optc_rule_entry(rule, ((optc_rule *)rule)->desc->entries[entry].name), call);
}
static inline size_t drill_workspace(void *rule, const optc_call *call) { return optc_rule_workspace_size(rule, call); }
static inline int drill_layout(void *self, const optc_call *call, int64_t item, optc_state_info *out) {
  optc_rule *rule = self;
  return optc_drive_layout(rule->desc, call, item, out, &rule->chosen);
}
/* A rule that ships, with these options; NULL, told and counted as a failure, where it does not compile. */
static inline optc_rule *shipped_compile(const ShippedRule *r, const optc_compile_options *options) {
  optc_context *cx = optc_context_new(&(optc_context_options){.size = sizeof(optc_context_options), .cache_dir = ""});
  optc_rule *rule = NULL;
  if (optc_compile_file(cx, r->path, options, &rule)) {
    printf("\n%s: %s", r->name, optc_context_diagnostics(cx));
    CU_FAIL("a rule does not compile");
  }
  optc_context_free(cx);
  return rule;
}
static inline DrillRule drill_rule(optc_rule *rule) { return (DrillRule){rule->desc, drill_call, drill_workspace, rule, drill_layout}; }
#endif
#endif
