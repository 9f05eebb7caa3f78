"""The studies as grids of recipes: the shipped YAML of each, its two protocols, its two scales."""

from collections.abc import Mapping
from typing import Any, Literal

from mien.errors import UsageError, unknown
from mien.recipe import read_content, shipped
from mien.replay.published import STUDIES

Protocol = Literal["as-published", "leak-free"]
Scale = Literal["full", "small"]
PROTOCOLS: tuple[Protocol, ...] = ("as-published", "leak-free")
SCALES: tuple[Scale, ...] = ("full", "small")

PUBLISHED_NAMES: Mapping[str, str] = {"frozen": "pretrained", "full": "pretrained"}
"""Values of axes that the paper prints under another name."""

DIFFERS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "restoration-vgg19": {
        "full": ("Optimiser, learning rate, batch and amounts of augmentation are not in the paper; they are ours.",),
        "small": (
            "The restored arm is Lanczos upscaling: GFPGAN takes seconds a face on a processor. It says nothing about "
            "GFPGAN.",
        ),
    },
    "smote-vgg19": {
        "full": (
            "The official test part is kept out of both orders, so that both can be judged on it: of the 35,887 "
            "pictures of the paper, 32,298 are left at full scale.",
            "Training pictures that have a twin in that part stay in both orders: its figures lie a little high for "
            "both.",
        ),
        "small": (
            "A small network stands in for VGG19, which does not begin to learn in the steps that two cores can take.",
        ),
    },
    "facenet-triplet": {
        "full": (
            "Margin, mining and the way from a vector to an answer are not in the paper; they "
            "are ours.",
            "The best state is chosen on rows kept back from training, not on the rows that are reported.",
        ),
        "small": (),
    },
    "resnet50-transfer": {
        "full": (
            "The network sees the equalised face; edges and regions, which the paper shows, are not fed to it.",
            "Rows are taken from training to choose the epoch.",
        ),
        "small": (),
    },
    "preprocessing-grid": {
        "full": (
            "Learning rate and batch were tuned in the paper and are not printed; they are ours.",
            "FERPlus, where it is given, is judged by its test part; the paper's 7,099 are its validation and test.",
        ),
        "small": ("There are no cells that are fine-tuned in full.",),
    },
}  # fmt: skip
"""What a replay does not do as the paper did, whatever the data and settings; `small` adds to `full`."""


def grid(study: str, protocol: Protocol, scale: Scale) -> dict[str, Any]:
    """The grid (`name`, `base`, `axes`) of a study under one protocol, at one scale.

    >>> grid("smote-vgg19", "as-published", "full")["axes"]["balance"]["after"]["balance.order"]
    'balance-before-split'
    """
    if study not in STUDIES:
        raise unknown("study", study, STUDIES)
    for kind, got, known in (("protocol", protocol, PROTOCOLS), ("scale", scale, SCALES)):
        if got not in known:
            raise UsageError(f"unknown {kind}", got=got, allowed=known)
    content = read_content(shipped()[f"studies/{study}"])
    if scale == "small":
        content = patched(content, content["small"])
    content = patched(content, content["protocols"][protocol])
    return {key: content[key] for key in ("name", "base", "axes")}


def published_arm(place: Mapping[str, str]) -> str:
    """The name of a cell in `mien.replay.published`: the values of its axes, as the paper calls them."""
    return "/".join(PUBLISHED_NAMES.get(value, value) for value in place.values())


def patched(content: Any, patch: Any) -> Any:
    """A JSON merge patch applied (RFC 7396): mappings merge, null takes a key out, anything else replaces.

    >>> patched({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": None, "e": 3}, "d": [2]})
    {'a': {'c': 2, 'e': 3}, 'd': [2]}
    """
    if not isinstance(patch, dict):
        return patch
    merged = dict(content) if isinstance(content, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = patched(merged.get(key), value)
    return merged
