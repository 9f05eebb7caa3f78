"""FER2013 and FERPlus: their CSV files row by row, and the authors' rules for votes, on made and on real data."""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import VOTES_HEADER, Album, facts, fer2013_folders, ferplus_csv, ferplus_folders, pixels

from mien.data.samples import SPLITS
from mien.data.sources import fer2013
from mien.data.sources.catalog import load
from mien.data.sources.ferplus import FOLDERS, VOTES
from mien.errors import DataError


def fer_csv(root: Path, *rows: str, header: str = "emotion,pixels,Usage") -> Path:
    path = root / "fer2013.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (f"0,{pixels(1)[:-2]},Training", "line 3: wrong number of pixels\n  given:   2303\n  allowed: 2304"),
        (f"0,{pixels(1)} 1,Training", "line 3: wrong number of pixels\n  given:   2305"),
        (f"0,{pixels(1)[:-1]}256,Training", "line 3: not a pixel value\n  given:   256"),
        (f"0,{pixels(1)[:-1]}-1,Training", "line 3: not a pixel value\n  given:   -1"),
        (f"0,{pixels(1)[:-1]}x,Training", "line 3: not a pixel value\n  given:   x"),
        (f"0,{pixels(1)[:-1]}4294967297,Training", "line 3: not a pixel value\n  given:   4294967297"),
        ("0,,Training", "line 3: wrong number of pixels\n  given:   0"),
        (f"7,{pixels(1)},Training", "line 3: not a FER2013 emotion\n  given:   7"),
        (f"0,{pixels(1)},Testing", "line 3: unknown Usage\n  given:   Testing"),
        (f"0,{pixels(1)}", "line 3: wrong number of fields\n  given:   2"),
    ],
)
def test_a_bad_csv_row_is_named(row: str, words: str, tmp_path: Path) -> None:
    path = fer_csv(tmp_path, f"0,{pixels(1)},Training", row, f"0,{pixels(1)},Training")
    with pytest.raises(DataError) as caught:
        load("fer2013", tmp_path)
    assert f"{path}, {words}" in str(caught.value)


def test_a_csv_with_other_columns_or_no_rows_is_refused(tmp_path: Path) -> None:
    fer_csv(tmp_path, header="emotion,pixels")
    with pytest.raises(DataError, match="lacks a column"):
        load("fer2013", tmp_path)
    fer_csv(tmp_path)
    with pytest.raises(DataError, match="no pictures"):
        load("fer2013", tmp_path)
    (tmp_path / "fer2013.csv").write_bytes(bytes(range(256)) * 99)
    with pytest.raises(DataError, match="lacks a column"):
        load("fer2013", tmp_path)


def test_odd_spacing_quotes_and_windows_lines_are_read(tmp_path: Path) -> None:
    (tmp_path / "fer2013.csv").write_bytes(
        f'\ufeffemotion,pixels,Usage\r\n0,"  {pixels(9).replace(" ", "  ")} ",Training\r\n\r\n'.encode()
    )
    samples = load("fer2013", tmp_path / "fer2013.csv")
    assert (samples.reader.read("fer2013.csv#0") == 9).all()


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_any_pixels_come_back(seed: int, rows: int) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (rows, 48, 48), np.uint8)
    with TemporaryDirectory() as folder:
        fer_csv(Path(folder), *(f"0,{' '.join(map(str, image.ravel()))},Training" for image in images))
        samples = load("fer2013", Path(folder))
    assert np.array_equal([samples.reader.read(image) for image in samples.table["image"]], images)


def test_a_csv_is_stamped_by_its_pixels(tmp_path: Path) -> None:
    stamps = []
    for value in (1, 2, 1):
        fer_csv(tmp_path, f"0,{pixels(value)},Training")
        stamps.append(load("fer2013", tmp_path).reader.stamp("fer2013.csv#0"))
    assert stamps[0] == stamps[2] != stamps[1]


def test_a_folder_picture_without_a_split_in_its_name_is_named(tmp_path: Path) -> None:
    album = Album(tmp_path)
    fer2013_folders(album)
    album.write("test/happy/im12.png", 1)
    with pytest.raises(DataError, match="says no split") as caught:
        load("fer2013", tmp_path)
    assert "im12.png" in str(caught.value)
    assert "'folders'" in str(caught.value)


def ferplus(root: Path, *votes: str) -> None:
    lines = [f"PrivateTest,fer{row:07d}.png,{row_votes}\n" for row, row_votes in enumerate(votes)]
    (root / "fer2013new.csv").write_text(VOTES_HEADER + "".join(lines))
    (root / "FER2013Test").mkdir(exist_ok=True)


@pytest.mark.parametrize(
    ("votes", "majority", "plurality", "spread"),
    [
        ("10,0,0,0,0,0,0,0,0,0", "neutral", "neutral", {"neutral": 1}),
        ("4,0,0,1,3,2,0,0,0,0", None, "neutral", {"neutral": 4 / 7, "anger": 3 / 7}),
        ("3,0,0,3,1,1,1,1,0,0", None, "neutral", {"neutral": 0.5, "sadness": 0.5}),
        ("5,1,1,1,1,1,0,0,0,0", "neutral", "neutral", {"neutral": 1}),
        ("0,0,0,0,0,0,0,0,2,8", None, None, None),
        ("4,0,0,0,0,0,0,0,6,0", None, None, None),
        ("5,0,0,0,0,0,0,0,5,0", None, "neutral", None),
        ("2,2,2,2,2,0,0,0,0,0", None, "neutral", None),
    ],
)
def test_votes_become_labels_as_the_authors_do_it(
    votes: str, majority: str | None, plurality: str | None, spread: dict[str, float] | None, tmp_path: Path
) -> None:
    ferplus(tmp_path, "0,0,0,0,0,0,10,0,0,0", votes)
    for mode, label in (("majority", majority), ("plurality", plurality)):
        assert load("ferplus", tmp_path, mode=mode).table["label"].tolist()[1:] == ([label] if label else [])
    samples = load("ferplus", tmp_path, mode="votes")
    assert samples.votes is not None
    found = [dict(zip(samples.labels, row, strict=True)) for row in samples.votes[1:].tolist()]
    assert [{k: v for k, v in row.items() if v} for row in found] == ([pytest.approx(spread)] if spread else [])


def test_ferplus_on_the_real_votes(shared: Path, tmp_path: Path) -> None:
    labels = pd.read_csv(shared / "data" / "fer2013" / "labels.csv", dtype=str, keep_default_na=False)
    columns = ["Usage", "ferplus_name", *VOTES_HEADER.strip().split(",")[2:]]
    (tmp_path / "FER2013Test").mkdir()
    rows = labels[columns].rename(columns={"ferplus_name": "Image name"})
    rows.to_csv(tmp_path / "fer2013new.csv", index=False)
    for mode, test, all_rows in (("majority", 3153, 31412), ("plurality", 3546, 35488), ("votes", 3505, 34966)):
        samples = load("ferplus", tmp_path, mode=mode)
        assert (len(samples.rows("test")), len(samples)) == (test, all_rows)
        assert samples.votes is not None
        np.testing.assert_allclose(samples.votes.sum(axis=1), 1, rtol=1e-6)
        strongest = samples.votes[np.arange(len(samples)), samples.targets]
        assert (strongest >= samples.votes.max(axis=1)).all()


@pytest.mark.parametrize("layout", ["kaggle-csv", "folders"])
def test_fer2013_on_the_real_pictures(shared: Path, layout: str, tmp_path: Path) -> None:
    command = [sys.executable, shared / "data" / "unpack.py", tmp_path, "--layout", layout, "--limit", "20"]
    subprocess.run(command, check=True, capture_output=True)
    samples = load("fer2013", tmp_path)
    assert [len(samples.rows(split)) for split in SPLITS] == [20, 20, 20]
    first = samples.table["image"].str.contains("#0$|_00000000").idxmax()
    assert samples.reader.read(samples.table["image"][first])[0, :6].tolist() == [70, 80, 82, 72, 58, 58]
    assert samples.table["label"][first] == "anger"


def test_ferplus_votes_for_other_pictures_of_a_part_are_refused(tmp_path: Path) -> None:
    album = Album(tmp_path)
    emotions = [row % 7 for row in range(140)]
    votes = [",".join("9" if name == fer2013.CODES[code] else "0" for name in VOTES) for code in emotions]
    album.text(
        "fer2013new.csv", VOTES_HEADER + "".join(f"Training,fer{n}.png,{each}\n" for n, each in enumerate(votes))
    )
    rows = [f"{code},{pixels(code)},Training\n" for code in emotions]
    album.text("fer2013.csv", "emotion,pixels,Usage\n" + "".join(rows))
    assert len(load("ferplus", tmp_path)) == 140
    album.text("fer2013.csv", "emotion,pixels,Usage\n" + "".join(sorted(rows)))
    with pytest.raises(DataError, match="same order"):
        load("ferplus", tmp_path)


def test_ferplus_is_read_as_the_code_of_its_authors_leaves_it(tmp_path: Path) -> None:
    album = Album(tmp_path)
    ferplus_folders(album)
    (tmp_path / "data").mkdir()
    for folder in FOLDERS.values():
        (tmp_path / folder).rename(tmp_path / "data" / folder)
    assert facts(load("ferplus", tmp_path)) == album.facts


def test_ferplus_votes_out_of_step_with_the_csv_are_refused(tmp_path: Path) -> None:
    album = Album(tmp_path)
    ferplus_csv(album)
    lines = (tmp_path / "fer2013.csv").read_text().splitlines(keepends=True)
    (tmp_path / "fer2013.csv").write_text("".join([lines[0], *reversed(lines[1:])]))
    with pytest.raises(DataError, match="same order"):
        load("ferplus", tmp_path)
    (tmp_path / "fer2013.csv").write_text("".join(lines[:3]))
    with pytest.raises(DataError, match="fewer rows"):
        load("ferplus", tmp_path)
    (tmp_path / "fer2013new.csv").write_text("Usage,Image name,neutral\nTraining,fer0.png,10\n")
    with pytest.raises(DataError, match="lacks columns"):
        load("ferplus", tmp_path)
