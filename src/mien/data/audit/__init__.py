"""Leaks, twins and doubtful rows, found before a result is believed."""

from mien.data.audit.check import Audit, audit, clean_train
from mien.data.audit.findings import Finding, refuse
from mien.data.audit.inherited import fitted_on, inherited, like_held_out, people_before, seen_before
from mien.data.audit.looks import Looks, look, looks_of
from mien.data.audit.people import children

__all__ = [
    "Audit",
    "Finding",
    "Looks",
    "audit",
    "children",
    "clean_train",
    "fitted_on",
    "inherited",
    "like_held_out",
    "look",
    "looks_of",
    "people_before",
    "refuse",
    "seen_before",
]
