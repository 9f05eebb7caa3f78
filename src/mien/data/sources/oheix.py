"""The Kaggle set `face-expression-recognition-dataset` of Jonathan Oheix: FER2013 as JPEG class folders."""

from pathlib import Path

from mien.data.samples import Samples
from mien.data.sources import folders, tree

ABOUT = "FER2013 as published by Jonathan Oheix: images/train and images/validation"
LAYOUT = ("images/{train,validation}/<class>/<n>.jpg",)
GET = "kaggle datasets download jonathanoheix/face-expression-recognition-dataset --unzip"


def load(root: Path) -> Samples:
    """Read `images/{train,validation}/<class>/`; `root` is the folder above `images`, or `images` itself."""
    base = tree.first(root, ["images/images/train", "images/train", "train"])
    if base is None:
        raise tree.absent("Oheix folders", root, LAYOUT, GET)
    return folders.read(root, base.parent, "oheix")
