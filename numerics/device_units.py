"""Products on a matrix unit put on a CUDA device: operands taken apart there, blocks of k by the vector form."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NoReturn

import numpy as np

from .device import finite_facts, not_on_device
from .device_arrays import AS_IT_IS, THREADS, scaled, stack_of
from .device_stepping import grid_of, pieces
from .formats import FloatFormat
from .kernels import unit_decode
from .kernels.cuda import convert, launch, matrix_unit, tiles
from .kernels.cuda.launch import Queue
from .matrix_unit import MatrixUnit
from .parameters import FLOAT32, carrier_of
from .rounding import Rounding
from .unit_operands import Operand
from .unit_plan import Fast, arrangement, plan_vectors

_NONE = np.zeros((1, 1, 0), np.int32)


def check_unit(unit: MatrixUnit, words: bool) -> None:
    """Refuse a unit that has no kernel on the device, whatever its operands. Errors: NotImplementedError, ValueError."""
    if words:
        raise ValueError("seed or words given: a MatrixUnit rounds deterministically")
    for met, why in (
        (unit.tree != "fused", "rounds at every step"),
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
    ranges, order = arrangement(given.depth, unit)
    order = np.arange(given.depth) if order is None else order
    a = _apart(left, unit, unit.inputs[0], order, 2, unit.tf32_trunc, queue, refuse)
    b = _apart(right, unit, unit.inputs[1], order, 1, unit.tf32_trunc, queue, refuse)
    plan, total = _start(given, c, unit, a, b, ranges, queue, refuse)
    _launch(unit, plan, a, b, total, ranges[0], queue)
    result = queue.zeros(given.shape, dtype)
    scaled(total, stack_of(launch.array(result), "the result"), 0, AS_IT_IS, queue)
    return result


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
    kernel = convert.make_apart(int(truncates), flushes)
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
