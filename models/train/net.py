"""The 2.5-D U-Net of Sagitta: neighbouring slices as input channels, classes of the centre slice as output.

Only 3x3 convolution, batch normalisation (folded at export), ReLU, 2x2 max-pooling, nearest upsampling and
concatenation: what our engines and TensorRT INT8 run fast. Input (N, slices, H, W), H and W multiples of 32; output
logits (N, classes, H, W).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Channels by depth: the tier for the CPU and the wider one it is distilled from.
TIERS = {"cpu": (16, 32, 64, 96, 128, 160), "wide": (24, 48, 96, 160, 224, 256)}


class ConvUnit(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)), inplace=True)


class UNet(nn.Module):
    def __init__(self, inputs: int, widths: tuple[int, ...], classes: int) -> None:
        super().__init__()
        before = (inputs, *widths)
        self.down = nn.ModuleList(
            nn.Sequential(ConvUnit(before[n], width), ConvUnit(width, width)) for n, width in enumerate(widths)
        )
        self.up = nn.ModuleList(
            nn.Sequential(ConvUnit(lower + width, width), ConvUnit(width, width))
            for width, lower in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for depth, block in enumerate(self.down):
            x = block(x if depth == 0 else F.max_pool2d(x, 2))
            skips.append(x)
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skip], 1))
        return self.head(x)

    def units(self) -> list[ConvUnit]:
        """All convolution units in the order in which they run."""
        return [unit for block in (*self.down, *self.up) for unit in block]
