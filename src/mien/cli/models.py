"""mien models: what ships, with its figures; mien models pull: a file that is fetched on request only."""

import json
from typing import Annotated

import typer

from mien.errors import UsageError

_Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def models(context: typer.Context, as_json: _Json = False) -> None:
    """List the models of this installation: labels, figures, size, licence and origin.

    Example: mien models --json
    """
    if context.invoked_subcommand:
        if as_json:
            raise UsageError("--json comes after the name of the command", then="mien models pull NAME --json")
        return
    from mien.runtime.bundle import load, names

    found = [load(name) for name in names()]
    if as_json:
        typer.echo(
            json.dumps([{"size": one.size, **one.info.model_dump(mode="json")} for one in found], ensure_ascii=False)
        )
        return
    if not found:
        typer.echo("no model ships with this installation; make one with: mien export RUN")
    for one in found:
        info = one.info
        typer.echo(
            f"{info.name}  {len(info.labels)} classes, {one.size / 1e6:.1f} MB, {info.licence or 'licence not stated'}"
        )
        for name, value in info.figures.items():
            typer.echo(f"  {name}: {_shown(value)}")
        typer.echo(f"  labels: {', '.join(info.labels)}")
        typer.echo(f"  trained on: {info.training_data or 'not stated'}")
        typer.echo(f"  origin: {info.origin or 'not stated'}")


def pull(
    name: Annotated[str, typer.Argument(help="yunet, or the name of a restoration model.")], as_json: _Json = False
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


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(item)}" for key, item in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
