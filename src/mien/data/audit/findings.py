"""What an audit says: findings, each with what to do about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mien.errors import AuditBlocked

Severity = Literal["info", "warning", "block"]

SEVERITIES: tuple[Severity, ...] = ("block", "warning", "info")


@dataclass(frozen=True)
class Finding:
    """One thing found: a stable `code`, how bad, how many, what it means, what to do, and the `rows` concerned.

    `leak` marks what lets a model see its test or validation pictures; under a strict audit such findings block.
    `predicted` is the class that a model gives each of the rows, and its probability, where one was asked.
    """

    code: str
    severity: Severity
    count: int
    message: str
    advice: str
    rows: tuple[int, ...] = ()
    leak: bool = False
    predicted: tuple[tuple[str, float], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, all but the rows, which can be a whole dataset."""
        return {
            "code": self.code,
            "severity": self.severity,
            "count": self.count,
            "message": self.message,
            "advice": self.advice,
        }


def by_severity(findings: list[Finding]) -> tuple[Finding, ...]:
    """Findings with the gravest first, otherwise in the order given."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))


def refuse(blocking: Sequence[Finding]) -> None:
    """Raise AuditBlocked (exit code 3), which names every finding, where there is one."""
    if blocking:
        raise AuditBlocked(
            f"the audit blocks: {', '.join(finding.code for finding in blocking)}",
            got=[finding.message for finding in blocking],
            then="; ".join(dict.fromkeys(finding.advice for finding in blocking)),
        )
