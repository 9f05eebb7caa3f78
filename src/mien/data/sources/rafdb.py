"""RAF-DB, basic expressions (Li et al., CVPR 2017), as its authors and as Kaggle lay it out."""

from collections.abc import Iterator
from pathlib import Path

from mien.data.samples import Files, Samples, table
from mien.data.sources import tree
from mien.errors import DataError
from mien.labels import LABEL_SETS

ABOUT = "RAF-DB, basic: aligned faces, seven labels, official train and test"
LAYOUT = (
    "basic/EmoLabel/list_patition_label.txt + basic/Image/{aligned/*_aligned.jpg,original/*.jpg}",
    "DATASET/{train,test}/{1..7}/*.jpg + {train,test}_labels.csv",
)
GET = "ask its authors (whdeng.cn/raf), or: kaggle datasets download shuvoalok/raf-db-dataset --unzip"

CODES = {
    "1": "surprise", "2": "fear", "3": "disgust", "4": "happiness", "5": "sadness", "6": "anger", "7": "neutral",
}  # fmt: skip


def load(root: Path) -> Samples:
    """Read whichever layout `root` holds; where Kaggle's CSV lists are absent, the folders tell the labels."""
    listing = tree.first(root, ["basic/EmoLabel/list_patition_label.txt", "EmoLabel/list_patition_label.txt"])
    base = tree.first(root, ["DATASET/train", "train"])
    if listing:
        found = list(_published(listing))
    elif base:
        found = [row for split in ("train", "test") for row in _kaggle(root, base.parent, split)]
    else:
        raise tree.absent("RAF-DB", root, LAYOUT, GET)
    strange = sorted({code for _, code, _ in found} - set(CODES))
    if strange:
        raise DataError(f"{root}: not RAF-DB labels", got=strange, allowed="1..7")
    built = table(
        [path.relative_to(root).as_posix() for path, _, _ in found],
        [CODES[code] for _, code, _ in found],
        split=[split for _, _, split in found],
        source="rafdb",
    )
    return Samples(built, LABEL_SETS["fer2013"], Files(root))


def _published(listing: Path) -> Iterator[tuple[Path, str, str]]:
    """Rows such as `train_00001.jpg 5`, whose picture is `train_00001_aligned.jpg`, or without these the original."""
    images = listing.parent.parent / "Image"
    original = (images / "original").is_dir() and not (images / "aligned").is_dir()
    for number, line in enumerate(listing.read_text().splitlines(), 1):
        name, _, code = line.strip().partition(" ")
        split = name.partition("_")[0]
        if name and split not in ("train", "test"):
            raise DataError(f"{listing}, line {number}: not a RAF-DB row", got=line, allowed="train_00001.jpg 5")
        if name:
            place = images / "original" / name if original else images / "aligned" / f"{Path(name).stem}_aligned.jpg"
            yield place, code.strip(), split


def _kaggle(root: Path, base: Path, split: str) -> Iterator[tuple[Path, str, str]]:
    listing = tree.first(root, [f"{split}_labels.csv"]) or tree.first(base, [f"{split}_labels.csv"])
    if listing is None:
        for code, found in tree.by_class(base / split).items():
            yield from ((base / split / name, code, split) for name in found)
        return
    rows = tree.listing(listing, ("image", "label"))
    for image, code in zip(rows["image"], rows["label"], strict=True):
        yield base / split / str(code) / str(image), str(code), split
