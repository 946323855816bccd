"""One scale a tensor: from its own largest magnitude, or delayed, from those of the steps before.

The state of delayed scaling is a frozen record, and a step is a function of it: `delayed_quantize`.
"""

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..formats import FloatFormat
from ..formats.integers import whole
from ..means import finite
from ..quantizer import Quantizer

#: E4M3 of Gaudi 2: the top exponent is that of infinities and NaN, as in IEEE 754, and 240 is the largest number.
GAUDI2_E4M3 = FloatFormat(4, 3, name="e4m3_gaudi2", source="arXiv 2409.12517, code: largest number 240")

_LEAST_EXPONENT, _MOST_EXPONENT = -126, 127  # of a scale, a normal number of float32
_LEAST = math.ldexp(1.0, _LEAST_EXPONENT)
_MOST = float(np.finfo(np.float32).max)


class Scaled(NamedTuple):
    """What is stored of a tensor: values = round(tensor * scale), float32 or float64 [...], and the scale."""

    values: NDArray[Any]
    scale: float


def amax(x: Any) -> float:
    """The largest magnitude, 0 of an empty array. Errors: TypeError for other dtypes, ValueError for non-finite ones.

    Source: arXiv 2409.12517, delayed scaling.
    """
    return float(np.abs(finite(x)).max(initial=0))


def scale_of(amax: float, largest: float, *, power_of_two: bool = True) -> float:
    """What a tensor whose largest magnitude is `amax` is multiplied by, so that it reaches up to `largest`.

    2**floor(log2(largest / amax)), exact, from exponents and fractions: amax * scale is in (largest/2, largest]. Or,
    power_of_two=False, largest / amax in float64, rounded to float32: amax * scale is within 2**-23 of largest, and may
    be above it. 1 for amax 0. A scale is a normal number of float32, in arrays of float64 too: at least 2**-126, at
    most the largest power of two, or number, of float32.
    Errors: ValueError for an amax below 0 or a largest that is not above 0, and for infinite ones.
    Source: arXiv 2409.12517, released code.
    """
    amax, largest = float(amax), float(largest)
    if not 0 <= amax < math.inf:
        raise ValueError(f"amax = {amax}: give the largest magnitude of a tensor, a finite number of at least 0")
    check_largest(largest)
    if amax == 0:
        return 1.0
    if not power_of_two:
        return float(np.float32(min(max(largest / amax, _LEAST), _MOST)))
    (top, top_exponent), (fraction, exponent) = math.frexp(largest), math.frexp(amax)
    power = top_exponent - exponent - (fraction > top)
    return math.ldexp(1.0, min(max(power, _LEAST_EXPONENT), _MOST_EXPONENT))


def check_largest(largest: float) -> None:
    """Errors: ValueError unless it is a number that can be the largest of a format."""
    if not 0 < largest < math.inf:
        raise ValueError(f"largest = {largest}: give the largest number of the format, such as 448, 240 or 57344")


def current_scale(x: Any, largest: float, *, power_of_two: bool = True) -> float:
    """`scale_of` the tensor itself: nothing overflows. Errors: as `amax` and `scale_of`. Source: as `scale_of`."""
    return scale_of(amax(x), largest, power_of_two=power_of_two)


@dataclass(frozen=True)
class DelayedScale:
    """State of delayed scaling: the largest magnitudes of up to `length` steps, the newest last.

    largest: what the largest of them is scaled to: 448 for E4M3, 240 for that of Gaudi 2, 57344 for E5M2. length: 1024
    divided by the number of data-parallel workers in the released code. Errors: ValueError for numbers out of range.
    """

    largest: float
    length: int = 1024
    power_of_two: bool = True
    history: tuple[float, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        length = whole(self.length)
        if length is None or length < 1:
            raise ValueError(f"length = {self.length!r}: give a number of steps of at least 1")
        check_largest(self.largest)
        if len(self.history) > length:
            raise ValueError(f"history of {len(self.history)} steps, length = {length}: give at most that many")
        for one in self.history:
            scale_of(one, self.largest)

    @property
    def scale(self) -> float:
        """`scale_of` the largest magnitude in the history: 1 before the first step, and where all were 0."""
        return scale_of(max(self.history, default=0.0), self.largest, power_of_two=self.power_of_two)


def observe(state: DelayedScale, x: Any) -> DelayedScale:
    """The state after a step with tensor x, of which `amax` is kept. Errors: as `amax`; the state is unchanged.

    Source: arXiv 2409.12517, delayed scaling.
    """
    history = (*state.history, amax(x))[-state.length :]
    return DelayedScale(state.largest, state.length, state.power_of_two, history=history)


def quantize(
    x: Any,
    quantizer: Quantizer,
    *,
    scale: float,
    seed: int | None = None,
    words: Any = None,
    stream: int = 0,
    offset: int = 0,
) -> Scaled:
    """round(x * scale) by the quantizer, and the scale: finite float32 or float64 [...] -> same dtype and shape.

    x * scale is rounded to the dtype first, as the released code does; for a power of two it is exact unless it leaves
    the range of the dtype's normal numbers, and the quantizer's rounding is the only one. A product beyond the dtype
    counts as its largest number. Above the format's largest number the quantizer's overflow rule applies.
    Errors: as `Quantizer.quantize`; ValueError for non-finite x, and for a scale that is no normal number of float32.
    Source: arXiv 2409.12517, released code.
    """
    array = finite(x)
    if not isinstance(quantizer, Quantizer):
        raise TypeError(f"quantizer = {quantizer!r}: give a Quantizer")
    check_scale(scale)
    ends = np.finfo(array.dtype)
    with np.errstate(over="ignore", under="ignore"):
        product = np.clip(array * array.dtype.type(scale), ends.min, ends.max)
    return Scaled(quantizer.quantize(product, seed=seed, words=words, stream=stream, offset=offset), float(scale))


def check_scale(scale: float) -> None:
    """Errors: ValueError unless it is a positive normal number within float32."""
    if not _LEAST <= scale <= _MOST:
        raise ValueError(f"scale = {scale!r}: give a positive number that is normal in float32")


def unscale(scaled: Scaled) -> NDArray[Any]:
    """values / scale, rounded to their dtype: exact where the scale is a power of two and nothing underflows.

    Errors: TypeError for other dtypes; ValueError as `quantize`, and where a quotient is beyond the dtype.
    Source: as `quantize`.
    """
    values = finite(scaled.values, "values")
    check_scale(scaled.scale)
    with np.errstate(over="ignore", under="ignore"):
        quotient = values / values.dtype.type(scaled.scale)
    if not np.isfinite(quotient).all():
        first = int(np.argmin(np.isfinite(quotient).reshape(-1)))
        raise ValueError(
            f"{values.reshape(-1)[first]} at element {first} over the scale {scaled.scale} is beyond {values.dtype}:"
            " use float64 arrays"
        )
    return np.asarray(quotient)


def delayed_quantize(
    x: Any,
    quantizer: Quantizer,
    state: DelayedScale,
    *,
    seed: int | None = None,
    words: Any = None,
    stream: int = 0,
    offset: int = 0,
) -> tuple[Scaled, DelayedScale]:
    """`quantize` by the scale of the steps before, and the state after this one.

    What is larger than everything in the history by more than the scale leaves room for overflows, once: the next scale
    knows it. Errors: as `quantize`. Source: arXiv 2409.12517, delayed scaling.
    """
    scaled = quantize(x, quantizer, scale=state.scale, seed=seed, words=words, stream=stream, offset=offset)
    return scaled, observe(state, x)
