"""Split rounding: what a linear layer's three products round to nearest, and what stochastically.

Forward y = x w, backward dx = g w.T, update dw = x.T g: each operand of each is quantized in blocks along the axis that
its product sums over, so x, w and g are each quantized twice. The source rounds the two forward operands and the
weights of the backward product to nearest, the other three stochastically. Its tables of the six choices were not seen;
each is a field. The predecessor's code has gradients in E3M0 and a scale under which nothing overflows.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import catalog
from ..accumulator import Accumulator
from ..formats import BlockFormat, ScaleRule
from ..matrix_unit import MatrixUnit
from ..operands import floats
from ..products import matmul
from ..quantizer import Quantizer
from ..rounding import Rounding
from ..words import stream_after

#: MXFP4 under the smallest power of two for which nothing overflows, so that stochastic rounding has no bias.
MXFP4_NEVER_CLIP = replace(catalog.MXFP4_E2M1, rule=ScaleRule.NEVER_CLIP, name="mxfp4_never_clip")
#: Gradients of the predecessor's code: powers of two in blocks of 32.
MXFP4_E3M0 = BlockFormat(
    catalog.E3M0,
    catalog.E8M0,
    32,
    rule=ScaleRule.NEVER_CLIP,
    name="mxfp4_e3m0",
    source="brianchmiel/nanoGPT_MXFP4: gradients",
)


@dataclass(frozen=True)
class SplitRounding:
    """The quantizers of the six operands; None leaves an operand as it is, as the backward pass in high precision does.

    The axis of each is replaced by the one that its product sums over. Errors: TypeError for anything but a Quantizer
    or None.
    """

    forward_x: Quantizer | None
    forward_w: Quantizer | None
    backward_g: Quantizer | None
    backward_w: Quantizer | None
    update_x: Quantizer | None
    update_g: Quantizer | None

    def __post_init__(self) -> None:
        for name, quantizer in vars(self).items():
            if not isinstance(quantizer, Quantizer | None):
                raise TypeError(f"{name} = {quantizer!r}: give a Quantizer, or None to leave the operand as it is")

    @property
    def stochastic(self) -> bool:
        """Whether an operand needs random words."""
        return any(quantizer is not None and quantizer.stochastic for quantizer in vars(self).values())


def split_rounding(
    fmt: BlockFormat, gradient_fmt: BlockFormat | None = None, *, random_bits: int | None = None
) -> SplitRounding:
    """Nearest for x and w forward and w backward, stochastic for g backward and for g and x in the update.

    gradient_fmt: of g, None for fmt. random_bits: of the stochastic three, None for 32.
    Source: Chmiel, Fishman, Banner and Soudry, FP4 All the Way, arXiv 2505.19115, eq. 4 to 6.
    """
    nearest = Quantizer(fmt)
    of_g = Quantizer(fmt if gradient_fmt is None else gradient_fmt, Rounding.SR, random_bits=random_bits)
    of_x = Quantizer(fmt, Rounding.SR, random_bits=random_bits)
    return SplitRounding(nearest, nearest, of_g, nearest, of_x, of_g)


#: The source's choice. Scales of NVFP4 are rounded to nearest: one rounded down clips its block's largest element, by up
#: to 1/17 of it, and there stochastic rounding is biased; MXFP4_NEVER_CLIP has no such element.
SPLIT_NVFP4 = split_rounding(catalog.NVFP4)
SPLIT_MXFP4 = split_rounding(MXFP4_NEVER_CLIP)


def high_precision_backward(rounding: SplitRounding) -> SplitRounding:
    """The same forward, and the other four operands as they are: the source's last phase, past the switch.

    Source: arXiv 2505.19115, quantization-aware finetuning.
    """
    return SplitRounding(rounding.forward_x, rounding.forward_w, None, None, None, None)


class ProductOperands(NamedTuple):
    """The quantized operands, ready for `matmul`: forward x [B, K], w [K, N]; backward g [B, N], w.T; update x.T, g."""

    forward: tuple[NDArray[Any], NDArray[Any]]
    backward: tuple[NDArray[Any], NDArray[Any]]
    update: tuple[NDArray[Any], NDArray[Any]]


class Products(NamedTuple):
    """y = x w [B, N], dx = g w.T [B, K], dw = x.T g [K, N]."""

    y: NDArray[Any]
    dx: NDArray[Any]
    dw: NDArray[Any]


def product_operands(
    x: Any, w: Any, g: Any, rounding: SplitRounding, *, seed: int | None = None, stream: int = 0
) -> ProductOperands:
    """The operands of the three products, each quantized in blocks along the axis that its product sums over.

    x [B, K], w [K, N], g [B, N], the gradient of y, float32 or float64 of one dtype. Forward sums over K, backward over
    N, the update over B. The six operands draw from stream, stream + 1, ... + 5, in the order of `SplitRounding`'s
    fields. Errors: TypeError for other dtypes or different ones; ValueError for shapes that do not match; as
    `Quantizer.quantize`. Source: as `split_rounding`.
    """
    left, weights, gradient = floats(x, "x"), floats(w, "w"), floats(g, "g")
    if (
        left.ndim != 2
        or weights.ndim != 2
        or left.shape[1] != weights.shape[0]
        or gradient.shape != (left.shape[0], weights.shape[1])
    ):
        raise ValueError(
            f"x {left.shape}, w {weights.shape}, g {gradient.shape} do not match: give [B, K], [K, N] and [B, N]"
        )
    if not left.dtype == weights.dtype == gradient.dtype:
        raise TypeError(
            f"x of {left.dtype}, w of {weights.dtype}, g of {gradient.dtype}: give three arrays of one dtype"
        )
    r = rounding
    fx, fw, bg, bw, ux, ug = (
        _along(tensor, quantizer, axis, seed, stream_after(stream, place))
        for place, (tensor, quantizer, axis) in enumerate(
            (
                (left, r.forward_x, 1),
                (weights, r.forward_w, 0),
                (gradient, r.backward_g, 1),
                (weights, r.backward_w, 1),
                (left, r.update_x, 0),
                (gradient, r.update_g, 0),
            )
        )
    )
    return ProductOperands((fx, fw), (bg, bw.T), (ux.T, ug))


def _along(x: NDArray[Any], quantizer: Quantizer | None, axis: int, seed: int | None, stream: int) -> NDArray[Any]:
    if quantizer is None:
        return x
    placed = replace(quantizer, axis=axis) if isinstance(quantizer.fmt, BlockFormat) else quantizer
    result: NDArray[Any] = placed.quantize(x, seed=seed if placed.stochastic else None, stream=stream)
    return result


def split_products(
    x: Any,
    w: Any,
    g: Any,
    rounding: SplitRounding,
    accumulator: Accumulator | MatrixUnit | None = None,
    *,
    seed: int | None = None,
    stream: int = 0,
) -> Products:
    """The three products of `product_operands` through one accumulator; None: exact sums, rounded once to the dtype.

    A stochastic accumulator draws from stream + 6, + 7 and + 8. Errors: as `product_operands` and `numerics.matmul`.
    Source: as `split_rounding`.
    """
    operands = product_operands(x, w, g, rounding, seed=seed, stream=stream)
    if accumulator is None:
        narrow = operands.forward[0].dtype == np.float32
        accumulator = Accumulator(catalog.BINARY32 if narrow else catalog.BINARY64, order="exact")
    random = isinstance(accumulator, Accumulator) and accumulator.stochastic

    def product(pair: tuple[NDArray[Any], NDArray[Any]], place: int) -> Any:
        if not random:
            return matmul(*pair, accumulator)
        return matmul(*pair, accumulator, seed=seed, stream=stream_after(stream, 6 + place))

    return Products(*(product(pair, place) for place, pair in enumerate(operands)))
