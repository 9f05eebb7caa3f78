"""From a run to a bundle: an ONNX network that answers as the run does, or no bundle at all."""

import logging
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from mien import __version__
from mien.data.material import Material
from mien.data.sources.catalog import SOURCES
from mien.data.split import clusters
from mien.errors import RunError, UsageError
from mien.evaluation import calibration, ledger
from mien.evaluation.metrics import evaluate
from mien.files import read_json, replacing
from mien.imaging import models
from mien.imaging.faces import YuNetDetector
from mien.imaging.framing import FER2013, Framing, measured
from mien.judging.finished import Finished, rows_of, shown_in_training
from mien.rows import Read, read, remembering
from mien.runtime.bundle import INPUT, KEY, OUTPUT, BundleInfo
from mien.runtime.recognizer import Recognizer
from mien.shipping import lineage
from mien.stages import Stages, silent

LARGEST_DIFFERENCE = 1e-4
"""The largest difference in probability between the run and its bundle that is let through."""

_LOOKED_AT, _NEARLY_SQUARE = 50, 1.15
_MEASURED = 300
"""Training pictures on which the framing is measured: on FER2013 its scale is then within 0.03 of that of 2,000."""


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
    if name and not name.isprintable():
        raise UsageError("the name of a bundle has printable characters only", got=ascii(name))
    once = remembering(read)
    material, rows = rows_of(run, "validation", stages, once)
    pixels, targets = np.asarray(material.pixels[material.place[rows]]), material.samples.targets[rows]
    framing, comes_from = _framing(run, once, stages)
    with replacing(out) as beside:
        _trace(run, beside)
        if int8:
            known, some = _training(run, 512, once, stages)
            _quantise(beside, run.chain.tensor(np.asarray(known.pixels[known.place[some]])))
        info = _info(run, name or run.recipe.name, licence, int8, framing)
        _describe(beside, info)
        # As whoever uses it will: through the file, with what it says of itself.
        theirs = _answers(beside, pixels, stages("check"))
        if int8:
            # An 8-bit network has logits of its own, and what was fitted on the run's promises nothing of them.
            table, accuracy = material.samples.table.iloc[rows], run.recipe.evaluate.answered_accuracy
            new = ~shown_in_training(run, table["image"])
            fitted = calibration.calibrate(calibration.logits(theirs), targets, new, accuracy, clusters(table))
            info = info.model_copy(
                update={"temperature": fitted.temperature, "uncertain_below": fitted.uncertain_below}
            )
            theirs = _tempered(theirs, info.temperature)
        ours = run.probabilities(pixels, exactly=True)
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
        own = _judged(run, beside, info.temperature, once, stages) if int8 else read_json(run.folder / "metrics.json")
        _describe(beside, info.model_copy(update={"figures": _figures(run, own, accuracy, int8)}))
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
    if SOURCES[run.recipe.data.source].of_fer2013:
        return FER2013, "faces are framed as FER2013 frames them"
    known, some = _training(run, _MEASURED, read, stages)
    reader, images = known.samples.reader, known.samples.table["image"].iloc[some]
    _say_squeezed(reader.read(image).shape for image in images[:_LOOKED_AT])
    if not models.present("yunet"):
        logging.getLogger("mien").warning(
            "faces will be framed as FER2013 frames them, since the framing of this data cannot be measured without "
            "YuNet: mien models pull yunet, and export again"
        )
        return FER2013, "faces are framed as FER2013 frames them, since YuNet is not installed"
    framing, seen = measured((reader.read(image) for image in images), YuNetDetector())
    if framing is None:
        return FER2013, f"faces are framed as FER2013 frames them: YuNet sees a face in {seen} of {len(some)} pictures"
    return framing, f"faces are framed as {seen} of {len(some)} training pictures show theirs"


def _say_squeezed(shapes: Iterable[tuple[int, ...]]) -> None:
    """Warn where pictures were squeezed to the shape that the network takes: faces are cut out square in use."""
    wide = float(np.median([shape[1] / shape[0] for shape in shapes]))
    if abs(np.log(wide)) > np.log(_NEARLY_SQUARE):
        logging.getLogger("mien").warning(
            "training pictures are %.2f times as wide as high, so the network learned faces of other proportions than "
            "in use, where they are cut out square: start the chain with frame-face, or train on square pictures", wide,
        )  # fmt: skip


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


def _answers(
    path: Path, pixels: NDArray[np.uint8], progress: Callable[[int, int], None] | None
) -> NDArray[np.floating]:
    """What a bundle answers to prepared faces (N, H, W[, 3]): probabilities (N, classes)."""
    recognizer, parts = Recognizer(path, crop="whole"), []
    for start in range(0, len(pixels), 256):
        parts.append(recognizer.probabilities(list(pixels[start : start + 256])))
        if progress:
            progress(min(start + 256, len(pixels)), len(pixels))
    return np.concatenate(parts)


def _tempered(probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.floating]:
    return calibration.softmax(calibration.logits(probabilities), temperature)


def _judged(run: Finished, path: Path, temperature: float, read: Read, stages: Stages) -> dict[str, Any]:
    """An 8-bit network answers a little otherwise than its run, so its test figures are its own; the ledger says so."""
    material, rows = rows_of(run, "test", stages, read)
    answers = _answers(path, np.asarray(material.pixels[material.place[rows]]), stages("test"))
    ledger.record(run.folder.parent, run.protocol, f"{run.folder.name} int8")
    targets, groups = material.samples.targets[rows], clusters(material.samples.table.iloc[rows])
    probabilities, resamples = _tempered(answers, temperature), run.recipe.evaluate.bootstrap
    return {"test": evaluate(probabilities, targets, run.labels, resamples, groups=groups)}


def _figures(run: Finished, judged: dict[str, Any], accuracy: float, int8: bool) -> dict[str, Any]:
    """What a bundle says of its worth; `judged` has the metrics of the test rows, `accuracy` is on validation."""
    test, twins = judged["test"], judged.get("test_without_twins")
    return {
        "protocol": run.protocol,
        "test": {name: test["metrics"][name] for name in ("accuracy", "macro_f1", "ece")},
        "test_rows": test["rows"],
        **({"test_without_twins": twins} if twins else {}),
        "validation_accuracy": accuracy,
        "precision": "int8" if int8 else "float32",
    }


def _info(run: Finished, name: str, licence: str | None, int8: bool, framing: Framing) -> BundleInfo:
    """What a bundle says of itself but for its figures; an 8-bit one is not calibrated yet."""
    return BundleInfo(
        name=name,
        labels=run.labels,
        chain=run.chain.as_list(),
        temperature=1.0 if int8 else run.temperature,
        uncertain_below=None if int8 else run.uncertain_below,
        flip=run.recipe.evaluate.flip,
        framing=asdict(framing),
        licence=licence or lineage.licence(run.recipe),
        origin=f"mien {__version__}, recipe {run.recipe.name}, backbone {run.recipe.backbone}",
        training_data=lineage.training_data(run.recipe),
        recipe_digest=run.recipe.digest,
    )


def _describe(path: Path, info: BundleInfo) -> None:
    model = onnx.load(path)
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, info.to_json()
    model.producer_name, model.doc_string = "mien", ""
    onnx.save(model, path)
