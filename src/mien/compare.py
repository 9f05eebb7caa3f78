"""Several runs as one comparison: recipes side by side, or a grid that spans them; only missing cells are run."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from mien.data.prepare import prepare
from mien.errors import AuditBlocked, MienError, UsageError
from mien.evaluation import ledger
from mien.evaluation.report import changed_rows, write_comparison_report
from mien.evaluation.report.comparison import ranked, read_arms, repeats
from mien.evaluation.report.folder import read_run, runs_in
from mien.experiment import Read, Stages, read, remembering, silent, train, within
from mien.files import read_json, write_json
from mien.imaging.chain import Chain
from mien.recipe import Recipe, changed, load, parse, read_content


@dataclass(frozen=True)
class Cell:
    """One run of a comparison and the coordinates it stands for, such as {"network": "vgg16"}."""

    recipe: Recipe
    place: Mapping[str, str]


@dataclass(frozen=True)
class Compared:
    """The runs of the cells that finished, by name, and what went wrong in those that did not.

    `blocked` is whether an audit stopped one of those.
    """

    runs: Mapping[str, Path]
    failures: Mapping[str, str]
    report: Path | None
    blocked: bool = False


def cells(path: Path, changes: Sequence[str] = ()) -> list[Cell]:
    """The runs that a YAML file describes: one for a recipe; every combination for a grid.

    A grid has `name`, `base` (a recipe) and `axes`: axis -> value's name -> the keys it changes, as
    `axes: {network: {vgg16: {model.backbone: vgg16}}}`. What a replay puts on top of it, `protocols` and `small`, is
    left aside here.
    """
    content = read_content(path)
    if "axes" not in content:
        recipe = parse(changed(content, changes), str(path))
        return [Cell(recipe, {"recipe": recipe.name})]
    if strange := set(content) - {"name", "base", "axes", "protocols", "small"}:
        raise UsageError(f"{path} is not a grid", got=sorted(strange), allowed="name, base, axes")
    return spread(content, changes, str(path))


def spread(content: Mapping[str, Any], changes: Sequence[str] = (), origin: str = "the grid") -> list[Cell]:
    """Every combination of a grid's axes, `changes` on top of each. Raises UsageError for what is not a grid."""
    if wrong := _not_of_a_grid(content):
        raise UsageError(
            f"{origin} is not a grid",
            got=wrong,
            allowed="name, base (the keys of a recipe) and axes (axis -> value's name -> the keys it changes)",
            then="write axes as, for example: {network: {small: {model.backbone: mien-small}, plain: {}}}",
        )
    found = []
    axes = [[(str(name), keys) for name, keys in axis.items()] for axis in content["axes"].values()]
    for choice in product(*axes):
        recipe = yaml.safe_load(yaml.safe_dump(content["base"]))
        recipe["name"] = "-".join([str(content["name"]), *(name for name, _ in choice)])
        settings = [f"{key}={yaml.safe_dump(value)}" for _, keys in choice for key, value in keys.items()]
        place = dict(zip(content["axes"], (name for name, _ in choice), strict=True))
        found.append(Cell(parse(changed(recipe, [*settings, *changes]), f"{origin}, cell {recipe['name']}"), place))
    return found


def _not_of_a_grid(content: Mapping[str, Any]) -> list[str]:
    """What keeps the content of a file from being a grid, one text each."""
    axes = content.get("axes")
    wrong = [f"{key}: missing" for key in ("name", "base", "axes") if content.get(key) is None]
    wrong += [f"{key}: no mapping" for key in ("base", "axes") if not isinstance(content.get(key) or {}, Mapping)]
    for name, axis in axes.items() if isinstance(axes, Mapping) else ():
        if not isinstance(axis, Mapping) or not axis:
            wrong.append(f"axes.{name}: no mapping of values")
        else:
            wrong += [
                f"axes.{name}.{value}: no mapping" for value, keys in axis.items() if not isinstance(keys, Mapping)
            ]
    return wrong


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
    write_json(folder / "comparison.json", {"cells": places, "failures": failures})
    report = None
    if len(runs) > 1:
        done = [each for run in runs.values() for each in runs_in(run)]
        report = write_comparison_report(
            done, folder / "comparison.html", pictures(done, within(stages, "report"), read_once)
        )
    return Compared(runs, failures, report, blocked)


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
    if len(compared.runs) < 2:
        return None, []
    ranking, warnings = ranked(read_arms(list(compared.runs.values())))
    return ranking.best if ranking else None, warnings


def spreads(compared: Compared, metric: str = "accuracy") -> dict[str, dict[str, Any]]:
    """The mean of the figure with its interval, and the standard deviation, of each recipe over its seeds or folds."""
    runs = read_arms(list(compared.runs.values())) if len(_figures(compared)) > 1 else {}
    return {
        name: spread[metric].mean.as_dict() | {"deviation": spread[metric].deviation, "runs": spread[metric].runs}
        for name, spread in repeats(runs).items()
    }


def _figures(compared: Compared) -> dict[str, dict[str, Any]]:
    return {
        name if folder == run else f"{name} ({folder.name})": read_json(folder / "metrics.json")
        for name, run in compared.runs.items()
        for folder in runs_in(run)
    }


def pictures(runs: Sequence[Path], stages: Stages = silent, read: Read = read) -> dict[int, NDArray[np.uint8]]:
    """The pictures of a comparison's galleries, by row, as the first run saw them; rows that a balance made have none.

    Where the data is gone there are none at all, and a warning says why: a page without faces is better than no page.
    """
    rows, predictions = changed_rows(runs), read_run(runs[0]).predictions
    if not rows or predictions is None:
        return {}
    try:
        recipe = load(runs[0] / "recipe.yaml")
        samples = read(recipe.data)
        prepared = prepare(samples, Chain.parse(recipe.chain), progress=stages("prepare"))
    except MienError as gone:
        logging.getLogger("mien").warning("the page shows the names of pictures only: %s", gone)
        return {}
    place = {image: position for position, image in enumerate(samples.table["image"])}
    named = {row: predictions["image"].iloc[row] for row in rows}
    return {row: np.asarray(prepared.pixels[place[image]]) for row, image in named.items() if image in place}
