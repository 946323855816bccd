"""matmul and dot against the oracle, bit for bit: every mode, kind of format, overflow rule, chunk, layout."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from numerics import (
    Accumulator,
    FloatFormat,
    NanEncoding,
    Overflow,
    Quantizer,
    Rounding,
    Subnormals,
    catalog,
    dot,
    matmul,
    parse_format,
    reference,
)
from tests.numerics import grids
from tests.numerics.grids import assert_same_bits
from tests.sampling import but_at_night, one_in

R, Rule = Rounding, Overflow
MODES = grids.DETERMINISTIC
# Each combination of modes, forms and carrier is compiled, for a second or more: cases share them where they can.
IN_FLOAT64 = (R.RNE, R.RTZ, R.RTN, R.RTO)
E4M3, E5M2, BINARY16, BINARY32 = catalog.E4M3, catalog.E5M2, catalog.BINARY16, catalog.BINARY32
LBA = Accumulator(
    parse_format("lba_m7e4_b10_paper"),
    R.RTZ,
    product=Quantizer(parse_format("lba_m7e4_b12_paper"), R.RTZ),
    chunk=16,
)
SUMS = {
    "gradual": E4M3,
    "more_bits": FloatFormat(5, 6),
    "flush": grids.KINDS["flush"],
    "normal_binade": parse_format("lba_m4e3_b3"),
    "full_binade": parse_format("lba_m4e3_b3_paper"),
    "fnuz": catalog.E4M3FNUZ,
    "no_mantissa": grids.KINDS["no_mantissa"],
    "no_exponent": FloatFormat(0, 6, 0, infinities=False, nan=NanEncoding.NONE),
}


def ordinary(rng, shape):
    """Members of E4M3 around one."""
    return Quantizer(E4M3).quantize(rng.standard_normal(shape))


def spread(rng, shape):
    """Small integers times powers of two of all sizes, zeros of both signs: subnormals, overflow, absorbed addends."""
    return rng.integers(-15, 16, shape) * np.exp2(rng.integers(-9, 5, shape)) * rng.choice([1, 1, 1, -0.0], shape)


def ties(rng, shape):
    """Halves: most sums of a narrow format lie on its grid or in the middle of two of its values."""
    return rng.integers(-8, 9, shape) / 2


KINDS = (ordinary, spread, ties)


def problems(seed, m=3, k=11, n=5, dtype=np.float32):
    """(a, b) of each kind; the last cancels again and again: every second product undoes the one before."""
    rng = np.random.default_rng(seed)
    for kind in KINDS:
        a, b = kind(rng, (m, k)), kind(rng, (k, n))
        yield a.astype(dtype), b.astype(dtype)
    a[:, 1::2] = -a[:, : k - 1 : 2]
    b[1::2] = b[: k - 1 : 2]
    yield a.astype(dtype), b.astype(dtype)


def check(acc, a, b, **options):
    found = matmul(a, b, acc, **options)
    assert_same_bits(found, reference.matmul(a, b, acc, **options))
    return found


@pytest.mark.sampled
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("fmt", SUMS.values(), ids=SUMS)
def test_every_mode_of_every_kind_of_format(fmt, mode):
    for a, b in problems(int(mode)):
        check(Accumulator(fmt, mode), a, b)


@pytest.mark.sampled
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("fmt", [E5M2, E4M3, grids.KINDS["p3109_extended"]], ids=["e5m2", "e4m3fn", "p3109"])
@pytest.mark.parametrize("rule", [Rule.SATURATE, Rule.PROPAGATE, Rule.IEEE], ids=lambda rule: rule.name)
def test_every_overflow_rule(fmt, mode, rule):
    for a, b in problems(int(mode), k=8, n=3):
        scale = np.float32(2.0 ** (fmt.emax // 2))
        check(Accumulator(fmt, mode, rule), a * scale, b)


PRODUCTS = [
    Accumulator(parse_format("lba_m4e3_b3_paper"), R.RTZ, product=Quantizer(parse_format("lba_m4e3_b5_paper"), R.RTZ)),
    Accumulator(E4M3, R.RNE, product=Quantizer(E5M2, R.RNE)),
    Accumulator(E4M3, R.RTN, product=Quantizer(catalog.E4M3FNUZ, R.RTP)),
    Accumulator(E5M2, R.RNE, Rule.IEEE, product=Quantizer(E5M2, R.RNE, Rule.IEEE)),
    Accumulator(E5M2, R.RNE, Rule.SATURATE, product=Quantizer(E5M2, R.RNE, Rule.IEEE)),
    Accumulator(E5M2, R.RNE, Rule.PROPAGATE, product=Quantizer(E5M2, R.RNE, Rule.IEEE)),
    Accumulator(E4M3, R.RNE, Rule.IEEE, product=Quantizer(E5M2, R.RNE, Rule.IEEE)),
    Accumulator(E4M3, R.RNE, Rule.IEEE, product=Quantizer(grids.KINDS["flush"], R.RNE)),
    Accumulator(BINARY32, R.RNE, Rule.IEEE, product=Quantizer(BINARY16, R.RNE, Rule.IEEE)),
]


@pytest.mark.parametrize(
    "acc", one_in(3, PRODUCTS), ids=lambda acc: f"{acc.product.fmt}-{acc.product.overflow.name}-{acc.format}"
)
def test_rounded_products(acc):
    for seed, scale in enumerate((1.0, 2.0**6, 2.0**-6)):
        for a, b in problems(seed):
            check(acc, a * np.float32(scale), b)


CHUNKED = {
    "LBA": Accumulator(LBA.format, R.RTZ, product=LBA.product, chunk=1),
    "one format": Accumulator(E4M3, chunk=1),
    "promoted": Accumulator(E4M3, chunk=1, outer=Accumulator(BINARY32)),
    "two directions": Accumulator(E5M2, R.RTP, Rule.IEEE, chunk=1, outer=Accumulator(BINARY16, R.RTN, Rule.IEEE)),
    "narrowed": Accumulator(BINARY32, R.RNE, Rule.IEEE, chunk=1, outer=Accumulator(E4M3, R.RTN)),
}


@pytest.mark.parametrize("name", but_at_night(CHUNKED, ["one format", "narrowed"]))
@pytest.mark.parametrize("chunk", but_at_night([3, 1, 16, 1000], [1, 16, 1000]))
def test_chunks(name, chunk):
    acc = replace(CHUNKED[name], chunk=chunk)
    for a, b in problems(chunk, m=2, k=19, n=3):
        check(acc, a, b)
        check(acc, a, b, c=np.full((2, 3), -0.0, np.float32))


def test_chunks_of_one_and_chunks_of_all():
    a, b = next(problems(0, k=20))
    plain = Accumulator(E4M3, product=Quantizer(E4M3))
    one = Accumulator(E4M3, product=Quantizer(E4M3), chunk=1)
    # One product a chunk: each is rounded, then added; the same as without chunks, as a rounded product is a member.
    assert_same_bits(matmul(a, b, one), matmul(a, b, plain))
    for chunk in (20, 21, 10**30):
        whole = Accumulator(E4M3, product=Quantizer(E4M3), chunk=chunk)
        assert_same_bits(matmul(a, b, whole), matmul(a, b, plain))


START = [Accumulator(E4M3), Accumulator(E4M3, R.RTN), Accumulator(E5M2, R.RTP, Rule.IEEE, chunk=3)]


@pytest.mark.parametrize("acc", but_at_night(START, START[1:2]), ids=str)
def test_a_start_value(acc):
    rng = np.random.default_rng(1)
    a, b = next(problems(2))
    for c in (
        rng.standard_normal((3, 5)).astype(np.float32),
        rng.standard_normal((3, 5)),  # 53 bits: the first step starts from the exact value
        np.full((3, 5), 1e30),
        np.full((1, 5), -1e-30),
        np.float32(2.5),
        rng.standard_normal((3, 1)),
        np.array([0.0, -0.0, 1.0, -1.0, 448.0]),
    ):
        before = c.copy()
        check(acc, a, b, c=c)
        assert_same_bits(c, before)


@pytest.mark.parametrize("rule", [Rule.SATURATE, Rule.PROPAGATE, Rule.IEEE])
@pytest.mark.parametrize("mode", [R.RNE, R.RTZ, R.RTN])
def test_a_start_value_at_the_top_of_the_carrier(mode, rule):
    # c + a*b leaves float32 although no member of the accumulator's format comes near its end.
    acc = Accumulator(E5M2, mode, rule)
    top = np.finfo(np.float32).max
    a = np.array([[2.0**62, 1.0]], np.float32)
    b = np.array([[2.0**63, -(2.0**63), 1.0], [1.0, 3.0, -5.0]], np.float32)
    for sign in (1, -1):
        check(acc, a, b * np.float32(sign), c=np.full((1, 3), sign * top, np.float32))
        check(acc, a, b, c=np.full((1, 3), sign * float(top)))


def test_no_products():
    for acc in (Accumulator(E4M3), LBA, Accumulator(E4M3, chunk=2, outer=Accumulator(E5M2, R.RTN))):
        for dtype in (np.float32, np.float64):
            a, b = np.zeros((2, 0), dtype), np.zeros((0, 3), dtype)
            assert_same_bits(matmul(a, b, acc), np.zeros((2, 3), dtype))
            check(acc, a, b, c=np.array([1.06, -0.0, 1e9]))
            check(acc, a, b, c=dtype(-3.3))
    assert dot(np.zeros(0), np.zeros(0), Accumulator(E4M3)) == 0


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_one_product_is_rounded_once(mode):
    rng = np.random.default_rng(3)
    x, y = (Quantizer(FloatFormat(5, 7)).quantize(rng.standard_normal(200)) for _ in range(2))
    found = matmul(x[:, None, None], y[:, None, None], Accumulator(E4M3, mode)).ravel()
    assert_same_bits(found, Quantizer(E4M3, mode).quantize(x * y))


@pytest.mark.parametrize("shape", [(2, 0, 3), (0, 4, 3), (2, 4, 0), (0, 0, 0)])
def test_empty_results(shape):
    m, k, n = shape
    found = matmul(np.zeros((m, k), np.float32), np.zeros((k, n), np.float32), LBA)
    assert_same_bits(found, np.zeros((m, n), np.float32))
    assert matmul(np.zeros((0, 2, 3)), np.zeros((3, 4)), Accumulator(E4M3)).shape == (0, 2, 4)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((3, 4), (4, 2)),
        ((5, 3, 4), (4, 2)),
        ((3, 4), (5, 4, 2)),
        ((5, 3, 4), (5, 4, 2)),
        ((2, 1, 3, 4), (5, 4, 2)),
        ((1, 3, 4), (5, 4, 2)),
        ((2, 1, 3, 4), (1, 2, 4, 33)),
        ((1, 1, 9, 4), (4, 2)),
        ((2, 40, 4), (2, 4, 3)),
        ((2, 2, 40, 4), (2, 1, 4, 3)),
    ],
)
def test_batches_broadcast(left, right):
    rng = np.random.default_rng(4)
    a, b = ties(rng, left).astype(np.float32), ties(rng, right).astype(np.float32)
    found = check(LBA, a, b)
    assert found.flags.c_contiguous
    c = ties(rng, found.shape[1:])
    check(LBA, a, b, c=c)


def test_any_layout_gives_the_same_bits():
    rng = np.random.default_rng(5)
    a, b = ordinary(rng, (2, 6, 8)).astype(np.float32), ordinary(rng, (2, 8, 7)).astype(np.float32)
    c = ordinary(rng, (2, 6, 7)).astype(np.float32)
    wanted = check(LBA, a, b, c=c)
    turned = [np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2) for x in (a, b, c)]
    reversed_ = [np.ascontiguousarray(x[..., ::-1, ::-1])[..., ::-1, ::-1] for x in (a, b, c)]
    stepped = [np.repeat(np.repeat(x, 2, axis=-1), 3, axis=-2)[..., ::3, ::2] for x in (a, b, c)]
    unaligned = []
    for x in (a, b, c):
        buffer = np.empty(x.nbytes + 1, np.uint8)
        view = buffer[1:].view(np.float32).reshape(x.shape)
        view[...] = x
        unaligned.append(view)
    layouts = [turned, reversed_, stepped]
    for one, two, three in itertools.product(layouts, repeat=3):
        assert_same_bits(matmul(one[0], two[1], LBA, c=three[2]), wanted)
    assert_same_bits(matmul(unaligned[0], unaligned[1], LBA, c=unaligned[2]), wanted)
    frozen = a.copy()
    frozen.setflags(write=False)
    assert_same_bits(matmul(frozen, b, LBA, c=np.broadcast_to(c[:, :1], c.shape)), matmul(a, b, LBA, c=c[:, :1]))


@pytest.mark.parametrize("shape", [(40, 7, 3), (33, 5, 1), (7, 4, 31), (3, 4, 31), (31, 4, 31), (5, 4, 32)])
def test_narrow_results_are_made_of_their_rows(shape):
    # Fewer than 32 columns: the lanes run along the rows; the order in k and the sign of zeros stay.
    m, k, n = shape
    c = ties(np.random.default_rng(7), (m, n))
    for acc in (LBA, Accumulator(E4M3, R.RTN), Accumulator(E4M3, R.RTP, Rule.IEEE)):
        for a, b in itertools.islice(problems(6, m, k, n), 1, None, 2):
            check(acc, a, b)
            check(acc, a, b, c=c)


def test_more_columns_than_a_tile():
    rng = np.random.default_rng(8)
    a, b = ties(rng, (1, 3)).astype(np.float32), ties(rng, (3, 1100)).astype(np.float32)
    for acc in (Accumulator(E4M3), Accumulator(E4M3, chunk=2)):
        check(acc, a, b)
        assert_same_bits(matmul(b.T, a.T, acc), matmul(a, b, acc).T.copy())


def test_operands_of_both_types():
    rng = np.random.default_rng(9)
    a, b = ordinary(rng, (3, 6)), ordinary(rng, (6, 4))
    for left, right in itertools.product((np.float32, np.float64), repeat=2):
        found = check(LBA, a.astype(left), b.astype(right))
        assert found.dtype == np.result_type(left, right)


@pytest.mark.parametrize("mode", one_in(2, IN_FLOAT64), ids=lambda mode: mode.name)
def test_operands_of_float32_precision(mode):
    # Products of 48 bits: no longer exact in float32.
    rng = np.random.default_rng(10)
    a, b = rng.standard_normal((3, 9)).astype(np.float32), rng.standard_normal((9, 4)).astype(np.float32)
    for fmt in (BINARY32, catalog.BFLOAT16, E4M3):
        check(Accumulator(fmt, mode, Rule.IEEE), a, b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_native_formats_take_every_operand(dtype):
    # binary32 on float32 and binary64 on float64, to nearest even, fused: the processor's own step is the definition.
    fmt = BINARY32 if dtype is np.float32 else catalog.BINARY64
    unsigned = np.uint32 if dtype is np.float32 else np.uint64
    rng = np.random.default_rng(11)
    a, b = (
        rng.integers(np.iinfo(unsigned).max, size=shape, dtype=unsigned, endpoint=True).view(dtype)
        for shape in ((4, 6), (6, 5))
    )
    a, b = (np.where(np.isfinite(x), x, dtype(1)) for x in (a, b))
    near_a, near_b = rng.standard_normal((4, 6)).astype(dtype), rng.standard_normal((6, 5)).astype(dtype)
    tiny = dtype(2.0 ** (fmt.emin // 2))
    for rule in (Rule.IEEE, Rule.SATURATE):
        for left, right in ((a, b), (near_a, near_b), (near_a * tiny, near_b * tiny)):
            with np.errstate(over="ignore", invalid="ignore"):
                check(Accumulator(fmt, R.RNE, rule), left, right)


@pytest.mark.parametrize("mode", one_in(2, IN_FLOAT64), ids=lambda mode: mode.name)
def test_51_bits_in_float64(mode):
    rng = np.random.default_rng(12)
    a, b = (ordinary(rng, s) + np.round(rng.standard_normal(s) * 4) * 2.0**-20 for s in ((2, 12), (12, 3)))
    fmt = FloatFormat(8, 50)
    for rule in (Rule.SATURATE, Rule.IEEE) if mode is R.RNE else (Rule.SATURATE,):
        check(Accumulator(fmt, mode, rule), a, b)
        check(Accumulator(fmt, mode, rule), a, b * np.exp2(rng.integers(-30, 30, b.shape)))


@pytest.mark.sampled
@pytest.mark.parametrize("name", ["bottom", "below_the_bottom", "flush_at_the_bottom", "full_binade_below_the_bottom"])
@pytest.mark.parametrize("mode", one_in(2, [R.RNE, R.RTP]), ids=lambda mode: mode.name)
def test_formats_at_the_bottom_of_float32(name, mode):
    fmt = grids.AT_THE_ENDS[name]
    for a, b in problems(13, k=8, n=3):
        for shift in (-70, -66, -60):
            scale = np.float32(2.0**shift)
            check(Accumulator(fmt, mode), a * scale, b * scale)


@pytest.mark.parametrize("mode", one_in(4, IN_FLOAT64), ids=lambda mode: mode.name)
def test_formats_at_the_top_of_float32(mode):
    rules = (Rule.SATURATE, Rule.IEEE) if mode is R.RTZ else (Rule.SATURATE, Rule.PROPAGATE, Rule.IEEE)
    for name in ("top", "top_finite"):
        fmt = grids.AT_THE_ENDS[name]
        for rule in rules if fmt.has_nan else rules[:-1]:
            for a, b in problems(14, k=8, n=3, m=2):
                check(Accumulator(fmt, mode, rule), a * np.float32(2.0**61), b * np.float32(2.0**59))
                check(Accumulator(fmt, mode, rule), a.astype(np.float64) * 2.0**62, b * 2.0**62)


def test_zeros_keep_the_sign_that_ieee_754_gives_them():
    one, minus = np.array([[1.0, 1.0]]), np.array([[1.0], [-1.0]])
    negative = np.array([[-0.0]])
    cases = [(E4M3, mode) for mode in MODES] + [(BINARY32, R.RNE), (BINARY32, R.RTN), (SUMS["flush"], R.RTZ)]
    for fmt, mode in cases:
        acc = Accumulator(fmt, mode)
        # +0 + 1 - 1, and +0 + (-0 * 1): negative only toward negative. -0 + (-0 * 1) is negative for all.
        wanted = "-0.0" if mode is R.RTN else "0.0"
        assert str(float(matmul(one, minus, acc)[0, 0])) == wanted
        assert str(float(matmul(negative, np.array([[1.0]]), acc)[0, 0])) == wanted
        assert str(float(matmul(negative, np.array([[1.0]]), acc, c=negative)[0, 0])) == "-0.0"
    rounded = Accumulator(E4M3, R.RTN, product=Quantizer(E4M3, R.RTP))
    assert str(float(matmul(one, minus, rounded)[0, 0])) == "-0.0"
    assert str(float(matmul(one, -one.T, rounded, c=2.0 * negative + 2)[0, 0])) == "-0.0"
    chunks = Accumulator(E4M3, R.RTP, Rule.IEEE, chunk=1, outer=Accumulator(E4M3, R.RTN))
    assert str(float(matmul(one, minus, chunks)[0, 0])) == "-0.0"
    assert str(float(matmul(one, minus, Accumulator(catalog.E4M3FNUZ, R.RTN))[0, 0])) == "0.0"


@pytest.mark.parametrize(("mantissa_bits", "last"), [(7, 256), (4, 32), (10, 2048)])
def test_truncation_stagnates(mantissa_bits, last):
    fmt = FloatFormat(5, mantissa_bits, infinities=False, nan=NanEncoding.NONE)
    ones = np.ones(3 * last, np.float32)
    assert dot(ones, ones, Accumulator(fmt, R.RTZ)) == last == 2 ** (mantissa_bits + 1)
    assert dot(-ones, ones, Accumulator(fmt, R.RTZ)) == -last
    # To nearest the same: the half ulp at 2**(M+1) ties to even. In chunks of 16 nothing is lost until 16 * 2**(M+1).
    assert dot(ones, ones, Accumulator(fmt, R.RNE)) == last
    assert dot(ones, ones, Accumulator(fmt, chunk=16)) == 3 * last
    # Upward each one counts an ulp: 2 from 2**(M+1) on, then 4 ...
    assert dot(ones[: last + 1], ones[: last + 1], Accumulator(fmt, R.RTP)) == last + 2


def test_the_order_is_ascending_in_k():
    a = np.array([[448.0, -448.0, 1.0]])
    ones = np.ones((3, 1))
    assert matmul(a, ones, Accumulator(E4M3))[0, 0] == 1
    assert matmul(a[:, ::-1], ones, Accumulator(E4M3))[0, 0] == 0
    assert matmul(ones.T, a.T, Accumulator(E4M3))[0, 0] == 1


def test_overflow_as_an_error():
    big = np.full((2, 4), 20.0, np.float32)
    strict, clamped = Quantizer(E4M3, overflow=Rule.ERROR), Accumulator(E4M3)
    refusing = [
        Accumulator(E4M3, R.RNE, Rule.ERROR),
        Accumulator(E5M2, R.RTZ, Rule.ERROR),
        Accumulator(E4M3, R.RNE, Rule.ERROR, chunk=2),
        Accumulator(E4M3, R.RNE, Rule.ERROR, chunk=2, outer=Accumulator(BINARY32)),
        Accumulator(E4M3, R.RNE, Rule.SATURATE, chunk=2, outer=Accumulator(E4M3, R.RNE, Rule.ERROR)),
        Accumulator(BINARY32, product=strict),
        Accumulator(BINARY16, R.RNE, Rule.PROPAGATE, product=strict),
        Accumulator(E4M3, product=strict, chunk=2),
        Accumulator(E4M3, product=strict, chunk=2, outer=Accumulator(BINARY16)),
    ]
    for acc in refusing:
        scaled = big * (np.float32(32) if acc.format == E5M2 or acc.product is not None else np.float32(1))
        with pytest.raises(OverflowError, match=r"output \(0, 0\)"):
            matmul(scaled, scaled.T, acc)
        with pytest.raises(OverflowError):
            reference.matmul(scaled, scaled.T, acc)
        small = scaled / 32
        check(acc, small, small.T)
    # The sums saturate as they are told to; only the products are watched, and they fit.
    for acc in (
        Accumulator(E4M3, product=strict),
        Accumulator(E4M3, product=strict, chunk=2),
        Accumulator(E4M3, product=strict, chunk=2, outer=clamped),
        Accumulator(E4M3, R.RNE, Rule.PROPAGATE, product=strict),
    ):
        assert (check(acc, big, big.T) == 448).all()
    with pytest.raises(OverflowError, match=r"output \(1, 0\)"):
        matmul(big * np.array([[1], [64]], np.float32), big[:1].T, Accumulator(E5M2, R.RNE, Rule.ERROR))


def test_infinity_minus_infinity():
    acc = Accumulator(E5M2, R.RNE, Rule.IEEE, chunk=2)  # its two sums are infinities
    a, b = np.array([[57344.0, 57344.0, -57344.0, -57344.0]]), np.ones((4, 1))
    assert np.isnan(check(acc, a, b)[0, 0])
    found = check(Accumulator(E5M2, R.RNE, Rule.IEEE), a, b)
    assert found[0, 0] == np.inf  # and stays


def test_dot_is_a_row_times_a_column():
    rng = np.random.default_rng(15)
    x, y = ordinary(rng, 50), ordinary(rng, 50)
    for acc in (LBA, Accumulator(E4M3)):
        found = dot(x, y, acc)
        assert isinstance(found, np.float64)
        assert found == matmul(x[None], y[:, None], acc)[0, 0] == reference.accumulate(x, y, acc)
        assert dot(x.astype(np.float32), y.astype(np.float32), acc).dtype == np.float32
        assert dot(x[::-1], y[::-1], acc, c=2.5) == reference.accumulate(x[::-1], y[::-1], acc, 2.5)


def test_threads_do_not_change_a_bit(on_threads):
    rng = np.random.default_rng(16)
    a, b = ordinary(rng, (3, 65, 70)).astype(np.float32), ordinary(rng, (70, 130)).astype(np.float32)
    results = []
    for count in (1, 2, 5):
        on_threads(count)
        results.append((matmul(a, b, LBA), matmul(b.T, a.swapaxes(-1, -2), LBA)))
    for first, second in results[1:]:
        assert_same_bits(first, results[0][0])
        assert_same_bits(second, results[0][1])
    # No output depends on what is computed beside it.
    for i in (0, 17, 64):
        assert_same_bits(matmul(a[1, i : i + 1], b, LBA), results[0][0][1, i : i + 1])
        assert_same_bits(matmul(a[1], np.ascontiguousarray(b[:, i : i + 1]), LBA), results[0][0][1, :, i : i + 1])


def test_subnormal_kinds_differ_where_they_should():
    # 2**-7 is a subnormal of E4M3, below the smallest normal 2**-6: kept, flushed, a normal of one more binade.
    a, b = np.array([[2.0**-3]]), np.array([[2.0**-4]])
    for subnormals, wanted in ((Subnormals.GRADUAL, 2.0**-7), (Subnormals.FLUSH, 0), (Subnormals.FULL_BINADE, 2.0**-7)):
        fmt = FloatFormat(4, 3, subnormals=subnormals)
        assert matmul(a, b, Accumulator(fmt))[0, 0] == wanted
