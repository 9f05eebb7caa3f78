"""MMA Facial Expression (Mahmoud, Kaggle 2020): three splits of class folders."""

from pathlib import Path

from mien.data.samples import Samples
from mien.data.sources import folders, tree

ABOUT = "MMA Facial Expression: MMAFEDB/{train,valid,test}"
LAYOUT = ("MMAFEDB/{train,valid,test}/<class>/*.jpg",)
GET = "kaggle datasets download mahmoudima/mma-facial-expression --unzip"


def load(root: Path) -> Samples:
    """Read `MMAFEDB/{train,valid,test}/<class>/`; `root` is the folder above `MMAFEDB`, or `MMAFEDB` itself."""
    # By the name of its third part it is told from FER2013, which has the other two.
    base = tree.first(root, ["MMAFEDB/valid", "valid"])
    if base is None or not (base.parent / "train").is_dir():
        raise tree.absent("MMA Facial Expression", root, LAYOUT, GET)
    return folders.read(root, base.parent, "mma")
