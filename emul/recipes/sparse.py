"""N:M sparsity: Chmiel, Hubara, Banner and Soudry, Minimum variance unbiased N:M sparsity for the neural gradients, ICLR
2023, arXiv 2203.10991; Hubara et al., Accelerated sparse neural training, NeurIPS 2021, arXiv 2102.08124.
"""

from ..operands import MVUE, Operand, Transposable
from ..recipe import Product, Recipe
from .parts import SUMS, WEIGHTED, everywhere, recipe

_PRODUCTS = ("grad_input", "grad_weight")


def mvue_1_2(
    seed: int = 0,
    *,
    products: tuple[str, ...] = ("grad_weight",),
    method: str = "exact",
    random_bits: int = 32,
    keep: str = "",
) -> Recipe:
    """One of each two gradients is kept, at random, so that the mean is the gradient and the variance the least.

    grad_weight: the gradient is masked along the samples, over which this product sums. products: "grad_input" too has
    a mask, of its own draw, along the output features. forward is left as it is. Verified: the estimator, its variance
    and that it is for gradients; that the paper masks them in the weight gradient alone is recalled, not seen.
    Parameters: method and random_bits of `emul.operands.MVUE`. Sums in binary32. Errors: ValueError for other products.
    """
    return _mvue("mvue_1_2", seed, MVUE(1, 2, method=method, random_bits=random_bits), products, keep)


def mvue_2_4(
    seed: int = 0,
    *,
    products: tuple[str, ...] = ("grad_weight",),
    method: str = "exact",
    random_bits: int = 32,
    keep: str = "",
) -> Recipe:
    """Two of each four gradients are kept: as `mvue_1_2`. method: "approximate" for two draws in sequence."""
    return _mvue("mvue_2_4", seed, MVUE(2, 4, method=method, random_bits=random_bits), products, keep)


def transposable_2_4(seed: int = 0, *, method: str = "exact", gradient: str = "straight", keep: str = "") -> Recipe:
    """Two of each four weights are kept, of rows and columns of every 4 x 4 tile alike: arXiv 2102.08124.

    forward and grad_input take the weight under the same mask, that of the largest sum of magnitudes, so that both sums
    see two of four; grad_weight is that of the dense product. The mask is that of the weight in each step. Verified: the
    mask and its optimum. Parameters: method ("greedy" within a factor of 2), gradient (of dropped weights: "straight"
    through, or "kept", none). When the paper renews its masks was not seen. Sums in binary32. Attention, whose
    operands are no weights, stays native.
    """
    weight = Transposable(2, 4, method=method, gradient=gradient)
    rule = everywhere(
        types=WEIGHTED,
        forward=Product(accumulator=SUMS, weight=weight),
        grad_input=Product(accumulator=SUMS, weight=weight),
        grad_weight=Product(accumulator=SUMS),
    )
    return recipe("transposable_2_4", seed, rule, keep=keep)


def _mvue(name: str, seed: int, gradient: Operand, products: tuple[str, ...], keep: str) -> Recipe:
    if isinstance(products, str) or not products or not set(products) <= set(_PRODUCTS):
        raise ValueError(f"products = {products!r}: give a tuple of {' and '.join(map(repr, _PRODUCTS))}")
    of = {product: gradient if product in products else None for product in _PRODUCTS}
    rule = everywhere(
        forward=Product(accumulator=SUMS),
        grad_input=Product(accumulator=SUMS, gradient=of["grad_input"]),
        grad_weight=Product(accumulator=SUMS, gradient=of["grad_weight"]),
    )
    return recipe(name, seed, rule, keep=keep)
