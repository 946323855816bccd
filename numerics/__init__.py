"""Formats, rounding and accumulators of low-precision hardware, emulated to the bit.

Numpy arrays in, numpy arrays out; torch lives in `emul`.
"""

from . import (
    arithmetic,
    binary,
    catalog,
    clipping,
    diagnostics,
    logscale,
    luq,
    normalization,
    reference,
    scaling,
    sparsity,
    spec,
    tempered,
    theory,
)
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
