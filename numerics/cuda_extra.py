"""Imported first by what runs on CUDA devices: ImportError where numba-cuda is not installed.

numba has a module numba.cuda of its own, an old target that knows less of what the kernels ask for: a kernel that it
compiled would not be the one that is tested. numba-cuda puts its own in that place.
"""

from importlib.util import find_spec

try:
    FOUND = find_spec("numba_cuda") is not None
except ValueError:  # sys.modules says that it is none
    FOUND = False
if not FOUND:
    raise ImportError("no module named 'numba_cuda'; the numba.cuda of numba itself is not taken for it")
