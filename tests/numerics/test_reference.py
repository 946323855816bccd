"""The oracle, against things that are not ours: numpy's casts, rationals worked out here, values worked out by hand."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from numerics import (
    Accumulator,
    FloatFormat,
    NanEncoding,
    Overflow,
    Quantizer,
    Rounding,
    catalog,
    matmul,
    parse_format,
    random_words,
    reference,
)
from tests.numerics import grids

R, Rule = Rounding, Overflow
LBA_SUM = Accumulator(
    parse_format("lba_m7e4_b10_paper"), R.RTZ, product=Quantizer(parse_format("lba_m7e4_b12_paper"), R.RTZ)
)


@pytest.mark.parametrize(
    ("narrow", "fmt"), [(np.float16, catalog.BINARY16), (np.float32, catalog.BINARY32)], ids=["float16", "float32"]
)
def test_nearest_even_is_numpys_cast(narrow, fmt):
    rng = np.random.default_rng(0)
    low, high = fmt.emin - fmt.mantissa_bits - 3, fmt.emax + 3
    x = rng.standard_normal(3000) * np.exp2(rng.integers(low, high, 3000))
    x = np.concatenate([x, grids.edges(fmt, np.float64, 1 << 6), [np.inf, -np.inf, np.nan, 0.0, -0.0]])
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        wanted = x.astype(narrow)
    found = reference.quantize(x, Quantizer(fmt, overflow=Rule.IEEE))
    grids.assert_same_bits(found, wanted.astype(np.float64), x)
    codes = reference.encode(x[np.isfinite(x)], Quantizer(fmt, overflow=Rule.IEEE))
    unsigned = np.uint16 if narrow is np.float16 else np.uint32
    assert codes.tolist() == wanted[np.isfinite(x)].view(unsigned).tolist()


@pytest.mark.parametrize("mode", grids.MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("name", ["e4m3fn", "e3m2", "lba_m4e3_b3", "no_mantissa", "no_exponent", "p3109_extended"])
def test_a_rounded_value_is_the_neighbour_that_the_mode_names(name, mode):
    # The neighbours come from the sorted list of values, the choice from the words of the definition.
    fmt = grids.SMALL[name]
    values = [Fraction(v) for v in grids.magnitudes(fmt).tolist()]
    codes = {v: code for code, v in enumerate(values)}
    rng = np.random.default_rng(int(mode))
    for low, high in itertools.pairwise(values):
        if fmt.subnormals is not grids.Subnormals.GRADUAL and low == 0:
            continue
        for part in (Fraction(0), Fraction(1, 2), Fraction(int(rng.integers(1, 16)), 16)):
            x = low + (high - low) * part
            word = int(rng.integers(4))
            for negative in (False, True):
                found = Fraction(
                    reference.round_exact(-x if negative else x, fmt, mode, negative=negative, word=word, random_bits=2)
                )
                even, odd = (low, high) if codes[low] % 2 == 0 else (high, low)
                nearest = low if part < Fraction(1, 2) else high
                k = {
                    R.SR: math.floor(part * 4),
                    R.SR_B: math.floor(part * 4 + Fraction(1, 2)),
                    R.SR_C: round(part * 4),
                }.get(mode, 0)
                wanted = {
                    R.RNE: even if part == Fraction(1, 2) else nearest,
                    R.RNA: nearest,
                    R.RTZ: low,
                    R.RTP: low if negative else high,
                    R.RTN: high if negative else low,
                    R.RTO: odd,
                }.get(mode, high if word >= 4 - k else low)
                wanted = low if part == 0 else wanted
                assert found == (-wanted if negative else wanted), (float(x), negative, word)


def test_neighbours_and_codes_by_hand():
    fmt = catalog.E4M3
    assert reference.lower_neighbour(Fraction(17), fmt) == (16, 2)
    assert reference.lower_neighbour(Fraction(1, 2048), fmt) == (0, Fraction(1, 512))
    assert reference.lower_neighbour(Fraction(0), fmt) == (0, Fraction(1, 512))
    assert reference.lower_neighbour(Fraction(15, 1024), fmt) == (Fraction(7, 512), Fraction(1, 512))
    assert reference.lower_neighbour(Fraction(1000), fmt) == (960, 64)
    assert [reference.magnitude_code(Fraction(v), fmt) for v in (0, 2.0**-9, 2.0**-6, 1, 448)] == [0, 1, 8, 56, 126]
    lba = parse_format("lba_m4e3_b3")
    assert [reference.magnitude_code(Fraction(v), lba) for v in (0, 17 / 128, 0.25, 31)] == [0, 1, 16, 127]
    assert reference.floor_log2(Fraction(1, 3)) == -2
    assert [reference.floor_log2(Fraction(v)) for v in (0.5, 1, 1.999, 2, 3)] == [-1, 0, 0, 1, 1]


def test_the_sets_of_the_lba_paper_by_hand():
    # arXiv 2401.14110, eq. 2, worked out from its formula in rationals, no code of ours.
    def published(v, mantissa_bits, exponent_bits, bias):
        magnitude = abs(Fraction(v))
        largest = Fraction(2) ** (2**exponent_bits - 1 - bias) * (2 - Fraction(1, 2**mantissa_bits))
        if magnitude >= largest:
            result = largest
        elif magnitude < Fraction(2) ** -bias:
            result = Fraction(0)
        else:
            exponent = math.floor(math.log2(magnitude))
            step = Fraction(2) ** (exponent - mantissa_bits)
            result = math.floor(magnitude / step) * step
        return -result if v < 0 else result

    rng = np.random.default_rng(1)
    for mantissa_bits, exponent_bits, bias in ((7, 4, 10), (7, 4, 12), (4, 3, 3), (4, 3, 5), (4, 3, 6)):
        fmt = parse_format(f"lba_m{mantissa_bits}e{exponent_bits}_b{bias}_paper")
        scales = np.exp2(rng.integers(-bias - 2, 2**exponent_bits - bias + 1, 500))
        for v in (rng.uniform(-2, 2, 500) * scales).tolist():
            wanted = float(published(v, mantissa_bits, exponent_bits, bias))
            assert reference.round_value(v, fmt, R.RTZ) == wanted
    assert parse_format("lba_m7e4_b10").max == reference.round_value(1e9, parse_format("lba_m7e4_b10")) == 63.75
    assert reference.round_value(2.0**-10, parse_format("lba_m7e4_b10_paper"), R.RTZ) == 2.0**-10
    assert reference.round_value(2.0**-10 * (1 - 2.0**-30), parse_format("lba_m7e4_b10_paper"), R.RTZ) == 0
    assert reference.round_value(100.0, parse_format("lba_m7e4_b12_paper"), R.RTZ) == 15.9375


def test_overflow_by_hand():
    def rounded(x, fmt, mode, rule):
        return reference.round_value(x, fmt, mode, rule)

    big = 1e9
    assert [rounded(big, catalog.E5M2, m, Rule.IEEE) for m in (R.RNE, R.RNA, R.SR) if not m.stochastic] == [
        math.inf
    ] * 2
    assert [rounded(big, catalog.E5M2, m, Rule.IEEE) for m in (R.RTZ, R.RTN, R.RTO)] == [57344] * 3
    assert [rounded(-big, catalog.E5M2, m, Rule.IEEE) for m in (R.RTZ, R.RTP, R.RTO)] == [-57344] * 3
    assert rounded(big, catalog.E5M2, R.RTP, Rule.IEEE) == math.inf
    assert rounded(-big, catalog.E5M2, R.RTN, Rule.IEEE) == -math.inf
    assert math.isnan(rounded(big, catalog.E4M3, R.RNE, Rule.IEEE))
    assert rounded(big, catalog.E4M3, R.RTZ, Rule.IEEE) == 448
    assert rounded(math.inf, catalog.E5M2, R.RTZ, Rule.IEEE) == math.inf
    assert rounded(-math.inf, catalog.E5M2, R.RNE, Rule.PROPAGATE) == -math.inf
    assert rounded(-math.inf, catalog.E5M2, R.RNE, Rule.SATURATE) == -57344
    for x in (big, -big, 464.001):
        with pytest.raises(OverflowError):
            rounded(x, catalog.E4M3, R.RNE, Rule.ERROR)
    assert rounded(464.0, catalog.E4M3, R.RNE, Rule.ERROR) == 448


def test_signs_of_zero_by_hand():
    flushed = FloatFormat(4, 3, subnormals=False)
    tiny = flushed.smallest_normal / 100
    assert str(reference.round_value(-tiny, flushed)) == "-0.0"
    # Rounded first, with the exponent unbounded below, flushed then: away from zero, too, unless it gets there.
    assert str(reference.round_value(-tiny, flushed, R.RTN)) == "-0.0"
    assert reference.round_value(-0.99 * flushed.smallest_normal, flushed, R.RTN) == -flushed.smallest_normal
    assert str(reference.round_value(-0.0, catalog.E4M3)) == "-0.0"
    assert str(reference.round_value(-0.0, catalog.E4M3FNUZ)) == "0.0"
    assert str(reference.round_value(-(2.0**-20), catalog.E4M3FNUZ)) == "0.0"
    down, nearest = Accumulator(catalog.E4M3, R.RTN), Accumulator(catalog.E4M3)
    for x, y, by_nearest, by_down in (
        (0.0, 0.0, "0.0", "0.0"),
        (-0.0, -0.0, "-0.0", "-0.0"),
        (0.0, -0.0, "0.0", "-0.0"),
        (1.0, -1.0, "0.0", "-0.0"),
    ):
        assert str(reference.add(x, y, nearest)) == str(reference.add(y, x, nearest)) == by_nearest
        assert str(reference.add(x, y, down)) == str(reference.add(y, x, down)) == by_down


def test_thresholds_of_the_stochastic_modes_by_hand():
    # IEEE P3109 v4.0, 4.7.4 with N = 2: floor(4 nu); 4 nu to nearest, ties up; 4 nu to nearest, ties to even.
    table = [(0, 0, 0, 0), (1 / 8, 0, 1, 0), (1 / 4, 1, 1, 1), (3 / 8, 1, 2, 2), (5 / 8, 2, 3, 2), (15 / 16, 3, 4, 4)]
    for nu, a, b, c in table:
        found = [reference.stochastic_threshold(Fraction(nu), mode, 2) for mode in (R.SR, R.SR_B, R.SR_C)]
        assert found == [a, b, c]


def test_accumulation_by_hand():
    # E2M1 holds 0, 0.5, 1, 1.5, 2, 3, 4, 6. 3*1 + 0.5*1 = 3.5 ties to the even 4; then 4 + 0.5 = 4.5 goes to 4.
    acc = Accumulator(catalog.E2M1)
    assert reference.accumulate([3, 0.5, 0.5], [1, 1, 1], acc) == 4
    assert reference.accumulate([0.5, 0.5, 3], [1, 1, 1], acc) == 4
    assert reference.accumulate([0.5, 0.5, 0.5, 3], [1, 1, 1, 1], acc) == 4  # 1.5 + 3 = 4.5
    assert reference.accumulate([6, 6, -6], [1, 1, 1], acc) == 0  # saturates at 6
    # Fused, 1.5 * 1.5 = 2.25 goes in exactly: 2.25 + 0.5 = 2.75 -> 3. Rounded first to 2, it ends at 2.5 -> 2.
    assert reference.accumulate([1.5, 1], [1.5, 0.5], acc) == 2
    assert reference.accumulate([1, 1.5], [0.5, 1.5], acc) == 3
    rounded = Accumulator(catalog.E2M1, product=Quantizer(catalog.E2M1))
    assert reference.accumulate([1, 1.5], [0.5, 1.5], rounded) == 2
    # Chunks of two: (3 + 0.5 -> 4) then (0.5 + 3 -> 4): 8 saturates; one chain gives 4, 4, then 7 -> 6.
    chunks = Accumulator(catalog.E2M1, chunk=2)
    assert reference.accumulate([3, 0.5, 0.5, -3], [1, 1, 1, 1], chunks) == 2  # 4 + (-2.5 -> -2)
    assert reference.accumulate([3, 0.5, 0.5, -3], [1, 1, 1, 1], acc) == 1  # 4, 4, 1
    wide = Accumulator(catalog.E2M1, chunk=2, outer=Accumulator(catalog.BINARY32))
    assert reference.accumulate([6, 6, 6, 6], [1, 1, 1, 1], wide) == 12
    assert reference.accumulate([], [], chunks, 2.6) == 3
    assert reference.accumulate([1], [0.25], acc, 0.5) == 1  # 0.75 ties to the even 1


@pytest.mark.parametrize(("mantissa_bits", "last"), [(7, 256), (4, 32), (2, 8)])
def test_truncation_stagnates_where_one_is_below_an_ulp(mantissa_bits, last):
    fmt = FloatFormat(5, mantissa_bits, infinities=False, nan=NanEncoding.NONE)
    acc = Accumulator(fmt, R.RTZ)
    ones = [1.0] * (2 * last)
    assert reference.accumulate(ones, ones, acc) == last == 2 ** (mantissa_bits + 1)


def test_lba_steps_by_hand():
    # 1.2 * 1 in E4M3 operands: 1.25; M7E4 holds it. 63.5 + 1.25 = 64.75 saturates at 63.75.
    assert reference.accumulate([1.25] * 100, [1.0] * 100, LBA_SUM) == 63.75
    # Products saturate at 15.9375 before they are added.
    assert reference.accumulate([16.0, 0], [16.0, 0], LBA_SUM) == 15.9375
    # 2**-13 is under R_UF of the products, 2**-11 over it but under R_UF of the sums.
    assert reference.accumulate([2.0**-6], [2.0**-7], LBA_SUM) == 0
    assert reference.accumulate([2.0**-5], [2.0**-6], LBA_SUM) == 0
    assert reference.accumulate([2.0**-5], [2.0**-5], LBA_SUM) == 2.0**-10
    assert reference.accumulate([1.0, 2.0**-5], [1.0, 2.0**-6], LBA_SUM) == 1.0


@pytest.mark.parametrize("narrow", [np.float16, np.float32])
def test_a_chain_in_a_native_format_is_numpys(narrow):
    fmt = catalog.BINARY16 if narrow is np.float16 else catalog.BINARY32
    rng = np.random.default_rng(4)
    acc = Accumulator(fmt, overflow=Rule.IEEE, product=Quantizer(fmt, overflow=Rule.IEEE))
    for scale in (1, 2.0**-12, 2.0**7):
        a, b = (rng.standard_normal((2, 40)) * scale).astype(narrow)
        total = narrow(0)
        with np.errstate(over="ignore", under="ignore"):
            for x, y in zip(a, b, strict=True):
                total = total + x * y
        assert reference.accumulate(a, b, acc) == float(total)


def test_rounding_needs_a_word_where_the_mode_does():
    with pytest.raises(ValueError, match="SR needs a word"):
        reference.round_value(1.06, catalog.E4M3, R.SR)
    assert reference.round_value(1.0, catalog.E4M3, R.SR) == 1.0


def test_values_without_a_code_are_refused():
    fmt = parse_format("lba_m7e4_b10_paper")
    with pytest.raises(ValueError, match="without a code"):
        reference.encode_value(2.0**-10, fmt)
    with pytest.raises(ValueError, match="NaN in e2m1"):
        reference.encode_value(math.nan, catalog.E2M1)
    with pytest.raises(ValueError, match="no infinity"):
        reference.encode_value(math.inf, catalog.E4M3)
    with pytest.raises(ValueError, match="NaN in e2m1"):
        reference.round_value(math.nan, catalog.E2M1)
    with pytest.raises(ValueError, match="unsigned"):
        reference.round_value(-1.0, grids.KINDS["unsigned_plain"])


def test_what_the_oracle_of_products_does_not_do_is_said():
    a, b = np.full((2, 3), 1.125), np.ones((3, 4))
    coarse = FloatFormat(3, 2)
    with pytest.raises(TypeError, match=r"accumulator h100\.f16\.f32: give .*reference\.matrix_unit\.unit_matmul"):
        reference.matmul(a, b, catalog.MATRIX_UNITS["h100.f16.f32"])
    with pytest.raises(TypeError, match=r"accumulator e3m2: give Accumulator\(e3m2\)"):
        reference.matmul(a, b, coarse)
    with pytest.raises(ValueError, match=r"a \(2, 3\) and b \(2, 4\) do not match"):
        reference.matmul(a, b[:2], Accumulator(coarse))
    drawing = Accumulator(coarse, Rounding.SR, random_bits=4)
    for options, given in (({}, "the oracle"), ({"seed": 5}, "seed = 5, stream = 0: the oracle")):
        with pytest.raises(ValueError, match=rf"{given} draws no random words: give words= of shape \(2, 4, 3\)"):
            reference.matmul(a, b, drawing, **options)
    with pytest.raises(TypeError, match="encode"):
        reference.matmul(a, b, Accumulator(coarse), encode=True)


def test_the_words_of_a_seed_give_the_oracle_what_the_seed_gives_a_product():
    a, b = np.full((2, 3), 1.125), np.ones((3, 4))
    drawing = Accumulator(FloatFormat(3, 2), Rounding.SR, random_bits=4)
    words = random_words(2 * 4 * 3, 4, seed=5, stream=9).reshape(2, 4, 3)
    found = reference.matmul(a, b, drawing, words=words)
    assert len(np.unique(found)) > 1
    np.testing.assert_array_equal(found, matmul(a, b, drawing, seed=5, stream=9))


@pytest.mark.parametrize("dtype", [np.int64, np.float16])
def test_the_oracle_does_not_cut_its_results_to_another_type(dtype):
    x, fmt = np.full((2, 2), 100, dtype), parse_format("e2m3")  # up to 7.5
    for refused in (
        lambda: reference.quantize(x, Quantizer(fmt)),
        lambda: reference.encode(x, Quantizer(fmt)),
        lambda: reference.matmul(x, x, Accumulator(fmt)),
        lambda: reference.matrix_unit.unit_matmul(x, x, catalog.MATRIX_UNITS["h100.f16.f32"]),
    ):
        with pytest.raises(TypeError, match=f"of dtype {np.dtype(dtype)}: give float32 or float64"):
            refused()


@pytest.mark.parametrize("name", ["e4m3fn", "posit8", "int8", "log4.3b8"])
@pytest.mark.parametrize("code", [-1, 256, 1 << 70])
def test_codes_outside_of_a_format_have_no_value(name, code):
    fmt = parse_format(name)
    wanted = rf"code ({code}|{code:#x}) is outside the 8 bits of {name}: 0 to 255"
    for decode in (lambda: reference.decode_code(code, fmt), lambda: fmt.decode(code), lambda: fmt.decode([code, 3])):
        with pytest.raises(ValueError, match=wanted):
            decode()
