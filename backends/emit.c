/* emit.c: a rule's programs as one LLVM module, written in the form that is asked for. One context an emission. */
#include "backends/emit.h"
#include <string.h>

static const Range nowhere = {0};

static void open_types(Emitter *e) {
  LLVMContextRef c = e->context;
  e->none = LLVMVoidTypeInContext(c);
  e->i1 = LLVMInt1TypeInContext(c);
  e->i8 = LLVMInt8TypeInContext(c);
  e->i16 = LLVMInt16TypeInContext(c);
  e->i32 = LLVMInt32TypeInContext(c);
  e->i64 = LLVMInt64TypeInContext(c);
  e->f32 = LLVMFloatTypeInContext(c);
  e->f64 = LLVMDoubleTypeInContext(c);
  e->pointer = LLVMPointerTypeInContext(c, 0);
  e->type[TYPE_BOOL] = e->i1;
  e->type[TYPE_I8] = e->type[TYPE_U8] = e->i8;
  e->type[TYPE_I32] = e->i32;
  e->type[TYPE_I64] = e->i64;
  e->type[TYPE_BF16] = e->type[TYPE_F16] = e->i16;
  e->type[TYPE_F32] = e->f32;
  e->type[TYPE_F64] = e->f64;
}

static void only_word_characters(char *name) {
  for (char *s = name; *s; s++)
    if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9'))) *s = '_';
}

static bool is_among(const char *name, const char *const *names, size_t n) {
  for (size_t i = 0; i < n; i++) if (!strcmp(name, names[i])) return true;
  return false;
}

/* <rule>_<entry>_<kernel>, letters, digits and underscores only; a number where two would be equal. */
const char *const *backend_kernel_names(Arena *arena, const Module *m, Program *const *programs, unsigned n_programs) {
  size_t total = 0, n = 0;
  for (unsigned i = 0; i < n_programs; i++) total += programs[i]->n_kernels;
  const char **names = arena_array(arena, total + 1, sizeof *names);
  for (unsigned i = 0; i < n_programs; i++)
    for (unsigned k = 0; k < programs[i]->n_kernels; k++, n++) {
      char *name = arena_printf(arena, "%s_%s_%s", m->name, programs[i]->entry, programs[i]->kernels[k]->name);
      only_word_characters(name);
      names[n] = name;
      for (unsigned other = 2; is_among(names[n], names, n); other++) names[n] = arena_printf(arena, "%s_%u", name, other);
    }
  return names;
}

/* In an object the cpu's name follows: one a variant. */
static const char *function_name(Emitter *e, const char *kernel, const Machine *m) {
  if (m->arch == ARCH_NVPTX) return kernel;
  char *name = arena_printf(e->arena, "%s_%s", kernel, m->label);
  only_word_characters(name);
  return name;
}

bool backend_check_programs(Program *const *programs, unsigned n, Diag *diag) {
  bool good = true;
  for (unsigned i = 0; i < n; i++) {
    const Program *p = programs[i];
    unsigned operands = p->module->n_operands, tensors = operands + p->n_temps;
    bool named = !interface_has_name(p->entry), few = operands <= OPTC_MAX_OPERANDS && p->n_slots <= OPTC_MAX_SLOTS;
    bool fits = p->n_uniforms <= OPTC_MAX_UNIFORMS && tensors <= OPTC_MAX_BUFFERS;
    if (!named) diag_error(diag, nowhere, "an entry cannot be called '%s': the C interface has that name", p->entry);
    if (!few) diag_error(diag, nowhere, "entry '%s' has %u operands and combines %u values over the items; the limits are %d and %d", p->entry, operands, p->n_slots,
                         OPTC_MAX_OPERANDS, OPTC_MAX_SLOTS);
    if (!fits) diag_error(diag, nowhere, "entry '%s' needs %u scalar slots and %u tensors; the limits are %d and %d", p->entry, p->n_uniforms, tensors,
                          OPTC_MAX_UNIFORMS, OPTC_MAX_BUFFERS);
    good = good && named && few && fits;
  }
  return good;
}

/* Both are in memory, elements of one type, or on the stack with as many. */
static bool same_buffer(const Program *p, unsigned x, const Program *q, unsigned y) {
  unsigned operands = p->module->n_operands;
  if (program_buffer_type(p, x) != program_buffer_type(q, y) || (x < operands) != (y < operands)) return false;
  return x < operands || (p->temps[x - operands].local == q->temps[y - operands].local && p->temps[x - operands].rows == q->temps[y - operands].rows);
}

/* Equal kernels of one rule are one function: entries repeat each other's requirements. Ids are dense, so arguments compare by id. */
static bool same_block(const Program *p, const Block *x, const Program *q, const Block *y) {
  if (!x || !y || x->n != y->n) return x == y;
  for (unsigned i = 0; i < x->n; i++) {
    const Inst *a = x->insts[i], *b = y->insts[i];
    if (!inst_same(a, b)) return false;
    for (unsigned k = 0; k < a->n_args; k++) if (a->args[k]->id != b->args[k]->id) return false;
    Touch mine[MAX_TOUCHES], other[MAX_TOUCHES];
    unsigned touches = inst_touches(a, mine);
    inst_touches(b, other);
    for (unsigned k = 0; k < touches; k++) if (!same_buffer(p, mine[k].buffer, q, other[k].buffer)) return false;
    if (!same_block(p, a->body, q, b->body) || !same_block(p, a->otherwise, q, b->otherwise)) return false;
  }
  return true;
}

/* Scalar work gains nothing from an instruction set; the shape of tiles is each machine's own. */
static bool has_variants(const Block *block) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    bool tile = kop_is_tile(inst->op) || inst->op == KOP_E_TILE_ROWS || inst->op == KOP_E_TILE_COLUMNS;
    if (tile || (inst->op == KOP_E_FOR && inst->binding == BIND_VECTOR) || has_variants(inst->body) || has_variants(inst->otherwise)) return true;
  }
  return false;
}

typedef struct Made {
  const Program *program;
  const Kernel *kernel;
  const char *name;
  LLVMValueRef *fns, *bodies;            /* by variant; bodies: of the function that kernels like it share */
  const Outline *outline;                /* NULL: it is emitted as it stands */
  size_t alike;                          /* the first one that has its function: itself, mostly */
  bool shared;                           /* another one has its function */
} Made;
typedef struct Emitted { Made *made; size_t n, capacity; } Emitted;

static LLVMValueRef *fns_of_equal(const Emitted *all, const Program *p, const Kernel *kernel) {
  for (size_t k = 0; k < all->n; k++) if (same_block(all->made[k].program, all->made[k].kernel->body, p, kernel->body)) return all->made[k].fns;
  return NULL;
}

/* from: the first one that is not emitted yet. */
static void add_made(Emitter *e, Emitted *all, size_t from, Made m, unsigned n_variants) {
  m.alike = all->n;
  if (e->machine->arch != ARCH_NVPTX && m.kernel->launch == LAUNCH_TILE) {
    m.outline = outline_kernel(e->arena, m.program, m.kernel);
    m.bodies = arena_array(e->arena, n_variants, sizeof *m.bodies);
    for (m.alike = from; m.alike < all->n && !(all->made[m.alike].outline && outline_same(all->made[m.alike].outline, m.outline));) m.alike++;
    if (m.alike < all->n) all->made[m.alike].shared = true;
  }
  all->made[all->n++] = m;
}

static LLVMValueRef emit_made(Emitter *e, const Emitted *all, const Made *m, unsigned v) {
  const Made *first = &all->made[m->alike];
  const Machine *machine = &e->machine[v];
  const char *name = function_name(e, m->name, machine);
  if (!first->shared) return emit_kernel(e, m->program, m->kernel, machine, name);
  LLVMValueRef *body = &first->bodies[v];
  if (!*body) *body = emit_outline(e, first->outline, machine, arena_printf(e->arena, "%s_for_all", name));
  return *body ? emit_call_of(e, m->outline, *body, machine, name) : NULL;
}

/* The kernels of programs, n_variants functions each, in order. `asked`: of a rule's PTX, the kernels that the host runs; of others only those have functions that there are already. */
static LLVMValueRef *emit_kernels(Emitter *e, Emitted *all, Program *const *programs, unsigned n, unsigned n_variants, const optc_gpu_desc *asked) {
  bool gpu = e->machine->arch == ARCH_NVPTX;
  size_t total = 0, at = 0, from = all->n;
  for (unsigned i = 0; i < n; i++) total += programs[i]->n_kernels;
  LLVMValueRef *fns = arena_array(e->arena, total*n_variants + 1, sizeof *fns), **equal = arena_array(e->arena, total + 1, sizeof *equal);
  const char *const *names = backend_kernel_names(e->arena, e->module, programs, n);
  all->made = arena_grow(e->arena, all->made, &all->capacity, all->n + total + 1, sizeof *all->made);
  for (unsigned i = 0; i < n; i++)
    for (unsigned k = 0; k < programs[i]->n_kernels; k++, at++) {
      const Kernel *kernel = programs[i]->kernels[k];
      equal[at] = gpu ? NULL : fns_of_equal(all, programs[i], kernel);
      if (equal[at] || (asked && !(asked->entries[i].kernels[k].does & GPU_ON_HOST))) continue;
      const char *name = asked ? arena_printf(e->arena, "%s_gpu", names[at]) : names[at];
      add_made(e, all, from, (Made){.program = programs[i], .kernel = kernel, .name = name, .fns = fns + at*n_variants}, n_variants);
    }
  for (size_t m = from; m < all->n; m++) {
    const Made *made = &all->made[m];
    unsigned differ = has_variants(made->kernel->body) ? n_variants : 1;
    for (unsigned v = 0; v < n_variants; v++) made->fns[v] = v < differ ? emit_made(e, all, made, v) : made->fns[0];
    if (e->failed) return NULL;
  }
  for (at = 0; at < total; at++) if (equal[at]) memcpy(fns + at*n_variants, equal[at], n_variants*sizeof *fns);
  return fns;
}

static bool emit_module(Emitter *e, Program *const *programs, unsigned n, unsigned n_variants) {
  Emitted all = {0};
  const Target *t = e->target;
  Described of = {programs, emit_kernels(e, &all, programs, n, n_variants, NULL)}, on_gpu = {t->gpu_programs, NULL};
  if (e->failed || e->machine->arch == ARCH_NVPTX) return !e->failed;
  if (t->gpu && t->gpu_programs) on_gpu.fns = emit_kernels(e, &all, t->gpu_programs, n, n_variants, t->gpu);
  if (e->failed) return false;
  emit_descriptor(e, n, &of, on_gpu.fns ? &on_gpu : &of);
  if (t->with_driver) emit_interface(e, programs, n);
  return !e->failed;
}

static bool emit_in_context(Emitter *e, Program *const *programs, unsigned n, unsigned n_variants, Emit emit, Output *out) {
  LLVMContextSetDiscardValueNames(e->context, 1);
  e->llvm = LLVMModuleCreateWithNameInContext(e->module->name, e->context);
  e->b = LLVMCreateBuilderInContext(e->context);
  e->entry = LLVMCreateBuilderInContext(e->context);
  open_types(e);
  return object_open(e) && emit_module(e, programs, n, n_variants) && object_write(e, emit, out);
}

bool backend_emit(Arena *arena, Diag *diag, const Module *module, Program *const *programs, unsigned n, const Target *target, Emit emit, Output *out) {
  unsigned n_variants = 0;
  Target made = *target;
  if (emit == EMIT_PTX && !made.triple) made.triple = "nvptx64-nvidia-cuda";
  const Machine *machines = target_machines(arena, &made, diag, &n_variants);
  if (!machines) return false;
  if ((machines->arch == ARCH_NVPTX) != (emit == EMIT_PTX)) {
    diag_error(diag, nowhere, emit == EMIT_PTX ? "PTX needs a GPU target" : "a GPU target gives PTX only");
    return false;
  }
  Emitter *volatile e = arena_alloc(arena, sizeof *e);                 /* read after a jump */
  *e = (Emitter){.arena = arena, .diag = diag, .module = module, .layout = layout_of(module), .target = &made, .machine = machines};
  made.n_cpus = n_variants;
  if (!backend_check_programs(programs, n, diag)) return false;
  /* LLVM's memory is not the arena's: when that runs out, free the context before the owner of the arena hears of it. */
  jmp_buf owner;
  memcpy(owner, *arena_guard(arena), sizeof owner);
  e->context = LLVMContextCreate();
  volatile bool good = false, memory_out = false;
  if (!setjmp(*arena_guard(arena))) good = emit_in_context(e, programs, n, n_variants, emit, out);
  else memory_out = true;
  memcpy(*arena_guard(arena), owner, sizeof owner);
  if (e->printed) LLVMDisposeMessage(e->printed);
  if (e->written) LLVMDisposeMemoryBuffer(e->written);
  if (e->code_generator) LLVMDisposeTargetMachine(e->code_generator);
  if (e->b) LLVMDisposeBuilder(e->b);
  if (e->entry) LLVMDisposeBuilder(e->entry);
  if (e->llvm) LLVMDisposeModule(e->llvm);
  LLVMContextDispose(e->context);
  if (memory_out) longjmp(*arena_guard(arena), 1);
  return good;
}
