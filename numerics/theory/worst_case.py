"""Bounds on the error of a dot product that hold for every input and every random word."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..accumulator import Accumulator
from ..formats.naming import named
from ..operands import as_array
from .roundoff import growth
from .stages import Stage, stages

HIGHAM = "Higham, Accuracy and Stability of Numerical Algorithms, 2002, 3.1 and 4.2"
RUMP = "Jeannerod and Rump, SIAM J. Matrix Anal. Appl. 34(2), 2013: n u for n - 1 roundings to nearest, any n"
KAHAN = "derived here, after Higham 2002, 4.3"


@dataclass(frozen=True)
class ErrorBound:
    """|computed - exact| <= products * sum |a_k b_k| + addend * |c| + underflow, where nothing overflows.

    formula: what the largest part was computed from. failure_probability: 0 where it holds for all random words.
    """

    products: Fraction
    addend: Fraction
    underflow: Fraction
    formula: str
    source: str
    failure_probability: float = 0.0

    def __str__(self) -> str:
        text = f"{_shown(self.products)} sum|a b|"
        text += f" + {_shown(self.addend)} |c|" if self.addend else ""
        text += f" + {_shown(self.underflow)}" if self.underflow else ""
        return text + (f" but for a probability of {self.failure_probability:g}" if self.failure_probability else "")


def _shown(x: Fraction) -> str:
    """A bound to be read; of a long sum in few bits it may be beyond float64."""
    try:
        return f"{float(x):.4g}"
    except OverflowError:
        return f"2**{x.numerator.bit_length() - x.denominator.bit_length() + 1}"


def error_bound(accumulator: Accumulator, k: int, *, c: bool = False, quantum: Fraction | None = None) -> ErrorBound:
    """The worst-case error of c + sum of k products, for any operands, order, rounding and random words.

    c: whether there is one. quantum: a number of which all products and c are multiples, such as the product of the
    lowest bits of two formats; where it is a multiple of the accumulator's own lowest bit, nothing underflows. Exact
    Fractions, but for powers, which are rounded up as by `growth`.

    Stages (products, chains, trees, sums of chunks) with factors F compose to (1 + F)(1 + F') - 1. A stage of d
    roundings in a row has, with the u of `unit_roundoff`,
    - toward zero: F = 1 - (1 + u)**-d, each step multiplying by a number from 1/(1 + u) to 1;
    - to nearest: F = d u in chains, where a rounding errs by no more than either addend (Jeannerod and Rump 2013; the
      proof needs the running sum alone to be a member, so the products may be exact), else (1 + u/(1 + u))**d - 1;
    - other modes: F = (1 + u)**d - 1, below gamma_d.
    d = k for a fused chain, ceil(log2 k) for a tree. Kahan: see `kahan_factors`. Exact: one rounding.
    Each rounding of a small sum adds `underflow_unit`, magnified by what follows. Holds without overflow only:
    `never_overflows`. Errors: TypeError for what is no Accumulator and a c that is no bool; ValueError for a k that is no
    number of products, and for a Kahan chain too long for its bound.
    Tests: test_theory_worst_case.py and property_tests/test_error_bounds.py, against exact rationals, with inputs that
    come near.
    """
    factor, last, underflow = Fraction(0), Fraction(0), Fraction(0)
    texts, sources = [], []
    for stage in stages(accumulator, k, c=c, quantum=quantum):
        last, added, text, source = worst_of(stage)
        factor = (1 + factor) * (1 + last) - 1
        underflow = underflow * (1 + last) + added
        texts.append(text)
        if source not in sources:
            sources.append(source)
    formula = texts[0] if len(texts) == 1 else " * ".join(f"(1 + {text})" for text in texts) + " - 1" if texts else "0"
    return ErrorBound(factor if k else Fraction(0), last if c else Fraction(0), underflow, formula, "; ".join(sources))


def worst_of(stage: Stage) -> tuple[Fraction, Fraction, str, str]:
    """(F, underflow term, formula of F, source) of one stage: error <= F * sum |addends| + underflow term."""
    step, d = stage.step, stage.depth
    u, u_text = step.relative, f"{float(step.relative):.4g}"
    if stage.kind == "kahan":
        factor, absolute = kahan_factors(stage)
        return factor, absolute, f"(3 u + O(n u**2)), n = {d}, u = {u_text}", KAHAN
    small = stage.roundings * step.absolute if stage.underflows else Fraction(0)
    if step.truncates:
        return 1 - 1 / growth(d, u), small, f"(1 - (1 + {u_text})**-{d})", HIGHAM
    if step.nearest:
        plain, chained = growth(d, u / (1 + u)) - 1, d * u
        small *= growth(max(d - 1, 0), u)
        if stage.kind == "chain" and chained <= plain:
            return chained, small, f"{d} * {u_text}", RUMP
        return plain, small, f"((1 + u/(1 + u))**{d} - 1), u = {u_text}", HIGHAM
    return growth(d, u) - 1, small * growth(max(d - 1, 0), u), f"((1 + {u_text})**{d} - 1)", HIGHAM


def kahan_factors(stage: Stage) -> tuple[Fraction, Fraction]:
    """(F, underflow term) of n steps y = x - r, t = s + y, r = (t - s) - y, s = t with any rounding: F = 3u + O(n u^2).

    Proof. Let X bound sum |x|, e = t - s - y, and Z the error of s - r. Multiplying each of the four operations by
    1 + delta, |delta| <= u, and adding at most w1 (y) or w2 (the others) where the result is small, one finds
        |e| <= E = u (X + Z + u (X + R) + w1) + w2
        |r| <= R = (1 + u) (u ((1 + u)(X + R) + w1) + (1 + u) E + w2) + w2
        |change of the error of s - r| <= u (|x| + R) + w1 + (2u + u^2) E + u (1 + u) |y| + (2 + u) w2
    with |y| <= (1 + u)(|x| + R) + w1, so by induction any nonnegative solution of these equations, the third summed
    over n steps as Z, is a bound; and the error of s is at most Z + E. Solved here in rationals.
    Higham states 2u + O(n u^2) for rounding to nearest and addends that are members of the format; a search found
    1.99u there. Exact products are not members: u |x| is lost in y, u |t| where |y| > |s| and t - s is inexact, and
    u |s| in the last sum. Three terms that reach 2.85u are in test_theory_worst_case.py.
    Errors: ValueError where 4 n u^2 comes near 1.
    """
    step, n = stage.step, stage.depth
    u = step.relative
    w1 = step.absolute if stage.underflows else Fraction(0)
    w2 = step.absolute if not step.smooth or (stage.start and stage.underflows) else Fraction(0)
    # E = u Z + u^2 R + e, R = r_R R + r_E E + r, Z = n (z_R R + z_E E) + z: each of e, r, z is (per X, constant).
    e = (u * (1 + u), u * w1 + w2)
    r_r, r_e = u * (1 + u) ** 2, (1 + u) ** 2
    r = (r_r, (1 + u) * (u * w1 + w2) + w2)
    z_r, z_e = u + u * (1 + u) ** 2, 2 * u + u * u
    z = (z_r, n * (w1 + u * (1 + u) * w1 + (2 + u) * w2))
    # R in terms of E, then Z in terms of E, then E.
    per_e = r_e / (1 - r_r) if r_r < 1 else Fraction(0)
    slope = u * n * (z_r * per_e + z_e) + u * u * per_e
    if r_r >= 1 or slope >= 1:
        raise ValueError(
            f"a Kahan sum of {n} numbers with u = {float(u):.3g}: the bound needs about 4 n u**2 < 1; use a wider format,"
            " chunk=, or the bound of a plain chain"
        )
    total = []
    for i in (0, 1):
        rest = r[i] / (1 - r_r)
        largest = (e[i] + u * (n * z_r * rest + z[i]) + u * u * rest) / (1 - slope)
        total.append(n * (z_r * (per_e * largest + rest) + z_e * largest) + z[i] + largest)
    return total[0], total[1]


def evaluate(bound: ErrorBound, a: Any, b: Any, c: Any = None) -> NDArray[np.float64]:
    """The bound for given operands: a [..., M, K], b [..., K, N], c or None -> float64 [..., M, N], rounded up.

    One-dimensional a and b [K] give a 0-dimensional array. K at most 2**48; non-finite where the operands are.
    Errors: TypeError for what is no ErrorBound and for arrays of no real numbers; ValueError for shapes without a product.
    """
    if not isinstance(bound, ErrorBound):
        raise TypeError(f"bound {named(bound)}: give an ErrorBound, as error_bound(accumulator, k) is")
    left, right = _magnitudes(a, "a"), _magnitudes(b, "b")
    start = None if c is None else _magnitudes(c, "c")
    with np.errstate(over="ignore", invalid="ignore"):
        try:
            products = np.asarray(left @ right)
        except ValueError:
            told = f"a of shape {left.shape} and b of shape {right.shape}"
            raise ValueError(f"{told} have no product: give [..., M, K] and [..., K, N], or twice [K]") from None
        depth = left.shape[-1]
        # float64's own sum may be too small by gamma_K, and by what underflowed.
        products = products * (1 + (2 * depth + 8) * 2.0**-53) + depth * 2.0**-1073
        total = products * float_up(bound.products) + float_up(bound.underflow)
        if start is not None:
            try:
                start = np.broadcast_to(start, products.shape)
            except ValueError:
                raise ValueError(f"c of shape {start.shape}: give one that broadcasts to {products.shape}") from None
            total = total + start * float_up(bound.addend)
        result: NDArray[np.float64] = total * (1 + 2.0**-50)
    return result


def _magnitudes(x: Any, label: str) -> NDArray[np.float64]:
    """|x| in float64. Errors: TypeError for what is no array of real numbers."""
    array = as_array(x, label, "an array of real numbers")
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{label} of dtype {array.dtype}: give an array of real numbers")
    return np.abs(array.astype(np.float64))


def float_up(x: Fraction) -> float:
    """The float64 at or above x, infinity beyond the largest."""
    try:
        value = float(x)
    except OverflowError:
        return math.inf
    return value if Fraction(value) >= x else float(np.nextafter(value, np.inf))
