"""The matrix units of real hardware as recipes: operands in the unit's format, sums as the unit makes them."""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from types import MappingProxyType

from numerics import MatrixUnit, Overflow, Quantizer, Rounding, catalog
from numerics.formats import FloatFormat

from ..operands import Operand, Scaled
from ..recipe import Product, Recipe
from .parts import everywhere, recipe

_UNITS = catalog.MATRIX_UNITS
_KINDS = {"f16": "fp16", "f32": "fp32", "e4m3": "fp8", "e4m3fnuz": "fp8"}
#: FP8 comes as a pair: one kind forward, the other for gradients.
_GRADIENTS = {"e4m3": "e5m2", "e4m3fnuz": "e5m2fnuz"}
_NARROW = 8  # bits of a format that needs a scale


@cache
def presets() -> Mapping[str, str]:
    """Short name -> the unit of its forward product, for every unit that has float32 results and no scales of blocks."""
    found: dict[str, str] = {}
    for unit in _UNITS:
        *gpu, kind, output = unit.split(".")
        if output != "f32" or _UNITS[unit].scale is not None or kind in _GRADIENTS.values():
            continue
        name = "_".join([*gpu, _KINDS.get(kind, kind)])
        # The FP8 of Hopper and Blackwell is that of their new instructions; the old one goes by its own name.
        modern = re.fullmatch(r"(h100|h200)_wgmma_fp8|(b200)_tcgen05_fp8", name)
        if modern:
            name = f"{modern[1] or modern[2]}_fp8"
        elif name in ("h100_fp8", "h200_fp8", "b200_fp8"):
            name = name.replace("_fp8", "_mma_fp8")
        found[name] = unit
    return MappingProxyType(found)


def hardware(unit: str, seed: int = 0, *, scaled: bool | None = None, keep: str = "", name: str = "") -> Recipe:
    """Every product in a unit of numerics.catalog.MATRIX_UNITS: operands rounded to its format, sums as it makes them.

    Operands are rounded to nearest even and saturate; to TF32 ties go away from zero (PTX cvt.rna). With an E4M3 unit
    gradients are E5M2, in the unit of that kind where its other parameters are the same, as mixed operands are. scaled:
    each operand times a power of two that brings its largest magnitude near the format's; None: for formats of up to 8
    bits, which training needs it for. Results of 16 bits or in float64 are the unit's own: models in float32 take
    units whose result is float32 or narrower. Errors: KeyError for an unknown unit, with the nearest names; ValueError
    for one with scales of its own operands.
    """
    forward = _UNITS[unit]
    if forward.scale is not None:
        raise ValueError(
            f"unit = {unit!r} multiplies the scales of its operands' blocks, which a layer's product does not have: give"
            " a unit without scales, or a recipe with block formats, such as mxfp4"
        )
    backward, gradient = _backward(unit, forward)
    narrow = forward.input.bits <= _NARROW if scaled is None else scaled
    same, of_g = _operand(forward.input, narrow), _operand(gradient, narrow)
    rule = everywhere(
        forward=Product(accumulator=forward, activation=same, weight=same),
        grad_input=Product(accumulator=backward, gradient=of_g, weight=same),
        grad_weight=Product(accumulator=backward, gradient=of_g, activation=same),
    )
    return recipe(name or unit, seed, rule, keep=keep)


def _backward(unit: str, forward: MatrixUnit) -> tuple[MatrixUnit, FloatFormat]:
    """The unit of the gradient products, whose first operand is the gradient, and the gradient's format."""
    *gpu, kind, output = unit.split(".")
    partner = ".".join([*gpu, _GRADIENTS.get(kind, ""), output])
    if kind not in _GRADIENTS or partner not in _UNITS:
        return forward, forward.input
    other = _UNITS[partner]
    if replace(other, input=forward.input) != forward:
        return forward, forward.input
    return replace(other, input_b=forward.input, name=f"{partner} x {kind}"), other.input


def _operand(fmt: FloatFormat, scaled: bool) -> Operand | None:
    if fmt in (catalog.BINARY32, catalog.BINARY64):
        return None
    quantizer = Quantizer(fmt, Rounding.RNA if fmt == catalog.TF32 else Rounding.RNE, Overflow.SATURATE)
    return Scaled(quantizer) if scaled else quantizer
