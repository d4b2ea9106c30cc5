/* generic.c: kernels in C for tests/backends_generic_test.c, which compiles them for NVPTX and for this machine, and compares. Thread THREAD of a kernel writes
 * y[THREAD]; here a thread is a call with its number in thread_number. Blocks have 256 threads. */
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned u32; typedef unsigned long u64; typedef int s32; typedef long s64; typedef short s16; typedef signed char s8;
#ifdef __NVPTX__
#define KERNEL __attribute__((nvptx_kernel))
#define THREAD (__nvvm_read_ptx_sreg_ctaid_x()*__nvvm_read_ptx_sreg_ntid_x() + __nvvm_read_ptx_sreg_tid_x())
#else
extern u32 thread_number;
#define KERNEL
#define THREAD thread_number
#endif
#define NOINLINE __attribute__((noinline))

/* sorts 16 numbers in local memory */
KERNEL void sorts(const u32 *x, u32 *y) {
  u32 i = THREAD, a[16], s = x[i];
  for (int k = 0; k < 16; k++) a[k] = s = s*1664525 + 1013904223;
  for (int k = 1; k < 16; k++) { u32 t = a[k]; int j = k; for (; j && a[j - 1] > t; j--) a[j] = a[j - 1]; a[j] = t; }
  u32 h = 0;
  for (int k = 0; k < 16; k++) h = h*31 + a[k];
  y[i] = h;
}
static NOINLINE u64 mulmod(u64 a, u64 b, u64 m) { u64 r = 0; for (; b; b >>= 1, a = (a << 1) % m) if (b & 1) r = (r + a) % m; return r; }
static NOINLINE u64 powmod(u64 a, u64 e, u64 m) { u64 r = 1; for (; e; e >>= 1, a = mulmod(a, a, m)) if (e & 1) r = mulmod(r, a, m); return r; }
KERNEL void powers(const u32 *x, u32 *y) { u32 i = THREAD; y[i] = (u32)powmod(x[i], x[i] >> 20, 1000000007); }
struct pair { double a; float b; s16 c[6]; };          /* no padding: a copy of undefined bytes would count as undefined in all of them */
static NOINLINE struct pair turn(struct pair p) { p.a = p.a*0.5 - p.b; p.b = p.b/3 + p.c[1]; p.c[2] = (s16)(p.c[0]*p.c[1]); return p; }
KERNEL void structs(const u32 *x, u32 *y) {
  u32 i = THREAD;
  struct pair p = {(s32)x[i], (float)(x[i] >> 3), {(s16)x[i], (s16)(x[i] >> 5), (s16)(x[i] >> 9)}};
  for (u32 k = 0; k < (x[i] & 7); k++) p = turn(p);
  y[i] = (u32)(s32)(p.c[2] + (s32)(p.b*0.001f)) ^ (u32)(s64)(p.a*1e-3);
}
KERNEL void switches(const u32 *x, u32 *y) {
  u32 i = THREAD, h = 0, s = x[i];
  for (int k = 0; k < 20; k++, s = s*69069 + 1)
    switch (s >> 27) {
    case 0: h += s; break; case 1: h ^= s << 3; break; case 2: h -= s >> 2; break; case 3: h *= 5; break; case 4: h = ~h; break; case 5: h |= s; break;
    case 6: h &= s; break; case 7: h = h << 7 | h >> 25; break; case 8: h = __builtin_bswap32(h); break; case 9: h += __builtin_popcount(s); break;
    case 10: h += (u32)__builtin_clz(s | 1); break; case 11: h = (u32)((s64)(s32)h*(s32)s >> 32); break; case 12: h += s/7; break; case 13: h += s%13; break;
    case 14: h = (u32)((s32)h/ -9); break; case 15: h += (u32)(u8)s*(u16)h; break; case 16: h ^= (u32)(s32)(s8)s; break; default: h += k; }
  y[i] = h;
}
static const u32 table[256] = {
#define R(k) (k)*2654435761u >> 3, (k)*40503u + 7, (k)*(k) + 11, ~(k)*97u
#define R4(k) R(k), R(k + 1), R(k + 2), R(k + 3)
#define R16(k) R4(k), R4(k + 4), R4(k + 8), R4(k + 12)
  R16(1u), R16(17u), R16(33u), R16(49u)};
KERNEL void tables(const u32 *x, u32 *y) { u32 i = THREAD, h = 0; for (int k = 0; k < 4; k++) h = h >> 8 ^ table[(h ^ x[i] >> 8*k) & 255]; y[i] = h; }
KERNEL void floats(const u32 *x, u32 *y) {
  u32 i = THREAD;
  float a = (float)(s32)x[i]*0x1p-20f, b = a*a - 3, c = __builtin_fabsf(b) + 1;
  double d = a/c + __builtin_sqrt((double)c), e = d*d*d - (u64)x[i]*1e-3;
  float f = __builtin_sqrtf(c) + (float)e;
  f = f > 1e6f ? 1e6f : f < -1e6f ? -1e6f : f;
  f += __builtin_floorf(a) + __builtin_ceilf(b*1e-3f) + __builtin_truncf(c) + __builtin_rintf(a) + __builtin_copysignf(2, b) + __builtin_fmaf(a, 1e-3f, c);
  s32 k = (s32)(f*0.25f);
  union { float f; u32 u; } bits = {f};
  y[i] = bits.u ^ (u32)k ^ (d < e) ^ (u32)(u64)(c*1e3) ^ (u32)(a != b) << 5;
}
KERNEL void narrow(const u32 *x, u32 *y) {
  u32 i = THREAD; const u8 *p = (const u8 *)&x[i]; const s16 *q = (const s16 *)&x[i];
  s16 h = (s16)(q[0]*3 - q[1]); u8 b = (u8)(p[0] + p[3]); s8 c = (s8)(b ^ p[1]);
  ((u8 *)&y[i])[0] = b; ((s8 *)&y[i])[1] = (s8)(c >> 2); ((s16 *)&y[i])[1] = (s16)(h/7 + c);
}
KERNEL void wide(const u32 *x, u32 *y) {
  u32 i = THREAD; u64 a = (u64)x[i] << 32 | ~x[i], b = a*0x9e3779b97f4a7c15, c = (u64)((unsigned __int128)a*b >> 64);
  s64 d = (s64)(b ^ c) >> (x[i] & 63), e = d/(s64)(x[i] | 1), f = (s64)a%1000003;
  u64 g = __builtin_bitreverse64(c) + (u64)__builtin_popcountll(b) + (u64)__builtin_ctzll(a | 1ull << 40) + (b << 13 | b >> 51);
  y[i] = (u32)(a ^ (u64)d ^ (u64)e ^ (u64)f ^ g) ^ (u32)(g >> 32);
}

/* --- together ---------------------------------------------------------------------------------------------------------------------------------------- */
static float number(u32 x) { return (float)(s32)x*0x1p-31f; }
#ifdef __NVPTX__
#define SHARED static __attribute__((address_space(3)))
/* C = A B of 32 x 32 in tiles of 16 x 16; a block has a tile of C. A is x, B is A from its second row on. */
KERNEL void product(const u32 *x, u32 *y) {
  SHARED float a[16][17], b[16][17];
  u32 t = __nvvm_read_ptx_sreg_tid_x(), r = t/16, c = t%16, block = __nvvm_read_ptx_sreg_ctaid_x() & 3, row = block/2*16, column = block%2*16;
  float sum = 0;
  for (u32 k = 0; k < 32; k += 16) {
    a[r][c] = number(x[(row + r)*32 + k + c]);
    b[r][c] = number(x[(k + r + 1)*32 + column + c]);
    __syncthreads();
    for (u32 p = 0; p < 16; p++) sum = __builtin_fmaf(a[r][p], b[p][c], sum);
    __syncthreads();
  }
  union { float f; u32 u; } bits = {sum};
  y[THREAD] = bits.u;
}
/* The sum of the block in the order of a tree: shuffles in a warp, then over the warps. */
KERNEL void sums(const u32 *x, u32 *y) {
  SHARED float part[8];
  u32 t = __nvvm_read_ptx_sreg_tid_x();
  float v = number(x[THREAD]);
  for (int k = 16; k; k /= 2) v += __nvvm_shfl_sync_bfly_f32(-1, v, k, 31);
  if (t%32 == 0) part[t/32] = v;
  __syncthreads();
  float all = part[0];
  for (int k = 1; k < 8; k++) all += part[k];
  union { float f; u32 u; } bits = {all};
  y[THREAD] = bits.u;
}
#else
void product(const u32 *x, u32 *y) {
  u32 t = THREAD%256, block = THREAD/256 & 3, row = block/2*16 + t/16, column = block%2*16 + t%16;
  float sum = 0;
  for (u32 k = 0; k < 32; k++) sum = __builtin_fmaf(number(x[row*32 + k]), number(x[(k + 1)*32 + column]), sum);
  union { float f; u32 u; } bits = {sum};
  y[THREAD] = bits.u;
}
/* bfly 16 first: lane l is added to lane l + 16, so the tree is over bit-reversed halves */
static float warp(const u32 *x, u32 from, u32 step) { return step == 32 ? number(x[from]) : warp(x, from, 2*step) + warp(x, from + step, 2*step); }
void sums(const u32 *x, u32 *y) {
  const u32 *block = x + THREAD/256*256;
  float all = warp(block, 0, 1);
  for (u32 k = 1; k < 8; k++) all += warp(block + 32*k, 0, 1);
  union { float f; u32 u; } bits = {all};
  y[THREAD] = bits.u;
}
#endif
