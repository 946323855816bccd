"""Products whose events are counted, by the CUDA kernels in the simulator: the oracle's bits and counts."""

from dataclasses import asdict, fields

import numpy as np
import pytest

from numerics import Accumulator, Events, FloatFormat, Quantizer, Rounding, catalog, device
from numerics.device_products import matmul_on
from numerics.kernels.cuda._jit import SIMULATED
from tests.cuda.products import members, wanted_of

assert SIMULATED
QUEUE = device.own_queue()
NAMES = [field.name for field in fields(Events)]
SR = Rounding.SR
PRODUCT = Quantizer(catalog.E5M2)
SR_PRODUCT = Quantizer(catalog.E5M2, SR, random_bits=8)
SEEDED = {"seed": 3 + (1 << 40), "stream": 9 + (1 << 35)}


def check(accumulator, shape, *, batches=(1, 1), addend=False, scale=1.0, added=0.0, **drawn):
    """What is counted by definition, by name, after the device was seen to count the same."""
    a, b, c = members(shape, batches, addend)
    a = a * np.float32(scale)
    if added:  # products far below the sums
        a = a.astype(np.float64)
        a[..., 1::2] *= added
    wanted, counts = wanted_of(a, b, accumulator, c=c, events=True, **drawn)
    counts = counts if isinstance(counts, dict) else asdict(counts)
    found, events = matmul_on(a, b, accumulator, c=c, events=True, queue=QUEUE, **drawn)
    assert found.dtype == wanted.dtype and found.tobytes() == wanted.tobytes()
    for name in NAMES:
        expected, got = counts[name], getattr(events, name)
        assert got.dtype == np.int32 and got.shape == expected.shape
        assert np.array_equal(got, expected), (name, got, expected)
    return {name: int(counts[name].sum()) for name in NAMES}


CASES = {
    "chain": (Accumulator(catalog.E4M3), (3, 9, 5), {"batches": (2, 1), "addend": True}),
    "chain of float64": (Accumulator(FloatFormat(8, 25), Rounding.RTZ), (2, 5, 3), {"added": 2.0**-25}),
    "rounded products in chunks": (Accumulator(catalog.E5M2, product=PRODUCT, chunk=4), (3, 9, 3), {"scale": 2.0**-9}),
    "tree": (Accumulator(catalog.E4M3, Rounding.RTN, order="pairwise"), (2, 7, 3), {"addend": True}),
    "leaves": (Accumulator(catalog.E4M3, order="pairwise", block=3), (2, 8, 3), {}),
    "kahan": (Accumulator(catalog.E4M3, product=PRODUCT, order="kahan"), (2, 5, 3), {}),
    "chunks of trees": (Accumulator(catalog.E4M3, order="pairwise", chunk=4), (2, 9, 3), {"batches": (2, 1)}),
    "drawn": (Accumulator(catalog.E5M2, SR, random_bits=9, product=SR_PRODUCT, chunk=3), (2, 7, 3), SEEDED),
    "nothing rounded": (Accumulator(catalog.BINARY32), (2, 2, 2), {}),
}


@pytest.mark.parametrize("name", CASES)
def test_events(name):
    accumulator, shape, options = CASES[name]
    met = check(accumulator, shape, **options)
    assert (sum(met.values()) > 0) is (name != "nothing rounded")


def test_overflows():
    """Sums and products that leave the range, clamped and not."""
    met = check(Accumulator(catalog.E4M3), (2, 6, 3), scale=64.0)
    assert met["overflow"] and met["swamped"]
