"""The paper's six metrics by their formulas, of patches or pixels, pooled (micro) or as means over images (macro)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NAMES = ("precision", "recall", "accuracy", "F1", "IoU", "Dice")


@dataclass(frozen=True)
class Confusion:
    """Counts of one or several images."""

    tp: int
    fp: int
    tn: int
    fn: int

    @staticmethod
    def of(said: np.ndarray, truth: np.ndarray) -> Confusion:
        said, truth = said.astype(bool), truth.astype(bool)
        both, n, m = int((said & truth).sum()), int(said.sum()), int(truth.sum())
        return Confusion(both, n - both, said.size - n - m + both, m - both)

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(self.tp + other.tp, self.fp + other.fp, self.tn + other.tn, self.fn + other.fn)

    def scores(self) -> dict[str, float]:
        """All six; two empty masks agree perfectly, other divisions of nothing by nothing are worth nothing."""
        empty = self.tp + self.fp + self.fn == 0

        def ratio(part: float, whole: float) -> float:
            return part / whole if whole else float(empty)

        precision, recall = ratio(self.tp, self.tp + self.fp), ratio(self.tp, self.tp + self.fn)
        return {
            "precision": precision,
            "recall": recall,
            "accuracy": ratio(self.tp + self.tn, self.tp + self.fp + self.tn + self.fn),
            "F1": ratio(2 * precision * recall, precision + recall),
            "IoU": ratio(self.tp, self.tp + self.fp + self.fn),
            "Dice": ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn),
        }


def micro(images: list[Confusion]) -> dict[str, float]:
    """Of all images' counts together."""
    return sum(images, start=Confusion(0, 0, 0, 0)).scores()


def macro(images: list[Confusion]) -> dict[str, float]:
    """Means over images."""
    each = [image.scores() for image in images]
    return {name: float(np.mean([scores[name] for scores in each])) for name in NAMES}


def intervals(patients: list[list[Confusion]], pooled: bool, times: int = 300) -> dict[str, tuple[float, float]]:
    """95 % intervals of `micro` or `macro` by drawing patients (lists of images) with replacement."""
    drawn = np.random.default_rng(0).integers(len(patients), size=(times, len(patients)))
    if pooled:
        totals = [sum(images, start=Confusion(0, 0, 0, 0)) for images in patients]
        counts = np.array([(total.tp, total.fp, total.tn, total.fn) for total in totals])[drawn].sum(1)
        values = np.array([list(Confusion(*map(int, row)).scores().values()) for row in counts])
    else:
        sums = np.array([np.sum([list(image.scores().values()) for image in images], axis=0) for images in patients])
        sizes = np.array([len(images) for images in patients])
        values = sums[drawn].sum(1) / sizes[drawn].sum(1)[:, None]
    low, high = np.percentile(values, [2.5, 97.5], axis=0)
    return {name: (float(low[n]), float(high[n])) for n, name in enumerate(NAMES)}
