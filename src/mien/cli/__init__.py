"""The command line: `mien`. Heavy packages are imported inside the commands that need them."""

import errno
import os
import sys
from io import TextIOWrapper
from typing import Annotated, NoReturn

import typer

from mien import __version__
from mien.cli import audit, cross, data, evaluate, models, predict, replay, report, runs, scale, serve
from mien.errors import DataError, MienError, MissingExtra

INTERRUPTED = 130

app = typer.Typer(
    name="mien",
    help="A workbench for facial expression recognition: train, compare, audit, deploy.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"mien {__version__}")
        raise typer.Exit


@app.callback()
def _mien(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


looks = typer.Typer(
    help="Inspect a dataset: counts, sizes, broken files, a contact sheet, cached pictures.", no_args_is_help=True
)
looks.command("stats")(data.stats)
looks.command("preview")(data.preview)
looks.command("cache")(data.cache)
app.add_typer(looks, name="data")
app.command("demo")(runs.demo)
app.command("train")(runs.train)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(runs.compare)
app.command("cross")(cross.cross)
app.command("replay")(replay.replay)
app.command("report")(report.report)
app.command("audit")(audit.audit)
app.command("export")(runs.export)
app.command("predict")(predict.predict)
app.command("serve")(serve.serve)

clusters = typer.Typer(help="The same on all machines of a Ray cluster, or all cores here.", no_args_is_help=True)
clusters.command("compare")(scale.compare)
clusters.command("predict")(scale.predict)
app.add_typer(clusters, name="scale")

bundles = typer.Typer(invoke_without_command=True)
bundles.callback()(models.models)
bundles.command("pull")(models.pull)
app.add_typer(bundles, name="models")


def main() -> None:
    """Run the command line; errors that a person can act on are printed without a traceback."""
    # mien lists a broken picture with its name; OpenCV would report it a second time, without one.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal cannot print is no reason to stop.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except MienError as error:
        _refuse(error)
    except ModuleNotFoundError as missing:
        if (missing.name or "mien").partition(".")[0] == "mien":
            raise
        _refuse(MissingExtra(f"this command (it imports {missing.name})", "train"))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _refuse(DataError(f"a disk is full: {error.filename or 'stdout or the temporary folder'}"))
    except SystemExit as ended:
        # Typer's exit code for Ctrl-C, for which it prints nothing. It is how a server is stopped.
        if ended.code == INTERRUPTED and "serve" not in sys.argv[1:2]:
            said = "stopped; finished files are complete. Runs, scale predict and JSON lines go on with --resume"
            print(f"mien: {said}", file=sys.stderr)  # noqa: T201
        raise


def _refuse(error: MienError) -> NoReturn:
    print(f"mien: {error}", file=sys.stderr)  # noqa: T201
    sys.exit(error.exit_code)
