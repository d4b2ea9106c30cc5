/* explain_gpu.c: what of a rule becomes launches on a GPU: how widely they reach memory, as their PTX says; registers, as an assembler told; how many warps then
 * fit, as the limits of the machine say. */
#include <stdio.h>
#include <string.h>
#include "backends/ptx/ptx.h"
#include "runtime/cuda.h"
#include "runtime/explain.h"

/* --- machines ------------------------------------------------------------------------------------------------------------------------------- */
/* Of one multiprocessor (CUDA C++ Programming Guide, "Technical Specifications per Compute Capability"). */
typedef struct GpuLimits { const char *name; unsigned warps, blocks, shared, reserved; } GpuLimits;      /* shared: bytes; reserved: of them, each block */
static const GpuLimits limits[] = {
  {"sm_70", 64, 32, 96 << 10, 0}, {"sm_72", 64, 32, 96 << 10, 0}, {"sm_75", 32, 16, 64 << 10, 0}, {"sm_80", 64, 32, 164 << 10, 1024}, {"sm_86", 48, 16, 100 << 10, 1024},
  {"sm_87", 48, 16, 164 << 10, 1024}, {"sm_89", 48, 24, 100 << 10, 1024}, {"sm_90", 64, 32, 228 << 10, 1024}, {"sm_90a", 64, 32, 228 << 10, 1024},
};
/* Registers are given to warps in pieces; a quarter of the file belongs to each of four schedulers. */
enum { WARP = 32, SCHEDULERS = 4, REGISTERS = 65536/SCHEDULERS, PIECE = 256, SHARED_PIECE = 128 };

static unsigned up(unsigned n, unsigned to) { return (n + to - 1)/to*to; }

static void fit(GpuOccupancy *o, unsigned blocks, const char *by) {
  if (o->by && blocks >= o->blocks) return;
  o->blocks = blocks;
  o->by = by;
}

GpuOccupancy gpu_occupancy(const char *gpu, unsigned threads, unsigned registers, unsigned shared) {
  GpuOccupancy o = {0};
  const GpuLimits *l = NULL;
  for (size_t k = 0; k < sizeof limits/sizeof *limits; k++) if (!strcmp(limits[k].name, gpu)) l = &limits[k];
  if (!l || !threads || !registers) return o;
  unsigned warps = up(threads, WARP)/WARP, held = REGISTERS/up(registers*WARP, PIECE)*SCHEDULERS;
  o.most = l->warps;
  fit(&o, l->warps/warps, "warps");
  fit(&o, l->blocks, "blocks");
  fit(&o, held/warps, "registers");
  if (shared + l->reserved) fit(&o, l->shared/up(shared + l->reserved, SHARED_PIECE), "shared memory");
  o.warps = o.blocks*warps;
  return o;
}

/* --- what the assembler said ------------------------------------------------------------------------------------------------------------------ */
bool gpu_assembled(const char *log, const char *kernel, GpuAssembled *out) {
  char head[300];
  *out = (GpuAssembled){0};
  snprintf(head, sizeof head, "Compiling entry function '%s'", kernel);
  const char *at = log ? strstr(log, head) : NULL, *end = at ? strstr(at + 1, "Compiling entry function") : NULL;
  for (; at && (!end || at < end); at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL) {
    const char *used = strstr(at, "Used ");
    if (sscanf(at, " %u bytes stack frame, %u bytes spill stores", &out->stack, &out->spilt) == 2) continue;
    if (used && used < at + strcspn(at, "\n") && sscanf(used, "Used %u registers", &out->registers) == 1) return true;
  }
  return false;
}

/* --- one entry ---------------------------------------------------------------------------------------------------------------------------------- */
/* From a kernel's parameters to a tensor's elements: the work entry, the frame's fields, the table of tensors. */
enum { HOPS = 3 };

typedef struct GpuLaunched {
  const Kernel *kernel;
  const PtxKernelInfo *code;
  bool on_host;
  unsigned threads;                      /* of a block */
  bool assembled;
  GpuAssembled use;
  GpuOccupancy fits;
  PtxSurvey does;
} GpuLaunched;

static GpuLaunched launched(const Facts *f, const GpuView *v, unsigned entry, unsigned k, Arena *arena) {
  const optc_gpu_kernel_desc *row = &v->table->entries[entry].kernels[k];
  const PtxKernel *code = ptx_find(v->code, row->name);
  GpuLaunched l = {.kernel = f->program->kernels[k], .code = ptx_kernel_info(code), .on_host = row->does & GPU_ON_HOST, .threads = row->does & GPU_BY_THREADS ? GPU_BLOCK : 1};
  l.assembled = gpu_assembled(v->assembled, row->name, &l.use);
  if (l.assembled && l.threads > 1) l.fits = gpu_occupancy(v->name, l.threads, l.use.registers, (unsigned)l.code->shared_bytes);
  ptx_survey(code, arena, HOPS, &l.does);
  return l;
}

/* REPEAT and END hold nothing. */
static bool is_launched(const GpuLaunched *l) { return !l->on_host && l->kernel->launch != LAUNCH_REPEAT && l->kernel->launch != LAUNCH_END; }

static unsigned n_accesses(const PtxTraffic *t) {
  unsigned n = 0;
  for (unsigned w = 0; w < PTX_WIDTHS; w++) n += t->loads[w] + t->stores[w];
  return n;
}

static const char *plural(unsigned n) { return n == 1 ? "" : "s"; }

static void accesses_text(const PtxTraffic *t, Text *out) {
  const char *before = "";
  for (unsigned w = PTX_WIDTHS; w-- > 0;) {
    unsigned loads = t->loads[w], stores = t->stores[w];
    if (!loads && !stores) continue;
    text_add(out, "%s", before);
    if (loads) text_add(out, "%u load%s", loads, plural(loads));
    if (loads && stores) text_add(out, " and ");
    if (stores) text_add(out, "%u store%s", stores, plural(stores));
    text_add(out, " of %u byte%s", 1u << w, plural(1u << w));
    before = ", ";
  }
}

static void traffic_text(const GpuLaunched *l, Text *out) {
  for (unsigned k = 0; k < l->does.n_loops; k++) {
    const PtxTraffic *t = &l->does.loop[k];
    if (!n_accesses(t)) continue;
    text_add(out, "      a trip of the loop in line %u of the PTX: ", t->line);
    accesses_text(t, out);
    text_add(out, "\n");
  }
  if (!n_accesses(&l->does.outside)) return;
  text_add(out, "      outside loops: ");
  accesses_text(&l->does.outside, out);
  text_add(out, "\n");
}

static void registers_text(const GpuLaunched *l, Text *out) {
  if (!l->assembled) {
    text_add(out, "      registers: not known, no ptxas has told them\n");
    return;
  }
  text_add(out, "      %u registers a thread, ", l->use.registers);
  if (l->use.spilt) text_add(out, "%u bytes spilt", l->use.spilt);
  else text_add(out, "none spilt");
  if (l->fits.most) {
    text_add(out, "; a multiprocessor holds %u block%s of %u: %u of %u warps (%.0f %%), limited by %s", l->fits.blocks, plural(l->fits.blocks), l->threads, l->fits.warps,
             l->fits.most, 100.0*l->fits.warps/l->fits.most, l->fits.by);
  }
  text_add(out, "\n");
}

/* The kernels of the host, each between quotes; first: what stands before the first of them. Whether there is one. */
static bool on_host(const Facts *f, const GpuView *v, unsigned entry, const char *first, const char *quote, Text *out) {
  const char *before = first;
  for (unsigned k = 0; k < f->program->n_kernels; k++) {
    GpuLaunched l = launched(f, v, entry, k, out->arena);
    if (!l.on_host) continue;
    text_add(out, "%s%s%s%s", before, quote, l.kernel->name, quote);
    before = ", ";
  }
  return before != first;
}

void explain_gpu_text(const Facts *f, const GpuView *v, unsigned entry, Text *out) {
  double n = 0;                          /* kernels of repeats as often as those turn */
  text_add(out, "  on %s\n", v->name);
  if (on_host(f, v, entry, "    on the host before anything is launched: ", "", out)) text_add(out, "\n");
  for (unsigned k = 0; k < f->program->n_kernels; k++) {
    GpuLaunched l = launched(f, v, entry, k, out->arena);
    if (!is_launched(&l)) continue;
    n += f->kernel[k].times;
    text_add(out, "    kernel %-22s %s; ", l.kernel->name, explain_launch(l.kernel->launch));
    text_add(out, l.threads > 1 ? "blocks of %u threads\n" : "%u thread\n", l.threads);
    traffic_text(&l, out);
    registers_text(&l, out);
  }
  if (n <= 0) text_add(out, "    no launch: all of it is done on the host\n");
  else text_add(out, "    %.0f launch%s, whatever the number of tensors; again for each window of %d Mi elements where there are more\n", n, n == 1 ? "" : "es", GPU_WINDOW >> 20);
}

/* --- JSON --------------------------------------------------------------------------------------------------------------------------------------- */
static void widths_json(const char *key, const unsigned *n, Text *out) {
  const char *before = "";
  text_add(out, ", \"%s\": {", key);
  for (unsigned w = 0; w < PTX_WIDTHS; w++)
    if (n[w]) {
      text_add(out, "%s\"%u\": %u", before, 1u << w, n[w]);
      before = ", ";
    }
  text_add(out, "}");
}

static void traffic_json(const PtxTraffic *t, const char *before, Text *out) {
  text_add(out, "%s{\"line\": %u", before, t->line);
  widths_json("loads", t->loads, out);
  widths_json("stores", t->stores, out);
  text_add(out, "}");
}

static void launched_json(const GpuLaunched *l, Text *out) {
  const char *before = "";
  text_add(out, "{\"kernel\": \"%s\", \"launch\": \"%s\", \"threads\": %u, \"shared_bytes\": %zu, \"barriers\": %u, \"shuffles\": %u, \"matrix_products\": %u, \"accesses\": [", l->kernel->name,
           launch_name(l->kernel->launch), l->threads, l->code->shared_bytes, l->does.barriers, l->does.shuffles, l->does.products);
  for (unsigned k = 0; k < l->does.n_loops; k++)
    if (n_accesses(&l->does.loop[k])) {
      traffic_json(&l->does.loop[k], before, out);
      before = ", ";
    }
  if (n_accesses(&l->does.outside)) traffic_json(&l->does.outside, before, out);
  text_add(out, "]");
  if (l->assembled) text_add(out, ", \"registers\": %u, \"spilt_bytes\": %u", l->use.registers, l->use.spilt);
  if (l->fits.most) text_add(out, ", \"blocks\": %u, \"warps\": %u, \"most_warps\": %u, \"limit\": \"%s\"", l->fits.blocks, l->fits.warps, l->fits.most, l->fits.by);
  text_add(out, "}");
}

void explain_gpu_json(const Facts *f, const GpuView *v, unsigned entry, Text *out) {
  const char *before = "";
  text_add(out, ",\n  \"gpu\": {\"name\": \"%s\", \"on_host\": [", v->name);
  on_host(f, v, entry, "", "\"", out);
  text_add(out, "], \"window\": %d, \"launches\": [", GPU_WINDOW);
  for (unsigned k = 0; k < f->program->n_kernels; k++) {
    GpuLaunched l = launched(f, v, entry, k, out->arena);
    if (!is_launched(&l)) continue;
    text_add(out, "%s\n    ", before);
    launched_json(&l, out);
    before = ",";
  }
  text_add(out, "]}");
}
