"""What the audit looks at: every decoded picture as a small grey one, with its digest and its size."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.data.prepare import pixel_digest, prepare
from mien.data.samples import Samples
from mien.imaging import operations
from mien.imaging.chain import Chain

SIDE = 48


@dataclass(frozen=True)
class Looks:
    """One look a row: `miniatures` (N, 48, 48) uint8 grey; `digests` (N,) str of the decoded pixels, empty where a
    picture cannot be read; `sizes` (N, 2) int64 height and width, 0 where unknown; `reasons` why rows cannot be read.
    """

    miniatures: NDArray[np.uint8]
    digests: NDArray[np.str_]
    sizes: NDArray[np.int64]
    reasons: dict[str, str]

    @property
    def readable(self) -> NDArray[np.bool_]:
        """(N,) bool."""
        return self.digests != ""

    def take(self, positions: NDArray[np.int64]) -> "Looks":
        """The looks of the given rows only."""
        return Looks(self.miniatures[positions], self.digests[positions], self.sizes[positions], self.reasons)

    def followed_by(self, more: "Looks") -> "Looks":
        """These looks, and those of more rows behind them."""
        return Looks(
            np.concatenate([self.miniatures, more.miniatures]),
            np.concatenate([self.digests, more.digests]),
            np.concatenate([self.sizes, more.sizes]),
            self.reasons | more.reasons,
        )


def look(samples: Samples, cache: Path | None = None, progress: Callable[[int, int], None] | None = None) -> Looks:
    """Look at every picture of a dataset; decoded once and cached as `prepare` does."""
    chain = Chain.parse(["grey", {"resize": {"size": SIDE, "interpolation": "area"}}])
    prepared = prepare(samples, chain, cache=cache, progress=progress)
    problems = prepared.problems
    reasons = dict(zip(problems["image"], problems["reason"], strict=True))
    return Looks(prepared.pixels, prepared.digests, prepared.sizes, reasons)


def looks_of(pictures: Iterable[NDArray[np.uint8]]) -> Looks:
    """Look at decoded pictures in memory, (H, W) or (H, W, 3) uint8 of any sizes, one after the other."""
    miniatures, digests, sizes = [], [], []
    for picture in pictures:
        miniatures.append(operations.resize(operations.grey(picture), SIDE, SIDE, "area"))
        digests.append(pixel_digest(picture))
        sizes.append(picture.shape[:2])
    return Looks(np.asarray(miniatures, np.uint8), np.array(digests), np.array(sizes, np.int64), {})
