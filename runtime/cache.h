/* cache.h: compiled rules on disk, found by a hash of everything they depend on. */
#ifndef OPTC_RUNTIME_CACHE_H
#define OPTC_RUNTIME_CACHE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ir/arena.h"

typedef struct CacheKey { uint8_t bytes[32]; } CacheKey;
typedef struct CacheField { const void *data; size_t size; } CacheField;

/* Fields are hashed with their sizes: no two lists of fields are the same bytes. */
CacheKey cache_key(const CacheField *fields, size_t count);

enum { CACHE_RULE, CACHE_TEXT, CACHE_JSON, CACHE_OBJECT, CACHE_PARTS };      /* the rule's name, its diagnostics in both forms, the object file */
typedef struct CacheEntry { CacheField part[CACHE_PARTS]; } CacheEntry;

/* false: no entry, or one that is not whole (cut short, altered, foreign), which is as good as none. Parts end with a zero byte beyond
 * their size and live in the arena. */
bool cache_load(const char *folder, Arena *, const CacheKey *, CacheEntry *);
/* Puts an entry in its place at once, replacing what is there. A folder that cannot be made or written is no error: nothing is kept. */
void cache_store(const char *folder, Arena *, const CacheKey *, const CacheEntry *);
#endif
