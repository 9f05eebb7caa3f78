"""Weights out of a bundle, so that they can be trained on: what an export folds into one layer is taken apart again."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from mien.errors import RunError
from mien.runtime import bundle


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer of a network, and the batch norm that its output goes to, which an export folds
    into it.
    """

    module: nn.Conv2d | nn.Linear
    norm: nn.BatchNorm2d | None

    def fill(self, weight: Tensor, bias: Tensor | None) -> None:
        """Take over the folded weights: the batch norm then only adds the bias, as long as it is in evaluation mode."""
        shift = torch.zeros(len(weight)) if bias is None else bias
        self.module.weight.copy_(weight)
        if self.norm:
            rest = torch.zeros(len(weight))
            _set(self.norm, scale=torch.ones(len(weight)), shift=shift, mean=rest, variance=1 - self.norm.eps + rest)
            shift = rest
        if self.module.bias is not None:
            self.module.bias.copy_(shift)


@torch.no_grad()
def fill(network: nn.Module, backbone: nn.Module, name_or_path: str, channels: int, size: tuple[int, int]) -> None:
    """Fill a classifier, its `backbone` and where it fits its head, with the weights of a bundle.

    `channels` and `size` (height, width) are those of the pictures that it takes. Its answers, in evaluation mode, are
    then those of the bundle; call `settle` before it is trained. Raises RunError when the bundle holds another network,
    or one whose layers are more than convolutions, batch norms and linear layers.
    """
    held = _held(name_or_path)
    layers = _layers(network, channels, size)
    own = {id(module) for module in backbone.modules()}
    trunk = [layer for layer in layers if id(layer.module) in own]
    fits = [
        weight.shape == layer.module.weight.shape and (bias is None or layer.norm or layer.module.bias is not None)
        for layer, (weight, bias) in zip(layers, held, strict=False)
    ]
    foreign = _untouched(backbone, trunk)
    if len(held) < len(trunk) or not all(fits[: len(trunk)]) or foreign:
        raise RunError(
            f"the bundle {name_or_path} holds another network than the backbone",
            got=bundle.load(name_or_path).info.origin,
            allowed=[tuple(layer.module.weight.shape) for layer in trunk[:5]] if not foreign else "a network of "
            "convolutions, batch norms and linear layers",
            then="name the backbone that the bundle was made with, or set transfer: scratch",
        )  # fmt: skip
    whole = len(held) == len(layers) and all(fits)
    for layer, (weight, bias) in zip(layers if whole else trunk, held, strict=False):
        layer.fill(weight, bias)


@torch.no_grad()
def settle(network: nn.Module, pictures: Tensor) -> None:
    """Set the batch norms of a filled network to the statistics of normalised pictures (N, C, H, W) float.

    Its answers stay as they are in evaluation mode, and are nearly so in training mode, where a batch norm knows its
    batch alone: scale and shift, which the export has folded away, come back out of those statistics.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    sums: dict[nn.BatchNorm2d, list[Tensor]] = {}

    def look(module: nn.BatchNorm2d, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        values = inputs[0].double()
        found = torch.stack([values.mean((0, 2, 3)), values.square().mean((0, 2, 3))]) * len(values)
        sums[module] = [*sums.get(module, []), found]

    with _evaluating(network), _hooks(norms, look):
        for some in pictures.split(256):
            network(some)
    for norm, found in sums.items():
        mean, square = torch.stack(found).sum(0) / len(pictures)
        spread = (square - mean.square()).clamp_min(0)
        _set(norm, scale=(spread + norm.eps).sqrt(), shift=norm.bias + mean, mean=mean, variance=spread)


def _set(norm: nn.BatchNorm2d, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor) -> None:
    values = {"weight": scale, "bias": shift, "running_mean": mean, "running_var": variance}
    norm.load_state_dict(values, strict=False)


def _held(name_or_path: str) -> list[tuple[Tensor, Tensor | None]]:
    """Weight and bias of every convolution and linear layer of a bundle, in the order in which it computes them."""
    graph = onnx.load(bundle.load(name_or_path).path, load_external_data=False).graph
    known = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    found = []
    for node in graph.node:
        if node.op_type == "Identity" and node.input[0] in known:
            known[node.output[0]] = known[node.input[0]]
        elif node.op_type == "DequantizeLinear" and node.input[0] in known:
            known[node.output[0]] = _dequantised(*(known[name] for name in node.input))
        elif node.op_type in ("Conv", "Gemm") and all(name in known for name in node.input[1:]):
            weight, *bias = (torch.from_numpy(known[name].astype(np.float32)) for name in node.input[1:])
            found.append((weight, bias[0] if bias else None))
    return found


def _dequantised(
    values: NDArray[np.generic], scale: NDArray[np.float32], zero: NDArray[np.generic]
) -> NDArray[np.float32]:
    over = (-1, *[1] * (values.ndim - 1)) if scale.size > 1 else ()
    return (values.astype(np.float32) - zero.astype(np.float32).reshape(over)) * scale.reshape(over)


def _layers(network: nn.Module, channels: int, size: tuple[int, int]) -> list[Layer]:
    """The convolutions and linear layers of a network in the order in which it computes them."""
    order: list[tuple[nn.Module, Tensor, Tensor]] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        order.append((module, inputs[0], output))

    parts = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.BatchNorm2d)]
    with _evaluating(network), _hooks(parts, note):
        network(torch.zeros(1, channels, *size))
    norms = {id(given): module for module, given, _ in order if isinstance(module, nn.BatchNorm2d)}
    return [
        Layer(module, norms.get(id(output))) for module, _, output in order if isinstance(module, nn.Conv2d | nn.Linear)
    ]


def _untouched(backbone: nn.Module, layers: list[Layer]) -> list[str]:
    """The parameters of a backbone that no layer holds."""
    held = {id(part) for layer in layers for part in (layer.module, layer.norm)}
    return [
        f"{place}.{name}"
        for place, module in backbone.named_modules()
        if id(module) not in held
        for name, _ in module.named_parameters(recurse=False)
    ]


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    before = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


@contextmanager
def _hooks(modules: Sequence[nn.Module], hook: Callable[[Any, Any, Any], None]) -> Iterator[None]:
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
