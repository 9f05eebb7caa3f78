"""Options that several commands have, those of the form KEY=VALUE, and paths on stdin."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mien.errors import UsageError

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Recipes = Annotated[list[Path], typer.Argument(metavar="RECIPE...", help="Recipes, or grids of recipes.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe; repeatable.")
]

Source = Annotated[str, typer.Argument(help="A source by name: fer2013, ferplus, folders, manifest, ...")]
Root = Annotated[Path | None, typer.Argument(help="The folder (or file) of the data; synthetic needs none.")]
SourceOption = Annotated[
    list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="An option of the source; repeatable.")
]
Split = Annotated[str, typer.Option(help="train, validation, test or all.")]
Merge = Annotated[
    list[str] | None,
    typer.Option("--merge", metavar="FROM=TO", help="Count one label as another, such as contempt=disgust."),
]

Model = Annotated[str, typer.Option(help="The name of a shipped model, or the path of a bundle.")]
Crop = Annotated[str, typer.Option(help="face: find the faces. whole: each picture is one face.")]
Detector = Annotated[str, typer.Option(help="auto, yunet or haar.")]
Batch = Annotated[int, typer.Option(min=1, max=4096, help="Faces that go through the network at once.")]
Every = Annotated[int, typer.Option(min=1, help="Video: sample every n-th frame.")]


def pairs(texts: Sequence[str] | None, what: str) -> dict[str, str]:
    """The mapping that repeated KEY=VALUE options stand for. Raises UsageError that names `what` was expected.

    >>> pairs(["mode=votes"], "a source option")
    {'mode': 'votes'}
    """
    found: dict[str, str] = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"{what} must be written KEY=VALUE", got=text)
        if key.strip() in found:
            raise UsageError(f"{what} may be given once per KEY", got=texts)
        found[key.strip()] = value.strip()
    return found


def source_options(texts: Sequence[str] | None) -> dict[str, Any]:
    """The options of a source, KEY=VALUE each with a value in YAML. Raises UsageError for one that is none.

    >>> source_options(["mode=votes", "rename={Grumpy: anger, Confused: null}"])
    {'mode': 'votes', 'rename': {'Grumpy': 'anger', 'Confused': None}}
    """
    import yaml

    from mien.files import from_yaml

    given = pairs(texts, "a source option")
    try:
        return {key: from_yaml(value) for key, value in given.items()}
    except (yaml.YAMLError, ValueError) as reason:  # ValueError: a date that is none, such as 2024-13-01
        raise UsageError(
            f"the value of a source option is not valid YAML: {reason}", got=texts, allowed="as rename={Grumpy: anger}",
            then="put a text that begins with * or { in quotes of its own, as in \"pattern='*/<label>.png'\"",
        ) from reason  # fmt: skip


def listed() -> Iterator[list[str]]:
    """The paths on stdin, a line each, as many at once as are there: names as bytes, which need not be UTF-8.

    Raises UsageError where there is no stdin.
    """
    if sys.stdin is None:
        raise UsageError("there is no standard input to read paths from", got="-")
    rest = b""
    while data := sys.stdin.buffer.read1(1 << 16):  # type: ignore[union-attr]
        *lines, rest = (rest + data).split(b"\n")
        yield [os.fsdecode(name) for line in lines if (name := line.rstrip(b"\r"))]
    if rest:
        yield [os.fsdecode(rest.rstrip(b"\r"))]
