"""The runs of a comparison, trained at once on a cluster."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from mien.errors import MienError, RunError, UsageError
from mien.experiment import begin_repetitions, train
from mien.grids import Cell
from mien.recipe import Recipe
from mien.scale.cluster import Died, Unfit, room, shared_out

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
    wanted: Sequence[Cell], folder: Path, cpus: float, gpus: float, moved: Callable[[int, int], None]
) -> dict[str, Exception]:
    """Train the runs of the cells on the cluster that is connected, each on `cpus` cores and `gpus` accelerators; why
    cells failed, by name.

    Finished runs are kept, and begun ones go on. `moved(done, all)` hears of every run that ends. Raises UsageError
    where no machine has room for a run or a share of accelerators cannot be, Unfit where one lacks the working folder.
    """
    if gpus > 1 and gpus % 1:
        raise UsageError(
            "a run has a part of one accelerator or whole ones", got=f"--gpus {gpus:g}", allowed="0.5, 1, 2"
        )
    if not any(each.get("CPU", 0) >= cpus and each.get("GPU", 0) >= gpus for each in room()):
        raise UsageError(
            "no machine of the cluster has room for a run", got={"CPU": cpus, "GPU": gpus},
            allowed=[{name: each.get(name, 0) for name in ("CPU", "GPU")} for each in room()],
            then="--cpus and --gpus say what a run takes",
        )  # fmt: skip
    failures: dict[str, Exception] = {}
    for cell in wanted:
        if cell.recipe.repetitions:
            try:
                begin_repetitions(cell.recipe, folder / cell.recipe.name, resume=True)
            except MienError as error:
                failures[cell.recipe.name] = error
    todo = [piece for piece in pieces(wanted, folder) if piece[0] not in failures]
    moved(0, len(todo))
    ended = shared_out(todo, partial(_trained, Path.cwd(), gpus > 0), [], cpus, gpus)
    for done, ((name, _, place), found) in enumerate(ended, 1):
        if isinstance(found, Died):
            found = RunError(f"the process of {place} died: {found}", then="run the same command again: it goes on")
        if isinstance(found, Exception):
            failures[name] = found
        moved(done, len(todo))
    return failures


def _trained(here: Path, accelerated: bool, piece: Piece) -> Path:
    """A run, trained in a process of the cluster, which stands where the command was given."""
    try:
        os.chdir(here)
    except OSError as error:
        then = "give the command in a folder that all machines share: recipes name data and runs from there"
        raise Unfit(f"has no working folder {here}: {error.strerror}", then=then) from error
    if not accelerated:
        # Ray hides no accelerator from a task that asked for none.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    _, recipe, place = piece
    return train(recipe, place, resume=True)
