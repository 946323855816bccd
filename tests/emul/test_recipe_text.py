"""`emul recipes NAME`: all of a recipe, as Python that makes it again, in three forms; and what it refuses."""

import csv
import io
import sys

import pytest

pytest.importorskip("typer")
from typer.testing import CliRunner

import emul.norm
import emul.operands
import numerics
from emul import recipe_text, recipes
from emul.commands import app
from emul.recipe import ROLES, ChainGradient, Product, Recipe, Rule
from emul.schedule import Phase, Schedule

SCOPE = vars(numerics) | vars(emul.operands) | {"Norm": emul.norm.Norm, "ChainGradient": ChainGradient}
OWN = """
from emul.recipe import Product, Recipe, Rule
from emul.schedule import GradientToNoise, LearningRate, Phase, Schedule
from numerics import Quantizer, catalog
fp8 = Product(activation=Quantizer(catalog.E4M3))
mine = Recipe((Rule("head|tail", keep=True), Rule("body.*", types=("Linear",), forward=fp8)), name="narrow")
nameless = Recipe((Rule(".*", forward=fp8),))
plan = Schedule((
    Phase(recipe=mine, share=3, until=GradientToNoise(every=5)),
    Phase(recipe=None, steps=7, learning_rate=LearningRate("constant"), clip_weights=2.0),
), "trained", "plan")
def made(): return mine
number = 3
"""


def run(*arguments):
    return CliRunner().invoke(app, ["recipes", *arguments])


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_recipes.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("own_recipes", None)


def again(text):
    return None if text == recipe_text.AS_IT_IS or text == recipe_text.NATIVE else eval(text, dict(SCOPE))


def test_what_is_printed_of_each_product_makes_it_again():
    for name in recipes.names():
        lines = list(csv.DictReader(io.StringIO(run(name, "--form", "csv").stdout)))
        for phase in recipes.schedule(name).phases:
            if phase.recipe is None:
                assert [line["arithmetic"] for line in lines if line["phase"] == phase.name] == ["torch's own"]
                continue
            for index, rule in enumerate(phase.recipe.rules):
                told = [line for line in lines if (line["phase"], line["rule"]) == (phase.name, str(index))]
                parts = {(line["product"], line["part"]): line["arithmetic"] for line in told}
                assert len(parts) == len(told)
                if rule.norm is not None:
                    assert again(parts["", "norm"]) == rule.norm
                    continue
                for product, roles in ROLES.items():
                    fields = {role: again(parts[product, role]) for role in roles}
                    fields["accumulator"] = again(parts[product, "sums"])
                    if (product, "samples") in parts:
                        fields["samples"] = int(parts[product, "samples"].split()[0])
                    if (product, "chain") in parts:
                        fields["chain"] = again(parts[product, "chain"])
                    assert Product(**fields) == getattr(rule, product), (name, product)


def test_one_recipe_in_full():
    assert run("luq_fnt").stdout.splitlines()[:12] == [
        "luq_fnt: luq, then fine-tuning in high precision but for the weights",
        "  paper  arXiv 2112.10769",
        "  start  scratch",
        "  more   help(emul.recipes.luq_fnt): its options, and what of it was verified",
        "",
        "phase 1 of 2: luq_fnt, 90 of 93 parts",
        "  learning rate: LearningRate()",
        "  rule 0: every layer",
        "    forward      sums        Accumulator(parse_format('binary32'), overflow=Overflow.IEEE)",
        "                 activation  SAWB()",
        "                 weight      SAWB()",
        "    grad_input   sums        Accumulator(parse_format('binary32'), overflow=Overflow.IEEE)",
    ]


def test_what_is_particular_to_a_recipe_is_told():
    assert "phase 1 of 1: aciq_ptq, no training" in run("aciq_ptq").stdout
    assert "emul.calibration.aciq_ptq" in run("aciq_ptq").stdout
    assert "first=PATTERN; emul compare finds it" in run("bnn").stdout
    assert "clip weights: 1.0" in run("bnn").stdout
    assert "samples     2 draws of the gradient" in run("luq_smp").stdout
    assert "chain       ChainGradient()" in run("lba_fine_grained").stdout
    assert "until: GradientToNoise()" in run("nvfp4_split").stdout
    assert "norm        Norm('range', kind='paper')" in run("int8_training").stdout
    assert "catalog.MATRIX_UNITS['h100.f16.f32']" in run("h100.f16.f32").stdout


def test_a_recipe_of_ones_own(own):
    text = run("own_recipes:plan").stdout
    assert text.splitlines()[:2] == ["own_recipes:plan: plan", "  start  trained net"]
    for line in (
        "phase 1 of 2: narrow, the steps that are left",
        "  until: GradientToNoise(every=5)",
        "  rule 0: layers named 'head|tail': stays native",
        "  rule 1: layers named 'body.*' of the type Linear",
        "phase 2 of 2: native, 7 steps",
        "  learning rate: LearningRate('constant')",
        "  every product is torch's own",
    ):
        assert line in text.splitlines()
    assert run("own_recipes:made").stdout.splitlines()[0] == "own_recipes:made: narrow"
    assert run("own_recipes:nameless").stdout.splitlines()[0] == "own_recipes:nameless"


def test_a_bar_in_a_pattern_does_not_break_a_markdown_table(own):
    header, _, *rows = run("own_recipes:mine", "--form", "markdown").stdout.splitlines()
    assert header == "| phase | length | rule | layers | product | part | arithmetic |"
    assert rows[0] == r"| narrow | all steps | 0 | layers named 'head\|tail' |  |  | stays native |"


def test_lengths_of_phases():
    def phases(*parts):
        rules = Recipe((Rule("x", keep=True),))
        plan = Schedule(tuple(Phase(recipe=rules, **part) for part in parts))
        return [recipe_text.length(phase, recipe_text.Told("", {}, plan)) for phase in plan.phases]

    assert phases({}) == ["all steps"]
    assert phases({"steps": 5}, {}) == ["5 steps", "the steps that are left"]
    assert phases({"share": 1}, {"share": 0.5}) == ["1 of 1.5 parts", "0.5 of 1.5 parts"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("lbaa",),
            "there is no recipe 'lbaa': the nearest are lba, lba8, lba12, lba_fine_grained; emul recipes lists",
        ),
        (("LUQ-SMP",), "the nearest are luq_smp"),
        (("own_recipes:number",), "'own_recipes:number' is 3: give module:name of an emul.Recipe"),
        (("own_recipes:plam",), "own_recipes has no 'plam': the nearest is plan"),
        (("absent:x",), "absent cannot be imported"),
        (("luq", "--all"), "--all belongs to the list, and luq is one recipe"),
    ],
)
def test_refusals_are_one_sentence(own, arguments, sentence):
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("emul: ") and done.stderr.count("\n") == 1
    assert sentence in done.stderr
