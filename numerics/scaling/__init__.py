"""Training in FP8 and FP4: scales of tensors, Smooth-SwiGLU, Adam's state in 8 bits, split rounding, and when it stops.

Sources: Fishman, Chmiel, Banner and Soudry, Scaling FP8 training to trillion-token LLMs, ICLR 2025, arXiv 2409.12517;
Chmiel, Fishman, Banner and Soudry, FP4 All the Way, NeurIPS 2025, arXiv 2505.19115; Shkolnik et al., EXAQ, arXiv
2410.03185. Not seen, and so parameters: how the former's Smooth-SwiGLU chooses its scale (`axis`, `power_of_two`,
`scale`), how its moments are scaled (`Storage`), the code of the second (`SplitRounding`).
"""

from .adam import FP8_ADAM, AdamState, AdamStorage, Storage, adam_start, fp8_adam, store
from .exaq import EXAQ_FITS, EXAQ_OPTIMA, exaq_clip, exponential_mse
from .progress import (
    SWITCH_RATIO,
    best_change,
    best_change_slope,
    best_rate,
    biased_error,
    biased_limit,
    expected_change,
    gradient_to_noise,
    high_precision_needed,
    measured_noise,
)
from .smooth import Smoothed, restore, smooth_scale, smooth_swiglu, smooth_swiglu_gradient, swish
from .split import (
    MXFP4_E3M0,
    MXFP4_NEVER_CLIP,
    SPLIT_MXFP4,
    SPLIT_NVFP4,
    ProductOperands,
    Products,
    SplitRounding,
    high_precision_backward,
    product_operands,
    split_products,
    split_rounding,
)
from .tensor import (
    GAUDI2_E4M3,
    DelayedScale,
    Scaled,
    amax,
    current_scale,
    delayed_quantize,
    observe,
    quantize,
    scale_of,
    unscale,
)

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
