"""Ratios of times: what the benchmarks measure with."""

from benchmarks import timing
from numerics import get_num_threads, set_num_threads


def test_a_call_that_takes_longer_than_a_spell_is_timed_all_the_same(monkeypatch):
    monkeypatch.setattr(timing, "SPELL", 0.0)
    before, threads = get_num_threads(), []
    try:
        assert timing.gain_of_two(lambda: threads.append(get_num_threads()), rounds=2) > 0
        assert threads == [1, 1, 2, 2] * 2 and get_num_threads() == 1
    finally:
        set_num_threads(before)
