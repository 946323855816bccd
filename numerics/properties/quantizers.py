"""The quantizer under test: anybody's function, with what it claims to be."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..formats import BlockFormat, ElementFormat, Format
from ..formats.naming import named
from ..kernels.threads import get_num_threads, set_num_threads
from ..parameters import carrier_of, check_dtype
from ..quantizer import Quantizer
from ..rounding import Overflow, Rounding
from .evidence import FEW, ClaimError, call_function, called, hides, raised_for, repeated, shown, smallest

__tracebackhide__ = hides

Floats = NDArray[Any]
Threads = tuple[Callable[[], int], Callable[[int], Any]]


@dataclass(frozen=True)
class QuantizerUnderTest:
    """A function that rounds, and the format, mode and rule that it is held to. `as_quantizer` makes one."""

    fn: Callable[..., Any] = field(repr=False)
    fmt: Format
    rounding: Rounding = Rounding.RNE
    overflow: Overflow = Overflow.SATURATE
    random_bits: int | float | None = None
    sampler: bool = False
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.float32))
    axis: int = -1
    codes: bool = False
    source: ElementFormat | None = None
    tensor: Callable[[Any], Any] | None = field(default=None, repr=False)
    name: str = "fn"
    limit: int = 2048
    threads: Threads | None = field(default=None, repr=False)

    @property
    def stochastic(self) -> bool:
        """Whether it takes words, or draws its own."""
        return self.rounding.stochastic

    @property
    def takes_words(self) -> bool:
        """Whether words are given to it, so that all its results can be enumerated."""
        return self.stochastic and not self.sampler

    @property
    def elementwise(self) -> bool:
        """Whether each result depends on its own element alone."""
        return not isinstance(self.fmt, BlockFormat)

    @property
    def element(self) -> ElementFormat:
        """Its format, where that is no block format."""
        assert not isinstance(self.fmt, BlockFormat)
        return self.fmt

    @cached_property
    def ideal(self) -> Quantizer:
        """The record of what it claims to be."""
        bits = int(self.random_bits) if self.takes_words and self.random_bits is not None else None
        return Quantizer(self.fmt, self.rounding, self.overflow, bits, axis=self.axis)

    def call(self, x: Any, words: Any = None) -> Any:
        """What the function itself gives, after the conversions that were asked for."""
        convert = self.tensor or (lambda array: array)
        argument = x if self.source is None else Quantizer(self.source).encode(x)
        given = (convert(argument),) if words is None else (convert(argument), convert(words))
        return call_function(self.fn, *given)

    def __call__(self, x: Any, words: Any = None) -> Floats:
        """The values it rounds x [...] to, as an array of x's dtype and shape; words: uint32, of the same shape.

        Errors: ClaimError where what comes back is not such an array.
        """
        array = np.asarray(x, self.dtype)
        array = array if array.flags.writeable else array.copy()  # torch warns of arrays that are not
        drawn = None if words is None else _own(np.asarray(words, np.uint32))
        before = array.copy()
        try:
            result = np.asarray(self.call(array, drawn))
        except Exception as error:
            raised_for(error, self, before, drawn)
            raise
        if array.tobytes() != before.tobytes():
            array[...] = before
            first = None if drawn is None else drawn.reshape(-1)[:1]
            raise ClaimError(
                "result", "the input was written to", reproduce=self.reproduce(before.reshape(-1)[:1], first)
            )
        if self.codes:
            strange = self._no_codes(result)
            if strange is not None:
                raise self._uncoded(array, drawn, result, strange)
            result = Quantizer(self.element).decode(result, dtype=self.dtype)
        if result.shape != array.shape or result.dtype != self.dtype:
            raise self._misshapen(array, drawn, result)
        return result

    def _no_codes(self, result: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Which results are no codes of the format; None where all are."""
        if result.dtype.kind not in "iu":
            return np.ones(result.shape, bool)
        outside: NDArray[np.bool_] = (result < 0) | (result > self._last_code)
        return outside if outside.any() else None

    @property
    def _last_code(self) -> int:
        return (1 << self.element.bits) - 1

    def _uncoded(
        self, array: NDArray[Any], words: NDArray[Any] | None, result: NDArray[Any], strange: NDArray[np.bool_]
    ) -> ClaimError:
        """What says so of the first code that is none, alone where that shows it."""
        i = int(np.argmax(strange.reshape(-1)[: array.size])) if min(array.size, result.size) else 0
        x, drawn = array.reshape(-1)[i : i + 1], None if words is None else words.reshape(-1)[i : i + 1]
        integers = result.dtype.kind in "iu"
        seen = f"code {result.reshape(-1)[i]}, of {result.dtype}" if integers and result.size else str(result.dtype)
        remedy = (
            "; a view as unsigned integers has them"
            if result.dtype.kind == "i" and 8 * result.dtype.itemsize == self.element.bits
            else ""
        )
        try:
            alone = self._no_codes(np.asarray(self.call(x.copy(), drawn))) is not None
        except Exception:  # of one element it can do nothing
            alone = False
        line = self.reproduce(x, drawn) if alone else f"{self.reproduce(array.reshape(-1), words)}[{i}]"
        return ClaimError(
            "result",
            "a code is outside of the format's" if integers else "codes are integers",
            x=", ".join(map(shown, x)),
            seen=seen,
            allowed=f"integers 0 to {self._last_code}{remedy}",
            reproduce=line,
        )

    def raised_by(self, x: NDArray[Any], words: NDArray[Any] | None, kind: type) -> dict[str, object]:
        """The details of an exception of this kind that x [...] raised: of few elements that raise it too."""
        flat, drawn = x.reshape(-1), None if words is None else words.reshape(-1)

        def shows(kept: NDArray[np.int64]) -> bool:
            try:
                self.call(flat[kept], None if drawn is None else drawn[kept])
            except Exception as error:
                return type(error) is kind
            return False

        given = f"{x.dtype} of shape {list(x.shape)}"
        if flat.size and shows(np.arange(flat.size)):
            kept = smallest(flat.size, (), lambda kept: len(kept) > 0 and shows(kept))
            flat, drawn = flat[kept], None if drawn is None else drawn[kept]
        elif flat.size > FEW:  # not flat, or not again
            return {"x": given, "reproduce": f"{self.name}(x) for x of that shape"}
        laid = "{}" if flat.size < x.size or x.ndim == 1 else f"{{}}.reshape{x.shape}"
        told = f"{', '.join(map(shown, flat))}; in {given}" if flat.size <= 3 else given
        return {"x": told, "reproduce": self.reproduce(flat, drawn, laid)}

    def _misshapen(self, array: NDArray[Any], words: NDArray[Any] | None, result: NDArray[Any]) -> ClaimError:
        """What says so of the fewest elements that show it."""
        for count in (1, 2, 3):
            few = array.reshape(-1)[:count]
            own = None if words is None else words.reshape(-1)[:count]
            try:
                found = np.asarray(self.call(few.copy(), own))
            except Exception:  # of so few it can do nothing
                continue
            if found.shape != few.shape or (found.dtype != self.dtype and not self.codes):
                array, words, result = few, own, found
                break
        return ClaimError(
            "result",
            f"an array of {array.dtype} {array.shape} must give one of the same",
            seen=f"{result.dtype} {result.shape}",
            reproduce=self.reproduce(array, words, "{}" if array.ndim else "{}.reshape(())")
            if array.size < 100
            else f"{self.name}(x) for x of that shape",
        )

    def reproduce(self, x: Any, words: Any = None, laid: str = "{}") -> str:
        """One line of Python that makes the call again; laid: what is done to an array before, with {} for it."""
        given = np.atleast_1d(np.asarray(x, self.dtype))
        given = given if self.source is None else Quantizer(self.source).encode(given)
        parts = [laid.format(repeated(given, given.dtype))]
        if words is not None:
            parts.append(laid.format(repeated(np.atleast_1d(np.asarray(words, np.uint32)), np.uint32)))
        return called(self.name, self.tensor, parts)


def _own(words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """A copy that lies in memory as they do: in some order of their dimensions, or with gaps."""
    copied = words.copy(order="K")
    if copied.strides == words.strides:
        return copied
    spread = np.zeros((*words.shape, 2), np.uint32)
    spread[..., 0] = words
    gaps: NDArray[np.uint32] = spread[..., 0]
    return gaps


def as_quantizer(
    fn: Callable[..., Any] | Quantizer,
    *,
    fmt: Format | None = None,
    rounding: Rounding = Rounding.RNE,
    random_bits: int | float | None = None,
    overflow: Overflow = Overflow.SATURATE,
    sampler: bool = False,
    dtype: DTypeLike = np.float32,
    axis: int = -1,
    codes: bool = False,
    source: ElementFormat | None = None,
    tensor: Callable[[Any], Any] | None = None,
    name: str = "",
    limit: int = 2048,
    threads: Threads | None = None,
) -> QuantizerUnderTest:
    """A function to be put to the proof, with the format and the rounding that it claims.

    fn(x) for a deterministic mode; fn(x, words) for a stochastic one with r = random_bits, words uint32 in [0, 2**r) of
    x's shape, by the rule of `Rounding.SR` (or SR_B, SR_C). A stochastic fn with sampler=True, or without random_bits,
    is called as fn(x) and draws for itself: its claims are tested statistically, against r-bit words where random_bits
    is given and against ideal randomness where it is not. x is an array of `dtype`, float32 or float64, any shape; the
    result has both. Or fn is a `Quantizer` of this package, and fmt, rounding, overflow and random_bits are its own.

    codes: fn returns codepoints of fmt. source: fn takes codepoints of this format instead of values. tensor: makes
    what fn takes of an array, such as torch.from_numpy; what fn returns is made an array by np.asarray.
    name: how a reproduction calls it. axis: along which the blocks of a BlockFormat lie. limit: about how many points
    are tried, 64 or more; fewer for a slow fn, such as a simulation of RTL. threads: how fn's number of threads is read and
    set, such as (torch.get_num_threads, torch.set_num_threads); the same bits are then asked of 1, 2 and 3.
    Errors: TypeError and ValueError for what contradicts itself, as in `Quantizer`.
    """
    if isinstance(fn, Quantizer):
        if fmt is not None and fmt != fn.fmt:
            raise ValueError(f"fmt = {fmt} beside a Quantizer of {fn.fmt}: leave fmt out")
        return _of_ours(fn, dtype, name, limit)
    if not callable(fn):
        raise TypeError(f"{named(fn)} cannot be called: give a function of an array, or a Quantizer")
    if fmt is None:
        raise TypeError("fmt is missing: say which format the function rounds to")
    if not isinstance(fmt, Format):
        raise TypeError(f"fmt = {named(fmt)}: give a format record; numerics.parse_format(name) makes one from a name")
    draws = rounding.stochastic and (sampler or random_bits is None)
    if sampler and not rounding.stochastic:
        raise ValueError(f"sampler = True with {rounding.name}, which draws nothing: leave it out, or give SR")
    if draws and random_bits is None:
        random_bits = math.inf
    if random_bits == math.inf and not draws:
        raise ValueError("random_bits = inf: words have 1 to 32 bits; sampler=True says that fn draws for itself")
    if codes and isinstance(fmt, BlockFormat):
        raise TypeError(f"codes = True with {fmt}: give a function that returns the values of its blocks")
    if limit < 64:
        raise ValueError(f"limit = {limit}: too few points for any claim; give at least 64")
    check_dtype(np.dtype(dtype))
    carrier = carrier_of(np.dtype(dtype))
    parts = (fmt.element, fmt.scale) if isinstance(fmt, BlockFormat) else (fmt,)
    if not all(carrier.holds(part) for part in parts):
        raise ValueError(f"{fmt} has values that {carrier.name} does not hold: give dtype=np.float64")
    label = name or getattr(fn, "__name__", "") or type(fn).__name__
    bits = random_bits if random_bits == math.inf else None if random_bits is None else int(random_bits)
    subject = QuantizerUnderTest(
        fn, fmt, rounding, overflow, bits, draws, np.dtype(dtype), axis, codes, source, tensor, label, limit, threads
    )
    checked = None if bits == math.inf else bits
    Quantizer(fmt, rounding, overflow, None if checked is None else int(checked), axis=axis)  # refuses what cannot be
    return subject


def _of_ours(quantizer: Quantizer, dtype: DTypeLike, name: str, limit: int) -> QuantizerUnderTest:
    def fn(x: Any, words: Any = None) -> Any:
        return quantizer.quantize(x, words=words)

    label = name or f"numerics.Quantizer of {quantizer.fmt}, {quantizer.rounding.name}"
    return as_quantizer(
        fn,
        fmt=quantizer.fmt,
        rounding=quantizer.rounding,
        random_bits=quantizer.random_bits,
        overflow=quantizer.overflow,
        axis=quantizer.axis,
        dtype=dtype,
        name=label,
        limit=limit,
        threads=(get_num_threads, set_num_threads),
    )
