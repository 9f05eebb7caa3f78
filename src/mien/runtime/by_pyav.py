"""Video files through PyAV, of the extra `video`."""

import re
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError
from mien.runtime.by_opencv import Moments


def header(path: Path) -> tuple[int, int, float, float | None]:
    """Width, height, frames a second, and seconds where they are known; DataError when it is no video."""
    with _open(path) as container:
        stream = _stream(container, path)
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        return stream.width, stream.height, rate, container.duration / 1e6 if container.duration else None


def moments(path: Path, start: float) -> Moments:
    """The frames from `start` seconds on or a little before: the time of each, and a function that gives its pixels.

    Broken packets are passed over. The pixels, (H, W, 3) uint8 RGB, are upright. Raises DataError where the file breaks
    off, after the frames before that.
    """
    import av

    with _open(path) as container:
        stream = _stream(container, path)
        stream.thread_type = "AUTO"
        origin = stream.start_time or 0
        step = 1 / float(stream.average_rate or 25)
        if start and not _sought(container, stream, start):
            yield from moments(path, 0.0)
            return
        time, gap, whole = -step, step, True
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError as error:
                raise _broken_off(path, time, error.strerror) from error
            if packet is None:
                break
            try:
                frames = packet.decode()
                # The last packet, of no bytes, only asks the decoder for what it holds back.
                whole = whole if not packet.size else not packet.is_corrupt
            except av.error.InvalidDataError:
                frames, whole = [], False
            except av.error.FFmpegError as error:
                raise _broken_off(path, time, error.strerror) from error
            for frame in frames:
                stamp = time + step if frame.pts is None else float((frame.pts - origin) * stream.time_base)
                # Broken files repeat or turn back their time stamps; an answer's time never goes back.
                gap, time = gap if time < 0 else max(gap, stamp - time), max(time, stamp)
                yield time, partial(_upright, frame)
        if not whole:
            raise _broken_off(path, time, "its last packet is damaged")
        # A header is a little wrong, and the last frame may be shown for long where others are.
        if (length := _length(container, stream)) and time + step < length - max(0.5, 3 * gap):
            raise _broken_off(path, time, f"its header speaks of {length:.2f} s")


def _sought(container: Any, stream: Any, start: float) -> bool:
    """Whether the container stands at a key frame at or before `start` now.

    Without an index, as in transport streams, a search ends at any packet, and frames come from the next key frame on:
    then it begins further back.
    """
    import av

    origin = stream.start_time or 0
    for back in dict.fromkeys((0.0, 10.0, 60.0, start)):
        place = int(max(0.0, start - back) / stream.time_base) + origin
        with suppress(av.error.FFmpegError, StopIteration):
            container.seek(place, stream=stream)
            first = next(container.decode(stream))
            if first.pts is not None and (first.pts - origin) * stream.time_base <= start:
                container.seek(place, stream=stream)
                return True
    return False


def _length(container: Any, stream: Any) -> float | None:
    """The seconds that the header of a Matroska, WebM or AVI file tells; others cannot lose their end unseen."""
    if not {"matroska", "avi"} & set(container.format.name.split(",")):
        return None
    if stream.duration:
        return float(stream.duration * stream.time_base)
    if told := re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = map(float, told.groups())
        return hours * 3600 + minutes * 60 + seconds - (stream.start_time or 0) * float(stream.time_base)
    return container.duration / 1e6 if container.duration and len(container.streams) == 1 else None


def _open(path: Path) -> Any:
    import av

    try:
        # As a file and nothing else: a name like http:/... is an address to FFmpeg, and a playlist names others.
        return av.open(f"file:{path.absolute()}", options={"protocol_whitelist": "file"})
    except (av.error.FFmpegError, OSError) as error:
        raise DataError(f"{path} cannot be opened as a video: {error.strerror or error}") from error


def _broken_off(path: Path, time: float, why: str | None) -> DataError:
    return DataError(f"{path} breaks off after {max(time, 0):.2f} s: {why}")


def _stream(container: Any, path: Path) -> Any:
    if not container.streams.video:
        raise DataError(f"{path} has no video stream")
    return container.streams.video[0]


def _upright(frame: Any) -> NDArray[np.uint8]:
    pixels = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels
