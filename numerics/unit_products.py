"""Products on a matrix unit: blocks of k by the kernel that is exact for the call, chunks added by the accumulator."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import arithmetic
from .events import Events
from .kernels import matrix_unit as general
from .kernels import threads, unit_decode, unit_fast, unit_steps
from .matrix_unit import MatrixUnit
from .operands import addend as checked_addend
from .operands import operand, result_shape
from .parameters import carrier_of
from .quantizer import Quantizer
from .rounding import Overflow, Rounding
from .unit_events import count_empty, count_sums, flushing, no_counts
from .unit_operands import (
    Operand,
    check_members,
    check_scales,
    flush,
    quantized,
    stack,
    take_apart,
)
from .unit_plan import Fast, arrangement, facts_of, plan_fast

FAST_PIECE, SLOW_PIECE = 1 << 17, 1 << 13  # products below which another thread costs more than it saves

Run = Callable[[NDArray[Any], int, int], NDArray[Any]]  # (total [B, M, N], first k, last k) -> total of a range of k


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
    """c + a @ b as the matrix unit computes it, k ascending; bit-exact for any shape and thread count.

    a [..., M, K], b [..., K, N], c broadcast to [..., M, N]; float32 or float64, members of the unit's formats. Batch
    dimensions broadcast. scale_a [..., M, K/block], scale_b [..., K/block, N]: the values of the scales of a unit that
    has them. Returns [..., M, N] of result_type(a, b). K = 0 gives c (or +0) rounded once to the output. Infinities and
    NaN are answered: inf * 0 and inf - inf are NaN, an infinity stays. events=True: (result, Events), the same result
    by kernels that count and have no vector form.
    Errors: TypeError for other dtypes; ValueError for shapes that do not match, values that the unit's formats lack,
    scales missing or uncalled for, a result dtype that lacks members of the output format; what `outer` raises; with
    events, sums by `outer` so large or small that float64 does not hold what was rounded off.
    """
    left, right = operand(a, "a"), operand(b, "b")
    dtype = np.result_type(left, right)
    shape = result_shape(left, right)
    if not carrier_of(dtype).holds(unit.result):
        raise ValueError(f"{unit.result} has values that {dtype} does not hold: give float64 operands")
    scales = check_scales(unit, scale_a, scale_b, left, right)
    addend = _addend(c, shape, unit)
    if left.shape[-1] == 0 or 0 in shape:
        counts = no_counts(shape)
        if events and 0 not in shape:
            count_empty(addend, unit, counts)
        return _answer(_rounded(addend, unit).astype(dtype), counts if events else None)
    total = addend.reshape(int(np.prod(shape[:-2])), *shape[-2:])
    counted = no_counts(total.shape) if events else None
    ranges, order = arrangement(left.shape[-1], unit)
    if unit.tree == "fused":
        first = _ordered(take_apart(left, unit, 0, shape[:-2], scales[0]), 0, order)
        second = _ordered(take_apart(right, unit, 1, shape[:-2], scales[1]), 1, order)
        run = _fused(unit, first, second, total, ranges, counted)
    else:
        run = _steps(unit, left, right, shape[:-2], counted)
    result = _chunks(run, unit, total, ranges, counted).reshape(shape).astype(dtype, copy=False)
    return _answer(result, counted)


def _answer(result: NDArray[Any], counts: NDArray[np.uint32] | None) -> Any:
    """The result, with its counts [8, ...] as Events if there are any."""
    if counts is None:
        return result
    return result, Events(*(row.reshape(result.shape).astype(np.int64) for row in counts))


def _addend(c: Any, shape: tuple[int, ...], unit: MatrixUnit) -> NDArray[np.float64]:
    """c as contiguous float64 of the result's shape, a copy; a member of its format, flushed as the unit does."""
    if c is None:
        return np.zeros(shape)
    array = checked_addend(c, shape)
    total = np.array(np.broadcast_to(array, shape), dtype=np.float64, order="C")
    if unit.outer is None:  # what is added to the sums of chunks is taken as given
        check_members(array, unit.addend, "c")
        flush(total, unit, unit.addend)
    return total


def _rounded(addend: NDArray[np.float64], unit: MatrixUnit) -> NDArray[np.float64]:
    """c of an empty sum: rounded once to the result's format."""
    if addend.size == 0:
        return addend
    if unit.outer is not None:
        return quantized(addend, unit.result, unit.outer.rounding, unit.outer.overflow)
    output, rule = flushing(unit), Overflow.IEEE if unit.overflow_to_infinity else Overflow.PROPAGATE
    kept = quantized(addend, output, unit.rounding, rule)
    if unit.rounding is Rounding.RTZ and unit.overflow_to_infinity:  # where IEEE 754 stops at the largest value
        over = np.abs(addend) >= output.max + 2.0 ** (output.emax - output.mantissa_bits)
        kept = np.where(over, np.copysign(np.inf, addend), kept)
    if unit.tree == "fused":  # whose sums are +0 after rounding
        kept[(kept == 0.0) & (addend != 0.0)] = 0.0
    return kept


def _chunks(
    run: Run,
    unit: MatrixUnit,
    total: NDArray[np.float64],
    ranges: tuple[tuple[int, int], ...],
    counts: NDArray[np.uint32] | None,
) -> NDArray[Any]:
    """total, the ranges of k one after another; with chunks, each from zero and then added by `outer`."""
    if unit.outer is None:
        return run(total, *ranges[0])
    outer = Quantizer(unit.outer.format, unit.outer.rounding, unit.outer.overflow)
    for first, last in ranges:
        part = run(np.zeros_like(total), first, last).astype(np.float64, copy=False)
        if counts is not None:
            count_sums(total, part, unit.outer, counts)
        total = arithmetic.add(total, part, outer)
    return total


def _ordered(x: Operand, side: int, order: NDArray[np.int64] | None) -> Operand:
    """The operand with its k in another order; k beyond the last stands for what is no term."""
    if order is None:
        return x
    axis = 2 - side
    return x._replace(
        values=np.take(_longer(x.values, axis, 1), order, axis),
        exponents=np.take(_longer(x.exponents, axis, 1), order, axis),
    )


def _longer(x: NDArray[Any], axis: int, count: int) -> NDArray[Any]:
    """Values or exponents with `count` more k that are no terms."""
    if count == 0:
        return x
    filler = 0 if x.dtype == np.float32 else unit_decode.ABSENT
    return np.concatenate([x, np.full_like(np.take(x, [0] * count, axis), filler)], axis)


def _spread(part: Any, total: NDArray[Any], depth: int, piece: int) -> None:
    batches, rows, columns = total.shape
    threads.run(part, batches * rows, max(1, piece // max(1, depth * columns)))


def _fused(
    unit: MatrixUnit,
    a: Operand,
    b: Operand,
    total: NDArray[np.float64],
    ranges: tuple[tuple[int, int], ...],
    counts: NDArray[np.uint32] | None,
) -> Run:
    plan = plan_fast(unit, a, b, total, ranges) if counts is None else None  # vectors do not see what they cut
    if plan is not None:
        return _vectors(unit, plan, a, b)
    return _exact(unit, a, b, counts) if unit.ar == "exact" else _aligned(unit, a, b, counts)


def _vectors(unit: MatrixUnit, plan: Fast, a: Operand, b: Operand) -> Run:
    missing = -a.values.shape[2] % plan.unroll
    left, el = (_longer(x, 2, missing) for x in (a.values, a.exponents))
    right, er = (_longer(x, 1, missing) for x in (b.values, b.exponents))
    nearest, apart = unit.rounding is Rounding.RNE, unit.c_place == "separate_add"
    kernel: Any = unit_fast.make_fast(plan.unroll, plan.groups, int(nearest), int(apart), int(plan.bounded))
    output = unit.output
    ends = (unit.F, plan.lowest, unit.addend.emin, output.precision, output.emin, output.max, unit.L)

    def vectors(total: NDArray[Any], first: int, last: int) -> NDArray[Any]:
        narrow = np.ascontiguousarray(total, dtype=np.float32)
        _spread(
            lambda i, j: kernel(left, el, right, er, narrow, *ends, first, last, i, j),
            narrow,
            last - first,
            FAST_PIECE,
        )
        return narrow

    return vectors


def _turned(x: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(x.swapaxes(-1, -2))


def _ends(unit: MatrixUnit) -> NDArray[np.float64]:
    return np.array([np.inf if unit.overflow_to_infinity else unit.output.max, unit.output.max])


def _counting(counts: NDArray[np.uint32] | None) -> tuple[bool, NDArray[np.uint32]]:
    """Whether a kernel counts, and what it then adds to."""
    return counts is not None, no_counts((0, 0, 0)) if counts is None else counts


def _exact(unit: MatrixUnit, a: Operand, b: Operand, counts: NDArray[np.uint32] | None) -> Run:
    row, ends, right = facts_of(unit, a, b), _ends(unit), _turned(b.values)
    nearest = unit.rounding is Rounding.RNE
    counting, room = _counting(counts)
    kernel: Any = unit_steps.make_exact(counting)

    def exact(total: NDArray[Any], first: int, last: int) -> NDArray[Any]:
        _spread(
            lambda i, j: kernel(a.values, right, total, row, ends, nearest, room, first, last, i, j),
            total,
            last - first,
            SLOW_PIECE,
        )
        return total

    return exact


def _aligned(unit: MatrixUnit, a: Operand, b: Operand, counts: NDArray[np.uint32] | None) -> Run:
    row, ends = facts_of(unit, a, b), _ends(unit)
    counting, room = _counting(counts)
    kernel: Any = general.make_product(counting)
    columns = b._replace(values=_turned(b.values), exponents=_turned(b.exponents))
    sides: list[NDArray[Any]] = []
    for x, fmt in zip((a, columns), unit.inputs, strict=True):
        integers = np.empty(x.values.shape, np.int32)
        unit_decode.significands(x.values.reshape(-1), x.exponents.reshape(-1), fmt.mantissa_bits, integers.reshape(-1))
        grouped = unit.exact_group > 1  # then integers in units of the format's last place
        sides += [x.values, integers, np.maximum(x.exponents - np.int32(fmt.emin), 0) if grouped else x.exponents]

    def aligned(total: NDArray[Any], first: int, last: int) -> NDArray[Any]:
        scales = (a.weights, a.shifts, b.weights, b.shifts)
        _spread(
            lambda i, j: kernel(*sides, *scales, total, row, ends, room, first, last, i, j),
            total,
            last - first,
            SLOW_PIECE,
        )
        return total

    return aligned


def _steps(
    unit: MatrixUnit,
    left: NDArray[Any],
    right: NDArray[Any],
    batch: tuple[int, ...],
    counts: NDArray[np.uint32] | None,
) -> Run:
    """Of a unit that rounds at every step."""
    dtype = np.dtype(np.float32 if unit.output.mantissa_bits == 23 else np.float64)
    sides = []
    for x, fmt, label in ((left, unit.inputs[0], "a"), (right, unit.inputs[1], "b")):
        check_members(x, fmt, label, truncated=unit.tf32_trunc)
        wide: NDArray[Any] = x.astype(np.float64)
        if unit.tf32_trunc:
            wide = np.where(np.isfinite(wide), quantized(wide, fmt, Rounding.RTZ, Overflow.PROPAGATE), wide)
        flush(wide, unit, fmt)
        sides.append(stack((wide if label == "a" else wide.swapaxes(-1, -2)).astype(dtype), batch))
    late = unit_steps.LATE if unit.c_place == "late" else unit_steps.SEQUENTIAL
    kinds = {"one": late, "even_odd": unit_steps.EVEN_ODD, "bit1": unit_steps.BIT1}
    kind = unit_steps.PAIRWISE if unit.tree == "pairwise" else kinds[unit.groups]
    counting, room = _counting(counts)
    kernel: Any = unit_steps.make_steps(kind, counting and dtype == np.float64, counting)
    tiny = dtype.type(unit.output.smallest_normal if unit.ftz_out else 0.0)
    ends = unit.L, tiny, unit.output.smallest_normal, room

    def steps(total: NDArray[Any], first: int, last: int) -> NDArray[Any]:
        narrow = np.ascontiguousarray(total, dtype=dtype)
        _spread(lambda i, j: kernel(*sides, narrow, *ends, first, last, i, j), narrow, last - first, SLOW_PIECE)
        return narrow

    return steps
