"""Where a network looks: Grad-CAM over single pictures and as the average of each class."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

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
from mien.imaging import operations

Pixels = NDArray[np.uint8]
ToTensor = Callable[[Pixels], NDArray[np.float32]]
Answers = Callable[[Pixels], NDArray[np.float32]]

BATCH = 64
COLUMNS = 4


class Tile(NamedTuple):
    """One picture of a figure: RGB uint8 (H, W, 3), what stands above it, and whether the answer was right."""

    image: Pixels
    title: str
    right: bool


def explain(
    network: nn.Module,
    target_layer: nn.Module,
    pixels: Pixels,
    tensor: ToTensor,
    answers: Answers,
    targets: NDArray[np.int64],
    labels: Sequence[str],
    out: Path,
    per_class: int = 50,
    seed: int = 0,
) -> list[Path]:
    """Draw where the network looks: `explain-samples.png` and `explain-classes.png` in the folder `out`.

    `pixels` uint8 (N, H, W[, C]) are prepared pictures, `tensor` their normalisation (`Chain.tensor`), `answers` gives
    the probabilities (n, classes) that the run answers such pictures with, `targets` (N,) are their classes;
    `target_layer` is a layer of `network` whose output is a map, such as `deepest_map` finds. A seeded
    sample of `per_class` pictures a class is looked at. The samples are a line for each class, its two surest right
    answers and its two surest wrong ones, with the heat for the class that was answered; the classes show the mean
    face and the mean heat for the true class. Raises DataError when there are no pictures.
    """
    if not len(pixels):
        raise DataError("nothing to explain: no pictures", got=0)
    rows = _sample(targets, len(labels), per_class, np.random.default_rng(seed))
    shown, true = np.asarray(pixels[rows]), targets[rows]
    faces = tensor(shown)
    probabilities = answers(shown)
    answered = probabilities.argmax(axis=1)
    picked = _surest(probabilities, true, len(labels))
    drawn = [row for line in picked for row in line if row is not None]
    heat = dict(zip(drawn, grad_cam(network, target_layer, faces[drawn], answered[drawn]), strict=True))

    def tile(row: int) -> Tile:
        said = f"{labels[answered[row]]} {probabilities[row, answered[row]]:.0%}"
        right = bool(answered[row] == true[row])
        return Tile(overlay(shown[row], heat[row]), said if right else f"{said}\n({labels[true[row]]})", right)

    tiles = [[None if row is None else tile(row) for row in line] for line in picked]
    samples = _draw(tiles, out / "explain-samples.png")
    return [samples, _draw_classes(shown, grad_cam(network, target_layer, faces, true), true, labels, out)]


def grad_cam(
    network: nn.Module, target_layer: nn.Module, faces: NDArray[np.float32], classes: NDArray[np.int64]
) -> NDArray[np.float32]:
    """What speaks for `classes` (N,) in normalised faces float32 (N, C, H, W): heat (N, H, W), each scaled to 0..1.

    Selvaraju et al. 2017, section 3. The network keeps its mode and is left without gradients.
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
        _seen(network, face)
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
    grey = operations.colour(image)
    colours = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    weight = 0.65 * heat[..., None]
    return np.rint((1 - weight) * grey + weight * colours).astype(np.uint8)


def _seen(network: nn.Module, face: NDArray[np.float32]) -> None:
    """Let a network look at a face, in the mode for answers."""
    training, device = network.training, next(network.parameters()).device
    network.eval()
    with torch.no_grad():
        network(torch.as_tensor(face, device=device))
    network.train(training)


def _sample(targets: NDArray[np.int64], classes: int, per_class: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.concatenate([rng.permutation(np.flatnonzero(targets == code))[:per_class] for code in range(classes)])


def _surest(probabilities: NDArray[np.float32], true: NDArray[np.int64], classes: int) -> list[list[int | None]]:
    """A line for each class that has pictures: its two surest right answers, then its two surest wrong ones."""
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    right = probabilities.argmax(axis=1) == true
    half = COLUMNS // 2
    lines: list[list[int | None]] = []
    for code in sorted(set(true.tolist()) & set(range(classes))):
        line: list[int | None] = []
        for kind in (right, ~right):
            found = [int(row) for row in order if true[row] == code and kind[row]][:half]
            line += [*found, *[None] * (half - len(found))]
        lines.append(line)
    return lines


def _draw_classes(
    shown: Pixels, heat: NDArray[np.float32], true: NDArray[np.int64], labels: Sequence[str], out: Path
) -> Path:
    tiles: list[Tile | None] = []
    for code in np.unique(true).tolist():
        here = true == code
        mean = heat[here].mean(axis=0)
        face = shown[here].mean(axis=0).astype(np.uint8)
        title = f"{labels[code]}\n{np.sum(here)} pictures"
        tiles.append(Tile(overlay(face, mean / max(float(mean.max()), 1e-6)), title, True))
    lines = [tiles[start : start + COLUMNS] for start in range(0, len(tiles), COLUMNS)]
    return _draw(lines, out / "explain-classes.png")


def _draw(lines: Sequence[Sequence[Tile | None]], path: Path) -> Path:
    figure = Figure(figsize=(1.75 * COLUMNS, 2.2 * len(lines)), layout="constrained")
    grid = figure.subplots(len(lines), COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for row, line in zip(grid, lines, strict=True):
        for axes, tile in zip(row, line, strict=False):
            if tile is not None:
                axes.imshow(tile.image, interpolation="bicubic")
                axes.set_title(tile.title, fontsize=9, color="#1c2430" if tile.right else "#b04a00")
    with replacing(path) as beside:
        figure.savefig(beside, format="png", dpi=130, metadata={"Software": None})
    return path
