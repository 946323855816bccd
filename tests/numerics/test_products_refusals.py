"""What matmul and dot refuse, with the value in the sentence."""

import re

import numpy as np
import pytest

from numerics import Accumulator, FixedFormat, FloatFormat, Overflow, Quantizer, Rounding, catalog, dot, matmul
from tests.numerics import grids

ACC = Accumulator(catalog.E4M3)
A, B = np.ones((2, 3), np.float32), np.ones((3, 4), np.float32)


@pytest.mark.parametrize(
    ("a", "b", "error", "sentence"),
    [
        (A.astype(int), B, TypeError, "a of dtype int64: give a float32 or float64 array"),
        (
            A,
            B.astype(np.float16),
            TypeError,
            "b of dtype float16: give a float32 or float64 array (astype(np.float32) is exact)",
        ),
        (
            A.astype(">f4"),
            B,
            TypeError,
            "a of dtype >f4: give a float32 or float64 array (its bytes are in foreign order",
        ),
        (A.astype(complex), B, TypeError, "a of dtype complex128"),
        ([[1, 2, 3]], B, TypeError, "a of dtype int64"),
        (None, B, TypeError, "a of dtype object"),
        (A[0], B, ValueError, "a of shape (3,): give a matrix (dot takes vectors)"),
        (A, B[:, 0], ValueError, "b of shape (3,)"),
        (A, np.float32(1.0), ValueError, "b of shape ()"),
        (A, B[:2], ValueError, "a (2, 3) and b (2, 4) do not match: a's last dimension 3 against b's last but one 2"),
        (A, A, ValueError, "a (2, 3) and b (2, 3) do not match"),
        (np.ones((2, 2, 3)), np.ones((5, 3, 4)), ValueError, "batch dimensions (2,) and (5,) do not broadcast"),
        (np.ones((2, 1, 2, 3)), np.ones((2, 3, 3, 4)), None, ""),
    ],
)
def test_operands_that_do_not_fit(a, b, error, sentence):
    if error is None:
        assert matmul(a, b, ACC).shape == (2, 3, 2, 4)
        return
    with pytest.raises(error, match=re.escape(sentence)):
        matmul(a, b, ACC)


@pytest.mark.parametrize("error", [TypeError("unsupported ScalarType BFloat16"), RuntimeError("requires grad")])
def test_arrays_that_numpy_cannot_have(error):
    class Tensor:
        """As torch's: numpy lacks bfloat16, and does not take what has a gradient."""

        def __array__(self, *_, **__):
            raise error

    for call in (lambda: matmul(Tensor(), B, ACC), lambda: matmul(Tensor(), B, catalog.MATRIX_UNITS["h100.f16.f32"])):
        with pytest.raises(
            TypeError, match=f"a of type Tensor is no array of numpy .{error}.: give a float32 or float64"
        ):
            call()


@pytest.mark.parametrize(
    ("c", "error", "sentence"),
    [
        (np.ones((3, 4)), ValueError, "c of shape (3, 4) does not broadcast to the result's (2, 4)"),
        (np.ones((5, 2, 4)), ValueError, "c of shape (5, 2, 4) does not broadcast to the result's (2, 4)"),
        (np.ones((2, 4), int), TypeError, "c of dtype int64"),
        (1, TypeError, "c of dtype int64"),
    ],
)
def test_start_values_that_do_not_fit(c, error, sentence):
    for left, right in ((A, B), (A[:, :0], B[:0])):
        with pytest.raises(error, match=re.escape(sentence)):
            matmul(left, right, ACC, c=c)


def put(array, where, value):
    changed = array.copy()
    changed[where] = value
    return changed


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_operands_that_are_not_finite(value, dtype):
    a, b, c = np.ones((40, 3), dtype), np.ones((3, 4), dtype), np.ones((40, 4), dtype)
    # 4 columns, 40 rows: inside, the two operands change places; the sentence must not.
    for label, operands, where in (
        ("a", (put(a, (7, 2), value), b, c), "7, 2"),
        ("b", (a, put(b, (1, 3), value), c), "1, 3"),
        ("c", (a, b, put(c, (39, 0), value)), "39, 0"),
    ):
        left, right, start = operands
        sentence = f"{label}[{where}] is {value}: products are exact for finite operands only"
        with pytest.raises(ValueError, match=re.escape(sentence)):
            matmul(left, right, ACC, c=start)
        with pytest.raises(ValueError, match=re.escape(sentence)):
            matmul(left, right, Accumulator(catalog.BINARY32, Rounding.RNE, Overflow.IEEE), c=start)
    turned = np.ascontiguousarray(put(b, (1, 3), value).T).T
    with pytest.raises(ValueError, match=re.escape(f"b[1, 3] is {value}")):
        matmul(a, turned, ACC)
    stack = put(np.ones((2, 3, 4, 3), dtype), (1, 2, 0, 1), value)
    with pytest.raises(ValueError, match=re.escape(f"a[1, 2, 0, 1] is {value}")):
        matmul(stack, b, ACC)
    with pytest.raises(ValueError, match=f"c is {value}"):
        matmul(a, b, ACC, c=dtype(value))
    with pytest.raises(ValueError, match=f"c is {value}"):
        matmul(a[:, :0], b[:0], ACC, c=dtype(value))


def test_the_first_of_several_is_named():
    a = np.ones((2, 3))
    a[0, 2], a[1, 0] = np.inf, np.nan
    with pytest.raises(ValueError, match=re.escape("a[0, 2] is inf")):
        matmul(a, np.full((3, 4), np.nan), ACC)


def test_results_that_the_dtype_does_not_hold():
    with pytest.raises(ValueError, match="binary64 has values that float32 does not hold: give float64 operands"):
        matmul(A, B, Accumulator(catalog.BINARY64))
    wide = Accumulator(catalog.E4M3, chunk=2, outer=Accumulator(FloatFormat(8, 30)))
    with pytest.raises(ValueError, match="e8m30 has values that float32 does not hold"):
        matmul(A, B, wide)
    assert matmul(A[:, :0].astype(np.float64), B[:0], wide).dtype == np.float64


def test_accumulators_that_no_carrier_holds():
    # Sums of the first and the second product have more bits than float64.
    a, b = A.astype(np.float64), B.astype(np.float64)
    a[:, 1] *= 2.0**-60
    assert matmul(a, b, Accumulator(FloatFormat(8, 50)))[0, 0] == 2
    assert matmul(A.astype(np.float64), b, Accumulator(FloatFormat(11, 52), Rounding.RTZ))[0, 0] == 3  # exact
    for mantissa_bits in (51, 52):
        fmt = FloatFormat(11, mantissa_bits)
        sentence = f"accumulator e11m{mantissa_bits} has {mantissa_bits + 1} bits of precision"
        for acc in (
            Accumulator(fmt, Rounding.RTZ),
            Accumulator(catalog.BFLOAT16, chunk=1, outer=Accumulator(fmt, Rounding.RTZ)),
        ):
            with pytest.raises(ValueError, match=f"{sentence}: rounding is exact for up to 51 in float64"):
                matmul(a, b, acc)
    assert matmul(a, b, Accumulator(catalog.BINARY64))[0, 0] == 2  # its own fused step
    with pytest.raises(ValueError, match="accumulator binary64 has 53 bits of precision"):
        matmul(a, b, Accumulator(catalog.BINARY64, Rounding.RNE, Overflow.PROPAGATE))


def test_products_that_no_carrier_holds():
    a, b = A.astype(np.float64) / 3, B.astype(np.float64) / 3
    with pytest.raises(
        ValueError, match=r"operands have 53 and 53 significant bits, their products 106; float64 holds 53"
    ):
        matmul(a, b, ACC)
    assert matmul(a, b, Accumulator(catalog.BINARY64)).shape == (2, 4)
    with pytest.raises(ValueError, match="53 and 53 significant bits"):
        matmul(a, b, Accumulator(catalog.BINARY64, product=Quantizer(catalog.BINARY64)))
    # A power of two only shifts: products of 53 bits.
    assert matmul(a, B, ACC)[0, 0] == matmul(A, b, ACC)[0, 0] == 1
    with pytest.raises(ValueError, match="53 and 2 significant bits"):
        matmul(a, 3 * B, ACC)
    # 27 and 27 bits are one too many; 26 and 27 are not.
    x, y = np.full((1, 1), 1 + 2.0**-26), np.full((1, 1), 1 + 2.0**-25)
    with pytest.raises(ValueError, match="have 27 and 27 significant bits, their products 54"):
        matmul(x, x, ACC)
    assert matmul(x, y, ACC)[0, 0] == 1


def test_products_that_leave_the_range():
    tiny, huge = np.full((1, 1), 2.0**-540), np.full((1, 1), 2.0**520)
    with pytest.raises(ValueError, match=r"products reach from 2\*\*-1080 to 2\*\*-1078, outside float64; scale"):
        matmul(tiny, tiny, ACC)
    with pytest.raises(ValueError, match=r"to 2\*\*1042, outside float64"):
        matmul(huge, huge, ACC)
    assert matmul(tiny, huge, ACC)[0, 0] == 0
    assert matmul(huge, huge, Accumulator(catalog.BINARY64))[0, 0] == catalog.BINARY64.max


@pytest.mark.parametrize("mode", [Rounding.RTZ, Rounding.RTN, Rounding.RTO], ids=lambda mode: mode.name)
def test_sums_that_may_pass_the_top_of_the_carrier(mode):
    # Once a sum is infinite in float64 nobody knows how far beyond it was.
    fmt = grids.AT_THE_ENDS_64["top"]
    x, y = np.array([[2.0**511, 2.0**-100]]), np.array([[2.0**510], [2.0**-100]])
    for rule in (Overflow.IEEE, Overflow.PROPAGATE):
        with pytest.raises(
            ValueError, match=f"may pass the top of float64: with {mode.name} its overflow rule must be"
        ):
            matmul(x, y, Accumulator(fmt, mode, rule))
    assert matmul(x, y, Accumulator(fmt, mode))[0, 0] >= 2.0**1020
    assert matmul(x / 2**12, y, Accumulator(fmt, mode, Overflow.IEEE))[0, 0] >= 2.0**1008
    with pytest.raises(ValueError, match="sums in e5m2 may pass the top of float64"):
        matmul(x, y, Accumulator(catalog.E5M2, mode, Overflow.IEEE), c=np.finfo(np.float64).max)


def test_a_nan_that_the_result_cannot_hold():
    fmt = grids.KINDS["infinity_without_nan"]
    acc = Accumulator(fmt, Rounding.RNE, Overflow.IEEE, chunk=1)
    a, b = np.array([[14.0, -14.0]]), np.full((2, 3), 2.0)
    with pytest.raises(
        ValueError, match=r"output \(0, 0\) is NaN .* infinity - infinity\), and e3m2 \(NaN none\) has none"
    ):
        matmul(a, b, acc)
    assert (matmul(abs(a), b, acc) == np.inf).all()
    product = Quantizer(catalog.E4M3, overflow=Overflow.IEEE)  # its overflow is NaN
    with pytest.raises(ValueError, match=r"output \(0, 1\) is NaN .* and e2m1 has none"):
        matmul(np.array([[30.0]]), np.array([[1.0, 20.0]]), Accumulator(catalog.E2M1, product=product))


def test_words_for_a_deterministic_accumulator():
    with pytest.raises(ValueError, match="words given for a deterministic accumulator"):
        matmul(A, B, ACC, words=np.zeros((2, 4, 3), int))


@pytest.mark.parametrize(
    ("x", "y", "error", "sentence"),
    [
        (A, B, ValueError, "dot of shapes (2, 3) and (3, 4): give two vectors of one length, or use matmul"),
        (A[0], 1.0, ValueError, "dot of shapes (3,) and ()"),
        (A[0], A[0, :2], ValueError, "dot of shapes (3,) and (2,)"),
        ([1, 2, 3], A[0], TypeError, "a of dtype int64"),
        (A[0], np.array([1, np.nan, 1]), ValueError, "is nan"),
    ],
)
def test_vectors_that_do_not_fit(x, y, error, sentence):
    with pytest.raises(error, match=re.escape(sentence)):
        dot(x, y, ACC)


def test_what_a_dot_product_takes():
    plain = Accumulator(catalog.BINARY32)
    with pytest.raises(ValueError, match=re.escape("dot of shapes (3,) and (4,): give two vectors of one length")):
        dot(np.ones(3), np.ones(4), plain)
    with pytest.raises(ValueError, match=re.escape("c of shape (3,): the sum of a dot product is one number")):
        dot(np.ones(3), np.ones(3), plain, c=np.ones(3))
    with pytest.raises(ValueError, match="seed = -3"):
        dot(np.ones(3), np.ones(3), plain, seed=-3)
    with pytest.raises(TypeError, match="its mask would be lost"):
        matmul(np.ma.masked_array(np.ones((2, 2)), mask=[[1, 0], [0, 0]]), np.ones((2, 2)), plain)


def test_a_seed_is_not_used_beside_words_and_has_to_be_one():
    words = np.random.default_rng(0).integers(0, 1 << 32, (2, 4, 3), np.uint32)
    stochastic = Accumulator(catalog.E2M1, Rounding.SR)
    given = matmul(A, B, stochastic, words=words)
    assert matmul(A, B, stochastic, seed=7, words=words).tobytes() == given.tobytes()
    assert dot(A[0], B[:, 0], stochastic, seed=7, words=words[0, 0]) == given[0, 0]
    with pytest.raises(ValueError, match="seed = -7"):
        matmul(A, B, stochastic, seed=-7, words=words)
    for seed in (0.0, False, "", []):  # what Python takes for nothing is no 0
        with pytest.raises(TypeError, match=r"^seed = "):
            matmul(A, B, stochastic, seed=seed)


@pytest.mark.parametrize(
    ("fmt", "c", "sentence"),
    [
        (catalog.INT8, [[1.0], [-129.0]], "c[1, 0] is -129.0, beyond -128.0, the lowest value of int8; scale c"),
        (catalog.INT8, [1.0, 128.0, -300.0], "c[1] is 128.0, beyond 127.0, the largest value of int8; scale c"),
        (catalog.E4M3, -500.0, "c is -500.0, beyond 448.0, the largest value of e4m3fn; scale c"),
        (
            FixedFormat(8, signed=False),
            [1.0, 2.0, -1.0],
            "c[2] is -1.0: u8.0 is unsigned and takes nonnegative operands only",
        ),
    ],
)
def test_a_c_that_overflows_without_products_is_named_as_it_was_given(fmt, c, sentence):
    # Once the element was that of what c was broadcast to, and the largest value was passed by what is below the lowest.
    acc = Accumulator(fmt, overflow=Overflow.ERROR)
    with pytest.raises((OverflowError, ValueError), match=re.escape(sentence)):
        matmul(np.zeros((2, 0)), np.zeros((0, 3)), acc, c=np.array(c))
    if np.ndim(c) == 0:
        with pytest.raises(OverflowError, match=re.escape(sentence)):
            dot(np.zeros(0), np.zeros(0), acc, c=np.array(c))


def test_the_first_stochastic_overflow_without_products_is_that_of_its_own_word():
    acc = Accumulator(catalog.INT8, Rounding.SR, Overflow.ERROR, random_bits=1)
    words = np.array([[0, 0, 1], [1, 1, 1]])[..., None]  # half a step above the largest goes up for a word of one
    with pytest.raises(OverflowError, match=re.escape("c[2] is 127.5, beyond 127.0")):
        matmul(np.zeros((2, 0)), np.zeros((0, 3)), acc, c=np.full(3, 127.5), words=words)


@pytest.mark.parametrize(
    ("acc", "sentence"),
    [
        (
            Accumulator(catalog.BINARY32, product=Quantizer(catalog.E4M3, overflow=Overflow.ERROR), order="exact"),
            "the accumulation of the output overflows e4m3fn (largest 448.0) in its products; scale",
        ),
        (
            Accumulator(
                FixedFormat(20, 2), product=Quantizer(catalog.INT8, overflow=Overflow.ERROR), order="exact", chunk=2
            ),
            "the accumulation of the output overflows int8 (-128.0 to 127.0) in its products; scale",
        ),
        (
            Accumulator(
                catalog.BINARY32, order="exact", chunk=1, outer=Accumulator(catalog.E4M3, overflow=Overflow.ERROR)
            ),
            "the accumulation of the output overflows e4m3fn (largest 448.0) in the sum of chunks; scale",
        ),
    ],
)
def test_an_overflow_names_a_format_whose_overflow_is_an_error(acc, sentence):
    # Once it was that of the sums, with a largest value that nothing came near.
    with pytest.raises(OverflowError, match=re.escape(sentence)):
        dot(np.array([30.0, 30.0]), np.array([30.0, 30.0]), acc)
