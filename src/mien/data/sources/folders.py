"""Any tree with a folder per class, with or without a folder per split above."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mien.data.samples import Files, Samples, table
from mien.data.sources import tree
from mien.errors import DataError
from mien.labels import label_set

ABOUT = "any class-per-folder tree, with or without split folders"
LAYOUT = ("<class>/*", "{train,valid|val|validation,test}/<class>/*")
GET = "put the pictures into one folder per class"


def load(root: Path, rename: Mapping[Any, str | None] | None = None) -> Samples:
    """Read `<class>/*` or `<split>/<class>/*`; folder names are expression names in any of their forms.

    `rename` says which expression a folder of another name stands for, or None to leave it out.
    """
    return read(root, root, "folders", rename or {})


def read(root: Path, base: Path, source: str, rename: Mapping[Any, str | None] | None = None) -> Samples:
    """The class folders below `base` as samples whose paths are below `root`; `rename` as in `load`, None for a source
    with no names but its own.
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
    meant = tree.expressions(label, base) if rename is None else tree.renamed(label, base, rename)
    rows = table(image, [meant[name] for name in label], split=split, source=source)
    rows = rows[rows["label"].notna()].reset_index(drop=True)
    return Samples(rows, label_set(rows["label"]), Files(root))
