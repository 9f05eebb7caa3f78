"""Networks by name: the own small ones and any of timm's, with a head, transfer and freezing."""

import sys
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from timm.models import adapt_input_conv
from torch import Tensor, nn

from mien.errors import MienError, RunError, UsageError
from mien.runtime import bundle
from mien.training import bundled
from mien.training.small import MienSmall
from mien.training.spec import SHORTCUTS, Model

OWN: Mapping[str, Callable[[int], nn.Module]] = {
    "mien-large": partial(MienSmall, widths=(96, 192, 384), depths=(3, 4, 2), stem=48, blocks=1),
    "mien-base": partial(MienSmall, widths=(64, 128, 256), depths=(2, 3, 2), stem=32, blocks=1),
    "mien-small": partial(MienSmall, widths=(32, 64, 128, 256), depths=(1, 2, 2, 1), stem=24),
    "mien-tiny": partial(MienSmall, widths=(24, 48, 96, 224), depths=(1, 2, 2, 1), stem=16),
}
"""The networks of this package: given the channels of a picture, a module from (N, C, H, W) to features (N, F)."""


def check_name(backbone: str) -> None:
    """Raise UsageError for a backbone that nobody knows, with the nearest names."""
    if backbone in {**OWN, **SHORTCUTS} or timm.is_model(backbone):
        return
    near = get_close_matches(backbone, dict.fromkeys([*OWN, *SHORTCUTS, *timm.list_models()]), n=3)
    raise UsageError(
        "unknown backbone", got=backbone, allowed=[*OWN, *SHORTCUTS, "any model name of timm"],
        then=f"did you mean {' or '.join(map(repr, near))}?" if near else None,
    )  # fmt: skip


_OTHER_SIZE = "change the resize step of the chain"
_ONE_SIZE = "leave out fit.progressive, which begins at smaller pictures: this backbone takes one size"


class Classifier(nn.Module):
    """A backbone and a head: pictures (N, C, H, W) float to logits (N, classes).

    `frozen` modules stay in evaluation mode while the rest trains, so that their batch-norm statistics stay as well.
    """

    def __init__(self, backbone: nn.Module, features: int, spec: Model, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        layers: list[nn.Module] = []
        for width in spec.head:
            layers += [nn.Linear(features, width), nn.ReLU(inplace=True), nn.Dropout(spec.dropout)]
            features = width
        if not spec.head:
            layers.append(nn.Dropout(spec.dropout))
        self.head = nn.Sequential(*layers, nn.Linear(features, classes))
        self.frozen: list[nn.Module] = []

    @property
    def output(self) -> str:
        """The name of the last layer in the state dict."""
        return f"head.{len(self.head) - 1}"

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))

    def train(self, mode: bool = True) -> "Classifier":
        super().train(mode)
        for module in self.frozen:
            # The layers inside may be ones that train.
            module.training = False
        return self


def build(
    spec: Model, channels: int, size: tuple[int, int], classes: int, seed: int = 0, side: int | None = None
) -> Classifier:
    """The network of a recipe, its weights loaded and its frozen part frozen; what starts at random follows `seed`.

    The last layer stays at its start, and of a bundle the backbone alone is loaded: `mien.run.earlier.fill_output` and
    `bundled` have what is left to do, with the labels and pictures at hand.
    A fit that begins with smaller pictures says by `side` how small and square. Raises UsageError for a size the
    backbone cannot take, and MienError when weights cannot be had.
    """
    torch.manual_seed(seed)
    backbone = _backbone(spec, channels, size)
    network = Classifier(backbone, _features(backbone, spec.backbone, channels, size, _OTHER_SIZE), spec, classes)
    if side:
        _features(backbone, spec.backbone, channels, (side, side), _ONE_SIZE)
    if spec.weights and bundle.means_bundle(spec.weights):
        bundled.fill(backbone, spec.weights, channels, size)
    elif spec.weights and spec.weights != "hub":
        load_weights(network, Path(spec.weights))
    freeze(network, {"partial": spec.freeze, "frozen": 1.0}.get(spec.transfer, 0.0))
    # Lightning keeps the modes it finds: frozen layers must be in theirs before the fit.
    return network.train()


def freeze(network: Classifier, share: float) -> None:
    """Freeze the first layers of the backbone, up to `share` of its parameters (0 none, 1 all), statistics included."""
    total = sum(p.numel() for p in network.backbone.parameters())
    budget, spent = share * total, 0
    for module in network.backbone.modules():
        own = list(module.parameters(recurse=False))
        spent += sum(p.numel() for p in own)
        if share == 0 or spent > budget:
            return
        for parameter in own:
            parameter.requires_grad_(False)
        if own:
            network.frozen.append(module)


def load_weights(network: Classifier, source: Path) -> None:
    """Fill a network from a .safetensors, .pt, .pth or .ckpt file, or from a run folder; only tensors are ever read.

    Tensors that fit by name and shape are taken. A first convolution for colour is summed for grey pictures and one for
    grey spread for colour ones, and position embeddings are resampled, as timm does. The last layer stays at its start,
    for a file does not say which labels its outputs are. Raises RunError when something of the backbone would stay
    random.
    """
    state = _tensors(weights_file(source))
    own = network.state_dict()
    given = max(
        ({prefix + name: value for name, value in state.items()} for prefix in ("", "backbone.")),
        key=lambda named: len(named.keys() & own.keys()),
    )
    given = {name: _fitted(value, own[name]) for name, value in _as_timm(given, network).items() if name in own}
    fits = {
        name: value
        for name, value in given.items()
        if value.shape == own[name].shape and not name.startswith(f"{network.output}.")
    }
    if not any(name.startswith("backbone.") for name in fits):
        raise RunError(
            f"no tensor of {source} fits the backbone", got=list(state)[:5], allowed=list(own)[:5],
            then="name the backbone that the weights were saved from",
        )  # fmt: skip
    # Files of before batch norm counted its batches have no such counts, and nothing here reads them.
    counts = "num_batches_tracked"
    if random := [n for n in own if n.startswith("backbone.") and n not in fits and not n.endswith(counts)]:
        shapes = [f"{n} {tuple(given[n].shape) if n in given else 'absent'}" for n in random[:5]]
        raise RunError(
            f"{source} leaves {len(random)} tensors of the backbone at random",
            got=shapes, allowed=[f"{n} {tuple(own[n].shape)}" for n in random[:5]],
            then="name the backbone and the chain size that the weights were saved from, or set transfer: scratch",
        )  # fmt: skip
    network.load_state_dict(fits, strict=False)


def trained_state(run: Path) -> dict[str, Tensor]:
    """The state dict of a run's best network on validation. Raises RunError when the run has none yet."""
    file = run / "checkpoints" / "best.pt"
    if not file.is_file():
        if several := sorted(str(path.parent.parent) for path in run.glob("*/checkpoints/best.pt")):
            raise RunError(f"{run} is no run but a folder of runs", allowed=several, then="name one of them")
        raise RunError(f"{run} holds no trained network", then=f"mien train {run / 'recipe.yaml'} --out {run} --resume")
    return torch.load(file, map_location="cpu", weights_only=True)


def _backbone(spec: Model, channels: int, size: tuple[int, int]) -> nn.Module:
    if spec.backbone in OWN:
        if spec.weights == "hub":
            raise UsageError(
                f"the hub has no weights of {spec.backbone}", then="name a file or an earlier run as weights"
            )
        return OWN[spec.backbone](channels)
    name = SHORTCUTS.get(spec.backbone, spec.backbone)
    trunk = _created(name, channels, size, pretrained=spec.weights == "hub")
    if isinstance(trunk, timm.models.VGG):
        trunk.add_module("pre_logits", nn.Identity())
    return trunk


def _created(name: str, channels: int, size: tuple[int, int], pretrained: bool) -> nn.Module:
    options: dict[str, Any] = {"pretrained": pretrained, "in_chans": channels, "num_classes": 0}
    try:
        try:
            return timm.create_model(name, img_size=size, **options)
        except TypeError:
            return timm.create_model(name, **options)
    except (OSError, RuntimeError, AssertionError, ValueError) as reason:
        if not pretrained or not isinstance(reason, (OSError, RuntimeError)):
            raise UsageError(f"{name} cannot be built for {size[0]}x{size[1]} pixels: {reason}") from reason
        raise MienError(
            f"the hub weights of {name} cannot be downloaded here ({type(reason).__name__})",
            got="model.weights: hub",
            allowed="hub (with internet access), or a file",
            then=f"with internet access: python -c \"import timm, torch; torch.save(timm.create_model('{name}', "
            f"pretrained=True).state_dict(), '{name}.pt')\"; copy the file here and set model.weights={name}.pt",
        ) from reason


def weights_file(source: Path) -> Path:
    """The file that `model.weights` means, a run's best network for a run folder. Raises RunError when it is absent."""
    if source.is_dir():
        trained_state(source)
        return source / "checkpoints" / "best.pt"
    if not source.is_file():
        raise RunError(
            f"no weights at {source}",
            allowed="hub, a shipped bundle, a .onnx/.safetensors/.pt/.pth/.ckpt file, or a run folder",
        )
    return source


def _tensors(file: Path) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as reason:
        # What torch says at this point advises to run whatever is in the file: that is not passed on.
        raise RunError(
            f"{file} is not a file of plain tensors ({type(reason).__name__})",
            allowed=".safetensors, or a state dict as torch.save(network.state_dict(), file) writes it",
            then="save the state dict alone: nothing else in such a file is loaded",
        ) from reason
    for key in ("state_dict", "model", "params_ema"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    tensors = {k.removeprefix("network."): v for k, v in state.items() if isinstance(v, Tensor)}
    if not tensors:
        raise RunError(f"{file} holds no tensors")
    return tensors


def _as_timm(given: dict[str, Tensor], network: Classifier) -> dict[str, Tensor]:
    """The tensors as timm itself would bring them to a backbone of another picture size."""
    convert = getattr(sys.modules[type(network.backbone).__module__], "checkpoint_filter_fn", None)
    inside = {name.removeprefix("backbone."): v for name, v in given.items() if name.startswith("backbone.")}
    if not convert or not inside:
        return given
    others = {name: value for name, value in given.items() if not name.startswith("backbone.")}
    return others | {"backbone." + name: value for name, value in convert(inside, network.backbone).items()}


def _fitted(value: Tensor, own: Tensor) -> Tensor:
    """A convolution for pictures of the other number of channels, 3 for 1 or 1 for 3, made for ours; else as it is."""
    alike = value.ndim == own.ndim == 4 and value.shape[0] == own.shape[0] and value.shape[2:] == own.shape[2:]
    if alike and {value.shape[1], own.shape[1]} == {1, 3}:
        return adapt_input_conv(own.shape[1], value, base_chans=value.shape[1])
    return value


def _features(backbone: nn.Module, name: str, channels: int, size: tuple[int, int], then: str) -> int:
    """How many features a backbone gives a picture of a size. Raises UsageError where it takes none of that size."""
    mode = backbone.training
    try:
        with torch.no_grad():
            found = backbone.eval()(torch.zeros(1, channels, *size))
    except (RuntimeError, AssertionError, ValueError) as reason:
        raise UsageError(f"{name} cannot take pictures of {size[0]}x{size[1]}: {reason}", then=then) from reason
    backbone.train(mode)
    return int(found.shape[1])
