"""Constants by which a range or a largest magnitude is said to give sigma, and counts of masks."""

from collections.abc import Callable
from itertools import combinations, product
from math import factorial, log, pi, prod, sqrt
from typing import Any

from hypothesis import strategies as st

from numerics import normalization, sparsity

from ..published import Law, Variant, near

#: Expected range, and expected largest magnitude, of n normal numbers, to the digits of tables.
RANGES = {16: 3.5320, 64: 4.6875, 256: 5.6537, 1024: 6.4965, 65536: 8.5823}
MAXIMA = {16: 2.0772, 64: 2.5961, 256: 3.0442, 1024: 3.4419, 4096: 3.8023}


def _gives_sigma(table: dict[int, float]) -> Callable[[Any, int], None]:
    def check(fn: Any, n: int) -> None:
        near(fn(n) * table[n], 1.0, 2e-5)

    return check


def _counted(fn: Any, case: tuple[int, int]) -> None:
    """All m x m masks with n in each row and column, one by one."""
    n, m = case
    rows = [sum(1 << i for i in chosen) for chosen in combinations(range(m), n)]
    every = product(rows, repeat=m)
    assert fn(n, m) == sum(all(sum(r >> i & 1 for r in mask) == n for i in range(m)) for mask in every), case


def _published_count(n: int, m: int) -> int:
    return prod(factorial(m - i) for i in range(n))


RANGE = Law(
    "range of normal numbers", _gives_sigma(RANGES), st.sampled_from(list(RANGES)), normalization.range_constant
)
LARGEST = Law(
    "largest of normal numbers", _gives_sigma(MAXIMA), st.sampled_from(list(MAXIMA)), normalization.linf_constant
)
COUNT = Law(
    "count of transposable masks",
    _counted,
    st.sampled_from([(1, 1), (1, 2), (1, 3), (2, 3), (2, 4), (1, 4)]),
    sparsity.transposable_mask_count,
    ((2, 4),),
)
LAWS = (RANGE, LARGEST, COUNT)
VARIANTS = (
    Variant(
        "range_constant_of_the_paper",
        "arXiv 1805.11046: 1/sqrt(2 ln n), 1.50 to 1.82 times too large",
        RANGE,
        lambda n: 1 / sqrt(2 * log(n)),
    ),
    Variant(
        "range_constant_of_the_poster",
        "poster of arXiv 1805.11046: 1/(2 sqrt(2 ln n)), 0.75 to 0.91 of what it should be",
        RANGE,
        lambda n: 1 / (2 * sqrt(2 * log(n))),
    ),
    Variant(
        "range_constant_of_the_code",
        "quantized.pytorch: 0.35 0.5 (1 + sqrt(pi ln 4))/sqrt(2 ln n), 0.81 to 0.98 of what it should be",
        RANGE,
        lambda n: 0.35 * 0.5 * (1 + sqrt(pi * log(4))) / sqrt(2 * log(n)),
    ),
    Variant(
        "constant_of_the_largest",
        "arXiv 1803.01814: 0.5 (1 + sqrt(pi ln 4))/sqrt(2 ln n), about 1.4 times too large",
        LARGEST,
        lambda n: 0.5 * (1 + sqrt(pi * log(4))) / sqrt(2 * log(n)),
    ),
    Variant(
        "count_as_printed",
        "mask diversity of arXiv 2102.08124, by secondary sources: M! (M-1)! ... (M-N+1)!, 144 where there are 90",
        COUNT,
        _published_count,
    ),
)
