"""What `make gpu-check` runs on a card: equality with the CPU, recorded vectors, speed beside its ceilings, a report.

Needs the repository and torch, numba, numba-cuda, numpy and pytest. Every case runs in a child process, so that one that
takes the device's context with it is a line of the report and not the end of it.
"""
