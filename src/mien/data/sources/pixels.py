"""The CSV files of FER2013: one picture a row, as 2,304 numbers in a text field."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError

SIDE = 48
_COLUMNS = ("emotion", "usage", "pixels")
_EMOTIONS = frozenset("0123456")
_VALUES = frozenset(map(str, range(256)))
_LONGEST_LINE = 1 << 16


@dataclass(frozen=True)
class PixelRows:
    """The rows of a FER2013 CSV in order: `pixels` (N, 48, 48) uint8, `emotion` (N,) int64 0..6, `usage` (N,) str."""

    pixels: NDArray[np.uint8]
    emotion: NDArray[np.int64]
    usage: NDArray[np.str_]


class _Row(NamedTuple):
    line: int
    emotion: str
    usage: str
    pixels: str


def read(path: Path, usages: Sequence[str]) -> PixelRows:
    """Read a CSV with the columns emotion, pixels and Usage in any order, spaces around their names allowed.

    Raises DataError with the line number for a row whose picture, emotion or usage is not as it should be.
    """
    emotion: list[int] = []
    usage: list[str] = []
    pixels = []
    stream = _rows(path, usages)
    while rows := list(islice(stream, 1024)):
        emotion += [int(row.emotion) for row in rows]
        usage += [row.usage for row in rows]
        found = _numbers(rows)
        pixels.append(_numbers_slowly(path, rows) if found is None else found)
    if not pixels:
        raise DataError(f"{path} holds no pictures")
    return PixelRows(np.concatenate(pixels), np.array(emotion, np.int64), np.array(usage))


def _rows(path: Path, usages: Sequence[str]) -> Iterator[_Row]:
    """The data rows, blank lines left out. No field holds a comma, so that a split at commas is all of CSV there is."""
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        columns = [name.lower() for name in _fields(stream.readline(_LONGEST_LINE))]
        if not set(_COLUMNS) <= set(columns):
            raise DataError(f"{path} lacks a column", got=columns[:10], allowed=["emotion", "Usage", "pixels"])
        places = [columns.index(name) for name in _COLUMNS]
        for number in count(2):
            line = stream.readline(_LONGEST_LINE)
            if not line:
                return
            if line.isspace():
                continue
            fields = _fields(line)
            if len(fields) != len(columns):
                raise DataError(f"{path}, line {number}: wrong number of fields", got=len(fields), allowed=len(columns))
            row = _Row(number, *(fields[place] for place in places))
            if row.emotion not in _EMOTIONS:
                raise DataError(f"{path}, line {number}: not a FER2013 emotion", got=row.emotion[:40], allowed="0..6")
            if row.usage not in usages:
                raise DataError(f"{path}, line {number}: unknown Usage", got=row.usage[:40], allowed=usages)
            yield row


def _fields(line: str) -> list[str]:
    return [field.strip(' "\r\n') for field in line.split(",")]


def _numbers(rows: Sequence[_Row]) -> NDArray[np.uint8] | None:
    """Parse rows of 2,304 numbers 0..255 parted by single spaces, all at once; None where that is not what they are."""
    if any(row.pixels.count(" ") != SIDE * SIDE - 1 for row in rows):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            found = np.fromstring(" ".join(row.pixels for row in rows), np.int64, sep=" ")
        except (DeprecationWarning, ValueError):
            return None
    if found.size != SIDE * SIDE * len(rows) or found.min() < 0 or found.max() > 255:
        return None
    return found.astype(np.uint8).reshape(-1, SIDE, SIDE)


def _numbers_slowly(path: Path, rows: Sequence[_Row]) -> NDArray[np.uint8]:
    """Parse row by row: for odd spacing, and to name the line that is wrong."""
    found = np.empty((len(rows), SIDE, SIDE), np.uint8)
    for place, row in enumerate(rows):
        fields = row.pixels.split()
        strange = [field for field in fields if field not in _VALUES]
        if strange:
            raise DataError(f"{path}, line {row.line}: not a pixel value", got=strange[0][:40], allowed="0..255")
        if len(fields) != SIDE * SIDE:
            raise DataError(f"{path}, line {row.line}: wrong number of pixels", got=len(fields), allowed=SIDE * SIDE)
        found[place] = np.array(fields, np.uint8).reshape(SIDE, SIDE)
    return found
