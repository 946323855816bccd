"""What the masks of a chain mean, by finite differences of the product itself; and what is refused."""

import numpy as np
import pytest

from numerics import (
    Accumulator,
    FixedFormat,
    FloatFormat,
    Overflow,
    Quantizer,
    Rounding,
    catalog,
    chain_gradients,
    chain_masks,
    chains,
    matmul,
    random_words,
    reference,
)
from numerics.questions import check_question
from tests.sampling import but_at_night

M4E3 = catalog.lba(4, 3, 3, paper=True)  # 2**-3 to 31
LBA = Accumulator(M4E3, Rounding.RTZ, product=Quantizer(catalog.lba(4, 3, 5, paper=True), Rounding.RTZ))
CHUNKED = Accumulator(M4E3, Rounding.RTZ, product=LBA.product, chunk=16)
HALF = Accumulator(catalog.BINARY16)
SR = Accumulator(FloatFormat(3, 4), Rounding.SR, random_bits=8, chunk=16)
OVER = {"rule": "recursive", "event": "overflow"}
RECURSIVE = {"rule": "recursive", "event": "diff"}
FAR = {"rule": "immediate", "event": "diff", "tolerance": 0.125}


def operands(*shape, scale=1.0):
    """Members of e4m3fn, [M, K] and [K, N]."""
    m, k, n = shape
    draw = np.random.default_rng(sum(shape))
    values = (draw.normal(scale=scale, size=s).astype(np.float32) for s in ((m, k), (k, n)))
    return tuple(Quantizer(catalog.E4M3).quantize(x) for x in values)


def row(*values):
    return np.array([values], np.float32)


def ones(count):
    return np.ones((count, 1), np.float32)


CASES = {
    "chunked": (CHUNKED, {}),
    "chunked, overflow": (CHUNKED, OVER),
    "one chain": (LBA, RECURSIVE),
    "one chain, overflow": (LBA, OVER),
    "far": (LBA, FAR),
    "binary16": (HALF, {}),
    "words": (SR, RECURSIVE),
}


@pytest.mark.parametrize("case", but_at_night(CASES, ["chunked, overflow", "far", "binary16"]))
def test_the_oracle_agrees(case):
    accumulator, question = CASES[case]
    a, b = operands(2, 70, 3, scale=2.0)
    words, keys = None, {}
    if accumulator.stochastic:
        span = accumulator.roundings(70)
        words, keys = random_words(6 * span, 8, seed=3).reshape(2, 3, span), {"seed": 3}
    found = chain_masks(a, b, accumulator, **question, **keys)
    wanted = reference.chains.chain_masks(a, b, accumulator, words=words, **question)
    np.testing.assert_array_equal(found, wanted)
    assert 0.1 < found.mean() < 1 or accumulator is HALF
    gradient = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    grads = chain_gradients(a, b, gradient, accumulator, **question, **keys)
    for own, other in zip(grads, reference.chains.chain_gradients(a, b, gradient, wanted), strict=True):
        assert own.dtype == np.float32
        np.testing.assert_array_equal(own, other)


def test_diff_is_whether_zero_in_place_of_the_product_changes_the_sum():
    a, b = operands(4, 24, 3, scale=2.0)
    found = chain_masks(a, b, CHUNKED)[:, :, :16]  # the first chunk, whose sum is the first of the outer chain
    wanted = np.empty_like(found)
    for k in range(16):
        without = a[:, : k + 1].copy()
        without[:, k] = 0
        after, before = (matmul(x, b[: k + 1], CHUNKED) for x in (a[:, : k + 1], without))
        wanted[:, :, k] = after != before
    total = matmul(a[:, :16], b[:16], CHUNKED) != 0
    np.testing.assert_array_equal(found, wanted & total[:, :, None])
    assert 0.5 < found.mean() < 1


def test_the_way_through_is_whether_zero_in_place_of_the_sum_changes_the_next():
    grid = np.array([0, 0.0625, 0.125, 0.25, 1, 1.5, 3, 14, 31, -0.125, -0.25, -1, -1.5, -31], np.float32)
    pairs = np.array([(x, y) for x in grid for y in grid])
    found = chain_masks(pairs, ones(2), LBA, **RECURSIVE)[:, 0]
    after = matmul(pairs, ones(2), LBA)[:, 0]
    first = matmul(pairs[:, :1], ones(1), LBA)[:, 0]
    second = matmul(pairs * np.float32([0, 1]), ones(2), LBA)[:, 0]
    np.testing.assert_array_equal(found[:, 0], (first != 0) & (after != second))
    np.testing.assert_array_equal(found[:, 1], after != first)
    assert 0.2 < found[:, 0].mean() < 0.95


def test_overflow_is_whether_more_of_the_same_changes_nothing():
    grid = np.array([0.5, 1, 2, 3, 4.5, 6, 6.5, 7, 7.5], np.float32)
    rows = np.array([(6, 6, 6, 6, x, y) for x in grid for y in grid], np.float32)
    rows = np.concatenate([rows, -rows])
    found = chain_masks(rows, ones(6), LBA, **OVER)[:, 0, 5]
    for more in (2.0**-8, 64.0):
        larger = rows + np.sign(rows) * np.float32([0, 0, 0, 0, 0, more])
        same = (matmul(rows, ones(6), LBA) == matmul(larger, ones(6), LBA))[:, 0]
        assert same[~found].all()
    np.testing.assert_array_equal(found, ~same)  # truncation: short of the largest, enough more changes the sum
    assert 0.2 < found.mean() < 0.8


def test_the_largest_itself_counts_as_saturated_and_just_below_does_not():
    below = row(6, 6, 6, 6, 6, 1 - 2.0**-12)
    assert chain_masks(below, ones(6), LBA, **OVER).all()
    assert not chain_masks(np.ceil(below), ones(6), LBA, **OVER).any()
    wide = Accumulator(catalog.BINARY32, overflow=Overflow.IEEE)
    top = np.float32(catalog.BINARY32.max)
    for second, alive in ((0.0, False), (-1.0, True), (1.0, False)):  # float32's own sums are all the largest
        assert chain_masks(row(top, second), ones(2), wide, event="overflow")[0, 0, 1] == alive


def test_once_the_sum_saturates_all_earlier_terms_get_nothing():
    a = row(7, 7, 7, 7, 7, -3, 1)
    assert chain_masks(a, ones(7), LBA, **OVER)[0, 0].tolist() == [False] * 5 + [True, True]
    of_a, of_b = chain_gradients(a, ones(7), row(2), LBA, **OVER)
    assert of_a.tolist() == [[0, 0, 0, 0, 0, 2, 2]] and of_b.ravel().tolist() == [0, 0, 0, 0, 0, -6, 2]


def test_a_product_beyond_its_own_format_is_masked_but_lets_the_sum_before_pass():
    # Products saturate at 7.75, sums at 31.
    found = chain_masks(row(1, 8, 1), ones(3), LBA, **OVER)[0, 0]
    assert found.tolist() == [True, False, True]


def test_chunks_whose_sum_is_swamped_pass_nothing():
    a = np.zeros((1, 33), np.float32)
    a[0, :4], a[0, 16], a[0, 32] = 6, 0.5, 4  # 24, then 0.5 below its ulp, then 4
    found = chain_masks(a, ones(33), CHUNKED)[0, 0]
    assert np.flatnonzero(found).tolist() == [0, 1, 2, 3, 32]


def test_identity_takes_a_descent_step_the_wrong_way_and_diff_the_right_one():
    # y = 24 - 2w + 50 * 0.375w: what is added to 24 or 22 is below its ulp, so that really y = 24 - 2w.
    x = np.float32([6] * 4 + [-2] + [0.375] * 50)[None]

    def loss_and_slope(w, rule):
        column = np.float32([1] * 4 + [w] * 51)[:, None]
        y = matmul(x, column, LBA)
        of_column = chain_gradients(x, column, 2 * (y - 20), LBA, rule=rule)[1]
        return float((y - 20).item() ** 2), float(of_column[4:].sum())

    start, slope = loss_and_slope(1.0, "identity")
    assert start == 4 and slope > 0  # that is, a smaller w would do; it is a larger loss
    assert loss_and_slope(0.5, "identity")[0] > start
    w = 1.0
    for _ in range(40):
        w -= loss_and_slope(w, "recursive")[1] / 16
    assert loss_and_slope(w, "recursive")[0] == 0


def test_identity_is_the_gradient_of_the_exact_product_in_any_order():
    a, b = operands(3, 40, 5)
    gradient = np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32)
    for accumulator in (CHUNKED, Accumulator(catalog.BINARY16, order="kahan"), Accumulator(FixedFormat(8))):
        of_a, of_b = chain_gradients(a, b, gradient, accumulator, rule="identity")
        np.testing.assert_allclose(of_a, gradient.astype(float) @ b.T.astype(float), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(of_b, a.T.astype(float) @ gradient.astype(float), rtol=1e-6, atol=1e-6)
        assert chain_masks(a, b, accumulator, rule="identity").all()


def test_neither_threads_nor_panels_change_a_bit(monkeypatch, on_threads):
    a, b = operands(37, 70, 41)
    gradient = np.random.default_rng(2).normal(size=(37, 41)).astype(np.float32)
    whole = chain_gradients(a, b, gradient, CHUNKED)
    monkeypatch.setattr(chains, "WORDS_AT_ONCE", 5 * 3 * 41)  # five rows at a time
    on_threads(3)
    parts = chain_gradients(a, b, gradient, CHUNKED)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, other)


def test_given_words_are_those_of_the_product_in_panels_too(monkeypatch):
    a, b = operands(4, 20, 5, scale=2.0)
    span = SR.roundings(20)
    words = random_words(20 * span, 8, seed=3).reshape(4, 5, span)
    drawn = chain_masks(a, b, SR, seed=3, **RECURSIVE)
    monkeypatch.setattr(chains, "WORDS_AT_ONCE", 2 * 5)
    np.testing.assert_array_equal(chain_masks(a, b, SR, words=words, **RECURSIVE), drawn)
    assert (chain_masks(a, b, SR, seed=4, **RECURSIVE) != drawn).any()


def test_stacks_of_matrices_broadcast_and_their_gradients_are_summed():
    left, right = operands(6, 20, 4, scale=2.0)
    gradient = np.random.default_rng(3).normal(size=(3, 2, 4))
    stacked = left.reshape(3, 2, 20)
    masks = chain_masks(stacked, right, CHUNKED)
    np.testing.assert_array_equal(masks.reshape(6, 4, 20), chain_masks(left, right, CHUNKED))
    of_a, of_b = chain_gradients(stacked, right, gradient, CHUNKED)
    flat_a, flat_b = chain_gradients(left, right, gradient.reshape(6, 4), CHUNKED)
    np.testing.assert_array_equal(of_a.reshape(6, 20), flat_a)
    np.testing.assert_array_equal(of_b, flat_b)
    of_a, of_b = chain_gradients(
        left[None, None, :2], np.stack([right, -right])[:, None], np.ones((2, 1, 2, 4)), CHUNKED
    )
    assert of_a.shape == (1, 1, 2, 20) and of_b.shape == (2, 1, 20, 4)
    assert not of_a.any()  # what one matrix gives, its negative takes


def test_masked_terms_are_left_out_even_where_the_gradient_is_infinite():
    a = row(6, 6, 6, 6, 0.5, 4)
    of_a, of_b = chain_gradients(a, ones(6), row(np.inf), LBA, **RECURSIVE)
    wanted = [np.inf] * 4 + [0, np.inf]
    assert of_a.tolist() == [wanted] and of_b.ravel().tolist() == wanted


@pytest.mark.parametrize("shapes", [((0, 3), (3, 2)), ((2, 0), (0, 3)), ((2, 3), (3, 0))])
def test_nothing_gives_zeros(shapes):
    a, b = (np.ones(shape, np.float32) for shape in shapes)
    of_a, of_b = chain_gradients(a, b, np.ones((len(a), b.shape[1])), LBA)
    assert of_a.shape == a.shape and of_b.shape == b.shape and not of_a.any() and not of_b.any()
    assert chain_masks(a, b, LBA).shape == (len(a), b.shape[1], a.shape[1])


WIDE = Accumulator(FloatFormat(11, 40))


def test_a_tolerance_is_any_number_also_one_that_is_no_key():
    for half in (0.5, np.float32(0.5), np.array(0.5)):
        assert check_question(LBA, "immediate", "diff", half).tolerance == 0.5


@pytest.mark.parametrize(
    ("accumulator", "options", "kind", "sentence"),
    [
        (catalog.MATRIX_UNITS["h100.f16.f32"], {}, TypeError, "masks are of the steps of a chain; give"),
        (LBA, {"rule": "none"}, ValueError, "rule 'none' is not known: known are identity, immediate, recursive"),
        (LBA, {"event": "underflow"}, ValueError, "event 'underflow' is not known: known are overflow, diff"),
        (LBA, {"tolerance": -0.5}, ValueError, r"tolerance = -0.5: give 0, or a relative difference from 2\*\*-64"),
        (LBA, {"tolerance": float("nan")}, ValueError, "tolerance = nan: give 0"),
        (LBA, {"tolerance": 0.5, "event": "overflow"}, ValueError, 'a tolerance is for event="diff"; leave it out'),
        (WIDE, {"tolerance": 0.5}, ValueError, "differences are compared exactly for exponents within .-900; give"),
        (
            Accumulator(FixedFormat(8)),
            {},
            ValueError,
            "an accumulator in .* has no masks yet: give one in a FloatFormat",
        ),
        (Accumulator(M4E3, order="pairwise"), {}, ValueError, "order 'pairwise' is no chain of steps .* give order="),
        (Accumulator(M4E3, order="kahan"), {}, ValueError, "order 'kahan' is no chain"),
        (
            Accumulator(M4E3, chunk=4, outer=Accumulator(M4E3, order="exact")),
            {},
            ValueError,
            "order 'exact' is no chain",
        ),
        (Accumulator(M4E3, Rounding.SR), {}, ValueError, "SR needs random words: give seed="),
    ],
)
def test_what_is_refused(accumulator, options, kind, sentence):
    a, b = np.ones((2, 3)), np.ones((3, 4))
    with pytest.raises(kind, match=sentence):
        chain_masks(a, b, accumulator, **options)
    with pytest.raises(kind, match=sentence):
        chain_gradients(a, b, np.ones((2, 4)), accumulator, **options)


def test_gradients_and_operands_that_are_refused():
    a, b = np.ones((2, 3)), np.ones((3, 4))
    with pytest.raises(ValueError, match=r"gradient of shape \(4, 2\): give that of the product, \(2, 4\)"):
        chain_gradients(a, b, np.ones((4, 2)), LBA)
    with pytest.raises(TypeError, match="gradient of dtype int64"):
        chain_gradients(a, b, np.ones((2, 4), int), LBA)
    with pytest.raises(ValueError, match=r"a\[0, 1\] is nan"):
        chain_masks(row(1, np.nan), ones(2), LBA)
    third = np.full((1, 1), 1 / 3)
    with pytest.raises(ValueError, match="masks of overflow of sums in binary64 are not exact for these operands"):
        chain_masks(third, third, Accumulator(catalog.BINARY64, overflow=Overflow.IEEE), event="overflow")
    error = Accumulator(M4E3, Rounding.RTZ, Overflow.ERROR)
    with pytest.raises(OverflowError, match=r"the accumulation of output \(0, 0\) overflows"):
        chain_masks(row(30, 30), ones(2), error)
