"""Every numba option, once.

Two decorators: `core` for scalar functions that are inlined into loops, `loop` for the entry points that Python calls.
Machine code is made of entry points alone: `_inlined` says how.
Floating-point contraction and reassociation stay off (numba's default): error-free transformations depend on it.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.extending import overload

from ._inlined import Called, Core, Inlined

F = TypeVar("F", bound=Callable[..., Any])


def source_digest(folder: Path) -> str:
    """Digest of every kernel source in `folder`: part of each compile-cache entry."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


SOURCE_DIGEST = source_digest(Path(__file__).parent)


OPTIONS = {"error_model": "numpy", "nogil": True, "forceinline": True}
SCALAR = {**OPTIONS, "pipeline_class": Inlined}  # for `overload`


def core(function: F) -> F:
    """Compile a scalar function that is inlined into the loop that calls it: only then are loops vectorised."""
    compiled: Any = Core(function, targetoptions={**OPTIONS, "nopython": True}, pipeline_class=Inlined)
    return cast(F, compiled)


def loop(function: F) -> F:
    """Compile an entry point: releases the GIL and keeps its machine code on disk.

    Numba's cache notices a change of the file that holds the entry point, not of a callee in another file, and would
    run stale bits. So the stamp of its index holds the digest of all kernel sources. And each set of constants has an
    index of its own: one for hundreds of loops would be read and written whole for each of them.
    """
    compiled = numba.njit(error_model="numpy", nogil=True, cache=True, pipeline_class=Called)(function)
    cache: FunctionCache | None = getattr(compiled, "_cache", None)
    if isinstance(cache, FunctionCache):
        locator = cache._impl.locator
        cache._cache_file = IndexDataCacheFile(
            cache_path=cache._cache_path,
            filename_base=f"{cache._impl.filename_base}{_constants_of(function)}",
            source_stamp=(locator.get_source_stamp(), SOURCE_DIGEST),
        )
    typed: F = compiled
    return typed


def _constants_of(function: Callable[..., Any]) -> str:
    """A name for the numbers that the function was made for; numba itself tells all that it was made for apart."""
    values = [cell.cell_contents for cell in function.__closure__ or ()]
    numbers = [value for value in values if isinstance(value, int)]
    return "-" + hashlib.sha256(repr(numbers).encode()).hexdigest()[:12] if numbers else ""


def by_literals(choose: Callable[..., Any]) -> Callable[..., Any]:
    """A core whose body is chosen while it is compiled: `choose` sees types, of constants their literal values.

    What is not chosen is not compiled at all.
    """

    def called(*arguments: Any) -> Any:
        raise NotImplementedError(f"{choose.__name__} exists in compiled code only")

    called.__name__, called.__doc__ = choose.__name__, choose.__doc__
    overload(called, jit_options=SCALAR, prefer_literal=True)(choose)
    return called
