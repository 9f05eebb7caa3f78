"""One contract for the networks of this package; timm's are tried by name in test_training.py."""

from pathlib import Path

import pytest
import torch
from torch import nn

from mien.training.backbones import OWN, build
from mien.training.spec import FAMILIAR, SHORTCUTS, Model

# The most parameters that a backbone may have on grey pictures; a new one adds its line here.
LARGEST = {
    "mien-large": 9_500_000,
    "mien-base": 3_900_000,
    "mien-small": 2_400_000,
    "mien-tiny": 1_700_000,
}


def network(name: str, channels: int = 1, side: int = 48, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return build(Model(backbone=name, **options), channels, (side, side), 7)  # type: ignore[arg-type]


def test_every_backbone_of_the_catalogue_is_under_the_contract() -> None:
    assert set(LARGEST) == set(OWN)


def test_every_name_that_a_recipe_takes_without_a_look_is_a_backbone() -> None:
    assert {*OWN, *SHORTCUTS} >= FAMILIAR


@pytest.mark.parametrize("name", OWN)
class TestContract:
    @pytest.mark.parametrize(("channels", "height", "width"), [(1, 48, 48), (3, 64, 40), (1, 33, 47)])
    def test_it_takes_grey_and_colour_faces_of_several_sizes(
        self, name: str, channels: int, height: int, width: int
    ) -> None:
        features = OWN[name](channels).eval()(torch.rand(2, channels, height, width))
        assert features.ndim == 2 and len(features) == 2 and features.isfinite().all()

    def test_an_answer_does_not_depend_on_the_rest_of_the_batch(self, name: str) -> None:
        faces = torch.rand(4, 1, 48, 48)
        before = faces.clone()
        answering = network(name).eval()
        with torch.no_grad():
            together, alone = answering(faces), answering(faces[2:3])
        torch.testing.assert_close(together[2:3], alone, rtol=1e-4, atol=1e-5)
        assert torch.equal(faces, before)

    def test_a_gradient_reaches_every_parameter(self, name: str) -> None:
        learning = network(name).train()
        learning(torch.rand(4, 1, 48, 48)).square().sum().backward()
        assert [key for key, value in learning.named_parameters() if value.grad is None] == []

    def test_it_can_be_frozen(self, name: str, tmp_path) -> None:
        earlier = tmp_path / "earlier.pt"
        torch.save(network(name).state_dict(), earlier)
        frozen = network(name, transfer="frozen", weights=str(earlier)).train()
        start = {key: value.clone() for key, value in frozen.backbone.state_dict().items()}
        frozen(torch.rand(4, 1, 48, 48))
        assert all(torch.equal(value, start[key]) for key, value in frozen.backbone.state_dict().items())
        trained = {key for key, value in frozen.named_parameters() if value.requires_grad}
        assert trained == {"head.1.weight", "head.1.bias"}

    def test_it_stays_within_its_number_of_parameters(self, name: str) -> None:
        assert sum(value.numel() for value in OWN[name](1).parameters()) <= LARGEST[name]


def test_frozen_layers_stay_so_where_smaller_pictures_are_tried_first(tmp_path: Path) -> None:
    weights = tmp_path / "it.pt"
    torch.save(build(Model(backbone="mien-tiny"), 1, (48, 48), 3).state_dict(), weights)
    network = build(Model(backbone="mien-tiny", transfer="frozen", weights=str(weights)), 1, (48, 48), 3, side=32)
    assert network.frozen and not any(module.training for module in network.frozen)
