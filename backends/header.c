/* header.c: the C header of a compiled rule, and the number that ties it to its object. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/backend.h"
#include "ir/describe.h"
#include "ir/graph.h"

extern const char backend_abi_text[];                                /* embed.S: ir/optc_abi.h */

/* --- the identity of an interface: everything that the header says and a caller relies on ------------------------------------ */

static uint64_t mix(uint64_t h, const void *bytes, size_t n) {       /* FNV-1a */
  for (size_t i = 0; i < n; i++) h = (h ^ ((const unsigned char *)bytes)[i])*UINT64_C(0x100000001b3);
  return h;
}
static uint64_t mix_text(uint64_t h, const char *s) { return mix(h, s ? s : "", s ? strlen(s) + 1 : 1); }
static uint64_t mix_number(uint64_t h, uint64_t n) { return mix(h, &n, sizeof n); }

uint64_t backend_abi_hash(const Module *m) {
  const optc_rule_desc *rule = describe_rule(m, NULL, 0, m->arena);
  uint64_t h = mix_number(mix_text(UINT64_C(0xcbf29ce484222325), rule->name), (uint64_t)rule->version);
  for (int64_t i = 0; i < rule->n_hypers; i++) h = mix_number(mix_text(h, rule->hypers[i].name), (uint64_t)rule->hypers[i].type);
  for (int64_t i = 0; i < rule->n_operands; i++) {
    const optc_operand_desc *o = &rule->operands[i];
    h = mix_number(mix_text(h, o->name), (uint64_t)(o->role | o->scope << 8 | o->type << 16 | o->tensor << 24 | o->shaped << 25));
    h = mix_number(h, (uint64_t)o->offset);
  }
  for (unsigned i = 0; i < m->n_graphs; i++) h = mix_text(h, m->graphs[i]->name);
  return h;
}

/* --- names and comments ---------------------------------------------------------------------------------------------------------- */

/* Words that a field cannot be called: those of C and C++, and what the header and the headers it includes use as types and macros. */
static const char *const reserved[] = {
  "alignas", "alignof", "and", "and_eq", "asm", "auto", "bitand", "bitor", "bool", "break", "case", "catch", "char", "char16_t", "char32_t", "char8_t", "class", "co_await",
  "co_return", "co_yield", "compl", "concept", "const", "const_cast", "consteval", "constexpr", "constinit", "continue", "decltype", "default", "delete", "do", "double",
  "dynamic_cast", "else", "enum", "explicit", "export", "extern", "false", "float", "for", "friend", "goto", "if", "inline", "int", "long", "mutable", "namespace", "new",
  "noexcept", "not", "not_eq", "nullptr", "operator", "or", "or_eq", "private", "protected", "public", "register", "reinterpret_cast", "requires", "restrict", "return", "short",
  "signed", "sizeof", "static", "static_assert", "static_cast", "struct", "switch", "template", "this", "thread_local", "throw", "true", "try", "typedef", "typeid", "typename",
  "typeof", "typeof_unqual", "union", "unsigned", "using", "virtual", "void", "volatile", "wchar_t", "while", "xor", "xor_eq",
  "int64_t", "uint64_t", "size_t", "optc_tensor", "optc_shaped", "optc_parallel", "optc_error",
  "NULL", "EOF", "BUFSIZ", "L_tmpnam", "P_tmpdir", "SEEK_CUR", "SEEK_END", "SEEK_SET", "stderr", "stdin", "stdout", "linux", "unix", "i386"};

static bool is_reserved(const Module *m, const char *name) {
  static const char *const limits[] = {"INT", "UINT", "PTRDIFF", "SIZE", "SIG_ATOMIC", "WCHAR", "WINT", "FILENAME", "FOPEN", "TMP"};
  size_t n = strlen(m->name), length = strlen(name);
  for (size_t i = 0; i < sizeof reserved/sizeof *reserved; i++) if (!strcmp(name, reserved[i])) return true;
  bool limit = length > 4 && (!strcmp(name + length - 4, "_MAX") || !strcmp(name + length - 4, "_MIN"));
  for (size_t i = 0; i < sizeof limits/sizeof *limits && limit; i++) if (!strncmp(name, limits[i], strlen(limits[i]))) return true;
  if (name[0] == '_' && (name[1] == '_' || (name[1] >= 'A' && name[1] <= 'Z'))) return true;      /* the implementation's */
  return !strncmp(name, m->name, n) && name[n] == '_';                    /* types and macros of this header */
}

/* The fields of one struct, by what the rule calls them. `adamw/m`, a state of an inserted rule, is adamw_m; a name that is reserved, or taken, gets underscores. */
typedef struct Fields { const Module *module; const char **names; unsigned n; } Fields;

static Fields fields_new(const Module *m, Arena *a, const char *const *own, unsigned n_own) {
  Fields f = {m, arena_array(a, (size_t)m->n_operands + m->n_hypers + n_own + 1, sizeof *f.names), n_own};
  if (n_own) memcpy(f.names, own, n_own*sizeof *own);
  return f;
}

static bool is_taken(const Fields *f, const char *name) {
  for (unsigned i = 0; i < f->n; i++) if (!strcmp(name, f->names[i])) return true;
  return false;
}

static const char *field_name(Fields *f, Arena *a, const char *name) {
  char *field = arena_printf(a, is_reserved(f->module, name) ? "%s_" : "%s", name);
  for (char *c = field; *c; c++) if (*c == '/') *c = '_';
  while (is_taken(f, field)) field = arena_printf(a, "%s_", field);
  return f->names[f->n++] = field;
}

/* Text of the rule inside a comment: its lines joined, without what would end the comment. */
static void add_doc(Text *out, const char *doc) {
  for (const char *s = doc; s && *s; s++) {
    if (s[0] == '*' && s[1] == '/') text_append(out, "* ", 2);
    else if (s[0] == '/' && s[1] == '*') text_append(out, "/ ", 2);
    else if (*s == '\n' || *s == '\r') text_append(out, " ", 1);
    else text_append(out, s, 1);
  }
}

/* The shortest decimal number that reads back as x, with a point whatever the locale. */
static const char *f64_text(Arena *a, double x) {
  if (x != x) return "(0.0/0.0)";
  if (isinf(x)) return x > 0 ? "(1.0/0.0)" : "(-1.0/0.0)";
  char *s = NULL;
  for (int digits = 1; digits <= 17; digits++) {
    s = arena_printf(a, "%.*g", digits, x);
    if (strtod(s, NULL) == x) break;
  }
  bool whole = true;
  for (char *c = s; *c; c++) {
    if (*c == ',') *c = '.';
    whole = whole && ((*c >= '0' && *c <= '9') || *c == '-');
  }
  return whole ? arena_printf(a, "%s.0", s) : s;
}

static const char *hyper_value(Arena *a, const Hyper *h) {
  if (h->type == TYPE_F64) return f64_text(a, bits_to_f64(h->value, TYPE_F64));
  if (h->type == TYPE_I64 && (int64_t)h->value == INT64_MIN) return "INT64_MIN";
  return arena_printf(a, "%" PRId64, h->type == TYPE_BOOL ? (int64_t)(h->value & 1) : (int64_t)h->value);
}

/* --- the structs ------------------------------------------------------------------------------------------------------------------- */

static void add_hypers(const Module *m, Text *out) {
  text_add(out, "/* Hyper-parameters of one parameter group. */\ntypedef struct %s_hyper {\n", m->name);
  Fields fields = fields_new(m, out->arena, NULL, 0);
  for (unsigned i = 0; i < m->n_hypers; i++) {
    const Hyper *h = &m->hypers[i];
    text_add(out, "  %s %s;", h->type == TYPE_F64 ? "double" : "int64_t", field_name(&fields, out->arena, h->name));
    text_add(out, "  /* %s", h->type == TYPE_F64 ? "real" : h->type == TYPE_BOOL ? "0 or 1" : "integer");
    if (h->has_default && h->computed) text_add(out, ", default: %s asks for what the rule computes", h->type == TYPE_F64 ? "a NaN" : "INT64_MIN");
    else if (h->has_default) text_add(out, ", default %s", hyper_value(out->arena, h));
    if (h->external) { text_add(out, "; elsewhere called "); add_doc(out, h->external); }
    if (h->doc) { text_add(out, ". "); add_doc(out, h->doc); }
    text_add(out, " */\n");
  }
  if (!m->n_hypers) text_add(out, "  int64_t none;  /* the rule has no hyper-parameters: groups may be NULL */\n");
  text_add(out, "} %s_hyper;\n", m->name);
  text_add(out, "/* const %s_hyper h = %s_HYPER_DEFAULTS; (0 where the rule states no default) */\n#define %s_HYPER_DEFAULTS {", m->name, m->name, m->name);
  for (unsigned i = 0; i < m->n_hypers; i++)
    text_add(out, "%s%s", i ? ", " : "", m->hypers[i].has_default ? hyper_value(out->arena, &m->hypers[i]) : m->hypers[i].type == TYPE_F64 ? "0.0" : "0");
  text_add(out, "%s}\n\n", m->n_hypers ? "" : "0");
}

/* `optc_shaped Q; / * in, f32 [B, H, N, D], only read * /` */
static void add_operand(const Module *m, const Operand *o, Fields *fields, Text *out) {
  bool tensor = operand_is_tensor(o), shaped = operand_is_shaped(o);
  const char *shape = operand_shape_text(m, o, out->arena);
  const char *type = shaped ? "optc_shaped" : tensor ? "optc_tensor" : type_kind(o->storage) == KIND_FLOAT ? "double" : "int64_t";
  text_add(out, "  %s %s;  /* %s", type, field_name(fields, out->arena, o->name), role_name(o->role));
  if (o->memory) text_add(out, ", %s: %s", type_name(o->storage), o->memory);
  else if (tensor) text_add(out, ", %s%s%s", type_name(o->storage), shape ? " " : "", shape ? shape : "");
  if (tensor && o->item_shape) text_add(out, "%s the item's shape", shape ? ":" : " of");
  else if (o->storage == TYPE_BOOL) text_add(out, ", 0 or 1");
  if (o->role == ROLE_GRAD || o->role == ROLE_IN) text_add(out, ", only read");
  if (o->optional) text_add(out, ", may be absent (%s)", tensor ? "data NULL" : "0");
  if (tensor && o->role == ROLE_OUT) text_add(out, ", data NULL: not wanted");
  if (tensor && o->role == ROLE_STATE && !o->item_shape && !o->memory) text_add(out, ", dense, as large as %s_layout says", m->name);
  if (o->entry) text_add(out, ", for %s only", o->entry);
  if (o->external) { text_add(out, "; in checkpoints: "); add_doc(out, o->external); }
  if (o->doc) { text_add(out, ". "); add_doc(out, o->doc); }
  text_add(out, " */\n");
}

static void add_item(const Module *m, bool shards, Text *out) {
  static const char *const own[] = {"group", "rank", "shape", "first", "count"};
  bool has_item = false, shaped = false;
  for (unsigned i = 0; i < m->n_operands; i++) {
    has_item |= m->operands[i].scope == SCOPE_TENSOR && m->operands[i].item_shape;
    shaped |= operand_is_shaped(&m->operands[i]);
  }
  text_add(out, has_item ? "/* One item of the list: a parameter with what belongs to it. param, grad and state are dense row-major (stride NULL, or just that); in, out and\n"
                           " * inout of a whole item may have any strides. */\n"
                         : "/* One problem of the list. Tensors may have any strides. rank, shape, first and count are not used: leave them 0. */\n");
  if (shaped) text_add(out, "/* optc_shaped: fill data, shape and rank, one extent an axis, and stride where the tensor is not dense. Sizes named in the comments are found in the\n"
                            " * shapes, from the first tensor that names them on; all other extents must agree, or the entry returns OPTC_E_SHAPE with `text` like\n"
                            " * \"axis 1 of tensor 'K' is {}, G is {}\", the numbers in value[] and the tensor in operand. An out or an optional tensor that is NULL needs no shape. `...` and `flat N` stand for\n"
                            " * any number of axes; [] is one number (rank 0). */\n");
  text_add(out, "typedef struct %s_item {\n", m->name);
  Fields fields = fields_new(m, out->arena, own, sizeof own/sizeof *own);
  for (unsigned i = 0; i < m->n_operands; i++) if (m->operands[i].scope != SCOPE_GLOBAL) add_operand(m, &m->operands[i], &fields, out);
  text_add(out, "  int64_t group;         /* which of call->groups */\n"
                "  int64_t rank;          /* axes of the item, 0 to 64 */\n"
                "  const int64_t *shape;  /* extents, one an axis; NULL for rank 0 */\n"
                "  int64_t first, count;  /* %s */\n"
                "} %s_item;\n\n",
           shards ? "shard: elements first..first+count-1 of the flat item; first is a multiple of 65536, data points at element\n"
                    "                            `first`. Both 0: the whole item. count -1: nothing of it is here."
                  : "0: the rule takes whole tensors, no shards (OPTC_E_SHARD)", m->name);
}

static void add_global(const Module *m, Text *out) {
  static const char *const own[] = {"t", "seed"};
  text_add(out, "/* What belongs to the whole call. */\ntypedef struct %s_global {\n"
                "  int64_t t;      /* %s */\n"
                "  uint64_t seed;  /* key of the random numbers */\n", m->name, m->has_step ? "steps done: 0 before the first; advanced by the entry `step`" : "not used by this rule");
  Fields fields = fields_new(m, out->arena, own, sizeof own/sizeof *own);
  for (unsigned i = 0; i < m->n_operands; i++) if (m->operands[i].scope == SCOPE_GLOBAL) add_operand(m, &m->operands[i], &fields, out);
  text_add(out, "} %s_global;\n\n", m->name);
}

static void add_call(const Module *m, Text *out) {
  text_add(out, "typedef struct %s_call {\n"
                "  size_t size;                    /* sizeof(%s_call) */\n"
                "  const %s_hyper *groups;         /* one a parameter group */\n"
                "  int64_t n_groups;\n"
                "  %s_item *items;\n"
                "  int64_t n_items;\n"
                "  int64_t first_item;             /* position of items[0] in the model's whole list: random numbers depend on it, nothing else does */\n"
                "  %s_global *global;\n"
                "  void *workspace;                /* at least %s_workspace_size(call) bytes; NULL where that is 0 */\n"
                "  size_t workspace_size;\n"
                "  const optc_parallel *parallel;  /* NULL: serial, with the same bits */\n"
                "  optc_error *error;              /* filled on every return but OPTC_E_SIZE, or NULL */\n"
                "} %s_call;\n\n", m->name, m->name, m->name, m->name, m->name, m->name, m->name);
}

/* An array of size -1 where a size is not the object's: plain C99 and C++. */
static void add_sizes(const Module *m, Text *out) {
  const Layout *l = layout_of(m);
  text_add(out, "/* Sizes that the object was compiled for. */\n");
  if (m->n_hypers) text_add(out, "typedef char %s_hyper_has_its_size[sizeof(%s_hyper) == %u ? 1 : -1];\n", m->name, m->name, l->hyper_size);
  text_add(out, "typedef char %s_item_has_its_size[sizeof(%s_item) == %u ? 1 : -1];\n", m->name, m->name, l->item_size);
  text_add(out, "typedef char %s_global_has_its_size[sizeof(%s_global) == %u ? 1 : -1];\n", m->name, m->name, l->global_size);
  text_add(out, "typedef char %s_call_has_its_size[sizeof(%s_call) == %u ? 1 : -1];\n\n", m->name, m->name, (unsigned)sizeof(optc_call));
}

static void add_entry(const Module *m, const Program *p, Text *out) {
  const int64_t *uses = describe_uses(p, out->arena);
  text_add(out, "/* Entry %s%s.", p->entry, p->advances ? ": one step; global->t grows by one" : !strcmp(p->entry, "init") ? ": writes every state's initial value and sets global->t to 0" : "");
  static const struct { const char *title; int64_t bits; } parts[] = {{"Reads", USE_READ}, {"Writes", USE_WRITTEN}, {"Reads and writes", USE_TOUCHED}};
  for (unsigned k = 0; k < 3; k++) {
    unsigned n = 0;
    for (unsigned i = 0; i < m->n_operands; i++)
      if ((uses[i] & USE_TOUCHED) == parts[k].bits) text_add(out, "%s %s", n++ ? "," : arena_printf(out->arena, " %s", parts[k].title), m->operands[i].name);
    if (n) text_add(out, ".");
  }
  unsigned n_sizes = 0;
  for (unsigned i = 0; i < m->n_operands; i++)
    if (uses[i] == USE_SIZES) text_add(out, "%s %s", n_sizes++ ? "," : " Looks at the shape of", m->operands[i].name);
  if (n_sizes) text_add(out, ", which may have NULL data.");
  text_add(out, " */\nint %s_%s(const %s_call *call);\n", m->name, p->entry, m->name);
}

/* Shards: every entry takes them, or none (drive_look). */
static bool takes_shards(Program *const *programs, unsigned n, Arena *arena) {
  for (unsigned i = 0; i < n; i++) {
    optc_entry_desc entry;
    describe_program(programs[i], &entry, arena);
    if (!entry.flat) return false;
  }
  return true;
}

static void add_phases(const Module *m, const char *main_entry, bool shards, Text *out) {
  text_add(out, "/* The main entry%s%s in pieces: phase 0 to %s_phases - 1, in order, with one workspace; there is no other (OPTC_E_SHAPE).", main_entry ? ", " : "", main_entry ? main_entry : "", m->name);
  if (shards) text_add(out, " For processes that share\n"
                            " * tensors (item.first, item.count): after each they add up what it left. %s_partials tells how many doubles (the same in all processes) and where in the\n"
                            " * workspace; -1: the call is wrong. A chunk of 65,536 elements belongs to one process; the others leave 0. The bits are those of one process.", m->name);
  text_add(out, " */\nextern const int %s_phases;\nint %s_phase(int phase, const %s_call *call);\nint64_t %s_partials(int phase, const %s_call *call, double **out);\n\n",
           m->name, m->name, m->name, m->name, m->name);
}

/* Of PTX in the object; optc.h says the rest. */
static void add_gpu(const Module *m, const char *entry, const char *gpus, Text *out) {
  text_add(out, "/* On an NVIDIA GPU: the object carries PTX (%s), which optc's library (optc.h) hands to the GPU's driver. Data of tensors are addresses of that GPU's memory:\n"
                " *   optc_gpu *gpu;\n *   optc_gpu_open(0, &gpu, &error);\n *   optc_gpu_call_raw(stream, gpu, &%s_gpu, \"%s\", &call);\n"
                " * Shapes, hyper-parameters and numbers are in main memory, as in every call; workspace and parallel are not used. */\n"
                "extern const struct optc_gpu_desc %s_gpu;\n\n", gpus, m->name, entry, m->name);
}

static bool block_is_fast(const Block *block) {
  for (unsigned i = 0; block && i < block->n; i++)
    if (block->insts[i]->op == KOP_E_TILE_FAST || block_is_fast(block->insts[i]->body) || block_is_fast(block->insts[i]->otherwise)) return true;
  return false;
}
static bool programs_are_fast(Program *const *programs, unsigned n) {
  for (unsigned i = 0; i < n; i++)
    for (unsigned k = 0; k < programs[i]->n_kernels; k++) if (block_is_fast(programs[i]->kernels[k]->body)) return true;
  return false;
}

void backend_header(const Module *m, Program *const *programs, unsigned n, const char *gpus, Text *out) {
  unsigned states = 0;
  for (unsigned i = 0; i < m->n_operands; i++) states += m->operands[i].role == ROLE_STATE;
  text_add(out, "/* %s.h: the C interface of the rule %s, written by optc %s. It needs no other file and no library.\n", m->name, m->name, OPTC_VERSION);
  if (m->doc) { text_add(out, " *\n * "); add_doc(out, m->doc); text_add(out, "\n"); }
  if (programs_are_fast(programs, n)) text_add(out, " *\n * Compiled with --fast: products of matrices are within a bound of what the rule says, not exact (docs/language.md of optc, --fast).\n");
  text_add(out, " *\n * Every entry returns OPTC_OK or an OPTC_E_ code; on an error nothing has been written. Calls on disjoint data may run at the same time.\n"
                " * The object has one word of hidden state: which instruction set was found; it is written with the same value by every thread. */\n"
                "#ifndef OPTC_RULE_%s_H\n#define OPTC_RULE_%s_H\n\n", m->name, m->name);
  text_append(out, backend_abi_text, strlen(backend_abi_text));
  text_add(out, "\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n");
  add_hypers(m, out);
  bool shards = takes_shards(programs, n, out->arena);
  add_item(m, shards, out);
  add_global(m, out);
  add_call(m, out);
  add_sizes(m, out);
  const char *main_entry = NULL;
  for (unsigned i = 0; i < n; i++) {
    if (!strcmp(programs[i]->entry, "layout")) continue;
    add_entry(m, programs[i], out);
    if (!strcmp(programs[i]->entry, "step") || !strcmp(programs[i]->entry, "forward") || !main_entry) main_entry = programs[i]->entry;
  }
  text_add(out, "\n/* Bytes of workspace that the most demanding entry needs for this call; 0 for none, or where a shape or a group is wrong. */\nsize_t %s_workspace_size(const %s_call *call);\n", m->name, m->name);
  text_add(out, "/* Which states item number `item` of the call has: out[%s_N_STATES], in order of declaration. */\n#define %s_N_STATES %u\n"
                "int %s_layout(const %s_call *call, int64_t item, optc_state_info *out);\n", m->name, m->name, states, m->name, m->name);
  text_add(out, "/* Looks for tensors of different items that overlap where one is written; quadratic in their number. */\nint %s_check(const %s_call *call);\n", m->name, m->name);
  add_phases(m, main_entry, shards, out);
  if (gpus) add_gpu(m, main_entry ? main_entry : "step", gpus, out);
  unsigned long long hash = backend_abi_hash(m);
  text_add(out, "/* A header and an object that do not belong together fail to link: this symbol is missing. */\nextern const char %s_abi_%016llx;\n"
                "#if defined(__GNUC__)\nstatic const char *const %s_abi_reference __attribute__((used)) = &%s_abi_%016llx;\n#endif\n", m->name, hash, m->name, m->name, hash);
  text_add(out, "\n#ifdef __cplusplus\n}\n#endif\n#endif\n");
}
