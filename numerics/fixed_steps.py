"""Fixed-point products step by step: the loops over lanes in a carrier, and the one on integers of 128 bits."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .accumulator import Accumulator
from .events import Events
from .fixed_routes import THRESHOLD_BITS
from .fixed_sizes import Sizes, grid_format, product_point, shifts
from .kernels import fixed_exact, fixed_gemm, fixed_lanes, modes, threads
from .parameters import FLOAT32, Carrier
from .problem import Problem
from .quantizer import Quantizer
from .rounding import Overflow

MAC_COST, _EXACT_COST = 0.1, 20.0  # nanoseconds of a step in lanes, and of one on wide integers
WORDS_AT_ONCE = 1 << 16  # random words that are held at a time: they and what is made of them stay in the second cache
COLUMNS = 1024  # lanes whose sums stay in the first cache
NARROW = 32  # columns below which the lanes run along the rows of the output instead

# Slots of the events in the notes of the kernels, by their names in `Events`; in fixed point nothing underflows.
EVENTS = {
    "product_overflow": fixed_gemm.PRODUCT_OVERFLOW,
    "product_inexact": fixed_gemm.PRODUCT_INEXACT,
    "overflow": fixed_gemm.OVERFLOW,
    "inexact": fixed_gemm.INEXACT,
    "swamped": fixed_gemm.SWAMPED,
    "absorbed": fixed_gemm.ABSORBED,
}


Roundings = tuple[Accumulator | Quantizer, slice]  # whose, and which numbers they have


class Noted(NamedTuple):
    """A product as integers of grid steps [B, M, N], and what was noted of each output."""

    integers: NDArray[Any]  # of any type that holds them: what a kernel left is not converted on the way
    counts: dict[str, NDArray[Any]] | None = None
    firsts: NDArray[np.int64] | None = None  # number of the first rounding whose overflow is an error, or -1


def scaled(x: NDArray[Any], shift: int, dtype: Any) -> NDArray[Any]:
    """x * 2**shift as a contiguous array of another dtype, which holds it exactly."""
    if shift == 0:
        return np.ascontiguousarray(x, dtype)
    if abs(shift) > 1000:
        return np.ascontiguousarray(np.ldexp(x.astype(np.float64), shift), dtype)
    return np.ascontiguousarray(np.multiply(x, 2.0**shift, dtype=np.float64), dtype)


def parts(x: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(integers of at most 53 bits, exponents of two) whose products are the elements; contiguous."""
    fraction, exponent = np.frexp(np.ascontiguousarray(x, np.float64))
    return (fraction * 2.0**53).astype(np.int64), exponent.astype(np.int64) - 53


def integers(x: NDArray[Any], shift: int) -> NDArray[np.int64]:
    """x * 2**shift, whole numbers, modulo 2**64 as two's complement."""
    significand, exponent = parts(x)
    left = exponent + shift
    up = np.where(left < 64, significand << np.clip(left, 0, 63), 0)
    return np.where(left >= 0, up, significand >> np.clip(-left, 0, 63))


def one_batch(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """a as one matrix where all batches have the same b: rows of different batches then share what is loaded of it."""
    return a.reshape(1, -1, a.shape[-1]) if b.shape[0] == 1 else a


def rule_of(overflow: Overflow) -> int:
    """The kernels' number of an overflow rule; infinities do not occur, so PROPAGATE is SATURATE."""
    return {Overflow.WRAP: fixed_gemm.WRAPS, Overflow.ERROR: fixed_gemm.REPORTS}.get(overflow, fixed_gemm.CLAMPS)


def merged_words(problem: Problem, accumulator: Accumulator, outputs: slice) -> NDArray[np.uint32]:
    """Words [outputs, S] of all roundings, those of products and of sums with their own numbers of bits."""
    count = accumulator.roundings(problem.depth)
    words = np.zeros((outputs.stop - outputs.start, count), np.uint32)
    for part, steps in steps_of(accumulator, problem.depth):
        if part.random_bits is not None and problem.words is not None:
            words[:, steps] = problem.words.of(outputs, slice(0, count), part.random_bits)[:, steps]
    return words


def steps_of(accumulator: Accumulator, depth: int) -> list[Roundings]:
    """Whose roundings an output has at which numbers: `Accumulator.roundings` as slices, all with an end and a stride."""
    count, product = accumulator.roundings(depth), accumulator.product
    if product is None:
        return [(accumulator, slice(0, count, 1))]
    if accumulator.order == "pairwise" and accumulator.block is None:
        return [(product, slice(0, depth, 1)), (accumulator, slice(depth, count, 1))]
    chains: list[Roundings] = [(product, slice(0, 2 * depth, 2)), (accumulator, slice(1, 2 * depth, 2))]
    return [*chains, (accumulator, slice(2 * depth, count, 1))]


# --- lanes


def grid_row(part: Accumulator | Quantizer, fmt: Any, ratio: int, dtype: Any) -> NDArray[Any]:
    """The row of a grid and its limits; ratio: its step in steps of the sums' grid, as an exponent of two."""
    grid = grid_format(fmt)
    row = np.zeros(9, np.float64)
    row[fixed_gemm.LOWEST], row[fixed_gemm.HIGHEST] = grid.lowest_integer, grid.largest_code
    row[fixed_gemm.SPAN], row[fixed_gemm.PER_SPAN] = 2.0**grid.bits, 2.0**-grid.bits
    row[fixed_gemm.ONE], row[fixed_gemm.HALF], row[fixed_gemm.RATIO] = 1.0, 0.5, 2.0**ratio
    row[fixed_gemm.NEVER], row[fixed_gemm.REPORTED] = np.inf, part.overflow is Overflow.ERROR
    return row.astype(dtype)


def _lane_mode(part: Accumulator | Quantizer | None, rounds: bool) -> int:
    if part is None or not rounds:
        return modes.NO_ROUNDING
    return modes.SR if part.rounding.stochastic else int(part.rounding)


def lane_rule(part: Accumulator | Quantizer | None) -> int:
    """The overflow rule of lanes, which clamp what is reported."""
    return fixed_gemm.WRAPS if part is not None and part.overflow is Overflow.WRAP else fixed_gemm.CLAMPS


class _Thresholds:
    """Makes the thresholds of rows and columns from their words, in the carrier's type."""

    def __init__(self, problem: Problem, accumulator: Accumulator, carrier: Carrier, sizes: Sizes) -> None:
        self.problem, self.carrier = problem, carrier
        self.count = accumulator.roundings(problem.depth)
        self.columns = problem.shape[-1]
        drawn = [(part, own) for part, own in steps_of(accumulator, problem.depth) if part.rounding.stochastic]
        products = [(part, own) for part, own in drawn if part is not accumulator and sizes.rounds_products]
        sums: list[Roundings] = [(part, own) for part, own in drawn if part is accumulator and not sizes.on_grid]
        self.drawn = products, sums
        self.none = np.zeros((1, 1, 1), carrier.dtype)

    @property
    def any(self) -> bool:
        return any(self.drawn)

    def tiles(self, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
        """Rows and columns (i, end, j0, j1) whose sums or words are held at a time."""
        rows, width = stop - start, COLUMNS
        if self.any:
            rows = max(1, WORDS_AT_ONCE // (self.count * self.columns))
            width = self.columns if rows > 1 else max(64, WORDS_AT_ONCE // self.count)
        for i in range(start, stop, rows):
            for j0 in range(0, self.columns, width):
                yield i, min(i + rows, stop), j0, min(j0 + width, self.columns)

    def of(self, start: int, stop: int, j0: int, j1: int) -> list[NDArray[Any]]:
        """Thresholds [rows, S, columns] of products and of sums; of one row only unless all columns are asked for."""
        outputs = slice(start * self.columns + j0, (stop - 1) * self.columns + j1)
        shape = stop - start, self.count, j1 - j0
        return [self._made(drawn, outputs, shape) if drawn else self.none for drawn in self.drawn]

    def _made(self, drawn: list[Roundings], outputs: slice, shape: tuple[int, int, int]) -> NDArray[Any]:
        part, made = drawn[0][0], np.empty(shape, self.carrier.dtype)
        assert self.problem.words is not None and part.random_bits is not None
        words = np.ascontiguousarray(self.problem.words.of(outputs, slice(0, self.count), part.random_bits))
        cut = max(0, part.random_bits - THRESHOLD_BITS[self.carrier.name])
        for _, own in drawn:
            fixed_gemm.fill_thresholds(
                words, made, own.start, own.stop, own.step, int(part.rounding), part.random_bits, cut
            )
        return made


def stepped_product(
    problem: Problem, accumulator: Accumulator, sizes: Sizes, carrier: Carrier, odd: bool, watch: int
) -> Noted:
    """The product by steps in lanes of the carrier, which the route has proved exact."""
    thresholds = _Thresholds(problem, accumulator, carrier, sizes)
    batches, rows, columns = problem.shape
    if columns < NARROW and rows > columns and not thresholds.any:
        return _turn_back(stepped_product(turned(problem), accumulator, sizes.turned, carrier, odd, watch))
    point = product_point(accumulator, sizes)
    by_a, by_b = shifts(sizes, point)
    dtype = carrier.dtype
    a, b = scaled(problem.a, by_a, dtype), scaled(problem.b, by_b, dtype)
    total = np.zeros(problem.shape, dtype)
    if problem.c is not None:
        total[...] = scaled(problem.c, -sizes.grid, dtype)
    a = one_batch(a, b)
    shared = total.reshape(1, -1, columns) if b.shape[0] == 1 else total
    in_lanes = carrier is FLOAT32 and sizes.on_grid and not (odd or sizes.rounds_products)
    if watch == fixed_gemm.COUNTS and in_lanes and accumulator.order == "sequential":
        return _counted_in_lanes(a, b, total, shared, accumulator)
    kernel, product_row, row, stride, block = step_loop(accumulator, sizes, dtype, odd, watch)
    notes = _empty_notes((batches * rows, columns), sizes, watch, dtype)

    def part(start: int, stop: int) -> None:
        for i, end, j0, j1 in thresholds.tiles(start, stop):
            draws = thresholds.of(i, end, j0, j1)
            kernel(a, b, shared, *draws, product_row, row, notes, stride, block, i, end, j0, j1)

    threads.run(part, batches * rows, MAC_COST * problem.depth * columns)
    return _read(total, notes, sizes, watch)


def _counted_in_lanes(
    a: NDArray[Any], b: NDArray[Any], total: NDArray[Any], shared: NDArray[Any], accumulator: Accumulator
) -> Noted:
    """The chain of whole numbers, in float32, with its counts; shared: `total` with the batches of a."""
    rows, columns = total.shape[0] * total.shape[1], total.shape[2]
    over, swamped = (np.zeros((rows, columns), np.uint32) for _ in range(2))
    kernel = fixed_lanes.make_counted_chain(lane_rule(accumulator))
    row = grid_row(accumulator, accumulator.format, 0, total.dtype)
    threads.run(lambda i, j: kernel(a, b, shared, row, over, swamped, i, j), rows, MAC_COST * a.shape[2] * columns)
    overflow, equal = (count.view(np.int32).reshape(total.shape) for count in (over, swamped))
    return Noted(total, completed({"overflow": overflow, "inexact": overflow.copy(), "swamped": equal}, total.shape))


def step_loop(
    accumulator: Accumulator, sizes: Sizes, dtype: Any, odd: bool, watch: int
) -> tuple[Any, NDArray[Any], NDArray[Any], int, int]:
    """(the kernel of steps in lanes, the rows of products and of sums, words of a step, leaves of a block)."""
    product = accumulator.product
    row = grid_row(accumulator, accumulator.format, 0, dtype)
    ratio = product_point(accumulator, sizes) - sizes.grid
    product_row = row if product is None else grid_row(product, product.fmt, ratio, dtype)
    make = fixed_gemm.make_tree if accumulator.order == "pairwise" else fixed_gemm.make_chain
    kernel = make(
        _lane_mode(accumulator, not sizes.on_grid),
        lane_rule(accumulator),
        _lane_mode(product, sizes.rounds_products),
        lane_rule(product if sizes.rounds_products else None),
        int(odd),
        watch,
    )
    return kernel, product_row, row, 1 if product is None else 2, accumulator.block or fixed_gemm.PAIRS


def no_notes(dtype: Any) -> tuple[NDArray[Any], ...]:
    """What a kernel that notes nothing is given."""
    return tuple(np.zeros((1, 1), dtype) for _ in range(fixed_gemm.EVENTS))


def _empty_notes(outputs: tuple[int, int], sizes: Sizes, watch: int, dtype: Any) -> tuple[NDArray[Any], ...]:
    """What the kernel writes notes to: an array for each event, of one row where it writes nothing."""
    if watch == fixed_gemm.NOTHING:
        return no_notes(dtype)
    written = {0}
    if watch == fixed_gemm.COUNTS:
        written = {fixed_gemm.OVERFLOW, fixed_gemm.SWAMPED}
        written |= set() if sizes.on_grid else {fixed_gemm.INEXACT, fixed_gemm.ABSORBED}
        written |= {fixed_gemm.PRODUCT_OVERFLOW, fixed_gemm.PRODUCT_INEXACT} if sizes.rounds_products else set()
    rows, columns = outputs
    start = np.inf if watch == fixed_gemm.FIRST else 0
    return tuple(np.full((rows if slot in written else 1, columns), start, dtype) for slot in range(fixed_gemm.EVENTS))


def _read(integers: NDArray[Any], notes: tuple[NDArray[Any], ...], sizes: Sizes, watch: int) -> Noted:
    """The notes as what they say of [B, M, N]."""
    if watch == fixed_gemm.NOTHING:
        return Noted(integers)
    if watch == fixed_gemm.FIRST:
        firsts = np.where(np.isinf(notes[0]), -1, notes[0]).astype(np.int64)
        return Noted(integers, firsts=firsts.reshape(integers.shape))
    slots = EVENTS | ({"inexact": fixed_gemm.OVERFLOW} if sizes.on_grid else {})
    rows = len(notes[fixed_gemm.OVERFLOW])
    written = {name: notes[slot] for name, slot in slots.items() if len(notes[slot]) == rows}
    counted = {name: line.astype(np.int64).reshape(integers.shape) for name, line in written.items()}
    return Noted(integers, completed(counted, integers.shape))


def completed(counts: dict[str, NDArray[Any]], shape: tuple[int, ...]) -> dict[str, NDArray[Any]]:
    """The counts in the order of `Events`, with zeros for what cannot happen."""
    names = [field.name for field in fields(Events)]
    return {name: counts[name] if name in counts else np.zeros(shape, np.int32) for name in names}


def turned(problem: Problem) -> Problem:
    """The problem whose result is the transpose; for products whose words do not matter."""
    a, b, c = problem.facts
    addend = None if problem.c is None else problem.c.swapaxes(1, 2)
    return Problem(problem.b.swapaxes(1, 2), problem.a.swapaxes(1, 2), addend, (b, a, c), None)


def _turn_back(noted: Noted) -> Noted:
    def back(x: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(x.swapaxes(1, 2))

    counts = None if noted.counts is None else {name: back(x) for name, x in noted.counts.items()}
    return Noted(back(noted.integers), counts, None if noted.firsts is None else back(noted.firsts))


# --- integers of 128 bits


def _facts_row(part: Accumulator | Quantizer, fmt: Any) -> NDArray[np.int64]:
    grid, r = grid_format(fmt), part.random_bits or 32
    row = np.zeros(fixed_exact.FACTS, np.int64)
    row[fixed_exact.MODE], row[fixed_exact.RULE] = int(part.rounding), rule_of(part.overflow)
    for slot, limit in ((fixed_exact.LARGEST, grid.largest_code), (fixed_exact.LARGEST_NEGATIVE, -grid.lowest_integer)):
        row[slot] = limit - (1 << 64) if limit >= 1 << 63 else limit  # the pattern of an unsigned integer
    row[fixed_exact.BITS], row[fixed_exact.SIGNED] = grid.bits, int(grid.signed)
    row[fixed_exact.MASK], row[fixed_exact.SHIFT] = (1 << 32) - (1 << (32 - r)), 32 - r
    row[fixed_exact.GRID] = -grid.fraction_bits
    return row


def exact_product(problem: Problem, accumulator: Accumulator) -> Noted:
    """The product on integers of 128 bits, with all that can be noted."""
    outputs = int(np.prod(problem.shape))
    a, b = parts(problem.a), parts(problem.b.swapaxes(1, 2))
    start = np.zeros(problem.shape) if problem.c is None else np.broadcast_to(problem.c, problem.shape)
    c = parts(start.reshape(-1))
    total = np.empty(outputs, np.int64)
    counts, firsts = np.zeros((outputs, fixed_gemm.EVENTS), np.int64), np.full(outputs, np.iinfo(np.int64).max)
    facts, product = _facts_row(accumulator, accumulator.format), accumulator.product
    product_facts = facts.copy() if product is None else _facts_row(product, product.fmt)
    if product is None:
        product_facts[fixed_exact.MODE] = modes.NO_ROUNDING
    drawn, block = problem.words is not None and accumulator.stochastic, accumulator.block or fixed_gemm.PAIRS
    count, pairwise = accumulator.roundings(problem.depth), int(accumulator.order == "pairwise")
    at_once = max(1, WORDS_AT_ONCE // count)
    none = np.zeros((1, count), np.uint32)

    def part(begin: int, end: int) -> None:
        for first in range(begin, end, at_once if drawn else end - begin):
            last = min(first + at_once, end) if drawn else end
            words = merged_words(problem, accumulator, slice(first, last)) if drawn else none
            fixed_exact.exact_product(
                a, b, c, total, words, product_facts, facts, counts, firsts, pairwise, block, first, first, last
            )

    threads.run(part, outputs, _EXACT_COST * problem.depth)
    firsts[firsts == np.iinfo(np.int64).max] = -1
    named = {name: counts[:, slot].reshape(problem.shape) for name, slot in EVENTS.items()}
    return Noted(total.reshape(problem.shape), completed(named, problem.shape), firsts.reshape(problem.shape))
