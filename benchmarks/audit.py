"""Precision and recall of near twins, and the time and memory of an audit.

    python benchmarks/audit.py accuracy ROOT         planted into a de-duplicated FER2013, by transformation
    python benchmarks/audit.py speed ROOT            all of FER2013, from the files to the findings
    python benchmarks/audit.py scale ROOT COUNT      COUNT made-up faces with FER2013's statistics and planted twins

ROOT is a folder that the source fer2013 reads.
"""

import argparse
import resource
import time
from pathlib import Path

import numpy as np

from mien.data.audit import audit, look, looks_of
from mien.data.audit.align import similarity
from mien.data.audit.near import NEAR, candidates, near_pairs
from mien.data.audit.planted import TRANSFORMATIONS, cropped_closely
from mien.data.audit.twins import BLANK, liken, spread
from mien.data.sources import catalog

EACH = 1000
CHANGES = {**TRANSFORMATIONS, "cropped closely": cropped_closely}
THRESHOLDS = (0.88, 0.90, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97)


def distinct(root: Path, threshold: float | None = None) -> np.ndarray:
    """FER2013's pictures without exact twins and blanks, and without near twins from `threshold` on."""
    looks = look(catalog.load("fer2013", root))
    first = np.sort(liken(looks, threshold=1.1).first)
    pixels = looks.miniatures[first[spread(looks.miniatures, first) >= BLANK]]
    if threshold is None:
        return pixels
    return np.delete(pixels, near_pairs(pixels, threshold).right, axis=0)


def accuracy(root: Path) -> None:
    """Plant EACH copies a transformation among all distinct pictures; whatever else is found is counted as wrong.

    A wrong pair counts against the transformation of its copy; pairs of two originals are counted apart.
    """
    originals = distinct(root, threshold=0.88)
    rng = np.random.default_rng(101)
    chosen = rng.choice(len(originals), EACH * len(CHANGES), replace=False)
    changes = np.repeat(list(CHANGES), EACH)
    copies = [CHANGES[name](originals[row], rng) for name, row in zip(changes, chosen, strict=True)]
    pairs = near_pairs(np.concatenate([originals, looks_of(copies).miniatures]), THRESHOLDS[0])
    copy = pairs.right - len(originals)
    planted = (copy >= 0) & (pairs.left == chosen[np.maximum(copy, 0)])
    change = np.where(copy >= 0, changes[np.maximum(copy, 0)], "originals")
    print(
        f"{len(originals):,} distinct pictures, {EACH:,} copies a transformation; recall/precision from each threshold"
    )
    print(f"{'':16}" + "".join(f"{threshold:>13}" for threshold in THRESHOLDS))
    for name in (*CHANGES, "all"):
        of = np.ones(len(pairs), bool) if name == "all" else change == name
        figures = []
        for threshold in THRESHOLDS:
            found = of & (pairs.similarity >= threshold)
            right = int((found & planted).sum())
            wanted = len(copies) if name == "all" else EACH
            figures.append(f"  {right / wanted:.3f}/{right / max(int(found.sum()), 1):.3f}")
        print(f"{name:16}" + "".join(figures))
    apart = [int(((copy < 0) & (pairs.similarity >= threshold)).sum()) for threshold in THRESHOLDS]
    print(f"{'two originals':16}" + "".join(f"{count:>13}" for count in apart))


def speed(root: Path) -> None:
    """Read, look and audit; with an empty cache the pictures are decoded as well."""
    marks = [time.perf_counter()]
    samples = catalog.load("fer2013", root)
    marks.append(time.perf_counter())
    looks = look(samples)
    marks.append(time.perf_counter())
    audit(samples, looks)
    marks.append(time.perf_counter())
    seconds = np.diff(marks)
    print(f"read {seconds[0]:.1f} s, look {seconds[1]:.1f} s, audit {seconds[2]:.1f} s, in all {seconds.sum():.1f} s")
    print(f"processor time {time.process_time():.1f} s, peak memory {_peak():.2f} GB")


def scale(root: Path, count: int) -> None:
    """Faces drawn from the principal components of FER2013, one in a hundred of them planted again, altered."""
    rng = np.random.default_rng(0)
    originals = _made_up(distinct(root), count, rng)
    change = TRANSFORMATIONS["several"]
    chosen = rng.choice(count, count // 100, replace=False)
    copies = looks_of([change(originals[row], rng) for row in chosen]).miniatures
    pixels = np.concatenate([originals, copies])
    begun = time.perf_counter()
    asked = candidates(pixels)
    searched = time.perf_counter()
    alike = similarity(pixels, asked.under, asked.over, asked.mirrored, asked.start) >= NEAR
    ended = time.perf_counter()
    found = set(map(frozenset, zip(asked.under[alike].tolist(), asked.over[alike].tolist(), strict=True)))
    planted = {frozenset((row, count + i)) for i, row in enumerate(chosen.tolist())}
    print(
        f"{len(pixels):,} pictures: search {searched - begun:.1f} s for {len(asked.under):,} ways to lay two together,"
    )
    print(
        f"check {ended - searched:.1f} s; recall {len(found & planted) / len(planted):.3f}, {len(found):,} pairs found,"
    )
    print(f"{len(found - planted):,} of them not planted; processor time {time.process_time():.1f} s")
    print(f"peak memory {_peak():.2f} GB, of it {pixels.nbytes / 1e9:.2f} GB pixels")


def _made_up(pixels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    flat = pixels[rng.choice(len(pixels), 8000, replace=False)].reshape(8000, -1).astype(np.float32)
    mean = flat.mean(axis=0)
    _, weights, directions = np.linalg.svd(flat - mean, full_matrices=False)
    kept = 400
    basis = directions[:kept] * (weights[:kept, None] / np.sqrt(len(flat)))
    made = np.empty((count, 48, 48), np.uint8)
    for start in range(0, count, 4096):
        size = min(4096, count - start)
        drawn = mean + rng.normal(size=(size, kept)).astype(np.float32) @ basis
        made[start : start + size] = np.clip(drawn, 0, 255).reshape(size, 48, 48)
    return made


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["accuracy", "speed", "scale"])
    parser.add_argument("root", type=Path, help="a folder that the source fer2013 reads")
    parser.add_argument("count", type=int, nargs="?", default=100_000, help="scale: made-up faces")
    asked = parser.parse_args()
    if asked.what == "scale":
        scale(asked.root, asked.count)
    else:
        {"accuracy": accuracy, "speed": speed}[asked.what](asked.root)
