"""`numerics.diagnostics` on tensors, as `published` says: sharpness, and that at the end of gradient flow.

Callables are called with tensors: a Hessian-vector product may be one of autograd.
"""

from numerics import diagnostics as _numpy
from numerics.diagnostics import (
    DepthTwoRun,
    FlowEnd,
    Sharpness,
)

from .published import published

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

depth_two_run = published(_numpy.depth_two_run)
depth_two_sharpness = published(_numpy.depth_two_sharpness)
emulated_step = published(_numpy.emulated_step)
flow_limit = published(_numpy.flow_limit)
flow_sharpness = published(_numpy.flow_sharpness)
flow_shift = published(_numpy.flow_shift)
gfs_sharpness = published(_numpy.gfs_sharpness)
gradient = published(_numpy.gradient)
gradient_flow = published(_numpy.gradient_flow)
hessian_vector = published(_numpy.hessian_vector)
invariant = published(_numpy.invariant)
invariant_after = published(_numpy.invariant_after)
invariant_bound = published(_numpy.invariant_bound)
residual = published(_numpy.residual)
roundings = published(_numpy.roundings)
sharpness = published(_numpy.sharpness)
sharpness_at_minimum = published(_numpy.sharpness_at_minimum)
step = published(_numpy.step)
