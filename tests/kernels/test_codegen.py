"""What the compiler makes of the loops of real calls: the widest vectors of this processor, 32-bit lanes for float32."""

import re
from collections import Counter
from functools import cache, partial

import numba
import numpy as np
import pytest
from numba import types
from numba.core.registry import cpu_target

from numerics import Overflow, Rounding, catalog, parse_format
from numerics.block_rows import compiled_row
from numerics.kernels import block, decode, elementwise, gemm, luq, modes, orders, streams
from numerics.loops import elementwise_loop
from numerics.parameters import FLOAT32, FLOAT64, parameter_row

# Of the processor that is compiled for: this one, or another in test_other_processors.py.
FEATURES = set(cpu_target.target_context.codegen().magic_tuple()[2].split(","))
WIDEST = "zmm" if "+avx512f" in FEATURES else "ymm" if "+avx2" in FEATURES else ""

LINE = types.Array(types.float32, 1, "C")
ROW = types.Array(types.uint32, 1, "C", readonly=True)
WORDS = types.Array(types.uint32, 1, "C")
KEYS = (types.uint64,) * 3
RANGE = (types.int64,) * 2
STACK = np.zeros((1, 1, 1), np.float32)
NO_ROUNDING = modes.NO_ROUNDING
SIGNED = modes.RNE + modes.SIGNED
TRUNCATE = modes.RTZ + modes.UNIFORM
NONE = elementwise.DETERMINISTIC


def elements(text, mode=Rounding.RNE, carrier=FLOAT32, *, bits=None, source=NONE, code=None):
    """The loop of a real call over an array of the carrier, and its signature; code: of the codepoints it writes."""
    fmt = parse_format(text)
    loop = elementwise_loop(fmt, mode, Overflow.SATURATE, bits, carrier, source, code is not None)
    line = types.Array(numba.from_dtype(carrier.dtype), 1, "C")
    out = line if code is None else types.Array(code, 1, "C")
    return loop.run, (line, out, numba.typeof(loop.row), WORDS, *KEYS, *RANGE)


def product(kernel, *options):
    """A kernel of products of float32, and its signature."""
    row = parameter_row(catalog.BINARY16, Rounding.RNE, Overflow.SATURATE, None, FLOAT32)
    given = gemm.Words(np.zeros((1, 1, 1), np.uint32), 0, *[np.uint64(1)] * 6)
    counts, tiny = np.zeros((8, 1, 1, 1), np.uint32), np.zeros(3, np.float32)
    arguments = (STACK, STACK, STACK, (row, row, row), tiny, counts, *options, given, 0, 1)
    return kernel, tuple(numba.typeof(argument) for argument in arguments)


def blocks(fmt):
    """The loop of a real call that quantizes float32 in whole blocks, and its signature."""
    row, scale_form, form, integers, saturates = compiled_row(fmt, Rounding.RNE, Overflow.SATURATE, None, FLOAT32)
    choices = form, NONE, integers, saturates, 0
    ends = (WORDS, *KEYS, types.int64, types.int64, *RANGE)
    if fmt.tensor_scale:
        loop = block.make_ratio_blocks(modes.RNE, scale_form, fmt.block, *choices)
        return loop, (LINE, LINE, LINE, numba.typeof(row), types.float32, LINE, *ends)
    return block.make_power_blocks(modes.RNE, *choices), (LINE, LINE, LINE, numba.typeof(row), *ends)


KERNELS = {  # made when they are asked for: the rows of logarithmic formats are computed by compiled code
    "e4m3fn RNE": partial(elements, "e4m3fn"),
    "e5m2 RTP": partial(elements, "e5m2", Rounding.RTP),
    "e5m2 SR drawn": partial(elements, "e5m2", Rounding.SR, bits=16, source=elementwise.DRAWN_2),
    "e5m2 SR of 32 bits": partial(elements, "e5m2", Rounding.SR, bits=32, source=elementwise.GIVEN),
    "e5m2 SR given": partial(elements, "e5m2", Rounding.SR, bits=16, source=elementwise.GIVEN),
    "bfloat16 RNE": partial(elements, "bfloat16"),
    "e4m3fn RNE encode": partial(elements, "e4m3fn", code=types.uint8),
    "int8 RNE": partial(elements, "int8"),
    "s16.8 RNE": partial(elements, "s16.8"),
    "posit16 RNE": partial(elements, "posit16"),
    "log5.3 RNE": partial(elements, "log5.3"),
    "e4m3fn RNE float64": partial(elements, "e4m3fn", carrier=FLOAT64),
    "luq fused": lambda: (luq.quantize, (LINE, LINE, types.float32, types.float32, WORDS, *RANGE, *KEYS, *RANGE)),
    "e4m3fn decode": lambda: (decode.decode_floats, (types.uint8[::1], LINE, WORDS, *RANGE)),
    "int8 decode": lambda: (decode.decode_integers, (types.uint8[::1], LINE, types.int64, types.float64, *RANGE)),
    "mxfp8_e4m3 RNE": partial(blocks, catalog.MXFP8_E4M3),
    "nvfp4 RNE": partial(blocks, catalog.NVFP4),
    "maxima of blocks": lambda: (block.block_maxima, (LINE, LINE, types.int64, types.int64, *RANGE)),
    "chain RTZ": partial(product, gemm.make_chain(TRUNCATE, TRUNCATE, TRUNCATE, 0), 1),
    "chain fused": partial(product, gemm.make_chain(SIGNED, NO_ROUNDING, NO_ROUNDING, 0), 1),
    "chain fused at once": partial(product, gemm.make_chain(SIGNED + modes.ONCE, NO_ROUNDING, NO_ROUNDING, 0), 1),
    "chain fused SR": partial(
        product, gemm.make_chain(modes.SR + modes.UNIFORM, NO_ROUNDING, NO_ROUNDING, 0, gemm.DRAWN), 1
    ),
    "tree fused": partial(product, orders.make_tree(SIGNED, NO_ROUNDING, 0), 0, True),
    "chain counted": partial(product, gemm.make_chain(TRUNCATE, NO_ROUNDING, NO_ROUNDING, 0, gemm.DETERMINISTIC, 1), 1),
}
FEWEST = 10  # wide arithmetic instructions of a vectorised loop: the leanest, bfloat16's, has 13 with AVX-512
ARITHMETIC = re.compile(r"v(p?(add|sub|and|or|xor|max|min|cmp|sll|srl|sra|blend|ternlog|mul)|fm)")
# Lanes of 64 bits: half the work per instruction. Not the bitwise ones, whose lanes mean nothing.
LONG_LANES = {
    "vpmovzxdq",
    "vpmovsxdq",
    "vpmovzxwq",
    "vpmovzxbq",
    "vpmuludq",
    "vpmullq",
    "vpsllvq",
    "vpsrlvq",
    "vpaddq",
    "vpsubq",
    "vpsllq",
    "vpsrlq",
}
# Loops that use some of them. Philox counts, and multiplies to get both halves of a product; addresses and the numbers of
# elements, which AVX-512 multiplies in vectors, have 64 bits.
ALLOWED = {
    "e5m2 SR drawn": {"vpmuludq", "vpsrlq", "vpaddq"},
    "luq fused": {"vpmuludq", "vpsrlq", "vpaddq"},
    "chain fused SR": {"vpmuludq", "vpsrlq", "vpaddq", "vpsllq", "vpsrlvq", "vpsllvq", "vpmovzxdq", "vpmullq"},
    "nvfp4 RNE": {"vpaddq", "vpsllq"},
}

pytestmark = [
    pytest.mark.skipif(not WIDEST, reason="the processor that is compiled for has neither AVX-512 nor AVX2"),
    pytest.mark.skipif(
        not numba.config.ENABLE_AVX or bool(numba.config.DISABLE_JIT), reason="numba was told to do without"
    ),
]


def assembly_of(loop, signature):
    """The code that calls run, compiled now or found on disk."""
    loop.compile(signature)
    library = loop.overloads[signature].library
    return library.codegen._tm.emit_assembly(library._get_module_for_linking())


def instructions_of(loop, signature):
    """How often each (mnemonic, register width) occurs in a loop."""
    found = Counter()
    for line in assembly_of(loop, signature).splitlines():
        if match := re.match(r"\s+(v\w+)\s.*([xyz]mm)\d", line):
            found[match[1], match[2]] += 1
    return found


@cache
def instructions(name):
    return instructions_of(*KERNELS[name]())


@pytest.mark.parametrize("name", KERNELS)
def test_the_widest_vectors_are_used(name):
    wide = {mnemonic: n for (mnemonic, width), n in instructions(name).items() if width == WIDEST}
    arithmetic = sum(n for mnemonic, n in wide.items() if ARITHMETIC.match(mnemonic))
    assert arithmetic >= FEWEST, instructions(name)


@pytest.mark.parametrize("name", [name for name in KERNELS if not name.endswith("float64")])
def test_float32_loops_work_on_32_bit_lanes(name):
    seen = {mnemonic for mnemonic, width in instructions(name) if mnemonic in LONG_LANES and width != "xmm"}
    assert seen <= ALLOWED.get(name, set())


@pytest.mark.parametrize("name", KERNELS)
def test_nothing_is_gathered(name):
    assert not any("gather" in mnemonic for mnemonic, _ in instructions(name))


@pytest.mark.parametrize("name", [name for name in KERNELS if not name.startswith(("chain", "tree"))])
def test_what_goes_through_memory_once_is_asked_for_ahead(name):
    lines = assembly_of(*KERNELS[name]()).count("prefetch")
    assert lines >= streams.STRIP // streams.LINE, lines  # those of the wider array; codes have fewer


@pytest.mark.parametrize("mode", [Rounding.SR, Rounding.SR_C, Rounding.RTO], ids=lambda mode: mode.name)
def test_logarithmic_steps_are_looked_up_in_vectors(mode):
    bits, source = (16, elementwise.GIVEN) if mode.stochastic else (None, NONE)
    found = instructions_of(*elements("log5.3", mode, bits=bits, source=source))
    gathers = sum(n for (mnemonic, width), n in found.items() if "gather" in mnemonic and width != "xmm")
    assert gathers >= 4 or WIDEST != "zmm"  # AVX2's are slow on some processors, where LLVM avoids them
    assert not any(mnemonic.startswith("vdiv") for mnemonic, _ in found)


def test_random_words_are_multiplied_in_64_bit_lanes():
    # That these instructions are seen where they must be shows that they would be seen elsewhere.
    assert instructions("e5m2 SR drawn")["vpmuludq", WIDEST] > 0


@pytest.mark.parametrize("name", [name for name in KERNELS if "fused" not in name])
def test_products_and_sums_are_not_contracted(name):
    # A fused multiply-add in a rounded product or in the error of a sum would change bits.
    assert not [mnemonic for mnemonic, _ in instructions(name) if mnemonic.startswith(("vfm", "vfnm"))]
