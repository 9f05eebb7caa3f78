"""Where results go: JSON lines, CSV or Parquet."""

import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TextIO

from mien.errors import DataError, MissingExtra, UsageError, unknown
from mien.files import replacing, told
from mien.runtime.results import Result, columns, document, json_line, rows

Write = Callable[[Result], None]
_BEGIN = b'{"source":'
_GROUP = 8192  # rows held before a Parquet row group is written


def open_sink(
    path: Path | None, labels: Sequence[str], model: str, resume: bool = False
) -> AbstractContextManager[Write]:
    """A function that writes one result, to the format that the suffix of `path` names (None: JSON lines to stdout).

    Each line and row names the `model` that answered.
    CSV and Parquet files appear when the block ends; JSON lines are there as they are written, so that `resume`
    can go on with them. Raises UsageError when the file is already there and `resume` is not set.
    """
    if path is None:
        return _lines(sys.stdout, model)
    opened = _SINKS.get(path.suffix.lower())
    if opened is None:
        raise unknown("output format", path.suffix or str(path), _SINKS)
    if resume and opened is not _jsonl:
        raise UsageError("only JSON lines can be resumed", got=path, allowed="--out NAME.jsonl")
    if path.exists() and not resume:
        then = "add --resume to continue it, or choose another name" if opened is _jsonl else "choose another name"
        raise UsageError("the output already exists", got=path, then=then)
    return opened(path, labels, model)


def finished(path: Path, model: str, again: Callable[[str], bool]) -> dict[str, bool]:
    """The sources whose results are complete in a JSON lines file, and whether they ended in an error.

    Results stand in order, so only the last video may have been left half done: it is where its last line does not say
    that it is the last. Its lines are cut off the file where `again(source)` says that it is to be read now; nothing
    else is ever cut but a line that is not whole.
    Raises DataError when the file holds something else, answers of another `model`, or cannot be written.
    """
    if not path.exists():
        return {}
    done: dict[str, bool] = {}
    last, half, start, end = "", False, 0, 0
    with told(path), path.open("r+b") as stream:
        for number, line in enumerate(stream, 1):
            if not line.endswith(b"\n"):
                if not (line.startswith(_BEGIN) or _BEGIN.startswith(line)):
                    raise _foreign(path, number)
                break
            source, half, broken = _read_line(line, model, path, number)
            if source != last:
                last, start = source, end
            done[source] = broken
            end += len(line)
        if redone := half and again(last):
            del done[last]
        stream.truncate(start if redone else end)
    return done


def _read_line(line: bytes, model: str, path: Path, number: int) -> tuple[str, bool, bool]:
    """What a line says: its source, whether more of it was to come, whether it ended in an error."""
    try:
        result = json.loads(line)
        theirs = str(result["model"])
        more = "frame" in result and not result.get("last", False)
        said = str(result["source"]), more, result["error"] is not None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _foreign(path, number) from error
    if theirs != model:
        raise DataError(
            f"{path} line {number} was written by another model", got=theirs, allowed=model,
            then="continue with that model, or choose another name",
        )  # fmt: skip
    return said


def _foreign(path: Path, number: int) -> DataError:
    return DataError(f"{path} line {number} is not a result of mien predict", then="choose another name")


@contextmanager
def _lines(stream: TextIO, model: str) -> Iterator[Write]:
    def write(result: Result) -> None:
        stream.write(json_line(document(result) | {"model": model}) + "\n")
        stream.flush()

    yield write


@contextmanager
def _jsonl(path: Path, labels: Sequence[str], model: str) -> Iterator[Write]:
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as stream, _lines(stream, model) as write:
            yield write


@contextmanager
def _csv(path: Path, labels: Sequence[str], model: str) -> Iterator[Write]:
    with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns(labels))
        writer.writeheader()
        yield lambda result: writer.writerows(rows(result, labels, model))


@contextmanager
def _parquet(path: Path, labels: Sequence[str], model: str) -> Iterator[Write]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtra("writing Parquet", "parquet") from error
    kinds = {"source": pa.string(), "frame": pa.int64(), "error": pa.string(), "face": pa.int32()}
    kinds |= {"identity": pa.int64(), "expression": pa.string(), "uncertain": pa.bool_(), "model": pa.string()}
    schema = pa.schema([(name, kinds.get(name, pa.float64())) for name in columns(labels)])
    held: list[dict[str, Any]] = []
    with replacing(path) as beside, parquet.ParquetWriter(beside, schema) as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(held, schema=schema))
            held.clear()

        def write(result: Result) -> None:
            held.extend(rows(result, labels, model))
            if len(held) >= _GROUP:
                flush()

        yield write
        flush()


_SINKS: dict[str, Callable[[Path, Sequence[str], str], AbstractContextManager[Write]]] = {
    ".jsonl": _jsonl,
    ".csv": _csv,
    ".parquet": _parquet,
}
