"""Bounds on the error of a dot product that hold with a stated probability over the random words."""

import math
from fractions import Fraction

from ..accumulator import Accumulator
from .roundoff import count_of, real
from .stages import Stage, stages
from .worst_case import ErrorBound, error_bound, float_up, worst_of

_MARGIN = 1 + 1e-12  # the few float64 operations here err by less
SOURCE = (
    "derived here (Azuma-Hoeffding with drift), after Connolly, Higham and Mary, SIAM J. Sci. Comput. 43(1), 2021, A566,"
    " and El Arar, Fasi, Filip and Mikaitis, arXiv 2408.03069"
)


def gamma_tilde(n: int, u: float | Fraction, deviations: float) -> float:
    """exp(lambda sqrt(n) u + n u^2/(1 - u)) - 1: bounds |prod (1 + delta_i)**(+-1) - 1| but for 2 exp(-lambda^2/2).

    For n errors |delta_i| <= u < 1 of mean zero given the earlier ones, as of stochastic rounding with ideal
    randomness. deviations: lambda. An inner product of n terms has the error gamma_tilde_n sum |a b| but for n times
    that probability. `probabilistic_error_bound` needs neither the factor n nor ideal randomness, and its leading
    term is half as large. Source: Connolly, Higham and Mary, SIAM J. Sci. Comput. 43(1), 2021, A566, after Higham and
    Mary, SIAM J. Sci. Comput. 41(5), 2019, A2815. Float64. Errors: TypeError for no numbers; ValueError for u outside
    [0, 1), and for n or deviations below 0.
    """
    n = count_of("n", n)
    lam, unit = real("deviations", deviations), real("u", u)
    if not 0 <= lam < math.inf:
        raise ValueError(f"deviations = {deviations!r}: give a finite number of at least 0")
    if not 0 <= unit < 1:
        raise ValueError(f"gamma_tilde with u = {unit:g}: give u from 0 to below 1")
    try:
        return math.expm1(lam * math.sqrt(n) * unit + n * unit**2 / (1 - unit)) * _MARGIN
    except OverflowError:
        return math.inf


def deviations_for(failure_probability: float, outputs: int = 1) -> float:
    """lambda with 2 outputs exp(-lambda^2/2) = failure_probability: so many outputs all keep the bound but for that.

    Errors: TypeError for no numbers; ValueError for a probability that is not between 0 and 1 and for outputs < 1.
    """
    probability, count = real("failure_probability", failure_probability), count_of("outputs", outputs, 1)
    if not 0 < probability < 1:
        raise ValueError(f"failure_probability = {failure_probability!r}: give a number between 0 and 1")
    try:
        return math.sqrt(2 * math.log(2 * count / probability))
    except OverflowError:  # of the quotient, not of its logarithm
        return math.sqrt(2 * (math.log(2 * count) - math.log(probability)))


def random_bits_rule(k: int) -> int:
    """ceil(log2(k)/2), the r for which the bias of k roundings, k u 2**-r, is as small as their spread, sqrt(k) u.

    Source: El Arar, Fasi, Filip and Mikaitis, arXiv 2408.03069. Fewer bits leave a drift that grows with k.
    Errors: ValueError for k < 1.
    """
    return ((count_of("k", k, 1) - 1).bit_length() + 1) // 2


def probabilistic_error_bound(
    accumulator: Accumulator,
    k: int,
    *,
    failure_probability: float,
    outputs: int = 1,
    c: bool = False,
    quantum: Fraction | None = None,
) -> ErrorBound:
    """The error of c + sum of k products under stochastic rounding, but for failure_probability over ideal words.

    outputs: how many dot products keep the bound at once (union bound). Arguments else as in `error_bound`; where the
    worst case is smaller, that is returned. Stages that are not stochastic, and Kahan's, count with their worst case.

    Proof. A rounding of v has an error in an interval of one ulp <= u |v|, u = 2**(1 - p), whose mean given the past is
    at most b u |v|, b = 2**-r (SR) or 2**-(r + 1) (SR_B, SR_C). Errors add up in the result, D = M + drift, M a
    martingale. By Hoeffding's lemma and Azuma's argument |M| stays below lambda/2 sqrt(V) at all times but for
    2 exp(-lambda^2/2), if V bounds the sum of the squared intervals; X = sum |a b| + |c|.
    - Chain of n: stopped when |D| first exceeds B, all |v| <= X + B, so V <= n u^2 (X + B)^2 and drift <= n b u (X + B):
      with q = lambda/2 sqrt(n) u + n b u, B = q/(1 - q) X is never exceeded. Needs q < 1.
    - Any stages: |v| <= (1 + u)^(l - 1) sum of its |addends| at level l, and a level's sums are disjoint, so
      V <= u^2 X^2 sum over levels of (1 + u)^(2 (l - 1)), drift <= b u X sum of (1 + u)^(l - 1). The smaller is taken.
    Gradual underflow adds intervals of one step, lambda/2 sqrt(n) + n b of them; flushing adds up as it is.
    At r -> infinity and first order: lambda/2 sqrt(n) u, for Connolly, Higham and Mary's lambda sqrt(n) u. The form
    O(sqrt(n) u) + O(n u 2**-r) is that of El Arar et al.
    Float64 increased by 1e-12. Errors: ValueError for a probability outside (0, 1).
    Tests: test_theory_probabilistic.py (every word of short chains; counts of exceedances) and
    property_tests/test_error_bounds.py.
    """
    lam = deviations_for(failure_probability, outputs)
    worst = error_bound(accumulator, k, c=c, quantum=quantum)
    if not accumulator.stochastic:
        return worst
    found = stages(accumulator, k, c=c, quantum=quantum)
    if not found:
        return worst
    candidates = [_by_levels(found, lam)]
    chain = _stopped_chain(found, lam)
    if chain is not None:
        candidates.append(chain)
    factor, absolute, formula = min(candidates)
    if not math.isfinite(absolute):
        return worst
    products, underflow = Fraction(factor * _MARGIN), Fraction(absolute * _MARGIN)
    if (worst.products, worst.underflow) <= (products, underflow):
        return worst
    addend = products if c else Fraction(0)
    return ErrorBound(products, addend, underflow, formula, SOURCE, failure_probability=float(failure_probability))


def _small(stage: Stage, lam: float) -> tuple[float, float]:
    """(sum of all absolute errors of small sums, what they contribute with probability); both before growth."""
    step = stage.step
    if not stage.underflows:
        return 0.0, 0.0
    each, n = float_up(step.absolute), stage.roundings
    if step.bias is None or not step.smooth:
        return n * each, n * each
    return n * each, min(n, lam / 2 * math.sqrt(n) + n * float(step.bias)) * each


def _by_levels(found: tuple[Stage, ...], lam: float) -> tuple[float, float, str]:
    """(factor, underflow term, formula) from the growth of magnitudes level by level."""
    grown, variance, drift = 1.0, 0.0, 0.0
    injected = contributed = 0.0
    for stage in found:
        step, u = stage.step, float(stage.step.relative)
        if step.bias is None or stage.kind == "kahan":
            worst, absolute, *_ = worst_of(stage)
            drift += grown * float_up(worst)
            grown *= 1 + float_up(worst)
            injected += float_up(absolute)
            contributed += float_up(absolute)
            continue
        for _ in range(min(stage.depth, 1 << 20)):
            variance += (grown * u) ** 2
            drift += grown * u * float(step.bias)
            grown *= 1 + u
            if grown > 1e100:
                return math.inf, math.inf, ""
        if stage.depth > 1 << 20:
            return math.inf, math.inf, ""
        total, part = _small(stage, lam)
        injected += total
        contributed += part
    factor = lam / 2 * math.sqrt(variance) + drift
    text = f"lambda/2 * {math.sqrt(variance):.4g} + {drift:.4g}, lambda = {lam:.4g}"
    return factor, contributed + factor * injected, text


def _stopped_chain(found: tuple[Stage, ...], lam: float) -> tuple[float, float, str] | None:
    """The same for a single stochastic chain, perhaps behind rounded products; None for anything else."""
    *before, last = found
    if last.kind not in ("chain", "each") or last.step.bias is None or len(before) > 1:
        return None
    u, n = float(last.step.relative), last.depth
    q = lam / 2 * math.sqrt(n) * u + n * u * float(last.step.bias)
    if q >= 1:
        return None
    extra, (_, small) = 0.0, _small(last, lam)
    for stage in before:
        if stage.kind != "each":
            return None
        if stage.step.bias is None:
            worst, absolute, *_ = worst_of(stage)
            extra, small = extra + float_up(worst), small + float_up(absolute)
        else:
            extra += float(stage.step.relative) * (lam / 2 + float(stage.step.bias))
            small += _small(stage, lam)[1]
    text = f"q/(1 - q), q = lambda/2 * {math.sqrt(n) * u:.4g} + {n * u * float(last.step.bias):.4g}, lambda = {lam:.4g}"
    text = f"({extra:.4g} + q)/(1 - q)" + text.removeprefix("q/(1 - q)") if extra else text
    return (extra + q) / (1 - q), small / (1 - q), text
