"""Ways to accumulate a product in fixed point that give the same bits, and the inequalities that prove it.

With q the grid step, largest the bound on a term (an exact product, or one rounded by the product quantizer) and u the
lowest bit of anything that is added:

- modulo: where terms and c lie on the grid and sums wrap, or no sum can leave the limits, only the last sum matters, in
  any order: one product by BLAS if the integers of every partial sum are exact in its type, else by slices of a or on
  integers modulo 2**64;
- limits at every step, terms on the grid: a float of p bits whose integers hold the limits rounds a sum beyond them to
  one that is beyond them too (fused: the product is never rounded); int32 and int64 if the sums, or the products, fit;
- rounding at every step: exact if limits and u are within p bits, or on sums rounded to odd with p bits where
  bits + 2 <= p (SR: bits + r + 1, SR_B and SR_C: bits + r + 2; Boldo and Melquiond, IEEE TC 57(4), 2008);
- exact: integers of 128 bits, 60 of them below the grid, one output at a time.
"""

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from .accumulator import Accumulator
from .fixed_sizes import Sizes, fits, grid_format, integer_sizes, product_point, shifts
from .parameters import FLOAT32, FLOAT64, Carrier
from .problem import Facts, Problem
from .quantizer import Quantizer
from .rounding import Overflow, Rounding
from .theory.roundoff import power_of_two

SLICES = 6  # products by BLAS that are still cheaper than integers modulo 2**64
THRESHOLD_BITS = {FLOAT32.name: 23, FLOAT64.name: 32}  # random bits whose threshold the carrier holds exactly
FEW_STEPS = 1 << 22  # roundings of an output that float32 can count


class Route(NamedTuple):
    """A way to compute a product: its name, and why it is exact."""

    name: str
    reason: str


def reporting(accumulator: Accumulator) -> bool:
    """Whether an overflow of sums or of products is an error."""
    return Overflow.ERROR in {part.overflow for part in (accumulator, accumulator.product) if part is not None}


#: What is known of a, b and c.
_Known = tuple[Facts, Facts, Facts | None]


def routes(problem: Problem, accumulator: Accumulator, sizes: Sizes, *, events: bool = False) -> tuple[Route, ...]:
    """Every way that is exact here, the preferred one first. Errors: ValueError where there is none."""
    return _routes(problem.facts, problem.c is not None, accumulator, sizes, events)


@lru_cache(maxsize=1024)
def _routes(known: _Known, addend: bool, accumulator: Accumulator, sizes: Sizes, events: bool) -> tuple[Route, ...]:
    inside = fits(accumulator, sizes)
    found: list[Route] = []
    watched = not inside and (events or reporting(accumulator))
    modular = accumulator.overflow is Overflow.WRAP and sizes.on_grid and not sizes.rounds_products
    if inside or (modular and not watched):
        found += _modular(accumulator, sizes, inside)
    limiting = accumulator.overflow is not Overflow.WRAP and sizes.on_grid and not sizes.rounds_products
    if limiting and accumulator.order == "sequential" and not watched:
        found += _limiting(known, accumulator, sizes)
    for carrier in (FLOAT32, FLOAT64):
        found += _stepping(carrier, known, accumulator, sizes, watched)
    found.sort(key=lambda route: ORDER.index(route.name))
    obstacle = _exact_obstacle(accumulator, sizes, addend)
    if not obstacle:
        found.append(Route("exact", "sums are integers of 128 bits, 60 of them below the grid step"))
    if not found:
        raise ValueError(obstacle)
    return tuple(found)


ORDER = (
    "sgemm",
    "dgemm",
    "float32",
    "int32",
    "sliced dgemm",
    "float64",
    "float32 steps",
    "float32 odd",
    "float64 steps",
    "modulo",
    "int64",
    "float64 odd",
    "exact",
)  # fastest first


def _modular(accumulator: Accumulator, sizes: Sizes, inside: bool) -> Iterator[Route]:
    fmt = grid_format(accumulator.format)
    why = f"no sum leaves {fmt}" if inside else "sums wrap and nothing is rounded, so only the last sum matters"
    a, b = sizes.a / power_of_two(sizes.a_lowest), sizes.b / power_of_two(sizes.b_lowest)
    total = sizes.depth * a * b
    for name, bits in (("sgemm", 24), ("dgemm", 53)):
        if max(total, a, b) <= 1 << bits:
            yield Route(name, f"{why}; K*max|a|*max|b| = {_text(total)} units of the products <= 2**{bits}")
    width, slices = slices_of(a, sizes.depth * b)
    if 1 < slices <= SLICES:
        yield Route(
            "sliced dgemm",
            f"{why}; {slices} slices of {width} bits of a: K*2**{width}*max|b| = {_text(sizes.depth * b * 2**width)}"
            " units of the products <= 2**53",
        )
    yield Route("modulo", f"{why}; integers modulo 2**64, of which the format has {fmt.bits} bits")


def slices_of(a: Fraction, others: Fraction) -> tuple[int, int]:
    """(bits of a slice, number of slices) of integers up to a, for sums of slices times `others` that are exact."""
    width = 53 - max(int(others) - 1, 0).bit_length()
    return width, -(-int(a).bit_length() // width) if width > 0 else SLICES + 1


def _limiting(known: _Known, accumulator: Accumulator, sizes: Sizes) -> Iterator[Route]:
    """Limits at every step, where nothing is rounded."""
    fmt = grid_format(accumulator.format)
    step = power_of_two(sizes.grid)
    limit, product, start = fmt.largest_code + 1, sizes.largest / step, sizes.c_largest / step
    for carrier in (FLOAT32, FLOAT64):
        p = carrier.precision
        if limit <= 1 << p and _operands_fit(carrier, known, sizes, sizes.grid):
            yield Route(
                carrier.name, f"limits {_text(Fraction(limit))} <= 2**{p} grid steps: larger sums are beyond both"
            )
    # Either way round: where all products are zero, their bound says nothing of the operands.
    operands = max(*integer_sizes(sizes), *integer_sizes(sizes.turned))
    for bits in (32, 64):
        narrow = max(operands, product, start) < 1 << (bits - 1) and (fmt.signed or fmt.bits < bits)
        top = max(Fraction(limit), start + 1) + product
        if narrow and (bits == 64 or top <= 1 << 31):
            bound = f"products below 2**{int(product).bit_length()} <= 2**63"
            bound = f"limit + max|a|*max|b| = {_text(top)} <= 2**31" if bits == 32 else bound
            yield Route(f"int{bits}", f"{bound} grid steps")


def _holds(carrier: Carrier, facts: Facts | None, lowest: int, shift: int) -> bool:
    """Whether scaled operands are normal numbers of the carrier."""
    if facts is None:
        return True
    inside = lowest + shift >= carrier.emin and facts.highest + shift < carrier.emax
    return facts.significant_bits <= carrier.precision and inside


def _operands_fit(carrier: Carrier, known: _Known, sizes: Sizes, point: int) -> bool:
    by_a, by_b = shifts(sizes, point)
    a, b, c = known
    held = _holds(carrier, a, sizes.a_lowest, by_a) and _holds(carrier, b, sizes.b_lowest, by_b)
    return held and _holds(carrier, c, sizes.c_lowest, -sizes.grid)


def _products_exact(carrier: Carrier, known: _Known) -> bool:
    bits = [facts.significant_bits for facts in known[:2] if facts is not None]
    return sum(bits) - (1 in bits) <= carrier.precision


def _stepping(
    carrier: Carrier, known: _Known, accumulator: Accumulator, sizes: Sizes, watched: bool
) -> Iterator[Route]:
    """Steps that round: on exact sums, or on sums rounded to odd."""
    point = product_point(accumulator, sizes)
    if not _operands_fit(carrier, known, sizes, point):
        return
    if carrier is FLOAT32 and watched and accumulator.roundings(sizes.depth) > FEW_STEPS:
        return
    highest = max(sizes.a * sizes.b / power_of_two(point), (sizes.largest + sizes.c_largest) / power_of_two(sizes.grid))
    lowest = min(sizes.product_lowest - point, sizes.unit - sizes.grid)
    if highest >= power_of_two(carrier.emax) or lowest < carrier.emin or abs(point - sizes.grid) >= carrier.emax:
        return
    exact_products = _products_exact(carrier, known)
    if sizes.rounds_products and not (exact_products and _products_round(carrier, accumulator, sizes, point)):
        return
    pairs = accumulator.order == "pairwise" and accumulator.block is None and not sizes.rounds_products
    if not exact_products and pairs:
        return
    reason = _sums_exact(carrier, accumulator, sizes)
    if reason:
        yield Route(f"{carrier.name} steps", reason)
    reason = _sums_odd(carrier, accumulator)
    if reason and not sizes.on_grid and exact_products:
        yield Route(f"{carrier.name} odd", reason)


def _words_hold(carrier: Carrier, part: Accumulator | Quantizer, fraction: int) -> bool:
    """Whether thresholds are exact, or decide all fractions of this many bits."""
    most = THRESHOLD_BITS[carrier.name]
    return part.random_bits is None or part.random_bits <= most or fraction <= most


def _products_round(carrier: Carrier, accumulator: Accumulator, sizes: Sizes, point: int) -> bool:
    product = accumulator.product
    assert product is not None
    fmt = grid_format(product.fmt)
    span = 2 * (sizes.a * sizes.b / power_of_two(point) + fmt.largest_code + 1)
    wrapped = product.overflow is not Overflow.WRAP or span <= 1 << carrier.precision
    return (
        wrapped and fmt.precision <= carrier.precision and _words_hold(carrier, product, point - sizes.product_lowest)
    )


def _sums_exact(carrier: Carrier, accumulator: Accumulator, sizes: Sizes) -> str:
    """Why sums are exact in the carrier, as far as they are not beyond the limits; or nothing."""
    fmt, p = grid_format(accumulator.format), carrier.precision
    unit = power_of_two(sizes.grid - sizes.unit)
    if not _words_hold(carrier, accumulator, sizes.grid - sizes.unit):
        return ""
    if accumulator.overflow is Overflow.WRAP:
        span = 2 * ((fmt.largest_code + 1) * unit + (sizes.largest + sizes.c_largest) / power_of_two(sizes.unit))
        return f"twice the largest sum = {_text(span)} <= 2**{p} of their lowest bits" if span <= 1 << p else ""
    limit = (fmt.largest_code + 2) * unit
    return (
        f"limits {_text(limit)} <= 2**{p} of the sums' lowest bits: larger sums are beyond both"
        if limit <= 1 << p
        else ""
    )


def _sums_odd(carrier: Carrier, accumulator: Accumulator) -> str:
    """Why sums may be rounded to odd in the carrier first; or nothing."""
    fmt, p = grid_format(accumulator.format), carrier.precision
    bits = fmt.precision + 1
    guard = 2
    if accumulator.random_bits is not None:
        guard = accumulator.random_bits + (1 if accumulator.rounding is Rounding.SR else 2)
    if accumulator.overflow is Overflow.WRAP or bits + guard > p:
        return ""
    return f"sums are rounded to odd: {bits} bits + {guard} <= {p}"


def _exact_obstacle(accumulator: Accumulator, sizes: Sizes, with_c: bool) -> str:
    """Why two addends that are both off the grid cannot be held at once; or nothing."""
    pairs = accumulator.order == "pairwise" and accumulator.block is None and not sizes.rounds_products
    others = [(sizes.lowest, sizes.largest)] * pairs + [(sizes.c_lowest, sizes.c_largest)] * with_c
    for lowest, largest in others:
        if min(lowest, sizes.lowest) < sizes.grid - 60 and max(lowest, sizes.lowest) < sizes.grid - 59:
            return (
                f"two numbers that are added have bits down to 2**{lowest} and 2**{sizes.lowest}, more than 60 below the"
                f" grid step 2**{sizes.grid} of {accumulator.format}: quantize c or the operands first"
            )
        if min(largest, sizes.largest) >= power_of_two(sizes.grid + 65):
            return (
                f"two numbers that are added reach {_text(min(largest, sizes.largest))}, beyond 2**65 grid steps of"
                f" {accumulator.format}: scale c or the operands"
            )
    return ""


def _text(value: Fraction) -> str:
    """A bound as a number that is short to read, never below it."""
    if value <= 1 << 20 and value.denominator == 1:
        return str(value)
    whole = -(-value.numerator // value.denominator)
    return f"2**{(whole - 1).bit_length()}"
