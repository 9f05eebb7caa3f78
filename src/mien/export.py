"""From a run to a bundle: an ONNX network that answers as the run does, or no bundle at all."""

import logging
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from mien.data.material import Material
from mien.data.split import clusters
from mien.earlier import all_below
from mien.errors import RunError, UsageError
from mien.evaluation import ledger
from mien.evaluation.calibration import fit_temperature, softmax, uncertain_below
from mien.evaluation.metrics import evaluate
from mien.experiment import Read, Stages, read, remembering, silent
from mien.files import read_json, replacing
from mien.imaging import models
from mien.imaging.faces import YuNetDetector
from mien.imaging.framing import FER2013, Framing, measured
from mien.judging import Finished, rows_of
from mien.recipe import Recipe
from mien.recipe import load as load_recipe
from mien.runtime.bundle import INPUT, KEY, OUTPUT, BundleInfo, means_bundle
from mien.runtime.bundle import load as load_bundle

LARGEST_DIFFERENCE = 1e-4
"""The largest difference in probability between the run and its bundle that is let through."""

_MEASURED = 300
"""Training pictures on which the framing is measured: on FER2013 its scale is then within 0.03 of that of 2,000."""

LICENCES = {
    "fer2013": "weights: Apache-2.0; trained on FER2013 (images from the web, gathered for research)",
    "ferplus": "weights: Apache-2.0; trained on FER2013 (images from the web, for research), FERPlus labels (MIT)",
    "synthetic": "Apache-2.0",
}
UNKNOWN = "as the training data allows"


@dataclass(frozen=True)
class Exported:
    """A bundle on disk, how it compares with the run on the validation rows, and what its framing comes from."""

    path: Path
    bytes: int
    rows: int
    largest_difference: float
    changed_decisions: int
    accuracy: float
    accuracy_of_run: float
    framing: str


def export(
    run: Finished, out: Path, name: str | None = None, int8: bool = False, licence: str | None = None,
    stages: Stages = silent,
) -> Exported:  # fmt: skip
    """Write a bundle of a run to `out` (.onnx), checked on every validation row.

    Raises RunError, and writes nothing, when any probability differs by more than 1e-4 or any decision differs. With
    `int8` all layers but the first convolution run on 8-bit integers (calibrated on training rows); decisions may then
    change, and the accuracy of both is what to look at.
    """
    if out.suffix != ".onnx":
        raise UsageError("a bundle is a file NAME.onnx", got=out)
    once = remembering(read)
    material, rows = rows_of(run, "validation", stages, once)
    pixels, targets = np.asarray(material.pixels[material.place[rows]]), material.samples.targets[rows]
    framing, comes_from = _framing(run, once, stages)
    with replacing(out) as beside:
        _trace(run, beside)
        if int8:
            known, some = _training(run, 512, once, stages)
            _quantise(beside, run.chain.tensor(np.asarray(known.pixels[known.place[some]])))
        logits = _logits(beside, run, pixels, stages("check"))
        own = _calibrated(run, logits, targets) if int8 else run
        ours, theirs = run.probabilities(pixels, exactly=True), softmax(logits, own.temperature)
        difference = float(np.abs(ours - theirs).max())
        changed = int((ours.argmax(1) != theirs.argmax(1)).sum())
        if not int8 and (difference > LARGEST_DIFFERENCE or changed):
            raise RunError(
                f"ONNX Runtime and torch disagree: no bundle of {run.folder} is written",
                got=f"largest difference {difference:.2g}, {changed} of {len(rows)} decisions",
                allowed=f"at most {LARGEST_DIFFERENCE:g} and none",
                then="report it with the recipe: the export of this backbone is not the network",
            )
        accuracy = float((theirs.argmax(1) == targets).mean())
        figures = _figures_of_run(run) if not int8 else _figures_of_bundle(own, beside, once, stages)
        judged = figures | {"validation_accuracy": accuracy}
        _describe(beside, _info(own, name or run.recipe.name, licence, int8, framing, judged))
    return Exported(
        out, out.stat().st_size, len(rows), difference, changed, accuracy, float((ours.argmax(1) == targets).mean()),
        comes_from,
    )  # fmt: skip


def _training(run: Finished, count: int, read: Read, stages: Stages) -> tuple[Material, NDArray[np.int64]]:
    """The training pictures of a run, and up to `count` positions among them, drawn from all over it."""
    known, training = rows_of(run, "train", stages, read)
    # Sources are often sorted by class: what is measured must not be that of one expression.
    return known, np.random.default_rng(0).permutation(training)[:count]


def _framing(run: Finished, read: Read, stages: Stages) -> tuple[Framing, str]:
    """How faces are to be framed for the network, as its training pictures show them, and how that is known."""
    if run.chain.finder:
        return FER2013, "the chain finds and cuts out the face itself"
    if run.recipe.data.source in ("fer2013", "ferplus"):
        return FER2013, "faces are framed as FER2013 frames them"
    if not models.present("yunet"):
        logging.getLogger("mien").warning(
            "faces will be framed as FER2013 frames them, since the framing of this data cannot be measured without "
            "YuNet: mien models pull yunet, and export again"
        )
        return FER2013, "faces are framed as FER2013 frames them, since YuNet is not installed"
    known, some = _training(run, _MEASURED, read, stages)
    reader, images = known.samples.reader, known.samples.table["image"].iloc[some]
    framing, seen = measured((reader.read(image) for image in images), YuNetDetector())
    if framing is None:
        return FER2013, f"faces are framed as FER2013 frames them: YuNet sees a face in {seen} of {len(some)} pictures"
    return framing, f"faces are framed as {seen} of {len(some)} training pictures show theirs"


def _trace(run: Finished, path: Path) -> None:
    size, channels = run.chain.size, run.chain.channels
    assert size is not None and channels is not None
    with warnings.catch_warnings():
        # The newer exporter wants a package more and gives the same graph for these networks.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            run.network.eval(),
            (torch.zeros(2, channels, *size),),
            str(path),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "n"}, OUTPUT: {0: "n"}},
            opset_version=17,
            dynamo=False,
        )


def _quantise(path: Path, inputs: NDArray[np.float32]) -> None:
    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter({INPUT: inputs[i : i + 64]} for i in range(0, len(inputs), 64))

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(self.batches, None)

    quant_pre_process(str(path), str(path))
    # On one or three channels 8 bits win no time, and every later layer would stand on what they lose.
    first = [node.name for node in onnx.load(path).graph.node if node.op_type == "Conv"][:1]
    quantize_static(
        str(path), str(path), Reader(), quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, nodes_to_exclude=first,
    )  # fmt: skip


def _logits(
    path: Path, run: Finished, pixels: NDArray[np.uint8], progress: Callable[[int, int], None] | None
) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    parts = []
    for start in range(0, len(pixels), 256):
        faces = run.chain.tensor(pixels[start : start + 256])
        logits = session.run([OUTPUT], {INPUT: faces})[0]
        if run.recipe.evaluate.flip:
            logits = (logits + session.run([OUTPUT], {INPUT: faces[..., ::-1].copy()})[0]) / 2
        parts.append(logits)
        if progress:
            progress(min(start + 256, len(pixels)), len(pixels))
    return np.concatenate(parts)


def _figures_of_run(run: Finished) -> dict[str, Any]:
    found = read_json(run.folder / "metrics.json")
    return {"test": found["test"], "test_without_twins": found["test_without_twins"]}


def _calibrated(run: Finished, logits: NDArray[np.float32], targets: NDArray[np.int64]) -> Finished:
    """An 8-bit network has logits of its own, and what was fitted on the run's promises nothing of them."""
    temperature = fit_temperature(logits, targets)
    answered = uncertain_below(softmax(logits, temperature), targets, run.recipe.evaluate.answered_accuracy)
    return replace(run, temperature=temperature, uncertain_below=answered.threshold if answered else None)


def _figures_of_bundle(run: Finished, path: Path, read: Read, stages: Stages) -> dict[str, Any]:
    """An 8-bit network answers a little otherwise than its run, so its test figures are its own; the ledger says so."""
    material, rows = rows_of(run, "test", stages, read)
    logits = _logits(path, run, np.asarray(material.pixels[material.place[rows]]), stages("test"))
    answers = softmax(logits, run.temperature)
    ledger.record(run.folder.parent, run.protocol, f"{run.folder.name} int8")
    targets, groups = material.samples.targets[rows], clusters(material.samples.table.iloc[rows])
    return {"test": evaluate(answers, targets, run.labels, run.recipe.evaluate.bootstrap, groups=groups)}


def _info(
    run: Finished, name: str, licence: str | None, int8: bool, framing: Framing, judged: dict[str, Any]
) -> BundleInfo:
    figures = read_json(run.folder / "metrics.json")
    test = judged.pop("test")
    source = run.recipe.data.source
    return BundleInfo(
        name=name,
        labels=run.labels,
        chain=run.chain.as_list(),
        temperature=run.temperature,
        uncertain_below=run.uncertain_below,
        flip=run.recipe.evaluate.flip,
        framing=asdict(framing),
        licence=licence or _licence(run.recipe),
        origin=f"mien {version('mien')}, recipe {run.recipe.name}, backbone {run.recipe.backbone}",
        training_data=f"{source}, training rows of its {run.recipe.split.method} split"
        + (", none with a twin in validation or test" if run.recipe.split.clean == "train" else "")
        + _lineage(run.recipe),
        recipe_digest=run.recipe.digest,
        figures={
            "protocol": f"{figures['protocol']['name']}@{figures['protocol']['digest']}",
            "test": {name: test["metrics"][name] for name in ("accuracy", "macro_f1", "ece")},
            "test_rows": test["rows"],
            **judged,
            "precision": "int8" if int8 else "float32",
        },
    )


def _licence(recipe: Recipe) -> str:
    """What the training data says, the recipe's own and that of every run and bundle that it builds on."""
    found = {LICENCES.get(recipe.data.source, UNKNOWN): ""}
    for each in all_below(recipe):
        found.setdefault(_terms(each), each.name)
    own, *others = found.items()
    return "; ".join([own[0], *(f"builds on `{name}` ({terms})" for terms, name in others)])


def _terms(run: Path) -> str:
    if means_bundle(str(run)):
        return load_bundle(str(run)).info.licence or UNKNOWN
    kept = run / "recipe.yaml"
    return LICENCES.get(load_recipe(kept).data.source, UNKNOWN) if kept.is_file() else UNKNOWN


def _lineage(recipe: Recipe) -> str:
    """What else the weights have learned from: the network they started as, the runs that taught them."""
    weights, taught = recipe.model.weights, ", ".join(map(_named, recipe.fit.teachers))
    start = "timm's ImageNet weights" if weights == "hub" else _named(weights) if weights else ""
    return (f"; started from {start}" if start else "") + (f"; taught by {taught}" if taught else "")


def _named(run: str) -> str:
    """A run by name; of a bundle, what it says of its training too, since no folder has it."""
    said = f" ({load_bundle(run).info.training_data})" if means_bundle(run) else ""
    return f"`{Path(run).name}`{said}"


def _describe(path: Path, info: BundleInfo) -> None:
    model = onnx.load(path)
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, info.to_json()
    model.producer_name, model.doc_string = "mien", ""
    onnx.save(model, path)
