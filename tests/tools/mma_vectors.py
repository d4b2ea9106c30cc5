"""mma_vectors.py: tests/data/ptx/mma.txt from MMA-Sim (pip install mmasim torch; Xie et al., arXiv 2511.10909), which agrees with devices in every bit.

A line is one element of D: generation, format, k of the shape, then k codes of A's row, k of B's column, C and D, all in hexadecimal.
"""
import random
import torch
from mmasim.nv_ptx import MMA

FORMATS = {"bf16": (torch.bfloat16, torch.int16, 8, 7), "f16": (torch.float16, torch.int16, 5, 10), "tf32": (torch.float32, torch.int32, 8, 10)}
SHAPES = [("Ampere", "bf16", 16), ("Ampere", "bf16", 8), ("Ampere", "f16", 16), ("Ampere", "f16", 8), ("Ampere", "tf32", 8), ("Ampere", "tf32", 4),
          ("Turing", "f16", 8), ("Hopper", "bf16", 16), ("Hopper", "f16", 16), ("Hopper", "tf32", 8), ("Hopper", "tf32", 4)]
LINES = 28


def code(rng, exponent_bits, fraction_bits, spread, special):
    """A number of the format: near 1 with exponents spread so far, or anything at all."""
    sign, fraction = rng.getrandbits(1), rng.getrandbits(fraction_bits)
    bias = 2 ** (exponent_bits - 1) - 1
    exponent = min(max(bias + rng.randint(-spread, spread), 0), 2 * bias)
    if special and rng.random() < 0.1:
        exponent, fraction = rng.choice([(0, fraction), (0, 0), (2 * bias + 1, 0)])
    return sign << (exponent_bits + fraction_bits) | exponent << fraction_bits | fraction


def line(rng, generation, name, k, n):
    dtype, words, exponent_bits, fraction_bits = FORMATS[name]
    spread, special, low = (2, 6, 12, 40)[n % 4], n % 4 == 3, 13 if name == "tf32" else 0
    a, b = ([code(rng, exponent_bits, fraction_bits, spread, special) << low for _ in range(k)] for _ in range(2))
    c = code(rng, 8, 23, spread, special)
    signed = lambda x, bits: x - (1 << bits) if x >> (bits - 1) else x
    bits = 16 if words == torch.int16 else 32
    row = lambda x: torch.tensor([signed(v, bits) for v in x], dtype=words).view(dtype)
    op = MMA(generation, f"m16n8k{k}.f32.{name}.{name}.f32")
    C = torch.tensor([signed(c, 32)], dtype=torch.int32).view(torch.float32)
    d = op.dpa(row(a)[None, :], row(b)[None, :], C).view(torch.int32)[0].item() & 0xFFFFFFFF
    return " ".join([generation, name, str(k), *(f"{x:x}" for x in a + b), f"{c:x}", f"{d:x}"])


rng = random.Random(1)
for shape in SHAPES:
    for n in range(LINES):
        print(line(rng, *shape, n))
