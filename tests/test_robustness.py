"""Corruptions and what they cost."""

import json

import numpy as np
import pytest
from blobs import blobs
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mien.errors import DataError
from mien.evaluation.robustness import CORRUPTIONS, corrupt, robustness

LABELS = ("anger", "fear", "sadness")
EIGHT = {"blur", "noise", "jpeg", "brightness", "contrast", "occlusion", "rotation", "resolution"}


def faces(colour: bool = False) -> np.ndarray:
    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.arange(48), np.arange(48))[None] + rng.integers(0, 60, (6, 48, 48))
    grey = smooth.astype(np.uint8)
    return np.stack([grey, grey // 2, 255 - grey], axis=3) if colour else grey


def test_the_eight_corruptions_are_there() -> None:
    assert set(CORRUPTIONS) == EIGHT


@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_corruption_keeps_the_shape_is_seeded_and_grows(name: str, colour: bool) -> None:
    pixels = faces(colour)
    before = pixels.copy()
    damaged = [corrupt(pixels, name, strength, seed=4) for strength in range(1, 6)]
    np.testing.assert_array_equal(pixels, before)
    for each in damaged:
        assert (each.shape, each.dtype) == (pixels.shape, np.uint8)
    np.testing.assert_array_equal(damaged[4], corrupt(pixels, name, 5, seed=4))
    far = [np.abs(each.astype(float) - pixels).mean() for each in damaged]
    assert far[0] > 0
    assert far == sorted(far), "each strength is worse than the one before"


@given(pixels=arrays(np.uint8, (2, 9, 7)), name=st.sampled_from(sorted(EIGHT)), strength=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_any_picture_can_be_corrupted(pixels: np.ndarray, name: str, strength: int) -> None:
    damaged = corrupt(pixels, name, strength)
    assert (damaged.shape, damaged.dtype) == (pixels.shape, np.uint8)


def test_corruptions_do_what_their_parameter_says() -> None:
    flat = np.full((4, 40, 40), 100, np.uint8)
    assert (corrupt(flat, "brightness", 4) == 151).all(), "100 + 0.2 x 255"
    assert (corrupt(flat, "contrast", 5) == 100).all(), "no contrast to lose"
    for covered in corrupt(flat, "occlusion", 5):
        assert (covered == 128).mean() == pytest.approx(0.4, abs=0.03)
    assert np.std(corrupt(flat, "noise", 1).astype(float)) == pytest.approx(0.04 * 255, rel=0.05)


def where_bright(pixels: np.ndarray) -> np.ndarray:
    """The right answer to `blobs` of three classes, read from the brightest third of the rows."""
    thirds = np.stack([part.mean(axis=(1, 2)) for part in np.array_split(np.stack(list(pixels)), 3, axis=1)], axis=1)
    odds = np.exp((thirds - thirds.max(axis=1, keepdims=True)) / 10)
    return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


def test_the_table_has_every_cell_with_intervals() -> None:
    pixels, targets = blobs(60)
    seen: list[tuple[int, int]] = []
    found = robustness(where_bright, pixels, targets, LABELS, progress=lambda *at: seen.append(at), bootstrap=100)
    assert json.loads(json.dumps(found)) == found
    assert set(found["corruptions"]) == EIGHT
    assert found["rows"] == 60
    assert found["clean"]["accuracy"]["value"] == 1
    assert seen[-1] == (41, 41)
    cells = [cell for points in found["corruptions"].values() for cell in points]
    for cell in cells:
        for name in ("accuracy", "ece"):
            assert 0 <= cell[name]["low"] <= cell[name]["value"] <= cell[name]["high"] <= 1
    mean = np.mean([cell["accuracy"]["value"] for cell in cells])
    assert found["mean_accuracy"]["value"] == pytest.approx(mean)
    assert found["mean_drop"]["value"] == pytest.approx(1 - mean)
    assert found["mean_drop"]["low"] <= found["mean_drop"]["value"] <= found["mean_drop"]["high"]


def test_a_model_that_ignores_the_picture_loses_nothing() -> None:
    pixels, targets = blobs(30)
    found = robustness(
        lambda batch: np.tile([0.8, 0.1, 0.1], (len(list(batch)), 1)), pixels, targets, LABELS, bootstrap=50
    )
    assert found["mean_drop"]["value"] == 0
    assert found["mean_drop"]["low"] < 0 < found["mean_drop"]["high"], "30 pictures do not prove that none is lost"
    assert found["mean_accuracy"]["value"] == pytest.approx(1 / 3)


def test_pictures_of_many_sizes_and_lost_faces_are_judged() -> None:
    pixels, targets = blobs(30)
    pictures = [np.pad(image, ((0, 0), (0, place % 3))) for place, image in enumerate(pixels)]

    def predict(batch):
        answers = where_bright(np.stack([image[:, :32] for image in batch]))
        answers[0] = np.nan
        return answers

    found = robustness(predict, pictures, targets, LABELS, bootstrap=50)
    assert found["clean"]["accuracy"]["value"] == pytest.approx(29 / 30)
    assert found["corruptions"]["rotation"][0]["accuracy"]["value"] < 1


def test_no_pictures_is_an_error() -> None:
    with pytest.raises(DataError, match="at least one picture"):
        robustness(where_bright, np.zeros((0, 8, 8), np.uint8), np.zeros(0, np.int64), LABELS)
