"""Products on a matrix unit put on a CUDA device: operands taken apart there, blocks of k by the vector form."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NoReturn

import numpy as np

from .catalog import BINARY64
from .device import finite_facts, not_on_device
from .device_arrays import AS_IT_IS, THREADS, copied, in_type, scaled, stack_of
from .device_stepping import grid_of, pieces
from .formats import FloatFormat, Subnormals
from .kernels import unit_decode
from .kernels import unit_steps as unit_steps_cpu
from .kernels.cuda import convert, launch, matrix_unit, tiles, unit_steps
from .kernels.cuda.launch import Queue
from .matrix_unit import MatrixUnit
from .parameters import FLOAT32, FLOAT64, Carrier, carrier_of
from .rounding import Rounding
from .unit_forms import Fast, plan_vectors
from .unit_operands import Operand
from .unit_plan import arrangement

_NONE = np.zeros((1, 1, 0), np.int32)


def check_unit(unit: MatrixUnit, words: bool) -> None:
    """Refuse a unit that has no kernel on the device, whatever its operands. Errors: NotImplementedError, ValueError."""
    if words:
        raise ValueError("seed or words given: a MatrixUnit rounds deterministically")
    for met, why in (
        (unit.tree == "pairwise" and unit.L > unit_steps.MOST, f"has trees of more than {unit_steps.MOST} products"),
        (unit.scale is not None, "multiplies blocks by scales"),
        (unit.chunk is not None, "has chunks"),
        (unit.ar == "exact", "adds exactly"),
    ):
        if met:
            raise not_on_device(f"the matrix unit {unit}, which {why},")


def unit_matmul_on(given: Any, unit: MatrixUnit, refuse: Callable[[], NoReturn]) -> Any:
    """`unit_products.unit_matmul` of what the caller gave, on its device: a new array of the queue.

    refuse: raises the sentence of the CPU for what the unit's formats lack.
    Errors: ValueError as there; NotImplementedError for units, and operands, that have no vector form.
    """
    queue, dtype = given.queue, given.dtype
    if not carrier_of(dtype).holds(unit.result):
        raise ValueError(f"{unit.result} has values that {dtype} does not hold: give float64 operands")
    left, right, c = given.stacks()
    if unit.tree != "fused":
        return _given_back(_stepped(given, left, right, c, unit, refuse), given)
    ranges, order = arrangement(given.depth, unit)
    order = np.arange(given.depth) if order is None else order
    a = _apart(left, unit, unit.inputs[0], order, 2, unit.tf32_trunc, queue, refuse)
    b = _apart(right, unit, unit.inputs[1], order, 1, unit.tf32_trunc, queue, refuse)
    plan, total = _start(given, c, unit, a, b, ranges, queue, refuse)
    _launch(unit, plan, a, b, total, ranges[0], queue)
    return _given_back(total, given)


def _given_back(total: Any, given: Any) -> Any:
    """total [B, M, N] as an array of the queue, of the shape and type of the result."""
    result = given.queue.zeros(given.shape, given.dtype)
    scaled(total, stack_of(launch.array(result), "the result"), 0, AS_IT_IS, given.queue)
    return result


def _stepped(given: Any, left: Any, right: Any, c: Any, unit: MatrixUnit, refuse: Callable[[], NoReturn]) -> Any:
    """Of a unit that rounds at every step: [B, M, N], float32 or float64."""
    queue, carrier = given.queue, FLOAT32 if unit.output.mantissa_bits == 23 else FLOAT64
    a = _member(left, unit, unit.inputs[0], 2, unit.tf32_trunc, carrier, queue, refuse)
    b = _member(right, unit, unit.inputs[1], 1, unit.tf32_trunc, carrier, queue, refuse)
    shape = (max(int(a.shape[0]), int(b.shape[0])), *given.shape[-2:])
    if c is None:
        total = launch.array(queue.zeros(shape, carrier.dtype))
    else:
        own = _member(c, unit, unit.addend, 2, False, carrier, queue, refuse)
        total = copied(own, queue, dtype=carrier.dtype, batches=shape[0])
    late = unit_steps_cpu.LATE if unit.c_place == "late" else unit_steps_cpu.SEQUENTIAL
    kinds = {"one": late, "even_odd": unit_steps_cpu.EVEN_ODD, "bit1": unit_steps_cpu.BIT1}
    kind = unit_steps_cpu.PAIRWISE if unit.tree == "pairwise" else kinds[unit.groups]
    kernel = unit_steps.make_steps(kind, int(carrier is FLOAT64))
    tiny = carrier.dtype.type(unit.output.smallest_normal if unit.ftz_out else 0.0)
    for piece in pieces(a, b, (total,), tiles.SIDE):
        where = grid_of(piece, tiles.SIDE), (tiles.SIDE, tiles.SIDE), queue
        launch.launch(kernel, *where, piece.a, piece.b, *piece.outs, unit.L, tiny)
    if finite_facts(total, queue) is None:  # of a NaN, the device has bits of its own
        raise not_on_device(f"{unit} with these operands, whose sums are not finite,")
    return total


def _member(
    x: Any,
    unit: MatrixUnit,
    fmt: FloatFormat,
    along: int,
    truncates: bool,
    carrier: Carrier,
    queue: Queue,
    refuse: Callable[[], NoReturn],
) -> Any:
    """An operand of a unit that rounds at every step, flushed as the unit does, in the type of its steps."""
    if FLOAT32.holds(fmt):
        own = _apart(x, unit, fmt, np.arange(x.shape[along]), along, truncates, queue, refuse)
        if own.finite:
            return in_type(own.values, carrier.dtype, queue)
    elif fmt == BINARY64 and unit.ftz_in == "keep" and finite_facts(x, queue) is not None:
        return in_type(x, carrier.dtype, queue)
    raise not_on_device(f"{unit} with these operands, infinite or wider than float32,")


def _apart(
    x: Any,
    unit: MatrixUnit,
    fmt: FloatFormat,
    order: np.ndarray[Any, Any],
    along: int,
    truncates: bool,
    queue: Queue,
    refuse: Callable[[], NoReturn],
) -> Operand:
    """The operand as `unit_operands.take_apart` gives it, its k in the order of their groups."""
    shape = [int(n) for n in x.shape]
    shape[along] = order.size
    values, exponents = (launch.array(queue.zeros(tuple(shape), np.dtype(kind))) for kind in (np.float32, np.int32))
    ends = launch.put(np.array([-2 * unit_decode.ABSENT, unit_decode.ABSENT], np.int32))
    flags = launch.put(np.zeros(1, np.uint32))
    flushes = 0 if unit.ftz_in == "keep" else convert.POSITIVE if unit.ftz_in == "positive" else convert.KEPT
    facts = 23 - fmt.mantissa_bits, fmt.emin, FLOAT32.bits(fmt.max), FLOAT32.bits(fmt.smallest_normal)
    kernel = convert.make_apart(int(truncates), flushes, int(fmt.subnormals is Subnormals.GRADUAL))
    blocks = launch.blocks_for(-(-values.size // THREADS), queue)
    places = _put_order(queue.device, order.tobytes())
    arguments = x, places, along, tuple(np.int64(n) for n in facts), values, exponents, flags, ends
    launch.launch(kernel, (blocks,), (THREADS,), queue, *arguments)
    met, (lowest, highest) = int(launch.get(flags, queue)[0]), launch.get(ends, queue)
    lacking = unit_decode.NAN * (not fmt.has_nan) | unit_decode.INFINITE * (not fmt.infinities)
    if met & (unit_decode.STRANGE | lacking):
        refuse()
    finite = not met & (unit_decode.INFINITE | unit_decode.NAN)
    return Operand(values, exponents, finite, int(lowest), int(highest), _NONE, _NONE)


@lru_cache(maxsize=256)
def _put_order(device: int, order: bytes) -> Any:
    return launch.put(np.frombuffer(order, np.int64).copy())


def _start(
    given: Any,
    c: Any,
    unit: MatrixUnit,
    a: Operand,
    b: Operand,
    ranges: tuple[tuple[int, int], ...],
    queue: Queue,
    refuse: Callable[[], NoReturn],
) -> tuple[Fast, Any]:
    """(the constants of the kernel, float32 [B, M, N] of c or zeros)."""
    batches = max(int(a.values.shape[0]), int(b.values.shape[0]))
    shape = (batches, *given.shape[-2:])
    total = launch.array(queue.zeros(shape, np.dtype(np.float32)))
    largest, lowest = 0.0, None
    if c is not None:
        # c keeps its low bits, whatever the unit does to a and b.
        own = _apart(c, unit, unit.addend, np.arange(c.shape[2]), 2, False, queue, refuse)
        scaled(own.values, total, 0, AS_IT_IS, queue)
        known = finite_facts(total, queue)
        if known is None:
            raise not_on_device(f"an infinity or NaN in c of {unit}")
        if known.largest:
            largest, lowest = known.largest, known.lowest  # of no element is the exponent below its lowest bit's
    plan = plan_vectors(unit, a, b, largest, lowest, ranges)
    if plan is None:
        raise not_on_device(f"{unit} with these operands, which have no vector form (infinities and NaN have none),")
    return plan, total


def _launch(
    unit: MatrixUnit, plan: Fast, a: Operand, b: Operand, total: Any, span: tuple[int, int], queue: Queue
) -> None:
    nearest, apart = unit.rounding is Rounding.RNE, unit.c_place == "separate_add"
    kernel = matrix_unit.make_fast(plan.unroll, plan.groups, int(nearest), int(apart), int(plan.bounded))
    output = unit.output
    facts = unit.F, plan.lowest, unit.addend.emin, output.precision, output.emin, unit.L
    for left, right in zip(
        pieces(a.values, b.values, (total,), matrix_unit.TILE),
        pieces(a.exponents, b.exponents, (total,), matrix_unit.TILE),
        strict=True,
    ):
        arguments = left.a, right.a, left.b, right.b, *left.outs, facts, float(output.max), *span
        launch.launch(kernel, grid_of(left, matrix_unit.TILE), (tiles.SIDE, tiles.SIDE), queue, *arguments)
