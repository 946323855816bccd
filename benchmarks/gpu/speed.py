"""Speed, each figure beside a ceiling that the same process measured, after a look at the bits."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numba import cuda

from benchmarks.gpu import published
from benchmarks.gpu.equality import Case, require_same
from benchmarks.gpu.place import Place
from numerics import (
    Accumulator,
    BlockFormat,
    FixedFormat,
    FloatFormat,
    MatrixUnit,
    Quantizer,
    Rounding,
    catalog,
    matmul,
    parse_format,
)
from numerics.device import facts_on, quantize_on
from numerics.device_products import matmul_on, multiply_stacks, plan_on, problem_of
from numerics.kernels.cuda import launch
from numerics.kernels.cuda._jit import SIMULATED
from numerics.products import source_of_words

R = Rounding
ELEMENTS = 1 << 27
SIDE = 4096
CHAINS, STEPS = 8, 4096  # of the FMA kernel: chains of a thread that wait for nobody, and their length
# name -> (quantizer, verb, part of the copy that issue 5 asks for)
ELEMENTWISE = {
    "quantize E4M3 RNE": (Quantizer(catalog.E4M3), False, 0.85),
    "quantize binary16 RNE": (Quantizer(catalog.BINARY16), False, 0.85),
    "quantize E5M2 RTZ": (Quantizer(catalog.E5M2, R.RTZ), False, 0.85),
    "encode E4M3 RNE": (Quantizer(catalog.E4M3), True, 0.85),
    "quantize E5M2 SR, 32 random bits": (Quantizer(catalog.E5M2, R.SR), False, 0.70),
    "quantize E5M2 SR, 12 random bits": (Quantizer(catalog.E5M2, R.SR, random_bits=12), False, 0.70),
    "quantize E5M2 SR, 8 random bits": (Quantizer(catalog.E5M2, R.SR, random_bits=8), False, 0.70),
    "quantize mxfp8_e4m3 RNE": (Quantizer(parse_format("mxfp8_e4m3")), False, 0.70),
    "quantize mxfp4_e2m1 RNE": (Quantizer(parse_format("mxfp4_e2m1")), False, 0.70),
    "quantize mxint8 RNE": (Quantizer(parse_format("mxint8")), False, 0.70),
    "quantize nvfp4 RNE": (Quantizer(parse_format("nvfp4")), False, None),
}
# name -> (accumulator, format of the operands, TMAC/s that issue 5 asks for)
HALF = catalog.BINARY16
PRODUCTS = {
    "fp8 x fp8 into binary16 (no sticky)": (Accumulator(HALF), catalog.E4M3, 2.5),
    "binary16 RNE, always exact": (Accumulator(HALF), HALF, 1.5),
    "binary16 RTZ, always exact": (Accumulator(HALF, R.RTZ), HALF, 1.5),
    "LBA, both quantizers, chunk 16": (
        Accumulator(
            catalog.lba(7, 4, 10, paper=True),
            R.RTZ,
            product=Quantizer(catalog.lba(7, 4, 12, paper=True), R.RTZ),
            chunk=16,
        ),
        catalog.E4M3,
        1.2,
    ),
    "SR, 12 random bits": (Accumulator(HALF, R.SR, random_bits=12), catalog.E4M3, 0.8),
    "matrix unit, k = 16": (catalog.MATRIX_UNITS["h100.f16.f32"], HALF, 2.0),
    "pairwise": (Accumulator(HALF, order="pairwise"), catalog.E4M3, None),
    "Kahan": (Accumulator(HALF, order="kahan"), catalog.E4M3, None),
    "fixed point of 16 bits": (Accumulator(FixedFormat(16, 6)), catalog.E4M3, None),
    "binary32, its own step": (Accumulator(catalog.BINARY32), HALF, None),
    "float64 carrier, p = 40": (Accumulator(FloatFormat(11, 39)), HALF, None),
}


def cases(place: Place, seed: int, tiny: bool) -> Iterator[Case]:
    ceilings: dict[str, float] = {}
    yield "device copy", partial(_copy, place, ceilings, tiny)
    yield "float32 FMA", partial(_fma, place, tiny)
    if not SIMULATED:
        yield "torch float32 matmul", partial(_torch_matmul, place, tiny)
    for name, (quantizer, encodes, target) in list(ELEMENTWISE.items())[: 1 if tiny else None]:
        yield name, partial(_elementwise, place, ceilings, quantizer, encodes, target, seed, tiny)
    yield from published.speed(place, lambda: ceilings.get("copy") or _copy_rate(place, tiny), tiny)
    for name, (accumulator, operands, wanted) in list(PRODUCTS.items())[: 1 if tiny else None]:
        yield name, partial(_product, place, accumulator, operands, wanted, seed, tiny)


def _copy_rate(place: Place, tiny: bool) -> float:
    """Bytes a second, read and written."""
    count = 64 if tiny else ELEMENTS
    x, y = place.zeros((count,), np.float32), place.zeros((count,), np.float32)

    def copy() -> None:
        if SIMULATED:
            y[...] = x
        else:
            y.copy_(x)

    return 8 * count / place.seconds(copy)


def _copy(place: Place, ceilings: dict[str, float], tiny: bool) -> dict[str, Any]:
    ceilings["copy"] = _copy_rate(place, tiny)
    return {"figure": ceilings["copy"] / 1e9, "unit": "GB/s"}


def _chains(x, steps):
    i = cuda.grid(1)
    a, b = np.float32(0.999), np.float32(0.001)
    p, q, r, s = x[i], x[i] + b, x[i] - b, x[i] + a
    t, u, v, w = p + a, q + a, r + a, s + a
    for _ in range(steps):
        p, q, r, s = cuda.fma(p, a, b), cuda.fma(q, a, b), cuda.fma(r, a, b), cuda.fma(s, a, b)
        t, u, v, w = cuda.fma(t, a, b), cuda.fma(u, a, b), cuda.fma(v, a, b), cuda.fma(w, a, b)
    x[i] = p + q + r + s + t + u + v + w


def _fma(place: Place, tiny: bool) -> dict[str, Any]:
    blocks, threads, steps = (1, 2, 2) if tiny else (2048, 256, STEPS)
    x = place.zeros((blocks * threads,), np.float32)
    kernel = cuda.jit(_chains)
    with launch.on(place.queue):
        seconds = place.seconds(lambda: kernel[blocks, threads, place.queue.stream](launch.array(x), steps))
    return {"figure": blocks * threads * CHAINS * steps / seconds / 1e12, "unit": "TFMA/s"}


def _torch_matmul(place: Place, tiny: bool) -> dict[str, Any]:
    torch, side = place.torch, 64 if tiny else SIDE
    before, torch.backends.cuda.matmul.allow_tf32 = torch.backends.cuda.matmul.allow_tf32, False
    a = torch.randn(side, side, device=place.where)
    seconds = place.seconds(lambda: torch.matmul(a, a))
    torch.backends.cuda.matmul.allow_tf32 = before
    return {"figure": side**3 / seconds / 1e12, "unit": "TMAC/s", "note": "TF32 off"}


def _elementwise(
    place: Place,
    ceilings: dict[str, float],
    quantizer: Quantizer,
    encodes: bool,
    target: float | None,
    seed: int,
    tiny: bool,
) -> dict[str, Any]:
    count = 64 if tiny else ELEMENTS
    x = np.resize(np.random.default_rng(seed).normal(size=min(count, 1 << 20)).astype(np.float32), count)
    keys = {"seed": seed} if quantizer.stochastic else {}
    few = x[: 1 << 16]
    wanted = (quantizer.encode if encodes else quantizer.quantize)(few, **keys)
    if isinstance(quantizer.fmt, BlockFormat) and quantizer.fmt.tensor_scale:
        few = x  # all of it decides the scale
        wanted = quantizer.quantize(few)
    there, out = place.upload(x), place.zeros(x.shape, wanted.dtype.type)

    def call() -> None:
        quantize_on(quantizer, there, out, queue=place.queue, **keys)

    call()
    require_same(place.download(out[: few.size]), wanted)
    # A call that was refused a ceiling, because its case failed, measures its own.
    ceiling = ceilings.get("copy") or _copy_rate(place, tiny)
    rate = (4 + wanted.itemsize) * count / place.seconds(call)
    return {"figure": rate / 1e9, "unit": "GB/s", "part of copy": rate / ceiling, "target": target}


def _product(
    place: Place,
    accumulator: Accumulator | MatrixUnit,
    operands: FloatFormat,
    target: float | None,
    seed: int,
    tiny: bool,
) -> dict[str, Any]:
    rng, side = np.random.default_rng(seed), 8 if tiny else SIDE
    to_operands = Quantizer(operands)
    a, b = (to_operands.quantize(rng.normal(size=(side, side)).astype(np.float32)) for _ in range(2))
    keys = {"seed": seed} if isinstance(accumulator, Accumulator) and accumulator.stochastic else {}
    left, right = place.upload(a), place.upload(b)
    whole = matmul_on(left, right, accumulator, queue=place.queue, **keys)
    require_same(place.download(whole[:2]), matmul(a[:2], b, accumulator, **keys))
    called = place.seconds(lambda: matmul_on(left, right, accumulator, queue=place.queue, **keys), 2)
    if isinstance(accumulator, MatrixUnit) or isinstance(accumulator.format, FixedFormat):
        note = "the whole call, operands taken apart or scaled and looked through"
        return {"figure": side**3 / called / 1e12, "unit": "TMAC/s", "target": target, "note": note}
    kernel, plan = _kernel_alone(place, left, right, whole, accumulator, keys)
    seconds = place.seconds(kernel, 6)
    return {
        "figure": side**3 / seconds / 1e12,
        "unit": "TMAC/s",
        "target": target,
        "note": f"{plan}; the whole call, facts of the operands included: {side**3 / called / 1e12:.3g} TMAC/s",
    }


def _kernel_alone(
    place: Place, left: Any, right: Any, whole: Any, accumulator: Accumulator, keys: dict[str, int]
) -> tuple[Callable[[], None], str]:
    """The launch by itself: facts and plan are worked out beforehand. It goes on from the sums that are there."""
    with launch.on(place.queue):
        a, b, total = launch.array(left), launch.array(right), launch.array(whole)
        known = facts_on(left, "a", place.queue), facts_on(right, "b", place.queue)
    drawn = source_of_words(accumulator, total.shape, a.shape[1], keys.get("seed"), 0, None)
    problem = problem_of(a, b, known, drawn)
    matrices = (x.reshape((1, *x.shape)) for x in (a, b, total))
    a, b, total = matrices

    def call() -> None:
        with launch.on(place.queue):
            multiply_stacks(a, b, total, problem, accumulator, place.queue)

    return call, plan_on(problem, accumulator).kernel
