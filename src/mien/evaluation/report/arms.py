"""What a comparison compares: single runs, and recipes with all their seeds or folds."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from mien.data.split import clusters
from mien.errors import UsageError
from mien.evaluation.comparison import drawn_by, labels_of, pooled, probabilities_of
from mien.evaluation.metrics import METRICS, evaluate, limits
from mien.evaluation.report.folder import Run, flat, read_run, runs_in
from mien.evaluation.statistics import Spread, few, over_seeds, thin
from mien.files import replacing, write_json

_REPEATED = {"seeds", "split.seed", "split.fold"}
_MOVED = {"data.root"}
"""What may differ between the runs of one recipe: seed and fold, and where its data lay."""


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


def arms(runs: dict[str, Run]) -> dict[str, list[Run]]:
    """What is compared: a recipe with all its seeds or folds, or a run by itself, each under a name of its own.

    Copies of one run, the same seed and fold, are no repetitions: each stands by itself. Nor are runs of one split on
    other data: those on the same rows stand together.
    """
    families: dict[str, list[str]] = {}
    for name, run in runs.items():
        same = {key: value for key, value in flat(run.recipe) if key not in _REPEATED | _MOVED}
        families.setdefault(json.dumps(same) if same else name, []).append(name)
    found: dict[str, list[Run]] = {}
    alike = (each for family in families.values() for each in _on_same_rows(family, runs))
    for names in (each for family in alike for each in _repetitions(family, runs)):
        family = [runs[name] for name in names]
        name = names[0] if len(names) == 1 else family[0].name
        wider = f"{name} ({family[0].folder.resolve().parent.name})"
        found[next(each for each in (name, wider, f"{name}: {names[0]}") if each not in found)] = family
    return found


def _on_same_rows(names: list[str], runs: dict[str, Run]) -> list[list[str]]:
    by_split: dict[tuple[str, ...], set[str]] = {}
    by_digest: dict[str, list[str]] = {}
    for name in names:
        by_split.setdefault(_split(runs[name]), set()).add(_digest(runs[name]))
        by_digest.setdefault(_digest(runs[name]), []).append(name)
    return [names] if all(len(each) == 1 for each in by_split.values()) else list(by_digest.values())


def _repetitions(names: list[str], runs: dict[str, Run]) -> list[list[str]]:
    seen = [_repetition(runs[name]) for name in names]
    return [names] if len(set(seen)) == len(seen) else [[name] for name in names]


def repeats(runs: dict[str, Run]) -> dict[str, dict[str, Spread]]:
    """Mean, spread and interval of every metric for each recipe that was run over several seeds or folds."""
    return {arm: _spread(family) for arm, family in arms(runs).items() if len(family) > 1}


def _spread(family: Sequence[Run]) -> dict[str, Spread]:
    return {
        name: over_seeds(
            [run.metrics["test"]["metrics"][name]["value"] for run in family],
            _test_to_train(family),
            limits(name),
            [_fold(run) for run in family],
        )
        for name in METRICS
    }


def trained_again(before: Sequence[Run], after: Sequence[Run]) -> Spread | None:
    """Accuracy of one recipe minus that of another, seed by seed or fold by fold: what training both again would give.

    None where they have less than two seeds or folds on the same rows in common.
    """
    ours, theirs = ({_repetition(run): run for run in family} for family in (after, before))
    shared = [key for key in ours if key in theirs and _digest(ours[key]) == _digest(theirs[key])]
    if len(shared) < 2:
        return None
    values = [_accuracy(ours[key]) - _accuracy(theirs[key]) for key in shared]
    family = [ours[key] for key in shared]
    return over_seeds(values, _test_to_train(family), (-1, 1), [_fold(run) for run in family])


def _accuracy(run: Run) -> float:
    return float(run.metrics["test"]["metrics"]["accuracy"]["value"])


def _repetition(run: Run) -> tuple[str, ...]:
    """Which seed and fold a run is of."""
    return tuple(value for key, value in flat(run.recipe) if key in _REPEATED)


def _split(run: Run) -> tuple[str, ...]:
    """What runs of one recipe have the same rows and parts for, if their data is the same."""
    # Rows that are made before the split are made and parted in another way under every seed.
    early = (run.recipe.get("balance") or {}).get("order") == "balance-before-split"
    return _repetition(run) if early else tuple(map(str, _fold(run)))


def _digest(run: Run) -> str:
    return (run.protocol or "").rpartition("@")[2]


def over_folds(family: Sequence[Run]) -> bool:
    """Whether the runs of a recipe were tested on different folds."""
    return len({_fold(run) for run in family}) > 1


def together(family: Sequence[Run]) -> dict[str, Any]:
    """The figures of all answers of a recipe's seeds or folds, as `metrics.evaluate` has them, and what `few` says.

    Each picture is judged once by each run that it was held out from. Intervals are over pictures, or over people where
    they are named: how far the figure would move on other ones, with these trained networks.
    """
    return figures_of(pooled(answers_of(family)), resamples_of(family))


def resamples_of(family: Sequence[Run]) -> int:
    """How many resamples all runs of a recipe ask for."""
    return min(int((run.recipe.get("evaluate") or {}).get("bootstrap", 1000)) for run in family)


def figures_of(table: pd.DataFrame, resamples: int) -> dict[str, Any]:
    """The figures of pooled answers, as `metrics.evaluate` has them, and what `few` and `thin` say of the pictures."""
    labels = labels_of(table)
    targets = np.array([labels.index(label) for label in table["label"]])
    found = evaluate(probabilities_of(table), targets, labels, resamples, groups=drawn_by(table))
    named = clusters(table[["subject", "sequence"]]) if {"subject", "sequence"} <= set(table) else None
    shown = table.drop_duplicates("picture")
    return found | {"few": [*few(len(shown), named), *thin(shown["label"])]}


def keep_together(folder: Path, names: Iterable[str]) -> None:
    """Write what the runs of a recipe, by their names in its folder, say together: `pooled.json`, and all their rows,
    `predictions.parquet`.

    The former has `figures`, those of `together`; `spread`, by metric the `mean` over the runs with its t interval and
    the standard `deviation`; and the `notes` of each run. The latter has the rows of every run and its name, `run`.
    """
    family = [read_run(folder / name) for name in names]
    spread = {
        metric: {"mean": each.mean.as_dict(), "deviation": each.deviation, "runs": each.runs}
        for metric, each in _spread(family).items()
    }
    document = {"figures": together(family), "spread": spread, "pictures": pictures_of(family)}
    document["notes"] = {run.folder.name: notes_of(run, family) for run in family}
    write_json(folder / "pooled.json", document)
    table = pd.concat([run.predictions.assign(run=run.folder.name) for run in family if run.predictions is not None])
    kept = folder / "predictions.parquet"
    if kept.is_file() and not pd.read_parquet(kept).equals(table.reset_index(drop=True)):
        (folder / "groups.json").unlink(missing_ok=True)  # it tells of other answers
    with replacing(kept) as beside:
        table.to_parquet(beside, index=False)


def unfinished(folder: Path) -> list[str]:
    """That not all runs of the recipe in a folder are finished; of a folder without a recipe nothing is known."""
    kept = folder / "recipe.yaml"
    recipe = yaml.safe_load(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    split = recipe.get("split", {})
    planned = len(recipe.get("seeds", ())) * (split.get("folds", 1) if split.get("fold") == "all" else 1)
    finished = len(list(folder.glob("*/metrics.json")))
    if finished >= planned:
        return []
    return [f"{finished} of the {planned} runs of {folder.name} are finished; mien train {folder} --resume"]


def notes_of(run: Run, family: Sequence[Run]) -> list[str]:
    """What is to be told of a run beside the others of its recipe: not that it shows few people, or few pictures of a
    class, which is told of all together.
    """
    notes = run.metrics.get("notes", [])
    few = run.metrics.get("few", []) if len(family) > 1 else []
    return [note for note in notes if note not in few]


def answers_of(family: Sequence[Run]) -> list[pd.DataFrame]:
    """The predictions of the runs that have some."""
    return [run.predictions for run in family if run.predictions is not None]


def pictures_of(family: Sequence[Run]) -> int:
    """How many test pictures the figures of an arm stand on, those of all its folds."""
    images = [set(run.predictions["image"]) for run in family if run.predictions is not None]
    return len(set().union(*images)) if len(images) == len(family) > 1 else family[0].metrics["test"]["rows"]


def _fold(run: Run) -> tuple[Any, Any]:
    split = run.recipe.get("split") or {}
    return split.get("fold"), split.get("seed")


def _test_to_train(family: Sequence[Run]) -> float:
    """Test rows a training row, for runs that were split each in its own way, as folds are; else 0."""
    if not over_folds(family):
        return 0.0
    tables = [run.samples for run in family if run.samples is not None]
    real = [table[table["source"] != "made"]["split"].value_counts() for table in tables]
    shares = [counts["test"] / counts["train"] for counts in real if counts.get("test") and counts.get("train")]
    return sum(shares) / len(shares) if shares else 1.0
