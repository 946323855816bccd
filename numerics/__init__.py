"""Formats, rounding and accumulators of low-precision hardware, emulated to the bit.

Numpy arrays in, numpy arrays out; torch lives in `emul`.
"""

from . import catalog, reference, spec
from .accumulator import Accumulator
from .formats import FixedFormat, FloatFormat, NanEncoding, Subnormals
from .kernels.threads import get_num_threads, set_num_threads
from .parsing import parse_format
from .products import dot, matmul
from .quantizer import Quantizer
from .rounding import Overflow, Rounding
from .words import random_words

__all__ = [
    "Accumulator",
    "FixedFormat",
    "FloatFormat",
    "NanEncoding",
    "Overflow",
    "Quantizer",
    "Rounding",
    "Subnormals",
    "catalog",
    "dot",
    "get_num_threads",
    "matmul",
    "parse_format",
    "random_words",
    "reference",
    "set_num_threads",
    "spec",
]
__version__ = "0.1.0"
