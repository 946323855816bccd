"""What the compiler makes of the loops for processors that this machine may not have: the tests of the code, not a run of it.

Not of logarithmic formats, whose rows are computed by compiled code.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
AVX2 = "+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+popcnt,+sse,+sse2,+sse3,+sse4.1,+sse4.2,+ssse3"
AVX512 = f"{AVX2},+avx512bw,+avx512cd,+avx512dq,+avx512f,+avx512vl"
PROCESSORS = {"haswell": AVX2, "znver1": AVX2, "znver3": AVX2, "skylake-avx512": AVX512, "znver4": AVX512}


@pytest.mark.nightly
@pytest.mark.parametrize("name", PROCESSORS)
def test_the_code_for_other_processors_is_as_wide_and_as_plain(name, tmp_path):
    others = {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": PROCESSORS[name], "NUMBA_CACHE_DIR": str(tmp_path)}
    files = HERE / "test_codegen.py", HERE / "test_unit_codegen.py"
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", "not log", *files],
        cwd=HERE.parents[1], env=os.environ | others, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    passed = re.search(r"(\d+) passed", ran.stdout)
    assert ran.returncode == 0 and passed and int(passed[1]) > 100, ran.stdout[-3000:] + ran.stderr[-3000:]
