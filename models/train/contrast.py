"""Signals of tissues: a random contrast for one painted exam.

Signals are relative to cerebrospinal fluid on T2w (about 1). The ranges are wider than those of real scanners on
purpose: a net that has seen every order of tissues does not mind which one it meets (domain randomisation). Part of
the exams have no weighting at all: every tissue draws its own signal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Range = tuple[float, float]

# Parts of one kind (vertebra levels, organs) have their own signals; the generator numbers them below this.
PARTS = 64

# No change of the marrow outshines fluid and fat.
BRIGHTEST = 1.4

# How often each weighting is painted.
WEIGHTINGS = {"T2w": 0.52, "T1w": 0.17, "STIR": 0.11, "random": 0.20}

# The columns of the tables below.
COLUMNS = ("T2w", "T1w", "STIR")

# Signal by tissue of the generator: (T2w, T1w, STIR). Marrow and nucleus are relative: see `Contrast.draw`.
SIGNALS: dict[str, tuple[Range, Range, Range]] = {
    "air": ((0.0, 0.0), (0.0, 0.0), (0.0, 0.0)),
    "fat": ((0.45, 1.15), (0.7, 1.3), (0.02, 0.3)),
    "visceral fat": ((0.35, 1.0), (0.5, 1.2), (0.03, 0.3)),
    "epidural fat": ((0.35, 1.1), (0.6, 1.2), (0.03, 0.3)),
    "muscle": ((0.08, 0.3), (0.2, 0.45), (0.15, 0.45)),
    "ligament": ((0.02, 0.15), (0.03, 0.2), (0.02, 0.15)),
    "vessel": ((0.0, 0.5), (0.0, 0.35), (0.0, 0.6)),
    "cortex": ((0.0, 0.12), (0.0, 0.15), (0.0, 0.1)),
    "body marrow": ((0.18, 0.6), (0.3, 0.8), (0.08, 0.35)),
    "arch marrow": ((0.22, 0.6), (0.35, 0.85), (0.08, 0.32)),
    "sacral marrow": ((0.18, 0.6), (0.3, 0.85), (0.08, 0.35)),
    "other marrow": ((0.15, 0.55), (0.3, 0.8), (0.05, 0.3)),
    "endplate": ((0.02, 0.15), (0.02, 0.2), (0.02, 0.12)),
    "basivertebral vein": ((0.4, 1.1), (0.1, 0.6), (0.3, 1.0)),
    "annulus": ((0.03, 0.2), (0.15, 0.35), (0.03, 0.2)),
    "nucleus": ((0.12, 0.9), (0.15, 0.4), (0.1, 0.9)),
    "csf": ((0.75, 1.3), (0.03, 0.22), (0.8, 1.3)),
    "cord": ((0.25, 0.5), (0.25, 0.5), (0.3, 0.6)),
    "root": ((0.25, 0.6), (0.2, 0.4), (0.3, 0.6)),
    "cartilage": ((0.25, 1.1), (0.12, 0.5), (0.3, 1.3)),
    "bladder": ((0.8, 1.4), (0.05, 0.3), (0.8, 1.4)),
    "gas": ((0.0, 0.04), (0.0, 0.04), (0.0, 0.04)),
    "organ dark": ((0.05, 0.3), (0.1, 0.4), (0.05, 0.4)),
    "organ grey": ((0.15, 0.6), (0.2, 0.6), (0.15, 0.7)),
    "organ bright": ((0.4, 1.2), (0.4, 1.2), (0.4, 1.2)),
    "brain": ((0.3, 0.6), (0.3, 0.6), (0.3, 0.7)),
    "cement": ((0.0, 0.15), (0.0, 0.15), (0.0, 0.1)),
    "metal": ((0.0, 0.08), (0.0, 0.08), (0.0, 0.08)),
}

# Changes of the marrow, as multiples of the marrow around them: (T2w, T1w, STIR).
MARROW_CHANGES: dict[str, tuple[Range, Range, Range]] = {
    "modic 1": ((1.2, 2.2), (0.3, 0.8), (1.5, 4.0)),
    "modic 2": ((1.1, 1.8), (1.1, 1.8), (0.5, 1.1)),
    "modic 3": ((0.2, 0.6), (0.2, 0.6), (0.2, 0.8)),
    "oedema": ((1.2, 2.2), (0.3, 0.8), (1.8, 5.0)),
    "haemangioma": ((1.3, 2.5), (1.0, 2.0), (0.8, 3.0)),
    "fatty marrow": ((1.1, 1.7), (1.2, 1.8), (0.3, 0.9)),
    "lesion": ((0.4, 2.0), (0.25, 0.8), (0.8, 4.0)),
}

# Largest relative deviation of the texture, where it is not the usual one.
USUAL_TEXTURE = 0.14
TEXTURES = {"fat": 0.2, "visceral fat": 0.3, "epidural fat": 0.2, "muscle": 0.3, "organ grey": 0.25, "organ dark": 0.25}

# Organs differ from each other: each part draws its own signal.
ORGANS = ("organ dark", "organ grey", "organ bright", "bladder", "brain")
MARROWS = ("arch marrow", "sacral marrow", "other marrow")


@dataclass(frozen=True)
class Contrast:
    """Mean signal and texture amplitude by `tissue * PARTS + part`."""

    weighting: str
    signal: np.ndarray
    texture: np.ndarray

    @staticmethod
    def draw(rng: np.random.Generator, tissues: list[str]) -> Contrast:
        weighting = rng.choice(list(WEIGHTINGS), p=list(WEIGHTINGS.values()))
        ranges = _ranges(weighting, tissues)
        mean = {name: rng.uniform(*ranges[name]) for name in tissues if name in ranges}
        _relate(rng, weighting, mean)
        signal = np.repeat([mean[name] for name in tissues], PARTS).reshape(len(tissues), PARTS)
        most = np.array([TEXTURES.get(name, USUAL_TEXTURE) * max(mean[name], 0.1) for name in tissues])
        texture = np.repeat(rng.uniform(0, most), PARTS).reshape(signal.shape)
        _vary_parts(rng, ranges, tissues, mean, signal)
        if rng.random() < 0.35:  # flow in the fluid
            fluid = tissues.index("csf")
            texture[fluid] = rng.uniform(0.1, 0.28) * mean["csf"]
        texture[tissues.index("air")] = 0
        return Contrast(str(weighting), signal.astype(np.float32).ravel(), texture.astype(np.float32).ravel())


def _ranges(weighting: str, tissues: list[str]) -> dict[str, Range]:
    unknown = [name for name in tissues if name not in SIGNALS and name not in MARROW_CHANGES]
    if unknown:
        raise KeyError(f"contrast.py has no signal for the generator's tissues {unknown}: add them to SIGNALS")
    if weighting == "random":
        return {name: (0.0, 0.0) if name == "air" else (0.0, 1.0) for name in tissues}
    column = COLUMNS.index(weighting)
    return {name: SIGNALS[name][column] for name in tissues if name in SIGNALS}


def _relate(rng: np.random.Generator, weighting: str, mean: dict[str, float]) -> None:
    """Ties tissues together that resemble each other in real exams."""
    body = mean["body marrow"]
    column = COLUMNS.index(weighting) if weighting in COLUMNS else int(rng.integers(len(COLUMNS)))
    for name, factors in MARROW_CHANGES.items():
        mean[name] = min(body * rng.uniform(*factors[column]), BRIGHTEST)
    if weighting == "random":
        for name in MARROWS:
            mean[name] = max(0.0, body + rng.normal() * 0.08)
        if rng.random() < 0.7:  # cortex is dark in every sequence
            mean["cortex"] = rng.uniform(0, 0.2)
            mean["endplate"] = mean["cortex"] + rng.uniform(0, 0.1)
        return
    if rng.random() < 0.85:
        for name in MARROWS:
            mean[name] = body * rng.uniform(0.8, 1.2)
    if weighting == "T2w" and rng.random() < 0.3:  # fat as bright as fluid: fast spin echo without fat saturation
        mean["fat"] = mean["csf"] * rng.uniform(0.8, 1.1)
        mean["epidural fat"] = mean["csf"] * rng.uniform(0.7, 1.1)
        mean["visceral fat"] = mean["fat"] * rng.uniform(0.6, 1.0)
    if rng.random() < 0.3:  # roots that cannot be told from the cord
        mean["root"] = mean["cord"] * rng.uniform(0.9, 1.1)


def _vary_parts(
    rng: np.random.Generator,
    ranges: dict[str, Range],
    tissues: list[str],
    mean: dict[str, float],
    signal: np.ndarray,
) -> None:
    """Each vertebra, disc and organ has its own signal."""
    spread = rng.uniform(0.01, 0.12)
    own = 1 + spread * rng.standard_normal(PARTS)
    for name in ("body marrow", "arch marrow"):
        signal[tissues.index(name)] = mean[name] * own
    low, high = ranges["nucleus"]
    # Healthy and worn discs in one spine: the two ends of the range are the commonest.
    worn, healthy = mean["annulus"] * rng.uniform(0.8, 2.0), max(mean["nucleus"], (low + high) / 2)
    signal[tissues.index("nucleus")] = worn + (healthy - worn) * rng.beta(0.8, 0.8, PARTS)
    alike = rng.random() < 0.3  # organs like muscle: nothing stands out
    for name in ORGANS:
        values = mean["muscle"] * rng.uniform(0.6, 1.6, PARTS) if alike else rng.uniform(*ranges[name], PARTS)
        signal[tissues.index(name)] = values
