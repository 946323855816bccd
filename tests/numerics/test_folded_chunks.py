"""Chunks that are computed several at a time: the bits, events and refusals of one after the other, in fewer calls."""

from dataclasses import astuple

import numpy as np
import pytest

from numerics import Accumulator, FixedFormat, FloatFormat, Overflow, Quantizer, Rounding, catalog, execution, matmul
from numerics import problem as problems
from tests.sampling import but_at_night

HALF, SR = catalog.BINARY16, Rounding.SR
SMALL = FloatFormat(4, 3)
PARTS = {
    "kahan": Accumulator(SMALL, order="kahan", chunk=3),
    "tree": Accumulator(SMALL, Rounding.RTN, order="pairwise", chunk=5, outer=Accumulator(HALF, order="pairwise")),
    "blocks": Accumulator(SMALL, SR, order="pairwise", chunk=5, block=2, random_bits=5),
    "exact": Accumulator(HALF, order="exact", chunk=4, product=Quantizer(SMALL, Rounding.RTZ)),
    "fixed": Accumulator(FixedFormat(8, 2), SR, chunk=3, random_bits=9, outer=Accumulator(FixedFormat(12, 1))),
    "integers": Accumulator(FixedFormat(60, 3), SR, chunk=3, random_bits=4, product=Quantizer(FixedFormat(20, 2))),
    "every part draws": Accumulator(
        SMALL,
        SR,
        order="kahan",
        chunk=4,
        random_bits=3,
        product=Quantizer(HALF, SR, random_bits=12),
        outer=Accumulator(HALF, Rounding.SR_B, order="pairwise", random_bits=20),
    ),
}


def one_by_one(monkeypatch):
    def refused(*_):
        raise ValueError("not at once")

    monkeypatch.setattr(execution, "_folded", refused)


def operands(batch):
    rng = np.random.default_rng(5)
    a = rng.integers(-15, 16, (*batch, 3, 23)) * 2.0 ** rng.integers(-6, 2, (*batch, 3, 23))
    b = rng.integers(-15, 16, (23, 7)) * 0.125
    return a, b, rng.integers(-3, 4, (3, 7)) * 0.25


@pytest.mark.parametrize(
    ("batch", "room"),
    [((), 1), ((), 300), ((2,), 1 << 22), ((9,), 1 << 22)],
    ids=["one output at a time", "parts of rows", "all", "more matrices than chunks"],
)
@pytest.mark.parametrize(
    "name", but_at_night(PARTS, ["tree", "blocks", "integers", "exact", "every part draws", "fixed"])
)
def test_results_and_events_are_those_of_chunk_after_chunk(name, batch, room, monkeypatch):
    accumulator = PARTS[name]
    a, b, c = operands(batch)
    options = {"c": c, "events": True, "encode": isinstance(accumulator.format, FixedFormat)}
    if accumulator.stochastic:
        options["seed"] = 7
    monkeypatch.setattr(execution, "_WORDS_AT_ONCE", room)
    result, events = matmul(a, b, accumulator, **options)
    one_by_one(monkeypatch)
    wanted, counted = matmul(a, b, accumulator, **options)
    assert result.tobytes() == wanted.tobytes()
    for mine, theirs in zip(astuple(events), astuple(counted), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_given_words_are_cut_among_the_chunks(monkeypatch):
    accumulator = Accumulator(SMALL, SR, order="kahan", chunk=4, random_bits=3)
    a, b, _ = operands(())
    words = np.random.default_rng(1).integers(0, 8, (3, 7, accumulator.roundings(23)))
    result = matmul(a, b, accumulator, words=words)
    one_by_one(monkeypatch)
    assert result.tobytes() == matmul(a, b, accumulator, words=words).tobytes()
    assert result.tobytes() != matmul(a, b, accumulator, words=words ^ 7).tobytes()


def test_many_chunks_take_few_calls(monkeypatch):
    calls = []
    own = execution.run
    monkeypatch.setattr(execution, "run", lambda *args, **options: calls.append(1) or own(*args, **options))
    matmul(np.ones((2, 1003)), np.ones((1003, 2)), Accumulator(HALF, order="kahan", chunk=4))
    assert len(calls) == 3  # full chunks, the last, their sums


def test_words_are_drawn_a_few_times_and_not_once_more_for_each_chunk(monkeypatch):
    drawn = []
    own = problems.random_words
    monkeypatch.setattr(
        problems, "random_words", lambda count, *bits, **key: drawn.append(count) or own(count, *bits, **key)
    )
    accumulator = Accumulator(HALF, SR, order="kahan", chunk=4, random_bits=8)
    matmul(np.ones((2, 1000)), np.ones((1000, 2)), accumulator, seed=1)
    assert sum(drawn) <= 2 * 4 * accumulator.roundings(1000)


def test_refusals_name_the_caller_s_own_outputs():
    a, b = np.ones((3, 40)), np.ones((40, 2))
    a[2, 33] = 1000
    strict = Accumulator(SMALL, order="kahan", chunk=4, overflow=Overflow.ERROR)
    with pytest.raises(OverflowError, match=r"the sum of chunk 8 of output \(2, 0\) overflows e4m3"):
        matmul(a, b, strict)
    with pytest.raises(OverflowError, match=r"step k = 33 of output \(2, 0\)"):
        matmul(a, b, Accumulator(FixedFormat(8), chunk=4, overflow=Overflow.ERROR))


@pytest.mark.parametrize("fmt", [SMALL, FixedFormat(8)], ids=str)
@pytest.mark.parametrize("batches", [1, 3])
def test_the_first_output_is_named_though_another_one_s_chunk_overflows_before(batches, fmt):
    options = {"order": "kahan"} if fmt is SMALL else {"rounding": SR, "random_bits": 8}
    strict = Accumulator(fmt, chunk=4, overflow=Overflow.ERROR, **options)
    key = {"seed": 3} if strict.stochastic else {}
    a, b = np.zeros((batches, 3, 40)), np.ones((40, 2))
    a[-1, 2, 1] = 1000
    a[-1, 1, 33] = 1000
    where = r"\(1, 0\)" if batches == 1 else r"\(2, 1, 0\)"
    with pytest.raises(OverflowError, match=rf"(chunk 8|step k = 33) of output {where}") as caught:
        matmul(a if batches > 1 else a[0], b, strict, **key)
    assert caught.value.__context__ is None  # the other output is not spoken of
    a[0, 0] = 15  # whose chunks fit, and whose sum does not
    where = r"\(0, 0\)" if batches == 1 else r"\(0, 0, 0\)"
    with pytest.raises(OverflowError, match=rf"of output {where}"):
        matmul(a if batches > 1 else a[0], b, strict, **key)
