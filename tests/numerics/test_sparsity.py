"""N:M masks against exact rationals, bit for bit, next to every word at which a draw changes; closed forms by enumeration."""

from fractions import Fraction
from itertools import accumulate, combinations, combinations_with_replacement, permutations, product

import numpy as np
import pytest

from numerics import random_words, sparsity
from numerics.kernels import masks as kernels
from numerics.properties.masks import blocks
from numerics.reference import masks
from numerics.sparsity import exact

DTYPES = (np.float32, np.float64)
PATTERNS = [(n, m, "exact") for n, m in ((1, 2), (1, 4), (2, 4), (2, 8), (4, 8), (3, 5), (3, 4), (2, 2), (1, 1))]
PATTERNS += [(2, m, method) for method in ("approximate", "sequential") for m in (3, 4, 8)]


def nearest(value, dtype):
    """A fraction rounded to nearest even, by looking at the neighbours."""
    guess = dtype(float(value))
    near = [guess, np.nextafter(guess, dtype(0)), np.nextafter(guess, np.finfo(dtype).max)]
    even = lambda x: int(x.view(f"u{x.itemsize}")) & 1  # noqa: E731
    return min(near, key=lambda x: (abs(Fraction(float(x)) - value), even(x)))


def hard_blocks(m, dtype):
    """Where masks go wrong, and where floating point does: ties, far apart, subnormal, near the top of the range."""
    tiny, top = float(np.finfo(dtype).smallest_subnormal), float(np.finfo(dtype).max) / (4 * m)
    ulp = float(np.finfo(dtype).eps)
    rows = [
        [tiny * (i + 1) for i in range(m)],
        [top] * m,
        [top] + [tiny] * (m - 1),
        [top * 2.0**-i for i in range(m)],
        [1.0, 2.0**-60] + [2.0**-30 * (i + 1) for i in range(m - 2)],
        [1.0 + ulp * (i % 3) for i in range(m)],
        [float(m - 1) + 2 * ulp] + [1.0] * (m - 1),  # next to where the largest becomes certain
        [2.0, 1.0] + [1.0] * (m - 3) + [2.0**-70],
        [1.0, 2.0**-24, 2.0**-80, *[0.0] * m],  # a sum that float64 rounds to the middle between two float32 numbers
        [1.0, 1.0, 2.0**-23, 2.0**-80, *[0.0] * m],
        [(3.0 + ulp) * 2.0 ** (-13 * (i % 5)) for i in range(m)],
    ]
    spread = random_words(8 * m, 32, seed=m).astype(np.int64).reshape(8, m)
    drawn = (1 + spread % (1 << 23) / 2.0**23) * 2.0 ** (spread // (1 << 23) % 61 - 30.0)
    kept = np.array([row[:m] for row in rows])
    return np.concatenate([blocks(m, dtype)[:24], kept.astype(dtype), drawn.astype(dtype)])


def estimate(block, n, word, bits, method):
    how = {"exact": {}, "approximate": {"approximate": True}, "sequential": {"sequential": True}}[method]
    return masks.estimate(block, n, word, bits, **how)


def law_of(method, block, n=2):
    return masks.inclusion_probabilities(block, n) if method == "exact" else masks.approximate_probabilities(block)


def shares_of(method, block, n=2):
    """The probabilities whose running sums decide: of elements, or of pairs."""
    few = np.count_nonzero(block) < 3
    return law_of(method, block, n) if few or method != "sequential" else masks.pair_probabilities(block).values()


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
@pytest.mark.parametrize(("n", "m", "method"), PATTERNS)
def test_bits_of_the_oracle_next_to_every_deciding_word(n, m, method, dtype):
    cases = []
    for block in hard_blocks(m, dtype):
        telling = {bits: masks.deciding_words(shares_of(method, block.tolist(), n), bits) for bits in (32, 5)}
        cases += [(block, word, bits) for bits in (32, 5) for word in telling[bits][: 9 if bits == 32 else 3]]
    for bits in (32, 5):
        chosen = [(block, word) for block, word, r in cases if r == bits]
        x, words = np.array([b for b, _ in chosen]), np.array([w for _, w in chosen])
        found = sparsity.mvue(x, n, m, method=method, words=words[:, None], random_bits=bits)
        assert found.dtype == dtype and not np.signbit(found[found == 0]).any()
        for block, word, row in zip(x, words.tolist(), found, strict=True):
            wanted = np.array([nearest(v, dtype) for v in estimate(block.tolist(), n, word, bits, method)], dtype)
            close = 3 * m * np.spacing(np.abs(wanted)) if method != "exact" and dtype == np.float64 else 0
            assert ((row != 0) == (wanted != 0)).all(), (block.tolist(), word, bits, row, wanted)
            assert (np.abs(row - wanted) <= close).all(), (block.tolist(), word, bits, row, wanted)


@pytest.mark.parametrize(("n", "m", "method"), PATTERNS)
def test_probabilities_and_variances_of_the_oracle(n, m, method):
    x = hard_blocks(m, np.float64)
    x = x[(abs(x) < 1e100).all(axis=1) & ((abs(x) > 1e-100) | (x == 0)).all(axis=1)]
    p, found = (f(x, n, m, method=method) for f in (sparsity.inclusion_probabilities, sparsity.variance))
    allowed = (4 * m + 16) * 2.0**-53
    for block, chances, seen in zip(x.tolist(), p, found[:, 0], strict=True):
        law = law_of(method, block, n)
        for have, want in zip(chances, law, strict=True):
            assert abs(Fraction(float(have)) - want) <= Fraction(allowed) * want
        assert sum(law) == min(n, np.count_nonzero(block))
        variance = masks.masked_variance(block, law)
        levels = [abs(Fraction(v)) / q for v, q in zip(block, law, strict=True) if 0 < q < 1]
        scale = variance if method != "exact" else n * max(levels, default=Fraction(0)) ** 2
        assert abs(Fraction(float(seen)) - variance) <= Fraction(allowed) * scale


@pytest.mark.parametrize("method", ["exact", "approximate"])
def test_every_word_of_small_blocks_unbiased_with_its_variance(method):
    """The mean over ideal words is x; over r bits the counts are floors, and mean and variance follow from them."""
    bits, total = 6, 64
    x = np.array(
        [p for row in ([4, 3, 2, 1], [4, 1, 1, 0], [1, 1, 1, 1], [5, 1, 1, 1]) for p in permutations(row)], float
    )
    words = np.broadcast_to(np.arange(total), (len(x), total))
    found = sparsity.mvue(
        np.repeat(x, total, axis=1).reshape(len(x), 4, total).swapaxes(1, 2).reshape(-1, 4),
        method=method,
        words=words.reshape(-1, 1),
        random_bits=bits,
    ).reshape(len(x), total, 4)
    for block, rows in zip(x.tolist(), found, strict=True):
        law = law_of(method, block)
        assert sum(p * (Fraction(v) / p) for v, p in zip(block, law, strict=True) if p) == sum(map(Fraction, block))
        edges = [0] + [int(sum(law[: i + 1]) * total // 1) for i in range(4)]
        counts = (rows != 0).sum(axis=0)
        assert counts.tolist() == np.diff(edges).tolist()
        assert (np.count_nonzero(rows, axis=1) == min(2, np.count_nonzero(block))).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
def test_every_word_of_two_draws_in_sequence(dtype):
    """Pairs, over all words, against the enumeration of both draws in rationals; elements within their runs of pairs."""
    bits, total = 9, 512
    for block in ([4, 3, 2, 1], [1, 1, 4, 1], [0, 5, 1, 1], [1, 1, 1, 1], [7, 0, 0, 3], [2, 3, 5, 7, 11]):
        m = len(block)
        words = np.arange(total)[:, None]
        x = np.tile(np.array(block, dtype), (total, 1))
        kept = sparsity.mvue(x, 2, m, method="sequential", words=words, random_bits=bits) != 0
        counts = {pair: int(kept[:, pair].all(axis=1).sum()) for pair in combinations(range(m), 2)}
        assert sum(counts.values()) == total  # two in each draw
        if np.count_nonzero(block) == 2:
            assert counts[0, 3] == total
            continue
        whole, chances = sum(block), dict.fromkeys(counts, Fraction(0))
        for i, j in permutations(range(m), 2):
            chances[min(i, j), max(i, j)] += Fraction(block[i], whole) * Fraction(block[j], whole - block[i])
        reached = [int(total * share // 1) for share in accumulate(chances.values())]
        assert list(counts.values()) == np.diff([0, *reached]).tolist()
        for i, p in enumerate(masks.approximate_probabilities(block)):
            assert p == sum(share for pair, share in chances.items() if i in pair)
            assert abs(int(kept[:, i].sum()) - p * total) < min(i + 1, m - 1)
    # The systematic draw keeps each element as often, and other pairs: here never the neighbours 0 and 1.
    found = sparsity.mvue(np.ones((total, 4), dtype), method="approximate", words=words, random_bits=bits) != 0
    assert found[:, 0].sum() == total / 2 and not found[:, :2].all(axis=1).any()


def test_the_largest_by_ranks_in_rationals():
    for dtype in DTYPES:
        for n, m in ((2, 4), (1, 4), (4, 8), (1, 2), (3, 3)):
            x = hard_blocks(m, dtype)
            found = sparsity.top_n(x, n, m)
            for block, row in zip(x, found, strict=True):
                order = sorted(range(m), key=lambda i: (-abs(Fraction(float(block[i]))), i))
                wanted = np.where(np.isin(np.arange(m), order[:n]), block, dtype(0))
                assert row.tobytes() == wanted.tobytes()
    every = np.array(list(product([0.0, -1.0, 2.0, np.inf], repeat=4)))
    assert (np.count_nonzero(sparsity.top_n(every), axis=1) == np.minimum(2, np.count_nonzero(every, axis=1))).all()
    np.testing.assert_array_equal(sparsity.top_n(np.float32([1, -1, 1, -1])), [1, -1, 0, 0])


def test_variance_of_two_draws_is_at_most_twice_the_least():
    rows = np.array(list(combinations_with_replacement(range(1, 9), 4)), float)
    least, other = sparsity.variance(rows), sparsity.variance(rows, method="approximate")
    assert (other >= least * (1 - 1e-14)).all() and (other < 2 * least).all()
    for block in rows[::11].tolist():
        exactly = [
            masks.masked_variance(block, law)
            for law in (masks.inclusion_probabilities(block, 2), masks.approximate_probabilities(block))
        ]
        assert exactly[0] <= exactly[1] <= 2 * exactly[0]
    dominated = np.array([[1e8, 1, 1, 1]])
    assert sparsity.variance(dominated, method="approximate") / sparsity.variance(dominated) > 2 - 1e-7


def test_closed_forms_of_the_variance():
    a, b = 3.0, 5.0
    assert sparsity.variance(np.array([a, -b]), 1, 2) == 2 * a * b
    x = np.array([4.0, 3, 2, 1])
    assert sparsity.variance(x, 1) == x.sum() ** 2 - (x**2).sum()
    assert sparsity.variance(x) == x.sum() ** 2 / 2 - (x**2).sum()
    assert sparsity.variance(np.array([4.0, 1, 1, 1])) == 9 - 3
    assert sparsity.variance(np.array([3.0, 1, 1, 1])) == 6
    assert sparsity.variance(np.array([1e200, 1e200, 1e200])) == np.inf


def test_equivariance():
    x = np.concatenate([blocks(4, np.float64)[6:], np.array([[1.0, 1.0, 1.0, 3.0], [2.0, 0.0, 1.0, 1.0]])])
    for law in (sparsity.inclusion_probabilities, lambda v, **k: np.repeat(sparsity.variance(v, **k), 4, axis=-1)):
        for method in ("exact", "approximate"):
            plain = law(x, method=method)
            np.testing.assert_array_equal(law(-x, method=method), plain)
            for order in permutations(range(4)):
                np.testing.assert_allclose(law(x[:, order], method=method), plain[:, order], rtol=1e-13, atol=1e-20)
    words = random_words(len(x), 16, seed=1)[:, None]
    for method in ("exact", "approximate"):
        plain = sparsity.mvue(x, method=method, words=words, random_bits=16)
        np.testing.assert_array_equal(sparsity.mvue(-x, method=method, words=words, random_bits=16), -plain)
        for power in (2.0**-300, 2.0**60):  # no epsilon
            scaled = sparsity.mvue(x * power, method=method, words=words, random_bits=16)
            np.testing.assert_array_equal(scaled, plain * power)
    narrow = np.float32(x[(abs(x) < 1e20).all(axis=1)])
    taken = words[: len(narrow)]
    np.testing.assert_array_equal(
        sparsity.mvue(narrow * np.float32(2.0**-20), words=taken, random_bits=16),
        sparsity.mvue(narrow, words=taken, random_bits=16) * np.float32(2.0**-20),
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
def test_axes_short_blocks_seeds_and_offsets(dtype):
    x = (random_words(6 * 10 * 5, 16, seed=2).reshape(6, 10, 5) / 1000.0 - 30).astype(dtype)
    for n, m in ((2, 4), (1, 3)):
        for axis in (0, 1, -1):
            moved = np.moveaxis(x, axis, -1)
            short = np.pad(moved, ((0, 0), (0, 0), (0, -moved.shape[-1] % m)))
            count = short.shape[-1] // m
            shape = [*x.shape]
            shape[axis] = count
            words = random_words(int(np.prod(shape)), 32, seed=5, stream=1, offset=9).reshape(shape)
            back = lambda y, moved=moved, axis=axis: np.moveaxis(y[..., : moved.shape[-1]], -1, axis)  # noqa: E731
            found = sparsity.mvue(x, n, m, axis=axis, seed=5, stream=1, offset=9)
            np.testing.assert_array_equal(found, sparsity.mvue(x, n, m, axis=axis, words=words))
            rows = sparsity.mvue(short.reshape(-1, m), n, m, words=np.moveaxis(words, axis, -1).reshape(-1, 1))
            np.testing.assert_array_equal(found, back(rows.reshape(short.shape)))
            np.testing.assert_array_equal(sparsity.top_n(x, n, m, axis=axis), back(sparsity.top_n(short, n, m)))
            assert sparsity.variance(x, n, m, axis=axis).shape == tuple(shape)
            assert sparsity.inclusion_probabilities(x, n, m, axis=axis).shape == x.shape
    flipped = x[::-1, ::2]
    np.testing.assert_array_equal(sparsity.mvue(flipped, seed=1), sparsity.mvue(flipped.copy(), seed=1))
    half = sparsity.mvue(x.reshape(-1)[:148], seed=1), sparsity.mvue(x.reshape(-1)[148:], seed=1, offset=37)
    np.testing.assert_array_equal(sparsity.mvue(x.reshape(-1), seed=1), np.concatenate(half))


def test_empty_and_zero():
    for shape in ((0,), (3, 0), (0, 5)):
        empty = np.zeros(shape, np.float32)
        assert sparsity.top_n(empty).shape == sparsity.mvue(empty, seed=1).shape == shape
        assert sparsity.inclusion_probabilities(empty).shape == shape
        assert sparsity.variance(empty).shape == (*shape[:-1], -(-shape[-1] // 4))
    zeros = np.array([0.0, -0.0] * 5)
    for method in ("exact", "approximate"):
        assert not sparsity.mvue(zeros, method=method, seed=1).any()
        assert not sparsity.inclusion_probabilities(zeros, method=method).any()
        assert not sparsity.variance(zeros, method=method).any()


def test_out_is_written_and_may_be_the_input():
    x = (random_words(60, 16, seed=4) / 997.0 - 30).astype(np.float32)
    strided = np.zeros((60, 2), np.float32)[:, 0]
    for given in (x[:56], x, x.reshape(6, 10), x.reshape(12, 5)):
        for call in (
            lambda v, **k: sparsity.mvue(v, seed=1, **k),
            sparsity.top_n,
            lambda v, **k: sparsity.top_n(v, 1, 3, **k),
        ):
            plain = call(given)
            for out in (np.empty_like(given), given.copy(), strided[: given.size].reshape(given.shape)):
                source = out if out.flags.owndata and (out == given).all() else given
                assert call(source, out=out) is out
                np.testing.assert_array_equal(out, plain)
    for out in (np.empty(60), np.empty(59, np.float32)):
        with pytest.raises(ValueError, match="give a numpy array of float32"):
            sparsity.mvue(x, seed=1, out=out)
    with pytest.raises(ValueError, match="overlaps the input"):
        sparsity.top_n(x[1:], out=x[:-1])


def test_threads_and_tiles_do_not_matter(monkeypatch, on_threads):
    x = (random_words(4 * 40000, 16, seed=3) / 997.0 - 30).astype(np.float32)
    on_threads(1)
    one = sparsity.mvue(x, seed=1, random_bits=8)
    on_threads(3)
    assert sparsity.mvue(x, seed=1, random_bits=8).tobytes() == one.tobytes()
    monkeypatch.setattr("numerics.sparsity.masks._TILE", 1000)
    assert sparsity.mvue(x, seed=1, random_bits=8).tobytes() == one.tobytes()


def test_few_blocks_are_left_to_the_slower_path():
    x = np.float32(np.sin(np.arange(4 << 12) * 1.7))
    left, out = np.empty(1 << 12, np.uint8), np.empty_like(x)
    assert not kernels.draw_two_of_four(x, out, random_words(1 << 12, 32, seed=1), left, 32)
    x[:2] = 1e-9, np.inf
    assert kernels.draw_two_of_four(x, out, random_words(1 << 12, 32, seed=1), left, 32) and left.sum() == left[0] == 1


def test_integers_alone_give_the_same():
    """The path for what is left agrees with the oracle, with which it shares nothing."""
    for m, n, method in ((4, 2, "exact"), (4, 2, "approximate"), (4, 2, "sequential"), (8, 3, "exact")):
        for block in hard_blocks(m, np.float64)[::3].tolist():
            for word in masks.deciding_words(shares_of(method, block, n), 7):
                wanted = estimate(block, n, word, 7, method)
                assert exact.draw(block, n, word, 7, method=method) == [abs(v) for v in wanted]
    for value in (Fraction(1, 3), Fraction(2**24 + 1), Fraction(2**25 - 1, 2**174), Fraction(2**128 - 2**104)):
        assert exact.nearest(value, np.dtype(np.float32)) == nearest(value, np.float32)
    assert exact.nearest(Fraction(2**128 - 2**103), np.dtype(np.float32)) == np.inf
    assert exact.nearest(Fraction(1, 2**1075), np.dtype(np.float64)) == 0


X = np.ones((2, 8), np.float32)
REFUSED = [
    (lambda: sparsity.top_n([1, 2, 3, 4]), TypeError, "int64"),
    (lambda: sparsity.top_n(np.float32([1, 2, np.nan, 4])), ValueError, "NaN at element 2"),
    (lambda: sparsity.top_n(np.array([1, 2, np.nan]), 1, 3), ValueError, "NaN at element 2"),
    (lambda: sparsity.top_n(X, 5, 4), ValueError, "n = 5, m = 4: give 1 <= n <= m"),
    (lambda: sparsity.top_n(X, 0, 4), ValueError, "n = 0"),
    (lambda: sparsity.top_n(X, 2.5), TypeError, r"n = 2\.5"),
    (lambda: sparsity.top_n(X, axis=2), ValueError, r"axis = 2 for x of shape \(2, 8\)"),
    (lambda: sparsity.top_n(X, axis=0.5), TypeError, r"axis = 0\.5"),
    (lambda: sparsity.top_n(np.float32(3)), ValueError, r"0 axes"),
    (lambda: sparsity.mvue(X), ValueError, r"give seed=, or words= of shape \(2, 2\)"),
    (lambda: sparsity.mvue(X, words=np.zeros((2, 8), int)), ValueError, "words of shape"),
    (lambda: sparsity.mvue(X, words=np.full((2, 2), 256), random_bits=8), ValueError, "word 256 is outside"),
    (lambda: sparsity.mvue(X, seed=1, random_bits=33), ValueError, "random_bits = 33"),
    (lambda: sparsity.mvue(X, seed=-1), ValueError, "seed = -1"),
    (lambda: sparsity.mvue(X, 3, method="approximate", seed=1), ValueError, "give n = 2"),
    (
        lambda: sparsity.mvue(X, method="best", seed=1),
        ValueError,
        "method = 'best': give 'exact' or 'approximate' or 'seq",
    ),
    (lambda: sparsity.mvue(X, 1, method="sequential", seed=1), ValueError, "'sequential' with n = 1: it is two draws"),
    (lambda: sparsity.mvue(np.float32([1, np.inf, 1, 1]), seed=1), ValueError, "inf at element 1 has no share"),
    (lambda: sparsity.mvue(np.array([1, np.nan, 1, 1]), seed=1), ValueError, "nan at element 1 has no share"),
    (lambda: sparsity.mvue(np.float32([3e38] * 4), seed=1), OverflowError, "beyond float32: scale x"),
    (lambda: sparsity.mvue(np.array([1.7e308] * 4), method="approximate", seed=1), OverflowError, "beyond float64"),
    (lambda: sparsity.variance(np.array([np.nan])), ValueError, "nan at element 0"),
    (lambda: sparsity.inclusion_probabilities(np.array([np.inf])), ValueError, "inf at element 0"),
]


@pytest.mark.parametrize(("call", "error", "told"), REFUSED)
def test_refusals(call, error, told):
    with pytest.raises(error, match=told):
        call()


def test_the_seed_is_not_used_beside_words():
    words = np.array([[7, 1 << 31], [0, (1 << 32) - 1]])
    np.testing.assert_array_equal(sparsity.mvue(X, seed=1, words=words), sparsity.mvue(X, words=words))
    assert not np.array_equal(sparsity.mvue(X, seed=1, words=words), sparsity.mvue(X, seed=1))
