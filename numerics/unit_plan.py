"""How a matrix unit's product is laid out: the ranges and the order of k, and the facts of the scalar loop."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .kernels import matrix_unit as general
from .kernels import modes, unit_decode
from .matrix_unit import MatrixUnit
from .rounding import Rounding
from .unit_operands import Operand

_UNLIMITED = 1 << 20


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
