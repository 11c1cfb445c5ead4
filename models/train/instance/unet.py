"""The instance net: a 2-D U-Net over a whole cutout, with the slices of every group as input channels.

One pass labels all slices at once: other, vertebra above, vertebra in the centre, vertebra below. Further channels say
which level the vertebra in the centre could be: their mean over the centre of the cutout. A 1x1 convolution first brings groups and slices down to a few channels, so that the full-size 3x3 convolutions stay cheap. Only
operators that models/train/README.md allows; BatchNorm is folded away at export.
"""

import torch
from torch import Tensor, nn

SLICES = 20
GROUPS = 9
CLASSES = 4
LEVELS = (*range(2, 26), 28, 26)
"""SPINEPS ids of the levels: C2 to L6, T13, sacrum."""
CENTRE = (slice(44, 52), slice(20, 28))
"""Rows and columns over which level channels are averaged: the middle of the body."""
STEM = 48
WIDTHS = (32, 48, 64, 96, 128)


class Layer(nn.Module):
    """Convolution, BatchNorm, ReLU."""

    def __init__(self, inputs: int, outputs: int, size: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x)))


class InstanceNet(nn.Module):
    """`[n, GROUPS * SLICES, rows, columns]` to logits `[n, CLASSES * SLICES + len(LEVELS), rows, columns]`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Layer(GROUPS * SLICES, STEM, size=1)
        before = (STEM, *WIDTHS[:-1])
        self.down = nn.ModuleList(
            nn.Sequential(Layer(i, o), Layer(o, o)) for i, o in zip(before, WIDTHS, strict=True)
        )
        self.up = nn.ModuleList(
            nn.Sequential(Layer(WIDTHS[n] + WIDTHS[n + 1], WIDTHS[n]), Layer(WIDTHS[n], WIDTHS[n]))
            for n in range(len(WIDTHS) - 1)
        )
        self.head = nn.Conv2d(WIDTHS[0], CLASSES * SLICES + len(LEVELS), 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        skips = []
        for n, stage in enumerate(self.down):
            x = stage(x if n == 0 else nn.functional.max_pool2d(x, 2))
            skips.append(x)
        for n in reversed(range(len(self.up))):
            larger = nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = self.up[n](torch.cat([larger, skips[n]], dim=1))
        return self.head(x)

    def units(self) -> list[Layer]:
        """All layers before the head in the order in which they run: how `weights` writes and reads them."""
        blocks = [*self.down, *reversed(self.up)]
        return [self.stem, *(layer for block in blocks for layer in block)]


def by_class(logits: Tensor) -> Tensor:
    """The net's logits as `[n, CLASSES, slices, rows, columns]`."""
    return logits[:, : CLASSES * SLICES].unflatten(1, (CLASSES, SLICES))


def level_logits(logits: Tensor) -> Tensor:
    """The net's logits as evidence for each of LEVELS, `[n, len(LEVELS)]`."""
    return logits[:, CLASSES * SLICES :, CENTRE[0], CENTRE[1]].mean((2, 3))


def encode(groups: Tensor) -> Tensor:
    """Group numbers `[n, slices, rows, columns]`, 0 none, to the net's input: channel `group * SLICES + slice`."""
    wanted = torch.arange(1, GROUPS + 1, device=groups.device).view(1, GROUPS, 1, 1, 1)
    ones = groups.unsqueeze(1) == wanted
    return ones.flatten(1, 2).float()
