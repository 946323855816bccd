"""The loops of matrix units, called: each gets the operands laid out as it wants them, and ranges of k one by one."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .aligned import aligned_array, contiguous
from .catalog import BINARY32
from .kernels import matrix_unit as general
from .kernels import (
    threads,
    unit_counted,
    unit_counts,
    unit_decode,
    unit_fast,
    unit_groups,
    unit_lanes,
    unit_lanes_counted,
    unit_late,
    unit_steps,
    unit_windows,
)
from .matrix_unit import MatrixUnit
from .parameters import FLOAT32, parameter_row
from .rounding import Overflow, Rounding
from .unit_events import no_counts
from .unit_forms import Fast, Form, Groups, Lanes, Late, Windows
from .unit_operands import Operand, longer, scale_values
from .unit_plan import facts_of

FAST, SLOW = 0.15, 5.0  # nanoseconds of a product in vectors, and of one output after another
_MARK_COST, _WIDEN_COST = 0.2, 0.3  # of an element
_SHORT = 20  # bits below the highest exponent: where there are fewer, terms that vanish are nothing rare

Run = Callable[[NDArray[Any], int, int], NDArray[Any]]  # (total [B, M, N], first k, last k) -> total of a range of k
Counts = NDArray[np.uint32] | None


def _spread(part: Any, total: NDArray[Any], depth: int, cost: float) -> None:
    batches, rows, columns = total.shape
    threads.run(part, batches * rows, cost * depth * columns)


def _over_ranges(kernel: Any, given: tuple[Any, ...], facts: tuple[Any, ...], dtype: Any, cost: float) -> Run:
    """A kernel(*given, total, *facts, first k, last k, first row, last row), total of the dtype."""

    def run(total: NDArray[Any], first: int, last: int) -> NDArray[Any]:
        own = np.require(total, dtype, ["C", "W"])  # zeros of a c that was not given are one zero, read-only
        _spread(lambda i, j: kernel(*given, own, *facts, first, last, i, j), own, last - first, cost)
        return own

    return run


def by_form(unit: MatrixUnit, form: Form, a: Operand, b: Operand, counts: Counts = None) -> Run:
    """A fused unit by one of its vector forms; a, b as that was planned for. counts: where the form can."""
    if isinstance(form, Groups):
        return _groups(unit, form, a, b, counts)
    missing = -a.values.shape[2] % (unit.L if isinstance(form, Windows) else form.unroll)
    values = longer(a.values, 2, missing), longer(b.values, 1, missing)
    if isinstance(form, Windows):
        kernel, facts, _ = form_loop(unit, form, () if counts is None else (counts,))
        return _over_ranges(kernel, values, facts, np.float32, FAST)
    more = () if counts is None else (*_widened(values[0]), *_widened(values[1]), *form.told(unit), counts)
    kernel, facts, _ = form_loop(unit, form, more)
    sides = values[0], longer(a.exponents, 2, missing), values[1], longer(b.exponents, 1, missing)
    return _over_ranges(kernel, sides, facts, np.float32, FAST)


def _widened(values: NDArray[np.float32]) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Exponents of float32 numbers, as if all were normal, and the numbers in float64."""
    exponents, wide = np.empty(values.shape, np.int16), np.empty(values.shape, np.float64)
    x, e, y = values.reshape(-1), exponents.reshape(-1), wide.reshape(-1)
    threads.run(lambda i, j: unit_decode.widen(x[i:j], e[i:j], y[i:j]), x.size, _WIDEN_COST)
    return exponents, wide


def form_loop(
    unit: MatrixUnit, form: Fast | Late | Windows, more: tuple[Any, ...] = ()
) -> tuple[Any, tuple[Any, ...], int]:
    """(the kernel of a vector form, its facts, the multiple that k is filled up to); more: what counting takes."""
    output, nearest = unit.output, unit.rounding is Rounding.RNE
    native = int(output.precision == 24 and (output.emin, output.emax) == (BINARY32.emin, BINARY32.emax))
    kernel: Any
    if isinstance(form, Windows):
        kernel = unit_windows.make_windows(unit.L, int(nearest), native, _counting_of(form) if more else 0)
        return kernel, (1.5 * 2.0 ** (52 + form.split), output.precision, output.emin, output.max, more), unit.L
    facts: tuple[Any, ...]
    if isinstance(form, Fast):
        apart, bits = unit.c_place == "separate_add", unit.F or 0
        facts = bits, form.lowest, unit.addend.emin, output.precision, output.emin, output.max, unit.L
        if more:
            choices = int(nearest), int(apart), int(bits < _SHORT), int(form.gradual)
            kernel = unit_counted.make_counted(form.unroll, form.groups, *choices)
            return kernel, (*facts, more), form.unroll
        kernel = unit_fast.make_fast(form.unroll, form.groups, int(nearest), int(apart), int(form.bounded))
    else:
        floored = int(form.parts == 1 or unit.group_ar == "floor")
        counting = _counting_of(form) if more else 0
        kernel = unit_late.make_late(form.unroll, form.groups, form.parts, floored, native, counting)
        reach = min(1 << 16, 1 << 16 if unit.c_reach is None else unit.c_reach)
        ends = reach, _floor(unit), unit.addend.emin, output.precision, output.emin
        facts = (unit.F, unit.F2, unit.Fc, *ends), output.max, more
    return kernel, facts, form.unroll


def _counting_of(form: Late | Groups | Windows) -> int:
    return unit_counts.GRADUAL if form.gradual else unit_counts.COUNTED


def _floor(unit: MatrixUnit) -> int:
    """The floor of exponents, at least that of what is no term."""
    return unit_late.NOTHING if unit.Emin_floor is None else max(unit_late.NOTHING, unit.Emin_floor)


def _groups(unit: MatrixUnit, form: Groups, a: Operand, b: Operand, counts: Counts) -> Run:
    assert unit.scale_block is not None
    group, each = form.group, unit.scale_block // form.group
    given: list[NDArray[Any]] = []
    for side, x in enumerate((a, b)):
        axis = 2 - side
        values = longer(x.values, axis, -x.values.shape[axis] % group)
        count = values.shape[axis] // group
        masks = _terms(values, group, side)
        facts = []
        for scales in (np.maximum(x.shifts, unit_decode.ABSENT), scale_values(x, unit)):
            turned = scales if side == 0 else scales.swapaxes(-1, -2)
            repeated = turned if each == 1 else np.repeat(turned, each, axis)
            own = repeated[:, :, :count] if side == 0 else repeated[:, :count]
            facts.append(np.ascontiguousarray(longer(own, axis, form.count - 1, 0)))
        given += [values, longer(masks, axis, form.count - 1, 0), *facts]
    counting, output = 0 if counts is None else _counting_of(form), unit.output
    kernel: Any = unit_groups.make_groups(group, form.count, int(unit.rounding is Rounding.RNE), counting)
    more = () if counts is None else (*form.told(unit), counts)
    ends = (unit.F, _floor(unit), unit.addend.emin, output.precision, output.emin), output.max, more
    return _over_ranges(kernel, tuple(given), ends, np.float32, FAST)


def _terms(values: NDArray[np.float32], group: int, side: int) -> NDArray[np.uint32]:
    """Of every group of an operand's values the bits of those that are not zero, [B, M, K/group] or [B, K/group, N]."""
    batches, rows, columns = values.shape
    found = np.empty((batches, rows, columns // group) if side == 0 else (batches, rows // group, columns), np.uint32)
    total = found.shape[0] * found.shape[1]

    def part(start: int, stop: int) -> None:
        unit_groups.mark_terms(values, group, side == 0, found, start, stop)

    threads.run(part, total, _MARK_COST * values.size / max(1, total))
    return found


def _turned(x: NDArray[Any]) -> NDArray[Any]:
    return contiguous(x.swapaxes(-1, -2), x.dtype)


def _ends(unit: MatrixUnit) -> NDArray[np.float64]:
    return np.array([np.inf if unit.overflow_to_infinity else unit.output.max, unit.output.max])


def _counting(counts: Counts) -> tuple[bool, NDArray[np.uint32]]:
    """Whether a kernel counts, and what it then adds to."""
    return counts is not None, no_counts((0, 0, 0)) if counts is None else counts


def by_expansions(unit: MatrixUnit, a: Operand, b: Operand, counts: Counts) -> Run:
    """A unit that cuts nothing, one output after another."""
    counting, room = _counting(counts)
    kernel: Any = unit_steps.make_exact(counting)
    facts = facts_of(unit, a, b), _ends(unit), unit.rounding is Rounding.RNE, room
    return _over_ranges(kernel, (a.values, _turned(b.values)), facts, np.float64, SLOW)


def by_integers(unit: MatrixUnit, a: Operand, b: Operand, counts: Counts) -> Run:
    """A unit that cuts its terms, one output after another."""
    counting, room = _counting(counts)
    kernel: Any = general.make_product(counting)
    columns = b._replace(values=_turned(b.values), exponents=_turned(b.exponents))
    sides: list[NDArray[Any]] = []
    for x, fmt in zip((a, columns), unit.inputs, strict=True):
        integers = np.empty(x.values.shape, np.int32)
        unit_decode.significands(x.values.reshape(-1), x.exponents.reshape(-1), fmt.mantissa_bits, integers.reshape(-1))
        grouped = unit.exact_group > 1  # then integers in units of the format's last place
        sides += [x.values, integers, np.maximum(x.exponents - np.int16(fmt.emin), 0) if grouped else x.exponents]
    scales = a.weights, a.shifts, b.weights, b.shifts
    facts = facts_of(unit, a, b), _ends(unit), room
    return _over_ranges(kernel, (*sides, *scales), facts, np.float64, SLOW)


def by_steps(unit: MatrixUnit, kind: int, a: NDArray[Any], b: NDArray[Any], counts: Counts) -> Run:
    """A unit that rounds at every step, one output after another; a [.., M, K], b [.., K, N] of the type of the steps."""
    dtype = a.dtype
    counting, room = _counting(counts)
    kernel: Any = unit_steps.make_steps(kind, counting and dtype == np.float64, counting)
    tiny = dtype.type(unit.output.smallest_normal if unit.ftz_out else 0.0)
    facts = unit.L, tiny, unit.output.smallest_normal, room
    return _over_ranges(kernel, (a, _turned(b)), facts, dtype, SLOW)


def by_lanes(unit: MatrixUnit, form: Lanes, a: NDArray[Any], b: NDArray[Any], counts: Counts = None) -> Run:
    """A unit that rounds at every step, in vectors; operands as for `by_steps`."""
    if counts is not None:
        right, tiny = aligned_array(b, b.dtype), unit.output.smallest_normal
        if form.short and a.dtype == np.float32:
            kernel: Any = unit_lanes_counted.make_counted_lanes(form.kind, unit.L)
            row = parameter_row(BINARY32, Rounding.RNE, Overflow.IEEE, None, FLOAT32)
            return _over_ranges(kernel, (a, right), (row, np.float32(tiny), counts), a.dtype, FAST)
        kernel = unit_lanes_counted.make_counted_chain(int(a.dtype == np.float64))
        return _over_ranges(kernel, (a, right), (tiny, counts), a.dtype, FAST)
    if form.kind != unit_steps.PAIRWISE:
        chains: Any = unit_lanes.make_chains(form.kind)
        return _over_ranges(chains, (a, aligned_array(b, b.dtype)), (unit.L,), a.dtype, FAST)
    tree: Any = unit_lanes.make_tree(unit.L)

    def run(total: NDArray[Any], first: int, last: int) -> NDArray[Any]:
        # Its own k, filled up to whole blocks: what is beyond belongs to the next chunk.
        missing = (first - last) % unit.L
        sides = longer(a[:, :, first:last], 2, missing), longer(b[:, first:last], 1, missing)
        whole = tuple(np.ascontiguousarray(x) for x in sides)
        return _over_ranges(tree, whole, (), a.dtype, FAST)(total, 0, last - first + missing)

    return run
