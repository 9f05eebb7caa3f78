"""The page of an audit: findings, and the pictures behind them side by side."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.data.audit.check import Audit
from mien.data.audit.looks import Looks
from mien.data.samples import SPLITS, Samples
from mien.evaluation.report.gallery import address_of
from mien.evaluation.report.page import write_page

SHOWN = 48
_MEMBERS = 4

_GALLERIES: Mapping[str, str] = {
    "label-noise": "Labels in doubt",
    "blank": "Blank pictures",
    "tiny": "Tiny pictures",
}


@dataclass(frozen=True)
class Face:
    """One picture of the page: its image as a data URI, and what is known of it."""

    picture: str | None
    image: str
    label: str
    split: str


@dataclass(frozen=True)
class Group:
    """Pictures that belong together; `note` says how, `crosses` and `conflicts` why they matter."""

    faces: tuple[Face, ...]
    more: int
    note: str
    crosses: bool
    conflicts: bool


@dataclass(frozen=True)
class Gallery:
    """A section of pictures; `total` groups were found, those with the gravest meaning are shown."""

    title: str
    about: str
    groups: tuple[Group, ...]
    total: int


def write_audit_report(out: Path, samples: Samples, looks: Looks, audit: Audit, title: str, shown: int = SHOWN) -> Path:
    """Write the page to `out`, whole or not at all; at most `shown` groups a section."""
    galleries = [gallery for gallery in _galleries(samples, looks, audit, shown) if gallery.groups]
    splits = [split for split in SPLITS if len(samples.rows(split))]
    return write_page(out, "audit.html.j2", title=title, audit=audit, galleries=galleries, judged=splits[1:])


def _galleries(samples: Samples, looks: Looks, audit: Audit, shown: int) -> Iterator[Gallery]:
    show = _Show(samples, looks)
    exact = sorted(audit.likeness.groups("exact"), key=show.gravity)
    yield Gallery(
        "Exact twins",
        "The same pixels more than once. Groups across splits come first, then those with conflicting labels.",
        tuple(show.group(rows) for rows in exact[:shown]),
        len(exact),
    )
    pairs = [audit.likeness.first[edge] for edge in audit.likeness.edges]
    order = sorted(range(len(pairs)), key=lambda i: (*show.gravity(pairs[i]), audit.likeness.similarity[i]))
    yield Gallery(
        "Near twins",
        "One picture resized, recompressed, mirrored, relit or slightly cropped into another. Pairs across splits come "
        "first, then those with conflicting labels; within each the least alike, where a mistake would show.",
        tuple(show.group(pairs[i], _note(audit, i)) for i in order[:shown]),
        len(pairs),
    )
    for finding in audit.findings:
        if finding.code in _GALLERIES:
            notes = [f"predicted {label}, probability {probability:.2f}" for label, probability in finding.predicted]
            rows = list(zip(finding.rows, notes or [""] * len(finding.rows), strict=True))
            single = tuple(show.group(np.array([row]), note) for row, note in rows[:shown])
            yield Gallery(_GALLERIES[finding.code], finding.message, single, finding.count)


def _note(audit: Audit, pair: int) -> str:
    mirrored = ", mirrored" if audit.likeness.mirrored[pair] else ""
    return f"similarity {audit.likeness.similarity[pair]:.3f}{mirrored}"


class _Show:
    """Rows of one dataset as faces and groups of the page."""

    def __init__(self, samples: Samples, looks: Looks) -> None:
        self.looks = looks
        self.image, self.label, self.split = (
            samples.table[column].fillna("none").to_numpy(object) for column in ("image", "label", "split")
        )

    def crosses(self, rows: NDArray[np.int64]) -> bool:
        return len(set(self.split[rows]) - {"none"}) > 1

    def conflicts(self, rows: NDArray[np.int64]) -> bool:
        return len(set(self.label[rows]) - {"none"}) > 1

    def gravity(self, rows: NDArray[np.int64]) -> tuple[bool, bool]:
        return not self.crosses(rows), not self.conflicts(rows)

    def group(self, rows: NDArray[np.int64], note: str = "") -> Group:
        _, first = np.unique([f"{self.split[row]} {self.label[row]}" for row in rows], return_index=True)
        telling = np.concatenate([rows[first], np.delete(rows, first)])[:_MEMBERS]
        faces = tuple(
            Face(address_of(self.looks.miniatures[row]), self.image[row], self.label[row], self.split[row])
            for row in telling
        )
        return Group(faces, len(rows) - len(faces), note, self.crosses(rows), self.conflicts(rows))
