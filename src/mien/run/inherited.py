"""What a run inherits from those that it builds on: the pictures and people that they were fitted on."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyarrow.parquet import read_schema

from mien.data.audit import Finding, Looks, look, seen_before
from mien.data.samples import Samples
from mien.data.sources import catalog
from mien.errors import MienError, counted
from mien.recipe import Dataset, Recipe, load
from mien.runtime import bundle

_KEPT = ("digest", "split", "source", "subject", "made_from")  # columns of a run's rows that are read here


def findings(
    samples: Samples, looks: Looks, dropped: NDArray[np.int64], run: Path, same_people: bool = True
) -> list[Finding]:
    """Validation and test rows on which the run of folder `run` was fitted, or near twins of such pictures.

    `looks` has one look a row; `dropped` are the training rows (k,) that are left out of training; `same_people` says
    whether a name means one person there and here. Pictures that stand among the other training rows too are twins of
    the data, and told as such elsewhere. That a run keeps no list of its pictures, or that they are not at hand any
    more, is a finding of its own.
    """
    known = fitted_on(run)
    if known is None:
        return [_unlisted(run)]
    held_out = np.concatenate([samples.rows("validation"), samples.rows("test")])
    trained = np.setdiff1d(samples.rows("train"), dropped)
    seen = seen_before(looks, held_out, known.difference(looks.digests[trained].tolist()), map(looks_of_data, [run]))
    found = []
    if seen.same.any():
        found.append(Finding(
            "held-out-seen-by-earlier-run", "block", int(seen.same.sum()),
            f"{counted(int(seen.same.sum()), 'validation or test picture')} among the training pictures of {run}, "
            "which this run builds on",
            "train both runs under the same split and the same split.clean",
            tuple(held_out[seen.same].tolist()), leak=True,
        ))  # fmt: skip
    if seen.alike.any():
        found.append(Finding(
            "held-out-like-those-of-earlier-run", "warning", int(seen.alike.sum()),
            f"{counted(int(seen.alike.sum()), 'validation or test picture')} with a near twin among the training "
            f"pictures of {run}, which this run builds on",
            "train both runs under the same split and the same split.clean",
            tuple(held_out[seen.alike].tolist()), leak=True,
        ))  # fmt: skip
    known_people = people_before(samples, held_out, [run] if same_people else []) & ~seen.same
    if known_people.any():
        found.append(Finding(
            "held-out-people-of-earlier-run", "warning", int(known_people.sum()),
            f"{counted(int(known_people.sum()), 'validation or test picture')} of people that {run}, which this run "
            "builds on, was fitted on",
            "split both runs by people in the same way: split.method: grouped, and one split.seed",
            tuple(held_out[known_people].tolist()), leak=True,
        ))  # fmt: skip
    test = samples.rows("test")
    chosen = test[np.isin(looks.digests[test], list(chosen_on(run) - known))]
    if len(chosen):
        found.append(Finding(
            "test-chose-earlier-run", "warning", len(chosen),
            f"{counted(len(chosen), 'test picture')} among the validation pictures of {run}, which this run builds on: "
            "its epoch was chosen on them",
            "train both runs under the same split", tuple(chosen.tolist()), leak=True,
        ))  # fmt: skip
    if seen.untold:
        found.append(Finding(
            "earlier-run-without-pictures", "warning", seen.untold,
            f"{counted(seen.untold, 'training picture')} of {run}, which this run builds on, missing: whether "
            "validation or test pictures are near twins of them cannot be checked",
            f"restore its data, or set data.root in {run / 'recipe.yaml'} to where it is now",
            leak=True,
        ))  # fmt: skip
    return found


def _unlisted(run: Path) -> Finding:
    advice = "restore the whole folder of that run, or train it again"
    if bundle.means_bundle(str(run)):
        data = bundle.load(str(run)).info.training_data.partition(",")[0] or "unknown data"
        advice = f"it was fitted on {data}: hold out pictures that it cannot have seen"
    elif run.is_file():
        advice = "name the folder of its run instead, or hold out pictures that it cannot have seen"
    return Finding(
        "earlier-run-without-list", "warning", 1,
        f"{run}, which this run builds on, keeps no list of its training pictures: whether validation or test pictures "
        "are among them cannot be checked",
        advice, leak=True,
    )  # fmt: skip


def fitted_on(run: Path) -> set[str] | None:
    """The digests of the pictures that a run was fitted on, and of those that rows it was fitted on were made from.

    None without a list, as for a bundle or a file of weights, and without one of what made rows come from.
    """
    table = _listed(run, "train")
    if table is None:
        return None
    made = (table["source"] == "made").to_numpy(bool)
    if made.any() and "made_from" not in table:
        return None
    parents: Iterable[Sequence[str]] = table["made_from"][made] if made.any() else []
    return {*table["digest"][~made].dropna(), *(digest for each in parents for digest in each)}


def chosen_on(run: Path) -> set[str]:
    """The digests of the pictures that the epoch of a run was chosen on, as far as it keeps a list."""
    table = _listed(run, "validation")
    return set() if table is None else set(table["digest"][(table["source"] != "made").to_numpy(bool)].dropna())


def people_before(samples: Samples, rows: NDArray[np.int64], runs: Iterable[Path]) -> NDArray[np.bool_]:
    """Which of the rows (N,) show people that one of the runs was fitted on: of one name, in a dataset of one name."""
    fitted: set[tuple[str, str]] = set()
    for run in runs:
        table = _listed(run, "train")
        if table is not None:
            people = table[["source", "subject"]].dropna().drop_duplicates()
            # A made row shows whom its parent shows.
            sources = set(people["source"]) - {"made"}
            fitted |= {(source, person) for source in sources for person in people["subject"]}
    ours = samples.table[["source", "subject"]].iloc[rows].astype(object)
    return np.array([pair in fitted for pair in ours.itertuples(index=False, name=None)], bool)


def _listed(run: Path, split: str) -> pd.DataFrame | None:
    """The rows of one split as a run keeps them; None without a list."""
    kept = run / "samples.parquet"
    if bundle.means_bundle(str(run)) or not kept.is_file():
        return None
    table = pd.read_parquet(kept, columns=[name for name in read_schema(kept).names if name in _KEPT])
    return table[(table["split"] == split).to_numpy(bool, na_value=False)]


def all_below(recipe: Recipe) -> list[Path]:
    """The runs and bundles that a recipe builds on, and those that they build on."""
    found: list[Path] = []
    for run in recipe.builds_on:
        below = all_below(load(run / "recipe.yaml")) if is_run(run) else []
        found += [each for each in (run, *below) if each not in found]
    return found


def looks_of_data(run: Path) -> Looks | None:
    """A look at every picture of the data that a run was made on; None where it is not at hand any more."""
    if not is_run(run):
        return None
    data = load(run / "recipe.yaml").data
    try:
        return look(catalog.load(data.source, data.root, **data.options))
    except MienError:
        return None


def names_same_people(run: Path, data: Dataset) -> bool:
    """Whether a name means one person in the data of an earlier run and in `data`: each list numbers people anew."""
    if not is_run(run):
        return False
    theirs = load(run / "recipe.yaml").data
    if theirs.source != data.source:
        return False
    if not catalog.SOURCES[data.source].numbers_anew:
        return True
    roots = [each.root and each.root.resolve() for each in (theirs, data)]
    return roots[0] == roots[1] and theirs.options == data.options


def is_run(place: Path) -> bool:
    """Whether there is a run, finished or not."""
    # A folder that is called as a shipped model is not what a recipe means by that name.
    return not bundle.means_bundle(str(place)) and (place / "recipe.yaml").is_file()
