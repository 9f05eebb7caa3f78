"""CK+ (Lucey et al., CVPRW 2010): posed sequences, as the 48x48 folders and as the original trees."""

import re
from pathlib import Path

from mien.data.samples import Files, Samples, table
from mien.data.sources import tree
from mien.errors import DataError, UsageError
from mien.labels import EXPRESSIONS, LABEL_SETS

ABOUT = "CK+: posed sequences with subjects, the CK+48 folders or the original trees"
LAYOUT = (
    "CK+48/<class>/S010_004_00000017.png",
    "cohn-kanade-images/S010/004/*.png + Emotion/S010/004/*_emotion.txt",
)
GET = "ask the Affect Analysis Group of the University of Pittsburgh for CK+, or take CK+48 from Kaggle"

CODES = ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")

_NAME = re.compile(r"(?P<subject>S\d+)_(?P<take>\d+)_(?P<frame>\d+)\.\w+")


def load(root: Path, frames: int = 3, neutral: bool = False) -> Samples:
    """Read CK+48, or the original trees: of each labelled sequence the last `frames` pictures carry its label.

    `neutral` adds the first picture of each such sequence as neutral (original trees only). Subject and sequence
    come from the names; there are no official splits.
    """
    if frames < 1:
        raise UsageError("ckplus takes at least one frame of a sequence", got=frames, allowed="1 or more")
    originals = tree.first(root, ["cohn-kanade-images", "extended-cohn-kanade-images/cohn-kanade-images"])
    emotions = tree.first(root, ["Emotion", "Emotion_labels/Emotion", "Emotion_labels"])
    if originals and emotions:
        found = _sequences(root, originals, emotions, frames, neutral)
    elif neutral or frames != 3:
        raise UsageError("only the original CK+ trees have neutral and further frames", got=root, allowed=LAYOUT[1])
    else:
        found = _ck48(root)
    if not found:
        raise tree.absent("CK+", root, LAYOUT, GET)
    named = [_named(image) for image, _ in found]
    built = table(
        [image for image, _ in found],
        [label for _, label in found],
        subject=[name["subject"] for name in named],
        sequence=[f"{name['subject']}_{name['take']}" for name in named],
        source="ckplus",
    )
    return Samples(built, EXPRESSIONS if neutral else LABEL_SETS["ckplus"], Files(root))


def _ck48(root: Path) -> list[tuple[str, str]]:
    base = tree.first(root, ["CK+48"]) or root
    classes = tree.by_class(base)
    canonical = tree.expressions(classes, base)
    return [
        ((base / picture).relative_to(root).as_posix(), canonical[name])
        for name, found in classes.items()
        for picture in found
    ]


def _sequences(root: Path, originals: Path, emotions: Path, frames: int, neutral: bool) -> list[tuple[str, str]]:
    found = []
    for path in sorted(emotions.rglob("*_emotion.txt")):
        label, folder = _emotion(path), originals / path.parent.relative_to(emotions)
        if not folder.is_dir():
            raise DataError("a labelled CK+ sequence has no pictures", got=folder, then=f"put it back or delete {path}")
        names = [(folder / name).relative_to(root).as_posix() for name in tree.pictures(folder)]
        found += [(name, "neutral") for name in names[:1] if neutral]
        found += [(name, label) for name in names[int(neutral) :][-frames:]]
    return found


def _emotion(path: Path) -> str:
    """The label in a file such as `   3.0000000e+00`."""
    text = path.read_text(errors="replace").strip()
    try:
        return CODES[{float(code): code for code in range(1, len(CODES))}[float(text)]]
    except (ValueError, KeyError):
        raise DataError(f"{path}: not a CK+ emotion", got=text[:40], allowed="1..7") from None


def _named(image: str) -> re.Match[str]:
    name = _NAME.fullmatch(Path(image).name)
    if name is None:
        raise DataError(
            "a CK+ file name tells no subject, sequence and frame", got=image, allowed="S010_004_00000017.png"
        )
    return name
