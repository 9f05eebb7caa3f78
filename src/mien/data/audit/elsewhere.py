"""Training rows that are like pictures which another dataset holds out, so that it can be a test later."""

import numpy as np
from numpy.typing import NDArray

from mien.data.audit.inherited import seen_before
from mien.data.audit.looks import Looks, look
from mien.data.samples import Samples


def like_held_out(samples: Samples, looks: Looks, other: Samples) -> NDArray[np.int64]:
    """Positions of the training rows of `samples` that have a twin among the held-out pictures of another dataset.

    `looks` has one look a row of `samples`. Held out are the validation and test parts that the other dataset
    publishes, and all of its pictures where it publishes none.
    """
    theirs = look(other)
    parts = other.table["split"]
    held_out = parts.isin(["validation", "test"]).to_numpy(bool)
    if not held_out.any():
        held_out[:] = True
    train = samples.rows("train")
    seen = seen_before(looks, train, set(theirs.digests[held_out & theirs.readable]), [theirs])
    return train[seen.same | seen.alike]
