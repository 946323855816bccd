"""`numerics.luq` on tensors, as `published` says: logarithmic unbiased quantization of neural gradients.

The mean of `quantize` and `smp` is x, so their gradient is the identity, whatever was drawn; beyond the largest magnitude
and through `rdnp` the identity is a straight-through estimate, as in `emul.quantize`.
"""

from typing import Any

import torch
from torch import Tensor

from numerics import luq as _numpy
from numerics.luq import RDNP_SHIFT

from .operators import masks
from .published import STRAIGHT, operated, published, whole_numbers

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
_quantize = published(_numpy.quantize, STRAIGHT, on_device="luq_quantize")


@operated(_numpy.quantize, STRAIGHT)
def quantize(
    x: Any,
    levels: int = 7,
    *,
    alpha: Any = None,
    power_of_two: str | None = None,
    seed: int | None = None,
    words: Any = None,
    random_bits: int = 32,
    stream: int = 0,
    offset: int = 0,
    out: Any = None,
) -> Any:
    """The operator where it takes the arguments, or the numpy function."""
    numbers = whole_numbers(levels, random_bits, seed, stream, offset)
    number = alpha is None or isinstance(alpha, int | float) or (isinstance(alpha, Tensor) and not alpha.dim())
    tensors = isinstance(x, Tensor) and (words is None or isinstance(words, Tensor))
    direction = power_of_two is None or isinstance(power_of_two, str)
    if out is not None or not (numbers and number and tensors and direction):
        drawn = {"seed": seed, "words": words, "random_bits": random_bits, "stream": stream, "offset": offset}
        return _quantize(x, levels, alpha=alpha, power_of_two=power_of_two, **drawn, out=out)
    step = alpha if alpha is None or isinstance(alpha, Tensor) else torch.full((), alpha, dtype=torch.float64)
    return masks.luq_quantize(x, levels, step, power_of_two, words, random_bits, seed, stream, offset)


rdnp = published(_numpy.rdnp, STRAIGHT)
smp = published(_numpy.smp, STRAIGHT)
variance = published(_numpy.variance)
