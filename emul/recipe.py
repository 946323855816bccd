"""Recipe: which layers of a model are emulated, and in which arithmetic. Frozen records; torch is not needed."""

import re
from dataclasses import dataclass, field

from numerics import Accumulator, Quantizer
from numerics.formats.naming import made_from, named

from .norm import BATCH_NORMS, Norm

#: The operands of each of a layer's three products.
ROLES = {
    "forward": ("activation", "weight"),
    "grad_input": ("gradient", "weight"),
    "grad_weight": ("gradient", "activation"),
}


@dataclass(frozen=True, kw_only=True)
class Product:
    """The arithmetic of one matrix product: the quantizers of its operands and the accumulator of its sums.

    accumulator None is torch's own native product, in the dtype of the operands. A quantizer None leaves its operand
    as it is. Product() is therefore torch's own product of the operands as they are.
    """

    accumulator: Accumulator | None = None
    activation: Quantizer | None = None
    weight: Quantizer | None = None
    gradient: Quantizer | None = None

    def __post_init__(self) -> None:
        if self.accumulator is not None and not isinstance(self.accumulator, Accumulator):
            raise TypeError(
                f"accumulator = {named(self.accumulator)}: give {made_from(self.accumulator, 'numerics.Accumulator')},"
                " or None for torch's own product"
            )
        for role in ("activation", "weight", "gradient"):
            quantizer = getattr(self, role)
            if quantizer is not None and not isinstance(quantizer, Quantizer):
                raise TypeError(
                    f"{role} = {named(quantizer)}: give {made_from(quantizer, 'numerics.Quantizer')}, or None to leave it"
                    " as it is"
                )


@dataclass(frozen=True)
class Rule:
    """The arithmetic of the layers whose qualified name matches `pattern` in full and whose type is one of `types`.

    pattern: a regular expression; the root module is called "". types: class names such as "Linear" and "Conv2d",
    empty for every type that `emul.nn` has. keep=True leaves what it matches native.

    A layer has three products: forward of activation and weight, grad_input of gradient and weight, grad_weight of
    gradient and activation. Each is described on its own; a quantizer that is given for one is not used in another.
    norm: the form of batch norms, for a rule whose types are such. Norm layers are matched by rules that name their
    type, and by no other; see `emul.nn.normalization` for what the products are to them.

    Errors: ValueError for a pattern that is no regular expression, a quantizer for an operand that the product does
    not have, products together with keep=True, and a rule that changes nothing.
    """

    pattern: str
    types: tuple[str, ...] = field(default=(), kw_only=True)
    keep: bool = field(default=False, kw_only=True)
    forward: Product = field(default=Product(), kw_only=True)
    grad_input: Product = field(default=Product(), kw_only=True)
    grad_weight: Product = field(default=Product(), kw_only=True)
    norm: Norm | None = field(default=None, kw_only=True)

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

    def matches(self, name: str, type_name: str) -> bool:
        """Whether a module of this qualified name and class name falls under the rule."""
        return re.fullmatch(self.pattern, name) is not None and (not self.types or type_name in self.types)


@dataclass(frozen=True)
class Recipe:
    """An ordered list of rules, of which the first that matches a layer wins, and the seed of all random words.

    seed: an integer in [0, 2**64).
    """

    rules: tuple[Rule, ...]
    seed: int = 0
    name: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.rules, Rule) or not all(isinstance(rule, Rule) for rule in self.rules):
            raise TypeError(f"rules = {self.rules!r}: give a tuple of emul.Rule")
        object.__setattr__(self, "rules", tuple(self.rules))
        if not self.rules:
            raise ValueError("a recipe without rules matches nothing: give it at least one emul.Rule")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 1 << 64:
            raise ValueError(f"seed = {self.seed!r}: give an integer in [0, 2**64)")

    def match(self, name: str, type_name: str) -> int | None:
        """Index of the first rule that matches a module of this qualified name and class name, None if none does."""
        return next((i for i, rule in enumerate(self.rules) if rule.matches(name, type_name)), None)
