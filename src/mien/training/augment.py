"""Augmentation of whole batches as tensors, on the model's device: one resampling a batch, whatever was asked for."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from mien.training.spec import Augment

_PADDING = {"nearest": "border", "reflect": "reflection", "constant": "zeros"}


def augment(batch: Tensor, spec: Augment, draw: torch.Generator, size: int | None = None) -> Tensor:
    """A changed copy of a batch (N, C, H, W) float in 0..1, at its own size or at `size` x `size` pixels.

    Draws come from `draw` (on the CPU) alone, so the same generator state gives the same pictures on any device, also
    under autocast.
    """
    # In bf16 the places to sample from would be off by up to a fifth of a pixel, and no picture would stay as it is.
    with torch.autocast(batch.device.type, enabled=False):
        if spec.moves or (size and size != batch.shape[-1]):
            batch = _resampled(batch, spec, draw, size or batch.shape[-2], size or batch.shape[-1])
        if spec.brightness or spec.contrast:
            batch = _relit(batch, spec, draw)
        if spec.erasing:
            batch = _erased(batch, spec.erasing, draw)
    return batch


def mix(batch: Tensor, targets: Tensor, spec: Augment, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mixup or cutmix of a batch (N, C, H, W) with itself, targets (N, classes) alike; one of both at random."""
    kinds = [kind for kind, alpha in (("mixup", spec.mixup), ("cutmix", spec.cutmix)) if alpha]
    if not kinds:
        return batch, targets
    kind = kinds[int(torch.randint(len(kinds), (1,), generator=draw))]
    alpha = spec.mixup if kind == "mixup" else spec.cutmix
    share = _beta(alpha, draw)
    other = torch.randperm(len(batch), generator=draw).to(batch.device, non_blocking=True)
    if kind == "mixup":
        return torch.lerp(batch[other], batch, share), torch.lerp(targets[other], targets, share)
    height, width = batch.shape[-2:]
    side = math.sqrt(1 - share)
    top, left, tall, wide = _box(height, width, int(side * height), int(side * width), draw)
    batch = batch.clone()
    batch[..., top : top + tall, left : left + wide] = batch[other][..., top : top + tall, left : left + wide]
    return batch, torch.lerp(targets[other], targets, 1 - tall * wide / (height * width))


def add_noise(batch: Tensor, noise: float, draw: torch.Generator) -> Tensor:
    """A batch (N, C, H, W) float in 0..1 with Gaussian noise of up to `noise` on a random half of its pictures."""
    if not noise:
        return batch
    # The other half keeps the batch statistics those of clean pictures, too.
    chosen = torch.randperm(len(batch), generator=draw)[: len(batch) // 2]
    deviation = torch.rand(len(chosen), 1, 1, 1, generator=draw) * noise
    added = (torch.randn(len(chosen), *batch.shape[1:], generator=draw) * deviation).to(batch.device, non_blocking=True)
    chosen = chosen.to(batch.device, non_blocking=True)
    return batch.index_copy(0, chosen, (batch[chosen] + added).clamp_(0, 1))


def _resampled(batch: Tensor, spec: Augment, draw: torch.Generator, height: int, width: int) -> Tensor:
    count = len(batch)

    def even(amount: float) -> Tensor:
        return (torch.rand(count, generator=draw) * 2 - 1) * amount

    angle, slant = torch.deg2rad(even(spec.rotation)), torch.deg2rad(even(spec.shear))
    scale = 1 / (1 + even(spec.zoom))
    mirror = 1 - 2 * (torch.rand(count, generator=draw) < spec.flip_horizontal).float()
    upset = 1 - 2 * (torch.rand(count, generator=draw) < spec.flip_vertical).float()
    matrix = torch.zeros(count, 2, 3)
    matrix[:, 0, 0] = scale * torch.cos(angle) * mirror
    matrix[:, 0, 1] = scale * -torch.sin(angle + slant) * upset
    matrix[:, 1, 0] = scale * torch.sin(angle) * mirror
    matrix[:, 1, 1] = scale * torch.cos(angle + slant) * upset
    # Coordinates run from -1 to 1 along both sides, and angles are those of the picture's pixels.
    matrix[:, 0, 1] *= batch.shape[-2] / batch.shape[-1]
    matrix[:, 1, 0] *= batch.shape[-1] / batch.shape[-2]
    matrix[:, 0, 2], matrix[:, 1, 2] = even(2 * spec.shift_x), even(2 * spec.shift_y)
    grid = functional.affine_grid(
        matrix.to(batch.device, non_blocking=True), [count, batch.shape[1], height, width], align_corners=False
    )
    return functional.grid_sample(batch, grid, padding_mode=_PADDING[spec.fill], align_corners=False)


def _relit(batch: Tensor, spec: Augment, draw: torch.Generator) -> Tensor:
    def even(amount: float) -> Tensor:
        return ((torch.rand(len(batch), 1, 1, 1, generator=draw) * 2 - 1) * amount).to(batch.device, non_blocking=True)

    middle = batch.mean(dim=(1, 2, 3), keepdim=True)
    return ((batch - middle) * (1 + even(spec.contrast)) + middle + even(spec.brightness)).clamp_(0, 1)


def _erased(batch: Tensor, chance: float, draw: torch.Generator) -> Tensor:
    count, _, height, width = batch.shape
    area = torch.empty(count).uniform_(0.02, 0.25, generator=draw)
    aspect = torch.exp(torch.empty(count).uniform_(math.log(0.4), math.log(2.5), generator=draw))
    half_y, half_x = torch.sqrt(area * aspect) / 2, torch.sqrt(area / aspect) / 2
    middle_y, middle_x = torch.rand(count, generator=draw), torch.rand(count, generator=draw)
    chosen = torch.rand(count, generator=draw) < chance
    rows = (torch.arange(height) + 0.5) / height
    columns = (torch.arange(width) + 0.5) / width
    inside = ((rows - middle_y[:, None]).abs() < half_y[:, None])[:, :, None] & (
        (columns - middle_x[:, None]).abs() < half_x[:, None]
    )[:, None, :]
    hidden = (inside & chosen[:, None, None])[:, None].to(batch.device, non_blocking=True)
    return torch.where(hidden, batch.mean(dim=(1, 2, 3), keepdim=True), batch)


def _beta(alpha: float, draw: torch.Generator) -> float:
    shape = torch.full((2,), float(alpha))
    first, second = torch._standard_gamma(shape, generator=draw).tolist()
    return first / max(first + second, 1e-12)


def _box(height: int, width: int, tall: int, wide: int, draw: torch.Generator) -> tuple[int, int, int, int]:
    top = int(torch.randint(height - tall + 1, (1,), generator=draw))
    left = int(torch.randint(width - wide + 1, (1,), generator=draw))
    return top, left, tall, wide
