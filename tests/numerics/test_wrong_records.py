"""A record in the place of another: the sentence has its short name and how to make the right one from it."""

import re

import numpy as np
import pytest

from numerics import Accumulator, BlockFormat, FixedFormat, LogFormat, Quantizer, arithmetic, catalog, logscale, matmul
from numerics import spec as texts

E4M3 = catalog.E4M3
E4, SUM, LOG = Quantizer(E4M3), Accumulator(E4M3), LogFormat(4, 3, bias=8)
X, CODES = np.ones((2, 2)), np.ones((2, 2), int)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: Accumulator(E4M3, product=E4M3), "product e4m3fn: give Quantizer(e4m3fn), or None for exact products"),
        (lambda: Accumulator(E4M3, product=SUM), "product Accumulator(e4m3fn): give Quantizer(e4m3fn), or None"),
        (lambda: Accumulator(E4M3, product="e4m3fn"), "product 'e4m3fn': give Quantizer(parse_format('e4m3fn')), or"),
        (lambda: Accumulator(E4M3, product="nearest"), "product 'nearest': give a Quantizer, or None"),
        (lambda: Accumulator(E4M3, chunk=2, outer=E4M3), "outer e4m3fn: give Accumulator(e4m3fn), or None"),
        (lambda: Accumulator(E4M3, chunk=2, outer=E4), "outer Quantizer(e4m3fn): give Accumulator(e4m3fn), or None"),
        (lambda: Accumulator(E4), "format Quantizer(e4m3fn): sums are accumulated in a FloatFormat or a FixedFormat;"
         " give its format, e4m3fn, and its rounding;"),
        (lambda: Accumulator(LOG), "format log4.3b8: sums are accumulated in a FloatFormat or a FixedFormat; parse"),
        (lambda: Accumulator(FixedFormat), "format <class 'numerics.formats.fixed.FixedFormat'>: sums are"),
        (lambda: Quantizer(E4), "format Quantizer(e4m3fn): give its format, e4m3fn; parse_format"),
        (lambda: Quantizer(SUM), "format Accumulator(e4m3fn): give its format, e4m3fn; parse_format"),
        (lambda: Quantizer(list(range(99))), "format [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16...: give"),
        (lambda: BlockFormat(E4, catalog.E8M0, 32), "element Quantizer(e4m3fn): give a FloatFormat"),
        (lambda: BlockFormat(E4M3, LOG, 32), "scale log4.3b8: give a FloatFormat such as"),
        (lambda: matmul(X, X, E4M3), "accumulator e4m3fn: give Accumulator(e4m3fn)"),
        (lambda: matmul(X, X, E4), "accumulator Quantizer(e4m3fn): give Accumulator(e4m3fn)"),
        (lambda: matmul(X, X, None), "accumulator None: give an Accumulator"),
        (lambda: matmul(X, X, "bf16"), "accumulator 'bf16': give Accumulator(parse_format('bf16'))"),
        (lambda: matmul(X, X, "h100.f16.f32"), "accumulator 'h100.f16.f32': give catalog.MATRIX_UNITS['h100.f16.f32']"),
        (lambda: arithmetic.add(X, X, E4M3), "e4m3fn in place of a quantizer: give Quantizer(e4m3fn)"),
        (lambda: logscale.matmul(CODES, CODES, LOG, LOG), "accumulator log4.3b8: give a LogAccumulator, a Quantizer of"),
        (lambda: logscale.matmul(CODES, CODES, E4, SUM), "format Quantizer(e4m3fn): arithmetic on codes"),
        (lambda: logscale.LogAccumulator(LOG, table=E4M3), "table e4m3fn: give a SumTable, or None"),
        (lambda: texts.dumps(logscale.LogAccumulator(LOG)), "LogAccumulator(log4.3b8) is not a format, quantizer or"),
        (lambda: Accumulator(catalog.MATRIX_UNITS["v100.f16.f32"]), "format v100.f16.f32: sums are"),
    ],
)  # fmt: skip
def test_the_sentence(call, sentence):
    with pytest.raises(TypeError, match=f"^{re.escape(sentence)}"):
        call()
