"""The roundings of a matrix unit, their events, and the units that round at every step; rationals, by the definition."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from ..formats import FloatFormat, Subnormals
from ..rounding import Rounding
from . import floats
from .events import Tally
from .numbers import number

if TYPE_CHECKING:
    from ..matrix_unit import MatrixUnit


def split(length: int, unit: MatrixUnit) -> list[list[int]]:
    """The k of a block, group by group."""
    k = list(range(length))
    if unit.groups == "even_odd":
        return [k[::2], k[1::2]]
    if unit.groups == "bit1":
        return [[i for i in k if not i & 2], [i for i in k if i & 2]]
    return [k]


def grid(unit: MatrixUnit) -> FloatFormat:
    """The output, with underflow as the unit has it: what is flushed is rounded as if exponents were unbounded."""
    return replace(unit.output, subnormals=Subnormals.FLUSH) if unit.ftz_out else unit.output


def round_output(exact: Fraction, unit: MatrixUnit, rounding: Rounding) -> tuple[float, bool]:
    """(one rounding of a sum, whether it left the range); what becomes zero is +0 in a fused unit, else of its sign."""
    fmt = grid(unit)
    magnitude = abs(exact)
    lo, ulp = floats.lower_neighbour(magnitude, fmt)
    part = (magnitude - lo) / ulp
    odd = int(lo / ulp) % 2 == 1
    up = rounding is Rounding.RNE and (part > Fraction(1, 2) or (part == Fraction(1, 2) and odd))
    result = lo + ulp if up else lo
    if unit.ftz_out and result < Fraction(fmt.smallest_normal):
        result = Fraction(0)
    over = result > Fraction(fmt.max)
    largest = math.inf if unit.overflow_to_infinity else fmt.max
    value = largest if over else float(result)
    return -value if exact < 0 and (value or unit.tree != "fused") else value, over


def counted(exact: Fraction, summed: Fraction, unit: MatrixUnit, rounding: Rounding, tally: Tally) -> float:
    """One rounding of what was summed, and its events against the exact number."""
    value, over = round_output(summed, unit, rounding)
    tally.rounding(exact, number(value), over, grid(unit))
    return value


def add(x: float, y: float, unit: MatrixUnit, tally: Tally) -> float:
    """x + y rounded to nearest even; an exact zero has IEEE 754's sign."""
    if not (math.isfinite(x) and math.isfinite(y)):
        return x + y
    return _sum(Fraction(x), Fraction(y), x + y, unit, tally)


def _sum(x: Fraction, y: Fraction, sign: float, unit: MatrixUnit, tally: Tally) -> float:
    value = math.copysign(0.0, sign)
    if x + y:
        value = counted(x + y, x + y, unit, Rounding.RNE, tally)
    tally.sum(x, y, number(value), grid(unit))
    return value


def _multiply(x: float, y: float, unit: MatrixUnit, tally: Tally) -> float:
    if not (math.isfinite(x) and math.isfinite(y)):
        return x * y
    exact = Fraction(x) * Fraction(y)
    if not exact:
        return math.copysign(1.0, x) * math.copysign(0.0, y)
    value, over = round_output(exact, unit, Rounding.RNE)
    tally.rounding(exact, number(value), over, grid(unit), "product_")
    return value


def _multiply_add(x: float, y: float, total: float, unit: MatrixUnit, tally: Tally) -> float:
    if not (math.isfinite(x) and math.isfinite(y)):
        return x * y + total
    if not math.isfinite(total):  # whatever the product, which as a float might be infinite
        return total
    product_zero = math.copysign(0.0, math.copysign(1.0, x) * math.copysign(1.0, y))
    sign = total + product_zero if not (x and y) else 0.0
    return _sum(Fraction(total), Fraction(x) * Fraction(y), sign, unit, tally)


def stepped_block(a: Sequence[float], b: Sequence[float], c: float, unit: MatrixUnit, tally: Tally) -> float:
    """c + sum of a[k]*b[k] of one block of a sequential or pairwise unit."""
    if unit.tree == "pairwise":
        level = [_multiply(x, y, unit, tally) for x, y in zip(a, b, strict=True)]
        level += [0.0] * (unit.L - len(level))
        while len(level) > 1:
            level = [add(x, y, unit, tally) for x, y in zip(level[::2], level[1::2], strict=True)]
        return add(c, level[0], unit, tally)
    sums = []
    for part in split(len(a), unit):
        total = c if unit.c_place == "in_align" else 0.0
        for k in part:
            total = _multiply_add(a[k], b[k], total, unit, tally)
        sums.append(total)
    if unit.c_place == "in_align":
        return sums[0]
    total = sums[0]
    for part_sum in sums[1:]:
        total = add(total, part_sum, unit, tally)
    return add(c, total, unit, tally)
