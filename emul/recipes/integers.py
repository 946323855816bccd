"""Integers: training in 8 bits, and post-training quantization in 4."""

from numerics import Accumulator, Rounding, catalog

from ..norm import Norm
from ..operands import Affine, Channels
from ..recipe import Product, Recipe, Rule
from .parts import SUMS, WEIGHTED, batch_norm, everywhere, recipe

#: Sums of integers, exact as those of int32, rounded once to binary32.
_INT32 = Accumulator(catalog.BINARY32, order="exact")


def int8_training(
    seed: int = 0,
    *,
    bits: int = 8,
    update_bits: int | None = None,
    kind: str = "paper",
    chunks: int = 1,
    keep: str = "",
) -> Recipe:
    """8 bits for weights, activations and gradients, Range BN: Banner, Hubara, Hoffer and Soudry, arXiv 1805.11046.

    forward and grad_input: affine integers over the range of the tensor (GEMMLOWP), gradients with stochastic rounding.
    grad_weight: the gradient as it is, as in the code, or a copy of update_bits, 16 on the poster (bifurcation), and the
    8-bit activation. Batch norms divide by their range, `kind` and `chunks` being those of emul.Norm: "paper" 1/sqrt(2
    ln n), "code" in 16 chunks, "exact". Verified: these. Sums of integers are exact and rounded once to binary32, as
    int32 units do; those with the gradient as it is run in binary32. The released code rounds activations
    stochastically by a slip of an argument; here they are rounded to nearest, as in the paper.
    """
    nearest = Affine(bits)
    gradient = Affine(bits, rounding=Rounding.SR)
    update = None if update_bits is None else Affine(update_bits, rounding=Rounding.SR)
    rule = everywhere(
        forward=Product(accumulator=_INT32, activation=nearest, weight=nearest),
        grad_input=Product(accumulator=_INT32, gradient=gradient, weight=nearest),
        grad_weight=Product(accumulator=SUMS if update is None else _INT32, gradient=update, activation=nearest),
    )
    return recipe("int8_training", seed, batch_norm(Norm("range", kind=kind, chunks=chunks)), rule, keep=keep)


def aciq_ptq(
    seed: int = 0,
    *,
    bits: int = 4,
    weight_bits: int = 4,
    distribution: str = "laplace",
    allocate: bool = True,
    correct: bool = True,
    keep: str = "",
) -> Recipe:
    """Post-training quantization without training: Banner, Nahshan and Soudry, arXiv 1810.05723 (ACIQ).

    forward: activations clipped where the model of their distribution says and rounded to 2**bits levels; weights by
    channel, each with its own clip and bits of mean weight_bits, mean and deviation put back (`emul.operands.Channels`).
    Sums in binary32. Gradients are torch's own, straight through. Here the clip of an activation is that of the tensor
    at hand; `emul.calibration.aciq_ptq` takes it from one pass over data, layer by layer, as `emul compare` does.
    Verified: clips, allocation, correction; the distribution of each layer is a parameter. Attention stays native.
    """
    activation = Affine(bits, distribution=distribution)
    weight = Channels(weight_bits, distribution, allocate=allocate, correct=correct)
    rule = Rule(".*", types=WEIGHTED, forward=Product(accumulator=SUMS, activation=activation, weight=weight))
    return recipe("aciq_ptq", seed, rule, keep=keep)
