"""Block formats put on a CUDA device: values, or codes beside the scales, the CPU's bits."""

from functools import lru_cache
from typing import Any

import numpy as np

from . import blocks
from .block_rows import Compiled, compiled_row, tensor_scale
from .formats import BlockFormat, ScaleRule
from .kernels import block_elements, elementwise
from .kernels.cuda import blocks as device_blocks
from .kernels.cuda import launch
from .kernels.cuda.launch import Queue
from .parameters import FLOAT64, Carrier, carrier_of
from .quantizer import Quantizer
from .rounding import Overflow


def rows_with_last(x: Any, axis: int) -> tuple[Any, tuple[int, int, int]]:
    """(x [...], contiguous, as [P, Q, C] with the axis last, the same memory; what a step along each is in elements)."""
    shape = [int(n) for n in x.shape]
    before, along = int(np.prod(shape[:axis], dtype=np.int64)), shape[axis]
    behind = int(np.prod(shape[axis + 1 :], dtype=np.int64))
    steps = along * behind, 1, behind
    strides = tuple(step * x.dtype.itemsize for step in steps)
    return launch.seen(x, (before, behind, along), strides), steps


def quantize_blocks_on(
    quantizer: Quantizer, x: Any, out: Any, scales: Any | None, drawn: tuple[Any, ...], queue: Queue
) -> tuple[float, int]:
    """Values or codes of x into `out`, of scales the values into `scales` (none: None): (tensor scale, errors met).

    x, out, scales: contiguous, device arrays; scales [...] with the blocks along the axis, float32 of quotients and
    else of x's dtype. drawn: as `Quantizer._draw` gives it. What is read back is waited for: the largest magnitude where
    there is a tensor scale, flags where something can be an error.
    """
    fmt = quantizer.fmt
    assert isinstance(fmt, BlockFormat)
    plan = blocks.layout(fmt, tuple(int(n) for n in x.shape), quantizer.axis)
    carrier, codes = carrier_of(x.dtype), int(np.dtype(out.dtype).kind == "u")
    source, words, *keys = drawn
    compiled = compiled_row(fmt, quantizer.rounding, quantizer.overflow, quantizer.random_bits, carrier)
    rows = _rows_on(queue.device, fmt, quantizer.rounding, quantizer.overflow, quantizer.random_bits, carrier)
    given, steps = rows_with_last(x, plan.axis)
    ratio = fmt.rule is ScaleRule.RATIO
    tensor = tensor_scale(fmt, _largest(given, rows[2], carrier, queue)) if fmt.tensor_scale else np.float32(1)
    errors = blocks.errors_of(fmt, quantizer.overflow)
    check = int(quantizer.overflow is Overflow.ERROR)
    kernel = device_blocks.make_blocks(
        int(ratio),
        int(quantizer.rounding),
        compiled.form,
        compiled.scale_form,
        source if source in (elementwise.DETERMINISTIC, elementwise.GIVEN) else elementwise.DRAWN_4,
        compiled.integers,
        compiled.saturates,
        check,
        codes,
        int(carrier is FLOAT64),
    )
    kept = _no_scales(queue.device) if scales is None else rows_with_last(scales, plan.axis)[0]
    flags = queue.zeros((1,), np.dtype(np.int32))
    seen = launch.array(flags).view(np.uint32)
    length = max(1, min(fmt.block, plan.columns))
    grid = (launch.blocks_for(-(-plan.total // device_blocks.GROUPS), queue),)
    there = launch.put(words) if source == elementwise.GIVEN else _no_words(queue.device)
    numbers = tuple(np.uint64(key) for key in keys)
    shown = rows_with_last(out, plan.axis)[0]
    arguments = given, shown, kept, rows[:3], rows[3], np.float32(tensor), length, there, numbers, steps, seen
    launch.launch(kernel, grid, (device_blocks.THREADS,), queue, *arguments)
    return float(tensor), int(launch.get(flags, queue)[0]) & errors if errors else 0


def _largest(x: Any, rule: Any, carrier: Carrier, queue: Queue) -> float:
    found = launch.put(np.zeros(1, carrier.unsigned))
    grid = (launch.blocks_for(-(-x.size // device_blocks.THREADS), queue),)
    launch.launch(device_blocks.make_largest(), grid, (device_blocks.THREADS,), queue, x, (rule,), found)
    return float(launch.get(found, queue).view(carrier.dtype)[0])


@lru_cache(maxsize=1024)
def _rows_on(device: int, *choice: Any) -> tuple[Any, ...]:
    """(row, row of the scale, rule, on the device; the largest element, a number)."""
    compiled: Compiled = compiled_row(*choice)
    row: block_elements.BlockRow = compiled.row
    # The device's copies are of arrays that may be written.
    return (*launch.put(tuple(np.array(part) for part in row[:3])), np.float32(row.largest[0]))


@lru_cache(maxsize=64)
def _no_words(device: int) -> Any:
    return launch.put(np.zeros(1, np.uint32))


@lru_cache(maxsize=64)
def _no_scales(device: int) -> Any:
    return launch.put(np.zeros((1, 1, 1), np.float32))
