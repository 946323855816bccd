"""LUQ: logarithmic unbiased quantization of neural gradients to a sign and a power of two times alpha.

Source: Chmiel, Banner, Hoffer, Ben Yaacov and Soudry, Accurate Neural Training with 4-bit Matrix Multiplications at
Standard Formats, ICLR 2023, arXiv 2112.10769. Where the source is silent or contradicts itself there is a parameter:
`levels`, the number of nonzero magnitudes (its eq. 11 gives 5, a reading by total bits 9, a true [1,3,0] format 7, the
default), and `power_of_two`, the direction in which alpha is rounded to a power of two (default: it is not). Its appendices
were not seen. Its line on the midpoint of two powers prints 3/4 2**(n-1) for 3/4 2**n, and its "add noise, then round to
the nearest power" is biased: `biased_noise_then_round`.
"""

from .ablation import ablation
from .biased import (
    biased_log_rounding,
    biased_noise_then_round,
    log_rounding_bias,
    noise_then_round_bias,
)
from .codes import decode, encode
from .estimator import quantize, smp
from .moments import moments, variance
from .powers import RDNP_SHIFT, multiply_int4_fp4, rdnp
from .scale import alpha, hindsight_max

__all__ = [
    "RDNP_SHIFT",
    "ablation",
    "alpha",
    "biased_log_rounding",
    "biased_noise_then_round",
    "decode",
    "encode",
    "hindsight_max",
    "log_rounding_bias",
    "moments",
    "multiply_int4_fp4",
    "noise_then_round_bias",
    "quantize",
    "rdnp",
    "smp",
    "variance",
]
