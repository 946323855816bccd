"""Arithmetic on the codes of logarithmic formats: on the exact powers of two that they stand for, not on their values.

A code without sign is 2**(k * 2**-f), so a product is a sum of whole numbers and exact. A sum of powers is decided from
tables that are drawn from integer intervals, and rounded once.
"""

from ..rounding import Underflow
from .arithmetic import add, divide, multiply, subtract
from .products import LogAccumulator, matmul
from .sums import LogError, SumTable

__all__ = ["LogAccumulator", "LogError", "SumTable", "Underflow", "add", "divide", "matmul", "multiply", "subtract"]
