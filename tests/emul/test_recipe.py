import re
from dataclasses import FrozenInstanceError

import pytest

from emul import Product, Recipe, Rule
from numerics import Accumulator, Quantizer, catalog

E4M3 = Quantizer(catalog.E4M3)
FORWARD = Product(activation=E4M3)


def test_the_first_matching_rule_wins():
    recipe = Recipe(
        (
            Rule("head", keep=True),
            Rule(r"body\.\d+", types=("Conv2d",), forward=FORWARD),
            Rule(".*", types=("Linear", "Conv2d"), forward=FORWARD),
        )
    )
    assert recipe.match("head", "Linear") == 0
    assert recipe.match("body.3", "Conv2d") == 1
    assert recipe.match("body.3", "Linear") == 2
    assert recipe.match("", "Linear") == 2
    assert recipe.match("body.3", "LSTM") is None


def test_a_pattern_matches_the_whole_name_and_the_empty_one_the_root():
    rule = Rule("fc", forward=FORWARD)
    assert rule.matches("fc", "Linear")
    assert not rule.matches("fc1", "Linear")
    assert not rule.matches("net.fc", "Linear")
    root = Rule("", forward=FORWARD)
    assert root.matches("", "Linear")
    assert not root.matches("fc", "Linear")


def test_records_are_frozen_hashable_and_equal_by_value():
    def build() -> Recipe:
        return Recipe((Rule(".*", types=("Linear",), forward=Product(activation=Quantizer(catalog.E4M3))),), 3, "mine")

    assert build() == build()
    assert len({build(), build()}) == 1
    with pytest.raises(FrozenInstanceError):
        build().seed = 4


def test_lists_become_tuples():
    recipe = Recipe([Rule(".*", types=["Linear"], forward=FORWARD)])
    assert recipe.rules[0].types == ("Linear",)
    assert hash(recipe) == hash(Recipe((Rule(".*", types=("Linear",), forward=FORWARD),)))


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (
            lambda: Product(accumulator=E4M3),
            TypeError,
            "accumulator = Quantizer(e4m3fn): give numerics.Accumulator(e4m3fn), or None for torch's own product",
        ),
        (lambda: Product(weight=catalog.E4M3), TypeError, "weight = e4m3fn: give numerics.Quantizer(e4m3fn), or None"),
        (lambda: Rule("(", forward=FORWARD), ValueError, "pattern '(' is not a regular expression"),
        (lambda: Rule(3, forward=FORWARD), TypeError, "pattern = 3: give a regular expression"),
        (lambda: Rule(".*", types="Linear", forward=FORWARD), TypeError, "types = 'Linear': give a tuple"),
        (lambda: Rule(".*", types=(int,), forward=FORWARD), TypeError, "give a tuple of class names"),
        (lambda: Rule(".*"), ValueError, "the rule '.*' changes nothing: give it a forward"),
        (lambda: Rule(".*", keep=True, forward=FORWARD), ValueError, "'.*' has keep=True, which leaves layers native"),
        (lambda: Rule(".*", forward=E4M3), TypeError, "give an emul.Product"),
        (
            lambda: Rule(".*", forward=Product(gradient=E4M3)),
            ValueError,
            "forward has no gradient to quantize: its operands are activation and weight",
        ),
        (lambda: Rule(".*", grad_input=Product(activation=E4M3)), ValueError, "grad_input has no activation"),
        (lambda: Rule(".*", grad_weight=Product(weight=E4M3)), ValueError, "grad_weight has no weight"),
        (lambda: Recipe(()), ValueError, "a recipe without rules matches nothing"),
        (lambda: Recipe(Rule(".*", forward=FORWARD)), TypeError, "give a tuple of emul.Rule"),
        (lambda: Recipe(("fp8",)), TypeError, "rules = ('fp8',): give a tuple of emul.Rule"),
        (lambda: Recipe((Rule(".*", forward=FORWARD),), -1), ValueError, "seed = -1: give an integer in [0, 2**64)"),
        (lambda: Recipe((Rule(".*", forward=FORWARD),), 2**64), ValueError, "seed = 18446744073709551616"),
        (lambda: Recipe((Rule(".*", forward=FORWARD),), 0.5), ValueError, "seed = 0.5"),
    ],
)
def test_refused(call, error, sentence):
    with pytest.raises(error, match=re.escape(sentence)):
        call()


def test_an_accumulator_alone_is_a_rule():
    product = Product(accumulator=Accumulator(catalog.BFLOAT16))
    assert Rule(".*", grad_weight=product).grad_weight is product
