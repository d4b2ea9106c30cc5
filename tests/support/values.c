/* values.c: see values.h. */
#include "tests/support/values.h"
#include <string.h>
#include "ir/module.h"
#include "tests/support/random.h"

static const uint32_t special[] = {
  0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007fffff, 0x807fffff, 0x00800000, 0x00800001, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000,
  0x7fc00000, 0xffc12345, 0x3f800000, 0xbf800000, 0x3f7fffff, 0x3f800001, 0x1e3ce508, 0x5e3ce508, 0x00012345, 0x33800000, 0x4b800000, 0x4f000000,
};

static uint32_t made_up_f32(uint64_t *s, bool any_bits, bool positive) {
  uint64_t r = next_random(s);
  uint32_t bits = (uint32_t)(r >> 32);
  if (r%8 == 0) return special[(r >> 8)%(sizeof special/sizeof *special)];
  if (any_bits || r%8 == 1) return bits;
  return ((positive ? 0 : bits & 0x80000000) | (uint32_t)(127 - 16 + (r >> 8)%20) << 23) | (bits & 0x7fffff);
}

void value_make_up(char *at, int64_t type, uint64_t *s, bool any_bits, bool positive) {
  uint32_t bits = made_up_f32(s, any_bits, positive);
  uint64_t value = bits;
  float narrow;
  memcpy(&narrow, &bits, 4);
  double wide = narrow;
  size_t bytes = 1;
  switch ((Type)type) {
  case TYPE_BOOL: value = bits >> 9 & 1; break;
  case TYPE_I8: case TYPE_U8: break;
  case TYPE_I32: bytes = 4; break;
  case TYPE_I64: bytes = 8; value = any_bits ? next_random(s) : bits%16; break;
  case TYPE_BF16: bytes = 2; value = bits >> 16; break;
  case TYPE_F16: bytes = 2; break;
  case TYPE_F64:
    bytes = 8;
    memcpy(&value, &wide, 8);
    if (any_bits) value = next_random(s)%4 ? value ^ next_random(s) >> 35 : next_random(s);
    break;
  default: bytes = 4;
  }
  memcpy(at, &value, bytes);             /* little-endian, like every machine that has drills */
}

void value_moderate(char *at, int64_t type, uint64_t *s, bool positive, bool dense) {
  value_make_up(at, type, s, false, false);
  if (type < TYPE_BF16) return;
  int64_t r = (int64_t)(next_random(s)%4097) - 2048;         /* a multiple of a power of two has the same value in every type */
  if (positive) r = r < 0 ? -r : r;
  float f = (float)r/1024;
  if (dense) f += f*(float)(next_random(s)%4096)*0x1p-24f;
  double d = f;
  uint32_t bits;
  memcpy(&bits, &f, 4);
  if (type == TYPE_F32) memcpy(at, &f, 4);
  else if (type == TYPE_F64) memcpy(at, &d, 8);
  else if (type == TYPE_BF16) memcpy(at, (char *)&bits + 2, 2);
  else {                                 /* f16: keep the sign, an exponent near 0 */
    uint16_t h;
    memcpy(&h, at, 2);
    h = (uint16_t)((h & (positive ? 0x3ff : 0x83ff)) | (12 + (r & 3)) << 10);
    memcpy(at, &h, 2);
  }
}

uint64_t value_number(int64_t type, uint64_t *s) {
  uint64_t r = next_random(s);
  if (type == TYPE_BOOL) return r & 1;
  if (type < TYPE_BF16) return r%16;
  double x = (double)(int64_t)(r >> 12)*0x1p-51 - 1;
  memcpy(&r, &x, 8);
  return r;
}

bool value_is_nan(uint64_t bits, int64_t type) {
  switch ((Type)type) {
  case TYPE_F64: return (bits & INT64_MAX) > UINT64_C(0x7ff0000000000000);
  case TYPE_F32: return (bits & 0x7fffffff) > 0x7f800000;
  case TYPE_F16: return (bits & 0x7fff) > 0x7c00;
  case TYPE_BF16: return (bits & 0x7fff) > 0x7f80;
  default: return false;
  }
}

uint64_t value_load(const char *at, int64_t bytes) { uint64_t x = 0; memcpy(&x, at, (size_t)bytes); return x; }
