"""A list of pictures: CSV or Parquet with the columns path, label and optionally subject, sequence, split."""

import logging
import posixpath
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pandas as pd

from mien.data.samples import Files, Samples, table
from mien.data.sources import tree
from mien.errors import DataError, unknown
from mien.labels import ordered

ABOUT = "a CSV or Parquet list: path, label, optionally subject, sequence, split"
LAYOUT = ("manifest.csv", "manifest.parquet", "or the path of such a file")
GET = "write a CSV with the header path,label"

COLUMNS = ("path", "label", "subject", "sequence", "split")


def load(root: Path, rename: Mapping[Any, str | None] | None = None, own_labels: Sequence[str] = ()) -> Samples:
    """Read the manifest at `root`, a file or the folder of `manifest.csv|parquet`; paths are relative to its folder.

    `rename` says which label another name stands for, or None to leave its rows out; `own_labels` are classes beside
    the eight expressions.
    Columns of other names are not read; one that looks like a misspelt name of those that are is an error.
    """
    path = root if root.is_file() else tree.first(root, ["manifest.csv", "manifest.parquet"])
    if path is None:
        raise tree.absent("manifest", root, LAYOUT, GET)
    rows = _read(path)
    _check_columns(rows.columns, path)
    if unread := [name for name in rows.columns if name not in COLUMNS]:
        told = "%s: columns that are not read: %s (people go into `subject`)"
        logging.getLogger("mien").warning(told, path, ", ".join(unread))
    lacking = [name for name in ("path", "label") if name not in rows]
    if lacking:
        raise DataError(f"{path} lacks the columns {', '.join(lacking)}", got=list(rows.columns))
    for name in ("path", "label"):
        blank = rows.index[rows[name].isna()]
        if len(blank):
            raise DataError(f"{path}: rows without {name}", got=f"{len(blank)}, first data row {blank[0] + 1}")
    names = [name.replace("\\", "/") for name in rows["path"]]
    _check_once(names, path)
    meant = tree.named(rows["label"], path, rename or {}, own_labels)
    columns = {name: rows[name] for name in ("subject", "sequence") if name in rows}
    if "split" in rows:
        columns["split"] = _splits(rows["split"], path)
    built = table(
        names,
        [meant[name] for name in rows["label"]],
        source="manifest",
        **columns,
    )
    built = built[built["label"].notna()].reset_index(drop=True)
    return Samples(built, ordered(built["label"]), Files(path.parent))


def _read(path: Path) -> pd.DataFrame:
    """The file's columns as strings, blank ones missing."""
    try:
        rows = pd.read_parquet(path) if path.suffix == ".parquet" else _csv(path)
    except (ValueError, OSError) as error:
        raise DataError(f"{path} is not a readable manifest", got=str(error)) from None
    rows.columns = [str(name).strip().lower() for name in rows.columns]
    text = rows.astype("string").apply(lambda column: column.str.strip())
    return text.mask(text == "")


def _check_columns(given: pd.Index, path: Path) -> None:
    """Raise for a column given twice, and for one whose name is nearly that of a column which is not there."""
    if given.has_duplicates:
        raise DataError(f"{path} has a column twice", got=list(given))
    absent = set(COLUMNS) - set(given)
    for name in given:
        if name not in COLUMNS and get_close_matches(name, absent, cutoff=0.8):
            raise unknown(f"column in {path}", name, COLUMNS)


def _csv(path: Path) -> pd.DataFrame:
    # NA is a person of JAFFE, and None or null may be one: only an empty field names nobody.
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _check_once(names: list[str], path: Path) -> None:
    """A picture that is listed twice could stand in training and in test, under one name."""
    places: dict[str, list[int]] = {}
    for number, name in enumerate(names, 1):
        places.setdefault(posixpath.normpath(name), []).append(number)
    if twice := {name: numbers for name, numbers in places.items() if len(numbers) > 1}:
        raise DataError(
            f"{path} lists {len(twice):,} pictures more than once",
            got=[f"{name}: data rows {', '.join(map(str, numbers))}" for name, numbers in twice.items()][:5],
            then="list each picture once; to repeat training pictures, balance them with oversample",
        )


def _splits(split: pd.Series, path: Path) -> pd.Series:
    named = split.str.lower().map(tree.SPLIT_FOLDERS)
    strange = sorted(set(split[named.isna() & split.notna()]))
    if strange:
        raise DataError(f"{path}: unknown split names", got=strange, allowed=list(tree.SPLIT_FOLDERS))
    return named.where(named.notna(), None)
