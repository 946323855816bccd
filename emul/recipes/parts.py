"""What the recipes are put together from."""

from numerics import Accumulator, Overflow, Rounding, catalog

from ..norm import BATCH_NORMS, Norm
from ..recipe import Product, Recipe, Rule

#: Sums in binary32, one after the other, each rounded to nearest even: exact for small integers up to 2**24.
SUMS = Accumulator(catalog.BINARY32, Rounding.RNE, Overflow.IEEE)


def recipe(name: str, seed: int, *rules: Rule, keep: str = "") -> Recipe:
    """A recipe of these rules; keep: a pattern of the names of layers that stay native."""
    kept = (Rule(keep, keep=True),) if keep else ()
    return Recipe((*kept, *rules), seed, name)


#: Layers whose second operand is a weight in every product, which that of attention is not.
WEIGHTED = ("Linear", "Conv1d", "Conv2d", "Conv3d")


def everywhere(
    *,
    forward: Product,
    grad_input: Product,
    grad_weight: Product,
    pattern: str = ".*",
    types: tuple[str, ...] = (),
) -> Rule:
    """A rule for every layer with products; types: of these alone."""
    return Rule(pattern, types=types, forward=forward, grad_input=grad_input, grad_weight=grad_weight)


def batch_norm(norm: Norm) -> Rule:
    """A rule for every batch norm."""
    return Rule(".*", types=BATCH_NORMS, norm=norm)
