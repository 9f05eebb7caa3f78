"""Runs and bundles on other data than their own: figures on a source, tables of several, and what they have seen."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.data.audit import Looks, look, seen_before
from mien.data.material import Material, readable
from mien.data.prepare import NOTHING, Prepared, prepare
from mien.data.protocols import describe
from mien.data.samples import SPLITS, Samples
from mien.data.sources.catalog import load
from mien.data.split import SplitSpec, assign
from mien.data.split import notes as split_notes
from mien.errors import DataError, UsageError
from mien.evaluation.cross import cross_matrix, paired
from mien.evaluation.report.arms import unfinished
from mien.judging.candidate import CUT_OUT, Candidate, Crop, candidate, of_run
from mien.judging.finished import Finished, rows_of
from mien.judging.judgement import Judgement, judged, judged_together
from mien.labels import EXPRESSIONS, meant
from mien.recipe import Dataset
from mien.rows import Read, read, remembering
from mien.run.inherited import fitted_on, looks_of_data, names_same_people, people_before
from mien.stages import Stages, silent, within


def evaluate_on(
    model: Finished | str,
    source: str,
    root: Path | None,
    split: str,
    options: dict[str, Any] | None = None,
    merge: dict[str, str] | None = None,
    stages: Stages = silent,
    crop: Crop = "face",
) -> Judgement:
    """What a run, or a bundle, is worth on one split of a source (or `all` of it), labels matched explicitly.

    A source that names no split is all test. `merge` sends labels to others on purpose; `crop` is how a bundle takes
    the pictures, as `mien.judging.candidate` has it. Opening a test split is noted in the ledger beside a run. Raises
    UsageError when the source has no such split.
    """
    judge = candidate(model, crop)
    elsewhere = _elsewhere(source, root, split, options)
    merged = _merged(merge, [*judge.labels, *elsewhere.samples.labels])
    return _all_on({judge.name: judge}, elsewhere, merged, stages)[judge.name]


def crossed(
    models: Mapping[str, Finished | str],
    sources: Mapping[str, Dataset | Finished],
    split: str,
    merge: dict[str, str] | None = None,
    stages: Stages = silent,
    whole: Collection[str] = (),
) -> dict[str, Any]:
    """Runs and bundles on several sources as `evaluate_on` has them: one table for JSON, with paired tests a source.

    `models` and `sources` are what each is called in the table; a run among the sources stands for its own data as it
    split it. Bundles take the pictures of the sources named in `whole` as faces that are cut out.
    """
    cells, pairs, once = [], {}, remembering(read)
    found = [
        _own(data, split, title, within(stages, title), once)
        if isinstance(data, Finished)
        else _elsewhere(data.source, data.root, split, data.options, title)
        for title, data in sources.items()
    ]
    judges = {
        title: {name: candidate(model, "whole" if title in whole else "face") for name, model in models.items()}
        for title in sources
    }
    known = [*(judge.labels for each in judges.values() for judge in each.values())]
    known += [elsewhere.samples.labels for elsewhere in found]
    merged = _merged(merge, [label for labels in known for label in labels])
    for elsewhere in found:
        worth = _all_on(judges[elsewhere.name], elsewhere, merged, stages)
        cells += [each.cell | {"run": name} for name, each in worth.items()]
        pairs[cells[-1]["source"]] = paired({name: each.answers for name, each in worth.items()})
    return cross_matrix(cells, pairs)


def held_out(
    name: str,
    runs: Sequence[Finished],
    others: Mapping[str, Finished | str],
    split: str,
    merge: dict[str, str] | None = None,
    stages: Stages = silent,
    whole: Collection[str] = (),
) -> dict[str, Any]:
    """The seeds or folds of a recipe, together called `name`, each on the rows that it held out, and other models on
    the same: one table for JSON, as `crossed` has it, over all answers.
    """
    source = runs[0].recipe.data.source
    rivals = {title: candidate(model, "whole" if source in whole else "face") for title, model in others.items()}
    merged = _merged(merge, [label for judge in (of_run(runs[0]), *rivals.values()) for label in judge.labels])
    worth: dict[str, list[Judgement]] = {}
    once = remembering(read)
    for run in runs:
        place = within(stages, run.folder.name)
        own = _own(run, split, source, place, once)
        for title, each in _all_on({name: of_run(run), **rivals}, own, merged, place).items():
            worth.setdefault(title, []).append(each)
    resamples = runs[0].recipe.evaluate.bootstrap
    all_rows = {title: judged_together(each, resamples) for title, each in worth.items()}
    few = unfinished(runs[0].folder.parent)
    cells = [each.noting(few).cell | {"run": title} for title, each in all_rows.items()]
    tests = paired({title: each.answers for title, each in all_rows.items()})
    return cross_matrix(cells, {cells[0]["source"]: tests})


def _all_on(
    judges: Mapping[str, Candidate], elsewhere: "_Elsewhere", merge: Mapping[str, str], stages: Stages
) -> dict[str, Judgement]:
    """What several models are worth on a source, whose pictures are looked at once."""
    looks = look(elsewhere.samples, progress=within(stages, elsewhere.name)("look"))
    # What cannot be prepared for one of them must not open the test rows for another.
    prepared = {
        name: _prepared(judge, elsewhere, within(stages, f"{name} on {elsewhere.name}"))
        for name, judge in judges.items()
    }
    return {name: _told_on(judge, elsewhere, prepared[name], looks, merge) for name, judge in judges.items()}


def _prepared(judge: Candidate, elsewhere: "_Elsewhere", stages: Stages) -> Prepared:
    try:
        return prepare(elsewhere.samples, judge.chain, progress=stages("prepare"))
    except DataError as error:
        if judge.folder or not judge.chain.finder or NOTHING not in error.what:
            raise
        said = f"{judge.name} finds a face in no picture of {elsewhere.name}"
        raise DataError(said, got=error.got, then=CUT_OUT) from error


def figures_on(
    run: Finished, source: str, root: Path | None, options: dict[str, Any] | None = None, stages: Stages = silent
) -> dict[str, Any]:
    """The run's figures on the test part of a source, as `evaluate_on` has them, and nothing else of it."""
    judge, elsewhere = of_run(run), _elsewhere(source, root, "test", options)
    found, _ = _on(judge, elsewhere, _prepared(judge, elsewhere, stages), None, {})
    figures: dict[str, Any] = found.cell["figures"]
    return figures


def _merged(merge: Mapping[str, str] | None, labels: Sequence[str]) -> dict[str, str]:
    """The merges in the words of the runs and the sources, a goal that none of them has among the expressions.

    Raises UsageError for a label to merge that neither a run nor a source has, and for a goal that is no label.
    """
    known = tuple(dict.fromkeys(labels))
    goals = tuple(dict.fromkeys((*known, *EXPRESSIONS)))
    return {meant(name, known): meant(goal, goals) for name, goal in (merge or {}).items()}


@dataclass(frozen=True)
class _Elsewhere:
    """What runs are judged on: the rows of a source, which split of them, what it is called, and what is to be told.

    `protocol` is whose split that is; None: the source's own.
    """

    name: str
    data: Dataset
    samples: Samples
    split: str
    notes: tuple[str, ...]
    protocol: str | None = None

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
    data = Dataset(source=source, root=root, options=options or {})
    found = _Elsewhere(name or source, data, samples, split, tuple(notes))
    found.rows(samples)
    return found


def _own(run: Finished, split: str, name: str, stages: Stages, read: Read) -> _Elsewhere:
    """The rows of one split of a run, as the run split its data."""
    material, rows = rows_of(run, split, stages, read)
    if not len(rows):
        raise UsageError(f"{run.folder} has no rows in split {split}", got=split, allowed=[*SPLITS, "all"])
    samples = read(run.recipe.data).take(material.place[rows])
    if split != "all":
        samples = replace(samples, table=samples.table.assign(split=split))
    return _Elsewhere(name, run.recipe.data, samples, split, (), run.protocol)


def _told_on(
    judge: Candidate, elsewhere: _Elsewhere, prepared: Prepared, looks: Looks, merge: Mapping[str, str]
) -> Judgement:
    """What a model is worth on a source, with all that must be said of it."""
    found, material = _on(judge, elsewhere, prepared, looks, merge)
    rows = np.searchsorted(material.place, found.answers.rows)
    return found.noting(_seen(judge.builds_on, elsewhere.data, material, rows))


def _on(
    judge: Candidate, elsewhere: _Elsewhere, prepared: Prepared, looks: Looks | None, merge: Mapping[str, str]
) -> tuple[Judgement, Material]:
    """What a model is worth on a source, and the rows of the source."""
    material = readable(elsewhere.samples, prepared, looks)
    rows, protocol = elsewhere.rows(material.samples), elsewhere.protocol or describe(material.samples)
    found = judged(judge, material, rows, elsewhere.name, elsewhere.split, protocol, merge)
    return found.noting([*elsewhere.notes, *judge.remarks(prepared)]), material


def _seen(runs: Sequence[Path], data: Dataset, material: Material, rows: NDArray[np.int64]) -> list[str]:
    """What must be said of pictures that a model, the first of `runs`, or one that it builds on, was fitted on."""
    assert material.looks is not None
    fitted = {each: fitted_on(each) for each in runs}
    seen = seen_before(
        material.looks, rows, set().union(*(known or () for known in fitted.values())), map(looks_of_data, runs)
    )
    said = [
        f"{each}{'' if each == runs[0] else ', which the model builds on,'} keeps no list of its training pictures: "
        "whether it was fitted on these is unknown"
        for each, known in fitted.items()
        if known is None
    ]
    whose = "that the model, or one that it builds on, was fitted on"
    if seen.same.any():
        said.append(
            f"{seen.same.sum():,} of these {len(rows):,} pictures are ones {whose}: "
            "the figures do not show how well new pictures are recognised"
        )
    if seen.alike.any():
        said.append(f"{seen.alike.sum():,} of these {len(rows):,} pictures are near twins of ones {whose}")
    alike = [each for each in runs if names_same_people(each, data)]
    if known := int((people_before(material.samples, rows, alike) & ~seen.same).sum()):
        said.append(f"{known:,} of these {len(rows):,} pictures show people {whose}")
    if seen.untold:
        said.append(
            f"{seen.untold:,} pictures {whose} are missing: whether these are near twins of them cannot be checked"
        )
    return said
