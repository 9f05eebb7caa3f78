"""The sources by name. A new one is a module beside this file, a line here, and a tree in the contract test."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError, validate_call

from mien.data.samples import Samples
from mien.data.sources import (
    affectnet,
    affectnet_hq,
    ckplus,
    fer2013,
    ferplus,
    folders,
    jaffe,
    manifest,
    mma,
    oheix,
    rafdb,
    synthetic,
)
from mien.errors import DataError, UsageError, unknown


@dataclass(frozen=True)
class Source:
    """How a dataset is read, what it is in one line, the file layouts it is known by, and where it comes from.

    `licence` is what weights that learned from it say of their terms, None where that is not settled; `of_fer2013`
    whether its pictures are FER2013's; `numbers_anew` whether a number stands for another person in each list of it.
    """

    load: Callable[..., Samples]
    about: str
    layout: tuple[str, ...]
    get: str
    needs_root: bool = True
    licence: str | None = None
    of_fer2013: bool = False
    numbers_anew: bool = False

    @property
    def options(self) -> dict[str, object]:
        """Names and defaults of the options beside the root."""
        parameters = inspect.signature(self.load).parameters
        return {name: parameter.default for name, parameter in parameters.items() if name != "root"}


SOURCES: dict[str, Source] = {
    "affectnet": Source(affectnet.load, affectnet.ABOUT, affectnet.LAYOUT, affectnet.GET),
    "affectnet-hq": Source(affectnet_hq.load, affectnet_hq.ABOUT, affectnet_hq.LAYOUT, affectnet_hq.GET),
    "ckplus": Source(ckplus.load, ckplus.ABOUT, ckplus.LAYOUT, ckplus.GET),
    "fer2013": Source(
        fer2013.load, fer2013.ABOUT, fer2013.LAYOUT, fer2013.GET, licence=fer2013.LICENCE, of_fer2013=True
    ),
    "ferplus": Source(
        ferplus.load, ferplus.ABOUT, ferplus.LAYOUT, ferplus.GET, licence=ferplus.LICENCE, of_fer2013=True
    ),
    "folders": Source(folders.load, folders.ABOUT, folders.LAYOUT, folders.GET, numbers_anew=True),
    "jaffe": Source(jaffe.load, jaffe.ABOUT, jaffe.LAYOUT, jaffe.GET),
    "manifest": Source(manifest.load, manifest.ABOUT, manifest.LAYOUT, manifest.GET, numbers_anew=True),
    "mma": Source(mma.load, mma.ABOUT, mma.LAYOUT, mma.GET),
    "oheix": Source(oheix.load, oheix.ABOUT, oheix.LAYOUT, oheix.GET, licence=fer2013.LICENCE, of_fer2013=True),
    "rafdb": Source(rafdb.load, rafdb.ABOUT, rafdb.LAYOUT, rafdb.GET),
    "synthetic": Source(
        synthetic.load, synthetic.ABOUT, synthetic.LAYOUT, synthetic.GET,
        needs_root=False, licence=synthetic.LICENCE, numbers_anew=True,
    ),
}  # fmt: skip


def needs_root(name: str) -> bool:
    """Whether a source reads files; an unknown one, which is told when it is loaded, counts as such."""
    return name not in SOURCES or SOURCES[name].needs_root


def load(name: str, root: str | Path | None = None, **options: Any) -> Samples:
    """Read a dataset by its catalogue name.

    Raises UsageError for an unknown source or option, a root that is lacking, or is given to a source that reads no
    files; DataError when the files are not there or not in its layout.
    """
    if name not in SOURCES:
        raise unknown("source", name, SOURCES)
    source, root = SOURCES[name], None if root is None else Path(root)
    for option in options:
        if option not in source.options:
            raise unknown(f"option of source '{name}'", option, source.options)
    if source.needs_root:
        if root is None:
            raise UsageError(f"source '{name}' needs a root folder", allowed=" | ".join(source.layout), then=source.get)
        if not root.exists():
            place = root.absolute()
            raise DataError("no such folder or file", got=place, allowed=" | ".join(source.layout), then=source.get)
    elif root is not None:
        raise UsageError(f"source '{name}' reads no files", got=root, then="leave the root out")
    try:
        return validate_call(source.load)(*([root] if source.needs_root else []), **options)
    except ValidationError as error:
        wrong = error.errors()[0]
        option = str(wrong["loc"][0])
        raise UsageError(f"option '{option}' of source '{name}': {wrong['msg']}", got=wrong["input"]) from None
