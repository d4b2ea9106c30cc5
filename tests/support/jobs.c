/* jobs.c: see jobs.h. */
#define _GNU_SOURCE
#include "tests/support/jobs.h"
#include <CUnit/CUnit.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "tests/support/team.h"

enum { MOST_AT_ONCE = 8 };

typedef struct Jobs { Job *job; void *self; char **trouble; } Jobs;

static void run(void *context, int64_t i) {
  const Jobs *jobs = context;
  jobs->trouble[i] = jobs->job(jobs->self, (int)i);
}

int jobs_at_once(void) {
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  return cores < 1 ? 1 : cores > MOST_AT_ONCE ? MOST_AT_ONCE : (int)cores;
}

int jobs_run(int n, Job *job, void *self) {
  Jobs jobs = {job, self, calloc((size_t)n + 1, sizeof *jobs.trouble)};
  Team team = {.threads = jobs_at_once(), .order = FORWARDS};
  int good = 0;
  CU_ASSERT_PTR_NOT_NULL_FATAL(jobs.trouble);
  run_team(&team, n, run, &jobs);
  for (int i = 0; i < n; i++) {
    if (jobs.trouble[i]) { printf("\n%s\n", jobs.trouble[i]); CU_FAIL("a job says what is wrong"); }
    good += !jobs.trouble[i];
    free(jobs.trouble[i]);
  }
  free(jobs.trouble);
  CU_ASSERT_EQUAL(good, n);
  return good;
}

char *job_trouble(const char *format, ...) {
  va_list args;
  char *text;
  va_start(args, format);
  int length = vasprintf(&text, format, args);
  va_end(args);
  if (length < 0) abort();
  return text;
}
