"""The operators against programs of other people: Berkeley TestFloat's vectors and MPFR."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from numerics import FloatFormat, Overflow, Quantizer, Rounding, catalog
from tests.numerics.grids import assert_same_bits
from tests.numerics.operands import ARITY, hard_cases, operate

TESTFLOAT = Path(__file__).resolve().parents[3] / "shared" / "conformance" / "data" / "testfloat"
TESTFLOAT_MODES = {"rne": "RNE", "rna": "RNA", "rz": "RTZ", "ru": "RTP", "rd": "RTN", "rto": "RTO"}
OPERATIONS = {"add": "add", "sub": "sub", "mul": "mul", "div": "div", "mulAdd": "fma"}


@pytest.mark.parametrize("mode", TESTFLOAT_MODES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_binary16_vectors_of_testfloat(name, mode):
    path = TESTFLOAT / f"f16_{name}.{mode}.txt.gz"
    if not path.exists():
        pytest.skip(f"no TestFloat vectors: {path} is not there")
    with gzip.open(path, "rt") as lines:
        rows = [[int(word, 16) for word in line.split()[:-1]] for line in lines]  # the last column holds flags
    table = np.array(rows, np.uint16).view(np.float16).astype(np.float64)
    assert table.shape[0] > 2000
    *operands, wanted = table.T
    quantizer = Quantizer(catalog.BINARY16, Rounding[TESTFLOAT_MODES[mode]], Overflow.IEEE)
    found = operate(OPERATIONS[name], operands, quantizer)
    assert_same_bits(found, np.where(np.isnan(wanted), np.nan, wanted))


MPFR_MODES = {"RNE": "RoundToNearest", "RTZ": "RoundToZero", "RTP": "RoundUp", "RTN": "RoundDown"}
MPFR_FORMATS = {
    "binary64": catalog.BINARY64,
    "binary32": catalog.BINARY32,
    "bfloat16": catalog.BFLOAT16,
    "e11m30": FloatFormat(11, 30),
    "e10m52": FloatFormat(10, 52),
}


@pytest.mark.parametrize("mode", MPFR_MODES)
@pytest.mark.parametrize("fmt", MPFR_FORMATS.values(), ids=MPFR_FORMATS)
def test_wide_formats_of_mpfr(fmt, mode):
    gmpy2 = pytest.importorskip("gmpy2")
    operands_exactly = gmpy2.context(precision=53)
    context = gmpy2.context(
        precision=fmt.precision,
        emax=fmt.emax + 1,  # MPFR's significands lie in [1/2, 1)
        emin=fmt.emin - fmt.mantissa_bits + 1,
        subnormalize=True,
        round=getattr(gmpy2, MPFR_MODES[mode]),
    )
    quantizer = Quantizer(fmt, Rounding[mode], Overflow.IEEE)
    for operation in ARITY:
        operands = hard_cases(fmt, operation, 150).operands
        function = getattr(context, operation)
        rows = zip(*(x.tolist() for x in operands), strict=True)
        with gmpy2.context(operands_exactly):
            wanted = np.array([float(function(*map(gmpy2.mpfr, row))) for row in rows])
        found = operate(operation, operands, quantizer)
        assert_same_bits(found, np.where(np.isnan(wanted), np.nan, wanted), operands[0])
