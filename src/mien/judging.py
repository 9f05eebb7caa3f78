"""A finished run on its own data: figures on its splits, under corruption, and where it looks."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mien.candidate import Candidate, of_run
from mien.data.material import Material
from mien.data.protocols import describe
from mien.data.samples import SPLITS, Reader, Samples
from mien.data.split import clusters
from mien.errors import DataError, UsageError
from mien.evaluation import ledger, statistics
from mien.evaluation.comparison import drawn_by, probabilities_of
from mien.evaluation.comparison import pooled as all_answers
from mien.evaluation.cross import Answers, cross_cell, restrict
from mien.evaluation.explain import deepest_map, explain
from mien.evaluation.metrics import evaluate
from mien.evaluation.robustness import robustness
from mien.files import write_json
from mien.finished import Finished, rows_of
from mien.stages import Stages, silent
from mien.verdict import tabulated

_APART = 10**12  # more rows than a source has


@dataclass(frozen=True)
class Judgement:
    """What a model is worth on some rows: a cell of a table of models and sources, for JSON, the answers that stand
    behind it, and the same as a table, `predictions`, as `mien.verdict.tabulated` makes it."""

    cell: dict[str, Any]
    answers: Answers
    predictions: pd.DataFrame

    def noting(self, notes: Sequence[str]) -> "Judgement":
        """The same with more to be told, before what is told already."""
        return replace(self, cell=self.cell | {"notes": [*notes, *self.cell["notes"]]})


def pooled(each: Sequence[Judgement], resamples: int) -> Judgement:
    """Several judgements of one model, each on rows of its own, as one; the answers to a picture are drawn as one."""
    table = all_answers([one.predictions for one in each])
    answers, groups = [one.answers for one in each], drawn_by(table)
    labels, targets = answers[0].labels, np.concatenate([one.targets for one in answers])
    probabilities = probabilities_of(table)
    people = clusters(table[["subject", "sequence"]])
    notes = (note for one in each for note in one.cell["notes"] if statistics.TOO_NARROW not in note)
    rows = np.concatenate([number * _APART + one.rows for number, one in enumerate(answers)])
    cell = each[0].cell | {
        "figures": evaluate(probabilities, targets, labels, resamples, groups=groups),
        "dropped": dict(sum((Counter(one.cell["dropped"]) for one in each), Counter())),
        "protocol": ", ".join(dict.fromkeys(one.cell["protocol"] for one in each)),
        "notes": [*statistics.few(len(table), people), *dict.fromkeys(notes)],
    }
    return Judgement(cell, Answers(rows, labels, probabilities, targets, groups), table)


def evaluate_own(run: Finished, split: str, stages: Stages = silent) -> Judgement:
    """The run's figures on the pictures of one of its own splits, or `all` of them, as it split them.

    Opening the test split is noted in the ledger beside the run. Raises UsageError when the run has no such split.
    """
    material, rows = rows_of(run, split, stages)
    if not len(rows):
        kept = set(pd.read_parquet(run.folder / "samples.parquet", columns=["split"])["split"])
        there = [name for name in SPLITS if name in kept]
        raise UsageError(f"the run has no rows in split {split}", got=split, allowed=[*there, "all"])
    protocol = _without_made(run, material.samples)
    found = judged(of_run(run), material, rows, run.recipe.data.source, split, protocol, {})
    return found.noting(_used(run, split, len(rows)))


def _used(run: Finished, split: str, count: int) -> list[str]:
    """What must be said of figures on rows that the run was fitted on, or that chose its epoch."""
    parts = {"train": "it was fitted on", "validation": "its epoch and its temperature were chosen on"}
    kept, said = pd.read_parquet(run.folder / "samples.parquet", columns=["split", "source"]), []
    for part, why in parts.items():
        rows = int(((kept["split"] == part) & (kept["source"] != "made")).sum())
        if split in (part, "all") and rows:
            said.append(f"{rows:,} of these {count:,} pictures are ones {why}: new pictures are recognised less well")
    return said


def corrupted(run: Finished, stages: Stages = silent) -> dict[str, Any]:
    """Accuracy and calibration of the run under every corruption, on its test rows; kept as `robustness.json`.

    The pictures are made worse as the source has them, and then go through the run's chain. Noted in the ledger beside
    the run as an opening of its test split.
    """
    material, rows = rows_of(run, "test", stages)
    ledger.record(run.folder.parent, run.protocol, f"{run.folder.name} robustness")
    pictures = _Originals(material.samples.reader, material.samples.table["image"].iloc[rows].tolist())
    found = robustness(
        partial(_answered, run), pictures, material.samples.targets[rows], run.labels, progress=stages("robustness"),
        bootstrap=run.recipe.evaluate.bootstrap, groups=clusters(material.samples.table.iloc[rows]),
    )  # fmt: skip
    write_json(run.folder / "robustness.json", found)
    return found


@dataclass(frozen=True)
class _Originals(Sequence[NDArray[np.uint8]]):
    """Pictures as their source has them, read when they are asked for."""

    reader: Reader
    images: list[str]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, at: Any) -> Any:
        return self.reader.read(self.images[at])


def _answered(run: Finished, pictures: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """The run's probabilities (n, classes) for original pictures; NaN for one in which its chain finds nothing."""
    prepared = [_prepared(run, picture) for picture in pictures]
    seen = [place for place, pixels in enumerate(prepared) if pixels is not None]
    found = np.full((len(prepared), len(run.labels)), np.nan, np.float32)
    if seen:
        found[seen] = run.probabilities(np.stack([pixels for pixels in prepared if pixels is not None]))
    return found


def _prepared(run: Finished, picture: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    try:
        return run.chain.run(picture).pixels
    except DataError:
        return None


def explained(run: Finished, stages: Stages = silent) -> list[Path]:
    """Where the network looks, over test pictures: two pictures in the run's `figures` folder.

    Noted in the ledger beside the run as an opening of its test split.
    """
    material, rows = rows_of(run, "test", stages)
    ledger.record(run.folder.parent, run.protocol, f"{run.folder.name} explain")
    pixels = np.asarray(material.pixels[material.place[rows]])
    layer = deepest_map(run.network, run.chain.tensor(pixels[:1]))
    return explain(
        run.network, layer, pixels, run.chain.tensor, run.probabilities, material.samples.targets[rows], run.labels,
        run.folder / "figures",
    )  # fmt: skip


def judged(
    model: Candidate,
    material: Material,
    rows: NDArray[np.int64],
    source: str,
    split: str,
    protocol: str,
    merge: Mapping[str, str],
) -> Judgement:
    """What a model is worth on those of the rows whose label it knows."""
    chosen = material.samples.table.iloc[rows]
    seen = restrict(
        model.answers(material.pixels, material.place[rows]), model.labels, list(chosen["label"]),
        material.samples.labels, merge,
    )  # fmt: skip
    # What cannot be judged has opened nothing.
    opened = None
    if model.folder and split in ("test", "all"):
        opened = ledger.record(model.folder.parent, protocol, model.folder.name)
    groups = clusters(chosen)
    cell = cross_cell(model.name, f"{source} {split}", seen, groups, model.bootstrap)
    kept = rows[seen.kept]
    drawn = None if groups is None else list(compress(groups, seen.kept))
    answers = Answers(material.place[kept], seen.labels, seen.probabilities, seen.targets, drawn)
    predictions = tabulated(material.samples, kept, seen.probabilities, seen.labels)
    predictions["label"] = pd.array([seen.labels[code] for code in seen.targets], dtype="string")
    notes = [*statistics.few(len(kept), drawn), *model.notes]
    return Judgement(cell | {"protocol": protocol, "opened": opened, "notes": notes}, answers, predictions)


def _without_made(run: Finished, samples: Samples) -> str:
    """The run's protocol; where a balance before the split made rows of its test part, that of the real rows alone."""
    kept = pd.read_parquet(run.folder / "samples.parquet", columns=["split", "label", "digest", "source"])
    made = (kept["source"] == "made").to_numpy(bool)
    if not (made & kept["split"].isin(["validation", "test"])).any():
        return run.protocol
    return describe(replace(samples, table=kept[~made]))
