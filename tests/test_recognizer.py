import io
import json
import os
import pickle
import signal
import subprocess
import sys
import time
import zlib
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as shapes

import mien
from mien.errors import BundleError, DataError, MienError, UnreadableImage, UsageError
from mien.imaging.chain import Chain
from mien.imaging.decode import decode, encode_png
from mien.imaging.faces import Face, YuNetDetector
from mien.runtime import bundle as bundles
from mien.runtime.recognizer import Recognizer

DRAW = np.random.default_rng(7)


class Told:
    """A detector that answers with the faces it was told, whatever the picture."""

    name = "told"

    def __init__(self, *faces: Face) -> None:
        self.faces = faces

    def __call__(self, image):
        return list(self.faces)


def picture(*shape):
    return DRAW.integers(0, 256, shape, np.uint8)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tiny.bundle(tmp_path_factory.mktemp("bundle") / "tiny.onnx")


@pytest.fixture(scope="module")
def whole(path):
    return Recognizer(path, crop="whole")


def answers(results):
    return np.array([list(face.probabilities.values()) for result in results for face in result.faces])


@settings(max_examples=30, deadline=None)
@given(
    image=shapes.arrays(
        np.uint8,
        st.one_of(
            st.tuples(st.integers(1, 90), st.integers(1, 90)),
            st.tuples(st.integers(1, 90), st.integers(1, 90), st.just(3)),
        ),
    )
)
def test_any_picture_gets_a_distribution_and_its_likeliest_expression(whole, image):
    ((face,),) = (result.faces for result in whole.analyze([image]))
    assert sum(face.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert face.expression == max(face.probabilities, key=face.probabilities.get)
    assert face.confidence == max(face.probabilities.values())
    assert face.box == (0, 0, image.shape[1], image.shape[0])


@pytest.mark.parametrize("batch", [1, 2, 5, 64])
def test_the_batch_changes_no_answer(path, batch):
    pictures = [picture(60, 50), picture(48, 48, 3), picture(1, 1), picture(200, 30), picture(64, 64)]
    one_by_one = np.concatenate([answers(Recognizer(path, crop="whole").analyze(one)) for one in pictures])
    together = answers(Recognizer(path, crop="whole", batch=batch).analyze(pictures))
    np.testing.assert_allclose(together, one_by_one, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "count"),
    [
        (picture(48, 48), 1),
        (picture(48, 48, 3), 1),
        (picture(4, 48, 40), 4),
        (picture(4, 48, 40, 3), 4),
        ([picture(48, 48), picture(20, 30, 3)], 2),
        ([], 0),
        (np.zeros((0, 48, 48), np.uint8), 0),
    ],
)
def test_one_picture_several_or_a_batch(whole, given, count):
    results = whole.analyze(given)
    assert [result.error for result in results] == [None] * count
    assert all(len(result.faces) == 1 for result in results)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros(5, np.uint8),
        np.zeros((1, 2, 3, 4, 5), np.uint8),
        np.zeros((0, 40), np.uint8),
        np.zeros((48, 40, 3)),
        np.zeros((2, 48, 40, 3), np.float32),
        picture(48, 40, 4),
        picture(48, 40, 1),
        picture(48, 40, 2),
        picture(2, 48, 40, 4),
    ],
    ids=lambda wrong: f"{wrong.dtype}-{wrong.shape}",
)
def test_an_array_that_is_no_picture_is_refused_alone_and_told_among_several(whole, wrong):
    with pytest.raises(UsageError, match="not a picture"):
        whole.analyze(wrong)
    first, second = whole.analyze([wrong, picture(48, 48)])
    assert first.error.startswith("picture 0: not a picture") and second.faces


def test_a_stream_of_one_picture_is_one_picture(whole):
    assert len(list(whole.stream(np.zeros((50, 60, 3), np.uint8)))) == 1
    (only,) = whole.stream("no such picture.png")
    assert only.source == "no such picture.png" and only.error


@pytest.mark.parametrize("wrong", [np.zeros((9, 9, 3)), np.zeros((9, 9), np.uint16), picture(9, 9, 4), [[1, 2]], 5])
def test_what_is_no_picture_is_told_before_faces_are_searched(path, wrong):
    first, second = Recognizer(path, detector=Told(Face((0, 0, 9, 9)))).analyze([wrong, picture(48, 48)])
    assert first.error.startswith("picture 0: not a picture; given: ") and not first.faces
    assert second.error is None and len(second.faces) == 1


@pytest.mark.parametrize("wrong", [None, 5, bytearray(9), io.BytesIO(b"a file")])
def test_what_is_neither_a_picture_nor_several_is_refused(whole, wrong):
    with pytest.raises(UsageError, match="not a picture"):
        whole.analyze(wrong)


def test_faces_are_cut_out_largest_first_and_keep_their_picture(path):
    small, large = Face((10, 10, 30, 30), 0.8), Face((50, 40, 60, 60), 0.9, np.ones((5, 2), np.float32))
    first, second = Recognizer(path, detector=Told(small, large), batch=3).analyze(
        [picture(120, 130), picture(90, 99, 3)]
    )
    assert [face.box for face in first.faces] == [large.box, small.box]
    assert [face.score for face in second.faces] == [0.9, 0.8]
    assert first.faces[0].landmarks == ((1.0, 1.0),) * 5 and first.faces[1].landmarks is None
    assert (first.width, first.height, second.width, second.height) == (130, 120, 99, 90)
    assert json.loads(json.dumps(asdict(first)))["faces"][0]["box"] == list(large.box)
    assert first.faces[0].probabilities != second.faces[0].probabilities


def test_a_face_whose_numbers_are_none_costs_no_other(path):
    nan, box = float("nan"), (10.0, 10.0, 30.0, 30.0)
    odd = [Face((nan, 0, 9, 9)), Face((0, 0, float("inf"), 9)), Face(box, nan), Face(box, 1.0, np.full((5, 2), nan))]
    results = Recognizer(path, detector=Told(*odd, Face(box, 0.9))).analyze([picture(60, 60), picture(70, 70)])
    assert [[face.score for face in result.faces] for result in results] == [[0.9], [0.9]]


def test_a_picture_without_a_face_is_an_answer(path):
    (result,) = Recognizer(path, detector=Told()).analyze(picture(50, 50))
    assert result.faces == () and result.error is None


def test_a_face_that_the_chain_cannot_use_costs_no_other(tmp_path, monkeypatch):
    told = Told(Face((10.0, 10.0, 60.0, 60.0), 0.9), Face((70.0, 70.0, 40.0, 40.0), 0.8))
    recognizer = Recognizer(tiny.bundle(tmp_path / "b.onnx"), detector=told)
    image = picture(130, 120)
    (whole,) = recognizer.analyze(image)
    run, cuts = Chain.run, []

    def failing(chain, cut):
        cuts.append(cut.shape)
        if len(cuts) == 1:
            raise DataError("no-face in the picture")
        return run(chain, cut)

    monkeypatch.setattr(Chain, "run", failing)
    (result,) = recognizer.analyze(image)
    assert result.error is None and result.faces == whole.faces[1:]


def test_the_answer_follows_the_bundles_own_chain_temperature_and_mirror(tmp_path):
    image = picture(70, 70, 3)
    chain = ["grey", {"resize": 48}, "equalise", {"normalise": "half"}]
    file = tiny.bundle(tmp_path / "b.onnx", chain=chain, temperature=2.5, flip=True)
    loaded = bundles.load(file)
    tensor = loaded.chain.tensor(loaded.chain.run(image).pixels[None])
    views = [np.ascontiguousarray(view) for view in (tensor, tensor[..., ::-1])]
    logits = np.mean([loaded.session.run(None, {bundles.INPUT: view})[0][0] for view in views], axis=0)
    expected = np.exp(logits / 2.5) / np.exp(logits / 2.5).sum()
    np.testing.assert_allclose(answers(Recognizer(loaded, crop="whole").analyze(image))[0], expected, atol=1e-6)


def test_a_mirrored_picture_has_the_same_answer_under_flip(tmp_path):
    recognizer = Recognizer(tiny.bundle(tmp_path / "b.onnx", flip=True), crop="whole")
    image = picture(48, 48)
    a, b = answers(recognizer.analyze([image, np.ascontiguousarray(image[:, ::-1])]))
    np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("threshold", [None, 0.0, 0.3, 1.0])
def test_uncertain_means_below_the_bundles_threshold(tmp_path, threshold):
    recognizer = Recognizer(tiny.bundle(tmp_path / "b.onnx", uncertain_below=threshold), crop="whole")
    for result in recognizer.analyze(picture(16, 48, 48)):
        (face,) = result.faces
        assert face.uncertain == (threshold is None or face.confidence < threshold)


def bomb() -> bytes:
    """A PNG header of 20,000 x 20,000 pixels, with little behind it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)

    size = (20_000).to_bytes(4)
    head = chunk(b"IHDR", size + size + bytes([8, 0, 0, 0, 0]))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(20_001))) + chunk(b"IEND", b"")


def test_a_download_folder_is_read_to_its_end(whole, tmp_path):
    good = picture(50, 60, 3)
    _, deep = cv2.imencode(".png", picture(40, 40).astype(np.uint16) * 257)
    _, clear = cv2.imencode(".png", picture(40, 40, 4))
    content = {
        "plain.png": encode_png(good),
        "with space é 顔.png": encode_png(good),
        "deep.png": deep.tobytes(),
        "clear.png": clear.tobytes(),
        "dot.png": encode_png(good[:1, :1]),
        "empty.jpg": b"",
        "half.png": encode_png(good)[:2000],
        "text.jpg": b"hello",
        "bomb.png": bomb(),
    }
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "lost.png").symlink_to(tmp_path / "nowhere")
    names = [*content, "lost.png", "absent.png", "plain.png"]
    results = whole.analyze([tmp_path / name for name in names])
    broken = {Path(result.source).name for result in results if result.error}
    assert broken == {"empty.jpg", "half.png", "text.jpg", "bomb.png", "lost.png", "absent.png"}
    assert all(result.source in result.error for result in results if result.error)
    assert results[0].faces == results[-1].faces == results[1].faces


def test_load_and_analyze_are_at_the_top(path):
    image = picture(48, 48)
    (once,) = mien.load(path, crop="whole").analyze(image)
    assert mien.analyze(image, model=path, crop="whole") == [once]
    with pytest.raises(AttributeError, match="analyse"):
        mien.analyse


@pytest.mark.parametrize(
    "wrong",
    [
        {"crop": "half"},
        {"batch": 0},
        {"batch": 2.5},
        {"batch": True},
        {"threads": "2"},
        {"threads": 100_000},
        {"workers": 100_000},
        {"detector": "eyes"},
        {"detector": None},
    ],
)
def test_wrong_options_are_refused(path, wrong):
    with pytest.raises(UsageError):
        mien.load(path, **wrong)


@pytest.mark.parametrize(
    ("detector", "name"), [("haar", "haar"), ("viola-jones", "viola-jones"), (lambda image: [], "own")]
)
def test_a_recogniser_says_what_finds_faces(path, detector, name):
    assert Recognizer(path, detector=detector).detector == name
    assert Recognizer(path, crop="whole").detector is None


def test_the_bytes_of_a_file_and_whatever_names_one_are_pictures(whole, tmp_path):
    sent, place = encode_png(picture(50, 60)), tmp_path / "a.png"
    place.write_bytes(sent)
    (entry,) = os.scandir(tmp_path)
    (alone,) = whole.analyze(sent)
    assert alone.source == "picture 0" and alone.width == 60
    found = whole.analyze([sent, b"no picture", entry, str(place)])
    assert found[1].error and [result.source for result in found[2:]] == [str(place)] * 2
    assert found[0].faces == alone.faces == found[2].faces == found[3].faces


@pytest.mark.parametrize("options", [{"crop": "whole", "batch": 5}, {"detector": "haar", "threads": 2, "workers": 3}])
def test_a_recogniser_goes_to_another_process(path, options):
    image = picture(90, 80, 3)
    first = Recognizer(path, **options)
    there = pickle.loads(pickle.dumps(first))
    assert there.analyze(image) == first.analyze(image)
    assert (there.batch, there.workers, there.detector) == (first.batch, first.workers, first.detector)
    assert there.bundle.threads == first.bundle.threads == options.get("threads", 1)


def test_what_auto_means_here_goes_to_another_process(path, monkeypatch):
    monkeypatch.setattr("mien.imaging.faces.models.present", lambda name: None)
    sent = pickle.dumps(Recognizer(path))
    monkeypatch.setattr("mien.imaging.faces.models.present", lambda name: "there")
    assert pickle.loads(sent).detector == "haar"


def test_a_bundle_that_was_replaced_does_not_go_to_another_process(tmp_path):
    place = tiny.bundle(tmp_path / "a.onnx")
    sent = pickle.dumps(Recognizer(place, crop="whole"))
    tiny.bundle(place, temperature=2.0)
    with pytest.raises(BundleError, match="not the bundle any more"):
        pickle.loads(sent)


def test_a_network_that_answers_no_numbers_is_told(tmp_path):
    path = tiny.bundle(tmp_path / "nan.onnx", weight=np.nan)
    with pytest.raises(BundleError, match="numbers that are none"):
        mien.load(path, crop="whole").analyze(picture(48, 48))


def test_a_picture_that_memory_cannot_hold_is_told_and_the_rest_goes_on(path):
    def detect(image):
        if image.shape == (50, 50):
            raise MemoryError
        return []

    first, second = Recognizer(path, detector=detect).analyze([picture(50, 50), picture(48, 48)])
    assert "too large for the memory" in first.error and second.error is None


def test_a_picture_that_nobody_foresaw_is_told_with_the_place_and_the_rest_goes_on(path):
    def detect(image):
        return [[][0]] if image.shape == (50, 50) else []

    first, second = Recognizer(path, detector=detect).analyze([picture(50, 50), picture(48, 48)])
    assert "unexpected IndexError in " in first.error and second.error is None


def test_an_unknown_file_is_refused():
    with pytest.raises(BundleError):
        mien.load("nowhere/x.onnx")


def test_using_a_model_needs_no_training_library(path):
    code = f"""
import sys
import time
for name in ("torch", "pandas", "sklearn", "matplotlib", "av", "pyarrow", "supervision", "PIL"):
    sys.modules[name] = None
import numpy, mien
assert not {{"cv2", "onnxruntime"}} & set(sys.modules)
(result,) = mien.analyze(numpy.zeros((48, 48), numpy.uint8), model={str(path)!r}, crop="whole")
assert result.faces
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("missing", ["keep", "drop"])
def test_a_chain_that_finds_the_face_sees_what_it_saw_in_training(tmp_path, shared, missing):
    chain = ["grey", {"detect-face": {"detector": "viola-jones", "missing": missing, "margin": 0.1}}, {"resize": 48}]
    recognizer = Recognizer(tiny.bundle(tmp_path / "finds.onnx", chain=chain))
    compared = 0
    for path in sorted((shared / "data" / "portraits" / "images").iterdir())[:20]:
        image = decode(path)
        found = recognizer.detect(image)
        if found:
            compared += 1
            np.testing.assert_array_equal(
                recognizer.prepare(image, found[0]), recognizer.bundle.chain.run(image).pixels
            )
        assert len(recognizer.analyze(image)[0].faces) == len(found)
    assert compared >= 15


@pytest.mark.parametrize("detector", ["haar", "yunet"])
def test_the_step_that_frames_a_face_crops_as_the_recogniser_does(tmp_path, shared, monkeypatch, detector):
    monkeypatch.setenv("MIEN_MODELS", str(shared / "models"))
    recognizer = Recognizer(tiny.bundle(tmp_path / "plain.onnx"), detector=detector)
    chain = Chain.parse([{"frame-face": {"detector": detector, "missing": "drop"}}, *recognizer.bundle.info.chain])
    framed = 0
    for path in sorted((shared / "data" / "portraits" / "images").iterdir())[:12]:
        image = decode(path)
        found, made = recognizer.detect(image), chain.run(image).pixels
        assert (made is None) == (not found)
        if found:
            framed += 1
            np.testing.assert_array_equal(made, recognizer.prepare(image, found[0]))
    assert framed >= 10


@pytest.mark.parametrize("missing", ["keep", "drop"])
def test_a_face_whose_eyes_are_not_found_is_not_answered_from_the_whole_picture(tmp_path, missing):
    chain = ["grey", {"align": {"size": 48, "detector": "viola-jones", "missing": missing}}]
    faces = [Face((20.0 * place, 10.0, 20.0, 20.0)) for place in range(3)]
    recognizer = Recognizer(tiny.bundle(tmp_path / "aligns.onnx", chain=chain), detector=Told(*faces))
    image = picture(60, 90)
    if missing == "drop":
        assert not recognizer.analyze(image)[0].faces
        return
    answers = [tuple(face.probabilities.values()) for face in recognizer.analyze(image)[0].faces]
    assert len(set(answers)) == 3
    np.testing.assert_array_equal(
        recognizer.prepare(image, faces[1]), Chain.parse(["grey", {"resize": 48}]).run(image[10:30, 20:40]).pixels
    )


def test_a_file_that_the_chain_needs_is_missed_at_once_and_not_picture_by_picture(tmp_path, monkeypatch):
    for name in ("MIEN_MODELS", "MIEN_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "empty"))
    file = tiny.bundle(tmp_path / "it.onnx", chain=["grey", {"align": {"size": 48, "detector": "yunet"}}])
    for options in ({}, {"crop": "whole"}):
        with pytest.raises(MienError, match="yunet"):
            Recognizer(file, **options)
    assert Recognizer(file, detector="haar").analyze(picture(50, 50))[0].error is None


@pytest.mark.parametrize(("detector", "least"), [("yunet", 38), ("haar", 37)])
def test_portraits_have_faces(path, shared, detector, least):
    found = YuNetDetector(next((shared / "models").glob("*yunet*.onnx"))) if detector == "yunet" else detector
    portraits = sorted((shared / "data" / "portraits" / "images").iterdir())[:40]
    results = Recognizer(path, detector=found).analyze(portraits)
    assert sum(bool(result.faces) for result in results) >= least


@pytest.mark.parametrize("workers", [1, 3, None])
def test_the_workers_change_no_answer_and_no_order(path, tmp_path, workers):
    files = [tmp_path / f"{number}.png" for number in range(40)]
    for number, file in enumerate(files):
        file.write_bytes(b"" if number % 9 == 0 else encode_png(picture(30 + number, 50)))
    given = [file if number % 7 else decode_or_absent(file) for number, file in enumerate(files)]
    one_by_one = [Recognizer(path, crop="whole").analyze([item])[0] for item in given]
    together = Recognizer(path, crop="whole", workers=workers).analyze(given)
    assert [result.error for result in together] == [result.error for result in one_by_one]
    assert [(result.width, result.height) for result in together] == [(one.width, one.height) for one in one_by_one]
    assert np.allclose(answers(together), answers(one_by_one), atol=1e-5)


def decode_or_absent(file):
    try:
        return decode(file)
    except UnreadableImage:
        return file


def test_an_array_that_is_filled_anew_keeps_its_answer_beside_files(path, tmp_path):
    whole = Recognizer(path, crop="whole", workers=2)
    file, shown = tmp_path / "one.png", np.zeros((48, 48), np.uint8)
    file.write_bytes(encode_png(picture(48, 48)))

    def reused():
        for level in range(0, 250, 25):
            shown[:] = level
            shown[:24] = 250 - level
            yield shown
            yield file

    alone = [whole.analyze([item.copy() if isinstance(item, np.ndarray) else item])[0].faces for item in reused()]
    assert [result.faces for result in whole.stream(reused())] == alone


def test_no_more_pictures_are_read_than_the_workers_and_a_batch_need(path, tmp_path):
    (tmp_path / "one.png").write_bytes(encode_png(picture(48, 48)))
    asked = 0

    def endless():
        nonlocal asked
        while True:
            asked += 1
            yield tmp_path / "one.png"

    results = Recognizer(path, crop="whole", batch=4, workers=2).stream(endless())
    for _ in range(8):
        next(results)
    results.close()
    assert asked <= 8 + 2 * 2


def test_arrays_are_answered_as_they_come(path):
    drawn = 0

    def live():
        nonlocal drawn
        while True:
            drawn += 1
            yield picture(48, 48)

    results = Recognizer(path, crop="whole", batch=1, workers=8).stream(live())
    next(results)
    results.close()
    assert drawn == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_that_was_forked_off_has_workers_of_its_own(path, tmp_path):
    (tmp_path / "one.png").write_bytes(encode_png(picture(48, 48)))
    recognizer = Recognizer(path, crop="whole", workers=2)
    recognizer.analyze([tmp_path / "one.png"] * 3)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if len(recognizer.analyze([tmp_path / "one.png"] * 3)) == 3 else 1
        finally:
            os._exit(code)
    for _ in range(2400):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        time.sleep(0.05)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert ended and status == 0


def test_a_model_by_path_is_that_of_its_folder_and_of_now(tmp_path, monkeypatch):
    face, turned = np.zeros((48, 48), np.uint8), tiny.LABELS[::-1]
    for name, labels in (("one", tiny.LABELS), ("other", turned)):
        (tmp_path / name).mkdir()
        tiny.bundle(tmp_path / name / "m.onnx", labels=labels)
        monkeypatch.chdir(tmp_path / name)
        assert tuple(mien.analyze(face, model="m.onnx", crop="whole")[0].faces[0].probabilities) == labels
    (tmp_path / "one" / "m.onnx").replace(tmp_path / "other" / "m.onnx")
    assert tuple(mien.analyze(face, model="m.onnx", crop="whole")[0].faces[0].probabilities) == tiny.LABELS


def test_a_detector_of_ones_own_may_answer_in_numbers_of_numpy(path):
    found = Face(tuple(np.float32([5, 5, 30, 30])), np.float32(0.5))
    (result,) = Recognizer(path, detector=lambda image: [found]).analyze(np.zeros((48, 48), np.uint8))
    assert json.loads(json.dumps(asdict(result)))["faces"][0]["box"] == [5, 5, 30, 30]
