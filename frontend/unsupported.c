/* unsupported.c: what parses and is refused, each at its place, without errors that only follow from it. */
#include <string.h>
#include "frontend/lower.h"

Value lower_unsupported(Lower *l, Range where, const char *construct) {
  lower_error(l, where, "'%s' is not supported yet", construct);
  return (Value){0};
}

void poison_assigned(Lower *l, const StmtList *list) {
  for (unsigned i = 0; i < list->n; i++) {
    const Stmt *s = list->at[i];
    switch (s->kind) {
      case STMT_ASSIGN: name_poison(l, s->name.text, s->name.where); break;
      case STMT_DECL: for (unsigned k = 0; k < s->decls.n; k++) name_poison(l, s->decls.at[k].name, s->decls.at[k].where); break;
      case STMT_IF: poison_assigned(l, &s->body); if (s->has_otherwise) poison_assigned(l, &s->otherwise); break;
      case STMT_REPEAT: case STMT_SCAN: case STMT_SKIP: poison_assigned(l, &s->body); break;
      default: break;
    }
  }
}
