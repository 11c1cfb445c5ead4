"""Paints anatomies as MR slices on the fly: a slab of neighbouring slices with its truth.

Everything is a tensor operation on `device`. Millimetres are the generator's pixels (1 mm in plane). A slab of `count`
labelled slices carries CONTEXT more on each side, as the net wants to see them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from anatomy import Anatomy
from contrast import PARTS, Contrast
from torch import Tensor

# Neighbouring slices on each side of a labelled one.
CONTEXT = 2

# Output channel by SPINEPS structure value, as in models/weights/semantic.toml; left and right are one class.
CLASSES: dict[int, int] = {
    41: 1, 42: 2, 43: 3, 44: 3, 45: 4, 46: 4, 47: 5, 48: 5, 49: 6, 62: 7, 100: 8, 60: 9, 61: 10, 26: 11,
}  # fmt: skip
CLASS_COUNT = 12
# What weights trained on this paint say of themselves, in the words of the service (models/src/weights.rs, `Shape`).
SAID = {
    "classes": ";".join(",".join(str(v) for v, c in CLASSES.items() if c == index) for index in range(CLASS_COUNT)),
    "grid": "1 mm",
}
SACRUM = CLASSES[26]


class Canvas:
    """An anatomy as tensors: what a slab is cut from."""

    def __init__(self, anatomy: Anatomy, device: torch.device) -> None:
        table = np.zeros(256, np.uint8)
        for value, index in CLASSES.items():
            table[value] = index
        code = anatomy.tissue.astype(np.int16) * PARTS + anatomy.part % PARTS
        self.code = torch.from_numpy(code).to(device)
        self.classes = torch.from_numpy(table[anatomy.truth(anatomy.structure)]).to(device)
        self.tissues = anatomy.tissues
        self.thin = anatomy.thin_slices
        self.thin_weights = torch.tensor(anatomy.thin_weights, device=device)[:, None, None]
        self.slices, self.rows, self.columns = self.classes.shape
        self.spine = (self.classes > 0).any(0).nonzero().cpu().numpy()
        self.sacrum_rows = (self.classes == SACRUM).any(2).any(0).nonzero().cpu().numpy()[:, 0]


@dataclass(frozen=True)
class View:
    """Where the slab lies: first slice (context included), and the centre and sampling of the crop."""

    first: int
    centre: tuple[float, float]
    degrees: float
    scale: float
    aspect: float
    elastic_mm: float

    @staticmethod
    def draw(rng: np.random.Generator, canvas: Canvas, count: int, size: tuple[int, int]) -> View:
        total = count + 2 * CONTEXT
        low, high = -CONTEXT, max(canvas.slices - count - CONTEXT, -CONTEXT)
        middle = canvas.slices / 2 + rng.normal() * canvas.slices * 0.22 - total / 2
        first = rng.integers(low, high + 1) if rng.random() < 0.5 else int(np.clip(middle, low, high))
        scale = float(np.exp(rng.uniform(-0.24, 0.24)))
        degrees = rng.normal() * 7 if rng.random() < 0.9 else rng.uniform(-25, 25)
        centre = View._centre(rng, canvas, [n * scale for n in size])
        return View(int(first), centre, degrees, scale, float(np.exp(rng.normal() * 0.05)), rng.uniform(0, 3.5))

    @staticmethod
    def _centre(rng: np.random.Generator, canvas: Canvas, extent_mm: list[float]) -> tuple[float, float]:
        """Mostly on the spine; often at its lower end, where nets fail; sometimes anywhere (negatives)."""
        margin = min(extent_mm[0] * 0.35, canvas.rows / 2)
        row = rng.uniform(margin, canvas.rows - margin)
        if rng.random() < 0.22 and len(canvas.sacrum_rows):
            row = rng.choice(canvas.sacrum_rows) + rng.normal() * 20
        if rng.random() < 0.12:
            row = rng.uniform(margin / 2, canvas.rows - margin / 2)
        if rng.random() < 0.16 or not len(canvas.spine):
            return row, rng.uniform(0, canvas.columns)
        near = canvas.spine[np.abs(canvas.spine[:, 0] - row) < 12, 1]
        return row, (near.mean() if len(near) else canvas.columns / 2) + rng.normal() * extent_mm[1] * 0.22


class Painter:
    """Paints slabs with random contrast, geometry and artefacts from one seed."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.rng = np.random.default_rng(seed)
        self.torch = torch.Generator(device).manual_seed(seed)
        self.device = device

    def slab(self, canvas: Canvas, count: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Normalised images (count, 2 * CONTEXT + 1, H, W) and their classes (count, H, W)."""
        view = View.draw(self.rng, canvas, count, size)
        grid = self._grid(view, size)
        contrast = Contrast.draw(self.rng, canvas.tissues)
        image = self._sample(self._signal(canvas, view, contrast, count + 2 * CONTEXT), grid, canvas, "bilinear")
        inner = slice(view.first + CONTEXT, view.first + CONTEXT + count)
        truth = self._sample(canvas.classes[inner].float(), grid, canvas, "nearest").long()
        image = normalise_slab(self._acquire(image.clamp_min(0)))
        image = image * float(np.exp(self.rng.normal() * 0.15)) + self.rng.normal() * 0.2
        if self.rng.random() < 0.5:
            image, truth = image.flip(0), truth.flip(0)
        windows = torch.stack([image[n : n + 2 * CONTEXT + 1] for n in range(count)])
        return windows, truth

    def _uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def _noise(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.torch, device=self.device)

    def _field(self, shape: tuple[int, int, int], cell: tuple[float, float, float]) -> Tensor:
        """Smooth noise of unit deviation at its knots, `cell` pixels apart."""
        knots = [max(2, int(np.ceil(n / c)) + 1) for n, c in zip(shape, cell, strict=True)]
        coarse = self._noise(1, 1, *knots)
        return F.interpolate(coarse, size=shape, mode="trilinear", align_corners=True)[0, 0]

    def _grid(self, view: View, size: tuple[int, int]) -> Tensor:
        """Row and column of the anatomy under every pixel of the crop: (H, W, 2)."""
        height, width = size
        angle = np.radians(view.degrees)
        y = torch.arange(height, device=self.device)[:, None] - height / 2
        x = torch.arange(width, device=self.device)[None] - width / 2
        rows = (np.cos(angle) * y - np.sin(angle) * x) * view.scale * view.aspect + view.centre[0]
        columns = (np.sin(angle) * y + np.cos(angle) * x) * view.scale / view.aspect + view.centre[1]
        bend = self._field((2, height, width), (1, 45, 45)) * view.elastic_mm / 2
        return torch.stack([rows + bend[0], columns + bend[1]], -1)

    def _signal(self, canvas: Canvas, view: View, contrast: Contrast, total: int) -> Tensor:
        """Slices at the anatomy's own resolution, each the weighted sum of its thin ones; empty beyond the exam."""
        signal = torch.from_numpy(contrast.signal).to(self.device)
        amplitude = torch.from_numpy(contrast.texture).to(self.device)
        first, last = max(view.first, 0), min(view.first + total, canvas.slices)
        code = canvas.code[first * canvas.thin : last * canvas.thin].long()
        cell = self._uniform(3, 9)
        shape = (last - first, canvas.rows, canvas.columns)
        texture = self._field(shape, (2, cell, cell)) + 0.7 * self._field(shape, (1, 2.2, 2.2))
        painted = signal[code] + amplitude[code] * texture.repeat_interleave(canvas.thin, 0)
        painted = (painted.view(last - first, canvas.thin, *shape[1:]) * canvas.thin_weights).sum(1)
        return F.pad(painted, (0, 0, 0, 0, first - view.first, view.first + total - last))

    def _sample(self, slices: Tensor, grid: Tensor, canvas: Canvas, mode: str) -> Tensor:
        """`slices` (n, rows, columns) at the places of `grid`: (n, H, W); zero outside."""
        extent = torch.tensor([canvas.rows, canvas.columns], device=self.device)
        unit = ((grid + 0.5) * 2 / extent - 1).flip(-1)
        return F.grid_sample(slices[None], unit[None], mode=mode, padding_mode="zeros", align_corners=False)[0]

    def _acquire(self, image: Tensor) -> Tensor:
        """What scanner and patient do to the signal, in the order in which they do it."""
        chance = self.rng.random
        image = self._shade(image)
        if chance() < 0.3:
            image = self._ghost(image)
        if chance() < 0.12:
            image = self._wrap(image)
        if chance() < 0.2:
            image = self._move(image)
        image = self._resolve(image)
        image = self._rician(image)
        peak = image.amax().clamp_min(1e-6)
        return (image / peak) ** float(np.exp(self.rng.normal() * 0.18)) * peak

    def _shade(self, image: Tensor) -> Tensor:
        """Coil sensitivity, receiver bias, anterior saturation band, differences between interleaved slices."""
        total, height, width = image.shape
        cell = self._uniform(50, 130)
        gain = self._field((total, height, width), (total, cell, cell)) * self._uniform(0, 0.35)
        ahead = torch.arange(width, device=self.device) - self._uniform(0.3, 0.7) * width
        if self.rng.random() < 0.75:  # the spine coil lies behind the back
            gain = gain + (ahead * self._uniform(0, 0.018)).clamp(-1.3, 1.5)
        if self.rng.random() < 0.3:
            edge = (ahead + self._uniform(18, 55)) / self._uniform(2, 8)
            gain = gain + torch.log(torch.sigmoid(edge) * self._uniform(0.5, 0.95) + 0.05)
        slices = 1 + 0.05 * self.rng.random() * self._noise(total, 1, 1)
        return image * torch.exp(gain) * slices.clamp_min(0.5)

    def _ghost(self, image: Tensor) -> Tensor:
        """A weak copy along the phase-encoding direction: breathing, pulsation."""
        shift, axis = int(self.rng.integers(4, 30)), int(self.rng.integers(1, 3))
        strength = self._uniform(0.02, 0.12)
        return image + strength * (image.roll(shift, axis) + image.roll(-shift, axis))

    def _wrap(self, image: Tensor) -> Tensor:
        """Anatomy outside of the field of view folded in from the other side."""
        axis = int(self.rng.integers(1, 3))
        extent = image.shape[axis]
        depth = int(self.rng.integers(extent // 16, extent // 5))
        ramp = torch.linspace(1, 0, depth, device=self.device) * self._uniform(0.2, 0.7)
        folded = torch.zeros_like(image)
        near, far = image.narrow(axis, 0, depth), image.narrow(axis, extent - depth, depth)
        shape = [1, depth, 1] if axis == 1 else [1, 1, depth]
        folded.narrow(axis, 0, depth).add_(far * ramp.view(shape))
        folded.narrow(axis, extent - depth, depth).add_(near * ramp.flip(0).view(shape))
        return image + folded

    def _move(self, image: Tensor) -> Tensor:
        """Patient motion: blur along one in-plane axis, another one in every slice."""
        axis = int(self.rng.integers(1, 3))
        weight = self._uniform(0.05, 0.3) * torch.rand((len(image), 1, 1), generator=self.torch, device=self.device)
        step = int(self.rng.integers(1, 4))
        return image * (1 - weight) + weight * (image.roll(step, axis) + image.roll(-step, axis)) / 2

    def _resolve(self, image: Tensor) -> Tensor:
        """The acquired resolution: a low-pass in k-space (sharp-edged: Gibbs ringing; rounded: none)."""
        height, width = image.shape[1:]
        y = torch.fft.fftfreq(height, device=self.device)[:, None].abs() * 2
        x = torch.fft.rfftfreq(width, device=self.device)[None].abs() * 2
        # Acquired pixels of 0.6 to 1.6 mm on the 1 mm grid.
        cut_y, cut_x = self._uniform(0.6, 1.6), self._uniform(0.6, 1.6)
        softness = self._uniform(0.03, 0.1) if self.rng.random() < 0.3 else self._uniform(0.1, 0.35)
        keep = torch.sigmoid((cut_y - y) / softness) * torch.sigmoid((cut_x - x) / softness)
        return torch.fft.irfft2(torch.fft.rfft2(image) * keep, s=(height, width)).abs()

    def _rician(self, image: Tensor) -> Tensor:
        """Magnitude of a complex signal with equal noise in both parts; sometimes smoothed by the reconstruction."""
        strength = self._uniform(0.005, 0.09) * max(0.2, float(torch.quantile(image[:, ::4, ::4], 0.9)))
        noise = self._noise(2, *image.shape) * strength
        if self.rng.random() < 0.4:
            noise = F.avg_pool2d(noise, 3, stride=1, padding=1) * 2.2
        return torch.sqrt((image + noise[0]) ** 2 + noise[1] ** 2)


def normalise_slab(image: Tensor) -> Tensor:
    """The rule of the card: clip to percentiles 0.5 and 99.5, then mean 0 and deviation 1 over the foreground."""
    low, high = torch.quantile(image[:, ::2, ::2].flatten(), torch.tensor([0.005, 0.995], device=image.device))
    image = image.clamp(float(low), float(high))
    bright = image[image > low + 0.05 * (high - low)]
    if bright.numel() < 2:
        return image - image.mean()
    return (image - bright.mean()) / bright.std().clamp_min(1e-6)
