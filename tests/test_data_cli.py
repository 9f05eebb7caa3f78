"""mien data stats and mien data preview, as a person at the keyboard meets them."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import typer
from layouts import Album
from typer.testing import CliRunner, Result

from mien.cli import data, main
from mien.data.prepare import prepare
from mien.data.preview import sheet
from mien.data.sources.catalog import load
from mien.data.stats import stats
from mien.errors import DataError, MienError, UsageError
from mien.imaging.chain import Chain
from mien.imaging.decode import decode, encode_png

app = typer.Typer()
app.command()(data.stats)
app.command()(data.preview)
app.command()(data.cache)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Seven pictures in two splits, of which one is broken."""
    album = Album(tmp_path / "tree")
    for above in ("train", "test"):
        for name in ("happy", "sad", "fear"):
            album.picture(f"{above}/{name}/1.png", name)
    (album.root / "train/sad/[bold] broken.png").write_bytes(b"\x89PNG")
    return album.root


def test_stats_counts_measures_and_lists_what_is_broken(tree: Path) -> None:
    result = run("stats", "folders", tree)
    assert result.exit_code == 0
    for words in ("folders: 7 pictures", "sadness", "height 48 to 48 (median 48)", "6 grey", "1 missing or unreadable"):
        assert words in result.stdout
    assert "train/sad/[bold] broken.png: not a whole PNG" in result.stdout


def test_pictures_of_a_telephone_are_told_and_not_passed_over(tree: Path) -> None:
    (tree / "train/sad/IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    result = run("stats", "folders", tree)
    assert "2 missing or unreadable" in result.stdout
    assert "train/sad/IMG_1.HEIC: not a whole PNG, JPEG, GIF, BMP, WebP, TIFF or PNM header, but HEIC" in result.stdout


def test_what_cannot_be_decoded_is_not_promised(tmp_path: Path) -> None:
    for name in ("happy", "sad"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").write_bytes(b"")
    said = str(run("stats", "folders", tmp_path).exception)
    assert "class folders without pictures" in said and ".webp" in said
    assert not any(suffix in said for suffix in (".heic", ".heif", ".avif"))


def test_data_that_is_not_there_is_told_with_the_place_that_was_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert f"given:   {tmp_path / 'study' / 'ratings.csv'}" in str(
        run("stats", "manifest", "study/ratings.csv").exception
    )


def test_a_folder_of_pgm_files_is_read(tmp_path: Path) -> None:
    (tmp_path / "happy").mkdir()
    (tmp_path / "happy" / "1.pgm").write_bytes(b"P5\n4 2\n255\n" + bytes(8))
    result = run("stats", "folders", tmp_path, "--strict")
    assert result.exit_code == 0 and "1 grey, 0 colour" in result.stdout


def test_stats_json_is_one_document(tree: Path) -> None:
    document = json.loads(run("stats", "folders", tree, "--json").stdout)
    assert document["rows"] == 7
    assert document["counts"]["sadness"] == {"train": 2, "test": 1}
    assert document["height"] == {"min": 48, "median": 48.0, "max": 48}
    assert [problem["image"] for problem in document["problems"]] == ["train/sad/[bold] broken.png"]


def test_strict_makes_a_broken_picture_an_error_after_the_numbers(tree: Path) -> None:
    result = run("stats", "folders", tree, "--json", "--strict")
    assert json.loads(result.stdout)["rows"] == 7
    assert isinstance(result.exception, DataError)
    assert "broken.png" in str(result.exception)
    (tree / "train/sad/[bold] broken.png").unlink()
    assert run("stats", "folders", tree, "--strict").exit_code == 0


def test_a_sheet_is_a_png_under_a_name_of_one(tree: Path, tmp_path: Path) -> None:
    refused = run("preview", "folders", tree, "--out", tmp_path / "sheet.jpg").exception
    assert isinstance(refused, UsageError) and ".png" in str(refused)
    assert not (tmp_path / "sheet.jpg").exists()


def test_many_broken_pictures_are_summed_up(tree: Path) -> None:
    for number in range(30):
        (tree / f"test/sad/{number}.png").write_bytes(b"")
    result = run("stats", "folders", tree)
    assert "31 missing or unreadable" in result.stdout
    assert "and 21 more; --json lists them all" in result.stdout


def test_stats_speaks_of_people_and_empty_labels(tmp_path: Path) -> None:
    album = Album(tmp_path)
    for subject in ("KA", "KR"):
        album.picture(f"{subject}.AN1.1.tiff", "anger", subject=subject)
    result = run("stats", "jaffe", tmp_path)
    assert "2 subjects" in result.stdout
    assert "no picture of disgust, fear" in result.stdout


def test_rows_without_label_or_split_are_counted_as_none(tree: Path) -> None:
    samples = load("folders", tree)
    table = samples.table.assign(split=samples.table["split"].where(samples.table["split"] == "train"))
    table.loc[0, "label"] = None
    found = stats(type(samples)(table, samples.labels, samples.reader))
    assert found.splits == ("train", "none")
    assert found.counts["none"] == {"train": 0, "none": 1}
    assert sum(sum(parts.values()) for parts in found.counts.values()) == found.rows


def test_progress_counts_every_picture(tree: Path) -> None:
    seen: list[tuple[int, int]] = []
    stats(load("folders", tree), lambda done, total: seen.append((done, total)))
    assert seen == [(done, 7) for done in range(1, 8)]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["stats", "folder", "x"], UsageError, "did you mean 'folders'"),
        (["stats", "folders"], UsageError, "needs a root"),
        (["stats", "folders", "/no/such/place"], DataError, "/no/such/place"),
        (["stats", "ferplus", ".", "--option", "mood=votes"], UsageError, "did you mean 'mode'"),
        (["stats", "ferplus", ".", "--option", "mode"], UsageError, "KEY=VALUE"),
        (["stats", "folders", ".", "--option", "rename={Grumpy: anger"], UsageError, "not valid YAML"),
        (["preview", "folders", "/no/such/place"], DataError, "/no/such/place"),
    ],
)
def test_mistakes_are_errors_of_the_family(arguments: list[str], error: type[MienError], words: str) -> None:
    result = run(*arguments)
    assert isinstance(result.exception, error)
    assert words in str(result.exception)


def test_options_reach_the_source(tmp_path: Path) -> None:
    header = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    rows = ["PrivateTest,a.png,10,0,0,0,0,0,0,0,0,0", "PrivateTest,b.png,4,3,3,0,0,0,0,0,0,0"]
    (tmp_path / "fer2013new.csv").write_text("\n".join([header, *rows]))
    (tmp_path / "FER2013Test").mkdir()
    for mode, count in (("majority", 1), ("plurality", 2)):
        document = json.loads(run("stats", "ferplus", tmp_path, "--option", f"mode={mode}", "--json").stdout)
        assert (document["rows"], len(document["problems"])) == (count, count)


def test_an_option_is_yaml(tree: Path) -> None:
    Album(tree).picture("train/Grumpy/1.png", "contempt")
    plain = json.loads(run("stats", "folders", tree, "--option", "rename={Grumpy: null}", "--json").stdout)
    named = json.loads(run("stats", "folders", tree, "--option", "rename={Grumpy: contempt}", "--json").stdout)
    assert named["rows"] == plain["rows"] + 1


def test_a_pattern_is_written_without_or_with_quotes_of_its_own(tmp_path: Path) -> None:
    for subject in ("P01", "P02"):
        Album(tmp_path).picture(f"study_{subject}/happy_1.jpg", "happiness")
    for pattern in ("<subject>/<label>_*.jpg", "'*_<subject>/<label>_*.jpg'"):
        document = json.loads(run("stats", "folders", tmp_path, "--option", f"pattern={pattern}", "--json").stdout)
        assert (document["rows"], document["subjects"]) == (2, 2)
    for pattern in ("*_<subject>/<label>_*.jpg", "{subject}/{label}_*.jpg"):
        refused = run("stats", "folders", tmp_path, "--option", f"pattern={pattern}").exception
        assert isinstance(refused, UsageError) and "pattern='*/<label>.png'" in str(refused)


def test_preview_boxes_what_a_detector_finds_and_counts_pictures_without_a_face(shared: Path, tmp_path: Path) -> None:
    people = tmp_path / "people" / "happy"
    people.mkdir(parents=True)
    for picture in sorted((shared / "data" / "portraits" / "images").iterdir())[:3]:
        (people / picture.name).write_bytes(picture.read_bytes())
    (people / "wall.png").write_bytes(encode_png(np.full((90, 90), 128, np.uint8)))
    words = ["preview", "folders", people.parent, "--out", tmp_path / "sheet.png", "--tile", 200, "--columns", 4]
    found = json.loads(run(*words, "--regions", "viola-jones", "--json").stdout)
    assert (found["looked_at"], found["no_face"]) == (4, 1)
    boxed, blue = decode(tmp_path / "sheet.png"), np.array([66, 133, 244])
    assert (boxed == blue).all(axis=2).sum() > 300
    assert "no face in 1 of 4 pictures" in run(*words, "--regions", "viola-jones").stdout


def test_preview_shows_what_a_chain_makes_of_the_pictures(tmp_path: Path) -> None:
    half = np.zeros((48, 48), np.uint8)
    half[:, 24:] = 200
    (tmp_path / "data" / "fear").mkdir(parents=True)
    (tmp_path / "data" / "fear" / "a.png").write_bytes(encode_png(half))
    words = ["preview", "folders", tmp_path / "data", "--out", tmp_path / "sheet.png", "--columns", 1]
    assert run(*words, "--chain", "[grey, equalise, canny]").exit_code == 0
    edges = decode(tmp_path / "sheet.png")[40:112, 124:196]
    assert 0 < (edges > 128).mean() < 0.1, "a line where the halves meet, on black"
    assert run(*words, "--chain", "[{detect-face: {missing: drop}}]").exit_code == 0
    crossed = decode(tmp_path / "sheet.png")[40:112, 124:196]
    assert crossed[..., 0].max() > 200 and len(np.unique(crossed.reshape(-1, 3), axis=0)) > 2
    for wrong in (["--chain", "[canni]"], ["--chain", "[grey"], ["--chain", "[grey]", "--regions", "viola-jones"]):
        assert isinstance(run(*words, *wrong).exception, UsageError)


def test_preview_writes_a_sheet(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "sheet.png"
    document = json.loads(run("preview", "folders", tree, "--out", out, "--columns", 2, "--tile", 48, "--json").stdout)
    image = decode(out)
    assert image.shape == (document["height"], document["width"], 3)
    assert document["labels"] == ["fear", "happiness", "sadness"]


def test_a_sheet_shows_each_class_in_its_row_and_crosses_what_is_broken(tree: Path) -> None:
    samples = load("folders", tree)
    image = sheet(samples, columns=3, tile=48)
    greys = {int(samples.reader.read(name).mean()) for name in samples.table["image"] if "broken" not in name}
    for row, label in enumerate(samples.labels):
        strip = image[40 + row * 52 : 40 + row * 52 + 48, 124:]
        mine = samples.table["image"][
            (samples.table["label"] == label) & ~samples.table["image"].str.contains("broken")
        ]
        shown = {value for value in greys if (strip == value).all(axis=2).sum() >= 48 * 48}
        assert shown == {int(samples.reader.read(name).mean()) for name in mine}
        assert ((strip == (190, 60, 60)).all(axis=2).any()) == (label == "sadness")


def test_a_sheet_keeps_proportions_and_repeats_itself(tmp_path: Path) -> None:
    from mien.imaging.decode import encode_png

    (tmp_path / "happy").mkdir()
    (tmp_path / "happy" / "wide.png").write_bytes(encode_png(np.zeros((10, 40, 3), np.uint8)))
    samples = load("folders", tmp_path)
    image = sheet(samples, columns=1, tile=40)
    assert (image[40:80, 124:164] == 0).all(axis=2).sum() == 40 * 10
    assert np.array_equal(image, sheet(samples, columns=1, tile=40))


@pytest.mark.parametrize("command", ["stats", "preview"])
def test_help_ends_with_an_example(command: str) -> None:
    assert f"Example: mien data {command}" in run(command, "--help").stdout


def test_an_interrupted_command_says_that_nothing_is_half_written(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "_load", interrupt)
    monkeypatch.setattr("sys.argv", ["mien", "data", "stats", "folders", str(tree)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert "finished files are complete" in capsys.readouterr().err


@pytest.fixture
def prepared(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with the pictures of the tree after two chains, one of them not asked for in forty days."""
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    samples = load("folders", tree)
    prepare(samples, Chain.parse(["grey", {"resize": 16}]))
    (old,) = (tmp_path / "cache" / "prepared").glob("*/about.json")
    prepare(samples, Chain.parse(["grey", {"resize": 32}, "equalise"]))
    then = time.time() - 40 * 86_400
    os.utime(old, (then, then))
    return tmp_path / "cache" / "prepared"


def test_cache_lists_what_is_kept_the_last_used_first(prepared: Path) -> None:
    lines = run("cache").stdout.splitlines()
    assert "7 pictures  folders: grey, resize, equalise" in lines[0] and "folders: grey, resize" in lines[1]
    assert lines[2].startswith("2 prepared datasets kept") and lines[2].endswith(str(prepared.parent))
    document = json.loads(run("cache", "--json").stdout)
    assert document["bytes"] == sum(path.stat().st_size for path in prepared.rglob("*") if path.is_file())
    assert not document["removed"] and len(document["prepared"]) == 2


def test_cache_removes_what_was_not_used_for_some_days_and_nothing_else(prepared: Path, tree: Path) -> None:
    assert "1 prepared dataset removed" in run("cache", "--older-than", "30", "--remove").stdout
    assert [one["chain"][-1] for one in json.loads(run("cache", "--json").stdout)["prepared"]] == [{"equalise": {}}]
    assert "1 prepared dataset removed" in run("cache", "--remove").stdout
    assert list(prepared.iterdir()) == []
    assert prepare(load("folders", tree), Chain.parse(["grey", {"resize": 16}])).ok.sum() == 6
    assert "1 prepared dataset kept" in run("cache").stdout


def test_a_run_that_reads_the_cache_renews_its_use(prepared: Path, tree: Path) -> None:
    prepare(load("folders", tree), Chain.parse(["grey", {"resize": 16}]))
    assert json.loads(run("cache", "--older-than", "30", "--json").stdout)["prepared"] == []
