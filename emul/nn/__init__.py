"""Layers of torch.nn whose three products run in the arithmetic of a rule.

Their parameters, buffers and state_dict are those of the native layer. The bias is added in the operands' own dtype
after the product, its gradient is torch's own sum.
"""

import torch

from .. import gpt
from . import functional
from .attention import MultiheadAttention
from .base import Emulated, Emulation
from .causal import CausalAttention
from .convolution import Conv1d, Conv2d, Conv3d
from .linear import Linear
from .normalization import BatchNorm1d, BatchNorm2d, BatchNorm3d, EmulatedNorm, LayerNorm, RMSNorm
from .swiglu import SmoothSwiGLU, SwiGLU
from .transformer import OPENED

__all__ = [
    "EMULATED",
    "NORMS",
    "OPENED",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "CausalAttention",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "Emulated",
    "EmulatedNorm",
    "Emulation",
    "LayerNorm",
    "Linear",
    "MultiheadAttention",
    "RMSNorm",
    "SmoothSwiGLU",
    "SwiGLU",
    "functional",
]

#: The native types and what they become.
EMULATED: dict[type[torch.nn.Module], type[Emulated]] = {
    torch.nn.Linear: Linear,
    torch.nn.Conv1d: Conv1d,
    torch.nn.Conv2d: Conv2d,
    torch.nn.Conv3d: Conv3d,
    torch.nn.MultiheadAttention: MultiheadAttention,
    gpt.CausalAttention: CausalAttention,
}

#: Those that have sums alone, for rules that name their type.
NORMS: dict[type[torch.nn.Module], type[EmulatedNorm]] = {
    torch.nn.LayerNorm: LayerNorm,
    torch.nn.RMSNorm: RMSNorm,
    torch.nn.BatchNorm1d: BatchNorm1d,
    torch.nn.BatchNorm2d: BatchNorm2d,
    torch.nn.BatchNorm3d: BatchNorm3d,
}
