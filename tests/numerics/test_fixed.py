"""Fixed point against the oracle, against exact float64 steps where it takes too long, and by hand.

Every member, midpoint and neighbour of formats of up to 16 bits; 64-bit codes in Python's integers.
"""

import re
from fractions import Fraction
from functools import cache

import numpy as np
import pytest

from numerics import FixedFormat, Overflow, Quantizer, Rounding, catalog, parse_format, random_words, reference, spec
from tests.numerics.grids import MODES, assert_same_bits, rises, threshold
from tests.sampling import one_in

R = Rounding
NARROW = {
    "int4": catalog.INT4,
    "int8": catalog.INT8,
    "uint8": parse_format("uint8"),
    "mxint8_element": catalog.MXINT8_ELEMENT,
    "symmetric": FixedFormat(5, 1, symmetric=True),
    "two_bits_symmetric": FixedFormat(2, symmetric=True),
    "coarse": FixedFormat(6, -3),
    "fraction_beyond_the_bits": FixedFormat(5, 9),
    "one_bit": FixedFormat(1, signed=False),
}
WIDE = {"int16": catalog.INT16, "s16.8": parse_format("s16.8"), "symmetric_16": FixedFormat(16, 3, symmetric=True)}
FORMATS = NARROW | WIDE
BOTH_TYPES = (R.RNE, R.RTP, R.SR)  # in the others float32 goes the same way; each costs another compilation
RANDOM_BITS = 6


def name_of(member):
    return member.name


def rules(fmt):
    return [Overflow.SATURATE, Overflow.PROPAGATE, *([] if fmt.symmetric else [Overflow.WRAP])]


@cache
def points(fmt, dtype=np.float64):
    """All members, midpoints and quarters and four steps more at either end, each with its neighbours; far beyond."""
    low, high = fmt.lowest_integer, fmt.largest_code
    quarters = np.arange(4 * (low - 4), 4 * (high + 4) + 1) if fmt.bits <= 8 else np.arange(2 * low - 8, 2 * high + 9)
    on_grid = np.ldexp(quarters.astype(np.float64), -fmt.fraction_bits - (2 if fmt.bits <= 8 else 1)).astype(dtype)
    tiny = np.finfo(dtype).smallest_subnormal
    far = np.array([fmt.max * 2.0**k * 1.37 for k in (1, 2, 7, 20, 23, 24, 30, 52, 53, 60, 64, 70, 100)], dtype)
    far = np.append(far, np.array([tiny, 5 * tiny, np.finfo(dtype).tiny, 2.0**70, 1e38], dtype))
    far = np.append(far, dtype(1e300)) if dtype is np.float64 else far
    around = [np.nextafter(on_grid, dtype(end)) for end in (np.inf, -np.inf)]
    x = np.append(np.unique(np.concatenate([on_grid, *around, far, -far])), np.array([0.0, -0.0], dtype))
    return x if fmt.signed else x[x >= 0]


def steps_of(x, fmt):
    """(floor of |x| in grid steps, what is left of it): exact, but that no part of a step is less than 2**-1074."""
    magnitude = np.abs(x.astype(np.float64))
    steps = np.maximum(np.ldexp(magnitude, fmt.fraction_bits), np.where(magnitude > 0, 5e-324, 0.0))
    return np.floor(steps), steps - np.floor(steps)


def deciding_words(x, fmt, mode, random_bits):
    """In turn the words on either side of an element's decision, the least and the largest."""
    end = 1 << random_bits
    k = threshold(steps_of(x, fmt)[1], mode, random_bits)
    turns = np.stack([end - k, end - k - 1, np.zeros(x.size), np.full(x.size, end - 1)])
    return np.clip(turns[np.arange(x.size) % 4, np.arange(x.size)], 0, end - 1).astype(np.uint32)


def integers_of(x, fmt, mode, overflow, words=None, random_bits=None):
    """The definition in float64 integers, all steps exact: int64 [...]."""
    below, fraction = steps_of(x, fmt)
    negative = x < 0
    up = rises(fraction, np.fmod(below, 2) == 1, negative, mode, words, random_bits)
    integers = np.where(negative, -(below + up), below + up)
    if overflow is not Overflow.WRAP:
        return np.clip(integers, fmt.lowest_integer, fmt.largest_code).astype(np.int64)
    whole = 1 << fmt.bits
    within = np.fmod(integers, whole).astype(np.int64) % whole
    return np.where(within > fmt.largest_code, within - whole, within)


def check(fmt, mode, overflow, dtype, random_bits=RANDOM_BITS):
    """quantize and, where its loop is worth a compilation, encode: the wanted values, and those that the codes have."""
    x = points(fmt, dtype)
    given = {"words": deciding_words(x, fmt, mode, random_bits)} if mode.stochastic else {}
    quantizer = Quantizer(fmt, mode, overflow, random_bits if mode.stochastic else None)
    integers = integers_of(x, fmt, mode, overflow, given.get("words"), random_bits)
    values = np.ldexp(integers.astype(np.float64), -fmt.fraction_bits).astype(dtype)
    assert_same_bits(quantizer.quantize(x, **given), values, x)
    narrow_saturating = fmt.bits <= 8 and overflow is not Overflow.WRAP and dtype is np.float64
    if narrow_saturating or (mode in (R.RNE, R.SR) and dtype is np.float64):
        codes = quantizer.encode(x, **given)
        assert codes.dtype == (np.uint8 if fmt.bits <= 8 else np.uint16)
        assert (codes == integers % (1 << fmt.bits)).all()
        assert_same_bits(quantizer.decode(codes, dtype=dtype), values, x)
    return x, quantizer, given, values


# --- codes and values


@pytest.mark.parametrize("fmt", FORMATS.values(), ids=FORMATS)
def test_every_code_round_trips(fmt):
    codes = np.arange(1 << fmt.bits)
    integers = np.where(codes > fmt.largest_code, codes - (1 << fmt.bits), codes)
    values = np.ldexp(integers.astype(np.float64), -fmt.fraction_bits)
    quantizer = Quantizer(fmt)
    assert fmt.integers(codes).tolist() == integers.tolist()
    assert list(fmt.codepoints()) == codes.tolist()
    assert_same_bits(fmt.decode(codes), values)
    assert_same_bits(quantizer.decode(codes), values)
    assert_same_bits(quantizer.decode(codes.astype(np.uint16), dtype=np.float32), values.astype(np.float32))
    some = slice(None, None, 1 if fmt.bits <= 8 else 13)  # the oracle takes microseconds a value
    assert [reference.decode_code(code, fmt) for code in codes[some].tolist()] == values[some].tolist()
    assert [fmt.decode(code) for code in (0, 1, fmt.largest_code)] == [0.0, fmt.quantum, fmt.max]
    members = codes[integers >= fmt.lowest_integer]
    assert members.size == codes.size - fmt.symmetric
    assert quantizer.encode(values[members]).tolist() == members.tolist()
    assert_same_bits(quantizer.quantize(values[members]), values[members])
    assert (values[members].min(), values.max()) == (fmt.min, fmt.max)
    assert [reference.encode_value(float(v), fmt) for v in values[members][some]] == members[some].tolist()
    if fmt.symmetric:  # only decoding knows the unused code
        unused = 1 << (fmt.bits - 1)
        assert values[unused] == fmt.min - fmt.quantum == -fmt.max - fmt.quantum
        assert quantizer.encode(values[[unused]]).tolist() == [unused + 1]
        assert quantizer.quantize(values[[unused]]).tolist() == [fmt.min]


def test_members_by_hand():
    assert [(f.min, f.max, f.quantum) for f in (catalog.INT4, catalog.INT8)] == [(-8, 7, 1), (-128, 127, 1)]
    assert (catalog.INT16.min, catalog.INT16.max) == (-32768, 32767)
    assert (WIDE["s16.8"].min, WIDE["s16.8"].max, WIDE["s16.8"].quantum) == (-128, 128 - 2**-8, 2**-8)
    assert (catalog.MXINT8_ELEMENT.min, catalog.MXINT8_ELEMENT.max) == (-127 / 64, 127 / 64)
    assert (NARROW["uint8"].min, NARROW["uint8"].max, NARROW["coarse"].max) == (0, 255, 31 * 8)
    assert catalog.INT8.decode([0, 1, 127, 128, 129, 255]).tolist() == [0, 1, 127, -128, -127, -1]
    assert WIDE["s16.8"].decode([0x0180, 0x7FFF, 0x8000, 0xFF80]).tolist() == [1.5, 127.99609375, -128, -0.5]
    assert catalog.MXINT8_ELEMENT.decode([0x40, 0x80, 0x81, 0xC0]).tolist() == [1, -2, -127 / 64, -1]


def test_names_and_text():
    assert parse_format("int8") is catalog.INT8
    assert parse_format("u8.3") == FixedFormat(8, 3, signed=False) != parse_format("s8.3")
    assert parse_format("s8.-3") == FixedFormat(8, -3)
    assert parse_format("uint12") == FixedFormat(12, signed=False)
    assert (str(FixedFormat(8, 3)), str(FixedFormat(8, -3, signed=False))) == ("s8.3", "u8.-3")
    assert FixedFormat(8, 6) != FixedFormat(8, 6, symmetric=True) == catalog.MXINT8_ELEMENT
    for fmt in FORMATS.values():
        for record in (fmt, Quantizer(fmt, R.SR_B, random_bits=9)):
            assert spec.loads(spec.dumps(record)) == record


# --- rounding


@pytest.mark.sampled
@pytest.mark.parametrize("mode", MODES, ids=name_of)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("turn", range(3))
@pytest.mark.parametrize("fmt", NARROW.values(), ids=NARROW)
def test_every_point_of_narrow_formats_is_rounded_as_by_the_oracle(fmt, turn, dtype, mode):
    known = rules(fmt)[:: 1 if mode is R.RNE else 2]  # PROPAGATE is SATURATE here
    dtype = dtype if mode in BOTH_TYPES else np.float64
    x, quantizer, given, values = check(fmt, mode, known[turn % len(known)], dtype)
    # The oracle has the last word: on all points of small formats, some of the others.
    chosen = slice(None) if fmt.bits <= 5 else np.random.default_rng(fmt.bits).permutation(x.size)[:300]
    words = {name: array[chosen] for name, array in given.items()}
    assert_same_bits(values[chosen], reference.quantize(x[chosen], quantizer, **words), x[chosen])
    if mode is R.RNE and dtype is np.float64:
        assert (quantizer.encode(x[chosen]) == reference.encode(x[chosen], quantizer)).all()


@pytest.mark.sampled
@pytest.mark.parametrize("mode", one_in(2, MODES), ids=name_of)
@pytest.mark.parametrize("fmt", WIDE.values(), ids=WIDE)
def test_every_point_of_16_bit_formats(fmt, mode):
    for overflow in rules(fmt)[:: 1 if mode is R.RNE else 2]:
        check(fmt, mode, overflow, np.float64, 19)
        if mode in BOTH_TYPES:
            check(fmt, mode, overflow, np.float32)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode.stochastic], ids=name_of)
@pytest.mark.parametrize("overflow", [Overflow.SATURATE, Overflow.WRAP], ids=name_of)
def test_every_word(overflow, mode):
    fmt, random_bits = catalog.INT4, 3
    x = np.arange(-80, 81) / 8 + np.array([[0], [1 / 32], [1 / 16], [3 / 32]])
    x, words = (a.ravel() for a in np.broadcast_arrays(x[..., None], np.arange(1 << random_bits)))
    quantizer = Quantizer(fmt, mode, overflow, random_bits)
    found = quantizer.quantize(x, words=words)
    assert_same_bits(found, reference.quantize(x, quantizer, words=words), x)
    if mode is R.SR:  # without further bits the mean over all words is the value
        means = found.reshape(-1, 1 << random_bits).mean(axis=1)
        inside = (np.abs(x[:: 1 << random_bits]) <= 7) & (x[:: 1 << random_bits] * 8 % 1 == 0)
        assert inside.sum() == 113
        assert (means == x[:: 1 << random_bits])[inside].all()


def test_modes_by_hand():
    x = np.array([0.5, 1.5, 2.5, 2.25, 2.75, -0.5, -1.5, -2.5, -2.25, 6.75, 7.5, -8.5])
    wanted = {
        R.RNE: [0, 2, 2, 2, 3, 0, -2, -2, -2, 7, 7, -8],
        R.RNA: [1, 2, 3, 2, 3, -1, -2, -3, -2, 7, 7, -8],
        R.RTZ: [0, 1, 2, 2, 2, 0, -1, -2, -2, 6, 7, -8],
        R.RTP: [1, 2, 3, 3, 3, 0, -1, -2, -2, 7, 7, -8],
        R.RTN: [0, 1, 2, 2, 2, -1, -2, -3, -3, 6, 7, -8],
        R.RTO: [1, 1, 3, 3, 3, -1, -1, -3, -3, 7, 7, -8],
    }
    for mode, values in wanted.items():
        assert_same_bits(Quantizer(catalog.INT4, mode).quantize(x), np.array(values, np.float64))
    # RNE rounds 7.5 to 8 and -8.5 to -8; RTO to 7 and -9; the top wraps after it was rounded
    for mode, ends in ((R.RNE, [-8, -8]), (R.RTO, [7, 7]), (R.RTP, [-8, -8]), (R.RTN, [7, 7])):
        assert Quantizer(catalog.INT4, mode, Overflow.WRAP).quantize(x[-2:]).tolist() == ends


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("mode", BOTH_TYPES, ids=name_of)
def test_no_zero_has_a_sign(mode, dtype):
    for overflow in (Overflow.SATURATE, Overflow.WRAP):
        quantizer = Quantizer(catalog.INT8, mode, overflow, RANDOM_BITS if mode.stochastic else None)
        x = np.array([-0.0, -0.25, -np.finfo(dtype).tiny, -np.finfo(dtype).smallest_subnormal], dtype)
        x = np.append(x, dtype([-256, -(2.0**70)])) if overflow is Overflow.WRAP else x
        given = {"words": np.zeros(x.size, np.uint32)} if mode.stochastic else {}
        assert_same_bits(quantizer.quantize(x, **given), np.zeros(x.size, dtype))


def test_seeds_give_what_their_words_give():
    x = points(catalog.INT8)
    for random_bits in (5, 13, 32):
        quantizer = Quantizer(catalog.INT8, R.SR, random_bits=random_bits)
        words = random_words(x.size, random_bits, seed=5, stream=6, offset=7)
        assert_same_bits(quantizer.quantize(x, seed=5, stream=6, offset=7), quantizer.quantize(x, words=words))


# --- overflow and specials


def test_wrapping_by_hand():
    x = np.array([127.5, 128, 129, 255, 256, 383.5, -128.5, -129, -256, -257, 2.0**70, -(2.0**70), 1e300, -1e300])
    quantizer = Quantizer(catalog.INT8, overflow=Overflow.WRAP)
    assert_same_bits(quantizer.quantize(x), np.array([-128, -128, -127, -1, 0, -128, -128, 127, 0, -1, 0, 0, 0, 0.0]))
    assert quantizer.encode(x).tolist() == [128, 128, 129, 255, 0, 128, 128, 127, 0, 255, 0, 0, 0, 0]
    unsigned = Quantizer(NARROW["uint8"], overflow=Overflow.WRAP)
    assert unsigned.quantize(np.array([255.5, 256, 257.5, 511, 2.0**70, 1e300])).tolist() == [0, 0, 2, 255, 0, 0]
    s16_8 = Quantizer(WIDE["s16.8"], overflow=Overflow.WRAP)
    assert s16_8.quantize(np.array([128, 127.999, -128.01, 1e300])).tolist() == [-128, -128, 127.98828125, 0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_cannot_wrap_is_named_and_not_what_wraps(dtype):
    quantizer = Quantizer(catalog.INT8, overflow=Overflow.WRAP)
    for apply in (quantizer.quantize, quantizer.encode):
        with pytest.raises(ValueError, match="NaN at element 1: int8 has no NaN"):
            apply(np.array([300.0, np.nan, np.inf], dtype))
        with pytest.raises(OverflowError, match="-inf at element 1 cannot wrap"):
            apply(np.array([300.0, -np.inf, np.nan], dtype))


@pytest.mark.parametrize("fraction_bits", [-900, -880, -64, -5, 0, 30, 900])
def test_wrapping_of_huge_values(fraction_bits):
    """Numbers whose low bits lie where the format has its own, and 2**70 and 1e300."""
    rng = np.random.default_rng(fraction_bits + 1000)
    x = np.ldexp(rng.uniform(0.5, 1, 2000), rng.integers(-5, 100, 2000) - fraction_bits)
    x = np.concatenate([x, -x, [2.0**70, -(2.0**70), 1e300, -1e300]])
    for bits in (8, 16):
        fmt = FixedFormat(bits, fraction_bits)
        quantizer = Quantizer(fmt, overflow=Overflow.WRAP)
        codes = quantizer.encode(x)
        assert codes.tolist() == [_nearest(value, fmt) % (1 << bits) for value in x.tolist()]
        assert_same_bits(quantizer.quantize(x), fmt.decode(codes), x)


def _nearest(value, fmt):
    """The integer of grid steps, ties to even."""
    return round(Fraction(value) * Fraction(2) ** fmt.fraction_bits)


@pytest.mark.parametrize("name", ["int8", "uint8", "mxint8_element", "symmetric"])
def test_an_error_names_its_element(name):
    fmt = NARROW[name]
    quantizer = Quantizer(fmt, overflow=Overflow.ERROR)
    inside = np.array([0, fmt.quantum, fmt.max, fmt.min, fmt.max + 0.499 * fmt.quantum])
    assert_same_bits(quantizer.quantize(inside), Quantizer(fmt).quantize(inside))
    step = fmt.quantum
    below = [fmt.min - step, fmt.min - 0.501 * step, -np.inf] if fmt.signed else []
    # half a step above the top goes to the even neighbour, which is beyond: the largest integer is odd
    for beyond in (fmt.max + 0.5 * step, fmt.max + step, 1e300, np.inf, *below):
        limit = f"{fmt.max!r}, the largest" if beyond > 0 else f"{fmt.min!r}, the lowest"
        sentence = re.escape(f"{beyond!r} at element 2 is beyond {limit} value of {fmt}")
        with pytest.raises(OverflowError, match=sentence):
            quantizer.quantize(np.array([0, fmt.max, beyond, beyond]))
        with pytest.raises(OverflowError):
            reference.round_value(beyond, fmt, overflow=Overflow.ERROR)
    if fmt.signed:  # half a step below the lowest: down to -128.5 goes to -128, but -127.5 to -128
        middle = np.array([fmt.min - 0.5 * step])
        if fmt.symmetric:
            with pytest.raises(OverflowError):
                quantizer.quantize(middle)
        else:
            assert quantizer.quantize(middle).tolist() == [fmt.min]


def test_an_error_is_the_first_of_a_long_array_and_leaves_the_callers_as_it_was():
    x = np.zeros((3, 100_000))
    x[1, 77_777:] = -129
    x[2, 5] = 1e300
    out = np.full(x.shape, 3.0)
    with pytest.raises(OverflowError, match=r"-129\.0 at element 177777 is beyond -128\.0, the lowest value of int8"):
        Quantizer(catalog.INT8, overflow=Overflow.ERROR).quantize(x, out=out)
    assert (out == 3).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_nan_and_infinities(dtype):
    for fmt in (catalog.INT8, NARROW["uint8"], catalog.MXINT8_ELEMENT, WIDE["s16.8"]):
        ends = np.array([np.inf, -np.inf] if fmt.signed else [np.inf], dtype)
        for overflow in rules(fmt):
            quantizer = Quantizer(fmt, overflow=overflow)
            with pytest.raises(ValueError, match=r"NaN at element 2: .* has no NaN; replace it"):
                quantizer.quantize(np.array([0, 1, np.nan, np.nan], dtype))
            with pytest.raises(ValueError, match=r"NaN in .*, which has none"):
                reference.round_value(np.nan, fmt, overflow=overflow)
            if overflow is Overflow.WRAP:
                for end in ends:
                    with pytest.raises(OverflowError, match=r"inf at element 1 cannot wrap: clip the input first"):
                        quantizer.quantize(np.array([1000, end, end], dtype))
                    with pytest.raises(OverflowError):
                        reference.round_value(float(end), fmt, overflow=overflow)
                continue
            wanted = np.array([fmt.max, fmt.min][: ends.size], dtype)
            assert_same_bits(quantizer.quantize(ends), wanted)
            assert_same_bits(reference.quantize(ends, quantizer), wanted)
    for overflow in (Overflow.SATURATE, Overflow.WRAP):
        with pytest.raises(ValueError, match=r"NaN at element 1: int8 has no NaN"):
            Quantizer(catalog.INT8, overflow=overflow).encode(np.array([0, np.nan]))
    assert Quantizer(catalog.INT8).encode(np.array([np.inf, -np.inf])).tolist() == [0x7F, 0x80]
    assert Quantizer(catalog.MXINT8_ELEMENT).encode(np.array([np.inf, -np.inf])).tolist() == [0x7F, 0x81]


def test_unsigned_formats_refuse_negatives():
    quantizer = Quantizer(NARROW["uint8"])
    for method in (quantizer.quantize, quantizer.encode):
        for value in (-1.0, -5e-324, -np.inf):
            with pytest.raises(ValueError, match=rf"{value} at element 1: uint8 is unsigned and has no NaN; clip"):
                method(np.array([0, value, value]))
        assert method(np.array([-0.0])).tobytes() == method(np.array([0.0])).tobytes()
    with pytest.raises(ValueError, match=r"unsigned, and no NaN"):
        reference.round_value(-1.0, NARROW["uint8"])


# --- more than 16 bits

LONG = {
    "s64": FixedFormat(64),
    "u64": FixedFormat(64, signed=False),
    "s64.60": FixedFormat(64, 60),
    "u64.-20": FixedFormat(64, -20, signed=False),
    "symmetric": FixedFormat(64, 10, symmetric=True),
    "s54": FixedFormat(54),
    "u53.3": FixedFormat(53, 3, signed=False),
    "s33": FixedFormat(33, 16),
}


def long_points(fmt):
    rng = np.random.default_rng(fmt.bits)
    drawn = rng.uniform(0.5, 1, 3000) * 2.0 ** rng.integers(-3, fmt.bits + 60, 3000)
    powers = 2.0 ** np.array([0, 1, 31, 32, 52, 53, 61, 62, 63, 64, 65, 70, 100])
    near = np.array([float(fmt.largest_code), float(fmt.largest_code - 1), 2.0**fmt.precision, 2.0**fmt.bits])
    x = np.concatenate([powers, near, [0.5, 1.5, 2.5, 2.0**52 - 0.5, 2.0**51 + 0.5]])
    x = np.concatenate([x, np.nextafter(x, np.inf), np.nextafter(x, 0), drawn, [0.0]])
    x = np.append(np.ldexp(x, -fmt.fraction_bits), [1e300, 2.0**70])
    return np.concatenate([x, -x]) if fmt.signed else x


@pytest.mark.parametrize("fmt", LONG.values(), ids=LONG)
def test_codes_of_up_to_64_bits_are_those_of_integers(fmt):
    x = long_points(fmt)
    integers = [_nearest(value, fmt) for value in x.tolist()]
    whole = 1 << fmt.bits
    saturated = [min(max(i, fmt.lowest_integer), fmt.largest_code) for i in integers]
    codes = Quantizer(fmt).encode(x)
    assert codes.dtype == np.uint64
    assert codes.tolist() == [i % whole for i in saturated]
    assert fmt.integers(codes).tolist() == saturated
    if not fmt.symmetric:
        assert Quantizer(fmt, overflow=Overflow.WRAP).encode(x).tolist() == [i % whole for i in integers]
    if fmt.precision <= 53:
        for overflow in rules(fmt):
            quantizer = Quantizer(fmt, overflow=overflow)
            assert_same_bits(quantizer.quantize(x), quantizer.decode(quantizer.encode(x)), x)
            assert_same_bits(quantizer.quantize(x)[::5], reference.quantize(x[::5], quantizer), x[::5])


@pytest.mark.parametrize("mode", one_in(2, [R.RNE, R.RTP]), ids=name_of)
@pytest.mark.parametrize("bits", [3, 8, 22])
def test_grids_at_the_top_of_float32(bits, mode):
    """On steps above 2**104 no float32 number has the step for its ulp, which the quick way of rounding adds."""
    for fraction_bits in (-125, -120, -106, -105, -104, -103, -60):
        if bits - 1 - fraction_bits > 127:
            continue
        fmt, step = FixedFormat(bits, fraction_bits), np.float32(2.0**-fraction_bits)
        parts = np.array([1e-30, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 3.75], np.float32)
        with np.errstate(over="ignore"):
            x = np.append(parts * step, np.array([1e-45, 1e-38, 3e38, 3.4028235e38], np.float32))
        x = np.concatenate([x[np.isfinite(x)], -x[np.isfinite(x)]])
        quantizer = Quantizer(fmt, mode)
        found = quantizer.quantize(x)
        assert_same_bits(found, reference.quantize(x, quantizer).astype(np.float32), x)
        assert_same_bits(quantizer.decode(quantizer.encode(x), dtype=np.float32), found, x)


@pytest.mark.sampled
@pytest.mark.parametrize("bits", [23, 24, 25, 32])
@pytest.mark.parametrize("mode", [R.RNE, R.RTP], ids=name_of)
def test_the_first_number_beyond_the_lowest_value_is_an_error(bits, mode):
    quantizer = Quantizer(FixedFormat(bits), mode, Overflow.ERROR)
    for dtype in (np.float32, np.float64):
        lowest = np.array([-(2.0 ** (bits - 1))], dtype)
        beyond = np.minimum(np.nextafter(lowest, dtype(-np.inf)), lowest - dtype(1))
        if bits <= 25 or dtype is np.float64:
            assert quantizer.quantize(lowest)[0] == lowest[0]
            for call in (quantizer.quantize, quantizer.encode):
                with pytest.raises(OverflowError, match="at element 0 is beyond"):
                    call(beyond)


def test_64_bit_codes_by_hand():
    last, end = (1 << 64) - 1, 1 << 63
    x = np.array([1, -1, 2.0**62, 2.0**63 - 1024, 2.0**63, -(2.0**63), -(2.0**63) - 2048, 2.0**64, 1e300, -1e300])
    assert Quantizer(LONG["s64"]).encode(x).tolist() == [
        *(1, last, 1 << 62, end - 1024, end - 1, end, end, end - 1, end - 1, end),
    ]
    assert Quantizer(LONG["s64"], overflow=Overflow.WRAP).encode(x).tolist() == [
        *(1, last, 1 << 62, end - 1024, end, end, end - 2048, 0, 0, 0),
    ]
    x = np.array([0, 1, 2.0**63, 2.0**64 - 2048, 2.0**64, 2.0**64 + 4096, 2.0**116 - 2.0**63, 2.0**70, 1e300])
    assert Quantizer(LONG["u64"]).encode(x).tolist() == [0, 1, end, last - 2047, *[last] * 5]
    wrapped = [0, 1, end, last - 2047, 0, 4096, end, 0, 0]
    assert Quantizer(LONG["u64"], overflow=Overflow.WRAP).encode(x).tolist() == wrapped
    assert Quantizer(LONG["symmetric"]).encode(np.array([-1e300, 1e300])).tolist() == [end + 1, end - 1]
    codes = np.array([0, end - 1, end, last], np.uint64)
    assert LONG["s64"].integers(codes).tolist() == [0, end - 1, -end, -1]
    assert LONG["u64"].integers(codes).tolist() == [0, end - 1, end, last]


@pytest.mark.parametrize(
    "fmt", [FixedFormat(32), FixedFormat(32, 7, signed=False), FixedFormat(31, 40), FixedFormat(24)]
)
def test_codes_of_17_to_32_bits(fmt):
    x = long_points(fmt)
    for overflow in rules(fmt):
        quantizer = Quantizer(fmt, overflow=overflow)
        codes = quantizer.encode(x)
        assert codes.dtype == np.uint32
        assert codes[::5].tolist() == reference.encode(x[::5], quantizer).tolist()
        assert_same_bits(quantizer.quantize(x), quantizer.decode(codes), x)


def test_values_that_floats_do_not_hold_are_refused():
    for fmt in (LONG["s64"], LONG["u64"], FixedFormat(55), FixedFormat(54, signed=False)):
        sentence = rf"has values of {fmt.precision} bits, float64 holds 53: use integers\(codes\)"
        for codes in (3, [3], np.array([3], np.uint64)):
            with pytest.raises(ValueError, match=sentence):
                fmt.decode(codes)
        for method, array in ((Quantizer(fmt).quantize, np.ones(1)), (Quantizer(fmt).decode, np.ones(1, np.uint64))):
            with pytest.raises(ValueError, match=r"has values that float64 does not hold"):
                method(array)
    for method in (Quantizer(FixedFormat(26)).quantize, Quantizer(FixedFormat(26)).encode):
        with pytest.raises(ValueError, match=r"s26\.0 has values that float32 does not hold: use float64"):
            method(np.ones(1, np.float32))
    assert FixedFormat(54).decode([(1 << 53) - 1, 1 << 53, (1 << 54) - 1]).tolist() == [2**53 - 1, -(2**53), -1]
    x = np.array([2.0**24 - 1, -(2.0**24), 2.0**24 + 2], np.float32)
    assert Quantizer(FixedFormat(25)).quantize(x).tolist() == [2**24 - 1, -(2**24), 2**24 - 1]
