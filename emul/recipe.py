"""Recipe: which layers of a model are emulated, and in which arithmetic. Frozen records; torch is not needed."""

import math
import re
from dataclasses import dataclass, field

from numerics import Accumulator, MatrixUnit
from numerics.formats.integers import whole
from numerics.formats.naming import made_from, named
from numerics.formats.spelling import spelled
from numerics.questions import check_question

from .norm import BATCH_NORMS, Norm
from .operands import Operand, checked_operand, stages_of

#: The operands of each of a layer's three products.
ROLES = {
    "forward": ("activation", "weight"),
    "grad_input": ("gradient", "weight"),
    "grad_weight": ("gradient", "activation"),
}


@dataclass(frozen=True, kw_only=True)
class ChainGradient:
    """The gradient of the chain of roundings in an accumulator: which of a sum's terms the gradient reaches.

    rule: "immediate", a term is reached where its own step let it through; "recursive", where every later step let the
    running sum through too. event, what stops a step: "overflow", or "diff", that the term left the sum as it was, or
    changed it by no more than `tolerance` times its magnitude. Source: arXiv 2401.14110, fine-grained gradients.
    """

    rule: str = "recursive"
    event: str = "diff"
    tolerance: float = 0.0

    __repr__ = spelled

    def __post_init__(self) -> None:
        for label, names in (("rule", ("immediate", "recursive")), ("event", ("overflow", "diff"))):
            if getattr(self, label) not in names:
                raise ValueError(f"{label} = {getattr(self, label)!r}: give {' or '.join(map(repr, names))}")
        number = self.tolerance
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < math.inf:
            raise ValueError(f"tolerance = {number!r}: give a relative change of a sum, a number of at least 0")
        if number and self.event == "overflow":
            raise ValueError(f"tolerance = {number} with event = 'overflow': it belongs to 'diff'")


@dataclass(frozen=True, kw_only=True)
class Product:
    """The arithmetic of one matrix product: what is done to its operands, and the accumulator of its sums.

    accumulator None is torch's own native product, in the dtype of the operands. An operand is a numerics.Quantizer, a
    record of `emul.operands`, or a tuple of these, applied from left to right; None leaves it as it is. Product() is
    therefore torch's own product of the operands as they are. Block formats and masks lie along the axis that this
    product sums over. Stages that scale leave their factor to the end: outputs are multiplied (or divided) by that of
    the first operand and then by that of the second, each once, in the operands' dtype.

    samples: independent draws of the gradient; the products of all are added in their order and divided by their
    number, in the operands' dtype. So an unbiased gradient has the variance of one draw over `samples`.
    chain: of a forward product, what its roundings do to the gradient; None for the identity.

    Errors: TypeError for other types; ValueError for an impossible combination, with what to change.
    """

    accumulator: Accumulator | MatrixUnit | None = None
    activation: Operand | None = None
    weight: Operand | None = None
    gradient: Operand | None = None
    samples: int = 1
    chain: ChainGradient | None = None

    __repr__ = spelled

    def __post_init__(self) -> None:
        if self.accumulator is not None and not isinstance(self.accumulator, Accumulator | MatrixUnit):
            raise TypeError(
                f"accumulator = {named(self.accumulator)}: give {made_from(self.accumulator, 'numerics.Accumulator')},"
                " or None for torch's own product"
            )
        if isinstance(self.accumulator, MatrixUnit) and self.accumulator.scale is not None:
            raise ValueError(
                f"accumulator = {named(self.accumulator)}, a unit with scales of its own operands, which a layer's"
                " product does not have: give the unit without scales, and block formats as operands"
            )
        for role in ("activation", "weight", "gradient"):
            object.__setattr__(self, role, checked_operand(role, getattr(self, role)))
        self._check_samples()
        if self.chain is not None and not isinstance(self.chain, ChainGradient):
            raise TypeError(f"chain = {self.chain!r}: give an emul.ChainGradient, or None for the identity")
        if self.chain is not None and not isinstance(self.accumulator, Accumulator):
            raise ValueError(
                f"chain = {self.chain} without a numerics.Accumulator: there is no chain of roundings to differentiate;"
                " give one, or leave chain out"
            )
        if self.chain is not None and isinstance(self.accumulator, Accumulator):
            check_question(self.accumulator, self.chain.rule, self.chain.event, self.chain.tolerance)

    def _check_samples(self) -> None:
        count = whole(self.samples)
        if count is None or not 1 <= count <= 1 << 16:
            raise ValueError(f"samples = {self.samples!r}: give the number of draws of the gradient, from 1 to 65536")
        object.__setattr__(self, "samples", count)
        if count > 1 and not any(stage.stochastic for stage in stages_of(self.gradient)):
            raise ValueError(
                f"samples = {count} of a gradient without randomness, {named(self.gradient)}: all would be the same;"
                " give a stochastic gradient, or samples=1"
            )

    @property
    def stochastic(self) -> bool:
        """Whether it needs random words."""
        stages = [stage for role in ("activation", "weight", "gradient") for stage in stages_of(getattr(self, role))]
        sums = isinstance(self.accumulator, Accumulator) and self.accumulator.stochastic
        return sums or any(stage.stochastic for stage in stages)


@dataclass(frozen=True)
class Rule:
    """The arithmetic of the modules whose qualified name matches `pattern` in full and whose type is one of `types`.

    pattern: a regular expression; the root module is called "". types: class names such as "Linear" and "Conv2d";
    functions that the matching modules call, such as "matmul" and "linear", and what they call that stays native and is to
    be kept: the class names of your own torch.autograd.Functions, "Thread" and what else the report lists. Empty for every
    layer that `emul.nn` has, but for norms, and for all functions. So Rule(".*head", types=("matmul",), ...) is for the
    calls of @ in every module whose name ends in "head". keep=True leaves what it matches native.

    A layer has three products: forward of activation and weight, grad_input of gradient and weight, grad_weight of
    gradient and activation. Each is described on its own; a quantizer that is given for one is not used in another.
    The gradient of the activation and of the weight passes the stages of the forward operands as each of them says.
    norm: the form of batch norms, for a rule whose types are such. Norm layers are matched by rules that name their
    type or have keep=True, and by no other; `emul.nn.normalization` says what the products are to them.

    Errors: ValueError for a pattern that is no regular expression, a quantizer for an operand that the product does
    not have, a gradient that nothing would use, products together with keep=True, and a rule that changes nothing.
    """

    pattern: str
    types: tuple[str, ...] = field(default=(), kw_only=True)
    keep: bool = field(default=False, kw_only=True)
    forward: Product = field(default=Product(), kw_only=True)
    grad_input: Product = field(default=Product(), kw_only=True)
    grad_weight: Product = field(default=Product(), kw_only=True)
    norm: Norm | None = field(default=None, kw_only=True)

    __repr__ = spelled

    def __post_init__(self) -> None:
        if not isinstance(self.pattern, str):
            raise TypeError(f"pattern = {self.pattern!r}: give a regular expression as a string")
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"pattern {self.pattern!r} is not a regular expression: {error}") from error
        types = self.types
        if isinstance(types, str) or not all(isinstance(name, str) for name in types):
            raise TypeError(f'types = {types!r}: give a tuple of class names, such as ("Linear", "Conv2d")')
        object.__setattr__(self, "types", tuple(types))
        for product, roles in ROLES.items():
            self._check_product(product, roles)
        self._check_norm()
        self._check_chain()
        emulates = self.norm is not None or any(getattr(self, product) != Product() for product in ROLES)
        if self.keep and emulates:
            raise ValueError(
                f"the rule {self.pattern!r} has keep=True, which leaves layers native, and products: drop one"
            )
        if not self.keep and not emulates:
            raise ValueError(
                f"the rule {self.pattern!r} changes nothing: give it a forward, grad_input or grad_weight product,"
                " or keep=True to leave what it matches native"
            )

    def _check_norm(self) -> None:
        if self.norm is None:
            return
        if not isinstance(self.norm, Norm):
            raise TypeError(f"norm = {self.norm!r}: give an emul.Norm, or None")
        if not self.types or not set(self.types) <= set(BATCH_NORMS):
            raise ValueError(
                f"norm = {self.norm} and types = {self.types}: it is the form of batch norms; give types among"
                f" {', '.join(BATCH_NORMS)}"
            )

    def _check_product(self, product: str, roles: tuple[str, ...]) -> None:
        value = getattr(self, product)
        if not isinstance(value, Product):
            raise TypeError(f"{product} = {value!r}: give an emul.Product")
        for role in ("activation", "weight", "gradient"):
            if role not in roles and getattr(value, role) is not None:
                raise ValueError(
                    f"{product} has no {role} to quantize: its operands are {roles[0]} and {roles[1]};"
                    f" give the {role} quantizer to a product that has one"
                )
        if product == "forward":
            return
        for role in roles:
            stages = stages_of(getattr(value, role))
            if stages == stages_of(getattr(self.forward, role)):
                continue  # one record may serve both
            for stage in stages:
                if stage.gradient not in ("straight", type(stage).default_gradient):
                    raise ValueError(
                        f"{product} has gradient = {stage.gradient!r} for its {role}: a gradient passes the operands of"
                        " the forward product alone; give it there, or the same operand to both"
                    )
        if value.chain is not None:
            raise ValueError(
                f"{product} has a chain: it is the forward product whose sums a gradient passes; give it there"
            )

    def _check_chain(self) -> None:
        """With a chain the two gradients are sums over the forward product's own operands."""
        if self.forward.chain is None:
            return
        for product, role in (("grad_input", "weight"), ("grad_weight", "activation")):
            value, same = getattr(self, product), stages_of(getattr(self.forward, role))
            if value != Product(**{role: getattr(value, role)}) or stages_of(getattr(value, role)) != same:
                raise ValueError(
                    f"{product} beside forward.chain: the gradient of a chain is computed with the {role} of the forward"
                    f" product and native sums; give {product}=Product({role}=...) with the same {role}"
                )

    @property
    def stochastic(self) -> bool:
        """Whether a product needs random words, so that steps differ."""
        return any(getattr(self, product).stochastic for product in ROLES)

    @property
    def remembers(self) -> bool:
        """Whether a stage of an operand keeps numbers from step to step."""
        products = [(getattr(self, product), role) for product, roles in ROLES.items() for role in roles]
        return any(stage.remembers > 0 for product, role in products for stage in stages_of(getattr(product, role)))

    @property
    def arithmetic(self) -> dict[str, str]:
        """For each product whether its sums are emulated, or torch's, of emulated operands or of the layer's own."""
        found = {product: _sums(getattr(self, product)) for product in ROLES}
        if self.forward.chain is not None:
            found |= dict.fromkeys(("grad_input", "grad_weight"), "torch's sums through the forward chain")
        return found

    def matches(self, name: str, type_name: str) -> bool:
        """Whether a module of this qualified name and class name falls under the rule."""
        return re.fullmatch(self.pattern, name) is not None and (not self.types or type_name in self.types)


def _sums(product: Product) -> str:
    if product.accumulator is not None:
        return "emulated"
    return "torch's own" if product == Product() else "torch's sums of emulated operands"


@dataclass(frozen=True)
class Recipe:
    """An ordered list of rules, of which the first that matches a layer wins, and the seed of all random words.

    seed: an integer in [0, 2**64).
    """

    rules: tuple[Rule, ...]
    seed: int = 0
    name: str = ""

    __repr__ = spelled

    def __post_init__(self) -> None:
        if isinstance(self.rules, Rule) or not all(isinstance(rule, Rule) for rule in self.rules):
            raise TypeError(f"rules = {self.rules!r}: give a tuple of emul.Rule")
        object.__setattr__(self, "rules", tuple(self.rules))
        if not self.rules:
            raise ValueError("a recipe without rules matches nothing: give it at least one emul.Rule")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 1 << 64:
            raise ValueError(f"seed = {self.seed!r}: give an integer in [0, 2**64)")

    def match(self, name: str, type_name: str) -> int | None:
        """Index of the first rule that matches a module of this qualified name and class name, None if none does.

        For layers with products, and for functions, by their name in place of the class's. A norm is besides matched by
        no rule that neither names its type nor keeps what it matches.
        """
        return next((i for i, rule in enumerate(self.rules) if rule.matches(name, type_name)), None)
