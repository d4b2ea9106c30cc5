/* lower.c: from the tree of a rule to its module: the main body, the other entries, then `init` and `layout` from what they declared. */
#include <ctype.h>
#include <string.h>
#include "frontend/statements.h"
#include "ir/suggest.h"

/* --- the end of an entry --------------------------------------------------------------------------------------------------------------- */

/* A state kept as codes is not written where the branch that assigns it is not taken: its codes made anew need not be the same. */
static Value taken_only(Lower *l, Value v, const Node *entry, const Node **when) {
  while (v.node->op == OP_SELECT && !v.node->args[0]->space->rank && (v.node->args[1] == entry || v.node->args[2] == entry)) {
    const Node *c = v.node->args[0], *otherwise = v.node->args[2];
    *when = bool_and(l, *when, otherwise == entry ? c : graph_op1(l->graph, OP_NOT, c));
    v.node = otherwise == entry ? v.node->args[1] : otherwise;
  }
  return v;
}

/* What an operand holds at the end, and when it is written; node NULL: it is not. */
static Value final_value(Lower *l, const Final *f, const Operand *o, const Node **when) {
  Value entry = operand_at_entry(l, f->symbol), v = f->value.node ? f->value : entry;
  bool keeps = o->role != ROLE_OUT;
  *when = f->symbol->guard;
  if (o->optional) *when = bool_and(l, *when, graph_node(l->graph, OP_PRESENT, TYPE_BOOL, graph_scalar_space(l->graph), f->symbol->index, 0, 0, NULL));
  if (coded_of(l, f->symbol->index)) v = taken_only(l, v, entry.node, when);
  if (v.node == entry.node && keeps && !l->entry->skips) return (Value){0};
  bool same = v.node == entry.node;
  for (const Skip *s = l->entry->skips; s; s = s->earlier) {
    Value at = skip_value(l, s, f->symbol);
    if (!at.node) continue;
    if (at.node == entry.node && keeps) { *when = bool_and(l, *when, graph_op1(l->graph, OP_NOT, s->cond)); continue; }
    if (at.node == v.node) continue;
    same = false;
    v = value_select(l, f->symbol->where, value_of(s->cond), at, v);
    if (*when) *when = graph_op2(l->graph, OP_OR, s->cond, *when);
  }
  if (same && keeps) return (Value){0};
  if (!keeps && *when) {                                /* declared under a condition: 0 where it does not hold */
    v = value_select(l, f->symbol->where, value_of(*when), v, entry);
    *when = NULL;
  }
  return v;
}

static void write_all(Lower *l) {
  Module *m = l->context->module;
  for (unsigned i = 0; i < m->n_operands; i++) {
    const Operand *o = &m->operands[i];
    if (o->role != ROLE_PARAM && o->role != ROLE_STATE && o->role != ROLE_OUT && o->role != ROLE_INOUT) continue;
    if (o->entry && strcmp(o->entry, l->graph->name)) continue;
    for (unsigned k = 0; k < l->entry->n_finals; k++) {
      const Final *f = &l->entry->finals[k];
      if (f->symbol->index != i || f->poison) continue;
      if (!f->value.node && o->role != ROLE_OUT && !l->entry->skips) continue;
      const Node *when;
      Value v = final_value(l, f, o, &when);
      if (!v.node) continue;
      const Coded *coded = coded_of(l, i);
      unsigned copy = master_of(l, i);
      storage_warn(l, i, v.node);
      if (coded) coded_write(l, coded, value_convert(l, v, TYPE_F32).node, when);
      else graph_write(l->graph, i, storage_round(l, i, value_convert(l, v, type_arithmetic(o->storage)).node), when);
      if (copy != i) graph_write(l->graph, copy, value_convert(l, v, type_arithmetic(m->operands[copy].storage)).node, when);
    }
  }
}

static void add_graph(Lower *l, Graph *graph) {
  Module *m = l->context->module;
  m->graphs = arena_grow(l->arena, m->graphs, &l->context->graphs_capacity, m->n_graphs + 1, sizeof *m->graphs);
  m->graphs[m->n_graphs++] = graph_rewrite(graph, NULL, NULL);
}

/* --- init and layout --------------------------------------------------------------------------------------------------------------------- */

/* A state exists, or not, before there is data: what its condition must not ask. */
static bool leaf_of_data(const Module *m, const Node *n) {
  return n->op == OP_READ || n->op == OP_STEP || n->op == OP_SEED || (n->op == OP_SCALAR && m->operands[n->imm].role != ROLE_IN);
}

/* Sizes of the item are known before there is data; those of other operands belong to a call. */
static bool leaf_of_call(const Module *m, const Node *n) {
  return leaf_of_data(m, n) || ((n->op == OP_SIZE || n->op == OP_PRESENT) && !m->operands[n->imm].item_shape && m->operands[n->imm].role != ROLE_PARAM && m->operands[n->imm].role != ROLE_STATE);
}

/* A first value may also use params. */
static bool leaf_of_step(const Module *m, const Node *n) {
  return n->op == OP_READ ? m->operands[n->imm].role != ROLE_PARAM : n->op != OP_SEED && leaf_of_data(m, n);
}

static void first_values(Lower *l, Graph *init, Graph *layout) {
  for (unsigned i = 0; i < l->context->n_firsts; i++) {
    const First *f = &l->context->firsts[i];
    const Operand *o = &l->context->module->operands[f->operand];
    const Node *guard = NULL, *value = graph_const(init, type_arithmetic(o->storage), 0);
    if (f->guard && node_uses(f->graph, f->guard, leaf_of_data, l->context->module)) {
      lower_error(l, o->where, "whether state '%s' exists may depend on sizes, hyper-parameters and 'in scalar' only", o->name);
      diag_note(l->diag, f->guard_where, "this condition");
      continue;
    }
    if (f->value && node_uses(f->graph, f->value, leaf_of_step, l->context->module)) {
      lower_error(l, f->where, "the first value of a state may use params, sizes and hyper-parameters only");
      continue;
    }
    if (f->guard) guard = node_transfer(l, f->graph, f->guard, init);
    if (f->value) value = node_transfer(l, f->graph, f->value, init);
    l->graph = init;
    value = storage_round(l, f->operand, value);
    const Coded *coded = coded_of(l, f->operand);
    if (coded) coded_write(l, coded, f->value ? value : graph_f32(init, 0), guard);
    else graph_write(init, f->operand, value, guard);
    const Node *exists = f->guard ? node_transfer(l, f->graph, f->guard, layout) : graph_bool(layout, true);
    unsigned k = 0;
    while (k < layout->n_exists && layout->exists[k].operand != f->operand) k++;
    if (k < layout->n_exists) layout->exists[k].when = graph_op2(layout, OP_OR, layout->exists[k].when, exists);
    else graph_exists(layout, f->operand, exists);
    if (coded && k == layout->n_exists - 1) graph_exists(layout, coded->maxima, exists);
  }
}

/* The rule's requirements hold for every entry; those that ask for the step or a state make no sense before the first. */
static void copy_requirements(Lower *l, const Graph *from, Graph *to, bool first) {
  for (unsigned i = 0; i < from->n_requires; i++) {
    const Requirement *r = &from->requires[i];
    if (first && node_uses(from, r->cond, leaf_of_call, l->context->module)) continue;
    const Node *value[4];
    const Node *cond = node_transfer(l, from, r->cond, to);
    for (unsigned k = 0; k < r->n; k++) value[k] = node_transfer(l, from, r->value[k], to);
    graph_require(to, r->text, cond, r->n, value, r->name)->about = r->about;
  }
}

/* --- entries --------------------------------------------------------------------------------------------------------------------------------- */

/* What an entry sees of the rule: hyper-parameters, params, states that always exist, fns; a `backward` written by hand what one that is made sees: the inputs. */
static void entry_scope(Lower *l, const Names *rule) {
  for (unsigned i = 0; i < rule->n; i++) {
    const Binding *b = &rule->at[i];
    const Symbol *s = b->symbol;
    bool seen = s->kind == SYMBOL_HYPER || s->kind == SYMBOL_FN || s->kind == SYMBOL_SIZE || s->poisoned;
    if (s->kind == SYMBOL_OPERAND) {
      const Operand *o = &l->context->module->operands[s->index];
      seen = (o->role == ROLE_PARAM || o->role == ROLE_STATE || (o->role == ROLE_IN && !strcmp(l->entry->name, "backward"))) && !s->guard && !o->entry;
    }
    if (!seen) continue;
    Binding *mine = scope_add(l, b->symbol);
    if (s->kind == SYMBOL_FN) { mine->value = (Value){.fn = b->value.fn, .home = l->scope->names}; mine->set = true; }
    if (s->poisoned) mine->poison = true;
  }
}

static bool entry_name_good(Lower *l, const Stmt *s) {
  if (interface_has_name(s->name.text) || entry_is_made(s->name.text)) {
    lower_error(l, s->name.where, "an entry cannot be called '%s'", s->name.text);
    return false;
  }
  for (unsigned i = 0; i < l->context->rule->body.n; i++) {
    const Stmt *other = l->context->rule->body.at[i];
    if (other == s) return true;
    if (other->kind != STMT_ENTRY || strcmp(other->name.text, s->name.text)) continue;
    if (lower_error(l, s->name.where, "entry '%s' is declared twice", s->name.text)) diag_note(l->diag, other->name.where, "first declared here");
    return false;
  }
  return true;
}

static void start_graph(Lower *l, Graph *graph, const char *name, const StmtList *body) {
  l->graph = graph;
  *l->entry = (Entry){.name = name};
  *l->scope = (Lexical){.names = scope_new(l, NULL), .body = body, .site = site_inside(l, l->context->sites, body)};
}

/* applied: of a rule that ours applies, or NULL. */
static Graph *lower_entry(Lower *l, const Stmt *s, const Applied *applied, const Graph *main, const Names *rule) {
  Graph *graph = graph_new(l->context->module, s->name.text);
  copy_requirements(l, main, graph, false);
  start_graph(l, graph, s->name.text, &s->body);
  entry_scope(l, rule);
  if (applied) {
    apply_entry(l, applied, s);
  } else {
    sizes_reserve(l, &s->body);
    lower_block(l, &s->body);
  }
  scope_finish(l, l->scope->names, 0);
  write_all(l);
  return graph;
}

typedef struct Others { const Graph *at[64]; unsigned n; } Others;

static void lower_entries(Lower *l, const StmtList *body, const Applied *applied, const Graph *main, const Names *rule, Others *others) {
  for (unsigned i = 0; i < body->n; i++) {
    const Stmt *s = body->at[i];
    if (s->kind != STMT_ENTRY || !entry_name_good(l, s)) continue;
    if (others->n == sizeof others->at/sizeof *others->at) { lower_error(l, s->name.where, "more than %zu entries", sizeof others->at/sizeof *others->at); return; }
    for (unsigned k = 0; k < others->n && applied; k++)
      if (!strcmp(others->at[k]->name, s->name.text)) { lower_error(l, applied->stmt->name.where, "there are two entries '%s' of applied rules", s->name.text); return; }
    others->at[others->n++] = lower_entry(l, s, applied, main, rule);
  }
}

/* --- the rule ---------------------------------------------------------------------------------------------------------------------------------- */

static const char *rule_list(Lower *l, const File *file) {
  const char *list = "no rule";
  for (unsigned i = 0; i < file->n_rules; i++) list = i ? arena_printf(l->arena, "%s, %s", list, file->rules[i]->name.text) : file->rules[i]->name.text;
  return list;
}

static const Rule *choose_rule(Lower *l) {
  const File *file = l->context->files->files[0];
  if (!l->context->options->rule) {
    if (file->n_rules) return file->rules[file->n_rules - 1];
    diag_error(l->diag, (Range){file->source, 0, 0}, "there is no rule in this file");
    return NULL;
  }
  const Rule *rule = file_rule(l, l->context->options->rule);
  if (rule) return rule;
  const char **names = arena_array(l->arena, file->n_rules + 1, sizeof *names);
  for (unsigned i = 0; i < file->n_rules; i++) names[i] = file->rules[i]->name.text;
  const char *nearest = suggest_word(l->context->options->rule, names, file->n_rules);
  if (nearest) diag_error(l->diag, (Range){0}, "there is no rule '%s' in '%s'; did you mean '%s'?", l->context->options->rule, file->source->name, nearest);
  else diag_error(l->diag, (Range){0}, "there is no rule '%s' in '%s'; there is %s", l->context->options->rule, file->source->name, rule_list(l, file));
  return NULL;
}

static void twice(Lower *l, const Name *a, const Name *b) {
  if (strcmp(a->text, b->text)) return;
  if (lower_error(l, b->where, "'%s' is declared twice", b->text)) diag_note(l->diag, a->where, "first declared here");
}

/* Names of files, of one kind each; a fn and a const share theirs. */
static void check_file_names(Lower *l) {
  for (unsigned f = 0; f < l->context->files->n; f++) {
    const File *file = l->context->files->files[f];
    for (unsigned i = 0; i < file->n_rules; i++) {
      const Rule *first = file_rule(l, file->rules[i]->name.text);
      if (first != file->rules[i]) twice(l, &first->name, &file->rules[i]->name);
    }
    for (unsigned i = 0; i < file->n_fns; i++) {
      const Fn *fn = file->fns[i], *first = file_fn(l, fn->name.text);
      if (first != fn) twice(l, &first->name, &fn->name);
      names_check_parameters(l, fn);
      if (builtin_find(fn->name.text)) lower_error(l, fn->name.where, "'%s' is a function of the language and cannot be a name", fn->name.text);
    }
    for (unsigned i = 0; i < file->n_consts; i++) {
      const Const *c = file->consts[i], *first = file_const(l, c->name.text);
      const Fn *fn = file_fn(l, c->name.text);
      if (first != c) twice(l, &first->name, &c->name);
      if (fn) twice(l, &fn->name, &c->name);
      if (builtin_find(c->name.text)) lower_error(l, c->name.where, "'%s' is a function of the language and cannot be a name", c->name.text);
    }
  }
}

static Module *walk(Arena *arena, Diag *diag, const FileSet *files, const FrontendOptions *options, Site *sites, const Name **grew) {
  Module *m = arena_alloc(arena, sizeof *m);
  Context context = {.files = files, .options = options, .module = m, .sites = sites};
  Entry entry = {0};
  Lexical scope = {0};
  Lower lower = {.arena = arena, .diag = diag, .context = &context, .entry = &entry, .scope = &scope}, *l = &lower;
  l->context->rule = choose_rule(l);
  if (!l->context->rule) return NULL;
  check_file_names(l);
  if (!strcmp(l->context->rule->name.text, "optc")) lower_error(l, l->context->rule->name.where, "a rule cannot be called 'optc': its entries would have the names of the library, optc_...");
  const char **sources = arena_array(arena, files->n, sizeof *sources);
  for (unsigned i = 0; i < files->n; i++) sources[i] = files->files[i]->source->name;
  *m = (Module){.arena = arena, .diag = diag, .name = l->context->rule->name.text, .doc = l->context->rule->doc, .sources = sources, .n_sources = files->n};

  policies_read(l, l->context->options->store);
  declare_find_param(l, &l->context->rule->body);
  m->has_step = l->context->has_step;
  Graph *init = graph_new(m, "init"), *layout = graph_new(m, "layout"), *main = graph_new(m, l->context->has_step ? "step" : "forward");
  start_graph(l, main, NULL, &l->context->rule->body);
  Names *rule = context.rule_names = scope.names;
  declare_hypers(l);
  sizes_reserve(l, &l->context->rule->body);
  names_register_fns(l, &l->context->rule->body);
  declare_defaults(l);
  lower_block(l, &l->context->rule->body);
  scope_finish(l, rule, 0);
  write_all(l);
  main->advances = l->context->has_step;
  Others others = {.n = 0};
  lower_entries(l, &context.rule->body, NULL, main, rule, &others);
  for (unsigned i = 0; i < context.n_applied; i++) {
    const Applied applied = context.applied[i];
    lower_entries(l, &applied.rule->body, &applied, main, rule, &others);
  }
  scope.names = rule;
  bool by_hand = false;                                 /* `entry backward` replaces what would be made */
  for (unsigned i = 0; i < l->context->rule->body.n; i++) by_hand |= l->context->rule->body.at[i]->kind == STMT_ENTRY && !strcmp(l->context->rule->body.at[i]->name.text, "backward");
  for (unsigned i = 0; i < l->context->rule->body.n && !by_hand; i++)
    if (l->context->rule->body.at[i]->kind == STMT_BACKWARD) lower_backward(l, l->context->rule->body.at[i]);
  first_values(l, init, layout);
  copy_requirements(l, main, init, true);
  policies_finish(l);
  if (!l->context->exhausted) names_warn_unused(l);
  *grew = context.grew;
  if (diag_errors(diag)) return NULL;
  add_graph(l, init);
  add_graph(l, layout);
  add_graph(l, main);
  for (unsigned i = 0; i < others.n; i++) add_graph(l, (Graph *)others.at[i]);
  return m;
}

Module *frontend_lower(Arena *arena, Diag *diag, const FileSet *files, const FrontendOptions *options) {
  static const FrontendOptions none = {.warnings = true};
  if (diag_errors(diag) || !files || !files->n) return NULL;
  Site *sites = sites_new(arena);
  size_t said = diag_count(diag);
  for (unsigned walks = 1;; walks++) {                  /* again where a name turned out wider than it was read before */
    const Name *grew = NULL;
    Module *m = walk(arena, diag, files, options ? options : &none, sites, &grew);
    if (!grew) return m;
    diag_rewind(diag, said);
    if (walks < LOWER_MAX_WALKS) continue;
    diag_error(diag, grew->where, "the types of names hang on each other over more than %d assignments; give '%s' a value of its widest type first", LOWER_MAX_WALKS, grew->text);
    return NULL;
  }
}
