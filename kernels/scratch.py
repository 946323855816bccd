"""Rows of scratch that begin at a cache line: from elsewhere, every wide load and store touches two lines."""

import numpy as np

from ._jit import core

LINE = 64  # bytes of memory that come together
TILE = 512  # accumulators of one row that stay in the L1 cache beside their panel of b


@core
def lined_row(width, like):
    """An empty row of the dtype of `like`."""
    held = np.empty(width + LINE // like.itemsize, like.dtype)
    skip = ((LINE - (held.ctypes.data & (LINE - 1))) & (LINE - 1)) // like.itemsize
    return held[skip : skip + width]
