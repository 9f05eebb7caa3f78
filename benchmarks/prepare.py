"""Preparation against a bare OpenCV loop: imread, CLAHE, store; the same pictures, in turns, in one process.

    python benchmarks/prepare.py FOLDER [--images 35887] [--rounds 3]

FOLDER holds 48x48 pictures, such as FER2013's class folders. Each round runs both, the order swapped every time,
and the best times are compared. Both results must be the same pixels.
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from mien.data.prepare import prepare
from mien.data.samples import Files, Samples, table
from mien.imaging.chain import Chain


def bare(paths: list[Path]) -> np.ndarray:
    clahe = cv2.createCLAHE(2.0, (8, 8))
    pixels = np.empty((len(paths), 48, 48), np.uint8)
    for row, path in enumerate(paths):
        pixels[row] = clahe.apply(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    return pixels


def prepared(samples: Samples) -> np.ndarray:
    chain = Chain.parse(["grey", {"resize": 48}, "clahe"])
    with TemporaryDirectory() as cache:
        return np.array(prepare(samples, chain, Path(cache)).pixels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=35_887)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    paths = sorted(asked.folder.rglob("*.png"))[: asked.images]
    names = [path.relative_to(asked.folder).as_posix() for path in paths]
    samples = Samples(table(names, [None] * len(names), source="folders"), ("neutral",), Files(asked.folder))
    for path in paths:
        path.read_bytes()
    ways = {"bare loop": lambda: bare(paths), "mien": lambda: prepared(samples)}
    best, results = dict.fromkeys(ways, float("inf")), {}
    for turn in range(asked.rounds):
        for name in list(ways)[:: 1 if turn % 2 else -1]:
            started = time.perf_counter()
            results[name] = ways[name]()
            taken = time.perf_counter() - started
            best[name] = min(best[name], taken)
            print(
                f"round {turn + 1}  {name:10} {taken:6.2f} s  {taken / len(paths) * 1e6:5.0f} us a picture", flush=True
            )
    np.testing.assert_array_equal(results["bare loop"], results["mien"])
    print(f"mien / bare loop: {best['mien'] / best['bare loop']:.2f} on {len(paths)} pictures")


if __name__ == "__main__":
    main()
