"""A list of pictures: CSV or Parquet with the columns path, label and optionally subject, sequence, split."""

import logging
import posixpath
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from io import StringIO
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from mien.data.samples import Files, Samples, table
from mien.data.sources import tree
from mien.errors import DataError, UsageError, counted, unknown
from mien.labels import ordered

ABOUT = "a CSV or Parquet list: path, label, optionally subject, sequence, split"
LAYOUT = ("manifest.csv", "manifest.parquet", "or the path of such a file")
GET = "write a CSV with the header path,label"

COLUMNS = ("path", "label", "subject", "sequence", "split")

OFTEN: Mapping[str, tuple[str, ...]] = {
    "path": ("image", "file", "filename", "file_name", "filepath", "picture"),
    "label": ("emotion", "expression", "class"),
    "subject": ("participant", "participant_id", "subject_id", "person", "person_id"),
}
"""What other lists call the columns."""


def load(
    root: Path,
    rename: Mapping[Any, str | None] | None = None,
    own_labels: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
) -> Samples:
    """Read the manifest at `root`, a file or the folder of `manifest.csv|parquet`; paths are relative to its folder.

    `rename` says which label another name stands for, or None to leave its rows out; `own_labels` are classes beside
    the eight expressions; `columns` says what the file calls a column, as in `{"path": "image"}`.
    Columns of other names are not read; one that looks like a misspelt name of those that are is an error. Rows without
    a label stay, in no part.
    """
    path = root if root.is_file() else tree.first(root, ["manifest.csv", "manifest.parquet"])
    if path is None:
        raise tree.absent("manifest", root, LAYOUT, GET)
    rows = _chosen(listed(path), columns or {}, path)
    blank = rows.index[rows["path"].isna()]
    if len(blank):
        raise DataError(f"{path}: rows without path", got=f"{len(blank)}, first data row {blank[0] + 1}")
    labelled = rows["label"].notna()
    if len(rows) and not labelled.any():
        raise DataError(f"{path}: no row has a label")
    if not labelled.all():
        told = "%s: %s without label, first data row %s: left out of every part"
        bare = rows.index[~labelled]
        logging.getLogger("mien").warning(told, path, counted(len(bare), "row"), bare[0] + 1)
    home = PurePosixPath(path.parent.absolute().as_posix())
    names = [_below(name, home) for name in rows["path"]]
    _check_once(names, path)
    label = rows["label"].map(tree.named(rows["label"].dropna(), path, rename or {}, own_labels))
    more = {name: rows[name] for name in ("subject", "sequence") if name in rows}
    if "split" in rows:
        more["split"] = _splits(rows["split"], path).where(labelled, None)
    _check_there(names, path)
    built = table(names, list(label.astype(object).where(label.notna(), None)), source="manifest", **more)
    built = built[built["label"].notna() | ~labelled].reset_index(drop=True)
    return Samples(built, ordered(built["label"].dropna()), Files(path.parent))


def listed(path: Path) -> pd.DataFrame:
    """The columns of a CSV or Parquet file by their names in lower case: strings, blank ones missing.

    Raises DataError for a file that is no such list.
    """
    try:
        rows = pd.read_parquet(path) if path.suffix == ".parquet" else _csv(path)
    except (ValueError, OSError) as error:
        raise DataError(f"{path} is not a readable list", got=str(error)) from None
    rows.columns = [str(name).strip().lower() for name in rows.columns]
    if rows.columns.has_duplicates:
        raise DataError(f"{path} has a column twice", got=list(rows.columns))
    text = rows.astype("string").apply(lambda column: column.str.strip())
    return text.mask(text == "")


def _chosen(rows: pd.DataFrame, columns: Mapping[str, str], path: Path) -> pd.DataFrame:
    """The columns that are read, by mien's names. Raises UsageError for a wrong map, DataError for one not there."""
    for name in columns:
        if name not in COLUMNS:
            raise unknown("column in the option columns", name, COLUMNS)
    given = {name: other.strip().lower() for name, other in columns.items()}
    if absent := [other for other in given.values() if other not in rows]:
        raise DataError(f"{path} has no such column", got=absent, allowed=list(rows.columns))
    read = {name: name for name in COLUMNS if name in rows and name not in given} | given
    unread = [name for name in rows.columns if name not in read.values()]
    for name in unread:
        if near := get_close_matches(name, set(COLUMNS) - set(read), n=1, cutoff=0.8):
            raise UsageError(
                f"unknown column in {path}", got=name, allowed=COLUMNS,
                then=f"did you mean '{near[0]}'? rename it, or set the source's option columns={{{near[0]}: {name}}}",
            )  # fmt: skip
    alike = {name: other for name in OFTEN if name not in read for other in reversed(OFTEN[name]) if other in unread}
    if lacking := [name for name in ("path", "label") if name not in read]:
        shown = ", ".join(f"{name}: {other}" for name, other in (dict.fromkeys(lacking, "NAME") | alike).items())
        raise DataError(
            f"{path} lacks the columns {', '.join(lacking)}", got=list(rows.columns),
            then=f"say which these are with the source's option columns, as in columns={{{shown}}}",
        )  # fmt: skip
    if unread:
        people = f" (columns={{subject: {alike['subject']}}} reads people)" if "subject" in alike else ""
        told = "%s: columns that are not read: %s%s"
        logging.getLogger("mien").warning(told, path, ", ".join(unread), people)
    return pd.DataFrame({name: rows[other] for name, other in read.items()})


def _csv(path: Path) -> pd.DataFrame:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path} is not UTF-8 text", got=f"line {line}: byte {error.object[error.start]:#04x}",
            then="save it as UTF-8; Excel calls it 'CSV UTF-8'",
        ) from None  # fmt: skip
    separator, text = _separated(text)
    # NA is a person of JAFFE, and None or null may be one: only an empty field names nobody.
    rows = pd.read_csv(StringIO(text), sep=separator, dtype=str, keep_default_na=False)
    if not isinstance(rows.index, pd.RangeIndex):
        raise DataError(
            f"{path}: rows have more fields than the header has names", got=list(rows.columns),
            then=f"name every column, and end no row with a '{separator}'",
        )  # fmt: skip
    return rows


def _below(name: str, home: PurePosixPath) -> str:
    """A path of the list as its pictures are named, however it is spelt: below `home`, its folder, with `/`."""
    plain = PurePosixPath(name.replace("\\", "/"))
    inside = plain.is_absolute() and plain.is_relative_to(home)
    return (plain.relative_to(home) if inside else plain).as_posix()


def _separated(text: str) -> tuple[str, str]:
    """What parts the columns, and the text without Excel's own line about that, `sep=;`."""
    header, _, rest = text.lstrip().partition("\n")
    if said := re.fullmatch(r'"?sep=([,;\t])"?\r?', header, re.IGNORECASE):
        return said[1], rest
    return max(",;\t", key=header.count), text


def _check_there(names: list[str], path: Path) -> None:
    """One missing picture is listed with the broken ones; all of them are a list that stands elsewhere."""
    if names and not any(_exists(path.parent / name) for name in names):
        raise DataError(
            f"none of the {counted(len(names), 'picture')} of {path} is there",
            got=f"first {(path.parent / names[0]).as_posix()[:200]}",
            then="paths are relative to the folder of the list: put the list there, or write them so",
        )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # no name of a file, such as the pixels of FER2013
        return False


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
