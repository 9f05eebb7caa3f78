"""mien replay: a published study, run again as published and as it should have been run."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.options import AsJson
from mien.errors import RunError, UsageError, counted, line_by_line

if TYPE_CHECKING:
    from mien.replay.tables import Table

WIDE = 120
"""Columns of a terminal that holds a table of both protocols without breaking its cells."""

_Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of every cell; repeatable.")
]


def replay(
    study: Annotated[
        str,
        typer.Argument(
            metavar="STUDY",
            help="restoration-vgg19, smote-vgg19, facenet-triplet, resnet50-transfer or preprocessing-grid.",
        ),
    ],
    root: Annotated[Path | None, typer.Option(help="The folder of the data; synthetic faces without it.")] = None,
    protocol: Annotated[str, typer.Option(help="as-published, leak-free or both.")] = "both",
    scale: Annotated[
        str, typer.Option(help="full: the paper's setting; small: within 15 minutes on two cores.")
    ] = "small",
    ferplus: Annotated[
        Path | None, typer.Option(help="The folder of FERPlus; study 5 also evaluates its best cell on the test part.")
    ] = None,
    changes: _Set = None,
    out: Annotated[Path | None, typer.Option(help="The output folder; finished cells in it are kept.")] = None,
    as_json: AsJson = False,
) -> None:
    """Repeat a published study and print its table beside the replayed one; also writes HTML, Markdown and LaTeX.

    Example: mien replay smote-vgg19 --root data/fer2013 --scale small
    """
    from mien.cli.progress import loading
    from mien.cli.progress import stages as shown

    with loading():
        from mien.replay.studies import PROTOCOLS, SCALES

    protocols = [name for name in PROTOCOLS if protocol in (name, "both")]
    scales = [name for name in SCALES if name == scale]
    if not protocols:
        raise UsageError("unknown protocol", got=protocol, allowed=[*PROTOCOLS, "both"])
    if not scales:
        raise UsageError("unknown scale", got=scale, allowed=SCALES)
    with loading():
        from mien.replay.run import replay as run
        from mien.replay.tables import table, write
    folder = out or Path("runs") / f"{study}-{scale}"
    with shown() as stages:
        document = run(study, root, protocols, scales[0], folder, changes or (), stages, ferplus)
    written = write(document, folder)
    if as_json:
        typer.echo(json.dumps(document | {"files": [str(path) for path in written]}))
    else:
        _print(table(document))
        typer.echo("written: " + ", ".join(str(path) for path in written))
    if document["failures"]:
        raise RunError(
            f"{counted(len(document['failures']), 'cell')} failed",
            got=line_by_line(document["failures"]),
            then="fix them and run the same command again: finished cells are kept",
        )


def _print(made: "Table") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as Grid

    from mien.replay.tables import DIFFERS_TITLE, SAYS_TITLE

    console = Console()
    shown = Grid(title=made.title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for number, heading in enumerate(made.head):
        shown.add_column(heading, justify="left" if number < 2 else "right")
    for row, after in zip(made.rows, [*made.rows[1:], ("",)], strict=False):
        # Where columns are narrow, an interval stands under its value.
        cells = row if console.width >= WIDE else [cell.replace(" [", "\n[") for cell in row]
        shown.add_row(*cells, end_section=row[0] != after[0])
    console.print(shown, markup=False)
    for text in (*made.notes[1:], *made.lists[SAYS_TITLE], *(f"differs: {text}" for text in made.lists[DIFFERS_TITLE])):
        typer.echo(text)
