"""One contract for every source in the catalogue, each on a tree in exactly its published layout; then specifics."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from layouts import (
    AFFECTNET,
    TREES,
    Album,
    affectnet,
    affectnet_hq,
    affectnet_lists,
    ck48,
    ckplus_originals,
    facts,
    folders_plain,
    folders_split,
    jaffe,
    mma,
    oheix,
    rafdb_kaggle,
    rafdb_published,
)

from mien.data.samples import COLUMNS, SPLITS, Files
from mien.data.sources.catalog import SOURCES, load, needs_root
from mien.data.stats import stats
from mien.errors import DataError, MienError, UnreadableImage, UsageError
from mien.labels import EXPRESSIONS

LAYOUTS = [pytest.param(name, write, id=f"{name}-{write.__name__}") for name in TREES for write in TREES[name]]


def test_every_source_has_a_tree() -> None:
    assert set(TREES) == {name for name, source in SOURCES.items() if source.needs_root}


@pytest.mark.parametrize(("name", "write"), LAYOUTS)
class TestContract:
    def test_every_picture_has_its_facts(self, name: str, write: Callable[[Album], None], tmp_path: Path) -> None:
        album = Album(tmp_path)
        write(album)
        samples = load(name, tmp_path)
        assert facts(samples) == album.facts
        assert len(samples) == len(album.facts)

    def test_the_table_is_a_sample_table(self, name: str, write: Callable[[Album], None], tmp_path: Path) -> None:
        write(Album(tmp_path))
        samples = load(name, tmp_path)
        assert tuple(samples.table.columns) == COLUMNS
        assert samples.table["image"].is_unique
        assert set(samples.table["source"]) == {name}
        assert list(samples.labels) == [label for label in EXPRESSIONS if label in samples.labels]
        assert set(samples.table["split"].dropna()) <= set(SPLITS)
        assert samples.votes is None or np.allclose(samples.votes.sum(axis=1), 1)
        pd.testing.assert_frame_equal(samples.table, load(name, tmp_path).table)

    def test_no_picture_is_decoded_to_build_it(self, name: str, write: Callable[[Album], None], tmp_path: Path) -> None:
        write(Album(tmp_path))
        whole = load(name, tmp_path)
        if not isinstance(whole.reader, Files):
            return
        victim = whole.table["image"].iloc[0]
        (whole.reader.root / victim).write_bytes(b"")
        samples = load(name, tmp_path)
        pd.testing.assert_frame_equal(samples.table, whole.table)
        with pytest.raises(UnreadableImage, match="empty"):
            samples.reader.read(victim)
        assert [problem.image for problem in stats(samples).problems] == [victim]

    def test_an_empty_folder_says_what_was_looked_for(
        self, name: str, write: Callable[[Album], None], tmp_path: Path
    ) -> None:
        (tmp_path / "file.txt").write_text("neither a table nor a picture")
        for root in (tmp_path, tmp_path / "absent", tmp_path / "file.txt"):
            with pytest.raises(DataError) as caught:
                load(name, root)
            assert str(root) in str(caught.value)
        with pytest.raises(DataError) as caught:
            load(name, tmp_path)
        assert SOURCES[name].layout[0] in str(caught.value)
        assert SOURCES[name].get in str(caught.value)


def test_synthetic_needs_no_files() -> None:
    samples = load("synthetic", count=16, size=32, seed=3)
    assert len(samples) == 16
    assert samples.reader.read(samples.table["image"].iloc[0]).shape == (32, 32)
    assert set(samples.table["source"]) == {"synthetic"}
    uneven = load("synthetic", count=16, subjects=4, shares={"happy": 3, "sad": 1}, conditions={"noise": [0, 0]})
    assert uneven.table["label"].value_counts().to_dict() == {"happiness": 12, "sadness": 4}
    assert uneven.table["subject"].nunique() == 4


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("fer2014", {}, "did you mean 'fer2013'"),
        ("ferplus", {"mod": "votes"}, "did you mean 'mode'"),
        ("ferplus", {"mode": "most"}, "'majority', 'plurality' or 'votes'"),
        ("ckplus", {"frames": "three"}, "frames"),
        ("ckplus", {"frames": 0}, "at least one"),
        ("synthetic", {"count": "many"}, "count"),
        ("synthetic", {"conditions": {"noise": "much"}}, "conditions"),
    ],
)
def test_wrong_names_and_options_are_usage_errors(
    name: str, options: dict[str, object], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        load(name, tmp_path if needs_root(name) else None, **options)
    assert words in str(caught.value)


def test_a_root_is_asked_for() -> None:
    with pytest.raises(UsageError, match="needs a root"):
        load("fer2013")


def test_a_root_that_nothing_is_read_from_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="reads no files"):
        load("synthetic", tmp_path)


# --- trees of folders ----------------------------------------------------------------------------------------------


def test_an_empty_class_folder_is_told_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    album = Album(tmp_path)
    folders_split(album)
    (tmp_path / "val" / "thumbs").mkdir()
    assert facts(load("folders", tmp_path)) == album.facts
    assert f"without pictures, left out: {tmp_path / 'val' / 'thumbs'}" in caplog.text


def test_a_part_may_show_one_class_and_a_whole_tree_may_not(tmp_path: Path) -> None:
    folders_split(Album(tmp_path))
    for name in ("val", "train", "test"):
        for picture in (tmp_path / name / "sad").glob("*"):
            assert set(load("folders", tmp_path).labels) == {"happiness", "sadness"}
            picture.unlink()
    with pytest.raises(DataError, match="without pictures") as caught:
        load("folders", tmp_path)
    assert str(tmp_path / "val" / "sad") in str(caught.value)


def test_pictures_beside_the_folders_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    album = Album(tmp_path)
    folders_split(album)
    for name in ("a.png", "train/b.jpg"):
        album.write(name, 1)
    album.text("notes.txt", "")
    assert facts(load("folders", tmp_path)) == album.facts
    assert f"{tmp_path}: 1 picture beside the folders, left out, the first: a.png" in caplog.text
    assert f"{tmp_path / 'train'}: 1 picture beside" in caplog.text


def test_an_unknown_class_lists_what_was_found_and_what_is_known(tmp_path: Path) -> None:
    album = Album(tmp_path)
    folders_plain(album)
    album.write("bored/1.png", 1)
    album.write("angst/1.png", 1)
    with pytest.raises(UsageError) as caught:
        load("folders", tmp_path)
    assert "angst, bored" in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "happiness (" in str(caught.value)


def test_linked_folders_are_read_once(tmp_path: Path) -> None:
    album = Album(tmp_path / "faces")
    folders_plain(album)
    before = len(load("folders", tmp_path / "faces"))
    Album(tmp_path / "more").write("x.png", 1)
    (tmp_path / "faces" / "HAPPY" / "more").symlink_to(tmp_path / "more", target_is_directory=True)
    (tmp_path / "more" / "back").symlink_to(tmp_path / "faces" / "HAPPY", target_is_directory=True)
    assert len(load("folders", tmp_path / "faces")) == before + 1


def test_class_folders_beside_split_folders_are_refused(tmp_path: Path) -> None:
    album = Album(tmp_path)
    folders_split(album)
    album.write("happy/1.png", 1)
    with pytest.raises(DataError, match="side by side") as caught:
        load("folders", tmp_path)
    assert "happy" in str(caught.value)


def test_roots_may_be_the_inner_folder(tmp_path: Path) -> None:
    for name, write, inner in (
        ("mma", mma, "MMAFEDB"),
        ("oheix", oheix, "images"),
        ("ckplus", ck48, "CK+48"),
        ("rafdb", rafdb_published, "basic"),
        ("rafdb", rafdb_kaggle, "DATASET"),
        ("jaffe", jaffe, "jaffe"),
    ):
        album = Album(tmp_path / write.__name__)
        write(album)
        assert facts(load(name, album.root / inner)) == album.facts


# --- CK+ -----------------------------------------------------------------------------------------------------------


def test_ckplus_frames_and_neutral(tmp_path: Path) -> None:
    ckplus_originals(Album(tmp_path))
    samples = load("ckplus", tmp_path, frames=2, neutral=True)
    rows = samples.table[samples.table["sequence"] == "S005_003"]
    assert rows["image"].str[-6:-4].tolist() == ["01", "04", "05"]
    assert rows["label"].tolist() == ["neutral", "disgust", "disgust"]
    assert samples.labels == EXPRESSIONS
    many = load("ckplus", tmp_path, frames=99, neutral=True)
    assert many.table["image"].is_unique
    assert len(many) == 35


def test_ck48_has_no_neutral(tmp_path: Path) -> None:
    ck48(Album(tmp_path))
    with pytest.raises(UsageError, match="original CK"):
        load("ckplus", tmp_path, neutral=True)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda album: album.text("Emotion/S005/001/S005_001_00000005_emotion.txt", "9.0"), "not a CK+ emotion"),
        (lambda album: album.text("Emotion/S006/001/S006_001_00000005_emotion.txt", "1.0"), "has no pictures"),
        (lambda album: album.write("cohn-kanade-images/S005/001/zz.png", 1), "tells no subject"),
    ],
)
def test_a_spoilt_ckplus_is_named(spoil: Callable[[Album], None], words: str, tmp_path: Path) -> None:
    album = Album(tmp_path)
    ckplus_originals(album)
    spoil(album)
    with pytest.raises(DataError) as caught:
        load("ckplus", tmp_path)
    assert words in str(caught.value)


# --- the others ----------------------------------------------------------------------------------------------------


def people(album: Album) -> None:
    for subject in ("P01", "P02"):
        for number, name in enumerate(("happy", "Sad")):
            album.picture(f"{subject}/{name}_0{number}.JPG", ("happiness", "sadness")[number], subject=subject)


def test_paths_that_follow_a_pattern_say_whom_and_what_they_show(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    album = Album(tmp_path)
    people(album)
    samples = load("folders", tmp_path, pattern="<subject>/<label>_*.jpg")
    assert facts(samples) == album.facts and not caplog.text
    album.write("P02/portrait.jpg", 1)
    album.write("notes/drawn/happy_1.jpg", 1)
    assert len(load("folders", tmp_path, pattern="<subject>/<label>_<sequence>.jpg")) == 4
    assert "2 pictures not named as" in caplog.text and "P02/portrait.jpg" in caplog.text
    rows = load("folders", tmp_path, pattern="P<subject>/<label>_<sequence>.*", rename={"sad": None}).table
    assert rows[["label", "subject", "sequence"]].to_numpy().tolist() == [
        ["happiness", "01", "00"],
        ["happiness", "02", "00"],
    ]


def test_a_pattern_counts_characters_and_names_the_part(tmp_path: Path) -> None:
    album = Album(tmp_path)
    for part, split in (("train", "train"), ("VALID", "validation")):
        for name, label in (("AF01AFS", "fear"), ("AF01HAS", "happiness"), ("BM02SUS", "surprise")):
            album.picture(f"{part}/{name[:4]}/{name}.JPG", label, split, subject=name[:4])
        album.write(f"{part}/AF01/AF01AFHL.JPG", 255)
    assert facts(load("folders", tmp_path, pattern="<split>/<subject>/????<label>S.jpg")) == album.facts
    with pytest.raises(DataError, match="not the name of a part") as caught:
        load("folders", tmp_path, pattern="*/<split>/????<label>S.jpg")
    assert "AF01" in str(caught.value) and "validation" in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("<subject>/<emotion>_*.jpg", "unknown place in the pattern"),
        ("{subject}/{label}_*.jpg", "a pattern has the place <label> once"),
        ("<subject>/*.jpg", "a pattern has the place <label> once"),
        ("<label>/<subject>_<subject>.jpg", "<subject>/<label>_*.jpg"),
        ("<label>/*.jpg", "P01, P02"),
        ("<subject>-<label>.jpg", "P01/Sad_01.JPG, P01/happy_00.JPG, P02/Sad_01.JPG"),
        ("*/<label>/*", "is named as the pattern says"),
        (["<label>/*.jpg"], "option 'pattern'"),
    ],
)
def test_a_pattern_that_cannot_be_is_refused(pattern: object, words: str, tmp_path: Path) -> None:
    people(Album(tmp_path))
    with pytest.raises(MienError) as caught:
        load("folders", tmp_path, pattern=pattern)
    assert words in str(caught.value)


def test_folders_of_people_send_to_what_reads_them(tmp_path: Path) -> None:
    people(Album(tmp_path))
    with pytest.raises(UsageError, match=r"rename=[\s\S]*pattern=<subject>/<label>_\*.jpg[\s\S]*manifest"):
        load("folders", tmp_path)
    Album(tmp_path).write("happy/1.png", 1)
    with pytest.raises(UsageError, match="rename=") as caught:
        load("folders", tmp_path)
    assert "pattern=" not in str(caught.value)


def test_what_shows_no_expression_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    affectnet(Album(tmp_path / "npy"))
    np.save(tmp_path / "npy/val_set/annotations/9_exp.npy", np.array(8))
    load("affectnet", tmp_path / "npy")
    affectnet_lists(Album(tmp_path / "lists"))
    load("affectnet", tmp_path / "lists")
    assert "3 pictures annotated as none" in caplog.text and "6 pictures annotated as none" in caplog.text


def test_jaffe_is_read_in_lower_case_too(tmp_path: Path) -> None:
    album = Album(tmp_path)
    for name in ("ka.an1.39.tiff", "ym.su2.40.tiff"):
        album.write(name, 1)
    samples = load("jaffe", tmp_path)
    assert samples.table[["label", "subject"]].to_numpy().tolist() == [["anger", "KA"], ["surprise", "YM"]]


def test_a_folder_around_the_classes_sends_into_it(tmp_path: Path) -> None:
    folders_plain(Album(tmp_path / "dataset"))
    with pytest.raises(UsageError, match=f"give {tmp_path / 'dataset'}, if the folders of the classes are there"):
        load("folders", tmp_path)


def test_what_servers_and_archives_leave_is_no_picture(tmp_path: Path) -> None:
    album = Album(tmp_path)
    folders_plain(album)
    name = next(iter(tmp_path.iterdir())).name
    for left in ("@eaDir/a.jpg/THUMB_M.jpg", f"{name}/@eaDir/THUMB_M.jpg", f"__MACOSX/{name}/a.jpg"):
        album.write(left, 1)
    assert facts(load("folders", tmp_path)) == album.facts


def test_affectnet_hq_labels_can_come_from_the_folders(tmp_path: Path) -> None:
    affectnet_hq(Album(tmp_path))
    assert load("affectnet-hq", tmp_path, labels="folder").table["label"].tolist() == ["anger", "anger", "happiness"]


def test_rafdb_without_its_lists_reads_the_folders(tmp_path: Path) -> None:
    album = Album(tmp_path)
    rafdb_kaggle(album)
    for split in ("train", "test"):
        (tmp_path / f"{split}_labels.csv").unlink()
    assert facts(load("rafdb", tmp_path)) == album.facts


def spoilt_npy(album: Album) -> None:
    affectnet(album)
    (album.root / "train_set/annotations/0_exp.npy").write_bytes(b"\x80\x04pickled")


def object_npy(album: Album) -> None:
    affectnet(album)
    np.save(album.root / "train_set/annotations/0_exp.npy", np.array({"a": 1}, dtype=object), allow_pickle=True)


def wrong_affectnet_code(album: Album) -> None:
    affectnet(album)
    np.save(album.root / "train_set/annotations/0_exp.npy", np.array(11))


def wrong_affectnet_row(album: Album) -> None:
    affectnet_lists(album)
    album.text("Manually_Annotated_file_lists/validation.csv", "0/a.jpg,1,2,20,20,1;2,11,-0.1,0.2\n")


def affectnet_without_column(album: Album) -> None:
    affectnet_lists(album)
    album.text("Manually_Annotated_file_lists/training.csv", AFFECTNET.replace(",expression", ""))


def wrong_raf_code(album: Album) -> None:
    rafdb_published(album)
    album.text("basic/EmoLabel/list_patition_label.txt", "train_00001.jpg 8\n")


def wrong_raf_name(album: Album) -> None:
    rafdb_published(album)
    album.text("basic/EmoLabel/list_patition_label.txt", "train_00001.jpg 1\nvalid_00001.jpg 2\n")


def raf_without_column(album: Album) -> None:
    rafdb_kaggle(album)
    album.text("train_labels.csv", "file,label\na.jpg,1\n")


def hq_without_column(album: Album) -> None:
    affectnet_hq(album)
    album.text("labels.csv", "path,label\na.jpg,happy\n")


def raf_torn(album: Album) -> None:
    rafdb_kaggle(album)
    album.text("train_labels.csv", 'image,label\n"a.jpg,1\n')


def hq_empty(album: Album) -> None:
    affectnet_hq(album)
    album.text("labels.csv", "")


def hq_without_label(album: Album) -> None:
    affectnet_hq(album)
    album.text("labels.csv", ",pth,label,relFCs\n0,a.jpg,happy,0.1\n1,b.jpg,,0.2\n")


def jaffe_stranger(album: Album) -> None:
    jaffe(album)
    album.write("jaffe/KA.XX1.39.tiff", 1)


@pytest.mark.parametrize(
    ("name", "write", "words"),
    [
        ("affectnet", spoilt_npy, "0_exp.npy: not an AffectNet annotation"),
        ("affectnet", object_npy, "0_exp.npy: not an AffectNet annotation"),
        ("affectnet", wrong_affectnet_code, "0_exp.npy: not an AffectNet expression"),
        ("affectnet", wrong_affectnet_row, "validation.csv: not a picture with an AffectNet expression"),
        ("affectnet", affectnet_without_column, "training.csv lacks a column"),
        ("rafdb", wrong_raf_code, "not RAF-DB labels\n  given:   8"),
        ("rafdb", wrong_raf_name, "line 2: not a RAF-DB row"),
        ("rafdb", raf_without_column, "train_labels.csv lacks a column"),
        ("affectnet-hq", hq_without_column, "labels.csv lacks a column"),
        ("rafdb", raf_torn, "train_labels.csv is not a table"),
        ("affectnet-hq", hq_empty, "labels.csv is not a table"),
        ("affectnet-hq", hq_without_label, "labels.csv, line 3: no path or no label"),
        ("jaffe", jaffe_stranger, "KA.XX1.39.tiff"),
    ],
)
def test_spoilt_annotations_are_named(name: str, write: Callable[[Album], None], words: str, tmp_path: Path) -> None:
    write(Album(tmp_path))
    with pytest.raises(DataError) as caught:
        load(name, tmp_path)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,label\na.png,happy\n", "lacks the columns path"),
        ("file,label\na.png,happy\n", "columns={path: file}"),
        ("stimulus,label\na.png,happy\n", "columns={path: NAME}"),
        ("path,label\na.png,\n", "no row has a label"),
        ("path,label\n,happy\n", "rows without path"),
        ("path,label,split\na.png,happy,dev\n", "unknown split names"),
        ("path,label\na.png,hapy\n", "not known expressions"),
        ("path,lable\na.png,happy\n", "did you mean 'label'"),
        ("path,label,Subjekt\na.png,happy,anna\n", "did you mean 'subject'"),
        ("path,label,spilt\na.png,happy,train\n", "did you mean 'split'"),
        ("path,label,Label\na.png,happy,happy\n", "has a column twice"),
        ("", "not a readable list"),
        ('path,label\n"a.png,happy\n', "not a readable list"),
        ("path,label\n", "no pictures"),
        ("path,label\na.png,happy\nb.png,sad\n./a.png,sad\n", "a.png: data rows 1, 3"),
    ],
)
def test_a_wrong_manifest_says_what_is_wrong(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(MienError) as caught:
        load("manifest", path)
    assert words in str(caught.value)


LISTED = "image,emotion,participant,path\na.png,happy,anna,x/1\nb.png,sad,ben,x/2\n"


def test_a_list_with_columns_of_other_names_is_mapped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "list.csv"
    path.write_text(LISTED)
    (tmp_path / "a.png").touch()
    columns = {"path": "Image", "label": "emotion", "subject": "participant"}
    rows = load("manifest", path, columns=columns).table
    assert rows[["image", "label", "subject"]].to_numpy().tolist() == [
        ["a.png", "happiness", "anna"],
        ["b.png", "sadness", "ben"],
    ]
    assert "columns that are not read: path" in caplog.text
    load("manifest", path, columns={"path": "image", "label": "emotion"})
    assert "columns={subject: participant} reads people" in caplog.text


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({}, "lacks the columns label"),
        ({}, "columns={label: emotion, subject: participant}"),
        ({"label": "emotions"}, "no such column\n  given:   emotions\n  allowed: image, emotion, participant, path"),
        ({"lable": "emotion"}, "did you mean 'label'"),
        ("emotion", "option 'columns'"),
    ],
)
def test_a_map_of_columns_that_cannot_be_is_refused(columns: object, words: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(LISTED)
    with pytest.raises(MienError) as caught:
        load("manifest", tmp_path / "list.csv", columns=columns)
    assert words in str(caught.value)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("first", ["", "sep={}\r\n"])
def test_lists_as_spreadsheets_save_them_are_read(first: str, delimiter: str, coding: str, tmp_path: Path) -> None:
    lines = [["path", "label", "subject"], ["fröhlich, 1.png", "happy", "Jörg"], ["b.png", "sad", "Ann"]]
    quoted = [delimiter.join(f'"{each}"' if delimiter in each else each for each in line) for line in lines]
    (tmp_path / "list.csv").write_bytes((first.format(delimiter) + "\r\n".join(quoted)).encode(coding))
    (tmp_path / "b.png").touch()
    rows = load("manifest", tmp_path / "list.csv").table
    assert rows[["image", "label", "subject"]].to_numpy().tolist() == [
        ["fröhlich, 1.png", "happiness", "Jörg"],
        ["b.png", "sadness", "Ann"],
    ]


def test_rows_without_a_label_are_counted_and_in_no_part(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "list.csv"
    path.write_text("path,label,split\na.png,happy,train\nb.png,,train\nc.png,sad,test\nd.png,grumpy,test\n")
    (tmp_path / "a.png").touch()
    samples = load("manifest", path, rename={"grumpy": None})
    assert "1 row without label, first data row 2" in caplog.text
    assert samples.labels == ("happiness", "sadness")
    counts = stats(samples).counts
    assert counts["none"] == {"train": 0, "test": 0, "none": 1} and len(samples) == 3


@pytest.mark.parametrize("coding", ["cp1252", "utf-16"])
def test_a_list_in_another_coding_says_how_to_save_it(coding: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes("path;label;subject\na.png;happy;Jörg\n".encode(coding))
    with pytest.raises(DataError, match=r"not UTF-8[\s\S]*save it as UTF-8"):
        load("manifest", tmp_path / "list.csv")


def test_names_of_the_users_own_mean_what_they_say(tmp_path: Path) -> None:
    album = Album(tmp_path)
    for name in ("Grumpy", "happy", "Confused"):
        album.write(f"{name}/1.png", 60)
    (tmp_path / "list.csv").write_text("path,label\nGrumpy/1.png,Grumpy\nhappy/1.png,happy\nConfused/1.png,confused\n")
    own = {"grumpy": "angry", "Confused": None}
    for source, root in (("folders", tmp_path), ("manifest", tmp_path / "list.csv")):
        samples = load(source, root, rename=own)
        assert samples.labels == ("anger", "happiness")
        assert sorted(zip(samples.table["image"], samples.table["label"], strict=True)) == [
            ("Grumpy/1.png", "anger"),
            ("happy/1.png", "happiness"),
        ]
        with pytest.raises(UsageError, match="rename=") as caught:
            load(source, root, rename={"Grumpy": "anger"})
        assert "onfused" in str(caught.value)


def test_folders_named_by_numbers_and_other_letters_are_renamed(tmp_path: Path) -> None:
    for name in ("0", "Fro\u0308hlich"):
        Album(tmp_path).write(f"{name}/1.png", 60)
    assert load("folders", tmp_path, rename={0: "anger", "fr\u00f6hlich": "happy"}).labels == ("anger", "happiness")


def test_classes_of_the_users_own_stand_beside_the_expressions(tmp_path: Path) -> None:
    for name in ("Pain", "happy", "neutral", "Very bored"):
        Album(tmp_path).write(f"{name}/1.png", 60)
    (tmp_path / "list.csv").write_text("path,label\nPain/1.png,pain\nhappy/1.png,HAPPY\nVery bored/1.png,Very Bored\n")
    options = {"own_labels": ["boredom", "pain"], "rename": {"very bored": "boredom"}}
    assert load("folders", tmp_path, **options).labels == ("happiness", "neutral", "boredom", "pain")
    rows = load("manifest", tmp_path / "list.csv", **options).table
    assert list(rows["label"]) == ["pain", "happiness", "boredom"]
    with pytest.raises(UsageError, match=r"own_labels=\[boredom\]"):
        load("folders", tmp_path, own_labels=["pain"])


@pytest.mark.parametrize(
    ("option", "own", "words"),
    [
        ("own_labels", ["grumpy", "bored"], "labels that are not there"),
        ("own_labels", ["grumpy", "Angry"], "names of the eight expressions"),
        ("own_labels", ["grumpy", "Bored!"], "names that no class can have"),
        ("own_labels", ["grumpy", "minority"], "names that no class can have"),
        ("own_labels", ["grumpy", "grumpy"], "a label twice"),
        ("own_labels", "grumpy", "option 'own_labels'"),
        ("rename", {"Grumpy": "anger", "Bored": None}, "names that are not there"),
        ("rename", {"Grumpy": "angr"}, "did you mean 'ang"),
        ("rename", {"Grumpy": "anger", "grumpy": "fear"}, "has a label name twice"),
        ("rename", {False: "anger"}, "put the name in quotes"),
        ("rename", {"Grumpy": None, "happy": None}, "leaves all pictures out"),
        ("rename", "anger", "option 'rename'"),
    ],
)
def test_a_name_of_the_users_own_that_cannot_be_is_refused(
    option: str, own: object, words: str, tmp_path: Path
) -> None:
    for name in ("Grumpy", "happy"):
        Album(tmp_path).write(f"{name}/1.png", 60)
    with pytest.raises(UsageError) as caught:
        load("folders", tmp_path, **{option: own})
    assert words in str(caught.value)


def test_an_empty_list_does_not_send_to_a_command_that_says_the_same(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,label\n")
    with pytest.raises(DataError) as caught:
        load("manifest", tmp_path / "list.csv")
    assert "an empty list" in str(caught.value) and "data stats" not in str(caught.value)


def test_a_list_that_stands_elsewhere_than_its_pictures_says_where_they_are_sought(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,label\nfaces/a.png,happy\nfaces/b.png,sad\n")
    with pytest.raises(DataError, match=r"none of the 2 pictures[\s\S]*faces/a.png[\s\S]*relative to the folder"):
        load("manifest", tmp_path / "list.csv")
    Album(tmp_path).write("faces/b.png", 60)
    assert len(load("manifest", tmp_path / "list.csv")) == 2, "what is missing of others is told where they are read"


def test_columns_of_the_users_own_are_let_be(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("path,label,labels,subject,subject_id,age\na.png,happy,2,anna,7,30\n")
    (tmp_path / "a.png").touch()
    assert load("manifest", path).table["subject"].tolist() == ["anna"]


def test_people_called_na_and_none_are_people(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("path,label,subject\na.png,happy,NA\nb.png,sad,None\nc.png,sad,\n")
    (tmp_path / "a.png").touch()
    assert load("manifest", path).table["subject"].astype(object).where(lambda name: name.notna(), None).tolist() == [
        "NA",
        "None",
        None,
    ]


def test_a_file_name_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    Album(tmp_path).picture("happy/a.png", "happiness")
    try:
        (tmp_path / "happy" / "caf\udce9.png").touch()
    except (OSError, UnicodeEncodeError):
        pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(DataError, match=r"not UTF-8[\s\S]*caf\\xe9\.png[\s\S]*rename"):
        load("folders", tmp_path)


def test_a_source_without_options_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="allowed: none"):
        load("jaffe", tmp_path, mode="votes")


@pytest.mark.parametrize("spelt", ["./{}", ".\\{}", "{root}/{}", ".//{}"])
def test_a_picture_has_one_name_however_a_list_spells_it(tmp_path: Path, spelt: str) -> None:
    album = Album(tmp_path)
    names = ["in/a.png", "in/b.png"]
    for name in names:
        album.write(name, 1)
    rows = [
        f"{spelt.format(name, root=tmp_path)},{label}\n" for name, label in zip(names, ("sad", "happy"), strict=True)
    ]
    album.text("list.csv", "path,label\n" + "".join(rows))
    assert load("manifest", tmp_path / "list.csv").table["image"].tolist() == names


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("label,path\nhappy,0.png,\nsad,1.png,\n", "more fields than the header"),
        ("path,label,subject\n0.png,happy,a,\n1.png,sad,b,\n", "more fields than the header"),
        (f"path,label\n{'0 ' * 300},happy\n", "is there"),
    ],
)
def test_a_list_of_another_shape_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        load("manifest", tmp_path / "list.csv")
