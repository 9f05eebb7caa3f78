"""The five studies: their shipped grids, their data or what stands in, a replay in small, and its tables."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from mien.cli import app
from mien.cli.replay import _print as show
from mien.data.samples import Rows, Samples, table
from mien.data.subset import of_classes, sampled, without_official_test
from mien.errors import DataError, MienError, RunError, UsageError
from mien.evaluation.statistics import unpaired_difference
from mien.grids import cells, spread
from mien.judging.finished import finished, rows_of
from mien.recipe import parse
from mien.replay import tables
from mien.replay.data import find, fitted_to
from mien.replay.published import STUDIES
from mien.replay.run import differs, plan, replay
from mien.replay.settings import otherwise
from mien.replay.studies import PROTOCOLS, SCALES, grid, patched, published_arm

TINY = ("data.limit=96", "fit.epochs=1", "chain=[grey, {resize: 32}]", "evaluate.bootstrap=20")


def drawn(labels: list[str], splits: list[str | None], **columns: Any) -> Samples:
    rows = table([f"drawn#{i}" for i in range(len(labels))], labels, source="drawn", split=splits, **columns)
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), 8, 8), np.uint8)
    return Samples(rows, tuple(sorted(set(labels))), Rows(pixels, "drawn"))


def fer_tree(root: Path, each: int = 2) -> Path:
    for usage, above in (("Training", "train"), ("PublicTest", "test"), ("PrivateTest", "test")):
        for label in ("angry", "happy", "sad"):
            folder = root / above / label
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(each):
                cv2.imwrite(str(folder / f"{usage}_{i}.png"), np.full((48, 48), 40 * i, np.uint8))
    return root


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("study", STUDIES)
def test_every_cell_of_a_study_has_a_printed_row(study: str, protocol: Any, scale: Any) -> None:
    content = grid(study, protocol, scale)
    arms = {published_arm(cell.place) for cell in cells_of(content)}
    printed = {name for name in STUDIES[study].figures if name != "mean" and not name.startswith("trial")}
    assert arms == printed


def cells_of(content: dict[str, Any]) -> list[Any]:
    return spread(content)


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_is_a_grid_that_compare_reads_too(study: str) -> None:
    assert len(cells(Path(f"studies/{study}"))) >= 2


def test_only_the_published_order_balances_before_the_split() -> None:
    orders = {
        (study, protocol): {cell.recipe.balance.order for cell in cells_of(grid(study, protocol, scale))}
        for study in STUDIES
        for protocol in PROTOCOLS
        for scale in SCALES
    }
    early = {key for key, found in orders.items() if "balance-before-split" in found}
    assert early == {("smote-vgg19", "as-published"), ("preprocessing-grid", "as-published")}


def test_the_partial_arms_train_the_last_layers_only() -> None:
    for protocol in PROTOCOLS:
        for scale in SCALES:
            partial = [
                c for c in cells_of(grid("preprocessing-grid", protocol, scale)) if "partial" in c.place.values()
            ]
            assert len(partial) == 9 and {cell.recipe.model.freeze for cell in partial} == {0.7}


def test_cells_that_no_protocol_changes_are_run_once() -> None:
    made = plan("preprocessing-grid", None, PROTOCOLS, "small")
    assert [len(arms) for arms in made.arms.values()] == [27, 27]
    assert len(made.cells) == 27 + 27, "the leak-free order drops twins, so that no cell is the same in both"
    apart = plan("facenet-triplet", None, PROTOCOLS, "small")
    shared = plan("facenet-triplet", None, PROTOCOLS, "small", ("split.clean=train",))
    assert len(shared.cells) < len(apart.cells)
    assert sum(map(len, shared.arms.values())) == sum(map(len, apart.arms.values()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("data.source=jaffe", "use --root"),
        ("data.root=here", "use --root"),
        ("name=x", "named after their cells"),
        ("data.options.frames=1", "name the study's data with --root"),
        ("seeds=[0, 1]", "an arm of a replay is one run"),
    ],
)
def test_changes_that_a_replay_would_not_heed_are_refused(change: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        plan("resnet50-transfer", None, PROTOCOLS, "small", (change,))


def test_a_merge_patch_is_that_of_the_standard() -> None:
    # Examples of RFC 7396, appendix A.
    assert patched({"a": "b"}, {"a": "c"}) == {"a": "c"}
    assert patched({"a": "b", "b": "c"}, {"a": None}) == {"b": "c"}
    assert patched({"a": [{"b": "c"}]}, {"a": [1]}) == {"a": [1]}
    assert patched({"e": None}, {"a": 1}) == {"e": None, "a": 1}
    assert patched({}, {"a": {"bb": {"ccc": None}}}) == {"a": {"bb": {}}}


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown study"):
        grid("smote-vgg16", "leak-free", "full")
    with pytest.raises(UsageError, match="unknown scale"):
        grid("smote-vgg19", "leak-free", "tiny")  # type: ignore[arg-type]


def test_full_scale_without_data_says_which_files_and_how_to_get_them(tmp_path: Path) -> None:
    for root in (None, tmp_path):
        with pytest.raises(DataError) as failure:
            find("affectnet-hq", root, "full")
        assert "labels.csv + <class>/*.jpg" in str(failure.value)
        assert "kaggle datasets download noamsegal/affectnet-training-data" in str(failure.value)


def test_fer2013_stands_in_at_small_scale_and_is_not_taken_for_another_set(tmp_path: Path) -> None:
    root = fer_tree(tmp_path)
    for wanted in ("mma", "oheix", "ckplus", "affectnet-hq"):
        found = find(wanted, root, "small")
        assert (found.source, found.own) == ("fer2013", False)
        assert "standing in" in found.differs(wanted)[0]
    assert find("fer2013", root, "small").own
    with pytest.raises(DataError):
        find("ckplus", root, "full")


def test_at_full_scale_fer2013_in_folders_is_nobody_elses_data(tmp_path: Path) -> None:
    root = fer_tree(tmp_path)
    for wanted in ("mma", "oheix"):
        with pytest.raises(DataError, match="the data of this study is not there"):
            find(wanted, root, "full")


def test_data_that_is_there_and_broken_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n0,1 2 3,Training\n")
    with pytest.raises(DataError, match="pixels") as failure:
        find("fer2013", tmp_path, "small")
    assert "fer2013.csv" in str(failure.value)


def test_where_the_data_names_no_subjects_twins_are_cleaned_out_instead(tmp_path: Path) -> None:
    base = grid("resnet50-transfer", "leak-free", "small")["base"]
    recipe = parse(base | {"name": "leak-free"})
    assert fitted_to(recipe, find("ckplus", None, "small")).split.method == "grouped"
    split = fitted_to(recipe, find("ckplus", fer_tree(tmp_path), "small")).split
    assert (split.method, split.clean) == ("stratified", "train")


@pytest.mark.parametrize("study", STUDIES)
def test_what_differs_is_told_from_the_settings_themselves(study: str) -> None:
    part = "triplet" if study == "facenet-triplet" else "fit"
    printed = grid(study, "leak-free", "full")["base"][part]["epochs"]
    for changes, epochs in (
        ((), grid(study, "leak-free", "small")["base"][part]["epochs"]),
        ((f"{part}.epochs=5",), 5),
    ):
        made = plan(study, None, PROTOCOLS, "small", changes)
        assert f"{part}.epochs {epochs} instead of {printed}" in " ".join(differs(study, "small", made, changes))


def test_settings_that_differ_are_told_with_all_their_values_and_equal_ones_are_not() -> None:
    plain = parse({"name": "a", "data": {"source": "synthetic"}, "chain": ["grey", {"resize": 32}]})
    wide, wider = (parse(plain.model_dump() | {"chain": ["grey", {"resize": side}, "clahe"]}) for side in (48, 64))
    assert otherwise([(plain, plain)]) == ""
    said = otherwise([(plain, wide), (plain, wider)])
    assert said.startswith("chain.resize.size [48, 48] instead of [32, 32], [64, 64] instead of [32, 32]; chain.clahe.")
    assert " instead of unset" in said


@pytest.mark.parametrize("study", STUDIES)
def test_the_leak_free_order_keeps_people_whole_wherever_the_data_names_them(study: str) -> None:
    made = plan(study, None, PROTOCOLS, "small")
    methods = {
        protocol: {made.cells[n].recipe.split.method for n in made.arms[protocol].values()} for protocol in PROTOCOLS
    }
    official = study == "facenet-triplet"
    assert methods["leak-free"] == ({"official"} if official else {"grouped"})
    assert methods["as-published"] == ({"official"} if official else {"stratified"})


def test_a_restorer_whose_file_is_absent_is_told_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    chain = "chain=[grey, {restore: {restorer: gfpgan-1.4}}, {resize: 32}, grey]"
    with pytest.raises(MienError, match=r"GFPGANv1\.4\.pth is not here"):
        replay("smote-vgg19", None, PROTOCOLS, "small", tmp_path / "runs", (*TINY[:2], chain))
    assert not (tmp_path / "runs").exists()


def test_the_tables_hold_together_whatever_an_error_says(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    document = {
        "title": "A & B 2024: 50% of {x}", "question": "Does a_b help?", "scale": "small", "protocols": list(PROTOCOLS),
        "arms": [], "findings": [], "differs": ["Changed on request: chain=[{resize: 48}]."], "doubts": ["50% > all?"],
        "claims": [], "settings": {},
        "elsewhere": [
            {"what": "vgg16 on FERPlus", "published": {"f1": 0.44}, "replayed": {
                "leak-free": None, "as-published": {"f1": {"value": 0.41, "low": 0.38, "high": 0.43}}}}
        ],
        "failures": {"cell": "UsageError: wrong\n  given: a_b | c\n  next: ~/x < 3^2"},
    }  # fmt: skip
    made = tables.table(document)
    assert made.lists[tables.SAYS_TITLE] == ["cell failed: UsageError: wrong given: a_b | c next: ~/x < 3^2"]
    lines = tables.latex(made).splitlines()
    assert r"vgg16 on FERPlus & F1 & 44.00\% & 41.0\% [38.0, 43.0] & -- &  \\" in lines
    assert r"\item Changed on request: chain=[\{resize: 48\}]." in lines, "what differs is set in type"
    escaped = r"a\_b \textbar{} c next: \textasciitilde{}/x \textless{} 3\textasciicircum{}2"
    assert r"\item 50\% \textgreater{} all?" in lines, "and what to doubt"
    assert rf"\item cell failed: UsageError: wrong given: {escaped}" in lines


def test_a_corrected_p_is_called_so() -> None:
    finding = {"protocol": "leak-free", "what": "b against a", "difference": None, "rows": "on the same 9 test rows"}
    document = {"title": "", "question": "", "scale": "full", "protocols": list(PROTOCOLS), "arms": [], "differs": [],
                "doubts": [], "claims": [], "settings": {}, "elsewhere": [], "failures": {}}  # fmt: skip
    tests = ("exact McNemar test", "exact McNemar test, Holm")
    made = tables.table(document | {"findings": [finding | {"p": 0.04, "test": test} for test in tests]})
    plain, corrected = made.lists[tables.SAYS_TITLE]
    assert plain.endswith("McNemar p = 0.04") and corrected.endswith("McNemar p = 0.04, Holm-corrected")


def test_in_a_narrow_terminal_an_interval_stands_under_its_value(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = {tables.SAYS_TITLE: [], tables.DIFFERS_TITLE: []}
    made = tables.Table("A study", (), ("arm", "figure", "published"), (("a", "F1", "41.0% [38.0, 43.0]"),), lists)
    for width, together in (("200", True), ("80", False)):
        monkeypatch.setenv("COLUMNS", width)
        show(made)
        said = capsys.readouterr().out
        assert "[38.0, 43.0]" in said
        assert ("41.0% [38.0, 43.0]" in said) == together


def test_classes_become_the_label_set_and_votes_for_others_are_struck_out() -> None:
    votes = [[0.6, 0.3, 0.1], [0.2, 0.8, 0.0], [0.1, 0.1, 0.8]]
    samples = drawn(["anger", "fear", "sadness"], [None] * 3, votes=votes)
    chosen = of_classes(samples, ["sad", "angry"])
    assert chosen.labels == ("anger", "sadness")
    assert chosen.table["image"].tolist() == ["drawn#0", "drawn#2"]
    assert chosen.votes is not None
    np.testing.assert_allclose(chosen.votes, [[6 / 7, 1 / 7], [1 / 9, 8 / 9]], rtol=1e-6)
    with pytest.raises(UsageError, match="unknown class of the dataset"):
        of_classes(samples, ["anger", "contempt"])


def test_a_sample_keeps_classes_and_splits_in_proportion_and_follows_its_seed() -> None:
    samples = drawn(["anger"] * 60 + ["fear"] * 30 + ["fear"] * 10, ["train"] * 90 + ["test"] * 10)
    few = sampled(samples, 20)
    assert few.table.groupby(["split", "label"]).size().to_dict() == {
        ("test", "fear"): 2,
        ("train", "anger"): 12,
        ("train", "fear"): 6,
    }
    assert few.table["image"].tolist() == sampled(samples, 20).table["image"].tolist()
    assert few.table["image"].tolist() != sampled(samples, 20, seed=1).table["image"].tolist()
    assert sampled(samples, 100) is samples


def test_the_official_test_part_is_held_out_whatever_it_is_called() -> None:
    three = drawn(["anger", "fear"] * 30, ["train"] * 40 + ["validation"] * 10 + ["test"] * 10)
    assert len(without_official_test(three)) == 50
    two = drawn(["anger", "fear"] * 30, ["train"] * 40 + ["validation"] * 20)
    assert set(without_official_test(two).table["split"]) == {"train"}


def test_a_difference_between_arms_on_rows_of_their_own() -> None:
    rng = np.random.default_rng(0)
    worse, better = rng.random(800) < 0.5, rng.random(600) < 0.7
    found = unpaired_difference(worse, better)
    assert found.value == pytest.approx(better.mean() - worse.mean())
    standard_error = np.sqrt(0.25 / 800 + 0.21 / 600)
    assert found.high - found.low == pytest.approx(2 * 1.96 * standard_error, rel=0.15)
    children = unpaired_difference(np.repeat(worse, 4), better, groups_a=list(np.repeat(np.arange(800), 4)))
    assert children.high - children.low == pytest.approx(found.high - found.low, rel=0.1)


def test_the_published_order_is_set_beside_the_leak_free_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def smaller(*words: Any) -> dict[str, Any]:
        """The grid with less to make."""
        content = grid(*words)
        steps = [{"smote": {"target": 12, "neighbours": 1}}, {"undersample": {"target": 12}}]
        content["axes"]["balance"]["after"]["balance.steps"] = steps
        return content

    monkeypatch.setattr("mien.replay.run.grid", smaller)
    changes = ("data.limit=320", *TINY[1:], "model.backbone=mien-tiny")
    made = plan("smote-vgg19", None, PROTOCOLS, "small", changes)
    assert {cell.recipe.data.hold_out for cell in made.cells.values()} == {True}
    document = replay("smote-vgg19", out=tmp_path, changes=changes)
    assert document["failures"] == {}
    after = document["arms"][1]
    assert after["arm"] == "after"
    assert after["published"]["accuracy"] == 0.7393
    assert after["gain"]["low"] <= after["gain"]["value"] <= after["gain"]["high"]
    held_out = [after["replayed"][protocol]["held_out"] for protocol in PROTOCOLS]
    assert held_out[0]["rows"] == held_out[1]["rows"] > 0
    files = tables.write(document, tmp_path)
    text = {path.suffix: path.read_text() for path in files}
    for kind in (".html", ".md"):
        assert "gained by the published order" in text[kind]
        assert "73.93%" in text[kind]
        assert "synthetic faces" in text[kind]
    assert r"73.93\%" in text[".tex"]
    assert text[".tex"].count(r"\\") == len(tables.table(document).rows) + 2, "a caption, a head, the rows"


def test_transfer_starts_from_a_run_on_synthetic_faces_and_a_failing_cell_lets_the_others_finish(
    tmp_path: Path,
) -> None:
    changes = (*TINY, "model.backbone=mien-tiny")
    document = replay("resnet50-transfer", None, ("leak-free",), "small", tmp_path, changes)
    assert document["failures"] == {}
    assert (tmp_path / "start" / "start-mien-tiny" / "metrics.json").is_file()
    assert document["findings"][0]["what"] == "scratch against transfer"
    assert document["findings"][0]["p"] is not None
    names = plan("resnet50-transfer", None, ("leak-free",), "small", changes).arms["leak-free"]
    kept = tmp_path / names["scratch"] / "recipe.yaml"
    kept.write_text(kept.read_text().replace("epochs: 1", "epochs: 2"))
    broken = replay("resnet50-transfer", None, ("leak-free",), "small", tmp_path, changes)
    assert list(broken["failures"]) == [names["scratch"]]
    assert {arm["arm"] for arm in broken["arms"] if arm["replayed"]} == {"transfer"}
    assert "failed: " in tables.markdown(tables.table(broken))


def test_the_arm_that_was_judged_on_ferplus_is_judged_there_again(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def narrowed(*words: Any) -> dict[str, Any]:
        """Four of the grid's cells, that one among them, with a small network."""
        content, kept = grid(*words), {"vgg16", "scratch", "frozen", "none", "clahe-smote"}
        axes = {
            axis: {name: values[name] for name in values if name in kept} for axis, values in content["axes"].items()
        }
        return content | {"axes": axes | {"network": {"vgg16": {"model.backbone": "mien-tiny"}}}}

    words = [
        sys.executable,
        shared / "data" / "unpack.py",
        tmp_path / "ferplus",
        "--layout",
        "ferplus",
        "--limit",
        "40",
    ]
    subprocess.run(words, check=True, capture_output=True)
    changes = ("data.limit=240", "fit.epochs=1", "evaluate.bootstrap=20")
    root = tmp_path / "ferplus"
    with monkeypatch.context() as patched:
        patched.setattr("mien.replay.run.grid", narrowed)
        document = replay("preprocessing-grid", None, PROTOCOLS[:1], "small", tmp_path / "out", changes, ferplus=root)
        patched.setattr("mien.replay.run.on_ferplus", lambda *_: 1 / 0)
        again = replay("preprocessing-grid", None, PROTOCOLS[:1], "small", tmp_path / "out", changes, ferplus=root)
    assert document["failures"] == {} and len(document["arms"]) == 4
    assert document["findings"][0]["what"].startswith("highest accuracy: vgg16/")
    (elsewhere,) = document["elsewhere"]
    judged = elsewhere["replayed"]["as-published"]
    assert elsewhere["published"]["f1"] == 0.44 and 0 <= judged["f1"]["value"] <= 1
    rows = [row for row in tables.table(document).rows if row[0].endswith("on FERPlus")]
    assert [row[1] for row in rows] == ["precision", "recall", "F1"] and all(row[3] != "–" for row in rows)
    assert judged["accuracy"]["value"] == pytest.approx(judged["recall"]["value"]), "averages weighted by class size"
    (said,) = again["failures"].values()
    assert said.startswith("on FERPlus: ZeroDivisionError")
    assert len(tables.table(again).rows) == len(tables.table(document).rows), "and costs no row of the table"
    with pytest.raises(UsageError, match="no arm of smote-vgg19"):
        replay("smote-vgg19", None, PROTOCOLS, "small", tmp_path / "none", ferplus=root)
    with pytest.raises(DataError, match="no FERPlus found"):
        replay("preprocessing-grid", None, PROTOCOLS, "small", tmp_path / "none", ferplus=tmp_path)
    assert not (tmp_path / "none").exists()


def test_an_embedding_is_fitted_read_out_and_judged_like_any_network(tmp_path: Path) -> None:
    changes = (
        TINY[0], "chain=[grey, {resize: 32}]", "evaluate.bootstrap=20", "triplet.epochs=1",
        "triplet.validation_rows=16", "triplet.readout=neighbours",
    )  # fmt: skip
    document = replay("facenet-triplet", None, ("as-published",), "small", tmp_path, changes)
    assert document["failures"] == {}
    figures = document["arms"][0]["replayed"]["as-published"]
    assert set(figures["embedding"]["readouts"]) == {"centroid", "neighbours", "linear"}
    folder = Path(figures["run"])
    assert {"history.csv", "predictions.parquet", "report.html"} <= {path.name for path in folder.iterdir()}
    assert (folder / "figures" / "embedding.svg").is_file()
    assert "retrieval among training pictures" in (folder / "report.html").read_text()
    opened = finished(folder)
    material, rows = rows_of(opened, "test")
    again = opened.probabilities(material.pixels, material.place[rows])
    accuracy = float((again.argmax(1) == material.samples.targets[rows]).mean())
    assert accuracy == pytest.approx(figures["accuracy"]["value"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["smote-vgg16"], "did you mean 'smote-vgg19'?"),
        (["smote-vgg19", "--protocol", "mine"], "as-published, leak-free, both"),
        (["smote-vgg19", "--scale", "tiny"], "full, small"),
    ],
)
def test_the_command_line_refuses_what_it_does_not_know(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["replay", *arguments])
    assert isinstance(result.exception, UsageError)
    assert said in str(result.exception)


def test_the_command_line_prints_the_table_and_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = {
        "study": "smote-vgg19", "title": "A study", "question": "Does it help?", "scale": "small",
        "protocols": ["leak-free"], "arms": [], "findings": [], "differs": ["Fewer rows."], "doubts": ["One run."],
        "claims": ["It helps."], "settings": {"epochs": "50"},
        "elsewhere": [],
        "failures": {"smote-vgg19-after": "DataError: no rows"},
    }  # fmt: skip
    monkeypatch.setattr("mien.replay.run.replay", lambda *_: document)
    result = CliRunner().invoke(app, ["replay", "smote-vgg19", "--protocol", "leak-free", "--out", str(tmp_path)])
    assert isinstance(result.exception, RunError)
    assert "differs: Fewer rows." in result.stdout
    assert "- It helps." in (page := (tmp_path / "replay.md").read_text()) and "- epochs: 50" in page
    assert "smote-vgg19-after failed: DataError: no rows" in result.stdout
    assert {path.name for path in tmp_path.iterdir()} == {f"replay.{kind}" for kind in ("html", "md", "tex", "json")}
