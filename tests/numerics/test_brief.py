"""The short way of calls on few elements gives the bits, and the sentences, of the general one."""

from dataclasses import replace

import numpy as np
import pytest

from numerics import (
    Accumulator,
    BlockCodes,
    BlockFormat,
    FixedFormat,
    FloatFormat,
    Overflow,
    Quantizer,
    Rounding,
    ScaleRule,
    brief,
    brief_blocks,
    brief_products,
    brief_units,
    catalog,
    matmul,
    parse_format,
    reference,
)
from tests.sampling import but_at_night

R = Rounding
QUANTIZERS = {
    "e4m3": Quantizer(catalog.E4M3),
    "e5m2 SR": Quantizer(catalog.E5M2, R.SR),
    "binary16 RTZ, IEEE": Quantizer(catalog.BINARY16, R.RTZ, Overflow.IEEE),
    "fixed": Quantizer(FixedFormat(8, 4)),
    "wrapping": Quantizer(FixedFormat(8, 4), overflow=Overflow.WRAP),
    "posit": Quantizer(parse_format("posit8")),
}
LBA = Accumulator(
    parse_format("lba_m7e4_b10_paper"), R.RTZ, product=Quantizer(parse_format("lba_m7e4_b12_paper"), R.RTZ), chunk=4
)
SUMS = {
    "binary16": Accumulator(catalog.BINARY16),
    "binary32": Accumulator(catalog.BINARY32, R.RNE, Overflow.IEEE),
    "LBA": LBA,
    "pairwise": Accumulator(catalog.BINARY16, order="pairwise"),
    "pairwise, blocks": Accumulator(catalog.BFLOAT16, order="pairwise", block=2, product=Quantizer(catalog.BINARY16)),
    "Kahan": Accumulator(catalog.BFLOAT16, order="kahan"),
    "exact": Accumulator(catalog.BINARY16, order="exact"),
    "exact, toward zero": Accumulator(catalog.E5M2, R.RTZ, Overflow.IEEE, order="exact"),
    "exact, on a grid": Accumulator(FixedFormat(16, 8), R.RTP, order="exact"),
    "limits at every step": Accumulator(FixedFormat(16, 30)),
    "limits of few bits": Accumulator(FixedFormat(8, 4)),
    "rounded steps": Accumulator(FixedFormat(24, 6), R.RTN),
    "rounded to odd": Accumulator(FixedFormat(20, 2), R.RNA),
    "wrapping": Accumulator(FixedFormat(12, 40), overflow=Overflow.WRAP),
    "wrapping, rounded": Accumulator(FixedFormat(12, 4), overflow=Overflow.WRAP),
    "a tree of integers": Accumulator(FixedFormat(16, 6), order="pairwise", block=2),
    "rounded products": Accumulator(FixedFormat(16, 8), product=Quantizer(FixedFormat(12, 6))),
}
DRAWN = {
    "words in blocks": Accumulator(catalog.BINARY16, R.SR, random_bits=12, chunk=8),
    "words laid out": Accumulator(catalog.BFLOAT16, R.SR_B, random_bits=8),
    "pairwise": Accumulator(catalog.BFLOAT16, R.SR, random_bits=16, order="pairwise"),
    "Kahan": Accumulator(catalog.BFLOAT16, R.SR_C, random_bits=5, order="kahan"),
    "exact": Accumulator(catalog.E5M2, R.SR, random_bits=12, order="exact"),
    "fixed": Accumulator(FixedFormat(20, 2), R.SR_B, random_bits=7),
}


UNIT = catalog.MATRIX_UNITS["h100.e4m3.f32"]
#: The vector forms, groups of k, sums of chunks, and units that round at each step, in float32 and float64.
UNITS = {
    "aligned": catalog.MATRIX_UNITS["a100.f16.f32"],
    "two groups": UNIT,
    "late": catalog.MATRIX_UNITS["mi300.f16.f32"],
    "exact": catalog.MATRIX_UNITS["mi210.bf16.f32"],
    "chunks": replace(UNIT, chunk=8, outer=Accumulator(catalog.BINARY32)),
    "truncated": catalog.MATRIX_UNITS["a100.tf32.f32"],
    "pairwise": catalog.MATRIX_UNITS["mi100.f16.f32"],
    "chain": catalog.MATRIX_UNITS["a100.f64.f64"],
}


def array(*shape, dtype=np.float32, scale=1.0, seed=3):
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(dtype)


def generally(call, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(brief, "ELEMENTS", -1)
        patch.setattr(brief_products, "MULTIPLICATIONS", -1)
        patch.setattr(brief_units, "MULTIPLICATIONS", -1)
        return call()


def same(first, second):
    assert type(first) is type(second)
    assert (first.dtype, first.shape, first.tobytes()) == (second.dtype, second.shape, second.tobytes())


@pytest.mark.sampled
@pytest.mark.parametrize("name", but_at_night(QUANTIZERS, ["wrapping"]))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_and_codes(name, dtype, monkeypatch):
    quantizer = QUANTIZERS[name]
    keys = {"seed": 7, "stream": 2**64 - 1, "offset": 5} if quantizer.stochastic else {}
    for x in (array(4, 4, dtype=dtype, scale=3), array(6, 4, dtype=dtype).T, array(2, 0, dtype=dtype), dtype(1.3)[...]):
        for call in (quantizer.quantize, quantizer.encode):
            assert name == "wrapping" or brief.rounded(quantizer, x, keys.get("seed"), 0, 0) is not None
            same(call(x, **keys), generally(lambda call=call, x=x: call(x, **keys), monkeypatch))
        codes = quantizer.encode(x, **keys)
        for lie in (codes, codes.T):
            values = brief.decoded(quantizer, lie, np.dtype(dtype))
            same(values, generally(lambda lie=lie: quantizer.decode(lie, dtype=dtype), monkeypatch))


BLOCKS = {
    "mxfp4": Quantizer(parse_format("mxfp4_e2m1")),
    "mxfp8 SR": Quantizer(parse_format("mxfp8_e5m2"), R.SR, random_bits=8),
    "mxint8 RTP": Quantizer(parse_format("mxint8"), R.RTP),
    "nvfp4": Quantizer(parse_format("nvfp4")),
    "nvfp4 SR": Quantizer(parse_format("nvfp4"), R.SR),
    "never clip": Quantizer(BlockFormat(catalog.E2M1, catalog.E8M0, 4, rule=ScaleRule.NEVER_CLIP)),
    "quotients": Quantizer(BlockFormat(catalog.E4M3, catalog.E5M2, 5, rule=ScaleRule.RATIO)),
    "strict": Quantizer(BlockFormat(catalog.E2M1, catalog.E8M0, 4, rule=ScaleRule.NEVER_CLIP), overflow=Overflow.ERROR),
}


@pytest.mark.sampled
@pytest.mark.parametrize("name", but_at_night(BLOCKS, ["never clip", "nvfp4"]))
@pytest.mark.parametrize("dtype", but_at_night([np.float32, np.float64], [np.float64]))
def test_values_and_codes_in_blocks(name, dtype, monkeypatch):
    quantizer = BLOCKS[name]
    keys = {"seed": 7, "stream": 2**64 - 1, "offset": 5} if quantizer.stochastic else {}
    seed = keys.get("seed")
    calm = 1.0 if name == "strict" else 3.0
    for x in (array(3, 32, dtype=dtype, scale=calm), array(2, 3, 37, dtype=dtype), array(40, dtype=dtype) * 0):
        x = np.clip(x, -1.5, 1.5) * np.array(calm, dtype)
        found, codes = quantizer.quantize(x, **keys), quantizer.encode(x, **keys)
        assert brief_blocks.rounded(quantizer, x, seed, 0, 0) is not None
        assert brief_blocks.rounded(quantizer, x, seed, 0, 0, encodes=True) is not None
        assert brief_blocks.decoded(quantizer, codes, np.dtype(dtype)) is not None
        same(found, generally(lambda x=x: quantizer.quantize(x, **keys), monkeypatch))
        expected = generally(lambda x=x: quantizer.encode(x, **keys), monkeypatch)
        same(codes.elements, expected.elements)
        same(codes.scales, expected.scales)
        assert (type(codes.tensor_scale), codes.tensor_scale) == (float, expected.tensor_scale)
        values = quantizer.decode(codes, dtype=dtype)
        same(values, generally(lambda codes=codes: quantizer.decode(codes, dtype=dtype), monkeypatch))
        assert np.array_equal(values, found)


def test_blocks_that_lie_otherwise_take_the_general_way():
    x = array(4, 8)
    assert brief_blocks.rounded(Quantizer(parse_format("mxfp4_e2m1"), axis=0), x, None, 0, 0) is None
    same(BLOCKS["mxfp4"].quantize(x.T), BLOCKS["mxfp4"].quantize(np.ascontiguousarray(x.T)))
    assert brief_blocks.rounded(Quantizer(parse_format("mxfp4_e2m1"), axis=1), x, None, 0, 0) is not None
    for seed, stream, offset in ((-1, 0, 0), (1, -1, 0), (1, 0, 1 << 64), (None, 0, 0), (1.5, 0, 0)):
        assert brief_blocks.rounded(BLOCKS["mxfp8 SR"], x, seed, stream, offset) is None


def read_only(x):
    x = x.copy()
    x.setflags(write=False)
    return x


def unaligned(x):
    room = np.zeros(x.nbytes + 1, np.uint8)
    room[1:] = np.frombuffer(x.tobytes(), np.uint8)
    return room[1:].view(x.dtype).reshape(x.shape)


@pytest.mark.parametrize("lie", [read_only, unaligned, np.asfortranarray], ids=["read-only", "unaligned", "turned"])
def test_operands_that_lie_otherwise_are_copied_for_loops_that_nobody_asks_about_types(lie):
    a, b = (QUANTIZERS["e4m3"].quantize(array(*shape)) for shape in ((3, 8), (8, 2)))
    for x in (a, b):
        assert not lie(x).flags.carray
    for sums in (SUMS["binary16"], SUMS["exact"], SUMS["limits of few bits"], UNIT):
        assert (brief_units.unit_product if sums is UNIT else brief_products.product)(lie(a), lie(b), sums) is not None
        same(matmul(lie(a), lie(b), sums), matmul(a, b, sums))
    for name in ("mxfp4", "nvfp4"):
        assert brief_blocks.rounded(BLOCKS[name], lie(a), None, 0, 0) is not None
        same(BLOCKS[name].quantize(lie(a)), BLOCKS[name].quantize(a))
        same(BLOCKS[name].encode(lie(a)).elements, BLOCKS[name].encode(a).elements)


def test_sentences_in_blocks_are_the_general_ones(monkeypatch):
    quantizer = BLOCKS["never clip"]
    infinite, missing = array(2, 8), array(2, 8)
    infinite[1, 2], missing[0, 3] = np.inf, np.nan
    strict, fine = BLOCKS["strict"], quantizer.encode(array(2, 8))
    wide = BlockCodes(fine.elements | np.uint8(16), fine.scales, 1.0)
    short = BlockCodes(fine.elements, fine.scales[:, :1], 1.0)
    last = BlockCodes(np.full((1, 16), 7, np.uint8), np.array([[0xFE]], np.uint8), 1.0)
    wide_float32 = BlockFormat(catalog.E5M2, catalog.E8M0, 16)
    for call in (
        lambda: strict.quantize(infinite),
        lambda: strict.encode(infinite),
        lambda: BLOCKS["mxint8 RTP"].quantize(missing),
        lambda: Quantizer(BlockFormat(catalog.E2M1, catalog.E5M2, 4, rule=ScaleRule.RATIO)).quantize(infinite),
        lambda: BLOCKS["nvfp4"].quantize(infinite),
        lambda: quantizer.decode(wide),
        lambda: quantizer.decode(short),
        lambda: quantizer.decode((fine.elements, fine.scales)),
        lambda: Quantizer(wide_float32).decode(last, dtype=np.float32),
        lambda: BLOCKS["mxfp8 SR"].quantize(infinite),
        lambda: quantizer.quantize(np.float32(1)),
        lambda: quantizer.quantize(np.array(1, np.float32)),
        lambda: quantizer.decode(BlockCodes(fine.elements[0, 0, ...], fine.scales[0, 0, ...], 1.0)),
    ):
        outcomes = []
        for run in (call, lambda call=call: generally(call, monkeypatch)):
            try:
                made = run()
                outcomes.append(made.elements.tobytes() if isinstance(made, BlockCodes) else made.tobytes())
            except (ValueError, TypeError, OverflowError) as error:
                outcomes.append(f"{type(error).__name__} {error}")
        assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.nightly)])
def test_products(name, dtype, monkeypatch):
    sums, taken = SUMS[name], 0
    for exponent in range(-12, 13, 3):
        for depth in (1, 5, 8):
            a, b = (
                QUANTIZERS["e4m3"].quantize(array(*shape, dtype=dtype, scale=2.0**exponent, seed=depth))
                for shape in ((3, depth), (2, depth))
            )
            taken += brief_products.product(a, b.T, sums) is not None
            found = matmul(a, b.T, sums)
            same(found, generally(lambda a=a, b=b: matmul(a, b.T, sums), monkeypatch))
            assert np.array_equal(found, np.array(reference.matmul(a, b.T, sums), dtype).reshape(found.shape))
    assert taken > 20


@pytest.mark.sampled
@pytest.mark.parametrize("name", but_at_night(DRAWN, ["pairwise", "exact", "Kahan"]))
@pytest.mark.parametrize("dtype", but_at_night([np.float32, np.float64], [np.float64]))
def test_products_with_random_words(name, dtype, monkeypatch):
    sums = DRAWN[name]
    for depth in (1, 8, 16):
        a, b = (
            QUANTIZERS["e4m3"].quantize(array(*shape, dtype=dtype, seed=depth)) for shape in ((3, depth), (2, depth))
        )
        keys = {"seed": 2**64 - 1, "stream": 2**63 + 5}
        assert brief_products.product(a, b.T, sums, 2**64 - 1, 2**63 + 5) is not None
        found = matmul(a, b.T, sums, **keys)
        same(found, generally(lambda a=a, b=b, keys=keys: matmul(a, b.T, sums, **keys), monkeypatch))
        assert depth == 1 or not np.array_equal(found, matmul(a, b.T, sums, seed=1))


@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_on_units(name, dtype, monkeypatch):
    unit, taken = UNITS[name], 0
    dtype = np.float64 if name == "chain" else dtype  # what its results want
    for exponent in (-8, -3, 0, 5):
        for depth in (1, 4, 9, 40):
            a, b = (
                Quantizer(fmt).quantize(array(*shape, dtype=dtype, scale=2.0**exponent, seed=depth))
                for fmt, shape in zip(unit.inputs, ((3, depth), (depth, 5)), strict=True)
            )
            b[0, :2], a[0] = (0, -0.0), a[0] * (depth != 9)
            taken += brief_units.unit_product(a, b, unit) is not None
            same(matmul(a, b, unit), generally(lambda a=a, b=b: matmul(a, b, unit), monkeypatch))
    assert taken > 10


@pytest.mark.parametrize("name", ["aligned", "two groups", "late", "exact", "pairwise"])
def test_what_units_are_given_at_the_ends_of_their_formats(name, monkeypatch):
    """Subnormals, the largest values, infinities and NaN; also what is flushed, and what is refused."""
    unit = UNITS[name]
    fmt = unit.inputs[0]
    ends = (
        fmt.max,
        fmt.smallest_normal,
        fmt.smallest_subnormal,
        -0.0,
        np.inf,
        np.nan,
        fmt.max * 2,
        fmt.smallest_normal / 3,
    )
    for end in ends:
        a, b = np.ones((2, 4), np.float32), np.full((4, 3), 0.5, np.float32)
        with np.errstate(over="ignore"):
            a[1, 2] = end
        outcomes = []
        for run in (lambda call: call(), lambda call: generally(call, monkeypatch)):
            try:
                outcomes.append(run(lambda a=a, b=b: matmul(a, b, unit)).tobytes())
            except ValueError as error:
                outcomes.append(str(error))
        assert outcomes[0] == outcomes[1]


def test_random_words_are_asked_for_also_where_nothing_is_rounded():
    ones = np.ones((2, 4), np.float32)
    for sums in DRAWN.values():
        assert np.array_equal(matmul(ones, ones.T, sums, seed=1), np.full((2, 2), 4.0))
        for call, sentence in (
            (lambda sums=sums: matmul(ones, ones.T, sums), "needs random words: give seed="),
            (lambda sums=sums: matmul(ones, ones.T, sums, seed=-1), "seed = -1: give an integer"),
            (lambda sums=sums: matmul(ones, ones.T, sums, seed=1, stream=1 << 64), "stream = 18446744073709551616"),
        ):
            with pytest.raises(ValueError, match=sentence):
                call()
    mixed = Accumulator(catalog.BINARY16, R.SR, product=Quantizer(catalog.BINARY16), order="pairwise")
    assert brief_products.product(ones, ones.T, mixed, 1) is None  # not all of its roundings draw


def test_sums_in_formats_that_float32_lacks_where_float32_products_are_exact():
    a = np.array([[1.0, 3.0, -2.0]])
    for bits in ((11, 50), (11, 23), (8, 24), (9, 10)):
        wide = FloatFormat(*bits)
        for sums in (
            Accumulator(wide),
            Accumulator(wide, R.RTZ, Overflow.IEEE, chunk=2, outer=Accumulator(catalog.BINARY64)),
            Accumulator(catalog.BINARY16, product=Quantizer(wide)),
            Accumulator(wide, R.SR, random_bits=2),
        ):
            found = brief_products.product(a, a.T, sums, 1)
            assert found is not None and found.dtype == np.float64
            assert found.tolist() == matmul(a, a.T, sums, seed=1).tolist() == [[14.0]]


def test_every_zero_and_subnormal_operand(monkeypatch):
    tiny = np.float32(2.0**-149)
    for left in ([0.0, 0.0], [-0.0, 1.0], [tiny, -tiny], [2.0**127, -(2.0**127)], [1.5, tiny], [np.inf, 1.0]):
        for right in ([0.0, -0.0], [1.0, 1.0], [tiny, 3 * tiny], [0.5, 2.0**-20]):
            a, b = np.array([left], np.float32), np.array([right], np.float32).T
            for sums in (SUMS["binary16"], SUMS["LBA"]):
                outcomes = []
                for call in (matmul, lambda *given: generally(lambda: matmul(*given), monkeypatch)):
                    try:
                        outcomes.append(call(a, b, sums).tobytes())
                    except ValueError as error:
                        outcomes.append(str(error))
                assert outcomes[0] == outcomes[1]


def test_a_sum_of_negative_zeros_is_zero(monkeypatch):
    for depth in (1, 2, 3):
        for sums in SUMS.values():
            a, b = np.full((2, depth), -1.0, np.float32), np.zeros((depth, 3), np.float32)
            assert brief_products.product(a, b, sums) is not None
            same(matmul(a, b, sums), generally(lambda a=a, b=b, sums=sums: matmul(a, b, sums), monkeypatch))
            assert np.signbit(matmul(a, b, sums)).all() == (
                not isinstance(sums.format, FixedFormat) and sums.order == "pairwise" and sums.block is None
            )


def test_a_kind_of_operand_covers_its_elements():
    """The bounds that a plan is proved with hold for the operands: by numpy, not by the scan."""
    for dtype, carrier in ((np.float32, brief.FLOAT32), (np.float64, brief.FLOAT64)):
        for scale in (1e-40, 1e-3, 1.0, 1e30):
            x = array(8, dtype=dtype, scale=scale)
            x[3], x[5] = 0.0, np.round(x[5], 2)
            found = brief_products.scan(x.view(carrier.unsigned))
            kinds = brief_products.kinds_of(found, brief_products.scan(x[3:4].view(carrier.unsigned)), carrier)
            bounds, of_zero = brief_products.facts_of_kinds(kinds, carrier)
            assert of_zero[:3] == (1, 0, 0)
            fractions, exponents = np.frexp(x[x != 0].astype(np.float64))
            whole = (fractions * 2**53).astype(np.int64)
            lowest = [int(e) - 54 + int(n & -n).bit_length() for n, e in zip(whole, exponents, strict=True)]
            assert bounds.lowest <= min(lowest) and bounds.highest >= int(exponents.max()) - 1
            assert bounds.largest >= float(np.abs(x).max())
            assert bounds.significant_bits >= max(int(e) - low for e, low in zip(exponents, lowest, strict=True))


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda q, x: q.quantize(x, seed=-1), ValueError, r"seed = -1: give an integer"),
        (lambda q, x: q.quantize(x, stream=2**64), ValueError, r"stream = 18446744073709551616"),
        (lambda q, x: q.quantize(x, offset=0.5), TypeError, r"offset = 0.5"),
        (lambda q, x: QUANTIZERS["e5m2 SR"].quantize(x), ValueError, r"SR needs random words"),
        (lambda q, x: Quantizer(catalog.BINARY64).quantize(x), ValueError, r"use float64 arrays"),
        (lambda q, x: Quantizer(catalog.E2M1).quantize(x / 0), ValueError, r"NaN at element 0"),
        (lambda q, x: Quantizer(catalog.E4M3, overflow=Overflow.ERROR).quantize(x + 1e6), OverflowError, r"1000000"),
        (lambda q, x: QUANTIZERS["wrapping"].quantize(x + np.inf), OverflowError, r"cannot wrap"),
        (lambda q, x: Quantizer(catalog.E4M3).quantize(x.astype(np.float16)), TypeError, r"float16"),
        (lambda q, x: matmul(x / 0, x, SUMS["binary16"]), ValueError, r"a\[0, 0\] is nan"),
        (lambda q, x: matmul(x, x[:1], SUMS["binary16"]), ValueError, r"do not match"),
        (lambda q, x: matmul(x, x, SUMS["binary16"], stream=-1), ValueError, r"stream = -1"),
        (
            lambda q, x: matmul(x + 1024, x + 1024, Accumulator(catalog.BINARY16, overflow=Overflow.ERROR)),
            OverflowError,
            "overflows",
        ),
        (lambda q, x: matmul(x, x, Accumulator(catalog.BINARY64)), ValueError, r"binary64 has values that float32"),
        (lambda q, x: matmul(x, x, Accumulator(FixedFormat(40))), ValueError, r"has values that float32 does not hold"),
        (
            lambda q, x: matmul(x, x, Accumulator(FixedFormat(40), order="exact")),
            ValueError,
            r"has values that float32",
        ),
        (
            lambda q, x: matmul(x + 4, x + 4, Accumulator(FixedFormat(4), overflow=Overflow.ERROR)),
            OverflowError,
            "is outside of -8 to 7",
        ),
        (
            lambda q, x: matmul(x + 448, x + 448, Accumulator(catalog.E4M3, overflow=Overflow.ERROR, order="exact")),
            OverflowError,
            r"output \(0, 0\) overflows",
        ),
        (lambda q, x: matmul(x - 1, x + 1, Accumulator(FixedFormat(4, signed=False))), ValueError, "is unsigned"),
        (lambda q, x: matmul(x + 0.3, x, UNIT), ValueError, r"a\[0, 0\] is 0.3.*, no value of e4m3fn"),
        (lambda q, x: matmul(x, x + 500, UNIT), ValueError, r"b\[0, 0\] is 500.0, no value of e4m3fn"),
        (lambda q, x: matmul(x, x + 2.0**-10, UNIT), ValueError, r"b\[0, 0\] is 0.0009765625, no value of e4m3fn"),
        (lambda q, x: matmul(x, x[:1], UNIT), ValueError, "do not match"),
        (lambda q, x: matmul(x, x, UNIT, seed=1), ValueError, "a MatrixUnit rounds deterministically"),
        (
            lambda q, x: matmul(x, x, catalog.MATRIX_UNITS["a100.f64.f64"]),
            ValueError,
            "binary64 has values that float32",
        ),
        (
            lambda q, x: matmul(x, x, catalog.MATRIX_UNITS["b200.tcgen05.mxf8_e4m3.f32"]),
            ValueError,
            "give scale_a= and scale_b=",
        ),
    ],
)
def test_refusals_are_those_of_the_general_way(call, error, sentence, monkeypatch):
    x = np.zeros((2, 2), np.float32)
    seen = []
    with np.errstate(all="ignore"):
        for way in (
            lambda: call(QUANTIZERS["e4m3"], x),
            lambda: generally(lambda: call(QUANTIZERS["e4m3"], x), monkeypatch),
        ):
            with pytest.raises(error, match=sentence) as caught:
                way()
            seen.append(str(caught.value))
    assert seen[0] == seen[1]


def test_what_is_remembered_stays_bounded(monkeypatch):
    monkeypatch.setattr(brief, "KINDS", 2)
    known = {}
    for key in range(5):
        assert brief.keep(known, key, key) == key
        assert len(known) <= 2
