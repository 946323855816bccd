"""The vector forms of matrix units: which one is exact for a call, by formats and by the operands' exponents, and why.

Every form gives the bits of the scalar loops, which take what no form proves. `Form.reason` says a form's condition.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .catalog import BINARY64
from .kernels import unit_steps
from .matrix_unit import MatrixUnit
from .rounding import Rounding
from .unit_operands import Operand

_LENGTHS = (4, 8, 16, 32)  # of blocks, or of their parts, that are cut in vectors
_WORD = 31  # bits of the integer that holds a sum of cut products, without its sign
_DOUBLE = 53


class Products(NamedTuple):
    """What is known of the products of a call: all exact in float32, none below 2**low or of 2**(high + 1 + room)."""

    low: int  # exponents: sums of those of the factors, scales included
    high: int
    room: int  # bits of a product of significands above its exponent
    digits: int  # below it

    def reach(self, count: int) -> int:
        """How far the exponent of the lowest of `count` products may be below the highest for a sum exact in float64.

        The lowest is looked for among the exponents of operands with their scales multiplied in, each of which may be one
        above that of its factors.
        """
        carried = self.room - 2
        return _DOUBLE - self.digits - carried - self.room - (count - 1).bit_length()


@dataclass(frozen=True)
class Fast:
    """The loop of kernels/unit_fast.py for a call: its constants."""

    unroll: int
    groups: int
    lowest: int  # below every exponent that a block's terms can have, or the unit's own floor
    bounded: bool  # no sum can pass the largest value
    products: Products
    counts: bool  # whether it can also count events: no product vanishes where a block's terms are in units
    gradual: bool  # whether a sum can be below the smallest normal number, and not zero

    kernel: ClassVar[str] = "aligned vectors"

    def told(self, unit: MatrixUnit) -> tuple[int, ...]:
        """What counting takes: the reach of an exact sum; log2 of a magnitude of c, in units of a block's last place.

        A total that is what the products add up to lacks c; but the cuts take less than a unit of each term, and the
        rounding less than one in the last place of the output, so c is less than both together. And of a c that is no
        smaller, its difference to any total is exact in float64. Among subnormals what rounding takes may be half of the
        total: then c has to be as large, unless its own format has no smaller steps.
        """
        block, bits, output, addend = self.unroll * self.groups, unit.F or 0, unit.output, unit.addend
        top = bits + self.products.room + block.bit_length()
        finer = self.gradual and addend.emin - addend.mantissa_bits < output.emin - output.mantissa_bits
        return self.products.reach(block), max(block.bit_length(), top - (0 if finer else output.precision)) + 2

    def reason(self, unit: MatrixUnit) -> str:
        """The condition, with its numbers."""
        bits, (low, _, room, _) = unit.F or 0, self.products
        return (
            f"{_whole(self.products)}; M is at least {low} and 2**({bits} - M) a normal float32, as {low} >= {bits} -"
            f" 127; 8 products cut toward zero and c stay below 2**{_WORD}, as {bits} + {room} + 3 <= 30; their sums,"
            " added in float64, are rounded once"
        )


@dataclass(frozen=True)
class Late:
    """The loop of kernels/unit_late.py for a call: its constants."""

    unroll: int
    groups: int
    parts: int
    products: Products
    counts: bool  # as of Fast
    gradual: bool

    kernel: ClassVar[str] = "late vectors"

    def told(self, unit: MatrixUnit) -> tuple[int, ...]:
        """What counting takes: the reach of an exact sum."""
        return (self.products.reach(unit.L),)

    def reason(self, unit: MatrixUnit) -> str:
        """The condition, with its numbers."""
        bits, low, length = unit.F or 0, self.products.low, self.unroll * self.groups
        return (
            f"{_whole(self.products)}; M is at least {low} and 2**({bits} - M) a normal float32, as {low} >= {bits} -"
            f" 127; {length} products cut toward zero stay below 2**{_WORD}, as {length} * 2**({bits} + 2) <="
            f" 2**{_WORD}; with c their sum has {unit.F2} + {unit.L.bit_length()} + 3 <= {_DOUBLE} bits, is exact in"
            " float64, and is rounded once"
        )


@dataclass(frozen=True)
class Groups:
    """The loop of kernels/unit_groups.py for a call: its constants."""

    group: int
    count: int
    low: int  # the lowest exponent of a group's scales
    counts: bool  # as of Fast
    gradual: bool

    kernel: ClassVar[str] = "grouped vectors"

    def told(self, unit: MatrixUnit) -> tuple[int, ...]:
        """What counting takes: how far a group's scales may be below those of another for a sum exact in float64."""
        assert unit.scale is not None
        return (_DOUBLE - _group_bits(unit) - 2 * unit.scale.precision - self.count.bit_length(),)

    def reason(self, unit: MatrixUnit) -> str:
        """The condition, with its numbers."""
        return (
            f"the sum of {self.group} products has {_group_bits(unit)} <= 24 bits and is exact in float32; {self.count}"
            f" of them, scaled and cut toward zero, and c have {_block_bits(unit)} <= {_DOUBLE} bits, are exact in"
            f" float64, and are rounded once; results are multiples of 2**({self.low} - {unit.F})"
        )


@dataclass(frozen=True)
class Windows:
    """The loop of kernels/unit_windows.py for a call: its constants."""

    last: int  # every term is a multiple of 2**last
    split: int  # w: the last place of the upper window
    products: Products
    counts: bool  # as of Fast
    gradual: bool

    kernel: ClassVar[str] = "exact vectors"

    def reason(self, unit: MatrixUnit) -> str:
        """The condition, with its numbers."""
        return (
            f"{_whole(self.products)}; terms are multiples of 2**{self.last} and sums below 2**({self.split} + 50): what"
            f" is above 2**{self.split} and what is below are both exact in float64, as {unit.L + 1} * 2**({self.split} -"
            f" 1) <= 2**({self.last} + 52); rounded to odd, their sum rounds once more without harm"
        )


@dataclass(frozen=True)
class Lanes:
    """The loops of kernels/unit_lanes.py for a call: its constants."""

    kind: int  # of kernels/unit_steps.py
    last: int  # every term is a multiple of 2**last
    short: bool  # whether products are exact in the type of the steps
    counts: bool  # whether it can also count events: no sum can pass the largest value

    kernel: ClassVar[str] = "lanes"

    def reason(self, unit: MatrixUnit) -> str:
        """The condition, with its numbers."""
        said = "no operand is infinite or NaN: each step is the processor's own, in the same order"
        if not unit.ftz_out:
            return said
        return f"{said}; nothing is flushed, all terms being multiples of 2**{self.last} >= 2**{unit.output.emin}"


Form = Fast | Late | Groups | Windows


def _whole(products: Products) -> str:
    low, high, room, digits = products
    return (
        f"products of exponents {low} to {high} are exact in float32, having {room + digits} <= 24 bits, {high} + {room}"
        f" <= 128 and {low} - {digits} >= -149"
    )


def plan_fast(
    unit: MatrixUnit, a: Operand, b: Operand, c: NDArray[np.float64], ranges: tuple[tuple[int, int], ...]
) -> Form | None:
    """The vector form that is exact for this call of a fused unit, with its constants; None: none is known to be.

    a, b: operands, with their scales multiplied in unless products are grouped (`unit_operands.weighted`). c: float64
    [B, M, N].
    """
    magnitudes = np.abs(c[c != 0])
    largest = float(magnitudes.max()) if magnitudes.size else 0.0
    if not largest < np.inf:
        return None
    lowest = int(np.frexp(magnitudes.min())[1]) - 1 if magnitudes.size else None
    if unit.exact_group > 1:
        return plan_groups(unit, a, b, largest, lowest)
    if unit.ar == "exact":
        return plan_windows(unit, a, b, largest, lowest, ranges)
    if unit.c_place == "late":
        return plan_late(unit, a, b, largest, lowest, ranges)
    return plan_vectors(unit, a, b, largest, lowest, ranges)


def _products(unit: MatrixUnit, a: Operand, b: Operand) -> Products | None:
    """Of operands whose products are all exact in float32 and finite."""
    weights = 0 if unit.scale is None else 2 * unit.scale.mantissa_bits
    digits = sum(fmt.mantissa_bits for fmt in unit.inputs) + weights
    room = 2 if weights == 0 else 4
    low, high = a.lowest + b.lowest, a.highest + b.highest
    if low > high:  # an operand of nothing but zeros
        low = high = 0
    limit = 128 if unit.product_limit is None else unit.product_limit
    exact = room + digits <= 24 and high + room <= min(limit, 128) and low >= digits - 149
    # Scales are multiplied into the operands, exactly.
    scaled = unit.scale is None or all(x.lowest >= -120 and x.highest <= 120 for x in (a, b) if x.lowest <= x.highest)
    return Products(low, high, room, digits) if exact and scaled and a.finite and b.finite else None


def plan_vectors(
    unit: MatrixUnit, a: Operand, b: Operand, largest: float, c_low: int | None, ranges: tuple[tuple[int, int], ...]
) -> Fast | None:
    """`plan_fast` of a unit that aligns c too, by what it asks of c.

    largest: c's largest magnitude; c_low: an exponent that no c is below, None of zeros. A result is a multiple of
    2**(M - F) of its block, so that its exponent, which the next block meets, is at least that of the lowest product
    or of c, less F.
    """
    bits, length = unit.F or 0, unit.L if unit.groups == "one" else unit.L // 2
    unroll = 8 if length % 8 == 0 else 4
    apart, toward_zero = unit.c_place == "separate_add", unit.rounding is Rounding.RTZ
    plain = unit.ar == "rz" and not (unit.prodnorm or unit.ftz_out or unit.exact_group > 1)
    ends = unit.overflow_to_infinity and (not toward_zero or unit.output.emin == -126)
    added = not apart or not toward_zero or unit.output.precision == 24
    products = _products(unit, a, b)
    if not (plain and ends and added and unit.c_place != "late" and _aligned(unit, length, unroll, ranges)):
        return None
    if products is None or not 2 <= bits <= 27 - products.room or not largest < np.inf:
        return None
    low, high = products.low, products.high
    if not min(low - bits, low if c_low is None else c_low) >= bits - 127:
        return None
    floor = bits - 127 if unit.Emin_floor is None else max(bits - 127, unit.Emin_floor)
    bounded = _bounded(unit, a, length, largest, high + products.room)
    reach = largest + a.values.shape[-1] * 2.0 ** (high + products.room)
    counts = bounded and low + bits - math.frexp(2 * reach)[1] >= -100
    last = min(low - products.digits, low - bits, low if c_low is None else c_low - unit.addend.mantissa_bits)
    return Fast(unroll, length // unroll, floor, bounded, products, counts, last < unit.output.emin)


def _aligned(unit: MatrixUnit, length: int, unroll: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    """Whether blocks are of a length that is cut in vectors, begin where vectors may, and are not all cut to nothing."""
    floor = 0 if unit.Emin_floor is None else unit.Emin_floor
    return length in _LENGTHS and floor <= 127 and all(first % unroll == 0 for first, _ in ranges)


def plan_late(
    unit: MatrixUnit, a: Operand, b: Operand, largest: float, c_low: int | None, ranges: tuple[tuple[int, int], ...]
) -> Late | None:
    """`plan_fast` of a unit that adds c behind the products, with what counting asks of c, as in `plan_vectors`."""
    parts = 1 if unit.groups == "one" else 2
    bits, length = unit.F or 0, unit.L // parts
    unroll = 8 if length % 8 == 0 else 4
    plain = unit.ar == "rz" and not (unit.prodnorm or unit.ftz_out or unit.scale)
    ends = unit.overflow_to_infinity and unit.rounding is Rounding.RNE
    fits = (
        2 <= bits <= 25 and length << (bits + 2) <= 1 << _WORD and (unit.F2 or 0) + unit.L.bit_length() + 3 <= _DOUBLE
    )
    products = _products(unit, a, b)
    if not (plain and ends and fits and _aligned(unit, length, unroll, ranges)) or products is None:
        return None
    if products.low < bits - 127:
        return None
    bounded = _bounded(unit, a, unit.L, largest, products.high + products.room)
    bounded = bounded and _floored_bounded(unit, a, largest, products.high)
    grid = max(unit.F2 or 0, unit.Fc or 0)
    last = products.low - max(bits, grid, products.digits)
    last = last if c_low is None else min(last, c_low - max(grid, unit.addend.mantissa_bits))
    counts = bounded and products.low + bits - products.high >= -100
    return Late(unroll, length // unroll, parts, products, counts, last < unit.output.emin)


def _group_bits(unit: MatrixUnit) -> int:
    """Bits from the last place of a product to above an exact group's sum."""
    return sum(fmt.emax - fmt.emin + fmt.precision for fmt in unit.inputs) + (unit.exact_group - 1).bit_length()


def _block_bits(unit: MatrixUnit) -> int:
    """Bits of a block's sum of groups, scaled, and c: scales have a bit each above their exponents."""
    group = max(0, sum(fmt.emax + 1 for fmt in unit.inputs)) + (unit.exact_group - 1).bit_length()
    return (unit.F or 0) + 2 + group + (unit.L // unit.exact_group).bit_length() + 1


def plan_groups(unit: MatrixUnit, a: Operand, b: Operand, largest: float, c_low: int | None) -> Groups | None:
    """`plan_fast` of a unit with scaled groups of exact sums, with what counting asks of c, as in `plan_vectors`."""
    group, count = unit.exact_group, unit.L // unit.exact_group
    plain = unit.ar == "rz" and unit.c_place == "in_align" and not (unit.prodnorm or unit.ftz_out)
    if not (plain and group in (4, 8, 16) and count <= 8 and unit.scale is not None and unit.overflow_to_infinity):
        return None
    floor = 0 if unit.Emin_floor is None else unit.Emin_floor
    if unit.product_limit is not None or floor > 127 or _group_bits(unit) > 24 or _block_bits(unit) > _DOUBLE:
        return None
    present = [x.shifts[x.weights != 0] for x in (a, b)]
    low = sum(int(x.min()) if x.size else 0 for x in present)
    # A c that is a subnormal of a longer format, and meets no products, is cut to steps that are its output's.
    kept = c_low is None or c_low >= -126 or unit.addend.mantissa_bits == unit.output.mantissa_bits
    normal = unit.output.emin == -126 and low - (unit.F or 0) >= -126 and kept
    whole = normal or unit.rounding is Rounding.RNE
    if not (whole and a.finite and b.finite):
        return None
    high = sum(int(x.max()) + 1 if x.size else 0 for x in present) + sum(fmt.emax + 1 for fmt in unit.inputs)
    bounded = _bounded(unit, a, unit.L, largest, high)
    places = sum(fmt.mantissa_bits - fmt.emin for fmt in unit.inputs) + 2 * unit.scale.mantissa_bits
    last = low - max(places, unit.F or 0)
    last = last if c_low is None else min(last, c_low - unit.addend.mantissa_bits)
    return Groups(group, count, low, bounded, last < unit.output.emin)


def _bounded(unit: MatrixUnit, a: Operand, length: int, largest: float, high: int) -> bool:
    """Whether no sum of c, at most `largest`, and products below 2**high can pass the output's largest value.

    At most 2 * depth / length roundings, each of up to 2**-precision: together less than a factor of 2.
    """
    depth = a.values.shape[-1]
    reach = largest + depth * 2.0**high
    return bool(depth <= length << (unit.output.precision - 2) and reach < unit.output.max / 2)


def _floored_bounded(unit: MatrixUnit, a: Operand, largest: float, high: int) -> bool:
    """`_bounded` of a unit whose sums are cut down: each cut may take a negative sum a unit further from zero.

    high: no exponent of a product is above it. Half the output's largest value bounds all sums, if from the sums below it
    none gets beyond.
    """
    depth, end = a.values.shape[-1], unit.output.max / 2
    blocks = -(-depth // unit.L)
    top = max(end, 2.0**high, 0.0 if unit.Emin_floor is None else 2.0**unit.Emin_floor)
    cuts = 2.0 ** -(unit.F2 or 0) + 2.0 ** -(unit.Fc or 0) + 2.0**-unit.output.precision
    return bool(largest + depth * 2.0 ** (high + 2) + blocks * (2.0 ** (high + 1 - (unit.F or 0)) + cuts * top) < end)


def plan_windows(
    unit: MatrixUnit, a: Operand, b: Operand, largest: float, c_low: int | None, ranges: tuple[tuple[int, int], ...]
) -> Windows | None:
    """`plan_fast` of a unit that cuts nothing, by what it asks of c, as in `plan_vectors`."""
    if unit.L not in (2, 4, 8, 16) or any(first % unit.L for first, _ in ranges):
        return None
    products = _products(unit, a, b)
    depth, addend = a.values.shape[-1], unit.addend
    if products is None or not unit.overflow_to_infinity or unit.ftz_out:
        return None
    last = products.low - products.digits
    if c_low is not None:
        last = min(last, max(c_low, addend.emin) - addend.mantissa_bits)
    split = last + _DOUBLE - (unit.L + 1).bit_length()
    # At most depth roundings, each of up to 2**-precision: together less than a factor of 2.
    bounded = depth <= unit.L << (unit.output.precision - 2)
    bounded = bounded and largest + depth * 2.0 ** (products.high + products.room) < 2.0 ** (split + 49)
    whole = unit.rounding is Rounding.RNE or (unit.output.emin == -126 and last >= -126)
    counts = _bounded(unit, a, unit.L, largest, products.high + products.room)
    return Windows(last, split, products, counts, last < unit.output.emin) if bounded and whole else None


class Steps(NamedTuple):
    """What is known of an operand of a unit that rounds at every step."""

    finite: bool
    last: int | None  # it is a multiple of 2**last; None: not known
    highest: int  # no element is 2**(highest + 1) or more


def plan_lanes(unit: MatrixUnit, kind: int, a: Steps, b: Steps, c: NDArray[np.float64], depth: int) -> Lanes | None:
    """Whether the steps of a unit that rounds at each may be taken in vectors, and counted there.

    c: float64 [B, M, N]. depth: K.
    """
    if not (a.finite and b.finite and np.isfinite(c).all()) or (kind == unit_steps.PAIRWISE and unit.L > 8):
        return None
    known = a.last is not None and b.last is not None
    last = low = a.last + b.last if a.last is not None and b.last is not None else 0
    magnitudes = np.abs(c[c != 0])
    if magnitudes.size:
        low = min(low, int(np.frexp(magnitudes.min())[1]) - 1 - unit.addend.mantissa_bits)
    if unit.ftz_out and not (known and low >= unit.output.emin):
        return None
    output, largest = unit.output, float(magnitudes.max()) if magnitudes.size else 0.0
    high = a.highest + b.highest + 2
    # At most 2 * depth roundings, each of up to 2**-precision: together less than a factor of 8.
    bounded = depth <= 1 << output.precision and largest + depth * 2.0 ** min(high, 1000) < output.max / 8
    short = sum(fmt.precision for fmt in unit.inputs) <= output.precision and last >= output.emin - output.mantissa_bits
    # Of long products what is rounded off must be in the range of float64 too.
    chained = kind == unit_steps.SEQUENTIAL and last >= BINARY64.emin - BINARY64.mantissa_bits
    counts = known and high < output.emax and bounded and (chained or (short and output.mantissa_bits == 23))
    return Lanes(kind, low, short, counts)
