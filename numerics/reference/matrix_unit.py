"""The block dot product of a matrix unit, by the definition of its fields: rationals, one output at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..formats import FloatFormat
from ..rounding import Rounding
from . import floats
from .decision import floor_log2
from .products import add
from .values import round_value

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


def round_output(exact: Fraction, unit: MatrixUnit, fmt: FloatFormat, rounding: Rounding) -> float:
    """One rounding of a sum; what becomes zero is +0 in a fused unit, else a zero of its sign."""
    magnitude = abs(exact)
    lo, ulp = floats.lower_neighbour(magnitude, fmt)
    if unit.ftz_out and magnitude:  # tiny after rounding as if the exponent were unbounded
        ulp = _TWO ** (floor_log2(magnitude) - fmt.mantissa_bits)
        lo = math.floor(magnitude / ulp) * ulp
    part = (magnitude - lo) / ulp
    odd = int(lo / ulp) % 2 == 1
    up = rounding is Rounding.RNE and (part > Fraction(1, 2) or (part == Fraction(1, 2) and odd))
    result = lo + ulp if up else lo
    if unit.ftz_out and result < Fraction(fmt.smallest_normal):
        result = Fraction(0)
    over = math.inf if unit.overflow_to_infinity else fmt.max
    value = over if result > Fraction(fmt.max) else float(result)
    return -value if exact < 0 and (value or unit.tree != "fused") else value


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
        terms.append(Term(value, exponent))
    return terms


def aligned_sum(terms: Sequence[Term], bits: int, how: str, floor: int | None) -> tuple[Fraction, int | None]:
    """(sum of the terms cut to `bits` below the largest exponent, that exponent); (0, None) of no terms."""
    if not terms:
        return Fraction(0), None
    largest = max(term.exponent for term in terms)
    largest = largest if floor is None else max(largest, floor)
    return sum((cut(term.value, largest, bits, how) for term in terms), Fraction(0)), largest


def late_sum(groups: Sequence[Sequence[Term]], c: float, unit: MatrixUnit) -> Fraction:
    """The groups' sums aligned with each other, cut and added; then the same with c."""
    assert unit.F is not None and unit.F2 is not None and unit.Fc is not None
    sums = [aligned_sum(terms, unit.F, unit.ar, None) for terms in groups]
    exponents = [exponent for _, exponent in sums if exponent is not None]
    products = Fraction(0)
    if exponents:
        products = sum((cut(value, max(exponents), unit.F, unit.group_ar) for value, _ in sums), Fraction(0))
    if c:
        exponents.append(exponent_of(c, unit.addend))
    if not exponents:
        return Fraction(0)
    largest = max(exponents) if unit.Emin_floor is None else max(*exponents, unit.Emin_floor)
    addend = Fraction(0)
    if c and (unit.c_reach is None or exponent_of(c, unit.addend) >= largest - unit.c_reach):
        addend = cut(Fraction(c), largest, unit.Fc, "floor")
    return cut(products, largest, unit.F2, "floor") + addend


def split(length: int, unit: MatrixUnit) -> list[list[int]]:
    """The k of a block, group by group."""
    k = list(range(length))
    if unit.groups == "even_odd":
        return [k[::2], k[1::2]]
    if unit.groups == "bit1":
        return [[i for i in k if not i & 2], [i for i in k if i & 2]]
    return [k]


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
    a: Sequence[float], b: Sequence[float], scales: Sequence[tuple[float, float]] | None, c: float, unit: MatrixUnit
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
        return round_output(late_sum(groups, c, unit), unit, unit.output, unit.rounding)
    total = 0.0 if apart else c
    for terms in groups:
        if math.isfinite(total):
            addend = [Term(Fraction(total), exponent_of(total, unit.addend))] if total else []
            total = round_output(_block_sum([*terms, *addend], unit), unit, unit.output, unit.rounding)
    return _plain_add(c, total, unit) if apart else total


def _block_sum(terms: Sequence[Term], unit: MatrixUnit) -> Fraction:
    if unit.ar == "exact":
        return sum((term.value for term in terms), Fraction(0))
    assert unit.F is not None
    return aligned_sum(terms, unit.F, unit.ar, unit.Emin_floor)[0]


def _plain_add(x: float, y: float, unit: MatrixUnit) -> float:
    """x + y rounded to nearest even; an exact zero has IEEE 754's sign."""
    if not (math.isfinite(x) and math.isfinite(y)):
        return x + y
    return _nearest(Fraction(x) + Fraction(y), x + y, unit)


def _nearest(exact: Fraction, sign: float, unit: MatrixUnit) -> float:
    if not exact:
        return math.copysign(0.0, sign)
    return round_output(exact, unit, unit.output, Rounding.RNE)


def _multiply(x: float, y: float, unit: MatrixUnit) -> float:
    if not (math.isfinite(x) and math.isfinite(y)):
        return x * y
    sign = math.copysign(1.0, x) * math.copysign(1.0, y)
    return _nearest(Fraction(x) * Fraction(y), sign, unit)


def _multiply_add(x: float, y: float, total: float, unit: MatrixUnit) -> float:
    if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(total)):
        return x * y + total if math.isfinite(total) or not math.isfinite(x * y) else total
    product_zero = math.copysign(0.0, math.copysign(1.0, x) * math.copysign(1.0, y))
    exact = Fraction(total) + Fraction(x) * Fraction(y)
    return _nearest(exact, total + product_zero if not (x and y) else 0.0, unit)


def stepped_block(a: Sequence[float], b: Sequence[float], c: float, unit: MatrixUnit) -> float:
    """c + sum of a[k]*b[k] of one block of a sequential or pairwise unit."""
    if unit.tree == "pairwise":
        level = [_multiply(x, y, unit) for x, y in zip(a, b, strict=True)]
        level += [0.0] * (unit.L - len(level))
        while len(level) > 1:
            level = [_plain_add(x, y, unit) for x, y in zip(level[::2], level[1::2], strict=True)]
        return _plain_add(c, level[0], unit)
    sums = []
    for part in split(len(a), unit):
        total = c if unit.c_place == "in_align" else 0.0
        for k in part:
            total = _multiply_add(a[k], b[k], total, unit)
        sums.append(total)
    if unit.c_place == "in_align":
        return sums[0]
    total = sums[0]
    for part_sum in sums[1:]:
        total = _plain_add(total, part_sum, unit)
    return _plain_add(c, total, unit)


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
) -> float:
    """c + sum of a[k]*b[k], k ascending, as the unit says; scales: those of a[k] and b[k], for each k."""
    if unit.chunk is not None and unit.outer is not None:
        plain, total = unit.without_chunk, float(c)
        for k in range(0, len(a), unit.chunk):
            piece = None if scales is None else scales[k : k + unit.chunk]
            part = unit_dot(a[k : k + unit.chunk], b[k : k + unit.chunk], plain, 0.0, piece)
            total = add(total, part, unit.outer)
        return total if len(a) else round_value(total, unit.outer.format, unit.outer.rounding, unit.outer.overflow)
    left = [_operand(x, unit.inputs[0], unit) for x in a]
    right = [_operand(x, unit.inputs[1], unit) for x in b]
    total = math.copysign(0.0, c) if unit.ftz_in != "keep" and abs(c) < unit.addend.smallest_normal else c
    total = 0.0 if unit.ftz_in == "positive" and not total else total
    if not left:
        if not math.isfinite(total) or not total:
            return total
        return round_output(Fraction(total), unit, unit.output, unit.rounding)
    for k in range(0, len(left), unit.L):
        x, y = left[k : k + unit.L], right[k : k + unit.L]
        if unit.tree == "fused":
            total = fused_block(x, y, None if scales is None else scales[k : k + unit.L], total, unit)
        else:
            total = stepped_block(x, y, total, unit)
    return total


def unit_matmul(
    a: Any, b: Any, unit: MatrixUnit, *, c: Any = None, scale_a: Any = None, scale_b: Any = None
) -> NDArray[Any]:
    """`numerics.matmul` with a matrix unit by the definition: a [..., M, K], b [..., K, N], c, scales as there."""
    left, right = np.asarray(a), np.asarray(b)
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
    for index in np.ndindex(*shape):
        *outer, i, j = index
        row = [float(x) for x in left[(*outer, i)]]
        column = [float(x) for x in right[(*outer, slice(None), j)]]
        scales = None
        if scaled:
            assert unit.scale_block is not None
            blocks = [k // unit.scale_block for k in range(len(row))]
            scales = [(float(scale_a[(*outer, i, n)]), float(scale_b[(*outer, n, j)])) for n in blocks]
        out[index] = unit_dot(row, column, unit, float(start[index]), scales)
    return out
