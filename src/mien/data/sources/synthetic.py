"""Faces drawn by mien itself: no files are needed."""

from mien.data import synthetic
from mien.data.samples import Samples

ABOUT = "synthetic faces, drawn on the spot from facial action units"
LAYOUT = ("no files",)
GET = "nothing to get"
LICENCE = "Apache-2.0"


def load(
    count: int = synthetic.COUNT,
    size: int = 48,
    colour: bool = False,
    seed: int = 0,
    subjects: int | None = None,
    shares: dict[str, float] | None = None,
    conditions: dict[str, float | list[float]] | None = None,
) -> Samples:
    """Draw `count` faces of `size` x `size` pixels. See `mien.data.synthetic.samples`."""
    return synthetic.samples(
        count=count, size=size, colour=colour, seed=seed, subjects=subjects, shares=shares, conditions=conditions
    )
