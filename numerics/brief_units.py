"""Products of few elements on matrix units: the vector form is chosen once for all operands of a kind.

As in `brief_products`: a form is proved for operands with exponents in a range that is a little wider than theirs, and None
leaves a call to the general way, scales, specials and refusals among them.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .brief import entered, keep
from .brief_products import facts_of_kinds, kinds_of, pair_of
from .formats import FloatFormat, Subnormals
from .kernels import threads, unit_decode
from .matrix_unit import MatrixUnit
from .parameters import FLOAT32, FLOAT64, Carrier
from .problem import Facts
from .unit_forms import Groups, Steps, Windows, plan_fast, plan_lanes
from .unit_kernels import Run, by_lanes, form_loop
from .unit_operands import Operand
from .unit_plan import arrangement
from .unit_products import in_chunks, step_kind

MULTIPLICATIONS = 1 << 17  # beyond which threads are worth their while
_FEW = 1 << 11  # elements, filled up, for whose places an index is kept
_LARGEST = 0xFFFFFFFF  # a bit pattern that none passes: operands are members
_NONE = np.zeros((1, 1, 0), np.int32)


#: a [M, K], b [K, N] -> [M, N] of any type.
_Product = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]


class _Unit(NamedTuple):
    """What is known of a unit, a depth and a kind of operands."""

    product: _Product
    members: "tuple[_Member, _Member]"


_UNITS: dict[Any, _Unit | None] = {}


def unit_product(a: Any, b: Any, unit: MatrixUnit) -> NDArray[Any] | None:
    """`numerics.matmul` of two small matrices on a matrix unit, or None."""
    pair = pair_of(a, b, MULTIPLICATIONS)
    if pair is None:
        return None
    a, b, carrier, first, second = pair
    depth, dtype = a.shape[1], a.dtype
    kinds = kinds_of(first, second, carrier)
    key = unit._text, depth, dtype, kinds  # type: ignore[attr-defined]
    try:
        known = _UNITS[key]
    except KeyError:
        known = keep(_UNITS, key, _known(unit, depth, carrier, facts_of_kinds(kinds, carrier)))
    if known is None:
        return None
    left, right = known.members
    if first[1] > left.largest or first[2] < left.last or second[1] > right.largest or second[2] < right.last:
        return None
    threads.check_subnormals()
    return known.product(a, b).astype(dtype, copy=False)


class _Member(NamedTuple):
    """Where the bits of an operand's elements lie, as `scan` tells it, if a unit takes them as they are."""

    largest: int  # the carrier's pattern of the largest value
    last: int  # of the lowest bit


def _member(fmt: FloatFormat, unit: MatrixUnit, carrier: Carrier) -> _Member:
    gradual = fmt.subnormals is Subnormals.GRADUAL and unit.ftz_in == "keep"
    lowest = fmt.emin - (fmt.mantissa_bits if gradual else 0)
    return _Member(int(carrier.bits(fmt.max)), lowest - carrier.quantum_exponent + 1)


def _known(unit: MatrixUnit, depth: int, carrier: Carrier, facts: tuple[Facts, Facts]) -> _Unit | None:
    fused, formats = unit.tree == "fused", unit.inputs
    if unit.scale is not None or not carrier.holds(unit.result):
        return None
    dtype = np.dtype(np.float32 if fused or unit.output.mantissa_bits == 23 else np.float64)
    inner = FLOAT32 if dtype == FLOAT32.dtype else FLOAT64
    if not all(inner.holds(fmt) and carrier.holds(fmt) and fmt.signed for fmt in formats):
        return None
    members = _member(formats[0], unit, carrier), _member(formats[1], unit, carrier)
    if any(fact.significant_bits > fmt.precision for fact, fmt in zip(facts, formats, strict=True)):
        return None
    product = _fused(unit, depth, *facts) if fused else _steps(unit, depth, dtype, *facts)
    return None if product is None else _Unit(product, members)


def _fused(unit: MatrixUnit, depth: int, first: Facts, second: Facts) -> _Product | None:
    ranges, order = arrangement(depth, unit)
    count = depth if order is None else len(order)
    sides = (_stand_in(first, (1, 1, count)), _stand_in(second, (1, count, 1)))
    form = plan_fast(unit, sides[0], sides[1], np.zeros((1, 1, 1)), ranges)
    if form is None or isinstance(form, Groups):
        return None
    kernel, facts, unroll = form_loop(unit, form)
    width, exponents = count + -count % unroll, not isinstance(form, Windows)
    room, count_room = np.empty((1, 1, 1), np.float32), np.empty((1, 1, 1), np.int16)
    sides_of_kernel = (room, count_room, room, count_room) if exponents else (room, room)
    run = entered(kernel, *sides_of_kernel, room, *facts, *ranges[0], 0, 1)
    places: Any = slice(0, depth) if order is None else np.argsort(order, kind="stable")[:depth]
    left, right = ((fmt.mantissa_bits, fmt.emin, _LARGEST) for fmt in unit.inputs)

    @lru_cache(maxsize=4)
    def spread(rows: int, columns: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the elements of a and of b go in `values`: one index of small arrays is quicker than an axis' places."""
        index = np.arange((rows + columns) * width)
        end = rows * width
        into_a, into_b = index[:end].reshape(rows, width)[:, places], index[end:].reshape(width, columns)[places]
        return into_a.flatten(), into_b.flatten()

    def product(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
        rows, columns = a.shape[0], b.shape[1]
        end = rows * width
        values = np.zeros(end + width * columns, np.float32)
        x, y = values[:end].reshape(1, rows, width), values[end:].reshape(1, width, columns)
        if values.size <= _FEW:
            into_a, into_b = spread(rows, columns)
            values[into_a], values[into_b] = a.ravel(), b.ravel()
        else:
            x[0][:, places], y[0][places] = a, b
        given: tuple[NDArray[Any], ...] = (x, y)
        if exponents:
            found = np.empty(values.size, np.int16)
            seen = values.view(np.uint32)
            if left == right:
                unit_decode.decode(seen, found, *left)
            else:
                unit_decode.decode(seen[:end], found[:end], *left)
                unit_decode.decode(seen[end:], found[end:], *right)
            given = x, found[:end].reshape(x.shape), y, found[end:].reshape(y.shape)

        total = np.zeros((1, rows, columns), np.float32)
        if unit.outer is None:
            run(*given, total, *facts, *ranges[0], 0, rows)
        else:
            total = in_chunks(_of_chunks(kernel, given, facts, rows), unit, total.astype(np.float64), ranges, None)
        return total.reshape(rows, columns)

    return product


def _of_chunks(kernel: Any, given: tuple[NDArray[Any], ...], facts: tuple[Any, ...], rows: int) -> Run:
    def run(total: NDArray[Any], first: int, last: int) -> NDArray[Any]:
        own = total.astype(np.float32)
        kernel(*given, own, *facts, first, last, 0, rows)
        return own

    return run


def _stand_in(facts: Facts, shape: tuple[int, int, int]) -> Operand:
    """An operand of these facts, of which forms ask the length and the exponents alone."""
    values = np.zeros(shape, np.float32)
    return Operand(values, values.astype(np.int16), True, facts.lowest, facts.highest, _NONE, _NONE)


def _steps(unit: MatrixUnit, depth: int, dtype: np.dtype[Any], *operands: Facts) -> _Product | None:
    left, right = (Steps(True, fact.lowest, fact.highest) for fact in operands)
    ranges, zero = arrangement(depth, unit)[0], np.zeros((1, 1, 1))
    form = plan_lanes(unit, step_kind(unit), left, right, zero, depth)
    if form is None:
        return None

    def product(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
        run = by_lanes(unit, form, a.astype(dtype, copy=False)[None], b.astype(dtype, copy=False)[None])
        total = in_chunks(run, unit, np.zeros((1, a.shape[0], b.shape[1])), ranges, None)
        return total.reshape(total.shape[1:])

    return product
