"""FER2013 (Goodfellow et al., 2013) in the three layouts it is passed around in."""

import re
from pathlib import Path

from mien.data.samples import Files, Rows, Samples, table
from mien.data.sources import pixels, tree
from mien.errors import DataError
from mien.files import digest
from mien.labels import LABEL_SETS

ABOUT = "FER2013: 35,887 grey faces of 48x48, seven labels, official splits"
LAYOUT = (
    "fer2013.csv (emotion,pixels,Usage)",
    "icml_face_data.csv (emotion, Usage, pixels)",
    "{train,test}/<class>/{Training,PublicTest,PrivateTest}_*",
)
GET = "kaggle datasets download msambare/fer2013 --unzip, or deadskull7/fer2013 for the CSV"
LICENCE = "weights: Apache-2.0; trained on FER2013 (images from the web, gathered for research)"

CODES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
SPLITS = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
CSV_NAMES = ("fer2013.csv", "icml_face_data.csv", "fer2013/fer2013.csv")

_NAME = re.compile(r"(Training|PublicTest|PrivateTest)_")


def load(root: Path) -> Samples:
    """Read whichever layout `root` holds (`root` may be the CSV itself); PublicTest is validation, PrivateTest test."""
    path = root if root.is_file() else tree.first(root, CSV_NAMES)
    if path is not None:
        return _csv(path)
    if (root / "train").is_dir() and (root / "test").is_dir():
        return _folders(root)
    raise tree.absent("FER2013", root, LAYOUT, GET)


def rows_reader(path: Path, rows: pixels.PixelRows) -> Rows:
    """The reader of a CSV's pictures, stamped with their content."""
    return Rows(rows.pixels, f"{path.name}:{digest(rows.pixels.tobytes())}")


def _csv(path: Path) -> Samples:
    rows = pixels.read(path, list(SPLITS))
    built = table(
        [f"{path.name}#{row}" for row in range(len(rows.emotion))],
        [CODES[code] for code in rows.emotion],
        split=[SPLITS[usage] for usage in rows.usage],
        source="fer2013",
    )
    return Samples(built, LABEL_SETS["fer2013"], rows_reader(path, rows))


def _folders(root: Path) -> Samples:
    image, label, split = [], [], []
    for above in ("train", "test"):
        for name, found in tree.by_class(root / above).items():
            for picture in found:
                usage = _NAME.match(Path(picture).name)
                if usage is None:
                    raise DataError(
                        "a FER2013 file name says no split",
                        got=root / above / picture,
                        allowed=[f"{known}_*" for known in SPLITS],
                        then="read a tree with other names as the source 'folders'",
                    )
                image.append(f"{above}/{picture}")
                label.append(name)
                split.append(SPLITS[usage[1]])
    if not image:
        raise tree.absent("FER2013", root, LAYOUT, GET)
    canonical = tree.expressions(label, root)
    rows = table(image, [canonical[name] for name in label], split=split, source="fer2013")
    return Samples(rows, LABEL_SETS["fer2013"], Files(root))
