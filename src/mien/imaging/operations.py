"""Plain picture operations: uint8 in, uint8 out, (H, W) grey or (H, W, 3) RGB."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import UsageError

Image = NDArray[np.uint8]

INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "cubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}


def check(image: object) -> None:
    """Raise UsageError on what is no picture: an array uint8, (H, W) or (H, W, 3), with a pixel at least."""
    if not isinstance(image, np.ndarray):
        raise UsageError(
            "not the pixels of a picture", got=type(image).__name__, allowed="an array, uint8, (H, W) or (H, W, 3) RGB"
        )
    shape = image.shape
    if image.dtype != np.uint8 or not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)) or 0 in shape:
        raise UsageError(
            "not a picture",
            got=f"{image.dtype} array of shape {shape}",
            allowed="uint8, (H, W) or (H, W, 3) RGB",
            then="leave out an alpha channel with image[..., :3], an idle axis with image[..., 0]; "
            "for floats of 0 to 1: (255 * image).astype('uint8')",
        )


def grey(image: Image) -> Image:
    """The picture as (H, W), by the luma weights of ITU-R BT.601; a grey picture is returned as it is."""
    return image if image.ndim == 2 else _own(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY))


def colour(image: Image) -> Image:
    """The picture as (H, W, 3), a grey one repeated three times."""
    return image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)


def resize(image: Image, height: int, width: int, interpolation: str = "auto") -> Image:
    """The picture at another size; `auto` averages areas along what shrinks, then interpolates bicubically what grows.

    >>> resize(np.zeros((4, 6), np.uint8), 2, 3).shape
    (2, 3)
    """
    if image.shape[:2] == (height, width):
        return image
    if interpolation == "auto":
        # OpenCV averages areas only where neither axis grows.
        smaller = resize(image, min(height, image.shape[0]), min(width, image.shape[1]), "area")
        return resize(smaller, height, width, "cubic")
    return _own(cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=INTERPOLATIONS[interpolation]))


def crop(image: Image, box: tuple[int, int, int, int]) -> Image:
    """The part (x, y, width, height), in pixels; what lies outside the picture repeats its border."""
    x, y, width, height = box
    rows, columns = image.shape[:2]
    if x >= 0 and y >= 0 and x + width <= columns and y + height <= rows:
        return image[y : y + height, x : x + width]
    left, top = min(max(x, 0), columns - 1), min(max(y, 0), rows - 1)
    right, bottom = min(max(x + width, left + 1), columns), min(max(y + height, top + 1), rows)
    margins = (max(0, top - y), max(0, y + height - bottom), max(0, left - x), max(0, x + width - right))
    padded = cv2.copyMakeBorder(
        np.ascontiguousarray(image[top:bottom, left:right]), *margins, borderType=cv2.BORDER_REPLICATE
    )
    # A box that lies wholly outside begins behind the pixel that it repeats.
    down, across = max(0, y - top), max(0, x - left)
    return _own(padded[down : down + height, across : across + width])


def equalise(image: Image) -> Image:
    """Histogram equalisation; in colour, of the lightness (CIE L*a*b*) alone."""
    return _on_lightness(image, cv2.equalizeHist)


def clahe(image: Image, clip: float = 2.0, tiles: int = 8) -> Image:
    """Contrast-limited adaptive histogram equalisation (Zuiderveld 1994) on `tiles` x `tiles` tiles.

    `clip` bounds each histogram bin, in multiples of the mean bin, but never below one pixel: see `clahe_floor`. In
    colour, of the lightness alone.
    """
    return _on_lightness(image, cv2.createCLAHE(clip, (tiles, tiles)).apply)


def clahe_floor(size: tuple[int, int], tiles: int) -> float:
    """The bound of one pixel a bin in multiples of the mean bin: every `clip` of `clahe` below twice this is this.

    >>> round(clahe_floor((48, 48), 8), 1), round(clahe_floor((224, 224), 8), 1)
    (7.1, 0.3)
    """
    # OpenCV pads both axes where either does not divide, also the one that does.
    more = any(side % tiles for side in size)
    height, width = (side // tiles + more for side in size)
    return 256 / (height * width)


def canny(image: Image, low: float = 100.0, high: float = 200.0) -> Image:
    """Edges (Canny 1986) as 0 and 255, (H, W); `low` and `high` are the hysteresis thresholds on the gradient."""
    return _own(cv2.Canny(np.ascontiguousarray(grey(image)), low, high))


def _on_lightness(image: Image, operation: Any) -> Image:
    if image.ndim == 2:
        return _own(operation(np.ascontiguousarray(image)))
    lab = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2LAB)
    lab[:, :, 0] = operation(np.ascontiguousarray(lab[:, :, 0]))
    return _own(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB))


def _own(result: Any) -> Image:
    return np.asarray(result, np.uint8)
