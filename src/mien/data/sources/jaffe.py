"""JAFFE (Lyons et al., 1998): ten subjects, the expression in the file name."""

import re
from pathlib import Path

from mien.data.samples import Files, Samples, table
from mien.data.sources import tree
from mien.errors import DataError
from mien.labels import LABEL_SETS

ABOUT = "JAFFE: 213 pictures of ten subjects, named KA.AN1.39.tiff"
LAYOUT = ("[jaffe/|jaffedbase/]KA.AN1.39.tiff",)
GET = "ask for JAFFE at zenodo.org/records/3451524"

CODES = {
    "AN": "anger", "DI": "disgust", "FE": "fear", "HA": "happiness", "NE": "neutral", "SA": "sadness", "SU": "surprise",
}  # fmt: skip

_NAME = re.compile(r"(?P<subject>[A-Z]{2})\.(?P<code>[A-Z]{2})\d+\.\d+\.\w+", re.IGNORECASE)


def load(root: Path) -> Samples:
    """Read `<subject>.<expression><n>.<serial>.tiff` files; there are no official splits."""
    base = tree.first(root, ["jaffe", "jaffedbase"]) or root
    image = [(base / name).relative_to(root).as_posix() for name in tree.pictures(base)]
    if not image:
        raise tree.absent("JAFFE", root, LAYOUT, GET)
    named = [_NAME.fullmatch(Path(name).name) for name in image]
    strange = [
        name for name, found in zip(image, named, strict=True) if found is None or found["code"].upper() not in CODES
    ]
    if strange:
        raise DataError(f"{root}: file names that are not JAFFE's", got=strange[:5], allowed=LAYOUT)
    known = [found for found in named if found is not None]
    built = table(
        image,
        [CODES[found["code"].upper()] for found in known],
        subject=[found["subject"].upper() for found in known],
        source="jaffe",
    )
    return Samples(built, LABEL_SETS["fer2013"], Files(root))
