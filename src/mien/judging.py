"""A finished run on other rows: another split, another dataset, corrupted pictures, and where the network looks."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from mien.data.audit import Looks, fitted_on, look, seen_before
from mien.data.material import Material, readable
from mien.data.pictures import Pictures
from mien.data.prepare import prepare
from mien.data.protocols import describe
from mien.data.samples import SPLITS, Samples
from mien.data.sources.catalog import load
from mien.data.split import SplitSpec, assign, clusters
from mien.data.split import notes as split_notes
from mien.earlier import all_below, looks_of_data, restored
from mien.errors import DataError, UsageError
from mien.evaluation import calibration, ledger, statistics
from mien.evaluation.cross import Answers, cross_cell, cross_matrix, paired, restrict
from mien.evaluation.explain import deepest_map, explain
from mien.evaluation.robustness import robustness
from mien.experiment import Read, Stages, read, silent
from mien.files import read_json, write_json
from mien.imaging.chain import Chain
from mien.labels import canonical
from mien.places import check_finished
from mien.recipe import Recipe
from mien.training.fit import predict


@dataclass(frozen=True)
class Finished:
    """A finished run, ready to answer: its recipe, network, labels, chain, temperature, the confidence below which it
    is uncertain, and protocol (`name@digest`).
    """

    folder: Path
    recipe: Recipe
    network: nn.Module
    labels: tuple[str, ...]
    chain: Chain
    temperature: float
    uncertain_below: float | None
    protocol: str

    def probabilities(
        self, pixels: Pictures, positions: NDArray[np.int64] | None = None, exactly: bool = False
    ) -> NDArray[np.float32]:
        """Calibrated probabilities (n, classes) of prepared pixels, or of some positions of them; `exactly` as in
        `mien.training.fit.predict`.
        """
        rows = np.arange(len(pixels)) if positions is None else positions
        logits = predict(self.network, pixels, rows, self.chain.normalise, self.recipe.evaluate.flip, exactly=exactly)
        return calibration.softmax(logits, self.temperature).astype(np.float32)


def finished(folder: Path, root: Path | None = None) -> Finished:
    """Open a finished run; `root` is where its data is now, if it was moved.

    Raises RunError when it is not a finished one, saying how to finish it.
    """
    check_finished(folder)
    figures = read_json(folder / "metrics.json")
    labels = tuple(figures["test"]["labels"])
    recipe, network = restored(folder, len(labels))
    if root:
        recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"root": root})})
    protocol = f"{figures['protocol']['name']}@{figures['protocol']['digest']}"
    return Finished(
        folder, recipe, network, labels, Chain.parse(recipe.chain), figures["temperature"], figures["uncertain_below"],
        protocol,
    )  # fmt: skip


def rows_of(
    run: Finished, split: str, stages: Stages = silent, read: Read = read
) -> tuple[Material, NDArray[np.int64]]:
    """The pictures of one split, or `all`, as the run split them, found again in its data; made rows are left out.

    Raises DataError where pictures are gone; that some have changed is said.
    """
    try:
        samples = read(run.recipe.data)
        prepared = prepare(samples, run.chain, progress=stages("prepare"))
    except DataError as error:
        moved = "if the data was only moved, or is named from another folder, add --root FOLDER"
        raise DataError(
            f"the data that {run.folder} was made on cannot be read: {error.what}", got=error.got, then=moved
        ) from error
    material = readable(samples, prepared)
    kept = pd.read_parquet(run.folder / "samples.parquet", columns=["image", "listing", "split", "source", "digest"])
    chosen = kept["split"].isin(SPLITS) if split == "all" else kept["split"] == split
    # The parent of a made row may have been balanced away: what made it always says so.
    real = kept["source"] != "made"
    if split != "train" and (made := int((chosen & ~real & (kept["split"] != "train")).sum())):
        logging.getLogger("mien").warning(
            "%s made rows of %s are left out: their pictures were not kept, so figures differ from the run's own",
            f"{made:,}", run.folder,
        )  # fmt: skip
    # A source may list a picture twice: a row is known by its picture, and how many rows before list the same.
    listing = samples.table.groupby("image").cumcount().to_numpy()[material.place]
    table = material.samples.table.assign(listing=listing).set_index(["image", "listing"], drop=False)
    wanted = kept.set_index(["image", "listing"])["digest"][(chosen & real).to_numpy(bool, na_value=False)]
    if gone := int((~wanted.index.isin(table.index)).sum()):
        raise DataError(
            f"{gone:,} of the {len(wanted):,} pictures that {run.folder} was made on are missing from its data",
            got=run.recipe.data.root,
            then="restore them; if the data was only moved, add --root FOLDER",
        )
    rows = np.flatnonzero(table.index.isin(wanted.index))
    found = table.iloc[rows]
    if changed := int((found["digest"].to_numpy() != wanted.reindex(found.index).to_numpy()).sum()):
        logging.getLogger("mien").warning(
            "%s of the %s pictures that %s was made on have changed since", f"{changed:,}", f"{len(rows):,}", run.folder
        )
    return material, rows


def evaluate_own(run: Finished, split: str, stages: Stages = silent) -> dict[str, Any]:
    """The run's figures on the pictures of one of its own splits, or `all` of them, as it split them.

    Opening the test split is noted in the ledger beside the run. Raises UsageError when the run has no such split.
    """
    material, rows = rows_of(run, split, stages)
    if not len(rows):
        kept = set(pd.read_parquet(run.folder / "samples.parquet", columns=["split"])["split"])
        there = [name for name in SPLITS if name in kept]
        raise UsageError(f"the run has no rows in split {split}", got=split, allowed=[*there, "all"])
    protocol = _without_made(run, material.samples)
    return _judged(run, material, rows, run.recipe.data.source, split, protocol, None)[0]


def _without_made(run: Finished, samples: Samples) -> str:
    """The run's protocol; where a balance before the split made rows of its test part, that of the real rows alone."""
    kept = pd.read_parquet(run.folder / "samples.parquet", columns=["split", "label", "digest", "source"])
    made = (kept["source"] == "made").to_numpy(bool)
    if not (made & kept["split"].isin(["validation", "test"])).any():
        return run.protocol
    return describe(replace(samples, table=kept[~made]))


def evaluate_on(
    run: Finished,
    source: str,
    root: Path | None,
    split: str,
    options: dict[str, Any] | None = None,
    merge: dict[str, str] | None = None,
    stages: Stages = silent,
    name: str | None = None,
) -> dict[str, Any]:
    """The run's figures on one split of a source (or `all` of it), labels brought together by an explicit map.

    A source that names no split is all test. `merge` sends labels to others on purpose; `name` is what the source is
    called in the answer. Opening a test split is noted in the ledger beside the run. Raises UsageError when the source
    has no such split.
    """
    elsewhere = _elsewhere(source, root, split, options, merge, name)
    _check_merge(merge, [*run.labels, *elsewhere.samples.labels])
    return _told_on(run, elsewhere, look(elsewhere.samples, progress=stages("look")), stages)[0]


def crossed(
    runs: Mapping[str, Finished],
    sources: Mapping[str, tuple[str, Path]],
    split: str,
    merge: dict[str, str] | None = None,
    stages: Stages = silent,
) -> dict[str, Any]:
    """Several runs on several sources, each as `evaluate_on` has it, as one table for JSON, with paired tests a source.

    `sources` maps what a source is called to its name in the catalogue and its root.
    """
    cells, pairs = [], {}
    found = [_elsewhere(source, root, split, None, merge, title) for title, (source, root) in sources.items()]
    known = [*(run.labels for run in runs.values()), *(elsewhere.samples.labels for elsewhere in found)]
    _check_merge(merge, [label for labels in known for label in labels])
    for elsewhere in found:
        looks = look(elsewhere.samples, progress=stages("look"))
        answers = {}
        for name, run in runs.items():
            cell, answers[name] = _told_on(run, elsewhere, looks, stages)
            cells.append(cell | {"run": name})
        pairs[cells[-1]["source"]] = paired(answers)
    return cross_matrix(cells, pairs)


def figures_on(
    run: Finished, source: str, root: Path | None, options: dict[str, Any] | None = None, stages: Stages = silent
) -> dict[str, Any]:
    """The run's figures on the test part of a source, as `evaluate_on` has them, and nothing else of it."""
    figures: dict[str, Any] = _on(run, _elsewhere(source, root, "test", options), None, stages)[0]["figures"]
    return figures


def _check_merge(merge: Mapping[str, str] | None, labels: Sequence[str]) -> None:
    """Raise UsageError for a label to merge that neither a run nor a source has."""
    if strange := [name for name in merge or {} if canonical(name) not in labels]:
        raise UsageError("no run and no source has the label to merge", got=strange, allowed=sorted(set(labels)))


@dataclass(frozen=True)
class _Elsewhere:
    """What runs are judged on: the rows of a source, which split of them, what it is called, and what is to be told."""

    name: str
    samples: Samples
    split: str
    merge: dict[str, str] | None
    notes: tuple[str, ...]

    def rows(self, samples: Samples) -> NDArray[np.int64]:
        """The labelled rows (n,) of the split among `samples`. Raises UsageError where there are none."""
        wanted = samples.targets >= 0
        if self.split != "all":
            wanted &= (samples.table["split"] == self.split).to_numpy(bool, na_value=False)
        if not wanted.any():
            there = [part for part in SPLITS if len(samples.rows(part))]
            raise UsageError(f"{self.name} has no rows in split {self.split}", got=self.split, allowed=[*there, "all"])
        return np.flatnonzero(wanted)


def _elsewhere(
    source: str,
    root: Path | None,
    split: str,
    options: dict[str, Any] | None = None,
    merge: dict[str, str] | None = None,
    name: str | None = None,
) -> _Elsewhere:
    """A source as it is judged: one that names no split is all test, one that lacks the split is split as a run on it
    would be."""
    samples, notes = load(source, root, **(options or {})), []
    published = {part for part in SPLITS if len(samples.rows(part))}
    if not published and split == "test":
        split = "all"
        notes.append(f"{source} names no split: all its pictures are test pictures here")
    elif split not in published | {"all"} and len(published) > 1:
        notes += split_notes(samples, SplitSpec())
        samples = assign(samples, SplitSpec())
    found = _Elsewhere(name or source, samples, split, merge, tuple(notes))
    found.rows(samples)
    return found


def _told_on(run: Finished, elsewhere: _Elsewhere, looks: Looks, stages: Stages) -> tuple[dict[str, Any], Answers]:
    """The cell of a run and a source with all that must be said of it, and the answers in it."""
    cell, material, answers = _on(run, elsewhere, looks, stages)
    assert material.looks is not None
    judged = np.searchsorted(material.place, answers.rows)
    return cell | {"notes": [*_seen(run, material.looks, judged), *cell["notes"]]}, answers


def _on(
    run: Finished, elsewhere: _Elsewhere, looks: Looks | None, stages: Stages
) -> tuple[dict[str, Any], Material, Answers]:
    """The cell of a run and a source, the rows of the source, and the answers to those that were judged."""
    prepared = prepare(elsewhere.samples, run.chain, progress=stages("prepare"))
    material = readable(elsewhere.samples, prepared, looks)
    rows, protocol = elsewhere.rows(material.samples), describe(material.samples)
    cell, answers = _judged(run, material, rows, elsewhere.name, elsewhere.split, protocol, elsewhere.merge)
    return cell | {"notes": [*elsewhere.notes, *prepared.remarks, *cell["notes"]]}, material, answers


def _seen(run: Finished, looks: Looks, rows: NDArray[np.int64]) -> list[str]:
    """What must be said of pictures on which the run, or one that it builds on, was fitted, and of near twins."""
    runs = (run.folder, *all_below(run.recipe))
    fitted = {each: fitted_on(each) for each in runs}
    seen = seen_before(looks, rows, set().union(*(known or () for known in fitted.values())), map(looks_of_data, runs))
    said = [
        f"{each}, which the run builds on, keeps no list of its training pictures: whether it was fitted on these is "
        "unknown"
        for each, known in fitted.items()
        if known is None
    ]
    whose = "that the run, or one that it builds on, was fitted on"
    if seen.same.any():
        said.append(f"{seen.same.sum():,} of these {len(rows):,} pictures are ones {whose}")
    if seen.alike.any():
        said.append(f"{seen.alike.sum():,} of these {len(rows):,} pictures are near twins of ones {whose}")
    if seen.untold:
        said.append(
            f"{seen.untold:,} pictures {whose} are missing: whether these are near twins of them cannot be checked"
        )
    return said


def _judged(
    run: Finished,
    material: Material,
    rows: NDArray[np.int64],
    source: str,
    split: str,
    protocol: str,
    merge: dict[str, str] | None,
) -> tuple[dict[str, Any], Answers]:
    """The cell of a table of runs and sources, and the answers to those of the rows whose label the run knows."""
    chosen = material.samples.table.iloc[rows]
    seen = restrict(
        run.probabilities(material.pixels, material.place[rows]), run.labels, list(chosen["label"]),
        material.samples.labels, merge,
    )  # fmt: skip
    # What cannot be judged has opened nothing.
    opened = ledger.record(run.folder.parent, protocol, run.folder.name) if split in ("test", "all") else None
    groups = clusters(chosen)
    cell = cross_cell(run.folder.name, f"{source} {split}", seen, groups, run.recipe.evaluate.bootstrap)
    kept = rows[seen.kept]
    drawn = None if groups is None else list(compress(groups, seen.kept))
    answers = Answers(material.place[kept], seen.labels, seen.probabilities, seen.targets, drawn)
    notes = statistics.few(len(kept), drawn)
    return cell | {"protocol": protocol, "opened": opened, "notes": notes}, answers


def corrupted(run: Finished, stages: Stages = silent) -> dict[str, Any]:
    """Accuracy and calibration of the run under every corruption, on its test rows; kept as `robustness.json`.

    Noted in the ledger beside the run as an opening of its test split.
    """
    material, rows = rows_of(run, "test", stages)
    ledger.record(run.folder.parent, run.protocol, f"{run.folder.name} robustness")
    pixels = np.asarray(material.pixels[material.place[rows]])
    found = robustness(
        run.probabilities, pixels, material.samples.targets[rows], run.labels, progress=stages("robustness"),
        bootstrap=run.recipe.evaluate.bootstrap, groups=clusters(material.samples.table.iloc[rows]),
    )  # fmt: skip
    write_json(run.folder / "robustness.json", found)
    return found


def explained(run: Finished, stages: Stages = silent) -> list[Path]:
    """Where the network looks, over test pictures: two pictures in the run's `figures` folder.

    Noted in the ledger beside the run as an opening of its test split.
    """
    material, rows = rows_of(run, "test", stages)
    ledger.record(run.folder.parent, run.protocol, f"{run.folder.name} explain")
    pixels = np.asarray(material.pixels[material.place[rows]])
    layer = deepest_map(run.network, run.chain.tensor(pixels[:1]))
    return explain(
        run.network, layer, pixels, run.chain.tensor, material.samples.targets[rows], run.labels, run.folder / "figures"
    )
