"""Containers of torch.nn that in evaluation read the weights of the layers inside, made to call these layers instead.

They have no products of their own: `swap_` gives these classes to the containers of emulated layers, `restore_` takes
them back. Parameters and attributes stay.
"""

from typing import Any

import torch


class TransformerEncoderLayer(torch.nn.TransformerEncoderLayer):
    """torch.nn.TransformerEncoderLayer without the fused path, which is for the activations that this number names."""

    @property
    def activation_relu_or_gelu(self) -> int:
        """0: none of them. The layer calls its activation by another attribute; what was set stays for `restore_`."""
        return 0

    @activation_relu_or_gelu.setter
    def activation_relu_or_gelu(self, value: int) -> None:
        self.__dict__["activation_relu_or_gelu"] = value


class TransformerEncoder(torch.nn.TransformerEncoder):
    """torch.nn.TransformerEncoder without nested tensors, which only the fused path of its layers can take."""

    @property
    def use_nested_tensor(self) -> bool:
        """False; what was set stays for `restore_`."""
        return False

    @use_nested_tensor.setter
    def use_nested_tensor(self, value: bool) -> None:
        self.__dict__["use_nested_tensor"] = value


#: The native containers and what they become.
OPENED: dict[type[Any], type[Any]] = {
    torch.nn.TransformerEncoderLayer: TransformerEncoderLayer,
    torch.nn.TransformerEncoder: TransformerEncoder,
}
