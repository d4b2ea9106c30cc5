/* command_measure.h: what this machine's memory and arithmetic give, by short probes; for the subcommands only. */
#ifndef OPTC_RUNTIME_COMMAND_MEASURE_H
#define OPTC_RUNTIME_COMMAND_MEASURE_H

/* GB/s, four streams read and three of them written in place, by all threads; 0: no memory for the probe. */
double measure_bandwidth(int threads);
/* GFLOP/s of f32 fused multiply-adds, 12 independent chains a thread: the sum of what the threads reach. */
double measure_peak(int threads);
#endif
