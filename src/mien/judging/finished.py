"""A finished run, opened: its network, its labels, and the pictures of its splits."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyarrow.parquet import read_schema
from torch import nn

from mien.data.material import Material, readable
from mien.data.pictures import Pictures
from mien.data.prepare import prepare
from mien.data.samples import SPLITS
from mien.errors import DataError, RunError
from mien.evaluation import calibration
from mien.files import read_json
from mien.imaging.chain import Chain
from mien.places import check_finished
from mien.recipe import Recipe
from mien.rows import Read, read
from mien.run.earlier import restored
from mien.stages import Stages, silent
from mien.training.fit import predict


@dataclass(frozen=True)
class Finished:
    """A finished run, ready to answer: its recipe, network, labels, chain, temperature, the confidence below which it
    is uncertain, and protocol (`name@digest`).
    """

    folder: Path
    recipe: Recipe
    network: nn.Module
    labels: tuple[str, ...]
    chain: Chain
    temperature: float
    uncertain_below: float | None
    protocol: str

    def probabilities(
        self, pixels: Pictures, positions: NDArray[np.int64] | None = None, exactly: bool = False
    ) -> NDArray[np.float32]:
        """Calibrated probabilities (n, classes) of prepared pixels, or of some positions of them; `exactly` as in
        `mien.training.fit.predict`.
        """
        rows = np.arange(len(pixels)) if positions is None else positions
        logits = predict(self.network, pixels, rows, self.chain.normalise, self.recipe.evaluate.flip, exactly=exactly)
        return calibration.softmax(logits, self.temperature).astype(np.float32)


def finished(folder: str | Path, root: Path | None = None) -> Finished:
    """Open a finished run; `root` is where its data is now, if it was moved.

    Raises RunError when it is not a finished one, saying how to finish it.
    """
    folder = Path(folder)
    check_finished(folder)
    figures = read_json(folder / "metrics.json")
    labels = tuple(figures["test"]["labels"])
    recipe, network = restored(folder, len(labels))
    if root:
        recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"root": root})})
    protocol = f"{figures['protocol']['name']}@{figures['protocol']['digest']}"
    return Finished(
        folder, recipe, network, labels, Chain.parse(recipe.chain), figures["temperature"], figures["uncertain_below"],
        protocol,
    )  # fmt: skip


def shown_in_training(run: Finished, images: pd.Series) -> NDArray[np.bool_]:
    """Which pictures (N names) of the run's validation part training shows too, as twins or made rows."""
    kept = pd.read_parquet(run.folder / "samples.parquet", columns=["image", "shown"])
    return images.isin(kept["image"][kept["shown"].to_numpy(bool, na_value=False)]).to_numpy(bool)


def rows_of(
    run: Finished, split: str, stages: Stages = silent, read: Read = read
) -> tuple[Material, NDArray[np.int64]]:
    """The pictures of one split, or `all`, as the run split them, found again in its data; made rows are left out.

    Raises DataError where pictures are gone, RunError for a run of an earlier mien; that some have changed is said.
    """
    rows_file = run.folder / "samples.parquet"
    if not {"listing", "shown"} <= set(read_schema(rows_file).names):
        said = f"{run.folder} is a run of an earlier mien: which rows it had cannot be told"
        raise RunError(said, then="train it again")
    try:
        samples = read(run.recipe.data)
        prepared = prepare(samples, run.chain, progress=stages("prepare"))
    except DataError as error:
        moved = "if the data was only moved, or is named from another folder, add --root FOLDER"
        raise DataError(
            f"the data that {run.folder} was made on cannot be read: {error.what}", got=error.got, then=moved
        ) from error
    material = readable(samples, prepared)
    kept = pd.read_parquet(rows_file, columns=["image", "listing", "split", "source", "digest"])
    chosen = kept["split"].isin(SPLITS) if split == "all" else kept["split"] == split
    # The parent of a made row may have been balanced away: what made it always says so.
    real = kept["source"] != "made"
    if split != "train" and (made := int((chosen & ~real & (kept["split"] != "train")).sum())):
        logging.getLogger("mien").warning(
            "%s made rows of %s are left out: their pictures were not kept, so figures differ from the run's own",
            f"{made:,}", run.folder,
        )  # fmt: skip
    # A source may list a picture twice: a row is known by its picture, and how many rows before list the same.
    listing = samples.table.groupby("image").cumcount().to_numpy()[material.place]
    table = material.samples.table.assign(listing=listing).set_index(["image", "listing"], drop=False)
    wanted = kept.set_index(["image", "listing"])["digest"][(chosen & real).to_numpy(bool, na_value=False)]
    if gone := int((~wanted.index.isin(table.index)).sum()):
        raise DataError(
            f"{gone:,} of the {len(wanted):,} pictures that {run.folder} was made on are missing from its data",
            got=run.recipe.data.root,
            then="restore them; if the data was only moved, add --root FOLDER",
        )
    rows = np.flatnonzero(table.index.isin(wanted.index))
    found = table.iloc[rows]
    if changed := int((found["digest"].to_numpy() != wanted.reindex(found.index).to_numpy()).sum()):
        logging.getLogger("mien").warning(
            "%s of the %s pictures that %s was made on have changed since", f"{changed:,}", f"{len(rows):,}", run.folder
        )
    return material, rows
