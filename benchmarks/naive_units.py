"""Matrix units as one writes them first: block by block the largest exponent, the terms cut in its units, one rounding.

Written for numbers in the middle of the range: no infinities, no overflow.
"""

import math

import numba
import numpy as np

NONE = -100000  # exponent of what is no term


@numba.njit
def exponent_of(x, emin):
    return max(math.frexp(x)[1] - 1, emin)


@numba.njit
def rounded(x, mantissa_bits, emin, nearest):
    """x to nearest even or toward zero."""
    if x == 0.0:
        return 0.0
    scale = exponent_of(x, emin) - mantissa_bits
    step = math.ldexp(x, -scale)
    return math.ldexp(np.rint(step) if nearest else np.trunc(step), scale)


@numba.njit
def term(x, y, emins, weight, shift):
    """(value, exponent) of a product under scales."""
    value = x * y * weight
    return value, exponent_of(x, emins[0]) + exponent_of(y, emins[1]) + shift if value != 0.0 else NONE


@numba.njit
def aligned(a, b, out, length, bits, floor, emins, output):
    """c is a term of each block."""
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            c = 0.0
            for first in range(0, a.shape[1], length):
                last = min(first + length, a.shape[1])
                top = max(floor, exponent_of(c, emins[2]) if c != 0.0 else NONE)
                for k in range(first, last):
                    top = max(top, term(float(a[i, k]), float(b[k, j]), emins, 1.0, 0)[1])
                total = np.trunc(math.ldexp(c, bits - top))
                for k in range(first, last):
                    total += np.trunc(math.ldexp(float(a[i, k]) * float(b[k, j]), bits - top))
                c = rounded(math.ldexp(total, top - bits), *output)
            out[i, j] = c


@numba.njit
def late(a, b, out, length, parts, bits, places, reach, floor, emins, output):
    """The parts of a block (even and odd k, if two) are cut and added, then c."""
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            c = 0.0
            for first in range(0, a.shape[1], length):
                last = min(first + length, a.shape[1])
                sums, tops = (0.0, 0.0), (NONE, NONE)
                for part in range(parts):
                    top, total = NONE, 0.0
                    for k in range(first + part, last, parts):
                        top = max(top, term(float(a[i, k]), float(b[k, j]), emins, 1.0, 0)[1])
                    for k in range(first + part, last, parts):
                        total += np.trunc(math.ldexp(float(a[i, k]) * float(b[k, j]), bits - top))
                    sums, tops = (sums[1], total), (tops[1], top)
                both = max(tops[0], tops[1])
                total = np.floor(math.ldexp(sums[0], tops[0] - both)) + np.floor(math.ldexp(sums[1], tops[1] - both))
                ec = exponent_of(c, emins[2]) if c != 0.0 else NONE
                top = max(both, ec, floor)
                total = np.floor(math.ldexp(total, places[0] - bits + both - top))
                if ec >= top - reach:
                    total += math.ldexp(np.floor(math.ldexp(c, places[1] - top)), places[0] - places[1])
                c = rounded(math.ldexp(total, top - places[0]), *output)
            out[i, j] = c


@numba.njit
def scaled(a, b, out, scale_a, scale_b, size, length, group, bits, floor, emins, output):
    """Products under scales of `size` k, or exact sums of groups of them, aligned by the exponents of the scales alone."""
    values, exponents = np.empty(length), np.empty(length, np.int64)
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            c = 0.0
            for first in range(0, a.shape[1], length):
                last = min(first + length, a.shape[1])
                top, count = max(floor, exponent_of(c, emins[2]) if c != 0.0 else NONE), 0
                for k in range(first, last, group):
                    x, y = float(scale_a[i, k // size]), float(scale_b[k // size, j])
                    shift, value, exponent = exponent_of(x, emins[3]) + exponent_of(y, emins[3]), 0.0, NONE
                    for n in range(k, min(k + group, last)):
                        one, found = term(float(a[i, n]), float(b[n, j]), emins, x * y, shift)
                        value += one
                        if found != NONE:
                            exponent = shift if group > 1 else found
                    values[count], exponents[count], top, count = value, exponent, max(top, exponent), count + 1
                total = np.trunc(math.ldexp(c, bits - top))
                for n in range(count):
                    total += np.trunc(math.ldexp(values[n], bits - top))
                c = rounded(math.ldexp(total, top - bits), *output)
            out[i, j] = c


def unit_job(unit, scale_a=None, scale_b=None):
    """The scalar loop (a, b, out) of a unit that cuts toward zero, in one part or with c late in two; else None."""
    emins = *(fmt.emin for fmt in unit.inputs), unit.addend.emin, 0 if unit.scale is None else unit.scale.emin
    output = unit.output.mantissa_bits, unit.output.emin, unit.rounding.name == "RNE"
    floor = NONE if unit.Emin_floor is None else unit.Emin_floor
    if unit.tree != "fused" or unit.ar != "rz" or unit.prodnorm or unit.ftz_out:
        return None
    if unit.c_place == "late" and unit.groups in ("one", "even_odd") and unit.group_ar == "floor":
        parts, reach = 1 if unit.groups == "one" else 2, -NONE if unit.c_reach is None else unit.c_reach
        facts = unit.L, parts, unit.F, (unit.F2, unit.Fc), reach, floor, emins, output
        return lambda a, b, out: late(a, b, out, *facts)
    if unit.c_place != "in_align" or unit.groups != "one":
        return None
    if unit.scale is None:
        return lambda a, b, out: aligned(a, b, out, unit.L, unit.F, floor, emins, output)
    facts = unit.scale_block, unit.L, unit.exact_group, unit.F, floor, emins, output
    return lambda a, b, out: scaled(a, b, out, scale_a, scale_b, *facts)
