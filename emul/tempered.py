"""`numerics.tempered` on tensors, as `published` says: binary threshold nets evaluated in integers, and their interpolators.

The arrays of a `ThresholdLayer` are tensors where it is given to these functions or made by them: weights 0/1, signs and
biases of any integer dtype. What is computed is integers throughout, so nothing depends on a device and nothing has a
gradient. Counts of nets are dicts of Python's integers, as there.
"""

from numerics import tempered as _numpy
from numerics.tempered import ThresholdLayer

from .published import published

__all__ = [
    "ThresholdLayer",
    "accumulator_width",
    "draw_net",
    "evaluate",
    "interpolator_error",
    "interpolators",
    "mean_error",
    "memorizing_error",
    "net_counts",
    "neuron_counts",
    "sample_interpolator",
    "truth_table",
]

accumulator_width = published(_numpy.accumulator_width)
draw_net = published(_numpy.draw_net)
evaluate = published(_numpy.evaluate)
interpolator_error = published(_numpy.interpolator_error)
interpolators = published(_numpy.interpolators)
mean_error = published(_numpy.mean_error)
memorizing_error = published(_numpy.memorizing_error)
net_counts = published(_numpy.net_counts)
neuron_counts = published(_numpy.neuron_counts)
sample_interpolator = published(_numpy.sample_interpolator)
truth_table = published(_numpy.truth_table)
