"""Frames of videos, by PyAV and by the base install: times, stretches, orientation, damage, and what is written."""

import gc
import struct
import subprocess
import sys
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from conftest import no_thread_stays
from films import SIDE, Squares, film, results, sound, stretch

from mien.errors import DataError, UsageError
from mien.runtime import by_opencv, tracking
from mien.runtime.collect import Item
from mien.runtime.frames import about, read
from mien.runtime.predict import predict
from mien.runtime.recognizer import Recognizer
from mien.runtime.video import VideoOptions, writing

av = pytest.importorskip("av", reason="video needs the video extra")
pytest.importorskip("supervision", reason="tracking needs the video extra")


def test_what_is_written_is_read_at_its_own_times(tmp_path):
    times = [0.0, 0.04, 0.05, 0.3, 0.31, 0.9, 1.7]
    found = list(read(film(tmp_path / "uneven.mp4", times)))
    assert [frame.time for frame in found] == pytest.approx(times, abs=1e-3)
    assert [frame.index for frame in found] == list(range(7))
    assert found[3].pixels.shape == (90, 240, 3)
    assert found[3].pixels[40, 6 + SIDE // 2].min() > 240 and found[3].pixels[40, 200].max() < 80


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"every": 10}, [0.0, 0.4, 0.8, 1.2, 1.6]),
        ({"start": 1.9}, [1.92, 1.96]),
        ({"end": 0.1}, [0.0, 0.04, 0.08]),
        ({"start": 0.5, "end": 1.0, "every": 5}, [0.52, 0.72, 0.92]),
        ({"start": 99}, []),
    ],
)
def test_a_stretch_of_a_video(steady, options, expected):
    assert [frame.time for frame in read(steady, **options)] == pytest.approx(expected, abs=1e-3)


def test_a_log_that_others_turned_on_holds_nobody_up(steady):
    script = (
        "import sys, av; from pathlib import Path; from mien.runtime.frames import read\n"
        "av.logging.set_level(av.logging.ERROR)  # as torchvision does\n"
        "for _ in range(300): list(read(Path(sys.argv[1]), end=0.1))"
    )
    subprocess.run([sys.executable, "-c", script, str(steady)], check=True, timeout=120)


def test_the_header_tells_rate_and_length(steady):
    header = about(steady)
    assert header.rate == pytest.approx(25, abs=0.1) and header.duration == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("wrong", [{"every": 1.5}, {"detect_every": True}])
def test_frames_are_counted_in_whole_numbers(wrong):
    with pytest.raises(UsageError, match="is a whole number"):
        VideoOptions(**wrong)


@pytest.mark.parametrize("wrong", [{"every": 0}, {"start": -1}, {"start": 2, "end": 1}])
def test_impossible_stretches_are_refused(steady, wrong):
    with pytest.raises(UsageError):
        list(read(steady, **wrong))


@pytest.fixture
def base(monkeypatch):
    """The packages of the base install alone."""

    def hide():
        for name in ("av", "supervision"):
            monkeypatch.setitem(sys.modules, name, None)

    return hide


@pytest.mark.parametrize("options", [{}, {"every": 3}, {"start": 0.3}, {"start": 0.1, "end": 0.9, "every": 2}])
def test_the_base_reads_the_same_frames_at_the_same_times(tmp_path, base, options):
    path = film(tmp_path / "uneven \udce9.mp4", [0.0, 0.04, 0.05, 0.3, 0.31, 0.9, 1.7])
    with_extra, header = list(read(path, **options)), about(path)
    base()
    assert about(path) == header
    for frame, same in zip(read(path, **options), with_extra, strict=True):
        assert (frame.index, frame.time) == (same.index, pytest.approx(same.time, abs=1e-6))
        assert np.abs(frame.pixels.astype(int) - same.pixels).mean() < 2


def test_the_base_answers_each_frame_alone_and_says_so_once(steady, bundle, base, caplog):
    base()
    tracking._say_untracked.cache_clear()
    detector = Squares()
    for _ in range(2):
        found = results(steady, Recognizer(bundle, detector=detector), detect_every=5)
        assert [face.identity for result in found for face in result.faces] == [None] * 50
    assert detector.calls == 100 and caplog.text.count("mien[video]") == 1


def test_the_base_answers_a_video_that_it_cannot_draw_on_and_names_the_extra(steady, recognizer, base, tmp_path):
    base()
    *answers, last = predict([Item(str(steady), "video")], recognizer, drawings=tmp_path / "drawn")
    assert len(answers) == 50 and all(len(answer.faces) == 1 for answer in answers)
    assert "mien[video]" in last.error and not list((tmp_path / "drawn").glob("*.mp4"))


@pytest.mark.parametrize("bare", [False, True])
def test_a_film_held_sideways_is_turned_upright(tmp_path, base, bare):
    path = tmp_path / "sideways.mp4"
    corner = np.zeros((64, 96, 3), np.uint8)
    corner[:20, :20] = 255
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        stream.set_display_rotation(90)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(corner, format="rgb24")))
        container.mux(stream.encode())
    if bare:
        base()
    (frame,) = read(path)
    assert frame.pixels.shape == (96, 64, 3)
    assert frame.pixels[-10, 10].min() > 200 and frame.pixels[10, 10].max() < 50


# The upper row of a display matrix and its lower one, and what it does to a picture.
MATRICES = {
    "mirrored": ((-1, 0), (0, 1), lambda image: image[:, ::-1]),
    "upside down": ((1, 0), (0, -1), lambda image: image[::-1]),
    "turned": ((0, 1), (-1, 0), lambda image: np.rot90(image, -1)),
    "turned back": ((0, -1), (1, 0), lambda image: np.rot90(image)),
    "transposed": ((0, 1), (1, 0), lambda image: image.transpose(1, 0, 2)),
}


@pytest.mark.parametrize("kind", MATRICES)
def test_a_film_is_shown_as_its_matrix_says(tmp_path, kind):
    path = film(tmp_path / "film.mp4", [0.0, 0.1])
    flat, _ = read(path)
    right, down, seen = MATRICES[kind]
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 44
    assert struct.unpack(">5i", data[start : start + 20]) == (1 << 16, 0, 0, 0, 1 << 16)
    data[start : start + 20] = struct.pack(">5i", right[0] << 16, right[1] << 16, 0, down[0] << 16, down[1] << 16)
    path.write_bytes(data)
    shown, _ = read(path)
    assert np.array_equal(shown.pixels, seen(flat.pixels))


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize(("turned", "shape"), [(0, (64, 192, 3)), (90, (192, 64, 3))])
def test_wide_pixels_are_shown_as_wide(tmp_path, base, bare, turned, shape):
    path = tmp_path / "wide.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)
        if turned:
            stream.set_display_rotation(turned)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 96, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    if bare:
        base()
    (frame,) = read(path)
    assert frame.pixels.shape == shape


@pytest.mark.parametrize("suffix", ["avi", "mkv", "mp4"])
def test_a_title_in_another_encoding_is_no_obstacle(tmp_path, suffix):
    path = tmp_path / f"film.{suffix}"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "CafeXXX"
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 96, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    data = path.read_bytes()
    assert b"CafeXXX" in data
    path.write_bytes(data.replace(b"CafeXXX", b"Caf\xe9XXX"))
    assert len(list(read(path))) == 1


def test_an_unknown_codec_is_told(tmp_path, steady):
    path = tmp_path / "unknown.mp4"
    path.write_bytes(steady.read_bytes().replace(b"avc1", b"zzz1").replace(b"mp4v", b"zzz1"))
    with pytest.raises(DataError, match="codec is not known"):
        about(path)


def test_frames_that_grow_too_large_on_the_way_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(by_opencv, "MAX_PIXELS", 100 * 100)
    path, larger = (stretch(tmp_path / f"{side}.ts", np.arange(5) / 25, size=(side, side)) for side in (64, 128))
    with pytest.raises(DataError, match="frames are too large"):
        about(larger)
    path.write_bytes(path.read_bytes() + larger.read_bytes())
    seen = []
    with pytest.raises(DataError, match=r"too large\n  given:   128 x 128"):
        seen += (frame.pixels.shape for frame in read(path))
    assert seen == [(64, 64, 3)] * 5


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("kind", ["empty", "text", "absent", "sound", "half"])
def test_files_that_are_no_video_say_why(tmp_path, recognizer, steady, base, kind, bare):
    path = tmp_path / f"{kind}.mp4"
    reason = "cannot be opened as a video"
    if kind == "sound":
        sound(path)
        reason = "no video stream"
    elif kind != "absent":
        data = {"empty": b"", "text": b"hello " * 99, "half": steady.read_bytes()[:1500]}[kind]
        path.write_bytes(data)
    if bare:
        base()
        reason = "No such file" if kind == "absent" else "no video stream"
    with no_thread_stays(), pytest.raises(DataError, match=reason):
        results(path, recognizer)


@pytest.mark.parametrize("bare", [False, True])
def test_a_broken_stretch_is_passed_over(tmp_path, steady, base, bare):
    damaged = bytearray(steady.read_bytes())
    middle = damaged.index(b"mdat") + 4000
    damaged[middle : middle + 600] = bytes(600)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(damaged)
    if bare:
        base()
    times = [frame.time for frame in read(path)]
    assert len(times) > 10 and times == sorted(times)


@pytest.mark.parametrize("bare", [False, True])
def test_a_film_that_breaks_off_gives_what_is_there_and_says_so(tmp_path, recognizer, base, bare):
    whole = tmp_path / "whole.mp4"
    with av.open(str(whole), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        for shade in range(100):
            pixels = np.random.default_rng(shade).integers(0, 255, (64, 96, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    half = tmp_path / "half.mp4"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    if bare:
        base()
    assert [found.error for found in predict([Item(str(whole), "video")], recognizer)] == [None] * 100
    frames = []
    with pytest.raises(DataError, match="breaks off after"):
        frames += (frame.index for frame in read(half))
    *kept, last = predict([Item(str(half), "video")], recognizer, VideoOptions(detect_every=30))
    assert 30 < len(kept) < 60 and not any(found.error for found in kept)
    assert "breaks off after" in last.error
    assert [found.frame for found in kept] == list(range(len(kept))), "what was decoded is answered"


@pytest.mark.parametrize(("kept", "start"), [(0.5, 0), (0.93, 0), (0.8, 8)])
def test_a_matroska_file_without_its_end_says_so(tmp_path, kept, start):
    film = stretch(tmp_path / "film.mkv", [step / 25 for step in range(500)])
    assert len(list(read(film))) == 500
    film.write_bytes(film.read_bytes()[: round(kept * film.stat().st_size)])
    with pytest.raises(DataError, match="breaks off after"):
        list(read(film, start=start))


def test_a_long_last_frame_is_no_missing_end(tmp_path):
    uneven = [0, 0.04, 0.08, 2, 2.04, 5, 5.04]
    assert len(list(read(stretch(tmp_path / "uneven.mkv", uneven)))) == len(uneven)


def test_a_last_frame_that_is_said_to_last_is_no_missing_end(tmp_path):
    path = tmp_path / "lasting.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        shades = [np.full((64, 96, 3), 4 * step, np.uint8) for step in range(60)]
        frames = [av.VideoFrame.from_ndarray(shade, format="rgb24") for shade in shades]
        packets = [packet for frame in (*frames, None) for packet in stream.encode(frame)]
        for packet in packets:
            packet.duration = round((5 if packet is packets[-1] else 1 / 30) / packet.time_base)
            container.mux(packet)
    assert len(list(read(path))) == 60
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match="breaks off after"):
        list(read(path))


@pytest.mark.parametrize("start", [0.5, 3.3, 8.0, 11.9])
def test_a_start_is_found_where_there_is_no_index(tmp_path, start):
    path = stretch(tmp_path / "transport.ts", np.arange(300) / 25, gop=250)
    times = np.arange(300) / 25
    assert [frame.time for frame in read(path, start=start)] == pytest.approx(times[times >= start], abs=1e-3)


@pytest.mark.parametrize("start", [0.1, 0.5, 1.3, 3.3])
def test_a_program_stream_is_entered_at_the_right_time(tmp_path, start):
    path = stretch(tmp_path / "program.mpg", np.arange(100) / 25, codec="mpeg2video")
    times = np.array([frame.time for frame in read(path)])
    assert [frame.time for frame in read(path, start=start)] == pytest.approx(times[times >= start])


@pytest.mark.parametrize("bare", [False, True])
def test_a_container_that_lost_its_end_is_told(tmp_path, base, bare):
    whole, cut = stretch(tmp_path / "whole.mkv", np.arange(200) / 25), tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    if bare:
        base()
    assert len(list(read(whole))) == 200
    with pytest.raises(DataError, match="breaks off after"):
        list(read(cut))


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize(
    "times", [np.cumsum([1 / 12] * 60 + [1 / 30] * 60 + [1 / 12] * 60), 5 + np.arange(50) / 25], ids=["uneven", "late"]
)
def test_a_whole_film_of_uneven_rate_or_that_begins_late_is_whole(tmp_path, base, bare, times):
    path = stretch(tmp_path / "film.mkv", times)
    if bare:
        base()
    assert [frame.time for frame in read(path)] == pytest.approx(times - times[0], abs=2e-3)


def test_the_name_of_a_file_is_no_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("12:30 party.mp4", "http:/localhost/film.mp4", "concat:a.mp4"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        assert len(list(read(film(Path(name), [0.0, 0.1])))) == 2


def test_a_frame_that_was_read_does_not_stay_in_memory(steady):
    gc.collect()
    gc.disable()
    try:
        frames = read(steady)
        list(islice(frames, 40))
        kept = sum(type(one) is av.VideoFrame for one in gc.get_objects())
    finally:
        gc.enable()
    assert kept < 10


def test_a_video_that_cannot_be_sought_in_is_read_from_its_beginning(steady, monkeypatch):
    class Unseekable:
        def __init__(self, container):
            self.container = container

        def __getattr__(self, name):
            return getattr(self.container, name)

        def __enter__(self):
            self.container.__enter__()
            return self

        def __exit__(self, *error):
            return self.container.__exit__(*error)

        def seek(self, *args, **options):
            raise av.error.PermissionError(1, "Operation not permitted")

    opened = av.open
    monkeypatch.setattr(av, "open", lambda *args, **options: Unseekable(opened(*args, **options)))
    assert [frame.time for frame in read(steady, start=1.9)] == pytest.approx([1.92, 1.96], abs=1e-3)


def test_a_change_of_size_keeps_the_written_video_whole(tmp_path):
    path = tmp_path / "sizes.mp4"
    with writing(path, 25) as write:
        for step, side in enumerate([64, 64, 101, 33]):
            write(step / 25, np.full((side, side, 3), 99, np.uint8))
    assert [frame.pixels.shape for frame in read(path)] == [(64, 64, 3)] * 4


@pytest.mark.parametrize(("given", "written"), [((64, 17000), (60, 16384)), ((1, 50), (2, 50)), ((33, 101), (32, 100))])
def test_a_size_that_the_encoder_does_not_take_is_changed(tmp_path, given, written):
    with writing(tmp_path / "size.mp4", 25) as write:
        write(0.0, np.full((*given, 3), 99, np.uint8))
    (frame,) = read(tmp_path / "size.mp4")
    assert frame.pixels.shape == (*written, 3)


def test_no_frame_written_is_no_file(tmp_path):
    with writing(tmp_path / "none.mp4", 25):
        pass
    assert list(tmp_path.iterdir()) == []
