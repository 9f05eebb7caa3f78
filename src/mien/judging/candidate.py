"""What can be judged on labelled pictures: a finished run, or a bundle as `mien predict` uses it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mien.data.pictures import Pictures
from mien.data.prepare import Prepared
from mien.errors import unknown
from mien.imaging.alignment import FrameFace
from mien.imaging.chain import Chain
from mien.imaging.faces import settled
from mien.judging.finished import Finished
from mien.recipe import Evaluate
from mien.run import leaks
from mien.run.inherited import all_below
from mien.runtime import bundle
from mien.runtime.ahead import cores
from mien.runtime.recognizer import Recognizer

Crop = Literal["face", "whole"]
CUT_OUT = "faces that are cut out already are taken whole with --crop whole, in mien cross with --whole SOURCE"
_AT_ONCE = 4096
_MANY = 0.2  # of the pictures without a face: more seldom show none by chance


@dataclass(frozen=True)
class Candidate:
    """One that answers pictures and is to be judged.

    `chain` prepares its pictures; `answers` gives probabilities float32 (n, classes) of prepared pixels at positions
    (n,). `folder` is that of a run, beside which the ledger notes what it opens; None for a bundle. `builds_on` are the
    runs and bundles whose pictures it may have been fitted on, itself first; `notes` what holds for all its figures.
    """

    name: str
    labels: tuple[str, ...]
    chain: Chain
    answers: Callable[[Pictures, NDArray[np.int64]], NDArray[np.float32]]
    bootstrap: int
    folder: Path | None
    builds_on: tuple[Path, ...]
    notes: tuple[str, ...] = ()

    def remarks(self, prepared: Prepared) -> list[str]:
        """What a reader must know of the pictures that it was given."""
        if self.folder or prepared.notes.get("no-face", 0) < _MANY * len(prepared.ok):
            return prepared.remarks
        return [*prepared.remarks, CUT_OUT]


def candidate(model: Finished | str, crop: Crop = "face") -> Candidate:
    """A finished run, or a bundle by its name or path, which takes pictures as `of_bundle` has it."""
    return of_bundle(model, crop) if isinstance(model, str) else of_run(model)


def of_run(run: Finished) -> Candidate:
    """A run, which prepares every picture as its training pictures were."""
    notes = (leaks.BEFORE_SPLIT,) if run.recipe.balance.order == "balance-before-split" else ()
    return Candidate(
        run.folder.name, run.labels, run.chain, run.probabilities, run.recipe.evaluate.bootstrap, run.folder,
        (run.folder, *all_below(run.recipe)), notes,
    )  # fmt: skip


def of_bundle(name_or_path: str, crop: Crop = "face") -> Candidate:
    """A bundle, on the largest face of every picture as `mien predict` finds and frames it; `whole`: on all of it.

    A bundle whose own chain looks for the face finds it so. Raises UsageError and BundleError as loading it does.
    """
    if crop not in get_args(Crop):
        raise unknown("crop", crop, get_args(Crop))
    recognizer = Recognizer(bundle.load(name_or_path, threads=cores()), crop="whole")
    known, chain, notes = recognizer.bundle, recognizer.bundle.chain, ["pictures are taken whole"]
    if crop == "face" and not chain.finder:
        step = FrameFace(settled("auto"), "drop", **asdict(known.framing))
        chain, notes = Chain((step, *chain.steps)), [f"faces are found with {step.detector}, the largest one is judged"]
    chain.check()

    def answers(pixels: Pictures, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        starts = range(0, len(positions), _AT_ONCE)
        return np.concatenate([recognizer.probabilities([*pixels[positions[at : at + _AT_ONCE]]]) for at in starts])

    return Candidate(
        known.info.name, recognizer.labels, chain, answers, Evaluate().bootstrap, None, (Path(name_or_path),),
        tuple(notes),
    )  # fmt: skip
