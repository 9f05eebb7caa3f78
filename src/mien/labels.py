"""Expression names, the aliases people use, label sets, and explicit maps between them."""

from collections.abc import Iterable, Mapping, Sequence

from mien.errors import UsageError, unknown

EXPRESSIONS = ("anger", "contempt", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")

LABEL_SETS: Mapping[str, tuple[str, ...]] = {
    "ferplus": EXPRESSIONS,
    "fer2013": tuple(name for name in EXPRESSIONS if name != "contempt"),
    "ckplus": tuple(name for name in EXPRESSIONS if name != "neutral"),
    "mma3": ("anger", "happiness", "sadness"),
}

_ALIASES = {
    "angry": "anger", "ang": "anger", "an": "anger", "anger": "anger", "mad": "anger",
    "contemptuous": "contempt", "contempt": "contempt", "con": "contempt",
    "disgusted": "disgust", "disgust": "disgust", "dis": "disgust", "di": "disgust",
    "fearful": "fear", "fear": "fear", "afraid": "fear", "scared": "fear", "fea": "fear", "fe": "fear",
    "happy": "happiness", "happiness": "happiness", "joy": "happiness", "hap": "happiness", "ha": "happiness",
    "smile": "happiness", "neutral": "neutral", "neutrality": "neutral", "neu": "neutral", "ne": "neutral",
    "sad": "sadness", "sadness": "sadness", "sa": "sadness",
    "surprised": "surprise", "surprise": "surprise", "sur": "surprise", "su": "surprise",
}  # fmt: skip


def canonical(name: str) -> str:
    """The canonical expression for a name in use, whatever its case. Raises UsageError for an unknown one.

    >>> canonical("Happy"), canonical("angry"), canonical("sadness")
    ('happiness', 'anger', 'sadness')
    """
    found = _ALIASES.get(name.strip().lower())
    if found is None:
        raise unknown("expression label", name, _ALIASES)
    return found


def canonical_all(names: Iterable[str]) -> dict[str, str]:
    """Map each distinct name to its canonical expression; one error lists every unknown name at once."""
    found = sorted(set(names))
    strange = [name for name in found if name.strip().lower() not in _ALIASES]
    if strange:
        raise UsageError(
            f"{len(strange)} of {len(found)} label names are not known expressions",
            got=strange,
            allowed=[
                f"{name} ({', '.join(sorted(a for a, c in _ALIASES.items() if c == name))})" for name in EXPRESSIONS
            ],
            then="rename those folders or values, or move the pictures away",
        )
    return {name: canonical(name) for name in found}


def label_set(names: Iterable[str]) -> tuple[str, ...]:
    """The distinct canonical labels of `names`, in canonical (alphabetical) order."""
    present = set(canonical_all(names).values())
    return tuple(name for name in EXPRESSIONS if name in present)


def transfer(labels: Sequence[str], to: Sequence[str], merge: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """The explicit map from one label set into another; None where the target has no such class.

    `merge` sends a label to another on purpose.

    >>> transfer(("contempt", "fear"), LABEL_SETS["fer2013"])
    {'contempt': None, 'fear': 'fear'}
    >>> transfer(("contempt", "fear"), LABEL_SETS["fer2013"], {"contempt": "disgust"})
    {'contempt': 'disgust', 'fear': 'fear'}
    """
    merge = {canonical(a): canonical(b) for a, b in (merge or {}).items()}
    aimed = {label: merge.get(label, label) for label in labels}
    return {label: goal if goal in to else None for label, goal in aimed.items()}
