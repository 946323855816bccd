"""Libraries that only some features need: what to install where one is missing, in a sentence."""

from __future__ import annotations

from importlib.util import find_spec

REMEDY = 'pip install "emul[torch,report]"'


def missing(*names: str) -> list[str]:
    """Those of the import names that are not installed; nothing is imported to find out."""
    return [name for name in names if find_spec(name) is None]


def require(*names: str) -> None:
    """ImportError that names what is missing and the remedy; to be called before work that would be lost."""
    if absent := missing(*names):
        raise ImportError(f"not installed: {', '.join(absent)}; run: {REMEDY}")
