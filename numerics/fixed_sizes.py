"""Bounds on what a product in fixed point adds, from the operands' facts and the formats: what routes are proved with."""

from fractions import Fraction
from typing import NamedTuple

from .accumulator import Accumulator
from .formats import FixedFormat
from .problem import Problem
from .rounding import Overflow
from .theory.roundoff import power_of_two


class Sizes(NamedTuple):
    """Bounds on what a product adds: exponents of lowest bits, and magnitudes."""

    grid: int  # exponent of the accumulator's grid step
    depth: int
    a: Fraction
    b: Fraction
    a_lowest: int
    b_lowest: int
    rounds_products: bool  # whether the product quantizer can change one
    lowest: int  # of terms
    largest: Fraction
    c_lowest: int  # the grid, where there is no c
    c_largest: Fraction

    @property
    def product_lowest(self) -> int:
        """Exponent of the lowest bit of exact products."""
        return self.a_lowest + self.b_lowest

    @property
    def turned(self) -> "Sizes":
        """The same with a and b exchanged."""
        return self._replace(a=self.b, b=self.a, a_lowest=self.b_lowest, b_lowest=self.a_lowest)

    @property
    def unit(self) -> int:
        """Exponent of the lowest bit of anything that is added."""
        return min(self.grid, self.lowest, self.c_lowest)

    @property
    def on_grid(self) -> bool:
        """Whether no sum needs to be rounded."""
        return self.unit == self.grid

    @property
    def total(self) -> Fraction:
        """A bound on every partial sum, in any order."""
        return self.depth * self.largest + self.c_largest


def _reach(fmt: FixedFormat) -> Fraction:
    """The largest magnitude that the format has on both sides (if it has two)."""
    return fmt.largest_code * power_of_two(-fmt.fraction_bits)


def grid_format(fmt: object) -> FixedFormat:
    """The format as a FixedFormat. Errors: TypeError for another."""
    if not isinstance(fmt, FixedFormat):
        raise TypeError(f"format {fmt}: fixed-point products are accumulated in a FixedFormat")
    return fmt


def sizes_of(problem: Problem, accumulator: Accumulator) -> Sizes:
    """The bounds, from the operands' facts, their largest elements and the formats."""
    fmt = grid_format(accumulator.format)
    facts_a, facts_b, facts_c = problem.facts
    a, b = Fraction(facts_a.largest), Fraction(facts_b.largest)
    grid = -fmt.fraction_bits
    a_lowest, b_lowest = facts_a.lowest, facts_b.lowest
    lowest, largest = a_lowest + b_lowest, a * b
    rounds_products = False
    if accumulator.product is not None:
        product = grid_format(accumulator.product.fmt)
        point = -product.fraction_bits
        rounds_products = lowest < point or largest > _reach(product)
        if rounds_products:
            lowest = point
            most = max(product.largest_code, -product.lowest_integer) * power_of_two(point)
            largest = most if accumulator.product.overflow is Overflow.WRAP else min(most, _up(largest, point))
    c_lowest, c_largest = grid, Fraction(0)
    if facts_c is not None:
        c_lowest, c_largest = facts_c.lowest, Fraction(facts_c.largest)
    if largest == 0:
        lowest = max(lowest, grid)
    return Sizes(grid, problem.depth, a, b, a_lowest, b_lowest, rounds_products, lowest, largest, c_lowest, c_largest)


def _up(value: Fraction, exponent: int) -> Fraction:
    """The next multiple of 2**exponent."""
    return -(-value // power_of_two(exponent)) * power_of_two(exponent)


def fits(accumulator: Accumulator, sizes: Sizes) -> bool:
    """Whether no sum is rounded and none can leave the limits."""
    return sizes.on_grid and not sizes.rounds_products and sizes.total <= _reach(grid_format(accumulator.format))


def integer_sizes(sizes: Sizes) -> tuple[Fraction, Fraction]:
    """The largest elements as integers whose product is in grid steps: a in its own units, b in what is left."""
    unit = power_of_two(sizes.a_lowest)
    return sizes.a / unit, sizes.b * unit / power_of_two(sizes.grid)


def shifts(sizes: Sizes, point: int) -> tuple[int, int]:
    """Powers of two that make a integers and their products numbers of steps of the grid 2**point."""
    return -sizes.a_lowest, sizes.a_lowest - point


def product_point(accumulator: Accumulator, sizes: Sizes) -> int:
    """Exponent of the step that products are counted in: that of the grid they are rounded to first."""
    if sizes.rounds_products and accumulator.product is not None:
        return -grid_format(accumulator.product.fmt).fraction_bits
    return sizes.grid
