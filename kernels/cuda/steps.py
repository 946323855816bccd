"""One step of a sum as a core that kernels call, for modes that are constants of the kernel."""

from functools import cache
from typing import Any

import numpy as np

from ..carrier import unpack
from ..directed import odd_bits
from ..modes import MODE_MASK, NO_ROUNDING, ONCE, RTN
from ..primitives import to_bits
from ..sums import fused_bits, sum_bits, to_format
from ._jit import device

U32, U64 = np.uint32, np.uint64

facts_of = device(lambda row: unpack(row))


@cache
def make_fused(mode: int, normalise: int) -> Any:
    """(x, factor, y, word, facts) -> x + factor * y, rounded once; the product is exact in the carrier, or the step is."""
    directed = mode >= 0 and not mode & ONCE and mode & MODE_MASK != RTN

    def fused(x, factor, y, word, facts):
        return to_format(fused_bits(x, factor, y, mode), word, mode, normalise, facts)

    def fused_directed(x, factor, y, word, facts):
        return to_format(odd_bits(x, factor, y), word, mode, normalise, facts)

    return device(fused_directed if directed else fused)


@cache
def make_add(mode: int, normalise: int) -> Any:
    """(x, y, word, facts) -> x + y, rounded once."""
    return device(lambda x, y, word, facts: to_format(sum_bits(x, y, mode), word, mode, normalise, facts))


@cache
def make_subtract(mode: int, normalise: int) -> Any:
    """(x, y, word, facts) -> x - y, rounded once."""
    return device(lambda x, y, word, facts: to_format(sum_bits(x, -y, mode), word, mode, normalise, facts))


@cache
def make_multiply(mode: int, normalise: int) -> Any:
    """(x, y, word, facts) -> x * y, exact in the carrier and then rounded, unless the mode is NO_ROUNDING."""
    if mode == NO_ROUNDING:
        return device(lambda x, y, word, facts: x * y)
    return device(lambda x, y, word, facts: to_format(to_bits(x * y), word, mode, normalise, facts))
