"""Where to clip, how many bits to give, what to put back: analytical clipping (ACIQ), SAWB and GEMMLOWP's affine codes."""

from .aciq import aciq_alpha, aciq_mse
from .affine import affine, dequantize
from .allocation import bin_allocation, bit_allocation
from .correction import bias_correction
from .distributions import RANGE_SCALE, choose_distribution, scale
from .lambert import lambert_w0
from .optimum import optimal_alpha, quantizer_mse
from .ranges import clip_range
from .sawb import SAWB, sawb

__all__ = [
    "RANGE_SCALE",
    "SAWB",
    "aciq_alpha",
    "aciq_mse",
    "affine",
    "bias_correction",
    "bin_allocation",
    "bit_allocation",
    "choose_distribution",
    "clip_range",
    "dequantize",
    "lambert_w0",
    "optimal_alpha",
    "quantizer_mse",
    "sawb",
    "scale",
]
