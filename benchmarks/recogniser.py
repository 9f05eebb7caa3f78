"""mien beside the PyPI package `fer`, in one run: a Markdown table of medians and ratios, and JSON.

    python benchmarks/recogniser.py ARRAYS PORTRAITS [--models ferplus fer2013 ...] [--fer-python PATH] [--out FOLDER]

ARRAYS holds images.npy, emotion.npy, usage.npy and votes.npy of FER2013 (`unpack.py OUT --layout arrays`), PORTRAITS
is a folder of 350x350 pictures. `--fer-python` is the interpreter of an environment with `fer==25.10.3
tensorflow-cpu==2.19.* "setuptools<81" "opencv-contrib-python<5"` (OpenCV 5 brings no Haar cascade, and fer then fails
on every picture); without it only mien is measured. `--mien-python` is one with mien's base install alone, so that its
installed size is that of a user's.

Every system runs in its own process on one and the same core, one after another, `--rounds` times over, so that a busy
machine hurts all alike; figures are medians over the rounds. Faces are 48x48 crops in memory to probabilities, each
system's own preprocessing included; pictures are files to answers; first answer is from the start of the process.
Accuracy is on PrivateTest, crops given as crops: against FER2013's labels, and against FERPlus' majority labels.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

NAMES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
VOTES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
PORTRAITS, SPEED_FACES = 40, 512

ROWS = {
    "fer2013": ("accuracy on PrivateTest, FER2013 labels", "%", 100, 1),
    "ferplus": ("accuracy on PrivateTest, FERPlus majority", "%", 100, 1),
    "face_1": ("a face, batch 1", "ms", 1000, 2),
    "face_64": ("a face, batch 64", "ms", 1000, 2),
    "picture": ("a 350x350 picture, end to end", "ms", 1000, 1),
    "found": (f"portraits with a face, of {PORTRAITS}", "", 1, 0),
    "first": ("fresh process to first answer", "s", 1, 2),
    "memory": ("peak memory at first answer", "MiB", 1 / 2**20, 0),
    "installed": ("installed size", "MB", 1e-6, 0),
}


class System(NamedTuple):
    """`classify`: (N, 48, 48) uint8 crops to names; `faces`: a picture's path to the number of faces answered."""

    classify: Callable[[Any], list[str]]
    faces: Callable[[str], int]


def mien_system(model: str, detector: str) -> System:
    from mien.runtime.recognizer import Recognizer

    whole, found = Recognizer(model, crop="whole"), Recognizer(model, detector=detector)

    def classify(crops: Any) -> list[str]:
        prepared = [whole.prepare(crop, face) for crop in crops for face in whole.detect(crop)]
        return [whole.labels[best] for best in whole.probabilities(prepared).argmax(axis=1)]

    return System(classify, lambda path: len(found.analyze(path)[0].faces))


def fer_system() -> System:
    import cv2
    import numpy as np
    from fer.fer import FER

    detector = FER()

    def classify(crops: Any) -> list[str]:
        large = np.array([cv2.resize(crop, (64, 64)) for crop in crops], np.float32)
        return [NAMES[best] for best in np.asarray(detector._classify_emotions((large / 255 - 0.5) * 2)).argmax(axis=1)]

    return System(classify, lambda path: len(detector.detect_emotions(cv2.imread(path))))


def accuracy(system: System, folder: Path) -> dict[str, float]:
    import numpy as np

    images, emotion, usage, votes = (
        np.load(folder / f"{name}.npy") for name in ("images", "emotion", "usage", "votes")
    )
    test = usage == "PrivateTest"
    images, emotion, votes = images[test], emotion[test], np.where(votes[test] > 1, votes[test], 0)
    answers = np.array([name for at in range(0, len(images), 64) for name in system.classify(images[at : at + 64])])
    clear = (votes.max(axis=1) > votes.sum(axis=1) / 2) & (votes.argmax(axis=1) < len(VOTES))
    majority = np.array(VOTES)[votes[clear].argmax(axis=1)]
    return {
        "fer2013": float((answers == np.array(NAMES)[emotion]).mean()),
        "ferplus": float((answers[clear] == majority).mean()),
    }


def speed(system: System, folder: Path, portraits: list[str]) -> dict[str, float]:
    import numpy as np

    faces = np.load(folder / "images.npy", mmap_mode="r")[:SPEED_FACES]
    found = [system.faces(path) for path in portraits]
    times: dict[str, list[float]] = {"face_1": [], "face_64": [], "picture": []}
    for batch in (1, 64):
        system.classify(faces[:batch])
        for at in range(0, len(faces), batch):
            times[f"face_{batch}"].append(_seconds(system.classify, faces[at : at + batch]) / batch)
    for path in portraits:
        times["picture"].append(_seconds(system.faces, path))
    return {name: statistics.median(values) for name, values in times.items()} | {"found": sum(n > 0 for n in found)}


def _seconds(work: Callable[[Any], object], given: Any) -> float:
    began = time.perf_counter()
    work(given)
    return time.perf_counter() - began


def installed() -> float:
    """Bytes of everything in the environment's site-packages."""
    return sum(path.stat().st_size for path in Path(sysconfig.get_path("purelib")).rglob("*") if path.is_file())


def work(task: str, name: str, detector: str, folder: Path, portraits: list[str]) -> dict[str, float]:
    """One measurement, in the process of one system."""
    if task == "installed":
        return {"installed": installed()}
    system = fer_system() if name == "fer" else mien_system(name, detector)
    if task == "first":
        system.faces(portraits[0])
        return {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    return accuracy(system, folder) if task == "accuracy" else speed(system, folder, portraits)


def ask(python: str, name: str, task: str, options: argparse.Namespace) -> dict[str, float]:
    """One measurement in a fresh process."""
    command = [python, __file__, str(options.arrays), str(options.portraits), "--work", task, name]
    command += ["--detector", options.detector]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
    began = time.perf_counter()
    done = subprocess.run(command, env=os.environ | threads, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name}, {task}:\n{done.stderr}")
    elapsed = time.perf_counter() - began
    found = json.loads(done.stdout.splitlines()[-1])
    return found | ({"first": elapsed} if task == "first" else {})


def measure(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    systems = [(name, options.mien_python) for name in options.models]
    if options.fer_python:
        systems.insert(0, ("fer", options.fer_python))
    gathered: dict[str, dict[str, list[float]]] = {name: {} for name, _ in systems}
    once, often = ["installed", "accuracy"], ["first", "speed"]
    for task in once + often * options.rounds:
        for name, python in systems:
            print(f"{name}: {task}", file=sys.stderr)
            for figure, value in ask(python, name, task, options).items():
                gathered[name].setdefault(figure, []).append(value)
    return {
        name: {figure: statistics.median(all_) for figure, all_ in found.items()} for name, found in gathered.items()
    }


def table(found: dict[str, dict[str, float]]) -> str:
    """Markdown; beside each figure of mien, fer's over mien's (for accuracies and faces found: the difference)."""
    names = list(found)
    lines = [f"| | {' | '.join(Path(name).stem for name in names)} |", "|---" * (len(names) + 1) + "|"]
    for figure, (title, unit, scale, places) in ROWS.items():
        cells = []
        for name in names:
            value = found[name][figure] * scale
            cell = f"{value:.{places}f} {unit}".strip()
            if "fer" in found and name != "fer":
                other = found["fer"][figure] * scale
                better = figure in ("fer2013", "ferplus", "found")
                cell += f" ({value - other:+.{places}f})" if better else f" ({other / value:.1f}x)"
            cells.append(cell)
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arrays", type=Path)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("--models", nargs="+", default=["ferplus", "ferplus-fast", "fer2013", "fer2013-fast"])
    parser.add_argument("--detector", default="auto")
    parser.add_argument("--fer-python")
    parser.add_argument("--mien-python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="a folder for recogniser.md and recogniser.json")
    parser.add_argument("--work", nargs=2, metavar=("TASK", "SYSTEM"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        portraits = sorted(str(path) for path in options.portraits.iterdir())[:PORTRAITS]
        print(json.dumps(work(*options.work, options.detector, options.arrays, portraits)))
        return
    found = measure(options)
    print(table(found))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "recogniser.md").write_text(table(found))
        (options.out / "recogniser.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
