"""The kernels that a CUDA device runs, over the same scalar cores as the CPU's loops. Imported only when one is asked for.

A kernel's body only moves data and counts: all arithmetic is in cores, which numba compiles for either target. So the
body runs unchanged in numba-cuda's simulator, where the cores are the CPU's.
"""
