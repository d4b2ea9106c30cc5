/* backends_driver_test.c: the driver on a rule whose kernels are written by hand: what it refuses, what it runs, in which order and environment. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/backend.h"
#include "tests/support/float_environment.h"
#include "tests/support/suite.h"

/* --- the rule: p += 2*a*g, m (a state that exists where keep is set) = p, s (an item scalar) counts, n (global) counts ------------- */

typedef struct Hyper2 { double a; int64_t keep; } Hyper2;
typedef struct Item { optc_tensor p, g, m, q; double s; int64_t group, rank; const int64_t *shape; int64_t first, count; } Item;
typedef struct Global { int64_t t; uint64_t seed; double n; } Global;

static struct Seen { int64_t chunks, items, groups, finishes, checks, bad_order, bad_temp; float tiny, third; int64_t t; uint64_t seed; int64_t begin[64], end[64], index[64]; } seen;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void check_kernel(optc_frame *f) {
  const Hyper2 *h = f->hyper;
  seen.checks++;
  if (h->a < 0) {
    f->failed = 2;
    f->n_values = 2;
    f->value[0] = h->a;
    f->value[1] = 7;
  }
}

static void group_kernel(optc_frame *f) {
  double a = 2*((const Hyper2 *)f->hyper)->a;
  memcpy(&f->uniform[3], &a, 8);
  pthread_mutex_lock(&lock);
  seen.groups++;
  pthread_mutex_unlock(&lock);
}

static double uniform(const optc_frame *f) { double a; memcpy(&a, &f->uniform[3], 8); return a; }

/* Into the temporary (operand 5): 2*a*g. */
static void item_kernel(optc_frame *f) {
  const float *g = f->data[1];
  double *temp = f->data[5];
  float *other = f->data[6];
  for (int64_t i = 0; i < f->count; i++) {
    temp[i] = uniform(f)*g[i];
    other[i] = (float)i;
  }
  ((Item *)f->item)->s += 1;
  pthread_mutex_lock(&lock);
  seen.items++;
  if (seen.chunks) seen.bad_order++;
  if ((uintptr_t)temp%64 || (uintptr_t)other%64) seen.bad_temp++;
  pthread_mutex_unlock(&lock);
}

static void chunk_kernel(optc_frame *f) {
  float *p = f->data[0];
  const double *temp = f->data[5];
  const float *other = f->data[6];
  volatile float tiny = 1e-40f, three = 3;
  pthread_mutex_lock(&lock);
  int64_t k = seen.chunks++;
  seen.tiny = tiny*0.5f;
  seen.third = 5/three;
  seen.t = f->t;
  seen.seed = f->seed;
  if (k < 64) { seen.begin[k] = f->begin; seen.end[k] = f->end; seen.index[k] = f->index; }
  if (seen.items == 0) seen.bad_order++;
  pthread_mutex_unlock(&lock);
  for (int64_t i = f->begin; i < f->end; i++) {
    if (other[i] != (float)i) seen.bad_temp++;
    p[i] += (float)temp[i];
  }
}

static void finish_kernel(optc_frame *f) {
  ((Global *)f->global)->n += ((const Hyper2 *)f->hyper)->a;
  seen.finishes++;
  if (f->item) seen.bad_order++;
}

static void layout_kernel(optc_frame *f) { f->exists[2] = ((const Hyper2 *)f->hyper)->keep != 0; }
static void init_kernel(optc_frame *f) { ((Item *)f->item)->s = 0; }
static void wrong_kernel(optc_frame *f) { seen.bad_order++; }

static const optc_hyper_desc hypers[] = {{"a", NULL, NULL, TYPE_F64, 0, 0}, {"keep", NULL, NULL, TYPE_BOOL, 0, 0}};
#define OPERAND(name_, role_, scope_, type_, optional_, field, of) {.name = name_, .type_name = #type_, .role = role_, .scope = scope_, .type = TYPE_##type_, \
  .bytes = TYPE_##type_ == TYPE_F64 ? 8 : 4, .optional = optional_, .item_shape = 1, .offset = offsetof(of, field), .tensor = scope_ == SCOPE_TENSOR}
static const optc_operand_desc operands[] = {
  OPERAND("p", ROLE_PARAM, SCOPE_TENSOR, F32, 0, p, Item), OPERAND("g", ROLE_GRAD, SCOPE_TENSOR, F32, 0, g, Item), OPERAND("m", ROLE_STATE, SCOPE_TENSOR, F32, 0, m, Item),
  OPERAND("q", ROLE_IN, SCOPE_TENSOR, F32, 1, q, Item), {.name = "s", .external = "count", .type_name = "f64", .role = ROLE_STATE, .scope = SCOPE_SCALAR, .type = TYPE_F64, .bytes = 8, .offset = offsetof(Item, s)},
};
enum { N = sizeof operands/sizeof *operands };
static const optc_kernel_desc step_kernels[] = {
  {.name = "check", .launch = LAUNCH_CHECK, .fn = {check_kernel, check_kernel}}, {.name = "group", .launch = LAUNCH_GROUP, .fn = {group_kernel, group_kernel}}, {.name = "item", .launch = LAUNCH_ITEM, .fn = {item_kernel, item_kernel}},
  {.name = "chunk", .launch = LAUNCH_CHUNK, .fn = {chunk_kernel, chunk_kernel}}, {.name = "finish", .launch = LAUNCH_FINISH, .fn = {finish_kernel, finish_kernel}}};
static const optc_kernel_desc layout_kernels[] = {{.name = "layout", .launch = LAUNCH_ITEM, .fn = {layout_kernel, layout_kernel}}}, init_kernels[] = {{.name = "init", .launch = LAUNCH_ITEM, .fn = {init_kernel, init_kernel}}};
static const char *const requirement[] = {"never", "a >= 0"};
static const int64_t none[N] = {0}, step_uses[N] = {3, 1, 2 | 4, 1 | 4, 3}, temp_bytes[] = {8, 4};
static const optc_entry_desc entries[] = {
  {.name = "init", .kernels = init_kernels, .n_kernels = 1, .uses = none, .n_phases = 1, .flat = 1}, {.name = "layout", .kernels = layout_kernels, .n_kernels = 1, .uses = none, .n_phases = 1, .flat = 1},
  {.name = "step", .kernels = step_kernels, .n_kernels = 5, .texts = requirement, .n_texts = 2, .uses = step_uses, .temp_bytes = temp_bytes, .n_temps = 2, .equal_hypers = 2,
   .n_uniforms = 4, .advances = 1, .n_phases = 1, .flat = 1}};
static const int64_t features[] = {0};
static const optc_rule_desc rule = {OPTC_DESC_VERSION, "toy", NULL, hypers, 2, operands, N, entries, 3, sizeof(Hyper2), sizeof(Item), sizeof(Global),
                                    offsetof(Item, group), offsetof(Item, rank), offsetof(Item, shape), offsetof(Item, first), offsetof(Item, count), 0, 1, features};
enum { INIT, LAYOUT, STEP };

/* --- a call ---------------------------------------------------------------------------------------------------------------------------- */

enum { ITEMS = 3, MOST = 3*65536 };
static const int64_t shapes[ITEMS][2] = {{2, 70000}, {3, 5}, {1, 65536}};
static struct World { Hyper2 groups[2]; Item items[ITEMS]; Global global; optc_call call; optc_error error; float *p[ITEMS], *g[ITEMS], *m[ITEMS]; char *workspace; } w;

static void open_world(void) {
  memset(&w, 0, sizeof w);
  memset(&seen, 0, sizeof seen);
  w.groups[0] = (Hyper2){0.5, 1};
  w.groups[1] = (Hyper2){2, 1};
  for (int k = 0; k < ITEMS; k++) {
    w.p[k] = calloc(MOST, 4);
    w.g[k] = calloc(MOST, 4);
    w.m[k] = calloc(MOST, 4);
    for (int i = 0; i < MOST; i++) w.g[k][i] = (float)(i%1000 + k);
    w.items[k] = (Item){.p.data = w.p[k], .g.data = w.g[k], .m.data = w.m[k], .group = k == 1, .rank = 2, .shape = shapes[k]};
  }
  w.global = (Global){4, 99, 0};
  w.call = (optc_call){.size = sizeof w.call, .groups = w.groups, .n_groups = 2, .items = w.items, .n_items = ITEMS, .first_item = 10, .global = &w.global, .error = &w.error};
  w.groups[1].keep = w.groups[0].keep;
  w.call.workspace_size = optc_drive_workspace(&rule, &w.call);
  w.workspace = w.call.workspace = malloc(w.call.workspace_size);
}

static void close_world(void) {
  for (int k = 0; k < ITEMS; k++) { free(w.p[k]); free(w.g[k]); free(w.m[k]); }
  free(w.workspace);
}

static int run(int entry) { return optc_drive(&rule, entry, &w.call, NULL); }

static bool nothing_written(void) {
  for (int k = 0; k < ITEMS; k++) {
    if (w.items[k].s != 0) return false;
    for (int i = 0; i < MOST; i++) if (w.p[k][i] != 0) return false;
  }
  return w.global.t == 4 && w.global.n == 0 && !seen.items && !seen.chunks;
}

/* The call fails with the code, tells about the item, and writes nothing. */
#define REFUSED(code_, item_) do { CU_ASSERT_EQUAL(run(STEP), code_); CU_ASSERT_EQUAL(w.error.code, code_); CU_ASSERT_EQUAL(w.error.item, item_); \
    CU_ASSERT_PTR_NOT_NULL_FATAL(w.error.text); CU_ASSERT(strlen(w.error.text) > 5); CU_ASSERT(nothing_written()); } while (0)
#define REFUSED_WITH(change, code_, item_) do { open_world(); change; REFUSED(code_, item_); close_world(); } while (0)

static void test_wrong_calls_are_refused_and_nothing_is_written(void) {
  static const int64_t negative[2] = {-1, 3}, huge[2] = {INT64_MAX/2, 1000}, zero_huge[2] = {0, INT64_C(1) << 40}, stride[2] = {70000, 1}, transposed[2] = {1, 2};
  open_world();
  w.call.size--;
  CU_ASSERT_EQUAL(run(STEP), OPTC_E_SIZE);
  CU_ASSERT(nothing_written());
  close_world();
  CU_ASSERT_EQUAL(optc_drive(&rule, STEP, NULL, NULL), OPTC_E_NULL);
  REFUSED_WITH(w.call.global = NULL, OPTC_E_NULL, -1);
  REFUSED_WITH(w.call.items = NULL, OPTC_E_NULL, -1);
  REFUSED_WITH(w.call.groups = NULL, OPTC_E_NULL, -1);
  REFUSED_WITH(w.call.n_groups = -1, OPTC_E_GROUP, -1);
  REFUSED_WITH(w.call.n_items = -1, OPTC_E_SHAPE, -1);
  REFUSED_WITH(w.items[1].shape = NULL, OPTC_E_NULL, 1);
  REFUSED_WITH(w.items[1].rank = -1, OPTC_E_SHAPE, 1);
  REFUSED_WITH(w.items[1].rank = 65, OPTC_E_SHAPE, 1);
  REFUSED_WITH(w.items[2].shape = negative, OPTC_E_SHAPE, 2);
  REFUSED_WITH(w.items[2].shape = huge, OPTC_E_SHAPE, 2);
  REFUSED_WITH(w.items[2].group = 2, OPTC_E_GROUP, 2);
  REFUSED_WITH(w.items[2].group = -1, OPTC_E_GROUP, 2);
  REFUSED_WITH(w.items[0].p.data = NULL, OPTC_E_NULL, 0);
  REFUSED_WITH(w.items[0].g.data = NULL, OPTC_E_NULL, 0);
  REFUSED_WITH(w.items[0].p.data = (char *)w.p[0] + 2, OPTC_E_ALIGN, 0);
  REFUSED_WITH(w.items[0].p.stride = transposed, OPTC_E_SHAPE, 0);
  REFUSED_WITH(w.items[0].first = 1, OPTC_E_SHAPE, 0);
  REFUSED_WITH(w.items[0].first = 65536; w.items[0].count = 140000, OPTC_E_SHAPE, 0);
  REFUSED_WITH(w.items[0].count = -2, OPTC_E_SHAPE, 0);
  REFUSED_WITH(w.items[0].p.data = w.g[0], OPTC_E_OVERLAP, 0);
  REFUSED_WITH(w.items[0].m.data = w.p[0] + 139999, OPTC_E_OVERLAP, 0);
  REFUSED_WITH(w.groups[1].keep = 0, OPTC_E_HYPER, 1);
  REFUSED_WITH(w.call.workspace = w.p[0], OPTC_E_OVERLAP, 0);
  REFUSED_WITH(w.call.workspace = NULL, OPTC_E_WORKSPACE, -1);
  REFUSED_WITH(w.call.workspace_size /= 2, OPTC_E_WORKSPACE, -1);
  open_world();
  w.groups[1].a = -3;
  REFUSED(OPTC_E_REQUIRE, 1);
  CU_ASSERT_STRING_EQUAL(w.error.text, "a >= 0");
  CU_ASSERT_EQUAL(w.error.n, 2);
  CU_ASSERT_EQUAL(w.error.value[0], -3);
  CU_ASSERT_EQUAL(w.error.value[1], 7);
  w.call.error = NULL;
  CU_ASSERT_EQUAL(run(STEP), OPTC_E_REQUIRE);
  close_world();
  open_world();
  w.items[1].shape = zero_huge;
  w.items[0].p.stride = stride;
  CU_ASSERT_EQUAL(run(STEP), OPTC_OK);
  CU_ASSERT_EQUAL(w.error.code, OPTC_OK);
  close_world();
}

static void test_a_step_runs_every_group_item_and_chunk_in_order_and_advances_t(void) {
  open_world();
  CU_ASSERT_EQUAL(run(STEP), OPTC_OK);
  CU_ASSERT_EQUAL(seen.checks, 3);                                    /* groups 0, 1, 0 follow each other */
  CU_ASSERT_EQUAL(seen.items, 3);
  CU_ASSERT_EQUAL(seen.chunks, 3 + 1 + 1);
  CU_ASSERT_EQUAL(seen.finishes, 1);
  CU_ASSERT_EQUAL(seen.bad_order, 0);
  CU_ASSERT_EQUAL(seen.bad_temp, 0);
  CU_ASSERT_EQUAL(seen.t, 5);
  CU_ASSERT_EQUAL(seen.seed, 99);
  static const int64_t begin[] = {0, 65536, 131072, 0, 0}, end[] = {65536, 131072, 140000, 15, 65536}, index[] = {10, 10, 10, 11, 12};
  for (int k = 0; k < 5; k++) CU_ASSERT(seen.begin[k] == begin[k] && seen.end[k] == end[k] && seen.index[k] == index[k]);
  for (int k = 0; k < ITEMS; k++) {
    int64_t n = shapes[k][0]*shapes[k][1];
    double a = k == 1 ? 4 : 1;
    for (int64_t i = 0; i < MOST; i++) if (w.p[k][i] != (i < n ? (float)(a*w.g[k][i]) : 0)) { CU_FAIL("p"); break; }
    CU_ASSERT_EQUAL(w.items[k].s, 1);
  }
  CU_ASSERT_EQUAL(w.global.t, 5);
  CU_ASSERT_EQUAL(w.global.n, 0.5);
  CU_ASSERT_EQUAL(run(INIT), OPTC_OK);
  CU_ASSERT_EQUAL(w.global.t, 0);
  CU_ASSERT_EQUAL(w.items[2].s, 0);
  w.call.n_items = 0;
  CU_ASSERT_EQUAL(run(STEP), OPTC_OK);
  CU_ASSERT_EQUAL(w.global.t, 1);
  close_world();
}

static void test_shards_touch_their_own_elements_only(void) {
  open_world();
  w.items[0].first = 65536;
  w.items[0].count = 65536;
  w.items[0].p.data = w.p[0] + 65536;
  w.items[0].g.data = w.g[0] + 65536;
  w.items[0].m.data = w.m[0] + 65536;
  w.items[2].first = 65536;                                            /* all of it lies elsewhere */
  w.items[2].p.data = w.items[2].g.data = w.items[2].m.data = NULL;
  CU_ASSERT_EQUAL(run(STEP), OPTC_OK);
  CU_ASSERT_EQUAL(seen.chunks, 2);
  CU_ASSERT_EQUAL(seen.items, 3);
  CU_ASSERT_EQUAL(w.items[2].s, 1);
  for (int i = 0; i < MOST; i++) {
    bool mine = i >= 65536 && i < 131072;
    if (w.p[0][i] != (mine ? w.g[0][i] : 0) || w.p[2][i] != 0) { CU_FAIL("an element outside the shard, or none inside"); break; }
  }
  close_world();
}

/* One entry that needs whole tensors: none takes shards, and what asks for sizes says so too. */
static void test_all_entries_of_a_rule_take_shards_or_none(void) {
  static const int64_t counts[] = {65536, -1};
  optc_entry_desc some[3];
  optc_rule_desc whole = rule;
  memcpy(some, entries, sizeof some);
  some[STEP].flat = 0;
  whole.entries = some;
  for (int k = 0; k < 2; k++) {
    optc_state_info info[4];
    open_world();
    w.items[0].count = counts[k];
    for (int e = INIT; e <= STEP; e += STEP - INIT) {
      CU_ASSERT_EQUAL(optc_drive(&rule, e, &w.call, NULL), OPTC_OK);
      w.global.t = 4;
      CU_ASSERT_EQUAL(optc_drive(&whole, e, &w.call, NULL), OPTC_E_SHARD);
      CU_ASSERT_EQUAL(w.error.code, OPTC_E_SHARD);
      CU_ASSERT_EQUAL(w.error.item, 0);
    }
    CU_ASSERT_EQUAL(optc_drive_layout(&whole, &w.call, 0, info, NULL), OPTC_E_SHARD);
    CU_ASSERT_EQUAL(optc_drive_check(&whole, &w.call), OPTC_E_SHARD);
    CU_ASSERT(optc_drive_workspace(&rule, &w.call) > 0);
    CU_ASSERT_EQUAL(optc_drive_workspace(&whole, &w.call), 0);
    close_world();
  }
}

static void test_a_state_that_does_not_exist_and_an_optional_tensor_may_be_absent(void) {
  open_world();
  w.groups[0].keep = w.groups[1].keep = 0;
  for (int k = 0; k < ITEMS; k++) w.items[k].m.data = NULL;
  CU_ASSERT_EQUAL(run(STEP), OPTC_OK);
  close_world();
  open_world();
  w.items[1].m.data = NULL;
  REFUSED(OPTC_E_NULL, 1);
  close_world();
}

static void test_the_layout_tells_each_state_and_whether_it_exists(void) {
  open_world();
  w.groups[1].keep = 0;
  optc_state_info info[2];
  CU_ASSERT_EQUAL(optc_drive_layout(&rule, &w.call, 0, info, NULL), OPTC_OK);
  CU_ASSERT_STRING_EQUAL(info[0].name, "m");
  CU_ASSERT_EQUAL(info[0].exists, 1);
  CU_ASSERT_EQUAL(info[0].rank, 2);
  CU_ASSERT_EQUAL(info[0].count, 140000);
  CU_ASSERT_EQUAL(info[0].bytes, 560000);
  CU_ASSERT_STRING_EQUAL(info[1].external, "count");
  CU_ASSERT_EQUAL(info[1].scope, 1);
  CU_ASSERT_EQUAL(info[1].bytes, 8);
  CU_ASSERT_EQUAL(optc_drive_layout(&rule, &w.call, 1, info, NULL), OPTC_OK);
  CU_ASSERT_EQUAL(info[0].exists, 0);
  CU_ASSERT_EQUAL(optc_drive_layout(&rule, &w.call, 3, info, NULL), OPTC_E_SHAPE);
  CU_ASSERT_EQUAL(optc_drive_layout(&rule, &w.call, 0, NULL, NULL), OPTC_E_NULL);
  close_world();
}

static void test_overlap_across_items_is_found_by_check(void) {
  open_world();
  CU_ASSERT_EQUAL(optc_drive_check(&rule, &w.call), OPTC_OK);
  w.items[2].g.data = w.g[0];                                          /* read twice: fine */
  CU_ASSERT_EQUAL(optc_drive_check(&rule, &w.call), OPTC_OK);
  w.items[2].g.data = w.p[1] + 14;
  CU_ASSERT_EQUAL(optc_drive_check(&rule, &w.call), OPTC_E_OVERLAP);
  CU_ASSERT_EQUAL(w.error.item, 1);
  close_world();
}

/* --- threads and the floating-point environment ------------------------------------------------------------------------------------------ */

typedef struct Team { void (*chunk)(void *, int64_t); void *context; int64_t n, ran; int hostile; bool kept; } Team;

static void *worker(void *self) {
  Team *t = self;
  uint64_t before = float_environment(), mine = t->hostile ? FLOAT_HOSTILE : before;
  float_environment_set(mine);
  for (;;) {
    int64_t i = __atomic_sub_fetch(&t->n, 1, __ATOMIC_RELAXED);
    if (i < 0) break;
    t->chunk(t->context, i);                                          /* backwards */
    __atomic_add_fetch(&t->ran, 1, __ATOMIC_RELAXED);
    if (float_environment() != mine) t->kept = false;
  }
  float_environment_set(before);
  return NULL;
}

static void run_team(void *self, int64_t n, void (*chunk)(void *, int64_t), void *context) {
  Team *t = self;
  t->chunk = chunk;
  t->context = context;
  t->n = n;
  if (n > 256) t->kept = false;
  pthread_t thread[3];
  for (int k = 0; k < 3; k++) pthread_create(&thread[k], NULL, worker, t);
  for (int k = 0; k < 3; k++) pthread_join(thread[k], NULL);
}

static void test_threads_give_the_same_result_in_any_order(void) {
  open_world();
  CU_ASSERT_EQUAL(run(STEP), OPTC_OK);
  struct World serial = w;
  open_world();
  Team team = {.kept = true};
  optc_parallel parallel = {run_team, &team};
  w.call.parallel = &parallel;
  CU_ASSERT_EQUAL(run(STEP), OPTC_OK);
  CU_ASSERT_EQUAL(seen.chunks, 5);
  CU_ASSERT_EQUAL(seen.items, 3);
  CU_ASSERT_EQUAL(seen.bad_order, 0);
  CU_ASSERT_EQUAL(seen.bad_temp, 0);
  CU_ASSERT(team.kept && team.ran > 5);
  for (int k = 0; k < ITEMS; k++) CU_ASSERT_EQUAL(memcmp(w.p[k], serial.p[k], MOST*4), 0);
  close_world();
  w = serial;
  close_world();
}

static void test_kernels_run_to_nearest_without_flushing_whatever_the_caller_and_its_threads_have_set(void) {
  Team team = {.kept = true, .hostile = 1};
  optc_parallel parallel = {run_team, &team};
  for (int threads = 0; threads < 2; threads++) {
    open_world();
    if (threads) w.call.parallel = &parallel;
    float_environment_set(FLOAT_HOSTILE);
    int code = run(STEP);
    bool kept = float_environment() == FLOAT_HOSTILE;
    float_environment_set(FLOAT_USUAL);
    CU_ASSERT_EQUAL(code, OPTC_OK);
    CU_ASSERT(kept);
    CU_ASSERT(seen.tiny > 0);
    CU_ASSERT_EQUAL(seen.third, 0x1.aaaaaap+0f);                      /* upwards it is 0x1.aaaaacp+0 */
    CU_ASSERT(seen.tiny == 5e-41f);
    close_world();
  }
  CU_ASSERT(team.kept);
}

static void test_long_lists_need_no_memory_and_lose_no_item(void) {
  enum { MANY = 5000 };
  open_world();
  static const int64_t shape[1] = {3};
  Item *items = calloc(MANY, sizeof *items);
  float *p = calloc(MANY*4, 4), *g = calloc(MANY*4, 4), *m = calloc(MANY*4, 4);
  for (int k = 0; k < MANY*4; k++) g[k] = (float)k;
  for (int k = 0; k < MANY; k++) items[k] = (Item){.p.data = p + 4*k, .g.data = g + 4*k, .m.data = m + 4*k, .group = k%2, .rank = 1, .shape = shape};
  Team team = {.kept = true};
  optc_parallel parallel = {run_team, &team};
  w.call.items = items;
  w.call.n_items = MANY;
  w.call.parallel = &parallel;
  size_t size = optc_drive_workspace(&rule, &w.call);
  CU_ASSERT_EQUAL(size, (MANY*(16 + 8*(N + 2)) + 63)/64*64 + MANY*128 + 63);      /* a record each; one window */
  char *space = malloc(size);
  w.call.workspace = space;
  w.call.workspace_size = size;
  CU_ASSERT_EQUAL(run(STEP), OPTC_OK);
  CU_ASSERT_EQUAL(seen.items, MANY);
  CU_ASSERT_EQUAL(seen.chunks, MANY);
  CU_ASSERT_EQUAL(seen.bad_temp, 0);
  for (int k = 0; k < MANY; k++)
    for (int i = 0; i < 4; i++) if (p[4*k + i] != (i < 3 ? (float)(k%2 ? 4 : 1)*g[4*k + i] : 0)) { CU_FAIL("an item"); k = MANY; break; }
  free(space); free(items); free(p); free(g); free(m);
  close_world();
}

/* --- dispatch -------------------------------------------------------------------------------------------------------------------------------- */

static void test_the_best_variant_that_the_machine_has_runs_and_is_remembered(void) {
  optc_kernel_desc kernels[5];
  memcpy(kernels, step_kernels, sizeof kernels);
  optc_entry_desc changed[3];
  memcpy(changed, entries, sizeof changed);
  changed[STEP].kernels = kernels;
  optc_rule_desc two = rule;
  two.entries = changed;
  two.n_variants = 2;
  static const int64_t up[] = {0, 99}, same[] = {0, 0}, beyond[] = {99};
  for (int k = 0; k < 5; k++) kernels[k].fn[1] = wrong_kernel;
  open_world();
  two.variant_features = up;
  int32_t chosen = 0;
  CU_ASSERT_EQUAL(optc_drive(&two, STEP, &w.call, &chosen), OPTC_OK);
  CU_ASSERT_EQUAL(chosen, 1);
  CU_ASSERT_EQUAL(seen.bad_order, 0);
  chosen = 0;
  two.variant_features = same;
  CU_ASSERT_EQUAL(optc_drive(&two, STEP, &w.call, &chosen), OPTC_OK);
  CU_ASSERT_EQUAL(chosen, 2);
  CU_ASSERT(seen.bad_order > 0);
  chosen = 0;
  two.n_variants = 1;
  two.variant_features = beyond;
  CU_ASSERT_EQUAL(optc_drive(&two, STEP, &w.call, &chosen), OPTC_E_TARGET);
#if defined(__x86_64__)
  static const int64_t levels[] = {OPTC_ISA_BASE, OPTC_ISA_X86_64_V2, OPTC_ISA_X86_64_V3, OPTC_ISA_X86_64_V4};
  two.n_variants = 4;
  two.variant_features = levels;
  for (int k = 0; k < 5; k++) kernels[k].fn[1] = kernels[k].fn[2] = kernels[k].fn[3] = kernels[k].fn[0];
  chosen = 0;
  CU_ASSERT_EQUAL(optc_drive(&two, STEP, &w.call, &chosen), OPTC_OK);
  CU_ASSERT_EQUAL(chosen, __builtin_cpu_supports("x86-64-v4") ? 4 : __builtin_cpu_supports("x86-64-v3") ? 3 : __builtin_cpu_supports("x86-64-v2") ? 2 : 1);
#endif
  close_world();
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(test_wrong_calls_are_refused_and_nothing_is_written),
    TEST(test_a_step_runs_every_group_item_and_chunk_in_order_and_advances_t),
    TEST(test_shards_touch_their_own_elements_only), TEST(test_all_entries_of_a_rule_take_shards_or_none),
    TEST(test_a_state_that_does_not_exist_and_an_optional_tensor_may_be_absent),
    TEST(test_the_layout_tells_each_state_and_whether_it_exists),
    TEST(test_overlap_across_items_is_found_by_check),
    TEST(test_threads_give_the_same_result_in_any_order),
    TEST(test_kernels_run_to_nearest_without_flushing_whatever_the_caller_and_its_threads_have_set),
    TEST(test_long_lists_need_no_memory_and_lose_no_item),
    TEST(test_the_best_variant_that_the_machine_has_runs_and_is_remembered),
  };
  return suite_run("driver", tests);
}
