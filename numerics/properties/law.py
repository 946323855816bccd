"""What a rounding may give at each point, and how often: by the oracle's rationals alone."""

from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import reference
from ..formats import ElementFormat, FixedFormat, FloatFormat, LogFormat, PositFormat
from ..reference.fixed import round_unbounded
from ..reference.log import neighbours
from ..reference.posit import lower_code, value_of
from ..rounding import Overflow, Rounding
from .quantizers import QuantizerUnderTest

_ALL_BITS = 2300  # no float's fraction of a step has more


class Law(NamedTuple):
    """For each x [n]: what it becomes when it does not and when it does go away from zero, and its distance in steps.

    low, high: float64, after flushing and the overflow rule; equal where x is a member, or both come to the same.
    parts: nu = (|x| - lo)/ulp as a rational in [0, 1), by the grid before flushing and overflow.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    parts: tuple[Fraction, ...]

    def counts(self, rounding: Rounding, random_bits: int) -> NDArray[np.int64]:
        """For how many of the 2**r words each x goes away from zero: k of IEEE P3109 v4.0, 4.7.4."""
        return np.array([reference.stochastic_threshold(part, rounding, random_bits) for part in self.parts], np.int64)


def law_of(subject: QuantizerUnderTest, x: NDArray[Any]) -> Law:
    """The law of a quantizer's format and overflow rule at finite x [n]."""
    precision = 24 if subject.dtype == np.float32 else 53
    return _law(subject.element, subject.overflow, precision, x.astype(np.float64).tobytes())


@lru_cache(maxsize=256)
def _law(fmt: ElementFormat, overflow: Overflow, precision: int, data: bytes) -> Law:
    xs = np.frombuffer(data, np.float64).tolist()
    ends = np.array([rounded(v, fmt, overflow, precision) for v in xs], np.float64).reshape(-1, 2)
    low, high = ends[:, 0].copy(), ends[:, 1].copy()
    return Law(low, high, tuple(part_of(Fraction(v), fmt, precision) for v in xs))


def rounded(x: float, fmt: ElementFormat, overflow: Overflow, precision: int = 53) -> tuple[float, float]:
    """What a finite x becomes when it does not and when it does go away from zero."""
    low, high = (
        reference.round_value(x, fmt, Rounding.SR, overflow, word=word, random_bits=_ALL_BITS, precision=precision)
        for word in (0, (1 << _ALL_BITS) - 1)
    )
    return low, high


def part_of(exact: Fraction, fmt: ElementFormat, precision: int) -> Fraction:
    """The distance of a magnitude to its lower neighbour, in steps of the format's grid, which has no top."""
    magnitude = abs(exact)
    if isinstance(fmt, FloatFormat):
        lo, ulp = reference.lower_neighbour(magnitude, fmt)
        return (magnitude - lo) / ulp
    if isinstance(fmt, FixedFormat):
        return magnitude * Fraction(2) ** fmt.fraction_bits % 1
    if isinstance(fmt, LogFormat):
        _, low, high = neighbours(magnitude, fmt, precision)
        return (magnitude - low) / (high - low)
    return _posit_part(magnitude, fmt)


def _posit_part(magnitude: Fraction, fmt: PositFormat) -> Fraction:
    """Posits never round to zero nor beyond the largest: there is no step there."""
    code = lower_code(magnitude, fmt.bits)
    if code in (0, fmt.largest_code):
        return Fraction(0)
    low, high = value_of(code, fmt.bits), value_of(code + 1, fmt.bits)
    assert low is not None and high is not None
    return (magnitude - low) / (high - low)


def overflows(subject: QuantizerUnderTest, x: NDArray[Any]) -> NDArray[np.bool_]:
    """Which finite x [n] the overflow rule may decide: their upper neighbour is beyond the largest value."""
    fmt = subject.element
    if isinstance(fmt, FixedFormat):
        ends = [
            [
                round_unbounded(Fraction(v), fmt, Rounding.SR, word=w, random_bits=_ALL_BITS)
                for w in (0, (1 << _ALL_BITS) - 1)
            ]
            for v in x.tolist()
        ]
        return np.array([not all(fmt.lowest_integer <= n <= fmt.largest_code for n in pair) for pair in ends], bool)
    return np.abs(x.astype(np.float64)) > fmt.max
