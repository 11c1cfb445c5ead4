"""Scores of one method on held-out exams: the six metrics, and what a reader asks: which lesions are found, what is invented."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from penn.gd import Exam
from penn.metrics import NAMES, Confusion, intervals, macro, micro
from penn.patches import TUMOUR
from penn.regions import components

# Borders of the classes of size: diameter of the disc of a lesion's largest section, mm. 19 mm is where 60 % of a patch end.
SIZES_MM = (0.0, 10.0, 19.0, 28.0, float("inf"))
# A lesion is found where so much of it is called tumour.
FOUND_SHARE = 0.1


@dataclass
class Judgement:
    """Of one method; `pixels` and `patches` hold the slices' counts by patient."""

    pixels: list[list[Confusion]] = field(default_factory=list)
    patches: list[list[Confusion]] = field(default_factory=list)
    found: list[tuple[float, bool]] = field(default_factory=list)
    invented: list[int] = field(default_factory=list)
    invented_in_healthy: list[int] = field(default_factory=list)

    def take(self, exam: Exam, said: np.ndarray, patches: list[Confusion]) -> None:
        """One exam's answer (slices, rows, columns)."""
        truth = exam.classes == TUMOUR
        self.pixels.append([Confusion.of(a, b) for a, b in zip(said, truth, strict=True)])
        self.patches.append(patches)
        lesions = components(truth)
        for n in range(1, int(lesions.max()) + 1):
            lesion = lesions == n
            area = float(lesion.sum((1, 2)).max()) * exam.pixel_mm**2
            self.found.append((2 * float(np.sqrt(area / np.pi)), bool(said[lesion].mean() >= FOUND_SHARE)))
        spots = components(said)
        count = int(spots.max()) - len(np.setdiff1d(np.unique(spots[truth]), [0]))
        self.invented.append(count)
        if not truth.any():
            self.invented_in_healthy.append(count)

    def table(self) -> dict[str, object]:
        """All figures, with 95 % intervals over patients."""
        told: dict[str, object] = {}
        for unit, groups in (("pixel", self.pixels), ("patch", self.patches)):
            images = [image for group in groups for image in group]
            if not images:
                continue
            for way, score in (("micro", micro), ("macro", macro)):
                values, limits = score(images), intervals(groups, score is micro)
                told[f"{unit} {way}"] = {name: (values[name], *limits[name]) for name in NAMES}
        told["lesions found"] = {
            f"{low:g} to {high:g} mm": share([hit for mm, hit in self.found if low <= mm < high])
            for low, high in zip(SIZES_MM[:-1], SIZES_MM[1:], strict=True)
        }
        told["invented per exam"] = (float(np.mean(self.invented)), *spread(self.invented))
        told["invented per exam without a tumour"] = (
            float(np.mean(self.invented_in_healthy)), *spread(self.invented_in_healthy), len(self.invented_in_healthy)
        )  # fmt: skip
        return told


def share(hits: list[bool]) -> tuple[int, int, float, float]:
    """Hits, all, and Wilson's 95 % interval of the share."""
    n, k, z = len(hits), sum(hits), 1.96
    if n == 0:
        return 0, 0, 0.0, 1.0
    middle, half = (k + z * z / 2) / (n + z * z), z * np.sqrt(k * (n - k) / n + z * z / 4) / (n + z * z)
    return k, n, max(0.0, float(middle - half)), min(1.0, float(middle + half))


def spread(counts: list[int], times: int = 1000) -> tuple[float, float]:
    """95 % interval of a mean over patients, by drawing them with replacement."""
    rng = np.random.default_rng(0)
    drawn = rng.choice(counts, (times, len(counts))).mean(1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)
