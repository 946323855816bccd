"""Formats of up to 16 bits, exhaustively: every code, every midpoint, each with its neighbours, in every mode.

The rational oracle takes microseconds a value, too long for millions; here a third answer is compared, the definition
in scaled float64 numbers, all of whose steps are exact. It is compared with the rational oracle first.
"""

from fractions import Fraction

import numpy as np
import pytest

from numerics import Overflow, Quantizer, Rounding, Subnormals, catalog, reference
from tests.numerics import grids
from tests.numerics.grids import assert_same_bits
from tests.sampling import but_at_night

R = Rounding
WIDE_P3109 = {
    f"binary{bits}p{precision}{'s' if signed else 'u'}{'e' if extended else 'f'}": (bits, precision, signed, extended)
    for bits in (*range(3, 9), 11, 16)
    for precision in range(1, bits)
    for signed, extended in ((True, True), (False, False))
}
P3109 = {}
for name, (bits, precision, signed, extended) in WIDE_P3109.items():
    try:
        fmt = catalog.p3109(bits, precision, signed=signed, extended=extended)
    except ValueError:  # wider than float64
        assert bits - precision > 10
        continue
    if fmt.emin - fmt.mantissa_bits > -900 and fmt.emax < 900:  # what is below and beyond stays a normal float64
        P3109[name] = fmt
MIDDLE = grids.MIDDLE_CATALOG | {
    f"lba_{m}_{e}": catalog.lba(m, e, 5, paper=paper) for m, e, paper in ((7, 4, True), (10, 5, False), (4, 3, True))
}


def rounded(x, fmt, mode, words=None, random_bits=None):
    """The members that finite float64 x round to; Overflow.SATURATE. Exact steps only: scalings, floors, differences."""
    magnitude, negative = np.abs(x), np.signbit(x)
    exponent = np.frexp(magnitude)[1] - 1
    if fmt.subnormals is Subnormals.GRADUAL:
        exponent = np.maximum(exponent, fmt.emin)
    exponent = np.where(magnitude == 0, fmt.emin, exponent)
    scale = exponent - fmt.mantissa_bits
    steps = np.ldexp(magnitude, -scale)
    below = np.floor(steps)
    fraction = steps - below
    skipped = 0 if fmt.subnormals in (Subnormals.GRADUAL, Subnormals.FLUSH) else 1
    code = below.astype(np.int64) + (exponent - fmt.emin - skipped) * 2**fmt.mantissa_bits
    up = grids.rises(fraction, code % 2 == 1, negative, mode, words, random_bits)
    result = np.ldexp(below + up, scale)
    if fmt.subnormals is not Subnormals.GRADUAL:
        result = np.where(result < fmt.smallest_normal, 0.0 if fmt.has_zero else fmt.smallest_normal, result)
    signed = np.copysign(np.minimum(result, fmt.max), x)
    return signed if fmt.has_negative_zero else signed + 0.0


def points(fmt):
    """Every member and midpoint, up to the first step past the largest value, with the float64 numbers beside each."""
    values = np.array(
        [fmt.decode(code) for code in range(fmt.largest_code + 1)]
        if fmt.bits < 4
        else fmt.decode(np.arange(fmt.largest_code + 1))
    )
    values = np.unique(np.concatenate([values, [0.0]]))
    step = grids.successor(float(values[-1]), fmt) - values[-1]
    grid = np.concatenate([values, values[-1] + step * np.array([1.0, 2.0])])
    centre = np.concatenate([grid, (grid[:-1] + grid[1:]) / 2, values[1:3] / 4])
    around = np.unique(np.concatenate([centre, np.nextafter(centre, np.inf), np.nextafter(centre[1:], 0)]))
    around = around[around >= 0]
    return np.concatenate([-around[::-1], around]) if fmt.signed else around


def words_of(x, random_bits):
    words = np.random.default_rng(x.size).integers(0, 1 << random_bits, x.size)
    words[::4], words[1::4] = 0, (1 << random_bits) - 1
    return words


def check(fmt, mode, random_bits=None):
    x = points(fmt)
    words = words_of(x, random_bits) if mode.stochastic else None
    quantizer = Quantizer(fmt, mode, random_bits=random_bits)
    assert_same_bits(quantizer.quantize(x, words=words), rounded(x, fmt, mode, words, random_bits), x)
    if fmt.subnormals is not Subnormals.FULL_BINADE:
        codes = quantizer.encode(x, words=words)
        assert_same_bits(quantizer.decode(codes), quantizer.quantize(x, words=words), x)


@pytest.mark.parametrize("mode", grids.MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("name", ["e4m3fn", "e3m0", "e8m0", "flush", "normal_binade", "full_binade", "unsigned"])
def test_the_third_answer_is_the_oracles(name, mode):
    fmt = grids.SMALL[name]
    x = points(fmt)[:: 3 if fmt.bits > 7 else 1]
    random_bits = 5 if mode.stochastic else None
    words = words_of(x, 5) if mode.stochastic else None
    drawn = [None] * x.size if words is None else [int(w) for w in words]
    wanted = [
        reference.round_exact(Fraction(v), fmt, mode, negative=bool(np.signbit(v)), word=w, random_bits=random_bits)
        for v, w in zip(x.tolist(), drawn, strict=True)
    ]
    assert_same_bits(rounded(x, fmt, mode, words, random_bits), np.array(wanted), x)


@pytest.mark.sampled
@pytest.mark.parametrize("mode", grids.MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("fmt", MIDDLE.values(), ids=MIDDLE)
def test_every_format_of_9_to_16_bits(fmt, mode):
    for random_bits in (1, 20, 32) if mode.stochastic else (None,):
        check(fmt, mode, random_bits)


@pytest.mark.sampled
@pytest.mark.parametrize(
    "mode", but_at_night([R.RNE, R.RTP, R.RTO, R.SR_C], [R.RTP, R.RTO]), ids=lambda mode: mode.name
)
@pytest.mark.parametrize("fmt", P3109.values(), ids=P3109)
def test_p3109_names(fmt, mode):
    check(fmt, mode, 7 if mode.stochastic else None)


@pytest.mark.sampled
@pytest.mark.parametrize("rule", [Overflow.SATURATE, Overflow.PROPAGATE, Overflow.IEEE], ids=lambda rule: rule.name)
@pytest.mark.parametrize("mode", grids.DETERMINISTIC, ids=lambda mode: mode.name)
def test_overflow_in_every_mode_of_every_wide_format(mode, rule):
    """The rational oracle at the top: half a step around it, and far beyond."""
    for fmt in MIDDLE.values():
        if rule is Overflow.IEEE and not fmt.has_nan:
            continue
        step = grids.successor(fmt.max, fmt) - fmt.max
        ends = fmt.max + step * np.array([0, 0.25, 0.5, 0.75, 1, 1.5, 2, 100])
        x = np.concatenate([ends, -ends, np.nextafter(ends, 0), [1e300, -1e300, np.inf, -np.inf]])
        quantizer = Quantizer(fmt, mode, rule)
        assert_same_bits(quantizer.quantize(x), reference.quantize(x, quantizer), x)
