"""PTX of kernels, made where there is no device, and what operations it has."""

import re
from types import SimpleNamespace
from typing import Any

import pytest

TARGETS = {"sm_80": (8, 0), "sm_90": (9, 0)}

_INSTRUCTION = re.compile(r"^\s*(?:@!?%p\d+\s+)?([a-z][\w.]*)\s+(.*);")
_REGISTER = re.compile(r"%[a-z]+\d+")
_ADDRESS = re.compile(r"\[[^]]*\]")
_UNROUNDED = re.compile(
    r"(?:add|sub|mul|mad|fma)(?:\.ftz|\.sat)*\.f(?:32|64)|(?:div|sqrt|rcp|ex2|lg2)\.(?:approx|full)\S*"
)
# An integer limited to 32 bits, by the only conversion there is.
_CONVERSIONS = ("cvt.rzi.s64.f32",)
_FLOAT = re.compile(r"(?:add|sub|mul|fma|div|sqrt)\..*f(?:32|64)$")
_SOURCES = ("mul.hi.u32", "ld.global.", "ld.shared.", "ld.f", "ld.u", "ld.b")  # where values of 32 bits come from


def compiled(kernel: Any, signature: Any, target: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The PTX of a kernel for a compute capability; skips the test where NVVM is missing."""
    from numba import cuda
    from numba.cuda import dispatcher
    from numba.cuda.cudadrv.error import NvvmSupportError

    capability = TARGETS[target]
    # What kernels call is compiled for the device at hand.
    monkeypatch.setattr(dispatcher, "get_current_device", lambda: SimpleNamespace(compute_capability=capability))
    try:
        ptx, _ = cuda.compile(kernel.py_func, signature, cc=capability, abi="numba", output="ptx", device=False)
    except NvvmSupportError as missing:
        pytest.skip(f"NVVM, numba-cuda's compiler, is not installed: {missing}")
    return str(ptx)


def compiled_for_all(kernel: Any, signature: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The PTX for every target, by its name. Numba lowers the kernel once, which takes five times as long as NVVM."""
    from numba.cuda.codegen import CUDACodeLibrary

    lowered = []
    own = CUDACodeLibrary.get_asm_strs

    def noting(library: Any, cc: Any = None) -> Any:
        lowered.append(library)
        return own(library, cc=cc)

    monkeypatch.setattr(CUDACodeLibrary, "get_asm_strs", noting)
    first, *others = TARGETS
    codes = {first: compiled(kernel, signature, first, monkeypatch)}
    [library] = lowered
    for target in others:
        [code] = own(library, cc=TARGETS[target])
        codes[target] = str(code)
    return codes


def instructions(ptx: str) -> list[tuple[str, list[str]]]:
    """(name, operands) of every instruction of the entry point, operands with their brackets."""
    found = []
    for line in ptx[ptx.index(".entry") :].splitlines():
        if match := _INSTRUCTION.match(line):
            found.append((match[1], re.split(r",\s*(?![^{]*\})", match[2])))
    return found


def unrounded(ptx: str) -> list[str]:
    """Float operations without a rounding, which a later compiler could fuse, or which are approximations."""
    return [name for name, _ in instructions(ptx) if _UNROUNDED.fullmatch(name)]


def rounded(ptx: str) -> list[str]:
    """Float operations with their rounding."""
    return [name for name, _ in instructions(ptx) if _FLOAT.match(name) and not _UNROUNDED.fullmatch(name)]


def local_memory(ptx: str) -> list[str]:
    """What a thread keeps outside of its registers, and calls."""
    return re.findall(r"__local_depot\w*|\b(?:ld|st)\.local\S*|^\s*call\b.*", ptx, re.MULTILINE)


def widened(ptx: str) -> list[str]:
    """Operations in 64 bits on values of 32: not on addresses, counts, sizes and element numbers.

    Values are what was loaded, floats as bits, the upper halves of products (of Philox), and whatever was computed from
    these. In a kernel of 32-bit values none may be among the operands of an instruction with a 64-bit result.
    """
    code = instructions(ptx)
    values: set[str] = set()
    while True:
        before = len(values)
        for name, operands in code:
            if name.startswith(("st.", "bra", "setp", "bar", "ret", "red")) or not operands:
                continue
            results, sources = _results(operands[0]), _sources(operands[1:])
            comes = name.startswith(_SOURCES) or (name.startswith(("mov.b32", "atom")) and "%f" in " ".join(operands))
            narrow = [r for r in results if not r.startswith(("%rd", "%fd"))]
            if (comes and narrow) or sources & values:
                values.update(results if sources & values else narrow)
        if len(values) == before:
            break
    wide = []
    for name, operands in code:
        if name.startswith(("bra", "bar", "ret")) or not operands:
            continue
        sources = _sources(operands[1:])
        if name in _CONVERSIONS:
            continue
        if any(r.startswith(("%rd", "%fd")) for r in _results(operands[0])) and sources & values:
            wide.append(f"{name} {', '.join(operands)}")
        elif ".f64" in name:
            wide.append(name)
    return wide


def _results(operand: str) -> list[str]:
    return [] if "[" in operand else _REGISTER.findall(operand)


def _sources(operands: list[str]) -> set[str]:
    """Registers that are read as data: predicates and addresses do not count."""
    found = {r for operand in operands for r in _REGISTER.findall(_ADDRESS.sub("", operand))}
    return {r for r in found if not re.match(r"%p\d", r)}
