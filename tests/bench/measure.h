/* measure.h: paired, interleaved measurements, and the rows of bench.json. */
#ifndef OPTC_BENCH_MEASURE_H
#define OPTC_BENCH_MEASURE_H
#include <stddef.h>

typedef void (*work_fn)(void *);
typedef struct Contender { const char *name; work_fn work; void *self; } Contender;

double now_wall(void);                   /* seconds */
double now_cpu(void);                    /* of this thread */

/* Runs every contender once a round, in turn, for `rounds` rounds after one warm-up; seconds[c*rounds + r]. cpu: CPU time of this thread, else wall time. */
void measure_rounds(const Contender *, int n, int rounds, int repeat, int cpu, double *seconds);
double median(const double *, int n);
double median_ratio(const double *over, const double *under, int n);      /* median of over[i]/under[i] */

/* A row: contender 0 is ours. amount: work in one run, in units of `unit` a second (bytes*1e-9 for GB/s), or 0 where time itself is the value (unit s or ms). */
typedef struct Report Report;
Report *report_open(const char *path);   /* rows that the file has already stay */
void report_row(Report *, const char *name, double ours, const char *peer, double peer_value, const char *unit, double ratio, int runs);
void report_rounds(Report *, const char *name, const Contender *, int n, int rounds, const double *seconds, double amount, const char *unit);
int report_close(Report *);              /* writes the file under a temporary name and renames it; 0 if good */

void *bench_memory(size_t bytes);        /* huge pages where the machine gives them; zeroed; exits when there is no memory */
#endif
