"""The cluster, in the shape of one machine: what its processes answer, what happens when they die, and resumption."""

import importlib
import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny

pytest.importorskip("ray", reason="a cluster needs the cluster extra")

from pyarrow import parquet
from typer.testing import CliRunner

from mien.cli import app
from mien.errors import DataError, MienError, RunError, UnreadableImage, UsageError
from mien.files import alone, printable
from mien.imaging.decode import encode_png
from mien.recipe import parse
from mien.runtime.collect import Item
from mien.runtime.origin import Origin
from mien.runtime.recognizer import Recognizer
from mien.scale import predict as scaled
from mien.scale.cluster import Died, Unfit, connected, shared_out
from mien.scale.compare import pieces
from mien.scale.predict import Job, answered, lots, spread

# Ray warns of its own future here and there.
pytestmark = pytest.mark.filterwarnings("default")

DRAW = np.random.default_rng(8)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with connected() as has:
        yield has


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return str(tiny.bundle(tmp_path_factory.mktemp("bundle") / "tiny.onnx"))


@pytest.fixture
def folder(tmp_path):
    """Seven pictures and a file that is none."""
    (tmp_path / "in").mkdir()
    for number in range(7):
        (tmp_path / "in" / f"{number}.png").write_bytes(encode_png(DRAW.integers(0, 256, (50, 60), np.uint8)))
    (tmp_path / "in" / "zero.png").touch()
    return tmp_path / "in"


def mien(*words, code=0, stdin=None):
    done = CliRunner().invoke(app, [*map(str, words)], input=stdin)
    if isinstance(done.exception, MienError):
        raise done.exception
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done


def rows(out):
    found = [row for path in out.glob("*.parquet") for row in parquet.read_table(path).to_pylist()]
    return sorted(found, key=lambda row: row["source"])


def test_the_cluster_answers_as_one_process_does_and_goes_on_where_it_stopped(bundle, folder, tmp_path):
    words = ["scale", "predict", folder, "--out", tmp_path / "out", "--model", bundle, "--crop", "whole", "--lot", "3"]
    told_too = mien(*words, "--json", code=1)
    told = json.loads(told_too.stdout)
    assert {key: told[key] for key in ("sources", "faces", "without_face", "broken", "skipped")} == {
        "sources": 8, "faces": 7, "without_face": 0, "broken": 1, "skipped": 0,
    }  # fmt: skip
    assert len(list((tmp_path / "out").iterdir())) >= 3
    assert "zero.png: the file is empty" in told_too.stderr and told_too.stderr.count("zero.png") == 1
    mien("predict", folder, "--out", tmp_path / "one.parquet", "--model", bundle, "--crop", "whole", code=1)
    assert rows(tmp_path / "out") == parquet.read_table(tmp_path / "one.parquet").to_pylist()
    with pytest.raises(UsageError, match="add --resume"):
        mien(*words)
    (folder / "new.png").write_bytes((folder / "0.png").read_bytes())
    words[2] = "-"
    again = json.loads(mien(*words, "--resume", "--json", code=1, stdin=f"{folder}\n").stdout)
    assert (again["sources"], again["skipped"], again["broken"]) == (1, 8, 1)
    assert len(rows(tmp_path / "out")) == 9
    with pytest.raises(DataError, match="another detector or crop"):
        mien(*words, "--resume", "--crop", "face", "--detector", "haar")


@pytest.mark.parametrize("wrong", [["0"], ["-"]])
def test_what_a_cluster_cannot_look_at_is_refused(bundle, tmp_path, wrong):
    with pytest.raises((UsageError, DataError)):
        mien("scale", "predict", *wrong, "--out", tmp_path / "out", "--model", bundle)


def test_behind_a_link_two_dots_lead_elsewhere(folder, tmp_path, monkeypatch):
    (tmp_path / "real" / "sub").mkdir(parents=True)
    (tmp_path / "real" / "0.png").write_bytes((folder / "1.png").read_bytes())
    (folder / "link").symlink_to(tmp_path / "real" / "sub", target_is_directory=True)
    monkeypatch.chdir(folder)
    ((one, other), _) = scaled.unanswered(["link/../0.png", "0.png"], {})
    assert Path(one.source).read_bytes() == (folder / "1.png").read_bytes()
    assert other.source == str(folder / "0.png")


def test_a_foreign_file_among_the_answers_is_told(tmp_path):
    (tmp_path / "other.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match="not a file of answers"):
        answered(tmp_path, Origin("tiny@1", None))


def test_a_task_whose_process_dies_twice_or_that_raises_is_an_answer(tmp_path):
    def work(task):
        if task == "die" or (task == "once" and not (tmp_path / "died").exists()):
            (tmp_path / "died").touch()
            os._exit(1)
        if task == "fail":
            raise UnreadableImage("broken", name="a.png")
        return task.upper()

    more = []
    answers = {}
    for task, answer in shared_out(["a", "die", "once", "fail"], work, more):
        answers[task] = answer
        more += ["late"] * (task == "a")
    assert (answers["a"], answers["once"], answers["late"]) == ("A", "ONCE", "LATE")
    assert isinstance(answers["die"], Died)
    assert isinstance(answers["fail"], UnreadableImage) and answers["fail"].reason == "broken"


def job_of(bundle, out):
    return Job(bundle, 8, Origin(Recognizer(bundle, crop="whole").model, None), out)


def items_of(folder):
    return [Item(str(folder / f"{number}.png"), "picture") for number in range(7)]


def test_a_picture_that_kills_its_process_is_told_and_the_rest_is_answered(bundle, folder, tmp_path):
    def fatal(job, lot):
        if any(item.source.endswith("4.png") for item in lot):
            os._exit(1)
        return scaled.work(job, lot)

    heard = []
    job = job_of(bundle, tmp_path / "out")
    tally = spread(job, items_of(folder), 4, lambda done, count: heard.append((done, count)), fatal)
    assert (tally.sources, tally.faces) == (7, 6) and heard[-1] == (7, 7)
    ((source, reason),) = tally.errors
    assert source.endswith("4.png") and "process that looked at it died" in reason
    assert [Path(row["source"]).name for row in rows(tmp_path / "out")] == [f"{n}.png" for n in range(7) if n != 4]
    assert len(answered(tmp_path / "out", job.origin)) == 6, "it is tried again"


def test_a_process_that_dies_after_its_file_was_written_leaves_no_answer_twice(bundle, folder, tmp_path):
    def late(job, lot):
        tally = scaled.work(job, lot)
        if not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            os._exit(1)
        return tally

    tally = spread(job_of(bundle, tmp_path / "out"), items_of(folder), 7, lambda done, count: None, late)
    assert (tally.sources, tally.errors) == (7, ()) and len(rows(tmp_path / "out")) == 7


def test_processes_that_die_whatever_they_see_end_the_job(bundle, folder, tmp_path):
    def hopeless(job, lot):
        os._exit(1)

    with pytest.raises(RunError, match="die whatever they look at"):
        spread(job_of(bundle, tmp_path / "out"), items_of(folder)[:3], 1, lambda done, count: None, hopeless)


def test_a_machine_with_another_model_stops_the_job(bundle, folder, tmp_path):
    job = Job(bundle, 8, Origin("tiny@0123", None), tmp_path / "out")
    with pytest.raises(DataError, match="a machine of the cluster has another model"):
        spread(job, [Item(str(folder / "0.png"), "picture")], 4, lambda done, count: None)


def test_a_machine_that_cannot_load_the_model_stops_the_job_and_is_named(bundle, folder, tmp_path):
    job = Job(str(tmp_path / "gone.onnx"), 8, Origin("tiny@0123", None), tmp_path / "out")
    with pytest.raises(Unfit, match=f"{socket.gethostname()}, a machine of the cluster, cannot load the model"):
        spread(job, items_of(folder), 4, lambda done, count: None)


def test_a_machine_with_a_folder_of_its_own_answers_into_nothing(bundle, folder, tmp_path):
    def elsewhere(job, lot):
        return scaled.work(replace(job, out=tmp_path / "local", patience=0), lot)

    (tmp_path / "local").mkdir()
    with pytest.raises(Unfit, match="another folder of that name"):
        spread(job_of(bundle, tmp_path / "out"), items_of(folder), 4, lambda done, count: None, elsewhere)
    assert list((tmp_path / "local").iterdir()) == []


def test_a_picture_that_a_machine_does_not_see_is_told_and_tried_again(bundle, folder, tmp_path):
    job, items = job_of(bundle, tmp_path / "out"), items_of(folder)
    (folder / "2.png").rename(tmp_path / "2.png")
    tally = spread(job, items, 4, lambda done, count: None)
    ((source, reason),) = tally.errors
    assert source.endswith("2.png") and "not there on" in reason and (tally.sources, tally.faces) == (7, 6)
    assert len(answered(job.out, job.origin)) == 6
    (tmp_path / "2.png").rename(folder / "2.png")
    (job.out / ".part-0123.parquet.4567").touch()
    left, _ = scaled.unanswered([str(folder)], answered(job.out, job.origin))
    assert spread(job, [item for item in left if "zero" not in item.source], 4, lambda done, count: None).errors == ()
    assert len(rows(job.out)) == 7 and not list(job.out.glob(".*")), "what an interrupted job left is cleared"


def test_a_machine_with_another_mien_stops_the_job(monkeypatch):
    monkeypatch.setattr("mien.scale.cluster.__version__", "9.9")
    with pytest.raises(Unfit, match="has another mien"):
        list(shared_out(["a"], str.upper, []))


def test_a_machine_without_mien_is_told_in_a_line(tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("def work(task): return task\n")
    monkeypatch.syspath_prepend(tmp_path)
    only_here = importlib.import_module("only_here")
    with pytest.raises(RunError, match="a machine of the cluster cannot run mien") as caught:
        list(shared_out(["a"], only_here.work, []))
    assert "only_here" in str(caught.value.got) and "extras" in (caught.value.then or "")


def test_what_is_printed_meanwhile_does_not_reach_stdout(capsys):
    with connected():
        print("a raylet is gone")  # noqa: T201
    assert capsys.readouterr() == ("", "a raylet is gone\n")


def test_paths_on_stdin_are_the_bytes_of_a_line(bundle, tmp_path):
    odd = [os.fsdecode(os.fsencode(tmp_path) + name) for name in (b"/caf\xe9.png", "/two\u2028lines.png".encode())]
    for path in odd:
        Path(path).write_bytes(encode_png(DRAW.integers(0, 256, (50, 60), np.uint8)))
    words = ["scale", "predict", "-", "--out", tmp_path / "out", "--model", bundle, "--crop", "whole"]
    mien(*words, stdin=b"".join(os.fsencode(path) + b"\r\n" for path in odd))
    assert [row["source"] for row in rows(tmp_path / "out")] == [printable(path) for path in odd]


def test_two_jobs_do_not_write_one_folder(bundle, folder, tmp_path):
    (tmp_path / "file").touch()
    words = ["scale", "predict", folder, "--model", bundle, "--crop", "whole", "--out"]
    with alone(tmp_path / "out"), pytest.raises(UsageError, match="another process is writing"):
        mien(*words, tmp_path / "out")
    with pytest.raises(UsageError, match="takes a folder"):
        mien(*words, tmp_path / "file")


def test_an_address_where_nobody_listens_is_told_at_once(cluster):
    script = "from mien.scale.cluster import connected\nwith connected('127.0.0.1:9'): pass"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert "no cluster answers" in done.stderr and "ray start --head" in done.stderr


def test_a_video_is_a_task_of_its_own_and_no_item_is_lost():
    items = [Item("a.mp4", "video"), *(Item(f"{n}.png", "picture") for n in range(5)), Item("b.mp4", "video")]
    found = list(lots(items, 3))
    assert sorted(item.source for lot in found for item in lot) == sorted(item.source for item in items)
    assert [len(lot) for lot in found] == [1, 1, 3, 2]


RECIPE = {
    "data": {"source": "synthetic", "options": {"count": 160, "size": 24, "seed": 3}},
    "chain": ["grey", {"resize": 24}, {"normalise": "half"}],
    "model": {"backbone": "mien-tiny"},
    "fit": {"epochs": 1, "batch": 32},
    "evaluate": {"bootstrap": 100},
}


def test_a_comparison_on_the_cluster_is_the_comparison(tmp_path):
    plain = tmp_path / "plain.yaml"
    plain.write_text(json.dumps({"name": "plain", "seeds": [0, 1]} | RECIPE))
    broken = {"name": "broken"} | RECIPE | {"data": {"source": "folders", "root": str(tmp_path / "nowhere")}}
    (tmp_path / "broken.yaml").write_text(json.dumps(broken))
    out = tmp_path / "runs"
    with pytest.raises(MienError, match="1 of 2 cells failed") as caught:
        mien("scale", "compare", plain, tmp_path / "broken.yaml", "--out", out)
    assert "no such folder" in str(caught.value)
    told = {path.parent.name: json.loads(path.read_text()) for path in out.glob("plain/*/metrics.json")}
    assert set(told) == {"seed-0", "seed-1"}
    again = json.loads(mien("compare", plain, "--out", out, "--json").stdout)
    assert [run["value"] for run in again["runs"]] == [
        told[seed]["test"]["metrics"]["accuracy"]["value"] for seed in ("seed-0", "seed-1")
    ]
    with pytest.raises(UsageError, match="no machine of the cluster has room"):
        mien("scale", "compare", plain, "--out", out, "--cpus", "1000")
    with pytest.raises(UsageError, match="whole ones"):
        mien("scale", "compare", plain, "--out", out, "--gpus", "1.5")


def test_every_seed_and_fold_is_a_run_of_its_own(tmp_path):
    from mien.grids import Cell

    one, several = parse({"name": "one"} | RECIPE), parse({"name": "several", "seeds": [3, 4]} | RECIPE)
    found = pieces([Cell(one, {}), Cell(several, {})], tmp_path)
    assert [(name, place.relative_to(tmp_path).as_posix()) for name, _, place in found] == [
        ("one", "one"), ("several", "several/seed-3"), ("several", "several/seed-4"),
    ]  # fmt: skip
