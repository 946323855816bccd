"""From carrier bits to the rounder and back: a float32 or float64 magnitude rounded to a narrower float format.

Integers only, so nothing here depends on the floating-point environment. Written once over the lane type; the two
widths differ in how a discarded part longer than a lane is cut into the rounder's words.
"""

import numpy as np
from numba import types
from numba.extending import overload

from ._jit import SCALAR, core
from .modes import (
    CODE_EMIN,
    CODE_INFINITY,
    CODE_MANTISSA,
    CODE_NAN,
    CODE_OFFSET,
    CODE_SIGN,
    DROP,
    EMIN,
    INFINITE,
    LARGEST,
    MAGIC,
    MODE_MASK,
    NATIVE,
    OFFSET,
    OVER_NEGATIVE,
    OVER_POSITIVE,
    PARITY,
    PARITY_EMIN,
    QUANTUM,
    RANDOM_MASK,
    RNA,
    RNE,
    RTN,
    RTZ,
    SAW_NAN,
    SAW_NEGATIVE,
    SAW_OVERFLOW,
    SAW_UNCODED,
    SIGNED_ZERO,
    SMALLEST,
    SR,
    UNCODED,
    UNIFORM,
)
from .primitives import from_bits, leading_zeros, to_bits
from .rounding import round_up32, round_up64

U32, U64 = np.uint32, np.uint64


def _fraction32(m, shift):
    """The low `shift` bits of m < 2^24 as a fraction of 2^shift; shift <= 57, beyond which every rounding agrees."""
    near = U32(m << U32(U32(U32(32) - shift) & U32(31)))
    near = near if shift != U32(0) else U32(0)
    far = U32(m >> U32(shift & U32(31)))
    cut_off = U32(m << U32(U32(U32(64) - shift) & U32(31)))
    short = shift <= U32(32)
    return (near if short else far), (U32(0) if short else cut_off)


def _fraction64(m, shift):
    """The same for m < 2^53, shift <= 100; the lowest bit of the second word also stands for what is cut off."""
    near = U64(m << U64(U64(U64(64) - shift) & U64(63)))
    near = near if shift != U64(0) else U64(0)
    cut_off = U64(m << U64(U64(U64(128) - shift) & U64(63)))
    far = U64(U64(m >> U64(shift & U64(63))) | (U64(1) if cut_off != U64(0) else U64(0)))
    f = near if shift <= U64(64) else far
    return U64(f >> U64(32)), U64(f & U64(0xFFFFFFFF))


fraction32, fraction64 = core(_fraction32), core(_fraction64)


def _make_round_magnitude(U, WIDTH, TRAILING, FAR, fraction_of, round_up):
    HIDDEN, LOW, ONE, ZERO = U(1 << TRAILING), U((1 << TRAILING) - 1), U(1), U(0)
    T, START, COUNT, LANE = U(TRAILING), U(OFFSET), U(WIDTH - 1), U(WIDTH)
    SURPLUS, NEAR_LIMIT, FAR_LIMIT = U(WIDTH - 1 - TRAILING), U(TRAILING + 3), U(FAR)

    def round_magnitude(a, negative, word, mode, normalise, facts):
        """Bits of a finite magnitude (bits `a`, no sign) rounded to the grid of `facts`, exponents unbounded above.

        normalise: whether carrier subnormals must be seen at their own exponent (the grid goes on below the carrier's
        smallest normal). The result may be the carrier's infinity; the caller compares it with the largest value.
        Both outcomes are computed and one is selected: a branch would keep the loop from being vectorised.
        """
        field = U(a >> T)
        normal = field != ZERO
        biased = U(START + (field if normal else ONE))
        m = U(U(a & LOW) | (HIDDEN if normal else ZERO))
        lifted = ZERO
        if normalise:
            lift = U(U(leading_zeros(a) - SURPLUS) & COUNT)
            lifted = ZERO if normal else lift
            m = U(m << lifted)
            biased = U(biased - lifted)
        bottom = max(biased, facts[EMIN])
        distance = U(facts[DROP] + U(bottom - biased))
        # Discarded parts below a quarter ulp are all alike, except to random words.
        shift = min(distance, NEAR_LIMIT if mode < SR else FAR_LIMIT)
        kept = U(m >> U(shift & COUNT))
        kept = kept if shift < LANE else ZERO
        odd = U(U(kept + U(U(bottom - facts[PARITY_EMIN]) & facts[PARITY])) & ONE)
        fraction, rest = fraction_of(m, shift)
        up = round_up(mode, negative, odd, fraction, rest, word, facts[RANDOM_MASK])
        # Back in the carrier's own bits the grid step is 2^cut, or, from one half of the quantum down, the quantum.
        cut = max(distance, lifted) - lifted
        step = U(U(cut) & COUNT)
        down = U(U(a >> step) << step)
        above = U(down + U(ONE << step))
        on_bits = U(cut) <= T
        down = down if on_bits else ZERO
        above = above if on_bits else facts[QUANTUM]
        return above if up != ZERO else down

    return round_magnitude


round_magnitude32 = core(_make_round_magnitude(U32, 32, 23, 57, fraction32, round_up32))
round_magnitude64 = core(_make_round_magnitude(U64, 64, 52, 100, fraction64, round_up64))


def _make_finish(U, EXPONENT, SIGN, QUIET):
    INF, TOP, NAN, ZERO = U(EXPONENT), U(SIGN), U(QUIET), U(0)

    def finish(rounded, a, sign, facts):
        """Result bits from a rounded magnitude, the one before it and the sign bit: both ends of the range."""
        r = rounded if rounded >= facts[SMALLEST] else ZERO
        over = facts[OVER_NEGATIVE] if sign != ZERO else facts[OVER_POSITIVE]
        r = r if r <= facts[LARGEST] else over
        r = r if a != INF else facts[INFINITE]
        kept_sign = TOP if r != ZERO else facts[SIGNED_ZERO]
        signed = U(r | U(sign & kept_sign))
        return signed if (a <= INF) & (r <= INF) else NAN

    return finish


finish32 = core(_make_finish(U32, 0x7F800000, 0x80000000, 0x7FC00000))
finish64 = core(_make_finish(U64, 0x7FF << 52, 1 << 63, 0xFFF << 51))


def _make_code(U, TRAILING, EXPONENT, SIGN, LANE):
    HIDDEN, LOW, ONE, ZERO = U(1 << TRAILING), U((1 << TRAILING) - 1), U(1), U(0)
    T, START, INF, TOP = U(TRAILING), U(OFFSET), U(EXPONENT), U(SIGN)
    SURPLUS, COUNT = U(LANE - 1 - TRAILING), U(LANE - 1)

    def code(bits, facts):
        """Codepoint of a value that is on the grid of `facts` (the bits that `finish` returned)."""
        a = U(bits & U(TOP - ONE))
        field = U(a >> T)
        normal = field != ZERO
        lift = U(U(leading_zeros(a) - SURPLUS) & COUNT)
        lifted = ZERO if normal else lift
        m = U(U(U(a & LOW) | (HIDDEN if normal else ZERO)) << lifted)
        biased = U(U(START + (field if normal else ONE)) - lifted)
        bottom = max(biased, facts[CODE_EMIN])
        shift = U(facts[DROP] + U(bottom - biased))
        kept = U(m >> U(shift & COUNT))
        kept = kept if shift <= COUNT else ZERO
        steps = U(U(bottom - facts[CODE_EMIN]) << facts[CODE_MANTISSA])
        offset = facts[CODE_OFFSET] if a != ZERO else ZERO
        magnitude = U(U(steps + kept) - offset)
        magnitude = magnitude if a != INF else facts[CODE_INFINITY]
        sign = facts[CODE_SIGN] if bits >= TOP else ZERO
        return U(magnitude | sign) if a <= INF else facts[CODE_NAN]

    return code


code32 = core(_make_code(U32, 23, 0x7F800000, 0x80000000, 32))
code64 = core(_make_code(U64, 52, 0x7FF << 52, 1 << 63, 64))


@core
def unpack_row(row):
    """The facts of a parameter row as a tuple of scalars."""
    return (
        row[0],
        row[1],
        row[2],
        row[3],
        row[4],
        row[5],
        row[6],
        row[7],
        row[8],
        row[9],
        row[10],
        row[11],
        row[12],
        row[13],
        row[14],
        row[15],
        row[16],
        row[17],
        row[18],
        row[19],
    )


def unpack(row):
    """What a loop needs to know of a format, read once before it: scalars, which stay in registers.

    The functions below are overloaded on what this returns. A float format has a plain tuple; other families bring
    their own types of row and facts, and their own overloads.
    """
    raise NotImplementedError("compiled code only")


@overload(unpack, jit_options=SCALAR)
def _unpack(row):
    if not isinstance(row, types.Array):
        return None

    def unpacked(row):
        return unpack_row(row)

    return unpacked


def grid_of(facts):
    """The tuple of a parameter row that these facts hold: it has the random bits, in every family."""
    raise NotImplementedError("compiled code only")


@overload(grid_of, jit_options=SCALAR)
def _grid_of(facts):
    if not isinstance(facts, types.UniTuple):
        return None
    return lambda facts: facts


def _make_quantize_bits(U, SIGN, round_magnitude, finish):
    TOP, ONE, ZERO = U(SIGN), U(1), U(0)

    def quantize_bits(bits, word, mode, normalise, facts):
        sign = U(bits & TOP)
        a = U(bits ^ sign)
        if mode == NATIVE:
            rounded = a
        else:
            rounded = round_magnitude(a, ONE if sign != ZERO else ZERO, U(word), mode, normalise, facts)
        return finish(rounded, a, sign, facts)

    return quantize_bits


_quantize_bits32 = _make_quantize_bits(U32, 0x80000000, round_magnitude32, finish32)
_quantize_bits64 = _make_quantize_bits(U64, 1 << 63, round_magnitude64, finish64)


def quantize_bits(bits, word, mode, normalise, facts):
    """Bits of a value rounded once to the format of `facts`; width by the type of `bits`; words aligned to the top."""
    raise NotImplementedError("compiled code only")


@overload(quantize_bits, jit_options=SCALAR)
def _quantize_bits(bits, word, mode, normalise, facts):
    if not isinstance(facts, types.UniTuple):
        return None
    return _quantize_bits32 if bits == types.uint32 else _quantize_bits64


def _make_odd_sum(U, SIGN, EXPONENT, WIDTH):
    TOP, MAGNITUDE, INF, ONE, ZERO = U(SIGN), U(SIGN - 1), U(EXPONENT), U(1), U(0)
    LAST = U(WIDTH - 1)

    def odd_sum(x, y, mode):
        s = x + y
        t = s - x
        error = (x - (s - t)) + (y - t)
        bits = to_bits(s)
        away = U(U(bits ^ to_bits(error)) >> LAST)
        inexact = error != 0
        if mode < UNIFORM:
            inexact = inexact & (U(bits & MAGNITUDE) < INF)
        toward = U(bits - away)
        result = (toward if mode & MODE_MASK == RTZ else U(toward | ONE)) if inexact else bits
        if mode == RTN:
            zero = U(U(to_bits(x) | to_bits(y)) & TOP)
            result = zero if U(bits & MAGNITUDE) == ZERO else result
        return result

    return odd_sum


_odd_sum32 = _make_odd_sum(U32, 0x80000000, 0x7F800000, 32)
_odd_sum64 = _make_odd_sum(U64, 1 << 63, 0x7FF << 52, 64)


def odd_sum(x, y, mode):
    """Bits of x + y rounded to odd: toward zero, and the lowest bit set where anything was lost.

    Rounding the result to p bits is exact in every mode if the carrier has at least p + 2 bits (Boldo and Melquiond,
    IEEE TC 57(4), 2008); r-bit stochastic rounding needs p + r + 1 (p + r + 2 where a tie of the rest
    counts).
    For RTZ the bit is not needed: truncations compose. An infinite or NaN sum is passed on (in the fast forms there is
    none). For RTN a zero sum takes IEEE 754's sign.
    """
    raise NotImplementedError("compiled code only")


@overload(odd_sum, jit_options=SCALAR)
def _odd_sum(x, y, mode):
    return _odd_sum32 if x == types.float32 else _odd_sum64


def _make_saturate_bits(U, SIGN, EXPONENT, TRAILING):
    TOP, MAGNITUDE, FIELD, ONE, ZERO = U(SIGN), U(SIGN - 1), U(EXPONENT), U(1), U(0)
    T = U(TRAILING)

    def saturate_bits(bits, mode, facts):
        sign = U(bits & TOP)
        a = U(bits ^ sign)
        drop = facts[DROP]
        if mode & MAGIC:
            lowest = U(U(facts[EMIN] - U(OFFSET)) << T)
            power = U(max(U(a & FIELD), lowest) + U(drop << T))
            shifter = from_bits(U(power | sign))
            a = U(to_bits((from_bits(bits) + shifter) - shifter) & MAGNITUDE)
        else:
            step = U(ONE << drop)
            if mode & MODE_MASK == RNE:
                a = U(a + U(U(U(step >> ONE) - ONE) + U(U(a >> drop) & ONE)))
            elif mode & MODE_MASK == RNA:
                a = U(a + U(step >> ONE))
            a = U(a & U(ZERO - step))
            a = a if a >= facts[SMALLEST] else ZERO
        return U(min(a, facts[LARGEST]) | sign)

    return saturate_bits


_saturate_bits32 = _make_saturate_bits(U32, 0x80000000, 0x7F800000, 23)
_saturate_bits64 = _make_saturate_bits(U64, 1 << 63, 0x7FF << 52, 52)


def saturate_bits(bits, mode, facts):
    """`quantize_bits` in a faster form, for finite values, Overflow.SATURATE, a negative zero and mantissa bits >= 1.

    mode + UNIFORM: RNE, RNA or RTZ in a format without gradual underflow: an addition carries into the kept bits.
    mode + MAGIC: RNE in a format with gradual underflow: adding and subtracting a power of two whose ulp is the grid
    step lets the carrier round; needs the exponent of the value plus DROP inside the carrier.
    """
    raise NotImplementedError("compiled code only")


@overload(saturate_bits, jit_options=SCALAR)
def _saturate_bits(bits, mode, facts):
    return _saturate_bits32 if bits == types.uint32 else _saturate_bits64


def store(out, i, bits, facts):
    """out[i] = the value of `bits` in a float array, its codepoint in an array of unsigned integers."""
    raise NotImplementedError("compiled code only")


@overload(store, jit_options=SCALAR)
def _store(out, i, bits, facts):
    if not isinstance(facts, types.UniTuple):
        return None
    if isinstance(out.dtype, types.Float):

        def store_value(out, i, bits, facts):
            out[i] = from_bits(bits)

        return store_value
    code = code32 if bits == types.uint32 else code64

    def store_code(out, i, bits, facts):
        out[i] = code(bits, facts)

    return store_code


def _make_noticed(U, SIGN, EXPONENT):
    MAGNITUDE, INF, ZERO = U(SIGN - 1), U(EXPONENT), U(0)

    def noticed(bits, result, facts):
        a, r = U(bits & MAGNITUDE), U(result & MAGNITUDE)
        over = ((a < INF) & (r >= INF)) | ((a == INF) & (r > INF))
        negative = (bits > MAGNITUDE) & (a != ZERO) & (a <= INF)
        uncoded = (r == facts[UNCODED]) & (r != ZERO)
        return (
            (SAW_OVERFLOW if over else 0)
            | (SAW_NAN if a > INF else 0)
            | (SAW_NEGATIVE if negative else 0)
            | (SAW_UNCODED if uncoded else 0)
        )

    return noticed


_noticed32 = _make_noticed(U32, 0x80000000, 0x7F800000)
_noticed64 = _make_noticed(U64, 1 << 63, 0x7FF << 52)


def noticed(bits, result, facts):
    """What an input and its result show of overflow, NaN, sign and a value without a code: a sum of SAW_ constants."""
    raise NotImplementedError("compiled code only")


@overload(noticed, jit_options=SCALAR)
def _noticed(bits, result, facts):
    if not isinstance(facts, types.UniTuple):
        return None
    return _noticed32 if bits == types.uint32 else _noticed64
