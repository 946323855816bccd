"""Sums in fixed point put on a CUDA device, by the routes of the CPU: chains and trees, in grid steps held by floats."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

import numpy as np

from .accumulator import Accumulator
from .device import not_on_device
from .device_arrays import NO_MINUS, copied, flat_of, has_negative
from .device_stepping import check_leaves, grid_of, no_firsts, pieces, unused, words_of
from .fixed_routes import Route, reporting, routes
from .fixed_sizes import Sizes, fits, grid_format, product_point, shifts, sizes_of
from .fixed_steps import grid_row, lane_rule, merged_words, rule_of
from .kernels import fixed_gemm, gemm, modes
from .kernels.cuda import fixed, launch, tiles
from .kernels.cuda.launch import Queue
from .parameters import FLOAT32, FLOAT64, Carrier
from .problem import Problem
from .rounding import Overflow

_CARRIERS = {FLOAT32.name: FLOAT32, FLOAT64.name: FLOAT64}


def route_on(problem: Problem, accumulator: Accumulator, sizes: Sizes) -> Route:
    """The first route by steps in floats, the only ones that a kernel on the device has.

    Errors: NotImplementedError where there is none; ValueError as `fixed_routes.routes`.
    """
    for route in routes(problem, accumulator, sizes):
        name, _, kind = route.name.partition(" ")
        # A route with limits alone is a chain whose sums need no rounding.
        if name in _CARRIERS and kind in ("", "steps", "odd"):
            return route
    raise not_on_device(
        f"an accumulator in {accumulator.format} with these operands, whose sums float64 does not hold,"
    )


def fixed_on(
    a: Any, b: Any, c: Any, problem: Problem, accumulator: Accumulator, queue: Queue, refuse: Callable[[], NoReturn]
) -> Any:
    """c + a @ b as values [B, M, N] in the carrier of the route; one chain or tree.

    refuse: raises the sentence of the CPU; called for a negative operand of an unsigned format and an overflow that is an
    error.
    """
    check_leaves(accumulator, problem.depth)
    _check_signs((a, b), c, accumulator, queue, refuse)
    sizes = sizes_of(problem, accumulator)
    route = route_on(problem, accumulator, sizes)
    name, _, kind = route.name.partition(" ")
    carrier = _CARRIERS[name]
    by_a, by_b = shifts(sizes, product_point(accumulator, sizes))
    left, right = (copied(x, queue, dtype=carrier.dtype, shift=by) for x, by in ((a, by_a), (b, by_b)))
    if c is None:
        total = launch.array(queue.zeros(problem.shape, carrier.dtype))
    else:
        total = copied(c, queue, dtype=carrier.dtype, shift=-sizes.grid, batches=problem.shape[0])
    constants = _constants(accumulator, sizes, carrier, kind == "odd")
    firsts = launch.array(queue.zeros(problem.shape, np.dtype(np.int32))) if constants.reports else None
    _launch(left, right, total, firsts, problem, accumulator, constants, queue)
    if firsts is not None and bool((launch.get(firsts, queue) >= 0).any()):
        refuse()
    return copied(total, queue, shift=-grid_format(accumulator.format).fraction_bits, zero=NO_MINUS)


class _Constants(NamedTuple):
    """What a kernel is made of, and the step of products' grid in steps of the sums', as an exponent of two."""

    mode: int
    rule: int
    product_mode: int
    product_rule: int
    odd: int
    carrier: Carrier
    ratio: int

    @property
    def reports(self) -> bool:
        """Whether the kernel writes which rounding overflowed first."""
        return fixed_gemm.REPORTS in (self.rule, self.product_rule)


def _constants(accumulator: Accumulator, sizes: Sizes, carrier: Carrier, odd: bool) -> _Constants:
    product = accumulator.product if sizes.rounds_products else None
    strict = reporting(accumulator) and not fits(accumulator, sizes)
    return _Constants(
        modes.NO_ROUNDING if sizes.on_grid else int(accumulator.rounding),
        rule_of(accumulator.overflow) if strict else lane_rule(accumulator),
        modes.NO_ROUNDING if product is None else int(product.rounding),
        rule_of(product.overflow) if strict and product is not None else lane_rule(product),
        int(odd),
        carrier,
        product_point(accumulator, sizes) - sizes.grid,
    )


def _check_signs(
    sides: tuple[Any, Any], c: Any, accumulator: Accumulator, queue: Queue, refuse: Callable[[], NoReturn]
) -> None:
    formats = [accumulator.format] + ([] if accumulator.product_format is None else [accumulator.product_format])
    if all(fmt.signed for fmt in formats):
        return
    product, fmt = accumulator.product, accumulator.format
    if product is not None and not fmt.signed and formats[1].signed and product.overflow is Overflow.WRAP:
        refuse()
    looked_at = [*sides] + ([c] if c is not None and not fmt.signed else [])
    if any(has_negative(flat_of(x, queue), queue) for x in looked_at):
        refuse()


def _launch(
    a: Any,
    b: Any,
    total: Any,
    firsts: Any,
    problem: Problem,
    accumulator: Accumulator,
    how: _Constants,
    queue: Queue,
) -> None:
    product, carrier = accumulator.product, how.carrier
    (grid, product_grid), (row, product_row) = _rows_on(queue.device, accumulator, carrier, how.ratio)
    in_sequence, stride = accumulator.order == "sequential", 1 if product is None else 2
    for piece in pieces(a, b, (total,) if firsts is None else (total, firsts), tiles.SIDE):
        source, words, numbers = words_of(problem, accumulator, piece.outputs, singly=True)
        if source == gemm.GIVEN:
            words = merged_words(problem, accumulator, piece.outputs)
        constants = *how[:5], source, int(carrier is FLOAT64)
        given = launch.put(words) if source == gemm.GIVEN else unused(queue.device)
        out, *noted = piece.outs
        reports = noted[0] if noted else no_firsts(queue.device)
        where = grid_of(piece, tiles.SIDE), (tiles.SIDE, tiles.SIDE), queue, piece.a, piece.b, out
        if in_sequence:
            kernel = fixed.make_chain(*constants)
            rest: tuple[Any, ...] = (grid, product_grid), (row, product_row), stride, given, numbers, reports
        else:
            kernel = fixed.make_tree(*constants, int(product is not None))
            pairs = (grid, row), (product_grid, product_row)
            rest = pairs, accumulator.block or 0, problem.facts[2] is not None, given, numbers, reports
        launch.launch(kernel, *where, *rest)


@lru_cache(maxsize=256)
def _rows_on(device: int, accumulator: Accumulator, carrier: Carrier, ratio: int) -> Any:
    """((rows of the grids of sums and of products), (rows with their random bits)) on the device."""
    product = accumulator.product
    grid = grid_row(accumulator, accumulator.format, 0, carrier.dtype)
    grids = grid, grid if product is None else grid_row(product, product.fmt, ratio, carrier.dtype)
    rows = []
    for part in (accumulator, accumulator if product is None else product):
        unused_bits = 32 - (part.random_bits or 32)
        row = np.zeros(modes.ROW_LENGTH, np.uint32)
        row[modes.RANDOM_SHIFT], row[modes.RANDOM_MASK] = unused_bits, (1 << 32) - (1 << unused_bits)
        rows.append(row)
    return launch.put((grids, tuple(rows)))
