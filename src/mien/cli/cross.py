"""mien cross: several runs and bundles on several sources, in one table."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from mien.cli import printing
from mien.cli.options import AsJson, Merge, Split, pairs, source_options
from mien.cli.progress import loading
from mien.cli.progress import stages as shown
from mien.errors import UsageError
from mien.places import check_finished, repetitions, unused


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
    which may be a folder of seeds or folds: each is then judged on what it held out itself. With --on, the runs in such
    a folder are models like others. A run prepares pictures as its chain says, a bundle as mien predict does: it finds
    the face, except in --whole.

    Example: mien cross runs/mine ferplus

    Example: mien cross runs/mine ferplus --on fer2013=data/fer2013 --whole fer2013 --on clinic:folders=data/clinic
    """
    if out and out.suffix.lower() != ".html":
        then = "choose another name; --json prints the figures for scripts"
        raise UsageError("the page of a table is HTML", got=out, allowed=".html", then=then)
    merged = pairs(merge, "a merge of labels")
    named = {title: (source, place) for title, source, place in map(_named, on or ())}
    if len(named) < len(on or ()):
        raise UsageError("each source of a table needs its own name", got=on, then="--on NAME:SOURCE=ROOT")
    options = _options(option, list(named))
    asked = _asked(models, bool(on))
    _check(asked, on, root, whole)
    matrix = _matrix(asked, {title: (*named[title], options[title]) for title in named}, root, split, merged, whole)

    from mien.evaluation.report import write_cross_report

    page = write_cross_report(matrix, out or unused(Path("cross.html")))
    if as_json:
        typer.echo(json.dumps(matrix | {"report": str(page)}))
    else:
        _print(matrix)
        typer.echo(f"report: {page}")


@dataclass(frozen=True)
class _Asked:
    """The models of a table by what they are called in it, in order, and which of them are bundles.

    `repeated` are the runs of a recipe with several seeds or folds, together called `name`, which are judged on what
    each of them held out.
    """

    models: dict[str, Path]
    bundles: frozenset[str]
    name: str = ""
    repeated: tuple[Path, ...] = ()

    @property
    def runs(self) -> list[str]:
        return [title for title in self.models if title not in self.bundles]


def _asked(models: list[Path], elsewhere: bool) -> _Asked:
    """What is to be judged. On data from `elsewhere` the seeds or folds of a recipe are runs like others; on their own
    the first run may be a folder of them."""
    from mien.runtime.bundle import means_bundle

    if elsewhere:
        models = [each for model in models for each in repetitions(model) or [model]]
    named = dict(zip(_names(models), models, strict=True))
    asked = _Asked(named, frozenset(title for title, model in named.items() if means_bundle(str(model))))
    repeated = [] if elsewhere or not asked.runs else repetitions(named[asked.runs[0]])
    if repeated:
        name, others = asked.runs[0], {title: model for title, model in named.items() if title != asked.runs[0]}
        asked = replace(asked, models=others, name=name, repeated=tuple(repeated))
    for title in asked.runs:
        check_finished(asked.models[title])
    return asked


def _check(asked: _Asked, on: list[str] | None, root: Path | None, whole: list[str] | None) -> None:
    """Raise UsageError where options do not go together."""
    if whole and not asked.bundles:
        raise UsageError("runs take pictures as their own chains do", got=whole, then="leave out --whole")
    if not on and not asked.runs and not asked.repeated:
        raise UsageError("bundles have no pictures of their own", got=[*asked.models], then="add --on SOURCE=ROOT")
    if root and on:
        raise UsageError(
            "--root is where the data of the first run is, and --on names other data", got=f"--root {root}"
        )


def _matrix(
    asked: _Asked,
    named: dict[str, tuple[str, Path | None, dict[str, Any]]],
    root: Path | None,
    split: str,
    merged: dict[str, str],
    whole: list[str] | None,
) -> dict[str, Any]:
    """The table of all models on the sources by name, or on what the first run held out."""
    with loading():
        from mien.judging.elsewhere import crossed, held_out
        from mien.judging.finished import Finished, finished
        from mien.recipe import Dataset

    # The data that may have moved is that of the first run, or of all the seeds or folds.
    moved = [] if asked.repeated else asked.runs[:1]
    repeated = [finished(run, root) for run in asked.repeated]
    opened = {title: finished(asked.models[title], root if title in moved else None) for title in asked.runs}
    models = {title: opened.get(title) or str(model) for title, model in asked.models.items()}
    sources: dict[str, Dataset | Finished] = {
        title: Dataset(source=source, root=place, options=options) for title, (source, place, options) in named.items()
    }
    if not sources:
        own = next(iter([*repeated, *opened.values()]))
        sources = {own.recipe.data.source: own}
    if unheard := sorted(set(whole or ()) - set(sources)):
        raise UsageError("--whole is the name of a source", got=unheard, allowed=list(sources))
    with shown() as stages:
        if repeated:
            return held_out(asked.name, repeated, models, split, merged, stages, whole or ())
        return crossed(models, sources, split, merged, stages, whole or ())


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
    """A name a model: its folder's or file's, with the folder above where two share one, and for a seed or a fold. A
    model twice is refused."""
    places = [model.resolve() for model in models]
    names = [place.name for place in places]
    told = [f"{p.parent.name}/{p.name}" if names.count(p.name) > 1 or repetitions(p.parent) else p.name for p in places]
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
