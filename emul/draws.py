"""The random words and the operands of one call of a layer."""

from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from numerics import Accumulator, MatrixUnit, Quantizer

from . import ops
from .geometry import Multiply
from .memory import Call, slot
from .operands import Factor, Operand, Rounded, Stage, stages_of
from .operators.reading import array_of
from .recipe import Product

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
    are cut into matrices; where a stage works on these matrices, their index does. replica: which of the processes that
    train one model this is: a weight, which all of them have, draws the same words in all; activations, gradients and
    sums, of which each has its own, other words in each. shared: whether what has the role of the weight is one, and no
    activation like the keys of attention. call: what the layer keeps from step to step, without which a
    stage that remembers is refused. Errors: ValueError for a step of 2**24 or more, beyond
    which words would repeat.
    """

    seed: int
    layer: str
    step: int
    call: Call | None = field(default=None, compare=False, repr=False)
    replica: int = 0
    shared: bool = True

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
                passes = torch.from_numpy(np.asarray(stage.passes(array_of(tensor), used))).to(tensor.device)
                mask = passes if mask is None else mask & passes
            tensor, factor = applied(stage, tensor, used, -1, self._words(stage, product, role, place, sample))
            factors += [factor] if factor else []
        return Prepared(tensor, product, role, sample, stages[first:], tuple(factors), mask)

    def finish(self, prepared: Prepared, matrix: Tensor, axis: int) -> tuple[Tensor, tuple[Factor, ...]]:
        """The operand's matrix after the stages that waited for it, and all factors of the operand."""
        factors = list(prepared.factors)
        for place, stage in prepared.waiting:
            used = self._used(stage, matrix, prepared.product, prepared.role, place)
            words = self._words(stage, prepared.product, prepared.role, place, prepared.sample)
            matrix, factor = applied(stage, matrix, used, axis, words)
            factors += [factor] if factor else []
        return matrix, tuple(factors)

    def multiplier(self, arithmetic: Product, product: str, left: Prepared, right: Prepared) -> Multiply:
        """The product of two prepared operands, as a geometry calls it once with their matrices."""

        def multiply(a: Tensor, b: Tensor) -> Tensor:
            a, of_a = self.finish(left, a, -1)
            b, of_b = self.finish(right, b, -2)
            return scaled(self.multiply(arithmetic.accumulator, product, a, b, left.sample), (*of_a, *of_b))

        return multiply

    def multiply(
        self, accumulator: Accumulator | MatrixUnit | None, product: str, a: Tensor, b: Tensor, sample: int = 0
    ) -> Tensor:
        """a @ b through the accumulator, or torch's own product where there is none."""
        if accumulator is None:
            with torch.autocast(a.device.type, enabled=False):
                return torch.matmul(a, b)
        return ops.matmul(a, b, accumulator, seed=self.seed, stream=self.sums(accumulator, product, sample))

    def sums(self, accumulator: Accumulator | MatrixUnit, product: str, sample: int = 0) -> int:
        """The stream of the accumulator's words: they are counted by output and rounding alone, so the step is in it."""
        if not isinstance(accumulator, Accumulator) or not accumulator.stochastic:
            return 0
        name = f"accumulator {self.step}" + (f" {sample}" if sample else "")
        return stream(self.layer, product, name + self._of_replica)

    @property
    def _of_replica(self) -> str:
        """Nothing for the first, so that one process alone draws as it always did."""
        return f" replica {self.replica}" if self.replica else ""

    def _words(self, stage: Stage, product: str, role: str, place: int, sample: int) -> dict[str, int]:
        if not stage.stochastic:
            return {}
        name = f"{role} {place} {sample}" if place or sample else role
        if role != "weight" or not self.shared:
            name += self._of_replica
        return {
            "seed": self.seed,
            "stream": stream(self.layer, product, name),
            "offset": self.step << _ELEMENT_BITS,
        }

    def _used(self, stage: Stage, tensor: Tensor, product: str, role: str, place: int) -> float:
        if isinstance(stage, Rounded):
            return 1.0
        if not stage.remembers:
            return stage.used((), array_of(tensor))
        if self.call is None:
            raise ValueError(
                f"{stage} as {role} of {product} remembers earlier steps, and {self.layer!r} is no layer that does so:"
                " call it in a layer of emul.nn, or give a stage that looks at the tensor alone"
            )
        return self.call.settle(slot(product, role, place), stage, array_of(tensor))


@lru_cache(maxsize=4096)
def stream(layer: str, product: str, role: str) -> int:
    """A 64-bit stream number of these names, the same in every process."""
    text = "\0".join((layer, product, role))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def scaled(product: Tensor, factors: tuple[Factor, ...]) -> Tensor:
    """The product of values on grids, times their factors, one after the other, each rounded to its dtype first."""
    for number, divides in factors:
        factor = torch.tensor(number, dtype=product.dtype, device=product.device)
        product = product / factor if divides else product * factor
    return product


def applied(
    stage: Stage, tensor: Tensor, used: float, axis: int, words: dict[str, int]
) -> tuple[Tensor, Factor | None]:
    """A stage on a tensor: a quantizer where the tensor is, others on the host."""
    if isinstance(stage, Rounded):
        return ops.quantize(tensor, stage.along(axis), **words), None
    values, factor = stage.apply(array_of(tensor), used, axis=axis, **words)
    return torch.from_numpy(np.ascontiguousarray(values)).to(tensor.device), factor
