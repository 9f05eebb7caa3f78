"""The frames of video files and cameras, with their own time stamps."""

from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError, MissingExtra, UsageError

MAX_PIXELS = 100_000_000
Frames = Generator["Frame", None, None]


@dataclass(frozen=True)
class Frame:
    """One frame: its count from the first one read, its time stamp in seconds, and (H, W, 3) uint8 RGB pixels."""

    index: int
    time: float
    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class About:
    """What a video's header says: frames a second, and seconds where they are known."""

    rate: float
    duration: float | None


def about(source: Path | int) -> About:
    """The frame rate and the length of a video. Raises DataError when it has no video stream or cannot be opened."""
    if isinstance(source, int):
        return About(30.0, None)
    with _open(source) as container:
        stream = _stream(container, source)
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        return About(min(max(rate, 1.0), 240.0), container.duration / 1e6 if container.duration else None)


def read(source: Path | int, every: int = 1, start: float = 0.0, end: float | None = None) -> Frames:
    """Every `every`-th frame between two times in seconds, upright; of a camera, given by its number, until `end`.

    Frames are decoded one by one, and broken packets passed over. Raises DataError when the file cannot be opened,
    has no video stream, or gives no frame at all.
    """
    if every < 1 or start < 0 or (end is not None and end <= start):
        raise UsageError("frames out of range", got={"every": every, "start": start, "end": end})
    frames = _camera(source) if isinstance(source, int) else _file(source, start)
    index = -1
    for time, picture in frames:
        if end is not None and time >= end:
            break
        if time < start:
            continue
        index += 1
        if index % every == 0:
            yield Frame(index, time, picture if isinstance(picture, np.ndarray) else _upright(picture))
    if index < 0 and start == 0:
        raise DataError(f"{source} gives no frame: it is empty or broken")


def _open(path: Path) -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingExtra("reading video", "video") from error
    try:
        return av.open(str(path))
    except (av.error.FFmpegError, OSError) as error:
        raise DataError(f"{path} cannot be opened as a video: {error.strerror or error}") from error


def _stream(container: Any, path: Path) -> Any:
    if not container.streams.video:
        raise DataError(f"{path} has no video stream")
    stream = container.streams.video[0]
    if stream.width * stream.height > MAX_PIXELS:
        raise DataError(f"{path}: frames are too large", got=f"{stream.width} x {stream.height}", allowed=MAX_PIXELS)
    return stream


def _file(path: Path, start: float) -> Generator[tuple[float, Any], None, None]:
    with _open(path) as container:
        import av

        stream = _stream(container, path)
        stream.thread_type = "AUTO"
        origin = stream.start_time or 0
        step = 1 / float(stream.average_rate or 25)
        if start:
            # Where a container cannot be sought in, frames are read from the beginning and passed over.
            with suppress(av.error.FFmpegError):
                container.seek(int(start / stream.time_base) + origin, stream=stream)
        time = -step
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                frames = packet.decode() if packet is not None else []
            except av.error.InvalidDataError:
                continue
            except av.error.FFmpegError as error:
                raise DataError(f"{path} breaks off after {max(time, 0):.2f} s: {error.strerror}") from error
            if packet is None:
                return
            for frame in frames:
                stamp = time + step if frame.pts is None else float((frame.pts - origin) * stream.time_base)
                # Broken files repeat or turn back their time stamps; an answer's time never goes back.
                time = max(time, stamp)
                yield time, frame


def _upright(frame: Any) -> NDArray[np.uint8]:
    pixels = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


def _camera(number: int) -> Generator[tuple[float, Any], None, None]:
    camera = cv2.VideoCapture(number)
    try:
        if not camera.isOpened():
            raise DataError(f"no camera answers as number {number}")
        began = monotonic()
        while True:
            good, picture = camera.read()
            if not good:
                return
            yield monotonic() - began, np.ascontiguousarray(picture[..., ::-1], np.uint8)
    finally:
        camera.release()
