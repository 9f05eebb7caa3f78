"""The ledger beside the runs: how often the test split of a protocol has been opened, by which run, and when."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from mien.errors import RunError
from mien.files import told

NAME = "ledger.jsonl"


class Opening(NamedTuple):
    """One evaluation on a test split; `run` is a path from the ledger's folder, `time` is UTC in ISO 8601."""

    protocol: str
    run: str
    time: str


def record(runs: Path, protocol: str, run: str) -> int:
    """Note that `run`, in the folder `runs`, opened the test split of `protocol` (`name@digest`); how often by now.

    Seeds of all recipes are called alike, so the line has the folder of theirs too. It is appended in one write, so
    that runs side by side lose none. Raises DataError where it cannot be written.
    """
    path = _nearest(runs)
    where = (runs.resolve() / run).relative_to(path.parent).as_posix()
    opening = Opening(protocol, where, datetime.now(UTC).isoformat(timespec="seconds"))
    line = json.dumps(opening._asdict(), ensure_ascii=False) + "\n"
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)
    return count(runs, protocol)


def begin(runs: Path) -> None:
    """Let runs in folders below `runs` share one ledger: an empty one there, unless there is one in their reach."""
    path = _nearest(runs, 1)
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def openings(runs: Path) -> list[Opening]:
    """Every opening noted beside the runs, oldest first. Raises RunError for a line that is not one."""
    path = _nearest(runs)
    if not path.is_file():
        return []
    found = []
    # A run beside this one may be in the middle of its line: what follows the last line break is not yet an entry.
    *whole, _ = path.read_bytes().split(b"\n")
    for number, line in enumerate(whole, 1):
        try:
            found.append(Opening(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise RunError(
                f"{path}, line {number}: not an entry of the ledger", got=line[:80].decode(errors="replace")
            ) from error
    return found


def count(runs: Path, protocol: str) -> int:
    """How often the test split with this digest has been opened, under whatever name."""
    wanted = protocol.rpartition("@")[2]
    return sum(opening.protocol.rpartition("@")[2] == wanted for opening in openings(runs))


def _nearest(runs: Path, above: int = 2) -> Path:
    """The ledger in `runs`, else in one of the folders `above` it, else a new one in `runs`.

    Seeds, folds and the cells of a comparison are in a folder of their own below the other runs, and share their count.
    """
    runs = runs.resolve()
    return next((folder / NAME for folder in (runs, *runs.parents[:above]) if (folder / NAME).is_file()), runs / NAME)
