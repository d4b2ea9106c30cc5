/* syntax.h: PTX text as statements. Private to backends/ptx/. */
#ifndef OPTC_BACKENDS_PTX_SYNTAX_H
#define OPTC_BACKENDS_PTX_SYNTAX_H
#include "backends/ptx/ptx.h"

/* A token, and its place as offsets in the text. */
typedef struct PtxToken {
  int kind;
  const char *text; uint32_t length;     /* not terminated */
  uint32_t begin;
  uint64_t value;                        /* of a number: its integer, or the bits of 0f and 0d */
} PtxToken;

typedef struct PtxLexer { const char *text, *cursor, *marker, *limit; } PtxLexer;
void ptx_lexer_next(PtxLexer *, PtxToken *);

typedef enum PtxOperandKind {
  PTX_NAME,                              /* register, variable, label, function; with `value`: name + offset */
  PTX_NOT_NAME,                          /* !%p */
  PTX_PAIR,                              /* %p|%q */
  PTX_INTEGER, PTX_F32, PTX_F64,
  PTX_ADDRESS,                           /* [name + value]; name NULL: [value] */
  PTX_VECTOR,                            /* {a, b} */
  PTX_LIST                               /* (a, b) of a call */
} PtxOperandKind;

typedef struct PtxOperand {
  PtxOperandKind kind;
  const char *name, *second;
  uint64_t value;
  struct PtxOperand *items;              /* of a vector or list */
  struct PtxOperand *next;
} PtxOperand;

typedef enum PtxSpace { PTX_GENERIC, PTX_GLOBAL, PTX_CONST, PTX_SHARED, PTX_LOCAL, PTX_PARAM } PtxSpace;

typedef enum PtxStatementKind { PTX_INSTRUCTION, PTX_LABEL, PTX_REGISTERS, PTX_VARIABLE, PTX_TARGETS, PTX_OPEN, PTX_CLOSE } PtxStatementKind;

typedef struct PtxVariable {
  PtxSpace space;
  const char *type, *name;
  uint32_t align;                        /* 0: of the type */
  uint64_t count;                        /* elements; 0: `[]`, sized by the launch */
  bool external;
  PtxOperand *values;                    /* initial, or NULL */
  Range where;
  struct PtxVariable *next;
} PtxVariable;

typedef struct PtxStatement {
  PtxStatementKind kind;
  Range where;
  const char *name;                      /* opcode with its modifiers, label, prefix or name of registers */
  const char *type;                      /* of registers */
  uint64_t count;                        /* of a range %r<count>; 0: one register called `name` */
  const char *guard; bool unless;        /* @%p, @!%p */
  PtxOperand *operands;                  /* of an instruction; the labels of .branchtargets */
  PtxVariable *variable;
  struct PtxStatement *next;
} PtxStatement;

typedef struct PtxFunction {
  const char *name;
  bool entry;
  Range where;
  PtxVariable *params, *results;
  PtxStatement *body;                    /* NULL: declared only */
  unsigned block_limit;
  struct PtxFunction *next;
} PtxFunction;

/* Lists grow at their end. */
typedef struct PtxStatements { PtxStatement *first, *last; } PtxStatements;
typedef struct PtxOperands { PtxOperand *first, *last; } PtxOperands;
typedef struct PtxVariables { PtxVariable *first, *last; } PtxVariables;

typedef struct PtxParser {
  Arena *arena;
  Diag *diag;
  const Source *source;
  PtxFunction *functions, *last_function;
  PtxVariables variables;
  const char *pending_type;              /* of the .reg statement being read */
  bool failed;
} PtxParser;

/* All of a text; false after an error in the diag. */
bool ptx_parse(PtxParser *);

/* What the grammar calls. */
const char *ptx_word(PtxParser *, PtxToken);
void ptx_refuse(PtxParser *, PtxToken, const char *format, ...) __attribute__((format(printf, 3, 4)));
PtxOperand *ptx_operand(PtxParser *, PtxOperandKind, const PtxToken *name, uint64_t value);
PtxStatement *ptx_statement(PtxParser *, PtxStatementKind, PtxToken name);
PtxVariable *ptx_variable(PtxParser *, PtxSpace, uint64_t align, PtxToken type, PtxToken name, uint64_t count);
void ptx_function(PtxParser *, bool entry, PtxToken name, PtxVariable *results, PtxVariable *params, uint64_t limit, PtxStatement *body);
void ptx_add_variable(PtxParser *, PtxVariable *);
#endif
