"""How the settings of a replay's cells differ from those of its full scale, read from the recipes themselves."""

from collections.abc import Iterable, Iterator
from typing import Any

from mien.recipe import Recipe


def otherwise(pairs: Iterable[tuple[Recipe, Recipe]]) -> str:
    """The settings, as `fit.epochs 12 instead of 50`, in which recipes differ from the first of each pair; data aside.

    A key that cells set to several values has them all; the text is empty where nothing differs.
    """
    found: dict[str, dict[str, None]] = {}
    for full, used in pairs:
        before, now = (dict(_leaves(_settings(recipe))) for recipe in (full, used))
        for key in dict.fromkeys([*before, *now]):
            if before.get(key) != now.get(key):
                found.setdefault(key, {})[f"{now.get(key, 'unset')} instead of {before.get(key, 'unset')}"] = None
    return "; ".join(f"{key} {', '.join(values)}" for key, values in found.items())


def _settings(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json", exclude={"name", "data", "split"})


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Values by dotted key; the steps of a list stand under their names, without their places."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list) and any(isinstance(step, dict) for step in value):
        for step in value:
            yield from _leaves(step if isinstance(step, dict) else {step: "on"}, prefix)
    else:
        yield prefix, value
