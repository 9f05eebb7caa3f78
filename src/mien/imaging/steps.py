"""What a chain is made of: small frozen values that turn one picture into the next."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mien.errors import UsageError, unknown
from mien.imaging import operations
from mien.imaging.operations import INTERPOLATIONS, Image

Size = tuple[int, int]


@dataclass(frozen=True)
class Outcome:
    """What became of a picture: its pixels, or None when it was dropped, and short notes on the way ("no-face")."""

    pixels: Image | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step(ABC):
    """One step of a chain. Its fields are its parameters; `__post_init__` checks them and raises UsageError."""

    @abstractmethod
    def apply(self, image: Image) -> Outcome:
        """The picture after this step."""

    def check(self) -> None:  # noqa: B027
        """Raise MienError where a file that `apply` needs is not there."""

    def size_after(self, before: Size | None) -> Size | None:
        """The height and width after this step, given those before it; None where they depend on the picture."""
        return before

    def remarks(self, size: Size | None) -> tuple[str, ...]:
        """What a reader of results must know of the step on pictures of that height and width."""
        return ()

    def channels_after(self, before: int | None) -> int | None:
        """The number of channels after this step, 1 or 3; None where it depends on the picture."""
        return before

    @classmethod
    def from_value(cls, value: Any) -> Self:
        """The step from what a recipe says: nothing, its first parameter, or a mapping of parameters."""
        defaults = {field.name: field.default for field in fields(cls)}
        if value is None:
            return cls()
        if not isinstance(value, Mapping):
            if not defaults:
                raise UsageError("this chain step takes no parameters", got=value)
            value = {next(iter(defaults)): value}
        for name in value:
            if name not in defaults:
                raise unknown("parameter", str(name), defaults)
        return cls(**{name: _canonical(given, defaults[name]) for name, given in value.items()})


@dataclass(frozen=True)
class Grey(Step):
    """Grey by the luma weights of ITU-R BT.601."""

    def apply(self, image: Image) -> Outcome:
        return Outcome(operations.grey(image))

    def channels_after(self, before: int | None) -> int | None:
        return 1


@dataclass(frozen=True)
class Colour(Step):
    """Three channels; a grey picture is repeated."""

    def apply(self, image: Image) -> Outcome:
        return Outcome(operations.colour(image))

    def channels_after(self, before: int | None) -> int | None:
        return 3


@dataclass(frozen=True)
class Resize(Step):
    """Another size: one number for a square, or (height, width), in pixels."""

    size: Size = (48, 48)
    interpolation: str = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", pair("size", self.size))
        one_of("interpolation", self.interpolation, ("auto", *INTERPOLATIONS))

    def apply(self, image: Image) -> Outcome:
        return Outcome(operations.resize(image, *self.size, self.interpolation))

    def size_after(self, before: Size | None) -> Size | None:
        return self.size


@dataclass(frozen=True)
class Crop(Step):
    """The centre, as a fraction of each side, or a box (x, y, width, height) in such fractions."""

    area: float | tuple[float, float, float, float] = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.area, tuple):
            if len(self.area) != 4:
                raise UsageError("a crop box has four numbers", got=self.area, allowed="[x, y, width, height]")
            for name, value in zip(("x", "y", "width", "height"), self.area, strict=True):
                within(f"crop {name}", value, 0, 1, above=name in ("width", "height"))
            if self.area[0] + self.area[2] > 1 + 1e-9 or self.area[1] + self.area[3] > 1 + 1e-9:
                raise UsageError("the crop box leaves the picture", got=self.area, allowed="within 0..1")
        else:
            within("crop area", self.area, 0, 1, above=True)

    def apply(self, image: Image) -> Outcome:
        return Outcome(operations.crop(image, self._box(image.shape[0], image.shape[1])))

    def size_after(self, before: Size | None) -> Size | None:
        if before is None:
            return None
        _, _, width, height = self._box(*before)
        return height, width

    def _box(self, rows: int, columns: int) -> tuple[int, int, int, int]:
        if isinstance(self.area, tuple):
            x, y, width, height = self.area
        else:
            x = y = (1 - self.area) / 2
            width = height = self.area
        left, top = min(round(x * columns), columns - 1), min(round(y * rows), rows - 1)
        return left, top, _length(width, columns, left), _length(height, rows, top)


@dataclass(frozen=True)
class Equalise(Step):
    """Histogram equalisation; in colour, of the lightness."""

    def apply(self, image: Image) -> Outcome:
        return Outcome(operations.equalise(image))


@dataclass(frozen=True)
class Clahe(Step):
    """Contrast-limited adaptive histogram equalisation; in colour, of the lightness."""

    clip: float = 2.0
    tiles: int = 8

    def __post_init__(self) -> None:
        within("clip", self.clip, 0, 256, above=True)
        whole("tiles", self.tiles, 1, 64)

    def remarks(self, size: Size | None) -> tuple[str, ...]:
        floor = operations.clahe_floor(size, self.tiles) if size else 0.0
        if size is None or self.clip >= 2 * floor or self.clip == floor:
            return ()
        where = f"in {self.tiles}x{self.tiles} tiles of {size[0]}x{size[1]} pictures"
        act = f"every clip below {2 * floor:.1f} acts as {floor:.1f}, one pixel a bin"
        return (f"clahe: {where} {act}; fewer tiles let it count",)

    def apply(self, image: Image) -> Outcome:
        return Outcome(operations.clahe(image, self.clip, self.tiles))


@dataclass(frozen=True)
class Canny(Step):
    """Edges, 0 and 255, one channel."""

    low: float = 100.0
    high: float = 200.0

    def __post_init__(self) -> None:
        within("low", self.low, 0, 10_000)
        within("high", self.high, self.low, 10_000)

    def apply(self, image: Image) -> Outcome:
        return Outcome(operations.canny(image, self.low, self.high))

    def channels_after(self, before: int | None) -> int | None:
        return 1


@dataclass(frozen=True)
class Normalise(Step):
    """Pixels to network input: (x / 255 - mean) / std, per channel; or one of the names `imagenet` and `half`.

    `mean` and `std` have one or three numbers. It leaves uint8 pixels alone: `Chain.tensor` scales them.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            given = getattr(self, name)
            values = given if isinstance(given, tuple) else (given,)
            if len(values) not in (1, 3):
                raise UsageError(f"normalise {name} has one number, or three", got=values)
            for value in values:
                within(f"normalise {name}", value, 0, 256, above=name == "std")
            object.__setattr__(self, name, tuple(float(value) for value in values))
        if len(self.mean) != len(self.std):
            raise UsageError("normalise has as many means as stds", got=f"mean {self.mean}, std {self.std}")

    @classmethod
    def from_value(cls, value: Any) -> Self:
        if isinstance(value, str):
            if value not in STATISTICS:
                raise unknown("normalisation", value, STATISTICS)
            return cls(*STATISTICS[value])
        return super().from_value(value)

    def apply(self, image: Image) -> Outcome:
        return Outcome(image)

    @property
    def scale(self) -> NDArray[np.float32]:
        """What a uint8 value is multiplied by, (channels,) float32."""
        return (1 / (255 * np.array(self.std))).astype(np.float32)

    @property
    def offset(self) -> NDArray[np.float32]:
        """What is added after scaling, (channels,) float32."""
        return (-np.array(self.mean) / np.array(self.std)).astype(np.float32)


STATISTICS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5,), (0.5,)),
}


def within(name: str, value: Any, low: float, high: float, above: bool = False) -> None:
    """Refuse what is no number in low..high (`above`: low itself excluded)."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not (low < value <= high if above else low <= value <= high):
        raise UsageError(
            f"{name} is out of range", got=value, allowed=f"{'above' if above else 'from'} {low} to {high}"
        )


def whole(name: str, value: Any, low: int, high: int) -> None:
    """Refuse what is no whole number in low..high."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise UsageError(f"{name} is out of range", got=value, allowed=f"a whole number from {low} to {high}")


def one_of(name: str, value: Any, known: Collection[str]) -> None:
    """Refuse a name outside the list, and suggest the nearest."""
    if value not in known:
        raise unknown(name, str(value), known)


def pair(name: str, value: Any) -> Size:
    """A size in pixels: (height, width), one number standing for both."""
    sides = value if isinstance(value, tuple) else (value, value)
    if len(sides) != 2:
        raise UsageError(f"{name} is one number, or height and width", got=value)
    for side in sides:
        whole(name, side, 1, 8192)
    return sides[0], sides[1]


def _canonical(value: Any, default: Any) -> Any:
    """The same value however YAML spells it: lists as tuples, and 2 as 2.0 where the parameter is a float."""
    if isinstance(value, list | tuple):
        return tuple(_canonical(item, default) for item in value)
    exact = type(value) is int and abs(value) <= 2**53
    return float(value) if isinstance(default, float) and exact else value


def _length(fraction: float, side: int, start: int) -> int:
    return max(1, min(round(fraction * side), side - start))
