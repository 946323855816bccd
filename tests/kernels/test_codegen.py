"""What the compiler makes of the loops: the widest vectors of this processor, and 32-bit lanes for float32."""

import re
from collections import Counter

import llvmlite.binding
import numba
import pytest
from numba import types

from numerics import Overflow, Rounding, catalog
from numerics.block_rows import compiled_row
from numerics.kernels import block, elementwise, gemm, modes
from numerics.parameters import FLOAT32, loop_row

FEATURES = llvmlite.binding.get_host_cpu_features()
WIDEST = "zmm" if FEATURES.get("avx512f") else "ymm" if FEATURES.get("avx2") else ""

LINE = types.Array(types.float32, 1, "C")
STACK = types.Array(types.float32, 3, "C")
ROW = types.Array(types.uint32, 1, "C", readonly=True)
WORDS = types.Array(types.uint32, 1, "C")
KEYS = (types.uint64,) * 3
RANGE = (types.int64,) * 2
QUANTIZE = (LINE, LINE, ROW, WORDS, *KEYS, *RANGE)
GEMM = (STACK, STACK, STACK, ROW, ROW, ROW, types.int64, *RANGE)

TRUNCATE = modes.RTZ + modes.UNIFORM
CODES = types.Array(types.uint8, 1, "C")
FIXED = numba.typeof(loop_row(catalog.INT8, Rounding.RNE, Overflow.SATURATE, None, FLOAT32)[0])
BLOCKS = compiled_row(catalog.MXFP8_E4M3, Rounding.RNE, Overflow.SATURATE, None, FLOAT32)
POWERS = (LINE, LINE, LINE, numba.typeof(BLOCKS.row), WORDS, *KEYS, types.int64, types.int64, *RANGE)
AT_ONCE = modes.RNE + modes.MAGIC + modes.PLAIN + modes.DIRECT_CODE
KERNELS = {
    "encode_nearest": (
        elementwise.make_quantize,
        (AT_ONCE, 0, elementwise.DETERMINISTIC, 0),
        (LINE, CODES, *QUANTIZE[2:]),
    ),
    "quantize_given_words": (elementwise.make_quantize, (modes.SR + modes.SHIFTED, 0, elementwise.GIVEN, 0), QUANTIZE),
    "fixed_point_watching_for_nan": (
        elementwise.make_quantize,
        (modes.RNE + modes.MAGIC, 0, elementwise.DETERMINISTIC, modes.SAW_NAN),
        (LINE, CODES, FIXED, *QUANTIZE[3:]),
    ),
    "blocks": (
        block.make_power_blocks,
        (modes.RNE, BLOCKS.form, elementwise.DETERMINISTIC, 0, BLOCKS.saturates, 0),
        POWERS,
    ),
    "quantize_nearest": (elementwise.make_quantize, (modes.RNE, 0, elementwise.DETERMINISTIC, 0), QUANTIZE),
    "quantize_stochastic": (elementwise.make_quantize, (modes.SR, 0, elementwise.DRAWN_2, 0), QUANTIZE),
    "gemm_truncating": (gemm.make_gemm, (TRUNCATE, TRUNCATE, TRUNCATE, 0), GEMM),
    "gemm_nearest": (gemm.make_gemm, (modes.RNE, modes.NO_ROUNDING, modes.NO_ROUNDING, 0), GEMM),
}
ARITHMETIC = re.compile(r"v(p?(add|sub|and|or|xor|max|min|cmp|sll|srl|sra|blend|ternlog|mul)|fm)")
# Lanes of 64 bits: half the work per instruction. Not the bitwise ones, whose lanes mean nothing.
LONG_LANES = {
    "vpmovzxdq",
    "vpmovsxdq",
    "vpmuludq",
    "vpmullq",
    "vpsllvq",
    "vpsrlvq",
    "vpaddq",
    "vpsubq",
    "vpsllq",
    "vpsrlq",
}

pytestmark = [
    pytest.mark.skipif(not WIDEST, reason="this processor has neither AVX-512 nor AVX2"),
    pytest.mark.skipif(
        bool(numba.config.CPU_NAME) or not numba.config.ENABLE_AVX or bool(numba.config.DISABLE_JIT),
        reason="numba was told to compile for another processor",
    ),
]


@pytest.fixture(scope="module")
def instructions():
    """For each kernel, how often each (mnemonic, register width) occurs."""
    found = {}
    for name, (make, arguments, signature) in KERNELS.items():
        uncached = numba.njit(error_model="numpy", nogil=True)(make(*arguments).py_func)
        uncached.compile(signature)
        found[name] = Counter()
        for line in uncached.inspect_asm(signature).splitlines():
            if match := re.match(r"\s+(v\w+)\s.*([xyz]mm)\d", line):
                found[name][match[1], match[2]] += 1
    return found


@pytest.mark.parametrize("name", KERNELS)
def test_the_widest_vectors_are_used(instructions, name):
    wide = {mnemonic: n for (mnemonic, width), n in instructions[name].items() if width == WIDEST}
    arithmetic = sum(n for mnemonic, n in wide.items() if ARITHMETIC.match(mnemonic))
    assert arithmetic >= 15, instructions[name]


@pytest.mark.parametrize("name", [name for name in KERNELS if name != "quantize_stochastic"])
def test_float32_loops_work_on_32_bit_lanes(instructions, name):
    long_lanes = {key: n for key, n in instructions[name].items() if key[0] in LONG_LANES and key[1] != "xmm"}
    assert not long_lanes


def test_random_words_are_multiplied_in_64_bit_lanes(instructions):
    # Philox: one multiply gives both halves of a product. That its instructions are seen shows that they would be.
    assert instructions["quantize_stochastic"]["vpmuludq", WIDEST] > 0


def test_products_and_sums_are_not_contracted(instructions):
    # A fused multiply-add in the rounded product or in the error of a sum would change bits.
    for name in ("gemm_truncating", "gemm_nearest"):
        assert not [mnemonic for mnemonic, _ in instructions[name] if mnemonic.startswith(("vfm", "vfnm"))]
