"""What training does to the loss surface: sharpness, that at the end of gradient flow, and both where they are closed forms.

Source: Kreisler, Nacson, Soudry and Carmon, Gradient descent monotonically decreases the sharpness of gradient flow
solutions in scalar networks and beyond, ICML 2023, arXiv 2305.13064. Of it the abstract and the introduction were seen:
the closed forms of scalar nets are derived, and how its experiments integrate the flow became parameters of
`gradient_flow`. Probe in float64 what is trained in low precision.
"""

from .emulated import DepthTwoRun, depth_two_run, emulated_step, invariant_bound, roundings
from .flow import FlowEnd, flow_sharpness, gradient_flow
from .power_iteration import Sharpness, hessian_vector, sharpness
from .scalar_nets import (
    depth_two_sharpness,
    flow_limit,
    flow_shift,
    gfs_sharpness,
    gradient,
    invariant,
    invariant_after,
    residual,
    sharpness_at_minimum,
    step,
)

__all__ = [
    "DepthTwoRun",
    "FlowEnd",
    "Sharpness",
    "depth_two_run",
    "depth_two_sharpness",
    "emulated_step",
    "flow_limit",
    "flow_sharpness",
    "flow_shift",
    "gfs_sharpness",
    "gradient",
    "gradient_flow",
    "hessian_vector",
    "invariant",
    "invariant_after",
    "invariant_bound",
    "residual",
    "roundings",
    "sharpness",
    "sharpness_at_minimum",
    "step",
]
