"""The pictures of a report: which rows to show, and a stored sheet, so that the data set is not needed again."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mien.evaluation.comparison import labels_of, probabilities_of
from mien.files import read_json, replacing, write_json
from mien.imaging import operations
from mien.imaging.decode import decode, encode_png

Pictures = Mapping[int, NDArray[np.uint8]]

TILE = 96
"""Longest side of a stored picture, in pixels; smaller ones keep their size."""

_COLUMNS = 12


@dataclass(frozen=True)
class Mistake:
    """One wrong answer: the picture (a data address, or None), its name, and the leading probabilities."""

    image: str
    picture: str | None
    label: str
    predicted: str
    leading: tuple[tuple[str, float], ...]


def select_gallery(predictions: pd.DataFrame, limit: int = 24) -> list[int]:
    """Row positions of the surest mistakes, taken from the true classes in turn so that none fills the gallery.

    A row without a label is never a mistake.
    """
    wrong = (predictions["predicted"] != predictions["label"]) & predictions["label"].notna()
    positions = np.flatnonzero(wrong.to_numpy(bool))
    confidence = probabilities_of(predictions).max(axis=1)
    surest = positions[np.argsort(-confidence[positions], kind="stable")]
    labels = predictions["label"].to_numpy()
    queues = [[int(row) for row in surest if labels[row] == label] for label in labels_of(predictions)]
    return [row for row in chain.from_iterable(zip_longest(*queues)) if row is not None][:limit]


def mistakes(predictions: pd.DataFrame, rows: Sequence[int], pictures: Pictures) -> list[Mistake]:
    """What the gallery shows of the given rows; pictures that are not at hand are left out."""
    labels, values = labels_of(predictions), probabilities_of(predictions)
    shown = []
    for row in rows:
        best = np.argsort(-values[row], kind="stable")[:3]
        leading = tuple((labels[i], float(values[row, i])) for i in best)
        entry = predictions.iloc[row]
        picture = address_of(pictures.get(row))
        shown.append(Mistake(str(entry["image"]), picture, str(entry["label"]), str(entry["predicted"]), leading))
    return shown


def data_address(content: bytes, kind: str) -> str:
    """A picture as a `data:` address, so that the page needs no other file."""
    mime = {"svg": "svg+xml"}.get(kind, kind)
    return f"data:image/{mime};base64,{base64.b64encode(content).decode()}"


def address_of(picture: NDArray[np.uint8] | None) -> str | None:
    """A picture as a PNG in a `data:` address; None stays None."""
    return None if picture is None else data_address(encode_png(picture), "png")


def store(folder: Path, images: Mapping[int, str], pictures: Pictures) -> None:
    """Keep pictures of prediction rows as one sheet, `gallery.png`, with `gallery.json` saying what is where.

    `pictures` (row position -> uint8 (H, W) or (H, W, 3)); `images` names the rows. The JSON is {"tile", "columns",
    "tiles": [{"row", "image", "height", "width"}]}, tiles in reading order.
    """
    small = {row: _small(picture) for row, picture in pictures.items()}
    if not small:
        return
    colour = any(picture.ndim == 3 for picture in small.values())
    height = TILE * -(-len(small) // _COLUMNS)
    sheet = np.zeros((height, TILE * _COLUMNS, 3) if colour else (height, TILE * _COLUMNS), np.uint8)
    tiles = []
    for index, (row, picture) in enumerate(small.items()):
        top, left = TILE * (index // _COLUMNS), TILE * (index % _COLUMNS)
        pixels = operations.colour(picture) if colour else picture
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = pixels
        tiles.append({"row": int(row), "image": images[row], "height": picture.shape[0], "width": picture.shape[1]})
    with replacing(folder / "gallery.png") as beside:
        beside.write_bytes(encode_png(sheet))
    write_json(folder / "gallery.json", {"tile": TILE, "columns": _COLUMNS, "tiles": tiles})


def stored(folder: Path) -> dict[str, NDArray[np.uint8]]:
    """The pictures that `store` kept in a folder, by image name; none where there is no sheet."""
    if not (folder / "gallery.json").is_file() or not (folder / "gallery.png").is_file():
        return {}
    about, sheet = read_json(folder / "gallery.json"), decode(folder / "gallery.png")
    return {tile["image"]: _cut(sheet, index, tile, about) for index, tile in enumerate(about["tiles"])}


def _cut(sheet: NDArray[np.uint8], index: int, tile: dict[str, Any], about: dict[str, Any]) -> NDArray[np.uint8]:
    top, left = about["tile"] * (index // about["columns"]), about["tile"] * (index % about["columns"])
    return sheet[top : top + tile["height"], left : left + tile["width"]]


def _small(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    scale = TILE / max(height, width)
    if scale >= 1:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
