"""Protocols: which rows, labels and split a figure stands on, fixed by a digest; results carry `name@digest`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from mien.data.samples import Samples
from mien.data.sources import catalog
from mien.data.split import SplitSpec
from mien.errors import DataError, UsageError, unknown
from mien.files import digest, from_yaml


@dataclass(frozen=True)
class Protocol:
    """A source with its options and a split; `digests` pin rows, labels and split where the data is public."""

    source: str
    about: str
    options: Mapping[str, Any] = field(default_factory=dict)
    split: SplitSpec = field(default_factory=SplitSpec)
    digests: tuple[str, ...] = ()


# Copies of FERPlus name the picture of rows 33200 and 34334 alike: its folders of PNGs then hold one picture for both,
# beside fer2013.csv they are two. Both are the published rows.
PROTOCOLS: Mapping[str, Protocol] = {
    "fer2013-official": Protocol(
        "fer2013",
        "FER2013 as published: Training trains, PublicTest validates, PrivateTest tests",
        digests=("bb4ca5b1b794",),
    ),
    "ferplus-majority": Protocol(
        "ferplus",
        "FERPlus rows where one of eight expressions has more than half of the votes; FER2013's split",
        {"mode": "majority"},
        digests=("876b0409329b", "253b6c4740e2"),
    ),
    "ferplus-plurality": Protocol(
        "ferplus",
        "FERPlus rows whose most frequent vote is one of eight expressions; FER2013's split",
        {"mode": "plurality"},
        digests=("c895da748d61", "3bc908102c0e"),
    ),
    "ckplus-subject-10fold": Protocol(
        "ckplus",
        "CK+ peak frames in ten folds, no person in two of them; each fold is the test part once",
        split=SplitSpec("grouped-kfold", folds=10),
    ),
}


class _File(BaseModel):
    """A protocol of the user's own, as YAML."""

    model_config = ConfigDict(extra="forbid")

    source: str
    about: str = ""
    options: dict[str, Any] = {}
    split: dict[str, Any] = {}
    digest: str | None = None


def find(name: str) -> tuple[str, Protocol]:
    """A protocol by its catalogue name, or from the user's own YAML file, whose stem is then its name.

    Raises UsageError for an unknown name and for a file that is not a protocol.
    """
    if name in PROTOCOLS:
        return name, PROTOCOLS[name]
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        raise unknown("protocol", name, PROTOCOLS)
    try:
        given = _File.model_validate(from_yaml(path.read_text(encoding="utf-8"), path.name))
        split = SplitSpec(**given.split)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError) as error:
        raise UsageError(f"cannot read the protocol {path}: {error}") from error
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        raise UsageError(f"{path} is not a protocol", got=wrong, allowed=list(_File.model_fields)) from error
    return path.stem, Protocol(given.source, given.about, given.options, split, (given.digest,) if given.digest else ())


def rows_digest(samples: Samples) -> str:
    """A digest of rows, labels and split: of all (pixel digest, label, split) in sorted order.

    The same for every lossless layout and order of the rows. Raises DataError where pixels were not prepared.
    """
    if samples.table["digest"].isna().any():
        raise DataError("a protocol digest needs the digest of every picture", then="prepare the dataset first")
    rows = samples.table[["digest", "label", "split"]].astype(object).where(lambda part: part.notna(), "")
    return digest(*sorted("\t".join(row) for row in rows.itertuples(index=False)))


def describe(samples: Samples, name: str | None = None) -> str:
    """`name@digest` (12 hex digits) of a dataset under its split, named after its sources where it has no name."""
    name = name or "+".join(sorted(samples.table["source"].dropna().unique()))
    return f"{name}@{rows_digest(samples)[:12]}"


def check(name: str, samples: Samples) -> str:
    """`name@digest` of the samples of a protocol. Raises DataError where the protocol pins another digest."""
    name, protocol = find(name)
    said = describe(samples, name)
    if protocol.digests and not rows_digest(samples).startswith(protocol.digests):
        raise DataError(
            f"these are not the rows, labels and split of protocol {name}",
            got=said,
            allowed=[f"{name}@{digest}" for digest in protocol.digests],
            then="use the data as published, or leave `protocol` out of the recipe",
        )
    return said


def hold(name: str, used: Protocol, changed: Mapping[str, Any] | None = None) -> None:
    """Hold a recipe to its protocol: raises UsageError where source, options or split (`used`) are set otherwise.

    `changed` are settings of the recipe that leave rows out or make some; no protocol has any. A protocol without a
    digest is nothing but these, so its name on other ones would say nothing.
    """
    name, protocol = find(name)
    theirs, ours = _settings(protocol), _settings(used) | dict(changed or {})
    differing = [key for key in theirs | ours if key not in theirs or key not in ours or theirs[key] != ours[key]]
    if differing:
        raise UsageError(
            f"the recipe is not set as its protocol {name} is",
            got=[f"{key}: {ours.get(key, 'unset')}" for key in differing],
            allowed=[f"{key}: {theirs.get(key, 'unset')}" for key in differing],
            then="set them as the protocol does, or leave `protocol` out of the recipe",
        )


def _settings(protocol: Protocol) -> dict[str, Any]:
    """All that a protocol sets, as flat keys with the defaults of the source; `fold` only tells its parts apart."""
    known = catalog.SOURCES[protocol.source].options if protocol.source in catalog.SOURCES else {}
    options = {f"data.options.{key}": value for key, value in {**known, **protocol.options}.items()}
    split = {f"split.{key}": value for key, value in vars(protocol.split).items() if key != "fold"}
    return {"data.source": protocol.source, **options, **split}


def same_protocol(described: Iterable[str]) -> list[str]:
    """Warnings for results that stand in one table but not on the same rows, labels and split; [] when they do.

    >>> same_protocol(["fer2013-official@0a1b", "fer2013-official@0a1b"])
    []
    >>> same_protocol(["fer2013-official@0a1b", "mine@77aa"])
    ['Different protocols, compare with care: fer2013-official@0a1b, mine@77aa.']
    """
    distinct = sorted(set(described))
    if len({text.rpartition("@")[2] for text in distinct}) < 2:
        return []
    return [f"Different protocols, compare with care: {', '.join(distinct)}."]
