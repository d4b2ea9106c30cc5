/* expand_tables.h: constants and coefficients of the expansions, lowest power first.
 *
 * Polynomials interpolate at Chebyshev nodes in 300-bit arithmetic, then round to f64; the error named is the largest over the
 * interval before rounding. Splits: the head has so few bits that the products named are exact. */
#ifndef OPTC_PASSES_EXPAND_TABLES_H
#define OPTC_PASSES_EXPAND_TABLES_H

#define SHIFTER 0x1.8p52                 /* adding it rounds to an integer, kept in the low bits of the sum */
#define SHIFTER_BITS INT64_C(0x4338000000000000)
#define LOG2E 0x1.71547652b82fep0
#define LN2_HEAD 0x1.62e42fee00000p-1    /* 32 bits: times a 21-bit integer is exact */
#define LN2_TAIL 0x1.a39ef35793c76p-33
#define LN2 0x1.62e42fefa39efp-1
#define LN2_26 0x1.62e42f8000000p-1      /* 26 bits, and what follows */
#define LN2_AFTER_26 0x1.be8e7bcd5e4f2p-27
#define LN2_42 0x1.62e42fefa3800p-1      /* 42 bits: times an 11-bit integer is exact */
#define LN2_AFTER_42 0x1.ef35793c76730p-45
#define LOG2E_AFTER 0x1.777d0ffda0d24p-56
#define THIRD 0x1.5555555555555p-2
#define THIRD_AFTER 0x1.5555555555555p-56
#define FIFTH 0x1.999999999999ap-3
#define FIFTH_AFTER -0x1.999999999999ap-57
#define HALF_PI 0x1.921fb54442d18p0
#define HALF_PI_AFTER 0x1.1a62633145c07p-54
#define HALF_PI_26 0x1.921fb50000000p0   /* 26 bits, and what follows */
#define HALF_PI_AFTER_26 0x1.110b4611a6263p-26
#define ERF_0 0x1.20dd750429b6dp0
#define ERF_0_HEAD 0x1.20dd750000000p+0     /* 2/sqrt(pi) and -2/(3 sqrt(pi)), 26 bits and what follows */
#define ERF_0_AFTER 0x1.0a6db446b8ea4p-30
#define ERF_1_HEAD -0x1.8127468000000p-2
#define ERF_1_AFTER -0x1.81bcf3611ed1bp-29
#define SQRT_HALF_BITS INT64_C(0x3fe6a09e667f3bcd)
#define ONE_BITS INT64_C(0x3ff0000000000000)

/* (e^r - 1 - r)/r^2 on |r| <= 0.34675, error 2^-58 */
static const double exp_q[] = {
  0x1p-1, 0x1.5555555555556p-3, 0x1.5555555555555p-5, 0x1.11111111109adp-7, 0x1.6c16c16c167dep-10, 0x1.a01a01a7c8efbp-13,
  0x1.a01a01a47dc67p-16, 0x1.71de0d9baab4ap-19, 0x1.27e4e1e9d2f6fp-22, 0x1.af38d6336c037p-26, 0x1.1f66f8ed6b20ap-29,
};
/* (log((1 + s)/(1 - s)) - 2s)/s^3 in w = s^2 on [0, 0.02944], error 2^-58 */
static const double log_r[] = {
  0x1.5555555555555p-1, 0x1.9999999999a38p-2, 0x1.2492492476c87p-2, 0x1.c71c720160b47p-3, 0x1.745cf901605f5p-3, 0x1.3b1c360763bddp-3,
  0x1.0fbe83c2cb59ep-3, 0x1.0c04595976d29p-3,
};
/* (atanh(s)/s - 1 - w/3 - w^2/5)/w^3 in w = s^2 on [0, 0.02944], error 2^-67 */
static const double atanh_r[] = {
  0x1.2492492492491p-3, 0x1.c71c71c71cfd9p-4, 0x1.745d174513593p-4, 0x1.3b13b1bc75cd8p-4, 0x1.1110dfad0f7cfp-4,
  0x1.e1f7fa754c241p-5, 0x1.ac4a89c902aa4p-5, 0x1.b8d433144b7dcp-5,
};
/* (sin(r)/r - 1)/u and (cos(r) - 1 + u/2)/u^2 in u = r^2 on [0, (pi/4)^2], errors 2^-66 and 2^-70 */
static const double sin_s[] = {
  -0x1.5555555555555p-3, 0x1.1111111111110p-7, -0x1.a01a01a01992fp-13, 0x1.71de3a545f836p-19, -0x1.ae645410e937bp-26, 0x1.61217d9252c03p-33,
  -0x1.ab16f5caa192ap-41,
};
static const double cos_c[] = {
  0x1.5555555555555p-5, -0x1.6c16c16c16c16p-10, 0x1.a01a01a019d06p-16, -0x1.27e4fb77125c5p-22, 0x1.1eed8deac3dfep-29, -0x1.9394b8bd50ae1p-37,
  0x1.ab779550c8d45p-45,
};
/* (sinh(r)/r - 1)/u and (cosh(r) - 1)/u in u = r^2 on |r| <= 0.34675, errors 2^-70 and 2^-79 */
static const double sinh_s[] = {
  0x1.5555555555555p-3, 0x1.1111111111111p-7, 0x1.a01a01a0196a4p-13, 0x1.71de3a5aab05fp-19, 0x1.ae642c7148b79p-26, 0x1.61bfcaaf1fadbp-33,
};
static const double cosh_c[] = {
  0x1p-1, 0x1.5555555555555p-5, 0x1.6c16c16c16c18p-10, 0x1.a01a01a0192dcp-16, 0x1.27e4fb7c74a43p-22, 0x1.1eed7103ae713p-29, 0x1.944c9b3251236p-37,
};
/* (tanh(x)/x - 1)/u in u = x^2 on [0, 0.31], error 2^-56 */
static const double tanh_t[] = {
  -0x1.5555555555555p-2, 0x1.1111111110ff9p-3, -0x1.ba1ba1b9f8362p-5, 0x1.664f4874c2a51p-6, -0x1.226e32869b47bp-7, 0x1.d6d323beffc1ep-9,
  -0x1.7d967d0ca5dd9p-10, 0x1.34b8c5cab15b0p-11, -0x1.eb796375b91ccp-13, 0x1.6313f62fb99ccp-14, -0x1.546807a684778p-16,
};
/* (erf(x)/x - 2/sqrt(pi) (1 - u/3))/u^2 in u = x^2 on [0, 1], error 2^-69 */
static const double erf_p[] = {
  0x1.ce2f21a042bdep-4, -0x1.b82ce312889bap-6, 0x1.565bcd0e6502dp-8,
  -0x1.c02db3feeb579p-11, 0x1.f9a326c233145p-14, -0x1.f4d2561aeafc0p-17, 0x1.b9e6509b98553p-20, -0x1.5f6d925a0b07cp-23,
  0x1.fc43564981ae1p-27, -0x1.4e607b41767c9p-30, 0x1.7f072187e2f91p-34, -0x1.29b9f1b1842a2p-38,
};
/* erfc(x) e^(x^2) in (x - 2)/(x + 2) for x on [1, 6], error 2^-71 */
static const double erfc_q[] = {
  0x1.058671b52c776p-2, -0x1.b57034efd3f72p-2, 0x1.eeea7dc8a78b3p-3, -0x1.437f0b68c0c20p-4, 0x1.e9471597a0925p-9, 0x1.ca95ed53442dcp-8,
  -0x1.bc25a47f8b415p-11, -0x1.016b5ceaf1a98p-10, 0x1.6d5f044223268p-15, 0x1.6da978ff8bcfap-13, 0x1.cdca5d813a801p-16,
  -0x1.ceb8f57d01d82p-16, -0x1.d477d1504625ap-17, 0x1.76079ecb3a1f3p-20, 0x1.f73758550713ep-19, 0x1.40e96289ce025p-20,
  -0x1.b9d050540568fp-22, -0x1.1427f7c358348p-21, -0x1.24c5e7ac70a0ap-23, 0x1.9cc5fdff14adap-24, 0x1.d9806a08fbe77p-25,
};

/* exp_q for f32 results, one degree less (Sollya's fpminimax): error 2^-55.6 of the function */
static const double exp_q32[] = {
  .5000000000000001, .16666666666666674, .041666666666622561, .0083333333333225068, .0013888888917858438, 1.9841269885974920e-4,
  2.4801520387325322e-5, 2.7557242839618735e-6, 2.7620495602468966e-7, 2.5109908603514364e-8,
};
/* (erf(x)/x - 2/sqrt(pi))/u, u = x^2, in u/8 - 1 for |x| <= 3.9375, error 2^-59.2; 2/sqrt(pi): 29 bits and what follows */
#define ERF32_HEAD 0x1.20dd750000000p+0
#define ERF32_TAIL 0x1.0a6db446b8ea4p-30
static const double erf_p32[] = {
  -0x1.8cb8e6478120cp-4, 0x1.3250b310f1a3bp-4, -0x1.ddcb8e9ed9590p-5, 0x1.6f7fe92e7465fp-5, -0x1.13202a106254bp-5, 0x1.8d3567c52a732p-6,
  -0x1.128f6b727ae29p-6, 0x1.69aaa495b544ep-7, -0x1.c4801d21447e4p-8, 0x1.0c65a06322e36p-8, -0x1.2db0ac8988b9bp-9,
  0x1.415f1867e843fp-10, -0x1.44a91606b8ad4p-11, 0x1.3763f4d1dd71dp-12, -0x1.1beea455a0921p-13, 0x1.ecf49affdc7e1p-15,
  -0x1.9806471fb84c3p-16, 0x1.42addbed2af8ep-17, -0x1.e85c84e5e9731p-19, 0x1.6057507a8e01cp-20, -0x1.e66098564659bp-22,
  0x1.4f4f121c44c40p-23, -0x1.c01fa0722a586p-25, 0x1.bed0e599767e8p-27, -0x1.a684cffef68a9p-29, 0x1.185d57847ea13p-29,
  -0x1.849a772d3ac18p-31,
};
/* 2/pi after 26 zero bits */
static const unsigned two_over_pi[] = {
  0x28, 0xbe60db93, 0x91054a7f, 0x9d5f47d, 0x4d377036, 0xd8a5664f, 0x10e4107f, 0x9458eaf7,
};

/* 2/pi in limbs of 27 bits, after three of zeros */
static const int limbs_of_two_over_pi[] = {
  0, 0, 0, 85445659, 60002565, 39057486, 92086099, 40820845, 92952164, 126382600, 33444195,
  90109406, 22572489, 14447748, 81604096, 52729717, 2573896, 60801981, 52212009, 87684932, 9272651, 91654409,
  110741250, 56242111, 17098311, 46608490, 54129820, 69401693, 125717006, 104853807, 134078553, 67630999, 71708008,
  21865453, 87457487, 20863053, 97767823, 114113727, 111335250, 64840693, 127387116, 127985470, 126505618, 122904538,
  132925411, 45748396,
};

/* f32 sequences (Sollya's fpminimax). -ln2 in two parts: the first times a 9-bit integer is exact. */
#define SHIFTER32 0x1.8p23f
#define SHIFTER32_BITS 0x4b400000
#define MINUS_LN2_HEAD32 -0.693359375f
#define MINUS_LN2_TAIL32 2.12194440e-4f
#define ONE_BITS32 0x3f800000
#define SQRT_HALF_BITS32 0x3f3504f3
static const float exp_q_short[] = {.5f, .16666576266f, .04166646302f, .00836331304f, .00139353645f};
static const float log_p_short[] = {
  .33333331347f, -.24999980628f, .20000681281f, -.16669186947f, .14251318574f, -.12396031618f, .11632806063f, -.11663826555f, .07341714948f,
};
#endif
