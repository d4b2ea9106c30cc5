/* measure.c: timing by interleaved rounds; medians; the table and the JSON file. */
#define _GNU_SOURCE
#include "tests/bench/measure.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static double clock_seconds(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
double now_wall(void) { return clock_seconds(CLOCK_MONOTONIC); }
double now_cpu(void) { return clock_seconds(CLOCK_THREAD_CPUTIME_ID); }

void measure_rounds(const Contender *c, int n, int rounds, int repeat, int cpu, double *seconds) {
  for (int k = 0; k < n; k++) c[k].work(c[k].self);
  for (int r = 0; r < rounds; r++)
    for (int j = 0; j < n; j++) {
      int k = (j + r) % n;                                                 /* every contender follows every other */
      double t = cpu ? now_cpu() : now_wall();
      for (int i = 0; i < repeat; i++) c[k].work(c[k].self);
      seconds[k * rounds + r] = ((cpu ? now_cpu() : now_wall()) - t) / repeat;
    }
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}
double median(const double *x, int n) {
  double *copy = malloc((size_t)n * sizeof *copy);
  memcpy(copy, x, (size_t)n * sizeof *copy);
  qsort(copy, (size_t)n, sizeof *copy, ascending);
  double m = n % 2 ? copy[n / 2] : (copy[n / 2 - 1] + copy[n / 2]) / 2;
  free(copy);
  return m;
}
double median_ratio(const double *over, const double *under, int n) {
  double *q = malloc((size_t)n * sizeof *q);
  for (int i = 0; i < n; i++) q[i] = over[i] / under[i];
  double m = median(q, n);
  free(q);
  return m;
}

struct Report { char *path; json_t *rows; };

Report *report_open(const char *path) {
  Report *r = malloc(sizeof *r);
  *r = (Report){strdup(path), json_load_file(path, 0, NULL)};
  if (!json_is_array(r->rows)) r->rows = json_array();
  printf("%-44s %10s  %-26s %10s %-8s %7s %5s\n", "", "ours", "peer", "peer", "unit", "ratio", "runs");
  return r;
}
void report_row(Report *r, const char *name, double ours, const char *peer, double peer_value, const char *unit, double ratio, int runs) {
  printf("%-44s %10.4g  %-26s %10.4g %-8s %7.3f %5d\n", name, ours, peer, peer_value, unit, ratio, runs);
  fflush(stdout);
  json_array_append_new(r->rows, json_pack("{s:s, s:f, s:s, s:f, s:s, s:f, s:i}", "name", name, "ours", ours, "peer", peer, "peer_value", peer_value,
                                           "unit", unit, "ratio", ratio, "runs", runs));
}
void report_rounds(Report *r, const char *name, const Contender *c, int n, int rounds, const double *seconds, double amount, const char *unit) {
  for (int k = 1; k < n; k++) {
    double ours = median(seconds, rounds), theirs = median(seconds + k * rounds, rounds);
    report_row(r, name, amount > 0 ? amount / ours : ours, c[k].name, amount > 0 ? amount / theirs : theirs, unit,
               median_ratio(seconds + k * rounds, seconds, rounds), rounds);
  }
}
int report_close(Report *r) {
  size_t length = strlen(r->path) + 8;
  char *part = malloc(length);
  snprintf(part, length, "%s.part", r->path);
  int bad = json_dump_file(r->rows, part, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) || rename(part, r->path);
  if (bad) fprintf(stderr, "bench: cannot write %s\n", r->path);
  else printf("%s\n", r->path);
  json_decref(r->rows);
  free(part); free(r->path); free(r);
  return bad;
}

void *bench_memory(size_t bytes) {
  size_t huge = 2u << 20, size = (bytes + huge - 1) / huge * huge + huge;
  char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) { fprintf(stderr, "bench: no memory for %zu bytes\n", bytes); exit(1); }
  p = (char *)(((size_t)p + huge - 1) / huge * huge);
  madvise(p, size - huge, MADV_HUGEPAGE);
  memset(p, 0, bytes);
  return p;
}
