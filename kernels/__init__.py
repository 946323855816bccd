"""Compiled scalar cores and loops: numba and numpy only, functions and integer constants, no classes.

Import it as ``numerics.kernels``; the folder at the top of the repository is reached through a symbolic link.
"""
