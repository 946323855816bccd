"""The three products of a layer as one differentiable step, each in the arithmetic its rule declares."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from numerics import Accumulator

from . import ops
from .chain import chain_gradients
from .culprits import told
from .draws import Draw, Prepared, scaled, stream
from .geometry import Geometry, Multiply
from .once import anchor, once_differentiable
from .operands import stages_of
from .recipe import Product, Rule

__all__ = ["Draw", "layer_product", "ops", "stream"]


def layer_product(activation: Tensor, weight: Tensor, geometry: Geometry, rule: Rule, draw: Draw) -> Tensor:
    """The layer's output without bias; backward runs the rule's grad_input and grad_weight products.

    Gradients are straight-through: those of the exact product, as if no quantizer and no accumulator had rounded,
    taken of the operands that the rule declares for them; then zero where a stage of the forward operand stops them. With
    a chain the gradient of the sums is that of the accumulator's own steps instead. Differentiable once.
    """
    if rule.forward.chain is not None:
        return _chain_product(activation, weight, geometry, rule, draw)
    output: Tensor = _LayerProduct.apply(activation, weight, geometry, rule, draw)  # type: ignore[no-untyped-call]
    return output


class _LayerProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, activation: Tensor, weight: Tensor, geometry: Geometry, rule: Rule, draw: Draw) -> Tensor:
        anchor(ctx, activation, weight)
        ctx.geometry, ctx.rule, ctx.draw = geometry, rule, draw
        of_input, of_weight = ctx.needs_input_grad[:2]
        left, right = _forward_operands(activation, weight, rule, draw, (of_input, of_weight))
        later = (
            _operand(activation, left, "grad_weight", rule, draw, of_weight),
            _operand(weight, right, "grad_input", rule, draw, of_input),
        )
        ctx.prepared = [None if one is None else one._replace(values=_NOTHING, mask=None) for one in later]
        saved = [None if one is None else one.values for one in later]
        ctx.save_for_backward(*saved, left.mask, right.mask)
        with told(
            f"forward of layer {draw.layer!r}",
            {"activation": activation, "weight": weight},
            {"activation": left.values, "weight": right.values},
        ):
            output = geometry.forward(left.values, right.values, draw.multiplier(rule.forward, "forward", left, right))
        # A view that is made in here may not be changed in place, as relu_ and += do; torch's own products are none.
        return torch.ops.aten._unsafe_view(output, output.shape) if output._is_view() else output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rule: Rule = ctx.rule
        draw: Draw = ctx.draw
        *values, mask_input, mask_weight = ctx.saved_tensors
        activation, weight = (
            None if one is None else one._replace(values=kept) for one, kept in zip(ctx.prepared, values, strict=True)
        )
        of_activation = of_weight = None
        if weight is not None:
            product = partial(_gradient_product, ctx.geometry.grad_input, rule.grad_input, "grad_input", draw)
            of_activation = _passed(product(gradient, weight), mask_input)
        if activation is not None:
            product = partial(_gradient_product, ctx.geometry.grad_weight, rule.grad_weight, "grad_weight", draw)
            of_weight = _passed(product(gradient, activation), mask_weight)
        if draw.call is not None:
            draw.call.commit()
        return of_activation, of_weight, None, None, None


def _chain_product(activation: Tensor, weight: Tensor, geometry: Geometry, rule: Rule, draw: Draw) -> Tensor:
    """The same where the gradient runs through the sums: torch's own gradients of all that a geometry does around them."""
    left, right = _forward_operands(activation, weight, rule, draw, (activation.requires_grad, weight.requires_grad))

    def multiply(a: Tensor, b: Tensor) -> Tensor:
        output: Tensor = _Chain.apply(a, b, rule.forward, draw, left, right)  # type: ignore[no-untyped-call]
        return output

    operands = {"activation": activation, "weight": weight}, {"activation": left.values, "weight": right.values}
    with told(f"forward of layer {draw.layer!r}", *operands), torch.autocast(activation.device.type, enabled=False):
        return geometry.forward(_staged(activation, left), _staged(weight, right), multiply)


def _forward_operands(
    activation: Tensor, weight: Tensor, rule: Rule, draw: Draw, masks: tuple[bool, bool]
) -> tuple[Prepared, Prepared]:
    return (
        _prepared(draw, activation, rule.forward, "forward", "activation", masks=masks[0]),
        _prepared(draw, weight, rule.forward, "forward", "weight", masks=masks[1]),
    )


def _prepared(
    draw: Draw, tensor: Tensor, arithmetic: Product, product: str, role: str, *, sample: int = 0, masks: bool = False
) -> Prepared:
    with told(f"{product} of layer {draw.layer!r}", {role: tensor}, {}):
        return draw.prepare(tensor, getattr(arithmetic, role), product, role, sample=sample, masks=masks)


def _staged(original: Tensor, prepared: Prepared) -> Tensor:
    if prepared.values is original:
        return original
    values: Tensor = _Staged.apply(original, prepared.values, prepared.mask)  # type: ignore[no-untyped-call]
    return values


class _Staged(torch.autograd.Function):
    """An operand's values, and its gradient straight through where the mask lets it pass."""

    @staticmethod
    def forward(ctx: Any, original: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        ctx.save_for_backward(mask)
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return _passed(gradient, *ctx.saved_tensors), None, None


class _Chain(torch.autograd.Function):
    """The emulated product of two matrices whose gradient replays its sums."""

    @staticmethod
    def forward(
        ctx: Any, a: Tensor, b: Tensor, product: Product, draw: Draw, left: Prepared, right: Prepared
    ) -> Tensor:
        anchor(ctx, a, b)
        ctx.product, ctx.draw = product, draw
        a, ctx.of_a = draw.finish(left, a, -1)
        b, ctx.of_b = draw.finish(right, b, -2)
        ctx.save_for_backward(a, b)
        return scaled(draw.multiply(product.accumulator, "forward", a, b), (*ctx.of_a, *ctx.of_b))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        a, b = ctx.saved_tensors
        with told(f"the gradient of forward of layer {ctx.draw.layer!r}", {"gradient": gradient}, {}):
            of_a, of_b = _chain_gradients(a, b, gradient, ctx.product, ctx.draw)
        # Of the numbers that the values stand for: the other operand's factor is still to come, its own is not.
        return scaled(of_a, ctx.of_b), scaled(of_b, ctx.of_a), None, None, None, None


def _chain_gradients(a: Tensor, b: Tensor, gradient: Tensor, product: Product, draw: Draw) -> tuple[Tensor, Tensor]:
    chain, accumulator = product.chain, product.accumulator
    assert chain is not None
    assert isinstance(accumulator, Accumulator)
    return chain_gradients(
        a,
        b,
        gradient,
        accumulator,
        rule=chain.rule,
        event=chain.event,
        tolerance=chain.tolerance,
        seed=draw.seed,
        stream=draw.sums(accumulator, "forward"),
    )


#: In the place of values that autograd keeps.
_NOTHING = torch.empty(0)


def _operand(
    original: Tensor, forward: Prepared, product: str, rule: Rule, draw: Draw, needed: bool
) -> Prepared | None:
    """The operand that a backward product takes: the forward one where it has the same bits, else one of its own.

    What remembers looks at its tensor in every forward, needed or not: a checkpoint's first forward needs no gradient.
    """
    arithmetic: Product = getattr(rule, product)
    wanted = getattr(arithmetic, forward.role)
    stages = stages_of(wanted)
    if not needed:
        if draw.call is not None and any(stage.remembers for stage in stages):
            _prepared(draw, original, arithmetic, product, forward.role)
        return None
    if stages == stages_of(getattr(rule.forward, forward.role)) and not any(stage.stochastic for stage in stages):
        return forward
    return _prepared(draw, original, arithmetic, product, forward.role)


def _gradient_product(
    multiply: Callable[[Tensor, Tensor, Multiply], Tensor],
    arithmetic: Product,
    product: str,
    draw: Draw,
    gradient: Tensor,
    other: Prepared,
) -> Tensor:
    """A backward product: the mean of as many as there are samples of the gradient, added in their order."""
    total: Tensor | None = None
    for sample in range(arithmetic.samples):
        left = _prepared(draw, gradient, arithmetic, product, "gradient", sample=sample)
        values = {"gradient": left.values, other.role: other.values}
        with told(f"{product} of layer {draw.layer!r}", {"gradient": gradient, other.role: None}, values):
            one = multiply(left.values, other.values, draw.multiplier(arithmetic, product, left, other))
        total = one if total is None else total + one
    assert total is not None
    return total if arithmetic.samples == 1 else total / arithmetic.samples


def _passed(gradient: Tensor, mask: Tensor | None) -> Tensor:
    return gradient if mask is None else gradient.where(mask, 0)
