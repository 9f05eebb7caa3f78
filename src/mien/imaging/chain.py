"""The one preprocessing path: named steps, written as a list in a recipe and as JSON in a run and a model file."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError, UsageError, unknown
from mien.files import digest
from mien.imaging.alignment import Align, CutsFace, DetectFace, FrameFace
from mien.imaging.faces import Face, detector_named
from mien.imaging.operations import Image, check
from mien.imaging.restoration import Restore
from mien.imaging.steps import Canny, Clahe, Colour, Crop, Equalise, Grey, Normalise, Outcome, Resize, Size, Step

CATALOGUE: dict[str, type[Step]] = {
    "grey": Grey,
    "colour": Colour,
    "resize": Resize,
    "crop": Crop,
    "equalise": Equalise,
    "clahe": Clahe,
    "canny": Canny,
    "detect-face": DetectFace,
    "frame-face": FrameFace,
    "align": Align,
    "restore": Restore,
    "normalise": Normalise,
}

_NAMES = {step: name for name, step in CATALOGUE.items()}


@dataclass(frozen=True)
class Chain:
    """Steps that every picture goes through, at training and at use alike.

    >>> chain = Chain.parse(["grey", {"resize": 48}, "clahe", {"normalise": "half"}])
    >>> chain.size, chain.channels
    ((48, 48), 1)
    >>> chain.run(np.zeros((60, 50, 3), np.uint8)).pixels.shape
    (48, 48)
    """

    steps: tuple[Step, ...] = ()

    @classmethod
    def parse(cls, items: Sequence[Any]) -> "Chain":
        """The chain that a recipe writes: each item a name, or one name with its parameters.

        Raises UsageError on an unknown step or parameter, a value out of range, or a `normalise` that is not last.
        """
        if isinstance(items, str) or not isinstance(items, Sequence):
            raise UsageError("a chain is a list of steps", got=items, allowed='such as ["grey", {"resize": 48}]')
        return cls(tuple(_step(item) for item in items))

    def __post_init__(self) -> None:
        if any(isinstance(step, Normalise) for step in self.steps[:-1]):
            raise UsageError("'normalise' is the last step of a chain, and comes once", got=[*map(_name, self.steps)])
        if self.channels == 1 and len(self.normalise.mean) == 3:
            raise UsageError(
                "normalise has three means, and the chain makes grey pictures",
                then="give one mean and one std, write 'half', or add the step 'colour'",
            )

    def as_list(self) -> list[dict[str, Any]]:
        """The canonical form, JSON-able: every parameter explicit. `Chain.parse` reads it back."""
        return json.loads(json.dumps([{_name(step): asdict(step)} for step in self.steps]))

    @cached_property
    def digest(self) -> str:
        """A hex digest of the canonical form; equal chains have equal digests."""
        return digest(json.dumps(self.as_list(), sort_keys=True))

    @cached_property
    def size(self) -> Size | None:
        """Height and width of what comes out, or None where they depend on the picture."""
        size: Size | None = None
        for step in self.steps:
            size = step.size_after(size)
        return size

    @cached_property
    def channels(self) -> int | None:
        """1 or 3, or None where it depends on the picture."""
        channels: int | None = None
        for step in self.steps:
            channels = step.channels_after(channels)
        return channels

    @cached_property
    def normalise(self) -> Normalise:
        """How pixels become network input; without the step, x / 255."""
        last = self.steps[-1] if self.steps else None
        return last if isinstance(last, Normalise) else Normalise()

    @cached_property
    def finder(self) -> "Finder | None":
        """Where the chain looks for the face in the whole picture; None where it does not, or crops before."""
        for at, step in enumerate(self.steps):
            if isinstance(step, CutsFace | Align):
                return Finder(Chain(self.steps[:at]), step, Chain(self.steps[at + 1 :]))
            if isinstance(step, Crop):
                return None
        return None

    @cached_property
    def remarks(self) -> tuple[str, ...]:
        """What a reader of results must know of the steps, on pictures of the sizes that they meet."""
        said: tuple[str, ...] = ()
        size: Size | None = None
        for step in self.steps:
            said += step.remarks(size)
            size = step.size_after(size)
        return said

    def check(self, found: bool = False) -> None:
        """Raise MienError where a file that a step needs is not there; with `found`, faces are found in another way."""
        for step in self.steps:
            if not (found and self.finder and step is self.finder.step):
                step.check()

    def run(self, image: Image) -> Outcome:
        """One picture, (H, W) or (H, W, 3) uint8, through every step; the notes of all steps in order.

        Raises DataError where a step is told to fail (`missing: fail`), UsageError on an array that is no picture.
        """
        check(image)
        notes: tuple[str, ...] = ()
        for step in self.steps:
            outcome = step.apply(image)
            notes += outcome.notes
            if outcome.pixels is None:
                return Outcome(None, notes)
            image = outcome.pixels
        return Outcome(np.ascontiguousarray(image), notes)

    def tensor(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Network input, (N, C, H, W) float32, of prepared pixels (N, H, W) or (N, H, W, 3): x * scale + offset.

        `normalise.scale` and `normalise.offset` are the constants, for those who do the same elsewhere.

        >>> Chain.parse([{"normalise": "half"}]).tensor(np.array([[[0, 255]]], np.uint8)).ravel()
        array([-1.,  1.], dtype=float32)
        """
        planes = batch[:, None] if batch.ndim == 3 else batch.transpose(0, 3, 1, 2)
        scale, offset = self.normalise.scale, self.normalise.offset
        if len(scale) not in (1, planes.shape[1]):
            raise UsageError(
                "normalise has other channels than the pictures", got=f"{len(scale)} and {planes.shape[1]}"
            )
        result = np.empty(planes.shape, np.float32)
        np.multiply(planes, scale[:, None, None], out=result, dtype=np.float32)
        result += offset[:, None, None]
        return result


@dataclass(frozen=True)
class Finder:
    """The step of a chain that looks for the face, and the steps before and after it.

    For those who want every face of a picture in place of the largest; the steps before run once for all of them in
    `faces`, and once in `cut`.
    """

    before: Chain
    step: CutsFace | Align
    after: Chain

    def faces(self, image: Image) -> list[Face]:
        """The faces that the step sees, in pixels of the picture as it comes."""
        seen = self.before.run(image).pixels
        if seen is None:
            return []
        return [face.scaled(*_ratio(seen, image)) for face in detector_named(self.step.detector)(seen)]

    def cut(self, image: Image, faces: Sequence[Face]) -> list[Outcome]:
        """Each face, in pixels of the picture, through the chain as though it were the one found there.

        A face in which a step fails has no pixels.
        """
        seen = self.before.run(image).pixels
        if seen is None:
            return [Outcome(None)] * len(faces)
        return [self._cut(seen, face.scaled(*_ratio(image, seen))) for face in faces]

    def _cut(self, seen: Image, face: Face) -> Outcome:
        try:
            found = self.step.around(seen, face)
            return found if found.pixels is None else self.after.run(found.pixels)
        except DataError as error:
            return Outcome(None, (error.what,))


def _ratio(before: Image, after: Image) -> tuple[float, float]:
    """The factors of height and width from one picture to the other."""
    return after.shape[0] / before.shape[0], after.shape[1] / before.shape[1]


def _step(item: Any) -> Step:
    name, value = item, None
    if isinstance(item, dict) and len(item) == 1:
        ((name, value),) = item.items()
    if not isinstance(name, str):
        raise UsageError(
            "a chain step is a name, or one name with its parameters", got=item, allowed='"grey", {"resize": 48}'
        )
    if name not in CATALOGUE:
        raise unknown("chain step", name, CATALOGUE)
    try:
        return CATALOGUE[name].from_value(value)
    except UsageError as error:
        what = error.what if name in error.what else f"chain step '{name}': {error.what}"
        raise UsageError(what, got=error.got, allowed=error.allowed, then=error.then) from None


def _name(step: Step) -> str:
    return _NAMES[type(step)]
