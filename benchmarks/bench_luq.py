"""LUQ as a ratio to a compiled copy loop over the same float32 bytes, in one run: one thread, 2**24 elements.

Each case first proves its bits on a probe against the oracle. A good part of the time goes into the random words: 32 bits
an element, the default, take four times the Philox blocks of 8. Found on an Intel Xeon with AVX-512, alpha given and from x:
1.3 and 1.6 copies with 8 bits, 1.5 and 1.7 with 16, 1.8 and 2.1 with 32.
"""

import numpy as np
import pytest

from benchmarks.bench_quantize import copy_loop
from benchmarks.timing import ratio
from numerics import luq, random_words, set_num_threads
from numerics.reference import luq as oracle

COUNT = 1 << 24
# alpha given, random bits, words given: the target as a ratio to the copy loop, None where the figure is only stated
CASES = {
    "alpha given, 8 bits": (True, 8, False, 2.0),
    "alpha given, 16 bits": (True, 16, False, 2.0),
    "alpha given, 32 bits": (True, 32, False, 2.0),
    "alpha given, 8-bit words given": (True, 8, True, None),
    "alpha from x, 8 bits": (False, 8, False, 2.4),
    "alpha from x, 16 bits": (False, 16, False, 2.4),
    "alpha from x, 32 bits": (False, 32, False, 2.4),
}


@pytest.fixture(scope="module")
def data():
    set_num_threads(1)
    return np.random.default_rng(0).normal(size=COUNT).astype(np.float32)


@pytest.mark.parametrize("case", CASES)
def test_quantize(case, data, benchmark):
    given, bits, by_words, target = CASES[case]
    probe, alpha = data[:300], luq.alpha(data)
    words = random_words(300, bits, seed=1)
    want = [oracle.quantize_value(v, alpha, 7, w, bits) for v, w in zip(probe.tolist(), words.tolist(), strict=True)]
    np.testing.assert_array_equal(luq.quantize(probe, alpha=alpha, random_bits=bits, seed=1), np.float32(want))
    out = np.empty_like(data)
    call = {"alpha": alpha if given else None, "random_bits": bits, "out": out, "seed": 1}
    if by_words:
        call["words"] = random_words(COUNT, bits, seed=1)
    times_copy, seconds = ratio(lambda: luq.quantize(data, **call), lambda: copy_loop(data, out), rounds=9)
    benchmark.pedantic(lambda: luq.quantize(data, **call), rounds=1)
    figures = {"x copy loop": round(times_copy, 2), "target": target, "ps/element": round(seconds / COUNT * 1e12)}
    benchmark.extra_info |= figures
    print(f"\n{case}: {figures}")
