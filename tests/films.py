"""Short videos for the tests, and a detector that knows what they show."""

from fractions import Fraction

import numpy as np
import pytest

from mien.imaging.faces import Face
from mien.runtime.video import VideoOptions, watch, writing

av = pytest.importorskip("av", reason="video needs the video extra")


SIDE = 40


class Squares:
    """A detector of the white squares that `film` draws."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, image):
        self.calls += 1
        columns = np.flatnonzero((image[30:50] > 200).all(axis=(0, 2)))
        starts = [x for x in columns if x - 1 not in columns]
        return [Face((float(x), 20.0, SIDE, SIDE), 0.9) for x in starts]


def film(path, times, at=lambda step: 2 * step, rate=25):
    """A video with a white square, whose left edge `at` gives for each frame, shown at these times in seconds."""
    with writing(path, rate) as write:
        for step, time in enumerate(times):
            pixels = np.full((90, 240, 3), 60, np.uint8)
            pixels[20 : 20 + SIDE, at(step) : at(step) + SIDE] = 255
            write(time, pixels)
    return path


def results(*args, **options):
    return [result for _, result in watch(*args, VideoOptions(**options))]


def sound(path):
    with av.open(str(path), "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def stretch(path, times, gop=12, size=(64, 96), codec="mpeg4"):
    """A video of noise with the given time stamps, in the format that its name says."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        (stream.height, stream.width), stream.pix_fmt = size, "yuv420p"
        stream.codec_context.gop_size = gop
        if codec == "mpeg4":
            stream.codec_context.time_base = Fraction(1, 1000)
        for seed, time in enumerate(times):
            pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
