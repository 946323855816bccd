"""Binary nets: signs and their gradient mask, powers of two, shift-based batch norm and AdaMax, products of single bits.

Hubara, Courbariaux, Soudry, El-Yaniv, Bengio: Binarized neural networks, arXiv 1602.02830, and Quantized neural
networks, arXiv 1609.07061. Each module says which parts of them were not seen in a source and became parameters.
"""

from .adamax import AdaMaxState, shift_adamax
from .normalization import (
    SHIFT_SCALE_BOUNDS,
    SHIFT_VARIANCE_BOUNDS,
    inverse_root,
    shift_batch_norm,
    shift_variance,
)
from .packing import PackedMatrix, pack, pack_bits, unpack
from .powers import ap2, linear_quant, log_quant
from .products import byte_matmul, matmul_bits, xnor_matmul
from .signs import clip_weights, glorot_scale, hard_sigmoid, sign, ste_mask, stochastic_sign

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
