"""Formats, rounding and accumulators of low-precision hardware, emulated to the bit.

Numpy arrays in, numpy arrays out; torch lives in `emul`.
"""

from . import arithmetic, catalog, logscale, reference, spec
from .accumulator import Accumulator
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
from .parsing import parse_format
from .products import dot, matmul
from .quantizer import Quantizer
from .rounding import Overflow, Rounding
from .words import random_words

__all__ = [
    "Accumulator",
    "BlockCodes",
    "BlockFormat",
    "FixedFormat",
    "FloatFormat",
    "LogFormat",
    "NanEncoding",
    "Overflow",
    "PositFormat",
    "Quantizer",
    "Rounding",
    "ScaleRule",
    "Subnormals",
    "arithmetic",
    "catalog",
    "dot",
    "get_num_threads",
    "logscale",
    "matmul",
    "parse_format",
    "random_words",
    "reference",
    "set_num_threads",
    "spec",
]
__version__ = "0.1.0"
