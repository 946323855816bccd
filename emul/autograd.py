"""The three products of a layer as one differentiable step, each in the arithmetic its rule declares."""

from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from numerics import Accumulator, Quantizer

from . import ops
from .geometry import Geometry
from .recipe import Product, Rule

#: A call draws the words of elements step * 2**40 and following, so a tensor has 2**40 and a layer 2**24 steps.
_ELEMENT_BITS = 40


@dataclass(frozen=True)
class Draw:
    """Names the random words of one call of a layer: those of (recipe seed; layer, product, operand; step).

    The operand's own C-order index counts the elements, so a result depends neither on threads nor on how the products
    are cut into matrices. Errors: ValueError for a step of 2**24 or more, beyond which words would repeat.
    """

    seed: int
    layer: str
    step: int

    def __post_init__(self) -> None:
        if not 0 <= self.step < 1 << (64 - _ELEMENT_BITS):
            raise ValueError(
                f"layer {self.layer!r} is at training step {self.step}: random words reach to 2**{64 - _ELEMENT_BITS}"
                " steps; set layer.emulation.step = 0 and take another recipe seed"
            )

    def quantize(self, operand: Tensor, quantizer: Quantizer | None, product: str, role: str) -> Tensor:
        """The operand as the product sees it."""
        if quantizer is None:
            return operand
        key = stream(self.layer, product, role)
        return ops.quantize(operand, quantizer, seed=self.seed, stream=key, offset=self.step << _ELEMENT_BITS)

    def multiply(self, accumulator: Accumulator | None, product: str, a: Tensor, b: Tensor) -> Tensor:
        """a @ b through the accumulator, or torch's own product where there is none."""
        if accumulator is None:
            with torch.autocast(a.device.type, enabled=False):
                return torch.matmul(a, b)
        # The words of an accumulator are counted by output and rounding alone, so the step is part of the key.
        key = stream(self.layer, product, f"accumulator {self.step}") if accumulator.stochastic else 0
        try:
            return ops.matmul(a, b, accumulator, seed=self.seed, stream=key)
        except (ValueError, OverflowError) as error:
            raise type(error)(f"{product} of layer {self.layer!r}: {error}") from error


@lru_cache(maxsize=4096)
def stream(layer: str, product: str, role: str) -> int:
    """A 64-bit stream number of these names, the same in every process."""
    text = "\0".join((layer, product, role))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def layer_product(activation: Tensor, weight: Tensor, geometry: Geometry, rule: Rule, draw: Draw) -> Tensor:
    """The layer's output without bias; backward runs the rule's grad_input and grad_weight products.

    Gradients are straight-through: those of the exact product, as if no quantizer and no accumulator had rounded,
    taken of the operands that the rule declares for them. Differentiable once.
    """
    output: Tensor = _LayerProduct.apply(activation, weight, geometry, rule, draw)  # type: ignore[no-untyped-call]
    return output


class _LayerProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, activation: Tensor, weight: Tensor, geometry: Geometry, rule: Rule, draw: Draw) -> Tensor:
        ctx.geometry, ctx.rule, ctx.draw = geometry, rule, draw
        left = draw.quantize(activation, rule.forward.activation, "forward", "activation")
        right = draw.quantize(weight, rule.forward.weight, "forward", "weight")
        ctx.save_for_backward(
            _operand(activation, left, "activation", "grad_weight", rule, draw) if ctx.needs_input_grad[1] else None,
            _operand(weight, right, "weight", "grad_input", rule, draw) if ctx.needs_input_grad[0] else None,
        )
        return geometry.forward(left, right, partial(draw.multiply, rule.forward.accumulator, "forward"))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        geometry: Geometry = ctx.geometry
        rule: Rule = ctx.rule
        draw: Draw = ctx.draw
        activation, weight = ctx.saved_tensors
        of_activation = of_weight = None
        if ctx.needs_input_grad[0]:
            left = draw.quantize(gradient, rule.grad_input.gradient, "grad_input", "gradient")
            multiply = partial(draw.multiply, rule.grad_input.accumulator, "grad_input")
            of_activation = geometry.grad_input(left, weight, multiply)
        if ctx.needs_input_grad[1]:
            left = draw.quantize(gradient, rule.grad_weight.gradient, "grad_weight", "gradient")
            multiply = partial(draw.multiply, rule.grad_weight.accumulator, "grad_weight")
            of_weight = geometry.grad_weight(left, activation, multiply)
        return of_activation, of_weight, None, None, None


def _operand(original: Tensor, forward: Tensor, role: str, product: str, rule: Rule, draw: Draw) -> Tensor:
    """The operand that a backward product takes: the forward one where it has the same bits, else a quantization."""
    products: dict[str, Product] = {"forward": rule.forward, product: getattr(rule, product)}
    used, wanted = (getattr(products[name], role) for name in ("forward", product))
    if wanted == used and (wanted is None or not wanted.stochastic):
        return forward
    return draw.quantize(original, wanted, product, role)
