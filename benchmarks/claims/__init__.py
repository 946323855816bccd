"""What the papers claim of trainings, tried at the scale of a CPU: `python -m benchmarks.claims`."""
