"""mien audit on the command line: its document, its table, its page, and exit code 3."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner, Result

from mien.cli.audit import audit
from mien.data.sources.catalog import load
from mien.data.split import SplitSpec, assign
from mien.errors import AuditBlocked, UsageError
from mien.experiment import gather
from mien.recipe import parse

command = typer.Typer()
command.command()(audit)


@pytest.fixture
def leaking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A class-per-folder tree whose test part holds a training picture and a mirrored one."""
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    faces = [cv2.resize(rng.integers(0, 255, (7, 7)).astype(np.uint8), (48, 48), interpolation=cv2.INTER_CUBIC)
             for _ in range(24)]  # fmt: skip
    faces[16], faces[17] = faces[0], np.ascontiguousarray(faces[1][:, ::-1])
    for i, face in enumerate(faces):
        path = tmp_path / "data" / ("train" if i < 16 else "test") / ("happy", "sad")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), face)
    return tmp_path / "data"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_the_document_has_the_promised_shape(leaking: Path) -> None:
    result = run("folders", leaking, "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert list(document) == [
        "split",
        "images",
        "exact",
        "near",
        "blank",
        "subjects_across_splits",
        "findings",
        "lists",
    ]
    keys = ["groups", "images", "redundant", "cross_split_groups", "label_conflicts", "twins_in_training"]
    assert list(document["exact"]) == list(document["near"]) == keys
    assert document["images"] == 24
    assert document["exact"]["twins_in_training"] == document["near"]["twins_in_training"] == {"test": 1}
    for finding in document["findings"]:
        assert list(finding) == ["code", "severity", "count", "message", "advice"]


def test_strict_prints_the_document_and_then_leaves_with_3(leaking: Path) -> None:
    result = run("folders", leaking, "--json", "--strict")
    assert isinstance(result.exception, AuditBlocked)
    assert result.exception.exit_code == 3
    severities = {each["code"]: each["severity"] for each in json.loads(result.stdout)["findings"]}
    assert severities["exact-twins-across-splits"] == severities["near-twins-across-splits"] == "block"


@pytest.mark.parametrize("split", [{"method": "stratified", "seed": 3}, {"method": "kfold", "folds": 4}])
def test_a_new_split_is_audited_as_a_run_would_make_it(leaking: Path, tmp_path: Path, split: dict[str, Any]) -> None:
    for name in ("train/happy/0a.png", "test/sad/b.png"):
        (leaking / name).write_bytes(b"")
    words = [word for key, value in split.items() for word in ("--split" if key == "method" else f"--{key}", value)]
    run("folders", leaking, *words, "--out", tmp_path / "out")
    told = pd.read_csv(tmp_path / "out" / "twins.csv").set_index("path")["split"]
    data, small = {"source": "folders", "root": str(leaking)}, {"backbone": "mien-tiny"}
    recipe = parse({"name": "a", "data": data, "split": split, "chain": ["grey", {"resize": 32}], "model": small})
    rows = gather(recipe).material.samples.table.set_index("image")["split"]
    assert len(rows) == 24 and len(told) == 4 and rows[told.index].tolist() == told.tolist()
    whole = assign(load("folders", leaking), SplitSpec(**split)).table.set_index("image")["split"]
    assert rows.tolist() == whole[rows.index].tolist()


def test_splits_that_cannot_be_are_refused(leaking: Path) -> None:
    assert isinstance(run("folders", leaking, "--split", "random").exception, UsageError)
    assert "subject" in str(run("folders", leaking, "--split", "grouped").exception)
    for wrong in (["--seed", 1], ["--split", "stratified", "--group", "sequence"]):
        assert "alone" in str(run("folders", leaking, *wrong).exception)


def test_folds_are_audited_by_the_first_of_them(leaking: Path, tmp_path: Path) -> None:
    said = run("folders", leaking, "--split", "kfold", "--folds", 4).stdout
    assert said.startswith("folders, kfold, fold 0 of 4: 24 pictures")
    names = sorted(path.relative_to(leaking).as_posix() for path in leaking.rglob("*.png"))
    rows = [f"{name},{name.split('/')[1]},p{number % 12}" for number, name in enumerate(names)]
    (leaking / "list.csv").write_text("\n".join(["path,label,subject", *rows]))
    document = json.loads(run("manifest", leaking / "list.csv", "--split", "grouped-kfold", "--json").stdout)
    assert document["split"] == "grouped-kfold, fold 0 of 10" and document["subjects_across_splits"] == 0
    for wrong in (["--split", "stratified", "--folds", 4], ["--split", "kfolds"]):
        assert isinstance(run("folders", leaking, *wrong).exception, UsageError)


def test_no_leak_is_promised_away_where_there_are_no_parts(leaking: Path) -> None:
    flat = leaking / "train"
    refused = run("folders", flat, "--strict").exception
    assert isinstance(refused, UsageError) and "--split stratified" in str(refused)
    assert "leaks between parts were not looked for" in run("folders", flat).stdout.replace("\n", "")


def test_the_table_and_the_files(leaking: Path, tmp_path: Path) -> None:
    result = run("folders", leaking, "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert "exact-twins-across-splits" in result.stdout.replace("\n", "")
    document = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert document["exact"]["groups"] == 1
    assert (tmp_path / "out" / "audit.html").read_text().count("data:image/png") == 4


def test_the_pictures_behind_the_findings_are_listed(leaking: Path, tmp_path: Path) -> None:
    (leaking / "train" / "happy" / "broken.png").write_bytes(b"")
    result, out = run("folders", leaking, "--out", tmp_path / "out"), tmp_path / "out"
    assert json.loads((out / "audit.json").read_text())["lists"] == ["twins.csv", "unreadable.csv"]
    assert f"{out / 'twins.csv'}\n{out / 'unreadable.csv'}\n" in result.stdout
    twins = pd.read_csv(out / "twins.csv")
    assert list(twins) == ["group", "kind", "path", "label", "split", "subject"]
    assert twins[["group", "kind", "path"]].to_numpy().tolist() == [
        [1, "exact", "test/happy/16.png"],
        [1, "exact", "train/happy/0.png"],
        [2, "near", "test/sad/17.png"],
        [2, "near", "train/sad/1.png"],
    ]
    (row,) = pd.read_csv(out / "unreadable.csv").to_numpy().tolist()
    assert row == ["train/happy/broken.png", "the file is empty"]
    (leaking / "train" / "happy" / "broken.png").unlink()
    assert json.loads(run("folders", leaking, "--out", out, "--json").stdout)["lists"] == ["twins.csv"]
    assert not (out / "unreadable.csv").exists()
    assert json.loads(run("folders", leaking, "--json").stdout)["lists"] == []


def test_the_threshold_decides_what_near_is(leaking: Path) -> None:
    loose = json.loads(run("folders", leaking, "--json", "--near-threshold", "0.93").stdout)
    assert loose["near"]["groups"] == 1
    assert run("folders", leaking, "--near-threshold", "7").exit_code == 2
