"""N:M masks, as ratios to a compiled copy loop over the same bytes, in one run: one thread, 2**24 float32 elements.

Each case first proves its bits on a probe against the oracle.
"""

import numpy as np
import pytest

from benchmarks.bench_quantize import copy_loop
from benchmarks.timing import ratio
from numerics import random_words, set_num_threads, sparsity
from numerics.reference import masks

COUNT = 1 << 24
#: n, m, method, random bits (None: the largest are kept), the target as a ratio to the copy loop, None: only stated.
CASES = {
    "2:4 largest": (2, 4, "", None, None),
    "2:4 exact, 32 bits": (2, 4, "exact", 32, 8.0),
    "2:4 exact, 16 bits": (2, 4, "exact", 16, 8.0),
    "2:4 approximate, 32 bits": (2, 4, "approximate", 32, None),
    "1:2 exact, 32 bits": (1, 2, "exact", 32, None),
    "4:8 exact, 32 bits": (4, 8, "exact", 32, None),
    "4:8 largest": (4, 8, "", None, None),
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    set_num_threads(1)


@pytest.fixture(scope="module")
def data():
    return np.random.default_rng(0).normal(size=COUNT).astype(np.float32)


def _assert_exact_on_a_probe(x, n, m, method, bits):
    probe = x[: 64 * m].reshape(-1, m)
    if bits is None:
        kept = sparsity.top_n(probe, n, m) != 0
        assert all(masks.keeps_the_largest(b.tolist(), k.tolist(), n) for b, k in zip(probe, kept, strict=True))
        return
    words = random_words(len(probe), bits, seed=1)
    found = sparsity.mvue(probe, n, m, method=method, seed=1, random_bits=bits)
    for block, word, row in zip(probe.tolist(), words.tolist(), found, strict=True):
        wanted = masks.estimate(block, n, word, bits, approximate=method == "approximate")
        np.testing.assert_array_equal(row, np.float32([float(v) for v in wanted]))


@pytest.mark.parametrize("case", CASES)
def test_masks(case, data, benchmark):
    n, m, method, bits, target = CASES[case]
    _assert_exact_on_a_probe(data, n, m, method, bits)
    out = np.empty_like(data)
    if bits is None:
        call = lambda: sparsity.top_n(data, n, m, out=out)  # noqa: E731
    else:
        call = lambda: sparsity.mvue(data, n, m, method=method, seed=1, random_bits=bits, out=out)  # noqa: E731
    times_copy, seconds = ratio(call, lambda: copy_loop(data, out), rounds=5)
    benchmark.pedantic(call, rounds=1)
    figures = {"x copy loop": round(times_copy, 2), "target": target, "ps/element": round(seconds / COUNT * 1e12)}
    benchmark.extra_info |= figures
    print(f"\n{case}: {figures}")


def test_transposable(benchmark):
    w = np.random.default_rng(0).normal(size=(512, 512)).astype(np.float32)
    for n, m in ((2, 4), (4, 8)):
        for method in ("exact", "greedy"):
            out = np.empty_like(w)
            _, seconds = ratio(
                lambda n=n, m=m, method=method: sparsity.transposable_mask(w, n, m, method=method),
                lambda out=out: copy_loop(w.reshape(-1), out.reshape(-1)),
                rounds=3,
            )
            tiles = w.size // m**2
            print(f"\n{n}:{m} {method}: {seconds / tiles * 1e9:.0f} ns a tile")
    benchmark.pedantic(lambda: sparsity.transposable_mask(w), rounds=1)
