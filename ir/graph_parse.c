/* graph_parse.c: reads the text form that graph_print.c describes. Any bytes are answered with a module or with errors. */
#include "ir/graph_text.h"
#include <string.h>
#include "ir/text_lex.h"

typedef struct Named { uint64_t number; const Node *node; } Named;

typedef struct Parser {
  Lexer *lex;
  Arena *arena;
  Module *module;
  Graph *graph;                                        /* the one being read */
  Named *named; size_t n_named, named_capacity;        /* numbers of the graph, increasing */
  const Node **list; size_t n_list, list_capacity;     /* references of one line */
  uint32_t *shape_at; size_t shape_capacity;           /* where each operand's shape stands, or 0 */
  size_t hyper_capacity, operand_capacity, graph_capacity;
} Parser;

/* --- words --------------------------------------------------------------------------------------------------------------------- */

static const char *take_name(Lexer *l, const char *what) { return lex_take(l, l->now.kind == TOKEN_STRING ? TOKEN_STRING : TOKEN_WORD, what); }

static Bits take_bits(Parser *p, Type type) {
  Token token = p->lex->now;
  const char *s = lex_take(p->lex, TOKEN_WORD, "a value");
  int64_t v;
  uint64_t u;
  double x;
  if (p->lex->failed) return 0;
  if (!strcmp(s, "true")) return 1;
  if (!strcmp(s, "false")) return 0;
  if (!strncmp(s, "nan:", 4) && lex_digits(s + 4, &u)) return bits_normal(u, type);
  if (type_kind(type) != KIND_FLOAT && lex_signed(s, &v)) return bits_normal((Bits)v, type);
  if (type_kind(type) == KIND_FLOAT && lex_real(s, &x)) return bits_from_f64(x, type);
  lex_fail_at(p->lex, token, "'%s' is no value of type %s", s, type_name(type));
  return 0;
}

/* --- references ------------------------------------------------------------------------------------------------------------------ */

/* NAME, NAME @number or @number. */
static int64_t take_declared(Parser *p, bool hyper) {
  if (lex_sign(p->lex, "@")) return lex_integer(p->lex);
  Token token = p->lex->now;
  const char *name = take_name(p->lex, hyper ? "a hyper-parameter" : "an operand");
  if (p->lex->failed) return 0;
  if (lex_sign(p->lex, "@")) return lex_integer(p->lex);
  const Module *m = p->module;
  for (unsigned i = 0; i < (hyper ? m->n_hypers : m->n_operands); i++)
    if (!strcmp(hyper ? m->hypers[i].name : m->operands[i].name, name)) return i;
  lex_fail_at(p->lex, token, "unknown %s '%s'", hyper ? "hyper-parameter" : "operand", name);
  return 0;
}

static const Node *take_node(Parser *p) {
  Token token = p->lex->now;
  const char *text = lex_take(p->lex, TOKEN_NODE, "a node");
  uint64_t number;
  if (p->lex->failed) return NULL;
  size_t low = 0, high = p->n_named;
  if (lex_digits(text, &number))
    while (low < high) {
      size_t mid = low + (high - low) / 2;
      if (p->named[mid].number == number) return p->named[mid].node;
      if (p->named[mid].number < number) low = mid + 1; else high = mid;
    }
  lex_fail_at(p->lex, token, "%%%s has not been computed before this line", text);
  return NULL;
}

static void push(Parser *p, const Node *n) {
  p->list = arena_grow(p->arena, p->list, &p->list_capacity, p->n_list + 1, sizeof *p->list);
  p->list[p->n_list++] = n;
}

/* Appends %a, %b, ... to the list and returns how many. On a new line a node is the next definition. */
static unsigned take_nodes(Parser *p) {
  unsigned n = 0;
  if (p->lex->now.kind != TOKEN_NODE || p->lex->now.first) return 0;
  do { push(p, take_node(p)); n++; } while (lex_sign(p->lex, ",") && !p->lex->failed);
  return n;
}

/* --- graph ------------------------------------------------------------------------------------------------------------------------- */

static unsigned take_choice(Parser *p, const char *const *names, const char *what) {
  Token token = p->lex->now;
  const char *word = lex_take(p->lex, TOKEN_WORD, what);
  uint64_t v;
  if (p->lex->failed) return 0;
  for (unsigned i = 0; names[i]; i++) if (!strcmp(names[i], word)) return i;
  if (lex_digits(word, &v) && v < 256) return (unsigned)v;
  lex_fail_at(p->lex, token, "'%s' is no %s", word, what);
  return 0;
}

/* key=value and single words after the operand. */
static void take_attributes(Parser *p, OpForm form, int64_t *imm, int32_t *aux) {
  while (!p->lex->failed && p->lex->now.kind == TOKEN_WORD && !p->lex->now.first) {
    const char *key = p->lex->now.text;
    if (form.aux == AUX_GUARDED && lex_word(p->lex, "guarded")) { *aux = 1; continue; }
    if (form.aux == AUX_ADD && lex_word(p->lex, "add")) { *aux = 1; continue; }
    if (form.aux == AUX_REVERSE && lex_word(p->lex, "reverse")) { *aux = 1; continue; }
    Token token = p->lex->now;
    lex_next(p->lex);
    if (!lex_expect(p->lex, "=")) return;
    if (form.aux == AUX_AXIS && !strcmp(key, "axis")) {
      if (lex_word(p->lex, "count")) *aux = -1;
      else if (lex_word(p->lex, "rank")) *aux = -2;
      else *aux = (int32_t)lex_integer(p->lex);
    } else if (form.imm == IMM_NUMBER && !strcmp(key, form.key)) *imm = lex_integer(p->lex);
    else if (!strcmp(key, form.aux == AUX_WEIGHTS ? "weights" : "aux")) *aux = (int32_t)lex_integer(p->lex);
    else if ((form.aux == AUX_REDUCE || form.aux == AUX_KIND) && !strcmp(key, "kind")) *aux = (int32_t)((unsigned)*aux & ~255u) | (int32_t)take_choice(p, reduce_names, "kind of reduction");
    else if (form.aux == AUX_REDUCE && !strcmp(key, "order")) *aux = (*aux & 255) | (int32_t)take_choice(p, order_names, "order of reduction") << 8;
    else if (form.aux == AUX_CARRY && !strcmp(key, "depth")) *aux = (int32_t)((unsigned)*aux & ~255u) | (int32_t)(lex_integer(p->lex) & 255);
    else if (form.aux == AUX_CARRY && !strcmp(key, "level")) *aux = (*aux & 255) | (int32_t)take_choice(p, level_names, "level") << 8;
    else { lex_fail_at(p->lex, token, "'%s' is no attribute of this operation", key); }
  }
}

/* %number = operation type [space] attributes arguments {results} */
static void parse_node(Parser *p) {
  uint32_t begin = p->lex->now.begin;
  uint64_t number = 0;
  if (!lex_digits(p->lex->now.text, &number) || (p->n_named && number <= p->named[p->n_named - 1].number)) { lex_fail(p->lex, "numbers of nodes must increase"); return; }
  lex_next(p->lex);
  if (!lex_expect(p->lex, "=")) return;
  Op op = OP_CONST;
  if (p->lex->now.kind != TOKEN_WORD || !op_parse(p->lex->now.text, &op)) { lex_fail(p->lex, "unknown operation '%s'", p->lex->now.text); return; }
  lex_next(p->lex);
  Type type = lex_type(p->lex);
  p->n_list = 0;
  unsigned rank = 0;
  if (lex_sign(p->lex, "[")) { rank = take_nodes(p); lex_expect(p->lex, "]"); }
  OpForm form = op_form(op);
  int64_t imm = 0;
  int32_t aux = 0;
  if (p->lex->failed) return;
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
    if (!lex_expect(p->lex, "{")) return;
    n_results = take_nodes(p);
    lex_expect(p->lex, "}");
  }
  if (p->lex->failed) return;
  const Space *space = graph_space(p->graph, rank, p->list);
  Region body = {n_results, p->list + rank + n_args};
  graph_at(p->graph, lex_range(p->lex, begin, p->lex->now.begin));
  const Node *node = graph_region_node(p->graph, op, type, space, imm, aux, n_args, p->list + rank, region ? &body : NULL);
  p->named = arena_grow(p->arena, p->named, &p->named_capacity, p->n_named + 1, sizeof *p->named);
  p->named[p->n_named++] = (Named){number, node};
}

static unsigned take_operand(Parser *p) {
  Token token = p->lex->now;
  int64_t k = take_declared(p, false);
  if (!p->lex->failed && (k < 0 || k >= p->module->n_operands)) { lex_fail_at(p->lex, token, "there is no such operand"); }
  return p->lex->failed ? 0 : (unsigned)k;
}

static void parse_require(Parser *p) {
  int64_t about = lex_word(p->lex, "shapes") ? ABOUT_SHAPES : lex_word(p->lex, "shape") ? (int64_t)take_operand(p) : ABOUT_RULE;
  const char *text = lex_take(p->lex, TOKEN_STRING, "the text of the requirement");
  const Node *cond = take_node(p), *value[4] = {NULL};
  const char *name[4] = {NULL};
  unsigned n = 0;
  while (lex_sign(p->lex, ",")) {
    if (n == 4) { lex_fail(p->lex, "a requirement shows at most four numbers"); return; }
    if (p->lex->now.kind == TOKEN_STRING) name[n] = lex_take(p->lex, TOKEN_STRING, "a name");
    value[n++] = take_node(p);
  }
  if (!p->lex->failed) graph_require(p->graph, text, cond, n, value, name)->about = about;
}

static void parse_graph(Parser *p) {
  Module *m = p->module;
  Token token = p->lex->now;
  const char *name = take_name(p->lex, "the name of an entry");
  if (!p->lex->failed && module_graph(m, name)) { lex_fail_at(p->lex, token, "a second graph '%s'", name); }
  if (p->lex->failed) return;
  Graph *g = p->graph = graph_new(m, name);
  g->advances = lex_word(p->lex, "advances");
  p->n_named = 0;
  lex_expect(p->lex, "{");
  while (!p->lex->failed && !lex_sign(p->lex, "}")) {
    if (p->lex->now.kind == TOKEN_NODE) parse_node(p);
    else if (lex_word(p->lex, "skip")) g->skip = take_node(p);
    else if (lex_word(p->lex, "require")) parse_require(p);
    else if (lex_word(p->lex, "exists")) {
      unsigned k = take_operand(p);
      const Node *when = lex_word(p->lex, "when") ? take_node(p) : NULL;
      if (!p->lex->failed) graph_exists(g, k, when);
    } else if (lex_word(p->lex, "write")) {
      unsigned k = take_operand(p);
      lex_expect(p->lex, "=");
      const Node *value = take_node(p), *when = lex_word(p->lex, "when") ? take_node(p) : NULL;
      if (!p->lex->failed) graph_write(g, k, value, when);
    } else lex_fail(p->lex, "expected a node, 'skip', 'require', 'exists', 'write' or '}'");
  }
  if (p->lex->failed) return;
  m->graphs = arena_grow(p->arena, m->graphs, &p->graph_capacity, m->n_graphs + 1, sizeof *m->graphs);
  m->graphs[m->n_graphs++] = g;
}

/* --- declarations -------------------------------------------------------------------------------------------------------------------- */

static void parse_tail(Parser *p, const char **external, const char **doc) {
  if (lex_word(p->lex, "as")) *external = lex_take(p->lex, TOKEN_STRING, "a string");
  if (lex_word(p->lex, "doc")) *doc = lex_take(p->lex, TOKEN_STRING, "a string");
}

static void parse_hyper(Parser *p) {
  Module *m = p->module;
  Hyper h = {.where = lex_range(p->lex, p->lex->now.begin, p->lex->now.end)};
  h.name = take_name(p->lex, "a name");
  h.type = lex_type(p->lex);
  h.is_const = lex_word(p->lex, "const");
  h.has_default = lex_sign(p->lex, "=");
  if (h.has_default || lex_word(p->lex, ":")) h.value = take_bits(p, h.type);
  parse_tail(p, &h.external, &h.doc);
  m->hypers = arena_grow(p->arena, m->hypers, &p->hyper_capacity, m->n_hypers + 1, sizeof *m->hypers);
  m->hypers[m->n_hypers++] = h;
}

static void parse_operand(Parser *p) {
  Module *m = p->module;
  Operand o = {.where = lex_range(p->lex, p->lex->now.begin, p->lex->now.end)};
  o.name = take_name(p->lex, "a name");
  unsigned role = 0, scope = 0;
  while (role <= ROLE_STATE && !lex_is(p->lex, TOKEN_WORD, role_name((Role)role))) role++;
  if (role > ROLE_STATE) lex_fail(p->lex, "expected a role"); else lex_next(p->lex);
  while (scope <= SCOPE_GLOBAL && !lex_is(p->lex, TOKEN_WORD, scope_name((Scope)scope))) scope++;
  if (scope > SCOPE_GLOBAL) lex_fail(p->lex, "expected a scope"); else lex_next(p->lex);
  if (p->lex->failed) return;
  o.role = (Role)role;
  o.scope = (Scope)scope;
  o.storage = lex_type(p->lex);
  o.item_shape = lex_word(p->lex, "item");
  uint32_t shape_at = 0;
  if (lex_is(p->lex, TOKEN_SIGN, "[")) {                                                   /* may name operands that follow: read at the end */
    shape_at = p->lex->now.begin;
    while (!p->lex->failed && p->lex->now.kind != TOKEN_END && !lex_is(p->lex, TOKEN_SIGN, "]")) lex_next(p->lex);
    lex_expect(p->lex, "]");
  }
  o.flush = lex_word(p->lex, "flush");
  o.optional = lex_word(p->lex, "optional");
  if (lex_word(p->lex, "entry")) o.entry = take_name(p->lex, "the name of an entry");
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
  if (p->lex->now.kind == TOKEN_WORD && lex_signed(p->lex->now.text, &v)) { lex_next(p->lex); return graph_i64(g, v); }
  if (p->lex->failed || p->lex->now.kind != TOKEN_WORD) { lex_fail(p->lex, "expected an extent"); return NULL; }
  const char *word = p->lex->now.text, *colon = strchr(word, ':');
  Op op = OP_CONST;
  Type type = TYPE_I64;
  const char *name = colon ? arena_strndup(p->arena, word, (size_t)(colon - word)) : word;
  if ((colon && !type_parse(colon + 1, &type)) || !op_parse(name, &op)) { lex_fail(p->lex, "'%s' is no extent", word); return NULL; }
  if (depth > 64) { lex_fail(p->lex, "an extent this deep is not supported"); return NULL; }
  OpForm form = op_form(op);
  if (op >= OP_INDEX && op != OP_SCALAR) { lex_fail(p->lex, "'%s' cannot stand in an extent", name); return NULL; }
  lex_next(p->lex);
  if (!lex_expect(p->lex, "(")) return NULL;
  int64_t imm = 0, aux = 0;
  bool first = form.imm == IMM_NUMBER;
  switch (form.imm) {
    case IMM_OPERAND: imm = take_declared(p, false); break;
    case IMM_HYPER: imm = take_declared(p, true); break;
    case IMM_BITS: imm = (int64_t)take_bits(p, type); break;
    case IMM_NUMBER: break;
  }
  if (form.aux == AUX_AXIS && lex_expect(p->lex, ",")) aux = lex_integer(p->lex);
  const Node *args[8];
  unsigned n = 0;
  while (!p->lex->failed && !lex_sign(p->lex, ")")) {
    if (n == 8) { lex_fail(p->lex, "too many arguments"); break; }
    if (!first && !lex_expect(p->lex, ",")) break;
    first = false;
    args[n++] = parse_extent(p, g, depth + 1);
  }
  return p->lex->failed ? NULL : graph_node(g, op, type, graph_scalar_space(g), imm, (int32_t)aux, n, args);
}

static void parse_shapes(Parser *p) {
  Graph *g = NULL;
  Token now = p->lex->now;
  uint32_t at = p->lex->at;
  for (unsigned i = 0; i < p->module->n_operands && !p->lex->failed; i++) {
    if (!p->shape_at[i]) continue;
    if (!g) g = p->module->shapes = graph_new(p->module, "shapes");
    p->lex->at = p->shape_at[i];
    lex_next(p->lex);
    lex_expect(p->lex, "[");
    p->n_list = 0;
    while (!p->lex->failed && !lex_is(p->lex, TOKEN_SIGN, "]")) {
      push(p, parse_extent(p, g, 0));
      if (!lex_is(p->lex, TOKEN_SIGN, "]") && !lex_expect(p->lex, ",")) break;
    }
    if (!p->lex->failed) p->module->operands[i].shape = graph_space(g, (unsigned)p->n_list, p->list);
  }
  if (p->lex->failed) return;
  p->lex->now = now;
  p->lex->at = at;
}

Module *module_parse(Arena *arena, Diag *diag, const Source *source) {
  Module *m = arena_alloc(arena, sizeof *m);
  m->arena = arena;
  m->diag = diag;
  Lexer lex = lex_open(arena, diag, source, "/.+-:");
  Parser parser = {.lex = &lex, .arena = arena, .module = m}, *p = &parser;
  p->list = arena_grow(arena, NULL, &p->list_capacity, 16, sizeof *p->list);
  if (!lex_word(p->lex, "module")) lex_fail(p->lex, "expected 'module'");
  m->name = lex_take(p->lex, TOKEN_STRING, "the name of the rule");
  m->has_step = lex_word(p->lex, "step");
  if (lex_word(p->lex, "doc")) m->doc = lex_take(p->lex, TOKEN_STRING, "a string");
  const char **sources = NULL;
  size_t source_capacity = 0;
  while (lex_word(p->lex, "source")) {
    sources = arena_grow(arena, sources, &source_capacity, m->n_sources + 1, sizeof *sources);
    sources[m->n_sources++] = lex_take(p->lex, TOKEN_STRING, "a string");
  }
  m->sources = sources;
  while (!p->lex->failed && (lex_is(p->lex, TOKEN_WORD, "hyper") || lex_is(p->lex, TOKEN_WORD, "operand"))) {
    if (lex_word(p->lex, "hyper")) parse_hyper(p);
    else { lex_next(p->lex); parse_operand(p); }
  }
  if (!p->lex->failed) parse_shapes(p);
  while (lex_word(p->lex, "graph")) parse_graph(p);
  if (!p->lex->failed && p->lex->now.kind != TOKEN_END) lex_fail(p->lex, m->n_graphs ? "expected 'graph' or the end" : "expected 'hyper', 'operand', 'graph' or the end");
  return p->lex->failed ? NULL : m;
}
