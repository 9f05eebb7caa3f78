"""How the expressions of each face changed over a video, as an SVG chart of bounded size."""

from collections import defaultdict
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from mien.files import printable
from mien.runtime.annotate import colours
from mien.runtime.results import FrameResult

_BINS = 1024  # columns kept for each face; two neighbours become one when the video outgrows them
_SHOWN = 24  # faces drawn: those that were seen longest
_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 960, 96, 96, 64, 24
_BESIDE, _LETTER = 48, 7  # pixels of a legend's entry: around its name, and for each letter of it


class Timeline:
    """Sums of probabilities for each identity, in columns of equal time from `start` seconds on.

    Memory is bounded for any length of video: when time outgrows the columns, their width doubles, and of many faces
    those seen longest stay.
    """

    def __init__(self, labels: Sequence[str], start: float = 0.0) -> None:
        self.labels, self.start = tuple(labels), start
        self._inks = ["#{:02x}{:02x}{:02x}".format(*ink) for ink in colours(labels).values()]
        self.width = 0.05  # seconds a column
        self._time, self._pause = start, 0.5  # the last frame's, and the longest between two frames
        self._sums: dict[int, dict[int, NDArray[np.float64]]] = defaultdict(dict)

    def add(self, result: FrameResult) -> None:
        """Take in the identified faces of one frame."""
        self._pause = max(self._pause, result.time - self._time)
        self._time = result.time
        while result.time - self.start >= _BINS * self.width:
            self._halve()
        column = int(max(0.0, result.time - self.start) / self.width)
        for face in result.faces:
            if face.identity is None:
                continue
            entry = np.array([1.0, *(face.probabilities[label] for label in self.labels)])
            sums = self._sums[face.identity]
            sums[column] = sums[column] + entry if column in sums else entry
        if len(self._sums) > 10 * _SHOWN:
            self._forget({face.identity for face in result.faces})

    def columns(self, identity: int) -> dict[int, NDArray[np.float64]]:
        """The mean probabilities (classes,) of one face in each column in which it was seen, in order of time."""
        return {column: entry[1:] / entry[0] for column, entry in sorted(self._sums[identity].items())}

    def identities(self) -> list[int]:
        """The faces that were seen longest, in order of their numbers."""
        longest = sorted(self._sums, key=lambda identity: -len(self._sums[identity]))
        return sorted(longest[:_SHOWN])

    def svg(self, title: str) -> str:
        """One stacked area of probabilities a face over a common axis of seconds, with a legend."""
        found = self.identities()
        end = max((max(self._sums[identity]) + 1 for identity in found), default=1)
        height = _TOP + len(found) * (_HEIGHT + _GAP) + 24
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 24} {height}" '
            f'font-family="system-ui, sans-serif" font-size="12" fill="#333">',
            '<rect width="100%" height="100%" fill="#fff"/>',
            f'<text x="{_LEFT}" y="22" font-size="15">{escape(printable(title))}</text>',
            *self._legend(),
        ]
        for place, identity in enumerate(found):
            top = _TOP + place * (_HEIGHT + _GAP)
            parts += self._row(identity, top, _WIDTH / end)
        parts += self._axis(height - 16, end)
        return "\n".join([*parts, "</svg>\n"])

    def _forget(self, present: set[int | None]) -> None:
        """Drop the faces seen shortest, but none that is in sight."""
        longest = sorted(self._sums, key=lambda identity: -len(self._sums[identity]))
        for identity in set(longest[5 * _SHOWN :]) - present:
            del self._sums[identity]

    def _halve(self) -> None:
        self.width *= 2
        for identity, sums in self._sums.items():
            wider: dict[int, NDArray[np.float64]] = {}
            for column, entry in sums.items():
                wider[column // 2] = wider[column // 2] + entry if column // 2 in wider else entry
            self._sums[identity] = wider

    def _legend(self) -> list[str]:
        places = np.cumsum([0, *(_BESIDE + _LETTER * len(label) for label in self.labels)])
        wide = max(1.0, places[-1] / _WIDTH)  # a long legend is squeezed rather than cut off
        return [
            f'<g transform="translate({_LEFT + place / wide:.0f} 34)">'
            f'<rect width="12" height="12" fill="{ink}"/>'
            f'<text x="17" y="10" font-size="{12 / wide:.1f}">{escape(label)}</text></g>'
            for place, label, ink in zip(places[:-1], self.labels, self._inks, strict=True)
        ]

    def _row(self, identity: int, top: float, scale: float) -> list[str]:
        parts = [
            f'<text x="{_LEFT - 12}" y="{top + _HEIGHT / 2:.0f}" text-anchor="end">face {identity}</text>',
            f'<rect x="{_LEFT}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" fill="#f4f4f4"/>',
        ]
        for run in _runs(self.columns(identity), 2 * self._pause / self.width):
            xs = _LEFT + scale * np.array([run[0][0], *(column + 0.5 for column, _ in run), run[-1][0] + 1])
            values = np.array([run[0][1], *(value for _, value in run), run[-1][1]])
            floors = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1).clip(0, 1)
            for place, ink in enumerate(self._inks):
                upper = zip(xs, top + _HEIGHT * (1 - floors[:, place + 1]), strict=True)
                lower = zip(xs[::-1], top + _HEIGHT * (1 - floors[::-1, place]), strict=True)
                points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (*upper, *lower))
                parts.append(f'<polygon points="{points}" fill="{ink}"/>')
        return parts

    def _axis(self, y: float, end: int) -> list[str]:
        total = end * self.width
        step = next(s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 1e9) if total / s <= 12)
        return [
            f'<text x="{_LEFT + _WIDTH * at / total:.1f}" y="{y:.0f}" text-anchor="middle">'
            f"{_clock(self.start + at)}</text>"
            for at in np.arange(0, total + step / 1000, step)
        ]


def _runs(columns: dict[int, NDArray[np.float64]], gap: float) -> list[list[tuple[int, NDArray[np.float64]]]]:
    """Columns in stretches of time: one that lies further than `gap` columns from the last begins another."""
    runs: list[list[tuple[int, NDArray[np.float64]]]] = []
    for column, value in columns.items():
        if runs and column - runs[-1][-1][0] <= gap:
            runs[-1].append((column, value))
        else:
            runs.append([(column, value)])
    return runs


def _clock(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:g} s" if seconds >= 1 or seconds == 0 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
