"""Norms that low precision can compute, their constants, and gradients in two precisions."""

from .batch import (
    Normalized,
    l1_batch_norm,
    l2_batch_norm,
    linf_batch_norm,
    range_batch_norm,
    topk_batch_norm,
)
from .constants import L1_CONSTANT, LINF_SCALE, linf_constant, range_constant, top_constant
from .gradients import bifurcated_gradients, cosine_bound
from .order_statistics import expected_max_magnitude, expected_range, expected_top_mean
from .weights import bounded_gains, bounded_weight_norm, corrected_learning_rate, effective_step, initial_rho

__all__ = [
    "L1_CONSTANT",
    "LINF_SCALE",
    "Normalized",
    "bifurcated_gradients",
    "bounded_gains",
    "bounded_weight_norm",
    "corrected_learning_rate",
    "cosine_bound",
    "effective_step",
    "expected_max_magnitude",
    "expected_range",
    "expected_top_mean",
    "initial_rho",
    "l1_batch_norm",
    "l2_batch_norm",
    "linf_batch_norm",
    "linf_constant",
    "range_batch_norm",
    "range_constant",
    "top_constant",
    "topk_batch_norm",
]
