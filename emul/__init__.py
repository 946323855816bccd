"""Training and inference of torch models in emulated low-precision arithmetic, and the `emul` command.

`import emul` loads neither torch nor numerics: each name below brings what it needs when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numerics import __version__

    from . import (
        binary,
        calibration,
        chain,
        clipping,
        diagnostics,
        interop,
        luq,
        nn,
        normalization,
        operands,
        optim,
        recipes,
        scaling,
        schedule,
        sparsity,
        tempered,
    )
    from .codes import decode, encode
    from .course import Course, switch_
    from .distributed import synchronize_
    from .functional.inside import inside
    from .norm import Norm
    from .ops import matmul, quantize
    from .paired import compare
    from .recipe import ChainGradient, Product, Recipe, Rule
    from .state import native_state_dict
    from .swap import restore_, swap_, swap_report

__all__ = [
    "ChainGradient",
    "Course",
    "Norm",
    "Product",
    "Recipe",
    "Rule",
    "__version__",
    "binary",
    "calibration",
    "chain",
    "clipping",
    "compare",
    "decode",
    "diagnostics",
    "encode",
    "inside",
    "interop",
    "luq",
    "matmul",
    "native_state_dict",
    "nn",
    "normalization",
    "operands",
    "optim",
    "quantize",
    "recipes",
    "restore_",
    "scaling",
    "schedule",
    "sparsity",
    "swap_",
    "swap_report",
    "switch_",
    "synchronize_",
    "tempered",
]

_HOMES = {
    "ChainGradient": "emul.recipe",
    "Course": "emul.course",
    "Norm": "emul.norm",
    "Product": "emul.recipe",
    "Recipe": "emul.recipe",
    "Rule": "emul.recipe",
    "__version__": "numerics",
    "compare": "emul.paired",
    "decode": "emul.codes",
    "encode": "emul.codes",
    "inside": "emul.functional.inside",
    "matmul": "emul.ops",
    "native_state_dict": "emul.state",
    "quantize": "emul.ops",
    "restore_": "emul.swap",
    "swap_": "emul.swap",
    "swap_report": "emul.swap",
    "switch_": "emul.course",
    "synchronize_": "emul.distributed",
}
_MODULES = (
    "binary",
    "calibration",
    "chain",
    "clipping",
    "diagnostics",
    "interop",
    "luq",
    "nn",
    "normalization",
    "operands",
    "optim",
    "recipes",
    "scaling",
    "schedule",
    "sparsity",
    "tempered",
)
_WITHOUT_TORCH = ("__version__", "recipes", "schedule")


def __getattr__(name: str) -> object:
    if name not in _MODULES and name not in _HOMES:
        raise AttributeError(f"module 'emul' has no attribute {name!r}; public are {', '.join(__all__)}")
    if name not in _WITHOUT_TORCH:
        from .extras import require

        require("torch")
    if name in _MODULES:
        return import_module(f"emul.{name}")  # the import puts it in this namespace
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
