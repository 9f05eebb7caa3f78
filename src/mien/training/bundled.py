"""Weights out of a bundle, so that they can be trained on: what an export folds into one layer is taken apart again."""

from collections.abc import Callable, Iterable, Iterator, Sequence
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
class Held:
    """A convolution or linear layer as a bundle holds it, what follows it folded in; no strides for a linear one."""

    weight: Tensor
    bias: Tensor | None
    strides: tuple[int, ...]
    dilations: tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer of a network, and the batch norm that its output goes to, which an export folds
    into it.
    """

    module: nn.Conv2d | nn.Linear
    norm: nn.BatchNorm2d | None

    def like(self, held: Held) -> bool:
        """Whether this can be the layer that a bundle holds."""
        if isinstance(self.module, nn.Conv2d) and (self.module.stride, self.module.dilation) != (
            held.strides,
            held.dilations,
        ):
            return False
        takes_bias = self.norm is not None or self.module.bias is not None
        return self.module.weight.shape == held.weight.shape and (takes_bias or held.bias is None)

    def fill(self, held: Held) -> None:
        """Take over the folded weights: the batch norm then only adds the bias, as long as it is in evaluation mode."""
        rest = torch.zeros(len(held.weight))
        shift = rest if held.bias is None else held.bias
        self.module.weight.copy_(held.weight)
        if self.norm:
            _set(self.norm, scale=rest + 1, shift=shift, mean=rest, variance=rest + 1 - self.norm.eps)
            shift = rest
        if self.module.bias is not None:
            self.module.bias.copy_(shift)


@torch.no_grad()
def fill(backbone: nn.Module, name_or_path: str, channels: int, size: tuple[int, int]) -> None:
    """Fill a backbone with the weights of a bundle, head left out.

    `channels` and `size` (height, width) are those of the pictures that it takes. Its features, in evaluation mode, are
    then those of the bundle; call `settle` before it is trained. Raises RunError when the bundle holds another network,
    or when the backbone has other layers than convolutions, batch norms and linear ones; BundleError as `bundle.load`.
    """
    known = bundle.load(name_or_path)
    layers = _layers(backbone, channels, size)
    if foreign := _untouched(backbone, layers):
        raise RunError(
            "only a network of convolutions, batch norms and linear layers can start from a bundle",
            got=foreign[:5], then="name a run folder or a file of weights in model.weights",
        )  # fmt: skip
    held = _held(known)
    if len(held) < len(layers) or not all(map(Layer.like, layers, held)):
        raise RunError(
            f"the bundle {name_or_path} holds another network than the backbone", got=known.info.origin,
            then="name the backbone that the bundle was made with, or set transfer: scratch",
        )  # fmt: skip
    for layer, each in zip(layers, held, strict=False):
        layer.fill(each)


@torch.no_grad()
def fill_head(backbone: nn.Module, head: nn.Module, name_or_path: str, labels: Sequence[str]) -> None:
    """Fill the last layer of a classifier's head with what a bundle knows of `labels`, by name; the rest of it stays.

    A head of other hidden layers than the bundle's stays as it is altogether.
    """
    known = bundle.load(name_or_path)
    own = [Layer(module, None) for module in head.modules() if isinstance(module, nn.Linear)]
    held = _held(known)
    if len(held) != len(own) + sum(isinstance(module, nn.Conv2d | nn.Linear) for module in backbone.modules()):
        return
    (*before, output), (*hidden, last) = own, held[-len(own) :]
    if not all(map(Layer.like, before, hidden)) or output.module.weight.shape[1:] != last.weight.shape[1:]:
        return
    for layer, each in zip(before, hidden, strict=True):
        layer.fill(each)
    weight, bias = output.module.weight, output.module.bias
    for place, label in enumerate(labels):
        if label in known.info.labels and bias is not None and last.bias is not None:
            row = known.info.labels.index(label)
            weight[place], bias[place] = last.weight[row], last.bias[row]


@torch.no_grad()
def settle(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the batch norms of a filled network to the statistics of normalised pictures, batches (n, C, H, W) float.

    Its answers stay as they are in evaluation mode, and are nearly so in training mode, where a batch norm knows its
    batch alone: scale and shift, which the export has folded away, come back out of those statistics.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    sums: dict[nn.BatchNorm2d, Tensor] = {
        norm: torch.zeros(3, norm.num_features, dtype=torch.float64) for norm in norms
    }

    def look(module: nn.BatchNorm2d, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        values = inputs[0]
        means, squares = values.mean((2, 3)).double().sum(0), values.square().mean((2, 3)).double().sum(0)
        sums[module] += torch.stack([means, squares, torch.full_like(means, len(values))])

    with _evaluating(network), _hooks(norms, look):
        for batch in batches if norms else ():
            network(batch)
    for norm, (mean, square, count) in sums.items():
        mean, square = mean / count, square / count
        spread = (square - mean.square()).clamp_min(0)
        _set(norm, scale=(spread + norm.eps).sqrt(), shift=norm.bias + mean, mean=mean, variance=spread)


def _set(norm: nn.BatchNorm2d, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor) -> None:
    values = {"weight": scale, "bias": shift, "running_mean": mean, "running_var": variance}
    norm.load_state_dict(values, strict=False)


def _held(known: bundle.Bundle) -> list[Held]:
    """Every convolution and linear layer of a bundle, in the order in which it computes them."""
    graph = onnx.load(known.path, load_external_data=False).graph
    values = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    found = []
    for node in graph.node:
        if node.op_type == "Identity" and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]]
        elif node.op_type == "DequantizeLinear" and node.input[0] in values:
            values[node.output[0]] = _dequantised(*(values[name] for name in node.input))
        elif node.op_type in ("Conv", "Gemm") and all(name in values for name in node.input[1:]):
            weight, *bias = (torch.from_numpy(values[name].astype(np.float32)) for name in node.input[1:])
            given = {each.name: tuple(each.ints) or each.i for each in node.attribute}
            found.append(Held(weight, bias[0] if bias else None, given.get("strides", ()), given.get("dilations", ())))
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
