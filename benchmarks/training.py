"""Training throughput of mien beside a bare PyTorch loop: the same network, batch, augmentation, in one process.

python benchmarks/training.py [--rows 28709] [--rounds 2]

An epoch is as long as one of FER2013 by default: what a fit does once, at its start and end, is spread as in use.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from mien.imaging.steps import Normalise
from mien.recipe import load
from mien.training.augment import augment
from mien.training.backbones import build
from mien.training.fit import Rows, fit
from mien.training.module import rise_and_fall

PLAIN = ["fit.epochs=1", "fit.progressive=0", "fit.ema=0", "fit.precision=float32", "fit.optimiser=sgd"]
RECIPE = load(Path("fer2013"), PLAIN)
HALF = Normalise((0.5,), (0.5,))


def bare(pixels: torch.Tensor, targets: torch.Tensor) -> float:
    """Seconds of one epoch in a plain loop, without validation or checkpoints."""
    torch.manual_seed(0)
    spec = RECIPE.fit
    network = build(RECIPE.model, 1, (48, 48), 7).to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(network.parameters(), spec.learning_rate, momentum=spec.momentum, nesterov=True)
    draw = torch.Generator().manual_seed(0)
    steps = len(pixels) // spec.batch
    curve = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rise_and_fall(step / steps, 0.25))
    network.train()
    begun = time.perf_counter()
    order = torch.randperm(len(pixels), generator=draw)
    for step in range(steps):
        rows = order[step * spec.batch : (step + 1) * spec.batch]
        pictures = augment(pixels[rows][:, None].float() / 255, RECIPE.augment, draw)
        inputs = (pictures * 2 - 1).contiguous(memory_format=torch.channels_last)
        loss = functional.cross_entropy(network(inputs), targets[rows], label_smoothing=spec.label_smoothing)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        curve.step()
    return time.perf_counter() - begun


def workbench(pixels: np.ndarray, targets: np.ndarray) -> float:
    """Seconds of one epoch of `mien.training.fit`, with its validation on eight rows and its checkpoints."""
    everything = Rows(pixels, np.arange(len(pixels)), targets)
    few = Rows(pixels, np.arange(8), targets[:8])
    network = build(RECIPE.model, 1, (48, 48), 7)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        fit(network, everything, few, RECIPE.fit, RECIPE.augment, HALF, Path(folder))
        return time.perf_counter() - begun


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--rows", type=int, default=28_709)
    ask.add_argument("--rounds", type=int, default=2)
    said = ask.parse_args()
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (said.rows, 48, 48), dtype=np.uint8)
    targets = np.eye(7, dtype=np.float32)[rng.integers(0, 7, said.rows)]
    plain, ours = [], []
    for turn in range(said.rounds):
        ways = [
            lambda: plain.append(bare(torch.from_numpy(pixels), torch.from_numpy(targets))),
            lambda: ours.append(workbench(pixels, targets)),
        ]
        for way in ways[:: 1 if turn % 2 else -1]:
            way()
    ratio = statistics.median(ours) / statistics.median(plain)
    print(f"bare loop   {said.rows / statistics.median(plain):8.0f} pictures/s")
    print(f"mien        {said.rows / statistics.median(ours):8.0f} pictures/s   ratio of times {ratio:.3f}")


if __name__ == "__main__":
    main()
