"""Fitting: what comes out, what is kept, and that a fit after a kill is the same fit."""

import csv
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import full_disk
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from mien.errors import DataError, MienError, RunError, UsageError
from mien.imaging.steps import Normalise
from mien.training.augment import add_noise, augment, mix
from mien.training.backbones import OWN, build, freeze, load_weights
from mien.training.fit import Rows, fit, in_bf16, predict
from mien.training.module import channels_first
from mien.training.saving import save
from mien.training.spec import SHORTCUTS, Augment, Fit, Model

HALF = Normalise((0.5,), (0.5,))
QUICK = Fit(epochs=2, batch=16, learning_rate=0.05, ema=0.9, schedule="cosine", precision="float32")


def stripes(count: int, seed: int = 0) -> Rows:
    """Noisy pictures, upright stripes or level ones: two classes that a network tells apart at once."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, count)
    wave = (np.arange(16) % 4 < 2) * 160
    upright = np.broadcast_to(wave, (16, 16))
    pixels = np.where(targets[:, None, None] == 1, upright, upright.T) + rng.integers(0, 60, (count, 16, 16))
    return Rows(pixels.astype(np.uint8), np.arange(count), np.eye(2, dtype=np.float32)[targets])


def tiny(**options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return build(Model(backbone="mien-tiny", **options), 1, (16, 16), 2)


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open() as stream:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)]


def test_a_fit_learns_and_keeps_the_best_on_validation(tmp_path: Path) -> None:
    validation = stripes(64, 1)
    changes = Augment(rotation=5, brightness=0.1, erasing=0.2, mixup=0.2, cutmix=0.5)
    spec = QUICK.model_copy(update={"epochs": 6, "progressive": 0.5})
    network = fit(tiny(), stripes(256), validation, spec, changes, HALF, tmp_path)
    answers = predict(network, validation.pixels, validation.positions, HALF).argmax(1)
    reached = float((answers == validation.targets.argmax(1)).mean())
    rows = history(tmp_path)
    assert reached > 0.95
    assert reached == pytest.approx(max(float(row["val_accuracy"]) for row in rows), abs=1e-4)
    assert [row["epoch"] for row in rows] == [str(i) for i in range(6)]
    assert all(float(row["train_loss"]) > 0 for row in rows)


def test_a_taught_network_answers_as_its_teacher_does_and_not_as_the_labels_say(tmp_path: Path) -> None:
    lessons, validation = stripes(256), stripes(64, 1)
    teacher = fit(tiny(), lessons, validation, QUICK.model_copy(update={"epochs": 6}), Augment(), HALF, tmp_path / "a")
    kept = {name: value.clone() for name, value in teacher.state_dict().items()}
    wrong = Rows(lessons.pixels, lessons.positions, lessons.targets[:, ::-1].copy())
    spec = QUICK.model_copy(update={"epochs": 6, "teachers": ("a",), "teacher_share": 1.0})
    student = fit(tiny(), wrong, validation, spec, Augment(), HALF, tmp_path / "b", teachers=[teacher.eval()])
    answers = predict(student, validation.pixels, validation.positions, HALF).argmax(1)
    assert (answers == validation.targets.argmax(1)).mean() > 0.95
    assert all(torch.equal(value, kept[name]) for name, value in teacher.state_dict().items())


def test_a_fit_that_diverges_ends_at_once_and_says_so(tmp_path: Path) -> None:
    spec = QUICK.model_copy(update={"epochs": 9, "learning_rate": 1e30, "schedule": "constant", "ema": 0.0})
    with pytest.raises(RunError, match=r"diverged in epoch \d[\s\S]*lower fit\.learning_rate"):
        fit(tiny(), stripes(64), stripes(32, 1), spec, Augment(), HALF, tmp_path)


def test_tensors_on_a_disk_that_fills_up_leave_nothing(tmp_path: Path) -> None:
    with full_disk(), pytest.raises(DataError, match=r"cannot write .*best\.pt"):
        save({"weight": torch.zeros(100_000)}, tmp_path / "best.pt")
    assert list(tmp_path.iterdir()) == []


def test_early_stopping_ends_a_fit_that_gets_no_better(tmp_path: Path) -> None:
    spec = QUICK.model_copy(update={"epochs": 30, "patience": 2, "learning_rate": 1e-9, "ema": 0.0})
    told: list[tuple[int, int]] = []
    fit(tiny(), stripes(32), stripes(32, 1), spec, Augment(), HALF, tmp_path, progress=lambda *step: told.append(step))
    assert told[-1] == (60, 60) and told[-2][0] < 60, "its end is told"
    ended = history(tmp_path)
    assert len(ended) < 30
    fit(tiny(), stripes(32), stripes(32, 1), spec, Augment(), HALF, tmp_path)
    assert history(tmp_path) == ended, "a fit that is over does not go on"


def test_a_resumed_fit_keeps_its_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = (stripes(32), stripes(32, 1), QUICK.model_copy(update={"precision": "auto"}), Augment(), HALF, tmp_path)
    asked = []
    monkeypatch.setattr("mien.training.fit.in_bf16", lambda *_: asked.append(True) or False)
    fit(tiny(), *words)
    (tmp_path / "checkpoints" / "ended").unlink()
    fit(tiny(), *words)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("name", "faster"),
    [("mien-tiny", True), ("resnet18", True), ("mobilenetv3_small_050", False), ("efficientnet_b0", False)],
)
def test_the_arithmetic_follows_from_machine_and_network(
    monkeypatch: pytest.MonkeyPatch, name: str, faster: bool
) -> None:
    network, auto = build(Model(backbone=name), 1, (32, 32), 2), Fit(precision="auto")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: False)
    for has_it in (True, False):
        monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda has_it=has_it: has_it)
        assert in_bf16(network, auto) == (has_it and faster)
    assert in_bf16(network, Fit(precision="bf16")) and not in_bf16(network, Fit(precision="float32"))


def test_an_interrupted_fit_leaves_as_python_does_and_goes_on_later(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done > total // 2:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    words = (stripes(32), stripes(32, 1), QUICK.model_copy(update={"epochs": 4}), Augment(), HALF, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fit(tiny(), *words, progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is before
    fit(tiny(), *words)
    assert len(history(tmp_path)) == 4


class Killed(BaseException):
    """Ends a fit where it stands: nothing in it looks for this."""


@pytest.mark.parametrize("schedule", ["one-cycle", "plateau", "cosine", "constant"])
def test_a_fit_killed_and_resumed_is_the_uninterrupted_fit(tmp_path: Path, schedule: str) -> None:
    def kill(done: int, total: int) -> None:
        if done > total // 2:
            raise Killed

    # A fit this short gets no better for a while only where its rate is far too high: the plateau must matter.
    shaken = {"learning_rate": 1.0, "plateau_patience": 1, "ema": 0.0} if schedule == "plateau" else {}
    spec = QUICK.model_copy(update={"epochs": 6, "batch": 8, "schedule": schedule, **shaken})
    words = (stripes(96), stripes(32, 1), spec, Augment(rotation=10, mixup=0.3), HALF)
    with pytest.raises(Killed):
        fit(tiny(), *words, tmp_path / "killed", progress=kill)
    assert len(history(tmp_path / "killed")) == 3
    for folder in ("killed", "whole"):
        fit(tiny(), *words, tmp_path / folder)
    assert history(tmp_path / "killed") == history(tmp_path / "whole")
    if schedule == "plateau":
        assert len({row["lr"] for row in history(tmp_path / "whole")}) > 1
    killed, whole = (torch.load(tmp_path / f / "checkpoints/best.pt", weights_only=True) for f in ("killed", "whole"))
    assert all(torch.equal(killed[name], whole[name]) for name in whole)


@pytest.mark.parametrize("kept", [False, True])
def test_a_fit_killed_after_it_stopped_early_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    spec = QUICK.model_copy(update={"epochs": 30, "patience": 2, "learning_rate": 1e-9, "ema": 0.0})
    words = (stripes(32), stripes(32, 1), spec, Augment(), HALF)
    fit(tiny(), *words, tmp_path / "whole")
    epochs = len(history(tmp_path / "whole"))

    def kill(done: int, total: int) -> None:
        if done == total:
            raise Killed

    def save_and_kill(state: dict[str, object], path: Path) -> None:
        save(state, path)
        if path.name == "last.ckpt" and len(history(tmp_path / "killed")) == epochs:
            raise Killed

    if kept:
        monkeypatch.setattr("mien.training.fit.save", save_and_kill)
    with pytest.raises(Killed):
        fit(tiny(), *words, tmp_path / "killed", progress=kill)
    monkeypatch.undo()
    fit(tiny(), *words, tmp_path / "killed")
    assert history(tmp_path / "killed") == history(tmp_path / "whole")


@pytest.mark.parametrize("name", [*OWN, *SHORTCUTS, "mobilenetv3_small_050", "vit_tiny_patch16_224"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_backbone_takes_faces_and_gives_logits(name: str, channels: int) -> None:
    if name == "vgg19" and channels == 3:
        pytest.skip("vgg16 shows it for both")
    network = build(Model(backbone=name, head=(8,)), channels, (48, 48), 7).eval()
    with torch.no_grad():
        logits = network(torch.rand(2, channels, 48, 48))
    assert logits.shape == (2, 7) and torch.isfinite(logits).all()


def test_a_misspelt_backbone_is_told_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'resnet50'") as refused:
        Model(backbone="resnet_50x")
    assert len(str(refused.value)) < 300, "timm's thousand names are no help"


def test_frozen_layers_keep_weights_and_statistics(tmp_path: Path) -> None:
    start = tiny()
    torch.save(start.state_dict(), tmp_path / "start.pt")
    for transfer, whole in (("frozen", True), ("partial", False)):
        network = tiny(transfer=transfer, weights=str(tmp_path / "start.pt"), freeze=0.2)
        before = {name: value.clone() for name, value in network.state_dict().items()}
        fit(network, stripes(64), stripes(32, 1), QUICK, Augment(), HALF, tmp_path / transfer)
        moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
        assert any(name.startswith("head.") for name in moved)
        assert "backbone.stages.0.0.weight" not in moved and "backbone.stages.0.1.running_mean" not in moved
        assert any(name.startswith("backbone.") for name in moved) is not whole


def test_weights_of_colour_pictures_fill_a_grey_network(tmp_path: Path) -> None:
    colour = build(Model(backbone="resnet18"), 3, (32, 32), 7)
    torch.save(colour.backbone.state_dict(), tmp_path / "colour.pt")
    spec = Model(backbone="resnet18", transfer="full", weights=str(tmp_path / "colour.pt"))
    grey = build(spec, 1, (32, 32), 7)
    summed = colour.backbone.conv1.weight.sum(dim=1, keepdim=True)
    torch.testing.assert_close(grey.backbone.conv1.weight, summed)
    torch.testing.assert_close(grey.backbone.layer4[1].conv2.weight, colour.backbone.layer4[1].conv2.weight)


def test_a_file_says_nothing_of_labels_and_fills_no_last_layer(tmp_path: Path) -> None:
    before = tiny(head=(5,))
    torch.save(before.state_dict(), tmp_path / "before.pt")
    after = tiny(head=(5,), transfer="full", weights=str(tmp_path / "before.pt"))
    assert torch.equal(after.head[0].weight, before.head[0].weight)
    fresh = tiny(head=(5,), transfer="full", weights=str(tmp_path / "before.pt"), dropout=0.5)
    before.head[-1].weight.data.fill_(7)
    assert torch.equal(after.head[-1].weight, fresh.head[-1].weight) and not (after.head[-1].weight == 7).any()


def test_layers_inside_a_frozen_one_train_on() -> None:
    network = build(Model(backbone="xcit_nano_12_p16_224"), 1, (64, 64), 7)
    freeze(network, 0.3)
    learning = [
        module
        for module in network.train().backbone.modules()
        if any(parameter.requires_grad for parameter in module.parameters(recurse=False))
    ]
    assert learning and all(module.training for module in learning)
    still = [module for module in network.frozen if isinstance(module, nn.BatchNorm2d)]
    assert still and not any(module.training for module in still)


def test_weights_that_fill_a_part_are_refused(tmp_path: Path) -> None:
    state = {name: value for name, value in tiny().backbone.state_dict().items() if "stages.0" not in name}
    torch.save(state, tmp_path / "part.pt")
    with pytest.raises(RunError, match="at random"):
        tiny(transfer="full", weights=str(tmp_path / "part.pt"))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"some.other": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(RunError, match="fits"):
        load_weights(tiny(), tmp_path / "other.pt")


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    torch.save({"weights": os.system}, tmp_path / "evil.pt")
    with pytest.raises(RunError, match="plain tensors") as refused:
        load_weights(tiny(), tmp_path / "evil.pt")
    assert "weights_only" not in str(refused.value), "nobody is told to open it all the same"


def test_a_broken_safetensors_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    with pytest.raises(RunError, match=r"broken\.safetensors is not a file of plain tensors"):
        load_weights(tiny(), tmp_path / "broken.safetensors")


def test_hub_weights_without_a_network_say_how_to_bring_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    import mien.training.backbones as module

    def offline(name: str, **options: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(module.timm, "create_model", offline)
    with pytest.raises(MienError, match=r"model\.weights=resnet50\.pt"):
        build(Model(backbone="resnet50", transfer="full", weights="hub"), 3, (48, 48), 7)


def test_nothing_is_chosen_on_the_test_split() -> None:
    with pytest.raises(ValidationError, match="nothing is chosen on the test split"):
        Fit(monitor="test")


@settings(max_examples=25, deadline=None)
@given(
    rotation=st.floats(0, 180), shift=st.floats(0, 0.5), zoom=st.floats(0, 0.9), erasing=st.floats(0, 1),
    brightness=st.floats(0, 1), size=st.sampled_from([None, 8, 20]), seed=st.integers(0, 99),
)  # fmt: skip
def test_augmented_pictures_stay_pictures(rotation, shift, zoom, erasing, brightness, size, seed) -> None:
    spec = Augment(rotation=rotation, shift_x=shift, zoom=zoom, erasing=erasing, brightness=brightness)
    batch = torch.rand(3, 1, 16, 16)
    made = [augment(batch, spec, torch.Generator().manual_seed(seed), size) for _ in range(2)]
    side = size or 16
    assert made[0].shape == (3, 1, side, side)
    assert torch.equal(*made), "the same draws give the same pictures"
    assert float(made[0].min()) >= 0 and float(made[0].max()) <= 1 + 1e-6


def test_pictures_are_the_same_in_a_fit_of_bf16() -> None:
    batch, spec = torch.rand(3, 1, 48, 48), Augment(rotation=15, shift_x=0.1, zoom=0.1, contrast=0.2, erasing=0.5)
    plain = augment(batch, spec, torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(augment(batch, spec, torch.Generator().manual_seed(0)), plain)


def test_no_augmentation_changes_nothing() -> None:
    batch = torch.rand(3, 1, 16, 16)
    assert torch.equal(augment(batch, Augment(), torch.Generator()), batch)
    assert torch.equal(add_noise(batch, 0, torch.Generator()), batch)


@settings(max_examples=25, deadline=None)
@given(
    noise=st.floats(0, 1), count=st.integers(1, 5), seed=st.integers(0, 99),
    size=st.sampled_from([(16, 16), (9, 24), (1, 1)]), channels=st.sampled_from([1, 3]),
)  # fmt: skip
def test_noisy_pictures_stay_pictures(noise, count, seed, size, channels) -> None:
    batch = torch.rand(count, channels, *size)
    before = batch.clone()
    made = [add_noise(batch, noise, torch.Generator().manual_seed(seed)) for _ in range(2)]
    assert made[0].shape == batch.shape
    assert torch.equal(*made), "the same draws give the same pictures"
    assert torch.equal(batch, before), "the teachers' pictures are left alone"
    assert float(made[0].min()) >= 0 and float(made[0].max()) <= 1


def test_half_of_a_batch_gets_noise_as_strong_as_asked_at_most() -> None:
    batch = torch.full((400, 1, 24, 24), 0.5)
    deviations = add_noise(batch, 0.1, torch.Generator().manual_seed(0)).std(dim=(1, 2, 3))
    noisy = deviations[deviations > 0]
    assert len(noisy) == 200
    assert float(noisy.max()) < 0.11 and float(noisy.mean()) == pytest.approx(0.05, abs=0.006)


def test_a_picture_upside_down_turns_without_being_squeezed() -> None:
    picture = torch.zeros(1, 1, 96, 96)
    picture[..., 38:58, 33:63] = 1
    for seed in range(8):
        spec = Augment(rotation=45, flip_vertical=1, flip_horizontal=0.5)
        turned = augment(picture, spec, torch.Generator().manual_seed(seed))
        assert turned.sum() == pytest.approx(600, rel=0.05)


def test_a_rotation_keeps_shapes_on_pictures_that_are_not_square() -> None:
    picture = torch.zeros(1, 1, 60, 120)
    picture[..., 20:40, 50:70] = 1
    turned = augment(picture, Augment(rotation=90), torch.Generator().manual_seed(1))
    assert turned.sum() == pytest.approx(float(picture.sum()), rel=0.05), "a square stays as large, whatever the angle"


def test_a_certain_flip_is_the_mirror_image() -> None:
    batch = torch.rand(3, 1, 16, 16)
    assert torch.allclose(augment(batch, Augment(flip_horizontal=1), torch.Generator()), batch.flip(-1), atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(mixup=st.sampled_from([0.0, 0.4]), cutmix=st.sampled_from([0.0, 1.0]), seed=st.integers(0, 99))
def test_mixed_targets_stay_distributions(mixup: float, cutmix: float, seed: int) -> None:
    targets = torch.eye(3)[torch.arange(6) % 3]
    batch, mixed = mix(
        torch.rand(6, 1, 8, 8), targets, Augment(mixup=mixup, cutmix=cutmix), torch.Generator().manual_seed(seed)
    )
    assert batch.shape == (6, 1, 8, 8)
    assert torch.allclose(mixed.sum(1), torch.ones(6), atol=1e-5) and float(mixed.min()) >= -1e-6


def test_the_names_of_keras_generator_are_accepted() -> None:
    theirs = Augment(
        rotation_range=30, width_shift_range=0.2, height_shift_range=0.2, shear_range=0.2, zoom_range=0.2,
        horizontal_flip=True, vertical_flip=True, fill_mode="nearest",
    )  # fmt: skip
    assert theirs == Augment(
        rotation=30, shift_x=0.2, shift_y=0.2, shear=0.2, zoom=0.2, flip_horizontal=0.5, flip_vertical=0.5
    )
    assert Augment(zoom_range=[0.8, 1.2], brightness_range=(0.9, 1.1)) == Augment(zoom=0.2, brightness=0.1)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("zoom_range", [0.5, 1.0], "as far below 1 as above it"),
        ("zoom_range", [1.2, 0.8], "as far below 1 as above it"),
        ("brightness_range", [0.2, 1.0], "as far below 1 as above it"),
        ("brightness_range", 0.2, "two factors around 1"),
    ],
)
def test_ranges_of_keras_that_cannot_be_kept_are_refused(name: str, value: object, said: str) -> None:
    with pytest.raises(ValidationError, match=f"{name} must .*{said}"):
        Augment(**{name: value})


def test_training_sees_the_numbers_that_use_sees() -> None:
    from mien.imaging.chain import Chain

    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    chain = Chain.parse(["colour", {"resize": 8}, {"normalise": "imagenet"}])
    scale, offset = (torch.from_numpy(v).view(1, -1, 1, 1) for v in (chain.normalise.scale, chain.normalise.offset))
    assert np.array_equal((channels_first(torch.from_numpy(pixels)) * scale + offset).numpy(), chain.tensor(pixels))
