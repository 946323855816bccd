"""One product as the kernels take it: operands as stacks of matrices, and where its random words come from."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .kernels.scan import scan
from .parameters import Carrier, carrier_of
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
    known = facts_from(scan(x.ravel(order="K").view(carrier.unsigned)), carrier)
    if known is None:
        where = np.unravel_index(int(np.argmin(np.isfinite(x))), x.shape)
        position = f"[{', '.join(str(int(i)) for i in where)}]" if where else ""
        raise ValueError(
            f"{label}{position} is {x[where]}: products are exact for finite operands only;"
            " replace it first (quantizing with SATURATE clamps infinities, a NaN stays)"
        )
    return known


def facts_from(found: Iterable[Any], carrier: Carrier) -> Facts | None:
    """Facts by what `kernels.scan` found; None if an element is not finite."""
    seen, most, last, minus = (int(v) for v in found)
    trailing = carrier.precision - 1
    if most >= carrier.bits(float("inf")):
        return None
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
    first_output: int = 0  # the number of this product's first output, where it is a part of another

    def of(self, outputs: slice, steps: slice, random_bits: int) -> NDArray[np.uint32]:
        """Words [outputs, steps] in [0, 2**random_bits); outputs and steps count from this product's first."""
        own = slice(self.first + steps.start, self.first + steps.stop)
        start, stop = self.first_output + outputs.start, self.first_output + outputs.stop
        if self.given is not None:
            return self.given[start:stop, own]
        count = stop - start
        drawn = random_words(
            count * self.span, random_bits, seed=self.seed, stream=self.stream, offset=start * self.span
        )
        return drawn.reshape(count, self.span)[:, own]


class Caller(NamedTuple):
    """What the caller gave, for sentences that name a part of it: shapes of a, b, c and the result.

    Those of `dot` are [K], [K] and (). A problem may be a part of what was asked for, or its transpose.
    """

    a: tuple[int, ...]
    b: tuple[int, ...]
    c: tuple[int, ...] | None
    result: tuple[int, ...]
    first_output: int = 0  # the number, in row-major order, of the problem's first output
    turned: bool = False  # whether the problem's rows are the columns of the caller's result
    first_step: int = 0  # k of the problem's first product
    combines: bool = False  # whether its products are sums of chunks, times one

    def output(self, number: int) -> str:
        """An output of the problem by its number: "output (0, 1)", or "the output" of a dot product."""
        return f"output {self._place(number)}" if self.result else "the output"

    def _place(self, number: int) -> tuple[int, ...]:
        if not self.result:
            return ()
        *batch, rows, columns = self.result
        shape = (*batch, columns, rows) if self.turned else self.result
        *place, i, j = (int(x) for x in np.unravel_index(number + self.first_output, shape))
        return (*place, j, i) if self.turned else (*place, i, j)

    def addend(self, number: int) -> str:
        """The element of c that is added to an output: "c[0, 1]", or "c" of a number."""
        return _element("c", self._place(number), self.c or ())

    def operand(self, label: str, place: tuple[int, int, int]) -> str:
        """An element of a or b by its place in the problem's stack of matrices: "a[1, 0, 2]", or "a[2]" of a vector."""
        batch, i, j = place
        i, j = (i, j + self.first_step) if label == "a" else (i + self.first_step, j)
        if not self.result:
            return f"{label}[{i + j}]"
        stacked = (int(x) for x in np.unravel_index(batch, self.result[:-2]))
        return _element(label, (*stacked, i, j), self.a if label == "a" else self.b)

    def step(self, k: int) -> str:
        """A step of a chain by its number in the problem: "step k = 3", or "chunk 3" where chunks are combined."""
        return f"chunk {k}" if self.combines else f"step k = {k + self.first_step}"


def _element(label: str, place: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """The element of an operand that was broadcast: it has fewer dimensions, or one element where there are several."""
    own = [0 if size == 1 else x for x, size in zip(place[len(place) - len(shape) :], shape, strict=True)]
    return f"{label}[{', '.join(map(str, own))}]" if own else label


class Problem(NamedTuple):
    """c + a @ b: a [1 or B, M, K], b [1 or B, K, N], c [B, M, N] or None, K >= 1 and nothing empty; finite floats.

    caller: None where its own arrays, less a batch of one, are what was given.
    """

    a: NDArray[Any]
    b: NDArray[Any]
    c: NDArray[Any] | None
    facts: tuple[Facts, Facts, Facts | None]
    words: Words | None
    caller: Caller | None = None

    @property
    def names(self) -> Caller:
        """How sentences name its elements and outputs."""
        if self.caller is not None:
            return self.caller
        batch = int(self.shape[0] == 1)
        a, b = (x.shape[1:] if x.shape[0] == 1 else x.shape for x in (self.a, self.b))
        return Caller(a, b, None if self.c is None else self.c.shape[batch:], self.shape[batch:])

    def outputs(self, axis: int, first: int, stop: int) -> "Problem":
        """The part of some matrices (axis 0), rows (1) or columns (2); every axis before that one has one element."""
        own, before = slice(first, stop), first * int(np.prod(self.shape[axis + 1 :]))
        a, b, c = self.a, self.b, self.c
        if axis == 0:
            a, b = (x[own] if x.shape[0] > 1 else x for x in (a, b))
        a, b = a[:, own] if axis == 1 else a, b[:, :, own] if axis == 2 else b
        words, names = self.words, self.names
        return self._replace(
            a=a,
            b=b,
            c=None if c is None else c[(slice(None),) * axis + (own,)],
            words=None if words is None else words._replace(first_output=words.first_output + before),
            caller=names._replace(first_output=names.first_output + before),
        )

    @property
    def depth(self) -> int:
        """K, the number of products of an output."""
        return int(self.a.shape[-1])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape [B, M, N] of the result."""
        return max(self.a.shape[0], self.b.shape[0]), int(self.a.shape[1]), int(self.b.shape[2])
