"""What a picture file says of itself before anything is decoded: format, size, and whether it is all there."""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_JPEG_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_TIFF_TAGS = (256, 257, 262, 277, 322, 323, 338)
_WIDTH, _HEIGHT, _COLOURS, _SAMPLES, _TILE_WIDTH, _TILE_HEIGHT, _EXTRA = _TIFF_TAGS
_PREMULTIPLIED = {1: 16, 2: 8}  # by the kind of a TIFF's fourth channel: libtiff multiplies 8 bits itself
_TIFF_SIZES = {1: "B", 3: "H", 4: "I", 16: "Q"}
_GREY_STEPS = {1: 255, 2: 85, 4: 17, 8: 1, 16: 1}  # by the bits of a PNG: what decoding makes of a step of grey
_MOST_PARTS = 100_000  # chunks or segments: a file of more is made to keep its reader busy
_PNM_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"
_PNM_SIZE = re.compile(rb"P([1-6])" + 2 * (_PNM_GAP + rb"(\d{1,9})\b"))
_PNM_WHITE = re.compile(_PNM_GAP + rb"(\d{1,5})\b")


@dataclass(frozen=True)
class Header:
    """Size in pixels; `alpha`: a transparency channel is possible; `grey`: what colour there is, is grey;
    `complete`: the file reaches the end that its format demands; `white`: the value of white, None where that is all
    bits; `tile`: pixels of a tile, which is decoded whole even where the picture is smaller; `scans`: how often a JPEG
    goes over all its pixels; `clear`: the grey, as decoded, that is transparent; `premultiplied`: colours of up to so
    many bits come multiplied by their transparency."""

    height: int
    width: int
    alpha: bool = False
    grey: bool = False
    complete: bool = True
    white: int | None = None
    tile: int = 0
    scans: int = 1
    clear: int | None = None
    premultiplied: int = 0


def read_header(data: bytes) -> Header | None:
    """The header of a PNG, JPEG, GIF, BMP, WebP, TIFF or PNM file; None when it is none or its header breaks off."""
    for magic, parse in _FORMATS:
        if magic.match(data):
            try:
                return parse(data)
            except (struct.error, IndexError, KeyError, OverflowError):
                return None
    return None


def _png(data: bytes) -> Header | None:
    """Walk the chunks: decoders reserve what a chunk claims to hold, so none that outgrows the file may get there."""
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    place, name, transparent, clear = 8, b"", colour in (4, 6), None
    for _ in range(_MOST_PARTS):
        if name == b"IEND" or place + 12 > len(data):
            complete = name == b"IEND" and place <= len(data)
            return Header(height, width, transparent, grey=colour in (0, 4), complete=complete, clear=clear)
        length, name = struct.unpack_from(">I4s", data, place)
        if name == b"tRNS" and colour == 0:
            clear = struct.unpack_from(">H", data, place + 8)[0] % (1 << bits) * _GREY_STEPS[bits]
        elif name == b"tRNS":
            transparent = True
        place += length + 12
    return None


def _jpeg(data: bytes) -> Header | None:
    """Walk the segments to the end marker, over the entropy-coded data of each scan."""
    height = width = scans = 0
    place = 2
    for _ in range(_MOST_PARTS):
        if not (found := _JPEG_MARKER.search(data, place)):
            return Header(height, width, complete=False) if height else None
        marker, place = data[found.end() - 1], found.end()
        if marker == 0xD9:
            return Header(height, width, scans=scans) if height else None
        if marker == 0x01:
            continue
        if marker in _JPEG_FRAMES and not height:
            height, width = struct.unpack_from(">HH", data, place + 3)
        scans += marker == 0xDA
        place += struct.unpack_from(">H", data, place)[0]
    return None


def _gif(data: bytes) -> Header:
    width, height = struct.unpack_from("<HH", data, 6)
    return Header(height, width, alpha=True)


def _bmp(data: bytes) -> Header:
    (kind,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if kind == 12 else "<ii", data, 18)
    return Header(abs(height), abs(width))


def _webp(data: bytes) -> Header:
    complete = len(data) >= struct.unpack_from("<I", data, 4)[0] + 8
    chunk = data[12:16]
    if chunk == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        return Header(height, width, bool(data[20] & 0x10), complete=complete)
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Header((bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1, bool(bits >> 28 & 1), complete=complete)
    width, height = struct.unpack_from("<HH", data, 26)
    return Header(height & 0x3FFF, width & 0x3FFF, complete=complete)


def _tiff(data: bytes) -> Header | None:
    """The first directory of a classic or big TIFF, in either byte order; None where it tells one thing twice."""
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    (place,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    (entries,) = struct.unpack_from(order + ("Q" if big else "H"), data, place)
    found = {}
    for entry in range(min(entries, 1000)):
        at = place + (8 + 20 * entry if big else 2 + 12 * entry)
        tag, kind = struct.unpack_from(order + "HH", data, at)
        if tag in found:
            return None  # a decoder may believe the other one
        if tag in _TIFF_TAGS:
            (found[tag],) = struct.unpack_from(order + _TIFF_SIZES[kind], data, at + (12 if big else 8))
    # A fourth channel that is said to be of no kind can be anything; where nothing is said, OpenCV wrote transparency.
    alpha = found.get(_COLOURS) == 2 and found.get(_SAMPLES) == 4 and found.get(_EXTRA) != 0
    tile = found.get(_TILE_HEIGHT, 0) * found.get(_TILE_WIDTH, 0)
    premultiplied = _PREMULTIPLIED.get(found.get(_EXTRA, 0), 0)
    return Header(found[_HEIGHT], found[_WIDTH], alpha, tile=tile, premultiplied=premultiplied)


def _pnm(data: bytes) -> Header | None:
    """Bits (P1, P4), grey (P2, P5) or colour (P3, P6): as text in the first of each two, else as bytes."""
    found = _PNM_SIZE.match(data)
    if not found:
        return None
    kind, width, height = map(int, found.groups())
    row = width * (3 if kind in (3, 6) else 1)
    if kind in (1, 4):
        row = row if kind == 1 else (width + 7) // 8
        return Header(height, width, complete=len(data) >= found.end() + height * row)
    found = _PNM_WHITE.match(data, found.end())
    if not found:
        return None
    white = int(found[1])
    if kind in (5, 6) and white > 255:
        row *= 2
    complete = len(data) > found.end() + height * row
    # OpenCV stretches text to 8 bits itself.
    return Header(height, width, complete=complete, white=255 if kind in (2, 3) and white < 256 else white)


_FORMATS: tuple[tuple[re.Pattern[bytes], Callable[[bytes], Header | None]], ...] = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), _png),
    (re.compile(rb"\xff\xd8\xff"), _jpeg),
    (re.compile(rb"GIF8[79]a"), _gif),
    (re.compile(rb"BM"), _bmp),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), _webp),
    (re.compile(rb"II[*+]\x00|MM\x00[*+]"), _tiff),
    (re.compile(rb"P[1-6]"), _pnm),
)
