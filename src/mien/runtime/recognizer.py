"""Pictures to faces to expressions."""

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mien import weights
from mien.errors import BundleError, DataError, UnreadableImage, UsageError
from mien.imaging.chain import Finder
from mien.imaging.faces import DETECTORS, Detector, Face, detector_named, settled
from mien.imaging.framing import frame
from mien.imaging.operations import Image, check
from mien.imaging.steps import Outcome
from mien.runtime import bundle as bundles
from mien.runtime.ahead import cores, in_order
from mien.runtime.bundle import OUTPUT, Bundle
from mien.runtime.pictures import Picture, is_file, name_of, pixels_of, several
from mien.runtime.results import ITEM_ERRORS, FaceResult, PictureResult, reason

MOST_WORKERS = 8  # each holds a whole picture while it works on it
MOST_THREADS = 64  # a machine that is asked for a hundred thousand starts no process any more
MOST_FACES = 4096  # in one batch, whose maps are all in memory


class Recognizer:
    """Finds the faces of pictures and names their expressions.

    `crop="whole"` takes each picture as one face that is already cut out; `crop="face"` finds faces with `detector`
    (`auto`: YuNet when its file is there, else OpenCV's Haar cascade; a bundle whose chain looks for the face finds
    faces as that chain does). Several files are read and searched `workers` at a time (None: one per core, eight at
    most), and faces of all pictures go through the network `batch` at a time, each batch on `threads` cores. Threads
    may share an instance. Afterwards `detector` is the name of what finds faces: `yunet`, `haar`, `viola-jones`,
    `chain` (the bundle's own), `own` (a function that was given), or None for `crop="whole"`.
    """

    def __init__(
        self,
        bundle: Bundle | str | Path = weights.DEFAULT,
        *,
        detector: str | Detector = "auto",
        crop: Literal["face", "whole"] = "face",
        batch: int = 64,
        threads: int = 1,
        workers: int | None = None,
    ) -> None:
        if crop not in ("face", "whole"):
            raise UsageError("unknown crop", got=crop, allowed=("face", "whole"))
        asked = {"batch": (batch, MOST_FACES), "threads": (threads, MOST_THREADS)}
        if workers is not None:
            asked["workers"] = (workers, MOST_THREADS)
        for name, (given, most) in asked.items():
            if isinstance(given, bool) or not isinstance(given, int | np.integer) or not 1 <= given <= most:
                raise UsageError(f"{name} is out of range", got=given, allowed=f"1 to {most}, a whole number")
        if isinstance(bundle, Bundle) and threads != 1:
            raise UsageError("a bundle keeps the threads it was loaded with", got=threads, then="load(name, threads=…)")
        if crop == "whole" and detector != "auto":
            raise UsageError(
                "crop whole does not search for faces", got=f"detector {detector}", then="leave the detector out"
            )
        self.bundle = bundle if isinstance(bundle, Bundle) else bundles.load(bundle, threads)
        self.crop = crop
        self.batch = batch
        self.workers = workers or min(MOST_WORKERS, cores())
        self._workers: tuple[int, ThreadPoolExecutor] | None = None
        self._finder = None if crop == "whole" else self.bundle.chain.finder
        self.bundle.chain.check(found=crop == "face" and detector != "auto")
        self.detector = None if crop == "whole" else _named(detector, self._finder)
        self._detector = None if crop == "whole" else _detector(detector, self._finder)
        # By its name here and now: what `auto` means may be another detector elsewhere.
        found = self.detector if isinstance(detector, str) and self.detector not in (None, "chain") else detector
        self._asked: dict[str, Any] = {"detector": found, "crop": crop, "batch": batch, "workers": workers}

    def __reduce__(self) -> tuple[Any, ...]:
        # For another process: neither a network nor a detector can go there, but both can be loaded anew.
        return partial(Recognizer, self.bundle, **self._asked), ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The expressions that can be answered, in the network's order."""
        return self.bundle.info.labels

    @property
    def model(self) -> str:
        """The bundle's name and the digest of its file: what answers."""
        return f"{self.bundle.info.name}@{self.bundle.digest[:12]}"

    def analyze(self, pictures: Picture | Iterable[Picture]) -> list[PictureResult]:
        """One result a picture, in order: a path, the bytes of a picture's file, an array (H, W) grey or (H, W, 3) RGB,
        several of them, or a batch (N, H, W[, 3]); uint8.

        A file that cannot be read, and one of several that is no picture, has its reason in `error`, and the rest goes
        on. Raises UsageError where what is given is itself neither a picture nor several, as an RGBA or float array.
        """
        return list(self.stream(pictures))

    def stream(self, pictures: Picture | Iterable[Picture]) -> Iterator[PictureResult]:
        """Like `analyze` for any number of pictures: holds a batch of faces and a few pictures at a time.

        Answers come when `batch` faces or pictures are there, or the pictures end: where they arrive slowly, as from
        a camera, `batch=1` and `workers=1` answer each as it comes.
        """
        waiting: list[_Found] = []
        with closing(self._searched(several(pictures))) as searched:
            for found in searched:
                waiting.append(found)
                if sum(len(one.crops) for one in waiting) >= self.batch or len(waiting) >= self.batch:
                    yield from self._answer(waiting)
                    waiting = []
        yield from self._answer(waiting)

    def faces(self, image: Image) -> tuple[FaceResult, ...]:
        """The faces of one picture, (H, W) grey or (H, W, 3) RGB, uint8, largest first. Raises whatever goes wrong."""
        usable = self._usable(image)
        probabilities = self.probabilities([crop for _, crop in usable])
        return tuple(self.result(face, each) for (face, _), each in zip(usable, probabilities, strict=True))

    def detect(self, image: Image) -> list[Face]:
        """The faces of one picture, largest first; the whole picture for `crop="whole"`.

        Raises UsageError for what is no array of pixels, DataError where a detector of one's own fails.
        """
        check(image)
        if self._detector is None:
            height, width = image.shape[:2]
            return [Face((0.0, 0.0, float(width), float(height)))]
        found = _asked(self._detector, image) if self.detector == "own" else self._detector(image)
        return sorted(filter(_is_finite, found), key=lambda face: -face.box[2] * face.box[3])

    def prepare(self, image: Image, face: Face) -> Image:
        """The pixels of one face as the network was trained on them. Raises UnreadableImage where there are none."""
        (outcome,) = self._outcomes(image, [face])
        if outcome.pixels is None:
            raise UnreadableImage(f"the bundle's chain finds nothing here: {', '.join(outcome.notes)}")
        return outcome.pixels

    def crops(self, image: Image, faces: Sequence[Face]) -> list[Image | None]:
        """The prepared pixels of each face, None where the bundle's chain finds nothing in it.

        Raises DataError where that is the whole picture.
        """
        return [outcome.pixels for outcome in self._outcomes(image, faces)]

    def _outcomes(self, image: Image, faces: Sequence[Face]) -> list[Outcome]:
        if self._finder:
            return self._finder.cut(image, faces)
        if self.crop == "whole":
            return [self.bundle.chain.run(image) for _ in faces]
        return [self._cut(image, face) for face in faces]

    def _cut(self, image: Image, face: Face) -> Outcome:
        try:
            return self.bundle.chain.run(frame(image, face, self.bundle.framing))
        except DataError as error:
            return Outcome(None, (error.what,))

    def probabilities(self, crops: Sequence[Image]) -> NDArray[np.float32]:
        """(N, classes) float32 for prepared faces, `batch` at a time."""
        parts = [self._network(np.stack(crops[at : at + self.batch])) for at in range(0, len(crops), self.batch)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.labels)), np.float32)

    def result(self, face: Face, probabilities: NDArray[np.float32], identity: int | None = None) -> FaceResult:
        """The answer for one face, (classes,) probabilities: the likeliest expression, and whether it is uncertain."""
        best = int(np.argmax(probabilities))
        threshold = self.bundle.info.uncertain_below
        return FaceResult(
            box=(float(face.box[0]), float(face.box[1]), float(face.box[2]), float(face.box[3])),
            landmarks=None if face.landmarks is None else tuple((float(x), float(y)) for x, y in face.landmarks),
            score=None if self.crop == "whole" else float(face.score),
            expression=self.labels[best],
            probabilities=dict(zip(self.labels, map(float, probabilities), strict=True)),
            uncertain=threshold is None or float(probabilities[best]) < threshold,
            identity=identity,
        )

    def _network(self, pixels: Image) -> NDArray[np.float32]:
        tensor = self.bundle.chain.tensor(pixels)
        (logits,) = self.bundle.session.run([OUTPUT], {bundles.INPUT: tensor})
        if self.bundle.info.flip:
            mirrored = np.ascontiguousarray(tensor[..., ::-1])
            logits = (logits + self.bundle.session.run([OUTPUT], {bundles.INPUT: mirrored})[0]) / np.float32(2)
        if not np.isfinite(logits).all():
            raise BundleError(f"{self.bundle.path} answers with numbers that are none", then="export its run again")
        scaled = (logits - logits.max(axis=1, keepdims=True)) / self.bundle.info.temperature
        powers = np.exp(scaled, dtype=np.float32)
        return powers / powers.sum(axis=1, keepdims=True)

    def _searched(self, pictures: Iterable[Picture]) -> Generator["_Found", None, None]:
        """The faces of each picture in order: files by the workers, arrays at once."""
        if self.workers == 1 or (isinstance(pictures, list) and len(pictures) == 1):
            return (self._find(picture, place) for place, picture in enumerate(pictures))
        return in_order((self._begun(picture, place) for place, picture in enumerate(pictures)), 2 * self.workers)

    def _begun(self, picture: Picture, place: int) -> "Future[_Found]":
        if is_file(picture):
            return self._pool.submit(self._find, picture, place)
        # The caller may fill an array anew before a worker comes to it.
        done: Future[_Found] = Future()
        done.set_result(self._find(picture, place))
        return done

    @property
    def _pool(self) -> ThreadPoolExecutor:
        """The workers, kept as each has a detector of its own; a process that was forked off has none of them."""
        if self._workers is None or self._workers[0] != os.getpid():
            self._workers = os.getpid(), ThreadPoolExecutor(self.workers, "mien")
        return self._workers[1]

    def _find(self, picture: Picture, place: int) -> "_Found":
        source = name_of(picture) or f"picture {place}"
        try:
            image = pixels_of(picture)
            usable = self._usable(image)
            faces = [face for face, _ in usable]
            # The caller may fill its array anew before this batch is answered.
            crops = [crop.copy() if np.may_share_memory(crop, image) else crop for _, crop in usable]
        except ITEM_ERRORS as error:
            return _Found(PictureResult(source, error=reason(error, source)), [], [])
        return _Found(PictureResult(source, image.shape[1], image.shape[0]), faces, crops)

    def _usable(self, image: Image) -> list[tuple[Face, Image]]:
        """The faces in which the bundle's chain finds something, with their prepared pixels."""
        found = self.detect(image)
        return [(face, crop) for face, crop in zip(found, self.crops(image, found), strict=True) if crop is not None]

    def _answer(self, waiting: "list[_Found]") -> Iterator[PictureResult]:
        probabilities = self.probabilities([crop for found in waiting for crop in found.crops])
        start = 0
        for found in waiting:
            stop = start + len(found.faces)
            answers = map(self.result, found.faces, probabilities[start:stop])
            yield PictureResult(
                found.picture.source, found.picture.width, found.picture.height, tuple(answers), found.picture.error
            )
            start = stop


def _is_finite(face: Face) -> bool:
    marks = () if face.landmarks is None else np.ravel(face.landmarks)
    return bool(np.isfinite([*face.box, face.score, *marks]).all())


def _asked(detector: Detector, image: Image) -> list[Face]:
    """What a detector of the caller's own answers. Raises DataError for what a network or a file may fail with."""
    try:
        found = detector(image)
    except (RuntimeError, OSError) as error:
        raise DataError(f"the face detector fails: {type(error).__name__}: {error}") from error
    if not isinstance(found, Sequence) or not all(isinstance(face, Face) for face in found):
        raise DataError("the face detector answers no faces", got=shortened(found), allowed="a list of Face")
    return list(found)


def _detector(detector: str | Detector, finder: Finder | None) -> Detector:
    if finder and detector == "auto":
        return finder.faces
    return detector_named(detector) if isinstance(detector, str) else detector


def _named(detector: str | Detector, finder: Finder | None) -> str:
    """What the detector is called in results."""
    if isinstance(detector, str):
        return "chain" if finder and detector == "auto" else settled(detector)
    if not callable(detector):
        raise UsageError(
            "not a face detector", got=detector, allowed=f"{', '.join(DETECTORS)}, or a function of a picture"
        )
    return "own"


@dataclass(frozen=True)
class _Found:
    picture: PictureResult
    faces: list[Face]
    crops: list[Image]


def load(
    name_or_path: str | Path = weights.DEFAULT,
    *,
    detector: str | Detector = "auto",
    crop: Literal["face", "whole"] = "face",
    batch: int = 64,
    threads: int = 1,
    workers: int | None = None,
) -> Recognizer:
    """A recogniser with a shipped model, by name, or a bundle of your own, by path."""
    return Recognizer(name_or_path, detector=detector, crop=crop, batch=batch, threads=threads, workers=workers)


def analyze(
    pictures: Picture | Iterable[Picture],
    *,
    model: str | Path = weights.DEFAULT,
    crop: Literal["face", "whole"] = "face",
) -> list[PictureResult]:
    """The faces of pictures and their expressions: `Recognizer.analyze` with a model that stays loaded.

    Takes a path, the bytes of a picture's file, an array (H, W) grey or (H, W, 3) RGB, uint8, several of them, or a
    batch (N, H, W[, 3]). A file that cannot be read, and one of several that is no picture, has its reason in `error`.
    Raises UsageError where what is given is itself neither a picture nor several, as an RGBA or float array.
    """
    return _loaded(model, crop, _state(model)).analyze(pictures)


@lru_cache(maxsize=4)
def _loaded(model: str | Path, crop: Literal["face", "whole"], state: object) -> Recognizer:
    return Recognizer(model, crop=crop)


def _state(model: str | Path) -> object:
    """What tells the file of a model from another of its name: one in another folder, or put in its place."""
    bundles.check_name(model)
    try:
        now = Path(model).stat()
    except OSError:
        return None
    return Path(model).absolute(), now.st_mtime_ns, now.st_size
