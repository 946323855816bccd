"""The vector forms of matrix units are compiled to vectors: no lane is done apart, no product contracted."""

import pytest
from numba import float32, float64, int16, int32, int64, types, uint32

from numerics.kernels import unit_decode, unit_fast, unit_groups, unit_lanes, unit_late, unit_steps, unit_windows
from tests.kernels.test_codegen import LONG_LANES, WIDEST, instructions_of, pytestmark  # noqa: F401

MATRIX, WORDS, MASKS, WIDE = float32[:, :, ::1], uint32[::1], uint32[:, :, ::1], float64[:, :, ::1]
EXPONENTS, SHIFTS = int16[:, :, ::1], int32[:, :, ::1]
SPAN, NO_COUNTS = (int64,) * 4, types.Tuple(())
KERNEL = (MATRIX, EXPONENTS, MATRIX, EXPONENTS, MATRIX, *[int64] * 5, float64, *[int64] * 5)
CASES = {"8 products": (8, 1, 0, 0, 1), "16 products, RNE, c last": (8, 2, 1, 1, 0), "4 products": (4, 1, 0, 0, 1)}


def facts(count):
    return types.UniTuple(int64, count)


def nothing_apart(found, *also):
    """A masked store is slower than the whole block on some processors; gathers show that rows are not contiguous."""
    names = {mnemonic for mnemonic, _ in found}
    assert not [name for name in names if name.startswith(("vmaskmov", "vpmaskmov", "vgather", "vpgather", *also))]


@pytest.mark.parametrize("case", CASES)
def test_products_take_four_instructions(case):
    unroll = CASES[case][0]
    found = instructions_of(unit_fast.make_fast(*CASES[case]), KERNEL)
    assert found["vcvttps2dq", WIDEST] >= unroll, found
    assert found["vmulps", WIDEST] >= 2 * unroll
    assert found["vpmaxsw", WIDEST] >= unroll
    nothing_apart(found, "vfm")


LATE = {"8 products": (8, 1, 1, 1, 1), "2 times 8, toward zero": (8, 1, 2, 0, 0), "4 products": (4, 1, 1, 1, 1)}


@pytest.mark.parametrize("case", LATE)
def test_products_before_c_take_four_instructions(case):
    unroll, _, parts = LATE[case][:3]
    kernel = (MATRIX, EXPONENTS, MATRIX, EXPONENTS, MATRIX, facts(8), float64, NO_COUNTS, *SPAN)
    found = instructions_of(unit_late.make_late(*LATE[case]), kernel)
    assert found["vcvttps2dq", WIDEST] >= unroll, found
    assert found["vmulps", WIDEST] >= 2 * unroll
    assert found["vpmaxsw", WIDEST] >= unroll
    # What follows once a block is done in float64: the floors of the products' sum and of c.
    assert found["vrndscalepd", WIDEST] + found["vroundpd", WIDEST] >= 2 * parts
    nothing_apart(found, "vfm")


@pytest.mark.parametrize("nearest", [0, 1])
def test_exact_groups_take_one_instruction_a_product(nearest):
    sides = (MATRIX, MASKS, SHIFTS, WIDE) * 2
    found = instructions_of(
        unit_groups.make_groups(16, 4, nearest), (*sides, MATRIX, facts(5), float64, NO_COUNTS, *SPAN)
    )
    fused = sum(n for (name, width), n in found.items() if name.startswith("vfmadd") and width == WIDEST)
    assert fused >= 16, found
    assert found["vrndscalepd", WIDEST] + found["vroundpd", WIDEST] >= 5
    nothing_apart(found)


def test_two_windows_take_eight_instructions_a_product():
    found = instructions_of(
        unit_windows.make_windows(4, 1, 1), (MATRIX, MATRIX, MATRIX, float64, int64, int64, float64, NO_COUNTS, *SPAN)
    )
    assert found["vmulps", WIDEST] + found["vmulps", "ymm"] >= 4, found
    assert found["vaddpd", WIDEST] + found["vsubpd", WIDEST] >= 4 * 4
    nothing_apart(found, "vfm")


@pytest.mark.parametrize("kind", ["SEQUENTIAL", "LATE", "EVEN_ODD", "BIT1"])
@pytest.mark.parametrize("wide", [False, True])
def test_chains_take_one_instruction_a_product(kind, wide):
    stack = WIDE if wide else MATRIX
    signature = (stack, stack, stack, int64, *SPAN)
    found = instructions_of(unit_lanes.make_chains(getattr(unit_steps, kind)), signature)
    fused = sum(n for (name, width), n in found.items() if name.startswith("vfmadd") and width == WIDEST)
    assert fused >= unit_lanes.STEPS, found
    assert not {name for name, width in found if name in LONG_LANES and width != "xmm"}
    nothing_apart(found)


@pytest.mark.parametrize("leaves", [2, 4, 8])
def test_trees_take_two_instructions_a_product(leaves):
    found = instructions_of(unit_lanes.make_tree(leaves), (MATRIX, MATRIX, MATRIX, *SPAN))
    assert found["vmulps", WIDEST] >= leaves and found["vaddps", WIDEST] >= leaves, found
    assert not {name for name, width in found if name in LONG_LANES and width != "xmm"}
    nothing_apart(found, "vfm")


def test_operands_are_decoded_in_vectors():
    found = instructions_of(unit_decode.decode, (WORDS, int16[::1], int64, int64, int64))
    assert found["vpsllvd", WIDEST] + found["vpcmpgtd", WIDEST] + found["vpmaxsd", WIDEST] > 4, found
