"""Any tree with a folder per class, with or without a folder per split above, or with names that follow a pattern."""

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mien.data.samples import Files, Samples, table
from mien.data.sources import tree
from mien.errors import DataError, UsageError, counted, unknown
from mien.imaging.decode import READABLE
from mien.labels import is_known, ordered

ABOUT = "any class-per-folder tree, with or without split folders, or names that follow a pattern"
LAYOUT = ("<class>/*", "{train,valid|val|validation,test}/<class>/*")
GET = "put the pictures into one folder per class, or say how their paths are built: pattern=<subject>/<label>_*.jpg"

PLACES = ("label", "subject", "sequence", "split")

Naming = Callable[[Iterable[str], Path], Mapping[str, str | None]]


def load(
    root: Path,
    rename: Mapping[Any, str | None] | None = None,
    own_labels: Sequence[str] = (),
    pattern: str | None = None,
) -> Samples:
    """Read `<class>/*` or `<split>/<class>/*`; folder names are expression names in any of their forms.

    `rename` says which label a folder of another name stands for, or None to leave it out; `own_labels` are classes
    beside the eight expressions. With `pattern`, such as `<subject>/<label>_*.jpg`, the paths below `root` say what the
    pictures show; those that do not match it are left out.
    """
    if pattern is not None:
        return _by_pattern(root, pattern, partial(tree.named, rename=rename or {}, own=own_labels))
    return read(root, root, "folders", partial(_named, rename=rename or {}, own=own_labels))


def read(root: Path, base: Path, source: str, named: Naming = tree.expressions) -> Samples:
    """The class folders below `base` as samples whose paths are below `root`; `named` maps the names of the folders,
    with the place where they are, to labels, or to None for those to leave out.
    """
    names = tree.folders(base)
    split_folders = [name for name in names if name.lower() in tree.SPLIT_FOLDERS]
    if split_folders and len(split_folders) < len(names):
        raise DataError(
            f"split folders and other folders side by side in {base}",
            got=[name for name in names if name not in split_folders],
            allowed="class folders only, or split folders only",
        )
    image: list[str] = []
    label: list[str] = []
    split: list[str | None] = []
    empty: list[str] = []
    if split_folders:
        tree.tell_loose(base)
    for above in split_folders or [""]:
        folder = base / above
        classes = tree.by_class(folder)
        empty += [str(folder / name) for name in tree.folders(folder) if name not in classes]
        for name, found in classes.items():
            image += [(folder / picture).relative_to(root).as_posix() for picture in found]
            label += [name] * len(found)
            split += [tree.SPLIT_FOLDERS.get(above.lower())] * len(found)
    if empty and len(set(label)) < 2:
        raise DataError(
            "class folders without pictures", got=empty, allowed=f"files ending in {', '.join(sorted(READABLE))}",
            then="fill these folders or delete them",
        )  # fmt: skip
    if not image:
        raise tree.absent("class folders", base, LAYOUT, GET)
    meant = named(label, base)
    rows = table(image, [meant[name] for name in label], split=split, source=source)
    rows = rows[rows["label"].notna()].reset_index(drop=True)
    return Samples(rows, ordered(rows["label"]), Files(root))


def _named(
    names: Iterable[str], where: Path, rename: Mapping[Any, str | None], own: Sequence[str]
) -> Mapping[str, str | None]:
    """As `tree.named`; where no folder is named after an expression, the error names the other ways to read a tree."""
    try:
        return tree.named(names, where, rename, own)
    except UsageError as error:
        if rename or own or any(map(is_known, names)):
            raise
        then = (
            f"{error.then}; where these are people, say how paths are built, as in "
            "pattern=<subject>/<label>_*.jpg; or list the pictures for the source manifest"
        )
        if len(found := set(names)) == 1 and tree.folders(inner := where / min(found)):
            then = f"give {inner}, if the folders of the classes are there; else {then}"
        raise UsageError(error.what, got=error.got, allowed=error.allowed, then=then) from None


def _by_pattern(root: Path, pattern: str, named: Naming) -> Samples:
    expression, found = _expression(pattern), tree.pictures(root)
    if not found:
        raise tree.absent("pictures", root, LAYOUT, GET)
    hits = {picture: hit for picture in found if (hit := expression.fullmatch(picture))}
    if not hits:
        raise DataError(
            f"no picture below {root} is named as the pattern says", got=pattern,
            then=f"write it as these paths are built: {', '.join(found[:: max(1, len(found) // 3)][:3])}",
        )  # fmt: skip
    if others := [picture for picture in found if picture not in hits]:
        told = "%s: %s not named as %s, left out, the first: %s"
        logging.getLogger("mien").warning(told, root, counted(len(others), "picture"), pattern, ", ".join(others[:3]))
    places = {name: [hit[name] for hit in hits.values()] for name in PLACES if name in expression.groupindex}
    label = places.pop("label")
    meant = named(label, root)
    if "split" in places:
        places["split"] = _parts(places["split"], root)
    rows = table(list(hits), [meant[name] for name in label], source="folders", **places)
    rows = rows[rows["label"].notna()].reset_index(drop=True)
    return Samples(rows, ordered(rows["label"]), Files(root))


def _parts(names: Sequence[str], where: Path) -> list[str]:
    """The parts that names of split folders mean. Raises DataError for other names."""
    if strange := sorted({name for name in names if name.lower() not in tree.SPLIT_FOLDERS}):
        raise DataError(
            f"{where}: what <split> stands for is not the name of a part", got=strange[:5],
            allowed=list(tree.SPLIT_FOLDERS),
        )  # fmt: skip
    return [tree.SPLIT_FOLDERS[name.lower()] for name in names]


def _expression(pattern: str) -> re.Pattern[str]:
    """What paths match. Raises UsageError for a place that nobody knows or that stands twice, and without a label."""
    parts = re.split(r"<([^<>]*)>", pattern.replace("\\", "/"))
    names = parts[1::2]
    for name in names:
        if name not in PLACES:
            raise unknown("place in the pattern", name, PLACES)
    if names.count("label") != 1 or len(set(names)) < len(names):
        raise UsageError(
            "a pattern has the place <label> once, and may have <subject>, <sequence> and <split>", got=pattern,
            then="write it as in pattern=<subject>/<label>_*.jpg, where * stands for any characters but /, ? for one",
        )  # fmt: skip
    parts[0::2] = [re.escape(part).replace(r"\*", "[^/]*").replace(r"\?", "[^/]") for part in parts[0::2]]
    parts[1::2] = [f"(?P<{name}>[^/]+?)" for name in names]
    return re.compile("".join(parts), re.IGNORECASE)
