"""An embedding as a classifier: FaceNet fitted with triplets, and a readout of its vectors behind it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.imaging.steps import Normalise
from mien.stages import Progress
from mien.training.facenet import FaceNet, classifier
from mien.training.fit import Rows, predict
from mien.training.metric_learning import fit_embedding
from mien.training.readouts import linear_head, nearest_centroid
from mien.training.saving import save
from mien.training.spec import TripletSpec


class Neighbours(nn.Module):
    """Log-probabilities from the `k` nearest of `vectors` (N, D), weighted by inverse distance; `codes` (N,) int64."""

    vectors: Tensor
    answers: Tensor

    def __init__(self, vectors: Tensor, codes: Tensor, classes: int, k: int = 15) -> None:
        super().__init__()
        self.k = min(k, len(vectors))
        self.register_buffer("vectors", vectors)
        self.register_buffer("answers", nn.functional.one_hot(codes, classes).to(vectors))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Embeddings (N, D) to logits (N, classes)."""
        # By matrix product, distances between vectors this alike would be rounding noise.
        exact = "donot_use_mm_for_euclid_dist"
        distance, near = torch.cdist(embeddings, self.vectors, compute_mode=exact).topk(self.k, largest=False)
        weight = 1 / distance.clamp_min(1e-6)
        share = (weight[..., None] * self.answers[near]).sum(1) / weight.sum(1, keepdim=True)
        return share.clamp_min(1e-4).log()


def fit_triplets(
    train: Rows,
    validation: Rows,
    spec: TripletSpec,
    normalise: Normalise,
    folder: Path,
    seed: int = 0,
    progress: Progress | None = None,
) -> nn.Sequential:
    """Fit the embedding, read it out on the training rows: the network (faces to logits), its embedding first.

    Writes `history.csv`, `checkpoints/last.ckpt` and `checkpoints/best.pt` (tensors only) below `folder`, and goes on
    from `last.ckpt`, as `mien.training.fit.fit` does.
    """
    (pixels, targets), watched = _arrays(train), _arrays(validation)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    fitted = fit_embedding(pixels, targets, *watched, spec, normalise, seed, progress, folder, device)
    vectors = predict(fitted.network, train.pixels, train.positions, normalise)
    network = _read_out(fitted.network, vectors, targets, train.targets.shape[1], spec)
    save(network.state_dict(), folder / "checkpoints" / "best.pt")
    return network.eval()


def restored_embedding(state: Mapping[str, Tensor], channels: int, spec: TripletSpec) -> nn.Sequential:
    """The network that `fit_triplets` saved, from its state dict."""
    head: nn.Module
    if "1.vectors" in state:
        vectors, answers = state["1.vectors"], state["1.answers"]
        head = Neighbours(vectors, answers.argmax(1), answers.shape[1])
    else:
        classes, dimensions = state["1.weight"].shape
        head = nn.Linear(dimensions, classes)
    network = nn.Sequential(FaceNet(channels, spec.dimensions), head)
    network.load_state_dict(dict(state))
    return network


def _read_out(
    network: FaceNet, vectors: NDArray[np.float32], targets: NDArray[np.int64], classes: int, spec: TripletSpec
) -> nn.Sequential:
    if spec.readout == "neighbours":
        device = next(network.parameters()).device
        head = Neighbours(torch.as_tensor(vectors), torch.as_tensor(targets), classes)
        return nn.Sequential(network, head.to(device))
    made = (nearest_centroid if spec.readout == "centroid" else linear_head)(vectors, targets, classes)
    return classifier(network, made.weight, made.bias)


def _arrays(rows: Rows) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    return np.asarray(rows.pixels[rows.positions]), rows.targets.argmax(axis=1)
