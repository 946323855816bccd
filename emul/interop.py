"""Torch's narrow types, seen as codepoints and back: the same memory where the layout is the same."""

from __future__ import annotations

import torch
from torch import Tensor

from numerics import FloatFormat, catalog, parse_format
from numerics.formats import ElementFormat

_NAMES = {
    "float16": "binary16",
    "float32": "binary32",
    "float64": "binary64",
    "bfloat16": "bfloat16",
    "float8_e4m3fn": "e4m3fn",
    "float8_e4m3fnuz": "e4m3fnuz",
    "float8_e5m2": "e5m2",
    "float8_e5m2fnuz": "e5m2fnuz",
    "float8_e8m0fnu": "e8m0",
}
#: torch's types -> format names; a type that this torch lacks is left out.
FORMAT_OF_DTYPE = {getattr(torch, name): text for name, text in _NAMES.items() if hasattr(torch, name)}
_UNSIGNED = {8: torch.uint8, 16: torch.uint16, 32: torch.uint32, 64: torch.uint64}
_PACKED = getattr(torch, "float4_e2m1fn_x2", None)


def is_packed(dtype: torch.dtype) -> bool:
    """Whether a torch type holds two values in a byte."""
    return dtype == _PACKED


def format_of(dtype: torch.dtype) -> ElementFormat:
    """The format of a torch type. Errors: TypeError for a type that is no format."""
    if dtype == _PACKED:
        return catalog.E2M1
    if dtype not in FORMAT_OF_DTYPE:
        known = ", ".join(str(t) for t in FORMAT_OF_DTYPE)
        raise TypeError(f"{dtype} is no format known here: known are {known}, {_PACKED}")
    fmt = parse_format(FORMAT_OF_DTYPE[dtype])
    assert isinstance(fmt, ElementFormat)
    return fmt


def view_codes(tensor: Tensor) -> tuple[Tensor, ElementFormat]:
    """(codes, format) of a tensor [...] of a narrow type: unsigned integers [...] in the same memory.

    torch.float4_e2m1fn_x2 holds two values in a byte, the first in the low half: its codes [..., 2n] are a copy.
    Errors: TypeError for another type, and for what is no tensor.
    """
    fmt = format_of(_tensor(tensor, "tensor").dtype)
    if tensor.dtype == _PACKED:
        both = tensor.view(torch.uint8)
        pairs = torch.stack([both & 15, both >> 4], dim=-1)
        return pairs.reshape(*both.shape[:-1], 2 * (both.shape[-1] if both.dim() else 1)), fmt
    return tensor.view(_UNSIGNED[8 * tensor.element_size()]), fmt


def view_as(codes: Tensor, dtype: torch.dtype) -> Tensor:
    """Codes [...] as a tensor [...] of the torch type, in the same memory; a copy for float4_e2m1fn_x2 [..., n/2].

    Errors: TypeError for codes of another width and for what is no tensor; ValueError for an odd last dimension of packed
    codes, or one above 15.
    """
    fmt = format_of(dtype)
    assert isinstance(fmt, FloatFormat)
    _tensor(codes, "codes")
    if dtype == _PACKED:
        if codes.dtype != torch.uint8 or codes.dim() == 0 or codes.shape[-1] % 2:
            raise ValueError(f"codes {codes.dtype} {list(codes.shape)}: {dtype} packs pairs of torch.uint8 codes")
        if codes.numel() and int(codes.max()) > 15:
            raise ValueError(f"code {int(codes.max())} does not fit 4 bits: give 0 to 15")
        return (codes[..., ::2] | (codes[..., 1::2] << 4)).view(dtype)
    wanted = _UNSIGNED[max(8, fmt.bits)]
    if codes.dtype != wanted:
        raise TypeError(f"codes of {codes.dtype}: {dtype} has codes of {wanted}")
    return codes.view(dtype)


def _tensor(value: object, label: str) -> Tensor:
    """value itself, or a sentence where it is no tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{label} is {type(value).__name__}: give a torch.Tensor (numerics.interop takes numpy arrays)")
    return value
