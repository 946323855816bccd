"""The operators against exact rationals, bit for bit: all pairs of small formats, hard ones of wide formats."""

from fractions import Fraction

import numpy as np
import pytest

from numerics import (
    FixedFormat,
    FloatFormat,
    Overflow,
    Quantizer,
    Rounding,
    arithmetic,
    catalog,
    parse_format,
    random_words,
    reference,
)
from tests.numerics import grids
from tests.numerics.grids import assert_same_bits
from tests.numerics.operands import (
    ARITY,
    DETERMINISTIC,
    MODES,
    PAIRS,
    STOCHASTIC,
    Cases,
    all_cases,
    drawn_cases,
    hard_cases,
    operate,
    rule_of,
)

EXHAUSTIVE = {
    "e2m1": catalog.E2M1,
    "e3m2": catalog.E3M2,
    "binary5p3se": parse_format("binary5p3se"),
    "flush": FloatFormat(2, 1, subnormals=grids.FLUSH),
    "full_binade": FloatFormat(2, 1, 1, subnormals=grids.FULL_BINADE, infinities=False, nan=grids.NONE),
    "no_mantissa": FloatFormat(3, 0, 4, infinities=False, nan=grids.TOP),
    "unsigned": FloatFormat(2, 2, signed=False, infinities=True, nan=grids.TOP),
}
WIDE = {
    "binary16": (catalog.BINARY16, 60),
    "bfloat16": (catalog.BFLOAT16, 30),
    "binary32": (catalog.BINARY32, 60),
    "binary64": (catalog.BINARY64, 120),
    "all_of_float64_finite": (FloatFormat(11, 51, 1024, infinities=False, nan=grids.NONE), 30),
    "no_exponent": (FloatFormat(0, 52, 40, infinities=False, nan=grids.NONE), 30),
} | {f"float64_{name}": (fmt, 15) for name, fmt in grids.AT_THE_ENDS_64.items()}


def check(cases, quantizer):
    words = None
    if quantizer.stochastic:
        words = cases.words(quantizer.fmt, quantizer.rounding, quantizer.random_bits)
    assert_same_bits(cases.found(quantizer, words), cases.wanted(quantizer, words), cases.operands[0])


def quantizers(fmt, mode, bits=(3, 32)):
    return [Quantizer(fmt, mode, rule_of(fmt), r) for r in (bits if mode.stochastic else (None,))]


@pytest.mark.sampled
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("fmt", EXHAUSTIVE.values(), ids=EXHAUSTIVE)
def test_all_operands_of_small_formats(fmt, mode):
    for operation in (*PAIRS, "sqrt") if fmt.bits > 4 else ARITY:
        for quantizer in quantizers(fmt, mode, (2,)):
            check(all_cases(fmt, operation), quantizer)


@pytest.mark.parametrize("fmt", grids.SMALL.values(), ids=grids.SMALL)
def test_some_operands_of_every_kind_of_format(fmt):
    for operation in ARITY:
        for mode in MODES:
            for quantizer in quantizers(fmt, mode, (1 + mode,)):
                check(drawn_cases(fmt, operation, 4), quantizer)


OVERFLOWING = (catalog.E5M2, catalog.E4M3, catalog.E4M3FNUZ, catalog.BINARY64, grids.KINDS["unsigned"])


@pytest.mark.parametrize("operation", ARITY)
@pytest.mark.parametrize("rule", [Overflow.IEEE, Overflow.SATURATE, Overflow.PROPAGATE], ids=lambda rule: rule.name)
def test_overflow_rules(rule, operation):
    for fmt in OVERFLOWING:
        for mode in DETERMINISTIC:
            check(drawn_cases(fmt, operation, 10), Quantizer(fmt, mode, rule))


@pytest.mark.parametrize("mode", DETERMINISTIC, ids=lambda mode: mode.name)
@pytest.mark.parametrize("fmt", OVERFLOWING, ids=str)
def test_overflow_error(fmt, mode):
    quantizer, top = Quantizer(fmt, mode, Overflow.ERROR), np.array([1.0, fmt.max])
    for operation in ARITY:
        check(drawn_cases(fmt, operation, 10).where(lambda exact: abs(exact) < fmt.max), quantizer)
    for operation, operands in (
        ("add", (top, top)),
        ("mul", (top, 4.0)),
        ("div", (top, 0.25)),
        ("fma", (top, 2.0, top)),
    ):
        with pytest.raises(OverflowError, match=r"at element 1 is beyond"):
            operate(operation, operands, quantizer)


@pytest.mark.sampled
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize(("fmt", "count"), WIDE.values(), ids=WIDE)
def test_hard_operands_of_wide_formats(fmt, count, mode):
    for operation in ARITY:
        for quantizer in quantizers(fmt, mode):
            check(hard_cases(fmt, operation, count), quantizer)


@pytest.mark.parametrize("mode", STOCHASTIC, ids=lambda mode: mode.name)
@pytest.mark.parametrize("random_bits", [1, 11, 31, 32])
def test_stochastic_binary64_sees_every_random_bit(random_bits, mode):
    # 53 bits and the words' 32 are more than 64: thresholds of words on either side of the exact results.
    for operation in ARITY:
        check(
            hard_cases(catalog.BINARY64, operation, 40),
            Quantizer(catalog.BINARY64, mode, rule_of(catalog.BINARY64), random_bits),
        )


def test_the_last_random_bit_and_the_sticky_one_by_hand():
    # 1 + 2^-84 is 2^-32 of an ulp above 1: of all words only the last one rounds it up, and one bit less none.
    one, bits = np.ones(1), 32
    for tiny, ups in ((2.0**-84, {"SR": 1, "SR_B": 1, "SR_C": 1}), (2.0**-85, {"SR": 0, "SR_B": 1, "SR_C": 0})):
        for name, count in ups.items():
            quantizer = Quantizer(catalog.BINARY64, Rounding[name], random_bits=bits)
            for word in (2**bits - 1, 2**bits - 2):
                up = count > 2**bits - 1 - word
                found = arithmetic.add(one, np.full(1, tiny), quantizer, words=np.array([word]))
                assert found[0] == (1 + 2.0**-52 if up else 1.0), (name, tiny, word)
    # Past the tie of SR_C by a bit that lies 2^-1074 below.
    quantizer = Quantizer(catalog.BINARY64, Rounding.SR_C)
    last = np.array([2**32 - 1])
    assert arithmetic.fma(one, one + 2.0**-52, np.full(1, 2.0**-85), quantizer, words=last)[0] == 1 + 2.0**-52
    tie = arithmetic.fma(np.full(1, 2.0**-40), np.full(1, 2.0**-45), one, quantizer, words=last)
    above = arithmetic.fma(np.full(1, 2.0**-40), np.full(1, 2.0**-45 * (1 + 2.0**-52)), one, quantizer, words=last)
    assert (tie[0], above[0]) == (1.0, 1 + 2.0**-52)


@pytest.mark.parametrize("mode", STOCHASTIC, ids=lambda mode: mode.name)
def test_stochastic_results_just_above_a_tie_of_the_last_bit(mode):
    # Quotient and root begin with 86 bits, the last of them the one after 32 random bits, and then have zeros, 52 and
    # 15 of them: only the sticky bit says that this is no tie. Found by a search.
    quotient = [np.array([v], float) for v in (0x1375D36FB1B918, 0x1D7210076CE2EF)]
    roots = [np.array([0x1075D76D30140C, 0x1DED2113D4183B]) / 2.0**52]
    for operation, operands in (("div", quotient), ("sqrt", roots)):
        for copies in (1, 2):  # each of the deciding words
            cases = Cases(operation, [np.repeat(x, copies) for x in operands])
            check(cases, Quantizer(catalog.BINARY64, mode))


@pytest.mark.parametrize("mode", STOCHASTIC, ids=lambda mode: mode.name)
def test_over_all_words_the_mean_is_that_of_the_mode(mode):
    r, fmt = 6, catalog.E4M3
    words = np.arange(1 << r)
    quantizer = Quantizer(fmt, mode, random_bits=r)
    for operation, operands in (
        ("add", (1.0, 0.04)),
        ("mul", (1.1, -2.3)),
        ("div", (1.0, 3.0)),
        ("sqrt", (0.3,)),
        ("fma", (0.1, 0.2, 3.0)),
    ):
        exact, _ = reference.arithmetic.exact_result(operation, operands, mode)
        lo, ulp = reference.lower_neighbour(abs(exact), fmt)
        k = reference.stochastic_threshold((abs(exact) - lo) / ulp, mode, r)
        found = operate(operation, [np.full(words.size, x) for x in operands], quantizer, words=words)
        mean = sum(Fraction(v) for v in found.tolist()) / words.size
        assert abs(mean) == lo + ulp * Fraction(k, 1 << r)
        assert 0 < k < 1 << r


@pytest.mark.parametrize(
    ("dtype", "fmt"),
    [(np.float64, catalog.BINARY64), (np.float32, catalog.BINARY32), (np.float16, catalog.BINARY16)],
    ids=["binary64", "binary32", "binary16"],
)
def test_equal_to_numpy_where_numpy_rounds_once(dtype, fmt):
    rng = np.random.default_rng(5)
    unsigned = np.dtype(f"u{np.dtype(dtype).itemsize}")
    patterns = rng.integers(1 << (8 * unsigned.itemsize), size=(2, 20_000), dtype=np.uint64).astype(unsigned)
    x, y = np.concatenate([patterns.view(dtype), rng.standard_normal((2, 20_000)).astype(dtype)], axis=1)
    carrier = np.float32 if dtype is np.float32 else np.float64
    quantizer = Quantizer(fmt, Rounding.RNE, Overflow.IEEE)
    native = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "sqrt": np.sqrt}
    for operation, function in native.items():
        operands = (x, y)[: ARITY[operation]]
        with np.errstate(all="ignore"):
            wanted = function(*operands).astype(carrier)
        found = operate(operation, [v.astype(carrier) for v in operands], quantizer)
        assert_same_bits(found, np.where(np.isnan(wanted), carrier(np.nan), wanted))


ZEROS = [
    # operation, operands, in RNE, in RTN
    ("add", (0.0, 0.0), 0.0, 0.0),
    ("add", (-0.0, -0.0), -0.0, -0.0),
    ("add", (0.0, -0.0), 0.0, -0.0),
    ("add", (1.5, -1.5), 0.0, -0.0),
    ("sub", (0.0, 0.0), 0.0, -0.0),
    ("sub", (-0.0, 0.0), -0.0, -0.0),
    ("mul", (-0.0, 3.0), -0.0, -0.0),
    ("mul", (-0.0, -3.0), 0.0, 0.0),
    ("div", (0.0, -2.0), -0.0, -0.0),
    ("div", (-2.0, np.inf), -0.0, -0.0),
    ("sqrt", (-0.0,), -0.0, -0.0),
    ("sqrt", (0.0,), 0.0, 0.0),
    ("fma", (2.0, 3.0, -6.0), 0.0, -0.0),
    ("fma", (-0.0, 3.0, -0.0), -0.0, -0.0),
    ("fma", (0.0, 3.0, -0.0), 0.0, -0.0),
    ("mul", (-5e-324, 5e-324), -0.0, -5e-324),
    ("fma", (5e-324, 5e-324, -0.0), 0.0, 0.0),
]


@pytest.mark.parametrize(("operation", "operands", "nearest", "down"), ZEROS)
def test_signs_of_zeros(operation, operands, nearest, down):
    for mode, wanted in ((Rounding.RNE, nearest), (Rounding.RTN, down)):
        found = operate(operation, [np.array([v]) for v in operands], Quantizer(catalog.BINARY64, mode))
        assert_same_bits(found, np.array([wanted]))
    # A format without -0 has the one zero.
    fnuz = operate(operation, [np.array([v]) for v in operands], Quantizer(catalog.E4M3FNUZ))
    assert_same_bits(fnuz, np.array([0.0]))


SPECIALS = [
    ("add", (np.inf, -np.inf), np.nan),
    ("sub", (np.inf, np.inf), np.nan),
    ("sub", (np.inf, -np.inf), np.inf),
    ("add", (-np.inf, 1e308), -np.inf),
    ("mul", (0.0, -np.inf), np.nan),
    ("mul", (-2.0, np.inf), -np.inf),
    ("div", (0.0, -0.0), np.nan),
    ("div", (np.inf, -np.inf), np.nan),
    ("div", (1.0, -0.0), -np.inf),
    ("div", (np.inf, 0.0), np.inf),
    ("div", (-np.inf, 3.0), -np.inf),
    ("sqrt", (-1e-300,), np.nan),
    ("sqrt", (-np.inf,), np.nan),
    ("sqrt", (np.inf,), np.inf),
    ("fma", (0.0, np.inf, np.nan), np.nan),
    ("fma", (np.inf, 0.0, 1.0), np.nan),
    ("fma", (np.inf, -1.0, np.inf), np.nan),
    ("fma", (np.inf, -1.0, -np.inf), -np.inf),
    ("fma", (1e308, 10.0, -np.inf), -np.inf),
    ("fma", (1e308, 1e308, np.nan), np.nan),
]


@pytest.mark.parametrize(("operation", "operands", "wanted"), SPECIALS)
def test_specials(operation, operands, wanted):
    arrays = [np.array([v]) for v in operands]
    for mode in (Rounding.RNE, Rounding.RTZ, Rounding.RTN):
        assert_same_bits(
            operate(operation, arrays, Quantizer(catalog.BINARY64, mode, Overflow.IEEE)), np.array([wanted])
        )
    # The overflow rule decides about infinities, an exact one from a division by zero too.
    saturated = np.array([np.clip(wanted, -448.0, 448.0)])
    assert_same_bits(operate(operation, arrays, Quantizer(catalog.E4M3)), saturated)
    if np.isnan(wanted):
        with pytest.raises(ValueError, match=r"at element 0 is NaN: e2m1 has no NaN"):
            operate(operation, arrays, Quantizer(catalog.E2M1))


def test_results_beyond_the_exponents_of_float64():
    tiny, huge = np.array([5e-324]), np.array([np.finfo(float).max])
    up, down = (Quantizer(catalog.BINARY64, mode, Overflow.IEEE) for mode in (Rounding.RTP, Rounding.RTN))
    assert (arithmetic.mul(tiny, tiny, up)[0], arithmetic.mul(tiny, tiny, down)[0]) == (5e-324, 0.0)
    assert (arithmetic.mul(huge, huge, up)[0], arithmetic.mul(huge, huge, down)[0]) == (np.inf, huge[0])
    assert (arithmetic.div(huge, tiny, up)[0], arithmetic.div(tiny, huge, up)[0]) == (np.inf, 5e-324)
    # The product overflows, the sum does not.
    assert arithmetic.fma(huge, np.array([2.0]), -huge, up)[0] == huge[0]
    # 2^-2148 beside 2^1023: the exact sum is above a power of two by one part in 2^3171.
    fused = [arithmetic.fma(tiny, tiny, np.array([2.0**1023]), q)[0] for q in (up, down)]
    assert fused == [2.0**1023 * (1 + 2.0**-52), 2.0**1023]


@pytest.mark.parametrize("operation", ARITY)
def test_float32_arrays_give_what_their_float64_copies_give(operation):
    rng = np.random.default_rng(6)
    bits = rng.integers(1 << 32, size=(3, 3000), dtype=np.uint32)
    bits[0, :1000] = rng.integers(1 << 20, size=1000)  # subnormals
    operands = bits.view(np.float32)[: ARITY[operation]]
    with np.errstate(invalid="ignore"):  # numpy minds signalling NaNs, the operators do not
        copies = operands.astype(np.float64)
    for fmt, mode in ((catalog.BINARY32, Rounding.RTP), (catalog.E5M2, Rounding.RNE), (catalog.BFLOAT16, Rounding.RTO)):
        quantizer = Quantizer(fmt, mode, Overflow.IEEE)
        wide = operate(operation, copies, quantizer)
        assert_same_bits(operate(operation, operands, quantizer), wide.astype(np.float32))


def test_dtypes_and_shapes():
    quantizer = Quantizer(catalog.E4M3)
    x, y = np.full((3, 1), 1.0, np.float32), np.full(4, 0.3, np.float32)
    assert arithmetic.add(x, y, quantizer).dtype == np.float32
    assert arithmetic.add(x, y.astype(np.float64), quantizer).dtype == np.float64
    assert arithmetic.add(x, y, quantizer).shape == (3, 4)
    assert arithmetic.fma(x, 2.0, y, quantizer).tolist() == [[2.25] * 4] * 3
    assert arithmetic.sqrt(2.0, quantizer).shape == ()
    assert arithmetic.mul(np.zeros((0, 3)), np.ones(3), quantizer).shape == (0, 3)
    z = np.random.default_rng(7).standard_normal((4, 6, 5))
    turned = arithmetic.div(z.transpose(2, 0, 1), z[::-1].transpose(2, 0, 1), quantizer)
    assert_same_bits(np.ascontiguousarray(turned.transpose(1, 2, 0)), arithmetic.div(z, z[::-1], quantizer))


def test_out_is_written_and_returned():
    quantizer = Quantizer(catalog.E4M3)
    x, y = np.random.default_rng(8).standard_normal((2, 4, 6))
    wanted = arithmetic.mul(x, y, quantizer)
    for out in (np.empty((4, 6)), np.empty((6, 4)).T, np.empty((4, 12))[:, ::2]):
        assert arithmetic.mul(x, y, quantizer, out=out) is out
        assert_same_bits(np.ascontiguousarray(out), wanted)
    square = arithmetic.mul(x, x, quantizer)
    assert arithmetic.mul(x, y, quantizer, out=y) is y
    assert_same_bits(y, wanted)
    assert arithmetic.mul(x, x, quantizer, out=x) is x
    assert_same_bits(x, square)
    for out, message in (
        (np.empty((4, 5)), "give a numpy array of float64"),
        (np.empty((4, 6), np.float32), "give a numpy array of float64"),
        (x[::-1], "overlaps the input"),
    ):
        with pytest.raises(ValueError, match=message):
            arithmetic.add(x, y, quantizer, out=out)
    with pytest.raises(ValueError, match="overlaps the input"):
        arithmetic.add(x[:1], y, quantizer, out=x)  # a row that is read four times


@pytest.mark.parametrize("random_bits", [5, 16, 32])
def test_a_seed_is_its_words_whatever_the_blocks_and_threads(random_bits, on_threads):
    quantizer = Quantizer(catalog.E4M3, Rounding.SR, random_bits=random_bits)
    x = np.random.default_rng(9).standard_normal((7, 9001))
    y = np.random.default_rng(10).standard_normal(9001)
    offset = 2**64 - 40_001  # element numbers wrap inside
    words = random_words(x.size, random_bits, seed=3, stream=4, offset=offset).reshape(x.shape)
    wanted = arithmetic.add(x, y, quantizer, words=words)
    for count in (1, 3):
        on_threads(count)
        assert_same_bits(arithmetic.add(x, y, quantizer, seed=3, stream=4, offset=offset), wanted)
        assert_same_bits(arithmetic.add(x, y, quantizer, words=words), wanted)
    assert not np.array_equal(arithmetic.add(x, y, quantizer, seed=3, stream=5, offset=offset), wanted)
    if random_bits < 32:
        return
    # What the quantizer does to a product that is exact in float64.
    exact = np.round(x * 64) * y.astype(np.float16)
    product = arithmetic.mul(np.round(x * 64), y.astype(np.float16).astype(np.float64), quantizer, seed=1)
    assert_same_bits(product, quantizer.quantize(exact, seed=1))


def test_errors_name_the_element_and_leave_out_alone():
    x, y = np.array([[1.0, 2.0], [3.0, 400.0]]), np.array([1.0, 100.0])
    out = np.full((2, 2), 7.0)
    with pytest.raises(
        OverflowError, match=r"400\.0 \+ 100\.0 at element 3 is beyond 448\.0, the largest value of e4m3fn"
    ):
        arithmetic.add(x, y, Quantizer(catalog.E4M3, overflow=Overflow.ERROR), out=out)
    with pytest.raises(OverflowError, match=r"3\.0 / 0\.0 at element 2 is beyond 448\.0"):
        arithmetic.div(x, [[1.0, 1.0], [0.0, 1.0]], Quantizer(catalog.E4M3, overflow=Overflow.ERROR), out=out)
    with pytest.raises(ValueError, match=r"sqrt\(-4\.0\) at element 1 is NaN: e3m2 has no NaN"):
        arithmetic.sqrt(np.array([1.0, -4.0]), Quantizer(catalog.E3M2))
    unsigned = FloatFormat(3, 3, signed=False, infinities=False, nan=grids.NONE, name="narrow")
    with pytest.raises(ValueError, match=r"1\.0 - 1\.5 at element 0 is negative: narrow is unsigned and has no NaN"):
        arithmetic.sub(np.array([1.0]), np.array([1.5]), Quantizer(unsigned))
    assert out.tolist() == [[7, 7], [7, 7]]
    # Infinities stay where the format has them, as in a conversion; the first of many elements is the one named.
    error = Quantizer(catalog.BINARY16, overflow=Overflow.ERROR)
    assert arithmetic.div(np.array([1.0]), np.array([0.0]), error)[0] == np.inf
    many = np.ones(300_000)
    many[[250_001, 131_072, 299_999]] = 1e5
    with pytest.raises(OverflowError, match="at element 131072 "):
        arithmetic.mul(many, many, error)


def test_refusals():
    x, quantizer = np.ones(3), Quantizer(catalog.E4M3)
    stochastic = Quantizer(catalog.E4M3, Rounding.SR, random_bits=8)
    for wrong, error, message in (
        (lambda: arithmetic.add(x.astype(np.float16), x, quantizer), TypeError, "dtype float16"),
        (lambda: arithmetic.add(x, x.astype(">f8"), quantizer), TypeError, "dtype >f8"),
        (lambda: arithmetic.add(x, [1, 2, 3], quantizer), TypeError, "dtype int64"),
        (lambda: arithmetic.add(x, np.ma.array(x), quantizer), TypeError, "operand 2 is a masked array"),
        (lambda: arithmetic.add(x, np.ones(2), quantizer), ValueError, r"shapes \(3,\) and \(2,\) do not broadcast"),
        (lambda: arithmetic.sqrt(x, catalog.E4M3), TypeError, "in place of a quantizer"),
        (lambda: arithmetic.sqrt(x, Quantizer(FixedFormat(8))), TypeError, "not a float format"),
        (
            lambda: arithmetic.sqrt(x.astype(np.float32), Quantizer(catalog.BINARY64)),
            ValueError,
            "float32 does not hold",
        ),
        (lambda: arithmetic.sqrt(x, quantizer, words=np.zeros(3, int)), ValueError, "words given with RNE"),
        (lambda: arithmetic.sqrt(x, stochastic), ValueError, "SR needs random words"),
        (lambda: arithmetic.sqrt(x, stochastic, words=np.zeros(2, int)), ValueError, "one word per rounding"),
        (lambda: arithmetic.sqrt(x, stochastic, words=np.full(3, 256)), ValueError, "word 256 is outside"),
        (lambda: arithmetic.sqrt(x, stochastic, seed=-1), ValueError, "seed = -1"),
        (lambda: arithmetic.sqrt(x, stochastic, seed=0, offset=1.5), TypeError, "offset = 1.5"),
        (lambda: arithmetic.sqrt(x, quantizer, seed="x"), TypeError, "seed = 'x'"),
        (lambda: arithmetic.sqrt(x, quantizer, seed=1, stream=-1), ValueError, "stream = -1"),
    ):
        with pytest.raises(error, match=message):
            wrong()
