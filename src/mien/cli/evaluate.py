"""mien evaluate: a run or a bundle on a dataset and in groups, a run on corrupted pictures, and where it looks."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli import printing
from mien.cli.options import AsJson, Merge, SourceOption, Split, pairs, source_options
from mien.cli.progress import loading
from mien.cli.progress import stages as shown
from mien.errors import UsageError, unknown
from mien.places import check_finished, repetitions

if TYPE_CHECKING:
    import pandas as pd

_SPLITS = ("train", "validation", "test", "all")


def evaluate(
    model: Annotated[
        Path,
        typer.Argument(metavar="RUN|MODEL", help="The folder of a finished run, a shipped model, or an .onnx bundle."),
    ],
    source: Annotated[str | None, typer.Option(help="A source by name; the run's own by default.")] = None,
    root: Annotated[Path | None, typer.Option(help="Where the data is, the source's or the run's own.")] = None,
    split: Split = "test",
    option: SourceOption = None,
    merge: Merge = None,
    crop: Annotated[
        str | None,
        typer.Option(help="Of a bundle: face looks for the face, as mien predict does; whole takes pictures as faces."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A file for every answer: NAME.csv or NAME.parquet.", show_default=False)
    ] = None,
    by: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Figures in groups: a list of pictures or people with their sex, ..."),
    ] = None,
    robustness: Annotated[bool, typer.Option("--robustness", help="Accuracy under blur, noise, JPEG, ...")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Grad-CAM pictures: where the network looks.")] = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate a finished run or a bundle on a dataset; a run on its own splits or corrupted pictures too.

    Of a folder of seeds or folds all answers are taken together, as its runs keep them.

    Example: mien evaluate runs/fer2013 --source ferplus --root data/ferplus --split test

    Example: mien evaluate ferplus --source folders --root data/mine

    Example: mien evaluate runs/fer2013 --by data/people.csv
    """
    from mien.runtime.bundle import means_bundle

    bundled, own_test = means_bundle(str(model)), not source and split == "test"
    answers = [name for name, given in (("--out", out), ("--by", by)) if given]
    _check(robustness or explain, own_test, answers, source, split, bool(option or merge), out)
    if bundled and not source:
        raise UsageError(f"{model} is a bundle, and has no pictures of its own", then="add --source NAME --root FOLDER")
    if crop and not bundled:
        raise UsageError("a run takes pictures as its own chain does", got=f"--crop {crop}", then="leave out --crop")
    repeated = [] if bundled or source else repetitions(model)
    if repeated:
        alone = {"--robustness": robustness, "--explain": explain, "--root": root, "--split": split != "test"}
        if given := [name for name, value in alone.items() if value]:
            raise UsageError(
                f"{model} is a folder of runs, whose answers are taken together as they are kept", got=given,
                then=f"name a run in it, such as {repeated[0]}, or leave the option out",
            )  # fmt: skip
    elif not bundled:
        check_finished(model)

    with loading():
        from mien.data import traits
        from mien.evaluation.report import weigh, write_comparison_report, write_run_report
        from mien.judging import elsewhere, own
        from mien.judging.finished import finished
        from mien.judging.groups import check_named, in_groups

    lists = [traits.read(path) for path in by or ()]
    if lists and not source and not repeated:
        check_named(lists, model, split)
    kept = bool(by) and own_test
    reported = robustness or explain or (kept and not repeated)
    document: dict[str, Any] = {}
    with shown() as stages:
        if source:
            judge = str(model) if bundled else finished(model)
            options, merged = source_options(option), pairs(merge, "a merge of labels")
            taken: Any = crop or "face"
            found = elsewhere.evaluate_on(judge, source, root, split, options, merged, stages, taken)
            document = found.cell
        elif repeated:
            found = own.evaluate_repeated(model)
            document = found.cell
        else:
            opened = finished(model, root)
            if robustness:
                document["robustness"] = own.corrupted(opened, stages)
            if explain:
                document["explain"] = [str(path) for path in own.explained(opened, stages)]
            if not document:
                found = own.evaluate_own(opened, split, stages)
                document = found.cell
    if out:
        document["answers"] = str(_written(found.predictions, out))
    if lists:
        document["groups"] = in_groups(found, lists, model if kept else None)
    if reported:
        document["report"] = str(write_run_report(model))
    elif kept and repeated:
        document["report"] = str(write_comparison_report(weigh(repeated), model / "report.html"))
    if as_json:
        typer.echo(json.dumps(document))
    else:
        printing.evaluation(document)


def _check(
    studied: bool, own_test: bool, answers: list[str], source: str | None, split: str, described: bool, out: Path | None
) -> None:
    """Raise UsageError where options do not go together; `studied` are robustness and explanations."""
    if described and not source:
        raise UsageError("--option and --merge describe a --source, and none is given", then="add --source NAME")
    if studied and not own_test:
        raise UsageError(
            "--robustness and --explain apply only to the run's own test rows", then="leave out --source and --split"
        )
    if studied and answers:
        raise UsageError("--robustness and --explain give no answers to write or to group", got=answers)
    if out and out.suffix not in (".csv", ".parquet"):
        raise UsageError("answers are written as a table", got=out, allowed="NAME.csv or NAME.parquet")
    if split not in _SPLITS:
        raise unknown("split", split, _SPLITS)


def _written(predictions: "pd.DataFrame", out: Path) -> Path:
    from mien.files import replacing

    with replacing(out) as beside:
        predictions.to_csv(beside, index=False) if out.suffix == ".csv" else predictions.to_parquet(beside, index=False)
    return out
