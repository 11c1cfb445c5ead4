"""Intensities of a series as the patch net takes them: threshold, Gaussian blur, values in 0..1.

Statistics are those of the volume, filtering is slice by slice; the service does the same (runtime/pipeline/src/penn).
"""

from __future__ import annotations

import numpy as np

# The net's pixels: field of view over matrix of the paper's protocol, 260 mm / 384.
PIXEL_MM = 0.677
# Pixels darker than this share of the 99th percentile are noise; the paper gives neither value nor method.
THRESHOLD_SHARE = 0.10
THRESHOLD_PERCENTILE = 99.0
# In pixels, as MATLAB's imgaussfilt, with its window of 2 * ceil(2 sigma) + 1 and its replicated border.
SIGMA = 2.0
TAPS = 2 * int(np.ceil(2 * SIGMA)) + 1
# Black and white: the logistic units and decoders need values in 0..1.
LIMITS = (0.5, 99.5)


def taps() -> np.ndarray:
    """The Gaussian's weights, which add up to one."""
    weights = np.exp(-0.5 * ((np.arange(TAPS) - TAPS // 2) / SIGMA) ** 2)
    return weights / weights.sum()


def threshold(volume: np.ndarray) -> np.ndarray:
    """Dark pixels become 0."""
    limit = np.float32(THRESHOLD_SHARE * np.percentile(volume, THRESHOLD_PERCENTILE))
    return np.where(volume < limit, np.float32(0), volume)


def blur(volume: np.ndarray) -> np.ndarray:
    """Gaussian over rows and columns of each slice."""
    for axis in (1, 2):
        reach = [(0, 0)] * 3
        reach[axis] = (TAPS // 2, TAPS // 2)
        padded = np.pad(volume, reach, mode="edge")
        length = volume.shape[axis]
        parts = (w * padded.take(range(n, n + length), axis) for n, w in enumerate(taps().astype(np.float32)))
        volume = sum(parts, start=np.zeros_like(volume))
    return volume


def prepare(volume: np.ndarray) -> np.ndarray:
    """A volume (slices, rows, columns) of PIXEL_MM in plane, its values in 0..1; all 0 where it has no contrast."""
    smooth = blur(threshold(volume.astype(np.float32)))
    low, high = np.percentile(smooth, LIMITS).astype(np.float32)
    if high <= low:
        return np.zeros_like(smooth)
    return ((smooth - low) / (high - low)).clip(0, 1)
