"""Where a video is cut: no face goes on from one shot to the next."""

from collections.abc import Iterable, Iterator

import cv2

from mien.imaging.operations import Image, grey, resize
from mien.runtime.frames import Frame
from mien.runtime.results import ITEM_ERRORS

# Of the pairs of 351 portraits, framed alike, 94 in 100 are less alike than this; none is so unlike itself moved by a
# tenth of its width, enlarged by a tenth, or turned by five degrees.
_ALIKE = 0.6
_SIDE = 32  # of a thumbnail
_MARGIN = 4  # of it: how far a picture may have moved
_FLAT = 5.0  # deviation of the grey values up to which there is nothing to compare, as in the dark: noise has as much
_FLASH = 0.1  # seconds in which one frame may be another without a cut


def shots(frames: Iterable[Frame]) -> Iterator[tuple[int, Frame]]:
    """Frames, each with the number of its shot: a new one begins where a frame looks unlike the one before.

    Changes of brightness count for nothing, frames that show nothing are passed over, and one frame between two that
    are alike is a flash and no cut. Where a shot fades into another no cut is seen. An error of `frames` is raised
    after the frames before it.
    """
    number, broken = 0, None
    last: tuple[float, Image] | None = None
    held: tuple[Frame, Image] | None = None
    try:
        for frame in frames:
            seen = _thumbnail(frame.pixels)
            if last and held:
                if _unlike(last[1], seen):
                    number, last = number + 1, (held[0].time, held[1])
                yield number, held[0]
                held = None
            if last and _unlike(last[1], seen):
                if frame.time - last[0] <= _FLASH:
                    held = frame, seen
                    continue
                number += 1
            yield number, frame
            last = last if _flat(seen) else (frame.time, seen)
    except ITEM_ERRORS as error:
        broken = error
    if held:
        yield number + 1, held[0]
    if broken:
        raise broken


def _thumbnail(pixels: Image) -> Image:
    # A mean of all pixels of a large frame takes as long as its decoding.
    down, right = (max(1, side // (4 * _SIDE)) for side in pixels.shape[:2])
    return grey(resize(pixels[::down, ::right], _SIDE, _SIDE))


def _unlike(before: Image, after: Image) -> bool:
    if _flat(before) or _flat(after):
        return False
    inner = before[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    return float(cv2.matchTemplate(after, inner, cv2.TM_CCOEFF_NORMED).max()) < _ALIKE


def _flat(thumbnail: Image) -> bool:
    return float(thumbnail.std()) < _FLAT
