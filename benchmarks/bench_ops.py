"""What a call of the torch operators costs beside its arithmetic: 16 elements, in microseconds, torch.relu beside it.

The fastest of many rounds, the operators and torch.relu in turns; the target is 15. Found on two cores of an AMD EPYC with
torch.relu at 1.1 us, other work beside: `emul.quantize` 6, stochastic 6.5, in blocks 6 to 11, with a gradient 9.5;
`emul.encode` and `decode` 6, of blocks 11 and 14; `emul.matmul` of 4 x 4 matrices 10 to 11 in sequence, in chunks, pairwise
and compensated, 10 in fixed point, 13 exact, 14 stochastic and on a matrix unit, 15 with a gradient; `emul.chain.matmul`
10.5, with a gradient 15.5; `top_n` 7.5 and 12, `mvue` and LUQ 11.5 and 15.5, a transposable mask 11.5. Where
`quantize` took 6.4 before: `matmul` 16, with a gradient 24, on a unit 21, masks and LUQ 21 to 25. `chain_gradients`, which
runs the sums again, has 60 for a target: 23 in binary16, 29 with rounded products in chunks; 240 and 330 before.
"""

import time

import pytest
import torch

import emul
from benchmarks.timing import best_of_one
from numerics import Accumulator, FixedFormat, Quantizer, Rounding, catalog, parse_format

CALLS, ROUNDS = 100, 300
E4M3, SR = Quantizer(catalog.E4M3), Quantizer(catalog.E4M3, Rounding.SR)
BLOCKS, NVFP4 = Quantizer(parse_format("mxfp4_e2m1")), Quantizer(parse_format("nvfp4"))
SUMS = Accumulator(catalog.BINARY16)
UNIT = catalog.MATRIX_UNITS["h100.e4m3.f32"]
X = torch.randn(16, generator=torch.Generator().manual_seed(0))
LEAF = X.clone().requires_grad_()
A, B = emul.quantize(X.reshape(4, 4), E4M3), emul.quantize(X.flip(0).reshape(4, 4), E4M3)
A_LEAF = A.clone().requires_grad_()
CODES, BLOCK_CODES = emul.encode(X, E4M3), emul.encode(X, BLOCKS)
DRAWN, TREE = Accumulator(catalog.BINARY16, Rounding.SR, random_bits=8), Accumulator(catalog.BINARY16, order="pairwise")
KAHAN, EXACT = Accumulator(catalog.BINARY16, order="kahan"), Accumulator(catalog.BINARY16, order="exact")
G = torch.randn(4, 4, generator=torch.Generator().manual_seed(1))
LBA = Accumulator(
    parse_format("lba_m4e3_b3_paper"),
    Rounding.RTZ,
    product=Quantizer(parse_format("lba_m4e3_b5_paper"), Rounding.RTZ),
    chunk=16,
)
FIXED = Accumulator(FixedFormat(24, 16))
#: The call, and the target in microseconds.
CASES = {
    "quantize": (lambda: emul.quantize(X, E4M3), 15),
    "quantize, stochastic": (lambda: emul.quantize(X, SR, seed=1), 15),
    "quantize, with a gradient": (lambda: emul.quantize(LEAF, E4M3), 15),
    "quantize, blocks": (lambda: emul.quantize(X, BLOCKS), 15),
    "quantize, NVFP4": (lambda: emul.quantize(X, NVFP4), 15),
    "encode": (lambda: emul.encode(X, E4M3), 15),
    "encode, blocks": (lambda: emul.encode(X, BLOCKS), 15),
    "decode": (lambda: emul.decode(CODES, E4M3), 15),
    "decode, blocks": (lambda: emul.decode(BLOCK_CODES, BLOCKS), 15),
    "matmul": (lambda: emul.matmul(A, B, SUMS), 15),
    "matmul, with a gradient": (lambda: emul.matmul(A_LEAF, B, SUMS), 15),
    "matmul, stochastic": (lambda: emul.matmul(A, B, DRAWN, seed=1), 15),
    "matmul, pairwise": (lambda: emul.matmul(A, B, TREE), 15),
    "matmul, Kahan": (lambda: emul.matmul(A, B, KAHAN), 15),
    "matmul, exact": (lambda: emul.matmul(A, B, EXACT), 15),
    "matmul, fixed point": (lambda: emul.matmul(A, B, FIXED), 15),
    "matmul, a matrix unit": (lambda: emul.matmul(A, B, UNIT), 15),
    "chain.matmul": (lambda: emul.chain.matmul(A, B, SUMS), 15),
    "chain.matmul, with a gradient": (lambda: emul.chain.matmul(A_LEAF, B, SUMS), 15),
    "chain_gradients": (lambda: emul.chain.chain_gradients(A, B, G, SUMS), 60),
    "chain_gradients, LBA": (lambda: emul.chain.chain_gradients(A, B, G, LBA, rule="recursive"), 60),
    "top_n": (lambda: emul.sparsity.top_n(X), 15),
    "top_n, with a gradient": (lambda: emul.sparsity.top_n(LEAF), 15),
    "mvue": (lambda: emul.sparsity.mvue(X, seed=1), 15),
    "mvue, with a gradient": (lambda: emul.sparsity.mvue(LEAF, seed=1), 15),
    "transposable_mask": (lambda: emul.sparsity.transposable_mask(A), 15),
    "LUQ": (lambda: emul.luq.quantize(X, seed=1), 15),
    "LUQ, with a gradient": (lambda: emul.luq.quantize(LEAF, seed=1), 15),
}


def many(call):
    def calls():
        for _ in range(CALLS):
            call()

    return calls


@pytest.mark.parametrize("case", CASES)
def test_overhead(case, benchmark):
    call, target = CASES[case]
    mine, native = many(call), many(lambda: torch.relu(X))
    mine(), native()
    end, times = time.perf_counter() + 10, ([], [])
    for _ in range(ROUNDS):
        times[0].append(best_of_one(mine))
        times[1].append(best_of_one(native))
        if time.perf_counter() > end:
            break
    microseconds, relu = (min(each) / CALLS * 1e6 for each in times)
    benchmark.pedantic(call, rounds=1)
    figures = {"us": round(microseconds, 1), "target": target, "torch.relu, us": round(relu, 1)}
    benchmark.extra_info |= {**figures, "times torch.relu": round(microseconds / relu, 1)}
    print(f"\n{case}: {figures}, {microseconds / relu:.1f} times")
