"""Formats as tables: the catalog, and the values of one format by codepoint."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from numerics import catalog
from numerics.formats import ElementFormat, FloatFormat

#: Tables of wider formats are refused unless a range of codes is asked for.
WIDEST = 16


class Line(NamedTuple):
    """A codepoint: its code, its fields in binary, its value, and its ulp."""

    code: int
    fields: str
    value: float
    ulp: float


def catalog_lines() -> list[dict[str, str]]:
    """A line for each named format: name, family, bits, range, specials, source."""
    return [
        {
            "name": name,
            "family": type(fmt).__name__.removesuffix("Format").lower(),
            "bits": str(getattr(fmt, "bits", "")),
            "max": _number(getattr(fmt, "max", None)),
            "smallest": _number(getattr(fmt, "smallest_subnormal", getattr(fmt, "quantum", None))),
            "specials": _specials(fmt),
            "source": getattr(fmt, "source", ""),
        }
        for name, fmt in catalog.FORMATS.items()
    ]


def value_lines(fmt: ElementFormat, start: int = 0, stop: int | None = None) -> list[Line]:
    """The codepoints start ... stop - 1 of a format, in order of code.

    Errors: ValueError for a range outside the format, and for all codes of a format of more than 16 bits.
    """
    if stop is None:
        if fmt.bits > WIDEST:
            raise ValueError(
                f"{fmt} has 2**{fmt.bits} codes: give a range of at most 2**{WIDEST} with --codes START:STOP"
            )
        stop = 1 << fmt.bits
    if not 0 <= start < stop <= 1 << fmt.bits or stop - start > 1 << WIDEST:
        raise ValueError(
            f"codes {start}:{stop} of {fmt}: give 0 <= START < STOP <= {1 << fmt.bits}, at most 2**{WIDEST} of them"
        )
    codes = np.arange(start, stop, dtype=np.uint64)
    values = fmt.decode(codes)
    gaps = _gaps(fmt, values)
    return [
        Line(int(code), _fields(int(code), fmt), float(value), float(gap))
        for code, value, gap in zip(codes, values, gaps, strict=True)
    ]


def _gaps(fmt: ElementFormat, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ulp of each finite value: the grid step of its binade, or, in other families, the gap to the next value."""
    gaps = np.full(values.shape, np.nan)
    finite = np.isfinite(values)
    if isinstance(fmt, FloatFormat):
        _, exponents = np.frexp(values[finite])
        exponents = np.where(values[finite] == 0, fmt.emin, np.maximum(exponents - 1, fmt.emin))
        gaps[finite] = np.ldexp(1.0, exponents - fmt.mantissa_bits)
        return gaps
    grid = np.unique(values[finite])
    upper = np.searchsorted(grid, values, side="right")
    known = finite & (upper < len(grid))
    gaps[known] = grid[upper[known]] - values[known]
    return gaps


def _fields(code: int, fmt: ElementFormat) -> str:
    text = f"{code:0{fmt.bits}b}"
    if not isinstance(fmt, FloatFormat):
        return text
    cuts = (int(fmt.signed), fmt.exponent_bits, fmt.mantissa_bits)
    parts, position = [], 0
    for width in cuts:
        if width:
            parts.append(text[position : position + width])
        position += width
    return " ".join(parts)


def _specials(fmt: object) -> str:
    found = [
        word
        for word, has in (("inf", "infinities"), ("NaN", "has_nan"), ("-0", "has_negative_zero"))
        if getattr(fmt, has, False)
    ]
    return " ".join(found)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def as_csv(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Comma-separated lines."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def as_markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


HEADER = ("code", "fields", "value", "value (hex)", "ulp")


def cells(line: Line, bits: int) -> tuple[str, ...]:
    """A line as text: hexadecimal code, fields, the shortest decimal and the exact hexadecimal value, ulp."""
    digits = -(-bits // 4)
    return (
        f"0x{line.code:0{digits}x}",
        line.fields,
        repr(line.value),
        float(line.value).hex(),
        "" if np.isnan(line.ulp) else repr(line.ulp),
    )
