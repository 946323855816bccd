"""Mutants of deterministic rounding: ties, carries, edges, specials, intermediates, layouts."""

from functools import partial
from typing import Any

import numpy as np

from numerics import catalog
from numerics.properties import QuantizerUnderTest

from . import own
from .record import Mutant, Right
from .right_rounding import (
    E4M3,
    E5M10,
    FIX,
    FIXED,
    IEEE,
    INF,
    POWER,
    POWERS,
    RNA,
    RNE,
    RTO,
    RTP,
    RTZ,
    SMALL,
    WIDE,
    Array,
    into,
    subject,
)

_MUTANTS: list[Mutant] = []
mutant = into(_MUTANTS)


def _variant(name: str, up: Any, where: str, caught_by: str, twin: Right, fmt: Any = SMALL, **parts: Any) -> None:
    fn = own.rounder(fmt, up, **parts)
    fn.__name__ = name
    mutant(where, caught_by, twin)(fn)


_variant("ties_away", own.away, "qtorch 0.3.0 on a CPU: 1 + 2**-11 in binary16 goes up", "decision", RNE)
_variant("ties_to_even", own.even, "FBGEMM before PR 9: vector code even, scalar code away", "decision", RNA)
_variant(
    "ties_away_by_value",
    lambda part, whole, x: (part > 0.5) | ((part == 0.5) & (x > 0)),
    "pychop 0.6.2, rmode=8: the sign test is applied to a magnitude",
    "odd",
    RNA,
)
_variant(
    "up_for_down",
    lambda part, whole, x: (part > 0) & (x < 0),
    "pychop 0.6.2, rmode=7: the sign test is applied to a magnitude, modes change places",
    "decision",
    RTP,
)
_variant(
    "odd_moves_exact",
    lambda part, whole, x: whole % 2 == 0,
    "pychop 0.6.2, rmode=9: exact 1.0, 2.0, 1.5 are made odd",
    "fixed_points",
    RTO,
)
_variant(
    "sticky_dropped",
    lambda part, whole, x: own.even(np.floor(part * 2) / 2, whole, x),
    "Z3 issue 10608: fp.fma reduces the wrong sticky range, guard alone is left and reads as a tie",
    "decision",
    RNE,
)
_variant(
    "two_guard_bits",
    lambda part, whole, x: own.even(np.floor(part * 4) / 4, whole, x),
    "APyTypes 0.5.1: a cast into the subnormal range loses low bits",
    "decision",
    RNE,
)
_variant(
    "floor_of_signed",
    lambda part, whole, x: np.where(x < 0, part > 0.5, part >= 0.5),
    "tt-metal issue 56525: floor(x + 1/2), ties toward plus infinity",
    "odd",
    FIX,
    FIXED,
    end=own.saturate_fixed,
    grid=own.split_fixed,
)


@mutant("microxcaling 7bc4195, e4m3 of nextafter(2**-10, 0): floor(x + 1/2) in float32", "decision", RNA)
def floor_plus_half(x: Array) -> Array:
    _, step, _ = own.split(x, SMALL)
    scaled = (np.where(np.isfinite(x), np.abs(x), 0) / step).astype(np.float32)
    return own.saturate(np.floor(scaled + np.float32(0.5)) * step, x, SMALL)


@mutant("qtorch 0.3.0: subnormals are flushed below half of the smallest normal", "fixed_points")
def subnormals_flushed(x: Array) -> Array:
    result = own.near(x, SMALL)
    return np.where(np.abs(result) < SMALL.smallest_normal, np.copysign(0, x), result).astype(x.dtype)


@mutant("ROCm llvm-project PR 3275: the mantissa is masked after the addition, its carry is lost", "faithful")
def carry_lost(x: Array) -> Array:
    low, step, part = own.split(x, SMALL)
    whole = low / step + own.even(part, low / step, x)
    carried = whole == 2.0 ** (SMALL.mantissa_bits + 1)
    return own.saturate(np.where(carried, whole / 2, whole) * step, x, SMALL)


@mutant("qtorch 0.3.0 issue 48: a shift by 23 - 23 - 1 turns the sign", "fixed_points")
def shift_by_minus_one(x: Array) -> Array:
    exact = own.near(x, SMALL) == x
    return np.where(exact & (np.abs(x) >= 1), -own.near(x, SMALL), own.near(x, SMALL)).astype(x.dtype)


@mutant(
    "mptorch b8e4dc8: float_quantize(448, 4, 3) is 240, an IEEE layout where OCP has one more binade",
    "fixed_points",
    E4M3,
)
def ieee_layout(x: Array) -> Array:
    return np.clip(own.near(x, catalog.E4M3), -240, 240).astype(x.dtype)


@mutant("CPFloat 3583976, emax 8: 480, whose code is a NaN of e4m3fn", "member", E4M3)
def nan_code_as_480(x: Array) -> Array:
    low, step, part = own.split(x, catalog.E4M3)
    size = np.minimum(low + step * own.even(part, low / step, x), 480)
    return np.where(np.isnan(x), x, np.copysign(np.where(np.isinf(x), 480, size), x)).astype(x.dtype)


@mutant(
    "of a kind: AMD e4m3fnuz read as e4m3fn, or the reverse: a bias of 8 for 7 halves every value", "fixed_points", E4M3
)
def bias_off_by_one(x: Array) -> Array:
    return (own.near(x, catalog.E4M3) / 2).astype(x.dtype)


@mutant("qtorch 0.3.0: float_quantize(nan, 4, 3) is 480, the maximum", "specials", E4M3)
def nan_to_maximum(x: Array) -> Array:
    return np.where(np.isnan(x), 448, own.near(x, catalog.E4M3)).astype(x.dtype)


@mutant("Float8s.jl issue 23: NaN is converted to 0", "specials", E4M3)
def nan_to_zero(x: Array) -> Array:
    return np.where(np.isnan(x), 0, own.near(x, catalog.E4M3)).astype(x.dtype)


@mutant("microxcaling 7bc4195: sign(x) * floor(|x| + 1/2), the sign of -0 is 0", "specials")
def zero_without_sign(x: Array) -> Array:
    return (own.near(x, SMALL) + 0.0).astype(x.dtype)


@mutant("torch-xpu-ops issue 2951: -0.0 becomes NaN in float8_e4m3fn", "specials", E4M3)
def minus_zero_to_nan(x: Array) -> Array:
    return np.where((x == 0) & np.signbit(x), np.nan, own.near(x, catalog.E4M3)).astype(x.dtype)


@mutant("ml_dtypes 0.6.0 against torch 2.13: infinities are kept where saturation is claimed", "saturation")
def infinity_kept(x: Array) -> Array:
    return np.where(np.isinf(x), x, own.near(x, SMALL)).astype(x.dtype)


@mutant("torch 2.13 (pytorch issue 178817): an overflow saturates where infinity was the rule", "saturation", INF)
def infinity_to_maximum(x: Array) -> Array:
    return own.rounder(IEEE, own.even)(x)


@mutant("pychop 0.6.2: 65520 in binary16 gives 65536, one step beyond the largest", "member", INF)
def one_step_beyond(x: Array) -> Array:
    low, step, part = own.split(x, IEEE)
    size = low + step * own.even(part, low / step, x)
    edge = 2.0 ** (IEEE.emax + 1)
    return own.to_infinity(np.where(size == edge, IEEE.max, size), x, IEEE) * np.where(
        size == edge, edge / IEEE.max, 1
    ).astype(x.dtype)


@mutant("pychop 0.6.2: Chop(5, 10)(65536) is 0.0, the all-ones exponent falls between two masks", "saturation", INF)
def overflow_to_zero(x: Array) -> Array:
    result = own.rounder(IEEE, own.even, own.to_infinity)(x)
    return np.where(np.isinf(result) & np.isfinite(x), 0, result).astype(x.dtype)


@mutant(
    "libxsmm PR 814: the overflow threshold is the largest value itself, not the midpoint beyond it", "decision", INF
)
def overflow_too_early(x: Array) -> Array:
    result = own.rounder(IEEE, own.even, own.to_infinity)(x)
    return np.where(np.abs(x) > IEEE.max, np.copysign(np.inf, x), result).astype(x.dtype)


@mutant("ml_dtypes 0.6.0 (PR 401): float64 goes to float32 first", "decision", WIDE)
def through_float32(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return own.near(x.astype(np.float32), SMALL).astype(x.dtype)


@mutant("Triton PR 10846: float32 goes to binary16 first, then to fp8", "decision")
def through_binary16(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return own.near(x.astype(np.float16), SMALL).astype(x.dtype)


@mutant("Microfloats.jl PR 25: 1.31640625 goes to bfloat16 first", "decision", E4M3)
def through_bfloat16(x: Array) -> Array:
    return own.near(own.near(x, catalog.BFLOAT16), catalog.E4M3).astype(x.dtype)


@mutant("pychop 0.6.2, binary16 subnormals: significand - 1 rounds in float32", "decision", E5M10)
def subtracts_one(x: Array) -> Array:
    fmt = catalog.BINARY16
    small = np.abs(x) < fmt.smallest_normal
    scaled = np.where(small, x, 0) / np.float32(fmt.smallest_normal)
    one = np.copysign(np.float32(1), scaled)
    moved = ((scaled + one) - one) * np.float32(fmt.smallest_normal)
    return np.where(small, own.near(moved, fmt), own.near(x, fmt)).astype(x.dtype)


@mutant("of a kind: floor(log2(x)) in float32 is one too high just under a power of two", "decision", RTZ)
def exponent_by_logarithm(x: Array) -> Array:
    size = np.maximum(np.where(np.isfinite(x), np.abs(x), 0), np.float32(1e-30)).astype(np.float32)
    exponent = np.maximum(np.floor(np.log2(size)), SMALL.emin)
    step = np.exp2(exponent.astype(np.float64) - SMALL.mantissa_bits)
    return own.saturate(np.floor(np.where(np.isfinite(x), np.abs(x), 0) / step) * step, x, SMALL)


@mutant("third-party LUQ: to the nearest in log2, the midpoint of 1 and 2 is sqrt(2), not 3/2", "decision", POWER)
def nearest_in_the_exponent(x: Array) -> Array:
    size = np.where(np.isfinite(x), np.abs(x), POWERS.max).astype(np.float64)
    bottom = POWERS.smallest_subnormal
    power = np.exp2(np.round(np.log2(np.maximum(size, bottom))))
    return own.saturate(np.where(size < bottom / 2, 0, power), x, POWERS)


@mutant("gradient quantizers that guard against log2(0): 1.19e-7 is added to every magnitude", "decision", RTZ)
def epsilon_added(x: Array) -> Array:
    return own.near(x + np.copysign(np.float32(1.19e-7), x), SMALL, own.down).astype(x.dtype)


@mutant("apytypes 0.5.1 issue 857: 50000 in 16 bits, overflow handling is skipped; here it wraps", "saturation", FIX)
def wraps(x: Array) -> Array:
    low, step, part = own.split_fixed(x, FIXED)
    code = np.copysign(low / step + (part >= 0.5), x) % 64
    return (np.where(code >= 32, code - 64, code) * step[..., :]).astype(x.dtype)


@mutant(
    "of a kind: symmetric clipping where the claim is two's complement: the lowest code is never used",
    "fixed_points",
    FIX,
)
def lowest_code_unused(x: Array) -> Array:
    return np.maximum(own.rounder(FIXED, own.away, own.saturate_fixed, own.split_fixed)(x), -FIXED.max).astype(x.dtype)


@mutant("of a kind: clamping to 2**(bits - 1) instead of one less", "member", FIX)
def one_code_too_many(x: Array) -> Array:
    low, step, part = own.split_fixed(x, FIXED)
    size = np.copysign(np.where(np.isinf(x), np.inf, low + step * (part >= 0.5)), x)
    return (np.clip(size, FIXED.min, -FIXED.min) + 0.0).astype(x.dtype)


def _codes(_: int, wrong: bool = True) -> QuantizerUnderTest:
    fmt = catalog.E4M3

    def encode(x: Array) -> Array:
        values = np.abs(own.near(x, fmt)).astype(np.float64)
        exponent = np.maximum(np.frexp(np.where(values > 0, values, 1))[1] - 1, fmt.emin)
        normal = values >= fmt.smallest_normal
        field = np.where(normal, exponent + 7, 0)
        mantissa = values / np.ldexp(1.0, exponent - 3) - np.where(normal, 8, 0)
        code = field * 8 + mantissa
        if wrong:  # the subnormal binade is given the field of the first normal one
            code = np.where(normal | (values == 0), code, code + 8)
        return (np.where(np.isnan(x), 0x7F, code) + 128 * np.signbit(x)).astype(np.uint8)

    return subject(encode, fmt, codes=True)


CODES = Right("codes of e4m3fn", partial(_codes, wrong=False))
_MUTANTS.append(
    Mutant(
        "subnormal_field",
        "MASE PR 321: the boundary of the subnormals is off by one in the encoding",
        _codes,
        "fixed_points",
        CODES,
    )
)

MUTANTS = tuple(_MUTANTS)
