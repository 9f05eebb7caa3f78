"""How alike two pictures are once one is laid over the other: the check behind every near twin."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.runtime.ahead import cores
from mien.stages import Progress

Stack = NDArray[np.floating]

THREADS = min(4, cores())

_TINY, _SMALL = 16, 24
_UNLIKE_AT_A_GLANCE, _UNLIKE = 0.92, 0.95
_STEPS, _MORE_STEPS = 3, 2
_REACH = 0.25
_BLOCK = 256


def similarity(
    miniatures: NDArray[np.uint8],
    under: NDArray[np.int64],
    over: NDArray[np.int64],
    mirrored: NDArray[np.bool_],
    start: Stack,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Normalised cross-correlation (P,) of pairs of miniatures (N, S, S) uint8 after laying one over the other.

    `mirrored` pairs compare the mirror image of what lies `under`. The alignment is scale and shift along both axes,
    with free brightness and contrast, found by Gauss-Newton steps from coarse to fine (Lucas & Kanade 1981), from the
    motion `start` (P, 2, 2) on: scale and shift along y, then along x, in units of half a picture. The correlation,
    averaged over the whole picture and its details alone, is taken at full size over the part that both pictures show.
    Most pairs are unlike: one linear step on a tiny grid (the tangent distance of Simard et al. 1993) or its first
    refinement shows it, and they get 0.
    """
    tiny = np.concatenate([shrunk(miniatures[i : i + _BLOCK], _TINY) for i in range(0, len(miniatures), _BLOCK)])

    def block(begin: int) -> NDArray[np.float32]:
        part = slice(begin, begin + _BLOCK)
        return _similarity(miniatures, tiny, under[part], over[part], mirrored[part], start[part])

    parts = [np.empty(0, np.float32)]
    with ThreadPoolExecutor(THREADS) as pool:
        for part in pool.map(block, range(0, len(under), _BLOCK)):
            parts.append(part)
            if progress:
                progress(min(len(under), (len(parts) - 1) * _BLOCK), len(under))
    return np.concatenate(parts)


def _similarity(
    miniatures: NDArray[np.uint8],
    tiny: Stack,
    under: NDArray[np.int64],
    over: NDArray[np.int64],
    mirrored: NDArray[np.bool_],
    start: Stack,
) -> NDArray[np.float32]:
    """As `similarity`; `tiny` are the miniatures, shrunk."""
    found = np.zeros(len(under), np.float32)
    one, other = _turned(tiny[under], mirrored), tiny[over]
    alike = np.flatnonzero(_tangent_correlation(one, _warp(other, start)[0]) > _UNLIKE_AT_A_GLANCE)
    one, other = one[alike], other[alike]
    motion = _alignment(one, other, start[alike], _STEPS)
    still = _correlation(one, other, motion) > _UNLIKE
    alike, motion = alike[still], motion[still]
    found[alike] = _refined(_turned(miniatures[under[alike]], mirrored[alike]), miniatures[over[alike]], motion)
    return found


def _refined(left: NDArray[np.uint8], right: NDArray[np.uint8], motion: Stack) -> NDArray[np.float32]:
    motion = _alignment(shrunk(left, _SMALL), shrunk(right, _SMALL), motion, _MORE_STEPS)
    (left_whole, left_detail), (right_whole, right_detail) = _bands(left), _bands(right)
    found = _correlation(left_whole, right_whole, motion) + _correlation(left_detail, right_detail, motion)
    return np.asarray(found / 2, np.float32)


def _bands(pictures: NDArray[np.uint8]) -> tuple[Stack, Stack]:
    """The pictures hardly blurred, and their details alone: without the broad shading in which all faces agree."""
    size = pictures.shape[1]
    whole = shrunk(pictures, size)
    return whole, whole - shrunk(pictures, size, blur=5)


def shrunk(pictures: NDArray[np.uint8], side: int, blur: float = 1.0) -> Stack:
    """Square pictures (N, S, S) at (N, side, side) float32, under a Gaussian of `blur` pixels of the new grid."""
    size = pictures.shape[1]
    centres = (np.arange(side)[:, None] + 0.5) * size / side - 0.5
    weights = _gaussian((np.arange(size) - centres) * side / size, blur)
    # One product for the first axis of all pictures: a product for each takes twice the time.
    across = pictures.reshape(-1, size).astype(np.float32) @ weights.T
    return np.asarray(weights @ across.reshape(-1, size, side), np.float32)


def _gaussian(distance: NDArray[np.float64], width: float) -> NDArray[np.float32]:
    weights = np.exp(-0.5 * (distance / width) ** 2)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _turned(pictures: NDArray[Any], mirrored: NDArray[np.bool_]) -> NDArray[Any]:
    return np.where(mirrored[:, None, None], pictures[:, :, ::-1], pictures)


def _tangent_correlation(left: Stack, right: Stack) -> NDArray[np.float32]:
    """The correlation of `right` with the best mix of `left` and its derivatives under scale and shift."""
    columns = _tangents(left)
    aim = _flat(right)
    aim = aim - aim.mean(axis=1, keepdims=True)
    answer = _solve(columns @ columns.transpose(0, 2, 1), columns @ aim[:, :, None])
    explained = (answer.transpose(0, 2, 1) @ columns)[:, 0]
    explained -= explained.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(explained, axis=1) * np.linalg.norm(aim, axis=1)
    return np.asarray((explained * aim).sum(axis=1) / (lengths + 1e-6), np.float32)


def _alignment(left: Stack, right: Stack, motion: Stack, steps: int) -> Stack:
    """Scale and shift (P, 2 axes, 2) that lay `right` over `left`, in units of half a picture; (1, 0) is none."""
    aim = _flat(left)[:, :, None]
    for _ in range(steps):
        moved, seen = _warp(right, motion)
        columns = _tangents(moved)
        weighted = columns * _flat(seen)[:, None]
        answer = _solve(weighted @ columns.transpose(0, 2, 1), weighted @ aim)[:, :, 0]
        contrast = np.maximum(answer[:, 4:5], 0.3)
        step = np.clip(answer[:, :4] / contrast, -0.08, 0.08).reshape(-1, 2, 2)
        motion = np.clip(motion + step, [1 - _REACH, -_REACH], [1 + _REACH, _REACH]).astype(np.float32)
    return motion


def _correlation(left: Stack, right: Stack, motion: Stack) -> NDArray[np.float32]:
    moved, seen = _warp(right, motion)
    weight = seen / np.maximum(seen.sum(axis=(1, 2), keepdims=True), 1)
    left = left - (weight * left).sum(axis=(1, 2), keepdims=True)
    moved = moved - (weight * moved).sum(axis=(1, 2), keepdims=True)
    lengths = np.sqrt((weight * left**2).sum(axis=(1, 2)) * (weight * moved**2).sum(axis=(1, 2)))
    return np.asarray((weight * left * moved).sum(axis=(1, 2)) / (lengths + 1e-6), np.float32)


def _tangents(pictures: Stack) -> Stack:
    """What scale and shift along y and x, contrast and brightness do to each picture: (P, 6, pixels)."""
    place = _places(pictures.shape[1])
    slopes = np.gradient(pictures, place[1] - place[0], axis=(1, 2))
    down, across = np.asarray(slopes[0]), np.asarray(slopes[1])
    parts = (down * place[:, None], down, across * place, across, pictures, np.ones_like(pictures))
    return np.stack([_flat(part) for part in parts], axis=1)


def _flat(pictures: Stack) -> Stack:
    return pictures.reshape(len(pictures), pictures.shape[1] * pictures.shape[2])


def _solve(square: Stack, aim: Stack) -> Stack:
    """Least squares with a slight pull on the motion towards none, which keeps flat pictures solvable."""
    diagonal = np.arange(6)
    square[:, diagonal, diagonal] *= np.array([1.001] * 4 + [1.00001] * 2, np.float32)
    square[:, diagonal, diagonal] += 1e-2
    return np.linalg.solve(square, aim)


def _warp(pictures: Stack, motion: Stack) -> tuple[Stack, Stack]:
    """The pictures under scale and shift, and 1 where they have pixels, else 0."""
    rows, seen_down = _resampling(motion[:, 0], pictures.shape[1])
    columns, seen_across = _resampling(motion[:, 1], pictures.shape[2])
    return rows @ pictures @ columns.transpose(0, 2, 1), seen_down[:, :, None] * seen_across[:, None, :]


def _resampling(motion: Stack, size: int) -> tuple[Stack, Stack]:
    """Linear interpolation along one axis as matrices (P, size, size), and 1 where the source has pixels."""
    wanted = motion[:, :1] * _places(size) + motion[:, 1:]
    index = (wanted + 1) * (size / 2) - 0.5
    inside = (index > -0.75) & (index < size - 0.25)
    weights = np.maximum(0, 1 - np.abs(np.clip(index, 0, size - 1)[:, :, None] - np.arange(size, dtype=np.float32)))
    return weights.astype(np.float32), inside.astype(np.float32)


def _places(size: int) -> NDArray[np.float32]:
    """Pixel centres along one axis, in units of half a picture from its middle."""
    return ((np.arange(size, dtype=np.float32) + 0.5) * 2 / size - 1).astype(np.float32)
