"""How a model holds up when pictures get worse: eight corruptions at five strengths."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError
from mien.evaluation.metrics import evaluate
from mien.evaluation.statistics import interval, resampled_sums, units
from mien.imaging.decode import decode, encode_jpeg

Pixels = NDArray[np.uint8]
Corrupt = Callable[[Pixels, float, np.random.Generator], Pixels]
Pictures = Sequence[Pixels] | Pixels
Predict = Callable[[Iterable[Pixels]], NDArray[np.float32]]

BATCH = 256
_VALUES = 2**22  # of pictures that are corrupted together, which take up to 13 bytes each meanwhile


class Corruption(NamedTuple):
    """One kind of damage: what its parameter means, its five values from mild to severe, and how it is done.

    `apply` takes pictures uint8 (N, H, W[, C]), the parameter, and the randomness; it returns the same shape.
    """

    parameter: str
    strengths: tuple[float, float, float, float, float]
    apply: Corrupt


def blur(pixels: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    """Gaussian blur; `sigma` is a share of the shorter side."""
    width = sigma * min(pixels.shape[1:3])
    return np.stack([cv2.GaussianBlur(image, (0, 0), width) for image in pixels])


def noise(pixels: Pixels, deviation: float, rng: np.random.Generator) -> Pixels:
    """Additive Gaussian noise; `deviation` in units of 0..1."""
    return _bytes(pixels + 255 * deviation * rng.standard_normal(pixels.shape, dtype=np.float32))


def jpeg(pixels: Pixels, quality: float, rng: np.random.Generator) -> Pixels:
    """Compression by JPEG at `quality` 1..100."""
    return np.stack([decode(encode_jpeg(image, int(quality))) for image in pixels])


def brighten(pixels: Pixels, by: float, rng: np.random.Generator) -> Pixels:
    """Light added everywhere; `by` in units of 0..1."""
    return _bytes(pixels + np.float32(255 * by))


def fade(pixels: Pixels, kept: float, rng: np.random.Generator) -> Pixels:
    """Contrast taken out: each picture is drawn towards its own mean, `kept` (0..1) of the distance remains."""
    mean = pixels.mean(axis=(1, 2), keepdims=True, dtype=np.float32)
    return _bytes(mean + np.float32(kept) * (pixels - mean))


def occlude(pixels: Pixels, area: float, rng: np.random.Generator) -> Pixels:
    """A mid-grey square over `area` (0..1) of each picture, at a place of its own."""
    covered = pixels.copy()
    height, width = pixels.shape[1:3]
    tall, wide = round(height * area**0.5), round(width * area**0.5)
    tops, lefts = rng.integers(0, height - tall + 1, len(pixels)), rng.integers(0, width - wide + 1, len(pixels))
    for image, top, left in zip(covered, tops, lefts, strict=True):
        image[top : top + tall, left : left + wide] = 128
    return covered


def rotate(pixels: Pixels, degrees: float, rng: np.random.Generator) -> Pixels:
    """Rotation about the centre by `degrees`, left or right by chance; the border is repeated."""
    height, width = pixels.shape[1:3]
    sides = rng.choice((-1.0, 1.0), len(pixels))
    centre = (width - 1) / 2, (height - 1) / 2
    turns = [cv2.getRotationMatrix2D(centre, float(side * degrees), 1.0) for side in sides]
    return np.stack(
        [
            cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
            for image, turn in zip(pixels, turns, strict=True)
        ]
    )


def coarsen(pixels: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    """Resolution lost: shrunk by area to `share` (0..1) of each side, then enlarged back linearly."""
    height, width = pixels.shape[1:3]
    small = max(1, round(width * share)), max(1, round(height * share))
    shrunk = (cv2.resize(image, small, interpolation=cv2.INTER_AREA) for image in pixels)
    return np.stack([cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR) for image in shrunk])


# The strengths of Hendrycks & Dietterich 2019, from their code: ImageNet-C's for JPEG and resolution (pixelation), and
# CIFAR-10-C's, made for small pictures, for noise, brightness and contrast. Blur is ImageNet-C's 1 to 6 pixels read as
# hundredths of the side, since its 224 pixels are not those of a face. Occlusion and rotation are ours.
CORRUPTIONS: Mapping[str, Corruption] = {
    "blur": Corruption("sigma / side", (0.01, 0.02, 0.03, 0.04, 0.06), blur),
    "noise": Corruption("standard deviation", (0.04, 0.06, 0.08, 0.09, 0.1), noise),
    "jpeg": Corruption("quality", (25, 18, 15, 10, 7), jpeg),
    "brightness": Corruption("light added", (0.05, 0.1, 0.15, 0.2, 0.3), brighten),
    "contrast": Corruption("contrast kept", (0.75, 0.5, 0.4, 0.3, 0.15), fade),
    "occlusion": Corruption("area covered", (0.05, 0.1, 0.2, 0.3, 0.4), occlude),
    "rotation": Corruption("degrees", (5, 10, 20, 30, 45), rotate),
    "resolution": Corruption("side kept", (0.6, 0.5, 0.4, 0.3, 0.25), coarsen),
}


def corrupt(pixels: Pixels, name: str, strength: int, seed: int = 0) -> Pixels:
    """Pictures uint8 (N, H, W[, C]) under the corruption `name` at `strength` 1..5, the same for the same seed."""
    kind = CORRUPTIONS[name]
    rng = np.random.default_rng([seed, list(CORRUPTIONS).index(name)])
    return kind.apply(np.asarray(pixels), kind.strengths[strength - 1], rng)


def each_corrupted(pictures: Pictures, name: str, strength: int, seed: int = 0) -> Pictures:
    """As `corrupt`, for pictures that may have a size each."""
    if len({picture.shape for picture in pictures}) == 1:
        return corrupt(np.stack(list(pictures)), name, strength, seed)
    return [corrupt(picture[None], name, strength, seed + place)[0] for place, picture in enumerate(pictures)]


def robustness(
    predict: Predict,
    pictures: Pictures,
    targets: NDArray[np.int64],
    labels: Sequence[str],
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    bootstrap: int = 1000,
    groups: Sequence[Hashable | None] | None = None,
) -> dict[str, Any]:
    """Accuracy and calibration error on clean pictures and under every corruption at every strength, for JSON.

    `pictures` are N as a camera delivers them, uint8 (H, W[, C]), of one size or of many, read a batch at a time.
    `predict` maps n of them, which come one after the other, to probabilities (n, classes) after the preprocessing,
    which meets the damage as it would in use; a row of NaN, for a picture in which that finds no face, counts as wrong.

    Every figure is {value, low, high}. Keys: `rows`; `clean` {accuracy, ece}; `corruptions` {name: a list of {strength,
    parameter, at, accuracy, ece}}; `mean_accuracy` over corruptions and strengths and `mean_drop`, clean minus it: the
    unnormalised mean corruption error and its relative form (Hendrycks & Dietterich 2019, section 4.2) as accuracies,
    with a paired bootstrap over the pictures, or over whole `groups` (N names, e.g. subjects). Raises DataError for no
    pictures.
    """
    if not len(pictures):
        raise DataError("robustness needs at least one picture", got=0)
    total = len(CORRUPTIONS) * 5 + 1
    clean, clean_right = _measure(predict, pictures, targets, labels, None, seed, bootstrap, groups)
    found: dict[str, list[dict[str, Any]]] = {}
    right = []
    for name, kind in CORRUPTIONS.items():
        found[name] = []
        for strength, at in enumerate(kind.strengths, start=1):
            figures, correct = _measure(predict, pictures, targets, labels, (name, strength), seed, bootstrap, groups)
            found[name].append({"strength": strength, "parameter": kind.parameter, "at": at} | figures)
            right.append(correct)
            if progress:
                progress(1 + len(right), total)
    each = np.mean(right, axis=0)
    return {
        "rows": len(pictures),
        "clean": clean,
        "corruptions": found,
        "mean_accuracy": _mean(each, (0, 1), bootstrap, seed, groups),
        "mean_drop": _mean(clean_right - each, (-1, 1), bootstrap, seed, groups),
    }


def _measure(
    predict: Predict,
    pictures: Pictures,
    targets: NDArray[np.int64],
    labels: Sequence[str],
    damage: tuple[str, int] | None,
    seed: int,
    bootstrap: int,
    groups: Sequence[Hashable | None] | None,
) -> tuple[dict[str, Any], NDArray[np.float64]]:
    starts = range(0, len(pictures), BATCH)
    probabilities = np.concatenate([predict(_damaged(pictures, start, damage, seed)) for start in starts])
    if len(lost := np.flatnonzero(np.isnan(probabilities).any(axis=1))):
        probabilities[lost] = 1 / (len(labels) - 1)
        probabilities[lost, targets[lost]] = 0
    metrics = evaluate(probabilities, targets, labels, bootstrap=bootstrap, seed=seed, groups=groups)["metrics"]
    correct = (probabilities.argmax(axis=1) == targets).astype(np.float64)
    return {name: metrics[name] for name in ("accuracy", "ece")}, correct


def _damaged(pictures: Pictures, start: int, damage: tuple[str, int] | None, seed: int) -> Iterator[Pixels]:
    """The pictures of the batch that begins at `start`, corrupted a few at a time where they are large."""
    held: list[Pixels] = []
    values, end = 0, min(start + BATCH, len(pictures))
    for place in range(start, end):
        held.append(pictures[place])
        values += held[-1].size
        if values >= _VALUES or place == end - 1:
            first = place + 1 - len(held)
            yield from each_corrupted(held, *damage, seed=seed + first) if damage else held
            held, values = [], 0


def _mean(
    values: NDArray[np.float64],
    within: tuple[float, float],
    bootstrap: int,
    seed: int,
    groups: Sequence[Hashable | None] | None,
) -> dict[str, float | None]:
    sums = resampled_sums(np.stack([values, np.ones_like(values)], axis=1), bootstrap, seed, groups)
    return interval(float(values.mean()), sums[:, 0] / sums[:, 1], units(len(values), groups), within=within).as_dict()


def _bytes(values: NDArray[np.float32]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
