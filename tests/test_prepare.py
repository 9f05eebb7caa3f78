"""Prepared pixels: the chain's own result, cached whole or not at all."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import full_disk, line_of

from mien.data.prepare import HALF_BUILT_AFTER, pixel_digest, prepare
from mien.data.samples import Files, Rows, Samples, table
from mien.errors import DataError
from mien.files import replacing
from mien.imaging import operations
from mien.imaging.chain import Chain
from mien.imaging.decode import encode_png

CHAIN = Chain.parse(["grey", {"resize": 16}, "clahe"])
LABELS = ("happiness", "neutral")


def _samples(root: Path, names: list[str]) -> Samples:
    return Samples(table(names, ["happiness"] * len(names), source="folders"), LABELS, Files(root))


@pytest.fixture
def pictures(tmp_path) -> Samples:
    root = tmp_path / "faces"
    root.mkdir()
    names = [f"{i:03}.png" for i in range(70)]
    for i, name in enumerate(names):
        shape = (20 + i % 3, 24) if i % 2 else (20, 24, 3)
        (root / name).write_bytes(encode_png(np.random.default_rng(i).integers(0, 256, shape, np.uint8)))
    return _samples(root, names)


def test_rows_are_what_the_chain_makes_of_each_picture_in_order(pictures, tmp_path):
    prepared = prepare(pictures, CHAIN, tmp_path / "cache")
    assert isinstance(prepared.pixels, np.memmap) and prepared.pixels.dtype == np.uint8
    assert prepared.pixels.shape == (70, 16, 16) and prepared.ok.all() and not len(prepared.problems)
    for row, image in enumerate(pictures.table["image"]):
        decoded = pictures.reader.read(image)
        np.testing.assert_array_equal(prepared.pixels[row], CHAIN.run(decoded).pixels)
        assert prepared.digests[row] == pixel_digest(decoded)
        assert tuple(prepared.sizes[row]) == decoded.shape[:2]


def test_a_second_run_reuses_the_first(pictures, tmp_path):
    first = prepare(pictures, CHAIN, tmp_path / "cache")
    for image in (tmp_path / "faces").iterdir():
        state = image.stat()
        image.write_bytes(b"x" * state.st_size)
        os.utime(image, ns=(state.st_atime_ns, state.st_mtime_ns))
    seen = []
    second = prepare(pictures, CHAIN, tmp_path / "cache", progress=lambda *at: seen.append(at))
    np.testing.assert_array_equal(first.pixels, second.pixels)
    np.testing.assert_array_equal(first.digests, second.digests)
    assert seen == [(70, 70)]


def test_another_chain_a_changed_picture_or_other_rows_are_made_anew(pictures, tmp_path):
    cache = tmp_path / "cache"
    prepare(pictures, CHAIN, cache)
    prepare(pictures, Chain.parse(["grey", {"resize": 16}]), cache)
    prepare(pictures.take([3, 1]), CHAIN, cache)
    (tmp_path / "faces" / "005.png").write_bytes(encode_png(np.zeros((9, 9), np.uint8)))
    changed = prepare(pictures, CHAIN, cache)
    assert len(list((cache / "prepared").iterdir())) == 4
    assert changed.digests[5] == pixel_digest(np.zeros((9, 9), np.uint8))


def test_unreadable_pictures_are_listed_and_the_rest_goes_on(pictures, tmp_path):
    root = tmp_path / "faces"
    (root / "000.png").write_bytes(b"")
    (root / "002.png").write_bytes(b"not a picture")
    (root / "004.png").unlink()
    for _ in "built", "from the cache":
        prepared = prepare(pictures, CHAIN, tmp_path / "cache")
        assert prepared.problems["image"].tolist() == ["000.png", "002.png", "004.png"]
        assert "empty" in prepared.problems["reason"][0]
        assert np.flatnonzero(~prepared.ok).tolist() == [0, 2, 4]
        assert prepared.digests[0] == "" and not prepared.pixels[0].any() and prepared.pixels[1].any()
        assert not prepared.sizes[0].any() and prepared.sizes[1].all()
        with pytest.raises(DataError, match="3 of 70") as caught:
            prepare(pictures, CHAIN, tmp_path / "cache", strict=True)
        assert "002.png" in str(caught.value)


def test_a_picture_that_opencv_refuses_is_a_problem_of_its_row(pictures, tmp_path, monkeypatch):
    whole = operations.grey
    refused = pictures.reader.read("001.png")

    def grey(image):
        return cv2.resize(image, (0, 0)) if image.shape == refused.shape and (image == refused).all() else whole(image)

    monkeypatch.setattr(operations, "grey", grey)
    prepared = prepare(pictures, Chain.parse(["grey", {"resize": 16}]), tmp_path / "cache")
    assert prepared.problems["image"].tolist() == ["001.png"]
    assert prepared.problems["reason"][0].startswith("OpenCV cannot work on it: ")


def test_nothing_readable_is_an_error_and_leaves_nothing(tmp_path):
    with pytest.raises(DataError, match="no picture could be prepared"):
        prepare(_samples(tmp_path, ["absent.png"]), CHAIN, tmp_path / "cache")
    assert list((tmp_path / "cache" / "prepared").iterdir()) == []


def test_a_chain_that_drops_every_picture_is_told_from_a_folder_of_broken_ones(tmp_path):
    (tmp_path / "grey.png").write_bytes(encode_png(np.full((24, 24), 90, np.uint8)))
    dropping = Chain.parse([{"detect-face": {"detector": "viola-jones", "missing": "drop"}}, "grey", {"resize": 16}])
    with pytest.raises(DataError) as caught:
        prepare(_samples(tmp_path, ["grey.png", "absent.png"]), dropping, tmp_path / "cache")
    assert "dropped by the chain: no-face: 1, first grey.png" in str(caught.value)
    assert "missing: keep" in str(caught.value)
    with pytest.raises(DataError, match="mien data stats"):
        prepare(_samples(tmp_path, ["absent.png"]), dropping, tmp_path / "cache")


@pytest.mark.parametrize(("chain", "advice"), [(["grey"], "'resize'"), ([{"resize": 16}], "'grey' or 'colour'")])
def test_pictures_that_end_in_different_shapes_are_refused(pictures, tmp_path, chain, advice):
    with pytest.raises(DataError, match="differ in size") as caught:
        prepare(pictures, Chain.parse(chain), tmp_path / "cache")
    assert "001.png" in str(caught.value) and advice in str(caught.value)
    assert list((tmp_path / "cache" / "prepared").iterdir()) == []


def test_colour_stays_colour_and_progress_counts_to_the_end(pictures, tmp_path):
    seen = []
    prepared = prepare(
        pictures, Chain.parse(["colour", {"resize": [8, 9]}]), tmp_path, progress=lambda *at: seen.append(at)
    )
    assert prepared.pixels.shape == (70, 8, 9, 3)
    assert seen[-1] == (70, 70) and seen == sorted(seen)


def test_pictures_in_memory_have_the_digests_of_their_files(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 48, 48), np.uint8)
    names = ["a.png", "b.png", "c.png"]
    for name, image in zip(names, pixels, strict=True):
        (tmp_path / name).write_bytes(encode_png(np.dstack([image] * 3)))
    rows = Samples(table([f"x#{i}" for i in range(3)], ["neutral"] * 3, source="x"), LABELS, Rows(pixels, "seed 0"))
    from_rows = prepare(rows, Chain(), tmp_path / "cache")
    from_files = prepare(_samples(tmp_path, names), Chain.parse(["grey"]), tmp_path / "cache")
    np.testing.assert_array_equal(from_rows.digests, from_files.digests)
    np.testing.assert_array_equal(from_rows.pixels, pixels)


def test_a_full_disk_names_the_folder_and_what_is_needed(pictures, tmp_path):
    with full_disk(), pytest.raises(DataError, match="cannot write the prepared pictures") as caught:
        prepare(pictures, CHAIN, tmp_path / "cache")
    assert str(tmp_path / "cache") in str(caught.value) and f"{70 * 16 * 16:,} bytes" in str(caught.value)
    assert list((tmp_path / "cache" / "prepared").iterdir()) == []


def test_only_what_cannot_be_written_is_told_as_such(tmp_path):
    place = tmp_path / "out" / "made.txt"
    with pytest.raises(FileNotFoundError, match="gone"), replacing(place):
        (tmp_path / "in" / "gone").read_bytes()
    with pytest.raises(DataError, match=r"cannot write .*made\.txt"), replacing(place) as beside:
        (beside / "within").touch()
    with pytest.raises(DataError, match=r"cannot write .*made\.txt"), replacing(place):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(place.parent.iterdir()) == []


def test_a_killed_build_leaves_nothing_that_counts_and_is_swept_later(pictures, tmp_path):
    script = tmp_path / "build.py"
    script.write_text(
        "import sys, time\nfrom pathlib import Path\nfrom mien.data.prepare import prepare\n"
        "from mien.data.samples import Files, Samples, table\nfrom mien.imaging.chain import Chain\n"
        "root = Path(sys.argv[1])\nnames = sorted(path.name for path in root.iterdir())\n"
        "samples = Samples(table(names, ['happiness'] * len(names), source='folders'), ('happiness',), Files(root))\n"
        "def wait(done, total):\n    print(done, flush=True)\n    time.sleep(60)\n"
        "prepare(samples, Chain.parse(['grey', {'resize': 16}, 'clahe']), Path(sys.argv[2]), progress=wait)\n"
    )
    cache = tmp_path / "cache"
    command = [sys.executable, str(script), str(tmp_path / "faces"), str(cache)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as build:
        assert build.stdout and 0 < int(line_of(build.stdout)) < 70
        build.send_signal(signal.SIGKILL)
    left = list((cache / "prepared").iterdir())
    assert len(left) == 1 and left[0].name.startswith(".")
    long_ago = time.time() - 2 * HALF_BUILT_AFTER
    for path in (*left[0].iterdir(), left[0]):
        os.utime(path, (long_ago, long_ago))
    assert prepare(pictures, CHAIN, cache).ok.all()
    assert [path.name[0] == "." for path in (cache / "prepared").iterdir()] == [False]


def test_two_builds_at_once_end_in_one_cache(pictures, tmp_path):
    results = []
    both = [threading.Thread(target=lambda: results.append(prepare(pictures, CHAIN, tmp_path / "c"))) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    np.testing.assert_array_equal(results[0].pixels, results[1].pixels)
    assert len(list((tmp_path / "c" / "prepared").iterdir())) == 1


def test_opencv_keeps_the_users_threads(pictures, tmp_path):
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        prepare(pictures, CHAIN, tmp_path / "cache")
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)
