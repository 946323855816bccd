"""The format families: frozen records of a few facts from which everything else follows."""

from .codes import checked_codes, code_dtype
from .fixed import FixedFormat
from .floats import FloatFormat, NanEncoding, Subnormals

#: The families whose elements stand alone: each value is rounded without looking at its neighbours.
ElementFormat = FloatFormat | FixedFormat

__all__ = [
    "ElementFormat",
    "FixedFormat",
    "FloatFormat",
    "NanEncoding",
    "Subnormals",
    "checked_codes",
    "code_dtype",
]
