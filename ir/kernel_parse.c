/* kernel_parse.c: reads the text form of programs that kernel_print.c writes. Reports the first error and stops.
 *
 *   program ENTRY [advances] { [equal_hypers N] [uniforms N] [slots N] [spaces N] {text STRING} {temp NAME: TYPE [sized] [call] [partial] [local N]}
 *                               {kernel NAME LAUNCH [SPACE] { {inst} }} }
 *   inst = [%N =] OP [TYPE] [attribute] [%N {, %N}]
 *        | %N = for %N to %N [carry %N {, %N}] (seq | vector(LANES, UNROLL) | thread) { {inst} }
 *        | if %N { {inst} } [else { {inst} }] */
#include <string.h>
#include "ir/graph_reduce.h"
#include "ir/kernel_text.h"

typedef enum TokenKind { TOKEN_END, TOKEN_NAME, TOKEN_NUMBER, TOKEN_VALUE, TOKEN_STRING, TOKEN_PUNCT } TokenKind;

typedef struct Parser {
  Program *program;
  Arena *arena;
  Diag *diag;
  const Source *source;
  size_t at;
  TokenKind kind;
  uint32_t begin, end;
  uint64_t number; bool negative;        /* NUMBER, and the number of a VALUE */
  Inst **values; size_t n_values;        /* of the kernel: instruction by number in the text */
  unsigned depth;
  bool failed;
} Parser;
enum { VALUE_LIMIT = 1 << 20, ARG_LIMIT = 64 };

static Range here(const Parser *p) { return (Range){p->source, p->begin, p->end}; }

static bool fail(Parser *p, const char *expected) {
  if (!p->failed) diag_error(p->diag, here(p), "expected %s", expected);
  p->failed = true;
  return false;
}

static bool is_name_char(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.'; }
static int hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; }

/* Digits from *at on; false if there is none or the number needs more than 64 bits. */
static bool scan_number(Parser *p, size_t *at) {
  const char *s = p->source->text;
  size_t n = p->source->length, i = *at;
  unsigned base = 10;
  if (i + 1 < n && s[i] == '0' && s[i + 1] == 'x') { base = 16; i += 2; }
  size_t first = i;
  p->number = 0;
  for (; i < n; i++) {
    int d = hex_digit(s[i]);
    if (d < 0 || (unsigned)d >= base) break;
    if (p->number > (UINT64_MAX - (unsigned)d) / base) return false;
    p->number = p->number * base + (unsigned)d;
  }
  *at = i;
  return i > first;
}

static void next(Parser *p) {
  const char *s = p->source->text;
  size_t n = p->source->length, i = p->at;
  for (;;) {
    while (i < n && (s[i] == ' ' || s[i] == '\n' || s[i] == '\t' || s[i] == '\r')) i++;
    if (i >= n || s[i] != '#') break;
    while (i < n && s[i] != '\n') i++;
  }
  p->begin = (uint32_t)i;
  p->kind = TOKEN_PUNCT;
  p->negative = false;
  if (i >= n) p->kind = TOKEN_END;
  else if (s[i] == '%') { i++; p->kind = scan_number(p, &i) ? TOKEN_VALUE : TOKEN_PUNCT; }
  else if (s[i] >= '0' && s[i] <= '9') { if (scan_number(p, &i)) p->kind = TOKEN_NUMBER; else i++; }
  else if (s[i] == '-') { i++; p->negative = true; if (scan_number(p, &i)) p->kind = TOKEN_NUMBER; }
  else if (s[i] == '"') {
    for (i++; i < n && s[i] != '"' && s[i] != '\n'; i++) if (s[i] == '\\' && i + 1 < n) i++;
    if (i < n && s[i] == '"') { i++; p->kind = TOKEN_STRING; }
  } else if (is_name_char(s[i])) { while (i < n && is_name_char(s[i])) i++; p->kind = TOKEN_NAME; }
  else i++;
  if (i > n) i = n;
  p->end = (uint32_t)i;
  p->at = i;
}

static bool is_word(const Parser *p, const char *word) {
  size_t n = strlen(word);
  return p->kind == TOKEN_NAME && p->end - p->begin == n && !memcmp(p->source->text + p->begin, word, n);
}
static bool is_punct(const Parser *p, char c) { return p->kind == TOKEN_PUNCT && p->end == p->begin + 1 && p->source->text[p->begin] == c; }
static bool accept_word(Parser *p, const char *word) { if (!is_word(p, word)) return false; next(p); return true; }
static bool accept(Parser *p, char c) { if (!is_punct(p, c)) return false; next(p); return true; }
static bool expect(Parser *p, char c) {
  if (accept(p, c)) return true;
  char text[] = {'\'', c, '\'', 0};
  return fail(p, text);
}

static char *take_name(Parser *p) {
  if (p->kind != TOKEN_NAME) { fail(p, "a name"); return ""; }
  char *name = arena_strndup(p->arena, p->source->text + p->begin, p->end - p->begin);
  next(p);
  return name;
}

static char *take_string(Parser *p) {
  if (p->kind != TOKEN_STRING) { fail(p, "a string"); return ""; }
  char *text = arena_alloc(p->arena, p->end - p->begin), *to = text;
  for (uint32_t i = p->begin + 1; i < p->end - 1; i++) {
    char c = p->source->text[i];
    if (c == '\\') { c = p->source->text[++i]; if (c == 'n') c = '\n'; }
    *to++ = c;
  }
  next(p);
  return text;
}

static int64_t take_number(Parser *p) {
  if (p->kind != TOKEN_NUMBER) { fail(p, "a number"); return 0; }
  uint64_t v = p->negative ? 0 - p->number : p->number;
  next(p);
  return (int64_t)v;
}

static int64_t take_index(Parser *p, uint64_t limit) {
  if (p->kind == TOKEN_NUMBER && (p->negative || p->number >= limit)) { fail(p, "a smaller number"); return 0; }
  return take_number(p);
}

static Type take_type(Parser *p) {
  Type type = TYPE_BOOL;
  char word[8] = "";
  size_t n = p->end - p->begin;
  if (p->kind == TOKEN_NAME && n < sizeof word) memcpy(word, p->source->text + p->begin, n);
  if (!type_parse(word, &type)) fail(p, "a type");
  else next(p);
  return type;
}

static Inst *take_value(Parser *p) {
  if (p->kind != TOKEN_VALUE) { fail(p, "a value, %N"); return NULL; }
  if (p->number >= p->n_values || !p->values[p->number]) {
    if (!p->failed) diag_error(p->diag, here(p), "value %%%llu is used before it is defined", (unsigned long long)p->number);
    p->failed = true;
    return NULL;
  }
  Inst *inst = p->values[p->number];
  next(p);
  return inst;
}

static void define(Parser *p, uint64_t number, Inst *inst) {
  if (number >= p->n_values) {
    size_t n = p->n_values ? p->n_values : 64;
    while (n <= number) n *= 2;
    Inst **values = arena_array(p->arena, n, sizeof *values);
    if (p->n_values) memcpy(values, p->values, p->n_values * sizeof *values);
    p->values = values;
    p->n_values = n;
  }
  if (p->values[number]) { if (!p->failed) diag_error(p->diag, here(p), "value %%%llu is defined twice", (unsigned long long)number); p->failed = true; }
  p->values[number] = inst;
}

/* name@k: the number counts, the name must agree with it. */
static int64_t take_reference(Parser *p, bool hyper) {
  uint32_t begin = p->begin, end = p->end;
  if (p->kind != TOKEN_NAME) { fail(p, "name@number"); return 0; }
  next(p);
  if (!expect(p, '@')) return 0;
  const Module *m = p->program->module;
  uint64_t k = p->number;
  if (p->kind != TOKEN_NUMBER || p->negative || k >= (hyper ? m->n_hypers : m->n_operands + p->program->n_temps)) {
    fail(p, hyper ? "the number of a hyper-parameter" : "the number of an operand or temporary");
    return 0;
  }
  const char *name = hyper ? m->hypers[k].name : program_buffer_name(p->program, (unsigned)k);
  if (strlen(name) != end - begin || memcmp(name, p->source->text + begin, end - begin)) {
    if (!p->failed) diag_error(p->diag, (Range){p->source, begin, end}, "number %llu is '%s'", (unsigned long long)k, name);
    p->failed = true;
  }
  next(p);
  return (int64_t)k;
}

static void parse_block(Parser *, Block *);

static void parse_body(Parser *p, Block *block) {
  if (!expect(p, '{')) return;
  if (++p->depth > KERNEL_MAX_DEPTH) { fail(p, "fewer nested blocks"); return; }
  parse_block(p, block);
  p->depth--;
  expect(p, '}');
}

static unsigned take_values(Parser *p, Inst **args, unsigned n) {
  do {
    if (n == ARG_LIMIT) { fail(p, "fewer arguments"); return n; }
    args[n++] = take_value(p);
  } while (!p->failed && accept(p, ','));
  return n;
}

static void parse_for(Parser *p, Block *block, uint64_t number) {
  Inst *args[ARG_LIMIT];
  args[0] = take_value(p);
  if (!p->failed && !accept_word(p, "to")) fail(p, "'to'");
  args[1] = p->failed ? NULL : take_value(p);
  unsigned n = 2;
  if (!p->failed && accept_word(p, "carry")) n = take_values(p, args, n);
  if (p->failed) return;
  Inst *loop = block_add(p->arena, block, KOP_E_FOR, TYPE_I64, 0, n, args);
  unsigned b = 0;
  while (b < 3 && !accept_word(p, binding_names[b])) b++;
  if (b == 3) { fail(p, "'seq', 'vector' or 'thread'"); return; }
  loop->binding = (uint8_t)b;
  if (b == BIND_VECTOR) {
    if (!expect(p, '(')) return;
    loop->lanes = (uint16_t)take_index(p, KERNEL_MAX_LANES + 1);
    if (!expect(p, ',')) return;
    loop->unroll = (uint16_t)take_index(p, KERNEL_MAX_UNROLL + 1);
    if (!expect(p, ')')) return;
  }
  define(p, number, loop);
  loop->body = block_new(p->arena);
  parse_body(p, loop->body);
}

static void parse_if(Parser *p, Block *block) {
  Inst *arg = take_value(p);
  if (p->failed) return;
  Inst *inst = block_add(p->arena, block, KOP_E_IF, TYPE_BOOL, 0, 1, &arg);
  inst->body = block_new(p->arena);
  parse_body(p, inst->body);
  if (!p->failed && accept_word(p, "else")) {
    inst->otherwise = block_new(p->arena);
    parse_body(p, inst->otherwise);
  }
}

static int32_t take_kind(Parser *p) {
  for (unsigned k = 0; k <= REDUCE_EVERY; k++) if (accept_word(p, reduce_names[k])) return (int32_t)k;
  fail(p, "'sum', 'prod', 'max', 'min', 'any' or 'every'");
  return 0;
}

static void parse_inst(Parser *p, Block *block) {
  bool has_value = p->kind == TOKEN_VALUE;
  uint64_t number = p->number;
  if (has_value) {
    if (number >= VALUE_LIMIT) { fail(p, "a value of a smaller number"); return; }
    next(p);
    if (!expect(p, '=')) return;
  }
  KOp op;
  if (p->kind != TOKEN_NAME || !kop_parse(p->source->text + p->begin, p->end - p->begin, &op)) { fail(p, "an operation"); return; }
  if (kop_has_result(op) != has_value) { fail(p, has_value ? "an operation with a result" : "'%N ='"); return; }
  next(p);
  if (op == KOP_E_FOR) { parse_for(p, block, number); return; }
  if (op == KOP_E_IF) { parse_if(p, block); return; }
  Type type = has_value ? take_type(p) : TYPE_BOOL;
  int64_t imm = 0;
  int32_t aux = 0;
  bool comma = true;
  Inst buffers = {.op = (uint16_t)op};
  switch (kop_attr(op)) {
    case KATTR_NONE: comma = false; break;
    case KATTR_BITS: case KATTR_NUMBER: imm = take_number(p); break;
    case KATTR_FOLD:
      imm = take_number(p);
      if (!p->failed) aux = take_kind(p);
      break;
    case KATTR_HYPER: imm = take_reference(p, true); break;
    case KATTR_BUFFER: imm = take_reference(p, false); break;
    case KATTR_BUFFERS: {
      Touch touch[MAX_TOUCHES];
      unsigned count = inst_touches(&buffers, touch);
      for (unsigned i = 0; i < count && !p->failed && (!i || expect(p, ',')); i++) inst_set_buffer(&buffers, i, (unsigned)take_reference(p, false));
      imm = buffers.imm;
      aux = buffers.aux;
      break;
    }
    case KATTR_BUFFER_AXIS:
      imm = take_reference(p, false);
      if (!p->failed && expect(p, ',')) {
        int64_t axis = take_number(p);
        if (axis < INT32_MIN || axis > INT32_MAX) fail(p, "an axis");
        aux = (int32_t)axis;
      }
      break;
  }
  Inst *args[ARG_LIMIT];
  unsigned n = 0;
  if (p->failed) return;
  /* A value that follows directly is an argument: of operations without attribute only `yield` may have none, and it ends its block. */
  bool more = comma ? !p->failed && accept(p, ',') : p->kind == TOKEN_VALUE && kop_arity(op) != 0;
  if (more) n = take_values(p, args, 0);
  if (p->failed) return;
  Inst *inst = block_add(p->arena, block, op, type, imm, n, args);
  inst->aux = aux;
  if (has_value) define(p, number, inst);
}

static void parse_block(Parser *p, Block *block) {
  while (!p->failed && !is_punct(p, '}')) {
    if (p->kind == TOKEN_END) { fail(p, "'}'"); return; }
    parse_inst(p, block);
  }
}

static void parse_kernel(Parser *p) {
  char *name = take_name(p);
  unsigned launch = 0;
  while (launch < LAUNCH_COUNT && !is_word(p, launch_name((Launch)launch))) launch++;
  if (launch == LAUNCH_COUNT) { fail(p, "'check', 'group', 'item', 'chunk', 'finish', 'sizes', 'call_sizes', 'total', 'tile', 'repeat' or 'end'"); return; }
  next(p);
  Kernel *k = program_kernel(p->program, name, (Launch)launch);
  if (launch_has_space((Launch)launch)) k->space = (unsigned)take_index(p, VALUE_LIMIT);
  if (p->n_values) memset(p->values, 0, p->n_values * sizeof *p->values);
  parse_body(p, k->body);
  kernel_number(k);
}

Program *program_parse(const Module *module, Arena *arena, Diag *diag, const Source *source) {
  Parser p = {.arena = arena, .diag = diag, .source = source};
  p.program = program_new(module, arena, "");
  if (source->length > UINT32_MAX) { diag_error(diag, (Range){0}, "the text is too long"); return NULL; }
  next(&p);
  if (!accept_word(&p, "program")) fail(&p, "'program'");
  if (!p.failed) p.program->entry = take_name(&p);
  if (!p.failed) p.program->advances = accept_word(&p, "advances");
  if (!p.failed) expect(&p, '{');
  while (!p.failed && !is_punct(&p, '}')) {
    if (accept_word(&p, "equal_hypers")) p.program->equal_hypers = (uint64_t)take_number(&p);
    else if (accept_word(&p, "uniforms")) p.program->n_uniforms = (unsigned)take_index(&p, VALUE_LIMIT);
    else if (accept_word(&p, "slots")) p.program->n_slots = (unsigned)take_index(&p, VALUE_LIMIT);
    else if (accept_word(&p, "spaces")) p.program->n_spaces = (unsigned)take_index(&p, VALUE_LIMIT);
    else if (accept_word(&p, "text")) program_text(p.program, take_string(&p));
    else if (accept_word(&p, "temp")) {
      char *name = take_name(&p);
      if (p.failed || !expect(&p, ':')) break;
      program_temp(p.program, name, take_type(&p));
      Buffer *temp = &p.program->temps[p.program->n_temps - 1];
      temp->sized = accept_word(&p, "sized");
      temp->call = accept_word(&p, "call");
      temp->partial = accept_word(&p, "partial");
      if (accept_word(&p, "local")) temp->local = (unsigned)take_index(&p, VALUE_LIMIT);
    } else if (accept_word(&p, "kernel")) parse_kernel(&p);
    else fail(&p, "'kernel', 'temp', 'text', 'uniforms' or 'equal_hypers'");
  }
  if (!p.failed) expect(&p, '}');
  if (!p.failed && p.kind != TOKEN_END) fail(&p, "the end of the text");
  return p.failed ? NULL : p.program;
}
