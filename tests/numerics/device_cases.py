"""What the front of the device gives in numba-cuda's simulator, as JSON: run in a process of its own, see test_device.py.

Each case is true where the bits are the CPU's; a case that should be refused gives its sentence.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace

os.environ["NUMBA_ENABLE_CUDASIM"] = "1"  # before numba is imported

import numpy as np

from numerics import (
    Accumulator,
    BlockCodes,
    BlockFormat,
    FixedFormat,
    FloatFormat,
    MatrixUnit,
    Overflow,
    PositFormat,
    Quantizer,
    Rounding,
    ScaleRule,
    catalog,
    device,
    device_decoding,
    device_products,
    device_stepping,
    matmul,
    parse_format,
    random_words,
)
from numerics.kernels.cuda import launch

QUEUE = device.own_queue()
RNG = np.random.default_rng(5)
WIDE = (RNG.normal(size=(3, 21)) * 2.0 ** RNG.integers(-12, 10, (3, 21))).astype(np.float32)
TO_HALF = Quantizer(catalog.BINARY16)
A, B = TO_HALF.quantize(RNG.normal(size=(2, 1, 3, 9))), TO_HALF.quantize(RNG.normal(size=(9, 5)))
# Multiples of 1/8 and 1/16: products are finer than the grid of `GRID`, and sums of them leave its limits.
P, Q = RNG.integers(-16, 17, (2, 3, 9)) / 8, RNG.integers(-64, 65, (9, 5)) / 16
C = RNG.integers(-99, 99, (2, 3, 5)) / 8
P32 = P.astype(np.float32)
GRID = FixedFormat(8, 3)
UNIT = catalog.MATRIX_UNITS["a100.f16.f16"]


def same(found: np.ndarray, wanted: np.ndarray) -> bool:
    return found.dtype == wanted.dtype and found.shape == wanted.shape and found.tobytes() == wanted.tobytes()


def rounded(quantizer: Quantizer, x: np.ndarray, *, encodes: bool = False, **drawn: object) -> bool:
    wanted = (quantizer.encode if encodes else quantizer.quantize)(x, **drawn)
    out = np.zeros_like(wanted)
    device.quantize_on(quantizer, x, out, queue=QUEUE, **drawn)
    return same(out, wanted)


def blocks_encoded(quantizer: Quantizer, x: np.ndarray) -> bool:
    wanted = quantizer.encode(x)
    elements, scales = np.zeros_like(wanted.elements), np.zeros_like(wanted.scales)
    tensor = device.encode_blocks_on(quantizer, x, elements, scales, queue=QUEUE)
    return same(elements, wanted.elements) and same(scales, wanted.scales) and tensor == wanted.tensor_scale


def launched_only(*calls: Callable[[np.ndarray], None]) -> bool:
    """Once warm, calls copy nothing to the device or back: what a CUDA graph asks of them."""

    def never(*arguments: object) -> None:
        raise AssertionError("a copy between the host and the device")

    outs = [np.zeros_like(WIDE) for _ in calls]
    for call, out in zip(calls, outs, strict=True):
        call(out)
    wanted, own = [out.copy() for out in outs], (launch.get, launch.put)
    launch.get = launch.put = never
    try:
        for call, out in zip(calls, outs, strict=True):
            out[...] = 0
            call(out)
    finally:
        launch.get, launch.put = own
    return all(same(out, before) and out.any() for out, before in zip(outs, wanted, strict=True))


def decoded(quantizer: Quantizer, codes: np.ndarray) -> bool:
    out = np.zeros(codes.shape, np.float32)
    device_decoding.decode_on(quantizer, codes, out, queue=QUEUE)
    return same(out, quantizer.decode(codes, dtype=np.float32))


def blocks_decoded(quantizer: Quantizer, x: np.ndarray, dtype: type = np.float32) -> bool:
    """NaN and infinite elements and scales too: codes are also any bits."""
    codes = quantizer.encode(x)
    own, bits = (codes.elements, codes.scales), (quantizer.fmt.element.bits, quantizer.fmt.scale.bits)
    rng = np.random.default_rng(8)
    parts = [rng.integers(0, 1 << n, part.shape, part.dtype) for n, part in zip(bits, own, strict=True)]
    found = []
    for elements, scales in (own, parts):
        wanted = quantizer.decode(BlockCodes(elements, scales, codes.tensor_scale), dtype=dtype)
        out = np.zeros_like(wanted)
        device_decoding.decode_blocks_on(quantizer, elements, scales, codes.tensor_scale, out, queue=QUEUE)
        found.append(same(out, wanted))
    return all(found)


def too_large_for_float32() -> None:
    elements, scales = np.full(16, 7, np.uint8), np.array([0x7E], np.uint8)  # 6 and 448
    out = np.zeros(16, np.float32)
    device_decoding.decode_blocks_on(Quantizer(parse_format("nvfp4")), elements, scales, 1e36, out, queue=QUEUE)


def multiplied(a: np.ndarray, b: np.ndarray, accumulator: Accumulator, **drawn: object) -> bool:
    found = device_products.matmul_on(a, b, accumulator, queue=QUEUE, **drawn)
    return same(found, matmul(a, b, accumulator, **drawn))


def alike(a: np.ndarray, b: np.ndarray, accumulator: Accumulator | MatrixUnit, **given: object) -> bool:
    """The CPU refuses, and the device with the same words."""
    said = [
        refused(lambda: matmul(a, b, accumulator, **given)),
        refused(lambda: device_products.matmul_on(a, b, accumulator, queue=QUEUE, **given)),
    ]
    return said[0] == said[1] != "not refused"


def in_pieces(a: np.ndarray, b: np.ndarray, accumulator: Accumulator, most: int, **drawn: object) -> bool:
    """A grid that reaches fewer tiles: the word of a rounding does not depend on the launch that it is in."""
    whole, device_stepping.MOST_TILES = device_stepping.MOST_TILES, most
    try:
        return multiplied(a, b, accumulator, **drawn)
    finally:
        device_stepping.MOST_TILES = whole


def refused(call: Callable[[], object]) -> str:
    try:
        call()
    except (ValueError, OverflowError, NotImplementedError) as error:
        return f"{type(error).__name__}: {error}"
    return "not refused"


def cases() -> dict[str, Callable[[], object]]:
    wraps = Quantizer(FixedFormat(8, 4), overflow=Overflow.WRAP)
    fours = BlockFormat(catalog.E2M1, catalog.E8M0, 4, rule=ScaleRule.NEVER_CLIP)
    flushed = WIDE[:, :9].copy()
    flushed[:, ::4] = -(2.0**-128)
    strict = Quantizer(catalog.E4M3, overflow=Overflow.ERROR)
    drawn = Quantizer(catalog.E4M3, Rounding.SR, random_bits=12)
    odd = WIDE.copy()
    odd[1, 4], odd[2, 5] = np.nan, np.inf
    narrow = catalog.lba(7, 4, 10, paper=True)
    lba = Accumulator(narrow, Rounding.RTZ, product=Quantizer(narrow, Rounding.RTZ), chunk=4)
    stochastic = Accumulator(catalog.E5M2, Rounding.SR, random_bits=12, chunk=4)
    ieee = Accumulator(catalog.BINARY16, overflow=Overflow.ERROR)
    large = np.full((2, 2), 65504.0, np.float32)
    sr_tree = Accumulator(catalog.E5M2, Rounding.SR, order="pairwise", random_bits=12)
    product = Quantizer(FixedFormat(7, 4), overflow=Overflow.ERROR)
    grouped, groups = catalog.MATRIX_UNITS["h100.e4m3.f16"], Quantizer(catalog.E4M3)
    cut = replace(catalog.MATRIX_UNITS["a100.tf32.f32"], tf32_trunc=True, ftz_in="positive", name="")
    trees = {"order": "pairwise", "random_bits": 5, "chunk": 4}
    chunked_trees = Accumulator(catalog.E5M2, Rounding.SR, **trees, outer=Accumulator(catalog.E5M2))
    chunk_words = random_words(30 * chunked_trees.roundings(9), 5, seed=2).reshape(2, 3, 5, -1)
    words = random_words(WIDE.size, 12, seed=9).reshape(WIDE.shape)
    return {
        "values": lambda: rounded(Quantizer(catalog.E4M3), WIDE),
        "codes": lambda: rounded(Quantizer(PositFormat(8)), WIDE, encodes=True),
        "wrapped": lambda: rounded(wraps, WIDE),
        "drawn, and an offset": lambda: rounded(drawn, WIDE, seed=2**63 + 1, stream=7, offset=2**40 + 5),
        "words given": lambda: rounded(drawn, WIDE, words=words),
        "an error that was not met": lambda: rounded(strict, WIDE / 2.0**8),
        "NaN": lambda: refused(lambda: rounded_alone(Quantizer(FixedFormat(8, 4)), odd)),
        "overflow": lambda: refused(lambda: rounded_alone(strict, odd)),
        "overflow in place": lambda: refused(lambda: rounded_in_place(strict, odd)),
        "an infinity that would wrap": lambda: refused(lambda: rounded_alone(wraps, np.where(odd != odd, 0, odd))),
        "NVFP4, NaN and infinity": lambda: rounded(Quantizer(parse_format("nvfp4")), odd),
        "codes of blocks of four, rows": lambda: blocks_encoded(Quantizer(fours, axis=0), WIDE),
        "unsigned": lambda: rounded(Quantizer(FloatFormat(4, 3, signed=False)), WIDE),
        "unsigned without NaN": lambda: refused(
            lambda: rounded_alone(Quantizer(FixedFormat(8, 4, signed=False)), WIDE)
        ),
        "decoded": lambda: decoded(Quantizer(catalog.E4M3), np.arange(256, dtype=np.uint8)),
        "a code that is none": lambda: refused(lambda: decoded(Quantizer(catalog.E2M1), np.arange(17, dtype=np.uint8))),
        "decoded, wide": lambda: decoded(Quantizer(catalog.TF32), np.arange(0, 1 << 19, 8191, dtype=np.uint32)),
        "decoded, wide integers": lambda: decoded(
            Quantizer(FixedFormat(20, 6)), np.arange(0, 1 << 20, 16383, dtype=np.uint32)
        ),
        "a wide code that is none": lambda: refused(
            lambda: decoded(Quantizer(catalog.TF32), np.array([3, 1 << 19], np.uint32))
        ),
        "decoded blocks": lambda: blocks_decoded(Quantizer(parse_format("mxfp8_e5m2"), axis=0), WIDE, np.float64),
        "decoded NVFP4": lambda: blocks_decoded(Quantizer(parse_format("nvfp4")), WIDE),
        "a value beyond float32": lambda: refused(too_large_for_float32),
        "scales of another shape": lambda: refused(
            lambda: device_decoding.decode_blocks_on(
                Quantizer(parse_format("mxfp8_e5m2")),
                *(np.zeros((2, 40), np.uint8), np.zeros((2, 1), np.uint8), 1.0, np.zeros((2, 40), np.float32)),
                queue=QUEUE,
            )
        ),
        "nothing is read back": lambda: launched_only(
            lambda out: device.quantize_on(Quantizer(catalog.E4M3), WIDE, out, queue=QUEUE),
            lambda out: device.quantize_on(drawn, WIDE, out, seed=3, queue=QUEUE),
        ),
        "one chain": lambda: multiplied(A, B, Accumulator(catalog.BINARY16)),
        "one chain, float64": lambda: multiplied(A, B.astype(np.float32), Accumulator(catalog.BINARY16)),
        "chunks": lambda: multiplied(A, B, lba),
        "SR in chunks": lambda: multiplied(A, B, stochastic, seed=3, stream=2**64 - 1),
        "SR in pieces by batch": lambda: in_pieces(A, B, stochastic, 1, seed=3),
        "SR in pieces by row": lambda: in_pieces(A.reshape(6, 9), B, stochastic, 1, seed=3),
        "tree": lambda: multiplied(A, B, Accumulator(catalog.E5M2, order="pairwise", block=2)),
        "Kahan": lambda: multiplied(A, B, Accumulator(catalog.E5M2, order="kahan")),
        "exact sums": lambda: (
            multiplied(A, B, Accumulator(catalog.E4M3, order="exact"))
            and multiplied(P, Q, Accumulator(catalog.E5M2, Rounding.SR, order="exact", random_bits=9), seed=2)
        ),
        "exact sums of chunks": lambda: multiplied(
            A, B, Accumulator(catalog.BINARY16, chunk=4, order="exact", outer=Accumulator(catalog.E5M2))
        ),
        "an exact sum that overflows": lambda: alike(
            A * 2.0**17, B, Accumulator(catalog.BINARY16, overflow=Overflow.ERROR, order="exact")
        ),
        "exact sums beyond float64": lambda: refused(
            lambda: multiplied_alone(A / 3, B / 7, Accumulator(catalog.BINARY16, order="exact"))
        ),
        "c of another type, strided operands": lambda: multiplied(
            P32[:, :, ::2].swapaxes(1, 2).copy().swapaxes(1, 2), P32[0].T[::2], Accumulator(catalog.E5M2), c=C[:, :, :3]
        ),
        "words of chunks of trees": lambda: multiplied(P, Q, chunked_trees, words=chunk_words),
        "fixed point, c": lambda: multiplied(P, Q, Accumulator(GRID, Rounding.RTZ, Overflow.WRAP), c=C),
        "fixed-point chunks": lambda: multiplied(P, Q, Accumulator(GRID, order="pairwise", block=2, chunk=4), c=C),
        "fixed point without rounding": lambda: multiplied(
            abs(P), abs(Q), Accumulator(FixedFormat(20, 7, signed=False))
        ),
        "an overflow in fixed point": lambda: alike(P, Q, Accumulator(GRID, overflow=Overflow.ERROR)),
        "an overflow of a product": lambda: alike(P, Q, Accumulator(FixedFormat(20, 3), Rounding.RTZ, product=product)),
        "an overflow in a tree": lambda: alike(P, Q, Accumulator(GRID, overflow=Overflow.ERROR, order="pairwise")),
        "a negative operand": lambda: alike(P, abs(Q), Accumulator(FixedFormat(10, 3, signed=False))),
        "matrix unit, c": lambda: multiplied(A[0], B, UNIT, c=A[0, :, :, :5]),
        "matrix unit, groups": lambda: multiplied(groups.quantize(A[0]), groups.quantize(B), grouped),
        "matrix unit, operands cut": lambda: multiplied(flushed, WIDE[:, :9].T.copy(), cut),
        "unit of fused steps, c": lambda: multiplied(
            A[0].astype(np.float32), B.astype(np.float32), catalog.MATRIX_UNITS["mi100.f32.f32"], c=A[0, :, :, :5]
        ),
        "unit of trees": lambda: multiplied(
            *(TO_HALF.quantize(x * 2.0**-16).astype(np.float32) for x in (A, B)), catalog.MATRIX_UNITS["mi210.f16.f32"]
        ),
        "unit of two chains": lambda: multiplied(A, B, catalog.MATRIX_UNITS["amx.f16.f32"], c=A[:, :, :, :5]),
        "unit of float64": lambda: multiplied(A / 3, B / 7, catalog.MATRIX_UNITS["mi300.f64.f64"]),
        "sums of a unit that are infinite": lambda: refused(
            lambda: multiplied_alone(
                large * np.float32(1e20), large * np.float32(1e20), catalog.MATRIX_UNITS["mi100.f32.f32"]
            )
        ),
        "what a unit lacks": lambda: alike(A[0] / 3, B, UNIT),
        "infinity in a unit": lambda: refused(
            lambda: multiplied_alone(np.where(A[0] == A[0].max(), np.inf, A[0]), B, UNIT)
        ),
        "batches that do not fit": lambda: refused(lambda: multiplied_alone(A, np.zeros((3, 9, 2)), UNIT)),
        "tree by words": lambda: multiplied(A, B, sr_tree, seed=5),
        "non-finite": lambda: refused(lambda: multiplied_alone(odd[:, :9], B, Accumulator(catalog.BINARY16))),
        "sums that overflow": lambda: refused(lambda: multiplied_alone(large, np.ones((2, 2), np.float32), ieee)),
    }


def rounded_alone(quantizer: Quantizer, x: np.ndarray) -> None:
    device.quantize_on(quantizer, x.astype(np.float32), np.zeros(x.shape, np.float32), queue=QUEUE)


def rounded_in_place(quantizer: Quantizer, x: np.ndarray) -> None:
    own = x.astype(np.float32)
    device.quantize_on(quantizer, own, own, queue=QUEUE)


def multiplied_alone(a: np.ndarray, b: np.ndarray, accumulator: Accumulator | MatrixUnit) -> None:
    device_products.matmul_on(a, b, accumulator, queue=QUEUE)


if __name__ == "__main__":
    found = {}
    every = cases()
    for name in sys.argv[1:] or every:  # by name, where only some are looked at
        case = every[name]
        begin = time.perf_counter()
        found[name] = case()
        print(f"{name}: {time.perf_counter() - begin:.1f} s", file=sys.stderr)
    print(json.dumps(found))
