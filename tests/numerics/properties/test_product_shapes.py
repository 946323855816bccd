"""Products that one length, one shape, one addend or one layout alone shows to be wrong."""

from functools import partial

import numpy as np
import pytest

from numerics import Accumulator, FixedFormat, Overflow, Rounding, catalog, matmul
from numerics.properties import ClaimError, as_accumulator, checks

CLAIM = Accumulator(catalog.BINARY16)


def wrong_where(where, *, takes_c=True, claim=CLAIM):
    """Right, but half as large again (one for zero) at the outputs that where(a, b, c) says."""

    def fn(a, b, c=None):
        result = np.array(matmul(a, b, claim, c=c))
        places = np.broadcast_to(where(a, b, c), result.shape)
        result[places] = result[places] * np.float32(1.5) + (result[places] == 0)
        return result

    return as_accumulator(fn, claim, takes_c=takes_c)


@pytest.mark.parametrize("depth", [10, 11, 13, 20, 32, 48, 63, 65, 127, 128, 200, 255, 256, 1025])
def test_one_number_of_products(depth):
    with pytest.raises(ClaimError, match="steps: not the sum that the declared steps give") as caught:
        checks.steps(wrong_where(lambda a, b, c: a.shape[-1] == depth))
    assert caught.value.details["problem"] == f"{depth} products"


@pytest.mark.parametrize("least", [3e-5, 1e-3, 100.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_addends_of_one_size(least, sign):
    with pytest.raises(ClaimError, match="steps"):
        checks.steps(wrong_where(lambda a, b, c: (c * sign > least) & (c * sign < 4 * least)))


@pytest.mark.parametrize(
    "where",
    [
        lambda rows, columns: rows == 5,
        lambda rows, columns: rows == columns == 17,
        lambda rows, columns: columns == 31,
        lambda rows, columns: rows == 1 and columns == 29,
        lambda rows, columns: rows % 4 == 3 and columns % 8 == 3,
    ],
    ids=range(5),
)
@pytest.mark.parametrize("takes_c", [False, True])
def test_one_shape_of_outputs(where, takes_c):
    with pytest.raises(ClaimError, match="any_block"):
        checks.any_block(wrong_where(lambda a, b, c: where(a.shape[-2], b.shape[-1]), takes_c=takes_c))


def _gaps(which, contiguous, *operands):
    return not operands[which].flags.c_contiguous and operands[which].flags.f_contiguous is contiguous


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("contiguous", [True, False])
def test_one_layout_of_one_operand(which, contiguous):
    with pytest.raises(ClaimError, match="any_block: laid otherwise in memory"):
        checks.any_block(wrong_where(partial(_gaps, which, contiguous)))


@pytest.mark.parametrize("shape", [(3,), (2, 2)])
def test_one_shape_of_batches(shape):
    with pytest.raises(ClaimError, match="batched: a batch of"):
        checks.batched(wrong_where(lambda a, b, c: a.shape[:-2] == shape))


def test_batches_of_one_dimension_may_be_all_that_is_taken():
    def fn(a, b):
        if a.ndim > 3:
            raise ValueError("one dimension of batches")
        return matmul(a, b, CLAIM)

    assert checks.batched(as_accumulator(fn, CLAIM)).cases > 0


@pytest.mark.sampled
@pytest.mark.parametrize(
    "claim",
    [
        Accumulator(FixedFormat(12, 4), overflow=Overflow.WRAP),
        Accumulator(FixedFormat(10, 2, signed=False)),
        Accumulator(catalog.E4M3, overflow=Overflow.ERROR),
        pytest.param(Accumulator(catalog.E4M3, Rounding.SR, random_bits=3), marks=pytest.mark.nightly),
        Accumulator(catalog.BINARY16, order="pairwise"),
        catalog.MATRIX_UNITS["b200.tcgen05.nvf4.f32"],
    ],
    ids=str,
)
@pytest.mark.parametrize("takes_c", [False, True])
def test_right_ones_are_not_accused(claim, takes_c):
    subject = as_accumulator(claim, takes_c=takes_c)
    assert checks.steps(subject).cases > 0
    checks.any_block(subject)
