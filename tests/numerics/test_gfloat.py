"""gfloat: the same values for every code, the same rounding in every mode that both have, at every edge.

It counts where exact rationals agree with it: where they do not, an example shows it. It has no rounding to odd, and we
have none like its StochasticOdd.
"""

from fractions import Fraction

import gfloat
import numpy as np
import pytest
from gfloat import RoundMode, formats

from numerics import (
    FixedFormat,
    NanEncoding,
    Overflow,
    Quantizer,
    Rounding,
    Subnormals,
    catalog,
    reference,
)
from tests.numerics import grids

DETERMINISTIC = {
    Rounding.RNE: RoundMode.TiesToEven,
    Rounding.RNA: RoundMode.TiesToAway,
    Rounding.RTZ: RoundMode.TowardZero,
    Rounding.RTP: RoundMode.TowardPositive,
    Rounding.RTN: RoundMode.TowardNegative,
}
# P3109's StochasticA, B and C, by the definitions in its source.
STOCHASTIC = {
    Rounding.SR: RoundMode.StochasticFastest,
    Rounding.SR_B: RoundMode.StochasticFast,
    Rounding.SR_C: RoundMode.Stochastic,
}

OWN = {
    "binary32": (formats.format_info_binary32, catalog.BINARY32),
    "binary16": (formats.format_info_binary16, catalog.BINARY16),
    "bfloat16": (formats.format_info_bfloat16, catalog.BFLOAT16),
    "ocp_e5m2": (formats.format_info_ocp_e5m2, catalog.E5M2),
    "ocp_e4m3": (formats.format_info_ocp_e4m3, catalog.E4M3),
    "ocp_e3m2": (formats.format_info_ocp_e3m2, catalog.E3M2),
    "ocp_e2m3": (formats.format_info_ocp_e2m3, catalog.E2M3),
    "ocp_e2m1": (formats.format_info_ocp_e2m1, catalog.E2M1),
    "ocp_e8m0": (formats.format_info_ocp_e8m0, catalog.E8M0),
}


def p3109(bits, precision, kind):
    """(its record, ours) of Binary{bits}p{precision}{kind}: both follow v4.0 in bias, NaN and infinity."""
    signed = gfloat.Signedness.Signed if kind[0] == "s" else gfloat.Signedness.Unsigned
    domain = gfloat.Domain.Extended if kind[1] == "e" else gfloat.Domain.Finite
    ours = catalog.p3109(bits, precision, signed=kind[0] == "s", extended=kind[1] == "e")
    return formats.format_info_p3109(bits, precision, signed, domain), ours


KINDS_P3109 = ("se", "sf", "ue", "uf")
# Signed formats without an exponent (precision = bits) are in gfloat alone.
ALL_P3109 = {
    f"binary{bits}p{precision}{kind}": p3109(bits, precision, kind)
    for bits in range(3, 9)
    for kind in KINDS_P3109
    for precision in range(1, bits + (kind[0] == "u"))
}


def described(fmt):
    """Our record in its words."""
    nans = {NanEncoding.IEEE: (1 << fmt.mantissa_bits) - fmt.infinities, NanEncoding.TOP_CODE: 1}.get(fmt.nan, 0)
    return gfloat.FormatInfo(
        str(fmt),
        fmt.bits,
        fmt.precision,
        bias=fmt.bias,
        is_signed=fmt.signed,
        domain=gfloat.Domain.Extended if fmt.infinities else gfloat.Domain.Finite,
        has_nz=fmt.has_negative_zero,
        num_high_nans=nans,
        has_subnormals=fmt.subnormals is Subnormals.GRADUAL,
        is_twos_complement=False,
    )


# It cannot do without normals, nor reach far down from large values: see the examples below.
BEYOND_IT = ("one_exponent_bit", "large_values")
OTHERS = {
    name: (described(fmt), fmt)
    for name, fmt in {**grids.CATALOG, **grids.KINDS}.items()
    if fmt.subnormals is Subnormals.GRADUAL
    and fmt.bits <= 32
    and name not in BEYOND_IT
    and fmt not in [ours for _, ours in OWN.values()]
}
TABLES = {**OWN, **OTHERS, **ALL_P3109}
# In every mode; the rest to nearest even alone, as the kinds among them would have each mode compiled twice more.
IN_ALL_MODES = {
    **OWN,
    **{name: pair for name, pair in OTHERS.items() if name in grids.CATALOG and pair[1].mantissa_bits},
    **{name: pair for name, pair in ALL_P3109.items() if pair[1].bits == 8 and pair[1].precision in (1, 3, 4)},
}
TO_NEAREST_EVEN = {name: pair for name, pair in TABLES.items() if name not in IN_ALL_MODES}


def inputs(fmt, count=1000):
    """Edges of the format, specials, drawn values of all exponents and of its own."""
    rng = np.random.default_rng(fmt.bits)
    drawn = rng.integers(1 << 64, size=count, dtype=np.uint64).view(np.float64)
    near = np.ldexp(rng.standard_normal(count), rng.integers(fmt.emin - fmt.mantissa_bits - 3, fmt.emax + 3, count))
    x = np.concatenate([grids.edges(fmt, np.float64, 1 << 8), drawn, near, [np.inf, -np.inf, np.nan]])
    if not fmt.has_nan:
        x = x[~np.isnan(x)]
    lowest = -np.inf if fmt.signed else 0.0 if fmt.has_zero else fmt.smallest_normal
    return x[~(x < lowest)]


def theirs(info, x, mode, overflow, **words):
    with np.errstate(all="ignore"):
        return gfloat.round_ndarray(info, x, mode, overflow is Overflow.SATURATE, **words)


def differences(found, wanted):
    """Where they differ, in a sign or in being a number too."""
    same = (found == wanted) & (np.signbit(found) == np.signbit(wanted))
    return ~(same | (np.isnan(found) & np.isnan(wanted)))


def overflow_rules(fmt):
    """Its saturation and what it does without; the error it raises where there is neither infinity nor NaN is no rule.

    Finite P3109 formats: NaN, as our Overflow.IEEE, where SatNone of v4.0 gives the maximum.
    """
    return [rule for rule in grids.overflow_rules(fmt) if rule is not Overflow.PROPAGATE]


def check(info, fmt, mode):
    x = inputs(fmt)
    for rule in overflow_rules(fmt):
        differs = differences(Quantizer(fmt, mode, rule).quantize(x), theirs(info, x, DETERMINISTIC[mode], rule))
        assert not differs.any(), (rule, x[differs][:5])


@pytest.mark.parametrize(("info", "fmt"), OWN.values(), ids=OWN)
def test_records_hold_the_same_facts(info, fmt):
    wanted = vars(described(fmt))
    assert {**vars(info), "name": ""} == {**wanted, "name": ""}


@pytest.mark.parametrize(("info", "fmt"), TABLES.values(), ids=TABLES)
def test_value_tables(info, fmt):
    codes = (
        np.arange(1 << fmt.bits) if fmt.bits <= 16 else np.random.default_rng(0).integers(1 << fmt.bits, size=50_000)
    )
    with np.errstate(all="ignore"):
        wanted = gfloat.decode_ndarray(info, codes)
    ours = Quantizer(fmt).decode(codes.astype(np.min_scalar_type(codes.max())))
    assert not differences(ours, wanted).any()
    assert (info.max, info.bias) == (fmt.max, fmt.bias)


@pytest.mark.sampled
@pytest.mark.parametrize("mode", DETERMINISTIC, ids=lambda mode: mode.name)
@pytest.mark.parametrize(("info", "fmt"), IN_ALL_MODES.values(), ids=IN_ALL_MODES)
def test_deterministic_modes(info, fmt, mode):
    check(info, fmt, mode)


@pytest.mark.parametrize(("info", "fmt"), TO_NEAREST_EVEN.values(), ids=TO_NEAREST_EVEN)
def test_nearest_even(info, fmt):
    check(info, fmt, Rounding.RNE)


@pytest.mark.sampled
@pytest.mark.parametrize("mode", STOCHASTIC, ids=lambda mode: mode.name)
@pytest.mark.parametrize(("info", "fmt"), IN_ALL_MODES.values(), ids=IN_ALL_MODES)
def test_stochastic_modes(info, fmt, mode):
    # Every word of 3 bits at every value, then drawn words of 12 bits.
    x = inputs(fmt, 300)
    for random_bits, words in ((3, np.arange(8)), (12, np.random.default_rng(0).integers(1 << 12, size=4))):
        values, given = np.repeat(x, words.size), np.tile(words, x.size)
        for rule in overflow_rules(fmt):
            quantizer = Quantizer(fmt, mode, rule, random_bits)
            found = quantizer.quantize(values, words=given)
            wanted = theirs(info, values, STOCHASTIC[mode], rule, srbits=given, srnumbits=random_bits)
            differs = differences(found, wanted)
            # Its A and B add word and remainder in float64: see the example below. There the oracle decides.
            inexact = (mode is not Rounding.SR_C) & (np.abs(values) < fmt.smallest_subnormal / 2)
            assert not (differs & ~inexact).any()
            oracle = reference.quantize(values[differs], quantizer, words=given[differs])
            grids.assert_same_bits(found[differs], oracle, values[differs])


def test_mxint8_elements():
    # Its INT8 uses the code of -2, so MXINT8_ELEMENT has its values and FixedFormat(8, 6) its range.
    info, codes = formats.format_info_ocp_int8, np.arange(256)
    assert Quantizer(catalog.MXINT8_ELEMENT).decode(codes).tolist() == gfloat.decode_ndarray(info, codes).tolist()
    steps = np.arange(-600, 600) / 256
    x = np.concatenate([steps, np.nextafter(steps, 9), np.nextafter(steps, -9), [1e300, -1e300]])
    wanted = theirs(info, x, RoundMode.TiesToEven, Overflow.SATURATE)
    assert not differences(Quantizer(FixedFormat(8, 6)).quantize(x), wanted).any()


def test_its_scalar_and_its_array_form_agree():
    x = inputs(catalog.E4M3)[::20]
    for mode in DETERMINISTIC.values():
        for rule in (Overflow.SATURATE, Overflow.IEEE):
            one = [gfloat.round_float(OWN["ocp_e4m3"][0], v, mode, rule is Overflow.SATURATE) for v in x.tolist()]
            assert not differences(np.array(one), theirs(OWN["ocp_e4m3"][0], x, mode, rule)).any()


@pytest.mark.parametrize(("mode", "below"), [(Rounding.SR, 8), (Rounding.SR_B, 9)])
def test_its_stochastic_a_and_b_add_in_floats(mode, below):
    # Just below the smallest remainder that the largest of the 2**8 words takes up: the sum in float64 is 1.
    info, fmt = OWN["ocp_e4m3"]
    x = np.array([np.nextafter(fmt.smallest_subnormal * 2.0**-below, 0)])
    word = {"srbits": np.array([255]), "srnumbits": 8}
    assert theirs(info, x, STOCHASTIC[mode], Overflow.SATURATE, **word)[0] == fmt.smallest_subnormal
    quantizer = Quantizer(fmt, mode, random_bits=8)
    assert quantizer.quantize(x, words=[255])[0] == reference.quantize(x, quantizer, words=[255])[0] == 0


def test_its_fastest_mode_is_biased_toward_zero():
    # Its documentation says "farther from zero"; P3109's StochasticA truncates the remainder, and so does it.
    info, fmt = OWN["ocp_e4m3"]
    x = np.full(4, 1 + 0.3 / 8)
    ups = theirs(info, x, RoundMode.StochasticFastest, Overflow.SATURATE, srbits=np.arange(4), srnumbits=2) > 1
    assert Fraction(int(ups.sum()), 4) < (Fraction(x[0]) - 1) * 8
    quantizer = Quantizer(fmt, Rounding.SR, random_bits=2)
    assert ups.tolist() == (quantizer.quantize(x, words=np.arange(4)) > 1).tolist()


def test_its_maximum_counts_a_normal_too_many():
    # One exponent bit and IEEE's NaNs: 0, 0.5, 1 and 1.5 are all that is left, as its own table says.
    fmt = grids.KINDS["one_exponent_bit"]
    info = described(fmt)
    assert np.nanmax(gfloat.decode_ndarray(info, np.arange(4))) == fmt.max == reference.decode_code(3, fmt) == 1.5
    assert info.max == 1.75


def test_it_loses_what_lies_far_below_a_grid_of_large_values():
    # Its significand underflows to 0, so nothing is left to round up.
    fmt = grids.KINDS["large_values"]
    x = np.array([5e-324])
    assert theirs(described(fmt), x, RoundMode.TowardPositive, Overflow.SATURATE)[0] == 0
    quantizer = Quantizer(fmt, Rounding.RTP)
    assert quantizer.quantize(x)[0] == reference.quantize(x, quantizer)[0] == fmt.smallest_subnormal


def test_it_leaves_e8m0_at_the_bottom():
    # Neither value is one of E8M0's; ours are its smallest, by the documented rule of formats without zero.
    info, fmt = OWN["ocp_e8m0"]
    x = np.array([2.0**-130, 0.0])
    assert theirs(info, x, RoundMode.TiesToEven, Overflow.SATURATE).tolist() == x.tolist()
    found = Quantizer(fmt).quantize(x)
    assert found.tolist() == reference.quantize(x, Quantizer(fmt)).tolist() == [2.0**-127] * 2


def test_it_keeps_the_sign_in_unsigned_formats():
    # P3109 v4.0, 4.7.5: a negative value is NaN there.
    info, fmt = p3109(8, 4, "uf")
    x = np.array([-1.0])
    assert theirs(info, x, RoundMode.TiesToEven, Overflow.IEEE).tolist() == [-1.0]
    quantizer = Quantizer(fmt, overflow=Overflow.IEEE)
    assert np.isnan(quantizer.quantize(x)[0]) and np.isnan(reference.quantize(x, quantizer)[0])


def test_its_block_scale_takes_a_logarithm_in_floats():
    # Row 12 of test_where_peers_fail: log2 of the float below 8 rounds to 3.
    x = np.full(32, 0.5, np.float32)
    x[0] = np.nextafter(np.float32(8), np.float32(0))
    peer = gfloat.quantize_block(formats.format_info_mxfp4_e2m1, x, gfloat.compute_scale_amax)
    assert peer.tolist() == [8.0] + [0.0] * 31
    found = Quantizer(catalog.MXFP4_E2M1).quantize(x)
    assert found.tolist() == reference.quantize(x, Quantizer(catalog.MXFP4_E2M1)).tolist() == [6.0] + [0.5] * 31
