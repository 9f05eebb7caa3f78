"""Decoding: every format people have, and every way in which a file can be broken."""

import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mien.errors import UnreadableImage, UsageError
from mien.imaging.decode import decode, encode_jpeg, encode_png
from mien.imaging.headers import read_header

FORMATS = ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM"]


def picture(height: int = 40, width: int = 60) -> np.ndarray:
    """A smooth colour picture whose four corners differ."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, 255 - x * 255 // width], -1).astype(np.uint8)


def file(image: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, kind, **options)
    return stream.getvalue()


def close(a: np.ndarray, b: np.ndarray, within: float) -> bool:
    return a.shape == b.shape and float(np.abs(a.astype(float) - b).mean()) <= within


@pytest.mark.parametrize("kind", FORMATS)
def test_colour_files_give_rgb(kind: str) -> None:
    found = decode(file(picture(), kind, **({"quality": 95} if kind in ("JPEG", "WEBP") else {})))
    assert found.dtype == np.uint8
    assert close(found, picture(), 9 if kind == "GIF" else 4)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "PPM"])
def test_grey_files_give_two_dimensions(kind: str) -> None:
    assert close(decode(file(picture()[..., 0], kind)), picture()[..., 0], 2)


def test_sixteen_bits_are_scaled_not_cut() -> None:
    deep = np.array([[0, 257, 65535, 32896]], np.uint16)
    assert decode(file(deep, "PNG")).tolist() == [[0, 1, 255, 128]]


@pytest.mark.parametrize(
    ("data", "pixels"),
    [
        (b"P1\n3 1\n0 1 0\n", [255, 0, 255]),
        (b"P2\n3 1\n15\n0 8 15\n", [0, 136, 255]),
        (b"P2 3 1 4095\n0 2048 4095\n", [0, 128, 255]),
        (b"P4\n3 1\n\x40", [255, 0, 255]),
        (b"P5\n# a comment of 9 9\n3 1\n127\n\x00\x40\x7f", [0, 129, 255]),
        (b"P5\n3 1\n4095\n\x00\x00\x08\x00\x0f\xff", [0, 128, 255]),
    ],
)
def test_a_pnm_file_says_itself_what_is_white(data: bytes, pixels: list[int]) -> None:
    assert decode(data).tolist() == [pixels]
    with pytest.raises(UnreadableImage):
        decode(data[:-2])


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(kind: str) -> None:
    inks = Image.fromarray(picture()).convert("CMYK")
    assert close(decode(file(inks, kind)), picture(), 4)


def test_transparency_is_laid_on_white() -> None:
    image = np.zeros((1, 3, 4), np.uint8)
    image[0, :, 3] = [0, 255, 51]
    assert decode(file(image, "PNG"))[0, :, 0].tolist() == [255, 0, 204]
    grey = np.zeros((1, 2, 2), np.uint8)
    grey[0, :, 1] = [0, 255]
    assert decode(file(_grey_alpha(grey), "PNG")).tolist() == [[255, 0]]


def _grey_alpha(pixels: np.ndarray) -> Image.Image:
    return Image.merge("LA", [Image.fromarray(np.ascontiguousarray(pixels[..., i])) for i in range(2)])


@pytest.mark.parametrize(("bits", "clear"), [(1, 0), (1, 1), (2, 2), (8, 85), (16, 21_845)])
def test_a_grey_that_a_png_calls_transparent_is_white(bits: int, clear: int) -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc)

    most = (1 << bits) - 1
    greys = [clear, 0, most]
    row = b"".join(struct.pack(">H", grey) for grey in greys) if bits == 16 else bytes(greys)
    if bits < 8:
        row = (sum(grey << (8 - bits * (at + 1)) for at, grey in enumerate(greys))).to_bytes(1)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 3, 1, bits, 0, 0, 0, 0))
    data += chunk(b"tRNS", struct.pack(">H", clear)) + chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")
    assert decode(data).tolist() == [[255, 255 if clear == 0 else 0, 255]]


def test_a_png_of_no_bits_is_no_header() -> None:
    data = bytearray(file(picture()[..., 0], "PNG", transparency=0))
    data[24] = 0
    with pytest.raises(UnreadableImage, match="not a whole"):
        decode(bytes(data))


def tiff(pixels: np.ndarray, kind: int | None) -> bytes:
    """A TIFF of (1, W, 4) uint8 or uint16 pixels, whose fourth channel is of this kind."""
    data = pixels.tobytes()
    tags = [
        (256, 4, pixels.shape[1]), (257, 4, 1), (259, 3, 1), (262, 3, 2), (277, 3, 4), (278, 4, 1), (279, 4, len(data)),
    ]  # fmt: skip
    tags += [] if kind is None else [(338, 3, kind)]
    place = 8 + 2 + 12 * (len(tags) + 2) + 4
    counted = [(tag, type_, 1, value) for tag, type_, value in tags] + [(258, 3, 4, place), (273, 4, 1, place + 8)]
    entries = b"".join(struct.pack("<HHII", *each) for each in sorted(counted))
    bits = struct.pack("<4H", *[8 * pixels.itemsize] * 4)
    return b"II*\0" + struct.pack("<IH", 8, len(counted)) + entries + bytes(4) + bits + data


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("kind", "laid"),
    [(0, [200, 100, 40]), (1, [200, 255, 244]), (2, [200, 224, 212]), (None, [200, 224, 212])],
    ids=["of no kind", "premultiplied", "straight", "not said"],
)
def test_transparency_of_a_tiff_is_laid_on_white_once(depth: type, kind: int | None, laid: list[int]) -> None:
    pixels = np.array([[[200, 0, 0, 255], [100, 0, 0, 51], [40, 0, 0, 51]]]) * (257 if depth == np.uint16 else 1)
    assert decode(tiff(pixels.astype(depth), kind))[0, :, 0].tolist() == laid


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_an_animation_gives_its_first_frame(kind: str) -> None:
    frames = [Image.fromarray(np.full((20, 30, 3), value, np.uint8)) for value in (40, 200)]
    data = file(frames[0], kind, save_all=True, append_images=frames[1:])
    assert close(decode(data), np.full((20, 30, 3), 40), 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_picture_upright(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    turns = {
        1: lambda p: p, 2: lambda p: p[:, ::-1], 3: lambda p: p[::-1, ::-1], 4: lambda p: p[::-1],
        5: lambda p: p.swapaxes(0, 1), 6: lambda p: np.rot90(p, -1), 7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
        8: lambda p: np.rot90(p),
    }  # fmt: skip
    options = {"quality": 95} if kind in ("JPEG", "WEBP") else {}
    assert close(decode(file(picture(), kind, exif=exif, **options)), turns[orientation](picture()), 4)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9, 0.99])
def test_truncated_files_are_refused(kind: str, part: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 90, 3), np.uint8)
    data = file(noise, kind)
    with pytest.raises(UnreadableImage):
        decode(data[: int(len(data) * part)])


def test_a_thumbnail_does_not_pass_for_the_end_of_a_truncated_jpeg() -> None:
    inner, outer = file(picture(), "JPEG"), file(picture(400, 600), "JPEG")
    segment = b"\xff\xe2" + struct.pack(">H", len(inner) + 2) + inner
    whole = outer[:2] + segment + outer[2:]
    assert decode(whole).shape == (400, 600, 3)
    with pytest.raises(UnreadableImage, match="truncated"):
        decode(whole[:-200])


def test_bytes_after_the_end_of_a_jpeg_do_no_harm() -> None:
    assert decode(file(picture(), "JPEG") + b"\0" * 1000).shape == (40, 60, 3)


def _bomb(kind: str) -> bytes:
    """A small file that claims 60,000 x 60,000 pixels."""
    side = 60_000
    if kind == "PNG":
        chunk = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    if kind == "GIF":
        return b"GIF89a" + struct.pack("<HH", side, side) + b"\0" * 20
    if kind == "BMP":
        return b"BM" + b"\0" * 12 + struct.pack("<Iii", 40, side, -side) + b"\0" * 28
    if kind == "WEBP":
        size = (side - 1).to_bytes(3, "little")
        return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<II", 10, 0) + size + size
    if kind == "PPM":
        return b"P6\n# 9 9\r%d %d\n255\n" % (side, side)
    if kind == "TIFF":
        return b"II*\0" + struct.pack("<IH", 8, 2) + b"".join(struct.pack("<HHII", t, 4, 1, side) for t in (256, 257))
    return b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 11, 8, side, side, 1) + b"\x01\x11\x00\xff\xd9"


@pytest.mark.parametrize("kind", FORMATS)
def test_bombs_are_refused_by_their_header(kind: str) -> None:
    with pytest.raises(UnreadableImage, match="too large") as caught:
        decode(_bomb(kind))
    assert "60000 x 60000" in str(caught.value)


def test_a_png_chunk_that_claims_gigabytes_is_refused_before_they_are_reserved() -> None:
    data = bytearray(encode_png(picture()))
    data[data.index(b"IDAT") - 4] = 0xCF
    with pytest.raises(UnreadableImage, match="truncated"):
        decode(bytes(data))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with a name are POSIX")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UnreadableImage, match="it is a pipe"):
        decode(tmp_path / "pipe.png")


def test_the_limit_is_the_callers() -> None:
    data = file(picture(), "PNG")
    assert decode(data, max_pixels=2400).shape == (40, 60, 3)
    with pytest.raises(UnreadableImage, match="too large"):
        decode(data, max_pixels=2399)


@pytest.mark.parametrize("first", [(6, 4), (600, 400)])
def test_a_tiff_that_tells_its_size_twice_is_refused(first: tuple[int, int]) -> None:
    width, height = 600, 400
    sizes = [*zip((256, 257), first, strict=True), (256, 6), (257, 4), (256, width), (257, height)]
    rest = [(258, 8), (259, 1), (262, 1), (273, 8 + 2 + 12 * 12 + 4), (277, 1), (279, width * height)]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in [*sizes, *rest])
    data = b"II*\0" + struct.pack("<IH", 8, 12) + directory + struct.pack("<I", 0) + bytes(width * height)
    with pytest.raises(UnreadableImage, match="header"):
        decode(data, 10_000)


def test_a_big_tiff_says_its_size() -> None:
    entries = b"".join(struct.pack(">HHQHxxxxxx", tag, 3, 1, side) for tag, side in ((256, 30), (257, 20)))
    header = read_header(b"MM\0+" + struct.pack(">HHQQ", 8, 0, 16, 2) + entries)
    assert header is not None
    assert (header.height, header.width) == (20, 30)


def test_errors_name_the_path_and_the_reason(tmp_path: Path) -> None:
    empty, text, folder = tmp_path / "empty.png", tmp_path / "notes.jpg", tmp_path / "folder.png"
    empty.touch()
    text.write_text("not a picture")
    folder.mkdir()
    for path, reason in (
        (empty, "empty"),
        (text, "not a whole PNG"),
        (tmp_path / "absent.png", "No such file"),
        (folder, "directory"),
    ):
        with pytest.raises(UnreadableImage, match=reason) as caught:
            decode(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(("brand", "said"), [(b"heic", "HEIC or AVIF"), (b"avif", "HEIC or AVIF"), (b"isom", "MP4")])
def test_what_hides_under_the_name_of_a_picture_is_told(brand: bytes, said: str) -> None:
    with pytest.raises(UnreadableImage, match=said):
        decode(b"\0\0\0\x18ftyp" + brand + bytes(99))


def test_a_depth_that_cannot_be_shown_is_not_called_damage(tmp_path: Path) -> None:
    path = tmp_path / "depth.tiff"
    path.write_bytes(cv2.imencode(".tiff", np.ones((8, 8), np.float32))[1].tobytes())
    with pytest.raises(UnreadableImage, match="float32") as caught:
        decode(path)
    assert str(path) not in caught.value.reason


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_a_forbidden_file_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(encode_png(picture()))
    path.chmod(0)
    with pytest.raises(UnreadableImage, match="Permission denied"):
        decode(path)


def test_any_name_will_do(tmp_path: Path) -> None:
    path = tmp_path / "表情 с пробелом é.png"
    path.write_bytes(encode_png(picture()))
    assert np.array_equal(decode(path), picture())


@given(st.integers(1, 20), st.integers(1, 20), st.booleans(), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_png_brings_back_every_pixel(height: int, width: int, grey: bool, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width) if grey else (height, width, 3), np.uint8)
    assert np.array_equal(decode(encode_png(image)), image)


def test_jpeg_comes_back_close() -> None:
    assert close(decode(encode_jpeg(picture(), 95)), picture(), 3)
    with pytest.raises(UsageError, match="quality"):
        encode_jpeg(picture(), 101)


@given(st.binary(max_size=300), st.sampled_from(FORMATS))
@settings(max_examples=150, deadline=None)
def test_garbage_behind_any_magic_is_refused_not_crashed_on(noise: bytes, kind: str) -> None:
    start = file(picture(), kind)[:8]
    with pytest.raises(UnreadableImage):
        decode(start + noise, max_pixels=10_000)


def test_a_tile_larger_than_its_picture_counts_as_what_it_takes_to_decode() -> None:
    tags = [(256, 10), (257, 10), (322, 12_288), (323, 12_288)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    data = b"II*\x00" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    with pytest.raises(UnreadableImage, match="in tiles of 150,994,944"):
        decode(data)


def scanned(side: int, extra: int) -> bytes:
    """A grey progressive JPEG, and after its own six scans more of them."""
    whole = file(np.full((side, side), 128, np.uint8), "JPEG", progressive=True)
    assert whole.count(b"\xff\xda") == 6
    return (
        whole[:-2]
        + (b"\xff\xda" + struct.pack(">HBBB", 8, 1, 1, 0) + b"\x01\x3f\x10\xff\x00\xff\xd0") * extra
        + whole[-2:]
    )


def test_a_jpeg_of_many_scans_is_refused_before_they_are_decoded() -> None:
    assert decode(scanned(40, 0)).shape == (40, 40)
    for side, extra, most in ((40, 95, 100), (7000, 40, 40)):
        with pytest.raises(UnreadableImage, match=rf"too many scans .* {most} are allowed"):
            decode(scanned(side, extra))


def test_a_long_run_of_fill_bytes_is_walked_once() -> None:
    with pytest.raises(UnreadableImage, match="not a whole"):
        decode(b"\xff\xd8" + b"\xff" * 5_000_000 + b"\0")


def test_an_offset_beyond_all_files_is_no_header() -> None:
    with pytest.raises(UnreadableImage, match="not a whole"):
        decode(b"II+\0\x08\0\0\0" + b"\xff" * 8)


@pytest.mark.parametrize("data", [b"\xff\xd8\xff" + b"\xff\x01" * 2_000_000, b"\x89PNG\r\n\x1a\n" + bytes(12_000_000)])
def test_a_file_of_nothing_but_parts_is_given_up(data: bytes) -> None:
    with pytest.raises(UnreadableImage, match="not a whole"):
        decode(data)
