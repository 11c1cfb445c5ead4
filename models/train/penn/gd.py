"""Whole exams in Gd-enhanced T1, with and without fat saturation, painted like the semantic net's slabs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from anatomy import Anatomy, stream
from contrast import MARROWS, ORGANS, PARTS, SIGNALS, TEXTURES, USUAL_TEXTURE, Contrast, Range
from paint import Canvas, Painter, View

from penn import lesions
from penn.patches import OTHER, TUMOUR, VERTEBRA
from penn.preprocess import PIXEL_MM

# Signals (plain, fat saturated) that an agent or the saturation changes; all others are those of T1w in contrast.py.
ENHANCED: dict[str, tuple[Range, Range]] = {
    "fat": ((0.7, 1.3), (0.04, 0.25)),
    "visceral fat": ((0.5, 1.2), (0.04, 0.3)),
    "epidural fat": ((0.6, 1.2), (0.05, 0.3)),
    "muscle": ((0.25, 0.48), (0.25, 0.55)),
    "vessel": ((0.0, 1.2), (0.0, 1.2)),
    "body marrow": ((0.3, 0.8), (0.12, 0.4)),
    "arch marrow": ((0.35, 0.85), (0.12, 0.42)),
    "sacral marrow": ((0.3, 0.85), (0.12, 0.42)),
    "other marrow": ((0.3, 0.8), (0.12, 0.4)),
    "basivertebral vein": ((0.5, 1.1), (0.45, 1.2)),
    "annulus": ((0.15, 0.35), (0.15, 0.4)),
    "nucleus": ((0.15, 0.4), (0.15, 0.45)),
    "root": ((0.25, 0.6), (0.25, 0.6)),
    "cartilage": ((0.15, 0.9), (0.15, 1.0)),
    "organ grey": ((0.3, 1.0), (0.3, 1.0)),
}
# As multiples of the marrow around.
MARROW: dict[str, tuple[Range, Range]] = {
    "modic 1": ((0.8, 1.7), (1.2, 2.4)),
    "modic 2": ((1.1, 1.8), (0.5, 1.1)),
    "modic 3": ((0.2, 0.6), (0.3, 0.8)),
    "oedema": ((0.8, 1.6), (1.3, 2.6)),
    "haemangioma": ((1.1, 2.0), (1.0, 2.8)),
    "fatty marrow": ((1.2, 1.8), (0.3, 0.9)),
    "lesion": ((0.4, 0.9), (0.6, 1.2)),
}
# As multiples of muscle, which takes up little of the agent.
MUSCLE: dict[str, Range] = {"tumour": (1.5, 3.2), "tumour core": (0.4, 1.0), "scar": (1.3, 2.2)}

# The paper's protocol: 15 slices of 260 mm by about 170 mm of what is around the spine.
SLICES, ROWS, COLUMNS = 15, 384, 256
BODY = 49


@dataclass(frozen=True)
class Exam:
    """A painted exam of (slices, rows, columns); `classes` are those of penn.patches, `spine` is where masks would be."""

    seed: int
    saturated: bool
    pixel_mm: float
    slice_mm: float
    image: np.ndarray
    classes: np.ndarray
    spine: np.ndarray


def contrast(rng: np.random.Generator, tissues: list[str], saturated: bool) -> Contrast:
    """Signals of one exam."""
    column = int(saturated)
    ranges = {name: ENHANCED[name][column] if name in ENHANCED else SIGNALS[name][1] for name in SIGNALS}
    mean = {name: rng.uniform(*limits) for name, limits in ranges.items()}
    for name in MARROWS:
        mean[name] = mean["body marrow"] * rng.uniform(0.85, 1.2)
    mean |= {name: mean["body marrow"] * rng.uniform(*factors[column]) for name, factors in MARROW.items()}
    mean |= {name: mean["muscle"] * rng.uniform(*factors) for name, factors in MUSCLE.items()}
    signal = np.repeat([mean[name] for name in tissues], PARTS).reshape(len(tissues), PARTS)
    own = 1 + rng.uniform(0.01, 0.12) * rng.standard_normal(PARTS)
    for name in ("body marrow", "arch marrow"):
        signal[tissues.index(name)] *= own
    for name in ORGANS:
        signal[tissues.index(name)] = rng.uniform(*ranges[name], PARTS)
    signal[tissues.index("tumour")] = mean["muscle"] * rng.uniform(*MUSCLE["tumour"], PARTS)
    most = [TEXTURES.get(name, USUAL_TEXTURE) * max(mean[name], 0.1) * (name != "air") for name in tissues]
    texture = np.repeat(rng.uniform(0, np.array(most)), PARTS)
    return Contrast("Gd", signal.astype(np.float32).ravel(), texture.astype(np.float32))


class GdPainter(Painter):
    """Paints whole exams on the patch net's pixels."""

    def exam(self, anatomy: Anatomy, burden: lesions.Burden) -> Exam:
        made = lesions.implant(anatomy, self.rng, burden)
        canvas = Canvas(made, self.device)
        saturated = bool(self.rng.random() < 0.5)
        view = View(0, self._middle(canvas), self.rng.normal() * 4, PIXEL_MM, 1.0, self._uniform(0, 2.5))
        grid = self._grid(view, (ROWS, COLUMNS))
        signal = self._signal(canvas, view, contrast(self.rng, made.tissues, saturated), canvas.slices)
        first = max((canvas.slices - SLICES) // 2, 0)
        kept = slice(first, first + SLICES)
        image = self._acquire(self._sample(signal[kept], grid, canvas, "bilinear").clamp_min(0))

        def sampled(labels: np.ndarray) -> np.ndarray:
            values = torch.from_numpy(labels[kept].astype(np.float32))
            return self._sample(values, grid, canvas, "nearest").numpy()

        structure, tumour = sampled(made.truth(made.structure)), sampled(lesions.truth(made)) > 0
        classes = np.where(tumour, TUMOUR, np.where((structure >= 41) & (structure <= BODY), VERTEBRA, OTHER))
        spine = (structure > 0) | tumour
        return Exam(
            anatomy.seed, saturated, PIXEL_MM, anatomy.slice_mm, image.numpy(), classes.astype(np.uint8), spine
        )

    @staticmethod
    def _middle(canvas: Canvas) -> tuple[float, float]:
        return (float(canvas.spine[:, 0].mean()), float(canvas.spine[:, 1].mean()))


def exams(first_seed: int, count: int, burden: lesions.Burden = lesions.USUAL) -> Iterator[Exam]:
    """Exams of patients `first_seed` and following, one after the other: the same seeds give the same exams."""
    for anatomy in stream(first_seed, count):
        yield GdPainter(anatomy.seed, torch.device("cpu")).exam(anatomy, burden)
