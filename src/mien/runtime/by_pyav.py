"""Video files through PyAV, of the extra `video`."""

import re
from contextlib import suppress
from fractions import Fraction
from functools import partial
from math import cos, radians, sin
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError
from mien.runtime.ahead import cores
from mien.runtime.by_opencv import Moments, square

Matrix = tuple[float, float, float, float]
_DECODERS = 8  # each holds a frame while it decodes it


def header(path: Path) -> tuple[int, int, float, float | None]:
    """Width, height, frames a second, and seconds where they are known; DataError when it is no video."""
    with _open(path) as container:
        stream = _stream(container, path)
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        length = container.duration / 1e6 if container.duration else None
        return *square(stream.width, stream.height, _ratio(stream)), rate, length


def moments(path: Path, start: float) -> Moments:
    """The frames from `start` seconds on or a little before: the time of each, and a function that gives its pixels.

    Broken packets are passed over. The pixels, (H, W, 3) uint8 RGB, are square, and the frame upright. Raises DataError
    where the file breaks off, after the frames before that; the function, for a frame that is too large.
    """
    import av

    with _open(path) as container:
        stream = _stream(container, path)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = min(_DECODERS, cores())
        origin = stream.start_time or 0
        step, ratio = 1 / float(stream.average_rate or 25), _ratio(stream)
        if start and not _sought(container, stream, start):
            yield from moments(path, 0.0)
            return
        time, gap, whole, end = -step, step, True, 0.0
        matrices: dict[int, Matrix] = {}
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError as error:
                raise _broken_off(path, time, error.strerror) from error
            except IndexError:
                # After the last packet PyAV turns to each stream, also to one that it did not meet in the header.
                packet = None
            if packet is None:
                break
            if packet.pts is not None:
                end = max(end, float((packet.pts + (packet.duration or 0) - origin) * stream.time_base))
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
                # A frame that was asked for its matrix stays in memory until Python next looks for cycles.
                if frame.rotation not in matrices:
                    matrices[frame.rotation] = _matrix(frame)
                yield time, partial(_upright, frame, ratio, matrices[frame.rotation])
        if not whole:
            raise _broken_off(path, time, "its last packet is damaged")
        # A header is a little wrong, and the last frame may be shown for long: where it says so, or where others are.
        if (length := _length(container, stream)) and max(end, time + step) < length - max(0.5, 3 * gap):
            raise _broken_off(path, time, f"its header speaks of {length:.2f} s")


def _sought(container: Any, stream: Any, start: float) -> bool:
    """Whether the container stands at a key frame at or before `start` now.

    Without an index, as in transport streams, a search ends at any packet, and frames come from the next key frame on:
    then it begins further back.
    """
    import av

    if container.format.name == "mpeg":
        # In program streams a search ends within a frame, which takes the time stamp of the next: the first are wrong.
        start = max(0.0, start - 1.0)
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


def silent() -> None:
    """Turn off PyAV's log, which others turn on, torchvision among them.

    A decoder's thread that logs waits for Python, and Python, closing the file, for that thread: both would for ever.
    """
    import av

    av.logging.set_level(None)


def _open(path: Path) -> Any:
    import av

    silent()
    try:
        # As a file and nothing else: a name like http:/... is an address to FFmpeg, and a playlist names others.
        return av.open(f"file:{path.absolute()}", options={"protocol_whitelist": "file"}, **_any_title(av.__version__))
    except (av.error.FFmpegError, OSError) as error:
        raise DataError(f"{path} cannot be opened as a video: {error.strerror or error}") from error


def _any_title(version: str) -> dict[str, Any]:
    """What opens a file whose title is in another encoding: PyAV 19, which Python 3.11 cannot have, always does."""
    return {"metadata_errors": "replace"} if int(version.partition(".")[0]) < 19 else {}


def _broken_off(path: Path, time: float, why: str | None) -> DataError:
    return DataError(f"{path} breaks off after {max(time, 0):.2f} s: {why}")


def _stream(container: Any, path: Path) -> Any:
    if not container.streams.video:
        raise DataError(f"{path} has no video stream")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise DataError(f"{path} cannot be decoded: its codec is not known")
    return stream


def _ratio(stream: Any) -> Fraction:
    """How much wider than high a pixel is."""
    return stream.sample_aspect_ratio or Fraction(1)


def _upright(frame: Any, ratio: Fraction, matrix: Matrix) -> NDArray[np.uint8]:
    import av

    width, height = square(frame.width, frame.height, ratio)
    try:
        pixels = frame.to_ndarray(format="rgb24", width=width, height=height)
    except (av.error.FFmpegError, ValueError) as error:
        raise DataError(f"a frame of the video cannot be converted: {error}") from error
    right, down, turned_right, turned_down = matrix
    if abs(right) + abs(turned_down) < abs(down) + abs(turned_right):
        pixels, right, turned_down = pixels.transpose(1, 0, 2), turned_right, down
    return np.ascontiguousarray(pixels[:: -1 if turned_down < 0 else 1, :: -1 if right < 0 else 1])


def _matrix(frame: Any) -> Matrix:
    """Where a step to the right leads, right and down, when the frame is shown, and where a step down does."""
    try:
        given = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # Beside it lies data of a kind that this PyAV has no name for; it tells the angle, though no mirroring.
        angle = radians(frame.rotation)
        return cos(angle), -sin(angle), sin(angle), cos(angle)
    if given is None:
        return 1, 0, 0, 1
    right, down, _, turned_right, turned_down = np.frombuffer(given, np.int32)[:5].tolist()
    return right, down, turned_right, turned_down
