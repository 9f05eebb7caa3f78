"""How well a model does in groups of its pictures or people, and how far the groups lie apart."""

import math
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mien.errors import DataError, counted
from mien.evaluation.comparison import drawn_by, labels_of, probabilities_of
from mien.evaluation.metrics import evaluate
from mien.evaluation.randomisation import exchanged_p
from mien.evaluation.statistics import FEW, Estimate, holm, interval, resampled_sums, summed_by, units

MOST = 12
"""A column of more values is no grouping: ages must be made ranges first."""

IN_PAIRS = 5
"""Up to so many groups all pairs are tested, at most ten. Of more, each is tested against the rest: the sixty-six pairs
of twelve groups are more than anybody reads, and their correction hides what is there."""

FEW_PEOPLE, FEW_PICTURES = 10, 30

CAUTION = (
    "groups differ in their pictures, labels and mix of classes too: a gap need not come from what the column names; "
    "balanced accuracy weighs all classes alike"
)

Figure = dict[str, float | None]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Group:
    """One group: its pictures, the people or sequences in it, the classes it shows, figures {value, low, high}."""

    name: str
    pictures: int
    units: int
    classes: int
    accuracy: Figure
    balanced_accuracy: Figure


@dataclass(frozen=True)
class Gap:
    """A figure of `group` minus that of `against` (None: all other groups), with intervals.

    `balanced_accuracy` is over the `classes` that both show, NaN where there are none; `p` is that of the difference of
    accuracy, `adjusted` the same by Holm over the column.
    """

    group: str
    against: str | None
    accuracy: Estimate
    balanced_accuracy: Estimate
    classes: int
    p: float
    adjusted: float

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        shown = {name: getattr(self, name).as_dict() for name in ("accuracy", "balanced_accuracy")}
        return dict(self.__dict__) | shown


@dataclass(frozen=True)
class Grouping:
    """The groups of one column, their gaps, and what must be read with them; `unnamed` pictures have no value in it."""

    column: str
    unnamed: int
    groups: tuple[Group, ...]
    gaps: tuple[Gap, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        groups, gaps = [dict(group.__dict__) for group in self.groups], [gap.as_dict() for gap in self.gaps]
        return dict(self.__dict__) | {"groups": groups, "gaps": gaps, "notes": list(self.notes)}


@dataclass(frozen=True)
class Subgroups:
    """What came out of all columns; `unit` is what is drawn whole: people, sequences or pictures."""

    unit: str
    columns: tuple[Grouping, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, without any picture or person."""
        return {"unit": self.unit, "columns": [each.as_dict() for each in self.columns], "notes": list(self.notes)}


def subgroups(predictions: pd.DataFrame, traits: pd.DataFrame, resamples: int = 1000) -> Subgroups:
    """Judge a predictions table (N rows) in the groups that each column of `traits` (N rows of str or NA) makes of it.

    People are taken as whole in all intervals and tests, where they are named, whether a group holds all of a person's
    pictures, as with sex, or some, as with pose. Raises DataError when no column makes groups.
    """
    people, (columns, notes) = drawn_by(predictions), groupable(traits)
    found = [_grouping(predictions, people, name, values, resamples) for name, values in columns.items()]
    apart = any(grouping.gaps for grouping in found)
    return Subgroups(_unit(predictions, people), tuple(found), (*notes, *([CAUTION] if apart else [])))


def groupable(traits: pd.DataFrame) -> tuple[dict[str, pd.Series], list[str]]:
    """The columns that make groups, by name, and what is wrong with the others. Raises DataError where none does."""
    columns = {str(name): traits[name].reset_index(drop=True) for name in traits}
    fit = {name: values for name, values in columns.items() if 0 < values.nunique() <= MOST}
    notes = [_unfit(name, values.nunique()) for name, values in columns.items() if name not in fit]
    if not fit:
        raise DataError("no column makes groups", got=notes, allowed=f"columns of 1 to {MOST} values")
    return fit, notes


def _unit(predictions: pd.DataFrame, people: Sequence[Hashable | None] | None) -> str:
    if people is None:
        return "pictures"
    if predictions["subject"].notna().any():
        return "people"
    return "sequences" if predictions["sequence"].notna().any() else "pictures"


def _unfit(column: str, values: int) -> str:
    if not values:
        return f"{column}: no value for any of these pictures"
    return f"{column}: {values:,} different values, more than {MOST}: make them ranges or kinds, as 20-29 of ages"


def _grouping(
    predictions: pd.DataFrame,
    people: Sequence[str | None] | None,
    column: str,
    values: pd.Series,
    resamples: int,
) -> Grouping:
    names = sorted(values.dropna().unique(), key=_natural)
    member = np.stack([(values == name).to_numpy(bool, na_value=False) for name in names])
    groups = [
        _group(name, predictions[rows], _of(people, rows), resamples) for name, rows in zip(names, member, strict=True)
    ]
    gaps = _gaps(names, member, predictions, people, resamples) if len(names) > 1 else ()
    said = _notes(groups, _unit(predictions, people), len(labels_of(predictions)))
    pictures = predictions["picture" if "picture" in predictions else "image"]
    unnamed = pictures[values.isna().to_numpy(bool)].nunique()
    if unnamed:
        said.append(f"{unnamed:,} of {counted(pictures.nunique(), 'picture')} have no value and are left out")
    return Grouping(column, unnamed, tuple(groups), gaps, tuple(said))


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """By which names are sorted: 8-9 before 10-19."""
    parts = re.findall(r"\d+|\D+", name)
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def _of(people: Sequence[str | None] | None, rows: NDArray[np.bool_]) -> list[str | None] | None:
    return None if people is None else [people[row] for row in np.flatnonzero(rows).tolist()]


def _targets(predictions: pd.DataFrame) -> NDArray[np.int64]:
    return pd.Index(labels_of(predictions)).get_indexer(pd.Index(predictions["label"])).astype(np.int64)


def _group(name: str, predictions: pd.DataFrame, people: Sequence[str | None] | None, resamples: int) -> Group:
    labels, targets = labels_of(predictions), _targets(predictions)
    figures = evaluate(probabilities_of(predictions), targets, labels, resamples, groups=people)["metrics"]
    shown = len(set(targets.tolist()))
    count = units(len(predictions), people)
    pictures = predictions["picture" if "picture" in predictions else "image"].nunique()
    return Group(name, pictures, count, shown, figures["accuracy"], figures["balanced_accuracy"])


def _gaps(
    names: Sequence[str],
    member: NDArray[np.bool_],
    predictions: pd.DataFrame,
    people: Sequence[str | None] | None,
    resamples: int,
) -> tuple[Gap, ...]:
    """The gaps of groups with the rows `member` (G, N), all intervals from the same draws of whole people."""
    inside = member.sum(axis=0) > 0
    drawn_whole = _of(people, inside)
    right = (predictions["label"] == predictions["predicted"]).to_numpy(np.float64)
    classes = np.eye(len(labels_of(predictions)))[_targets(predictions)]
    cells = (member[:, :, None] * classes).transpose(1, 0, 2)
    columns = np.stack([cells, cells * right[:, None, None]], axis=-1)[inside]
    shape = columns.shape[1:]
    flat = columns.reshape(len(columns), -1)
    drawn = resampled_sums(flat, resamples, groups=drawn_whole).reshape(-1, *shape)
    persons = summed_by(drawn_whole or [None] * len(flat), flat).reshape(-1, *shape)
    every = list(range(len(names)))
    if len(names) <= IN_PAIRS:
        arms = [([a], [b]) for a, b in combinations(every, 2)]
    else:
        arms = [([a], [b for b in every if b != a]) for a in every]
    p = [exchanged_p(_answers(persons, a), _answers(persons, b)) for a, b in arms]
    return tuple(
        _gap(names, pair, persons, drawn, plain, adjusted)
        for pair, plain, adjusted in zip(arms, p, holm(p), strict=True)
    )


def _answers(persons: Floats, arm: list[int]) -> Floats:
    """Right answers and answers (U, 2) of people in some groups, from theirs by group and class (U, G, C, 2)."""
    return persons[:, arm].sum(axis=(1, 2))[:, ::-1]


def _gap(
    names: Sequence[str], pair: tuple[list[int], list[int]], persons: Floats, drawn: Floats, p: float, adjusted: float
) -> Gap:
    group, against = (persons[:, arm].sum(axis=1) for arm in pair)
    count = min(int(arm.any(axis=(1, 2)).sum()) for arm in (group, against))
    shared = (group.sum(axis=0)[:, 0] > 0) & (against.sum(axis=0)[:, 0] > 0)
    whole = [arm.sum(axis=0, keepdims=True) for arm in (group, against)]
    replicates = [drawn[:, arm].sum(axis=1) for arm in pair]

    def estimate(figure: Any) -> Estimate:
        value, spread = (figure(first) - figure(second) for first, second in (whole, replicates))
        return interval(float(value[0]), spread, count, within=(-1, 1))

    return Gap(
        names[pair[0][0]],
        names[pair[1][0]] if len(names) <= IN_PAIRS else None,
        estimate(_accuracy),
        estimate(lambda cells: _mean_recall(cells[:, shared])),
        int(shared.sum()),
        p,
        adjusted,
    )


def _accuracy(cells: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        asked, right = cells.sum(axis=1).T
        return right / asked


def _mean_recall(cells: Floats) -> Floats:
    """Mean recall (B,) over the classes that a draw (B, C, 2) shows; NaN where it shows none."""
    there = cells[:, :, 0] > 0
    recall = np.where(there, cells[:, :, 1] / np.maximum(cells[:, :, 0], 1), 0)
    with np.errstate(invalid="ignore"):
        return recall.sum(axis=1) / there.sum(axis=1) if cells.shape[1] else np.full(len(cells), math.nan)


def _notes(groups: Sequence[Group], unit: str, classes: int) -> list[str]:
    said = []
    if len(groups) == 1:
        said.append(f"{groups[0].name} is the only group: there is nothing to compare")
    if few := [group for group in groups if _is_few(group, unit)]:
        sizes = ", ".join(f"{group.name} ({_size(group, unit)})" for group in few)
        narrow = f"; below {FEW} {unit} intervals are too narrow" if any(1 < each.units < FEW for each in few) else ""
        said.append(f"too few to say much of others like them: {sizes}{narrow}")
    most = max(group.classes for group in groups)
    if lacking := [group for group in groups if group.classes < most]:
        shown = ", ".join(f"{group.name} ({group.classes})" for group in lacking)
        said.append(f"balanced accuracy is over fewer of the {classes} classes in {shown}")
    return said


def _is_few(group: Group, unit: str) -> bool:
    return group.pictures < FEW_PICTURES or (unit != "pictures" and group.units < FEW_PEOPLE)


def _size(group: Group, unit: str) -> str:
    pictures = counted(group.pictures, "picture")
    if unit == "pictures":
        return pictures
    one = {"people": "person", "sequences": "sequence"}[unit]
    return f"{pictures} of {group.units:,} {one if group.units == 1 else unit}"
