"""SMOTE, borderline SMOTE and ADASYN over pictures, remembering the parents of every new row.

The draws and neighbours are those of imbalanced-learn's classes of these names. Those forget the parents and work on
all classes at once in floats: 1.1 GB above the pictures on FER2013, where a class at a time into uint8 takes 0.15 GB.
The variants that ask whose neighbours are of other classes hold all rows in floats too, as long as they search.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.data.balance.steps import Adasyn, BorderlineSmote, Smote
from mien.errors import DataError

Positions = NDArray[np.int64]
Gather = Callable[[Positions], NDArray[np.uint8]]

_DANGER_NEIGHBOURS = 10
_CHUNK = 4096


class Made(NamedTuple):
    """New pictures (n, H, W[, 3]) uint8, their parents, base then neighbour, (n, 2), and the share (n, 2) float64 that
    each parent has in them."""

    pictures: NDArray[np.uint8]
    parents: Positions
    shares: NDArray[np.float64]


def smote(
    gather: Gather, targets: NDArray[np.int64], target: int, name: str, count: int, step: Smote, seed: int
) -> Made:
    """`count` new pictures of a class.

    `gather` reads pictures by position in `targets`. Raises DataError when the class, called `name`, has too few rows
    for the neighbours, or no row that the variant could start from.
    """
    members = np.flatnonzero(targets == target)
    if len(members) <= step.neighbours:
        raise DataError(
            f"SMOTE has too few rows of class {name}: {len(members)} for {step.neighbours} neighbours each",
            got=f"neighbours: {step.neighbours}",
            allowed=f"neighbours up to {len(members) - 1}" if len(members) > 1 else "none: a lone row has no neighbour",
            then="lower smote.neighbours, or put an oversample or augment step for this class before it",
        )
    faces = _flat(gather(members))
    # Here, and not above: a recipe is checked without the second that this import takes.
    from sklearn.utils import check_random_state

    random = check_random_state(seed)
    if isinstance(step, Adasyn):
        hardness = _foreign(gather, targets, target, faces, step.neighbours) / step.neighbours
        near = _neighbours(faces, faces, step.neighbours)
        bases = np.repeat(np.arange(len(members)), _shared(count, hardness, name))
        columns = random.choice(step.neighbours, size=count)
        steps = random.uniform(size=(count, 1))
        neighbours = near[bases, columns]
    else:
        starts = np.arange(len(members))
        if isinstance(step, BorderlineSmote):
            starts = _in_danger(_foreign(gather, targets, target, faces, _DANGER_NEIGHBOURS), name)
        near = _neighbours(faces, faces[starts], step.neighbours)
        drawn = random.randint(0, near.size, count)
        steps = random.uniform(size=(count, 1))
        rows, columns = np.divmod(drawn, step.neighbours)
        bases, neighbours = starts[rows], near[rows, columns]
    made = _between(faces, bases, neighbours, steps.astype(np.float32))
    pictures = made.reshape(count, *gather(members[:1]).shape[1:])
    return Made(pictures, np.stack([members[bases], members[neighbours]], axis=1), np.hstack([1 - steps, steps]))


def _between(
    faces: NDArray[np.float32], bases: Positions, neighbours: Positions, steps: NDArray[np.float32]
) -> NDArray[np.uint8]:
    made = np.empty((len(bases), faces.shape[1]), np.uint8)
    for start in range(0, len(bases), _CHUNK):
        part = slice(start, start + _CHUNK)
        base = faces[bases[part]]
        made[part] = np.rint(base + steps[part] * (faces[neighbours[part]] - base))
    return made


def _neighbours(faces: NDArray[np.float32], asking: NDArray[np.float32], count: int) -> Positions:
    """Each asking row's nearest `count` of `faces`, the row itself left out."""
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(n_neighbors=count + 1, algorithm="brute").fit(faces)
    return index.kneighbors(asking, return_distance=False)[:, 1:]


def _foreign(
    gather: Gather, targets: NDArray[np.int64], target: int, faces: NDArray[np.float32], count: int
) -> NDArray[np.int64]:
    """How many of the nearest `count` rows of the whole set are of other classes, for every row of the class."""
    if len(targets) <= count:
        raise DataError(f"{count} neighbours need more rows than that in all", got=len(targets))
    everyone = _flat(gather(np.arange(len(targets))))
    return (targets[_neighbours(everyone, faces, count)] != target).sum(1)


def _in_danger(foreign: NDArray[np.int64], name: str) -> Positions:
    danger = np.flatnonzero((foreign >= _DANGER_NEIGHBOURS / 2) & (foreign < _DANGER_NEIGHBOURS))
    if not len(danger):
        raise DataError(f"borderline SMOTE finds no row of class {name} near the border", then="use smote")
    return danger


def _shared(count: int, weights: NDArray[np.float64], name: str) -> Positions:
    """`count` in whole parts in proportion to `weights`, by largest remainder."""
    if not weights.any():
        raise DataError(f"ADASYN finds no row of class {name} near another class", then="use smote")
    wished = count * weights / weights.sum()
    sizes = np.floor(wished).astype(np.int64)
    sizes[np.argsort(sizes - wished, kind="stable")[: count - sizes.sum()]] += 1
    return sizes


def _flat(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    return pictures.reshape(len(pictures), -1).astype(np.float32)
