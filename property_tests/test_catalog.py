"""Each format and matrix unit that the catalog names, and accumulators of every order: all claims, one test each."""

import pytest

from numerics import Accumulator, BlockFormat, FixedFormat, FloatFormat, Overflow, Quantizer, Rounding, catalog
from numerics.properties import accumulator_suite, as_accumulator, as_quantizer, quantizer_suite, verify
from numerics.properties.strategies import MODES
from tests.sampling import but_at_night, one_in

R = Rounding
B16, B32, E5M2 = catalog.BINARY16, catalog.BINARY32, catalog.E5M2
WITH_C = {"sequential", "truncated chunks", "blocked pairwise", "kahan", "exact", "stochastic products", "saturating"}
WIDE = {"binary32", "binary64", "posit32"}  # float32 holds too little, or nothing between two members
ROUNDED = Quantizer(E5M2, R.RNE)
ACCUMULATORS = {
    "sequential": Accumulator(B16),
    "product rounded": Accumulator(B16, R.RTZ, product=ROUNDED),
    "chunked": Accumulator(B16, R.RNA, chunk=4, outer=Accumulator(B32)),
    "truncated chunks": Accumulator(
        catalog.lba(7, 4, 10), R.RTZ, product=Quantizer(catalog.lba(7, 4, 12), R.RTZ), chunk=16
    ),
    "pairwise": Accumulator(catalog.BFLOAT16, order="pairwise"),
    "blocked pairwise": Accumulator(B16, order="pairwise", block=3),
    "kahan": Accumulator(B16, order="kahan"),
    "exact": Accumulator(B16, R.RTP, order="exact"),
    "stochastic": Accumulator(E5M2, R.SR, random_bits=4),
    "stochastic products": Accumulator(B16, R.SR_C, random_bits=3, product=Quantizer(E5M2, R.SR, random_bits=3)),
    "float64 carrier": Accumulator(FloatFormat(8, 35), R.RTN),
    "saturating": Accumulator(FixedFormat(10, 2), R.RTZ),
    "wrapping": Accumulator(FixedFormat(8), overflow=Overflow.WRAP),
    "infinities": Accumulator(E5M2, R.RNE, Overflow.IEEE),
}


DETERMINISTIC = [mode for mode in MODES if not mode.stochastic]
NAMES = [*catalog.FORMATS, *catalog.BLOCK_FORMATS]
# One deterministic mode for each, in turn, and stochastic rounding; test_quantizers.py draws all modes.
CASES = [(name, mode) for i, name in enumerate(NAMES) for mode in (DETERMINISTIC[i % len(DETERMINISTIC)], R.SR)]
# By day one of the two, in turn, and the other way round where the modes begin again.
LATE = {case for i, case in enumerate(CASES) if (i + i // 2 + i // (2 * len(DETERMINISTIC))) % 2}
MARKED = [pytest.param(*case, marks=pytest.mark.nightly) if case in LATE else case for case in CASES]
# What others have by day too: "chunked" is TestChunks, "truncated chunks" rounds products.
LATE_ACCUMULATORS = [
    "chunked",
    "product rounded",
    "stochastic products",
    "float64 carrier",
    "blocked pairwise",
    "wrapping",
    "kahan",
    "infinities",
]
# Units of the same parameters go by several names.
UNITS = {unit: name for name, unit in reversed(list(catalog.MATRIX_UNITS.items()))}

# As a user would: classes of tests, with drawn cases besides.
TestE4M3 = quantizer_suite(Quantizer(catalog.E4M3, R.SR, random_bits=5))
TestMXFP4 = quantizer_suite(Quantizer(catalog.MXFP4_E2M1))
TestH100 = accumulator_suite(catalog.MATRIX_UNITS["h100.e4m3.f32"])
TestChunks = accumulator_suite(as_accumulator(ACCUMULATORS["chunked"], deep=False))


def all_hold(subject):
    report = verify(subject)
    assert report.ok, "\n".join(v.note for v in report.verdicts if v.status == "broken")
    return report


@pytest.mark.parametrize(("name", "mode"), MARKED, ids=[f"{name} {mode.name}" for name, mode in CASES])
def test_formats(name, mode):
    fmt = catalog.FORMATS.get(name) or catalog.BLOCK_FORMATS[name]
    quantizer = Quantizer(fmt, mode, random_bits=3 if mode.stochastic else None)
    dtype = "float64" if name in WIDE else "float32"
    report = all_hold(as_quantizer(quantizer, dtype=dtype, limit=96))
    if not isinstance(fmt, BlockFormat):
        drawn = mode.stochastic and name != "binary64"  # no float64 lies between two of its members
        assert report["bias"].kind == ("exhaustive" if drawn else "")


@pytest.mark.parametrize("name", but_at_night(ACCUMULATORS, LATE_ACCUMULATORS))
def test_accumulators(name):
    all_hold(as_accumulator(ACCUMULATORS[name], takes_c=name in WITH_C, deep=False))


@pytest.mark.parametrize("name", one_in(9, UNITS.values()))
def test_units(name):
    all_hold(as_accumulator(catalog.MATRIX_UNITS[name], takes_c=True, deep=False))


def test_every_unit_is_there():
    assert set(UNITS) == set(catalog.MATRIX_UNITS.values())
    assert len(UNITS) > 30


def test_every_order_is_there():
    assert {accumulator.order for accumulator in ACCUMULATORS.values()} == {"sequential", "pairwise", "kahan", "exact"}
