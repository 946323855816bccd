"""What a fixed-point format refuses: sizes that it cannot have, rules that mean nothing, what is no code."""

import numpy as np
import pytest

from numerics import FixedFormat, Overflow, Quantizer, Rounding, catalog


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"bits": 1}, "bits = 1: a signed fixed-point format has 2 to 64 bits"),
        ({"bits": 65}, "bits = 65"),
        ({"bits": 0, "signed": False}, "bits = 0: an unsigned fixed-point format has 1 to 64 bits"),
        ({"bits": True, "signed": False}, "bits = True"),
        ({"bits": 8.0}, r"bits = 8\.0"),
        ({"bits": 8, "fraction_bits": 1.0}, r"fraction_bits = 1\.0: give an integer"),
        ({"bits": 8, "fraction_bits": 1001}, "fraction_bits = 1001: values leave float64; give -900 to 1000"),
        ({"bits": 8, "fraction_bits": -901}, "fraction_bits = -901"),
        ({"bits": 8, "signed": 2}, "signed = 2: give True or False"),
        ({"bits": 8, "symmetric": "no"}, "symmetric = 'no': give True or False"),
        ({"bits": 8, "signed": False, "symmetric": True}, "symmetric = True with signed = False"),
    ],
)
def test_impossible_formats_are_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        FixedFormat(**arguments)


def test_rules_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match=r"int8 has neither infinity nor NaN for Overflow\.IEEE: use SATURATE"):
        Quantizer(catalog.INT8, overflow=Overflow.IEEE)
    with pytest.raises(ValueError, match=r"is symmetric, one code is unused, so Overflow\.WRAP has no meaning"):
        Quantizer(catalog.MXINT8_ELEMENT, overflow=Overflow.WRAP)
    with pytest.raises(ValueError, match=r"Rounding\.RNL is nearest in the log domain"):
        Quantizer(catalog.INT8, Rounding.RNL)


def test_what_is_no_code_is_refused():
    with pytest.raises(ValueError, match=r"code 256 is outside the 8 bits of int8: 0 to 255"):
        catalog.INT8.decode(256)
    with pytest.raises(TypeError, match=r"codes of dtype float64"):
        catalog.INT8.decode(np.ones(1))
