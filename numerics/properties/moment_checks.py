"""Checks of mean and variance over all random words: counts of results, compared in rationals, nothing sampled.

A quantizer that takes r-bit words has 2**r results at each x, all of which are looked at for r up to 16. With more bits
the count of words that go up is found from the words beside the threshold, the ends and a sample, and from the order in
the word that `word_order` checks on the same words.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import reference
from ..rounding import Rounding
from ..words import random_words
from .counter_examples import broken
from .evidence import EXACT, EXHAUSTIVE, ClaimError, Evidence, hides, shown
from .law import Law, law_of, overflows
from .points import points
from .quantizers import QuantizerUnderTest
from .reproductions import Call, same_bits
from .rounding_checks import inputs, with_thresholds

__tracebackhide__ = hides

ENUMERATED = 16  # random bits up to which all words are tried
THRESHOLDS = 10  # random bits up to which every word is the first that goes up at one of the points
AT_ONCE = 1 << 21  # results held at a time
SAMPLED = 64


class Counted(NamedTuple):
    """At each x [n]: how many words go up, by the law and as seen, and how many words there are."""

    x: NDArray[Any]
    law: Law
    wanted: NDArray[np.int64]
    seen: NDArray[np.int64]
    words: int
    cases: int
    every: bool


def count(q: QuantizerUnderTest, x: Any = None, claim: str = "bias") -> Counted:
    """Runs the quantizer over the words; results besides the two neighbours break the claim at once.

    x left out: points inside the format whose neighbours differ, fewer with more words. Errors: ValueError for a
    quantizer that takes no words.
    """
    if not q.takes_words:
        raise ValueError(f"{q.name} takes no words: its moments cannot be enumerated; see checks.draws")
    r = int(q.random_bits or 32)
    xs = inputs(q, x) if x is not None else with_thresholds(q, THRESHOLDS)
    xs = xs[~overflows(q, xs)]
    law = law_of(q, xs)
    keep = law.low != law.high
    if x is None:
        # 2**22 calls of an element where 2048 points are tried, as is usual; fewer where fewer are asked for.
        budget = max(12, min(1 << 22, q.limit << 11) // (1 << min(r, ENUMERATED)))
        open_ = np.flatnonzero(keep)
        chosen = (
            open_[np.unique(np.linspace(0, len(open_) - 1, min(len(open_), budget)).astype(int))]
            if len(open_)
            else open_
        )
        keep = np.zeros_like(keep)
        keep[chosen] = True
    xs = xs[keep]
    law = Law(law.low[keep], law.high[keep], tuple(p for p, k in zip(law.parts, keep.tolist(), strict=True) if k))
    wanted = law.counts(q.rounding, r)
    run = _enumerated if r <= ENUMERATED else _probed
    seen, cases = run(q, xs, law, wanted, r, claim)
    return Counted(xs, law, wanted, seen, 1 << r, cases, r <= ENUMERATED)


def _enumerated(
    q: QuantizerUnderTest, x: NDArray[Any], law: Law, _: Any, r: int, claim: str
) -> tuple[NDArray[np.int64], int]:
    words = np.arange(1 << r, dtype=np.uint32)
    seen = np.zeros(len(x), np.int64)
    together = max(1, AT_ONCE >> r)
    for start in range(0, len(x), together):
        part = slice(start, min(start + together, len(x)))
        size = part.stop - part.start
        result = q(np.repeat(x[part], len(words)), np.tile(words, size)).astype(np.float64).reshape(size, -1)
        up = _goes_up(q, x[part], law, part, result, np.tile(words, (size, 1)), claim)
        seen[part] = up.sum(axis=1)
    return seen, len(x) << r


def _probed(
    q: QuantizerUnderTest, x: NDArray[Any], law: Law, wanted: NDArray[np.int64], r: int, claim: str
) -> tuple[NDArray[np.int64], int]:
    """The count that the words beside the threshold, the ends and a sample all speak for."""
    top = 1 << r
    edge = top - wanted
    columns = [np.clip(edge + step, 0, top - 1) for step in (-2, -1, 0, 1)] + [
        np.zeros_like(edge),
        np.full_like(edge, top - 1),
    ]
    drawn = random_words(SAMPLED * len(x), r, seed=r).astype(np.int64).reshape(len(x), SAMPLED)
    words = np.sort(np.concatenate([np.stack(columns, axis=1), drawn], axis=1), axis=1)
    result = q(np.repeat(x, words.shape[1]), words.astype(np.uint32).ravel()).astype(np.float64).reshape(words.shape)
    up = _goes_up(q, x, law, slice(0, len(x)), result, words, claim)
    # All that go up are the largest words: between the last that stays and the first that goes lies the threshold.
    stays = np.where(up, -1, words).max(axis=1)
    goes = np.where(up, words, top).min(axis=1)
    inside = (stays < edge) & (edge <= goes)
    seen = np.where(inside, wanted, np.where(goes > edge, top - goes, top - stays - 1))
    return seen, words.size


def _goes_up(
    q: QuantizerUnderTest,
    x: NDArray[Any],
    law: Law,
    part: slice,
    result: NDArray[np.float64],
    words: NDArray[Any],
    claim: str,
) -> NDArray[np.bool_]:
    low, high = law.low[part, None], law.high[part, None]
    up: NDArray[np.bool_] = result == high
    strange = ~(up | (result == low))
    if strange.any():
        i, j = np.unravel_index(int(np.argmax(strange)), strange.shape)
        raise broken(
            claim,
            "a result is neither neighbour",
            q,
            x[i],
            words[i, j],
            shown(result[i, j]),
            "one of the neighbours",
            "Q(x) in {lo, hi}",
            Call(np.repeat(x, words.shape[1]), words.ravel(), result.ravel(), (int(i) * words.shape[1] + int(j),)),
        )
    return up


def _mean(c: Counted, i: int, k: int) -> Fraction:
    low, high = Fraction(float(c.law.low[i])), Fraction(float(c.law.high[i]))
    return low + (high - low) * Fraction(k, c.words)


def _variance(c: Counted, i: int, k: int) -> Fraction:
    step = Fraction(float(c.law.high[i])) - Fraction(float(c.law.low[i]))
    return step**2 * Fraction(k, c.words) * (1 - Fraction(k, c.words))


def _evidence(c: Counted) -> Evidence:
    words = f"all {c.words} words" if c.every else "the words beside the threshold"
    # Two words that a function takes for one are seen where a step goes up with the second and not with the first.
    first = np.unique(c.wanted[(c.wanted > 0) & (c.wanted < c.words)])
    apart = ", each told from the next," if len(first) == c.words - 1 else ""
    return Evidence(EXHAUSTIVE if c.every else EXACT, c.cases, f"{words}{apart} at {len(c.x)} points")


def _formula(q: QuantizerUnderTest) -> str:
    rule = {Rounding.SR: "floor(nu 2**r)", Rounding.SR_B: "floor(nu 2**r + 1/2)", Rounding.SR_C: "RNE(nu 2**r)"}
    return f"k = {rule[q.rounding]}, nu = (|x| - lo)/(hi - lo), r = {q.random_bits}"


def bias(q: QuantizerUnderTest, x: Any = None) -> Evidence:
    """The mean over all words is lo + ulp k/2**r exactly, k as the mode says: the closed form of its bias."""
    c = count(q, x, "bias")
    wrong = c.seen != c.wanted
    if wrong.any():
        i = int(np.argmax(wrong))
        raise _moment_broken(
            "bias",
            "the mean over all words is not the closed form",
            q,
            c,
            i,
            _mean,
            "lo + (hi - lo) k/2**r, " + _formula(q),
        )
    return _evidence(c)


def unbiased(q: QuantizerUnderTest, x: Any = None) -> Evidence:
    """The mean over all words is x where the words can express the fraction, else within (hi - lo) 2**-r of it.

    Half of that for SR_B and SR_C. Flushed steps are left out: flushing comes after the rounding and moves the mean.
    """
    c = count(q, x, "unbiased")
    limit = Fraction(1, c.words) if q.rounding is Rounding.SR else Fraction(1, 2 * c.words)
    for i in range(len(c.x)):
        exact = Fraction(float(c.x[i]))
        low, high = Fraction(float(c.law.low[i])), Fraction(float(c.law.high[i]))
        if not min(low, high) <= exact <= max(low, high) or abs(exact - low) != c.law.parts[i] * abs(high - low):
            continue
        error = _mean(c, i, int(c.seen[i])) - exact
        expressible = (c.law.parts[i] * c.words).denominator == 1
        allowed = Fraction(0) if expressible else limit * abs(high - low)
        if abs(error) > allowed:
            formula = "E[Q(x)] = x where nu 2**r is whole, else |E[Q(x)] - x| < (hi - lo) 2**-r" + (
                ", half for SR_B and SR_C" if q.rounding is not Rounding.SR else ""
            )
            raise _moment_broken(
                "unbiased",
                f"the mean over all words is off by {float(error):.6g}, at most {float(allowed):.6g} is allowed",
                q,
                c,
                i,
                _mean,
                formula,
            )
    return _evidence(c)


def variance(q: QuantizerUnderTest, x: Any = None) -> Evidence:
    """The variance over all words is (hi - lo)**2 (k/2**r)(1 - k/2**r) exactly."""
    c = count(q, x, "variance")
    for i in np.flatnonzero(c.seen != c.wanted):
        if _variance(c, int(i), int(c.seen[i])) != _variance(c, int(i), int(c.wanted[i])):
            raise _moment_broken(
                "variance",
                "the variance over all words is not the closed form",
                q,
                c,
                int(i),
                _variance,
                "(hi - lo)**2 (k/2**r)(1 - k/2**r), " + _formula(q),
            )
    return _evidence(c)


def variance_bound(q: QuantizerUnderTest, x: Any = None) -> Evidence:
    """The variance never exceeds a quarter of the squared step; with lo = l and hi = 2 l, as in LUQ, that is l**2/4."""
    c = count(q, x, "variance_bound")
    for i in range(len(c.x)):
        step = Fraction(float(c.law.high[i])) - Fraction(float(c.law.low[i]))
        if _variance(c, i, int(c.seen[i])) > step**2 / 4:
            raise _moment_broken(
                "variance_bound", "the variance exceeds (hi - lo)**2/4", q, c, i, _variance, "Var <= (hi - lo)**2/4"
            )
    return _evidence(c)


def word_order(q: QuantizerUnderTest, x: Any = None) -> Evidence:
    """A larger word never turns a magnitude down again: the words that go up are the largest k."""
    r = int(q.random_bits or 32)
    xs = inputs(q, x)
    xs = xs[~overflows(q, xs)]
    xs = xs[:: max(1, len(xs) // 64)] if x is None else xs
    words = np.unique(np.concatenate([np.arange(min(1 << r, 1 << 10)), (1 << r) - 1 - np.arange(min(1 << r, 1 << 10))]))
    if r > 11:
        words = np.unique(np.concatenate([words, random_words(512, r, seed=r)]).astype(np.int64))
    flat, tiled = np.repeat(xs, len(words)), np.tile(words, len(xs)).astype(np.uint32)
    signed = q(flat, tiled)
    result = np.abs(signed).reshape(len(xs), len(words))
    down = result[:, 1:] < result[:, :-1]
    if down.any():
        i, j = np.unravel_index(int(np.argmax(down)), down.shape)
        raise broken(
            "word_order",
            "a larger word gave a smaller magnitude",
            q,
            np.repeat(xs[i], 2),
            words[j : j + 2],
            f"{shown(result[i, j])}, then {shown(result[i, j + 1])}",
            "the second not below the first",
            "up iff k + R >= 2**r",
            Call(flat, tiled, signed, (int(i) * len(words) + int(j), int(i) * len(words) + int(j) + 1)),
        )
    return Evidence(EXHAUSTIVE if r <= 11 else EXACT, result.size)


def _moment_broken(
    claim: str,
    statement: str,
    q: QuantizerUnderTest,
    c: Counted,
    i: int,
    moment: Callable[[Counted, int, int], Fraction],
    formula: str,
) -> ClaimError:
    k, wanted = int(c.seen[i]), int(c.wanted[i])
    seen = f"{float(moment(c, i, k))!r}: {k} of {c.words} words give {float(c.law.high[i])!r}"
    allowed = f"{float(moment(c, i, wanted))!r}: {wanted} of {c.words} words"
    # One word on which the two disagree shows it; all words count.
    word = c.words - max(k, wanted)
    word, *calls = _call(q, c.x[i], c.words, min(word, c.words - 1))
    return broken(claim, statement, q, c.x[i], word, seen, allowed, formula, *calls)


def _call(q: QuantizerUnderTest, x: Any, count: int, word: int) -> tuple[Any, ...]:
    """(a word, the call of x under many words where its result is not the oracle's); the word given where it is right."""
    words = np.unique(np.append(np.arange(min(count, 1 << 10)), [word, count - 1])).astype(np.uint32)
    xs = np.full(len(words), x, q.dtype)
    result = q(xs, words)
    wrong = ~same_bits(result, reference.quantize(xs, q.ideal, words=words))
    if not wrong.any():
        return (word,)
    at = int(np.searchsorted(words, word))
    at = at if wrong[at] else int(np.argmax(wrong))
    return int(words[at]), Call(xs, words, result, (at,))


def smp(fn: Callable[..., Any], q: QuantizerUnderTest, samples: int = 2, x: Any = None) -> Evidence:
    """The average of `samples` independent roundings has variance Var/samples: all tuples of words are tried.

    fn(x [n], words [samples, n]) -> [n] averages what q gives for each row of words. Exact: every tuple of words for
    samples * r up to 16 bits. Source: arXiv 2112.10769, SMP. Errors: ValueError beyond that.
    """
    r = int(q.random_bits or 32)
    if samples < 1 or samples * r > ENUMERATED:
        raise ValueError(
            f"{samples} samples of {r} bits: all their words are tried, give at most {ENUMERATED} bits in all"
        )
    xs = points(q.element, q.dtype, q.limit) if x is None else np.atleast_1d(np.asarray(x, q.dtype))
    one = count(q, xs[:: max(1, len(xs) // 24)] if x is None else xs, "smp")
    tuples = np.stack(np.meshgrid(*[np.arange(1 << r, dtype=np.uint32)] * samples, indexing="ij")).reshape(samples, -1)
    for i, value in enumerate(one.x):
        results = np.asarray(fn(np.full(tuples.shape[1], value, q.dtype), tuples)).astype(np.float64)
        exact = [Fraction(v) for v in results.tolist()]
        mean = sum(exact, Fraction(0)) / len(exact)
        var = sum(((v - mean) ** 2 for v in exact), Fraction(0)) / len(exact)
        wanted_mean, wanted_var = _mean(one, i, int(one.wanted[i])), _variance(one, i, int(one.wanted[i])) / samples
        if (mean, var) != (wanted_mean, wanted_var):
            raise broken(
                "smp",
                f"the average of {samples} samples has another mean or variance",
                q,
                value,
                None,
                f"mean {float(mean)!r}, variance {float(var)!r}",
                f"mean {float(wanted_mean)!r}, variance {float(wanted_var)!r}",
                "Var of the average = Var/samples",
            )
    return Evidence(EXHAUSTIVE, len(one.x) * tuples.shape[1], f"all tuples of words at {len(one.x)} points")
