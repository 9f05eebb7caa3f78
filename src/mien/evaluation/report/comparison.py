"""The report of several runs over the same test pictures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from mien.data.protocols import same_protocol
from mien.errors import DataError, UsageError
from mien.evaluation.comparison import Comparison, Ranking, compare, evenly, rank
from mien.evaluation.metrics import METRICS, limits
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

    The first arm is the one that the others are compared with: a run, or the seeds or folds of a recipe together.
    `thumbnails` gives pictures by row position in the first run's test predictions (see `changed_rows`); they are kept
    beside the page in `<name>-figures/`. Arms under different protocols, or over different pictures, are shown with a
    warning, the latter without paired tests. A folder of runs stands for all of them. Raises UsageError for fewer than
    two runs and RunError for a run without test figures.
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
        pictures=_pictures(next(iter(arms(runs).values()))),
        spreads=repeats(runs),
        ranking=ranking,
        pair=pair,
        corrected=pair and ranking and ranking.p_of(pair.a, pair.b),
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
    pair, first = _pair(runs, ranked(runs)[0]), next(iter(runs.values())).predictions
    if pair is None or first is None:
        return []
    place = {image: row for row, image in enumerate(first["image"])}
    shown = [image for side in (pair.gained, pair.lost) for image in _shown(side)["image"]]
    return [place[image] for image in dict.fromkeys(shown) if image in place]


def differences(runs: dict[str, Run]) -> dict[str, list[str]]:
    """Recipe keys whose values differ, each with the value of every run."""
    recipes = [dict(flat(run.recipe)) for run in runs.values()]
    keys = list(dict.fromkeys(key for recipe in recipes for key in recipe))
    rows = {key: [recipe.get(key, "–") for recipe in recipes] for key in keys if key != "name"}
    return {key: values for key, values in rows.items() if len(set(values)) > 1}


def arms(runs: dict[str, Run]) -> dict[str, list[Run]]:
    """What is compared: a recipe with all its seeds or folds, or a run by itself, each under a name of its own.

    Copies of one run, the same seed and fold, are no repetitions: each stands by itself.
    """
    families: dict[str, list[str]] = {}
    for name, run in runs.items():
        same = {key: value for key, value in flat(run.recipe) if key not in _REPEATED}
        families.setdefault(json.dumps(same) if same else name, []).append(name)
    found: dict[str, list[Run]] = {}
    for names in (each for family in families.values() for each in _repetitions(family, runs)):
        family = [runs[name] for name in names]
        name = names[0] if len(names) == 1 else family[0].name
        found[f"{name} ({family[0].folder.resolve().parent.name})" if name in found else name] = family
    return found


def _repetitions(names: list[str], runs: dict[str, Run]) -> list[list[str]]:
    seen = [tuple(value for key, value in flat(runs[name].recipe) if key in _REPEATED) for name in names]
    return [names] if len(set(seen)) == len(seen) else [[name] for name in names]


def repeats(runs: dict[str, Run]) -> dict[str, dict[str, Spread]]:
    """Mean, spread and interval of every metric for each recipe that was run over several seeds or folds."""
    return {
        arm: {
            name: over_seeds(
                [run.metrics["test"]["metrics"][name]["value"] for run in family],
                _test_to_train(family),
                limits(name),
                [_fold(run) for run in family],
            )
            for name in METRICS
        }
        for arm, family in arms(runs).items()
        if len(family) > 1
    }


def ranked(runs: dict[str, Run]) -> tuple[Ranking | None, list[str]]:
    """The tests between all arms, None where they cannot or need not be made; and what a reader must be told."""
    compared = arms(runs)
    unlike = [*_arithmetic(runs), *_unfinished(compared)]
    if len(compared) == 1:
        return None, unlike
    protocols = {name: {run.protocol or "no protocol" for run in family} for name, family in compared.items()}
    # Folds of one protocol have a digest each: what matters is that every arm stands on the same ones.
    distinct = {frozenset(text.rpartition("@")[2] for text in each) for each in protocols.values()}
    said = same_protocol(text for each in protocols.values() for text in each) if len(distinct) > 1 else []
    said += unlike
    if any(run.predictions is None for run in runs.values()):
        return None, [*said, "A run has no predictions, so there are no paired tests."]
    try:
        return rank(_predictions(compared)), [*said, *_alone(compared)]
    except DataError as error:
        return None, [*said, f"No paired tests: {error.what} ({error.got})."]


def _alone(compared: Mapping[str, Sequence[Run]]) -> list[str]:
    """A warning where single runs stand beside repeated ones: of those nobody knows the spread."""
    single = [name for name, family in compared.items() if len(family) == 1]
    said = (
        f"Run once beside recipes that were repeated: {', '.join(single)}. How far another seed moves it is not known."
    )
    return [said] if 0 < len(single) < len(compared) else []


def _unfinished(compared: Mapping[str, Sequence[Run]]) -> list[str]:
    """A warning for each recipe that was to be run more often, as the folder of its runs says."""
    said = []
    for name, family in compared.items():
        kept = family[0].folder.parent / "recipe.yaml"
        recipe = yaml.safe_load(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
        split = recipe.get("split", {})
        planned = len(recipe.get("seeds", ())) * (split.get("folds", 1) if split.get("fold") == "all" else 1)
        finished = len(list(kept.parent.glob("*/metrics.json")))
        if finished < planned:
            said.append(f"{name}: {finished} of its {planned} runs are finished; mien train {kept.parent} --resume")
    return said


def _arithmetic(runs: dict[str, Run]) -> list[str]:
    """A warning where runs were fitted in different arithmetic, which changes figures like another seed."""
    found = sorted({run.arithmetic for run in runs.values() if run.arithmetic})
    said = f"The runs were fitted in different arithmetic ({', '.join(found)}): set fit.precision."
    return [said] if len(found) > 1 else []


def _pictures(family: Sequence[Run]) -> int:
    """How many test pictures the figures of an arm stand on, those of all its folds."""
    images = [set(run.predictions["image"]) for run in family if run.predictions is not None]
    return len(set().union(*images)) if len(images) == len(family) > 1 else family[0].metrics["test"]["rows"]


def _fold(run: Run) -> tuple[Any, Any]:
    split = run.recipe.get("split") or {}
    return split.get("fold"), split.get("seed")


def _test_to_train(family: Sequence[Run]) -> float:
    """Test rows a training row, for runs that were split each in its own way, as folds are; else 0."""
    if len({_fold(run) for run in family}) < 2:
        return 0.0
    tables = [run.samples for run in family if run.samples is not None]
    real = [table[table["source"] != "made"]["split"].value_counts() for table in tables]
    shares = [counts["test"] / counts["train"] for counts in real if counts.get("test") and counts.get("train")]
    return sum(shares) / len(shares) if shares else 1.0


def _predictions(compared: Mapping[str, Sequence[Run]]) -> dict[str, pd.DataFrame]:
    return evenly(
        {name: [run.predictions for run in runs if run.predictions is not None] for name, runs in compared.items()}
    )


def _pair(runs: dict[str, Run], ranking: Ranking | None) -> Comparison | None:
    """The first arm against the second, or, of more, against the most accurate of the others."""
    if ranking is None:
        return None
    first, *others = ranking.names
    accuracy = dict(zip(ranking.names, ranking.accuracy, strict=True))
    other = max(others, key=lambda name: accuracy[name])
    compared = arms(runs)
    predictions = _predictions({name: compared[name] for name in (first, other)})
    return compare(predictions[first], predictions[other], (first, other))


def _stored(folder: Path, runs: dict[str, Run]) -> dict[str, NDArray[np.uint8]]:
    """Every picture at hand: those of the comparison, then those that the runs kept for their own galleries."""
    at_hand: dict[str, NDArray[np.uint8]] = {}
    for place in [*(run.folder / "figures" for run in runs.values()), folder]:
        at_hand |= gallery.stored(place)
    return at_hand


def _shown(side: pd.DataFrame) -> pd.DataFrame:
    return side.drop_duplicates("image").head(SHOWN)


def _galleries(pair: Comparison, pictures: dict[str, NDArray[np.uint8]]) -> dict[str, dict[str, Any]]:
    def tiles(side: pd.DataFrame) -> list[dict[str, Any]]:
        records = [{str(key): value for key, value in row.items()} for row in _shown(side).to_dict("records")]
        return [record | {"picture": gallery.address_of(pictures.get(record["image"]))} for record in records]

    return {
        f"Wrong with {pair.a}, right with {pair.b}": {"count": len(pair.gained), "tiles": tiles(pair.gained)},
        f"Right with {pair.a}, wrong with {pair.b}": {"count": len(pair.lost), "tiles": tiles(pair.lost)},
    }
