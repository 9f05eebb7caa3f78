"""What the recogniser answers: faces in pictures, faces in moments of a video."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from traceback import extract_tb
from typing import Any

import cv2

from mien.errors import MienError
from mien.files import printable

Box = tuple[float, float, float, float]
ITEM_ERRORS = (MienError, cv2.error, MemoryError, ArithmeticError, LookupError, ValueError)
"""What ends one picture or video and not the program; the last three are how code, also that of libraries, stumbles
over data that it did not foresee."""


@dataclass(frozen=True, slots=True)
class FaceResult:
    """One face and the expression it shows.

    `box` is x, y, width, height in pixels of the upright picture, `landmarks` are (x, y) points or None where the
    detector gives none, `score` is the detector's 0..1 (None for `crop="whole"`), `probabilities` sum to one.
    In a video, `identity` numbers the face from 1 (None until a second detection confirms it), and the
    expression is that of the smoothed probabilities.
    """

    box: Box
    landmarks: tuple[tuple[float, float], ...] | None
    score: float | None
    expression: str
    probabilities: dict[str, float]
    uncertain: bool
    identity: int | None = None

    @property
    def confidence(self) -> float:
        """The probability of the expression."""
        return self.probabilities[self.expression]


@dataclass(frozen=True, slots=True)
class PictureResult:
    """The faces of one picture, largest first; or, in `error`, why there is no answer, or no drawing beside it."""

    source: str
    width: int = 0
    height: int = 0
    faces: tuple[FaceResult, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class FrameResult:
    """The faces of one frame of a video: `frame` counts from 0, `time` is its own time stamp in seconds.

    After a frame with `last` the video has no further one: a file of results is whole where each video has it.
    """

    source: str
    frame: int
    time: float
    width: int = 0
    height: int = 0
    faces: tuple[FaceResult, ...] = ()
    error: str | None = None
    last: bool = False


Result = PictureResult | FrameResult


def shows_none(result: Result) -> bool:
    """Whether this is a picture that was read and shows no face."""
    return isinstance(result, PictureResult) and result.error is None and not result.faces


def reason(error: Exception, source: str) -> str:
    """One of the `ITEM_ERRORS` as one line that names its source; where nobody foresaw it, also what raised it."""
    text = "; ".join(" ".join(line.split()) for line in str(error).splitlines())
    if isinstance(error, MemoryError):
        text = "too large for the memory that is left"
    elif not isinstance(error, MienError | cv2.error):
        places = extract_tb(error.__traceback__)
        where = f" in {Path(places[-1].filename).name}, line {places[-1].lineno}" if places else ""
        text = f"unexpected {type(error).__name__}{where}: {text}"
    return text if source in text or str(Path(source)) in text else f"{source}: {text}"


def json_line(value: Any) -> str:
    """One line of JSON that reads back as it was, names that are not UTF-8 too."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isascii() or printable(text) == text else json.dumps(value)


def document(result: Result) -> dict[str, Any]:
    """A result as plain values for JSON: coordinates to a tenth of a pixel, times and probabilities to four places."""
    values = {field.name: getattr(result, field.name) for field in fields(result)}
    if isinstance(result, FrameResult):
        values["time"] = round(result.time, 4)
    if not values.get("last", True):
        del values["last"]
    return values | {"faces": [_face(face) for face in result.faces]}


def rows(result: Result, labels: Sequence[str], model: str, detector: str | None) -> Iterator[dict[str, Any]]:
    """A result of `model` and `detector` as flat rows, one a face; without a face, one row whose `face` is empty."""
    head = {
        "source": printable(result.source),
        "frame": result.frame if isinstance(result, FrameResult) else None,
        "time": round(result.time, 4) if isinstance(result, FrameResult) else None,
        "error": result.error and printable(result.error),
        "model": model,
        "detector": detector,
    }
    for number, face in enumerate(result.faces):
        x, y, width, height = (round(value, 1) for value in face.box)
        yield head | {
            "face": number, "identity": face.identity, "x": x, "y": y, "width": width, "height": height,
            "score": None if face.score is None else round(face.score, 4),
            "expression": face.expression, "confidence": round(face.confidence, 4), "uncertain": face.uncertain,
            **{f"p_{label}": round(face.probabilities[label], 4) for label in labels},
        }  # fmt: skip
    if not result.faces:
        yield head | dict.fromkeys(columns(labels)[len(head) :])


def columns(labels: Sequence[str]) -> tuple[str, ...]:
    """The columns of `rows`, in order."""
    return (
        "source", "frame", "time", "error", "model", "detector", "face", "identity", "x", "y", "width", "height",
        "score", "expression", "confidence", "uncertain", *(f"p_{label}" for label in labels),
    )  # fmt: skip


def _face(face: FaceResult) -> dict[str, Any]:
    return {
        "box": [round(value, 1) for value in face.box],
        "landmarks": face.landmarks and [[round(x, 1), round(y, 1)] for x, y in face.landmarks],
        "score": None if face.score is None else round(face.score, 4),
        "expression": face.expression,
        "confidence": round(face.confidence, 4),
        "probabilities": {label: round(value, 4) for label, value in face.probabilities.items()},
        "uncertain": face.uncertain,
    } | ({} if face.identity is None else {"identity": face.identity})
