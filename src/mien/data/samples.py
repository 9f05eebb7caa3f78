"""The sample table: one row a picture, whatever the dataset; sources build it, everything else reads it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mien.errors import DataError
from mien.imaging.decode import decode

SPLITS = ("train", "validation", "test")

COLUMNS = ("image", "label", "votes", "subject", "sequence", "split", "source", "parent", "digest")


class Reader(Protocol):
    """Where the pixels of a table are."""

    def read(self, image: str) -> NDArray[np.uint8]:
        """The picture named `image`: (H, W) grey or (H, W, 3) RGB, uint8. Raises UnreadableImage."""

    def stamp(self, image: str) -> str:
        """A cheap text that changes when the picture does; part of the key of every cache."""


@dataclass(frozen=True)
class Files:
    """Pictures that are files below `root`; `image` is the path below it, with forward slashes."""

    root: Path

    def read(self, image: str) -> NDArray[np.uint8]:
        return decode(self.root / image)

    def stamp(self, image: str) -> str:
        try:
            state = (self.root / image).stat()
        except OSError:
            return "absent"
        return f"{state.st_size}:{state.st_mtime_ns}"


@dataclass(frozen=True)
class Rows:
    """Pictures that are rows of one array in memory (N, H, W[, 3]) uint8; `image` ends in `#row`."""

    pixels: NDArray[np.uint8]
    origin: str

    def read(self, image: str) -> NDArray[np.uint8]:
        return self.pixels[int(image.rpartition("#")[2])]

    def stamp(self, image: str) -> str:
        return self.origin


@dataclass(frozen=True)
class Samples:
    """A dataset: its table, its label set, and the reader of its pixels.

    Columns of `table` (RangeIndex; a missing value is None/NA):
    `image` str; `label` canonical expression; `votes` list of float over `labels`, summing to 1;
    `subject`, `sequence` str; `split` one of train, validation, test; `source` catalogue name;
    `parent` Int64 row that a made row comes from; `digest` hex digest of the decoded pixels, filled when prepared.
    Raises DataError when a label is outside the set, a split has another name, or no row is left.
    """

    table: pd.DataFrame
    labels: tuple[str, ...]
    reader: Reader

    def __post_init__(self) -> None:
        if not len(self.table):
            raise DataError(
                "the dataset has no pictures",
                then="look for what leaves all rows out: an empty list, another root, an option of the source",
            )
        strange = set(self.table["label"].dropna()) - set(self.labels)
        if strange:
            raise DataError("labels outside the label set", got=sorted(strange), allowed=self.labels)
        splits = set(self.table["split"].dropna()) - set(SPLITS)
        if splits:
            raise DataError("unknown split names", got=sorted(splits), allowed=SPLITS)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def targets(self) -> NDArray[np.int64]:
        """Class indices into `labels`, (N,) int64; -1 where a row has no label."""
        index = {label: i for i, label in enumerate(self.labels)}
        return np.array([index.get(label, -1) for label in self.table["label"]], np.int64)

    @property
    def votes(self) -> NDArray[np.float32] | None:
        """Label distributions (N, classes) float32, or None when the dataset has none."""
        if self.table["votes"].isna().any():
            return None
        return np.stack(list(self.table["votes"])).astype(np.float32)

    def rows(self, split: str) -> NDArray[np.int64]:
        """Positions of the rows of one split, ascending."""
        return np.flatnonzero((self.table["split"] == split).to_numpy(dtype=bool, na_value=False))

    def take(self, positions: Sequence[int] | NDArray[np.int64] | NDArray[np.bool_]) -> "Samples":
        """The dataset of the given rows only, renumbered; parents that are gone become missing."""
        chosen = np.arange(len(self))[np.asarray(positions)]
        table = self.table.iloc[chosen].reset_index(drop=True)
        place = pd.Series(np.arange(len(chosen)), index=chosen)
        table["parent"] = table["parent"].map(place).astype("Int64")
        return replace(self, table=table)

    def with_split(self, split: Sequence[str | None] | NDArray[np.object_]) -> "Samples":
        """The same dataset under another split (N values of train, validation, test or None)."""
        return replace(self, table=self.table.assign(split=pd.array(list(split), dtype="string")))


def table(image: Sequence[str], label: Sequence[str | None], *, source: str, **columns: object) -> pd.DataFrame:
    """A sample table from its columns; those not given are missing throughout. Strings are pandas `string`."""
    frame = pd.DataFrame({"image": list(image)}, dtype="string")
    frame["label"] = pd.array(list(label), dtype="string")
    frame["source"] = pd.array([source] * len(frame), dtype="string")
    for name in ("subject", "sequence", "split", "digest"):
        given = columns.pop(name, None)
        frame[name] = pd.array([None] * len(frame) if given is None else list(given), dtype="string")  # type: ignore[call-overload]
    parent, votes = columns.pop("parent", None), columns.pop("votes", None)
    frame["parent"] = pd.array([None] * len(frame) if parent is None else list(parent), dtype="Int64")  # type: ignore[call-overload]
    frame["votes"] = pd.Series([None] * len(frame) if votes is None else list(votes), dtype=object)  # type: ignore[call-overload]
    if columns:
        raise TypeError(f"unknown columns: {', '.join(columns)}")
    return frame[list(COLUMNS)]
