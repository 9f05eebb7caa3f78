"""The figures of a finished run that papers print: on its own test rows, beside them, and elsewhere."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mien.files import read_json
from mien.judging.elsewhere import figures_on
from mien.judging.finished import finished
from mien.recipe import load
from mien.stages import Stages

METRICS: Mapping[str, str] = {
    "accuracy": "accuracy",
    "precision": "macro_precision",
    "recall": "macro_recall",
    "f1": "macro_f1",
}
"""Printed figures, and what stands for them here: macro averages, since no paper says which it took."""

WEIGHTED: Mapping[str, str] = {name: ours.replace("macro", "weighted") for name, ours in METRICS.items()}
"""The same on FERPlus, where the printed confusion matrix shows that the averages are weighted by class size."""


def of_run(run: Path) -> dict[str, Any]:
    """Everything that a table shows of a run, JSON-able; `held_out` is None, for the caller to fill in."""
    metrics = read_json(run / "metrics.json")
    test = metrics["test"]["metrics"]
    return {
        "run": str(run),
        "rows": metrics["test"]["rows"],
        **{printed: test[ours] for printed, ours in METRICS.items()},
        "seconds": sum(metrics["seconds"].values()),
        "embedding": metrics.get("embedding"),
        "classes": {each["label"]: each for each in metrics["test"]["per_class"]},
        **_beside(run, metrics),
        "held_out": None,
    }


def held_out(run: Path, stages: Stages) -> dict[str, Any]:
    """Accuracy on the official test part that the run's recipe held out, and the number of its rows."""
    opened = finished(run)
    data = opened.recipe.data
    judged = figures_on(opened, data.source, data.root, data.options, stages)
    return judged["metrics"]["accuracy"] | {"rows": judged["rows"]}


def on_ferplus(root: Path, run: Path, stages: Stages) -> dict[str, Any]:
    """The figures of a run on the test part of FERPlus, averages weighted by class size."""
    judged = figures_on(finished(run), "ferplus", root, stages=stages)
    return {printed: judged["metrics"][ours] for printed, ours in WEIGHTED.items()}


def _beside(run: Path, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What papers print beside the test figures: of the epoch that was kept, and the test pictures got wrong."""
    test = metrics["test"]
    found: dict[str, Any] = {
        "misclassified": round(test["rows"] * (1 - test["metrics"]["accuracy"]["value"])),
        "validation_accuracy": metrics["validation"]["metrics"]["accuracy"]["value"],
    }
    if not (run / "history.csv").is_file():
        return found
    history, monitor = pd.read_csv(run / "history.csv"), load(run / "recipe.yaml").fit.monitor
    if f"val_{monitor}" in history:
        watched = history[f"val_{monitor}"]
        kept = history.iloc[int(watched.argmin() if monitor == "loss" else watched.argmax())]
        columns = {"train_accuracy": "train_accuracy", "train_loss": "train_loss", "validation_loss": "val_loss"}
        found |= {name: float(kept[column]) for name, column in columns.items() if column in history}
    return found
