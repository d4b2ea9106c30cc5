/* explain_apart.c: why the sweeps of an entry stand apart, and how many of them must. */
#include "runtime/explain.h"

const char *const apart_text[APART_NOT] = {"a total over all tensors of the call comes between", "a reduction needs the whole tensor first", "a reduction along rows or columns comes first",
  "a contraction comes first", "read at other positions than they are written", "what one leaves for the other goes through memory"};
const char *const apart_names[APART_NOT] = {"total", "whole_tensor", "rows_or_columns", "contraction", "positions", "memory"};

/* The last sweep of weight before sweep `end`; `none` if there is none. */
static unsigned last_before(const Facts *f, unsigned end, unsigned none) {
  for (unsigned e = end; e-- > 0;) if (f->sweep[e].counted && !f->sweep[e].trivial) return e;
  return none;
}

/* Where a number that kernel k makes before sweep `end` comes from: from the sweep whose partials the kernel joins, else from the sweep before. */
static unsigned made_from(const Facts *f, unsigned k, unsigned end, unsigned none) {
  for (unsigned j = k; j-- > 0;)
    for (unsigned b = f->module->n_operands; b < f->n_buffers; b++) {
      bool joined = facts_temp(f, b)->partial && f->kernel[j].outside[b] & TOUCH_WRITTEN && f->kernel[k].outside[b] & TOUCH_READ;
      for (unsigned s = f->kernel[k].first; s < f->kernel[k].first + f->kernel[k].n && !joined; s++)
        joined = facts_temp(f, b)->partial && f->kernel[j].outside[b] & TOUCH_WRITTEN && f->sweep[s].use[b] & TOUCH_READ;
      if (joined) return last_before(f, f->kernel[j].first + f->kernel[j].n, none);
    }
  return last_before(f, end, none);
}

typedef struct Origin { Apart kind; unsigned after; } Origin;

static Origin from_sweep(const Facts *f, unsigned at, unsigned buffer, unsigned e) {
  const Sweep *earlier = &f->sweep[e];
  Apart kind = f->sweep[at].use[buffer] & TOUCH_ELSEWHERE ? APART_PLACES : APART_MEMORY;
  if (earlier->n_folds && facts_temp(f, buffer)) kind = facts_fixed(f, buffer) ? APART_TENSOR : APART_ROWS;
  if (earlier->contracts) kind = APART_CONTRACTION;
  return (Origin){kind, e};
}

static Origin from_outside(const Facts *f, unsigned at, unsigned buffer, unsigned k, unsigned end) {
  unsigned made = made_from(f, k, end, at);
  return (Origin){made == at ? APART_NOT : facts_fixed(f, buffer) ? APART_TENSOR : APART_MEMORY, made};
}

/* The last write of a buffer before sweep `at`: in a sweep, or between sweeps. */
static Origin origin(const Facts *f, unsigned at, unsigned buffer) {
  for (unsigned k = f->sweep[at].kernel + 1; k-- > 0;) {
    const KernelFacts *kernel = &f->kernel[k];
    bool own = k == f->sweep[at].kernel;
    unsigned end = own ? at + 1 : kernel->first + kernel->n;
    if (!own && kernel->tail[buffer] & TOUCH_WRITTEN) return from_outside(f, at, buffer, k, end);
    for (unsigned e = end; e-- > kernel->first;) {
      const Sweep *s = &f->sweep[e];
      if (e != at && s->counted && s->use[buffer] & TOUCH_WRITTEN) return from_sweep(f, at, buffer, e);
      if (s->live && s->ahead[buffer] & TOUCH_WRITTEN) return from_outside(f, at, buffer, k, e);
    }
  }
  return (Origin){APART_NOT, at};
}

/* A buffer that a sweep writes and an earlier one touches: the old value, or another one, is needed first. */
static Origin overwritten(const Facts *f, unsigned at, unsigned buffer) {
  for (unsigned e = at; e-- > 0;) if (f->sweep[e].counted && f->sweep[e].use[buffer]) return (Origin){APART_MEMORY, e};
  return (Origin){APART_NOT, at};
}

/* The sweep before the totals that a kernel reads, if nothing has waited for them yet. */
static Origin before_totals(const Facts *f, unsigned at, unsigned last) {
  unsigned k = f->sweep[at].kernel;
  while (f->kernel[f->sweep[at].kernel].totals && k-- > 0)
    if (f->program->kernels[k]->launch == LAUNCH_TOTAL) return (Origin){f->sweep[last].kernel < k ? APART_TOTAL : APART_NOT, last};
  return (Origin){APART_NOT, at};
}

static void find_reason(Facts *f, unsigned at) {
  Sweep *s = &f->sweep[at];
  unsigned last = last_before(f, at, at);
  if (!s->counted || s->trivial || last == at) return;
  Apart kind[OPTC_MAX_BUFFERS];
  Origin best = before_totals(f, at, last);
  for (unsigned b = 0; b < f->n_buffers; b++) {
    Origin o = {APART_NOT, at};
    if (!facts_local(f, b)) {
      if ((s->use[b] | s->ahead[b]) & TOUCH_READ) o = origin(f, at, b);
      if (o.kind == APART_NOT && s->use[b] & TOUCH_WRITTEN) o = overwritten(f, at, b);
    }
    kind[b] = o.kind;
    if (o.kind < best.kind || (o.kind == best.kind && o.after > best.after)) best = o;
  }
  s->apart = best.kind;
  s->after = best.after;
  for (unsigned b = 0; b < f->n_buffers; b++) s->because[b] = best.kind < APART_NOT && kind[b] == best.kind;
}

/* A segment begins where a sweep waits for the whole tensor, or all of them, to be gone through in the segment at hand. */
static void find_segments(Facts *f) {
  for (unsigned k = 0; k < f->n_sweeps; k++) {
    Sweep *s = &f->sweep[k];
    int64_t segment = f->n_segments ? f->n_segments - 1 : 0;
    if ((s->apart == APART_TOTAL || s->apart == APART_TENSOR) && f->sweep[s->after].segment == segment) segment++;
    s->segment = segment;
    f->n_segments = segment + 1;
  }
}

void facts_part(Facts *f) {
  for (unsigned k = 0; k < f->n_sweeps; k++) find_reason(f, k);
  find_segments(f);
}
