/* graph_parse.c: reads the text form that graph_print.c describes. Any bytes are answered with a module or with errors. */
#include "ir/graph_text.h"
#include <math.h>
#include <string.h>

typedef enum Kind { T_END, T_WORD, T_STRING, T_NODE, T_SIGN } Kind;            /* SIGN: one character of = , [ ] { } ( ) @ */
typedef struct Token { Kind kind; uint32_t begin, end; const char *text; bool first; } Token;    /* text: unescaped; first: of its line */

typedef struct Named { uint64_t number; const Node *node; } Named;

typedef struct Parser {
  Arena *arena;
  Diag *diag;
  const Source *source;
  Module *module;
  Graph *graph;                                        /* the one being read */
  Token now;
  uint32_t at;
  bool failed;
  Named *named; size_t n_named, named_capacity;        /* numbers of the graph, increasing */
  const Node **list; size_t n_list, list_capacity;     /* references of one line */
  uint32_t *shape_at; size_t shape_capacity;           /* where each operand's shape stands, or 0 */
  size_t hyper_capacity, operand_capacity, graph_capacity;
} Parser;

/* --- tokens ------------------------------------------------------------------------------------------------------------------ */

static Range range(const Parser *p, uint32_t begin, uint32_t end) { return (Range){p->source, begin, end}; }

__attribute__((format(printf, 2, 3))) static bool fail(Parser *p, const char *format, ...) {
  if (p->failed) return false;
  p->failed = true;
  va_list list;
  va_start(list, format);
  diag_error(p->diag, range(p, p->now.begin, p->now.end), "%s", arena_vprintf(p->arena, format, list));
  va_end(list);
  return false;
}

static bool word_char(unsigned char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '/' || c == '.' || c == '+' || c == '-' || c == ':';
}

static unsigned hex_digit(unsigned char c) {
  return c >= '0' && c <= '9' ? c - 48u : c >= 'a' && c <= 'f' ? c - 'a' + 10u : c >= 'A' && c <= 'F' ? c - 'A' + 10u : 99;
}

static void read_string(Parser *p) {
  const char *s = p->source->text;
  uint32_t end = (uint32_t)p->source->length, begin = p->at++;
  size_t most = 0;
  for (uint32_t i = p->at; i < end && s[i] != '"' && s[i] != '\n'; i += s[i] == '\\' ? 2 : 1) most++;
  char *to = arena_alloc(p->arena, most + 1), *out = to;
  while (p->at < end && s[p->at] != '"' && s[p->at] != '\n') {
    char c = s[p->at++];
    if (c == '\\' && p->at < end) {
      c = s[p->at++];
      if (c == 'n') c = '\n';
      else if (c == 'x' && end - p->at >= 2 && hex_digit((unsigned char)s[p->at]) < 16 && hex_digit((unsigned char)s[p->at + 1]) < 16) {
        c = (char)(hex_digit((unsigned char)s[p->at]) * 16 + hex_digit((unsigned char)s[p->at + 1]));
        p->at += 2;
      }
    }
    if (c) *out++ = c;
  }
  p->now = (Token){T_STRING, begin, p->at, to, false};
  if (p->at < end && s[p->at] == '"') p->now.end = ++p->at;
  else fail(p, "this string is never closed");
}

static void next(Parser *p) {
  const char *s = p->source->text;
  uint32_t end = (uint32_t)p->source->length;
  bool first = false;
  while (p->at < end) {
    first |= s[p->at] == '\n';
    if (s[p->at] == '#') while (p->at < end && s[p->at] != '\n') p->at++;
    else if (s[p->at] == ' ' || s[p->at] == '\n' || s[p->at] == '\t' || s[p->at] == '\r') p->at++;
    else break;
  }
  uint32_t begin = p->at;
  p->now = (Token){T_END, begin, begin, "", true};
  if (begin == end) return;
  if (s[begin] == '"') { read_string(p); return; }
  bool node = s[begin] == '%';
  if (node || word_char((unsigned char)s[begin])) {
    p->at++;
    while (p->at < end && word_char((unsigned char)s[p->at])) p->at++;
    p->now = (Token){node ? T_NODE : T_WORD, begin, p->at, arena_strndup(p->arena, s + begin + node, p->at - begin - node), first};
    return;
  }
  p->at++;
  p->now = (Token){T_SIGN, begin, p->at, arena_strndup(p->arena, s + begin, 1), first};
}

static bool is(const Parser *p, Kind kind, const char *text) { return p->now.kind == kind && !strcmp(p->now.text, text); }
static bool accept(Parser *p, Kind kind, const char *text) {
  if (p->failed || !is(p, kind, text)) return false;
  next(p);
  return true;
}
static bool expect(Parser *p, const char *sign) { return accept(p, T_SIGN, sign) || fail(p, "expected '%s'", sign); }

static const char *take(Parser *p, Kind kind, const char *what) {
  if (p->failed || p->now.kind != kind) { fail(p, "expected %s", what); return ""; }
  const char *text = p->now.text;
  next(p);
  return text;
}
static const char *take_name(Parser *p, const char *what) { return take(p, p->now.kind == T_STRING ? T_STRING : T_WORD, what); }

/* --- numbers, without the locale ----------------------------------------------------------------------------------------------- */

static bool parse_digits(const char *s, uint64_t *out) {
  unsigned base = s[0] == '0' && s[1] == 'x' ? 16 : 10;
  if (base == 16) s += 2;
  uint64_t v = 0;
  if (!*s) return false;
  for (; *s; s++) {
    unsigned d = hex_digit((unsigned char)*s);
    if (d >= base || __builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, d, &v)) return false;
  }
  *out = v;
  return true;
}

static bool parse_integer(const char *s, int64_t *out) {
  bool minus = *s == '-';
  uint64_t v;
  if (!parse_digits(s + minus, &v) || v > (uint64_t)INT64_MAX + minus) return false;
  *out = (int64_t)(minus ? 0 - v : v);
  return true;
}

static bool parse_exponent(const char *s, int *out) {
  bool minus = *s == '-';
  uint64_t v;
  if (*s == '-' || *s == '+') s++;
  if (s[0] == '0' && s[1] == 'x') return false;
  if (!parse_digits(s, &v) || v > 5000) return false;
  *out = minus ? -(int)v : (int)v;
  return true;
}

/* Hexadecimal of up to 16 digits, or a decimal that one rounding gets right (digits up to 2^53, a power of ten up to 22). */
static bool parse_real(const char *s, double *out) {
  bool minus = *s == '-';
  if (minus) s++;
  if (!strcmp(s, "inf")) { *out = minus ? -INFINITY : INFINITY; return true; }
  bool hex = s[0] == '0' && s[1] == 'x';
  if (hex) s += 2;
  uint64_t mantissa = 0;
  int digits = 0, after = 0, exponent = 0;
  bool point = false;
  for (; *s; s++) {
    if (*s == '.') { if (point) return false; point = true; continue; }
    unsigned d = hex_digit((unsigned char)*s);
    if (d >= (hex ? 16 : 10)) break;
    digits++;
    if (mantissa > (hex ? UINT64_MAX >> 4 : UINT64_C(1) << 53)) return false;
    mantissa = mantissa * (hex ? 16 : 10) + d;
    after += point;
  }
  if (!hex && mantissa > UINT64_C(1) << 53) return false;
  if (!digits || (*s && *s != (hex ? 'p' : 'e')) || (*s && !parse_exponent(s + 1, &exponent))) return false;
  double x;
  if (hex) x = ldexp((double)mantissa, exponent - 4 * after);
  else {
    static const double ten[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    exponent -= after;
    if (exponent < -22 || exponent > 22) return false;
    x = exponent < 0 ? (double)mantissa / ten[-exponent] : (double)mantissa * ten[exponent];
  }
  *out = minus ? -x : x;
  return true;
}

static Bits take_bits(Parser *p, Type type) {
  Token token = p->now;
  const char *s = take(p, T_WORD, "a value");
  int64_t v;
  uint64_t u;
  double x;
  if (p->failed) return 0;
  if (!strcmp(s, "true")) return 1;
  if (!strcmp(s, "false")) return 0;
  if (!strncmp(s, "nan:", 4) && parse_digits(s + 4, &u)) return bits_normal(u, type);
  if (type_kind(type) != KIND_FLOAT && parse_integer(s, &v)) return bits_normal((Bits)v, type);
  if (type_kind(type) == KIND_FLOAT && parse_real(s, &x)) return bits_from_f64(x, type);
  p->now = token;
  fail(p, "'%s' is no value of type %s", s, type_name(type));
  return 0;
}

static int64_t take_integer(Parser *p) {
  int64_t v = 0;
  Token token = p->now;
  const char *s = take(p, T_WORD, "an integer");
  if (!p->failed && !parse_integer(s, &v)) { p->now = token; fail(p, "expected an integer, not '%s'", s); }
  return v;
}

/* --- references ------------------------------------------------------------------------------------------------------------------ */

static Type take_type(Parser *p) {
  Type type = TYPE_F32;
  if (p->failed || p->now.kind != T_WORD || !type_parse(p->now.text, &type)) fail(p, "expected a type");
  else next(p);
  return type;
}

/* NAME, NAME @number or @number. */
static int64_t take_declared(Parser *p, bool hyper) {
  if (accept(p, T_SIGN, "@")) return take_integer(p);
  Token token = p->now;
  const char *name = take_name(p, hyper ? "a hyper-parameter" : "an operand");
  if (p->failed) return 0;
  if (accept(p, T_SIGN, "@")) return take_integer(p);
  const Module *m = p->module;
  for (unsigned i = 0; i < (hyper ? m->n_hypers : m->n_operands); i++)
    if (!strcmp(hyper ? m->hypers[i].name : m->operands[i].name, name)) return i;
  p->now = token;
  fail(p, "unknown %s '%s'", hyper ? "hyper-parameter" : "operand", name);
  return 0;
}

static const Node *take_node(Parser *p) {
  Token token = p->now;
  const char *text = take(p, T_NODE, "a node");
  uint64_t number;
  if (p->failed) return NULL;
  size_t low = 0, high = p->n_named;
  if (parse_digits(text, &number))
    while (low < high) {
      size_t mid = low + (high - low) / 2;
      if (p->named[mid].number == number) return p->named[mid].node;
      if (p->named[mid].number < number) low = mid + 1; else high = mid;
    }
  p->now = token;
  fail(p, "%%%s has not been computed before this line", text);
  return NULL;
}

static void push(Parser *p, const Node *n) {
  p->list = arena_grow(p->arena, p->list, &p->list_capacity, p->n_list + 1, sizeof *p->list);
  p->list[p->n_list++] = n;
}

/* Appends %a, %b, ... to the list and returns how many. On a new line a node is the next definition. */
static unsigned take_nodes(Parser *p) {
  unsigned n = 0;
  if (p->now.kind != T_NODE || p->now.first) return 0;
  do { push(p, take_node(p)); n++; } while (accept(p, T_SIGN, ",") && !p->failed);
  return n;
}

/* --- graph ------------------------------------------------------------------------------------------------------------------------- */

static unsigned take_choice(Parser *p, const char *const *names, const char *what) {
  Token token = p->now;
  const char *word = take(p, T_WORD, what);
  uint64_t v;
  if (p->failed) return 0;
  for (unsigned i = 0; names[i]; i++) if (!strcmp(names[i], word)) return i;
  if (parse_digits(word, &v) && v < 256) return (unsigned)v;
  p->now = token;
  fail(p, "'%s' is no %s", word, what);
  return 0;
}

/* key=value and single words after the operand. */
static void take_attributes(Parser *p, OpForm form, int64_t *imm, int32_t *aux) {
  while (!p->failed && p->now.kind == T_WORD && !p->now.first) {
    const char *key = p->now.text;
    if (form.aux == AUX_GUARDED && accept(p, T_WORD, "guarded")) { *aux = 1; continue; }
    if (form.aux == AUX_ADD && accept(p, T_WORD, "add")) { *aux = 1; continue; }
    if (form.aux == AUX_REVERSE && accept(p, T_WORD, "reverse")) { *aux = 1; continue; }
    Token token = p->now;
    next(p);
    if (!expect(p, "=")) return;
    if (form.aux == AUX_AXIS && !strcmp(key, "axis")) {
      if (accept(p, T_WORD, "count")) *aux = -1;
      else if (accept(p, T_WORD, "rank")) *aux = -2;
      else *aux = (int32_t)take_integer(p);
    } else if (form.imm == IMM_NUMBER && !strcmp(key, form.key)) *imm = take_integer(p);
    else if (!strcmp(key, form.aux == AUX_WEIGHTS ? "weights" : "aux")) *aux = (int32_t)take_integer(p);
    else if ((form.aux == AUX_REDUCE || form.aux == AUX_KIND) && !strcmp(key, "kind")) *aux = (int32_t)((unsigned)*aux & ~255u) | (int32_t)take_choice(p, reduce_names, "kind of reduction");
    else if (form.aux == AUX_REDUCE && !strcmp(key, "order")) *aux = (*aux & 255) | (int32_t)take_choice(p, order_names, "order of reduction") << 8;
    else if (form.aux == AUX_CARRY && !strcmp(key, "depth")) *aux = (int32_t)((unsigned)*aux & ~255u) | (int32_t)(take_integer(p) & 255);
    else if (form.aux == AUX_CARRY && !strcmp(key, "level")) *aux = (*aux & 255) | (int32_t)take_choice(p, level_names, "level") << 8;
    else { p->now = token; fail(p, "'%s' is no attribute of this operation", key); }
  }
}

/* %number = operation type [space] attributes arguments {results} */
static void parse_node(Parser *p) {
  uint32_t begin = p->now.begin;
  uint64_t number = 0;
  if (!parse_digits(p->now.text, &number) || (p->n_named && number <= p->named[p->n_named - 1].number)) { fail(p, "numbers of nodes must increase"); return; }
  next(p);
  if (!expect(p, "=")) return;
  Op op = OP_CONST;
  if (p->now.kind != T_WORD || !op_parse(p->now.text, &op)) { fail(p, "unknown operation '%s'", p->now.text); return; }
  next(p);
  Type type = take_type(p);
  p->n_list = 0;
  unsigned rank = 0;
  if (accept(p, T_SIGN, "[")) { rank = take_nodes(p); expect(p, "]"); }
  OpForm form = op_form(op);
  int64_t imm = 0;
  int32_t aux = 0;
  if (p->failed) return;
  switch (form.imm) {
    case IMM_BITS: imm = (int64_t)take_bits(p, type); break;
    case IMM_HYPER: imm = take_declared(p, true); break;
    case IMM_OPERAND: imm = take_declared(p, false); break;
    case IMM_NUMBER: break;
  }
  take_attributes(p, form, &imm, &aux);
  unsigned n_args = take_nodes(p), n_results = 0;
  bool region = op == OP_SCAN;
  if (region) {
    if (!expect(p, "{")) return;
    n_results = take_nodes(p);
    expect(p, "}");
  }
  if (p->failed) return;
  const Space *space = graph_space(p->graph, rank, p->list);
  Region body = {n_results, p->list + rank + n_args};
  graph_at(p->graph, range(p, begin, p->now.begin));
  const Node *node = graph_region_node(p->graph, op, type, space, imm, aux, n_args, p->list + rank, region ? &body : NULL);
  p->named = arena_grow(p->arena, p->named, &p->named_capacity, p->n_named + 1, sizeof *p->named);
  p->named[p->n_named++] = (Named){number, node};
}

static void parse_require(Parser *p) {
  const char *text = take(p, T_STRING, "the text of the requirement");
  const Node *cond = take_node(p), *value[4] = {NULL};
  const char *name[4] = {NULL};
  unsigned n = 0;
  while (accept(p, T_SIGN, ",")) {
    if (n == 4) { fail(p, "a requirement shows at most four numbers"); return; }
    if (p->now.kind == T_STRING) name[n] = take(p, T_STRING, "a name");
    value[n++] = take_node(p);
  }
  if (!p->failed) graph_require(p->graph, text, cond, n, value, name);
}

static unsigned take_operand(Parser *p) {
  Token token = p->now;
  int64_t k = take_declared(p, false);
  if (!p->failed && (k < 0 || k >= p->module->n_operands)) { p->now = token; fail(p, "there is no such operand"); }
  return p->failed ? 0 : (unsigned)k;
}

static void parse_graph(Parser *p) {
  Module *m = p->module;
  Token token = p->now;
  const char *name = take_name(p, "the name of an entry");
  if (!p->failed && module_graph(m, name)) { p->now = token; fail(p, "a second graph '%s'", name); }
  if (p->failed) return;
  Graph *g = p->graph = graph_new(m, name);
  g->advances = accept(p, T_WORD, "advances");
  p->n_named = 0;
  expect(p, "{");
  while (!p->failed && !accept(p, T_SIGN, "}")) {
    if (p->now.kind == T_NODE) parse_node(p);
    else if (accept(p, T_WORD, "skip")) g->skip = take_node(p);
    else if (accept(p, T_WORD, "require")) parse_require(p);
    else if (accept(p, T_WORD, "exists")) {
      unsigned k = take_operand(p);
      const Node *when = accept(p, T_WORD, "when") ? take_node(p) : NULL;
      if (!p->failed) graph_exists(g, k, when);
    } else if (accept(p, T_WORD, "write")) {
      unsigned k = take_operand(p);
      expect(p, "=");
      const Node *value = take_node(p), *when = accept(p, T_WORD, "when") ? take_node(p) : NULL;
      if (!p->failed) graph_write(g, k, value, when);
    } else fail(p, "expected a node, 'skip', 'require', 'exists', 'write' or '}'");
  }
  if (p->failed) return;
  m->graphs = arena_grow(p->arena, m->graphs, &p->graph_capacity, m->n_graphs + 1, sizeof *m->graphs);
  m->graphs[m->n_graphs++] = g;
}

/* --- declarations -------------------------------------------------------------------------------------------------------------------- */

static void parse_tail(Parser *p, const char **external, const char **doc) {
  if (accept(p, T_WORD, "as")) *external = take(p, T_STRING, "a string");
  if (accept(p, T_WORD, "doc")) *doc = take(p, T_STRING, "a string");
}

static void parse_hyper(Parser *p) {
  Module *m = p->module;
  Hyper h = {.where = range(p, p->now.begin, p->now.end)};
  h.name = take_name(p, "a name");
  h.type = take_type(p);
  h.is_const = accept(p, T_WORD, "const");
  h.has_default = accept(p, T_SIGN, "=");
  if (h.has_default || accept(p, T_WORD, ":")) h.value = take_bits(p, h.type);
  parse_tail(p, &h.external, &h.doc);
  m->hypers = arena_grow(p->arena, m->hypers, &p->hyper_capacity, m->n_hypers + 1, sizeof *m->hypers);
  m->hypers[m->n_hypers++] = h;
}

static void parse_operand(Parser *p) {
  Module *m = p->module;
  Operand o = {.where = range(p, p->now.begin, p->now.end)};
  o.name = take_name(p, "a name");
  unsigned role = 0, scope = 0;
  while (role <= ROLE_STATE && !is(p, T_WORD, role_name((Role)role))) role++;
  if (role > ROLE_STATE) fail(p, "expected a role"); else next(p);
  while (scope <= SCOPE_GLOBAL && !is(p, T_WORD, scope_name((Scope)scope))) scope++;
  if (scope > SCOPE_GLOBAL) fail(p, "expected a scope"); else next(p);
  if (p->failed) return;
  o.role = (Role)role;
  o.scope = (Scope)scope;
  o.storage = take_type(p);
  o.item_shape = accept(p, T_WORD, "item");
  uint32_t shape_at = 0;
  if (is(p, T_SIGN, "[")) {                                                   /* may name operands that follow: read at the end */
    shape_at = p->now.begin;
    while (!p->failed && p->now.kind != T_END && !is(p, T_SIGN, "]")) next(p);
    expect(p, "]");
  }
  o.flush = accept(p, T_WORD, "flush");
  o.optional = accept(p, T_WORD, "optional");
  if (accept(p, T_WORD, "entry")) o.entry = take_name(p, "the name of an entry");
  parse_tail(p, &o.external, &o.doc);
  size_t capacity = p->shape_capacity;
  p->shape_at = arena_grow(p->arena, p->shape_at, &capacity, m->n_operands + 1u, sizeof *p->shape_at);
  p->shape_capacity = capacity;
  p->shape_at[m->n_operands] = shape_at;
  m->operands = arena_grow(p->arena, m->operands, &p->operand_capacity, m->n_operands + 1, sizeof *m->operands);
  m->operands[m->n_operands++] = o;
}

/* 256, size(p, 0), mul(size(q, 1), 2), lt:bool(...). */
static const Node *parse_extent(Parser *p, Graph *g, unsigned depth) {
  int64_t v;
  if (p->now.kind == T_WORD && parse_integer(p->now.text, &v)) { next(p); return graph_i64(g, v); }
  if (p->failed || p->now.kind != T_WORD) { fail(p, "expected an extent"); return NULL; }
  const char *word = p->now.text, *colon = strchr(word, ':');
  Op op = OP_CONST;
  Type type = TYPE_I64;
  const char *name = colon ? arena_strndup(p->arena, word, (size_t)(colon - word)) : word;
  if ((colon && !type_parse(colon + 1, &type)) || !op_parse(name, &op)) { fail(p, "'%s' is no extent", word); return NULL; }
  if (depth > 64) { fail(p, "an extent this deep is not supported"); return NULL; }
  OpForm form = op_form(op);
  if (op >= OP_INDEX && op != OP_SCALAR) { fail(p, "'%s' cannot stand in an extent", name); return NULL; }
  next(p);
  if (!expect(p, "(")) return NULL;
  int64_t imm = 0, aux = 0;
  bool first = form.imm == IMM_NUMBER;
  switch (form.imm) {
    case IMM_OPERAND: imm = take_declared(p, false); break;
    case IMM_HYPER: imm = take_declared(p, true); break;
    case IMM_BITS: imm = (int64_t)take_bits(p, type); break;
    case IMM_NUMBER: break;
  }
  if (form.aux == AUX_AXIS && expect(p, ",")) aux = take_integer(p);
  const Node *args[8];
  unsigned n = 0;
  while (!p->failed && !accept(p, T_SIGN, ")")) {
    if (n == 8) { fail(p, "too many arguments"); break; }
    if (!first && !expect(p, ",")) break;
    first = false;
    args[n++] = parse_extent(p, g, depth + 1);
  }
  return p->failed ? NULL : graph_node(g, op, type, graph_scalar_space(g), imm, (int32_t)aux, n, args);
}

static void parse_shapes(Parser *p) {
  Graph *g = NULL;
  Token now = p->now;
  uint32_t at = p->at;
  for (unsigned i = 0; i < p->module->n_operands && !p->failed; i++) {
    if (!p->shape_at[i]) continue;
    if (!g) g = p->module->shapes = graph_new(p->module, "shapes");
    p->at = p->shape_at[i];
    next(p);
    expect(p, "[");
    p->n_list = 0;
    while (!p->failed && !is(p, T_SIGN, "]")) {
      push(p, parse_extent(p, g, 0));
      if (!is(p, T_SIGN, "]") && !expect(p, ",")) break;
    }
    if (!p->failed) p->module->operands[i].shape = graph_space(g, (unsigned)p->n_list, p->list);
  }
  if (p->failed) return;
  p->now = now;
  p->at = at;
}

Module *module_parse(Arena *arena, Diag *diag, const Source *source) {
  Module *m = arena_alloc(arena, sizeof *m);
  m->arena = arena;
  m->diag = diag;
  Parser parser = {.arena = arena, .diag = diag, .source = source, .module = m}, *p = &parser;
  p->list = arena_grow(arena, NULL, &p->list_capacity, 16, sizeof *p->list);
  if (source->length >= UINT32_MAX) { fail(p, "the text is too long"); return NULL; }
  next(p);
  if (!accept(p, T_WORD, "module")) fail(p, "expected 'module'");
  m->name = take(p, T_STRING, "the name of the rule");
  m->has_step = accept(p, T_WORD, "step");
  if (accept(p, T_WORD, "doc")) m->doc = take(p, T_STRING, "a string");
  const char **sources = NULL;
  size_t source_capacity = 0;
  while (accept(p, T_WORD, "source")) {
    sources = arena_grow(arena, sources, &source_capacity, m->n_sources + 1, sizeof *sources);
    sources[m->n_sources++] = take(p, T_STRING, "a string");
  }
  m->sources = sources;
  while (!p->failed && (is(p, T_WORD, "hyper") || is(p, T_WORD, "operand"))) {
    if (accept(p, T_WORD, "hyper")) parse_hyper(p);
    else { next(p); parse_operand(p); }
  }
  if (!p->failed) parse_shapes(p);
  while (accept(p, T_WORD, "graph")) parse_graph(p);
  if (!p->failed && p->now.kind != T_END) fail(p, m->n_graphs ? "expected 'graph' or the end" : "expected 'hyper', 'operand', 'graph' or the end");
  return p->failed ? NULL : m;
}
