"""Expression names, the aliases people use, label sets, names of one's own, and explicit maps between label sets."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

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
    "fearful": "fear", "fear": "fear", "afraid": "fear", "scared": "fear", "fea": "fear", "fe": "fear", "af": "fear",
    "happy": "happiness", "happiness": "happiness", "joy": "happiness", "hap": "happiness", "ha": "happiness",
    "smile": "happiness", "neutral": "neutral", "neutrality": "neutral", "neu": "neutral", "ne": "neutral",
    "sad": "sadness", "sadness": "sadness", "sa": "sadness",
    "surprised": "surprise", "surprise": "surprise", "sur": "surprise", "su": "surprise",
}  # fmt: skip

OWN = "lower-case letters a to z and digits, up to 24, words joined by - or _"
"""What a name of one's own is made of: such names are drawn on pictures and stand in columns and style sheets."""
_WORDS = frozenset({"all", "minority", "majority", "none"})  # what recipes and tables say of classes
_OWN = re.compile(r"(?=.{1,24}$)[a-z0-9]+([-_][a-z0-9]+)*")


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
    strange = [name for name in found if not is_known(name)]
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


def ordered(labels: Iterable[str]) -> tuple[str, ...]:
    """Distinct labels in the order of every label set: the expressions by alphabet, then names of one's own.

    >>> ordered(["pain", "sadness", "boredom", "anger"])
    ('anger', 'sadness', 'boredom', 'pain')
    """
    present = set(labels)
    return (*(name for name in EXPRESSIONS if name in present), *sorted(present.difference(EXPRESSIONS)))


def is_known(name: str) -> bool:
    """Whether a name is that of an expression, in any of its forms and in upper or lower case."""
    return name.strip().lower() in _ALIASES


def is_label(name: str) -> bool:
    """Whether a class may have this name: an expression, or one of one's own that means none of them.

    >>> is_label("anger"), is_label("very-bored"), is_label("angry"), is_label("Pain!")
    (True, True, False, False)
    """
    own = name not in _ALIASES and name not in _WORDS and bool(_OWN.fullmatch(name))
    return name in EXPRESSIONS or own


def meant(name: str, labels: Collection[str], what: str = "label") -> str:
    """The one of `labels` that a name means: itself, or the expression that it is a form of.

    Raises UsageError for a name that is none; `what` says there what was asked for.

    >>> meant("Pain", ("anger", "pain")), meant("angry", ("anger", "pain"))
    ('pain', 'anger')
    """
    plain = name.strip().lower()
    found = plain if plain in labels else _ALIASES.get(plain)
    if found is None or found not in labels:
        raise unknown(what, name, labels)
    return found


def transfer(labels: Sequence[str], to: Sequence[str], merge: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """The explicit map from one label set into another; None where the target has no such class.

    `merge` sends a label to another on purpose; all are labels as the sets have them.

    >>> transfer(("contempt", "fear"), LABEL_SETS["fer2013"])
    {'contempt': None, 'fear': 'fear'}
    >>> transfer(("contempt", "fear"), LABEL_SETS["fer2013"], {"contempt": "disgust"})
    {'contempt': 'disgust', 'fear': 'fear'}
    """
    aimed = {label: (merge or {}).get(label, label) for label in labels}
    return {label: goal if goal in to else None for label, goal in aimed.items()}
