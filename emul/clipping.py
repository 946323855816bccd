"""`numerics.clipping` on tensors, as `published` says: where to clip, how many bits to give, what to put back."""

from numerics import clipping as _numpy
from numerics.clipping import RANGE_SCALE, SAWB

from .published import published

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

aciq_alpha = published(_numpy.aciq_alpha)
aciq_mse = published(_numpy.aciq_mse)
affine = published(_numpy.affine)
bias_correction = published(_numpy.bias_correction)
bin_allocation = published(_numpy.bin_allocation)
bit_allocation = published(_numpy.bit_allocation)
choose_distribution = published(_numpy.choose_distribution)
clip_range = published(_numpy.clip_range)
dequantize = published(_numpy.dequantize)
lambert_w0 = published(_numpy.lambert_w0)
optimal_alpha = published(_numpy.optimal_alpha)
quantizer_mse = published(_numpy.quantizer_mse)
sawb = published(_numpy.sawb)
scale = published(_numpy.scale)
