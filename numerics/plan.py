"""Which kernel is exact for this product, and why: the decision is made from the formats and the operands' bits.

Every plan gives the same bits; they differ in speed. The conditions are the ones under which a step commits no error
but the declared rounding:

- a product of operands with s_a and s_b significant bits is exact in a carrier of q bits if s_a + s_b <= q (powers of
  two, with one bit, only shift: s <= q) and its lowest bit and its exponent stay in the carrier's range;
- the sum is then rounded to odd in the carrier, and rounding that to p bits equals rounding the exact sum in every
  mode if q >= p + 2 (Boldo and Melquiond, IEEE TC 57(4), 2008);
- where the accumulator's format is the carrier itself and the mode is RNE, the carrier's own fused step is the
  definition.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .accumulator import Accumulator
from .formats import FloatFormat
from .kernels import gemm, modes
from .parameters import FLOAT32, FLOAT64, Carrier, carrier_of, fast_form, needs_normalising, parameter_row
from .rounding import Overflow, Rounding


class Facts(NamedTuple):
    """What exactness needs to know of an operand: bounds, not exact values, for subnormals."""

    significant_bits: int
    lowest: int  # exponent of the lowest bit that any element may have
    highest: int  # exponent of the largest element


class Plan(NamedTuple):
    """A carrier, the compiled modes of sums, products and outer sums, and the reason in a sentence."""

    carrier: Carrier
    mode: int
    product_mode: int
    outer_mode: int
    normalise: bool
    reason: str


def facts(x: NDArray[Any], label: str) -> Facts:
    """Facts of a float array of any layout. Errors: ValueError naming the first element that is not finite."""
    carrier = carrier_of(x.dtype)
    seen, largest, smallest = (int(v) for v in gemm.scan(x.ravel(order="K").view(carrier.unsigned)))
    trailing = carrier.precision - 1
    if largest > carrier.emax - carrier.emin + 1:
        where = np.unravel_index(int(np.argmin(np.isfinite(x))), x.shape)
        position = f"[{', '.join(str(int(i)) for i in where)}]" if where else ""
        raise ValueError(
            f"{label}{position} is {x[where]}: products are exact for finite operands only;"
            " replace it first (quantizing with SATURATE clamps infinities, a NaN stays)"
        )
    significand = seen | 1 << trailing
    empty = (significand & -significand).bit_length() - 1
    bias = -carrier.emin + 1
    lowest = max(smallest, 1) - bias - trailing + empty
    if smallest > largest:  # all zeros
        return Facts(1, 0, 0)
    return Facts(trailing + 1 - empty, lowest, max(largest, 1) - bias)


def choose(accumulator: Accumulator, a: Facts, b: Facts, c: Facts | None) -> Plan:
    """The narrowest exact plan. Errors: ValueError saying which condition fails in every carrier."""
    reasons = []
    for carrier in (FLOAT32, FLOAT64):
        plan = _plan_in(carrier, accumulator, a, b, c)
        if isinstance(plan, Plan):
            return plan
        reasons.append(plan)
    raise ValueError(reasons[-1])


def _plan_in(carrier: Carrier, accumulator: Accumulator, a: Facts, b: Facts, c: Facts | None) -> Plan | str:
    """The plan in this carrier, or why there is none."""
    obstacle = _operands_obstacle(carrier, a, b, c)
    if obstacle:
        return obstacle
    native = _is_native(carrier, accumulator)
    fused_native = native and accumulator.product is None
    if not fused_native:
        obstacle = _products_obstacle(carrier, accumulator, a, b)
        if obstacle:
            return obstacle
    mode = _native_mode(accumulator) if native else int(accumulator.rounding)
    product = accumulator.product
    product_format = accumulator.product_format
    highest_product = a.highest + b.highest + 2 if product_format is None else product_format.emax
    highest_start = 0 if c is None else c.highest
    held = accumulator.format.emax if accumulator.chunk is not None else max(accumulator.format.emax, highest_start)
    watched = product is not None and product.overflow is Overflow.ERROR
    if not native and (obstacle := _format_obstacle(carrier, accumulator, held, highest_product, watched)):
        return obstacle
    outer_mode = modes.NO_ROUNDING
    if accumulator.chunk is not None:
        outer = accumulator.combining
        outer_native = _is_native(carrier, outer)
        held = max(outer.format.emax, highest_start)
        watched = watched or accumulator.overflow is Overflow.ERROR
        if not outer_native and (obstacle := _format_obstacle(carrier, outer, held, accumulator.format.emax, watched)):
            return obstacle
        outer_mode = _native_mode(outer) if outer_native else int(outer.rounding)
    product_mode = modes.NO_ROUNDING if product is None else int(product.rounding)
    top = _highest_sum(accumulator, a, b, c)
    if _always_finite(carrier, accumulator, top):
        mode = mode if native else mode + _form(carrier, accumulator.format, accumulator.rounding, top)
        if product is not None and product_format is not None:
            product_mode += _form(carrier, product_format, product.rounding, a.highest + b.highest + 2)
        if outer_mode >= 0:
            outer_mode += _form(carrier, accumulator.combining.format, accumulator.combining.rounding, top)
    formats = [f for f in _formats(accumulator) if f is not None]
    normalise = any(needs_normalising(f, carrier) for f in formats)
    how = "its own fused step is the definition" if fused_native else "products exact, sums rounded to odd, then once"
    return Plan(carrier, mode, product_mode, outer_mode, normalise, f"{carrier.name}: {how}")


def _formats(accumulator: Accumulator) -> tuple[FloatFormat | None, ...]:
    return accumulator.format, accumulator.product_format, accumulator.combining.format


def _operands_obstacle(carrier: Carrier, *operands: Facts | None) -> str:
    for fact in operands:
        if fact is None:
            continue
        outside = fact.highest > carrier.emax or fact.lowest < carrier.quantum_exponent
        if fact.significant_bits > carrier.precision or outside:
            return f"operands are not all {carrier.name} values"
    return ""


def _products_obstacle(carrier: Carrier, accumulator: Accumulator, a: Facts, b: Facts) -> str:
    bits = a.significant_bits + b.significant_bits
    if 1 in (a.significant_bits, b.significant_bits):
        bits -= 1  # a power of two only shifts
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


def _format_obstacle(carrier: Carrier, accumulator: Accumulator, held: int, added: int, watched: bool) -> str:
    """Why sums are not exact; held, added: bounds on the exponents of the addends; watched: infinities are marks."""
    fmt, limit = accumulator.format, carrier.precision - 2
    if fmt.precision > limit or not carrier.holds(fmt):
        return (
            f"accumulator {fmt} has {fmt.precision} bits of precision: rounding is exact for up to {limit} in"
            f" {carrier.name} (binary64 itself with RNE); use a narrower accumulator"
        )
    if max(held, added) >= carrier.emax and min(held, added) >= carrier.emax - carrier.precision:
        # A sum may leave the carrier; it is then known to be an overflow, but no longer on which side of an infinity.
        row = parameter_row(fmt, accumulator.rounding, accumulator.overflow, None, carrier, watched)
        alike = row[modes.OVER_POSITIVE] == row[modes.OVER_NEGATIVE] == row[modes.INFINITE]
        if not alike and accumulator.overflow is not Overflow.ERROR:
            return (
                f"sums in {fmt} may pass the top of {carrier.name}: with {accumulator.rounding.name} its overflow rule"
                " must be SATURATE there; or use smaller operands or fewer exponent bits"
            )
    return ""


def _highest_sum(accumulator: Accumulator, a: Facts, b: Facts, c: Facts | None) -> int:
    """A bound on the exponent of every sum before it is rounded."""
    product = a.highest + b.highest + 2
    if accumulator.product_format is not None:
        product = min(product, accumulator.product_format.emax + 1)
    formats = max(accumulator.format.emax, accumulator.combining.format.emax)
    return max(product, formats, 0 if c is None else c.highest) + 1


def _always_finite(carrier: Carrier, accumulator: Accumulator, top: int) -> bool:
    parts = (accumulator, accumulator.product, accumulator.combining)
    return top < carrier.emax and all(p is None or p.overflow is Overflow.SATURATE for p in parts)


def _form(carrier: Carrier, fmt: FloatFormat, rounding: Rounding, top: int) -> int:
    """The faster form of this rounding that is exact for finite values below 2**(top+1), or 0 for the general one."""
    if not fmt.has_negative_zero or fmt.precision > carrier.precision - 2:
        return 0
    form = fast_form(fmt, rounding, carrier)
    return form if top + carrier.precision - fmt.precision <= carrier.emax else 0


def _native_mode(accumulator: Accumulator) -> int:
    return modes.NATIVE_IEEE if accumulator.overflow is Overflow.IEEE else modes.NATIVE


def _is_native(carrier: Carrier, accumulator: Accumulator) -> bool:
    """Whether the carrier's own instruction commits exactly the accumulator's rounding."""
    return (
        carrier.is_format(accumulator.format)
        and accumulator.rounding is Rounding.RNE
        and accumulator.overflow is not Overflow.PROPAGATE
    )
