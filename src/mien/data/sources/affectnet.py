"""AffectNet (Mollahosseini et al., 2017) as its authors lay it out: annotations beside numbered pictures, or lists."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mien.data.samples import Files, Samples, table
from mien.data.sources import tree
from mien.errors import DataError, counted
from mien.labels import EXPRESSIONS

ABOUT = "AffectNet: images beside annotations/*_exp.npy, or training.csv and validation.csv, eight labels"
LAYOUT = (
    "{train_set,val_set}/images/<n>.jpg + {train_set,val_set}/annotations/<n>_exp.npy",
    "{training,validation}.csv + Manually_Annotated_Images/<folder>/<name>.jpg",
)
GET = "ask its authors for AffectNet (mohammadmahoor.com/affectnet)"

CODES = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
_NO_EXPRESSION = range(8, 11)  # none, uncertain, no face

_COLUMNS = (
    "subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks", "expression",
    "valence", "arousal",
)  # fmt: skip
_IMAGES = "Manually_Annotated_Images"
_ABOVE = ("", "Manually_Annotated/", "Manually_Annotated_compressed/")
_LISTS = ("", "Manually_Annotated_file_lists/", "Manually_Annotated/")


def load(root: Path) -> Samples:
    """Read whichever layout `root` holds; pictures annotated as none, uncertain or no face are told and left out."""
    sets = [name for name in ("train_set", "val_set", "test_set") if (root / name / "annotations").is_dir()]
    listed = [row for name in sets for row in _annotated(root, name)] if sets else list(_listed(root))
    found = [row for row in listed if row[1] not in _NO_EXPRESSION]
    if not found:
        raise tree.absent("AffectNet", root, LAYOUT, GET)
    if others := len(listed) - len(found):
        told = "%s: %s annotated as none, uncertain or no face, left out"
        logging.getLogger("mien").warning(told, root, counted(others, "picture"))
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
        yield f"{name}/images/{pictures.get(number, f'{number}.jpg')}", _code(path), tree.SPLIT_FOLDERS[name]


def _listed(root: Path) -> Iterator[tuple[str, int, str]]:
    """The rows of the lists of the first release, with the whole pictures: the face boxes beside are not used."""
    pictures = tree.first(root, [f"{above}{_IMAGES}" for above in _ABOVE])
    for name in ("training", "validation"):
        path = tree.first(root, [f"{above}{name}.csv" for above in _LISTS])
        if path is None or pictures is None:
            continue
        # Some copies of a list have no line of names.
        rows = tree.listing(path, (_COLUMNS[0], "expression"), _COLUMNS)
        strange = ~rows["expression"].isin([str(code) for code in range(11)]) | rows[_COLUMNS[0]].isna()
        if strange.any():
            got = rows[strange].iloc[0].to_dict()
            raise DataError(f"{path}: not a picture with an AffectNet expression", got=got, allowed="0..10")
        below = pictures.relative_to(root).as_posix()
        for image, code in zip(rows[_COLUMNS[0]], rows["expression"].astype(int), strict=True):
            yield f"{below}/{image}", code, tree.SPLIT_FOLDERS[name]


def _code(path: Path) -> int:
    """The expression code in a file that holds one number, as a number or as text."""
    try:
        code = int(np.load(path, allow_pickle=False))
    except (ValueError, TypeError, OSError, EOFError) as error:
        raise DataError(f"{path}: not an AffectNet annotation", got=str(error)) from None
    if code not in range(11):
        raise DataError(f"{path}: not an AffectNet expression", got=code, allowed="0..10")
    return code
