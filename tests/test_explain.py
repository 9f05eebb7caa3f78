"""Grad-CAM: where a network looks is where the difference is."""

import cv2
import numpy as np
import pytest
import torch
from blobs import blobs
from torch import nn

from mien.errors import DataError, UsageError
from mien.evaluation.explain import deepest_map, explain, grad_cam, overlay

LABELS = ("anger", "fear", "sadness")


class Bands(nn.Module):
    """Three maps (N, 3, 32, 32), each the brightness of one band of rows."""

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        band = torch.arange(32)[:, None].expand(32, 32) // 10
        return torch.relu(faces - 0.4) * torch.stack([(band == code).float() for code in range(3)])


def looker() -> nn.Module:
    """Answers by the brightness of three bands, by construction: the right heat is known."""
    head = nn.Linear(3, 3, bias=False)
    nn.init.eye_(head.weight)
    return nn.Sequential(Bands(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


def tensor(pixels: np.ndarray) -> np.ndarray:
    return (pixels / np.float32(255)).astype(np.float32)[:, None]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d((4, 1)), nn.Flatten(), nn.Linear(32, 3),
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    """A small network that tells the blobs apart."""
    net = network()
    pixels, targets = blobs(90)
    faces, codes = torch.as_tensor(tensor(pixels)), torch.as_tensor(targets)
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(60):
        loss = nn.functional.cross_entropy(net(faces), codes)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net.eval()


def test_the_heat_lies_on_the_band_that_makes_the_class() -> None:
    pixels, targets = blobs(12, seed=2)
    network = looker()
    heat = grad_cam(network, network[0], tensor(pixels), targets)
    assert heat.shape == (12, 32, 32)
    assert heat.min() >= 0
    assert heat.max() <= 1
    for each, code in zip(heat, targets, strict=True):
        bands = [each[10 * band : 10 * band + 10].mean() for band in range(3)]
        assert int(np.argmax(bands)) == code


def test_a_frozen_network_in_training_mode_is_explained_and_left_as_it_was(trained: nn.Module) -> None:
    net = network()
    net.load_state_dict(trained.state_dict())
    net.train().requires_grad_(False)
    pixels, targets = blobs(3, seed=2)
    heat = grad_cam(net, net[3], tensor(pixels), targets)
    np.testing.assert_allclose(heat, grad_cam(trained, trained[3], tensor(pixels), targets), atol=1e-5)
    assert net.training
    assert all(each.grad is None and not each.requires_grad for each in net.parameters())


def test_the_deepest_readable_map_is_found(trained: nn.Module) -> None:
    face = tensor(blobs(1)[0])
    assert deepest_map(trained, face) is trained[4]
    assert deepest_map(trained, face, side=20) is trained[1]
    with pytest.raises(UsageError, match="64 x 64"):
        deepest_map(trained, face, side=64)


@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
def test_cold_leaves_the_picture_and_hot_changes_it(colour: bool) -> None:
    image = np.full((8, 8, 3) if colour else (8, 8), 90, np.uint8)
    heat = np.zeros((8, 8), np.float32)
    heat[4:] = 1
    shown = overlay(image, heat)
    assert (shown[:4] == 90).all()
    assert (shown[4:] != 90).any(axis=2).all()


def test_both_figures_are_drawn(trained: nn.Module, tmp_path) -> None:
    pixels, targets = blobs(30, seed=3)
    targets[:4] = 2 - targets[:4]

    def answers(shown: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return trained(torch.from_numpy(tensor(shown))).softmax(1).numpy()

    paths = explain(trained, trained[3], pixels, tensor, answers, targets, LABELS, tmp_path / "figures", per_class=8)
    assert [path.name for path in paths] == ["explain-samples.png", "explain-classes.png"]
    for path in paths:
        drawn = cv2.imread(str(path))
        assert drawn.std() > 10, "not blank"
    assert cv2.imread(str(paths[0])).shape[0] == pytest.approx(3 * cv2.imread(str(paths[1])).shape[0], rel=0.1), (
        "a line for each of three classes, beside one line of averages"
    )


def test_nothing_to_explain_is_an_error(trained: nn.Module, tmp_path) -> None:
    with pytest.raises(DataError, match="no pictures"):
        explain(
            trained,
            trained[3],
            np.zeros((0, 32, 32), np.uint8),
            tensor,
            tensor,
            np.zeros(0, np.int64),
            LABELS,
            tmp_path,
        )
