/* runtime_command_test.c: the optc command from outside: exit codes, outputs, bad input. OPTC names the program (default build/optc). */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/support/suite.h"

static char optc[PATH_MAX];
static char folder[] = "/tmp/optc-command-XXXXXX";          /* the working directory of every run */

static const char sgd[] = "## Plain gradient descent.\nrule sgd(lr = 1e-3) {\n  param p\n  grad g\n  p -= lr*g\n}\n";
static const char two[] = "rule first(lr = 1e-3) { param p; grad g; p -= lr*g }\nrule second(lr = 1e-3) { param p; grad g; p += lr*g }\n";
static const char warned[] = "rule w(lr = 1e-3) {\n  param p\n  grad g\n  unused = 2*g\n  p -= lr*g\n}\n";
static const char wrong[] = "rule r(beta1 = 0.9) {\n  param p\n  grad g\n  p -= beta*g\n  p -= gg\n}\n";
static const char used[] = "use \"part.opt\"\nrule u(lr = 1e-3) {\n  param p\n  grad g\n  p -= twice(lr)*g\n}\n";
static const char part[] = "fn twice(x) = 2*x\n";
static const char many[] = "rule many() {\n  param p\n  grad g\n  state a, b, c, d, e, f, h, i, j\n  a += g; b += g; c += g; d += g; e += g; f += g; h += g; i += g; j += g\n  p -= g\n}\n";
static const char table[] = "rule r(lr = 1e-3) {\n  param p\n  grad g\n  p -= lr*g\n  entry table { p -= lr }\n}\n";
static const char integer[] = "rule a() {\n  param p\n  grad g\n  p -= g\n}\nrule i(warmup: int = 2, nesterov: bool = false) {\n  param p\n  grad g\n"
                              "  p -= where(nesterov, 1, 0.1)*warmup*g\n}\n";
/* Names that C and C++ have otherwise, and pairs that would meet as fields. */
static const char fields[] = "rule names(double = 1, double_ = 2, _Bool = 5, linux = 6, INT64_MAX = 7) {\n  param p\n  grad g\n"
  "  in int64_t, NULL, size_t, optc_tensor, group, group_, shape, names_item, class, _Complex, EOF, unix, and_eq\n  in global uint64_t, t_, seed, requires\n  state restrict, restrict_\n"
  "  restrict += int64_t + NULL + size_t + optc_tensor + group + group_ + shape + names_item + class + _Complex + EOF + unix + and_eq\n"
  "  restrict_ += uint64_t + t_ + seed + requires\n  p -= double*double_*_Bool*linux*INT64_MAX*(restrict + restrict_)\n}\n";
static const char library[] = "rule optc() {\n  param p\n  grad g\n  p -= g\n}\n";
static const char table_rows[] = "rule rows() {\n  in x[N, M]\n  out y[N, M]\n  y[i, j] = softmax[j](x[i, j])\n}\n";
static const char no_default[] = "rule n(lr as \"rates[0]\") {\n  param p\n  grad g\n  require lr > 0\n  p -= lr*g\n}\n";

typedef struct Run { int code; char out[1 << 16], err[1 << 16]; size_t out_size, err_size; } Run;
static Run result;                       /* of the last run */

typedef struct How { const char *input; size_t input_size; const char *stdout_path; rlim_t file_limit; bool closed_pipe; } How;

static bool put(const char *path, const void *data, size_t size) {
  FILE *f = fopen(path, "wb");
  bool done = f && fwrite(data, 1, size, f) == size;
  return f && !fclose(f) && done;
}
static void write_file(const char *path, const void *data, size_t size) { CU_ASSERT_FATAL(put(path, data, size)); }
static size_t slurp(const char *path, char *data, size_t most) {
  FILE *f = fopen(path, "rb");
  size_t n = f ? fread(data, 1, most - 1, f) : 0;
  data[n] = 0;
  if (f) fclose(f);
  return n;
}
static bool exists(const char *path) { return !access(path, F_OK); }
static long size_of(const char *path) {
  struct stat st;
  return stat(path, &st) ? -1 : (long)st.st_size;
}

/* Runs optc with the words of `line`; output and errors through files outside the working directory. */
static int run_with(const How *how, const char *line) {
  char words[4096], *argv[64] = {optc}, *rest = NULL, out[64], err[64], in[64];
  int n = 1;
  snprintf(words, sizeof words, "%s", line);
  for (char *w = strtok_r(words, " ", &rest); w && n < 63; w = strtok_r(NULL, " ", &rest)) argv[n++] = strcmp(w, "''") ? w : "";
  snprintf(out, sizeof out, "%s.out", folder);
  snprintf(err, sizeof err, "%s.err", folder);
  snprintf(in, sizeof in, "%s.in", folder);
  write_file(in, how->input ? how->input : "", how->input_size);
  fflush(NULL);
  pid_t child = fork();
  if (!child) {
    int pipes[2];
    if (!freopen(in, "r", stdin) || !freopen(err, "w", stderr)) _exit(120);
    if (how->closed_pipe) {
      if (pipe(pipes) || dup2(pipes[1], 1) < 0) _exit(120);
      close(pipes[0]);
      close(pipes[1]);
    } else if (!freopen(how->stdout_path ? how->stdout_path : out, "w", stdout)) _exit(120);
    if (how->file_limit) setrlimit(RLIMIT_FSIZE, &(struct rlimit){how->file_limit, how->file_limit});
    execv(optc, argv);
    _exit(121);
  }
  int status;
  waitpid(child, &status, 0);
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  result.out_size = slurp(out, result.out, sizeof result.out);
  result.err_size = slurp(err, result.err, sizeof result.err);
  return result.code;
}
static int run(const char *line) { return run_with(&(How){0}, line); }

static const char moment[] = "rule moment(lr = 0.1) {\n  param p\n  grad g\n  state m\n  m = 0.9*m + g\n  p -= lr*m\n}\n";
static const char arms[] = "rule arms(lr = 0.1, mu = 0.9) {\n  param p\n  grad g\n  if mu > 0 {\n    state b\n    b = mu*b + g\n    g = b\n  }\n  p -= lr*g\n}\n";
static const char perhaps[] = "rule perhaps(lr = 0.1, mu = 0.9) {\n  param p\n  grad g\n  grad h\n  require 0 <= mu < 1 and rank(p) > mu - 7\n  if mu > 0.5 {\n    state b\n    b = mu*b + h\n    p -= b\n  }\n  p -= lr*g\n}\n";
/* The working directory holds nothing but these sources and `others` more files; those are removed. */
static const struct { const char *name, *text; } sources[] = {
  {"sgd.opt", sgd}, {"two.opt", two}, {"warned.opt", warned}, {"wrong.opt", wrong}, {"used.opt", used}, {"part.opt", part},
  {"no_default.opt", no_default}, {"many.opt", many}, {"table.opt", table}, {"int.opt", integer}, {"arms.opt", arms}, {"perhaps.opt", perhaps},
  {"rows.opt", table_rows}, {"moment.opt", moment}, {"names.opt", fields}, {"optc.opt", library},
};
static int others(void) {
  int n = 0;
  DIR *d = opendir(".");
  for (struct dirent *e; d && (e = readdir(d));) {
    bool known = e->d_name[0] == '.' && (!e->d_name[1] || e->d_name[1] == '.');
    for (size_t i = 0; i < sizeof sources/sizeof *sources; i++) known |= !strcmp(e->d_name, sources[i].name);
    if (known) continue;
    n++;
    unlink(e->d_name);
  }
  if (d) closedir(d);
  return n;
}

#define EXPECT(code, line) do { int got_ = run(line); if (got_ != (code)) fprintf(stderr, "optc %s: exit code %d, expected %d\n%s", line, got_, code, result.err); \
    CU_ASSERT_EQUAL(got_, code); } while (0)
#define SAYS(text) do { if (!strstr(result.err, text)) fprintf(stderr, "no '%s' in:\n%s", text, result.err); CU_ASSERT(strstr(result.err, text) != NULL); } while (0)
#define PRINTS(text) do { if (!strstr(result.out, text)) fprintf(stderr, "no '%s' in:\n%.2000s", text, result.out); CU_ASSERT(strstr(result.out, text) != NULL); } while (0)

/* --- outputs ------------------------------------------------------------------------------------------------------------------------- */
static void object_and_header_are_written(void) {
  EXPECT(0, "sgd.opt -o sgd.o --header sgd.h");
  CU_ASSERT_EQUAL(result.err_size, 0);
  CU_ASSERT_EQUAL(result.out_size, 0);
  char head[8];
  slurp("sgd.o", head, sizeof head);
  CU_ASSERT(!memcmp(head, "\177ELF", 4));
  CU_ASSERT(size_of("sgd.h") > 100);
  CU_ASSERT_EQUAL(others(), 2);
  EXPECT(0, "compile -c sgd.opt");
  CU_ASSERT(exists("sgd.o"));
  CU_ASSERT_EQUAL(others(), 1);
}

/* What a caller from C cannot know otherwise: whether tensors may be shared between processes, and what lies in a state of codes. */
static void headers_tell_of_shards_and_of_codes(void) {
  static const char *const flat[] = {"count -1: nothing of it is here", "For processes that share", NULL}, *const whole[] = {"takes whole tensors, no shards (OPTC_E_SHARD)", NULL};
  static const char *const codes[] = {"state, u8: q8u codes (language, Codes), a byte an element", "the largest magnitude of each block of 64 elements of m: (n + 63)/64", NULL};
  static const char *const nibbles[] = {"q4 codes (language, Codes), two elements to a byte, the first in its low bits: (n + 1)/2 bytes", "each block of 128 elements of m: (n + 127)/128", NULL};
  static const struct { const char *line; const char *const *has, *not_has; } cases[] = {
    {"--emit=header sgd.opt", flat, "whole tensors, no shards"}, {"--emit=header rows.opt", whole, "For processes that share"},
    {"--emit=header moment.opt --store m=q8u[64]", codes, "For processes that share"}, {"--emit=header moment.opt --store m=q4", nibbles, "layout says"}};
  for (size_t i = 0; i < sizeof cases/sizeof *cases; i++) {
    EXPECT(0, cases[i].line);
    for (const char *const *has = cases[i].has; *has; has++) PRINTS(*has);
    CU_ASSERT_PTR_NULL(strstr(result.out, cases[i].not_has));
    char *once = strstr(result.out, "nothing of");
    CU_ASSERT(!once || !strstr(once + 1, "nothing of"));
  }
  CU_ASSERT_EQUAL(others(), 0);
}

/* Of a rule without recorded data too: what its PTX does is what the CPU does. */
static void ptx_of_any_rule_is_executed_on_made_up_data(void) {
  static const struct { const char *line, *says; } cases[] = {
    {"run sgd.opt --backend=ptx", "rule sgd, entry step: PTX for sm_80, executed without a GPU, has the CPU's bits: 70000 numbers after 2 calls"},
    {"run moment.opt --gpu=sm_90 --seed 7 -n 3000 -s 3 --store m=q8", "PTX for sm_90, executed without a GPU, has the CPU's bits: 6012 numbers after 3 calls"},
    {"run rows.opt --seed 1 --size N=5,M=300", "has the CPU's bits: 1500 numbers after 2 calls"}, {"run perhaps.opt --backend=ptx -s 1 --set mu=0.8 -n 70", "has the CPU's bits: 140 numbers after 1 call"},
    {"run sgd.opt --backend=ptx --format=json", "\"gpu\": \"sm_80\", \"steps\": 2, \"compared\": 70000, \"same\": true}"}};
  for (size_t i = 0; i < sizeof cases/sizeof *cases; i++) {
    EXPECT(0, cases[i].line);
    PRINTS(cases[i].says);
  }
  CU_ASSERT_EQUAL(others(), 0);
}

static void the_same_input_gives_the_same_bytes(void) {
  EXPECT(0, "sgd.opt -o a.o --header a.h");
  EXPECT(0, "sgd.opt -o b.o --header b.h");
  CU_ASSERT_EQUAL(system("cmp a.o b.o && cmp a.h b.h"), 0);
  others();
}

static void text_goes_to_standard_output(void) {
  static const struct { const char *line, *has; } kinds[] = {
    {"--emit=graph sgd.opt", "graph step"}, {"--emit=kernels sgd.opt", "program step"}, {"--emit=llvm-ir sgd.opt", "define"}, {"--emit=asm sgd.opt", ".text"},
    {"--emit=header sgd.opt", "sgd_step"}, {"--emit=ptx --gpu=sm_80 sgd.opt", ".target sm_80"}};
  for (size_t i = 0; i < sizeof kinds/sizeof *kinds; i++) {
    EXPECT(0, kinds[i].line);
    PRINTS(kinds[i].has);
  }
  CU_ASSERT_EQUAL(others(), 0);
  EXPECT(0, "sgd.opt -o -");
  CU_ASSERT(!memcmp(result.out, "\177ELF", 4));
}

static void objects_carry_ptx_for_several_gpus(void) {
  EXPECT(0, "sgd.opt --gpu=sm_80,sm_90 -o sgd.o --header sgd.h");
  CU_ASSERT_EQUAL(system("grep -q sgd_gpu sgd.h && grep -aq '.target sm_80' sgd.o && grep -aq '.target sm_90' sgd.o"), 0);
  CU_ASSERT_EQUAL(others(), 2);
  EXPECT(0, "--gpu=sm_80 sgd.opt --emit=asm");
  PRINTS("sgd_gpu");
  EXPECT(2, "sgd.opt --gpu=sm_80,sm_90 --emit=ptx");
  SAYS("PTX is one text for one GPU, and 2 are given: 'sm_80,sm_90'; an object carries several");
  EXPECT(2, "sgd.opt --gpu=sm_80,sm_1 -o x.o");
  SAYS("unknown GPU 'sm_1'; there are sm_70, sm_72");
  CU_ASSERT_EQUAL(others(), 0);
}

static void several_kinds_take_the_output_name(void) {
  EXPECT(0, "--emit=obj,asm,llvm-ir,bc,graph,kernels,header,ptx sgd.opt -o out.o");
  static const char *const names[] = {"out.o", "out.s", "out.ll", "out.bc", "out.graph", "out.kernels", "out.h", "out.ptx"};
  for (int i = 0; i < 8; i++) CU_ASSERT(size_of(names[i]) > 0);
  CU_ASSERT_EQUAL(others(), 8);
}

static void dependencies_name_every_file_read(void) {
  EXPECT(0, "used.opt -o u.o -MD");
  char text[256];
  slurp("u.d", text, sizeof text);
  CU_ASSERT_STRING_EQUAL(text, "u.o: used.opt part.opt\npart.opt:\n");
  CU_ASSERT_EQUAL(others(), 2);
  EXPECT(0, "used.opt -o u.o -MD -MF other.dep");
  slurp("other.dep", text, sizeof text);
  CU_ASSERT(!strncmp(text, "u.o: used.opt part.opt\n", 23));
  CU_ASSERT_EQUAL(others(), 2);
}

static void standard_input_is_a_rule_file(void) {
  CU_ASSERT_EQUAL(run_with(&(How){.input = sgd, .input_size = strlen(sgd)}, "- -o in.o"), 0);
  CU_ASSERT(size_of("in.o") > 0);
  CU_ASSERT_EQUAL(run_with(&(How){.input = wrong, .input_size = strlen(wrong)}, "- -o in2.o"), 1);
  SAYS("<stdin>:4:8: error:");
  CU_ASSERT_EQUAL(others(), 1);
  CU_ASSERT_EQUAL(run_with(&(How){0}, "- -o empty.o"), 1);
  CU_ASSERT(result.err_size > 0);
  CU_ASSERT_EQUAL(others(), 0);
}

static void a_rule_can_be_chosen(void) {
  EXPECT(0, "two.opt --emit=graph");
  PRINTS("module \"second\"");
  EXPECT(0, "two.opt --rule first --emit=graph");
  PRINTS("module \"first\"");
  EXPECT(2, "two.opt --rule third --emit=graph");
  SAYS("third");
}

static void passes_can_be_chosen_and_seen(void) {
  EXPECT(0, "sgd.opt -o s.o -O0");
  EXPECT(0, "sgd.opt -o s.o -O1 --verify-each");
  EXPECT(0, "sgd.opt -o s.o --print-after=all --time-passes");
  SAYS("== step after lower ==");
  SAYS("CPU time");
  SAYS("codegen");
  EXPECT(0, "sgd.opt -o s.o --print-after=lower");
  CU_ASSERT(strstr(result.err, "after dce") == NULL);
  EXPECT(2, "sgd.opt -o s.o --passes=expand,lowe");
  SAYS("lowe");
  EXPECT(2, "sgd.opt -o s.o --print-after=lowe");
  SAYS("lowe");
  EXPECT(0, "sgd.opt --emit=kernels --passes=expand,lower");
  PRINTS("program step");
  others();
}

static void targets_are_checked(void) {
  EXPECT(0, "sgd.opt -o v.o --cpu-target=x86-64-v2,x86-64-v3,x86-64-v4");
  EXPECT(0, "sgd.opt -o a.o --target=aarch64-unknown-linux-gnu");
  EXPECT(0, "sgd.opt -o a.o -mcpu=x86-64-v3");
  EXPECT(0, "sgd.opt -o a.o --mcpu=x86-64-v3");
  others();
  EXPECT(2, "sgd.opt -o x.o --target=pdp11");
  SAYS("pdp11");
  EXPECT(2, "sgd.opt -o x.o -mcpu=no-such-cpu");
  SAYS("no-such-cpu");
  EXPECT(2, "sgd.opt --gpu=sm_1");
  SAYS("sm_1");
  EXPECT(0, "--print-targets");
  PRINTS("x86-64-v3");
  CU_ASSERT_EQUAL(others(), 0);
}

static void fields_have_names_that_compilers_take(void) {
  static const char *const compilers[] = {"cc -x c -std=c99 -pedantic", "cc -x c -std=gnu17", "g++ -x c++ -std=c++11 -pedantic", "g++ -x c++ -std=c++20"};
  EXPECT(0, "names.opt -o names.o --header names.h");
  for (size_t i = 0; i < sizeof compilers/sizeof *compilers; i++) {
    char line[300];
    snprintf(line, sizeof line, "%s -Wall -Wextra -Werror -fsyntax-only -include names.h /dev/null", compilers[i]);
    CU_ASSERT_EQUAL(system(line), 0);
  }
  char header[1 << 16];
  slurp("names.h", header, sizeof header);
  static const char *const made[] = {"double double_;", "double double__;", "optc_tensor int64_t_;", "optc_tensor group_;", "optc_tensor group__;", "optc_tensor restrict__;", "double seed_;"};
  for (size_t i = 0; i < sizeof made/sizeof *made; i++) CU_ASSERT(strstr(header, made[i]) != NULL);
  EXPECT(1, "optc.opt -o x.o");
  SAYS("a rule cannot be called 'optc'");
  CU_ASSERT_EQUAL(others(), 2);
}

/* --- diagnostics ------------------------------------------------------------------------------------------------------------------------ */
static void errors_have_places_and_suggestions(void) {
  EXPECT(1, "wrong.opt -o x.o");
  SAYS("wrong.opt:4:8: error: unknown name 'beta'");
  SAYS("beta1");
  SAYS("wrong.opt:5:8: error:");
  SAYS("p -= beta*g");
  SAYS("^");
  CU_ASSERT(strstr(result.err, "\033[") == NULL);
  EXPECT(1, "wrong.opt -o x.o --color=always");
  SAYS("\033[");
  EXPECT(1, "wrong.opt -o x.o --diagnostics-format=json");
  CU_ASSERT_EQUAL(result.err[0], '[');
  SAYS("unknown name 'beta'");
  EXPECT(0, "sgd.opt -o x.o --diagnostics-format=json");
  CU_ASSERT_EQUAL(result.err_size, 0);
  others();
}

static void warnings_do_not_fail_unless_asked(void) {
  EXPECT(0, "warned.opt -o w.o");
  SAYS("warning:");
  CU_ASSERT_EQUAL(others(), 1);
  EXPECT(1, "warned.opt -o w.o -Werror");
  SAYS("warning");
  CU_ASSERT_EQUAL(others(), 0);
  EXPECT(0, "sgd.opt -o w.o -Werror");
  others();
}

static void usage_errors_are_told_with_suggestions(void) {
  static const struct { const char *line, *says; } cases[] = {
    {"", "no rule file"}, {"sgd.opt --emitt=obj", "did you mean '--emit'?"}, {"sgd.opt --headr x.h", "did you mean '--header'?"}, {"sgd.opt -Q", "unknown option '-Q'"},
    {"sgd.opt --emit=objj", "did you mean 'obj'?"}, {"sgd.opt -o", "wants a value"}, {"sgd.opt -O7", "-O7"}, {"sgd.opt two.opt", "one rule file at a time"},
    {"sgd.opt --verify-each=3", "takes no value"}, {"sgd.opt -Wall", "-Wall"}, {"sgd.opt -MX", "-MX"}, {"sgd.opt -MF", "wants a file"}, {"sgd.opt --color=sometimes", "sometimes"},
    {"sgd.opt --diagnostics-format=xml", "xml"}, {"sgd.opt --compute f16", "f16"}, {"sgd.opt --emit=asm,graph -o a.o --header a.graph", "two outputs"},
    {"sgd.opt -o sgd.opt", "would be written over"}, {"sgd.opt -o x.o --header ./sgd.opt", "would be written over"}, {"sgd.opt -o x.o -MF sgd.opt", "would be written over"},
    {"used.opt -o x.o --header part.opt", "would be written over"},
    {"run sgd.opt --elements many", "many"}, {"run sgd.opt --steps 0", "--steps"}, {"run sgd.opt --set lr", "NAME=NUMBER"}, {"run sgd.opt --set lr=nan", "nan stands for the default of 'lr'; leave it out"}, {"run sgd.opt --set lrr=1", "did you mean 'lr'?"},
    {"run sgd.opt --backend=vm", "vm"}, {"run sgd.opt --entry hessian", "hessian"}, {"run no_default.opt", "'lr' has no default"}, {"run", "one rule file"},
    {"run sgd.opt --header x.h", "unknown option"}, {"explain", "one rule file"}, {"explain sgd.opt --format=xml", "'xml'; there are text and json"},
    {"sgd.opt --emit=no", "there are obj, asm, llvm-ir, bc, graph, kernels, header and ptx"}, {"sgd.opt --compute f16", "there are f32 and f64"}, {"run sgd.opt --backend=vm", "there are jit, graph, kernel and ptx"},
    {"sgd.opt --color=alway", "did you mean 'always'? There are auto, always and never"}, {"run sgd.opt --s 3", "is the beginning of several: --store, --shape, --size, --steps, --set"},
    {"help chek", "did you mean 'check'?"}, {"help 3", "unknown command '3'"}, {"run int.opt --set warmups=1", "did you mean 'warmup'?"}, {"run no_default.opt --set rate[0]=1", "did you mean 'rates[0]'?"},
    {"run rows.opt --size NN=4", "no shape of the rule has a size 'NN'; did you mean 'N'? There are N, M"}, {"run rows.opt --size Q=4", "a size 'Q'; there are N"}, {"run sgd.opt --size N=4", "-n N elements"},
    {"run sgd.opt --shape g=99", "'g' has the shape of 'p': --shape p=N,M,.."}, {"run sgd.opt --shape zzz=3", "no tensor 'zzz'; there are p"}, {"run sgd.opt --shape p=3,", "wants NAME=N,M,.."},
    {"run sgd.opt --shape p=3 --shape p=4", "'p' is given twice"}, {"run sgd.opt --shape p", "wants NAME=N,M,.."}, {"run rows.opt --size ''", "wants NAME=N,.., not ''"},
    {"run rows.opt --size N=3,,M=2", "wants NAME=N,.."}, {"run rows.opt --size N=3,", "wants NAME=N,.."}, {"run rows.opt --size N=3 --size N=4", "'N' is given twice"}, {"run rows.opt --size =3", "wants NAME=N,.."},
    {"run sgd.opt --set lr=1 --set lr=2", "'lr' is given twice"}, {"run sgd.opt --set lr=1e400", "1e400 is no number that an f64 holds"}, {"run sgd.opt --set lr=-1e-400", "-1e-400 is no number"},
    {"sgd.opt --emit=obj,asm -o -", "two outputs would go to standard output"}, {"sgd.opt --emit=graph --header -", "two outputs would go to standard output"}, {"run sgd.opt -n 2Ti", "from 1 to 1099511627776"},
    {"run rows.opt -n 10", "-n is the number of elements of a param"}, {"check --size N=3 x.json", "optc check --gradient RULE.opt"}, {"explain sgd.opt --elements 3", "unknown option"},
    {"sgd.opt --gpu=sm_120 -o x.o", "unknown GPU 'sm_120'; there are sm_70"}, {"explain sgd.opt --gpu=sm_80,sm_90", "explained for one GPU, and 2 are given"}, {"explain sgd.opt --gpu=a", "unknown GPU 'a'"},
    {"sgd.opt --cpu-target=haswel -o x.o", "did you mean 'haswell'?"}, {"sgd.opt --target=vax -o x.o", "unknown target 'vax'"}, {"sgd.opt --features=+zz -o x.o", "unknown target feature"},
    {"sgd.opt --passes=xx", "unknown pass 'xx'"}, {"sgd.opt --store z=bf16", "no operand 'z'"}, {"sgd.opt --store=", "--store is empty; it takes NAME=STORAGE"}, {"run sgd.opt --store p=b", "--store:1:"}, {"sgd.opt --fast -O0", "--fast needs -O2"},
    {"two.opt --rule third", "no rule 'third' in 'two.opt'"}, {"run two.opt --rule firs", "did you mean 'first'?"}, {"check", "no recorded data"}, {"check --backend=jit --gpu=sm_80 x.json", "another one is given"},
    {"check --seed 3 --backend=graph x.json", "another one is given"}, {"check --within 0 x.json", "above 0"}, {"run sgd.opt --backend=jit --gpu=sm_80", "another one is given"}, {"run sgd.opt --backend=ptx --fast", "nothing to compare"},
    {"run sgd.opt --seed x", "--seed wants a number"}, {"run sgd.opt --gpu=sm_1", "unknown GPU 'sm_1'"}, {"explain sgd.opt --peak=no", "--peak wants a positive number"}, {"chek sgd.opt", "did you mean 'check'?"}};
  for (size_t i = 0; i < sizeof cases/sizeof *cases; i++) {
    EXPECT(2, cases[i].line);
    SAYS(cases[i].says);
    const char *form = strstr(result.err, "optc: error: ");             /* in front of it only the place in an option's text */
    CU_ASSERT(form && (form == result.err || !strncmp(result.err, "--", 2)));
    CU_ASSERT(result.err_size > 18 && !strcmp(result.err + result.err_size - 18, "; see optc --help\n"));
  }
  CU_ASSERT_EQUAL(others(), 0);
  EXPECT(0, "sgd.opt -o x.o");              /* what is to be written over is still there */
  EXPECT(0, "used.opt -o x.o");
  others();
}

/* Every row of the option table stands in the help of each of its commands. */
static void help_covers_every_option(void) {
  enum { C = 1, R = 2, E = 4, K = 8 };
  static const struct { int mask; const char *spelling; } rows[] = {
#define OPTION(id, mask, letter, name, value, spelling, help) {mask, spelling},
#include "runtime/command.def"
#undef OPTION
  };
  static const struct { int mask; const char *line; } commands[] = {{C, "--help"}, {C, "compile -h"}, {R, "run --help"}, {E, "explain --help"}, {K, "check --help"}, {C, "help"}, {R, "help run"}, {K, "help check"}};
  for (size_t i = 0; i < sizeof commands/sizeof *commands; i++) {
    EXPECT(0, commands[i].line);
    CU_ASSERT_EQUAL(result.err_size, 0);
    for (size_t k = 0; k < sizeof rows/sizeof *rows; k++)
      if (rows[k].mask & commands[i].mask) PRINTS(rows[k].spelling);
  }
  EXPECT(0, "--version");
  PRINTS("optc 0.");
  PRINTS("LLVM 19");
}

/* --- bad input and bad places ------------------------------------------------------------------------------------------------------------- */
static void missing_and_strange_files_are_errors(void) {
  EXPECT(1, "missing.opt -o x.o");
  SAYS("missing.opt");
  EXPECT(1, ". -o x.o");
  EXPECT(1, "sgd.opt/x -o x.o");
  EXPECT(1, "'' -o x.o");
  EXPECT(1, "run missing.opt");
  EXPECT(1, "explain missing.opt");
  static const char lost[] = "use \"nowhere.opt\"\nrule r { param p; p += 1 }\n";
  write_file("lost.opt", lost, strlen(lost));
  EXPECT(1, "lost.opt -o x.o");
  SAYS("nowhere.opt");
  CU_ASSERT_EQUAL(others(), 1);
}

static void random_bytes_are_an_error(void) {
  enum { SIZE = 1 << 20 };
  static char bytes[SIZE];
  uint64_t x = 88172645463325252u;
  for (int kind = 0; kind < 3; kind++) {
    for (size_t i = 0; i < SIZE; i++) {
      x ^= x << 13; x ^= x >> 7; x ^= x << 17;
      bytes[i] = kind == 0 ? (char)x : kind == 1 ? (char)(' ' + x % 95) : "(){}[]+-*/^=<>.,:;'\"#\n abr01"[x % 28];
    }
    CU_ASSERT_EQUAL(run_with(&(How){.input = bytes, .input_size = SIZE}, "- -o x.o"), 1);
    SAYS("error:");
    CU_ASSERT(result.err_size < 60000);
  }
  memset(bytes, '(', SIZE);
  CU_ASSERT_EQUAL(run_with(&(How){.input = bytes, .input_size = SIZE}, "- -o x.o"), 1);
  SAYS("error:");
  CU_ASSERT_EQUAL(others(), 0);
}

static void outputs_that_cannot_be_written_are_errors(void) {
  EXPECT(1, "sgd.opt -o nowhere/x.o");
  SAYS("nowhere/x.o");
  EXPECT(1, "sgd.opt -o /dev/full");
  SAYS("/dev/full");
  SAYS("No space left");
  EXPECT(1, "sgd.opt -o /");
  EXPECT(1, "sgd.opt -o x.o --header nowhere/x.h");
  CU_ASSERT(!exists("x.o"));
  EXPECT(1, "sgd.opt -o x.o --header /dev/full");
  CU_ASSERT(!exists("x.o"));
  EXPECT(0, "sgd.opt -o /dev/null");
  struct stat st;
  CU_ASSERT(!stat("/dev/null", &st) && S_ISCHR(st.st_mode));
  static const char *const lines[] = {"--emit=asm sgd.opt", "explain sgd.opt", "--help", "--print-targets", "run sgd.opt -n 1000 -s 1"};
  for (size_t i = 0; i < sizeof lines/sizeof *lines; i++) {
    CU_ASSERT_EQUAL(run_with(&(How){.stdout_path = "/dev/full"}, lines[i]), 1);
    SAYS("No space left");
    CU_ASSERT_EQUAL(run_with(&(How){.closed_pipe = true}, lines[i]), 1);
  }
  CU_ASSERT_EQUAL(others(), 0);
}

static void a_limit_on_file_sizes_leaves_nothing_partial(void) {
  CU_ASSERT_EQUAL(run_with(&(How){.file_limit = 512}, "sgd.opt -o x.o --header x.h"), 1);
  SAYS("File too large");
  CU_ASSERT_EQUAL(others(), 0);
  write_file("x.o", "old", 3);
  CU_ASSERT_EQUAL(run_with(&(How){.file_limit = 512}, "sgd.opt -o x.o"), 1);
  CU_ASSERT_EQUAL(size_of("x.o"), 3);
  CU_ASSERT_EQUAL(others(), 1);
}

static void a_failed_compilation_keeps_the_old_output(void) {
  write_file("x.o", "old", 3);
  EXPECT(1, "wrong.opt -o x.o");
  CU_ASSERT_EQUAL(size_of("x.o"), 3);
  EXPECT(0, "sgd.opt -o x.o");
  CU_ASSERT(size_of("x.o") > 3);
  CU_ASSERT_EQUAL(others(), 1);
}

static void links_are_followed_and_modes_are_usual(void) {
  write_file("real.o", "old", 3);
  CU_ASSERT_EQUAL(symlink("real.o", "link.o"), 0);
  mode_t mask = umask(022);
  EXPECT(0, "sgd.opt -o link.o");
  EXPECT(0, "sgd.opt -o new.o");
  umask(mask);
  struct stat st;
  CU_ASSERT(!lstat("link.o", &st) && S_ISLNK(st.st_mode));
  CU_ASSERT(size_of("real.o") > 3);
  CU_ASSERT(!stat("new.o", &st) && (st.st_mode & 0777) == 0644);
  CU_ASSERT_EQUAL(others(), 3);
}

/* --- run and explain -------------------------------------------------------------------------------------------------------------------- */
static double number_after(const char *key) {
  const char *at = strstr(result.out, key);
  return at ? strtod(at + strlen(key), NULL) : -1;
}

static void run_measures(void) {
  static const char *const backends[] = {"jit", "graph", "kernel"};
  for (int i = 0; i < 3; i++) {
    char line[128];
    snprintf(line, sizeof line, "run sgd.opt -n 3000 --steps 3 --threads 2 --set lr=0.5 --format=json --cache-dir= --backend=%s", backends[i]);
    EXPECT(0, line);
    CU_ASSERT_EQUAL(number_after("\"elements\": "), 3000);
    CU_ASSERT_EQUAL(number_after("\"bytes_read\": "), 8);
    CU_ASSERT_EQUAL(number_after("\"bytes_written\": "), 4);
    CU_ASSERT(number_after("\"step_ms\": ") > 0);
    CU_ASSERT(number_after("\"share\": ") > 0);
  }
  EXPECT(0, "run sgd.opt -n 64Ki --steps 2");
  PRINTS("GB/s");
  PRINTS("of the probe");
  EXPECT(1, "run no_default.opt --set lr=-1 -n 10");
  SAYS("lr > 0");
  EXPECT(0, "run no_default.opt --set lr=1 -n 10 --steps 1");
  EXPECT(0, "run no_default.opt --set rates[0]=1 -n 10 --steps 1");
  EXPECT(1, "run no_default.opt --set rates[0]=-1 -n 10 --steps 1");
  EXPECT(0, "run no_default.opt --set lr=1 --elem 10 --ste 1");                   /* long options cut short */
  CU_ASSERT_EQUAL(others(), 0);
}

static void explain_counts_bytes(void) {
  EXPECT(0, "explain sgd.opt");
  PRINTS("bytes an element: 12 (8 read, 4 written); least possible 12 (8 read, 4 written): 1.00 times");
  EXPECT(0, "explain sgd.opt --format=json");
  PRINTS("\"bytes\": {\"read\": 8, \"written\": 4, \"least_read\": 8, \"least_written\": 4, ");
  EXPECT(0, "explain sgd.opt -O0");
  PRINTS("not fused");
}

static void explain_predicts_and_draws(void) {
  EXPECT(0, "explain sgd.opt --bandwidth 12 --peak 100 --svg sgd.svg");
  PRINTS("predicted: 1 ns an element at 12 GB/s (given)");
  char svg[1 << 15];
  slurp("sgd.svg", svg, sizeof svg);
  CU_ASSERT(!strncmp(svg, "<?xml", 5) && strstr(svg, "  step</text>") && strstr(svg, "12 GB/s (given)") && strstr(svg, "</svg>"));
  CU_ASSERT_EQUAL(others(), 1);
  EXPECT(0, "explain sgd.opt --measure");
  PRINTS("GB/s (measured)");
  EXPECT(2, "explain sgd.opt --bandwidth 0");
  SAYS("--bandwidth wants a positive number, not '0'");
  EXPECT(1, "explain sgd.opt --bandwidth 1 --peak 1 --svg missing/sgd.svg");
  SAYS("cannot write 'missing/sgd.svg'");
  CU_ASSERT_EQUAL(others(), 0);
}

static void explain_counts_one_arm_of_a_condition(void) {
  EXPECT(0, "explain arms.opt");
  PRINTS("bytes an element: 20 (12 read, 8 written); least possible 20 (12 read, 8 written): 1.00 times");
  CU_ASSERT_PTR_NULL(strstr(result.out, "not fused"));
}

static void explain_counts_every_loop(void) {
  EXPECT(0, "explain many.opt -O0");
  PRINTS("bytes an element: 200 (120 read, 80 written); least possible 84 (44 read, 40 written)");
  PRINTS("loop 20:");
}

static void explain_tells_where_kernels_run_and_temporaries_lie(void) {
  EXPECT(0, "explain rows.opt");
  PRINTS("tiles of a tensor's positions, in parallel");
  PRINTS(", on the stack, 64 B\n");
  PRINTS("an item for its record");
  CU_ASSERT_PTR_NULL(strstr(result.out, "(null)"));
}

static void values_that_a_type_has_not_and_near_words_are_refused(void) {
  EXPECT(2, "run int.opt -n 10 --steps 1 --set warmup=1.5");
  SAYS("'warmup' is an integer, not 1.5");
  EXPECT(2, "run int.opt -n 10 --steps 1 --set nesterov=2");
  SAYS("'nesterov' is a bool");
  EXPECT(0, "run int.opt -n 10 --steps 1 --set nesterov=true --set warmup=3 --backend kernels");
  EXPECT(0, "run int.opt -n 10 --steps 1 --backend interp");
  EXPECT(2, "xplain int.opt");
  SAYS("unknown command 'xplain'; did you mean 'explain'?");
  EXPECT(2, "int.opt --rule zz -o -");
  SAYS("there is no rule 'zz' in 'int.opt'; there is a, i");
}

/* A state that is absent with these hyper-parameters is not there and not counted; of other tensors it is not known before the step. */
static void run_counts_the_arm_that_runs(void) {
  EXPECT(0, "run arms.opt -n 3000 --steps 1");
  PRINTS("        20 an element (3 tensors read, 2 written)");
  EXPECT(0, "run arms.opt -n 3000 --steps 1 --set mu=0 --format=json");
  PRINTS("\"bytes_read\": 8, \"bytes_written\": 4,");
  EXPECT(0, "run arms.opt -n 3000 --steps 1 --set mu=0");
  PRINTS("        12 an element (2 tensors read, 1 written)");
  EXPECT(0, "run perhaps.opt -n 3000 --steps 1");
  PRINTS("        24 an element (at most: 4 tensors read, 2 written)");
}

static void a_refused_call_shows_the_requirement_with_its_numbers(void) {
  static const char *const backends[] = {"jit", "graph", "kernel"};
  for (int b = 0; b < 3; b++) {
    char line[200];
    snprintf(line, sizeof line, "run perhaps.opt -n 10 --steps 1 --set mu=2 --backend=%s", backends[b]);
    EXPECT(1, line);
    SAYS("optc: error: entry init: requirement not met: 0 <= mu < 1 and rank(p) > mu - 7 (mu = 2, rank(p) = 1)\n");
  }
}

/* Names of functions and macros that the object and the header have themselves. */
static void entries_with_names_of_the_interface_are_refused(void) {
  EXPECT(1, "table.opt -o out.o");
  SAYS("an entry cannot be called 'table'");
  EXPECT(1, "run table.opt -n 10 --steps 1");
  CU_ASSERT_EQUAL(others(), 0);
}

static int enter(void) {
  const char *given = getenv("OPTC");
  if (!realpath(given ? given : "build/optc", optc) || !mkdtemp(folder) || chdir(folder)) return 1;
  setenv("OPTC_CACHE_DIR", "", 1);
  for (size_t i = 0; i < sizeof sources/sizeof *sources; i++)
    if (!put(sources[i].name, sources[i].text, strlen(sources[i].text))) return 1;
  return 0;
}

static int leave(void) {
  char command[256];
  snprintf(command, sizeof command, "rm -rf %s %s.in %s.out %s.err", folder, folder, folder, folder);
  return chdir("/") || system(command);
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(object_and_header_are_written), TEST(headers_tell_of_shards_and_of_codes), TEST(ptx_of_any_rule_is_executed_on_made_up_data), TEST(the_same_input_gives_the_same_bytes), TEST(text_goes_to_standard_output), TEST(objects_carry_ptx_for_several_gpus),
    TEST(several_kinds_take_the_output_name),
    TEST(dependencies_name_every_file_read), TEST(standard_input_is_a_rule_file), TEST(a_rule_can_be_chosen), TEST(passes_can_be_chosen_and_seen), TEST(targets_are_checked),
    TEST(fields_have_names_that_compilers_take), TEST(errors_have_places_and_suggestions), TEST(warnings_do_not_fail_unless_asked), TEST(usage_errors_are_told_with_suggestions), TEST(help_covers_every_option),
    TEST(missing_and_strange_files_are_errors), TEST(random_bytes_are_an_error), TEST(outputs_that_cannot_be_written_are_errors),
    TEST(a_limit_on_file_sizes_leaves_nothing_partial), TEST(a_failed_compilation_keeps_the_old_output), TEST(links_are_followed_and_modes_are_usual),
    TEST(run_measures), TEST(explain_counts_bytes), TEST(explain_predicts_and_draws), TEST(explain_counts_every_loop), TEST(explain_counts_one_arm_of_a_condition), TEST(explain_tells_where_kernels_run_and_temporaries_lie),
    TEST(run_counts_the_arm_that_runs), TEST(a_refused_call_shows_the_requirement_with_its_numbers), TEST(entries_with_names_of_the_interface_are_refused),
    TEST(values_that_a_type_has_not_and_near_words_are_refused),
  };
  return suite_run_with("optc command", tests, enter, leave);
}
