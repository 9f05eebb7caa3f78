"""mien-large, -base, -small, -tiny: residual networks for faces of 48x48 pixels; all but the first train on a CPU."""

from torch import Tensor, nn


class Residual(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al. 2016); the second one's scale starts at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_convolution(width, width), nn.Conv2d(width, width, 3, padding=1, bias=False))
        self.scale = nn.BatchNorm2d(width)
        nn.init.zeros_(self.scale.weight)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x + self.scale(self.body(x)))


class MienSmall(nn.Module):
    """Stages of residual blocks, each at half the resolution of the one before; global average pooling at the end.

    `widths[i]` channels and `depths[i]` residual blocks at 1/2, 1/4, 1/8, ... of the input's side; before them one
    convolution of `stem` channels and `blocks` residual blocks at the full side. Takes (N, channels, H, W), gives
    features (N, widths[-1]).
    """

    def __init__(
        self, channels: int, widths: tuple[int, ...], depths: tuple[int, ...], stem: int, blocks: int = 0
    ) -> None:
        super().__init__()
        # Halving the picture before anything looked at it costs more than a point of accuracy at 48x48 pixels.
        stages: list[nn.Module] = [
            nn.Sequential(*_convolution(channels, stem)),
            *(Residual(stem) for _ in range(blocks)),
        ]
        for into, width, depth in zip((stem, *widths), widths, depths, strict=False):
            stages += [nn.Sequential(*_convolution(into, width, stride=2)), *(Residual(width) for _ in range(depth))]
        self.stages = nn.Sequential(*stages)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.stages(x))


def _convolution(into: int, out: int, stride: int = 1) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(into, out, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(inplace=True),
    )
