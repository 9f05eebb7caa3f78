"""What a finished run left behind: the files of its folder, as values."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from mien.errors import RunError
from mien.evaluation import ledger
from mien.files import read_json


@dataclass(frozen=True)
class Run:
    """A run folder that was read. Only `metrics` (with a `test` entry) is always there; the rest may be None."""

    folder: Path
    metrics: dict[str, Any]
    recipe: dict[str, Any]
    recipe_text: str
    environment: dict[str, Any]
    samples: pd.DataFrame | None
    predictions: pd.DataFrame | None
    history: pd.DataFrame | None
    audit: dict[str, Any] | None
    robustness: dict[str, Any] | None
    groups: dict[str, Any] | None
    problems: pd.DataFrame | None

    @property
    def name(self) -> str:
        """The recipe's name, or the folder's."""
        return str(self.recipe.get("name") or self.folder.resolve().name)

    @property
    def protocol(self) -> str | None:
        """`name@digest` of the protocol, the digest shortened to 12 digits."""
        protocol = self.metrics.get("protocol")
        return f"{protocol['name']}@{str(protocol['digest'])[:12]}" if protocol else None

    @property
    def arithmetic(self) -> str | None:
        """What the network was fitted in, by the names of `fit.precision`."""
        return {"bf16-mixed": "bf16", "32-true": "float32"}.get(self.metrics.get("precision", ""))

    @property
    def opened(self) -> int | None:
        """How often its test rows have been opened by now: by the ledger, but no less than its end of training knew."""
        noted = ledger.count(self.folder.resolve().parent, self.protocol) if self.protocol else 0
        return max(noted, self.metrics.get("opened") or 0) or None


def read_run(folder: Path) -> Run:
    """Read a run folder; files that are absent are None or empty.

    Raises RunError when it has no test figures, or a file that cannot be read.
    """
    metrics = _json(folder / "metrics.json") or {}
    if "test" not in metrics:
        raise RunError(
            "the run has no test figures to report",
            got=folder,
            allowed="a run folder whose metrics.json has a 'test' entry",
            then=f"finish it with: mien train {folder} --resume"
            if (folder / "recipe.yaml").is_file()
            else "name a run folder written by mien train",
        )
    text = _read(folder / "recipe.yaml", lambda path: path.read_text(encoding="utf-8")) or ""
    predictions = _table(folder / "predictions.parquet")
    split = (metrics.get("protocol") or {}).get("split", "test")
    if predictions is not None and "split" in predictions:
        predictions = predictions[predictions["split"] == split].reset_index(drop=True)
    return Run(
        folder=folder,
        metrics=metrics,
        recipe=_read(folder / "recipe.yaml", lambda _: yaml.safe_load(text)) or {},
        recipe_text=text,
        environment=_json(folder / "environment.json") or {},
        samples=_table(folder / "samples.parquet"),
        predictions=predictions,
        history=_read(folder / "history.csv", pd.read_csv),
        audit=_json(folder / "audit.json"),
        robustness=_json(folder / "robustness.json"),
        groups=read_groups(folder),
        problems=_read(folder / "problems.csv", pd.read_csv),
    )


def read_groups(folder: Path) -> dict[str, Any] | None:
    """The figures in groups of people or pictures, once they were asked of a run or of the folder of its seeds."""
    return _json(folder / "groups.json")


def runs_in(folder: Path) -> list[Path]:
    """The folder itself when it is a run, else the runs below it: the seeds of a recipe, the cells of a grid, or the
    seeds of those."""
    if (folder / "metrics.json").is_file():
        return [folder]
    return sorted(path.parent for depth in ("*", "*/*") for path in folder.glob(f"{depth}/metrics.json")) or [folder]


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested mappings as dotted keys and printed values, in order.

    >>> list(flat({"data": {"source": "fer2013"}, "chain": ["grey", {"resize": 48}]}))
    [('data.source', 'fer2013'), ('chain', 'grey, {"resize": 48}')]
    """
    if not isinstance(value, Mapping):
        yield prefix, ", ".join(map(_printed, value)) if isinstance(value, list) else _printed(value)
        return
    for key, inner in value.items():
        yield from flat(inner, f"{prefix}.{key}" if prefix else str(key))


def _printed(value: Any) -> str:
    return json.dumps(value) if isinstance(value, list | dict) else str(value)


def _json(path: Path) -> dict[str, Any] | None:
    return _read(path, read_json)


def _table(path: Path) -> pd.DataFrame | None:
    return _read(path, pd.read_parquet)


def _read(path: Path, how: Callable[[Path], Any]) -> Any:
    """What is in a file of a run, None where it is absent. Raises RunError for one that is damaged."""
    try:
        return how(path) if path.is_file() else None
    except (ValueError, yaml.YAMLError, OSError) as reason:
        raise RunError(
            "a file of the run cannot be read", got=f"{path} ({str(reason).splitlines()[0]})",
            then="restore it from a copy of the run, or leave this run out",
        ) from reason  # fmt: skip
