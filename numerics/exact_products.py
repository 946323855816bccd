"""Products of order "exact": the exact sum of c and all products, rounded once (Kulisch; the posit standard's quire).

tests/numerics/test_exact_products.py and test_exact_routes.py hold every route against exact rationals,
property_tests/test_exact_oracle.py searches for a case in which one differs.
"""

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from .accumulator import Accumulator
from .exact_floats import float_sum, round_floats
from .exact_integers import Sums, rounded_bits
from .exact_routes import Route, exact_route, exact_routes
from .formats import FixedFormat
from .kernels import digits, threads
from .parameters import FLOAT64
from .problem import Problem
from .results import overflowed
from .rounding import Overflow

__all__ = ["exact_codes", "exact_product", "exact_route", "exact_routes"]

_EVENTS = {"overflow": digits.OVER, "underflow": digits.UNDER, "inexact": digits.INEXACT}


def exact_product(
    problem: Problem, accumulator: Accumulator, *, events: bool = False, route: Route | None = None
) -> tuple[NDArray[np.float64], dict[str, NDArray[Any]] | None]:
    """c + a @ b, rounded once: float64 [B, M, N]; with events counts [B, M, N] by the names of `Events`, else None.

    Products are exact, or rounded first by accumulator.product. A zero sum has the sign that all terms have if all are
    zeros, else + (- for RTN). route: one of `exact_routes`, the fastest by default; all give the same bits.
    Errors: ValueError for a FixedFormat of more than 53 bits (`exact_codes` has it), a negative result or product of an
    unsigned one, NaN in a format without; OverflowError under Overflow.ERROR.
    """
    threads.check_subnormals()
    fmt = accumulator.format
    if not FLOAT64.holds(fmt):
        raise ValueError(f"{fmt} has values that float64 does not hold: exact_codes gives them as integers")
    route = exact_route(problem, accumulator) if route is None else route
    total = None if events else float_sum(problem, accumulator, route.name, route.cut)
    if total is not None:
        if not fmt.signed and (total < 0).any():
            _refuse_negative(problem, accumulator, int(np.argmax(total.reshape(-1) < 0)))
        result, over = round_floats(problem, accumulator, total)
        if over is not None:
            _refuse_overflow(problem, accumulator, over)
        return result.reshape(problem.shape), None
    sums = rounded_bits(problem, accumulator, route.name, route.cut)
    _check(problem, accumulator, sums)
    if isinstance(fmt, FixedFormat):
        values = np.ldexp(_integers(sums, fmt).astype(np.float64), -fmt.fraction_bits)
    else:
        values = sums.bits.view(np.float64)
    return values.reshape(problem.shape), _events(sums, problem.shape) if events else None


def exact_codes(
    problem: Problem, accumulator: Accumulator, *, events: bool = False, route: Route | None = None
) -> tuple[NDArray[Any], dict[str, NDArray[Any]] | None]:
    """`exact_product` in a FixedFormat as integers in grid steps: int64 [B, M, N], or uint64 of an unsigned format."""
    threads.check_subnormals()
    fmt = accumulator.format
    if not isinstance(fmt, FixedFormat):
        raise TypeError(f"{fmt} is not fixed point: exact_product gives its values")
    route = exact_route(problem, accumulator) if route is None else route
    sums = rounded_bits(problem, accumulator, route.name, route.cut)
    _check(problem, accumulator, sums)
    return _integers(sums, fmt).reshape(problem.shape), _events(sums, problem.shape) if events else None


def _integers(sums: Sums, fmt: FixedFormat) -> NDArray[Any]:
    unused = np.uint64(64 - fmt.bits)
    return (sums.bits << unused).view(np.int64) >> np.int64(unused) if fmt.signed else sums.bits


def _events(sums: Sums, shape: tuple[int, int, int]) -> dict[str, NDArray[Any]]:
    found = {name: ((sums.met & flag) != 0).astype(np.int64).reshape(shape) for name, flag in _EVENTS.items()}
    # There are no sums of two numbers in this order.
    found |= {name: np.zeros(shape, np.int64) for name in ("swamped", "absorbed")}
    for i, name in enumerate(_EVENTS):
        counts = np.zeros(shape, np.int64) if sums.counts is None else sums.counts[..., i].reshape(shape)
        found[f"product_{name}"] = counts
    return found


def _check(problem: Problem, accumulator: Accumulator, sums: Sums) -> None:
    """Raise for the first output that met an error."""
    product, fmt = accumulator.product, accumulator.format
    negative = (sums.met & digits.NEGATIVE) != 0
    if negative.any():
        _refuse_negative(problem, accumulator, int(np.argmax(negative)))
    over = np.zeros(sums.met.shape, bool)
    if accumulator.overflow is Overflow.ERROR:
        over |= (sums.met & digits.OVER) != 0
    if product is not None and product.overflow is Overflow.ERROR and sums.counts is not None:
        over |= sums.counts[..., 0] != 0
    if over.any():
        _refuse_overflow(problem, accumulator, int(np.argmax(over)))
    if not fmt.has_nan and not isinstance(fmt, FixedFormat):
        bad = np.isnan(sums.bits.view(np.float64))
        if bad.any():
            where = problem.names.output(int(np.argmax(bad)))
            raise ValueError(
                f"{where} is NaN (a product became one, or infinity - infinity), and {fmt} has none;"
                " use SATURATE or a format with NaN"
            )


def _refuse_negative(problem: Problem, accumulator: Accumulator, output: int) -> NoReturn:
    product = accumulator.product_format
    fmt = accumulator.format if product is None or product.signed else product
    raise ValueError(
        f"{problem.names.output(output)} is negative, or one of its products is: {fmt} is unsigned and has no NaN;"
        " use a signed format"
    )


def _refuse_overflow(problem: Problem, accumulator: Accumulator, output: int) -> NoReturn:
    raise OverflowError(
        f"the accumulation of {problem.names.output(output)} overflows {overflowed(accumulator)};"
        " scale the operands or choose another Overflow rule"
    )
