"""Tensors to codepoints and back: `emul.encode` and `emul.decode`, over the numpy front of `numerics`.

On CUDA tensors they are those of `.device`, imported when the first one arrives.
"""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from numerics import Quantizer, spec
from numerics.formats import BlockCodes, BlockFormat, Format, code_dtype
from numerics.formats.naming import made_from, named

from .interop import FORMAT_OF_DTYPE, format_of, is_packed, view_codes
from .operators import batching
from .operators.checks import WIDE, check_floats, check_holds, check_place, check_quantizer, check_together
from .operators.eager import unwatched
from .operators.library import call, define, direct, signed, unsigned
from .operators.reading import read

__all__ = ["BlockTensors", "decode", "encode"]

_UNSIGNED = {1: torch.uint8, 2: torch.uint16, 4: torch.uint32, 8: torch.uint64}
_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
_CODES = tuple(_UNSIGNED.values())


class BlockTensors(NamedTuple):
    """The codes of a tensor in blocks, as `numerics.BlockCodes` has those of an array.

    elements [...], scales [...] with the blocks along the quantizer's axis, unsigned integers of the smallest type;
    tensor_scale [], float32, 1 where unused.
    """

    elements: Tensor
    scales: Tensor
    tensor_scale: Tensor


def encode(
    tensor: Tensor, quantizer: Quantizer, *, seed: int | None = None, stream: int = 0, offset: int = 0
) -> Tensor | BlockTensors:
    """The codepoints that `tensor` rounds to: unsigned integers of the smallest type, same shape, sign in the top bit.

    tensor: float32, float64, bfloat16 or float16 [...], on the CPU or a CUDA device, any strides. Of a BlockFormat:
    BlockTensors. `decode` of the codes is `emul.quantize` of the tensor. Codes have no gradient: they are detached.
    `emul.interop.view_as` sees codes as torch's narrow types, such as torch.float8_e4m3fn, in the same memory.
    seed, stream, offset: as in `emul.quantize`; NaN becomes the canonical NaN code.
    Errors: as `emul.quantize`, but for formats that the dtype does not hold: those of float64 tensors may be any, those
    of others are what float32 holds.
    """
    _check_quantizer(quantizer)
    name = "encode_blocks" if isinstance(quantizer.fmt, BlockFormat) else "encode"
    codes: Any
    if unwatched(tensor) and tensor.dtype in WIDE:
        check_quantizer(quantizer, seed)
        codes = direct(name, False)(tensor, quantizer, 0 if seed is None else seed, stream, offset)
    else:
        check_floats(tensor, "tensor")
        check_quantizer(quantizer, seed)
        wide = tensor if tensor.dtype in WIDE else tensor.float()
        keys = signed("seed", 0 if seed is None else seed), signed("stream", stream), signed("offset", offset)
        codes = call(name, wide, spec.dumps(quantizer), *keys)
    return codes if isinstance(codes, Tensor) else BlockTensors(*codes)


def decode(
    codes: Tensor | tuple[Tensor, Tensor, Tensor], quantizer: Quantizer, *, dtype: torch.dtype = torch.float32
) -> Tensor:
    """The values of codepoints: unsigned integers [...] -> dtype [...], exact, on the codes' device.

    codes: as `encode` gives them, BlockTensors or such a tuple for a BlockFormat; or a tensor of torch's own type of the
    format, such as torch.float8_e4m3fn. dtype: float32, float64, or bfloat16, float16 where they hold every member of the
    format; float32 values of blocks with quotients as scales are rounded to it, as those of `emul.quantize` are.
    Errors: TypeError for what are no codes, for a type of another format and for another dtype; ValueError for codes out
    of range, shapes that do not go together, a dtype that lacks members of the format; on CUDA besides
    NotImplementedError for codes of more than 16 bits of posits and logarithms, and of floats without a sign.
    """
    _check_quantizer(quantizer)
    if dtype not in WIDE:
        if dtype not in (torch.bfloat16, torch.float16):
            raise TypeError(f"dtype = {dtype}: give torch.float32, torch.float64, torch.bfloat16 or torch.float16")
        check_holds(dtype, quantizer.fmt, "dtype")
        return decode(codes, quantizer).to(dtype)
    fmt = quantizer.fmt
    name = "decode_blocks" if isinstance(fmt, BlockFormat) else "decode"
    parts = codes if isinstance(codes, tuple) else (codes,)
    past = unwatched(*parts) and _are_codes(codes, parts, fmt)
    if not past:
        parts = _parts(codes, fmt) if isinstance(fmt, BlockFormat) else (_integers(codes, "codes", fmt),)
        past = unwatched(*parts)
    values: Tensor
    if past:
        values = direct(name, False)(*parts, quantizer, dtype)
    else:
        values = call(name, *parts, spec.dumps(quantizer), dtype)
    return values


def _are_codes(codes: Any, parts: tuple[Tensor, ...], fmt: Format) -> bool:
    """Whether plain tensors are what `encode` gives, so that there is nothing to refuse but codes and shapes."""
    if not isinstance(fmt, BlockFormat):
        return parts is not codes and parts[0].dtype in _CODES
    if parts is not codes or len(parts) != 3:
        return False
    elements, scales, tensor_scale = parts
    integers = elements.dtype in _CODES and scales.dtype in _CODES
    return integers and tensor_scale.dtype is torch.float32 and not tensor_scale.dim()


def _check_quantizer(quantizer: Any) -> None:
    if not isinstance(quantizer, Quantizer):
        raise TypeError(f"quantizer = {named(quantizer)}: give {made_from(quantizer, 'numerics.Quantizer')}")


def _parts(codes: Any, fmt: BlockFormat) -> tuple[Tensor, Tensor, Tensor]:
    """The three tensors of codes in blocks, or a sentence."""
    if not isinstance(codes, tuple) or len(codes) != 3:
        raise TypeError(
            f"codes are a {type(codes).__name__}: {fmt} is decoded from (elements, scales, tensor_scale), as emul.encode"
            " gives them"
        )
    labels = "elements", "scales", "tensor_scale"
    for part, label in zip(codes, labels, strict=True):
        check_place(part, label)
        check_together(codes[0], part, "elements", label)
    elements, scales, tensor_scale = codes
    if tensor_scale.dim() or tensor_scale.dtype != torch.float32:
        raise TypeError(
            f"tensor_scale is {tensor_scale.dtype} {list(tensor_scale.shape)}: give one number, torch.float32 []"
        )
    return _integers(elements, "elements", fmt.element), _integers(scales, "scales", fmt.scale), tensor_scale


def _integers(codes: Any, label: str, fmt: Any) -> Tensor:
    """Codes as integers; torch's narrow types where they are of this format."""
    check_place(codes, label)
    if codes.dtype in FORMAT_OF_DTYPE or is_packed(codes.dtype):
        found = format_of(codes.dtype)
        if found != fmt:
            raise TypeError(f"{label} are {codes.dtype}, codes of {found}: give codes of {fmt}")
        return view_codes(codes)[0]
    if codes.dtype.is_floating_point or codes.dtype.is_complex or codes.dtype == torch.bool:
        raise TypeError(f"{label} are {codes.dtype}: give unsigned integers, as emul.encode gives them")
    integers: Tensor = codes
    return integers


def _code_type(bits: int) -> torch.dtype:
    return _UNSIGNED[code_dtype(bits).itemsize]


def _keys(seed: int, stream: int, offset: int) -> dict[str, int]:
    return {"seed": unsigned(seed), "stream": unsigned(stream), "offset": unsigned(offset)}


def _tensor(array: Any) -> Tensor:
    return torch.from_numpy(np.asarray(array, order="C"))  # ascontiguousarray would give a number a dimension


def _encoded(x: Tensor, quantizer: Quantizer, seed: int, stream: int, offset: int) -> Tensor:
    return _tensor(quantizer.encode(read(x), seed=seed, stream=stream, offset=offset))


def _encoded_blocks(
    x: Tensor, quantizer: Quantizer, seed: int, stream: int, offset: int
) -> tuple[Tensor, Tensor, Tensor]:
    codes = quantizer.encode(read(x), seed=seed, stream=stream, offset=offset)
    return _tensor(codes.elements), _tensor(codes.scales), torch.from_numpy(np.array(codes.tensor_scale, np.float32))


def _decoded(codes: Tensor, quantizer: Quantizer, dtype: torch.dtype) -> Tensor:
    return _tensor(quantizer.decode(codes.numpy(), dtype=_numpy(dtype)))


def _decoded_blocks(
    elements: Tensor, scales: Tensor, tensor_scale: Tensor, quantizer: Quantizer, dtype: torch.dtype
) -> Tensor:
    codes = BlockCodes(elements.numpy(), scales.numpy(), tensor_scale.item())
    return _tensor(quantizer.decode(codes, dtype=_numpy(dtype)))


def _encode_cpu(x: Tensor, quantizer: str, *keys: int) -> Tensor:
    return _encoded(x, spec.loads(quantizer), *map(unsigned, keys))


def _encode_blocks_cpu(x: Tensor, quantizer: str, *keys: int) -> tuple[Tensor, Tensor, Tensor]:
    return _encoded_blocks(x, spec.loads(quantizer), *map(unsigned, keys))


def _decode_cpu(codes: Tensor, quantizer: str, dtype: torch.dtype) -> Tensor:
    return _decoded(codes, spec.loads(quantizer), dtype)


def _decode_blocks_cpu(
    elements: Tensor, scales: Tensor, tensor_scale: Tensor, quantizer: str, dtype: torch.dtype
) -> Tensor:
    return _decoded_blocks(elements, scales, tensor_scale, spec.loads(quantizer), dtype)


def _numpy(dtype: torch.dtype) -> Any:
    return _FLOAT32 if dtype is torch.float32 else _FLOAT64


def _encode_cuda(x: Tensor, quantizer: str, *keys: int) -> Tensor:
    if not x.numel():
        return _encode_cpu(x.cpu(), quantizer, *keys).to(x.device)
    from . import device

    record = spec.loads(quantizer)
    return device.encode(x, record, _code_type(record.fmt.bits), **_keys(*keys))


def _encode_blocks_cuda(x: Tensor, quantizer: str, *keys: int) -> tuple[Tensor, Tensor, Tensor]:
    if not x.numel():
        elements, scales, tensor_scale = _encode_blocks_cpu(x.cpu(), quantizer, *keys)
        return elements.to(x.device), scales.to(x.device), tensor_scale.to(x.device)
    from . import device

    record = spec.loads(quantizer)
    kinds = _code_type(record.fmt.element.bits), _code_type(record.fmt.scale.bits)
    return device.encode_blocks(x, record, _scales_shape(x.shape, record), kinds, **_keys(*keys))


def _decode_cuda(codes: Tensor, quantizer: str, dtype: torch.dtype) -> Tensor:
    if codes.dtype not in _CODES:
        raise TypeError(f"codes are {codes.dtype} on CUDA: give unsigned integers, as emul.encode gives them")
    if not codes.numel():
        return _decode_cpu(codes.cpu(), quantizer, dtype).to(codes.device)
    from . import device

    return device.decode(codes, spec.loads(quantizer), dtype)


def _decode_blocks_cuda(
    elements: Tensor, scales: Tensor, tensor_scale: Tensor, quantizer: str, dtype: torch.dtype
) -> Tensor:
    if not elements.numel():
        cpu = elements.cpu(), scales.cpu(), tensor_scale.cpu()
        return _decode_blocks_cpu(*cpu, quantizer, dtype).to(elements.device)
    from . import device

    return device.decode_blocks(elements, scales, tensor_scale, spec.loads(quantizer), dtype)


def _scales_shape(shape: Any, quantizer: Quantizer) -> tuple[Any, ...]:
    fmt, axis = quantizer.fmt, quantizer.axis
    assert isinstance(fmt, BlockFormat)
    if not -len(shape) <= axis < len(shape):
        raise ValueError(
            f"axis = {axis} of an array of shape {tuple(shape)}: blocks lie along one of its axes; choose another"
        )
    place = axis % len(shape)
    return (*shape[:place], fmt.blocks(shape[place]), *shape[place + 1 :])


def _encode_fake(x: Tensor, quantizer: str, *keys: int) -> Tensor:
    return x.new_empty(x.shape, dtype=_code_type(spec.loads(quantizer).fmt.bits))


def _encode_blocks_fake(x: Tensor, quantizer: str, *keys: int) -> tuple[Tensor, Tensor, Tensor]:
    record = spec.loads(quantizer)
    elements = x.new_empty(x.shape, dtype=_code_type(record.fmt.element.bits))
    scales = x.new_empty(_scales_shape(x.shape, record), dtype=_code_type(record.fmt.scale.bits))
    return elements, scales, x.new_empty((), dtype=torch.float32)


def _decode_fake(codes: Tensor, quantizer: str, dtype: torch.dtype) -> Tensor:
    return codes.new_empty(codes.shape, dtype=dtype)


def _decode_blocks_fake(
    elements: Tensor, scales: Tensor, tensor_scale: Tensor, quantizer: str, dtype: torch.dtype
) -> Tensor:
    return elements.new_empty(elements.shape, dtype=dtype)


def _encode_batched(info: Any, in_dims: Any, x: Tensor, quantizer: str, *keys: int) -> Any:
    if spec.loads(quantizer).stochastic:
        return batching.loop(partial(call, "encode"), info, in_dims, x, quantizer, *keys)
    return call("encode", x.movedim(in_dims[0], 0), quantizer, *keys), 0


def _encode_blocks_batched(info: Any, in_dims: Any, *arguments: Any) -> Any:
    return batching.loop(partial(call, "encode_blocks"), info, in_dims, *arguments)


def _decode_batched(info: Any, in_dims: Any, codes: Tensor, quantizer: str, dtype: torch.dtype) -> Any:
    return call("decode", codes.movedim(in_dims[0], 0), quantizer, dtype), 0


def _decode_blocks_batched(info: Any, in_dims: Any, *arguments: Any) -> Any:
    return batching.loop(partial(call, "decode_blocks"), info, in_dims, *arguments)


define(
    "encode(Tensor x, str quantizer, int seed, int stream, int offset) -> Tensor",
    plain=_encoded,
    cpu=_encode_cpu,
    cuda=_encode_cuda,
    fake=_encode_fake,
    batched=_encode_batched,
)
define(
    "encode_blocks(Tensor x, str quantizer, int seed, int stream, int offset) -> (Tensor, Tensor, Tensor)",
    plain=_encoded_blocks,
    cpu=_encode_blocks_cpu,
    cuda=_encode_blocks_cuda,
    fake=_encode_blocks_fake,
    batched=_encode_blocks_batched,
)
define(
    "decode(Tensor codes, str quantizer, ScalarType dtype) -> Tensor",
    plain=_decoded,
    cpu=_decode_cpu,
    cuda=_decode_cuda,
    fake=_decode_fake,
    batched=_decode_batched,
)
define(
    "decode_blocks(Tensor elements, Tensor scales, Tensor tensor_scale, str quantizer, ScalarType dtype) -> Tensor",
    plain=_decoded_blocks,
    cpu=_decode_blocks_cpu,
    cuda=_decode_blocks_cuda,
    fake=_decode_blocks_fake,
    batched=_decode_blocks_batched,
)
