"""The record of an accumulator: what it is, and the ones that cannot be."""

import pickle
import re
from dataclasses import FrozenInstanceError, replace

import pytest

from numerics import Accumulator, Overflow, Quantizer, Rounding, catalog, parse_format
from tests.numerics import grids

E4M3, BINARY32 = catalog.E4M3, catalog.BINARY32


def test_defaults():
    acc = Accumulator(E4M3)
    assert (acc.rounding, acc.overflow, acc.order) == (Rounding.RNE, Overflow.SATURATE, "sequential")
    assert acc.product is acc.chunk is acc.outer is acc.random_bits is None
    assert not acc.stochastic


def test_accumulators_are_values():
    acc = Accumulator(E4M3, Rounding.RTZ, product=Quantizer(catalog.E5M2), chunk=16)
    same = Accumulator(
        E4M3, Rounding.RTZ, Overflow.SATURATE, product=Quantizer(parse_format("e5m2")), chunk=16, order="sequential"
    )
    assert acc == same
    assert hash(acc) == hash(same)
    assert acc != replace(acc, chunk=15)
    assert pickle.loads(pickle.dumps(acc)) == acc
    with pytest.raises(FrozenInstanceError):
        acc.chunk = 3  # type: ignore[misc]


def test_chunks_are_combined_by_the_same_accumulator_unless_said():
    acc = Accumulator(E4M3, Rounding.RTZ, chunk=4, product=Quantizer(catalog.E5M2))
    assert acc.combining.format == E4M3
    assert acc.combining.rounding is Rounding.RTZ
    outer = Accumulator(BINARY32, Rounding.RNE, Overflow.IEEE)
    assert replace(acc, outer=outer).combining is outer


@pytest.mark.parametrize(
    ("arguments", "options", "error", "sentence"),
    [
        (("e4m3fn",), {}, TypeError, "format 'e4m3fn': sums are accumulated in a FloatFormat"),
        ((E4M3, 12), {}, TypeError, "rounding = 12: give one of Rounding.RNE"),
        ((E4M3, Rounding.RNE, 12), {}, TypeError, "overflow = 12: give one of Overflow.IEEE"),
        ((E4M3, Rounding.RNE, Overflow.WRAP), {}, ValueError, "Overflow.WRAP is for fixed point"),
        (
            (catalog.E2M1, Rounding.RNE, Overflow.IEEE),
            {},
            ValueError,
            "e2m1 has neither infinity nor NaN for Overflow.IEEE",
        ),
        ((E4M3,), {"product": E4M3}, TypeError, "product e4m3fn: give Quantizer(e4m3fn), or None for exact products"),
        (
            (E4M3,),
            {"order": "random"},
            ValueError,
            "order 'random' is not known: known are sequential, pairwise, kahan, exact",
        ),
        ((E4M3,), {"chunk": 0}, ValueError, "chunk = 0: give a number of products of at least 1"),
        ((E4M3,), {"chunk": -3}, ValueError, "chunk = -3"),
        ((E4M3,), {"chunk": 1.5}, ValueError, "chunk = 1.5"),
        ((E4M3,), {"chunk": True}, ValueError, "chunk = True"),
        ((E4M3,), {"outer": Accumulator(BINARY32)}, ValueError, "outer combines the sums of chunks: give chunk="),
        ((E4M3,), {"outer": BINARY32, "chunk": 2}, TypeError, "outer binary32: give Accumulator(binary32), or None"),
        ((E4M3,), {"outer": Accumulator(BINARY32, chunk=2), "chunk": 2}, ValueError, "neither chunk= nor product="),
        (
            (E4M3,),
            {"outer": Accumulator(BINARY32, product=Quantizer(E4M3)), "chunk": 2},
            ValueError,
            "neither chunk= nor product=",
        ),
        ((E4M3, Rounding.SR), {"random_bits": 33}, ValueError, "random_bits = 33: give an integer from 1 to 32"),
        ((E4M3,), {"block": 0, "order": "pairwise"}, ValueError, "block = 0: give a number of products"),
        ((E4M3,), {"block": 4}, ValueError, "block = 4 with order 'sequential': blocks are the leaves"),
        ((catalog.INT8,), {"order": "kahan"}, ValueError, 'order "kahan" in int8: sums on a fixed grid lose nothing'),
        ((catalog.INT8,), {"product": Quantizer(E4M3)}, TypeError, "products of an accumulator in a FixedFormat"),
        ((E4M3,), {"product": Quantizer(catalog.INT8)}, TypeError, "products of an accumulator in a FloatFormat"),
        ((E4M3,), {"random_bits": 4}, ValueError, "random_bits = 4 with RNE"),
        (
            (grids.KINDS["unsigned"],),
            {},
            ValueError,
            "e4m3 (unsigned, NaN top_code) is unsigned: sums and products may be negative",
        ),
        (
            (E4M3,),
            {"product": Quantizer(grids.KINDS["unsigned_plain"])},
            ValueError,
            "e3m3 (unsigned, no infinities, NaN none) is unsigned",
        ),
        (
            (E4M3,),
            {
                "product": Quantizer(E4M3, overflow=Overflow.ERROR),
                "chunk": 2,
                "outer": Accumulator(BINARY32, Rounding.RNE, Overflow.IEEE),
            },
            ValueError,
            "Overflow.ERROR in one part of an accumulator and Overflow.IEEE in another",
        ),
        (
            (E4M3, Rounding.RNE, Overflow.IEEE),
            {"product": Quantizer(E4M3, overflow=Overflow.ERROR)},
            ValueError,
            "Overflow.ERROR in one part of an accumulator and Overflow.IEEE in another",
        ),
    ],
)
def test_impossible_accumulators(arguments, options, error, sentence):
    with pytest.raises(error, match=re.escape(sentence)):
        Accumulator(*arguments, **options)


def test_how_many_roundings_an_output_takes():
    product = Quantizer(catalog.E5M2)
    assert Accumulator(E4M3).roundings(0) == 1
    assert Accumulator(E4M3).roundings(7) == 7
    assert Accumulator(E4M3, product=product).roundings(7) == 14
    assert Accumulator(E4M3, chunk=3).roundings(7) == 7 + 3
    assert Accumulator(E4M3, chunk=3, product=product, outer=Accumulator(BINARY32)).roundings(7) == 14 + 3
    assert Accumulator(E4M3, order="pairwise").roundings(7) == 6 + 1
    assert Accumulator(E4M3, order="pairwise", block=3).roundings(7) == 7 + 2 + 1
    assert Accumulator(E4M3, order="kahan", product=product).roundings(7) == 35
    assert Accumulator(E4M3, order="exact").roundings(7) == 1
    assert Accumulator(E4M3, order="exact", chunk=3).roundings(7) == 3 + 1


def test_the_parts_of_a_chunked_accumulator():
    acc = Accumulator(E4M3, chunk=4, product=Quantizer(catalog.E5M2), order="kahan")
    assert acc.inner == replace(acc, chunk=None)
    assert acc.combining == Accumulator(E4M3, order="kahan")
    assert Accumulator(E4M3).inner == Accumulator(E4M3).combining == Accumulator(E4M3)
