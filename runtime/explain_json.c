/* explain_json.c: all that the text says, for programs. */
#include "ir/graph_reduce.h"
#include "runtime/explain.h"

static void string(const char *text, Text *out) {
  text_add(out, "\"");
  for (; text && *text; text++) {
    unsigned char c = (unsigned char)*text;
    if (c == '"' || c == '\\') text_add(out, "\\%c", c);
    else if (c < 32) text_add(out, "\\u%04x", c);
    else text_append(out, text, 1);
  }
  text_add(out, "\"");
}

static void made_string(const Text *made, Text *out) { string(made->data ? made->data : "", out); }

static void names(const Facts *f, const unsigned char *use, int bit, const char *key, Text *out) {
  const char *before = "";
  text_add(out, ", \"%s\": [", key);
  for (unsigned b = 0; b < f->n_buffers; b++)
    if (use[b] & bit) {
      text_add(out, "%s", before);
      string(facts_buffer(f, b), out);
      before = ", ";
    }
  text_add(out, "]");
}

static void folds_json(const Facts *f, const Sweep *s, Text *out) {
  text_add(out, ", \"reduces\": [");
  for (unsigned i = 0; i < s->n_folds; i++) {
    Text value = {.arena = out->arena}, over = {.arena = out->arena};
    explain_value(f->program, s->fold[i]->args[0], &value);
    explain_trips(f->program, f->program->kernels[s->kernel], s->fold_loop[i], &over);
    text_add(out, "%s{\"kind\": \"%s\", \"value\": ", i ? ", " : "", reduce_names[s->fold[i]->aux & 255]);
    made_string(&value, out);
    text_add(out, ", \"over\": ");
    made_string(&over, out);
    text_add(out, "}");
  }
  text_add(out, "]");
}

static void apart_json(const Facts *f, const Sweep *s, Text *out) {
  text_add(out, ", \"apart\": ");
  if (s->apart == APART_NOT) {
    text_add(out, "null");
    return;
  }
  text_add(out, "{\"from\": %u, \"why\": \"%s\"", f->sweep[s->after].number, apart_names[s->apart]);
  names(f, s->because, 1, "for", out);
  text_add(out, "}");
}

static void sweep_json(const Facts *f, const Sweep *s, const Machine *m, Text *out) {
  Text nest = {.arena = out->arena};
  if (s->loop) explain_nest(f->program, f->program->kernels[s->kernel], s->loop, &nest);
  text_add(out, "{\"number\": %u, \"lanes\": %u, \"unroll\": %u, \"times\": %.17g, \"nest\": ", s->number, s->lanes, s->unroll, s->times);
  made_string(&nest, out);
  if (s->tiles) text_add(out, ", \"fast\": %s%s%s", s->fast ? "\"" : "", s->fast ? s->fast : "null", s->fast ? "\"" : "");
  text_add(out, ", \"counted\": %s, \"conditional\": %s, \"small\": %s", s->counted ? "true" : "false", s->conditional ? "true" : "false", s->trivial ? "true" : "false");
  names(f, s->use, TOUCH_READ, "reads", out);
  names(f, s->use, TOUCH_WRITTEN, "writes", out);
  text_add(out, ", \"bytes_read\": %.17g, \"bytes_written\": %.17g, \"flops\": %.17g, \"contraction_flops\": %.17g, \"operations\": %u, \"by_operation\": {", s->read, s->written,
    s->flops, s->contraction, s->n_ops);
  const char *comma = "";
  for (unsigned e = 0; e < ELEMENT_COUNT; e++)
    if (s->ops[e]) { text_add(out, "%s\"%s\": %u", comma, element_name((Element)e), s->ops[e]); comma = ", "; }
  text_add(out, "}");
  folds_json(f, s, out);
  apart_json(f, s, out);
  if (m->bandwidth > 0) text_add(out, ", \"seconds\": %.9g", sweep_seconds(s, m));
  text_add(out, "}");
}

static void kernel_json(const Facts *f, unsigned i, const Machine *m, Text *out) {
  const Kernel *k = f->program->kernels[i];
  const KernelFacts *facts = &f->kernel[i];
  text_add(out, "{\"name\": ");
  string(k->name, out);
  text_add(out, ", \"launch\": \"%s\", \"phase\": %lld, \"times\": %.17g", launch_name(k->launch), (long long)facts->phase, facts->times);
  if (launch_has_space(k->launch)) {
    Text space = {.arena = out->arena};
    const Inst *n = values_positions(f->program, k->space);
    if (n) explain_value(f->program, n, &space);
    text_add(out, ", \"space\": ");
    made_string(&space, out);
  }
  if (k->plain) {
    text_add(out, ", \"plain\": {\"why\": ");
    string(k->plain->why, out);
    text_add(out, ", \"hint\": ");
    if (k->plain->hint) string(k->plain->hint, out);
    else text_add(out, "null");
    text_add(out, "}");
  }
  text_add(out, ", \"loops\": [");
  for (unsigned s = facts->first; s < facts->first + facts->n; s++) {
    text_add(out, "%s\n    ", s > facts->first ? "," : "");
    sweep_json(f, &f->sweep[s], m, out);
  }
  text_add(out, "]}");
}

static void temps_json(const Facts *f, Text *out) {
  text_add(out, ", \"temporaries\": [");
  for (unsigned k = 0; k < f->program->n_temps; k++) {
    const Buffer *t = &f->program->temps[k];
    Text count = {.arena = out->arena};
    explain_count(f->program, k, &count);
    text_add(out, "%s\n    {\"name\": ", k ? "," : "");
    string(t->name, out);
    text_add(out, ", \"type\": \"%s\", \"elements\": ", type_name(t->type));
    made_string(&count, out);
    text_add(out, ", \"bytes\": %.17g, \"place\": \"%s\"}", (double)values_buffer((Values *)&f->values, f->module->n_operands + k)*type_bytes(t->type),
      t->local ? "stack" : t->partial ? "partials" : t->call ? "call" : f->kept[k] ? "kept" : "window");
  }
  Text workspace = {.arena = out->arena};
  explain_workspace(f, &workspace);
  text_add(out, "], \"workspace\": ");
  made_string(&workspace, out);
}

static void entry_json(const Facts *f, const Machine *m, const GpuView *gpu, unsigned entry, Text *out) {
  Text sample = {.arena = out->arena};
  sample_text(f->sample, &sample);
  text_add(out, "{\"entry\": ");
  string(f->program->entry, out);
  text_add(out, ", \"phases\": %lld, \"sample\": ", (long long)f->n_phases);
  made_string(&sample, out);
  text_add(out, ", \"kernels\": [");
  for (unsigned i = 0; i < f->program->n_kernels; i++) {
    text_add(out, "%s\n  ", i ? "," : "");
    kernel_json(f, i, m, out);
  }
  text_add(out, "]");
  temps_json(f, out);
  unsigned operations = 0;
  for (unsigned s = 0; s < f->n_sweeps; s++) operations += f->sweep[s].n_ops;
  text_add(out, ",\n  \"hoisted\": %u, \"scalar_operations\": %u, \"operations\": %u, \"bytes\": {\"read\": %.8g, \"written\": %.8g, \"least_read\": %.8g, \"least_written\": %.8g, ",
    f->hoisted, f->scalar_ops, operations, f->moved.read/f->per, f->moved.written/f->per, f->least.read/f->per, f->least.written/f->per);
  text_add(out, "\"sweeps\": %lld, \"least_for_sweeps\": %.8g, \"unit\": \"%s\", \"at_most\": %s}", (long long)f->n_moving, (f->least_swept.read + f->least_swept.written)/f->per,
    f->per > 1 ? "element" : "call", f->at_most ? "true" : "false");
  if (f->seconds > 0) text_add(out, ",\n  \"predicted\": {\"seconds\": %.9g, \"unit\": \"%s\"}", f->seconds/f->per, f->per > 1 ? "element" : "call");
  if (gpu) explain_gpu_json(f, gpu, entry, out);
  text_add(out, "}");
}

static void rate_json(const char *key, double value, bool measured, Text *out) {
  text_add(out, "\"%s\": ", key);
  if (value > 0) text_add(out, "{\"value\": %.6g, \"source\": \"%s\"}", value, measured ? "measured" : "given");
  else text_add(out, "null");
}

void explain_json(const Module *m, Program *const *programs, unsigned n_programs, const Machine *machine, const GpuView *gpu, Text *out) {
  Sample sample;
  sample_make(&sample, m, out->arena);
  text_add(out, "{\"rule\": ");
  string(m->name, out);
  text_add(out, ", \"machine\": {");
  rate_json("gb_per_s", machine->bandwidth, machine->bandwidth_measured, out);
  text_add(out, ", ");
  rate_json("gflop_per_s", machine->peak, machine->peak_measured, out);
  text_add(out, "}, \"entries\": [");
  const char *before = "";
  for (unsigned i = 0; i < n_programs; i++)
    if (facts_shown(programs[i])) {
      Facts *facts = arena_alloc(out->arena, sizeof *facts);
      facts_gather(facts, &sample, programs[i], machine, out->arena);
      text_add(out, "%s", before);
      entry_json(facts, machine, gpu, i, out);
      before = ",\n";
    }
  text_add(out, "]}\n");
}
