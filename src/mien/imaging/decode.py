"""Picture files to arrays and back: the only place where a file becomes pixels."""

import os
import stat
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import UnreadableImage, UsageError
from mien.imaging.headers import Header, read_header

MAX_PIXELS = 100_000_000
READABLE = frozenset(
    {
        ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".pbm", ".pgm", ".ppm",
        ".pnm",
    }
)  # fmt: skip
"""How names of pictures end that can be decoded here."""
SUFFIXES = READABLE | {".heic", ".heif", ".avif"}
"""How names of pictures end. Those that cannot be decoded here are told as unreadable, not left out."""

# The brands of ISO base media files that hold pictures.
_STILL = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"avif", b"avis")
_ROWS = 64
_MOST_SCANS = 100  # libjpeg's own tools write no more, and usual are about ten
_MOST_WORK = 2_000_000_000  # pixels times scans: some seconds
_ORIENTED = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH


def decode(source: Path | bytes, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode a PNG, JPEG, GIF, BMP, WebP, TIFF or PNM file.

    Returns uint8, (H, W) for grey files and (H, W, 3) RGB for others: 16 bits scaled to 8, CMYK converted, transparency
    laid on white (that of a BMP, and of a grey TIFF, is passed over), the first frame of an animation, turned upright
    as EXIF says (not where there is transparency).
    Raises UnreadableImage, naming the path and the reason, when the file is absent, empty, broken off, of another
    format, larger than `max_pixels`, or a JPEG that goes over its pixels so often that it is made to take time, which
    are read from the header before anything is decoded.
    """
    name = str(source) if isinstance(source, Path) else f"{len(source)} bytes"
    data = source if isinstance(source, bytes) else _bytes(source, 8 * max_pixels)
    if not data:
        raise UnreadableImage("the file is empty", name=name)
    header = read_header(data)
    if header is None:
        raise UnreadableImage(f"not a whole PNG, JPEG, GIF, BMP, WebP, TIFF or PNM header{_instead(data)}", name=name)
    if max(header.height * header.width, header.tile) > max_pixels:
        tiled = f" in tiles of {header.tile:,}" if header.tile else ""
        size = f"{header.width} x {header.height} pixels{tiled}, {max_pixels:,} are allowed"
        raise UnreadableImage(f"too large to decode: {size}", name=name)
    if header.scans > (most := min(_MOST_SCANS, _MOST_WORK // max(1, header.height * header.width))):
        size = f"{header.scans:,} of {header.width} x {header.height} pixels, {most} are allowed and about ten usual"
        raise UnreadableImage(f"too many scans to decode: {size}", name=name)
    if not header.complete:
        raise UnreadableImage("truncated, the end of the file is missing", name=name)
    pixels = _pixels(data, header, name)
    if pixels is None:
        raise UnreadableImage("the data is damaged or truncated", name=name)
    return pixels


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """A PNG file of a (H, W) grey or (H, W, 3) RGB picture, uint8."""
    return _encoded(".png", image, [])


def encode_jpeg(image: NDArray[np.uint8], quality: int = 95) -> bytes:
    """A JPEG file of a (H, W) grey or (H, W, 3) RGB picture, uint8; `quality` 0..100."""
    if not 0 <= quality <= 100:
        raise UsageError("JPEG quality out of range", got=quality, allowed="0..100")
    return _encoded(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])


def _instead(data: bytes) -> str:
    """What a file that is no picture is, where it says so."""
    if data[4:8] != b"ftyp":
        return ""
    return ", but HEIC or AVIF: convert it" if data[8:12] in _STILL else ", but an MP4 or QuickTime video"


def _bytes(path: Path, limit: int) -> bytes:
    try:
        # Opening a pipe waits for its writer, perhaps for ever.
        if stat.S_ISFIFO(path.stat().st_mode):
            raise UnreadableImage("it is a pipe", name=str(path))
        with path.open("rb", buffering=0) as stream:
            # No more than the file has: Python sets aside all that is asked for before it reads.
            data = stream.read(min(limit, os.fstat(stream.fileno()).st_size) + 1)
    except (OSError, ValueError) as error:  # ValueError: no file's name has a zero byte
        raise UnreadableImage(getattr(error, "strerror", None) or str(error), name=str(path)) from error
    if len(data) > limit:
        raise UnreadableImage(f"too large to read: {limit:,} bytes are allowed", name=str(path))
    return data


def _pixels(data: bytes, header: Header, name: str) -> NDArray[np.uint8] | None:
    try:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED if header.alpha else _ORIENTED)
    except cv2.error:
        return None
    if found is None:
        return None
    if sorted(found.shape[:2]) != sorted((header.height, header.width)):
        raise UnreadableImage("its header tells another size than its pixels have", name=name)
    if found.dtype not in (np.uint8, np.uint16):
        raise UnreadableImage(f"its pixels are {found.dtype}, and 8 or 16 bits are allowed", name=name)
    white = header.white or (255 if found.dtype == np.uint8 else 65535)
    if header.clear is not None:
        found[found == header.clear] = white
    shallow = np.asarray(found if white == 255 else cv2.convertScaleAbs(found, alpha=255 / white), np.uint8)
    if shallow.ndim == 2:
        return shallow
    premultiplied = 8 * found.itemsize <= header.premultiplied
    colour = _on_white(shallow, premultiplied) if shallow.shape[2] == 4 else shallow
    turned = colour[..., 0] if header.grey else cv2.cvtColor(colour, cv2.COLOR_BGR2RGB)
    return np.ascontiguousarray(turned, np.uint8)


def _on_white(image: NDArray[np.uint8], premultiplied: bool) -> NDArray[np.uint8]:
    """The (H, W, 4) picture laid on white, (H, W, 3), a few rows at a time: sums of 16 bits take much memory."""
    colour = cv2.cvtColor(image, cv2.COLOR_BGRA2BGR)
    for top in range(0, len(image), _ROWS):
        alpha = image[top : top + _ROWS, :, 3:].astype(np.uint16)
        if alpha.min() < 255:
            over = colour[top : top + _ROWS]
            shade = np.minimum(over, alpha) * np.uint16(255) if premultiplied else over * alpha
            over[:] = (shade + 255 * (255 - alpha) + 127) // 255
    return np.asarray(colour, np.uint8)


def _encoded(suffix: str, image: NDArray[np.uint8], options: list[int]) -> bytes:
    done, data = cv2.imencode(suffix, image if image.ndim == 2 else image[..., ::-1], options)
    if not done:
        raise UsageError("this picture cannot be written", got=f"{image.dtype} {image.shape}")
    return data.tobytes()
