"""Grids of recipes: every combination of the values of some axes, and a recipe as the grid of one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from mien.errors import UsageError
from mien.recipe import Recipe, changed, parse, read_content


@dataclass(frozen=True)
class Cell:
    """One run of a comparison and the coordinates it stands for, such as {"network": "vgg16"}."""

    recipe: Recipe
    place: Mapping[str, str]


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
    """Every combination of a grid's axes, `changes` on top of each.

    Raises UsageError for what is not a grid, for changes of what an axis sets and for two cells that are one recipe.
    """
    if wrong := _not_of_a_grid(content):
        raise UsageError(
            f"{origin} is not a grid",
            got=wrong,
            allowed="name, base (the keys of a recipe) and axes (axis -> value's name -> the keys it changes)",
            then="write axes as, for example: {network: {small: {model.backbone: mien-small}, plain: {}}}",
        )
    if taken := [change for change in changes if _on_an_axis(change.partition("=")[0], content["axes"])]:
        raise UsageError(
            f"an axis of {origin} sets what is changed: its cells would be named for what they are not",
            got=taken,
            allowed="keys that no axis sets",
            then="change the values of the axis instead",
        )
    found: dict[str, Cell] = {}
    axes = [[(str(name), keys) for name, keys in axis.items()] for axis in content["axes"].values()]
    for choice in product(*axes):
        recipe = yaml.safe_load(yaml.safe_dump(content["base"]))
        recipe["name"] = "-".join([str(content["name"]), *(name for name, _ in choice)])
        settings = [f"{key}={yaml.safe_dump(value)}" for _, keys in choice for key, value in keys.items()]
        place = dict(zip(content["axes"], (name for name, _ in choice), strict=True))
        cell = Cell(parse(changed(recipe, [*settings, *changes]), f"{origin}, cell {recipe['name']}"), place)
        twin = found.setdefault(cell.recipe.model_dump_json(exclude={"name"}), cell)
        if twin is not cell:
            raise UsageError(
                f"two cells of {origin} are one recipe under two names",
                got=[twin.recipe.name, cell.recipe.name],
                then="let every value of an axis change something that no other axis sets",
            )
    return list(found.values())


def _on_an_axis(key: str, axes: Mapping[str, Any]) -> bool:
    """Whether an axis sets a key, a part of it, or what it is a part of."""
    theirs = [str(each) for axis in axes.values() for keys in axis.values() for each in keys]
    return any(f"{key}.".startswith(f"{each}.") or f"{each}.".startswith(f"{key}.") for each in theirs)


def _not_of_a_grid(content: Mapping[str, Any]) -> list[str]:
    """What keeps the content of a file from being a grid, one text each."""
    axes = content.get("axes")
    wrong = [f"{key}: missing" for key in ("name", "base", "axes") if content.get(key) is None]
    there = [key for key in ("base", "axes") if content.get(key) is not None]
    wrong += [f"{key}: no mapping" for key in there if not isinstance(content[key], Mapping)]
    wrong += ["axes: none named"] if axes == {} else []
    for name, axis in axes.items() if isinstance(axes, Mapping) else ():
        if not isinstance(axis, Mapping) or not axis:
            wrong.append(f"axes.{name}: no mapping of values")
        else:
            wrong += [
                f"axes.{name}.{value}: no mapping" for value, keys in axis.items() if not isinstance(keys, Mapping)
            ]
    return wrong
