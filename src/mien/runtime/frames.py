"""The frames of video files and cameras, with their own time stamps."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError, UsageError
from mien.runtime import by_opencv, by_pyav

Frames = Generator["Frame", None, None]
_SLOWEST = 0.001  # frames a second of a video


@dataclass(frozen=True)
class Frame:
    """One frame: its count from the first one read, its time stamp in seconds, and (H, W, 3) uint8 RGB pixels."""

    index: int
    time: float
    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class About:
    """What a video's header says: frames a second, seconds where they are known, bytes of a frame (0: not known)."""

    rate: float
    duration: float | None
    size: int = 0


def about(source: Path | int) -> About:
    """The frame rate and the length of a video. Raises DataError when it has no video stream or cannot be opened."""
    if isinstance(source, int):
        return About(30.0, None)
    width, height, rate, duration = _reader().header(source)
    return About(min(max(rate, _SLOWEST), 240.0), duration, 3 * width * height)


def read(source: Path | int, every: int = 1, start: float = 0.0, end: float | None = None) -> Frames:
    """Every `every`-th frame between two times in seconds, upright; of a camera, given by its number, until `end`.

    Files are read by PyAV where the extra `video` is installed, else by OpenCV, which cannot seek to `start`. Frames
    are decoded one by one, and broken packets passed over. Raises DataError when the file cannot be opened, has no
    video stream, or gives no frame at all.
    """
    if every < 1 or start < 0 or (end is not None and end <= start):
        raise UsageError("frames out of range", got={"every": every, "start": start, "end": end})
    index = -1
    for time, pixels in by_opencv.camera(source) if isinstance(source, int) else _reader().moments(source, start):
        if end is not None and time >= end:
            break
        if time < start:
            continue
        index += 1
        if index % every == 0:
            yield Frame(index, time, pixels())
    if index < 0 and start == 0:
        raise DataError(f"{source} gives no frame: it is empty or broken")


def _reader() -> Any:
    try:
        import av  # noqa: F401
    except ImportError:
        return by_opencv
    return by_pyav
