"""What a run is made on: the rows of a dataset in their splits, made rows among them, and the pixels of each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mien.data.audit import Looks, looks_of
from mien.data.balance import Balanced, Step, balance, idle, padded
from mien.data.pictures import Pictures, Stacked
from mien.data.prepare import CHUNK, Prepared, pixel_digest
from mien.data.samples import Samples, table
from mien.data.split import SplitSpec, assign


@dataclass(frozen=True)
class Material:
    """Rows and their pixels: row i of `samples` is `pixels[place[i]]`.

    `pixels` (M, H, W[, 3]) uint8 are memory-mapped, made ones aside, and never copied; `place` (N,) int64. A made row's
    `parent` is the row it comes from; `parents` (N, k) int64 has all of them, -1 where there are fewer, or one was left
    out since: `made_from` (N,) has the digests of all, of rows that are gone too, and none for a row of the data.
    `looks` is what an audit looks at, one look a row, where one is to come.
    """

    samples: Samples
    pixels: Pictures
    place: NDArray[np.int64]
    parents: NDArray[np.int64]
    made_from: NDArray[np.object_]
    looks: Looks | None

    def targets(self, positions: NDArray[np.int64], soft: bool = False) -> NDArray[np.float32]:
        """Target distributions (n, classes) of rows: the votes if `soft` and the data has them, else one-hot."""
        votes = self.samples.votes if soft else None
        if votes is not None:
            return votes[positions]
        return np.eye(len(self.samples.labels), dtype=np.float32)[self.samples.targets[positions]]

    def take(self, positions: NDArray[np.int64]) -> "Material":
        """The given rows only; the pixels stay where they are."""
        renumbered = np.full(len(self.samples) + 1, -1)
        renumbered[positions] = np.arange(len(positions))
        return replace(
            self, samples=self.samples.take(positions), place=self.place[positions],
            parents=renumbered[self.parents[positions]], made_from=self.made_from[positions],
            looks=self.looks and self.looks.take(positions),
        )  # fmt: skip


def readable(samples: Samples, prepared: Prepared, looks: Looks | None = None) -> Material:
    """The rows whose pictures could be prepared, their digests filled in."""
    digests = pd.array(prepared.digests, dtype="string")
    kept = np.flatnonzero(prepared.ok)
    whole = replace(samples, table=samples.table.assign(digest=digests))
    nobody, none = np.full((len(kept), 1), -1), _none(len(kept))
    return Material(whole.take(kept), prepared.pixels, kept, nobody, none, looks and looks.take(kept))


def balanced(material: Material, steps: Sequence[Step], seed: int, split: str | None = "train") -> Material:
    """The material with the rows of one split balanced (None: all rows); made rows join that split."""
    samples = material.samples
    rows = _labelled(samples, split)
    made = balance(material.pixels, samples.targets[rows], steps, seed, samples.labels, material.place[rows])
    dropped = np.setdiff1d(rows, rows[made.keep])
    grown = _appended(material, rows, made)
    return grown.take(np.setdiff1d(np.arange(len(grown.samples)), dropped))


def idle_steps(samples: Samples, steps: Sequence[Step], split: str | None = "train") -> tuple[str, ...]:
    """What a reader of results must know about `balanced`: the steps that change nothing."""
    return idle(samples.targets[_labelled(samples, split)], steps, samples.labels)


def resplit(material: Material, spec: SplitSpec) -> Material:
    """The same rows, made ones included, under another split: each row on its own, parents notwithstanding."""
    return replace(material, samples=assign(material.samples, spec))


def _labelled(samples: Samples, split: str | None) -> NDArray[np.int64]:
    rows = np.arange(len(samples)) if split is None else samples.rows(split)
    return rows[samples.targets[rows] >= 0]


def _appended(material: Material, rows: NDArray[np.int64], made: Balanced) -> Material:
    if not len(made.targets):
        return material
    samples = material.samples
    parents = np.where(made.parents >= 0, rows[made.parents], -1)
    pixels = Stacked((material.pixels, made.pixels)) if len(made.pixels) else material.pixels
    once, again = np.unique(made.place, return_inverse=True)
    if material.looks:
        seen = looks_of(_each(pixels, once)).take(again)
        looks, digests = material.looks.followed_by(seen), seen.digests
    else:
        looks, digests = None, np.array([pixel_digest(picture) for picture in _each(pixels, once)])[again]
    first = samples.table.iloc[parents[:, 0]].reset_index(drop=True)
    votes = None if samples.votes is None else list(_of_parents(samples.votes, parents, made.shares))
    new = table(
        [f"{image}~{kind}-{i}" for i, (image, kind) in enumerate(zip(first["image"], made.kind, strict=True))],
        [samples.labels[target] for target in made.targets],
        source="made",
        subject=first["subject"],
        sequence=first["sequence"],
        split=first["split"],
        parent=parents[:, 0],
        digest=digests,
        votes=votes,
    )
    return Material(
        replace(samples, table=pd.concat([samples.table, new], ignore_index=True)),
        pixels,
        np.append(material.place, made.place),
        padded(material.parents, parents),
        np.append(material.made_from, _digests(samples, parents)),
        looks,
    )


def _none(rows: int) -> NDArray[np.object_]:
    found = np.empty(rows, object)
    found[:] = [()] * rows
    return found


def _digests(samples: Samples, parents: NDArray[np.int64]) -> NDArray[np.object_]:
    """The digests of the parents (n, k) of made rows, -1 where there are fewer."""
    digests, found = samples.table["digest"].to_numpy(object), _none(len(parents))
    found[:] = [tuple(digests[row] for row in each if row >= 0) for each in parents.tolist()]
    return found


def _of_parents(
    votes: NDArray[np.float32], parents: NDArray[np.int64], shares: NDArray[np.float64]
) -> NDArray[np.float32]:
    """The votes (n, classes) of made rows: those of their parents (n, k), of each as much as is in the picture."""
    return (votes[parents] * shares.astype(np.float32)[..., None]).sum(axis=1)


def _each(pixels: Pictures, positions: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(positions), CHUNK):
        yield from pixels[positions[start : start + CHUNK]]
