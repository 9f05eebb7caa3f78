"""The runs of a comparison, trained at once on a cluster."""

import os
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from mien.compare import Cell
from mien.errors import MienError, RunError
from mien.experiment import begin_repetitions, train
from mien.recipe import Recipe
from mien.scale.cluster import Died, shared_out

Piece = tuple[str, Recipe, Path]


def pieces(wanted: Sequence[Cell], folder: Path) -> list[Piece]:
    """Each single run of the cells with the name of its cell and its folder: every seed and fold is one."""
    found = []
    for cell in wanted:
        name = cell.recipe.name
        singles = cell.recipe.repetitions or {"": cell.recipe}
        found += [(name, single, folder / name / place) for place, single in singles.items()]
    return found


def train_pieces(
    wanted: Sequence[Cell], folder: Path, workers: int, cpus: float, gpus: float, moved: Callable[[int, int], None]
) -> dict[str, Exception]:
    """Train the runs of the cells on the cluster that is connected, each on `cpus` cores and `gpus` accelerators; why
    cells failed, by name.

    Finished runs are kept, and begun ones go on. `moved(done, all)` hears of every run that ends.
    """
    failures: dict[str, Exception] = {}
    for cell in wanted:
        if cell.recipe.repetitions:
            try:
                begin_repetitions(cell.recipe, folder / cell.recipe.name, resume=True)
            except MienError as error:
                failures[cell.recipe.name] = error
    todo = deque(piece for piece in pieces(wanted, folder) if piece[0] not in failures)
    count, make = len(todo), partial(_trainer, Path.cwd())
    moved(0, count)
    for done, ((name, _, place), found) in enumerate(shared_out(todo, make, workers, cpus, gpus), 1):
        if isinstance(found, Died):
            found = RunError(f"the process of {place} died: {found}", then="run the same command again: it goes on")
        if isinstance(found, Exception):
            failures[name] = found
        moved(done, count)
    return failures


def _trainer(folder: Path) -> Callable[[Piece], Path]:
    """What trains runs in a process of the cluster, which stands where the command was given."""
    os.chdir(folder)
    return lambda piece: train(piece[1], piece[2], resume=True)
