"""Products in fixed point against the oracle: every route that is allowed, by name, gives its bits and its events."""

from dataclasses import replace

import numpy as np
import pytest

from numerics import (
    Accumulator,
    FixedFormat,
    Overflow,
    Quantizer,
    Rounding,
    matmul,
    reference,
)
from numerics.fixed_products import fixed_product, fixed_route, fixed_routes
from numerics.problem import Words
from tests.numerics.fixed_problems import check, drawn_words, fixed, problem, whole
from tests.numerics.grids import MODES, assert_same_bits
from tests.sampling import but_at_night

R, Rule = Rounding, Overflow
# Each combination of modes, rules and carrier is compiled, for a second or more: cases share them where they can.
WIDTHS = (4, 16, 24, 25, 26, 30, 31, 32, 33, 52, 53, 54, 55, 63, 64)
BIG = (Rule.SATURATE, Rule.WRAP)


def rng_of(*seed):
    return np.random.default_rng(seed)


def near_limits(rng, bits, m=3, k=9, n=4):
    """Integers whose running sums pass the limits of a signed format now and then; at most 53 bits each."""
    left = min(max(2, bits // 2), 30)
    return whole(rng, (m, k), left), whole(rng, (k, n), max(2, min(bits - left + 1, 52)))


# --- limits at every step, nothing to round


@pytest.mark.nightly
def test_five_products_of_100_by_100_in_16_bits():
    # apytypes 0.5.1 gives 50000 in both modes: issue 857.
    a, b = np.full((1, 5), 100.0), np.full((5, 1), 100.0)
    for rule, wanted in ((Rule.WRAP, -15536), (Rule.SATURATE, 32767)):
        acc = fixed(16, overflow=rule)
        assert check(acc, a, b)
        assert fixed_product(problem(a, b), acc)[0].tolist() == [[[wanted]]]
    with pytest.raises(
        OverflowError, match=r"30000 \+ 100.0 \* 100.0, the sum at step k = 3 of output \(0, 0\), is out"
    ):
        fixed_product(problem(a, b), fixed(16, overflow=Rule.ERROR))


@pytest.mark.parametrize("rule", but_at_night([*BIG, Rule.ERROR], [Rule.ERROR]), ids=lambda rule: rule.name)
@pytest.mark.sampled
@pytest.mark.parametrize("bits", WIDTHS)
def test_every_width(bits, rule):
    rng = rng_of(bits, 1)
    for start in (False, True):
        a, b = near_limits(rng, bits)
        c = whole(rng, (3, 4), min(bits, 53)) if start else None
        check(fixed(bits, overflow=rule), a, b, c, events=bits in (16, 25, 54, 64))


def test_which_routes_there_are():
    rng = rng_of(2)
    a, b = near_limits(rng, 16)
    check(fixed(16), a, b, must=("float32", "int32", "float64", "float32 steps", "float64 steps", "int64", "exact"))
    check(fixed(16, overflow=Rule.WRAP), a, b, must=("sgemm", "dgemm", "modulo", "float32 steps"))
    check(fixed(20), whole(rng, (3, 7), 8), whole(rng, (7, 4), 8), must=("sgemm", "dgemm", "modulo"))
    check(
        fixed(64, overflow=Rule.WRAP), whole(rng, (3, 7), 31), whole(rng, (7, 4), 31), must=("sliced dgemm", "modulo")
    )
    check(fixed(64), whole(rng, (3, 7), 33), whole(rng, (7, 4), 31), must=("int64", "exact"))
    check(fixed(30), whole(rng, (3, 7), 15), whole(rng, (7, 4), 15), must=("int32", "float64"))


def test_limits_that_are_the_ends_of_a_carrier():
    # One more bit and float32 (float64) would no longer hold the limits: 25 (54) bits are held, -2**24 and 2**24 - 1.
    for bits, name in ((25, "float32"), (54, "float64")):
        steps = 1 << (bits - 3)
        a = np.array([[1.0, 1, 1, 1, 1, 1, 1, -1, -1, 1]])
        b = np.array([[1.0, 1, 1, 1, -1, -1, -1, 1, 1, 1]]).T * steps
        b[4], b[9] = 1, 3
        for c in (None, np.array([[-1.0]]), np.array([[float(1 << (bits - 1))]]), np.array([[-float(1 << bits)]])):
            names = check(fixed(bits), a, b, c)
            assert name in names
            assert name not in check(fixed(bits + 1), a, b, c)


def test_products_beyond_the_carriers():
    # Wider than 64 bits, or than any sum that fits: they saturate to their own side, or wrap.
    a = np.array([[2.0**60, -(2.0**70), 3.0, 2.0**-3]])
    b = np.array([[2.0**60 + 2.0**30, 2.0**10, 5.0, 8.0], [2.0**10, 2.0**10, 1.0, -8.0]]).T
    for bits in (8, 32, 64):
        for rule in BIG:
            check(fixed(bits, overflow=rule), a, b)
            check(fixed(bits, overflow=rule), a * 2.0**30, b, np.full((1, 2), -(2.0**60)))
            check(fixed(bits, overflow=rule), a[:, 2:], b[2:], np.full((1, 2), -(2.0**100)))
            check(fixed(bits, 8, overflow=rule), a, b, np.full((1, 2), 2.0**50))


@pytest.mark.parametrize("fraction_bits", [7, 8, 20, 60])
def test_products_that_wrap_to_nothing(fraction_bits):
    # A shift past the format's bits leaves none: of vectors that is what machines do, of what is left beside them not.
    for n in (1, 3, 5):
        a, b = np.full((1, 3), 3.0, np.float32), np.full((3, n), 5.0, np.float32)
        check(fixed(8, fraction_bits, overflow=Rule.WRAP), a, b)
        wanted = 45 * 2**fraction_bits % 256 - 256 * (fraction_bits == 7)
        assert (matmul(a, b, fixed(8, fraction_bits, overflow=Rule.WRAP)) == np.ldexp(wanted, -fraction_bits)).all()


def test_large_operands_times_nothing():
    # More rows than columns are turned round: what then has to fit are other integers, though every product is zero.
    for bits, large, route in ((28, 2.0**40, "int32"), (40, 2.0**70, "int64")):
        a, b, c = np.full((4, 2), large), np.zeros((2, 1)), np.full((4, 1), 2.0 ** (bits + 1))
        assert route not in check(fixed(bits), a, b, c)
        assert route in check(fixed(bits), a / large, b, c)


@pytest.mark.parametrize("bits", but_at_night([1, 8, 16, 31, 53, 63, 64], [8, 31, 63]))
def test_unsigned(bits):
    rng = rng_of(bits, 3)
    a, b = (abs(x) for x in near_limits(rng, bits))
    for rule in (*BIG, Rule.ERROR):
        acc = Accumulator(FixedFormat(bits, signed=False), overflow=rule)
        check(acc, a, b, events=bits in (16, 64))
        check(acc, a, b, abs(whole(rng, (3, 4), min(bits + 1, 53))), events=False)
    top = fixed_product(problem(a, b, np.full((3, 4), 2.0**64)), Accumulator(FixedFormat(64, signed=False)))[0]
    assert top.dtype == np.int64 and (top.view(np.uint64) == np.uint64(2**64 - 1)).all()


def test_symmetric_formats():
    rng = rng_of(4)
    a, b = near_limits(rng, 8)
    check(Accumulator(FixedFormat(8, symmetric=True)), a, b)
    check(Accumulator(FixedFormat(8, 2, symmetric=True)), a / 4, b / 4)


# --- rounding


def off_grid(rng, fraction_bits, m=3, k=9, n=4):
    """Operands of products down to 2**-fraction_bits: ties, and all fractions between."""
    return whole(rng, (m, k), 7, fraction_bits // 2), whole(rng, (k, n), 7, fraction_bits - fraction_bits // 2)


@pytest.mark.parametrize(
    "mode", but_at_night(MODES, [R.RNA, R.RTZ, R.RTO, R.RTP, R.RTN, R.SR_B, R.SR_C]), ids=lambda mode: mode.name
)
def test_every_mode(mode):
    rng = rng_of(5, mode)
    for r in (1, 4, 23, 24, 32) if mode.stochastic else (None,):
        for fraction_bits in (6, 11):
            a, b = off_grid(rng, fraction_bits)
            for c in (None, whole(rng, (3, 4), 12, 5)):
                acc = fixed(12, 3, rounding=mode, random_bits=r)
                words = drawn_words(rng, acc, (3, 4), 9)
                check(acc, a, b, c, words, events=mode is R.RNE, must=("float32 steps", "float64 steps"))


@pytest.mark.parametrize(
    ("mode", "r"),
    but_at_night(
        [(R.RNE, None), (R.RTZ, None), (R.SR, 3), (R.SR_C, 3), (R.SR, 30)], [(R.RTZ, None), (R.SR, 3)], several=True
    ),
)
def test_sums_rounded_to_odd(mode, r):
    # Products far below the grid, so that sums are not exact in the carrier; some undo what was there.
    rng = rng_of(6, mode)
    for bits, low in ((8, 16), (20, 16), (21, 40), (49, 10), (51, 10), (52, 10)):
        acc = fixed(bits, 2, rounding=mode, random_bits=r)
        a, b = whole(rng, (3, 7), 9, low), whole(rng, (7, 4), min(bits, 40), 3)
        a[:, 1::2] = -a[:, :5:2]
        b[1::2] = b[:5:2]
        for c in (None, whole(rng, (3, 4), 20, 6) * 2.0 ** (bits - 20)):
            words = drawn_words(rng, acc, (3, 4), 7)
            names = check(acc, a, b, c, words, events=False)
            guard = 2 if r is None else r + (1 if mode is R.SR else 2)
            assert ("float64 odd" in names) == (bits + guard <= 53)
            if bits + guard > 24:
                assert "float32 odd" not in names


@pytest.mark.parametrize(
    "rule",
    [Rule.SATURATE, *(pytest.param(rule, marks=pytest.mark.nightly) for rule in (Rule.WRAP, Rule.ERROR))],
    ids=lambda rule: rule.name,
)
@pytest.mark.parametrize("events", but_at_night([False, True], [True]))
def test_rounded_products(rule, events):
    rng = rng_of(7)
    seen = set()
    for product in (
        Quantizer(FixedFormat(6, 2), R.RTZ, rule),
        Quantizer(FixedFormat(12, 5), R.RTZ, rule),
        Quantizer(FixedFormat(9, 9), R.RTZ, rule),
        Quantizer(FixedFormat(40, 20), R.RTZ, rule),  # wide enough for every product: nothing to round
    ):
        for fraction_bits in (0, 8, 11):
            a, b = off_grid(rng, fraction_bits)
            acc = fixed(10, 3, product=product, overflow=Rule.WRAP if rule is Rule.WRAP else Rule.SATURATE)
            seen.update(check(acc, a / 4, b, events=rule is Rule.SATURATE and fraction_bits == 8 and events))
    assert {"float32 steps", "float64 steps", "exact"} <= seen


@pytest.mark.nightly
@pytest.mark.parametrize(("mode", "r"), [(R.SR, 5), (R.SR_B, 32), (R.SR_C, 7)])
def test_words_of_products_and_of_sums(mode, r):
    rng = rng_of(8, mode)
    product = Quantizer(FixedFormat(12, 4), R.SR, random_bits=9)
    for order, block in (("sequential", None), ("pairwise", None), ("pairwise", 2)):
        acc = fixed(12, 2, rounding=mode, random_bits=r, product=product, order=order, block=block)
        a, b = off_grid(rng, 10)
        words = drawn_words(rng, acc, (3, 4), 9)
        check(acc, a, b, None, words, events=order == "sequential" and mode is R.SR)


@pytest.mark.parametrize("order", ["sequential", pytest.param("pairwise", marks=pytest.mark.nightly)])
def test_drawn_words_are_those_of_the_seed(order):
    rng = rng_of(9)
    a, b = off_grid(rng, 9)
    acc = fixed(12, 2, rounding=R.SR, random_bits=11, product=Quantizer(FixedFormat(12, 4), R.SR), order=order)
    plain = problem(a, b)
    span, first = acc.roundings(9) + 5, 3
    drawn = plain._replace(words=Words(7, 1, span, first))
    given = np.zeros((12, acc.roundings(9)), np.uint32)
    steps = (slice(0, None, 2), slice(1, None, 2)) if order == "sequential" else (slice(0, 9), slice(9, None))
    for r, own in zip((32, 11), steps, strict=True):
        given[:, own] = drawn.words.of(slice(0, 12), slice(0, given.shape[1]), r)[:, own]
    for route in fixed_routes(drawn, acc):
        found = fixed_product(drawn, acc, route=route.name)[0]
        assert (found == fixed_product(problem(a, b, None, given), acc)[0]).all(), route


# --- order, c, shapes


@pytest.mark.sampled
@pytest.mark.parametrize("block", but_at_night([None, 1, 2, 4, 100], [None, 1, 4, 100]))
@pytest.mark.parametrize("k", but_at_night([1, 2, 3, 8, 13], [1, 2, 3, 8]))
@pytest.mark.parametrize("events", but_at_night([False, True], [True]))
def test_pairwise(block, k, events):
    rng = rng_of(10, k)
    acc = fixed(9, 2, order="pairwise", block=block)
    for fraction_bits in (2, 7):
        a, b = off_grid(rng, fraction_bits, k=k)
        check(acc, a, b, events=events and fraction_bits == 7)
        check(acc, a, b, whole(rng, (3, 4), 14, 6), events=False)
    a, b = whole(rng, (3, k), 7), whole(rng, (k, 4), 7)
    check(fixed(9, overflow=Rule.WRAP, order="pairwise", block=block), a, b, must=("sgemm", "modulo"), events=False)


@pytest.mark.nightly
@pytest.mark.parametrize("block", [None, 1, 2, 4, 100])
@pytest.mark.parametrize("k", [1, 2, 3, 8, 13])
def test_pairwise_reports(block, k):
    check(
        fixed(9, 2, overflow=Rule.ERROR, order="pairwise", block=block), *off_grid(rng_of(20, k), 2, k=k), events=False
    )


def test_c_below_the_grid():
    # It is part of the first exact sum, not rounded before: 3/8 + 1/8 is a half, and -1 + 2**-50 is not -1.
    acc = fixed(8)
    for c, a, b in ((0.375, 0.125, 1.0), (2.0**-50, -1.0, 1.0), (-(2.0**-50), 0.5, 1.0), (0.5, -(2.0**-60), 1.0)):
        for mode in (R.RNE, R.RTZ):
            check(
                replace(acc, rounding=mode), np.array([[a, 1.0]]), np.array([[b], [1.0]]), np.array([[c]]), events=False
            )


def test_shapes():
    rng = rng_of(11)
    acc = fixed(12, 3)
    for left, right in (
        ((2, 3, 5), (2, 5, 4)),
        ((1, 3, 5), (2, 5, 4)),
        ((2, 3, 5), (1, 5, 4)),
        ((1, 40, 5), (1, 5, 3)),
    ):
        for low in (2, 8):
            a, b = whole(rng, left, 6, low // 2), whole(rng, right, 6, low // 2)
            shape = max(left[0], right[0]), left[1], right[2]
            check(acc, a, b)
            check(acc, a.astype(np.float32), b, whole(rng, shape, 9, 2))
            view = np.asfortranarray(a)[:, ::-1]
            found = fixed_product(problem(view, b), acc)[0]
            assert (found == fixed_product(problem(np.ascontiguousarray(view), b), acc)[0]).all()


def test_more_columns_and_steps_than_a_tile():
    rng = rng_of(12)
    a, b = whole(rng, (6, 131), 6), whole(rng, (131, 1030), 6)
    for acc in (fixed(11), fixed(11, -3), fixed(11, order="pairwise")):
        given = problem(a, b)
        results = [fixed_product(given, acc, route=route.name)[0] for route in fixed_routes(given, acc)]
        assert all((found == results[0]).all() for found in results)
    acc = fixed(11, -3, rounding=R.SR, random_bits=6)
    given = problem(a, b)._replace(words=Words(3, 0, 131))
    results = [fixed_product(given, acc, route=route.name)[0] for route in fixed_routes(given, acc)]
    assert all((found == results[0]).all() for found in results) and len(results) > 2


@pytest.mark.parametrize("rule", BIG, ids=lambda rule: rule.name)
def test_events_of_whole_numbers_in_lanes(rule):
    rng, swamped = rng_of(15), False
    for rows, k, columns in ((6, 131, 1030), (2, 40, 64), (40, 7, 19), (3, 1, 35)):
        a, b, c = whole(rng, (rows, k), 4), whole(rng, (k, columns), 6), whole(rng, (rows, columns), 8)
        a[0], b[:, ::3] = 0, rng.integers(-1, 2, b[:, ::3].shape)  # few overflow, others in each step
        given = problem(a, b, c)
        found, counts = fixed_product(given, fixed(9, overflow=rule), events=True, route="float32 steps")
        wanted, exact = fixed_product(given, fixed(9, overflow=rule), events=True, route="exact")
        assert (found == wanted).all()
        for name in exact:
            assert (counts[name] == exact[name]).all(), name
        assert counts["overflow"].any()
        swamped |= bool(counts["swamped"].any())
    assert swamped == (rule is Rule.SATURATE)


def test_events_of_products_that_c_takes_back():
    # 4097**2 has 25 bits: only its sum with c is a float32, and lies within the limits.
    for columns in (16, 3):
        given = problem(np.full((1, 1), 4097.0), np.full((1, columns), 4097.0), np.full((1, columns), 1.0 - 4097**2))
        found, counts = fixed_product(given, fixed(16), events=True, route="float32 steps")
        assert (found == 1).all() and not any(count.any() for count in counts.values())


def test_events_of_rounded_products_where_no_overflow_was_reported():
    # Sums of rounded products lie on the grid, and what was looked at for errors is counted all the same.
    rng = rng_of(16)
    given = problem(whole(rng, (2, 9), 4, 2), whole(rng, (9, 18), 4, 2))
    acc = fixed(16, 2, overflow=Rule.ERROR, product=Quantizer(FixedFormat(12, 2), R.RTZ, Rule.ERROR))
    found, counts = fixed_product(given, acc, events=True, route="float32 steps")
    wanted, exact = fixed_product(given, acc, events=True, route="exact")
    assert (found == wanted).all()
    assert all((counts[name] == exact[name]).all() for name in exact)
    assert counts["product_inexact"].any() and not counts["overflow"].any()


def test_any_number_of_threads_gives_the_same_bits(on_threads):
    rng = rng_of(13)
    a, b = whole(rng, (67, 70), 7, 3), whole(rng, (70, 65), 7, 3)
    cases = [(acc, problem(a, b)) for acc in (fixed(12, 3), fixed(12, 6), fixed(12, 6, overflow=Rule.WRAP))]
    cases.append((fixed(12, 3, rounding=R.SR, random_bits=6), problem(a, b)._replace(words=Words(3, 0, 70))))
    for acc, given in cases:
        for route in fixed_routes(given, acc):
            found = []
            for count in (1, 3):
                on_threads(count)
                found.append(fixed_product(given, acc, route=route.name)[0])
            assert (found[0] == found[1]).all(), route


def test_no_products_overflow_no_events_by_proof():
    rng = rng_of(14)
    a, b = whole(rng, (3, 7), 5), whole(rng, (7, 4), 5)
    for rule in (Rule.SATURATE, Rule.WRAP, Rule.ERROR):
        acc = fixed(16, overflow=rule)
        names = check(acc, a, b, whole(rng, (3, 4), 8))
        assert fixed_route(problem(a, b), acc, events=True).name == "sgemm" and "sgemm" in names


# --- errors and refusals


def test_the_first_overflow_is_named():
    a = np.ones((1, 2, 6))
    b = np.array([[1.0, 1, 60, 60, 0, 0], [1, 60, 60, 60, 0, 0], [100, 100, -100, 0, 0, 0]]).T[None]
    acc = fixed(8, overflow=Rule.ERROR)
    for route in fixed_routes(problem(a, b), acc):
        with pytest.raises(OverflowError) as caught:
            fixed_product(problem(a, b), acc, route=route.name)
        assert str(caught.value) == (
            "121 + 1.0 * 60.0, the sum at step k = 3 of output (0, 1), is outside of -128 to 127, the range of s8.0;"
            " scale the operands, or use SATURATE or WRAP"
        )
    fine = problem(a, b[:, :, 2:])
    with pytest.raises(OverflowError, match=r"step k = 1 of output \(0, 0\)"):
        fixed_product(fine, fixed(8, overflow=Rule.ERROR))


def test_the_first_overflow_of_products_and_of_trees():
    a, b = np.array([[1.0, 9.0, 1.0]]), np.array([[1.0], [9.0], [100.0]])
    product = Quantizer(FixedFormat(7), overflow=Rule.ERROR)
    with pytest.raises(
        OverflowError, match=r"^9.0 \* 9.0, the product at step k = 1 of output \(0, 0\), is outside of -64"
    ):
        fixed_product(problem(a, b), fixed(16, product=product))
    for block in (None, 2):
        with pytest.raises(OverflowError, match=r"the product at step k = 1 of output \(0, 0\)"):
            fixed_product(problem(a, b), fixed(16, product=product, order="pairwise", block=block))
        with pytest.raises(OverflowError, match=r"of output \(0, 0\), a sum of the pairwise tree, is outside"):
            fixed_product(problem(a, b), fixed(8, overflow=Rule.ERROR, order="pairwise", block=block))


def test_the_sum_before_an_overflow_has_its_words():
    acc = fixed(4, rounding=R.SR, random_bits=1, overflow=Rule.ERROR)
    words = np.array([[1, 1, 0, 0, 0, 0]], np.uint32)
    with pytest.raises(OverflowError, match=r"^6 \+ 2.5 \* 1.0, the sum at step k = 2"):
        fixed_product(problem(np.full((1, 6), 2.5), np.ones((6, 1)), None, words), acc)


@pytest.mark.parametrize("which", ["a", "b", "c"])
def test_negative_operands_of_unsigned_formats(which):
    a, b, c = np.ones((1, 2, 3)), np.ones((1, 3, 2)), np.ones((1, 2, 2))
    {"a": a, "b": b, "c": c}[which][0, 1, 1] = -2.5
    with pytest.raises(ValueError, match=rf"{which}\[1, 1\] is -2.5: u8.0 is unsigned"):
        fixed_product(problem(a, b, c), Accumulator(FixedFormat(8, signed=False)))
    # -0 is none; and c may be negative where only products are unsigned.
    fixed_product(problem(abs(a), -0.0 * abs(b)), Accumulator(FixedFormat(8, signed=False)))
    product = Quantizer(FixedFormat(8, signed=False))
    if which == "c":
        check(fixed(8, product=product), a, b, c)
    else:
        with pytest.raises(ValueError, match="unsigned"):
            fixed_product(problem(a, b, c), fixed(8, product=product))


def test_refusals():
    a, b = np.ones((1, 1)), np.ones((1, 1))
    with pytest.raises(ValueError, match="one chain or tree"):
        fixed_product(problem(a, b), fixed(8, chunk=2))
    with pytest.raises(ValueError, match="one chain or tree"):
        fixed_product(problem(a, b), fixed(8, order="exact"))
    with pytest.raises(ValueError, match="route 'sgem': exact here are sgemm, dgemm"):
        fixed_product(problem(a, b), fixed(8), route="sgem")
    product = Quantizer(FixedFormat(8), overflow=Rule.WRAP)
    with pytest.raises(ValueError, match=r"products wrap to s8\.0, which has negative values"):
        fixed_product(problem(a, b), Accumulator(FixedFormat(8, signed=False), product=product))
    c = np.array([[(1 + 2.0**-40) * 2.0**-55]])
    with pytest.raises(ValueError, match=r"bits down to 2\*\*-95 and 2\*\*-80, more than 60 below the grid step"):
        fixed_product(problem(a * 2.0**-40, b * 2.0**-40 * (1 + 2.0**40), c), fixed(60))
    given = problem(a * 2.0**50, b * 2.0**50, np.array([[2.0**101 + 2.0**60]]))
    with pytest.raises(ValueError, match=r"reach 2\*\*100, beyond 2\*\*65 grid steps"):
        fixed_routes(given, fixed(60, overflow=Rule.WRAP), events=True)


def test_reasons_have_their_inequality():
    rng = rng_of(15)
    for acc, a, b in (
        (fixed(16), *near_limits(rng, 16)),
        (fixed(12, 3), *off_grid(rng, 8)),
        (fixed(64), *near_limits(rng, 64)),
    ):
        for route in fixed_routes(problem(a, b), acc):
            assert route.name == "exact" or "<" in route.reason, route


@pytest.mark.parametrize(
    ("dtype", "fraction_bits"), [(np.float64, 1000), (np.float64, -900), (np.float32, 126), (np.float32, -122)]
)
def test_grids_at_the_ends_of_the_result(dtype, fraction_bits):
    rng, half = rng_of(31, fraction_bits + 1000), fraction_bits // 2
    a = np.ldexp(rng.integers(-3, 4, (3, 5)).astype(dtype), -half)
    b = np.ldexp(rng.integers(-3, 4, (5, 4)).astype(dtype), half - fraction_bits)
    acc = fixed(5, fraction_bits)
    assert_same_bits(matmul(a, b, acc), np.array(reference.matmul(a, b, acc), dtype))


def test_zeros_have_one_sign_by_every_route():
    a, b = np.array([[-1.0, -4.0], [0.0, -0.0]]), np.array([[0.0, -0.0], [0.0, 1.0]])
    c = np.full((2, 2), -0.0)
    for acc in (
        fixed(4),
        fixed(16),
        fixed(16, 4),
        fixed(16, overflow=Rule.WRAP),
        fixed(60),
        fixed(4, order="pairwise"),
    ):
        for addend in (None, c):
            given = problem(a, b, None if addend is None else c[None])
            for dtype in (np.float32, np.float64):
                if np.finfo(dtype).nmant + 1 >= acc.format.precision:
                    found = matmul(a.astype(dtype), b.astype(dtype), acc, c=addend)
                    assert not np.signbit(found[found == 0]).any(), acc
            for route in fixed_routes(given, acc):
                codes = fixed_product(given, acc, route=route.name)[0]
                assert codes.tolist() == [[[0, -4 << acc.format.fraction_bits], [0, 0]]], (acc, route)
