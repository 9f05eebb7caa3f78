"""What is easily mistaken in Python is refused with what was given and what is allowed."""

import numpy as np
import pytest

import mien
from mien.errors import DataError, UsageError
from mien.imaging.faces import Face
from mien.runtime.annotate import annotate
from mien.runtime.recognizer import Recognizer
from mien.runtime.video import VideoOptions

GREY = np.zeros((48, 48), np.uint8)


def fails(image):
    raise RuntimeError("no kernel image")


@pytest.mark.parametrize("wrong", [np.zeros((48, 48)), np.zeros((48, 48, 4), np.uint8), "x.jpg", None])
@pytest.mark.parametrize("crop", ["face", "whole"])
def test_pixels_are_asked_for_where_no_file_is_read(bundle, wrong, crop):
    with pytest.raises(UsageError, match=r"allowed: .*uint8"):
        Recognizer(bundle, crop=crop).faces(wrong)


@pytest.mark.parametrize("wrong", [b"ferplus", None, 3, ["ferplus"]])
def test_a_model_is_a_name_or_a_path(wrong):
    for refused in (lambda: mien.load(wrong), lambda: mien.analyze(GREY, model=wrong)):
        with pytest.raises(UsageError, match="not a model"):
            refused()


@pytest.mark.parametrize("wrong", [{"start": "1"}, {"end": "2"}, {"smoothing": None}, {"every": 2.0}, {"start": True}])
def test_options_of_a_video_are_numbers(wrong):
    with pytest.raises(UsageError, match=f"{next(iter(wrong))} of a video is a"):
        VideoOptions(**wrong)


def test_options_of_a_video_may_be_numbers_of_numpy():
    assert VideoOptions(every=np.int64(2), start=np.float32(1), end=np.int32(2)).every == 2


@pytest.mark.parametrize(
    ("detector", "said"),
    [(fails, "no kernel image"), (lambda image: None, "given: .*None"), (lambda image: [(1, 2, 3, 4)], "given: .*1")],
)
def test_a_detector_of_ones_own_that_fails_costs_its_picture_and_not_the_rest(bundle, detector, said):
    def now_and_then(image):
        return detector(image) if image[0, 0] else [Face((0, 0, 48, 48))]

    recognizer = Recognizer(bundle, detector=now_and_then)
    bad, good = recognizer.stream([GREY + np.uint8(1), GREY])
    assert "face detector" in bad.error and len(good.faces) == 1
    with pytest.raises(DataError, match=said):
        recognizer.faces(GREY + np.uint8(1))


def test_a_drawing_has_the_labels_of_its_faces(bundle):
    recognizer = Recognizer(bundle, crop="whole")
    faces = recognizer.faces(GREY)
    assert annotate(GREY, faces, recognizer.labels).shape[1] == 48
    for labels in (("joy", "pain"), (*recognizer.labels, "pain"), recognizer.labels[1:]):
        with pytest.raises(UsageError, match="other labels"):
            annotate(GREY, faces, labels)
