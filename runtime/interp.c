/* interp.c: descriptors over the two interpreters. */
#include "runtime/interp.h"
#include "ir/describe.h"
#include "ir/graph_analysis.h"
#include "ir/interpret.h"
#include "passes/pass.h"

_Static_assert((int)OPTC_ROLE_STATE == ROLE_STATE && (int)OPTC_ROLE_OUT == ROLE_OUT && (int)OPTC_SCOPE_CALL == SCOPE_GLOBAL &&
               (int)OPTC_USE_READ == USE_READ && (int)OPTC_USE_WRITTEN == USE_WRITTEN && (int)OPTC_USE_CONDITIONAL == USE_PREDICATE && (int)OPTC_USE_SIZES == USE_SIZES, "descriptors hold the public numbers");

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

/* As optc_entry_desc.uses says it. */
static const int64_t *graph_uses(const Graph *g) {
  int64_t *use = arena_array(g->arena, g->module->n_operands + 1, sizeof *use);
  for (unsigned i = 0; i < g->n_nodes; i++) {
    const Node *n = g->nodes[i];
    if (n->op == OP_READ || n->op == OP_SCALAR) use[n->imm] |= USE_READ;
    if (n->op == OP_SIZE && operand_is_shaped(&g->module->operands[n->imm])) use[n->imm] |= USE_SIZES;
  }
  const Graph *shapes = g->module->shapes;
  for (unsigned i = 0; shapes && i < shapes->n_nodes; i++)
    if (shapes->nodes[i]->op == OP_SIZE && operand_is_shaped(&g->module->operands[shapes->nodes[i]->imm])) use[shapes->nodes[i]->imm] |= USE_SIZES;
  for (unsigned i = 0; i < g->n_writes; i++) use[g->writes[i].operand] |= USE_WRITTEN | (g->writes[i].when ? USE_PREDICATE : 0);
  return use;
}

/* Whether every element depends on its own position alone. */
static bool is_elementwise(const Graph *g, Arena *arena) {
  const bool *live = graph_reachable(g, arena);
  for (unsigned i = 0; i < g->n_nodes; i++) {
    const Node *n = g->nodes[i];
    if (!live[i] || op_is_element(n->op) || op_is_function(n->op)) continue;
    switch ((int)n->op) {
      case OP_MAP: case OP_REDUCE: case OP_TOTAL: case OP_CONTRACT: case OP_ATTEND: case OP_SOFTMAX: case OP_CUMULATE: case OP_ORDER: case OP_EIGVEC: case OP_QR: case OP_SCATTER: return false;
      case OP_READ: if (n->n_args != (unsigned)(n->aux == 1)) return false; break;
      default: break;
    }
  }
  return true;
}

static void attach(Arena *arena, optc_kernel_desc *desc, InterpKernel kernel) {
  InterpKernel *self = arena_alloc(arena, sizeof *self);
  *self = kernel;
  desc->self = self;
  for (int v = 0; v < OPTC_MAX_VARIANTS; v++) desc->fn[v] = interpret;
}

static void interpret_graph(Arena *arena, optc_rule *rule, const Graph *from, optc_entry_desc *entry) {
  const Graph *g = expand_graph(from);
  const Module *m = g->module;
  unsigned n_stages, n_slots, sized = 0;
  graph_stages(g, arena, &n_stages);
  graph_slots(g, arena, &n_slots);
  for (unsigned k = 0; k < m->n_operands; k++) sized |= m->operands[k].shape && !operand_is_shaped(&m->operands[k]) ? m->operands[k].scope == SCOPE_GLOBAL ? 2 : 1 : 0;
  optc_kernel_desc *kernels = arena_array(arena, 5 + 2 * (size_t)n_stages, sizeof *kernels);
  unsigned n_kernels = 0;
#define ADD(called, of_launch, of_stage) (kernels[n_kernels] = (optc_kernel_desc){.name = called, .launch = of_launch}, \
                                          attach(arena, &kernels[n_kernels++], (InterpKernel){.graph = g, .launch = of_launch, .stage = of_stage, .rule = rule}))
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
  bool item_checks = false;
  const char **texts = arena_array(arena, g->n_requires + 1, sizeof *texts);
  int64_t *about = arena_array(arena, g->n_requires + 1, sizeof *about);
  for (unsigned i = 0; i < g->n_requires; i++) {
    const Requirement *r = &g->requires[i];
    texts[i] = requirement_text(r, arena);
    about[i] = r->about;
    item_checks |= r->cond->level >= LEVEL_ITEM;
    for (unsigned k = 0; k < r->n; k++) item_checks |= r->value[k]->level >= LEVEL_ITEM;
  }
  *entry = (optc_entry_desc){.name = from->name, .kernels = kernels, .n_kernels = n_kernels, .texts = texts, .about = about, .n_texts = g->n_requires, .uses = graph_uses(g),
    .equal_hypers = graph_shared_hypers(g, arena), .advances = g->advances, .n_slots = n_slots, .n_phases = 1, .flat = is_elementwise(g, arena), .item_checks = item_checks};
}

static void interpret_program(Arena *arena, optc_rule *rule, const Program *p, optc_entry_desc *entry) {
  optc_kernel_desc *kernels = describe_program(p, entry, arena);
  for (unsigned i = 0; i < p->n_kernels; i++)
    attach(arena, &kernels[i], (InterpKernel){.program = p, .kernel = p->kernels[i], .launch = p->kernels[i]->launch, .rule = rule});
}

const optc_rule_desc *interp_describe(optc_rule *rule, const Module *m, Program *const *programs) {
  static const int64_t no_features[1] = {OPTC_ISA_BASE};
  optc_entry_desc *entries = arena_array(m->arena, (size_t)m->n_graphs + 1, sizeof *entries);
  for (unsigned i = 0; i < m->n_graphs; i++) {
    if (programs) interpret_program(m->arena, rule, programs[i], &entries[i]);
    else interpret_graph(m->arena, rule, m->graphs[i], &entries[i]);
  }
  optc_rule_desc *desc = describe_rule(m, entries, m->n_graphs, m->arena);
  desc->n_variants = 1;
  desc->variant_features = no_features;
  return desc;
}
