"""Blocks under shared scales: MXFP8, MXFP4 and NVFP4 with split rounding. Blocks lie along the axis that is summed."""

from dataclasses import replace

from numerics import BlockFormat, Quantizer, Rounding, ScaleRule, catalog, scaling
from numerics.scaling import MXFP4_E3M0, MXFP4_NEVER_CLIP, SPLIT_NVFP4, SplitRounding, high_precision_backward

from ..recipe import Product, Recipe
from ..schedule import GradientToNoise, LearningRate, Phase, Schedule
from .parts import SUMS, everywhere, recipe


def mxfp8(
    seed: int = 0,
    *,
    gradient: str = "e5m2",
    rounding: Rounding = Rounding.RNE,
    rule: ScaleRule = ScaleRule.FLOOR,
    keep: str = "",
) -> Recipe:
    """MXFP8: blocks of 32 with E4M3 activations and weights and E5M2 gradients under E8M0 scales, in all three products.

    Formats and the scale rule: OCP MX v1.0, which says nothing of training. Parameters, of no paper: the element of
    gradients, "e5m2" or "e4m3", their rounding, RNE or SR (unbiased only under the rules NEVER_CLIP and CEIL), the rule
    of all scales. Sums in binary32. Errors: ValueError for another element.
    """
    elements = {"e4m3": catalog.MXFP8_E4M3, "e5m2": catalog.MXFP8_E5M2}
    if gradient not in elements:
        raise ValueError(f"gradient = {gradient!r}: give {' or '.join(map(repr, elements))}")
    nearest = Quantizer(_ruled(catalog.MXFP8_E4M3, rule))
    of_g = Quantizer(_ruled(elements[gradient], rule), rounding)
    return _blocks("mxfp8", seed, SplitRounding(nearest, nearest, of_g, nearest, nearest, of_g), keep)


def mxfp4(seed: int = 0, *, keep: str = "") -> Recipe:
    """MXFP4: E2M1 activations and weights to nearest, E3M0 gradients with stochastic rounding, blocks of 32.

    Released code brianchmiel/nanoGPT_MXFP4, verified: the two grids, their rounding, blocks along the axis of each
    product, and its scale, the smallest power of two under which nothing overflows, so that gradients have no bias.
    OCP's own rule clips the top of a block. Sums in binary32. Of the bias the gradient is torch's own.
    """
    nearest, of_g = Quantizer(MXFP4_NEVER_CLIP), Quantizer(MXFP4_E3M0, Rounding.SR)
    return _blocks("mxfp4", seed, SplitRounding(nearest, nearest, of_g, nearest, nearest, of_g), keep)


def nvfp4_split(seed: int = 0, *, rounding: SplitRounding = SPLIT_NVFP4, keep: str = "") -> Recipe:
    """NVFP4 with split rounding: Chmiel, Fishman, Banner and Soudry, FP4 All the Way, arXiv 2505.19115.

    forward: activation and weight to nearest. grad_input: gradient stochastic, weight to nearest. grad_weight: gradient
    and activation stochastic. Verified: the format (blocks of 16, E4M3 scales, one scale of the tensor) and the six
    roundings, eq. 4 to 6. rounding: six other quantizers, such as numerics.scaling.SPLIT_MXFP4. The scale of a block is
    rounded to nearest, so that its largest elements can be clipped, and their gradients are then not unbiased.
    Binary32 sums are an assumption.
    """
    return _blocks("nvfp4_split", seed, rounding, keep)


def nvfp4_schedule(
    seed: int = 0,
    *,
    rounding: SplitRounding = SPLIT_NVFP4,
    below: float = scaling.SWITCH_RATIO,
    every: int = 100,
    share: float = 0.04,
    warm_up: int = 40,
    keep: str = "",
) -> Schedule:
    """FP4 all the way, then the same forward and gradients in high precision, from the point where noise outweighs.

    The first phase ends where gradient-to-noise falls below sqrt 3, measured every `every` steps, and at the latest when
    `share` of the training is left: 40 of 1040 billion tokens in the paper. The second has a learning rate anew: 40 steps
    of warm-up, then a cosine. Verified: the rule, forward FP4 throughout, reset, warm-up, cosine. Not seen: the rate
    that it is reset to (the peak here), and how the noise is measured.
    """
    first = nvfp4_split(seed, rounding=rounding, keep=keep)
    second = _blocks("nvfp4_split, gradients in high precision", seed, high_precision_backward(rounding), keep)
    return Schedule(
        (
            Phase(recipe=first, share=1 - share, until=GradientToNoise(below, every)),
            Phase(recipe=second, share=share, learning_rate=LearningRate("cosine", warm_up=warm_up)),
        ),
        "scratch",
        "nvfp4_split",
    )


def _ruled(fmt: BlockFormat, rule: ScaleRule) -> BlockFormat:
    return fmt if fmt.rule is rule else replace(fmt, rule=rule, name=f"{fmt.name}_{rule.value}")


def _blocks(name: str, seed: int, six: SplitRounding, keep: str) -> Recipe:
    rule = everywhere(
        forward=Product(accumulator=SUMS, activation=six.forward_x, weight=six.forward_w),
        grad_input=Product(accumulator=SUMS, gradient=six.backward_g, weight=six.backward_w),
        grad_weight=Product(accumulator=SUMS, gradient=six.update_g, activation=six.update_x),
    )
    return recipe(name, seed, rule, keep=keep)
