"""Codes on a CUDA device to values: by a table, by the fields of wide codes, and elements under the scales of blocks."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from .blocks import layout
from .decoding import WIDEST_TABLE, float_row, value_table
from .device import not_on_device
from .device_blocks import rows_with_last
from .formats import BlockCodes, BlockFormat, ElementFormat, FixedFormat, FloatFormat
from .kernels.cuda import decode, elementwise, launch
from .kernels.cuda._jit import SIMULATED
from .kernels.cuda.launch import Queue
from .parameters import carrier_of
from .quantizer import Quantizer

__all__ = ["decode_blocks_on", "decode_on"]

THREADS = 32 if SIMULATED else 256  # of a block
_WIDEST_QUANTUM = 100  # as in `decoding`: scaling by it is exact

#: (codes, out, flags, queue) -> None, over flat arrays
Decoder = Callable[[Any, Any, Any, Queue], None]


def decode_on(quantizer: Quantizer, codes: Any, out: Any, *, queue: Queue) -> None:
    """`Quantizer.decode` on the device: contiguous unsigned codes [...] to float32 or float64 out [...], exact.

    Errors: those of `Quantizer.decode`; TypeError for block formats; NotImplementedError for codes of more than 16 bits of
    posits, logarithms, and floats without a sign or gradual underflow.
    """
    fmt = quantizer.fmt
    if isinstance(fmt, BlockFormat):
        raise TypeError(f"codes of {fmt} are elements and scales: decode_blocks_on takes them")
    check_decoded(fmt)
    with launch.on(queue):
        source, result = launch.array(codes), launch.array(out)
        quantizer.decode(np.zeros(1, source.dtype), dtype=result.dtype)  # refuses what no code has a value in
        decode_with = _decoder(queue.device, fmt, np.dtype(result.dtype).name)
        if decode_with is None:
            raise not_on_device(f"decoding {fmt} to {result.dtype}")
        flags = queue.zeros((1,), np.dtype(np.int32))
        decode_with(source.reshape(source.size), result.reshape(source.size), launch.array(flags), queue)
        beyond = source.dtype.itemsize * 8 > fmt.bits and int(launch.get(flags, queue)[0])
        if beyond:
            quantizer.decode(launch.get(codes, queue), dtype=result.dtype)


def decode_blocks_on(
    quantizer: Quantizer, elements: Any, scales: Any, tensor_scale: float, out: Any, *, queue: Queue
) -> None:
    """`Quantizer.decode` of blocks on the device: contiguous codes as `encode_blocks_on` writes them, to out, as there.

    tensor_scale: a number, 1 where the format has none. The device is waited for.
    Errors: those of `Quantizer.decode`; NotImplementedError as `decode_on`.
    """
    fmt = quantizer.fmt
    if not isinstance(fmt, BlockFormat):
        raise TypeError(f"{fmt} is no block format: decode_on takes its codes")
    check_decoded(fmt.element)
    check_decoded(fmt.scale)
    with launch.on(queue):
        source, kept, result = launch.array(elements), launch.array(scales), launch.array(out)
        shape, dtype = tuple(int(n) for n in source.shape), np.dtype(result.dtype)
        plan = layout(fmt, shape, quantizer.axis)
        if tuple(int(n) for n in kept.shape) != plan.scales_shape():
            blank, none = (np.broadcast_to(x.dtype.type(0), tuple(x.shape)) for x in (source, kept))
            quantizer.decode(BlockCodes(blank, none, tensor_scale), dtype=dtype)  # raises the sentence about the shapes
        quantizer._check_carrier(carrier_of(dtype))
        wide = np.dtype(np.float64)
        held = result if carrier_of(dtype).holds(fmt.element) else launch.array(queue.zeros(shape, wide))
        factors = launch.array(queue.zeros(plan.scales_shape(), wide))
        decode_on(Quantizer(fmt.element), source, held, queue=queue)
        decode_on(Quantizer(fmt.scale), kept, factors, queue=queue)
        flags = queue.zeros((1,), np.dtype(np.int32))
        given, there, shown = (rows_with_last(x, plan.axis)[0] for x in (held, factors, result))
        options = np.float32(tensor_scale), fmt.tensor_scale, fmt.infinities, max(1, min(fmt.block, plan.columns))
        kernel = decode.make_under_scales(int(dtype == np.float64))
        blocks = launch.blocks_for(-(-source.size // THREADS), queue)
        launch.launch(kernel, (blocks,), (THREADS,), queue, given, there, shown, *options, launch.array(flags))
        if dtype == np.float32 and int(launch.get(flags, queue)[0]):
            codes = BlockCodes(launch.get(elements, queue), launch.get(scales, queue), tensor_scale)
            quantizer.decode(codes, dtype=dtype)


def check_decoded(fmt: ElementFormat) -> None:
    """Refuse a format whose codes nothing decodes on the device."""
    floats = isinstance(fmt, FloatFormat) and float_row(fmt, "float64") is not None
    if fmt.bits > WIDEST_TABLE and not floats and not _is_scaled(fmt):
        raise not_on_device(f"decoding {fmt}")


def _is_scaled(fmt: ElementFormat) -> bool:
    """Whether values are integers that float64 holds, times a power of two of which it holds the quotient too."""
    return isinstance(fmt, FixedFormat) and fmt.precision <= 53 and abs(fmt.fraction_bits) <= _WIDEST_QUANTUM


@lru_cache(maxsize=256)
def _decoder(device: int, fmt: ElementFormat, dtype: str) -> Decoder | None:
    """What decodes flat arrays of codes on the device, which is the current one; None where nothing does."""
    kernel: Any
    if fmt.bits <= WIDEST_TABLE:
        kernel, arguments = elementwise.make_look_up(), (launch.put(np.array(value_table(fmt, dtype))),)
        return lambda codes, out, flags, queue: _launch(kernel, (codes, *arguments, out, flags), queue)
    if isinstance(fmt, FloatFormat) and (row := float_row(fmt, dtype)) is not None:
        kernel, rows = decode.make_floats(int(dtype == "float64")), (launch.put(row),)
        return lambda codes, out, flags, queue: _launch(kernel, (codes, out, rows, _largest(fmt, codes), flags), queue)
    if isinstance(fmt, FixedFormat) and _is_scaled(fmt):
        sign, kernel = np.uint64(1 << (fmt.bits - 1) if fmt.signed else 0), decode.make_integers()
        options = sign, np.float64(fmt.quantum)
        return lambda codes, out, flags, queue: _launch(
            kernel, (codes, out, *options, _largest(fmt, codes), flags), queue
        )
    return None


def _largest(fmt: ElementFormat, codes: Any) -> Any:
    """The largest code of a format, or of the type of codes, of which it is a number."""
    return codes.dtype.type(min((1 << fmt.bits) - 1, np.iinfo(codes.dtype).max))


def _launch(kernel: Any, arguments: tuple[Any, ...], queue: Queue) -> None:
    blocks = launch.blocks_for(-(-arguments[0].size // THREADS), queue)
    launch.launch(kernel, (blocks,), (THREADS,), queue, *arguments)
