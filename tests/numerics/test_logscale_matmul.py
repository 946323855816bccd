"""Matrix products of codes of logarithms into logarithmic, fixed and float accumulators, against the definition."""

import numpy as np
import pytest

from numerics import (
    Accumulator,
    FixedFormat,
    LogFormat,
    Overflow,
    Quantizer,
    Rounding,
    catalog,
    logscale,
    parse_format,
)
from numerics.logscale import LogAccumulator, SumTable, Underflow
from numerics.reference import logscale as oracle
from tests.sampling import one_in

FMT = LogFormat(4, 3, bias=8)
LUQ = LogFormat(3, 0, bias=1)
R, Rule = Rounding, Overflow
TWELVE_BITS = parse_format("lba_m7e4_b10")

LOG = [
    (FMT, LogAccumulator(LogFormat(6, 3, bias=32))),
    (FMT, LogAccumulator(LogFormat(6, 3, bias=32), R.RNE)),
    (FMT, LogAccumulator(LogFormat(5, 5, bias=14), R.RNL)),
    (FMT, LogAccumulator(FMT, R.RTN)),
    (FMT, LogAccumulator(LogFormat(2, 4, bias=1), R.RNE, underflow=Underflow.SMALLEST)),
    (FMT, LogAccumulator(LogFormat(2, 3, bias=1), R.RNL, Rule.PROPAGATE, underflow=Underflow.SMALLEST)),
    (LUQ, LogAccumulator(LogFormat(5, 0, bias=3), R.RNE)),
    (LUQ, LogAccumulator(LogFormat(7, 8, bias=40))),
]
FIXED = [
    (FMT, Quantizer(FixedFormat(24, 8))),
    (FMT, Quantizer(FixedFormat(12, 2), R.RTN)),
    (FMT, Quantizer(FixedFormat(12, 4), R.RNE, Rule.WRAP)),
    (FMT, Quantizer(FixedFormat(64, 30), R.RTP, Rule.WRAP)),
    (FMT, Quantizer(FixedFormat(10, -3), R.RTO)),
    (FMT, Quantizer(FixedFormat(62, 50), R.RTZ)),
    (FMT, Quantizer(FixedFormat(8, 6, symmetric=True), R.RNA)),
    (LUQ, Quantizer(FixedFormat(16, 0), R.RNE, Rule.PROPAGATE)),
    (LUQ, Quantizer(FixedFormat(9, -2), R.RNE, Rule.WRAP)),
    (LogFormat(7, 2, bias=60), Quantizer(FixedFormat(20, 3), R.RNE)),  # products beyond 2**64 saturate
    (LogFormat(7, 2, bias=60), Quantizer(FixedFormat(20, 3), R.RNE, Rule.WRAP)),
]
FLOAT = [
    (FMT, Accumulator(catalog.BINARY32)),
    (LUQ, Accumulator(catalog.BINARY32)),  # powers of two: float32 is wide enough for them
    (FMT, Accumulator(TWELVE_BITS, R.RTZ, product=Quantizer(TWELVE_BITS, R.RTZ), chunk=4)),
    (LogFormat(9, 1, bias=256), Accumulator(catalog.BINARY64, R.RNE, Rule.IEEE)),
]
ALL = LOG + FIXED + FLOAT


def name_of(case):
    fmt, accumulator = case
    own = getattr(accumulator, "format", None) or accumulator.fmt
    return f"{fmt} into {own} {accumulator.rounding.name} {accumulator.overflow.name}"


def operands(fmt, shape_a, shape_b, seed=0):
    """Codes around the middle of the format, where sums neither vanish nor overflow at once; some zeros."""
    rng = np.random.default_rng(seed)
    one = min(max(fmt.bias << fmt.fraction_bits, 1), fmt.largest_code)
    reach = min(one, fmt.largest_code + 1 - one, 4 << fmt.fraction_bits)
    for shape in (shape_a, shape_b):
        magnitude = one + rng.integers(1 - reach, reach, shape)
        magnitude[rng.integers(9, size=shape) == 0] = 0
        wild = rng.integers(1 << fmt.bits, size=shape)
        codes = np.where(
            rng.integers(12, size=shape) == 0, wild, magnitude | rng.integers(2, size=shape) << (fmt.bits - 1)
        )
        yield codes


def defined(a, b, fmt, accumulator):
    rows, columns = a.shape[0], b.shape[1]
    return [[oracle.dot(a[i], b[:, j], fmt, accumulator) for j in range(columns)] for i in range(rows)]


@pytest.mark.parametrize("case", one_in(2, ALL), ids=name_of)
def test_products_are_the_steps_of_the_definition(case):
    fmt, accumulator = case
    for seed, (rows, depth, columns) in enumerate([(3, 12, 5), (5, 2, 2), (1, 1, 1), (2, 40, 3)]):
        a, b = operands(fmt, (rows, depth), (depth, columns), seed)
        found = logscale.matmul(a, b, fmt, accumulator)
        wanted = np.array(defined(a, b, fmt, accumulator))
        assert found.shape == (rows, columns)
        assert (found == wanted).all(), np.argwhere(found != wanted)[:3]


def test_what_comes_out():
    a, b = operands(FMT, (3, 4), (4, 2))
    found = logscale.matmul(a, b, FMT, LogAccumulator(LogFormat(6, 3, bias=32)))
    assert found.dtype == np.uint16  # codes of ten bits
    found = logscale.matmul(a, b, FMT, Quantizer(FixedFormat(24, 8)))
    assert found.dtype == np.uint32
    exact = FMT.decode(a) @ FMT.decode(b)
    assert np.abs(FixedFormat(24, 8).decode(found) - exact).max() <= 4 * 2.0**-9 + 1e-9
    found = logscale.matmul(a, b, FMT, Accumulator(catalog.BINARY32))
    assert found.dtype == np.float64
    assert np.allclose(found, exact, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("case", [LOG[1], FIXED[1], FLOAT[0], FLOAT[2]], ids=name_of)
def test_batches_strides_and_empty_sides(case):
    fmt, accumulator = case
    a, b = operands(fmt, (2, 1, 3, 6), (4, 6, 5))
    found = logscale.matmul(a, b, fmt, accumulator)
    assert found.shape == (2, 4, 3, 5)
    for i in range(2):
        for j in range(4):
            assert (found[i, j] == logscale.matmul(a[i, 0], b[j], fmt, accumulator)).all()
    turned = logscale.matmul(b.swapaxes(-1, -2), a.swapaxes(-1, -2), fmt, accumulator)
    assert (turned.swapaxes(-1, -2) == found).all()  # products commute; the order in k is the same
    assert (logscale.matmul(np.ascontiguousarray(a[..., ::-1])[..., ::-1], b, fmt, accumulator) == found).all()
    empty = logscale.matmul(a[..., :0], b[:, :0], fmt, accumulator)
    assert empty.shape == (2, 4, 3, 5)
    assert not empty.any()
    assert logscale.matmul(a[..., :0, :], b, fmt, accumulator).shape == (2, 4, 0, 5)


@pytest.mark.parametrize("case", [LOG[0], FIXED[0], FLOAT[1]], ids=name_of)
def test_results_do_not_depend_on_threads(case, on_threads):
    fmt, accumulator = case
    a, b = operands(fmt, (70, 60), (60, 65))
    found = []
    for threads in (1, 3):
        on_threads(threads)
        found.append(logscale.matmul(a, b, fmt, accumulator))
    assert (found[0] == found[1]).all()


def test_a_table_in_an_accumulator_is_the_table_of_sums():
    table = SumTable(3, 1, 4)
    own = LogFormat(6, 3, bias=32)
    a, b = operands(FMT, (4, 9), (9, 3))
    found = logscale.matmul(a, b, FMT, LogAccumulator(own, table=table))
    total = np.zeros((4, 3), np.uint16)
    for k in range(9):
        p, q = a[:, k, None] & 127, b[None, k] & 127
        product = np.where((p != 0) & (q != 0), p + q - 128 + 256 | ((a[:, k, None] ^ b[None, k]) & 128) << 2, 0)
        total = logscale.add(total, product, own, table=table)
    assert (found == total).all()
    assert (found != logscale.matmul(a, b, FMT, LogAccumulator(own))).any()


def test_overflow_as_an_error():
    a, b = np.array([[1, 1], [127, 127]]), np.array([[1, 127], [1, 127]])
    for accumulator, name in (
        (LogAccumulator(FMT, R.RNL, Rule.ERROR), r"log4\.3b8"),
        (Quantizer(FixedFormat(12, 2), R.RNE, Rule.ERROR), r"s12\.2"),
    ):
        with pytest.raises(OverflowError, match=rf"in row 1 of matrix 0 overflows {name}"):
            logscale.matmul(a, b, FMT, accumulator)
        assert logscale.matmul(a[:1], b[:, :1], FMT, accumulator).shape == (1, 1)
    strict = Accumulator(parse_format("e4m3fn"), R.RNE, Rule.ERROR)
    with pytest.raises(OverflowError, match=r"output \(1, 1\) overflows e4m3fn"):
        logscale.matmul(a, b, FMT, strict)


UNSIGNED = LogFormat(4, 3, bias=8, signed=False)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda a: logscale.matmul(a, a, FMT, FMT), TypeError, "give a LogAccumulator, a Quantizer of a FixedFormat"),
        (lambda a: logscale.matmul(a, a, FMT, Quantizer(catalog.E4M3)), TypeError, "give a LogAccumulator"),
        (lambda a: logscale.matmul(a[0], a, FMT, LOG[0][1]), ValueError, r"a of shape \(2,\): give a matrix"),
        (lambda a: logscale.matmul(a, a[:1], FMT, LOG[0][1]), ValueError, "do not match"),
        (lambda a: logscale.matmul(a * 300, a, FMT, LOG[0][1]), ValueError, "code 300 is outside the 8 bits"),
        (lambda a: logscale.matmul(a, a, catalog.E4M3, LOG[0][1]), TypeError, "takes a LogFormat"),
        (lambda a: logscale.matmul(a, a, FMT, LogAccumulator(LogFormat(6, 2))), ValueError, "at least 3 fraction bits"),
        (lambda a: LogAccumulator(UNSIGNED), ValueError, "unsigned: sums of products may be negative"),
        (lambda a: LogAccumulator(FMT, R.SR), ValueError, "SR: sums of codes"),
        (lambda a: LogAccumulator(FMT, R.RNL, Rule.WRAP), ValueError, "is a log format"),
        (lambda a: LogAccumulator(FMT, table=SumTable(4)), ValueError, "4 fraction bits for"),
        (lambda a: LogAccumulator(catalog.E4M3), TypeError, "takes a LogFormat"),
        (
            lambda a: logscale.matmul(a, a, FMT, Quantizer(FixedFormat(8, 0, signed=False))),
            ValueError,
            "u8.0 is unsigned: sums",
        ),
        (
            lambda a: logscale.matmul(a, a, FMT, Quantizer(FixedFormat(63, 0))),
            ValueError,
            "has 63 bits: an accumulator",
        ),
        (lambda a: logscale.matmul(a, a, FMT, Quantizer(FixedFormat(8, 0), R.SR)), ValueError, "SR: products of codes"),
        (
            lambda a: logscale.matmul(a, a, LogFormat(10, 0, bias=513), Accumulator(catalog.BINARY32)),
            ValueError,
            r"reach from 2\*\*-1024 to 2\*\*1021, not all of them normal float64",
        ),
    ],
)
def test_refusals(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call(np.ones((2, 2), np.int64))
