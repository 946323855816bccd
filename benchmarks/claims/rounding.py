"""FP4 gradients in blocks, rounded stochastically or to nearest, of the recipe nvfp4_split and in its MX form."""

from dataclasses import replace

from emul.recipe import Product, Recipe, Rule
from emul.rows import Row
from numerics import Quantizer, Rounding
from numerics.scaling import MXFP4_E3M0, SPLIT_NVFP4

from .claim import Claim, Contrast
from .nets import letters, small_gpt
from .settings import LETTERS


def split(gradient: Quantizer, *, all_products: bool = True) -> Recipe:
    """`nvfp4_split` with this quantizer of both gradients, torch's own sums; else a forward in float32."""
    six = SPLIT_NVFP4
    if not all_products:
        return Recipe((Rule(".*", grad_input=Product(gradient=gradient), grad_weight=Product(gradient=gradient)),))
    rule = Rule(
        ".*",
        forward=Product(activation=six.forward_x, weight=six.forward_w),
        grad_input=Product(gradient=gradient, weight=six.backward_w),
        grad_weight=Product(gradient=gradient, activation=six.update_x),
    )
    return Recipe((rule,))


_NVFP4, _MXFP4 = SPLIT_NVFP4.backward_g, Quantizer(MXFP4_E3M0, Rounding.SR)


def _nearest(quantizer: Quantizer) -> Quantizer:
    return replace(quantizer, rounding=Rounding.RNE, random_bits=None)


CLAIM = Claim(
    name="fp4-sr",
    says="stochastically rounded gradients beat those rounded to nearest at FP4",
    source="arXiv 2505.19115",
    model=small_gpt,
    data=letters,
    settings=LETTERS,
    rows=(
        Row("nvfp4-sr", "NVFP4 split, gradients SR", split(_NVFP4), "train"),
        Row("nvfp4-nearest", "NVFP4 split, gradients to nearest", split(_nearest(_NVFP4)), "train"),
        Row("mxfp4-sr", "E3M0 blocks of 32, gradients SR", split(_MXFP4, all_products=False), "train"),
        Row(
            "mxfp4-nearest",
            "E3M0 blocks of 32, gradients to nearest",
            split(_nearest(_MXFP4), all_products=False),
            "train",
        ),
    ),
    contrasts=(Contrast("nvfp4-sr", "nvfp4-nearest"), Contrast("mxfp4-sr", "mxfp4-nearest")),
    setup="The six roundings of nvfp4_split with torch's float32 sums; of E3M0, the gradients of the recipe mxfp4, the forward"
    " product is torch's own.",
)
