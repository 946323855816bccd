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


_ADAPTERS = {"ml_dtypes": _ml_dtypes, "torch": _torch}


def installed() -> list[Peer]:
    """The peers that are there."""
    return [Peer(name, metadata.version(name), verb) for name, verb in _ADAPTERS.items() if find_spec(name)]
