"""The scale of a block as a quotient: the float32 sequence of `numerics.formats.BlockFormat`, step by step.

t = fl32(maximum / largest element); s = t / tensor scale in float32, rounded to the scale's format; d = fl32(s * tensor
scale); element = round(fl32(x / d)); value = element * d, in a float32 array rounded to nearest. Quotients of float64
numbers are taken in float64 and rounded to float32: the divisors have so few bits that this is one rounding.
"""

import numpy as np
from numba import types
from numba.extending import overload

from ._jit import SCALAR, core
from .carrier import quantize_bits, saturate_bits
from .modes import RNE
from .primitives import from_bits, to_bits

U32, F32, F64 = np.uint32, np.float32, np.float64
TOP, MAGNITUDE, INF, NAN = U32(0x80000000), U32(0x7FFFFFFF), U32(0x7F800000), U32(0x7FC00000)
FINITE = U32(0x7F7FFFFF)


@core
def clamped(bits):
    """float32 bits with an infinity replaced by the largest finite number: a finite quotient only overflowed."""
    return U32(min(U32(bits & MAGNITUDE), FINITE) | U32(bits & TOP))


def _make_ratio(F):
    def ratio_scale(maximum, largest, tensor_scale, form, facts):
        t = F32(maximum / F(largest))
        ratio = F32(t / tensor_scale) if tensor_scale > F32(0) else F32(0)
        if form:
            return from_bits(saturate_bits(to_bits(ratio), np.uint32(0), RNE + form, facts))
        return from_bits(quantize_bits(to_bits(ratio), U32(0), RNE, 1, facts))

    def quotient(value, d):
        return to_bits(F32(value / F(d)))

    def special_quotient(value, d):
        positive = d > F32(0)
        bits = to_bits(F32(value / (F(d) if positive else F(1))))
        size = abs(value)
        if size < F(np.inf):
            return U32(clamped(bits) if positive else U32(bits & TOP))
        return U32(U32(bits & TOP) | INF) if size == F(np.inf) else NAN

    return ratio_scale, quotient, special_quotient


_ratio_scale32, _quotient32, _special_quotient32 = _make_ratio(F32)
_ratio_scale64, _quotient64, _special_quotient64 = _make_ratio(F64)


def ratio_scale(maximum, largest, tensor_scale, form, facts):
    """The scale (float32) of a block with this largest magnitude; largest: of an element; form, facts: of scales."""
    raise NotImplementedError("compiled code only")


@overload(ratio_scale, jit_options=SCALAR)
def _ratio_scale(maximum, largest, tensor_scale, form, facts):
    return _ratio_scale32 if maximum == types.float32 else _ratio_scale64


def quotient(value, d):
    """float32 bits of a finite value over d > 0."""
    raise NotImplementedError("compiled code only")


@overload(quotient, jit_options=SCALAR)
def _quotient(value, d):
    return _quotient32 if value == types.float32 else _quotient64


def special_quotient(value, d):
    """The same of any value and any d: a finite value over zero is zero."""
    raise NotImplementedError("compiled code only")


@overload(special_quotient, jit_options=SCALAR)
def _special_quotient(value, d):
    return _special_quotient32 if value == types.float32 else _special_quotient64
