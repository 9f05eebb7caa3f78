"""Arms on the same test rows: what changed, whether beyond chance, and which pictures changed sides."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mien.data.split import clusters
from mien.errors import DataError
from mien.evaluation.pairs import (
    Pair,
    all_pairs,
    distinguishable_best,
    paired_difference,
    paired_differences,
    paired_p,
)
from mien.evaluation.randomisation import MacroF1, macro_f1_pairs
from mien.evaluation.statistics import Estimate, units

_TESTED = 10
"""Of more arms macro F1 is not tested: the pairs of a large grid take a minute."""


@dataclass(frozen=True)
class ClassChange:
    """The recall of one class in both arms, the paired difference, and the number of its pictures."""

    label: str
    support: int
    recall_a: float
    recall_b: float
    difference: Estimate


@dataclass(frozen=True)
class Comparison:
    """Arm `b` (with) against arm `a` (without) on the same rows; `test` names the test whose p-value is `p`.

    `difference` is accuracy of b minus accuracy of a. `gained` (wrong without, right with) and `lost` (the
    opposite) have one row an answer, the largest change first: image, label, predicted_a, predicted_b, and the
    probability of the predicted and of the true label in both arms. Where an arm has several seeds there are several
    answers to a picture, in `rows` and these counts too.
    """

    a: str
    b: str
    rows: int
    accuracy_a: float
    accuracy_b: float
    difference: Estimate
    both_right: int
    both_wrong: int
    p: float
    test: str
    classes: tuple[ClassChange, ...]
    gained: pd.DataFrame
    lost: pd.DataFrame

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, the changed pictures as records."""
        plain = {key: value for key, value in self.__dict__.items() if key not in ("difference", "classes")}
        return plain | {
            "difference": self.difference.as_dict(),
            "classes": [asdict(each) | {"difference": each.difference.as_dict()} for each in self.classes],
            "gained": _records(self.gained),
            "lost": _records(self.lost),
        }


@dataclass(frozen=True)
class Ranking:
    """Several arms on the same rows: `best` is the one better than all others beyond chance, if there is one.

    `test` names the test between every two of them; `differences` are, pair by pair, the accuracy of the second minus
    that of the first, with intervals that hold together. `macro_f1` has the same of macro F1, for up to ten arms.
    """

    names: tuple[str, ...]
    accuracy: tuple[float, ...]
    pairs: tuple[Pair, ...]
    best: str | None
    test: str
    differences: tuple[Estimate, ...]
    macro_f1: tuple[MacroF1, ...]

    def between(self, a: str, b: str) -> tuple[Pair, Estimate, MacroF1 | None]:
        """The test between two arms, `a` the earlier one; accuracy and macro F1 of `b` minus that of `a`."""
        wanted = self.names.index(a), self.names.index(b)
        each = zip_longest(self.pairs, self.differences, self.macro_f1)
        return next(found for found in each if (found[0].a, found[0].b) == wanted)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, arms by name."""
        pairs = [
            asdict(pair)
            | {"a": self.names[pair.a], "b": self.names[pair.b], "verdict": pair.verdict}
            | {"difference": difference.as_dict(), "macro_f1": macro_f1 and macro_f1.as_dict()}
            for pair, difference, macro_f1 in zip_longest(self.pairs, self.differences, self.macro_f1)
        ]
        accuracy = dict(zip(self.names, self.accuracy, strict=True))
        return {"accuracy": accuracy, "pairs": pairs, "best": self.best, "test": self.test}


def labels_of(predictions: pd.DataFrame) -> tuple[str, ...]:
    """The label set of a predictions table, from its `p_` columns, in their order."""
    return tuple(name.removeprefix("p_") for name in predictions.columns if name.startswith("p_"))


def probabilities_of(predictions: pd.DataFrame) -> NDArray[np.float32]:
    """The probabilities (N, C) of a predictions table."""
    return predictions[[f"p_{label}" for label in labels_of(predictions)]].to_numpy(np.float32)


def pooled(runs: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The predictions of one recipe over its seeds or folds as one arm; `picture` names what each row shows.

    Folds follow one another. A picture that several seeds were asked about has a row for each, under names of its own.
    """
    table = pd.concat(runs, ignore_index=True)
    again = table.groupby("image").cumcount()
    return table.assign(
        picture=table["image"], image=table["image"].where(again == 0, table["image"] + again.map(" ({})".format))
    )


def evenly(arms: Mapping[str, Sequence[pd.DataFrame]]) -> dict[str, pd.DataFrame]:
    """The tables of every arm's runs as one table an arm, with as many answers to a picture in each.

    Of three seeds against one run, each of the three answers to a picture is set against the one. The answers to a
    picture are drawn as one in tests and intervals, which so stand on the mean of each arm's answers to it.
    """
    asked = {name: int(pd.concat(runs)["image"].value_counts().min()) for name, runs in arms.items()}
    answers = math.lcm(*asked.values())
    repeated = {name: [*runs] * (answers // asked[name]) for name, runs in arms.items()}
    return {name: runs[0] if len(runs) == 1 else pooled(runs) for name, runs in repeated.items()}


def drawn_by(predictions: pd.DataFrame) -> list[str | None] | None:
    """What stands together in tests and intervals: people or sequences where they are named, else made pictures with
    the one they come from; a picture's own answers where it has several; None where every row is by itself.
    """
    shown = _pictures(predictions)
    named = clusters(predictions.reindex(columns=["subject", "sequence", "parent"]).set_axis(shown))
    if not shown.duplicated().any():
        return named
    return [name or picture for name, picture in zip(named or [None] * len(shown), shown, strict=True)]


def drawn_together(arms: Sequence[pd.DataFrame]) -> list[str | None] | None:
    """What stands together in tests and intervals of several arms, their rows in one order: what does in any of them,
    since people that one arm does not name are there all the same.
    """
    named = [names for arm in arms if (names := drawn_by(arm)) is not None]
    if all(names == named[0] for names in named[1:]):
        return named[0] if named else None
    rows, whose = np.arange(len(arms[0])), [pd.factorize(pd.Series(names, dtype=object))[0] for names in named]
    starts = np.cumsum([len(rows), *(int(codes.max()) + 1 for codes in whose)])
    links = [(rows[codes >= 0], start + codes[codes >= 0]) for codes, start in zip(whose, starts, strict=False)]
    ends = [np.concatenate(each) for each in zip(*links, strict=True)]
    graph = coo_array((np.ones(len(ends[0])), tuple(ends)), shape=(starts[-1],) * 2)
    return [str(part) for part in connected_components(graph, directed=False)[1][: len(rows)]]


def aligned(arms: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The arms with their rows in the order of the first. Raises DataError unless rows and labels are the same.

    Pictures are the same by name, or, where names differ as between two layouts of a dataset, by their pixels.
    """
    (first_name, first), *others = arms.items()
    order, result = first["image"].tolist(), {first_name: first.reset_index(drop=True)}
    for name, predictions in others:
        predictions = _renamed(predictions, first)
        if sorted(predictions["image"]) != sorted(order):
            shared = len(set(order) & set(predictions["image"]))
            raise DataError(
                "a paired comparison needs the same test pictures in every arm",
                got=f"{first_name}: {len(order)} rows, {name}: {len(predictions)} rows, {shared} shared",
                then="train both on one protocol: the same data under the same split",
            )
        rows = pd.MultiIndex.from_tuples(_listed(predictions)).get_indexer(pd.MultiIndex.from_tuples(_listed(first)))
        if (rows < 0).any():
            raise DataError("the arms give the same pictures different true labels", got=[first_name, name])
        result[name] = predictions.iloc[rows].reset_index(drop=True)
    return result


def _listed(arm: pd.DataFrame, by: str = "image") -> list[tuple[Hashable, ...]]:
    """What tells the rows of an arm apart: picture, label, and how many rows before have both."""
    return list(zip(arm[by], arm["label"], arm.groupby([by, "label"]).cumcount(), strict=True))


def _renamed(predictions: pd.DataFrame, first: pd.DataFrame) -> pd.DataFrame:
    """The predictions under the picture names of the first arm, where both hold the same pixels by other names."""
    if set(predictions["image"]) == set(first["image"]) or any("digest" not in arm for arm in (predictions, first)):
        return predictions
    # Exact twins are answered alike: which of them stands for which makes no difference.
    names = dict(zip(_listed(first, "digest"), first["image"], strict=True))
    theirs = _listed(predictions, "digest")
    return predictions.assign(image=[names[key] for key in theirs]) if names.keys() >= set(theirs) else predictions


def compare(
    a: pd.DataFrame,
    b: pd.DataFrame,
    names: tuple[str, str] = ("without", "with"),
    resamples: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Compare two predictions tables over the same pictures: McNemar, paired bootstrap, classes, changed pictures.

    Both draw whole people where one of the tables names them. Raises DataError when the rows or the true labels differ.
    """
    a, b = aligned(dict(zip(("a", "b"), (a, b), strict=True))).values()
    groups = drawn_together([a, b])
    right_a, right_b = _right(a), _right(b)
    table = _side_by_side(a, b)
    change = table["p_label_b"] - table["p_label_a"]
    classes = []
    for label in labels_of(a):
        rows = np.flatnonzero((a["label"] == label).to_numpy(bool))
        if rows.size:
            inside = None if groups is None else [groups[row] for row in rows.tolist()]
            difference = paired_difference(right_a[rows], right_b[rows], resamples, seed, inside)
            means = float(right_a[rows].mean()), float(right_b[rows].mean())
            classes.append(ClassChange(label, _pictures(a).iloc[rows].nunique(), *means, difference))
    return Comparison(
        *names,
        rows=len(a),
        accuracy_a=float(right_a.mean()),
        accuracy_b=float(right_b.mean()),
        difference=paired_difference(right_a, right_b, resamples, seed, groups),
        both_right=int((right_a & right_b).sum()),
        both_wrong=int((~right_a & ~right_b).sum()),
        p=paired_p(right_a, right_b, groups),
        test=_test(groups),
        classes=tuple(classes),
        gained=table.loc[change[~right_a & right_b].sort_values(ascending=False, kind="stable").index],
        lost=table.loc[change[right_a & ~right_b].sort_values(kind="stable").index],
    )


def rank(arms: Mapping[str, pd.DataFrame]) -> Ranking:
    """Test every two arms (McNemar, Holm over all pairs) and name the best only if it is distinguishable from all.

    The test draws whole people where one of the arms names them.
    """
    tables = list(aligned(arms).values())
    right, groups = np.stack([_right(predictions) for predictions in tables]), drawn_together(tables)
    names, pairs = tuple(arms), tuple(all_pairs(right, groups))
    best = distinguishable_best(right, pairs)
    return Ranking(
        names,
        tuple(float(share) for share in right.mean(axis=1)),
        pairs,
        None if best is None else names[best],
        _test(groups),
        paired_differences(right, pairs, groups),
        _macro_f1(tables, groups) if len(tables) <= _TESTED else (),
    )


def _macro_f1(tables: Sequence[pd.DataFrame], groups: Sequence[str | None] | None) -> tuple[MacroF1, ...]:
    labels = list(dict.fromkeys(label for each in tables for label in [*labels_of(each), *each["label"]]))
    targets, *answers = (
        pd.Index(labels).get_indexer(column) for column in (tables[0]["label"], *(each["predicted"] for each in tables))
    )
    return macro_f1_pairs(answers, targets, len(labels), groups)


def _test(groups: Sequence[str | None] | None) -> str:
    if groups is None:
        return "exact McNemar test"
    return f"exact sign-flip test over {units(len(groups), groups):,} groups of answers"


def _records(table: pd.DataFrame) -> list[dict[Hashable, Any]]:
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _pictures(predictions: pd.DataFrame) -> pd.Series:
    """What each row shows: the same picture may have been asked about by several seeds."""
    return predictions["picture" if "picture" in predictions else "image"]


def _right(predictions: pd.DataFrame) -> NDArray[np.bool_]:
    return (predictions["label"] == predictions["predicted"]).to_numpy(bool)


def _side_by_side(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    table = pd.DataFrame({"image": _pictures(a), "label": a["label"]})
    for arm, predictions in (("a", a), ("b", b)):
        table[f"predicted_{arm}"] = predictions["predicted"]
    for arm, predictions in (("a", a), ("b", b)):
        table[f"p_predicted_{arm}"] = _probability(predictions, predictions["predicted"])
        table[f"p_label_{arm}"] = _probability(predictions, predictions["label"])
    return table


def _probability(predictions: pd.DataFrame, names: pd.Series) -> list[float]:
    """The probability that each row gives to its own entry of `names`; NaN where the arm has no such class."""
    place = {label: i for i, label in enumerate(labels_of(predictions))}
    values = probabilities_of(predictions)
    return [float(values[row, place[name]]) if name in place else math.nan for row, name in enumerate(names)]
