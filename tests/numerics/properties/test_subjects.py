"""What can be put to the proof, what is refused, and what a counter-example says."""

import math

import ml_dtypes
import numpy as np
import pytest
import torch

from numerics import (
    Accumulator,
    FixedFormat,
    FloatFormat,
    NanEncoding,
    Overflow,
    Quantizer,
    Rounding,
    catalog,
    matmul,
    parse_format,
)
from numerics.properties import ClaimError, as_accumulator, as_mask, as_quantizer, checks, claims_of, verify

E4M3 = catalog.E4M3
R = Rounding


def nearest(x):
    return Quantizer(E4M3).quantize(x)


def broken(subject):
    return [verdict.claim for verdict in verify(subject).verdicts if verdict.status == "broken"]


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"fn": 3, "fmt": E4M3}, TypeError, "3 cannot be called: give a function of an array, or a Quantizer"),
        ({"fn": nearest}, TypeError, "fmt is missing: say which format the function rounds to"),
        ({"fn": nearest, "fmt": E4M3, "sampler": True}, ValueError, "sampler = True with RNE, which draws nothing"),
        ({"fn": nearest, "fmt": E4M3, "random_bits": 8}, ValueError, "random_bits = 8 with RNE"),
        ({"fn": nearest, "fmt": E4M3, "random_bits": 40, "rounding": R.SR}, ValueError, "random_bits = 40"),
        ({"fn": nearest, "fmt": E4M3, "random_bits": math.inf}, ValueError, "random_bits = inf: words have 1 to 32"),
        ({"fn": nearest, "fmt": catalog.MXFP4_E2M1, "codes": True}, TypeError, "codes = True with mxfp4_e2m1"),
        ({"fn": nearest, "fmt": catalog.BINARY64}, ValueError, "has values that float32 does not hold"),
        ({"fn": nearest, "fmt": E4M3, "overflow": Overflow.WRAP}, ValueError, "WRAP"),
        ({"fn": nearest, "fmt": E4M3, "dtype": "float16"}, TypeError, "float16"),
        ({"fn": nearest, "fmt": E4M3, "limit": 3}, ValueError, "limit = 3: too few points"),
        ({"fn": Quantizer(E4M3), "fmt": catalog.E5M2}, ValueError, "fmt = e5m2 beside a Quantizer that says e4m3fn"),
    ],
)
def test_refused_quantizers(arguments, error, sentence):
    with pytest.raises(error, match=sentence.replace("(", r"\(")):
        as_quantizer(**arguments)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: as_accumulator(np.matmul), TypeError, "claim is missing"),
        (lambda: as_accumulator(np.matmul, E4M3), TypeError, "give an Accumulator or a MatrixUnit"),
        (lambda: as_accumulator(3, Accumulator(E4M3)), TypeError, "cannot be called"),
        (
            lambda: as_accumulator(Accumulator(FixedFormat(64))),
            ValueError,
            "results in s64.0 are more than float64 holds",
        ),
        (lambda: as_mask(3), TypeError, "3 cannot be called"),
        (lambda: as_mask(abs, 5, 4), ValueError, "n = 5, m = 4"),
        (lambda: as_mask(abs, kind="best"), ValueError, "kind = 'best': give one of top_n, mvue"),
        (lambda: as_mask(abs, method="best"), ValueError, "method = 'best'"),
        (lambda: as_mask(abs, 1, 4, method="approximate"), ValueError, "it is two draws, n = 2"),
        (lambda: as_mask(abs, kind="top_n", random_bits=3), ValueError, "draws nothing"),
        (lambda: as_mask(abs, random_bits=33), ValueError, "random_bits = 33"),
        (lambda: checks.bias(as_quantizer(Quantizer(E4M3))), ValueError, "takes no words"),
        (lambda: checks.draws(as_quantizer(Quantizer(E4M3, R.SR))), ValueError, "takes words"),
        (lambda: verify(nearest), TypeError, "give what as_quantizer, as_accumulator or as_mask made"),
    ],
)
def test_refused_calls(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


def test_a_right_function_holds_all_its_claims():
    report = verify(as_quantizer(nearest, fmt=E4M3))
    assert report.ok
    assert report["decision"].status == "held"
    assert report["bias"].note == "RNE draws nothing"
    assert report.subject == "nearest as e4m3fn, RNE, Overflow.SATURATE"


def test_functions_of_torch_tensors_and_of_codes():
    def half(x):
        return x.to(torch.bfloat16).to(torch.float32)

    def codes(x):
        return x.astype(ml_dtypes.float8_e5m2).view(np.uint8)

    def from_codes(codes):
        return catalog.BINARY16.decode(codes.astype(np.uint64)).astype(ml_dtypes.float8_e5m2).astype(np.float32)

    assert not broken(as_quantizer(half, fmt=catalog.BFLOAT16, overflow=Overflow.IEEE, tensor=torch.from_numpy))
    assert not broken(as_quantizer(codes, fmt=catalog.E5M2, overflow=Overflow.IEEE, codes=True))
    source = as_quantizer(from_codes, fmt=catalog.E5M2, overflow=Overflow.IEEE, source=catalog.BINARY16)
    assert not broken(source)


def test_a_library_that_rounds_twice_is_caught():
    # float64 to float8 by way of float32: 1 + 2**-4 + 2**-30 becomes a tie.
    def twice(x):
        return x.astype(ml_dtypes.float8_e4m3fn).astype(np.float64)

    def once(x):
        return x.astype(ml_dtypes.float8_e5m2).astype(np.float32)

    assert not broken(as_quantizer(once, fmt=catalog.E5M2, overflow=Overflow.IEEE))
    with pytest.raises(ClaimError, match="decision: not the neighbour that the mode says"):
        checks.decision(as_quantizer(twice, fmt=E4M3, dtype=np.float64), [1 + 2.0**-4 + 2.0**-30])


def test_what_a_counter_example_says():
    def shifted(x):
        return nearest(x) + np.float32(0)

    def truncated(x):
        return Quantizer(E4M3, R.RTZ).quantize(x)

    checks.monotone(as_quantizer(shifted, fmt=E4M3))
    with pytest.raises(ClaimError) as caught:
        checks.decision(as_quantizer(truncated, fmt=E4M3, name="lib.cast"), [1.1])
    assert caught.value.claim == "decision"
    assert caught.value.details == {
        "x": "1.100000023841858 (0x1.19999a0000000p+0)",
        "neighbours": "1.0 and 1.125",
        "seen": "1.0 (0x1.0000000000000p+0)",
        "allowed": "1.125 (0x1.2000000000000p+0)",
        "formula": "RNE",
        "reproduce": "lib.cast(np.array([1.100000023841858], np.float32))",
    }
    seen = eval(
        caught.value.details["reproduce"], {"np": np, "lib": type("lib", (), {"cast": staticmethod(truncated)})}
    )
    assert seen.tolist() == [1.0]


def test_a_result_of_another_kind_is_told():
    with pytest.raises(ClaimError, match="an array of float32"):
        checks.member(as_quantizer(lambda x: x.astype(np.float64), fmt=E4M3))
    with pytest.raises(ClaimError, match=r"must give float32 \(2, 3\)"):
        checks.steps(as_accumulator(lambda a, b: np.zeros(3, np.float32), Accumulator(E4M3)))
    report = verify(as_quantizer(lambda x: 1 / 0, fmt=E4M3))
    first, *details = report["member"].note.splitlines()
    assert first == "member: the function raised ZeroDivisionError: division by zero" and len(details) == 2


def test_the_words_of_a_counter_example_show_it():
    # One word too many goes up: R > 2**r - k - 1 read as R >= 2**r - k - 1.
    ours = Quantizer(E4M3, R.SR, random_bits=4)

    def off_by_one(x, words):
        return ours.quantize(x, words=np.minimum(words + 1, 15).astype(np.uint32))

    subject = as_quantizer(off_by_one, fmt=E4M3, rounding=R.SR, random_bits=4)
    with pytest.raises(ClaimError, match=r"unbiased: the mean over all words is off by") as caught:
        checks.unbiased(subject, [1.0625])
    word = np.array([int(caught.value.details["word"])], np.uint32)
    x = np.array([1.0625], np.float32)
    assert off_by_one(x, word) != ours.quantize(x, words=word)
    with pytest.raises(ClaimError, match=r"bias: the mean over all words is not the closed form"):
        checks.bias(subject)
    with pytest.raises(ClaimError, match="decision"):
        checks.decision(subject)


def test_unsigned_and_fixed_formats_and_rules():
    unsigned = Quantizer(FixedFormat(6, 2, signed=False), R.RNA)
    assert verify(unsigned)["odd"].note == "u6.2 is unsigned"
    assert verify(unsigned).ok
    for rule in (Overflow.ERROR, Overflow.WRAP):
        assert verify(Quantizer(parse_format("s8.3"), R.RTN, rule)).ok
    assert verify(as_quantizer(Quantizer(parse_format("posit16"), R.SR, random_bits=5), limit=128)).ok


def test_report_as_json():
    import json

    report = verify(as_quantizer(Quantizer(catalog.E2M1), limit=64))
    told = json.loads(report.to_json())
    assert told["ok"] is True
    assert {v["claim"] for v in told["verdicts"]} == {v.claim for v in report.verdicts}
    assert set(told["verdicts"][0]) == {"claim", "statement", "status", "kind", "cases", "note", "seconds"}


def test_results_that_depend_on_the_number_of_threads_are_found():
    count = [1]
    threads = (lambda: count[0], lambda n: count.__setitem__(0, n))

    def split(x):  # each thread starts its own block of 16 elements with a rounding of its own
        result = nearest(x)
        if count[0] > 1 and x.size > 1 << 17:
            result.reshape(-1)[x.size // 2 :: 16] = Quantizer(E4M3, R.RTZ).quantize(x.reshape(-1)[x.size // 2 :: 16])
        return result

    def product(a, b):
        result = a.astype(np.float64) @ b
        result = Quantizer(catalog.BINARY16).quantize(result.astype(np.float32))
        return result if count[0] == 1 else result * np.float32(1 + (result.size > 1000))

    with pytest.raises(ClaimError, match="with 2 threads, the bits differ"):
        checks.reproducible(as_quantizer(split, fmt=E4M3, threads=threads))
    checks.reproducible(as_quantizer(split, fmt=E4M3))
    exact = Accumulator(catalog.BINARY16, order="exact")
    with pytest.raises(ClaimError, match="with 2 threads, the bits differ"):
        checks.product_reproducible(as_accumulator(product, exact, threads=threads))
    assert count == [1]


def ours(fmt, mode=R.RNE, overflow=Overflow.SATURATE):
    draw = np.random.default_rng(1)

    def fn(x):
        seed = int(draw.integers(1 << 50)) if mode.stochastic else None
        return Quantizer(fmt, mode, overflow).quantize(x, seed=seed)

    return fn


def repeated(period, rows=False):
    """Words that come again, along an array or for each row."""
    draw = np.random.default_rng(2)

    def fn(x):
        size = x.shape[-1] if rows else period
        words = draw.integers(0, 1 << 32, size)
        words = np.broadcast_to(words, x.shape) if rows else np.resize(words, x.size).reshape(x.shape)
        return Quantizer(E4M3, R.SR).quantize(x, words=words.astype(np.uint32))

    return fn


def wrong_far_away(x):
    result = nearest(x)
    result.reshape(-1)[1 << 13 :] = 0
    return result


def overwrites(x):
    result = nearest(x)
    x[...] = 1
    return result


def finite(a, b):
    return matmul(np.nan_to_num(a, nan=0, posinf=65504, neginf=-65504), b, H100)


H100 = catalog.MATRIX_UNITS["h100.f16.f32"]
S8, U8 = FixedFormat(8), FixedFormat(8, signed=False)
WRAPS, TELLS = Accumulator(S8, overflow=Overflow.WRAP), Accumulator(S8, overflow=Overflow.ERROR)
DRAWS = {"fmt": E4M3, "rounding": R.SR}
NIGHT = pytest.mark.nightly


@pytest.mark.parametrize(
    ("subject", "claim"),
    [
        (as_quantizer(lambda x: x * 0 + 7, fmt=catalog.MXFP8_E4M3, rounding=R.SR), "block_decision"),
        (as_quantizer(ours(catalog.E5M2, R.SR), fmt=catalog.E5M2, rounding=R.SR, overflow=Overflow.IEEE), "saturation"),
        (as_quantizer(repeated(0, rows=True), **DRAWS), "draws"),
        (as_quantizer(repeated(100), **DRAWS), "draws"),
        (as_quantizer(repeated(512), **DRAWS), "draws"),
        (as_quantizer(wrong_far_away, fmt=E4M3), "reproducible"),
        (as_quantizer(overwrites, fmt=E4M3), "reproducible"),
        (as_accumulator(lambda a, b: matmul(a, b, WRAPS), TELLS), "steps"),
        (as_accumulator(finite, H100, deep=False), "steps"),
    ],
    ids=["blocks", "infinities", "rows", "period 100", "period 512", "far away", "overwrites", "overflow", "NaN"],
)
def test_wrong_ones_are_found(subject, claim):
    (found,) = (c for c in claims_of(subject) if c.name == claim)
    with pytest.raises(ClaimError):
        found.check(subject)


@pytest.mark.parametrize(
    "subject",
    [
        as_accumulator(lambda a, b: a @ b, Accumulator(FixedFormat(32)), operands=(U8, S8), dtype=np.float64),
        Quantizer(FloatFormat(0, 10, 1, infinities=False, nan=NanEncoding.NONE)),
        Quantizer(FloatFormat(1, 9, 0, signed=False, infinities=False, nan=NanEncoding.NONE)),
        Quantizer(catalog.E5M2, R.RNE, Overflow.ERROR),
        Quantizer(FixedFormat(2), R.RNE, Overflow.ERROR),
        as_quantizer(lambda x: np.clip(np.rint(x), -128, 127), fmt=catalog.INT8),  # -0.0 stands for code 0 too
        as_quantizer(ours(catalog.E5M2, R.SR, Overflow.IEEE), fmt=catalog.E5M2, rounding=R.SR, overflow=Overflow.IEEE),
        pytest.param(as_quantizer(ours(catalog.MXFP8_E4M3, R.SR), fmt=catalog.MXFP8_E4M3, rounding=R.SR), marks=NIGHT),
        pytest.param(TELLS, marks=NIGHT),
    ],
    ids=["u8", "no exponent", "one exponent bit", "told", "two bits", "rint", "infinities", "blocks", "overflow"],
)
def test_right_ones_are_not_accused(subject):
    report = verify(subject)
    assert report.ok, [v.note for v in report.verdicts if v.status == "broken"]


def test_a_report_in_which_nothing_held_is_not_ok():
    from numerics.properties.verify import Report, Verdict

    assert not Report("x", (Verdict("a", "", "skipped"),)).ok
    assert Report("x", (Verdict("a", "", "skipped"), Verdict("b", "", "held", "exact", 1))).ok


def test_reproductions_of_odd_calls_can_be_read():
    from functools import partial

    cut = ours(E4M3, R.RTZ)
    subject = as_quantizer(cut, fmt=E4M3, tensor=partial(np.array), name="cut")
    with pytest.raises(ClaimError, match=r"cut\(tensor\(np.array\("):
        checks.decision(subject, [1.1])

    def codes(code):
        return cut(catalog.BINARY16.decode(code.astype(np.uint64)).astype(np.float32))

    with pytest.raises(ClaimError, match=r"codes\(np.array\(\[\d+\], np.uint16\)\)"):
        checks.decision(as_quantizer(codes, fmt=E4M3, source=catalog.BINARY16), [1.09375])
