"""Every picture of a dataset through the chain, once: one memory-mapped array, cached by data and chain."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import rmtree
from time import time

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mien.data.samples import Files, Samples
from mien.errors import DataError, UnreadableImage, counted
from mien.files import cache_folder, digest, read_json, replacing_folder, write_json
from mien.imaging.chain import Chain
from mien.imaging.operations import Image
from mien.runtime.ahead import cores, in_order
from mien.stages import Progress

CHUNK = 32
FORMAT = "4"
"""Part of every key: raised when a picture is decoded, a step is computed or a row is kept otherwise than before."""
DROPPED = "dropped by the chain: "
NOTHING = "no picture could be prepared"
HALF_BUILT_AFTER = 3600.0

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Prepared:
    """The pictures of a dataset after its chain, in the order of its table.

    `pixels` (N, H, W) or (N, H, W, 3) uint8, memory-mapped, read-only, zero where `ok` is False; `ok` (N,) bool;
    `digests` (N,) str and `sizes` (N, 2) int64, height and width, of the decoded pictures before the chain, empty and 0
    where unreadable; `notes` counts by note ("no-face"); `problems` the rows that are not ok, columns `image` and
    `reason`.
    """

    pixels: NDArray[np.uint8]
    ok: NDArray[np.bool_]
    digests: NDArray[np.str_]
    sizes: NDArray[np.int64]
    notes: dict[str, int]
    problems: pd.DataFrame

    @property
    def remarks(self) -> list[str]:
        """What a reader of results must know: how many pictures were left out and why, how many were kept as is."""
        dropped = self.problems["reason"].str.startswith(DROPPED)
        unreadable = len(self.problems) - int(dropped.sum())
        found = [f"{counted(unreadable, 'unreadable picture')} left out"] if unreadable else []
        for note, count in self.notes.items():
            out = int((dropped & self.problems["reason"].str.contains(note, regex=False)).sum())
            kept = "kept whole" if note == "no-face" else "kept"
            done = [f"{out} dropped"] * (out > 0) + [f"{count - out} {kept}"] * (out < count)
            found.append(f"{note}: {count} of {len(self.ok)} pictures ({', '.join(done)})")
        return found


@dataclass(frozen=True)
class Row:
    """What became of one picture."""

    image: str
    digest: str = ""
    reason: str = ""
    notes: tuple[str, ...] = ()
    height: int = 0
    width: int = 0


def prepare(
    samples: Samples, chain: Chain, cache: Path | None = None, strict: bool = False, progress: Progress | None = None
) -> Prepared:
    """Run the chain over every picture on all cores, or take the result from the cache.

    The cache is a folder `<cache>/prepared/<key>`, there in whole or not at all, so that a killed run leaves nothing
    that counts and of two runs at once the first wins. Unreadable pictures are listed in `problems` and the rest goes
    on, unless `strict`. Raises DataError when no picture can be read, when sizes differ after the chain, when the disk
    is full, when a step is told to fail; and under `strict` when there is any problem.
    """
    images = samples.table["image"].tolist()
    prepared = (cache or cache_folder()) / "prepared"
    folder = prepared / _key(samples, chain, images)
    if not folder.is_dir():
        _sweep(prepared)
        with replacing_folder(folder) as beside:
            _build(samples, chain, images, beside, progress)
    elif progress:
        progress(len(images), len(images))
    result = _load(folder)
    if strict and len(result.problems):
        first = [f"{row.image} ({row.reason})" for row in result.problems.head(10).itertuples()]
        raise DataError(f"{len(result.problems)} of {len(images)} pictures cannot be used", got=first)
    return result


def pixel_digest(image: Image) -> str:
    """A digest of a decoded picture: the same in any lossless layout, grey or grey stored as colour."""
    if image.ndim == 3 and (image[:, :, 0] == image[:, :, 1]).all() and (image[:, :, 0] == image[:, :, 2]).all():
        image = image[:, :, 0]
    return digest(str(image.shape), image.tobytes())


def _key(samples: Samples, chain: Chain, images: list[str]) -> str:
    reader = samples.reader
    root = str(reader.root.resolve()) if isinstance(reader, Files) else ""
    return digest(
        FORMAT,
        cv2.__version__,
        chain.digest,
        root,
        *(part for image in images for part in (image, reader.stamp(image))),
    )


def _build(samples: Samples, chain: Chain, images: list[str], folder: Path, progress: Progress | None) -> None:
    shape = _shape(samples, chain, images)
    work = partial(_chunk, samples, chain, images, shape)
    rows: list[Row] = []
    workers = cores()
    with (
        (folder / "pixels.npy").open("wb") as stream,
        _one_opencv_thread(),
        ThreadPoolExecutor(workers) as pool,
    ):
        chunks = (pool.submit(work, start) for start in range(0, len(images), CHUNK))
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(images), *shape)}
        np.lib.format.write_array_header_1_0(stream, header)
        for pixels, done in in_order(chunks, ahead=2 * workers):
            _write(stream.write, pixels, len(images), folder.parent)
            rows += done
            if progress:
                progress(len(rows), len(images))
    columns = ("image", "digest", "reason", "height", "width")
    pd.DataFrame({name: [getattr(row, name) for row in rows] for name in columns}).to_parquet(folder / "rows.parquet")
    notes = Counter(sorted(note for row in rows for note in row.notes))
    source = "+".join(sorted(samples.table["source"].dropna().unique()))
    write_json(folder / "about.json", {"source": source, "chain": chain.as_list(), "rows": len(rows), "notes": notes})


def _shape(samples: Samples, chain: Chain, images: list[str]) -> Shape:
    """The shape of the first picture that comes through the chain."""
    reasons: dict[str, list[str]] = {}
    for image in images:
        pixels, row = _picture(samples, chain, image)
        if pixels is not None:
            return pixels.shape
        reasons.setdefault(row.reason, []).append(image)
    dropped = any(reason.startswith(DROPPED) for reason in reasons)
    raise DataError(
        NOTHING,
        got=[f"{reason}: {len(found):,}, first {found[0]}" for reason, found in reasons.items()][:3],
        then="look at what the steps see with: mien data preview SOURCE ROOT --chain STEPS; 'missing: keep' drops none"
        if dropped
        else "check the folder with: mien data stats SOURCE ROOT",
    )


def _chunk(samples: Samples, chain: Chain, images: list[str], shape: Shape, start: int) -> tuple[Image, list[Row]]:
    names = images[start : start + CHUNK]
    block = np.zeros((len(names), *shape), np.uint8)
    rows = []
    for into, image in zip(block, names, strict=True):
        pixels, row = _picture(samples, chain, image)
        rows.append(row)
        if pixels is None:
            continue
        if pixels.shape != shape:
            raise DataError(
                "pictures differ in size or channels after the chain",
                got=f"{image} is {_shown(pixels.shape)}, the first is {_shown(shape)}",
                then="add a step 'resize' to the chain" if pixels.shape[:2] != shape[:2] else "add 'grey' or 'colour'",
            )
        into[...] = pixels
    return block, rows


def _picture(samples: Samples, chain: Chain, image: str) -> tuple[Image | None, Row]:
    try:
        decoded = samples.reader.read(image)
    except UnreadableImage as error:
        return None, Row(image, reason=error.reason)
    name = pixel_digest(decoded)
    try:
        outcome = chain.run(decoded)
    except DataError as error:
        raise DataError(f"{image}: {error.what}", got=error.got, allowed=error.allowed, then=error.then) from error
    except cv2.error as error:
        # Want of memory passes, and must not stay in the cache as a fault of the picture.
        if error.code == cv2.Error.StsNoMem:
            raise DataError(f"{image}: too little memory for a picture of {_shown(decoded.shape)} pixels") from error
        return None, Row(image, name, f"OpenCV cannot work on it: {error.err}", (), *decoded.shape[:2])
    reason = "" if outcome.pixels is not None else DROPPED + ", ".join(outcome.notes)
    return outcome.pixels, Row(image, name, reason, outcome.notes, *decoded.shape[:2])


def _write(write: Callable, block: Image, total: int, folder: Path) -> None:
    # Plain writes, not a mapping: a full disk is then an OSError and not a bus error.
    try:
        write(block.data)
    except OSError as error:
        needed = block[0].nbytes * total
        raise DataError(
            f"cannot write the prepared pictures to {folder}: {error.strerror}",
            got=f"{needed:,} bytes are needed",
            then="make room, or choose another folder with MIEN_CACHE",
        ) from error


def _load(folder: Path) -> Prepared:
    # The time of the last use, for `mien data cache`; a cache that may only be read serves all the same.
    with suppress(OSError):
        os.utime(folder / "about.json")
    rows = pd.read_parquet(folder / "rows.parquet")
    bad = rows["reason"] != ""
    return Prepared(
        pixels=np.load(folder / "pixels.npy", mmap_mode="r", allow_pickle=False),
        ok=~bad.to_numpy(dtype=bool),
        digests=rows["digest"].to_numpy(dtype=np.str_),
        sizes=rows[["height", "width"]].to_numpy(np.int64),
        notes=read_json(folder / "about.json")["notes"],
        problems=rows.loc[bad, ["image", "reason"]].reset_index(drop=True),
    )


def _sweep(prepared: Path) -> None:
    """Remove what killed runs left: hidden folders that nobody has written to for an hour."""
    for left in prepared.glob(".*/"):
        # Another run may finish its folder, and so rename it, while it is looked at.
        with suppress(FileNotFoundError):
            written = max((path.stat().st_mtime for path in [left, *left.iterdir()]), default=0.0)
            if time() - written > HALF_BUILT_AFTER:
                rmtree(left, ignore_errors=True)


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """OpenCV without threads of its own while ours keep every core busy."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _shown(shape: Shape) -> str:
    return " x ".join(map(str, shape))
