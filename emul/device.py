"""The torch operators on CUDA tensors: torch's memory, stream and device around the kernels of `numerics.device`.

Imported when an operator meets its first CUDA tensor; this loads numba.cuda.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

try:
    from numerics.device import Queue, encode_blocks_on, quantize_on, queue_of, waits
    from numerics.device_decoding import decode_blocks_on, decode_on
    from numerics.device_products import matmul_on
except ImportError as missing:
    raise ImportError(
        f"CUDA tensors need numba-cuda, which is not there ({missing}): run pip install 'emul[cuda12]' or"
        " 'emul[cuda13]', as your driver is; or move the operands with .cpu()"
    ) from missing

from numerics import Accumulator, MatrixUnit, Quantizer

_TYPES = {np.dtype(np.float32): torch.float32, np.dtype(np.float64): torch.float64, np.dtype(np.int32): torch.int32}


def quantize(x: Tensor, quantizer: Quantizer, *, seed: int, stream: int, offset: int) -> Tensor:
    """`emul::quantize` of a CUDA tensor that is not empty, on torch's current stream of its device."""
    if waits(quantizer, np.dtype(str(x.dtype).removeprefix("torch."))):
        check_capture(f"emul.quantize to {quantizer.fmt}")
    with memory("emul.quantize", x.numel() * x.element_size(), x.device):
        source = x.detach().contiguous()
        out = torch.empty_like(source, memory_format=torch.contiguous_format)
        quantize_on(quantizer, source, out, **_drawn(quantizer, seed, stream, offset), queue=queue(x.device))
    return out


def encode(x: Tensor, quantizer: Quantizer, kind: torch.dtype, *, seed: int, stream: int, offset: int) -> Tensor:
    """`emul::encode` of a CUDA tensor that is not empty: codes of type `kind`."""
    if waits(quantizer, np.dtype(str(x.dtype).removeprefix("torch.")), encodes=True):
        check_capture(f"emul.encode to {quantizer.fmt}")
    with memory("emul.encode", x.numel() * kind.itemsize, x.device):
        source = x.detach().contiguous()
        out = torch.empty_like(source, dtype=kind, memory_format=torch.contiguous_format)
        quantize_on(quantizer, source, out, **_drawn(quantizer, seed, stream, offset), queue=queue(x.device))
    return out


def encode_blocks(
    x: Tensor,
    quantizer: Quantizer,
    shape: tuple[int, ...],
    kinds: tuple[torch.dtype, torch.dtype],
    *,
    seed: int,
    stream: int,
    offset: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """`emul::encode_blocks` of a CUDA tensor that is not empty: kinds of elements and scales, the scales' shape."""
    check_capture(f"emul.encode to {quantizer.fmt}")
    with memory("emul.encode", x.numel() * (kinds[0].itemsize + 4), x.device):
        source = x.detach().contiguous()
        elements = torch.empty_like(source, dtype=kinds[0], memory_format=torch.contiguous_format)
        scales = torch.empty(shape, dtype=kinds[1], device=x.device)
        drawn = _drawn(quantizer, seed, stream, offset)
        tensor = encode_blocks_on(quantizer, source, elements, scales, **drawn, queue=queue(x.device))
    return elements, scales, torch.tensor(tensor, dtype=torch.float32, device=x.device)


def decode(codes: Tensor, quantizer: Quantizer, dtype: torch.dtype) -> Tensor:
    """`emul::decode` of a CUDA tensor that is not empty."""
    check_capture(f"emul.decode of {quantizer.fmt}")
    with memory("emul.decode", codes.numel() * dtype.itemsize, codes.device):
        source = codes.contiguous()
        out = torch.empty_like(source, dtype=dtype, memory_format=torch.contiguous_format)
        decode_on(quantizer, source, out, queue=queue(codes.device))
    return out


def decode_blocks(
    elements: Tensor, scales: Tensor, tensor_scale: Tensor, quantizer: Quantizer, dtype: torch.dtype
) -> Tensor:
    """`emul::decode_blocks` of CUDA tensors that are not empty."""
    check_capture(f"emul.decode of {quantizer.fmt}")
    with memory("emul.decode", elements.numel() * dtype.itemsize, elements.device):
        source, kept = elements.contiguous(), scales.contiguous()
        out = torch.empty_like(source, dtype=dtype, memory_format=torch.contiguous_format)
        decode_blocks_on(quantizer, source, kept, float(tensor_scale), out, queue=queue(elements.device))
    return out


def _drawn(quantizer: Quantizer, seed: int, stream: int, offset: int) -> dict[str, int]:
    return {"seed": seed, "stream": stream, "offset": offset} if quantizer.stochastic else {}


def matmul(a: Tensor, b: Tensor, accumulator: Accumulator | MatrixUnit, *, seed: int, stream: int) -> Tensor:
    """`emul::matmul` of CUDA tensors on one device, nothing empty, on torch's current stream of it."""
    check_capture("emul.matmul")
    batch = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])  # type: ignore[no-untyped-call]
    asked = batch.numel() * a.shape[-2] * b.shape[-1] * a.element_size()
    with memory("emul.matmul", asked, a.device):
        left, right = _stacked(a.detach(), batch), _stacked(b.detach(), batch)
        stochastic = isinstance(accumulator, Accumulator) and accumulator.stochastic
        drawn: dict[str, Any] = {"seed": seed, "stream": stream} if stochastic else {}
        result: Tensor = matmul_on(left, right, accumulator, **drawn, queue=queue(a.device))
    return result


def _stacked(x: Tensor, batch: torch.Size) -> Tensor:
    """x, its batch dimensions those of the result or all one, contiguous; copied only where it is not so already.

    Kernels take any strides; but a copy is read once for all, and panels of a turned matrix are read by every tile.
    """
    if x.shape[:-2].numel() not in (1, batch.numel()):
        x = x.expand(*batch, *x.shape[-2:])
    return x.contiguous()


def queue(device: torch.device) -> Queue:
    """Torch's current stream of a device and its caching allocator. Errors: RuntimeError as `numerics.device.queue_of`."""
    if torch.version.hip is not None:
        raise RuntimeError("this torch is built for ROCm, and numba-cuda is not: move the operands with .cpu()")
    number = torch.cuda.current_device() if device.index is None else device.index
    return queue_of(number, torch.cuda.current_stream(number).cuda_stream, partial(_zeros, number))


def check_capture(what: str) -> None:
    """Refuse, while a CUDA graph is captured, what reads numbers back from the device."""
    started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    if started and torch.cuda.is_current_stream_capturing():
        raise RuntimeError(
            f"{what} inside a CUDA graph: it waits for what the device found in its operands, which a capture cannot;"
            " leave it out of the graph"
        )


def _zeros(number: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Tensor:
    return torch.zeros(shape, dtype=_TYPES[np.dtype(dtype)], device=torch.device("cuda", number))


@contextmanager
def memory(name: str, asked: int, device: torch.device) -> Iterator[None]:
    """Say what an operator asked for where torch's allocator has no more."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        free, whole = torch.cuda.mem_get_info(device)
        raise torch.OutOfMemoryError(
            f"{name} asks for {asked / 2**20:.1f} MiB for its result on {device}, and for as much as an operand that is"
            f" not contiguous; {free / 2**20:.1f} of {whole / 2**20:.1f} MiB are free: give smaller batches, or move the"
            " operands with .cpu()"
        ) from error
