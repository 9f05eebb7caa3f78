"""Synthetic faces: drawn from facial action units, for demos, tests and experiments where every cause is known."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.data.samples import SPLITS, Rows, Samples, table
from mien.data.synthetic.action_units import Face, drawn, prototype
from mien.data.synthetic.anatomy import Identity, identity
from mien.data.synthetic.render import View, render
from mien.errors import UsageError, unknown
from mien.files import digest
from mien.labels import EXPRESSIONS, canonical, ordered

__all__ = ["Conditions", "Face", "Identity", "View", "identity", "prototype", "render", "samples"]

_EDITION = "mien synthetic faces 1"  # to change with anything that changes a pixel
COUNT = 2000
"""How many faces are drawn unless another number is asked for."""

_SHARES = (0.7, 0.15, 0.15)


@dataclass(frozen=True)
class Conditions:
    """How hard the faces are to read: what varies from picture to picture, and how far.

    `yaw`, `pitch`, `roll` in degrees and `shift` in shares of the side reach to both sides of 0; pairs are the lowest
    and highest value (see View). `covered` is the share of pictures with an obstacle of the size `cover`; `intensity`
    that of the expressions (0..1); `idle` the reach of movements that do not belong to them.
    """

    yaw: float = 20.0
    pitch: float = 9.0
    roll: float = 9.0
    shift: float = 0.035
    scale: tuple[float, float] = (1.2, 1.4)
    contrast: tuple[float, float] = (0.0, 0.4)
    gain: tuple[float, float] = (0.8, 1.2)
    covered: float = 0.25
    cover: tuple[float, float] = (0.12, 0.3)
    blur: tuple[float, float] = (0.0, 0.014)
    noise: tuple[float, float] = (0.0, 9.0)
    intensity: tuple[float, float] = (0.4, 1.0)
    idle: float = 0.25

    def view(self, rng: np.random.Generator) -> View:
        """A view drawn at random."""
        return View(
            yaw=rng.uniform(-self.yaw, self.yaw),
            pitch=rng.uniform(-self.pitch, self.pitch),
            roll=rng.uniform(-self.roll, self.roll),
            scale=rng.uniform(*self.scale),
            shift=(rng.uniform(-self.shift, self.shift), rng.uniform(-self.shift, self.shift)),
            light=rng.uniform(0, 360),
            contrast=rng.uniform(*self.contrast),
            gain=rng.uniform(*self.gain),
            cover=rng.uniform(*self.cover) * (rng.random() < self.covered),
            blur=rng.uniform(*self.blur),
            noise=rng.uniform(*self.noise),
            seed=int(rng.integers(2**32)),
        )


def samples(
    count: int = COUNT,
    size: int = 48,
    colour: bool = False,
    seed: int = 0,
    subjects: int | None = None,
    shares: Mapping[str, float] | None = None,
    conditions: Conditions | Mapping[str, float | Sequence[float]] | None = None,
) -> Samples:
    """A dataset of `count` drawn faces of `size` x `size` pixels; the same arguments give the same pictures.

    `subjects` people (by default one for 16 pictures) each belong to one of train, validation and test, 70:15:15.
    `shares` weighs the expressions, those left out having none; by default all eight are alike. Raises UsageError.

    >>> faces = samples(count=32, shares={"happy": 3, "sad": 1})
    >>> faces.table["label"].value_counts().to_dict()
    {'happiness': 24, 'sadness': 8}
    """
    people = max(3, count // 16) if subjects is None else subjects
    if not 3 <= people <= count:
        raise UsageError("synthetic faces need at least three subjects, with a picture each", got=(people, count))
    if size < 16:
        raise UsageError("a face needs at least 16 x 16 pixels", got=size)
    weights = {canonical(name): weight for name, weight in (shares or dict.fromkeys(EXPRESSIONS, 1)).items()}
    if not min(weights.values(), default=-1) >= 0 < sum(weights.values()):
        raise UsageError("shares of expressions are numbers from 0 up, not all 0", got=dict(shares or {}))
    kind = conditions if isinstance(conditions, Conditions) else _conditions(conditions or {})
    rng = np.random.Generator(np.random.PCG64(seed))
    labels = _interleaved(weights, count)
    owners = np.arange(count) * people // count
    faces = [identity(int(number)) for number in rng.integers(2**32, size=people)]
    split = _people_split(people, rng)
    pixels = np.stack(
        [
            render(drawn(label, kind.intensity, kind.idle, rng), faces[owner], kind.view(rng), size=size, colour=colour)
            for label, owner in zip(labels, owners, strict=True)
        ]
    )
    rows = table(
        [f"synthetic#{row}" for row in range(count)],
        labels,
        source="synthetic",
        subject=[f"P{owner:04d}" for owner in owners],
        split=split[owners],
    )
    origin = digest(_EDITION, repr((count, size, colour, seed, people, sorted(weights.items()), asdict(kind))))
    return Samples(rows, ordered(weights), Rows(pixels, origin))


def _conditions(given: Mapping[str, float | Sequence[float]]) -> Conditions:
    known = asdict(Conditions())
    for name, value in given.items():
        if name not in known:
            raise unknown("condition of synthetic faces", name, known)
        if np.shape(value) != np.shape(known[name]):
            raise UsageError(f"condition {name} has another form", got=value, allowed=f"as in {known[name]}")
        if not (np.ravel(value) >= 0).all() or (np.diff(np.ravel(value)) < 0).any():
            raise UsageError(f"condition {name} is from 0 up, the lower of a pair first", got=value)
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, Sequence) else v for name, v in given.items()}
    return Conditions(**values)


def _interleaved(weights: Mapping[str, float], count: int) -> list[str]:
    """`count` labels in proportion to their weights, mixed so evenly that any run of them is in proportion too."""
    share = np.array(list(weights.values())) / sum(weights.values())
    ends = np.rint(np.cumsum(share) * count).astype(int)
    sizes = np.diff(ends, prepend=0)
    place = np.concatenate([(np.arange(size) + 0.5) / size for size in sizes if size])
    return np.repeat(list(weights), sizes)[np.argsort(place, kind="stable")].tolist()


def _people_split(people: int, rng: np.random.Generator) -> NDArray[np.str_]:
    """The split of each person, at least one in every part."""
    small = [max(1, round(share * people)) for share in _SHARES[1:]]
    return rng.permutation(np.repeat(SPLITS, [people - sum(small), *small]))
