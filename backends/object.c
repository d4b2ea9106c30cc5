/* object.c: from an LLVM module to bytes: target machine, errors of LLVM as values, object, assembly, IR, bitcode, PTX.
 *
 * LLVM's fatal errors end the process unless a handler jumps away, and the handler is one for the process: it is installed once and
 * jumps only on a thread that is inside object_write. What LLVM held then is lost, not freed. */
#include <llvm-c/Analysis.h>
#include <llvm-c/BitWriter.h>
#include <llvm-c/ErrorHandling.h>
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

static void start_process(void) { LLVMInstallFatalErrorHandler(on_fatal); }

#define STARTER(arch, X) static void start_##arch(void) { LLVMInitialize##X##TargetInfo(); LLVMInitialize##X##Target(); LLVMInitialize##X##TargetMC(); LLVMInitialize##X##AsmPrinter();
STARTER(x86_64, X86) LLVMInitializeX86AsmParser(); }
STARTER(aarch64, AArch64) LLVMInitializeAArch64AsmParser(); }
STARTER(nvptx, NVPTX) }

static void start_target(Arch arch) {
  static pthread_once_t process = PTHREAD_ONCE_INIT, once[] = {PTHREAD_ONCE_INIT, PTHREAD_ONCE_INIT, PTHREAD_ONCE_INIT};
  static void (*const start[])(void) = {start_x86_64, start_aarch64, start_nvptx};
  pthread_once(&process, start_process);
  pthread_once(&once[arch], start[arch]);
}

LLVMTargetMachineRef object_machine(Emitter *e) {
  const Machine *m = e->machine;
  start_target(m->arch);
  LLVMTargetRef target;
  char *message = NULL;
  if (LLVMGetTargetFromTriple(m->triple, &target, &message)) {
    diag_error(e->diag, nowhere, "%s", message);
    LLVMDisposeMessage(message);
    return NULL;
  }
  LLVMTargetMachineRef machine = LLVMCreateTargetMachine(target, m->triple, m->cpu, m->features,
    e->target->level ? LLVMCodeGenLevelDefault : LLVMCodeGenLevelNone, LLVMRelocPIC, LLVMCodeModelDefault);
  LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
  LLVMSetModuleDataLayout(e->llvm, layout);
  LLVMDisposeTargetData(layout);
  LLVMSetTarget(e->llvm, m->triple);
  return machine;
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

static void keep(Emitter *e, Output *out, const char *bytes, size_t size) {
  uint8_t *copy = arena_alloc(e->arena, size + 1);                     /* texts are also C strings */
  memcpy(copy, bytes, size);
  *out = (Output){copy, size};
}

static bool verified(Emitter *e) {
  char *message = NULL;
  bool bad = LLVMVerifyModule(e->llvm, LLVMReturnStatusAction, &message);
  if (bad) diag_error(e->diag, nowhere, "internal error: the module is not valid: %s", message);
  LLVMDisposeMessage(message);
  return !bad;
}

bool object_write(Emitter *e, LLVMTargetMachineRef machine, Emit emit, Output *out) {
  if (!verified(e)) return false;
  if (emit == EMIT_LLVM_IR) {
    char *text = LLVMPrintModuleToString(e->llvm);
    size_t size = strlen(text);
    if (size) keep(e, out, text, size);
    LLVMDisposeMessage(text);
    return true;
  }
  if (emit == EMIT_BITCODE) {
    LLVMMemoryBufferRef buffer = LLVMWriteBitcodeToMemoryBuffer(e->llvm);
    keep(e, out, LLVMGetBufferStart(buffer), LLVMGetBufferSize(buffer));
    LLVMDisposeMemoryBuffer(buffer);
    return true;
  }
  Reports reports = {0};
  LLVMContextSetDiagnosticHandler(e->context, on_report, &reports);
  jmp_buf exit;
  fatal_exit = &exit;
  LLVMMemoryBufferRef buffer = NULL;
  char *message = NULL;
  volatile bool good = false;
  if (setjmp(exit)) diag_error(e->diag, nowhere, "internal error: the code generator gave up: %s", fatal_text);
  else if (LLVMTargetMachineEmitToMemoryBuffer(machine, e->llvm, emit == EMIT_OBJECT ? LLVMObjectFile : LLVMAssemblyFile, &message, &buffer)) {
    diag_error(e->diag, nowhere, "internal error: the code generator failed: %s", message);
    LLVMDisposeMessage(message);
  } else if (reports.errors) {
    diag_error(e->diag, nowhere, "internal error: the code generator reports: %s", reports.text);
    LLVMDisposeMemoryBuffer(buffer);
  } else {
    good = true;
  }
  fatal_exit = NULL;
  if (!good) return false;
  keep(e, out, LLVMGetBufferStart(buffer), LLVMGetBufferSize(buffer));
  LLVMDisposeMemoryBuffer(buffer);
  return true;
}
