"""ml_dtypes: the same values for every code of every shared format, the same float32 conversions to nearest even.

Its conversions from float64 go through float32 and round twice, so they are no peer: that is shown by an example.
"""

import numpy as np
import pytest

from numerics import FloatFormat, NanEncoding, Overflow, Quantizer, catalog, reference
from tests.numerics import grids

ml_dtypes = pytest.importorskip("ml_dtypes")

FNUZ, TOP = NanEncoding.NEGATIVE_ZERO, NanEncoding.TOP_CODE
# Overflow as the peer has it: infinity or NaN where the format has one, else the largest value.
SHARED = {
    "float8_e4m3fn": (catalog.E4M3, Overflow.IEEE),
    "float8_e5m2": (catalog.E5M2, Overflow.IEEE),
    "float8_e4m3fnuz": (catalog.E4M3FNUZ, Overflow.IEEE),
    "float8_e5m2fnuz": (catalog.E5M2FNUZ, Overflow.IEEE),
    "float8_e4m3b11fnuz": (FloatFormat(4, 3, 11, infinities=False, nan=FNUZ), Overflow.IEEE),
    "float8_e4m3": (FloatFormat(4, 3), Overflow.IEEE),
    "float8_e3m4": (FloatFormat(3, 4), Overflow.IEEE),
    "float6_e2m3fn": (catalog.E2M3, Overflow.SATURATE),
    "float6_e3m2fn": (catalog.E3M2, Overflow.SATURATE),
    "float4_e2m1fn": (catalog.E2M1, Overflow.SATURATE),
    "bfloat16": (catalog.BFLOAT16, Overflow.IEEE),
}


def values_of(codes, name):
    return codes.view(getattr(ml_dtypes, name)).astype(np.float32)


@pytest.mark.parametrize(("name", "fmt"), [(name, fmt) for name, (fmt, _) in SHARED.items()], ids=SHARED)
def test_value_tables(name, fmt):
    codes = np.arange(1 << fmt.bits, dtype=np.uint8 if fmt.bits <= 8 else np.uint16)
    ours, theirs = Quantizer(fmt).decode(codes, dtype=np.float32), values_of(codes, name)
    assert np.array_equal(ours, theirs, equal_nan=True)
    zeros = ours == 0
    assert (np.signbit(ours[zeros]) == np.signbit(theirs[zeros])).all()


@pytest.mark.parametrize(("name", "case"), SHARED.items(), ids=SHARED)
def test_float32_to_nearest_even(name, case):
    fmt, overflow = case
    quantizer = Quantizer(fmt, overflow=overflow)
    drawn = np.random.default_rng(0).integers(1 << 32, size=50_000, dtype=np.uint32).view(np.float32)
    near = np.random.default_rng(1).uniform(-2, 2, 50_000) * min(fmt.max, 1e30)
    specials = np.array([np.inf, -np.inf, np.nan], np.float32)
    x = np.concatenate([grids.edges(fmt, np.float32), drawn, near.astype(np.float32), specials])
    if not fmt.has_nan:
        x = x[~np.isnan(x)]
    with np.errstate(over="ignore", invalid="ignore"):
        theirs = x.astype(getattr(ml_dtypes, name)).astype(np.float32)
    ours = quantizer.quantize(x)
    assert np.array_equal(ours, theirs, equal_nan=True)
    number = ~np.isnan(theirs)
    assert (np.signbit(ours[number]) == np.signbit(theirs[number])).all()


def test_the_peer_rounds_float64_twice():
    # 1 + 2**-4 + 2**-30 lies above the midpoint of 1 and 1.125; rounded to float32 first it becomes the midpoint.
    x = np.array([1 + 2.0**-4 + 2.0**-30])
    assert Quantizer(catalog.E4M3).quantize(x)[0] == reference.quantize(x, Quantizer(catalog.E4M3))[0] == 1.125
    assert float(x.astype(ml_dtypes.float8_e4m3fn)[0]) == 1.0


def test_float16_is_numpys():
    quantizer = Quantizer(catalog.BINARY16, overflow=Overflow.IEEE)
    rng = np.random.default_rng(2)
    for dtype, unsigned in ((np.float32, np.uint32), (np.float64, np.uint64)):
        drawn = rng.integers(np.iinfo(unsigned).max, size=100_000, dtype=unsigned, endpoint=True).view(dtype)
        near = (rng.standard_normal(100_000) * np.exp2(rng.integers(-26, 18, 100_000))).astype(dtype)
        x = np.concatenate([grids.edges(catalog.BINARY16, dtype), drawn, near]).astype(dtype)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            theirs = x.astype(np.float16)
        assert np.array_equal(quantizer.quantize(x), theirs.astype(dtype), equal_nan=True)
        number = ~np.isnan(x)
        assert (quantizer.encode(x)[number] == theirs[number].view(np.uint16)).all()


def test_float32_is_numpys():
    quantizer = Quantizer(catalog.BINARY32, overflow=Overflow.IEEE)
    rng = np.random.default_rng(3)
    drawn = rng.integers(np.iinfo(np.uint64).max, size=100_000, dtype=np.uint64, endpoint=True).view(np.float64)
    near = rng.standard_normal(100_000) * np.exp2(rng.integers(-152, 130, 100_000))
    x = np.concatenate([grids.edges(catalog.BINARY32, np.float64, 1 << 9), drawn, near])
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        theirs = x.astype(np.float32)
    assert np.array_equal(quantizer.quantize(x), theirs.astype(np.float64), equal_nan=True)
    number = ~np.isnan(x)
    assert (quantizer.encode(x)[number] == theirs[number].view(np.uint32)).all()
