"""Sentences name elements and outputs as the caller indexes them: of vectors, of stacks, in pieces, without an index."""

import re

import numpy as np
import pytest

from numerics import Accumulator, FixedFormat, Overflow, Quantizer, Rounding, catalog, dot, matmul
from tests.numerics import grids

E4M3, INT8, UINT8 = catalog.E4M3, FixedFormat(8), FixedFormat(8, signed=False)
ACC, STRICT = Accumulator(E4M3), Overflow.ERROR
TINY = grids.KINDS["infinity_without_nan"]
X = np.array([1.0, 2.0, 3.0])


def put(x, where, value):
    changed = np.array(x, float)
    changed[where] = value
    return changed


HUGE = np.full(3, 100.0)
VECTORS = [
    ("NaN in a", lambda: dot(put(X, 2, np.nan), X, ACC), "a[2] is nan: products are exact for finite"),
    ("infinity in b", lambda: dot(X, put(X, 1, np.inf), ACC), "b[1] is inf: products are exact for finite"),
    ("NaN in c", lambda: dot(X, X, ACC, c=np.nan), "c is nan: products are exact for finite"),
    ("NaN in c alone", lambda: dot(X[:0], X[:0], ACC, c=np.nan), "c is nan: products are exact for finite"),
    ("float", lambda: dot(HUGE, HUGE, Accumulator(E4M3, overflow=STRICT)), "the accumulation of the output overflows"),
    (
        "exact",
        lambda: dot(HUGE, HUGE, Accumulator(E4M3, overflow=STRICT, order="exact")),
        "the accumulation of the output overflows",
    ),
    (
        "fixed",
        lambda: dot(HUGE, X, Accumulator(INT8, overflow=STRICT)),
        "100 + 100.0 * 2.0, the sum at step k = 1 of the output, is outside of -128 to 127, the range of s8.0; scale",
    ),
    (
        "fixed product",
        lambda: dot(HUGE, X, Accumulator(FixedFormat(20), product=Quantizer(INT8, overflow=STRICT))),
        "100.0 * 2.0, the product at step k = 1 of the output, is outside",
    ),
    (
        "fixed tree",
        lambda: dot(HUGE, X, Accumulator(INT8, overflow=STRICT, order="pairwise")),
        "rounding s = 0 of S = 3 of the output, a sum of the pairwise tree, is outside",
    ),
    (
        "chunk of fixed",
        lambda: dot(HUGE, put(X, 0, 0), Accumulator(INT8, overflow=STRICT, chunk=1)),
        "0 + 100.0 * 2.0, the sum at step k = 1 of the output, is outside",
    ),
    (
        "sums of chunks of fixed",
        lambda: dot(HUGE, X[[0, 0, 0]], Accumulator(INT8, overflow=STRICT, chunk=1)),
        "100 + 100.0, the sum at chunk 1 of the output, is outside",
    ),
    (
        "tree of chunks of fixed",
        lambda: dot(
            HUGE, X[[0, 0, 0]], Accumulator(INT8, chunk=1, outer=Accumulator(INT8, overflow=STRICT, order="pairwise"))
        ),
        "rounding s = 0 of S = 3 of the output, a sum of the pairwise tree of chunks, is outside",
    ),
    (
        "chunk",
        lambda: dot(HUGE, HUGE, Accumulator(E4M3, overflow=STRICT, chunk=2, outer=Accumulator(E4M3, order="pairwise"))),
        "the sum of chunk 0 of the output overflows e4m3fn",
    ),
    (
        "infinite chunk",
        lambda: dot(
            HUGE,
            HUGE * 100,
            Accumulator(catalog.E5M2, overflow=Overflow.IEEE, chunk=2, outer=Accumulator(E4M3, order="exact")),
        ),
        "the sum of chunk 0 of the output overflowed e5m2 to an infinity or NaN, which 'exact' sums do not take",
    ),
    (
        "NaN that the format lacks",
        lambda: dot(X[:2] * [14, -7], X[:1].repeat(2) * 2, Accumulator(TINY, overflow=Overflow.IEEE, chunk=1)),
        "the output is NaN (an overflow became one",
    ),
    (
        "unsigned",
        lambda: dot(X, put(X, 1, -2), Accumulator(UINT8)),
        "b[1] is -2.0: u8.0 is unsigned and takes nonnegative operands only",
    ),
    ("unsigned c", lambda: dot(X, X, Accumulator(UINT8), c=-2.0), "c is -2.0: u8.0 is unsigned"),
    (
        "unsigned exact",
        lambda: dot(X, -X, Accumulator(UINT8, order="exact")),
        "the output is negative, or one of its products is: u8.0",
    ),
    (
        "words",
        lambda: dot(X, X, Accumulator(E4M3, Rounding.SR), words=np.zeros(2, int)),
        "words of shape (2,): give one for each rounding of each output, (3,)",
    ),
]


@pytest.mark.parametrize(("name", "call", "sentence"), VECTORS, ids=[case[0] for case in VECTORS])
def test_a_dot_product_has_one_output_and_vectors(name, call, sentence):
    with pytest.raises((ValueError, OverflowError), match=f"^{re.escape(sentence)}"):
        call()


UNIT = catalog.MATRIX_UNITS["v100.f16.f32"]
SCALED = next(unit for unit in catalog.MATRIX_UNITS.values() if unit.scale_block == 32)
ONES, SCALES = np.ones(64, np.float32), np.ones(2, np.float32)
UNITS = [
    ("a", lambda: dot(put(X, 2, 1 + 2.0**-20), X, UNIT), "a[2] is 1.0000009536743164, no value of"),
    ("b", lambda: dot(X, put(X, 0, 1e30), UNIT), "b[0] is 1e+30, no value of"),
    ("c", lambda: dot(X, X, UNIT, c=1 + 2.0**-40), "c is 1.0000000000009095, no value of"),
    (
        "shape of scales",
        lambda: dot(ONES, ONES, SCALED, scale_a=SCALES, scale_b=SCALES[:1]),
        "scale_b of shape (1,): blocks of 32 k want (2,)",
    ),
    (
        "scale",
        lambda: dot(ONES, ONES, SCALED, scale_a=SCALES * 3 * 2.0**-140, scale_b=SCALES),
        "scale_a[0] is ",
    ),
]


@pytest.mark.parametrize(("name", "call", "sentence"), UNITS, ids=[case[0] for case in UNITS])
def test_a_dot_product_on_a_matrix_unit(name, call, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        call()


def test_a_dot_product_on_a_matrix_unit_with_scales():
    assert dot(ONES, ONES, SCALED, scale_a=SCALES * 2, scale_b=SCALES, c=np.float32(1)) == 129


@pytest.mark.nightly
def test_what_a_dot_product_returns_has_no_dimensions():
    acc = Accumulator(E4M3, Rounding.SR, product=Quantizer(E4M3))
    value, events, plan = dot(X, X, acc, words=np.zeros(6, int), events=True, explain=True)
    assert isinstance(value, np.float64)
    assert value == matmul(X[None], X[:, None], acc, words=np.zeros((1, 1, 6), int))
    assert events.inexact.shape == ()
    assert plan.reason
    assert dot(X, X, Accumulator(INT8), encode=True) == 14
    assert dot(X[:0], X[:0], acc, seed=1) == 0
    value, events = dot(X[:0], X[:0], ACC, c=1000.0, events=True)
    assert (value, events.overflow) == (448, 1)


def stacked(index, value):
    """[2, 1, 2, 3] times [3, 3, 2] plus [3, 1, 2]: a result of [2, 3, 2, 2]."""
    a, b, c = np.ones((2, 1, 2, 3)), np.ones((3, 3, 2)), np.zeros((3, 1, 2))
    for operand, (where, changed) in zip((a, b, c), zip(index, value, strict=True), strict=True):
        if where is not None:
            operand[where] = changed
    return a, b, c


@pytest.mark.parametrize(
    ("index", "sentence"),
    [
        (((1, 0, 1, 2), None, None), "a[1, 0, 1, 2] is -9.0: u8.0 is unsigned"),
        ((None, (2, 1, 0), None), "b[2, 1, 0] is -9.0: u8.0 is unsigned"),
        ((None, None, (2, 0, 1)), "c[2, 0, 1] is -9.0: u8.0 is unsigned"),
    ],
)
@pytest.mark.parametrize("chunk", [None, 1])
def test_operands_that_were_broadcast(index, sentence, chunk):
    a, b, c = stacked(index, (-9.0, -9.0, -9.0))
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        matmul(a, b, Accumulator(UINT8, chunk=chunk), c=c)


def test_a_negative_sum_of_a_chunk_is_named():
    a, b, _ = stacked((None, (2, 1, 0), None), (0, -9.0, 0))
    acc = Accumulator(INT8, chunk=1, outer=Accumulator(UINT8))
    with pytest.raises(ValueError, match=r"^the sum of chunk 1 of output \(0, 2, 0, 0\) is -9.0: u8.0 is unsigned"):
        matmul(a, b, acc)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, r"1 \+ 1.0 \* 999.0, the sum at step k = 1 of output \(1, 2, 0, 1\), is"),
        ({"order": "pairwise"}, r"rounding s = 0 of S = 3 of output \(1, 2, 0, 1\), a sum"),
        ({"order": "exact"}, r"the accumulation of output \(1, 2, 0, 1\) overflows"),
        ({"chunk": 1}, r"0 \+ 1.0 \* 999.0, the sum at step k = 1 of output \(1, 2, 0, 1\), is"),
        (
            {"chunk": 1, "outer": Accumulator(FixedFormat(9), overflow=STRICT)},
            r"0 \+ 1.0 \* 999.0, the sum at step k = 1 of output \(1, 2, 0, 1\), is",
        ),
    ],
)
def test_outputs_of_stacks(options, sentence):
    a, b, _ = stacked((None, (2, 1, 1), None), (0, 999.0, 0))
    a[0] = 0
    a[1, 0, 1] = 0
    for strict in (Accumulator(FixedFormat(9), overflow=STRICT, **options),):
        with pytest.raises(OverflowError, match=f"^{sentence}"):
            matmul(a, b, strict)
    with pytest.raises(OverflowError, match=r"output \(0, 1\)"):
        matmul(a[1, 0, :1], b[2], Accumulator(FixedFormat(9), overflow=STRICT, **options))


def test_sums_of_chunks_of_stacks():
    a, b, _ = stacked((None, (2, slice(None), 1), None), (0, 100.0, 0))
    with pytest.raises(OverflowError, match=r"^100 \+ 100.0, the sum at chunk 1 of output \(0, 2, 0, 1\), is"):
        matmul(a, b, Accumulator(FixedFormat(8), overflow=STRICT, chunk=1))


RAGGED, OBJECTS = [[1.0, 2.0], [3.0]], np.array([[1.0, 2.0]], dtype=object)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (
            lambda: matmul(RAGGED, X[:, None], ACC),
            ValueError,
            "a is no array, its rows differ in length or depth: give a",
        ),
        (lambda: matmul(X[None], RAGGED, ACC), ValueError, "b is no array, its rows differ in length or depth: give a"),
        (lambda: matmul(X[None], X[:, None], ACC, c=RAGGED), ValueError, "c is no array, its rows differ"),
        (lambda: matmul(OBJECTS, X[:, None], ACC), TypeError, "a of dtype object: give a float32 or float64 array"),
        (lambda: matmul(X[None], OBJECTS, ACC), TypeError, "b of dtype object: give a float32 or float64 array"),
        (lambda: matmul(X[None], X[:, None], ACC, c=OBJECTS), TypeError, "c of dtype object: give a float32 or"),
        (lambda: dot(RAGGED, X, ACC), ValueError, "a is no array, its rows differ"),
        (lambda: dot(X, RAGGED, ACC), ValueError, "b is no array, its rows differ"),
        (lambda: dot(X, X, ACC, c=RAGGED), ValueError, "c is no array, its rows differ"),
        (lambda: dot(OBJECTS[0], X, ACC), TypeError, "a of dtype object"),
        (lambda: dot(X, X, ACC, c=object()), TypeError, "c of dtype object"),
        (lambda: dot(RAGGED, X, UNIT), ValueError, "a is no array, its rows differ"),
        (
            lambda: matmul(X[None], X[:, None], Accumulator(E4M3, Rounding.SR), words=RAGGED),
            ValueError,
            "words is no array, its rows differ in length or depth: give an array of integers",
        ),
        (
            lambda: dot(np.ma.masked_array(X), X, ACC),
            TypeError,
            "a is a masked array: its mask would be lost; give a.filled(value)",
        ),
    ],
)
def test_what_is_no_array_of_numbers(call, error, sentence):
    with pytest.raises(error, match=f"^{re.escape(sentence)}"):
        call()
