"""One product as the kernels take it: operands as stacks of matrices, and where its random words come from."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .kernels import gemm
from .parameters import carrier_of
from .words import random_words


class Facts(NamedTuple):
    """What exactness needs to know of an operand."""

    significant_bits: int  # of every element, at most
    lowest: int  # exponent of the lowest bit of all elements
    highest: int  # exponent of the largest element
    largest: float = 0.0  # the largest magnitude
    minus: bool = False  # whether there is a -0


def facts(x: NDArray[Any], label: str) -> Facts:
    """Facts of a float array of any layout. Errors: ValueError naming the first element that is not finite."""
    carrier = carrier_of(x.dtype)
    seen, most, last, minus = (int(v) for v in gemm.scan(x.ravel(order="K").view(carrier.unsigned)))
    trailing = carrier.precision - 1
    if most >= carrier.bits(float("inf")):
        where = np.unravel_index(int(np.argmin(np.isfinite(x))), x.shape)
        position = f"[{', '.join(str(int(i)) for i in where)}]" if where else ""
        raise ValueError(
            f"{label}{position} is {x[where]}: products are exact for finite operands only;"
            " replace it first (quantizing with SATURATE clamps infinities, a NaN stays)"
        )
    if not most:  # all zeros
        return Facts(1, 0, 0, 0.0, bool(minus))
    significand = seen | 1 << trailing
    empty = (significand & -significand).bit_length() - 1
    bias = -carrier.emin + 1
    lowest = last - bias - trailing
    largest = float(np.array(most, carrier.unsigned).view(carrier.dtype))
    return Facts(trailing + 1 - empty, lowest, max(most >> trailing, 1) - bias, largest, bool(minus))


class Words(NamedTuple):
    """The random words of a product's roundings: drawn by (seed, stream), or given.

    Output number o = (batch*M + i)*N + j has `span` of them; this product's own begin at `first` (the sums of chunks and
    their combination share one span).
    """

    seed: int
    stream: int
    span: int
    first: int = 0
    given: NDArray[np.uint32] | None = None  # [outputs, span], each below 2**r of its rounding

    def of(self, outputs: slice, steps: slice, random_bits: int) -> NDArray[np.uint32]:
        """Words [outputs, steps] in [0, 2**random_bits); steps count from this product's first."""
        own = slice(self.first + steps.start, self.first + steps.stop)
        if self.given is not None:
            return self.given[outputs, own]
        count = outputs.stop - outputs.start
        drawn = random_words(
            count * self.span, random_bits, seed=self.seed, stream=self.stream, offset=outputs.start * self.span
        )
        return drawn.reshape(count, self.span)[:, own]


class Problem(NamedTuple):
    """c + a @ b: a [1 or B, M, K], b [1 or B, K, N], c [B, M, N] or None, K >= 1 and nothing empty; finite floats."""

    a: NDArray[Any]
    b: NDArray[Any]
    c: NDArray[Any] | None
    facts: tuple[Facts, Facts, Facts | None]
    words: Words | None

    @property
    def depth(self) -> int:
        """K, the number of products of an output."""
        return int(self.a.shape[-1])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape [B, M, N] of the result."""
        return max(self.a.shape[0], self.b.shape[0]), int(self.a.shape[1]), int(self.b.shape[2])
