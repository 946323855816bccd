"""Functions that are inlined, not called: no machine code of them is made, and what they call is found in any order."""

import numba
import numpy as np
import pytest

from numerics.kernels._inlined import Lowered
from numerics.kernels._jit import by_literals, core, loop


@core
def doubled(x):
    return x + x


@core
def sometimes(x, mode):
    """Calls `doubled` for one mode alone: for the others the optimiser takes the call away before it is linked."""
    if mode == 1:
        return doubled(x)
    return x


@by_literals
def chosen(x, mode):
    if mode.literal_value:
        return lambda x, mode: doubled(x) + sometimes(x, mode)
    return lambda x, mode: sometimes(x, mode) + doubled(x)


def make_sum(mode):
    def total(line):
        result = 0.0
        for x in line:
            if mode == 1:
                result += sometimes(x, mode)
            result += chosen(x, mode)
        return result

    return total


LINE = np.array([1.0, 2.0, 3.0])


@pytest.mark.parametrize("compiler", [loop, numba.njit], ids=["loop", "numba's own"])
@pytest.mark.parametrize(("mode", "factor"), [(0, 3), (1, 6), (2, 3)])
def test_what_is_called_below_is_linked_once_and_found(compiler, mode, factor):
    assert compiler(make_sum(mode))(LINE) == factor * LINE.sum()


def test_there_is_no_machine_code_of_a_core_until_python_calls_it():
    @core
    def tripled(x):
        return x + x + x

    @numba.njit
    def caller(x):
        return tripled(x)

    assert caller(2.0) == 6
    [compiled] = tripled.overloads.values()
    assert isinstance(compiled.library, Lowered)
    assert not tripled.alone.signatures
    assert tripled(2.0) == 6 and tripled(np.float32(3)) == 9
    assert len(tripled.alone.signatures) == 2
