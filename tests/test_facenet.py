"""The FaceNet network, its mining, its batches, and a fit on pictures that are easy to tell apart."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from blobs import blobs
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.errors import DataError, RunError
from mien.imaging.steps import Normalise
from mien.training.facenet import FaceNet, classifier
from mien.training.fit import predict
from mien.training.metric_learning import balanced_batches, fit_embedding, triplets, turn_and_shift
from mien.training.readouts import nearest_centroid
from mien.training.spec import TripletSpec

SMALL = TripletSpec(dimensions=16, epochs=2, batch=12, learning_rate=1e-3, validate_every=5, validation_rows=30)
PLAIN = Normalise()


def embed(network: torch.nn.Module, pixels: np.ndarray) -> np.ndarray:
    return predict(network, pixels, np.arange(len(pixels)), PLAIN)


@pytest.mark.parametrize(("channels", "side", "dimensions"), [(1, 48, 128), (3, 48, 512), (1, 96, 128)])
def test_embeddings_lie_on_the_unit_sphere(channels: int, side: int, dimensions: int) -> None:
    vectors = FaceNet(channels, dimensions).eval()(torch.rand(3, channels, side, side))
    assert vectors.shape == (3, dimensions)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))


def test_the_network_begins_as_the_paper_says() -> None:
    first, pool = FaceNet().trunk[0], FaceNet().trunk[1]
    assert (first[0].kernel_size, first[0].out_channels, first[0].stride, first[0].padding) == (
        (7, 7),
        64,
        (2, 2),
        (3, 3),
    )
    assert isinstance(first[1], torch.nn.BatchNorm2d)
    assert isinstance(first[2], torch.nn.ReLU)
    assert (pool.kernel_size, pool.stride) == (3, 2)


@given(
    counts=st.lists(st.integers(2, 30), min_size=2, max_size=7),
    batch=st.integers(4, 40),
    seed=st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_every_batch_is_balanced_and_gives_each_anchor_a_positive(counts: list[int], batch: int, seed: int) -> None:
    targets = np.repeat(np.arange(len(counts)), counts)
    batches = list(balanced_batches(targets, batch, np.random.default_rng(seed)))
    assert len(batches) == max(1, len(targets) // batch)
    for rows in batches:
        assert len(rows) == batch
        held = np.bincount(targets[rows], minlength=len(counts))
        held = held[held > 0]
        assert len(held) == min(len(counts), batch // 2)
        assert held.min() >= 2
        assert held.max() - held.min() <= 1


def test_no_picture_is_drawn_again_before_its_class_is_through() -> None:
    targets = np.repeat([0, 1], [40, 4])
    drawn = np.concatenate(list(balanced_batches(targets, 8, np.random.default_rng(0))))
    common, rare = drawn[targets[drawn] == 0], drawn[targets[drawn] == 1]
    assert len(set(common.tolist())) == len(common)
    assert np.ptp(np.bincount(rare)[40:]) <= 1


@pytest.mark.parametrize(("targets", "batch"), [([0, 0, 0, 0], 4), ([0, 0, 0, 1], 4), ([0, 0, 1, 1], 3)])
def test_batches_without_triplets_are_refused(targets: list[int], batch: int) -> None:
    with pytest.raises(DataError, match="triplets need two classes"):
        next(balanced_batches(np.array(targets), batch, np.random.default_rng(0)))


def on_circle(*degrees: float) -> torch.Tensor:
    angles = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def test_semi_hard_takes_negatives_beyond_the_positive_but_within_the_margin() -> None:
    vectors, classes = on_circle(0, 30, 35, 90), torch.tensor([0, 0, 1, 1])
    mine, _ = triplets("semi-hard", margin=0.2)
    found = {tuple(int(i) for i in each) for each in zip(*mine(vectors, classes), strict=True)}
    assert (0, 1, 2) in found, "35 degrees is a little farther than 30"
    assert (0, 1, 3) not in found, "90 degrees is beyond the margin"
    assert (1, 0, 2) not in found, "5 degrees is nearer than the positive: hard, not semi-hard"


def test_batch_hard_takes_the_farthest_positive_and_the_nearest_negative() -> None:
    vectors, classes = on_circle(0, 10, 40, 60, 90), torch.tensor([0, 0, 0, 1, 1])
    mine, loss = triplets("batch-hard", margin=0.2)
    mined = mine(vectors, classes)
    found = {int(a): (int(p), int(n)) for a, p, n in zip(*mined, strict=True)}
    assert found == {0: (2, 3), 1: (2, 3), 2: (0, 3), 3: (4, 2), 4: (3, 2)}
    assert loss(vectors, classes, mined) > 0


def test_doubling_turns_about_the_centre_then_shifts() -> None:
    picture = np.zeros((1, 48, 48), np.uint8)
    picture[0, 22:26, 22:26] = 255
    moved = turn_and_shift(picture)[0]
    rows, columns = np.nonzero(moved > 100)
    assert rows.mean() == pytest.approx(23.5 + 10, abs=0.3)
    assert columns.mean() == pytest.approx(23.5 + 5, abs=0.3)
    assert turn_and_shift(np.full((1, 48, 48, 3), 255, np.uint8)).shape == (1, 48, 48, 3)


@pytest.mark.parametrize("mining", ["semi-hard", "batch-hard"])
def test_a_fit_separates_what_is_separable(mining, tmp_path) -> None:
    pixels, targets = blobs(84)
    val_pixels, val_targets = blobs(30, seed=1)
    seen: list[tuple[int, int]] = []
    spec = SMALL.model_copy(update={"mining": mining})
    fit = fit_embedding(
        pixels, targets, val_pixels, val_targets, spec, PLAIN, progress=lambda *at: seen.append(at), folder=tmp_path
    )
    vectors = embed(fit.network, val_pixels)
    readout = nearest_centroid(embed(fit.network, pixels), targets, 3)
    assert (readout(vectors).argmax(axis=1) == val_targets).mean() > 0.95
    assert seen[-1] == (14, 14)
    assert list(fit.history["iteration"]) == [5, 10, 14]
    assert pd.read_csv(tmp_path / "history.csv").columns.tolist() == fit.history.columns.tolist()


@pytest.mark.parametrize("mining", ["semi-hard", "batch-hard"])
@pytest.mark.parametrize(("batch", "said"), [(12, "in iteration 2: its loss"), (84, "in iteration 1: its vectors")])
def test_a_fit_that_diverges_ends_at_once_and_says_so(mining: str, batch: int, said: str) -> None:
    pixels, targets = blobs(84)
    wild = {"optimiser": "sgd", "learning_rate": 1e30, "mining": mining, "batch": batch, "epochs": 1}
    with pytest.raises(RunError, match=rf"diverged {said}[\s\S]*lower triplet\.learning_rate"):
        fit_embedding(pixels, targets, pixels, targets, SMALL.model_copy(update=wild), PLAIN)


def test_a_fit_killed_and_resumed_is_the_uninterrupted_fit(tmp_path: Path) -> None:
    pixels, targets = blobs(84)
    spec = SMALL.model_copy(update={"epochs": 3})

    def kill(done: int, total: int) -> None:
        if done == 17:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_embedding(pixels, targets, pixels, targets, spec, PLAIN, folder=tmp_path, progress=kill)
    seen: list[int] = []
    resumed = fit_embedding(
        pixels, targets, pixels, targets, spec, PLAIN, folder=tmp_path, progress=lambda done, _: seen.append(done)
    )
    whole = fit_embedding(pixels, targets, pixels, targets, spec, PLAIN)
    assert seen[0] == 15, "two epochs of seven batches were whole"
    columns = ["iteration", "epoch", "train_loss", "mined", "val_accuracy"]
    pd.testing.assert_frame_equal(resumed.history[columns], whole.history[columns])
    assert all(
        torch.equal(value, whole.network.state_dict()[name]) for name, value in resumed.network.state_dict().items()
    )
    again = fit_embedding(pixels, targets, pixels, targets, spec, PLAIN, folder=tmp_path)
    assert len(again.history) == len(whole.history), "a finished fit is not fitted again"


@pytest.mark.parametrize("wrong", [{"margin": 0}, {"batch": 3}, {"epoch": 3}, {"validate_every": 0}])
def test_settings_without_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TripletSpec(**wrong)


def test_one_seed_gives_one_fit_and_leaves_the_global_randomness_alone() -> None:
    pixels, targets = blobs(24)
    spec = TripletSpec(dimensions=8, epochs=1, batch=12, doubling=True)
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first, second = (fit_embedding(pixels, targets, pixels, targets, spec, PLAIN, seed=3) for _ in range(2))
    assert torch.rand(1) == expected
    np.testing.assert_array_equal(embed(first.network, pixels), embed(second.network, pixels))
    assert first.history["iteration"].max() == 4, "24 pictures, doubled, in batches of 12"


@pytest.mark.parametrize("optimiser", ["sgd", "rmsprop"])
def test_the_other_optimisers_of_the_paper_train(optimiser) -> None:
    pixels, targets = blobs(24)
    spec = TripletSpec(dimensions=8, epochs=1, batch=12, optimiser=optimiser)
    history = fit_embedding(pixels, targets, pixels, targets, spec, PLAIN).history
    assert np.isfinite(history["train_loss"]).all()


def test_a_classifier_answers_as_the_readout_does() -> None:
    pixels, targets = blobs(30)
    network = FaceNet(dimensions=8).eval()
    vectors = embed(network, pixels)
    readout = nearest_centroid(vectors, targets, 3)
    with torch.no_grad():
        logits = classifier(network, readout.weight, readout.bias)(torch.as_tensor(pixels).unsqueeze(1) / 255)
    np.testing.assert_allclose(logits.softmax(dim=1).numpy(), readout(vectors), atol=1e-3)
