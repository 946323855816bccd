"""Formats from their names."""

import difflib
import re

from . import catalog
from .formats import FixedFormat, FloatFormat, Format, LogFormat
from .formats.naming import named
from .formats.spelling import NAMED

_ALIASES = {
    "float16": "binary16",
    "half": "binary16",
    "fp16": "binary16",
    "float32": "binary32",
    "fp32": "binary32",
    "float64": "binary64",
    "fp64": "binary64",
    "bf16": "bfloat16",
    "float8_e3m4": "e3m4",
    "float8_e4m3": "e4m3",
    "float8_e4m3b11fnuz": "e4m3b11fnuz",
    "float8_e4m3fn": "e4m3fn",
    "float8_e5m2": "e5m2",
    "float8_e4m3fnuz": "e4m3fnuz",
    "float8_e5m2fnuz": "e5m2fnuz",
    "float8_e8m0fnu": "e8m0",
    "float6_e3m2fn": "e3m2",
    "float6_e2m3fn": "e2m3",
    "float4_e2m1fn": "e2m1",
    "float4_e2m1fn_x2": "e2m1",
}
_MOST_DIGITS = 20  # of a number in a name; Python converts no more than some thousands, and none is of use
_IEEE_LAYOUT = re.compile(r"e(\d+)m(\d+)(?:b(-?\d+))?", re.ASCII)
_LBA = re.compile(r"lba_m(\d+)e(\d+)_b(-?\d+)(_paper)?", re.ASCII)
_FIXED = re.compile(r"(int|uint|s|u)(\d+)(?:\.(-?\d+))?", re.ASCII)
_BFP = re.compile(r"bfp(\d+)_(\d+)", re.ASCII)
_POSIT = re.compile(r"posit(\d+)", re.ASCII)
_LOG = re.compile(r"(u?)log(\d+)\.(\d+)(?:b(-?\d+))?", re.ASCII)
_P3109 = re.compile(r"binary(\d+)p(\d+)([su])([ef])", re.ASCII)


def parse_format(name: str) -> Format:
    """The format of this name: a catalog entry, a name of torch or ml_dtypes, or one that says what the format is.

    e3m2, e2m3 and e2m1 are the OCP formats without specials; any other eXmY is the IEEE layout (infinities, NaNs,
    subnormals), so e4m3 is not OCP's e4m3fn; `b<bias>` behind it changes the bias. binary<K>p<P>, then s or u, e or f: IEEE
    P3109 (`catalog.p3109`), with a sign or without, extended or finite. s, u, int or uint, then <bits>[.<fraction bits>]:
    fixed point. lba_m<M>e<E>_b<bias>[_paper]: `catalog.lba`. posit<bits>. bfp<m>_<n>: blocks of n mantissas of m bits,
    sign included (`catalog.bfp`). [u]log<i>.<f>[b<bias>]: a logarithm of i + f bits. Capitals and blanks around do not count.
    Errors: TypeError for what is no string; ValueError for an unknown name, listing what is known, and for a format that
    cannot be.
    """
    if not isinstance(name, str):
        raise TypeError(f"format name {name!r}: give a string such as 'e4m3fn'")
    text = name.strip().lower()
    text = _ALIASES.get(text, text)
    if text in catalog.FORMATS:
        return catalog.FORMATS[text]
    if text in catalog.BLOCK_FORMATS:
        return catalog.BLOCK_FORMATS[text]
    digits = max(map(len, re.findall(r"\d+", text)), default=0)
    if digits > _MOST_DIGITS:
        raise ValueError(
            f"{named(name)} has a number of {digits} digits: widths and biases have at most {_MOST_DIGITS} in a format's"
            " name; use a smaller one"
        )
    if match := _IEEE_LAYOUT.fullmatch(text):
        exponent_bits, mantissa_bits, bias = match.groups()
        return FloatFormat(int(exponent_bits), int(mantissa_bits), int(bias) if bias else None, name=text)
    if match := _LBA.fullmatch(text):
        mantissa_bits, exponent_bits, bias, paper = match.groups()
        return catalog.lba(int(mantissa_bits), int(exponent_bits), int(bias), paper=paper is not None)
    if match := _FIXED.fullmatch(text):
        sign, bits, fraction_bits = match.groups()
        return FixedFormat(int(bits), int(fraction_bits or 0), signed=sign in ("s", "int"), name=text)
    if match := _BFP.fullmatch(text):
        return catalog.bfp(int(match[1]), int(match[2]))
    if match := _POSIT.fullmatch(text):
        return catalog.posit(int(match[1]))
    if match := _LOG.fullmatch(text):
        unsigned, integer_bits, fraction_bits, bias = match.groups()
        return LogFormat(int(integer_bits), int(fraction_bits), bias=int(bias or 0), signed=not unsigned, name=text)
    if match := _P3109.fullmatch(text):
        return catalog.p3109(int(match[1]), int(match[2]), signed=match[3] == "s", extended=match[4] == "e")
    known = [*catalog.FORMATS, *catalog.BLOCK_FORMATS]
    near = difflib.get_close_matches(text, known, n=3, cutoff=0.6)
    nearest = f"the nearest are {', '.join(near)}; " if near else ""
    raise ValueError(
        f"no format is named {named(name)}: {nearest}known are {', '.join(known)}; also e<X>m<Y>[b<bias>],"
        " binary<K>p<P>s|u e|f (IEEE P3109),"
        " s|u|int|uint<bits>[.<fraction bits>], lba_m<M>e<E>_b<bias>[_paper], posit<n>,"
        " [u]log<integer bits>.<fraction bits>[b<bias>], bfp<mantissa bits>_<block>; fp16, bf16 and the like, and the"
        " names of torch and ml_dtypes"
    )


NAMED.append((Format, "parse_format({})", parse_format))
