"""Products on a matrix unit: blocks of k by the kernel that is exact for the call, chunks added by the accumulator."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import arithmetic
from .catalog import BINARY64
from .events import Events
from .kernels import unit_steps
from .matrix_unit import MatrixUnit
from .operands import addend as checked_addend
from .operands import operand, result_shape
from .parameters import FLOAT32, carrier_of
from .planning import Plan
from .problem import Caller
from .quantizer import Quantizer
from .rounding import Overflow, Rounding
from .unit_events import count_empty, count_sums, flushing, no_counts
from .unit_forms import Form, Lanes, Steps, plan_fast, plan_lanes
from .unit_kernels import Counts, Run, by_expansions, by_form, by_integers, by_lanes, by_steps
from .unit_operands import (
    check_members,
    check_scales,
    flush,
    ordered,
    quantized,
    stack,
    take_apart,
    weighted,
)
from .unit_plan import arrangement


def unit_matmul(
    a: Any,
    b: Any,
    unit: MatrixUnit,
    *,
    c: Any = None,
    scale_a: Any = None,
    scale_b: Any = None,
    events: bool = False,
    explain: bool = False,
) -> Any:
    """c + a @ b as the matrix unit computes it, k ascending; bit-exact for any shape and thread count.

    a [..., M, K], b [..., K, N], c broadcast to [..., M, N]; float32 or float64, members of the unit's formats. Batch
    dimensions broadcast. scale_a [..., M, K/block], scale_b [..., K/block, N]: the values of the scales of a unit that
    has them. Returns [..., M, N] of result_type(a, b). K = 0 gives c (or +0) rounded once to the output. Infinities and
    NaN are answered: inf * 0 and inf - inf are NaN, an infinity stays. events=True: (result, Events), the same result,
    in vectors where these can count. explain=True: the Plan at the end.
    Errors: TypeError for other dtypes; ValueError for shapes that do not match, values that the unit's formats lack,
    infinite or NaN results of an output format without such a value, scales missing or uncalled for, a result dtype
    that lacks members of the output format; what `outer` raises; with
    events, sums by `outer` so large or small that float64 does not hold what was rounded off.
    """
    call = prepare(a, b, unit, c, scale_a, scale_b)
    way, result = compute_first(call, events=events)
    if not explain:
        return result
    return (*result, plan_of(call, way)) if events else (result, plan_of(call, way))


@dataclass(frozen=True)
class Call:
    """What a unit is given, checked: a [..., M, K], b [..., K, N], their scales, c as float64 [..., M, N], used up."""

    unit: MatrixUnit
    a: NDArray[Any]
    b: NDArray[Any]
    scales: tuple[NDArray[Any] | None, NDArray[Any] | None]
    addend: NDArray[np.float64]
    of_vectors: bool = False  # whether they are a row and a column, whose one output is that of a dot product

    @property
    def named(self) -> tuple[int, ...]:
        """The shape of the caller's result, by which errors name its outputs."""
        return () if self.of_vectors else self.addend.shape

    @property
    def empty(self) -> bool:
        """Whether there is nothing to add."""
        return self.a.shape[-1] == 0 or 0 in self.addend.shape

    @property
    def total(self) -> NDArray[np.float64]:
        """c as [B, M, N]."""
        return self.addend.reshape(-1, *self.addend.shape[-2:])

    @property
    def distinct(self) -> NDArray[np.float64]:
        """The values of c that plans look at, [1 or B, 1 or M, 1 or N]: of a c that was not given one zero."""
        return self.total if any(self.addend.strides) else np.zeros((1, 1, 1))

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The ranges of k that are evaluated one after another."""
        return arrangement(self.a.shape[-1], self.unit)[0]


class Way(NamedTuple):
    """A loop that is exact for a call: its vector form, or None of a scalar loop; and how to run it."""

    form: Form | Lanes | None
    run: Callable[[Counts], Run]


def prepare(a: Any, b: Any, unit: MatrixUnit, c: Any = None, scale_a: Any = None, scale_b: Any = None) -> Call:
    """The checked call. Errors: as `unit_matmul`."""
    left, right = operand(a, "a"), operand(b, "b")
    dtype = np.result_type(left, right)
    shape = result_shape(left, right)
    if not carrier_of(dtype).holds(unit.result):
        raise ValueError(f"{unit.result} has values that {dtype} does not hold: give float64 operands")
    scales = check_scales(unit, scale_a, scale_b, left, right)
    return Call(unit, left, right, scales, _addend(c, shape, unit))


def ways(call: Call, *, events: bool = False) -> list[Way]:
    """The loops that give this call's bits, the fastest first, the scalar one last; with events those that count."""
    unit = call.unit
    found = _fused(call, events) if unit.tree == "fused" else _steps(call, events)
    return list(found)


def plan_of(call: Call, way: Way | None) -> Plan:
    """The way as a plan: its name, and in a sentence why it is exact."""
    unit = call.unit
    if way is None:
        return Plan("nothing", "there is no output, or K = 0: c, or +0, is rounded once")
    if way.form is not None:
        return Plan(way.form.kernel, way.form.reason(unit))
    if unit.tree != "fused":
        return Plan("steps", f"output by output, every step as the unit takes it in {unit.output}")
    if unit.ar == "exact":
        return Plan("expansions", "output by output, a block's exact sum as numbers that do not overlap, rounded once")
    return Plan("integers", f"output by output, in integers: a block's sum has up to {unit.sum_bits} <= 62 bits")


def compute(call: Call, way: Way | None, *, events: bool = False) -> Any:
    """The result, with events (result, Events), of one of the `ways` of a call, None of an empty one."""
    unit, shape, dtype = call.unit, call.addend.shape, np.result_type(call.a, call.b)
    if way is None:
        counts = no_counts(shape)
        if unit.outer is None:
            _check_specials(call.addend, unit, Caller((), (), None, call.named).output)
        if events and 0 not in shape:
            count_empty(call.addend, unit, counts)
        return _answer(_rounded(call.addend, unit).astype(dtype), counts if events else None)
    total = call.total
    counted = no_counts(total.shape) if events else None
    result = in_chunks(way.run(counted), unit, total, call.ranges, counted, call.named)
    return _answer(result.reshape(shape).astype(dtype, copy=False), counted)


def compute_first(call: Call, *, events: bool = False) -> tuple[Way | None, Any]:
    """The fastest of a call's ways, and its result."""
    way = None if call.empty else ways(call, events=events)[0]
    return way, compute(call, way, events=events)


def unit_plans(call: Call) -> list[Plan]:
    """The `ways` of a call as plans."""
    return [plan_of(call, way) for way in ([None] if call.empty else ways(call))]


def _answer(result: NDArray[Any], counts: NDArray[np.uint32] | None) -> Any:
    """The result, with its counts [8, ...] as Events if there are any."""
    if counts is None:
        return result
    return result, Events(*(row.reshape(result.shape).view(np.int32) for row in counts))


def _addend(c: Any, shape: tuple[int, ...], unit: MatrixUnit) -> NDArray[np.float64]:
    """c as float64 of the result's shape, of its own memory; a member of its format, flushed as the unit does."""
    if c is None:
        return np.broadcast_to(0.0, shape)
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


def in_chunks(
    run: Run,
    unit: MatrixUnit,
    total: NDArray[np.float64],
    ranges: tuple[tuple[int, int], ...],
    counts: NDArray[np.uint32] | None,
    shape: tuple[int, ...] | None = None,
) -> NDArray[Any]:
    """total, the ranges of k one after another; with chunks, each from zero and then added by `outer`.

    shape: that of the caller's result, by which errors name its outputs; None: total's own, [1, M, N], without the 1.
    """
    names = Caller((), (), None, total.shape[1:] if shape is None else shape)
    if unit.outer is None:
        result = run(total, *ranges[0])
        _check_specials(result, unit, names.output)
        return result
    outer = Quantizer(unit.outer.format, unit.outer.rounding, unit.outer.overflow)
    sums, wrong, error = total.reshape(-1), [total.size], None
    for chunk, (first, last) in enumerate(ranges):
        part = run(np.zeros_like(total), first, last).astype(np.float64, copy=False)
        _check_specials(part, unit, partial(_place, names, chunk, wrong))
        if counts is not None and error is None:
            count_sums(sums.reshape(total.shape), part, unit.outer, counts)
        added, place = part.reshape(-1), partial(_place, names, chunk, wrong)
        try:
            sums = arithmetic.add_named(sums, added[: wrong[0]], outer, place)
        except OverflowError as caught:  # a later chunk may overflow in an output before this one
            error = caught
            sums = arithmetic.add_named(sums[: wrong[0]], added[: wrong[0]], outer, place)
    if error is not None:
        raise error
    return sums.reshape(total.shape)


def _check_specials(result: NDArray[Any], unit: MatrixUnit, place: Callable[[int], str]) -> None:
    """Refuse an infinity or NaN, as operands or product_limit make them, where the output has no such value."""
    fmt = unit.output
    if fmt.infinities and fmt.has_nan:
        return
    lacking = (np.isinf(result) & (not fmt.infinities)) | (np.isnan(result) & (not fmt.has_nan))
    if lacking.any():
        output = int(np.argmax(lacking))
        raise ValueError(
            f"{place(output)} is {result.reshape(-1)[output]!s}, no value of the output {fmt}: keep operands"
            f"{', c' if unit.product_limit is None else ', c and products (product_limit)'} finite, or give an output that"
            " has it"
        )


def _place(names: Caller, chunk: int, wrong: list[int], output: int) -> str:
    wrong[0] = output
    return f"chunk {chunk} of {names.output(output)}"


def _fused(call: Call, events: bool) -> Iterator[Way]:
    unit, batch = call.unit, call.addend.shape[:-2]
    ranges, order = arrangement(call.a.shape[-1], unit)
    a, b = (
        ordered(take_apart(x, unit, side, batch, call.scales[side]), side, order)
        for side, x in enumerate((call.a, call.b))
    )
    grouped = unit.exact_group > 1
    left, right = (a, b) if grouped else (weighted(a, unit, 0), weighted(b, unit, 1))
    form = plan_fast(unit, left, right, call.distinct, ranges)
    if form is not None and (not events or form.counts):
        yield Way(form, lambda counts: by_form(unit, form, left, right, counts))
    yield Way(None, lambda counts: (by_expansions if unit.ar == "exact" else by_integers)(unit, a, b, counts))


def _steps(call: Call, events: bool) -> Iterator[Way]:
    """Of a unit that rounds at every step."""
    unit = call.unit
    kind = step_kind(unit)
    (a, of_a), (b, of_b) = (_step_operand(call, side, events) for side in (0, 1))
    form = plan_lanes(unit, kind, of_a, of_b, call.distinct, call.a.shape[-1])
    if form is not None and (not events or form.counts):
        yield Way(form, lambda counts: by_lanes(unit, form, a, b, counts))
    yield Way(None, lambda counts: by_steps(unit, kind, a, b, counts))


def step_kind(unit: MatrixUnit) -> int:
    """The number in kernels/unit_steps.py of the order in which a unit rounds at every step."""
    if unit.tree == "pairwise":
        return unit_steps.PAIRWISE
    late = unit_steps.LATE if unit.c_place == "late" else unit_steps.SEQUENTIAL
    return {"one": late, "even_odd": unit_steps.EVEN_ODD, "bit1": unit_steps.BIT1}[unit.groups]


def _step_operand(call: Call, side: int, events: bool) -> tuple[NDArray[Any], Steps]:
    """An operand of a unit that rounds at every step, [1 or B, M, K] or [1 or B, K, N] of the type of its steps.

    Of float64 numbers only counting events asks how small and large they are.
    """
    unit, x, batch = call.unit, (call.a, call.b)[side], call.addend.shape[:-2]
    dtype, fmt = np.dtype(np.float32 if unit.output.mantissa_bits == 23 else np.float64), unit.inputs[side]
    if FLOAT32.holds(fmt) and not (unit.tf32_trunc and x.dtype == np.float64):
        own = take_apart(x, unit, side, batch, None)
        some = own.lowest <= own.highest
        known = Steps(own.finite, own.lowest - fmt.mantissa_bits if some else 0, own.highest if some else 0)
        return own.values.astype(dtype, copy=False), known
    wide: NDArray[Any] = x.astype(np.float64)
    if fmt != BINARY64:  # whose values all are
        check_members(x, fmt, "ab"[side], truncated=unit.tf32_trunc)
    if unit.tf32_trunc:
        wide = np.where(np.isfinite(wide), quantized(wide, fmt, Rounding.RTZ, Overflow.PROPAGATE), wide)
    flush(wide, unit, fmt)
    values, finite = stack(wide.astype(dtype), batch), bool(np.isfinite(wide).all())
    if not (events and finite):
        return values, Steps(finite, None, 0)
    magnitudes = np.abs(wide[wide != 0])
    low, high = (magnitudes.min(), magnitudes.max()) if magnitudes.size else (1.0, 1.0)
    last = max(int(np.frexp(low)[1]) - 1, fmt.emin) - fmt.mantissa_bits
    return values, Steps(finite, last, int(np.frexp(high)[1]) - 1)
