"""Chain steps that look for the face: crop to it, frame it, or turn and scale it until its eyes lie in their place."""

from abc import abstractmethod
from dataclasses import dataclass, fields

import numpy as np

from mien.errors import DataError
from mien.imaging import operations
from mien.imaging.faces import Face, Points, detector_named, largest, warp
from mien.imaging.framing import FER2013, Framing, frame
from mien.imaging.operations import Image
from mien.imaging.regions import eyes_of
from mien.imaging.steps import Outcome, Size, Step, one_of, pair, within

# `auto` is not among them: a chain must mean the same on every machine.
FINDERS = ("haar", "viola-jones", "yunet")
MISSING = ("keep", "drop", "fail")


class CutsFace(Step):
    """A step that cuts out the largest face; the notes say that there is none, or that there are several."""

    detector: str
    missing: str

    @abstractmethod
    def around(self, image: Image, face: Face) -> Outcome:
        """The crop around a face that is known already."""

    def check(self) -> None:
        detector_named(self.detector)

    def apply(self, image: Image) -> Outcome:
        faces = detector_named(self.detector)(image)
        face = largest(faces)
        if face is None:
            return absent(image, "no-face", self.missing)
        return Outcome(self.around(image, face).pixels, ("several-faces",) if len(faces) > 1 else ())

    def size_after(self, before: Size | None) -> Size | None:
        return None


@dataclass(frozen=True)
class DetectFace(CutsFace):
    """Crop to the largest face, square; `margin` widens its box on every side, as a fraction of it.

    Where no face is found (note `no-face`), `missing` says what happens: `keep` the whole picture, `drop` it, or
    `fail`. A picture with several faces has the note `several-faces`.
    """

    detector: str = "viola-jones"
    missing: str = "keep"
    margin: float = 0.0

    def __post_init__(self) -> None:
        one_of("face detector", self.detector, FINDERS)
        one_of("policy", self.missing, MISSING)
        within("margin", self.margin, -0.4, 5)

    def around(self, image: Image, face: Face) -> Outcome:
        return Outcome(square(image, face, self.margin))


@dataclass(frozen=True)
class FrameFace(CutsFace):
    """Crop to the largest face as `mien predict` crops for a bundle: so that it lies as in the pictures of FER2013.

    `missing` as in `detect-face`, and so are the notes; the other parameters are those of
    `mien.imaging.framing.Framing`. A bundle of a chain with this step finds its faces by it.
    """

    detector: str = "haar"
    missing: str = "keep"
    scale: float = FER2013.scale
    eyes: float = FER2013.eyes
    haar_scale: float = FER2013.haar_scale
    haar_shift: float = FER2013.haar_shift
    upright: float = FER2013.upright

    def __post_init__(self) -> None:
        one_of("face detector", self.detector, FINDERS)
        one_of("policy", self.missing, MISSING)
        _ = self.framing

    @property
    def framing(self) -> Framing:
        """Where the crop lies around a face. Raises UsageError where a parameter is out of range."""
        return Framing(**{each.name: getattr(self, each.name) for each in fields(Framing)})

    def around(self, image: Image, face: Face) -> Outcome:
        return Outcome(frame(image, face, self.framing))


@dataclass(frozen=True)
class Align(Step):
    """Turn, scale and crop until the eyes are level, `apart` of the width from each other and `height` below the top.

    The defaults are where FER2013's pictures have them. Eyes are YuNet's landmarks, or what the Haar cascade finds in
    the face. Notes `no-face` and `no-eyes` say why a picture was not aligned; `missing` as in `detect-face`, where
    `keep` resizes the whole picture, or, where only the eyes were not found, the square around the face.
    """

    size: Size = (112, 112)
    detector: str = "yunet"
    missing: str = "keep"
    apart: float = 0.35
    height: float = 0.39

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", pair("size", self.size))
        one_of("face detector", self.detector, FINDERS)
        one_of("policy", self.missing, MISSING)
        within("apart", self.apart, 0.05, 1)
        within("height", self.height, 0, 1)

    def check(self) -> None:
        detector_named(self.detector)

    def apply(self, image: Image) -> Outcome:
        face = largest(detector_named(self.detector)(image))
        return self._absent(image, "no-face") if face is None else self.around(image, face)

    def around(self, image: Image, face: Face) -> Outcome:
        """The picture turned and scaled for a face that is known already."""
        eyes = self._eyes(image, face)
        if eyes is None:
            return self._absent(square(image, face), "no-eyes")
        rows, columns = self.size
        across = (eyes[1] - eyes[0]) / np.hypot(*(eyes[1] - eyes[0]))
        scale = self.apart * columns / np.hypot(*(eyes[1] - eyes[0]))
        turn = scale * np.array([[across[0], across[1]], [-across[1], across[0]]])
        place = np.array([columns / 2, self.height * rows])
        matrix = np.column_stack([turn, place - turn @ eyes.mean(axis=0)])
        return Outcome(warp(image, matrix.astype(np.float64), self.size))

    def size_after(self, before: Size | None) -> Size | None:
        return self.size

    def _eyes(self, image: Image, face: Face) -> Points | None:
        eyes = eyes_of(image, face)
        return eyes if eyes is not None and np.hypot(*(eyes[1] - eyes[0])) >= 1 else None

    def _absent(self, image: Image, note: str) -> Outcome:
        outcome = absent(image, note, self.missing)
        whole = outcome.pixels
        return outcome if whole is None else Outcome(operations.resize(whole, *self.size), outcome.notes)


def square(image: Image, face: Face, margin: float = 0.0) -> Image:
    """The square around a face's box, widened by `margin` on every side, as a fraction of it."""
    x, y, width, height = face.box
    side = max(1.0, max(width, height) * (1 + 2 * margin))
    left, top = x + (width - side) / 2, y + (height - side) / 2
    return operations.crop(image, (round(left), round(top), round(side), round(side)))


def absent(image: Image, note: str, missing: str) -> Outcome:
    """What a step does with a picture in which it did not find what it looks for. Raises DataError for `fail`."""
    if missing == "fail":
        raise DataError(f"{note} in the picture", then="set 'missing: keep' or 'missing: drop' to continue without it")
    return Outcome(image if missing == "keep" else None, (note,))
