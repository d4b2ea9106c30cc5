/* habits.c: tables of words of other languages, C, Python and NumPy before all, with the message each gets. */
#include "frontend/habits.h"
#include <stdbool.h>
#include <string.h>

typedef struct Habit { const char *words, *message; } Habit;              /* words between blanks */

static const Habit statements[] = {
  {"for", "there is no 'for': an index runs over its axis; a recurrence is 'scan i { }'"},
  {"elif", "'elif' is written 'else if'"},
  {"while", "there is no 'while': a fixed number of rounds is 'repeat n { }'"},
  {"def function func", "a function is written 'fn name(x) = ...'"},
  {"let", "there is no 'let': a name is assigned, 'x = ...'"},
  {"var", "there is no 'var': a name is assigned, 'x = ...'"},
  {"import include from", "another file is named by 'use \"file.opt\"'"},
  {"assert", "a condition on the call is written 'require'"},
};

static const Habit attributes[] = {
  {"T mT", "unexpected '.'; the transpose is written g'"},
  {"transpose permute swapaxes t", "unexpected '.'; the transpose is written g', other orders of axes by their indices: y[j, i] = x[i, j]"},
  {"sum mean max min prod var norm any argmax argmin logsumexp softmax cumsum cumprod", "unexpected '.'; there are neither methods nor modules: sum[j](x[i, j]) runs over an index, sum(x) over all elements"},
  {"all", "unexpected '.'; there are neither methods nor modules: every[j](x[i, j] > 0) runs over an index, every(x > 0) over all elements"},
  {"shape size numel ndim dim", "unexpected '.'; axes are named where a tensor is declared, 'in x[N, M]'; size(x) and rank(x) count"},
  {"reshape view flatten ravel unsqueeze squeeze expand", "unexpected '.'; a shape is given by the indices of the left side: y[i < N, j < M] = x[i*M + j]"},
  {"dot matmul mm bmm einsum", "unexpected '.'; a product of matrices is x @ y, or by indices sum[k](x[i, k]*y[k, j])"},
  {"float double half bfloat16 to astype int long", "unexpected '.'; a conversion is a call: f32(x), f64(x), bf16(x), int(x)"},
  {"detach", "unexpected '.'; stop(x) is x with derivative zero"},
  {"copy clone", "unexpected '.'; assigning copies: y = x"},
  {"pow", "unexpected '.'; a power is written x^y"},
  {"item", "unexpected '.'; one number of a tensor is read by its place: x[0]"},
};
static const char no_modules[] = "unexpected '.'; there are neither modules nor methods: functions are called by their name, as in sqrt(x)";

static const Habit names[] = {
  {"pow power", "a power is written x^y"},
  {"square", "a square is written x^2"},
  {"maximum fmax amax", "it is max(a, b), max[i](x[i]) or max(x)"},
  {"minimum fmin amin", "it is min(a, b), min[i](x[i]) or min(x)"},
  {"all", "it is every[i](x[i] > 0)"},
  {"clip", "it is clamp(x, lo, hi)"},
  {"fabs", "it is abs(x)"},
  {"std", "it is sqrt(var[i](x[i]))"},
  {"matmul dot mm bmm outer einsum tensordot", "a product of matrices is a @ b, or by indices sum[k](a[i, k]*b[k, j])"},
  {"transpose", "the transpose is written x'"},
  {"reshape view flatten ravel concatenate concat stack", "a shape is given by the indices of the left side: y[i < N, j < M] = x[i*M + j]"},
  {"zeros zeros_like", "a tensor of zeros is x[i < N] = 0; a state begins with 0"},
  {"ones ones_like full full_like", "a tensor of one value is x[i < N] = 1; a state begins with what it is given: state m = 1"},
  {"eye", "it is where(i == j, 1, 0)"},
  {"arange range linspace", "an index runs by itself: x[i < N] = i; loops are 'scan i { }' and 'repeat n { }'"},
  {"None newaxis", "a new axis is an index of the left side: y[i, j] = x[i]"},
  {"len shape", "axes are named where a tensor is declared, 'in x[N, M]'; size(x) and rank(x) count"},
  {"argsort sort topk", "order[j](x[j]) is the place of an element when sorted downwards: the k largest are order[j](x[j]) < k"},
  {"isinf", "it is not finite(x) and not isnan(x)"},
  {"isfinite", "it is finite(x)"},
  {"detach stop_gradient no_grad", "stop(x) is x with derivative zero"},
  {"rand randn random", "random numbers are uniform(k) and normal(k), with a stream k"},
  {"float", "a conversion is f32(x) or f64(x)"},
};

static const Habit arguments[] = {
  {"axis dim axes keepdims keepdim", "an axis is named by its index: mean[j](x[i, j])"},
  {"dtype out where initial ddof eps", "arguments have no names"},
};

static const char *find(const Habit *table, size_t n, const char *word) {
  size_t length = strlen(word);
  for (size_t i = 0; i < n && length; i++)
    for (const char *at = table[i].words; (at = strstr(at, word)); at++) {
      bool begins = at == table[i].words || at[-1] == ' ', ends = !at[length] || at[length] == ' ';
      if (begins && ends) return table[i].message;
    }
  return NULL;
}
#define FIND(table, word) find(table, sizeof table/sizeof *table, word)

const char *habit_statement(const char *word) { return FIND(statements, word); }
const char *habit_name(const char *name) { return FIND(names, name); }
const char *habit_argument(const char *name) { return FIND(arguments, name); }
const char *habit_attribute(const char *name) {
  const char *message = FIND(attributes, name);
  return message ? message : no_modules;
}
