"""The three products of a layer as one differentiable step, each in the arithmetic its rule declares."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from numerics import Accumulator, MatrixUnit, Quantizer

from . import ops
from .geometry import Geometry, Multiply
from .memory import Call, slot
from .operands import Factor, Operand, Rounded, Stage, stages_of
from .recipe import Product, Rule

#: A call draws the words of elements step * 2**40 and following, so a tensor has 2**40 and a layer 2**24 steps.
_ELEMENT_BITS = 40


class Prepared(NamedTuple):
    """An operand as far as it can be made from its own tensor.

    waiting: the stages, with their places, that need the matrices of the product. factors: what the product lacks.
    mask: where the gradient passes to the original, None for everywhere.
    """

    values: Tensor
    product: str = ""
    role: str = ""
    sample: int = 0
    waiting: tuple[tuple[int, Stage], ...] = ()
    factors: tuple[Factor, ...] = ()
    mask: Tensor | None = None


@dataclass(frozen=True)
class Draw:
    """Names the random words of one call of a layer: those of (recipe seed; layer, product, operand, sample; step).

    The operand's own C-order index counts the elements, so a result depends neither on threads nor on how the products
    are cut into matrices; where a stage works on these matrices, their index does. call: what the layer keeps from step
    to step, without which a stage that remembers is refused. Errors: ValueError for a step of 2**24 or more, beyond
    which words would repeat.
    """

    seed: int
    layer: str
    step: int
    call: Call | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.step < 1 << (64 - _ELEMENT_BITS):
            raise ValueError(
                f"layer {self.layer!r} is at training step {self.step}: random words reach to 2**{64 - _ELEMENT_BITS}"
                " steps; set layer.emulation.step = 0 and take another recipe seed"
            )

    def quantize(self, operand: Tensor, quantizer: Quantizer | None, product: str, role: str) -> Tensor:
        """The operand as the product sees it, where all that is done to it is to round it."""
        return self.prepare(operand, quantizer, product, role).values

    def prepare(
        self, tensor: Tensor, operand: Operand | None, product: str, role: str, *, sample: int = 0, masks: bool = False
    ) -> Prepared:
        """The operand up to its first stage with blocks; masks: with the mask of its gradient."""
        stages = tuple(enumerate(stages_of(operand)))
        first = next((place for place, stage in stages if stage.blocked), len(stages))
        factors, mask = [], None
        for place, stage in stages[:first]:
            used = self._used(stage, tensor, product, role, place)
            if masks and stage.gradient != "straight":
                passes = torch.from_numpy(np.asarray(stage.passes(_array(tensor), used))).to(tensor.device)
                mask = passes if mask is None else mask & passes
            tensor, factor = _applied(stage, tensor, used, -1, self._words(stage, product, role, place, sample))
            factors += [factor] if factor else []
        return Prepared(tensor, product, role, sample, stages[first:], tuple(factors), mask)

    def finish(self, prepared: Prepared, matrix: Tensor, axis: int) -> tuple[Tensor, tuple[Factor, ...]]:
        """The operand's matrix after the stages that waited for it, and all factors of the operand."""
        factors = list(prepared.factors)
        for place, stage in prepared.waiting:
            used = self._used(stage, matrix, prepared.product, prepared.role, place)
            words = self._words(stage, prepared.product, prepared.role, place, prepared.sample)
            matrix, factor = _applied(stage, matrix, used, axis, words)
            factors += [factor] if factor else []
        return matrix, tuple(factors)

    def multiplier(self, arithmetic: Product, product: str, left: Prepared, right: Prepared) -> Multiply:
        """The product of two prepared operands, as a geometry calls it once with their matrices."""

        def multiply(a: Tensor, b: Tensor) -> Tensor:
            a, of_a = self.finish(left, a, -1)
            b, of_b = self.finish(right, b, -2)
            return _scaled(self.multiply(arithmetic.accumulator, product, a, b, left.sample), (*of_a, *of_b))

        return multiply

    def multiply(
        self, accumulator: Accumulator | MatrixUnit | None, product: str, a: Tensor, b: Tensor, sample: int = 0
    ) -> Tensor:
        """a @ b through the accumulator, or torch's own product where there is none."""
        if accumulator is None:
            with torch.autocast(a.device.type, enabled=False):
                return torch.matmul(a, b)
        try:
            return ops.matmul(a, b, accumulator, seed=self.seed, stream=self.sums(accumulator, product, sample))
        except (ValueError, OverflowError) as error:
            raise type(error)(f"{product} of layer {self.layer!r}: {error}") from error

    def sums(self, accumulator: Accumulator | MatrixUnit, product: str, sample: int = 0) -> int:
        """The stream of the accumulator's words: they are counted by output and rounding alone, so the step is in it."""
        if not isinstance(accumulator, Accumulator) or not accumulator.stochastic:
            return 0
        return stream(self.layer, product, f"accumulator {self.step}" + (f" {sample}" if sample else ""))

    def _words(self, stage: Stage, product: str, role: str, place: int, sample: int) -> dict[str, int]:
        if not stage.stochastic:
            return {}
        name = f"{role} {place} {sample}" if place or sample else role
        return {
            "seed": self.seed,
            "stream": stream(self.layer, product, name),
            "offset": self.step << _ELEMENT_BITS,
        }

    def _used(self, stage: Stage, tensor: Tensor, product: str, role: str, place: int) -> float:
        if isinstance(stage, Rounded):
            return 1.0
        if not stage.remembers:
            return stage.used((), _array(tensor))
        if self.call is None:
            raise ValueError(
                f"{stage} as {role} of {product} remembers earlier steps, and {self.layer!r} is no layer that does so:"
                " call it in a layer of emul.nn, or give a stage that looks at the tensor alone"
            )
        return self.call.settle(slot(product, role, place), stage, _array(tensor))


@lru_cache(maxsize=4096)
def stream(layer: str, product: str, role: str) -> int:
    """A 64-bit stream number of these names, the same in every process."""
    text = "\0".join((layer, product, role))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


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
        ctx.geometry, ctx.rule, ctx.draw = geometry, rule, draw
        of_input, of_weight = ctx.needs_input_grad[:2]
        left = draw.prepare(activation, rule.forward.activation, "forward", "activation", masks=of_input)
        right = draw.prepare(weight, rule.forward.weight, "forward", "weight", masks=of_weight)
        later = (
            _operand(activation, left, "grad_weight", rule, draw) if of_weight else None,
            _operand(weight, right, "grad_input", rule, draw) if of_input else None,
        )
        ctx.prepared = [None if one is None else one._replace(values=_NOTHING, mask=None) for one in later]
        saved = [None if one is None else one.values for one in later]
        ctx.save_for_backward(*saved, left.mask, right.mask)
        return geometry.forward(left.values, right.values, draw.multiplier(rule.forward, "forward", left, right))

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
    left = draw.prepare(activation, rule.forward.activation, "forward", "activation", masks=activation.requires_grad)
    right = draw.prepare(weight, rule.forward.weight, "forward", "weight", masks=weight.requires_grad)
    operands = (
        original if one.values is original else _Staged.apply(original, one.values, one.mask)  # type: ignore[no-untyped-call]
        for original, one in ((activation, left), (weight, right))
    )

    def multiply(a: Tensor, b: Tensor) -> Tensor:
        output: Tensor = _Chain.apply(a, b, rule.forward, draw, left, right)  # type: ignore[no-untyped-call]
        return output

    with torch.autocast(activation.device.type, enabled=False):
        return geometry.forward(*operands, multiply)


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
        ctx.product, ctx.draw = product, draw
        a, ctx.of_a = draw.finish(left, a, -1)
        b, ctx.of_b = draw.finish(right, b, -2)
        ctx.save_for_backward(a, b)
        return _scaled(draw.multiply(product.accumulator, "forward", a, b), (*ctx.of_a, *ctx.of_b))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        a, b = ctx.saved_tensors
        of_a, of_b = _chain_gradients(a, b, gradient, ctx.product, ctx.draw)
        # Of the numbers that the values stand for: the other operand's factor is still to come, its own is not.
        return _scaled(of_a, ctx.of_b), _scaled(of_b, ctx.of_a), None, None, None, None


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


def _operand(original: Tensor, forward: Prepared, product: str, rule: Rule, draw: Draw) -> Prepared:
    """The operand that a backward product takes: the forward one where it has the same bits, else one of its own."""
    wanted = getattr(getattr(rule, product), forward.role)
    stages = stages_of(wanted)
    if stages == stages_of(getattr(rule.forward, forward.role)) and not any(stage.stochastic for stage in stages):
        return forward
    return draw.prepare(original, wanted, product, forward.role)


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
        left = draw.prepare(gradient, arithmetic.gradient, product, "gradient", sample=sample)
        one = multiply(left.values, other.values, draw.multiplier(arithmetic, product, left, other))
        total = one if total is None else total + one
    assert total is not None
    return total if arithmetic.samples == 1 else total / arithmetic.samples


def _passed(gradient: Tensor, mask: Tensor | None) -> Tensor:
    return gradient if mask is None else gradient.where(mask, 0)


def _scaled(product: Tensor, factors: tuple[Factor, ...]) -> Tensor:
    """The product of values on grids, times their factors, one after the other, each rounded to its dtype first."""
    for number, divides in factors:
        factor = torch.tensor(number, dtype=product.dtype, device=product.device)
        product = product / factor if divides else product * factor
    return product


def _applied(
    stage: Stage, tensor: Tensor, used: float, axis: int, words: dict[str, int]
) -> tuple[Tensor, Factor | None]:
    """A stage on a tensor: a quantizer where the tensor is, others on the host."""
    if isinstance(stage, Rounded):
        return ops.quantize(tensor, stage.along(axis), **words), None
    values, factor = stage.apply(_array(tensor), used, axis=axis, **words)
    return torch.from_numpy(np.ascontiguousarray(values)).to(tensor.device), factor


def _array(tensor: Tensor) -> np.ndarray[Any, np.dtype[Any]]:
    array: np.ndarray[Any, np.dtype[Any]] = tensor.detach().numpy(force=True)
    return array
