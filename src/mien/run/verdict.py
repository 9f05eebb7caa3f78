"""What a network is worth: calibrated on the validation rows, then judged on the test rows, once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from mien.data.material import Material
from mien.data.samples import Samples
from mien.data.split import clusters
from mien.evaluation import calibration, statistics
from mien.evaluation.agreement import agreement
from mien.evaluation.comparison import drawn_by
from mien.evaluation.embeddings import LEAST, draw_map, precision_at
from mien.evaluation.metrics import evaluate
from mien.imaging.chain import Chain
from mien.recipe import Recipe
from mien.training.fit import predict
from mien.training.readouts import READOUTS


def judge(
    recipe: Recipe, material: Material, network: nn.Module, shown: frozenset[str]
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Calibrate on the validation rows, then open the test rows, once: the figures, and a prediction for each.

    `shown` are the validation pictures, by name, that training shows too: what the network knows by heart says nothing
    of how sure it should be of new pictures, so that they count in the figures only.
    """
    labels, chain = material.samples.labels, Chain.parse(recipe.chain)

    def logits(split: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        rows = material.samples.rows(split)
        return rows, predict(network, material.pixels, material.place[rows], chain.normalise, recipe.evaluate.flip)

    rows, values = logits("validation")
    targets = material.samples.targets[rows]
    new = ~material.samples.table["image"].iloc[rows].isin(shown).to_numpy(bool)
    groups = clusters(material.samples.table.iloc[rows])
    fitted = calibration.calibrate(values, targets, new, recipe.evaluate.answered_accuracy, groups)
    probabilities = calibration.softmax(values, fitted.temperature)
    validation = evaluate(probabilities, targets, labels, recipe.evaluate.bootstrap, groups=groups)

    rows, values = logits("test")
    targets = material.samples.targets[rows]
    groups = clusters(material.samples.table.iloc[rows])
    probabilities = calibration.softmax(values, fitted.temperature)
    figures = {
        "temperature": fitted.temperature,
        "uncertain_below": fitted.uncertain_below,
        "calibrated_on": {"rows": fitted.rows, "of": len(new), "shown_in_training": int((~new).sum())},
        "validation": validation,
        "test": evaluate(probabilities, targets, labels, recipe.evaluate.bootstrap, groups=groups),
        "test_uncalibrated": evaluate(calibration.softmax(values), targets, labels, 0),
    }
    if (votes := material.samples.take(rows).votes) is not None:
        judged = agreement(probabilities, targets, votes, recipe.evaluate.bootstrap, groups=groups)
        figures["agreement"] = judged.as_dict()
    return figures, tabulated(material.samples, rows, probabilities, labels)


def judge_embedding(
    recipe: Recipe, material: Material, network: nn.Module, picture: Path
) -> tuple[dict[str, Any], list[str]]:
    """What the vectors alone know, all readouts and retrieval among training rows; the test rows are drawn as a map.

    Also what a reader must know of them: that they have collapsed, and so have no map.
    """
    labels, normalise = material.samples.labels, Chain.parse(recipe.chain).normalise
    assert isinstance(network, nn.Sequential)

    def vectors(split: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        rows = material.samples.rows(split)
        return predict(network[0], material.pixels, material.place[rows], normalise), material.samples.targets[rows]

    (known, known_targets), (asked, asked_targets) = vectors("train"), vectors("test")
    told = []
    if len(asked) >= LEAST and draw_map(asked, asked_targets, labels, picture) is None:
        told.append(
            "the embedding has collapsed: the vectors of all test pictures are alike, and have no map; "
            "lower triplet.learning_rate"
        )
    ks = [k for k in (1, 5, 10) if k <= len(known)]
    groups = clusters(material.samples.table.iloc[material.samples.rows("test")])
    right = {
        name: make(known, known_targets, len(labels))(asked).argmax(axis=1) == asked_targets
        for name, make in READOUTS.items()
    }
    figures = {
        "precision_at": precision_at(asked, asked_targets, known, known_targets, ks),
        "readouts": {name: statistics.proportion(each, groups=groups).as_dict() for name, each in right.items()},
    }
    return figures, told


def tabulated(
    samples: Samples, rows: NDArray[np.int64], probabilities: NDArray[np.floating], labels: Sequence[str]
) -> pd.DataFrame:
    """Predictions as a table: image, digest, subject, sequence, parent (the image that a made row comes from), split,
    label, predicted, a probability a class of `labels`."""
    table = samples.table.iloc[rows][["image", "digest", "subject", "sequence", "parent", "split", "label"]]
    table["parent"] = table["parent"].map(samples.table["image"]).astype("string")
    table = table.reset_index(drop=True)
    table["predicted"] = pd.array([labels[i] for i in probabilities.argmax(axis=1)], dtype="string")
    columns = {f"p_{label}": probabilities[:, i].astype(np.float32) for i, label in enumerate(labels)}
    return table.assign(**columns)


def without(predictions: pd.DataFrame, images: frozenset[str]) -> dict[str, Any]:
    """Accuracy on the predictions of other pictures than `images`, which had a twin in training."""
    kept = predictions[~predictions["image"].isin(images)]
    if not len(kept):
        return {"rows": 0}
    right = (kept["predicted"] == kept["label"]).to_numpy(bool)
    return {"rows": len(kept), "accuracy": statistics.proportion(right, groups=drawn_by(kept)).as_dict()}


def left_out(calibrated_on: Mapping[str, int]) -> list[str]:
    """That temperature and threshold are fitted without some validation rows, or with them for lack of others."""
    rows, every, shown = (calibrated_on[key] for key in ("rows", "of", "shown_in_training"))
    if not shown:
        return []
    fitted, known = "temperature and the threshold of uncertain are fitted", "shown in training, as twins or made rows"
    if rows < every:
        return [f"{fitted} on {rows:,} of {every:,} validation pictures, without {shown:,} {known}"]
    return [f"{fitted} on all {every:,} validation pictures, {shown:,} of them {known}: too few others are left"]


def few(recipe: Recipe, predictions: pd.DataFrame) -> list[str]:
    """That the test part shows few people, and what shows more; and of which classes it shows few pictures."""
    said = statistics.few(len(predictions), clusters(predictions[["subject", "sequence"]]))
    more = "; with split.method: grouped-kfold and split.fold: all everybody is tested once"
    thin = statistics.thin(predictions["label"])
    return [*(text + more if recipe.split.method == "grouped" else text for text in said), *thin]
