"""How FER2013 frames its faces: where detectors' boxes and eyes fall inside its 48x48 pictures.

    python benchmarks/framing.py IMAGES.npy USAGE.npy PORTRAITS [--images 2000]

IMAGES.npy (N, 48, 48) uint8 and USAGE.npy (N,) come from FER2013; only its training pictures are read. They are
enlarged three times inside a border as wide as themselves, so that YuNet sees a face in a picture. Haar answers there
with the edges of the frame; its boxes are therefore measured on whole portraits, against YuNet's eyes.
YuNet's file is looked for as ever: MIEN_MODELS or the cache folder.
"""

import argparse
from pathlib import Path

import numpy as np

from mien.imaging.decode import decode
from mien.imaging.faces import Face, HaarDetector, YuNetDetector, largest, roll
from mien.imaging.framing import in_frame

NAMES = ("box middle x", "box middle y", "box width", "box height", "eyes x", "eyes y", "eyes apart", "roll")


def geometry(face: Face, left: float, top: float, side: float) -> list[float]:
    """A face's measures in units of a square: (left, top, side) in pixels; roll in degrees."""
    x, y, width, height = face.box
    eyes = (face.landmarks[:2] - (left, top)) / side
    apart = float(np.hypot(*(eyes[1] - eyes[0])))
    middle = [(x + width / 2 - left) / side, (y + height / 2 - top) / side]
    return [*middle, width / side, height / side, *eyes.mean(axis=0), apart, roll(face)]


def in_haar_boxes(paths: list[Path], yunet: YuNetDetector, haar: HaarDetector) -> list[list[float]]:
    measures = []
    for path in paths:
        image = decode(path)
        face, box = largest(yunet(image)), largest(haar(image))
        if face and box and abs(face.box[0] + face.box[2] / 2 - box.box[0] - box.box[2] / 2) < box.box[2] / 2:
            measures.append(geometry(face, *box.box[:3]))
    return measures


def show(title: str, measures: list[list[float]], of: int) -> None:
    print(f"{title}: {len(measures)} of {of}")
    for name, column in zip(NAMES, np.array(measures).T, strict=True):
        low, middle, high = np.percentile(column, [25, 50, 75])
        print(f"  {name:14} median {middle:7.3f}   quartiles {low:7.3f} {high:7.3f}")
    rolls = np.percentile(np.abs(np.array(measures)[:, -1]), [50, 90, 95, 99])
    print("  |roll| percentiles 50 90 95 99:", *rolls.round(1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("usage", type=Path)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("--images", dest="count", type=int, default=2000)
    asked = parser.parse_args()
    training = np.flatnonzero(np.load(asked.usage) == "Training")
    rows = np.sort(np.random.default_rng(0).choice(training, min(asked.count, len(training)), replace=False))
    yunet, haar = YuNetDetector(), HaarDetector()
    images = np.load(asked.images, mmap_mode="r")[rows]
    framed = [geometry(face, 0, 0, 1) for image in images if (face := in_frame(image, yunet))]
    show("YuNet in FER2013's frames", framed, len(rows))
    paths = sorted(path for path in asked.portraits.iterdir() if path.suffix.lower() in (".jpg", ".png"))
    show("YuNet in Haar's boxes on portraits", in_haar_boxes(paths, yunet, haar), len(paths))


if __name__ == "__main__":
    main()
