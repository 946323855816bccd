"""The verdict on what draws for itself: what it refuses, what it says, what it finds and when it stops."""

import re
from fractions import Fraction

import numpy as np
import pytest

from numerics import FixedFormat, FloatFormat, NanEncoding, Quantizer, Rounding, catalog, words
from numerics.properties import ClaimError, as_mask, as_quantizer, checks, draws_check
from numerics.properties.draws_check import FIRST_LOOK, looks

SMALL = FloatFormat(3, 2, infinities=False, nan=NanEncoding.NONE)
SR = Quantizer(SMALL, Rounding.SR, random_bits=8)


class Sampler:
    """SR by 8-bit words of a counter, changed by `of`; counts its draws."""

    def __init__(self, of=lambda drawn: drawn, bits=8):
        self.of, self.drawn, self.quantizer = of, 0, Quantizer(SMALL, Rounding.SR, random_bits=bits)

    def __call__(self, x):
        bits = int(self.quantizer.random_bits)
        drawn = words.random_words(x.size, bits, seed=7, offset=self.drawn).reshape(x.shape)
        self.drawn += x.size
        return self.quantizer.quantize(x, words=self.of(drawn).astype(np.uint32))


def subject(of=lambda drawn: drawn, bits=8, claimed=8):
    return as_quantizer(Sampler(of, bits), fmt=SMALL, rounding=Rounding.SR, random_bits=claimed, sampler=True, name="s")


def test_a_right_sampler_holds_and_says_at_which_rate_of_false_alarms():
    found = checks.draws(subject(), budget=1 << 14)
    assert found.kind == "statistical"
    assert found.cases >= 1 << 14
    assert found.note == "false alarms: 1e-09"


def test_what_takes_words_is_refused():
    with pytest.raises(ValueError, match=r"takes words: all its results can be enumerated, see checks.bias"):
        checks.draws(as_quantizer(SR))
    with pytest.raises(ValueError, match="takes words"):
        checks.p_value_of_draws(as_quantizer(SR))


def test_points_that_are_all_values_of_the_format_are_refused():
    with pytest.raises(ValueError, match="no x lies between two values of the format: there is nothing to draw"):
        checks.draws(subject(), x=[0.0, 1.0, -2.0])


def test_a_mask_that_takes_words_is_refused():
    mask = as_mask(lambda x, w: x, random_bits=4)
    with pytest.raises(ValueError, match=r"does not draw for itself: see checks.marginals"):
        checks.mask_draws(mask)


def test_looks_grow_fourfold_and_end_at_the_budget():
    assert looks(1 << 18) == [2048, 8192, 32768, 131072, 262144]
    assert looks(100) == [100]
    assert looks(FIRST_LOOK) == [FIRST_LOOK]


def test_a_bias_is_told_with_counts_the_bound_and_the_draws_it_took():
    biased = subject(lambda drawn: drawn // 2)
    with pytest.raises(ClaimError) as told:
        checks.draws(biased)
    text, details = str(told.value), told.value.details
    assert text.startswith("draws: what is drawn is not what is claimed: it is biased (")
    assert "expected" in details["seen"]
    assert "the rate of false alarms is 1e-09" in details["bound"]
    assert details["formula"] == "up with probability k/2**r, r = 8, draws independent"
    assert details["after"].endswith("look 1 of 6")
    assert details["reproduce"].startswith("checks.draws(as_quantizer(s, fmt=FloatFormat(")
    assert biased.fn.drawn < 10_000


def own_generator(of, bits=8, claimed=8, fmt=SMALL):
    """SR by words of numpy's generator, changed by `of`, which may draw more."""
    rng, quantizer = np.random.default_rng(11), Quantizer(fmt, Rounding.SR, random_bits=bits)

    def drawn(x):
        words_of_it = of(rng.integers(0, 1 << bits, x.shape), rng)
        return quantizer.quantize(x, words=np.asarray(words_of_it, np.uint32))

    return as_quantizer(drawn, fmt=fmt, rounding=Rounding.SR, random_bits=claimed, sampler=True, name="s")


def pairs(w):
    return np.repeat(w.ravel()[::2], 2)[: w.size].reshape(w.shape)


BIASED = {
    "random & ~1": lambda w, _: w & ~1,
    "random | 1": lambda w, _: w | 1,
    "the largest word never": lambda w, _: np.minimum(w, 254),
    "random & 0xf0": lambda w, _: w & 0xF0,
    "the top bit set": lambda w, _: w | 0x80,
    "the top bit lost": lambda w, _: w & 0x7F,
    "a little added": lambda w, _: np.minimum(w + 16, 255),
    "much added": lambda w, _: np.minimum(w + 120, 255),
    "the larger of two": lambda w, rng: np.maximum(w, rng.integers(0, 256, w.shape)),
    "the smaller of two": lambda w, rng: np.minimum(w, rng.integers(0, 256, w.shape)),
    "the mean of two": lambda w, rng: (w + rng.integers(0, 256, w.shape)) // 2,
}
DEPENDENT = {
    "pairs": ("elements of one call", lambda w, _: pairs(w)),
    "every 64": ("elements of one call", lambda w, _: np.resize(w.ravel()[:64], w.shape)),
    "one word for each call": ("elements of one call", lambda w, rng: np.full(w.shape, rng.integers(256))),
    "pairs that are biased": ("elements of one call", lambda w, _: pairs(np.minimum(w + 40, 255))),
    "the same in every call": ("calls", lambda w, _: np.resize(words.random_words(512, 8, seed=1), w.shape)),
}
CONSTANT = {
    "all zeros": lambda w, _: 0 * w,
    "all ones": lambda w, _: 0 * w + 255,
    "the middle": lambda w, _: 0 * w + 128,
}


@pytest.mark.parametrize("of", BIASED.values(), ids=BIASED)
@pytest.mark.parametrize("fmt", [SMALL, catalog.E4M3], ids=str)
def test_what_is_only_biased_is_told_as_biased(of, fmt):
    with pytest.raises(ClaimError, match="not what is claimed: it is biased") as told:
        checks.draws(own_generator(of, fmt=fmt))
    details = told.value.details
    assert details["found_by"] in ("points, Simes", "points, Fisher", "pooled", "one x")
    assert "elements and calls " in details["besides"]
    assert "agreed" not in str(told.value)


@pytest.mark.parametrize(("whose", "of"), DEPENDENT.values(), ids=DEPENDENT)
def test_words_that_are_shared_are_found_by_name(whose, of):
    with pytest.raises(ClaimError, match=f"not what is claimed: {whose} do not draw independently") as told:
        checks.draws(own_generator(of))
    details = told.value.details
    assert details["found_by"] == ("calls" if whose == "calls" else "lanes")
    assert ("two calls" if whose == "calls" else "distance") in details["seen"]
    assert details["besides"] == "means are not judged: the counts of draws that depend scatter more"


@pytest.mark.parametrize("of", CONSTANT.values(), ids=CONSTANT)
def test_what_draws_nothing_is_told_so(of):
    with pytest.raises(ClaimError, match="not what is claimed: it draws nothing") as told:
        checks.draws(own_generator(of))
    assert re.fullmatch(r"none of \d+ x went both ways", told.value.details["besides"])


def test_to_nearest_is_told_to_draw_nothing():
    nearest = Quantizer(SMALL)
    with pytest.raises(ClaimError, match="it draws nothing"):
        checks.draws(as_quantizer(nearest.quantize, fmt=SMALL, rounding=Rounding.SR))


@pytest.mark.parametrize("of", ["the top bit lost", "random & ~1"])
def test_one_x_alone_does_not_tell_that_nothing_is_drawn(of):
    x = 1 + 0.25 * (0.5 if "top" in of else 1.5 / 256)
    with pytest.raises(ClaimError, match="it is biased") as told:
        checks.draws(own_generator(BIASED[of]), x=[x])
    assert told.value.details["besides"].endswith("cannot be told: all draws at one x went one way")


def test_a_lost_bit_is_beyond_what_many_random_bits_show():
    assert checks.draws(own_generator(lambda w, _: w & ~1, bits=16, claimed=16), budget=1 << 14).cases


def test_points_of_one_word_are_tried_of_few_random_bits():
    chances = draws_check._telling(subject(claimed=8)).chance
    assert {Fraction(1, 256), Fraction(255, 256)} <= set(chances)
    assert Fraction(1, 1 << 16) not in draws_check._telling(subject(claimed=16)).chance


def test_a_mask_that_always_keeps_the_same_is_told_by_its_element():
    def top_two(x):
        blocks = x.reshape(-1, 4)
        kept = np.argsort(np.argsort(-np.abs(blocks), axis=1, kind="stable"), axis=1) < 2
        return np.where(kept, blocks, 0).reshape(x.shape)

    largest = as_mask(top_two, kind="mvue")
    with pytest.raises(ClaimError, match=r"element \d is not kept as often as claimed"):
        checks.mask_draws(largest)


def test_pairs_that_begin_at_an_odd_lane_are_found():
    def odd_pairs(drawn):
        flat = drawn.ravel()
        return np.concatenate([flat[:1], np.repeat(flat[1::2], 2)])[: flat.size].reshape(drawn.shape)

    with pytest.raises(ClaimError, match="elements at distance 1 agreed"):
        checks.draws(subject(odd_pairs))


def test_fewer_bits_than_claimed_are_found_though_sixteenths_come_out_right():
    coarse = subject(bits=4, claimed=None)
    with pytest.raises(ClaimError):
        checks.draws(coarse)


def test_a_result_beside_the_neighbours_ends_it_at_once():
    off = as_quantizer(lambda x: np.zeros_like(x), fmt=SMALL, rounding=Rounding.SR)
    with pytest.raises(ClaimError, match="a result is neither neighbour"):
        checks.draws(off)
    assert checks.p_value_of_draws(off) == 0.0


def test_the_p_value_is_what_decides():
    right, wrong = checks.p_value_of_draws(subject(), budget=4096), checks.p_value_of_draws(subject(np.zeros_like))
    assert wrong <= 1e-9 < right <= 1
    with pytest.raises(ClaimError):
        checks.draws(subject(), budget=4096, alpha=1.0)


def test_points_given_are_the_ones_that_are_tried():
    seen = []

    def kept(x):
        seen.append(np.unique(x))
        return SR.quantize(x, seed=len(seen))

    checks.draws(
        as_quantizer(kept, fmt=SMALL, rounding=Rounding.SR, random_bits=8, sampler=True), x=[1.1, -2.7], budget=4096
    )
    assert set(np.concatenate(seen).tolist()) == {float(np.float32(1.1)), float(np.float32(-2.7))}


def test_a_budget_of_one_draw_ends():
    fmt = FixedFormat(8, 4)
    quantizer = Quantizer(fmt, Rounding.SR)
    right = as_quantizer(lambda x: quantizer.quantize(x, seed=x.size), fmt=fmt, rounding=Rounding.SR)
    assert checks.draws(right, budget=1).cases > 0


def test_a_smaller_shift_is_found_with_more_draws():
    shifts = [shift for _, shift in checks.power_table()]
    assert shifts == sorted(shifts, reverse=True)
    assert 0 < shifts[-1] < 0.01 < shifts[0] < 0.5


def test_the_smallest_shift_counts_only_its_own_points():
    assert checks.smallest_shift(1 << 13, points=8) > checks.smallest_shift(1 << 13, points=16)
    assert checks.smallest_shift(16) == 0.5
    assert Fraction(checks.smallest_shift(1 << 17)) < Fraction(1, 16)
