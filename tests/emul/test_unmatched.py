"""Rules that decide about nothing: refused where they are mistakes, else in the report with the reason."""

import pytest
import torch
from torch import nn

import emul
from emul import Norm, Product, Recipe, Rule, swap_, swap_report
from numerics import Accumulator, catalog

HALF = Product(accumulator=Accumulator(catalog.BINARY16))
ALL = Rule(".*", forward=HALF)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).flatten(1)) @ torch.ones(3, 3)


def lines(*rules: Rule, run: bool = False) -> list[str]:
    """What the report says of rules, swapped."""
    net = swap_(Net(), Recipe(rules))
    if run:
        net(torch.ones(1, 1, 4, 4))
    return [line for line in str(swap_report(net)).splitlines() if line.startswith("rule")]


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (
            Rule("haed", keep=True),
            "its pattern 'haed' matches no name of a module: the nearest is 'head'; or leave it out",
        ),
        (Rule("nowhere", keep=True), "'nowhere' matches no name of a module: there are 'features', 'features.0', "),
        (Rule("0", keep=True), r"matches no whole name, only part of 'features.0': write '.*\\\\.0'"),
        (Rule("features.", keep=True), r"no whole name, only part of 'features.0': write '.*features..*'"),
        (
            Rule("features", keep=True),
            r"matches 'features' itself and none of the modules in it: 'features\\\\..*' matches",
        ),
        (
            Rule(".*", types=("Linaer",), keep=True),
            "no module has the type 'Linaer' of its types: the nearest are 'Linear'",
        ),
        (
            Rule(".*", types=("linear", "batchnorm2d"), keep=True),
            "the type 'batchnorm2d' of its types: the nearest are",
        ),
        (
            Rule("head", types=("Conv2d",), keep=True),
            "nothing that its pattern matches is a Conv2d; 'head' is a Linear; or",
        ),
        (
            Rule(r"features.*", types=("Linear", "BatchNorm1d"), forward=HALF),
            "nothing that its pattern matches is a Linear or a BatchNorm1d; 'features.0' is a Conv2d; or leave it out",
        ),
        (Rule(".*", types=("Relu",), keep=True), "no module has the type 'Relu' of its types: the nearest is 'ReLU'"),
    ],
)
def test_a_rule_that_can_decide_about_nothing_is_refused_with_what_is_near(rule, sentence):
    net = Net()
    with pytest.raises(ValueError, match=f"rule 0 of the recipe 'mine' decides about nothing: .*{sentence}"):
        swap_(net, Recipe((rule, ALL), name="mine"))
    assert type(net.head) is nn.Linear
    planned = swap_report(net, Recipe((rule, ALL)))
    assert planned.unused == (0,)
    assert planned.idle[0].mistake
    assert str(planned).splitlines()[-1].startswith("rule 0 decides about nothing: ")


def test_a_rule_for_other_models_too_is_reported():
    ranges = Rule(".*", types=("BatchNorm1d",), norm=Norm("range"))
    assert lines(ranges, ALL) == ["rule 0 decides about nothing: nothing that its pattern matches is a BatchNorm1d"]
    names = Rule(".*", types=("Conv1d", "Conv3d"), forward=HALF)
    assert lines(names, ALL) == [
        "rule 0 decides about nothing: nothing that its pattern matches is a Conv1d or a Conv3d"
    ]


def test_a_rule_behind_one_that_matches_all_is_reported_with_it():
    assert lines(ALL, Rule("head", keep=True)) == [
        "rule 1 decides about nothing: rule 0 before it decides about all that it matches"
    ]
    narrow = Rule(".*", types=("Linear", "Conv2d"), forward=HALF)
    assert lines(narrow, Rule("head", types=("Linear",), keep=True))[0].endswith("decides about all that it matches")
    # The first may decide about layers alone: the second is for functions that head might call.
    assert "rule 0 before it" not in str(lines(narrow, Rule("head", keep=True)))


def test_a_rule_for_calls_waits_for_them():
    kept = Rule("", keep=True)
    waiting = "rule 0 has decided about nothing yet: it matches no layer, and functions are seen when they are called"
    (line,) = lines(kept, ALL)
    assert line == f"{waiting}; its pattern matches '' itself and none of the modules in it: '.*' matches these"
    assert lines(Rule(".*", types=("matmul",), forward=HALF), ALL) == [waiting]
    for rule in (kept, Rule(".*", types=("matmul",), forward=HALF)):
        assert lines(rule, ALL, run=True) == []  # one that keeps calls native has decided too
    assert lines(Rule("head", types=("matmul",), forward=HALF), ALL) == [waiting]  # it may call one
    (line,) = lines(Rule(".*", types=("bmm",), forward=HALF), ALL, run=True)
    assert line == "rule 0 decides about nothing: nothing that its pattern matches is a bmm"
    (line,) = lines(Rule("features.2", forward=HALF), ALL, run=True)
    assert (
        line == "rule 0 decides about nothing: nothing that its pattern matches has products that it could decide about"
    )


def test_types_of_a_users_own_and_of_emul_are_known():
    class Own(nn.Linear):
        pass

    model = nn.Sequential(nn.Linear(2, 2), Own(2, 2))
    swap_(model, Recipe((Rule(".*", types=("Own",), keep=True), Rule(".*", types=("SwiGLU",), keep=True), ALL)))
    assert swap_report(model).unused == (1,)
    with pytest.raises(ValueError, match="no module has the type 'Own'"):
        swap_(nn.Sequential(nn.Linear(2, 2)), Recipe((Rule(".*", types=("Own",), keep=True), ALL)))


def test_one_layer_alone_is_told_its_name():
    with pytest.raises(ValueError, match="'fc' matches no name of a module: the model is one module, whose name is ''"):
        swap_(nn.Linear(2, 2), Recipe((Rule("fc", forward=HALF),)))


def test_the_report_of_a_part_knows_the_names_of_the_whole():
    net = swap_(Net(), Recipe((Rule("head", forward=HALF), Rule(r"features\..*", forward=HALF))))
    (line,) = str(swap_report(net.head)).splitlines()[1:]
    assert line.startswith("rule 1 decides about nothing: its pattern 'features")


def test_recipes_by_name_decide_with_all_of_their_rules_on_any_net():
    for name in ("fp8", "bnn", "qnn", "int8_training", "lba", "luq", "mxfp8", "h100_fp8"):
        net = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
        assert len(swap_report(swap_(net, emul.recipes.get(name))).emulated) == 2
