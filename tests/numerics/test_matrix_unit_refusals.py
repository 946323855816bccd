"""What matrix units and their products refuse, with the value in the sentence."""

import re
from dataclasses import replace

import numpy as np
import pytest

from numerics import (
    Accumulator,
    FloatFormat,
    MatrixUnit,
    NanEncoding,
    Overflow,
    Rounding,
    Subnormals,
    catalog,
    dot,
    matmul,
)

UNITS = catalog.MATRIX_UNITS
A100, NVF4 = UNITS["a100.f16.f32"], UNITS["b200.tcgen05.nvf4.f32"]
F16, F32, E2M1 = catalog.BINARY16, catalog.BINARY32, catalog.E2M1
PROMOTE = Accumulator(F32, Rounding.RNE, Overflow.IEEE)
A, B = np.ones((2, 3), np.float32), np.ones((3, 4), np.float32)


@pytest.mark.parametrize(
    ("fields", "error", "sentence"),
    [
        ({"L": 0}, ValueError, "L = 0: give at least 1"),
        ({"L": 8.0}, TypeError, "L = 8.0: give an integer"),
        ({"L": True}, TypeError, "L = True"),
        ({"L": 6, "groups": "bit1"}, ValueError, "L = 6: with groups = 'bit1', give a multiple of 4"),
        ({"F": -1}, ValueError, "F = -1: give at least 0"),
        # Once wrong bits: no exponent of a kernel reaches so far. What is longer was an error of Python's or of the memory.
        ({"Emin_floor": 4096}, ValueError, "Emin_floor = 4096: give at most 1000 in magnitude"),
        ({"product_limit": -(10**30)}, ValueError, f"product_limit = {-(10**30)}: give at most 1000 in magnitude"),
        ({"L": 1 << 31, "groups": "bit1"}, ValueError, "L = 2147483648: give at most 16777216 in magnitude"),
        ({"scale": catalog.E8M0, "scale_block": 10**30}, ValueError, f"scale_block = {10**30}: give at most"),
        ({"F": None}, ValueError, "F = None: a fused unit cuts its terms to F bits"),
        ({"F": 58}, ValueError, "L = 8, F = 58: sums of up to 64 bits; blocks are summed in 62"),
        ({"ar": "up"}, ValueError, "ar = 'up': give one of rz, floor, exact"),
        ({"tree": "ring"}, ValueError, "tree = 'ring': give one of fused, pairwise, sequential"),
        ({"c_place": "first"}, ValueError, "c_place = 'first'"),
        ({"groups": 2}, ValueError, "groups = 2: give one of one, even_odd, bit1"),
        ({"ftz_in": True}, ValueError, "ftz_in = True: give one of keep, signed, positive"),
        ({"ftz_out": 1}, TypeError, "ftz_out = 1: give True or False"),
        ({"rounding": Rounding.SR}, ValueError, "results are rounded by Rounding.RTZ or Rounding.RNE"),
        ({"rounding": 2}, ValueError, "rounding = 2"),
        ({"input": "f16"}, TypeError, "input = 'f16': give a FloatFormat"),
        ({"input": catalog.INT8}, TypeError, "input = 'int8': give a FloatFormat"),
        ({"input": catalog.BINARY64}, ValueError, "input binary64: operands of a fused unit are values of binary32"),
        ({"output": catalog.BINARY64}, ValueError, "output binary64: results of a fused unit are values of binary32"),
        ({"output": catalog.E4M3}, ValueError, "output e4m3fn has no infinity: say overflow_to_infinity=False"),
        ({"output": FloatFormat(4, 0, nan=NanEncoding.TOP_CODE)}, ValueError, "of at least one mantissa bit"),
        ({"input": FloatFormat(4, 3, signed=False)}, ValueError, "is unsigned"),
        ({"output": FloatFormat(8, 23, subnormals=Subnormals.FLUSH)}, ValueError, "say ftz_out=True"),
        ({"c_format": F16}, ValueError, "c_format binary16 lacks values of the output binary32"),
        ({"F2": 31}, ValueError, "F2 = 31, Fc = None: give both with c_place='late', neither otherwise"),
        ({"c_place": "late", "F2": 20, "Fc": 24}, ValueError, "F2 = 20: give at least F = 24 and Fc = 24"),
        ({"c_reach": 25}, ValueError, "c_reach = 25: it says which c are dropped"),
        ({"ar": "exact"}, ValueError, "ar = 'exact' cuts nothing"),
        ({"scale": catalog.E8M0}, ValueError, "scale = e8m0, scale_block = None: give both or neither"),
        ({"scale": F16, "scale_block": 8}, ValueError, "scales have up to 8 significant bits"),
        ({"scale": catalog.E8M0, "scale_block": 12}, ValueError, "scale_block = 12: it divides L = 8, or L divides it"),
        ({"exact_group": 4}, ValueError, "exact_group = 4: sums of products of binary16 need 80 bits; 24 do"),
        ({"input": E2M1, "exact_group": 3}, ValueError, "exact_group = 3: it divides L"),
        ({"chunk": 128}, ValueError, "chunk = 128, outer = None: the sums of chunks are added by `outer`; give both"),
        ({"outer": PROMOTE}, ValueError, "chunk = None, outer ="),
        ({"chunk": 0, "outer": PROMOTE}, ValueError, "chunk = 0: give at least 1"),
        ({"chunk": 8, "outer": "f32"}, TypeError, "outer = 'f32': give an Accumulator"),
        ({"chunk": 8, "outer": replace(PROMOTE, chunk=2)}, ValueError, "outer adds sums of chunks one by one"),
        ({"tree": "sequential"}, ValueError, "a sequential unit rounds by Rounding.RNE"),
        ({"tree": "sequential", "rounding": Rounding.RNE}, ValueError, "F belongs to fused units"),
    ],
)
def test_fields_that_do_not_fit(fields, error, sentence):
    with pytest.raises(error, match=re.escape(sentence)):
        replace(A100, **fields)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"tree": "pairwise", "L": 3, "c_place": "late"}, "a pairwise unit has L a power of two"),
        ({"tree": "pairwise"}, "a pairwise unit has"),
        ({"tree": "sequential", "groups": "even_odd"}, "chains that start from c are one; say c_place='late'"),
        ({"tree": "sequential", "c_place": "separate_add"}, "c_place = 'separate_add'"),
        ({"tree": "sequential", "output": catalog.BFLOAT16}, "adds in binary32 or binary64"),
        ({"tree": "sequential", "input": catalog.BINARY64}, "that the steps in binary32 do not hold"),
        ({"tree": "sequential", "output": catalog.BINARY64, "ftz_out": True}, "flushed in binary32 only"),
        ({"tree": "sequential", "prodnorm": True}, "prodnorm belongs to fused units"),
        ({"tree": "sequential", "ar": "floor"}, "ar belongs to fused units"),
    ],
)
def test_steps_that_do_not_fit(fields, sentence):
    given = {"input": F16, "output": F32, "L": 4, "rounding": Rounding.RNE, **fields}
    with pytest.raises(ValueError, match=re.escape(sentence)):
        MatrixUnit(**given)


def test_scales_and_chunks_that_do_not_fit():
    with pytest.raises(ValueError, match="chunk = 24: give a multiple of scale_block = 16"):
        replace(NVF4, chunk=24, outer=PROMOTE)
    with pytest.raises(ValueError, match=re.escape("groups = 'bit1': a unit with scales has groups='one'")):
        replace(UNITS["b200.tcgen05.mxf8_e4m3.f32"], groups="bit1")
    with pytest.raises(ValueError, match="product_limit = 8: a unit with scales has none"):
        replace(NVF4, product_limit=8)
    with pytest.raises(ValueError, match="scale_block = 8: exact_group = 16 divides it"):
        replace(NVF4, scale_block=8)


@pytest.mark.parametrize(
    ("a", "b", "error", "sentence"),
    [
        (A.astype(int), B, TypeError, "a of dtype int64: give a float32 or float64 array"),
        (A, B.astype(np.float16), TypeError, "b of dtype float16"),
        (A[0], B, ValueError, "a of shape (3,): give a matrix (dot takes vectors)"),
        (A, B[:2], ValueError, "a (2, 3) and b (2, 4) do not match"),
        (np.ones((2, 2, 3)), np.ones((5, 3, 4)), ValueError, "batch dimensions (2,) and (5,) do not broadcast"),
        (np.ma.masked_array(A), B, TypeError, "a is a masked array"),
    ],
)
def test_operands_that_do_not_fit(a, b, error, sentence):
    with pytest.raises(error, match=re.escape(sentence)):
        matmul(a, b, A100)


def test_a_stream_is_checked_where_nothing_is_drawn():
    for call in (lambda: matmul(A, B, A100, stream=-1), lambda: dot(A[0], A[0], A100, stream=-1)):
        with pytest.raises(ValueError, match="stream = -1: give an integer in"):
            call()


def put(array, where, value):
    changed = array.copy()
    changed[where] = value
    return changed


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["a100.f16.f32", "mi210.f16.f32", "mi100.exact.f16.f32", "mi300.f16.f32"])
@pytest.mark.parametrize("value", [1 + 2.0**-11, 65536.0, 2.0**-25, 3 * 2.0**-25])
def test_values_that_the_format_lacks(name, dtype, value):
    unit, a, b = UNITS[name], A.astype(dtype), B.astype(dtype)
    for label, operands in (("a[1, 2]", (put(a, (1, 2), value), b)), ("b[0, 3]", (a, put(b, (0, 3), value)))):
        sentence = f"{label} is {dtype(value)!s}, no value of binary16: round it first, by Quantizer(format).quantize"
        with pytest.raises(ValueError, match=re.escape(sentence)):
            matmul(*operands, unit)
    stack = put(np.ones((2, 3, 4, 3), dtype), (1, 2, 0, 1), value)
    with pytest.raises(ValueError, match=re.escape("a[1, 2, 0, 1] is")):
        matmul(stack, b, unit)


def test_values_that_float32_lacks():
    with pytest.raises(ValueError, match=re.escape("b[0, 1] is 1e+300, no value of binary16")):
        matmul(A, put(B.astype(float), (0, 1), 1e300), A100)
    truncating = replace(UNITS["a100.tf32.f32"], tf32_trunc=True)
    with pytest.raises(ValueError, match="a has values that binary32 lacks"):
        matmul(put(A.astype(float), (0, 1), 1 + 2.0**-40), B, truncating)
    with pytest.raises(ValueError, match=re.escape("a[0, 0] is 1.0001221")):
        matmul(put(A, (0, 0), 1 + 2.0**-13), B, UNITS["a100.tf32.f32"])


def test_specials_that_the_format_lacks():
    for value in (np.nan, np.inf):
        with pytest.raises(ValueError, match=re.escape(f"a[0, 1] is {value}, no value of e2m1")):
            matmul(put(A, (0, 1), value), B, UNITS["b200.tcgen05.e2m1.f32"])
    with pytest.raises(ValueError, match=re.escape("a[0, 1] is inf, no value of e4m3fn")):
        matmul(put(A, (0, 1), np.inf), B, UNITS["h100.e4m3.f32"])
    assert np.isnan(matmul(put(A, (0, 1), np.nan), B, UNITS["h100.e4m3.f32"])[0]).all()


@pytest.mark.parametrize(
    ("fields", "a", "c", "sentence"),
    [
        ({}, np.inf, None, "output (1, 0) is inf, no value of the output e4m3fn: keep operands, c finite"),
        ({"c_format": catalog.BINARY32}, 1.0, np.inf, "output (0, 0) is inf, no value of the output e4m3fn"),
        (
            {"product_limit": 3},
            8.0,
            None,
            "output (1, 0) is inf, no value of the output e4m3fn: keep operands, c and pro",
        ),
        (
            {"chunk": 1, "outer": PROMOTE},
            np.inf,
            None,
            "chunk 1 of output (1, 0) is inf, no value of the output e4m3fn",
        ),
    ],
)
def test_specials_that_the_output_lacks(fields, a, c, sentence):
    output = {"overflow_to_infinity": False, "rounding": Rounding.RNE}
    unit = MatrixUnit(catalog.E5M2, catalog.E4M3, 4, 13, **output, **fields)
    x = put(np.ones((2, 3), np.float32), (1, 1), a)
    with pytest.raises(ValueError, match=re.escape(sentence)):
        matmul(x, np.ones((3, 4), np.float32), unit, c=None if c is None else np.float32(c))
    if c is not None:
        with pytest.raises(ValueError, match=re.escape(sentence)):
            matmul(x[:, :0], np.ones((0, 4), np.float32), unit, c=np.float32(c))


@pytest.mark.parametrize(
    ("c", "error", "sentence"),
    [
        (np.ones((3, 4)), ValueError, "c of shape (3, 4) does not broadcast to the result's (2, 4)"),
        (np.ones((2, 4), int), TypeError, "c of dtype int64"),
        (put(np.ones((2, 4)), (1, 3), 1 + 2.0**-24), ValueError, "c[1, 3] is 1.0000000596046448, no value of binary32"),
        (np.float64(0.1), ValueError, "c is 0.1, no value of binary32"),
    ],
)
def test_start_values_that_do_not_fit(c, error, sentence):
    for a, b in ((A, B), (A[:, :0], B[:0])):
        with pytest.raises(error, match=re.escape(sentence)):
            matmul(a, b, A100, c=c)


def test_scales_given_and_missing():
    one = np.ones((2, 1)), np.ones((1, 4))
    with pytest.raises(ValueError, match="takes no scales; multiply the operands"):
        matmul(A, B, A100, scale_a=one[0], scale_b=one[1])
    with pytest.raises(ValueError, match="multiplies blocks of 16 by scales: give scale_a= and scale_b="):
        matmul(A, B, NVF4, scale_a=one[0])
    with pytest.raises(ValueError, match=re.escape("scale_b of shape (2, 1): blocks of 16 k want (1, 4)")):
        matmul(A, B, NVF4, scale_a=one[0], scale_b=one[0])
    for value in (-1.0, 1.01, 480.0):
        with pytest.raises(ValueError, match=re.escape(f"scale_a[1, 0] is {value}, no value of ue4m3")):
            matmul(A, B, NVF4, scale_a=put(one[0], (1, 0), value), scale_b=one[1])
    with pytest.raises(ValueError, match="an Accumulator has no scales; multiply the operands"):
        matmul(A, B, PROMOTE, scale_a=one[0], scale_b=one[1])


def test_results_that_the_dtype_does_not_hold():
    with pytest.raises(ValueError, match="binary64 has values that float32 does not hold: give float64 operands"):
        matmul(A, B, UNITS["a100.f64.f64"])
    wide = replace(A100, chunk=8, outer=Accumulator(catalog.BINARY64, Rounding.RNE, Overflow.IEEE))
    with pytest.raises(ValueError, match="binary64 has values that float32 does not hold"):
        matmul(A, B, wide)
    assert matmul(A.astype(float), B, wide).dtype == np.float64


def test_what_outer_raises():
    strict = Accumulator(FloatFormat(4, 3, infinities=False, nan=NanEncoding.NONE), Rounding.RNE, Overflow.ERROR)
    unit = replace(A100, chunk=2, outer=strict)
    with pytest.raises(OverflowError, match="beyond 480"):
        matmul(1000 * A, B, unit)


@pytest.mark.parametrize(("batch", "events"), [((), False), ((3,), False), ((2, 2), True)])
def test_what_outer_raises_names_the_chunk_and_the_output(batch, events):
    unit = replace(A100, chunk=4, outer=Accumulator(FloatFormat(3, 3), Rounding.RNE, Overflow.ERROR))
    a = np.zeros((*batch, 2, 12), np.float32)
    last = tuple(size - 1 for size in batch)
    a[(*last, 1)][8:] = 5  # the third chunk of the last row of the last matrix
    output = (*last, 1, 0)
    with pytest.raises(OverflowError, match=re.escape(f"0.0 + 20.0 at chunk 2 of output {output} is beyond 15.0")):
        matmul(a, np.ones((12, 3), np.float32), unit, events=events)


def test_what_outer_raises_names_the_first_output():
    unit = replace(A100, chunk=4, outer=Accumulator(FloatFormat(3, 3), Rounding.RNE, Overflow.ERROR))
    a = np.zeros((3, 12), np.float32)
    a[0, 8:] = a[1, 4:8] = a[2, :4] = 5
    with pytest.raises(OverflowError, match=re.escape("0.0 + 20.0 at chunk 2 of output (0, 0) is beyond 15.0")):
        matmul(a, np.ones((12, 3), np.float32), unit)


def test_the_output_of_a_dot_product_has_no_place():
    unit = replace(A100, chunk=4, outer=Accumulator(FloatFormat(3, 3), Rounding.RNE, Overflow.ERROR))
    with pytest.raises(OverflowError, match=r"0\.0 \+ 20\.0 at chunk 0 of the output is beyond 15\.0"):
        dot(np.full(12, 5, np.float32), np.ones(12, np.float32), unit)


def test_random_words_are_none_of_a_unit_s():
    with pytest.raises(ValueError, match="seed or words given: a MatrixUnit rounds deterministically"):
        matmul(A, B, A100, seed=1)
    with pytest.raises(ValueError, match="stream = -1: give an integer"):
        matmul(A, B, A100, stream=-1)
