/* interp.c: descriptors over the two interpreters. */
#include "runtime/interp.h"
#include "backends/backend.h"
#include "ir/interpret.h"
#include "backends/backend.h"
#include "passes/pass.h"

_Static_assert((int)OPTC_ROLE_STATE == ROLE_STATE && (int)OPTC_ROLE_OUT == ROLE_OUT && (int)OPTC_SCOPE_CALL == SCOPE_GLOBAL, "descriptors hold the public numbers");

typedef struct InterpKernel {
  const Graph *graph;                    /* one of graph and program */
  const Program *program;
  const Kernel *kernel;
  Launch launch;
  unsigned stage;                        /* of a graph with totals: see ir/interpret.h */
  optc_rule *rule;
} InterpKernel;

/* A kernel has no way to fail; that it ran out of memory is counted in the rule, and the call reports it. */
static void interpret(optc_frame *frame) {
  const InterpKernel *k = frame->self;
  Arena *arena = arena_new(NULL, 0);
  if (!arena || setjmp(*arena_guard(arena))) atomic_fetch_add(&k->rule->starved, 1);
  else if (k->graph) graph_interpret_stage(k->graph, k->launch, k->stage, frame, arena);
  else kernel_interpret(k->program, k->kernel, frame, arena);
  if (arena) arena_free(arena);
}

const int64_t *interp_graph_use(const Graph *g) {
  int64_t *use = arena_array(g->arena, g->module->n_operands + 1, sizeof *use);
  for (unsigned i = 0; i < g->n_nodes; i++) {
    const Node *n = g->nodes[i];
    if (n->op == OP_READ || n->op == OP_SCALAR) use[n->imm] |= 1;
    if (n->op == OP_SIZE && operand_is_shaped(&g->module->operands[n->imm])) use[n->imm] |= 8;
  }
  const Graph *shapes = g->module->shapes;
  for (unsigned i = 0; shapes && i < shapes->n_nodes; i++)
    if (shapes->nodes[i]->op == OP_SIZE && operand_is_shaped(&g->module->operands[shapes->nodes[i]->imm])) use[shapes->nodes[i]->imm] |= 8;
  for (unsigned i = 0; i < g->n_writes; i++) use[g->writes[i].operand] |= 2 | (g->writes[i].when ? 4 : 0);
  return use;
}

/* Hyper-parameters that global writes depend on: groups must agree on them. */
static uint64_t shared_hypers(const Graph *g) {
  bool *reached = arena_array(g->arena, g->n_nodes + 1, sizeof *reached);
  for (unsigned i = 0; i < g->n_writes; i++)
    if (g->module->operands[g->writes[i].operand].scope == SCOPE_GLOBAL) {
      reached[g->writes[i].value->id] = true;
      if (g->writes[i].when) reached[g->writes[i].when->id] = true;
    }
  uint64_t set = 0;
  for (unsigned i = g->n_nodes; i-- > 0;) {                 /* operands come before users */
    const Node *node = g->nodes[i];
    if (!reached[i]) continue;
    if (node->op == OP_HYPER && node->imm < 64) set |= (uint64_t)1 << node->imm;
    for (unsigned a = 0; a < node->n_args && node->op != OP_TOTAL; a++) reached[node->args[a]->id] = true;
    for (unsigned r = 0; node->region && r < node->region->n_results; r++) reached[node->region->results[r]->id] = true;
  }
  return set;
}

static void add_kernel(Arena *arena, optc_entry_desc *entry, const char *name, InterpKernel kernel) {
  InterpKernel *self = arena_alloc(arena, sizeof *self);
  *self = kernel;
  optc_kernel_desc *desc = (optc_kernel_desc *)(uintptr_t)entry->kernels + entry->n_kernels++;
  *desc = (optc_kernel_desc){.name = name, .launch = kernel.launch, .self = self};
  for (int v = 0; v < OPTC_MAX_VARIANTS; v++) desc->fn[v] = interpret;
}

static void describe_graph(Arena *arena, optc_rule *rule, const Graph *from, optc_entry_desc *entry) {
  const Graph *g = expand_graph(from);
  const Module *m = g->module;
  unsigned n_stages, n_slots, sized = 0;
  graph_stages(g, arena, &n_stages);
  graph_slots(g, arena, &n_slots);
  for (unsigned k = 0; k < m->n_operands; k++) sized |= m->operands[k].shape && !operand_is_shaped(&m->operands[k]) ? m->operands[k].scope == SCOPE_GLOBAL ? 2 : 1 : 0;
  entry->kernels = arena_array(arena, 5 + 2 * (size_t)n_stages, sizeof *entry->kernels);
  InterpKernel kernel = {.graph = g, .rule = rule};
#define ADD(name, of_launch, of_stage) (kernel.launch = of_launch, kernel.stage = of_stage, add_kernel(arena, entry, name, kernel))
  if (sized & 1) ADD("sizes", LAUNCH_SIZES, 0);
  if (sized & 2) ADD("call_sizes", LAUNCH_CALL_SIZES, 0);
  ADD("check", LAUNCH_CHECK, 0);
  for (unsigned stage = 0; stage < n_stages; stage++) {
    ADD(arena_printf(arena, "stage_%u", stage), LAUNCH_ITEM, stage);
    ADD(arena_printf(arena, "total_%u", stage), LAUNCH_TOTAL, stage);
  }
  ADD("item", LAUNCH_ITEM, n_stages);
  ADD("finish", LAUNCH_FINISH, n_stages);
#undef ADD
  const char **texts = arena_array(arena, g->n_requires + 1, sizeof *texts);
  for (unsigned i = 0; i < g->n_requires; i++) {
    const Requirement *r = &g->requires[i];
    texts[i] = r->text;
    entry->item_checks |= r->cond->level >= LEVEL_ITEM;
    for (unsigned k = 0; k < r->n; k++) entry->item_checks |= r->value[k]->level >= LEVEL_ITEM;
  }
  entry->texts = texts;
  entry->n_texts = g->n_requires;
  entry->n_slots = n_slots;
  entry->reads = interp_graph_use(g);
  entry->equal_hypers = shared_hypers(g);
  entry->advances = g->advances;
}

static void describe_program(Arena *arena, optc_rule *rule, const Program *p, optc_entry_desc *entry) {
  entry->kernels = arena_array(arena, p->n_kernels + 1, sizeof *entry->kernels);
  for (unsigned i = 0; i < p->n_kernels; i++)
    add_kernel(arena, entry, p->kernels[i]->name, (InterpKernel){.program = p, .kernel = p->kernels[i], .launch = p->kernels[i]->launch, .rule = rule});
  entry->texts = p->texts;
  entry->n_texts = p->n_texts;
  int64_t *reads = arena_array(arena, p->module->n_operands + 1, sizeof *reads);
  backend_uses(p, reads);
  entry->reads = reads;
  int64_t *bytes = arena_array(arena, p->n_temps + 1, sizeof *bytes), *kind = arena_array(arena, p->n_temps + 1, sizeof *kind);
  for (unsigned i = 0; i < p->n_temps; i++) {
    bytes[i] = type_bytes(p->temps[i].type);
    kind[i] = p->temps[i].sized | p->temps[i].call << 1;
  }
  entry->temp_bytes = bytes;
  entry->temp_kind = kind;
  entry->n_slots = p->n_slots;
  entry->item_checks = backend_checks_items(p);
  entry->n_temps = p->n_temps;
  entry->n_uniforms = p->n_uniforms;
  entry->equal_hypers = p->equal_hypers;
  entry->advances = p->advances;
}

const optc_rule_desc *interp_describe(optc_rule *rule, const Module *m, Program *const *programs) {
  Arena *arena = m->arena;
  const Layout *layout = layout_of(m);
  optc_hyper_desc *hypers = arena_array(arena, m->n_hypers + 1, sizeof *hypers);
  for (unsigned i = 0; i < m->n_hypers; i++) {
    const Hyper *h = &m->hypers[i];
    hypers[i] = (optc_hyper_desc){.name = h->name, .external = h->external, .doc = h->doc, .type = h->type, .has_default = h->has_default, .value = h->value};
  }
  optc_operand_desc *operands = arena_array(arena, m->n_operands + 1, sizeof *operands);
  for (unsigned i = 0; i < m->n_operands; i++) {
    const Operand *o = &m->operands[i];
    operands[i] = (optc_operand_desc){.name = o->name, .external = o->external, .doc = o->doc, .type_name = type_name(o->storage), .role = o->role, .scope = o->scope,
      .type = o->storage, .bytes = type_bytes(o->storage), .optional = o->optional, .item_shape = o->item_shape, .offset = layout->operand[i], .entry = o->entry,
      .tensor = operand_is_tensor(o), .shaped = operand_is_shaped(o), .rank = o->shape ? o->shape->rank : 0,
      .shape = operand_shape_text(m, o, arena), .any_rank = o->any_rank, .has_default = o->has_default, .value = o->value};
  }
  optc_entry_desc *entries = arena_array(arena, m->n_graphs + 1, sizeof *entries);
  for (unsigned i = 0; i < m->n_graphs; i++) {
    entries[i].name = m->graphs[i]->name;
    if (programs) describe_program(arena, rule, programs[i], &entries[i]);
    else describe_graph(arena, rule, m->graphs[i], &entries[i]);
  }
  static const int64_t no_features[1] = {OPTC_ISA_BASE};
  optc_rule_desc *desc = arena_alloc(arena, sizeof *desc);
  *desc = (optc_rule_desc){.version = OPTC_DESC_VERSION, .name = m->name, .doc = m->doc, .hypers = hypers, .n_hypers = m->n_hypers, .operands = operands,
    .n_operands = m->n_operands, .entries = entries, .n_entries = m->n_graphs, .hyper_size = layout->hyper_size, .item_size = layout->item_size,
    .global_size = layout->global_size, .item_group = layout->item_group, .item_rank = layout->item_rank, .item_shape = layout->item_shape,
    .item_first = layout->item_first, .item_count = layout->item_count, .n_variants = 1, .variant_features = no_features};
  return desc;
}
