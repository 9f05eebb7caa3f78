"""A run, from recipe to report. The only place that knows the order of the stages."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from mien import earlier, environment, leaks, run_folder
from mien.data.audit import Audit, children, look
from mien.data.balance import parse
from mien.data.material import Material, balanced, idle_steps, readable, resplit
from mien.data.prepare import prepare
from mien.data.protocols import check, describe
from mien.data.split import clusters, notes, unlearnable
from mien.errors import DataError, RunError
from mien.evaluation import calibration, ledger, statistics
from mien.evaluation.comparison import drawn_by
from mien.evaluation.report import select_gallery, weigh, write_comparison_report, write_run_report
from mien.evaluation.report.arms import keep_together
from mien.files import alone, write_json, write_text
from mien.imaging.chain import Chain
from mien.recipe import Recipe
from mien.rows import Read, asked, check_parts, read, remembering
from mien.runtime.bundle import means_bundle
from mien.stages import Stages, silent, within
from mien.training.backbones import build
from mien.training.bundled import fill_head, settle
from mien.training.embedding import fit_triplets
from mien.training.fit import Rows, fit
from mien.training.module import remarks as short_fit
from mien.verdict import judge, judge_embedding

_SETTLED = 2_000
"""Training pictures from which the batch norms of a bundle's network are restored."""

BEFORE_SPLIT = (
    "balanced before the split: made rows and their parents are on both sides, "
    "so figures on this split do not show how well new pictures are recognised"
)


@dataclass(frozen=True)
class Gathered:
    """What a run works on: the material, its protocol as `name@digest`, the audit (None when it was off), the test
    pictures that have a twin in training, the pictures left out with their reasons, and what a reader of results must
    know. `listing` (N,) counts for each row the earlier ones of the data that list the same picture.
    """

    material: Material
    listing: NDArray[np.int64]
    protocol: str
    audit: Audit | None
    twins: frozenset[str]
    problems: pd.DataFrame
    remarks: tuple[str, ...]


def train(
    recipe: Recipe,
    folder: str | Path,
    resume: bool = False,
    strict: bool = False,
    stages: Stages = silent,
    read: Read = read,
) -> Path:
    """Carry a recipe out in a run folder, or go on with it after a kill.

    Several seeds, or all folds, make a folder of runs with one report over them, mean and spread.
    Raises RunError when the folder holds another run or another process is at work in it, when the data has changed
    since the run began; AuditBlocked when the audit stops it.
    """
    folder = Path(folder)
    with alone(folder) as free:
        if not free:
            raise RunError(
                f"another process is working on the run {folder}", then="wait for it, or choose another --out"
            )
        return (_trained_often if recipe.repetitions else _trained)(recipe, folder, resume, strict, stages, read)


def begin_repetitions(recipe: Recipe, folder: Path, resume: bool) -> None:
    """Make the folder of a recipe's seeds or folds, whose runs share one ledger. Raises RunError as `train` does."""
    run_folder.check_free(folder, recipe, resume)
    recipe.save(folder / "recipe.yaml")
    ledger.begin(folder.parent)


def _trained_often(recipe: Recipe, folder: Path, resume: bool, strict: bool, stages: Stages, read: Read) -> Path:
    begin_repetitions(recipe, folder, resume)
    read = remembering(read)
    runs = recipe.repetitions
    for number, (name, single) in enumerate(runs.items(), 1):
        place = f"{name.replace('-', ' ')} ({number}/{len(runs)})"
        train(single, folder / name, resume, strict, within(stages, place), read)
    keep_together(folder, runs)
    write_comparison_report(weigh([folder / name for name in runs]), folder / "report.html")
    return folder


def _trained(recipe: Recipe, folder: Path, resume: bool, strict: bool, stages: Stages, read: Read) -> Path:
    run_folder.check_free(folder, recipe, resume)
    if (folder / "metrics.json").is_file():
        if not (folder / "report.html").is_file():
            write_run_report(folder)
        return folder
    begun = time.perf_counter()
    earlier.check(recipe)
    gathered = gather(recipe, strict, stages, read)
    material = gathered.material
    run_folder.check_same_rows(folder, material.samples.table)
    # A network that cannot be had must leave no folder behind that looks like a run.
    fitted = (_embedding if recipe.triplet else _classifier)(recipe, material, folder, stages)
    recipe.save(folder / "recipe.yaml")
    write_json(folder / "environment.json", environment.describe())
    run_folder.save_table(folder / "samples.parquet", _listed(gathered))
    write_json(folder / "audit.json", gathered.audit.as_dict() if gathered.audit else {"audit": "off"})
    if len(gathered.problems):
        write_text(folder / "problems.csv", gathered.problems.to_csv(index=False))
    ready = time.perf_counter()
    network = fitted()
    trained = time.perf_counter()
    opened = ledger.record(folder.parent, gathered.protocol, folder.name)
    figures, predictions = judge(recipe, material, network)
    if recipe.triplet:
        figures["embedding"] = judge_embedding(recipe, material, network, folder / "figures" / "embedding.svg")
    run_folder.save_table(folder / "predictions.parquet", predictions)
    seconds = {
        "prepare": ready - begun,
        "train": run_folder.seconds_of_fit(folder),
        "evaluate": time.perf_counter() - trained,
    }
    name, _, digest = gathered.protocol.rpartition("@")
    figures |= {
        "protocol": {"name": name, "digest": digest, "split": "test", "rows": len(predictions)},
        "test_without_twins": _without(predictions, gathered.twins),
        "opened": opened,
        "seconds": {stage: round(taken, 1) for stage, taken in seconds.items()},
        "precision": run_folder.precision(folder),
        "notes": [
            *gathered.remarks,
            *calibration.remarks(figures["temperature"], figures["uncertain_below"], recipe.evaluate.answered_accuracy),
            *_few(recipe, predictions),
        ],
    }
    write_json(folder / "metrics.json", figures)
    write_run_report(folder, thumbnails=_pictures(material, predictions))
    return folder


def _few(recipe: Recipe, predictions: pd.DataFrame) -> list[str]:
    """That the test part shows few people, and what shows more."""
    said = statistics.few(len(predictions), clusters(predictions[["subject", "sequence"]]))
    more = "; with split.method: grouped-kfold and split.fold: all everybody is tested once"
    return [text + more if recipe.split.method == "grouped" else text for text in said]


def gather(recipe: Recipe, strict: bool = False, stages: Stages = silent, read: Read = read) -> Gathered:
    """The rows of a recipe, split, audited, cleaned and balanced, with their pixels prepared.

    Raises AuditBlocked when the audit stops the run.
    """
    samples, others = asked(recipe, read), leaks.read_others(recipe, read)
    prepared = prepare(samples, Chain.parse(recipe.chain), strict=strict, progress=stages("prepare"))
    looks = None if recipe.audit == "off" else look(samples, progress=stages("look"))
    material = readable(samples, prepared, looks)
    remarks = [*prepared.remarks, *(["problems.csv lists the pictures left out"] if len(prepared.problems) else [])]
    steps, seed = parse(recipe.balance.steps), recipe.seeds[0]
    if early := recipe.balance.order == "balance-before-split":
        remarks += [*idle_steps(material.samples, steps, split=None), BEFORE_SPLIT]
        material = balanced(material, steps, seed, split=None)
    remarks += notes(material.samples, recipe.split.spec)
    material = resplit(material, recipe.split.spec)
    check_parts(material.samples)
    protocol = check(recipe.protocol, material.samples) if recipe.protocol else describe(material.samples)
    found = leaks.audited(recipe, material, early)
    twins: frozenset[str] = frozenset()
    if found:
        twins = leaks.twins_in_training(material.samples, found)
        dropped, told = leaks.twins_to_drop(recipe, material, found, others)
        remarks += told
        found = found.found(leaks.taken_over(recipe, material, dropped))
        if len(dropped):
            material = material.take(np.setdiff1d(np.arange(len(material.samples)), dropped))
    else:
        remarks.append("the audit was off: no check for leaks")
    remarks += unlearnable(material.samples)
    if steps and not early:
        remarks += idle_steps(material.samples, steps)
        material = balanced(replace(material, looks=None), steps, seed)
        if found:
            found = found.found(children(material.samples, material.parents))
    if recipe.model.transfer == "scratch" and not recipe.triplet:
        remarks += short_fit(recipe.fit, len(material.samples.rows("train")))
    learned = sorted(set(material.samples.table["label"].iloc[material.samples.rows("train")]))
    if len(learned) < 2:
        raise DataError(
            "training pictures of one class teach nothing", got=learned,
            then="bring pictures of another class, or see data.classes and split in the recipe",
        )  # fmt: skip
    if found:
        remarks += leaks.said(recipe, found)
    # The pixels of made rows lie behind those of the data, or are a row's own.
    listing = np.append(samples.table.groupby("image").cumcount(), 0)[np.minimum(material.place, len(samples))]
    return Gathered(material, listing, protocol, found, twins, prepared.problems, tuple(remarks))


def _listed(gathered: Gathered) -> pd.DataFrame:
    """The rows of a run as they are kept: where each stands in its data, and what it was made from."""
    table = gathered.material.samples.table.assign(listing=gathered.listing)
    table["made_from"] = pd.Series([list(each) for each in gathered.material.made_from], table.index, object)
    return table


def _without(predictions: pd.DataFrame, images: frozenset[str]) -> dict[str, Any]:
    kept = predictions[~predictions["image"].isin(images)]
    if not len(kept):
        return {"rows": 0}
    right = (kept["predicted"] == kept["label"]).to_numpy(bool)
    return {"rows": len(kept), "accuracy": statistics.proportion(right, groups=drawn_by(kept)).as_dict()}


def _classifier(recipe: Recipe, material: Material, folder: Path, stages: Stages) -> Callable[[], nn.Module]:
    """The fit of a classifier, ready to start: its network and its teachers are there."""
    chain = Chain.parse(recipe.chain)
    assert chain.size is not None and chain.channels is not None
    network = build(recipe.model, chain.channels, chain.size, len(material.samples.labels), recipe.seeds[0])
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


def _embedding(recipe: Recipe, material: Material, folder: Path, stages: Stages) -> Callable[[], nn.Module]:
    assert recipe.triplet is not None
    samples = material.samples
    shown = set(samples.targets[samples.rows("train")].tolist())
    if absent := [label for code, label in enumerate(samples.labels) if code not in shown]:
        raise DataError(
            "an embedding is read out by training pictures of every class",
            got=f"none of {', '.join(absent)}",
            then="set data.classes to the classes that training shows, or another split",
        )
    return partial(
        fit_triplets, _rows(material, "train"), _rows(material, "validation"), recipe.triplet,
        Chain.parse(recipe.chain).normalise, folder, recipe.seeds[0], stages("train"),
    )  # fmt: skip


def _rows(material: Material, split: str, soft: bool = False) -> Rows:
    positions = material.samples.rows(split)
    return Rows(material.pixels, material.place[positions], material.targets(positions, soft))


def _pictures(material: Material, predictions: pd.DataFrame) -> dict[int, NDArray[np.uint8]]:
    rows = material.samples.rows("test")
    chosen = select_gallery(predictions)
    return dict(zip(chosen, material.pixels[material.place[rows[chosen]]], strict=True))
