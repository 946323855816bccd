"""Every format of the catalog: its codes go through decode, quantize and encode unchanged; its source is said."""

import numpy as np
import pytest

from numerics import FloatFormat, Quantizer, Subnormals, catalog
from tests.numerics import grids
from tests.numerics.grids import assert_same_bits

P3109 = {
    f"p3109_{bits}_{precision}": catalog.p3109(bits, precision, signed=bool(bits % 2), extended=bool(precision % 2))
    for bits, precision in ((3, 1), (4, 2), (5, 3), (8, 1), (8, 4), (9, 5), (12, 6), (15, 6), (16, 11))
}
NARROW = {name: fmt for name, fmt in {**grids.CATALOG, **P3109}.items() if fmt.bits <= 16}
PAPER = {name: catalog.lba(*shape, paper=True) for name, shape in (("m7e4_b10", (7, 4, 10)), ("m4e3_b5", (4, 3, 5)))}


@pytest.mark.parametrize("fmt", NARROW.values(), ids=NARROW)
def test_all_codes_decode_and_encode_to_themselves(fmt):
    codes = np.arange(1 << fmt.bits, dtype=np.uint8 if fmt.bits <= 8 else np.uint16)
    quantizer = Quantizer(fmt, overflow=grids.overflow_rules(fmt)[-1])
    values = quantizer.decode(codes)
    nan = np.isnan(values)
    back = quantizer.encode(values)
    assert back.dtype == codes.dtype
    assert (back[~nan] == codes[~nan]).all()
    assert (back[nan] == (fmt.nan_code or 0)).all()
    assert nan.any() == fmt.has_nan


@pytest.mark.parametrize("mode", grids.MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("fmt", [*NARROW.values(), *PAPER.values()], ids=[*NARROW, *PAPER])
def test_members_never_move(fmt, mode):
    values = np.unique(fmt.decode(np.arange(1 << fmt.bits)))
    values = np.concatenate([values[np.isfinite(values)], [0.0] * fmt.has_zero + [-0.0] * fmt.has_negative_zero])
    if fmt.subnormals is Subnormals.FULL_BINADE:
        values = np.append(values, [fmt.smallest_normal, -fmt.smallest_normal])
    if not mode.stochastic:
        assert_same_bits(Quantizer(fmt, mode).quantize(values), values)
        return
    for random_bits in (1, 32):
        quantizer = Quantizer(fmt, mode, random_bits=random_bits)
        for word in (0, 1, (1 << random_bits) - 1):
            assert_same_bits(quantizer.quantize(values, words=np.full(values.shape, word)), values)


@pytest.mark.parametrize("name", ["tf32", "binary32"])
def test_wider_codes_go_round_too(name):
    fmt = catalog.FORMATS[name]
    rng = np.random.default_rng(0)
    ends = [0, 1, 2, fmt.largest_code, fmt.infinity_code, 1 << (fmt.bits - 1), 1 << fmt.mantissa_bits]
    codes = np.concatenate([ends, rng.integers(1 << fmt.bits, size=20_000)]).astype(np.uint32)
    for dtype in (np.float32, np.float64):
        quantizer = Quantizer(fmt, overflow=grids.Overflow.IEEE)
        values = quantizer.decode(codes, dtype=dtype)
        finite = ~np.isnan(values)
        assert (quantizer.encode(values)[finite] == codes[finite]).all()
        assert_same_bits(quantizer.quantize(values[finite]), values[finite])


def test_binary32_decodes_to_numpys_own_values():
    codes = np.random.default_rng(1).integers(1 << 32, size=50_000, dtype=np.uint32)
    codes = codes[np.isfinite(codes.view(np.float32))]
    assert_same_bits(Quantizer(catalog.BINARY32).decode(codes, dtype=np.float32), codes.view(np.float32))


@pytest.mark.parametrize(("name", "fmt"), grids.CATALOG.items(), ids=grids.CATALOG)
def test_entries_are_named_and_cite_a_source(name, fmt):
    assert isinstance(fmt, FloatFormat)
    assert fmt.name == name
    assert len(fmt.source) > 10


def test_the_catalog_cannot_be_written_to():
    with pytest.raises(TypeError):
        catalog.FORMATS["mine"] = catalog.E4M3  # type: ignore[index]


# IEEE P3109 v4.0 (draft), 3.2: bias 2**(K-P-1), one NaN at the code of -0, infinity the largest code where extended.
@pytest.mark.parametrize(
    ("arguments", "bias", "largest", "smallest", "nan_code", "infinity_code"),
    [
        ((8, 4, True, True), 8, 224.0, 2.0**-10, 0x80, 0x7F),
        ((8, 4, True, False), 8, 240.0, 2.0**-10, 0x80, None),
        ((8, 3, True, True), 16, 49152.0, 2.0**-17, 0x80, 0x7F),
        ((8, 1, True, True), 64, 2.0**62, 2.0**-63, 0x80, 0x7F),
        ((8, 4, False, True), 16, 53248.0, 2.0**-18, 0xFF, 0xFE),
        ((8, 4, False, False), 16, 57344.0, 2.0**-18, 0xFF, None),
    ],
)
def test_p3109_by_hand(arguments, bias, largest, smallest, nan_code, infinity_code):
    bits, precision, signed, extended = arguments
    fmt = catalog.p3109(bits, precision, signed=signed, extended=extended)
    assert fmt.bits == bits
    assert (fmt.bias, fmt.max, fmt.smallest_subnormal) == (bias, largest, smallest)
    assert (fmt.nan_code, fmt.infinity_code) == (nan_code, infinity_code)


@pytest.mark.parametrize(("bits", "precision"), [(8, 0), (8, 8), (8, 9)])
def test_p3109_refuses_a_precision_that_does_not_fit(bits, precision):
    with pytest.raises(ValueError, match=f"precision {precision} does not fit {bits} bits"):
        catalog.p3109(bits, precision, signed=True, extended=True)
