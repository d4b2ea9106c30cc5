/* target.c: the machines that can be compiled for: triples, cpus and features, each checked here because LLVM only prints about unknown ones. */
#include "backends/target.h"
#include "ir/suggest.h"
#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>
#include <pthread.h>
#include <string.h>

typedef struct Cpu { const char *name; Arch arch; int isa; } Cpu;       /* isa: OPTC_ISA_*; of a GPU the PTX version it came with, the lowest that its instructions need: 70 is 7.0 */

enum { V2 = OPTC_ISA_X86_64_V2, V3 = OPTC_ISA_X86_64_V3, V4 = OPTC_ISA_X86_64_V4 };

static const Cpu cpus[] = {
  {"x86-64-v2", ARCH_X86_64, V2}, {"x86-64-v3", ARCH_X86_64, V3}, {"x86-64-v4", ARCH_X86_64, V4},
  {"nehalem", ARCH_X86_64, V2}, {"westmere", ARCH_X86_64, V2}, {"sandybridge", ARCH_X86_64, V2}, {"ivybridge", ARCH_X86_64, V2}, {"silvermont", ARCH_X86_64, V2},
  {"haswell", ARCH_X86_64, V3}, {"broadwell", ARCH_X86_64, V3}, {"skylake", ARCH_X86_64, V3}, {"alderlake", ARCH_X86_64, V3}, {"sierraforest", ARCH_X86_64, V3},
  {"znver1", ARCH_X86_64, V3}, {"znver2", ARCH_X86_64, V3}, {"znver3", ARCH_X86_64, V3},
  {"skylake-avx512", ARCH_X86_64, V4}, {"cascadelake", ARCH_X86_64, V4}, {"cooperlake", ARCH_X86_64, V4}, {"icelake-client", ARCH_X86_64, V4},
  {"icelake-server", ARCH_X86_64, V4}, {"tigerlake", ARCH_X86_64, V4}, {"rocketlake", ARCH_X86_64, V4}, {"sapphirerapids", ARCH_X86_64, V4},
  {"emeraldrapids", ARCH_X86_64, V4}, {"graniterapids", ARCH_X86_64, V4}, {"znver4", ARCH_X86_64, V4}, {"znver5", ARCH_X86_64, V4},
  {"generic", ARCH_AARCH64, 0}, {"cortex-a53", ARCH_AARCH64, 0}, {"cortex-a57", ARCH_AARCH64, 0}, {"cortex-a72", ARCH_AARCH64, 0},
  {"cortex-a76", ARCH_AARCH64, 0}, {"cortex-a78", ARCH_AARCH64, 0}, {"neoverse-n1", ARCH_AARCH64, 0}, {"neoverse-n2", ARCH_AARCH64, 0},
  {"neoverse-v1", ARCH_AARCH64, 0}, {"neoverse-v2", ARCH_AARCH64, 0}, {"ampere1", ARCH_AARCH64, 0}, {"a64fx", ARCH_AARCH64, 0}, {"apple-m1", ARCH_AARCH64, 0},
  {"sm_70", ARCH_NVPTX, 60}, {"sm_72", ARCH_NVPTX, 61}, {"sm_75", ARCH_NVPTX, 63}, {"sm_80", ARCH_NVPTX, 70}, {"sm_86", ARCH_NVPTX, 71},
  {"sm_87", ARCH_NVPTX, 74}, {"sm_89", ARCH_NVPTX, 78}, {"sm_90", ARCH_NVPTX, 78}, {"sm_90a", ARCH_NVPTX, 80},
};
enum { N_CPUS = sizeof cpus/sizeof *cpus };
static const char *const with_dots[] = {"cooperlake", "sapphirerapids", "emeraldrapids", "graniterapids", "znver4", "znver5"};      /* avx512bf16 */

static const struct { const char *name; Arch arch; } triples[] = {
  {"x86_64-unknown-linux-gnu", ARCH_X86_64}, {"x86_64-pc-linux-gnu", ARCH_X86_64}, {"x86_64-linux-gnu", ARCH_X86_64}, {"x86_64-unknown-linux-musl", ARCH_X86_64},
  {"aarch64-unknown-linux-gnu", ARCH_AARCH64}, {"aarch64-linux-gnu", ARCH_AARCH64}, {"aarch64-unknown-linux-musl", ARCH_AARCH64},
  {"nvptx64-nvidia-cuda", ARCH_NVPTX},
};
enum { N_TRIPLES = sizeof triples/sizeof *triples };

static const struct { const char *name; Arch arch; } features[] = {
  {"sse4a", ARCH_X86_64}, {"avx", ARCH_X86_64}, {"avx2", ARCH_X86_64}, {"fma", ARCH_X86_64}, {"f16c", ARCH_X86_64}, {"bmi", ARCH_X86_64}, {"bmi2", ARCH_X86_64},
  {"lzcnt", ARCH_X86_64}, {"movbe", ARCH_X86_64}, {"avx512f", ARCH_X86_64}, {"avx512bw", ARCH_X86_64}, {"avx512cd", ARCH_X86_64}, {"avx512dq", ARCH_X86_64},
  {"avx512vl", ARCH_X86_64}, {"avx512bf16", ARCH_X86_64}, {"avx512fp16", ARCH_X86_64}, {"avx512vnni", ARCH_X86_64}, {"avx512ifma", ARCH_X86_64},
  {"avx512vbmi", ARCH_X86_64}, {"gfni", ARCH_X86_64},
  {"neon", ARCH_AARCH64}, {"fullfp16", ARCH_AARCH64}, {"bf16", ARCH_AARCH64}, {"dotprod", ARCH_AARCH64}, {"lse", ARCH_AARCH64}, {"sve", ARCH_AARCH64}, {"sve2", ARCH_AARCH64},
  {"ptx70", ARCH_NVPTX}, {"ptx74", ARCH_NVPTX}, {"ptx78", ARCH_NVPTX}, {"ptx80", ARCH_NVPTX}, {"ptx83", ARCH_NVPTX},
};
enum { N_FEATURES = sizeof features/sizeof *features };

static const Range nowhere = {0};

/* This machine, asked once a process: each question takes the processor tens of microseconds in a virtual machine. */
static struct { char cpu[64], triple[128], features[8192]; } this_host;

static void keep(char *to, size_t size, char *message) {
  if (!message) return;
  strncpy(to, message, size - 1);
  LLVMDisposeMessage(message);
}
static void find_host(void) {
  keep(this_host.cpu, sizeof this_host.cpu, LLVMGetHostCPUName());
  keep(this_host.triple, sizeof this_host.triple, LLVMGetDefaultTargetTriple());
  keep(this_host.features, sizeof this_host.features, LLVMGetHostCPUFeatures());
}
static void need_host(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, find_host);
}

const char *backend_host_cpu(Arena *a) { need_host(); return arena_strndup(a, this_host.cpu, strlen(this_host.cpu)); }
const char *backend_host_triple(Arena *a) { need_host(); return arena_strndup(a, this_host.triple, strlen(this_host.triple)); }

static bool find_arch(const char *triple, Arch *arch) {
  for (unsigned i = 0; i < N_TRIPLES; i++)
    if (!strcmp(triples[i].name, triple)) { *arch = triples[i].arch; return true; }
  return false;
}

static const Cpu *find_cpu(const char *name, Arch arch) {
  for (unsigned i = 0; i < N_CPUS; i++)
    if (cpus[i].arch == arch && !strcmp(cpus[i].name, name)) return &cpus[i];
  return NULL;
}

static const char *suggest_cpu(const char *name, Arch arch) {
  const char *names[N_CPUS];
  size_t n = 0;
  for (unsigned i = 0; i < N_CPUS; i++) if (cpus[i].arch == arch) names[n++] = cpus[i].name;
  return suggest_word(name, names, n);
}

/* Whether a comma-separated list of +name and -name has `sign name`; the last one counts. */
static int feature_sign(const char *list, const char *name) {
  int sign = 0;
  size_t n = strlen(name);
  for (const char *at = list; at && *at;) {
    const char *end = strchr(at, ',');
    size_t length = end ? (size_t)(end - at) : strlen(at);
    if (length == n + 1 && !memcmp(at + 1, name, n)) sign = *at == '-' ? -1 : 1;
    at = end ? end + 1 : NULL;
  }
  return sign;
}

static bool check_features(Arch arch, const char *list, Diag *diag) {
  bool good = true;
  for (const char *at = list; at && *at;) {
    const char *end = strchr(at, ',');
    size_t length = end ? (size_t)(end - at) : strlen(at);
    bool known = false;
    for (unsigned i = 0; i < N_FEATURES && length > 1 && (*at == '+' || *at == '-'); i++)
      known = known || (features[i].arch == arch && strlen(features[i].name) == length - 1 && !memcmp(at + 1, features[i].name, length - 1));
    if (!known) diag_error(diag, nowhere, "unknown target feature '%.*s' (features are written +name or -name)", (int)length, at);
    good = good && known;
    at = end ? end + 1 : NULL;
  }
  return good;
}

static int isa_of_features(const char *list) {
  static const char *const v4[] = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}, *const v3[] = {"avx2", "fma", "f16c", "bmi", "bmi2", "movbe"};
  for (unsigned i = 0; i < sizeof v3/sizeof *v3; i++) if (feature_sign(list, v3[i]) <= 0) return V2;
  for (unsigned i = 0; i < sizeof v4/sizeof *v4; i++) if (feature_sign(list, v4[i]) <= 0) return V3;
  return V4;
}

/* The PTX version is always said: LLVM's choice is its own. sm_80 came with 7.0. */
static void complete_gpu(Arena *a, Machine *m, const char *given) {
  if (!given || !strstr(given, "+ptx")) m->features = arena_printf(a, "+ptx%d%s%s", m->isa, given && *given ? "," : "", given ? given : "");
  m->fragments = m->isa >= 70;
  m->isa = OPTC_ISA_BASE;
}

static void complete(Machine *m, const char *given) {
  int isa = m->isa;
  if (m->arch == ARCH_X86_64) {
    if (isa == V4 && (feature_sign(given, "avx512f") < 0 || feature_sign(given, "avx512bw") < 0 || feature_sign(given, "avx512vl") < 0)) isa = V3;
    m->fma = (isa >= V3 && feature_sign(given, "fma") >= 0 && feature_sign(given, "avx") >= 0) || feature_sign(given, "fma") > 0;
    m->mask_bits = isa >= V4 ? 8 : isa >= V3 && feature_sign(given, "avx") >= 0 && feature_sign(given, "avx2") >= 0 ? 32 : 0;
    m->wide = isa >= V4;
    m->dots = isa >= V4 && (feature_sign(given, "avx512bf16") ? feature_sign(given, "avx512bf16") > 0 : m->dots);
    m->ahead = 1536;
  } else {
    m->fma = true;
  }
  /* Accumulators fill the registers but for a row of B and an element of A; where fma is emulated they are few. */
  static const struct { unsigned lanes, rows, columns; } tiles[] = {{1, GPU_TILE_ROWS, GPU_TILE_COLUMNS}, {4, 2, 4}, {4, 6, 16}, {8, 6, 16}, {16, 12, 32}};
  unsigned kind = m->arch == ARCH_NVPTX ? 0 : m->arch == ARCH_AARCH64 ? 2 : !m->fma ? 1 : m->wide ? 4 : 3;
  m->lanes = tiles[kind].lanes; m->tile_rows = tiles[kind].rows; m->tile_columns = tiles[kind].columns;
}

static bool native_machine(Arena *a, const Target *t, Arch arch, Diag *diag, Machine *m) {
  Arch host;
  const char *triple = backend_host_triple(a);
  if (!find_arch(triple, &host) || host != arch) {
    diag_error(diag, nowhere, "cpu 'native' needs a target of this machine's architecture, %s", triple);
    return false;
  }
  m->cpu = backend_host_cpu(a);
  m->features = arena_strndup(a, this_host.features, strlen(this_host.features));
  m->isa = arch == ARCH_X86_64 ? isa_of_features(m->features) : 0;
  m->dots = feature_sign(m->features, "avx512bf16") > 0;
  if (t->features && *t->features) m->features = arena_printf(a, "%s,%s", m->features, t->features);
  return true;
}

/* GPUs are few enough to be listed, and their numbers too much alike to guess by. */
static void refuse_cpu(Arena *a, const char *name, Arch arch, const char *triple, Diag *diag) {
  const char *near = arch == ARCH_NVPTX ? NULL : suggest_cpu(name, arch);
  Text list = {.arena = a};
  for (unsigned i = 0; i < N_CPUS && arch == ARCH_NVPTX; i++) if (cpus[i].arch == arch) text_add(&list, "%s%s", list.length ? ", " : "", cpus[i].name);
  if (list.length) diag_error(diag, nowhere, "unknown GPU '%s'; there are %s (a later GPU runs the text for sm_90)", name, list.data);
  else if (near) diag_error(diag, nowhere, "unknown cpu '%s' for target '%s'; did you mean '%s'?", name, triple, near);
  else diag_error(diag, nowhere, "unknown cpu '%s' for target '%s'; optc --print-targets lists them", name, triple);
}

const Machine *target_machines(Arena *a, const Target *t, Diag *diag, unsigned *n) {
  const char *triple = t->triple ? t->triple : backend_host_triple(a);
  Arch arch;
  if (!find_arch(triple, &arch)) {
    const char *names[N_TRIPLES];
    for (unsigned i = 0; i < N_TRIPLES; i++) names[i] = triples[i].name;
    const char *near = suggest_word(triple, names, N_TRIPLES);
    diag_error(diag, nowhere, "unknown target '%s'%s%s%s", triple, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    return NULL;
  }
  if (!check_features(arch, t->features, diag)) return NULL;
  *n = t->n_cpus ? t->n_cpus : 1;
  if (*n > OPTC_MAX_VARIANTS) {
    diag_error(diag, nowhere, "%u cpus are given; an object holds at most %d variants", *n, OPTC_MAX_VARIANTS);
    return NULL;
  }
  Machine *machines = arena_array(a, *n, sizeof *machines);
  for (unsigned i = 0; i < *n; i++) {
    const char *name = t->n_cpus ? t->cpus[i] : arch == ARCH_AARCH64 && t->triple ? "generic" : arch == ARCH_NVPTX ? "sm_80" : t->triple && t->n_cpus == 0 ? "x86-64-v2" : "native";
    Machine *m = &machines[i];
    *m = (Machine){.arch = arch, .triple = triple, .cpu = name, .label = name, .features = t->features ? t->features : ""};
    if (!strcmp(name, "native")) {
      if (!native_machine(a, t, arch, diag, m)) return NULL;
    } else {
      const Cpu *cpu = find_cpu(name, arch);
      if (!cpu && t->triple == NULL && !strcmp(name, backend_host_cpu(a))) {          /* a machine newer than the table */
        if (!native_machine(a, t, arch, diag, m)) return NULL;
      } else if (!cpu) {
        refuse_cpu(a, name, arch, triple, diag);
        return NULL;
      } else {
        m->isa = cpu->isa;
        for (unsigned k = 0; k < sizeof with_dots/sizeof *with_dots; k++) m->dots = m->dots || !strcmp(name, with_dots[k]);
      }
    }
    if (arch == ARCH_NVPTX) complete_gpu(a, m, t->features);
    complete(m, t->features);
    if (*n > 1 && (arch != ARCH_X86_64 || strncmp(name, "x86-64-v", 8) || (i && m->isa <= machines[i - 1].isa))) {
      diag_error(diag, nowhere, "several variants in one object must be x86-64-v2, x86-64-v3, x86-64-v4, lowest first");
      return NULL;
    }
  }
  return machines;
}

bool backend_check_target(Arena *a, const Target *t, Diag *diag) {
  unsigned n;
  return target_machines(a, t, diag, &n) != NULL;
}

void backend_print_targets(Text *out) {
  static const char *const title[] = {[ARCH_X86_64] = "x86-64", [ARCH_AARCH64] = "aarch64", [ARCH_NVPTX] = "NVIDIA GPU (--emit=ptx)"};
  for (Arch arch = ARCH_X86_64; arch <= ARCH_NVPTX; arch++) {
    text_add(out, "%s\n  targets:", title[arch]);
    for (unsigned i = 0; i < N_TRIPLES; i++) if (triples[i].arch == arch) text_add(out, " %s", triples[i].name);
    text_add(out, "\n  cpus:%s", arch == ARCH_NVPTX ? "" : " native");
    for (unsigned i = 0; i < N_CPUS; i++) if (cpus[i].arch == arch) text_add(out, " %s", cpus[i].name);
    text_add(out, "\n  features:");
    for (unsigned i = 0; i < N_FEATURES; i++) if (features[i].arch == arch) text_add(out, " %s", features[i].name);
    text_add(out, "\n");
  }
}
