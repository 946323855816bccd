"""Mutants of a matrix unit that aligns the products of a block: bits, directions, the place of c, the block."""

from collections.abc import Callable
from typing import Any

import numpy as np

from numerics import MatrixUnit, catalog
from numerics.properties import AccumulatorUnderTest, as_accumulator

from . import own
from .record import Mutant, Right

OPERAND = catalog.E5M2
L, F = 4, 8
UNIT = MatrixUnit(OPERAND, catalog.BINARY32, L, F)
Array = Any


def exponent(x: Array) -> Array:
    """Of the operand's leading bit; of subnormals that of the smallest normal."""
    return np.maximum(np.frexp(x)[1] - 1, OPERAND.emin)


def block(
    a: Array, b: Array, c: Array, bits: int = F, cut: Callable[[Array], Array] = np.trunc, c_inside: bool = True
) -> Array:
    """c + sum of a[..., k] b[k]: terms cut to `bits` below the largest exponent of one."""
    left, right = a[..., :, None, :], np.swapaxes(b, -1, -2)[..., None, :, :]
    terms = left * right
    places = np.where(terms != 0, exponent(left) + exponent(right), -(1 << 20))
    own_place = np.where(c != 0, np.maximum(np.frexp(c)[1] - 1, -126), -(1 << 20))
    if c_inside:
        terms = np.concatenate([terms, c[..., None]], axis=-1)
        places = np.concatenate([places, own_place[..., None]], axis=-1)
    largest = np.maximum(places.max(axis=-1, initial=-(1 << 20)), -400)
    step = np.ldexp(1.0, largest - bits)
    total = (cut(terms / step[..., None]) * step[..., None]).sum(axis=-1)
    result = total if c_inside else own.odd_sum(total, c)
    return own.near(result + 0.0, catalog.BINARY32, own.down) + 0.0


def unit(a: Array, b: Array, c: Array, length: int = L, **parts: Any) -> Array:
    """Blocks of k from left to right."""
    native = a.astype(np.float64) @ b.astype(np.float64) + c  # right where an operand is infinite or NaN
    left, right = (np.where(np.isfinite(x), x, 0).astype(np.float64) for x in (a, b))
    total = c.astype(np.float64)
    for k in range(0, a.shape[-1], length):
        total = block(left[..., k : k + length], right[..., k : k + length, :], total, **parts)
    return np.where(np.isfinite(native), total, native).astype(np.float32)


def _subject(fn: Any) -> AccumulatorUnderTest:
    return as_accumulator(fn, UNIT, takes_c=True)


RIGHT = Right("matrix unit", lambda _: _subject(unit))
_MUTANTS: list[Mutant] = []


def mutant(where: str, caught_by: str = "steps") -> Any:
    def put(fn: Any) -> Any:
        _MUTANTS.append(Mutant(fn.__name__, where, lambda _: _subject(fn), caught_by, RIGHT))
        return fn

    return put


@mutant("of a kind: models of tensor cores that differ by one alignment bit (F = 24 and 25 from one chip to the next)")
def one_alignment_bit_less(a: Array, b: Array, c: Array) -> Array:
    return unit(a, b, c, bits=F - 1)


@mutant("of a kind: a NaN or an infinity among the operands is taken for zero")
def swallows_what_is_not_finite(a: Array, b: Array, c: Array) -> Array:
    return unit(*(np.where(np.isfinite(x), x, 0).astype(np.float32) for x in (a, b)), c)


@mutant("of a kind: an extra alignment bit: sums come out too exact")
def one_alignment_bit_more(a: Array, b: Array, c: Array) -> Array:
    return unit(a, b, c, bits=F + 1)


@mutant("of a kind: two's complement terms are shifted: floor where the claim is toward zero", "product_odd")
def floor_in_the_alignment(a: Array, b: Array, c: Array) -> Array:
    return unit(a, b, c, cut=np.floor)


@mutant("of a kind: terms are rounded to nearest as they are aligned, where they are cut")
def rounds_in_the_alignment(a: Array, b: Array, c: Array) -> Array:
    return unit(a, b, c, cut=np.rint)


@mutant("of a kind: c is added after the block, not aligned with its products (MMA-Sim: late and in_align)")
def c_after_the_block(a: Array, b: Array, c: Array) -> Array:
    return unit(a, b, c, c_inside=False)


@mutant("of a kind: a block of 8 where the unit has 4")
def block_of_eight(a: Array, b: Array, c: Array) -> Array:
    return unit(a, b, c, length=2 * L)


@mutant("of a kind: fused multiply-adds in float32 one after the other, for a unit that aligns")
def chain_in_float32(a: Array, b: Array, c: Array) -> Array:
    total = c.astype(np.float64)
    for k in range(a.shape[-1]):
        product = a[..., :, k, None].astype(np.float64) * b[..., None, k, :].astype(np.float64)
        total = (total + product).astype(np.float32).astype(np.float64)
    return total.astype(np.float32)


MUTANTS = tuple(_MUTANTS)
