"""Bounds on the sums of a product, from the formats and the operands alone: what plans are proved with."""

from fractions import Fraction
from typing import NamedTuple

import numpy as np

from .accumulator import Accumulator
from .formats import FloatFormat, Subnormals
from .problem import Facts, Problem
from .quantizer import Quantizer
from .rounding import Overflow, Rounding


class Sums(NamedTuple):
    """Bounds on the two addends of every sum of a part: every one is a multiple of 2**lowest, of at most 2**(top+1)."""

    part: Accumulator
    lowest: int
    top: int  # of the sum, before it is rounded
    held: int  # exponent of what was accumulated
    added: int  # and of what is added
    bits: int  # significant bits of the addends, at most
    minus: bool  # whether a sum can be -0
    members: bool  # whether one addend of every sum lies on the format's grid


def float_format(part: Accumulator | Quantizer) -> FloatFormat:
    """The float format that a part rounds to."""
    fmt = part.fmt if isinstance(part, Quantizer) else part.format
    assert isinstance(fmt, FloatFormat)
    return fmt


def product_bits(a: Facts, b: Facts) -> int:
    """Significant bits of a product, at most."""
    bits = a.significant_bits + b.significant_bits
    return bits - 1 if 1 in (a.significant_bits, b.significant_bits) else bits  # a power of two only shifts


def sums_of(accumulator: Accumulator, problem: Problem) -> tuple[Sums, Sums | None]:
    """Bounds for the chain (or the tree) of products, and for the combination of chunks."""
    a, b, c = problem.facts
    lowest, added = a.lowest + b.lowest, a.highest + b.highest + 2
    bits = product_bits(a, b)
    if accumulator.product is not None:
        fmt = float_format(accumulator.product)
        keeps_bits = added < fmt.emax and fmt.subnormals in (Subnormals.GRADUAL, Subnormals.FLUSH)
        # What becomes the largest value, or the smallest, has its bits.
        lowest, bits = _grid_bottom(fmt, lowest), min(bits, fmt.precision) if keeps_bits else fmt.precision
        added = min(added, fmt.emax) if accumulator.product.overflow is not Overflow.IEEE else added
    fmt = float_format(accumulator)
    chunked = accumulator.chunk is not None
    start = None if chunked else c
    ordered = accumulator.order == "sequential"
    depth = accumulator.chunk if accumulator.chunk is not None else problem.depth
    reach = min(_reach(accumulator, depth, problem.facts, start), fmt.emax)
    held = reach if start is None else max(reach, start.highest)
    held = held if ordered else max(fmt.emax, added, held)
    low = min(_grid_bottom(fmt, lowest), lowest, lowest if start is None else start.lowest)
    minus = not ordered or (start is not None and start.minus) or not keeps_multiples(fmt, lowest)
    most = max(bits, 0 if start is None else start.significant_bits)
    quantum = fmt.emin - fmt.mantissa_bits
    tree_of_products = accumulator.order == "pairwise" and accumulator.block is None
    addend = lowest if tree_of_products else quantum if start is None or not ordered else start.lowest
    members = addend >= quantum
    inner = Sums(accumulator, low, max(held, added) + 1, held, added, most, minus, members)
    if not chunked:
        return inner, None
    assert accumulator.chunk is not None
    chunks = -(-problem.depth // accumulator.chunk)
    combining = accumulator.combining
    outer_format = float_format(combining)
    low = _grid_bottom(fmt, low)
    together = min(_reach(accumulator, problem.depth, problem.facts, c) + _growth(combining, chunks), outer_format.emax)
    held = max(together, 0 if c is None else c.highest)
    bottom = min(low, _grid_bottom(outer_format, low), low if c is None else c.lowest)
    minus = minus or (c is not None and c.minus) or not keeps_multiples(outer_format, low)
    most = max(fmt.precision, 0 if c is None else c.significant_bits)
    members = c is None or c.lowest >= outer_format.emin - outer_format.mantissa_bits
    return inner, Sums(combining, bottom, max(held, fmt.emax) + 1, held, fmt.emax, most, minus, members)


def fits_as_drawn(accumulator: Accumulator, problem: Problem) -> bool:
    """Whether no sum of one chain of exact products overflows, as the sums of their magnitudes show: a pass over a and b.

    Each output's is at most that of its row of a times the largest of each row of b.
    """
    if accumulator.chunk is not None or accumulator.product is not None or accumulator.order != "sequential":
        return False
    rows, largest = (np.abs(x, dtype=np.float64) for x in (problem.a, problem.b))
    most = float((rows @ largest.max(axis=2, initial=0.0)[..., None]).max(initial=0.0))
    most *= 1 + problem.depth * 2.0**-50  # its own sums were rounded
    start = problem.facts[2]
    if not most < np.inf or (start is not None and start.highest >= float_format(accumulator).emax):
        return False
    reach = _reach(accumulator, problem.depth, problem.facts, start, Fraction(most))
    return reach < float_format(accumulator).emax


def _reach(
    accumulator: Accumulator,
    depth: int,
    facts: tuple[Facts, Facts, Facts | None],
    start: Facts | None,
    products: Fraction | None = None,
) -> int:
    """A bound on the exponent of every rounded sum of a chain, from the operands alone.

    products: of the sum of their magnitudes, where one is known besides what the largest operands allow.

    A rounding enlarges by a factor of at most 1 + 2**(1-p), to nearest 1 + 2**-p, or by the smallest step.
    """
    fmt = float_format(accumulator)
    product = Fraction(facts[0].largest) * Fraction(facts[1].largest)
    if accumulator.product is not None:
        product = 2 * product + _smallest_step(float_format(accumulator.product))
    steps = _smallest_step(fmt) + _smallest_step(float_format(accumulator.combining))
    bound = (
        (depth * product if products is None else products)
        + depth * steps
        + (0 if start is None else Fraction(start.largest))
    )
    exponent = bound.numerator.bit_length() - bound.denominator.bit_length()
    return exponent + _growth(accumulator, depth)


def _growth(part: Accumulator, roundings: int) -> int:
    """Binades by which that many roundings of normal numbers enlarge at most.

    K factors of 1 + 2**(1-p) are at most 2**(3K / 2**p), as log2(1 + x) < 3x/2.
    """
    nearest = part.rounding in (Rounding.RNE, Rounding.RNA)
    return -(-3 * roundings >> (float_format(part).precision + nearest))


def _smallest_step(fmt: FloatFormat) -> Fraction:
    """By how much a rounding of the smallest numbers enlarges at most."""
    gradual = fmt.subnormals is Subnormals.GRADUAL
    return Fraction(2) ** (fmt.emin - (fmt.mantissa_bits if gradual else 0))


def _grid_bottom(fmt: FloatFormat, lowest: int) -> int:
    """The lowest bit that multiples of 2**lowest may have after they were rounded to the format.

    An overflow may become the largest value, and without gradual or flushed underflow a small one the smallest.
    """
    finest = fmt.emin - fmt.mantissa_bits
    if fmt.subnormals not in (Subnormals.GRADUAL, Subnormals.FLUSH):
        return finest
    return max(finest, min(lowest, fmt.emax - fmt.mantissa_bits))


def keeps_multiples(fmt: FloatFormat, lowest: int) -> bool:
    """Whether multiples of 2**lowest never round to zero: the format's underflow is gradual and its quantum no coarser."""
    return fmt.subnormals is Subnormals.GRADUAL and lowest >= fmt.emin - fmt.mantissa_bits
