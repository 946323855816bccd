"""Exact and fixed-point products of few elements: the loop is chosen once for all operands of a kind.

`brief_products` asks for these. None leaves a kind, or a call, to the general way, refusals among them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .accumulator import Accumulator
from .brief import DRAWN, NO_WORDS
from .exact_routes import one_product
from .fixed_products import fixed_by, whole_numbers
from .fixed_routes import reporting, routes
from .fixed_sizes import Sizes, fits, grid_format, product_point, shifts, sizes_of
from .fixed_steps import COLUMNS, no_notes, scaled, step_loop
from .formats import FixedFormat
from .kernels import elementwise, fixed_gemm, fixed_whole
from .loops import Loop, elementwise_loop
from .parameters import FLOAT32, FLOAT64
from .problem import Problem, Words
from .rounding import Overflow, Rounding
from .words import unit_bytes

_FEW = 1 << 12  # multiplications below which it does not pay to turn a product around
_ZERO = np.uint64(0)
Result = NDArray[Any] | None
#: Of a [1, M, K], b [1, K, N], seed and stream: the sums [1, M, N] in grid steps, integers of any type.
_Integers = Callable[[NDArray[Any], NDArray[Any], int, int], NDArray[Any]]


class ExactSums(NamedTuple):
    """Sums that one matrix product in `inner` has exactly, and the loop that rounds them there, None where none does."""

    inner: np.dtype[Any]
    loop: Loop | None
    source: int

    def product(self, a: NDArray[Any], b: NDArray[Any], seed: int, stream: int) -> Result:
        """a [M, K] @ b [K, N] in their dtype; seed and stream in [0, 2**64)."""
        total = np.dot(a.astype(self.inner, copy=False), b.astype(self.inner, copy=False))
        total += self.inner.type(0.0)  # -0 becomes +0
        result: NDArray[Any] = total
        if self.loop is not None:
            run, row, errors = self.loop
            keys = (_ZERO, _ZERO) if self.source == elementwise.DETERMINISTIC else (np.uint64(seed), np.uint64(stream))
            result = np.empty_like(total)
            met = run(total.reshape(-1), result.reshape(-1), row, NO_WORDS, *keys, _ZERO, 0, total.size)
            if met & errors:
                return None
        return result.astype(a.dtype, copy=False)


def exact_sums(problem: Problem, accumulator: Accumulator) -> ExactSums | None:
    """For all operands of the problem's facts and depth, without c."""
    if accumulator.chunk is not None or accumulator.product is not None:
        return None
    if accumulator.rounding is Rounding.RTN or not accumulator.format.signed:
        return None  # signs of zeros, and refusals, that are not those of one rounding
    if isinstance(accumulator.format, FixedFormat) and accumulator.overflow is Overflow.WRAP:
        return None
    return _rounded_once(problem, accumulator)


def _rounded_once(problem: Problem, accumulator: Accumulator) -> ExactSums | None:
    fmt, bits, (a, b, _) = accumulator.format, accumulator.random_bits, problem.facts
    source = DRAWN[unit_bytes(bits)] if bits else elementwise.DETERMINISTIC
    for carrier in (FLOAT32, FLOAT64):
        if carrier.holds(fmt) and one_product(carrier, a, b, problem.depth) is not None:
            options = fmt, accumulator.rounding, accumulator.overflow, bits
            loop = elementwise_loop(*options, carrier, source, False)
            if accumulator.overflow is Overflow.WRAP:
                loop = loop._replace(errors=0)  # it is infinities that do not wrap
            return ExactSums(carrier.dtype, loop, source)
    return None


def _only_the_last(problem: Problem, accumulator: Accumulator, sizes: Sizes) -> ExactSums | None:
    """Where no sum leaves the limits, or sums wrap and nothing is rounded on the way."""
    if fits(accumulator, sizes):
        for carrier in (FLOAT32, FLOAT64):
            if one_product(carrier, *problem.facts[:2], problem.depth) is not None:
                return ExactSums(carrier.dtype, None, elementwise.DETERMINISTIC)
        return None
    wraps = accumulator.overflow is Overflow.WRAP and sizes.on_grid and not sizes.rounds_products
    return _rounded_once(problem, accumulator) if wraps and not accumulator.stochastic else None


class FixedSums(NamedTuple):
    """The route that is exact, and the size of a grid step."""

    integers: _Integers
    step: float

    def product(self, a: NDArray[Any], b: NDArray[Any], seed: int, stream: int) -> Result:
        """As of `ExactSums`."""
        (rows, depth), columns = a.shape, b.shape[1]
        if columns > COLUMNS or (columns < rows and rows * columns * depth > _FEW):
            return None
        total = self.integers(a.reshape(1, rows, depth), b.reshape(1, depth, columns), seed, stream)
        result: NDArray[Any] = np.multiply(total[0], self.step, dtype=np.float64)
        result += 0.0  # of integers there is one zero
        return result.astype(a.dtype, copy=False)


def fixed_sums(problem: Problem, accumulator: Accumulator) -> ExactSums | FixedSums | None:
    """As `exact_sums`."""
    product = accumulator.product
    formats = [accumulator.format] if product is None else [accumulator.format, product.fmt]
    if accumulator.chunk is not None or reporting(accumulator):
        return None
    if not all(isinstance(fmt, FixedFormat) and fmt.signed for fmt in formats):
        return None
    sizes = sizes_of(problem, accumulator)
    try:
        route = routes(problem, accumulator, sizes)[0].name
    except ValueError:
        return None  # the operands themselves may be allowed, or the sentence names what they have
    if (quick := _only_the_last(problem, accumulator, sizes)) is not None:
        return quick
    fmt, (name, _, kind) = grid_format(accumulator.format), route.partition(" ")
    integers: _Integers
    if kind in ("steps", "odd") and not accumulator.stochastic:
        integers = _in_lanes(accumulator, sizes, FLOAT32 if name == "float32" else FLOAT64, kind == "odd")
    elif route in ("float32", "float64", "int32", "int64"):
        integers = _limited(accumulator, sizes, np.dtype(route))
    else:
        integers = _otherwise(problem, accumulator, sizes, route)
    return FixedSums(integers, 2.0**-fmt.fraction_bits)


def _in_lanes(accumulator: Accumulator, sizes: Sizes, carrier: Any, odd: bool) -> _Integers:
    dtype = carrier.dtype
    by_a, by_b = shifts(sizes, product_point(accumulator, sizes))
    kernel, product_row, row, stride, block = step_loop(accumulator, sizes, dtype, odd, fixed_gemm.NOTHING)
    none, notes = np.zeros((1, 1, 1), dtype), no_notes(dtype)

    def integers(a: NDArray[Any], b: NDArray[Any], seed: int, stream: int) -> NDArray[Any]:
        rows, columns = a.shape[1], b.shape[2]
        total = np.zeros((1, rows, columns), dtype)
        left, right = scaled(a, by_a, dtype), scaled(b, by_b, dtype)
        kernel(left, right, total, none, none, product_row, row, notes, stride, block, 0, rows, 0, columns)
        return total

    return integers


def _limited(accumulator: Accumulator, sizes: Sizes, dtype: np.dtype[Any]) -> _Integers:
    operands, by_a, by_b, lowest, highest = whole_numbers(accumulator, sizes, dtype)

    def integers(a: NDArray[Any], b: NDArray[Any], seed: int, stream: int) -> NDArray[Any]:
        rows = a.shape[1]
        total = np.zeros((1, rows, b.shape[2]), dtype)
        left, right = scaled(a, by_a, operands), scaled(b, by_b, operands)
        fixed_whole.whole_product(left, right, total, lowest, highest, 0, rows)
        return total

    return integers


def _otherwise(problem: Problem, accumulator: Accumulator, sizes: Sizes, route: str) -> _Integers:
    facts, span = problem.facts, accumulator.roundings(problem.depth)

    def integers(a: NDArray[Any], b: NDArray[Any], seed: int, stream: int) -> NDArray[Any]:
        words = Words(seed, stream, span) if accumulator.stochastic else None
        return fixed_by(Problem(a, b, None, facts, words), accumulator, sizes, route)

    return integers
