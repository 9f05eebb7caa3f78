"""Which pictures a network has seen: the very ones that it was fitted on, or near twins of them."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.data.audit.looks import Looks, look
from mien.data.audit.near import near_twin_among
from mien.data.audit.twins import BLANK, spread
from mien.data.samples import Samples


@dataclass(frozen=True)
class Seen:
    """Which of some pictures were fitted on: `same` pixels (N,) bool, `alike` (N,) near twins of such.

    `untold` counts the pictures fitted on whose pixels are not at hand, so that nothing is known to be like them.
    """

    same: NDArray[np.bool_]
    alike: NDArray[np.bool_]
    untold: int


def seen_before(looks: Looks, rows: NDArray[np.int64], fitted: set[str], elsewhere: Iterable[Looks | None]) -> Seen:
    """Which of the rows (N,) of `looks` are among the pictures that were fitted on, or near twins of one.

    `fitted` has the digests of those pictures. Their pixels come from `looks` where it has them, else from what is
    `elsewhere`, which is asked for only then.
    """
    here = np.isin(looks.digests, list(fitted))
    same = here[rows]
    pools, missing = [looks.miniatures[here]], fitted.difference(looks.digests[here].tolist())
    for brought in elsewhere if missing else ():
        if brought:
            there = np.isin(brought.digests, list(missing))
            pools.append(brought.miniatures[there])
            missing.difference_update(brought.digests[there].tolist())
        if not missing:
            break
    pool = np.concatenate(pools)
    alike = np.zeros(len(rows), bool)
    asked = np.flatnonzero(~same & (spread(looks.miniatures, rows) >= BLANK))
    shown = pool[spread(pool, np.arange(len(pool))) >= BLANK]
    alike[asked] = near_twin_among(looks.miniatures[rows[asked]], shown)
    return Seen(same, alike, len(missing))


def like_held_out(samples: Samples, looks: Looks, other: Samples) -> NDArray[np.int64]:
    """Positions of the training rows of `samples` that have a twin among the held-out pictures of another dataset.

    `looks` has one look a row of `samples`. Held out are the validation and test parts that the other dataset
    publishes, and all of its pictures where it publishes none.
    """
    theirs = look(other)
    held_out = other.table["split"].isin(["validation", "test"]).to_numpy(bool)
    if not held_out.any():
        held_out = np.ones(len(other), bool)
    train = samples.rows("train")
    seen = seen_before(looks, train, set(theirs.digests[held_out & theirs.readable]), [theirs])
    return train[seen.same | seen.alike]
