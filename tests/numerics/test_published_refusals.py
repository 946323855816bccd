"""Arguments that the published functions once took without a word, or refused without a remedy."""

import math
from fractions import Fraction

import numpy as np
import pytest

from numerics import (
    Quantizer,
    Rounding,
    binary,
    catalog,
    clipping,
    diagnostics,
    luq,
    normalization,
    scaling,
    sparsity,
    tempered,
)

X = np.linspace(-3, 3, 12).reshape(3, 4)
E4M3 = Quantizer(catalog.E4M3)
NET = tempered.draw_net((3, 3, 1), seed=1)
STATE = binary.AdaMaxState.zeros(X)
ODD = Fraction(11, 10)

REFUSED = [
    # |-2**63| is -2**63 in int64, and as an int64 2**63 is that too.
    (lambda: luq.multiply_int4_fp4(np.int64(-(2**63)), 1.0), ValueError, "i = -9223372036854775808: give integers"),
    (lambda: luq.multiply_int4_fp4(np.uint64(2**63), 1.0), ValueError, "i = 9223372036854775808: give integers"),
    (lambda: luq.multiply_int4_fp4(1, 1 + 1j), TypeError, "f of dtype complex128: give 0"),
    (lambda: luq.multiply_int4_fp4(1, np.longdouble(1)), TypeError, "f of dtype float128: give 0"),
    (lambda: luq.hindsight_max("1", 2, 0.5), TypeError, "previous = '1': give a number, and one only"),
    (lambda: luq.hindsight_max(1, np.ones(2), 0.5), TypeError, r"observed = array\(\[1\., 1\.\]\): give a number"),
    (lambda: luq.hindsight_max(1, 2, True), TypeError, "eta = True: give a number"),
    (lambda: luq.quantize(X, alpha="1", seed=1), TypeError, "alpha = '1': give a number, one for the whole array"),
    (lambda: luq.quantize(X, alpha=True, seed=1), TypeError, "alpha = True: give a number"),
    (lambda: luq.moments(math.nan, 1), ValueError, "x = nan: give a finite number"),
    (lambda: luq.moments(1, math.inf), ValueError, "alpha = inf: give a finite number"),
    (lambda: luq.moments("0.5", 1.0), TypeError, "x = '0.5': give a finite number"),
    (lambda: scaling.gradient_to_noise(1.0, 1.0, math.nan), ValueError, "dimension = nan: give the number of entries"),
    (lambda: luq.moments(0.3, 1, random_bits=2.5), ValueError, r"random_bits = 2\.5: give an integer"),
    (lambda: luq.smp(X, 3), ValueError, r"give seed=, or words= of shape \(3, 3, 4\)"),
    (lambda: luq.noise_then_round_bias(np.array([1, np.nan]), 0.1), ValueError, "x has nan at element 1"),
    (lambda: luq.log_rounding_bias(np.array([np.inf]), 0.1), ValueError, "x has inf at element 0"),
    (lambda: clipping.dequantize(np.uint64([2**64 - 1]), 0.5, 1), ValueError, "code 18446744073709551615: affine"),
    (lambda: clipping.dequantize([-1], 0.5, 1), ValueError, "code -1: affine gives 0 to 1048575"),
    (lambda: clipping.dequantize([1], math.nan, 1), ValueError, "scale = nan: give the one"),
    (lambda: clipping.dequantize([1], 0.5, 1.5), ValueError, r"zero_point = 1\.5: give the integer"),
    (lambda: clipping.bit_allocation([1.0, 2.0], 4, tolerance=math.nan), ValueError, "tolerance = nan: give how far"),
    (lambda: clipping.sawb(X, [4]), ValueError, r"bits = \[4\]: SAWB has coefficients for 2, 3"),
    (lambda: clipping.sawb(X, 4.0), ValueError, r"bits = 4\.0: SAWB has"),
    (lambda: binary.linear_quant(X, 2.5), TypeError, r"bits = 2\.5: give an integer, 1 to 24"),
    (lambda: binary.linear_quant(X, True), TypeError, "bits = True: give an integer"),
    (lambda: binary.shift_batch_norm(X, np.full(4, np.nan), 0), ValueError, "gamma has nan: give finite"),
    (
        lambda: binary.shift_batch_norm(X, 1, np.ones(3)),
        ValueError,
        r"beta of shape \(3,\) for channels of shape \(4,\)",
    ),
    (lambda: binary.shift_batch_norm(X, np.ones((2, 4)), 0), ValueError, r"gamma of shape \(2, 4\) for channels"),
    (lambda: binary.shift_batch_norm(X, 1, 0, axis=5), ValueError, "axis = 5: the array has 2 dimensions"),
    (lambda: binary.shift_batch_norm(X, 1, 0, epsilon=math.inf), ValueError, "epsilon = inf: give a finite"),
    (lambda: binary.shift_variance(X, axis=2), ValueError, "axis = 2: the array has 2 dimensions"),
    # Rows of the state would have been broadcast over the parameters.
    (lambda: binary.shift_adamax(X, X, binary.AdaMaxState.zeros(X[0])), ValueError, r"state\.m float64 \(4,\)"),
    (
        lambda: binary.shift_adamax(X, X, STATE._replace(v=STATE.v.astype(np.float32))),
        ValueError,
        r"state\.v float32 \(3, 4\) for parameters float64",
    ),
    (lambda: normalization.effective_step(math.nan, 1), ValueError, "a learning rate has to be a finite number"),
    (lambda: normalization.corrected_learning_rate(math.inf, 1, 2), ValueError, "a learning rate has to be"),
    (
        lambda: normalization.bifurcated_gradients(X, X.T, X @ X.T, quantizer=3),
        TypeError,
        "quantizer 3: give a Quantizer or a function",
    ),
    (lambda: scaling.quantize(X, None, scale=1.0), TypeError, "quantizer = None: give a Quantizer"),
    (lambda: scaling.Storage(None), TypeError, "quantizer = None: give a Quantizer"),
    (lambda: scaling.exponential_mse(-abs(X), -1, 2.5), ValueError, r"bits = 2\.5: give an integer"),
    (lambda: tempered.ThresholdLayer([[1]], [1], [0]), TypeError, "weights, signs, biases: give arrays"),
    (lambda: tempered.truth_table(()), ValueError, "no outputs: give a net of one"),
    (lambda: tempered.truth_table(NET[:1]), ValueError, "3 outputs: give a net of one"),
    (lambda: tempered.accumulator_width(2.5), TypeError, r"inputs = 2\.5, bias = 0: give integers"),
    (lambda: tempered.neuron_counts(2, -1), ValueError, "bias = -1: give at least 0"),
    (lambda: tempered.net_counts(2, 2, -1), ValueError, "bias = -1: give at least 0"),
    (lambda: tempered.draw_net((3, 2.5), seed=1), ValueError, r"widths = \(3, 2\.5\): give inputs and outputs"),
    (lambda: tempered.memorizing_error(ODD), ValueError, "noise = 11/10: give the probability"),
    (lambda: tempered.mean_error({1: 1}, 1, 8, -ODD), ValueError, "noise = -11/10: give the probability"),
    (lambda: tempered.interpolator_error([{1: 1}], 1, 8, ODD, 2), ValueError, "noise = 11/10: give"),
    (lambda: tempered.sample_interpolator((3, 1), [[0, 0, 0]], [2], seed=1), ValueError, "label 2: give 0 or 1"),
    (lambda: tempered.sample_interpolator((3, 1), [[0, 0, 0]], [1, 0], seed=1), ValueError, "2 labels for 1 inputs"),
    (lambda: tempered.sample_interpolator((3, 2), [[0, 0, 0]], [1], seed=1), ValueError, "so end them in 1"),
    (lambda: tempered.sample_interpolator((3, 1), [[0, 0, 0]], [1], seed=1, draws=0), ValueError, "draws = 0: give"),
    (lambda: diagnostics.emulated_step(X[0], math.nan, E4M3), ValueError, "rate = nan: give a finite number"),
    (lambda: diagnostics.sharpness(lambda v: v, 2.5), TypeError, r"shape = 2\.5: give an integer"),
    (lambda: diagnostics.sharpness(lambda v: v, (-1, -2)), ValueError, r"shape = \(-1, -2\): give at least one"),
    (
        lambda: diagnostics.gradient_flow(lambda w: 1e200 * w, np.ones(2), step=1e200),
        ValueError,
        "too long for this gradient; give a shorter one",
    ),
]

MASKED = np.ma.masked_array(np.ones((4, 4), np.float32), mask=np.eye(4))
BITS = MASKED.astype(np.uint8)
LOSES_A_MASK = [
    ("x", lambda: sparsity.top_n(MASKED)),
    ("x", lambda: sparsity.mvue(MASKED, seed=1)),
    ("x", lambda: sparsity.variance(MASKED)),
    ("w", lambda: sparsity.transposable_mask(MASKED)),
    ("x", lambda: binary.sign(MASKED)),
    ("x", lambda: binary.ap2(MASKED)),
    ("x", lambda: binary.shift_batch_norm(MASKED, 1, 0)),
    ("x", lambda: binary.pack(MASKED)),
    ("b", lambda: binary.xnor_matmul(np.ones((4, 4)), MASKED)),
    ("x", lambda: binary.byte_matmul(BITS, np.ones((4, 4)))),
    ("w", lambda: binary.byte_matmul(BITS.data, MASKED)),
    ("codes", lambda: clipping.dequantize(BITS, 1.0, 0)),
    ("words", lambda: luq.smp(np.ones(4), 4, words=BITS)),
    ("words", lambda: scaling.fp8_adam(np.ones(4), scaling.adam_start(np.ones(4)), rate=0.1, words=BITS[:3])),
    (
        "words",
        lambda: diagnostics.emulated_step(
            np.ones(2), 0.1, Quantizer(catalog.E4M3, Rounding.SR), words=BITS.ravel()[:8]
        ),
    ),
    ("x", lambda: tempered.evaluate(NET, BITS[:, :3])),
    ("labels", lambda: tempered.sample_interpolator((1,), np.ones((4, 3)), BITS[0], seed=1)),
]


@pytest.mark.parametrize(("label", "call"), LOSES_A_MASK)
def test_no_mask_of_a_masked_array_is_dropped(label, call):
    with pytest.raises(TypeError, match=f"^{label} is a masked array: its mask would be lost"):
        call()


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSED, ids=[case[2][:50] for case in REFUSED])
def test_refused_with_a_sentence(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


def test_hindsight_max_is_of_float64():
    """float32 scalars are numbers: 1/10 of one plus 9/10 of the other takes more bits than theirs."""
    found = luq.hindsight_max(np.float32(1), np.float32(3), 0.1)
    assert type(found) is float and found == (1 - 0.1) * 3.0 + 0.1 * 1.0


def test_gamma_and_beta_of_one_number_and_of_one_a_channel():
    one = binary.shift_batch_norm(X, 2.0, 0.5)
    np.testing.assert_array_equal(binary.shift_batch_norm(X, np.full(4, 2.0), np.full(4, 0.5)), one)
    along = binary.shift_batch_norm(X.T, np.array([2.0]), np.full(4, 0.5), axis=-1)
    np.testing.assert_array_equal(along.T, one)
