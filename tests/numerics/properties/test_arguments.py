"""What as_quantizer, as_accumulator and as_mask are given is refused with a sentence, not passed over or found by a check."""

import functools

import numpy as np
import pytest

from numerics import Accumulator, Overflow, Quantizer, Rounding, catalog
from numerics.properties import as_accumulator, as_mask, as_quantizer, checks, verify

E5M2, E4M3 = catalog.E5M2, catalog.E4M3
OURS = Quantizer(E5M2)


def nearest(x):
    return OURS.quantize(x)


@pytest.mark.parametrize(
    ("claimed", "sentence"),
    [
        ({"fmt": E4M3}, "fmt = e4m3fn beside a Quantizer that says e5m2: leave fmt out"),
        ({"rounding": Rounding.RTZ}, "rounding = RTZ beside a Quantizer that says RNE: leave"),
        ({"overflow": Overflow.IEEE}, "overflow = IEEE beside a Quantizer that says SATURATE: leave"),
        ({"random_bits": 4}, "random_bits = 4 beside a Quantizer that says None: leave random_bits out"),
        ({"sampler": True}, "leave sampler out"),
        ({"codes": True}, "leave codes out"),
        ({"source": E4M3}, "leave source out"),
        ({"axis": 0}, "leave axis out"),
        ({"tensor": np.asarray}, "leave tensor out"),
    ],
)
def test_what_a_quantizer_of_ours_does_not_say_is_not_passed_over(claimed, sentence):
    with pytest.raises(ValueError, match=r"leave .* out") as refused:
        as_quantizer(OURS, **claimed)
    assert sentence in str(refused.value)


def test_what_it_says_itself_may_be_said():
    stochastic = Quantizer(E5M2, Rounding.SR, Overflow.IEEE, 4)
    subject = as_quantizer(stochastic, fmt=E5M2, rounding=Rounding.SR, random_bits=4, overflow=Overflow.IEEE)
    assert subject.ideal == stochastic
    accumulator = Accumulator(E5M2)
    assert as_accumulator(accumulator, accumulator).claim == accumulator


def test_a_record_beside_another_claim():
    with pytest.raises(ValueError, match=r"beside a record that says .*: leave claim out"):
        as_accumulator(Accumulator(E5M2), Accumulator(E4M3))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: as_quantizer(nearest, fmt=E5M2, rounding="RNE"), "rounding = 'RNE': give a member of Rounding"),
        (
            lambda: as_quantizer(nearest, fmt=E5M2, rounding=Rounding.SR, random_bits=4.5),
            "random_bits = 4.5: give an integer from 1 to 32",
        ),
        (lambda: as_quantizer(nearest, fmt=E5M2, limit="many"), "limit = 'many': give an integer"),
        (lambda: as_quantizer(nearest, fmt=E5M2, source="e4m3fn"), "source = 'e4m3fn': give a format record"),
        (
            lambda: as_quantizer(nearest, fmt=E5M2, source=catalog.MXFP4_E2M1),
            "source = mxfp4_e2m1 in blocks of 32: give a format record",
        ),
        (lambda: as_quantizer(nearest, fmt=E5M2, tensor=True), "tensor = True: give a function"),
        (lambda: as_quantizer(nearest, fmt=E5M2, threads=2), "threads = 2: give the two functions"),
        (lambda: as_quantizer(nearest, fmt=E5M2, name=3), "name = 3: give a text"),
        (lambda: as_mask(nearest, 2.0, 4), "n = 2.0, m = 4: give integers"),
        (lambda: as_mask(nearest, tensor=True), "tensor = True: give a function"),
        (
            lambda: as_accumulator(nearest, Accumulator(E5M2), operands="e5m2"),
            "operands = 'e5m2': give a format record",
        ),
        (lambda: as_accumulator(nearest, Accumulator(E5M2), operands=(E5M2,) * 3), "or a pair of them"),
        (lambda: as_accumulator(nearest, Accumulator(E5M2), dtype=np.float16), "array of dtype float16"),
    ],
)
def test_wrong_arguments_are_refused_where_they_are_given(make, sentence):
    with pytest.raises(TypeError) as refused:
        make()
    assert sentence in str(refused.value)


class Rounder:
    def __call__(self, x):
        return x

    def run(self, x):
        return x


def test_a_line_that_reproduces_calls_something_that_takes_an_array():
    made = functools.partial(lambda x, scale: x, scale=1)
    for fn in (Rounder(), made, lambda x: x):
        assert as_quantizer(fn, fmt=E5M2).name == as_mask(fn).name == "fn"
        assert as_accumulator(fn, Accumulator(E5M2)).name == "fn"
    assert as_quantizer(Rounder().run, fmt=E5M2).name == "run"
    assert as_quantizer(Rounder(), fmt=E5M2, name="rounder").name == "rounder"


def test_a_verdict_that_is_not_there():
    with pytest.raises(KeyError, match="no verdict on 'unbiassed': there are member, "):
        verify(as_quantizer(OURS, limit=64))["unbiassed"]


def test_few_points_are_few_calls_with_every_word():
    ours = Quantizer(E5M2, Rounding.SR, random_bits=16)
    few, usual = (checks.bias(as_quantizer(ours, limit=limit)) for limit in (64, 2048))
    assert few.kind == usual.kind == "exhaustive"
    assert (few.cases, usual.cases) == (12 << 16, 64 << 16)
