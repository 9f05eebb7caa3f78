"""A small network as a bundle, for tests: a linear map of a 48x48 grey face, with weights from a seed."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mien.labels import LABEL_SETS
from mien.runtime.bundle import INPUT, KEY, OUTPUT, BundleInfo

LABELS = LABEL_SETS["fer2013"]


def info(**changes: Any) -> BundleInfo:
    """The metadata of the small network, with some fields changed."""
    fields = {"name": "tiny", "labels": LABELS, "chain": ["grey", {"resize": 48}], "licence": "Apache-2.0"}
    return BundleInfo(**(fields | changes))


def write(
    path: Path,
    text: str | None,
    classes: int = len(LABELS),
    side: int = 48,
    output: str = OUTPUT,
    batch: Any = "n",
    weight: float = 0.05,
    beside: str | None = None,
) -> Path:
    """Write the network with this text as its metadata (None: without any); its weights into a file `beside` it."""
    weights = np.random.default_rng(0).normal(0, 1, (side * side, classes)).astype(np.float32) * np.float32(weight)
    graph = helper.make_graph(
        [helper.make_node("Flatten", [INPUT], ["flat"]), helper.make_node("MatMul", ["flat", "weights"], [output])],
        "tiny",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [batch, 1, side, side])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, classes])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if text is not None:
        helper.set_model_props(model, {KEY: text})
    onnx.save(model, path, save_as_external_data=beside is not None, location=beside, size_threshold=0)
    return path


def bundle(path: Path, weight: float = 0.05, beside: str | None = None, **changes: Any) -> Path:
    """Write the small network as a whole bundle, with some metadata fields changed; `weight`, `beside` as `write`."""
    return write(path, info(**changes).to_json(), weight=weight, beside=beside)
