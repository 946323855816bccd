"""The published training schemes, by name. A new one is a function and an entry in the table at the end."""

from collections.abc import Callable
from types import MappingProxyType

from numerics import Accumulator, FloatFormat, Overflow, Quantizer, Rounding, catalog

from .recipe import Product, Recipe, Rule

_E4M3 = Quantizer(catalog.E4M3, Rounding.RNE, Overflow.SATURATE)
_CHUNK = 16  # LBA's, the length of an inner chain


def fp8(seed: int = 0) -> Recipe:
    """FP8 training: E4M3 forward, stochastically rounded E5M2 gradients, binary32 accumulation in all three products.

    Formats: Micikevicius et al., FP8 formats for deep learning, arXiv 2209.05433; without its scale factors.
    Activations and weights are rounded to nearest even. Gradients take 32 random bits: every float32 of magnitude
    2**-25 and above is rounded without bias, a smaller one with less than 2**-48 (a 2**-32 of E5M2's lowest ulp).
    Sums are sequential, fused, rounded to nearest even.
    """
    gradient = Quantizer(catalog.E5M2, Rounding.SR, Overflow.SATURATE, 32)
    sums = Accumulator(catalog.BINARY32, Rounding.RNE, Overflow.IEEE)
    rule = Rule(
        ".*",
        forward=Product(accumulator=sums, activation=_E4M3, weight=_E4M3),
        grad_input=Product(accumulator=sums, gradient=gradient, weight=_E4M3),
        grad_weight=Product(accumulator=sums, gradient=gradient, activation=_E4M3),
    )
    return Recipe((rule,), seed, "fp8")


def lba12(seed: int = 0) -> Recipe:
    """12-bit accumulators: M7E4 of bias 12 for products and 10 for sums, E4M3 operands, in the forward products.

    Blumenfeld, Hubara and Soudry, Towards cheaper inference in deep networks with lower bit-width accumulators,
    arXiv 2401.14110: both quantizers of the fused multiply-add truncate toward zero, saturate, and flush below
    2**-bias; sums run in chunks of 16, whose sums are added from left to right in the same format.
    Gradients are the identity: torch's own products of the gradient and the quantized operands.
    """
    return _lba("lba12", seed, catalog.lba(7, 4, 12, paper=True), catalog.lba(7, 4, 10, paper=True))


def lba8(seed: int = 0) -> Recipe:
    """8-bit accumulators: as `lba12`, with M4E3 of bias 5 for products and 3 for sums."""
    return _lba("lba8", seed, catalog.lba(4, 3, 5, paper=True), catalog.lba(4, 3, 3, paper=True))


def _lba(name: str, seed: int, products: FloatFormat, sums: FloatFormat) -> Recipe:
    accumulator = Accumulator(
        sums,
        Rounding.RTZ,
        Overflow.SATURATE,
        product=Quantizer(products, Rounding.RTZ, Overflow.SATURATE),
        chunk=_CHUNK,
    )
    rule = Rule(
        ".*",
        forward=Product(accumulator=accumulator, activation=_E4M3, weight=_E4M3),
        grad_input=Product(weight=_E4M3),
        grad_weight=Product(activation=_E4M3),
    )
    return Recipe((rule,), seed, name)


_RECIPES = MappingProxyType[str, Callable[[int], Recipe]]({"fp8": fp8, "lba12": lba12, "lba8": lba8})


def names() -> tuple[str, ...]:
    """The names that `get` knows."""
    return tuple(_RECIPES)


def get(name: str, seed: int = 0) -> Recipe:
    """The recipe of this name. Errors: ValueError for an unknown one, listing the known."""
    if name not in _RECIPES:
        raise ValueError(f"there is no recipe {name!r}: known are {', '.join(names())}; build your own as emul.Recipe")
    return _RECIPES[name](seed)
