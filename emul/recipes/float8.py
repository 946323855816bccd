"""FP8: E4M3 and E5M2, without scales and with delayed ones."""

from numerics import FloatFormat, Overflow, Quantizer, Rounding, catalog, scaling

from ..operands import Scaled
from ..recipe import Product, Recipe
from .parts import SUMS, everywhere, recipe


def fp8(seed: int = 0) -> Recipe:
    """FP8 training: E4M3 forward, stochastically rounded E5M2 gradients, binary32 accumulation in all three products.

    Formats: Micikevicius et al., FP8 formats for deep learning, arXiv 2209.05433; without its scale factors.
    Activations and weights are rounded to nearest even. Gradients take 32 random bits: every float32 of magnitude
    2**-25 and above is rounded without bias, a smaller one with less than 2**-48 (a 2**-32 of E5M2's lowest ulp).
    Sums are sequential, fused, rounded to nearest even.
    """
    e4m3 = Quantizer(catalog.E4M3, Rounding.RNE, Overflow.SATURATE)
    gradient = Quantizer(catalog.E5M2, Rounding.SR, Overflow.SATURATE, 32)
    return recipe(
        "fp8",
        seed,
        everywhere(
            forward=Product(accumulator=SUMS, activation=e4m3, weight=e4m3),
            grad_input=Product(accumulator=SUMS, gradient=gradient, weight=e4m3),
            grad_weight=Product(accumulator=SUMS, gradient=gradient, activation=e4m3),
        ),
    )


def fp8_delayed(seed: int = 0, *, largest: int = 240, history: int = 1024, keep: str = "") -> Recipe:
    """FP8 with one delayed power-of-two scale for each tensor: Fishman, Chmiel, Banner and Soudry, arXiv 2409.12517.

    forward: E4M3 activations and weights, to nearest. grad_input and grad_weight: E5M2 copies of these, to nearest, and
    E5M2 gradients with stochastic rounding. A scale is 2**floor(log2(largest / amax)), amax that of the last `history`
    steps. Verified in the released code: formats, rounding, scales, 57344 for E5M2. largest: 240, the E4M3 of Gaudi 2
    and the paper's, or 448, OCP's. history: 1024 divided by the number of data-parallel workers there. Binary32 sums
    are an assumption. Its Smooth-SwiGLU is `emul.nn.SmoothSwiGLU`, its optimizer `emul.optim.FP8Adam`.
    Errors: ValueError for another largest.
    """
    formats: dict[int, FloatFormat] = {240: scaling.GAUDI2_E4M3, 448: catalog.E4M3}
    if largest not in formats:
        raise ValueError(f"largest = {largest!r}: give 240, the E4M3 of Gaudi 2, or 448, that of OCP")
    e4m3 = Scaled(Quantizer(formats[largest]), history=history)
    copy = Scaled(Quantizer(catalog.E5M2), history=history)
    gradient = Scaled(Quantizer(catalog.E5M2, Rounding.SR), history=history)
    return recipe(
        "fp8_delayed",
        seed,
        everywhere(
            forward=Product(accumulator=SUMS, activation=e4m3, weight=e4m3),
            grad_input=Product(accumulator=SUMS, gradient=gradient, weight=copy),
            grad_weight=Product(accumulator=SUMS, gradient=gradient, activation=copy),
        ),
        keep=keep,
    )
