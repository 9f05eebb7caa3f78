"""How far long work is, told stage by stage."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Hears how much of a stage is done: (done, total)."""

Stages = Callable[[str], Progress | None]
"""Gives the progress callback of a stage by its name."""


def silent(stage: str) -> None:
    """Stages that tell nobody."""


def within(stages: Stages, place: str) -> Stages:
    """The same stages, each named after the place that it has among others of its name."""
    return lambda stage: stages(f"{place}: {stage}")
