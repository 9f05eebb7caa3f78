"""Any tree with a folder per class, with or without a folder per split above."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mien.data.samples import Files, Samples, table
from mien.data.sources import tree
from mien.errors import DataError
from mien.labels import ordered

ABOUT = "any class-per-folder tree, with or without split folders"
LAYOUT = ("<class>/*", "{train,valid|val|validation,test}/<class>/*")
GET = "put the pictures into one folder per class"

Naming = Callable[[Iterable[str], Path], Mapping[str, str | None]]


def load(root: Path, rename: Mapping[Any, str | None] | None = None, own_labels: Sequence[str] = ()) -> Samples:
    """Read `<class>/*` or `<split>/<class>/*`; folder names are expression names in any of their forms.

    `rename` says which label a folder of another name stands for, or None to leave it out; `own_labels` are classes
    beside the eight expressions.
    """
    return read(root, root, "folders", partial(tree.named, rename=rename or {}, own=own_labels))


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
    for above in split_folders or [""]:
        folder = base / above
        for name, found in tree.by_class(folder).items():
            image += [(folder / picture).relative_to(root).as_posix() for picture in found]
            label += [name] * len(found)
            split += [tree.SPLIT_FOLDERS.get(above.lower())] * len(found)
    if not image:
        raise tree.absent("class folders", base, LAYOUT, GET)
    meant = named(label, base)
    rows = table(image, [meant[name] for name in label], split=split, source=source)
    rows = rows[rows["label"].notna()].reset_index(drop=True)
    return Samples(rows, ordered(rows["label"]), Files(root))
