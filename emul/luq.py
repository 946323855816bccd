"""`numerics.luq` on tensors, as `published` says: logarithmic unbiased quantization of neural gradients.

The mean of `quantize` and `smp` is x, so their gradient is the identity, whatever was drawn; beyond the largest magnitude
and through `rdnp` the identity is a straight-through estimate, as in `emul.quantize`.
"""

from numerics import luq as _numpy
from numerics.luq import RDNP_SHIFT

from .published import STRAIGHT, published

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

ablation = published(_numpy.ablation)
alpha = published(_numpy.alpha, on_device="luq_alpha")
biased_log_rounding = published(_numpy.biased_log_rounding)
biased_noise_then_round = published(_numpy.biased_noise_then_round)
decode = published(_numpy.decode, on_device="luq_decode")
encode = published(_numpy.encode, on_device="luq_encode")
hindsight_max = published(_numpy.hindsight_max)
log_rounding_bias = published(_numpy.log_rounding_bias)
moments = published(_numpy.moments)
multiply_int4_fp4 = published(_numpy.multiply_int4_fp4)
noise_then_round_bias = published(_numpy.noise_then_round_bias)
quantize = published(_numpy.quantize, STRAIGHT, on_device="luq_quantize")
rdnp = published(_numpy.rdnp, STRAIGHT)
smp = published(_numpy.smp, STRAIGHT)
variance = published(_numpy.variance)
