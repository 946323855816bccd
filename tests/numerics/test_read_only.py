"""Read-only operands, as other libraries hand them out, and stacks of matrices take the loops that others take."""

import gc

import numpy as np
import pytest
from numba.core.registry import CPUDispatcher

from numerics import Accumulator, LogFormat, Quantizer, Rounding, catalog, logscale, matmul
from numerics.operands import unlocked
from tests.numerics.grids import assert_same_bits

BINARY16 = Accumulator(catalog.BINARY16)
EXACT = Accumulator(catalog.BINARY16, order="exact")


def read_only(x):
    return np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape)


def compiled():
    """For how many kinds of arguments loops are compiled, or were found on disk."""
    return sum(len(one.signatures) for one in gc.get_objects() if issubclass(type(one), CPUDispatcher))


def drawn(*shape):
    return np.random.default_rng(0).integers(-8, 9, shape).astype(np.float32)


@pytest.mark.parametrize("accumulator", [BINARY16, EXACT], ids=["chain", "exact"])
def test_products_of_read_only_operands_and_of_stacks_compile_nothing(accumulator):
    a, b, c = drawn(4, 40, 48), drawn(4, 48, 33), drawn(4, 40, 33)
    wanted = [matmul(x, y, accumulator, c=z) for x, y, z in zip(a, b, c, strict=True)]
    before = compiled()
    for left, right, start in ((a, b, c), map(read_only, (a, b, c)), (read_only(a), b, read_only(c))):
        assert_same_bits(matmul(left, right, accumulator, c=start), np.stack(wanted))
    assert_same_bits(matmul(read_only(a[1]), read_only(b[1]), accumulator, c=read_only(c[1])), wanted[1])
    assert compiled() == before


def test_quantizers_and_codes_too():
    x, words = drawn(3000), np.arange(3000, dtype=np.uint32) & np.uint32(0xFF)
    stochastic, nearest = Quantizer(catalog.E4M3, Rounding.SR, random_bits=8), Quantizer(catalog.E4M3)
    powers, codes = LogFormat(4, 2, bias=7), np.arange(128, dtype=np.uint8)
    calls = [
        lambda lie: stochastic.quantize(lie(x), words=lie(words)),
        lambda lie: nearest.encode(lie(x)),
        lambda lie: nearest.decode(lie(nearest.encode(x))),
        lambda lie: logscale.multiply(lie(codes), lie(codes), powers),
    ]
    wanted = [call(np.array) for call in calls]
    before = compiled()
    for call, values in zip(calls, wanted, strict=True):
        assert_same_bits(call(read_only), values)
    assert compiled() == before


@pytest.mark.parametrize("shape", [(), (0, 3), (5, 4)])
def test_the_memory_is_the_same_and_is_kept(shape):
    held = drawn(*shape)
    held.flags.writeable = False
    for x in (held, held.T, held[..., None], held.astype(">f4")):
        x.flags.writeable = False
        found = unlocked(x)
        assert found.flags.writeable or x.dtype.isbuiltin != 1
        assert (found.dtype, found.tolist()) == (x.dtype, x.tolist()) and found.shape == x.shape
        assert not x.size or np.shares_memory(found, x)
    alone = unlocked(np.frombuffer(bytes(range(256)), np.uint8))
    gc.collect()
    assert alone.tolist() == list(range(256))
    names = np.array(["e4m3", None], object)
    names.flags.writeable = False
    assert unlocked(names) is names
    there = drawn(3)
    assert unlocked(there) is there
