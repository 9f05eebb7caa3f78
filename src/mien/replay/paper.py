"""The shape of a published study: its figures, its data, and what a careful reader must doubt."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Figures(NamedTuple):
    """One printed row. Shares are of one, time is in seconds; None where the paper prints nothing."""

    accuracy: float | None
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    train_accuracy: float | None = None
    validation_accuracy: float | None = None
    train_loss: float | None = None
    validation_loss: float | None = None
    misclassified: int | None = None
    seconds: int | None = None


class ClassFigures(NamedTuple):
    """Precision, recall and F1 of one class, shares of one."""

    precision: float
    recall: float
    f1: float


class Data(NamedTuple):
    """The data as described: `counts` by class and part (one part named `all` where the paper gives no split).

    `stated` is the number of pictures that the text gives, whatever the counts add up to.
    """

    name: str
    stated: int
    counts: Mapping[str, Mapping[str, int]]
    split: str


class Doubt(NamedTuple):
    """Why a reader should not take a figure as it stands: `kind`, the cells concerned (if any), and the reason.

    Kinds: `protocol` (how it was measured), `table` (figures that do not fit together), `text` (the words do not fit
    the figures), `scan` (slips of the pen).
    """

    kind: str
    text: str
    cells: tuple[str, ...] = ()


@dataclass(frozen=True)
class Study:
    """One paper. `decimals` is the precision of its printed shares of one; `figures` has a row for each arm.

    `text` is the stem of the paper's text in `shared/studies`; `elsewhere` are figures on other data or by others.
    """

    title: str
    authors: str
    year: int
    text: str
    question: str
    data: Data
    settings: Mapping[str, str]
    decimals: int
    figures: Mapping[str, Figures]
    claims: tuple[str, ...]
    doubts: tuple[Doubt, ...]
    per_class: Mapping[str, Mapping[str, ClassFigures]] = field(default_factory=dict)
    elsewhere: Mapping[str, Figures] = field(default_factory=dict)
