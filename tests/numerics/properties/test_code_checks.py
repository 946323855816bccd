"""Tables from codes: every entry is tried, and what the format cannot say is left out by name."""

import numpy as np
import pytest

from numerics import FixedFormat, FloatFormat, Overflow, Quantizer, Rounding, catalog, parse_format
from numerics.properties import ClaimError, as_quantizer, checks, verify
from numerics.properties.points import thresholds
from numerics.properties.verify import verdicts
from tests.sampling import but_at_night

E4M3, E5M2 = catalog.E4M3, catalog.E5M2
NAMES = ["e5m2", "e4m3fn", "bfloat16", "e2m1", "posit8", "s8.4", "log3.3", "e3m0"]


def by_table(target, *, source=E5M2, codes=True, rounding=Rounding.RNE, overflow=Overflow.SATURATE, bits=None):
    """A right function of codes, and all codes it was called with."""
    quantizer, seen = Quantizer(target, rounding, overflow, bits), set()

    def fn(given, *words):
        seen.update(given.tolist())
        values = Quantizer(source).decode(given, dtype=np.float32)
        options = {"words": words[0]} if words else {}
        return (quantizer.encode if codes else quantizer.quantize)(values, **options)

    subject = as_quantizer(
        fn, fmt=target, source=source, codes=codes, rounding=rounding, overflow=overflow, random_bits=bits
    )
    return subject, seen


@pytest.mark.parametrize(
    ("target", "options", "left_out"),
    [
        (E4M3, {}, 0),
        (E4M3, {"codes": False}, 0),
        (E4M3, {"overflow": Overflow.PROPAGATE}, 0),
        (E4M3, {"rounding": Rounding.SR, "bits": 8}, 0),
        (catalog.E2M1, {}, 6),  # three NaNs of either sign
        (FixedFormat(8, 4), {"overflow": Overflow.WRAP}, 8),  # and two infinities
        (FloatFormat(4, 4, signed=False), {}, 124),  # negative ones
        (E4M3, {"overflow": Overflow.ERROR}, 2 + 2 * 28),
    ],
    ids=str,
)
def test_all_codes_are_tried(target, options, left_out):
    subject, seen = by_table(target, **options)
    found = checks.every_code(subject)
    assert len(seen) == 256 - left_out
    assert found.cases == (256 - left_out) * (256 if options.get("bits") else 1)
    assert found.kind == "exhaustive"
    assert ("that" in found.note) is (left_out > 0)


def test_one_entry_of_65536_is_found_and_shown_as_a_code():
    table = Quantizer(E4M3).encode(catalog.BINARY16.decode(np.arange(1 << 16)).astype(np.float32))
    table[0xFE01] ^= 1  # one of the NaNs
    subject = as_quantizer(lambda codes: table[codes], fmt=E4M3, source=catalog.BINARY16, codes=True, name="mine")
    with pytest.raises(ClaimError, match="1 of 65536 codes of binary16 give something else") as caught:
        checks.every_code(subject)
    assert caught.value.details["code"].startswith("0xfe01, of the value nan")
    assert caught.value.details["reproduce"] == "mine(np.array([65025], np.uint16))"


def test_what_does_not_apply_says_why():
    wide = by_table(E4M3, source=parse_format("s24.4"), codes=False)[0]
    notes = {
        verdict.claim: verdict.note
        for subject in (as_quantizer(Quantizer(E4M3)), wide)
        for verdict in verdicts(subject)
        if verdict.claim == "every_code"
    }
    assert notes == {"every_code": "s24.4 has 2**24 codes: all are tried of at most 16 bits"}
    assert [v.note for v in verdicts(as_quantizer(Quantizer(E4M3))) if v.claim == "every_code"] == [
        "it takes values, no codes"
    ]


@pytest.mark.sampled
@pytest.mark.parametrize("name", but_at_night(NAMES, ["bfloat16", "e3m0"]))
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_every_word_has_its_threshold(name, bits):
    fmt = parse_format(name)
    x = thresholds(fmt, np.float32, bits)
    assert len(x) == 1 << bits and x[0] > 0
    (low,) = Quantizer(fmt, Rounding.RTZ).quantize(x[:1])
    quantizer = Quantizer(fmt, Rounding.SR, random_bits=bits)
    for j in range(1, 1 << bits):  # up with the last j words
        words = np.array([(1 << bits) - j - 1, (1 << bits) - j])
        down, up = quantizer.quantize(np.repeat(x[j : j + 1], 2), words=words)
        assert down == low < up


@pytest.mark.parametrize("word", but_at_night([0, 1, 77, 128, 200, 254], [1, 77, 128, 200]))
def test_two_words_that_are_taken_for_one_are_found(word):
    right = Quantizer(E5M2, Rounding.SR, random_bits=8)

    def fn(x, words):
        return right.quantize(x, words=np.where(words == word, word + 1, words))

    subject = as_quantizer(fn, fmt=E5M2, rounding=Rounding.SR, random_bits=8)
    broken = {verdict.claim for verdict in verify(subject).verdicts if verdict.status == "broken"}
    assert {"decision", "bias", "unbiased"} <= broken
