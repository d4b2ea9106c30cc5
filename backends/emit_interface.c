/* emit_interface.c: the functions of the C interface: each puts the table and the dispatch word before its arguments and jumps into the driver.
 *
 * They are assembly text, like the driver's machine code: a handful of instructions that the code generator would need a millisecond for. */
#include <string.h>
#include "backends/emit.h"
#include "ir/describe.h"

extern const char backend_driver_x86_64[], backend_driver_aarch64[];             /* embed.S */

/* The driver's machine code, and bodies that jump into it: $T is the rule's table, $C its dispatch word, $N the entry's number. */
typedef struct Bodies { const char *driver, *drive, *workspace, *check, *layout, *phase, *partials; } Bodies;
static const Bodies bodies[] = {
  [ARCH_X86_64] = {
    .driver = backend_driver_x86_64,
    .drive = "movq %rdi, %rdx\n leaq $T(%rip), %rdi\n movl $$$N, %esi\n leaq $C(%rip), %rcx\n jmp optc_drive\n",
    .workspace = "movq %rdi, %rsi\n leaq $T(%rip), %rdi\n jmp optc_drive_workspace\n",
    .check = "movq %rdi, %rsi\n leaq $T(%rip), %rdi\n jmp optc_drive_check\n",
    .layout = "movq %rdx, %rcx\n movq %rsi, %rdx\n movq %rdi, %rsi\n leaq $T(%rip), %rdi\n leaq $C(%rip), %r8\n jmp optc_drive_layout\n",
    .phase = "movslq %edi, %rdx\n movq %rsi, %rcx\n leaq $T(%rip), %rdi\n movl $$$N, %esi\n leaq $C(%rip), %r8\n jmp optc_drive_phase\n",
    .partials = "movq %rdx, %r8\n movslq %edi, %rdx\n movq %rsi, %rcx\n leaq $T(%rip), %rdi\n movl $$$N, %esi\n jmp optc_drive_partials\n"},
  [ARCH_AARCH64] = {
    .driver = backend_driver_aarch64,
    .drive = "mov x2, x0\n adrp x0, $T\n add x0, x0, :lo12:$T\n mov x1, #$N\n adrp x3, $C\n add x3, x3, :lo12:$C\n b optc_drive\n",
    .workspace = "mov x1, x0\n adrp x0, $T\n add x0, x0, :lo12:$T\n b optc_drive_workspace\n",
    .check = "mov x1, x0\n adrp x0, $T\n add x0, x0, :lo12:$T\n b optc_drive_check\n",
    .layout = "mov x3, x2\n mov x2, x1\n mov x1, x0\n adrp x0, $T\n add x0, x0, :lo12:$T\n adrp x4, $C\n add x4, x4, :lo12:$C\n b optc_drive_layout\n",
    .phase = "mov x3, x1\n sxtw x2, w0\n mov x1, #$N\n adrp x0, $T\n add x0, x0, :lo12:$T\n adrp x4, $C\n add x4, x4, :lo12:$C\n b optc_drive_phase\n",
    .partials = "mov x4, x2\n mov x3, x1\n sxtw x2, w0\n mov x1, #$N\n adrp x0, $T\n add x0, x0, :lo12:$T\n b optc_drive_partials\n"},
};

static void add_function(Text *out, const char *rule, const char *name, const char *body, unsigned entry) {
  text_add(out, " .globl %s_%s\n .p2align 4\n .type %s_%s,%%function\n%s_%s:\n ", rule, name, rule, name, rule, name);
  for (const char *s = body; *s; s++) {
    if (*s != '$') { text_append(out, s, 1); continue; }
    switch (*++s) {
      case 'T': text_add(out, "%s_table", rule); break;
      case 'C': text_add(out, "%s_chosen", rule); break;
      case 'N': text_add(out, "%u", entry); break;
      default: text_append(out, "$", 1); break;
    }
  }
  text_add(out, " .size %s_%s, .-%s_%s\n", rule, name, rule, name);
}

static void add_constant(Emitter *e, const char *name, LLVMTypeRef type, int64_t value) {
  LLVMValueRef g = LLVMAddGlobal(e->llvm, type, name);
  LLVMSetInitializer(g, LLVMConstInt(type, (uint64_t)value, 0));
  LLVMSetGlobalConstant(g, 1);
}

void emit_interface(Emitter *e, Program *const *programs, unsigned n) {
  const char *rule = e->module->name;
  const Bodies *b = &bodies[e->machine->arch];
  Text out = {.arena = e->arena};
  text_add(&out, " .local %s_chosen\n .comm %s_chosen,4,4\n .text\n", rule, rule);
  unsigned main_entry = 0;
  for (unsigned i = 0; i < n; i++) {
    const char *name = programs[i]->entry;
    if (!strcmp(name, "layout")) continue;
    if (!strcmp(name, "step") || !strcmp(name, "forward")) main_entry = i;
    add_function(&out, rule, name, b->drive, i);
  }
  add_function(&out, rule, "workspace_size", b->workspace, 0);
  add_function(&out, rule, "check", b->check, 0);
  add_function(&out, rule, "layout", b->layout, 0);
  add_function(&out, rule, "phase", b->phase, main_entry);
  add_function(&out, rule, "partials", b->partials, main_entry);
  text_append(&out, b->driver, strlen(b->driver));
  e->interface = out;
  add_constant(e, arena_printf(e->arena, "%s_phases", rule), e->i32, describe_phases(programs[main_entry], e->arena));
  add_constant(e, arena_printf(e->arena, "%s_abi_%016llx", rule, (unsigned long long)backend_abi_hash(e->module)), e->i8, 1);
}
