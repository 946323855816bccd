"""The scale of a block as a power of two: the grid of the elements moves by its exponent, nothing is multiplied."""

import numpy as np
from numba import types
from numba.extending import overload

from ._jit import SCALAR, core
from .block_elements import ADDED, BASE, HIGHEST, LOWEST
from .modes import (
    BELOW,
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
    OVER_NEGATIVE,
    OVER_POSITIVE,
    PARITY,
    PARITY_EMIN,
    QUANTUM,
    RANDOM_MASK,
    RANDOM_SHIFT,
    SIGNED_ZERO,
    SMALLEST,
    UNCODED,
)
from .primitives import from_bits, leading_zeros, to_bits

U32, U64 = np.uint32, np.uint64


def _make_shared_exponent(U, WIDTH, TRAILING):
    T, SURPLUS, ZERO = U(TRAILING), U(WIDTH - 1 - TRAILING), U(0)

    def field_of(top, added):
        return np.int64(U(U(top + U(added)) >> T))

    def shared_exponent(top, rule):
        lift = U(leading_zeros(top) - SURPLUS) if U(top >> T) == ZERO else ZERO
        field = field_of(U(top << lift), rule[ADDED]) - np.int64(lift)
        exponent = min(max(field - rule[BASE], rule[LOWEST]), rule[HIGHEST])
        return exponent if top != ZERO else rule[LOWEST]

    field_of = core(field_of)
    return field_of, shared_exponent


_field_of32, _shared_exponent32 = _make_shared_exponent(U32, 32, 23)
_field_of64, _shared_exponent64 = _make_shared_exponent(U64, 64, 52)


def field_of(top, added):
    """Exponent field of magnitude bits after an addition to them (see ADDED), an integer; for normal numbers."""
    raise NotImplementedError("compiled code only")


@overload(field_of, jit_options=SCALAR)
def _field_of(top, added):
    return (
        (lambda top, added: _field_of32(top, added))
        if top == types.uint32
        else (lambda top, added: _field_of64(top, added))
    )


def shared_exponent(top, rule):
    """Exponent of the scale of a block whose largest magnitude has these bits; exact for carrier subnormals too."""
    raise NotImplementedError("compiled code only")


@overload(shared_exponent, jit_options=SCALAR)
def _shared_exponent(top, rule):
    return _shared_exponent32 if top == types.uint32 else _shared_exponent64


def _make_power_of_two(U, TRAILING, BIAS):
    T, ONE = U(TRAILING), U(1)

    def power_of_two(exponent, like):
        field = exponent + BIAS
        return from_bits(U(U(field) << T) if field > 0 else U(ONE << U(field + (TRAILING - 1))))

    return power_of_two


_power_of_two32, _power_of_two64 = _make_power_of_two(U32, 23, 127), _make_power_of_two(U64, 52, 1023)


def power_of_two(exponent, like):
    """2**exponent in the carrier whose bits are like `like`; it may be a subnormal."""
    raise NotImplementedError("compiled code only")


@overload(power_of_two, jit_options=SCALAR)
def _power_of_two(exponent, like):
    return _power_of_two32 if like == types.uint32 else _power_of_two64


def _make_shifted(U, TRAILING, EXPONENT):
    T, INF, ZERO = U(TRAILING), U(EXPONENT), U(0)

    def by_scale(bits, by):
        return to_bits(from_bits(bits) * by)

    def by_field(bits, by):
        return U(bits + U(U(by) << T)) if (bits != ZERO) & (bits < INF) else bits

    scaled, lifted_bits = core(by_scale), core(by_field)
    move_scaled, move_lifted = core(_moving(U, scaled)), core(_moving(U, lifted_bits))

    def shifted(facts, exponent, scale):
        return move_scaled(facts, exponent, scale)

    def lifted(facts, exponent):
        return move_lifted(facts, exponent, exponent)

    return shifted, lifted, lifted_bits


def _moving(U, moved):
    ZERO = U(0)

    def move(facts, exponent, by):
        return (
            facts[DROP],
            U(facts[EMIN] + U(exponent)) if facts[EMIN] != ZERO else ZERO,
            facts[PARITY],
            U(facts[PARITY_EMIN] + U(exponent)),
            moved(facts[QUANTUM], by),
            moved(facts[SMALLEST], by),
            moved(facts[LARGEST], by),
            moved(facts[OVER_POSITIVE], by),
            moved(facts[OVER_NEGATIVE], by),
            moved(facts[INFINITE], by),
            facts[SIGNED_ZERO],
            facts[RANDOM_MASK],
            facts[RANDOM_SHIFT],
            U(facts[CODE_EMIN] + U(exponent)),
            facts[CODE_MANTISSA],
            facts[CODE_OFFSET],
            facts[CODE_SIGN],
            facts[CODE_INFINITY],
            facts[CODE_NAN],
            moved(facts[UNCODED], by),
            moved(facts[BELOW], by),
        )

    return move


_shifted32, _lifted32, _lifted_bits32 = _make_shifted(U32, 23, 0x7F800000)
_shifted64, _lifted64, _lifted_bits64 = _make_shifted(U64, 52, 0x7FF << 52)


def shifted(facts, exponent, scale):
    """The facts of a format whose values are all multiplied by scale = 2**exponent: the slots before CODE_BASE."""
    raise NotImplementedError("compiled code only")


@overload(shifted, jit_options=SCALAR)
def _shifted(facts, exponent, scale):
    return _shifted32 if facts.dtype == types.uint32 else _shifted64


def lifted(facts, exponent):
    """`shifted` where all values are normal numbers of the carrier, before and after."""
    raise NotImplementedError("compiled code only")


@overload(lifted, jit_options=SCALAR)
def _lifted(facts, exponent):
    return _lifted32 if facts.dtype == types.uint32 else _lifted64


def lifted_bits(bits, exponent):
    """The same of the bits of one value; zero and what is not finite stay what they are."""
    raise NotImplementedError("compiled code only")


@overload(lifted_bits, jit_options=SCALAR)
def _lifted_value(bits, exponent):
    if bits == types.uint32:
        return lambda bits, exponent: _lifted_bits32(bits, exponent)
    return lambda bits, exponent: _lifted_bits64(bits, exponent)
