"""Formats as tables: the catalog, and the values of one format by codepoint."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numerics import catalog
from numerics.formats import BlockFormat, ElementFormat, FixedFormat, FloatFormat, Format, LogFormat, PositFormat

#: Tables of wider formats are refused unless a range of codes is asked for.
WIDEST = 16
#: Widths of the P3109 formats that are listed: from the smallest of the draft (3.2) to what a table holds.
P3109_BITS = range(3, WIDEST + 1)
#: The names that spell a format, as `numerics.parse_format` reads them.
PATTERNS = (
    "e<X>m<Y>[b<bias>]",
    "s/u/int/uint<bits>[.<fraction bits>]",
    "posit<n>",
    "[u]log<i>.<f>[b<bias>]",
    "bfp<m>_<n>",
    "lba_m<M>e<E>_b<bias>[_paper]",
    "binary<K>p<P>{s|u}{e|f}",
)


class Line(NamedTuple):
    """A codepoint: its code, its fields in binary, its value, and its ulp (NaN where the value is not finite).

    ulp: the distance from the value to the next one away from zero; for the largest magnitude of a fixed-point, posit
    or log format, which has none, to the next one toward zero. In float formats it is the grid step of the value's
    binade, which goes on beyond the largest; that of the lowest binade for zero and subnormals.
    """

    code: int
    fields: str
    value: float
    ulp: float


def catalog_lines(*, p3109: bool = False) -> list[dict[str, str]]:
    """A line for each named format, all with the same columns: elements, on request those of P3109, then blocks.

    bits of a block format: storage of an element with its share of the scale.
    """
    elements = [*catalog.FORMATS.values(), *(p3109_formats() if p3109 else ())]
    return [_element_line(fmt) for fmt in elements] + [_block_line(fmt) for fmt in catalog.BLOCK_FORMATS.values()]


def p3109_formats() -> Iterator[FloatFormat]:
    """The IEEE P3109 formats of up to 16 bits whose values fit float64."""
    for bits in P3109_BITS:
        for signed in (True, False):
            for precision in range(1, bits + int(not signed)):
                for extended in (True, False):
                    try:
                        fmt = catalog.p3109(bits, precision, signed=signed, extended=extended)
                    except ValueError:  # more exponents than float64 has
                        continue
                    yield fmt


def _element_line(fmt: ElementFormat) -> dict[str, str]:
    return _line(fmt, f"{fmt.bits}", max=f"{fmt.max:.6g}", smallest=f"{_smallest(fmt):.6g}")


def _block_line(fmt: BlockFormat) -> dict[str, str]:
    return _line(
        fmt,
        f"{fmt.bits_per_element:g}",
        element=element_name(fmt) + (" symmetric" if fmt.element not in catalog.FORMATS.values() else ""),
        scale=str(fmt.scale),
        block=str(fmt.block),
        rule=fmt.rule.value + (" with a tensor scale" if fmt.tensor_scale else ""),
    )


def _line(fmt: Format, bits: str, **known: str) -> dict[str, str]:
    columns = ("max", "smallest", "specials", "element", "scale", "block", "rule")
    return {
        "name": fmt.name,
        "family": type(fmt).__name__.removesuffix("Format").lower(),
        "bits": bits,
        **{column: known.get(column, "") for column in columns},
        "specials": _specials(fmt),
        "source": fmt.source,
    }


def element_name(fmt: BlockFormat) -> str:
    """The name under which `emul table` shows a block's element: the catalog's where it has one."""
    equal = (name for name, known in catalog.FORMATS.items() if known == fmt.element)
    return next(equal, str(fmt.element))


def _smallest(fmt: ElementFormat) -> float:
    """The smallest positive value."""
    if isinstance(fmt, FixedFormat):
        return fmt.quantum
    if isinstance(fmt, PositFormat):
        return fmt.minpos
    return fmt.smallest if isinstance(fmt, LogFormat) else fmt.smallest_subnormal


def value_lines(fmt: ElementFormat, start: int = 0, stop: int | None = None) -> list[Line]:
    """The codepoints start ... stop - 1 of a format, in order of code; stop None: to the last.

    Errors: ValueError for a range outside the format, or of more than 2**16 codes, and for values that float64 lacks.
    """
    if isinstance(fmt, FixedFormat) and fmt.precision > 53:
        raise ValueError(
            f"{fmt} has values of {fmt.precision} bits, of which a table shows 53: tabulate a narrower format, or its"
            f" integers, times 2**{-fmt.fraction_bits}, by FixedFormat.integers"
        )
    end = 1 << fmt.bits
    if stop is None and end - start > 1 << WIDEST:
        raise ValueError(f"{fmt} has 2**{fmt.bits} codes: give a range of at most 2**{WIDEST} with --codes START:STOP")
    last = end if stop is None else stop
    if not 0 <= start < last <= end or last - start > 1 << WIDEST:
        raise ValueError(f"codes {start}:{last} of {fmt}: give 0 <= START < STOP <= {end}, at most 2**{WIDEST} of them")
    codes = np.arange(last - start, dtype=np.uint64) + np.uint64(start)
    values = fmt.decode(codes)
    return [
        Line(code, " ".join(_fields(code, fmt)), value, ulp)
        for code, value, ulp in zip(codes.tolist(), values.tolist(), _ulps(fmt, codes, values).tolist(), strict=True)
    ]


def _ulps(fmt: ElementFormat, codes: NDArray[np.uint64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ulp of each value, by the definition of `Line`; the same for a value and its negative."""
    finite = np.isfinite(values)
    if isinstance(fmt, FixedFormat):
        return np.full(values.shape, fmt.quantum)
    if isinstance(fmt, FloatFormat):
        exponents = np.frexp(np.where(finite, values, 0.0))[1] - 1
        exponents = np.where(values == 0, fmt.emin, np.maximum(exponents, fmt.emin))
        return np.where(finite, np.ldexp(1.0, exponents - fmt.mantissa_bits), np.nan)
    # Codes of magnitudes, in order. Differences of neighbours are exact: at most a factor of 16 lies between them.
    whole, largest = np.uint64((1 << fmt.bits) - 1), np.uint64(fmt.largest_code)
    magnitudes = np.minimum(codes, (~codes & whole) + np.uint64(1)) if isinstance(fmt, PositFormat) else codes & largest
    lower = np.minimum(magnitudes, largest - np.uint64(1))
    return np.where(finite, fmt.decode(lower + np.uint64(1)) - fmt.decode(lower), np.nan)


def _fields(code: int, fmt: ElementFormat) -> Iterator[str]:
    """The fields of a code in binary, from the top; those without bits are left out."""
    text, position = f"{code:0{fmt.bits}b}", 0
    for width in _widths(text, fmt):
        if width:
            yield text[position : position + width]
        position += width


def _widths(text: str, fmt: ElementFormat) -> tuple[int, ...]:
    if isinstance(fmt, FloatFormat):
        return int(fmt.signed), fmt.exponent_bits, fmt.mantissa_bits
    if isinstance(fmt, LogFormat):
        return int(fmt.signed), fmt.integer_bits, fmt.fraction_bits
    if isinstance(fmt, FixedFormat):
        fraction = min(max(fmt.fraction_bits, 0), fmt.precision)
        return int(fmt.signed), fmt.precision - fraction, fraction
    behind = text[1:]  # a posit: the regime is a run of equal bits and the bit that ends it
    regime = min(len(behind) - len(behind.lstrip(behind[0])) + 1, len(behind))
    exponent = min(fmt.exponent_bits, len(behind) - regime)
    return 1, regime, exponent, len(behind) - regime - exponent


def _specials(fmt: Any) -> str:
    found = [
        word
        for word, has in (("inf", "infinities"), ("NaN", "has_nan"), ("-0", "has_negative_zero"))
        if getattr(fmt, has, False)
    ]
    return " ".join(found)


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
    lines += ["| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Plain lines with the columns one below the other: for tables that are long to lay out otherwise."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, ["-" * width for width in widths], *rows):
        yield "  ".join(map(str.ljust, row, widths)).rstrip()


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
