"""Right accumulators in plain numpy, of parts that the mutants change."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from numerics import Accumulator, FixedFormat, FloatFormat, NanEncoding, Quantizer, Rounding, catalog
from numerics.properties import as_accumulator

from . import own
from .record import Right

OPERAND = FloatFormat(3, 2, infinities=False, nan=NanEncoding.NONE, name="e3m2")
NARROW = FloatFormat(4, 4, infinities=False, nan=NanEncoding.NONE, name="e4m4")
PRODUCT = FloatFormat(4, 3, infinities=False, nan=NanEncoding.NONE, name="e4m3")
WIDE = FloatFormat(5, 9, infinities=False, nan=NanEncoding.NONE, name="e5m9")
WHOLE = FixedFormat(8)
THREE = FloatFormat(4, 2, infinities=False, nan=NanEncoding.NONE, name="e4m2")
CHUNK, BITS = 4, 5
Array = Any
Step = Callable[[Array, Array], Array]
near = partial(own.near, fmt=NARROW)


def add(total: Array, product: Array, fmt: FloatFormat = NARROW, up: Any = own.even) -> Array:
    """The exact sum, rounded once."""
    return own.near(own.odd_sum(total, product), fmt, up)


def products(a: Array, b: Array) -> list[Array]:
    """The exact products, an array [..., M, N] for each k."""
    left, right = a.astype(np.float64), b.astype(np.float64)
    return [left[..., :, k, None] * right[..., None, k, :] for k in range(a.shape[-1])]


def zeros(a: Array, b: Array) -> Array:
    return np.zeros((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]))


def chain(a: Array, b: Array, step: Step = add, start: Any = None) -> Array:
    """s <- step(s, product), k ascending."""
    total = zeros(a, b) if start is None else start.astype(np.float64)
    for product in products(a, b):
        total = step(total, product)
    return total


def single(result: Array) -> Array:
    return result.astype(np.float32)


def chunked(a: Array, b: Array, outer: Step, step: Step = add, last: int | None = None) -> Array:
    """Chains of 4 from +0, their sums combined from left to right."""
    total = None
    for k in range(0, a.shape[-1] if last is None else last, CHUNK):
        part = chain(a[..., :, k : k + CHUNK], b[..., k : k + CHUNK, :], step)
        total = outer(zeros(a, b) if total is None else total, part)
    return zeros(a, b) if total is None else total


def _right(name: str, fn: Any, claim: Any, **claims: Any) -> Right:
    claims = {"operands": OPERAND} | claims
    return Right(name, lambda _: as_accumulator(fn, claim, **claims))


def add_rounded(total: Array, product: Array) -> Array:
    return add(total, own.near(product, PRODUCT))


def compensated(a: Array, b: Array, columns: bool = False) -> Array:
    total, rest = zeros(a, b), zeros(a, b)
    for product in products(a, b):
        if columns:  # what was left over in one column is taken off the next
            rest = np.concatenate([rest[..., -1:], rest[..., :-1]], axis=-1)
        y = add(product, -rest)
        t = add(total, y)
        rest = add(add(t, -total), -y)
        total = t
    return single(total)


def _fixed(total: Array, product: Array) -> Array:
    return np.clip(total + product, -128, 127)


def in_binary16(a: Array, b: Array, fused: bool = True) -> Array:
    def step(total: Array, product: Array) -> Array:
        exact = own.odd_sum(total, product) if fused else (total + product).astype(np.float32).astype(np.float64)
        return own.near(exact, catalog.BINARY16)

    return single(chain(a, b, step))


def by_words(a: Array, b: Array, words: Array, place: Any = lambda k: k) -> Array:
    """Sums rounded at random, a word for each k."""
    total = zeros(a, b)
    for k, product in enumerate(products(a, b)):
        low, step, part = own.split(own.odd_sum(total, product), THREE)
        up = np.floor(part * 2.0**BITS) + words[..., place(k)] >= 2.0**BITS
        total = own.saturate(low + step * up, total + product, THREE)
    return single(total)


PLAIN = _right("sequential, fused", lambda a, b: single(chain(a, b)), Accumulator(NARROW))
ROUNDED = _right(
    "products rounded first",
    lambda a, b: single(chain(a, b, add_rounded)),
    Accumulator(NARROW, product=Quantizer(PRODUCT)),
)
wide = partial(add, fmt=WIDE)
CHUNKS = _right(
    "chunks, promoted",
    lambda a, b: single(chunked(a, b, wide)),
    Accumulator(NARROW, chunk=CHUNK, outer=Accumulator(WIDE)),
)
KAHAN = _right("compensated", compensated, Accumulator(NARROW, order="kahan"))
CUT = _right(
    "cut toward zero", lambda a, b: single(chain(a, b, partial(add, up=own.down))), Accumulator(NARROW, Rounding.RTZ)
)
ADDEND = _right("starting from c", lambda a, b, c: single(chain(a, b, start=c)), Accumulator(NARROW), takes_c=True)
FIXED = _right(
    "fixed point, saturating",
    lambda a, b: single(chain(a, b, _fixed)),
    Accumulator(WHOLE, Rounding.RTZ),
    operands=FixedFormat(4),
)
HALF = _right("binary16, fused", in_binary16, Accumulator(catalog.BINARY16), operands=catalog.BINARY16)
WIDER = _right(  # operands as as_accumulator chooses them
    "fixed point of 16 bits, saturating",
    lambda a, b: single(chain(a, b, lambda s, p: np.clip(s + p, -32768, 32767))),
    Accumulator(FixedFormat(16)),
    operands=None,
)
SINGLE = _right(
    "binary32, fused",
    lambda a, b: single(chain(a, b, partial(add, fmt=catalog.BINARY32))),
    Accumulator(catalog.BINARY32),
    operands=None,
)
DRAWN = _right("sums rounded by words", by_words, Accumulator(THREE, Rounding.SR, random_bits=BITS))
