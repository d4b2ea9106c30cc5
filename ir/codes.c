/* codes.c: maps of codes: the dynamic map of Dettmers et al. 2021, arXiv 2110.02861, whose decade i holds the middles of 2^i (unsigned: 2^(i + 1))
 * equal parts of [0.1, 1], or sixteenths (q4u). Entries are computed in f64 and rounded to f32. */
#include "ir/codes.h"

const CodeMapInfo code_maps[CODE_MAPS] = {
  [CODE_Q8] = {"q8", 256, 7, true, false, false, 256}, [CODE_Q8U] = {"q8u", 256, 7, false, false, false, 256},
  [CODE_Q4] = {"q4", 16, 3, true, false, true, 128},   [CODE_Q4U] = {"q4u", 16, 0, false, true, true, 128},
};

Element code_decode_element(CodeMap m) { return (Element)(ELEMENT_DECODE_Q8 + m); }
Element code_encode_element(CodeMap m) { return (Element)(ELEMENT_ENCODE_Q8 + m); }
CodeMap code_map_of(Element e) { return (CodeMap)(e - (e >= ELEMENT_ENCODE_Q8 ? ELEMENT_ENCODE_Q8 : ELEMENT_DECODE_Q8)); }

double code_decade(CodeMap map, unsigned decade) {
  static const double tens[] = {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1};
  return tens[7 - code_maps[map].decades + decade];
}

/* place: in the positive half, from 1; the places of decade i begin with a power of 2. */
static float positive(const CodeMapInfo *m, unsigned place) {
  if (place == (m->is_signed ? m->codes/2 : m->codes)) return 1;
  unsigned bit = 31 - (unsigned)__builtin_clz(place), first = 1u << bit, decade = m->is_signed ? bit : bit - 1;
  double part = (double)(2*(place - first) + 1)/(double)(2*first);
  return (float)(code_decade((CodeMap)(m - code_maps), decade)*(0.1 + 0.9*part));
}

float code_entry(CodeMap map, unsigned code) {
  const CodeMapInfo *m = &code_maps[map];
  code &= m->codes - 1;
  if (m->linear) return (float)((double)(code + 1)/16);
  unsigned zero = m->is_signed ? m->codes/2 - 1 : 0;
  if (code == zero) return 0;
  if (!m->is_signed) return positive(m, code + 1);
  return code > zero ? positive(m, code - zero) : -positive(m, zero - code);
}

float code_edge(CodeMap map, unsigned code) { return (code_entry(map, code) + code_entry(map, code + 1))/2; }

/* How many edges are below y: they go upwards. */
unsigned code_nearest(CodeMap map, float y) {
  unsigned low = 0, high = code_maps[map].codes - 1;
  while (low < high) {
    unsigned middle = (low + high)/2;
    if (code_edge(map, middle) < y) low = middle + 1;
    else high = middle;
  }
  return low;
}
