"""What the laws are tried on: formats of every kind, values where roundings go wrong, random words."""

import math

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from numerics import FloatFormat, NanEncoding, Rounding, Subnormals, reference

# RNL is for logarithmic formats alone.
MODES = [mode for mode in Rounding if mode.name != "RNL"]
DETERMINISTIC = [mode for mode in MODES if not mode.stochastic]
STOCHASTIC = [mode for mode in MODES if mode.stochastic]
# Each combination of mode and array type is compiled: all modes in float64, one of each sort in float32, where SR has
# a form of its own, the gradients' of FP8 training.
CASES = [(mode, np.float64) for mode in MODES]
CASES += [(mode, np.float32) for mode in (Rounding.RNE, Rounding.RTP, Rounding.RTO, Rounding.SR, Rounding.SR_C)]
CASE_NAMES = [f"{mode.name}-{dtype.__name__}" for mode, dtype in CASES]


@st.composite
def formats(
    draw,
    *,
    min_mantissa_bits=0,
    max_mantissa_bits=9,
    subnormals=tuple(Subnormals),
    nans=tuple(NanEncoding),
    signed=None,
):
    """A FloatFormat of any kind whose values are normal numbers of float32, and so are those a little below."""
    exponent_bits = draw(st.integers(0 if Subnormals.GRADUAL in subnormals else 1, 5))
    mantissa_bits = draw(st.integers(max(min_mantissa_bits, 0 if exponent_bits > 1 else 2), max_mantissa_bits))
    nan = draw(st.sampled_from(nans))
    infinities = draw(st.booleans())
    kind = draw(st.sampled_from(subnormals))
    is_signed = draw(st.booleans()) if signed is None else signed
    if exponent_bits == 0:
        kind, nan = Subnormals.GRADUAL, NanEncoding.TOP_CODE if nan is NanEncoding.IEEE else nan
    if mantissa_bits == 0 and nan is NanEncoding.IEEE:
        infinities = False
    if not is_signed and nan is NanEncoding.NEGATIVE_ZERO:
        nan = NanEncoding.NONE
    middle = (1 << exponent_bits) // 2
    bias = draw(st.integers(-40 + middle, 40 + middle))
    try:
        return FloatFormat(
            exponent_bits, mantissa_bits, bias, signed=is_signed, subnormals=kind, infinities=infinities, nan=nan
        )
    except ValueError:  # one exponent bit, taken by infinity and NaN
        assume(False)


def members(fmt):
    """A nonnegative finite member of the format."""
    codes = st.one_of(st.integers(0, fmt.largest_code), st.sampled_from([0, 1, fmt.largest_code]))
    return codes.map(lambda code: reference.decode_code(code, fmt))


@st.composite
def magnitudes(draw, fmt):
    """A nonnegative float64: a member, a midpoint, a point between, the ends of the format, or anything near."""
    value = draw(members(fmt))
    if fmt.subnormals is Subnormals.FULL_BINADE and draw(st.integers(0, 9)) == 0:
        value = math.ldexp(1.0, fmt.emin)
    exponent = math.frexp(value)[1] - 1 if value else fmt.emin
    step = math.ldexp(1.0, exponent - fmt.mantissa_bits)
    if fmt.subnormals is Subnormals.GRADUAL:
        step = max(step, fmt.smallest_subnormal)
    kind = draw(st.sampled_from(["member", "tie", "between", "below", "beyond", "any"]))
    if kind == "tie":
        value += step / 2
    elif kind == "between":
        bits = draw(st.integers(1, 12))
        value += step * draw(st.integers(0, 1 << bits)) / (1 << bits)
    elif kind == "below":
        value = fmt.smallest_normal * draw(st.integers(0, 1 << 12)) / (1 << 11)
    elif kind == "beyond":
        value = fmt.max * (1 + draw(st.integers(0, 1 << 12)) / (1 << 11))
    elif kind == "any":
        value = draw(st.floats(0, 1, allow_subnormal=True)) * math.ldexp(1.0, draw(st.integers(-140, 120)))
    ulps = draw(st.sampled_from([0, 0, 0, -1, 1]))
    return float(np.nextafter(value, math.inf if ulps > 0 else 0)) if ulps else value


@st.composite
def values(draw, fmt, dtype=np.float64):
    """A finite value of dtype, of either sign where the format has one; both zeros."""
    magnitude = dtype(draw(magnitudes(fmt)))
    if dtype is np.float32 and draw(st.booleans()):  # the neighbours of a tie that float32 has
        magnitude = np.nextafter(magnitude, dtype(draw(st.sampled_from([0.0, math.inf]))))
    negative = fmt.signed and draw(st.booleans())
    return dtype(-magnitude if negative else magnitude)


def arrays_of_values(fmt, dtype=np.float64, *, max_size=24):
    """A one-dimensional array of such values."""
    return st.lists(values(fmt, dtype), min_size=1, max_size=max_size).map(lambda items: np.array(items, dtype))


def words(random_bits):
    """A random word: the ends, or anything."""
    last = (1 << random_bits) - 1
    return st.one_of(st.sampled_from(sorted({0, 1, last, last // 2 + 1})), st.integers(0, last))


@st.composite
def randomness(draw, mode, size):
    """(random_bits for the quantizer, keyword arguments with the words), both empty for a deterministic mode."""
    if not mode.stochastic:
        return None, {}
    random_bits = draw(st.sampled_from([1, 2, 3, 8, 16, 31, 32]) | st.integers(1, 32))
    return random_bits, {"words": np.array([draw(words(random_bits)) for _ in range(size)])}
