"""What a function gives back that is no array of x's dtype and shape: what it was is named, and what to return instead."""

import numpy as np
import pytest

from numerics import Accumulator, Quantizer, catalog
from numerics.properties import ClaimError, as_accumulator, as_mask, as_quantizer, checks, verify
from numerics.properties.verify import is_repeated

E5M2 = catalog.E5M2
ROUND = Quantizer(E5M2)


def result_of(fn, check=checks.member, **claimed):
    with pytest.raises(ClaimError, match=r"^result: ") as broken:
        check(as_quantizer(fn, fmt=E5M2, name="mine", **claimed))
    return broken.value.details


class Wrapper:
    def __init__(self, x):
        self.x = x


@pytest.mark.parametrize(
    ("fn", "seen", "remedy"),
    [
        (lambda x: None, "None", "the function has no return"),
        (
            lambda x: ROUND.quantize(x).tolist(),
            "list, as an array float64 (1,)",
            "return np.asarray(result, np.float32)",
        ),
        (
            lambda x: ROUND.quantize(x).astype(np.float64),
            "float64 (1,)",
            "return .astype(np.float32) of it, or claim dtype=np.float64 (--dtype float64)",
        ),
        (
            ROUND.encode,
            "uint8 (1,)",
            "return .astype(np.float32) of it; if these are codes, say codes=True (--codes)",
        ),
        (Wrapper, "Wrapper, no array of numbers", "return an array of float32"),
        (lambda x: x[:1], "float32 (1,)", "return as many as x has, in its shape, whatever that is"),
        (lambda x: x[:, None], "float32 (1, 1)", "return it in the shape of x: .reshape(x.shape)"),
        (
            lambda x: [[1.0], [1.0, 2.0]],
            "list, of which numpy makes no array (ValueError: setting an array element with a sequence.",
            "return an array of float32",
        ),
    ],
)
def test_what_came_back_is_named_with_the_remedy(fn, seen, remedy):
    details = result_of(fn)
    assert details["seen"].startswith(seen)
    assert details["remedy"] == remedy


def test_codes_of_another_library_as_values():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    details = result_of(lambda x: ROUND.quantize(x).astype(ml_dtypes.float8_e5m2))
    assert details["seen"] == "float8_e5m2 (1,)"
    assert details["remedy"].endswith("; or its codes, .view(np.uint8), and say codes=True (--codes)")


def test_a_tensor_that_numpy_does_not_take():
    torch = pytest.importorskip("torch")
    rounded = lambda t: t.to(torch.float8_e5m2)  # noqa: E731
    for fn, seen, remedy in (
        (lambda t: rounded(t).bfloat16(), "a tensor of torch.bfloat16,", "return .to(torch.float32) of it"),
        (
            rounded,
            "a tensor of torch.float8_e5m2,",
            "return .to(torch.float32) of it; or its codes, .view(torch.uint8), and say codes=True (--codes)",
        ),
        (
            lambda t: torch.nn.Parameter(rounded(t).float()),
            "a tensor of torch.float32 that requires grad,",
            "return .detach() of it",
        ),
    ):
        details = result_of(fn, tensor=torch.from_numpy)
        assert details["seen"].startswith(seen)
        assert details["remedy"] == remedy
        assert details["reproduce"].startswith("mine(torch.from_numpy(np.array([")
    report = verify(as_quantizer(rounded, fmt=E5M2, tensor=torch.from_numpy))
    told = [verdict for verdict in report.verdicts if verdict.status == "broken"]
    assert len(told) > 5 and all(map(is_repeated, told[1:]))
    assert "check itself" not in str(report)


def test_a_shape_that_is_lost_is_shown_with_a_line_that_runs():
    details = result_of(lambda x: ROUND.quantize(x).reshape(-1), checks.reproducible)
    got = eval(details["reproduce"], {"np": np, "mine": lambda x: x})
    assert got.shape == (2, 2)
    assert details["seen"] == "float32 (4,)"
    details = result_of(lambda x: np.atleast_1d(ROUND.quantize(x)), checks.any_shape)
    assert eval(details["reproduce"], {"np": np, "mine": lambda x: x}).shape == ()


def test_what_raises_for_a_number_is_shown_with_a_line_that_runs():
    def no_number(x):
        if x.ndim == 0:
            raise IndexError("too few dimensions")
        return ROUND.quantize(x)

    subject = as_quantizer(no_number, fmt=E5M2, name="mine")
    details = subject.raised_by(np.array(1, np.float32), None, IndexError)
    assert eval(details["reproduce"], {"np": np, "mine": lambda x: x}).shape == ()


def test_the_element_that_was_written_to_is_shown():
    def clips(x):
        np.clip(x, -1000, 1000, out=x)
        return ROUND.quantize(x)

    with pytest.raises(ClaimError, match="the input was written to") as broken:
        checks.member(as_quantizer(clips, fmt=E5M2, name="mine"), np.array([1, 2000, 3000], np.float32))
    assert broken.value.details["x"].startswith("2000.0")
    assert broken.value.details["became"].startswith("1000.0")
    assert broken.value.details["reproduce"] == "mine(np.array([2000.0], np.float32))"


def test_masks_and_products_too():
    with pytest.raises(ClaimError) as broken:
        checks.pattern(as_mask(lambda x: x.tolist(), kind="top_n", dtype=np.float32))
    assert broken.value.details["seen"].startswith("list, as an array float64")
    torch = pytest.importorskip("torch")
    subject = as_accumulator(lambda a, b: (a @ b).bfloat16(), Accumulator(E5M2), tensor=torch.from_numpy)
    with pytest.raises(ClaimError) as broken:
        checks.steps(subject)
    assert "return .to(torch.float32) of it" in broken.value.details["seen"]
