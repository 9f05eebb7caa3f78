"""The studies as grids of recipes: the shipped YAML of each, its two protocols, its two scales."""

from collections.abc import Mapping
from typing import Any, Literal

from mien.errors import UsageError, unknown
from mien.places import shipped
from mien.recipe import read_content
from mien.replay.published import STUDIES

Protocol = Literal["as-published", "leak-free"]
Scale = Literal["full", "small"]
PROTOCOLS: tuple[Protocol, ...] = ("as-published", "leak-free")
SCALES: tuple[Scale, ...] = ("full", "small")

PUBLISHED_NAMES: Mapping[str, str] = {"frozen": "pretrained", "full": "pretrained"}
"""Values of axes that the paper prints under another name."""

DIFFERS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "restoration-vgg19": {
        "full": (
            "The paper does not give optimiser, learning rate, batch size or augmentation amounts; ours are used.",
            "The paper does not give the widths of VGG19's two fully connected layers, a dropout or the weights to "
            "start from; ours has one hidden layer of 1,024 units, dropout 0.5 and random weights.",
        ),
        "small": (
            "The restored arm uses Lanczos upscaling, since GFPGAN takes seconds per face on a CPU. It says nothing "
            "about GFPGAN.",
        ),
    },
    "smote-vgg19": {
        "full": (
            "The official test part is kept out of both orders, so that both can be evaluated on it: of the 35,887 "
            "pictures of the paper, 32,298 are left at full scale.",
            "Training pictures with a twin in that part are kept in both orders, so its figures are slightly high for "
            "both.",
        ),
        "small": (
            "A small network stands in for VGG19, which does not start to learn in the steps that two cores can do.",
        ),
    },
    "facenet-triplet": {
        "full": (
            "The paper does not give margin, mining or how a vector becomes an answer; the choices are ours.",
            "The best checkpoint is chosen on rows kept back from training, not on the reported rows.",
        ),
        "small": (),
    },
    "resnet50-transfer": {
        "full": (
            "The network sees the equalised face; it does not get the edges and regions that the paper shows.",
            "Rows are taken from the training part to choose the epoch.",
            "The paper names no dropout; ours is 0.2, before the output.",
        ),
        "small": (),
    },
    "preprocessing-grid": {
        "full": (
            "The paper tunes learning rate and batch size but does not print them; ours are used.",
            "'30% transfer learning' is read as the text explains it, with only 'the last few layers' fine-tuned: the "
            "first layers, up to 70% of the backbone's parameters, stay frozen. The tables call it 'Partially Frozen "
            "... (30%)'.",
            "VGG16 goes from its convolutions to the output, without two layers of 4,096 units. The paper names no "
            "dropout; ours is 0.2, before the output.",
            "If FERPlus is given, its test part is evaluated; the paper's 7,099 pictures are its validation and test "
            "parts.",
        ),
        "small": ("There are no fully fine-tuned cells.",),
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
