"""mien demo, train, compare, export: make runs, and bundles of them."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli import printing
from mien.cli.options import AsJson, Changes, Recipes
from mien.cli.progress import loading, waiting
from mien.cli.progress import stages as shown
from mien.errors import AuditBlocked, RunError, counted, line_by_line
from mien.places import check_finished, recipe_file, shipped

if TYPE_CHECKING:
    from mien.grids import Cell

    Before = Callable[[list[Cell]], Mapping[str, Exception]]

RUNS = Path("runs")

_Recipe = Annotated[
    Path, typer.Argument(metavar="RECIPE", help="A YAML file, a run's folder, or the name of a shipped recipe.")
]
_Run = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.")]
_Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in the folder.")]
_Strict = Annotated[bool, typer.Option("--strict", help="Stop when a picture cannot be read.")]


def demo(
    out: Annotated[Path, typer.Option(help="The folder of the runs.")] = RUNS / "demo",
    as_json: AsJson = False,
) -> None:
    """Compare two models x two data treatments on synthetic faces: no data needed, a few minutes on two cores.

    Example: mien demo
    """
    carried_out([shipped()["demo"]], [], out, as_json)


def train(
    recipe: _Recipe,
    changes: Changes = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder; runs/NAME by default.")] = None,
    resume: _Resume = False,
    strict: _Strict = False,
    as_json: AsJson = False,
) -> None:
    """Train a recipe, evaluate it once on its test split, and write the report.

    Example: mien train fer2013 --set data.root=data/fer2013 --set fit.epochs=5
    """
    file = recipe_file(recipe)
    if file.parent == recipe:
        recipe, out = file, out or recipe
    with waiting("reading the recipe"):
        from mien.recipe import load
        from mien.rows import check, read, remembering
        from mien.run.folder import check_free

        wanted = load(recipe, changes or ())
    folder = out or RUNS / wanted.name
    check_free(folder, wanted, resume)
    if resume and (folder / "metrics.json").is_file():
        typer.echo(f"{folder} has ended already", err=True)
    rows = remembering(read)
    if not resume:
        # What the rows alone can tell is told before the libraries take their seconds.
        with waiting("reading the rows of the data"):
            check(wanted, rows)
    with loading():
        from mien.evaluation.report.folder import runs_in
        from mien.experiment import train as run
        from mien.files import read_json
    with shown() as stages:
        run(wanted, folder, resume, strict, stages, rows)
    runs = runs_in(folder)
    figures = {str(each): read_json(each / "metrics.json") for each in runs}
    if len(runs) > 1:
        printing.repetitions(folder, figures, as_json)
    elif as_json:
        typer.echo(json.dumps({"run": str(folder)} | figures[str(folder)]))
    else:
        printing.figures(folder, figures[str(folder)])


def compare(
    recipes: Recipes,
    changes: Changes = None,
    out: Annotated[Path, typer.Option(help="The folder of the runs; finished ones are kept.")] = RUNS / "comparison",
    as_json: AsJson = False,
) -> None:
    """Run recipes or grids side by side, keeping finished runs, and compare them on the same test rows.

    Example: mien compare recipes/with-clahe.yaml recipes/without.yaml --set data.root=data/fer2013
    """
    carried_out(recipes, changes or [], out, as_json)


def export(
    run: _Run,
    out: Annotated[Path | None, typer.Option(help="The bundle to write; default: NAME.onnx, NAME-int8.onnx.")] = None,
    name: Annotated[str | None, typer.Option(help="The bundle's name; the recipe's by default.")] = None,
    root: Annotated[Path | None, typer.Option(help="Where the run's data is now, if it was moved.")] = None,
    licence: Annotated[str | None, typer.Option(help="What users must know about licences.")] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Use 8-bit integers: smaller; states the accuracy change.")
    ] = False,
    card: Annotated[Path | None, typer.Option(help="A model card to write, in Markdown.")] = None,
    as_json: AsJson = False,
) -> None:
    """Turn a run into a bundle for `mien predict`, checked against the run on every validation picture.

    Example: mien export runs/fer2013 --out fer2013.onnx
    """
    check_finished(run)
    with loading():
        from dataclasses import asdict

        from mien.judging.finished import finished
        from mien.shipping.card import write_card
        from mien.shipping.export import export as write

        opened = finished(run, root)
    with shown() as stages:
        default = f"{name or opened.recipe.name}{'-int8' if int8 else ''}.onnx"
        made = write(opened, out or Path(default), name, int8, licence, stages)
    if card:
        write_card(made.path, run, card)
    if as_json:
        typer.echo(json.dumps(asdict(made) | {"path": str(made.path)}))
        return
    typer.echo(
        f"{made.path}: {made.bytes / 2**20:.2f} MiB; on {made.rows} validation rows the largest difference "
        f"in probability is {made.largest_difference:.1e}, {made.changed_decisions} decisions differ, "
        f"accuracy {made.accuracy:.2%} (the run: {made.accuracy_of_run:.2%}); {made.framing}"
    )


def carried_out(
    recipes: list[Path], changes: list[str], out: Path, as_json: bool, before: "Before | None" = None
) -> None:
    """Run a comparison and print what came out; `before` may train runs of it elsewhere first, and says what failed."""
    for recipe in recipes:
        recipe_file(recipe)
    begun = time.perf_counter()
    with loading():
        from mien.grids import cells

        # Before the libraries take their seconds: a recipe may be wrong.
        wanted = [cell for recipe in recipes for cell in cells(recipe, changes)]

        from mien.compare import compare as run
        from mien.compare import notes, table, verdict
        from mien.evaluation.report.comparison import whose
    failed = before(wanted) if before else {}
    with shown() as stages:
        compared = run(wanted, out, stages, failed)
    rows, noted = table(compared), notes(compared)
    weighed = compared.weighed.as_dict() if compared.weighed else {}
    best, warnings = verdict(compared)
    if as_json:
        told = {name: weighed.get(name) for name in ("repeats", "tests")}
        told |= {"runs": rows, "best": best, "warnings": warnings, "notes": noted}
        report = str(compared.report) if compared.report else None
        typer.echo(json.dumps(told | {"failures": dict(compared.failures), "report": report}))
    else:
        printing.comparison(rows, best)
        printing.recipes(weighed.get("repeats", {}), best)
        if compared.report:
            printing.differences(weighed)
        for warning in warnings:
            typer.echo(f"warning: {warning}")
        for text, who in whose({row["run"]: noted.get(row["run"], []) for row in rows}).items():
            typer.echo(f"note: {who}: {text}")
        where = f"; report: {compared.report}" if compared.report else ""
        typer.echo(f"{counted(len(rows), 'run')} in {time.perf_counter() - begun:.0f} s{where}")
    if compared.failures:
        raise (AuditBlocked if compared.blocked else RunError)(
            f"{len(compared.failures)} of {len(wanted)} cells failed",
            got=line_by_line(compared.failures),
            then="fix them and run the same command again: finished cells are kept",
        )
