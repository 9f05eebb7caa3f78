"""mien predict: expressions of the faces in pictures, folders, videos and cameras."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from io import TextIOWrapper
from itertools import chain, groupby
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.options import AsJson, Batch, Crop, Detector, Every, Model, listed
from mien.cli.printing import outcome
from mien.errors import DataError, UsageError, counted
from mien.weights import DEFAULT

if TYPE_CHECKING:
    from mien.runtime.collect import Item
    from mien.runtime.origin import Origin
    from mien.runtime.results import Result


def predict(
    paths: Annotated[
        list[str], typer.Argument(help="Pictures, folders, videos, a camera's number, or - for paths on stdin.")
    ],
    out: Annotated[Path | None, typer.Option(help="NAME.jsonl, .csv or .parquet; - for JSON lines on stdout.")] = None,
    annotate: Annotated[Path | None, typer.Option(help="A folder for annotated pictures and videos.")] = None,
    model: Model = DEFAULT,
    crop: Crop = "face",
    detector: Detector = "auto",
    batch: Batch = 64,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Cores that one forward pass may use.")] = 1,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Pictures read and searched at once; default: one per core, up to 8."),
    ] = None,
    every: Every = 1,
    detect_every: Annotated[
        int,
        typer.Option(min=1, max=30, help="Video: detect faces in every n-th sampled frame, at least twice a second."),
    ] = 3,
    start: Annotated[float, typer.Option(min=0, help="Video: begin at this second.")] = 0.0,
    end: Annotated[float | None, typer.Option(min=0, help="Video: stop at this second.")] = None,
    smoothing: Annotated[float, typer.Option(min=0, help="Video: time constant of smoothing, in seconds.")] = 0.3,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a JSON lines file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Name the expressions of the faces in pictures, folders (at any depth), videos and cameras.

    If a picture or video cannot be read, it is reported and the rest is processed; the command then exits with 1.
    Without --out, one line per face is printed.

    Example: mien predict holiday/ clip.mp4 --out faces.jsonl --annotate drawn/
    """
    from mien.files import alone, printable
    from mien.imaging.decode import READABLE
    from mien.runtime.collect import VIDEOS, set_apart
    from mien.runtime.origin import Origin
    from mien.runtime.predict import predict as answers
    from mien.runtime.recognizer import load
    from mien.runtime.results import json_line, shows_none
    from mien.runtime.sinks import finished
    from mien.runtime.video import VideoOptions

    _check(out, annotate, as_json, resume)
    video = VideoOptions(every, start, end, detect_every, smoothing)
    began = monotonic()
    recognizer = load(model, detector=detector, crop=crop, batch=batch, threads=threads, workers=workers)  # type: ignore[arg-type]
    kept: list[dict[str, Any]] = []
    chunks, known = _items(paths, resume)
    if known == [] and "-" not in paths:
        raise DataError(f"no picture or video in {', '.join(paths)}", allowed=sorted(READABLE | VIDEOS))
    origin = Origin(recognizer.model, recognizer.detector, video)
    sink = _sink(out, recognizer.labels, origin, resume, kept if as_json else None)
    with ExitStack() as opened:
        if out and str(out) != "-" and not opened.enter_context(alone(out)):
            raise UsageError(f"another process is writing {out}", then="wait for it, or choose another name")
        if annotate:
            set_apart(annotate)
        done = finished(out, origin, _videos(known or [])) if resume and out else {}
        tally: Counter[str] = Counter()
        still = None if known is None else sum(_open(item, done) for item in known)
        to_people = _on_stdout(out) and not as_json and sys.stdout.isatty()
        step, moved, say = opened.enter_context(_progress(still, to_people))
        left = (_unanswered(chunk, done, tally, say, annotate) for chunk in chunks)
        write = opened.enter_context(sink)
        if known is not None and video != VideoOptions() and all(item.kind in ("picture", "broken") for item in known):
            say("note: these paths contain no video, so the video options have no effect")
        found = chain.from_iterable(answers(items, recognizer, video, annotate, moved) for items in left)
        for _, results in groupby(found, key=lambda result: result.source):
            tally["sources"] += 1
            for result in results:
                write(result)
                tally["faces"] += len(result.faces)
                tally["without_face"] += shows_none(result)
                if result.error is not None:
                    tally["broken"] += 1
                    say(printable(result.error))
            step()
        if tally["undrawn"]:
            undrawn = counted(tally["undrawn"], "source")
            say(f"note: {undrawn} answered in an earlier call and not drawn: leave out --resume to draw them")
    summary = {key: tally[key] for key in ("sources", "faces", "without_face", "broken", "skipped")}
    typer.echo(f"{outcome(summary)}; {monotonic() - began:.1f} s", err=True)
    if as_json:
        typer.echo(json_line(summary | {"out": out and str(out)} | ({} if out else {"results": kept})))
    if tally["broken"]:
        raise typer.Exit(1)


def _on_stdout(out: Path | None) -> bool:
    return out is None or str(out) == "-"


def _check(out: Path | None, annotate: Path | None, as_json: bool, resume: bool) -> None:
    """Raise UsageError for options that contradict each other, or what is there."""
    if annotate and annotate.exists() and not annotate.is_dir():
        raise UsageError("--annotate takes a folder", got=annotate, then="choose another name")
    if resume and _on_stdout(out):
        raise UsageError("--resume needs an output file", then="add --out NAME.jsonl")
    if _on_stdout(out) and sys.stdout is None:
        raise UsageError("there is no standard output to write to", then="add --out NAME.jsonl")
    if as_json and str(out) == "-":
        raise UsageError("--json and --out - both write to stdout", then="choose one: --json or --out -")


def _sink(
    out: Path | None, labels: tuple[str, ...], origin: "Origin", resume: bool, kept: list[dict[str, Any]] | None
) -> AbstractContextManager[Callable[["Result"], Any]]:
    """Where results go: the file, else into `kept`, else as lines for people."""
    from mien.runtime.results import document
    from mien.runtime.sinks import open_sink

    if str(out) == "-" or kept is not None:
        _in_utf8()
    if out is not None:
        return open_sink(None if str(out) == "-" else out, labels, origin, resume)
    if kept is None:
        return nullcontext(_print)
    return nullcontext(lambda result: kept.append(document(result) | origin.beside(result)))


def _open(item: "Item", done: dict[str, bool]) -> bool:
    """Whether an item is still to be answered; a camera never stands still."""
    return item.kind == "camera" or item.place not in done


def _unanswered(
    chunk: "list[Item]", done: dict[str, bool], tally: Counter[str], say: Callable[[str], None], drawings: Path | None
) -> "list[Item]":
    """What is left of a lot, after what an earlier call answered has been counted, and its errors told."""
    from mien.files import printable
    from mien.runtime.predict import drawing

    for item in chunk:
        if not _open(item, done):
            tally["skipped"] += 1
            if done[item.place]:
                tally["broken"] += 1
                say(f"{printable(item.source)}: an error in an earlier call, kept in the output")
            elif drawings and not drawing(item, drawings).exists():
                tally["undrawn"] += 1
    return [item for item in chunk if _open(item, done)]


def _items(paths: list[str], resume: bool) -> tuple["Iterator[list[Item]]", "list[Item] | None"]:
    """What there is to do, in lots that are answered before the next is asked for, and all of it where that is known.

    A list from stdin is followed as it comes, each lot what stands there to be read; with `resume` it is read first,
    since it says which videos are read again.
    """
    from mien.runtime.collect import collect, once

    lots = chain.from_iterable(listed() if path == "-" else [[path]] for path in paths)
    if "-" in paths and not resume:
        seen: set[str] = set()
        return (once(collect(lot), seen) for lot in lots), None
    known = once(collect(chain.from_iterable(lots)))
    return iter([known]), known


def _in_utf8() -> None:
    """What programs read is UTF-8, whatever the terminal's language is."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")


def _videos(known: "list[Item]") -> set[str]:
    """The places of the videos that are read in this call."""
    return {item.place for item in known if item.kind == "video"}


@contextmanager
def _progress(
    total: int | None, to_people: bool
) -> Iterator[tuple[Callable[[], None], Callable[[str, float], None], Callable[[str], None]]]:
    """A bar on stderr with the time left, or lines: functions for a finished source, for the share of a video, to
    speak. Where answers go to people's terminal, they are all there is: a bar would stand among them.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from mien.cli.progress import in_lines

    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    columns = (TextColumn("predicting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=to_people or not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=total)
        finished, tell = 0, in_lines("predicting")

        def step() -> None:
            nonlocal finished
            finished += 1
            bar.update(task, completed=finished)
            if total and finished < total and not console.is_terminal:
                tell(finished, total)

        yield step, lambda source, share: bar.update(task, completed=finished + share), console.print


def _print(result: "Result") -> None:
    """One line per face, for people."""
    from mien.files import printable

    source = printable(result.source)
    place = f"{source} {result.time:.2f} s" if hasattr(result, "time") else source
    for face in result.faces:
        x, y, width, height = map(round, face.box)
        doubt = ", uncertain" if face.uncertain else ""
        number = "" if face.identity is None else f"face {face.identity} "
        typer.echo(f"{place}: {number}{face.expression} {face.confidence:.0%}{doubt} ({width}x{height} at {x},{y})")
    if not result.faces and result.error is None:
        typer.echo(f"{place}: no face")
