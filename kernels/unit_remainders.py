"""What the alignment of a matrix unit cuts off, kept: the exact sum of a block beside the unit's own.

A block is summed in a unit u = 2**exponent. Of each term the part above u and `places` bits below it are summed as
integers; what lies still lower, which is rare, as an expansion of floats.
"""

import numpy as np

from ._jit import core
from .expansions import grow, grow_integer, power_of_two
from .unit_tallies import expansion_flags, flags

I64 = np.int64


@core
def places_for(depth):
    """How many places below u leave room for the sum of depth + 1 terms in an int64."""
    places = I64(60)
    while depth > 0:
        depth >>= 1
        places -= 1
    return max(places, 0)


@core
def divided(value, shift, places):
    """(whole, fine, rest): value * 2**shift = whole + fine * 2**-places + rest * 2**shift; |value| < 2**62."""
    if shift >= 0:
        return value << shift, I64(0), I64(0)
    down = -shift
    if down > 62:
        return I64(0), I64(0), value
    whole = value >> down
    rest = value - (whole << down)
    if down <= places:
        return whole, rest << (places - down), I64(0)
    fine = rest >> (down - places)
    return whole, fine, rest - (fine << (down - places))


@core
def vanished(whole, fine, rest):
    """Whether a number, as `divided` gives it, is not zero and less than one u."""
    return (whole == 0 or whole == -1) and (fine | rest) != 0


@core
def vanishes(value, shift):
    """Whether the integer value is not zero and value * 2**shift is less than one."""
    return value != 0 and shift < 0 and abs(value) >> min(-shift, 63) == 0


@core
def below(whole, fine, places, power):
    """Whether |whole + fine * 2**-places| < 2**power; 0 <= fine < 2**places."""
    if whole < 0:  # the magnitude, in the same form
        whole = -whole - (1 if fine != 0 else 0)
        fine = (I64(1) << places) - fine if fine != 0 else I64(0)
    if power >= 0:
        return power >= 63 or whole < I64(1) << power
    return whole == 0 and places + power >= 0 and fine < I64(1) << (places + power)


@core
def block_flags(parts, count, wholes, fines, places, exponent, c, pieces, value, beyond, infinite, emin, lost):
    """Of a block's sum of c and its products; these are wholes, fines and the expansion parts, which is used up.

    pieces: c as `divided` gives it. infinite: what overflows becomes infinite.
    """
    whole, fine, rest = pieces
    if count != 0 or rest != 0 or (beyond and not infinite):
        count = grow_integer(parts, count, wholes, exponent)
        count = grow_integer(parts, count, fines, exponent - places)
        count = grow(parts, count, c)
        return expansion_flags(parts, count, c, value, beyond, power_of_two(emin), lost)
    mask = (I64(1) << places) - 1
    wholes += fines >> places
    fines &= mask
    fine += fines
    whole += wholes + (fine >> places)
    fine &= mask
    # The result is an integer in u: it was rounded from one, by no finer step.
    result = I64(0) if beyond else I64(value * power_of_two(-exponent))
    inexact = beyond or fine != 0 or result != whole
    acts = c != 0.0 and (wholes | fines) != 0
    swamped = acts and not beyond and (value == c or (fines == 0 and result == wholes))
    under = inexact and (whole | fine) != 0 and below(whole, fine, places, emin - exponent)
    return flags(beyond, under, inexact, swamped, lost)
