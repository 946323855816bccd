"""What the front of the device gives in numba-cuda's simulator, as JSON: run in a process of its own, see test_device.py.

Each case is true where the bits are the CPU's; a case that should be refused gives its sentence.
"""

import json
import os
import sys
import time
from collections.abc import Callable

os.environ["NUMBA_ENABLE_CUDASIM"] = "1"  # before numba is imported

import numpy as np

from numerics import (
    Accumulator,
    FixedFormat,
    Overflow,
    PositFormat,
    Quantizer,
    Rounding,
    catalog,
    device,
    device_products,
    matmul,
    random_words,
)

QUEUE = device.own_queue()
RNG = np.random.default_rng(5)
WIDE = (RNG.normal(size=(3, 21)) * 2.0 ** RNG.integers(-12, 10, (3, 21))).astype(np.float32)
TO_HALF = Quantizer(catalog.BINARY16)
A, B = TO_HALF.quantize(RNG.normal(size=(2, 1, 3, 9))), TO_HALF.quantize(RNG.normal(size=(9, 5)))


def same(found: np.ndarray, wanted: np.ndarray) -> bool:
    return found.dtype == wanted.dtype and found.shape == wanted.shape and found.tobytes() == wanted.tobytes()


def rounded(quantizer: Quantizer, x: np.ndarray, *, encodes: bool = False, **drawn: object) -> bool:
    wanted = (quantizer.encode if encodes else quantizer.quantize)(x, **drawn)
    out = np.zeros_like(wanted)
    device.quantize_on(quantizer, x, out, queue=QUEUE, **drawn)
    return same(out, wanted)


def multiplied(a: np.ndarray, b: np.ndarray, accumulator: Accumulator, **drawn: object) -> bool:
    found = device_products.matmul_on(a, b, accumulator, queue=QUEUE, **drawn)
    return same(found, matmul(a, b, accumulator, **drawn))


def in_pieces(a: np.ndarray, b: np.ndarray, accumulator: Accumulator, most: int, **drawn: object) -> bool:
    """A grid that reaches fewer tiles: the word of a rounding does not depend on the launch that it is in."""
    whole, device_products.MOST_TILES = device_products.MOST_TILES, most
    try:
        return multiplied(a, b, accumulator, **drawn)
    finally:
        device_products.MOST_TILES = whole


def refused(call: Callable[[], object]) -> str:
    try:
        call()
    except (ValueError, OverflowError, NotImplementedError) as error:
        return f"{type(error).__name__}: {error}"
    return "not refused"


def cases() -> dict[str, Callable[[], object]]:
    wraps = Quantizer(FixedFormat(8, 4), overflow=Overflow.WRAP)
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
        "an infinity that would wrap": lambda: refused(lambda: rounded_alone(wraps, np.where(odd != odd, 0, odd))),
        "one chain": lambda: multiplied(A, B, Accumulator(catalog.BINARY16)),
        "one chain, float64": lambda: multiplied(A, B.astype(np.float32), Accumulator(catalog.BINARY16)),
        "chunks": lambda: multiplied(A, B, lba),
        "SR in chunks": lambda: multiplied(A, B, stochastic, seed=3, stream=2**64 - 1),
        "SR in pieces by batch": lambda: in_pieces(A, B, stochastic, 1, seed=3),
        "SR in pieces by row": lambda: in_pieces(A.reshape(6, 9), B, stochastic, 1, seed=3),
        "tree": lambda: multiplied(A, B, Accumulator(catalog.E5M2, order="pairwise", block=2)),
        "Kahan": lambda: multiplied(A, B, Accumulator(catalog.E5M2, order="kahan")),
        "tree by words": lambda: multiplied(A, B, sr_tree, seed=5),
        "non-finite": lambda: refused(lambda: multiplied_alone(odd[:, :9], B, Accumulator(catalog.BINARY16))),
        "sums that overflow": lambda: refused(lambda: multiplied_alone(large, np.ones((2, 2), np.float32), ieee)),
    }


def rounded_alone(quantizer: Quantizer, x: np.ndarray) -> None:
    device.quantize_on(quantizer, x.astype(np.float32), np.zeros(x.shape, np.float32), queue=QUEUE)


def multiplied_alone(a: np.ndarray, b: np.ndarray, accumulator: Accumulator) -> None:
    device_products.matmul_on(a, b, accumulator, queue=QUEUE)


if __name__ == "__main__":
    found = {}
    for name, case in cases().items():
        begin = time.perf_counter()
        found[name] = case()
        print(f"{name}: {time.perf_counter() - begin:.1f} s", file=sys.stderr)
    print(json.dumps(found))
