"""AffectNet at 96x96 as on Kaggle ("Facial Expressions Training Data"): class folders and labels.csv."""

from pathlib import Path
from typing import Literal

from mien.data.samples import Files, Samples, table
from mien.data.sources import folders, tree
from mien.errors import DataError
from mien.labels import EXPRESSIONS

ABOUT = "AffectNet-HQ of Kaggle: class folders and labels.csv (pth,label,relFCs)"
LAYOUT = ("labels.csv + <class>/*.jpg",)
GET = "kaggle datasets download noamsegal/affectnet-training-data --unzip"


def load(root: Path, labels: Literal["csv", "folder"] = "csv") -> Samples:
    """Read the listed pictures, there are no official splits.

    The label column and the folder of a picture do not always agree: `labels` says which one counts.
    """
    path = root / "labels.csv"
    if not path.is_file():
        raise tree.absent("AffectNet-HQ", root, LAYOUT, GET)
    if labels == "folder":
        return folders.read(root, root, "affectnet-hq")
    rows = tree.listing(path, ("pth", "label"))
    blank = rows[["pth", "label"]].isna().any(axis=1)
    if blank.any():
        raise DataError(f"{path}, line {int(blank.argmax()) + 2}: no path or no label")
    canonical = tree.expressions(rows["label"], path)
    built = table(
        [name.replace("\\", "/") for name in rows["pth"]],
        [canonical[name] for name in rows["label"]],
        source="affectnet-hq",
    )
    return Samples(built, EXPRESSIONS, Files(root))
