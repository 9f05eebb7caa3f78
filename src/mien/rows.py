"""The rows that a recipe asks for, and what can be told of them before any picture or training library is loaded."""

from collections.abc import Callable

from mien.data.protocols import Protocol, hold
from mien.data.samples import SPLITS, Samples
from mien.data.sources.catalog import load
from mien.data.split import assign
from mien.data.subset import of_classes, sampled, without_official_test
from mien.errors import DataError
from mien.recipe import Data, Recipe

Read = Callable[[Data], Samples]
"""Gives the rows that the data part of a recipe asks for."""

_REMEMBERED = 3


def read(data: Data) -> Samples:
    """The rows of a source that a run may see: of its classes, outside of what is held out, not above its limit."""
    samples = load(data.source, data.root, **data.options)
    if data.classes:
        samples = of_classes(samples, data.classes)
    if data.hold_out:
        samples = without_official_test(samples)
    return sampled(samples, data.limit) if data.limit else samples


def remembering(read: Read) -> Read:
    """The same, with the rows of the last few datasets kept: runs that share their data read it once."""
    kept: dict[str, Samples] = {}

    def once(data: Data) -> Samples:
        key = data.model_dump_json()
        if key not in kept:
            if len(kept) == _REMEMBERED:
                del kept[next(iter(kept))]
            kept[key] = read(data)
        return kept[key]

    return once


def asked(recipe: Recipe, read: Read) -> Samples:
    """All rows of a recipe's data. Raises where its protocol wants others, and DataError for votes that are absent."""
    if recipe.protocol:
        used = Protocol(recipe.data.source, "", recipe.data.options, recipe.split.spec)
        hold(recipe.protocol, used, recipe.changed_rows)
    samples = read(recipe.data)
    if recipe.fit.soft_labels and samples.votes is None:
        raise DataError("fit.soft_labels needs votes by annotators, and the data has none", then="leave it out")
    return samples


def check_parts(samples: Samples) -> None:
    """Raise DataError where a split leaves training, validation or test without rows."""
    if empty := [split for split in SPLITS if not len(samples.rows(split))]:
        raise DataError(
            f"a run needs training, validation and test rows: none for {', '.join(empty)}",
            then="give every part a share with split.method and split.fractions",
        )


def check(recipe: Recipe, read: Read) -> None:
    """Raise what a run would of its rows alone: of data that is not there, people without names, an empty part."""
    single = next(iter(recipe.repetitions.values()), recipe)
    samples = asked(single, read)
    # Rows that a balance makes before the split have a part in it.
    if single.balance.order == "after-split":
        check_parts(assign(samples, single.split.spec))
