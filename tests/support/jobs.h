/* jobs.h: independent jobs of one test on all cores of the machine, told in their order. */
#ifndef OPTC_TESTS_JOBS_H
#define OPTC_TESTS_JOBS_H

/* NULL: it went well; otherwise what is wrong, of malloc (job_trouble). CUnit's assertions are not for jobs: they are not made for threads. */
typedef char *Job(void *self, int i);

/* Jobs 0 .. n - 1, each with the same `self`. Afterwards, in order, what went wrong is printed and counts as a failure. Returns how many went well. */
int jobs_run(int n, Job *, void *self);
int jobs_at_once(void);
char *job_trouble(const char *format, ...) __attribute__((format(printf, 1, 2)));
#endif
