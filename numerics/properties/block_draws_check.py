"""The verdict on blocks of one that draws for itself: what it draws for elements, as of one that rounds them one by one.

Put into blocks whose scale is known, elements are rounded each for itself, and `draws` says whether as claimed: with the
same exact tests, the same looks and the same rate of false alarms.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..formats import ScaleRule
from ..reference import block as oracle
from .block_cases import of_blocks
from .block_checks import called
from .draws_check import ALPHA, draws
from .evidence import STATISTICAL, ClaimError, Evidence, hides
from .points import steps
from .quantizers import QuantizerUnderTest

__tracebackhide__ = hides

SPREAD = 40  # exponents of scales to either side of 1 at most
WIDEST = 64


def embedded(q: QuantizerUnderTest) -> QuantizerUnderTest:
    """A quantizer of elements [n]: of blocks of elements beside one that fixes the scale, one of three scales in turn."""
    fmt = of_blocks(q)
    length = min(fmt.block, WIDEST)
    low, high = oracle.scale_powers(fmt.scale)
    ends = max(low + 1, -SPREAD), min(high - 1, SPREAD)
    exponents = sorted({0, *ends}) if ends[0] <= 0 <= ends[1] else [max(ends[0], min(0, ends[1]))]
    top = peak(q)

    def fn(x: NDArray[Any]) -> NDArray[Any]:
        flat = x.reshape(-1)
        blocks = np.pad(flat, (0, -len(flat) % (length - 1))).reshape(-1, length - 1)
        number = np.arange(len(blocks))
        rows = np.empty((len(blocks), length), q.dtype)
        place = number * 5 % length
        rest = np.arange(length)[None, :] != place[:, None]
        rows[rest] = blocks.reshape(-1)
        rows[number, place] = top
        unit = 2.0 ** np.resize(np.array(exponents, np.float64), len(blocks))[:, None]
        rows = (rows * unit).astype(q.dtype)
        if fmt.tensor_scale:  # the largest of all says what the scale of all is: 1
            rows = np.concatenate([rows, np.full((1, length), fmt.element.max * fmt.scale.max, q.dtype)])
        found = called(q, rows)[: len(blocks)] / unit.astype(q.dtype)
        result: NDArray[Any] = found[rest].reshape(-1)[: len(flat)].reshape(x.shape)
        return result

    return replace(q, fn=fn, fmt=fmt.element, tensor=None, axis=-1)


def peak(q: QuantizerUnderTest) -> float:
    """The maximum of a block whose scale is 1, no element of which is larger."""
    fmt = of_blocks(q)
    return 2.0**fmt.top_exponent if fmt.rule is ScaleRule.CEIL else fmt.element.max


def block_draws(q: QuantizerUnderTest, *, alpha: float = ALPHA, budget: int = 1 << 18) -> Evidence:
    """What is drawn for the elements of blocks has the probabilities, and the independence, that it claims.

    As `draws`, of elements in blocks of one of three scales, beside a maximum that fixes it. alpha: the probability that a
    right one is called wrong. budget: draws in all. Errors: ClaimError.
    """
    fmt = of_blocks(q)
    if fmt.block == 1:
        return Evidence(STATISTICAL, 0, "blocks of one element: none lies beside one that fixes the scale")
    elements, x = embedded(q), None
    if fmt.rule is ScaleRule.CEIL:  # above it, another scale
        low, high = steps(fmt.element, q.dtype)
        low, high = low[high <= peak(q)], high[high <= peak(q)]
        some = np.unique(np.linspace(0, len(low) - 1, min(len(low), 24)).astype(int))
        x = np.concatenate([low[some] + (high[some] - low[some]) * part for part in (0.5, 0.25, 0.0625, 0.9375)])
        x = np.concatenate([x, -x]) if fmt.signed else x
    try:
        return draws(elements, x, alpha=alpha, budget=budget)
    except ClaimError as error:
        details = {k.replace(" ", "_"): v for k, v in error.details.items() if k != "reproduce"}
        bits = "" if q.random_bits == np.inf else f", random_bits={q.random_bits}"
        claim = (
            f"fmt={fmt!r}, rounding=Rounding.{q.rounding.name}, overflow=Overflow.{q.overflow.name}{bits}, sampler=True"
        )
        line = f"checks.block_draws(as_quantizer({q.name}, {claim}), budget={budget})  # with other counts in each run"
        sentence = str(error).partition("\n")[0].partition(": ")[2]
        raise ClaimError("block_draws", f"{sentence} in {fmt}", **details, reproduce=line) from None
