"""Formats of every kind, and the values at which a rounding to them can go wrong; exact, from the oracle's side."""

import math

import numpy as np

from numerics import FloatFormat, NanEncoding, Overflow, Rounding, Subnormals, catalog, reference

NONE, TOP, NEGATIVE_ZERO = NanEncoding.NONE, NanEncoding.TOP_CODE, NanEncoding.NEGATIVE_ZERO
FLUSH, NORMAL_BINADE, FULL_BINADE = Subnormals.FLUSH, Subnormals.NORMAL_BINADE, Subnormals.FULL_BINADE

# RNL is for logarithmic formats alone.
MODES = [mode for mode in Rounding if mode.name != "RNL"]
DETERMINISTIC = [mode for mode in MODES if not mode.stochastic]
STOCHASTIC = [mode for mode in MODES if mode.stochastic]

CATALOG = {name: fmt for name, fmt in catalog.FORMATS.items() if isinstance(fmt, FloatFormat)}
SMALL_CATALOG = {name: fmt for name, fmt in CATALOG.items() if fmt.bits <= 8}
MIDDLE_CATALOG = {name: fmt for name, fmt in CATALOG.items() if 8 < fmt.bits <= 16}

# One of each kind that the catalog may not hold, all of at most 8 bits.
KINDS = {
    "flush": FloatFormat(4, 3, subnormals=FLUSH),
    "flush_fnuz": FloatFormat(3, 3, subnormals=FLUSH, infinities=False, nan=NEGATIVE_ZERO),
    "normal_binade": FloatFormat(3, 4, 3, subnormals=NORMAL_BINADE, infinities=False, nan=NONE),
    "full_binade": FloatFormat(3, 4, 3, subnormals=FULL_BINADE, infinities=False, nan=NONE),
    "full_binade_with_nan": FloatFormat(3, 3, subnormals=FULL_BINADE, infinities=False, nan=TOP),
    "no_mantissa": FloatFormat(4, 0, infinities=False, nan=NONE),
    "no_mantissa_flush": FloatFormat(4, 0, subnormals=FLUSH, infinities=True, nan=TOP),
    "no_mantissa_normal_binade": FloatFormat(4, 0, subnormals=NORMAL_BINADE, infinities=False, nan=TOP),
    "no_mantissa_full_binade": FloatFormat(3, 0, subnormals=FULL_BINADE, infinities=False, nan=NONE),
    "no_mantissa_even_bias": FloatFormat(3, 0, 4, infinities=False, nan=NONE),
    "no_exponent": FloatFormat(0, 5, 3, infinities=False, nan=NONE),
    "no_exponent_fnuz": FloatFormat(0, 4, 0, infinities=True, nan=NEGATIVE_ZERO),
    "one_exponent_bit": FloatFormat(1, 2, 0),
    "top_code_and_infinity": FloatFormat(3, 2, infinities=True, nan=TOP),
    "infinity_without_nan": FloatFormat(3, 2, infinities=True, nan=NONE),
    "ieee_without_infinity": FloatFormat(3, 2, infinities=False),
    "p3109_extended": FloatFormat(4, 3, 8, infinities=True, nan=NEGATIVE_ZERO),
    "unsigned": FloatFormat(4, 3, signed=False, infinities=True, nan=TOP),
    "unsigned_plain": FloatFormat(3, 3, signed=False, infinities=False, nan=NONE),
    "large_values": FloatFormat(3, 2, -90),
    "small_values": FloatFormat(3, 2, 100),
}
SMALL = {**SMALL_CATALOG, **KINDS}

# At and beyond the ends of float32's own range; more bits, few codes looked at.
AT_THE_ENDS = {
    "bottom": FloatFormat(8, 3),
    "below_the_bottom": FloatFormat(8, 2, 131),
    "far_below_the_bottom": FloatFormat(5, 3, 146),
    "no_mantissa_below_the_bottom": FloatFormat(5, 0, 149, infinities=False, nan=NONE),
    "flush_at_the_bottom": FloatFormat(8, 3, subnormals=FLUSH),
    "flush_below_the_bottom": FloatFormat(5, 3, 141, subnormals=FLUSH),
    "flush_above_the_bottom": FloatFormat(5, 3, 126, subnormals=FLUSH),
    "binade_at_the_bottom": FloatFormat(5, 2, 126, subnormals=NORMAL_BINADE, infinities=False, nan=NONE),
    "full_binade_below_the_bottom": FloatFormat(5, 2, 140, subnormals=FULL_BINADE, infinities=False, nan=NONE),
    "no_mantissa_flush_below": FloatFormat(5, 0, 140, subnormals=FLUSH, infinities=False, nan=NONE),
    "top": FloatFormat(6, 3, -65),
    "top_finite": FloatFormat(6, 3, -64, infinities=False, nan=NONE),
    "subnormals_at_the_top": FloatFormat(0, 5, -109, infinities=False, nan=NONE),
    "no_mantissa_from_the_smallest_on": FloatFormat(5, 0, 150, infinities=False, nan=NONE),
}
# The same for float64.
AT_THE_ENDS_64 = {
    "bottom": FloatFormat(11, 3),
    "below_the_bottom": FloatFormat(5, 2, 1030),
    "far_below_the_bottom": FloatFormat(5, 3, 1071),
    "no_mantissa_below_the_bottom": FloatFormat(5, 0, 1074, infinities=False, nan=NONE),
    "flush_at_the_bottom": FloatFormat(5, 3, 1023, subnormals=FLUSH),
    "flush_below_the_bottom": FloatFormat(5, 3, 1041, subnormals=FLUSH),
    "full_binade_below_the_bottom": FloatFormat(5, 2, 1040, subnormals=FULL_BINADE, infinities=False, nan=NONE),
    "top": FloatFormat(6, 3, -961),
    "subnormals_at_the_top": FloatFormat(0, 5, -976, infinities=False, nan=NONE),
    "no_mantissa_from_the_smallest_on": FloatFormat(5, 0, 1075, infinities=False, nan=NONE),
}


def codes_of(fmt, limit=1 << 9):
    """Codes of nonnegative finite values: all, or those around edges of binades and a draw of the rest."""
    last = fmt.largest_code
    if last < limit:
        return np.arange(last + 1)
    rng = np.random.default_rng(fmt.bits)
    binades = last >> fmt.mantissa_bits
    chosen = np.concatenate([[0, 1, 2, binades - 1, binades], rng.integers(binades + 1, size=limit // 16)])
    near = [(chosen << fmt.mantissa_bits) + shift for shift in (-1, 0, 1)]
    codes = np.unique(np.concatenate([*near, np.arange(4), last - np.arange(4), rng.integers(last, size=limit // 8)]))
    return codes[(codes >= 0) & (codes <= last)]


def magnitudes(fmt, limit=1 << 9):
    """Nonnegative finite members, ascending (those of `codes_of`)."""
    values = {reference.decode_code(int(code), fmt) for code in codes_of(fmt, limit)}
    if fmt.subnormals is FULL_BINADE:
        values.add(math.ldexp(1.0, fmt.emin))
    return np.array(sorted(values))


def successor(value, fmt):
    """The next grid value above a member, on the grid that has no top."""
    if value == 0:
        return fmt.smallest_subnormal
    exponent = math.frexp(value)[1] - 1
    if fmt.subnormals is Subnormals.GRADUAL:
        exponent = max(exponent, fmt.emin)
    return value + math.ldexp(1.0, exponent - fmt.mantissa_bits)


def edges(fmt, dtype=np.float64, limit=1 << 9):
    """Members, midpoints, the ends of the range and of the carrier, each with its neighbours; points between; -0.

    Finite values of dtype, ascending, both signs where the format has them.
    """
    carrier = np.finfo(dtype)
    lower = magnitudes(fmt, limit)
    with np.errstate(over="ignore", invalid="ignore"):
        step = np.array([successor(float(value), fmt) for value in lower]) - lower
        between = lower + step * np.random.default_rng(lower.size).integers(1, 16, lower.size) / 16
        points = [lower + step * part for part in (0, 0.5, 1)]
        points.append(lower[:16] / 2)  # below the smallest normal a flushed grid goes on
        ends = np.array([fmt.max, fmt.smallest_normal, fmt.smallest_subnormal])
        points.append((ends[:, None] * np.array([0.5, 0.75, 0.9375, 1.25, 1.5, 2.0, 4.0])).ravel())
        near = np.concatenate(points).astype(dtype)
    smallest = carrier.smallest_subnormal
    specials = np.array([0, smallest, 3 * smallest, 1000 * smallest, carrier.tiny, carrier.max], dtype)
    near = np.concatenate([near, specials])
    near = near[np.isfinite(near)]
    with np.errstate(over="ignore", under="ignore"):
        around = np.concatenate([near, np.nextafter(near, dtype(np.inf)), np.nextafter(near, dtype(0))])
    with np.errstate(over="ignore"):
        around = np.concatenate([around, between.astype(dtype)])
    around = np.unique(around[np.isfinite(around)])
    both = np.concatenate([-around[::-1], around])
    return both if fmt.signed else around


def threshold(fraction, mode, random_bits):
    """k: of the 2**r words, k take a magnitude up that is this fraction of a step past its lower neighbour."""
    scaled = np.ldexp(fraction, random_bits)
    whole = np.floor(scaled)
    up = {Rounding.SR: whole, Rounding.SR_B: whole + (scaled - whole >= 0.5), Rounding.SR_C: np.rint(scaled)}
    return up[mode]


def rises(fraction, odd, negative, mode, words=None, random_bits=None):
    """Whether magnitudes go up: the definition of every mode on exact float64 fractions of a step, [...] of bool."""
    some = fraction > 0
    if mode.stochastic:
        return some & (threshold(fraction, mode, random_bits) + words >= 2**random_bits)
    return {
        Rounding.RNE: (fraction > 0.5) | ((fraction == 0.5) & odd),
        Rounding.RNA: fraction >= 0.5,
        Rounding.RTZ: np.zeros(fraction.shape, bool),
        Rounding.RTP: some & ~negative,
        Rounding.RTN: some & negative,
        Rounding.RTO: some & ~odd,
    }[mode]


def overflow_rules(fmt):
    """The rules that give a result for every value."""
    rules = [Overflow.SATURATE, Overflow.PROPAGATE]
    return rules if not fmt.infinities and fmt.nan is NONE else [*rules, Overflow.IEEE]


def same_bits(found, wanted):
    """Whether two arrays are equal bit by bit."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    if found.dtype != wanted.dtype or found.shape != wanted.shape:
        return False
    return found.tobytes() == wanted.tobytes()


def assert_same_bits(found, wanted, x=None):
    """`same_bits`, naming the first element that differs."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    if found.tobytes() != wanted.tobytes():
        unsigned = np.dtype(f"u{found.itemsize}")
        differs = np.ascontiguousarray(found).view(unsigned) != np.ascontiguousarray(wanted).view(unsigned)
        where = int(np.argmax(differs.ravel()))
        source = "" if x is None else f" from {float(np.ravel(x)[where]).hex()}"
        pair = f"{float(found.ravel()[where]).hex()}, not {float(wanted.ravel()[where]).hex()}"
        raise AssertionError(f"{int(differs.sum())} differ; element {where}{source} is {pair}")
