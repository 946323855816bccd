"""Recipes and their parts print as the Python that makes them again; a report prints in one line."""

import pytest

import emul
import numerics
from emul import Norm, Product, Recipe, Rule, operands, recipes, schedule
from emul.operands import LUQ, MVUE, SAWB, Rounded, Scaled
from numerics import Accumulator, Quantizer, catalog

SCOPE = {name: getattr(numerics, name) for name in numerics.__all__}
SCOPE |= {name: getattr(emul, name) for name in ("ChainGradient", "Norm", "Product", "Recipe", "Rule")}
SCOPE |= {name: getattr(operands, name) for name in operands.__all__}
SCOPE |= {name: getattr(schedule, name) for name in ("GradientToNoise", "LearningRate", "Phase", "Schedule")}
E4M3 = Quantizer(catalog.E4M3)

RECORDS = [
    (Product(weight=E4M3, activation=(SAWB(), LUQ(eta=0.5)), samples=1), None),
    (Product(gradient=(LUQ(), MVUE(2, 4)), samples=2), "Product(gradient=(LUQ(), MVUE()), samples=2)"),
    (Rule("head", keep=True), "Rule('head', keep=True)"),
    (Rule(".*", types=("Linear",), forward=Product(weight=Scaled(E4M3, history=4))), None),
    (Rule(".*", types=("BatchNorm2d",), norm=Norm("range")), "Rule('.*', types=('BatchNorm2d',), norm=Norm('range'))"),
    (Rounded(E4M3, gradient="clipped"), "Rounded(Quantizer(parse_format('e4m3fn')), gradient='clipped')"),
    (
        Recipe((Rule("", keep=True),), 3, "mine"),
        "Recipe((Rule('', keep=True),), 3, 'mine')",
    ),
    (
        Rule(".*", forward=Product(accumulator=Accumulator(catalog.BINARY16))),
        "Rule('.*', forward=Product(accumulator=Accumulator(parse_format('binary16'))))",
    ),
]


@pytest.mark.parametrize(("record", "text"), RECORDS, ids=[str(i) for i in range(len(RECORDS))])
def test_what_is_printed(record, text):
    assert text is None or repr(record) == text
    assert eval(repr(record), SCOPE) == record


def test_every_recipe_and_schedule_makes_itself_again_in_a_few_lines():
    for name in recipes.names():
        recipe, plan = recipes.get(name, 7), recipes.schedule(name)
        assert eval(repr(recipe), SCOPE) == recipe
        assert eval(repr(plan), SCOPE) == plan
        assert len(repr(recipe)) < 1200
    assert len(repr(recipes.get("lba12"))) < 430


def test_a_report_in_one_line():
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2))
    rules = (Rule(".*", forward=Product(weight=E4M3)), Rule("0", keep=True))
    assert repr(emul.swap_report(emul.swap_(net, Recipe(rules)))) == (
        "<SwapReport: 1 emulated, 1 native, 0 kinds of calls, 1 rule that decides about nothing; print() lists them>"
    )
