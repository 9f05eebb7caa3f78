"""Expressions in any number of pictures and videos, answered in lots, each of them one Parquet file."""

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from secrets import token_hex
from socket import gethostname
from time import monotonic, sleep
from typing import Literal, NamedTuple

import cv2

from mien.errors import DataError, MienError, MissingExtra, RunError, UsageError
from mien.files import digest, printable, told
from mien.runtime.collect import Item, collect, once
from mien.runtime.origin import Origin
from mien.runtime.predict import predict
from mien.runtime.recognizer import Recognizer, load
from mien.runtime.results import shows_none
from mien.runtime.sinks import ORIGIN, open_sink
from mien.scale.cluster import Died, Unfit, shared_out

Lot = tuple[Item, ...]
_HOPELESS = 3  # sources that died, each alone, before any was answered: then it is not the sources


@dataclass(frozen=True)
class Job:
    """How lots are answered: the recogniser's model and its batch, what its answers must come from, the folder of the
    Parquet files, and the name of a file in it that every machine must see, `patience` seconds after it was made.
    """

    model: str
    batch: int
    origin: Origin
    out: Path
    mark: str = ""
    patience: float = 60.0  # a network file system may show what it showed before for as long


class Tally(NamedTuple):
    """How many sources were answered, how many faces they show, and how many pictures show none; what went wrong, by
    source."""

    sources: int = 0
    faces: int = 0
    without_face: int = 0
    errors: tuple[tuple[str, str], ...] = ()

    def plus(self, other: "Tally") -> "Tally":
        return Tally(
            self.sources + other.sources,
            self.faces + other.faces,
            self.without_face + other.without_face,
            self.errors + other.errors,
        )


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
            theirs = Origin.of(json.loads((table.schema.metadata or {})[ORIGIN.encode()]))
        except (ArrowInvalid, KeyError, TypeError, ValueError, OSError, UsageError) as error:
            raise DataError(f"{path} is not a file of answers", then="choose another folder") from error
        origin.check(theirs, str(path))
        for source, wrong in zip(table["source"].to_pylist(), table["error"].to_pylist(), strict=True):
            found[source] = found.get(source, False) or wrong is not None
    return found


def unanswered(paths: Iterable[str], done: Collection[str]) -> tuple[list[Item], list[str]]:
    """What is still to be answered of the pictures and videos below some paths, and the sources that are `done`.

    Paths are absolute, since each process of a cluster stands in a folder of its own. Raises UsageError for a camera.
    """
    # Not `os.path.abspath`: behind a link, `..` leads elsewhere.
    items = once(collect(str(Path(path).absolute()) if os.path.lexists(path) else path for path in paths))
    if cameras := [item.source for item in items if item.kind == "camera"]:
        raise UsageError("a cluster sees no camera", got=cameras, then="mien predict 0")
    known = {item.source: printable(item.source) in done for item in items}
    left = [item for item in items if not known[item.source]]
    return left, [printable(source) for source, there in known.items() if there]


def answer(job: Job, recognizer: Recognizer, lot: Lot) -> Tally:
    """Write the answers to a lot as one file, whole or not at all, in place of one that an earlier try has written."""
    faces, without_face, errors = 0, 0, {}
    with open_sink(_place(job, lot), recognizer.labels, job.origin, again=True) as write:
        for result in predict(lot, recognizer, job.origin.video):
            write(result)
            faces += len(result.faces)
            without_face += shows_none(result)
            if result.error is not None:
                errors[result.source] = result.error
    return Tally(len(lot), faces, without_face, tuple(errors.items()))


def work(job: Job, lot: Lot) -> Tally:
    """`answer` in a process of the cluster. What its machine does not see has no answer, and is told.

    Raises Unfit where the machine has another folder of that name or cannot load the model, DataError where it has
    another model or detector.
    """
    since = monotonic()
    while not (job.out / job.mark).exists():
        if monotonic() - since > job.patience:
            raise Unfit(
                "has another folder of that name, or none", got=job.out, then="put --out on storage that all share"
            )
        sleep(min(1.0, job.patience))
    recognizer = _recognizer(job)
    seen = {item: item.kind == "broken" or os.path.lexists(item.source) for item in lot}
    there = tuple(item for item in lot if seen[item])
    gone = tuple((item.source, f"not there on {gethostname()}") for item in lot if not seen[item])
    found = answer(job, recognizer, there) if there else Tally()
    return found.plus(Tally(len(gone), errors=gone))


def spread(
    job: Job,
    items: Sequence[Item],
    size: int,
    moved: Callable[[int, int], None],
    work: Callable[[Job, Lot], Tally] = work,
) -> Tally:
    """Answer all items on the cluster that is connected, `size` pictures a lot.

    A lot whose process died is halved until the source that kills it is alone, which is then told among the errors, and
    has no answer. `moved(done, all)` hears of every lot. Raises the error of a machine that cannot answer, RunError
    where processes die whatever they look at.
    """
    tally, more, died = Tally(), list[Lot](), 0
    moved(0, len(items))
    with _marked(job) as marked:
        for lot, found in shared_out(lots(items, size), partial(work, marked), more):
            if isinstance(found, Died) and len(lot) > 1:
                more += [lot[: len(lot) // 2], lot[len(lot) // 2 :]]
                continue
            if isinstance(found, Died):
                why = f"the process that looked at it died: {found}"
                found, died = Tally(1, errors=((lot[0].source, why),)), died + 1
            elif isinstance(found, Exception):
                raise found
            tally = tally.plus(found)
            if died == tally.sources == _HOPELESS:
                raise RunError(
                    "the processes of the cluster die whatever they look at", got=tally.errors[0][1],
                    then="see whether this works there: mien predict PICTURE",
                )  # fmt: skip
            moved(tally.sources, len(items))
    return tally


@contextmanager
def _marked(job: Job) -> Iterator[Job]:
    """The job with a mark in its folder, out of which what an interrupted one left is cleared."""
    with told(job.out):
        job.out.mkdir(parents=True, exist_ok=True)
        for left in (*job.out.glob(".part-*"), *job.out.glob(".job-*")):
            left.unlink(missing_ok=True)
        mark = job.out / f".job-{token_hex(4)}"
        mark.touch()
    try:
        yield replace(job, mark=mark.name)
    finally:
        mark.unlink(missing_ok=True)


def _place(job: Job, lot: Lot) -> Path:
    return job.out / f"part-{digest(*(item.source for item in lot))[:16]}.parquet"


@lru_cache(maxsize=1)
def _recognizer(job: Job) -> Recognizer:
    cv2.setNumThreads(1)  # a process has one core, and its neighbours the others
    named, origin = job.origin.detector, job.origin
    crop: Literal["face", "whole"] = "whole" if named is None else "face"
    detector = "auto" if named in (None, "chain") else str(named)
    try:
        found = load(job.model, detector=detector, crop=crop, batch=job.batch, workers=1)
    except MienError as error:
        raise Unfit(
            f"cannot load the model: {error.what}", got=error.got, allowed=error.allowed, then=error.then
        ) from error
    origin.check(Origin(found.model, found.detector, origin.video), "a machine of the cluster")
    return found
