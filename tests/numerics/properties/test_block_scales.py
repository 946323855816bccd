"""Functions of blocks that are wrong under some scales alone, at some places, in some shapes, for some words, or by chance."""

import numpy as np
import pytest

from numerics import (
    BlockFormat,
    FixedFormat,
    Overflow,
    Quantizer,
    Rounding,
    ScaleRule,
    catalog,
    parse_format,
    reference,
)
from numerics.properties import ClaimError, as_quantizer, checks
from numerics.properties.block_cases import scale_rows, special_rows, words_for
from numerics.properties.block_law import block_law
from tests.sampling import one_in

MX, NV = parse_format("mxfp4_e2m1"), parse_format("nvfp4")
SR = Rounding.SR
FORMATS = [
    MX,
    NV,
    catalog.MXINT8,
    catalog.bfp(6, 4),
    BlockFormat(catalog.E2M1, catalog.E4M3, 5, rule=ScaleRule.RATIO),
    BlockFormat(catalog.E3M2, catalog.E5M2, 3, rule=ScaleRule.CEIL),
    BlockFormat(catalog.E5M2, catalog.E8M0, 6, rule=ScaleRule.EVEN),
    BlockFormat(FixedFormat(5, 2), catalog.BFLOAT16, 1, rule=ScaleRule.RATIO),
]


UNSIGNED = BlockFormat(FixedFormat(4, signed=False), catalog.E4M3, 8, rule=ScaleRule.RATIO, tensor_scale=True)


def ours(fmt, mode=Rounding.RNE, bits=None, **more):
    return as_quantizer(Quantizer(fmt, mode, random_bits=bits, **more))


def same(a, b):
    return (a == b) & (np.signbit(a) == np.signbit(b)) | np.isnan(a) & np.isnan(b)


@pytest.mark.sampled
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("mode", "bits"), [(Rounding.RNE, None), (Rounding.RTP, None), (SR, 5)])
@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_the_law_is_the_oracle(fmt, mode, bits, dtype):
    q = as_quantizer(Quantizer(fmt, mode, random_bits=bits), dtype=dtype, limit=64)
    for rows in (scale_rows(q), special_rows(q)):
        some = rows[:: max(1, len(rows) // 6)]
        law = block_law(q, some)
        words = words_for(q, law) if bits else None
        wanted = reference.quantize(some, q.ideal, words=words)
        assert same(wanted, law.low if words is None else law.under(words, bits)).all()
        assert words is None or (law.ups >= 0).all()


def within(low, high):
    return lambda x: (np.abs(x) > low) & (np.abs(x) < high)


SIZES = [(2.0**20, 2.0**30), (2.0**-16, 2.0**-15), (2.0**60, 2.0**70), (2.0**-110, 2.0**-90), (2.0**120, np.inf)]


@pytest.mark.sampled
@pytest.mark.parametrize("fmt", [MX, catalog.MXFP8_E4M3, catalog.MXINT8, catalog.bfp(4, 16)], ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_numbers_of_one_size(fmt, size):
    right, where = Quantizer(fmt), within(*size)

    def fn(x):
        return np.where(where(x), 0, right.quantize(x)).astype(x.dtype)

    with pytest.raises(ClaimError, match="every_scale: under one scale"):
        checks.every_scale(as_quantizer(fn, fmt=fmt))


@pytest.mark.sampled
@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("exponent", [-127, -126, -64, 0, 17, 124])
def test_one_element_under_one_scale(code, negative, exponent):
    right = Quantizer(MX)
    value = np.float32(catalog.E2M1.decode(np.array([code]))[0] * 2.0**exponent * (-1 if negative else 1))

    def fn(x):
        result = right.quantize(x)
        return np.where((result == value) & (x != value), value / 2, result)

    with pytest.raises(ClaimError, match="every_scale: "):
        checks.every_scale(as_quantizer(fn, fmt=MX))


@pytest.mark.sampled
@pytest.mark.parametrize("fmt", [MX, catalog.MXINT8, BlockFormat(catalog.E3M2, catalog.E4M3, 4, rule=ScaleRule.RATIO)])
@pytest.mark.parametrize("word", [0, 1, 8, 14, 15])
def test_one_word_of_one_sign(fmt, word):
    right = Quantizer(fmt, SR, random_bits=4)

    def fn(x, words):
        other = np.where((words == word) & (x < 0), word ^ 1, words)
        return right.quantize(x, words=other.astype(np.uint32))

    with pytest.raises(ClaimError, match="every_scale: "):
        checks.every_scale(as_quantizer(fn, fmt=fmt, rounding=SR, random_bits=4))


SPECIAL = {
    "NaN to zero": lambda x, y: np.where(np.isnan(x), 0, y),
    "the block of a NaN": lambda x, y: np.where(np.isnan(y) & ~np.isnan(x), 0, y),
    "a NaN in the first place": lambda x, y: np.where(np.isnan(x[..., :1]), 0, y),
    "a NaN in the last place": lambda x, y: np.where(np.isnan(x[..., -1:]), 0, y),
    "infinity": lambda x, y: np.where(np.isposinf(x), 0, y),
    "minus infinity": lambda x, y: np.where(np.isneginf(x), -y, y),
}


@pytest.mark.parametrize("fmt", [MX, NV, catalog.MXFP8_E5M2], ids=str)
@pytest.mark.parametrize("spoil", SPECIAL.values(), ids=SPECIAL)
def test_specials(fmt, spoil):
    right = Quantizer(fmt)

    def fn(x):
        return spoil(x, right.quantize(x)).astype(x.dtype)

    if fmt == catalog.MXFP8_E5M2 and spoil is SPECIAL["the block of a NaN"]:
        assert checks.block_specials(as_quantizer(fn, fmt=fmt)).cases  # an element that is NaN leaves others alone
        return
    with pytest.raises(ClaimError, match="block_specials: "):
        checks.block_specials(as_quantizer(fn, fmt=fmt))


SHAPES = {
    **{f"length {n}": (lambda x, n=n: np.broadcast_to(x.shape[-1] == n, x.shape)) for n in (1, 2, 31, 32, 33, 65, 129)},
    "rows 4 and up": lambda x: np.arange(x.shape[0]).reshape(-1, *[1] * (x.ndim - 1)) >= (4 if x.ndim == 2 else 99),
    "row 200": lambda x: np.arange(x.shape[0]).reshape(-1, *[1] * (x.ndim - 1)) == (200 if x.ndim == 2 else -1),
    "a last short block of 5": lambda x: np.broadcast_to(x.shape[-1] % 32 == 5, x.shape),
    "one dimension": lambda x: np.broadcast_to(x.ndim == 1, x.shape),
    "three dimensions": lambda x: np.broadcast_to(x.ndim == 3, x.shape),
    "not in C order": lambda x: np.broadcast_to(not x.flags.c_contiguous, x.shape),
}


@pytest.mark.parametrize("where", SHAPES.values(), ids=SHAPES)
def test_shapes(where):
    right = Quantizer(MX)

    def fn(x):
        return np.where(where(x), 0, right.quantize(x)).astype(x.dtype)

    with pytest.raises(ClaimError, match="any_blocks: "):
        checks.any_blocks(as_quantizer(fn, fmt=MX))


@pytest.mark.parametrize("axis", [0, -2, 1])
def test_blocks_along_another_axis_are_whole_blocks(axis):
    right = Quantizer(MX, axis=axis)

    def fn(x):
        result = right.quantize(x)
        return np.where(x.shape[axis] > 32, np.roll(result, 1, axis=axis), result)

    with pytest.raises(ClaimError, match="block_decision: ") as error:
        checks.block_decision(as_quantizer(fn, fmt=MX, axis=axis))
    line = error.value.details["reproduce"]
    seen = float(error.value.details["seen"].split()[0])
    assert eval(line, {"fn": fn, "np": np}).flat[0] == seen or seen in np.asarray(eval(line, {"fn": fn, "np": np}))


@pytest.mark.parametrize("size", [(2.0**20, 2.0**30), (2.0**-16, 2.0**-15), (2.0**-140, 2.0**-130), (2.0**120, np.inf)])
def test_a_tensor_of_one_magnitude(size):
    right, where = Quantizer(NV), within(*size)

    def fn(x):
        return (right.quantize(x) * np.float32(0 if where(np.abs(x).max(initial=0)) else 1)).astype(x.dtype)

    with pytest.raises(ClaimError, match="tensor_scales: "):
        checks.tensor_scales(as_quantizer(fn, fmt=NV))


def sampler(fmt, bits=8, spoil=lambda words, x: words):
    right, source = Quantizer(fmt, SR, random_bits=bits), np.random.default_rng(7)

    def fn(x):
        words = source.integers(0, 1 << bits, x.shape)
        return right.quantize(x, words=np.asarray(spoil(words, x)).astype(np.uint32))

    return as_quantizer(fn, fmt=fmt, rounding=SR, random_bits=bits, sampler=True)


@pytest.mark.parametrize("fmt", one_in(2, FORMATS[:-1]), ids=str)
def test_what_right_blocks_draw(fmt):
    assert checks.block_draws(sampler(fmt)).cases > 10_000


DRAWN = {
    "never up": lambda words, x: np.zeros_like(words),
    "one word in eight lost": lambda words, x: np.where(words >= 224, 0, words),
    "one place": lambda words, x: np.where(np.arange(x.shape[-1]) == 3, 0, words),
    "one sign": lambda words, x: np.where(x < 0, words // 2, words),
    "one word for a row": lambda words, x: np.broadcast_to(words[..., :1], x.shape),
    "small numbers": lambda words, x: np.where(np.abs(x) < 2.0**-20, 0, words),
}


@pytest.mark.parametrize("fmt", [MX, NV], ids=str)
@pytest.mark.parametrize("spoil", DRAWN.values(), ids=DRAWN)
def test_what_wrong_blocks_draw(fmt, spoil):
    if fmt is NV and spoil is DRAWN["small numbers"]:
        spoil = lambda words, x: np.where(np.abs(x) < 0.25, 0, words)  # noqa: E731
    with pytest.raises(ClaimError, match="block_draws: "):
        checks.block_draws(sampler(fmt, spoil=spoil))


@pytest.mark.sampled
@pytest.mark.parametrize("overflow", [Overflow.SATURATE, Overflow.PROPAGATE, Overflow.ERROR])
@pytest.mark.parametrize("fmt", [MX, FORMATS[3], FORMATS[4], UNSIGNED], ids=str)
def test_right_ones_are_not_accused(fmt, overflow):
    q = ours(fmt, overflow=overflow)
    for check in (checks.block_decision, checks.every_scale, checks.block_specials, checks.any_blocks):
        check(q)


def test_blocks_that_do_not_lie_in_order_are_told_by_that_claim_alone():
    right = Quantizer(MX)

    def fn(x):
        return right.quantize(x) if x.flags.c_contiguous else np.zeros_like(x)

    q = as_quantizer(fn, fmt=MX)
    assert checks.every_scale(q).cases
    with pytest.raises(ClaimError, match="any_blocks: in Fortran order") as error:
        checks.any_blocks(q)
    found = eval(error.value.details["reproduce"], {"fn": fn, "np": np})
    assert found == float(error.value.details["seen"].split()[0])
