"""The oracle of N:M masks, and the checks of masks on it."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numerics.properties import ClaimError, as_mask, checks, strategies, verify
from numerics.reference import masks
from tests.sampling import but_at_night, few

SPOTS = [
    ([1, 1, 1, 1], ["1/2"] * 4, 4, 4),
    ([4, 1, 1, 1], ["1", "1/3", "1/3", "1/3"], 6, 7.5417),
    ([3, 1, 1, 1], ["1", "1/3", "1/3", "1/3"], 6, 6.75),
    ([4, 3, 2, 1], ["4/5", "3/5", "2/5", "1/5"], 20, 20.4736),
]


@pytest.mark.parametrize(("block", "p", "exact", "approximate"), SPOTS)
def test_spot_values(block, p, exact, approximate):
    # papers: arXiv 2203.10991, values derived there by enumeration
    found = masks.inclusion_probabilities(block, 2)
    assert found == [Fraction(x) for x in p]
    assert masks.masked_variance(block, found) == exact
    sequential = masks.masked_variance(block, masks.approximate_probabilities(block))
    assert float(sequential) == pytest.approx(approximate, abs=1e-4)


def sequential_draws(block):
    """Inclusion by enumerating the two draws."""
    total, p = sum(block), [Fraction(0)] * len(block)
    for i, j in ((i, j) for i in range(len(block)) for j in range(len(block)) if i != j):
        chance = Fraction(block[i], total) * Fraction(block[j], total - block[i])
        p[i] += chance
        p[j] += chance
    return p


@few
@given(block=st.lists(st.integers(1, 20), min_size=4, max_size=4))
def test_the_closed_forms_by_enumeration(block):
    exact, approximate = masks.inclusion_probabilities(block, 2), masks.approximate_probabilities(block)
    assert sum(exact) == sum(approximate) == 2
    assert all(0 < p <= 1 for p in exact + approximate)
    assert approximate == sequential_draws(block)
    least, other = (masks.masked_variance(block, p) for p in (exact, approximate))
    assert least <= other <= 2 * least or least == other == 0


@given(block=st.lists(st.integers(0, 9), min_size=3, max_size=6), n=st.integers(1, 3), data=st.data())
def test_no_other_probabilities_have_less_variance(block, n, data):
    p = masks.inclusion_probabilities(block, n)
    nonzero = [i for i, x in enumerate(block) if x]
    if len(nonzero) <= n:
        assert p == [Fraction(int(x != 0)) for x in block]
        return
    assert sum(p) == n
    i, j = data.draw(st.sampled_from(list(combinations(nonzero, 2))))
    for step in (Fraction(1, 50), -Fraction(1, 50)):
        moved = list(p)
        moved[i], moved[j] = moved[i] + step, moved[j] - step
        if all(0 < moved[k] <= 1 for k in (i, j)):
            assert masks.masked_variance(block, moved) >= masks.masked_variance(block, p)


@given(block=st.lists(st.integers(0, 9), min_size=4, max_size=4), n=st.integers(1, 3))
def test_the_systematic_draw(block, n):
    p, bits = masks.inclusion_probabilities(block, n), 5
    counts = [0] * 4
    for word in range(1 << bits):
        kept = masks.systematic_draw(p, word, bits)
        assert len(kept) == min(n, sum(x != 0 for x in block))
        for i in kept:
            counts[i] += 1
    running = Fraction(0)
    for i, x in enumerate(p):
        assert counts[i] == (running + x) * 32 // 1 - running * 32 // 1
        running += x


def estimator(n=2, m=4, bits=4):
    """The oracle as a function of arrays."""

    def mvue(x, words):
        length = x.shape[-1]
        padded = np.zeros((*x.shape[:-1], -(-length // m) * m))
        padded[..., :length] = x
        rows, drawn = padded.reshape(-1, m), np.asarray(words).reshape(-1)
        out = np.zeros_like(rows)
        for i, row in enumerate(rows.tolist()):
            p = masks.inclusion_probabilities(row, n)
            for j in masks.systematic_draw(p, int(drawn[i]), bits):
                out[i, j] = float(Fraction(row[j]) / p[j]) if p[j] else 0.0
        return out.reshape(padded.shape)[..., :length]

    return as_mask(mvue, n, m, random_bits=bits)


@pytest.mark.parametrize("pattern", but_at_night([(2, 4), (1, 2), (1, 4), (3, 5)], [(2, 4), (1, 4), (3, 5)]), ids=str)
def test_the_oracle_holds_the_claims(pattern):
    report = verify(estimator(*pattern))
    assert report.ok, [v.note for v in report.verdicts if v.status == "broken"]
    assert report["marginals"].kind == "exhaustive"
    assert report["largest"].status == "skipped"


@given(blocks=strategies.nm_blocks(4))
def test_the_largest(blocks):
    for row in blocks.tolist():
        order = sorted(range(4), key=lambda i: -abs(row[i]))
        assert masks.keeps_the_largest(row, [i in order[:2] for i in range(4)], 2)
        if len({abs(x) for x in row}) == 4:
            assert not masks.keeps_the_largest(row, [i in order[2:] for i in range(4)], 2)


def test_no_block_keeps_nothing():
    with pytest.raises(ValueError, match="n = 0: at least one element"):
        masks.inclusion_probabilities([1, 2], 0)


def one_of_two(x, words):
    """The right 1:2 mask of 8 random bits: (word + 1)/256 beside |x_0|/(|x_0| + |x_1|); one nonzero alone is kept."""
    pairs = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, x.shape[-1] % 2)]).reshape(*x.shape[:-1], -1, 2)
    total = np.abs(pairs).sum(axis=-1)
    first = (words.reshape(pairs.shape[:-1]).astype(np.float64) + 1) / 256 * total <= np.abs(pairs[..., 0])
    kept = np.stack([first, ~first], axis=-1) & (pairs != 0)
    value = np.where(kept, np.copysign(total[..., None], pairs), 0)
    return value.reshape(*x.shape[:-1], -1)[..., : x.shape[-1]]


def second_turned(x, words):
    result = np.array(one_of_two(x, words))
    result[..., 1::2] *= -1
    return result


def minus(x, words):
    return -one_of_two(x, words)


def test_the_mean_of_a_mask_is_compared_with_its_sign():
    def subject(fn):
        return as_mask(fn, 1, 2, random_bits=8)

    assert verify(subject(one_of_two)).ok
    for fn in (second_turned, minus):
        assert verify(subject(fn))["mask_unbiased"].status == "broken"
    with pytest.raises(ClaimError, match="the mean of element 1 is off") as broken:
        checks.mask_unbiased(subject(second_turned), [[1.0, -1.0]])
    assert broken.value.details["seen"] == "1.0, kept by 128 of 256 words"
    assert broken.value.details["allowed"].startswith("-1.0 within")
    again = eval(broken.value.details["reproduce"], {"np": np, "second_turned": second_turned})
    assert again.mean(axis=0).tolist() == [1.0, 1.0]


def test_a_mask_that_needs_other_blocks_is_shown_among_the_fewest():
    def first_word(x, words):
        return one_of_two(x, np.broadcast_to(words.reshape(-1)[:1], words.shape))

    with pytest.raises(ClaimError) as broken:
        checks.blocks_apart(as_mask(first_word, 1, 2, random_bits=8))
    details, given = broken.value.details, {"np": np, "first_word": first_word}
    line = details["reproduce"]
    assert details["only_among_others"].startswith("alone it gives [")
    assert (
        eval(line, given).tolist()
        != eval(line.replace("first_word", "one_of_two"), given | {"one_of_two": one_of_two}).tolist()
    )
    assert len(eval(line[: line.rindex("[")], given)) == 2
