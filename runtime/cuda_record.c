/* cuda_record.c: from a call to the launches that it takes. The driver of all backends walks the call in main memory; its kernels are noted here instead of run.
 *
 * What kernels reach beside the caller's tensors is an image of the GPU's memory, made here: the call's structs, frames with the tables that they point to, uniforms of
 * groups, work entries. The workspace lies before the image on the GPU; here it holds the driver's records, the rest is addresses that are never touched. Where the image will
 * lie is not known yet: addresses in it are counted from its beginning, and noted, so that gpu_place can move them.
 *
 * Kernels that only compute numbers before the others (requirements, sizes, a group's uniforms) run here, as the rule's own machine code or interpreted.
 * One launch takes all work of a kernel until another kernel, trip of a repeat or window comes: what the items of a call leave for each other goes through totals alone. */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include "runtime/cuda.h"

typedef struct Mirror { const char *host; size_t size, at; } Mirror;       /* at: in the image */
enum { GROUPS, GLOBAL, ITEMS, WORKSPACE, MIRRORS };

typedef struct Frame { size_t at; int64_t trip[OPTC_MAX_REPEATS]; } Frame;

typedef struct Recorder Recorder;
typedef struct Launcher {                /* optc_frame.self */
  Recorder *recorder;
  const optc_gpu_kernel_desc *kernel;
  const optc_kernel_desc *host;          /* as it runs here */
} Launcher;

struct Recorder {
  GpuRecord *record;
  const optc_gpu_desc *code;
  optc_rule_desc desc;                   /* the rule's, with launchers as kernels */
  const optc_entry_desc *entry;
  const optc_call *call;
  Mirror mirror[MIRRORS];
  Frame *frame;                          /* an item's last one, by position; 0: none */
  size_t *uniforms;                      /* by group; 0: none */
  const Launcher *open;                  /* the launch that takes more work */
  int64_t window;
  optc_work *work; size_t n_work, work_capacity;
  bool starved;
};

static int starve(optc_error *error) {
  if (error) *error = (optc_error){.code = OPTC_E_MEMORY, .text = "out of memory", .item = -1};
  return OPTC_E_MEMORY;
}

static bool does(const Launcher *l, int64_t what) { return (l->kernel->does & what) != 0; }

/* --- the image ------------------------------------------------------------------------------------------------------------------------------- */
static size_t room(GpuRecord *r, size_t size) {
  size_t at = r->size, needed = at + ((size + 7) & ~(size_t)7);
  r->image = arena_grow(r->arena, r->image, &r->capacity, needed, 1);
  memset(r->image + at, 0, needed - at);
  r->size = needed;
  return at;
}

static size_t put(GpuRecord *r, const void *bytes, size_t size) {
  size_t at = room(r, size);
  if (size) memcpy(r->image + at, bytes, size);
  return at;
}

static void put_word(GpuRecord *r, size_t at, uint64_t word) { memcpy(r->image + at, &word, sizeof word); }

/* The address of another place of the image; negative: of the workspace. */
static void put_place(GpuRecord *r, size_t at, int64_t place) {
  r->moved = arena_grow(r->arena, r->moved, &r->moved_capacity, r->n_moved + 1, sizeof *r->moved);
  r->moved[r->n_moved++] = at;
  put_word(r, at, (uint64_t)place);
}

/* What lies in one of the mirrored ranges, on the GPU; all else already is an address there. */
static void put_address(Recorder *c, size_t at, const void *p) {
  for (int k = 0; k < MIRRORS; k++) {
    size_t offset = (size_t)((uintptr_t)p - (uintptr_t)c->mirror[k].host);
    if (!p || offset >= c->mirror[k].size) continue;
    put_place(c->record, at, k == WORKSPACE ? (int64_t)offset - (int64_t)c->record->workspace : (int64_t)(c->mirror[k].at + offset));
    return;
  }
  put_word(c->record, at, (uintptr_t)p);
}

/* --- frames ---------------------------------------------------------------------------------------------------------------------------------- */
#define FIELD(name) (at + offsetof(optc_frame, name))

static void put_words(GpuRecord *r, size_t field, const void *words, int64_t n) {
  if (words && n > 0) put_place(r, field, (int64_t)put(r, words, 8*(size_t)n));
}

static int64_t group_of(const Recorder *c, const optc_frame *f) {
  return c->mirror[GROUPS].size ? ((const char *)f->hyper - c->mirror[GROUPS].host)/c->desc.hyper_size : 0;
}

/* A group's numbers are the same in the whole call. */
static void put_uniforms(Recorder *c, size_t field, const optc_frame *f) {
  if (!c->entry->n_uniforms) return;
  size_t *known = &c->uniforms[group_of(c, f)];
  if (!*known) *known = put(c->record, f->uniform, 8*(size_t)c->entry->n_uniforms);
  put_place(c->record, field, (int64_t)*known);
}

/* Temporaries of items are nowhere in the frames of launches for the whole call. */
static bool has_buffer(const Recorder *c, const optc_frame *f, int64_t k) {
  int64_t temp = k - c->desc.n_operands;
  return f->data && (f->item || temp < 0 || (c->entry->temp_kind && c->entry->temp_kind[temp] & TEMP_CALL));
}

/* A frame and its tables. Frames are counted by their size: each begins at a multiple of it. */
static size_t put_frame(Recorder *c, const optc_frame *f, bool uniforms) {
  GpuRecord *r = c->record;
  int64_t n = c->desc.n_operands, buffers = n + c->entry->n_temps;
  optc_frame copy = *f;
  room(r, (sizeof copy - r->size%sizeof copy)%sizeof copy);
  copy.hyper = copy.global = copy.item = copy.self = NULL;
  copy.data = NULL;
  copy.uniform = copy.slots = copy.totals = NULL;
  copy.shape = copy.ranks = NULL;
  copy.shapes = NULL;
  copy.exists = NULL;
  copy.counts = copy.extents = NULL;     /* extents and exists are for kernels of the host */
  copy.spaces = NULL;
  size_t at = put(r, &copy, sizeof copy), data = room(r, 8*(size_t)buffers), shapes = room(r, 8*(size_t)n);
  put_place(r, FIELD(data), (int64_t)data);
  put_place(r, FIELD(shapes), (int64_t)shapes);
  for (int64_t k = 0; k < buffers; k++) if (has_buffer(c, f, k)) put_address(c, data + 8*(size_t)k, f->data[k]);
  for (int64_t k = 0; k < n && f->shapes; k++) put_words(r, shapes + 8*(size_t)k, f->shapes[k], f->ranks[k]);
  put_words(r, FIELD(ranks), f->ranks, n);
  put_words(r, FIELD(counts), f->counts, n);
  put_words(r, FIELD(shape), f->shape, f->rank);
  if (f->item) put_words(r, FIELD(spaces), f->spaces, 2*c->entry->n_spaces);
  put_address(c, FIELD(hyper), f->hyper);
  put_address(c, FIELD(global), f->global);
  put_address(c, FIELD(item), f->item);
  put_address(c, FIELD(slots), f->slots);
  put_address(c, FIELD(totals), f->totals);
  if (uniforms) put_uniforms(c, FIELD(uniform), f);
  return at;
}

/* Those of an item differ in its trips alone. */
static size_t frame_of(Recorder *c, const optc_frame *f) {
  if (!f->item) return put_frame(c, f, false);
  Frame *last = &c->frame[f->position];
  if (last->at && !memcmp(last->trip, f->trip, sizeof f->trip)) return last->at;
  memcpy(last->trip, f->trip, sizeof f->trip);
  return last->at = put_frame(c, f, true);
}

/* --- launches -------------------------------------------------------------------------------------------------------------------------------- */
static void close_launch(Recorder *c) {
  GpuRecord *r = c->record;
  if (!c->open) return;
  GpuLaunch launch = {.kernel = c->open->kernel, .n_work = (int64_t)c->n_work, .work = put(r, c->work, c->n_work*sizeof *c->work)};
  for (size_t k = 0; k < c->n_work; k++) if (c->work[k].end - c->work[k].begin > launch.longest) launch.longest = c->work[k].end - c->work[k].begin;
  r->launches = arena_grow(r->arena, r->launches, &r->launch_capacity, r->n_launches + 1, sizeof *r->launches);
  r->launches[r->n_launches++] = launch;
  c->open = NULL;
  c->n_work = 0;
}

static void add_entry(Recorder *c, size_t frame, int64_t begin, int64_t end) {
  c->work = arena_grow(c->record->arena, c->work, &c->work_capacity, c->n_work + 1, sizeof *c->work);
  c->work[c->n_work++] = (optc_work){(int64_t)(frame/sizeof(optc_frame)), begin, end};
}

static bool joins(const Recorder *c, const Launcher *l, const optc_frame *f) {
  if (c->open != l || c->window != f->window || !c->n_work) return false;
  const optc_frame *last = (const optc_frame *)(const void *)(c->record->image + (size_t)c->work[c->n_work - 1].frame*sizeof *last);
  return !memcmp(last->trip, f->trip, sizeof f->trip);
}

/* Chunk by chunk, also where the driver asks for many at once. */
static void record(Recorder *c, const Launcher *l, const optc_frame *f) {
  if (!joins(c, l, f)) close_launch(c);
  size_t frame = frame_of(c, f);
  int64_t begin = f->begin, end;
  c->open = l;
  c->window = f->window;
  do {
    end = l->host->launch == LAUNCH_CHUNK && f->end - begin > OPTC_CHUNK ? begin + OPTC_CHUNK : f->end;
    add_entry(c, frame, begin, end);
    begin = end;
  } while (begin < f->end);
  if (does(l, GPU_ANSWERS)) c->record->skip = frame + offsetof(optc_frame, skip);
}

static void run_here(const Launcher *l, optc_frame *f) {
  f->self = l->host->self;
  l->host->fn[0](f);                     /* scalar work: the same in every variant */
}

/* Want of memory must not jump over the driver, which has set the floating-point environment. */
static void launch(optc_frame *f) {
  const Launcher *l = f->self;
  Recorder *c = l->recorder;
  jmp_buf outer, *guard = arena_guard(c->record->arena);
  if (does(l, GPU_ON_HOST)) { run_here(l, f); return; }
  if (c->starved) return;
  memcpy(&outer, guard, sizeof outer);
  if (setjmp(*guard)) c->starved = true;
  else record(c, l, f);
  memcpy(guard, &outer, sizeof outer);
}

/* --- the call -------------------------------------------------------------------------------------------------------------------------------- */
/* The rule's descriptor with launchers as its kernels. */
static void describe(Recorder *c) {
  const optc_rule_desc *d = c->code->rule;
  Arena *arena = c->record->arena;
  optc_entry_desc *entries = arena_array(arena, (size_t)d->n_entries + 1, sizeof *entries);
  for (int64_t e = 0; e < d->n_entries; e++) {
    size_t n = (size_t)d->entries[e].n_kernels;
    optc_kernel_desc *kernels = arena_array(arena, n + 1, sizeof *kernels);
    Launcher *launchers = arena_array(arena, n + 1, sizeof *launchers);
    for (size_t k = 0; k < n; k++) {
      kernels[k] = d->entries[e].kernels[k];
      launchers[k] = (Launcher){c, &c->code->entries[e].kernels[k], &d->entries[e].kernels[k]};
      kernels[k].self = &launchers[k];
      for (int v = 0; v < OPTC_MAX_VARIANTS; v++) kernels[k].fn[v] = launch;
    }
    entries[e] = d->entries[e];
    entries[e].kernels = kernels;
  }
  c->desc = *d;
  c->desc.entries = entries;
  if (!d->window) c->desc.window = GPU_WINDOW;
}

/* n structs; numbers that make no sense are the driver's to refuse. */
static size_t put_mirror(Recorder *c, int k, const void *host, int64_t n, int64_t size) {
  size_t bytes = host && n > 0 ? (size_t)n*(size_t)size : 0;
  c->mirror[k] = (Mirror){host, bytes, put(c->record, host, bytes)};
  return c->mirror[k].at;
}

/* Partials that other ranks would fill are 0: they lie together, phase by phase. */
static void find_partials(Recorder *c, int64_t entry, const optc_call *call) {
  double *first = NULL, *other;
  int64_t n = 0;
  bool any = false;
  for (int64_t k = 0; c->entry->temp_kind && k < c->entry->n_temps; k++) any |= (c->entry->temp_kind[k] & TEMP_PARTIAL) != 0;
  for (int64_t p = 0; p < c->entry->n_phases && any; p++) {
    int64_t more = optc_drive_partials(&c->desc, entry, p, call, p ? &other : &first);
    n += more > 0 ? more : 0;
  }
  if (!n) return;
  c->record->partials = (int64_t)((char *)first - c->mirror[WORKSPACE].host) - (int64_t)c->record->workspace;
  c->record->n_partials = (size_t)n;
}

static unsigned starved(const Recorder *c) { return c->code->starved ? atomic_load((atomic_uint *)c->code->starved) : 0; }

/* Steps that are launched again have other numbers: their group kernels run on the GPU as well, before all others, once for each group that items have. */
static void record_groups(Recorder *c) {
  GpuRecord *r = c->record;
  size_t later = r->n_launches;
  for (int64_t k = 0; k < c->entry->n_kernels; k++) {
    const Launcher *l = c->entry->kernels[k].self;
    if (l->host->launch != LAUNCH_GROUP) continue;
    for (int64_t g = 0; g < c->call->n_groups; g++) {
      optc_frame f = {.hyper = (const char *)c->mirror[GROUPS].host + g*c->desc.hyper_size, .global = (void *)(uintptr_t)c->mirror[GLOBAL].host, .n_items = c->call->n_items};
      if (c->uniforms[g]) add_entry(c, put_frame(c, &f, true), 0, 0);
    }
    c->open = c->n_work ? l : NULL;
    close_launch(c);
  }
  size_t first = r->n_launches - later;
  GpuLaunch *ordered = arena_array(r->arena, r->n_launches + 1, sizeof *ordered);
  for (size_t k = 0; k < r->n_launches; k++) ordered[k] = r->launches[k < first ? later + k : k - first];
  r->launches = ordered;
  r->launch_capacity = r->n_launches;
}

/* The call's copy in *own has a workspace and a global struct of its own. */
static int drive(Recorder *c, int64_t entry, const optc_call *own, bool again, bool *fits) {
  GpuRecord *r = c->record;
  int32_t chosen = 0;
  unsigned before = starved(c);
  room(r, sizeof(uint64_t));             /* place 0 stands for nothing; and it is a word that is 0 */
  r->groups = put_mirror(c, GROUPS, own->groups, own->n_groups, c->desc.hyper_size);
  r->global = put_mirror(c, GLOBAL, own->global, 1, c->desc.global_size);
  r->items = put_mirror(c, ITEMS, own->items, own->n_items, c->desc.item_size);
  c->mirror[WORKSPACE] = (Mirror){own->workspace, own->workspace_size, 0};
  r->workspace = (own->workspace_size + 255) & ~(size_t)255;
  c->frame = arena_array(r->arena, own->n_items > 0 ? (size_t)own->n_items : 1, sizeof *c->frame);
  c->uniforms = arena_array(r->arena, own->n_groups > 0 ? (size_t)own->n_groups : 1, sizeof *c->uniforms);
  int status = optc_drive(&c->desc, entry, own, *fits ? NULL : &chosen);
  *fits |= chosen > 0;
  if (status != OPTC_OK) return status;
  close_launch(c);
  if (again) record_groups(c);
  find_partials(c, entry, own);
  memcpy(&r->t, own->global, sizeof r->t);
  return c->starved || starved(c) != before ? starve(own->error) : OPTC_OK;
}

/* Main memory for the driver's records and for as many addresses as the workspace has on the GPU; what is not touched is not there. */
static void *reserve(size_t size) {
  void *at = size ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) : NULL;
  return at == MAP_FAILED ? NULL : at;
}

static int record_call(Recorder *c, int64_t entry, optc_call *own, bool again, bool *fits) {
  describe(c);
  c->entry = &c->desc.entries[entry];
  if (own->global) {                     /* the driver counts steps there */
    void *global = arena_array(c->record->arena, (size_t)c->desc.global_size, 1);
    own->global = memcpy(global, own->global, (size_t)c->desc.global_size);
  }
  own->workspace_size = optc_drive_workspace(&c->desc, own);
  own->workspace = reserve(own->workspace_size);
  return own->workspace_size && !own->workspace ? starve(own->error) : drive(c, entry, own, again, fits);
}

int gpu_record(GpuRecord *r, const optc_gpu_desc *code, int64_t entry, const optc_call *call, bool again, bool *fits) {
  optc_call *own = arena_alloc(r->arena, sizeof *own);
  Recorder *c = arena_alloc(r->arena, sizeof *c);
  *own = *call;
  own->parallel = NULL;
  own->workspace = NULL;
  own->workspace_size = 0;
  *c = (Recorder){.record = r, .code = code, .call = own};
  jmp_buf outer, *guard = arena_guard(r->arena);
  memcpy(&outer, guard, sizeof outer);
  volatile int status = OPTC_E_MEMORY;
  if (setjmp(*guard)) starve(call->error);
  else status = record_call(c, entry, own, again, fits);
  memcpy(guard, &outer, sizeof outer);
  if (own->workspace) munmap(own->workspace, own->workspace_size);
  return status;
}

void gpu_place(const GpuRecord *r, uint64_t base) {
  for (size_t k = 0; k < r->n_moved; k++) {
    uint64_t word;
    memcpy(&word, r->image + r->moved[k], sizeof word);
    word += base;
    memcpy(r->image + r->moved[k], &word, sizeof word);
  }
}
