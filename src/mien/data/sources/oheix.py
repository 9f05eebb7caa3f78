"""The Kaggle set `face-expression-recognition-dataset` of Jonathan Oheix: FER2013 as JPEG class folders."""

from pathlib import Path

from mien.data.samples import Samples
from mien.data.sources import folders, tree

ABOUT = "FER2013 as published by Jonathan Oheix: images/train and images/validation"
LAYOUT = ("images/{train,validation}/<class>/<n>.jpg",)
GET = "kaggle datasets download jonathanoheix/face-expression-recognition-dataset --unzip"


def load(root: Path) -> Samples:
    """Read `images/{train,validation}/<class>/`; `root` is the folder above `images`, or `images` itself."""
    # By the name of its second part it is told from FER2013's own folders, which have `train` and `test`.
    base = tree.first(root, ["images/images/validation", "images/validation", "validation"])
    if base is None or not (base.parent / "train").is_dir():
        raise tree.absent("Oheix folders", root, LAYOUT, GET)
    return folders.read(root, base.parent, "oheix")
