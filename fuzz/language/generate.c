/* generate.c: whole rules as text, valid by construction wherever the language can be followed: names, sizes, ranges and levels are kept while writing.
 *
 * Two kinds: rules of tensors with shapes of their own (indexed statements, scans, scatters, gradients) and rules with a param (elementwise
 * statements, states, branches by rank, totals). Every statement is a line of its own, so that lines can be dropped from a finding. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "fuzz/language/case.h"

typedef struct Index { char name[16]; int size; } Index;
typedef struct Tensor { char name[16]; int rank, axis[CASE_RANK]; char type; bool written, hidden; } Tensor;      /* type: r real, i int, b bool; hidden: not read or changed yet */
typedef struct Rule {
  uint64_t state;
  char *text; size_t n;
  int n_sizes, size[CASE_SIZES];         /* names A, B, ... */
  Tensor tensor[64]; int n_tensors;
  Index index[16]; int n_index, fresh;   /* of the statement; a scan's come first */
  char scalar[24][16]; int n_scalars;
  int budget, locals, depth, fns, tables, scans;     /* scans: how many of the indices are numbers here */
  int64_t points;                        /* of the statement so far */
  bool plain;                            /* index-free: whole tensors of the item */
  bool small;                            /* no reductions below */
} Rule;

static unsigned draw(Rule *r, unsigned n) {
  r->state = r->state*6364136223846793005u + 1442695040888963407u;
  uint64_t x = r->state >> 29;
  x ^= x >> 17;
  return n ? (unsigned)(x % n) : 0;
}
static bool often(Rule *r, unsigned percent) { return draw(r, 100) < percent; }

__attribute__((format(printf, 2, 3))) static void put(Rule *r, const char *format, ...) {
  va_list list;
  va_start(list, format);
  int n = vsnprintf(r->text + r->n, CASE_TEXT - r->n, format, list);
  va_end(list);
  if (n > 0) r->n = r->n + (size_t)n < CASE_TEXT ? r->n + (size_t)n : CASE_TEXT - 1;
}
#define PICK(r, ...) ((const char *const[]){__VA_ARGS__})[draw(r, sizeof((const char *const[]){__VA_ARGS__})/sizeof(char *))]
static void line(Rule *r) { put(r, "%*s", 2 + 2*r->depth, ""); }

static void real(Rule *, int depth);
static void integer(Rule *, int depth);
static void boolean(Rule *, int depth);

/* --- indices and reads ----------------------------------------------------------------------------------------------------------------------- */

static char size_name(int s) { return (char)('A' + s); }

static Index *open_index(Rule *r, int size) {
  Index *i = &r->index[r->n_index++];
  snprintf(i->name, sizeof i->name, "i%d", r->fresh++);
  i->size = size;
  r->points *= r->size[size];
  return i;
}

static bool may_open(const Rule *r, int size) { return r->n_index < 6 && r->points*r->size[size] <= 20000; }

static void subscript(Rule *r, int size) {
  int fit[16], n = 0;
  for (int k = 0; k < r->n_index; k++) if (r->index[k].size == size) fit[n++] = k;
  if (n && often(r, 80)) { put(r, "%s", r->index[fit[draw(r, (unsigned)n)]].name); return; }
  const char *any = r->n_index ? r->index[draw(r, (unsigned)r->n_index)].name : NULL;
  switch (any ? draw(r, 8) : 0) {
    case 0: put(r, "%u", draw(r, 3)); break;
    case 1: put(r, "%s - 1", any); break;
    case 2: put(r, "%s + %u", any, 1 + draw(r, 3)); break;
    case 3: put(r, "%s//2", any); break;
    case 4: put(r, "%c - 1 - %s", size_name(size), any); break;
    case 5: put(r, "(%s*%u + 1) %% %c", any, 2 + draw(r, 3), size_name(size)); break;
    default:
      put(r, "(");
      integer(r, 2);
      put(r, ") %% %c", size_name(size));
  }
}

static bool visible(const Rule *r, const Tensor *t, char type) {
  if (t->type != type || t->hidden) return false;
  return !r->plain || t->rank < 0;
}

/* false: there is no such tensor. */
static bool read_tensor(Rule *r, char type) {
  int fit[64], n = 0;
  for (int k = 0; k < r->n_tensors; k++) {
    const Tensor *t = &r->tensor[k];
    if (!visible(r, t, type)) continue;
    int good = 0;
    for (int a = 0; a < t->rank; a++) for (int i = 0; i < r->n_index; i++) good += r->index[i].size == t->axis[a];
    fit[n++] = k;
    if (good && n < 60) fit[n++] = k;                      /* twice as often where an index fits */
  }
  if (!n) return false;
  const Tensor *t = &r->tensor[fit[draw(r, (unsigned)n)]];
  put(r, "%s", t->name);
  if (r->plain || t->rank <= 0) return true;
  put(r, "[");
  for (int a = 0; a < t->rank; a++) {
    if (a) put(r, ", ");
    subscript(r, t->axis[a]);
  }
  put(r, "]");
  return true;
}

/* --- expressions ----------------------------------------------------------------------------------------------------------------------------- */

static void literal(Rule *r) { put(r, "%s", PICK(r, "0.5", "1", "2", "0.1", "-1.5", "3", "1e-3", "0", "0.25", "7", "1e-30", "0.9")); }

/* kind[i < n, ...](body) with the body's type; the indices end with it. */
static void reduction(Rule *r, int depth, const char *kind, int most, char type) {
  int kept = r->n_index, n = 1 + (most > 1 && often(r, 25));
  int64_t points = r->points;
  if (r->plain) {
    bool small = r->small;
    put(r, "%s(%s", kind, type == 'b' ? "" : PICK(r, "g*", "p - ", "g + "));
    r->small = true;
    type == 'b' ? boolean(r, depth - 1) : real(r, depth - 1);
    r->small = small;
    put(r, ")");
    return;
  }
  put(r, "%s[", kind);
  for (int k = 0; k < n; k++) {
    int size = (int)draw(r, (unsigned)r->n_sizes);
    for (int tries = 0; tries < 8 && !may_open(r, size); tries++) size = (int)draw(r, (unsigned)r->n_sizes);
    Index *i = open_index(r, size);
    put(r, "%s%s < %c", k ? ", " : "", i->name, size_name(size));
  }
  put(r, "](");
  if (type == 'b') boolean(r, depth - 1);
  else if (!strcmp(kind, "sum") && often(r, 50)) {         /* products: contractions, weights, softmax as a factor */
    if (often(r, 35)) {
      put(r, "softmax[%s](", r->index[kept].name);
      if (often(r, 50)) {
        put(r, "where(");
        boolean(r, 1);
        put(r, ", ");
        real(r, depth - 2);
        put(r, ", -inf)");
      } else real(r, depth - 2);
      put(r, ")*");
    }
    else if (often(r, 20)) { put(r, "exp("); real(r, 1); put(r, ")*"); }
    if (!read_tensor(r, 'r')) literal(r);
    put(r, "*");
    if (!read_tensor(r, 'r')) literal(r);
    if (often(r, 20)) { put(r, "*("); real(r, depth - 2); put(r, ")"); }
  } else real(r, depth - 1);
  put(r, ")");
  r->n_index = kept;
  r->points = points;
}

static bool can_reduce(const Rule *r, int depth) { return depth > 1 && !r->small && r->budget > 0 && (r->plain || (r->n_index < 5 && r->points <= 4000)); }

static void scalar_or_literal(Rule *r) {
  if (r->n_scalars && often(r, 60)) put(r, "%s", r->scalar[draw(r, (unsigned)r->n_scalars)]);
  else literal(r);
}

static void real_leaf(Rule *r) {
  if (often(r, 75) && read_tensor(r, 'r')) return;
  scalar_or_literal(r);
}

static void two(Rule *r, int depth, const char *before, const char *between, const char *after) {
  put(r, "%s", before);
  real(r, depth - 1);
  put(r, "%s", between);
  real(r, depth - 1);
  put(r, "%s", after);
}

static void real(Rule *r, int depth) {
  r->budget--;
  if (depth <= 0 || r->budget < 0) { real_leaf(r); return; }
  switch (draw(r, can_reduce(r, depth) ? 22 : 16)) {
    case 0: case 1: two(r, depth, "(", " + ", ")"); break;
    case 2: two(r, depth, "(", " - ", ")"); break;
    case 3: case 4: two(r, depth, "(", ")*(", ")"); break;
    case 5: two(r, depth, "(", ")/(", ")"); break;
    case 6: two(r, depth, PICK(r, "max(", "min(", "logaddexp("), ", ", ")"); break;
    case 7: case 8:
      put(r, "%s(", PICK(r, "abs", "sign", "sqrt", "exp", "exp2", "expm1", "log", "log2", "log1p", "tanh", "sigmoid", "erf", "rsqrt", "sin", "cos", "cosh", "gelu", "silu",
                         "softplus", "relu", "floor", "ceil", "round", "stop", "f32", "bf16", "f64"));
      real(r, depth - 1);
      put(r, ")");
      break;
    case 9:
      put(r, "where(");
      boolean(r, depth - 1);
      two(r, depth, ", ", ", ", ")");
      break;
    case 10:
      put(r, "(");
      real(r, depth - 1);
      put(r, ")^%s", PICK(r, "2", "3", "0.5", "(-1)", "1.5"));
      break;
    case 11: put(r, "-("); real(r, depth - 1); put(r, ")"); break;
    case 12:
      put(r, "clamp("); real(r, depth - 1); put(r, ", -1, 2)");
      break;
    case 13:
      if (r->fns) { put(r, "f%u(", draw(r, (unsigned)r->fns)); two(r, depth, "", ", ", ")"); break; }
      two(r, depth, "lerp(", ", ", ", 0.3)");
      break;
    case 14:
      if (!r->plain) { put(r, "(1.0*("); integer(r, depth - 1); put(r, "))"); break; }
      real_leaf(r);
      break;
    case 15:
      if (r->tables && !r->plain) { put(r, "c0[("); integer(r, 1); put(r, ") %% 5]"); break; }
      if (r->plain && often(r, 30)) { put(r, "%s(%u)", PICK(r, "uniform", "normal"), draw(r, 3)); break; }
      real_leaf(r);
      break;
    case 16: case 17: case 18: reduction(r, depth, "sum", 2, 'r'); break;
    case 19: reduction(r, depth, PICK(r, "max", "min", "mean", "prod", "norm", "rms", "var", "logsumexp"), 2, 'r'); break;
    default:
      if (r->plain || r->n_index <= r->scans) { reduction(r, depth, PICK(r, "mean", "norm", "rms", "var", "sum"), 2, 'r'); break; }
      put(r, "%s[%s](", PICK(r, "softmax", "cumsum", "cumprod", "cummax"), r->index[r->scans + (int)draw(r, (unsigned)(r->n_index - r->scans))].name);
      real(r, depth - 1);
      put(r, ")");
  }
}

static void integer(Rule *r, int depth) {
  r->budget--;
  unsigned what = depth > 0 && r->budget > 0 ? draw(r, can_reduce(r, depth) ? 14 : 11) : 0;
  switch (what) {
    case 0: case 1:
      if (often(r, 25) && !r->plain && read_tensor(r, 'i')) break;
      if (r->n_index && often(r, 70)) put(r, "%s", r->index[draw(r, (unsigned)r->n_index)].name);
      else if (!r->plain && r->n_sizes && often(r, 50)) put(r, "%c", size_name((int)draw(r, (unsigned)r->n_sizes)));
      else put(r, "%u", draw(r, 6));
      break;
    case 2: case 3: put(r, "("); integer(r, depth - 1); put(r, "%s", PICK(r, " + ", " - ", "*")); integer(r, depth - 1); put(r, ")"); break;
    case 4: put(r, "("); integer(r, depth - 1); put(r, "%s%u)", PICK(r, "//", " % "), draw(r, 5)); break;
    case 5: put(r, "("); integer(r, depth - 1); put(r, "%s", PICK(r, "//", " % ", " & ", " | ")); integer(r, depth - 1); put(r, ")"); break;
    case 6: put(r, "("); integer(r, depth - 1); put(r, "%s%u)", PICK(r, " << ", " >> "), draw(r, 4)); break;
    case 7: put(r, "%s(", PICK(r, "min", "max")); integer(r, depth - 1); put(r, ", "); integer(r, depth - 1); put(r, ")"); break;
    case 8: put(r, "int("); real(r, depth - 1); put(r, ")"); break;
    case 9: put(r, "where("); boolean(r, depth - 1); put(r, ", "); integer(r, depth - 1); put(r, ", "); integer(r, depth - 1); put(r, ")"); break;
    case 10: put(r, "int("); boolean(r, depth - 1); put(r, ")"); break;
    case 11: reduction(r, depth, "sum", 2, 'b'); break;
    case 12:
      if (r->plain) { put(r, "%u", draw(r, 4)); break; }
      reduction(r, depth, PICK(r, "argmax", "argmin"), 1, 'r');
      break;
    default:
      if (r->plain || r->n_index <= r->scans) { put(r, "%u", draw(r, 4)); break; }
      put(r, "order[%s](", r->index[r->scans + (int)draw(r, (unsigned)(r->n_index - r->scans))].name);
      real(r, depth - 1);
      put(r, ")");
  }
}

static void boolean(Rule *r, int depth) {
  r->budget--;
  switch (draw(r, can_reduce(r, depth) ? 9 : 8)) {
    case 0: case 1: case 2: put(r, "("); real(r, depth - 1); put(r, " %s ", PICK(r, "<", "<=", ">", ">=", "==", "!=")); real(r, depth - 1); put(r, ")"); break;
    case 3: case 4:
      if (r->plain) { put(r, "("); real(r, 0); put(r, " > 0)"); break; }
      put(r, "("); integer(r, depth - 1); put(r, " %s ", PICK(r, "<", "<=", ">", "==", "!=")); integer(r, depth - 1); put(r, ")");
      break;
    case 5:
      if (depth <= 0) { put(r, "%s", PICK(r, "true", "false")); break; }
      put(r, "("); boolean(r, depth - 1); put(r, " %s ", PICK(r, "and", "or")); boolean(r, depth - 1); put(r, ")");
      break;
    case 6:
      if (!r->plain && read_tensor(r, 'b')) break;
      put(r, "%s(", PICK(r, "finite", "isnan")); real(r, depth - 1); put(r, ")");
      break;
    case 7: put(r, "(not "); put(r, "%s(", PICK(r, "finite", "isnan")); real(r, depth - 1); put(r, "))"); break;
    default: reduction(r, depth, PICK(r, "any", "every"), 2, 'b');
  }
}

/* --- statements ------------------------------------------------------------------------------------------------------------------------------ */

static void begin(Rule *r, int scans) {
  r->n_index = scans;
  r->scans = scans;
  r->fresh = scans;
  r->points = 1;
  r->budget = 5 + (int)draw(r, 25);
}

static void value(Rule *r, char type, int depth) { type == 'r' ? real(r, depth) : type == 'i' ? integer(r, depth) : boolean(r, depth); }

static void new_local(Rule *r, int scans) {
  Tensor t = {.type = often(r, 75) ? 'r' : often(r, 60) ? 'i' : 'b', .written = true};
  begin(r, scans);
  snprintf(t.name, sizeof t.name, "w%d", r->locals++);
  line(r);
  put(r, "%s[", t.name);
  t.rank = 1 + (int)draw(r, 3);
  for (int a = 0; a < t.rank; a++) {
    int size = (int)draw(r, (unsigned)r->n_sizes);
    if (a && !may_open(r, size)) { t.rank = a; break; }
    t.axis[a] = size;
    put(r, "%s%s < %c", a ? ", " : "", open_index(r, size)->name, size_name(size));
  }
  put(r, "] = ");
  value(r, t.type, 4);
  put(r, "\n");
  r->tensor[r->n_tensors++] = t;
}

static Tensor *known(Rule *r) {
  int fit[64], n = 0;
  for (int k = 0; k < r->n_tensors; k++) if (r->tensor[k].written && !r->tensor[k].hidden) fit[n++] = k;
  return n ? &r->tensor[fit[draw(r, (unsigned)n)]] : NULL;
}

/* A name known before gets new values: the whole of it, a row of it, or places that data say. */
static void change(Rule *r, int scans) {
  const Tensor *t = known(r), *from = NULL;
  if (!t) { if (!r->depth) new_local(r, scans); return; }
  begin(r, scans);
  bool adds = t->type != 'b' && often(r, 40);
  if (often(r, 25)) {                                      /* a scatter: every index stands bare on the right */
    for (int tries = 0; tries < 6 && !from; tries++) {
      const Tensor *x = &r->tensor[draw(r, (unsigned)r->n_tensors)];
      if (x->type == t->type && !x->hidden) from = x;
    }
  }
  line(r);
  if (from) {
    for (int a = 0; a < from->rank; a++) open_index(r, from->axis[a]);
    put(r, "%s[", t->name);
    bool used[16] = {false};
    for (int a = 0; a < t->rank; a++) {
      put(r, "%s", a ? ", " : "");
      bool bare = false;
      for (int k = scans; k < r->n_index && !bare && a + 1 < t->rank; k++)
        if (r->index[k].size == t->axis[a] && often(r, 30)) { put(r, "%s", r->index[k].name); bare = used[k] = true; }
      if (bare) continue;
      put(r, "(");
      for (int k = scans; k < r->n_index && a + 1 == t->rank; k++) if (!used[k]) put(r, "%s*%u + ", r->index[k].name, 1 + draw(r, 3));      /* each stands on the left */
      integer(r, 2);
      put(r, ") %% %c", size_name(t->axis[a]));
    }
    put(r, "] %s= %s[", adds ? "+" : "", from->name);
    for (int a = 0; a < from->rank; a++) put(r, "%s%s", a ? ", " : "", r->index[scans + a].name);
    put(r, "]");
    if (t->type == 'r' && often(r, 50)) { put(r, "*"); real(r, 1); }
    put(r, "\n");
    return;
  }
  put(r, "%s[", t->name);
  for (int a = 0; a < t->rank; a++) {
    int s = -1;
    for (int k = 0; k < scans; k++) if (r->index[k].size == t->axis[a] && often(r, 60)) s = k;
    if (s >= 0) put(r, "%s%s", a ? ", " : "", r->index[s].name);
    else put(r, "%s%s", a ? ", " : "", open_index(r, t->axis[a])->name);
  }
  put(r, "] %s= ", !adds ? "" : t->type == 'i' ? "+" : PICK(r, "+", "-", "*"));
  value(r, t->type, 4);
  put(r, "\n");
}

static void new_scalar(Rule *r) {
  if (r->n_scalars >= 20) return;
  begin(r, 0);
  line(r);
  put(r, "s%d = ", r->n_scalars);
  if (often(r, 70)) reduction(r, 3, r->plain ? PICK(r, "sum", "mean", "norm", "rms", "var") : PICK(r, "sum", "mean", "norm", "rms", "max", "logsumexp"), 2, 'r');
  else { int rest = r->n_tensors; r->n_tensors = 0; real(r, 2); r->n_tensors = rest; }
  put(r, "\n");
  snprintf(r->scalar[r->n_scalars], sizeof r->scalar[0], "s%d", r->n_scalars);
  r->n_scalars++;
}

static void matrix(Rule *r) {
  int fit[64], n = 0;
  for (int k = 0; k < r->n_tensors; k++) if (r->tensor[k].type == 'r' && r->tensor[k].rank == 2 && !r->tensor[k].hidden) fit[n++] = k;
  if (!n) { new_local(r, 0); return; }
  const Tensor *a = &r->tensor[fit[draw(r, (unsigned)n)]], *b = &r->tensor[fit[draw(r, (unsigned)n)]];
  Tensor t = {.rank = 2, .type = 'r', .written = true};
  snprintf(t.name, sizeof t.name, "w%d", r->locals++);
  line(r);
  bool small = r->size[a->axis[0]] < 20 && r->size[a->axis[1]] < 20;
  if (small && often(r, 10)) { put(r, "%s = eigvec(%s @ %s')\n", t.name, a->name, a->name); t.axis[0] = t.axis[1] = a->axis[0]; }
  else if (small && often(r, 10) && r->size[a->axis[0]] >= r->size[a->axis[1]]) { put(r, "%s = qr(%s)\n", t.name, a->name); t.axis[0] = a->axis[0]; t.axis[1] = a->axis[1]; }
  else if (a->axis[1] == b->axis[0]) { put(r, "%s = %s @ %s\n", t.name, a->name, b->name); t.axis[0] = a->axis[0]; t.axis[1] = b->axis[1]; }
  else if (a->axis[1] == b->axis[1]) { put(r, "%s = %s @ %s'\n", t.name, a->name, b->name); t.axis[0] = a->axis[0]; t.axis[1] = b->axis[0]; }
  else { put(r, "%s = %s' @ %s\n", t.name, a->name, a->name); t.axis[0] = t.axis[1] = a->axis[1]; }
  r->tensor[r->n_tensors++] = t;
}

static void block(Rule *r, int scans, int lines) {
  r->depth++;
  put(r, "{\n");
  while (lines--) change(r, scans);
  r->depth--;
  line(r);
  put(r, "}");
}

static void indexed_statement(Rule *r, bool declares) {
  unsigned what = draw(r, 16);
  if (!declares || r->n_tensors > 50) what = 6 + what % 6;
  switch (what) {
    case 0: case 1: case 2: case 3: case 4: case 5: new_local(r, 0); break;
    case 6: case 7: case 8: change(r, 0); break;
    case 9: {
      if (!known(r)) break;
      int size = (int)draw(r, (unsigned)r->n_sizes);
      begin(r, 0);
      Index *i = open_index(r, size);
      line(r);
      put(r, "scan %s < %c %s", i->name, size_name(size), often(r, 30) ? "reverse " : "");
      block(r, 1, 1 + (int)draw(r, 3));
      put(r, "\n");
      break;
    }
    case 10: if (!known(r)) break; line(r); put(r, "repeat %u ", draw(r, 4)); block(r, 0, 1 + (int)draw(r, 2)); put(r, "\n"); break;
    case 11:
      if (!known(r)) break;
      line(r);
      put(r, "if ");
      if (often(r, 50) && r->n_scalars) put(r, "%s > 0.3 ", r->scalar[draw(r, (unsigned)r->n_scalars)]);
      else put(r, "%c > %u ", size_name((int)draw(r, (unsigned)r->n_sizes)), draw(r, 6));
      block(r, 0, 1 + (int)draw(r, 2));
      if (often(r, 50)) { put(r, " else "); block(r, 0, 1); }
      put(r, "\n");
      break;
    case 12: case 13: matrix(r); break;
    default: new_scalar(r);
  }
}

/* --- rules ----------------------------------------------------------------------------------------------------------------------------------- */

static void declare(Rule *r, const char *name, char type, bool written, int most) {
  Tensor t = {.type = type, .written = written};
  snprintf(t.name, sizeof t.name, "%s", name);
  t.rank = 1 + (int)draw(r, (unsigned)most);
  int64_t n = 1;
  put(r, "%s[", t.name);
  for (int a = 0; a < t.rank; a++) {
    t.axis[a] = (int)draw(r, (unsigned)r->n_sizes);
    if (a && n*r->size[t.axis[a]] > 3000) { t.rank = a; break; }
    n *= r->size[t.axis[a]];
    put(r, "%s%c", a ? ", " : "", size_name(t.axis[a]));
  }
  put(r, "]");
  r->tensor[r->n_tensors++] = t;
}

static void helpers(Rule *r) {
  if (often(r, 30)) { r->tables = 1; put(r, "const c0[5] = [0.5, -1, 2.25, 1e-3, 3]\n"); }
}

static void fns(Rule *r) {
  int n = (int)draw(r, 3);
  for (int k = 0; k < n; k++) {
    put(r, "  fn f%d(a, b) = %s\n", k, PICK(r, "a*b + 1", "max(a, b)/(abs(b) + 1)", "where(a < b, a, b - a)", "exp(-(a^2))*b", "clamp(a, -1, 1) - b"));
    r->fns = k + 1;
  }
}

static void shaped_rule(Rule *r) {
  char name[16], wrt[64] = "";
  int ins = 2 + (int)draw(r, 3), outs = 1 + (int)draw(r, 2), n_wrt = 0;
  helpers(r);
  put(r, "rule made(h0 = 0.7, h1 = -0.3) {\n");
  snprintf(r->scalar[r->n_scalars++], 12, "h0");
  snprintf(r->scalar[r->n_scalars++], 12, "h1");
  put(r, "  in z[%c", size_name(0));                       /* so that every size stands alone somewhere */
  for (int s = 1; s < r->n_sizes; s++) put(r, ", %c", size_name(s));
  put(r, "]: i8\n");
  for (int k = 0; k < ins; k++) {
    char type = k < 2 || often(r, 50) ? 'r' : often(r, 60) ? 'i' : 'b';
    put(r, "  in ");
    snprintf(name, sizeof name, "x%d", k);
    declare(r, name, type, false, 3);
    if (k > 1 && often(r, 10)) put(r, ": %s optional\n", type == 'i' ? "i32" : type == 'b' ? "bool" : "f32");
    const char *store = type == 'i' ? PICK(r, "i32", "i8", "u8") : type == 'b' ? "bool" : often(r, 75) ? "f32" : PICK(r, "bf16", "f16", "f32", "f64");
    if (r->text[r->n - 1] == '\n') continue;
    put(r, ": %s\n", store);
    if (type == 'r' && !strcmp(store, "f32")) n_wrt += snprintf(wrt + n_wrt, sizeof wrt - (size_t)n_wrt, "%s%s", n_wrt ? ", " : "", name);
  }
  if (often(r, 20)) { put(r, "  inout b0"); r->n -= 2; declare(r, "b0", 'r', true, 2); put(r, "\n"); }
  if (often(r, 15)) { put(r, "  in global q0[%c]: f32\n", size_name(0)); r->tensor[r->n_tensors++] = (Tensor){.name = "q0", .rank = 1, .type = 'r'}; }
  for (int k = 0; k < outs; k++) {
    snprintf(name, sizeof name, "y%d", k);
    put(r, "  out ");
    declare(r, name, k && often(r, 30) ? 'i' : 'r', true, 3);
    put(r, ": %s\n", r->tensor[r->n_tensors - 1].type == 'i' ? PICK(r, "i32", "i8") : often(r, 75) ? "f32" : PICK(r, "bf16", "f16"));
    r->tensor[r->n_tensors - 1].hidden = true;             /* written once, at the end */
  }
  if (n_wrt && often(r, 45)) put(r, "  backward wrt %s%s\n", wrt, often(r, 30) ? " saving y0" : "");
  fns(r);
  for (int n = 1 + (int)draw(r, 5); n--;) indexed_statement(r, true);
  for (int k = 0; k < r->n_tensors; k++) {
    Tensor *t = &r->tensor[k];
    if (t->name[0] != 'y') continue;
    begin(r, 0);
    line(r);
    put(r, "%s[", t->name);
    for (int a = 0; a < t->rank; a++) put(r, "%s%s", a ? ", " : "", open_index(r, t->axis[a])->name);
    put(r, "] = ");
    value(r, t->type, 5);
    put(r, "\n");
  }
  put(r, "}\n");
}

static void plain_update(Rule *r, int states) {
  begin(r, 0);
  line(r);
  unsigned what = draw(r, 4);
  if (what < 2 && states) put(r, "m%u = ", draw(r, (unsigned)states));
  else put(r, "p %s= ", PICK(r, "-", "+", "", "*"));
  real(r, 4);
  put(r, "\n");
}

static void by_rank(Rule *r) {
  const char *f = PICK(r, "mean", "sum", "max", "norm", "logsumexp");
  put(r, "  if p is [..., I, J] {\n    state q0[..., I] = 0\n    q0[..., i] = 0.9*q0[..., i] + %s[j](g[..., i, j]%s)\n", f, PICK(r, "^2", "", "*p[..., i, j]", "*I + j"));
  put(r, "    v0[..., i, j] = g[..., i, j]*%s(q0[..., i])%s\n", PICK(r, "tanh", "rsqrt", "abs", "sigmoid"), PICK(r, "", " + p[..., j, i]", "*softmax[j](p[..., i, j])", " - cumsum[i](g[..., i, j])"));
  put(r, "    p -= 0.1*v0\n  } else {\n    state q1 = 0\n    q1 = 0.9*q1 + g^2\n    p -= 0.01*g*rsqrt(q1 + 1e-8)\n  }\n");
}

static void item_rule(Rule *r, bool matrix_param, bool flat) {
  int states = (int)draw(r, 4);
  helpers(r);
  put(r, "rule made(h0 = 0.01, h1 = 0.9, n0: int = 3, b0: bool = true) {\n");
  snprintf(r->scalar[r->n_scalars++], 12, "h0");
  snprintf(r->scalar[r->n_scalars++], 12, "h1");
  snprintf(r->scalar[r->n_scalars++], 12, "t");
  put(r, "  param p%s%s\n  grad g\n", matrix_param ? "[A, B]" : flat ? "[flat A]" : "", often(r, 15) ? ": bf16" : "");
  r->tensor[r->n_tensors++] = (Tensor){.name = "p", .rank = -1, .type = 'r'};
  r->tensor[r->n_tensors++] = (Tensor){.name = "g", .rank = -1, .type = 'r'};
  for (int k = 0; k < states; k++) {
    put(r, "  state m%d%s%s\n", k, PICK(r, "", "", "", ": bf16", ": f16", ": q8[256]", ": q8u[256]", ": bf16 stochastic", ": f32 flush", ": f64", ": q4[128]"), PICK(r, "", " = 0", " = 0.5", " = p"));
    Tensor *t = &r->tensor[r->n_tensors++];
    *t = (Tensor){.rank = -1, .type = 'r'};
    snprintf(t->name, sizeof t->name, "m%c", (char)('0' + k));
  }
  if (often(r, 30)) { put(r, "  state scalar k0 = 1\n"); snprintf(r->scalar[r->n_scalars++], 12, "k0"); }
  bool global = often(r, 40);
  if (global) { put(r, "  state global d0 = 0.5\n"); snprintf(r->scalar[r->n_scalars++], 12, "d0"); }
  if (often(r, 30)) { put(r, "  in scalar a0 = 2\n"); snprintf(r->scalar[r->n_scalars++], 12, "a0"); }
  fns(r);
  r->plain = true;
  for (int n = 1 + (int)draw(r, 5); n--;) switch (draw(r, 10)) {
    case 0:
      if (r->locals > 8) break;
      begin(r, 0);
      put(r, "  u%d = g*", r->locals);
      real(r, 4);
      put(r, "\n");
      r->tensor[r->n_tensors] = (Tensor){.rank = -1, .type = 'r'};
      snprintf(r->tensor[r->n_tensors++].name, 16, "u%d", r->locals++);
      break;
    case 1: new_scalar(r); break;
    case 2:
      if (r->n_scalars >= 20) break;
      begin(r, 0);
      r->small = true;
      put(r, "  s%d = %s[all](", r->n_scalars, PICK(r, "sum", "max", "mean", "norm", "min"));
      real(r, 3);
      put(r, ")\n");
      r->small = false;
      snprintf(r->scalar[r->n_scalars], 12, "s%d", r->n_scalars);
      r->n_scalars++;
      break;
    case 3:
      put(r, "  if %s {\n", PICK(r, "b0", "h0 > 0.005", "t == 1", "norm(g) > 1", "n0 > 3", "size(p) > 8"));
      r->depth = 1;
      plain_update(r, states);
      if (often(r, 50)) { put(r, "  } else {\n"); plain_update(r, states); }
      r->depth = 0;
      put(r, "  }\n");
      break;
    case 4: if (global) put(r, "  d0 = %s(d0, %s)\n", PICK(r, "max", "min"), PICK(r, "sum[all](g^2)", "norm[all](p)", "mean[all](abs(g))", "h0")); break;
    case 5: put(r, "  repeat %s {\n", PICK(r, "2", "n0")); r->depth = 1; plain_update(r, states); r->depth = 0; put(r, "  }\n"); break;
    default: plain_update(r, states);
  }
  if (!matrix_param && !flat && often(r, 35)) by_rank(r);
  if (matrix_param && often(r, 70)) {
    r->plain = false;
    for (int k = 0; k < r->n_tensors; k++) if (r->tensor[k].rank < 0) { r->tensor[k].rank = 2; r->tensor[k].axis[0] = 0; r->tensor[k].axis[1] = 1; r->tensor[k].written = r->tensor[k].name[0] == 'p'; }
    if (often(r, 50)) { put(r, "  state v1[A] = 0, v2[B]: bf16 = 0.5\n"); for (int k = 0; k < 2; k++) { Tensor *t = &r->tensor[r->n_tensors++]; *t = (Tensor){.rank = 1, .axis = {k}, .type = 'r', .written = true}; snprintf(t->name, sizeof t->name, "v%d", k + 1); } }
    for (int n = 1 + (int)draw(r, 3); n--;) indexed_statement(r, true);
    begin(r, 0);
    put(r, "  p[%s, ", open_index(r, 0)->name);
    put(r, "%s] -= ", open_index(r, 1)->name);
    real(r, 4);
    put(r, "\n");
  }
  if (often(r, 10)) put(r, "  skip if any[all](not finite(g))%s\n", global ? " { d0 = d0*0.5 }" : "");
  put(r, "}\n");
}

static int some_size(Rule *r) { return often(r, 4) ? 257 : often(r, 8) ? 17 : often(r, 3) ? 0 : 1 + (int)draw(r, 9); }

size_t generate_rule(uint64_t seed, char text[CASE_TEXT]) {
  Rule rule = {.state = seed*0x9e3779b97f4a7c15u + 1, .text = text}, *r = &rule;
  for (int k = 0; k < 4; k++) draw(r, 2);
  bool items = often(r, 40), matrix_param = items && often(r, 40), flat = items && !matrix_param && often(r, 20);
  r->n_sizes = matrix_param ? 2 : flat ? 1 : items ? 0 : 2 + (int)draw(r, 3);
  int large = 0;
  for (int s = 0; s < r->n_sizes; s++) {
    r->size[s] = some_size(r);
    if (r->size[s] > 9 && large++) r->size[s] = 2 + (int)draw(r, 4);
  }
  put(r, "# data: %u\n", draw(r, 1u << 30));
  if (r->n_sizes) put(r, "# sizes:");
  for (int s = 0; s < r->n_sizes; s++) put(r, " %c=%d", size_name(s), r->size[s]);
  if (r->n_sizes) put(r, "\n");
  if (items) {
    int n = 1 + (int)draw(r, 3);
    put(r, "# items:");
    for (int k = 0; k < n; k++) {
      if (matrix_param) { if (!k) put(r, " %dx%d", r->size[0], r->size[1]); else put(r, " %ux%u", 1 + draw(r, 5), 1 + draw(r, 5)); }
      else if (flat) { if (!k) put(r, " %d", r->size[0]); else put(r, " %ux%u", 1 + draw(r, 5), 1 + draw(r, 5)); }
      else if (often(r, 15)) put(r, " %s", PICK(r, "1100", "257", "2100", "1"));
      else if (often(r, 30)) put(r, " %ux%ux%u", 1 + draw(r, 3), 1 + draw(r, 4), 1 + draw(r, 5));
      else put(r, often(r, 60) ? " %ux%u" : " %u", 1 + draw(r, 9), 1 + draw(r, 9));
    }
    put(r, "\n");
    item_rule(r, matrix_param, flat);
  } else shaped_rule(r);
  return r->n;
}
