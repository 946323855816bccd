"""Exact sums put on a CUDA device, where float64 holds every partial sum: added there as they come, and rounded once."""

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from .accumulator import Accumulator
from .device import not_on_device, quantize_on
from .device_stepping import grid_of, pieces, unused
from .exact_routes import one_product
from .formats import FloatFormat
from .kernels import gemm, modes
from .kernels.cuda import gemm as device_gemm
from .kernels.cuda import launch, tiles
from .kernels.cuda.launch import Queue
from .parameters import FLOAT64
from .problem import Problem
from .quantizer import Quantizer
from .rounding import Rounding

_NO_NUMBERS = (np.uint64(0),) * 6


def check_exact(accumulator: Accumulator) -> None:
    """Refuse an exact sum of which no operands have a kernel on the device."""
    fmt = accumulator.format
    for met, why in (
        (accumulator.product is not None, "of rounded products"),
        (not isinstance(fmt, FloatFormat) or not fmt.signed or not FLOAT64.holds(fmt), f"in {fmt}"),
        (accumulator.rounding is Rounding.RTN, "rounded down"),  # whose zeros have signs that the sum does not tell
    ):
        if met:
            raise not_on_device(f"order 'exact' {why}")


def exact_on(
    a: Any, b: Any, c: Any, problem: Problem, accumulator: Accumulator, queue: Queue, refuse: Callable[[], NoReturn]
) -> Any:
    """a @ b, rounded once, as float64 [B, M, N].

    refuse: raises the sentence of the CPU. Errors: NotImplementedError with c, and where float64 may round a sum.
    """
    if c is not None:
        raise not_on_device("order 'exact' with c")
    if one_product(FLOAT64, *problem.facts[:2], problem.depth) is None:
        raise not_on_device("order 'exact' with these operands, whose sums float64 does not hold,")
    total = launch.array(queue.zeros(problem.shape, np.dtype(np.float64)))
    kernel = device_gemm.make_chain(modes.NATIVE_IEEE, modes.NO_ROUNDING, modes.NO_ROUNDING, 0, gemm.DETERMINISTIC, 1)
    row = launch.put(np.zeros(modes.ROW_LENGTH, np.uint64))
    for piece in pieces(a, b, (total,), device_gemm.TILE):
        where = grid_of(piece, device_gemm.TILE), (tiles.SIDE, tiles.SIDE), queue
        rest = (row, row, row), problem.depth, unused(queue.device), _NO_NUMBERS
        launch.launch(kernel, *where, piece.a, piece.b, *piece.outs, *rest)
    once = Quantizer(accumulator.format, accumulator.rounding, accumulator.overflow, accumulator.random_bits)
    drawn: dict[str, Any] = {}
    if problem.words is not None:
        count = total.size
        words = problem.words.of(slice(0, count), slice(0, 1), accumulator.random_bits or 0)
        drawn = {"words": words.reshape(problem.shape)}
    rounded = launch.array(
        queue.zeros(problem.shape, np.dtype(np.float64))
    )  # apart: an error is looked for in the sums
    try:
        quantize_on(once, total, rounded, queue=queue, **drawn)
    except (OverflowError, ValueError):
        refuse()
    return rounded
