"""4-bit training by logarithmic unbiased quantization: Chmiel, Banner, Hoffer, Ben Yaacov and Soudry, Accurate neural
training with 4-bit matrix multiplications at standard formats, ICLR 2023, arXiv 2112.10769.
"""

from ..operands import LUQ, SAWB
from ..recipe import Product, Recipe
from ..schedule import LearningRate, Phase, Schedule
from .parts import SUMS, everywhere, recipe


def luq(
    seed: int = 0,
    *,
    samples: int = 1,
    levels: int = 7,
    eta: float | None = None,
    sawb: int | str = 4,
    random_bits: int = 32,
    keep: str = "",
    name: str = "luq",
) -> Recipe:
    """INT4 activations and weights to nearest, gradients on seven powers of two, FP4 [1,3,0], without bias.

    forward: SAWB clips, INT4 x INT4. grad_input: LUQ gradient x INT4 weight. grad_weight: LUQ gradient x INT4
    activation, the mean of `samples` draws of the gradient (SMP; 2 in the paper). Verified: these grids, roundings and
    products, and that alpha comes from the largest magnitude. Parameters: levels (5, 7 or 9, on which the sources
    disagree), eta (of the hindsight maximum; None: the maximum of the tensor itself, without bias), sawb (a key of
    numerics.clipping.SAWB), keep (first and last layer in many 4-bit papers; not seen in this one). Codes are multiplied
    as integers and powers of two, whose binary32 sums are exact up to 2**24.
    """
    weight = SAWB(4, coefficients=sawb)
    gradient = LUQ(levels, eta=eta, random_bits=random_bits)
    rule = everywhere(
        forward=Product(accumulator=SUMS, activation=weight, weight=weight),
        grad_input=Product(accumulator=SUMS, gradient=gradient, weight=weight),
        grad_weight=Product(accumulator=SUMS, gradient=gradient, activation=weight, samples=samples),
    )
    return recipe(name, seed, rule, keep=keep)


def luq_smp(seed: int = 0, *, samples: int = 2, **options: object) -> Recipe:
    """`luq` with the mean of two draws of the gradient in the weight gradient: half its variance (SMP)."""
    return luq(seed, samples=samples, name="luq_smp", **options)  # type: ignore[arg-type]


def luq_fnt(seed: int = 0, **options: object) -> Recipe:
    """The arithmetic of `luq`, with which `luq_fnt_schedule` begins."""
    return luq(seed, name="luq_fnt", **options)  # type: ignore[arg-type]


def luq_fnt_schedule(
    seed: int = 0, *, shares: tuple[float, float] = (90, 3), base: float = 0.1, low: float = 0.0, **options: object
) -> Schedule:
    """`luq`, then a fine-tuning in high precision but for the INT4 weights (FNT), at a triangular learning rate.

    shares: of both; the paper adds 1 to 3 epochs to 90. The rate climbs from that at which the training ended, `low`
    times the peak, to a base rate over half of the steps and falls with the same slope: the paper's prose, the dimensions
    of its eq. 17 are wrong. Not seen: the base rate, here `base` times the peak (the peak itself undoes more in few
    steps than these mend), and how the training before ends, here in a cosine of its own.
    """
    first = luq_fnt(seed, **options)
    keep, sawb = options.get("keep", ""), options.get("sawb", 4)
    weight = SAWB(4, coefficients=sawb)  # type: ignore[arg-type]
    rule = everywhere(
        forward=Product(accumulator=SUMS, weight=weight),
        grad_input=Product(accumulator=SUMS, weight=weight),
        grad_weight=Product(accumulator=SUMS),
    )
    second = recipe("luq_fnt, fine-tuning", seed, rule, keep=str(keep))
    phases = (
        Phase(recipe=first, share=shares[0], learning_rate=LearningRate("cosine", low=low)),
        Phase(recipe=second, share=shares[1], learning_rate=LearningRate("triangle", base, low)),
    )
    return Schedule(phases, "scratch", "luq_fnt")
