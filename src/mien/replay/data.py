"""The data a replay runs on: the study's own, or at small scale what can stand in for it."""

from dataclasses import dataclass
from pathlib import Path

from mien.data.samples import Samples
from mien.data.sources.catalog import SOURCES, load
from mien.errors import Absent, DataError, UsageError
from mien.recipe import Data, Recipe
from mien.replay.studies import Scale

STAND_INS = tuple(name for name, source in SOURCES.items() if source.of_fer2013)
DRAWN = 1500


@dataclass(frozen=True)
class Found:
    """What was found: a source, its root, whether it is the study's own, and which groups it names."""

    source: str
    root: Path | None
    own: bool
    groups: frozenset[str]

    def data(self, wanted: Data) -> Data:
        """The data part of a recipe, pointed here."""
        options = wanted.options if self.own else {}
        if self.source == "synthetic" and not self.own:
            options = {"count": wanted.limit or DRAWN}
        return wanted.model_copy(update={"source": self.source, "root": self.root, "options": options})

    def differs(self, wanted: str) -> tuple[str, ...]:
        """What a reader must know about the data."""
        if self.own:
            return ()
        what = "synthetic faces" if self.source == "synthetic" else SOURCES[self.source].about
        about = SOURCES[wanted].about
        return (f"Other data: {what}, standing in for {about}. The figures say nothing about the latter.",)


def find(wanted: str, root: Path | None, scale: Scale) -> Found:
    """The data below `root`: the wanted source, at small scale else a stand-in, without a root synthetic faces.

    Raises DataError that says which files were looked for and how to get them.
    """
    if root is None and scale == "small":
        return Found("synthetic", None, False, frozenset({"subject"}))
    names = (wanted, *(name for name in STAND_INS if name != wanted)) if scale == "small" else (wanted,)
    broken: list[str] = []
    for name in names:
        samples = _read(name, root, broken)
        if samples is not None:
            return Found(name, root, name == wanted, _groups(samples))
    raise DataError(
        f"the data of this study is not there: {SOURCES[wanted].about}",
        got=["no --root" if root is None else root, *broken],
        allowed=[f"{name}: {' | '.join(SOURCES[name].layout)}" for name in names],
        then=f"{SOURCES[wanted].get}; or try it without data: --scale small, and no --root",
    )


def fitted_to(recipe: Recipe, found: Found) -> Recipe:
    """The recipe on the data that was found, its split without leaks as far as that data tells groups.

    Where it names none, twins are cleaned out of training instead; where it names people that the study's own data
    does not, a split that cleans keeps them whole as well.
    """
    split = recipe.split
    if split.method == "grouped" and split.group not in found.groups:
        split = split.model_copy(update={"method": "stratified", "clean": "train"})
    elif split.method == "stratified" and split.clean == "train" and "subject" in found.groups:
        split = split.model_copy(update={"method": "grouped", "group": "subject"})
    return recipe.model_copy(update={"data": found.data(recipe.data), "split": split})


def _read(name: str, root: Path | None, broken: list[str]) -> Samples | None:
    try:
        return load(name, root) if root is not None else None
    except Absent:
        return None
    except (DataError, UsageError) as error:
        # Files of another dataset look broken to this one, so it is told only where nothing fits.
        broken.append(f"{name}: {error.what}")
        return None


def _groups(samples: Samples) -> frozenset[str]:
    return frozenset(name for name in ("subject", "sequence") if samples.table[name].notna().all())
