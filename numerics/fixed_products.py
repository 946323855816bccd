"""Products accumulated in fixed point, as integers of grid steps; which loop computes them, and what went wrong."""

from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .accumulator import Accumulator
from .fixed_routes import Route, reporting, routes, slices_of
from .fixed_sizes import Sizes, fits, grid_format, integer_sizes, shifts, sizes_of
from .fixed_steps import (
    MAC_COST,
    NARROW,
    Noted,
    completed,
    exact_product,
    integers,
    merged_words,
    one_batch,
    scaled,
    stepped_product,
    turned,
)
from .formats import FixedFormat
from .kernels import fixed_gemm, fixed_whole, threads
from .parameters import FLOAT32, FLOAT64, carrier_of
from .problem import Problem, Words, facts
from .rounding import Overflow

_COST = 0.2  # nanoseconds of an integer
Counts = dict[str, NDArray[Any]]


def fixed_product(
    problem: Problem, accumulator: Accumulator, *, events: bool = False, route: str | None = None
) -> tuple[NDArray[Any], Counts | None]:
    """(c + a @ b in grid steps [B, M, N], counts of events by the names of `Events` or None), bit-exact.

    The value of an output is its integer times 2**-fraction_bits. Integers are of any type that holds them, floats among
    them (with zeros of either sign); those of an unsigned format of 64 bits are int64 with the bit patterns of uint64. At
    every step the exact sum is rounded to the grid, then limited. Sequential and pairwise order, no chunks.
    route: one of `fixed_routes`, else the first of them; all give the same bits (tests/numerics/test_fixed_products.py).
    Errors: ValueError for a negative operand where a format is unsigned, and where no route is exact; OverflowError under
    Overflow.ERROR, which names the caller's first output in row-major order and its first step that overflows.
    """
    _check(problem, accumulator)
    sizes = sizes_of(problem, accumulator)
    known = routes(problem, accumulator, sizes, events=events)
    chosen = known[0].name if route is None else route
    if chosen not in {r.name for r in known}:
        raise ValueError(f"route {chosen!r}: exact here are {', '.join(r.name for r in known)}")
    watched = not fits(accumulator, sizes)
    if watched and reporting(accumulator):
        noted = _run(problem, accumulator, sizes, chosen, fixed_gemm.FIRST)
        if noted.firsts is not None and (noted.firsts >= 0).any():
            raise OverflowError(_first_overflow(problem, accumulator, sizes, noted.firsts))
        if not events:
            return noted.integers, None
    watch = fixed_gemm.COUNTS if events and watched else fixed_gemm.NOTHING
    noted = _run(problem, accumulator, sizes, chosen, watch)
    if not events:
        return noted.integers, None
    counts = completed({}, problem.shape) if noted.counts is None else noted.counts
    return noted.integers, counts


def fixed_route(problem: Problem, accumulator: Accumulator, *, events: bool = False) -> Route:
    """How `fixed_product` computes this: (name, reason), the reason one sentence with its inequality."""
    return fixed_routes(problem, accumulator, events=events)[0]


def fixed_routes(problem: Problem, accumulator: Accumulator, *, events: bool = False) -> tuple[Route, ...]:
    """Every route that gives the bits of this product, the fastest first. Errors: as `fixed_product`."""
    _check(problem, accumulator)
    return routes(problem, accumulator, sizes_of(problem, accumulator), events=events)


def _check(problem: Problem, accumulator: Accumulator) -> None:
    if accumulator.order not in ("sequential", "pairwise") or accumulator.chunk is not None:
        raise ValueError(
            f"{accumulator.order} order with chunk = {accumulator.chunk}: one chain or tree is accumulated here"
        )
    fmt, product = grid_format(accumulator.format), accumulator.product
    formats = [fmt] if product is None else [fmt, grid_format(product.fmt)]
    unsigned = [f for f in formats if not f.signed]
    if not unsigned:
        return
    for label, x in (("a", problem.a), ("b", problem.b), ("c", None if fmt.signed else problem.c)):
        if x is not None and bool((x < 0).any()):
            number = int(np.argmax(x < 0))
            batch, i, j = (int(at) for at in np.unravel_index(number, x.shape))
            if label == "c":
                found = problem.names.addend(number)
            elif problem.names.combines:
                found = f"the sum of chunk {i} of {problem.names.output(batch * x.shape[2] + j)}"
            else:
                found = problem.names.operand(label, (batch, i, j))
            raise ValueError(_negative(found, x[batch, i, j], unsigned[0]))
    if product is not None and not fmt.signed and formats[1].signed and product.overflow is Overflow.WRAP:
        raise ValueError(
            f"products wrap to {formats[1]}, which has negative values, and {fmt} is unsigned; give products an unsigned"
            " format"
        )


def check_start(problem: Problem, accumulator: Accumulator) -> None:
    """Refuse a negative c of an unsigned format, as the sum of it does. Errors: ValueError."""
    fmt = accumulator.format
    if problem.c is None or not isinstance(fmt, FixedFormat) or fmt.signed or accumulator.order == "exact":
        return
    if (problem.c < 0).any():
        number = int(np.argmax(problem.c < 0))
        raise ValueError(_negative(problem.names.addend(number), problem.c.reshape(-1)[number], fmt))


def _negative(what: str, value: float, fmt: FixedFormat) -> str:
    return f"{what} is {value}: {fmt} is unsigned and takes nonnegative operands only; use a signed format"


def fixed_by(problem: Problem, accumulator: Accumulator, sizes: Sizes, route: str) -> NDArray[Any]:
    """The integers of `fixed_product` by one of `routes`, where no overflow is an error."""
    return _run(problem, accumulator, sizes, route, fixed_gemm.NOTHING).integers


def _run(problem: Problem, accumulator: Accumulator, sizes: Sizes, route: str, watch: int) -> Noted:
    name, _, kind = route.partition(" ")
    if route == "exact":
        return exact_product(problem, accumulator)
    if kind in ("steps", "odd"):
        carrier = FLOAT32 if name == "float32" else FLOAT64
        return stepped_product(problem, accumulator, sizes, carrier, kind == "odd", watch)
    if route in ("float32", "float64", "int32", "int64"):
        return Noted(_limited(problem, accumulator, sizes, np.dtype(route)))
    return Noted(_modular(problem, accumulator, sizes, route))


# --- whole numbers


def _limited(problem: Problem, accumulator: Accumulator, sizes: Sizes, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Limits at every step, nothing is rounded."""
    if problem.shape[2] < NARROW and problem.shape[1] > problem.shape[2]:
        return np.ascontiguousarray(_limited(turned(problem), accumulator, sizes.turned, dtype).swapaxes(1, 2))
    operands, by_a, by_b, *limits = whole_numbers(accumulator, sizes, dtype)
    a, b = scaled(problem.a, by_a, operands), scaled(problem.b, by_b, operands)
    total = np.zeros(problem.shape, dtype)
    if problem.c is not None:
        total[...] = scaled(problem.c, -sizes.grid, dtype)
    _launch(a, b, total, *limits)
    return total


def whole_numbers(
    accumulator: Accumulator, sizes: Sizes, dtype: np.dtype[Any]
) -> tuple[np.dtype[Any], int, int, Any, Any]:
    """What the loop of whole numbers is given: the operands' type, the exponents that scale a and b, the limits."""
    fmt, (by_a, by_b) = grid_format(accumulator.format), shifts(sizes, sizes.grid)
    operands = dtype
    if dtype == np.int64 and max(integer_sizes(sizes)) < 1 << 31:
        operands = np.dtype(np.int32)  # there is an instruction for the whole product of two of them
    return operands, by_a, by_b, dtype.type(fmt.lowest_integer), dtype.type(fmt.largest_code)


def _launch(a: NDArray[Any], b: NDArray[Any], total: NDArray[Any], lowest: Any, highest: Any) -> None:
    a = one_batch(a, b)
    shared = total.reshape(1, -1, total.shape[2]) if b.shape[0] == 1 else total
    rows = total.shape[0] * total.shape[1]
    cost = MAC_COST * a.shape[2] * total.shape[2]
    threads.run(lambda i, j: fixed_whole.whole_product(a, b, shared, lowest, highest, i, j), rows, cost)


def _modular(problem: Problem, accumulator: Accumulator, sizes: Sizes, route: str) -> NDArray[Any]:
    """Only the last sum matters: the products' sum in their own units modulo 2**64, then c, then the format's bits."""
    fmt = grid_format(accumulator.format)
    by_a, by_b = -sizes.a_lowest, -sizes.b_lowest
    shift = max(0, sizes.product_lowest - sizes.grid)
    unused = 64 - fmt.bits
    pieces: list[tuple[NDArray[Any], int]] = []
    if route == "modulo":
        left, right = (integers(x, by).view(np.uint64) for x, by in ((problem.a, by_a), (problem.b, by_b)))
        total = np.zeros(problem.shape, np.uint64)
        _launch(left, right, total, np.uint64(0), np.uint64(0))
        pieces.append((total, shift))
    else:
        dtype = np.float32 if route == "sgemm" else np.float64
        a, b = scaled(problem.a, by_a, dtype), scaled(problem.b, by_b, dtype)
        count, width = 1, 0
        if route == "sliced dgemm":
            units = sizes.a * Fraction(2) ** by_a, sizes.depth * sizes.b * Fraction(2) ** by_b
            width, count = slices_of(*units)
        for index in range(count):
            low = a if index == count - 1 else np.fmod(a, 2.0**width)
            pieces.append((_blas(low, b, problem.shape), shift + index * width))
            a = (a - low) * 2.0**-width
        if count == 1 and problem.c is None:
            if shift == 0 and fits(accumulator, sizes):
                return pieces[0][0]
            # From shift = bits on the format has none of their bits, and the machine no shift by 64 or more.
            if shift + unused < 64 and carrier_of(pieces[0][0].dtype).holds(fmt):
                return _wrapped(pieces[0][0], shift, fmt)
    out = np.zeros(problem.shape, np.int64)
    if problem.c is not None:
        out[...] = integers(problem.c, -sizes.grid)
    for index, (piece, up) in enumerate(pieces):
        last = index == len(pieces) - 1
        whole, into = (piece.reshape(-1) if up < 64 else np.zeros(out.size, np.int64)), out.reshape(-1)
        how = min(up, 63), unused if last else 0, int(fmt.signed or not last)
        threads.run(partial(_fold, whole, into, how), out.size, _COST)
    return out


def _wrapped(whole: NDArray[Any], shift: int, fmt: FixedFormat) -> NDArray[Any]:
    """The format's bits of whole * 2**shift, in place: of floats that hold its integers."""
    flat, how = whole.reshape(-1), (shift, 64 - fmt.bits, int(fmt.signed))
    threads.run(lambda start, stop: fixed_whole.wrap(flat[start:stop], *how), flat.size, _COST)
    return whole


def _fold(whole: NDArray[Any], out: NDArray[np.int64], how: tuple[int, int, int], start: int, stop: int) -> None:
    fixed_whole.fold(whole[start:stop], out[start:stop], *how)


def _blas(a: NDArray[Any], b: NDArray[Any], shape: tuple[int, int, int]) -> NDArray[Any]:
    """a @ b by one call where all batches have the same b."""
    product: NDArray[Any] = one_batch(a, b) @ b
    return product.reshape(shape)


# --- errors


def _first_overflow(problem: Problem, accumulator: Accumulator, sizes: Sizes, firsts: NDArray[np.int64]) -> str:
    """The sentence of the first overflow: its output, its step, what was added and the limits."""
    batch, i, j = (int(x) for x in np.unravel_index(int(np.argmax(firsts >= 0)), firsts.shape))
    step, depth = int(firsts[batch, i, j]), problem.depth
    names = problem.names
    where = names.output(int(np.argmax(firsts >= 0)))
    a = problem.a[min(batch, problem.a.shape[0] - 1), i]
    b = problem.b[min(batch, problem.b.shape[0] - 1), :, j]
    product, pairwise = accumulator.product, accumulator.order == "pairwise"
    pairs = pairwise and accumulator.block is None
    stride = 1 if product is None or pairs else 2
    of_products = step < depth if pairs else step < stride * depth and step % stride == 0
    if product is not None and of_products:
        k = step // stride
        what, fmt = (
            f"{float(a[k])!r} * {float(b[k])!r}, the product at {names.step(k)} of {where},",
            grid_format(product.fmt),
        )
    elif pairwise:
        fmt = grid_format(accumulator.format)
        what = f"rounding s = {step} of S = {accumulator.roundings(depth)} of {where}, a sum of the pairwise tree"
        what += " of chunks," if names.combines else ","
    else:
        k, fmt = step // stride, grid_format(accumulator.format)
        before = _sum_before(problem, accumulator, (batch, i, j), k)
        added = repr(float(b[k])) if names.combines else f"{float(a[k])!r} * {float(b[k])!r}"
        added += " (rounded)" if product is not None else ""
        what = f"{before} + {added}, the sum at {names.step(k)} of {where},"
    limits = " to ".join(
        str(Fraction(x) / Fraction(2) ** fmt.fraction_bits) for x in (fmt.lowest_integer, fmt.largest_code)
    )
    return f"{what} is outside of {limits}, the range of {fmt}; scale the operands, or use SATURATE or WRAP"


def _sum_before(problem: Problem, accumulator: Accumulator, output: tuple[int, int, int], k: int) -> str:
    """The sum to which the product of step k is added."""
    batch, i, j = output
    c = None if problem.c is None else problem.c[batch : batch + 1, i : i + 1, j : j + 1]
    if k == 0:
        return "0" if c is None else repr(float(c[0, 0, 0]))
    a = problem.a[min(batch, problem.a.shape[0] - 1), i : i + 1, :k][None]
    b = problem.b[min(batch, problem.b.shape[0] - 1), :k, j : j + 1][None]
    words = None
    if accumulator.stochastic and problem.words is not None:
        _, rows, columns = problem.shape
        number = (batch * rows + i) * columns + j
        given = merged_words(problem, accumulator, slice(number, number + 1))
        words = Words(0, 0, given.shape[1], 0, given)
    known = facts(a, "a"), facts(b, "b"), None if c is None else facts(c, "c")
    sums, _ = fixed_product(Problem(a, b, c, known, words), accumulator)
    fmt = grid_format(accumulator.format)
    return str(Fraction(_integer(int(sums[0, 0, 0]), fmt)) / Fraction(2) ** fmt.fraction_bits)


def _integer(pattern: int, fmt: FixedFormat) -> int:
    return pattern if fmt.signed else pattern % (1 << 64)
