"""Blocks under a shared scale against the oracle, bit for bit; the exact exponents; NVFP4 against plain numpy."""

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from numerics import (
    BlockFormat,
    FixedFormat,
    FloatFormat,
    NanEncoding,
    Overflow,
    Quantizer,
    Rounding,
    ScaleRule,
    Subnormals,
    catalog,
    parse_format,
    random_words,
    reference,
)
from numerics.block_rows import compiled_row, largest_tensor_scale
from numerics.kernels import block as kernels
from numerics.kernels import modes
from numerics.parameters import FLOAT32
from numerics.reference import block as oracle
from tests.numerics.grids import assert_same_bits
from tests.sampling import one_in

NONE, TOP = NanEncoding.NONE, NanEncoding.TOP_CODE
POWERS = [rule for rule in ScaleRule if rule is not ScaleRule.RATIO]
BINARY32 = FloatFormat(8, 23)
CATALOG = dict(catalog.BLOCK_FORMATS)
# Elements and scales of every kind that the catalog does not pair.
KINDS = {
    "fnuz": BlockFormat(catalog.E4M3FNUZ, catalog.E8M0, 5),
    "powers_of_two": BlockFormat(catalog.E3M0, catalog.E8M0, 32, rule=ScaleRule.NEVER_CLIP),
    "flushed": BlockFormat(FloatFormat(3, 2, subnormals=Subnormals.FLUSH), catalog.E8M0, 7),
    "normal_binade": BlockFormat(
        FloatFormat(3, 2, infinities=False, nan=NONE, subnormals=Subnormals.NORMAL_BINADE), catalog.E8M0, 4
    ),
    "no_exponent": BlockFormat(FloatFormat(0, 4, 1, infinities=False, nan=NONE), catalog.E8M0, 6),
    "unsigned": BlockFormat(FloatFormat(3, 3, signed=False, infinities=True, nan=TOP), catalog.E8M0, 4),
    "wide_element": BlockFormat(catalog.BFLOAT16, FloatFormat(3, 0, infinities=False, nan=NONE), 3),
    "narrow_scale": BlockFormat(catalog.E2M3, catalog.E4M3, 8, rule=ScaleRule.CEIL),
    "flushed_scale": BlockFormat(
        catalog.E2M1, FloatFormat(5, 2, subnormals=Subnormals.FLUSH, infinities=False, nan=NONE), 8
    ),
    "binade_scale": BlockFormat(
        catalog.E2M1, FloatFormat(4, 3, infinities=False, nan=NONE, subnormals=Subnormals.NORMAL_BINADE), 8
    ),
    "twos_complement": BlockFormat(FixedFormat(4), catalog.E8M0, 8, rule=ScaleRule.NEVER_CLIP),
    "unsigned_fixed": BlockFormat(FixedFormat(8, 3, signed=False), catalog.E8M0, 8, rule=ScaleRule.EVEN),
    "one_bit": BlockFormat(FixedFormat(2, symmetric=True), catalog.E8M0, 3, rule=ScaleRule.EVEN),
    "one_level": BlockFormat(catalog.E2M1, catalog.E4M3, 16, rule=ScaleRule.RATIO),
    "float32_scale": BlockFormat(catalog.E4M3, BINARY32, 128, rule=ScaleRule.RATIO),
    "integers": BlockFormat(FixedFormat(4, symmetric=True), catalog.BINARY16, 32, rule=ScaleRule.RATIO),
    "two_levels": BlockFormat(catalog.E5M2, catalog.E4M3FNUZ, 8, rule=ScaleRule.RATIO, tensor_scale=True),
    "power_by_ratio": BlockFormat(catalog.E2M1, catalog.E8M0, 8, rule=ScaleRule.RATIO),
}
RULES = {
    f"{name}_{rule.value}": replace(CATALOG[name], rule=rule) for name in ("mxfp4_e2m1", "mxint8") for rule in POWERS
}
ALL = {**CATALOG, **KINDS, **RULES}


def name_of(value):
    return value.name if hasattr(value, "name") else getattr(value, "__name__", str(value))


def tricky(fmt, dtype, seed=0):
    """Rows [12, n]: blocks of one and of many binades, ties, neighbours of powers of two, zeros, the ends of dtype."""
    rng = np.random.default_rng(seed + fmt.block)
    carrier = np.finfo(dtype)
    length = min(2 * fmt.block + fmt.block // 2, 40)
    bottom = int(np.log2(float(carrier.smallest_subnormal)))
    centres = [0, -5, 100, -100, carrier.maxexp - 2, carrier.minexp, bottom + 3, 3, -30, 40, 1, 0]
    spreads = np.array([0, 1, 3, 8, 3, 2, 3, 30, 3, 0, 12, 2])
    exponents = np.array(centres)[:, None] + rng.integers(-spreads[:, None], spreads[:, None] + 1, (12, length))
    steps = rng.integers(0, 32, (12, length)) / 32
    near = rng.choice([2.0**-24, 2.0**-20, 0.0, 0.0], (12, length))
    with np.errstate(over="ignore", under="ignore"):
        x = np.ldexp(1 + steps + near, np.clip(exponents, -1074, 1023).astype(np.int32)).astype(dtype)
        x = np.where(np.isfinite(x), x, carrier.max).astype(dtype)
        x = np.where(rng.random(x.shape) < 0.25, np.nextafter(x, dtype(0)), x)
    x = np.where(rng.random(x.shape) < 0.1, dtype(0), x)
    x[9, : fmt.block] = 0
    if fmt.signed:
        x = np.where(rng.random(x.shape) < 0.5, -x, x)
    return x.astype(dtype)


def check(fmt, x, mode=Rounding.RNE, overflow=Overflow.SATURATE, random_bits=None, words=None, axis=-1, codes=False):
    quantizer = Quantizer(fmt, mode, overflow, random_bits, axis=axis)
    wanted = reference.quantize(x, quantizer, words=words)
    assert_same_bits(quantizer.quantize(x, words=words), wanted, x)
    if not codes:
        return
    found, expected = quantizer.encode(x, words=words), reference.encode(x, quantizer, words=words)
    assert found.elements.shape == x.shape
    assert (found.elements == expected.elements).all()
    assert (found.scales == expected.scales).all()
    assert found.tensor_scale == expected.tensor_scale
    assert_same_bits(quantizer.decode(found, dtype=x.dtype), wanted)


@pytest.mark.parametrize("fmt", one_in(3, ALL.values()), ids=ALL)
def test_float32_against_the_oracle(fmt):
    check(fmt, tricky(fmt, np.float32), codes=True)


@pytest.mark.parametrize("fmt", one_in(9, ALL.values()), ids=ALL)
def test_float64_against_the_oracle(fmt):
    check(fmt, tricky(fmt, np.float64, 1))


@pytest.mark.parametrize("name", one_in(3, ["mxint8", "mxfp4_e2m1", "nvfp4"]))
def test_float64_codes_against_the_oracle(name):
    check(CATALOG[name], tricky(CATALOG[name], np.float64, 2), codes=True)


# Each mode is compiled: all of them for float elements under powers of two, one of a sort elsewhere.
MODES = [("mxfp6_e3m2", mode) for mode in Rounding if not mode.stochastic and mode.name != "RNL"]
MODES += [("mxint8", Rounding.RTP), ("mxint8", Rounding.RTO), ("nvfp4", Rounding.RTN), ("nvfp4", Rounding.RTO)]


@pytest.mark.parametrize(("name", "mode"), one_in(2, MODES, several=True), ids=name_of)
def test_every_mode(name, mode):
    fmt = replace(CATALOG[name], block=8)
    check(fmt, tricky(fmt, np.float32, 3), mode)
    if mode is Rounding.RTP and fmt.element.has_negative_zero:
        assert_same_bits(
            Quantizer(fmt, Rounding.RTN).quantize(-tricky(fmt, np.float32)),
            -Quantizer(fmt, Rounding.RTP).quantize(tricky(fmt, np.float32)),
        )


STOCHASTIC = [("mxfp8_e4m3", Rounding.SR), ("mxfp8_e4m3", Rounding.SR_B), ("mxfp8_e4m3", Rounding.SR_C)]
STOCHASTIC += [("mxint8", Rounding.SR), ("nvfp4", Rounding.SR)]


@pytest.mark.sampled
@pytest.mark.parametrize(("name", "mode"), STOCHASTIC, ids=name_of)
@pytest.mark.parametrize("random_bits", [5, 32])
def test_stochastic_modes_with_given_words(name, mode, random_bits):
    fmt = replace(CATALOG[name], block=8)
    x = tricky(fmt, np.float32, random_bits)
    words = np.random.default_rng(0).integers(0, 1 << random_bits, x.shape)
    words.ravel()[::7], words.ravel()[3::7] = 0, (1 << random_bits) - 1
    check(fmt, x, mode, random_bits=random_bits, words=words)


@pytest.mark.parametrize(
    ("name", "random_bits"), [("mxfp8_e4m3", 20), ("mxfp4_e2m1", 22), ("nvfp4", 16), ("nvfp4", 22)]
)
def test_words_as_short_as_what_is_dropped(name, random_bits):
    fmt = replace(CATALOG[name], block=8)
    assert compiled_row(fmt, Rounding.SR, Overflow.SATURATE, random_bits, FLOAT32).form & modes.LIFTED
    assert not compiled_row(fmt, Rounding.SR, Overflow.SATURATE, 23, FLOAT32).form & modes.LIFTED
    x = tricky(fmt, np.float32, random_bits)
    words = np.random.default_rng(0).integers(0, 1 << random_bits, x.shape)
    words.ravel()[::7], words.ravel()[3::7] = 0, (1 << random_bits) - 1
    check(fmt, x, Rounding.SR, random_bits=random_bits, words=words)


@pytest.mark.sampled
@pytest.mark.parametrize("name", ["mxfp4_e2m1", "nvfp4"])
@pytest.mark.parametrize("random_bits", [8, 32])
@pytest.mark.parametrize("shape", [(3, 101), (2, 5000)])
def test_words_belong_to_elements_in_c_order(name, random_bits, shape):
    fmt = CATALOG[name]
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    words = random_words(x.size, random_bits, seed=7, stream=3, offset=11).reshape(x.shape)
    for axis, block in ((-1, 16), (-1, 10**6), (0, 2)):
        quantizer = Quantizer(replace(fmt, block=block), Rounding.SR, random_bits=random_bits, axis=axis)
        drawn = quantizer.quantize(x, seed=7, stream=3, offset=11)
        assert_same_bits(drawn, quantizer.quantize(x, words=words))
    parts = [
        q.quantize(x[i], seed=7, stream=3, offset=11 + i * shape[1])
        for i, q in enumerate(
            [Quantizer(replace(CATALOG["mxfp4_e2m1"], block=16), Rounding.SR, random_bits=random_bits)] * shape[0]
        )
    ]
    whole = Quantizer(replace(CATALOG["mxfp4_e2m1"], block=16), Rounding.SR, random_bits=random_bits)
    assert_same_bits(whole.quantize(x, seed=7, stream=3, offset=11), np.stack(parts))


@pytest.mark.parametrize("name", ["mxint8", "bfp4_16", "bfp12_16", "mxfp8_e4m3", "mxfp4_e2m1"])
def test_elements_at_both_ends_of_the_carrier(name):
    """Where the quick way of rounding stops, and the general one takes over: the power that it adds ends before the scales."""
    fmt = replace(parse_format(name), block=5)
    parts = np.array([1.9, 1.3, 1.01, -0.77, 0.0101])
    for dtype, exponents in ((np.float32, [*range(-135, -90), *range(100, 128)]), (np.float64, range(110, 135))):
        check(fmt, np.ldexp(parts, np.array(exponents)[:, None]).astype(dtype), codes=True)


# The exponent of a scale for every exponent of a maximum, at every fraction where one of the rules changes.
@pytest.mark.parametrize("element", [catalog.E2M1, catalog.E4M3, catalog.E5M2, catalog.MXINT8_ELEMENT], ids=str)
@pytest.mark.parametrize("rule", POWERS, ids=name_of)
def test_every_exponent_of_a_maximum(element, rule):
    edges = [0, 1 << 22, 3 << 21, 7 << 20, 15 << 19, 3 << 20, 1 << 16, 127 << 16, (1 << 23) - 1]
    fractions = sorted({(e + d) % (1 << 23) for e in edges for d in (-1, 0, 1)})
    patterns = (np.arange(255, dtype=np.uint32)[:, None] << 23) | np.array(fractions, np.uint32)
    subnormals = [1 << s for s in range(23)] + [(1 << s) - 1 for s in range(1, 24)] + [(3 << s) - 1 for s in range(22)]
    x = np.concatenate([patterns.ravel(), np.array(subnormals, np.uint32)]).view(np.float32)
    fmt = BlockFormat(element, catalog.E8M0, 1, rule=rule)
    codes = Quantizer(fmt).encode(x).scales.astype(int)
    fraction, exponent = np.frexp(x.astype(np.float64))  # exact: x = fraction * 2**exponent, fraction in [1/2, 1)
    top_fraction, top = np.frexp(element.max)
    kept = element.precision - 1 if isinstance(element, FixedFormat) else element.mantissa_bits
    raised = {
        ScaleRule.FLOOR: np.zeros(x.shape, bool),
        ScaleRule.CEIL: fraction > 0.5,
        ScaleRule.EVEN: fraction >= 1 - 2.0 ** -(kept + 2),
        ScaleRule.NEVER_CLIP: fraction > top_fraction,
    }[rule]
    wanted = np.clip(exponent - int(top) + raised, -127, 128 - int(top))
    assert (codes == np.where(x == 0, 0, wanted + 127)).all()
    sample = np.random.default_rng(0).choice(x[x > 0], 300)
    exact = [oracle.shared_exponent(oracle.Fraction(float(v)), fmt, 127) for v in sample]
    assert (Quantizer(fmt).encode(sample).scales.astype(int) - 127 == exact).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_elements_of_a_block_are_rounded_as_alone(dtype):
    """Every bfloat16 below 8 beside an anchor of 4: under FLOOR the scale is 1, so elements are those of E2M1 itself."""
    values = (np.arange(0x4100, dtype=np.uint32) << 16).view(np.float32).astype(dtype)
    x = np.stack([np.full_like(values, 4), values], axis=1)
    found = Quantizer(BlockFormat(catalog.E2M1, catalog.E8M0, 2)).quantize(x)[:, 1]
    assert_same_bits(found, Quantizer(catalog.E2M1).quantize(values), values)


def test_a_maximum_just_below_a_power_of_two_keeps_its_exponent():
    """float32's log2 rounds up there: microxcaling and brevitas give 8 and flush the rest (0.5 becomes 0)."""
    x = np.array([np.nextafter(np.float32(8), np.float32(0))] + [0.5] * 31, np.float32)
    assert Quantizer(catalog.MXFP4_E2M1).quantize(x).tolist() == [6.0] + [0.5] * 31
    for exponent in (-126, -100, -1, 0, 64, 127):
        below = np.nextafter(np.float32(2.0**exponent), np.float32(0))
        assert Quantizer(catalog.MXFP8_E4M3).encode(below.reshape(1)).scales[0] == max(exponent - 1 - 8 + 127, 0)


@pytest.mark.parametrize(
    ("name", "top", "inside"), [("mxfp8_e4m3", 448, 512), ("mxfp4_e2m1", 6, 8), ("mxfp6_e2m3", 7.5, 8)]
)
def test_the_floor_rule_saturates_the_top_of_the_binade(name, top, inside):
    fmt = CATALOG[name]
    x = np.linspace(top, inside, 40, endpoint=False, dtype=np.float32)[1:, None] * np.float32(2.0**-20)
    assert (Quantizer(fmt).quantize(x) == top * 2.0**-20).all()
    never = Quantizer(replace(fmt, rule=ScaleRule.NEVER_CLIP), Rounding.RTZ, Overflow.ERROR)
    assert (never.quantize(x) <= x).all()
    with pytest.raises(OverflowError, match=r"at element 0 is beyond the largest element under the scale"):
        Quantizer(fmt, Rounding.RTP, Overflow.ERROR).quantize(x)


@pytest.mark.parametrize("name", CATALOG)
def test_blocks_of_zeros(name):
    fmt = CATALOG[name]
    x = np.zeros((2, 33), np.float32)
    x[0, ::3] = -0.0
    quantizer = Quantizer(fmt)
    signed = isinstance(fmt.element, FloatFormat)
    assert_same_bits(quantizer.quantize(x), x if signed else np.zeros_like(x))
    codes = quantizer.encode(x)
    assert (codes.scales == 0).all()
    assert codes.tensor_scale == (0 if fmt.tensor_scale else 1)
    assert_same_bits(quantizer.decode(codes, dtype=np.float32), quantizer.quantize(x))


def nvfp4_in_numpy(x):
    """The stated float32 sequence, with ml_dtypes' own roundings to E4M3 and E2M1: (elements, scales, tensor scale)."""
    f32 = np.float32
    with np.errstate(all="ignore"):
        s_tensor = np.abs(x).max() / f32(6 * 448)
        blocks = x.reshape(-1, 16)
        ratio = (np.abs(blocks).max(axis=1) / f32(6)) / s_tensor
        s_block = np.minimum(ratio, f32(448)).astype(ml_dtypes.float8_e4m3fn)
        d = s_block.astype(f32) * s_tensor
        quotient = np.where(d[:, None] == 0, np.copysign(f32(0), blocks), blocks / d[:, None])
        elements = np.clip(quotient, f32(-6), f32(6)).astype(ml_dtypes.float4_e2m1fn)
    return elements, s_block, s_tensor, (elements.astype(f32) * d[:, None]).reshape(x.shape)


@pytest.mark.parametrize("scale", [1.0, 1e-30, 3e34, 2.0**-120])
def test_nvfp4_is_the_stated_sequence(scale):
    rng = np.random.default_rng(int(abs(np.log2(scale))))
    x = (rng.standard_normal((64, 256)) * np.exp2(rng.integers(-24, 8, (64, 1))) * scale).astype(np.float32)
    x[:, ::17] *= np.float32(0)
    x[3, :32] = 0
    elements, scales, tensor, values = nvfp4_in_numpy(x)
    quantizer = Quantizer(catalog.NVFP4)
    codes = quantizer.encode(x)
    assert codes.tensor_scale == tensor
    assert (codes.scales.ravel() == scales.view(np.uint8)).all()
    assert (codes.scales == 0).any()
    assert (codes.elements.reshape(-1, 16) == elements.view(np.uint8)).all()
    assert_same_bits(quantizer.quantize(x), values)


def test_nvfp4_at_the_top_of_float32_and_beyond():
    largest = np.finfo(np.float32).max
    x = np.full(16, largest, np.float32)
    check(catalog.NVFP4, x, codes=True)
    assert np.isfinite(Quantizer(catalog.NVFP4).quantize(x)).all()
    wide = np.array([1e300, -3.0, 2e38, 0.0] * 8)
    check(catalog.NVFP4, wide, codes=True)
    assert abs(Quantizer(catalog.NVFP4).quantize(wide)).max() <= largest
    tiny = np.array([2.0**-139, -(2.0**-149), 0.0] * 8, np.float32)  # the tensor scale rounds to zero
    check(catalog.NVFP4, tiny, codes=True)
    assert_same_bits(Quantizer(catalog.NVFP4).quantize(tiny), np.copysign(np.float32(0), tiny))
    check(catalog.NVFP4, np.array([2.0**-137, 2.0**-140, 2.0**-149] * 8, np.float32), codes=True)


def test_a_float64_array_of_float32_numbers_gives_the_same_codes():
    x = tricky(catalog.NVFP4, np.float32, 5)
    for name in CATALOG:
        narrow, wide = (Quantizer(CATALOG[name]).encode(x.astype(t)) for t in (np.float32, np.float64))
        assert (narrow.elements == wide.elements).all()
        assert (narrow.scales == wide.scales).all()


# NaN and infinity.
@pytest.mark.sampled
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("overflow", [Overflow.SATURATE, Overflow.PROPAGATE, Overflow.IEEE], ids=name_of)
@pytest.mark.parametrize("name", ["mxfp8_e5m2", "mxfp8_e4m3", "two_levels"])
def test_specials_in_elements_that_have_them(name, overflow, dtype):
    fmt = replace(ALL[name], block=4)
    x = np.array([1, np.nan, 3, -5, np.inf, 1, 2, 3, -np.inf, np.nan, 0, 1, 7, -7.75, 1e-3, 500], dtype)
    check(fmt, x, overflow=overflow, codes=True)
    found = Quantizer(fmt, overflow=overflow).quantize(x)
    assert np.isnan(found[[1, 9]]).all()
    if name != "two_levels":  # there the infinity and 500 share the tensor scale
        assert found[3] == -5


@pytest.mark.parametrize("name", ["mxfp4_e2m1", "mxint8", "nvfp4"])
def test_a_nan_takes_its_block_where_only_the_scale_can_hold_it(name):
    fmt = replace(ALL[name], block=4)
    x = np.array([1, np.nan, 3, -5, 1, 1, 2, 3, -np.inf, 0, 0, 1, 7], np.float32)
    check(fmt, x, codes=True)
    found, codes = Quantizer(fmt).quantize(x), Quantizer(fmt).encode(x)
    assert np.isnan(found).tolist() == [True] * 4 + [False] * 9
    assert codes.elements[:4].tolist() == [0] * 4
    assert codes.scales[0] == fmt.scale.nan_code
    assert found[8] == -found[8:12].max() or found[8] < -1e38
    with pytest.raises(ValueError, match=r"^NaN at element 1: .* has no NaN in elements or scales"):
        Quantizer(replace(fmt, scale=FloatFormat(5, 2, infinities=False, nan=NONE))).quantize(x)


def test_an_infinity_that_is_clamped_counts_as_the_largest_number():
    x = np.array([np.inf, 1e38, 1.0, -np.inf], np.float32)
    assert Quantizer(catalog.MXFP4_E2M1).quantize(x).tolist() == [6 * 2.0**125, 2.0**126, 0.0, -6 * 2.0**125]
    kept = Quantizer(catalog.MXFP8_E5M2, overflow=Overflow.PROPAGATE).quantize(x[[0, 2]])
    assert kept.tolist() == [np.inf, 1.0]
    with pytest.raises(OverflowError, match=r"^inf at element 0 "):
        Quantizer(catalog.MXFP4_E2M1, overflow=Overflow.ERROR).quantize(x)


# Layouts.
def test_a_short_last_block_has_its_own_scale():
    x = np.array([[1.0] * 32 + [1e-6, 2e-6]], np.float32)
    codes = Quantizer(catalog.MXFP4_E2M1).encode(x)
    assert codes.scales.shape == (1, 2)
    assert codes.scales[0, 0] - codes.scales[0, 1] == 19
    for length in (1, 15, 31, 33, 47):
        check(catalog.MXFP4_E2M1, tricky(catalog.MXFP4_E2M1, np.float32)[:3, :length], codes=True)


@pytest.mark.parametrize("name", ["mxfp8_e4m3", "nvfp4"])
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_any_axis_is_the_last_one_of_the_transposed_array(name, axis):
    x = np.random.default_rng(2).standard_normal((5, 37, 6)).astype(np.float32)
    fmt = replace(CATALOG[name], block=4)
    along, last = Quantizer(fmt, axis=axis), Quantizer(fmt)
    wanted = np.moveaxis(last.quantize(np.moveaxis(x, axis, -1)), -1, axis)
    assert_same_bits(along.quantize(x), wanted)
    codes = along.encode(x)
    shape = list(x.shape)
    shape[axis] = -(-shape[axis] // 4)
    assert codes.scales.shape == tuple(shape)
    assert_same_bits(along.decode(codes, dtype=np.float32), wanted)
    out = np.full_like(x, np.nan)
    assert along.quantize(x, out=out) is out
    assert_same_bits(out, wanted)
    strided = np.empty((5, 74, 12), np.float32)[:, ::2, ::2]
    strided[...] = x
    assert_same_bits(along.quantize(strided), wanted)
    assert_same_bits(along.quantize(x.copy("F")), wanted)
    assert along.quantize(x, out=x) is x
    assert_same_bits(x, wanted)


@pytest.mark.parametrize("name", ["mxfp4_e2m1", "nvfp4"])
@pytest.mark.parametrize("block", [1, 3, 100_000, 2**40])
def test_blocks_of_one_and_of_everything(name, block):
    x = np.random.default_rng(3).standard_normal((2, 70_001)).astype(np.float32)
    fmt = replace(CATALOG[name], block=block)
    quantizer = Quantizer(fmt)
    small = x[:, :50].copy()
    check(fmt, small)
    found = quantizer.quantize(x)
    if block > x.shape[1]:
        assert_same_bits(found, Quantizer(replace(fmt, block=x.shape[1])).quantize(x))
        assert quantizer.encode(x).scales.shape == (2, 1)
    else:
        assert_same_bits(found[:, : block * 5], quantizer.quantize(x)[:, : block * 5])
    assert_same_bits(quantizer.decode(quantizer.encode(x), dtype=np.float32), found)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3)])
def test_empty_arrays(shape):
    x = np.zeros(shape, np.float32)
    for name in ("mxfp4_e2m1", "nvfp4"):
        quantizer = Quantizer(CATALOG[name])
        assert quantizer.quantize(x).shape == shape
        codes = quantizer.encode(x)
        assert (codes.elements.shape, codes.scales.shape) == (
            shape,
            (*shape[:-1], -(-shape[-1] // quantizer.fmt.block)),
        )
        assert quantizer.decode(codes).shape == shape


@pytest.mark.parametrize("name", ["mxfp4_e2m1", "nvfp4"])
def test_pieces_of_the_work_give_the_same_bits(name, monkeypatch):
    """Rows of no whole number of blocks, cut at every third block, and in groups of other sizes."""
    x = np.random.default_rng(4).standard_normal((7, 45)).astype(np.float32)
    fmt = replace(CATALOG[name], block=8)
    quantizer, stochastic = Quantizer(fmt), Quantizer(fmt, Rounding.SR)
    whole, drawn = quantizer.quantize(x), stochastic.quantize(x, seed=5)

    def run(part, total, grain):
        return [part(start, min(start + 3, total)) for start in range(0, total, 3)]

    monkeypatch.setattr("numerics.blocks.threads.run", run)
    assert_same_bits(quantizer.quantize(x), whole)
    assert_same_bits(stochastic.quantize(x, seed=5), drawn)
    assert kernels.GROUP % 32 == 0


# Unbiasedness: a scale that never clips is what stochastic rounding needs.
def test_the_mean_over_all_words_is_the_value_unless_it_clips():
    x = np.array([7.0, 5.5, -2.75, 0.375, -0.125, 3.5, 1.0, 0.0], np.float32)
    words = np.repeat(np.arange(256)[:, None], 8, axis=1)
    stacked = np.repeat(x[None], 256, axis=0)
    for rule in (ScaleRule.NEVER_CLIP, ScaleRule.CEIL):
        fmt = BlockFormat(catalog.E2M1, catalog.E8M0, 8, rule=rule)
        quantizer = Quantizer(fmt, Rounding.SR, random_bits=8)
        assert (quantizer.quantize(stacked, words=words).astype(np.float64).mean(axis=0) == x).all()
    floor = Quantizer(replace(catalog.MXFP4_E2M1, block=8), Rounding.SR, random_bits=8)
    assert floor.quantize(stacked, words=words).astype(np.float64).mean(axis=0)[0] == 6.0  # 7 is clipped


@pytest.mark.parametrize("bias", [-20, 1, 7, 20, 40])
def test_the_largest_tensor_scale_is_the_oracles(bias):
    """Elements below 1 once left the limit to the block scale's own product, ulp by ulp, without end."""
    element = FloatFormat(3, 2, bias, infinities=False, nan=NONE)
    fmt = BlockFormat(element, catalog.E4M3, 4, rule=ScaleRule.RATIO, tensor_scale=True)
    assert largest_tensor_scale(fmt) == oracle.tensor_limit(fmt)
    check(fmt, np.array([3e38, -1.0, 0.0, 1e-30] * 2, np.float32), codes=True)
