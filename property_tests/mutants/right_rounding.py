"""Right roundings, and what the claims about them are."""

from typing import Any

import numpy as np

from numerics import FixedFormat, FloatFormat, NanEncoding, Overflow, Rounding, catalog
from numerics.properties import QuantizerUnderTest, as_quantizer

from . import own
from .record import Mutant, Right

SMALL = FloatFormat(4, 2, infinities=False, nan=NanEncoding.TOP_CODE, name="e4m2")
IEEE = FloatFormat(4, 2, name="e4m2 with infinities")
FIXED = FixedFormat(6, 2)
Array = Any


def subject(fn: Any, fmt: Any = SMALL, mode: Rounding = Rounding.RNE, **claims: Any) -> QuantizerUnderTest:
    return as_quantizer(fn, fmt=fmt, rounding=mode, **claims)


def _of(up: Any, mode: Rounding, **claims: Any) -> Any:
    return lambda _: subject(own.rounder(SMALL, up), SMALL, mode, **claims)


RNE = Right("to nearest, ties to even", _of(own.even, Rounding.RNE))
RNA = Right("to nearest, ties away", _of(own.away, Rounding.RNA))
RTZ = Right("toward zero", _of(own.down, Rounding.RTZ))
RTP = Right("toward plus infinity", _of(own.upward, Rounding.RTP))
RTO = Right("to odd", _of(own.odd, Rounding.RTO))
WIDE = Right("from float64", _of(own.even, Rounding.RNE, dtype=np.float64))
INF = Right(
    "to nearest, overflow to infinity",
    lambda _: subject(own.rounder(IEEE, own.even, own.to_infinity), IEEE, overflow=Overflow.IEEE),
)
E4M3 = Right("e4m3fn", lambda _: subject(own.rounder(catalog.E4M3, own.even), catalog.E4M3))
E5M10 = Right("binary16", lambda _: subject(own.rounder(catalog.BINARY16, own.even), catalog.BINARY16))
FIX = Right(
    "fixed point, ties away",
    lambda _: subject(own.rounder(FIXED, own.away, own.saturate_fixed, own.split_fixed), FIXED, Rounding.RNA),
)
POWERS = FloatFormat(3, 0, infinities=False, nan=NanEncoding.NONE, name="e3m0")
POWER = Right("powers of two", lambda _: subject(own.rounder(POWERS, own.away), POWERS, Rounding.RNA))


def into(found: list[Mutant]) -> Any:
    """The decorator mutant(where, caught_by, twin): adds fn(x) to a list of mutants, under the claims of its twin."""

    def mutant(where: str, caught_by: str, twin: Right = RNE) -> Any:

        def add(fn: Any) -> Any:
            def make(_: int) -> QuantizerUnderTest:
                right = twin.make(0)
                assert isinstance(right, QuantizerUnderTest)
                return subject(
                    fn, right.fmt, right.rounding, overflow=right.overflow, dtype=right.dtype, name=str(fn.__name__)
                )

            found.append(Mutant(fn.__name__, where, make, caught_by, twin))
            return fn

        return add

    return mutant
