"""Sums of chunks of another order that overflow: added one after the other, with the oracle's bits."""

import numpy as np
import pytest

from numerics import Accumulator, Overflow, Quantizer, Rounding, catalog, matmul
from numerics.steps import random_bits_of
from tests.cuda.products import wanted_of, words_of
from tests.numerics.units import assert_same
from tests.sampling import but_at_night

E5M2, BINARY16, BINARY32 = catalog.E5M2, catalog.BINARY16, catalog.BINARY32
IEEE, SATURATE, PROPAGATE = Overflow.IEEE, Overflow.SATURATE, Overflow.PROPAGATE
SR = Rounding.SR
OUTER = {
    "wide": Accumulator(BINARY32, overflow=IEEE),
    "saturates": Accumulator(BINARY32, overflow=SATURATE),
    "narrow, upward": Accumulator(E5M2, Rounding.RTP, PROPAGATE),
    "without infinity": Accumulator(catalog.E4M3, overflow=IEEE),
    "stochastic": Accumulator(BINARY16, SR, IEEE, random_bits=5),
}


def operands():
    """Of 3 x 4 outputs of each of two batches some overflow, one to infinities of both signs."""
    rng = np.random.default_rng(5)
    a = Quantizer(catalog.E4M3).quantize(rng.normal(size=(2, 3, 10)).astype(np.float32))
    b = Quantizer(catalog.E4M3).quantize(rng.normal(size=(2, 10, 4)).astype(np.float32))
    a[0, 1, 2:5], b[0, 2:5, 1] = 448.0, 448.0
    a[1, 2], b[1, :, 3] = 448.0, 448.0
    b[1, 5:, 3] = -448.0
    return a, b, rng.normal(size=(2, 3, 4)).astype(np.float32)


@pytest.mark.parametrize("name", but_at_night(OUTER, ["wide", "narrow, upward", "without infinity"]))
@pytest.mark.parametrize(
    ("order", "block"),
    but_at_night(
        [("exact", None), ("kahan", None), ("pairwise", None), ("pairwise", 2)], [("pairwise", None)], several=True
    ),
)
def test_equal_to_the_oracle(order, block, name):
    inner = {"overflow": IEEE, "order": order, "block": block}
    accumulator = Accumulator(E5M2, chunk=3, outer=OUTER[name], **inner)
    a, b, c = operands()
    assert not np.isfinite(wanted_of(a[..., :9], b[:, :9], Accumulator(E5M2, **inner))).all()
    for start in (None, c):
        drawn = {"seed": 3, "stream": 1 << 33} if accumulator.stochastic else {}
        found = matmul(a, b, accumulator, c=start, **drawn)
        wanted = wanted_of(a, b, accumulator, c=start, **drawn)
        assert_same(found, wanted)
        if drawn:
            words = words_of(accumulator, (2, 3, 4), 10, **drawn)
            assert {int(r) for r in random_bits_of(accumulator, 10)} == {0, 5}
            assert_same(matmul(a, b, accumulator, c=start, words=words), found)


def test_a_format_without_nan_refuses_one_and_says_where():
    infinite = Accumulator(E5M2, overflow=IEEE, order="kahan", chunk=5, outer=Accumulator(catalog.E2M1))
    a, b, _ = operands()
    with pytest.raises(ValueError, match=r"0.0 \+ nan at output \(0, 1, 1\) is NaN: e2m1 has no NaN"):
        matmul(a, b, infinite)


def test_what_counts_or_combines_otherwise_refuses():
    a, b, _ = operands()
    accumulator = Accumulator(E5M2, overflow=IEEE, order="exact", chunk=5, outer=OUTER["wide"])
    with pytest.raises(ValueError, match=r"the sum of chunk 0 of output \(0, 1, 1\) .* which counted sums do not take"):
        matmul(a, b, accumulator, events=True)
    accumulator = Accumulator(E5M2, overflow=IEEE, chunk=5, outer=Accumulator(BINARY32, order="pairwise"))
    with pytest.raises(ValueError, match=r"the sum of chunk 0 of output \(0, 1, 1\) .* which 'pairwise' sums do not"):
        matmul(a, b, accumulator)
    accumulator = Accumulator(E5M2, overflow=IEEE, order="exact", chunk=5, outer=OUTER["wide"])
    assert "of infinities or NaN output by output" in matmul(a, b, accumulator, explain=True)[1].reason
