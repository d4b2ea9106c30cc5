/* driver_machine.c: the driver and the machine: floating-point environment, instruction sets. */
#include "backends/driver.h"

/* --- the floating-point environment: ours while we run ------------------------------------------------------------------ */
#if defined(__x86_64__)
uint64_t drive_float_enter(void) {
  uint32_t old, ours = 0x1f80;           /* nearest even, nothing flushed, every exception masked */
  __asm__ volatile("stmxcsr %0" : "=m"(old));
  __asm__ volatile("ldmxcsr %0" : : "m"(ours) : "memory");
  return old;
}
void drive_float_leave(uint64_t saved) {
  uint32_t old = (uint32_t)saved;
  __asm__ volatile("ldmxcsr %0" : : "m"(old) : "memory");
}
#elif defined(__aarch64__)
uint64_t drive_float_enter(void) {
  uint64_t old;
  __asm__ volatile("mrs %0, fpcr" : "=r"(old));
  __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0) : "memory");
  return old;
}
void drive_float_leave(uint64_t saved) { __asm__ volatile("msr fpcr, %0" : : "r"(saved) : "memory"); }
#endif

/* --- which instruction set ------------------------------------------------------------------------------------------------ */
#if defined(__x86_64__)
static void cpuid(uint32_t leaf, uint32_t r[4]) {
  __asm__("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(0));
}

/* The level of the x86-64 psABI that processor and system give. */
static int64_t machine_isa(void) {
  uint32_t r[4], basic, extended, seven = 0, mask = 0;
  cpuid(0, r);
  uint32_t leaves = r[0];
  cpuid(1, r);
  basic = r[2];
  cpuid(0x80000001, r);
  extended = r[2];
  if (leaves >= 7) {
    cpuid(7, r);
    seven = r[1];
  }
  if (basic & 1u << 27) {                /* OSXSAVE: ask which registers the system saves */
    uint32_t high;
    __asm__("xgetbv" : "=a"(mask), "=d"(high) : "c"(0));
  }
  const uint32_t v2 = 1u | 1u << 9 | 1u << 13 | 1u << 19 | 1u << 20 | 1u << 23;      /* sse3 ssse3 cx16 sse4.1 sse4.2 popcnt */
  const uint32_t v3 = 1u << 12 | 1u << 22 | 1u << 28 | 1u << 29;                      /* fma movbe avx f16c */
  const uint32_t v3_seven = 1u << 3 | 1u << 5 | 1u << 8;                              /* bmi1 avx2 bmi2 */
  const uint32_t v4_seven = 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31;     /* avx512 f dq cd bw vl */
  if ((basic & v2) != v2 || !(extended & 1u)) return OPTC_ISA_BASE;
  if ((basic & v3) != v3 || (seven & v3_seven) != v3_seven || !(extended & 1u << 5) || (mask & 0x6) != 0x6) return OPTC_ISA_X86_64_V2;
  return (seven & v4_seven) == v4_seven && (mask & 0xe6) == 0xe6 ? OPTC_ISA_X86_64_V4 : OPTC_ISA_X86_64_V3;
}
#else
static int64_t machine_isa(void) { return OPTC_ISA_BASE; }
#endif

/* The last variant that the machine can run, or -1. The word is written once with a value that never changes: no race matters. */
int64_t drive_variant(const optc_rule_desc *rule, int32_t *chosen) {
  if (!chosen) return 0;
  int32_t known = __atomic_load_n(chosen, __ATOMIC_RELAXED);
  if (!known) {
    int64_t isa = machine_isa();
    for (int64_t i = 0; i < rule->n_variants; i++)
      if (rule->variant_features[i] <= isa) known = (int32_t)i + 1;
    if (!known) return -1;
    __atomic_store_n(chosen, known, __ATOMIC_RELAXED);
  }
  return known - 1;
}
