"""`numerics.binary` on tensors, as `published` says: binary nets.

The gradient of both signs passes where |x| <= 1: that of hard tanh, which is the mean of the drawn one. Source: Hubara,
Courbariaux, Soudry, El-Yaniv and Bengio, Binarized neural networks, arXiv 1602.02830. Before the first step
of `shift_adamax` the state is AdaMaxState(torch.zeros_like(theta), torch.zeros_like(theta), 0).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from numerics import binary as _numpy
from numerics.binary import SHIFT_SCALE_BOUNDS, SHIFT_VARIANCE_BOUNDS, AdaMaxState, PackedMatrix

from .published import Gradient, published

__all__ = [
    "SHIFT_SCALE_BOUNDS",
    "SHIFT_VARIANCE_BOUNDS",
    "AdaMaxState",
    "PackedMatrix",
    "ap2",
    "byte_matmul",
    "clip_weights",
    "glorot_scale",
    "hard_sigmoid",
    "inverse_root",
    "linear_quant",
    "log_quant",
    "matmul_bits",
    "pack",
    "pack_bits",
    "shift_adamax",
    "shift_batch_norm",
    "shift_variance",
    "sign",
    "ste_mask",
    "stochastic_sign",
    "unpack",
    "xnor_matmul",
]


def _inside(arguments: dict[str, Any], result: NDArray[Any]) -> NDArray[np.bool]:
    return _numpy.ste_mask(arguments["x"])


INSIDE = Gradient("to x where |x| <= 1, the identity", _inside, lambda arguments, result: arguments["x"].abs() <= 1)

ap2 = published(_numpy.ap2, on_device="ap2")
byte_matmul = published(_numpy.byte_matmul)
clip_weights = published(_numpy.clip_weights)
glorot_scale = published(_numpy.glorot_scale)
hard_sigmoid = published(_numpy.hard_sigmoid)
inverse_root = published(_numpy.inverse_root)
linear_quant = published(_numpy.linear_quant)
log_quant = published(_numpy.log_quant)
matmul_bits = published(_numpy.matmul_bits, on_device="matmul_bits")
pack = published(_numpy.pack, on_device="pack")
pack_bits = published(_numpy.pack_bits, on_device="pack_bits")
shift_adamax = published(_numpy.shift_adamax)
shift_batch_norm = published(_numpy.shift_batch_norm)
shift_variance = published(_numpy.shift_variance)
sign = published(_numpy.sign, INSIDE, on_device="sign")
ste_mask = published(_numpy.ste_mask)
stochastic_sign = published(_numpy.stochastic_sign, INSIDE, on_device="stochastic_sign")
unpack = published(_numpy.unpack)
xnor_matmul = published(_numpy.xnor_matmul, on_device="xnor_matmul")
