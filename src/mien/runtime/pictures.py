"""What callers give as pictures: paths, the bytes of files, arrays, several of them, a batch."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mien.errors import UsageError
from mien.imaging.decode import decode
from mien.imaging.operations import Image, check

Picture = str | os.PathLike[str] | bytes | Image
_PATHS = (str, os.PathLike)


def is_file(given: object) -> bool:
    """Whether a picture is still to be decoded: a path, or the bytes of a file."""
    return isinstance(given, (*_PATHS, bytes))


def name_of(given: Picture) -> str | None:
    """The path of a picture; None for one that has none."""
    return os.fspath(given) if isinstance(given, _PATHS) else None


def several(pictures: Picture | Iterable[Picture]) -> Iterable[Picture]:
    """Pictures as an iterable of single ones. Raises UsageError on what is neither a picture nor several."""
    if isinstance(pictures, str | os.PathLike | bytes):
        return [pictures]
    if not isinstance(pictures, np.ndarray):
        # Buffers and open files are iterable, and their numbers and lines are no pictures.
        no_list = isinstance(pictures, bytearray | memoryview) or hasattr(pictures, "read")
        if no_list or not isinstance(pictures, Iterable):
            raise _no_picture(pictures)
        return pictures
    # (H, W, 4), (H, W, 2) and (H, W, 1) are pictures with alpha or an idle axis, and no batch of slivers.
    batch = pictures.ndim == 4 or (pictures.ndim == 3 and pictures.shape[2] not in (1, 2, 3, 4))
    found = list(pictures) if batch else [pictures]
    for first in found[:1]:
        check(first)
    return found


def pixels_of(picture: Picture) -> Image:
    """The pixels of a file or an array. Raises UnreadableImage for a file, UsageError for what is neither."""
    if isinstance(picture, bytes):
        return decode(picture)
    if isinstance(picture, _PATHS):
        return decode(Path(picture))
    if not isinstance(picture, np.ndarray):
        raise _no_picture(picture)
    check(picture)
    return picture


def _no_picture(given: object) -> UsageError:
    return UsageError(
        "not a picture",
        got=type(given).__name__,
        allowed="a path, the bytes of a file, or an array (H, W) grey or (H, W, 3) RGB, uint8",
        then="for a Pillow picture: numpy.asarray(picture.convert('RGB'))",
    )
