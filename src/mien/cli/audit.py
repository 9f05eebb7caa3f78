"""mien audit: twins, leaks, people across splits, broken pictures and doubtful labels, before anything is trained."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from mien.cli.options import AsJson, Root, Source, SourceOption, source_options
from mien.errors import UsageError

if TYPE_CHECKING:
    from mien.data.audit import Audit
    from mien.data.split import Group, Method

_STYLE = {"block": "bold red", "warning": "yellow", "info": "dim"}


def audit(
    source: Source,
    root: Root = None,
    option: SourceOption = None,
    split: Annotated[
        str,
        typer.Option(
            help="As split.method of a recipe: official, stratified, grouped by people, kfold, grouped-kfold."
        ),
    ] = "official",
    folds: Annotated[
        int | None, typer.Option(min=2, help="Folds of kfold and grouped-kfold, 10 unless given; the first is audited.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="What grouped splits keep whole: subject, unless given, or sequence.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="As split.seed of a recipe, 0 unless given.")] = None,
    out: Annotated[Path | None, typer.Option(help="The folder for audit.json, audit.html and lists.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Block on every leak, also on those in the data.")] = False,
    near_threshold: Annotated[
        float | None, typer.Option(min=0.88, max=1.0, help="Similarity from which pairs count as near twins.")
    ] = None,
    noise: Annotated[
        bool, typer.Option("--noise", help="Also look for wrong labels with cross-validated predictions (slower).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Audit a dataset under its official split or a new one. Exits with 3 when a finding blocks.

    Example: mien audit fer2013 data/fer2013 --out audit
    """
    from mien.cli.progress import progress
    from mien.data.audit import audit as check
    from mien.data.audit import look, refuse
    from mien.data.audit.lists import write_lists
    from mien.data.audit.near import NEAR
    from mien.data.sources import catalog
    from mien.data.split import SplitSpec, assign
    from mien.evaluation.report import write_audit_report
    from mien.files import write_json

    for name, given, used, owner in (
        ("folds", folds, "kfold" in split, "kfold and grouped-kfold"),
        ("group", group, "grouped" in split, "grouped and grouped-kfold"),
        ("seed", seed, split != "official", "splits that are drawn"),
    ):
        if given is not None and not used:
            raise UsageError(f"--{name} is of {owner} alone", got=f"--split {split} --{name} {given}")
    spec = SplitSpec(
        cast("Method", split), folds=folds or SplitSpec.folds, group=cast("Group", group or SplitSpec.group),
        seed=seed or SplitSpec.seed,
    )  # fmt: skip
    audited = f"{split}, fold {spec.fold} of {spec.folds}" if "kfold" in split else split
    title = source if split == "official" else f"{source}, {audited}"
    samples = catalog.load(source, root, **source_options(option))
    if split != "official":
        samples = assign(samples, spec)
    parted = bool(samples.table["split"].notna().any())
    if strict and not parted:
        raise UsageError(
            f"{source} publishes no split: no leak can be looked for", got="--strict", then="add --split stratified"
        )
    with progress("checking pictures") as step:
        looks = look(samples, progress=step)
    with progress("comparing pairs") as step:
        found = check(samples, looks, threshold=near_threshold or NEAR, noise=noise, progress=step)
    if strict:
        found = found.strict()
    document = {"split": audited} | found.as_dict() | {"lists": write_lists(out, samples, looks, found) if out else []}
    if out is not None:
        write_json(out / "audit.json", document)
        write_audit_report(out / "audit.html", samples, looks, found, title)
    if as_json:
        typer.echo(json.dumps(document, ensure_ascii=False))
    else:
        _print(title, found, parted)
        if out is not None:
            typer.echo("\n".join(str(out / name) for name in ("audit.html", *document["lists"])))
    refuse(found.blocking)


def _print(title: str, found: "Audit", parted: bool) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    table = Table(title=f"{title}: {found.images:,} pictures", title_justify="left")
    table.add_column("severity")
    table.add_column("finding", no_wrap=True)
    table.add_column("meaning", overflow="fold")
    table.add_column("count", justify="right")
    for finding in found.findings:
        style = _STYLE[finding.severity]
        meaning = f"{escape(finding.message)}\n[dim]{escape(finding.advice)}[/dim]"
        table.add_row(f"[{style}]{finding.severity}[/{style}]", finding.code, meaning, f"{finding.count:,}")
    console.print(table if found.findings else f"{title}: {found.images:,} pictures, nothing found")
    if not parted:
        console.print("no split is published, so leaks between parts were not looked for: add --split stratified")
