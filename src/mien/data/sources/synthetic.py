"""Faces drawn by mien itself: no files are needed."""

from pathlib import Path

from mien.data import synthetic
from mien.data.samples import Samples

ABOUT = "synthetic faces, drawn on the spot from facial action units"
LAYOUT = ("no files",)
GET = "nothing to get"


def load(root: Path | None = None, count: int = 2000, size: int = 48, colour: bool = False, seed: int = 0) -> Samples:
    """Draw `count` faces of `size` x `size` pixels; `root` is not looked at."""
    return synthetic.samples(count=count, size=size, colour=colour, seed=seed)
