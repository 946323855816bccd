"""Logarithmic formats: the tables of values by big integers, names, codes, and what is refused."""

import math
from fractions import Fraction

import numpy as np
import pytest

from numerics import LogFormat, Quantizer, Rounding, parse_format, spec
from numerics.formats.powers import geometric_means, power_floor, significands
from numerics.reference import log as oracle
from numerics.reference.powers import exceeds_power, nearest_power, root_floor
from tests.numerics import logs
from tests.numerics.grids import assert_same_bits
from tests.numerics.logs import FORMATS, TYPES


@pytest.mark.parametrize("precision", [24, 53])
@pytest.mark.parametrize("f", range(9))
def test_significands_are_the_powers_to_nearest(f, precision):
    table = significands(f, precision)
    assert (table[0], table[-1], len(table)) == (1 << (precision - 1), 1 << precision, (1 << f) + 1)
    for j in range(1, 1 << f):
        # |t - 2**(j/F) 2**(p-1)| < 1/2, as (2t - 1)**F < 2**(j + pF) < (2t + 1)**F: never equal, one side is odd.
        scaled = 1 << (j + (precision << f))
        assert (2 * table[j] - 1) ** (1 << f) < scaled < (2 * table[j] + 1) ** (1 << f)


@pytest.mark.parametrize("precision", [24, 53])
@pytest.mark.parametrize("f", range(9))
def test_geometric_means_part_the_significands(f, precision):
    for j, mean in enumerate(geometric_means(f, precision)):
        scaled = 1 << (2 * j + 1 + ((precision - 1) << (f + 1)))
        assert (mean - 1) ** (2 << f) < scaled < mean ** (2 << f)
        assert significands(f, precision)[j] < mean <= significands(f, precision)[j + 1]


def test_the_float32_table_is_the_float64_table_rounded():
    # Rounding twice does no harm: none of the 256 significands is near half-way between float32 numbers.
    wide, narrow = (np.array(significands(8, p)[:-1], np.float64) for p in (53, 24))
    assert (np.ldexp(wide, -29).astype(np.float32) == narrow).all()
    rest = np.array([t % (1 << 29) - (1 << 28) for t in significands(8, 53)[1:-1]])
    assert abs(rest).min() > 1 << 15  # in units of 2**-29 ulp of float32


@pytest.mark.parametrize("f", [0, 1, 3, 8])
def test_the_oracle_has_the_same_powers_by_other_means(f):
    rng = np.random.default_rng(f)
    for k in [0, 1, (1 << f) - 1, *rng.integers(-(900 << f), 900 << f, 20).tolist()]:
        octave, part = divmod(int(k), 1 << f)
        for precision in (24, 53):
            wanted = Fraction(significands(f, precision)[part]) * Fraction(2) ** (octave - precision + 1)
            assert nearest_power(int(k), 1 << f, precision) == wanted
        assert root_floor(part + (70 << f), 1 << f) == power_floor(part, f, 70)
        assert exceeds_power(wanted, int(k) - 1, 1 << f)
        assert not exceeds_power(wanted, int(k) + 1, 1 << f)


def test_values_of_luq():
    fmt = LogFormat(3, 0, bias=1)
    assert fmt.decode(np.arange(8)).tolist() == [0, 1, 2, 4, 8, 16, 32, 64]
    assert (fmt.bits, fmt.max, fmt.smallest, fmt.largest_code) == (4, 64.0, 1.0, 7)
    assert fmt.decode(9) == -1.0
    assert isinstance(fmt.decode(9), float)


def test_a_zero_has_no_sign():
    fmt = LogFormat(2, 1, bias=1)
    assert math.copysign(1.0, fmt.decode(8)) == 1.0  # the sign bit over a zero is read as zero
    quantizer = Quantizer(fmt)
    for x in (-0.0, -1e-300, -0.1):
        assert quantizer.encode(x) == 0
        assert math.copysign(1.0, quantizer.quantize(x)) == 1.0
    assert not fmt.has_negative_zero


def test_one_is_where_the_bias_says():
    for f in range(9):
        fmt = LogFormat(4, f, bias=5)
        assert fmt.decode(5 << f) == 1.0
        assert fmt.decode(6 << f) == 2.0
        assert fmt.decode((5 << f) + 1) == pytest.approx(2 ** (1 / (1 << f)), rel=1e-15)


@FORMATS
@TYPES
def test_all_codes_come_back(fmt, dtype):
    codes = np.array(fmt.codepoints())
    for mode in (Rounding.RNE, Rounding.RNL, Rounding.RTO):
        quantizer = Quantizer(fmt, mode)
        values = quantizer.decode(codes, dtype=dtype)
        wanted = [oracle.decode_code(int(c), fmt, precision=logs.PRECISION[dtype]) for c in codes]
        assert_same_bits(values, np.array(wanted, dtype))
        own = np.where(codes == fmt.largest_code + 1, 0, codes) if fmt.signed else codes
        assert (quantizer.encode(values) == own).all()
        assert_same_bits(quantizer.quantize(values), values)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ((3, 9), "fraction_bits = 9: a log format has 0 to 8"),
        ((3, -1), "fraction_bits = -1"),
        ((12, 0), "integer_bits = 12"),
        ((-1, 3), "integer_bits = -1"),
        ((0, 0), "no value but zero"),
        ((True, 1), "integer_bits = True: give an integer"),
        ((3, 1.0), "fraction_bits = 1.0: give an integer"),
        ((11, 0, 1023), "are not all normal float64"),
        ((3, 3, 1023), r"values from 2\*\*-1023 to below 2\*\*-1015 are not all"),
        ((3, 0, 1024), "are not all normal float64"),
        ((3, 0, -1017), r"to below 2\*\*1025 are not all"),
        ((3, 0, 10**400), "are not all normal float64"),
        ((3, 0, 1.0), "bias = 1.0: give an integer"),
    ],
)
def test_impossible_formats_are_refused(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        LogFormat(*fields[:2], **({"bias": fields[2]} if len(fields) > 2 else {}))
    with pytest.raises(ValueError, match="signed = 2: give True or False"):
        LogFormat(3, 3, signed=2)


def test_the_ends_of_float64_are_inside():
    assert LogFormat(3, 0, bias=1023).smallest == 2.0**-1022
    assert LogFormat(3, 0, bias=-1016).max == 2.0**1023
    assert LogFormat(3, 8, bias=-1016).max == pytest.approx(2.0**1023 * 2 ** (255 / 256), rel=1e-15)
    assert LogFormat(10, 8, bias=512).bits == 19


def test_records_are_equal_by_what_they_hold_and_go_through_text():
    fmt = LogFormat(4, 3, bias=8)
    assert fmt == LogFormat(4, 3, bias=8, name="mine", source="nowhere")
    assert hash(fmt) == hash(LogFormat(4, 3, bias=8, name="mine"))
    assert fmt != LogFormat(4, 3, bias=7)
    for thing in (fmt, Quantizer(fmt, Rounding.RNL), LogFormat(3, 0, signed=False, name="x")):
        assert spec.loads(spec.dumps(thing)) == thing
    assert spec.loads(spec.dumps(LogFormat(3, 0, name="x"))).name == "x"


@pytest.mark.parametrize(
    ("name", "fmt"),
    [
        ("log4.3b8", LogFormat(4, 3, bias=8)),
        ("log3.0", LogFormat(3, 0)),
        ("ulog3.1b-2", LogFormat(3, 1, bias=-2, signed=False)),
    ],
)
def test_names(name, fmt):
    assert parse_format(name) == fmt
    assert parse_format(str(fmt)) == fmt
    assert str(parse_format(name)) == name


def test_codes_out_of_range_are_refused():
    fmt = LogFormat(3, 0, bias=1)
    with pytest.raises(ValueError, match=r"code 16 is outside the 4 bits of log3\.0b1"):
        fmt.decode(16)
    with pytest.raises(TypeError, match="codes of dtype float64"):
        fmt.decode(np.array([1.0]))
