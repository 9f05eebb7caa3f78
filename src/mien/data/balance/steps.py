"""The steps of balancing as values, and their form in a recipe."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias, TypeGuard, get_args

from mien.errors import UsageError, unknown

TargetWord = Literal["max", "min", "median"]
Target: TypeAlias = "int | TargetWord | Mapping[str, int]"
ClassesWord = Literal["all", "minority", "majority", "not minority", "not majority"]
Classes: TypeAlias = "ClassesWord | Sequence[str]"
FillMode = Literal["nearest", "constant", "reflect", "wrap"]


@dataclass(frozen=True)
class Step:
    """One step towards `target` rows in each of `classes`.

    `target` is a count, the largest, smallest or median class count before the step, or a count for each named class.
    `classes` are names or, in imbalanced-learn's words, all, the smallest (minority), the largest, or all but one; a
    target that names classes leaves none to choose.
    """

    target: Target = "max"
    classes: Classes = "all"

    def __post_init__(self) -> None:
        counts = self.target.values() if isinstance(self.target, Mapping) else [self.target]
        if not (self.target in get_args(TargetWord) if isinstance(self.target, str) else all(map(_is_count, counts))):
            raise UsageError(
                "a balancing target is a count of rows",
                got=self.target,
                allowed=["a whole number above 0", *get_args(TargetWord), "class: number"],
            )
        if isinstance(self.target, Mapping) and self.classes != "all":
            raise UsageError(
                "a balancing step names its classes twice", got={"target": dict(self.target), "classes": self.classes},
                then="leave out classes: a target of counts is about the classes that it names",
            )  # fmt: skip
        if isinstance(self.classes, str) and self.classes not in get_args(ClassesWord):
            object.__setattr__(self, "classes", (self.classes,))


@dataclass(frozen=True)
class Oversample(Step):
    """Repeat random rows of a class until it has the target."""


@dataclass(frozen=True)
class Undersample(Step):
    """Drop random rows of a class until it has the target."""

    target: Target = "min"


@dataclass(frozen=True)
class Smote(Step):
    """New rows between a random row and one of its nearest `neighbours` in its class (Chawla et al., 2002)."""

    neighbours: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not _is_count(self.neighbours):
            raise UsageError("SMOTE needs at least one neighbour", got=self.neighbours)


@dataclass(frozen=True)
class BorderlineSmote(Smote):
    """SMOTE from rows of whose nearest 10 at least half, but not all, are of other classes (Han et al., 2005)."""


@dataclass(frozen=True)
class Adasyn(Smote):
    """SMOTE from every row as often as its nearest rows are of other classes (He et al., 2008)."""


@dataclass(frozen=True)
class Augment(Step):
    """Randomly moved copies of random rows of a class; the parameters are those of Keras' ImageDataGenerator.

    Degrees for rotation and shear; shifts as a share of the side (below 1) or in pixels; zoom as z for 1-z to 1+z or as
    (lowest, highest), each axis on its own; flips with an even chance.
    """

    rotation_range: float = 0
    width_shift_range: float = 0
    height_shift_range: float = 0
    shear_range: float = 0
    zoom_range: float | Sequence[float] = 0
    horizontal_flip: bool = False
    vertical_flip: bool = False
    fill_mode: FillMode = "nearest"
    zooms: tuple[float, float] = field(init=False, repr=False, default=(1, 1))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fill_mode not in get_args(FillMode):
            raise unknown("fill mode", str(self.fill_mode), get_args(FillMode))
        for name in ("rotation_range", "width_shift_range", "height_shift_range", "shear_range"):
            if not _is_amount(getattr(self, name)):
                raise UsageError(f"{name} is a number, 0 or more", got=getattr(self, name))
        for name in ("horizontal_flip", "vertical_flip"):
            if not isinstance(getattr(self, name), bool):
                raise UsageError(f"{name} is true or false", got=getattr(self, name))
        given = self.zoom_range
        low, high = (1 - given, 1 + given) if _is_amount(given) else _two(given)
        if not 0 < low <= high:
            raise UsageError("zoom_range is a number below 1, or two numbers above 0, the lower first", got=given)
        object.__setattr__(self, "zooms", (float(low), float(high)))


STEPS: dict[str, type[Step]] = {
    "augment": Augment,
    "oversample": Oversample,
    "undersample": Undersample,
    "smote": Smote,
    "borderline-smote": BorderlineSmote,
    "adasyn": Adasyn,
}


def parse(recipe: Sequence[str | Mapping[str, Any]]) -> tuple[Step, ...]:
    """The steps of a recipe's list; each item is a name, or a name with its options. Raises UsageError.

    >>> parse([{"smote": {"target": 4000}}, "undersample"])
    (Smote(target=4000, classes='all', neighbours=5), Undersample(target='min', classes='all'))
    """
    return tuple(_step(item) for item in recipe)


def _step(item: str | Mapping[str, Any]) -> Step:
    if not isinstance(item, str) and (not isinstance(item, Mapping) or len(item) != 1):
        raise UsageError("a balancing step is a name, or one name with its options", got=item, allowed=sorted(STEPS))
    name, options = (item, None) if isinstance(item, str) else next(iter(item.items()))
    if name not in STEPS:
        raise unknown("balancing step", str(name), STEPS)
    if not isinstance(options or {}, Mapping):
        raise UsageError(f"the options of balancing step {name} must be named", got=options)
    known = [option.name for option in fields(STEPS[name]) if option.init]
    for option in options or {}:
        if option not in known:
            raise unknown(f"option of balancing step {name}", str(option), known)
    return STEPS[name](**(options or {}))


def _two(given: Any) -> tuple[float, float]:
    """Two amounts, or two zeros where that is not what was given."""
    if isinstance(given, list | tuple) and len(given) == 2 and all(map(_is_amount, given)):
        return given[0], given[1]
    return 0, 0


def _is_amount(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
