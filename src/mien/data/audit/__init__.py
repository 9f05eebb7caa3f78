"""Leaks, twins and doubtful rows, found before a result is believed."""

from mien.data.audit.check import Audit, audit, clean_train
from mien.data.audit.findings import Finding, refuse
from mien.data.audit.looks import Looks, look, looks_of
from mien.data.audit.people import children
from mien.data.audit.seen import like_held_out, seen_before

__all__ = [
    "Audit",
    "Finding",
    "Looks",
    "audit",
    "children",
    "clean_train",
    "like_held_out",
    "look",
    "looks_of",
    "refuse",
    "seen_before",
]
