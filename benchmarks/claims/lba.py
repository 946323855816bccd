"""Accumulators of 12 and 8 bits: what chunks, the bias rule and the gradient of the roundings are worth."""

from dataclasses import replace

import emul
from emul import digits
from emul.recipe import Recipe
from emul.rows import NATIVE, TUNED, Row
from emul.training import Settings
from numerics import FloatFormat, catalog

from .claim import Claim, Contrast
from .nets import letters, started_mlp, window
from .settings import LETTERS


def accumulating(recipe: Recipe, products: FloatFormat, sums: FloatFormat, chunk: int | None = 16) -> Recipe:
    """The recipe with these formats and this chunk in its accumulator, and nothing else changed."""
    (rule,) = recipe.rules
    unit = rule.forward.accumulator
    unit = replace(unit, format=sums, product=replace(unit.product, fmt=products), chunk=chunk)
    return replace(recipe, rules=(replace(rule, forward=replace(rule.forward, accumulator=unit)),))


def _12(products: int, sums: int, chunk: int | None = 16) -> Recipe:
    """`lba12` with these exponent biases."""
    formats = (catalog.lba(7, 4, bias, paper=True) for bias in (products, sums))
    return accumulating(emul.recipes.lba12(), *formats, chunk)


TWELVE = Claim(
    name="lba12",
    says="12-bit accumulators after fine-tuning are within noise of native, the same bits without chunks or without the"
    " bias rule fall off",
    source="arXiv 2401.14110",
    model=window,
    data=letters,
    settings=replace(LETTERS, steps=200, learning_rate=2e-3, fine_tune_learning_rate=5e-4),
    rows=(
        NATIVE,
        TUNED,
        Row("lba", "M7E4, biases 12 and 10, chunks of 16", _12(12, 10), "fine-tune"),
        Row("no-chunks", "the same without chunks", _12(12, 10, None), "fine-tune"),
        Row("both-12", "the same with both biases 12", _12(12, 12), "fine-tune"),
        Row("both-10", "the same with both biases 10", _12(10, 10), "fine-tune"),
    ),
    contrasts=(
        Contrast("lba", "native-tuned", 0.05),
        Contrast("lba", "no-chunks"),
        Contrast("lba", "both-12"),
        Contrast("lba", "both-10"),
    ),
    setup="A net of windows of 16 characters, sums of 512 and 256 products in the recipe's arithmetic; 50 steps of"
    " fine-tuning, of one stage, after 200 natively. The margin is 0.05 bits a character.",
)


def _8(recipe: Recipe, products: int, sums: int) -> Recipe:
    """M4E3 of these exponent biases."""
    return accumulating(recipe, *(catalog.lba(4, 3, bias, paper=True) for bias in (products, sums)))


def _gradients(products: int, sums: int) -> tuple[Row, ...]:
    """The three gradients of the same arithmetic."""
    biases = f"{products}-{sums}"
    return (
        Row(f"identity-{biases}", f"biases {biases}, identity", _8(emul.recipes.lba8(), products, sums), "train"),
        *(
            Row(
                f"diff-{rule}-{biases}",
                f"biases {biases}, DIFF, {rule}",
                _8(emul.recipes.lba_fine_grained(rule=rule), products, sums),
                "train",
            )
            for rule in ("immediate", "recursive")
        ),
    )


EIGHT = Claim(
    name="lba8",
    says="fine-grained (DIFF) gradients rescue 8-bit accumulators where identity fails",
    source="arXiv 2401.14110",
    model=started_mlp,
    data=digits.load,
    settings=Settings(epochs=3),
    rows=(*_gradients(6, 6), *_gradients(5, 3)),
    contrasts=(
        Contrast("diff-immediate-6-6", "identity-6-6"),
        Contrast("diff-recursive-6-6", "identity-6-6"),
        Contrast("diff-immediate-5-3", "identity-5-3"),
        Contrast("diff-recursive-5-3", "identity-5-3"),
    ),
    setup="M4E3, E4M3 operands, chunks of 16, from scratch. Biases of product and sum: 6 and 6, where sums saturate at"
    " 3.875 and identity fails; 5 and 3, those of the recipes lba8 and lba_fine_grained, where sums reach 31.",
)
