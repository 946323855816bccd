"""N:M masks: of each m consecutive elements n are kept, the largest, or drawn so that nothing is biased.

For weights and activations `top_n` has the least squared error; it is biased, and gradients need `mvue`, unbiased and of
the least variance that n of m allow. Source: Chmiel, Hubara, Banner, Soudry, arXiv 2203.10991; its own statement of the
2:4 algorithms was not seen, and the formulas are proved in tests/numerics/test_sparsity.py instead. What it leaves open is
an argument here: which probabilities (`method`), and the random bits. Transposable masks: Hubara and others, arXiv
2102.08124.

Blocks lie along `axis`, which must be the one that the product sums over; a gradient that enters two products needs two
draws. A short last block counts as filled with zeros. Zeros, blocks of zeros and empty arrays are legal, and nothing is
added to any magnitude.
"""

from .masks import inclusion_probabilities, mvue, top_n, variance
from .transposable import transposable_mask, transposable_mask_count

__all__ = [
    "inclusion_probabilities",
    "mvue",
    "top_n",
    "transposable_mask",
    "transposable_mask_count",
    "variance",
]
