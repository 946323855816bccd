"""Mutants of blocks under a shared scale: the scale's exponent, its axis, its block, and the rounding of elements."""

from collections.abc import Callable
from typing import Any

import numpy as np

from numerics import BlockFormat, Rounding, catalog
from numerics.properties import QuantizerUnderTest, as_quantizer

from . import own
from .record import Mutant, Right

SIZE = 8
LARGEST = float(np.finfo(np.float32).max)
MX = BlockFormat(catalog.E2M1, catalog.E8M0, SIZE)
Array = Any


def exponent(amax: Array) -> Array:
    """floor(log2(amax)), exact."""
    return np.frexp(amax)[1] - 1


def quantized(
    x: Array, exponent_of: Callable[[Array], Array] = exponent, up: Any = own.even, amax_of: Any = None
) -> Array:
    """Blocks of 8 along the last axis, the last may be short; scale 2**(exponent_of(amax) - 2).

    An infinity counts as the largest float32, and a NaN makes its block NaN, whose scale alone can say so.
    """
    length = x.shape[-1]
    rows = x.reshape(-1, length).astype(np.float64)
    padded = np.pad(rows, ((0, 0), (0, -length % SIZE))).reshape(len(rows), -1, SIZE)
    missing = np.isnan(padded)
    known = np.clip(np.where(missing, 0, padded), -LARGEST, LARGEST)
    amax = np.abs(known).max(axis=-1, keepdims=True) if amax_of is None else amax_of(known)
    power = np.where(amax > 0, exponent_of(np.where(amax > 0, amax, 1)), -125)
    scale = np.ldexp(1.0, np.clip(power - 2, -127, 125).astype(int))
    result = own.near(known / scale, catalog.E2M1, up) * scale
    result[missing.any(axis=-1)] = np.nan
    return result.reshape(len(rows), -1)[:, :length].reshape(x.shape).astype(x.dtype)


def _subject(fn: Any, rounding: Rounding = Rounding.RNE) -> QuantizerUnderTest:
    return as_quantizer(fn, fmt=MX, rounding=rounding)


BLOCKS = Right("MX blocks of 8", lambda _: _subject(quantized))
_MUTANTS: list[Mutant] = []


def mutant(where: str, caught_by: str = "block_decision") -> Any:
    """Adds fn(x) to the mutants."""

    def add(fn: Any) -> Any:
        _MUTANTS.append(Mutant(fn.__name__, where, lambda _: _subject(fn), caught_by, BLOCKS))
        return fn

    return add


@mutant("microxcaling 7bc4195, brevitas 0.13.4: floor(log2(amax)) in float32, block maximum nextafter(8, 0) gets 3")
def logarithm_in_float32(x: Array) -> Array:
    return quantized(x, lambda amax: np.floor(np.log2(amax.astype(np.float32))))


@mutant("torchao PR 4725: amax goes to bfloat16 before its exponent is taken")
def maximum_in_bfloat16(x: Array) -> Array:
    return quantized(x, lambda amax: exponent(own.near(amax, catalog.BFLOAT16).astype(np.float64)))


@mutant("MASE PR 321: ceil(log2(amax)) where OCP MX v1.0 says floor")
def ceiling_for_floor(x: Array) -> Array:
    return quantized(x, lambda amax: np.ceil(np.log2(amax)))


@mutant("tilelang-metax PR 101: any mantissa bit raises the exponent, with no rounding")
def exponent_raised(x: Array) -> Array:
    return quantized(x, lambda amax: exponent(amax) + (np.frexp(amax)[0] > 0.75))


@mutant("of a kind: torch .max() without .abs(): negative blocks have the scale of their largest positive element")
def signed_maximum(x: Array) -> Array:
    return quantized(x, amax_of=lambda padded: np.abs(padded.max(axis=-1, keepdims=True)))


@mutant("slime PR 2256: a block of zeros has scale 0, and 0/0 is NaN")
def zero_block_to_nan(x: Array) -> Array:
    length = x.shape[-1]
    padded = np.pad(x.reshape(-1, length), ((0, 0), (0, -length % SIZE))).reshape(-1, SIZE)
    zero = np.repeat((padded == 0).all(axis=-1), SIZE).reshape(-1, length + -length % SIZE)[:, :length]
    return np.where(zero.reshape(x.shape), np.nan, quantized(x)).astype(x.dtype)


@mutant("MASE PR 321: rows are not padded one by one, a block straddles two rows")
def blocks_straddle_rows(x: Array) -> Array:
    return quantized(x.reshape(-1)).reshape(x.shape)


@mutant("of a kind: blocks along the first axis, where the product is summed along the last")
def along_the_other_axis(x: Array) -> Array:
    return quantized(np.ascontiguousarray(x.reshape(-1, x.shape[-1]).T)).T.reshape(x.shape)


@mutant("of a kind: one scale for a row: the largest element of all blocks decides", "block_apart")
def scale_of_the_row(x: Array) -> Array:
    return quantized(
        x,
        amax_of=lambda padded: np.broadcast_to(np.abs(padded).max(axis=(1, 2), keepdims=True), (*padded.shape[:2], 1)),
    )


@mutant("of a kind: a last short block is dropped by an integer division of the length")
def short_block_dropped(x: Array) -> Array:
    result = quantized(x)
    result[..., x.shape[-1] // SIZE * SIZE :] = 0
    return result


@mutant("microxcaling 7bc4195: round='nearest', its default, takes ties away")
def elements_tie_away(x: Array) -> Array:
    return quantized(x, up=own.away)


@mutant("of a kind: 1e-8 is added to amax against log2(0): blocks of tiny numbers get another scale")
def epsilon_in_the_maximum(x: Array) -> Array:
    return quantized(x, lambda amax: exponent(amax + 1e-8))


@mutant("of a kind: in-place clamping of the caller's tensor", "block_apart")
def writes_its_block(x: Array) -> Array:
    result = quantized(x)
    if x.flags.writeable:
        x[...] = np.clip(x, -1e4, 1e4)
    return result


@mutant("of a kind: scales below 2**-64 are flushed, as the table of powers ends there", "every_scale")
def small_scales_to_zero(x: Array) -> Array:
    result = quantized(x)
    return np.where(np.abs(x) < 2.0**-64, 0 * result, result).astype(x.dtype)


@mutant("of a kind: NaN is swallowed by fmax, and becomes zero under the scale of the others", "block_specials")
def nan_swallowed(x: Array) -> Array:
    return quantized(np.where(np.isnan(x), 0, x).astype(x.dtype))


@mutant("of a kind: a loop over whole vectors leaves the last element of uneven rows as it was", "any_blocks")
def last_of_uneven_rows(x: Array) -> Array:
    result = quantized(x)
    if x.shape[-1] % 2 and x.shape[-1] > 2 * SIZE:
        result[..., -1] = x[..., -1]
    return result


MUTANTS = tuple(_MUTANTS)
