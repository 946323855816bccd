"""N:M masks in rationals: inclusion probabilities, the systematic draw, and the largest magnitudes.

Any unbiased mask that keeps element i with probability p_i has variance at least x_i**2 (1/p_i - 1) there, reached by the
value x_i/p_i; under sum p = n the total is least for p_i = min(1, |x_i|/lambda). Source: arXiv 2203.10991, and Cauchy-Schwarz.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations


def inclusion_probabilities(block: Sequence[Fraction | float | int], n: int) -> list[Fraction]:
    """p of each element of a block: min(1, |x_i|/lambda) with sum n; 1 for each nonzero where there are at most n.

    Errors: ValueError for n below 1.
    """
    if n < 1:
        raise ValueError(f"n = {n}: at least one element of a block is kept")
    magnitudes = [abs(Fraction(x)) for x in block]
    if sum(1 for x in magnitudes if x) <= n:
        return [Fraction(int(x != 0)) for x in magnitudes]
    order = sorted(range(len(magnitudes)), key=lambda i: -magnitudes[i])
    rest, kept = sum(magnitudes, Fraction(0)), 0
    while magnitudes[order[kept]] * (n - kept) > rest:  # above lambda: kept for certain
        rest -= magnitudes[order[kept]]
        kept += 1
    level = rest / (n - kept)
    certain = set(order[:kept])
    return [Fraction(1) if i in certain else x / level for i, x in enumerate(magnitudes)]


def approximate_probabilities(block: Sequence[Fraction | float | int]) -> list[Fraction]:
    """p of each element under two draws without replacement, each with probability in proportion to |x|.

    p_i = t_i + |x_i| sum over j != i of t_j/(T - |x_j|), t = |x|/T. At most two nonzeros: 1 for each.
    """
    magnitudes = [abs(Fraction(x)) for x in block]
    total = sum(magnitudes, Fraction(0))
    if sum(1 for x in magnitudes if x) <= 2:
        return [Fraction(int(x != 0)) for x in magnitudes]
    return [
        x / total + x * sum((y / total / (total - y) for j, y in enumerate(magnitudes) if j != i), Fraction(0))
        for i, x in enumerate(magnitudes)
    ]


def pair_probabilities(block: Sequence[Fraction | float | int]) -> dict[tuple[int, int], Fraction]:
    """Of each pair i < j the probability that two draws without replacement take it, in either order; at least 3 nonzeros.

    Errors: ValueError for a block with fewer, which has no second draw or no choice.
    """
    magnitudes = [abs(Fraction(x)) for x in block]
    if sum(1 for x in magnitudes if x) < 3:
        raise ValueError(f"block {list(block)}: pairs are drawn from at least three numbers that are not zero")
    total = sum(magnitudes, Fraction(0))
    second = [x / total / (total - x) for x in magnitudes]  # times the other: one first, the other after it
    return {
        (i, j): second[i] * magnitudes[j] + second[j] * magnitudes[i]
        for i, j in combinations(range(len(magnitudes)), 2)
    }


def sequential_draw(block: Sequence[Fraction | float | int], word: int, random_bits: int) -> list[int]:
    """The pair kept for a word: the first, in order, with (word + 1)/2**r <= the running sum of `pair_probabilities`."""
    if sum(1 for x in block if x) < 3:
        return [i for i, x in enumerate(block) if x]
    u, running = Fraction(word + 1, 1 << random_bits), Fraction(0)
    for pair, chance in pair_probabilities(block).items():
        running += chance
        if u <= running:
            return list(pair)
    raise AssertionError("the probabilities of all pairs add up to 1")


def systematic_draw(probabilities: Sequence[Fraction], word: int, random_bits: int) -> list[int]:
    """The elements kept for a word: i where some u + j, j = 0, 1, ..., lies in (C_(i-1), C_i], u = (word + 1)/2**r.

    C are the running sums of p; over all words i is kept floor(C_i 2**r) - floor(C_(i-1) 2**r) times.
    """
    u = Fraction(word + 1, 1 << random_bits)
    kept, running = [], Fraction(0)
    for i, p in enumerate(probabilities):
        before, running = running, running + p
        if (running - u) // 1 > (before - u) // 1:
            kept.append(i)
    return kept


def masked_variance(block: Sequence[Fraction | float | int], probabilities: Sequence[Fraction]) -> Fraction:
    """Total variance of x_i/p_i where kept: sum of x_i**2 (1/p_i - 1)."""
    pairs = ((Fraction(x), p) for x, p in zip(block, probabilities, strict=True))
    return sum((x * x * (1 / p - 1) for x, p in pairs if p), Fraction(0))


def keeps_the_largest(block: Sequence[float], kept: Sequence[bool], n: int) -> bool:
    """Whether the kept elements are n of the largest magnitudes, zeros counting for nothing; ties may go either way."""
    inside = sorted((abs(x) for x, k in zip(block, kept, strict=True) if k), reverse=True)
    wanted = sorted((abs(x) for x in block), reverse=True)[:n]
    return [x for x in inside if x] == [x for x in wanted if x]


def estimate(
    block: Sequence[Fraction | float | int],
    n: int,
    word: int,
    random_bits: int,
    *,
    approximate: bool = False,
    sequential: bool = False,
) -> list[Fraction]:
    """x_i/p_i where the word keeps element i, else 0. sequential: two draws, their pairs too; approximate: their p alone."""
    p = approximate_probabilities(block) if approximate or sequential else inclusion_probabilities(block, n)
    kept = set(sequential_draw(block, word, random_bits) if sequential else systematic_draw(p, word, random_bits))
    return [Fraction(x) / q if i in kept and q else Fraction(0) for i, (x, q) in enumerate(zip(block, p, strict=True))]


def deciding_words(probabilities: Sequence[Fraction], random_bits: int) -> list[int]:
    """The words next to which a draw changes: the last one of each element and the first one after it, both ends."""
    whole, running = 1 << random_bits, Fraction(0)
    words = {0, whole - 1}
    for p in probabilities:
        running += p
        reach = int(running * whole // 1)
        words |= {(reach - 2) % whole, (reach - 1) % whole, reach % whole}
    return sorted(words)
