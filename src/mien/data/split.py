"""Who trains, who validates, who tests: official, stratified and grouped splits, and folds of either kind.

A row's place follows from the seed and the names of the images (or groups) of its class, through a hash: the same split
on every machine and library version, whatever the order of the rows. One image more or less moves few others.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mien.data.samples import SPLITS, Samples
from mien.errors import DataError, UsageError, counted, unknown
from mien.files import digest

Method = Literal["official", "stratified", "grouped", "kfold", "grouped-kfold"]
Group = Literal["subject", "sequence"]
Parts = NDArray[np.int64]  # index into SPLITS or number of a fold, (N,); -1 for a row left out

NO_TEST_PART = "no official test part is among the rows"
NO_VALIDATION_PART = "the dataset publishes no validation part"
"""How the remark of `notes` begins where a published part serves as another, or a drawn one stands in for it."""

_MORE_ROWS = "leave the class out with data.classes, raise data.limit where one is set, or bring more pictures of it"


@dataclass(frozen=True)
class SplitSpec:
    """How to split. Raises UsageError for values that no dataset could satisfy.

    `fractions` are the shares of train, validation and test and sum to 1; folds and official splits without
    validation use them for validation against train only. `fold` of `folds` is the test part of a k-fold split.
    `group` names the column that grouped methods keep whole.
    """

    method: Method = "official"
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    folds: int = 10
    fold: int = 0
    group: Group = "subject"
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "fractions", tuple(float(share) for share in self.fractions))
        for kind, got, known in (("split method", self.method, Method), ("split group", self.group, Group)):
            if got not in get_args(known):
                raise unknown(kind, str(got), get_args(known))
        shares = self.fractions
        if len(shares) != 3 or not abs(sum(shares) - 1) <= 1e-6 or min(shares) < 0 or not shares[0]:
            raise UsageError(
                "split fractions must be three shares (train, validation, test) that sum to 1, with train above 0",
                got=shares,
            )
        if self.folds < 2:
            raise UsageError("a k-fold split needs at least two folds", got=self.folds)
        if not 0 <= self.fold < self.folds:
            raise UsageError("no such fold", got=self.fold, allowed=f"0 to {self.folds - 1}")


def assign(samples: Samples, spec: SplitSpec) -> Samples:
    """The same dataset with its `split` column filled as `spec` says; rows without a label are left out of every split.

    Raises DataError where the data cannot be split so.

    >>> from mien.data.samples import Rows, table
    >>> rows = table([f"#{i}" for i in range(20)], ["fear", "anger"] * 10, source="example")
    >>> samples = Samples(rows, ("anger", "fear"), Rows(np.zeros((20, 8, 8), np.uint8), "example"))
    >>> assigned = assign(samples, SplitSpec("stratified", (0.6, 0.2, 0.2)))
    >>> [len(assigned.rows(split)) for split in SPLITS]
    [12, 4, 4]
    """
    parts = _METHODS[spec.method](samples, spec)
    return samples.with_split([SPLITS[part] if part >= 0 else None for part in parts])


def notes(samples: Samples, spec: SplitSpec) -> tuple[str, ...]:
    """What a reader of results must know about `assign(samples, spec)`; `samples` as they were before it."""
    unlabelled = samples.targets < 0
    said = (f"{counted(int(unlabelled.sum()), 'row')} without a label left out",) if unlabelled.any() else ()
    if spec.method != "official":
        published = [part for part in SPLITS if len(samples.rows(part))]
        mixed = f"the dataset publishes {', '.join(published)} parts, and split.method: {spec.method} mixes them anew"
        return (*said, mixed) if len(published) > 1 else said
    if without := int((samples.table["split"].isna() & ~unlabelled).sum()):
        said = (*said, f"{without:,} rows that the dataset puts into no part are left out")
    return (*said, *_about_parts(samples, spec))


def unlearnable(samples: Samples) -> tuple[str, ...]:
    """Remarks on classes that no row shows, on those that test rows show and no training row does, and `unjudged`."""
    remarks = []
    given = set(samples.table["label"])
    if absent := [label for label in samples.labels if label not in given]:
        ways = "raise data.limit where one is set, or set data.classes to the others"
        remarks.append(f"no row shows {', '.join(absent)}: {ways}")
    shown = set(samples.targets[samples.rows("train")].tolist())
    if lost := [target for target in samples.targets[samples.rows("test")].tolist() if target not in shown]:
        names = ", ".join(samples.labels[target] for target in sorted(set(lost)))
        remarks.append(f"no training row shows {names}: the {len(lost):,} test rows that do cannot be answered right")
    return (*remarks, *(said for said, _ in unjudged(samples).values()))


def unjudged(samples: Samples) -> dict[str, tuple[str, int]]:
    """By part, validation or test: what to say of classes that other rows show and no row of it, and how many."""
    found = {}
    given = set(samples.table["label"].dropna())
    for part in SPLITS[1:]:
        shown = set(samples.table["label"].iloc[samples.rows(part)].dropna())
        if shown and (lacking := [label for label in samples.labels if label in given - shown]):
            effect = f"macro figures are over {len(shown)} of {len(samples.labels)} classes"
            found[part] = (f"no {part} picture of {', '.join(lacking)}: its {effect}", len(lacking))
    return found


def _about_parts(samples: Samples, spec: SplitSpec) -> tuple[str, ...]:
    if len(samples.rows("validation")) and len(samples.rows("test")):
        unused = [f"split.{key}" for key in ("fractions", "seed") if getattr(spec, key) != getattr(SplitSpec, key)]
        return (f"the dataset publishes all three parts: {' and '.join(unused)} changed nothing",) if unused else ()
    share = f"{_validation_share(spec):.0%} of the official training rows (seed {spec.seed}) serve as validation"
    if len(samples.rows("validation")):
        return (f"{NO_TEST_PART}: the validation part is the test here, and {share}",)
    return (f"{NO_VALIDATION_PART}: {share}",)


def _official(samples: Samples, spec: SplitSpec) -> Parts:
    if samples.table["split"].isna().all():
        raise DataError(
            "the dataset has no official split",
            allowed=[name for name in get_args(Method) if name != "official"],
            then="set split.method: grouped where subjects are named, else stratified",
        )
    parts = _left_out(samples)
    for number, name in enumerate(SPLITS):
        parts[samples.rows(name)] = number
    parts[samples.targets < 0] = -1
    for name in ("train", "test"):
        if not len(samples.rows(name)) and not (name == "test" and len(samples.rows("validation"))):
            raise DataError(
                f"the official split has no {name} part",
                then="set split.method: stratified, or raise data.limit where one is set",
            )
    # Of two published parts the second is what others report on, whatever its name: it must choose nothing.
    if not (parts == 2).any():
        parts[parts == 1] = 2
    if not (parts == 1).any():
        parts = _carve_validation(samples, parts, spec)
    return parts


def _stratified(samples: Samples, spec: SplitSpec) -> Parts:
    return _by_class(samples, np.flatnonzero(samples.targets >= 0), spec.fractions, (spec.seed,))


def _grouped(samples: Samples, spec: SplitSpec) -> Parts:
    rows = np.flatnonzero(samples.targets >= 0)
    return _by_group(samples, rows, spec.fractions, (spec.seed,), _groups(samples, rows, spec.group))


def _kfold(samples: Samples, spec: SplitSpec) -> Parts:
    """Stratified folds: each class, shuffled, is cut into equal pieces; sizes differ by one at most, also in all."""
    rows = np.flatnonzero(samples.targets >= 0)
    targets = samples.targets[rows]
    trains = 2 if _validation_share(spec) else 1  # rows of a class that a fold must leave
    least = 2 * trains if spec.folds == 2 else spec.folds
    for label, count in zip(samples.labels, np.bincount(targets, minlength=len(samples.labels)), strict=True):
        if 0 < count < least:
            raise DataError(
                f"{spec.folds} folds need at least {least} images of every class",
                got=f"{count} of {label}",
                then=(f"set split.folds to {count}, or " if count > trains else "") + _MORE_ROWS,
            )
    rank = _ranks(samples.table["image"].iloc[rows], (spec.seed, "folds"))
    folds, numbers, larger = _left_out(samples), np.arange(spec.folds), 0
    for target in np.unique(targets):
        members = rows[targets == target][np.argsort(rank[targets == target])]
        size, spare = divmod(len(members), spec.folds)
        # The fold after those that have one more already is the next to have one.
        sizes = size + ((numbers - larger) % spec.folds < spare)
        folds[members], larger = np.repeat(numbers, sizes), larger + spare
    return _test_fold(samples, folds, spec)


def _grouped_kfold(samples: Samples, spec: SplitSpec) -> Parts:
    rows = np.flatnonzero(samples.targets >= 0)
    shares = (1 / spec.folds,) * spec.folds
    folds = _by_group(samples, rows, shares, (spec.seed, "folds"), _groups(samples, rows, spec.group))
    return _test_fold(samples, folds, spec)


_METHODS: dict[str, Callable[[Samples, SplitSpec], Parts]] = {
    "official": _official,
    "stratified": _stratified,
    "grouped": _grouped,
    "kfold": _kfold,
    "grouped-kfold": _grouped_kfold,
}


def _test_fold(samples: Samples, folds: Parts, spec: SplitSpec) -> Parts:
    """The fold under test becomes test, and a part of the others validation."""
    parts = np.where(folds < 0, -1, np.where(folds == spec.fold, 2, 0))
    return _carve_validation(samples, parts, spec)


def _carve_validation(samples: Samples, parts: Parts, spec: SplitSpec) -> Parts:
    """Move a share of the training rows to validation: whole people or sequences where all are named, else by class."""
    share = _validation_share(spec)
    if not share:
        return parts
    rows = np.flatnonzero(parts == 0)
    key = (spec.seed, "validation", spec.fold if "kfold" in spec.method else "official")
    grouped = spec.method == "grouped-kfold"
    group: str = spec.group
    if spec.method == "official":
        named = [each for each in ("subject", "sequence") if samples.table[each].iloc[rows].notna().all()]
        several = [each for each in named if group_names(samples.table.iloc[rows], each).nunique() > 1]
        grouped, group = bool(several), (*several, group)[0]
    if grouped:
        carved = _by_group(samples, rows, (1 - share, share), key, _groups(samples, rows, group))
    else:
        carved = _by_class(samples, rows, (1 - share, share), key)
    return np.where(carved >= 0, carved, parts)


def _validation_share(spec: SplitSpec) -> float:
    train, validation, _ = spec.fractions
    return validation / (train + validation)


def _by_class(samples: Samples, rows: Parts, shares: tuple[float, ...], key: tuple[object, ...]) -> Parts:
    """Split `rows` into parts of the given shares within every class, at least one image of each in each part."""
    parts = _left_out(samples)
    used = [i for i, share in enumerate(shares) if share]
    targets = samples.targets[rows]
    rank = _ranks(samples.table["image"].iloc[rows], key)
    for target in np.unique(targets):
        members = rows[targets == target][np.argsort(rank[targets == target])]
        if len(members) < len(used):
            raise DataError(
                f"a split into {len(used)} parts needs at least {len(used)} images of every class",
                got=f"{len(members)} of {samples.labels[target]}",
                then=_MORE_ROWS,
            )
        parts[members] = np.repeat(np.arange(len(shares)), _sizes(len(members), np.array(shares)))
    return parts


def _sizes(count: int, shares: NDArray[np.float64]) -> Parts:
    """`count` in whole parts by largest remainder, none with a share left empty."""
    wished = count * shares
    sizes = np.maximum(np.floor(wished + 1e-9), shares > 0).astype(np.int64)
    spare = count - int(sizes.sum())
    if spare > 0:
        sizes[np.argsort(sizes - wished, kind="stable")[:spare]] += 1
    else:
        sizes[np.argmax(sizes)] += spare
    return sizes


def _by_group(
    samples: Samples, rows: Parts, shares: tuple[float, ...], key: tuple[object, ...], groups: NDArray[np.object_]
) -> Parts:
    """Split whole groups into parts of the given shares, every class near its share in every part.

    Greedy, as scikit-learn's StratifiedGroupKFold, for unequal shares: groups from large to small, each to the part
    where the chi-squared distance between the class counts and those wished for grows least.
    """
    used = [i for i, share in enumerate(shares) if share]
    names, member = np.unique(groups, return_inverse=True)
    if len(names) < len(used):
        raise DataError(
            f"a split into {len(used)} parts needs as many groups",
            got=f"{len(names)}: {', '.join(names)}",
            then="ask for fewer with split.folds or split.fractions, or raise data.limit where one is set",
        )
    counts = np.zeros((len(names), len(samples.labels)))
    np.add.at(counts, (member, samples.targets[rows]), 1)
    wished = np.array(shares)[used, None] * np.maximum(counts.sum(0), 1)
    filled = np.zeros_like(wished)
    place = np.zeros(len(names), np.int64)
    # Sizes are compared by powers of two: large groups go first, and the seed still decides among the like.
    order = np.lexsort((_ranks(names, key), -np.floor(np.log2(counts.sum(1)))))
    for done, group in enumerate(order):
        growth = ((2 * filled + counts[group]) * counts[group] / wished).sum(1)
        empty = filled.sum(1) == 0
        if empty.sum() == len(order) - done:
            growth[~empty] = np.inf
        best = int(np.argmin(growth))
        filled[best] += counts[group]
        place[group] = used[best]
    parts = _left_out(samples)
    parts[rows] = place[member]
    return parts


def clusters(table: pd.DataFrame) -> list[str | None] | None:
    """What rows are drawn by in intervals: their subject, else their sequence, None for a row without one.

    Where none is named, made rows are drawn with the picture that they were made of; None in all where each row is by
    itself.
    """
    for group in ("subject", "sequence"):
        names = group_names(table, group)
        if names.notna().any():
            return [None if pd.isna(name) else str(name) for name in names]
    if "parent" in table and table["parent"].notna().any():
        # A parent is named by its row, which is the index of the table.
        return [str(row if pd.isna(parent) else parent) for row, parent in table["parent"].items()]
    return None


def group_names(table: pd.DataFrame, group: str) -> pd.Series:
    """The group of every row, missing where none is named; datasets number sequences from one for each subject."""
    names = table[group].astype("string")
    return table["subject"].astype("string").fillna("") + "/" + names if group == "sequence" else names


def _groups(samples: Samples, rows: Parts, group: str) -> NDArray[np.object_]:
    names = group_names(samples.table.iloc[rows], group)
    if names.isna().any():
        bare = samples.table["image"].iloc[rows[names.isna().to_numpy(bool)]]
        raise DataError(
            f"a split by {group} needs a {group} for every image",
            got=f"{len(bare)} of {len(rows)} images name none, the first: {', '.join(bare[:3])}",
            then=f"fill the column {group} of the manifest (its option columns maps names), or have the option pattern "
            "of the source folders read it from the paths; split.method: stratified does without, but where people "
            "come more than once, the same faces train and test, and figures show how well people are recognised",
        )  # fmt: skip
    return names.to_numpy(object)


def _ranks(names: Iterable[str], key: tuple[object, ...]) -> NDArray[np.str_]:
    """A seeded shuffle: a hash for every name, to be sorted by."""
    prefix = "/".join(map(str, key))
    return np.array([digest(prefix, name) for name in names], "U32")


def _left_out(samples: Samples) -> Parts:
    return np.full(len(samples), -1, np.int64)
