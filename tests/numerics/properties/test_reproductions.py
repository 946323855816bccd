"""The line of a counter-example shows the fault: alone where it does, else among the fewest others that it needs."""

import numpy as np
import pytest

from numerics import Accumulator, Quantizer, Rounding, catalog, matmul
from numerics.properties import ClaimError, as_accumulator, as_quantizer, checks
from numerics.properties.evidence import repeated
from numerics.properties.reproductions import smallest

E4M3, E5M2 = catalog.E4M3, catalog.E5M2
SR = Quantizer(E4M3, Rounding.SR, random_bits=4)
TIMES = Accumulator(E5M2)
RIGHT = Quantizer(E4M3)


def first_word(x, words):
    return SR.quantize(x, words=np.broadcast_to(words.reshape(-1)[:1], words.shape).copy())


def whole_row_scale(x):
    top = np.abs(x[np.isfinite(x)]).max(initial=0)
    return RIGHT.quantize(x) if top < 64 else RIGHT.quantize(x / 64) * np.float32(64)


def tail(x):
    """Of each array the elements past a multiple of 8 are cut down."""
    flat = np.array(x).reshape(-1)
    last = len(flat) // 8 * 8
    ends = flat[last:] if last else flat[:0]
    flat[len(flat) - len(ends) :] = Quantizer(E4M3, Rounding.RTZ).quantize(ends)
    flat[: len(flat) - len(ends)] = RIGHT.quantize(flat[: len(flat) - len(ends)])
    return flat.reshape(x.shape)


def strided(x):
    return RIGHT.quantize(x) if x.flags.c_contiguous else RIGHT.quantize(np.ascontiguousarray(x)) * np.float32(2)


def long_ones(x):
    return RIGHT.quantize(x) if x.size < 100_000 else Quantizer(E4M3, Rounding.RTZ).quantize(x)


def column(a, b):
    result = np.array(product(a, b))
    if result.shape[-1] > 2:
        result[..., 2] = result[..., 1]
    return result


def product(a, b):
    return matmul(a, b, TIMES)


def strided_product(a, b):
    return product(a, b) if a.flags.c_contiguous else product(a, b) + np.float32(1)


def tail_decision(subject):
    return checks.decision(subject, np.full(19, 1.1, np.float32))


def run(line, fn):
    return eval(line, {"np": np, fn.__name__: fn})


def size(x, words=None):
    return x.size


def value(text):
    return float(text.split()[0])


@pytest.mark.parametrize(
    ("fn", "check", "options", "most"),
    [
        (first_word, checks.decision, {"rounding": Rounding.SR, "random_bits": 4}, 2),
        (first_word, checks.unbiased, {"rounding": Rounding.SR, "random_bits": 4}, 2),
        (first_word, checks.independent, {"rounding": Rounding.SR, "random_bits": 4}, 2),
        (whole_row_scale, checks.decision, {}, 2),
        (whole_row_scale, checks.faithful, {}, 2),
        (whole_row_scale, checks.independent, {}, 2),
        (tail, tail_decision, {}, 9),
        (tail, checks.reproducible, {}, 9),
        (strided, checks.reproducible, {}, 2),
        (long_ones, checks.reproducible, {}, 1 << 18),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_needs_others_is_shown_among_the_fewest(fn, check, options, most):
    with pytest.raises(ClaimError) as broken:
        check(as_quantizer(fn, fmt=E4M3, **options))
    details = broken.value.details
    assert details["only_among_others"].startswith("alone")
    line = details["reproduce"]
    assert len(line) < 2_000 and not line.endswith(")")
    alone = details["only_among_others"].removeprefix("alone it gives ")
    found = float(run(line, fn))
    assert found != value(alone)  # the fault is seen
    if check in (checks.decision, checks.faithful):
        assert found == value(details["seen"])
    given = run(line[: line.rindex("[")].replace(fn.__name__, "size", 1), size)
    assert given <= most


def test_what_is_wrong_alone_is_shown_alone():
    def cut(x):
        return Quantizer(E4M3, Rounding.RTZ).quantize(x)

    with pytest.raises(ClaimError) as broken:
        checks.decision(as_quantizer(cut, fmt=E4M3))
    assert "only_among_others" not in broken.value.details
    assert run(broken.value.details["reproduce"], cut).tolist() == [value(broken.value.details["seen"])]


def test_a_function_with_a_memory_is_said_to_have_one():
    calls = []

    def remembers(x):
        calls.append(1)
        return RIGHT.quantize(x) * np.float32(2 if len(calls) == 1 else 1)

    with pytest.raises(ClaimError) as broken:
        checks.decision(as_quantizer(remembers, fmt=E4M3))
    assert "it depends on what came before" in broken.value.details["only_among_others"]


def test_an_output_that_needs_other_columns():
    for fn, check in (
        (column, checks.steps),
        (column, checks.product_reproducible),
        (strided_product, checks.product_reproducible),
    ):
        with pytest.raises(ClaimError) as broken:
            check(as_accumulator(fn, TIMES))
        details = broken.value.details
        where = details["output"].partition("]")[0] + "]"
        assert "only_among_others" in details and (fn is strided_product or where.endswith(", 2]"))
        line = details["reproduce"]
        right = run(line.replace(fn.__name__, "product"), product)
        assert run(line, fn) != right


@pytest.mark.parametrize("check", [checks.block_decision, checks.block_apart])
def test_a_block_that_needs_other_blocks(check):
    blocks = Quantizer(catalog.MXFP4_E2M1)

    def strided_blocks(x):  # one block's elements lie a stride apart
        if x.size <= 32:
            return blocks.quantize(x)
        return blocks.quantize(x[..., ::-1])[..., ::-1]

    with pytest.raises(ClaimError) as broken:
        check(as_quantizer(strided_blocks, fmt=catalog.MXFP4_E2M1))
    details = broken.value.details
    assert details["only_among_others"].startswith("alone, the block gives")
    assert float(run(details["reproduce"], strided_blocks)) == value(details["seen"]) != value(details["allowed"])


def test_the_smallest_case_keeps_what_it_must():
    assert smallest(100, [7], lambda kept: 93 in kept).tolist() == [7, 93]
    assert smallest(100, [7], lambda kept: len(kept) >= 10).tolist()[-1] <= 99
    assert len(smallest(100, [7], lambda kept: len(kept) >= 10)) == 10
    assert smallest(3, [0, 2], lambda kept: True).tolist() == [0, 2]


def test_a_long_array_that_repeats_itself_is_short_to_say():
    x = np.resize(np.array([1.0, 2.0, 1.0, 0.5], np.float32), 301)
    assert repeated(x, np.float32) == "np.resize(np.array([1.0, 2.0, 1.0, 0.5], np.float32), 301)"
    x[300] = 3
    assert "resize" not in repeated(x, np.float32)
