"""Inputs at which other packages were seen to be wrong (versions: shared/research/peers.md, section 3), each run by us.

The right answers are literal, from first principles, and the oracle's where it gives one. Left out, because what they
use is not offered: fixed-point accumulators (row 1), Kahan sums (2), torch.compile (23, first half), imports that build
C++ (25).
"""

from fractions import Fraction

import numpy as np
import pytest

from numerics import (
    Accumulator,
    FloatFormat,
    Overflow,
    Quantizer,
    Rounding,
    catalog,
    dot,
    interop,
    matmul,
    parse_format,
    random_words,
    reference,
)
from tests.numerics import grids
from tests.numerics.grids import assert_same_bits

CARRIERS = pytest.mark.parametrize("dtype", [np.float32, np.float64])
INF, NAN = np.inf, np.nan


def both(x, quantizer, words=None):
    """What we and the oracle make of x, which must be the same."""
    found = quantizer.quantize(x, words=words)
    assert_same_bits(found, reference.quantize(x, quantizer, words=words), x)
    return found.tolist()


def ups(x, quantizer):
    """Of how many words the magnitude of x goes up, every word asked."""
    words = np.arange(1 << quantizer.random_bits)
    found = quantizer.quantize(np.full(words.size, x), words=words)
    return int((np.abs(found) > abs(x)).sum())


def test_row_3_fma_rounds_once():
    # mptorch: fmaf to float32, then rounded again. The product is a hair under half an ulp of 1 + 2**-10.
    a, b = np.array([1, (1 + 2.0**-10) * 2.0**-6]), np.array([1 + 2.0**-10, (1 - 2.0**-10) * 2.0**-5])
    half = Accumulator(catalog.BINARY16)
    for dtype in (np.float32, np.float64):
        assert dot(a.astype(dtype), b.astype(dtype), half) == 1.0009765625
    assert reference.accumulate(a, b, half) == 1.0009765625
    # "Round the product, then the sum" is another accumulator, and says so.
    assert dot(a, b, Accumulator(catalog.BINARY16, product=Quantizer(catalog.BINARY16))) == 1.001953125


@CARRIERS
@pytest.mark.parametrize("rule", [Overflow.SATURATE, Overflow.IEEE])
def test_row_4_the_largest_values_of_the_ml_formats_are_members(rule, dtype):
    # mptorch, apytypes: the IEEE layout alone, so 448 becomes 240 or infinity.
    for fmt, largest in ((catalog.E4M3, 448), (catalog.E4M3FNUZ, 240), (catalog.E5M2FNUZ, 57344)):
        assert both(np.array([largest, -largest], dtype), Quantizer(fmt, overflow=rule)) == [largest, -largest]
    assert both(np.array([6, 8], dtype), Quantizer(catalog.E2M1)) == [6, 6]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("random_bits", [2, 4, 8])
def test_row_5_few_random_bits_have_the_mean_that_they_can(random_bits, sign):
    # mptorch: a remainder of 1/4 under one random bit, or of 1/16 under three, never goes up, and no mode does better.
    for mode in grids.STOCHASTIC:
        quantizer = Quantizer(catalog.E4M3, mode, random_bits=random_bits)
        for part in (Fraction(1, 4), Fraction(1, 2), Fraction(3, 4), Fraction(1, 2**random_bits)):
            assert Fraction(ups(sign * (1 + float(part) / 8), quantizer), 2**random_bits) == part


def test_row_5_fewer_random_bits_than_the_remainder_needs():
    # Then the mean is k / 2**r with the k that the mode's name stands for: floor, ties up, ties to even.
    for bits, part in ((1, 0.25), (3, 0.0625)):
        counts = [ups(1 + part / 8, Quantizer(catalog.E4M3, mode, random_bits=bits)) for mode in grids.STOCHASTIC]
        assert counts == [0, 1, 0]
    counts = [ups(1 + 0.75 / 8, Quantizer(catalog.E4M3, mode, random_bits=1)) for mode in grids.STOCHASTIC]
    assert counts == [1, 2, 2]


def test_row_6_a_seed_gives_one_sum():
    # qtorch, mptorch: their own generator, seeded by the machine: three runs, three sums.
    quantizer = Quantizer(catalog.E5M2, Rounding.SR, random_bits=8)
    x = np.random.default_rng(0).uniform(0, 1, 50)

    def total(seed):
        result = 0.0
        for i, v in enumerate(x):
            result = float(quantizer.quantize(result + v, seed=seed, offset=i))
        return result

    sums = []
    for noise in range(3):
        np.random.seed(noise)  # noqa: NPY002 the global generator has no say
        sums.append(total(0))
    wanted = 0.0
    for v, word in zip(x, random_words(x.size, 8, seed=0), strict=True):
        wanted = reference.round_value(wanted + v, catalog.E5M2, Rounding.SR, word=int(word), random_bits=8)
    assert sums == [wanted] * 3
    assert len({total(seed) for seed in range(8)}) > 1


@CARRIERS
def test_row_7_ties_go_to_even(dtype):
    # qtorch on the CPU: ties away.
    x = np.array([1 + 2.0**-11, 1 + 3 * 2.0**-11, -1 - 2.0**-11], dtype)
    assert both(x, Quantizer(catalog.BINARY16)) == [1.0, 1.001953125, -1.0]


@CARRIERS
def test_row_8_nan_stays_nan_and_infinity_follows_the_rule(dtype):
    # qtorch: both become 480, which no E4M3 has; its e5m2 ends at 114688.
    x = np.array([NAN, INF, -INF], dtype)
    for fmt, rule, wanted in (
        (FloatFormat(4, 3), Overflow.IEEE, [NAN, INF, -INF]),
        (FloatFormat(4, 3), Overflow.SATURATE, [NAN, 240, -240]),
        (catalog.E4M3, Overflow.IEEE, [NAN, NAN, NAN]),
        (catalog.E4M3, Overflow.SATURATE, [NAN, 448, -448]),
        (catalog.E5M2, Overflow.SATURATE, [NAN, 57344, -57344]),
    ):
        np.testing.assert_array_equal(both(x, Quantizer(fmt, overflow=rule)), wanted)


def test_row_9_float32_in_float32_is_the_identity():
    # qtorch: -3 and -0.1, by a shift by -1.
    drawn = np.random.default_rng(0).integers(1 << 32, size=10_000, dtype=np.uint32).view(np.float32)
    x = np.concatenate([np.array([3.0, 0.1, -3.0, -0.0], np.float32), drawn[np.isfinite(drawn)]])
    assert_same_bits(Quantizer(catalog.BINARY32).quantize(x), x)


# Rows 10 and 11: (format, a value that is a member, times out of 2**22 that the peer moved it).
EXACT = {
    "qtorch": ("s16.8", 127.98828125),  # 8,188: x + r - 0.5 in float32
    "microxcaling_binary16": ("binary16", 1.9990234375),  # 263: floor(|a| + r) in float32
    "microxcaling_bfloat16": ("bfloat16", 1.9921875),  # 35
}


@pytest.mark.parametrize(("mode", "dtype"), [(Rounding.SR, np.float64), (Rounding.SR_C, np.float32)])
@pytest.mark.parametrize(("name", "value"), EXACT.values(), ids=EXACT)
def test_rows_10_and_11_exact_values_never_move_under_sr(name, value, mode, dtype):
    fmt = parse_format(name)
    x = np.array([value, -value], dtype)
    for random_bits in (8, 32):
        quantizer = Quantizer(fmt, mode, random_bits=random_bits)
        for word in (0, 1, (1 << random_bits) - 1):
            assert both(x, quantizer, np.full(2, word)) == x.tolist()
    assert ups(x[0], Quantizer(fmt, mode, random_bits=16)) == 0
    drawn = random_words(1 << 22, seed=0)
    assert (Quantizer(fmt, mode).quantize(np.full(drawn.size, x[0]), words=drawn) == x[0]).all()


def test_row_12_a_maximum_just_under_a_power_of_two_keeps_its_exponent():
    # microxcaling, brevitas: log2 in float32 says 3 instead of 2, and the scale is 2: 8 is no overflow, 0.5 is lost.
    x = np.full(32, 0.5, np.float32)
    x[0] = np.nextafter(np.float32(8), np.float32(0))
    quantizer = Quantizer(catalog.MXFP4_E2M1)
    assert both(x, quantizer) == [6.0] + [0.5] * 31
    x[0] = 8
    assert both(x, quantizer) == [8.0] + [0.0] * 31


@CARRIERS
def test_row_13_just_under_half_the_smallest_value_is_zero(dtype):
    # microxcaling's "even": floor(x + 0.5), and the sum rounds up.
    half = dtype(2.0**-10)
    x = np.array([np.nextafter(half, dtype(0)), half, np.nextafter(half, dtype(1))])
    assert both(x, Quantizer(catalog.E4M3)) == [0.0, 0.0, 2.0**-9]


def test_row_14_e4m3fn_has_no_infinity_and_the_default_is_ties_to_even():
    # microxcaling without saturation: 480 becomes infinity; its "nearest" is ties away.
    for mode in grids.DETERMINISTIC:
        found = both(np.array([480.0, 1e9, -INF]), Quantizer(catalog.E4M3, mode, Overflow.IEEE))
        assert not np.isinf(found).any()
    assert not np.isinf(catalog.E4M3.decode(np.arange(256))).any()
    assert both(np.array([17.0, 19.0]), Quantizer(catalog.E4M3)) == [16.0, 20.0]


def test_row_15_beyond_the_top_is_infinity_or_the_maximum():
    # pychop: 0, 0 and 65536 from the first three, 0 from 448 in IEEE's e4m3.
    x = np.array([65536.0, 1e5, 65520.0, np.nextafter(65520.0, 0)])
    assert both(x, Quantizer(catalog.BINARY16, overflow=Overflow.IEEE)) == [INF, INF, INF, 65504]
    assert both(x, Quantizer(catalog.BINARY16)) == [65504] * 4
    assert both(np.array([448.0]), Quantizer(FloatFormat(4, 3), overflow=Overflow.IEEE)) == [INF]
    assert both(np.array([448.0]), Quantizer(FloatFormat(4, 3))) == [240]


def test_row_16_ties_away_go_away_on_both_sides():
    # pychop asks a magnitude for its sign, and exchanges "ties away" and "ties to zero" of a negative value.
    x = np.array([1 + 2.0**-11, -1 - 2.0**-11])
    assert both(x, Quantizer(catalog.BINARY16, Rounding.RNA)) == [1.0009765625, -1.0009765625]
    assert both(x, Quantizer(catalog.BINARY16, Rounding.RTZ)) == [1.0, -1.0]


def test_row_17_round_to_odd_leaves_members_alone():
    # pychop: one ulp up from each.
    quantizer = Quantizer(catalog.BINARY16, Rounding.RTO)
    x = np.array([1.0, 2.0, 1.5, -1.0])
    assert both(x, quantizer) == x.tolist()
    every = catalog.BINARY16.decode(np.arange(1 << 16))
    every = every[np.isfinite(every)]
    assert_same_bits(quantizer.quantize(every), every)
    assert both(np.array([1 + 2.0**-30, -1 - 2.0**-30]), quantizer) == [1.0009765625, -1.0009765625]


def test_row_18_float32_to_the_subnormals_of_binary16_rounds_once():
    # pychop: significand - 1 rounds in float32, so 1,024 of such values are one ulp off.
    ties = (np.arange(1024, dtype=np.float32) + np.float32(0.5)) * np.float32(2.0**-24)
    below, above = np.nextafter(ties, np.float32(0)), np.nextafter(ties, np.float32(1))
    k = np.arange(1024)
    for x, wanted in ((below, k), (ties, k + k % 2), (above, k + 1)):
        assert both(x, Quantizer(catalog.BINARY16)) == (wanted * 2.0**-24).tolist()


@pytest.mark.parametrize(
    ("fmt", "x", "wanted"),
    [
        (catalog.E4M3, 1.0625 + 2.0**-40, 1.125),
        (catalog.BFLOAT16, 1 + 2.0**-8 + 2.0**-40, 1.0078125),
        (catalog.BINARY16, 1 + 2.0**-11 + 2.0**-40, 1.0009765625),
    ],
    ids=str,
)
def test_row_19_float64_does_not_go_through_float32(fmt, x, wanted):
    # ml_dtypes, torch: 1.0, by way of the float32 that is the midpoint.
    assert both(np.array([x, -x]), Quantizer(fmt)) == [wanted, -wanted]
    assert Quantizer(fmt).decode(Quantizer(fmt).encode(np.array([x])))[0] == wanted


@pytest.mark.parametrize("part", [0.25, 0.5, 0.9])
def test_row_20_stochastic_rounding_goes_up_as_often_as_it_should(part):
    # CPFloat with OpenMP and without PCG: never, in 2**22 draws. Here: exact over all words, 5 sigma over drawn ones.
    x = 1 + part * 2.0**-10
    exact = (Fraction(x) - 1) * 2**10
    assert ups(x, Quantizer(catalog.BINARY16, Rounding.SR, random_bits=16)) == int(exact * 2**16)
    count = 1 << 22
    words = random_words(count, seed=1)
    drawn = Quantizer(catalog.BINARY16, Rounding.SR).quantize(np.full(count, x), words=words)
    sigma = (count * exact * (1 - exact)) ** 0.5
    assert set(drawn.tolist()) == {1.0, 1 + 2.0**-10}
    assert abs(int((drawn > 1).sum()) - count * exact) < 5 * sigma


def test_row_21_all_ones_is_nan_and_480_is_no_member_of_e4m3fn():
    # CPFloat: 480 stays 480, with saturation or without.
    x = np.array([480.0, -480.0])
    saturating, ieee = Quantizer(catalog.E4M3), Quantizer(catalog.E4M3, overflow=Overflow.IEEE)
    assert both(x, saturating) == [448, -448]
    assert saturating.encode(x).tolist() == [0x7E, 0xFE]
    assert np.isnan(both(x, ieee)).all()
    assert ieee.encode(x).tolist() == [0x7F, 0x7F]
    assert np.isnan(catalog.E4M3.decode(np.array([0x7F, 0xFF]))).all()


def test_row_22_what_overflow_gives_is_an_argument():
    # torch 2.13 says 448, ml_dtypes and earlier versions of torch NaN: both legal, and nothing in the call tells.
    x = np.array([1e9, INF])
    results = {Overflow.SATURATE: [448, 448], Overflow.PROPAGATE: [448, 448], Overflow.IEEE: [NAN, NAN]}
    for rule, wanted in results.items():
        np.testing.assert_array_equal(both(x, Quantizer(catalog.E4M3, overflow=rule)), wanted)
    with pytest.raises(OverflowError, match="element 0 is beyond 448"):
        Quantizer(catalog.E4M3, overflow=Overflow.ERROR).quantize(x)
    assert Quantizer(catalog.E4M3) == Quantizer(catalog.E4M3, overflow=Overflow.SATURATE)
    assert Quantizer(catalog.E4M3) != Quantizer(catalog.E4M3, overflow=Overflow.IEEE)


def test_row_23_nan_in_four_bits_is_refused_or_takes_its_block():
    # torchao: 1.5.
    x = np.full(64, 0.5, np.float32)
    x[1] = NAN
    with pytest.raises(ValueError, match="NaN at element 1: e2m1 has no NaN; replace it"):
        Quantizer(catalog.E2M1).quantize(x)
    found = both(x, Quantizer(catalog.MXFP4_E2M1))
    assert np.isnan(found[:32]).all()
    assert found[32:] == [0.5] * 32


def test_row_24_float16_is_refused_with_its_remedy_or_seen_as_codes():
    # apytypes: a bare TypeError.
    x = np.array([1.0625, 448, -65504], np.float16)
    quantizer = Quantizer(catalog.E4M3)
    for call in (quantizer.quantize, quantizer.encode):
        with pytest.raises(TypeError, match="dtype float16: give float32 or float64"):
            call(x)
    with pytest.raises(TypeError, match="dtype float16: give a float32 or float64"):
        matmul(x[None], x[:, None], Accumulator(catalog.BINARY16))
    codes, fmt = interop.view_codes(x)
    assert fmt == catalog.BINARY16
    assert np.shares_memory(codes, x)
    values = Quantizer(fmt).decode(codes)  # exact, as x.astype(np.float64) is
    assert values.tolist() == x.tolist()
    assert both(values, quantizer) == [1.0, 448, -448]
