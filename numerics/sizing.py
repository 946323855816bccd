"""How many bits an accumulator needs: for sums without any error, or within a given one."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from .accumulator import Accumulator
from .formats import FixedFormat, FloatFormat, Subnormals
from .formats.integers import whole
from .rounding import Rounding
from .theory.overflow import Span, exact_precision, fixed_bits, never_overflows, span_of
from .theory.probabilistic import probabilistic_error_bound
from .theory.roundoff import exactly, power_of_two, real
from .theory.worst_case import ErrorBound, error_bound

_MOST_PRECISION = 53
_BEYOND_FLOAT64, _LEAST_EXPONENT = 2**1023, -1074


@dataclass(frozen=True)
class AccumulatorSize:
    """What a sum of k products needs.

    format_a, format_b: the operands' formats in words, k: how many products are added. product, total: the span of one
    product, and of every running sum. exact_bits, fraction_bits: the fixed-point width that neither overflows nor
    rounds, whatever the operands and the order; product_bits: that of one product. exact_precision: significant bits of
    a float for the same. float_format: the narrowest float that never overflows or underflows and keeps
    `relative_error`, or with none asked for is exact; None where it would need more than 53 bits of precision or
    exponents that float64 lacks. bound: its error.
    target: the format of the accumulator asked about, in words, "" without one. fits: whether that never overflows;
    target_exact: whether its sums are exact; target_bound: its error. The three are None without a target.
    """

    format_a: str
    format_b: str
    k: int
    product: Span
    total: Span
    exact_bits: int
    fraction_bits: int
    product_bits: int
    exact_precision: int
    float_format: FloatFormat | None
    bound: ErrorBound | None
    relative_error: float | None
    target: str
    fits: bool | None
    target_exact: bool | None
    target_bound: ErrorBound | None

    @property
    def growth_bits(self) -> int:
        """Bits that summation adds to those of one product."""
        return self.exact_bits - self.product_bits

    @property
    def fixed_format(self) -> FixedFormat | None:
        """The exact fixed-point accumulator as a format, None where it is wider than 64 bits."""
        signed = self.total.lowest < 0
        return FixedFormat(self.exact_bits, self.fraction_bits, signed=signed) if self.exact_bits <= 64 else None

    def summary(self) -> str:
        """A table for readers."""
        rows = [
            ("sum", f"{self.k} products of {self.format_a} and {self.format_b}"),
            ("running sums", f"{_shown(self.total.lowest)} to {_shown(self.total.highest)}"),
            ("in steps of", f"2**{-self.fraction_bits}"),
            ("exact, fixed point", f"{self.exact_bits} bits, {self.fraction_bits} of them fraction"),
            ("of these", f"{self.product_bits} for a product, {self.growth_bits} for growth"),
            ("exact, floating point", f"{self.exact_precision} bits of precision"),
        ]
        wanted = "exact float" if self.relative_error is None else f"float within {float(self.relative_error):g}"
        fmt = self.float_format
        shown = f"more than {_MOST_PRECISION} bits of precision, or more than float64's range"
        if fmt is not None:
            shown = f"e{fmt.exponent_bits}m{fmt.mantissa_bits}, bias {fmt.bias} ({fmt.bits} bits)"
        rows.append((wanted, shown))
        if self.bound is not None and self.relative_error is not None:
            rows.append(("its error", str(self.bound)))
        if self.fits is not None:
            rows.append((self.target, "never overflows" if self.fits else "may overflow"))
            rows.append(("its sums", "exact" if self.target_exact else "may be rounded"))
        if self.target_bound is not None and not self.target_exact:
            rows.append(("its error", str(self.target_bound)))
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {text}" for name, text in rows)

    def __str__(self) -> str:
        return self.summary()


def _shown(x: Fraction) -> str:
    """The end of a span to be read; beyond float64 the power of two that it is below in magnitude."""
    if abs(x) < _BEYOND_FLOAT64:
        return f"{float(x):g}"
    return f"{'-' * (x < 0)}2**{math.ceil(abs(x)).bit_length()}"


class _Sum(NamedTuple):
    """The sum to be held: its length, one product, sums of products, the start value, everything; spans."""

    k: int
    product: Span
    sums: Span
    start: Span | None
    total: Span

    def held_by(self, accumulator: Accumulator) -> bool:
        """Whether the accumulator never overflows."""
        c = Fraction(0) if self.start is None else self.start.largest
        largest, whole = self.product.largest, self.sums.largest
        return never_overflows(accumulator, self.k, largest, c=c, total=whole, quantum=self.total.step)

    def bound(self, accumulator: Accumulator, failure_probability: float | None) -> ErrorBound:
        """The accumulator's error."""
        c, quantum = self.start is not None, self.total.step
        if failure_probability is None or not accumulator.stochastic:
            return error_bound(accumulator, self.k, c=c, quantum=quantum)
        return probabilistic_error_bound(
            accumulator, self.k, failure_probability=failure_probability, c=c, quantum=quantum
        )


def size_accumulator(
    format_a: Any,
    format_b: Any,
    k: int,
    *,
    c_format: Any = None,
    amax_a: float | None = None,
    amax_b: float | None = None,
    amax_c: float | None = None,
    l1_b: float | None = None,
    rounding: Rounding = Rounding.RNE,
    random_bits: int | None = None,
    order: str = "sequential",
    chunk: int | None = None,
    block: int | None = None,
    relative_error: float | None = None,
    failure_probability: float | None = None,
    target: Accumulator | FloatFormat | FixedFormat | None = None,
) -> AccumulatorSize:
    """How many bits the accumulator of c + sum of k products a b needs, for operands that are members of the formats.

    amax_a, amax_b, amax_c: measured largest magnitudes, in place of the formats' own; l1_b: the largest sum |b| of a
    row of b, such as trained weights, which then bounds sums by amax_a l1_b whatever k is (A2Q's bound). rounding,
    random_bits, order, chunk, block: of the float accumulator, whose products are exact. relative_error: its error
    over sum |a b| + |c|; worst case, or in a stochastic mode but for failure_probability. target: an accumulator (or
    its format, with that rounding and order) to be judged.
    Exact widths hold for every order and are least: all operands at the ends of their ranges, of suitable signs, need
    them (with l1_b: and rows of one sign).
    Formats: FloatFormat, FixedFormat, PositFormat (the width is its quire's without guard bits), LogFormat with
    fraction_bits = 0. Infinities and NaNs left out.
    Errors: TypeError and ValueError as in `span_of`; ValueError for k < 1 and for bounds that cannot be asked for;
    as Accumulator, for its options.
    Sources: Kulisch, Computer Arithmetic and Validity, 2013 (exact accumulation); Colbert, Pappalardo and
    Petri-Koenig, A2Q, ICCV 2023, arXiv 2308.13504 (l1_b); error bounds: `theory.error_bound`.
    Tests: test_sizing.py, where one bit less overflows.
    """
    depth = whole(k)
    if depth is None or depth < 1:
        raise ValueError(f"k = {k!r}: give the number of products of a sum, at least 1")
    k = depth
    design: dict[str, Any] = {
        "rounding": rounding,
        "order": order,
        "chunk": chunk,
        "block": block,
        "random_bits": random_bits,
    }
    if amax_c is not None and c_format is None:
        raise ValueError(f"amax_c = {amax_c!r} of no c: give c_format= as well")
    Accumulator(FloatFormat(9, 1), **design)  # refuses what is none, whatever is asked of it
    _check_asked(rounding, relative_error, failure_probability)
    a, b = span_of(format_a, amax_a), span_of(format_b, amax_b)
    product = a.times(b)
    sums = product.repeated(k) if l1_b is None else _within_l1(a, b, product.repeated(k), l1_b)
    start = None if c_format is None else span_of(c_format, amax_c)
    demand = _Sum(k, product, sums, start, sums if start is None else sums.plus(start.repeated(1)))
    total = demand.total
    allowed = None if relative_error is None else exactly("relative_error", relative_error)
    precision, bound = _precision(demand, design, allowed, failure_probability)
    judged = target if isinstance(target, Accumulator) or target is None else Accumulator(target, **design)
    is_exact = None if judged is None else _is_exact(judged, total)
    return AccumulatorSize(
        format_a=str(format_a),
        format_b=str(format_b),
        k=k,
        product=product,
        total=total,
        exact_bits=fixed_bits(total, signed=total.lowest < 0),
        fraction_bits=total.step.denominator.bit_length() - total.step.numerator.bit_length(),
        product_bits=fixed_bits(product.repeated(1), signed=product.lowest < 0),
        exact_precision=exact_precision(total),
        float_format=None if precision is None else _safe(precision, demand, design, bound is None),
        bound=bound,
        relative_error=relative_error,
        target="" if judged is None else str(judged.format),
        fits=None if judged is None else is_exact or demand.held_by(judged),
        target_exact=is_exact,
        target_bound=None if judged is None else demand.bound(judged, failure_probability),
    )


def _check_asked(rounding: Rounding, relative_error: float | None, failure_probability: float | None) -> None:
    if relative_error is not None and not 0 < real("relative_error", relative_error) < math.inf:
        raise ValueError(f"relative_error = {relative_error!r}: give a positive number, or None for sums without error")
    if failure_probability is not None and not 0 < real("failure_probability", failure_probability) < 1:
        raise ValueError(f"failure_probability = {failure_probability!r}: give a number between 0 and 1, or None")
    if failure_probability is not None and not rounding.stochastic:
        raise ValueError(
            f"failure_probability = {failure_probability!r} with {rounding.name}: nothing is random; give SR, SR_B or SR_C"
        )


def _within_l1(a: Span, b: Span, total: Span, l1: float) -> Span:
    bound = exactly("l1_b", l1)
    if bound < b.step:
        raise ValueError(
            f"l1_b = {l1!r}: give the largest sum of |b|, or None; with less than the smallest b every sum would be zero"
        )
    # The largest a for each sign that b may have; the smallest likewise.
    up = max(a.highest if b.highest > 0 else Fraction(0), -a.lowest if b.lowest < 0 else Fraction(0))
    down = max(-a.lowest if b.highest > 0 else Fraction(0), a.highest if b.lowest < 0 else Fraction(0))
    high, low = (math.floor(side * bound / total.step) * total.step for side in (up, down))
    return Span(max(total.lowest, -low), min(total.highest, high), total.step)


def _precision(
    demand: _Sum, design: dict[str, Any], relative_error: Fraction | None, failure_probability: float | None
) -> tuple[int | None, ErrorBound | None]:
    """The least precision, and its bound; exact sums where no error is allowed, or where they come first."""
    exact = exact_precision(demand.total)
    for precision in range(1, min(exact, _MOST_PRECISION + 1) if relative_error is not None else 1):
        # Wide exponents, on which every number asked for lies: only the precision counts here.
        trial = Accumulator(FloatFormat(9, precision - 1, infinities=False), **design)
        try:
            bound = demand._replace(total=_whole(demand.total)).bound(trial, failure_probability)
        except ValueError:
            continue  # a Kahan sum too long for so few bits
        if relative_error is not None and max(bound.products, bound.addend) <= relative_error:
            return precision, bound
    return (exact if exact <= _MOST_PRECISION else None), None


def _whole(total: Span) -> Span:
    return Span(total.lowest, total.highest, Fraction(1))


def _safe(precision: int, demand: _Sum, design: dict[str, Any], exact: bool) -> FloatFormat | None:
    """The narrowest float of this precision that never overflows, whatever the random words; None beyond float64."""
    largest = demand.total.largest
    while True:
        fmt = _narrowest(precision, largest, demand.total.step)
        if fmt is None or exact or demand.held_by(Accumulator(fmt, **design)):
            return fmt
        largest *= 2


def _narrowest(precision: int, largest: Fraction, step: Fraction) -> FloatFormat | None:
    """The float of this precision, with infinities, that holds `step` and whose largest value is at least `largest`.

    None where float64 does not hold all its values.
    """
    mantissa_bits = precision - 1
    top = 0
    while (2 - power_of_two(-mantissa_bits)) * power_of_two(top) < largest:
        top += 1
    while top > -1100 and (2 - power_of_two(-mantissa_bits)) * power_of_two(top - 1) >= largest:
        top -= 1
    bottom = step.numerator.bit_length() - step.denominator.bit_length() + mantissa_bits  # lowest exponent of normals
    exponent_bits = 2
    while (1 << exponent_bits) - 2 < top - bottom + 1:
        exponent_bits += 1
    exponents = (1 << exponent_bits) - 2
    top = max(
        top, _LEAST_EXPONENT + mantissa_bits + exponents - 1
    )  # spare exponents are above, where float64 ends below
    if top > 1023 or bottom - mantissa_bits < _LEAST_EXPONENT:
        return None
    if mantissa_bits == 0:
        return FloatFormat(exponent_bits, 0, exponents - top, infinities=False)
    return FloatFormat(exponent_bits, mantissa_bits, exponents - top)


def _is_exact(accumulator: Accumulator, total: Span) -> bool:
    """Whether every running sum is a member of the accumulator's formats."""
    if accumulator.product is not None and not _holds_all(accumulator.product.fmt, total):
        return False
    return all(_holds_all(part.format, total) for part in (accumulator, accumulator.combining))


def _holds_all(fmt: Any, total: Span) -> bool:
    """Whether every multiple of the step within the span is a member."""
    span = span_of(fmt)
    inside = span.lowest <= total.lowest and total.highest <= span.highest
    aligned = (total.step / span.step).denominator == 1
    gradual = isinstance(fmt, FixedFormat) or fmt.subnormals is Subnormals.GRADUAL
    return inside and aligned and gradual and (isinstance(fmt, FixedFormat) or exact_precision(total) <= fmt.precision)
