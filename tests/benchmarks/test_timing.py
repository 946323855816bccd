"""Ratios of times: what the benchmarks measure with. Run by its path: nothing may import from their folder."""

import runpy
from pathlib import Path

from numerics import get_num_threads, set_num_threads

TIMING = Path(__file__).parents[2] / "benchmarks" / "timing.py"


def test_a_call_that_takes_longer_than_a_spell_is_timed_all_the_same(monkeypatch):
    gain_of_two = runpy.run_path(str(TIMING))["gain_of_two"]
    monkeypatch.setitem(gain_of_two.__globals__, "SPELL", 0.0)
    before, threads = get_num_threads(), []
    try:
        assert gain_of_two(lambda: threads.append(get_num_threads()), rounds=2) > 0
        assert threads == [1, 1, 2, 2] * 2 and get_num_threads() == 1
    finally:
        set_num_threads(before)
