"""The format families: frozen records of a few facts from which everything else follows."""

from .block import BlockCodes, BlockFormat, ScaleRule
from .codes import checked_codes, code_dtype
from .fixed import FixedFormat
from .floats import FloatFormat, NanEncoding, Subnormals
from .log import LogFormat
from .posit import PositFormat

#: The families whose elements stand alone: each value is rounded without looking at its neighbours.
ElementFormat = FloatFormat | FixedFormat | PositFormat | LogFormat
#: All families.
Format = ElementFormat | BlockFormat

__all__ = [
    "BlockCodes",
    "BlockFormat",
    "ElementFormat",
    "FixedFormat",
    "FloatFormat",
    "Format",
    "LogFormat",
    "NanEncoding",
    "PositFormat",
    "ScaleRule",
    "Subnormals",
    "checked_codes",
    "code_dtype",
]
