"""The short way of gradients of chains of few elements gives the bits, and the sentences, of the general one."""

from dataclasses import replace

import numpy as np
import pytest

from numerics import (
    Accumulator,
    FixedFormat,
    FloatFormat,
    NanEncoding,
    Overflow,
    Quantizer,
    Rounding,
    brief_chains,
    catalog,
    chain_gradients,
    parse_format,
)
from numerics.questions import check_question
from tests.sampling import but_at_night

R = Rounding
LBA = Accumulator(
    parse_format("lba_m7e4_b10_paper"), R.RTZ, product=Quantizer(parse_format("lba_m7e4_b12_paper"), R.RTZ), chunk=4
)
M4E3 = catalog.lba(4, 3, 3, paper=True)
#: Chains of 8 and of all, in float32 and float64, of words in blocks and laid out; and what is asked of each.
CHAINS = {
    "chunks": (LBA, {}),
    "products": (replace(LBA, chunk=None), {"rule": "recursive", "event": "overflow"}),
    "far": (Accumulator(M4E3, R.RTZ), {"tolerance": 0.125}),
    "binary32": (Accumulator(catalog.BINARY32), {"event": "overflow"}),
    "words in blocks": (Accumulator(FloatFormat(3, 4), R.SR, random_bits=8, chunk=16), {"rule": "recursive"}),
    "words laid out": (Accumulator(FloatFormat(3, 4), R.SR, random_bits=8), {"rule": "recursive"}),
    "no chain": (Accumulator(FixedFormat(8), order="pairwise"), {"rule": "identity"}),
}


def array(*shape, seed):
    return (np.random.default_rng(seed).standard_normal(shape) * 2).astype(np.float32)


def generally(call, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(brief_chains, "MULTIPLICATIONS", -1)
        return call()


@pytest.mark.parametrize("name", but_at_night(CHAINS, ["words laid out", "far", "binary32"]))
def test_gradients_of_chains(name, monkeypatch):
    accumulator, options = CHAINS[name]
    keys = {"seed": 2**64 - 1, "stream": 5} if accumulator.stochastic else {}
    question = check_question(accumulator, **{"rule": "immediate", "event": "diff", "tolerance": 0.0, **options})
    members = Quantizer(catalog.E4M3)
    for m, k, n in ((2, 70, 3), (5, 4, 9), (1, 1, 1)):
        a, b = (members.quantize(array(*shape, seed=k)) for shape in ((m, k), (k, n)))
        upstream = array(m, n, seed=9).astype(float)
        upstream[0, 0] = np.inf
        for left, right, gradient in (
            (a, b, upstream),
            (a.astype(float).T.copy().T, b.astype(float), upstream.astype(np.float32)),
            (a * 0, -b, upstream[::-1]),
        ):
            given = left, right, gradient, accumulator
            assert brief_chains.gradients(*given, question, *(keys.values() or (None, 0))) is not None
            found = chain_gradients(*given, **options, **keys)
            wanted = generally(lambda given=given: chain_gradients(*given, **options, **keys), monkeypatch)
            for one, other in zip(found, wanted, strict=True):
                assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
                assert one.flags.carray


def test_chains_that_are_refused_or_not_of_small_matrices(monkeypatch):
    a, half = np.ones((2, 2), np.float32), Accumulator(catalog.BINARY16)
    words = Accumulator(FloatFormat(3, 4), R.SR, random_bits=8, chunk=16)
    strict = replace(CHAINS["products"][0], overflow=Overflow.ERROR)
    no_nan = Accumulator(FloatFormat(4, 3, nan=NanEncoding.NONE), R.RTZ, Overflow.IEEE)
    for given, options in (
        ((a[None], a, a, half), {}),
        ((a, a, a[:1], half), {}),
        ((a, a.astype(float), a, half), {}),
        ((a, a, a.tolist(), half), {}),
        ((a, a * np.nan, a, half), {"rule": "identity"}),
        ((a, a, a, half), {"stream": 1 << 64}),
        ((a, a, a, half), {"seed": -1}),
        ((a, a, a, words), {}),
        ((a, a, a, words), {"seed": 1 << 64}),
        ((a, a, a, Accumulator(catalog.BINARY64)), {}),
        ((a * 256, a * 256, a, strict), {}),
        ((a * 256, -a * np.float32([[1, -1]]).T * 256, a, no_nan), {}),
    ):
        outcomes = []
        for run in (lambda call: call(), lambda call: generally(call, monkeypatch)):
            try:
                with np.errstate(all="ignore"):
                    found = run(lambda given=given, options=options: chain_gradients(*given, **options))
                outcomes.append([(x.dtype, x.tobytes()) for x in found])
            except (ValueError, TypeError, OverflowError) as error:
                outcomes.append(str(error))
        assert outcomes[0] == outcomes[1]
