"""The attention of `emul.gpt`, with both of its products emulated."""

from torch import Tensor

from .. import gpt
from ..culprits import given
from ..geometry import BatchGeometry
from ..operators.checks import widened
from ..recipe import Rule
from .base import Emulated
from .functional import attend, causal


class CausalAttention(Emulated, gpt.CausalAttention):
    """`emul.gpt.CausalAttention` whose products are emulated: query, key, value [..., length, depth] -> the same.

    Two products, named as `parts`, as in `emul.nn.functional.scaled_dot_product_attention`: query and probabilities have
    the role of the activation, key and value that of the weight. A module of no weights, so that a model can hold it
    where it would call a function, and rules its type. name and seed, types: as for `Linear`.
    """

    parts = ("scores", "context")

    def __init__(self, *, rule: Rule, seed: int = 0, name: str = "") -> None:
        super().__init__()
        self._start(rule, seed, name)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """[..., length, depth]."""
        label = f"CausalAttention {self.emulation.name!r}"
        query, key, value = map(widened, (query, key, value))
        self._check(query, key)
        self._check(query, value)
        if not query.shape == key.shape == value.shape or query.dim() < 2:
            raise ValueError(
                f"{label} has query {list(query.shape)}, key {list(key.shape)} and value {list(value.shape)}: give three"
                " of one shape [..., length, depth]"
            )

        def product(part: str, activation: Tensor, weight: Tensor) -> Tensor:
            found: Tensor = self._product(activation, weight, BatchGeometry(), part)
            return found

        with given(label, {"query": query, "key": key, "value": value}):
            return attend(product, label, query, key, value, causal(query, key), 0.0)[0]
