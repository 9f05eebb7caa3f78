from itertools import pairwise

import cv2
import numpy as np
import pytest

from mien.errors import DataError
from mien.imaging.decode import decode
from mien.imaging.operations import colour, resize
from mien.runtime.frames import Frame
from mien.runtime.shots import shots


@pytest.fixture(scope="module")
def portraits(shared):
    found = sorted((shared / "data" / "portraits" / "images").iterdir())[:24:2]
    return [resize(colour(decode(path)), 360, 360) for path in found]


def film(pictures, rate=25):
    return (Frame(index, index / rate, pixels) for index, pixels in enumerate(pictures))


def numbers(pictures, rate=25):
    return [number for number, _ in shots(film(pictures, rate))]


def moved(image, right=0.0, down=0.0, larger=1.0, turned=0.0):
    matrix = cv2.getRotationMatrix2D((180, 180), turned, larger)
    matrix[:, 2] += right, down
    return cv2.warpAffine(image, matrix, (360, 360), borderMode=cv2.BORDER_REFLECT)


def brighter(image, factor, more=0.0):
    return np.clip(image * factor + more, 0, 255).astype(np.uint8)


MOTIONS = {
    "pan": lambda image: [moved(image, right=30 * step) for step in range(6)],
    "shake": lambda image: [moved(image, right=30 * np.sin(step), down=20 * np.cos(2 * step)) for step in range(12)],
    "zoom": lambda image: [moved(image, larger=1.08**step) for step in range(9)],
    "turn": lambda image: [moved(image, turned=4 * step) for step in range(9)],
    "flash": lambda image: [image, image, np.full_like(image, 255), image, brighter(image, 4, 60), image],
    "fade": lambda image: [brighter(image, abs(step) / 9) for step in range(9, -10, -1)],
    "black": lambda image: [image, *[np.zeros_like(image)] * 4, image],
    "exposure": lambda image: [image, brighter(image, 0.4), brighter(image, 0.8, 30), image],
}


@pytest.mark.parametrize("kind", MOTIONS)
def test_what_moves_flashes_or_fades_is_one_shot(portraits, kind):
    assert [set(numbers(MOTIONS[kind](portrait))) for portrait in portraits] == [{0}] * len(portraits)


def test_cuts_between_portraits_are_seen_where_they_are(portraits):
    found = [numbers([one] * 3 + [other] * 3) for one, other in pairwise(portraits)]
    assert {tuple(each) for each in found} <= {(0, 0, 0, 1, 1, 1), (0,) * 6}
    assert sum(each[-1] for each in found) >= len(found) - 1


def test_a_cut_through_black_is_seen(portraits):
    first, second = portraits[:2]
    assert numbers([first] * 2 + [np.zeros_like(first)] * 3 + [second] * 2) == [0, 0, 0, 0, 0, 1, 1]


def test_a_shot_of_one_frame_is_one_where_frames_are_far_apart_and_no_frame_is_lost(portraits):
    first, second, third = portraits[:3]
    assert numbers([first, second, first], rate=2) == [0, 1, 2]
    assert numbers([first, second, third]) == [0, 1, 2]
    assert numbers([first, first, second]) == [0, 0, 1]


def test_the_frames_before_an_error_come_before_it(portraits):
    def broken():
        yield from film(portraits[:2])
        raise DataError("breaks off")

    found = []
    with pytest.raises(DataError, match="breaks off"):
        found += (frame.index for _, frame in shots(broken()))
    assert found == [0, 1]


def test_a_dark_picture_that_is_noise_alone_has_no_cuts():
    rng = np.random.default_rng(0)
    dark = [np.clip(30 + rng.normal(0, 20, (480, 640, 3)), 0, 255).astype(np.uint8) for _ in range(6)]
    assert numbers(dark) == [0] * 6
