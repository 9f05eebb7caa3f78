"""The fit of a run, ready to start: data and recipe in, and a function that gives the fitted network."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mien.data.material import Material
from mien.errors import DataError
from mien.imaging.chain import Chain
from mien.recipe import Recipe
from mien.run import earlier
from mien.runtime.bundle import means_bundle
from mien.stages import Stages
from mien.training.backbones import build
from mien.training.bundled import fill_head, settle
from mien.training.embedding import fit_triplets
from mien.training.fit import Rows, fit
from mien.training.module import side_at

_SETTLED = 2_000
"""Training pictures from which the batch norms of a bundle's network are restored."""


def classifier(recipe: Recipe, material: Material, folder: Path, stages: Stages) -> Callable[[], nn.Module]:
    """The fit of a classifier to the training rows, its epoch chosen on the validation rows: gives the network.

    Raises RunError and BundleError where weights or teachers are not there or do not fit, UsageError where the backbone
    does not take the smaller pictures of a progressive fit.
    """
    chain = Chain.parse(recipe.chain)
    assert chain.size is not None and chain.channels is not None
    classes, side = len(material.samples.labels), side_at(recipe.fit, *chain.size, epoch=0)
    network = build(recipe.model, chain.channels, chain.size, classes, recipe.seeds[0], side)
    if recipe.model.weights and means_bundle(recipe.model.weights):
        fill_head(network.backbone, network.head, recipe.model.weights, material.samples.labels)
        some = np.random.default_rng(0).permutation(material.samples.rows("train"))[:_SETTLED]
        batches = (material.place[some[at : at + 64]] for at in range(0, len(some), 64))
        settle(network, (torch.from_numpy(chain.tensor(material.pixels[batch])) for batch in batches))
    elif recipe.model.weights and (Path(recipe.model.weights) / "metrics.json").is_file():
        earlier.fill_output(network, Path(recipe.model.weights), material.samples.labels)
    teachers = [earlier.teacher(run, recipe, material.samples.labels) for run in recipe.fit.teachers]
    return partial(
        fit, network, _rows(material, "train", recipe.fit.soft_labels), _rows(material, "validation"), recipe.fit,
        recipe.augment, chain.normalise, folder, recipe.seeds[0], stages("train"), teachers,
    )  # fmt: skip


def embedding(recipe: Recipe, material: Material, folder: Path, stages: Stages) -> Callable[[], nn.Module]:
    """The fit of an embedding with its readout: gives both as one network.

    Raises DataError for a class that training lacks, or shows in a single picture.
    """
    assert recipe.triplet is not None
    samples = material.samples
    counts = np.bincount(samples.targets[samples.rows("train")], minlength=len(samples.labels))
    if absent := [label for label, count in zip(samples.labels, counts, strict=True) if count == 0]:
        raise DataError(
            "an embedding is read out by training pictures of every class",
            got=f"none of {', '.join(absent)}",
            then="set data.classes to the classes that training shows, or another split",
        )
    single = [label for label, count in zip(samples.labels, counts, strict=True) if count == 1]
    if single and not recipe.triplet.doubling:
        raise DataError(
            "triplets need two training pictures of every class",
            got=f"one of {', '.join(single)}",
            then="set data.classes to the other classes, or add an oversample step to balance.steps",
        )
    return partial(
        fit_triplets, _rows(material, "train"), _rows(material, "validation"), recipe.triplet,
        Chain.parse(recipe.chain).normalise, folder, recipe.seeds[0], stages("train"),
    )  # fmt: skip


def _rows(material: Material, split: str, soft: bool = False) -> Rows:
    positions = material.samples.rows(split)
    return Rows(material.pixels, material.place[positions], material.targets(positions, soft))
