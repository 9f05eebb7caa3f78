"""A finished run on its own data: figures on its splits, under corruption, and where it looks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mien.data.protocols import describe
from mien.data.samples import SPLITS, Reader, Samples
from mien.data.split import clusters
from mien.errors import DataError, RunError, UsageError
from mien.evaluation import ledger
from mien.evaluation.comparison import drawn_by, labels_of, pooled, probabilities_of
from mien.evaluation.cross import Answers
from mien.evaluation.explain import deepest_map, explain
from mien.evaluation.report.arms import answers_of, figures_of, notes_of, resamples_of, unfinished
from mien.evaluation.report.comparison import whose
from mien.evaluation.report.folder import read_run
from mien.evaluation.robustness import robustness
from mien.files import write_json
from mien.judging.candidate import of_run
from mien.judging.finished import Finished, rows_of
from mien.judging.judgement import Judgement, judged
from mien.places import repetitions
from mien.stages import Stages, silent


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


def evaluate_repeated(folder: Path) -> Judgement:
    """All answers of the seeds or folds in the folder of a recipe, as its runs keep them: nothing is opened again.

    Raises RunError where a run lacks them.
    """
    family = [read_run(each) for each in repetitions(folder)]
    if bare := [run.folder.name for run in family if run.predictions is None]:
        said = f"runs of {folder} have no predictions.parquet"
        raise RunError(said, got=bare, then="restore the files, or train these runs again")
    table = pooled(answers_of(family))
    figures, labels = figures_of(table, resamples_of(family)), labels_of(table)
    answers = Answers(
        np.arange(len(table)), labels, probabilities_of(table), pd.Index(labels).get_indexer(pd.Index(table["label"])),
        drawn_by(table),
    )  # fmt: skip
    notes = whose({run.folder.name: notes_of(run, family) for run in family})
    cell: dict[str, Any] = {
        "run": folder.name,
        "source": f"{family[0].recipe['data']['source']} test",
        "dropped": {},
        "map": {"source": {}, "model": {}},
        "figures": figures,
        "protocol": ", ".join(dict.fromkeys(run.protocol for run in family if run.protocol)),
        "opened": None,
        "pictures": table["picture"].nunique(),
        "notes": [*unfinished(folder), *figures["few"], *(f"{who}: {text}" for text, who in notes.items())],
    }
    return Judgement(cell, answers, table, resamples_of(family))


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


def _without_made(run: Finished, samples: Samples) -> str:
    """The run's protocol; where a balance before the split made rows of its test part, that of the real rows alone."""
    kept = pd.read_parquet(run.folder / "samples.parquet", columns=["split", "label", "digest", "source"])
    made = (kept["source"] == "made").to_numpy(bool)
    if not (made & kept["split"].isin(["validation", "test"])).any():
        return run.protocol
    return describe(replace(samples, table=kept[~made]))
