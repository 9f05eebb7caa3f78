"""Several runs weighed against each other: figures, tests between every two arms, and what must be said of them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from mien.data.protocols import same_protocol
from mien.errors import DataError
from mien.evaluation.comparison import Comparison, Ranking, compare, evenly, rank
from mien.evaluation.report.arms import (
    answers_of,
    arms,
    notes_of,
    pictures_of,
    read_arms,
    repeats,
    together,
    trained_again,
    unfinished,
)
from mien.evaluation.report.folder import Run
from mien.evaluation.statistics import Spread

SHOWN = 18
"""Pictures shown of each kind: wrong without and right with, and the opposite."""


@dataclass(frozen=True)
class Again:
    """Accuracy of recipe `b` minus that of `a` over the seeds or folds that both have."""

    a: str
    b: str
    difference: Spread


@dataclass(frozen=True)
class Weighed:
    """Runs by name, and the arms they make: single runs, and recipes with their seeds or folds.

    `spreads` and `whole` are, by recipe that was run several times, the spread of every metric over its runs and the
    figures of all their answers together. `ranking` has the tests between the arms, None where none can be made;
    `pair` the first arm against the second or, of more, the most accurate of the others. `again` has, for every two
    recipes with seeds or folds on the same rows in common, how they differ from one to the next. `pictures` is
    how many test pictures the first arm stands on.
    """

    runs: Mapping[str, Run]
    arms: Mapping[str, Sequence[Run]]
    spreads: Mapping[str, Mapping[str, Spread]]
    whole: Mapping[str, dict[str, Any]]
    ranking: Ranking | None
    pair: Comparison | None
    again: Sequence[Again]
    warnings: Sequence[str]
    pictures: int

    @property
    def first(self) -> Run:
        """The run that comes first."""
        return next(iter(self.runs.values()))

    @property
    def figures(self) -> dict[str, dict[str, Any]]:
        """The figures of each arm, those of all its answers together where it was run several times."""
        return {name: self.whole.get(name) or family[0].metrics["test"] for name, family in self.arms.items()}

    @property
    def notes(self) -> dict[str, list[str]]:
        """What is to be told of each run."""
        families = {run.folder: family for family in self.arms.values() for run in family}
        return {name: notes_of(run, families[run.folder]) for name, run in self.runs.items()}

    def changed_rows(self) -> list[int]:
        """Row positions, in the first run's test predictions, of the pictures that the page would show."""
        predictions = self.first.predictions
        if self.pair is None or predictions is None:
            return []
        place = {image: row for row, image in enumerate(predictions["image"])}
        images = [image for side in (self.pair.gained, self.pair.lost) for image in shown(side)["image"]]
        return [place[image] for image in dict.fromkeys(images) if image in place]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able: `runs`, `repeats` (figures of all answers, spread over the runs), `tests`, `trained_again` and
        `warnings`.

        Every pair of the tests has its `difference`, the accuracy of `b` minus that of `a`, with its interval.
        """
        return {
            "runs": {
                name: {"protocol": run.protocol, "metrics": run.metrics["test"]["metrics"]}
                for name, run in self.runs.items()
            },
            "repeats": {
                name: {
                    "metrics": self.whole[name]["metrics"] if name in self.whole else None,
                    "spread": {metric: asdict(each) for metric, each in spread.items()},
                }
                for name, spread in self.spreads.items()
            },
            "tests": self.ranking.as_dict() if self.ranking else None,
            "trained_again": [
                {"a": each.a, "b": each.b, "runs": each.difference.runs, "deviation": each.difference.deviation}
                | {"difference": each.difference.mean.as_dict()}
                for each in self.again
            ],
            "warnings": list(self.warnings),
        }


def weigh(folders: Sequence[Path]) -> Weighed:
    """Read the runs in the folders, of which one may hold several, and weigh them against the first.

    Raises UsageError for fewer than two runs and RunError for a run without test figures.
    """
    runs = read_arms(folders)
    compared, spreads = arms(runs), repeats(runs)
    ranking, warnings = _ranked(runs, compared)
    whole = {name: together(compared[name]) for name in spreads if answers_of(compared[name])}
    warnings += [f"{name}: {text}" for name, figures in whole.items() for text in figures["few"]]
    pair, pictures = _pair(compared, ranking), pictures_of(next(iter(compared.values())))
    return Weighed(runs, compared, spreads, whole, ranking, pair, _again(compared), warnings, pictures)


def _again(compared: Mapping[str, Sequence[Run]]) -> list[Again]:
    found = [
        (first, second, trained_again(before, after))
        for (first, before), (second, after) in combinations(compared.items(), 2)
    ]
    return [Again(first, second, spread) for first, second, spread in found if spread]


def shown(side: pd.DataFrame) -> pd.DataFrame:
    """What the page shows of the pictures that changed sides."""
    return side.drop_duplicates("image").head(SHOWN)


def _ranked(runs: Mapping[str, Run], compared: Mapping[str, Sequence[Run]]) -> tuple[Ranking | None, list[str]]:
    """The tests between all arms, None where they cannot or need not be made; and what a reader must be told."""
    places = dict.fromkeys(family[0].folder.parent for family in compared.values())
    unlike = [*_arithmetic(runs), *(text for place in places for text in unfinished(place))]
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
        ranking = rank(_predictions(compared))
        return ranking, [*said, *_alone(compared), *_untold(ranking)]
    except DataError as error:
        return None, [*said, f"No paired tests: {error.what} ({error.got})."]


def _alone(compared: Mapping[str, Sequence[Run]]) -> list[str]:
    """A warning where single runs stand beside repeated ones: of those nobody knows the spread."""
    single = [name for name, family in compared.items() if len(family) == 1]
    said = (
        f"Run once beside recipes that were repeated: {', '.join(single)}. How far another seed moves it is not known."
    )
    return [said] if 0 < len(single) < len(compared) else []


def _untold(ranking: Ranking) -> list[str]:
    """A warning where the tests could not have told any arm from another."""
    untold = any(pair.verdict == "untold" for pair in ranking.pairs)
    said = (
        f"Too few people or pictures to tell {len(ranking.names)} arms apart: the {ranking.test} gives no corrected p "
        f"below {ranking.pairs[0].least:.2g} here, however much they differ."
    )
    return [said] if untold else []


def _arithmetic(runs: Mapping[str, Run]) -> list[str]:
    """A warning where runs were fitted in different arithmetic, which changes figures like another seed."""
    found = sorted({run.arithmetic for run in runs.values() if run.arithmetic})
    said = f"The runs were fitted in different arithmetic ({', '.join(found)}): set fit.precision."
    return [said] if len(found) > 1 else []


def _predictions(compared: Mapping[str, Sequence[Run]]) -> dict[str, pd.DataFrame]:
    return evenly(
        {name: [run.predictions for run in runs if run.predictions is not None] for name, runs in compared.items()}
    )


def _pair(compared: Mapping[str, Sequence[Run]], ranking: Ranking | None) -> Comparison | None:
    """The first arm against the second, or, of more, against the most accurate of the others."""
    if ranking is None:
        return None
    first, *others = ranking.names
    accuracy = dict(zip(ranking.names, ranking.accuracy, strict=True))
    other = max(others, key=lambda name: accuracy[name])
    predictions = _predictions({name: compared[name] for name in (first, other)})
    return compare(predictions[first], predictions[other], (first, other))
