/* cubin.c: see cubin.h. */
#include "tests/support/cubin.h"
#include <elf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* .nv.info: attributes, of which those with a body name a symbol and a number. */
enum { WITH_BODY = 4, ATTRIBUTE_REGISTERS = 0x2f, ATTRIBUTE_STACK = 0x12 };

typedef struct Cubin {
  const char *bytes; size_t size;
  const Elf64_Shdr *sections; unsigned n_sections;
  const char *names;
} Cubin;

static const void *inside(const Cubin *c, uint64_t at, uint64_t size) { return at <= c->size && size <= c->size - at ? c->bytes + at : NULL; }

static bool open_cubin(Cubin *c) {
  const Elf64_Ehdr *head = inside(c, 0, sizeof *head);
  if (!head || memcmp(head->e_ident, ELFMAG, SELFMAG) || head->e_ident[EI_CLASS] != ELFCLASS64 || head->e_shentsize != sizeof(Elf64_Shdr)) return false;
  c->n_sections = head->e_shnum;
  c->sections = inside(c, head->e_shoff, (uint64_t)c->n_sections*sizeof *c->sections);
  if (!c->sections || head->e_shstrndx >= c->n_sections) return false;
  for (unsigned k = 0; k < c->n_sections; k++)
    if (c->sections[k].sh_type != SHT_NOBITS && !inside(c, c->sections[k].sh_offset, c->sections[k].sh_size)) return false;
  c->names = c->bytes + c->sections[head->e_shstrndx].sh_offset;
  return true;
}

static const char *name_of(const Cubin *c, unsigned section) { return c->names + c->sections[section].sh_name; }
static const char *contents(const Cubin *c, unsigned section) { return c->bytes + c->sections[section].sh_offset; }

static unsigned named(const Cubin *c, const char *name) {
  for (unsigned k = 1; k < c->n_sections; k++)
    if (!strcmp(name_of(c, k), name)) return k;
  return 0;
}

static void count_operations(CubinKernel *k, const char *code, uint64_t size) {
  for (uint64_t at = 0; at + 16 <= size; at += 16) {
    uint64_t word;
    memcpy(&word, code + at, 8);
    k->op[word % SASS_OPS]++;
  }
}

static void read_attributes(const Cubin *c, CubinKernel *kernels, int n) {
  unsigned info = named(c, ".nv.info"), table = named(c, ".symtab");
  if (!info || !table) return;
  const char *at = contents(c, info), *end = at + c->sections[info].sh_size;
  const Elf64_Sym *symbols = (const Elf64_Sym *)(const void *)contents(c, table);
  uint64_t n_symbols = c->sections[table].sh_size/sizeof *symbols;
  while (end - at >= 4) {
    uint16_t size;
    uint32_t word[2] = {0};
    unsigned form = (unsigned char)at[0], attribute = (unsigned char)at[1];
    memcpy(&size, at + 2, 2);
    at += 4;
    if (form != WITH_BODY) continue;
    if (size > end - at) return;
    memcpy(word, at, size < 8 ? size : 8);
    at += size;
    for (int k = 0; k < n && word[0] < n_symbols; k++) {
      if (symbols[word[0]].st_shndx != kernels[k].section) continue;
      if (attribute == ATTRIBUTE_REGISTERS) kernels[k].registers = word[1];
      if (attribute == ATTRIBUTE_STACK) kernels[k].stack = word[1];
    }
  }
}

CubinKernel *cubin_read(const void *bytes, size_t size, int *n) {
  Cubin c = {.bytes = bytes, .size = size};
  *n = 0;
  if (!open_cubin(&c)) return NULL;
  CubinKernel *kernels = calloc(c.n_sections + 1, sizeof *kernels);
  for (unsigned k = 1; kernels && k < c.n_sections; k++) {
    const char *name = name_of(&c, k);
    if (strncmp(name, ".text.", 6) || c.sections[k].sh_type != SHT_PROGBITS) continue;
    kernels[*n].name = name + 6;
    kernels[*n].section = k;
    count_operations(&kernels[(*n)++], contents(&c, k), c.sections[k].sh_size);
  }
  if (kernels) read_attributes(&c, kernels, *n);
  return kernels;
}
