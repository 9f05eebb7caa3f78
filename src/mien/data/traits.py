"""Lists of what pictures or people can be compared by: sex, age group, skin tone, pose, camera, site."""

import logging
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from mien.data.sources.manifest import COLUMNS, OFTEN, listed
from mien.errors import DataError


@dataclass(frozen=True)
class Traits:
    """The columns of a list to compare by: strings (K, columns) by the name of a picture or person, blank ones missing.

    `key` says which of the two: the column `image` or `subject` of predictions.
    """

    path: Path
    key: Literal["image", "subject"]
    table: pd.DataFrame


def read(path: Path) -> Traits:
    """Read a CSV or Parquet list with a column `path` (or `image`) or `subject`, and others to compare by.

    A manifest is such a list; what mien reads of it anyhow is nothing to compare by. Raises DataError for a list that
    lacks either, and for one that says two things of the same picture or person.
    """
    rows = listed(path)
    keys: dict[str, Literal["image", "subject"]] = dict.fromkeys(("path", *OFTEN["path"]), "image")
    keys |= dict.fromkeys(("subject", *OFTEN["subject"]), "subject")
    key = next((name for name in keys if name in rows), None)
    if key is None:
        raise DataError(
            f"{path} names neither pictures nor people", got=list(rows.columns), allowed=list(keys),
            then="give it a column path, as the answers of mien evaluate --out name pictures, or a column subject",
        )  # fmt: skip
    read_anyhow = {*COLUMNS, *(other for names in OFTEN.values() for other in names)}
    columns = [name for name in rows if name not in read_anyhow]
    if not columns:
        raise DataError(f"{path} has nothing to compare by", got=list(rows.columns), then="add a column such as sex")
    if others := [name for name in rows if name in read_anyhow - {key, *COLUMNS}]:
        told = "%s: columns that nothing is compared by, since pictures, labels and people are called so: %s"
        logging.getLogger("mien").warning(told, path, ", ".join(others))
    if rows[key].isna().any():
        raise DataError(f"{path}: rows without {key}", got=f"first data row {rows.index[rows[key].isna()][0] + 1}")
    table = rows[columns].set_axis(_plain(rows[key]) if keys[key] == "image" else rows[key])
    table = table[~table.reset_index().duplicated().to_numpy(bool)]
    if table.index.has_duplicates:
        twice = table.index[table.index.duplicated()][0]
        raise DataError(f"{path} says two things of one {keys[key]}", got=[twice, *table.loc[[twice]].to_numpy()])
    return Traits(path, keys[key], table)


def of_pictures(lists: Sequence[Traits], predictions: pd.DataFrame) -> pd.DataFrame:
    """What the lists say of each picture of a predictions table (N rows), missing where they do not name it.

    Raises DataError when a list names none of them, and when two lists have a column of the same name.
    """
    names = [str(name) for each in lists for name in each.table]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError("two lists have the same column", got=twice, then="rename it in one of them")
    return pd.concat([_found(each, predictions) for each in lists], axis=1)


def _found(traits: Traits, predictions: pd.DataFrame) -> pd.DataFrame:
    asked = predictions[traits.key]
    if asked.isna().all():
        raise DataError(
            f"{traits.path} is a list of people, and these pictures name nobody",
            then="list the pictures in a column path instead",
        )
    if traits.key == "image":
        asked = _plain(asked)
    if not asked.isin(traits.table.index).any():
        raise DataError(
            f"{traits.path} names none of the {len(asked):,} pictures, which are known by their {traits.key}",
            got=f"such as {traits.table.index[0]}", allowed=f"such as {asked.dropna().iloc[0]}",
            then="write the names as they stand in the answers that mien evaluate --out writes",
        )  # fmt: skip
    return traits.table.reindex(asked).reset_index(drop=True)


def _plain(names: pd.Series) -> pd.Series:
    return names.map(lambda name: posixpath.normpath(name.replace("\\", "/"))).astype("string")
