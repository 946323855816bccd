"""Formats, rounding and accumulators of low-precision hardware, emulated to the bit.

Numpy arrays in, numpy arrays out; torch lives in `emul`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from . import arithmetic, catalog, logscale, reference, spec, theory
from .accumulator import Accumulator
from .events import Events
from .formats import (
    BlockCodes,
    BlockFormat,
    FixedFormat,
    FloatFormat,
    LogFormat,
    NanEncoding,
    PositFormat,
    ScaleRule,
    Subnormals,
)
from .kernels.threads import get_num_threads, set_num_threads
from .matrix_unit import MatrixUnit
from .parsing import parse_format
from .planning import Plan
from .products import dot, matmul, plan, plans
from .quantizer import Quantizer
from .rounding import Overflow, Rounding
from .sizing import size_accumulator
from .words import random_words

if TYPE_CHECKING:
    from . import binary, clipping, diagnostics, luq, normalization, scaling, sparsity, tempered
    from .chains import chain_gradients, chain_masks

__all__ = [
    "Accumulator",
    "BlockCodes",
    "BlockFormat",
    "Events",
    "FixedFormat",
    "FloatFormat",
    "LogFormat",
    "MatrixUnit",
    "NanEncoding",
    "Overflow",
    "Plan",
    "PositFormat",
    "Quantizer",
    "Rounding",
    "ScaleRule",
    "Subnormals",
    "arithmetic",
    "binary",
    "catalog",
    "chain_gradients",
    "chain_masks",
    "clipping",
    "diagnostics",
    "dot",
    "get_num_threads",
    "logscale",
    "luq",
    "matmul",
    "normalization",
    "parse_format",
    "plan",
    "plans",
    "random_words",
    "reference",
    "scaling",
    "set_num_threads",
    "size_accumulator",
    "sparsity",
    "spec",
    "tempered",
    "theory",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """The published quantizers and estimators, each imported when it is first used: `import numerics` is quick."""
    match name:
        case "binary":
            return import_module("numerics.binary")
        case "chain_gradients" | "chain_masks":
            return getattr(import_module("numerics.chains"), name)
        case "clipping":
            return import_module("numerics.clipping")
        case "diagnostics":
            return import_module("numerics.diagnostics")
        case "luq":
            return import_module("numerics.luq")
        case "normalization":
            return import_module("numerics.normalization")
        case "scaling":
            return import_module("numerics.scaling")
        case "sparsity":
            return import_module("numerics.sparsity")
        case "tempered":
            return import_module("numerics.tempered")
    raise AttributeError(f"module 'numerics' has no attribute {name!r}; public are {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
