"""The memory of a tensor as an array."""

from typing import Any

import numpy as np
from torch import Tensor

from .eager import batched


def read(x: Tensor) -> Any:
    """An array over the memory of a CPU tensor, without a copy.

    Tensor.numpy() forbids for good that a storage changes its size, which is how fully sharded training frees a layer's
    gathered parameters. They, and what may be a view of them, are read by DLPack, which takes 2 us more.
    Errors: NotImplementedError for several gradients at once, whose values are not to be had.
    """
    if batched(x):
        raise NotImplementedError(
            "what looks at the values of a gradient takes one at a time: leave is_grads_batched=True, or vectorize=True of"
            " torch.autograd.functional, out"
        )
    if type(x) is Tensor and not x._is_view():  # isinstance of a Parameter takes torch long
        return x.numpy(force=True) if x.requires_grad else x.numpy()  # what is forced is to detach it
    return np.from_dlpack(x.detach())


def array_of(x: Tensor) -> Any:
    """The values of a tensor on the host, without a copy where they are there: `read`. Errors: as there."""
    return read((x if x.is_cpu else x.detach().cpu()).resolve_neg())
