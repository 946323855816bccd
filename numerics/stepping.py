"""Running the kernels that round at every step in float32 or float64, and BLAS where nothing is rounded."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .accumulator import Accumulator
from .aligned import aligned_array, aligned_copy, aligned_zeros
from .formats import FloatFormat
from .kernels import gemm, orders, threads
from .parameters import Carrier, parameter_row
from .planning import Plan
from .problem import Problem
from .quantizer import Quantizer
from .rounding import Overflow
from .steps import random_bits_of
from .words import unit_bytes

_COST, _DRAWN_COST, _KAHAN_COST = 0.15, 0.5, 0.9  # nanoseconds of a step: plain, with a word, compensated
NARROW = 32  # columns below which the lanes run along the rows of the output instead
WORDS_AT_ONCE = 1 << 22
_NO_WORDS = np.empty((0, 0, 0), np.uint32)
NO_COUNTS = np.empty((8, 0, 0, 0), np.uint32)


def step(
    problem: Problem,
    accumulator: Accumulator,
    plan: Plan,
    counts: NDArray[np.uint32] | None = None,
    counting: int = 0,
) -> NDArray[Any]:
    """The product [B, M, N] in the plan's carrier; overflows to be reported are infinite or NaN there.

    counts: [8, B, M, N], where events are added up; counting: what is known of the sums then, see `finite_tallies`.
    """
    dtype = plan.carrier.dtype
    if plan.kernel in ("sgemm", "dgemm"):
        product: NDArray[Any] = np.matmul(*(np.ascontiguousarray(x, dtype=dtype) for x in (problem.a, problem.b)))
        product += dtype.type(0.0) if problem.c is None else problem.c.astype(dtype)  # +0, never -0
        return product
    _, rows, columns = problem.shape
    source = source_of(problem, accumulator)
    turned = columns < NARROW and rows > columns and source != gemm.GIVEN and counts is None
    a, b = (problem.b.swapaxes(-1, -2), problem.a.swapaxes(-1, -2)) if turned else (problem.a, problem.b)
    a, b = np.ascontiguousarray(a, dtype=dtype), aligned_array(b, dtype)
    total = _start(problem, dtype, turned)
    if source == gemm.GIVEN:
        _in_blocks(problem, accumulator, plan, a, b, total, counts, counting)
    else:
        every = 0, total.shape[0] * total.shape[1]
        _launch(problem, accumulator, plan, source, a, b, total, every, turned, counts, counting)
    return np.ascontiguousarray(total.swapaxes(-1, -2)) if turned else total


def _start(problem: Problem, dtype: np.dtype[Any], turned: bool) -> NDArray[Any]:
    if problem.c is None:
        batches, rows, columns = problem.shape
        return aligned_zeros((batches, columns, rows) if turned else (batches, rows, columns), dtype)
    return aligned_copy(problem.c.swapaxes(-1, -2) if turned else problem.c, dtype)


def source_of(problem: Problem, accumulator: Accumulator) -> int:
    """Where words come from: drawn in the kernel where a block of them begins at every output's first step."""
    if not accumulator.stochastic:
        return gemm.DETERMINISTIC
    words, product = problem.words, accumulator.product
    assert words is not None
    if (
        words.given is not None
        or words.first_output
        or accumulator.order != "sequential"
        or (product is not None and product.stochastic)
    ):
        return gemm.GIVEN
    begins = {words.span, words.first}
    outer = None if accumulator.chunk is None else accumulator.combining.random_bits
    sums_end = problem.depth * (1 if product is None else 2)
    fits = begin_blocks(accumulator.random_bits, begins) and begin_blocks(outer, {*begins, sums_end})
    return gemm.DRAWN if fits else gemm.GIVEN


def begin_blocks(random_bits: int | None, elements: set[int]) -> bool:
    """Whether blocks of words begin at these elements, where words are drawn at all."""
    return random_bits is None or all(element % (16 // unit_bytes(random_bits)) == 0 for element in elements)


def _in_blocks(
    problem: Problem,
    accumulator: Accumulator,
    plan: Plan,
    a: NDArray[Any],
    b: NDArray[Any],
    total: NDArray[Any],
    counts: NDArray[np.uint32] | None,
    counting: int,
) -> None:
    """Launch with words laid out as the kernels read them, some rows at a time."""
    batches, rows, columns = total.shape
    held = rows_at_once(accumulator, problem.depth, columns)
    for start in range(0, batches * rows, held):
        stop = min(start + held, batches * rows)
        words = laid_words(problem, accumulator, start, stop)
        _launch(problem, accumulator, plan, gemm.GIVEN, a, b, total, (start, stop), False, counts, counting, words)


def rows_at_once(accumulator: Accumulator, depth: int, columns: int) -> int:
    """How many rows of outputs may have their words in memory."""
    return max(1, WORDS_AT_ONCE // (columns * accumulator.roundings(depth)))


def laid_words(problem: Problem, accumulator: Accumulator, start: int, stop: int) -> NDArray[np.uint32]:
    """The words of rows start ... stop - 1 of the outputs as the kernels read them, [rows, S, N]."""
    assert problem.words is not None
    columns, count = problem.shape[2], accumulator.roundings(problem.depth)
    bits = random_bits_of(accumulator, problem.depth)
    outputs = slice(start * columns, stop * columns)
    laid = np.zeros(((stop - start) * columns, count), np.uint32)
    for r in {int(r) for r in bits if r}:
        np.copyto(laid, problem.words.of(outputs, slice(0, count), r), where=bits == r)
    return np.ascontiguousarray(laid.reshape(stop - start, columns, count).swapaxes(1, 2))


def _launch(
    problem: Problem,
    accumulator: Accumulator,
    plan: Plan,
    source: int,
    a: NDArray[Any],
    b: NDArray[Any],
    total: NDArray[Any],
    span: tuple[int, int],
    turned: bool,
    counts: NDArray[np.uint32] | None,
    counting: int,
    words: NDArray[np.uint32] = _NO_WORDS,
) -> None:
    rows = rows_of(accumulator, plan.carrier)
    drawn = problem.words
    seed, stream, per_output, first = (0, 0, 0, 0) if drawn is None else drawn[:4]
    down, along = (1, problem.shape[2]) if turned else (problem.shape[2], 1)
    numbers = (np.uint64(n) for n in (seed, stream, per_output, first, down, along))
    given = gemm.Words(words, span[0], *numbers)
    depth, normalise = problem.depth, int(plan.normalise)
    modes = plan.mode, plan.product_mode
    options: tuple[Any, ...] = ()
    met = NO_COUNTS if counts is None else counts
    tiny = tiny_of(accumulator, plan.carrier)
    if accumulator.order == "pairwise":
        kernel = orders.make_tree(*modes, normalise, source, counting)
        options = (accumulator.block or 0, problem.c is not None)
    elif accumulator.order == "kahan":
        kernel = orders.make_kahan(*modes, normalise, source, counting)
    else:
        kernel = gemm.make_chain(*modes, plan.outer_mode, normalise, source, counting)
        options = (min(accumulator.chunk or depth, depth),)
    start, stop = span
    cost = _KAHAN_COST if accumulator.order == "kahan" else _DRAWN_COST if accumulator.stochastic else _COST
    threads.run(
        lambda i, j: kernel(a, b, total, rows, tiny, met, *options, given, start + i, start + j),
        stop - start,
        cost * depth * total.shape[2],
    )


def rows_of(accumulator: Accumulator, carrier: Carrier) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Parameter rows of sums, products and outer sums; what is added may carry the mark of an overflow to be reported."""
    product = accumulator.product
    watched = product is not None and product.overflow is Overflow.ERROR
    inner = _row(accumulator, carrier, watched)
    outer = _row(accumulator.combining, carrier, watched or accumulator.overflow is Overflow.ERROR)
    return inner, inner if product is None else _row(product, carrier, False), outer


def _row(part: Accumulator | Quantizer, carrier: Carrier, watched: bool) -> NDArray[Any]:
    fmt = part.fmt if isinstance(part, Quantizer) else part.format
    assert isinstance(fmt, FloatFormat)
    return parameter_row(fmt, part.rounding, part.overflow, part.random_bits, carrier, watched)


def tiny_of(accumulator: Accumulator, carrier: Carrier) -> NDArray[Any]:
    """The smallest normals of sums, products and outer sums, below which a rounding underflows."""
    product = accumulator.product_format
    formats = accumulator.format, accumulator.format if product is None else product, accumulator.combining.format
    return np.array([fmt.smallest_normal for fmt in formats if isinstance(fmt, FloatFormat)], carrier.dtype)
