"""What NVVM makes of the CUDA kernels, without a device: nothing to fuse, nothing wider than it must be, no local memory."""

import re
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from numba import float32, float64, types, uint8, uint32, uint64

from numerics import (
    FixedFormat,
    LogFormat,
    Overflow,
    PositFormat,
    Quantizer,
    Rounding,
    ScaleRule,
    catalog,
    parse_format,
)
from numerics.block_rows import compiled_row
from numerics.kernels import elementwise as cpu
from numerics.kernels import modes
from numerics.kernels import unit_steps as cpu_steps
from numerics.kernels.fixed_gemm import CLAMPS, REPORTS, WRAPS
from numerics.loops import elementwise_choice
from numerics.parameters import FLOAT32, FLOAT64
from tests.cuda import ptx
from tests.sampling import but_at_night

pytest.importorskip("numba.cuda")
elementwise = pytest.importorskip("numerics.kernels.cuda.elementwise")
blocks = pytest.importorskip("numerics.kernels.cuda.blocks")
convert = pytest.importorskip("numerics.kernels.cuda.convert")
counting = pytest.importorskip("numerics.kernels.cuda.counting")
decode = pytest.importorskip("numerics.kernels.cuda.decode")
fixed = pytest.importorskip("numerics.kernels.cuda.fixed")
gemm = pytest.importorskip("numerics.kernels.cuda.gemm")
mapped = pytest.importorskip("numerics.kernels.cuda.mapped")
masks = pytest.importorskip("numerics.kernels.cuda.masks")
matrix_unit = pytest.importorskip("numerics.kernels.cuda.matrix_unit")
orders = pytest.importorskip("numerics.kernels.cuda.orders")
scan = pytest.importorskip("numerics.kernels.cuda.scan")
unit_steps = pytest.importorskip("numerics.kernels.cuda.unit_steps")
xnor = pytest.importorskip("numerics.kernels.cuda.xnor")

SR, SIGNED = modes.SR, modes.SIGNED
UNIFORM, SHIFTED = SR + modes.UNIFORM, SR + modes.SHIFTED
TRUNCATE = modes.RTZ + modes.UNIFORM + SIGNED
NONE = modes.NO_ROUNDING
LINE = uint32[::1]


def elements(q, codes=False, source=cpu.DETERMINISTIC, carrier=FLOAT32):
    """The kernel of a call, and its signature."""
    choice = elementwise_choice(q.fmt, q.rounding, q.overflow, q.random_bits, carrier, codes)
    scalar = float32 if carrier is FLOAT32 else float64
    out, row = uint8 if codes else scalar, numba.typeof((choice.row,))
    constants = choice.mode, choice.normalise, source, choice.errors
    start = scalar[::1], out[::1], out, row
    if source in (cpu.DETERMINISTIC, cpu.GIVEN):
        return elementwise.make_quantize(*constants), types.void(*start, LINE, LINE)
    return elementwise.make_stochastic(*constants), types.void(*start, uint64, uint64, uint64, LINE)


def chain(mode, product=NONE, outer=NONE, source=gemm.DETERMINISTIC, double=0):
    scalar, row = (float64, uint64) if double else (float32, uint32)
    stack = scalar[:, :, ::1]
    rows, numbers = types.UniTuple(row[::1], 3), types.UniTuple(uint64, 6)
    kernel = gemm.make_chain(mode, product, outer, 0, source, double)
    return kernel, types.void(stack, stack, stack, rows, types.int64, uint32[:, ::1], numbers)


def ordered(make, mode, product=NONE, source=gemm.DETERMINISTIC):
    stack = float32[:, :, ::1]
    options = (types.int64, types.boolean) if make is orders.make_tree else ()
    words, numbers = uint32[:, ::1], types.UniTuple(uint64, 6)
    firsts = (types.int32[:, :, ::1],)
    signature = types.void(stack, stack, stack, types.UniTuple(LINE, 3), *options, words, numbers, *firsts)
    return make(mode, product, 0, source, 0), signature


def counts(make, *modes, source=gemm.DETERMINISTIC, double=0):
    """A kernel that counts events."""
    scalar, row = (float64, uint64) if double else (float32, uint32)
    stack, number = scalar[:, :, ::1], types.int64
    rows = types.UniTuple(types.Tuple((row[::1], scalar[::1])), 3)
    options = {counting.make_chain: (number,), counting.make_tree: (number, types.boolean)}.get(make, ())
    words, numbers, notes = uint32[:, ::1], types.UniTuple(uint64, 6), types.int32[:, :, :, :]
    return make(*modes, 0, source, double), types.void(stack, stack, stack, rows, *options, words, numbers, notes)


def on_grid(*modes_and_rules, odd=0, source=gemm.DETERMINISTIC):
    stack = float32[:, :, ::1]
    grids, rows, numbers = (types.UniTuple(kind, n) for kind, n in ((float32[::1], 2), (LINE, 2), (uint64, 6)))
    kernel = fixed.make_chain(*modes_and_rules, odd, source, 0)
    words, firsts = uint32[:, ::1], types.int32[:, :, ::1]
    return kernel, types.void(stack, stack, stack, grids, rows, types.int64, words, numbers, firsts)


def tree_on_grid(*modes_and_rules, odd=0, source=gemm.DETERMINISTIC):
    stack, pair = float32[:, :, ::1], types.Tuple((float32[::1], LINE))
    options, words, numbers = (types.int64, types.boolean), uint32[:, ::1], types.UniTuple(uint64, 6)
    kernel = fixed.make_tree(*modes_and_rules, odd, source, 0, 1)
    return kernel, types.void(
        stack, stack, stack, types.UniTuple(pair, 2), *options, words, numbers, types.int32[:, :, ::1]
    )


def unit(unroll, groups, nearest, apart, bounded):
    floats, integers = float32[:, :, ::1], types.int32[:, :, ::1]
    facts = types.UniTuple(types.int64, 6)
    signature = types.void(floats, integers, floats, integers, floats, facts, float64, types.int64, types.int64)
    return matrix_unit.make_fast(unroll, groups, nearest, apart, bounded), signature


def stepping(kind, double=0):
    """A matrix unit that rounds at every step."""
    scalar = float64 if double else float32
    stack = scalar[:, :, ::1]
    return unit_steps.make_steps(kind, double), types.void(stack, stack, stack, types.int64, scalar)


def in_blocks(name, mode=Rounding.RNE, codes=0, source=cpu.DETERMINISTIC, bits=None):
    fmt = parse_format(name)
    row = compiled_row(fmt, mode, Overflow.SATURATE, bits, FLOAT32)
    ratio = int(fmt.rule is ScaleRule.RATIO)
    constants = ratio, int(mode), row.form, row.scale_form, source, row.integers, row.saturates, 0, codes, 0
    out = (uint8 if codes else float32)[:, :, :]
    rows, triple = types.Tuple((LINE, LINE, types.int64[::1])), types.UniTuple(uint64, 3)
    steps = types.UniTuple(types.int64, 3)
    arguments = float32[:, :, :], out, float32[:, :, :], rows, float32, float32, types.int64, LINE, triple, steps, LINE
    return blocks.make_blocks(*constants), types.void(*arguments)


def apart(truncates, flushes, gradual=1):
    facts, line = types.UniTuple(types.int64, 4), types.int64[::1]
    results = float32[:, :, ::1], types.int32[:, :, ::1], LINE, types.int32[::1]
    return convert.make_apart(truncates, flushes, gradual), types.void(
        float32[:, :, :], line, types.int64, facts, *results
    )


def through(rule, source, double=0):
    scalar, bits = (float64, uint64) if double else (float32, uint32)
    out = uint8 if rule == mapped.LUQ_CODES else scalar
    start = scalar[::1], out[::1], types.UniTuple(bits, 3)
    keys = (LINE, uint32) if source in (cpu.DETERMINISTIC, cpu.GIVEN) else (uint64, uint64, uint64, uint32)
    return mapped.make_mapped(rule, source, double), types.void(*start, *keys, bits[::1])


FLAGS = types.int32[::1]
CUT = LINE, types.UniTuple(uint64, 3), types.UniTuple(types.int64, 2), float64  # words, keys, how they are cut, period


def pairs(source):
    line, left = float32[::1], uint8[::1]
    return masks.make_swift(4, source), types.void(line, line, *CUT, left, FLAGS)


def rows(m, source):
    line, left = float32[::1], uint8[::1]
    return masks.make_rows(m, source, 0), types.void(line, line, *CUT, types.int64, types.int64, left, FLAGS)


def sr(fmt, bits):
    return Quantizer(fmt, Rounding.SR, random_bits=bits)


NARROW = {
    "e4m3": lambda: elements(Quantizer(catalog.E4M3)),
    "e4m3 codes": lambda: elements(Quantizer(catalog.E4M3), True),
    "e5m2 upward": lambda: elements(Quantizer(catalog.E5M2, Rounding.RTP, Overflow.IEEE)),
    "e4m3 given": lambda: elements(sr(catalog.E4M3, 12), False, cpu.GIVEN),
    "e4m3 SR_C": lambda: elements(Quantizer(catalog.E4M3, Rounding.SR_C, random_bits=12), False, cpu.DRAWN_2),
    "e4m3 8 bits": lambda: elements(sr(catalog.E4M3, 8), True, cpu.DRAWN_1),
    "bfloat16 32 bits": lambda: elements(sr(catalog.BFLOAT16, 32), False, cpu.DRAWN_4),
    "fixed codes": lambda: elements(Quantizer(FixedFormat(8, 4)), True),
    "posit codes": lambda: elements(Quantizer(PositFormat(8)), True),
    "log": lambda: elements(Quantizer(LogFormat(4, 3))),
    "nvfp4": lambda: in_blocks("nvfp4"),
    "scan": lambda: (scan.make_scan(0), types.void(LINE, LINE)),
    "luq drawn": lambda: through(mapped.LUQ, cpu.DRAWN_4),
    "luq codes of bytes": lambda: through(mapped.LUQ_CODES, cpu.DRAWN_1),
    "luq given": lambda: through(mapped.LUQ, cpu.GIVEN),
    "sign": lambda: through(mapped.SIGN, cpu.DETERMINISTIC),
    "sign drawn": lambda: through(mapped.DRAWN_SIGN, cpu.DRAWN_2),
    "powers": lambda: through(mapped.POWER, cpu.DETERMINISTIC),
    "largest magnitude": lambda: (mapped.make_most(0), types.void(float32[::1], LINE)),
    "two largest of four": lambda: (
        masks.make_largest_of_four(0),
        types.void(float32[::1], float32[::1], FLAGS),
    ),
    "largest": lambda: (
        masks.make_largest(0),
        types.void(float32[::1], float32[::1], types.int64, types.int64, FLAGS),
    ),
    "pack": lambda: (xnor.make_pack(0), types.void(float32[:, ::1], types.int64, uint64[:, ::1], FLAGS)),
    "xnor": lambda: (
        xnor.make_product(1),
        types.void(uint64[:, ::1], uint64[:, ::1], types.int64, types.int32[:, ::1]),
    ),
    "wide floats": lambda: (
        decode.make_floats(0),
        types.void(LINE, float32[::1], types.UniTuple(LINE, 1), uint32, types.int32[::1]),
    ),
    "chain fused": lambda: chain(SIGNED),
    "chain at once": lambda: chain(SIGNED + modes.ONCE),
    "chain general": lambda: chain(modes.RNE),
    "chain downward": lambda: chain(modes.RTN, modes.RTN, modes.RTN),
    "chain native": lambda: chain(modes.NATIVE),
    "chain truncating": lambda: chain(TRUNCATE, TRUNCATE, TRUNCATE),
    "chain blocks": lambda: chain(SHIFTED, NONE, NONE, gemm.BLOCKS),
    "chain blocks, general": lambda: chain(SR, NONE, SR, gemm.BLOCKS),
    "chain singly": lambda: chain(UNIFORM, UNIFORM, UNIFORM, gemm.SINGLY),
    "chain given": lambda: chain(SR, SR, SR, gemm.GIVEN),
    "tree": lambda: ordered(orders.make_tree, SIGNED),
    "tree singly": lambda: ordered(orders.make_tree, SR, SR, gemm.SINGLY),
    "kahan": lambda: ordered(orders.make_kahan, modes.RTN, modes.RTN),
    "kahan singly": lambda: ordered(orders.make_kahan, UNIFORM, NONE, gemm.SINGLY),
    "chain that counts": lambda: counts(counting.make_chain, SHIFTED, SR, modes.RNE, source=gemm.SINGLY),
    "chain that counts, finite": lambda: counts(counting.make_chain, SIGNED, NONE, NONE),
    "tree that counts": lambda: counts(counting.make_tree, modes.RTN, NONE),
    "kahan that counts": lambda: counts(counting.make_kahan, TRUNCATE, modes.RNE),
    "grid fused": lambda: on_grid(modes.RNE, CLAMPS, NONE, CLAMPS),
    "grid odd": lambda: on_grid(modes.RNA, WRAPS, modes.RTN, REPORTS, odd=1),
    "grid tree": lambda: tree_on_grid(modes.RNE, REPORTS, modes.RTZ, REPORTS),
    "grid tree singly": lambda: tree_on_grid(SR, WRAPS, NONE, CLAMPS, odd=0, source=gemm.SINGLY),
    "grid singly": lambda: on_grid(SR, CLAMPS, modes.SR_C, WRAPS, source=gemm.SINGLY),
}
WIDE = {
    "binary16 of float64": lambda: elements(Quantizer(catalog.BINARY16), carrier=FLOAT64),
    "chain of float64 that counts": lambda: counts(counting.make_chain, modes.RTZ, NONE, NONE, double=1),
    "chain of float64": lambda: chain(modes.RTZ, NONE, NONE, gemm.DETERMINISTIC, 1),
}
# The sum of a block is rounded in float64, once for 8 or 16 products.
WIDE |= {
    "two of four": lambda: pairs(cpu.DRAWN_4),
    "two of four given": lambda: pairs(cpu.GIVEN),
    "rows of eight": lambda: rows(8, cpu.DRAWN_4),
    "luq of float64": lambda: through(mapped.LUQ, cpu.DRAWN_4, 1),
    "sign of float64": lambda: through(mapped.DRAWN_SIGN, cpu.GIVEN, 1),
    "wide integers": lambda: (
        decode.make_integers(),
        types.void(LINE, float32[::1], uint64, float64, uint32, types.int32[::1]),
    ),
    "under scales": lambda: (
        decode.make_under_scales(0),
        types.void(
            *[float32[:, :, :], float64[:, :, :], float32[:, :, :], float32],
            *[types.boolean, types.boolean, types.int64, types.int32[::1]],
        ),
    ),
    "scaled": lambda: (convert.make_scaled(0), types.void(float64[:, :, :], float32[:, :, :], *[float64] * 3)),
    "mxfp8": lambda: in_blocks("mxfp8_e4m3"),
    "mxint8 codes": lambda: in_blocks("mxint8", codes=1),
    "mxfp4 SR": lambda: in_blocks("mxfp4_e2m1", Rounding.SR, 1, cpu.DRAWN_4, 8),
    "operand of a unit": lambda: apart(1, convert.POSITIVE),
    "operand of a unit, without subnormals": lambda: apart(0, convert.KEPT, 0),
    "unit of fused steps": lambda: stepping(cpu_steps.SEQUENTIAL),
    "unit of two chains": lambda: stepping(cpu_steps.EVEN_ODD),
    "unit of trees": lambda: stepping(cpu_steps.PAIRWISE, 1),
    "unit of 16, toward zero": lambda: unit(8, 2, 0, 0, 1),
    "unit of 8, to nearest, that may overflow": lambda: unit(8, 1, 1, 0, 0),
    "unit of 4, c behind the block": lambda: unit(4, 1, 0, 1, 1),
}
KERNELS = {**NARROW, **WIDE}


LATE = (  # other constants of kernels that are there already
    "e5m2 upward",
    "e4m3 SR_C",
    "posit codes",
    "chain general",
    "chain downward",
    "chain blocks, general",
    "chain given",
    "tree singly",
    "kahan singly",
    "chain that counts, finite",
    "chain of float64 that counts",
    "kahan that counts",
    "grid odd",
    "grid singly",
    "grid tree singly",
    "mxint8 codes",
    "mxfp8",
    "unit of 8, to nearest, that may overflow",
    "unit of fused steps",
    "chain native",
    "chain truncating",
    "two of four given",
    "sign of float64",
    "unit of two chains",
    "luq codes of bytes",
    "luq given",
    "luq of float64",
    "e4m3 given",
    "binary16 of float64",
    "unit of 4, c behind the block",
)


@pytest.mark.parametrize("name", but_at_night(KERNELS, LATE))
def test_every_kernel(name, monkeypatch):
    for target, code in ptx.compiled_for_all(*KERNELS[name](), monkeypatch).items():
        assert f".target {target}" in code
        assert ptx.unrounded(code) == []
        assert ptx.local_memory(code) == []
        if name.startswith("chain") and "counts" not in name:  # which has one output a thread
            assert len(ptx.rounded(code)) >= gemm.OUTPUTS
        assert ptx.widened(code) == [] if name in NARROW else ptx.widened(code)


@pytest.mark.parametrize("name", ["e4m3 codes", "scan", "grid odd"])
def test_numba_lowers_a_kernel_alike_for_every_target(name, monkeypatch):
    """So the code above is that of a kernel which is lowered for its own target, whose names alone differ."""
    numbered = re.compile(r"_ZN[\w$]+_param|_cudapy_smem_\d+")
    kernel, signature = KERNELS[name]()
    for target, code in list(ptx.compiled_for_all(kernel, signature, monkeypatch).items())[1:]:
        own = ptx.compiled(kernel, signature, target, monkeypatch)
        for one, other in zip(ptx.instructions(code), ptx.instructions(own), strict=True):
            assert numbered.sub("", str(one)) == numbered.sub("", str(other))


def test_the_inspection_sees_what_it_is_for(monkeypatch):
    """Each of the findings, in code that has it."""
    from numba import cuda

    def careless(x, y, out, words):
        i = cuda.grid(1)
        held = cuda.local.array(8, np.float32)
        for j in range(8):
            held[j] = x[i + j]
        out[i] = held[words[i]] * y[i] + x[i]
        words[i] = np.uint32(np.uint32(words[i] >> np.uint32(1)) >> np.uint32(words[i + 1] & np.uint32(31)))

    signature = types.void(float32[::1], float32[::1], float32[::1], LINE)
    code = ptx.compiled(SimpleNamespace(py_func=careless), signature, "sm_90", monkeypatch)
    assert ptx.local_memory(code)
    assert any("shr.u64" in line for line in ptx.widened(code))
    strict = "\n.entry k\nmul.f32 %f1, %f2, %f3;\nadd.rn.f32 %f4, %f1, %f2;\nfma.rz.f32 %f4, %f1, %f2, %f3;"
    assert ptx.unrounded(strict) == ["mul.f32"] and len(ptx.rounded(strict)) == 2
    # Of code of ours, whose floats nothing may fuse, the compiler is asked otherwise; here it fused.
    assert any(name.startswith("fma") for name, _ in ptx.instructions(code))


def test_blocks_of_words_are_for_sums_alone():
    with pytest.raises(ValueError, match=r"BLOCKS with a stochastic product: .* take SINGLY"):
        gemm.make_chain(modes.RNE, SR, NONE, 0, gemm.BLOCKS, 0)
    gemm.make_chain(SR, modes.RNE, NONE, 0, gemm.BLOCKS, 0)
