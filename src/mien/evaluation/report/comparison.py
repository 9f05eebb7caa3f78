"""The page of several runs over the same test pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mien.evaluation.comparison import Comparison
from mien.evaluation.report import figures, gallery
from mien.evaluation.report.arms import over_folds
from mien.evaluation.report.folder import Run, flat, read_groups
from mien.evaluation.report.page import write_page
from mien.evaluation.report.run import audit_state, confusions, draw_classes, draw_groups
from mien.evaluation.report.weighed import Weighed, shown


def write_comparison_report(weighed: Weighed, out: Path, thumbnails: gallery.Pictures | None = None) -> Path:
    """Write the comparison of two or more runs as one HTML file that needs nothing else.

    `thumbnails` gives pictures by row position in the first run's test predictions (see `Weighed.changed_rows`); they
    are kept beside the page in `<name>-figures/`. Arms under different protocols, or over different pictures, are shown
    with a warning, the latter without paired tests.
    """
    runs, pair, ranking = weighed.runs, weighed.pair, weighed.ranking
    kept = out.parent / f"{out.stem}-figures"
    if thumbnails and weighed.first.predictions is not None:
        gallery.store(kept, dict(enumerate(weighed.first.predictions["image"])), thumbnails)
    # Of several recipes their accuracies are of interest, of one those of its runs.
    told = weighed.figures if len(weighed.arms) > 1 else {name: run.metrics["test"] for name, run in runs.items()}
    alone = len(weighed.arms) == 1
    grouped = read_groups(weighed.first.folder.parent) if alone else None
    drawn = {name: _drawn(each, grouped) for name, each in weighed.whole.items()}
    accuracies = [(name, test["metrics"]["accuracy"]) for name, test in told.items()]
    return write_page(
        out,
        "comparison.html.j2",
        runs=runs,
        pictures=weighed.pictures,
        spreads=weighed.spreads,
        whole=weighed.whole,
        drawn=drawn,
        grouped=grouped,
        confusions={name: confusions(each) for name, each in weighed.whole.items()},
        ranking=ranking,
        pair=pair,
        tested=pair and ranking and ranking.between(pair.a, pair.b),
        alone=alone,
        again=weighed.again,
        folds=any(over_folds(family) for family in weighed.arms.values()),
        warnings=weighed.warnings,
        said=whose(weighed.notes),
        audits={name: audit_state(run) or "–" for name, run in runs.items()},
        differences=differences(runs),
        forest=figures.forest(accuracies, ranking.best if ranking else None),
        changes=figures.class_changes([(c.label, c.difference.as_dict()) for c in pair.classes]) if pair else None,
        galleries=_galleries(pair, _stored(kept, runs)) if pair else {},
    )


def _drawn(whole: dict[str, Any], grouped: dict[str, Any] | None) -> dict[str, str]:
    return draw_classes(whole) | (draw_groups(grouped, whole["metrics"]) if grouped else {})


def whose(notes: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Each note of several runs once, with the runs that it is about; `notes` has an entry for every run.

    >>> whose({"a": ["twins"], "b": ["twins", "blank"]})
    {'twins': 'all runs', 'blank': 'b'}
    """
    texts = dict.fromkeys(text for each in notes.values() for text in each)
    found = {text: [name for name, each in notes.items() if text in each] for text in texts}
    return {text: "all runs" if len(who) == len(notes) else ", ".join(who) for text, who in found.items()}


def differences(runs: Mapping[str, Run]) -> dict[str, list[str]]:
    """Recipe keys whose values differ, each with the value of every run."""
    recipes = [dict(flat(run.recipe)) for run in runs.values()]
    keys = list(dict.fromkeys(key for recipe in recipes for key in recipe))
    rows = {key: [recipe.get(key, "–") for recipe in recipes] for key in keys if key != "name"}
    return {key: values for key, values in rows.items() if len(set(values)) > 1}


def _stored(folder: Path, runs: Mapping[str, Run]) -> dict[str, NDArray[np.uint8]]:
    """Every picture at hand: those of the comparison, then those that the runs kept for their own galleries."""
    at_hand: dict[str, NDArray[np.uint8]] = {}
    for place in [*(run.folder / "figures" for run in runs.values()), folder]:
        at_hand |= gallery.stored(place)
    return at_hand


def _galleries(pair: Comparison, pictures: dict[str, NDArray[np.uint8]]) -> dict[str, dict[str, Any]]:
    def tiles(side: pd.DataFrame) -> list[dict[str, Any]]:
        records = [{str(key): value for key, value in row.items()} for row in shown(side).to_dict("records")]
        return [record | {"picture": gallery.address_of(pictures.get(record["image"]))} for record in records]

    return {
        f"Wrong with {pair.a}, right with {pair.b}": {"count": len(pair.gained), "tiles": tiles(pair.gained)},
        f"Right with {pair.a}, wrong with {pair.b}": {"count": len(pair.lost), "tiles": tiles(pair.lost)},
    }
