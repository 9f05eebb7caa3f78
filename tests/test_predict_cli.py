import csv
import json
import os
import shlex
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import tiny
import typer
from conftest import line_of
from typer.testing import CliRunner

from mien.cli.models import models, pull
from mien.cli.predict import predict
from mien.errors import DataError, MienError, UnreadableImage, UsageError
from mien.files import alone, cache_folder
from mien.imaging.decode import decode, encode_png
from mien.imaging.models import present
from mien.runtime.bundle import load
from mien.runtime.collect import here
from mien.runtime.origin import Origin
from mien.runtime.sinks import finished
from mien.runtime.video import VideoOptions

DRAW = np.random.default_rng(3)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return str(tiny.bundle(tmp_path_factory.mktemp("bundle") / "tiny.onnx"))


@pytest.fixture
def run(bundle):
    app = typer.Typer()
    app.command()(predict)

    def run(*arguments, code=0, stdin=None):
        given = ["--model", bundle, "--crop", "whole", *map(str, arguments)]
        result = CliRunner().invoke(app, given, input=stdin)
        if isinstance(result.exception, MienError):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def folder(tmp_path):
    """Three pictures at two depths, a broken one, and files that are no pictures."""
    top = tmp_path / "some pictures"
    (top / "deeper 顔" / ".hidden").mkdir(parents=True)
    for name in ("b.png", "deeper 顔/c.png", "a.png", "deeper 顔/.hidden/no.png", ".no.png"):
        (top / name).write_bytes(encode_png(DRAW.integers(0, 256, (50, 60, 3), np.uint8)))
    (top / "notes.txt").write_text("no picture")
    (top / "zero.jpg").touch()
    return top


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_folder_is_read_in_order_and_a_broken_file_reported(run, folder, tmp_path):
    result = run(folder, "--out", tmp_path / "o.jsonl", code=1)
    found = lines(tmp_path / "o.jsonl")
    assert [line["source"].removeprefix(str(folder)) for line in found] == [
        "/a.png", "/b.png", "/zero.jpg", "/deeper 顔/c.png",
    ]  # fmt: skip
    assert [bool(line["error"]) for line in found] == [False, False, True, False]
    assert "zero.jpg: the file is empty" in result.stderr and "1 broken" in result.stderr
    (face,) = found[0]["faces"]
    assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    assert face["box"] == [0, 0, 60, 50]


def test_pgm_files_of_a_folder_are_pictures(run, tmp_path):
    (tmp_path / "subject01.pgm").write_bytes(b"P5\n4 2\n255\n" + bytes(8))
    assert "subject01.pgm: " in run(tmp_path).stdout


def test_all_formats_say_the_same(run, folder, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet needs the parquet extra")
    for suffix in ("jsonl", "csv", "parquet"):
        run(folder, "--out", tmp_path / f"o.{suffix}", code=1)
    plain = lines(tmp_path / "o.jsonl")
    with (tmp_path / "o.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    table = parquet.read_table(tmp_path / "o.parquet").to_pylist()
    for line, row, record in zip(plain, rows, table, strict=True):
        assert line["source"] == row["source"] == record["source"]
        assert line["model"] == row["model"] == record["model"]
        assert line["error"] == (row["error"] or None) == record["error"]
        for face in line["faces"]:
            assert face["expression"] == row["expression"] == record["expression"]
            for label, value in face["probabilities"].items():
                assert value == float(row[f"p_{label}"]) == record[f"p_{label}"]
    assert table[2]["expression"] is None and rows[2]["p_anger"] == ""


def test_an_existing_output_is_not_overwritten(run, folder, tmp_path):
    (tmp_path / "o.csv").write_text("mine")
    with pytest.raises(UsageError, match="already exists"):
        run(folder, "--out", tmp_path / "o.csv")
    assert (tmp_path / "o.csv").read_text() == "mine"


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_an_output_that_cannot_be_written_is_told(run, folder, suffix):
    with pytest.raises(DataError, match=r"cannot write .*a\.png"):
        run(folder / "b.png", "--out", folder / "a.png" / f"o.{suffix}")


@pytest.mark.parametrize("kept", range(5))
@pytest.mark.parametrize("torn", ["", '{"source": "half a li'])
def test_resume_ends_as_if_never_interrupted(run, folder, tmp_path, kept, torn):
    out = tmp_path / "o.jsonl"
    run(folder, "--out", out, code=1)
    full = out.read_text("utf-8")
    out.write_text("".join(full.splitlines(keepends=True)[:kept]) + torn, "utf-8")
    result = run(folder, "--out", out, "--resume", code=1)
    assert out.read_text("utf-8") == full
    assert ("1 broken; " if kept == 0 else f"1 broken, {kept} already done; ") in result.stderr


def test_resume_keeps_what_other_calls_wrote(run, folder, tmp_path):
    out = tmp_path / "o.jsonl"
    run(folder / "a.png", "--out", out)
    run(folder / "b.png", "--out", out, "--resume")
    run("-", "--out", out, "--resume", stdin=f"{folder / 'a.png'}\n")
    assert [Path(line["source"]).name for line in lines(out)] == ["a.png", "b.png"]
    # Neither a video that is not named now, nor what a camera gave, may be cut off.
    frame = {"frame": 0, "time": 0.0, "width": 9, "height": 9, "faces": [], "error": None, "folder": here()}
    frame |= {name: lines(out)[0][name] for name in ("model", "detector")}
    for source in ("7", "gone.mp4"):
        with out.open("a") as stream:
            stream.write(json.dumps({"source": source} | frame) + "\n")
        run(folder / "a.png", "--out", out, "--resume")
    assert [Path(line["source"]).name for line in lines(out)] == ["a.png", "b.png", "7", "gone.mp4"]


def test_resume_with_a_list_takes_out_only_the_videos_that_it_names(run, folder, tmp_path):
    out = tmp_path / "o.jsonl"
    run(folder / "a.png", "--out", out)
    line = json.loads(out.read_text("utf-8"))
    cut = line | {"source": str(folder / "film.mp4"), "frame": 0, "time": 0.0, "video": asdict(VideoOptions())}
    with out.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(cut) + "\n")
    before = out.read_text("utf-8")
    for listed in ("", f"{folder / 'a.png'}\n"):
        run("-", "--out", out, "--resume", stdin=listed)
        assert out.read_text("utf-8") == before


def test_resume_keeps_a_link_and_the_permissions_of_its_file(run, folder, tmp_path):
    out, link = tmp_path / "o.jsonl", tmp_path / "link.jsonl"
    run(folder / "a.png", "--out", out)
    cut = json.loads(out.read_text("utf-8")) | {"frame": 0, "time": 0.0, "video": asdict(VideoOptions())}
    (folder / "film.mp4").write_bytes(b"no film")
    out.write_text(json.dumps(cut | {"source": str(folder / "film.mp4")}) + "\n", "utf-8")
    out.chmod(0o600)
    link.symlink_to(out)
    run(folder / "film.mp4", "--out", link, "--resume", code=1)
    assert link.is_symlink() and out.stat().st_mode & 0o777 == 0o600
    assert "cannot be opened" in json.loads(out.read_text("utf-8"))["error"]


def test_a_path_is_answered_once_however_often_a_list_has_it(run, folder, tmp_path):
    named = [folder / "a.png", folder / "a.png", f"{folder}/./a.png", folder / "b.png"]
    done = run("-", "--json", stdin="".join(f"{name}\r\n" for name in named).rstrip("\n"))
    assert [Path(each["source"]).name for each in json.loads(done.stdout)["results"]] == ["a.png", "b.png"]


def test_a_refused_call_marks_no_folder(run, folder, tmp_path):
    (tmp_path / "o.csv").touch()
    with pytest.raises(UsageError, match="already exists"):
        run(folder, "--annotate", tmp_path / "drawn", "--out", tmp_path / "o.csv")
    assert not (tmp_path / "drawn").exists()


def test_where_nobody_listens_nothing_is_answered(bundle, folder):
    words = [sys.executable, "-m", "mien", "predict", str(folder), "--model", bundle, "--crop", "whole"]
    for more in ([], ["--json"], ["--out", "-"]):
        done = subprocess.run(f"{shlex.join([*words, *more])} >&-", shell=True, capture_output=True, text=True)
        assert done.returncode == 2 and "no standard output" in done.stderr


def test_a_bar_does_not_stand_among_the_lines_on_a_terminal(bundle, folder):
    import pty

    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "mien", "predict", str(folder), "--model", bundle, "--crop", "whole"]
    done = subprocess.Popen(words, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    with suppress(OSError):  # the other end is closed
        while data := os.read(ours, 4096):
            seen += data
    assert done.wait() == 1 and b"a.png: " in seen and "\u2501".encode() not in seen and b"\x1b[" not in seen


def test_resume_counts_what_was_asked_for_and_names_earlier_errors(run, folder, tmp_path):
    out = tmp_path / "o.jsonl"
    run(folder, "--out", out, code=1)
    alone = run(folder / "a.png", "--out", out, "--resume")
    assert "0 faces, 1 already done; " in alone.stderr
    again = run(folder, "--out", out, "--resume", code=1)
    assert "1 broken, 4 already done" in again.stderr and "an error in an earlier call" in again.stderr


def test_two_files_of_one_name_are_two_models(run, bundle, folder, tmp_path):
    out = tmp_path / "o.jsonl"
    run(folder / "a.png", "--out", out)
    known = load(bundle)
    assert lines(out)[0]["model"] == f"{known.info.name}@{sha256(Path(bundle).read_bytes()).hexdigest()[:12]}"


def test_a_list_on_stdin_is_answered_as_it_comes(bundle, folder):
    words = [
        sys.executable,
        "-c",
        "from mien.cli import main; main()",
        "predict",
        "-",
        "--out",
        "-",
        "--crop",
        "whole",
        "--model",
        bundle,
    ]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        for name in ("a.png", "b.png"):
            running.stdin.write(f"{folder / name}\n")
            running.stdin.flush()
            assert json.loads(line_of(running.stdout))["source"] == str(folder / name), "before the list has ended"


def test_drawings_do_not_become_input(run, folder):
    for resume in ([], ["--resume"]):
        run(folder, "--out", folder / "o.jsonl", "--annotate", folder / "drawn", *resume, code=1)
    assert len(lines(folder / "o.jsonl")) == 4 and len(list((folder / "drawn").glob("[!.]*"))) == 3
    # Nor do those of an earlier call, unless their folder itself is named.
    run(folder, "--out", folder / "p.jsonl", code=1)
    assert len(lines(folder / "p.jsonl")) == 4
    assert "3 sources" in run(folder / "drawn", "--out", folder / "q.jsonl").stderr


def test_drawings_never_mix_with_pictures_of_ones_own(run, folder, tmp_path):
    with pytest.raises(UsageError, match="holds other files"):
        run(folder, "--annotate", folder / "deeper 顔", "--out", tmp_path / "o.jsonl")
    with pytest.raises(DataError, match="no picture or video"):
        (tmp_path / "empty").mkdir()
        run(tmp_path / "empty", "--annotate", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_behind_a_link_two_dots_lead_elsewhere(run, folder, tmp_path):
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "far" / "a.png").write_bytes((folder / "b.png").read_bytes())
    (folder / "link").symlink_to(tmp_path / "far" / "away", target_is_directory=True)
    assert "2 sources" in run(folder / "a.png", f"{folder}/link/../a.png", "--out", tmp_path / "o.jsonl").stderr


def test_a_path_written_in_two_ways_is_answered_once(run, folder, tmp_path):
    out = tmp_path / "o.jsonl"
    run(f"{folder}/./a.png", folder, f"{folder}//b.png", "--out", out, code=1)
    assert len(lines(out)) == 4
    assert "4 already done" in run(f"{folder.parent}//{folder.name}/.", "--out", out, "--resume", code=1).stderr


def test_a_relative_name_in_another_folder_is_another_picture(run, folder, tmp_path, monkeypatch):
    out = tmp_path / "o.jsonl"
    (folder / "deeper 顔" / "a.png").write_bytes((folder / "b.png").read_bytes())
    for place, words, said in (
        (folder, [], "1 source, 1 face; "),
        (folder / "deeper 顔", ["--resume"], "1 source, 1 face; "),
        (folder, ["--resume"], "0 faces, 1 already done; "),
    ):
        monkeypatch.chdir(place)
        assert said in run("a.png", "--out", out, *words).stderr
    first, second = lines(out)
    assert first["source"] == second["source"] == "a.png" and first["folder"] != second["folder"]
    assert str(tmp_path) not in out.read_text("utf-8"), "whose folder it is, is nobody's business"
    run(folder / "a.png", "--out", out, "--resume")
    assert len(lines(out)) == 2
    monkeypatch.chdir(tmp_path)
    assert "folder" not in json.loads(run(folder / "b.png", "--out", "-").stdout)


def test_what_a_resumed_call_does_not_draw_is_said(run, folder, tmp_path):
    words = [folder, "--out", tmp_path / "o.jsonl"]
    run(*words, code=1)
    drawn = ["--annotate", tmp_path / "drawn"]
    assert "3 sources answered in an earlier call and not drawn" in run(*words, *drawn, "--resume", code=1).stderr


def test_a_picture_that_cannot_be_drawn_is_told_and_the_rest_goes_on(run, folder, tmp_path, monkeypatch):
    long = folder / f"{'x' * 240}.png"
    (folder / "a.png").rename(long)
    run(folder, "--out", tmp_path / "o.jsonl", "--annotate", tmp_path / "drawn", code=1)
    assert len(list((tmp_path / "drawn").glob("[!.]*"))) == 3, "a long name gives a drawing with a shorter one"

    def gone(path):
        raise UnreadableImage("No such file or directory", name=str(path))

    monkeypatch.setattr("mien.runtime.predict.decode", gone)
    run(folder, "--out", tmp_path / "p.jsonl", "--annotate", tmp_path / "more", code=1)
    told = {Path(line["source"]).name: line["error"] for line in lines(tmp_path / "p.jsonl")}
    assert len(told) == 4 and all(told.values()) and told["b.png"].startswith("not drawn: ")


def test_options_for_videos_are_noted_where_there_is_none(run, folder):
    assert "video options have no effect" in run(folder / "a.png", "--every", "3").stderr
    said = run(folder / "a.png").stderr
    assert "video" not in said and said.strip().startswith("1 source, 1 face; ")


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [("[1]\n", "o.jsonl", "is not a result"), ("a,b\n", "o.csv", "only JSON lines")],
)
def test_resume_touches_no_other_file(run, folder, tmp_path, content, name, reason):
    (tmp_path / name).write_text(content)
    with pytest.raises(MienError, match=reason):
        run(folder, "--out", tmp_path / name, "--resume")
    assert (tmp_path / name).read_text() == content


def test_paths_come_from_stdin(run, folder, tmp_path):
    stdin = f"{folder / 'a.png'}\n\n{tmp_path / 'absent.png'}\n{folder / 'deeper 顔'}\n"
    result = run("-", "--out", "-", stdin=stdin, code=1)
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [bool(line["error"]) for line in found] == [False, True, False]
    assert "does not exist" in found[1]["error"]


def test_a_name_that_is_not_utf_8_is_read_and_written_by_all_formats(run, tmp_path):
    pytest.importorskip("pyarrow", reason="Parquet needs the parquet extra")
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    try:
        Path(odd).write_bytes(encode_png(DRAW.integers(0, 256, (50, 60), np.uint8)))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    for suffix in ("jsonl", "csv", "parquet"):
        run(odd, "--out", tmp_path / f"o.{suffix}", "--annotate", tmp_path / "drawn")
    assert lines(tmp_path / "o.jsonl")[0]["source"] == odd
    assert "1 already done" in run(odd, "--out", tmp_path / "o.jsonl", "--resume").stderr
    assert "caf\\xe9.png" in (tmp_path / "o.csv").read_text("utf-8")
    assert "caf\\xe9.png" in run("-", stdin=os.fsencode(odd)).stdout
    assert len(list((tmp_path / "drawn").glob("[!.]*"))) == 1


def test_names_and_folders_that_cannot_be_read_are_reported_and_the_rest_goes_on(run, folder, tmp_path, monkeypatch):
    scandir = os.scandir

    def guarded(path):
        if "deeper" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    (folder / "zero.jpg").unlink()
    result = run(folder, "x" * 300, "--out", tmp_path / "o.jsonl", code=1)
    assert "2 broken" in result.stderr
    errors = [line["error"] or "" for line in lines(tmp_path / "o.jsonl")]
    assert [error.partition(": ")[2] or error[-14:] for error in errors] == [
        "",
        "",
        "Permission denied",
        "does not exist",
    ]


def test_a_picture_named_twice_is_answered_once(run, folder):
    document = json.loads(run(folder / "a.png", folder / "a.png", "--json").stdout)
    assert document["sources"] == len(document["results"]) == 1


def test_a_folder_without_pictures_is_no_success(run, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no picture or video in"):
        run(tmp_path / "empty", "--out", tmp_path / "o.jsonl")
    assert not (tmp_path / "o.jsonl").exists()


def test_a_file_is_no_folder_of_drawings(run, folder):
    with pytest.raises(UsageError, match="takes a folder"):
        run(folder / "a.png", "--annotate", folder / "b.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with a name are POSIX")
def test_pipes_are_reported_and_not_waited_for(run, folder, tmp_path):
    for name in ("a pipe.png", "pipe.mp4"):
        os.mkfifo(folder / name)
    run(folder, folder / "pipe.mp4", "--out", tmp_path / "o.jsonl", code=1)
    errors = [line["error"] for line in lines(tmp_path / "o.jsonl") if "pipe" in Path(line["source"]).name]
    assert len(errors) == 2 and all("is not a regular file" in error for error in errors)


def test_a_picture_too_long_for_a_drawing_is_drawn_smaller(run, tmp_path):
    (tmp_path / "long.png").write_bytes(encode_png(np.zeros((40, 66_000), np.uint8)))
    run(tmp_path / "long.png", "--annotate", tmp_path / "drawn", "--out", tmp_path / "o.jsonl")
    (drawn,) = (tmp_path / "drawn").glob("[!.]*")
    assert decode(drawn).shape[1] <= 65_500


def test_json_is_one_document(run, folder):
    document = json.loads(run(folder, "--json", code=1).stdout)
    assert {key: document[key] for key in ("sources", "faces", "without_face", "broken", "skipped")} == {
        "sources": 4, "faces": 3, "without_face": 0, "broken": 1, "skipped": 0,
    }  # fmt: skip
    assert len(document["results"]) == 4


def test_pictures_without_a_face_are_counted(run, folder):
    words = (folder, "--crop", "face", "--detector", "haar")
    said = run(*words, code=1)
    assert said.stdout.count(": no face") == 3
    assert "4 sources, 0 faces, 3 pictures without a face, 1 broken; " in said.stderr
    assert json.loads(run(*words, "--json", code=1).stdout)["without_face"] == 3


def test_json_with_an_output_is_a_summary(run, folder, tmp_path):
    document = json.loads(run(folder / "a.png", "--json", "--out", tmp_path / "o.jsonl").stdout)
    assert document["out"] == str(tmp_path / "o.jsonl") and "results" not in document


def test_people_get_a_line_a_face(run, folder):
    text = run(folder / "a.png", folder / "b.png").stdout.splitlines()
    assert len(text) == 2 and "a.png: " in text[0] and "%" in text[0]


def test_annotated_pictures_of_one_name_stay_apart(run, folder, tmp_path):
    (folder / "deeper 顔" / "a.png").write_bytes((folder / "b.png").read_bytes())
    run(folder, "--annotate", tmp_path / "drawn", "--out", tmp_path / "o.jsonl", code=1)
    drawn = sorted((tmp_path / "drawn").glob("[!.]*"))
    assert len(drawn) == 4 and sum(path.name.startswith("a-") for path in drawn) == 2
    assert all(decode(path).shape[1:] == (60, 3) for path in drawn)


def test_a_video_is_drawn_with_its_timeline_and_resumed_whole(run, folder, tmp_path):
    pytest.importorskip("av", reason="video needs the video extra")
    pytest.importorskip("supervision", reason="tracking needs the video extra")
    from mien.runtime.video import writing

    with writing(folder / "film.mp4", 25) as write:
        for step in range(20):
            write(step / 25, np.full((64, 80, 3), 10 * step, np.uint8))
    out = tmp_path / "o.jsonl"
    run(folder, "--out", out, "--annotate", tmp_path / "drawn", "--every", "2", "--start", "0.1", code=1)
    frames = [line for line in lines(out) if line["source"].endswith("film.mp4")]
    assert [line["time"] for line in frames] == pytest.approx([0.12 + 0.08 * step for step in range(9)], abs=1e-3)
    assert all(face["identity"] == 1 for line in frames for face in line["faces"])
    assert {path.suffix for path in (tmp_path / "drawn").glob("[!.]*")} == {".jpg", ".mp4", ".svg"}
    assert [line.get("last", False) for line in frames] == [False] * 8 + [True]
    full = out.read_text("utf-8")
    out.write_text(full[: full.rindex("film.mp4")], "utf-8")
    run(folder, "--out", out, "--resume", "--every", "2", "--start", "0.1", code=1)
    assert out.read_text("utf-8") == full
    # A video that is whole is not read again, and a list that is not read yet cuts nothing of it off.
    for _ in range(2):
        words = ["-", "--out", out, "--resume", "--every", "2", "--start", "0.1"]
        done = run(*words, stdin=f"{folder / 'film.mp4'}\n")
        assert out.read_text("utf-8") == full and "1 already done" in done.stderr
    # One that broke off is answered whole at last, whatever was written after it.
    pieces = full.splitlines(keepends=True)
    film = [line for line in pieces if "film.mp4" in line]
    rest = [line for line in pieces if line not in film]
    out.write_text("".join([*film[:4], *rest]), "utf-8")
    run(folder, *words[1:], code=1)
    assert out.read_text("utf-8") == "".join([*rest, *film])


@pytest.mark.parametrize(
    "wrong",
    [
        ["--out", "o.xml"],
        ["--resume"],
        ["--out", "-", "--resume"],
        ["--out", "-", "--json"],
        ["--start", "3", "--end", "2"],
        ["--detector", "haar", "--crop", "whole"],
        ["--detector", "eyes", "--crop", "face"],
    ],
)
def test_wrong_usage_leaves_with_2(bundle, folder, tmp_path, monkeypatch, wrong):
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(predict)
    result = CliRunner().invoke(app, [str(folder), "--model", bundle, *wrong])
    assert isinstance(result.exception, UsageError) and result.exception.exit_code == 2
    assert not list(tmp_path.glob("o.*"))


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """The command `mien models` over a folder with one bundle in it."""
    accuracy = {"value": 0.87654, "low": 0.86, "high": 0.89}
    figures = {"protocol": "ferplus-majority@876b0409329b", "test": {"accuracy": accuracy}}
    tiny.bundle(tmp_path / "ferplus.onnx", name="ferplus", figures=figures)
    monkeypatch.setattr("mien.weights.__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setenv("MIEN_MODELS", str(tmp_path / "nothing"))
    app = typer.Typer(invoke_without_command=True)
    app.callback()(models)
    app.command()(pull)
    return lambda *arguments: CliRunner().invoke(app, arguments)


def test_models_are_listed_with_accuracy_and_size_and_the_detector(shelf):
    text = shelf().stdout
    for told in ("ferplus", " 7 ", "87.7% [86.0%, 89.0%]", "0.1 MiB", "ferplus-majority", "mien models pull yunet"):
        assert told in text
    (listed,) = json.loads(shelf("--json").stdout)
    assert listed["name"] == "ferplus" and listed["labels"] == list(tiny.LABELS) and listed["size"] > 60_000


def test_an_accuracy_without_an_interval_is_listed_alone(shelf, tmp_path):
    accuracy = {"value": 0.87654, "low": None, "high": None}
    tiny.bundle(tmp_path / "ferplus.onnx", name="ferplus", figures={"test": {"accuracy": accuracy}})
    text = shelf().stdout
    assert "87.7%" in text and "87.7% [" not in text


def test_pull_of_an_unknown_file_names_the_known(shelf):
    result = shelf("pull", "yonet")
    assert isinstance(result.exception, UsageError) and "yunet" in str(result.exception)


def test_links_to_folders_are_followed_once(run, folder, tmp_path):
    linked = tmp_path / "album"
    linked.mkdir()
    (linked / "pictures").symlink_to(folder, target_is_directory=True)
    (folder / "back").symlink_to(linked, target_is_directory=True)
    run(linked, "--out", tmp_path / "o.jsonl", code=1)
    assert len(lines(tmp_path / "o.jsonl")) == 4


def test_resume_does_not_mix_settings_or_calls(run, folder, tmp_path):
    out, picture = tmp_path / "o.jsonl", folder / "a.png"
    run(picture, "--out", out)
    first = json.loads(out.read_text("utf-8"))
    with out.open("a") as stream:
        film = {"source": "film.mp4", "folder": "elsewhere", "frame": 0, "error": None, "last": True}
        film["video"] = asdict(VideoOptions(every=2))
        stream.write(json.dumps(film | {name: first[name] for name in ("model", "detector")}) + "\n")
    before = out.read_text("utf-8")
    same = Origin(first["model"], None, VideoOptions(every=2))
    assert finished(out, same, lambda source: True) == {str(picture): False, "elsewhere/film.mp4": False}
    for other, words in (
        (replace(same, model="other@0123"), "another model"),
        (replace(same, detector="haar"), "another detector or crop"),
        (replace(same, video=VideoOptions(every=2, end=3.5)), "--end 3.5"),
    ):
        with pytest.raises(DataError, match=words):
            finished(out, other, lambda source: True)
    with pytest.raises(DataError, match="another way to read videos"):
        run(folder / "b.png", "--out", out, "--resume")
    for path, words in ((out, ["--resume", "--every", "2"]), (tmp_path / "new.jsonl", [])):
        with alone(path) as free, pytest.raises(UsageError, match="another process is writing"):
            assert free
            run(folder / "b.png", "--out", path, *words)
    assert out.read_text("utf-8") == before and sorted(each.name for each in tmp_path.glob(".o*")) == []


@pytest.mark.parametrize("to", [["--out", "-"], ["--json"], []])
def test_names_are_written_whatever_the_language_of_the_terminal(bundle, tmp_path, to):
    path = tmp_path / "é日本.png"
    path.write_bytes(encode_png(DRAW.integers(0, 256, (50, 60, 3), np.uint8)))
    words = [sys.executable, "-m", "mien", "predict", path, "--model", bundle, *to]
    done = subprocess.run(
        [*words, "--crop", "whole"], capture_output=True, env=os.environ | {"PYTHONIOENCODING": "cp1252"}
    )
    assert done.returncode == 0, done.stderr
    assert ("é日本.png" in done.stdout.decode()) if to else (b"\xe9\\u65e5\\u672c.png" in done.stdout)


def test_a_list_without_a_standard_input_is_refused(bundle):
    command = [sys.executable, "-m", "mien", "predict", "-", "--model", str(bundle)]
    done = subprocess.run(f"{shlex.join(command)} <&-", shell=True, capture_output=True, text=True)
    assert done.returncode == 2 and "no standard input" in done.stderr


def test_a_user_without_a_home_has_answers_and_is_told_where_files_may_go(run, folder, monkeypatch):
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("XDG_CACHE_HOME", "MIEN_CACHE", "MIEN_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert present("yunet") is None
    run(folder / "a.png")
    with pytest.raises(DataError, match="MIEN_CACHE"):
        cache_folder()
