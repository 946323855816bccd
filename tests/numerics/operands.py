"""Operands at which an operator can go wrong, and the oracle's answers to them."""

from fractions import Fraction
from functools import cache

import numpy as np

from numerics import Overflow, Rounding, arithmetic, reference
from tests.numerics.grids import FULL_BINADE

MODES = (
    Rounding.RNE,
    Rounding.RNA,
    Rounding.RTZ,
    Rounding.RTP,
    Rounding.RTN,
    Rounding.RTO,
    Rounding.SR,
    Rounding.SR_B,
    Rounding.SR_C,
)
DETERMINISTIC, STOCHASTIC = MODES[:6], MODES[6:]
ARITY = {"add": 2, "sub": 2, "mul": 2, "div": 2, "sqrt": 1, "fma": 3}
PAIRS = ("add", "sub", "mul", "div")


def operate(operation, operands, quantizer, **options):
    """The operator under test, by its name."""
    return getattr(arithmetic, operation)(*operands, quantizer, **options)


class Cases:
    """Operands of an operation and their exact results, rounded by the oracle, each distinct one once."""

    def __init__(self, operation, operands):
        self.operation = operation
        self.operands = tuple(x.ravel() for x in np.broadcast_arrays(*operands))
        rows = list(zip(*(x.tolist() for x in self.operands), strict=True))
        # Distinct results and who has which; a zero's sign depends on whether the mode is RTN.
        self._results = {
            down: distinct(reference.arithmetic.exact_result(operation, row, mode) for row in rows)
            for down, mode in ((False, Rounding.RNE), (True, Rounding.RTN))
        }

    def where(self, kept):
        """The same with some elements only; kept(exact) says whether."""
        chosen = object.__new__(Cases)
        results, ids = self._results[False]
        mask = np.array([kept(exact) for exact, _ in results])[ids]
        chosen.operation, chosen.operands = self.operation, tuple(x[mask] for x in self.operands)
        chosen._results = {down: (results, ids[mask]) for down, (results, ids) in self._results.items()}
        return chosen

    def answered(self, fmt):
        """Only what the format has an answer to: no NaN and no negative where it is unsigned, if it has no NaN."""
        if fmt.has_nan:
            return self
        return self.where(lambda exact: exact == exact and (fmt.signed or not exact < 0))

    def words(self, fmt, rounding, random_bits):
        """One word per element, in turn the two on either side of the element's decision, 0, 1 and the largest."""
        results, ids = self._results[False]
        last, thresholds = (1 << random_bits) - 1, []
        for exact, _ in results:
            k = 0
            if isinstance(exact, Fraction):
                lo, ulp = reference.lower_neighbour(abs(exact), fmt)
                k = reference.stochastic_threshold((abs(exact) - lo) / ulp, rounding, random_bits)
            thresholds.append(last + 1 - k)
        first = np.array(thresholds)[ids]
        turn = np.arange(ids.size) % 5
        words = np.choose(
            turn, [first, first - 1, np.zeros_like(first), np.ones_like(first), np.full_like(first, last)]
        )
        return np.clip(words, 0, last)

    def wanted(self, quantizer, words=None):
        """The oracle's answers, in the dtype of the operands."""
        results, ids = self._results[quantizer.rounding is Rounding.RTN]
        given = np.zeros(ids.size, np.int64) if words is None else words
        pairs, places = np.unique(np.stack([ids, given]), axis=1, return_inverse=True)
        answers = [
            reference.arithmetic.round_result(*results[i], quantizer, word=None if words is None else word)
            for i, word in pairs.T.tolist()
        ]
        return np.array(answers, np.result_type(*self.operands))[places.ravel()]

    def found(self, quantizer, words=None):
        return operate(self.operation, self.operands, quantizer, **({} if words is None else {"words": words}))


def distinct(values):
    """(distinct values, the index of each value among them)."""
    known = {}
    ids = [known.setdefault(value, len(known)) for value in values]
    return list(known), np.array(ids, np.int64)


def members(fmt, count=None):
    """Every value of a format, specials included, or those of a draw of codes with all its edges; both zeros."""
    codes = np.arange(1 << fmt.bits, dtype=np.uint64) if count is None else drawn_codes(fmt, count)
    values = fmt.decode(codes)
    return np.append(values, np.ldexp(1.0, fmt.emin)) if fmt.subnormals is FULL_BINADE else values


def drawn_codes(fmt, count):
    rng = np.random.default_rng(fmt.bits * 64 + fmt.mantissa_bits)
    top = 1 << (fmt.bits - fmt.signed)
    first_normal, largest = 1 << fmt.mantissa_bits, fmt.largest_code
    edges = [0, 1, 2, first_normal - 1, first_normal, first_normal + 1, largest - 1, largest, largest + 1, top - 1]
    chosen = np.concatenate([edges, rng.integers(top, size=count)]).astype(np.uint64)
    signs = rng.integers(2, size=chosen.size).astype(np.uint64) if fmt.signed else np.zeros(chosen.size, np.uint64)
    return chosen % np.uint64(top) + signs * np.uint64(top)


@cache
def all_cases(fmt, operation):
    """Every combination of the values of a small format."""
    values = members(fmt)
    grids = np.meshgrid(*[values] * ARITY[operation], indexing="ij")
    return Cases(operation, [grid.ravel() for grid in grids]).answered(fmt)


@cache
def drawn_cases(fmt, operation, count):
    """Some combinations of the values of a format, its ends among them."""
    rng = np.random.default_rng(ARITY[operation])
    operands = [rng.permutation(members(fmt, count)) for _ in range(ARITY[operation])]
    return Cases(operation, operands).answered(fmt)


@cache
def hard_cases(fmt, operation, count):
    """float64 operands, not members of the format, whose results lie on or next to a decision, or far out."""
    rng = np.random.default_rng(fmt.bits + 1000 * fmt.mantissa_bits)
    with np.errstate(all="ignore"):
        operands = _HARD[operation](fmt, count, rng)
    return Cases(operation, operands).answered(fmt)


def _points(fmt, count, rng):
    """Members and midpoints of the format, one float64 step beside them or not, of either sign, at all exponents."""
    value = np.abs(fmt.decode(drawn_codes(fmt, count)))
    value = np.where(np.isfinite(value), value, fmt.max)
    ulp = np.ldexp(1.0, np.maximum(np.frexp(value)[1] - 1, fmt.emin) - fmt.mantissa_bits)
    value = value + ulp * rng.choice([0.0, 0.5, 0.25, 0.75], value.size)
    value = np.where(np.isfinite(value), value, fmt.max)
    value = rng.choice(np.stack([value, np.nextafter(value, np.inf), np.nextafter(value, 0.0)]), axis=0)
    return value * rng.choice([-1.0, 1.0], value.size) if fmt.signed else value


def _scaled(x, rng, low=-140, high=8):
    """Addends for x: of any distance in exponent, full or few significant bits."""
    significand = rng.choice(np.stack([rng.uniform(1, 2, x.size), rng.integers(1, 4, x.size) / 2.0]), axis=0)
    sign = rng.choice([-1.0, 1.0], x.size)
    return np.ldexp(sign * significand, np.frexp(x)[1] + rng.integers(low, high, x.size))


def _hard_sums(fmt, count, rng):
    x = _points(fmt, count, rng)
    near = x * rng.choice([-1.0, 1.0], x.size) * (1 + rng.integers(-4, 5, x.size) * 2.0**-52)
    return x, np.where(rng.random(x.size) < 0.3, near, _scaled(x, rng))


def _hard_products(fmt, count, rng):
    x = _points(fmt, count, rng)
    y = np.ldexp(rng.integers(1, 1 << 53, x.size).astype(float), rng.integers(-1126, 970, x.size))
    y = np.where(rng.random(x.size) < 0.5, rng.integers(1, 64, x.size) / 32.0, y)
    x = np.where(rng.random(x.size) < 0.3, x / y, x)  # a product beside a point
    return x, y


def _hard_quotients(fmt, count, rng):
    quotient = _points(fmt, count, rng)
    y = rng.choice(np.stack([rng.uniform(1, 2, quotient.size), rng.integers(1, 1 << 10, quotient.size) / 7.0]), axis=0)
    y = np.where(rng.random(quotient.size) < 0.2, np.ldexp(y, rng.integers(-1074, 1000, y.size)), y)
    x = quotient * y
    return np.where(np.isfinite(x), x, quotient), y


def _hard_roots(fmt, count, rng):
    root = np.abs(_points(fmt, count, rng))
    x = root * root
    x = rng.choice(np.stack([x, np.nextafter(x, np.inf), np.nextafter(x, 0.0), root]), axis=0)
    return (np.where(np.isfinite(x), x, root),)


def _hard_fused(fmt, count, rng):
    x, y = _hard_products(fmt, count, rng)
    product = np.where(np.isfinite(x * y), x * y, x)
    away = _scaled(product, rng, -60, 120)
    return x, y, np.where(rng.random(x.size) < 0.4, -product, np.where(np.isfinite(away), away, 1.0))


_HARD = {
    "add": _hard_sums,
    "sub": _hard_sums,
    "mul": _hard_products,
    "div": _hard_quotients,
    "sqrt": _hard_roots,
    "fma": _hard_fused,
}


def rule_of(fmt):
    """An overflow rule that shows overflows where the format can."""
    return Overflow.IEEE if fmt.infinities or fmt.has_nan else Overflow.SATURATE
