"""Calls of torch's functions as the products of matrices that layers have.

Of two operands the first has the role of the activation and the second that of the weight; the other way round where
the first alone is a weight of the module's, `Multiplied.holds`, and, if none or both are, where the first is a matrix
beside a batch of them. A weight that is one matrix is a Linear's: its gradient sums over all leading dimensions of the
activation. Other leading dimensions are a batch; an operand that is
repeated over it has torch's own sum of the gradients. What is beside the product (bias, beta, alpha) is torch's own.
"""

from collections.abc import Callable
from math import prod
from typing import Any, Protocol

import torch
from torch import Tensor

from ..geometry import BatchGeometry, ConvGeometry, Geometry, GroupGeometry, LinearGeometry
from ..nn.functional import attention
from . import einsum as letters
from .einsum import Unfit


class Multiplied(Protocol):
    """The emulated product of one call, with a name where the call has several."""

    def __call__(
        self, activation: Tensor, weight: Tensor, geometry: Geometry, part: str = "", *, shared: bool = False
    ) -> Tensor:
        """The output of the geometry's forward product; shared: whether all processes hold the same weight."""

    def holds(self, tensor: Tensor) -> bool:
        """Whether an operand is a weight: a torch.nn.Parameter, what stands in its place, or a view of it."""


def linear(product: Multiplied, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """torch.nn.functional.linear."""
    if weight.dim() == 1:
        output = _with_vectors(product, input, weight, weighted=True)
    elif weight.dim() != 2 or input.dim() < 1:
        raise Unfit("its weight is no matrix")
    else:
        _check_terms(input.shape[-1], weight.shape[-1])
        output = product(input, weight, LinearGeometry(), shared=True)
    return output if bias is None else _added(bias, output, 1, 1)


def matmul(product: Multiplied, input: Tensor, other: Tensor) -> Tensor:
    """torch.matmul, with vectors and batches."""
    return _with_vectors(product, input, other)


def rmatmul(product: Multiplied, input: Tensor, other: Tensor) -> Tensor:
    """other @ input."""
    return matmul(product, other, input)


def mm(product: Multiplied, input: Tensor, mat2: Tensor) -> Tensor:
    """torch.mm."""
    return _of(product, input, mat2, 2, 2)


def bmm(product: Multiplied, input: Tensor, mat2: Tensor) -> Tensor:
    """torch.bmm."""
    return _of(product, input, mat2, 3, 3)


def mv(product: Multiplied, input: Tensor, vec: Tensor) -> Tensor:
    """torch.mv."""
    return _of(product, input, vec, 2, 1)


def dot(product: Multiplied, input: Tensor, tensor: Tensor) -> Tensor:
    """torch.dot."""
    return _of(product, input, tensor, 1, 1)


def vdot(product: Multiplied, input: Tensor, other: Tensor) -> Tensor:
    """torch.vdot, of real numbers."""
    return _of(product, input, other, 1, 1)


def addmm(
    product: Multiplied, input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """torch.addmm: beta input + alpha (mat1 @ mat2)."""
    return _added(input, _of(product, mat1, mat2, 2, 2), beta, alpha)


def baddbmm(
    product: Multiplied, input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """torch.baddbmm."""
    return _added(input, _of(product, batch1, batch2, 3, 3), beta, alpha)


def addmv(product: Multiplied, input: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """torch.addmv."""
    return _added(input, _of(product, mat, vec, 2, 1), beta, alpha)


def grouped_mm(
    product: Multiplied,
    mat_a: Tensor,
    mat_b: Tensor,
    *,
    offs: Tensor | None = None,
    bias: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """torch.nn.functional.grouped_mm of the rows of a matrix, or of two batches; rows in no group become zeros."""
    if bias is not None or out_dtype not in (None, mat_a.dtype):
        raise Unfit("it has a bias or another type of its output, which torch has no gradient for")
    if offs is None:
        return _of(product, mat_a, mat_b, 3, 3)
    ends = tuple(offs.tolist()) if offs.dim() == 1 else ()
    if mat_a.dim() != 2 or mat_b.dim() != 3 or not len(ends) == len(mat_b) > 0:
        raise Unfit("its groups are not rows of the first operand, one for each matrix of the second")
    if list(ends) != sorted(ends) or not 0 <= ends[0] <= ends[-1] <= len(mat_a):
        raise Unfit("its offsets are not in order, or beyond the rows")
    _check_terms(mat_a.shape[-1], mat_b.shape[-2])
    return product(mat_a, mat_b.mT, GroupGeometry(ends), shared=product.holds(mat_b))


def einsum(product: Multiplied, equation: str, *operands: Any) -> Tensor:
    """torch.einsum of two operands that is one batched product; sums run over their letters as the first operand has them."""
    tensors = operands[0] if len(operands) == 1 and isinstance(operands[0], list | tuple) else operands
    if len(tensors) != 2:
        raise Unfit(f"an einsum of {len(tensors)} operands is not one product: write it as several of two")
    a, b = tensors
    _check_tensors(a, b)
    plan, of_a, of_b, sizes = letters.plan(equation, a, b)
    left = letters.matrices(a, of_a, plan.batch, plan.left, plan.summed, sizes)
    right = letters.matrices(b, of_b, plan.batch, plan.right, plan.summed, sizes)
    weights = product.holds(a), product.holds(b)
    geometry, turned, shared = (
        BatchGeometry() if plan.batch else LinearGeometry(),
        weights == (True, False),
        any(weights),
    )
    _check_terms(left.shape[-1], right.shape[-1])
    if turned:
        output = product(right, left, geometry, shared=shared).mT
    else:
        output = product(left, right, geometry, shared=shared)
    return letters.arranged(output, plan.batch + plan.left + plan.right, plan.output, sizes)


def _convolution(dims: int) -> Callable[..., Tensor]:
    def convolution(
        product: Multiplied,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        """torch.nn.functional's, of so many dimensions."""
        if weight.dim() != dims + 2 or input.dim() not in (dims + 1, dims + 2):
            raise Unfit("its operands have other dimensions")
        images = input if input.dim() == dims + 2 else input[None]
        kernel, step, gap = tuple(weight.shape[2:]), _sizes(stride, dims), _sizes(dilation, dims)
        if padding == "same":
            if max(step) > 1:
                raise Unfit("its padding is 'same' and its stride is not 1")
            reach = [spread * (taps - 1) for spread, taps in zip(gap, kernel, strict=True)]
            ends = [(length // 2, length - length // 2) for length in reach]
        else:
            ends = [(length, length) for length in _sizes(0 if padding == "valid" else padding, dims)]
        around = tuple(length for pair in reversed(ends) for length in pair)
        geometry = ConvGeometry(tuple(images.shape[2:]), kernel, step, around, gap, groups)
        if groups < 1 or images.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
            raise Unfit("its channels do not match")
        if min((*step, *gap)) < 1 or min(around) < 0 or min(geometry.output_size) < 1:
            raise Unfit("its kernel does not fit")
        if bias is not None and bias.shape != weight.shape[:1]:
            raise Unfit("its bias is not one number for each output channel")
        _check_terms(prod(weight.shape[1:]), prod(weight.shape[1:]))
        output = product(images, weight, geometry, shared=True)
        if bias is not None:
            output = _added(bias.reshape(-1, *(1,) * dims), output, 1, 1)
        return output if input.dim() == dims + 2 else output.squeeze(0)

    return convolution


def scaled_dot_product_attention(
    product: Multiplied,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """torch.nn.functional's, by `emul.nn.functional.scaled_dot_product_attention`: parts "scores" and "context"."""

    def part(name: str, activation: Tensor, weight: Tensor) -> Tensor:
        return product(activation, weight, BatchGeometry(), name)

    return attention(part, "of the call", query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)


#: By the name that a rule's `types` has; each takes the product, then the arguments of torch's function.
ADAPTERS: dict[str, Callable[..., Tensor]] = {
    "linear": linear,
    "matmul": matmul,
    "__rmatmul__": rmatmul,
    "mm": mm,
    "bmm": bmm,
    "mv": mv,
    "dot": dot,
    "vdot": vdot,
    "addmm": addmm,
    "addmv": addmv,
    "baddbmm": baddbmm,
    "grouped_mm": grouped_mm,
    "einsum": einsum,
    "conv1d": _convolution(1),
    "conv2d": _convolution(2),
    "conv3d": _convolution(3),
    "scaled_dot_product_attention": scaled_dot_product_attention,
}


def _of(product: Multiplied, a: Tensor, b: Tensor, left: int, right: int) -> Tensor:
    """matmul of operands of exactly these dimensions, with no batch of one repeated."""
    if a.dim() != left or b.dim() != right or (left == 3 and a.shape[0] != b.shape[0]):
        raise Unfit("its operands have other dimensions")
    return matmul(product, a, b)


def _with_vectors(product: Multiplied, input: Tensor, other: Tensor, weighted: bool = False) -> Tensor:
    """input @ other, of any dimensions; weighted: whether the function calls the second its weight."""
    _check_tensors(input, other)
    if not input.dim() or not other.dim():
        raise Unfit("an operand has no dimension")
    a = input if input.dim() > 1 else input[None]
    b = other if other.dim() > 1 else other[:, None]
    output = _multiplied(product, a, b, weighted)
    if other.dim() == 1:
        output = output.squeeze(-1)
    return output.squeeze(-1 if other.dim() == 1 else -2) if input.dim() == 1 else output


def _multiplied(product: Multiplied, a: Tensor, b: Tensor, weighted: bool) -> Tensor:
    """a [..., M, K] @ b [..., K, N]."""
    _check_terms(a.shape[-1], b.shape[-2])
    first, second = product.holds(a), weighted or product.holds(b)
    shared = first or second
    if (first and not second) or (first == second and a.dim() == 2 and b.dim() > 2):
        return _by_weight(product, b.mT, a, shared).mT
    return _by_weight(product, a, b.mT, shared)


def _by_weight(product: Multiplied, activation: Tensor, weight: Tensor, shared: bool) -> Tensor:
    """activation [..., M, K], weight [..., N, K] -> [..., M, N]."""
    if weight.dim() == 2:
        return product(activation, weight, LinearGeometry(), shared=shared)
    try:
        batch = torch.broadcast_shapes(activation.shape[:-2], weight.shape[:-2])  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise Unfit("its leading dimensions do not match") from error
    rows, columns = (one.expand(*batch, *one.shape[-2:]) for one in (activation, weight))
    return product(rows, columns, BatchGeometry(), shared=shared)


def _added(input: Tensor, output: Tensor, beta: float, alpha: float) -> Tensor:
    """beta input + alpha output; as torch has it, the input broadcasts to the product and not the product to it."""
    if input.dtype != output.dtype:
        raise Unfit(f"what it adds is {input.dtype} and its product {output.dtype}")
    sizes = zip(reversed(input.shape), reversed(output.shape), strict=False)
    if input.dim() > output.dim() or any(own not in (1, wanted) for own, wanted in sizes):
        raise Unfit(f"what it adds has shape {list(input.shape)} and its product {list(output.shape)}")
    output = output if alpha == 1 else output * alpha
    if beta == 0:
        return output  # torch does not look at the input then
    return output + (input if beta == 1 else input * beta)


def _sizes(value: Any, dims: int) -> tuple[int, ...]:
    sizes = tuple(value) if isinstance(value, list | tuple) else (value,)
    if len(sizes) not in (1, dims) or isinstance(value, str):
        raise Unfit(f"its sizes {value!r} are not those of {dims} dimensions")
    return sizes * dims if len(sizes) == 1 else sizes


def _check_tensors(*operands: Any) -> None:
    """A function that is written in Python, as `other @ tensor` and einsum are, gets whatever there is; torch refuses it."""
    for operand in operands:
        if not isinstance(operand, Tensor):
            raise Unfit(f"an operand is a {type(operand).__name__} and no tensor")


def _check_terms(left: int, right: int) -> None:
    if left != right:
        raise Unfit(f"it multiplies rows of {left} by columns of {right}")
    if not left:
        raise Unfit("its sums have no terms")
