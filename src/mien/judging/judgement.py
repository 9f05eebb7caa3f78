"""What a model is worth on some rows: figures, and the answers that stand behind them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mien.data.material import Material
from mien.data.split import clusters
from mien.evaluation import ledger, statistics
from mien.evaluation.agreement import agreement
from mien.evaluation.comparison import drawn_by, pooled, probabilities_of
from mien.evaluation.cross import Answers, cross_cell, restrict
from mien.evaluation.report.arms import figures_of
from mien.judging.candidate import Candidate
from mien.run.verdict import tabulated

_APART = 10**12  # more rows than a source has


@dataclass(frozen=True)
class Judgement:
    """What a model is worth on some rows: a cell of a table of models and sources, for JSON, the answers that stand
    behind it, and the same as a table, `predictions`, as `mien.run.verdict.tabulated` makes it; `resamples` is how many
    its intervals rest on."""

    cell: dict[str, Any]
    answers: Answers
    predictions: pd.DataFrame
    resamples: int

    def noting(self, notes: Sequence[str]) -> "Judgement":
        """The same with more to be told, before what is told already."""
        return replace(self, cell=self.cell | {"notes": [*notes, *self.cell["notes"]]})


def judged_together(each: Sequence[Judgement], resamples: int) -> Judgement:
    """Several judgements of one model, each on rows of its own, as one; the answers to a picture are drawn as one."""
    table, answers = pooled([one.predictions for one in each]), [one.answers for one in each]
    figures, targets = figures_of(table, resamples), np.concatenate([one.targets for one in answers])
    notes = (note for one in each for note in one.cell["notes"] if note not in one.cell["few"])
    rows = np.concatenate([number * _APART + one.rows for number, one in enumerate(answers)])
    # What annotators say is known of each part, and not of the whole.
    cell = {key: value for key, value in each[0].cell.items() if key != "agreement"} | {
        "figures": figures,
        "dropped": dict(sum((Counter(one.cell["dropped"]) for one in each), Counter())),
        "pictures": table["picture"].nunique(),
        "opened": max((one.cell["opened"] for one in each if one.cell["opened"]), default=None),
        "protocol": ", ".join(dict.fromkeys(one.cell["protocol"] for one in each)),
        "notes": [*figures["few"], *dict.fromkeys(notes)],
        "few": figures["few"],
    }
    asked = Answers(rows, answers[0].labels, probabilities_of(table), targets, drawn_by(table))
    return Judgement(cell, asked, table, resamples)


def judged(
    model: Candidate,
    material: Material,
    rows: NDArray[np.int64],
    source: str,
    split: str,
    protocol: str,
    merge: Mapping[str, str],
) -> Judgement:
    """What a model is worth on those of the rows whose label it knows, by the votes of the annotators too where each
    row has some and the model knows all their labels.
    """
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
    few = statistics.few(len(kept), drawn)
    cell |= {"protocol": protocol, "opened": opened, "notes": [*few, *model.notes], "few": few}
    votes = material.samples.take(kept).votes
    if votes is not None and seen.labels == material.samples.labels:
        found = agreement(seen.probabilities, seen.targets, votes, model.bootstrap, groups=drawn)
        cell["agreement"] = found.as_dict()
    return Judgement(cell, answers, predictions, model.bootstrap)
