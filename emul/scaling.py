"""`numerics.scaling` on tensors, as `published` says: training in FP8 and FP4, scales, Smooth-SwiGLU, Adam in 8 bits."""

from collections.abc import Callable
from typing import Any, cast

from numerics import scaling as _numpy
from numerics.scaling import (
    EXAQ_FITS,
    EXAQ_OPTIMA,
    FP8_ADAM,
    GAUDI2_E4M3,
    MXFP4_E3M0,
    MXFP4_NEVER_CLIP,
    SPLIT_MXFP4,
    SPLIT_NVFP4,
    SWITCH_RATIO,
    AdamState,
    AdamStorage,
    DelayedScale,
    ProductOperands,
    Products,
    Scaled,
    Smoothed,
    SplitRounding,
    Storage,
)

from .published import published

__all__ = [
    "EXAQ_FITS",
    "EXAQ_OPTIMA",
    "FP8_ADAM",
    "GAUDI2_E4M3",
    "MXFP4_E3M0",
    "MXFP4_NEVER_CLIP",
    "SPLIT_MXFP4",
    "SPLIT_NVFP4",
    "SWITCH_RATIO",
    "AdamState",
    "AdamStorage",
    "DelayedScale",
    "ProductOperands",
    "Products",
    "Scaled",
    "Smoothed",
    "SplitRounding",
    "Storage",
    "adam_start",
    "amax",
    "best_change",
    "best_change_slope",
    "best_rate",
    "biased_error",
    "biased_limit",
    "current_scale",
    "delayed_quantize",
    "exaq_clip",
    "expected_change",
    "exponential_mse",
    "fp8_adam",
    "gradient_to_noise",
    "high_precision_backward",
    "high_precision_needed",
    "measured_noise",
    "observe",
    "product_operands",
    "quantize",
    "restore",
    "scale_of",
    "smooth_scale",
    "smooth_swiglu",
    "smooth_swiglu_gradient",
    "split_products",
    "split_rounding",
    "store",
    "swish",
    "unscale",
]

Numbers = Callable[..., Any]  # of one kind, floats or fractions, which is more than mypy follows

adam_start = published(_numpy.adam_start)
amax = published(_numpy.amax)
best_change = published(cast(Numbers, _numpy.best_change))
best_change_slope = published(cast(Numbers, _numpy.best_change_slope))
best_rate = published(cast(Numbers, _numpy.best_rate))
biased_error = published(cast(Numbers, _numpy.biased_error))
biased_limit = published(_numpy.biased_limit)
current_scale = published(_numpy.current_scale)
delayed_quantize = published(_numpy.delayed_quantize)
exaq_clip = published(_numpy.exaq_clip)
expected_change = published(cast(Numbers, _numpy.expected_change))
exponential_mse = published(_numpy.exponential_mse)
fp8_adam = published(_numpy.fp8_adam)
gradient_to_noise = published(_numpy.gradient_to_noise)
high_precision_backward = published(_numpy.high_precision_backward)
high_precision_needed = published(_numpy.high_precision_needed)
measured_noise = published(_numpy.measured_noise)
observe = published(_numpy.observe)
product_operands = published(_numpy.product_operands)
quantize = published(_numpy.quantize)
restore = published(_numpy.restore)
scale_of = published(_numpy.scale_of)
smooth_scale = published(_numpy.smooth_scale)
smooth_swiglu = published(_numpy.smooth_swiglu)
smooth_swiglu_gradient = published(_numpy.smooth_swiglu_gradient)
split_products = published(_numpy.split_products)
split_rounding = published(_numpy.split_rounding)
store = published(_numpy.store)
swish = published(_numpy.swish)
unscale = published(_numpy.unscale)
