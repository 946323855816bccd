"""Sums of chunks that overflowed to infinities or NaN, combined output by output: kernels take finite operands alone."""

import numpy as np
from numpy.typing import NDArray

from . import arithmetic
from .accumulator import Accumulator
from .formats import FixedFormat
from .problem import Caller, Words
from .quantizer import Quantizer


def takes_infinities(outer: Accumulator) -> bool:
    """Whether `in_turn` has the sums of chunks by this accumulator."""
    return outer.order == "sequential" and not isinstance(outer.format, FixedFormat)


def in_turn(
    sums: NDArray[np.float64],
    start: NDArray[np.float64],
    outer: Accumulator,
    words: Words | None,
    which: NDArray[np.int64],
    names: Caller,
) -> NDArray[np.float64]:
    """The sums of chunks [n, chunks] added to start [n] one after the other, each rounded by `outer`, as `arithmetic.add`.

    which: the numbers of these n outputs among all, by which words are drawn and errors name them. Infinities of both
    signs make NaN, which a format that has none refuses.
    """
    quantizer = Quantizer(outer.format, outer.rounding, outer.overflow, outer.random_bits)
    drawn = None
    if words is not None and outer.random_bits is not None:
        steps = slice(0, sums.shape[1])
        drawn = np.concatenate([words.of(slice(o, o + 1), steps, outer.random_bits) for o in which.tolist()])
    total = start
    with np.errstate(invalid="ignore"):
        for chunk in range(sums.shape[1]):
            own = None if drawn is None else np.ascontiguousarray(drawn[:, chunk])
            total = arithmetic.add_named(total, sums[:, chunk], quantizer, lambda i: names.output(int(which[i])), own)
    return total
