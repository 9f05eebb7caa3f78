"""Prepared pictures that are kept: what lies in the cache folder, since when it was not used, and its removal."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

from mien.files import cache_folder, hidden, read_json, told


@dataclass(frozen=True)
class Kept:
    """One dataset after one chain. `bytes` on disk; `used` in seconds since 1970, when a run last asked for it."""

    folder: Path
    source: str
    pictures: int
    chain: list[Any]
    bytes: int
    used: float


def kept(cache: Path | None = None) -> list[Kept]:
    """What is kept below a cache folder, what was used last first."""
    folders = ((cache or cache_folder()) / "prepared").glob("[!.]*/about.json")
    return sorted((_kept(about) for about in folders), key=lambda one: -one.used)


def remove(found: Sequence[Kept]) -> None:
    """Remove what `kept` found; a run that reads it at this moment reads on, and the next one prepares it anew.

    Raises DataError where it may not be removed.
    """
    for one in found:
        # Out of sight first: a removal that is killed must not leave half of what runs count on.
        gone = hidden(one.folder)
        with told(one.folder), suppress(FileNotFoundError):
            one.folder.rename(gone)
            rmtree(gone)


def _kept(about: Path) -> Kept:
    said = read_json(about)
    size = sum(path.stat().st_size for path in about.parent.iterdir())
    return Kept(about.parent, said.get("source", "unknown"), said["rows"], said["chain"], size, about.stat().st_mtime)
