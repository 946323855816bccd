"""Sums rounded to odd by instructions that round downward and upward, which CUDA devices have and CPUs have not."""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._jit import by_literals, core
from .primitives import fma, for_cuda, to_bits

U32, U64 = np.uint32, np.uint64


@core
def _rest(s, x, y, z):
    """x*y + z less its nearest float s, where x*y is exact."""
    t = s - z
    return (z - (s - t)) + fma(x, y, -t)


def _make_stepped(F, direction):
    END, SIGN = F(direction * np.inf), F(direction)

    def stepped(x, y, z):
        s = fma(x, y, z)
        return np.nextafter(s, END) if _rest(s, x, y, z) * SIGN > 0 else s

    return stepped


def _typed(suffix: str, direction: int) -> Callable[..., Any]:
    def typed(typingctx: Any, x: Any, y: Any, z: Any) -> Any:
        if x not in (types.float32, types.float64) or y != x or z != x:
            return None

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            if not for_cuda(context):
                stepped = _make_stepped(np.float32 if x == types.float32 else np.float64, direction)
                return context.compile_internal(builder, stepped, signature, arguments)
            letter, width = ("f", ir.FloatType()) if x == types.float32 else ("d", ir.DoubleType())
            kind = ir.FunctionType(width, (width,) * 3)
            name = f"llvm.nvvm.fma.{suffix}.{letter}"
            return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)

        return x(x, y, z), generate

    return typed


@intrinsic
def fma_down(typingctx: Any, x: Any, y: Any, z: Any) -> Any:
    """x*y + z rounded downward. On a CPU, where it is no instruction, x*y must be exact and the sum finite."""
    return _typed("rm", -1)(typingctx, x, y, z)


@intrinsic
def fma_up(typingctx: Any, x: Any, y: Any, z: Any) -> Any:
    """x*y + z rounded upward, likewise."""
    return _typed("rp", 1)(typingctx, x, y, z)


def _make_odd_bits(U):
    ONE = U(1)

    def odd_bits(x, factor, y):
        low, high = fma_down(factor, y, x), fma_up(factor, y, x)
        toward = to_bits(low if low > 0 else high)  # of zeros, the one that is not there for the sake of its direction
        return U(toward | ONE) if low != high else toward

    return odd_bits


_odd_bits32, _odd_bits64 = core(_make_odd_bits(U32)), core(_make_odd_bits(U64))


@by_literals
def odd_bits(x, factor, y):
    """Bits of x + factor * y rounded to odd: toward zero, and the lowest bit set if inexact. A zero sum is as to nearest."""
    odd = _odd_bits32 if x == types.float32 else _odd_bits64
    return lambda x, factor, y: odd(x, factor, y)
