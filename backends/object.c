/* object.c: from an LLVM module to bytes: target machine, errors of LLVM as values, object, assembly, IR, bitcode, PTX.
 *
 * LLVM's fatal errors end the process unless a handler jumps away, and the handler is one for the process: it is installed once and
 * jumps only on a thread that is inside object_write. What LLVM held then is lost, not freed. */
#include <llvm-c/Analysis.h>
#include <llvm-c/BitWriter.h>
#include <llvm-c/ErrorHandling.h>
#include <llvm-c/Support.h>
#include <llvm-c/Target.h>
#include <pthread.h>
#include <setjmp.h>
#include <string.h>
#include "backends/emit.h"

static const Range nowhere = {0};

static _Thread_local jmp_buf *fatal_exit;
static _Thread_local char fatal_text[256];

static void on_fatal(const char *reason) {
  if (!fatal_exit) return;
  strncpy(fatal_text, reason, sizeof fatal_text - 1);
  longjmp(*fatal_exit, 1);
}

/* The addresses of our loops are as simple as the machine's already: rewriting their induction variables would take an eighth of all time, and
 * LLVM has that switch for the process only. */
static void start_process(void) {
  static const char *const options[] = {"optc", "-disable-lsr"};
  LLVMInstallFatalErrorHandler(on_fatal);
  LLVMParseCommandLineOptions(sizeof options/sizeof *options, options, "");
}

#define STARTER(arch, X) static void start_##arch(void) { LLVMInitialize##X##TargetInfo(); LLVMInitialize##X##Target(); LLVMInitialize##X##TargetMC(); LLVMInitialize##X##AsmPrinter();
STARTER(x86_64, X86) LLVMInitializeX86AsmParser(); }
STARTER(aarch64, AArch64) LLVMInitializeAArch64AsmParser(); }
STARTER(nvptx, NVPTX) }

/* LLVM's list of targets is one for the process and has no lock of its own. */
static void start_target(Arch arch) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  static bool process, started[3];
  static void (*const start[])(void) = {start_x86_64, start_aarch64, start_nvptx};
  pthread_mutex_lock(&lock);
  if (!process) start_process();
  if (!started[arch]) start[arch]();
  process = started[arch] = true;
  pthread_mutex_unlock(&lock);
}

void backend_start_host(void) {
#if defined(__aarch64__)
  start_target(ARCH_AARCH64);
#else
  start_target(ARCH_X86_64);
#endif
}

/* Reports LLVM's message, which is freed before the arena is asked for memory. */
static void report(Emitter *e, const char *what, char *message) {
  char text[512] = "";
  if (message) strncpy(text, message, sizeof text - 1);
  if (message) LLVMDisposeMessage(message);
  diag_error(e->diag, nowhere, "internal error: %s: %s", what, text);
}

bool object_open(Emitter *e) {
  const Machine *m = e->machine;
  start_target(m->arch);
  LLVMTargetRef target;
  char *message = NULL;
  if (LLVMGetTargetFromTriple(m->triple, &target, &message)) {
    report(e, "the code generator is missing", message);
    return false;
  }
  e->code_generator = LLVMCreateTargetMachine(target, m->triple, m->cpu, m->features,
    e->target->level ? LLVMCodeGenLevelDefault : LLVMCodeGenLevelNone, LLVMRelocPIC, LLVMCodeModelDefault);
  LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(e->code_generator);
  LLVMSetModuleDataLayout(e->llvm, layout);
  LLVMDisposeTargetData(layout);
  LLVMSetTarget(e->llvm, m->triple);
  return true;
}

/* Errors that LLVM reports while it writes; emission "succeeds" all the same. */
typedef struct Reports { unsigned errors; char text[256]; } Reports;

static void on_report(LLVMDiagnosticInfoRef info, void *context) {
  Reports *r = context;
  if (LLVMGetDiagInfoSeverity(info) != LLVMDSError) return;
  if (!r->errors++) {
    char *text = LLVMGetDiagInfoDescription(info);
    strncpy(r->text, text, sizeof r->text - 1);
    LLVMDisposeMessage(text);
  }
}

static bool keep(Emitter *e, Output *out, const char *bytes, size_t size) {
  uint8_t *copy = arena_alloc(e->arena, size + 1);                     /* texts are also C strings */
  memcpy(copy, bytes, size);
  *out = (Output){copy, size};
  return true;
}

static bool keep_written(Emitter *e, Output *out) { return keep(e, out, LLVMGetBufferStart(e->written), LLVMGetBufferSize(e->written)); }

/* Texts are for readers: they begin with the rule's own code. What is the same in every rule stands last; what assembles or compiles the text reads it all. */
static bool keep_text(Emitter *e, Output *out, const char *text, size_t size, void (*add)(Text *, const Text *)) {
  Text all = {.arena = e->arena};
  text_append(&all, text, size);
  if (e->interface.length) add(&all, &e->interface);
  return keep(e, out, all.data, all.length);
}

static void add_assembly(Text *out, const Text *interface) {
  text_add(out, "\n/* The C interface, and the driver behind it as machine code: the same for every rule. */\n");
  text_append(out, interface->data, interface->length);
}

/* A line of it is a string of LLVM's: other than printable characters are \XX. */
static void add_module_assembly(Text *out, const Text *interface) {
  text_add(out, "\n; The C interface, and the driver behind it as machine code: the same for every rule.\n");
  for (const char *s = interface->data, *end = s + interface->length; s < end; s++) {
    text_add(out, "module asm \"");
    for (; s < end && *s != '\n'; s++) text_add(out, *s < ' ' || *s == '"' || *s == '\\' ? "\\%02X" : "%c", (unsigned char)*s);
    text_add(out, "\"\n");
  }
}

static bool generate(Emitter *e, Emit emit, Output *out) {
  Reports reports = {0};
  LLVMContextSetDiagnosticHandler(e->context, on_report, &reports);
  jmp_buf exit;
  LLVMMemoryBufferRef written = NULL;
  char *message = NULL;
  volatile bool gave_up = false;
  bool failed = false;
  fatal_exit = &exit;
  if (setjmp(exit)) gave_up = true;
  else failed = LLVMTargetMachineEmitToMemoryBuffer(e->code_generator, e->llvm, emit == EMIT_OBJECT ? LLVMObjectFile : LLVMAssemblyFile, &message, &written);
  fatal_exit = NULL;
  if (gave_up) {
    e->code_generator = NULL;                                          /* in pieces: better lost than touched again */
    diag_error(e->diag, nowhere, "internal error: the code generator gave up: %s", fatal_text);
    return false;
  }
  if (failed) {
    report(e, "the code generator failed", message);
    return false;
  }
  e->written = written;
  if (reports.errors) {
    diag_error(e->diag, nowhere, "internal error: the code generator reports: %s", reports.text);
    return false;
  }
  if (emit == EMIT_OBJECT) return keep_written(e, out);
  return keep_text(e, out, LLVMGetBufferStart(written), LLVMGetBufferSize(written), add_assembly);
}

bool object_write(Emitter *e, Emit emit, Output *out) {
  char *message = NULL;
  if (!e->target->unchecked && LLVMVerifyModule(e->llvm, LLVMReturnStatusAction, &message)) {
    report(e, "the module is not valid", message);
    return false;
  }
  LLVMDisposeMessage(message);
  if (e->interface.length && (emit == EMIT_OBJECT || emit == EMIT_BITCODE)) LLVMSetModuleInlineAsm2(e->llvm, e->interface.data, e->interface.length);
  switch (emit) {
    case EMIT_LLVM_IR:
      e->printed = LLVMPrintModuleToString(e->llvm);
      return keep_text(e, out, e->printed, strlen(e->printed), add_module_assembly);
    case EMIT_BITCODE:
      e->written = LLVMWriteBitcodeToMemoryBuffer(e->llvm);
      return keep_written(e, out);
    default: return generate(e, emit, out);
  }
}
