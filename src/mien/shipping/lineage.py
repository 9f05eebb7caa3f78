"""What a bundle says of its origin: the data that its weights learned from, also through others, and the terms."""

from pathlib import Path

from mien.data.sources.catalog import SOURCES
from mien.recipe import Recipe, load
from mien.run.inherited import all_below
from mien.runtime import bundle

UNKNOWN = "as the training data allows"


def licence(recipe: Recipe) -> str:
    """What the training data says, the recipe's own and that of every run and bundle that it builds on."""
    found = {_licence(recipe): ""}
    for each in all_below(recipe):
        found.setdefault(_terms(each), each.name)
    own, *others = found.items()
    return "; ".join([own[0], *(f"builds on `{name}` ({terms})" for terms, name in others)])


def training_data(recipe: Recipe) -> str:
    """Which rows the weights were fitted on, the network that they started as, and the runs that taught them."""
    rows = f"{recipe.data.source}, training rows of its {recipe.split.method} split"
    clean = ", none with a twin in validation or test" if recipe.split.clean == "train" else ""
    if recipe.others:
        clean += f" or among what {', '.join(other.source for other in recipe.others)} holds out"
    weights, taught = recipe.model.weights, ", ".join(map(_named, recipe.fit.teachers))
    start = "timm's ImageNet weights" if weights == "hub" else _named(weights) if weights else ""
    return rows + clean + (f"; started from {start}" if start else "") + (f"; taught by {taught}" if taught else "")


def _terms(run: Path) -> str:
    if bundle.means_bundle(str(run)):
        return bundle.load(str(run)).info.licence or UNKNOWN
    kept = run / "recipe.yaml"
    return _licence(load(kept)) if kept.is_file() else UNKNOWN


def _licence(recipe: Recipe) -> str:
    source = SOURCES.get(recipe.data.source)
    return (source and source.licence) or UNKNOWN


def _named(run: str) -> str:
    """A run by name; of a bundle, the rows that it says it was fitted on too, since no folder has them."""
    said = f" ({bundle.load(run).info.training_data.partition(';')[0]})" if bundle.means_bundle(run) else ""
    return f"`{Path(run).name}`{said}"
