"""AffectNet (Mollahosseini et al., 2017) as its authors lay it out: numbered pictures beside .npy annotations."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mien.data.samples import Files, Samples, table
from mien.data.sources import tree
from mien.errors import DataError
from mien.labels import EXPRESSIONS

ABOUT = "AffectNet: images beside annotations/*_exp.npy, eight labels"
LAYOUT = ("{train_set,val_set}/images/<n>.jpg + {train_set,val_set}/annotations/<n>_exp.npy",)
GET = "ask its authors for AffectNet (mohammadmahoor.com/affectnet)"

CODES = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
_NO_EXPRESSION = range(8, 11)  # none, uncertain, no face


def load(root: Path) -> Samples:
    """Read the annotated pictures; those annotated as none, uncertain or no face are left out."""
    sets = [name for name in ("train_set", "val_set", "test_set") if (root / name / "annotations").is_dir()]
    found = [row for name in sets for row in _annotated(root, name)]
    if not found:
        raise tree.absent("AffectNet", root, LAYOUT, GET)
    built = table(
        [image for image, _, _ in found],
        [CODES[code] for _, code, _ in found],
        split=[split for _, _, split in found],
        source="affectnet",
    )
    return Samples(built, EXPRESSIONS, Files(root))


def _annotated(root: Path, name: str) -> Iterator[tuple[str, int, str]]:
    pictures = {Path(picture).stem: picture for picture in tree.pictures(root / name / "images")}
    for path in sorted((root / name / "annotations").glob("*_exp.npy")):
        number = path.name.removesuffix("_exp.npy")
        code = _code(path)
        if code not in _NO_EXPRESSION:
            yield f"{name}/images/{pictures.get(number, f'{number}.jpg')}", code, tree.SPLIT_FOLDERS[name]


def _code(path: Path) -> int:
    """The expression code in a file that holds one number, as a number or as text."""
    try:
        code = int(np.load(path, allow_pickle=False))
    except (ValueError, TypeError, OSError, EOFError) as error:
        raise DataError(f"{path}: not an AffectNet annotation", got=str(error)) from None
    if code not in range(11):
        raise DataError(f"{path}: not an AffectNet expression", got=code, allowed="0..10")
    return code
