/* command.h: what the subcommands of optc share. The command is a client of optc.h: nothing here knows the compiler's inside. */
#ifndef OPTC_RUNTIME_COMMAND_H
#define OPTC_RUNTIME_COMMAND_H
#include <stdbool.h>
#include <stddef.h>
#include "ir/suggest.h"
#include "runtime/optc.h"

/* Exit codes; `check failed` is only for optc check. */
enum { COMMAND_OK = 0, COMMAND_INPUT = 1, COMMAND_USAGE = 2, COMMAND_CHECK = 3, COMMAND_INTERNAL = 70 };

/* Subcommands get argv[0] = their own name. */
int command_compile(int argc, char **argv);
int command_run(int argc, char **argv);
int command_explain(int argc, char **argv);
int command_check(int argc, char **argv);

/* "optc: error: ..." on standard error; returns `code`. */
enum { OPTION_WRONG = -2 };
int command_error(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The exit code for what a function of optc.h returned; diagnostics go to standard error, an internal error says how to report it. */
bool command_is_usage(const optc_context *, int status);               /* what the library refuses is an option, not a file */
int command_report(const optc_context *, int status, bool json);
/* One of some words, the value of an option; false after an error that was reported, with the first `told` of them. */
typedef struct Choice { const char *word; int value; } Choice;
bool command_choice(const char *option, const char *given, const Choice *, size_t n, size_t told, int *value);
bool command_format(const char *option, const char *given, bool *json);      /* text or json */

/* --- options: rows of command.def --------------------------------------------------------------------------------------------- */
enum { COMMAND_C = 1, COMMAND_R = 2, COMMAND_E = 4, COMMAND_K = 8 };
typedef enum OptionId {
#define OPTION(id, ...) OPTION_##id,
#include "runtime/command.def"
#undef OPTION
  OPTION_COUNT
} OptionId;
/* Next option of argv for the subcommand; -1 at the end (the other arguments are then argv[*first..]), OPTION_WRONG after a usage error that
 * was reported. *value: its argument. */
typedef struct Options { int argc; char **argv; unsigned command; bool started; const char *value; int first; } Options;
int options_next(Options *);
const char *options_argument(Options *); /* the next argument, taken as part of the option before it; NULL: none */
/* What every subcommand does in the same way. true: handled; *code is set when the program shall end with it. */
typedef struct Common {
  const char *rule, *passes, *store;
  int level, fast, compute_f64, verify_each;
  bool json, time, color;                /* diagnostics as json; --time-passes; colours */
} Common;
void common_default(Common *);
bool common_option(Common *, const Options *, int id, int *code);        /* *code -1: go on */
/* A number with an optional Ki, Mi, Gi, k, M, G; false if it is none. */
bool command_count(const char *text, long long *out);
bool command_seed(const char *text, uint64_t *out);                      /* of --seed; false after an error that was reported */
#define command_ptx_only "--gpu and --seed are of --backend=ptx, and another one is given"

/* --- CPU time, by stage ----------------------------------------------------------------------------------------------------------- */
typedef struct TimingRow { char stage[24], pass[32]; double seconds; unsigned times; } TimingRow;
typedef struct Timing { TimingRow row[96]; size_t n; double mark; } Timing;
void timing_add(void *timing, const char *stage, const char *entry, const char *pass, double seconds);     /* an optc_timed */
void timing_begin(Timing *);             /* a stage of the command itself begins */
void timing_end(Timing *, const char *stage);
void timing_print(const Timing *);             /* to standard error */

/* --- output files: whole or not at all ---------------------------------------------------------------------------------------- */
/* Files are written under temporary names first and renamed together; devices and pipes (and "-") are written when the others are safe. */
typedef struct OutFile { const char *path; const void *data; size_t size; char *target, *temporary; bool direct; } OutFile;
/* false after an error that was reported; then no file has been changed. */
bool outfile_write(OutFile *files, int n);
/* What the assembler of PTX ($OPTC_PTXAS, else ptxas) prints of a text with -v; NULL: there is none, or it refuses. The caller frees it. */
char *command_assemble(const char *ptx, size_t size, const char *gpu);
/* All of standard input; NULL after an error that was reported. The caller frees it. */
char *command_stdin(size_t *length);
#endif
