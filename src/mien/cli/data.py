"""mien data stats, preview, cache: look at a dataset before anything is done with it, and at what is kept of it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.options import AsJson, Root, Source, SourceOption, source_options
from mien.errors import DataError, UnreadableImage, UsageError, counted

if TYPE_CHECKING:
    from rich.table import Table

    from mien.data.cache import Kept
    from mien.data.preview import Picture, Show
    from mien.data.samples import Samples
    from mien.data.stats import Spread, Stats

SHOWN = 10


def stats(
    source: Source,
    root: Root = None,
    option: SourceOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 when a picture cannot be read.")] = False,
    as_json: AsJson = False,
) -> None:
    """Count pictures per class and split, measure them, and list those that are missing or unreadable.

    Example: mien data stats ferplus data/ferplus --option mode=plurality
    """
    from dataclasses import asdict

    from mien.cli.progress import progress
    from mien.data.stats import stats as measure

    samples = _load(source, root, option)
    with progress("reading pictures") as step:
        found = measure(samples, step)
    if as_json:
        typer.echo(json.dumps(asdict(found), ensure_ascii=False))
    else:
        _print(found)
    if strict and found.problems:
        raise DataError(
            f"{len(found.problems)} of {found.rows} pictures cannot be read",
            got=[problem.image for problem in found.problems[:SHOWN]],
        )


def preview(
    source: Source,
    root: Root = None,
    out: Annotated[Path, typer.Option(help="The PNG file to write.")] = Path("preview.png"),
    option: SourceOption = None,
    columns: Annotated[int, typer.Option(min=1, max=100, help="Pictures per class.")] = 12,
    tile: Annotated[int, typer.Option(min=16, max=512, help="Width and height of a picture in pixels.")] = 72,
    seed: Annotated[int, typer.Option(min=0, help="Seed that chooses the pictures.")] = 0,
    regions: Annotated[
        str | None, typer.Option(metavar="DETECTOR", help="Box faces, eyes, noses, mouths: viola-jones or yunet.")
    ] = None,
    chain: Annotated[
        str | None,
        typer.Option(metavar="STEPS", help="Show the result of a chain: '\\[grey, equalise, canny]'."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw a contact sheet with one row per class.

    Example: mien data preview synthetic --out sheet.png
    """
    from mien.data.preview import sheet
    from mien.files import replacing
    from mien.imaging.decode import encode_png

    if out.suffix.lower() != ".png":
        raise UsageError("a contact sheet is a PNG file", got=out, allowed="a name that ends in .png")
    if regions and chain:
        raise UsageError("--regions shows the original pictures, --chain the prepared ones", then="choose one")
    found: list[int] = []
    shown = {"show": _boxed(regions, tile, found)} if regions else {"show": _chained(chain)} if chain else {}
    samples = _load(source, root, option)
    image = sheet(samples, columns=columns, tile=tile, seed=seed, **shown)
    with replacing(out) as beside:
        beside.write_bytes(encode_png(image))
    document = {"out": str(out), "width": image.shape[1], "height": image.shape[0], "labels": list(samples.labels)}
    if regions:
        document |= {"looked_at": len(found), "no_face": found.count(0)}
    if as_json:
        typer.echo(json.dumps(document))
        return
    typer.echo(f"{out} ({image.shape[1]} x {image.shape[0]})")
    if regions:
        typer.echo(f"no face in {found.count(0)} of {len(found)} pictures")


def cache(
    older_than: Annotated[
        int, typer.Option("--older-than", metavar="DAYS", min=0, help="Only datasets unused for this many days.")
    ] = 0,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove the listed datasets; runs prepare them again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the prepared datasets in the cache folder, which save runs from preparing pictures twice.

    Example: mien data cache --older-than 30 --remove
    """
    from dataclasses import asdict
    from time import time

    from mien.data.cache import kept
    from mien.data.cache import remove as discard
    from mien.files import cache_folder

    found = [one for one in kept() if time() - one.used >= older_than * 86_400]
    if remove:
        discard(found)
    total = sum(one.bytes for one in found)
    if as_json:
        listed = [asdict(one) | {"folder": str(one.folder)} for one in found]
        typer.echo(json.dumps({"removed": remove, "bytes": total, "prepared": listed}, ensure_ascii=False))
        return
    for one in found:
        _print_kept(one)
    count, asked = counted(len(found), "prepared dataset"), f" (unused for {older_than} days)"
    state = f"{'removed' if remove else 'kept'}{asked if older_than else ''}"
    typer.echo(f"{count} {state}, {total / 1e6:,.1f} MB, in {cache_folder()}")


def _print_kept(one: "Kept") -> None:
    from datetime import datetime

    steps = [step if isinstance(step, str) else next(iter(step)) for step in one.chain]
    used = datetime.fromtimestamp(one.used).strftime("%Y-%m-%d")
    typer.echo(f"{used}  {one.bytes / 1e6:8,.1f} MB  {one.pictures:9,} pictures  {one.source}: {', '.join(steps)}")


def _boxed(detector: str, tile: int, found: list[int]) -> "Show":
    """Draws faces and their parts on a picture as large as its tile, and notes in `found` how many there were."""
    from mien.imaging.faces import detector_named
    from mien.imaging.operations import resize
    from mien.imaging.regions import draw_regions

    detect = detector_named(detector)

    def show(image: "Picture") -> "Picture":
        height, width = image.shape[:2]
        scale = max(1.0, tile / max(height, width))
        image = resize(image, round(height * scale), round(width * scale))
        faces = detect(image)
        found.append(len(faces))
        return draw_regions(image, faces)

    return show


def _chained(text: str) -> "Show":
    """Draws what a chain makes of a picture; a picture that it drops cannot be shown, and is crossed out."""
    import yaml

    from mien.files import from_yaml
    from mien.imaging.chain import Chain

    try:
        chain = Chain.parse(from_yaml(text))
    except yaml.YAMLError as error:
        raise UsageError(f"--chain is not valid YAML: {error}", got=text, allowed="[grey, equalise, canny]") from error

    def show(image: "Picture") -> "Picture":
        outcome = chain.run(image)
        if outcome.pixels is None:
            raise UnreadableImage(f"dropped by the chain: {', '.join(outcome.notes)}")
        return outcome.pixels

    return show


def _load(source: str, root: Path | None, option: list[str] | None) -> "Samples":
    from mien.data.sources import catalog

    return catalog.load(source, root, **source_options(option))


def _print(found: "Stats") -> None:
    from rich.console import Console

    console = Console()
    console.print(_counts(found))
    console.print(f"size    {_span('height', found.height)}, {_span('width', found.width)}")
    console.print(f"colour  {found.grey:,} grey, {found.colour:,} colour")
    if found.subjects or found.sequences:
        console.print(f"people  {counted(found.subjects, 'subject')}, {counted(found.sequences, 'sequence')}")
    if found.empty:
        console.print(f"empty   no picture of {', '.join(found.empty)}")
    console.print(f"broken  {len(found.problems):,} missing or unreadable")
    for problem in found.problems[:SHOWN]:
        console.print(f"  {problem.image}: {problem.reason}", markup=False, highlight=False, soft_wrap=True)
    if len(found.problems) > SHOWN:
        console.print(f"  and {len(found.problems) - SHOWN:,} more; --json lists them all")


def _counts(found: "Stats") -> "Table":
    from rich.table import Table

    table = Table(title=f"{found.source}: {found.rows:,} pictures", title_justify="left", show_footer=True)
    table.add_column("label", footer="all")
    for split in found.splits:
        title = "no split" if split == "none" else split
        table.add_column(title, justify="right", footer=f"{sum(part[split] for part in found.counts.values()):,}")
    table.add_column("all", justify="right", footer=f"{found.rows:,}")
    table.add_column("share", justify="right")
    for label, parts in found.counts.items():
        total = sum(parts.values())
        counts = [f"{parts[split]:,}" for split in found.splits]
        table.add_row(label, *counts, f"{total:,}", f"{total / found.rows:.1%}")
    return table


def _span(name: str, spread: "Spread | None") -> str:
    return f"{name} {spread.min} to {spread.max} (median {spread.median:g})" if spread else f"{name} unknown"
