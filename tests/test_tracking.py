from math import exp
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.imaging.faces import Face
from mien.runtime.results import FaceResult, FrameResult
from mien.runtime.timeline import Timeline
from mien.runtime.tracking import Smoother, Tracker, between

pytest.importorskip("supervision", reason="tracking needs the video extra")
LABELS = ("anger", "happiness")


def face(x, y=50.0, side=80.0, score=0.9):
    return Face((x, y, side, side), score)


def numbers(tracker, *detections, rate=10):
    """The identities at each detection of several, `rate` of them a second."""
    return [tracker.update(faces, step / rate) for step, faces in enumerate(detections)]


def test_the_first_faces_have_numbers_and_later_ones_once_confirmed():
    later = [face(2), face(302), face(600)], [face(4), face(304), face(602)]
    assert numbers(Tracker(rate=10), [face(0), face(300)], *later) == [[1, 2], [1, 2, None], [1, 2, 3]]


def test_order_of_detections_does_not_matter():
    assert numbers(Tracker(rate=10), [face(0), face(300)], [face(301), face(1)])[1] == [2, 1]


def test_no_face_is_no_identity():
    assert numbers(Tracker(rate=10), []) == [[]]


@pytest.mark.parametrize(("away", "number"), [(8, 1), (40, 2)])
def test_a_face_that_comes_back_soon_keeps_its_number_and_late_it_is_another(away, number):
    there = [[face(step)] for step in range(5)]
    assert numbers(Tracker(rate=10), *there, *[[]] * away, [face(5)], [face(5)])[-1] == [number]


@pytest.mark.parametrize(("pause", "number"), [(0.5, 1), (20.0, 2)])
def test_a_pause_of_the_video_is_time_without_a_face(pause, number):
    tracker = Tracker(rate=10)
    numbers(tracker, *[[face(step)] for step in range(5)])
    tracker.update([face(30)], 0.4 + pause)
    assert tracker.update([face(31)], 0.5 + pause) == [number]


def test_a_face_after_a_cut_is_another():
    tracker = Tracker(rate=10)
    tracker.forget()
    assert numbers(tracker, *[[face(step)] for step in range(3)]) == [[1]] * 3
    tracker.forget()
    assert [tracker.update([face(step)], step / 10) for step in range(3, 6)] == [[None], [2], [2]]


def test_detections_far_apart_by_their_own_rate_are_no_pause():
    assert numbers(Tracker(rate=0.1), *[[face(step)] for step in range(4)], rate=0.1) == [[1]] * 4


def test_faces_that_cross_keep_their_numbers_though_one_is_hidden():
    tracker = Tracker(rate=10)
    for step in range(60):
        left, right = 10.0 * step, 590 - 10.0 * step
        hidden = abs(left - right) < 60
        found = tracker.update([face(left, 50)] if hidden else [face(left, 50), face(right, 60)], step / 10)
        assert found == ([1] if hidden else [1, 2])


@given(share=st.floats(0, 1), x=st.floats(-50, 50), shift=st.floats(-50, 50))
def test_between_lies_on_the_line(share, x, shift):
    points = np.zeros((5, 2), np.float32)
    a, b = Face((x, 0, 10, 10), 0.5, points), Face((x + shift, 4, 20, 10), 0.9, points + 2)
    middle = between(a, b, share)
    assert middle.box == pytest.approx((x + share * shift, 4 * share, 10 + 10 * share, 10), abs=1e-6)
    assert middle.score == pytest.approx(0.5 + 0.4 * share)
    np.testing.assert_allclose(middle.landmarks, points + 2 * share, atol=1e-5)


def test_smoothing_is_by_time_not_by_frame():
    step, target = np.array([1.0, 0.0], np.float32), np.array([0.0, 1.0], np.float32)
    often, once = Smoother(0.5), Smoother(0.5)
    often.update(1, 0.0, step)
    once.update(1, 0.0, step)
    for count in range(1, 11):
        fine = often.update(1, count / 10, target)
    np.testing.assert_allclose(fine, once.update(1, 1.0, target), atol=1e-6)
    assert fine[0] == pytest.approx(exp(-2), abs=1e-6)


@given(
    times=st.lists(st.floats(0, 10), min_size=1, max_size=12).map(sorted),
    values=st.lists(st.floats(0, 1), min_size=12, max_size=12),
)
def test_smoothed_probabilities_stay_a_distribution(times, values):
    smoother = Smoother(0.3)
    for time, value in zip(times, values, strict=False):
        smooth = smoother.update(1, time, np.array([value, 1 - value]))
        assert smooth.sum() == pytest.approx(1) and smooth.min() >= 0


def test_each_face_is_smoothed_alone_and_an_unnumbered_one_not_at_all():
    smoother, a, b = Smoother(1.0), np.array([1.0, 0.0]), np.array([0.0, 1.0])
    smoother.update(1, 0.0, a)
    assert smoother.update(2, 0.1, b).tolist() == b.tolist()
    assert smoother.update(None, 0.1, b).tolist() == b.tolist()
    assert Smoother(0).update(1, 0.1, b).tolist() == b.tolist()


def seen(time, *identities, value=0.25):
    probabilities = dict(zip(LABELS, (value, 1 - value), strict=True))
    faces = [FaceResult((0, 0, 9, 9), None, 0.9, "happiness", probabilities, False, number) for number in identities]
    return FrameResult("v.mp4", 0, time, 9, 9, tuple(faces))


@pytest.mark.parametrize("hours", [0.001, 0.1, 3])
def test_a_timeline_of_any_length_has_as_many_columns(hours):
    timeline = Timeline(LABELS)
    for time in np.linspace(0, hours * 3600, 4000):
        timeline.add(seen(float(time), 1))
    columns = timeline.columns(1)
    assert 1 <= len(columns) <= 1024
    assert max(columns) * timeline.width <= hours * 3600 <= (max(columns) + 1) * timeline.width
    for mean in columns.values():
        np.testing.assert_allclose(mean, [0.25, 0.75])


def test_a_timeline_draws_each_face_and_leaves_out_the_unnumbered():
    timeline = Timeline(LABELS)
    for count in range(50):
        timeline.add(seen(count / 25, *([1, None] if count < 20 else [1, 2])))
    drawn = timeline.svg("a <video>")
    assert timeline.identities() == [1, 2]
    assert drawn.count("<polygon") == 2 * len(LABELS)
    assert "face 2" in drawn and "a &lt;video&gt;" in drawn and "happiness" in drawn


def test_a_timeline_begins_where_the_video_was_begun():
    timeline, late = Timeline(LABELS), Timeline(LABELS, start=3590.0)
    for count in range(250):
        timeline.add(seen(count / 25, *([1] if not 50 < count < 200 else [])))
        late.add(seen(3590.0 + count / 25, *([1] if not 50 < count < 200 else [])))
    assert late.columns(1).keys() == timeline.columns(1).keys()
    assert late.svg("v").count("<polygon") == timeline.svg("v").count("<polygon") == 2 * len(LABELS)
    assert ">59:50<" in late.svg("v") and ">0 s<" not in late.svg("v")


def test_a_title_with_a_control_character_is_still_xml():
    ElementTree.fromstring(Timeline(LABELS).svg("a\x1b[31m\x00.mp4"))


def test_a_timeline_without_a_face_is_still_a_chart():
    timeline = Timeline(LABELS)
    timeline.add(seen(0.0))
    assert timeline.identities() == [] and timeline.svg("empty").endswith("</svg>\n")
