"""How a matrix unit's product is computed: the ranges and the order of k, the vector form where it is exact, the facts."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .kernels import matrix_unit as general
from .kernels import modes, unit_decode
from .matrix_unit import MatrixUnit
from .rounding import Rounding
from .unit_operands import Operand

_UNLIMITED = 1 << 20
_LENGTHS = (4, 8, 16, 32)  # of blocks that have a vector form


class Fast(NamedTuple):
    """The loop of kernels/unit_fast.py for a call: its constants."""

    unroll: int
    groups: int
    lowest: int  # below every exponent that a block's terms can have, or the unit's own floor
    bounded: bool  # no sum can pass the largest value


@lru_cache(maxsize=64)
def arrangement(depth: int, unit: MatrixUnit) -> tuple[tuple[tuple[int, int], ...], NDArray[np.int64] | None]:
    """(ranges of k to be evaluated one after another, the k in the order of their groups or None where it is theirs).

    Fused groups lie one behind the other within each block, which is filled up with k = depth, standing for a zero.
    """
    size = unit.chunk or depth
    pieces = [(k, min(k + size, depth)) for k in range(0, depth, size)]
    if unit.tree != "fused" or unit.groups == "one":
        return tuple(pieces), None
    bit = 1 if unit.groups == "even_odd" else 2
    place = np.arange(unit.L)
    inside = np.concatenate([place[place & bit == 0], place[place & bit != 0]])
    order, ranges, first = [], [], 0
    for start, stop in pieces:
        for block in range(start, stop, unit.L):
            k = block + inside
            order.append(np.where(k < stop, k, depth))
        last = len(order) * unit.L
        ranges.append((first, last))
        first = last
    return tuple(ranges), np.concatenate(order)


def plan_fast(
    unit: MatrixUnit, a: Operand, b: Operand, c: NDArray[np.float64], ranges: tuple[tuple[int, int], ...]
) -> Fast | None:
    """Whether the vector form is exact for this call, and with which constants; None: it is not, or not known to be.

    A result is a multiple of 2**(M - F) of its block, so that its exponent, which the next block meets, is at least
    that of the lowest product or of c, less F. c: float64 [B, M, N].
    """
    magnitudes = np.abs(c[c != 0])
    if not magnitudes.size:
        return plan_vectors(unit, a, b, 0.0, None, ranges)
    return plan_vectors(unit, a, b, float(magnitudes.max()), int(np.frexp(magnitudes.min())[1]) - 1, ranges)


def plan_vectors(
    unit: MatrixUnit, a: Operand, b: Operand, largest: float, c_low: int | None, ranges: tuple[tuple[int, int], ...]
) -> Fast | None:
    """`plan_fast` by what it asks of c: its largest magnitude, and an exponent that none is below; None of zeros."""
    bits, length = unit.F or 0, unit.L if unit.groups == "one" else unit.L // 2
    unroll = 8 if length % 8 == 0 else 4
    apart, toward_zero = unit.c_place == "separate_add", unit.rounding is Rounding.RTZ
    plain = unit.ar == "rz" and not (unit.prodnorm or unit.ftz_out or unit.scale or unit.exact_group > 1)
    fits = length in _LENGTHS and 2 <= bits <= 25 and all(first % unroll == 0 for first, _ in ranges)
    ends = unit.overflow_to_infinity and (not toward_zero or unit.output.emin == -126)
    added = not apart or not toward_zero or unit.output.precision == 24
    narrow = sum(fmt.precision for fmt in unit.inputs) <= 24
    if not (plain and fits and ends and added and narrow and unit.c_place != "late" and a.finite and b.finite):
        return None
    if not largest < np.inf:
        return None
    low, high = a.lowest + b.lowest, a.highest + b.highest
    if low > high:  # an operand of nothing but zeros
        low = high = 0
    c_low = low if c_low is None else c_low
    limit = 128 if unit.product_limit is None else unit.product_limit
    exact = high + 2 <= min(limit, 128) and low >= sum(fmt.mantissa_bits for fmt in unit.inputs) - 149
    if not (exact and min(low - bits, c_low) >= bits - 127):
        return None
    floor = bits - 127 if unit.Emin_floor is None else max(bits - 127, unit.Emin_floor)
    # At most 2 * depth / length roundings, each of up to 2**-precision: together less than a factor of 2.
    depth = a.values.shape[-1]
    bounded = depth <= length << (unit.output.precision - 2)
    bounded = bounded and largest + depth * 2.0 ** (high + 2) < unit.output.max / 2
    return Fast(unroll, length // unroll, floor, bounded)


def facts_of(unit: MatrixUnit, a: Operand, b: Operand) -> NDArray[np.int64]:
    """The row of facts of kernels/matrix_unit.py."""
    point = sum(fmt.mantissa_bits - (fmt.emin if unit.exact_group > 1 else 0) for fmt in unit.inputs)
    if unit.scale is not None:
        point += 2 * unit.scale.mantissa_bits
    limited = unit.product_limit is not None and a.highest + b.highest + 2 > unit.product_limit
    slots = {
        general.DEPTH: unit.L,
        general.BITS: unit.F or 0,
        general.FLOORED: unit.ar == "floor",
        general.GROUP_FLOORED: unit.group_ar == "floor",
        general.NORMALISED: unit.prodnorm,
        general.LOWEST: unit_decode.ABSENT if unit.Emin_floor is None else unit.Emin_floor,
        general.LATE: unit.c_place == "late",
        general.APART: unit.c_place == "separate_add",
        general.SPLIT: 1 if unit.groups == "one" else 2,
        general.SUM_BITS: unit.F2 or 0,
        general.C_BITS: unit.Fc or 0,
        general.C_REACH: 4 * _UNLIMITED if unit.c_reach is None else unit.c_reach,
        general.POINT: point,
        general.GROUP: unit.exact_group,
        general.SCALED: unit.scale_block or 0,
        general.PRODUCT_LIMIT: _UNLIMITED if unit.product_limit is None else unit.product_limit,
        general.PRECISION: unit.output.precision,
        general.EMIN: unit.output.emin,
        general.NEAREST: unit.rounding is Rounding.RNE,
        general.FLUSHED: unit.ftz_out,
        general.C_MANTISSA: unit.addend.mantissa_bits,
        general.C_EMIN: unit.addend.emin,
        general.SPECIALS: limited or not (a.finite and b.finite),
    }
    row = np.zeros(modes.ROW_LENGTH, np.int64)
    for slot, value in slots.items():
        row[slot] = int(value)
    return row
