"""Compiled code on disk: found again without an edit, never after an edit of any kernel source."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from numerics.kernels import elementwise, gemm, modes
from numerics.kernels._jit import source_digest

ROOT = Path(__file__).resolve().parents[2]
# 17 is half way from 16 to 18; with one random bit it goes up for the word 1 alone. The entry point is in
# elementwise.py, the rounder that it calls in rounding.py; SR_B has no faster form beside it.
SCRIPT = """
import json
import numpy as np
from numerics import Quantizer, Rounding, catalog
from numerics.kernels import elementwise

loops = []
make = elementwise.make_quantize
def noting(*arguments):
    loops.append(make(*arguments))
    return loops[-1]
elementwise.make_quantize = noting

quantizer = Quantizer(catalog.E4M3, Rounding.SR_B, random_bits=1)
values = quantizer.quantize(np.array([17.0, 17.0], np.float32), words=np.array([0, 1]))
hits = sum(sum(loop.stats.cache_hits.values()) for loop in loops)
misses = sum(sum(loop.stats.cache_misses.values()) for loop in loops)
print(json.dumps([values.tolist(), hits, misses]))
"""


@pytest.fixture
def package(tmp_path):
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "kernels", tmp_path / "kernels", ignore=ignore)
    shutil.copytree(ROOT / "numerics", tmp_path / "numerics", symlinks=True, ignore=ignore)
    return tmp_path


def run(package):
    """[values, cache hits, cache misses] of a fresh process that uses this copy."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("NUMBA_", "PYTHON"))}
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, cwd=package, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_edited_callee_is_seen_and_without_an_edit_the_cache_is_hit(package):
    assert run(package) == [[16, 18], 0, 1]
    assert run(package) == [[16, 18], 1, 0]
    # Not in the file of the entry point: numba alone would go on with the old code.
    path = package / "kernels" / "rounding.py"
    source = path.read_text(encoding="utf-8")
    old, new = "(word >= room if carry else word > room)", "(word >= room if carry else word >= room)"
    assert source.count(old) == 1
    path.write_text(source.replace(old, new), encoding="utf-8")
    assert run(package) == [[18, 18], 0, 1]
    path.write_text(source, encoding="utf-8")
    assert run(package)[0] == [16, 18]


def test_the_digest_covers_every_source(package):
    folder = package / "kernels"
    before = source_digest(folder)
    for path in sorted(folder.rglob("*.py")):
        source = path.read_bytes()
        path.write_bytes(source + b"\n")
        assert source_digest(folder) != before, path
        path.write_bytes(source)
    assert source_digest(folder) == before
    (folder / "new.py").write_bytes(b"")
    assert source_digest(folder) != before


FIRST_CALLS = """
import json
import time
import numpy as np
from numerics import Accumulator, Quantizer, Rounding, arithmetic, catalog, matmul, parse_format

x, square = np.ones(100, np.float32), np.ones((10, 10), np.float32)
e4m3 = Quantizer(catalog.E4M3)
stochastic = Quantizer(catalog.E5M2, Rounding.SR)
calls = {
    "the first of the process": lambda: e4m3.quantize(x),
    "RTP": lambda: Quantizer(catalog.E5M2, Rounding.RTP).quantize(x),
    "int8": lambda: Quantizer(catalog.INT8).quantize(x),
    "mxfp4": lambda: Quantizer(catalog.MXFP4_E2M1).quantize(x),
    "encode": lambda: e4m3.encode(x),
    "decode": lambda: e4m3.decode(np.zeros(100, np.uint8)),
    "SR": lambda: stochastic.quantize(x, seed=1),
    "posit16": lambda: Quantizer(parse_format("posit16")).quantize(x),
    "log5.3": lambda: Quantizer(parse_format("log5.3")).quantize(x),
    "nvfp4": lambda: Quantizer(catalog.NVFP4).quantize(x),
    "add": lambda: arithmetic.add(x, x, e4m3),
    "matmul": lambda: matmul(square, square, Accumulator(catalog.E5M2)),
}
seconds = {}
for name, call in calls.items():
    begin = time.perf_counter()
    call()
    seconds[name] = time.perf_counter() - begin
print(json.dumps(seconds))
"""


@pytest.mark.nightly
def test_first_calls_of_cached_kernels_are_quick():
    """Under 50 ms each, after the first one of the process, which starts numba; the best of three processes."""
    runs = []
    for _ in range(4):  # the first fills the cache where it is empty
        done = subprocess.run([sys.executable, "-c", FIRST_CALLS], cwd=ROOT, capture_output=True, text=True, check=True)
        runs.append(json.loads(done.stdout))
    _, *later = runs[0]
    best = {name: min(run[name] for run in runs[1:]) for name in later}
    assert max(best.values()) < 0.05, best


def test_each_set_of_constants_has_an_index_of_its_own():
    """One index of all would be read whole at the first call of each loop, and written whole after each compilation."""

    def indices(make, constants):
        return {make(*chosen)._cache._cache_file._index_name for chosen in constants}

    constants = [(modes.RNE, 0, 0, 0), (modes.RTZ, 0, 0, 0), (modes.RNE, 1, 0, 0), (modes.RNE, 0, 1, 0)]
    assert len(indices(elementwise.make_quantize, constants)) == 4
    assert len(indices(gemm.make_chain, [(modes.RNE, -1, -1, 0), (modes.RNE, -1, modes.RNE, 0)])) == 2
