"""The report of several runs over the same test pictures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mien.data.protocols import same_protocol
from mien.errors import DataError, UsageError
from mien.evaluation.comparison import Comparison, Ranking, compare, rank
from mien.evaluation.metrics import METRICS
from mien.evaluation.report import figures, gallery
from mien.evaluation.report.folder import Run, flat, read_run, runs_in
from mien.evaluation.report.page import write_page
from mien.evaluation.report.run import audit_state
from mien.evaluation.statistics import Spread, over_seeds

SHOWN = 18
"""Pictures shown of each kind: wrong without and right with, and the opposite."""

_REPEATED = {"seeds", "split.seed", "split.fold"}


def write_comparison_report(run_folders: Sequence[Path], out: Path, thumbnails: gallery.Pictures | None = None) -> Path:
    """Write the comparison of two or more runs as one HTML file that needs nothing else.

    The first run is the one that the others are compared with. `thumbnails` gives pictures by row position in its
    test predictions (see `changed_rows`); they are kept beside the page in `<name>-figures/`. Runs under different
    protocols, or over different pictures, are shown with a warning, the latter without paired tests. A folder of
    runs stands for all of them; one recipe over seeds or folds is summed up by mean and spread. Raises
    UsageError for fewer than two runs and RunError for a run without test figures.
    """
    runs = read_arms(run_folders)
    first = next(iter(runs.values()))
    kept = out.parent / f"{out.stem}-figures"
    if thumbnails and first.predictions is not None:
        gallery.store(kept, dict(enumerate(first.predictions["image"])), thumbnails)
    ranking, problem = ranked(runs)
    pair = _pair(runs, ranking)
    accuracies = [(name, run.metrics["test"]["metrics"]["accuracy"]) for name, run in runs.items()]
    return write_page(
        out,
        "comparison.html.j2",
        runs=runs,
        spreads=repeats(runs),
        ranking=ranking,
        pair=pair,
        warnings=problem,
        said=whose({name: run.metrics.get("notes", []) for name, run in runs.items()}),
        audits={name: audit_state(run) or "–" for name, run in runs.items()},
        differences=differences(runs),
        forest=figures.forest(accuracies, ranking.best if ranking else None),
        changes=figures.class_changes([(c.label, c.difference.as_dict()) for c in pair.classes]) if pair else None,
        galleries=_galleries(pair, _stored(kept, runs)) if pair else {},
    )


def read_arms(folders: Sequence[Path]) -> dict[str, Run]:
    """The runs in the folders, by a name that tells them apart: the recipe's, with the folder's where two share one."""
    runs = [read_run(run) for folder in folders for run in runs_in(folder)]
    if len(runs) < 2:
        raise UsageError("a comparison needs two runs or more", got=[str(folder) for folder in folders])
    names = [run.name for run in runs]
    unique = [
        f"{name} ({run.folder.resolve().name})" if names.count(name) > 1 else name
        for name, run in zip(names, runs, strict=True)
    ]
    if len(set(unique)) < len(unique):
        unique = [f"{position}: {name}" for position, name in enumerate(unique, start=1)]
    return dict(zip(unique, runs, strict=True))


def whose(notes: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Each note of several runs once, with the runs that it is about; `notes` has an entry for every run.

    >>> whose({"a": ["twins"], "b": ["twins", "blank"]})
    {'twins': 'all runs', 'blank': 'b'}
    """
    texts = dict.fromkeys(text for each in notes.values() for text in each)
    found = {text: [name for name, each in notes.items() if text in each] for text in texts}
    return {text: "all runs" if len(who) == len(notes) else ", ".join(who) for text, who in found.items()}


def changed_rows(run_folders: Sequence[Path]) -> list[int]:
    """Row positions, in the first run's test predictions, of the pictures that the comparison would show."""
    runs = read_arms(run_folders)
    pair = _pair(runs, ranked(runs)[0])
    return [] if pair is None else [int(row) for side in (pair.gained, pair.lost) for row in side.index[:SHOWN]]


def differences(runs: dict[str, Run]) -> dict[str, list[str]]:
    """Recipe keys whose values differ, each with the value of every run."""
    recipes = [dict(flat(run.recipe)) for run in runs.values()]
    keys = list(dict.fromkeys(key for recipe in recipes for key in recipe))
    rows = {key: [recipe.get(key, "–") for recipe in recipes] for key in keys if key != "name"}
    return {key: values for key, values in rows.items() if len(set(values)) > 1}


def repeats(runs: dict[str, Run]) -> dict[str, dict[str, Spread]]:
    """Mean, spread and interval of every metric for each recipe that was run over several seeds or folds."""
    families: dict[str, list[Run]] = {}
    for run in runs.values():
        same = {key: value for key, value in flat(run.recipe) if key not in _REPEATED}
        families.setdefault(json.dumps(same), []).append(run)
    return {
        family[0].name: {
            name: over_seeds([run.metrics["test"]["metrics"][name]["value"] for run in family]) for name in METRICS
        }
        for key, family in families.items()
        if len(family) > 1 and key != "{}"
    }


def ranked(runs: dict[str, Run]) -> tuple[Ranking | None, list[str]]:
    """The tests between all runs, None where they cannot or need not be made; and what a reader must be told."""
    if len(repeats(runs)) == 1 and not set(differences(runs)) - _REPEATED:
        return None, []
    said = same_protocol(run.protocol or "no protocol" for run in runs.values())
    tables = {name: run.predictions for name, run in runs.items() if run.predictions is not None}
    if len(tables) < len(runs):
        return None, [*said, "A run has no predictions, so there are no paired tests."]
    try:
        return rank(tables), said
    except DataError as error:
        return None, [*said, f"No paired tests: {error.what} ({error.got})."]


def _pair(runs: dict[str, Run], ranking: Ranking | None) -> Comparison | None:
    """The first run against the second, or, of more, against the most accurate of the others."""
    if ranking is None:
        return None
    first, *others = ranking.names
    accuracy = dict(zip(ranking.names, ranking.accuracy, strict=True))
    other = max(others, key=lambda name: accuracy[name])
    a, b = (runs[name].predictions for name in (first, other))
    assert a is not None and b is not None  # a ranking exists only when every run has predictions
    subjects = a["subject"].tolist() if "subject" in a and a["subject"].notna().any() else None
    return compare(a, b, (first, other), groups=subjects)


def _stored(folder: Path, runs: dict[str, Run]) -> dict[str, NDArray[np.uint8]]:
    """Every picture at hand: those of the comparison, then those that the runs kept for their own galleries."""
    at_hand: dict[str, NDArray[np.uint8]] = {}
    for place in [*(run.folder / "figures" for run in runs.values()), folder]:
        at_hand |= gallery.stored(place)
    return at_hand


def _galleries(pair: Comparison, pictures: dict[str, NDArray[np.uint8]]) -> dict[str, dict[str, Any]]:
    def tiles(side: pd.DataFrame) -> list[dict[str, Any]]:
        records = [{str(key): value for key, value in row.items()} for row in side.head(SHOWN).to_dict("records")]
        return [record | {"picture": gallery.address_of(pictures.get(record["image"]))} for record in records]

    return {
        f"Wrong with {pair.a}, right with {pair.b}": {"count": len(pair.gained), "tiles": tiles(pair.gained)},
        f"Right with {pair.a}, wrong with {pair.b}": {"count": len(pair.lost), "tiles": tiles(pair.lost)},
    }
