"""Video files and cameras through OpenCV, which the base install has."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError
from mien.imaging.operations import resize

Moments = Generator[tuple[float, Callable[[], NDArray[np.uint8]]], None, None]
MAX_PIXELS = 100_000_000


def header(path: Path) -> tuple[int, int, float, float | None]:
    """Width, height, frames a second, and seconds where they are known; DataError when it is no video."""
    with _open(path) as video:
        rate = video.get(cv2.CAP_PROP_FPS) or 25.0
        count = video.get(cv2.CAP_PROP_FRAME_COUNT)
        return *_size(video), rate, count / rate if count > 0 else None


def moments(path: Path, start: float) -> Moments:
    """The frames from the beginning: the time of each, and a function that gives its pixels until the next is asked.

    OpenCV seeks by counting frames, which misses in files of uneven rate: those before `start` are read too.
    The pixels, (H, W, 3) uint8 RGB, are square, and the frame upright and of the size that the first one has. Raises
    DataError at the end when the header speaks of far more frames.
    """
    with _open(path) as video:
        rate = video.get(cv2.CAP_PROP_FPS) or 25.0
        step, expected, read, reached = 1 / rate, video.get(cv2.CAP_PROP_FRAME_COUNT), 0, 0.0
        time, size = -step, _size(video)
        while video.grab():
            read += 1
            # OpenCV answers 0 for a frame without a time stamp.
            time = max(time, video.get(cv2.CAP_PROP_POS_MSEC) / 1000 or time + step)
            reached = max(reached, read, video.get(cv2.CAP_PROP_PTS))
            yield time, partial(_shown, video, size)
        # Where a header has no count, OpenCV answers length times rate: with files of uneven rate, and with those that
        # begin late, only the last frame's time stamp, in frames of that rate, says how far that was.
        if 0 < reached < 0.9 * expected - rate:
            raise DataError(f"{path} breaks off after {time:.2f} s: {read} of {expected:.0f} frames are there")


def square(width: float, height: float, ratio: float | Fraction) -> tuple[int, int]:
    """Width and height in square pixels, of a frame whose pixels are `ratio` as wide as high.

    Raises DataError for more of them than a frame may have.
    """
    wide = max(1, round(width * ratio))
    if wide * height > MAX_PIXELS:
        raise DataError("frames are too large", got=f"{wide} x {height:.0f} pixels", allowed=f"{MAX_PIXELS:,}")
    return wide, int(height)


def camera(number: int) -> Moments:
    """The frames of a camera, timed by the clock. Raises DataError when no camera has this number."""
    video = cv2.VideoCapture(number)
    try:
        if not video.isOpened():
            raise DataError(f"no camera answers as number {number}")
        began = monotonic()
        while video.grab():
            yield monotonic() - began, partial(_pixels, video)
    finally:
        video.release()


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    try:
        # A stream and no name: a name is taken for an address or a pattern, and crashes where it is not UTF-8.
        with path.open("rb") as stream:
            video = cv2.VideoCapture(cast(Any, stream), cv2.CAP_FFMPEG, [])
            try:
                if not video.isOpened():
                    raise DataError(f"{path} cannot be opened as a video: OpenCV finds no video stream in it")
                yield video
            finally:
                video.release()
    except OSError as error:
        raise DataError(f"{path} cannot be opened as a video: {error.strerror or error}") from error


def _pixels(video: Any) -> NDArray[np.uint8]:
    good, picture = video.retrieve()
    if not good:
        raise DataError("a frame of the video cannot be decoded")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def _shown(video: Any, size: tuple[int, int]) -> NDArray[np.uint8]:
    pixels = _pixels(video)
    width, height = size
    return pixels if pixels.shape[:2] == (height, width) else resize(pixels, height, width)


def _size(video: Any) -> tuple[int, int]:
    """Width and height in square pixels, upright."""
    width, height = video.get(cv2.CAP_PROP_FRAME_WIDTH), video.get(cv2.CAP_PROP_FRAME_HEIGHT)
    wide, high = video.get(cv2.CAP_PROP_SAR_NUM), video.get(cv2.CAP_PROP_SAR_DEN)
    ratio = wide / high if wide > 0 and high > 0 else 1.0
    if video.get(cv2.CAP_PROP_ORIENTATION_META) % 180:
        height, width = square(height, width, ratio)
        return width, height
    return square(width, height, ratio)
