"""The check before training: what the recipe itself causes is refused, what the data brings along is said."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mien.data.audit.check import Audit
from mien.data.audit.findings import Finding
from mien.errors import AuditBlocked

Policy = Literal["on", "strict", "off"]


@dataclass(frozen=True)
class Promises:
    """What a recipe says about its own honesty: the split it chooses epochs and thresholds on (`monitor`)."""

    monitor: str = "validation"


def recipe_findings(promises: Promises) -> list[Finding]:
    """What is wrong with the recipe itself, whatever the data."""
    if promises.monitor != "test":
        return []
    return [Finding(
        "test-as-monitor", "block", 1,
        "the test split chooses the epoch, so the test figure is no longer one of unseen pictures",
        "choose on validation: fit.monitor: validation", leak=True,
    )]  # fmt: skip


def check_before_training(audit: Audit, policy: Policy = "on", promises: Promises | None = None) -> Audit:
    """Let a run start, or raise AuditBlocked (exit code 3) that names every finding in its way.

    `on` refuses what the recipe causes; `strict` refuses every leak, also those of the data; `off` refuses nothing.
    Returns the audit as judged, with the recipe's own findings: what `audit.json` holds.
    """
    judged = audit.found(recipe_findings(promises or Promises()))
    if policy == "strict":
        judged = judged.strict()
    if policy != "off":
        refuse(judged.blocking)
    return judged


def refuse(blocking: Sequence[Finding]) -> None:
    """Raise AuditBlocked where there is a blocking finding."""
    if blocking:
        raise AuditBlocked(
            f"the audit blocks: {', '.join(finding.code for finding in blocking)}",
            got=[finding.message for finding in blocking],
            then="; ".join(dict.fromkeys(finding.advice for finding in blocking)),
        )
