"""mien models: what ships, with its figures; mien models pull: a file that is fetched on request only."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli import printing
from mien.cli.options import AsJson
from mien.errors import UsageError

if TYPE_CHECKING:
    from mien.runtime.bundle import Bundle


def models(
    context: typer.Context,
    model: Annotated[
        list[str] | None, typer.Option("--model", help="Only this one: a name, or the path of a bundle; repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the models of this installation and their figures, or those of your own bundles, and what finds faces.

    Example: mien models --json
    """
    if context.invoked_subcommand:
        if as_json or model:
            raise UsageError("--json and --model are not for `mien models pull`", then="mien models pull NAME --json")
        return
    from mien.imaging.models import present
    from mien.runtime.bundle import load, names

    found = [load(name) for name in model or names()]
    if as_json:
        typer.echo(
            json.dumps([{"size": one.size, **one.info.model_dump(mode="json")} for one in found], ensure_ascii=False)
        )
        return
    if not found:
        typer.echo("no model ships with this installation; make one with: mien export RUN")
        return
    headings = ("model", "classes", "test accuracy [95%]", "size", "rows")
    printing.table(headings, [_row(one) for one in found])
    detector = present("yunet")
    typer.echo(f"faces are found by {f'YuNet: {detector}' if detector else 'Haar; for YuNet: mien models pull yunet'}")
    typer.echo("labels, licence, origin and all figures: mien models --json, and docs/models")


def _row(one: "Bundle") -> tuple[str, ...]:
    from mien.files import printable

    figures = one.info.figures
    found, protocol = figures.get("test", {}).get("accuracy"), str(figures.get("protocol", ""))
    rows = printable(protocol.partition("@")[0]) or "not stated"
    return one.info.name, str(len(one.info.labels)), _accuracy(found), f"{one.size / 2**20:.1f} MiB", rows


def _accuracy(found: dict[str, float | None] | None) -> str:
    """An accuracy with its interval, if it has one: one subject has none, nor has a run with `bootstrap: 0`."""
    if found is None or found["value"] is None:
        return "not stated"
    low, high = found["low"], found["high"]
    return f"{found['value']:.1%}" + ("" if low is None or high is None else f" [{low:.1%}, {high:.1%}]")


def pull(
    name: Annotated[str, typer.Argument(help="yunet, or the name of a restoration model.")], as_json: AsJson = False
) -> None:
    """Download a published model file to the folder MIEN_MODELS, or to the cache, and check its SHA-256.

    Example: mien models pull yunet
    """
    from mien.cli.progress import progress
    from mien.imaging.models import MODELS
    from mien.imaging.models import pull as fetch

    with progress(f"downloading {name}") as moved:
        path = fetch(name, moved)
    licence = MODELS[name].licence
    document = {"name": name, "path": str(path), "licence": licence}
    typer.echo(json.dumps(document, ensure_ascii=False) if as_json else f"{path} (licence: {licence})")
