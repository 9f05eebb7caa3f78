"""FaceNet for expressions: a GoogLeNet trunk that ends in an embedding on the unit sphere."""

from typing import NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional


class Widths(NamedTuple):
    """Channels inside one inception module; each `narrow` is the 1x1 convolution before a branch."""

    one: int
    narrow_three: int
    three: int
    narrow_five: int
    five: int
    pooled: int

    @property
    def out(self) -> int:
        """Channels of the concatenated branches."""
        return self.one + self.three + self.five + self.pooled


# Szegedy et al. 2015, Table 1: modules 3a-3b, 4a-4e, 5a-5b; a max-pool parts the groups.
GOOGLENET = (
    (Widths(64, 96, 128, 16, 32, 32), Widths(128, 128, 192, 32, 96, 64)),
    (
        Widths(192, 96, 208, 16, 48, 64),
        Widths(160, 112, 224, 24, 64, 64),
        Widths(128, 128, 256, 24, 64, 64),
        Widths(112, 144, 288, 32, 64, 64),
        Widths(256, 160, 320, 32, 128, 128),
    ),
    (Widths(256, 160, 320, 32, 128, 128), Widths(384, 192, 384, 48, 128, 128)),
)


class Inception(nn.Module):
    """One inception module: 1x1, 3x3, 5x5 and max-pool branches side by side."""

    def __init__(self, channels: int, widths: Widths) -> None:
        super().__init__()
        self.one = convolution(channels, widths.one, 1)
        self.three = nn.Sequential(
            convolution(channels, widths.narrow_three, 1), convolution(widths.narrow_three, widths.three, 3)
        )
        self.five = nn.Sequential(
            convolution(channels, widths.narrow_five, 1), convolution(widths.narrow_five, widths.five, 5)
        )
        self.pooled = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), convolution(channels, widths.pooled, 1))

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (N, channels, H, W) to (N, widths.out, H, W)."""
        return torch.cat([self.one(maps), self.three(maps), self.five(maps), self.pooled(maps)], dim=1)


class FaceNet(nn.Module):
    """Faces float32 (N, channels, H, W), 32 pixels a side or more, to unit vectors float32 (N, dimensions).

    The network of Al-Ghiffary et al. 2024, Tables 3 and 5: convolution 7x7 with 64 filters, stride 2, padding 3;
    batch normalisation; ReLU; max-pool 3x3, stride 2; inception modules; pooling; a dense layer; L2 normalisation.
    The paper leaves the number and widths of its modules open: they are GoogLeNet's. The last pooling is an average,
    as there and in Schroff et al. 2015, Table 2.

    >>> FaceNet(dimensions=128).eval()(torch.zeros(2, 1, 48, 48)).shape
    torch.Size([2, 128])
    """

    def __init__(self, channels: int = 1, dimensions: int = 128) -> None:
        super().__init__()
        stages: list[nn.Module] = [convolution(channels, 64, 7, stride=2), nn.MaxPool2d(3, stride=2, padding=1)]
        stages += [convolution(64, 64, 1), convolution(64, 192, 3)]
        width = 192
        for group in GOOGLENET:
            for widths in group:
                stages.append(Inception(width, widths))
                width = widths.out
            stages.append(nn.MaxPool2d(3, stride=2, padding=1))
        self.trunk = nn.Sequential(*stages[:-1])
        self.embedding = nn.Linear(width, dimensions)

    def forward(self, faces: Tensor) -> Tensor:
        """Embed a batch of normalised faces."""
        return functional.normalize(self.embedding(self.trunk(faces).mean(dim=(2, 3))), dim=1)


def convolution(channels: int, filters: int, size: int, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU; the padding keeps the side at stride 1."""
    return nn.Sequential(
        nn.Conv2d(channels, filters, size, stride=stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(filters),
        nn.ReLU(inplace=True),
    )


def classifier(network: FaceNet, weight: NDArray, bias: NDArray) -> nn.Sequential:
    """The network with a linear readout behind it: faces (N, C, H, W) to logits (N, classes), for export.

    `weight` (classes, dimensions) and `bias` (classes,) are those of `mien.evaluation.embeddings.LinearReadout`.
    """
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": torch.as_tensor(weight), "bias": torch.as_tensor(bias)})
    device = next(network.parameters()).device
    return nn.Sequential(network, layer.to(device)).train(network.training)
