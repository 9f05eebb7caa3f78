"""Where results go: JSON lines, CSV or Parquet."""

import csv
import json
import shutil
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from mien.errors import DataError, MissingExtra, UsageError, unknown
from mien.files import replacing, told
from mien.runtime.collect import here, place_of
from mien.runtime.origin import Origin
from mien.runtime.results import Result, columns, document, json_line, rows

Write = Callable[[Result], None]
ORIGIN = "mien.origin"  # the key of a Parquet file's metadata under which its origin stands
_BEGIN = b'{"source":'
_GROUP = 8192  # rows held before a Parquet row group is written


def open_sink(
    path: Path | None, labels: Sequence[str], origin: Origin, resume: bool = False, again: bool = False
) -> AbstractContextManager[Write]:
    """A function that writes one result, to the format that the suffix of `path` names (None: JSON lines to stdout).

    Each line and row names the model and the detector that answered.
    CSV and Parquet files appear when the block ends; JSON lines are there as they are written, so that `resume`
    can go on with them. Raises UsageError when the file is already there, unless it is to be continued (`resume`) or
    written `again`.
    """
    if path is None:
        return _lines(sys.stdout, origin)
    opened = _SINKS.get(path.suffix.lower())
    if opened is None:
        raise unknown("output format", path.suffix or str(path), _SINKS)
    if resume and opened is not _jsonl:
        raise UsageError("only JSON lines can be resumed", got=path, allowed="--out NAME.jsonl")
    if path.exists() and not (resume or again):
        then = "add --resume to continue it, or choose another name" if opened is _jsonl else "choose another name"
        raise UsageError("the output already exists", got=path, then=then)
    return opened(path, labels, origin)


def finished(path: Path, origin: Origin, again: Collection[str]) -> dict[str, bool]:
    """The absolute paths whose results are complete in a JSON lines file, and whether they ended in an error.

    A video that broke off is one whose last line does not say that it is the last. Its lines are taken out of the file
    where it is at one of the places that are read `again`; nothing else ever is but a last line that is not whole.
    Raises DataError when the file holds something else, answers of another `origin`, or cannot be written.
    """
    if not path.exists():
        return {}
    done: dict[str, bool] = {}
    half: set[str] = set()
    end = 0
    with told(path), path.open("r+b") as stream:
        for number, line in enumerate(stream, 1):
            if not line.endswith(b"\n"):
                if not (line.startswith(_BEGIN) or _BEGIN.startswith(line)):
                    raise _foreign(path, number)
                break
            place, more, broken = _read_line(line, origin, path, number)
            (half.add if more else half.discard)(place)
            done[place] = broken
            end += len(line)
        stream.truncate(end)
    # What was named in another folder cannot be asked for from here.
    redone = {place for place in half if Path(place).is_absolute() and place in again}
    if redone:
        _take_out(path, redone)
    return {place: broken for place, broken in done.items() if place not in redone}


def _take_out(path: Path, places: Collection[str]) -> None:
    """Remove the lines of the sources at some places from a file of JSON lines."""
    path = path.resolve()  # a link stays one
    with told(path), replacing(path) as beside, path.open("rb") as old, beside.open("wb") as new:
        shutil.copymode(path, beside)
        new.writelines(line for line in old if _place(json.loads(line)) not in places)


def _place(result: Mapping[str, Any]) -> str:
    """Where a source is: its absolute path, or, if it was named in another folder, a name that nothing here has."""
    source = str(result["source"])
    absolute = Path(source).is_absolute() or result["folder"] == here()
    return place_of(source) if absolute else f"{result['folder']}/{source}"


def _read_line(line: bytes, origin: Origin, path: Path, number: int) -> tuple[str, bool, bool]:
    """What a line says: where its source is, whether more of it was to come, whether it ended in an error."""
    try:
        result = json.loads(line)
        theirs = Origin.of(result, origin.video)
        more = "frame" in result and not result.get("last", False)
        said = _place(result), more, result["error"] is not None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, UsageError) as error:
        raise _foreign(path, number) from error
    origin.check(theirs, f"{path} line {number}")
    return said


def _foreign(path: Path, number: int) -> DataError:
    return DataError(f"{path} line {number} is not a result as mien predict writes it", then="choose another name")


@contextmanager
def _lines(stream: TextIO, origin: Origin) -> Iterator[Write]:
    def write(result: Result) -> None:
        stream.write(json_line(document(result) | origin.beside(result)) + "\n")
        stream.flush()

    yield write


@contextmanager
def _jsonl(path: Path, labels: Sequence[str], origin: Origin) -> Iterator[Write]:
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as stream, _lines(stream, origin) as write:
            yield write


@contextmanager
def _csv(path: Path, labels: Sequence[str], origin: Origin) -> Iterator[Write]:
    with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns(labels))
        writer.writeheader()
        yield lambda result: writer.writerows(rows(result, labels, origin.model, origin.detector))


@contextmanager
def _parquet(path: Path, labels: Sequence[str], origin: Origin) -> Iterator[Write]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtra("writing Parquet", "parquet") from error
    kinds = dict.fromkeys(("source", "error", "model", "detector", "expression"), pa.string())
    kinds |= {"frame": pa.int64(), "face": pa.int32(), "identity": pa.int64(), "uncertain": pa.bool_()}
    schema = pa.schema(
        [(name, kinds.get(name, pa.float64())) for name in columns(labels)], {ORIGIN: json.dumps(asdict(origin))}
    )
    held: list[dict[str, Any]] = []
    with replacing(path) as beside, parquet.ParquetWriter(beside, schema) as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(held, schema=schema))
            held.clear()

        def write(result: Result) -> None:
            held.extend(rows(result, labels, origin.model, origin.detector))
            if len(held) >= _GROUP:
                flush()

        yield write
        flush()


_SINKS: dict[str, Callable[[Path, Sequence[str], Origin], AbstractContextManager[Write]]] = {
    ".jsonl": _jsonl,
    ".csv": _csv,
    ".parquet": _parquet,
}
