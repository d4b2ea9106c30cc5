/* float_environment.h: the floating-point environment of the thread: rounding and flushing, without the flags that operations raise. Inline and without anything of the
 * project, so that programs for another machine have it too. Whoever changes it sets it back. */
#ifndef OPTC_TESTS_FLOAT_ENVIRONMENT_H
#define OPTC_TESTS_FLOAT_ENVIRONMENT_H
#include <stdint.h>

/* USUAL: to nearest, subnormals kept, nothing traps. HOSTILE: a careless caller's: subnormals are flushed both ways, and all is rounded upwards. */
#if defined(__x86_64__)
enum { FLOAT_USUAL = 0x1f80, FLOAT_HOSTILE = FLOAT_USUAL | 0x8040 | 0x4000 };
static inline uint64_t float_environment(void) { unsigned c; __asm__ volatile("stmxcsr %0" : "=m"(c)); return c & 0xffc0; }
static inline void float_environment_set(uint64_t control) { unsigned c = (unsigned)control; __asm__ volatile("ldmxcsr %0" : : "m"(c) : "memory"); }
#elif defined(__aarch64__)
enum { FLOAT_USUAL = 0, FLOAT_HOSTILE = 1 << 24 | 1 << 22 };
static inline uint64_t float_environment(void) { uint64_t c; __asm__ volatile("mrs %0, fpcr" : "=r"(c)); return c; }
static inline void float_environment_set(uint64_t c) { __asm__ volatile("msr fpcr, %0" : : "r"(c) : "memory"); }
#else
enum { FLOAT_USUAL, FLOAT_HOSTILE };      /* of such a machine nothing is known: both are the one it has */
static inline uint64_t float_environment(void) { return FLOAT_USUAL; }
static inline void float_environment_set(uint64_t c) { (void)c; }
#endif
#endif
