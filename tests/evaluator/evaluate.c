/* evaluate.c: the evaluator as a command: evaluate RULE.opt|FOLDER DATA.json... [--f64] tells how far a rule is from recorded data. */
#include <stdio.h>
#include <string.h>
#include "golden.h"

int main(int argc, char **argv) {
  bool f64 = false, good = true, quiet = false;
  const char *rule = NULL;
  unsigned files = 0;
  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "--f64")) f64 = true;
    if (!strcmp(argv[i], "--quiet")) quiet = true;
  }
  for (int i = 1; i < argc; i++) {
    if (*argv[i] == '-') continue;
    if (!rule) { rule = argv[i]; continue; }
    files++;
    Arena *arena = arena_new(NULL, 0);
    GoldenReport report;
    bool ran = golden_run(arena, rule, argv[i], f64, &report), within = ran;
    double worst = 0;
    for (unsigned k = 0; k < report.n; k++) {
      within &= report.rows[k].ratio <= 1;
      if (report.rows[k].ratio > worst) worst = report.rows[k].ratio;
    }
    within &= report.n > 0;
    good &= within;
    if (!quiet || !within) printf("%s %s  (largest error %.3g of the tolerance%s)\n", within ? "ok  " : "FAIL", argv[i], worst, f64 ? ", f64" : "");
    if (*report.message) printf("  %s\n", report.message);
    for (unsigned k = 0; k < report.n && (!quiet || !within); k++) {
      const GoldenRow *r = &report.rows[k];
      printf("  %-28s %8ld compared, %10.3g of the tolerance", r->name, r->compared, r->ratio);
      if (r->ratio > 0) printf(" (got %.9g, want %.9g%s", r->got, r->want, r->step >= 0 ? "" : ")");
      if (r->ratio > 0 && r->step >= 0) printf(", step %ld tensor %ld element %ld)", r->step, r->tensor, r->element);
      putchar('\n');
    }
    if (*report.note && !quiet) printf("  not compared:%s\n", report.note);
    arena_free(arena);
  }
  if (!files) { fprintf(stderr, "usage: evaluate RULE.opt|FOLDER DATA.json... [--f64] [--quiet]\n"); return 2; }
  return good ? 0 : 1;
}
