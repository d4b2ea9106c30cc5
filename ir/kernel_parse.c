/* kernel_parse.c: reads the text form of programs that kernel_print.c writes. Reports the first error and stops.
 *
 *   program ENTRY [advances] { [equal_hypers N] [uniforms N] [slots N] [spaces N] {text STRING} {temp NAME: TYPE [sized] [call] [partial] [local N [rows]]}
 *                               {kernel NAME LAUNCH [SPACE] { {inst} }} }
 *   inst = [%N =] OP [TYPE] [attribute] [%N {, %N}]
 *        | %N = for %N to %N [carry %N {, %N}] (seq | vector(LANES, UNROLL) | thread) { {inst} }
 *        | if %N { {inst} } [else { {inst} }] */
#include <string.h>
#include "ir/graph_reduce.h"
#include "ir/kernel_text.h"
#include "ir/text_lex.h"

typedef struct Parser {
  Program *program;
  Arena *arena;
  Lexer *lex;
  Inst **values; size_t n_values;        /* of the kernel: instruction by number in the text */
  unsigned depth;
} Parser;
enum { VALUE_LIMIT = 1 << 20, ARG_LIMIT = 64 };

static bool expected(Parser *p, const char *what) { return lex_fail(p->lex, "expected %s", what); }

/* Numbers are words to the lexer: they begin with a digit or a minus. */
static bool is_number(const Parser *p) {
  const Token *t = &p->lex->now;
  return t->kind == TOKEN_WORD && (*t->text == '-' || (*t->text >= '0' && *t->text <= '9'));
}

static bool is_name(const Parser *p) { return p->lex->now.kind == TOKEN_WORD && !is_number(p); }
static const char *take_name(Parser *p) { return is_name(p) ? lex_take(p->lex, TOKEN_WORD, "a name") : (expected(p, "a name"), ""); }

/* Of 64 bits, signed or not. */
static int64_t take_number(Parser *p) {
  const char *s = p->lex->now.text;
  bool minus = *s == '-';
  uint64_t v = 0;
  if (!is_number(p) || !lex_digits(s + minus, &v)) { expected(p, "a number"); return 0; }
  lex_take(p->lex, TOKEN_WORD, "a number");
  return (int64_t)(minus ? 0 - v : v);
}

static int64_t take_index(Parser *p, uint64_t limit) {
  Token token = p->lex->now;
  int64_t v = take_number(p);
  if (v >= 0 && (uint64_t)v < limit) return v;
  lex_fail_at(p->lex, token, "expected a smaller number");
  return 0;
}

static Inst *take_value(Parser *p) {
  Token token = p->lex->now;
  uint64_t number;
  const char *text = lex_take(p->lex, TOKEN_NODE, "a value, %N");
  if (p->lex->failed) return NULL;
  if (lex_digits(text, &number) && number < p->n_values && p->values[number]) return p->values[number];
  lex_fail_at(p->lex, token, "value %%%s is used before it is defined", text);
  return NULL;
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
  if (p->values[number]) lex_fail(p->lex, "value %%%llu is defined twice", (unsigned long long)number);
  p->values[number] = inst;
}

/* name@k: the number counts, the name must agree with it. */
static int64_t take_reference(Parser *p, bool hyper) {
  Token token = p->lex->now;
  const char *given = is_name(p) ? lex_take(p->lex, TOKEN_WORD, "name@number") : NULL;
  if (!given) { expected(p, "name@number"); return 0; }
  if (!lex_expect(p->lex, "@")) return 0;
  const Module *m = p->program->module;
  uint64_t k = 0;
  if (p->lex->now.kind != TOKEN_WORD || !lex_digits(p->lex->now.text, &k) || k >= (hyper ? m->n_hypers : m->n_operands + p->program->n_temps)) {
    expected(p, hyper ? "the number of a hyper-parameter" : "the number of an operand or temporary");
    return 0;
  }
  const char *name = hyper ? m->hypers[k].name : program_buffer_name(p->program, (unsigned)k);
  if (strcmp(name, given)) lex_fail_at(p->lex, token, "number %llu is '%s'", (unsigned long long)k, name);
  lex_next(p->lex);
  return (int64_t)k;
}

static void parse_block(Parser *, Block *);

static void parse_body(Parser *p, Block *block) {
  if (!lex_expect(p->lex, "{")) return;
  if (++p->depth > KERNEL_MAX_DEPTH) { expected(p, "fewer nested blocks"); return; }
  parse_block(p, block);
  p->depth--;
  lex_expect(p->lex, "}");
}

static unsigned take_values(Parser *p, Inst **args, unsigned n) {
  do {
    if (n == ARG_LIMIT) { expected(p, "fewer arguments"); return n; }
    args[n++] = take_value(p);
  } while (!p->lex->failed && lex_sign(p->lex, ","));
  return n;
}

static void parse_for(Parser *p, Block *block, uint64_t number) {
  Inst *args[ARG_LIMIT];
  args[0] = take_value(p);
  if (!p->lex->failed && !lex_word(p->lex, "to")) expected(p, "'to'");
  args[1] = p->lex->failed ? NULL : take_value(p);
  unsigned n = 2;
  if (!p->lex->failed && lex_word(p->lex, "carry")) n = take_values(p, args, n);
  if (p->lex->failed) return;
  Inst *loop = block_add(p->arena, block, KOP_E_FOR, TYPE_I64, 0, n, args);
  unsigned b = 0;
  while (b < BINDINGS && !lex_word(p->lex, binding_names[b])) b++;
  if (b == BINDINGS) { expected(p, "'seq', 'vector', 'thread' or 'block'"); return; }
  loop->binding = (uint8_t)b;
  if (b == BIND_VECTOR) {
    if (!lex_expect(p->lex, "(")) return;
    loop->lanes = (uint16_t)take_index(p, KERNEL_MAX_LANES + 1);
    if (!lex_expect(p->lex, ",")) return;
    loop->unroll = (uint16_t)take_index(p, KERNEL_MAX_UNROLL + 1);
    if (!lex_expect(p->lex, ")")) return;
  }
  define(p, number, loop);
  loop->body = block_new(p->arena);
  parse_body(p, loop->body);
}

static void parse_if(Parser *p, Block *block) {
  Inst *arg = take_value(p);
  if (p->lex->failed) return;
  Inst *inst = block_add(p->arena, block, KOP_E_IF, TYPE_BOOL, 0, 1, &arg);
  inst->body = block_new(p->arena);
  parse_body(p, inst->body);
  if (!p->lex->failed && lex_word(p->lex, "else")) {
    inst->otherwise = block_new(p->arena);
    parse_body(p, inst->otherwise);
  }
}

static int32_t take_kind(Parser *p) {
  for (unsigned k = 0; k <= REDUCE_EVERY; k++) if (lex_word(p->lex, reduce_names[k])) return (int32_t)k;
  expected(p, "'sum', 'prod', 'max', 'min', 'any' or 'every'");
  return 0;
}

static void parse_inst(Parser *p, Block *block) {
  bool has_value = p->lex->now.kind == TOKEN_NODE;
  uint64_t number = 0;
  if (has_value) {
    if (!lex_digits(p->lex->now.text, &number) || number >= VALUE_LIMIT) { expected(p, "a value of a smaller number"); return; }
    lex_next(p->lex);
    if (!lex_expect(p->lex, "=")) return;
  }
  KOp op;
  const char *word = p->lex->now.text;
  if (!is_name(p) || !kop_parse(word, strlen(word), &op)) { expected(p, "an operation"); return; }
  if (kop_has_result(op) != has_value) { expected(p, has_value ? "an operation with a result" : "'%N ='"); return; }
  lex_next(p->lex);
  if (op == KOP_E_FOR) { parse_for(p, block, number); return; }
  if (op == KOP_E_IF) { parse_if(p, block); return; }
  Type type = has_value ? lex_type(p->lex) : TYPE_BOOL;
  int64_t imm = 0;
  int32_t aux = 0;
  bool comma = true;
  Inst buffers = {.op = (uint16_t)op};
  switch (kop_attr(op)) {
    case KATTR_NONE: comma = false; break;
    case KATTR_BITS: case KATTR_NUMBER: imm = take_number(p); break;
    case KATTR_FOLD:
      imm = take_number(p);
      if (!p->lex->failed) aux = take_kind(p);
      break;
    case KATTR_HYPER: imm = take_reference(p, true); break;
    case KATTR_BUFFER: imm = take_reference(p, false); break;
    case KATTR_BUFFERS: {
      Touch touch[MAX_TOUCHES];
      unsigned count = inst_touches(&buffers, touch);
      for (unsigned i = 0; i < count && !p->lex->failed && (!i || lex_expect(p->lex, ",")); i++) inst_set_buffer(&buffers, i, (unsigned)take_reference(p, false));
      imm = buffers.imm;
      aux = buffers.aux;
      break;
    }
    case KATTR_BUFFER_AXIS:
      imm = take_reference(p, false);
      if (!p->lex->failed && lex_expect(p->lex, ",")) {
        int64_t axis = take_number(p);
        if (axis < INT32_MIN || axis > INT32_MAX) expected(p, "an axis");
        aux = (int32_t)axis;
      }
      break;
  }
  Inst *args[ARG_LIMIT];
  unsigned n = 0;
  if (p->lex->failed) return;
  /* A value that follows directly is an argument: of operations without attribute only `yield` may have none, and it ends its block. */
  bool more = comma ? !p->lex->failed && lex_sign(p->lex, ",") : p->lex->now.kind == TOKEN_NODE && kop_arity(op) != 0;
  if (more) n = take_values(p, args, 0);
  if (p->lex->failed) return;
  Inst *inst = block_add(p->arena, block, op, type, imm, n, args);
  inst->aux = aux;
  if (has_value) define(p, number, inst);
}

static void parse_block(Parser *p, Block *block) {
  while (!p->lex->failed && !lex_is(p->lex, TOKEN_SIGN, "}")) {
    if (p->lex->now.kind == TOKEN_END) { expected(p, "'}'"); return; }
    parse_inst(p, block);
  }
}

static void parse_kernel(Parser *p) {
  const char *name = take_name(p);
  unsigned launch = 0;
  while (launch < LAUNCH_COUNT && !lex_is(p->lex, TOKEN_WORD, launch_name((Launch)launch))) launch++;
  if (launch == LAUNCH_COUNT) { expected(p, "'check', 'group', 'item', 'chunk', 'finish', 'sizes', 'call_sizes', 'total', 'tile', 'repeat' or 'end'"); return; }
  lex_next(p->lex);
  Kernel *k = program_kernel(p->program, name, (Launch)launch);
  if (launch_has_space((Launch)launch)) k->space = (unsigned)take_index(p, VALUE_LIMIT);
  if (p->n_values) memset(p->values, 0, p->n_values * sizeof *p->values);
  parse_body(p, k->body);
  kernel_number(k);
}

/* text "axis 1 of .." shape K@2, text ".." shapes */
static void parse_text(Parser *p) {
  const char *text = lex_take(p->lex, TOKEN_STRING, "a string");
  int64_t about = lex_word(p->lex, "shapes") ? ABOUT_SHAPES : lex_word(p->lex, "shape") ? take_reference(p, false) : ABOUT_RULE;
  program_text(p->program, text, about);
}

Program *program_parse(const Module *module, Arena *arena, Diag *diag, const Source *source) {
  Lexer lex = lex_open(arena, diag, source, ".-");
  Parser p = {.program = program_new(module, arena, ""), .arena = arena, .lex = &lex};
  if (!lex_word(p.lex, "program")) expected(&p, "'program'");
  if (!p.lex->failed) p.program->entry = take_name(&p);
  if (!p.lex->failed) p.program->advances = lex_word(p.lex, "advances");
  if (!p.lex->failed) lex_expect(p.lex, "{");
  while (!p.lex->failed && !lex_is(p.lex, TOKEN_SIGN, "}")) {
    if (lex_word(p.lex, "equal_hypers")) p.program->equal_hypers = (uint64_t)take_number(&p);
    else if (lex_word(p.lex, "uniforms")) p.program->n_uniforms = (unsigned)take_index(&p, VALUE_LIMIT);
    else if (lex_word(p.lex, "slots")) p.program->n_slots = (unsigned)take_index(&p, VALUE_LIMIT);
    else if (lex_word(p.lex, "spaces")) p.program->n_spaces = (unsigned)take_index(&p, VALUE_LIMIT);
    else if (lex_word(p.lex, "text")) parse_text(&p);
    else if (lex_word(p.lex, "temp")) {
      const char *name = take_name(&p);
      if (p.lex->failed || !lex_expect(p.lex, ":")) break;
      program_temp(p.program, name, lex_type(p.lex));
      Buffer *temp = &p.program->temps[p.program->n_temps - 1];
      temp->sized = lex_word(p.lex, "sized");
      temp->call = lex_word(p.lex, "call");
      temp->partial = lex_word(p.lex, "partial");
      if (lex_word(p.lex, "local")) temp->local = (unsigned)take_index(&p, VALUE_LIMIT);
      temp->rows = temp->local && lex_word(p.lex, "rows");
    } else if (lex_word(p.lex, "kernel")) parse_kernel(&p);
    else expected(&p, "'kernel', 'temp', 'text', 'uniforms' or 'equal_hypers'");
  }
  if (!p.lex->failed) lex_expect(p.lex, "}");
  if (!p.lex->failed && p.lex->now.kind != TOKEN_END) expected(&p, "the end of the text");
  return p.lex->failed ? NULL : p.program;
}
