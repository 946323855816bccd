"""Low bit-width accumulators: Blumenfeld, Hubara and Soudry, Towards cheaper inference in deep networks with lower
bit-width accumulators, ICLR 2024, arXiv 2401.14110.
"""

from numerics import Accumulator, FloatFormat, Overflow, Quantizer, Rounding, catalog

from ..recipe import ChainGradient, Product, Recipe, Rule
from ..schedule import Phase, Schedule
from .parts import recipe

E4M3 = Quantizer(catalog.E4M3, Rounding.RNE, Overflow.SATURATE)
_CHUNK = 16  # the length of an inner chain
_12 = (catalog.lba(7, 4, 12, paper=True), catalog.lba(7, 4, 10, paper=True))
_8 = (catalog.lba(4, 3, 5, paper=True), catalog.lba(4, 3, 3, paper=True))
#: Exponents that end at 2**-118 and below, where float32 arrays still hold the mantissa.
_WITHOUT = 7


def lba12(seed: int = 0) -> Recipe:
    """12-bit accumulators: M7E4 of bias 12 for products and 10 for sums, E4M3 operands, in the forward products.

    Both quantizers of the fused multiply-add truncate toward zero, saturate, and flush below 2**-bias; sums run in
    chunks of 16, whose sums are added from left to right in the same format. Verified: the ranges, the bias rule, the
    chunk, truncation. Not seen in a source: the format in which chunks are added, and the scales of the operands.
    Gradients are the identity: torch's own products of the gradient and the quantized operands.
    """
    return recipe("lba12", seed, _rule(*_12))


def lba8(seed: int = 0) -> Recipe:
    """8-bit accumulators: as `lba12`, with M4E3 of bias 5 for products and 3 for sums."""
    return recipe("lba8", seed, _rule(*_8))


def lba(seed: int = 0, *, keep: str = "") -> Recipe:
    """The arithmetic of `lba12`, with which `lba_schedule` ends. keep: pattern of the layers that stay native."""
    return recipe("lba", seed, _rule(*_12), keep=keep)


def lba_schedule(seed: int = 0, *, shares: tuple[float, float] = (5, 1), keep: str = "") -> Schedule:
    """Fine-tuning of a trained net in two stages: without underflow, where no gradient is lost to it, then with it.

    In the first the exponents of both quantizers go on below 2**-bias, mantissa and overflow are those of `lba12`.
    shares: of the stages; five epochs and one are those of a secondary source. The learning rate is the training's own
    over both, which was not seen in a source.
    """
    without = tuple(fmt.without_underflow(_WITHOUT) for fmt in _12)
    first = recipe("lba, no underflow", seed, _rule(without[0], without[1]), keep=keep)
    second = lba(seed, keep=keep)
    phases = (Phase(recipe=first, share=shares[0]), Phase(recipe=second, share=shares[1], name="lba, underflow"))
    return Schedule(phases, "trained", "lba")


def lba_fine_grained(
    seed: int = 0, *, rule: str = "recursive", event: str = "diff", tolerance: float = 0.0, keep: str = ""
) -> Recipe:
    """8-bit accumulators whose gradient is that of the chain of roundings: `lba8` with an `emul.ChainGradient`.

    A term of a sum has a gradient where its step changed the sum ("diff") and, under "recursive", every later step let
    the sum through. The two gradient products are those of the chain, in torch's own arithmetic. Verified: that both
    rules and both events exist. A parameter: the relative `tolerance` of diff, whose value was not seen in a source.

    It helps where sums saturate and costs where they do not. On small nets (benchmarks/results/claims.md): 30 points of
    accuracy over identity gradients under the biases 6 and 6, where sums end at 3.875; with the biases here, 5 and 3,
    where they reach 31, `lba8` is better by 8 points than "immediate" and by 22 than "recursive".
    """
    chain = ChainGradient(rule=rule, event=event, tolerance=tolerance)
    return recipe("lba_fine_grained", seed, _rule(*_8, chain=chain), keep=keep)


def _rule(products: FloatFormat, sums: FloatFormat, chain: ChainGradient | None = None) -> Rule:
    accumulator = Accumulator(
        sums,
        Rounding.RTZ,
        Overflow.SATURATE,
        product=Quantizer(products, Rounding.RTZ, Overflow.SATURATE),
        chunk=_CHUNK,
    )
    return Rule(
        ".*",
        forward=Product(accumulator=accumulator, activation=E4M3, weight=E4M3, chain=chain),
        grad_input=Product(weight=E4M3),
        grad_weight=Product(activation=E4M3),
    )
