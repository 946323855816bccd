"""Checks of N:M masks: the pattern, what is kept and as what, and over all words the marginals, mean and variance."""

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..reference import masks
from ..words import random_words
from .draws_check import ALPHA
from .evidence import EXACT, EXHAUSTIVE, STATISTICAL, ClaimError, Evidence, shown
from .masks import MaskUnderTest, blocks
from .tails import bonferroni, two_sided

ENUMERATED = 16
DRAWS = 1 << 14


def _blocks(subject: MaskUnderTest, x: Any) -> NDArray[Any]:
    return blocks(subject.m, subject.dtype) if x is None else np.atleast_2d(np.asarray(x, subject.dtype))


def _words(subject: MaskUnderTest, count: int, stream: int = 0) -> Any:
    if not (subject.stochastic and subject.takes_words):
        return None
    return random_words(count, int(subject.random_bits or 32), seed=11, stream=stream)


def broken_mask(
    claim: str, statement: str, subject: MaskUnderTest, block: Any, word: Any, seen: Any, allowed: Any, formula: str
) -> ClaimError:
    """The counter-example: one block."""
    details: dict[str, object] = {"block": ", ".join(shown(v) for v in block)}
    if word is not None:
        details["word"] = int(word)
    if subject.stochastic:
        details["probabilities"] = ", ".join(map(str, subject.probabilities(block)))
    details |= {
        "seen": seen,
        "allowed": allowed,
        "formula": formula,
        "reproduce": subject.reproduce(block, None if word is None else [word]),
    }
    return ClaimError(claim, f"{statement} ({subject.n}:{subject.m} {subject.kind})", **details)


def pattern(subject: MaskUnderTest, x: Any = None) -> Evidence:
    """At most n of each m elements are nonzero, whatever the word, in a last short block too; zeros stay zeros."""
    given = _blocks(subject, x)
    cases = 0
    for stream in range(4 if subject.stochastic else 1):
        words = _words(subject, len(given), stream)
        result = subject(given, None if words is None else words[:, None])
        wrong = (
            ((result != 0).sum(axis=1) > subject.n)
            | ((given == 0) & (result != 0)).any(axis=1)
            | ~np.isfinite(result).all(axis=1)
        )
        if wrong.any():
            i = int(np.argmax(wrong))
            raise broken_mask(
                "pattern",
                "more is kept than n of m, or a zero is",
                subject,
                given[i],
                None if words is None else words[i],
                result[i].tolist(),
                f"at most {subject.n} nonzeros, finite",
                "at most n of m nonzero",
            )
        cases += len(given)
        flat = given.reshape(-1)[: 4 * subject.m - 1 - (subject.m > 2)]  # the last block is short
        words = _words(subject, -(-len(flat) // subject.m), stream)
        short = subject(flat, words)
        padded = np.append(short, np.zeros(-len(flat) % subject.m)).reshape(-1, subject.m)
        if ((padded != 0).sum(axis=1) > subject.n).any():
            raise ClaimError(
                "pattern",
                "a last short block keeps more than n",
                seen=short.tolist(),
                reproduce=subject.reproduce(flat, words),
            )
    empty = subject(given.reshape(-1)[:0], None if not subject.takes_words else np.zeros(0, np.uint32))
    return Evidence(EXACT, cases + empty.size)


def kept_values(subject: MaskUnderTest, x: Any = None) -> Evidence:
    """What is kept is x itself (top_n), or x_i/p_i to within an ulp (mvue)."""
    given = _blocks(subject, x)
    cases = 0
    for stream in range(4 if subject.stochastic else 1):
        words = _words(subject, len(given), stream)
        result = subject(given, None if words is None else words[:, None])
        for i, block in enumerate(given):
            p = subject.probabilities(block) if subject.stochastic else [Fraction(1)] * subject.m
            for j in np.flatnonzero(result[i]):
                exact = Fraction(float(block[j])) / p[j] if p[j] else Fraction(0)
                allowed = (
                    Fraction(float(np.spacing(np.abs(subject.dtype.type(float(exact))))))
                    if subject.stochastic
                    else Fraction(0)
                )
                if abs(Fraction(float(result[i, j])) - exact) > allowed:
                    raise broken_mask(
                        "kept_values",
                        f"element {j} is kept as another value",
                        subject,
                        block,
                        None if words is None else words[i],
                        shown(result[i, j]),
                        f"{float(exact)!r} within {float(allowed):.3g}",
                        "x_i/p_i" if subject.stochastic else "x_i",
                    )
                cases += 1
    return Evidence(EXACT, cases)


def largest(subject: MaskUnderTest, x: Any = None) -> Evidence:
    """The n largest magnitudes are kept: the mask of least squared error. Ties may go either way."""
    given = _blocks(subject, x)
    result = subject(given)
    for block, out in zip(given, result, strict=True):
        if not masks.keeps_the_largest(block.tolist(), (out != 0).tolist(), subject.n):
            raise broken_mask(
                "largest",
                "a larger magnitude was dropped",
                subject,
                block,
                None,
                out.tolist(),
                f"the {subject.n} largest",
                "argmax over masks of the kept sum of squares",
            )
    return Evidence(EXACT, len(given))


def _counted(subject: MaskUnderTest, block: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any], int]:
    """(how often each element is kept, its value where kept, how many words) over all words."""
    r = int(subject.random_bits or 0)
    if not 1 <= r <= ENUMERATED:
        raise ValueError(f"random_bits = {r}: all words are tried for 1 to {ENUMERATED} bits")
    words = np.arange(1 << r, dtype=np.uint32)
    result = subject(np.tile(block, (len(words), 1)), words[:, None])
    counts = (result != 0).sum(axis=0)
    return counts, np.where(counts > 0, np.abs(result).max(axis=0) * np.sign(block), 0), len(words)


def _enumerable(subject: MaskUnderTest, x: Any) -> NDArray[Any]:
    given = _blocks(subject, x)
    return (
        given
        if x is not None
        else given[: max(12, min(len(given), (1 << 21) // ((1 << int(subject.random_bits or 1)) * subject.m)))]
    )


def marginals(subject: MaskUnderTest, x: Any = None) -> Evidence:
    """Over all words each element is kept p_i 2**r times, within one word (within two where the method is approximate)."""
    given, cases = _enumerable(subject, x), 0
    for block in given:
        p = subject.probabilities(block)
        counts, _, total = _counted(subject, block)
        slack = 1 if subject.method == "exact" else 2
        for j in range(subject.m):
            if block[j] and abs(int(counts[j]) - p[j] * total) > slack:
                raise broken_mask(
                    "marginals",
                    f"element {j} is kept too rarely or too often",
                    subject,
                    block,
                    None,
                    f"{counts[j]} of {total} words",
                    f"{float(p[j] * total):.6g} within {slack}",
                    "p_i = min(1, |x_i|/lambda), sum p = n"
                    if subject.method == "exact"
                    else "p_i = t_i + |x_i| sum t_j/(T - |x_j|)",
                )
        cases += total
    return Evidence(EXHAUSTIVE, cases, f"all words at {len(given)} blocks")


def mask_unbiased(subject: MaskUnderTest, x: Any = None) -> Evidence:
    """The mean over all words is x, within the value kept times 2**-r."""
    given, cases = _enumerable(subject, x), 0
    for block in given:
        p = subject.probabilities(block)
        counts, values, total = _counted(subject, block)
        slack = Fraction(1 if subject.method == "exact" else 2, total)
        for j in range(subject.m):
            exact, value = Fraction(float(block[j])), Fraction(float(values[j]))
            mean = value * Fraction(int(counts[j]), total)
            scale = abs(exact) / p[j] if p[j] else Fraction(0)
            if abs(mean - exact) > scale * slack + abs(exact) / 2**20:
                raise broken_mask(
                    "mask_unbiased",
                    f"the mean of element {j} is off",
                    subject,
                    block,
                    None,
                    f"{float(mean)!r}: {counts[j]} of {total} words give {float(value)!r}",
                    f"{float(exact)!r} within {float(scale * slack):.3g}",
                    "E = x",
                )
        cases += total
    return Evidence(EXHAUSTIVE, cases, f"all words at {len(given)} blocks")


def mask_variance(subject: MaskUnderTest, x: Any = None) -> Evidence:
    """The total variance of a block is sum x_i**2 (1/p_i - 1), within what r bits resolve; never below the least possible."""
    given, cases = _enumerable(subject, x), 0
    for block in given:
        p = subject.probabilities(block)
        counts, values, total = _counted(subject, block)
        shares = [Fraction(int(k), total) for k in counts]
        seen = sum((Fraction(float(v)) ** 2 * s * (1 - s) for v, s in zip(values, shares, strict=True)), Fraction(0))
        wanted = masks.masked_variance(block.tolist(), p)
        reach = sum(((Fraction(float(b)) / q) ** 2 for b, q in zip(block, p, strict=True) if q), Fraction(0))
        allowed = reach * Fraction(1 if subject.method == "exact" else 2, total) + reach / 2**20
        if abs(seen - wanted) > allowed:
            raise broken_mask(
                "mask_variance",
                "the variance is another",
                subject,
                block,
                None,
                f"{float(seen):.9g}",
                f"{float(wanted):.9g} within {float(allowed):.3g}",
                "sum x_i**2 (1/p_i - 1)",
            )
        cases += total
    return Evidence(EXHAUSTIVE, cases, f"all words at {len(given)} blocks")


def blocks_apart(subject: MaskUnderTest, x: Any = None) -> Evidence:
    """A block does not see the others, nor their words; a power of two passes through, and so does the sign."""
    given = _blocks(subject, x)
    words = _words(subject, len(given))
    column = None if words is None else words[:, None]
    if subject.stochastic and words is None:
        raise ValueError(f"{subject.name} draws for itself: its blocks cannot be compared one by one")
    plain = subject(given, column)
    order = np.argsort(random_words(len(given), 32, seed=9), kind="stable")
    scaled = (np.abs(given) < 2.0**90).all(axis=1) & ((np.abs(given) > 2.0**-90) | (given == 0)).all(axis=1)
    trials = {
        "in another order": (subject(given[order], None if column is None else column[order]), plain[order], order),
        "in one row": (subject(given.reshape(-1), words).reshape(given.shape), plain, np.arange(len(given))),
        "with its sign turned": (subject(-given, column), -plain, np.arange(len(given))),
        "times 2**7": (
            subject(given[scaled] * 128, None if column is None else column[scaled]),
            plain[scaled] * 128,
            np.flatnonzero(scaled),
        ),
    }
    for how, (found, wanted, index) in trials.items():
        wrong = (found != wanted).any(axis=1)
        if wrong.any():
            i = int(np.argmax(wrong))
            raise broken_mask(
                "blocks_apart",
                f"{how}, a block gave another result",
                subject,
                given[index[i]],
                None if words is None else words[index[i]],
                found[i].tolist(),
                wanted[i].tolist(),
                "a block depends on its elements and its word alone",
            )
    return Evidence(EXACT, sum(len(index) for _, _, index in trials.values()))


def mask_draws(subject: MaskUnderTest, x: Any = None, *, alpha: float = ALPHA) -> Evidence:
    """A mask that draws for itself keeps each element with its probability: exact binomial tests, put together by Bonferroni.

    alpha: the probability that a right mask is called wrong. The elements of a block exclude each other, so nothing
    that asks for independence is used.
    """
    if not subject.stochastic or subject.takes_words:
        raise ValueError(f"{subject.name} does not draw for itself: see checks.marginals")
    given = _blocks(subject, x)[:24]
    times = DRAWS // len(given)
    result = subject(np.tile(given, (times, 1))).reshape(times, *given.shape)
    if ((result != 0).sum(axis=2) > subject.n).any():
        raise ClaimError("mask_draws", "a draw keeps more than n of m", reproduce=subject.reproduce(given))
    counts = (result != 0).sum(axis=0)
    found = []
    for i, block in enumerate(given):
        for j, p in enumerate(subject.probabilities(block)):
            if block[j]:
                found.append((float(two_sided(times, p)[counts[i, j]]), i, j, p))
    p_value = bonferroni([f[0] for f in found])
    if p_value <= alpha:
        _, i, j, p = min(found)
        raise broken_mask(
            "mask_draws",
            f"element {j} is not kept as often as claimed",
            subject,
            given[i],
            None,
            f"{counts[i, j]} of {times} draws",
            f"{float(p) * times:.6g}, p-value {p_value:.3g} of all elements",
            "kept with probability p_i",
        )
    return Evidence(STATISTICAL, times * len(given), f"false alarms: {alpha:g}")
