"""Walking the folders that datasets come in, and saying what is not there."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pandas as pd

from mien.errors import Absent, DataError, UsageError, counted
from mien.files import printable, walk
from mien.imaging.decode import SUFFIXES
from mien.labels import EXPRESSIONS, OWN, canonical, canonical_all, is_known, is_label

SPLIT_FOLDERS: Mapping[str, str] = {
    "train": "train", "training": "train", "train_set": "train",
    "valid": "validation", "val": "validation", "validation": "validation", "val_set": "validation",
    "test": "test", "testing": "test", "test_set": "test",
}  # fmt: skip

_LEFT = (".", "__", "@")  # begins the names of folders that are not looked into


def folders(folder: Path) -> list[str]:
    """Names of the folders inside `folder`, sorted; hidden ones, and what archives (`__MACOSX`) and servers (`@eaDir`)
    leave, are left out.
    """
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(_LEFT))


def pictures(folder: Path) -> list[str]:
    """Picture files at any depth below `folder` as paths below it with forward slashes, sorted.

    Raises DataError for names that are not UTF-8: no table could hold them.
    """
    found = []
    for base, inner, names in walk(folder):
        inner[:] = [name for name in inner if not name.startswith(_LEFT)]
        below = Path(base).relative_to(folder)
        found += [(below / n).as_posix() for n in names if _is_picture(n)]
    if strange := [name for name in found if not _is_utf8(name)]:
        raise DataError(
            "file names that are not UTF-8", got=[f"{folder}/{printable(name)}" for name in strange[:5]],
            then="rename these files",
        )  # fmt: skip
    return sorted(found)


def by_class(folder: Path) -> dict[str, list[str]]:
    """Class folder -> its pictures as paths below `folder`. Folders without any, and pictures beside them, are told
    and left out.
    """
    found = {name: [f"{name}/{picture}" for picture in pictures(folder / name)] for name in folders(folder)}
    if empty := [str(folder / name) for name, images in found.items() if not images]:
        logging.getLogger("mien").warning("class folders without pictures, left out: %s", ", ".join(empty))
    tell_loose(folder)
    return {name: images for name, images in found.items() if images}


def tell_loose(folder: Path) -> None:
    """Tell of pictures that lie beside the folders of `folder`, and are in none."""
    if loose := sorted(path.name for path in folder.glob("*") if _is_picture(path.name) and path.is_file()):
        told = "%s: %s beside the folders, left out, the first: %s"
        logging.getLogger("mien").warning(told, folder, counted(len(loose), "picture"), printable(loose[0]))


def expressions(names: Iterable[str], where: Path) -> dict[str, str]:
    """Map the label names found at `where` to canonical expressions; the error for unknown ones names the place."""
    try:
        return canonical_all(names)
    except UsageError as error:
        raise UsageError(f"{where}: {error.what}", got=error.got, allowed=error.allowed, then=error.then) from None


def named(
    names: Iterable[str], where: Path, rename: Mapping[Any, str | None], own: Sequence[str]
) -> dict[str, str | None]:
    """Map the label names found at `where` to labels, None for those to leave out.

    `own` are labels beside the eight expressions. `rename` says what other names mean, whatever their case: an
    expression, one of `own`, or None to leave their pictures out. Raises UsageError for names that nobody knows, for a
    meaning or a label given to a name that is not there, and when nothing is left.
    """
    found = sorted(set(names))
    _check_own(own, where)
    meanings = _meanings(rename, own, where)
    if absent := meanings.keys() - set(map(_plain, found)):
        raise UsageError(f"{where}: `rename` has label names that are not there", got=sorted(absent), allowed=found)
    meanings = {**{label: label for label in own}, **meanings}
    given = {name: meanings[_plain(name)] for name in found if _plain(name) in meanings}
    if unused := sorted(set(own).difference(filter(None, given.values()))):
        raise UsageError(
            f"{where}: `own_labels` has labels that are not there", got=unused, allowed=found,
            then=f"say which of these it is, as in rename={{{found[0]}: {unused[0]}}}" if found else None,
        )  # fmt: skip
    if found and len(given) == len(found) and not any(given.values()):
        raise UsageError(f"{where}: `rename` leaves all pictures out", got=dict(rename))
    try:
        known = canonical_all(name for name in found if name not in given)
    except UsageError as error:
        raise UsageError(
            f"{where}: {error.what}", got=error.got, allowed=error.allowed,
            then="say what each means with the source's option rename, as in rename={Grumpy: anger, Confused: null}, "
            "where null leaves its pictures out; or keep it as a class, as in own_labels=[boredom]",
        ) from None  # fmt: skip
    return {**known, **given}


def _check_own(own: Sequence[str], where: Path) -> None:
    """Raise UsageError for a label of one's own that cannot be one, or is given twice."""
    if known := sorted(name for name in own if is_known(name)):
        raise UsageError(
            f"{where}: `own_labels` has names of the eight expressions", got=known,
            then="leave them out; what other names mean is said with rename",
        )  # fmt: skip
    if strange := sorted(name for name in own if not is_label(name)):
        raise UsageError(
            f"{where}: `own_labels` has names that no class can have", got=strange, allowed=OWN,
            then="give it a name, and say which folder or value it is, as in own_labels=[boredom], "
            "rename={Bored!: boredom}",
        )  # fmt: skip
    if len(set(own)) < len(own):
        raise UsageError(f"{where}: `own_labels` has a label twice", got=list(own))


def _meanings(rename: Mapping[Any, str | None], own: Sequence[str], where: Path) -> dict[str, str | None]:
    """The label for each name, in its plain form."""
    found: dict[str, str | None] = {}
    for name, meaning in rename.items():
        if isinstance(name, bool) or not isinstance(name, str | int):
            raise UsageError(
                f"{where}: a label name of `rename` is no text for YAML", got=name, allowed="text, or a whole number",
                then="put the name in quotes, as in rename={'No': neutral}",
            )  # fmt: skip
        if _plain(str(name)) in found:
            raise UsageError(f"{where}: `rename` has a label name twice, upper or lower case", got=name)
        try:
            found[_plain(str(name))] = meaning if meaning is None or meaning in own else canonical(meaning)
        except UsageError as error:
            raise UsageError(
                f"{where}: `rename` gives {name} a meaning that is no expression", got=meaning,
                allowed=[*EXPRESSIONS, *own], then=error.then or "a class of your own is named in own_labels",
            ) from None  # fmt: skip
    return found


def _plain(name: str) -> str:
    """A name without what typing it may change: spaces around it, case, the composition of its letters."""
    return normalize("NFC", name).strip().lower()


def first(root: Path, candidates: Sequence[str]) -> Path | None:
    """The first of `candidates` that exists below `root`, as a full path."""
    return next((root / name for name in candidates if (root / name).exists()), None)


def absent(dataset: str, root: Path, looked: Sequence[str], get: str) -> Absent:
    """The error for a folder that holds none of a dataset's layouts."""
    return Absent(f"no {dataset} found", got=root, allowed=" | ".join(looked), then=get)


def listing(path: Path, columns: Sequence[str], names: Sequence[str] = ()) -> pd.DataFrame:
    """Some columns of a CSV file of texts; one that begins without a line of names has those of `names`, if as many.

    Raises DataError for a file that is none, or lacks a column.
    """
    try:
        given = list(pd.read_csv(path, dtype=str, nrows=0).columns)
        bare = len(given) == len(names) and not set(columns) <= set(given)
        if not bare and not set(columns) <= set(given):
            raise DataError(f"{path} lacks a column", got=given, allowed=list(columns))
        return pd.read_csv(path, dtype=str, usecols=list(columns), names=list(names) if bare else None)
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a table", got=str(error).strip()) from None


def _is_utf8(name: str) -> bool:
    return not any("\udc80" <= character <= "\udcff" for character in name)


def _is_picture(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
