/* explain_svg.c: a picture of each entry: its kernels in order, what they move, the temporaries that go from one to another; and a roofline.
 *
 *    operands read         kernel            operands written      temporaries: a line from the kernel that writes to those that read
 *    p, g   8 B/element -> [ 1 phase_0 ] ->                    o---+
 *                          [ 2 join_0  ]                       <---+
 */
#include "runtime/explain.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BOX_X = 300, BOX_WIDTH = 256, ROW = 46, THIN = 26, GAP = 8, LANE = 13, TOP = 64, TEMPS_X = BOX_X + BOX_WIDTH + 270, CHART_WIDTH = 620, CHART_HEIGHT = 300, MAX_LANES = 128 };

static void escaped(const char *text, Text *out) {
  for (; text && *text; text++)
    if (*text == '<') text_add(out, "&lt;");
    else if (*text == '>') text_add(out, "&gt;");
    else if (*text == '&') text_add(out, "&amp;");
    else if (*text == '"') text_add(out, "&quot;");
    else text_append(out, text, 1);
}

/* anchor: start, middle, end. */
static void label_at(double x, double y, const char *anchor, const char *style, const char *text, Text *out) {
  text_add(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" class=\"%s\">", x, y, anchor, style);
  escaped(text, out);
  text_add(out, "</text>\n");
}

static void label(double x, double y, const char *style, const char *text, Text *out) { label_at(x, y, "start", style, text, out); }

typedef struct Picture { const Facts *f; const Machine *machine; double *y, *height; unsigned n; double bottom; Text *out; } Picture;       /* y, height: by kernel */

static bool has_weight(const Facts *f, unsigned k) { return f->kernel[k].read + f->kernel[k].written > 0; }

static unsigned char used(const Facts *f, unsigned k, unsigned buffer) {
  unsigned char use = f->kernel[k].outside[buffer];
  for (unsigned s = f->kernel[k].first; s < f->kernel[k].first + f->kernel[k].n; s++) if (f->sweep[s].counted) use |= f->sweep[s].use[buffer];
  return use;
}

/* What goes in or out on one side of a box: names, cut where there are too many. */
static void side(const Picture *p, unsigned k, int bit, Text *line) {
  const Facts *f = p->f;
  unsigned n = 0, named = 0;
  for (unsigned b = 0; b < f->n_buffers; b++)
    if (used(f, k, b) & bit && !facts_local(f, b)) {
      if (n < 5 && line->length < 24) text_add(line, "%s%s", named++ ? ", " : "", facts_buffer(f, b));
      n++;
    }
  if (n > named) text_add(line, " + %u", n - named);
}

static void box(const Picture *p, unsigned k) {
  const Facts *f = p->f;
  const Kernel *kernel = f->program->kernels[k];
  double y = p->y[k], h = p->height[k], x = BOX_X + 12*f->kernel[k].depth, middle = y + h/2;
  bool weight = has_weight(f, k);
  text_add(p->out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"4\" class=\"%s\"/>\n", x, y, BOX_X + BOX_WIDTH - x, h, weight ? "kernel" : "light");
  Text name = {.arena = p->out->arena};
  text_add(&name, "%u  %s", k + 1, kernel->name);
  label(x + 10, y + 17, "name", name.data, p->out);
  if (h > THIN) {
    Text launch = {.arena = p->out->arena};
    text_add(&launch, "%s", explain_launch(kernel->launch));
    if (f->kernel[k].times > 1) text_add(&launch, ", %.0f times", f->kernel[k].times);
    label(x + 10, y + 34, "small", launch.data, p->out);
  }
  for (int bit = TOUCH_READ; bit <= TOUCH_WRITTEN && weight; bit++) {
    Text line = {.arena = p->out->arena}, bytes = {.arena = p->out->arena};
    bool read = bit == TOUCH_READ;
    double moved = read ? f->kernel[k].read : f->kernel[k].written, edge = read ? BOX_X : BOX_X + BOX_WIDTH;
    side(p, k, bit, &line);
    if (moved <= 0) continue;
    explain_moved(f, moved, "B an element", &bytes);
    text_add(p->out, "<path d=\"M%.1f %.1f h32\" class=\"edge\" marker-end=\"url(#arrow)\"/>\n", read ? edge - 40 : edge + 2, middle);
    if (line.length) label_at(read ? edge - 46 : edge + 44, middle - 4, read ? "end" : "start", "names", line.data, p->out);
    label_at(read ? edge - 46 : edge + 44, middle + (line.length ? 11 : 4), read ? "end" : "start", "small", bytes.data, p->out);
  }
}

/* A temporary: a line in the first lane that is free between its first and last kernel. Returns the lane. */
static unsigned temporary(const Picture *p, unsigned t, double *taken) {
  const Facts *f = p->f;
  unsigned b = f->module->n_operands + t, first = f->program->n_kernels, last = 0, lane = 0;
  for (unsigned k = 0; k < f->program->n_kernels; k++)
    if (used(f, k, b)) {
      if (first == f->program->n_kernels) first = k;
      last = k;
    }
  if (f->program->temps[t].local || first >= last) return 0;
  double from = p->y[first] + p->height[first]/2, to = p->y[last] + p->height[last]/2;
  while (lane + 1 < MAX_LANES && taken[lane] > from - 12) lane++;
  taken[lane] = to;
  double x = TEMPS_X + LANE*lane;
  Text name = {.arena = p->out->arena};
  text_add(&name, "%s, ", facts_buffer(f, b));
  explain_bytes((double)values_buffer((Values *)&f->values, b)*type_bytes(f->program->temps[t].type), &name);
  text_add(p->out, "<g class=\"temp\"><title>");
  escaped(name.data, p->out);
  text_add(p->out, "</title><path d=\"M%.1f %.1f V%.1f\"/>\n", x, from, to);
  for (unsigned k = first; k <= last; k++) {
    unsigned char use = used(f, k, b);
    double y = p->y[k] + p->height[k]/2;
    if (use & TOUCH_WRITTEN) text_add(p->out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.2\" class=\"write\"/>\n", x, y);
    else if (use) text_add(p->out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.2\" class=\"read\"/>\n", x, y);
  }
  text_add(p->out, "<text transform=\"translate(%.1f %.1f) rotate(90)\" class=\"tiny\">", x + 4, from + 8);
  if (to - from > 6.2*(double)name.length) escaped(name.data, p->out);
  text_add(p->out, "</text></g>\n");
  return lane + 1;
}

/* --- the roofline -------------------------------------------------------------------------------------------------------------------- */

typedef struct Chart { double x, y, low_x, high_x, low_y, high_y; } Chart;       /* where it stands; decades of the axes */
static double at_x(const Chart *c, double v) { return c->x + CHART_WIDTH*(log10(v) - c->low_x)/(c->high_x - c->low_x); }
static double at_y(const Chart *c, double v) { return c->y + CHART_HEIGHT*(1 - (log10(v) - c->low_y)/(c->high_y - c->low_y)); }

static void axes(const Chart *c, Text *out) {
  text_add(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%d\" height=\"%d\" class=\"chart\"/>\n", c->x, c->y, CHART_WIDTH, CHART_HEIGHT);
  for (int d = 0; d <= (int)(c->high_x - c->low_x); d++) {
    char text[32];
    snprintf(text, sizeof text, "%g", pow(10, c->low_x + d));
    text_add(out, "<path d=\"M%.1f %.1f v%d\" class=\"grid\"/>\n", at_x(c, pow(10, c->low_x + d)), c->y, CHART_HEIGHT);
    label_at(at_x(c, pow(10, c->low_x + d)), c->y + CHART_HEIGHT + 16, "middle", "small", text, out);
  }
  for (int d = 0; d <= (int)(c->high_y - c->low_y); d++) {
    char text[32];
    snprintf(text, sizeof text, "%g", pow(10, c->low_y + d));
    text_add(out, "<path d=\"M%.1f %.1f h%d\" class=\"grid\"/>\n", c->x, at_y(c, pow(10, c->low_y + d)), CHART_WIDTH);
    label_at(c->x - 6, at_y(c, pow(10, c->low_y + d)) + 4, "end", "small", text, out);
  }
  label_at(c->x + CHART_WIDTH/2.0, c->y + CHART_HEIGHT + 36, "middle", "small", "floating-point operations a byte", out);
  label(c->x, c->y - 10, "small", "GFLOP/s that memory and arithmetic allow: a point for each kernel, by its number", out);
}

/* Kernels at one place share a point and a label. */
static void points(const Picture *p, const Chart *c) {
  const Facts *f = p->f;
  struct { double x, y; Text label; } *group = arena_array(p->out->arena, f->program->n_kernels + 1, sizeof *group);
  unsigned n = 0;
  for (unsigned k = 0; k < f->program->n_kernels; k++) {
    const KernelFacts *kernel = &f->kernel[k];
    double bytes = kernel->read + kernel->written;
    if (kernel->flops <= 0 || bytes < 4096) continue;                       /* numbers, not tensors */
    double intensity = fmin(fmax(kernel->flops/bytes, pow(10, c->low_x)), pow(10, c->high_x));
    double x = at_x(c, intensity), y = at_y(c, fmin(p->machine->peak, intensity*p->machine->bandwidth));
    unsigned g = 0;
    while (g < n && fabs(group[g].x - x) + fabs(group[g].y - y) > 9) g++;
    if (g == n) {
      group[n].x = x;
      group[n].y = y;
      group[n++].label.arena = p->out->arena;
    }
    if (group[g].label.length < 26) text_add(&group[g].label, "%s%u", group[g].label.length ? ", " : "", k + 1);
    else if (group[g].label.data[group[g].label.length - 1] != '.') text_add(&group[g].label, ", ...");
  }
  for (unsigned g = 0; g < n; g++) {
    text_add(p->out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" class=\"point\"/>\n", group[g].x, group[g].y);
    label(group[g].x + 8, group[g].y + 12, "small", group[g].label.data, p->out);
  }
}

static void roofline(Picture *p, double top) {
  const Machine *m = p->machine;
  Text *out = p->out;
  if (m->bandwidth <= 0 || m->peak <= 0) return;
  Chart c = {60, top, -2, 4, floor(log10(0.01*m->bandwidth)), ceil(log10(m->peak))};
  axes(&c, out);
  double ridge = m->peak/m->bandwidth;
  text_add(out, "<path d=\"M%.1f %.1f L%.1f %.1f H%.1f\" class=\"roof\"/>\n", at_x(&c, 0.01), at_y(&c, 0.01*m->bandwidth), at_x(&c, ridge), at_y(&c, m->peak), c.x + CHART_WIDTH);
  char text[96];
  snprintf(text, sizeof text, "%.4g GFLOP/s (%s)", m->peak, m->peak_measured ? "measured" : "given");
  label_at(c.x + CHART_WIDTH - 6, at_y(&c, m->peak) - 7, "end", "small", text, out);
  snprintf(text, sizeof text, "%.4g GB/s (%s)", m->bandwidth, m->bandwidth_measured ? "measured" : "given");
  label_at(at_x(&c, 0.3*ridge) - 10, at_y(&c, 0.3*m->peak) - 8, "end", "small", text, out);
  points(p, &c);
  p->bottom = top + CHART_HEIGHT + 60;
}

/* --- an entry ------------------------------------------------------------------------------------------------------------------------ */

static void title(const Picture *p, double top) {
  const Facts *f = p->f;
  Text head = {.arena = p->out->arena}, sub = {.arena = p->out->arena};
  text_add(&head, "%s, entry %s", f->module->name, f->program->entry);
  label(24, top + 26, "title", head.data, p->out);
  explain_moved(f, f->moved.read + f->moved.written, "B an element", &sub);
  text_add(&sub, " through memory, ");
  explain_moved(f, f->least.read + f->least.written, "B an element", &sub);
  text_add(&sub, " at the least; counted at ");
  sample_text(f->sample, &sub);
  if (f->seconds > 0 && f->per > 1) text_add(&sub, "; predicted %.4g ns an element", 1e9*f->seconds/f->per);
  else if (f->seconds > 0) text_add(&sub, "; predicted %.4g ms a call", 1e3*f->seconds);
  label(24, top + 46, "small", sub.data, p->out);
}

/* Returns how wide it is. */
static double entry_svg(Picture *p, double top) {
  const Facts *f = p->f;
  unsigned n = f->program->n_kernels, lanes = 0;
  double y = top + TOP, taken[MAX_LANES] = {0};
  p->y = arena_array(p->out->arena, n + 1, sizeof *p->y);
  p->height = arena_array(p->out->arena, n + 1, sizeof *p->height);
  title(p, top);
  int64_t phase = 0;
  for (unsigned k = 0; k < n; k++) {
    if (f->n_phases > 1 && (!k || f->kernel[k].phase != phase)) {
      char text[48];
      snprintf(text, sizeof text, "phase %lld", (long long)f->kernel[k].phase + 1);
      label(24, y + 14, "phase", text, p->out);
      text_add(p->out, "<path d=\"M24 %.1f H%d\" class=\"cut\"/>\n", y - GAP/2.0, TEMPS_X - 20);
      phase = f->kernel[k].phase;
    }
    p->y[k] = y;
    p->height[k] = has_weight(f, k) || f->program->kernels[k]->launch == LAUNCH_TOTAL ? ROW : THIN;
    y += p->height[k] + GAP;
    box(p, k);
  }
  for (unsigned t = 0; t < f->program->n_temps; t++) {
    unsigned lane = temporary(p, t, taken);
    lanes = lane > lanes ? lane : lanes;
  }
  p->bottom = y;
  roofline(p, y + 40);
  return TEMPS_X + LANE*(lanes + 2);
}

static const char style[] = "<style>text{font-family:system-ui,sans-serif;font-size:13px;fill:#1f2933}.title{font-size:18px;font-weight:600}.name{font-weight:600}"
  ".small{font-size:11px;fill:#52606d}.tiny{font-size:9px;fill:#52606d}.phase{font-size:11px;font-weight:600;fill:#2f6f9f}"
  ".kernel{fill:#e6f0fa;stroke:#2f6f9f}.light{fill:#f5f7fa;stroke:#cbd2d9}.edge{stroke:#52606d;fill:none}.cut{stroke:#9fb3c8;stroke-dasharray:4 3;fill:none}"
  ".temp path{stroke:#c05621;stroke-width:1.2;fill:none}.write{fill:#c05621}.read{fill:#ffffff;stroke:#c05621}.chart{fill:#fafbfc;stroke:#cbd2d9}.grid{stroke:#e4e7eb}"
  ".roof{stroke:#1f2933;stroke-width:2;fill:none}.point{fill:#2f6f9f}</style>\n"
  "<defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0 L8 4 L0 8 z\" fill=\"#52606d\"/></marker></defs>\n";

void explain_svg(const Module *m, Program *const *programs, unsigned n_programs, const Machine *machine, Text *out) {
  Sample sample;
  sample_make(&sample, m, out->arena);
  Text body = {.arena = out->arena};
  double top = 0, width = 60 + CHART_WIDTH + 40;
  for (unsigned i = 0; i < n_programs; i++) {
    if (!facts_shown(programs[i]) || !programs[i]->n_kernels || !strcmp(programs[i]->entry, "init")) continue;
    Facts *facts = arena_alloc(out->arena, sizeof *facts);
    facts_gather(facts, &sample, programs[i], machine, out->arena);
    Picture p = {.f = facts, .machine = machine, .out = &body};
    double w = entry_svg(&p, top);
    width = w > width ? w : width;
    top = p.bottom + 20;
  }
  text_add(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\">\n", width, top + 10, width, top + 10);
  text_add(out, "%s<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n", style);
  if (body.length) text_append(out, body.data, body.length);
  text_add(out, "</svg>\n");
}
