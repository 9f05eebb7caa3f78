"""mien cross: several runs and bundles on several sources, in one table."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from mien.cli import printing
from mien.cli.options import AsJson, Merge, Split, pairs, source_options
from mien.cli.progress import loading
from mien.cli.progress import stages as shown
from mien.errors import UsageError
from mien.places import check_finished, unused


def cross(
    models: Annotated[
        list[Path],
        typer.Argument(metavar="RUN|MODEL...", help="Folders of finished runs, shipped models, .onnx bundles."),
    ],
    on: Annotated[
        list[str] | None,
        typer.Option(
            "--on",
            metavar="[NAME:]SOURCE=ROOT",
            help="A source, the folder of its data, its name here; repeatable. The data of the first run by default.",
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="NAME:KEY=VALUE", help="An option of one of the sources, by its name here."),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Where the first run's data is now, if it was moved; without --on.")
    ] = None,
    split: Split = "test",
    merge: Merge = None,
    whole: Annotated[
        list[str] | None,
        typer.Option("--whole", metavar="NAME", help="A source whose pictures are faces: bundles look for none there."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The HTML file to write; by default the first free of cross.html, cross-2.html.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate several runs and bundles on several datasets: does what they learnt on one carry over to another?

    Labels are matched by name; rows with a label that a model does not know are left out and counted. On each source,
    every two models are tested against each other on the rows and labels that all of them have in common.

    A source that names no split is judged whole; without --on all are judged on the rows that the first run held out,
    which may be a folder of seeds or folds: each is then judged on what it held out itself. A run prepares pictures as
    its chain says, a bundle as mien predict does: it finds the face, except in --whole.

    Example: mien cross runs/mine ferplus

    Example: mien cross runs/mine ferplus --on fer2013=data/fer2013 --whole fer2013 --on clinic:folders=data/clinic
    """
    merged = pairs(merge, "a merge of labels")
    named = {title: (source, root) for title, source, root in map(_named, on or ())}
    if len(named) < len(on or ()):
        raise UsageError("each source of a table needs its own name", got=on, then="--on NAME:SOURCE=ROOT")
    options = _options(option, list(named))

    from mien.runtime.bundle import means_bundle

    judges = dict(zip(_names(models), models, strict=True))
    bundles = {title: str(model) for title, model in judges.items() if means_bundle(str(model))}
    runs = [title for title in judges if title not in bundles]
    if whole and not bundles:
        raise UsageError("runs take pictures as their own chains do", got=whole, then="leave out --whole")
    if not on and not runs:
        raise UsageError("bundles have no pictures of their own", got=list(bundles), then="add --on SOURCE=ROOT")
    if root and on:
        raise UsageError(
            "--root is where the data of the first run is, and --on names other data", got=f"--root {root}"
        )
    several = [] if on else _repeated(judges[runs[0]])
    for title in runs[bool(several) :]:
        check_finished(judges[title])

    with loading():
        from mien.elsewhere import crossed, held_out
        from mien.evaluation.report import write_cross_report
        from mien.finished import Finished, finished
        from mien.recipe import Dataset

    opened = {title: finished(judges[title], root if title == runs[0] else None) for title in runs[bool(several) :]}
    judged = {title: bundles.get(title) or opened[title] for title in judges if title in bundles or title in opened}
    repeated = [finished(run, root) for run in several]
    sources: dict[str, Dataset | Finished] = {
        title: Dataset(source=source, root=root, options=options[title]) for title, (source, root) in named.items()
    }
    if not on:
        first = next(iter([*repeated, *opened.values()]))
        sources = {first.recipe.data.source: first}
    if unheard := sorted(set(whole or ()) - set(sources)):
        raise UsageError("--whole is the name of a source", got=unheard, allowed=list(sources))
    with shown() as stages:
        if repeated:
            matrix = held_out(runs[0], repeated, judged, split, merged, stages, whole or ())
        else:
            matrix = crossed(judged, sources, split, merged, stages, whole or ())
    page = write_cross_report(matrix, out or unused(Path("cross.html")))
    if as_json:
        typer.echo(json.dumps(matrix | {"report": str(page)}))
    else:
        _print(matrix)
        typer.echo(f"report: {page}")


def _repeated(run: Path) -> list[Path]:
    """The seeds or folds in the folder of a recipe; none for a single run."""
    if (run / "metrics.json").is_file() or not (run / "recipe.yaml").is_file():
        return []
    return sorted(path.parent for path in run.glob("*/metrics.json"))


def _named(text: str) -> tuple[str, str, Path | None]:
    """The name, the source and the root of `[NAME:]SOURCE=ROOT`; no root in `synthetic=`."""
    ((key, root),) = pairs([text], "a source with its data").items()
    title, _, source = key.rpartition(":")
    return title or source, source, Path(root) if root else None


def _options(texts: list[str] | None, titles: list[str]) -> dict[str, dict[str, Any]]:
    """The options of each source, out of `NAME:KEY=VALUE`."""
    given: dict[str, list[str]] = {title: [] for title in titles}
    for text in texts or ():
        title, colon, option = text.partition(":")
        if not colon or title not in given:
            raise UsageError(
                "an option must be written NAME:KEY=VALUE, with the name of a source", got=text, allowed=titles
            )
        given[title].append(option)
    return {title: source_options(each) for title, each in given.items()}


def _names(models: list[Path]) -> list[str]:
    """A name a model: its folder's or file's, with the folder above where two share one. A model twice is refused."""
    places = [model.resolve() for model in models]
    names = [place.name for place in places]
    told = [f"{p.parent.name}/{p.name}" if names.count(p.name) > 1 else p.name for p in places]
    if len(set(told)) < len(told):
        raise UsageError("the models of one table need different names", got=told)
    return told


def _print(matrix: dict[str, Any]) -> None:
    from mien.evaluation.cross import remarks

    cells = {(cell["run"], cell["source"]): cell["figures"] for cell in matrix["cells"]}
    sources = matrix["sources"]
    rows = [(run, *(_cell(cells.get((run, source))) for source in sources)) for run in matrix["runs"]]
    printing.table(("model", *sources), rows, "accuracy [95% interval], rows and classes")
    for source, tests in matrix["pairs"].items():
        for pair in tests:
            told = f"{pair['rows']:,} rows, {len(pair['labels'])} classes"
            typer.echo(f"{source}: {printing.difference(pair, len(tests))} ({told})")
    for text in remarks(matrix):
        typer.echo(f"note: {text}")


def _cell(figures: dict[str, Any] | None) -> str:
    if figures is None:
        return "–"
    found = figures["metrics"]["accuracy"]
    bounds = "" if found["low"] is None else f" [{found['low']:.1%}, {found['high']:.1%}]"
    return f"{found['value']:.1%}{bounds}\n{figures['rows']:,} rows, {len(figures['labels'])} classes"
