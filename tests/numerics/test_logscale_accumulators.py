"""Products of codes of logarithms in accumulators of every order and family, against the definition."""

import re

import numpy as np
import pytest

from numerics import Accumulator, FixedFormat, LogFormat, Overflow, Quantizer, Rounding, catalog, logscale
from tests.numerics.test_logscale_matmul import FMT, LUQ, defined, operands
from tests.sampling import one_in

R, Rule = Rounding, Overflow
BINARY16, E5M2, F = catalog.BINARY16, catalog.E5M2, FixedFormat
ORDERS = ("sequential", "pairwise", "kahan", "exact")
WIDE = LogFormat(6, 3, bias=32)


def float_cases():
    for order in ORDERS:
        yield Accumulator(BINARY16, order=order)
        yield Accumulator(E5M2, R.RTN, Rule.IEEE, order=order)
        yield Accumulator(BINARY16, order=order, product=Quantizer(E5M2))
        yield Accumulator(BINARY16, order=order, chunk=4)
        yield Accumulator(catalog.E4M3, order=order, chunk=3, outer=Accumulator(catalog.BINARY32))
        yield Accumulator(BINARY16, order=order, chunk=3, outer=Accumulator(E5M2, order="pairwise"))
    yield Accumulator(BINARY16, order="pairwise", block=3)


def fixed_cases():
    for order in ("sequential", "pairwise", "exact"):
        yield Accumulator(F(24, 8), order=order)
        yield Accumulator(F(12, 4), R.RTN, Rule.WRAP, order=order, product=Quantizer(F(16, 5)))
        yield Accumulator(F(12, 2), order=order, chunk=4)
        yield Accumulator(F(12, 2), order=order, product=Quantizer(F(20, 4)), chunk=4, outer=Accumulator(BINARY16))
        yield Accumulator(F(53, 20), R.RTZ, order=order, product=Quantizer(F(64, 30)))
    yield Accumulator(F(24, 8), order="pairwise", block=3)
    yield Accumulator(BINARY16, chunk=4, outer=Accumulator(F(12, 2), R.RTP))


def name_of(acc):
    parts = [str(acc.format), acc.order, acc.rounding.name, acc.overflow.name]
    parts += [] if acc.product is None else [f"products {acc.product.fmt}"]
    parts += [] if acc.chunk is None else [f"chunks into {acc.combining.format} {acc.combining.order}"]
    return ", ".join([*parts, *(["blocks"] if acc.block else [])])


@pytest.mark.sampled
@pytest.mark.parametrize("fmt", [FMT, LUQ], ids=str)
@pytest.mark.parametrize("acc", one_in(11, [*float_cases(), *fixed_cases()]), ids=name_of)
def test_every_order_and_family(acc, fmt):
    for seed, (rows, depth, columns) in enumerate([(3, 13, 5), (5, 9, 2), (1, 1, 1)]):
        a, b = operands(fmt, (rows, depth), (depth, columns), seed)
        found, wanted = logscale.matmul(a, b, fmt, acc), np.array(defined(a, b, fmt, acc))
        assert found.dtype == np.float64
        assert np.array_equal(found, wanted, equal_nan=True), (found.tolist(), wanted.tolist())


def test_what_a_fixed_accumulator_gives_are_values_of_its_grid():
    a, b = operands(FMT, (4, 6), (6, 3))
    found = logscale.matmul(a, b, FMT, Accumulator(F(24, 8)))
    assert np.abs(found - FMT.decode(a) @ FMT.decode(b)).max() <= 6 * 2.0**-9
    assert (found * 256 == np.rint(found * 256)).all()
    assert not logscale.matmul(a[:, :0], b[:0], FMT, Accumulator(F(24, 8))).any()


@pytest.mark.sampled
@pytest.mark.parametrize("columns", [1, 3], ids=["rows exchanged with columns", "rows as they are"])
@pytest.mark.parametrize("options", one_in(2, [{}, {"order": "pairwise"}, {"order": "exact"}, {"chunk": 2}]), ids=str)
def test_an_overflow_names_the_output(columns, options):
    one, large = 8 << 3, 15 << 3  # 1 and 2**7
    a, b = np.full((2, 2, 4), one), np.full((2, 4, columns), one)
    b[1, :, -1] = large
    a[1, 0] = 0
    strict = Accumulator(F(9), overflow=Rule.ERROR, **options)
    with pytest.raises(OverflowError, match=rf"output \(1, 1, {columns - 1}\)"):
        logscale.matmul(a, b, FMT, strict)
    assert logscale.matmul(a[:1], b[:1], FMT, strict)[0, 0, 0] == 4


@pytest.mark.parametrize(
    ("fmt", "acc", "sentence"),
    [
        (FMT, Accumulator(BINARY16, R.SR), "a stochastic accumulator: products of codes are accumulated in determinis"),
        (
            FMT,
            Accumulator(F(8, signed=False)),
            "u8.0 is unsigned: sums of products may be negative; use a signed format",
        ),
        (FMT, Accumulator(F(8), product=Quantizer(F(7, signed=False))), "u7.0 is unsigned: sums of products may be"),
        (FMT, Accumulator(F(60, 8)), "s60.8 has values that float64 does not hold: give a Quantizer of it, which has"),
        (
            FMT,
            Accumulator(F(60, 8), chunk=2, outer=Accumulator(BINARY16)),
            "products of log4.3b8: sums of chunks in s60.8 added in sequential order in binary16: float64 does not hold",
        ),
        (
            WIDE,
            Accumulator(F(53, 20), order="pairwise"),
            "products of log6.3b32: two numbers that are added have bits down to 2**-116 and 2**-116, more than 60 below the"
            " grid step 2**-20 of s53.20: quantize c or the operands first; codes have no c, so give product=Quantizer",
        ),
        (
            FMT,
            Accumulator(catalog.BINARY64, R.RTZ),
            "products of log4.3b8: accumulator binary64 has 53 bits of precision: rounding is exact for up to 51",
        ),
        (
            WIDE,
            Accumulator(E5M2, R.RNE, Rule.IEEE, chunk=1, outer=Accumulator(BINARY16, order="exact")),
            "the sum of chunk 0 of output (0, 0) overflowed e5m2 to an infinity or NaN, which 'exact' sums do not take",
        ),
    ],
)
def test_accumulators_that_cannot_be(fmt, acc, sentence):
    codes = np.full((3, 3), fmt.largest_code)
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        logscale.matmul(codes, codes, fmt, acc)
