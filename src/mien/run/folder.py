"""The folder of a run: whether a run may go there, or go on there, and the tables in it."""

from pathlib import Path

import pandas as pd

from mien.errors import RunError
from mien.files import replacing
from mien.recipe import Recipe, load


def check_free(folder: Path, recipe: Recipe, resume: bool) -> None:
    """Whether a run may go here: into a new folder, or, to go on, into one of the same recipe."""
    kept = folder / "recipe.yaml"
    if not kept.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise RunError(f"{folder} holds something other than a run", then="choose another folder with --out")
        return
    if not resume:
        raise RunError(f"{folder} already holds a run", then="continue it with --resume, or choose another --out")
    earlier_one = load(kept)
    if earlier_one.digest != recipe.digest:
        raise RunError(f"{folder} holds a run of another recipe", then=f"see {kept}, or choose another --out")
    ours, theirs = _roots(recipe), _roots(earlier_one)
    if ours != theirs:
        raise RunError(
            f"{folder} holds a run on other data", got=ours, allowed=theirs,
            then=f"choose another --out; if the data was only moved, change its root in {kept}",
        )  # fmt: skip


def _roots(recipe: Recipe) -> list[str]:
    """Where the data of a recipe is, and that which it is cleaned against."""
    return [str(data.root.resolve()) if data.root else "-" for data in (recipe.data, *recipe.others)]


def check_same_rows(folder: Path, table: pd.DataFrame) -> None:
    """Whether a run that goes on still has the rows it began with: a row may have moved from training into test."""
    kept = folder / "samples.parquet"
    if not kept.is_file():
        return
    told = ["digest", "label", "split"]
    before, now = (part[told].fillna("").astype(str) for part in (pd.read_parquet(kept, columns=told), table))
    if before.to_numpy().tolist() != now.to_numpy().tolist():
        raise RunError(
            f"the pictures, labels or split of {folder} have changed since it began",
            got=f"{len(now)} rows, {len(before)} then",
            then="restore the data as it was, or choose another --out",
        )


def save_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as Parquet, beside the file and then in its place."""
    with replacing(path) as beside:
        table.to_parquet(beside)


def precision(folder: Path) -> str:
    """The arithmetic of the fit, which `fit.precision: auto` leaves to machine and network."""
    kept = folder / "checkpoints" / "precision"
    return kept.read_text() if kept.is_file() else "32-true"


def seconds_of_fit(folder: Path) -> float:
    """How long the fit took, in seconds, over all the processes that worked on it."""
    history = pd.read_csv(folder / "history.csv")
    # A triplet fit counts iterations and its time from the beginning; each epoch of another has a time of its own.
    return float(history["seconds"].iloc[-1] if "iteration" in history else history["seconds"].sum())
