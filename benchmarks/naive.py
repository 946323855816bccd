"""The jobs of `bench_matmul` as one writes them first, one scalar step after the other, compiled; bits are the kernels'.

A sum is split by frexp, scaled to an integer and a fraction, rounded, scaled back, and clamped. Where float64 does not
hold the sum, its error comes from TwoSum.
"""

import math

import numba
import numpy as np

from benchmarks.naive_units import unit_job
from numerics import FixedFormat, MatrixUnit, Subnormals

U64 = np.uint64


@numba.njit
def split(x, y, mantissa_bits, emin):
    """(sign, integer, its scale, fraction, what is left below) of the exact x + y in steps of the format's grid."""
    s = x + y
    t = s - x
    error = (x - (s - t)) + (y - t)
    sign = -1.0 if s < 0.0 else 1.0
    s, error = abs(s), error * sign
    mantissa, exponent = math.frexp(s)
    if mantissa == 0.5 and error < 0.0:
        exponent -= 1
    scale = max(exponent - 1 - mantissa_bits, emin - mantissa_bits)
    whole = math.floor(math.ldexp(s, -scale))
    fraction = math.ldexp(s, -scale) - whole
    if fraction == 0.0 and error < 0.0:
        whole, fraction = whole - 1.0, 1.0
    return sign, whole, scale, fraction, error


@numba.njit
def nearest(x, y, mantissa_bits, emin, largest):
    """x + y, to nearest even."""
    sign, whole, scale, fraction, error = split(x, y, mantissa_bits, emin)
    if fraction > 0.5 or (fraction == 0.5 and (error > 0.0 or (error == 0.0 and whole % 2.0 == 1.0))):
        whole += 1.0
    return sign * min(math.ldexp(whole, scale), largest)


@numba.njit
def toward_zero(x, y, mantissa_bits, emin, smallest, largest):
    """x + y, toward zero; less than `smallest` is zero."""
    sign, whole, scale, _, _ = split(x, y, mantissa_bits, emin)
    value = min(math.ldexp(whole, scale), largest)
    return sign * value if value >= smallest else 0.0


@numba.njit
def stochastic(x, y, mantissa_bits, emin, largest, word, bits):
    """x + y, up where the fraction's first bits and the word carry."""
    sign, whole, scale, fraction, error = split(x, y, mantissa_bits, emin)
    first = math.floor(math.ldexp(fraction, bits))
    if first == math.ldexp(fraction, bits) and error < 0.0:
        first -= 1.0
    if first + word >= 2.0**bits:
        whole += 1.0
    return sign * min(math.ldexp(whole, scale), largest)


@numba.njit
def word_of(element, seed, bits):
    """The word of an element: Philox4x32-10, stream 0, one block computed for each."""
    size = U64(1 if bits <= 8 else 2 if bits <= 16 else 4)
    units = U64(U64(16) // size)
    block, low, half = U64(element // units), U64(0xFFFFFFFF), U64(32)
    c0, c1, c2, c3 = U64(block & low), U64(block >> half), U64(0), U64(0)
    k0, k1 = U64(seed & low), U64(seed >> half)
    for _ in range(10):
        p0, p1 = U64(c0 * U64(0xD2511F53)), U64(c2 * U64(0xCD9E8D57))
        c0, c1, c2, c3 = U64(p1 >> half) ^ c1 ^ k0, U64(p1 & low), U64(p0 >> half) ^ c3 ^ k1, U64(p0 & low)
        k0, k1 = U64(k0 + U64(0x9E3779B9)) & low, U64(k1 + U64(0xBB67AE85)) & low
    at = U64(U64(element % units) * size)
    index = U64(at // U64(4))
    word = c0 if index == U64(0) else c1 if index == U64(1) else c2 if index == U64(2) else c3
    unit = U64(U64(word >> U64(U64(8) * U64(at % U64(4)))) & U64(U64(low) >> U64(U64(32) - U64(8) * size)))
    return float(U64(unit >> U64(U64(8) * size - U64(bits))))


@numba.njit
def chain(a, b, out, mantissa_bits, emin, largest):
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            total = 0.0
            for k in range(a.shape[1]):
                total = nearest(total, float(a[i, k]) * float(b[k, j]), mantissa_bits, emin, largest)
            out[i, j] = total


@numba.njit
def random_chain(a, b, out, mantissa_bits, emin, largest, seed, bits, columns):
    depth = a.shape[1]
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            total = 0.0
            for k in range(depth):
                word = word_of(U64((i * columns + j) * depth + k), U64(seed), bits)
                product = float(a[i, k]) * float(b[k, j])
                total = stochastic(total, product, mantissa_bits, emin, largest, word, bits)
            out[i, j] = total


@numba.njit
def chain_toward_zero(a, b, out, grid, product_grid, chunk):
    """Sums, of products in their own format where there is one, in chunks whose sums are added in the same way."""
    depth = a.shape[1]
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            total = 0.0
            for first in range(0, depth, chunk):
                part = 0.0
                for k in range(first, min(first + chunk, depth)):
                    product = float(a[i, k]) * float(b[k, j])
                    if product_grid is not None:
                        product = toward_zero(product, 0.0, *product_grid)
                    part = toward_zero(part, product, *grid)
                total = toward_zero(total, part, *grid) if chunk < depth else part
            out[i, j] = total


@numba.njit
def saturating(a, b, out, lowest, largest, scale):
    """Integers, clamped at each step."""
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            total = 0
            for k in range(a.shape[1]):
                total = min(max(total + int(a[i, k] * b[k, j] * scale), lowest), largest)
            out[i, j] = total / scale


@numba.njit
def wrapping(a, b, out, lowest, largest, scale):
    """Integers, taken back into the range at each step."""
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            total = 0
            for k in range(a.shape[1]):
                total = (total + int(a[i, k] * b[k, j] * scale) - lowest) % (largest - lowest + 1) + lowest
            out[i, j] = total / scale


@numba.njit
def tree(a, b, out, mantissa_bits, emin, largest):
    leaves = np.empty(a.shape[1])
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            for k in range(a.shape[1]):
                leaves[k] = float(a[i, k]) * float(b[k, j])
            count = a.shape[1]
            while count > 1:
                for pair in range(count // 2):
                    leaves[pair] = nearest(leaves[2 * pair], leaves[2 * pair + 1], mantissa_bits, emin, largest)
                if count % 2:
                    leaves[count // 2] = leaves[count - 1]
                count = (count + 1) // 2
            out[i, j] = nearest(leaves[0], 0.0, mantissa_bits, emin, largest)


@numba.njit
def kahan(a, b, out, mantissa_bits, emin, largest):
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            total = rest = 0.0
            for k in range(a.shape[1]):
                y = nearest(float(a[i, k]) * float(b[k, j]), -rest, mantissa_bits, emin, largest)
                t = nearest(total, y, mantissa_bits, emin, largest)
                rest = nearest(nearest(t, -total, mantissa_bits, emin, largest), -y, mantissa_bits, emin, largest)
                total = t
            out[i, j] = total


def same_job(accumulator, columns, seed=None, scale_a=None, scale_b=None):
    """The scalar loop (a, b, out) that does what the accumulator does, or None where none is written here."""
    if isinstance(accumulator, MatrixUnit):
        return unit_job(accumulator, scale_a, scale_b)
    fmt, rounding, order = accumulator.format, accumulator.rounding.name, accumulator.order
    if isinstance(fmt, FixedFormat):
        return _fixed_job(accumulator)
    if rounding == "RTZ" and order == "sequential":
        return _toward_zero_job(accumulator)
    grid = fmt.mantissa_bits, fmt.emin, float(fmt.max)
    if accumulator.product is not None or accumulator.chunk is not None:
        return None
    if rounding == "SR" and order == "sequential":
        return lambda a, b, out: random_chain(a, b, out, *grid, seed, accumulator.random_bits, columns)
    loops = {"sequential": chain, "pairwise": tree, "kahan": kahan}
    if rounding != "RNE" or order not in loops:
        return None
    loop = loops[order]
    return lambda a, b, out: loop(a, b, out, *grid)


def _toward_zero_job(accumulator):
    """Of an accumulator toward zero, its products exact or toward zero too."""
    product = accumulator.product
    if accumulator.outer is not None or (product is not None and product.rounding.name != "RTZ"):
        return None
    grid, own = _grid(accumulator.format), None if product is None else _grid(product.fmt)
    return lambda a, b, out: chain_toward_zero(a, b, out, grid, own, accumulator.chunk or a.shape[1])


def _grid(fmt):
    """(mantissa bits, emin, smallest magnitude, largest); a format that flushes is rounded as if it had no emin."""
    gradual = fmt.subnormals is Subnormals.GRADUAL
    return (
        fmt.mantissa_bits,
        fmt.emin if gradual else -900,
        0.0 if gradual else float(fmt.smallest_normal),
        float(fmt.max),
    )


def _fixed_job(accumulator):
    """Of a fixed-point accumulator whose products lie on its grid."""
    loops = {"SATURATE": saturating, "WRAP": wrapping}
    fmt, loop = accumulator.format, loops.get(accumulator.overflow.name)
    if loop is None or accumulator.order != "sequential" or accumulator.product or accumulator.chunk:
        return None
    scale = 2.0**fmt.fraction_bits
    lowest, largest = (int(float(x) * scale) for x in (fmt.min, fmt.max))
    return lambda a, b, out: loop(a, b, out, lowest, largest, scale)
