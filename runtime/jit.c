/* jit.c: ORC LLJIT, one instance a rule.
 *
 * A rule outlives its context and is freed alone, so it owns its session; making one costs about 0.3 ms (see tests/bench). Objects are
 * handed over as bytes: the same whether they were just generated or come from the cache. */
#include "runtime/jit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <llvm-c/Core.h>
#include <llvm-c/Error.h>
#include <llvm-c/ExecutionEngine.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/OrcEE.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include "backends/backend.h"

struct Jit { LLVMOrcLLJITRef lljit; };

/* The session's own reporter writes to stderr; what matters comes back from lookup as well. */
static void quiet(void *self, LLVMErrorRef error) { LLVMConsumeError(error); }

/* Objects are announced through the interface that gdb listens to, so their functions have names and lines there. */
static LLVMOrcObjectLayerRef layer_with_debugger(void *self, LLVMOrcExecutionSessionRef session, const char *triple) {
  LLVMOrcObjectLayerRef layer = LLVMOrcCreateRTDyldObjectLinkingLayerWithSectionMemoryManager(session);
  LLVMJITEventListenerRef listener = LLVMCreateGDBRegistrationListener();
  if (listener) LLVMOrcRTDyldObjectLinkingLayerRegisterJITEventListener(layer, listener);
  return layer;
}

/* LLJIT would look this machine's features up again and set a code generator up for them; nothing is generated here, so a plain one does. */
static LLVMOrcLLJITBuilderRef plain_builder(void) {
  char *triple = LLVMGetDefaultTargetTriple(), *message = NULL;
  LLVMTargetRef target;
  LLVMOrcLLJITBuilderRef builder = NULL;
  if (!LLVMGetTargetFromTriple(triple, &target, &message)) {
    LLVMTargetMachineRef machine = LLVMCreateTargetMachine(target, triple, "", "", LLVMCodeGenLevelNone, LLVMRelocDefault, LLVMCodeModelJITDefault);
    if (machine) {
      builder = LLVMOrcCreateLLJITBuilder();
      LLVMOrcLLJITBuilderSetObjectLinkingLayerCreator(builder, layer_with_debugger, NULL);
      LLVMOrcLLJITBuilderSetJITTargetMachineBuilder(builder, LLVMOrcJITTargetMachineBuilderCreateFromTargetMachine(machine));
    }
  }
  LLVMDisposeMessage(message);
  LLVMDisposeMessage(triple);
  return builder;
}

static bool failed(LLVMErrorRef error, char *why, size_t why_size) {
  if (!error) return false;
  char *message = LLVMGetErrorMessage(error);
  snprintf(why, why_size, "%s", message);
  LLVMDisposeErrorMessage(message);
  return true;
}

Jit *jit_link(const void *object, size_t size, const char *symbol, const void **address, char *why, size_t why_size) {
  backend_start_host();
  Jit *jit = calloc(1, sizeof *jit);
  if (!jit) { snprintf(why, why_size, "out of memory"); return NULL; }
  if (failed(LLVMOrcCreateLLJIT(&jit->lljit, plain_builder()), why, why_size)) { free(jit); return NULL; }
  LLVMOrcExecutionSessionSetErrorReporter(LLVMOrcLLJITGetExecutionSession(jit->lljit), quiet, NULL);
  LLVMMemoryBufferRef buffer = LLVMCreateMemoryBufferWithMemoryRangeCopy(object, size, symbol);
  LLVMOrcExecutorAddress found = 0;
  if (failed(LLVMOrcLLJITAddObjectFile(jit->lljit, LLVMOrcLLJITGetMainJITDylib(jit->lljit), buffer), why, why_size) ||
      failed(LLVMOrcLLJITLookup(jit->lljit, &found, symbol), why, why_size)) {
    jit_free(jit);
    return NULL;
  }
  *address = (const void *)(uintptr_t)found;
  return jit;
}

void jit_free(Jit *jit) {
  if (!jit) return;
  LLVMErrorRef error = LLVMOrcDisposeLLJIT(jit->lljit);
  if (error) LLVMConsumeError(error);
  free(jit);
}

char *jit_host_features(void) {
  char *features = LLVMGetHostCPUFeatures();
  char *copy = features ? strdup(features) : NULL;
  LLVMDisposeMessage(features);
  return copy;
}
