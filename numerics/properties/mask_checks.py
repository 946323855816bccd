"""Checks of N:M masks: the pattern, what is kept and as what, and over all words the marginals, mean and variance."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..reference import masks
from ..words import random_words
from .evidence import EXACT, EXHAUSTIVE, Evidence, hides, shown
from .mask_cases import broken_mask, given_blocks, words_of
from .mask_draws_check import mask_draws as mask_draws
from .masks import MaskUnderTest

__tracebackhide__ = hides

ENUMERATED = 16


def pattern(subject: MaskUnderTest, x: Any = None) -> Evidence:
    """Of each m elements n are nonzero, or all that were, whatever the word, in a last short block too; zeros stay zeros.

    Never fewer: the probabilities add up to n, so a draw that keeps fewer must have another that keeps more.
    """
    given, m, cases = given_blocks(subject, x), subject.m, 0
    for laid in _layouts(given, m):
        rows = int(np.prod(laid.shape[:-1]))
        for stream in range(-2, 4) if subject.stochastic else (0,):
            count = -(-laid.shape[-1] // m)
            words = words_of(subject, rows * count, stream)
            result = subject(laid, None if words is None else words.reshape(*laid.shape[:-1], count))
            short = ((0, 0), (0, -laid.shape[-1] % m))
            blocks, kept = (np.pad(v.reshape(rows, -1), short).reshape(-1, m) for v in (laid, result))
            fullest = np.minimum(subject.n, (blocks != 0).sum(axis=1))
            wrong = ((kept != 0).sum(axis=1) != fullest) | ((blocks == 0) & (kept != 0)).any(axis=1)
            wrong |= ~np.isfinite(kept).all(axis=1)
            if wrong.any():
                i = int(np.argmax(wrong))
                raise broken_mask(
                    "pattern",
                    f"not n of m elements are kept, or a zero is: block {i} of {list(laid.shape)} elements",
                    subject,
                    blocks[i],
                    None if words is None else words[i],
                    kept[i].tolist(),
                    f"{fullest[i]} nonzeros, finite",
                    "n of m nonzero, or all that were",
                    (blocks, words, kept, i) if laid.shape == (rows, m) else None,
                )
            cases += len(blocks)
    empty = subject(given.reshape(-1)[:0], None if not subject.takes_words else np.zeros(0, np.uint32))
    return Evidence(EXACT, cases + empty.size)


def _layouts(given: NDArray[Any], m: int) -> Iterator[NDArray[Any]]:
    """The blocks one in a row, two in a row of a matrix with a multiple of m rows, and in one row with a short last one."""
    yield given
    matrix = len(given) // (2 * m) * 2 * m
    if matrix:
        yield given[:matrix].reshape(-1, 2 * m)
    for tail in range(1, m):
        yield given.reshape(-1)[: min(3, len(given) - 1) * m + tail]


def kept_values(subject: MaskUnderTest, x: Any = None) -> Evidence:
    """What is kept is x itself (top_n), or x_i/p_i to within m + 4 ulp (mvue): a sum of m numbers and two quotients."""
    given = given_blocks(subject, x)
    cases = 0
    for stream in range(4 if subject.stochastic else 1):
        words = words_of(subject, len(given), stream)
        result = subject(given, None if words is None else words[:, None])
        for i, block in enumerate(given):
            p = subject.probabilities(block) if subject.stochastic else [Fraction(1)] * subject.m
            for j in np.flatnonzero(result[i]):
                exact = Fraction(float(block[j])) / p[j] if p[j] else Fraction(0)
                allowed = (
                    (subject.m + 4) * Fraction(float(np.spacing(np.abs(subject.dtype.type(float(exact))))))
                    if subject.stochastic
                    else Fraction(0)
                )
                if not np.isfinite(result[i, j]) or abs(Fraction(float(result[i, j])) - exact) > allowed:
                    raise broken_mask(
                        "kept_values",
                        f"element {j} is kept as another value",
                        subject,
                        block,
                        None if words is None else words[i],
                        shown(result[i, j]),
                        f"{float(exact)!r} within {float(allowed):.3g}",
                        "x_i/p_i" if subject.stochastic else "x_i",
                        (given, words, result, i),
                    )
                cases += 1
    return Evidence(EXACT, cases)


def largest(subject: MaskUnderTest, x: Any = None) -> Evidence:
    """The n largest magnitudes are kept: the mask of least squared error. Ties may go either way."""
    given = given_blocks(subject, x)
    result = subject(given)
    for i, (block, out) in enumerate(zip(given, result, strict=True)):
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
                (given, None, result, i),
            )
    return Evidence(EXACT, len(given))


class _Counted(NamedTuple):
    """Over all words: how often each element is kept, its mean and its mean square, signs included; how many words."""

    counts: NDArray[np.int64]
    means: list[Fraction]
    squares: list[Fraction]
    total: int


def _counted(subject: MaskUnderTest, block: NDArray[Any]) -> _Counted:
    r = int(subject.random_bits or 0)
    if not 1 <= r <= ENUMERATED:
        raise ValueError(f"random_bits = {r}: all words are tried for 1 to {ENUMERATED} bits")
    words = np.arange(1 << r, dtype=np.uint32)
    result = subject(np.tile(block, (len(words), 1)), words[:, None])
    if not np.isfinite(result).all():
        word = int(np.argmax(~np.isfinite(result).all(axis=1)))
        seen = result[word].tolist()
        raise broken_mask("pattern", "not finite", subject, block, word, seen, "finite values", "x_i/p_i where p_i > 0")
    means: list[Fraction] = []
    squares: list[Fraction] = []
    for column in result.T:
        values, often = np.unique(column, return_counts=True)
        exact = [Fraction(v) for v in values.tolist()]
        for power, into in ((1, means), (2, squares)):
            total = sum((v**power * k for v, k in zip(exact, often.tolist(), strict=True)), Fraction(0))
            into.append(total / len(words))
    return _Counted((result != 0).sum(axis=0), means, squares, len(words))


def _enumerable(subject: MaskUnderTest, x: Any) -> NDArray[Any]:
    given = given_blocks(subject, x)
    return (
        given
        if x is not None
        else given[: max(12, min(len(given), (1 << 21) // ((1 << int(subject.random_bits or 1)) * subject.m)))]
    )


def marginals(subject: MaskUnderTest, x: Any = None) -> Evidence:
    """Over all words each element is kept p_i 2**r times, within one word (approximate: two; sequential: m - 1)."""
    given, cases = _enumerable(subject, x), 0
    for block in given:
        p = subject.probabilities(block)
        counts, _, _, total = _counted(subject, block)
        slack = subject.slack
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


def mask_pairs(subject: MaskUnderTest, x: Any = None) -> Evidence:
    """Over all words each pair is kept as often as two draws in sequence take it, to within two words; method "sequential"."""
    given, cases = _enumerable(subject, x), 0
    words = np.arange(1 << int(subject.random_bits or 1), dtype=np.uint32)
    for block in given[(given != 0).sum(axis=1) > 2]:
        kept = subject(np.tile(block, (len(words), 1)), words[:, None]) != 0
        for (i, j), chance in masks.pair_probabilities(block.tolist()).items():
            count = int((kept[:, i] & kept[:, j]).sum())
            if abs(count - chance * len(words)) > 2:
                raise broken_mask(
                    "mask_pairs",
                    f"elements {i} and {j} are kept together too rarely or too often",
                    subject,
                    block,
                    None,
                    f"{count} of {len(words)} words",
                    f"{float(chance * len(words)):.6g} within 2",
                    "t_i |x_j|/(T - |x_i|) + t_j |x_i|/(T - |x_j|)",
                )
        cases += len(words)
    return Evidence(EXHAUSTIVE, cases, f"all words at {len(given)} blocks")


def mask_unbiased(subject: MaskUnderTest, x: Any = None) -> Evidence:
    """The mean over all words is x, its sign included, within the value kept times 2**-r."""
    given, cases = _enumerable(subject, x), 0
    for block in given:
        p = subject.probabilities(block)
        counts, means, _, total = _counted(subject, block)
        slack = Fraction(subject.slack, total)
        for j, mean in enumerate(means):
            exact = Fraction(float(block[j]))
            scale = abs(exact) / p[j] if p[j] else Fraction(0)
            if abs(mean - exact) > scale * slack + abs(exact) / 2**20:
                raise broken_mask(
                    "mask_unbiased",
                    f"the mean of element {j} is off",
                    subject,
                    block,
                    None,
                    f"{float(mean)!r}, kept by {counts[j]} of {total} words",
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
        _, means, squares, total = _counted(subject, block)
        seen = sum((square - mean**2 for square, mean in zip(squares, means, strict=True)), Fraction(0))
        wanted = masks.masked_variance(block.tolist(), p)
        reach = sum(((Fraction(float(b)) / q) ** 2 for b, q in zip(block, p, strict=True) if q), Fraction(0))
        allowed = reach * Fraction(subject.slack, total) + reach / 2**20
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
    given = given_blocks(subject, x)
    words = words_of(subject, len(given))
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
                (given, words, plain, int(index[i])),
            )
    return Evidence(EXACT, sum(len(index) for _, _, index in trials.values()))
