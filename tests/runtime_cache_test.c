/* runtime_cache_test.c: compiled rules on disk: found again, never believed when damaged, never in the way. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "runtime/optc.h"
#include "tests/support/suite.h"

static const char rule_text[] = "rule sgd(lr = 1e-3) {\n  param p\n  grad g\n  p -= lr*g\n}\n";
static char folder[64];                  /* a new one for each test */

static char *in_folder(const char *name) {
  static char path[4][512];
  static int next;
  char *p = path[next++ % 4];
  snprintf(p, sizeof path[0], "%s/%s", folder, name);
  return p;
}

static void folder_make(void) {
  strcpy(folder, "/tmp/optc-cache-XXXXXX");
  CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
}
static void folder_remove(void) {
  char command[256];
  snprintf(command, sizeof command, "chmod -R u+rwx %s; rm -rf %s", folder, folder);
  CU_ASSERT_EQUAL(system(command), 0);
}

/* Entries in the cache; *path: one of them. Anything else than entries (a temporary file left behind) counts as 1000. */
static int entries(const char *cache, char *path) {
  DIR *d = opendir(cache);
  int n = 0;
  for (struct dirent *e; d && (e = readdir(d));) {
    if (e->d_name[0] == '.') continue;
    n += strlen(e->d_name) == 64 ? 1 : 1000;
    if (path) snprintf(path, 512, "%s/%s", cache, e->d_name);
  }
  if (d) closedir(d);
  return n;
}

static void write_file(const char *path, const void *data, size_t size) {
  FILE *f = fopen(path, "wb");
  CU_ASSERT_PTR_NOT_NULL_FATAL(f);
  CU_ASSERT_EQUAL(fwrite(data, 1, size, f), size);
  fclose(f);
}
static size_t read_file(const char *path, char **data) {
  struct stat st;
  FILE *f = fopen(path, "rb");
  CU_ASSERT_PTR_NOT_NULL_FATAL(f);
  fstat(fileno(f), &st);
  *data = malloc((size_t)st.st_size + 1);
  size_t n = fread(*data, 1, (size_t)st.st_size, f);
  fclose(f);
  return n;
}

/* p = 1, g = 1, lr = 0.25: 0.75 if the code is right. */
static bool works(const optc_rule *rule) {
  float p = 1, g = 1;
  int64_t shape[1] = {1}, t = 0;
  double lr = 0.25;
  const double *groups[] = {&lr};
  DLTensor tensor[2] = {{.data = &p}, {.data = &g}}, *pointer[2] = {&tensor[0], &tensor[1]};
  for (int k = 0; k < 2; k++) {
    tensor[k].device.device_type = kDLCPU;
    tensor[k].dtype = (DLDataType){kDLFloat, 32, 1};
    tensor[k].ndim = 1;
    tensor[k].shape = shape;
  }
  optc_item_args item = {.tensor = pointer};
  optc_call_args call = {.size = sizeof call, .groups = groups, .n_groups = 1, .items = &item, .n_items = 1, .t = &t};
  return optc_rule_call(rule, optc_rule_entry(rule, "step"), &call) == OPTC_OK && p == 0.75f;
}

/* Compiles with a new context, as a new process would; the number of code generations, or -1 for a rule that does not work. */
static int compiled(const char *cache, const char *text, const optc_compile_options *options) {
  optc_context *cx = optc_context_new(&(optc_context_options){.size = sizeof(optc_context_options), .cache_dir = cache});
  optc_rule *rule = NULL;
  int status = optc_compile_memory(cx, "sgd.opt", text, strlen(text), options, &rule);
  if (status) fprintf(stderr, "%s", optc_context_diagnostics(cx));
  int n = !status && works(rule) ? (int)optc_context_compilations(cx) : -1;
  optc_rule_free(rule);
  optc_context_free(cx);
  return n;
}

static void a_second_compilation_comes_from_the_cache(void) {
  folder_make();
  char *cache = in_folder("deep/er/cache");
  CU_ASSERT_EQUAL(compiled(cache, rule_text, NULL), 1);
  CU_ASSERT_EQUAL(compiled(cache, rule_text, NULL), 0);
  CU_ASSERT_EQUAL(entries(cache, NULL), 1);
  struct stat st;
  CU_ASSERT_EQUAL(stat(cache, &st), 0);
  CU_ASSERT_EQUAL(st.st_mode & 0777, 0700);
  CU_ASSERT_EQUAL(compiled("", rule_text, NULL), 1);
  folder_remove();
}

static void what_code_depends_on_is_in_the_key(void) {
  folder_make();
  char *cache = in_folder("cache");
  optc_compile_options o0 = {.size = sizeof o0, .level = 0}, v2 = {.size = sizeof v2, .level = 2, .cpu = "x86-64-v2"}, passes = {.size = sizeof passes, .level = 2, .passes = "expand,lower"},
                       fast = {.size = sizeof fast, .level = 2, .fast = 1};
  CU_ASSERT_EQUAL(compiled(cache, rule_text, NULL), 1);
  CU_ASSERT_EQUAL(compiled(cache, rule_text, &o0), 1);
  CU_ASSERT_EQUAL(compiled(cache, rule_text, &v2), 1);
  CU_ASSERT_EQUAL(compiled(cache, rule_text, &passes), 1);
  CU_ASSERT_EQUAL(compiled(cache, rule_text, &fast), 1);
  CU_ASSERT_EQUAL(compiled(cache, "rule sgd(lr = 2e-3) {\n  param p\n  grad g\n  p -= lr*g\n}\n", NULL), 1);
  CU_ASSERT_EQUAL(entries(cache, NULL), 6);
  CU_ASSERT_EQUAL(compiled(cache, rule_text, &o0), 0);
  CU_ASSERT_EQUAL(compiled(cache, rule_text, &v2), 0);
  folder_remove();
}

static void a_used_file_is_in_the_key(void) {
  folder_make();
  char *cache = in_folder("cache"), *base = in_folder("base.opt"), *user = in_folder("user.opt");
  static const char text[] = "use \"base.opt\"\nrule both(lr = 1e-3) {\n  param p\n  grad g\n  p -= scaled(lr)*g\n}\n";
  static const char *const bases[] = {"fn scaled(x) = x*1\n", "fn scaled(x) = x*2\n", "fn scaled(x) = x*1\n"};
  static const int expected[] = {1, 1, 0};
  write_file(user, text, strlen(text));
  for (int i = 0; i < 3; i++) {
    write_file(base, bases[i], strlen(bases[i]));
    optc_context *cx = optc_context_new(&(optc_context_options){.size = sizeof(optc_context_options), .cache_dir = cache});
    optc_rule *rule = NULL;
    int status = optc_compile_file(cx, user, NULL, &rule);
    if (status) fprintf(stderr, "%s", optc_context_diagnostics(cx));
    CU_ASSERT_EQUAL_FATAL(status, OPTC_OK);
    CU_ASSERT_EQUAL(works(rule), i != 1);
    CU_ASSERT_EQUAL(optc_context_compilations(cx), (unsigned)expected[i]);
    optc_rule_free(rule);
    optc_context_free(cx);
  }
  folder_remove();
}

/* Damage to a stored entry: each is found, compiled anew and repaired. */
static size_t flip_first(char *data, size_t n) { data[0] ^= 1; return n; }
static size_t flip_key(char *data, size_t n) { data[9] ^= 1; return n; }
static size_t flip_size(char *data, size_t n) { data[47] ^= (char)0x80; return n; }
static size_t flip_checksum(char *data, size_t n) { data[80] ^= 4; return n; }
static size_t flip_code(char *data, size_t n) { data[n - n/3] ^= 0x10; return n; }
static size_t flip_last(char *data, size_t n) { data[n - 1] ^= 1; return n; }
static size_t cut_half(char *data, size_t n) { return n/2; }
static size_t cut_one(char *data, size_t n) { return n - 1; }
static size_t cut_head(char *data, size_t n) { return 20; }
static size_t cut_all(char *data, size_t n) { return 0; }
static size_t zeroes(char *data, size_t n) { memset(data, 0, n); return n; }
static size_t foreign(char *data, size_t n) { return (size_t)snprintf(data, n, "Dear diary,\n"); }
static size_t lengthen(char *data, size_t n) { return n + 1; }

static void damaged_entries_are_replaced(void) {
  static size_t (*const damage[])(char *, size_t) = {flip_first, flip_key, flip_size, flip_checksum, flip_code, flip_last, cut_half, cut_one, cut_head, cut_all, zeroes, foreign, lengthen};
  folder_make();
  char *cache = in_folder("cache"), entry[512];
  CU_ASSERT_EQUAL(compiled(cache, rule_text, NULL), 1);
  for (size_t i = 0; i < sizeof damage/sizeof *damage; i++) {
    CU_ASSERT_EQUAL_FATAL(entries(cache, entry), 1);
    char *data;
    size_t n = read_file(entry, &data);
    data[n] = 0;
    write_file(entry, data, damage[i](data, n));
    free(data);
    CU_ASSERT_EQUAL(compiled(cache, rule_text, NULL), 1);
    CU_ASSERT_EQUAL(compiled(cache, rule_text, NULL), 0);
  }
  CU_ASSERT_EQUAL(entries(cache, NULL), 1);
  folder_remove();
}

static void an_entry_of_another_rule_is_not_taken(void) {
  folder_make();
  char *cache = in_folder("cache"), *other = in_folder("other"), mine[512], theirs[512], *data;
  CU_ASSERT_EQUAL(compiled(cache, rule_text, NULL), 1);
  CU_ASSERT_EQUAL(compiled(other, "rule sgd(lr = 2e-3) {\n  param p\n  grad g\n  p -= lr*g\n}\n", NULL), 1);
  entries(cache, mine);
  entries(other, theirs);
  size_t n = read_file(theirs, &data);
  write_file(mine, data, n);
  free(data);
  CU_ASSERT_EQUAL(compiled(cache, rule_text, NULL), 1);
  folder_remove();
}

static void an_entry_that_others_may_write_is_not_run(void) {
  folder_make();
  char *cache = in_folder("cache"), entry[512];
  CU_ASSERT_EQUAL(compiled(cache, rule_text, NULL), 1);
  entries(cache, entry);
  chmod(entry, 0666);
  CU_ASSERT_EQUAL(compiled(cache, rule_text, NULL), 1);
  CU_ASSERT_EQUAL(compiled(cache, rule_text, NULL), 0);     /* it was replaced by one of our own */
  folder_remove();
}

static void a_folder_that_cannot_be_used_is_no_error(void) {
  folder_make();
  char *file = in_folder("file"), *below = in_folder("file/cache"), *read_only = in_folder("read-only");
  write_file(file, "x", 1);
  CU_ASSERT_EQUAL(compiled(below, rule_text, NULL), 1);
  CU_ASSERT_EQUAL(compiled(file, rule_text, NULL), 1);
  CU_ASSERT_EQUAL(compiled("/proc/optc-cache", rule_text, NULL), 1);
  mkdir(read_only, 0555);
  chmod(folder, 0755);
  pid_t child = fork();
  if (!child) {                                             /* root may write anywhere: become somebody else */
    if (geteuid() == 0 && (setgid(65534) || setuid(65534))) _exit(9);
    _exit(compiled(read_only, rule_text, NULL) == 1 && entries(read_only, NULL) == 0 ? 0 : 1);
  }
  int status;
  waitpid(child, &status, 0);
  CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  folder_remove();
}

static void processes_at_the_same_time_do_not_disturb_each_other(void) {
  enum { PROCESSES = 6 };
  folder_make();
  char *cache = in_folder("cache");
  pid_t child[PROCESSES];
  int gate[2];
  CU_ASSERT_EQUAL_FATAL(pipe(gate), 0);
  for (int i = 0; i < PROCESSES; i++)
    if (!(child[i] = fork())) {
      char byte;
      close(gate[1]);
      ssize_t n = read(gate[0], &byte, 1);                  /* all start when the gate is closed */
      bool good = n == 0;
      for (int k = 0; k < 5 && good; k++) {
        good = compiled(cache, rule_text, NULL) >= 0;
        char entry[512];
        if (k == i % 5 && entries(cache, entry)) unlink(entry);
      }
      _exit(good ? 0 : 1);
    }
  close(gate[0]);
  close(gate[1]);
  for (int i = 0; i < PROCESSES; i++) {
    int status;
    waitpid(child[i], &status, 0);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  CU_ASSERT(compiled(cache, rule_text, NULL) >= 0);
  CU_ASSERT_EQUAL(compiled(cache, rule_text, NULL), 0);
  CU_ASSERT_EQUAL(entries(cache, NULL), 1);
  folder_remove();
}

static void warnings_are_told_again_when_the_code_comes_from_the_cache(void) {
  static const char text[] = "rule sgd(lr = 1e-3) {\n  param p\n  grad g\n  unused = 2*g\n  p -= lr*g\n}\n";
  folder_make();
  char *cache = in_folder("cache"), first[2048] = "";
  for (int i = 0; i < 2; i++) {
    optc_context *cx = optc_context_new(&(optc_context_options){.size = sizeof(optc_context_options), .cache_dir = cache});
    optc_rule *rule = NULL;
    CU_ASSERT_EQUAL(optc_compile_memory(cx, "sgd.opt", text, strlen(text), NULL, &rule), OPTC_OK);
    CU_ASSERT_EQUAL(optc_context_compilations(cx), i == 0);
    if (!i) snprintf(first, sizeof first, "%s", optc_context_diagnostics(cx));
    else CU_ASSERT_STRING_EQUAL(optc_context_diagnostics(cx), first);
    CU_ASSERT(strstr(optc_context_diagnostics(cx), "never used") != NULL);
    optc_rule_free(rule);
    optc_context_free(cx);
  }
  folder_remove();
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(a_second_compilation_comes_from_the_cache), TEST(what_code_depends_on_is_in_the_key), TEST(a_used_file_is_in_the_key), TEST(damaged_entries_are_replaced),
    TEST(an_entry_of_another_rule_is_not_taken), TEST(an_entry_that_others_may_write_is_not_run), TEST(a_folder_that_cannot_be_used_is_no_error),
    TEST(processes_at_the_same_time_do_not_disturb_each_other), TEST(warnings_are_told_again_when_the_code_comes_from_the_cache),
  };
  return suite_run("runtime cache", tests);
}
