"""Arithmetic on codes of logarithmic formats, by the definition: exact sums of powers, compared exactly.

A signed power is (negative, k): its magnitude is 2**(k / 2**f). A code stands for one, or for zero (None).
Records are told apart by their fields: their modules reach the kernels.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

from ..formats import FixedFormat, LogFormat
from ..rounding import Overflow, Rounding, Underflow
from . import fixed
from .decision import rounds_up
from .powers import nearest_power, root_floor, sign
from .products import accumulate

if TYPE_CHECKING:
    from ..accumulator import Accumulator
    from ..logscale import LogAccumulator
    from ..quantizer import Quantizer

Power = tuple[bool, int] | None


def power_of(code: int, fmt: LogFormat) -> Power:
    """The signed power that a code stands for, None for zero."""
    magnitude = code & fmt.largest_code
    return (code != magnitude, magnitude - (fmt.bias << fmt.fraction_bits)) if magnitude else None


def _code(magnitude: int, negative: bool, fmt: LogFormat, overflow: Overflow, underflow: Underflow) -> int:
    """The code of a magnitude's place; places go on at both ends, and 0 and below is what has rounded to zero."""
    if magnitude > fmt.largest_code:
        if overflow is Overflow.ERROR:
            raise OverflowError(f"beyond {fmt.max}")
        magnitude = fmt.largest_code
    magnitude = max(magnitude, underflow.value)
    return magnitude + (1 << (fmt.bits - 1) if negative and magnitude else 0)


def _scaled(k: int, negative: bool, fmt: LogFormat, overflow: Overflow, underflow: Underflow) -> int:
    return _code(k + (fmt.bias << fmt.fraction_bits), negative, fmt, overflow, underflow)


def multiply(
    a: int, b: int, fmt: LogFormat, overflow: Overflow = Overflow.SATURATE, underflow: Underflow = Underflow.ZERO
) -> int:
    """The code of a product."""
    x, y = power_of(a, fmt), power_of(b, fmt)
    return 0 if x is None or y is None else _scaled(x[1] + y[1], x[0] != y[0], fmt, overflow, underflow)


def divide(
    a: int, b: int, fmt: LogFormat, overflow: Overflow = Overflow.SATURATE, underflow: Underflow = Underflow.ZERO
) -> int:
    """The code of a quotient. Errors: ZeroDivisionError."""
    x, y = power_of(a, fmt), power_of(b, fmt)
    if y is None:
        raise ZeroDivisionError(f"code {b}")
    return 0 if x is None else _scaled(x[1] - y[1], x[0] != y[0], fmt, overflow, underflow)


def round_sum(
    x: Power,
    y: Power,
    fmt: LogFormat,
    rounding: Rounding,
    overflow: Overflow = Overflow.SATURATE,
    underflow: Underflow = Underflow.ZERO,
) -> int:
    """The code of x + y, powers in steps of the format: the exact sum of the two, rounded once."""
    terms: dict[int, int] = {}
    for power in (x, y):
        if power is not None:
            terms[power[1]] = terms.get(power[1], 0) + (-1 if power[0] else 1)
    degree = 1 << fmt.fraction_bits
    negative = bool(terms) and sign(terms, degree) < 0
    if not terms or sign(terms, degree) == 0:
        return 0
    total = {e: -c if negative else c for e, c in terms.items()}
    first = 1 - (fmt.bias << fmt.fraction_bits)
    below = _compared(total, {first: 1}, degree) < 0
    if below and rounding is not Rounding.RNL:
        up = rounds_up(
            _side(total, {first - degree: 1}, degree),
            rounding,
            negative=negative,
            odd=False,
            word=None,
            random_bits=None,
        )
        return _code(int(up), negative, fmt, overflow, underflow)
    low = max(terms) - 1
    while _compared(total, {low: 1}, degree) < 0:  # differences may be far below
        low -= degree
    high = max(terms) + degree + 1
    while high - low > 1:  # y**low <= total < y**high
        middle = (low + high) // 2
        low, high = (middle, high) if _compared(total, {middle: 1}, degree) >= 0 else (low, middle)
    place = low + (fmt.bias << fmt.fraction_bits)
    if _compared(total, {low: 1}, degree) == 0:
        up = False
    elif rounding is Rounding.RNL:
        doubled = {2 * e: c for e, c in total.items()}  # the geometric mean is a power of the root of y
        up = _compared(doubled, {2 * low + 1: 1}, 2 * degree) > 0
    else:
        side = _side({e: 2 * c for e, c in total.items()}, {low: 1, low + 1: 1}, degree)
        up = rounds_up(side, rounding, negative=negative, odd=place % 2 == 1, word=None, random_bits=None)
    return _code(place + up, negative, fmt, overflow, underflow)


def _compared(x: dict[int, int], y: dict[int, int], degree: int) -> int:
    difference = dict(x)
    for exponent, coefficient in y.items():
        difference[exponent] = difference.get(exponent, 0) - coefficient
    return sign(difference, degree)


def _side(x: dict[int, int], middle: dict[int, int], degree: int) -> Fraction:
    """A fraction before, at or past one half, as x is before, at or past the middle."""
    return Fraction(2 + _compared(x, middle, degree), 4)


def add(
    a: int,
    b: int,
    fmt: LogFormat,
    rounding: Rounding = Rounding.RNL,
    overflow: Overflow = Overflow.SATURATE,
    underflow: Underflow = Underflow.ZERO,
) -> int:
    """The code of a sum."""
    return round_sum(power_of(a, fmt), power_of(b, fmt), fmt, rounding, overflow, underflow)


def subtract(
    a: int,
    b: int,
    fmt: LogFormat,
    rounding: Rounding = Rounding.RNL,
    overflow: Overflow = Overflow.SATURATE,
    underflow: Underflow = Underflow.ZERO,
) -> int:
    """The code of a difference."""
    y = power_of(b, fmt)
    opposite = None if y is None else (not y[0], y[1])
    return round_sum(power_of(a, fmt), opposite, fmt, rounding, overflow, underflow)


def _product(a: int, b: int, fmt: LogFormat) -> Power:
    x, y = power_of(a, fmt), power_of(b, fmt)
    return None if x is None or y is None else (x[0] != y[0], x[1] + y[1])


def dot(a: Any, b: Any, fmt: LogFormat, accumulator: LogAccumulator | Quantizer | Accumulator) -> Any:
    """One output of `logscale.matmul`: sequences of codes a [K], b [K] -> a code, or a value for an Accumulator."""
    products = [_product(int(x), int(y), fmt) for x, y in zip(a, b, strict=True)]
    f, record = fmt.fraction_bits, cast(Any, accumulator)
    if hasattr(record, "underflow"):
        return _into_log(products, f, record)
    if hasattr(record, "fmt"):
        return _into_fixed(products, f, record)
    values = [0.0 if p is None else float(nearest_power(p[1], 1 << f, 53)) * (-1) ** p[0] for p in products]
    return accumulate([1.0] * len(values), values, record)


def _into_log(products: list[Power], f: int, accumulator: LogAccumulator) -> int:
    assert accumulator.table is None
    own, total = accumulator.format, 0
    for product in products:
        finer = None if product is None else (product[0], product[1] << (own.fraction_bits - f))
        total = round_sum(
            power_of(total, own), finer, own, accumulator.rounding, accumulator.overflow, accumulator.underflow
        )
    return total


def _into_fixed(products: list[Power], f: int, accumulator: Quantizer) -> int:
    grid, held = accumulator.fmt, Fraction(0)
    assert isinstance(grid, FixedFormat)
    for product in products:
        held = fixed.round_exact(held + _on_grid(product, f, accumulator), grid, overflow=accumulator.overflow)
    return fixed.encode_value(held, grid)


def _on_grid(product: Power, f: int, accumulator: Quantizer) -> Fraction:
    """A product rounded to a fixed-point grid without ends."""
    grid = accumulator.fmt
    assert isinstance(grid, FixedFormat)
    if product is None:
        return Fraction(0)
    negative, k = product
    exponent, degree = k + (grid.fraction_bits << f), 1 << f
    low = root_floor(exponent, degree)
    if low**degree == Fraction(2) ** exponent:
        side = Fraction(0)
    else:  # against half-way: (2 low + 1) / 2
        half, doubled = Fraction(2) ** (exponent + degree), (2 * low + 1) ** degree
        side = Fraction(2 + (half > doubled) - (half < doubled), 4)
    up = rounds_up(side, accumulator.rounding, negative=negative, odd=low % 2 == 1, word=None, random_bits=None)
    return (low + up) * (-1 if negative else 1) * Fraction(2) ** -grid.fraction_bits
