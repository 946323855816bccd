"""Check of an accumulator that rounds at random: mean and mean square over all tuples of words."""

from fractions import Fraction

import numpy as np

from .accumulators import AccumulatorUnderTest
from .evidence import EXHAUSTIVE, Evidence, hides
from .product_cases import broken_product
from .product_problems import Problem, problems, word_bits

__tracebackhide__ = hides

ENUMERATED = 14  # random bits of all roundings of an output up to which all tuples of words are tried


def product_moments(subject: AccumulatorUnderTest) -> Evidence:
    """The mean over all tuples of words is the oracle's mean, as exact rationals: two products, every word."""
    bits = word_bits(subject)
    depth = 2 if subject.roundings(2) * bits <= ENUMERATED else 1
    s = subject.roundings(depth)
    if s * bits > ENUMERATED:
        raise ValueError(f"{s} roundings of {bits} bits: all words are tried for at most {ENUMERATED} bits in all")
    given, i, j = _most_open(subject, depth, s, bits)
    tuples = np.stack(np.meshgrid(*[np.arange(1 << bits, dtype=np.uint32)] * s, indexing="ij"), axis=-1).reshape(-1, s)
    count = len(tuples)
    a, b = np.repeat(given.a[i : i + 1], count, axis=0), given.b[:, j : j + 1]
    words = (tuples.reshape(count, 1, s),)
    found = subject(a, b, np.zeros((count, 1), subject.dtype) if subject.takes_c else None, words)
    start = np.zeros((count, 1), subject.dtype) if subject.takes_c else None
    wanted = subject.wanted(a, b, start, words)
    means = [sum((Fraction(float(v)) for v in result[:, 0]), Fraction(0)) / count for result in (found, wanted)]
    squares = [sum((Fraction(float(v)) ** 2 for v in result[:, 0]), Fraction(0)) / count for result in (found, wanted)]
    if means[0] != means[1] or squares[0] != squares[1]:
        raise broken_product(
            "product_moments",
            "mean or variance over all words is another",
            subject,
            given,
            (),
            (i, j),
            f"mean {float(means[0])!r}, mean square {float(squares[0])!r}",
            f"mean {float(means[1])!r}, mean square {float(squares[1])!r}",
            "each rounding up for k of its 2**r words, independent",
        )
    return Evidence(EXHAUSTIVE, count, f"all {count} tuples of words")


def _most_open(subject: AccumulatorUnderTest, depth: int, s: int, bits: int) -> tuple[Problem, int, int]:
    """The output of so many products for which the words matter most: of the most different results under their ends."""
    ends = np.stack(np.meshgrid(*[np.array([0, (1 << bits) - 1], np.uint32)] * min(s, 6), indexing="ij"), axis=-1)
    ends = np.pad(ends.reshape(-1, min(s, 6)), ((0, 0), (0, max(0, s - 6))))
    best: tuple[int, Problem, int, int] | None = None
    for given in problems(subject, deep=False):
        if given.a.shape[-1] != depth:
            continue
        m, n = given.a.shape[0], given.b.shape[1]
        c = None if given.c is None else 0 * given.c
        found = [
            subject.wanted(given.a, given.b, c, (np.broadcast_to(w, (m, n, s)).copy(),)).astype(np.float64)
            for w in ends
        ]
        for i, j in np.ndindex(m, n):
            kinds = len({float(result[i, j]) for result in found})
            if best is None or kinds > best[0]:
                best = kinds, given, i, j
    assert best is not None
    return best[1:]
