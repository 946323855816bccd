"""Stages that keep n of each m elements."""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from numerics import sparsity
from numerics.sparsity.blocks import check_method, check_pattern
from numerics.sparsity.masks import METHODS
from numerics.words import bits_of_words

from .stage import Applied, Stage


@dataclass(frozen=True, repr=False)
class TopN(Stage):
    """The n largest magnitudes of each m along the axis that the product sums over, `numerics.sparsity.top_n`."""

    n: int = 2
    m: int = 4
    gradient: str = field(default="straight", kw_only=True)

    blocked = True

    def __post_init__(self) -> None:
        check_pattern(self.n, self.m)
        self._check_gradient()

    def _apply(self, x: NDArray[Any], used: float, axis: int, **words: Any) -> Applied:
        return Applied(sparsity.top_n(x, self.n, self.m, axis=axis))


@dataclass(frozen=True, repr=False)
class MVUE(Stage):
    """The unbiased N:M mask of least variance along the axis that the product sums over, `numerics.sparsity.mvue`."""

    n: int = 2
    m: int = 4
    method: str = field(default="exact", kw_only=True)
    random_bits: int = field(default=32, kw_only=True)
    gradient: str = field(default="straight", kw_only=True)

    stochastic = True
    blocked = True

    def __post_init__(self) -> None:
        check_method(self.method, check_pattern(self.n, self.m)[0], METHODS)
        bits_of_words(self.random_bits)
        self._check_gradient()

    def _apply(self, x: NDArray[Any], used: float, axis: int, **words: Any) -> Applied:
        values = sparsity.mvue(x, self.n, self.m, method=self.method, random_bits=self.random_bits, axis=axis, **words)
        return Applied(values)


@dataclass(frozen=True, repr=False)
class Transposable(Stage):
    """x where `numerics.sparsity.transposable_mask` keeps it, else 0: one mask for the products of x and of x turned.

    The mask is that of the matrix [first axis, all others]: of a Linear weight both products that it enters see n of
    each m along their sums; of a convolution's the forward one, and grad_input too if the kernel is 1 x 1.
    gradient: "straight", or "kept", nothing to what the mask drops. Errors: as there.
    """

    passing: ClassVar[tuple[str, ...]] = ("straight", "kept")
    n: int = 2
    m: int = 4
    method: str = field(default="exact", kw_only=True)
    gradient: str = field(default="straight", kw_only=True)

    def __post_init__(self) -> None:
        check_pattern(self.n, self.m)
        if self.method not in ("exact", "greedy"):
            raise ValueError(f"method = {self.method!r}: give 'exact' or 'greedy'")
        self._check_gradient()

    def _kept(self, x: NDArray[Any]) -> NDArray[np.bool_]:
        matrix = x.reshape(len(x), math.prod(x.shape[1:])) if x.ndim > 1 else x.reshape(1, -1)
        return sparsity.transposable_mask(matrix, self.n, self.m, method=self.method).reshape(x.shape)

    def _apply(self, x: NDArray[Any], used: float, axis: int, **words: Any) -> Applied:
        return Applied(np.where(self._kept(x), x, x.dtype.type(0)))
