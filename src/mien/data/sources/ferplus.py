"""FERPlus (Barsoum et al., ICMI 2016, arXiv:1608.01041): ten crowd votes for each FER2013 picture."""

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mien.data.samples import Files, Reader, Samples, table
from mien.data.sources import fer2013, pixels, tree
from mien.errors import DataError
from mien.labels import LABEL_SETS

ABOUT = "FERPlus: FER2013's pictures under ten votes each, eight labels"
LAYOUT = ("fer2013new.csv + [data/]FER2013{Train,Valid,Test}/*.png", "fer2013new.csv + fer2013.csv")
GET = "take fer2013new.csv from the FERPlus repository of its authors and put it beside fer2013.csv"
LICENCE = f"{fer2013.LICENCE}, FERPlus labels (MIT)"

VOTES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
FOLDERS = {"Training": "FER2013Train", "PublicTest": "FER2013Valid", "PrivateTest": "FER2013Test"}
LABELS = LABEL_SETS["ferplus"]

_TELLING, _AGREED = 100, 0.4  # rows, and the share of them that voters and FER2013 agree on at least


def load(root: Path, mode: Literal["majority", "plurality", "votes"] = "majority") -> Samples:
    """Read the votes and the pictures beside them, the rows chosen as the authors' code chooses them.

    First a lone vote for a label is struck out. `majority` keeps a row when one label has more than half of what is
    left, `plurality` when the most frequent is an expression (the first of equals), `votes` when up to three
    expressions make up more than half; rows won by 'unknown' or 'not a face' go. The `votes` column is the
    distribution of what is left over the eight labels; with mode `votes`, over those three expressions.
    """
    path = root / "fer2013new.csv"
    if not path.is_file():
        raise tree.absent("FERPlus", root, LAYOUT, GET)
    rows = _read(path)
    counts = rows[list(VOTES)].to_numpy(np.float64)
    kept = _MODES[mode](np.where(counts > 1, counts, 0))
    rows["row"] = np.arange(len(rows))
    chosen = (kept[:, :8].sum(axis=1) > 0) & (rows["Image name"] != "").to_numpy()
    rows, kept = rows[chosen], kept[chosen][:, :8]
    image, reader = _pictures(root, rows)
    order = [VOTES.index(label) for label in LABELS]
    built = table(
        image,
        [VOTES[code] for code in kept.argmax(axis=1)],
        votes=list((kept / kept.sum(axis=1, keepdims=True))[:, order]),
        split=[fer2013.SPLITS[usage] for usage in rows["Usage"]],
        source="ferplus",
    )
    return Samples(built, LABELS, reader)


def _majority(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    clear = counts.max(axis=1) > 0.5 * counts.sum(axis=1)
    return _plurality(counts) * clear[:, None]


def _plurality(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return counts * (counts.argmax(axis=1) < 8)[:, None]


def _votes(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """The strongest expressions up to three quarters of the votes; rows where that stays vague become zero."""
    distinct, place = np.unique(counts, axis=0, return_inverse=True)
    return np.array([_strongest(row) for row in distinct])[place]


def _strongest(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    total, left, taken = counts.sum(), counts.copy(), np.zeros_like(counts)
    while taken.sum() < 0.75 * total and np.count_nonzero(taken) < 3:
        equals = np.flatnonzero(left == left.max())
        faces = equals[equals < 8]
        taken[faces], left[equals] = counts[faces], 0
        if len(faces) < len(equals):
            break
    vague = taken.sum() <= 0.5 * total or np.count_nonzero(taken) > 3
    return np.zeros_like(taken) if vague else taken


_MODES = {"majority": _majority, "plurality": _plurality, "votes": _votes}


def _read(path: Path) -> pd.DataFrame:
    try:
        rows = pd.read_csv(path, dtype={"Usage": str, "Image name": str, **dict.fromkeys(VOTES, np.int64)})
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a table of votes", got=str(error)) from None
    lacking = [name for name in ("Usage", "Image name", *VOTES) if name not in rows]
    if lacking:
        raise DataError(f"{path} lacks columns", got=list(rows.columns), allowed=["Usage", "Image name", *VOTES])
    strange = ~rows["Usage"].isin(list(fer2013.SPLITS))
    if strange.any():
        row = int(strange.argmax())
        raise DataError(f"{path}, line {row + 2}: unknown Usage", got=rows["Usage"][row], allowed=list(fer2013.SPLITS))
    rows["Image name"] = rows["Image name"].fillna("").str.strip()
    return rows


def _pictures(root: Path, rows: pd.DataFrame) -> tuple[list[str], Reader]:
    """Image names and their reader: the PNG folders where they are, else the rows of FER2013's CSV."""
    for above in ("", "data/"):  # where the authors' own code puts them
        if any((root / above / folder).is_dir() for folder in FOLDERS.values()):
            names = zip(rows["Usage"], rows["Image name"], strict=True)
            return [f"{above}{FOLDERS[usage]}/{name}" for usage, name in names], Files(root)
    path = tree.first(root, fer2013.CSV_NAMES)
    if path is None:
        raise tree.absent("FERPlus pictures", root, LAYOUT, GET)
    found = pixels.read(path, list(fer2013.SPLITS))
    if rows["row"].max() >= len(found.pixels):
        raise DataError(f"{path} has fewer rows than fer2013new.csv", got=len(found.pixels))
    if (found.usage[rows["row"]] != rows["Usage"]).any() or _disagrees(rows, found.emotion[rows["row"]]):
        raise DataError(
            f"{path} and fer2013new.csv are not in the same order", then="use the CSV as FER2013 published it"
        )
    return [f"{path.name}#{row}" for row in rows["row"]], fer2013.rows_reader(path, found)


def _disagrees(rows: pd.DataFrame, emotion: NDArray[np.int64]) -> bool:
    """Whether the voters contradict FER2013's labels as often as if the rows were shuffled: 67% agree, and 19% then."""
    voted = np.array(VOTES)[rows[list(VOTES)].to_numpy().argmax(axis=1)]
    return len(rows) >= _TELLING and float((np.array(fer2013.CODES)[emotion] == voted).mean()) < _AGREED
