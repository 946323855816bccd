"""Layers of torch.nn whose three products run in the arithmetic of a rule.

Their parameters, buffers and state_dict are those of the native layer. The bias is added in the operands' own dtype
after the product, its gradient is torch's own sum.
"""

import torch

from .base import Emulated, Emulation
from .convolution import Conv1d, Conv2d, Conv3d
from .linear import Linear

__all__ = ["EMULATED", "Conv1d", "Conv2d", "Conv3d", "Emulated", "Emulation", "Linear"]

#: The native types and what they become.
EMULATED: dict[type[torch.nn.Module], type[Emulated]] = {
    torch.nn.Linear: Linear,
    torch.nn.Conv1d: Conv1d,
    torch.nn.Conv2d: Conv2d,
    torch.nn.Conv3d: Conv3d,
}
