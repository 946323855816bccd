"""Arithmetic on codes of logarithms against exact sums of powers, and the tables that stand behind it."""

import itertools
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest

from numerics import LogFormat, Overflow, Rounding, logscale
from numerics.kernels.logcodes import LOG_SHIFT, PLACE_SHIFT
from numerics.kernels.logscale import AT, BEFORE, ON, PAST
from numerics.logscale import SumTable, Underflow
from numerics.logscale.sums import exact_entries
from numerics.reference import logscale as oracle
from numerics.reference import powers
from tests.numerics.logs import DETERMINISTIC

FORMATS = {
    "luq": LogFormat(3, 0, bias=1),
    "four_bits": LogFormat(2, 1, bias=1),
    "one_octave": LogFormat(0, 3),
    "six_bits": LogFormat(3, 2, bias=4),
    "six_bits_even_bias": LogFormat(5, 0, bias=16),
    "unsigned": LogFormat(3, 2, bias=2, signed=False),
    "eight_bits": LogFormat(4, 3, bias=8),
    "fine": LogFormat(3, 4, bias=5),
}
SMALL = {name: fmt for name, fmt in FORMATS.items() if fmt.bits <= 6}
RULES = [Underflow.ZERO, Underflow.SMALLEST]
MODES = pytest.mark.parametrize("mode", DETERMINISTIC, ids=lambda mode: mode.name)


def all_pairs(fmt):
    codes = np.arange(1 << fmt.bits, dtype=np.uint8)
    return np.repeat(codes, codes.size), np.tile(codes, codes.size)


def assert_codes(found, wanted, a, b):
    assert found.dtype == np.uint8
    wrong = np.flatnonzero(found != np.array(wanted))
    assert not wrong.size, f"{wrong.size} differ; codes {a[wrong[0]]}, {b[wrong[0]]}: {found[wrong[0]]}"


@pytest.mark.parametrize("fmt", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("underflow", RULES)
def test_products_and_quotients_of_all_codes(fmt, underflow):
    a, b = all_pairs(fmt)
    wanted = [oracle.multiply(x, y, fmt, underflow=underflow) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    assert_codes(logscale.multiply(a, b, fmt, underflow=underflow), wanted, a, b)
    some = b & fmt.largest_code != 0
    a, b = a[some], b[some]
    wanted = [oracle.divide(x, y, fmt, underflow=underflow) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    assert_codes(logscale.divide(a, b, fmt, underflow=underflow), wanted, a, b)


def test_products_in_range_are_exact():
    fmt = FORMATS["eight_bits"]
    a, b = all_pairs(fmt)
    product = logscale.multiply(a, b, fmt)
    exact = np.log2(np.abs(fmt.decode(a)), where=a & 127 > 0, out=np.zeros(a.size))
    exact += np.log2(np.abs(fmt.decode(b)), where=b & 127 > 0, out=np.zeros(b.size))
    inside = (a & 127 > 0) & (b & 127 > 0) & (exact > -7.9) & (exact < 7.9)
    assert np.allclose(np.log2(np.abs(fmt.decode(product[inside]))), exact[inside], rtol=0, atol=1e-12)
    assert (np.sign(fmt.decode(product)) == np.sign(fmt.decode(a)) * np.sign(fmt.decode(b)))[inside].all()
    assert (logscale.divide(product[inside], b[inside], fmt) == a[inside]).all()


def check_sums(fmt, mode, underflow):
    a, b = all_pairs(fmt)
    pairs = list(zip(a.tolist(), b.tolist(), strict=True))
    options = {"rounding": mode, "underflow": underflow}
    assert_codes(logscale.add(a, b, fmt, **options), [oracle.add(x, y, fmt, **options) for x, y in pairs], a, b)
    if fmt.signed:
        wanted = [oracle.subtract(x, y, fmt, **options) for x, y in pairs]
        assert_codes(logscale.subtract(a, b, fmt, **options), wanted, a, b)


@pytest.mark.sampled
@MODES
@pytest.mark.parametrize("fmt", SMALL.values(), ids=SMALL)
def test_sums_of_all_codes(fmt, mode):
    check_sums(fmt, mode, Underflow.ZERO)


@pytest.mark.parametrize("mode", [Rounding.RNL, Rounding.RNE], ids=lambda mode: mode.name)
@pytest.mark.parametrize("fmt", SMALL.values(), ids=SMALL)
def test_sums_that_never_vanish(fmt, mode):
    check_sums(fmt, mode, Underflow.SMALLEST)


@pytest.mark.parametrize(
    ("name", "mode"), [("eight_bits", Rounding.RNL), ("eight_bits", Rounding.RNE), ("fine", Rounding.RNL)]
)
def test_sums_of_all_codes_of_eight_bits(name, mode):
    fmt = FORMATS[name]
    a, b = all_pairs(fmt)
    found = logscale.add(a, b, fmt, rounding=mode).reshape(256, 256)
    assert (found == found.T).all()
    some = np.triu_indices(256)
    wanted = [oracle.add(x, y, fmt, mode) for x, y in zip(*(i.tolist() for i in some), strict=True)]
    assert_codes(found[some], wanted, *some)
    opposite = np.where(b & 127 != 0, b ^ 128, 0).astype(np.uint8)
    assert (logscale.subtract(a, opposite, fmt, rounding=mode).reshape(256, 256) == found).all()


@pytest.mark.parametrize("f", range(9))
def test_drawn_sums_of_wide_formats(f):
    fmt, rng = LogFormat(9, f, bias=250), np.random.default_rng(f)
    a = rng.integers(1 << fmt.bits, size=60)
    near = np.clip((a & fmt.largest_code) + rng.integers(-(6 << f), (6 << f) + 1, 60), 0, fmt.largest_code)
    b = np.where(rng.integers(4, size=60) > 0, near | rng.integers(2, size=60) << (fmt.bits - 1), rng.permutation(a))
    for mode in (Rounding.RNL, Rounding.RNE, Rounding.RTN):
        found = logscale.add(a, b, fmt, rounding=mode)
        assert found.dtype == np.uint32 if fmt.bits > 16 else found.dtype == np.uint16
        wanted = [oracle.add(int(x), int(y), fmt, mode) for x, y in zip(a, b, strict=True)]
        assert found.tolist() == wanted


def test_equals_of_opposite_sign_cancel_at_any_place():
    fmt = LogFormat(10, 8, bias=512)  # codes without sign beyond 2**17
    codes = np.array([1, 2, 1 << 15, 1 << 16, fmt.largest_code])
    for mode in (Rounding.RNL, Rounding.RNE, Rounding.RTO):
        found = logscale.subtract(codes, codes, fmt, rounding=mode, underflow=Underflow.SMALLEST)
        assert not found.any()


def test_ties_go_to_the_even_code():
    # The sum of neighbours is half-way between their doubles, with every number of fraction bits.
    for f in range(9):
        fmt = LogFormat(4, f, bias=8)
        codes = np.arange(1, 3 << f)
        lower = codes + (1 << f)
        found = logscale.add(codes, codes + 1, fmt, rounding=Rounding.RNE)
        assert (found == lower + lower % 2).all()
        assert (logscale.add(codes, codes + 1, fmt, rounding=Rounding.RNA) == lower + 1).all()


def test_underflow_of_a_difference():
    fmt = LogFormat(3, 2, bias=4)
    a, b = 2, 1  # y**2 - y is 0.19 of the smallest: zero is nearest in every domain
    assert logscale.subtract(a, b, fmt, rounding=Rounding.RNE) == 0
    assert logscale.subtract(a, b, fmt) == 0
    assert logscale.subtract(b, a, fmt, underflow=Underflow.SMALLEST) == 33
    assert logscale.subtract(a, b, fmt, rounding=Rounding.RTP) == 1
    assert logscale.subtract(b, a, fmt, rounding=Rounding.RTN) == 33
    # y**4 - y is 0.68 of the smallest, more than half of it but more than half a step below it.
    assert logscale.subtract(4, 1, fmt, rounding=Rounding.RNE) == 1
    assert logscale.subtract(4, 1, fmt) == 0


# The tables.


def signs_of(entry):
    return entry >> PLACE_SHIFT, entry >> LOG_SHIFT & 3, entry & 3


@pytest.mark.parametrize("f", range(9))
def test_tables_agree_with_decimal_logarithms(f):
    # A third way: 45 digits of the decimal module. What it cannot tell from a turning point has to be a known tie.
    octave = 1 << f
    with localcontext() as context:
        context.prec = 45
        two, tiny = Decimal(2).ln(), Decimal(10) ** -30
        root = (two / octave).exp()
        for subtracts, column in enumerate(exact_entries(f).tolist()):
            for d, entry in enumerate(column):
                if d == 0 and subtracts:
                    continue
                total = 1 + (-1) ** subtracts * (-d * two / octave).exp()
                steps = total.ln() / two * octave
                place, log_side, value_side = signs_of(entry)
                if ON in (log_side, value_side):
                    assert abs(steps - place) < tiny
                    assert (log_side, value_side) == (ON, ON)
                    assert d == (octave if subtracts else 0)
                    continue
                assert tiny < steps - place < 1 - tiny
                assert abs(steps - place - Decimal("0.5")) > tiny
                assert log_side == (PAST if steps - place > Decimal("0.5") else BEFORE)
                gap = total - (place * two / octave).exp() * (1 + root) / 2
                if value_side == AT:
                    assert abs(gap) < tiny
                else:
                    assert value_side == (PAST if gap > tiny else BEFORE)
                    assert abs(gap) > tiny


def test_tables_end_where_nothing_changes_any_more():
    for f in range(4):
        for subtracts, column in enumerate(exact_entries(f)):
            for d in (column.size, column.size + 7, 40 << f):
                far = oracle.round_sum((False, d), (bool(subtracts), 0), LogFormat(9, f, bias=2), Rounding.RNL)
                assert far == d + (2 << f)


def test_the_oracle_tells_zero_from_nearly_zero():
    assert powers.sign({0: 1, 4: -2, 8: 1}, 8) != 0
    assert powers.sign({16: 1, 8: -1, 0: -2}, 8) == 0  # 4 - 2 - 2
    assert powers.sign({5: 2, 13: -1}, 8) == 0  # twice y**5 is y**13
    # sqrt(2) - 1 = 0.41421356...: its convergents from below and above.
    assert powers.sign({1: 470832, 0: -665857}, 2) == -1
    assert powers.sign({1: 195025, 0: -275807}, 2) == 1
    assert powers.sign({0: -1, 800: 1}, 2) == 1


@pytest.mark.sampled
@pytest.mark.parametrize(("dropped_bits", "full_below"), [(0, 0), (1, 0), (2, 0), (2, 8), (3, 32), (12, 0)])
@pytest.mark.parametrize("name", ["luq", "six_bits", "eight_bits", "fine"])
def test_a_table_keeps_its_stated_error(name, dropped_bits, full_below):
    fmt = FORMATS[name]
    table = SumTable(fmt.fraction_bits, dropped_bits, full_below)
    a, b = all_pairs(fmt)
    x, y = (codes.astype(np.int64) & fmt.largest_code for codes in (a, b))
    some = (x != 0) & (y != 0) & ((x != y) | ((a ^ b) & (fmt.largest_code + 1) == 0))
    a, b, x, y = a[some], b[some], x[some], y[some]
    with np.errstate(divide="ignore"):
        sign = np.where((a ^ b) & (fmt.largest_code + 1), -1.0, 1.0)
        steps = np.log2(1 + sign * np.exp2(-np.abs(x - y) / (1 << fmt.fraction_bits))) * (1 << fmt.fraction_bits)
    exact = np.maximum(x, y) + steps
    found = (logscale.add(a, b, fmt, table=table) & fmt.largest_code).astype(np.int64)
    inside = (found > 1) & (found < fmt.largest_code)
    for subtracts, stated in enumerate(table.error):
        of_kind = inside & (sign == (-1) ** subtracts)
        worst = np.abs(found - exact)[of_kind].max(initial=0.0)
        assert worst <= stated + 1e-9
        if dropped_bits < 3 and fmt.bits == 8:
            assert worst > stated - 1e-4  # attained
    if dropped_bits == 0:
        assert max(table.error) <= 0.5
        assert (found == (logscale.add(a, b, fmt) & fmt.largest_code)).all()


def test_sizes_of_tables():
    assert SumTable(3).size == 35 + 37
    assert SumTable(3, 2).size < SumTable(3, 2, 8).size < SumTable(3).size
    assert SumTable(8, 4, 64).error.add < 4
    assert SumTable(8, 4, 64).error.subtract < 40


# Overflow, shapes, refusals.


def test_overflow():
    fmt = FORMATS["eight_bits"]
    top = fmt.largest_code
    assert logscale.multiply(top, top | 128, fmt) == top | 128
    assert logscale.add([top, 120], [top, 121], fmt, overflow=Overflow.PROPAGATE).tolist() == [top, top]
    for operation in (logscale.multiply, logscale.add):
        with pytest.raises(OverflowError, match="codes 127 and 126 at element 3 is beyond"):
            operation([0, 1, 64, 127, 127], [127, 2, 64, 126, 127], fmt, overflow=Overflow.ERROR)
        assert operation([0, 1, 64], [127, 2, 64], fmt, overflow=Overflow.ERROR).dtype == np.uint8
    with pytest.raises(OverflowError):
        logscale.divide(127, 1, fmt, overflow=Overflow.ERROR)
    assert logscale.divide(1, 127, fmt) == 0
    assert logscale.divide(1, 127 | 128, fmt, underflow=Underflow.SMALLEST) == 129


def test_a_division_by_zero_is_refused():
    fmt = FORMATS["eight_bits"]
    for zero in (0, 128):
        with pytest.raises(ZeroDivisionError, match=f"element 1 is divided by code {zero}, a zero"):
            logscale.divide([5, 6], [5, zero], fmt)


def test_arrays_broadcast_and_keep_their_shape():
    fmt = FORMATS["eight_bits"]
    a, b = np.arange(12, dtype=np.uint8).reshape(3, 1, 4)[:, :, ::-1], np.arange(40, 45)[:, None]
    found = logscale.add(a, b, fmt)
    assert found.shape == (3, 5, 4)
    for i, j, k in itertools.product(range(3), range(5), range(4)):
        assert found[i, j, k] == oracle.add(int(a[i, 0, k]), int(b[j, 0]), fmt)
    assert logscale.add(np.uint8(3), np.uint8(4), fmt).shape == ()
    assert logscale.multiply(np.zeros((0, 3), np.uint8), 4, fmt).shape == (0, 3)


def test_results_do_not_depend_on_threads(on_threads):
    fmt, rng = FORMATS["eight_bits"], np.random.default_rng(0)
    a, b = rng.integers(256, size=(2, 200_001)).astype(np.uint8)
    found = []
    for threads in (1, 3):
        on_threads(threads)
        found.append([operation(a, b, fmt) for operation in (logscale.add, logscale.multiply, logscale.subtract)])
    assert all((x == y).all() for x, y in zip(*found, strict=True))


def test_mean_of_ten_thousand_sums_is_near_the_exact_ones():
    # No proof, a sign of life beside the exhaustive tests: values, not codes.
    fmt, rng = LogFormat(6, 7, bias=32), np.random.default_rng(3)
    a, b = rng.integers(1, 1 << 13, (2, 10_000))
    near = np.abs(a - b) < 1 << 10
    exact = [Fraction(x) + Fraction(y) for x, y in zip(fmt.decode(a[near]), fmt.decode(b[near]), strict=True)]
    found = fmt.decode(logscale.add(a[near], b[near], fmt, rounding=Rounding.RNE))
    assert all(abs(Fraction(f) / e - 1) < Fraction(3, 1000) for f, e in zip(found, exact, strict=True) if e < fmt.max)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda f: logscale.add([1.0], [1], f), TypeError, "codes of dtype float64"),
        (lambda f: logscale.add([1], [256], f), ValueError, r"code 256 is outside the 8 bits of log4\.3b8 \(b\)"),
        (lambda f: logscale.multiply([-1], [2], f), ValueError, r"code -1 is outside the 8 bits of log4\.3b8 \(a\)"),
        (lambda f: logscale.add([1, 2], [1, 2, 3], f), ValueError, "do not broadcast"),
        (lambda f: logscale.add(1, 2, f, rounding=Rounding.SR), ValueError, "SR: sums of codes"),
        (lambda f: logscale.add(1, 2, f, overflow=Overflow.IEEE), ValueError, "neither infinity nor NaN"),
        (lambda f: logscale.add(1, 2, f, overflow=Overflow.WRAP), ValueError, "is a log format"),
        (
            lambda f: logscale.add(1, 2, f, rounding=Overflow.SATURATE),
            TypeError,
            "rounding = <Overflow.SATURATE.*give one",
        ),
        (
            lambda f: logscale.multiply(1, 2, f, overflow=Rounding.RNA),
            TypeError,
            "overflow = <Rounding.RNA.*give one of",
        ),
        (lambda f: logscale.LogAccumulator(f, "RNE"), TypeError, "rounding = 'RNE': give one of Rounding.RNE"),
        (lambda f: logscale.multiply(1, 2, f, underflow=0), TypeError, "underflow = 0: give Underflow"),
        (lambda f: logscale.add(1, 2, "log4.3b8"), TypeError, "takes a LogFormat"),
        (
            lambda f: logscale.add(1, 2, f, table=SumTable(2)),
            ValueError,
            "2 fraction bits for log4.3b8: make one with 3",
        ),
        (lambda f: logscale.add(1, 2, f, table=3), TypeError, "table 3: give a SumTable"),
        (
            lambda f: logscale.add(1, 2, f, rounding=Rounding.RNE, table=SumTable(3)),
            ValueError,
            "with RNE: it stands for",
        ),
        (
            lambda f: logscale.subtract(1, 2, FORMATS["unsigned"]),
            ValueError,
            "unsigned and a difference may be negative",
        ),
        (lambda f: SumTable(9), ValueError, "fraction_bits = 9: give an integer from 0 to 8"),
        (lambda f: SumTable(3, -1), ValueError, "dropped_bits = -1"),
        (lambda f: SumTable(3, 1, 2.0), ValueError, "full_below = 2.0"),
    ],
)
def test_refusals(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call(FORMATS["eight_bits"])
