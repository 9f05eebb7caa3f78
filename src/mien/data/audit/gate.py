"""The check before training: what the recipe itself causes is refused, what the data brings along is said."""

from collections.abc import Sequence
from typing import Literal

from mien.data.audit.check import Audit
from mien.data.audit.findings import Finding
from mien.errors import AuditBlocked

Policy = Literal["on", "strict", "off"]


def check_before_training(audit: Audit, policy: Policy = "on", settled: tuple[str, ...] = ()) -> Audit:
    """Let a run start, or raise AuditBlocked (exit code 3) that names every finding in its way.

    `on` refuses what the recipe causes; `strict` refuses every leak, also those of the data; `off` refuses nothing.
    The codes `settled` are let through: the run itself will see to them.
    Returns the audit as judged: what `audit.json` holds.
    """
    judged = audit.strict() if policy == "strict" else audit
    if policy != "off":
        refuse([finding for finding in judged.blocking if finding.code not in settled])
    return judged


def refuse(blocking: Sequence[Finding]) -> None:
    """Raise AuditBlocked where there is a blocking finding."""
    if blocking:
        raise AuditBlocked(
            f"the audit blocks: {', '.join(finding.code for finding in blocking)}",
            got=[finding.message for finding in blocking],
            then="; ".join(dict.fromkeys(finding.advice for finding in blocking)),
        )
