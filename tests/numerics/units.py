"""Operands for matrix units: members of their formats of every size, cancellations, subnormals, codes at random."""

import numpy as np

from numerics import Overflow, Quantizer, Rounding, reference

KINDS = ("near", "wide", "low", "codes")


def members(rng, fmt, shape, kind, specials=False):
    """Values of the format, float64 [shape]: around one, of all sizes, around its subnormals, or any codes."""
    if kind == "codes":
        codes = rng.integers(0, 1 << min(fmt.bits, 60), shape, dtype=np.uint64)
        values = fmt.decode(codes) if fmt.bits <= 32 else codes.view(np.float64)
        return values if specials else np.where(np.isfinite(values), values, 1.0)
    exponents = {
        "near": rng.integers(-4, 5, shape),
        "wide": rng.integers(max(fmt.emin - 8, -120), min(fmt.emax, 120) + 1, shape),
        "low": fmt.emin + rng.integers(-6, 6, shape),
    }[kind]
    values = rng.standard_normal(shape) * np.exp2(exponents.astype(float)) * (rng.random(shape) > 0.1)
    return Quantizer(fmt, Rounding.RNE, Overflow.SATURATE).quantize(values)


def problem(rng, unit, kind, specials=False, m=2, n=3, depth=None):
    """(a, b, keyword arguments) of a product on the unit; now and then half of k takes back the other."""
    k = int(rng.integers(1, 2 * unit.L + 6)) if depth is None else depth
    a = members(rng, unit.inputs[0], (m, k), kind, specials)
    b = members(rng, unit.inputs[1], (k, n), kind, specials)
    if k > 1 and rng.random() < 0.4:
        a[:, k // 2 : 2 * (k // 2)], b[k // 2 : 2 * (k // 2)] = -a[:, : k // 2], b[: k // 2]
    options = {}
    if rng.random() < 0.7:
        options["c"] = members(rng, unit.addend, (m, n), KINDS[rng.integers(4)], specials)
    if unit.scale is not None:
        count = -(-k // unit.scale_block)
        for name, shape in (("scale_a", (m, count)), ("scale_b", (count, n))):
            spread = 20 if kind == "wide" else 3
            scale = np.exp2(rng.integers(-min(spread, -unit.scale.emin), spread // 3, shape).astype(float))
            scale = scale * rng.choice([0, 1, 1.5], shape) if unit.scale.mantissa_bits else scale
            options[name] = members(rng, unit.scale, shape, "codes", True) if specials else scale
    return a, b, options


def assert_same(found, wanted):
    """Equal bit by bit, any NaN equal to any NaN."""
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    word = np.dtype(f"u{found.itemsize}")
    same = (found.view(word) == wanted.view(word)) | (np.isnan(found) & np.isnan(wanted))
    assert same.all(), (found[~same][:4].tolist(), wanted[~same][:4].tolist())


def oracle(a, b, unit, **options):
    with np.errstate(over="ignore", invalid="ignore"):
        return reference.matrix_unit.unit_matmul(a, b, unit, **options)
