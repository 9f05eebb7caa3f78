"""Evaluation on data of another label set, through an explicit map, and the table of several runs x several sources."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError
from mien.evaluation.metrics import evaluate
from mien.evaluation.pairs import all_pairs, paired_differences
from mien.labels import meant, transfer


@dataclass(frozen=True)
class Shared:
    """Predictions and truths over the labels that a model and a source share.

    `probabilities` float32 (K, C) and `targets` int64 (K,) of the rows that were kept, marked in `kept` bool (N,);
    `labels` C names; `rows` and `columns` the maps that were used (None: left out); `dropped` rows by true label.
    """

    labels: tuple[str, ...]
    probabilities: NDArray[np.float32]
    targets: NDArray[np.int64]
    kept: NDArray[np.bool_]
    dropped: Mapping[str, int]
    rows: Mapping[str, str | None]
    columns: Mapping[str, str | None]


def restrict(
    probabilities: NDArray[np.float32],
    labels: Sequence[str],
    truths: Sequence[str],
    source_labels: Sequence[str],
    merge: Mapping[str, str] | None = None,
) -> Shared:
    """Bring the probabilities (N, C) of a model with `labels` and the `truths` (N,) of a source onto shared labels.

    `merge` sends a label to another on purpose, in the model and in the source alike: merged columns are added up.
    Columns outside the shared labels are left out and the rest renormalised (evenly where nothing is left); rows
    whose truth is outside are dropped and counted. Raises DataError when fewer than two labels are shared or no row
    is left.

    >>> seen = restrict(np.array([[0.5, 0.25, 0.25]]), ("anger", "contempt", "fear"), ["fear"], ("anger", "fear"))
    >>> seen.labels, seen.targets.tolist(), [f"{p:.2f}" for p in seen.probabilities[0]]
    (('anger', 'fear'), [1], ['0.67', '0.33'])
    """
    reach = set(transfer(source_labels, (*labels, *source_labels, *(merge or {}).values()), merge).values())
    aims = transfer(labels, (*labels, *source_labels, *(merge or {}).values()), merge)
    shared = tuple(dict.fromkeys(aim for aim in aims.values() if aim in reach and aim is not None))
    if len(shared) < 2:
        raise DataError(
            "a model and a source share fewer than two labels", got=list(source_labels), allowed=list(labels)
        )
    columns, rows = transfer(labels, shared, merge), transfer(source_labels, shared, merge)
    names = {truth: meant(truth, source_labels) for truth in set(truths)}
    goals = [rows[names[truth]] for truth in truths]
    kept = np.array([goal is not None for goal in goals])
    if not kept.any():
        raise DataError("no row carries a label that the model knows", got=sorted(set(names.values())), allowed=shared)
    added = np.zeros((len(labels), len(shared)))
    for place, goal in enumerate(columns.values()):
        if goal is not None:
            added[place, shared.index(goal)] = 1
    mass = np.asarray(probabilities, np.float64)[kept] @ added
    total = mass.sum(axis=1, keepdims=True)
    return Shared(
        shared,
        np.where(total > 0, mass / np.where(total > 0, total, 1), 1 / len(shared)).astype(np.float32),
        np.array([shared.index(goal) for goal in goals if goal is not None], dtype=np.int64),
        kept,
        dict(Counter(names[truth] for truth, keep in zip(truths, kept, strict=True) if not keep)),
        rows,
        columns,
    )


def cross_cell(
    run: str,
    source: str,
    seen: Shared,
    groups: Sequence[Hashable | None] | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """One run on one source, for JSON: what was kept, dropped and mapped, and every figure of `metrics.evaluate`.

    `groups` (N,) are those of all rows of the source, before any was dropped.
    """
    kept = None if groups is None else [group for group, keep in zip(groups, seen.kept, strict=True) if keep]
    figures = evaluate(seen.probabilities, seen.targets, seen.labels, bootstrap=bootstrap, seed=seed, groups=kept)
    return {
        "run": run,
        "source": source,
        "dropped": dict(seen.dropped),
        "map": {"source": dict(seen.rows), "model": dict(seen.columns)},
        "figures": figures,
    }


@dataclass(frozen=True)
class Answers:
    """A run's answers on the pictures of a source that it could be judged on.

    `rows` (N,) int64 are their places in the source, increasing; `labels` are C names, `probabilities` (N, C) float32
    and `targets` (N,) int64 over them. `groups` (N,) names what stands together in tests; None: every row by itself.
    """

    rows: NDArray[np.int64]
    labels: tuple[str, ...]
    probabilities: NDArray[np.float32]
    targets: NDArray[np.int64]
    groups: Sequence[Hashable | None] | None = None

    def right(self, labels: Sequence[str], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the likeliest of `labels` is the true one, on `rows`, which are all among its own."""
        at, columns = np.searchsorted(self.rows, rows), [self.labels.index(label) for label in labels]
        return np.array(columns)[self.probabilities[at][:, columns].argmax(1)] == self.targets[at]

    def showing(self, labels: Sequence[str]) -> NDArray[np.int64]:
        """The rows whose true label is one of `labels`."""
        return self.rows[np.isin(self.targets, [self.labels.index(label) for label in labels])]


def paired(answers: Mapping[str, Answers]) -> list[dict[str, Any]]:
    """Every two runs on one source, for JSON: the exact test, Holm-corrected over the pairs.

    All runs face the same task: the pictures that all were judged on, and the labels that all of them know. Empty for
    a single run, and where less than two labels or no picture is common to all.
    """
    first, *others = answers.values()
    labels = [label for label in first.labels if all(label in other.labels for other in others)]
    if not others or len(labels) < 2:
        return []
    rows = reduce(np.intersect1d, (each.showing(labels) for each in answers.values()))
    if not len(rows):
        return []
    right = np.stack([each.right(labels, rows) for each in answers.values()])
    places = np.searchsorted(first.rows, rows).tolist()
    names, groups = tuple(answers), None if first.groups is None else [first.groups[place] for place in places]
    pairs = all_pairs(right, groups)
    return [
        asdict(pair)
        | {
            "a": names[pair.a],
            "b": names[pair.b],
            "rows": len(rows),
            "labels": labels,
            "difference": difference.as_dict(),
            "verdict": pair.verdict,
        }
        for pair, difference in zip(pairs, paired_differences(right, pairs, groups), strict=True)
    ]


def cross_matrix(
    cells: Sequence[Mapping[str, Any]], pairs: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
) -> dict[str, Any]:
    """Cells of `cross_cell` as one table for JSON: `runs`, `sources`, `cells`, and the `pairs` of `paired` by source.

    Absent cells are allowed. Raises DataError where one run meets one source twice.
    """
    twice = [pair for pair, count in Counter((cell["run"], cell["source"]) for cell in cells).items() if count > 1]
    if twice:
        raise DataError("a run meets the same source twice in one table", got=twice, allowed="one cell each")
    return {
        "runs": list(dict.fromkeys(cell["run"] for cell in cells)),
        "sources": list(dict.fromkeys(cell["source"] for cell in cells)),
        "cells": list(cells),
        "pairs": {source: list(found) for source, found in (pairs or {}).items() if found},
    }


def remarks(matrix: Mapping[str, Any]) -> list[str]:
    """What a reader of the table must know: rows left out, pictures that a model was fitted on, fewer classes."""
    said = [
        f"{cell['run']} on {cell['source']}: {sum(cell['dropped'].values()):,} rows of "
        f"{', '.join(sorted(cell['dropped']))} left out, since the model does not know the label"
        for cell in matrix["cells"]
        if cell["dropped"]
    ]
    told: dict[tuple[str, str], list[str]] = {}
    for cell in matrix["cells"]:
        for note in cell.get("notes", []):
            told.setdefault((cell["source"], note), []).append(cell["run"])
    for (source, note), runs in told.items():
        # What holds for every model is told once.
        whose = "every model" if len(runs) == len(matrix["runs"]) > 1 else ", ".join(runs)
        said.append(f"{whose} on {source}: {note}")
    sizes = {len(cell["figures"]["labels"]) for cell in matrix["cells"]}
    if len(sizes) > 1:
        said.append(f"cells have {min(sizes)} to {max(sizes)} classes: fewer classes are easier")
    return said
