"""Expressions in any number of pictures and videos, answered in lots, each of them one Parquet file."""

import json
import os
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

from mien.errors import DataError, MissingExtra, UsageError
from mien.files import digest, printable
from mien.runtime.collect import Item, collect, once
from mien.runtime.origin import Origin
from mien.runtime.predict import predict
from mien.runtime.recognizer import Recognizer, load
from mien.runtime.sinks import ORIGIN, open_sink
from mien.scale.cluster import Died, shared_out

Lot = tuple[Item, ...]


@dataclass(frozen=True)
class Job:
    """How lots are answered: the recogniser's model and its batch, what its answers must come from, and the folder
    of the Parquet files.
    """

    model: str
    batch: int
    origin: Origin
    out: Path


def lots(items: Iterable[Item], size: int) -> Iterator[Lot]:
    """The items in lots of `size` pictures; each video is one by itself.

    >>> [len(lot) for lot in lots([Item(f"{n}.png", "picture") for n in range(5)] + [Item("a.mp4", "video")], 2)]
    [1, 2, 2, 1]
    """
    found = list(items)
    yield from ((item,) for item in found if item.kind == "video")
    rest = (item for item in found if item.kind != "video")
    while lot := tuple(islice(rest, size)):
        yield lot


def answered(out: Path, origin: Origin) -> dict[str, bool]:
    """The sources that the files in a folder answer, and whether they ended in an error.

    Raises DataError for a file that is none of ours, or whose answers come from another `origin`.
    """
    try:
        from pyarrow import ArrowInvalid, parquet
    except ImportError as error:
        raise MissingExtra("a cluster", "cluster") from error
    found: dict[str, bool] = {}
    for path in sorted(out.glob("*.parquet")):
        try:
            table = parquet.read_table(path, columns=["source", "error"])
            theirs = json.loads((table.schema.metadata or {})[ORIGIN.encode()])
        except (ArrowInvalid, KeyError, ValueError, OSError) as error:
            raise DataError(f"{path} is not a file of answers", then="choose another folder") from error
        origin.check(Origin.of(theirs), str(path))
        for source, wrong in zip(table["source"].to_pylist(), table["error"].to_pylist(), strict=True):
            found[source] = found.get(source, False) or wrong is not None
    return found


def unanswered(paths: Iterable[str], done: Collection[str]) -> tuple[list[Item], list[str]]:
    """What is still to be answered of the pictures and videos below some paths, and the sources that are `done`.

    Paths are absolute, since each process of a cluster stands in a folder of its own. Raises UsageError for a camera.
    """
    items = once(collect(os.path.abspath(path) if os.path.lexists(path) else path for path in paths))  # noqa: PTH100
    if cameras := [item.source for item in items if item.kind == "camera"]:
        raise UsageError("a cluster sees no camera", got=cameras, then="mien predict 0")
    known = {item.source: printable(item.source) in done for item in items}
    return [item for item in items if not known[item.source]], [
        printable(name) for name, is_in in known.items() if is_in
    ]


def answer(job: Job, recognizer: Recognizer, lot: Lot) -> Counter[str]:
    """Write the answers to a lot as one file, whole or not at all; counts of its sources, faces and broken sources."""
    tally = Counter(sources=len(lot), faces=0, broken=0)
    broken: set[str] = set()
    with open_sink(_place(job.out, lot), recognizer.labels, job.origin) as write:
        for result in predict(lot, recognizer, job.origin.video):
            write(result)
            tally["faces"] += len(result.faces)
            if result.error is not None:
                broken.add(result.source)
    tally["broken"] = len(broken)
    return tally


def worker(job: Job) -> Callable[[Lot], Counter[str]]:
    """What answers lots in a process of the cluster. Raises DataError where this machine has another model."""
    origin = job.origin
    named = origin.detector if origin.detector not in (None, "chain") else "auto"
    crop: Literal["face", "whole"] = "whole" if origin.detector is None else "face"
    recognizer = load(job.model, detector=named or "auto", crop=crop, batch=job.batch, workers=1)
    origin.check(Origin(recognizer.model, recognizer.detector, origin.video), "a machine of the cluster")
    return partial(answer, job, recognizer)


def spread(job: Job, items: Sequence[Item], size: int, workers: int, moved: Callable[[int, int], None]) -> Counter[str]:
    """Answer all items on the cluster that is connected; counts of sources, faces and broken sources.

    A lot whose process died is halved until the source that kills it is alone, which is then told as broken.
    `moved(done, all)` hears of every lot. Raises the error of a machine that cannot answer.
    """
    tally: Counter[str] = Counter()
    todo = deque(lots(items, size))
    moved(0, len(items))
    for lot, found in shared_out(todo, partial(worker, job), workers):
        if isinstance(found, Died):
            if len(lot) > 1:
                todo.extend((lot[: len(lot) // 2], lot[len(lot) // 2 :]))
                continue
            told = replace(lot[0], kind="broken", error=f"{lot[0].source}: the process that looked at it died")
            found = answer(job, load(job.model), (told,))
        elif isinstance(found, Exception):
            raise found
        tally += found
        moved(tally["sources"], len(items))
    return tally


def _place(out: Path, lot: Lot) -> Path:
    return out / f"part-{digest(*(item.source for item in lot))[:16]}.parquet"
