"""What blocks of many elements may become: the oracle, asked once for each different maximum and each different element.

The oracle takes some 50 us for an element in rationals. Of 100,000 elements, which lie in the same few places of their
steps under all scales, a few hundred are different once the scale is divided out; what is done here between the
oracle's answers is exact in floats, and `reference.quantize` gives the same (a test compares them).
"""

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import reference
from ..formats import BlockFormat, FixedFormat, FloatFormat, ScaleRule
from ..reference import block as oracle
from ..rounding import Overflow, Rounding
from .law import part_of, rounded
from .quantizers import QuantizerUnderTest

_FINEST = -900  # exponents of a grid down to which what is far below it may stand for anything further below
_FAR = -64  # no word of 32 bits tells magnitudes so far below a step from each other


class BlockLaw(NamedTuple):
    """For each x [R, L]: what it becomes when it does not and when it does go away from zero, and how many words do that.

    low, high: of x's dtype, equal where nothing is drawn. ups: k of IEEE P3109 v4.0, 4.7.4, where words are given, else
    0. beyond: whether the scaled element lies beyond the largest one.
    """

    low: NDArray[Any]
    high: NDArray[Any]
    ups: NDArray[np.int64]
    beyond: NDArray[np.bool_]

    def under(self, words: Any, random_bits: int) -> NDArray[Any]:
        """The results under words [R, L]."""
        return np.where(self.ups + words.astype(np.int64) >= 1 << random_bits, self.high, self.low)


class _Answers:
    """What the oracle has said of elements, by their bits."""

    def __init__(self, ask: Callable[[float], tuple[float, float, int]]) -> None:
        self.ask, self.known = ask, dict[int, tuple[float, float, int]]()

    def of(self, scaled: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        bits, which = np.unique(np.ascontiguousarray(scaled).view(np.int64).reshape(-1), return_inverse=True)
        found = []
        for key, value in zip(bits.tolist(), bits.view(np.float64).tolist(), strict=True):
            if key not in self.known:
                self.known[key] = self.ask(value)
            found.append(self.known[key])
        low, high, count = (np.array(part) for part in zip(*found, strict=True))
        shaped = which.reshape(scaled.shape)
        return low[shaped].astype(np.float64), high[shaped].astype(np.float64), count[shaped].astype(np.int64)


@lru_cache(maxsize=32)
def _answers(
    fmt: FloatFormat | FixedFormat, rounding: Rounding, overflow: Overflow, random_bits: int | None, sampler: bool
) -> _Answers:
    def ask(x: float) -> tuple[float, float, int]:
        if not rounding.stochastic or not np.isfinite(x):
            value = reference.round_value(x, fmt, Rounding.RNE if not np.isfinite(x) else rounding, overflow)
            return value, value, 0
        low, high = rounded(x, fmt, overflow)
        if sampler or random_bits is None:
            return low, high, 0
        return low, high, reference.stochastic_threshold(part_of(Fraction(x), fmt, 53), rounding, random_bits)

    return _Answers(ask)


@lru_cache(maxsize=32)
def _scales(fmt: BlockFormat, policy: oracle.Policy) -> dict[tuple[float, Fraction], Fraction]:
    return {}


def _scale(amax: float, fmt: BlockFormat, policy: oracle.Policy, tensor: Fraction) -> Fraction:
    known = _scales(fmt, policy)
    if (amax, tensor) not in known:
        exact = Fraction(amax)
        if fmt.rule is ScaleRule.RATIO:
            known[amax, tensor] = oracle.fl32(oracle.ratio_scale(exact, fmt, tensor) * tensor)
        else:
            known[amax, tensor] = Fraction(2) ** oracle.shared_exponent(exact, fmt, policy.emax)
    return known[amax, tensor]


def block_law(q: QuantizerUnderTest, rows: NDArray[Any]) -> BlockLaw:
    """The law of one array, rows [R, L] with the blocks along L, the last of which may be short.

    Errors: OverflowError for what is beyond the largest element under Overflow.ERROR.
    """
    fmt = q.fmt
    assert isinstance(fmt, BlockFormat)
    bits = int(q.random_bits or 32) if q.takes_words else None
    policy = oracle.Policy(q.rounding, q.overflow, bits, q.dtype == np.float64)
    length = min(fmt.block, rows.shape[1])
    x = np.pad(rows, ((0, 0), (0, -rows.shape[1] % length))).reshape(len(rows), -1, length)
    missing, infinite = np.isnan(x), np.isinf(x)
    size = np.where(missing | infinite, 0, np.abs(x)).astype(np.float64)
    if oracle.clamps(fmt, policy):
        size[infinite] = float(policy.largest)
    amax = size.max(axis=-1)
    tensor = oracle.tensor_scale(Fraction(float(amax.max())), fmt)
    kinds, which = np.unique(amax, return_inverse=True)
    factors = np.array([float(_scale(a, fmt, policy, tensor)) for a in kinds.tolist()])[which.reshape(amax.shape)]
    factor = np.broadcast_to(factors[..., None], x.shape)
    scaled = _scaled(fmt, np.where(missing | infinite, 0, x), factor)
    scaled = np.where(infinite, x, scaled)
    low, high, count = _answers(fmt.element, q.rounding, q.overflow, bits, q.sampler).of(scaled)
    lost = missing if fmt.element.has_nan else np.broadcast_to(missing.any(axis=-1)[..., None], x.shape)
    found = [np.where(lost, np.nan, _value(fmt, q.dtype, part, factor)).astype(q.dtype) for part in (low, high)]
    beyond = (scaled > fmt.element.max) | (-scaled > -_lowest(fmt)) & ~infinite
    shape = (len(rows), -1)
    return BlockLaw(*(part.reshape(shape)[:, : rows.shape[1]] for part in (*found, count, beyond)))


def _lowest(fmt: BlockFormat) -> float:
    return fmt.element.min if isinstance(fmt.element, FixedFormat) else -fmt.element.max


def _scaled(fmt: BlockFormat, x: NDArray[Any], factor: NDArray[np.float64]) -> NDArray[np.float64]:
    """x / factor: exact under a power of two, rounded to float32 under a ratio."""
    element = fmt.element
    lowest = -element.fraction_bits if isinstance(element, FixedFormat) else element.emin - element.mantissa_bits
    zero = factor == 0
    safe = np.where(zero, 1.0, factor)
    if fmt.rule is ScaleRule.RATIO:
        with np.errstate(over="ignore", under="ignore"):
            narrow = x.astype(np.float32)
            quotient = (narrow / safe.astype(np.float32)).astype(np.float64)
        largest = float(np.finfo(np.float32).max)
        quotient = np.clip(quotient, -largest, largest)
        for at in np.argwhere(
            narrow.astype(np.float64) != x
        ).tolist():  # a float64: rounded once, from the exact quotient
            value = float(x[tuple(at)])
            magnitude = float(oracle.fl32(abs(Fraction(value)) / Fraction(float(safe[tuple(at)]))))
            quotient[tuple(at)] = np.copysign(magnitude, value)
    else:
        with np.errstate(under="ignore"):
            quotient = x.astype(np.float64) / safe
    if lowest > _FINEST:
        tiny = 2.0 ** (lowest + _FAR)
        far = (np.abs(quotient) < tiny) & (x != 0) & ((quotient != 0) | (fmt.rule is not ScaleRule.RATIO))
        quotient = np.where(far, np.copysign(tiny, x), quotient)
    result: NDArray[np.float64] = np.where(zero, np.copysign(0.0, x), quotient)
    return result


def _value(
    fmt: BlockFormat, dtype: np.dtype[Any], element: NDArray[np.float64], factor: NDArray[np.float64]
) -> NDArray[np.float64]:
    """element * factor: exact, but rounded to float32 under a ratio in arrays of it, stopping at its largest number."""
    finite = np.isfinite(element)
    product = np.where(finite, element, 0.0) * factor
    if fmt.rule is ScaleRule.RATIO and dtype == np.float32:
        largest = float(np.finfo(np.float32).max)
        with np.errstate(under="ignore"):
            product = np.clip(product, -largest, largest).astype(np.float32).astype(np.float64)
    return np.where(finite & (element != 0), product, element)
