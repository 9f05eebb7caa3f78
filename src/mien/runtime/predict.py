"""A stream of pictures, videos and cameras to a stream of results, with drawings and charts on the way."""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from threading import Event, current_thread, main_thread

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError, MienError, MissingExtra
from mien.files import digest, replacing, write_text
from mien.imaging.decode import decode, encode_jpeg
from mien.imaging.operations import resize
from mien.runtime.ahead import in_order
from mien.runtime.annotate import annotate
from mien.runtime.collect import Item
from mien.runtime.frames import about
from mien.runtime.recognizer import Recognizer
from mien.runtime.results import FrameResult, PictureResult, Result, reason
from mien.runtime.timeline import Timeline
from mien.runtime.video import VideoOptions, watch, writing

JPEG_SIDE = 65_500
_STEM = 160  # bytes of a name that its drawing keeps: file systems take 255, and ours are longer for a while


def predict(
    items: Iterable[Item],
    recognizer: Recognizer,
    video: VideoOptions = VideoOptions(),
    drawings: Path | None = None,
    moved: Callable[[str, float], None] | None = None,
) -> Iterator[Result]:
    """The results of each item in order: one a picture, one a frame of a video; a broken item gives one with an error.

    The last result of a video says so, and comes when the drawings of the video are whole.
    With `drawings`, a folder, each picture is also written with its faces marked, and each video as an MP4 with an SVG
    chart of each face over time. `moved(source, share)` hears how far a video is.
    """
    for kind, run in groupby(items, key=lambda item: item.kind):
        if kind == "picture":
            yield from _pictures((item.source for item in run), recognizer, drawings)
            continue
        for item in run:
            if kind == "broken":
                yield PictureResult(item.source, error=item.error)
            else:
                yield from _video(item, recognizer, video, drawings, moved or (lambda source, share: None))


def drawing(item: Item, folder: Path) -> Path:
    """Where `predict` draws a picture or a video."""
    return _place(folder, item.source, ".mp4" if item.kind == "video" else ".jpg")


def _pictures(sources: Iterable[str], recognizer: Recognizer, drawings: Path | None) -> Iterator[PictureResult]:
    if drawings is None:
        yield from recognizer.stream(sources)
        return
    with ThreadPoolExecutor(recognizer.workers, "mien-draws") as pool:
        drawn = (pool.submit(_drawn, result, recognizer.labels, drawings) for result in recognizer.stream(sources))
        with closing(in_order(drawn, 2 * recognizer.workers)) as results:
            yield from results


def _drawn(result: PictureResult, labels: tuple[str, ...], drawings: Path) -> PictureResult:
    """A result whose picture has been drawn, or that says why it has not."""
    if result.error is None:
        try:
            _draw(result, labels, _place(drawings, result.source, ".jpg"))
        except (MienError, cv2.error, MemoryError) as error:
            return replace(result, error=f"not drawn: {reason(error, result.source)}")
    return result


def _draw(result: PictureResult, labels: tuple[str, ...], place: Path) -> None:
    drawn = _fitting(annotate(decode(Path(result.source)), result.faces, labels))
    with replacing(place) as beside:
        beside.write_bytes(encode_jpeg(drawn, 92))


def _video(
    item: Item,
    recognizer: Recognizer,
    options: VideoOptions,
    drawings: Path | None,
    moved: Callable[[str, float], None],
) -> Iterator[FrameResult]:
    source = int(item.source) if item.kind == "camera" else Path(item.source)
    last = FrameResult(item.source, -1, options.start)
    failure: Exception | None = None
    try:
        header = about(source)
        end = min(options.end or float("inf"), header.duration or float("inf"))
        timeline = Timeline(recognizer.labels, options.start)
        moments = watch(source, recognizer, options)
        with ExitStack() as stack:
            stack.enter_context(closing(moments))
            ended = stack.enter_context(_interrupted(item.kind == "camera"))
            try:
                draw = _drawer(drawings, item.source, header.rate / options.every, recognizer.labels, stack)
            except MissingExtra as missing:
                draw, failure = _drawer(None, item.source, 0, (), stack), missing
            try:
                for frame, result in moments:
                    # A camera is never resumed: its answers need not wait for what comes after them.
                    if last.frame >= 0 and item.kind != "camera":
                        yield last
                    last = result
                    if item.kind == "camera":
                        yield last
                    timeline.add(last)
                    draw(last, frame.pixels)
                    moved(item.source, min(1.0, (frame.time - options.start) / max(end - options.start, 1e-9)))
                    if ended.is_set():
                        break
            except (MienError, cv2.error) as error:
                failure = error
        if last.frame < 0 and not failure:
            raise DataError(f"{item.source} gives no frame after {options.start:g} s", got=f"--start {options.start:g}")
        if drawings and timeline.identities():
            write_text(_place(drawings, item.source, ".svg"), timeline.svg(Path(item.source).name))
    except (MienError, cv2.error) as error:
        failure = failure or error
    if last.frame >= 0 and item.kind != "camera":
        yield replace(last, last=not failure)
    if failure:
        yield FrameResult(item.source, last.frame + 1, last.time, error=reason(failure, item.source), last=True)


@contextmanager
def _interrupted(camera: bool) -> Iterator[Event]:
    """An event that the first Ctrl-C sets: a camera has no other end, and what it gave is to be kept.

    A second Ctrl-C interrupts as usual, and so does the first outside of the main thread and for files.
    """
    ended = Event()
    if not camera or current_thread() is not main_thread():
        yield ended
        return
    before = signal.getsignal(signal.SIGINT)

    def end(*_: object) -> None:
        ended.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, end)
    try:
        yield ended
    finally:
        signal.signal(signal.SIGINT, before)


def _fitting(drawn: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The drawing, smaller where a JPEG cannot be as long."""
    longest = max(drawn.shape[:2])
    if longest <= JPEG_SIDE:
        return drawn
    height, width = (max(1, round(side * JPEG_SIDE / longest)) for side in drawn.shape[:2])
    return resize(drawn, height, width)


def _drawer(
    drawings: Path | None, source: str, rate: float, labels: tuple[str, ...], stack: ExitStack
) -> Callable[[FrameResult, NDArray[np.uint8]], None]:
    if drawings is None:
        return lambda result, pixels: None
    write = stack.enter_context(writing(_place(drawings, source, ".mp4"), rate))
    return lambda result, pixels: write(result.time, annotate(pixels, result.faces, labels))


def _place(folder: Path, source: str, suffix: str) -> Path:
    """Where the drawing of a source goes: two sources of one name in different folders stay apart."""
    path = Path(source)
    stem = os.fsdecode(os.fsencode(path.stem)[:_STEM])
    return folder / f"{stem}-{digest(str(path.absolute()))[:12]}{suffix}"
