/* cache.c: compiled rules on disk.
 *
 * An entry is one file named after its key:  magic 8 | key 32 | size of each part 4*8 | checksum 32 | parts.
 * The checksum covers key, sizes and parts, so a file that was cut short, altered or written by something else is not used. It is written
 * under a name of its own and renamed, so readers and writers at the same time never meet half an entry; it is not synced, because a
 * crash that leaves it empty is found by the checksum. Only files of this user that nobody else may write are run. */
#define _GNU_SOURCE
#include "runtime/cache.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <llvm-c/blake3.h>

static const char magic[8] = "optc\r\n\x1a\1";
typedef struct Head {
  char magic[8];
  CacheKey key;
  uint64_t size[CACHE_PARTS];
  uint8_t checksum[32];
} Head;
#define CACHE_MAX_BYTES (64u << 20)

CacheKey cache_key(const CacheField *fields, size_t count) {
  llvm_blake3_hasher hasher;
  llvm_blake3_hasher_init(&hasher);
  for (size_t i = 0; i < count; i++) {
    uint64_t size = fields[i].size;
    llvm_blake3_hasher_update(&hasher, &size, sizeof size);
    if (size) llvm_blake3_hasher_update(&hasher, fields[i].data, fields[i].size);
  }
  CacheKey key;
  llvm_blake3_hasher_finalize(&hasher, key.bytes, sizeof key.bytes);
  return key;
}

static void checksum(const Head *head, const CacheEntry *entry, uint8_t out[32]) {
  CacheField field[CACHE_PARTS + 1] = {{&head->key, sizeof head->key}};
  for (int i = 0; i < CACHE_PARTS; i++) field[i + 1] = entry->part[i];
  CacheKey sum = cache_key(field, CACHE_PARTS + 1);
  memcpy(out, sum.bytes, sizeof sum.bytes);
}

static char *entry_path(Arena *arena, const char *folder, const CacheKey *key, const char *end) {
  char hex[2*sizeof key->bytes + 1];
  for (size_t i = 0; i < sizeof key->bytes; i++) snprintf(hex + 2*i, 3, "%02x", key->bytes[i]);
  return arena_printf(arena, "%s/%s%s", folder, hex, end);
}

static bool read_all(int file, void *data, size_t size) {
  for (size_t done = 0; done < size;) {
    ssize_t n = read(file, (char *)data + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += (size_t)n;
  }
  return true;
}

static bool write_all(int file, const void *data, size_t size) {
  for (size_t done = 0; done < size;) {
    ssize_t n = write(file, (const char *)data + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += (size_t)n;
  }
  return true;
}

/* Of this user alone, and of this size: asked of the open file, so that nobody puts another in its place in between. */
static bool is_own(int file, size_t size) {
  struct stat st;
  return !fstat(file, &st) && S_ISREG(st.st_mode) && (size_t)st.st_size == size && st.st_uid == geteuid() && !(st.st_mode & (S_IWGRP | S_IWOTH));
}

/* All file work is done between arena calls: a jump for want of memory would leave the descriptor open. */
bool cache_load(const char *folder, Arena *arena, const CacheKey *key, CacheEntry *entry) {
  if (!folder) return false;
  const char *path = entry_path(arena, folder, key, "");
  struct stat found;
  if (stat(path, &found) || found.st_size < (off_t)sizeof(Head) || found.st_size > (off_t)CACHE_MAX_BYTES) return false;
  size_t size = (size_t)found.st_size;
  char *data = arena_alloc(arena, size);
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return false;
  bool whole = is_own(file, size) && read_all(file, data, size);
  close(file);
  Head head;
  if (!whole) return false;
  memcpy(&head, data, sizeof head);
  if (memcmp(head.magic, magic, sizeof magic) || memcmp(&head.key, key, sizeof *key)) return false;
  size_t at = sizeof head;
  for (int i = 0; i < CACHE_PARTS; i++) {
    if (head.size[i] > size - at) return false;
    entry->part[i] = (CacheField){data + at, (size_t)head.size[i]};
    at += (size_t)head.size[i];
  }
  uint8_t sum[32];
  checksum(&head, entry, sum);
  if (at != size || memcmp(sum, head.checksum, sizeof sum)) return false;
  for (int i = 0; i < CACHE_PARTS; i++) entry->part[i].data = arena_strndup(arena, entry->part[i].data, entry->part[i].size);
  return true;
}

/* mkdir -p, for this user alone. */
static bool make_folder(char *path) {
  if (!mkdir(path, 0700) || errno == EEXIST) return true;
  for (char *p = path + 1; *p; p++)
    if (*p == '/') {
      *p = 0;
      int made = mkdir(path, 0700), error = errno;
      *p = '/';
      if (made && error != EEXIST) return false;
    }
  return !mkdir(path, 0700) || errno == EEXIST;
}

void cache_store(const char *folder, Arena *arena, const CacheKey *key, const CacheEntry *entry) {
  if (!folder) return;
  Head head = {.key = *key};
  memcpy(head.magic, magic, sizeof magic);
  size_t size = sizeof head;
  for (int i = 0; i < CACHE_PARTS; i++) {
    head.size[i] = entry->part[i].size;
    size += entry->part[i].size;
  }
  if (size > CACHE_MAX_BYTES) return;
  checksum(&head, entry, head.checksum);
  char *path = entry_path(arena, folder, key, ""), *temporary = entry_path(arena, folder, key, ".XXXXXX");
  if (!make_folder(arena_printf(arena, "%s", folder))) return;
  int file = mkostemp(temporary, O_CLOEXEC);                /* mode 0600 */
  if (file < 0) return;
  bool whole = write_all(file, &head, sizeof head);
  for (int i = 0; whole && i < CACHE_PARTS; i++) whole = write_all(file, entry->part[i].data, entry->part[i].size);
  if (close(file)) whole = false;
  if (!whole || rename(temporary, path)) unlink(temporary);
}
