"""Videos to expressions: decoding, detection and classification overlapped, memory constant at any length."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from mien.errors import DataError, MissingExtra, UsageError
from mien.files import replacing
from mien.imaging.faces import Face, overlap
from mien.imaging.operations import Image, resize
from mien.runtime.ahead import ahead
from mien.runtime.by_pyav import silent
from mien.runtime.frames import Frame, about, read
from mien.runtime.recognizer import Recognizer
from mien.runtime.results import ITEM_ERRORS, FrameResult
from mien.runtime.shots import shots
from mien.runtime.tracking import Smoother, Tracker, between, tracker

Tracked = tuple[Face, int | None]
Moment = tuple[Frame, list[Tracked]]
LONGEST = 1e7  # seconds, some months
MOST_BETWEEN = 30  # frames from one detection to the next, all of them in memory
_APART = 0.5  # seconds from one detection to the next, in which a face moves along a line
_WAITING = 100 << 20  # bytes of frames, at most, in one place where several wait; one frame may be larger
_SAME = 0.3  # of the smaller of two boxes: what both share at least when they show one face
_CLOCK = 90_000  # time stamps a second in written videos
_LONGEST_SIDE = 16_384  # of written videos; H.264 encoders take no more


@dataclass(frozen=True)
class VideoOptions:
    """Which frames of a video are read, every `every`-th between `start` and `end` seconds; in every how many of them
    faces are searched for; the time constant of smoothing in seconds.

    Raises UsageError for values out of range.
    """

    every: int = 1
    start: float = 0.0
    end: float | None = None
    detect_every: int = 3
    smoothing: float = 0.3

    def __post_init__(self) -> None:
        for name in ("every", "detect_every"):
            if isinstance(given := getattr(self, name), bool) or not isinstance(given, int | np.integer):
                raise UsageError(f"{name} of a video is a whole number", got=given)
        end = self.start if self.end is None else self.end
        for name, given in (("start", self.start), ("end", end), ("smoothing", self.smoothing)):
            if isinstance(given, bool) or not isinstance(given, int | float | np.integer | np.floating):
                raise UsageError(f"{name} of a video is a number of seconds", got=repr(given))
        for name, fine, allowed in (
            ("every", self.every >= 1, "1 or more"),
            ("start", 0 <= self.start <= LONGEST, f"0 to {LONGEST:.0f} seconds"),
            ("end", self.end is None or self.start < end <= LONGEST, f"more than start, up to {LONGEST:.0f} seconds"),
            ("detect_every", 1 <= self.detect_every <= MOST_BETWEEN, f"1 to {MOST_BETWEEN}"),
            ("smoothing", 0 <= self.smoothing <= LONGEST, f"0 to {LONGEST:.0f} seconds"),
        ):
            if not fine:
                raise UsageError(f"{name} of a video is out of range", got=getattr(self, name), allowed=allowed)


def watch(
    source: str | Path | int, recognizer: Recognizer, options: VideoOptions = VideoOptions()
) -> Generator[tuple[Frame, FrameResult], None, None]:
    """The frames of a video file or camera that `options` choose, each with its faces.

    Faces are carried from one detection to the next, half a second at most, by interpolation, searched for between
    where two differ, and numbered by ByteTrack; none is carried over a cut. Without the extra `video`, which has the
    tracker, each frame is searched and answered alone. Decoding and detection each run in a thread, a few frames ahead.
    Raises DataError for a file that is no video, and where one breaks off.
    """
    source = source if isinstance(source, int) else Path(source)
    header = about(source)
    rate = header.rate / options.every
    most = _fitting(header.size)
    detect_every = min(options.detect_every, most, max(1, int(_APART * rate)))
    follower = tracker(rate / detect_every)
    frames = ahead(read(source, options.every, options.start, options.end), size=min(4, most))
    groups = ahead(_tracked(frames, recognizer, follower, detect_every if follower else 1), size=min(2, most))
    smoother = Smoother(options.smoothing)
    try:
        for group in groups:
            yield from _answers(group, recognizer, smoother, str(source))
    finally:
        groups.close()


def _fitting(size: int) -> int:
    """How many frames of so many bytes may wait in one place."""
    return max(1, _WAITING // max(1, size))


def _tracked(
    frames: Generator[Frame, None, None], recognizer: Recognizer, tracker: Tracker | None, detect_every: int
) -> Generator[list[Moment], None, None]:
    """Frames with their faces, in groups that end before a detection or a cut."""
    with closing(frames):
        if tracker is None:
            yield from _followed(frames, recognizer, tracker, detect_every)
            return
        for _, shot in groupby(shots(frames), key=itemgetter(0)):
            tracker.forget()
            yield from _followed((frame for _, frame in shot), recognizer, tracker, detect_every)


def _followed(
    frames: Iterable[Frame], recognizer: Recognizer, tracker: Tracker | None, detect_every: int
) -> Iterator[list[Moment]]:
    group: list[Frame] = []
    before: list[Tracked] = []
    broken: Exception | None = None

    def detect(frame: Frame) -> list[Tracked]:
        faces = recognizer.detect(frame.pixels)
        return list(zip(faces, tracker.update(faces, frame.time) if tracker else [None] * len(faces), strict=True))

    try:
        for frame in frames:
            # A header may speak of smaller frames than there are.
            full = len(group) >= min(detect_every, _fitting(frame.pixels.nbytes))
            if not group or full or frame.time - group[0].time > _APART:
                found = detect(frame)
                yield _carried(group, before, found, frame.time, recognizer)
                group, before = [], found
            group.append(frame)
    except ITEM_ERRORS as error:
        broken = error
    if len(group) > 1:
        found = detect(group[-1])
        yield [*_carried(group[:-1], before, found, group[-1].time, recognizer), (group[-1], found)]
    elif group:
        yield [(group[0], before)]
    if broken:
        raise broken


def _carried(
    group: Sequence[Frame], before: list[Tracked], after: list[Tracked], end: float, recognizer: Recognizer
) -> list[Moment]:
    """The frames from one detection up to the next: the first as detected, the others with faces seen in both.

    Where a face was found in one of both only, the frames between are searched for it.
    """
    pairs = _pairs(before, after)
    known = {id(face): identity for face, _, identity in pairs}
    seen = {id(face) for pair in pairs for face in pair[:2]}
    loose = [one for one in (*before, *after) if id(one[0]) not in seen]
    moments: list[Moment] = []
    for frame in group:
        if frame is group[0]:
            moments.append((frame, [(face, known.get(id(face), identity)) for face, identity in before]))
            continue
        share = (frame.time - group[0].time) / max(end - group[0].time, 1e-9)
        carried: list[Tracked] = [(between(a, b, share), identity) for a, b, identity in pairs]
        if loose:
            found = [face for face in recognizer.detect(frame.pixels) if _same(face, carried) is None]
            carried += _named(found, loose)
        moments.append((frame, carried))
    return moments


def _pairs(before: list[Tracked], after: list[Tracked]) -> list[tuple[Face, Face, int | None]]:
    """The faces that two detections have in common, by identity, else by place; a later one may bring the identity."""
    later = {identity: face for face, identity in after if identity is not None}
    known = {identity for _, identity in before}
    free = [(face, identity) for face, identity in after if identity is None or identity not in known]
    pairs: list[tuple[Face, Face, int | None]] = []
    for face, identity in before:
        if identity in later:
            pairs.append((face, later[identity], identity))
        elif (one := _same(face, free)) and (identity is None or one[1] is None):
            free.remove(one)
            pairs.append((face, one[0], identity or one[1]))
    return pairs


def _same(face: Face, others: Sequence[Tracked]) -> Tracked | None:
    """Which of the others lies where this face does, if any."""
    nearest = max(others, key=lambda other: overlap(face.box, other[0].box), default=None)
    return nearest if nearest and overlap(face.box, nearest[0].box) > _SAME else None


def _named(faces: Sequence[Face], others: Sequence[Tracked]) -> list[Tracked]:
    """The faces, each with the identity of the other face that lies where it does; what two want, the nearer has."""
    fits = [
        (overlap(face.box, other[0].box), at, number)
        for at, face in enumerate(faces)
        for number, other in enumerate(others)
    ]
    given: dict[int, int] = {}
    for shared, at, number in sorted(fits, reverse=True):
        if shared > _SAME and at not in given and number not in given.values():
            given[at] = number
    return [(face, others[given[at]][1] if at in given else None) for at, face in enumerate(faces)]


def _answers(
    group: Sequence[Moment], recognizer: Recognizer, smoother: Smoother, source: str
) -> Iterator[tuple[Frame, FrameResult]]:
    crops = [recognizer.crops(frame.pixels, [face for face, _ in tracked]) for frame, tracked in group]
    probabilities = iter(recognizer.probabilities([crop for each in crops for crop in each if crop is not None]))
    for (frame, found), each in zip(group, crops, strict=True):
        tracked = [one for one, crop in zip(found, each, strict=True) if crop is not None]
        faces = tuple(
            recognizer.result(face, smoother.update(identity, frame.time, next(probabilities)), identity)
            for face, identity in tracked
        )
        height, width = frame.pixels.shape[:2]
        yield frame, FrameResult(source, frame.index, frame.time, width, height, faces)


@contextmanager
def writing(path: Path, rate: float) -> Iterator[Callable[[float, Image], None]]:
    """A function `(time, pixels)` that adds a frame, (H, W, 3) uint8 RGB, to an MP4 file at its own time in seconds.

    The first frame gives the size, in even numbers and at most 16384 a side, and others are resized to it. The file
    appears when the block ends well; without a frame there is none. Raises MissingExtra without PyAV, DataError where
    the encoder refuses a frame.
    """
    try:
        import av
    except ImportError as error:
        raise MissingExtra("drawing on a video", "video") from error

    silent()
    with _refused(path), ExitStack() as stack:
        stream: Any = None
        last = -1

        def write(time: float, pixels: Image) -> None:
            nonlocal stream, last
            with _refused(path):
                if stream is None:
                    beside = stack.enter_context(replacing(path))
                    container = stack.enter_context(av.open(f"file:{beside.absolute()}", "w", format="mp4"))
                    share = min(1.0, _LONGEST_SIDE / max(pixels.shape))
                    height, width = (max(2, int(share * side) // 2 * 2) for side in pixels.shape[:2])
                    stream = _encoder(container, rate, height, width)
                if pixels.shape[:2] != (stream.height, stream.width):
                    pixels = resize(pixels, stream.height, stream.width)
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
                last = max(last + 1, round(time * _CLOCK))
                frame.pts, frame.time_base = last, Fraction(1, _CLOCK)
                stream.container.mux(stream.encode(frame))

        yield write
        if stream is not None:
            stream.container.mux(stream.encode())


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    import av

    try:
        yield
    except av.error.FFmpegError as error:
        raise DataError(f"{path} cannot be encoded: {error.strerror}") from error


def _encoder(container: Any, rate: float, height: int, width: int) -> Any:
    import av

    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    stream = container.add_stream(codec, rate=max(Fraction(1, 1001), Fraction(rate).limit_denominator(1001)))
    stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
    stream.codec_context.time_base = Fraction(1, _CLOCK)
    return stream
