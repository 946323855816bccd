"""Which kernels are exact for a product, and why: decided from the formats and the operands' bits.

All plans for a call give the same bits; they differ in speed. A step commits no error but the declared rounding where

- the product of operands with s_a and s_b significant bits has at most q, those of the carrier (a power of two only
  shifts), and its lowest bit and its exponent stay in the carrier's range;
- and the sum reaches the rounding without loss: it is exact in the carrier; or the carrier's own rounding of it to
  nearest is harmless, both addends and the result having p bits, one addend on the format's grid, and q >= 2p + 1
  (Figueroa, SIGNUM Newsletter 30(3), 1995); or it is rounded to odd, and q >= p + 2 (Boldo and Melquiond, IEEE TC
  57(4), 2008), with r random bits q >= p + r + 1 (SR_B and SR_C: p + r + 2);
- or the accumulator's format is the carrier itself and the mode RNE: its own fused step is the definition.

Where every sum is a member of the accumulator's format nothing is rounded at all, and BLAS may do it in any order.
"""

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from .accumulator import Accumulator
from .bounds import Sums, float_format, keeps_multiples, product_bits, sums_of
from .formats import FloatFormat, Subnormals
from .kernels import modes
from .parameters import (
    FLOAT32,
    FLOAT64,
    Carrier,
    fast_form,
    needs_normalising,
    parameter_row,
    stochastic_form,
)
from .problem import Facts, Problem
from .quantizer import Quantizer
from .rounding import Overflow, Rounding

Bounds = tuple[Sums, Sums | None]  # of the chain, and of the combination of chunks
# Whether sums, and those of chunks, are left to the carrier's own rounding: in different ways where neither does for both.
_WAYS = ((True, True), (False, False), (True, False), (False, True))


class Plan(NamedTuple):
    """A kernel, its carrier, the compiled modes of products, sums and outer sums, and the reason in a sentence."""

    kernel: str
    reason: str
    carrier: Carrier = FLOAT64
    mode: int = modes.NO_ROUNDING
    product_mode: int = modes.NO_ROUNDING
    outer_mode: int = modes.NO_ROUNDING
    normalise: bool = False
    exact: bool = False  # whether ONCE in the modes means that sums are exact in the carrier, not only harmless


def plans(problem: Problem, accumulator: Accumulator) -> list[Plan]:
    """All exact plans, the fastest first. Errors: ValueError saying which condition fails in every carrier."""
    return list(plans_in_turn(problem, accumulator))


def first_plan(problem: Problem, accumulator: Accumulator) -> Plan:
    """The first of `plans`, without working out the others."""
    return next(plans_in_turn(problem, accumulator))


def plans_in_turn(problem: Problem, accumulator: Accumulator) -> Iterator[Plan]:
    """`plans`, each worked out when it is asked for."""
    found, reason = False, ""
    for plan in _blas(problem, accumulator):
        found = True
        yield plan
    sums = sums_of(accumulator, problem)
    for carrier in (FLOAT32, FLOAT64):
        obstacle = _obstacle(carrier, accumulator, problem, sums)
        if not obstacle:
            for plan in _stepping(carrier, accumulator, problem, sums):
                found = True
                yield plan
        reason = obstacle
    if not found:
        raise ValueError(reason)


def _parts(accumulator: Accumulator) -> tuple[Accumulator | Quantizer, ...]:
    inner, product, outer = accumulator, accumulator.product, accumulator.combining
    return tuple(part for part in (inner, product, outer) if part is not None)


# BLAS


def _blas(problem: Problem, accumulator: Accumulator) -> Iterator[Plan]:
    """One product by BLAS where all terms and sums, in any order, are members of the accumulator's formats."""
    if accumulator.order != "sequential" or any(part.rounding is Rounding.RTN for part in _parts(accumulator)):
        return
    a, b, c = problem.facts
    if c is not None and c.minus:
        return
    product = Fraction(a.largest) * Fraction(b.largest)
    total = problem.depth * product + (0 if c is None else Fraction(c.largest))
    lowest = min(a.lowest + b.lowest, a.lowest + b.lowest if c is None else c.lowest)
    if accumulator.product is not None and not _all_members(float_format(accumulator.product), product, lowest):
        return
    if not all(_all_members(float_format(part), total, lowest) for part in (accumulator, accumulator.combining)):
        return
    for carrier, name in ((FLOAT32, "sgemm"), (FLOAT64, "dgemm")):
        inside = min(lowest, a.lowest, b.lowest) >= carrier.emin and max(a.highest, b.highest) <= carrier.emax
        if inside and total <= Fraction(2) ** min(lowest + carrier.precision, carrier.emax):
            units = max(math.ceil(total / Fraction(2) ** lowest), 1)
            yield Plan(
                name,
                f"BLAS ({name}): every term and every partial sum is a multiple of 2**{lowest}, K max|a| max|b| + max|c|"
                f" is at most 2**{(units - 1).bit_length()} <= 2**{carrier.precision} of them, and all are members of"
                f" {accumulator.format}: nothing is rounded, in any order",
                carrier,
            )


def _all_members(fmt: FloatFormat, largest: Fraction, lowest: int) -> bool:
    """Whether every multiple of 2**lowest up to `largest` is a member of the format."""
    finest = {Subnormals.GRADUAL: fmt.emin - fmt.mantissa_bits, Subnormals.FLUSH: fmt.emin}.get(
        fmt.subnormals, fmt.emin + 1
    )
    fits = largest <= Fraction(2) ** (lowest + fmt.precision) and largest <= Fraction(fmt.max)
    return fits and lowest >= finest and fmt.has_negative_zero and fmt.has_zero


# Stepping


def _stepping(carrier: Carrier, accumulator: Accumulator, problem: Problem, sums: Bounds) -> Iterator[Plan]:
    """The kernels that take every step in this carrier: the sum by fewer instructions first, fast forms first."""
    inner, outer = sums
    a, b, _ = problem.facts
    formats = [float_format(part) for part in _parts(accumulator)]
    normalise = any(needs_normalising(fmt, carrier) for fmt in formats)
    finite = _always_finite(carrier, accumulator, problem, sums)
    seen: set[tuple[int, int, int]] = set()
    for once, outer_once in _WAYS:
        if once != outer_once and (outer is None or seen):
            break
        for fast in (True, False):
            mode, why = _sum_mode(carrier, inner, once, fast and finite)
            outer_mode, outer_why = modes.NO_ROUNDING, ""
            if outer is not None:
                outer_mode, outer_why = _sum_mode(carrier, outer, outer_once, fast and finite)
            if not why or (outer is not None and not outer_why):
                continue
            product_mode = modes.NO_ROUNDING
            if accumulator.product is not None:
                top, lowest = a.highest + b.highest + 2, a.lowest + b.lowest
                product_mode = int(accumulator.product.rounding)
                if fast and finite:
                    form = _form(carrier, accumulator.product, top, lowest)
                    truncates = accumulator.product.rounding is Rounding.RTZ and form
                    product_mode += form + (modes.SIGNED if truncates else 0)
            exact = all(part is None or _sums_are_exact(carrier, part) for part in (inner, outer))
            kind = (mode, product_mode, outer_mode)
            if kind in seen:
                continue
            seen.add(kind)
            how = why if outer_why in ("", why) else f"{why}; sums of chunks: {outer_why}"
            name = "once" if mode >= 0 and mode & modes.ONCE else "native" if mode < 0 else "odd"
            yield Plan(f"{carrier.name} {name}", f"{carrier.name}, every step: {how}", carrier, *kind, normalise, exact)


def _sum_mode(carrier: Carrier, sums: Sums, once: bool, fast: bool) -> tuple[int, str]:
    """(compiled mode, why it is exact) of a part's sums; an empty reason where this way is not."""
    part = sums.part
    fmt = float_format(part)
    if is_native(carrier, part):
        ieee = part.overflow is Overflow.IEEE
        return (modes.NATIVE_IEEE if ieee else modes.NATIVE), f"{carrier.name}'s own fused step is the definition"
    if once:
        why = _harmless(carrier, sums)
        mode = int(part.rounding) + modes.ONCE
    else:
        why = _odd(carrier, part)
        mode = int(part.rounding)
    if not why:
        return mode, ""
    if fast:
        form = _form(carrier, part, sums.top, sums.lowest)
        if part.rounding is Rounding.RNE and _centred(carrier, fmt, sums.top):
            multiples = sums.lowest >= fmt.emin - fmt.mantissa_bits and not sums.minus
            form = modes.SIGNED + (modes.UNIFORM if multiples else 0)
        elif part.rounding is Rounding.RTZ and form:
            form += modes.SIGNED
        mode += form
    return mode, why


def _sums_are_exact(carrier: Carrier, sums: Sums) -> bool:
    return sums.top - sums.lowest + 1 <= carrier.precision


def _harmless(carrier: Carrier, sums: Sums) -> str:
    """Why the carrier's own sum does no harm, or an empty string."""
    part, q = sums.part, carrier.precision
    fmt = float_format(part)
    if _sums_are_exact(carrier, sums):
        span = f"2**{sums.lowest} to 2**{sums.top}"
        return f"sums are exact in {carrier.name}: their bits lie from {span}, {sums.top - sums.lowest + 1} <= {q}"
    if part.order == "kahan" or part.rounding is not Rounding.RNE:
        return ""
    p = fmt.precision
    if fmt.subnormals is Subnormals.GRADUAL and not sums.members:
        return ""  # half a quantum and something tiny: to nearest in the carrier that is a tie, and it was none
    if sums.bits <= p and q >= 2 * p + 1:
        return (
            f"to nearest even in {carrier.name} and then in {fmt} is one rounding: addends of at most {sums.bits} <="
            f" p = {p} bits, and {q} >= 2p + 1 = {2 * p + 1}"
        )
    return ""


def _odd(carrier: Carrier, part: Accumulator) -> str:
    """Why rounding to odd in the carrier first is exact, or an empty string."""
    fmt, q = float_format(part), carrier.precision
    p = fmt.precision
    if not part.rounding.stochastic:
        return f"rounded to odd, then to p = {p} bits: {q} >= p + 2" if q >= p + 2 else ""
    assert part.random_bits is not None
    more = 1 if part.rounding is Rounding.SR else 2
    if q < p + part.random_bits + more:
        return ""
    return f"rounded to odd, then to p = {p} bits by r = {part.random_bits} random bits: {q} >= p + r + {more}"


def _form(carrier: Carrier, part: Accumulator | Quantizer, top: int, lowest: int) -> int:
    """The faster form of a rounding that is exact for finite multiples of 2**lowest below 2**(top+1), 0 if none is."""
    fmt, rounding = float_format(part), part.rounding
    if not fmt.has_negative_zero or fmt.precision > carrier.precision - 2:
        return 0
    plain = fmt.mantissa_bits > 0 and rounding not in (Rounding.SR_B, Rounding.SR_C)
    if plain and keeps_multiples(fmt, lowest) and fmt.emin > carrier.emin:
        return modes.UNIFORM  # nothing below the normals is rounded
    form = fast_form(fmt, rounding, carrier) or stochastic_form(fmt, rounding, carrier, part.random_bits)
    return form if top + carrier.precision - fmt.precision <= carrier.emax else 0


def _centred(carrier: Carrier, fmt: FloatFormat, top: int) -> bool:
    """Whether sums to nearest even may be rounded by a shifter in the middle of its binade."""
    drop = carrier.precision - fmt.precision
    inside = fmt.emin - fmt.mantissa_bits >= carrier.emin and fmt.mantissa_bits > 0 and fmt.has_negative_zero
    highest = max(top, fmt.emin) + drop  # of the shifter
    return inside and drop >= 2 and fmt.subnormals is Subnormals.GRADUAL and highest <= carrier.emax


def is_native(carrier: Carrier, accumulator: Accumulator) -> bool:
    """Whether the carrier's own instruction commits exactly the accumulator's rounding."""
    return (
        carrier.is_format(float_format(accumulator))
        and accumulator.rounding is Rounding.RNE
        and accumulator.overflow is not Overflow.PROPAGATE
    )


def _always_finite(carrier: Carrier, accumulator: Accumulator, problem: Problem, sums: Bounds) -> bool:
    """Whether no step can overflow, or those that do saturate: the fast forms know no other end of the range."""
    a, b, _ = problem.facts
    product = accumulator.product
    if product is not None:
        fits = a.highest + b.highest + 2 < float_format(product).emax
        if not (fits or product.overflow is Overflow.SATURATE):
            return False
    for bound in sums:
        if bound is None:
            continue
        fits = bound.held < float_format(bound.part).emax and bound.part.order == "sequential"
        if bound.top >= carrier.emax or not (fits or bound.part.overflow is Overflow.SATURATE):
            return False
    return True


# What stands against a carrier


def _obstacle(carrier: Carrier, accumulator: Accumulator, problem: Problem, sums: Bounds) -> str:
    """Why no kernel in this carrier is exact, or an empty string."""
    a, b, _ = problem.facts
    for fact in problem.facts:
        if fact is None:
            continue
        outside = fact.highest > carrier.emax or fact.lowest < carrier.quantum_exponent
        if fact.significant_bits > carrier.precision or outside:
            return f"operands are not all {carrier.name} values"
    fused_native = is_native(carrier, accumulator) and accumulator.product is None and accumulator.order == "sequential"
    if not fused_native and (obstacle := _products_obstacle(carrier, accumulator, a, b)):
        return obstacle
    inner, outer = sums
    product = accumulator.product
    watched = product is not None and product.overflow is Overflow.ERROR
    if obstacle := _format_obstacle(carrier, inner, watched):
        return obstacle
    watched = watched or accumulator.overflow is Overflow.ERROR
    return "" if outer is None else _format_obstacle(carrier, outer, watched)


def _products_obstacle(carrier: Carrier, accumulator: Accumulator, a: Facts, b: Facts) -> str:
    bits = product_bits(a, b)
    if bits > carrier.precision:
        return (
            f"operands have {a.significant_bits} and {b.significant_bits} significant bits, their products {bits};"
            f" {carrier.name} holds {carrier.precision} exactly; quantize the operands first"
        )
    if a.lowest + b.lowest < carrier.quantum_exponent or a.highest + b.highest + 2 > carrier.emax:
        return (
            f"products reach from 2**{a.lowest + b.lowest} to 2**{a.highest + b.highest + 2}, outside {carrier.name};"
            " scale the operands"
        )
    product = accumulator.product
    if product is not None and not carrier.holds(product.fmt):
        return f"the product format {product.fmt} has values that {carrier.name} does not hold"
    return ""


def _format_obstacle(carrier: Carrier, sums: Sums, watched: bool) -> str:
    """Why a part's sums are not exact; watched: infinities are marks of an overflow."""
    part = sums.part
    fmt, q = float_format(part), carrier.precision
    if is_native(carrier, part):
        return ""
    if not carrier.holds(fmt) or not (_odd(carrier, part) or _harmless(carrier, sums)):
        return _too_precise(carrier, part)
    if max(sums.held, sums.added) >= carrier.emax and min(sums.held, sums.added) >= carrier.emax - q:
        # A sum may leave the carrier; it is then known to be an overflow, but no longer on which side of an infinity.
        row = parameter_row(fmt, part.rounding, part.overflow, part.random_bits, carrier, watched)
        alike = row[modes.OVER_POSITIVE] == row[modes.OVER_NEGATIVE] == row[modes.INFINITE]
        if not alike and part.overflow is not Overflow.ERROR:
            return (
                f"sums in {fmt} may pass the top of {carrier.name}: with {part.rounding.name} its overflow rule"
                " must be SATURATE there; or use smaller operands or fewer exponent bits"
            )
    return ""


def _too_precise(carrier: Carrier, part: Accumulator) -> str:
    fmt, q = float_format(part), carrier.precision
    if part.rounding.stochastic:
        more = 1 if part.rounding is Rounding.SR else 2
        return (
            f"accumulator {fmt} has p = {fmt.precision} bits of precision and r = {part.random_bits} random bits:"
            f" {part.rounding.name} is exact for p + r <= {q - more} in {carrier.name}; use fewer random bits or"
            ' order="exact"'
        )
    return (
        f"accumulator {fmt} has {fmt.precision} bits of precision: rounding is exact for up to {q - 2} in"
        f" {carrier.name} (binary64 itself with RNE); use a narrower accumulator"
    )
