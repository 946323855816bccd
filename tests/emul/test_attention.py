"""Attention: every product against numpy's, bit for bit, and the whole against torch's own in float64."""

import copy
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.attention.bias import causal_lower_right, causal_upper_left
from torch.utils.checkpoint import checkpoint

import emul
from emul import Product, Recipe, Rule
from emul.draws import stream
from emul.nn.functional import scaled_dot_product_attention as attention
from numerics import Accumulator, Overflow, Quantizer, Rounding, catalog, matmul, parse_format, theory
from tests.emul.callers import ALL

#: Truncating, coarse and chunked: almost any other order or operand gives other bits.
SUMS = Accumulator(
    parse_format("lba_m4e3_b3_paper"), Rounding.RTZ, product=Quantizer(parse_format("e4m3fn"), Rounding.RTZ), chunk=4
)
E4M3, E5M2 = Quantizer(catalog.E4M3), Quantizer(catalog.E5M2)
COARSE = Rule(
    ".*",
    forward=Product(accumulator=SUMS, activation=E4M3, weight=E5M2),
    grad_input=Product(accumulator=SUMS, gradient=E5M2, weight=E4M3),
    grad_weight=Product(accumulator=SUMS, gradient=E4M3, activation=E5M2),
)
WIDE = Accumulator(catalog.BINARY64, Rounding.RNE, Overflow.IEEE)
EXACT = Rule(
    ".*", forward=Product(accumulator=WIDE), grad_input=Product(accumulator=WIDE), grad_weight=Product(accumulator=WIDE)
)
SR = Rule(".*", forward=Product(activation=Quantizer(catalog.E5M2, Rounding.SR)))


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=dtype)


def q(quantizer: Quantizer, x: torch.Tensor) -> np.ndarray:
    return quantizer.quantize(x.detach().numpy())


def times(a: np.ndarray, b: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(matmul(a, b, SUMS))


def t(x: np.ndarray) -> np.ndarray:
    return np.swapaxes(x, -1, -2)


def by_hand(query, key, value, gradient, bias=None):
    """Output and the gradients of query, key, value: [B, H, L, E], the products numpy's, the softmax torch's."""
    scores = times(q(E4M3, query), t(q(E5M2, key))).requires_grad_()
    scaled = scores * (1 / math.sqrt(query.shape[-1]))
    weights = torch.softmax(scaled if bias is None else scaled + bias, -1)
    output = times(q(E4M3, weights), q(E5M2, value))
    weights.backward(times(q(E5M2, gradient), t(q(E4M3, value))))
    of_value = times(t(q(E5M2, weights)), q(E4M3, gradient))
    of_query = times(q(E5M2, scores.grad), q(E4M3, key))
    of_key = times(t(q(E4M3, scores.grad)), q(E5M2, query))
    return output, of_query, of_key, of_value


def assert_same_bits(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert torch.equal(one.detach().contiguous().view(torch.int32), other.detach().contiguous().view(torch.int32))


def run(query, key, value, gradient, **options):
    leaves = [tensor.clone().requires_grad_() for tensor in (query, key, value)]
    output = attention(*leaves, **options)
    output.backward(gradient)
    return output, *(leaf.grad for leaf in leaves)


def test_both_products_and_their_gradients_are_numpy_s_to_the_bit():
    tensors = draw(2, 3, 5, 8), draw(2, 3, 6, 8), draw(2, 3, 6, 7), draw(2, 3, 5, 7)
    assert_same_bits(run(*tensors, rule=COARSE), by_hand(*tensors))


def test_heads_that_share_a_key_are_rows_of_one_product():
    query, key, value, gradient = draw(2, 4, 5, 8), draw(2, 2, 6, 8), draw(2, 2, 6, 7), draw(2, 4, 5, 7)
    mask = torch.zeros(5, 6).masked_fill(torch.ones(5, 6, dtype=torch.bool).triu(1), -math.inf)
    found = run(query, key, value, gradient, rule=COARSE, is_causal=True, enable_gqa=True)
    shared = query.reshape(2, 2, 10, 8), key, value, gradient.reshape(2, 2, 10, 7), mask.repeat(2, 1)
    output, of_query, *others = by_hand(*shared)
    assert_same_bits(found, (output.reshape(2, 4, 5, 7), of_query.reshape(query.shape), *others))


@pytest.mark.parametrize(
    ("options", "shapes"),
    [
        ({}, ((2, 4, 5, 8), (2, 1, 6, 8), (1, 4, 6, 7))),
        ({}, ((5, 8), (3, 6, 8), (6, 7))),
        ({"enable_gqa": True}, ((1, 4, 5, 8), (2, 6, 8), (3, 2, 6, 7))),
    ],
    ids=["heads", "a matrix", "grouped"],
)
def test_leading_dimensions_broadcast_and_gradients_sum_over_what_is_repeated(options, shapes):
    tensors, own = [draw(*shape) for shape in shapes], 3 if options else 2
    batch = torch.broadcast_shapes(*(shape[:-own] for shape in shapes))
    whole = [tensor.expand(*batch, *tensor.shape[-own:]).contiguous() for tensor in tensors]
    native = torch.nn.functional.scaled_dot_product_attention(*tensors, **options)
    gradient = draw(*native.shape)
    output, *wanted = run(*whole, gradient, rule=COARSE, **options)
    assert output.shape == native.shape
    assert_same_bits(
        run(*tensors, gradient, rule=COARSE, **options),
        (output, *(found.sum_to_size(tensor.shape) for found, tensor in zip(wanted, tensors, strict=True))),
    )


@pytest.mark.parametrize(
    ("options", "heads"),
    [
        ({}, 2),
        ({"is_causal": True, "scale": 0.3}, 2),
        ({"attn_mask": draw(5, 6) > -0.5}, 2),
        ({"attn_mask": draw(2, 1, 1, 6, dtype=torch.float64)}, 2),
        ({"is_causal": True, "enable_gqa": True}, 1),
    ],
    ids=["plain", "causal", "bool", "float", "grouped"],
)
def test_binary64_is_torch_s_own_within_the_bound(options, heads):
    wide = {"dtype": torch.float64}
    query, gradient = draw(2, 2, 5, 8, **wide), draw(2, 2, 5, 7, **wide)
    key, value = draw(2, heads, 6, 8, **wide), draw(2, heads, 6, 7, **wide)
    ours = run(query, key, value, gradient, rule=EXACT, **options)
    leaves = [tensor.clone().requires_grad_() for tensor in (query, key, value)]
    native = nn.functional.scaled_dot_product_attention(*leaves, **options)
    native.backward(gradient)
    # Both err by gamma_n at most in each sum, and by a few roundings in the softmax; scores move weights by a factor.
    shared = (x.detach().abs().repeat_interleave(2 // heads, 1) for x in (key, value))
    size, magnitude = next(shared), next(shared)
    gammas = [float(theory.error_bound(WIDE, n).products) for n in (8, 6)]
    u = 2.0**-53
    moved = options.get("scale", 8**-0.5) * 2 * (gammas[0] + 4 * u) * (query.abs() @ size.mT).max()
    bound = (math.expm1(2 * moved) + 2 * gammas[1] + 2 * (6 + 12) * u) * magnitude.amax(-2, keepdim=True)
    assert ((ours[0] - native).abs() <= bound).all()
    assert bound.max() < 1e-13
    for grad, leaf in zip(ours[1:], leaves, strict=True):
        torch.testing.assert_close(grad, leaf.grad, rtol=1e-12, atol=1e-13)


def test_a_query_that_may_look_nowhere_gets_zeros_and_gives_none():
    tensors = draw(3, 4), draw(2, 4), draw(2, 5), draw(3, 5)
    mask = torch.tensor([[True, False], [False, False], [True, True]])
    found = run(*tensors, rule=COARSE, attn_mask=mask)
    assert not found[0][1].any()
    assert not found[1][1].any()
    assert all(bool(torch.isfinite(tensor).all()) for tensor in found)
    assert_same_bits(found, run(*tensors, rule=COARSE, attn_mask=torch.zeros(3, 2).masked_fill(~mask, -math.inf)))


@pytest.mark.parametrize("bias", [causal_lower_right, causal_upper_left])
def test_a_causal_bias_is_the_mask_that_it_stands_for(bias):
    query, key, value = draw(2, 3, 8), draw(2, 5, 8), draw(2, 5, 7)
    mask = torch.ones(3, 5, dtype=torch.bool).tril(2 if bias is causal_lower_right else 0)
    wanted = attention(query, key, value, mask, rule=COARSE)
    assert torch.equal(attention(query, key, value, bias(3, 5), rule=COARSE), wanted)

    class Looks(torch.nn.Module):
        def forward(self, *tensors):
            return torch.nn.functional.scaled_dot_product_attention(*tensors, attn_mask=bias(3, 5))

    model = emul.swap_(torch.nn.ModuleList([Looks(), torch.nn.Linear(2, 2)]), Recipe((COARSE,)), functional="refuse")
    assert torch.equal(model[0](query, key, value), wanted)


def test_dropout_drops_what_torch_drops():
    ones, value = torch.zeros(1, 1, 64, 4).double(), torch.eye(64)[None, None].double()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        ours = attention(ones, ones, value, dropout_p=0.5, rule=EXACT)
        torch.manual_seed(3)
        dropped = nn.functional.dropout(torch.full((1, 1, 64, 64), 1 / 64).double(), 0.5)
    assert torch.equal(ours, dropped)
    assert 0.4 < (ours == 0).float().mean() < 0.6


def test_the_words_of_each_product_are_its_own():
    x, quantizer = draw(1, 1, 8, 8), SR.forward.activation
    sampled = [
        partial(quantizer.quantize, seed=3, stream=stream(f"a.{part}", "forward", "activation"), offset=2 << 40)
        for part in ("scores", "context")
    ]
    weights = torch.softmax(torch.from_numpy(sampled[0](x.numpy())) @ x.mT * 8**-0.5, -1)
    expected = torch.from_numpy(sampled[1](weights.numpy())) @ x
    assert torch.equal(attention(x, x, x, rule=SR, seed=3, name="a", step=2), expected)


def test_blocks_lie_along_what_each_product_sums_over():
    blocks = Quantizer(catalog.MXFP8_E4M3)
    plain = Product(accumulator=SUMS)
    rule = Rule(".*", forward=plain, grad_input=plain, grad_weight=Product(accumulator=SUMS, gradient=blocks))
    tensors = draw(1, 1, 40, 8), draw(1, 1, 6, 8), draw(1, 1, 6, 7), draw(1, 1, 40, 7)
    _, _, of_key, of_value = run(*tensors, rule=rule)
    query, key, value, gradient = (tensor[0, 0].numpy() for tensor in tensors)
    scores = times(query, key.T).requires_grad_()
    weights = torch.softmax(scores * 8**-0.5, -1)
    weights.backward(times(gradient, value.T))
    blocked = replace(blocks, axis=0)  # over the queries, 32 and 8 of them
    assert torch.equal(of_value[0, 0], times(blocked.quantize(gradient).T, weights.detach().numpy()).T)
    assert torch.equal(of_key[0, 0], times(blocked.quantize(scores.grad.numpy()).T, query))


def test_words_are_keyed_by_product_and_step():
    x = draw(1, 1, 64, 64)
    first = attention(x, x, x, rule=SR, name="a")
    assert torch.equal(first, attention(x, x, x, rule=SR, name="a"))
    assert not torch.equal(first, attention(x, x, x, rule=SR, name="b"))
    assert not torch.equal(first, attention(x, x, x, rule=SR, name="a", step=1))
    assert not torch.equal(first, attention(x, x, x, rule=SR, name="a", seed=1))


OPTIONS = [
    ({}, {}),
    ({"batch_first": True, "bias": False}, {"need_weights": False}),
    ({"kdim": 5, "vdim": 3, "batch_first": True}, {"attn_mask": draw(4, 6) > 0.7, "average_attn_weights": False}),
    ({"add_bias_kv": True}, {"key_padding_mask": draw(2, 6) > 1}),
    ({"add_zero_attn": True, "add_bias_kv": True}, {"attn_mask": draw(4, 4, 6, dtype=torch.float64)}),
    (
        {"num_heads": 4},
        {"attn_mask": draw(4, 6, dtype=torch.float64), "key_padding_mask": draw(2, 6, dtype=torch.float64)},
    ),
    ({"batched": False}, {"attn_mask": draw(2, 4, 6) > 0.7}),
    ({"batched": False, "batch_first": True}, {"key_padding_mask": torch.arange(6) > 3, "average_attn_weights": False}),
]


@pytest.mark.parametrize(("options", "call"), OPTIONS)
def test_multi_head_attention_is_torch_s_own_in_float64(options, call):
    options = {"num_heads": 2, "batched": True, **options}
    batched = options.pop("batched")
    native = nn.MultiheadAttention(8, options.pop("num_heads"), **options, dtype=torch.float64)
    with torch.no_grad():
        for i, parameter in enumerate(native.parameters()):
            parameter.copy_(draw(*parameter.shape, seed=i, dtype=torch.float64))
    ours = copy.deepcopy(native)
    emul.swap_(ours, Recipe((EXACT,)))
    assert type(ours) is emul.nn.MultiheadAttention
    assert list(ours.state_dict()) == list(native.state_dict())
    inputs = []
    for length, width in ((4, 8), (6, native.kdim), (6, native.vdim)):
        x = draw(length, 2, width, dtype=torch.float64)
        inputs.append(x[:, 0] if not batched else x.transpose(0, 1) if native.batch_first else x)
    results = []
    for layer in (ours, native):
        leaves = [x.clone().requires_grad_() for x in inputs]
        output, weights = layer(*leaves, **call)
        output.backward(draw(*output.shape, dtype=torch.float64))
        results.append([output, weights, *(leaf.grad for leaf in leaves), *(p.grad for p in layer.parameters())])
    for mine, other in zip(*results, strict=True):
        assert (mine is None) == (other is None)
        if mine is not None:
            torch.testing.assert_close(mine, other, rtol=1e-11, atol=1e-12)
    assert ours.emulation.step == 6


def test_every_product_of_multi_head_attention_is_numpy_s_to_the_bit():
    layer = emul.nn.MultiheadAttention(8, 2, rule=COARSE)
    x = [draw(n, 2, 8, seed=i).requires_grad_() for i, n in enumerate((5, 6, 6))]
    with torch.no_grad():
        layer.in_proj_weight.copy_(draw(24, 8))
        layer.in_proj_bias.copy_(draw(24))
        layer.out_proj.weight.copy_(draw(8, 8))
    output, _ = layer(*x)
    gradient = draw(5, 2, 8, seed=3)
    output.backward(gradient)

    weights, biases = layer.in_proj_weight.detach().reshape(3, 8, 8), layer.in_proj_bias.detach().reshape(3, 8)
    out = layer.out_proj.weight

    def heads(rows):  # [positions * 2, 8] -> [2, heads, positions, 4]
        return rows.reshape(-1, 2, 2, 4).permute(1, 2, 0, 3).contiguous()

    def rows(parts):
        return parts.permute(2, 0, 1, 3).reshape(-1, 8).contiguous()

    flat = [tensor.detach().reshape(-1, 8) for tensor in x]
    projected = [heads(times(q(E4M3, a), q(E5M2, w).T) + b) for a, w, b in zip(flat, weights, biases, strict=True)]
    g = gradient.reshape(-1, 8)
    of_context = heads(times(q(E5M2, g), q(E4M3, out)))
    context, *others = by_hand(*projected, of_context)
    expected = [(times(q(E4M3, rows(context)), q(E5M2, out).T) + layer.out_proj.bias.detach()).reshape(5, 2, 8)]
    expected += [times(q(E4M3, g).T, q(E5M2, rows(context)))]
    expected += [times(q(E5M2, rows(d)), q(E4M3, w)).reshape(-1, 2, 8) for d, w in zip(others, weights, strict=True)]
    expected += [torch.cat([times(q(E4M3, rows(d)).T, q(E5M2, a)) for d, a in zip(others, flat, strict=True)])]
    found = [output, out.grad, *(tensor.grad for tensor in x), layer.in_proj_weight.grad]
    assert_same_bits(found, expected)
    assert torch.equal(layer.out_proj.bias.grad, g.sum(0))


def test_each_product_remembers_its_own_scales_and_goes_on_after_a_load():
    scaled = emul.operands.Scaled(E4M3, history=2)
    rule = Rule(
        ".*", forward=Product(activation=scaled, weight=scaled), grad_input=Product(gradient=SR.forward.activation)
    )
    layer = emul.nn.MultiheadAttention(8, 2, rule=rule, name="attn")
    inputs = [draw(5, 2, 8, seed=i).requires_grad_() for i in range(4)]

    def run(module, xs):
        for x in xs:
            output, _ = module(x, x, x)
        (gradient,) = torch.autograd.grad(output.sum(), xs[-1])
        return output, gradient

    run(layer, inputs[:3])
    state = layer.state_dict()
    assert state["emulation_step"] == 18
    histories = {tuple(state[f"emulation_{part}_forward_activation"].tolist()) for part in layer.parts}
    # Query, key and value project the same input; the other products each have their own.
    assert len(histories) == 4
    twin = emul.nn.MultiheadAttention(8, 2, rule=rule, name="attn")
    twin.load_state_dict(state)
    assert_same_bits(run(twin, inputs[3:]), run(layer, inputs[3:]))


def test_a_checkpoint_runs_all_products_again_with_their_words():
    rule = Rule(".*", forward=SR.forward, grad_input=Product(gradient=SR.forward.activation))
    layer, x = emul.nn.MultiheadAttention(8, 2, rule=rule), draw(5, 2, 8).requires_grad_()
    twin = copy.deepcopy(layer)
    output, _ = layer(x, x, x)
    again, _ = checkpoint(twin, x, x, x, use_reentrant=False)
    pairs = [torch.autograd.grad(one.square().sum(), x) for one in (output, again)]
    assert torch.equal(output, again)
    assert torch.equal(*(gradient for (gradient,) in pairs))
    assert twin.emulation.step == 6


def encoder(**options) -> nn.TransformerEncoder:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, **options)
    return nn.TransformerEncoder(layer, 2)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


PADDING = torch.tensor([[False] * 4, [False, False, True, True]])


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage:UserWarning")
@pytest.mark.parametrize("padding", [None, PADDING], ids=["whole", "padded"])
def test_a_transformer_in_evaluation_calls_its_emulated_layers(padding):
    # Without gradients torch would read the weights of a whole layer into one fused kernel, and pack what is not padded.
    model, x = encoder(), draw(2, 4, 8)
    native = copy.deepcopy(model).eval()
    emul.swap_(model, Recipe((COARSE,)))
    expected = model(x, src_key_padding_mask=padding)
    model.eval()
    with torch.no_grad():
        output, other = model(x, src_key_padding_mask=padding), native(x, src_key_padding_mask=padding)
        assert torch.equal(output, expected)
        real = slice(None) if padding is None else ~padding
        assert not torch.equal(output[real], other[real])
        for twin in (copy.deepcopy(model), torch.nn.Sequential(model)[0]):
            assert torch.equal(twin(x, src_key_padding_mask=padding), expected)
        emul.restore_(model)
        assert torch.equal(model(x, src_key_padding_mask=padding), other)
    assert [type(module) for module in model.modules()] == [type(module) for module in native.modules()]
    assert [list(vars(module)) for module in model.modules()] == [list(vars(module)) for module in native.modules()]


def test_layers_beside_a_native_attention_are_called_too():
    model, x = encoder().eval(), draw(2, 4, 8)
    rules = Rule(".*self_attn", keep=True), Rule(".*linear.", forward=COARSE.forward)
    with torch.no_grad():
        native = model(x)
        emul.swap_(model, Recipe(rules))
        output = model(x)
    assert not torch.equal(output, native)
    found = {layer.name: layer.native for layer in emul.swap_report(model).layers}
    assert found["layers.0.linear1"] == ""
    assert found["layers.0.self_attn"] == "kept by rule 0"


def test_a_whole_transformer_trains():
    model = nn.Transformer(8, 2, 1, 1, 16, dropout=0.1, batch_first=True)
    emul.swap_(model, Recipe((ALL,)))
    names = {layer.name for layer in emul.swap_report(model).emulated}
    assert {"decoder.layers.0.self_attn", "decoder.layers.0.multihead_attn", "decoder.layers.0.linear2"} <= names
    causal = nn.Transformer.generate_square_subsequent_mask(3)
    model(draw(2, 4, 8), draw(2, 3, 8), tgt_mask=causal, tgt_is_causal=True).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.nightly
# torch hides this warning of its own where it is not an error
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_compiled_attention_gives_the_eager_bits():
    torch._dynamo.reset()
    layer, x = emul.nn.MultiheadAttention(8, 2, rule=COARSE), draw(5, 2, 8)
    compiled = torch.compile(copy.deepcopy(layer), backend="aot_eager")
    for _ in range(2):
        assert torch.equal(compiled(x, x, x)[0], layer(x, x, x)[0])


X = torch.ones(2, 4)
MHA = emul.nn.MultiheadAttention(4, 2, rule=COARSE, name="attn")


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: attention(X, X, X, rule=Rule(".*", keep=True)), ValueError, "keeps layers native: call torch's"),
        (lambda: attention(X.half(), X, X, rule=COARSE), TypeError, "the query of attention '' is torch.float16"),
        (lambda: attention(X, X.double(), X, rule=COARSE), TypeError, "and its key torch.float64: convert one"),
        (lambda: attention(X, X, X[0], rule=COARSE), ValueError, r"the value of attention '' has shape \[4\]: give"),
        (lambda: attention(X, X[:, 1:], X, rule=COARSE), ValueError, r"key \[2, 3\] and value \[2, 4\]: give"),
        (lambda: attention(X, X, X[1:], rule=COARSE, name="a"), ValueError, r"the query of attention 'a' is \[2, 4\]"),
        (
            lambda: attention(X.expand(3, 2, 4), X.expand(2, 2, 4), X, rule=COARSE),
            ValueError,
            "give leading dimensions that broadcast, or enable_gqa",
        ),
        (
            lambda: attention(X.expand(3, 2, 2, 4), *[X.expand(2, 2, 2, 4)] * 2, rule=COARSE, enable_gqa=True),
            ValueError,
            r"value \[2, 2, 2, 4\]: give leading dimensions that broadcast$",
        ),
        (lambda: attention(X, X, X, rule=COARSE, enable_gqa=True), ValueError, r"give \[..., heads, positions"),
        (
            lambda: attention(X.expand(3, 2, 4), X.expand(2, 2, 4), X.expand(2, 2, 4), rule=COARSE, enable_gqa=True),
            ValueError,
            "the query's heads to be a multiple of the key's",
        ),
        (lambda: attention(X, X, X, X, is_causal=True, rule=COARSE), ValueError, "attn_mask and is_causal=True: give"),
        (lambda: attention(X, X, X, X[:, :2].long(), rule=COARSE), TypeError, "is torch.int64: give torch.bool or"),
        (lambda: attention(X, X, X, X, rule=COARSE), ValueError, r"has shape \[2, 4\]: give one that broadcasts to"),
        (lambda: attention(X, X, X, dropout_p=1.5, rule=COARSE), ValueError, "dropout_p of attention '' is 1.5"),
        (lambda: MHA(X, X, X, is_causal=True), ValueError, "MultiheadAttention 'attn' has is_causal=True and no attn_"),
        (lambda: MHA(X, X[None], X), ValueError, r"the key of MultiheadAttention 'attn' has shape \[1, 2, 4\]"),
        (lambda: MHA(X, X[:, :3], X), ValueError, r"the key of .* has shape \[2, 3\]: give \[positions, batch, 4\]"),
        (lambda: MHA(X, X, X[:1]), ValueError, r"\[2, 1\] keys and \[1, 1\] values"),
        (lambda: MHA(X, X, X, attn_mask=X > 0), ValueError, r"attn_mask of .* has shape \[2, 4\]: give \[2, 2\] or"),
        (lambda: MHA(X, X, X, key_padding_mask=X > 0), ValueError, r"key_padding_mask of .*: give \[1, 2\]"),
        (
            lambda: MHA(X, X, X.double()),
            TypeError,
            "input of MultiheadAttention 'attn' is torch.float64 and its weight",
        ),
        (lambda: MHA(*[torch.nested.nested_tensor([X, X])] * 3), ValueError, "is a nested tensor: pad it, and hide"),
        (lambda: MHA(X, X, X * math.nan), ValueError, "forward of layer 'attn.value'"),
    ],
)
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage:UserWarning")
def test_refused(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()
