"""Blocks that share a scale, by the definitions of `ScaleRule` and `BlockFormat`, in rationals."""

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..formats import BlockCodes, BlockFormat, FixedFormat, FloatFormat, ScaleRule
from ..rounding import Overflow, Rounding
from . import fixed, floats
from .decision import floor_log2

_TWO = Fraction(2)
_BINARY32 = FloatFormat(8, 23)
_LARGEST_FLOAT32 = Fraction(_BINARY32.max)


class Policy(NamedTuple):
    """How elements are rounded, and into which float type results go."""

    rounding: Rounding
    overflow: Overflow
    random_bits: int | None
    wide: bool  # float64, else float32

    @property
    def emax(self) -> int:
        """Exponent of the type's largest number."""
        return 1023 if self.wide else 127

    @property
    def largest(self) -> Fraction:
        """The type's largest number."""
        return (2 - _TWO ** (-52 if self.wide else -23)) * _TWO**self.emax


def fl32(exact: Fraction) -> Fraction:
    """A rational rounded to float32, to nearest even, stopping at the largest number."""
    return Fraction(floats.round_exact(exact, _BINARY32))


@lru_cache(maxsize=256)
def scale_powers(scale: FloatFormat) -> tuple[int, int]:
    """Exponents of the smallest and the largest power of two among the values of a format."""
    exponents = range(scale.emin - scale.mantissa_bits - 1, scale.emax + 1)
    held = [k for k in exponents if floats.round_exact(_TWO**k, scale, Rounding.RTZ) == _TWO**k]
    return held[0], held[-1]


def shared_exponent(amax: Fraction, fmt: BlockFormat, emax: int) -> int:
    """Exponent of the scale of a block under a power-of-two rule; emax: that of the array's type."""
    largest = Fraction(fmt.element.max)
    top = floor_log2(largest)
    low, high = scale_powers(fmt.scale)
    if amax == 0:
        return low
    match fmt.rule:
        case ScaleRule.FLOOR:
            wanted = floor_log2(amax) - top
        case ScaleRule.CEIL:
            wanted = floor_log2(amax) + (amax != _TWO ** floor_log2(amax)) - top
        case ScaleRule.EVEN:
            ulp = _element_ulp(largest, fmt.element) * _TWO ** (floor_log2(amax) - top)
            wanted = floor_log2(math.floor(amax / ulp + Fraction(1, 2)) * ulp) - top
        case _:
            wanted = -floor_log2(largest / amax)
    return max(low, min(wanted, high, emax - floor_log2(largest_magnitude(fmt))))


def largest_magnitude(fmt: BlockFormat) -> Fraction:
    """The largest magnitude of an element: two's complement reaches further down than up."""
    element = fmt.element
    return max(Fraction(element.max), -Fraction(element.min) if isinstance(element, FixedFormat) else Fraction(0))


def _element_ulp(largest: Fraction, element: FloatFormat | FixedFormat) -> Fraction:
    if isinstance(element, FixedFormat):
        return _TWO**-element.fraction_bits
    return floats.lower_neighbour(largest, element)[1]


def _largest_true(holds: Any) -> Fraction:
    """The largest float32 number for which a falling condition holds."""
    low, high = 0, _BINARY32.largest_code
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(Fraction(floats.decode_code(middle, _BINARY32))) else (low, middle - 1)
    return Fraction(floats.decode_code(low, _BINARY32))


@lru_cache(maxsize=64)
def tensor_limit(fmt: BlockFormat) -> Fraction:
    """The largest tensor scale under which every value fits float32."""
    element, scale = largest_magnitude(fmt), Fraction(fmt.scale.max)

    def fits(s: Fraction) -> bool:
        return scale * s <= _LARGEST_FLOAT32 and element * fl32(scale * s) <= _LARGEST_FLOAT32

    return _largest_true(fits)


@lru_cache(maxsize=64)
def scale_limit(fmt: BlockFormat) -> Fraction:
    """The largest scale under which every value fits float32."""
    limit = _LARGEST_FLOAT32 / largest_magnitude(fmt)
    return Fraction(floats.round_exact(limit, fmt.scale, Rounding.RTZ))


def tensor_scale(amax: Fraction, fmt: BlockFormat) -> Fraction:
    """Scale of the whole array; 1 where the format has none."""
    if not fmt.tensor_scale:
        return Fraction(1)
    return min(fl32(amax / (Fraction(fmt.element.max) * Fraction(fmt.scale.max))), tensor_limit(fmt))


def ratio_scale(amax: Fraction, fmt: BlockFormat, tensor: Fraction) -> Fraction:
    """Scale of a block under ScaleRule.RATIO."""
    if tensor == 0:
        ratio = Fraction(0)
    else:
        ratio = fl32(fl32(amax / Fraction(fmt.element.max)) / tensor)
    scale = Fraction(floats.round_exact(ratio, fmt.scale))
    return scale if fmt.tensor_scale else min(scale, scale_limit(fmt))


def clamps(fmt: BlockFormat, policy: Policy) -> bool:
    """Whether an infinity becomes a finite element."""
    return policy.overflow is Overflow.SATURATE or (
        policy.overflow is Overflow.PROPAGATE and not fmt.element.infinities
    )


def maximum(values: Sequence[float], fmt: BlockFormat, policy: Policy) -> Fraction:
    """The magnitude that a scale follows."""
    amax = Fraction(0)
    for x in values:
        if math.isfinite(x):
            amax = max(amax, abs(Fraction(x)))
        elif math.isinf(x) and clamps(fmt, policy):
            amax = policy.largest
    return amax


def round_block(
    values: Sequence[float], words: Sequence[int | None], fmt: BlockFormat, policy: Policy, tensor: Fraction
) -> tuple[list[float], list[float], float]:
    """(elements, values, scale) of one block; a NaN scale has elements of code 0, given as +0.

    Errors: ValueError for a NaN that nothing can hold; OverflowError under Overflow.ERROR.
    """
    element, scale_format = fmt.element, fmt.scale
    if any(math.isnan(x) for x in values) and not element.has_nan:
        if not scale_format.has_nan:
            raise ValueError(f"NaN in {fmt}, which has none")
        return [0.0] * len(values), [math.nan] * len(values), math.nan
    amax = maximum(values, fmt, policy)
    ratio = fmt.rule is ScaleRule.RATIO
    scale = ratio_scale(amax, fmt, tensor) if ratio else _TWO ** shared_exponent(amax, fmt, policy.emax)
    factor = fl32(scale * tensor) if ratio else scale
    elements = [_round_element(x, w, fmt, policy, factor) for x, w in zip(values, words, strict=True)]
    return elements, [_value(e, factor, ratio, policy) for e in elements], float(scale)


def _round_element(x: float, word: int | None, fmt: BlockFormat, policy: Policy, factor: Fraction) -> float:
    element = fmt.element
    if math.isnan(x):
        return math.nan
    if math.isinf(x):
        if isinstance(element, FixedFormat):
            return float(fixed.round_infinite(x, element, policy.overflow))
        return floats.round_infinite(x, element, policy.overflow)
    negative = math.copysign(1.0, x) < 0
    if factor == 0:
        exact = Fraction(0)
    else:
        exact = abs(Fraction(x)) / factor
        exact = fl32(exact) if fmt.rule is ScaleRule.RATIO else exact
    exact = -exact if negative else exact
    how = policy.rounding, policy.overflow
    if isinstance(element, FixedFormat):
        return float(fixed.round_exact(exact, element, *how, word=word, random_bits=policy.random_bits))
    return floats.round_exact(exact, element, *how, negative=negative, word=word, random_bits=policy.random_bits)


def _value(element: float, factor: Fraction, ratio: bool, policy: Policy) -> float:
    if not math.isfinite(element) or element == 0:
        return element
    product = Fraction(element) * factor
    if ratio and not policy.wide:
        product = fl32(product)
    return math.copysign(float(product), element)


def quantize(x: Any, fmt: BlockFormat, policy: Policy, axis: int, words: Any = None) -> NDArray[Any]:
    """Values of an array in its blocks, of the array's shape and type."""
    return _blocks(np.asarray(x), fmt, policy, axis, words)[1]


def encode(x: Any, fmt: BlockFormat, policy: Policy, axis: int, words: Any = None) -> BlockCodes:
    """Codes of an array in its blocks; Python integers in object arrays."""
    elements, _, scales, tensor = _blocks(np.asarray(x), fmt, policy, axis, words)
    element = fmt.element

    def code(value: float) -> int:
        if isinstance(element, FixedFormat):
            return fixed.encode_value(value, element)
        return floats.encode_value(value, element)

    coded = np.frompyfunc(code, 1, 1)(elements)
    return BlockCodes(coded, np.frompyfunc(lambda v: floats.encode_value(v, fmt.scale), 1, 1)(scales), tensor)


def _blocks(
    x: NDArray[Any], fmt: BlockFormat, policy: Policy, axis: int, words: Any
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], float]:
    moved = np.moveaxis(x, axis, -1)
    given = np.full(x.shape, None, object) if words is None else np.asarray(words, dtype=object)
    word_lines = np.moveaxis(given, axis, -1)
    length = moved.shape[-1]
    count = -(-length // fmt.block)
    elements, values = np.zeros(moved.shape), np.zeros(moved.shape, x.dtype)
    scales = np.zeros((*moved.shape[:-1], count))
    tensor = tensor_scale(maximum([float(v) for v in x.ravel()], fmt, policy), fmt)
    for line in np.ndindex(*moved.shape[:-1]):
        for b in range(count):
            part = (*line, slice(b * fmt.block, min((b + 1) * fmt.block, length)))
            block = [float(v) for v in moved[part]]
            drawn = [None if w is None else int(w) for w in word_lines[part]]
            elements[part], values[part], scales[(*line, b)] = round_block(block, drawn, fmt, policy, tensor)
    return (
        np.moveaxis(elements, -1, axis),
        np.ascontiguousarray(np.moveaxis(values, -1, axis)),
        np.moveaxis(scales, -1, axis),
        float(tensor),
    )
