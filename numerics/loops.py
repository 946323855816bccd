"""Which compiled loop rounds an array to a format, and with what facts: decided once for each kind of call."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from .formats import ElementFormat, FloatFormat, LogFormat, Subnormals
from .kernels import elementwise, modes
from .log_rows import as_float
from .parameters import (
    Carrier,
    clamped_end,
    direct_code,
    fast_form,
    hasty_form,
    loop_row,
    plain_end,
    short_code,
    stochastic_form,
)
from .rounding import Overflow, Rounding


class Loop(NamedTuple):
    """A compiled loop, its row, and the SAW_ flags that are errors."""

    run: Callable[..., Any]
    row: Any
    errors: int


class Choice(NamedTuple):
    """The constants that a loop or a CUDA kernel is compiled for, its row, and the SAW_ flags that are errors."""

    mode: int
    normalise: int
    row: Any
    errors: int


@lru_cache(maxsize=4096)
def elementwise_loop(
    fmt: ElementFormat,
    rounding: Rounding,
    overflow: Overflow,
    random_bits: int | None,
    carrier: Carrier,
    source: int,
    encodes: bool,
) -> Loop:
    """The fastest loop that is exact for arrays of the carrier; source: where its random words come from."""
    mode, normalise, row, errors = elementwise_choice(fmt, rounding, overflow, random_bits, carrier, encodes)
    if isinstance(fmt, FloatFormat) and source >= elementwise.DRAWN_4:
        mode += hasty_form(fmt, mode, carrier)
    return Loop(elementwise.make_quantize(mode, normalise, source, errors), row, errors)


@lru_cache(maxsize=4096)
def elementwise_choice(
    fmt: ElementFormat,
    rounding: Rounding,
    overflow: Overflow,
    random_bits: int | None,
    carrier: Carrier,
    encodes: bool,
) -> Choice:
    """The fastest form that is exact for arrays of the carrier."""
    errors = _errors(fmt, overflow, encodes)
    if isinstance(fmt, LogFormat) and rounding is not Rounding.RNL:
        fmt = as_float(fmt) or fmt
    row, normalise = loop_row(fmt, rounding, overflow, random_bits, carrier)
    form = fast_form(fmt, rounding, carrier, overflow) or stochastic_form(fmt, rounding, carrier, random_bits)
    form += plain_end(fmt, row)
    coded = direct_code(fmt, rounding, form, errors, carrier, row) or short_code(fmt, carrier) if encodes else 0
    if not coded & modes.DIRECT_CODE:
        form += clamped_end(form, row)
    return Choice(int(rounding) + form + coded, int(normalise), row, errors)


def _errors(fmt: ElementFormat, overflow: Overflow, encodes: bool) -> int:
    """What the loop has to look out for, because it is an error."""
    uncoded = encodes and isinstance(fmt, FloatFormat) and fmt.subnormals is Subnormals.FULL_BINADE
    return (
        (0 if fmt.has_nan else modes.SAW_NAN)
        | (modes.SAW_OVERFLOW if overflow in (Overflow.ERROR, Overflow.WRAP) else 0)
        | (modes.SAW_UNCODED if uncoded else 0)
    )
