"""Rules of single papers about accumulators and gradients."""

import math

from .roundoff import real


def lba_accumulator_bias(product_bias: float, chunk: int) -> float:
    """Exponent bias of the accumulator for that of the products: product_bias - log2(chunk)/2.

    A sum of `chunk` products of random signs is about sqrt(chunk) times as large as one, so its exponents begin
    log2(chunk)/2 higher. It does not exclude overflow, which aligned signs bring: `never_overflows`. With chunk 16: 12
    gives 10. Errors: TypeError for no numbers; ValueError for chunk < 1 and a bias that is not finite. Source:
    Blumenfeld, Hubara and Soudry (LBA), arXiv 2401.14110.
    """
    if not 1 <= real("chunk", chunk) < math.inf:
        raise ValueError(f"chunk = {chunk!r}: give a number of products of at least 1")
    if not math.isfinite(real("product_bias", product_bias)):
        raise ValueError(f"product_bias = {product_bias!r}: give a finite number")
    return product_bias - math.log2(chunk) / 2


def gradient_noise_threshold(gradient_norm: float, dimension: int) -> float:
    """gradient_norm / sqrt(3 dimension): the quantization noise of an entry past which low precision stops helping.

    A standard deviation, in the unit of the gradient: where the gradient's root mean square is sqrt(3) times as large,
    the expected progress of the best step falls fastest as noise grows (curvature alike in all directions).
    gradient_norm: Euclidean, of `dimension` entries. Errors: TypeError for no numbers; ValueError for a
    dimension < 1 or a negative or infinite norm. Source: Chmiel, Fishman, Banner and Soudry, FP4 All the Way, arXiv 2505.19115.
    """
    if not 1 <= real("dimension", dimension) < math.inf:
        raise ValueError(f"dimension = {dimension!r}: give the number of entries, at least 1")
    if not 0 <= real("gradient_norm", gradient_norm) < math.inf:
        raise ValueError(f"gradient_norm = {gradient_norm!r}: give a finite number of at least 0")
    return gradient_norm / math.sqrt(3 * dimension)
