"""A small recipe, the command line in this process, and what the tests read of a run."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from typer.testing import CliRunner

from mien.cli import app
from mien.errors import MienError

RECIPE = """
name: small
data:
  source: synthetic
  options: {count: 240, size: 24, seed: 3}
chain: [grey, {resize: 24}, {normalise: half}]
augment: {rotation: 5, flip_horizontal: 0.5}
model: {backbone: mien-tiny}
fit: {epochs: 2, batch: 32, ema: 0.9}
evaluate: {bootstrap: 100}
"""


class Said(NamedTuple):
    stdout: str
    stderr: str


def mien(*words: object, check: int = 0) -> Said:
    """The command line in this process, since every new one would import the training libraries anew."""
    done = CliRunner().invoke(app, [*map(str, words)])
    code, stderr = done.exit_code, done.stderr
    if isinstance(done.exception, MienError):
        code, stderr = done.exception.exit_code, str(done.exception)
    elif done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert code == check, stderr + done.stdout
    return Said(done.stdout, stderr)


def metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


def tree(folder: Path) -> Path:
    """Class folders in three splits, of noise without twins."""
    rng = np.random.default_rng(5)
    for split in ("train", "validation", "test"):
        for label in ("happy", "sad"):
            (folder / split / label).mkdir(parents=True)
            for number in range(12):
                cv2.imwrite(str(folder / split / label / f"{number}.png"), rng.integers(0, 256, (24, 24), np.uint8))
    return folder
