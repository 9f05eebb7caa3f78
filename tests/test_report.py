"""Reports: complete, self-contained, safe, and forgiving about what a run does not have."""

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import typer
import yaml
from numpy.typing import NDArray
from typer.testing import CliRunner

from mien.cli.report import report
from mien.errors import DataError, RunError, UsageError
from mien.evaluation import calibration, ledger
from mien.evaluation.metrics import evaluate
from mien.evaluation.report import select_gallery, weigh, write_comparison_report, write_run_report
from mien.evaluation.report.arms import read_arms, repeats, together
from mien.evaluation.report.figures import curves
from mien.evaluation.report.folder import read_run
from mien.evaluation.report.gallery import stored
from mien.evaluation.report.run import chosen
from mien.labels import LABEL_SETS

LABELS = LABEL_SETS["fer2013"]
SHARES = [0.13, 0.02, 0.14, 0.25, 0.17, 0.17, 0.12]


def probabilities(targets: NDArray[np.int64], skill: float, seed: int) -> NDArray[np.float64]:
    """Answers that are right more often the higher `skill`, over-confident, and harder on some classes."""
    shared = np.random.default_rng(0).normal(0, 1.3, (len(targets), len(LABELS)))
    own = np.random.default_rng(seed).normal(0, 0.8, (len(targets), len(LABELS)))
    scores = shared + own
    scores[np.arange(len(targets)), targets] += skill + np.array([0, 0.4, -0.6, 1.6, 0.2, -0.2, 0.9])[targets]
    return calibration.softmax(scores * 1.7)


def fake_run(folder: Path, rows: int = 300, skill: float = 2.4, seed: int = 1, bare: bool = False) -> Path:
    """A run folder as training leaves it; `bare` has only what every run must have."""
    targets = np.random.default_rng(7).choice(len(LABELS), rows, p=SHARES)
    before = probabilities(targets, skill, seed)
    after = calibration.softmax(calibration.logits(before), 1.7)
    folder.mkdir(parents=True)
    predictions = pd.DataFrame({"image": [f"test/{i:05d}.png" for i in range(rows)], "subject": None, "split": "test"})
    predictions["label"] = [LABELS[i] for i in targets]
    predictions["predicted"] = [LABELS[i] for i in after.argmax(axis=1)]
    for i, label in enumerate(LABELS):
        predictions[f"p_{label}"] = after[:, i].astype(np.float32)
    predictions.to_parquet(folder / "predictions.parquet")
    metrics: dict[str, Any] = {"test": evaluate(after, targets, LABELS, bootstrap=50)}
    if not bare:
        metrics |= details(before, targets)
        surroundings(folder, targets, seed)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def details(before: NDArray[np.float64], targets: NDArray[np.int64]) -> dict[str, Any]:
    earlier = evaluate(before, targets, LABELS, bootstrap=50)
    return {
        "protocol": {"name": "fer2013-official", "digest": "3f9a1c77b2d04e51", "split": "test", "rows": len(targets)},
        "validation": earlier,
        "test_uncalibrated": earlier,
        "temperature": 1.7,
        "uncertain_below": 0.62,
        "opened": 1,
        "seconds": {"prepare": 14.2, "audit": 9.1, "train": 1630.0, "test": 6.3},
        "notes": [],
    }


def surroundings(folder: Path, targets: NDArray[np.int64], seed: int) -> None:
    """The files beside the predictions: recipe, environment, samples, audit, history, robustness."""
    recipe = {
        "name": f"fer2013-small-{seed}",
        "data": {"source": "fer2013", "root": "fer2013.csv"},
        "chain": ["grey", {"resize": 48}, "clahe"],
        "balance": {"method": "smote", "target": "median", "neighbours": 5},
        "augment": {"rotation": 10, "shift": 0.1, "flip": True, "erasing": 0.2},
        "model": {"backbone": "mien-small", "dropout": 0.3},
        "fit": {"optimiser": "sgd", "epochs": 34, "batch": 128, "rate": 0.1 * seed},
        "seeds": [seed],
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    environment = {"processor": "Xeon 2.2 GHz", "cores": 2, "python": "3.12.3", "packages": {"torch": "2.8.0"}}
    (folder / "environment.json").write_text(json.dumps(environment))
    samples = pd.DataFrame({"label": [LABELS[i] for i in np.tile(targets, 10)]})
    samples["split"] = ["test"] * len(targets) + ["validation"] * len(targets) + ["train"] * (8 * len(targets))
    samples["parent"] = pd.array([None] * (9 * len(targets)) + [3] * len(targets), dtype="Int64")
    samples["source"] = np.where(samples["parent"].isna(), "fer2013", "made")
    samples.to_parquet(folder / "samples.parquet")
    finding = {
        "code": "exact-twins-across-splits",
        "severity": "warning",
        "count": 412,
        "message": "412 test pictures have an exact twin in training",
        "advice": "train again with split.clean: train",
    }
    (folder / "audit.json").write_text(json.dumps({"images": 35887, "findings": [finding]}))
    with (folder / "history.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr", "seconds"])
        for epoch in range(34):
            gone = 1 - np.exp(-epoch / 9)
            bump = 0.05 * np.sin(2.3 * epoch)
            train, val = (
                (1.9 - 1.2 * gone, 0.25 + 0.52 * gone),
                (1.8 - 0.8 * gone + bump, 0.28 + 0.42 * gone - bump / 4),
            )
            writer.writerow([epoch, *train, *val, 0.1 * np.sin(np.pi * (epoch + 1) / 35), 48.0])
    points = [
        {"strength": s, "accuracy": around(v), "ece": around(0.5 - 0.6 * v)}
        for s, v in enumerate((0.71, 0.68, 0.64, 0.55, 0.41, 0.3))
    ]
    curves = dict.fromkeys(("blur", "noise", "jpeg", "occlusion"), points[1:])
    robustness = {"clean": points[0], "corruptions": curves, "mean_drop": around(0.19)}
    (folder / "robustness.json").write_text(json.dumps(robustness))


def around(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.02, "high": value + 0.02}


class Page(HTMLParser):
    """What a page refers to, and which sections it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.sections: list[str] = []
        self.tags: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self.addresses += [found[name] or "" for name in ("src", "href") if name in found]
        if tag == "section":
            self.sections.append(found["id"] or "")


def faces(rows: list[int], size: int = 48) -> dict[int, NDArray[np.uint8]]:
    generator = np.random.default_rng(0)
    return {row: generator.integers(0, 256, (size, size), dtype=np.uint8) for row in rows}


def test_a_full_run_has_every_section_and_refers_to_nothing_outside_itself(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "run")
    rows = select_gallery(pd.read_parquet(run / "predictions.parquet"))
    page = Page(write_run_report(run, thumbnails=faces(rows)))
    assert page.sections == [
        *("figures", "classes", "confusion", "calibration", "training", "mistakes"),
        *("robustness", "data", "audit", "recipe", "environment"),
    ]
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert sum(address.startswith("data:image/png") for address in page.addresses) == len(rows)
    assert {"#" + name for name in page.sections} >= {a for a in page.addresses if a.startswith("#")}
    assert "script" not in page.tags
    text = (run / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", text)
    assert "fer2013-official@3f9a1c77b2d0" in text


def test_a_bare_run_has_the_sections_of_what_it_has(tmp_path: Path) -> None:
    page = Page(write_run_report(fake_run(tmp_path / "run", bare=True)))
    assert page.sections == ["figures", "classes", "confusion", "calibration", "mistakes"]


@pytest.mark.parametrize("absent", ["recipe.yaml", "environment.json", "samples.parquet", "audit.json", "history.csv"])
def test_any_file_beside_the_figures_may_be_absent(tmp_path: Path, absent: str) -> None:
    run = fake_run(tmp_path / "run", rows=120)
    (run / absent).unlink()
    assert "figures" in Page(write_run_report(run)).sections


def test_the_figures_are_files_too_and_well_formed(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "run")
    write_run_report(run)
    drawn = sorted(path.name for path in (run / "figures").glob("*.svg"))
    assert {"confusion.svg", "class-f1.svg", "reliability.svg", "selective.svg", "history-loss.svg"} <= set(drawn)
    for path in (run / "figures").glob("*.svg"):
        assert ElementTree.parse(path).getroot().get("role") == "img"
        assert "nan" not in re.sub(r"[a-z]*nan[a-z]+", "", path.read_text())


def test_headline_and_confusion_show_the_figures_of_the_run(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "run")
    text = write_run_report(run, out=tmp_path / "elsewhere.html").read_text(encoding="utf-8")
    test = json.loads((run / "metrics.json").read_text())["test"]
    accuracy = test["metrics"]["accuracy"]
    assert f"{100 * accuracy['value']:.1f}%" in text
    assert f"{100 * accuracy['low']:.1f}–{100 * accuracy['high']:.1f}%" in text
    assert all(f">{count:,}</text>" in text for row in test["confusion"] for count in row if count)
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    ("monitor", "said"), [("accuracy", "highest validation accuracy"), ("loss", "lowest validation loss")]
)
def test_the_marked_epoch_is_named_by_what_was_monitored(tmp_path: Path, monitor: str, said: str) -> None:
    run = fake_run(tmp_path / "run")
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    recipe["fit"]["monitor"] = monitor
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    text = write_run_report(run).read_text(encoding="utf-8")
    assert [words for words in ("highest validation accuracy", "lowest validation loss") if words in text] == [said]


def test_pictures_are_kept_so_that_the_report_can_be_written_again(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "run")
    rows = select_gallery(pd.read_parquet(run / "predictions.parquet"), limit=5)
    given = faces(rows) | {rows[0]: np.full((200, 100, 3), 90, np.uint8)}
    first = write_run_report(run, thumbnails=given).read_bytes()
    assert write_run_report(run).read_bytes() == first
    kept = stored(run / "figures")
    assert kept[f"test/{rows[0]:05d}.png"].shape == (96, 48, 3)
    assert (kept[f"test/{rows[1]:05d}.png"][..., 0] == given[rows[1]]).all()


def test_the_gallery_takes_the_surest_mistakes_of_each_class_in_turn(tmp_path: Path) -> None:
    predictions = pd.read_parquet(fake_run(tmp_path / "run", bare=True) / "predictions.parquet")
    rows = select_gallery(predictions, limit=14)
    shown = predictions.iloc[rows]
    assert (shown["label"] != shown["predicted"]).all()
    assert len(set(rows)) == 14
    assert shown["label"].value_counts().max() - shown["label"].value_counts().min() <= 1
    happy = predictions[(predictions["label"] == "happiness") & (predictions["predicted"] != "happiness")]
    surest = happy[[f"p_{label}" for label in LABELS]].max(axis=1).idxmax()
    assert surest in rows


def test_names_from_outside_are_escaped(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "run", rows=120)
    hostile = '<script>alert("x")</script>'
    predictions = pd.read_parquet(run / "predictions.parquet").assign(image=lambda t: hostile + t["image"])
    predictions.to_parquet(run / "predictions.parquet")
    (run / "recipe.yaml").write_text(yaml.safe_dump({"name": hostile, "model": {hostile: hostile}}))
    page = Page(write_run_report(run))
    assert "script" not in page.tags


def changed(run: Path, **more: Any) -> Path:
    """The run with other entries in its metrics."""
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps(metrics | more))
    return run


def test_what_spoils_a_result_is_said_before_its_figures(tmp_path: Path) -> None:
    run = changed(fake_run(tmp_path / "run", rows=120), notes=["balanced before the split"])
    text = write_run_report(run).read_text(encoding="utf-8")
    assert text.index("balanced before the split") < text.index("Test accuracy")


def test_reports_say_how_often_the_test_rows_were_opened_by_now(tmp_path: Path) -> None:
    runs = [fake_run(tmp_path / "a", rows=120), fake_run(tmp_path / "b", rows=120, seed=2)]
    stored = write_run_report(runs[0]).read_text(encoding="utf-8")
    assert re.search(r"test opened</dt>\s*<dd>once", stored), "what the run noted stands where no ledger is left"
    for run in range(41):
        ledger.record(tmp_path, "fer2013-official@3f9a1c77b2d0", f"run-{run}")
    assert "41 times" in write_run_report(runs[0]).read_text(encoding="utf-8")
    page = write_comparison_report(weigh(runs), tmp_path / "both.html").read_text(encoding="utf-8")
    assert page.count("<td>41</td>") == 2


def test_a_ledger_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "ledger.jsonl").mkdir()
    with pytest.raises(DataError, match=r"cannot write .*ledger\.jsonl"):
        ledger.record(tmp_path, "mine@00", "a")


def test_an_audit_that_was_off_is_no_clean_audit(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "run", rows=120)
    (run / "audit.json").write_text('{"audit": "off"}')
    text = write_run_report(run).read_text(encoding="utf-8")
    assert "The audit was off" in text
    assert "Nothing was found" not in text


def test_the_accuracy_without_twins_stands_beside_the_one_with_them(tmp_path: Path) -> None:
    run = changed(fake_run(tmp_path / "run"), test_without_twins={"rows": 288, "accuracy": around(0.5)})
    text = write_run_report(run).read_text(encoding="utf-8")
    assert "50.0% without 12 with a twin in the original training part" in text
    changed(run, test_without_twins={"rows": 300, "accuracy": around(0.5)})
    assert "with a twin in the original training part" not in write_run_report(run).read_text(encoding="utf-8")


@pytest.mark.parametrize(("kept", "said"), [("bf16-mixed", "bf16"), ("32-true", "float32")])
def test_a_run_names_the_arithmetic_it_was_fitted_in(tmp_path: Path, kept: str, said: str) -> None:
    run = changed(fake_run(tmp_path / "run", rows=120), precision=kept)
    assert re.search(rf"arithmetic</dt>\s*<dd>{said}<", write_run_report(run).read_text(encoding="utf-8"))


def test_a_folder_without_test_figures_is_refused_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="name a run folder written by mien train"):
        write_run_report(tmp_path)
    (tmp_path / "recipe.yaml").touch()
    with pytest.raises(RunError, match=r"mien train \S+ --resume"):
        write_run_report(tmp_path)


def test_two_runs_are_compared_with_the_pictures_that_changed(tmp_path: Path) -> None:
    runs = [fake_run(tmp_path / "a", seed=1), fake_run(tmp_path / "b", seed=2, skill=3.2)]
    out = write_comparison_report(weigh(runs), tmp_path / "both.html", thumbnails=faces(weigh(runs).changed_rows()))
    page, text = Page(out), out.read_text(encoding="utf-8")
    assert page.sections == ["figures", "classes", "changed", "recipes"]
    a, b = (pd.read_parquet(run / "predictions.parquet") for run in runs)
    gained = ((a["label"] != a["predicted"]) & (b["label"] == b["predicted"])).sum()
    assert f"Wrong with fer2013-small-1, right with fer2013-small-2: {gained}" in text
    assert sum(address.startswith("data:") for address in page.addresses) == len(weigh(runs).changed_rows())
    assert "fit.rate" in text
    assert write_comparison_report(weigh(runs), tmp_path / "both.html").read_text(encoding="utf-8") == text


@pytest.mark.parametrize("alone", ["a class of one picture", "one person"])
def test_where_no_interval_can_be_given_none_is_printed(tmp_path: Path, alone: str) -> None:
    runs = [fake_run(tmp_path / "a", seed=1, rows=60), fake_run(tmp_path / "b", seed=2, rows=60)]
    for run in runs:
        table = pd.read_parquet(run / "predictions.parquet")
        if alone == "one person":
            table["subject"] = "anna"
        else:
            table = table[(table["label"] != "happiness") | ~table["label"].duplicated()]
        table.to_parquet(run / "predictions.parquet")
    text = write_comparison_report(weigh(runs), tmp_path / "both.html").read_text(encoding="utf-8")
    assert "nan" not in text.lower()
    assert ("too few people or pictures for an interval" in text) == (alone == "one person")


@pytest.mark.parametrize("damaged", ["metrics.json", "predictions.parquet", "recipe.yaml", "audit.json"])
def test_a_damaged_file_of_a_run_is_named(damaged: str, tmp_path: Path) -> None:
    run = fake_run(tmp_path / "run")
    (run / damaged).write_text("name: [")
    with pytest.raises(RunError, match="cannot be read") as refused:
        read_run(run)
    assert str(run / damaged) in str(refused.value)


def test_the_best_of_several_is_marked_only_beyond_chance(tmp_path: Path) -> None:
    weak, strong = fake_run(tmp_path / "a", seed=1, skill=1.5), fake_run(tmp_path / "b", seed=2, skill=4)
    other = fake_run(tmp_path / "c", seed=3, skill=4)
    marked = write_comparison_report(weigh([weak, strong]), tmp_path / "x.html").read_text(encoding="utf-8")
    unmarked = write_comparison_report(weigh([weak, strong, other]), tmp_path / "y.html").read_text(encoding="utf-8")
    assert marked.count('<span class="mark">best') == 1
    assert '<span class="mark">best' not in unmarked
    assert "tests" in Page(tmp_path / "y.html").sections


def test_runs_over_other_pictures_or_protocols_are_shown_with_a_warning(tmp_path: Path) -> None:
    runs = [fake_run(tmp_path / "a", rows=200), fake_run(tmp_path / "b", rows=150, seed=2)]
    metrics = json.loads((runs[1] / "metrics.json").read_text())
    metrics["protocol"]["digest"] = "0123456789abcdef"
    (runs[1] / "metrics.json").write_text(json.dumps(metrics))
    out = write_comparison_report(weigh(runs), tmp_path / "both.html")
    assert Page(out).sections == ["figures", "recipes"]
    text = out.read_text(encoding="utf-8")
    assert "Different protocols" in text
    assert "No paired tests" in text
    assert weigh(runs).changed_rows() == []


def test_one_digest_under_two_names_is_one_protocol(tmp_path: Path) -> None:
    runs = [fake_run(tmp_path / "a", rows=200), fake_run(tmp_path / "b", rows=200, seed=2)]
    given = json.loads((runs[1] / "metrics.json").read_text())["protocol"]
    changed(runs[1], protocol=given | {"name": "mine"})
    assert command(*runs, "--out", tmp_path / "page.html")["warnings"] == []
    changed(runs[1], protocol=given | {"digest": "0123456789abcdef"})
    app = typer.Typer()
    app.command()(report)
    said = CliRunner().invoke(app, [*map(str, runs), "--out", str(tmp_path / "page.html")]).stdout
    assert "warning: Different protocols" in said and "@0123456789ab" in said


def test_what_is_answered_at_the_threshold_is_counted_there(tmp_path: Path) -> None:
    run = read_run(fake_run(tmp_path / "run"))
    assert run.predictions is not None
    sure = run.predictions[[f"p_{label}" for label in LABELS]].max(axis=1) >= 0.62
    right = (run.predictions["predicted"] == run.predictions["label"])[sure].mean()
    found = chosen(run)
    assert found == {"threshold": 0.62, "coverage": pytest.approx(sure.mean()), "accuracy": pytest.approx(right)}


def test_runs_in_different_arithmetic_are_told_apart(tmp_path: Path) -> None:
    runs = [fake_run(tmp_path / "a", rows=200), fake_run(tmp_path / "b", rows=200, seed=2)]
    for run in runs:
        changed(run, precision="32-true")
    assert command(*runs, "--out", tmp_path / "page.html")["warnings"] == []
    changed(runs[1], precision="bf16-mixed")
    (said,) = command(*runs, "--out", tmp_path / "page.html")["warnings"]
    assert "different arithmetic (bf16, float32): set fit.precision" in said


def test_seeds_in_different_arithmetic_are_told_apart_too(tmp_path: Path) -> None:
    seeds(tmp_path / "mine", "mine", 0.7)
    for seed, precision in ((1, "32-true"), (2, "bf16-mixed"), (3, "bf16-mixed")):
        changed(tmp_path / "mine" / f"seed-{seed}", precision=precision)
    said, seldom = command(tmp_path / "mine", "--out", tmp_path / "page.html")["warnings"]
    assert "few test pictures of disgust (7)" in seldom
    assert "different arithmetic" in said and "different arithmetic" in (tmp_path / "page.html").read_text()


def test_copies_of_a_run_are_no_repetitions(tmp_path: Path) -> None:
    runs = [fake_run(tmp_path / name, rows=200) for name in ("a", "b")]
    for run in runs:
        (run / "recipe.yaml").write_text(yaml.safe_dump({"name": "one", "seeds": [0]}))
    assert repeats(read_arms(runs)) == {}


def test_runs_on_other_pictures_are_no_seeds_of_each_other(tmp_path: Path) -> None:
    runs = [fake_run(tmp_path / name / f"seed-{seed}", seed=seed) for name in ("a", "b") for seed in (1, 2)]
    for run in runs:
        (run / "recipe.yaml").write_text(yaml.safe_dump({"name": "one", "seeds": [int(run.name[-1])]}))
    protocol = json.loads((runs[0] / "metrics.json").read_text())["protocol"]
    for run in runs[2:]:
        changed(run, protocol=protocol | {"digest": "0123456789abcdef"})
    weighed = weigh([tmp_path / "a", tmp_path / "b"])
    assert [len(family) for family in weighed.arms.values()] == [2, 2]
    assert any("Different protocols" in warning for warning in weighed.warnings)
    assert not weighed.again, "seeds with other test pictures are no pairs"
    only = weigh([runs[0], runs[3]])
    assert [len(family) for family in only.arms.values()] == [1, 1] and not only.spreads


def seeds(folder: Path, name: str, skill: float) -> list[float]:
    """Three runs of one recipe below `folder`, and their accuracies."""
    for seed in (1, 2, 3):
        run = fake_run(folder / f"seed-{seed}", rows=300, seed=seed, skill=skill)
        (run / "recipe.yaml").write_text(yaml.safe_dump({"name": name, "seeds": [seed]}))
    return [
        json.loads(path.read_text())["test"]["metrics"]["accuracy"]["value"] for path in folder.glob("*/metrics.json")
    ]


def test_seeds_of_one_recipe_are_summed_up_and_not_ranked(tmp_path: Path) -> None:
    values = seeds(tmp_path / "one", "one", 2.4)
    text = write_comparison_report(weigh([tmp_path / "one"]), tmp_path / "x.html").read_text(encoding="utf-8")
    assert "one, 3 times" in text
    assert f"{100 * np.mean(values):.1f}%" in text
    assert f"deviation {100 * np.std(values, ddof=1):.1f} points" in text
    page = Page(tmp_path / "x.html")
    assert {"classes", "confusion"} <= set(page.sections)
    assert "McNemar" not in text
    assert weigh([tmp_path / "one"]).changed_rows() == []


def test_two_recipes_over_seeds_have_a_mean_each_and_every_run_a_row(tmp_path: Path) -> None:
    means = {name: np.mean(seeds(tmp_path / name, name, skill)) for name, skill in (("plain", 2.0), ("better", 3.0))}
    assert set(weigh([tmp_path]).arms) == {"plain", "better"}, "the folder of both stands for them"
    out = write_comparison_report(weigh([tmp_path / "plain", tmp_path / "better"]), tmp_path / "x.html")
    text = out.read_text(encoding="utf-8")
    assert "seeds" in Page(out).sections
    assert all(f"{100 * mean:.1f}%" in text for mean in means.values())
    assert "plain (seed-2)" in text
    assert "better (seed-2)" in text


def test_no_interval_over_seeds_leaves_the_range_of_its_quantity(tmp_path: Path) -> None:
    for seed, skill in ((1, 9.0), (2, 9.0), (3, 2.0)):
        run = fake_run(tmp_path / "one" / f"seed-{seed}", rows=60, seed=seed, skill=skill)
        (run / "recipe.yaml").write_text(yaml.safe_dump({"name": "one", "seeds": [seed]}))
    (found,) = repeats(read_arms([tmp_path / "one"])).values()
    assert found["accuracy"].mean.high == 1 and found["ece"].mean.low == 0
    assert all(0 <= each.mean.low <= each.mean.value <= each.mean.high for each in found.values())


def folds(folder: Path, name: str, skill: float) -> None:
    """Three folds of one recipe below `folder`, each on test pictures and under a digest of its own."""
    for fold in range(3):
        run = fake_run(folder / f"fold-{fold}", rows=300, seed=fold, skill=skill)
        recipe = {"name": name, "split": {"method": "kfold", "folds": 3, "fold": fold}}
        (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        protocol = json.loads((run / "metrics.json").read_text())["protocol"]
        changed(run, protocol=protocol | {"digest": f"{fold}123456789abcdef"})
        table = pd.read_parquet(run / "predictions.parquet")
        table.assign(image=f"{fold}/" + table["image"]).to_parquet(run / "predictions.parquet")


def test_runs_over_other_splits_share_training_rows_and_have_wider_intervals(tmp_path: Path) -> None:
    widths = []
    for key in ("seeds", "split.seed"):
        for name in ("one", "two"):
            for seed in range(3):
                run = fake_run(tmp_path / key / name / f"run-{seed}", rows=300, seed=seed)
                repeated = {"seeds": [seed]} if key == "seeds" else {"split": {"method": "stratified", "seed": seed}}
                (run / "recipe.yaml").write_text(yaml.safe_dump({"name": name, **repeated}))
        found = command(tmp_path / key / "one", tmp_path / key / "two", "--out", tmp_path / "x.html")
        mean = found["repeats"]["one"]["spread"]["accuracy"]["mean"]
        widths.append(mean["high"] - mean["low"])
    assert widths[1] > 1.1 * widths[0], "Nadeau and Bengio 2003"


@pytest.mark.parametrize("repeated", [seeds, folds])
def test_two_recipes_over_seeds_or_folds_are_tested_as_two_arms(tmp_path: Path, repeated: Any) -> None:
    for name, skill in (("plain", 1.5), ("better", 4.0)):
        repeated(tmp_path / name, name, skill)
    document = command(tmp_path / "plain", tmp_path / "better", "--out", tmp_path / "x.html")
    assert all("few test pictures of disgust" in warning for warning in document["warnings"])
    assert [(pair["a"], pair["b"]) for pair in document["tests"]["pairs"]] == [("plain", "better")]
    assert document["tests"]["best"] == "better"
    assert document["repeats"].keys() == {"plain", "better"}
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    (again,) = document["trained_again"]
    assert (again["a"], again["b"], again["runs"]) == ("plain", "better", 3)
    mean = {name: document["repeats"][name]["spread"]["accuracy"]["mean"]["value"] for name in ("plain", "better")}
    assert again["difference"]["value"] == pytest.approx(mean["better"] - mean["plain"])
    assert 0 < again["difference"]["low"] < again["difference"]["high"]
    assert f"{'seed by seed' if repeated is seeds else 'fold by fold'}</h3>" in text
    assert text.count('<span class="mark">best') == 1
    assert ("over 300 groups of answers" in text) == (repeated is seeds)


def test_seeds_are_tested_against_a_single_run_whose_spread_nobody_knows(tmp_path: Path) -> None:
    seeds(tmp_path / "better", "better", 4.0)
    single = fake_run(tmp_path / "plain", rows=300, skill=1.5)
    (single / "recipe.yaml").write_text(yaml.safe_dump({"name": "plain", "seeds": [1]}))
    arms = [single, tmp_path / "better"]
    document = command(*arms, "--out", tmp_path / "x.html")
    assert document["tests"]["best"] == "better" and "over 300 groups" in document["tests"]["test"]
    assert document["warnings"][0] == (
        "Run once beside recipes that were repeated: plain. How far another seed moves it is not known."
    )
    text = write_comparison_report(weigh(arms), tmp_path / "x.html", faces(weigh(arms).changed_rows())).read_text(
        encoding="utf-8"
    )
    assert document["warnings"][0] in text
    counts = re.findall(rf"<tr><th>(?:{'|'.join(LABELS)})</th><td>(\d+)</td>", text)
    assert sum(map(int, counts)) == 300, "of pictures, not of answers"
    shown = re.findall(r'<div class="verdict">', text)
    assert len(shown) >= len(set(weigh(arms).changed_rows())) == len(weigh(arms).changed_rows()) > 0
    assert text.count("data:image/png") == len(shown), "a picture is shown once on each side, and none by name only"


def test_two_recipes_of_one_name_over_seeds_stay_two(tmp_path: Path) -> None:
    for folder, rate in (("a", 0.1), ("b", 0.2)):
        seeds(tmp_path / folder, "same", 2.0)
        for path in (tmp_path / folder).glob("*/recipe.yaml"):
            path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"fit": {"learning_rate": rate}}))
    found = command(tmp_path / "a", tmp_path / "b", "--out", tmp_path / "x.html")
    assert found["repeats"].keys() == {"same", "same (b)"}


def moved(run: Path, digest: str, **recipe: Any) -> None:
    """The run as if its data, with another digest, had been elsewhere."""
    changed(run, protocol={"name": "folders", "digest": digest * 12})
    given = yaml.safe_load((run / "recipe.yaml").read_text())
    (run / "recipe.yaml").write_text(yaml.safe_dump(given | recipe))


def test_runs_on_other_data_are_no_seeds_of_one_recipe(tmp_path: Path) -> None:
    seeds(tmp_path / "one", "one", 2.0)
    for seed, digest in ((1, "a"), (2, "a"), (3, "b")):
        moved(tmp_path / "one" / f"seed-{seed}", digest, data={"root": f"data/{digest}"})
    document = command(tmp_path / "one", "--out", tmp_path / "x.html")
    assert [each["spread"]["accuracy"]["runs"] for each in document["repeats"].values()] == [2]
    assert "Different protocols" in document["warnings"][0]
    moved(tmp_path / "one" / "seed-3", "a")
    assert len(command(tmp_path / "one", "--out", tmp_path / "x.html")["repeats"]["one"]["spread"]) > 0
    for seed, digest in ((1, "a"), (2, "b"), (3, "c")):
        moved(tmp_path / "one" / f"seed-{seed}", digest, balance={"order": "balance-before-split"})
    document = command(tmp_path / "one", "--out", tmp_path / "x.html")
    assert document["repeats"]["one"]["spread"]["accuracy"]["runs"] == 3, "rows made before the split follow the seed"


def test_repeated_runs_on_three_datasets_of_one_name_stay_three_arms(tmp_path: Path) -> None:
    for digest in "abc":
        seeds(tmp_path / digest / "same", "same", 2.0)
        for run in (tmp_path / digest / "same").iterdir():
            moved(run, digest, seeds=[ord(digest) * 10 + int(run.name[-1])])
    found = weigh([tmp_path / digest / "same" for digest in "abc"])
    assert [len(family) for family in found.arms.values()] == [3, 3, 3]


def test_recipes_on_other_data_are_not_set_against_each_other_seed_by_seed(tmp_path: Path) -> None:
    for name, skill in (("plain", 1.5), ("better", 4.0)):
        seeds(tmp_path / name, name, skill)
    assert len(weigh([tmp_path]).again) == 1
    for run in (tmp_path / "better").iterdir():
        moved(run, "b")
    assert weigh([tmp_path]).again == []


def test_one_run_is_no_comparison(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two runs"):
        write_comparison_report(weigh([fake_run(tmp_path / "a", rows=100)]), tmp_path / "x.html")


def command(*arguments: object) -> dict[str, Any]:
    app = typer.Typer()
    app.command()(report)
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"], catch_exceptions=False)
    return json.loads(result.stdout)


def test_figures_become_tables_for_papers(tmp_path: Path) -> None:
    seeds(tmp_path / "one", "one", 2.4)
    runs = [fake_run(tmp_path / "other", rows=300, seed=1), tmp_path / "one"]
    for kind in ("md", "tex", "csv"):
        assert Path(command(*runs, "--out", tmp_path / f"table.{kind}")["report"]).suffix == f".{kind}"
    rows = pd.read_csv(tmp_path / "table.csv", keep_default_na=False)
    pooled = together(list(read_arms([tmp_path / "one"]).values()))
    (found,) = rows[(rows["arm"] == "one") & (rows["class"] == "") & (rows["figure"] == "macro_f1")].to_dict("records")
    assert found["value"] == pytest.approx(pooled["metrics"]["macro_f1"]["value"])
    assert set(rows["class"]) == {"", *LABELS}
    accuracy = pooled["metrics"]["accuracy"]
    cell = f"{100 * accuracy['value']:.1f}% [{100 * accuracy['low']:.1f}, {100 * accuracy['high']:.1f}]"
    text = (tmp_path / "table.md").read_text()
    assert cell in text and "one against" in text and "Holm-corrected" in text
    changed(tmp_path / "one" / "seed-2", notes=["balanced before the split"])
    command(*runs, "--out", tmp_path / "table.md")
    assert "one (seed-2): balanced before the split" in (tmp_path / "table.md").read_text()
    tex = (tmp_path / "table.tex").read_text()
    assert cell.replace("%", r"\%") in tex and tex.count("\\\\") > len(LABELS)
    with pytest.raises(UsageError, match="a page or a table"):
        command(*runs, "--out", tmp_path / "table.docx")


def test_the_command_says_how_two_runs_differ(tmp_path: Path) -> None:
    runs = [fake_run(tmp_path / name, rows=300, seed=1, skill=skill) for name, skill in (("weak", 1), ("strong", 4))]
    (pair,) = command(*runs, "--out", tmp_path / "x.html")["tests"]["pairs"]
    strong, weak = (
        json.loads((run / "metrics.json").read_text())["test"]["metrics"]["accuracy"]["value"] for run in reversed(runs)
    )
    change = pair["difference"]
    assert change["value"] == pytest.approx(strong - weak) and change["low"] < change["value"] < change["high"]
    app = typer.Typer()
    app.command()(report)
    said = CliRunner().invoke(app, [*map(str, runs), "--out", str(tmp_path / "x.html")], catch_exceptions=False).stdout
    assert f"{100 * change['value']:+.1f} points [" in said and "p < 0.001, beyond chance" in said


def test_the_command_reports_a_run(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "run", rows=100)
    document = command(run)
    assert Path(document["report"]) == run / "report.html"
    assert document["metrics"] == json.loads((run / "metrics.json").read_text())["test"]["metrics"]


def test_the_command_compares_runs_and_the_runs_inside_a_folder(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        fake_run(tmp_path / "grid" / f"cell-{seed}", rows=100, seed=seed)
    document = command(tmp_path / "grid", "--out", tmp_path / "page.html")
    assert (tmp_path / "page.html").is_file()
    assert len(document["runs"]) == 3
    assert len(document["tests"]["pairs"]) == 3


def test_epochs_are_marked_by_whole_numbers() -> None:
    drawn = curves({"validation": [0.2, 0.3]}, [0, 1], "accuracy")
    assert ">1</text>" in drawn and ">0.2</text>" not in drawn
