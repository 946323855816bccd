"""Post training 4-bit quantization: the table of clips, the law of bins, what bias correction restores."""

from itertools import product
from math import sqrt

import numpy as np

from ..clipping import (
    aciq_alpha,
    aciq_mse,
    affine,
    bias_correction,
    bin_allocation,
    bit_allocation,
    optimal_alpha,
    quantizer_mse,
)
from .claim import Claim, Paper

# bits: Laplace, Gauss, half-range Laplace; to five places
_CLIPS = {
    1: (1.86282, 1.23991, 2.83068),
    2: (2.83068, 1.71064, 3.89723),
    3: (3.89723, 2.15159, 5.02864),
    4: (5.02864, 2.55914, 6.20477),
    5: (6.20477, 2.93620, 7.41313),
    6: (7.41313, 3.28691, 8.64562),
    7: (8.64562, 3.61511, 9.89676),
    8: (9.89676, 3.92404, 11.16269),
}
_KINDS = (("Laplace", "laplace", False), ("Gauss", "gauss", False), ("half-range Laplace", "laplace", True))


def _clip(bits: int, column: int) -> Claim:
    name, distribution, half_range = _KINDS[column]
    return Claim(
        f"{name}, {bits} bits: the clip",
        _CLIPS[bits][column],
        lambda: aciq_alpha(bits, distribution, half_range=half_range),
        "eq. 6" if column != 1 else "the Gaussian case",
        1e-5,
        "W0(12 * 4**bits), one bit more"
        if half_range
        else "the root by Newton's method"
        if column == 1
        else "W0(3 * 4**bits)",
    )


def _least(bits: int, distribution: str, error: float) -> Claim:
    return Claim(
        f"{distribution}, {bits} bits: the model's least error",
        error,
        lambda: aciq_mse(aciq_alpha(bits, distribution), bits, distribution),
        "eq. 5",
        5e-6 * error,
    )


def _law_holds() -> bool:
    """No whole bins for three channels are better than the law, and the best ones are within one bin of it."""
    alphas, total = (1.0, 2.0, 5.0), 40

    def error(bins: tuple[float, ...]) -> float:
        return sum((alpha / count) ** 2 for alpha, count in zip(alphas, bins, strict=True))

    law = tuple(bin_allocation(np.array(alphas), total).tolist())
    whole = ((a, b, total - a - b) for a, b in product(range(1, total), repeat=2) if a + b < total)
    best = min(whole, key=error)
    return error(law) <= error(best) and max(abs(a - b) for a, b in zip(law, best, strict=True)) < 1


def _mean_of_bits() -> float:
    """The mean over channels whose clips are spread over six octaves, after the iteration."""
    return float(bit_allocation(2.0 ** (np.arange(600) / 100), 4, rounding="ceil").mean())


def _weights() -> tuple[np.ndarray, np.ndarray]:
    weights = np.sin(np.arange(1.0, 61.0)).reshape(3, 20) + np.array([[0.3], [0.0], [-2.0]])
    return weights, np.round(weights * 2) / 2


def _restored(form: str) -> float:
    """The largest difference of a channel's mean or standard deviation from that before quantizing."""
    weights, quantized = _weights()
    found = bias_correction(weights, quantized, form=form)
    means = abs(found.mean(axis=1) - weights.mean(axis=1))
    return float(max(means.max(), abs(found.std(axis=1) - weights.std(axis=1)).max()))


def _penalty() -> float:
    return 100 * (quantizer_mse(aciq_alpha(4), 4) / quantizer_mse(optimal_alpha(4), 4) - 1)


def _zero_is_exact() -> bool:
    x = np.array([-0.7, 0.0, 0.123, 2.9])
    return all(affine(x, bits)[0][1] == affine(x, bits)[2] for bits in range(1, 17))


PAPER = Paper(
    "Banner, Nahshan, Soudry: Post training 4-bit quantization of convolutional networks, 2019, arXiv 1810.05723",
    (
        *(_clip(bits, column) for column in range(3) for bits in _CLIPS),
        _least(4, "laplace", 0.0460215),
        _least(8, "laplace", 0.000598853),
        _least(4, "gauss", 0.0104933),
        _least(8, "gauss", 0.0000870779),
        Claim(
            "the repository's text: Laplace, 3 bits: the clip is not 3.86",
            3.897,
            lambda: aciq_alpha(3),
            "README",
            5e-4,
            "a slip: eq. 6 gives 3.897",
        ),
        Claim("bins in proportion to clips to the power 2/3 have the least error", True, _law_holds, "eq. 10"),
        Claim("the mean of the bits meets 4 within 0.01", 4.0, _mean_of_bits, "the code", 0.01),
        Claim("bias correction restores mean and spread", 0.0, lambda: _restored("code"), "the code", 1e-14),
        Claim(
            "bias correction as printed does not",
            True,
            lambda: _restored("paper") > 1e-3,
            "eq. 12, 13",
            note="it scales the mean too; the code puts it back",
        ),
        Claim("per cent more error than the exact optimum, Laplace, 4 bits", 0.6, _penalty, "", 0.05, "derived"),
        Claim(
            "the exact optimum, Gauss, 2 bits: step 0.9957 of sigma",
            0.9957,
            lambda: optimal_alpha(2, "gauss") / 2,
            "",
            5e-5,
            "Max 1960",
        ),
        Claim(
            "the exact optimum, Gauss, 1 bit: sqrt(8/pi) sigma",
            sqrt(8 / np.pi),
            lambda: optimal_alpha(1, "gauss"),
            "",
            1e-12,
        ),
        Claim("real 0 is a code of the affine quantizer", True, _zero_is_exact, "GEMMLOWP"),
    ),
)
