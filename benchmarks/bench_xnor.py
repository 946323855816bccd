"""Products of +-1 by bits, as multiples of numpy's float32 product of the same shape, one thread each, in one run.

Packed once, and with the packing of both operands; both routes. Results are compared with the float product, which is exact.
"""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from benchmarks.timing import best_of_one
from numerics import binary, get_num_threads, set_num_threads
from numerics.kernels import xnor

TARGET = 4.0
SIZES = [1024, 2048]


@pytest.fixture(autouse=True)
def one_thread():
    before = get_num_threads()
    set_num_threads(1)
    with threadpool_limits(1):
        yield
    set_num_threads(before)


@pytest.mark.parametrize("nibbles", [False, True], ids=["words", "nibbles"])
@pytest.mark.parametrize("size", SIZES)
def test_times_sgemm(size, nibbles, benchmark, monkeypatch):
    own = xnor.looks_up_bytes()
    if nibbles and not own:
        pytest.skip("this machine takes the other route")
    monkeypatch.setattr(xnor, "looks_up_bytes", lambda: nibbles)
    draw = np.random.default_rng(0)
    a, b = (draw.choice(np.array([-1, 1], np.float32), (size, size)) for _ in range(2))
    packed = binary.pack(a), binary.pack(b.T)
    assert np.array_equal(binary.xnor_matmul(a, b), (a @ b).astype(np.int32))
    calls = {
        "sgemm": lambda: a @ b,
        "packed once": lambda: binary.xnor_matmul(*packed),
        "with packing": lambda: binary.xnor_matmul(a, b),
    }
    seconds = {name: [] for name in calls}
    for _ in range(7):
        for name, call in calls.items():
            seconds[name].append(best_of_one(call))
    least = {name: min(taken) for name, taken in seconds.items()}
    benchmark.pedantic(calls["packed once"], rounds=3)
    benchmark.extra_info |= {
        "the route of this machine": own == nibbles,
        "GMAC/s": round(size**3 / least["packed once"] / 1e9),
        "packed once, times sgemm": round(least["sgemm"] / least["packed once"], 1),
        "with packing, times sgemm": round(least["sgemm"] / least["with packing"], 1),
        "target": TARGET,
    }
    print(f"\n{size}, {'nibbles' if nibbles else 'words'}: {benchmark.extra_info}")
