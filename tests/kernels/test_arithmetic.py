"""Raw quotients and roots, bit for bit, against Python's integers."""

import math

import numpy as np

from numerics.kernels.arithmetic import FINITE, raw_quotient, raw_root

RNG = np.random.default_rng(0)
SIGNIFICANDS = [(1 << 52) | int(m) for m in RNG.integers(1 << 52, size=500)]
SIGNIFICANDS += [(1 << 52) | int(m) for m in RNG.integers(1 << 6, size=50)]
SIGNIFICANDS += [1 << 52, (1 << 52) + 1, (1 << 53) - 1, 3 << 51]
# Found by a search: 100 bits of the root are followed by twenty ones, so that the last quotient digits are one too
# large and must be corrected.
OVERSHOOTING = [0x14EE81C4F2E174, 0x16193D4DE4A610, 0x1724B7B6C9F276, 0x1D97B98439503F]
# x / y is an 86-bit number and less than 2**-52 of its last bit more, or less.
BESIDE_SHORT = [(0x1082586C47F588, 0x1216368B529B4B), (0x1F8EB693142B8A, 0x194B2BA02F34A7)]


def raw(significand, exponent=0):
    return FINITE, np.uint64(0), np.int64(exponent), np.uint64(significand << 11)


def test_roots():
    for exponent in (0, 1, -1, -1074):
        for significand in SIGNIFICANDS + OVERSHOOTING:
            kind, _, half, high, low = raw_root(*raw(significand, exponent))
            radicand = significand << (146 + exponent % 2)  # the root has 100 bits
            root = math.isqrt(radicand)
            assert root.bit_length() == 100
            assert int(high) << 64 | int(low) == root << 28 | (root * root != radicand)
            assert (kind, half) == (FINITE, exponent // 2)


def test_quotients():
    rows = [*zip(SIGNIFICANDS, SIGNIFICANDS[::-1], strict=True), *zip(SIGNIFICANDS, SIGNIFICANDS, strict=True)]
    for x, y in rows + BESIDE_SHORT:
        kind, _, exponent, high, low = raw_quotient(*raw(x, 5), *raw(y, -7))
        shift = 127 if x >= y else 128
        quotient, rest = divmod(x << shift, y)
        assert int(high) << 64 | int(low) == quotient | (rest != 0)
        assert (kind, exponent) == (FINITE, 12 + 127 - shift)
