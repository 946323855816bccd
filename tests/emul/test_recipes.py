import pytest

from emul import recipes
from numerics import Accumulator, Overflow, Quantizer, Rounding, catalog, parse_format

E4M3 = Quantizer(catalog.E4M3, Rounding.RNE, Overflow.SATURATE)


def test_names_and_functions_are_the_same_recipes():
    assert recipes.names() == ("fp8", "lba12", "lba8")
    for name in recipes.names():
        recipe = recipes.get(name, seed=7)
        assert recipe.name == name
        assert recipe.seed == 7
        assert recipe == getattr(recipes, name)(seed=7)
        assert recipes.get(name).seed == 0


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="no recipe 'fp4': known are fp8, lba12, lba8"):
        recipes.get("fp4")


def test_fp8_emulates_all_three_products_in_binary32():
    (rule,) = recipes.fp8().rules
    sums = Accumulator(catalog.BINARY32, Rounding.RNE, Overflow.IEEE)
    gradient = Quantizer(catalog.E5M2, Rounding.SR, Overflow.SATURATE, 32)
    assert rule.forward.accumulator == rule.grad_input.accumulator == rule.grad_weight.accumulator == sums
    assert (rule.forward.activation, rule.forward.weight) == (E4M3, E4M3)
    assert (rule.grad_input.gradient, rule.grad_input.weight) == (gradient, E4M3)
    assert (rule.grad_weight.gradient, rule.grad_weight.activation) == (gradient, E4M3)


def test_fp8_rounds_gradients_without_bias_from_the_stated_magnitude_on():
    # Unbiased where no bit of a float32 lies below 2**-32 of the ulp that E5M2 has there.
    def exact(exponent: int) -> bool:
        ulp = max(exponent, catalog.E5M2.emin) - catalog.E5M2.mantissa_bits
        return exponent - catalog.BINARY32.mantissa_bits >= ulp - 32

    assert all(exact(exponent) for exponent in range(-25, 16))
    assert not exact(-26)


@pytest.mark.parametrize(
    ("name", "products", "sums"),
    [("lba12", (7, 4, 12), (7, 4, 10)), ("lba8", (4, 3, 5), (4, 3, 3))],
)
def test_lba_is_the_paper_s_fused_multiply_add(name, products, sums):
    (rule,) = recipes.get(name).rules
    accumulator = rule.forward.accumulator
    assert accumulator.format == catalog.lba(*sums, paper=True)
    assert accumulator.product == Quantizer(catalog.lba(*products, paper=True), Rounding.RTZ, Overflow.SATURATE)
    assert (accumulator.rounding, accumulator.overflow) == (Rounding.RTZ, Overflow.SATURATE)
    assert (accumulator.chunk, accumulator.outer) == (16, None)
    assert (rule.forward.activation, rule.forward.weight) == (E4M3, E4M3)


@pytest.mark.parametrize("name", ["lba12", "lba8"])
def test_lba_gradients_are_native_products_of_the_quantized_operands(name):
    (rule,) = recipes.get(name).rules
    assert rule.grad_input.accumulator is rule.grad_weight.accumulator is None
    assert rule.grad_input.gradient is rule.grad_weight.gradient is None
    assert (rule.grad_input.weight, rule.grad_weight.activation) == (E4M3, E4M3)


def test_lba_s_ranges_are_the_paper_s():
    # arXiv 2401.14110, eq. 2: largest 2**(2**E - 1 - b) * (2 - 2**-M), smallest 2**-b.
    for name, largest, smallest in (
        ("lba_m7e4_b10_paper", 63.75, 2.0**-10),
        ("lba_m7e4_b12_paper", 15.9375, 2.0**-12),
        ("lba_m4e3_b3_paper", 31.0, 2.0**-3),
        ("lba_m4e3_b5_paper", 7.75, 2.0**-5),
    ):
        assert (parse_format(name).max, parse_format(name).smallest_normal) == (largest, smallest)
