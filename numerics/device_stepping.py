"""Chains, trees and compensated sums of floats put on a CUDA device, by the plans of the CPU."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .accumulator import Accumulator
from .device import not_on_device
from .kernels import gemm
from .kernels.cuda import counting, launch, tiles
from .kernels.cuda import gemm as device_gemm
from .kernels.cuda import orders as device_orders
from .kernels.cuda.launch import Queue
from .parameters import Carrier
from .planning import Plan, first_plan, plans
from .problem import Facts, Problem, Words
from .stepping import begin_blocks, rows_of, tiny_of
from .tallies import counting_plan, nothing_happens

BLAS = "sgemm", "dgemm"
MOST_TILES = 65535  # of a grid, down and across batches
_NO_WORDS = np.zeros((1, 1), np.uint32)


def plan_on(problem: Problem, accumulator: Accumulator) -> Plan:
    """The first exact plan that a kernel on the device has: BLAS there adds in an order of its own.

    Errors: NotImplementedError where BLAS is the only plan; ValueError as `planning.plans`.
    """
    for plan in plans(problem, accumulator):
        if plan.kernel not in BLAS:
            return plan
    raise not_on_device(f"an accumulator in {accumulator.format} with these operands, which only BLAS adds exactly,")


def check_leaves(accumulator: Accumulator, depth: int) -> None:
    """Refuse trees whose stack shared memory does not hold."""
    leaves = -(-depth // (accumulator.block or 1))
    if accumulator.order == "pairwise" and leaves >= 1 << device_orders.LEVELS:
        raise NotImplementedError(
            f"a pairwise tree of {leaves} leaves: on CUDA there are fewer than 2**{device_orders.LEVELS}; give block= or"
            " chunk= for fewer, or move the operands with .cpu()"
        )


def problem_of(a: Any, b: Any, known: tuple[Facts, Facts], words: Words | None, addend: Facts | None = None) -> Problem:
    """The problem as planning sees it: the shapes of stacks of matrices and the facts, without the values."""
    stands: list[Any] = []
    for x in (a, b):
        batch = int(np.prod(x.shape[:-2], dtype=np.int64))
        stands.append(np.broadcast_to(np.dtype(x.dtype).type(0), (batch, *x.shape[-2:])))
    shape = max(stands[0].shape[0], stands[1].shape[0]), stands[0].shape[1], stands[1].shape[2]
    start = None if addend is None else np.broadcast_to(np.float64(0), shape)
    return Problem(stands[0], stands[1], start, (*known, addend), words)


class Piece(NamedTuple):
    """What one launch computes: operands, the outputs in each array of results, and which numbers they have."""

    a: Any
    b: Any
    outs: tuple[Any, ...]
    outputs: slice


def pieces(a: Any, b: Any, outs: tuple[Any, ...], tile: int) -> Iterator[Piece]:
    """The output, outs[.] [B, M, N], cut into what a grid of tiles reaches."""
    batches, height, width = outs[0].shape
    most = MOST_TILES * tile
    for batch, stop in ((n, min(n + MOST_TILES, batches)) for n in range(0, batches, MOST_TILES)):
        # Rows of several batches do not lie one after the other in number unless all of them are there.
        each = [(batch, stop)] if height <= most else [(n, n + 1) for n in range(batch, stop)]
        for first, last in each:
            for row in range(0, height, most):
                here, rows = slice(first, last), slice(row, min(row + most, height))
                cut = tuple(out[here, rows] for out in outs)
                start = (first * height + row) * width
                left = a[here if a.shape[0] > 1 else slice(0, 1), rows]
                right = b[here] if b.shape[0] > 1 else b
                yield Piece(left, right, cut, slice(start, start + int(np.prod(cut[0].shape))))


def multiply_stacks(
    a: Any, b: Any, total: Any, problem: Problem, accumulator: Accumulator, queue: Queue, counts: Any = None
) -> None:
    """total [B, M, N] += a [1 or B, M, K] @ b [1 or B, K, N]; total is zeros, or the problem's c.

    counts: int32 [B, M, N, 8], to which events are added, None: they are not counted.
    """
    check_leaves(accumulator, problem.depth)
    if counts is not None and not nothing_happens(problem, accumulator, first_plan(problem, accumulator)):
        _count(a, b, total, counts, problem, accumulator, queue)
        return
    plan = plan_on(problem, accumulator)
    rows = _rows_on(queue.device, accumulator, plan.carrier)
    in_sequence = accumulator.order == "sequential"
    tile = device_gemm.TILE if in_sequence else tiles.SIDE
    for piece in pieces(a, b, (total,), tile):
        source, words, numbers = words_of(problem, accumulator, piece.outputs)
        kernel, options, more = _kernel(plan, accumulator, problem, source, queue)
        given = launch.put(words) if source == gemm.GIVEN else unused(queue.device)
        arguments = piece.a, piece.b, *piece.outs, rows, *options, given, numbers, *more
        launch.launch(kernel, grid_of(piece, tile), (tiles.SIDE, tiles.SIDE), queue, *arguments)


def _count(a: Any, b: Any, total: Any, counts: Any, problem: Problem, accumulator: Accumulator, queue: Queue) -> None:
    _, plan = counting_plan(problem, accumulator, plans(problem, accumulator))
    rows = _counting_rows_on(queue.device, accumulator, plan.carrier)
    depth, double = problem.depth, int(_is_double(plan.carrier))
    for piece in pieces(a, b, (total, counts), tiles.SIDE):
        source, words, numbers = words_of(problem, accumulator, piece.outputs, singly=True)
        constants = plan.mode, plan.product_mode, int(plan.normalise), source, double
        options: tuple[Any, ...] = ()
        if accumulator.order == "sequential":
            kernel = counting.make_chain(*constants[:2], plan.outer_mode, *constants[2:])
            options = (min(accumulator.chunk or depth, depth),)
        elif accumulator.order == "kahan":
            kernel = counting.make_kahan(*constants)
        else:
            kernel = counting.make_tree(*constants)
            options = accumulator.block or 0, problem.facts[2] is not None
        given = launch.put(words) if source == gemm.GIVEN else unused(queue.device)
        out, noted = piece.outs
        arguments = piece.a, piece.b, out, rows, *options, given, numbers, noted
        launch.launch(kernel, grid_of(piece, tiles.SIDE), (tiles.SIDE, tiles.SIDE), queue, *arguments)


def grid_of(piece: Piece, tile: int) -> tuple[int, int, int]:
    """The grid of tiles over the outputs of a piece."""
    batches, height, width = piece.outs[0].shape
    return -(-width // tile), -(-height // tile), batches


def _kernel(plan: Plan, accumulator: Accumulator, problem: Problem, source: int, queue: Queue) -> tuple[Any, ...]:
    """(the kernel of an order, what it takes between the rows and the words, what it takes after the numbers)."""
    double, depth = int(_is_double(plan.carrier)), problem.depth
    if accumulator.order == "sequential":
        modes = plan.mode, plan.product_mode, plan.outer_mode, int(plan.normalise)
        return device_gemm.make_chain(*modes, source, double), (min(accumulator.chunk or depth, depth),), ()
    constants = plan.mode, plan.product_mode, int(plan.normalise), source, double
    if accumulator.order == "kahan":
        return device_orders.make_kahan(*constants), (), (no_firsts(queue.device),)
    options = accumulator.block or 0, problem.facts[2] is not None
    return device_orders.make_tree(*constants), options, (no_firsts(queue.device),)


def _is_double(carrier: Carrier) -> bool:
    return carrier.dtype == np.float64


def words_of(
    problem: Problem, accumulator: Accumulator, outputs: slice, *, singly: bool = False
) -> tuple[int, NDArray[np.uint32], tuple[np.uint64, ...]]:
    """(where words come from, those given, the numbers of `gemm.Words`) for a launch that computes these outputs."""
    drawn = problem.words
    if not accumulator.stochastic or drawn is None:
        return gemm.DETERMINISTIC, _NO_WORDS, (np.uint64(0),) * 6
    if drawn.given is not None:
        own = slice(drawn.first, drawn.first + accumulator.roundings(problem.depth))
        return gemm.GIVEN, np.ascontiguousarray(drawn.given[outputs, own]), (np.uint64(0),) * 6
    first = (drawn.first + outputs.start * drawn.span) % (1 << 64)
    singly = singly or accumulator.order != "sequential"
    singly = singly or (accumulator.product is not None and accumulator.product.stochastic)
    blocks = not singly and begin_blocks(accumulator.random_bits, {drawn.span, first})
    numbers = drawn.seed, drawn.stream, drawn.span, first, problem.shape[2], 1
    source = device_gemm.BLOCKS if blocks else device_gemm.SINGLY
    return source, _NO_WORDS, tuple(np.uint64(n) for n in numbers)


@lru_cache(maxsize=1024)
def _rows_on(device: int, accumulator: Accumulator, carrier: Carrier) -> Any:
    """`stepping.rows_of`, on the device, which is the current one."""
    return launch.put(rows_of(accumulator, carrier))


@lru_cache(maxsize=256)
def _counting_rows_on(device: int, accumulator: Accumulator, carrier: Carrier) -> Any:
    """The same, each beside the smallest normal of its format."""
    tiny = tiny_of(accumulator, carrier)
    rows = zip(rows_of(accumulator, carrier), (tiny[i : i + 1].copy() for i in range(3)), strict=True)
    return launch.put(tuple(rows))


@lru_cache(maxsize=64)
def unused(device: int) -> Any:
    """Words of a kernel that reads none."""
    return launch.put(_NO_WORDS)


@lru_cache(maxsize=64)
def no_firsts(device: int) -> Any:
    """Where a kernel that reports nothing would write reports."""
    return launch.put(np.zeros((1, 1, 1), np.int32))
