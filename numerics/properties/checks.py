"""Every check by its name: plain functions of a subject that return Evidence or raise ClaimError; no test runner needed."""

from .batch_check import batched
from .block_checks import block_apart, block_decision
from .block_draws_check import block_draws
from .block_places import any_blocks
from .block_scale_checks import block_specials, every_scale, tensor_scales
from .code_checks import every_code
from .draws_check import Component, draws, p_value_of_draws
from .mask_checks import (
    blocks_apart,
    kept_values,
    largest,
    marginals,
    mask_pairs,
    mask_unbiased,
    mask_variance,
    pattern,
)
from .mask_draws_check import mask_draws, p_value_of_mask_draws
from .mask_places import any_place
from .moment_checks import bias, smp, unbiased, variance, variance_bound, word_order
from .power import power_table, smallest_shift
from .product_checks import (
    error_bound,
    product_member,
    product_odd,
    product_reproducible,
    single,
    steps,
)
from .product_moments import product_moments
from .product_shapes import any_block
from .rounding_checks import (
    decision,
    faithful,
    fixed_points,
    member,
    monotone,
    odd,
    projection,
    saturation,
    specials,
)
from .shape_checks import any_shape
from .step_checks import every_step
from .wiring_checks import independent, reproducible

__all__ = [
    "Component",
    "any_block",
    "any_blocks",
    "any_place",
    "any_shape",
    "batched",
    "bias",
    "block_apart",
    "block_decision",
    "block_draws",
    "block_specials",
    "blocks_apart",
    "decision",
    "draws",
    "error_bound",
    "every_code",
    "every_scale",
    "every_step",
    "faithful",
    "fixed_points",
    "independent",
    "kept_values",
    "largest",
    "marginals",
    "mask_draws",
    "mask_pairs",
    "mask_unbiased",
    "mask_variance",
    "member",
    "monotone",
    "odd",
    "p_value_of_draws",
    "p_value_of_mask_draws",
    "pattern",
    "power_table",
    "product_member",
    "product_moments",
    "product_odd",
    "product_reproducible",
    "projection",
    "reproducible",
    "saturation",
    "single",
    "smallest_shift",
    "smp",
    "specials",
    "steps",
    "tensor_scales",
    "unbiased",
    "variance",
    "variance_bound",
    "word_order",
]
