"""Training an embedding with triplets: mining, class-balanced batches, validation every few iterations."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner, TripletMarginMiner
from torch import Tensor

from mien.errors import DataError, RunError
from mien.files import write_text
from mien.imaging.steps import Normalise
from mien.stages import Progress
from mien.training.facenet import FaceNet
from mien.training.fit import predict
from mien.training.module import channels_first
from mien.training.readouts import nearest_centroid
from mien.training.saving import save
from mien.training.spec import Mining, Optimiser, TripletSpec


@dataclass(frozen=True)
class TripletFit:
    """The network at its best validation, and the history: one row a validation.

    Columns: iteration, epoch, train_loss (mean since the last row), mined (triplets a batch), val_accuracy, seconds.
    """

    network: FaceNet
    history: pd.DataFrame


OPTIMISERS: Mapping[Optimiser, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    # MATLAB's "sgdm", which the paper trained with, has a momentum of 0.9 by default.
    "sgd": lambda parameters, lr: torch.optim.SGD(parameters, lr=lr, momentum=0.9),
    "rmsprop": torch.optim.RMSprop,
}


def fit_embedding(
    pixels: NDArray[np.uint8],
    targets: NDArray[np.int64],
    val_pixels: NDArray[np.uint8],
    val_targets: NDArray[np.int64],
    spec: TripletSpec,
    normalise: Normalise,
    seed: int = 0,
    progress: Progress | None = None,
    folder: Path | None = None,
    device: str = "cpu",
) -> TripletFit:
    """Train FaceNet on pictures uint8 (N, H, W[, C]) with class codes (N,); the best on validation is kept.

    Validation is the accuracy of the nearest centroid, its centroids taken from training pictures. With a `folder`,
    the history is written to `history.csv` and each epoch to `checkpoints/last.ckpt`, from which a fit after a kill
    goes on. Raises DataError for fewer than two classes or a class with a single picture, which has no positive pair,
    RunError when loss or vectors are no longer finite.
    """
    rng = np.random.default_rng(seed)
    gallery_rows = _balanced_sample(targets, spec.validation_rows, rng)
    val_rows = np.sort(rng.permutation(len(val_targets))[: spec.validation_rows])
    watch = _Watch(
        (pixels[gallery_rows], targets[gallery_rows]), (val_pixels[val_rows], val_targets[val_rows]), normalise, spec
    )
    if spec.doubling:
        pixels, targets = np.concatenate([pixels, turn_and_shift(pixels)]), np.concatenate([targets, targets])
    epochs = [list(balanced_batches(targets, spec.batch, rng)) for _ in range(spec.epochs)]
    total = sum(map(len, epochs))
    faces = torch.from_numpy(np.ascontiguousarray(pixels)).to(device)
    codes = torch.as_tensor(targets).to(device)
    scale, offset = (torch.from_numpy(v).view(1, -1, 1, 1).to(device) for v in (normalise.scale, normalise.offset))
    network = _new_network(1 if faces.ndim == 3 else faces.shape[3], spec, seed).to(device)
    optimiser = OPTIMISERS[spec.optimiser](network.parameters(), lr=spec.learning_rate)
    mine, loss_of = triplets(spec.mining, spec.margin)
    done = _resumed(folder, network, optimiser, watch)
    iteration = sum(map(len, epochs[:done]))
    for epoch in range(done, spec.epochs):
        for rows in epochs[epoch]:
            iteration += 1
            network.train()
            index = torch.as_tensor(rows).to(device)
            vectors = network(channels_first(faces[index]) * scale + offset)
            found = mine(vectors, codes[index])
            loss = loss_of(vectors, codes[index], found)
            _check_finite(loss, "loss is", iteration, spec)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.note(loss.detach(), len(found[0]))
            if iteration % spec.validate_every == 0 or iteration == total:
                watch.validate(network, iteration, iteration * spec.epochs / total)
            if progress:
                progress(iteration, total)
        if folder:
            write_text(folder / "history.csv", watch.history().to_csv(index=False))
            state = {"epochs": epoch + 1, "network": network.state_dict(), "optimiser": optimiser.state_dict()}
            save(state | {"watch": watch.state()}, folder / "checkpoints" / "last.ckpt")
    network.load_state_dict(watch.best)
    return TripletFit(network.eval(), watch.history())


def triplets(
    mining: Mining, margin: float
) -> tuple[Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]], Callable[..., Tensor]]:
    """The miner and the loss of a mining scheme.

    `semi-hard`: all pairs of one class with the negatives that are farther than the positive but within the margin,
    on squared distances (Schroff et al. 2015, section 3.2). `batch-hard`: for each anchor its farthest positive and
    nearest negative, on plain distances (Hermans et al. 2017, section 2).
    """
    distance = LpDistance(power=2 if mining == "semi-hard" else 1)
    miner = (
        TripletMarginMiner(margin=margin, type_of_triplets="semihard", distance=distance)
        if mining == "semi-hard"
        else BatchHardMiner(distance=distance)
    )
    return miner, TripletMarginLoss(margin=margin, distance=distance)


def balanced_batches(targets: NDArray[np.int64], batch: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Row positions of one epoch: `len(targets) // batch` batches in which classes are as even as they can be.

    Each picture of a class is drawn once before any is drawn again. A batch holds at least two pictures of each class
    in it, so that every anchor has a positive: where `batch` is under twice the classes, classes take turns.
    Raises DataError for fewer than two classes, a class of one picture, or a batch under 4.
    """
    codes, counts = np.unique(targets, return_counts=True)
    if len(codes) < 2 or counts.min() < 2 or batch < 4:
        raise DataError(
            "triplets need two classes, two pictures of each, and batches of 4",
            got=f"{dict(zip(codes.tolist(), counts.tolist(), strict=True))} in batches of {batch}",
        )
    queues = {code: _endless(np.flatnonzero(targets == code), rng) for code in codes.tolist()}
    turns = _endless(codes, rng)
    for _ in range(max(1, len(targets) // batch)):
        present: list[int] = []
        while len(present) < min(len(codes), batch // 2):
            code = int(next(turns))
            if code not in present:
                present.append(code)
        drawn = [present[place % len(present)] for place in range(batch)]
        yield np.array([next(queues[code]) for code in drawn], dtype=np.int64)


def turn_and_shift(pixels: NDArray[np.uint8], degrees: float = 45, right: int = 5, down: int = 10) -> NDArray[np.uint8]:
    """The second half of the offline doubling: pictures uint8 (N, H, W[, C]) turned about their centre, then shifted.

    What leaves the frame is lost and what enters is black, as in Al-Ghiffary et al. 2024, Figure 7.
    """
    height, width = pixels.shape[1:3]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    matrix[:, 2] += right, down
    return np.stack([cv2.warpAffine(image, matrix, (width, height)) for image in pixels])


@dataclass
class _Watch:
    """Looks at the same validation pictures again and again, and keeps the weights of the best look."""

    gallery: tuple[NDArray[np.uint8], NDArray[np.int64]]
    watched: tuple[NDArray[np.uint8], NDArray[np.int64]]
    normalise: Normalise
    spec: TripletSpec
    best: dict[str, Tensor] = field(default_factory=dict)
    _rows: list[dict[str, float]] = field(default_factory=list)
    _noted: list[tuple[Tensor, int]] = field(default_factory=list)
    _started: float = field(default_factory=time.perf_counter)

    def note(self, loss: Tensor, mined: int) -> None:
        self._noted.append((loss, mined))

    def validate(self, network: FaceNet, iteration: int, epoch: float) -> None:
        known, asked = (self._vectors(network, pixels) for pixels, _ in (self.gallery, self.watched))
        # The last step may have spoilt a network whose loss was still finite.
        _check_finite(torch.from_numpy(np.concatenate([known, asked])), "vectors are", iteration, self.spec)
        answers = nearest_centroid(known, self.gallery[1], int(self.gallery[1].max()) + 1)(asked).argmax(axis=1)
        accuracy = float(np.mean(answers == self.watched[1]))
        if not self._rows or accuracy > max(row["val_accuracy"] for row in self._rows):
            self.best = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
        losses, mined = zip(*self._noted, strict=True)
        self._noted = []
        self._rows.append(
            {
                "iteration": iteration,
                "epoch": epoch,
                "train_loss": torch.stack([loss.cpu() for loss in losses]).mean().item(),
                "mined": float(np.mean(mined)),
                "val_accuracy": accuracy,
                "seconds": time.perf_counter() - self._started,
            }
        )

    def history(self) -> pd.DataFrame:
        columns = ["iteration", "epoch", "train_loss", "mined", "val_accuracy", "seconds"]
        return pd.DataFrame(self._rows, columns=columns)

    def state(self) -> dict[str, Any]:
        taken = time.perf_counter() - self._started
        return {"best": self.best, "rows": self._rows, "noted": self._noted, "seconds": taken}

    def go_on(self, state: dict[str, Any]) -> None:
        self.best, self._rows, self._noted = state["best"], state["rows"], state["noted"]
        self._started = time.perf_counter() - state["seconds"]

    def _vectors(self, network: FaceNet, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return predict(network, pixels, np.arange(len(pixels)), self.normalise)


def _check_finite(values: Tensor, what: str, iteration: int, spec: TripletSpec) -> None:
    if not values.isfinite().all():
        raise RunError(
            f"the fit diverged in iteration {iteration}: its {what} no longer finite",
            got=f"triplet.learning_rate: {spec.learning_rate}",
            then="lower triplet.learning_rate, and choose another --out",
        )


def _resumed(folder: Path | None, network: FaceNet, optimiser: torch.optim.Optimizer, watch: _Watch) -> int:
    """The epochs that were done before a kill, with everything brought back to where it stood after them."""
    kept = folder and folder / "checkpoints" / "last.ckpt"
    if not kept or not kept.is_file():
        return 0
    state = torch.load(kept, weights_only=True, map_location="cpu")
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    watch.go_on(state["watch"])
    return int(state["epochs"])


def _new_network(channels: int, spec: TripletSpec, seed: int) -> FaceNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = FaceNet(channels, spec.dimensions)
    return network.to(memory_format=torch.channels_last)  # twice as fast on a CPU


def _balanced_sample(targets: NDArray[np.int64], size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    codes = np.unique(targets)
    each = max(1, size // len(codes))
    return np.sort(np.concatenate([rng.permutation(np.flatnonzero(targets == code))[:each] for code in codes]))


def _endless(values: NDArray[np.int64], rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from rng.permutation(values).tolist()
