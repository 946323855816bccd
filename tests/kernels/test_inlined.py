"""Functions that are inlined, not called: no machine code of them is made, and what they call is found in any order."""

import sys

import numba
import numpy as np
import pytest
from numba.core.runtime import _nrt_python, rtsys

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


@core
def parts(size):
    """Arrays of its own and a part of one, in a tuple in a tuple."""
    first = np.empty(size, np.float64)
    return first, (first[1:], np.empty(2 * size, np.int64)), size


def make_alias(part):
    def alias(line, size):
        first, (second, third), n = parts(size)
        for _ in range(3):
            first, held = np.zeros(size, np.float64), first
            held[0] = 1.0
        rows = (line[1:], first) if n > part else (first, line)
        third[0] = n
        return rows[0], second.size + third[0]

    return alias


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


@pytest.fixture
def counted():
    """Counts what numba allocates and frees, which it does on demand only."""
    on = _nrt_python.memsys_stats_enabled()
    _nrt_python.memsys_enable_stats()
    yield rtsys.get_allocation_stats
    if not on:
        _nrt_python.memsys_disable_stats()


def test_each_array_is_freed_once(counted):
    made = loop(make_alias(2))
    line = np.arange(5.0)
    view, count = made(line, 3)  # compiled first
    assert view.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert view.base is not None
    assert count == 5
    del view
    references, before = sys.getrefcount(line), counted()
    for size in (3, 2, 3, 1):
        view, count = made(line, size)
        assert count == 2 * size - 1
        assert view.sum() == (10 if size > 2 else 0)
    del view
    after = counted()
    assert after.alloc - before.alloc == after.free - before.free > 15
    assert after.mi_alloc - before.mi_alloc == after.mi_free - before.mi_free > 15
    assert sys.getrefcount(line) == references
