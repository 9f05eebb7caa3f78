"""The report of one run."""

from pathlib import Path
from typing import Any

import pandas as pd

from mien.evaluation.comparison import probabilities_of
from mien.evaluation.metrics import METRICS
from mien.evaluation.report import figures, gallery, methods, works
from mien.evaluation.report.folder import Run, flat, read_run
from mien.evaluation.report.page import duration, write_page
from mien.evaluation.report.svg import standalone
from mien.files import write_text
from mien.labels import ordered

_UNSET = ("", "0", "0.0", "False", "None")
_MANNER = {"balance.order", "augment.fill"}
"""How a treatment is done, which says nothing where none is."""


def write_run_report(run_folder: Path, out: Path | None = None, thumbnails: gallery.Pictures | None = None) -> Path:
    """Write the report of a run as one HTML file that needs nothing else, and its figures as SVG in `figures/`.

    `thumbnails` gives pictures by row position in the test predictions: uint8 (H, W) or (H, W, 3). They are kept in
    `figures/gallery.png`, so that the report can be written again without the data set; without them the kept ones
    are used. `out` is `report.html` in the run folder by default. Files that a run does not have are left out of the
    page. Raises RunError when it has no test figures.
    """
    run = read_run(run_folder)
    kept = run_folder / "figures"
    if thumbnails and run.predictions is not None:
        gallery.store(kept, dict(enumerate(run.predictions["image"])), thumbnails)
    drawn = draw(run)
    for name, svg in drawn.items():
        write_text(kept / f"{name}.svg", standalone(svg))
    return write_page(
        out or run_folder / "report.html",
        "run.html.j2",
        run=run,
        figures=drawn,
        provenance=provenance(run),
        warnings=run.metrics.get("notes", []),
        audit=audit_state(run),
        without_twins=without_twins(run),
        counts=counts(run.samples),
        confusions=confusions(run.metrics["test"]),
        treatment=treatment(run),
        environment=dict(flat(run.environment)),
        findings=(run.audit or {}).get("findings", []),
        method=methods.sentences(run),
        references=works.references(run),
        mistakes=_mistakes(run),
        wrong=_wrong(run.predictions),
        pictures=_pictures(kept),
        before=run.metrics.get("test_uncalibrated"),
        chosen=chosen(run),
        embedding=_embedding(run),
    )


def _embedding(run: Run) -> dict[str, Any] | None:
    """What the vectors of a run that fitted an embedding know, and a map where there is one; None for other runs."""
    picture, found = run.folder / "figures" / "embedding.svg", run.metrics.get("embedding")
    return {"map": picture.read_text(encoding="utf-8") if picture.is_file() else None, **found} if found else None


def draw(run: Run) -> dict[str, str]:
    """Every figure that the run has the numbers for, by file name."""
    test = run.metrics["test"]
    drawn = draw_classes(test)
    before, after = run.metrics.get("test_uncalibrated"), test.get("calibration")
    if after:
        earlier = {"before": before["calibration"]["bins"]} if before else {}
        drawn["reliability"] = figures.reliability(earlier | {"after": after["bins"]})
        drawn["selective"] = figures.selective(after["selective"], chosen(run))
    if judged := run.metrics.get("agreement"):
        drawn["agreement"] = figures.agreement(judged["bands"])
    if run.history is not None and len(run.history):
        drawn |= _curves(run.history, run.recipe.get("fit", {}).get("monitor", "accuracy"))
    if run.groups:
        drawn |= draw_groups(run.groups, test["metrics"])
    if run.robustness:
        for name, points in run.robustness["corruptions"].items():
            drawn[f"robustness-{name}"] = figures.strengths(points, run.robustness["clean"], name)
    return drawn


def draw_classes(test: dict[str, Any]) -> dict[str, str]:
    """The confusion matrix and the bars of each class, by file name, of what `metrics.evaluate` gave."""
    drawn = {"confusion": figures.confusion(test["labels"], test["confusion"])}
    bars = {f"class-{name}": figures.class_bars(test["per_class"], name) for name in ("precision", "recall", "f1")}
    return drawn | bars


def provenance(run: Run) -> dict[str, str]:
    """What a reader must know to trust the figures, in one line."""
    opened, protocol = run.opened, run.metrics.get("protocol") or {}
    found = {
        "protocol": run.protocol,
        "split": _judged(run, protocol.get("split", "test")),
        "test opened": None if opened is None else "once" if opened == 1 else f"{opened} times",
        "audit": audit_state(run),
        "seed": ", ".join(map(str, run.recipe.get("seeds", ()))) or None,
        "arithmetic": run.arithmetic,
        "machine": _machine(run.environment),
        "time": _total(run.metrics.get("seconds") or {}),
    }
    return {key: str(value) for key, value in found.items() if value is not None}


def _judged(run: Run, split: str) -> str:
    rows, made = run.metrics["test"]["rows"], 0
    if run.samples is not None:
        made = int(((run.samples["split"] == split) & (run.samples["source"] == "made")).sum())
    return f"{split}, {rows:,} rows, {rows - made:,} of them real pictures" if made else f"{split}, {rows:,} pictures"


def audit_state(run: Run) -> str | None:
    """How the audit went, in a few words; None when the run says nothing about it."""
    if run.audit is None:
        return None
    if run.audit.get("audit") == "off":
        return "off"
    found = len(run.audit.get("findings", []))
    return "nothing found" if not found else f"{found} finding{'s' if found > 1 else ''}"


def without_twins(run: Run) -> dict[str, Any] | None:
    """Accuracy over the test pictures that have no twin in training, where that leaves some out but not all."""
    kept = run.metrics.get("test_without_twins") or {"rows": 0}
    rows = run.metrics["test"]["rows"]
    return kept | {"dropped": rows - kept["rows"]} if 0 < kept["rows"] < rows else None


def counts(samples: pd.DataFrame | None) -> dict[str, Any] | None:
    """Pictures of each class (rows) in each split (columns); made rows apart."""
    if samples is None:
        return None
    made = (samples["source"] == "made").to_numpy(bool)
    columns = {split: samples[~made & (samples["split"] == split)] for split in ("train", "validation", "test")}
    columns |= {"unused": samples[~made & samples["split"].isna()], "made": samples[made]}
    columns = {name: table for name, table in columns.items() if len(table)}
    found = {name: table["label"].value_counts().to_dict() for name, table in columns.items()}
    labels = ordered(str(label) for column in found.values() for label in column)
    return {
        "columns": {name: len(table) for name, table in columns.items()},
        "rows": {label: {name: int(column.get(label, 0)) for name, column in found.items()} for label in labels},
        "most": {name: max(column.values(), default=1) for name, column in found.items()},
    }


def treatment(run: Run) -> dict[str, str]:
    """How rows were balanced and augmented: the recipe's values that are set to something."""
    chosen_parts = {key: run.recipe[key] for key in ("balance", "augment") if run.recipe.get(key)}
    found = {key: value for key, value in flat(chosen_parts) if value not in _UNSET}
    done = {key.partition(".")[0] for key in found.keys() - _MANNER}
    return {key: value for key, value in found.items() if key.partition(".")[0] in done}


def confusions(test: dict[str, Any], limit: int = 8) -> list[dict[str, Any]]:
    """The off-diagonal cells of the confusion matrix with the most pictures."""
    labels, rows = test["labels"], test["confusion"]
    cells = [
        {"label": label, "predicted": labels[j], "count": count, "share": count / sum(rows[i])}
        for i, label in enumerate(labels)
        for j, count in enumerate(rows[i])
        if count and i != j
    ]
    return sorted(cells, key=lambda cell: -cell["count"])[:limit]


def chosen(run: Run) -> dict[str, float] | None:
    """The share of test pictures answered at the run's `uncertain` threshold, and the accuracy among them."""
    threshold, predictions = run.metrics.get("uncertain_below"), run.predictions
    if threshold is None or predictions is None:
        return None
    answered = predictions[probabilities_of(predictions).max(axis=1) >= threshold]
    if not len(answered):
        return None
    right = (answered["predicted"] == answered["label"]).mean()
    return {"threshold": threshold, "coverage": len(answered) / len(predictions), "accuracy": float(right)}


def draw_groups(found: dict[str, Any], whole: dict[str, Any]) -> dict[str, str]:
    """Accuracy and balanced accuracy in the groups of every column, below those of all test pictures, by file name."""
    drawn = {}
    for number, each in enumerate(found["columns"], 1):
        for name in ("accuracy", "balanced_accuracy"):
            rows = [("all test pictures", whole[name]), *((group["name"], group[name]) for group in each["groups"])]
            title = f"{METRICS[name].lower()} by {each['column']}, with 95% intervals"
            drawn[f"groups-{number}-{name}"] = figures.forest(rows, rows[0][0], title)
    return drawn


def _curves(history: pd.DataFrame, monitor: str) -> dict[str, str]:
    epochs, chosen = history["epoch"].to_list(), history.get(f"val_{monitor}")
    kept = None if chosen is None else chosen.argmin() if monitor == "loss" else chosen.argmax()
    best = None if kept is None else float(epochs[int(kept)])
    drawn = {}
    for name in ("loss", "accuracy"):
        columns = {label: f"{prefix}_{name}" for label, prefix in (("training", "train"), ("validation", "val"))}
        series = {label: history[column].to_list() for label, column in columns.items() if column in history}
        if series:
            drawn[f"history-{name}"] = figures.curves(series, epochs, name, best)
    if "lr" in history:
        drawn["history-rate"] = figures.curves({"learning rate": history["lr"].to_list()}, epochs, "learning rate")
    return drawn


def _mistakes(run: Run) -> list[gallery.Mistake]:
    if run.predictions is None:
        return []
    kept = gallery.stored(run.folder / "figures")
    rows = {image: row for row, image in enumerate(run.predictions["image"])}
    pictures = {rows[image]: picture for image, picture in kept.items() if image in rows}
    return gallery.mistakes(run.predictions, list(pictures) or gallery.select_gallery(run.predictions), pictures)


def _wrong(predictions: pd.DataFrame | None) -> int:
    return 0 if predictions is None else int((predictions["label"] != predictions["predicted"]).sum())


def _pictures(folder: Path) -> dict[str, str]:
    """The explanations that another part of the program left, as data addresses by title."""
    paths = sorted(folder.glob("explain-*.png"))
    return {path.stem: gallery.data_address(path.read_bytes(), path.suffix[1:]) for path in paths}


def _machine(environment: dict[str, Any]) -> str | None:
    cores = environment.get("cores")
    parts = [environment.get("gpu"), environment.get("processor"), f"{cores} cores" if cores else None]
    return ", ".join(str(part) for part in parts if part) or None


def _total(seconds: dict[str, float]) -> str | None:
    total = seconds.get("total", sum(seconds.values()))
    return duration(total) if total else None
