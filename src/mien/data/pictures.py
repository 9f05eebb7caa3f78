"""Pictures by position, wherever they are: an array, a file mapped into memory, or several of them read as one."""

from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Pictures(Protocol):
    """Pictures (N, H, W[, 3]) uint8 that are read by position; an array is one."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, positions: NDArray[np.int64], /) -> NDArray[np.uint8]: ...


@dataclass(frozen=True)
class Stacked:
    """Pictures of one size one after the other, as one: positions count on from part to part, and nothing is copied.

    >>> ones, twos = np.ones((3, 8, 8), np.uint8), np.full((2, 8, 8), 2, np.uint8)
    >>> Stacked((ones, twos))[np.array([4, 0])].mean(axis=(1, 2)).tolist()
    [2.0, 1.0]
    """

    parts: tuple[Pictures, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W[, 3])"""
        return len(self), *self.parts[0].shape[1:]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def followed_by(self, more: Pictures) -> "Stacked":
        """The same, and more behind them."""
        return Stacked((*self.parts, more))

    def __getitem__(self, positions: NDArray[np.int64], /) -> NDArray[np.uint8]:
        """The pictures at positions (n,) from 0 up. Raises IndexError past the end."""
        ends = list(accumulate(map(len, self.parts)))
        of = np.searchsorted(ends, positions, side="right")
        found = np.empty((len(positions), *self.shape[1:]), np.uint8)
        for number in np.unique(of):
            here = of == number
            part = self.parts[number]
            found[here] = part[positions[here] - (ends[number] - len(part))]
        return found
