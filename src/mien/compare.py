"""Several runs as one comparison: recipes side by side, or a grid that spans them; only missing cells are run."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mien.errors import AuditBlocked, MienError, UsageError
from mien.evaluation import ledger
from mien.evaluation.report import weigh, write_comparison_report
from mien.evaluation.report.folder import runs_in
from mien.evaluation.report.weighed import Weighed
from mien.experiment import train
from mien.files import read_json, write_json
from mien.gallery import pictures
from mien.grids import Cell
from mien.rows import read, remembering
from mien.stages import Stages, silent, within


@dataclass(frozen=True)
class Compared:
    """The runs of the cells that finished, by name, and what went wrong in those that did not.

    `weighed` is what they say against each other, None for fewer than two; `blocked` whether an audit stopped one.
    """

    runs: Mapping[str, Path]
    failures: Mapping[str, str]
    report: Path | None
    weighed: Weighed | None
    blocked: bool = False


def begin(wanted: Sequence[Cell], folder: Path) -> None:
    """Let the runs of a comparison share one ledger. Raises UsageError where two cells have one name."""
    names = [cell.recipe.name for cell in wanted]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UsageError("the recipes of one comparison need different names", got=sorted(twice))
    ledger.begin(folder)


def compare(
    wanted: Sequence[Cell],
    folder: Path,
    stages: Stages = silent,
    failed: Mapping[str, Exception] = MappingProxyType({}),
) -> Compared:
    """Run the cells that are missing below `folder`, one after the other, and write `comparison.html` over all.

    A cell that fails is reported at the end and the others go on; what fails by a fault of the program is logged with
    its traceback. Cells that have `failed` elsewhere, by name, are not run again. A dataset that cells share is read
    once.
    """
    read_once = remembering(read)
    begin(wanted, folder)
    runs: dict[str, Path] = {}
    failures: dict[str, str] = {}
    blocked = False
    for number, cell in enumerate(wanted, 1):
        name = cell.recipe.name
        try:
            if name in failed:
                raise failed[name]
            place = f"{number}/{len(wanted)} {name}"
            runs[name] = train(cell.recipe, folder / name, True, stages=within(stages, place), read=read_once)
        except Exception as failure:
            failures[name] = f"{type(failure).__name__}: {failure}"
            if not isinstance(failure, MienError):
                logging.getLogger("mien").exception("%s failed by a fault of the program", name)
            blocked = blocked or isinstance(failure, AuditBlocked)
    places = {cell.recipe.name: dict(cell.place) for cell in wanted}
    document: dict[str, Any] = {"cells": places, "failures": failures}
    done = [each for run in runs.values() for each in runs_in(run)]
    weighed = weigh(done) if len(done) > 1 else None
    write_json(folder / "comparison.json", document | (weighed.as_dict() if weighed else {}))
    report = None
    page = folder / "comparison.html"
    if weighed and len(runs) > 1:
        first = {name: reason.splitlines()[0] for name, reason in failures.items()}
        absent = [f"Not compared, since it failed: {name} ({reason})." for name, reason in first.items()]
        told = replace(weighed, warnings=[*weighed.warnings, *absent])
        report = write_comparison_report(told, page, pictures(weighed, within(stages, "report"), read_once))
    else:
        # One of an earlier comparison would show runs that are none of this one's.
        page.unlink(missing_ok=True)
    return Compared(runs, failures, report, weighed, blocked)


def table(compared: Compared, metric: str = "accuracy") -> list[dict[str, Any]]:
    """One row a finished run: its name, the figure on its test rows with its interval, and the seconds it took."""
    return [
        {"run": label, **figures["test"]["metrics"][metric], "seconds": sum(figures["seconds"].values())}
        for label, figures in _figures(compared).items()
    ]


def notes(compared: Compared) -> dict[str, list[str]]:
    """What a reader must know about the figures of single runs, by the names in the table; only runs with a note."""
    return {label: figures["notes"] for label, figures in _figures(compared).items() if figures.get("notes")}


def verdict(compared: Compared) -> tuple[str | None, list[str]]:
    """The arm that differs from every other beyond chance, if there is one, and warnings about the comparison.

    An arm is a run, or a recipe with its seeds or folds.
    """
    weighed = compared.weighed
    if not weighed or len(compared.runs) < 2:
        return None, []
    return weighed.ranking.best if weighed.ranking else None, list(weighed.warnings)


def _figures(compared: Compared) -> dict[str, dict[str, Any]]:
    return {
        name if folder == run else f"{name} ({folder.name})": read_json(folder / "metrics.json")
        for name, run in compared.runs.items()
        for folder in runs_in(run)
    }
