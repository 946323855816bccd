"""Faults that one length, one place or one layout of an array alone shows."""

import numpy as np
import pytest

from numerics import Quantizer, Rounding, catalog
from numerics.properties import ClaimError, as_quantizer, checks

RIGHT = Quantizer(catalog.E4M3)
CUT = Quantizer(catalog.E4M3, Rounding.RTZ)
RANDOM = Quantizer(catalog.E4M3, Rounding.SR, random_bits=8)


def cut_where(where):
    """Right, but truncating the flat places that where(x) says."""

    def fn(x):
        flat = np.array(x).reshape(-1)
        result, places = np.array(RIGHT.quantize(flat)), where(x)
        result[places] = CUT.quantize(flat[places])
        return result.reshape(x.shape)

    return as_quantizer(fn, fmt=catalog.E4M3, name="fn")


def words_turned(where, turn):
    def fn(x, words):
        turned = np.array(words).reshape(-1)
        turned[where(x)] = turn(turned[where(x)])
        return RANDOM.quantize(x, words=turned.reshape(x.shape))

    return as_quantizer(fn, fmt=catalog.E4M3, rounding=Rounding.SR, random_bits=8)


def only(condition, places=slice(None)):
    return lambda x: places if condition(x) else slice(0, 0)


@pytest.mark.parametrize("length", [1, 2, 3, 13, 31, 64, 65, 129, 1000])
@pytest.mark.parametrize("places", [slice(None), slice(-1, None), slice(0, 1)])
def test_one_length(length, places):
    with pytest.raises(ClaimError, match=r"any_shape: .*, an element gave another result"):
        checks.any_shape(cut_where(only(lambda x: x.size == length, places)))


@pytest.mark.parametrize(("width", "rest"), [(w, n) for w in (4, 8, 16, 32) for n in (1, 2, 3)])
def test_the_rest_of_a_loop(width, rest):
    with pytest.raises(ClaimError, match="any_shape"):
        checks.any_shape(cut_where(only(lambda x: x.size % width == rest, slice(-1, None))))


@pytest.mark.parametrize("place", [0, 7, 31, 1000, 4095, 60000])
def test_one_place(place):
    with pytest.raises(ClaimError, match="any_shape"):
        checks.any_shape(cut_where(lambda x: slice(place, place + 1)))


@pytest.mark.parametrize("dimensions", [0, 2, 3, 4])
def test_one_number_of_dimensions(dimensions):
    with pytest.raises(ClaimError, match="any_shape") as caught:
        checks.any_shape(cut_where(only(lambda x: x.ndim == dimensions)))
    assert "reshape" in caught.value.details["reproduce"]


def in_memory_order(x):
    return np.array(RIGHT.quantize(x.ravel(order="K"))).reshape(x.shape)


@pytest.mark.parametrize(
    "subject",
    [
        as_quantizer(in_memory_order, fmt=catalog.E4M3),
        cut_where(only(lambda x: x.ndim > 1 and not x.flags.c_contiguous)),
        cut_where(only(lambda x: any(stride < 0 for stride in x.strides))),
        as_quantizer(
            lambda x, words: RANDOM.quantize(x, words=words.ravel(order="K").reshape(x.shape)),
            fmt=catalog.E4M3,
            rounding=Rounding.SR,
            random_bits=8,
        ),
    ],
    ids=["memory order", "gaps", "backwards", "memory order of words"],
)
def test_one_layout(subject):
    with pytest.raises(ClaimError, match="any_shape"):
        checks.any_shape(subject)


@pytest.mark.parametrize("place", [0, 7, 4095])
@pytest.mark.parametrize("turn", [lambda w: w ^ 1, lambda w: w | 1, lambda w: w ^ 128, lambda w: w >> 1], ids=range(4))
def test_the_word_of_one_place(place, turn):
    with pytest.raises(ClaimError, match="any_shape"):
        checks.any_shape(words_turned(lambda x: slice(place, place + 1), turn))


def test_words_with_gaps_reach_the_function_with_gaps():
    seen = []

    def fn(x, words):
        seen.append(words.strides)
        return RANDOM.quantize(x, words=words)

    subject = as_quantizer(fn, fmt=catalog.E4M3, rounding=Rounding.SR, random_bits=8)
    subject(np.ones(4, np.float32), np.zeros((4, 3), np.uint32)[:, 1])
    assert seen[-1] != (4,)


def test_what_only_zeros_do():
    def fn(x):
        return np.ones_like(x) if x.size and not x.any() else RIGHT.quantize(x)

    with pytest.raises(ClaimError, match="any_shape: 96 times over"):
        checks.any_shape(as_quantizer(fn, fmt=catalog.E4M3))


def test_the_line_makes_the_fault_again():
    subject = cut_where(only(lambda x: x.ndim == 2 and not x.flags.c_contiguous))
    with pytest.raises(ClaimError) as caught:
        checks.any_shape(subject)
    details = caught.value.details
    found = eval(details["reproduce"], {"np": np, "fn": subject.fn})
    assert float(found) == float(details["seen"].split()[0]) != float(details["allowed"].split()[0])


def test_arrays_that_may_be_refused_are_not_held_against_it():
    def fn(x):
        if x.ndim == 0 or any(stride < 0 for stride in x.strides):
            raise ValueError("no such array")
        return RIGHT.quantize(x)

    assert checks.any_shape(as_quantizer(fn, fmt=catalog.E4M3)).cases > 10**6


def test_the_line_of_what_gives_an_array_without_dimensions_one_has_none_either():
    def fn(x):
        return np.atleast_1d(Quantizer(catalog.E4M3).quantize(x))

    with pytest.raises(ClaimError, match="result: an array of float32") as error:
        checks.any_shape(as_quantizer(fn, fmt=catalog.E4M3))
    line = error.value.details["reproduce"]
    assert line.endswith(".reshape(()))")
    assert eval(line, {"fn": fn, "np": np}).shape == (1,)
