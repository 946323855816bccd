"""One that draws for itself, and is wrong at one place of a call, in small calls, or in one step alone."""

import numpy as np
import pytest

from numerics import Quantizer, Rounding, catalog
from numerics.properties import ClaimError, as_quantizer, checks
from numerics.properties.draws_check import looked
from numerics.properties.tails import most_alarms

BITS = 16
RIGHT = Quantizer(catalog.E4M3, Rounding.SR, random_bits=BITS)
RUNS = 60


def sampler(spoil, seed=5):
    """Draws words, which spoil(words, x) may change in place."""
    generator = np.random.default_rng(seed)

    def fn(x):
        flat = np.array(x).reshape(-1)
        words = generator.integers(0, 1 << BITS, flat.size).astype(np.uint32)
        spoil(words, flat)
        return RIGHT.quantize(flat, words=words).reshape(x.shape)

    return as_quantizer(fn, fmt=catalog.E4M3, rounding=Rounding.SR, random_bits=BITS, sampler=True)


def at(places, word):
    return lambda words, x: words.__setitem__(places, word)


def last_of(uneven, word):
    return lambda words, x: words.__setitem__(slice(-1, None), word) if len(words) % uneven else None


def between(low, high, word):
    return lambda words, x: words.__setitem__((x > low) & (x < high), word)


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("spoil", "seen"),
    [
        (at(slice(0, 1), (1 << BITS) - 1), "the first element of such a call"),
        (at(slice(100, 101), 0), "element 100 of a call"),
        (at(slice(3, None, 32), 0), ""),
        (last_of(2, 0), "element -1 of a call of uneven size"),
        (last_of(8, 0), "element -1 of a call of uneven size"),
        (at(slice(-1, None), 0), ""),
        (lambda words, x: words.fill(0) if len(words) < 300 else None, "elements of calls of 1 to 13"),
        (between(9, 10, 0), "the step from 9.0 to 10.0"),
        (between(9, 10, (1 << BITS) - 1), "the step from 9.0 to 10.0"),
        (between(-0.021484375, -0.01953125, 0), "the step from -0.01953125 to -0.021484375"),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_is_found(spoil, seen, seed):
    with pytest.raises(ClaimError, match="what is drawn is not what is claimed") as caught:
        checks.draws(sampler(spoil, seed))
    assert seen in caught.value.details["seen"]


def test_right_ones_are_accused_of_places_as_rarely_as_is_stated():
    values = []
    for seed in range(RUNS):
        *_, last = looked(sampler(lambda words, x: None, seed), budget=1 << 17)
        assert last.counts.places and last.number == 5
        values += [place.p_value for place in last.counts.places]
    for rate in (0.1, 0.01, 0.001):
        assert sum(value <= rate for value in values) <= most_alarms(len(values), rate)


def test_points_that_are_given_are_all_that_is_looked_at():
    *_, last = looked(sampler(lambda words, x: None), [1.0625, 1.03125], budget=1 << 17)
    assert not last.counts.places and last.number == 4
