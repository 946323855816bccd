"""Every constant that the papers print or that follows from them in closed form, in one table: paper, figure, what gives it.

A figure is held to half a unit of its last digit, or exactly where it is no rounded one. The table is complete: each kind
of constant named in `KINDS` has a row, and each coefficient of SAWB.
"""

import math
from collections.abc import Callable, Iterator
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest

from numerics import Quantizer, catalog, clipping, luq, normalization, scaling, sparsity, theory
from numerics.reference import masks

BANNER_2019 = "Banner, Nahshan, Soudry: Post training 4-bit quantization, arXiv 1810.05723"
NORM_MATTERS = "Hoffer, Banner, Golan, Soudry: Norm matters, arXiv 1803.01814"
EIGHT_BIT = "Banner, Hubara, Hoffer, Soudry: Scalable methods for 8-bit training, arXiv 1805.11046"
LUQ = "Chmiel et al.: Accurate neural training with 4-bit matrix multiplications (LUQ), arXiv 2112.10769"
MVUE = "Chmiel, Hubara, Banner, Soudry: Minimum variance unbiased N:M sparsity, arXiv 2203.10991"
FP8 = "Fishman, Chmiel, Banner, Soudry: Scaling FP8 training, arXiv 2409.12517"
FP4 = "Chmiel, Fishman, Banner, Soudry: FP4 All the Way, arXiv 2505.19115"
LBA = "Blumenfeld, Hubara, Soudry: Lower bit-width accumulators, arXiv 2401.14110"
SAWB = "Choi et al.: Accurate and efficient 2-bit quantized neural networks (SAWB), MLSys 2019; fms-model-optimizer"


class Row(NamedTuple):
    """One constant: its kind, whose it is, what it is of, the figure as printed, and the public function that gives it."""

    kind: str
    paper: str
    what: str
    printed: str
    found: Callable[[], object]

    @property
    def tolerance(self) -> Fraction:
        """Half a unit of the last digit after a point; integers and dyadic figures are exact."""
        exact = self.kind in ("grids", "ranges", "SAWB")
        return Fraction(0) if exact else Fraction(10) ** _last_digit(self.printed) / 2


def _last_digit(printed: str) -> int:
    exponent = Decimal(printed).as_tuple().exponent
    assert isinstance(exponent, int)
    return exponent


def _lambert() -> Iterator[Row]:
    """W0(3 * 4**M), the clip of Laplace's distribution at M bits and of its half range at M - 1."""
    table = [
        "1.04991",
        "1.86282",
        "2.83068",
        "3.89723",
        "5.02864",
        "6.20477",
        "7.41313",
        "8.64562",
        "9.89676",
        "11.16269",
    ]
    for bits, printed in enumerate(table):
        what = f"W0(3 * 4**{bits})"
        yield Row("W0(3 4^M)", BANNER_2019, what, printed, lambda bits=bits: clipping.lambert_w0(3 * 4.0**bits))
        if bits <= 8:
            yield Row("W0(3 4^M)", BANNER_2019, f"clip at {bits} bits", printed, lambda m=bits: clipping.aciq_alpha(m))
        if bits >= 1:
            yield Row(
                "W0(3 4^M)",
                BANNER_2019,
                f"clip of the half range at {bits - 1} bits",
                printed,
                lambda m=bits - 1: clipping.aciq_alpha(m, half_range=True),
            )


def _sawb() -> Iterator[Row]:
    """(c1, c2), each coefficient by the clip itself: of magnitudes with sqrt(mean x**2) = r and mean |x| = 1."""
    pairs = {
        2: ("3.12", "2.064"),
        3: ("7.509", "6.892"),
        4: ("12.68", "12.80"),
        5: ("17.74", "18.64"),
        8: ("31.76", "35.04"),
        "103": ("2.6", "1.71"),
        "403": ("12.035", "12.03"),
        "703": ("28.24", "30.81"),
        "803": ("31.76", "35.04"),
    }
    assert set(pairs) == set(clipping.SAWB)
    for bits, printed in pairs.items():
        for place in (0, 1):
            what = f"c{place + 1} of {bits}"
            yield Row("SAWB", SAWB, what, printed[place], lambda b=bits, p=place: Decimal(str(clipping.SAWB[b][p])))


def _expected_root(n: int) -> float:
    """sqrt(ln n / 6), as the bound on the angle has it: 1 / bound - 1 at no bits."""
    return 1 / normalization.cosine_bound(0, n) - 1


def _midpoint_share() -> float:
    """By how much log2 of the midpoint of 1 and 2 is beyond a half, found by bisection through `rdnp`."""
    below, above = 1.0, 2.0
    while math.nextafter(below, above) < above:
        middle = (below + above) / 2
        below, above = (below, middle) if luq.rdnp(np.array([middle]))[0] == 2 else (middle, above)
    return 0.5 - math.log2(above)


def _normal_pairs() -> tuple[float, float]:
    """(variance of 1:2 draws, what the larger of two loses) over the energy, on normal pairs by a rule exact in the radius.

    In polar coordinates both shares depend on the angle alone, and |sin 2a| and min(cos**2, sin**2) are smooth in
    [0, pi/4]: Gauss's rule of 24 points is exact to rounding.
    """
    nodes, weights = np.polynomial.legendre.leggauss(24)
    angle = (nodes + 1) * (math.pi / 8)
    pairs = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    drawn = sparsity.variance(pairs, 1, 2)[:, 0]
    lost = 1 - (sparsity.top_n(pairs, 1, 2) ** 2).sum(axis=1)
    return float(weights @ drawn) / 2, float(weights @ lost) / 2


def _range(mantissa: int, exponent: int, bias: int) -> float:
    return catalog.lba(mantissa, exponent, bias, paper=True).max


ROWS: tuple[Row, ...] = (
    *_lambert(),
    Row("sqrt(pi/2)", NORM_MATTERS, "of L1 norms", "1.2533141", lambda: normalization.L1_CONSTANT),
    Row("sqrt(pi/2)", NORM_MATTERS, "1 / E|x|", "1.2533141", lambda: 1 / normalization.expected_max_magnitude(1)),
    Row("1.5434525", NORM_MATTERS, "of the largest magnitude", "1.5434525", lambda: normalization.LINF_SCALE),
    Row(
        "1.5434525",
        NORM_MATTERS,
        "times 1/sqrt(2 ln n), n = 4096",
        "1.5434525",
        lambda: normalization.linf_constant(4096, "paper") * math.sqrt(2 * math.log(4096)),
    ),
    Row("0.540208", EIGHT_BIT, "of a range, in the code", "0.540208", lambda: clipping.RANGE_SCALE),
    Row(
        "0.540208",
        EIGHT_BIT,
        "times 1/sqrt(2 ln n), n = 512",
        "0.540208",
        lambda: normalization.range_constant(512, "code") * math.sqrt(2 * math.log(512)),
    ),
    Row("log2(4/3) - 1/2", LUQ, "shift of the logarithm", "-0.0849625", lambda: luq.RDNP_SHIFT),
    Row("log2(4/3) - 1/2", LUQ, "where powers part", "-0.0849625", _midpoint_share),
    Row("2/pi", MVUE, "variance of 1:2 over the energy", "0.636619772", lambda: _normal_pairs()[0]),
    Row("(1 - 2/pi)/2", MVUE, "lost by the larger of two", "0.181690114", lambda: _normal_pairs()[1]),
    Row("sqrt(ln N / 6)", EIGHT_BIT, "n = 100000", "1.385215", lambda: _expected_root(100_000)),
    Row("sqrt(ln N / 6)", EIGHT_BIT, "n = 2", "0.339889", lambda: _expected_root(2)),
    Row("sqrt(ln N / 6)", EIGHT_BIT, "2 bits: the bound", "0.7428", lambda: normalization.cosine_bound(2, 100_000)),
    Row("sqrt(ln N / 6)", EIGHT_BIT, "4 bits: the bound", "0.9203", lambda: normalization.cosine_bound(4, 100_000)),
    Row("sqrt(ln N / 6)", EIGHT_BIT, "8 bits: the bound", "0.9946", lambda: normalization.cosine_bound(8, 100_000)),
    Row("sqrt 3", FP4, "gradient over noise at the switch", "1.7320508", lambda: scaling.SWITCH_RATIO),
    Row("sqrt 3", FP4, "||g|| / sqrt(3 d), d = 100", "0.0577350", lambda: theory.gradient_noise_threshold(1.0, 100)),
    *_sawb(),
    Row("grids", FP8, "E4M3 of Gaudi 2", "240", lambda: scaling.GAUDI2_E4M3.max),
    Row("grids", FP8, "E4M3", "448", lambda: catalog.E4M3.max),
    Row("grids", FP8, "E5M2", "57344", lambda: catalog.E5M2.max),
    Row("grids", FP4, "E2M1", "6", lambda: catalog.E2M1.max),
    Row("grids", FP4, "a block's largest magnitude in NVFP4", "6", lambda: _largest(catalog.NVFP4)),
    Row("ranges", LBA, "M7E4, bias 10", "63.75", lambda: _range(7, 4, 10)),
    Row("ranges", LBA, "M7E4, bias 12", "15.9375", lambda: _range(7, 4, 12)),
)
#: The list that the table must cover.
KINDS = (
    *("W0(3 4^M)", "sqrt(pi/2)", "1.5434525", "0.540208", "log2(4/3) - 1/2", "2/pi", "(1 - 2/pi)/2"),
    *("sqrt(ln N / 6)", "sqrt 3", "SAWB", "grids", "ranges"),
)
CLOSED_FORMS = {
    "sqrt(pi/2)": math.sqrt(math.pi / 2),
    "1.5434525": (1 + math.sqrt(math.pi * math.log(4))) / 2,
    "0.540208": 0.35 * (1 + math.sqrt(math.pi * math.log(4))) / 2,
    "log2(4/3) - 1/2": math.log2(4 / 3) - 0.5,
    "2/pi": 2 / math.pi,
    "(1 - 2/pi)/2": (1 - 2 / math.pi) / 2,
}


def _largest(fmt: object) -> float:
    """Of a block whose largest magnitude is that of the format's elements times 3, over its scale."""
    codes = Quantizer(fmt).encode(np.array([18.0] + [1.0] * 15, np.float32))
    return float(catalog.E2M1.decode(codes.elements).max())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.kind}: {row.what}")
def test_as_printed(row):
    assert abs(Fraction(row.found()) - Fraction(row.printed)) <= row.tolerance, (row.paper, row.found())


@pytest.mark.parametrize("row", [row for row in ROWS if row.kind in CLOSED_FORMS], ids=lambda row: row.what)
def test_as_the_closed_form(row):
    """To a few units of the last place of float64, not to the digits printed."""
    assert row.found() == pytest.approx(CLOSED_FORMS[row.kind], rel=4e-15)


def test_none_is_missing():
    assert {row.kind for row in ROWS} == set(KINDS)
    assert len({(row.kind, row.what) for row in ROWS}) == len(ROWS)


def test_a_wrong_digit_is_seen():
    for row in ROWS:
        nearby = Fraction(row.printed) + Fraction(10) ** _last_digit(row.printed)
        assert abs(Fraction(row.found()) - nearby) > row.tolerance


def test_lambert_by_definition():
    """w e**w = x at 40 digits: the change of w that closes the gap is below 2 ulp."""
    with localcontext() as context:
        context.prec = 40
        for bits in range(10):
            w = Decimal(clipping.lambert_w0(3 * 4.0**bits))
            gap = 3 * Decimal(4) ** bits - w * w.exp()
            assert abs(gap / (w.exp() * (1 + w))) <= 2 * Decimal(math.ulp(float(w)))


@pytest.mark.parametrize("bits", clipping.SAWB)
def test_coefficients_of_sawb_are_those_of_its_clip(bits):
    """x = 0 but for one of n: sqrt(mean x**2) = 1/sqrt(n), mean |x| = 1/n; two such arrays give both coefficients."""
    c1, c2 = clipping.SAWB[bits]
    for n in (16, 64):
        x = np.zeros(n)
        x[3] = -1.0
        wanted = Fraction(str(c1)) / math.isqrt(n) - Fraction(str(c2)) / n
        assert clipping.sawb(x, bits) == pytest.approx(float(wanted), rel=1e-14)


def test_variance_of_pairs_is_that_of_all_masks():
    """The share above is of a function; here that function is the enumeration of both masks of a pair, in rationals."""
    for block in ((3.0, 1.0), (1.0, 1.0), (5.0, 0.25)):
        p = masks.inclusion_probabilities(block, 1)
        wanted = sum(Fraction(x) ** 2 * (1 / share - 1) for x, share in zip(block, p, strict=True))
        assert sparsity.variance(np.array(block), 1, 2)[0] == float(wanted) == 2 * block[0] * block[1]
