"""Matrix products put on a CUDA device, by the plans of the CPU: the same order of k, the same random words.

Imported, like `device`, only when an array on a device is at hand.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .accumulator import Accumulator
from .device import facts_on, not_on_device
from .formats import FixedFormat
from .kernels import gemm
from .kernels.cuda import gemm as device_gemm
from .kernels.cuda import launch
from .kernels.cuda import orders as device_orders
from .kernels.cuda.launch import Queue
from .parameters import Carrier
from .planning import Plan, plans
from .problem import Facts, Problem, Words
from .products import check_output, check_result, source_of_words
from .rounding import Overflow
from .stepping import begin_blocks, rows_of

__all__ = ["matmul_on", "multiply_stacks", "plan_on", "problem_of"]

MOST_TILES = 65535  # of a grid, down and across batches
_NO_WORDS = np.zeros((1, 1), np.uint32)


def matmul_on(
    a: Any,
    b: Any,
    accumulator: Accumulator,
    *,
    seed: int | None = None,
    stream: int = 0,
    words: Any = None,
    queue: Queue,
) -> Any:
    """`numerics.matmul` of arrays on a device, the same bits: a new array of the queue, [..., M, N].

    a [..., M, K], b [..., K, N]: contiguous, float32 or float64, nothing empty; the batch dimensions of each are the
    result's, or all one. words: a host array, checked as there. The device is waited for: exactness is decided from
    the operands' bits.
    Errors: those of `numerics.matmul`; NotImplementedError for accumulators that have no CUDA kernel.
    """
    _check_offered(accumulator)
    with launch.on(queue):
        left, right = launch.array(a), launch.array(b)
        batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
        shape, depth = (*batch, left.shape[-2], right.shape[-1]), int(left.shape[-1])
        dtype = np.result_type(left.dtype, right.dtype)
        check_output(dtype, accumulator)
        drawn = source_of_words(accumulator, shape, depth, seed, stream, words)
        total = queue.zeros(shape, dtype)
        problem = problem_of(left, right, (facts_on(left, "a", queue), facts_on(right, "b", queue)), drawn)
        left, right = left.reshape(problem.a.shape), right.reshape(problem.b.shape)
        multiply_stacks(left, right, launch.array(total).reshape(problem.shape), problem, accumulator, queue)
        if any(part.overflow in (Overflow.ERROR, Overflow.IEEE) for part in _parts(accumulator)):
            check_result(launch.get(total, queue), accumulator)  # nothing else can become infinite or NaN
    return total


def plan_on(problem: Problem, accumulator: Accumulator) -> Plan:
    """The first exact plan that a kernel on the device has: BLAS there adds in an order of its own.

    Errors: NotImplementedError where BLAS is the only plan; ValueError as `planning.plans`.
    """
    for plan in plans(problem, accumulator):
        if plan.kernel not in ("sgemm", "dgemm"):
            return plan
    raise not_on_device(f"an accumulator in {accumulator.format} with these operands, which only BLAS adds exactly,")


def _parts(accumulator: Accumulator) -> tuple[Any, ...]:
    parts = accumulator, accumulator.product, accumulator.combining
    return tuple(part for part in parts if part is not None)


def _check_offered(accumulator: Accumulator) -> None:
    for part in (accumulator, accumulator.combining):
        if part.order == "exact":
            raise not_on_device(f"order {part.order!r}")
        if part.order != "sequential" and accumulator.chunk is not None:
            raise not_on_device(f"order {part.order!r} with chunks")
        if isinstance(part.format, FixedFormat):
            raise not_on_device(f"an accumulator in {part.format}")


def problem_of(a: Any, b: Any, known: tuple[Facts, Facts], words: Words | None) -> Problem:
    """The problem as planning sees it: the shapes of stacks of matrices and the facts, without the values."""
    stands: list[Any] = []
    for x in (a, b):
        batch = int(np.prod(x.shape[:-2], dtype=np.int64))
        stands.append(np.broadcast_to(np.dtype(x.dtype).type(0), (batch, *x.shape[-2:])))
    return Problem(stands[0], stands[1], None, (*known, None), words)


class _Piece(NamedTuple):
    """Batches and rows of the output that one launch computes: all rows, or of one batch."""

    batches: slice
    rows: slice


def _pieces(batches: int, rows: int, tile: int) -> Iterator[_Piece]:
    """The output cut into what a grid of tiles reaches."""
    most = MOST_TILES * tile
    if rows <= most:
        for start in range(0, batches, MOST_TILES):
            yield _Piece(slice(start, min(start + MOST_TILES, batches)), slice(0, rows))
        return
    for batch in range(batches):
        for start in range(0, rows, most):
            yield _Piece(slice(batch, batch + 1), slice(start, min(start + most, rows)))


def multiply_stacks(a: Any, b: Any, total: Any, problem: Problem, accumulator: Accumulator, queue: Queue) -> None:
    """total [B, M, N] += a [1 or B, M, K] @ b [1 or B, K, N], total being zeros."""
    plan = plan_on(problem, accumulator)
    _, height, width = problem.shape
    rows = _rows_on(queue.device, accumulator, plan.carrier)
    in_sequence = accumulator.order == "sequential"
    tile = device_gemm.TILE if in_sequence else device_orders.SIDE
    side = device_gemm.SIDE if in_sequence else device_orders.SIDE
    for piece in _pieces(*problem.shape[:2], tile):
        start = (piece.batches.start * height + piece.rows.start) * width
        out = total[piece.batches, piece.rows]
        outputs = slice(start, start + int(np.prod(out.shape)))
        left = a[piece.batches if a.shape[0] > 1 else slice(0, 1), piece.rows]
        right = b[piece.batches] if b.shape[0] > 1 else b
        source, words, numbers = _words(problem, accumulator, outputs, width)
        kernel, options = _kernel(plan, accumulator, problem.depth, source)
        grid = -(-width // tile), -(-out.shape[1] // tile), out.shape[0]
        given = launch.put(words) if source == gemm.GIVEN else _unused(queue.device)
        launch.launch(kernel, grid, (side, side), queue, left, right, out, rows, *options, given, numbers)


def _kernel(plan: Plan, accumulator: Accumulator, depth: int, source: int) -> tuple[Any, tuple[Any, ...]]:
    """(the kernel of an order, what it takes between the rows and the words)."""
    double = int(_is_double(plan.carrier))
    if accumulator.order == "sequential":
        modes = plan.mode, plan.product_mode, plan.outer_mode, int(plan.normalise)
        return device_gemm.make_chain(*modes, source, double), (min(accumulator.chunk or depth, depth),)
    constants = plan.mode, plan.product_mode, int(plan.normalise), source, double
    if accumulator.order == "kahan":
        return device_orders.make_kahan(*constants), ()
    return device_orders.make_tree(*constants), (accumulator.block or 0, False)


def _is_double(carrier: Carrier) -> bool:
    return carrier.dtype == np.float64


def _words(
    problem: Problem, accumulator: Accumulator, outputs: slice, width: int
) -> tuple[int, NDArray[np.uint32], tuple[np.uint64, ...]]:
    """(where words come from, those given, the numbers of `gemm.Words`) for a launch that computes these outputs."""
    drawn = problem.words
    if not accumulator.stochastic or drawn is None:
        return gemm.DETERMINISTIC, _NO_WORDS, (np.uint64(0),) * 6
    if drawn.given is not None:
        return gemm.GIVEN, np.ascontiguousarray(drawn.given[outputs]), (np.uint64(0),) * 6
    first = (drawn.first + outputs.start * drawn.span) % (1 << 64)
    singly = accumulator.order != "sequential" or (accumulator.product is not None and accumulator.product.stochastic)
    blocks = not singly and begin_blocks(accumulator.random_bits, {drawn.span, first})
    numbers = drawn.seed, drawn.stream, drawn.span, first, width, 1
    source = device_gemm.BLOCKS if blocks else device_gemm.SINGLY
    return source, _NO_WORDS, tuple(np.uint64(n) for n in numbers)


@lru_cache(maxsize=1024)
def _rows_on(device: int, accumulator: Accumulator, carrier: Carrier) -> Any:
    """`stepping.rows_of`, on the device, which is the current one."""
    return launch.put(rows_of(accumulator, carrier))


@lru_cache(maxsize=64)
def _unused(device: int) -> Any:
    return launch.put(_NO_WORDS)
