"""`emul.chain`: the operator and the differentiable product give what `numerics.chain_gradients` gives."""

import numpy as np
import pytest
import torch

import emul
from numerics import Accumulator, Quantizer, Rounding, catalog, chain_gradients, parse_format, spec

M4E3 = parse_format("lba_m4e3_b3_paper")
LBA = Accumulator(M4E3, Rounding.RTZ, product=Quantizer(parse_format("lba_m4e3_b5_paper"), Rounding.RTZ), chunk=16)
SR = Accumulator(M4E3, Rounding.SR)


def operands(*shapes):
    draw = np.random.default_rng(0)
    return tuple(torch.from_numpy(Quantizer(catalog.E4M3).quantize(draw.normal(size=s).astype("f"))) for s in shapes)


def test_the_gradient_of_the_product_is_that_of_numpy():
    a, b = operands((2, 3, 40), (40, 5))
    a.requires_grad_()
    b.requires_grad_()
    product = emul.chain.matmul(a, b, LBA)
    assert torch.equal(product, emul.matmul(a.detach(), b.detach(), LBA))
    upstream = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1)).mT  # strided
    product.backward(upstream)
    wanted = chain_gradients(a.detach().numpy(), b.detach().numpy(), upstream.numpy(), LBA)
    for tensor, array in zip((a, b), wanted, strict=True):
        np.testing.assert_array_equal(tensor.grad.numpy(), array)
    exact = emul.chain.chain_gradients(a, b, upstream, LBA, rule="identity")
    assert not torch.equal(exact[0], a.grad)


def test_only_what_is_needed_has_a_gradient():
    a, b = operands((3, 40), (40, 5))
    b.requires_grad_()
    emul.chain.matmul(a, b, LBA).sum().backward()
    assert a.grad is None and b.grad is not None


def test_the_operator_is_sound_and_has_no_second_derivative():
    a, b = operands((3, 40), (40, 5))
    arguments = (a, b, torch.ones(3, 5), spec.dumps(LBA), "immediate", "diff", 0.0, 0, 0)
    tests = ("test_schema", "test_faketensor")
    torch.library.opcheck(torch.ops.emul.chain_gradients.default, arguments, test_utils=tests)
    a.requires_grad_()
    found, _ = emul.chain.chain_gradients(a, b, torch.ones(3, 5), LBA)
    with pytest.raises(NotImplementedError, match="no gradient of its own"):
        found.sum().backward()


def test_the_largest_seed_and_stream_cross_the_dispatcher():
    a, b = operands((2, 8), (8, 3))
    gradient, keys = torch.ones(2, 3), {"rule": "identity", "seed": 2**64 - 1, "stream": 2**63}
    assert emul.chain.chain_gradients(a, b, gradient, SR, **keys)[0].shape == a.shape


QUESTION = ("immediate", "diff", 0.0)


@pytest.mark.parametrize("accumulator", [LBA, SR], ids=["nearest", "stochastic"])
def test_the_differentiable_product_is_an_operator(accumulator):
    a, b = operands((3, 40), (40, 5))
    for tensor in (a, b):
        tensor.requires_grad_()
    torch.library.opcheck(torch.ops.emul.chain_matmul.default, (a, b, spec.dumps(accumulator), *QUESTION, 7, -1))


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch itself does
@pytest.mark.parametrize("rule", ["immediate", pytest.param("recursive", marks=pytest.mark.nightly)])
@pytest.mark.parametrize("dynamic", [False, True])
def test_a_whole_graph_gives_the_eager_bits_and_gradients(dynamic, rule):
    torch.compiler.reset()
    call = lambda a, b: emul.chain.matmul(a * 2, b, LBA, rule=rule).sin()  # noqa: E731
    found = []
    for run in (call, torch.compile(call, fullgraph=True, backend="aot_eager", dynamic=dynamic)):
        leaves = [tensor.requires_grad_() for tensor in operands((3, 40), (40, 5))]
        output = run(*leaves)
        output.sum().backward()
        found.append([output, *(leaf.grad for leaf in leaves)])
    for eager, compiled in zip(*found, strict=True):
        assert torch.equal(eager, compiled)


def test_transforms_give_what_a_loop_gives():
    a, b = operands((4, 3, 40), (40, 5))
    for accumulator, keys in ((LBA, {}), (SR, {"seed": 1})):
        product = lambda one: emul.chain.matmul(one, b, accumulator, **keys)  # noqa: E731, B023
        assert torch.equal(torch.vmap(product)(a), torch.stack([product(one) for one in a]))
        gradient = torch.func.grad(lambda one: product(one).square().sum())  # noqa: B023
        wanted = []
        for one in a:
            leaf = one.clone().requires_grad_()
            product(leaf).square().sum().backward()
            wanted.append(leaf.grad)
        assert torch.equal(gradient(a[0]), wanted[0])
        assert torch.equal(torch.vmap(gradient)(a), torch.stack(wanted))
    masked = lambda one: emul.chain.chain_gradients(one, b, torch.ones(3, 5), LBA)[1]  # noqa: E731
    assert torch.equal(torch.vmap(masked)(a), torch.stack([masked(one) for one in a]))


def test_16_bit_operands_have_gradients_of_their_type():
    a, b = (tensor.bfloat16().requires_grad_() for tensor in operands((3, 40), (40, 5)))
    product = emul.chain.matmul(a, b, LBA)
    wide = [tensor.detach().float().requires_grad_() for tensor in (a, b)]
    wanted = emul.chain.matmul(*wide, LBA)
    assert product.dtype == torch.bfloat16 and torch.equal(product.float(), wanted)
    product.sum().backward()
    wanted.sum().backward()
    for narrow, leaf in zip((a, b), wide, strict=True):
        assert narrow.grad.dtype == torch.bfloat16 and torch.equal(narrow.grad, leaf.grad.bfloat16())
    with pytest.raises(ValueError, match="does not hold: give a"):
        emul.chain.matmul(a, b, Accumulator(catalog.BINARY16))


def test_the_gradient_is_not_differentiated():
    a, b = operands((3, 40), (40, 5))
    a.requires_grad_()
    (of_a,) = torch.autograd.grad(emul.chain.matmul(a, b, LBA).sum(), a, create_graph=True)
    with pytest.raises(NotImplementedError, match="no gradient of its own: masks are steps; differentiate once"):
        of_a.sum().backward()


def test_what_is_refused():
    a, b = operands((3, 4), (4, 5))
    with pytest.raises(ValueError, match="rule 'no' is not known"):
        emul.chain.matmul(a, b, LBA, rule="no")
    with pytest.raises(ValueError, match=r"a stochastic accumulator needs random words: give seed="):
        emul.chain.matmul(a, b, SR)
    with pytest.raises(ValueError, match=r"give seed=, the one of the product"):
        emul.chain.chain_gradients(a, b, torch.ones(3, 5), SR)
    with pytest.raises(TypeError, match="masks are of the steps of a chain"):
        emul.chain.matmul(a, b, catalog.MATRIX_UNITS["h100.f16.f32"])
    with pytest.raises(TypeError, match=r"gradient is torch.float16"):
        emul.chain.chain_gradients(a, b, torch.ones(3, 5).half(), LBA)
    with pytest.raises(ValueError, match="gradient is a meta tensor"):
        emul.chain.chain_gradients(a, b, torch.ones(3, 5, device="meta"), LBA)
    with pytest.raises(ValueError, match=r"seed = -1: give an integer in"):
        emul.chain.chain_gradients(a, b, torch.ones(3, 5), LBA, seed=-1)
