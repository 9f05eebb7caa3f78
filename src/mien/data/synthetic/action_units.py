"""Facial action units (Ekman and Friesen's FACS) and the prototypes of eight expressions in them (EMFACS)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from mien.errors import UsageError
from mien.labels import canonical

UNITS: Mapping[int, str] = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    7: "lid tightener",
    9: "nose wrinkler",
    10: "upper lip raiser",
    12: "lip corner puller",
    14: "dimpler",
    15: "lip corner depressor",
    17: "chin raiser",
    20: "lip stretcher",
    23: "lip tightener",
    24: "lip pressor",
    25: "lips part",
    26: "jaw drop",
    27: "mouth stretch",
    43: "eyes closed",
}


@dataclass(frozen=True)
class Face:
    """What the muscles of a face do: intensities 0..1 by action unit, on its left and right half (as seen)."""

    left: Mapping[int, float] = field(default_factory=dict)
    right: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        strange = sorted({*self.left, *self.right} - set(UNITS))
        if strange:
            raise UsageError("unknown action units", got=strange, allowed=list(UNITS))

    def half(self, side: int) -> "Half":
        """The intensities of one half: -1 left, 1 right."""
        return Half(self.left if side < 0 else self.right)

    @property
    def both(self) -> "Half":
        """The mean of both halves, for what lies on the middle line."""
        return Half(
            {unit: (self.left.get(unit, 0) + self.right.get(unit, 0)) / 2 for unit in {*self.left, *self.right}}
        )


@dataclass(frozen=True)
class Half:
    """Intensities of one half of a face, 0 for units at rest."""

    units: Mapping[int, float]

    def __getitem__(self, unit: int) -> float:
        return self.units.get(unit, 0.0)


@dataclass(frozen=True)
class Prototype:
    """Units that an expression always has, those that it has half of the time, and whether one half makes it alone."""

    always: Mapping[int, float]
    often: Mapping[int, float] = field(default_factory=dict)
    one_sided: bool = False


PROTOTYPES: Mapping[str, Prototype] = {
    "anger": Prototype({4: 1.0, 7: 0.8, 23: 0.8}, {5: 0.6, 24: 0.8, 10: 0.4, 17: 0.4}),
    "contempt": Prototype({14: 1.0, 12: 0.35}, {10: 0.25, 17: 0.2}, one_sided=True),
    "disgust": Prototype({9: 1.0, 10: 0.8}, {17: 0.6, 15: 0.5, 7: 0.5, 25: 0.5, 4: 0.3}),
    "fear": Prototype({1: 0.9, 2: 0.6, 4: 0.6, 5: 0.9, 20: 0.9, 25: 0.6}, {26: 0.5, 7: 0.3}),
    "happiness": Prototype({12: 1.0, 6: 0.8}, {25: 0.9, 26: 0.3, 7: 0.2}),
    "neutral": Prototype({}),
    "sadness": Prototype({1: 0.9, 4: 0.5, 15: 0.9}, {17: 0.7, 43: 0.3, 6: 0.2}),
    "surprise": Prototype({1: 1.0, 2: 1.0, 5: 0.7, 26: 0.8}, {25: 0.6, 27: 0.7}),
}


def prototype(expression: str, intensity: float = 1.0) -> Face:
    """The textbook face of an expression: the units that it always has; contempt on the right.

    >>> prototype("happy", 0.5).left[12]
    0.5
    """
    form = PROTOTYPES[canonical(expression)]
    units = {unit: share * intensity for unit, share in form.always.items()}
    return Face({} if form.one_sided else units, units)


def drawn(expression: str, intensity: tuple[float, float], idle: float, rng: np.random.Generator) -> Face:
    """A face as people make it: of some intensity in the given range, never all units alike, halves not quite the same.

    `idle` is the reach of movements that have nothing to do with the expression, such as talking or blinking.
    """
    form = PROTOTYPES[canonical(expression)]
    strength = rng.uniform(*intensity)
    units = {unit: share * strength * rng.uniform(0.7, 1.3) for unit, share in form.always.items()}
    for unit, share in form.often.items():
        if rng.random() < 0.5:
            units[unit] = share * strength * rng.uniform(0.5, 1.3)
    side = rng.integers(2)
    made_by = [1.0 - side, float(side)] if form.one_sided else rng.uniform(0.85, 1.15, 2)
    chance = {unit: idle * rng.uniform(0, 1) for unit in rng.choice(list(UNITS), 3, replace=False)}
    chance[25] = chance.get(25, 0) + idle * (rng.random() < 0.3)
    halves = [
        {
            int(unit): float(np.clip(units.get(unit, 0) * share + chance.get(unit, 0), 0, 1))
            for unit in sorted({*units, *chance})
        }
        for share in made_by
    ]
    return Face(*halves)
