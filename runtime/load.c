/* load.c: rules that were compiled ahead of time into a shared object. */
#include <dlfcn.h>
#include "runtime/context.h"
#include "runtime/rule.h"

typedef struct Load { const char *path, *name; optc_rule *rule; } Load;

static int load(Compilation *c, void *self) {
  Load *l = self;
  Range nowhere = {0};
  const char *symbol = arena_printf(c->arena, "%s_rule", l->name);
  /* A name without a slash is a file here, not something to look for among the system's libraries. */
  const char *path = arena_printf(c->arena, "%s%s", *l->path == '/' || *l->path == '.' ? "" : "./", l->path);
  dlerror();
  l->rule->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!l->rule->library) {
    diag_error(c->diag, nowhere, "cannot load '%s': %s", l->path, dlerror());
    return OPTC_E_FILE;
  }
  const optc_rule_desc *desc = dlsym(l->rule->library, symbol);
  if (!desc) {
    diag_error(c->diag, nowhere, "'%s' has no rule '%s'", l->path, l->name);
    return OPTC_E_INPUT;
  }
  if (desc->version != OPTC_DESC_VERSION) {
    diag_error(c->diag, nowhere, "'%s' was made by another version of optc (descriptor %d, this is %d)", l->path, (int)desc->version, OPTC_DESC_VERSION);
    return OPTC_E_INPUT;
  }
  l->rule->gpu = dlsym(l->rule->library, arena_printf(c->arena, "%s_gpu", l->name));         /* without PTX there is none */
  return rule_adopt(l->rule, desc) ? OPTC_OK : OPTC_E_MEMORY;
}

int optc_load(optc_context *cx, const char *shared_object, const char *rule_name, optc_rule **rule) {
  if (rule) *rule = NULL;
  if (!cx || !shared_object || !rule_name || !rule) return context_refuse(cx, OPTC_E_NULL);
  Load l = {.path = shared_object, .name = rule_name, .rule = rule_new()};
  if (!l.rule) return context_refuse(cx, OPTC_E_MEMORY);
  int status = context_compile(cx, load, &l);
  if (status == OPTC_OK) *rule = l.rule;
  else optc_rule_free(l.rule);
  return status;
}
