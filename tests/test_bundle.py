import json

import numpy as np
import onnx
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from mien.errors import BundleError, UsageError
from mien.labels import EXPRESSIONS
from mien.runtime import bundle as bundles
from mien.runtime.bundle import BundleInfo


@given(
    labels=st.lists(st.sampled_from(EXPRESSIONS), min_size=2, unique=True),
    temperature=st.floats(0.01, 100),
    uncertain=st.none() | st.floats(0, 1),
    licence=st.text(),
)
def test_metadata_survives_its_json(labels, temperature, uncertain, licence):
    info = tiny.info(labels=labels, temperature=temperature, uncertain_below=uncertain, licence=licence)
    assert BundleInfo.from_json(info.to_json()) == info


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ('"format":1', "format"),
        ('"temperature":1.0', "temperature"),
        ('"anger"', "labels"),
        ('"flip":false', "flip"),
    ],
)
def test_wrong_metadata_names_the_field(changed, named):
    wrong = {"format": '"format":2', "temperature": '"temperature":-1', "labels": '"Rage!"', "flip": '"flop":true'}[
        named
    ]
    text = tiny.info().to_json()
    assert changed in text
    with pytest.raises(BundleError, match="not valid") as caught:
        BundleInfo.from_json(text.replace(changed, wrong))
    assert any(named in line or "flop" in line for line in caught.value.got)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"figures": {"test": "x"}}, "figures"),
        ({"figures": {"test": {"accuracy": 0.7}}}, "figures"),
        ({"figures": {"test": {"accuracy": {"value": 0.7, "low": "0.6", "high": 0.8}}}}, "figures"),
        ({"name": "x\x1b[31m"}, "name"),
        ({"name": "two\nlines"}, "name"),
    ],
)
def test_a_name_and_figures_that_cannot_be_shown_are_refused(changed, named):
    text = json.dumps(json.loads(tiny.info().to_json()) | changed)
    with pytest.raises(BundleError, match="not valid") as caught:
        BundleInfo.from_json(text)
    assert caught.value.got[0].startswith(f"{named}: ")


def test_load_gives_what_was_written(tmp_path):
    path = tiny.bundle(tmp_path / "a model.onnx", temperature=2.0, figures={"accuracy": 0.7})
    loaded = bundles.load(path)
    assert loaded.info == tiny.info(temperature=2.0, figures={"accuracy": 0.7})
    assert loaded.size == path.stat().st_size
    assert loaded.chain.size == (48, 48)
    (logits,) = loaded.session.run(None, {bundles.INPUT: np.zeros((3, 1, 48, 48), np.float32)})
    assert logits.shape == (3, 7)


def test_a_path_may_be_a_string(tmp_path):
    assert bundles.load(str(tiny.bundle(tmp_path / "x.onnx"))).info.name == "tiny"


def test_an_unknown_name_suggests_a_known_one():
    with pytest.raises(UsageError, match="unknown model") as caught:
        bundles.load("ferplus-fst")
    assert "ferplus-fast" in caught.value.then


def test_names_lists_only_what_is_installed():
    assert set(bundles.names()) <= set(bundles.weights.SHIPPED)
    for name in bundles.names():
        assert bundles.load(name).info.name == name


def test_a_foreign_network_is_refused(tmp_path):
    with pytest.raises(BundleError, match="without mien's metadata") as caught:
        bundles.load(tiny.write(tmp_path / "foreign.onnx", None))
    assert "mien export" in caught.value.then


@pytest.mark.parametrize("content", [b"", b"not a network", b"\x08\x09" * 100])
def test_a_file_that_is_no_network_is_refused(tmp_path, content):
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(BundleError, match="not a network"):
        bundles.load(path)


def test_weights_come_out_of_the_bundle_alone(tmp_path, monkeypatch):
    path = tiny.bundle(tmp_path / "thin.onnx", beside="weights.bin")
    assert (tmp_path / "weights.bin").stat().st_size > path.stat().st_size
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match="ONNX Runtime can run"):
        bundles.load("./thin.onnx")


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(BundleError, match="No such file"):
        bundles.load(tmp_path / "nowhere.onnx")


def test_a_file_past_the_limit_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(bundles, "MAX_BYTES", 1000)
    with pytest.raises(BundleError, match="too large"):
        bundles.load(tiny.bundle(tmp_path / "large.onnx"))


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ({"text": tiny.info().to_json(), "classes": 8}, "does not answer one number a label"),
        ({"text": tiny.info().to_json(), "batch": 1}, "does not make what the network takes"),
        ({"text": tiny.info().to_json(), "side": 40}, "does not make what the network takes"),
        ({"text": tiny.info().to_json(), "output": "scores"}, "other inputs and outputs"),
        ({"text": tiny.info(chain=["grey"]).to_json()}, "leaves the size"),
        ({"text": tiny.info(chain=["blur"]).to_json()}, "unknown chain step"),
        ({"text": tiny.info(framing={"zoom": 3}).to_json()}, "cannot be used"),
        ({"text": "{"}, "cannot be used"),
    ],
)
def test_a_network_and_metadata_that_disagree_are_refused(tmp_path, written, reason):
    with pytest.raises(BundleError, match=reason):
        bundles.load(tiny.write(tmp_path / "odd.onnx", **written))


@pytest.mark.parametrize(("kind", "shape"), [(TensorProto.FLOAT, []), (TensorProto.DOUBLE, ["n", 1, 48, 48])])
def test_a_network_of_another_kind_of_input_is_refused(tmp_path, kind, shape):
    graph = helper.make_graph(
        [helper.make_node("Identity", [bundles.INPUT], [bundles.OUTPUT])],
        "odd",
        [helper.make_tensor_value_info(bundles.INPUT, kind, shape)],
        [helper.make_tensor_value_info(bundles.OUTPUT, kind, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {bundles.KEY: tiny.info().to_json()})
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(BundleError, match="does not make what the network takes"):
        bundles.load(tmp_path / "odd.onnx")
