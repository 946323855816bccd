"""Checks of blocks under every scale: all codes of the shared scale, all steps of the elements, NaN and infinity at each place.

What a function does wrong under one scale alone, for one size of numbers or for one place of a block, is found here.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..words import random_words
from .block_cases import SLOW, block_length, of_blocks, scale_rows, special_rows, units, usable, words_for
from .block_checks import broken_block, called
from .block_law import block_law
from .evidence import EXACT, Evidence, hides
from .quantizers import QuantizerUnderTest
from .rounding_checks import same_bits

__tracebackhide__ = hides

SAMPLED = 3  # calls of one that draws for itself


def compare_blocks(q: QuantizerUnderTest, claim: str, statement: str, rows: NDArray[Any]) -> int:
    """Rows [R, L] are what the oracle says, under words at their thresholds; of one that draws, one of two; how many cases."""
    law = block_law(q, rows)
    words = words_for(q, law) if q.takes_words else None
    for _ in range(SAMPLED if q.sampler else 1):
        found = called(q, rows, words)
        wanted = law.low if words is None else law.under(words, int(q.random_bits or 32))
        if q.sampler:
            wanted = np.where(same_bits(found, law.high), law.high, law.low)
        formula = f"{of_blocks(q).rule.name} of the block's amax, elements once rounded"
        broken_block(claim, statement, q, rows, words, found, wanted, formula)
    return rows.size


def every_scale(q: QuantizerUnderTest) -> Evidence:
    """Under every scale of the format, blocks become what they do under any other: steps, ties, ends, what vanishes.

    Scales: each power of two that the scale's format and the array's type hold, and three beyond either end, of very wide
    ones 300 evenly, both ends and those around 1; under ratios its values, their ties and the floats beside these. Maxima:
    at each code of the top binade and between. Elements: of each step both ends, the tie, the floats beside these and
    quarters, as many as 2**18 elements in all allow, 2**15 under ratios, spread over the scales. Words: at a threshold the
    first that goes up and the one before, at 2**14 thresholds besides.
    """
    number = len(units(q))
    cases = compare_blocks(
        q, "every_scale", "under one scale, not what the scale rule and one rounding give", scale_rows(q)
    )
    return Evidence(EXACT, cases, f"{number} scales")


def block_specials(q: QuantizerUnderTest) -> Evidence:
    """A NaN and an infinity at any place of a block do to it what the format and the overflow rule say; none to others."""
    rows = special_rows(q)
    if not rows.size:
        return Evidence(EXACT, 0, f"{q.fmt} has no NaN, and infinities are refused")
    statement = "beside a NaN or an infinity, or for one, not what the format says"
    if not of_blocks(q).tensor_scale:
        return Evidence(EXACT, compare_blocks(q, "block_specials", statement, rows))
    # One infinity scales all of an array: each row by itself.
    some = rows[:: max(1, len(rows) // 256)] if q.limit >= SLOW else rows[:: max(1, len(rows) // 16)]
    return Evidence(EXACT, sum(compare_blocks(q, "block_specials", statement, usable(q, row[None])) for row in some))


def tensor_scales(q: QuantizerUnderTest) -> Evidence:
    """Arrays of every magnitude have the tensor's scale that the format says, those of zeros and of the smallest too."""
    fmt, length = of_blocks(q), min(8, block_length(q))
    kind = np.finfo(q.dtype)
    low, high = int(np.log2(float(np.finfo(np.float32).smallest_subnormal))), 127
    exponents = np.arange(low, high + 1, 1 if q.limit >= SLOW else 16)
    draws = random_words(len(exponents) * 2 * length * 2, 32, seed=21).astype(np.float64).reshape(2, len(exponents), -1)
    cases = 0
    for i, exponent in enumerate(exponents.tolist()):
        spread = np.floor(draws[1, i] / 2.0**32 * 12) - 11
        with np.errstate(over="ignore", under="ignore"):
            x = (2.0**exponent * (1 + draws[0, i] / 2.0**32) * 2.0**spread).astype(np.float32).astype(q.dtype)
        x[i % len(x)] = 2.0**exponent * (1.0, 1.5, float(fmt.element.max) / 2.0**fmt.element_emax)[i % 3]
        x[~np.isfinite(x)] = float(np.finfo(np.float32).max)
        if fmt.signed:
            x[draws[0, i] % 2 == 1] *= -1
        row = usable(q, x[None, :])
        cases += compare_blocks(
            q, "tensor_scales", "in an array of this magnitude, not what the tensor's scale gives", row
        )
    for value in (0.0, float(kind.smallest_subnormal), float(kind.tiny), float(kind.max)):
        row = usable(q, np.full((1, 2 * length + 1), value, q.dtype))
        cases += compare_blocks(q, "tensor_scales", "in an array of one value, not what the tensor's scale gives", row)
    return Evidence(EXACT, cases, f"{len(exponents)} binades")
