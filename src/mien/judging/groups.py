"""A judgement taken apart by what a list says of its pictures or people."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mien.data.traits import Traits, of_pictures
from mien.evaluation.subgroups import groupable, subgroups
from mien.files import write_json
from mien.judging.judgement import Judgement


def check_named(lists: Sequence[Traits], folder: Path, split: str) -> None:
    """Raises DataError for lists that make no groups in a split of a run, before test rows are opened for nothing."""
    kept = pd.read_parquet(folder / "samples.parquet", columns=["image", "subject", "split"])
    groupable(of_pictures(lists, kept if split == "all" else kept[kept["split"] == split]))


def in_groups(found: Judgement, lists: Sequence[Traits], folder: Path | None = None) -> dict[str, Any]:
    """The figures of a judgement in the groups that the lists make, for JSON; kept as `groups.json` in a run's folder.

    What the lists say of a picture or person is not kept.
    """
    asked = found.predictions
    # A picture that several seeds were asked about has an answer of each, under names of their own.
    shown = asked.assign(image=asked["picture"]) if "picture" in asked else asked
    groups = subgroups(asked, of_pictures(lists, shown), found.resamples).as_dict()
    if folder:
        write_json(folder / "groups.json", groups)
    return groups
