/* driver_dense.c: strided tensors: which may be, and copies between them and dense ones in the workspace, before and after the kernels. */
#include "backends/driver.h"

int drive_may_be_strided(const optc_operand_desc *o) { return o->role >= ROLE_IN && o->role <= ROLE_INOUT; }

/* The axis, its stride, and the one that it would have in row-major order; WHY_NOTHING: all strides are such, where that makes a difference. */
finding drive_not_dense(const int64_t *shape, int64_t rank, const int64_t *stride) {
  int64_t step = 1;
  if (!stride || drive_product(shape, rank) == 0) return drive_found(WHY_NOTHING, 0, 0, 0);
  for (int64_t a = rank; a-- > 0;) {
    if (shape[a] != 1 && stride[a] != step) return drive_found(WHY_DENSE, a, stride[a], step);
    step *= shape[a];
  }
  return drive_found(WHY_NOTHING, 0, 0, 0);
}

int drive_is_dense(const int64_t *shape, int64_t rank, const int64_t *stride) { return !drive_not_dense(shape, rank, stride).why; }

static void copy_element(char *to, const char *from, int64_t bytes) {
  switch (bytes) {
    case 1: *to = *from; return;
    case 2: *(uint16_t *)to = *(const uint16_t *)from; return;
    case 4: *(uint32_t *)to = *(const uint32_t *)from; return;
    default: *(uint64_t *)to = *(const uint64_t *)from; return;
  }
}

/* Between the caller's strided tensors of an item and their dense copies. */
void drive_copy_strided(worker *w, const job *j, const view *v) {
  for (int64_t k = 0; k < j->rule->n_operands; k++) {
    const optc_operand_desc *o = &j->rule->operands[k];
    const optc_tensor *x = &FIELD(v->item, o->offset, const optc_tensor);
    if (o->scope != SCOPE_TENSOR || !o->tensor || w->frame.data[k] == x->data) continue;
    if (j->mode == UNPACK && !(j->uses[k] & USE_WRITTEN)) continue;
    const int64_t *shape = o->shaped ? w->shapes[k] : v->shape;
    int64_t rank = o->shaped ? w->ranks[k] : v->rank;
    for (int64_t i = 0; i < w->counts[k]; i++) {
      int64_t at = 0, rest = i;
      for (int64_t a = rank; a-- > 0; rest /= shape[a]) at += rest%shape[a]*x->stride[a];
      char *packed = (char *)w->frame.data[k] + i*o->bytes, *strided = (char *)x->data + at*o->bytes;
      copy_element(j->mode == PACK ? packed : strided, j->mode == PACK ? strided : packed, o->bytes);
    }
  }
}

/* Strides: dense where they must be. Of a shard only dense ones; of what is written none that leads to one element twice by being 0. */
int drive_check_strides(job *j, worker *w, const view *v, int64_t k) {
  const optc_operand_desc *o = &j->rule->operands[k];
  const int64_t *stride = FIELD(v->item, o->offset, const optc_tensor).stride, *shape = o->shaped ? w->shapes[k] : v->shape;
  int64_t rank = o->shaped ? w->ranks[k] : v->rank, reach = 0;
  if (drive_is_dense(shape, rank, stride)) return 0;
  if (!drive_may_be_strided(o) || (!o->shaped && v->count != v->total)) { w->found = drive_not_dense(shape, rank, stride); return OPTC_E_SHAPE; }
  for (int64_t a = 0; a < rank; a++) {
    if (shape[a] == 1) continue;
    int64_t step = stride[a] < 0 ? (int64_t)-(uint64_t)stride[a] : stride[a];
    w->found = drive_found(WHY_STRIDE_FAR, a, stride[a], 0);
    if (step < 0 || step > (OPTC_MAX_COUNT - reach)/shape[a]) return OPTC_E_SHAPE;
    w->found.why = WHY_STRIDE_ZERO;
    if (!step && j->uses[k] & USE_WRITTEN) return OPTC_E_SHAPE;
    reach += step*shape[a];
  }
  w->found.why = WHY_NOTHING;
  j->strided = j->planned = 1;
  return 0;
}
