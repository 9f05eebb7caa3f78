"""mien scale: the same work on all machines of a Ray cluster, or on all cores of this one."""

import json
import math
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.options import AsJson, Batch, Changes, Crop, Detector, Every, Model, Recipes, listed
from mien.cli.printing import outcome
from mien.cli.progress import progress
from mien.cli.runs import RUNS, carried_out
from mien.errors import DataError, UsageError
from mien.weights import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mien.grids import Cell
    from mien.scale.predict import Tally

_TOLD = 20  # broken sources that are named
_Address = Annotated[
    str | None,
    typer.Option(help="A running cluster: auto or HOST:PORT; default: RAY_ADDRESS, else here."),
]


def compare(
    recipes: Recipes,
    changes: Changes = None,
    out: Annotated[Path, typer.Option(help="The folder of the runs, on storage that all machines share.")] = RUNS
    / "comparison",
    address: _Address = None,
    cpus: Annotated[float, typer.Option(min=0.1, help="Cores of each run.")] = 1,
    gpus: Annotated[
        float | None, typer.Option(min=0, help="Accelerators of each run, 0.25 for four on one; default: one if any.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train the runs of `mien compare`, each seed and fold of its own, at once on a Ray cluster or this machine.

    Finished runs are kept. Machines find the data, the recipes' earlier runs and --out where this one does.

    Example: mien scale compare grid.yaml --out runs/grid --address auto --gpus 0.25
    """
    from mien.scale.cluster import connected, room

    def at_once(wanted: "list[Cell]") -> "Mapping[str, Exception]":
        from mien.compare import begin
        from mien.scale.compare import train_pieces

        begin(wanted, out)
        with connected(address), progress("training") as moved:
            share = gpus if gpus is not None else min(1.0, max(each.get("GPU", 0) for each in room()))
            return train_pieces(wanted, out.absolute(), cpus, share, moved)

    carried_out(recipes, changes or [], out, as_json, at_once)


def predict(
    paths: Annotated[list[str], typer.Argument(help="Pictures, folders, videos, or - for paths on stdin.")],
    out: Annotated[Path, typer.Option(help="The folder of the Parquet files, on storage that all machines share.")],
    address: _Address = None,
    model: Model = DEFAULT,
    crop: Crop = "face",
    detector: Detector = "auto",
    batch: Batch = 64,
    lot: Annotated[int, typer.Option(min=1, help="Pictures of one task and file, at most.")] = 500,
    every: Every = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a folder of the same model and settings.")] = False,
    as_json: AsJson = False,
) -> None:
    """Name expressions like `mien predict`, on a Ray cluster or on all cores of this machine, into Parquet files.

    Each lot of pictures and each video is a task and a file of its own, so that a job that was stopped goes on with
    --resume. A picture whose process dies is named, and --resume tries it again. Machines find paths as this one does.

    Example: mien scale predict data/faces --out answers --address auto
    """
    from mien.files import alone
    from mien.imaging.decode import READABLE
    from mien.runtime.collect import VIDEOS
    from mien.runtime.origin import Origin
    from mien.runtime.recognizer import load
    from mien.runtime.video import VideoOptions
    from mien.scale.cluster import connected, room
    from mien.scale.predict import Job, Tally, answered, spread, unanswered

    began = monotonic()
    if out.exists() and not out.is_dir():
        raise UsageError("--out takes a folder", got=out, then="choose another name")
    if out.exists() and any(out.iterdir()) and not resume:
        then = "add --resume to continue it, or choose another name"
        raise UsageError("the output already exists", got=out, then=then)
    recognizer = load(model, crop=crop, detector=detector, batch=batch)  # type: ignore[arg-type]
    place = str(Path(model).absolute()) if recognizer.bundle.path == Path(model) else model
    job = Job(place, batch, Origin(recognizer.model, recognizer.detector, VideoOptions(every)), out.absolute())
    with alone(out) as free:
        if not free:
            raise UsageError(f"another process is writing {out}", then="wait for it, or choose another name")
        done = answered(out, job.origin)
        named = [name for path in paths for lot in (listed() if path == "-" else [[path]]) for name in lot]
        items, known = unanswered(named, done)
        if not items and not known:
            raise DataError(f"no picture or video in {', '.join(paths)}", allowed=sorted(READABLE | VIDEOS))
        tally = Tally()
        if items:
            with connected(address), progress("predicting") as moved:
                processes = max(1, int(sum(each.get("CPU", 0) for each in room())))
                tally = spread(job, items, min(lot, math.ceil(len(items) / processes)), moved)
    _tell(tally, [source for source in known if done[source]])
    broken = len(tally.errors) + sum(done[source] for source in known)
    counts = {"sources": tally.sources, "faces": tally.faces, "without_face": tally.without_face}
    summary = counts | {"broken": broken, "skipped": len(known)}
    typer.echo(f"{outcome(summary)}; {monotonic() - began:.1f} s: {out}", err=True)
    if as_json:
        typer.echo(json.dumps(summary | {"out": str(out)}))
    if broken:
        raise typer.Exit(1)


def _tell(tally: "Tally", earlier: list[str]) -> None:
    """Say what went wrong in which source, of many the first ones."""
    from mien.files import printable

    said = [printable(text if source in text else f"{source}: {text}") for source, text in tally.errors]
    said += [f"{source}: an error in an earlier call, kept in the output" for source in earlier]
    for line in said[:_TOLD]:
        typer.echo(line, err=True)
    if len(said) > _TOLD:
        typer.echo(f"and {len(said) - _TOLD:,} more: see the column error", err=True)
