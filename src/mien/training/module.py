"""The Lightning side of a fit: loss, average of weights, optimiser, schedule. The network itself is plain torch."""

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import get_ema_multi_avg_fn

from mien.training.augment import add_noise, augment, mix
from mien.training.backbones import Classifier
from mien.training.spec import Augment, Fit

FEW_STEPS = 200  # on 240 pictures of three classes, 20 to 60 steps answered no better than chance


def remarks(fit: Fit, rows: int) -> tuple[str, ...]:
    """What a reader of results must know of a fit from random weights on so many rows: that it was too short to learn.

    >>> remarks(Fit(epochs=5, batch=64), 200)[0][:44]
    'the fit from random weights takes 15 steps: '
    """
    steps = fit.epochs * max(1, rows // fit.batch)
    ways = "raise fit.epochs, lower fit.batch, or start from a shipped model, as `mien train finetune` does"
    return (f"the fit from random weights takes {steps} steps: {ways}",) if steps < FEW_STEPS else ()


class Module(lightning.LightningModule):
    """Fits a classifier on batches (pixels uint8 (N, H, W[, C]), targets float (N, classes)).

    `scale` and `offset` (channels,) are the chain's normalisation of uint8 values, as at use.
    All randomness of an epoch follows from `seed` and the epoch's number: a resumed fit is the same fit.
    """

    scale: Tensor
    offset: Tensor
    class_weights: Tensor | None

    def __init__(
        self,
        network: Classifier,
        fit: Fit,
        changes: Augment,
        scale: Tensor,
        offset: Tensor,
        class_weights: Tensor | None,
        seed: int,
        teachers: Sequence[nn.Module] = (),
    ) -> None:
        super().__init__()
        self.network, self.fit_spec, self.changes, self.seed = network, fit, changes, seed
        self.register_buffer("scale", scale.view(1, -1, 1, 1), persistent=False)
        self.register_buffer("offset", offset.view(1, -1, 1, 1), persistent=False)
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.average = deepcopy(network).requires_grad_(False) if fit.ema else None
        # In a plain list: what never changes has no place in the checkpoint of every epoch.
        self.teachers = [teacher.eval().requires_grad_(False) for teacher in teachers]
        self.plateau: torch.optim.lr_scheduler.ReduceLROnPlateau | None = None
        self.plateau_so_far: dict[str, Any] | None = None
        self.draw = torch.Generator()

    @property
    def evaluated(self) -> nn.Module:
        """The network that is evaluated and kept: the average of weights when there is one."""
        return self.network if self.average is None else self.average

    def on_fit_start(self) -> None:
        for teacher in self.teachers:
            teacher.to(self.device)

    def on_train_epoch_start(self) -> None:
        torch.manual_seed(self.seed * 100_003 + self.current_epoch)
        self.draw.manual_seed(self.seed * 100_003 + self.current_epoch)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        pixels, targets = batch
        pictures = augment(
            channels_first(pixels) / 255,
            self.changes,
            self.draw,
            side_at(self.fit_spec, pixels.shape[1], pixels.shape[2], self.current_epoch),
        )
        pictures, targets = mix(pictures, targets, self.changes, self.draw)
        noisy = add_noise(pictures, self.changes.noise, self.draw)
        logits = self.network(self._normalised(noisy * 255)).float()
        loss = functional.cross_entropy(
            logits, targets, weight=self.class_weights, label_smoothing=self.fit_spec.label_smoothing
        )
        if self.teachers:
            taught = self._taught(self._normalised(pictures * 255))
            loss = torch.lerp(loss, functional.cross_entropy(logits, taught), self.fit_spec.teacher_share)
        correct = (logits.detach().argmax(1) == targets.argmax(1)).float().mean()
        self.log_dict(
            {"train_loss": loss.detach(), "train_accuracy": correct},
            on_step=False,
            on_epoch=True,
            batch_size=len(pixels),
        )
        return loss

    @torch.no_grad()
    def _taught(self, inputs: Tensor) -> Tensor:
        return torch.stack([teacher(inputs).float().softmax(1) for teacher in self.teachers]).mean(0)

    def optimizer_step(self, *args: Any, **options: Any) -> None:
        super().optimizer_step(*args, **options)
        if self.average is not None:
            follow(self.average, self.network, self.fit_spec.ema, self.trainer.global_step)

    def on_train_epoch_end(self) -> None:
        # Lightning steps such a schedule after it has saved the checkpoint: a fit that goes on would have lost a step.
        if self.plateau is not None:
            self.plateau.step(self.trainer.callback_metrics["val_loss"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.plateau is not None:
            checkpoint["plateau"] = self.plateau.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.plateau_so_far = checkpoint.get("plateau")

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        pixels, targets = batch
        logits = self.evaluated(self._normalised(channels_first(pixels))).float()
        self.log_dict(
            {
                "val_loss": functional.cross_entropy(logits, targets),
                "val_accuracy": (logits.argmax(1) == targets.argmax(1)).float().mean(),
            },
            on_epoch=True,
            batch_size=len(pixels),
        )

    def configure_optimizers(self) -> Any:
        spec = self.fit_spec
        trained = [p for p in self.network.parameters() if p.requires_grad]
        decayed = [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": spec.weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
        makers: dict[str, Callable[[], torch.optim.Optimizer]] = {
            "adam": lambda: torch.optim.Adam(decayed, spec.learning_rate),
            "adamw": lambda: torch.optim.AdamW(decayed, spec.learning_rate),
            "sgd": lambda: torch.optim.SGD(
                decayed, spec.learning_rate, momentum=spec.momentum, nesterov=spec.momentum > 0
            ),
            "rmsprop": lambda: torch.optim.RMSprop(decayed, spec.learning_rate, momentum=spec.momentum),
        }
        optimiser = makers[spec.optimiser]()
        steps = int(self.trainer.estimated_stepping_batches)
        if spec.schedule == "constant":
            return optimiser
        if spec.schedule == "plateau":
            self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimiser, factor=0.1, patience=spec.plateau_patience
            )
            if self.plateau_so_far:
                self.plateau.load_state_dict(self.plateau_so_far)
            return optimiser
        warm = 0.25 if spec.schedule == "one-cycle" else 0.0
        curve = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rise_and_fall(step / steps, warm))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": curve, "interval": "step"}}

    def _normalised(self, pictures: Tensor) -> Tensor:
        return (pictures * self.scale + self.offset).contiguous(memory_format=torch.channels_last)


def side_at(fit: Fit, height: int, width: int, epoch: int) -> int | None:
    """The side that square pictures are trained at in an epoch of a progressive fit; None for their own.

    The last epoch always has their own.

    >>> [side_at(Fit(epochs=10, progressive=0.5), 48, 48, epoch) for epoch in range(5)]
    [32, 32, 40, 48, None]
    >>> [side_at(Fit(epochs=epochs, progressive=1), 48, 48, epochs - 1) for epochs in (1, 2, 10)]
    [None, None, None]
    """
    if not fit.progressive or height != width or epoch == fit.epochs - 1:
        return None
    done = epoch / max(1.0, fit.progressive * fit.epochs - 1)
    if done >= 1:
        return None
    return min(height, round(height * (2 + done) / 3 / 8) * 8)


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float, updates: int) -> None:
    """Draw an average of weights after the network, by `1 - decay` of the way once it has had many `updates`.

    A young average follows quickly, so that it does not drag the random start along; the first is the network itself.
    """
    keep = min(decay, (1 + updates) / (10 + updates)) if updates else 0.0
    blend = get_ema_multi_avg_fn(keep)
    blend(list(average.parameters()), list(network.parameters()), updates)
    for mean, value in zip(average.buffers(), network.buffers(), strict=True):
        if mean.is_floating_point():
            blend([mean], [value], updates)
        else:
            mean.copy_(value)


def channels_first(pixels: Tensor) -> Tensor:
    """Pictures (N, H, W) or (N, H, W, C) uint8 as (N, C, H, W) float32, still in 0..255."""
    return (pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)).float()


def rise_and_fall(done: float, warm: float) -> float:
    """The learning rate's factor after a share of the fit: a straight rise over `warm`, then half a cosine to zero.

    >>> [round(rise_and_fall(x, 0.25), 3) for x in (0, 0.25, 0.625, 1)]
    [0.04, 1.0, 0.5, 0.0]
    """
    if done < warm:
        return 0.04 + 0.96 * done / warm
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - warm) / (1 - warm))))
