"""What a product can do to an operand beside rounding it by a Quantizer: records, without torch.

Each record is one stage: an array goes in, and out come values on the stage's grid and, where the stage scales, the
`Factor` that the finished product is multiplied or divided by. So a product of scaled operands runs on the numbers that
the hardware holds (codes times a power of two, integers), and one factor an operand follows its sums.

Blocks and masks lie along the axis that the product sums over, in the matrices that are multiplied; everything else
looks at the operand's own tensor as a whole. After the first stage that has blocks, later ones see these matrices too.

gradient: what of the incoming gradient passes to the stage's input x, "straight" all of it; "clipped" where x is not
beyond the largest value of the stage; "hard_tanh" where |x| <= 1; "kept" where a mask keeps it. The straight-through
estimator: Bengio, Leonard and Courville, arXiv 1308.3432.
"""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numerics import (
    BlockFormat,
    FixedFormat,
    FloatFormat,
    Quantizer,
    Rounding,
    binary,
    clipping,
    luq,
    scaling,
    sparsity,
)
from numerics.formats.integers import whole
from numerics.formats.naming import made_from, named
from numerics.luq.scale import check_levels, check_power_of_two
from numerics.sparsity.blocks import check_method, check_pattern
from numerics.sparsity.masks import METHODS
from numerics.words import check_random_bits

__all__ = [
    "LUQ",
    "MVUE",
    "SAWB",
    "Affine",
    "LinearQuant",
    "LogQuant",
    "Rounded",
    "Scaled",
    "Sign",
    "Stage",
    "StochasticSign",
    "TopN",
    "Transposable",
]


class Factor(NamedTuple):
    """What a product of values on a grid is multiplied by, or divided by, to be one of the operand's own numbers."""

    number: float
    divides: bool = False


class Applied(NamedTuple):
    """Values on the grid, of x's shape and dtype, and the factor that they lack, None for none."""

    values: NDArray[Any]
    factor: Factor | None = None


class Stage:
    """The base of the records: what the layers ask of one.

    stochastic: it needs random words. blocked: it works along the axis that the product sums over. remembers: numbers
    that it keeps from step to step, at most. A stage that remembers uses `used(past, x)`, one number, and leaves
    `after(past, x)` to the next step; past is the numbers kept so far, none at first.
    """

    passing: ClassVar[tuple[str, ...]] = ("straight",)
    default_gradient: ClassVar[str] = "straight"
    gradient: str
    stochastic: bool = False
    blocked: bool = False
    remembers: int = 0

    def apply(self, x: NDArray[Any], used: float, *, axis: int = -1, **words: Any) -> Applied:
        """x on the grid. words: seed, stream and offset, or words, where the stage is stochastic."""
        raise NotImplementedError

    def used(self, past: tuple[float, ...], x: NDArray[Any]) -> float:
        """The number that x is scaled by, from earlier steps or from x."""
        return 1.0

    def after(self, past: tuple[float, ...], x: NDArray[Any]) -> tuple[float, ...]:
        """What is kept after a step with x."""
        return ()

    def passes(self, x: NDArray[Any], used: float) -> NDArray[np.bool_] | None:
        """Where the gradient passes; None for everywhere."""
        if self.gradient == "hard_tanh":
            return binary.ste_mask(x)
        if self.gradient == "clipped":
            low, high = self.ends(used, x.dtype)
            return np.asarray((x >= low) & (x <= high))
        return None

    def ends(self, used: float, dtype: np.dtype[Any]) -> tuple[float, float]:
        """The least and the largest x that is not clipped."""
        raise NotImplementedError

    def _check_gradient(self) -> None:
        if self.gradient not in self.passing:
            raise ValueError(
                f"gradient = {self.gradient!r} of {type(self).__name__}: give {' or '.join(map(repr, self.passing))}"
            )


@dataclass(frozen=True)
class Rounded(Stage):
    """A Quantizer, and the gradient that passes it; the Quantizer by itself stands for gradient="straight".

    Blocks of a BlockFormat lie along the axis that the product sums over, whatever the quantizer's own axis.
    """

    passing: ClassVar[tuple[str, ...]] = ("straight", "clipped", "hard_tanh")
    quantizer: Quantizer
    gradient: str = field(default="straight", kw_only=True)

    def __post_init__(self) -> None:
        _check_quantizer("quantizer", self.quantizer)
        self._check_gradient()
        if self.blocked and self.gradient != "straight":
            raise ValueError(
                f"gradient = {self.gradient!r} of {self.quantizer.fmt}: what its blocks clip differs from product to"
                " product and has no place in the operand's own tensor; give 'straight'"
            )

    @property
    def stochastic(self) -> bool:  # type: ignore[override]
        """Whether the quantizer is."""
        return self.quantizer.stochastic

    @property
    def blocked(self) -> bool:  # type: ignore[override]
        """Whether the format is one of blocks."""
        return isinstance(self.quantizer.fmt, BlockFormat)

    def along(self, axis: int) -> Quantizer:
        """The quantizer with its blocks along this axis."""
        return replace(self.quantizer, axis=axis) if self.blocked else self.quantizer

    def apply(self, x: NDArray[Any], used: float, *, axis: int = -1, **words: Any) -> Applied:
        return Applied(self.along(axis).quantize(x, **words))

    def ends(self, used: float, dtype: np.dtype[Any]) -> tuple[float, float]:
        return _ends(self.quantizer)


@dataclass(frozen=True)
class LUQ(Stage):
    """Logarithmic unbiased quantization, `numerics.luq.quantize`: values are 0 and 2**k, 0 <= k < levels; alpha follows.

    alpha is that of the largest magnitude of the tensor; with eta, of the hindsight maximum, which is
    (1 - eta) max|x| + eta m of the step before, m its own; of the tensor itself at first and where m is 0.
    power_of_two: None, "up" or "down", the direction in which alpha is rounded to one. Errors: as `numerics.luq`.
    """

    passing: ClassVar[tuple[str, ...]] = ("straight", "clipped", "hard_tanh")
    levels: int = 7
    power_of_two: str | None = field(default=None, kw_only=True)
    eta: float | None = field(default=None, kw_only=True)
    random_bits: int = field(default=32, kw_only=True)
    gradient: str = field(default="straight", kw_only=True)

    def __post_init__(self) -> None:
        check_levels(self.levels)
        check_power_of_two(self.power_of_two)
        if self.eta is not None:
            luq.hindsight_max(0.0, 0.0, self.eta)
        check_random_bits(True, self.random_bits, "LUQ")
        self._check_gradient()

    stochastic = True

    @property
    def remembers(self) -> int:  # type: ignore[override]
        """One maximum where eta is given."""
        return int(self.eta is not None)

    def used(self, past: tuple[float, ...], x: NDArray[Any]) -> float:
        """alpha, a number of x's dtype."""
        if past and past[0]:
            x = np.array(past, np.float64).astype(x.dtype)
        return luq.alpha(x, self.levels, power_of_two=self.power_of_two)

    def after(self, past: tuple[float, ...], x: NDArray[Any]) -> tuple[float, ...]:
        if self.eta is None:
            return ()
        observed = scaling.amax(x)
        return (luq.hindsight_max(past[0] if past and past[0] else observed, observed, self.eta),)

    def apply(self, x: NDArray[Any], used: float, *, axis: int = -1, **words: Any) -> Applied:
        values = luq.quantize(x, self.levels, alpha=used, random_bits=self.random_bits, **words)
        if not used:
            return Applied(values)
        return Applied(values / values.dtype.type(used), Factor(used))  # exact: each is a power of two times alpha

    def ends(self, used: float, dtype: np.dtype[Any]) -> tuple[float, float]:
        top = float(np.ldexp(used, self.levels - 1))
        return -top, top


@dataclass(frozen=True)
class SAWB(Stage):
    """Symmetric integers of `bits` bits up to the clip of `numerics.clipping.sawb`, rounded to nearest even.

    values: round(x * s), between -n and n, n = 2**(bits-1) - 1, s = n / clip rounded to float32, by
    `numerics.scaling.quantize`; the product is divided by s. coefficients: a key of `numerics.clipping.SAWB`, None for
    that of `bits`. Errors: ValueError for bits outside 2 to 16 and for unknown coefficients.
    """

    passing: ClassVar[tuple[str, ...]] = ("straight", "clipped", "hard_tanh")
    bits: int = 4
    coefficients: int | str | None = field(default=None, kw_only=True)
    gradient: str = field(default="straight", kw_only=True)

    def __post_init__(self) -> None:
        _check_bits(self.bits, 2, 16)
        if self.coefficients is None:
            object.__setattr__(self, "coefficients", self.bits)
        clipping.sawb(np.zeros(0), self._key)
        self._check_gradient()

    @property
    def _key(self) -> int | str:
        assert self.coefficients is not None
        return self.coefficients

    @property
    def _quantizer(self) -> Quantizer:
        return Quantizer(FixedFormat(self.bits, symmetric=True))

    def used(self, past: tuple[float, ...], x: NDArray[Any]) -> float:
        """s."""
        return scaling.scale_of(clipping.sawb(x, self._key), 2.0 ** (self.bits - 1) - 1, power_of_two=False)

    def apply(self, x: NDArray[Any], used: float, *, axis: int = -1, **words: Any) -> Applied:
        return Applied(scaling.quantize(x, self._quantizer, scale=used).values, Factor(used, divides=True))

    def ends(self, used: float, dtype: np.dtype[Any]) -> tuple[float, float]:
        low, high = _ends(self._quantizer)
        return low / used, high / used


@dataclass(frozen=True)
class Affine(Stage):
    """GEMMLOWP's integers, `numerics.clipping.affine`: values code - zero_point; the product is multiplied by scale.

    The range is that of x; with a distribution, "laplace" or "gauss", that of `numerics.clipping.clip_range` (ACIQ).
    half_range: it begins at 0, after a ReLU. The factor is the scale rounded to the dtype of the product.
    rounding: RNE, or SR with random_bits. Errors: as these functions.
    """

    passing: ClassVar[tuple[str, ...]] = ("straight", "clipped", "hard_tanh")
    bits: int = 8
    distribution: str | None = field(default=None, kw_only=True)
    half_range: bool = field(default=False, kw_only=True)
    rounding: Rounding = field(default=Rounding.RNE, kw_only=True)
    random_bits: int | None = field(default=None, kw_only=True)
    gradient: str = field(default="straight", kw_only=True)

    def __post_init__(self) -> None:
        if self.distribution is not None:
            clipping.aciq_alpha(self.bits, self.distribution, half_range=self.half_range)
        clipping.affine(
            np.zeros(0),
            self.bits,
            half_range=self.half_range,
            rounding=self.rounding,
            random_bits=self.random_bits,
            words=np.zeros(0, np.uint32) if self.stochastic else None,
        )
        self._check_gradient()

    @property
    def stochastic(self) -> bool:  # type: ignore[override]
        """Whether it rounds so."""
        return isinstance(self.rounding, Rounding) and self.rounding.stochastic

    def _range(self, x: NDArray[Any]) -> tuple[float | None, float | None]:
        """(lo, hi) as `affine` takes them."""
        if self.distribution is None:
            return None, None
        low, high = clipping.clip_range(x, self.bits, self.distribution, half_range=self.half_range)
        return None if self.half_range else low, high

    def _codes(self, x: NDArray[Any], **words: Any) -> tuple[NDArray[Any], float, int]:
        low, high = self._range(x)
        return clipping.affine(
            x,
            self.bits,
            lo=low,
            hi=high,
            half_range=self.half_range,
            rounding=self.rounding,
            random_bits=self.random_bits,
            **words,
        )

    def apply(self, x: NDArray[Any], used: float, *, axis: int = -1, **words: Any) -> Applied:
        codes, scale, zero_point = self._codes(x, **words)
        values = (codes.astype(np.int64) - zero_point).astype(x.dtype)
        return Applied(values, Factor(scale) if scale else None)

    def passes(self, x: NDArray[Any], used: float) -> NDArray[np.bool_] | None:
        if self.gradient != "clipped":
            return super().passes(x, used)
        low, high = self._range(x)
        least = 0.0 if self.half_range else -np.inf if low is None else min(low, 0.0)
        return np.asarray((x >= least) & (x <= (np.inf if high is None else max(high, 0.0))))


@dataclass(frozen=True)
class Scaled(Stage):
    """A Quantizer of x * s, s one number a tensor, `numerics.scaling.quantize`; the product is divided by s.

    s brings the largest magnitude to the format's largest number, or to `largest`: that of the tensor itself, or, with
    a history, the largest of as many steps before it, s being 1 at first (`numerics.scaling.DelayedScale`). s is a power
    of two, rounded down, or with power_of_two=False the quotient in float32. Errors: ValueError for block formats,
    which have scales of their own, and as `DelayedScale`.
    """

    passing: ClassVar[tuple[str, ...]] = ("straight", "clipped", "hard_tanh")
    quantizer: Quantizer
    history: int | None = field(default=None, kw_only=True)
    power_of_two: bool = field(default=True, kw_only=True)
    largest: float | None = field(default=None, kw_only=True)
    gradient: str = field(default="straight", kw_only=True)

    def __post_init__(self) -> None:
        _check_quantizer("quantizer", self.quantizer)
        if not isinstance(self.quantizer.fmt, FloatFormat | FixedFormat):
            raise ValueError(
                f"quantizer of {self.quantizer.fmt}: a scale for the tensor goes with a FloatFormat or a FixedFormat;"
                " give the Quantizer by itself"
            )
        if self.largest is None:
            object.__setattr__(self, "largest", float(_ends(self.quantizer)[1]))
        self._state(())
        self._check_gradient()

    def _state(self, past: tuple[float, ...]) -> scaling.DelayedScale:
        assert self.largest is not None
        length = 1 if self.history is None else self.history
        return scaling.DelayedScale(self.largest, length, self.power_of_two, history=past)

    @property
    def stochastic(self) -> bool:  # type: ignore[override]
        """Whether the quantizer is."""
        return self.quantizer.stochastic

    @property
    def remembers(self) -> int:  # type: ignore[override]
        """The length of the history."""
        return self.history or 0

    def used(self, past: tuple[float, ...], x: NDArray[Any]) -> float:
        """s."""
        state = self._state(past)
        return (state if self.history else scaling.observe(state, x)).scale

    def after(self, past: tuple[float, ...], x: NDArray[Any]) -> tuple[float, ...]:
        return scaling.observe(self._state(past), x).history if self.history else ()

    def apply(self, x: NDArray[Any], used: float, *, axis: int = -1, **words: Any) -> Applied:
        values = scaling.quantize(x, self.quantizer, scale=used, **words).values
        return Applied(values, None if used == 1 else Factor(used, divides=True))

    def ends(self, used: float, dtype: np.dtype[Any]) -> tuple[float, float]:
        low, high = _ends(self.quantizer)
        return low / used, high / used


@dataclass(frozen=True)
class TopN(Stage):
    """The n largest magnitudes of each m along the axis that the product sums over, `numerics.sparsity.top_n`."""

    n: int = 2
    m: int = 4
    gradient: str = field(default="straight", kw_only=True)

    blocked = True

    def __post_init__(self) -> None:
        check_pattern(self.n, self.m)
        self._check_gradient()

    def apply(self, x: NDArray[Any], used: float, *, axis: int = -1, **words: Any) -> Applied:
        return Applied(sparsity.top_n(x, self.n, self.m, axis=axis))


@dataclass(frozen=True)
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
        check_random_bits(True, self.random_bits, "MVUE")
        self._check_gradient()

    def apply(self, x: NDArray[Any], used: float, *, axis: int = -1, **words: Any) -> Applied:
        values = sparsity.mvue(x, self.n, self.m, method=self.method, random_bits=self.random_bits, axis=axis, **words)
        return Applied(values)


@dataclass(frozen=True)
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

    def _mask(self, x: NDArray[Any]) -> NDArray[np.bool_]:
        matrix = x.reshape(len(x), -1) if x.ndim > 1 else x.reshape(1, -1)
        return sparsity.transposable_mask(matrix, self.n, self.m, method=self.method).reshape(x.shape)

    def apply(self, x: NDArray[Any], used: float, *, axis: int = -1, **words: Any) -> Applied:
        return Applied(np.where(self._mask(x), x, x.dtype.type(0)))

    def passes(self, x: NDArray[Any], used: float) -> NDArray[np.bool_] | None:
        return self._mask(x) if self.gradient == "kept" else None


@dataclass(frozen=True)
class Sign(Stage):
    """+1 for x >= 0 and for -0.0, else -1, `numerics.binary.sign`. Zeros that pad a convolution stay 0."""

    passing: ClassVar[tuple[str, ...]] = ("straight", "hard_tanh")
    default_gradient: ClassVar[str] = "hard_tanh"
    gradient: str = field(default="hard_tanh", kw_only=True)

    def __post_init__(self) -> None:
        self._check_gradient()

    def apply(self, x: NDArray[Any], used: float, *, axis: int = -1, **words: Any) -> Applied:
        return Applied(binary.sign(x))


@dataclass(frozen=True)
class StochasticSign(Stage):
    """+1 with probability clip((x + 1)/2, 0, 1), else -1, `numerics.binary.stochastic_sign`."""

    passing: ClassVar[tuple[str, ...]] = ("straight", "hard_tanh")
    default_gradient: ClassVar[str] = "hard_tanh"
    random_bits: int = field(default=32, kw_only=True)
    gradient: str = field(default="hard_tanh", kw_only=True)

    stochastic = True

    def __post_init__(self) -> None:
        check_random_bits(True, self.random_bits, "StochasticSign")
        self._check_gradient()

    def apply(self, x: NDArray[Any], used: float, *, axis: int = -1, **words: Any) -> Applied:
        return Applied(binary.stochastic_sign(x, random_bits=self.random_bits, **words))


@dataclass(frozen=True)
class LinearQuant(Stage):
    """clip(round(x 2**(bits-1)) 2**(1-bits), low, high), `numerics.binary.linear_quant`; high None: 1 - 2**(1-bits)."""

    passing: ClassVar[tuple[str, ...]] = ("straight", "clipped", "hard_tanh")
    bits: int
    low: float = field(default=-1.0, kw_only=True)
    high: float | None = field(default=None, kw_only=True)
    ties: str = field(default="even", kw_only=True)
    gradient: str = field(default="straight", kw_only=True)

    def __post_init__(self) -> None:
        _check_bits(self.bits, 1, 24)
        binary.linear_quant(np.zeros(1), self.bits, low=self.low, high=self.high, ties=self.ties)
        self._check_gradient()

    def apply(self, x: NDArray[Any], used: float, *, axis: int = -1, **words: Any) -> Applied:
        return Applied(binary.linear_quant(x, self.bits, low=self.low, high=self.high, ties=self.ties))

    def ends(self, used: float, dtype: np.dtype[Any]) -> tuple[float, float]:
        return self.low, 1 - 2.0 ** (1 - self.bits) if self.high is None else self.high


@dataclass(frozen=True)
class LogQuant(Stage):
    """clip(AP2(x), low, high), `numerics.binary.log_quant`."""

    passing: ClassVar[tuple[str, ...]] = ("straight", "clipped", "hard_tanh")
    low: float
    high: float
    gradient: str = field(default="straight", kw_only=True)

    def __post_init__(self) -> None:
        binary.log_quant(np.zeros(1), self.low, self.high)
        self._check_gradient()

    def apply(self, x: NDArray[Any], used: float, *, axis: int = -1, **words: Any) -> Applied:
        return Applied(binary.log_quant(x, self.low, self.high))

    def ends(self, used: float, dtype: np.dtype[Any]) -> tuple[float, float]:
        return self.low, self.high


#: What a Product takes for an operand, None aside: one of them, or several that are applied from left to right.
Operand = Quantizer | Stage | tuple[Quantizer | Stage, ...]


@lru_cache(maxsize=4096)
def stages_of(operand: Operand | None) -> tuple[Stage, ...]:
    """The stages of an operand, from left to right; none for None."""
    if operand is None:
        return ()
    given = operand if isinstance(operand, tuple) else (operand,)
    return tuple(Rounded(one) if isinstance(one, Quantizer) else one for one in given)


def checked_operand(label: str, operand: Any) -> Operand | None:
    """The operand as it is kept, a list as a tuple; or a sentence."""
    kept = tuple(operand) if isinstance(operand, list) else operand
    parts = kept if isinstance(kept, tuple) else (kept,)
    if not parts:
        raise ValueError(f"{label} = (): give the stages of the operand, or None to leave it as it is")
    for part in parts:
        if not isinstance(part, Quantizer | Stage) and kept is not None:
            raise TypeError(
                f"{label} = {named(part)}: give {made_from(part, 'numerics.Quantizer')}, or None to leave it as it is;"
                " emul.operands has more, and a tuple applies several"
            )
    stages = stages_of(kept)
    first = next((i for i, stage in enumerate(stages) if stage.blocked), len(stages))
    for stage in stages[first:]:
        if stage.gradient != "straight":
            raise ValueError(
                f"{label}: {type(stage).__name__} with gradient = {stage.gradient!r} after"
                f" {type(stages[first]).__name__}, from which on stages see the matrices of one product and not the"
                " operand's own tensor; put it before, or give gradient='straight'"
            )
    result: Operand | None = kept
    return result


def _check_quantizer(label: str, value: Any) -> None:
    if not isinstance(value, Quantizer):
        raise TypeError(f"{label} = {named(value)}: give {made_from(value, 'numerics.Quantizer')}")


def _check_bits(bits: Any, least: int, most: int) -> None:
    number = whole(bits)
    if number is None or not least <= number <= most:
        raise ValueError(f"bits = {bits!r}: give {least} to {most}")


def _ends(quantizer: Quantizer) -> tuple[float, float]:
    """The least and the largest finite value of the format."""
    fmt: Any = quantizer.fmt
    high = float(fmt.max)
    if isinstance(fmt, FixedFormat):
        return float(fmt.min), high
    return (-high if fmt.signed else 0.0), high
