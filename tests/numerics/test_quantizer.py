"""Quantizer against the oracle, bit for bit, at every edge of formats of every kind."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from numerics import FloatFormat, NanEncoding, Overflow, Quantizer, Rounding, catalog, parse_format, reference
from numerics.parameters import FLOAT32
from tests.numerics import grids
from tests.numerics.grids import DETERMINISTIC, STOCHASTIC, assert_same_bits
from tests.sampling import but_at_night, one_in

# Each combination of mode and dtype is compiled: all modes in float64, those that differ in kind in float32.
IN_FLOAT32 = (Rounding.RNE, Rounding.RTP, Rounding.RTO)
SPECIALS = np.array([np.inf, -np.inf, np.nan, -np.nan, 0.0, -0.0])

OTHERS = {f"middle_{name}": (fmt, 1 << 8) for name, fmt in grids.MIDDLE_CATALOG.items()}
OTHERS |= {f"float32_{name}": (fmt, 1 << 5) for name, fmt in grids.AT_THE_ENDS.items()}
OTHERS |= {f"float64_{name}": (fmt, 1 << 5) for name, fmt in grids.AT_THE_ENDS_64.items()}
CASES = {name: (fmt, 1 << 9) for name, fmt in grids.SMALL.items()} | OTHERS
CASES32 = {name: case for name, case in CASES.items() if FLOAT32.holds(case[0])}


def edges_for(mode, fmt, dtype, limit):
    """`grids.edges`; where the mode does not look at the sign, few of the negative ones."""
    x = grids.edges(fmt, dtype, limit)
    if mode in (Rounding.RTP, Rounding.RTN):
        return x
    return np.concatenate([x[np.signbit(x)][::7], x[~np.signbit(x)]])


def deciding_words(x, fmt, rounding, random_bits):
    """One word per element, in turn 0, 1, the largest, and the two on either side of the element's decision."""
    last = (1 << random_bits) - 1
    words = []
    for i, value in enumerate(x.tolist()):
        magnitude = Fraction(abs(value))
        lo, ulp = reference.lower_neighbour(magnitude, fmt)
        k = reference.stochastic_threshold((magnitude - lo) / ulp, rounding, random_bits)
        words.append(min(max((0, 1, last, last + 1 - k, last - k)[i % 5], 0), last))
    return np.array(words)


@pytest.mark.sampled
@pytest.mark.parametrize("mode", but_at_night(DETERMINISTIC, [Rounding.RNA, Rounding.RTN]), ids=lambda mode: mode.name)
@pytest.mark.parametrize(("fmt", "limit"), CASES.values(), ids=CASES)
def test_float64_at_every_edge(fmt, limit, mode):
    x = edges_for(mode, fmt, np.float64, limit)
    quantizer = Quantizer(fmt, mode)
    assert_same_bits(quantizer.quantize(x), reference.quantize(x, quantizer), x)


@pytest.mark.sampled
@pytest.mark.parametrize("mode", but_at_night(IN_FLOAT32, [Rounding.RTO]), ids=lambda mode: mode.name)
@pytest.mark.parametrize(("fmt", "limit"), CASES32.values(), ids=CASES32)
def test_float32_at_every_edge(fmt, limit, mode):
    x = edges_for(mode, fmt, np.float32, limit)
    quantizer = Quantizer(fmt, mode)
    assert_same_bits(quantizer.quantize(x), reference.quantize(x, quantizer), x)


@pytest.mark.sampled
@pytest.mark.parametrize("mode", STOCHASTIC, ids=lambda mode: mode.name)
@pytest.mark.parametrize("random_bits", [3, 32])
@pytest.mark.parametrize(("fmt", "limit"), CASES.values(), ids=CASES)
def test_stochastic_float64_at_every_edge(fmt, limit, random_bits, mode):
    x = edges_for(mode, fmt, np.float64, limit)[random_bits % 3 :: 3]
    words = deciding_words(x, fmt, mode, random_bits)
    quantizer = Quantizer(fmt, mode, random_bits=random_bits)
    assert_same_bits(quantizer.quantize(x, words=words), reference.quantize(x, quantizer, words=words), x)


@pytest.mark.sampled
@pytest.mark.parametrize("random_bits", [1, 11, 32])
@pytest.mark.parametrize(("fmt", "limit"), CASES32.values(), ids=CASES32)
def test_stochastic_float32_at_every_edge(fmt, limit, random_bits):
    x = edges_for(Rounding.SR_C, fmt, np.float32, limit)[random_bits % 3 :: 3]
    words = deciding_words(x, fmt, Rounding.SR_C, random_bits)
    quantizer = Quantizer(fmt, Rounding.SR_C, random_bits=random_bits)
    assert_same_bits(quantizer.quantize(x, words=words), reference.quantize(x, quantizer, words=words), x)


@pytest.mark.parametrize(
    ("mode", "dtype"),
    [*[(mode, np.float64) for mode in STOCHASTIC], (Rounding.SR_C, np.float32)],
    ids=lambda value: getattr(value, "name", getattr(value, "__name__", "")),
)
@pytest.mark.parametrize("random_bits", [1, 8, 24, 31, 32])
def test_the_last_bit_of_a_value_far_below_the_grid_decides(random_bits, mode, dtype):
    # Half of 2**-r of the smallest step, where the largest word decides: a tie for SR_C, above one with the last bit.
    for fmt in (catalog.E4M3, catalog.BINARY16, FloatFormat(4, 3, 8, infinities=False, nan=grids.NEGATIVE_ZERO)):
        tie = dtype(fmt.smallest_subnormal * 2.0 ** -(random_bits + 1))
        x = np.array([np.nextafter(tie, dtype(0)), tie, np.nextafter(tie, dtype(1)), 2 * tie, np.nextafter(2 * tie, 0)])
        quantizer = Quantizer(fmt, mode, random_bits=random_bits)
        words = np.full(x.shape, (1 << random_bits) - 1)
        found = quantizer.quantize(x.astype(dtype), words=words)
        up = {Rounding.SR: [0, 0, 0, 1, 0], Rounding.SR_B: [0, 1, 1, 1, 1], Rounding.SR_C: [0, 0, 1, 1, 1]}[mode]
        assert (found / dtype(fmt.smallest_subnormal)).tolist() == up
        assert_same_bits(found, reference.quantize(x.astype(dtype), quantizer, words=words))


@pytest.mark.parametrize("mode", DETERMINISTIC, ids=lambda mode: mode.name)
@pytest.mark.parametrize("fmt", grids.SMALL.values(), ids=grids.SMALL)
@pytest.mark.sampled
def test_overflow_rules(fmt, mode):
    beyond = fmt.max * np.array([1.0, 1.0 + 2.0**-30, 1.03, 1.0625, 1.125, 1.25, 1.5, 2.0, 4.0, 2.0**100])
    specials = SPECIALS if fmt.has_nan else SPECIALS[~np.isnan(SPECIALS)]
    x = np.concatenate([beyond, -beyond, specials]) if fmt.signed else np.concatenate([beyond, specials[specials >= 0]])
    for rule in grids.overflow_rules(fmt):
        quantizer = Quantizer(fmt, mode, rule)
        assert_same_bits(quantizer.quantize(x), reference.quantize(x, quantizer), x)


@pytest.mark.parametrize("rule", [Overflow.SATURATE, Overflow.PROPAGATE, Overflow.IEEE])
def test_overflow_rules_of_the_ocp_formats_by_hand(rule):
    # OFP8: the saturating conversion clamps infinities as well; else E5M2 gives infinity and E4M3 NaN.
    # 464 is the midpoint to the next step, and the largest value is even.
    x = np.array([464.0, np.nextafter(464.0, 500), np.inf, -np.inf, np.nan])
    e4m3 = {
        Overflow.SATURATE: [448, 448, 448, -448, np.nan],
        Overflow.PROPAGATE: [448, 448, 448, -448, np.nan],
        Overflow.IEEE: [448, np.nan, np.nan, np.nan, np.nan],
    }
    assert_same_bits(Quantizer(catalog.E4M3, overflow=rule).quantize(x), np.array(e4m3[rule], np.float64))
    # 57344 = 1.75 * 2**15 has an odd last bit: its midpoint goes up.
    x = np.array([np.nextafter(61440.0, 0), 61440.0, np.inf, -np.inf, np.nan])
    e5m2 = {
        Overflow.SATURATE: [57344, 57344, 57344, -57344, np.nan],
        Overflow.PROPAGATE: [57344, 57344, np.inf, -np.inf, np.nan],
        Overflow.IEEE: [57344, np.inf, np.inf, -np.inf, np.nan],
    }
    assert_same_bits(Quantizer(catalog.E5M2, overflow=rule).quantize(x), np.array(e5m2[rule], np.float64))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_flushing_rounds_as_if_the_exponent_were_unbounded(dtype):
    # M = 3: below 2**emin the grid goes on with 4 bits; 15.5/16 of it is a tie that goes up to the even 2**emin.
    fmt = grids.KINDS["flush"]
    smallest = fmt.smallest_normal
    x = smallest * np.array([1.0, 15.5 / 16, 15.5 / 16 - 2.0**-20, 15 / 16, -15.25 / 16, -15.75 / 16, 1e-3], dtype)
    wanted = smallest * np.array([1, 1, 0, 0, -0.0, -1, 0], dtype)
    assert_same_bits(Quantizer(fmt).quantize(x.astype(dtype)), wanted.astype(dtype))


def test_values_of_the_lba_formats_by_hand():
    # arXiv 2401.14110, eq. 2: truncation, R_OF = 2**(2**E - 1 - b) (2 - 2**-M), R_UF = 2**-b.
    encodable, paper = parse_format("lba_m7e4_b10"), parse_format("lba_m7e4_b10_paper")
    x = np.array([64.0, 63.75, 63.7, 1.999, 2.0**-10 * 1.0078125, 2.0**-10 * 1.005, 2.0**-10, 2.0**-10 * 0.999])
    both = [63.75, 63.75, 63.5, 1.9921875, 2.0**-10 * 1.0078125]
    assert Quantizer(encodable, Rounding.RTZ).quantize(x).tolist() == [*both, 0, 0, 0]
    assert Quantizer(paper, Rounding.RTZ).quantize(x).tolist() == [*both, 2.0**-10, 2.0**-10, 0]
    assert Quantizer(parse_format("lba_m7e4_b12_paper"), Rounding.RTZ).quantize(x[:1]).tolist() == [15.9375]


@pytest.mark.parametrize("fmt", grids.KINDS.values(), ids=grids.KINDS)
def test_parity_is_that_of_the_code(fmt):
    values = grids.magnitudes(fmt)
    lower, upper = values[:-1], values[1:]
    middle = (lower + upper) / 2
    nearest = Quantizer(fmt, Rounding.RNE).quantize(middle)
    odd = Quantizer(fmt, Rounding.RTO).quantize(middle)
    flushed = (middle < fmt.smallest_subnormal) if fmt.subnormals is not grids.Subnormals.GRADUAL else middle < 0
    for low, high, even_one, odd_one, below in zip(lower, upper, nearest, odd, flushed, strict=True):
        if not below and (low or fmt.subnormals is not grids.FULL_BINADE):
            codes = {reference.magnitude_code(Fraction(v), fmt) % 2: v for v in (low, high)}
            assert (even_one, odd_one) == (codes[0], codes[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["e4m3fn", "e5m2", "binary16", "bfloat16", "binary32", "lba_m7e4_b10_paper"])
def test_nan_results_are_the_canonical_quiet_nan(name, dtype):
    fmt = parse_format(name)
    unsigned, quiet = {np.float32: (np.uint32, 0x7FC00000), np.float64: (np.uint64, 0x7FF8 << 48)}[dtype]
    patterns = [quiet | 5, quiet | 1 << (dtype(0).itemsize * 8 - 1), quiet - 1, quiet]
    x = np.array(patterns, unsigned).view(dtype)
    if not fmt.has_nan:
        with pytest.raises(ValueError, match="NaN at element 0"):
            Quantizer(fmt).quantize(x)
        return
    assert Quantizer(fmt).quantize(x).view(unsigned).tolist() == [quiet] * 4
    assert Quantizer(fmt).encode(x).tolist() == [fmt.nan_code] * 4


@pytest.mark.parametrize("fmt", one_in(3, grids.SMALL.values()), ids=grids.SMALL)
def test_encode_equals_the_oracle(fmt):
    x = grids.edges(fmt)
    codes = np.abs(Quantizer(fmt).quantize(x))
    if fmt.subnormals is grids.FULL_BINADE:
        x = x[codes != fmt.smallest_normal]
    specials = [v for v in SPECIALS.tolist() if (v == v or fmt.has_nan) and (fmt.signed or not v < 0)]
    for rule in grids.overflow_rules(fmt):
        values = np.concatenate([x, specials])
        quantizer = Quantizer(fmt, Rounding.RNE, rule)
        found, wanted = quantizer.encode(values), reference.encode(values, quantizer)
        assert found.dtype == np.uint8
        assert found.tolist() == wanted.tolist()
        assert_same_bits(quantizer.decode(found), quantizer.quantize(values), values)


@pytest.mark.parametrize("name", ["binary16", "bfloat16", "tf32", "binary32", "lba_m7e4_b12"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_encode_wider_formats(name, dtype):
    fmt = parse_format(name)
    x = grids.edges(fmt, dtype, 1 << 6)
    quantizer = Quantizer(fmt, Rounding.RNE, grids.overflow_rules(fmt)[-1])
    found = quantizer.encode(x)
    assert found.dtype == (np.uint16 if fmt.bits <= 16 else np.uint32)
    assert found.tolist() == reference.encode(x, quantizer).tolist()
    assert_same_bits(quantizer.decode(found, dtype=dtype), quantizer.quantize(x), x)


def test_encode_binary64_is_its_bits():
    x = np.random.default_rng(0).integers(1 << 64, size=2000, dtype=np.uint64).view(np.float64)
    x = np.concatenate([x[np.isfinite(x)], [0.0, -0.0, np.inf, -np.inf, 5e-324]])
    quantizer = Quantizer(catalog.BINARY64, Rounding.RNE, Overflow.IEEE)
    assert_same_bits(quantizer.quantize(x), x)
    assert_same_bits(quantizer.encode(x), x.view(np.uint64))
    assert_same_bits(quantizer.decode(x.view(np.uint64)), x)


@pytest.mark.parametrize("mode", [*IN_FLOAT32, Rounding.SR_C], ids=lambda mode: mode.name)
def test_a_float32_array_gives_what_its_float64_copy_gives(mode):
    x = np.random.default_rng(1).integers(1 << 32, size=20_000, dtype=np.uint32).view(np.float32)
    x = x[np.isfinite(x)]
    words = np.random.default_rng(2).integers(1 << 32, size=x.size)
    for fmt in (catalog.E4M3, catalog.BFLOAT16, catalog.TF32, grids.AT_THE_ENDS["below_the_bottom"]):
        quantizer = Quantizer(fmt, mode)
        given = {"words": words} if mode.stochastic else {}
        assert_same_bits(
            quantizer.quantize(x, **given), quantizer.quantize(x.astype(np.float64), **given).astype(np.float32), x
        )


def test_any_layout_gives_the_same_bits():
    x = np.random.default_rng(3).standard_normal((6, 4, 10))
    quantizer = Quantizer(catalog.E4M3)
    wanted = quantizer.quantize(x)
    for view, back in (
        (x.transpose(2, 0, 1), lambda y: y.transpose(1, 2, 0)),
        (x[::-1, :, ::-1], lambda y: y[::-1, :, ::-1]),
        (np.asfortranarray(x), lambda y: y),
        (np.repeat(x, 2, axis=1)[:, ::2], lambda y: y),
    ):
        assert_same_bits(np.ascontiguousarray(back(quantizer.quantize(view))), wanted)
    assert_same_bits(quantizer.quantize(np.broadcast_to(x[0, 0], (3, 10))), np.tile(wanted[0, 0], (3, 1)))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (2, 3)])
def test_shapes_are_kept(shape):
    quantizer = Quantizer(catalog.E4M3)
    x = np.full(shape, 1.06, np.float32)
    assert quantizer.quantize(x).shape == shape
    assert quantizer.quantize(x).dtype == np.float32
    assert quantizer.encode(x).shape == shape
    assert quantizer.decode(quantizer.encode(x)).shape == shape
    assert (np.asarray(quantizer.quantize(x)) == 1.0).all()


def test_lists_and_scalars_are_float64():
    quantizer = Quantizer(catalog.E4M3)
    assert quantizer.quantize([0.3, -0.4]).tolist() == [0.3125, -0.40625]
    assert quantizer.quantize(0.3).dtype == np.float64


def test_words_go_with_elements_in_c_order():
    quantizer = Quantizer(catalog.E4M3, Rounding.SR, random_bits=8)
    x = np.random.default_rng(4).standard_normal((5, 7))
    flat = quantizer.quantize(np.ascontiguousarray(x.T).ravel(), seed=1)
    assert_same_bits(np.ascontiguousarray(quantizer.quantize(x.T, seed=1)), flat.reshape(7, 5))
    words = np.random.default_rng(5).integers(256, size=(7, 5))
    flat = quantizer.quantize(np.ascontiguousarray(x.T).ravel(), words=words.ravel())
    assert_same_bits(np.ascontiguousarray(quantizer.quantize(x.T, words=words)), flat.reshape(7, 5))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.int64, np.uint64])
def test_words_of_any_integer_type(dtype):
    quantizer = Quantizer(catalog.E4M3, Rounding.SR, random_bits=7)
    x = np.linspace(-3, 3, 128)
    wanted = quantizer.quantize(x, words=np.arange(128))
    assert_same_bits(quantizer.quantize(x, words=np.arange(128, dtype=dtype)), wanted)


def test_out_is_written_and_returned():
    quantizer = Quantizer(catalog.E4M3)
    x = np.random.default_rng(6).standard_normal((4, 6))
    wanted = quantizer.quantize(x)
    fresh = np.empty_like(x)
    assert quantizer.quantize(x, out=fresh) is fresh
    assert_same_bits(fresh, wanted)
    turned = np.empty((6, 4)).T
    assert quantizer.quantize(x, out=turned) is turned
    assert_same_bits(np.ascontiguousarray(turned), wanted)
    codes = np.empty((4, 12), np.uint8)[:, ::2]
    assert quantizer.encode(x, out=codes) is codes
    assert_same_bits(np.ascontiguousarray(codes), quantizer.encode(x))
    values = np.empty((4, 6), np.float32)
    assert quantizer.decode(codes, dtype=np.float32, out=values) is values
    assert_same_bits(values, wanted.astype(np.float32))
    assert quantizer.quantize(x, out=x) is x
    assert_same_bits(x, wanted)


def test_in_place_on_a_strided_view_leaves_the_rest_alone():
    x = np.random.default_rng(7).standard_normal((4, 6))
    before, view = x.copy(), x[:, ::2]
    Quantizer(catalog.E4M3).quantize(view, out=view)
    assert_same_bits(np.ascontiguousarray(x[:, 1::2]), np.ascontiguousarray(before[:, 1::2]))
    assert_same_bits(np.ascontiguousarray(x[:, ::2]), Quantizer(catalog.E4M3).quantize(before[:, ::2]))


def test_quantizers_are_values():
    fmt = FloatFormat(4, 3, infinities=False, nan=grids.TOP)
    assert Quantizer(fmt) == Quantizer(catalog.E4M3)
    assert hash(Quantizer(fmt)) == hash(Quantizer(catalog.E4M3))
    assert Quantizer(fmt, Rounding.SR) == Quantizer(fmt, Rounding.SR, random_bits=32)
    assert Quantizer(fmt, Rounding.SR, random_bits=31) != Quantizer(fmt, Rounding.SR)
    assert Quantizer(fmt, Rounding.SR).stochastic
    assert not Quantizer(fmt).stochastic


@pytest.mark.sampled
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mode", [Rounding.RNE, Rounding.RTP], ids=lambda mode: mode.name)
def test_zero_has_code_zero_where_a_format_begins_with_the_smallest_number(dtype, mode):
    name = "no_mantissa_from_the_smallest_on"
    ends = grids.AT_THE_ENDS if dtype is np.float32 else grids.AT_THE_ENDS_64
    for fmt in (ends[name], replace(ends[name], nan=NanEncoding.NEGATIVE_ZERO)):
        x, quantizer = np.array([0.0, -0.0, fmt.smallest_subnormal, -fmt.max], dtype), Quantizer(fmt, mode)
        assert quantizer.encode(x[:3]).tolist() == [0, 32 if fmt.nan is NanEncoding.NONE else 0, 1]
        assert_same_bits(quantizer.decode(quantizer.encode(x), dtype=dtype), quantizer.quantize(x), x)
