"""What a dataset holds: counts, sizes, and the pictures that cannot be read."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from mien.data.samples import SPLITS, Samples
from mien.errors import UnreadableImage
from mien.runtime.ahead import cores, in_order

NONE = "none"


@dataclass(frozen=True)
class Spread:
    """Smallest, median and largest of a length in pixels."""

    min: int
    median: float
    max: int


@dataclass(frozen=True)
class Problem:
    """A picture that cannot be read, and why."""

    image: str
    reason: str


@dataclass(frozen=True)
class Stats:
    """The numbers of one dataset; `counts` is label -> split -> rows, with "none" for rows without the one or other."""

    source: str
    rows: int
    splits: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    empty: tuple[str, ...]
    subjects: int
    sequences: int
    height: Spread | None
    width: Spread | None
    grey: int
    colour: int
    problems: tuple[Problem, ...]


def stats(samples: Samples, progress: Callable[[int, int], None] | None = None) -> Stats:
    """Count a dataset and decode every picture of it, so that each unreadable one is found.

    `empty` are labels of the set without any row; the sizes are those of readable pictures, None where there are none.
    """
    table = samples.table
    label, split = (table[name].fillna(NONE).tolist() for name in ("label", "split"))
    pairs = Counter(zip(label, split, strict=True))
    splits = tuple(name for name in (*SPLITS, NONE) if name in set(split))
    labels = [*samples.labels, *([NONE] if NONE in label else [])]
    shapes, problems = _read_all(samples, progress)
    return Stats(
        source=str(table["source"].iloc[0]),
        rows=len(samples),
        splits=splits,
        counts={name: {part: pairs[name, part] for part in splits} for name in labels},
        empty=tuple(name for name in samples.labels if name not in set(label)),
        subjects=table["subject"].nunique(),
        sequences=table["sequence"].nunique(),
        height=_spread([shape[0] for shape in shapes]),
        width=_spread([shape[1] for shape in shapes]),
        grey=sum(len(shape) == 2 for shape in shapes),
        colour=sum(len(shape) == 3 for shape in shapes),
        problems=tuple(problems),
    )


def _read_all(
    samples: Samples, progress: Callable[[int, int], None] | None
) -> tuple[list[tuple[int, ...]], list[Problem]]:
    def look(image: str) -> tuple[int, ...] | Problem:
        try:
            return samples.reader.read(image).shape
        except UnreadableImage as error:
            return Problem(image, error.reason)

    shapes, problems = [], []
    with ThreadPoolExecutor(cores()) as pool:
        looks = (pool.submit(look, image) for image in samples.table["image"])
        for done, found in enumerate(in_order(looks, ahead=256), 1):
            if isinstance(found, Problem):
                problems.append(found)
            else:
                shapes.append(found)
            if progress:
                progress(done, len(samples))
    return shapes, problems


def _spread(lengths: Sequence[int]) -> Spread | None:
    return Spread(min(lengths), float(np.median(lengths)), max(lengths)) if lengths else None
