/* profile.h: names of compiled kernels for perf. For this room only. Nothing is kept. */
#ifndef OPTC_RUNTIME_PROFILE_H
#define OPTC_RUNTIME_PROFILE_H
#include "ir/frame.h"

/* With OPTC_PERF_MAP set in the environment: adds a rule's kernels to /tmp/perf-PID.map, where perf looks for symbols of generated code. */
void profile_publish(const optc_rule_desc *);
#endif
