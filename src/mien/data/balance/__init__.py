"""Balancing the classes of training rows: more rows, fewer rows, or weights; made rows remember their parents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.data.balance.geometry import moved
from mien.data.balance.smote import smote
from mien.data.balance.steps import STEPS, Augment, Smote, Step, Undersample, parse
from mien.data.pictures import Pictures, Stacked
from mien.errors import DataError
from mien.labels import meant

__all__ = ["Balanced", "Step", "balance", "class_weights", "idle", "padded", "parse"]

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Balanced:
    """What balancing makes of N training rows: M made rows, and the rows that stay.

    `pixels` (K, H, W[, 3]) uint8 are the pictures that are new: a repeated row has the picture of its parent. `place`
    (M,) int64 says where each made row has its picture: among the pictures given, or counting on from them in `pixels`.
    `targets` (M,) int64; `parents` (M, k) int64 positions of the training rows they come from, -1 where there are fewer
    than k; `shares` (M, k) float64 how much of each is in them, 0 where there are fewer; `kind` (M,) the step that made
    each; `keep` positions of the training rows that stay, ascending.
    """

    pixels: Pictures
    place: Positions
    targets: Positions
    parents: Positions
    shares: NDArray[np.float64]
    kind: NDArray[np.str_]
    keep: Positions


@dataclass(frozen=True)
class _Pool:
    """All rows at one moment: first the N originals, then the made ones; `alive` are those not dropped.

    Row i is the picture `pixels[place[i]]`, of the pictures given and the new ones behind them.
    """

    pixels: Stacked
    place: Positions
    targets: Positions
    parents: Positions
    shares: NDArray[np.float64]
    kind: NDArray[np.str_]
    alive: NDArray[np.bool_]

    def gather(self, positions: Positions) -> NDArray[np.uint8]:
        return self.pixels[self.place[positions]]


def balance(
    pixels: Pictures,
    targets: Positions,
    spec: Sequence[Step],
    seed: int = 0,
    labels: Sequence[str] | None = None,
    place: Positions | None = None,
) -> Balanced:
    """Balance training rows, step after step; every step sees what the ones before it made and dropped.

    `pixels` (P, H, W[, 3]) uint8, in memory or mapped, is only read, as far as a step needs it; row i is
    `pixels[place[i]]` (by default `pixels[i]`). `targets` (N,) class indices into `labels`, whose names steps and
    errors use (by default the indices themselves). Raises DataError where a class has too few rows.

    >>> pixels, targets = np.zeros((6, 8, 8), np.uint8), np.array([0, 0, 0, 0, 1, 1])
    >>> balance(pixels, targets, parse([{"smote": {"neighbours": 1}}]), labels=("happiness", "disgust")).parents.shape
    (2, 2)
    """
    names = [str(i) for i in range(int(targets.max()) + 1)] if labels is None else list(labels)
    count = len(targets)
    pool = _Pool(
        pixels=Stacked((pixels, np.empty((0, *pixels.shape[1:]), np.uint8))),
        place=np.arange(count) if place is None else place,
        targets=np.asarray(targets, np.int64),
        parents=np.arange(count)[:, None],
        shares=np.ones((count, 1)),
        kind=np.full(count, "original", "U16"),
        alive=np.ones(count, bool),
    )
    for number, step in enumerate(spec):
        pool = _apply(pool, step, names, np.random.default_rng((seed, number)))
    stays = np.flatnonzero(pool.alive[count:])
    parents, shares = pool.parents[count:][stays], pool.shares[count:][stays]
    used = (parents >= 0).any(0)
    made, shown = _shown(Stacked(pool.pixels.parts[1:]), pool.place[count:][stays], len(pixels))
    return Balanced(
        pixels=made,
        place=shown,
        targets=pool.targets[count:][stays],
        parents=parents[:, used],
        shares=shares[:, used],
        kind=pool.kind[count:][stays],
        keep=np.flatnonzero(pool.alive[:count]),
    )


def idle(targets: Positions, spec: Sequence[Step], labels: Sequence[str]) -> tuple[str, ...]:
    """A remark on each step of `balance` that makes and drops nothing.

    >>> idle(np.array([0, 0, 0, 1]), parse([{"smote": {"target": 1}}]), ("happiness", "disgust"))
    ('balance.steps: smote changes nothing, no class has fewer rows than it asks for',)
    """
    remarks = []
    counts = np.bincount(targets, minlength=len(labels))
    for step in spec:
        fewer = isinstance(step, Undersample)
        after = counts.copy()
        for target, count in _wished(step, counts, list(labels)).items():
            after[target] = min(counts[target], count) if fewer else max(counts[target], count)
        if (after == counts).all():
            rows = "more rows" if fewer else "fewer rows"
            remarks.append(f"balance.steps: {_word(step)} changes nothing, no class has {rows} than it asks for")
        counts = after
    return tuple(remarks)


def class_weights(targets: Positions, classes: int) -> NDArray[np.float32]:
    """Weights (classes,) float32 that make every class count alike: N / (present classes x rows of the class), else 0.

    >>> class_weights(np.array([0, 0, 0, 1]), 3).round(2).tolist()
    [0.67..., 2.0, 0.0]
    """
    counts = np.bincount(targets, minlength=classes)
    present = counts > 0
    return np.divide(len(targets), present.sum() * counts, out=np.zeros(classes), where=present).astype(np.float32)


def padded(above: NDArray[Any], below: NDArray[Any], fill: int = -1) -> NDArray[Any]:
    """Two tables of parents (n, j) and (m, k), or of what belongs to them, one below the other, the narrower filled."""
    width = max(above.shape[1], below.shape[1])
    return np.concatenate(
        [np.pad(part, ((0, 0), (0, width - part.shape[1])), constant_values=fill) for part in (above, below)]
    )


def _apply(pool: _Pool, step: Step, names: list[str], rng: np.random.Generator) -> _Pool:
    rows = np.flatnonzero(pool.alive)
    wished = _wished(step, np.bincount(pool.targets[rows], minlength=len(names)), names)
    if isinstance(step, Undersample):
        return _undersample(pool, rows, wished, rng)
    for target, count in wished.items():
        missing = count - int((pool.targets[rows] == target).sum())
        if missing > 0:
            pool = _grow(pool, rows, target, names[target], missing, step, rng)
    return pool


def _wished(step: Step, counts: Positions, names: list[str]) -> dict[int, int]:
    """The count asked of each class that the step concerns."""

    def position(given: object) -> int:
        return names.index(meant(str(given), names, "class in a balancing step"))

    present = np.flatnonzero(counts)
    smallest, largest = present[counts[present].argmin()], present[counts[present].argmax()]
    words = {
        "all": present,
        "minority": [smallest],
        "majority": [largest],
        "not minority": present[present != smallest],
        "not majority": present[present != largest],
    }
    chosen = words[step.classes] if isinstance(step.classes, str) else [position(name) for name in step.classes]
    if isinstance(step.target, Mapping):
        return {position(name): count for name, count in step.target.items()}
    ordered = np.sort(counts[present])
    measured = {"max": ordered[-1], "min": ordered[0], "median": int(np.median(ordered))}
    count = int(measured[step.target]) if isinstance(step.target, str) else step.target
    return {int(target): count for target in chosen}


def _undersample(pool: _Pool, rows: Positions, wished: dict[int, int], rng: np.random.Generator) -> _Pool:
    alive = pool.alive.copy()
    for target, count in wished.items():
        members = rows[pool.targets[rows] == target]
        alive[rng.permutation(members)[count:]] = False
    return replace(pool, alive=alive)


def _grow(
    pool: _Pool, rows: Positions, target: int, name: str, missing: int, step: Step, rng: np.random.Generator
) -> _Pool:
    """The pool with `missing` more rows of one class, made from the live rows."""
    members = rows[pool.targets[rows] == target]
    if not len(members):
        raise DataError(f"class {name} has no row to make more from", then="leave it out of the balancing step")
    pixels, place = pool.pixels, len(pool.pixels) + np.arange(missing)
    if isinstance(step, Smote):
        seed = int(rng.integers(2**32))
        made = smote(lambda at: pool.gather(rows[at]), pool.targets[rows], target, name, missing, step, seed)
        parents, shares = rows[made.parents], made.shares
        pixels = pixels.followed_by(made.pictures)
    else:
        parents, shares = _repeated(members, missing, rng)[:, None], np.ones((missing, 1))
        if isinstance(step, Augment):
            pixels = pixels.followed_by(moved(pool.gather(parents[:, 0]), step, rng))
        else:
            place = pool.place[parents[:, 0]]
    roots, shares = _roots(pool, parents, shares)
    return replace(
        pool,
        pixels=pixels,
        place=np.append(pool.place, place),
        targets=np.append(pool.targets, np.full(missing, target)),
        parents=padded(pool.parents, roots),
        shares=padded(pool.shares, shares, fill=0),
        kind=np.append(pool.kind, np.full(missing, _word(step))),
        alive=np.append(pool.alive, np.ones(missing, bool)),
    )


def _word(step: Step) -> str:
    return next(word for word, form in STEPS.items() if type(step) is form)


def _repeated(members: Positions, count: int, rng: np.random.Generator) -> Positions:
    """`count` of the members, none used twice more often than another."""
    rounds = [rng.permutation(members) for _ in range(-(-count // len(members)))]
    return np.concatenate(rounds)[:count]


def _roots(pool: _Pool, parents: Positions, shares: NDArray[np.float64]) -> tuple[Positions, NDArray[np.float64]]:
    """The training rows at the root of each row's parents, the -1 of those with fewer at the end, and their shares."""
    roots = np.hstack([pool.parents[column] for column in parents.T])
    parts = np.hstack([pool.shares[column] * part[:, None] for column, part in zip(parents.T, shares.T, strict=True)])
    order = np.argsort(roots < 0, axis=1, kind="stable")
    roots, parts = np.take_along_axis(roots, order, axis=1), np.take_along_axis(parts, order, axis=1)
    used = (roots >= 0).any(0)
    return roots[:, used], parts[:, used]


def _shown(made: Pictures, place: Positions, given: int) -> tuple[Pictures, Positions]:
    """The made pictures at `place`, which counts on from the `given` ones, and where they are when the rest is gone."""
    used = np.unique(place[place >= given]) - given
    if len(used) == len(made):
        return made, place
    return made[used], np.where(place < given, place, given + np.searchsorted(used, place - given))
