"""A run, from recipe to report. The only place that knows the order of the stages."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mien.data.audit import Audit, children, look
from mien.data.balance import parse
from mien.data.material import Material, balanced, idle_steps, readable, resplit
from mien.data.prepare import prepare
from mien.data.protocols import check, describe
from mien.data.split import assign, notes, unlearnable
from mien.errors import DataError, RunError
from mien.evaluation import calibration, ledger
from mien.evaluation.report import select_gallery, weigh, write_comparison_report, write_run_report
from mien.evaluation.report.arms import keep_together
from mien.files import alone, write_json, write_text
from mien.imaging.chain import Chain
from mien.recipe import Recipe
from mien.rows import Read, asked, check_parts, read, remembering
from mien.run import earlier, environment, fits, leaks, verdict
from mien.run import folder as run_folder
from mien.stages import Stages, silent, within
from mien.training.module import remarks as short_fit


@dataclass(frozen=True)
class Gathered:
    """What a run works on: the material, its protocol as `name@digest`, the audit (None when it was off), the test
    pictures that have a twin in training, the validation pictures `shown` there, the pictures left out with their
    reasons, and what a reader of results must know. `listing` (N,) counts for each row the earlier ones of the data
    that list the same picture.
    """

    material: Material
    listing: NDArray[np.int64]
    protocol: str
    audit: Audit | None
    twins: frozenset[str]
    shown: frozenset[str]
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
    fitted = (fits.embedding if recipe.triplet else fits.classifier)(recipe, material, folder, stages)
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
    figures, predictions = verdict.judge(recipe, material, network, gathered.shown)
    collapse: list[str] = []
    if recipe.triplet:
        picture = folder / "figures" / "embedding.svg"
        figures["embedding"], collapse = verdict.judge_embedding(recipe, material, network, picture)
    run_folder.save_table(folder / "predictions.parquet", predictions)
    seconds = {
        "prepare": ready - begun,
        "train": run_folder.seconds_of_fit(folder),
        "evaluate": time.perf_counter() - trained,
    }
    name, _, digest = gathered.protocol.rpartition("@")
    few = verdict.few(recipe, predictions)
    figures |= {
        "protocol": {"name": name, "digest": digest, "split": "test", "rows": len(predictions)},
        "test_without_twins": verdict.without(predictions, gathered.twins),
        "opened": opened,
        "seconds": {stage: round(taken, 1) for stage, taken in seconds.items()},
        "precision": run_folder.precision(folder),
        "notes": [
            *gathered.remarks,
            *calibration.remarks(figures["temperature"], figures["uncertain_below"], recipe.evaluate.answered_accuracy),
            *verdict.left_out(figures["calibrated_on"]),
            *collapse,
            *few,
        ],
        "few": few,
    }
    write_json(folder / "metrics.json", figures)
    write_run_report(folder, thumbnails=_pictures(material, predictions))
    return folder


def gather(recipe: Recipe, strict: bool = False, stages: Stages = silent, read: Read = read) -> Gathered:
    """The rows of a recipe, split, audited, cleaned and balanced, with their pixels prepared.

    Raises AuditBlocked when the audit stops the run.
    """
    samples, others = asked(recipe, read), leaks.read_others(recipe, read)
    chain, early = Chain.parse(recipe.chain), recipe.balance.order == "balance-before-split"
    # Split whole, a dataset keeps its parts whatever picture a chain cannot read.
    parted = samples if early else assign(samples, recipe.split.spec)
    prepared = prepare(parted, chain, strict=strict, progress=stages("prepare"))
    looks = None if recipe.audit == "off" else look(parted, progress=stages("look"))
    material = readable(parted, prepared, looks)
    remarks = [
        *chain.remarks,
        *prepared.remarks,
        *(["problems.csv lists the pictures left out"] if len(prepared.problems) else []),
    ]
    steps, seed = parse(recipe.balance.steps), recipe.seeds[0]
    if early:
        remarks += [*idle_steps(material.samples, steps, split=None), leaks.BEFORE_SPLIT]
        material = balanced(material, steps, seed, split=None)
        remarks += notes(material.samples, recipe.split.spec)
        material = resplit(material, recipe.split.spec)
    else:
        remarks += notes(samples, recipe.split.spec)
    check_parts(material.samples)
    protocol = check(recipe.protocol, material.samples) if recipe.protocol else describe(material.samples)
    cleaned = leaks.cleaned(recipe, material, others, early, stages)
    material, found = cleaned.material, cleaned.audit
    remarks += [*cleaned.told, *unlearnable(material.samples)]
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
    twins, shown = cleaned.twins, cleaned.shown
    return Gathered(material, listing, protocol, found, twins, shown, prepared.problems, tuple(remarks))


def _listed(gathered: Gathered) -> pd.DataFrame:
    """The rows of a run as they are kept: where each stands in its data, whether a validation picture is shown in
    training too, and what a made one was made from."""
    table = gathered.material.samples.table.assign(listing=gathered.listing)
    table["shown"] = (table["split"] == "validation") & table["image"].isin(gathered.shown)
    table["made_from"] = pd.Series([list(each) for each in gathered.material.made_from], table.index, object)
    return table


def _pictures(material: Material, predictions: pd.DataFrame) -> dict[int, NDArray[np.uint8]]:
    rows = material.samples.rows("test")
    chosen = select_gallery(predictions)
    return dict(zip(chosen, material.pixels[material.place[rows[chosen]]], strict=True))
