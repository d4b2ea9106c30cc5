/* runtime_check_test.c: `optc check` finds what is right and what is wrong, on every backend; run from the root of the repository. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/support/suite.h"

extern char **environ;

/* Data of the rules that ship. */
static const char *const shipped[] = {
  "sgd", "sgd_momentum", "sgd_momentum_dampening", "sgd_nesterov", "adam", "adam_l2", "adamw", "amsgrad", "adamw_amsgrad", "nadam", "nadamw", "rmsprop",
  "rmsprop_momentum", "rmsprop_centered_momentum", "adagrad", "adabelief", "adabelief_rectify", "lion", "exadam", "exadam_v1", "adan", "sophia_g",
  "schedulefree_adamw", "schedulefree_adamw_paper", "schedulefree_sgd", "ema", "ema_warmup", "heavy_ball", "nesterov", "nesterov_tk", "triple_momentum", "harpg",
  "mezo", "ademamix", "ademamix_warmup", "adopt", "adopt_l2", "grams", "signum", "schedules"};
enum { N_SHIPPED = sizeof shipped/sizeof *shipped, N_LINES = N_SHIPPED - 1 + 21 };       /* schedules: a line a schedule */

static char command[4096], folder[] = "/tmp/optc-check-test-XXXXXX";

/* Runs optc check; output (both streams) goes to `said`. Returns the exit code, -1 if it ended otherwise. */
static int run(const char *const *arguments, char *said, size_t size) {
  char *argv[N_SHIPPED + 16] = {command, "check"}, path[4200];
  for (int n = 2; *arguments; arguments++) argv[n++] = (char *)(uintptr_t)*arguments;
  snprintf(path, sizeof path, "%s/said", folder);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t child;
  int status = -1, code = posix_spawn(&child, command, &actions, NULL, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  while (!code && waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  *said = 0;
  FILE *file = fopen(path, "r");
  if (file) {
    said[fread(said, 1, size - 1, file)] = 0;
    fclose(file);
  }
  return !code && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void expect(const char *const *arguments, int code, const char *text) {
  char said[1 << 16];
  int got = run(arguments, said, sizeof said);
  bool right = got == code && (!text || strstr(said, text));
  CU_ASSERT(right);
  if (right) return;
  printf("\n  exit code %d, expected %d%s%s:", got, code, text ? ", with " : "", text ? text : "");
  for (; *arguments; arguments++) printf(" %s", *arguments);
  printf("\n%s", said);
}

static const char *in_folder(const char *name) {
  static char path[4200];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

static void write_text(const char *path, const char *text, size_t length) {
  FILE *file = fopen(path, "wb");
  CU_ASSERT_FATAL(file != NULL);
  CU_ASSERT(fwrite(text, 1, length, file) == length);
  fclose(file);
}

/* --- what ships is right ------------------------------------------------------------------------------------------------------- */
static void all_files(const char *backend, const char *level) {
  char data[N_SHIPPED][100], said[1 << 16];
  const char *arguments[N_SHIPPED + 3] = {backend, level};
  for (int i = 0; i < N_SHIPPED; i++) {
    snprintf(data[i], sizeof data[i], "tests/golden/optim/%s.json", shipped[i]);
    arguments[i + 2] = data[i];
  }
  int code = run(arguments, said, sizeof said), passed = 0;
  for (char *line = said; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
    if (!strncmp(line, "ok ", 3)) passed++;
    else if (*line) printf("\n  %s %s: %.*s", backend, level, (int)strcspn(line, "\n"), line);
  }
  CU_ASSERT_EQUAL(code, 0);
  CU_ASSERT_EQUAL(passed, N_LINES);
}
static void test_interp_O0(void) { all_files("--backend=interp", "-O0"); }
static void test_interp_O2(void) { all_files("--backend=interp", "-O2"); }
static void test_kernels_O0(void) { all_files("--backend=kernels", "-O0"); }
static void test_kernels_O2(void) { all_files("--backend=kernels", "-O2"); }
static void test_jit_O0(void) { all_files("--backend=jit", "-O0"); }
static void test_jit_O1(void) { all_files("--backend=jit", "-O1"); }
static void test_jit_O2(void) { all_files("--backend=jit", "-O2"); }
static void test_aot_O0(void) { all_files("--backend=aot", "-O0"); }
static void test_aot_O2(void) { all_files("--backend=aot", "-O2"); }

/* --- every format of the data ---------------------------------------------------------------------------------------------------- */
/* Files that stand for a format each, or for a way in which names and lists meet a rule. */
static const char *const formats[] = {
  "attention/sdpa_gqa", "attention/sdpa_varlen_causal", "attention/gym_vsa", "attention/decode_append", "attention/kivi_k_quant", "attention/sinkhorn_log", "attention/gptq_round",
  "attention/taylorseer", "attention/gym_causal", "attention/rmsnorm", "optim/adam8bit_blockwise", "optim/adamw_bf16_sr", "optim/adamw_bf16_master", "optim/adafactor",
  "optim/adagradnorm_global", "optim/clip_adamw_amp", "optim/tiger", "optim/mkor", "optim/lv_hba", "optim/rarts", "optim/cbo", "optim/apollo", "optim/apollo_mini", "optim/sar",
  "optim/fedspeed", "optim/muon_gram_ns", "optim/mars_adamw_mixed", "optim/grad_norm_smooth_newton", "optim/prodigy", "optim/accelat", "optim/adaround"};
enum { N_FORMATS = sizeof formats/sizeof *formats };

static void all_formats(const char *backend, const char *more) {
  char data[N_FORMATS][100];
  const char *arguments[N_FORMATS + 4] = {backend, "-O0", more};
  int n = more ? 3 : 2;
  for (int i = 0; i < N_FORMATS; i++) {
    snprintf(data[i], sizeof data[i], "tests/golden/%s.json", formats[i]);
    arguments[n + i] = data[i];
  }
  char said[1 << 16];
  int code = run(arguments, said, sizeof said), passed = 0;
  for (char *line = said; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
    if (!strncmp(line, "ok ", 3)) passed++;
    else printf("\n  %s: %.*s", backend, (int)strcspn(line, "\n"), line);
  }
  CU_ASSERT_EQUAL(code, 0);
  CU_ASSERT_EQUAL(passed, N_FORMATS + 1);                    /* accelat has two cases */
}
static void test_formats_interp(void) { all_formats("--backend=interp", NULL); }
static void test_formats_jit(void) { all_formats("--backend=jit", NULL); }
static void test_formats_aot(void) { all_formats("--backend=aot", NULL); }
static void test_formats_f64(void) { all_formats("--backend=interp", "--compute=f64"); }

/* Numbers of attention data, each altered alone. */
static const struct { const char *data, *path, *says; } calls[] = {
  {"attention/sdpa_gqa", "outputs/O/data/100", "O[100]"}, {"attention/sdpa_gqa", "inputs/K/data/3", "FAIL"}, {"attention/kivi_k_quant", "outputs/code_b4/data/5", "code_b{bits}[5]"},
  {"attention/gym_vsa", "outputs/topk_indices/data/0", "topk_indices[0]"}, {"attention/decode_append", "outputs/K_cache/data/640", "K_cache[640]"},
  {"attention/sinkhorn_log", "hyper/reg", "FAIL"}, {"optim/adam8bit_blockwise", "state_per_step/state1/2/1/3", "state1"}, {"optim/cbo", "consensus/1/2", "consensus"},
  {"optim/lv_hba", "extra_inputs/Fx/0/1", "FAIL"}, {"attention/sdpa_gqa", "grads/dV/data/7", "dV[7]"}, {"optim/clip_adamw_amp", "state_scalars/loss_scale_per_step/1", "loss_scale"}};

/* --- rules of our own on data of our own: what the recorded files have in rare combinations -------------------------------------------------- */
static const struct { const char *rule, *data; int code; const char *says; } small[] = {
  {"rule small(c: int, k = 1) { in x[N], y[(N + c - 1)//c] optional\n out z[N//c] as \"z{c}\", n[]: i32\n z[i] = k*sum[r < c](x[i*c + r])\n n = N }",
   "\"hyper\": {\"c\": [1, 2]}, \"inputs\": {\"x\": {\"shape\": [4], \"dtype\": \"f32\", \"data\": [1, 2, 3, 4]}}, \"outputs\": {\"z1\": {\"shape\": [4], \"data\": [1, 2, 3, 4]}, \"z2\": "
   "{\"shape\": [2], \"data\": [3, 7]}, \"n\": {\"shape\": [], \"dtype\": \"i32\", \"data\": [4]}}", 0, "8 numbers  max 0 of tolerance"},
  {"rule small() { in x[N]\n out z[N]: i32\n z[i] = int(x[i]) }",
   "\"inputs\": {\"x\": {\"shape\": [2], \"dtype\": \"f32\", \"data\": [1, 2]}}, \"outputs\": {\"z\": {\"shape\": [2], \"dtype\": \"i32\", \"data\": [1, 3]}}", 3, "z[1]: 2 is not 3"},
  {"rule small() { in x[N], y[N]\n out z[N]\n z = x + y }", "\"inputs\": {\"x\": {\"shape\": [1], \"data\": [1]}}, \"outputs\": {}", 1, "the rule needs 'y'"},
  {"rule small() { in x[N], y[N]\n out z[N]\n z = x + y }",
   "\"inputs\": {\"x\": {\"shape\": [1], \"data\": [1]}, \"y\": {\"shape\": [2], \"data\": [1, 1]}}, \"outputs\": {\"z\": {\"shape\": [1], \"data\": [2]}}", 1, "axis 0 of tensor 'y' is 2, N is 1"},
  {"rule small() { in x[N]\n out z[N]\n z = x }", "\"inputs\": {\"x\": {\"shape\": [1], \"data\": [1]}}, \"outputs\": {\"w\": {\"shape\": [1], \"data\": [1]}}", 1, "nothing that the rule writes"},
  {"rule small() { in x[N, M] as \"rows.x\"\n out z[N]: f64 as \"rows.z\"\n z[i] = sum[j](x[i, j]) }",
   "\"rows\": [{\"x\": [1, 2], \"z\": 3}, {\"x\": [3, 4], \"z\": 7}], \"inputs\": {}", 0, "2 numbers  max 0 of tolerance"},
  {"rule small(on: bool = false as \"mode=on\") { param p\n grad g\n in global q[K]\n in scalar big: bool = false as \"kind=big\"\n p -= g*q[0]*where(on, 1, 0)*where(big, 2, 1) }",
   "\"hyper\": {\"mode\": \"on\", \"q\": [3, 4]}, \"tensors\": [{\"name\": \"a\", \"shape\": [1], \"init\": [9], \"kind\": \"big\"}, {\"name\": \"b\", \"shape\": [1], \"init\": [9]}], "
   "\"steps\": 1, \"grads\": [[[1], [1]]], \"params\": [[[3], [6]]]", 0, "max 0 of tolerance"},
};

/* What departs in f64 is told in the digits in which it departs. */
static void test_digits_of_f64(void) {
  static const char rule[] = "rule small() { in x[N]: f64\n out z[N]: f64\n z[i] = x[i]/3 }";
  static const char data[] = "{\"rule\": \"small\", \"inputs\": {\"x\": {\"shape\": [1], \"dtype\": \"f64\", \"data\": [1]}}, \"outputs\": {\"z\": {\"shape\": [1], \"dtype\": \"f64\", \"data\": [0.33333343333]}}}";
  char path[4200], recorded[4200];
  snprintf(path, sizeof path, "%s", in_folder("small.opt"));
  snprintf(recorded, sizeof recorded, "%s", in_folder("small.json"));
  write_text(path, rule, sizeof rule - 1);
  write_text(recorded, data, sizeof data - 1);
  expect((const char *[]){recorded, "--rule", path, "--backend=interp", "--compute=f64", NULL}, 3, "z[0]: 0.33333333333333331 is not 0.33333343332999998");
}

static void test_small(void) {
  for (size_t i = 0; i < sizeof small/sizeof *small; i++) {
    char rule[4200], data[4200], text[4000];
    snprintf(rule, sizeof rule, "%s", in_folder("small.opt"));
    snprintf(data, sizeof data, "%s", in_folder("small.json"));
    write_text(rule, small[i].rule, strlen(small[i].rule));
    int n = snprintf(text, sizeof text, "{\"rule\": \"small\", %s}", small[i].data);
    write_text(data, text, (size_t)n);
    expect((const char *[]){data, "--rule", rule, "--backend=interp", NULL}, small[i].code, small[i].says);
    if (!small[i].code) expect((const char *[]){data, "--rule", rule, "-O0", NULL}, 0, small[i].says);
  }
}

/* --- one constant of a rule ------------------------------------------------------------------------------------------------------ */
static const struct { const char *data, *rule, *from, *to; } alterations[] = {
  {"sgd_nesterov", "sgd", "where(nesterov, g + momentum*b, b)", "where(nesterov, g + 0.5*momentum*b, b)"},
  {"sgd_momentum_dampening", "sgd", "t == 1", "t == 0"},
  {"adamw", "adamw", "+ eps*c)", "+ 1.001*eps*c)"},
  {"adamw", "adamw", "1 - lr*decay", "1 - 1.0001*lr*decay"},
  {"adam_l2", "adam", "g += decay*p", "g += 1.001*decay*p"},
  {"nadam", "nadam", "0.5*0.96", "0.5*0.95"},
  {"rmsprop_centered_momentum", "rmsprop", "s - a^2", "s - 0.999*a^2"},
  {"adagrad", "adagrad", "*lr_decay)*g", "*(lr_decay + 0.0001))*g"},
  {"adabelief_rectify", "adabelief", "r >= 5", "r >= 6"},
  {"lion", "lion", "m  = beta2*m", "m  = 1.0001*beta2*m"},
  {"exadam_v1", "exadam_v1", "sqrt(2)", "sqrt(2.001)"},
  {"adan", "adan", "lr*beta2/(1 - beta2^t)", "lr*beta2/(1 - beta2^(t + 1))"},
  {"sophia_g", "sophia_g", "1e-15", "1e-3"},
  {"schedulefree_sgd", "schedulefree_sgd", "1 - 1/momentum", "1.0001 - 1/momentum"},
  {"nesterov_tk", "nesterov_tk", "4*s^2", "4.001*s^2"},
  {"triple_momentum", "triple_momentum", "output_point\"\n    d = (1", "output_point\"\n    d = (1.0001"},
  {"mezo", "mezo", "q = p + eps*z", "q = p + 1.01*eps*z"},
  {"ademamix_warmup", "ademamix", "0.5^(1/", "0.51^(1/"},
  {"adopt", "adopt", "c = (t - 1)^", "c = t^"},
  {"grams", "grams", "(sqrt(v) + eps)", "(sqrt(v) + 2*eps)"},
  {"schedules", "schedules", "1/sqrt((s + timescale - warmup)/timescale)", "1/sqrt((s + timescale - warmup)/timescale + 1e-10)"},
};

static void test_altered_rule(void) {
  for (size_t i = 0; i < sizeof alterations/sizeof *alterations; i++) {
    char path[200], text[1 << 14], altered[1 << 15], data[200], rule[4200];
    snprintf(path, sizeof path, "rules/%s.opt", alterations[i].rule);
    snprintf(data, sizeof data, "tests/golden/optim/%s.json", alterations[i].data);
    FILE *file = fopen(path, "r");
    CU_ASSERT_FATAL(file != NULL);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    char *at = strstr(text, alterations[i].from);
    CU_ASSERT(at != NULL);
    if (!at) {
      printf("\n  '%s' is not in %s", alterations[i].from, path);
      continue;
    }
    int length = snprintf(altered, sizeof altered, "%.*s%s%s", (int)(at - text), text, alterations[i].to, at + strlen(alterations[i].from));
    snprintf(rule, sizeof rule, "%s", in_folder("altered.opt"));
    write_text(rule, altered, (size_t)length);
    expect((const char *[]){data, "--rule", rule, NULL}, 3, "FAIL");
  }
}

static void test_unaltered_rule(void) { expect((const char *[]){"tests/golden/optim/adamw.json", "--rule=rules/adamw.opt", NULL}, 0, "ok "); }

/* --- one number of the data -------------------------------------------------------------------------------------------------------- */
/* path: keys and indices of the number; it becomes x + 1e-4 + 1e-4*x, or what `to` says. */
static const struct { const char *data, *path, *says; } numbers[] = {
  {"sgd", "params/4/1/30", "params t1[30] step 5"}, {"adamw", "params/0/0/0", "params t0[0] step 1"}, {"adamw", "state/exp_avg/1/3", "exp_avg t1[3]"},
  {"adamw", "state/exp_avg_sq/2/23", "exp_avg_sq t2[23]"}, {"sgd_momentum", "grads/2/0/5", "first params t0[5] step 3"}, {"nadam", "state_scalars/mu_product/0", "mu_product"},
  {"lion", "tensors/0/init/2", "step 1"}, {"sophia_g", "extra_inputs/hess_grad/1/0/0", NULL}, {"schedulefree_adamw", "state/x_eval/0/0", "x_eval t0[0]"},
  {"schedulefree_adamw", "state_scalars/weight_sum", "weight_sum"}, {"ema", "extra_inputs/model_param/3/2/7", "step 4"}, {"harpg", "hessian_point/2/1/8", "hessian_point t1[8] step 3"},
  {"harpg", "extra_inputs/q/3", "hessian_point"}, {"mezo", "minus/1/0/7", "minus layer_norm.weight[7] step 2"}, {"mezo", "extra_inputs/loss_plus/0", NULL},
  {"triple_momentum", "output_point/5/2/0", "output_point t2[0] step 6"}, {"nesterov_tk", "state_scalars/t_per_step/2", "t_per_step step 3"}, {"adamw", "hyper/betas/1", NULL}, {"schedules", "list/11/momentum/7", "onecycle_cos  40 steps"}};

static void alter(json_t *root, const char *path) {
  char keys[200], *rest = NULL;
  snprintf(keys, sizeof keys, "%s", path);
  json_t *at = root, *parent = NULL;
  char *last = NULL;
  for (char *key = strtok_r(keys, "/", &rest); key; key = strtok_r(NULL, "/", &rest)) {
    parent = at;
    last = key;
    at = json_is_array(at) ? json_array_get(at, (size_t)atoi(key)) : json_object_get(at, key);
  }
  CU_ASSERT_FATAL(json_is_number(at) && parent);
  json_t *changed = json_real(json_number_value(at)*1.0001 + 1e-4);
  if (json_is_array(parent)) json_array_set_new(parent, (size_t)atoi(last), changed);
  else json_object_set_new(parent, last, changed);
}

/* A data file with one number altered, and what check says of it. */
static void expect_departure(const char *data, const char *number, const char *option, const char *says) {
  char path[200], altered[4200];
  snprintf(path, sizeof path, "tests/golden/%s.json", data);
  snprintf(altered, sizeof altered, "%s", in_folder("altered.json"));
  json_t *root = json_load_file(path, 0, NULL);
  CU_ASSERT_FATAL(root != NULL);
  alter(root, number);
  CU_ASSERT_EQUAL(json_dump_file(root, altered, JSON_COMPACT), 0);
  json_decref(root);
  expect((const char *[]){altered, option, NULL}, 3, says);
}

static void test_altered_data(void) {
  for (size_t i = 0; i < sizeof numbers/sizeof *numbers; i++) {
    char data[100];
    snprintf(data, sizeof data, "optim/%s", numbers[i].data);
    expect_departure(data, numbers[i].path, NULL, numbers[i].says ? numbers[i].says : "FAIL");
  }
}

static void test_altered_calls(void) {
  for (size_t i = 0; i < sizeof calls/sizeof *calls; i++) expect_departure(calls[i].data, calls[i].path, "--backend=interp", calls[i].says);
}

/* --- what is not data --------------------------------------------------------------------------------------------------------------- */
#define DATA(hyper, tensors, steps, grads, params) "{\"rule\": \"sgd\", \"hyper\": " hyper ", \"tensors\": " tensors ", \"steps\": " steps ", \"grads\": " grads ", \"params\": " params "}"
#define ONE "[{\"name\": \"a\", \"shape\": [2], \"init\": [1, 2]}]"
static const struct { const char *text, *says; } malformed[] = {
  {"", "line 1"}, {"{", "line 1"}, {"[1, 2", "line 1"}, {"nonsense", "line 1"}, {"[]", "not a JSON object"}, {"{}", "no string 'rule'"}, {"{\"rule\": 3}", "no string 'rule'"},
  {"{\"rule\": \"no_such_rule\"}", "no rule 'no_such_rule'"}, {"{\"rule\": \"../rules/sgd\"}", "no rule"}, {"{\"rule\": \"sgd\"}", "no list 'tensors'"},
  {DATA("{}", ONE, "\"1\"", "[[[1, 1]]]", "[[[1, 2]]]"), "'steps'"},
  {DATA("{}", ONE, "2", "[[[1, 1]]]", "[[[1, 2]]]"), "'params' has 1 steps"},
  {DATA("{}", ONE, "1", "[[[1]]]", "[[[1, 2]]]"), "grads[0][0] has 1 numbers, the tensor has 2"},
  {DATA("{}", ONE, "1", "[[[1, null]]]", "[[[1, 2]]]"), "grads[0][0][1] is not a number"},
  {DATA("{}", ONE, "1", "[[]]", "[[[1, 2]]]"), "grads[0] has 0 tensors"},
  {DATA("{}", ONE, "1", "[]", "[[[1, 2]]]"), "grads"},
  {DATA("{}", ONE, "1", "null", "[[[1, 2]]]"), "needs 'grads'"},
  {DATA("{}", ONE, "1", "[[[1, 1]]]", "[[[1, 2, 3]]]"), "params[0][0] has 3 numbers"},
  {DATA("{}", ONE, "1", "[[[1, 1]]]", "[[null]]"), "params"},
  {DATA("{}", ONE, "1", "[[[1, 1]]]", "[null]"), "params"},
  {DATA("{}", "[]", "1", "[[]]", "[[]]"), "'tensors' is empty"},
  {DATA("{}", "[{}]", "1", "[[[1, 1]]]", "[[[1, 2]]]"), "tensors[0].name"},
  {DATA("{}", "[{\"name\": \"a\", \"shape\": [-2], \"init\": []}]", "1", "[[[]]]", "[[[]]]"), "tensors[0].shape[0] is not an extent"},
  {DATA("{}", "[{\"name\": \"a\", \"shape\": [1000000, 1000000], \"init\": []}]", "1", "[[[]]]", "[[[]]]"), "tensors[0].shape[1] is not an extent"},
  {DATA("{}", "[{\"name\": \"a\", \"shape\": [3], \"init\": [1, 2]}]", "1", "[[[1, 1]]]", "[[[1, 2]]]"), "has 2 numbers, the tensor has 3"},
  {DATA("{\"lr\": \"fast\"}", ONE, "1", "[[[1, 1]]]", "[[[1, 2]]]"), "hyper.lr is not a number"},
  {DATA("{\"lr\": true}", ONE, "1", "[[[1, 1]]]", "[[[1, 2]]]"), "hyper.lr is not a number"},
  {DATA("{\"nesterov\": 2}", ONE, "1", "[[[1, 1]]]", "[[[1, 2]]]"), "hyper.nesterov is not true or false"},
  {DATA("{\"lr\": -1}", ONE, "1", "[[[1, 1]]]", "[[[1, 2]]]"), "requirement not met"},
  {"{\"rule\": \"schedules\", \"list\": [{\"name\": \"step\", \"hyper\": {\"step_size\": 2}}]}", "step: no list 'values'"},
  {"{\"rule\": \"schedules\", \"list\": [{\"name\": \"step\", \"hyper\": {}, \"values\": [1]}]}", "step: hyper.step_size is missing"},
  {"{\"rule\": \"schedules\", \"list\": [{\"name\": \"sgd\", \"values\": [1]}]}", "belongs to a tensor"},
  {"{\"rule\": \"schedules\", \"list\": [1]}", "no string 'name'"},
  {DATA("[]", ONE, "1", "[[[1, 1]]]", "[[[1, 2]]]"), "'hyper' is not an object"},
};

static void test_malformed(void) {
  for (size_t i = 0; i < sizeof malformed/sizeof *malformed; i++) {
    char path[4200];
    snprintf(path, sizeof path, "%s", in_folder("malformed.json"));
    write_text(path, malformed[i].text, strlen(malformed[i].text));
    expect((const char *[]){path, NULL}, 1, malformed[i].says);
  }
}

static void test_special_numbers(void) {
  static const char text[] = DATA("{\"lr\": 1}", "[{\"name\": \"a\", \"shape\": [3], \"init\": [0, 1, \"nan\"]}, {\"name\": \"b\", \"shape\": [], \"init\": [1]}]", "1",
    "[[[\"-inf\", 1, 1], [3]]]", "[[[\"inf\", 0, \"nan\"], [-2]]]");
  char path[4200];
  snprintf(path, sizeof path, "%s", in_folder("special.json"));
  write_text(path, text, sizeof text - 1);
  expect((const char *[]){path, NULL}, 0, "max 0 of tolerance");
}

static void test_gradients(void) {
  expect((const char *[]){"--gradient", "--backend=interp", "tests/golden/attention/sdpa_gqa.json", "tests/golden/attention/delta_rule.json", "tests/golden/attention/sinkhorn_log.json", NULL}, 0, "random");
  expect((const char *[]){"--gradient", "tests/golden/optim/sgd.json", NULL}, 1, "no entry backward");
  static const char rule[] = "rule small() { in x[N]\n out y[N]\n backward wrt x\n y = x + where(x > 2, 1, 0) }";
  static const char data[] = "{\"rule\": \"small\", \"inputs\": {\"x\": {\"shape\": [3], \"data\": [1, 2, 3]}}, \"outputs\": {\"y\": {\"shape\": [3], \"data\": [1, 4, 9]}}}";
  char path[4200];
  snprintf(path, sizeof path, "%s", in_folder("small.opt"));
  write_text(path, rule, strlen(rule));
  write_text(in_folder("small.json"), data, strlen(data));
  expect((const char *[]){"--gradient", "--rule", path, in_folder("small.json"), NULL}, 3, "dx");
  static const struct { const char *text; int code; } by_hand[] = {
    {"rule small() { in x[N]\n out y[N]\n y = x*x\n entry backward { in dy[N]\n out dx[N]\n dx = 2*x*dy } }", 0},
    {"rule small() { in x[N]\n out y[N]\n backward wrt x\n y = x*x\n entry backward { in dy[N]\n out dx[N]\n dx = 3*x*dy } }", 3},
  };
  for (int i = 0; i < 2; i++) {
    write_text(path, by_hand[i].text, strlen(by_hand[i].text));
    expect((const char *[]){"--gradient", "--rule", path, in_folder("small.json"), NULL}, by_hand[i].code, "dx");
  }
}

/* Without recorded data: a rule on inputs that are made up. */
static void test_gradients_of_a_rule_alone(void) {
  static const char text[] = "rule other() { in x[N]\n out y[N]\n backward wrt x\n y = x }\n"
    "rule steps(lr = 0.1) { param p\n grad g\n state m = 0\n m += g\n p -= lr*m }\n"
    "rule small(k: int = 2, s = 0.5 as \"scales[0]\") { in x[N, D], w[D], n[N]: i32\n out y[N]\n y[i] = k*s*sum[d](x[i, d]*w[d]) + n[i]\n"
    " entry backward { in dy[N]\n out dx[N, D]\n dx[i, d] = 2*s*w[d]*dy[i] } }";
  static const struct { const char *option; int code; const char *says; } runs[] = {
    {"--size=N=5,D=3", 0, "6 numbers"}, {"--set=k=3", 3, "dx"}, {"--set=scales[0]=3", 0, "6 numbers"}, {"--set=kk=3", 2, "did you mean 'k'?"}, {"--set=k=1.5", 2, "'k' is an integer"},
    {"--size=Q=3", 2, "there are N, D"}, {"--shape=x=5", 1, "tensor 'x' has 1 axes, [N, D] wants 2"}, {"--rule=other", 0, "6 numbers"}, {"--rule=nobody", 2, "no rule 'nobody'"}, {"--size=N=0", 1, "nothing is compared"}, {"--size=D=0", 1, "nothing is compared"}, {"--rule=steps", 1, "rule 'steps' has no entry backward: nothing to compare"}, {"--positive", 0, "6 numbers"}};
  char path[4200];
  snprintf(path, sizeof path, "%s", in_folder("alone.opt"));
  write_text(path, text, sizeof text - 1);
  for (size_t i = 0; i < sizeof runs/sizeof *runs; i++) expect((const char *[]){"--gradient", path, runs[i].option, "--backend=interp", NULL}, runs[i].code, runs[i].says);
  expect((const char *[]){path, NULL}, 1, "--gradient takes a rule alone");
  expect((const char *[]){"--gradient", "rules/adamw.opt", NULL}, 1, "rule 'adamw' has no entry backward");
  static const char narrow[] = "rule narrow(s = 1) { in x[N]: bf16, y[N]: f16; out z[N]: bf16\n backward wrt x, y\n z[i] = s*x[i]^2*exp(y[i]) }\n";
  snprintf(path, sizeof path, "%s", in_folder("narrow.opt"));
  write_text(path, narrow, sizeof narrow - 1);
  expect((const char *[]){"--gradient", path, "--backend=interp", NULL}, 0, "12 numbers");
  expect((const char *[]){"--gradient", path, "--backend=interp", "--set=s=inf", NULL}, 3, "depart");
}

/* Names that the rule has not are told, numbers that its types have not are refused. */
static void test_data_for_gradients(void) {
  static const char text[] = "rule small(k: int = 2) { in x[N], n[N]: i8\n out y[N]\n backward wrt x\n y[i] = k*x[i]^2 + n[i] }";
  static const struct { const char *data; int code; const char *says; } runs[] = {
    {"\"inputs\": {\"x\": [1, 2], \"n\": [1, 2], \"z\": [1]}", 0, "not used: inputs.z"}, {"\"hyper\": {\"kk\": 3}, \"inputs\": {\"x\": [1, 2], \"n\": [1, 2]}", 0, "not used: hyper.kk"},
    {"\"hyper\": {\"k\": 1.5}, \"inputs\": {\"x\": [1, 2], \"n\": [1, 2]}", 1, "hyper.k is not an integer"}, {"\"inputs\": {\"x\": [1, 2], \"n\": [1, 2.5]}", 1, "n[1] is 2.5, 'n' is i8"},
    {"\"inputs\": {\"x\": [1, 2], \"n\": [256, 2]}", 1, "n[0] is 256, 'n' is i8"}, {"\"inputs\": {\"x\": [1, 2], \"n\": [1]}", 1, "axis 0 of tensor 'n' is 1, N is 2"},
    {"\"inputs\": {\"x\": {\"shape\": [3], \"data\": [1, 2]}, \"n\": [1]}", 1, "x has 2 numbers, the tensor has 3"},
    {"\"inputs\": {\"x\": {\"shape\": [4294967296, 4294967296], \"data\": []}, \"n\": [1]}", 1, "x.shape[0] is not an extent"},
    {"\"inputs\": {\"x\": {\"shape\": [2], \"dtype\": \"f99\", \"data\": [1, 2]}, \"n\": [1, 2]}", 1, "unknown dtype 'f99'"},
    {"\"inputs\": {\"x\": {\"shape\": [2], \"dtype\": \"f32\", \"data\": [1, 2]}, \"n\": [1, 2]}", 0, "random"},
    {"\"inputs\": {\"x\": {\"shape\": [-1], \"data\": []}, \"n\": [1]}", 1, "x.shape[0] is not an extent"}, {"\"inputs\": {\"x\": {\"shape\": 3, \"data\": []}, \"n\": [1]}", 1, "x.shape is not a list"}, {"\"inputs\": {\"n\": [1]}", 1, "the rule needs 'x'"}};
  char rule[4200], data[4200], json[1000];
  snprintf(rule, sizeof rule, "%s", in_folder("alone.opt"));
  snprintf(data, sizeof data, "%s", in_folder("small.json"));
  write_text(rule, text, sizeof text - 1);
  for (size_t i = 0; i < sizeof runs/sizeof *runs; i++) {
    int n = snprintf(json, sizeof json, "{\"rule\": \"small\", %s}", runs[i].data);
    write_text(data, json, (size_t)n);
    expect((const char *[]){"--gradient", "--rule", rule, data, "--backend=interp", NULL}, runs[i].code, runs[i].says);
  }
}

static void test_ptx_executed(void) {
  expect((const char *[]){"--backend=ptx", "tests/golden/optim/adamw.json", "tests/golden/attention/sdpa_gqa.json", NULL}, 0, "ok ");
  expect((const char *[]){"--gpu=sm_90", "-O0", "tests/golden/optim/lion.json", NULL}, 0, "ok ");
  expect((const char *[]){"--gpu=sm_12", "tests/golden/optim/lion.json", NULL}, 2, "unknown GPU 'sm_12'");
  expect((const char *[]){"--fast", "--backend=ptx", "tests/golden/optim/muon.json", NULL}, 3, "these bars are of exact products; what --fast may be off by is in docs/language.md, --within X");
  expect((const char *[]){"--fast", "--backend=ptx", "--within=0.01", "tests/golden/optim/muon.json", NULL}, 0, "ok ");
}

static void test_usage(void) {
  expect((const char *[]){NULL}, 2, "no recorded data");
  expect((const char *[]){"--backend=gpu", "x.json", NULL}, 2, "--backend: unknown value 'gpu'");
  expect((const char *[]){"--no-such", "x.json", NULL}, 2, "unknown option '--no-such'");
  expect((const char *[]){"--help", NULL}, 0, "optc check DATA.json");
  expect((const char *[]){"--rulez=x", "x.json", NULL}, 2, "did you mean '--rule");
  expect((const char *[]){"-O7", "x.json", NULL}, 2, "there is no level -O7");
  expect((const char *[]){"x.json", "--rules", NULL}, 2, "wants a value");
  expect((const char *[]){"x.json", "--compute=f16", NULL}, 2, "'f16'");
  expect((const char *[]){"no/such/file.json", NULL}, 1, "no/such/file.json");
  expect((const char *[]){"tests/golden/optim/adamw.json", "--rule=no/such/file.opt", NULL}, 1, "no/such/file.opt");
}

static void test_no_compiler(void) {
  char *old = getenv("CC") ? strdup(getenv("CC")) : NULL;
  setenv("CC", "/no/such/compiler", 1);
  expect((const char *[]){"tests/golden/optim/sgd.json", "--backend=aot", NULL}, 1, "cannot be run");
  if (old) setenv("CC", old, 1);
  else unsetenv("CC");
  free(old);
}

int main(void) {
  ssize_t n = readlink("/proc/self/exe", command, sizeof command - 16);
  if (n <= 0 || !mkdtemp(folder)) return 1;
  command[n] = 0;
  for (int up = 0; up < 2; up++) *strrchr(command, '/') = 0;
  strcat(command, "/optc");
  if (getenv("OPTC")) snprintf(command, sizeof command, "%s", getenv("OPTC"));
  if (access(command, X_OK)) return fprintf(stderr, "%s is not built\n", command), 1;
  static const SuiteTest right[] = {{"the interpreter of graphs at -O0 agrees with every recorded file", test_interp_O0}, {"at -O2", test_interp_O2},
    {"the interpreter of kernels at -O0 agrees", test_kernels_O0}, {"at -O2", test_kernels_O2}, {"machine code at -O0 agrees", test_jit_O0}, {"at -O1", test_jit_O1},
    {"at -O2", test_jit_O2}, {"objects at -O0 agree", test_aot_O0}, {"at -O2", test_aot_O2}, {"--rule takes another file", test_unaltered_rule},
    {"inf, nan and tensors without axes are compared", test_special_numbers},
    {"the interpreter agrees with data of every format", test_formats_interp}, {"machine code", test_formats_jit}, {"objects", test_formats_aot}, {"arithmetic in f64", test_formats_f64},
    {"names, lists and shapes of small data", test_small}, {"what departs in f64 is told in its digits", test_digits_of_f64}};
  static const SuiteTest wrong[] = {{"a rule altered in one constant departs", test_altered_rule}, {"data altered in one number departs, and where is said", test_altered_data},
    {"calls altered in one number depart", test_altered_calls}, {"gradients are compared with differences", test_gradients},
    {"gradients of a rule alone, on inputs that are made up", test_gradients_of_a_rule_alone}, {"data for gradients", test_data_for_gradients},
    {"PTX is executed", test_ptx_executed}};
  static const SuiteTest bad[] = {{"malformed data is refused with a reason", test_malformed}, {"bad usage is refused", test_usage}, {"aot without a C compiler says so", test_no_compiler}};
  static const TestSuite suites[] = {
    SUITE("what ships is right", right, NULL, NULL),
    SUITE("what is wrong is found", wrong, NULL, NULL),
    SUITE("what is not data is refused", bad, NULL, NULL),
  };
  int failed = suites_run(suites, sizeof suites/sizeof *suites);
  static const char *const made[] = {"said", "alone.opt", "altered.opt", "altered.json", "malformed.json", "special.json"};
  for (size_t i = 0; i < sizeof made/sizeof *made; i++) unlink(in_folder(made[i]));
  rmdir(folder);
  return failed;
}
