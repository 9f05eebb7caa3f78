"""mien report: one run as a page, or several side by side."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from mien.cli import printing
from mien.cli.options import AsJson
from mien.cli.progress import stages as shown
from mien.errors import UsageError
from mien.places import unused

_INTERVALS = "intervals of accuracy hold for all pairs together, those of macro F1 are of one pair each"


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, or folders of runs.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="The page to write, by default report.html in the folder, or comparison.html here; or a table of the "
            "figures: .md, .tex or .csv."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the report of a run, or compare several runs with the first one.

    Example: mien report runs/without runs/with --out comparison.html

    Example: mien report runs/without runs/with --out table.tex
    """
    from mien.evaluation.report import weigh, write_comparison_report, write_run_report
    from mien.evaluation.report.folder import runs_in

    folders = [run for given in runs for run in runs_in(given)]
    places = [run.resolve() for run in folders]
    if twice := sorted({str(place) for place in places if places.count(place) > 1}):
        raise UsageError("a run cannot be compared with itself", got=twice, then="name each run once")
    if out and out.suffix != ".html":
        page, document = _tabled(folders, out)
    elif len(folders) == 1:
        page, document = write_run_report(folders[0], out), _one(folders[0])
    else:
        from mien.gallery import pictures

        weighed = weigh(folders)
        document = weighed.as_dict()
        with shown() as stages:
            page = write_comparison_report(weighed, out or _place(runs), pictures(weighed, stages))
    if as_json:
        typer.echo(json.dumps({"report": str(page)} | document, ensure_ascii=False))
        return
    printing.differences(document)
    for warning in document.get("warnings", ()):
        typer.echo(f"warning: {warning}")
    typer.echo(str(page))


def _tabled(folders: list[Path], out: Path) -> tuple[Path, dict[str, Any]]:
    """A table of the figures of one run, or of several side by side."""
    from mien.evaluation.report import weigh
    from mien.evaluation.report.comparison import whose
    from mien.evaluation.report.folder import read_run
    from mien.evaluation.report.tables import write_figures

    if len(folders) == 1:
        run = read_run(folders[0])
        return write_figures({run.name: run.metrics["test"]}, run.metrics.get("notes", []), out), _one(folders[0])
    weighed = weigh(folders)
    document = weighed.as_dict()
    tests = document["tests"] or {"pairs": []}
    said = [f"Tests: {tests['test']}, Holm-corrected over all pairs; {_INTERVALS}"] if tests["pairs"] else []
    said += [
        *(printing.difference(pair, len(tests["pairs"])) for pair in tests["pairs"]),
        *map(printing.trained_again, document["trained_again"]),
        *weighed.warnings,
        *(f"{who}: {text}" for text, who in whose(weighed.notes).items()),
    ]
    return write_figures(weighed.figures, said, out), document


def _place(runs: list[Path]) -> Path:
    """Where the page of several runs goes: into the folder that holds them all, else here."""
    return runs[0] / "report.html" if len(runs) == 1 else unused(Path("comparison.html"))


def _one(folder: Path) -> dict[str, Any]:
    from mien.evaluation.report.folder import read_run

    run = read_run(folder)
    return {"name": run.name, "protocol": run.protocol, "metrics": run.metrics["test"]["metrics"]}
