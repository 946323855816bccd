"""The oracle: every operation in exact rationals, slow and readable. It shares no code with the kernels.

Values are Python floats (float64 holds every format exactly); what lies between them is `fractions.Fraction`.
"""

from . import arithmetic, binary, chains, logscale, matrix_unit
from .decision import floor_log2, rounds_up, stochastic_threshold
from .floats import lower_neighbour, magnitude_code, round_exact
from .products import accumulate, add, matmul, multiply_add
from .values import decode_code, encode, encode_value, quantize, round_value

__all__ = [
    "accumulate",
    "add",
    "arithmetic",
    "binary",
    "chains",
    "decode_code",
    "encode",
    "encode_value",
    "floor_log2",
    "logscale",
    "lower_neighbour",
    "magnitude_code",
    "matmul",
    "matrix_unit",
    "multiply_add",
    "quantize",
    "round_exact",
    "round_value",
    "rounds_up",
    "stochastic_threshold",
]
