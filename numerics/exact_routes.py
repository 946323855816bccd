"""How the exact sum of a product is had: by matrix products that commit no rounding, or by a long accumulator.

Every route gives the same bits; they differ in speed. The choice is made from bounds on the operands' bits:

- "sgemm", "dgemm": one matrix product in float32 or float64. All products are multiples of one power of two, and so
  are all partial sums; where their magnitudes in that unit stay within 2**24 or 2**53 no order of additions rounds.
- "slices": each operand is the sum of integers on a fixed grid, so short that the products of any two slices have
  that property; the products of all pairs are added with the weights of their units.
- "superaccumulator": each product is added to an integer as long as the window of all exponents.
- "rounded products": likewise, after each product was rounded by the accumulator's product quantizer; "rounded
  products in float64" where products, and all sums of them when they are rounded, are exact there.
"""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .accumulator import Accumulator
from .exact_slices import ROOM, SHORT_BITS, Cut, flat_columns, flat_rows
from .formats import FixedFormat
from .kernels import slices
from .parameters import FLOAT32, FLOAT64, Carrier
from .problem import Facts, Problem
from .rounding import Overflow, Rounding

# Matrix products of slices that are still faster than the long accumulator: of products of few bits, and of others.
MOST_PASSES, MOST_PASSES_LONG = 24, 48
SMALLEST_BLOCK = 256  # products of slices that are added before carries are moved on: below it that costs as much
WORTH_A_LOOK = 2  # matrix products from which on the operands are looked at again
_COUNTS = sorted(product(range(1, 13), repeat=2), key=lambda counts: counts[0] * counts[1])
_NARROWEST = 4  # bits of a slice
_WIDEST = 900  # bits of an operand that slices cover: their units stay in float64's range


class Route(NamedTuple):
    """A way to the exact sum, and why it is exact."""

    name: str
    reason: str
    cut: Cut | None = None


def exact_route(problem: Problem, accumulator: Accumulator) -> Route:
    """The fastest route of `exact_routes`: its name, and the inequality by which it is exact, in a sentence."""
    return next(_routes(problem, accumulator))


def exact_routes(problem: Problem, accumulator: Accumulator) -> list[Route]:
    """All routes that are exact for this product, the fastest first."""
    return list(_routes(problem, accumulator))


def _routes(problem: Problem, accumulator: Accumulator) -> Iterator[Route]:
    if accumulator.product is not None:
        quick = _rounded_in_float64(problem, accumulator)
        if quick is not None:
            yield quick
        reason = f"each product is rounded to {accumulator.product.fmt} from its exact integer, and added as an integer"
        yield Route("rounded products", reason)
        return
    a, b, _ = problem.facts
    for carrier in (FLOAT32, FLOAT64):
        route = one_product(carrier, a, b, problem.depth)
        if route is not None:
            yield route
    low, high = a.lowest + b.lowest, a.highest + b.highest + 2 + problem.depth.bit_length()
    reason = f"an integer of the {high - low} bits from 2**{low} to 2**{high} holds every sum"
    long = Route("superaccumulator", reason)
    sliced = _sliced(problem)
    most = MOST_PASSES if a.significant_bits + b.significant_bits <= SHORT_BITS else MOST_PASSES_LONG
    if sliced is not None and sliced.cut is not None and sliced.cut.passes <= most:
        yield from (sliced, long)
    else:
        yield from (long,) if sliced is None else (long, sliced)


def _rounded_in_float64(problem: Problem, accumulator: Accumulator) -> Route | None:
    """The route of products that float64 holds exactly, and so it does every sum of them when they are rounded."""
    a, b, c = problem.facts
    product, fmt = accumulator.product, accumulator.product_format
    assert product is not None and fmt is not None
    low, high = a.lowest + b.lowest, a.highest + b.highest + 2
    exact = a.significant_bits + b.significant_bits <= FLOAT64.precision
    exact = exact and low >= FLOAT64.emin and high <= FLOAT64.emax and FLOAT64.holds(fmt) and fmt.signed
    finite = product.overflow not in (Overflow.IEEE, Overflow.ERROR)
    # Signs of zeros are those of a float sum only where no term, and no difference, is a negative zero.
    if not exact or not finite or accumulator.rounding is Rounding.RTN or (c is not None and c.minus):
        return None
    if isinstance(fmt, FixedFormat):
        unit, top = -fmt.fraction_bits, fmt.precision - fmt.fraction_bits
    else:
        # What is rounded stays a multiple of its unit, or becomes one of the ulp of the largest value.
        unit = max(fmt.emin - fmt.mantissa_bits, min(low, fmt.emax - fmt.mantissa_bits))
        top = min(fmt.emax + 1, max(high, fmt.emin + 1))
    if problem.depth << max(0, top - unit) > 1 << FLOAT64.precision:
        return None
    reason = (
        f"{problem.depth} rounded products of at most 2**{top} in units of 2**{unit} sum to at most"
        f" {problem.depth} * 2**{top - unit} <= 2**{FLOAT64.precision} units: no partial sum rounds in float64"
    )
    return Route("rounded products in float64", reason)


def one_product(carrier: Carrier, a: Facts, b: Facts, depth: int) -> Route | None:
    """The route by one matrix product in a carrier, None where a partial sum might be rounded."""
    name = "sgemm" if carrier is FLOAT32 else "dgemm"
    unit, top = a.lowest + b.lowest, a.highest + b.highest + 2
    # Multiples of 2**emin are normal or zero: no processor's treatment of subnormals is asked for.
    inside = min(a.lowest, b.lowest, unit) >= carrier.emin and max(a.highest, b.highest) <= carrier.emax
    if not inside or depth << (top - unit) > 1 << carrier.precision or top + depth.bit_length() > carrier.emax:
        return None
    reason = (
        f"{depth} products below 2**{top} in units of 2**{unit} sum to at most {depth} * 2**{top - unit}"
        f" <= 2**{carrier.precision} units: no partial sum rounds in {carrier.name}, in any order"
    )
    return Route(name, reason)


def _sliced(problem: Problem) -> Route | None:
    a, b, _ = problem.facts
    spans = a.highest + 1 - a.lowest, b.highest + 1 - b.lowest
    units = np.array([a.lowest]), np.array([b.lowest])
    cut = _best_cut(*spans, problem.depth, *units)
    if cut is None or cut.passes > WORTH_A_LOOK:
        # Facts are bounds; and rows and columns may have grids of their own.
        rows, columns = _bounds(flat_rows(problem.a)), _bounds(flat_columns(problem.b))
        all_a, all_b = _together(*rows), _together(*columns)
        for left, right in ((all_a, all_b), (rows, columns)):
            own = int((left[1] - left[0]).max()), int((right[1] - right[0]).max())
            finer = _best_cut(*own, problem.depth, left[0], right[0])
            if finer is not None and (cut is None or finer.passes < cut.passes):
                cut, spans = finer, own
    if cut is None:
        return None
    bits = _bits(cut.a, cut.width, spans[0]) + _bits(cut.b, cut.width, spans[1])
    pairs = min(cut.a, cut.b)
    reason = (
        f"{'operands' if len(cut.units_a) == 1 else 'rows of a and columns of b'} of {spans[0]} and {spans[1]} bits are"
        f" cut into {cut.a} and {cut.b} slices, and {cut.block} products in {pairs} pair(s) of slices sum to at most"
        f" {pairs * cut.block} * 2**{bits} <= 2**{ROOM}: no product of slices rounds in float64, in any order"
    )
    return Route("slices", reason, cut)


def _bounds(x: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Exponents of the lowest bit of each row, and of a power of two above it; (0, 1) for a row of zeros."""
    lowest, above = np.empty(len(x), np.int64), np.empty(len(x), np.int64)
    slices.row_spans(x, lowest, above)
    return lowest, above


def _together(lowest: NDArray[np.int64], above: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The bounds of all rows."""
    return lowest.min(keepdims=True), above.max(keepdims=True)


def _bits(count: int, width: int, span: int) -> int:
    """b where every slice is at most 2**b in magnitude: a lone one is the operand, else they are to nearest."""
    return span if count == 1 else width - 1


def _best_cut(a: int, b: int, depth: int, units_a: NDArray[np.int64], units_b: NDArray[np.int64]) -> Cut | None:
    """The cut with the fewest matrix products for operands of a and b bits."""
    found, least = None, float("inf")
    for count_a, count_b in _COUNTS if max(a, b) <= _WIDEST else ():
        if count_a * count_b >= least:
            break
        cut_in = [(span, count) for span, count in ((a, count_a), (b, count_b)) if count > 1]
        width = max([-(-(span + 1) // count) for span, count in cut_in], default=max(a, b) + 1)
        bits = _bits(count_a, width, a) + _bits(count_b, width, b)
        block = min(depth, ((1 << ROOM) >> bits) // min(count_a, count_b))
        if block < min(depth, SMALLEST_BLOCK) or width < _NARROWEST:
            continue
        blocks = -(-depth // block)
        cost = count_a * count_b * (1.0 if blocks == 1 else 1.0 + 100.0 / block)
        if cost < least:
            top = _top(count_a, width, a) + _top(count_b, width, b)
            overflows = blocks > 1 and (depth << top) + ((blocks + 1) << (ROOM + 1 - width)) > 1 << (ROOM + 1)
            found, least = Cut(count_a, count_b, width, block, overflows, units_a, units_b), cost
    return found


def _top(count: int, width: int, span: int) -> int:
    """b where the uppermost slice is at most 2**b in magnitude."""
    return max(0, span - (count - 1) * width)
