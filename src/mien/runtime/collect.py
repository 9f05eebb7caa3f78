"""What people point at, as a stream of things to look at: pictures, videos, folders, cameras, lists of paths."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mien.errors import UsageError
from mien.files import digest, told, walk
from mien.imaging.decode import SUFFIXES

VIDEOS = frozenset(
    {
        ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts", ".m2ts",
        ".3gp", ".ogv",
    }
)  # fmt: skip

_DRAWINGS = ".mien-drawings"  # a file in each folder of drawings


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to look at; of a broken one, `error` says why it cannot be."""

    source: str
    kind: Literal["picture", "video", "camera", "broken"]
    error: str | None = None

    @property
    def place(self) -> str:
        """What tells it from others, wherever it is named from: its absolute path."""
        return place_of(self.source)


def collect(paths: Iterable[str]) -> Iterator[Item]:
    """An item for every path, and for every picture and video in a folder, at any depth and in order of their names;
    links are followed, into each folder once.

    A number that is no file's name is a camera. Hidden files, and files in folders that are neither pictures nor
    videos by their suffix, are passed over, and so is a folder of drawings inside of another; a file named itself is
    taken for a picture unless its suffix is a video's.
    """
    for path in paths:
        # os.path answers False where pathlib raises: for names too long, and below folders that may not be read.
        if os.path.isdir(path):  # noqa: PTH112
            yield from _folder(path)
        elif is_camera(path) and not os.path.exists(path):  # noqa: PTH110
            yield Item(path, "camera")
        elif not os.path.lexists(path):
            yield Item(path, "broken", f"{path} does not exist")
        else:
            yield _file(path)


def once(items: Iterable[Item], seen: set[str] | None = None) -> list[Item]:
    """The items without those of a path that came before, however it was written: `a/b.png`, `./a//b.png`.

    The paths are added to those `seen` in earlier calls.
    """
    seen, found = set() if seen is None else seen, []
    for item in items:
        if item.place not in seen:
            seen.add(item.place)
            found.append(item)
    return found


def place_of(source: str) -> str:
    """The absolute path of a source, without what can be left out; behind a link, `..` cannot."""
    return str(Path(source).absolute())


def here() -> str:
    """A mark of the folder that this process works in: its name may tell whose it is, and results are passed on."""
    return digest(str(Path.cwd()))[:12]


def set_apart(folder: Path) -> None:
    """Make a folder for drawings, which `collect` then passes over inside of others: they are no pictures of faces
    to look at. Raises UsageError for a folder that holds other files, DataError where it cannot be made.
    """
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / _DRAWINGS).exists() and any(folder.iterdir()):
            raise UsageError(
                "the folder for drawings holds other files", got=folder, allowed="a new folder, or one of drawings"
            )
        (folder / _DRAWINGS).touch()


def is_camera(text: str) -> bool:
    """Whether a text is the number of a camera, where no file is called so."""
    return text.isascii() and text.isdecimal() and len(text) < 10


def _folder(top: str) -> Iterator[Item]:
    failures: list[OSError] = []
    for folder, folders, files in walk(top, failures.append):
        inner = (name for name in folders if not name.startswith("."))
        folders[:] = sorted(name for name in inner if not os.path.exists(os.path.join(folder, name, _DRAWINGS)))  # noqa: PTH110, PTH118
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES | VIDEOS:
                yield _file(os.path.join(folder, name))  # noqa: PTH118
    for failure in failures:
        yield Item(str(failure.filename), "broken", f"{failure.filename} cannot be read: {failure.strerror}")


def _file(path: str) -> Item:
    # Opening a pipe waits for its writer, perhaps for ever.
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113
        return Item(path, "broken", f"{path} is not a regular file")
    return Item(path, "video" if Path(path).suffix.lower() in VIDEOS else "picture")
