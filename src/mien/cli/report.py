"""mien report: one run as a page, or several side by side."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from mien.cli.progress import stages as shown
from mien.places import unused


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, or folders of runs.")],
    out: Annotated[
        Path | None,
        typer.Option(help="The HTML file to write; by default report.html in the folder, or comparison.html here."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Write the report of a run, or compare several runs with the first one.

    Example: mien report runs/without runs/with --out comparison.html
    """
    from mien.evaluation.report import write_comparison_report, write_run_report
    from mien.evaluation.report.folder import runs_in

    folders = [run for given in runs for run in runs_in(given)]
    if len(folders) == 1:
        page, document = write_run_report(folders[0], out), _one(folders[0])
    else:
        from mien.gallery import pictures

        document = _several(folders)
        with shown() as stages:
            page = write_comparison_report(folders, out or _place(runs), pictures(folders, stages))
    if as_json:
        typer.echo(json.dumps({"report": str(page)} | document, ensure_ascii=False))
        return
    for warning in document.get("warnings", ()):
        typer.echo(f"warning: {warning}")
    typer.echo(str(page))


def _place(runs: list[Path]) -> Path:
    """Where the page of several runs goes: into the folder that holds them all, else here."""
    return runs[0] / "report.html" if len(runs) == 1 else unused(Path("comparison.html"))


def _one(folder: Path) -> dict[str, Any]:
    from mien.evaluation.report.folder import read_run

    run = read_run(folder)
    return {"name": run.name, "protocol": run.protocol, "metrics": run.metrics["test"]["metrics"]}


def _several(folders: list[Path]) -> dict[str, Any]:
    from dataclasses import asdict

    from mien.evaluation.report.comparison import ranked, read_arms, repeats

    runs = read_arms(folders)
    ranking, said = ranked(runs)
    return {
        "runs": {
            name: {"protocol": run.protocol, "metrics": run.metrics["test"]["metrics"]} for name, run in runs.items()
        },
        "repeats": {
            name: {metric: asdict(each) for metric, each in spread.items()} for name, spread in repeats(runs).items()
        },
        "tests": ranking.as_dict() if ranking else None,
        "warnings": said,
    }
