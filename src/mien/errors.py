"""One family of errors: what was wrong, what was given, what is allowed, what to run next."""

import copyreg
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any


class MienError(Exception):
    """An error that the person at the keyboard can act on.

    The message is one sentence; `got`, `allowed` and `then` become lines of their own.
    The command line prints it without a traceback and leaves with `exit_code`.
    """

    exit_code = 1

    def __init__(self, what: str, *, got: object = None, allowed: object = None, then: str | None = None) -> None:
        self.what, self.got, self.allowed, self.then = what, got, allowed, then
        super().__init__(what)

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross from one process to another whatever their `__init__` takes.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]

    def __str__(self) -> str:
        lines = [self.what]
        if self.got is not None:
            lines.append(f"  given:   {_shown(self.got)}")
        if self.allowed is not None:
            lines.append(f"  allowed: {_shown(self.allowed)}")
        if self.then:
            lines.append(f"  next:    {self.then}")
        return "\n".join(lines)


class UsageError(MienError):
    """A wrong option, recipe key, name or label: nothing was started."""

    exit_code = 2


class DataError(MienError):
    """Files that are absent, broken or not what their layout promises."""


class Absent(DataError):
    """None of a dataset's files are where they were looked for."""


class UnreadableImage(DataError):
    """One picture that cannot be decoded; callers list it, with its `reason`, and go on unless asked to be strict."""

    def __init__(self, reason: str, *, name: str | None = None) -> None:
        self.reason = reason
        super().__init__(f"unreadable image {name}: {reason}" if name else reason)


class BundleError(MienError):
    """A model file that cannot be used."""


class RunError(MienError):
    """A run folder that is incomplete, taken, or of another recipe."""


class MissingExtra(MienError):
    """A feature whose packages are not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs packages that are not installed", then=f"pip install 'mien[{extra}]'")


class AuditBlocked(MienError):
    """An audit finding that stops the work."""

    exit_code = 3


def unknown(kind: str, got: str, known: Iterable[str]) -> UsageError:
    """The error for a name outside a fixed list, with the nearest known one suggested.

    >>> print(unknown("chain step", "resise", ["grey", "resize"]))
    unknown chain step
      given:   resise
      allowed: grey, resize
      next:    did you mean 'resize'?
    """
    names = sorted(known)
    near = get_close_matches(got, names, n=1)
    return UsageError(
        f"unknown {kind}", got=got, allowed=names or "none", then=f"did you mean '{near[0]}'?" if near else None
    )


def counted(count: int, noun: str) -> str:
    """A count with its noun, in the singular for one.

    >>> counted(1, "picture"), counted(1200, "picture")
    ('1 picture', '1,200 pictures')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def line_by_line(reasons: Mapping[str, str]) -> str:
    """What went wrong in several things by name, a line each.

    >>> print(line_by_line({"first": "no rows\\n  given: a", "second": "no weights"}))
    first: no rows given: a
    second: no weights
    """
    return "\n".join(f"{name}: {' '.join(reason.split())}" for name, reason in reasons.items())


def _shown(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple | set | frozenset) else str(value)
    return text.replace("\n", "\n" + " " * len("  given:   "))
