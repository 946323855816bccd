"""How large sums of products become, and how many bits hold them for certain."""

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from ..accumulator import Accumulator
from ..formats import BlockFormat, FixedFormat, FloatFormat, LogFormat, PositFormat, Subnormals
from ..formats.naming import named
from .moments import exponent_of
from .roundoff import exactly, growth, lowest_bit, power_of_two, unit_roundoff
from .stages import check_quantum, check_sum, stages
from .worst_case import worst_of


@dataclass(frozen=True)
class Span:
    """Numbers from lowest to highest, all multiples of step."""

    lowest: Fraction
    highest: Fraction
    step: Fraction

    @property
    def largest(self) -> Fraction:
        """The largest magnitude."""
        return max(self.highest, -self.lowest)

    def times(self, other: "Span") -> "Span":
        """All products."""
        corners = [x * y for x in (self.lowest, self.highest) for y in (other.lowest, other.highest)]
        return Span(min(corners), max(corners), self.step * other.step)

    def plus(self, other: "Span") -> "Span":
        """All sums, and all numbers between."""
        return Span(self.lowest + other.lowest, self.highest + other.highest, min(self.step, other.step))

    def repeated(self, k: int) -> "Span":
        """All sums of up to k numbers, the empty one too: what a running sum passes."""
        return Span(k * min(self.lowest, Fraction(0)), k * max(self.highest, Fraction(0)), self.step)


def span_of(fmt: Any, amax: float | Fraction | None = None) -> Span:
    """The values of a format, or those with magnitudes up to amax: a measured maximum. Infinities left out.

    FloatFormat, FixedFormat, PositFormat (multiples of minpos), LogFormat of whole octaves (fraction_bits = 0).
    Errors: TypeError for other formats, ValueError for block formats, for logarithms with fractions (their powers are
    irrational), and for an amax that is not positive and finite, or below the format's smallest value.
    """
    if isinstance(fmt, BlockFormat):
        raise ValueError(
            f"{fmt} has a scale for each block, so its values lie on no common grid: size the sum inside a block with its"
            f" element {fmt.element}, then the sum over blocks with the products of scales that you allow"
        )
    if isinstance(fmt, LogFormat) and fmt.fraction_bits:
        raise ValueError(
            f"{fmt} has irrational powers, whose sums are never exact: give fraction_bits = 0, or decode first"
        )
    if not isinstance(fmt, FloatFormat | FixedFormat | PositFormat | LogFormat):
        raise TypeError(f"format {str(fmt)[:60]!r}: give a format record; parse_format(name) makes one from a name")
    if isinstance(fmt, FixedFormat):
        step = lowest_bit(fmt)
        full = Span(fmt.lowest_integer * step, fmt.largest_code * step, step)
    else:
        top = Fraction(fmt.max)
        full = Span(-top if fmt.signed else Fraction(0), top, _step(fmt, top))
    return full if amax is None else _limited(fmt, full, amax)


def _smallest(fmt: Any) -> Fraction:
    """The smallest positive value."""
    if isinstance(fmt, PositFormat):
        return Fraction(fmt.minpos)
    if isinstance(fmt, LogFormat):
        return Fraction(fmt.smallest)
    return Fraction(fmt.smallest_subnormal) if isinstance(fmt, FloatFormat) else lowest_bit(fmt)


def _step(fmt: Any, largest: Fraction) -> Fraction:
    """The power of two of which all values up to `largest` are multiples, and some of them odd ones."""
    smallest = _smallest(fmt)
    if not isinstance(fmt, FloatFormat):
        return smallest
    alone = largest == smallest or (fmt.mantissa_bits == 0 and fmt.subnormals is Subnormals.NORMAL_BINADE)
    return Fraction(smallest.numerator & -smallest.numerator, smallest.denominator) if alone else lowest_bit(fmt)


def _limited(fmt: Any, full: Span, amax: float | Fraction) -> Span:
    limit = exactly("amax", amax)
    if limit <= 0:
        raise ValueError(f"amax = {amax!r}: give a positive finite number, or None for the format's own largest value")
    if limit < _smallest(fmt):
        raise ValueError(f"amax = {amax!r} is below the smallest value of {fmt}: every operand would be zero")
    step = full.step
    if isinstance(fmt, FloatFormat):
        unbounded = power_of_two(exponent_of(limit) - fmt.mantissa_bits)
        step = max(step, unbounded) if fmt.subnormals is Subnormals.GRADUAL else unbounded
    elif isinstance(fmt, LogFormat):
        step = power_of_two(exponent_of(limit))
    limit = math.floor(limit / step) * step
    step = _step(fmt, limit) if isinstance(fmt, FloatFormat) else full.step
    return Span(max(full.lowest, -limit), min(full.highest, limit), step)


def fixed_bits(span: Span, *, signed: bool = True) -> int:
    """The least width of a fixed-point format with the span's step that holds all of it; attained by its ends.

    Errors: TypeError for what is no Span, ValueError for an unsigned format and a span with negative numbers.
    """
    _check_span(span)
    low, high = math.floor(span.lowest / span.step), math.ceil(span.highest / span.step)
    if not signed:
        if low < 0:
            raise ValueError(f"sums from {float(span.lowest):g} on in an unsigned format: give signed=True")
        return max(1, high.bit_length())
    return max(2, 1 + max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0))


def exact_precision(span: Span) -> int:
    """The least precision p in which every multiple of the step within the span is a float: largest <= 2**p steps.

    With gradual underflow at the step. Sufficient for any set of operands; least for those whose sums reach an odd
    number of steps above 2**(p - 1), as those of at least two products with room for a single step do.
    Errors: TypeError for what is no Span.
    """
    _check_span(span)
    return max(1, (math.ceil(span.largest / span.step) - 1).bit_length())


def _check_span(span: Any) -> None:
    if not isinstance(span, Span):
        raise TypeError(f"span {named(span)}: give a Span, as span_of(format) and its products and sums are")


def never_overflows(
    accumulator: Accumulator,
    k: int,
    product: float | Fraction,
    *,
    c: float | Fraction = 0,
    total: float | Fraction | None = None,
    quantum: Fraction | None = None,
) -> bool:
    """Whether no rounding of c + sum of k products exceeds the largest value, products and c up to these magnitudes.

    total: a bound on the sum of the products' magnitudes where it is below k product. quantum: as in `error_bound`.
    Sufficient in every order and mode: every rounded partial sum is at most (1 + F)(sum of magnitudes) + underflow,
    with the F of `error_bound`, stage by stage; where no sum is rounded, and toward zero, the sum of magnitudes itself
    is enough, and then it is necessary too, for operands of any sign.
    Errors: TypeError for what is no Accumulator; ValueError for a k or magnitudes that are negative or no numbers, and
    for a Kahan chain too long for its bound.
    Tests: test_sizing.py.
    """
    k = check_sum(accumulator, k)
    if not all(math.isfinite(x) for x in (product, c, total) if isinstance(x, float)):
        raise ValueError(f"product = {product!r}, c = {c!r}, total = {total!r}: give magnitudes, finite numbers")
    quantum = check_quantum(quantum)
    largest, start = exactly("product", product), exactly("c", c)
    whole = k * largest if total is None else min(k * largest, exactly("total", total))
    if min(largest, start, whole) < 0:
        raise ValueError(f"product = {product!r}, c = {c!r}, total = {total!r}: give magnitudes, at least 0")
    if accumulator.product is not None and k:
        rounded, stage = accumulator.product, stages(accumulator, k, quantum=quantum)[0]
        assert isinstance(rounded.fmt, FloatFormat | FixedFormat)
        if not stage.step.truncates:
            factor, absolute, *_ = worst_of(stage)
            largest, whole = (1 + factor) * largest + absolute / k, (1 + factor) * whole + absolute
        if largest > span_of(rounded.fmt).highest:
            return False
        quantum = _common(lowest_bit(rounded.fmt), quantum, start)
    if accumulator.chunk is None or not k:
        bare = replace(accumulator if k else accumulator.combining, product=None)
        factor, absolute = _growth(bare, k, whole + start, bool(start), quantum)
        return (1 + factor) * (whole + start) + absolute <= _top(bare)
    n, count, inner = min(accumulator.chunk, k), -(-k // accumulator.chunk), accumulator.inner
    part = min(n * largest, whole)
    factor, absolute = _growth(replace(inner, product=None), n, part, False, quantum)
    if (1 + factor) * part + absolute > _top(inner):
        return False
    last, whole = accumulator.combining, (1 + factor) * whole + count * absolute + start
    kept = _common(lowest_bit(inner.format), quantum, start)
    factor, absolute = _growth(last, count, whole, bool(start), kept)
    return (1 + factor) * whole + absolute <= _top(last)


def _common(step: Fraction, quantum: Fraction | None, start: Fraction) -> Fraction | None:
    """What numbers rounded to a grid of `step` and the start value are all multiples of, None where that is unknown."""
    whole = quantum is not None and (quantum / step).denominator == 1
    if whole and quantum is not None and quantum == power_of_two(exponent_of(quantum)):
        return quantum  # rounding to a power of two keeps multiples of a larger one
    return step if whole or not start else None


def _top(accumulator: Accumulator) -> Fraction:
    return span_of(accumulator.format).highest


def _growth(
    accumulator: Accumulator, k: int, exact: Fraction, c: bool, quantum: Fraction | None
) -> tuple[Fraction, Fraction]:
    """(F, A): every rounded number of an unchunked sum of k numbers is at most (1 + F) exact + A.

    exact: the sum of their magnitudes, which are multiples of `quantum`.
    """
    if quantum is not None and exact <= _exact_below(accumulator, quantum):
        return Fraction(0), Fraction(0)
    factor, absolute = Fraction(0), Fraction(0)
    for stage in stages(accumulator, k, c=c, quantum=quantum):
        if not stage.step.truncates or stage.kind == "kahan":
            more, added, *_ = worst_of(stage)
            factor, absolute = (1 + factor) * (1 + more) - 1, (1 + more) * absolute + added
    if accumulator.order == "kahan":  # its differences pass through up to three more roundings than the sum
        more = growth(3, unit_roundoff(accumulator.format, accumulator.rounding))
        factor, absolute = (1 + factor) * more - 1, absolute * more
    return factor, absolute


def _exact_below(accumulator: Accumulator, quantum: Fraction) -> Fraction:
    """Up to where all multiples of quantum are members of the format."""
    fmt = accumulator.format
    if (quantum / lowest_bit(fmt)).denominator != 1:
        return Fraction(0)
    if isinstance(fmt, FixedFormat):
        return span_of(fmt).highest
    return Fraction(0) if fmt.subnormals is not Subnormals.GRADUAL else quantum * power_of_two(fmt.precision)
