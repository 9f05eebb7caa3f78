"""What the audit means for a run: what stops it, which rows leave it, and what its reader is told."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mien.data.audit import Audit, Finding, audit, clean_train, like_held_out, refuse
from mien.data.material import Material
from mien.data.samples import Samples
from mien.errors import DataError, MienError, counted
from mien.recipe import Data, Recipe
from mien.run import inherited
from mien.stages import Stages, silent

BEFORE_SPLIT = (
    "balanced before the split: made rows and their parents are on both sides, "
    "so figures on this split do not show how well new pictures are recognised"
)


@dataclass(frozen=True)
class Cleaned:
    """What is left of the material of a run, what the audit found (None when it was off), the test pictures that had a
    twin in training and the validation pictures `shown` in what is left of it, by name, and what a reader of results
    must know."""

    material: Material
    audit: Audit | None
    twins: frozenset[str]
    shown: frozenset[str]
    told: tuple[str, ...]


def cleaned(
    recipe: Recipe, material: Material, others: Sequence[Samples], early: bool, stages: Stages = silent
) -> Cleaned:
    """The audit of a split, and the material without the training rows that `split.clean` drops.

    `others` are the datasets of `split.clean_against`; `early` says that rows were made before the split. Raises
    AuditBlocked where the audit stops the run, DataError where no training row would be left.
    """
    found = _audited(recipe, material, early, stages)
    if not found:
        return Cleaned(material, None, frozenset(), frozenset(), ("the audit was off: no check for leaks",))
    twins = _twins_in_training(material.samples, found)
    dropped, told = _twins_to_drop(recipe, material, found, others)
    shown = _shown_in_training(material, found, dropped)
    found = found.found(_taken_over(recipe, material, dropped))
    if len(dropped):
        material = material.take(np.setdiff1d(np.arange(len(material.samples)), dropped))
    return Cleaned(material, found, twins, shown, tuple(told))


def _audited(recipe: Recipe, material: Material, early: bool, stages: Stages) -> Audit | None:
    """The audit of the split that will be used. Raises AuditBlocked where that stops the run.

    What the run itself sees to is let through; so are made rows across the split where the recipe asks for the
    published order, which are told instead.
    """
    if recipe.audit == "off":
        return None
    assert material.looks is not None
    promised = (recipe.split.group,) if recipe.split.method in ("grouped", "grouped-kfold") else ()
    found = audit(
        material.samples, material.looks, parents=material.parents, promised=promised, progress=stages("compare")
    )
    if recipe.audit == "strict":
        found = found.strict()
    published, settled = early and recipe.audit == "on", _settled(recipe)
    blocking = [finding for finding in found.blocking if finding.code not in settled]
    refuse([each for each in blocking if not (published and each.code.endswith("-child-across-splits"))])
    return found


def read_others(recipe: Recipe, read: Callable[[Data], Samples]) -> list[Samples]:
    """The datasets of `split.clean_against`, in order. Raises as `read` does, naming the key."""
    found = []
    for number, data in enumerate(recipe.others):
        try:
            found.append(read(data))
        except MienError as error:
            error.what = f"split.clean_against[{number}]: {error.what}"
            raise
    return found


def _twins_to_drop(
    recipe: Recipe, material: Material, found: Audit, others: Sequence[Samples]
) -> tuple[NDArray[np.int64], list[str]]:
    """The training rows that `split.clean` drops, and those that are like what `others` hold out; what to say of them.

    Raises DataError where no training row would be left.
    """
    if recipe.split.clean == "none":
        return np.empty(0, np.int64), []
    assert material.looks is not None
    dropped = clean_train(material.samples, found)
    # Reports show what is told as a warning, and the audit shows that there was no twin.
    told = [_left_out(len(dropped), "training row", "validation or test")] if len(dropped) else []
    sources = [data.source for data in recipe.others]
    for source, other in zip(sources, others, strict=True):
        more = np.setdiff1d(like_held_out(material.samples, material.looks, other), dropped)
        told.append(_left_out(len(more), "further training row", f"what {source} holds out"))
        dropped = np.union1d(dropped, more)
    if len(dropped) == len(material.samples.rows("train")):
        where = " or ".join(["validation or test", *(f"what {source} holds out" for source in sources)])
        then = "remove those twins from the data, or set split.method: stratified for a new split"
        raise DataError(
            f"all {len(dropped)} training pictures have a twin in {where}",
            then=f"see which data split.clean_against names, and where; or {then}" if others else then,
        )
    return dropped, told


def _left_out(count: int, rows: str, where: str) -> str:
    return f"left out: {counted(count, rows)} with a twin in {where}" if count else f"no {rows} has a twin in {where}"


def _taken_over(recipe: Recipe, material: Material, dropped: NDArray[np.int64]) -> list[Finding]:
    """What the audit finds of the runs that this one builds on. Raises AuditBlocked where that stops the run."""
    assert material.looks is not None
    found = [
        finding
        for run in inherited.all_below(recipe)
        for finding in inherited.findings(
            material.samples, material.looks, dropped, run, inherited.names_same_people(run, recipe.data)
        )
    ]
    refuse([each for each in found if each.severity == "block" or (each.leak and recipe.audit == "strict")])
    return found


def said(recipe: Recipe, found: Audit) -> list[str]:
    """The leaks that stay in the run, told before it goes on and kept for its report."""
    settled = _settled(recipe)
    left = [finding for finding in found.findings if finding.leak and finding.code not in settled]
    texts = [f"{finding.code}: {finding.message}; {finding.advice}" for finding in left]
    for text in texts:
        _say_once(text)
    return texts


def _twins_in_training(samples: Samples, found: Audit) -> frozenset[str]:
    """The test pictures that have a twin among the training pictures, by name."""
    twin = found.likeness.twin_in((samples.table["split"] == "train").to_numpy(bool, na_value=False))
    test = samples.rows("test")
    return frozenset(samples.table["image"].iloc[test[twin[test]]])


def _shown_in_training(material: Material, found: Audit, dropped: NDArray[np.int64]) -> frozenset[str]:
    """The validation pictures that the training rows which stay show too, by name: they have a twin there, or rows made
    before the split share a picture with them."""
    samples, parents = material.samples, material.parents
    train = (samples.table["split"] == "train").to_numpy(bool, na_value=False)
    train[dropped] = False
    used = train.copy()
    used[parents[train][parents[train] >= 0]] = True
    known = found.likeness.twin_in(train) | used | ((parents >= 0) & used[parents]).any(axis=1)
    validation = samples.rows("validation")
    return frozenset(samples.table["image"].iloc[validation[known[validation]]])


def _settled(recipe: Recipe) -> tuple[str, ...]:
    """The findings that the run itself sees to, by code."""
    return ("exact-twins-across-splits", "near-twins-across-splits") if recipe.split.clean == "train" else ()


@cache
def _say_once(text: str) -> None:
    # The cells of a grid stand on the same data, and its leaks are the same.
    logging.getLogger("mien").warning("audit: %s", text)
