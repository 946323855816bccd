"""`numerics.normalization` on tensors, as `published` says: norms for low precision, gradients in two precisions."""

from numerics import normalization as _numpy
from numerics.normalization import L1_CONSTANT, LINF_SCALE, Normalized

from .published import published

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

bifurcated_gradients = published(_numpy.bifurcated_gradients)
bounded_gains = published(_numpy.bounded_gains)
bounded_weight_norm = published(_numpy.bounded_weight_norm)
corrected_learning_rate = published(_numpy.corrected_learning_rate)
cosine_bound = published(_numpy.cosine_bound)
effective_step = published(_numpy.effective_step)
expected_max_magnitude = published(_numpy.expected_max_magnitude)
expected_range = published(_numpy.expected_range)
expected_top_mean = published(_numpy.expected_top_mean)
initial_rho = published(_numpy.initial_rho)
l1_batch_norm = published(_numpy.l1_batch_norm)
l2_batch_norm = published(_numpy.l2_batch_norm)
linf_batch_norm = published(_numpy.linf_batch_norm)
linf_constant = published(_numpy.linf_constant)
range_batch_norm = published(_numpy.range_batch_norm)
range_constant = published(_numpy.range_constant)
top_constant = published(_numpy.top_constant)
topk_batch_norm = published(_numpy.topk_batch_norm)
