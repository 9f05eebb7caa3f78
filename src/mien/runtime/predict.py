"""A stream of pictures, videos and cameras to a stream of results, with drawings and charts on the way."""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
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
from mien.runtime.results import ITEM_ERRORS, FrameResult, PictureResult, Result, reason
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
                told = moved or (lambda source, share: None)
                yield from _video(item, video.start, _watched(item, recognizer, video, drawings, told))


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
        except ITEM_ERRORS as error:
            return replace(result, error=f"not drawn: {reason(error, result.source)}")
    return result


def _draw(result: PictureResult, labels: tuple[str, ...], place: Path) -> None:
    drawn = _fitting(annotate(decode(Path(result.source)), result.faces, labels))
    with replacing(place) as beside:
        beside.write_bytes(encode_jpeg(drawn, 92))


def _video(item: Item, start: float, watched: Iterator[FrameResult]) -> Iterator[FrameResult]:
    """The results of a video one behind, since the last one of a file says so; what breaks it off comes as the last."""
    last = FrameResult(item.source, -1, start)
    failure: Exception | None = None
    try:
        for result in watched:
            # A camera is never resumed: its answers need not wait for what comes after them.
            if item.kind == "camera":
                yield result
            elif last.frame >= 0:
                yield last
            last = result
        if last.frame < 0:
            raise DataError(f"{item.source} gives no frame after {start:g} s", got=f"--start {start:g}")
    except ITEM_ERRORS as error:
        failure = error
    if last.frame >= 0 and item.kind != "camera":
        yield replace(last, last=not failure)
    if failure:
        # What nobody foresaw may be mended by another mien: then the video is read again.
        foreseen = isinstance(failure, (MienError, cv2.error))
        yield FrameResult(item.source, last.frame + 1, last.time, error=reason(failure, item.source), last=foreseen)


def _watched(
    item: Item,
    recognizer: Recognizer,
    options: VideoOptions,
    drawings: Path | None,
    moved: Callable[[str, float], None],
) -> Iterator[FrameResult]:
    """The results of a video, each drawn after it was given."""
    source = int(item.source) if item.kind == "camera" else Path(item.source)
    header = about(source)
    length = min(options.end or float("inf"), header.duration or float("inf")) - options.start
    with (
        closing(watch(source, recognizer, options)) as moments,
        _interrupted(item.kind == "camera") as ended,
        _drawing(drawings, item.source, header.rate / options.every, options.start, recognizer.labels) as draw,
    ):
        for frame, result in moments:
            yield result
            draw(result, frame.pixels)
            moved(item.source, min(1.0, (frame.time - options.start) / max(length, 1e-9)))
            if ended.is_set():
                break


@contextmanager
def _drawing(
    folder: Path | None, source: str, rate: float, start: float, labels: tuple[str, ...]
) -> Iterator[Callable[[FrameResult, NDArray[np.uint8]], None]]:
    """A function that draws a frame. Of a video that breaks off, what is there is drawn all the same.

    Raises at the end what broke the video off, else DataError for what could not be drawn.
    """
    if folder is None:
        yield lambda result, pixels: None
        return
    timeline = Timeline(labels, start)
    broken: Exception | None = None
    undrawn: Exception | None = None
    with ExitStack() as written:
        write = None
        try:
            write = written.enter_context(writing(_place(folder, source, ".mp4"), rate))
        except MissingExtra as missing:
            undrawn = missing

        def draw(result: FrameResult, pixels: NDArray[np.uint8]) -> None:
            nonlocal write, undrawn
            timeline.add(result)
            if not write:
                return
            try:
                write(result.time, annotate(pixels, result.faces, labels))
            except ITEM_ERRORS as error:
                # The answers go on; of the drawing nothing is kept.
                write, undrawn = None, error
                with suppress(*ITEM_ERRORS):
                    written.__exit__(type(error), error, error.__traceback__)

        try:
            yield draw
        except ITEM_ERRORS as error:
            broken = error
        try:
            written.close()
            if timeline.identities():
                write_text(_place(folder, source, ".svg"), timeline.svg(Path(source).name))
        except ITEM_ERRORS as error:
            undrawn = undrawn or error
    if broken:
        raise broken
    if undrawn:
        raise DataError(f"not drawn: {reason(undrawn, source)}") from undrawn


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


def _place(folder: Path, source: str, suffix: str) -> Path:
    """Where the drawing of a source goes: two sources of one name in different folders stay apart."""
    path = Path(source)
    stem = path.stem
    while len(os.fsencode(stem)) > _STEM:
        stem = stem[:-1]
    return folder / f"{stem}-{digest(str(path.absolute()))[:12]}{suffix}"
