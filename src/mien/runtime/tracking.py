"""One identity a face through a video, and probabilities smoothed over real time."""

import logging
import warnings
from collections.abc import Sequence
from functools import lru_cache
from math import ceil, exp

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError, MissingExtra
from mien.imaging.faces import Face

_REMEMBERED = 2.0  # seconds for which a face that is out of sight keeps its identity


class Tracker:
    """Numbers the faces of successive detections, from 1, by ByteTrack (Zhang et al., ECCV 2022).

    `rate` is how many detections there are a second. Raises MissingExtra without the `video` packages.
    """

    def __init__(self, rate: float) -> None:
        try:
            import supervision
        except ImportError as error:
            raise MissingExtra("tracking faces", "video") from error
        except OSError as error:
            raise DataError(
                f"the tracker cannot be loaded: {error}", then="set TMPDIR to a folder to write in"
            ) from error
        self._detections = supervision.Detections
        self._buffer = max(2, ceil(rate * _REMEMBERED))
        self._longest = _REMEMBERED + 1 / rate
        self._last: float | None = None
        with warnings.catch_warnings():
            # ByteTrack moves to the package `trackers`, which installs a second OpenCV over the headless one.
            warnings.simplefilter("ignore", FutureWarning)
            self._tracks = supervision.ByteTrack(
                track_activation_threshold=0.3,
                minimum_matching_threshold=0.9,
                frame_rate=30,
                lost_track_buffer=self._buffer,
            )

    def update(self, faces: Sequence[Face], time: float) -> list[int | None]:
        """The identity of each face at `time` seconds, in order; None for a face that no earlier detection confirms."""
        if self._last is not None and time - self._last > self._longest:
            self.forget()
        self._last = time
        return self._next(faces)

    def forget(self) -> None:
        """Let no later face have the identity of one before."""
        if self._last is None:
            return
        # ByteTrack counts detections: a pause or a cut of the video is one of many without a face.
        for _ in range(self._buffer + 2):
            self._next([])
        self._last = None

    def _next(self, faces: Sequence[Face]) -> list[int | None]:
        corners = [(x, y, x + width, y + height) for x, y, width, height in (face.box for face in faces)]
        found = self._tracks.update_with_detections(
            self._detections(
                xyxy=np.array(corners, np.float32).reshape(-1, 4),
                confidence=np.array([face.score for face in faces], np.float32),
                data={"row": np.arange(len(faces))},
            )
        )
        identities = () if found.tracker_id is None else found.tracker_id
        known = {int(row): int(number) for row, number in zip(found.data.get("row", ()), identities, strict=True)}
        return [known.get(row) for row in range(len(faces))]


def tracker(rate: float) -> Tracker | None:
    """A tracker where the extra `video` is installed; else None, said once."""
    try:
        return Tracker(rate)
    except MissingExtra:
        _say_untracked()
        return None


class Smoother:
    """Exponential smoothing of each identity's probabilities with a time constant in seconds (0: none)."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last: dict[int, tuple[float, NDArray[np.float32]]] = {}

    def update(self, identity: int | None, time: float, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """The smoothed probabilities of this face at `time` seconds; a face without an identity stays as it is."""
        if identity is None or self._seconds <= 0:
            return probabilities
        if identity in self._last:
            before, smooth = self._last[identity]
            keep = exp(-max(0.0, time - before) / self._seconds)
            probabilities = keep * smooth + (1 - keep) * probabilities
        self._last[identity] = (time, probabilities)
        # Only faces that may come back are remembered, so memory does not grow with the video.
        self._last = {key: value for key, value in self._last.items() if time - value[0] <= 2 * _REMEMBERED}
        return probabilities


def between(first: Face, second: Face, share: float) -> Face:
    """The face that lies `share` (0..1) of the way from one detection to the next."""
    landmarks = first.landmarks
    if landmarks is not None and second.landmarks is not None:
        landmarks = (1 - share) * landmarks + share * second.landmarks
    x, y, width, height = ((1 - share) * a + share * b for a, b in zip(first.box, second.box, strict=True))
    return Face((x, y, width, height), (1 - share) * first.score + share * second.score, landmarks)


@lru_cache
def _say_untracked() -> None:
    logging.getLogger("mien").warning(
        "each frame of a video is searched and answered alone; to follow faces, with identities and smoothing: "
        "pip install 'mien[video]'"
    )
