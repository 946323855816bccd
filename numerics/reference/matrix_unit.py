"""The block dot product of a matrix unit, by the definition of its fields: rationals, one output at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..formats import FloatFormat
from . import floats
from .decision import floor_log2
from .events import Tally
from .numbers import Exact, as_float, number
from .products import Steps, add_numbers, rounded
from .unit_steps import add, counted, split, stepped_block
from .values import floating, round_value

if TYPE_CHECKING:
    from ..matrix_unit import MatrixUnit

_TWO = Fraction(2)


@dataclass(frozen=True)
class Term:
    """A nonzero value and the exponent by which it is aligned."""

    value: Fraction
    exponent: int


def exponent_of(x: float, fmt: FloatFormat) -> int:
    """Exponent of a nonzero value of the format: that of its leading bit, of subnormals emin."""
    return max(floor_log2(abs(Fraction(x))), fmt.emin)


def cut(value: Fraction, exponent: int, bits: int, how: str) -> Fraction:
    """value as a multiple of 2**(exponent - bits): toward zero ("rz") or down ("floor")."""
    step = _TWO ** (exponent - bits)
    return (math.floor(value / step) if how == "floor" else math.trunc(value / step)) * step


def significand_terms(a: Sequence[float], b: Sequence[float], unit: MatrixUnit) -> list[Term]:
    """The nonzero products of one block, or of one group of it."""
    terms = []
    for x, y in zip(a, b, strict=True):
        if x and y:
            exponent = exponent_of(x, unit.inputs[0]) + exponent_of(y, unit.inputs[1])
            value = Fraction(x) * Fraction(y)
            terms.append(Term(value, floor_log2(abs(value)) if unit.prodnorm else exponent))
    return terms


def scaled_terms(
    a: Sequence[float], b: Sequence[float], scales: Sequence[tuple[float, float]], unit: MatrixUnit
) -> list[Term]:
    """The terms of one block under scales, one pair for each k: products, or exact sums of groups of products."""
    assert unit.scale is not None
    terms = []
    for start in range(0, len(a), unit.exact_group):
        stop = min(start + unit.exact_group, len(a))
        left, right = scales[start]
        products = significand_terms(a[start:stop], b[start:stop], unit)
        if not products or not left or not right:
            continue
        shift = exponent_of(left, unit.scale) + exponent_of(right, unit.scale)
        value = sum((term.value for term in products), Fraction(0)) * Fraction(left) * Fraction(right)
        exponent = shift if unit.exact_group > 1 else shift + products[0].exponent
        terms.append(Term(value, floor_log2(abs(value)) if unit.prodnorm else exponent))
    return terms


def vanishes(value: Fraction, exponent: int, bits: int) -> bool:
    """Whether the cut leaves no bit of a value that is not zero."""
    return 0 < abs(value) < _TWO ** (exponent - bits)


class Aligned(NamedTuple):
    """The sum of terms that were cut, the exponent they were aligned by, None of no terms; whether one vanished."""

    value: Fraction
    exponent: int | None
    lost: bool


def aligned_sum(terms: Sequence[Term], bits: int, how: str, floor: int | None) -> Aligned:
    """The terms cut to `bits` below the largest exponent, and added."""
    if not terms:
        return Aligned(Fraction(0), None, False)
    largest = max(term.exponent for term in terms)
    largest = largest if floor is None else max(largest, floor)
    total = sum((cut(term.value, largest, bits, how) for term in terms), Fraction(0))
    return Aligned(total, largest, any(vanishes(term.value, largest, bits) for term in terms))


def late_sum(groups: Sequence[Sequence[Term]], c: float, unit: MatrixUnit) -> Aligned:
    """The groups' sums aligned with each other, cut and added; then the same with c."""
    assert unit.F is not None and unit.F2 is not None and unit.Fc is not None
    sums = [aligned_sum(terms, unit.F, unit.ar, None) for terms in groups]
    lost = any(group.lost for group in sums)
    exponents = [group.exponent for group in sums if group.exponent is not None]
    products = Fraction(0)
    if exponents:
        products = sum((cut(group.value, max(exponents), unit.F, unit.group_ar) for group in sums), Fraction(0))
        lost |= any(vanishes(group.value, max(exponents), unit.F) for group in sums)
    if c:
        exponents.append(exponent_of(c, unit.addend))
    if not exponents:
        return Aligned(Fraction(0), None, False)
    largest = max(exponents) if unit.Emin_floor is None else max(*exponents, unit.Emin_floor)
    addend = Fraction(0)
    if c and (unit.c_reach is None or exponent_of(c, unit.addend) >= largest - unit.c_reach):
        addend = cut(Fraction(c), largest, unit.Fc, "floor")
        lost |= vanishes(Fraction(c), largest, unit.Fc)
    else:
        lost |= c != 0
    lost |= vanishes(products, largest, unit.F2)
    return Aligned(cut(products, largest, unit.F2, "floor") + addend, largest, lost)


def _special(a: Sequence[float], b: Sequence[float], c: float, unit: MatrixUnit) -> float | None:
    """What infinite or NaN terms add up to; None where all are finite."""
    total = 0.0
    for x, y in zip(a, b, strict=True):
        product = x * y
        if unit.product_limit is not None and math.isfinite(product) and abs(product) >= 2.0**unit.product_limit:
            product = math.copysign(math.inf, product)
        total += 0.0 if math.isfinite(product) else product
    total += 0.0 if math.isfinite(c) else c
    return None if math.isfinite(total) else total


def fused_block(
    a: Sequence[float],
    b: Sequence[float],
    scales: Sequence[tuple[float, float]] | None,
    c: float,
    unit: MatrixUnit,
    tally: Tally,
) -> float:
    """c + sum of a[k]*b[k] of one block of a fused unit."""
    weighted = a if scales is None else [x * s for x, (s, _) in zip(a, scales, strict=True)]
    other = b if scales is None else [y * s for y, (_, s) in zip(b, scales, strict=True)]
    apart = unit.c_place == "separate_add"
    special = _special(weighted, other, 0.0 if apart else c, unit)
    if special is not None:
        return c + special if apart else special
    pieces = [([a[i] for i in part], [b[i] for i in part], part) for part in split(len(a), unit)]
    groups = [
        significand_terms(x, y, unit) if scales is None else scaled_terms(x, y, [scales[i] for i in part], unit)
        for x, y, part in pieces
    ]
    if unit.c_place == "late":
        return _one_rounding(c, [term for terms in groups for term in terms], late_sum(groups, c, unit), unit, tally)
    total = 0.0 if apart else c
    for terms in groups:
        if math.isfinite(total):
            addend = [Term(Fraction(total), exponent_of(total, unit.addend))] if total else []
            total = _one_rounding(total, terms, _block_sum([*terms, *addend], unit), unit, tally)
    return add(c, total, unit, tally) if apart else total


def _block_sum(terms: Sequence[Term], unit: MatrixUnit) -> Aligned:
    if unit.ar == "exact":
        return Aligned(sum((term.value for term in terms), Fraction(0)), None, False)
    assert unit.F is not None
    return aligned_sum(terms, unit.F, unit.ar, unit.Emin_floor)


def _one_rounding(total: float, terms: Sequence[Term], summed: Aligned, unit: MatrixUnit, tally: Tally) -> float:
    """The sum of a block rounded, and its events against the running total and the exact sum of the products."""
    products = sum((term.value for term in terms), Fraction(0))
    value = counted(Fraction(total) + products, summed.value, unit, unit.rounding, tally)
    tally.block(Fraction(total), products, number(value), summed.lost)
    return value


def _operand(x: float, fmt: FloatFormat, unit: MatrixUnit) -> float:
    if unit.tf32_trunc and math.isfinite(x):
        x = math.copysign(float(floats.lower_neighbour(abs(Fraction(x)), fmt)[0]), x)
    if unit.ftz_in != "keep" and abs(x) < fmt.smallest_normal:
        return 0.0 if unit.ftz_in == "positive" else math.copysign(0.0, x)
    return x


def unit_dot(
    a: Sequence[float],
    b: Sequence[float],
    unit: MatrixUnit,
    c: float = 0.0,
    scales: Sequence[tuple[float, float]] | None = None,
    tally: Tally | None = None,
) -> float:
    """c + sum of a[k]*b[k], k ascending, as the unit says; scales: those of a[k] and b[k], for each k."""
    tally = tally or Tally()
    if unit.chunk is not None and unit.outer is not None:
        plain, steps, sum_ = unit.without_chunk, Steps(tally=tally), number(c)
        for k in range(0, len(a), unit.chunk):
            piece = None if scales is None else scales[k : k + unit.chunk]
            part = unit_dot(a[k : k + unit.chunk], b[k : k + unit.chunk], plain, 0.0, piece, tally)
            sum_ = add_numbers(sum_, number(part), unit.outer, steps)
        if len(a) == 0 and isinstance(sum_, Exact):
            sum_ = rounded(sum_, unit.outer, unit.outer.format, steps, None)
        elif len(a) == 0:
            return round_value(c, unit.outer.format, unit.outer.rounding, unit.outer.overflow)
        return as_float(sum_)
    left = [_operand(x, unit.inputs[0], unit) for x in a]
    right = [_operand(x, unit.inputs[1], unit) for x in b]
    total = math.copysign(0.0, c) if unit.ftz_in != "keep" and abs(c) < unit.addend.smallest_normal else c
    total = 0.0 if unit.ftz_in == "positive" and not total else total
    if not left:
        if not total:
            return total if unit.output.has_negative_zero else 0.0
        if not math.isfinite(total):
            return total
        return counted(Fraction(total), Fraction(total), unit, unit.rounding, tally)
    for k in range(0, len(left), unit.L):
        x, y = left[k : k + unit.L], right[k : k + unit.L]
        if unit.tree == "fused":
            total = fused_block(x, y, None if scales is None else scales[k : k + unit.L], total, unit, tally)
        else:
            total = stepped_block(x, y, total, unit, tally)
    return total


def unit_matmul(
    a: Any,
    b: Any,
    unit: MatrixUnit,
    *,
    c: Any = None,
    scale_a: Any = None,
    scale_b: Any = None,
    events: bool = False,
) -> Any:
    """`numerics.matmul` with a matrix unit by the definition: a [..., M, K], b [..., K, N], c, scales as there.

    events=True: (result, {name: counts [..., M, N]}).
    """
    left, right = floating(a, "a"), floating(b, "b")
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    shape = (*batch, left.shape[-2], right.shape[-1])
    start = np.broadcast_to(np.zeros(()) if c is None else np.asarray(c), shape)
    dtype = np.result_type(left, right)
    left = np.broadcast_to(left, (*batch, *left.shape[-2:]))
    right = np.broadcast_to(right, (*batch, *right.shape[-2:]))
    scaled = unit.scale_block is not None
    if scaled:
        scale_a, scale_b = (np.asarray(s) for s in (scale_a, scale_b))
        scale_a = np.broadcast_to(scale_a, (*batch, *scale_a.shape[-2:]))
        scale_b = np.broadcast_to(scale_b, (*batch, *scale_b.shape[-2:]))
    out = np.empty(shape, dtype)
    counts: dict[str, NDArray[np.int64]] = {name: np.zeros(shape, np.int64) for name in Tally.NAMES}
    for index in np.ndindex(*shape):
        *outer, i, j = index
        row = [float(x) for x in left[(*outer, i)]]
        column = [float(x) for x in right[(*outer, slice(None), j)]]
        scales = None
        if scaled:
            assert unit.scale_block is not None
            blocks = [k // unit.scale_block for k in range(len(row))]
            scales = [(float(scale_a[(*outer, i, n)]), float(scale_b[(*outer, n, j)])) for n in blocks]
        tally = Tally()
        out[index] = unit_dot(row, column, unit, float(start[index]), scales, tally)
        for name in counts:
            counts[name][index] = tally.counts[name]
    return (out, counts) if events else out
