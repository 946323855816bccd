"""The memory of a CPU tensor as an array."""

from typing import Any

import numpy as np
import torch
from torch import Tensor


def read(x: Tensor) -> Any:
    """An array over the memory of a CPU tensor, without a copy.

    Tensor.numpy() forbids for good that a storage changes its size, which is how fully sharded training frees a layer's
    gathered parameters. They, and what may be a view of them, are read by DLPack, which takes 3 us more.
    """
    if x.requires_grad or x._is_view() or isinstance(x, torch.nn.Parameter):
        with torch.no_grad():
            return np.from_dlpack(x.detach())
    return x.numpy()
