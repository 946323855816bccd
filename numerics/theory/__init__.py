"""Closed forms: what one rounding does, what sums of products err by, how many bits they need; each with its source.

Everything is exact (Fractions) or rounded up; nothing here runs a kernel.
"""

from .moments import Moments, rounding_moments, stagnation_point
from .overflow import Span, exact_precision, fixed_bits, never_overflows, span_of
from .probabilistic import deviations_for, gamma_tilde, probabilistic_error_bound, random_bits_rule
from .published import gradient_noise_threshold, lba_accumulator_bias
from .roundoff import gamma, growth, underflow_unit, unit_roundoff
from .worst_case import ErrorBound, error_bound, evaluate

__all__ = [
    "ErrorBound",
    "Moments",
    "Span",
    "deviations_for",
    "error_bound",
    "evaluate",
    "exact_precision",
    "fixed_bits",
    "gamma",
    "gamma_tilde",
    "gradient_noise_threshold",
    "growth",
    "lba_accumulator_bias",
    "never_overflows",
    "probabilistic_error_bound",
    "random_bits_rule",
    "rounding_moments",
    "span_of",
    "stagnation_point",
    "underflow_unit",
    "unit_roundoff",
]
