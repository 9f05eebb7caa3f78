"""Detection, framing and the steps built on them, on whole portraits and on FER2013's own frames."""

import logging
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.data.prepare import prepare
from mien.data.samples import Files, Samples, table
from mien.errors import DataError, MienError, UsageError
from mien.files import sha256
from mien.imaging import faces as module
from mien.imaging import models
from mien.imaging import steps as module_of_steps
from mien.imaging.chain import Chain
from mien.imaging.decode import decode, encode_png
from mien.imaging.faces import Face, HaarDetector, Search, YuNetDetector, detector_named, largest, roll
from mien.imaging.framing import Framing, frame, measured
from mien.imaging.regions import draw_regions, eyes_of, regions
from mien.imaging.steps import Outcome

FLAT = np.full((120, 100, 3), 90, np.uint8)


@pytest.fixture(scope="module")
def portraits(shared) -> list[np.ndarray]:
    paths = sorted((shared / "data" / "portraits" / "images").glob("*.jpg"))[::24]
    return [decode(path) for path in paths]


@pytest.fixture(scope="module")
def portrait(shared) -> np.ndarray:
    """A frontal face with some picture around it."""
    return decode(shared / "data" / "portraits" / "images" / "George_W_Bush_0503.jpg")


@pytest.fixture
def yunet(shared, monkeypatch) -> YuNetDetector:
    monkeypatch.setenv("MIEN_MODELS", str(shared / "models"))
    return YuNetDetector()


def _landmarks(*points: tuple[float, float]) -> np.ndarray:
    return np.array([*points, (50, 60), (40, 80), (60, 80)], np.float32)


@pytest.mark.parametrize("image", [FLAT, FLAT[:, :, 0], FLAT[:1, :1], FLAT[:30, :25][::-1, ::-1]])
def test_no_detector_finds_a_face_on_a_wall(image, yunet):
    assert HaarDetector()(image) == [] and yunet(image) == []


def test_numbers_without_bounds_are_no_face(yunet, monkeypatch):
    class Wild:
        def setInputSize(self, size):
            pass

        def detect(self, image):
            whole = [10, 10, 30, 30, *[20] * 10, 0.9]
            rows = [whole, [-np.inf, -1e32, np.inf, 0, *[1e32] * 10, 1], [90, 200, 30, 30, *[20] * 10, 0.9]]
            return 1, np.array(rows, np.float32)

    monkeypatch.setattr(yunet, "_network", Wild)
    assert [face.box for face in yunet(FLAT)] == [(10, 10, 30, 30)]


def test_yunet_finds_small_faces_in_a_large_picture_and_a_large_one_once(portraits, yunet):
    crowd = np.full((2400, 3200, 3), 90, np.uint8)
    for place, image in enumerate(portraits[:12]):
        small = cv2.resize(image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), (150, 150))
        row, column = divmod(place, 4)
        crowd[800 * row + 300 : 800 * row + 450, 800 * column + 300 : 800 * column + 450] = small
    found = yunet(crowd)
    places = {(int(face.box[0] // 800), int(face.box[1] // 800)) for face in found}
    assert len(found) == len(places) >= 10
    close = cv2.resize(portraits[0], (2000, 2000), interpolation=cv2.INTER_CUBIC)
    assert len(yunet(close)) == 1


@pytest.mark.parametrize("side", [700, 1500])
def test_yunet_finds_a_face_that_fills_a_picture_of_any_size(shared, yunet, side):
    small = decode(shared / "data" / "portraits" / "images" / "Anna_Jones_0001.jpg")
    (face,), (larger,) = yunet(small), yunet(cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC))
    np.testing.assert_allclose(larger.landmarks, face.landmarks * side / len(small), atol=0.05 * side)


def test_yunet_finds_the_portraits_and_haar_most_of_them(portraits, yunet):
    assert all(yunet(image) for image in portraits)
    assert sum(bool(HaarDetector()(image)) for image in portraits) >= 0.6 * len(portraits)


def test_haar_searches_again_where_it_finds_nothing_and_only_there(shared):
    paths = sorted((shared / "data" / "portraits" / "images").glob("*.jpg"))[:40]
    portraits = [decode(path) for path in paths]
    once, twice = HaarDetector(searches=[Search(1.2, 3)]), HaarDetector()
    first, both = [once(image) for image in portraits], [twice(image) for image in portraits]
    assert [more for one, more in zip(first, both, strict=True) if one] == [one for one in first if one]
    assert sum(map(bool, both)) > sum(map(bool, first))


def test_haar_boxes_of_little_weight_are_dropped(portraits):
    sure = HaarDetector(searches=[Search(1.1, 3, min_weight=5.0)])
    every = HaarDetector(searches=[Search(1.1, 3)])
    found = [(sure(image), every(image)) for image in portraits]
    assert all(set(few) <= set(many) for few, many in found)
    assert 0 < sum(len(few) for few, _ in found) < sum(len(many) for _, many in found)


def test_landmarks_lie_in_their_order_inside_the_box(portraits, yunet):
    for image in portraits:
        face = largest(yunet(image))
        left, right, nose, *mouth = face.landmarks
        assert left[0] < right[0] and max(left[1], right[1]) < nose[1] < min(point[1] for point in mouth)
        x, y, width, height = face.box
        assert (face.landmarks >= (x, y)).all() and (face.landmarks <= (x + width, y + height)).all()
        assert 0 < face.score <= 1


def test_grey_and_colour_pictures_and_views_give_the_same_kind_of_answer(portraits, yunet):
    image = portraits[0]
    for variant in (image[:, :, 0] if image.ndim == 3 else image, image[::1], np.asfortranarray(image)):
        assert len(yunet(variant)) == len(yunet(image)) == 1


def test_boxes_of_a_large_picture_are_in_its_own_pixels(portrait, yunet):
    large = cv2.resize(portrait, None, fx=5, fy=5, interpolation=cv2.INTER_CUBIC)
    for detector in (yunet, HaarDetector()):
        small_face, large_face = largest(detector(portrait)), largest(detector(large))
        # YuNet's box grows less tall on larger faces, and framing does not use its height.
        np.testing.assert_allclose(np.array(large_face.box[:3]) / 5, small_face.box[:3], atol=0.1 * small_face.box[2])


def test_threads_get_the_answers_of_one_after_the_other(portraits, yunet):
    pictures = [image[: 300 + 7 * i] for i, image in enumerate(portraits[:6])]
    for detector in (yunet, HaarDetector()):
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(detector, pictures)) == [detector(image) for image in pictures]


def test_auto_takes_yunet_when_its_file_is_there_and_says_haar_once(shared, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("MIEN_MODELS", str(shared / "models"))
    assert isinstance(detector_named("auto"), YuNetDetector)
    monkeypatch.setenv("MIEN_MODELS", str(tmp_path))
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path))
    module._say_haar.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert all(isinstance(detector_named("auto"), HaarDetector) for _ in range(3))
    assert len(caplog.records) == 1 and "mien models pull yunet" in caplog.text


def test_an_unknown_detector_is_told_the_known_ones():
    with pytest.raises(UsageError) as caught:
        detector_named("yunett")
    assert "did you mean 'yunet'" in str(caught.value)


def test_a_missing_or_other_model_file_says_how_to_bring_the_right_one(tmp_path, monkeypatch):
    monkeypatch.setenv("MIEN_MODELS", str(tmp_path))
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    with pytest.raises(MienError) as caught:
        YuNetDetector()
    for part in ("ebafce4e", "opencv_zoo", str(tmp_path), "mien models pull yunet"):
        assert part in str(caught.value)
    (tmp_path / "face_detection_yunet_2026may.onnx").write_bytes(b"other")
    with pytest.raises(MienError, match="not the published file"):
        YuNetDetector()


@given(st.floats(-40, 140), st.floats(-40, 140), st.floats(1, 200), st.booleans())
def test_a_frame_is_square_and_as_large_as_the_framing_says(x, y, width, haar):
    marks = None if haar else _landmarks((x, y), (x + width / 2, y))
    framing = Framing()
    crop = frame(FLAT, Face((x, y, width, width), 1.0, marks), framing)
    side = max(1, round((framing.haar_scale if haar else framing.scale) * width))
    assert crop.shape == (side, side, 3) and (crop == 90).all()


@pytest.mark.parametrize("angle", [0, 10, 25, -40, 90])
def test_the_eye_line_lies_where_it_should_and_is_level_beyond_the_limit(angle):
    image = np.zeros((400, 400), np.uint8)
    turn = np.radians(angle)
    along = 40 * np.array([np.cos(turn), np.sin(turn)])
    eyes = np.array([200, 180]) + np.array([-along, along])
    for place in eyes:
        cv2.circle(image, (round(place[0]), round(place[1])), 4, 255, cv2.FILLED)
    face = Face((120, 120, 160, 200), 1.0, _landmarks(*eyes))
    crop = frame(image, face)
    rows, columns = np.nonzero(crop > 128)
    assert rows.mean() / len(crop) == pytest.approx(Framing().eyes, abs=0.02)
    assert columns.mean() / len(crop) == pytest.approx(0.5, abs=0.02)
    level = rows[columns > columns.mean()].mean() - rows[columns < columns.mean()].mean()
    assert (abs(level) < 3) == (angle == 0 or abs(angle) > Framing().upright)


@pytest.mark.parametrize("angle", [14, -20, 30, -30])
def test_a_rolled_face_is_framed_as_wide_as_upright(portraits, yunet, angle):
    ratios = []
    for image in portraits:
        wide = cv2.copyMakeBorder(image, 100, 100, 100, 100, cv2.BORDER_REPLICATE)
        middle = wide.shape[1] / 2, wide.shape[0] / 2
        turn = cv2.getRotationMatrix2D(middle, angle, 1)
        rolled = cv2.warpAffine(wide, turn, wide.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
        before, after = largest(yunet(wide)), largest(yunet(rolled))
        if after is not None and abs(roll(after)) > Framing().upright >= abs(roll(before)):
            ratios.append(len(frame(rolled, after)) / len(frame(wide, before)))
    assert len(ratios) >= 6 and np.median(ratios) == pytest.approx(1, abs=0.09)


def test_haar_and_yunet_frame_the_same_part_of_a_portrait(portraits, yunet):
    offsets = []
    for image in portraits:
        by_haar, by_yunet = largest(HaarDetector()(image)), largest(yunet(image))
        if by_haar is not None:
            crops = [frame(image, face) for face in (by_haar, by_yunet)]
            offsets.append(np.log(len(crops[0]) / len(crops[1])))
    assert abs(np.median(offsets)) < 0.1


def test_framing_reproduces_fer2013_on_its_own_pictures(shared, yunet):
    sheet = decode(shared / "data" / "fer2013" / "sheet-00.png")
    sides = []
    for row in range(0, 40 * 48, 48):
        tile = cv2.resize(sheet[row : row + 48, :48], (144, 144), interpolation=cv2.INTER_CUBIC)
        face = largest(yunet(cv2.copyMakeBorder(tile, 144, 144, 144, 144, cv2.BORDER_REPLICATE)))
        if face is not None:
            sides.append(Framing().scale * face.box[2] / 144)
    assert len(sides) >= 20 and np.median(sides) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(("scale", "eyes"), [(1.6, 0.39), (2.0, 0.45)])
def test_the_framing_of_pictures_is_measured_back(portraits, yunet, scale, eyes):
    known = Framing(scale=scale, eyes=eyes, upright=180)
    framed = [frame(image, face, known) for image in portraits if (face := largest(yunet(image)))]
    found, seen = measured(framed, yunet)
    assert seen >= 0.9 * len(framed)
    assert found.scale == pytest.approx(scale, rel=0.1) and found.eyes == pytest.approx(eyes, abs=0.04)
    assert found.haar_scale > Framing().haar_scale


def test_the_framing_of_a_few_or_faceless_pictures_is_not_guessed(portraits, yunet):
    assert measured(portraits[:5], yunet) == (None, 5)
    assert measured([FLAT] * 12 + [FLAT[:2]] * 3, yunet) == (None, 0)


@pytest.mark.parametrize(
    "steps",
    [
        ["grey", "equalise", {"detect-face": {"detector": "viola-jones", "margin": 0.2}}],
        ["colour", {"resize": [300, 200]}, {"detect-face": "yunet"}],
        [{"frame-face": "yunet"}],
        ["grey", "frame-face"],
        [{"align": 64}],
    ],
)
def test_a_chain_cuts_out_the_face_it_is_told_as_the_one_it_finds(portraits, yunet, steps):
    chain = Chain.parse([*steps, "grey", {"resize": 48}])
    found = [(image, chain.finder.faces(image)) for image in portraits]
    compared = [(image, largest(faces)) for image, faces in found if faces]
    assert len(compared) >= 9
    for image, face in compared:
        (told,), own = chain.finder.cut(image, [face]), chain.run(image)
        # Through a resize and back, a box may fall on the next pixel.
        assert np.abs(told.pixels.astype(int) - own.pixels).mean() < (5 if "resize" in str(steps) else 1e-9)


def test_the_steps_before_the_face_is_looked_for_run_once_a_picture(monkeypatch):
    asked = []
    monkeypatch.setattr(module_of_steps.Equalise, "apply", lambda step, image: asked.append(step) or Outcome(image))
    finder = Chain.parse(["grey", "equalise", {"detect-face": "viola-jones"}, {"resize": 48}]).finder
    cut = finder.cut(FLAT, [Face((10.0 * place, 20.0, 30.0, 30.0)) for place in range(5)])
    assert len(asked) == 1 and all(outcome.pixels.shape == (48, 48) for outcome in cut)


def test_a_face_after_a_crop_is_not_one_of_the_picture():
    assert Chain.parse([{"crop": 0.5}, "detect-face", {"resize": 48}]).finder is None
    assert Chain.parse(["grey", {"resize": 48}]).finder is None


@pytest.mark.parametrize("wrong", [{"scale": 0}, {"eyes": 2}, {"haar_scale": 99}, {"upright": -1}])
def test_a_framing_out_of_range_is_refused(wrong):
    with pytest.raises(UsageError, match="out of range"):
        Framing(**wrong)


def test_roll_is_the_slope_of_the_eyes():
    assert roll(Face((0, 0, 9, 9), 1.0, _landmarks((0, 0), (10, 10)))) == pytest.approx(45)
    assert roll(Face((0, 0, 9, 9))) == 0


def test_regions_lie_where_landmarks_are_and_are_drawn(portrait, yunet):
    face = largest(yunet(portrait))
    for found in (regions(portrait, face), regions(portrait, Face(face.box))):
        x, y, width, height = found["nose"][0]
        assert x < face.landmarks[2][0] < x + width and y < face.landmarks[2][1] < y + height
    found = regions(portrait, face)
    assert [len(found[part]) for part in ("eye", "nose", "mouth")] == [2, 1, 1]
    for box, eye in zip(found["eye"], face.landmarks[:2], strict=True):
        assert abs(box[0] + box[2] / 2 - eye[0]) < 0.2 * face.box[2]
    drawn = draw_regions(portrait, [face])
    assert drawn.shape == (*portrait.shape[:2], 3) and (drawn != portrait.reshape(*portrait.shape[:2], -1)).any()
    np.testing.assert_array_equal(draw_regions(FLAT[:, :, 0], []), FLAT)


def test_the_cascade_sees_eyes_near_the_landmarks_when_it_sees_both(portraits, yunet):
    errors = []
    for image in portraits:
        face = largest(yunet(image))
        found = eyes_of(image, Face(face.box))
        if found is not None:
            errors.append(np.abs(found - face.landmarks[:2]).max() / face.box[2])
    assert len(errors) >= 3 and np.median(errors) < 0.1


def test_the_eyes_are_those_of_the_regions_and_nothing_else_is_looked_for(portraits, monkeypatch):
    (face,) = detector_named("viola-jones")(portraits[6])
    boxes = regions(portraits[6], face)["eye"]
    asked = []
    monkeypatch.setattr("mien.imaging.regions.cascade", lambda name: asked.append(name) or module.cascade(name))
    found = eyes_of(portraits[6], face)
    np.testing.assert_array_equal(found, [(x + width / 2, y + height / 2) for x, y, width, height in boxes])
    assert asked == ["eye"]


def test_detect_face_crops_and_follows_its_policy(portrait, monkeypatch, shared):
    monkeypatch.setenv("MIEN_MODELS", str(shared / "models"))
    for detector in ("viola-jones", "yunet"):
        crop = Chain.parse([{"detect-face": detector}]).run(portrait)
        assert crop.notes == () and crop.pixels.shape[0] == crop.pixels.shape[1] < portrait.shape[0]
    tight, wide = (Chain.parse([{"detect-face": {"detector": "yunet", "margin": m}}]) for m in (0, 0.25))
    ratio = len(wide.run(portrait).pixels) / len(tight.run(portrait).pixels)
    assert ratio == pytest.approx(1.5, abs=0.02)
    kept = Chain.parse(["detect-face"]).run(FLAT)
    assert kept.notes == ("no-face",) and kept.pixels.shape == FLAT.shape
    dropped = Chain.parse([{"detect-face": {"missing": "drop"}}, "grey"]).run(FLAT)
    assert dropped.notes == ("no-face",) and dropped.pixels is None
    with pytest.raises(DataError, match="no-face"):
        Chain.parse([{"detect-face": {"missing": "fail"}}]).run(FLAT)


def test_align_puts_the_eyes_in_their_place(portraits, yunet):
    align = Chain.parse([{"align": {"size": 200, "apart": 0.3, "height": 0.4}}])
    found = []
    for image in portraits:
        pixels = align.run(image).pixels
        face = largest(yunet(cv2.copyMakeBorder(pixels, 50, 50, 50, 50, cv2.BORDER_REPLICATE)))
        found.append(face.landmarks[:2] - 50)
    np.testing.assert_allclose(np.median(found, axis=0), [(70, 80), (130, 80)], atol=4)


def test_a_model_file_is_read_whole_once_and_again_when_it_changes(shared, tmp_path, monkeypatch):
    file = tmp_path / "face_detection_yunet_2026may.onnx"
    file.write_bytes(next((shared / "models").rglob(file.name)).read_bytes())
    monkeypatch.setenv("MIEN_MODELS", str(tmp_path))
    read = []
    monkeypatch.setattr(models, "sha256", lambda path: read.append(path) or sha256(path))
    assert models.find("yunet") == models.find("yunet") == file
    assert read == [file]
    file.write_bytes(b"other")
    with pytest.raises(MienError, match="not the published file"):
        models.find("yunet")


def test_a_face_in_a_picture_wider_than_opencv_warps_is_aligned_and_turned(monkeypatch):
    wide = np.zeros((300, 40_000), np.uint8)
    wide[:, :1000] = np.random.default_rng(0).integers(0, 256, (300, 1000))
    face = Face((100, 50, 120, 120), 1, _landmarks((130, 100), (190, 110)))
    monkeypatch.setattr("mien.imaging.alignment.detector_named", lambda _: lambda _: [face])
    align = Chain.parse([{"align": {"size": 120}}])
    assert np.array_equal(align.run(wide).pixels, align.run(wide[:, :1000]).pixels)
    turned = Face((100, 50, 120, 120), 1, _landmarks((130, 100), (190, 150)))
    assert np.array_equal(frame(wide, turned), frame(wide[:, :1000], turned))


def test_what_was_not_found_is_counted_and_dropped_rows_are_listed(portrait, tmp_path):
    for i, image in enumerate([portrait, FLAT, portrait, FLAT, FLAT]):
        (tmp_path / f"{i}.png").write_bytes(encode_png(image))
    names = [f"{i}.png" for i in range(5)]
    samples = Samples(table(names, ["neutral"] * 5, source="folders"), ("neutral",), Files(tmp_path))

    def prepared(missing: str):
        steps = [{"detect-face": {"missing": missing}}, "grey", {"resize": 48}]
        return prepare(samples, Chain.parse(steps), tmp_path / "cache")

    kept, dropped = prepared("keep"), prepared("drop")
    assert kept.ok.all() and kept.notes == dropped.notes == {"no-face": 3}
    assert dropped.ok.tolist() == [True, False, True, False, False]
    assert dropped.problems["reason"].unique().tolist() == ["dropped by the chain: no-face"]
    assert dropped.digests[1] == kept.digests[1] != ""
    with pytest.raises(DataError, match=r"1\.png: no-face"):
        prepared("fail")
