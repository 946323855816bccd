"""Quantizer: a format, a rounding mode, an overflow rule, a number of random bits."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import blocks, brief_blocks
from .brief import DRAWN, NO_WORDS, decoded, rounded
from .decoding import decode_into
from .formats import BlockCodes, BlockFormat, ElementFormat, FixedFormat, FloatFormat, Format, code_dtype
from .formats.naming import format_in, named
from .formats.spelling import spelled
from .kernels import elementwise, modes, threads
from .loops import elementwise_loop
from .operands import as_array
from .parameters import (
    FLOAT64,
    Carrier,
    carrier_of,
    check_dtype,
    check_policy,
    check_rounding,
)
from .rounding import Overflow, Rounding, check_members
from .text import remember_text
from .words import check_random_bits, counters, given_words, needed_seed, refuse_words, unit_bytes

FloatArray = NDArray[np.float32] | NDArray[np.float64]

_COST, _DRAWN_COST = 0.15, 0.5  # nanoseconds of an element, and of one that draws a word


@dataclass(frozen=True)
class Quantizer:
    """Rounds arrays to a format: once, exactly, the same on every machine and for any number of threads.

    random_bits: for the stochastic modes, 1 to 32; None means 32. Element i of an array draws the word of
    (seed, stream, offset + i), in C order; or `words` gives one integer in [0, 2**random_bits) per element;
    beside words a seed is not used.
    axis: along which the blocks of a BlockFormat lie.
    """

    fmt: Format
    rounding: Rounding = Rounding.RNE
    overflow: Overflow = Overflow.SATURATE
    random_bits: int | None = None
    axis: int = field(default=-1, kw_only=True)

    __repr__ = spelled

    def __post_init__(self) -> None:
        if not isinstance(self.fmt, Format):
            inner = format_in(self.fmt)
            record = "a format record" if inner is None else f"its format, {inner}"
            raise TypeError(f"format {named(self.fmt)}: give {record}; parse_format(name) makes one from a name")
        check_members(self.rounding, self.overflow)
        object.__setattr__(self, "axis", blocks.check_axis(self.axis))
        check_policy(self.fmt, self.overflow)
        check_rounding(self.fmt, self.rounding)
        bits = check_random_bits(self.stochastic, self.random_bits, self.rounding.name)
        object.__setattr__(self, "random_bits", bits)
        remember_text(self)

    @cached_property
    def stochastic(self) -> bool:
        """Whether it needs a seed or words."""
        return self.rounding.stochastic

    def quantize(
        self,
        x: Any,
        *,
        seed: int | None = None,
        stream: int = 0,
        offset: int = 0,
        words: Any = None,
        out: FloatArray | None = None,
    ) -> Any:
        """The members of the format that x rounds to: float32 or float64 [...] -> same dtype and shape, one rounding.

        out: written and returned; x itself or disjoint from it. NaN results are the canonical quiet NaN.
        Errors: TypeError for other dtypes; ValueError for a NaN where the format has none, a negative where it is
        unsigned without NaN, neither seed nor words in a stochastic mode, float32 input where the format needs more
        than float32; OverflowError under Overflow.ERROR, and for an infinity under Overflow.WRAP.
        """
        if words is None and out is None:
            brief = brief_blocks.rounded if isinstance(self.fmt, BlockFormat) else rounded
            swift: Any = brief(self, x, seed, stream, offset)
            if swift is not None:
                return swift
        array = self._input(x)
        result = array_out(out, array, array.dtype)
        draw = self._draw(array, seed, stream, offset, words, out)
        if isinstance(self.fmt, BlockFormat):
            return blocks.quantize(self._blockwise(self.fmt), array, result, draw, keep=out is not None)
        return self._apply(self.fmt, array, result, out, draw)

    def encode(
        self,
        x: Any,
        *,
        seed: int | None = None,
        stream: int = 0,
        offset: int = 0,
        words: Any = None,
        out: Any = None,
    ) -> Any:
        """The codepoints that x rounds to: float32 or float64 [...] -> the smallest unsigned dtype, same shape.

        Of a BlockFormat: BlockCodes, whose scales have the blocks along the axis; `out` is then BlockCodes too, and its
        arrays are those of the result. decode(encode(x)) equals quantize(x). NaN becomes the canonical NaN code.
        Errors as in `quantize`.
        """
        if words is None and out is None:
            brief = brief_blocks.rounded if isinstance(self.fmt, BlockFormat) else rounded
            swift: Any = brief(self, x, seed, stream, offset, encodes=True)
            if swift is not None:
                return swift
        array = self._input(x, codes=True)
        if isinstance(self.fmt, BlockFormat):
            return self._encode_blocks(self.fmt, array, self._draw(array, seed, stream, offset, words), out)
        result = array_out(out, array, code_dtype(self.fmt.bits))
        draw = self._draw(array, seed, stream, offset, words, out)
        return self._apply(self.fmt, array, result, out, draw)

    def _blockwise(self, fmt: BlockFormat) -> blocks.Blockwise:
        return blocks.Blockwise(fmt, self.rounding, self.overflow, self.random_bits, self.axis)

    def _encode_blocks(self, fmt: BlockFormat, x: NDArray[Any], draw: tuple[Any, ...], out: Any) -> BlockCodes:
        elements, scales, tensor_scale = blocks.encode(self._blockwise(fmt), x, draw)
        codes = BlockCodes(elements, _to_nearest(fmt.scale).encode(scales.astype(np.float64)), tensor_scale)
        if out is None:
            return codes
        if not isinstance(out, BlockCodes):
            raise TypeError(f"out is {type(out).__name__}: {fmt} is encoded to BlockCodes")
        result = array_out(out.elements, x, elements.dtype), array_out(out.scales, scales, codes.scales.dtype)
        for scales_with, label in ((x, "the input"), (result[0], "out.elements")):
            if np.shares_memory(result[1], scales_with):
                raise ValueError(f"out.scales overlaps {label}: give disjoint arrays")
        result[0][...], result[1][...] = codes.elements, codes.scales
        return BlockCodes(*result, tensor_scale)

    def decode(self, codes: Any, *, dtype: DTypeLike = np.float64, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Values of codepoints: unsigned integers [...] -> dtype (float64 or float32) [...], exact.

        Of a BlockFormat: BlockCodes -> values; in float32 those of ScaleRule.RATIO are rounded to it, to nearest even.
        Errors: TypeError for codes that are not integers; ValueError for codes out of range and for float32 where the
        format needs more.
        """
        wanted = np.dtype(dtype)
        if wanted not in (np.float32, np.float64):
            raise TypeError(f"dtype {wanted}: values are decoded to float32 or float64")
        if out is None:
            brief = brief_blocks.decoded if isinstance(self.fmt, BlockFormat) else decoded
            swift = brief(self, codes, wanted)
            if swift is not None:
                return swift
        self._check_carrier(carrier_of(wanted))
        if isinstance(self.fmt, BlockFormat):
            values = blocks.decode(self.fmt, codes, self.axis, wanted)
            result = array_out(out, values, wanted)
            result[...] = values
            return result
        array = as_array(codes, "codes", "an array of unsigned integers")
        result = array_out(out, array, wanted)
        decode_into(self.fmt, array, result)
        return result

    def _check_carrier(self, carrier: Carrier) -> None:
        if not carrier.holds(self.fmt):
            remedy = "use float64 arrays" if carrier is not FLOAT64 else "encode to codes, which are exact"
            raise ValueError(f"{self.fmt} has values that {carrier.name} does not hold: {remedy}")

    def _input(self, x: Any, *, codes: bool = False) -> NDArray[Any]:
        array = as_array(x, "x", "a float32 or float64 array")
        check_dtype(array.dtype)
        carrier = carrier_of(array.dtype)
        if not (codes and carrier is FLOAT64):
            # Codes may be wider than float64's values: rounding to them is still exact.
            self._check_carrier(carrier)
        if not self.fmt.signed and bool(np.any(array < 0)):
            if not self.fmt.has_nan:
                where = int(np.argmax((array < 0).ravel()))
                value = array.ravel()[where]
                raise ValueError(
                    f"{value} at element {where}: {self.fmt} is unsigned and has no NaN; clip the input first"
                )
            array = np.where(array < 0, array.dtype.type(np.nan), array)
        return array

    def _draw(
        self, x: NDArray[Any], seed: Any, stream: Any, offset: Any, words: Any, out: NDArray[Any] | None = None
    ) -> tuple[Any, ...]:
        """(source of words, words, seed, stream, offset) for the loop; out: what it writes to."""
        keys = [np.uint64(number) for number in counters(seed, stream, offset)]
        if not self.stochastic:
            refuse_words(words, self.rounding.name)
            return elementwise.DETERMINISTIC, NO_WORDS, np.uint64(0), np.uint64(0), np.uint64(0)
        assert self.random_bits is not None
        if words is not None:
            flat = given_words(words, x.shape, self.random_bits, out).reshape(-1)
            return elementwise.GIVEN, flat, np.uint64(0), np.uint64(0), np.uint64(0)
        needed_seed(seed, self.rounding.name, x.shape)
        return DRAWN[unit_bytes(self.random_bits)], NO_WORDS, *keys

    def _apply(
        self, fmt: ElementFormat, x: NDArray[Any], result: NDArray[Any], out: Any, draw: tuple[Any, ...]
    ) -> NDArray[Any]:
        encodes = result.dtype.kind == "u"
        loop, row, errors = elementwise_loop(
            fmt, self.rounding, self.overflow, self.random_bits, carrier_of(x.dtype), draw[0], encodes
        )
        flat_in = np.ascontiguousarray(x).reshape(-1)
        # A result that must be refused leaves the caller's array as it was: where only a NaN is, a look before is quick.
        spare = errors != 0 and out is not None
        if spare and errors == modes.SAW_NAN:
            spare = bool(threads.run_flags(lambda i, j: int(elementwise.meets_nan(flat_in, i, j)), x.size, _COST))
        direct = result.flags.c_contiguous and not spare
        flat_out = result.reshape(-1) if direct else np.empty(x.size, result.dtype)

        def part(start: int, stop: int) -> int:
            return int(loop(flat_in, flat_out, row, *draw[1:], start, stop))

        met = threads.run_flags(part, x.size, _DRAWN_COST if self.stochastic else _COST) & errors
        if met:
            self._refuse(flat_in, part, met)
        if not direct:
            result[...] = flat_out.reshape(x.shape)
        return result

    def _refuse(self, x: NDArray[Any], part: Callable[[int, int], int], errors: int) -> None:
        """Raise for the first element that met one of `errors`; an overflow that wraps is none."""
        if self.overflow is Overflow.WRAP:  # of fixed point alone, where what is finite wraps
            finite = np.isfinite(x)
            if finite.all():
                return
            first = int(np.argmin(finite))
            if not np.isnan(x[first]):
                raise OverflowError(f"{x[first]} at element {first} cannot wrap: clip the input first")
        else:
            first = threads.first_with(part, x.size, errors)
        met = part(first, first + 1)
        assert not isinstance(self.fmt, BlockFormat)
        if met & modes.SAW_NAN:
            raise ValueError(f"NaN at element {first}: {self.fmt} has no NaN; replace it before quantizing")
        if met & modes.SAW_UNCODED:
            raise ValueError(
                f"{x[first]} at element {first} rounds to a value that {self.fmt} has without a code;"
                " encode with the format of Subnormals.NORMAL_BINADE"
            )
        raise OverflowError(
            f"{x[first]} at element {first} is beyond {limit_of(self.fmt, x[first])};"
            " scale the input or choose another Overflow rule"
        )


def limit_of(fmt: ElementFormat, x: float) -> str:
    """The end of a format's range that a number passed, in words; two's complement has different ones."""
    if isinstance(fmt, FixedFormat) and x < 0:
        return f"{fmt.min}, the lowest value of {fmt}"
    return f"{fmt.max}, the largest value of {fmt}"


def array_out(out: NDArray[Any] | None, x: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """A fresh array, or the caller's `out` if its shape, dtype and memory fit."""
    if out is None:
        return np.empty(x.shape, dtype)
    if not isinstance(out, np.ndarray) or out.shape != x.shape or out.dtype != dtype:
        found = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ValueError(f"out is {found}: give a numpy array of {dtype} {x.shape}")
    if isinstance(out, np.ma.MaskedArray):
        raise TypeError("out is a masked array, whose mask a result does not have: give out.data")
    if any(step == 0 and length > 1 for step, length in zip(out.strides, out.shape, strict=True)):
        raise ValueError(f"out of shape {out.shape} has elements in the same place, strides {out.strides}: give a copy")
    if not out.flags.writeable:
        raise ValueError("out is read-only: give a writeable array")
    same = out.__array_interface__["data"] == x.__array_interface__["data"] and out.strides == x.strides
    if not (same and out.dtype == x.dtype) and np.shares_memory(out, x):
        raise ValueError("out overlaps the input without being it: give the input itself or a disjoint array")
    return out


@lru_cache(maxsize=256)
def _to_nearest(fmt: FloatFormat) -> Quantizer:
    return Quantizer(fmt)
