"""Each kind of operand in each of the three products, against numpy: the same functions, words and sums, bit for bit."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import emul
from emul import Product, Rule
from emul.autograd import stream
from emul.operands import (
    LUQ,
    MVUE,
    SAWB,
    Affine,
    LinearQuant,
    LogQuant,
    Scaled,
    Sign,
    StochasticSign,
    TopN,
    Transposable,
)
from numerics import (
    Accumulator,
    FixedFormat,
    Overflow,
    Quantizer,
    Rounding,
    binary,
    catalog,
    clipping,
    luq,
    matmul,
    sparsity,
    theory,
)

FLOAT = Accumulator(catalog.BINARY32, Rounding.RNE, Overflow.IEEE)
E4M3 = Quantizer(catalog.E4M3)
SR = Quantizer(catalog.E5M2, Rounding.SR)
MX = Quantizer(catalog.MXFP4_E2M1)
MX_SR = Quantizer(catalog.MXFP4_E2M1, Rounding.SR)
SEED, STEP = 9, 3
F32 = np.float32


def words(product: str, role: str, place: int = 0) -> dict[str, int]:
    """The draw of a layer called "fc" in its step STEP."""
    name = f"{role} {place} 0" if place else role
    return {"seed": SEED, "stream": stream("fc", product, name), "offset": STEP << 40}


def divided(x: np.ndarray, scale: float) -> tuple:
    return x, lambda product: product / F32(scale)


def times(x: np.ndarray, factor: float) -> tuple:
    return x, lambda product: product * F32(factor)


def same(product: np.ndarray) -> np.ndarray:
    return product


def luq_on_numpy(x, axis, keys):
    alpha = luq.alpha(x)
    return times(luq.quantize(x, alpha=alpha, **keys) / F32(alpha), alpha)


def sawb_on_numpy(x, axis, keys):
    scale = float(F32(7 / clipping.sawb(x, 4)))
    return divided(Quantizer(FixedFormat(4, symmetric=True)).quantize(x * F32(scale)), scale)


def affine_on_numpy(x, axis, keys):
    codes, scale, zero = clipping.affine(x, 8)
    return times((codes.astype(np.int64) - zero).astype(F32), scale)


def aciq_on_numpy(x, axis, keys):
    low, high = clipping.clip_range(x, 4, "laplace")
    codes, scale, zero = clipping.affine(x, 4, lo=low, hi=high)
    return times((codes.astype(np.int64) - zero).astype(F32), scale)


def scaled_on_numpy(x, axis, keys):
    scale = 2.0 ** np.floor(np.log2(448 / np.abs(x).max()))
    return divided(E4M3.quantize(x * F32(scale)), scale)


def plain_on_numpy(x, axis, keys):
    scale = F32(57344 / float(np.abs(x).max()))
    return divided(SR.quantize(x * scale, **keys), scale)


def along(quantizer: Quantizer, axis: int) -> Quantizer:
    return Quantizer(quantizer.fmt, quantizer.rounding, quantizer.overflow, quantizer.random_bits, axis=axis)


def transposable_on_numpy(x, axis, keys):
    return np.where(sparsity.transposable_mask(x.reshape(len(x), -1)).reshape(x.shape), x, F32(0)), same


#: name -> (the operand, the same on numpy: (x, axis, words) -> (values, what the product still needs), sees matrices).
KINDS = {
    "none": (None, lambda x, axis, keys: (x, same), False),
    "nearest": (E4M3, lambda x, axis, keys: (E4M3.quantize(x), same), False),
    "stochastic": (SR, lambda x, axis, keys: (SR.quantize(x, **keys), same), False),
    "luq": (LUQ(), luq_on_numpy, False),
    "sawb": (SAWB(4), sawb_on_numpy, False),
    "affine": (Affine(8), affine_on_numpy, False),
    "aciq": (Affine(4, distribution="laplace"), aciq_on_numpy, False),
    "scaled": (Scaled(E4M3), scaled_on_numpy, False),
    "scaled-plain": (Scaled(SR, power_of_two=False), plain_on_numpy, False),
    "sign": (Sign(), lambda x, axis, keys: (binary.sign(x), same), False),
    "stochastic-sign": (StochasticSign(), lambda x, axis, keys: (binary.stochastic_sign(x, **keys), same), False),
    "linear": (LinearQuant(4), lambda x, axis, keys: (binary.linear_quant(x, 4), same), False),
    "log": (LogQuant(-1, 1), lambda x, axis, keys: (binary.log_quant(x, -1, 1), same), False),
    "transposable": (Transposable(), transposable_on_numpy, False),
    "block": (MX, lambda x, axis, keys: (along(MX, axis).quantize(x), same), True),
    "block-stochastic": (MX_SR, lambda x, axis, keys: (along(MX_SR, axis).quantize(x, **keys), same), True),
    "top-n": (TopN(1, 2), lambda x, axis, keys: (sparsity.top_n(x, 1, 2, axis=axis), same), True),
    "mvue": (MVUE(), lambda x, axis, keys: (sparsity.mvue(x, axis=axis, **keys), same), True),
}


def patches(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Windows of [N, C, H, W], stride 1: rows (n, i, j), columns (c, k, l)."""
    n, c, h, w = x.shape
    rows = [
        x[s, :, i : i + height, j : j + width].reshape(-1)
        for s in range(n)
        for i in range(h - height + 1)
        for j in range(w - width + 1)
    ]
    return np.array(rows).reshape(n * (h - height + 1) * (w - width + 1), c * height * width)


def linear_matrices(x, w, g):
    """For each product: how its operands are matrices, and how the result becomes a tensor."""
    return {
        "forward": (lambda x: x, lambda w: w.T, lambda y: y),
        "grad_input": (lambda g: g, lambda w: w, lambda y: y),
        "grad_weight": (lambda g: g.T, lambda x: x, lambda y: y),
    }


def conv_matrices(x, w, g):
    outputs, _, height, width = w.shape
    around = ((0, 0), (0, 0), (height - 1,) * 2, (width - 1,) * 2)

    def image(y, like):
        n, c, h, v = like.shape
        return np.ascontiguousarray(y.reshape(n, h, v, c).transpose(0, 3, 1, 2))

    return {
        "forward": (
            lambda x: patches(x, height, width),
            lambda w: w.reshape(outputs, -1).T,
            lambda y: image(y, g),
        ),
        "grad_input": (
            lambda g: patches(np.pad(g, around), height, width),
            lambda w: w[:, :, ::-1, ::-1].transpose(0, 2, 3, 1).reshape(-1, w.shape[1]),
            lambda y: image(y, x),
        ),
        "grad_weight": (
            lambda g: g.transpose(1, 0, 2, 3).reshape(outputs, -1),
            lambda x: patches(x, height, width),
            lambda y: y.reshape(w.shape),
        ),
    }


def tensors(kind: str) -> tuple[nn.Module, np.ndarray, np.ndarray, np.ndarray]:
    """(a native layer without bias, x, w, g) with elements of either sign, some beyond 1."""
    generator = np.random.default_rng(5)
    shapes = ((9, 37), (6, 37), (9, 6)) if kind == "linear" else ((2, 3, 5, 4), (6, 3, 2, 3), (2, 6, 4, 2))
    x, w, g = (generator.standard_normal(shape, F32) for shape in shapes)
    layer = nn.Linear(37, 6, bias=False) if kind == "linear" else nn.Conv2d(3, 6, (2, 3), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(w))
    return layer, x, w, g


def on_torch(layer: nn.Module, x, g, rule: Rule) -> dict[str, np.ndarray]:
    """The three products of a swapped layer."""
    emul.swap_(layer, emul.Recipe((rule,), SEED))
    layer.emulation.name, layer.emulation.step = "fc", STEP
    inputs = torch.from_numpy(x).requires_grad_()
    output = layer(inputs)
    output.backward(torch.from_numpy(g))
    return {
        "forward": output.detach().numpy(),
        "grad_input": inputs.grad.numpy(),
        "grad_weight": layer.weight.grad.numpy(),
    }


def on_numpy(how, operands, product, roles, kinds, accumulator) -> np.ndarray:
    *layouts, shape = how[product]
    matrices, finish = [], []
    for tensor, role, kind, layout, axis in zip(operands, roles, kinds, layouts, (-1, -2), strict=True):
        _, function, sees_matrix = KINDS[kind]
        keys = words(product, role)
        if sees_matrix:
            matrix, rest = function(layout(tensor), axis, keys)
        else:
            values, rest = function(tensor, axis, keys)
            matrix = layout(values)
        matrices.append(matrix)
        finish.append(rest)
    out = matmul(*matrices, accumulator)
    for rest in finish:
        out = rest(out)
    return shape(out)


@pytest.mark.parametrize("layer", ["linear", "conv"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_operand_in_each_product_is_numpy_s_to_the_bit(layer, kind):
    native, x, w, g = tensors(layer)
    operand = KINDS[kind][0]
    rule = Rule(
        ".*",
        forward=Product(accumulator=FLOAT, activation=operand, weight=E4M3),
        grad_input=Product(accumulator=FLOAT, gradient=E4M3, weight=operand),
        grad_weight=Product(accumulator=FLOAT, gradient=operand, activation=E4M3),
    )
    # The forward mask of a sign is tested elsewhere: here its gradient is to pass whole.
    if isinstance(operand, Sign | StochasticSign):
        rule = Rule(
            ".*",
            forward=Product(accumulator=FLOAT, activation=type(operand)(gradient="straight"), weight=E4M3),
            grad_input=rule.grad_input,
            grad_weight=rule.grad_weight,
        )
    found = on_torch(native, x, g, rule)
    how = linear_matrices(x, w, g) if layer == "linear" else conv_matrices(x, w, g)
    cases = {
        "forward": ((x, w), ("activation", "weight"), (kind, "nearest")),
        "grad_input": ((g, w), ("gradient", "weight"), ("nearest", kind)),
        "grad_weight": ((g, x), ("gradient", "activation"), (kind, "nearest")),
    }
    for product, (operands, roles, kinds) in cases.items():
        expected = on_numpy(how, operands, product, roles, kinds, FLOAT)
        np.testing.assert_array_equal(found[product].view(np.int32), expected.astype(F32).view(np.int32), product)


def test_stages_are_applied_from_left_to_right_each_with_its_words():
    native, x, _, g = tensors("linear")
    rule = Rule(
        ".*",
        forward=Product(accumulator=FLOAT),
        grad_weight=Product(accumulator=FLOAT, gradient=(LUQ(), MVUE(1, 2), E4M3)),
    )
    found = on_torch(native, x, g, rule)["grad_weight"]
    alpha = luq.alpha(g)
    values = luq.quantize(g, alpha=alpha, **words("grad_weight", "gradient")) / F32(alpha)
    masked = sparsity.mvue(values.T, 1, 2, axis=-1, **words("grad_weight", "gradient", 1))
    np.testing.assert_array_equal(found, matmul(E4M3.quantize(masked), x, FLOAT) * F32(alpha))


def test_samples_are_independent_draws_whose_products_are_averaged_in_order():
    native, x, w, g = tensors("linear")
    product = partial(Product, accumulator=FLOAT, gradient=SR, samples=3)
    rule = Rule(".*", grad_input=product(), grad_weight=product())
    found = on_torch(native, x, g, rule)
    for name, layout, other in (("grad_input", lambda g: g, w), ("grad_weight", lambda g: g.T, x)):
        total = None
        for role in ("gradient", "gradient 0 1", "gradient 0 2"):
            one = matmul(layout(SR.quantize(g, **words(name, role))), other, FLOAT)
            total = one if total is None else total + one
        np.testing.assert_array_equal(found[name], total / F32(3))


@pytest.mark.parametrize("layer", ["linear", "conv"])
def test_a_matrix_unit_in_each_product(layer):
    unit = catalog.MATRIX_UNITS["v100.f16.f32"]
    half = Quantizer(catalog.BINARY16)
    native, x, w, g = tensors(layer)
    rule = Rule(
        ".*",
        forward=Product(accumulator=unit, activation=half, weight=half),
        grad_input=Product(accumulator=unit, gradient=half, weight=half),
        grad_weight=Product(accumulator=unit, gradient=half, activation=half),
    )
    found = on_torch(native, x, g, rule)
    how = linear_matrices(x, w, g) if layer == "linear" else conv_matrices(x, w, g)
    x, w, g = (half.quantize(one) for one in (x, w, g))
    for product, operands in (("forward", (x, w)), ("grad_input", (g, w)), ("grad_weight", (g, x))):
        *layouts, shape = how[product]
        matrices = [np.ascontiguousarray(layout(one)) for layout, one in zip(layouts, operands, strict=True)]
        np.testing.assert_array_equal(found[product], shape(matmul(*matrices, unit)), product)


@pytest.mark.parametrize("layer", ["linear", "conv"])
@pytest.mark.parametrize("order", ["sequential", "exact"])
def test_with_binary64_sums_and_no_quantizer_a_layer_is_native_within_the_bounds_of_both(layer, order):
    """In each product: the emulated sum errs by its worst case, torch's in any order by gamma_K, and no more between."""
    sums = Accumulator(catalog.BINARY64, Rounding.RNE, Overflow.IEEE, order=order)
    native, *arrays = tensors(layer)
    x, w, g = (array.astype(np.float64) / 3 for array in arrays)  # operands with all their bits
    native = native.double()
    with torch.no_grad():
        native.weight.copy_(torch.from_numpy(w))
    inputs = torch.from_numpy(x).requires_grad_()
    output = native(inputs)
    output.backward(torch.from_numpy(g))
    expected = {"forward": output, "grad_input": inputs.grad, "grad_weight": native.weight.grad}
    expected = {product: tensor.detach().numpy().copy() for product, tensor in expected.items()}
    native.zero_grad()
    product = Product(accumulator=sums)
    found = on_torch(native, x, g, Rule(".*", forward=product, grad_input=product, grad_weight=product))
    how = linear_matrices(x, w, g) if layer == "linear" else conv_matrices(x, w, g)
    for name, operands in (("forward", (x, w)), ("grad_input", (g, w)), ("grad_weight", (g, x))):
        *layouts, shape = how[name]
        a, b = (layout(one) for layout, one in zip(layouts, operands, strict=True))
        depth = a.shape[-1]
        # K - 1 additions and a multiplication, each within u.
        of_torch = float(theory.gamma(depth, theory.unit_roundoff(catalog.BINARY64, Rounding.RNE))) * (abs(a) @ abs(b))
        bound = theory.evaluate(theory.error_bound(sums, depth), a, b) + of_torch * (1 + 2.0**-40)
        assert (np.abs(found[name] - expected[name]) <= shape(bound)).all(), name
        np.testing.assert_array_equal(found[name], shape(matmul(a, b, sums)), name)
