"""The vector form of matrix units is compiled to vectors: no lane is done apart, no product contracted."""

import pytest
from numba import float32, float64, int32, int64, uint32

from numerics.kernels import unit_decode, unit_fast
from tests.kernels.test_codegen import WIDEST, instructions_of, pytestmark  # noqa: F401

MATRIX, WORDS = float32[:, :, ::1], uint32[::1]
EXPONENTS = int32[:, :, ::1]
KERNEL = (MATRIX, EXPONENTS, MATRIX, EXPONENTS, MATRIX, *[int64] * 5, float64, *[int64] * 5)
CASES = {"8 products": (8, 1, 0, 0, 1), "16 products, RNE, c last": (8, 2, 1, 1, 0), "4 products": (4, 1, 0, 0, 1)}


@pytest.mark.parametrize("case", CASES)
def test_products_take_four_instructions(case):
    unroll, groups = CASES[case][:2]
    found = instructions_of(unit_fast.make_fast(*CASES[case]), KERNEL)
    products = unroll * groups
    assert found["vcvttps2dq", WIDEST] >= products, found
    assert found["vmulps", WIDEST] >= 2 * products
    assert found["vpmaxsd", WIDEST] >= products
    # A masked store is slower than the whole block on some processors; gathers show that rows are not contiguous.
    names = {mnemonic for mnemonic, _ in found}
    assert not [name for name in names if name.startswith(("vmaskmov", "vpmaskmov", "vgather", "vpgather", "vfm"))]


def test_operands_are_decoded_in_vectors():
    found = instructions_of(unit_decode.decode, (WORDS, int32[::1], int64, int64, int64))
    assert found["vpsllvd", WIDEST] + found["vpcmpgtd", WIDEST] + found["vpmaxsd", WIDEST] > 4, found
