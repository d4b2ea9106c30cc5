/* ops.h: what the files of operations share: how they run and how their operands are decoded. Private to backends/ptx/.
 *
 * A PtxDecoder is decode.c's, for as long as a module is decoded; what decoders leave in an instruction lies in the module's arena. */
#ifndef OPTC_BACKENDS_PTX_OPS_H
#define OPTC_BACKENDS_PTX_OPS_H
#include "backends/ptx/machine.h"

typedef struct PtxDecoder PtxDecoder;

/* decode.c, operands.c */
bool ptx_refuse_statement(PtxDecoder *, const char *format, ...) __attribute__((format(printf, 2, 3)));       /* false */
/* A register or immediate for a letter of a signature. */
bool ptx_decode_value(PtxDecoder *, const PtxOperand *, char letter, bool written, PtxRef *);
/* A register of whatever type; its bits (1: a predicate). */
bool ptx_decode_register(PtxDecoder *, const PtxOperand *, PtxRef *, unsigned *bits);
/* A row for an immediate of so many bits. */
PtxRef ptx_fixed(PtxDecoder *, uint64_t value, unsigned bits);
/* [a] into i->a and i->imm; a variable may tell another space than `space`. */
bool ptx_decode_address(PtxDecoder *, PtxInst *, const PtxOperand *, PtxSpace *space);
bool ptx_decode_branch(PtxDecoder *, PtxInst *, const PtxStatement *);
bool ptx_decode_table(PtxDecoder *, PtxInst *, const PtxStatement *);
bool ptx_decode_return(PtxDecoder *, PtxInst *, const PtxStatement *);
void *ptx_decode_alloc(PtxDecoder *, size_t);
PtxMode ptx_decoder_mode(const PtxDecoder *);
/* Bits of a type ("f32"); 0: there is none; 1: predicates. The letter of a signature for it. */
unsigned ptx_type_bits(const char *name);
char ptx_type_letter(const char *name);
/* A predicate, or with '!' in front. */
bool ptx_decode_predicate(PtxDecoder *, const PtxOperand *, PtxRef *, bool *negated);
/* One modifier after the other: "" at the end. */
const char *ptx_modifier(const char **at, char *buffer, size_t size);
unsigned ptx_operands(const PtxOperand *);

/* control.c */
void ptx_set_predicates(PtxWarp *, const PtxInst *, uint32_t on, uint32_t mask);
bool ptx_decode_compare(PtxDecoder *, PtxInst *, const PtxStatement *);

#define PTX_DECODER(name) bool ptx_decode_##name(PtxDecoder *, PtxInst *, const PtxStatement *);
#define PTX_RUN(name) void ptx_run_##name(PtxWarp *, const PtxInst *, uint32_t on);
PTX_DECODER(move) PTX_DECODER(select) PTX_DECODER(insert) PTX_DECODER(lookup) PTX_DECODER(window) PTX_DECODER(narrow) PTX_DECODER(logic)
PTX_DECODER(barrier) PTX_DECODER(shuffle) PTX_DECODER(vote) PTX_DECODER(redux) PTX_DECODER(warp_barrier)
PTX_DECODER(load) PTX_DECODER(store) PTX_DECODER(atomic) PTX_DECODER(reduction)
PTX_DECODER(mma) PTX_DECODER(ldmatrix) PTX_DECODER(copy) PTX_DECODER(wait_group)
PTX_RUN(branch) PTX_RUN(table) PTX_RUN(exit) PTX_RUN(trap) PTX_RUN(nothing)
PTX_RUN(barrier) PTX_RUN(arrive) PTX_RUN(warp_barrier) PTX_RUN(shuffle) PTX_RUN(vote) PTX_RUN(redux) PTX_RUN(active) PTX_RUN(fence)
PTX_RUN(load) PTX_RUN(store) PTX_RUN(atomic)
PTX_RUN(mma) PTX_RUN(ldmatrix) PTX_RUN(copy) PTX_RUN(commit_group) PTX_RUN(wait_group)
#undef PTX_DECODER
#undef PTX_RUN
#endif
