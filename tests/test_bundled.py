"""Going on from a bundle: its weights as a start, its answers as a teacher's."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from onnx import helper
from torch import nn

from mien.errors import BundleError, MienError, RunError
from mien.labels import LABEL_SETS
from mien.recipe import parse
from mien.run.earlier import check, teacher
from mien.run.inherited import fitted_on
from mien.runtime.bundle import INPUT, KEY, OUTPUT, load, means_bundle
from mien.shipping.lineage import licence
from mien.training.backbones import OWN, build
from mien.training.bundled import fill_head, settle
from mien.training.spec import Model
from tests.tiny import LABELS, info

pytestmark = pytest.mark.filterwarnings("default")

CHAIN = ["grey", {"resize": 48}, {"normalise": "half"}]
NETWORKS = [*OWN, "resnet18", "vgg11_bn", "mobilenetv3_small_050"]


def started(backbone: str, weights: Path | str, labels: tuple[str, ...] = LABELS, **options: object) -> nn.Module:
    """A network that starts from a bundle."""
    spec = Model(backbone=backbone, dropout=0, transfer="full", weights=str(weights), **options)  # type: ignore[arg-type]
    made = build(spec, 1, (48, 48), len(labels))
    fill_head(made.backbone, made.head, str(weights), labels)
    return made


def network(backbone: str, **options: object) -> nn.Module:
    """A network that looks trained: its batch norms have statistics, scales and shifts."""
    made = build(Model(backbone=backbone, dropout=0, **options), 1, (48, 48), len(LABELS))  # type: ignore[arg-type]
    draw = torch.Generator().manual_seed(1)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data = 0.5 + torch.rand(len(module.weight), generator=draw)
            module.bias.data = torch.rand(len(module.weight), generator=draw) - 0.5
    with torch.no_grad():
        made.train()(faces(64, seed=3))
    return made.eval()


def faces(count: int, seed: int = 0, side: int = 48) -> torch.Tensor:
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def bundle(made: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            made, (torch.zeros(2, 1, 48, 48),), str(path), input_names=[INPUT], output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "n"}, OUTPUT: {0: "n"}}, opset_version=17, dynamo=False,
        )  # fmt: skip
    model = onnx.load(path)
    helper.set_model_props(model, {KEY: info(chain=CHAIN, origin="backbone of the test").to_json()})
    onnx.save(model, path)
    return path


@torch.no_grad()
def answers(made: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    return made(pictures).softmax(1)


@pytest.mark.parametrize("backbone", NETWORKS)
def test_a_network_filled_from_a_bundle_answers_as_the_one_that_was_exported(backbone: str, tmp_path: Path) -> None:
    before = network(backbone)
    file = bundle(before, tmp_path / "it.onnx")
    after = started(backbone, file).eval()
    shown = faces(32)
    torch.testing.assert_close(answers(after, shown), answers(before, shown), rtol=0, atol=1e-4)


@pytest.mark.parametrize("backbone", NETWORKS)
def test_settling_leaves_the_answers_and_gives_training_the_batch_norms_of_the_exported_network(
    backbone: str, tmp_path: Path
) -> None:
    before = network(backbone)
    after = started(backbone, bundle(before, tmp_path / "it.onnx"))
    modes = [module.training for module in after.modules()]
    settle(after, faces(64, seed=3).split(40))
    assert [module.training for module in after.modules()] == modes
    shown = faces(32)
    torch.testing.assert_close(answers(after.eval(), shown), answers(before, shown), rtol=0, atol=1e-4)
    one, other = answers(after.train(), faces(64, seed=3)), answers(after.eval(), faces(64, seed=3))
    torch.testing.assert_close(one, other, rtol=0, atol=0.02)


def test_a_shipped_bundle_can_be_trained_on() -> None:
    known = load("ferplus-fast")
    start = started("mien-tiny", "ferplus-fast", known.info.labels).eval()
    shown = faces(64)
    theirs = torch.from_numpy(known.session.run([OUTPUT], {INPUT: shown.numpy()})[0]).softmax(1)
    assert (answers(start, shown) - theirs).abs().mean() < 0.02, "apart by what 8-bit activations lose"


def test_a_head_takes_over_the_classes_that_it_shares_by_name(tmp_path: Path) -> None:
    before = network("mien-tiny")
    labels = ("contempt", LABELS[4], LABELS[0])
    after = started("mien-tiny", bundle(before, tmp_path / "it.onnx"), labels).eval()
    with torch.no_grad():
        torch.testing.assert_close(after(faces(2))[:, 1:], before(faces(2))[:, [4, 0]], rtol=1e-3, atol=1e-4)


def test_hidden_layers_are_taken_over_with_the_head_or_neither_is(tmp_path: Path) -> None:
    before = network("mien-tiny", head=(12,))
    file = bundle(before, tmp_path / "it.onnx")
    after = started("mien-tiny", file, head=(12,)).eval()
    torch.testing.assert_close(answers(after, faces(4)), answers(before, faces(4)), rtol=0, atol=1e-4)
    other = started("mien-tiny", file, head=(9,))
    fresh = build(Model(backbone="mien-tiny", head=(9,)), 1, (48, 48), len(LABELS))
    for name, value in fresh.head.state_dict().items():
        assert torch.equal(other.head.state_dict()[name], value)


@pytest.mark.parametrize("backbone", ["mien-small", "resnet18"])
def test_a_bundle_of_another_network_is_refused(backbone: str, tmp_path: Path) -> None:
    file = bundle(network("mien-tiny"), tmp_path / "it.onnx")
    with pytest.raises(RunError, match="another network than the backbone") as told:
        started(backbone, file)
    assert "backbone of the test" in str(told.value)


@pytest.mark.parametrize("chain", [["colour", *CHAIN[1:]], CHAIN[:2]])
def test_a_bundle_is_no_start_for_other_pictures_than_its_own(chain: list[object], tmp_path: Path) -> None:
    file = bundle(network("mien-tiny"), tmp_path / "it.onnx")
    model = {"backbone": "mien-tiny", "transfer": "full", "weights": str(file)}
    recipe = {"name": "x", "data": {"source": "synthetic"}, "model": model}
    check(parse(recipe | {"chain": [*CHAIN[:1], {"resize": 64}, *CHAIN[2:]]}))
    with pytest.raises(RunError, match="takes other pictures than the chain makes"):
        check(parse(recipe | {"chain": chain}))


def test_a_head_without_the_hidden_layers_of_the_bundle_is_left_alone(tmp_path: Path) -> None:
    before = network("mien-tiny", head=(192,))
    after = started("mien-tiny", bundle(before, tmp_path / "it.onnx"))
    fresh = build(Model(backbone="mien-tiny"), 1, (48, 48), len(LABELS))
    assert torch.equal(after.head[-1].weight, fresh.head[-1].weight), "its inputs would be others"


def test_layers_that_an_export_leaves_as_they_are_are_not_filled_by_halves(tmp_path: Path) -> None:
    file = bundle(network("convnext_atto"), tmp_path / "it.onnx")
    with pytest.raises(RunError, match="convolutions, batch norms and linear layers") as told:
        started("convnext_atto", file)
    assert "stem" in str(told.value), "the layers in question are named"


def test_a_network_of_equal_shapes_and_other_strides_is_refused(tmp_path: Path) -> None:
    made = network("mien-tiny")
    for module in made.modules():
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
            module.stride = (1, 1)
    with pytest.raises(RunError, match="another network"):
        started("mien-tiny", bundle(made, tmp_path / "it.onnx"))


def test_a_folder_named_as_a_shipped_model_is_not_what_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ferplus").mkdir()
    pd.DataFrame({"digest": ["a"], "split": ["train"], "source": ["x"]}).to_parquet("ferplus/samples.parquet")
    assert fitted_on(Path("ferplus")) is None and fitted_on(Path("./ferplus").absolute()) == {"a"}


@pytest.mark.parametrize(("weights", "error"), [("gone.onnx", BundleError), ("gone.pt", RunError)])
def test_weights_that_are_not_there_are_told_before_any_work(weights: str, error: type[MienError]) -> None:
    model = {"transfer": "full", "weights": weights}
    with pytest.raises(error):
        check(parse({"name": "x", "data": {"source": "synthetic"}, "chain": CHAIN, "model": model}))


def test_what_weights_say_of_their_licence_follows_from_the_data() -> None:
    def said(source: str) -> str:
        return licence(parse({"name": "x", "data": {"source": source}, "chain": CHAIN}))

    assert said("oheix") == said("fer2013") and "trained on FER2013" in said("fer2013")
    assert "FERPlus labels (MIT)" in said("ferplus") and said("folders") == "as the training data allows"


def test_shipped_names_and_onnx_files_mean_bundles() -> None:
    assert means_bundle("ferplus") and means_bundle("runs/mine.onnx")
    assert not means_bundle("runs/ferplus") and not means_bundle("hub")


def test_a_bundle_teaches_with_its_own_answers_also_on_smaller_pictures(tmp_path: Path) -> None:
    before = network("mien-tiny")
    file = bundle(before, tmp_path / "it.onnx")
    recipe = parse({"name": "x", "data": {"source": "synthetic"}, "chain": CHAIN, "fit": {"teachers": [str(file)]}})
    asked = teacher(str(file), recipe, LABELS)
    torch.testing.assert_close(answers(asked, faces(8)), answers(before, faces(8)), rtol=0, atol=1e-4)
    flat = torch.full((2, 1, 48, 48), 0.25)
    torch.testing.assert_close(answers(asked, flat[..., :32, :32]), answers(before, flat), rtol=0, atol=1e-4)
    with pytest.raises(RunError, match="knows other classes"):
        teacher(str(file), recipe, LABEL_SETS["ferplus"])


def test_the_mean_of_many_pictures_does_not_depend_on_how_they_are_split(tmp_path: Path) -> None:
    file = bundle(network("mien-tiny"), tmp_path / "it.onnx")
    one, two = (started("mien-tiny", file) for _ in range(2))
    settle(one, [faces(300)])
    settle(two, faces(300)[torch.from_numpy(np.random.default_rng(0).permutation(300))].split(77))
    for name, value in one.state_dict().items():
        torch.testing.assert_close(value, two.state_dict()[name], rtol=1e-3, atol=1e-5)
