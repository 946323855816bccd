"""Every option of numba-cuda, once: kernels whose floating-point operations nothing may fuse, and what they call.

A kernel's body moves data and counts; arithmetic is in cores, compiled for either target. In numba-cuda's simulator the
body is Python and the cores are the CPU's.
"""

import re
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba import cuda, types
from numba.core import config
from numba.np.numpy_support import as_dtype

from .._jit import core, loop

F = TypeVar("F", bound=Callable[..., Any])
SIMULATED = bool(config.ENABLE_CUDASIM)

# A float operation that says its rounding is never fused with another one, by no later compiler.
_UNROUNDED = re.compile(rb"\b(?:add|sub|mul|mad)(?:\.ftz|\.sat)*\.(?:f32|f64)\b")
_OURS = "numerics7kernels"  # as names of this package are mangled


def kernel(function: F) -> F:
    """Compile an entry point for the GPU, when it is first launched, without contraction of products and sums."""
    compiled: F = cuda.jit(function)
    return compiled


def device(function: F) -> F:
    """A core that a kernel's body calls. In the simulator its results keep their types: Python has one float, one int.

    There Python calls it, and every process would compile it anew: it is an entry point, kept on disk.
    """
    if not SIMULATED:
        return function if hasattr(function, "py_func") else core(function)
    compiled: Any = loop(getattr(function, "py_func", function))

    def called(*arguments: Any) -> Any:
        result = compiled(*arguments)
        overloads = compiled.overloads
        if len(overloads) == 1:  # to ask for the types of all facts takes longer than the call
            [overload] = overloads.values()
        else:
            overload = overloads[tuple(numba.typeof(x) for x in arguments)]
        return _typed(result, overload.signature.return_type)

    return cast(F, called)


def moves(function: F) -> F:
    """A part of kernels' bodies that has a name: it moves data and counts, and is inlined. It says nothing of `cuda`."""
    return function if SIMULATED else cast(F, cuda.jit(device=True, forceinline=True)(function))


def _typed(value: Any, kind: Any) -> Any:
    if isinstance(kind, types.BaseTuple):
        parts = [_typed(v, k) for v, k in zip(value, kind.types, strict=True)]
        return kind.instance_class(*parts) if isinstance(kind, types.BaseNamedTuple) else tuple(parts)
    if isinstance(kind, types.Array):
        return value
    return as_dtype(kind).type(value)


def check_rounded(ptx: bytes) -> None:
    """Refuse code in which a float operation leaves its rounding, and so its fusing, to whoever compiles it further."""
    if found := _UNROUNDED.search(ptx):
        raise RuntimeError(
            f"compiled code has a {found.group().decode()} without a rounding, which could be fused with another operation:"
            " this numba-cuda ignores -fma=0; please report its version"
        )


def _without_contraction(compile_ir: Callable[..., bytes]) -> Callable[..., bytes]:
    """numba-cuda offers no option for this: NVVM is asked where it is called, and only for kernels of this package."""

    def compile_strictly(llvmir: Any, **options: Any) -> bytes:
        ours = _OURS in (llvmir if isinstance(llvmir, str) else "".join(llvmir))
        if not ours:
            return compile_ir(llvmir, **options)
        ptx = compile_ir(llvmir, **{**options, "fma": False})
        if "gen-lto" not in options:
            check_rounded(ptx)
        return ptx

    return compile_strictly


if SIMULATED:
    from ._simulator import repair

    repair()
else:
    from numba.cuda.cudadrv import nvvm

    nvvm.compile_ir = _without_contraction(nvvm.compile_ir)
