"""Layers of torch.nn whose three products run in the arithmetic of a rule.

Their parameters, buffers and state_dict are those of the native layer. The bias is added in the operands' own dtype
after the product, its gradient is torch's own sum.
"""

import torch

from . import functional
from .attention import MultiheadAttention
from .base import Emulated, Emulation
from .convolution import Conv1d, Conv2d, Conv3d
from .linear import Linear
from .transformer import OPENED

__all__ = [
    "EMULATED",
    "OPENED",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "Emulated",
    "Emulation",
    "Linear",
    "MultiheadAttention",
    "functional",
]

#: The native types and what they become.
EMULATED: dict[type[torch.nn.Module], type[Emulated]] = {
    torch.nn.Linear: Linear,
    torch.nn.Conv1d: Conv1d,
    torch.nn.Conv2d: Conv2d,
    torch.nn.Conv3d: Conv3d,
    torch.nn.MultiheadAttention: MultiheadAttention,
}
