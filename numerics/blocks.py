"""Arrays in blocks that share a scale: layout, scales, codes and values of whole arrays; the loops are in kernels."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .block_rows import compiled_row, tensor_scale
from .decoding import decode_into
from .formats import BlockCodes, BlockFormat, ScaleRule, code_dtype
from .formats.integers import whole
from .kernels import block, block_elements, elementwise, modes, threads
from .operands import as_array
from .parameters import FLOAT32, carrier_of
from .rounding import Overflow, Rounding
from .words import random_words

KNOWN = 16  # the block of NVFP4, too short for loops that must find out how long it is
_COST = 0.3  # nanoseconds of an element


class Blockwise(NamedTuple):
    """What is to be done with every block of an array."""

    fmt: BlockFormat
    rounding: Rounding
    overflow: Overflow
    random_bits: int | None
    axis: int


class Layout(NamedTuple):
    """How an array falls into blocks: along the last axis of its transposed form."""

    axis: int
    shape: tuple[int, ...]  # with the blocked axis last
    columns: int
    per_row: int
    total: int  # blocks

    def last(self, array: NDArray[Any]) -> NDArray[Any]:
        """A view with the blocked axis last."""
        return np.moveaxis(array, self.axis, -1)

    def scales_shape(self) -> tuple[int, ...]:
        """Shape of the scales, the blocks along the blocked axis."""
        return (*self.shape[: self.axis], self.per_row, *self.shape[self.axis : -1])


def layout(fmt: BlockFormat, shape: tuple[int, ...], axis: int) -> Layout:
    """The blocks of an array of this shape. Errors: ValueError for an axis that it does not have."""
    if not -len(shape) <= axis < len(shape):
        raise ValueError(
            f"axis = {axis} of an array of shape {shape}: blocks lie along one of its axes; choose another"
        )
    positive = axis % len(shape)
    moved = (*shape[:positive], *shape[positive + 1 :], shape[positive])
    per_row = fmt.blocks(moved[-1])
    return Layout(positive, moved, moved[-1], per_row, math.prod(moved[:-1]) * per_row)


def check_axis(axis: Any) -> int:
    """The axis as an integer, or a sentence."""
    number = whole(axis)
    if number is None:
        raise TypeError(f"axis = {axis!r}: give an integer")
    return number


def quantize(job: Blockwise, x: NDArray[Any], result: NDArray[Any], draw: tuple[Any, ...], keep: bool) -> NDArray[Any]:
    """Values of x in its blocks, written to `result`; keep: `result` is the caller's, and unchanged if x is refused."""
    plan = layout(job.fmt, x.shape, job.axis)
    moved = plan.last(result)
    direct = moved.flags.c_contiguous and not (keep and _errors(job))
    values = moved.reshape(-1) if direct else np.empty(x.size, x.dtype)
    _run(job, plan, x, values, np.empty(0, np.float32), draw)
    if not direct:
        moved[...] = values.reshape(plan.shape)
    return result


def encode(job: Blockwise, x: NDArray[Any], draw: tuple[Any, ...]) -> tuple[NDArray[Any], NDArray[Any], float]:
    """(codes of the elements, values of the scales in float, tensor scale)."""
    plan = layout(job.fmt, x.shape, job.axis)
    codes = np.empty(x.size, code_dtype(job.fmt.element.bits))
    ratio = job.fmt.rule is ScaleRule.RATIO
    scales = np.empty(plan.total, np.float32 if ratio else x.dtype)
    tensor = _run(job, plan, x, codes, scales, draw)
    elements = np.ascontiguousarray(np.moveaxis(codes.reshape(plan.shape), -1, plan.axis))
    shaped = np.moveaxis(scales.reshape(*plan.shape[:-1], plan.per_row), -1, plan.axis)
    return elements, shaped, tensor


def _run(
    job: Blockwise, plan: Layout, x: NDArray[Any], out: NDArray[Any], scales: NDArray[Any], draw: tuple[Any, ...]
) -> float:
    """Run the loop over all blocks; returns the tensor scale. Errors: for the first element that must be refused."""
    tensor, met = _loop(job, plan, x, out, scales, draw)
    if met & _errors(job) & modes.SAW_NAN:
        first = int(np.argmax(np.isnan(x).ravel()))
        raise ValueError(f"NaN at element {first}: {job.fmt} has no NaN in elements or scales; replace it first")
    if met & _errors(job):
        # Under Overflow.ERROR the loop marks what overflows by an infinity.
        marked = np.empty(x.size, x.dtype)
        _loop(job, plan, x, marked, np.empty(0, scales.dtype), draw)
        values = np.moveaxis(marked.reshape(plan.shape), -1, plan.axis)
        bad = (np.isinf(values) & np.isfinite(x)) | (np.isinf(x) & (not job.fmt.infinities))
        first = int(np.argmax(bad.ravel()))
        raise OverflowError(
            f"{x.ravel()[first]} at element {first} is beyond the largest element under the scale of its block in"
            f" {job.fmt}; choose another scale rule or another Overflow rule"
        )
    return tensor


def _loop(
    job: Blockwise, plan: Layout, x: NDArray[Any], out: NDArray[Any], scales: NDArray[Any], draw: tuple[Any, ...]
) -> tuple[float, int]:
    """(tensor scale, SAW_ flags)."""
    if plan.total == 0:
        return float(tensor_scale(job.fmt, 0.0)), 0
    compiled = compiled_row(job.fmt, job.rounding, job.overflow, job.random_bits, carrier_of(x.dtype))
    flat = np.ascontiguousarray(plan.last(x)).reshape(-1)
    length = max(1, min(job.fmt.block, plan.columns))
    cost = _COST * length
    source, *words = _words(job, plan, x.shape, length, draw)
    check = int(job.overflow is Overflow.ERROR)
    choices = compiled.form, source, compiled.integers, compiled.saturates, check
    tensor = np.float32(1)
    if job.fmt.rule is ScaleRule.RATIO:
        maxima = np.empty(plan.total, x.dtype)
        whole = length if length == KNOWN and plan.columns % length == 0 else 0

        def part_of_maxima(start: int, stop: int) -> None:
            block.block_maxima(flat, maxima, plan.columns, length, start, stop)

        threads.run(part_of_maxima, plan.total, cost)
        counts = bool(compiled.row.rule[block_elements.COUNTS_INFINITY])
        tensor = tensor_scale(job.fmt, _amax(flat, maxima, counts)) if job.fmt.tensor_scale else tensor
        loop = block.make_ratio_blocks(int(job.rounding), compiled.scale_form, whole, *choices)
        rows: tuple[Any, ...] = compiled.row, tensor, maxima
    else:
        loop, rows = block.make_power_blocks(int(job.rounding), *choices), (compiled.row,)

    def part(start: int, stop: int) -> int:
        return int(loop(flat, out, scales, *rows, *words, plan.columns, length, start, stop))

    return float(tensor), threads.run_flags(part, plan.total, cost)


def _amax(flat: NDArray[Any], maxima: NDArray[Any], counts_infinity: bool) -> float:
    """The largest finite magnitude of an array; an infinity that counts is the largest number of the type."""
    top = float(maxima.max(initial=0.0))
    if math.isfinite(top):
        return top
    if counts_infinity and bool(np.isinf(flat).any()):
        return float(np.finfo(flat.dtype).max)
    return float(np.abs(flat[np.isfinite(flat)]).max(initial=0.0))


def _words(job: Blockwise, plan: Layout, shape: tuple[int, ...], length: int, draw: tuple[Any, ...]) -> tuple[Any, ...]:
    """The source of words for the transposed array: words belong to elements in C order of the array itself."""
    source, words, seed, stream, offset = draw
    in_order = plan.axis == len(shape) - 1
    if source == elementwise.DETERMINISTIC or (in_order and (source == elementwise.GIVEN or length <= block.GROUP)):
        return draw
    if source != elementwise.GIVEN:
        assert job.random_bits is not None
        words = random_words(math.prod(shape), job.random_bits, seed=int(seed), stream=int(stream), offset=int(offset))
    moved = np.ascontiguousarray(plan.last(words.reshape(shape))).reshape(-1)
    return elementwise.GIVEN, moved, seed, stream, offset


def errors_of(fmt: BlockFormat, overflow: Overflow) -> int:
    """What a loop has to look out for: a sum of SAW_ constants."""
    return (0 if fmt.has_nan else modes.SAW_NAN) | (modes.SAW_OVERFLOW if overflow is Overflow.ERROR else 0)


def _errors(job: Blockwise) -> int:
    return errors_of(job.fmt, job.overflow)


def decode(fmt: BlockFormat, codes: BlockCodes, axis: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values of codes: elements [...], scales with the blocks along `axis` -> float64 [...], exact, or float32.

    Errors: TypeError for anything but BlockCodes of integers; ValueError for shapes that do not fit together, for codes
    out of range and for a tensor scale that is not finite, is negative, or is not 1 in a format without.
    """
    if not isinstance(codes, BlockCodes):
        raise TypeError(f"codes are {type(codes).__name__}: {fmt} is decoded from BlockCodes, as encode gives them")
    elements, scales = (
        as_array(part, label, "an array of unsigned integers")
        for part, label in ((codes.elements, "codes.elements"), (codes.scales, "codes.scales"))
    )
    plan, tensor = layout(fmt, elements.shape, axis), _checked_tensor_scale(fmt, codes.tensor_scale)
    if scales.shape != plan.scales_shape():
        raise ValueError(
            f"scales of shape {scales.shape} for elements {elements.shape}: blocks of {fmt.block} along axis {axis} have"
            f" scales of shape {plan.scales_shape()}"
        )
    factors = np.abs(np.asarray(fmt.scale.decode(scales)))
    if fmt.tensor_scale:
        with np.errstate(over="ignore", under="ignore"):
            factors = (factors.astype(np.float32) * tensor).astype(np.float64)
    exact = np.float32 if dtype == np.float32 and FLOAT32.holds(fmt.element) else np.float64
    decoded, result = np.empty(elements.shape, exact), np.empty(elements.shape, dtype)
    decode_into(fmt.element, elements, decoded)
    values, factors = plan.last(decoded), plan.last(factors)
    _scale_blocks(plan, fmt, values, factors, plan.last(result))
    if dtype == np.float32 and bool(np.isinf(result).any()):
        lost = plan.last(np.isinf(result)) & np.isfinite(values)
        if lost.any():
            first = int(np.argmax(np.moveaxis(lost, -1, plan.axis).ravel()))
            raise ValueError(f"the value of element {first} is beyond float32: decode to float64")
    return result


def _checked_tensor_scale(fmt: BlockFormat, value: Any) -> np.float32:
    """The tensor scale of codes in float32, or a sentence."""
    try:
        with np.errstate(over="ignore"):
            number = np.float32(math.nan if value is None else value)
    except (TypeError, ValueError):
        raise TypeError(f"tensor_scale = {value!r}: give a number") from None
    if not 0 <= number < math.inf:
        raise ValueError(f"tensor_scale = {value!r}: give a number of float32 that is finite and at least 0")
    if not fmt.tensor_scale and number != 1:
        raise ValueError(f"tensor_scale = {value!r}: {fmt} has none, and would ignore it; give 1")
    return number


def _scale_blocks(
    plan: Layout, fmt: BlockFormat, values: NDArray[Any], factors: NDArray[Any], out: NDArray[Any]
) -> None:
    """out[..., i] = values[..., i] * factors[..., i // block], in float64 and then rounded to the type of out."""
    flat_in = np.ascontiguousarray(values).reshape(-1)
    scales = np.ascontiguousarray(factors, np.float64).reshape(-1)
    flat_out = out.reshape(-1) if out.flags.c_contiguous else np.empty(out.size, out.dtype)
    length, infinite = max(1, min(fmt.block, plan.columns)), fmt.infinities

    def part(start: int, stop: int) -> None:
        block.scale_blocks(flat_in, scales, flat_out, infinite, plan.columns, length, start, stop)

    threads.run(part, plan.total, _COST * length)
    if not out.flags.c_contiguous:
        out[...] = flat_out.reshape(out.shape)
