"""Plain operations: shapes, ranges, laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mien.imaging import operations

sides = st.integers(1, 40)
greys = st.tuples(sides, sides).flatmap(lambda size: arrays(np.uint8, size))
colours = st.tuples(sides, sides, st.just(3)).flatmap(lambda size: arrays(np.uint8, size))


@given(colours)
def test_grey_and_colour_are_idempotent_and_inverse_on_grey(image):
    once = operations.grey(image)
    assert once.shape == image.shape[:2]
    np.testing.assert_array_equal(operations.grey(once), once)
    np.testing.assert_array_equal(operations.grey(operations.colour(once)), once)
    np.testing.assert_array_equal(operations.colour(image), image)


def test_grey_weighs_rgb_and_not_bgr():
    red, blue = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    assert operations.grey(red)[0, 0] == 76
    assert operations.grey(blue)[0, 0] == 29


@given(greys, sides, sides, st.sampled_from(["auto", *operations.INTERPOLATIONS]))
def test_resize_gives_the_size_and_is_idempotent(image, height, width, interpolation):
    once = operations.resize(image, height, width, interpolation)
    assert once.shape == (height, width)
    np.testing.assert_array_equal(operations.resize(once, height, width, interpolation), once)


@given(sides, sides, st.integers(0, 255), sides, sides)
def test_resize_keeps_a_flat_picture_flat(height, width, value, to_height, to_width):
    flat = np.full((height, width), value, np.uint8)
    assert (operations.resize(flat, to_height, to_width) == value).all()


@pytest.mark.parametrize("turned", [False, True])
def test_resize_averages_along_the_axis_that_shrinks_while_the_other_grows(turned):
    stripes = np.tile(np.array([0, 255] * 240, np.uint8), (20, 1))
    resized = operations.resize(stripes.T if turned else stripes, 48, 48)
    assert abs(resized.astype(int) - 127).max() <= 1


@given(greys, st.integers(-50, 50), st.integers(-50, 50), sides, sides)
def test_crop_takes_the_nearest_pixel_of_every_place(image, x, y, width, height):
    part = operations.crop(image, (x, y, width, height))
    assert part.shape == (height, width)
    rows, columns = image.shape
    for row, column in ((0, 0), (height - 1, width - 1), (height // 2, width // 2)):
        nearest = image[min(max(y + row, 0), rows - 1), min(max(x + column, 0), columns - 1)]
        assert part[row, column] == nearest


@given(colours)
def test_equalise_and_clahe_keep_the_shape_in_colour(image):
    assert operations.equalise(image).shape == image.shape
    assert operations.clahe(image).shape == image.shape


def test_equalise_spreads_a_narrow_histogram():
    narrow = np.tile(np.arange(100, 110, dtype=np.uint8), (10, 1))
    spread = operations.equalise(narrow)
    assert (spread.min(), spread.max()) == (0, 255)
    assert (np.diff(spread[0].astype(int)) > 0).all()


def test_a_higher_clip_gives_more_contrast():
    rng = np.random.default_rng(0)
    dull = rng.normal(120, 4, (48, 48)).clip(0, 255).astype(np.uint8)
    weak, strong = operations.clahe(dull, clip=2.0, tiles=2), operations.clahe(dull, clip=16.0, tiles=2)
    assert dull.std() < weak.std() < strong.std()


@pytest.mark.parametrize("size", [(48, 48), (48, 50), (50, 48), (47, 64), (200, 224), (5, 100)])
@pytest.mark.parametrize("tiles", [4, 8])
def test_the_floor_of_clahe_is_where_its_clip_begins_to_count(size, tiles):
    dull = np.random.default_rng(0).normal(120, 1, size).clip(0, 255).astype(np.uint8)
    floor = operations.clahe_floor(size, tiles)
    least, below, above = (operations.clahe(dull, clip, tiles) for clip in (floor / 2, 1.99 * floor, 2.01 * floor))
    assert (least == below).all() and (below != above).any()


def test_canny_finds_the_edge_of_a_square_and_nothing_on_flat():
    square = np.zeros((20, 20), np.uint8)
    square[5:15, 5:15] = 255
    edges = operations.canny(square)
    assert set(np.unique(edges)) == {0, 255}
    assert edges[8:12, 8:12].sum() == 0 and edges[10, 4:6].max() == 255
    assert operations.canny(np.full((9, 9, 3), 80, np.uint8)).sum() == 0


@pytest.mark.parametrize("operation", [operations.equalise, operations.clahe, operations.canny, operations.grey])
def test_the_input_is_not_changed(operation):
    image = np.random.default_rng(1).integers(0, 255, (11, 7, 3), np.uint8)
    before = image.copy()
    operation(image)
    np.testing.assert_array_equal(image, before)
