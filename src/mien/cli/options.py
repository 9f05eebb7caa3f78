"""Options that several commands have, and those of the form KEY=VALUE."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from mien.errors import UsageError

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe; repeatable.")
]


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

    given = pairs(texts, "a source option")
    try:
        return {key: yaml.safe_load(value) for key, value in given.items()}
    except (yaml.YAMLError, ValueError) as reason:  # ValueError: a date that is none, such as 2024-13-01
        raise UsageError(
            f"the value of a source option is not valid YAML: {reason}", got=texts, allowed="as rename={Grumpy: anger}",
            then="put a text that begins with * or { in quotes of its own, as in \"pattern='*/<label>.png'\"",
        ) from reason  # fmt: skip
