"""One adapter per peer: the same verbs, a version, None where it is not installed or has no such operation."""

from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np


class Peer(NamedTuple):
    """A library that rounds float32 arrays to a named format, to nearest even, and gives float32 back."""

    name: str
    version: str
    quantize: Callable[[np.ndarray, str], np.ndarray | None]


def _ml_dtypes(x, fmt):
    import ml_dtypes

    names = {"e4m3fn": "float8_e4m3fn", "e5m2": "float8_e5m2", "bfloat16": "bfloat16", "e2m1": "float4_e2m1fn"}
    return x.astype(getattr(ml_dtypes, names[fmt])).astype(np.float32) if fmt in names else None


def _torch(x, fmt):
    import torch

    types = {"e4m3fn": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2, "bfloat16": torch.bfloat16}
    return torch.from_numpy(x).to(types[fmt]).to(torch.float32).numpy() if fmt in types else None


def _gfloat(x, fmt):
    from gfloat import formats, round_ndarray

    names = {"e4m3fn": "ocp_e4m3", "e5m2": "ocp_e5m2", "bfloat16": "bfloat16", "e2m1": "ocp_e2m1"}
    known = getattr(formats, f"format_info_{names[fmt]}", None) if fmt in names else None
    return round_ndarray(known, x.astype(np.float64)).astype(np.float32) if known else None


def _apytypes(x, fmt):
    import apytypes

    fields = {"e5m2": (5, 2), "bfloat16": (8, 7)}  # IEEE layouts only
    if fmt not in fields:
        return None
    exponent_bits, mantissa_bits = fields[fmt]
    return apytypes.APyFloatArray.from_float(x, exponent_bits, mantissa_bits).to_numpy().astype(np.float32)


_ADAPTERS = {"ml_dtypes": _ml_dtypes, "torch": _torch, "gfloat": _gfloat, "apytypes": _apytypes}


def installed() -> list[Peer]:
    """The peers that are there."""
    return [Peer(name, metadata.version(name), verb) for name, verb in _ADAPTERS.items() if find_spec(name)]


class ProductPeer(NamedTuple):
    """A library that multiplies float32 matrices of binary16 values, products and sums rounded to binary16 in k order."""

    name: str
    version: str
    multiply: Callable[[np.ndarray, np.ndarray], np.ndarray]


def _numpy_float16(a, b):
    left, right = a.astype(np.float16), b.astype(np.float16)
    total = np.zeros((a.shape[0], b.shape[1]), np.float16)
    for k in range(a.shape[1]):
        total += left[:, k : k + 1] * right[k]
    return total.astype(np.float32)


def _apytypes_product(a, b):
    import apytypes

    left, right = (apytypes.APyFloatArray.from_float(x, 5, 10) for x in (a, b))
    with apytypes.APyFloatAccumulatorContext(exp_bits=5, man_bits=10, quantization=apytypes.QuantizationMode.TIES_EVEN):
        return (left @ right).to_numpy().astype(np.float32)


def product_peers() -> list[ProductPeer]:
    """The peers of `ProductPeer` that are there."""
    found = [ProductPeer("numpy float16 loop", np.__version__, _numpy_float16)]
    if find_spec("apytypes"):
        found.append(ProductPeer("apytypes", metadata.version("apytypes"), _apytypes_product))
    return found
