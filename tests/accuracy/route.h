/* route.h: two independent ways from a function of the language to machine code that can be called on arrays. */
#ifndef OPTC_TESTS_ROUTE_H
#define OPTC_TESTS_ROUTE_H
#include "ir/graph.h"

typedef struct Route Route;
/* out[i] = f(in0[i], in1[i]) for n elements of the type. May be called from several threads at once. */
typedef void (*RouteRun)(const Route *, const void *in0, const void *in1, void *out, long n);
struct Route { RouteRun run; void (*c)(const void *, const void *, void *, long); const void *rule; };

/* The function's graph after expansion and the exact graph passes, printed as C and compiled with gcc. Files go below `folder`.
 * false when a compiler fails. */
bool route_gcc(Route *, Op, Type, const char *folder, Arena *);
/* The product's own way: default pipeline, LLVM, for this machine's processor. */
bool route_machine(Route *, Op, Type, const char *folder, Arena *);

/* One of them, in memory of its own. */
static inline bool route_compile(Route *route, Op op, Type type, const char *folder, bool gcc) {
  Arena *arena = arena_new(NULL, 0);
  if (!arena) return false;
  bool good = !setjmp(*arena_guard(arena)) && (gcc ? route_gcc : route_machine)(route, op, type, folder, arena);
  arena_free(arena);
  return good;
}
#endif
