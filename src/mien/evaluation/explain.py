"""Where a network looks: Grad-CAM over single pictures and as the average of each class."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from mien.errors import DataError, UsageError
from mien.files import replacing

Pixels = NDArray[np.uint8]
ToTensor = Callable[[Pixels], NDArray[np.float32]]

BATCH = 64
COLUMNS = 4


def explain(
    network: nn.Module,
    target_layer: nn.Module,
    pixels: Pixels,
    tensor: ToTensor,
    targets: NDArray[np.int64],
    labels: Sequence[str],
    out: Path,
    per_class: int = 50,
    seed: int = 0,
) -> list[Path]:
    """Draw where the network looks: `explain-samples.png` and `explain-classes.png` in the folder `out`.

    `pixels` uint8 (N, H, W[, C]) are prepared pictures, `tensor` their normalisation (`Chain.tensor`), `targets` (N,)
    their classes; `target_layer` is a layer of `network` whose output is a map, such as `deepest_map` finds. A seeded
    sample of `per_class` pictures a class is looked at. The samples are, for each class, the two surest right answers
    and the two surest wrong ones, with the heat for the class that was answered; the classes show the mean face and
    the mean heat for the true class. Raises DataError when there are no pictures.
    """
    if not len(pixels):
        raise DataError("nothing to explain: no pictures", got=0)
    rows = _sample(targets, len(labels), per_class, np.random.default_rng(seed))
    shown, true = np.asarray(pixels[rows]), targets[rows]
    faces = tensor(shown)
    probabilities = _probabilities(network, faces)
    answered = probabilities.argmax(axis=1)
    picked = _surest(probabilities, true, len(labels))
    heat = grad_cam(network, target_layer, faces[picked], answered[picked])
    titles = [
        f"{labels[answered[row]]} {probabilities[row, answered[row]]:.0%}"
        + ("" if answered[row] == true[row] else f"\n(is {labels[true[row]]})")
        for row in picked
    ]
    samples = _draw(
        [overlay(shown[row], each) for row, each in zip(picked, heat, strict=True)],
        titles,
        [answered[row] == true[row] for row in picked],
        out / "explain-samples.png",
    )
    return [samples, _draw_classes(shown, grad_cam(network, target_layer, faces, true), true, labels, out)]


def grad_cam(
    network: nn.Module, target_layer: nn.Module, faces: NDArray[np.float32], classes: NDArray[np.int64]
) -> NDArray[np.float32]:
    """What speaks for `classes` (N,) in normalised faces float32 (N, C, H, W): heat (N, H, W), each scaled to 0..1.

    Selvaraju et al. 2017, section 3. The network's mode and gradients are as before afterwards.
    """
    training, device = network.training, next(network.parameters()).device
    heats = []
    with GradCAM(model=network, target_layers=[target_layer]) as cam, torch.enable_grad():
        for start in range(0, len(faces), BATCH):
            # A frozen network passes gradients to its maps only when its input asks for them.
            batch = torch.as_tensor(faces[start : start + BATCH], device=device).requires_grad_()
            goals = [ClassifierOutputTarget(int(code)) for code in classes[start : start + BATCH]]
            heats.append(cam(input_tensor=batch, targets=goals))
    network.zero_grad(set_to_none=True)
    network.train(training)
    return np.concatenate(heats)


def deepest_map(network: nn.Module, face: NDArray[np.float32], side: int = 6) -> nn.Module:
    """The last layer, in order of use, whose output is a map of `side` x `side` or more for `face` (1, C, H, W).

    Deeper maps know more and show less: on faces of 48 pixels a ResNet ends in 2 x 2 cells, too coarse to read.
    Raises UsageError for a network without such a layer, as a transformer is.
    """
    found: list[nn.Module] = []

    def note(layer: nn.Module, given: tuple[Tensor, ...], output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[2:]) >= side:
            found.append(layer)

    hooks = [layer.register_forward_hook(note) for layer in network.modules()]
    try:
        _probabilities(network, face)
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise UsageError(
            f"Grad-CAM needs a layer with a map of {side} x {side} or more", got=type(network).__name__,
            allowed="convolutional networks", then="explain a convolutional network, or ask for a smaller side",
        )  # fmt: skip
    return found[-1]


def overlay(image: Pixels, heat: NDArray[np.float32]) -> Pixels:
    """A picture uint8 (H, W[, 3]) under its heat (H, W) in 0..1, as RGB: cold leaves the picture as it is."""
    grey = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
    colours = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    weight = 0.65 * heat[..., None]
    return np.rint((1 - weight) * grey + weight * colours).astype(np.uint8)


def _probabilities(network: nn.Module, faces: NDArray[np.float32]) -> NDArray[np.float32]:
    training, device = network.training, next(network.parameters()).device
    network.eval()
    with torch.no_grad():
        parts = [
            network(torch.as_tensor(faces[start : start + BATCH], device=device)).float().softmax(dim=1).cpu()
            for start in range(0, len(faces), BATCH)
        ]
    network.train(training)
    return torch.cat(parts).numpy()


def _sample(targets: NDArray[np.int64], classes: int, per_class: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.concatenate([rng.permutation(np.flatnonzero(targets == code))[:per_class] for code in range(classes)])


def _surest(probabilities: NDArray[np.float32], true: NDArray[np.int64], classes: int) -> list[int]:
    """Rows in class order: up to two surest right answers of each class, then its two surest wrong ones."""
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    right = probabilities.argmax(axis=1) == true
    half = COLUMNS // 2
    return [
        int(row)
        for code in range(classes)
        for kind in (right, ~right)
        for row in [each for each in order if true[each] == code and kind[each]][:half]
    ]


def _draw_classes(
    shown: Pixels, heat: NDArray[np.float32], true: NDArray[np.int64], labels: Sequence[str], out: Path
) -> Path:
    present = [code for code in range(len(labels)) if (true == code).any()]
    tiles = []
    for code in present:
        mean = heat[true == code].mean(axis=0)
        tiles.append(overlay(shown[true == code].mean(axis=0).astype(np.uint8), mean / max(float(mean.max()), 1e-6)))
    titles = [f"{labels[code]}\n{np.sum(true == code)} pictures" for code in present]
    return _draw(tiles, titles, [True] * len(tiles), out / "explain-classes.png")


def _draw(tiles: Sequence[Pixels], titles: Sequence[str], right: Sequence[bool], path: Path) -> Path:
    lines = -(-len(tiles) // COLUMNS)
    figure = Figure(figsize=(1.75 * COLUMNS, 2.15 * lines), layout="constrained")
    grid = figure.subplots(lines, COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, tile, title, good in zip(grid.flat, tiles, titles, right, strict=False):
        axes.imshow(tile, interpolation="bicubic")
        axes.set_title(title, fontsize=9, color="#1c2430" if good else "#b04a00")
    with replacing(path) as beside:
        figure.savefig(beside, format="png", dpi=130, metadata={"Software": None})
    return path
