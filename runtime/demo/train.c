/* train.c: trains a small character-level model on a public-domain text; the optimizer step is one call into an object that optc compiled.
 *
 * The model (Bengio et al. 2003, characters for words): the last CONTEXT characters -> embeddings E -> tanh(x W1 + b1) -> h W2 + b2 -> softmax.
 * Forward and backward are written plainly below; everything about the optimizer is in `optimizer_*`, and none of it names a rule:
 * demo_rule.h (made by the Makefile) includes the rule's header and defines RULE(x) as <rule>_x. With DEMO_GPU the optimizer lives on an NVIDIA GPU: optimizer_gpu.h.
 *
 *   usage: train TEXT [--steps N] [--lr X] [--curve FILE.svg]
 */
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "demo_rule.h"

enum { CONTEXT = 12, EMBED = 16, HIDDEN = 160, VOCAB_MAX = 96, BATCH = 64, INPUT = CONTEXT * EMBED };
enum { P_EMBED, P_W1, P_B1, P_W2, P_B2, N_PARAMS };

static void die(const char *what, const char *why) { fprintf(stderr, "train: %s: %s\n", what, why); exit(1); }

static void refused(const char *what, const optc_error *error) {
  char why[300];
  die(what, optc_error_format(why, sizeof why, error));
}

static float *floats(size_t n) {
  float *p = aligned_alloc(64, (n * sizeof *p + 63) / 64 * 64);
  if (!p) die("memory", strerror(errno));
  return memset(p, 0, n * sizeof *p);
}

/* --- the model -------------------------------------------------------------------------------------------------- */
typedef struct Model {
  int vocab;
  int64_t shape[N_PARAMS][2], rank[N_PARAMS], count[N_PARAMS];
  float *value[N_PARAMS], *gradient[N_PARAMS];
  float x[BATCH][INPUT], h[BATCH][HIDDEN], p[BATCH][VOCAB_MAX];            /* activations of a batch */
} Model;

static uint64_t random_state = 0x9e3779b97f4a7c15u;
static uint32_t random_u32(void) {                                        /* xorshift64*: the data order and the initial weights */
  random_state ^= random_state >> 12; random_state ^= random_state << 25; random_state ^= random_state >> 27;
  return (uint32_t)((random_state * 0x2545f4914f6cdd1du) >> 32);
}
static float random_normal(void) {
  float u = ((float)random_u32() + 1) / 4294967808.0f, v = (float)random_u32() / 4294967296.0f;
  return sqrtf(-2 * logf(u)) * cosf(6.2831853f * v);
}

static void model_init(Model *m, int vocab) {
  m->vocab = vocab;
  const int64_t shape[N_PARAMS][2] = {{vocab, EMBED}, {INPUT, HIDDEN}, {HIDDEN, 0}, {HIDDEN, vocab}, {vocab, 0}};
  for (int k = 0; k < N_PARAMS; k++) {
    m->shape[k][0] = shape[k][0]; m->shape[k][1] = shape[k][1];
    m->rank[k] = shape[k][1] ? 2 : 1;
    m->count[k] = shape[k][0] * (shape[k][1] ? shape[k][1] : 1);
    m->value[k] = floats((size_t)m->count[k]);
    m->gradient[k] = floats((size_t)m->count[k]);
    float scale = k == P_EMBED ? 0.5f : m->rank[k] == 2 ? 1 / sqrtf((float)shape[k][0]) : 0;
    for (int64_t i = 0; i < m->count[k]; i++) m->value[k][i] = scale * random_normal();
  }
}

/* Mean cross entropy of a batch, in nats; fills the activations. context[b]: CONTEXT characters. */
static float model_forward(Model *m, const uint8_t *const *context, const uint8_t *target) {
  const float *E = m->value[P_EMBED], *W1 = m->value[P_W1], *b1 = m->value[P_B1], *W2 = m->value[P_W2], *b2 = m->value[P_B2];
  float loss = 0;
  for (int b = 0; b < BATCH; b++) {
    float *x = m->x[b], *h = m->h[b], *p = m->p[b];
    for (int c = 0; c < CONTEXT; c++) memcpy(x + c * EMBED, E + context[b][c] * EMBED, EMBED * sizeof *x);
    memcpy(h, b1, HIDDEN * sizeof *h);
    for (int i = 0; i < INPUT; i++)
      for (int j = 0; j < HIDDEN; j++) h[j] += x[i] * W1[i * HIDDEN + j];
    for (int j = 0; j < HIDDEN; j++) h[j] = tanhf(h[j]);
    memcpy(p, b2, (size_t)m->vocab * sizeof *p);
    for (int j = 0; j < HIDDEN; j++)
      for (int k = 0; k < m->vocab; k++) p[k] += h[j] * W2[j * m->vocab + k];
    float top = p[0], sum = 0;
    for (int k = 1; k < m->vocab; k++) top = fmaxf(top, p[k]);
    for (int k = 0; k < m->vocab; k++) sum += p[k] = expf(p[k] - top);
    for (int k = 0; k < m->vocab; k++) p[k] /= sum;
    loss -= logf(fmaxf(p[target[b]], 1e-30f));
  }
  return loss / BATCH;
}

static void model_backward(Model *m, const uint8_t *const *context, const uint8_t *target) {
  float *dE = m->gradient[P_EMBED], *dW1 = m->gradient[P_W1], *db1 = m->gradient[P_B1], *dW2 = m->gradient[P_W2], *db2 = m->gradient[P_B2];
  const float *W1 = m->value[P_W1], *W2 = m->value[P_W2];
  for (int k = 0; k < N_PARAMS; k++) memset(m->gradient[k], 0, (size_t)m->count[k] * sizeof(float));
  for (int b = 0; b < BATCH; b++) {
    float dlogit[VOCAB_MAX], dh[HIDDEN];
    for (int k = 0; k < m->vocab; k++) dlogit[k] = (m->p[b][k] - (k == target[b])) / BATCH;
    for (int k = 0; k < m->vocab; k++) db2[k] += dlogit[k];
    for (int j = 0; j < HIDDEN; j++) {
      float sum = 0;
      for (int k = 0; k < m->vocab; k++) {
        sum += W2[j * m->vocab + k] * dlogit[k];
        dW2[j * m->vocab + k] += m->h[b][j] * dlogit[k];
      }
      dh[j] = sum * (1 - m->h[b][j] * m->h[b][j]);
      db1[j] += dh[j];
    }
    for (int i = 0; i < INPUT; i++) {
      float sum = 0, x = m->x[b][i];
      for (int j = 0; j < HIDDEN; j++) {
        sum += W1[i * HIDDEN + j] * dh[j];
        dW1[i * HIDDEN + j] += x * dh[j];
      }
      dE[context[b][i / EMBED] * EMBED + i % EMBED] += sum;
    }
  }
}

/* --- the optimizer: whatever rule was compiled ---------------------------------------------------------------------- */
#ifdef DEMO_GPU
#include "optimizer_gpu.h"
#else
typedef struct Optimizer { RULE(hyper) hyper; RULE(item) item[N_PARAMS]; RULE(global) global; RULE(call) call; optc_error error; } Optimizer;

static void optimizer_init(Optimizer *o, Model *m, double lr) {
  *o = (Optimizer){.hyper = RULE_DEFAULTS};
  if (lr > 0) o->hyper.lr = lr;
  for (int k = 0; k < N_PARAMS; k++)
    o->item[k] = (RULE(item)){.p.data = m->value[k], .g.data = m->gradient[k], .rank = m->rank[k], .shape = m->shape[k]};
  o->call = (RULE(call)){.size = sizeof o->call, .groups = &o->hyper, .n_groups = 1, .items = o->item, .n_items = N_PARAMS, .global = &o->global, .error = &o->error};
  for (int k = 0; k < N_PARAMS; k++) {                                     /* states: as many, and as large, as the rule says */
    optc_state_info state[RULE_STATES];
    if (RULE(layout)(&o->call, k, state)) refused("layout", &o->error);
    for (int s = 0; s < RULE_N_STATES; s++)
      if (state[s].exists && state[s].scope == 0)
        ((optc_tensor *)((char *)&o->item[k] + state[s].offset))->data = floats((size_t)state[s].bytes / sizeof(float) + 1);
  }
  size_t need = RULE(workspace_size)(&o->call);
  o->call.workspace = need ? floats(need / sizeof(float) + 1) : NULL;
  o->call.workspace_size = need;
  if (RULE(init)(&o->call)) refused("init", &o->error);
}

static void optimizer_step(Optimizer *o) {
  if (RULE(step)(&o->call)) refused(RULE_NAME, &o->error);                 /* the whole model, every state, one call */
}

static void optimizer_close(Optimizer *o) { (void)o; }                     /* its memory lives as long as the program */
#endif

/* --- text, progress, curve -------------------------------------------------------------------------------------------- */
typedef struct Corpus { uint8_t *code; size_t length; int vocab; char letter[VOCAB_MAX]; } Corpus;

static Corpus corpus_read(const char *path) {
  FILE *f = fopen(path, "rb");
  if (!f) die(path, strerror(errno));
  Corpus c = {0};
  int index[256]; memset(index, -1, sizeof index);
  size_t capacity = 0;
  for (int ch; (ch = fgetc(f)) != EOF; ) {
    if (index[ch] < 0) {
      if (c.vocab == VOCAB_MAX) die(path, "more than 96 different characters");
      c.letter[index[ch] = c.vocab++] = (char)ch;
    }
    if (c.length == capacity && !(c.code = realloc(c.code, capacity = capacity ? capacity * 2 : 65536))) die("memory", strerror(errno));
    c.code[c.length++] = (uint8_t)index[ch];
  }
  fclose(f);
  if (c.length < 20 * CONTEXT) die(path, "text too short");
  return c;
}

static void batch_draw(const Corpus *c, size_t from, size_t to, const uint8_t **context, uint8_t *target) {
  for (int b = 0; b < BATCH; b++) {
    size_t at = from + random_u32() % (to - from - CONTEXT);
    context[b] = c->code + at;
    target[b] = c->code[at + CONTEXT];
  }
}

static void sample_print(Model *m, const Corpus *c, size_t from, int length) {
  uint8_t text[CONTEXT + 1], none[BATCH] = {0};
  const uint8_t *context[BATCH];
  memcpy(text, c->code + from, CONTEXT);
  for (int b = 0; b < BATCH; b++) context[b] = text;
  printf("sample: \"");
  for (int i = 0; i < length; i++) {
    model_forward(m, context, none);
    float u = (float)random_u32() / 4294967296.0f;
    int k = 0;
    while (k < m->vocab - 1 && (u -= m->p[0][k]) > 0) k++;
    putchar(c->letter[k] == '\n' ? ' ' : c->letter[k]);
    memmove(text, text + 1, CONTEXT - 1);
    text[CONTEXT - 1] = (uint8_t)k;
  }
  printf("\"\n");
}

/* The loss curve as rows of text: one column a point, best at the bottom. */
static void curve_print(const float *loss, int n) {
  enum { ROWS = 8 };
  float lo = loss[0], hi = loss[0];
  for (int i = 1; i < n; i++) { lo = fminf(lo, loss[i]); hi = fmaxf(hi, loss[i]); }
  for (int r = 0; r < ROWS; r++) {
    printf("%6.2f |", hi - (hi - lo) * (float)r / (ROWS - 1));
    for (int i = 0; i < n; i++) putchar((int)lroundf((hi - loss[i]) / fmaxf(hi - lo, 1e-6f) * (ROWS - 1)) == r ? '*' : ' ');
    putchar('\n');
  }
}

static void curve_svg(const char *path, const float *loss, int n, int every) {
  if (system("command -v gnuplot >/dev/null 2>&1")) { printf("(no gnuplot here: %s is not drawn)\n", path); return; }
  FILE *g = popen("gnuplot 2>/dev/null", "w");
  if (!g) return;
  fprintf(g, "set terminal svg size 640,360\nset output '%s'\nset xlabel 'step'\nset ylabel 'loss, nats per character'\nplot '-' with lines title '%s'\n", path, RULE_NAME);
  for (int i = 0; i < n; i++) fprintf(g, "%d %g\n", (i + 1) * every, (double)loss[i]);
  fprintf(g, "e\n");
  if (pclose(g) == 0) printf("loss curve: %s\n", path);
}

int main(int argc, char **argv) {
  int steps = 1500;
  double lr = 0;
  const char *svg = NULL;
  if (argc < 2) die("usage", "train TEXT [--steps N] [--lr X] [--curve FILE.svg]");
  for (int i = 2; i + 1 < argc; i += 2) {
    if (!strcmp(argv[i], "--steps")) steps = atoi(argv[i + 1]);
    else if (!strcmp(argv[i], "--lr")) lr = strtod(argv[i + 1], NULL);
    else if (!strcmp(argv[i], "--curve")) svg = argv[i + 1];
    else die("unknown option", argv[i]);
  }
  Corpus text = corpus_read(argv[1]);
  static Model model;
  static Optimizer optimizer;
  model_init(&model, text.vocab);
  optimizer_init(&optimizer, &model, lr);
  size_t held = text.length - text.length / 10;                            /* the last tenth is never trained on */
  int64_t parameters = 0;
  for (int k = 0; k < N_PARAMS; k++) parameters += model.count[k];
  printf("%s, lr %g: %lld parameters, %zu characters, %d different\n", RULE_NAME, optimizer.hyper.lr, (long long)parameters, text.length, text.vocab);

  enum { POINTS = 60 };
  float curve[POINTS], running = 0;
  const uint8_t *context[BATCH];
  uint8_t target[BATCH];
  int every = steps / POINTS > 0 ? steps / POINTS : 1, points = 0, terminal = isatty(1);
  double in_step = 0;
  for (int s = 1; s <= steps; s++) {
    batch_draw(&text, 0, held, context, target);
    running += model_forward(&model, context, target) / (float)every;
    model_backward(&model, context, target);
    struct timespec t0, t1;
    clock_gettime(CLOCK_MONOTONIC, &t0);
    optimizer_step(&optimizer);
    clock_gettime(CLOCK_MONOTONIC, &t1);
    in_step += (double)(t1.tv_sec - t0.tv_sec) + 1e-9 * (double)(t1.tv_nsec - t0.tv_nsec);
    if (s % every == 0) {
      if (points < POINTS) curve[points++] = running;
      if (terminal) { printf("\rstep %d of %d  loss %.3f ", s, steps, running); fflush(stdout); }
      else if (points % 10 == 0) printf("step %d of %d  loss %.3f\n", s, steps, running);
      running = 0;
    }
  }
  if (terminal) printf("\r\033[K");
  float unseen = 0;
  for (int i = 0; i < 20; i++) {
    batch_draw(&text, held, text.length, context, target);
    unseen += model_forward(&model, context, target) / 20;
  }
  if (points > 1) curve_print(curve, points);
  printf("loss %.3f -> %.3f nats per character (unseen text %.3f); %.1f us an optimizer step\n", curve[0], curve[points - 1], unseen, 1e6 * in_step / steps);
  sample_print(&model, &text, 0, 160);
  if (svg && points > 1) curve_svg(svg, curve, points, every);
  optimizer_close(&optimizer);
  return curve[points - 1] < curve[0] ? 0 : 1;
}
