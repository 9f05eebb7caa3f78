"""Fitting a network on prepared pixels: epochs that resume after a kill, the best on validation kept."""

import csv
import logging
import math
import signal
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from mien.data.balance import class_weights
from mien.data.pictures import Pictures
from mien.errors import RunError
from mien.files import replacing, write_text
from mien.imaging.steps import Normalise
from mien.stages import Progress
from mien.training.backbones import Classifier
from mien.training.module import Module, channels_first
from mien.training.saving import save
from mien.training.spec import Augment, Fit

Precision = Literal["bf16-mixed", "32-true"]

DEPTHWISE = 0.1
"""Share of depthwise convolutions above which a processor's bf16 is no faster than float32: its training step takes
half the time in VGG16 (none), and twice the time in MobileNetV3 and EfficientNet-B0 (a fifth to a quarter)."""


@dataclass(frozen=True)
class Rows:
    """Rows to fit or to choose on: `positions` (N,) into pixels (M, H, W[, C]) uint8, which may be memory-mapped.

    `targets` (N, classes) float32 sum to 1.
    """

    pixels: Pictures
    positions: NDArray[np.int64]
    targets: NDArray[np.float32]


def fit(
    network: Classifier,
    train: Rows,
    validation: Rows,
    spec: Fit,
    changes: Augment,
    normalise: Normalise,
    folder: Path,
    seed: int = 0,
    progress: Progress | None = None,
    teachers: Sequence[nn.Module] = (),
) -> Classifier:
    """Fit a network; give back its state that was best on the validation rows. `teachers` are what `spec` names.

    Writes `history.csv`, `checkpoints/last.ckpt` (everything needed to go on) and `checkpoints/best.pt` (tensors only)
    below `folder`, and goes on from `last.ckpt` when it is there, in the precision it began with.
    Raises RunError when the loss is no longer finite, DataError when the disk is full.
    """
    lightning.seed_everything(seed, verbose=False)
    network = network.to(memory_format=torch.channels_last)
    last = folder / "checkpoints" / "last.ckpt"
    if _ended(folder).is_file():
        return _best(network, folder)
    module = Module(
        network,
        spec,
        changes,
        torch.from_numpy(normalise.scale),
        torch.from_numpy(normalise.offset),
        _weights(train.targets) if spec.class_weights == "balanced" else None,
        seed,
        teachers,
    )
    trainer = _trainer(spec, folder, last, _precision(network, spec, folder), progress)
    with _quietly(), _interruptible():
        trainer.fit(
            module,
            _loader(train, spec.batch, module.draw),
            _loader(validation, max(spec.batch, 256), None),
            ckpt_path=last if last.is_file() else None,
            weights_only=True,
        )
    return _best(network, folder)


def predict(
    network: nn.Module,
    pixels: Pictures,
    positions: NDArray[np.int64],
    normalise: Normalise,
    flip: bool = False,
    batch: int = 256,
    exactly: bool = False,
) -> NDArray[np.float32]:
    """Logits (n, classes) of the pictures at `positions` (n,) of pixels (N, H, W[, C]) uint8.

    With `flip`, the mean over each picture and its mirror image. The network visits the GPU where there is one, unless
    `exactly` is set: a GPU may round the inputs of convolutions to ten bits (TF32).
    """
    home = next(network.parameters()).device
    device = torch.device("cuda") if torch.cuda.is_available() and not exactly else home
    network.to(device).eval()
    scale = torch.from_numpy(normalise.scale).view(1, -1, 1, 1).to(device)
    offset = torch.from_numpy(normalise.offset).view(1, -1, 1, 1).to(device)
    parts = []
    # The network moves outside: parameters that move in this mode can have no gradients afterwards.
    with torch.inference_mode():
        for start in range(0, len(positions), batch):
            some = torch.from_numpy(np.asarray(pixels[positions[start : start + batch]])).to(device)
            inputs = channels_first(some) * scale + offset
            logits = network(inputs)
            if flip:
                logits = (logits + network(inputs.flip(-1))) / 2
            parts.append(logits.float().cpu().numpy())
    network.to(home)
    return np.concatenate(parts)


def _ended(folder: Path) -> Path:
    """What says that a fit is over: one that stopped early would go on from its last state."""
    return folder / "checkpoints" / "ended"


def _best(network: Classifier, folder: Path) -> Classifier:
    network.load_state_dict(torch.load(folder / "checkpoints" / "best.pt", weights_only=True, map_location="cpu"))
    return network


def _precision(network: Classifier, spec: Fit, folder: Path) -> Precision:
    """The precision of a fit, decided once: a resumed fit goes on in the one it began with, on whatever machine."""
    kept = folder / "checkpoints" / "precision"
    if not kept.is_file():
        write_text(kept, "bf16-mixed" if in_bf16(network, spec) else "32-true")
    return "bf16-mixed" if kept.read_text() == "bf16-mixed" else "32-true"


def in_bf16(network: nn.Module, spec: Fit) -> bool:
    """Whether to train in bf16: as asked, or as machine and network are, so that runs of one recipe repeat.

    A processor without bf16 arithmetic trains in float32, and so does one with it where more than `DEPTHWISE` of the
    convolutions are depthwise.
    """
    if spec.precision != "auto":
        return spec.precision == "bf16"
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        return False
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    depthwise = sum(layer.groups == layer.in_channels > 1 for layer in layers)
    return depthwise <= DEPTHWISE * len(layers)


class _Batches(IterableDataset[tuple[Tensor, Tensor]]):
    """Whole batches out of arrays in memory; shuffled by `draw` when given, so that an epoch's order is its seed's."""

    def __init__(self, rows: Rows, batch: int, draw: torch.Generator | None) -> None:
        self.rows, self.batch, self.draw = rows, batch, draw

    def __len__(self) -> int:
        count = len(self.rows.positions)
        return max(1, count // self.batch) if self.draw else -(-count // self.batch)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        count = len(self.rows.positions)
        order = np.arange(count) if self.draw is None else torch.randperm(count, generator=self.draw).numpy()
        for start in range(0, len(self) * self.batch, self.batch):
            some = order[start : start + self.batch]
            pixels = self.rows.pixels[self.rows.positions[some]]
            yield torch.from_numpy(np.asarray(pixels)), torch.from_numpy(self.rows.targets[some])


def _loader(rows: Rows, batch: int, draw: torch.Generator | None) -> DataLoader[Any]:
    # A generator of its own: each pass draws a number, which out of torch's global state would shift the dropout of
    # every epoch but the first after a start, so that a fit that goes on would be another fit.
    return DataLoader(_Batches(rows, batch, draw), batch_size=None, num_workers=0, generator=torch.Generator())


class _Whole(TorchCheckpointIO):
    """Checkpoints that are written beside their place and renamed: a kill leaves the earlier one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        save(checkpoint, Path(path))


class _Keeper(Callback):
    """Writes the history, keeps the best network, and tells how far the fit is."""

    def __init__(self, folder: Path, spec: Fit, progress: Progress | None) -> None:
        self.folder, self.spec, self.progress = folder, spec, progress
        self.rows: list[dict[str, float]] = []
        self.begun = time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows = state["rows"]

    def on_save_checkpoint(self, trainer: lightning.Trainer, *_: Any) -> None:
        # Said before the state of the last epoch is kept: a fit killed around it repeats that epoch or is over.
        if trainer.should_stop or trainer.current_epoch + 1 == self.spec.epochs:
            write_text(_ended(self.folder), "")

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.begun = time.perf_counter()

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if self.progress:
            self.progress(trainer.global_step, int(trainer.estimated_stepping_batches))

    def on_train_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        # A fit that `patience` ended is over, too.
        if self.progress:
            self.progress(*2 * (int(trainer.estimated_stepping_batches),))

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, Module)
        seen = {name: float(value) for name, value in trainer.callback_metrics.items()}
        row = {
            "epoch": trainer.current_epoch,
            **{
                name: seen.get(name, float("nan"))
                for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
            },
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "seconds": round(time.perf_counter() - self.begun, 3),
        }
        if not (math.isfinite(row["train_loss"]) and math.isfinite(row["val_loss"])):
            raise RunError(
                f"the fit diverged in epoch {trainer.current_epoch}: its loss is no longer a finite number",
                got=f"fit.learning_rate: {self.spec.learning_rate}",
                then="lower fit.learning_rate, and choose another --out",
            )
        value, earlier = row[f"val_{self.spec.monitor}"], [r[f"val_{self.spec.monitor}"] for r in self.rows]
        best = max if self.spec.monitor == "accuracy" else min
        if not earlier or (value != best(earlier) and best(value, *earlier) == value):
            save(module.evaluated.state_dict(), self.folder / "checkpoints" / "best.pt")
        self.rows.append(row)
        with replacing(self.folder / "history.csv") as beside, beside.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, row)
            writer.writeheader()
            writer.writerows(self.rows)


def _weights(targets: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(class_weights(targets.argmax(axis=1), targets.shape[1]))


def _trainer(spec: Fit, folder: Path, last: Path, precision: Precision, progress: Progress | None) -> lightning.Trainer:
    callbacks: list[Callback] = [_Keeper(folder, spec, progress)]
    if spec.patience:
        mode = "max" if spec.monitor == "accuracy" else "min"
        callbacks.append(EarlyStopping(f"val_{spec.monitor}", mode=mode, patience=spec.patience))
    callbacks.append(
        ModelCheckpoint(last.parent, filename=last.stem, enable_version_counter=False, save_on_train_epoch_end=True)
    )
    with _quietly():
        return lightning.Trainer(
            max_epochs=spec.epochs,
            accelerator="cuda" if torch.cuda.is_available() else "cpu",
            devices=1,
            precision=precision,
            logger=TensorBoardLogger(folder, name="", version="tensorboard"),
            callbacks=callbacks,
            plugins=[_Whole()],
            log_every_n_steps=1,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            # A fit sees pictures of few sizes, so that cuDNN's search for the fastest convolution pays.
            benchmark=True,
            default_root_dir=folder,
        )


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what Lightning says to its own developers; warnings of ours and of torch's arithmetic stay."""
    said = logging.getLogger("lightning.pytorch")
    level = said.level
    said.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            warnings.filterwarnings("ignore", message=r".*(IterableDataset|num_workers|treespec|LeafSpec).*")
            yield
    finally:
        said.setLevel(level)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C leaves as KeyboardInterrupt: Lightning makes an exit of it, and has the signal ignored from then on."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as ended:
        if not isinstance(ended.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, before)
        raise KeyboardInterrupt from ended
