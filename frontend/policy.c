/* policy.c: storage policies: `m=bf16,v=q8[256],p=bf16+master` gives operands of any rule another storage than its text does.
 *
 * policy = NAME "=" storage ["+" "master"] {"," policy}, storage as in a declaration. Names are those of the header and of checkpoints' layout:
 * an applied rule's states stand as `adamw/m` where they would collide. A policy says how a tensor lies in memory and never changes arithmetic. */
#include <string.h>
#include "frontend/grammar.h"
#include "frontend/parser.h"
#include "frontend/statements.h"
#include "ir/suggest.h"

struct Policy { Name name; Storage storage; bool master, used; };

/* --- the text ----------------------------------------------------------------------------------------------------------------------- */

typedef struct Reader { Lower *l; Lexer lexer; Token token; const Source *source; uint32_t end; } Reader;      /* end: of the token before */

static Range place(const Reader *r, uint32_t begin, uint32_t end) { return (Range){r->source, begin, end}; }
static Range here(const Reader *r) { return place(r, r->token.begin, r->token.end); }

/* The token if it is of this kind, and on to the next. */
static bool take(Reader *r, int kind, Token *out) {
  if (r->token.kind != kind) return false;
  if (out) *out = r->token;
  r->end = r->token.end;
  lexer_next(&r->lexer, &r->token);
  return true;
}

static bool take_word(Reader *r, const char *word) { return r->token.kind == T_NAME && !strcmp(r->token.text, word) && take(r, T_NAME, NULL); }

static bool expected(Reader *r, const char *what) {
  lower_error(r->l, here(r), "expected %s, as in m=bf16,v=q8[256],p=bf16+master", what);
  return false;
}

static const char *suggest_type(const char *word) {
  static const char *const types[] = {"f32", "bf16", "f16", "q8", "q8u", "q4", "q4u"};
  return suggest_word(word, types, sizeof types/sizeof *types);
}

/* Behind a type: a slip in one of the words that may stand there. */
static bool is_slip(Reader *r) {
  static const char *const words[] = {"nearest", "stochastic", "flush", "master"};
  const char *near = r->token.kind == T_NAME ? suggest_word(r->token.text, words, sizeof words/sizeof *words) : NULL;
  if (near && lower_error(r->l, here(r), "unknown word '%s'; did you mean '%s'?", r->token.text, near)) diag_fix(r->l->diag, near);
  return near != NULL;
}

static bool read_type(Reader *r, Storage *s) {
  Token type, number;
  if (!take(r, T_TYPE, &type)) {
    const char *near = r->token.kind == T_NAME ? suggest_type(r->token.text) : NULL;
    if (!near) return expected(r, "a storage type");
    lower_error(r->l, here(r), "unknown type '%s'; did you mean '%s'?", r->token.text, near);
    diag_fix(r->l->diag, near);
    return false;
  }
  *s = (Storage){.type = type.text};
  if (take(r, T_LBRACKET, NULL)) {
    if (r->token.text || !take(r, T_NUMBER, &number)) return expected(r, "the elements of a block");      /* a real has a text */
    Expr *block = arena_alloc(r->l->arena, sizeof *block);
    *block = (Expr){.kind = EXPR_INT, .where = place(r, number.begin, number.end), .op_where = place(r, number.begin, number.end), .depth = 1, .value = number.value};
    s->block = block;
    if (!take(r, T_RBRACKET, NULL)) return expected(r, "']'");
  }
  return true;
}

static bool read_rounding(Reader *r, Storage *s) {
  Token bits;
  if (take(r, T_FLUSH, NULL)) s->flush = true;
  else if (take_word(r, "nearest")) s->nearest = true;
  else if (take(r, T_STOCHASTIC, NULL)) {
    s->stochastic = true;
    if (!take(r, T_LPAREN, NULL)) return true;
    if (!take(r, T_NAME, &bits)) return expected(r, "the operand that holds the random bits");
    s->bits_from = bits.text;
    if (!take(r, T_RPAREN, NULL)) return expected(r, "')'");
  }
  return true;
}

/* Reports a name that has a policy already. */
static bool is_given(Reader *r, const Policy *p) {
  const Context *x = r->l->context;
  for (unsigned i = 0; i < x->n_policies; i++) {
    if (strcmp(x->policies[i].name.text, p->name.text)) continue;
    if (lower_error(r->l, p->name.where, "'%s' is given twice", p->name.text)) diag_note(r->l->diag, x->policies[i].name.where, "first given here");
    return true;
  }
  return false;
}

static bool read_policy(Reader *r, Policy *p) {
  Token name, part;
  if (!take(r, T_NAME, &name)) return expected(r, "the name of a tensor");
  p->name = (Name){name.text, place(r, name.begin, name.end)};
  while (take(r, T_SLASH, NULL)) {                       /* of an applied rule */
    if (!take(r, T_NAME, &part)) return expected(r, "a name");
    p->name = (Name){arena_printf(r->l->arena, "%s/%s", p->name.text, part.text), place(r, name.begin, part.end)};
  }
  if (!take(r, T_ASSIGN, NULL)) return expected(r, "'='");
  uint32_t begin = r->token.begin;
  if (!read_type(r, &p->storage) || !read_rounding(r, &p->storage)) return false;
  p->storage.where = place(r, begin, r->end);
  if (!take(r, T_PLUS, NULL)) return !is_slip(r);
  p->master = take_word(r, "master");
  return p->master || (!is_slip(r) && expected(r, "'master'"));
}

void policies_read(Lower *l, const char *text) {
  Context *x = l->context;
  if (!text || !*text) return;
  Source *source = arena_alloc(l->arena, sizeof *source);
  *source = (Source){"--store", arena_strndup(l->arena, text, strlen(text)), strlen(text)};
  Reader r = {.l = l, .source = source};
  lexer_start(&r.lexer, l->arena, source);
  lexer_next(&r.lexer, &r.token);
  do {
    Policy p = {0};
    if (!read_policy(&r, &p)) return;
    if (is_given(&r, &p)) continue;
    x->policies = arena_grow(l->arena, x->policies, &x->policies_capacity, x->n_policies + 1, sizeof *x->policies);
    x->policies[x->n_policies++] = p;
  } while (take(&r, T_COMMA, NULL));
  if (r.token.kind) expected(&r, "',' or the end");
}

/* --- where it fits ------------------------------------------------------------------------------------------------------------------ */

/* A declared type of real numbers in f32: what a policy may replace. */
static bool is_real(const Storage *s) { return !s->type || !strcmp(s->type, "f32") || !strcmp(s->type, "bf16") || !strcmp(s->type, "f16") || storage_is_codes(s); }

/* Why a policy cannot hold for a declaration, and at which part of the policy; NULL: it can. */
static const char *misfit(Lower *l, const Policy *p, const Stmt *s, const Decl *d, Range *where) {
  const char *name = p->name.text, *type = p->storage.type;
  bool reads_only = s->role == ROLE_GRAD || s->role == ROLE_IN;
  *where = p->name.where;
  if (s->scope != SCOPE_TENSOR && !d->shape) return arena_printf(l->arena, "'%s' is one number %s; a storage policy is for tensors", name, s->scope == SCOPE_SCALAR ? "an item" : "of the call");
  if (d->storage.type && !strcmp(d->storage.type, "f64")) return arena_printf(l->arena, "'%s' is f64: another type would change the arithmetic", name);
  if (!is_real(&d->storage)) return arena_printf(l->arena, "'%s' holds %s, not real numbers", name, d->storage.type);
  if (p->master && (s->role != ROLE_PARAM || d->optional)) return d->optional ? "a master copy is for params that are never absent" : "a master copy is for params";
  *where = p->storage.where;
  if (!strcmp(type, "f64")) return "f64 would change the arithmetic; see --compute f64";
  if (!is_real(&p->storage)) return arena_printf(l->arena, "'%s' holds real numbers, not %s", name, type);
  if (p->storage.stochastic && reads_only) return arena_printf(l->arena, "'%s' is only read: nothing is rounded", name);
  if (p->master && strcmp(type, "bf16") && strcmp(type, "f16")) return "a master copy stands beside a param in bf16 or f16";
  if (p->master && p->storage.stochastic) return "beside a master copy the param is the copy rounded to nearest";
  return NULL;
}

static bool policy_fits(Lower *l, const Policy *p, const Stmt *s, const Decl *d) {
  Range where;
  const char *why = misfit(l, p, s, d, &where);
  if (why && lower_error(l, where, "%s", why)) diag_note(l->diag, d->where, "declared here");
  return !why;
}

/* How a declared operand is kept: as the policy of its name says, else as the text does. */
const Storage *policy_storage(Lower *l, const Stmt *s, const Decl *d, const char *name, bool *master) {
  *master = false;
  for (unsigned i = 0; i < l->context->n_policies; i++) {
    Policy *p = &l->context->policies[i];
    if (strcmp(p->name.text, name)) continue;
    p->used = true;
    if (!policy_fits(l, p, s, d)) break;
    *master = p->master;
    return &p->storage;
  }
  return &d->storage;
}

/* The operand that was perhaps meant: by its name in checkpoints, without a rule before it, or by a slip. */
static const char *meant(Lower *l, const char *name) {
  const Module *m = l->context->module;
  const char **names = arena_array(l->arena, m->n_operands + 1, sizeof *names), *slash = strrchr(name, '/');
  for (unsigned k = 0; k < m->n_operands; k++) {
    names[k] = m->operands[k].name;
    if ((m->operands[k].external && !strcmp(m->operands[k].external, name)) || (slash && !strcmp(names[k], slash + 1))) return names[k];
  }
  return suggest_word(name, names, m->n_operands);
}

void policies_finish(Lower *l) {
  const Context *x = l->context;
  for (unsigned i = 0; i < x->n_policies; i++) {
    const Policy *p = &x->policies[i];
    const Symbol *symbol = NULL;
    if (p->used) continue;
    for (unsigned k = 0; k < x->n_symbols && !symbol; k++) if (!strcmp(x->symbols[k]->name, p->name.text)) symbol = x->symbols[k];
    const char *near = meant(l, p->name.text);
    if (symbol && symbol->kind != SYMBOL_OPERAND) {
      if (lower_error(l, p->name.where, "'%s' is %s %s, not a tensor of the rule", p->name.text, symbol_article(l, symbol), symbol_word(l, symbol))) diag_note(l->diag, symbol->where, "declared here");
    } else if (near) {
      if (lower_error(l, p->name.where, "rule '%s' has no operand '%s'; did you mean '%s'?", x->rule->name.text, p->name.text, near)) diag_fix(l->diag, near);
    } else lower_error(l, p->name.where, "rule '%s' has no operand '%s'", x->rule->name.text, p->name.text);
  }
}
