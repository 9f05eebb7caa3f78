"""Options of the form KEY=VALUE."""

from collections.abc import Sequence

from mien.errors import UsageError


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
