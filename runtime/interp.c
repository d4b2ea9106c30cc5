/* interp.c: descriptors over the two interpreters. */
#include "runtime/interp.h"
#include "ir/interpret.h"
#include "passes/pass.h"

typedef struct InterpKernel {
  const Graph *graph;                    /* one of graph and program */
  const Program *program;
  const Kernel *kernel;
  Launch launch;
  optc_rule *rule;
} InterpKernel;

/* A kernel has no way to fail; that it ran out of memory is counted in the rule, and the call reports it. */
static void interpret(optc_frame *frame) {
  const InterpKernel *k = frame->self;
  Arena *arena = arena_new(NULL, 0);
  if (!arena || setjmp(*arena_guard(arena))) atomic_fetch_add(&k->rule->starved, 1);
  else if (k->graph) graph_interpret(k->graph, k->launch, frame, arena);
  else kernel_interpret(k->program, k->kernel, frame, arena);
  if (arena) arena_free(arena);
}

const int64_t *interp_graph_use(const Graph *g) {
  int64_t *use = arena_array(g->arena, g->module->n_operands + 1, sizeof *use);
  for (unsigned i = 0; i < g->n_nodes; i++)
    if (g->nodes[i]->op == OP_READ || g->nodes[i]->op == OP_SCALAR) use[g->nodes[i]->imm] |= 1;
  for (unsigned i = 0; i < g->n_writes; i++) use[g->writes[i].operand] |= 2 | (g->writes[i].when ? 4 : 0);
  return use;
}

static void block_use(const Block *block, unsigned n_operands, bool conditional, int64_t *use) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    bool read = inst->op == KOP_E_LOAD || inst->op == KOP_E_SCALAR, write = inst->op == KOP_E_STORE || inst->op == KOP_E_SET_SCALAR;
    bool guarded = conditional || (inst->op == KOP_E_STORE && inst->n_args > 2);
    if ((read || write) && inst->imm < (int64_t)n_operands) use[inst->imm] |= (read ? 1 : 2) | (write && guarded ? 4 : 0);
    block_use(inst->body, n_operands, conditional || inst->op == KOP_E_IF, use);
    block_use(inst->otherwise, n_operands, true, use);
  }
}

const int64_t *interp_program_use(const Program *p) {
  int64_t *use = arena_array(p->arena, p->module->n_operands + 1, sizeof *use);
  for (unsigned i = 0; i < p->n_kernels; i++) block_use(p->kernels[i]->body, p->module->n_operands, false, use);
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
    for (unsigned a = 0; a < node->n_args; a++) reached[node->args[a]->id] = true;
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
  static const struct { Launch launch; const char *name; } launches[] = {{LAUNCH_CHECK, "check"}, {LAUNCH_ITEM, "item"}, {LAUNCH_FINISH, "finish"}};
  const Graph *g = expand_graph(from);
  entry->kernels = arena_array(arena, 3, sizeof *entry->kernels);
  for (int i = 0; i < 3; i++) add_kernel(arena, entry, launches[i].name, (InterpKernel){.graph = g, .launch = launches[i].launch, .rule = rule});
  const char **texts = arena_array(arena, g->n_requires + 1, sizeof *texts);
  for (unsigned i = 0; i < g->n_requires; i++) texts[i] = g->requires[i].text;
  entry->texts = texts;
  entry->n_texts = g->n_requires;
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
  entry->reads = interp_program_use(p);
  int64_t *bytes = arena_array(arena, p->n_temps + 1, sizeof *bytes), *kind = arena_array(arena, p->n_temps + 1, sizeof *kind);
  for (unsigned i = 0; i < p->n_temps; i++) {
    bytes[i] = type_bytes(p->temps[i].type);
    kind[i] = p->temps[i].sized | p->temps[i].call << 1;
  }
  entry->temp_bytes = bytes;
  entry->temp_kind = kind;
  entry->n_slots = p->n_slots;
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
      .tensor = operand_is_tensor(o), .shaped = operand_is_shaped(o), .rank = o->shape ? o->shape->rank : 0};
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
